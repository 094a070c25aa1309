"""Which optimizers step on losses of their own: by the order of backward passes and steps in one batch."""

from __future__ import annotations

import pytest

from lightning_lr.adaptation.separate_losses import SeparateLosses


def _told(batches: str) -> bool:
    """Whether any step is told: "|" begins a batch, "b" is a backward pass, a digit the step of that optimizer."""
    losses, told = SeparateLosses(), False
    for event in batches:
        if event == "|":
            losses.batch_start()
        elif event == "b":
            losses.backward()
        else:
            told |= losses.step(int(event))
    return told


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ("|b0|b0|b0", False),
        ("|bbb0|bbb0", False),  # accumulated gradients
        ("|b0b0b0|b0b0b0", False),  # several steps of one optimizer in a batch
        ("|b01|b01", False),  # Muon for matrices, AdamW for the rest
        ("|bb01|bb01", False),  # the sum of two losses
        ("|b0|b1|b0|b1", False),  # by turns: other data may be all that differs
        ("|b0b1", True),  # generator and discriminator
        ("|b01|b01|b0b1", True),
        ("|b1b0b0", True),
        ("|b01b01", True),
    ],
)
def test_order_of_backward_passes_and_steps(batches: str, expected: bool) -> None:
    assert _told(batches) == expected
