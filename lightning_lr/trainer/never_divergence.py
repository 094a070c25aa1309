"""The exceptions that end a sweep as errors, whatever the learning rate is."""

from __future__ import annotations

import torch

from lightning_lr.trainer.lightning_packages import either

# Exceptions that say nothing about the learning rate: of the configuration, of a device, of the program.
NEVER_DIVERGENCE = (
    *either("utilities.exceptions.MisconfigurationException"),
    *(MemoryError, torch.OutOfMemoryError, getattr(torch, "AcceleratorError", MemoryError), OSError),
    *(LookupError, TypeError, AttributeError, NameError, ImportError, NotImplementedError),
)
