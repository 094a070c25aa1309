"""`LRRangeTest`: one sweep of the learning rate aside from the run, and what its curve says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_lr.callbacks._apply import apply_suggestion, summary
from lightning_lr.callbacks._arguments import check_flags, check_numbers, folder, plain_arguments, warn_if_changed
from lightning_lr.optimizers.param_groups import has_momentum, lr_ratios
from lightning_lr.range_test.curve import LRCurve, has_diverged
from lightning_lr.range_test.suggestion import RULES, Rule, Suggestion, suggest
from lightning_lr.range_test.sweep_lrs import sweep_lrs
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.result import SearchResult, search_result
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.progress_bar import progress
from lightning_lr.trainer.range_test_report import report_range_test
from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.search_report import report_search
from lightning_lr.trainer.sweep import Sweep
from lightning_lr.trainer.trials import Search

_CHOICES: dict[str, tuple[str, ...]] = {
    "monitor_mode": ("min", "max"),
    "rule": RULES,
    "if_unsure": ("search", "warn"),
    "snapshot": ("device", "cpu"),
}


@dataclass(frozen=True)
class RangeTestResult(Suggestion):
    """What a range test found.

    Attributes:
        curve: what was recorded.
        epoch: in which it was run.
        search: None if the curve was clear enough. Else the suggestion is that of the search that followed.
    """

    curve: LRCurve
    epoch: int
    search: SearchResult | None = None


_RESULT_FIELDS = [field.name for field in fields(Suggestion)] + ["epoch"]

# How far a search goes to both sides of a suggestion that is not confident. On the recorded sweeps the best constant
# learning rate lay at most 1.05 decades below such a suggestion and 0.77 above it.
_SPREAD = 10**1.5
_STEPS_PER_EVAL = 10  # of a search, at least
_LIMIT_BATCHES = 100  # of a search: as good as all data on the tasks tried, where 50 lost 0.03 of the possible fall
# Arguments that a search under way can do without: it goes on if they are changed.
_OF_THE_RESULT = {"apply", "at_epochs", "output_dir", "snapshot"}


class LRRangeTest(Callback):
    """Sweeps the learning rate once, aside from the run, and starts the run with the learning rate it finds.

    At the start of the epochs in ``at_epochs`` the model is trained for ``num_steps`` optimizer steps while the
    learning rate rises. Then everything is put back: the run that follows is bit for bit the run that would have
    been, with the learning rate (and the bounds of a `CyclicalLR` that has none) read off the curve.

    Args:
        min_lr: first learning rate, for the parameter group with the highest one; other groups keep their ratio to it.
        max_lr: last learning rate.
        num_steps: optimizer steps of the sweep, at least 10.
        mode: how the learning rate rises from step to step.
        steps_per_lr: steps that are taken with one learning rate (a staircase).
        lrs: learning rates of your own, rising, instead of ``min_lr``, ``max_lr``, ``num_steps`` and ``mode``.
        monitor: what is recorded: the training loss (None), or any key that the module logs. A key of the training
            step is read after every ``steps_per_lr`` steps; for any other the validation loop is run then.
        monitor_mode: whether less or more of it is better.
        eval_batches: batches of each validation loader that are used for a point.
        rule: how the curve is read, see `suggest`.
        apply: whether to set what was found. Else it is only reported.
        at_epochs: epochs at whose start a sweep is run.
        if_unsure: what to do with a result that is not confident: ``"search"`` says why, and then finds the learning
            rate by short trainings, as `LRSearch` does, over one and a half decades to both sides of the suggestion as
            far as the sweep went (in all some 1000 optimizer steps, on 100 batches that are held in host memory);
            ``"warn"`` gives the reasons and uses the result.
        output_dir: where to write curve (CSV), result (JSON) and figure (PNG); nothing is written if None.
        snapshot: where the copy of the model and the optimizers lives during the sweep.

    Attributes:
        result: the latest `RangeTestResult`, None before.

    Logged keys:

    | key | value |
    |---|---|
    | ``lr_range_test/lr``, ``/loss`` (or the monitored key), ``/loss_smoothed`` | each point of the sweep |
    | ``lr_range_test/suggested_lr``, ``/base_lr``, ``/max_lr`` | once |
    | ``lr_range_test/loss_vs_log10_lr_x1000`` | TensorBoard: the curve, with 1000 log10 lr as the step |
    | ``lr_range_test/curve`` | TensorBoard: the figure |
    | ``lr_search/...`` | a search, as `LRSearch` logs it |
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | training, unless a callback of ours before this one logs them |

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[LRRangeTest(num_steps=100)], logger=False, enable_checkpointing=False)

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
    """

    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        num_steps: int = 200,
        mode: Literal["exponential", "linear"] = "exponential",
        steps_per_lr: int = 1,
        lrs: Sequence[float] | None = None,
        monitor: str | None = None,
        monitor_mode: Literal["min", "max"] = "min",
        eval_batches: int = 10,
        rule: Rule = "dual",
        apply: bool = True,
        at_epochs: Sequence[int] = (0,),
        if_unsure: Literal["search", "warn"] = "search",
        output_dir: str | Path | None = None,
        snapshot: Literal["device", "cpu"] = "device",
    ) -> None:
        self._arguments = plain_arguments(locals())
        check_flags(apply=apply)
        check_numbers(
            min_lr=min_lr, max_lr=max_lr, num_steps=num_steps, steps_per_lr=steps_per_lr, eval_batches=eval_batches
        )
        for name, allowed in _CHOICES.items():
            if self._arguments[name] not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {self._arguments[name]!r}.")
        for name in ("steps_per_lr", "eval_batches"):
            if self._arguments[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {self._arguments[name]}.")
        if not at_epochs or any(epoch < 0 for epoch in at_epochs):
            raise ValueError(f"at_epochs must name at least one epoch, counted from 0, got {list(at_epochs)}.")
        if lrs is None:
            if num_steps // steps_per_lr < 10:
                raise ValueError(
                    f"num_steps must give at least 10 learning rates of steps_per_lr={steps_per_lr} steps each, got"
                    f" {num_steps}: use at least {10 * steps_per_lr}."
                )
            points = sweep_lrs(min_lr, max_lr, num_steps // steps_per_lr, mode)
        else:
            points = np.array(lrs, dtype=float)
            if len(points) < 10 or not np.all(np.isfinite(points)) or points[0] <= 0 or np.any(np.diff(points) <= 0):
                raise ValueError(f"lrs must be at least 10 rising learning rates above 0, got {list(lrs)}.")
        # a loss is recorded at each step, a metric once for each learning rate
        self._lrs = points if monitor is not None else np.repeat(points, steps_per_lr)
        self._monitor: str | None = monitor
        self._monitor_mode: Literal["min", "max"] = monitor_mode
        self._steps_per_point = steps_per_lr if monitor is not None else 1
        self._eval_batches = eval_batches
        self._rule: Rule = rule
        self._apply = apply
        self._searches = if_unsure == "search"
        self._at_epochs = set(at_epochs)
        self._output_dir = folder("output_dir", output_dir)
        self._snapshot: Literal["device", "cpu"] = snapshot
        self._done_epochs: list[int] = []
        self._search: Search | None = None  # of the latest sweep
        self._has_momentum = True
        self._is_resumed = False
        self._tracer = LRTracer()
        self.result: RangeTestResult | None = None

    @property
    def state_key(self) -> str:
        return self._generate_state_key(at_epochs=sorted(self._at_epochs))

    @property
    def applies(self) -> bool:
        """Whether it sets what it finds."""
        return self._apply

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if vars(trainer)["fast_dev_run"]:
            rank_zero_warn("LRRangeTest is skipped: Trainer(fast_dev_run=...) is set.")
        else:
            lr_ratios(trainer.optimizers)  # raises where there is no learning rate to sweep

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracer.start(trainer, self)
        # Everything is restored here, under every strategy, and no other callback has read a learning rate yet.
        if trainer.global_step == 0 and not self._is_resumed:  # another run with the same callback
            self._done_epochs, self._search, self.result = [], None, None
        self._is_resumed = False
        missed = sorted(self._at_epochs - set(self._done_epochs))
        if self.result is None and missed and missed[-1] < trainer.current_epoch:
            rank_zero_warn(
                f"LRRangeTest: at_epochs={missed} lies before epoch {trainer.current_epoch}, with which this run"
                f" starts, so no sweep is run: add {trainer.current_epoch} to at_epochs for one."
            )
        self._run_if_due(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._run_if_due(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tracer.batch_end(outputs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracer.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._tracer.stop()

    def _run_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if epoch not in self._at_epochs or epoch in self._done_epochs or vars(trainer)["fast_dev_run"]:
            return
        if self._search is None or self._search.bracket.is_done:  # else the search was interrupted
            self._test(trainer, epoch)
        if self._search is not None:
            self._run_search(trainer, self._search)
        self._done_epochs.append(epoch)
        assert self.result is not None
        applied = apply_suggestion(trainer, pl_module, self.result, "LRRangeTest") if self._apply else []
        rank_zero_info(summary("LRRangeTest", self.result, applied))
        if not self.result.confident:
            rank_zero_warn(f"LRRangeTest is not confident of its result: {'; '.join(self.result.reasons)}.")

    def _test(self, trainer: Trainer, epoch: int) -> None:
        """Sweep, read the curve, and plan a search if it is not clear."""
        curve = self._sweep(trainer)
        self._has_momentum = any(has_momentum(optimizer) for optimizer in trainer.optimizers)
        suggestion = suggest(curve, self._rule, self._has_momentum)
        self.result = RangeTestResult(**asdict(suggestion), curve=curve, epoch=epoch)
        report_range_test(trainer, curve, suggestion, self._rule, self._has_momentum, self._output_dir)
        self._search = None
        if self._searches and not suggestion.confident:
            low = max(float(self._lrs[0]), suggestion.lr / _SPREAD)
            high = min(float(self._lrs[-1]), max(suggestion.lr, low) * _SPREAD)
            rank_zero_info(
                f"LRRangeTest is not confident: {'; '.join(suggestion.reasons)}. So learning rates from {low:.2g} to"
                f" {high:.2g}, around its lr={suggestion.lr:.2g}, are tried one by one."
            )
            every = 1 if self._monitor is None else max(self._steps_per_point, _STEPS_PER_EVAL)
            mode = self._monitor_mode if self._monitor is not None else "min"
            self._search = self._search_with(Bracket(low, high, every=every, mode=mode))

    def _run_search(self, trainer: Trainer, search: Search) -> None:
        search.run(trainer)
        found = search_result(search.bracket, self._has_momentum)
        assert self.result is not None
        self.result = replace(
            self.result, **{field.name: getattr(found, field.name) for field in fields(Suggestion)}, search=found
        )
        report_search(trainer, search.bracket, found, self._monitor or "loss", self._output_dir)

    def _search_with(self, bracket: Bracket, seed: int | None = None) -> Search:
        return Search(
            bracket, "LRRangeTest", self._monitor, self._eval_batches, _LIMIT_BATCHES, self._snapshot, seed=seed
        )

    def _sweep(self, trainer: Trainer) -> LRCurve:
        name = self._monitor or "loss"
        with progress(trainer, len(self._lrs), "LR range test") as bar, Rehearsal(trainer, self._snapshot) as rehearsal:
            values = Sweep(
                self._lrs.tolist(),
                owner="LRRangeTest",
                monitor=self._monitor,
                steps_per_lr=self._steps_per_point,
                eval_batches=self._eval_batches,
                stop=self._has_diverged,
                # the first values are read from the device only after some steps
                progress=lambda lr, value: bar.update(
                    f"lr={lr:.1e}" + (f" {name}={value:.3g}" if math.isfinite(value) else "")
                ),
            ).run(trainer, rehearsal)
        recorded = np.full(len(self._lrs), np.nan)
        recorded[: len(values)] = values
        return LRCurve(self._lrs, recorded, name, self._monitor_mode)

    def _has_diverged(self, values: Sequence[float]) -> bool:
        return has_diverged(self._lrs, values if self._monitor_mode == "min" else [-value for value in values])

    def state_dict(self) -> dict[str, Any]:
        result = None
        if self.result is not None:
            result = {
                **{name: getattr(self.result, name) for name in _RESULT_FIELDS},
                "reasons": list(self.result.reasons),
                "curve": self.result.curve.to_dict(),
            }
        return {
            "arguments": self._arguments,
            "done_epochs": list(self._done_epochs),
            "result": result,
            "search": None if self._search is None else self._search.state(),
            "has_momentum": self._has_momentum,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        changed = warn_if_changed("LRRangeTest", state_dict["arguments"], self._arguments)
        self._is_resumed = True
        self._done_epochs = list(state_dict["done_epochs"])
        if (saved := state_dict["result"]) is not None:
            restored = {**saved, "reasons": tuple(saved["reasons"]), "curve": LRCurve.from_dict(saved["curve"])}
            self.result = RangeTestResult(**restored)
        self._has_momentum = state_dict["has_momentum"]
        if (search := state_dict["search"]) is not None and self.result is not None:
            bracket = Bracket.from_state(search["bracket"])
            if bracket.is_done:
                self.result = replace(self.result, search=search_result(bracket, self._has_momentum))
            if bracket.is_done or changed <= _OF_THE_RESULT:  # else another test is asked for now
                self._search = self._search_with(bracket, search["seed"])
