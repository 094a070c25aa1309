"""`HypergradientLR`: the learning rate adapts itself while training."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.adaptation.reset import OptimizerReset
from lightning_lr.adaptation.rules import RuleName
from lightning_lr.adaptation.separate_losses import SeparateLosses, limit_players
from lightning_lr.arguments import checked, instance_of
from lightning_lr.callbacks._adaptation_arguments import AdaptationArguments, finds_scaled_lrs
from lightning_lr.callbacks._adaptation_trace import ADAPTATION_CHARTS, say_verdicts, values_to_log
from lightning_lr.callbacks._adapted_optimizers import adapted_optimizers
from lightning_lr.callbacks._argument_rules import ADAPTATION
from lightning_lr.callbacks._optimizer_checks import check_steps_of_epoch
from lightning_lr.callbacks._saved_arguments import plain_arguments, warn_if_changed
from lightning_lr.callbacks._saved_state import check_vectors, checked_state, header
from lightning_lr.callbacks._skipped_hooks import SkippedHooks
from lightning_lr.callbacks._state_rules import ADAPTATION as ADAPTATION_STATE
from lightning_lr.callbacks._state_rules import LENGTHS
from lightning_lr.optimizers.param_groups import has_lr
from lightning_lr.trainer.lazy_parameters import check_no_lazy_parameters
from lightning_lr.trainer.lightning_packages import Callback
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.run_lengths import run_lengths
from lightning_lr.trainer.step_loss import StepLoss


class HypergradientLR(Callback):
    """Adapts the learning rate while training, from the derivative of the loss by the learning rate.

    The learning rate of a step is ``scale`` times the one that the optimizer, a scheduler or `CyclicalLR` sets. Groups
    keep their ratios. Return all schedulers from ``configure_optimizers``: a hidden one reads back the scaled value.

    The rule ``"long_horizon"`` (`lightning_lr.adaptation.LongHorizon` has the whole algorithm) measures, before a step,
    the angle of the gradient and the way back to the anchor, a mean of the iterates, which takes one copy of the
    parameters. While it is acute the steps were too short, and the scale rises. The first step is shortened, so any
    first learning rate from 1e-7 to 10 is safe. A schedule raises the learning rate above its maximum so far only as
    fast as the rule may, unless it is a tensor on a device. The other rules are of Baydin et al., "Online Learning Rate
    Adaptation with Hypergradient Descent", 2018, arXiv:1703.04782. They look back one step, so noise shrinks their
    learning rate. No step waits for the device: a measurement takes effect from the second step after it on. In
    adversarial training, scales are within `MAX_SCALE_OF_PLAYERS` = 3. It is told by a backward pass between the steps
    of two optimizers in one batch. If yours step in turns of batches, or after both backward passes, give ``max_lr``.

    Args:
        rule: how the scale is adapted.
        beta: β of the paper's rules, above 0. ``"multiplicative"``: below 1, by default `MULTIPLICATIVE_BETA` = 0.02.
            ``"additive"`` needs one; the paper has 1e-3 for SGD and 1e-7 for Adam.
        horizon: of the anchor: steps (``200``), epochs (``"2ep"``) or a share of the run. By default the share
            `HORIZON_SHARE` = 0.5, or `HORIZON_STEPS` = 300 where the length of the run is not known. In manual
            optimization epochs and shares count one step for each batch, here and below.
        per_group: whether each parameter group has a scale. Else each optimizer has one.
        every: steps from one measurement to the next, or ``"auto"``: 1 until the alignment has changed its sign
            `GAIN_HALVING` = 10 times, then `SETTLED_SPACING` = 5. Fewer measurements adapt more slowly.
        adapt: false to observe only. The alignment is logged, and a sentence at the end of each epoch says whether the
            learning rate was too low, about right or too high. ``every="auto"`` is then `SETTLED_SPACING` = 5,
            ``max_lr`` still holds, and ``min_lr``, ``freeze_after`` and ``decay`` do nothing.
        guard: of ``"long_horizon"``: if training diverges (loss or parameters not finite, or the loss far above what it
            was and one of the last gradients too), return to the anchor with `LR_AFTER_DIVERGENCE` = 0.3 of the scale,
            and reset BatchNorm. The learning rate then stays below that share of the highest one before, unless the
            loss was not finite. It ends with a warning after `MAX_RETURNS` = 3 returns in a row.
        save_anchor: whether checkpoints hold the anchor, or plain SGD's last gradients: as much as the parameters.
            Without it a resumed run begins a new anchor, as it does with sharded parameters (FSDP2).
        min_lr: learning rate below which the rule does not go; a schedule and ``decay`` may.
        max_lr: learning rate that is never exceeded.
        freeze_after: steps, epochs or share of the run after which the scale stays.
        decay: steps, epochs (``"2ep"``) or share of the run (``"0.2run"``) at its end in which the learning rate falls
            as ``1 - √x`` (`lightning_lr.adaptation.FinalDecay`), and the scale stays. ``"auto"`` is `DECAY_SHARE` = 0.2
            of the run for ``"long_horizon"`` in automatic optimization of known length without a schedule; None: none.

    Logged keys, every ``Trainer(log_every_n_steps)``; those of a scale end in ``/<group>`` if ``per_group``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |
    | ``hypergradient/alignment/<optimizer>`` | the cosine: positive if the steps were too short |
    | ``hypergradient/log10_scale/<optimizer>`` | log10 of the factor of the learning rate |
    | ``hypergradient/turns/<optimizer>`` | how often the sign of the alignment has changed |
    | ``hypergradient/not_finite/<optimizer>`` | if any: measurements without effect, of gradients not finite |

    Example:
        >>> trainer = Trainer(callbacks=[HypergradientLR()], logger=False, enable_checkpointing=False)
    """

    @checked(**ADAPTATION)
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
        min_lr: float | None = None,
        max_lr: float | None = None,
        freeze_after: int | str | None = None,
        decay: int | str | None = "auto",
    ) -> None:
        self._arguments = plain_arguments(locals())
        self._adaptation = AdaptationArguments(
            rule, beta, horizon, per_group, every, adapt, min_lr, max_lr, freeze_after, decay
        )
        self._adapt, self._guard, self._save_anchor = adapt, guard, save_anchor
        self._optimizers: list[AdaptedOptimizer] = []  # while training
        self._saved: list[dict[str, Any]] = []  # their states, of a run that has ended or is resumed
        self._lengths: dict[str, Any] = {}  # with which durations are counted
        self._epoch_steps = math.inf  # likewise, if any length depends on it
        self._to_restart: list[Optimizer] = []  # a range test before this callback has set their learning rates
        self._is_resumed, self._is_same_rule = False, True  # the saved states are from a checkpoint, and fit
        self._resets: dict[Optimizer, OptimizerReset] = {}  # of the optimizers that it adapts
        self._loss, self._lrs_are_scaled, self._is_first_batch = StepLoss(), False, True
        self._separate_losses, self._skipped_hooks = SeparateLosses(), SkippedHooks(self)
        self.lr_tracer = LRTracer(self._logged_values, [ADAPTATION_CHARTS])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._adaptation.check_run(trainer)
        self._resets = {each: OptimizerReset(each) for each in trainer.optimizers if has_lr(each)}
        self._to_restart = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_no_lazy_parameters("HypergradientLR", pl_module)
        self.lr_tracer.start(trainer, self)
        self._loss, self._is_first_batch, self._lrs_are_scaled = StepLoss(), True, finds_scaled_lrs(trainer)
        # a module may have made other optimizers in its own on_fit_start
        resets = {each: self._resets.get(each) or OptimizerReset(each) for each in trainer.optimizers if has_lr(each)}
        if trainer.global_step == 0 or len(self._saved) != len(resets):
            self._saved, self._lengths = [], {}  # a new run
        check_vectors(self, self._saved, resets)
        lengths = run_lengths(trainer, self._lengths)
        self._lengths = lengths.state()
        controllers = self._adaptation.controllers(trainer, lengths)
        self._epoch_steps = lengths.epoch_steps if self._adaptation.counts_epochs(trainer, lengths) else math.inf
        self._optimizers = adapted_optimizers(trainer, pl_module, controllers, resets, guard=self._guard)
        for adapted, saved in zip(self._optimizers, self._saved, strict=False):
            is_new = not self._is_resumed or adapted.optimizer in self._to_restart  # else the groups hold scaled rates
            adapted.resume(saved, is_new_fit=is_new, is_same_rule=self._is_same_rule)
        self._saved, self._resets, self._is_resumed = [], {}, False
        while self._to_restart:
            self.restart(self._to_restart.pop())
        for adapted in self._optimizers:
            adapted.watch((config.scheduler for config in trainer.lr_scheduler_configs), warns=True)
        unneeded = [HypergradientLR.on_after_backward] if len(self._optimizers) == 1 else []
        self._skipped_hooks.skip(vars(trainer)["callbacks"], unneeded)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_lrs(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 or self._is_first_batch:  # a resumed run may begin at any batch
            self._take_lrs(trainer)  # of callbacks that come after this one
        self._is_first_batch = False
        self._separate_losses.batch_start()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._separate_losses.backward()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for i, adapted in enumerate(self._optimizers):
            if adapted.optimizer is optimizer:
                if len(self._optimizers) > 1 and self._separate_losses.step(i):
                    limit_players(self._optimizers)
                adapted.controller.before_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss.add(outputs)
        if stepped := [adapted for adapted in self._optimizers if adapted.has_stepped()]:
            loss = self._loss.pop_mean(trainer)
            for adapted in stepped:
                adapted.batch_end(loss)
        self.lr_tracer.batch_end(outputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts = {adapted.optimizer: adapted.controller.steps for adapted in self._optimizers}
        if not check_steps_of_epoch("HypergradientLR", self._epoch_steps, counts, trainer):
            self._epoch_steps = math.inf  # said once
        if not self._adapt:
            say_verdicts(trainer, self._optimizers)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for adapted in self._optimizers:
            adapted.average_losses()  # while all processes are here
            if self._adapt:
                rank_zero_info(f"HypergradientLR: {adapted.report.summary()}")
        self._detach()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        with suppress(RuntimeError):  # if the device is lost: it must not hide the exception
            self._detach()

    @checked(optimizer=instance_of(Optimizer, what="an optimizer of torch"))
    def restart(self, optimizer: Optimizer) -> None:
        """Begin again with a scale of 1: a range test has found the learning rate of this optimizer."""
        if not self._optimizers:
            self._to_restart.append(optimizer)
        for adapted in (each for each in self._optimizers if each.optimizer is optimizer):
            adapted.restart()

    def state_dict(self) -> dict[str, Any]:
        own = {"arguments": self._arguments, "progress": self._progress()}
        return header(self) | own | self._lengths

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # for all processes; in `state_dict`, and after an exception, one of them may be alone
        saved = [] if trainer.interrupted else checkpoint["callbacks"][self.state_key]["progress"]
        for adapted, state in zip(self._optimizers, saved, strict=False):
            state["losses"] = adapted.average_losses()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = checked_state(self, state_dict, ADAPTATION_STATE)
        changed = warn_if_changed("HypergradientLR", state["arguments"], self._arguments)
        self._is_same_rule = not changed & {"rule", "per_group"}  # else what was learned is of no use
        self._saved, self._is_resumed = state["progress"], True
        self._lengths = {name: state[name] for name in LENGTHS}
        if not self._is_same_rule:
            rank_zero_warn("HypergradientLR: with another rule or per_group it begins anew, with a scale of 1.")

    def _progress(self) -> list[dict[str, Any]]:
        return [adapted.state(self._save_anchor) for adapted in self._optimizers] or self._saved

    def _take_lrs(self, trainer: Trainer) -> None:
        """Take what other callbacks have set for the coming step; StochasticWeightAveraging adds a scheduler."""
        for adapted in self._optimizers:
            adapted.watch(config.scheduler for config in trainer.lr_scheduler_configs)
            adapted.take_lrs(are_scaled=self._lrs_are_scaled)

    def _detach(self) -> None:
        try:
            self._saved = self._progress()  # for a checkpoint that is saved by hand, or another fit
        finally:
            for adapted in self._optimizers:
                adapted.detach()
            self._optimizers = []
            self._skipped_hooks.restore()
            self.lr_tracer.stop()

    def _logged_values(self) -> dict[str, float]:
        return values_to_log(self._optimizers)
