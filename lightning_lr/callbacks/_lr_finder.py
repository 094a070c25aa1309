"""`LRFinder`: the base of the callbacks that find a learning rate before or within a run and set it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_lr.callbacks._advice import how_to_keep
from lightning_lr.callbacks._applied import Applied, summary
from lightning_lr.callbacks._apply_suggestion import (
    apply_suggestion,
    module_lr,
    optimizer_lr,
    restart_adaptation,
    set_module_lr,
)
from lightning_lr.callbacks._optimizer_checks import check_step_hooks, warn_if_self_adapting
from lightning_lr.callbacks._saved_arguments import warn_if_changed
from lightning_lr.callbacks._saved_state import checked_state, header
from lightning_lr.callbacks._state_rules import FINDER, restored_search
from lightning_lr.optimizers.param_groups import lr_ratios
from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.result import SearchResult, search_result, why_not_best
from lightning_lr.trainer.held_iterators import warn_of_held_iterators
from lightning_lr.trainer.hyperparameters import declare_metrics, log_found_lr
from lightning_lr.trainer.lazy_parameters import check_no_lazy_parameters
from lightning_lr.trainer.lightning_packages import Callback
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.output_files import check_folder_writable
from lightning_lr.trainer.range_test import kind_of_updates
from lightning_lr.trainer.run_lengths import run_lengths
from lightning_lr.trainer.search_report import report_search
from lightning_lr.trainer.strategies import trains_in_this_process
from lightning_lr.trainer.tensorboard_charts import Charts
from lightning_lr.trainer.trials import Search

# An interrupted search is continued although these arguments were changed: no trial depends on them.
_NOT_OF_TRIALS = {"apply", "at_epochs", "output_dir", "snapshot"}


class LRFinder(Callback, ABC):
    """Finds a learning rate aside from the run, applies it, and saves an interrupted search in checkpoints.

    Args:
        arguments: constructor arguments, as they are saved in a checkpoint.
        limit_batches: training batches that the trials of a search read, a number or a share of an epoch.
        charts: of TensorBoard, that show what is found.

    Attributes:
        applies: whether it sets the learning rate that it finds.
        optimizer_lr: learning rate to build the optimizer with, for the schedule of the run; NaN before it is known.
    """

    def __init__(self, arguments: dict[str, Any], limit_batches: float, charts: Sequence[Charts]) -> None:
        self._arguments = arguments
        self._limit_batches = limit_batches
        self._monitor: str | None = arguments["monitor"]
        self._monitor_mode: Literal["min", "max"] = arguments["monitor_mode"]
        self._eval_batches: int = arguments["eval_batches"]
        self._output_dir = None if arguments["output_dir"] is None else Path(arguments["output_dir"])
        self._snapshot_device: Literal["device", "cpu"] = arguments["snapshot"]
        self._search: Search | None = None  # once it has begun
        self._run_steps = math.inf  # optimizer steps of the run from the search on; infinite if not known
        self._update: UpdateKind = "normalized"  # of the optimizer, from the search on
        self._is_resumed = False
        self._module_lr: float | None = None  # of the module's hyperparameters, as it was set
        self._has_logged_found_lr = False  # in this fit
        self.applies: bool = arguments["apply"]
        self.optimizer_lr = math.nan
        self.lr_tracer = LRTracer(charts=charts)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_logged_found_lr = False
        if vars(trainer)["fast_dev_run"]:
            rank_zero_warn(f"{self._name} is skipped: Trainer(fast_dev_run=...) is set.")
        else:
            check_step_hooks(self._name, trainer.optimizers)
            lr_ratios(trainer.optimizers)  # raises if there is no learning rate
            warn_if_self_adapting(self._name, trainer.optimizers)
            if self._output_dir is not None:
                check_folder_writable("output_dir", self._output_dir, trainer)
            elif not trains_in_this_process(trainer):
                rank_zero_info(
                    f"{self._name}: its result stays in the processes that Lightning starts for the training. Give it"
                    " an output_dir to get files of it."
                )
            declare_metrics(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.lr_tracer.batch_end(outputs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lr_tracer.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.lr_tracer.stop()
        self._is_resumed = False  # the next fit may have no checkpoint

    def state_dict(self) -> dict[str, Any]:
        return {
            **header(self),
            "arguments": self._arguments,
            "search": None if self._search is None else self._search.state(),
            "run_steps": self._run_steps,
            "update": self._update,
            "module_lr": self._module_lr,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = checked_state(self, state_dict, FINDER)
        changed = warn_if_changed(self._name, state["arguments"], self._arguments)
        self._is_resumed = True
        self._run_steps, self._update = state["run_steps"], state["update"]
        self._module_lr = state["module_lr"]
        if (saved := state["search"]) is None:
            return
        bracket = restored_search(saved["bracket"])
        if bracket is None:
            rank_zero_info(
                f"{self._name}: the search in the checkpoint is of an older version. If it was interrupted, it begins"
                " anew."
            )
            return
        if bracket.is_done or changed <= _NOT_OF_TRIALS:  # else the arguments ask for another search
            self._search = self._new_search(bracket, saved["seed"], saved["bad_steps"])

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{name}={value!r}' for name, value in self._arguments.items())})"

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _new_bracket(self, min_lr: float, max_lr: float, steps_per_eval: int, budget: int | None = None) -> Bracket:
        """A bracket that compares the loss of every step, or the monitored key every ``steps_per_eval`` steps."""
        max_steps = int(self._run_steps) if math.isfinite(self._run_steps) else None
        if self._monitor is None:
            return Bracket(min_lr, max_lr, budget, max_steps=max_steps)
        return Bracket(min_lr, max_lr, budget, every=steps_per_eval, mode=self._monitor_mode, max_steps=max_steps)

    def _new_search(self, bracket: Bracket, seed: int | None = None, bad_steps: Sequence[int] = ()) -> Search:
        return Search(
            bracket,
            self._name,
            self._monitor,
            self._eval_batches,
            self._limit_batches,
            self._snapshot_device,
            seed=seed,
            bad_steps=bad_steps,
        )

    def _read_run_steps(self, trainer: Trainer) -> None:
        """Note how many optimizer steps the run has from this epoch on, at least 1."""
        lengths = run_lengths(trainer)
        done = trainer.current_epoch * lengths.epoch_steps if trainer.current_epoch else 0
        left = lengths.run_steps - done
        self._run_steps = max(1.0, left) if math.isfinite(left) else math.inf

    def _begin_test(self, trainer: Trainer) -> UpdateKind:
        """Refuse or warn of what a test cannot restore, and note the kind of the optimizer's updates."""
        check_no_lazy_parameters(self._name, trainer.lightning_module)
        warn_of_held_iterators(self._name, trainer)
        self._update = kind_of_updates(trainer, self._name)
        return self._update

    def _run_search(self, trainer: Trainer, search: Search) -> SearchResult:
        """Run the trials that are left, and report all of them."""
        search.run(trainer)
        result = self._search_result(search.bracket)
        tag = self._report_tag(trainer, "lr_search")
        monitor = self._monitor or "loss"
        report_search(trainer, search.bracket, result, monitor, tag, self._output_dir, self._arguments)
        if why := why_not_best(result, self._run_steps, self._update):
            rank_zero_info(f"{self._name}: {why}")
        return result

    def _search_result(self, bracket: Bracket) -> SearchResult:
        return search_result(bracket, self._run_steps, self._update)

    @property
    @abstractmethod
    def _has_reported(self) -> bool:
        """Whether it has logged what it found, in this run or before it was resumed."""

    def _report_tag(self, trainer: Trainer, tag: str) -> str:
        """The tag of a report. The first one of a run has the plain tag, the others that of their epoch.

        In TensorBoard the steps of a tag must rise: where they go back, it forgets what it had.
        """
        callbacks = vars(trainer)["callbacks"]
        is_first = not any(isinstance(callback, LRFinder) and callback._has_reported for callback in callbacks)
        return tag if is_first else f"{tag}/epoch_{trainer.current_epoch}"

    def _apply_result(self, trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion) -> None:
        """Set a suggestion if ``apply`` asks for it, and tell the user and the loggers."""
        lr = self.optimizer_lr = optimizer_lr(trainer, suggestion)
        applied: list[Applied] = []
        if self.applies:
            restart_adaptation(trainer)
            applied = apply_suggestion(trainer, pl_module, suggestion, lr, self._name)
        rank_zero_info(summary(self._name, suggestion, applied, how_to_keep(trainer, lr, applied)))
        if applied:
            self._module_lr = module_lr(pl_module)
            self._log_found_lr(trainer, pl_module, suggestion)
        if not suggestion.confident:
            rank_zero_warn(f"{self._name} is not confident of its result: {'; '.join(suggestion.reasons)}.")

    def _apply_again(self, trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion) -> None:
        """After a resume: set the module's learning rate, which no checkpoint restores, and log what was found.

        A checkpoint of step 0 was saved while it was found, or by a failure soon after: everything is set again. In
        another fit of the same run the optimizers are new. They are set unless the module has another rate now.
        """
        if trainer.global_step == 0:
            self._apply_result(trainer, pl_module, suggestion)
        elif self.applies and (self._is_resumed or module_lr(pl_module) == self._module_lr):
            if self._is_resumed and self._module_lr is not None:
                set_module_lr(pl_module, self._module_lr)
            elif not self._is_resumed:
                rank_zero_info(f"{self._name} sets what it found in an earlier fit: lr={suggestion.lr:.3g}.")
                self.optimizer_lr = optimizer_lr(trainer, suggestion)
                apply_suggestion(trainer, pl_module, suggestion, self.optimizer_lr, self._name)
            self._log_found_lr(trainer, pl_module, suggestion)

    def _is_new_run(self, trainer: Trainer) -> bool:
        """Whether what was found is of another run, and not of this one before a resume or in an earlier fit."""
        return not self._is_resumed and (trainer.global_step == 0 or trainer.ckpt_path is not None)

    def _log_found_lr(self, trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion) -> None:
        log_found_lr(trainer, pl_module, suggestion, is_first=not self._has_logged_found_lr)
        self._has_logged_found_lr = True
