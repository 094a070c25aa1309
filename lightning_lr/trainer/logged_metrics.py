"""The metrics that a module logs: their keys, and the values, each from where it is logged."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import MisconfigurationException


class LoggedMetric:
    """A metric that a module logs in its training step, at the end of an epoch or in the validation.

    Args:
        key: of the metric.
        owner: the name in error messages.

    Attributes:
        needs_validation: whether the next value waits for the validation loop.
    """

    def __init__(self, key: str, owner: str) -> None:
        self._key = key
        self._name = f"{owner}(monitor={key!r})"
        self._source: Literal["step", "epoch", "validation"] | None = None  # known when it is first read
        self._awaits_epoch_end = False
        self.needs_validation = False

    def read_after_batch(self, trainer: Trainer) -> float | None:
        """The value after a training batch, None if it is logged later."""
        if self._source is None:
            self._source = self._find(trainer)
        if self._source == "step":
            return self._value(trainer)
        if self._source == "validation":
            self.needs_validation = True
        elif trainer.is_last_batch:
            self._awaits_epoch_end = True
        else:
            raise MisconfigurationException(
                f"{self._name}: the training step logs this key at the end of an epoch, so a point must end with an"
                " epoch: give the optimizer steps of an epoch as steps_per_lr (steps_per_eval in LRSearch), or log the"
                " key with on_step=True."
            )
        return None

    def read_after_epoch(self, trainer: Trainer) -> float | None:
        """The value at the end of an epoch, None if it is not waited for."""
        if not self._awaits_epoch_end:
            return None
        self._awaits_epoch_end = False
        return self._value(trainer)

    def read_after_validation(self, trainer: Trainer) -> float:
        """The value after a validation."""
        self.needs_validation = False
        if self._key not in trainer.callback_metrics:
            raise MisconfigurationException(
                f"{self._name}: the module does not log this key. It logs: {logged_keys(trainer)}."
            )
        return self._value(trainer)

    def check_is_read(self) -> None:
        """Raise a MisconfigurationException if training goes on without the validation that was needed."""
        if self.needs_validation:
            raise MisconfigurationException(
                f"{self._name}: the training step does not log it, and there is no validation data to evaluate it on:"
                " log it, or give a validation loader."
            )

    def _find(self, trainer: Trainer) -> Literal["step", "epoch", "validation"]:
        """Where it is logged, after a batch of the first epoch."""
        if self._key in trainer.callback_metrics:
            return "step"
        results: Any = trainer._results
        metas = [metric.meta for metric in (results or {}).values()]
        at_epoch_end = {meta.forked_name(on_step=False) for meta in metas if meta.on_epoch}
        return "epoch" if self._key in at_epoch_end else "validation"

    def _value(self, trainer: Trainer) -> float:
        """The mean over ranks."""
        value = trainer.callback_metrics[self._key].detach().float().to(trainer.strategy.root_device)
        return float(trainer.strategy.reduce(value, reduce_op="mean").item())


def logged_keys(trainer: Trainer) -> str:
    """The keys that the module has logged so far, for a message."""
    return ", ".join(sorted(trainer.callback_metrics)) or "no key"
