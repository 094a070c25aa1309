"""The rule for arguments that are arrays, such as the losses of a sweep, see `lightning_lr.arguments`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_lr.arguments import refuse


def array(name: str, value: Any) -> NDArray[np.float64]:
    """A list of numbers, as a new array of shape [n]. They need not be finite."""
    try:
        elements = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, and tensors that NumPy cannot read
        elements = np.empty(0, dtype=object)
    if elements.dtype.kind not in "iuf" or elements.ndim != 1 or len(elements) == 0:
        raise refuse(name, "be a list of numbers", value)
    return np.array(elements, dtype=np.float64)
