"""The metrics that a module logs: their keys, and where each comes from."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import Trainer

MetricSource = Literal["step", "epoch", "validation"]


def find_metric(trainer: Trainer, key: str | None) -> MetricSource:
    """Where a metric can be read after a batch of the first epoch of a sweep.

    Args:
        trainer: after a training batch.
        key: of the metric.

    Returns:
        ``"step"`` if the training step logs it at each step, ``"epoch"`` if it logs it at the end of the epoch, else
        ``"validation"``.
    """
    if key in trainer.callback_metrics:
        return "step"
    results: Any = trainer._results
    metas = [metric.meta for metric in (results or {}).values()]
    at_epoch_end = {meta.forked_name(on_step=False) for meta in metas if meta.on_epoch}
    return "epoch" if key in at_epoch_end else "validation"


def logged_keys(trainer: Trainer) -> str:
    """The keys that the module has logged so far, for a message."""
    return ", ".join(sorted(trainer.callback_metrics)) or "no key"
