"""`LRRangeTest`: one sweep of the learning rate aside from the run, and a suggestion read off its curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_lr.arguments import checked
from lightning_lr.callbacks._argument_rules import RANGE_TEST
from lightning_lr.callbacks._lr_finder import LRFinder
from lightning_lr.callbacks._saved_arguments import plain_arguments
from lightning_lr.callbacks._saved_state import checked_state
from lightning_lr.callbacks._state_rules import RANGE_TEST as RANGE_TEST_STATE
from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.rules import Rule as RuleName  # jsonargparse would take it for that of `arguments`
from lightning_lr.range_test.suggestion import SUGGESTION_FIELDS, Suggestion, suggest
from lightning_lr.range_test.sweep_lrs import num_lrs, sweep_lrs
from lightning_lr.search.result import SearchResult
from lightning_lr.trainer.range_test import RangeTest
from lightning_lr.trainer.range_test_report import report_range_test
from lightning_lr.trainer.run_lengths import check_epochs_begin_together
from lightning_lr.trainer.tensorboard_charts import RANGE_TEST_CHARTS, SEARCH_CHARTS
from lightning_lr.trainer.trials import Search

# The trials after a sweep start with learning rates between the suggestion divided by these. On the settings of
# benchmarks/suite the best learning rate of a run lies mostly below the suggestion, and trials that start higher can
# end in a second, worse valley.
_TRIALS_FROM, _TRIALS_TO = 30.0, 3.0
_NORMALIZED_TRIALS_FROM, _NORMALIZED_TRIALS_TO = 20.0, 2.0  # the suggestion is divided by 6 already, not by 4
_MIN_STEPS_PER_EVAL = 10  # optimizer steps between two values of a metric, at least: the default of `LRSearch`
_NO_TRIALS = "its trials did not end"
_LIMIT_BATCHES = 1.0  # share of an epoch that the trials read, at most as much as the longest one uses


@dataclass(frozen=True)
class RangeTestResult(Suggestion):
    """The result of a range test.

    Attributes:
        curve: the losses or metrics of the sweep.
        epoch: the epoch at whose start the test was run.
        search: the trials, whose suggestion this is; None with ``verify=False``.
    """

    curve: LRCurve
    epoch: int
    search: SearchResult | None = None


class LRRangeTest(LRFinder):
    """Sweeps the learning rate once, aside from the run, and starts the run with the learning rate it finds.

    At the start of each epoch in ``at_epochs`` the model is trained for ``num_steps`` optimizer steps while the
    learning rate rises. What is read off the curve is then tried in short trainings. Then everything is restored. The
    run equals, bit for bit, one without a test that starts with the learning rate found. Schedules of this package,
    such as `CyclicalLR`, get bounds if theirs were left open. `SearchResult` says what a run of another length gets.

    Args:
        min_lr: first learning rate, for the parameter group with the highest one. Other groups keep their ratio to it.
            If the loss changes from there on, the sweep is run again from four decades below.
        max_lr: last learning rate. If the loss still falls there, the sweep goes on, by up to four decades.
        num_steps: optimizer steps of the sweep, at least 10.
        mode: how the learning rate rises from step to step.
        steps_per_lr: optimizer steps with the same learning rate (a staircase).
        lrs: rising learning rates to use instead of ``min_lr``, ``max_lr``, ``num_steps`` and ``mode``.
        monitor: what is recorded: the training loss (None), or any key that the module logs. A key of the training
            step is read after every ``steps_per_lr`` steps. For any other key the validation loop is run then.
        monitor_mode: whether less (``"min"``) or more (``"max"``) of it is better.
        eval_batches: maximum number of batches of each validation loader for one value.
        rule: how the learning rate is read off the curve, see `suggest`.
        apply: whether to set what was found, in the hyperparameters ``lr`` and ``learning_rate`` of the module too, so
            that checkpoints hold it. If not, it is only reported.
        at_epochs: epochs at whose start a sweep is run, from 0.
        verify: whether short trainings from the same state try what the sweep suggests, and lower or higher ones, as in
            `LRSearch` (about 600 optimizer steps, at most 1400, on batches that are kept in host memory). If
            not, the sweep alone decides.
        output_dir: folder for the curve (CSV), the result (JSON) and the figure (PNG); None to write nothing.
        snapshot: where the copy of the model and the optimizers is kept during the sweep.

    Attributes:
        result: the latest `RangeTestResult`; None before the first test.

    Logged keys:

    | key | value |
    |---|---|
    | ``lr_range_test/lr``, ``/loss`` (or the monitored key), ``/loss_smoothed`` | of each point of the sweep |
    | ``lr_range_test/suggested_lr``, ``/base_lr``, ``/max_lr`` | once |
    | ``lr_range_test/loss_vs_log10_lr_x1000`` | chart in TensorBoard: the curve, with 1000 log10 lr as the step |
    | ``lr_range_test/curve`` | figure in TensorBoard |
    | ``lr_range_test/record`` | the curve and what was read off it, for our tab in TensorBoard |
    | ``lr_range_test/epoch_3/...`` | all of these, of a further test in epoch 3 |
    | ``lr_search/...`` | of the trials, see `LRSearch` |
    | ``found_lr``, ``found_base_lr``, ``found_max_lr`` | hyperparameters of loggers (``hparams.yaml``), if ``apply`` |
    | ``lr/<optimizer>[/<group>]``, ``lr/loss``, metric ``lr-<optimizer>`` | of the training, see `LRTrace` |

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[LRRangeTest(num_steps=100)], logger=False, enable_checkpointing=False)

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
    """

    @checked(**RANGE_TEST)
    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        num_steps: int = 100,
        mode: Literal["exponential", "linear"] = "exponential",
        steps_per_lr: int = 1,
        lrs: Sequence[float] | None = None,
        monitor: str | None = None,
        monitor_mode: Literal["min", "max"] = "min",
        eval_batches: int = 10,
        rule: RuleName = "dual",
        apply: bool = True,
        at_epochs: Sequence[int] = (0,),
        verify: bool = True,
        output_dir: str | Path | None = None,
        snapshot: Literal["device", "cpu"] = "device",
    ) -> None:
        arguments = plain_arguments(locals())
        self._at_epochs = set(at_epochs)
        super().__init__(arguments, _LIMIT_BATCHES, [RANGE_TEST_CHARTS, *([SEARCH_CHARTS] if verify else [])])
        points = np.array(lrs) if lrs else sweep_lrs(min_lr, max_lr, num_lrs(num_steps, steps_per_lr), mode)
        # A loss is recorded at each step, a metric once for each learning rate.
        is_loss = monitor is None
        self._range_test = RangeTest(
            np.repeat(points, steps_per_lr) if is_loss else points,
            owner=self._name,
            monitor=monitor,
            monitor_mode=monitor_mode,
            steps_per_lr=1 if is_loss else steps_per_lr,
            eval_batches=self._eval_batches,
            snapshot_device=snapshot,
            extends=lrs is None and mode == "exponential" and steps_per_lr == 1,
        )
        self._rule: RuleName = rule
        self._verifies = verify
        self._done_epochs: list[int] = []
        self.result: RangeTestResult | None = None

    @property
    def _has_reported(self) -> bool:
        return bool(self._done_epochs)

    @cached_property  # since Lightning reads it at every hook
    def state_key(self) -> str:
        return self._generate_state_key(at_epochs=sorted(self._at_epochs))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lr_tracer.start(trainer, self)
        if self._is_new_run(trainer):
            self._done_epochs, self._search, self.result = [], None, None
        # the result of one that was cut off is that of its sweep
        is_cut_off = self._search is not None and not self._search.bracket.is_done
        if self.result is not None and not is_cut_off:
            self._apply_again(trainer, pl_module, self.result)
        self._is_resumed = False
        if max(self._at_epochs) > trainer.current_epoch:
            check_epochs_begin_together(f"LRRangeTest(at_epochs={sorted(self._at_epochs)})", trainer)
        missed = sorted(self._at_epochs - set(self._done_epochs))
        if self.result is None and missed and missed[-1] < trainer.current_epoch:
            rank_zero_warn(
                f"LRRangeTest: at_epochs={missed} lies before epoch {trainer.current_epoch}, with which this run"
                f" starts, so no sweep is run: add {trainer.current_epoch} to at_epochs for one."
            )
        self._run_if_due(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._run_if_due(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        result = None
        if self.result is not None:
            result = {
                **{name: getattr(self.result, name) for name in SUGGESTION_FIELDS},
                "epoch": self.result.epoch,
                "reasons": list(self.result.reasons),
                "curve": self.result.curve.to_dict(),
            }
        return {**super().state_dict(), "done_epochs": list(self._done_epochs), "result": result}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = checked_state(self, state_dict, RANGE_TEST_STATE)
        super().load_state_dict(state)
        self._done_epochs = state["done_epochs"]
        if (saved := state["result"]) is not None:
            result = RangeTestResult(
                **{**saved, "reasons": tuple(saved["reasons"]), "curve": LRCurve.from_dict(saved["curve"])}
            )
            if self._search is not None and self._search.bracket.is_done:
                result = replace(result, search=self._search_result(self._search.bracket))
            self.result = result

    def _run_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if epoch not in self._at_epochs or epoch in self._done_epochs or vars(trainer)["fast_dev_run"]:
            return
        update = self._begin_test(trainer)
        if self._search is None or self._search.bracket.is_done:  # else the search was interrupted
            self._read_run_steps(trainer)
            curve = self._range_test.run(trainer)
            suggestion = suggest(curve, self._rule, update, self._range_test.steps_per_lr)
            self.result = RangeTestResult(**asdict(suggestion), curve=curve, epoch=epoch)
            self._search = self._plan_search(self.result, update) if self._verifies else None
            if self._search is not None:  # what Ctrl-C leaves has stood no trial
                self.result = replace(self.result, confident=False, reasons=(*suggestion.reasons, _NO_TRIALS))
        assert self.result is not None
        if self._search is not None:
            found = self._run_search(trainer, self._search)
            suggested = {name: getattr(found, name) for name in SUGGESTION_FIELDS}
            self.result = replace(self.result, **suggested, search=found)
        report_range_test(
            trainer,
            self.result,
            self.result.curve,
            self._rule,
            update,
            self._range_test.steps_per_lr,
            self._report_tag(trainer, "lr_range_test"),
            self._output_dir,
            self._arguments,
        )
        self._apply_result(trainer, pl_module, self.result)
        self._done_epochs.append(epoch)

    def _plan_search(self, sweep: RangeTestResult, update: UpdateKind) -> Search:
        """A search that starts below the suggestion of a sweep."""
        overshoot = max(1.0, float(sweep.curve.lrs[-1] / self._range_test.lrs[-1]))
        is_normalized = update == "normalized"
        low = sweep.lr / (_NORMALIZED_TRIALS_FROM if is_normalized else _TRIALS_FROM) / overshoot
        high = sweep.lr / (_NORMALIZED_TRIALS_TO if is_normalized else _TRIALS_TO)
        doubt = f", but is not confident: {'; '.join(sweep.reasons)}" if sweep.reasons else ""
        rank_zero_info(
            f"LRRangeTest: the sweep suggests lr={sweep.lr:.2g}{doubt}. Short trainings now try learning rates from"
            f" {low:.2g} to {high:.2g}, and further ones if the best lies at an end."
        )
        steps_per_eval = max(self._range_test.steps_per_lr, _MIN_STEPS_PER_EVAL)
        return self._new_search(self._new_bracket(low, high, steps_per_eval))
