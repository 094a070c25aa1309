"""The arguments of `HypergradientLR` that say how a learning rate is adapted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import LBFGS, Optimizer

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.controller import Every, LRController
from lightning_lr.adaptation.decay import FinalDecay
from lightning_lr.adaptation.rules import RuleName, rule_maker
from lightning_lr.callbacks._optimizer_checks import check_lrs_can_be_set
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.optimizers.param_groups import has_lr, optimizer_names
from lightning_lr.schedules.durations import Duration
from lightning_lr.trainer.grad_scaler import has_grad_scaler
from lightning_lr.trainer.lightning_packages import MisconfigurationException, either
from lightning_lr.trainer.run_lengths import RunLengths, check_run_has_end


@dataclass(frozen=True)
class AdaptationArguments:
    """What `HypergradientLR` says of them. Raises a ValueError if they do not fit each other."""

    rule: RuleName
    beta: float | None
    horizon: int | str | None
    per_group: bool
    every: Every
    adapt: bool
    min_lr: float | None
    max_lr: float | None
    freeze_after: int | str | None
    decay: int | str | None

    def __post_init__(self) -> None:
        rule_maker(self.rule, self.beta, self.horizon)
        if self.min_lr is not None and self.max_lr is not None and self.min_lr > self.max_lr:
            raise ValueError(f"min_lr must be at most max_lr={self.max_lr!r}, got {self.min_lr!r}.")
        decay = None if self.decay == "auto" else self.decay
        if decay is not None and self.rule != "long_horizon":
            raise ValueError(f"rule='long_horizon' takes decay, got rule={self.rule!r} with decay={decay!r}.")

    def check_run(self, trainer: Trainer) -> None:
        """Raise an error if a run cannot be adapted, as far as it is known before a range test in this fit.

        Raises:
            MisconfigurationException: if there is no learning rate to adapt.
            ValueError: if a run has no end, or only one in time, and ``decay`` or a length in shares of it is given.
        """
        _check_optimizers(trainer.optimizers)
        check_run_has_end(trainer, self._durations())
        has_end = trainer.max_steps != -1 or trainer.max_epochs != -1
        if self.adapt and self.decay not in (None, "auto") and not has_end:
            self._refuse_decay()

    def controllers(self, trainer: Trainer, lengths: RunLengths) -> partial[LRController]:
        """Makes the controllers of a run of these lengths. Says when the learning rate will fall.

        Raises:
            MisconfigurationException: if ``decay`` is given beside a schedule.
            ValueError: if a length depends on that of the run or of an epoch, which is not known.
        """
        decay = self._final_decay(trainer, lengths)
        if decay is not None:
            rank_zero_info(
                f"HypergradientLR: the learning rate will fall in the last {decay.length} of {decay.run_length} steps;"
                " decay=None keeps it." + (" No step is left to adapt it." if decay.start == 0 else "")
            )
        return partial(
            LRController,
            make_rule=rule_maker(self.rule, self.beta, self.horizon),
            horizon=self._horizon(lengths) if self.rule == "long_horizon" else None,
            adapts=self.adapt,
            per_group=self.per_group,
            every=self.every,
            min_lr=self.min_lr or 0.0,
            max_lr=math.inf if self.max_lr is None else self.max_lr,
            freeze_after=math.inf if self.freeze_after is None else _steps("freeze_after", self.freeze_after, lengths),
            decay=decay,
            world_size=trainer.world_size,
            has_grad_scaler=has_grad_scaler(trainer),
            device=trainer.lightning_module.device,
            steps=trainer.global_step // len(trainer.optimizers),  # a checkpoint may be of a run without adaptation
        )

    def counts_epochs(self, trainer: Trainer, lengths: RunLengths) -> bool:
        """Whether a length in steps that was given, or is said to the user, follows from the length of an epoch."""
        units = {duration.unit for duration in self._durations().values()}
        if (decay := self.decay) is not None and self._final_decay(trainer, lengths) is not None:
            units |= {"run", "" if decay == "auto" else Duration.parse("decay", decay).unit}
        return "ep" in units or ("run" in units and trainer.max_epochs not in (None, -1))

    def _durations(self) -> dict[str, Duration]:
        given = {"horizon": self.horizon, "freeze_after": self.freeze_after}
        return {name: Duration.parse(name, length) for name, length in given.items() if length is not None}

    def _horizon(self, lengths: RunLengths) -> float:
        if self.horizon is not None:
            return _steps("horizon", self.horizon, lengths)
        run = lengths.run_steps
        return max(1.0, constants.HORIZON_SHARE * run) if math.isfinite(run) else constants.HORIZON_STEPS

    def _final_decay(self, trainer: Trainer, lengths: RunLengths) -> FinalDecay | None:
        run = lengths.run_steps
        schedules = ScheduledLR, *either("callbacks.StochasticWeightAveraging")  # the latter sets a scheduler later
        has_schedule = bool(trainer.lr_scheduler_configs) or any(
            isinstance(callback, schedules) for callback in vars(trainer)["callbacks"]
        )
        # in manual optimization a batch may have any number of steps
        is_known = math.isfinite(run) and trainer.lightning_module.automatic_optimization
        if not self.adapt or self.rule != "long_horizon":
            return None
        if self.decay is None or (self.decay == "auto" and (has_schedule or not is_known)):
            return None
        if has_schedule:
            raise MisconfigurationException(
                f"HypergradientLR: decay={self.decay!r} would come on top of a schedule: leave one of them out."
            )
        if math.isinf(run):
            self._refuse_decay()
        share = f"{constants.DECAY_SHARE}run" if self.decay == "auto" else self.decay
        return FinalDecay(min(_steps("decay", share, lengths), int(run)), int(run))

    def _refuse_decay(self) -> NoReturn:
        raise ValueError(f"decay={self.decay!r} needs the length of the run, which is not known: give max_steps.")


def finds_scaled_lrs(trainer: Trainer) -> bool:
    """Whether other callbacks set the learning rates of groups to already scaled ones.

    Finetuning computes them from those of other groups. A schedule of ours does not, and writes last.
    """
    callbacks = vars(trainer)["callbacks"]
    finetunes = any(isinstance(callback, either("callbacks.BaseFinetuning")) for callback in callbacks)
    return finetunes and not any(isinstance(callback, ScheduledLR) for callback in callbacks)


def _check_optimizers(optimizers: Sequence[Optimizer]) -> None:
    for name, optimizer in zip(optimizer_names(optimizers), optimizers, strict=True):
        if not has_lr(optimizer):
            rank_zero_info(f"HypergradientLR leaves {name} as it is, which has no learning rate.")
    check_lrs_can_be_set("HypergradientLR", [optimizer for optimizer in optimizers if has_lr(optimizer)])
    if any(isinstance(optimizer, LBFGS) for optimizer in optimizers):
        raise MisconfigurationException(
            "HypergradientLR cannot adapt LBFGS, which searches its own step lengths: leave one of them out."
        )


def _steps(name: str, length: int | str, lengths: RunLengths) -> int:
    return Duration.parse(name, length).steps(name, lengths.epoch_steps, lengths.run_steps)
