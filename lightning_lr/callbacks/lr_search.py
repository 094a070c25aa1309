"""`LRSearch`: short trainings with one learning rate each, from coarse to fine, aside from the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.arguments import checked
from lightning_lr.callbacks._argument_rules import SEARCH
from lightning_lr.callbacks._lr_finder import LRFinder
from lightning_lr.callbacks._saved_arguments import plain_arguments
from lightning_lr.search.result import SearchResult
from lightning_lr.trainer.lightning_packages import MisconfigurationException
from lightning_lr.trainer.tensorboard_charts import SEARCH_CHARTS


class LRSearch(LRFinder):
    """Searches a learning rate from coarse to fine, aside from the run, and starts the run with the one it finds.

    Every half decade of the range is tried for 40 optimizer steps, then the best one and its two neighbours for 200,
    and for 400 if the loss still falls steeply (see `lightning_lr.search.bracket`). If the best one lies at an end of
    the range, the search goes on beyond it; in the longer trials it goes lower only where the lowest is better by much.
    All trials start from the same state, train on the same batches in the same order, and end early when they diverge
    or cannot catch up. Then everything is restored. The run that follows is bit for bit the run without a search, but
    with the learning rate that was found. `SearchResult` says what a longer run than the trials gets. It also gives
    bounds to a `CyclicalLR`, or another schedule of this package, whose bounds were left open.

    An interrupted search is continued, with the first trial that was not finished, when the run is resumed from a
    checkpoint of that time (for example by Lightning's ``OnExceptionCheckpoint``). A finished search is not repeated.

    Args:
        min_lr: lowest learning rate at the start, for the parameter group with the highest one. Other groups keep their
            ratio to it.
        max_lr: highest learning rate at the start.
        budget: maximum number of optimizer steps of all trials together. It makes the later trials longer or shorter.
            None for the lengths above.
        monitor: what is compared: the training loss (None), or any key that the module logs. A key of the training
            step is read after every ``steps_per_eval`` steps. For any other key the validation loop is run then.
        monitor_mode: whether less (``"min"``) or more (``"max"``) of it is better.
        steps_per_eval: optimizer steps between two values of ``monitor``. The training loss is read at every step.
        eval_batches: maximum number of batches of each validation loader for one value.
        limit_batches: training batches that the trials use, over and over: a number (``100``) or a share of an epoch
            (``0.1``). They are read once, at most as many as the longest trial uses, and kept in at most a quarter of
            the free host memory. Trials that are longer memorize them, which makes high learning rates look better
            than they are.
        apply: whether to set what was found, in the hyperparameters ``lr`` and ``learning_rate`` of the module too, so
            that checkpoints hold it. If not, it is only reported.
        output_dir: folder for the leaderboard (CSV), the result with all curves (JSON) and the figure (PNG); None to
            write nothing.
        snapshot: where copies of the model and the optimizers are kept during the search. The best trials are continued
            from their last step if copies of their states fit into half of the free memory. Otherwise they are run
            again from the start.

    Attributes:
        result: the `SearchResult`; None before the search has ended.

    Logged keys:

    | key | value |
    |---|---|
    | ``lr_search/suggested_lr``, ``/base_lr``, ``/max_lr`` | once |
    | ``lr_search/lr``, ``/score`` | of each trial, not in TensorBoard; no score if it diverged |
    | ``lr_search/score_vs_log10_lr_x1000`` | chart in TensorBoard: the scores, with 1000 log10 lr as the step |
    | ``lr_search/record`` | the trials, for our tab in TensorBoard |
    | ``lr_search/leaderboard`` | text in TensorBoard: every learning rate, its verdict, and why it was dropped |
    | ``lr_search/trials`` | figure in TensorBoard: the curves of all trials |
    | ``found_lr``, ``found_base_lr``, ``found_max_lr`` | hyperparameters of loggers (``hparams.yaml``), if ``apply`` |
    | ``lr/<optimizer>[/<group>]``, ``lr/loss``, metric ``lr-<optimizer>`` | of the training, see `LRTrace` |

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[LRSearch(1e-5, 1.0)], logger=False, enable_checkpointing=False)
    """

    @checked(**SEARCH)
    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        budget: int | None = None,
        monitor: str | None = None,
        monitor_mode: Literal["min", "max"] = "min",
        steps_per_eval: int = 10,
        eval_batches: int = 10,
        limit_batches: int | float = 1.0,
        apply: bool = True,
        output_dir: str | Path | None = None,
        snapshot: Literal["device", "cpu"] = "device",
    ) -> None:
        arguments = plain_arguments(locals())
        super().__init__(arguments, limit_batches, [SEARCH_CHARTS])
        self._bracket_arguments = (min_lr, max_lr, steps_per_eval, budget)
        self._new_bracket(*self._bracket_arguments)  # raises for a bad range, or a budget that is too small for it
        self.result: SearchResult | None = None

    @property
    def _has_reported(self) -> bool:
        return self.result is not None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        finders = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, LRFinder)]
        if sum(finder.applies for finder in finders) > 1:
            raise MisconfigurationException(
                f"{' and '.join(type(finder).__name__ for finder in finders)} would both set the learning rate: leave"
                f" one of them out, or give one of them apply=False. LRRangeTest runs such trials by itself."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lr_tracer.start(trainer, self)
        if self._is_new_run(trainer):
            self._search, self.result = None, None
        if self.result is None and not self._is_resumed and trainer.global_step > 0:
            rank_zero_warn(
                f"LRSearch searches at the start of a run only, and this one goes on from step"
                f" {trainer.global_step}: use LRRangeTest(at_epochs=...) for a test within it."
            )
            return
        if self.result is not None:
            self._apply_again(trainer, pl_module, self.result)
        self._is_resumed = False
        if self._search is None and trainer.global_step > 0:
            return  # an older version has searched before the checkpoint was saved
        if self.result is None and not vars(trainer)["fast_dev_run"]:
            if self._search is None:
                self._read_run_steps(trainer)
                self._search = self._new_search(self._new_bracket(*self._bracket_arguments))
            self._begin_test(trainer)
            self.result = self._run_search(trainer, self._search)
            self._apply_result(trainer, pl_module, self.result)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if self._search is not None and self._search.bracket.is_done:
            self.result = self._search_result(self._search.bracket)
