"""`HypergradientLR`: the learning rate adapts itself while training."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any, Literal, get_args

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.adaptation.controller import Adaptation
from lightning_lr.adaptation.reset import OptimizerReset, reset_statistics
from lightning_lr.adaptation.rules import RuleName, rule_maker
from lightning_lr.callbacks._arguments import check_flags
from lightning_lr.callbacks._saved_arguments import plain_arguments, warn_if_changed
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.optimizers.param_groups import lr_ratios, optimizer_names
from lightning_lr.schedules.durations import Duration
from lightning_lr.trainer import loggers
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.run_lengths import steps_per_epoch, steps_per_run
from lightning_lr.trainer.step_loss import StepLoss

_HORIZON = 200  # steps, where the length of the run is not known


class HypergradientLR(Callback):
    """Adapts the learning rate while training, from the derivative of the loss by the learning rate.

    It multiplies: the learning rate of a step is ``scale`` times whatever the optimizer, a scheduler or `CyclicalLR`
    says. Schedulers step on their own values, the groups of the optimizers hold the scaled ones. Groups keep their
    ratios.

    The rule ``"long_horizon"`` measures, before a step, the cosine between the gradient and the way back to a mean of
    the iterates so far, which keeps one copy of the parameters, in float32 or wider. While it is positive the steps
    were too short, and the scale rises; on top of a schedule the direction of that and of the loss have a say, see
    `lightning_lr.adaptation.rules.LongHorizon` for the formula. The first step is made so short that any learning rate to
    begin with will do, from 1e-7 to 10; and a warm-up or a restart takes the rate beyond the highest one so far no
    faster than the rule may (unless it is a tensor on a device, which is known too late). When training diverges all
    the same, the parameters go back to that mean of good iterates and training goes on with a smaller scale.

    ``"multiplicative"`` and ``"additive"`` are the rules of the paper. They look back one step, need no memory with
    Adam and with momentum, and are there to compare: noise shrinks their learning rate.

    A measurement takes effect from the second step after it on, so that no step waits for the device. A monitor of
    learning rates that reads the groups before the first step, as `LearningRateMonitor` does, shows for this one step
    the rate that it began with, not the shortened one.

    Schedulers are to be returned by ``configure_optimizers``: one that the module keeps and steps by itself reads back
    the scaled rate.

    Args:
        rule: how the scale is adapted.
        beta: β of the paper's rules, above 0. 0.02 for ``"multiplicative"`` if None (below 1 there); ``"additive"``
            needs one, in the paper 1e-3 for SGD and 1e-7 for Adam.
        horizon: of the mean that ``"long_horizon"`` looks back to: steps (``200``), epochs (``"2ep"``) or a share of
            the run (``"0.2run"``). A fifth of the run if None, or 200 steps where its length is not known.
        per_group: whether every parameter group has a scale of its own. Else each optimizer has one.
        every: steps between measurements; ``"auto"``: each step until the rate has settled (8 turns), then each 5th. A
            measurement raises the scale of ``"long_horizon"`` by a tenth times √every at most: a decade takes 23 steps
            if every step is measured, 51 with 5, 163 with 50.
        adapt: false to observe only: the alignment is logged, and at the end of each epoch a sentence says whether the
            learning rate was too low, about right or too high. ``"auto"`` is then each 5th step from the start.
        guard: of ``"long_horizon"``: go back when training has diverged, see
            `lightning_lr.adaptation.divergence.DivergenceWatch`, with 0.3 of the scale; from then on the learning rate stays below
            half of what it was, unless a loss that is not finite was the sign. After three times with less than 100
            steps in between there is an error. The running statistics of BatchNorm begin anew. The other rules have no
            guard, nor has ``adapt=False``.
        save_anchor: whether checkpoints hold what is as large as the parameters: the mean, or plain SGD's last
            gradients. Without it a resumed run begins a new mean, as it does for sharded parameters (FSDP2).

    With ``adapt=False`` a rate is called about right if the mean cosine of the epoch is within 0.3 of its root mean
    square.

    Logged keys, every ``Trainer(log_every_n_steps)``, for each optimizer, all but the last with ``/<group>`` if
    ``per_group``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |
    | ``hypergradient/alignment/<optimizer>`` | the cosine: positive if the steps were too short |
    | ``hypergradient/scale/<optimizer>`` | the factor |
    | ``hypergradient/turns/<optimizer>`` | how often the direction of adaptation has changed |
    | ``hypergradient/not_finite/<optimizer>`` | measurements that were left out, since gradients were not finite |

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[HypergradientLR()], logger=False, enable_checkpointing=False)

    References:
        Atılım Güneş Baydin et al., "Online Learning Rate Adaptation with Hypergradient Descent", 2018,
        arXiv:1703.04782.
    """

    def __init__(
        self,
        rule: RuleName = "long_horizon",
        beta: float | None = None,
        horizon: int | str | None = None,
        per_group: bool = False,
        every: int | Literal["auto"] = "auto",
        adapt: bool = True,
        guard: bool = True,
        save_anchor: bool = True,
    ) -> None:
        self._arguments = plain_arguments(locals())
        if rule != "long_horizon" and rule in get_args(RuleName) and horizon is not None:
            raise ValueError(
                f"rule='long_horizon' takes horizon, the other rules take beta, got rule={rule!r} with"
                f" horizon={horizon!r}."
            )
        self._make_rule = rule_maker(rule, beta)
        check_flags(per_group=per_group, adapt=adapt, guard=guard, save_anchor=save_anchor)
        if every != "auto" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ValueError(f"every must be 'auto' or a number of steps of at least 1, got {every!r}.")
        self._is_long = rule == "long_horizon"
        self._horizon = None if horizon is None else Duration.parse("horizon", horizon)
        self._per_group, self._every, self._adapt = per_group, every, adapt
        self._guard = guard and adapt and self._is_long
        self._save_anchor = save_anchor
        self._optimizers: list[AdaptedOptimizer] = []  # while training
        self._saved: list[dict[str, Any]] = []  # their states, of a run that has ended or is resumed
        self._found: list[Optimizer] = []  # whose rates a range test that comes before this callback has set
        self._is_resumed = False  # the saved states are those of a checkpoint
        self._holds_same = True  # and of the same rule and units
        self._resets: list[OptimizerReset] = []
        self._finetunes = False
        self._loss = StepLoss()
        self.lr_tracer = LRTracer(self._traced_values)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        lr_ratios(trainer.optimizers)  # raises where there is no learning rate to adapt
        for optimizer in trainer.optimizers:
            if isinstance(optimizer, LBFGS):
                raise MisconfigurationException(
                    "HypergradientLR cannot adapt LBFGS, which searches its own step lengths: leave one of them out."
                )
        self._resets = [OptimizerReset(optimizer) for optimizer in trainer.optimizers]
        self._found = []  # a fit may have broken off before it was taken

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lr_tracer.start(trainer, self)
        self._loss = StepLoss()
        # finetuning goes by what the groups hold, a schedule of ours does not, and has the last word
        kinds = [type(callback) for callback in vars(trainer)["callbacks"]]
        self._finetunes = any(issubclass(kind, BaseFinetuning) for kind in kinds) and not any(
            issubclass(kind, ScheduledLR) for kind in kinds
        )
        if trainer.global_step == 0 or len(self._saved) != len(trainer.optimizers):
            self._saved = []  # a new run
        horizon = self._horizon_in(trainer) if self._is_long else None
        self._optimizers = [
            AdaptedOptimizer(
                name,
                Adaptation(
                    optimizer,
                    self._make_rule,
                    horizon,
                    adapts=self._adapt,
                    per_group=self._per_group,
                    every=self._every,
                    reset=reset,
                    world_size=trainer.world_size,
                    reduce=_sum_over_processes,
                ),
                reduce=_sum_over_processes,
                # with the step, since Python shows a text that it has shown before no more
                warn=lambda text: rank_zero_warn(f"{text} This is step {trainer.global_step}."),
                mend=partial(reset_statistics, pl_module),
                watches=self._is_long and self._adapt,
                guards=self._guard,
                has_scaler=getattr(trainer.precision_plugin, "scaler", None) is not None,
            )
            for name, optimizer, reset in zip(
                optimizer_names(trainer.optimizers), trainer.optimizers, self._resets, strict=True
            )
        ]
        for adapted, saved in zip(self._optimizers, self._saved, strict=False):
            self._go_on(adapted, saved)
        self._saved, self._resets, self._is_resumed = [], [], False
        for optimizer in self._found:
            self.restart(optimizer)
        self._found = []
        self._watch_schedulers(trainer)
        for adapted in self._optimizers:
            if adapted.adaptation.rates.has_unwatched_scheduler():
                rank_zero_warn(
                    f"HypergradientLR: {adapted.name} has a scheduler that configure_optimizers does not return. It"
                    " would read back the scaled learning rate and scale it again: return it."
                )

    def _go_on(self, adapted: AdaptedOptimizer, saved: dict[str, Any]) -> None:
        if not self._is_resumed:  # another fit, with optimizers that begin anew
            adapted.adaptation.load_units(saved["adaptation"])
        elif self._holds_same:
            adapted.load_state(saved)
        else:
            adapted.adaptation.load_own(saved["adaptation"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_rates(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._take_rates(trainer)  # of callbacks that come behind this one

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for adapted in self._optimizers:
            if adapted.adaptation.optimizer is optimizer:
                adapted.adaptation.before_step(_loss_scale(trainer, optimizer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss.add(outputs)
        stepped = [adapted for adapted in self._optimizers if adapted.has_stepped()]
        if stepped:
            loss = self._loss.pop_mean(trainer)
            for adapted in stepped:
                adapted.batch_end(loss)
        self.lr_tracer.batch_end(outputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._adapt:
            return
        for text in (text for adapted in self._optimizers for text in adapted.verdicts()):
            rank_zero_info(f"HypergradientLR: {text}")
            for writer in loggers.tensorboard_writers(trainer):
                writer.add_text("hypergradient/verdict", text, loggers.current_step(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._adapt:
            for adapted in self._optimizers:
                rank_zero_info(f"HypergradientLR: {adapted.summary()}")
        self._let_go()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        with suppress(RuntimeError):  # of a device that is lost, which must not hide the exception
            self._let_go()

    def restart(self, optimizer: Optimizer) -> None:
        """Begin anew with a scale of 1, since a range test has found the learning rate that is to be set now."""
        if not self._optimizers:
            self._found.append(optimizer)
        for adapted in self._optimizers:
            if adapted.adaptation.optimizer is optimizer:
                adapted.restart()

    def state_dict(self) -> dict[str, Any]:
        return {"arguments": self._arguments, "progress": self._progress()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved = state_dict["arguments"]
        warn_if_changed("HypergradientLR", saved, self._arguments)
        # what another rule or another division of the groups has learned is of no use
        self._holds_same = all(saved[name] == self._arguments[name] for name in ("rule", "per_group"))
        self._saved, self._is_resumed = state_dict["progress"], True
        if not self._holds_same:
            rank_zero_warn(
                "HypergradientLR: another rule, or another division of the groups, begins anew, with a scale of 1, at"
                " the learning rate that the optimizer or its schedule says."
            )

    def _progress(self) -> list[dict[str, Any]]:
        if not self._optimizers:
            return self._saved
        return [adapted.state(self._save_anchor) for adapted in self._optimizers]

    def _horizon_in(self, trainer: Trainer) -> float:
        run = steps_per_run(trainer)
        if self._horizon is not None:
            return self._horizon.steps("horizon", steps_per_epoch(trainer), run)
        return max(1.0, 0.2 * run) if math.isfinite(run) else _HORIZON

    def _watch_schedulers(self, trainer: Trainer) -> None:
        for config in trainer.lr_scheduler_configs:
            for adapted in self._optimizers:
                if getattr(config.scheduler, "optimizer", None) is adapted.adaptation.optimizer:
                    adapted.adaptation.rates.watch(config.scheduler)

    def _take_rates(self, trainer: Trainer) -> None:
        """Take what other callbacks have set for the coming step. Finetuning ones go by what the groups hold."""
        self._watch_schedulers(trainer)  # StochasticWeightAveraging brings one of its own
        for adapted in self._optimizers:
            adapted.adaptation.rates.take(are_scaled=self._finetunes)
            adapted.adaptation.write()

    def _let_go(self) -> None:
        optimizers = self._optimizers
        try:
            self._saved = self._progress()  # for a checkpoint that is saved by hand, or another fit
        finally:
            for adapted in optimizers:
                adapted.let_go()
            self._optimizers = []
            self.lr_tracer.stop()

    def _traced_values(self) -> dict[str, float]:
        """What is logged beside the learning rate."""
        values = {}
        for name, unit in (named for adapted in self._optimizers for named in adapted.units()):
            values[f"hypergradient/alignment/{name}"] = unit.alignment.cosine
            values[f"hypergradient/scale/{name}"] = unit.rule.scale
            values[f"hypergradient/turns/{name}"] = unit.rule.turns
        for adapted in self._optimizers:
            values[f"hypergradient/not_finite/{adapted.name}"] = adapted.adaptation.unknown
        return values


def _sum_over_processes(values: Tensor) -> Tensor:
    # not by Trainer.strategy.reduce, which has a barrier, and so waits for the device
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def _loss_scale(trainer: Trainer, optimizer: Optimizer) -> Tensor | None:
    """By what the gradients are still multiplied: under a GradScaler a fused optimizer divides them itself."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        return None
    return scaler.scale(torch.ones((), device=trainer.strategy.root_device))  # type: ignore[no-any-return]
