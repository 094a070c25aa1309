"""`LRSearch`: short trainings with one learning rate each, from coarse to fine, aside from the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_lr.callbacks._apply import apply_suggestion, summary
from lightning_lr.callbacks._arguments import check_flags, check_numbers, folder, plain_arguments, warn_if_changed
from lightning_lr.callbacks.lr_range_test import LRRangeTest
from lightning_lr.optimizers.param_groups import has_momentum, lr_ratios
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.result import SearchResult, search_result
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.search_report import report_search
from lightning_lr.trainer.trials import Search

# Arguments that a search under way can do without: it goes on if they are changed.
_OF_THE_RESULT = {"apply", "output_dir", "snapshot"}


class LRSearch(Callback):
    """Searches a learning rate from coarse to fine, aside from the run, and starts the run with the one it finds.

    Every half decade of the range is tried for 50 optimizer steps, the best four for 200, then the neighbours of the
    best one (see `lightning_lr.search.bracket`). All trials start from the same state, train on the same batches in the same
    order, and end early when they diverge or cannot catch up. Then everything is put back: the run that follows is bit
    for bit the run that would have been, with the learning rate that was found, and the bounds of a `CyclicalLR` (or
    another schedule of ours) that has none.

    A search that is interrupted goes on, in a run that is resumed from a checkpoint that was saved then (for example
    by Lightning's ``OnExceptionCheckpoint``), with the first trial that was not done. One that is done is not run
    again.

    Args:
        min_lr: lowest learning rate, for the parameter group with the highest one; other groups keep their ratio to it.
        max_lr: highest learning rate.
        budget: optimizer steps of all trials together at most, which makes the later trials longer or shorter; None for
            the lengths above.
        monitor: what is compared: the training loss (None), or any key that the module logs. A key of the training
            step is read after every ``steps_per_eval`` steps; for any other the validation loop is run then.
        monitor_mode: whether less or more of it is better.
        steps_per_eval: as above. Without ``monitor`` the loss of every step is taken.
        eval_batches: batches of each validation loader that are used for a value.
        limit_batches: training batches that the trials are run on, over and over: a number (``100``) or a share of an
            epoch (``0.1``). They are read once, as many as the longest trial can use, and held in host memory. On
            fewer than 100 the trials learn them by heart, which makes high learning rates look better than they are.
        apply: whether to set what was found. Else it is only reported.
        output_dir: where to write leaderboard (CSV), result with all curves (JSON) and figure (PNG); nothing is written
            if None.
        snapshot: where copies of the model and the optimizers live during the search. The best trials are taken up
            where they ended if the copies of their states fit into half of the free memory, else they are run anew.

    Attributes:
        result: the `SearchResult`, None before.

    Logged keys:

    | key | value |
    |---|---|
    | ``lr_search/lr``, ``/rung``, ``/score`` | each trial; no score if it diverged |
    | ``lr_search/suggested_lr``, ``/base_lr``, ``/max_lr`` | once |
    | ``lr_search/leaderboard`` | TensorBoard: every learning rate with its verdict and why it was dropped, a text |
    | ``lr_search/trials`` | TensorBoard: the figure, the curves of all trials |
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | training, unless a callback of ours before this one logs them |

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[LRSearch(1e-5, 1.0)], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        budget: int | None = None,
        monitor: str | None = None,
        monitor_mode: Literal["min", "max"] = "min",
        steps_per_eval: int = 10,
        eval_batches: int = 10,
        limit_batches: int | float = 100,
        apply: bool = True,
        output_dir: str | Path | None = None,
        snapshot: Literal["device", "cpu"] = "device",
    ) -> None:
        self._arguments = plain_arguments(locals())
        check_flags(apply=apply)
        check_numbers(
            min_lr=min_lr, max_lr=max_lr, budget=budget, steps_per_eval=steps_per_eval, eval_batches=eval_batches
        )
        if snapshot not in ("device", "cpu"):
            raise ValueError(f"snapshot must be one of device, cpu, got {snapshot!r}.")
        if monitor_mode not in ("min", "max"):
            raise ValueError(f"monitor_mode must be one of min, max, got {monitor_mode!r}.")
        for name in ("steps_per_eval", "eval_batches"):
            if self._arguments[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {self._arguments[name]}.")
        is_number = isinstance(limit_batches, (int, float)) and not isinstance(limit_batches, bool)
        if not is_number or not (0 < limit_batches <= 1 if isinstance(limit_batches, float) else limit_batches >= 1):
            raise ValueError(
                f"limit_batches must be a number of batches of at least 1, or a share of an epoch above 0.0 and at"
                f" most 1.0, got {limit_batches!r}."
            )
        self._bracket_arguments: dict[str, Any] = {
            "min_lr": min_lr,
            "max_lr": max_lr,
            "budget": budget,
            "every": 1 if monitor is None else steps_per_eval,
            "mode": monitor_mode if monitor is not None else "min",
        }
        Bracket(**self._bracket_arguments)  # refuses a range or a budget that does not do
        self._monitor = monitor
        self._apply = apply
        self._output_dir = folder("output_dir", output_dir)
        self._search: Search | None = None
        self._has_momentum = True
        self._is_resumed = False
        self._tracer = LRTracer()
        self.result: SearchResult | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if vars(trainer)["fast_dev_run"]:
            rank_zero_warn("LRSearch is skipped: Trainer(fast_dev_run=...) is set.")
        else:
            lr_ratios(trainer.optimizers)  # raises where there is no learning rate to search
        others = [each for each in vars(trainer)["callbacks"] if isinstance(each, (LRRangeTest, LRSearch))]
        if sum(each.applies for each in others) > 1:
            raise MisconfigurationException(
                f"{' and '.join(type(each).__name__ for each in others)} would both set the learning rate: leave one of"
                f" them out, or give one of them apply=False. LRRangeTest searches by itself if its curve is not clear."
            )

    @property
    def applies(self) -> bool:
        """Whether it sets what it finds."""
        return self._apply

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracer.start(trainer, self)
        if not self._is_resumed:  # perhaps another run with the same callback
            self._search, self.result = None, None
            if trainer.global_step > 0:
                rank_zero_warn(
                    f"LRSearch searches at the start of a run only, and this one goes on from step"
                    f" {trainer.global_step}: use LRRangeTest(at_epochs=...) for a test within it."
                )
                return
        self._is_resumed = False
        if self.result is None and not vars(trainer)["fast_dev_run"]:
            self._run(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tracer.batch_end(outputs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracer.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._tracer.stop()

    def _run(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._search is None:
            self._search = self._search_with(Bracket(**self._bracket_arguments))
            self._has_momentum = any(has_momentum(optimizer) for optimizer in trainer.optimizers)
        self._search.run(trainer)
        bracket = self._search.bracket
        self.result = search_result(bracket, self._has_momentum)
        applied = apply_suggestion(trainer, pl_module, self.result, "LRSearch") if self._apply else []
        report_search(trainer, bracket, self.result, self._monitor or "loss", self._output_dir)
        rank_zero_info(summary("LRSearch", self.result, applied))
        if not self.result.confident:
            rank_zero_warn(f"LRSearch is not confident of its result: {'; '.join(self.result.reasons)}.")

    def _search_with(self, bracket: Bracket, seed: int | None = None) -> Search:
        names = ("monitor", "eval_batches", "limit_batches", "snapshot")
        return Search(bracket, "LRSearch", **{name: self._arguments[name] for name in names}, seed=seed)

    def state_dict(self) -> dict[str, Any]:
        return {
            "arguments": self._arguments,
            "search": None if self._search is None else self._search.state(),
            "has_momentum": self._has_momentum,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        changed = warn_if_changed("LRSearch", state_dict["arguments"], self._arguments)
        self._is_resumed = True
        if (saved := state_dict["search"]) is None:
            return
        bracket = Bracket.from_state(saved["bracket"])
        self._has_momentum = state_dict["has_momentum"]
        if bracket.is_done:
            self.result = search_result(bracket, self._has_momentum)
        if bracket.is_done or changed <= _OF_THE_RESULT:  # else another search is asked for now
            self._search = self._search_with(bracket, saved["seed"])
