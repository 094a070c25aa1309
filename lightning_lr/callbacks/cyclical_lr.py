"""`CyclicalLR`: the learning rate goes up and down between two bounds, one value per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch.optim import Optimizer

from lightning_lr._trace import LRTracer
from lightning_lr.callbacks._arguments import plain_arguments, warn_if_changed
from lightning_lr.durations import Duration
from lightning_lr.param_groups import get_lr, lr_ratios, set_lr
from lightning_lr.schedules import Mode, amplitude, triangle
from lightning_lr.step_counter import StepCounter


class CyclicalLR(Callback):
    """Cyclical learning rates of Smith (2017), a function of the number of finished optimizer steps alone.

    With t finished steps, u and d the steps up and down, c = 1 + ⌊t/(u+d)⌋ the cycle and f its height (0 at the start,
    1 at the peak after u steps, 0 at the end, straight between)::

        lr(t) = base_lr + (max_lr - base_lr) · f · S
        S = 1 (triangular),  2^-(c-1) (triangular2),  gamma^t (exp_range)

    Each optimizer is counted by its own finished steps. Under gradient accumulation a step is an optimizer step, not a
    batch; a step that AMP skipped is none.

    Args:
        base_lr: lower bound: a number for the parameter group with the highest learning rate (the others keep their
            ratio to it), or one for each group of all optimizers. Left open (None, with ``max_lr``), an `LRRangeTest`
            of the same Trainer sets both.
        max_lr: upper bound, likewise.
        step_size: half a cycle, u: optimizer steps (``500``), epochs (``"2ep"``) or a share of the run
            (``"0.25run"``). Smith advises 2 to 10 epochs, and at least 3 cycles in a run.
        step_size_down: d, likewise; equal to ``step_size`` if None.
        mode: which S.
        gamma: of ``exp_range``, above 0, at most 1.
        decay: of ``exp_range``, instead of ``gamma``: the amplitude that is left at the end of a run of T steps,
            ``gamma = decay^(1/T)``.

    Logged keys, every ``Trainer(log_every_n_steps)``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |
    | ``cyclical_lr/cycle``, ``cyclical_lr/phase`` | c from 1 on, and the share of the cycle that has passed |

    Example:
        >>> cycle = CyclicalLR(base_lr=0.001, max_lr=0.006, step_size="2ep", mode="triangular2")

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
    """

    def __init__(
        self,
        base_lr: float | Sequence[float] | None = None,
        max_lr: float | Sequence[float] | None = None,
        step_size: int | str = "2ep",
        step_size_down: int | str | None = None,
        mode: Mode = "triangular",
        gamma: float | None = None,
        decay: float | None = None,
    ) -> None:
        self._arguments = plain_arguments(locals())
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}.")
        if (mode == "exp_range") != ((gamma is None) != (decay is None)):
            raise ValueError(
                f"mode='exp_range' takes gamma or decay, other modes neither, got {mode=}, {gamma=}, {decay=}."
            )
        for name, factor in (("gamma", gamma), ("decay", decay)):
            if factor is not None and not 0 < factor <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {factor}.")
        self._mode: Mode = mode
        self._gamma = 1.0 if gamma is None else gamma
        self._decay = decay
        self._step_size = Duration.parse("step_size", step_size)
        self._step_size_down = None if step_size_down is None else Duration.parse("step_size_down", step_size_down)
        self._up, self._down = 0, 0  # in optimizer steps, known at the start of training
        self._bounds: tuple[list[float], list[float]] | None = None
        if base_lr is not None or max_lr is not None:
            self._bounds = _checked(base_lr, max_lr)
        self._optimizers: list[Optimizer] = []
        self._counters: list[StepCounter] = []
        self._counts: list[int] = []  # of optimizer steps, one an optimizer
        self._num_groups: list[int] = []  # that an optimizer began with
        self._ratios: list[list[float]] = []  # of the groups' learning rates, a list an optimizer
        self._spans: list[list[tuple[float, float]]] = []  # their lower bounds and the distances to the upper ones
        self._tracer = LRTracer()

    @property
    def bounds_open(self) -> bool:
        """Whether the constructor left the bounds to `LRRangeTest` or `set_bounds`."""
        return self._arguments["base_lr"] is None

    def set_bounds(self, base_lr: float | Sequence[float], max_lr: float | Sequence[float]) -> None:
        """Set the bounds, from the next optimizer step on. They are kept in checkpoints.

        Args:
            base_lr: as in the constructor.
            max_lr: as in the constructor.
        """
        self._bounds = _checked(base_lr, max_lr)
        self._check_number_of_bounds()
        self._spans = [[] for _ in self._optimizers]
        for i in range(len(self._counters)):
            self._write(i)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        others = [callback for callback in vars(trainer)["callbacks"] if callback is not self]
        rivals: list[object] = [config.scheduler for config in trainer.lr_scheduler_configs]
        rivals += [other for other in others if isinstance(other, (CyclicalLR, StochasticWeightAveraging))]
        if rivals:
            raise MisconfigurationException(
                f"CyclicalLR and {type(rivals[0]).__name__} would both set the learning rate: leave one of them out."
            )
        lr_ratios(trainer.optimizers)  # raises where there is no learning rate to cycle

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # the first hook in which counts, bounds and learning rates are restored under every strategy
        self._tracer.start(trainer, self)
        self._optimizers = trainer.optimizers
        if trainer.global_step == 0 or len(self._counts) != len(self._optimizers):
            self._counts = [0] * len(self._optimizers)
            ratios = {id(group): ratio for group, ratio in lr_ratios(self._optimizers)}
            self._ratios = [[ratios[id(group)] for group in each.param_groups] for each in self._optimizers]
            self._num_groups = [len(ratios) for ratios in self._ratios]
        self._check_number_of_bounds()
        self._spans = [[] for _ in self._optimizers]
        self._set_lengths(trainer)
        self._counters = [
            StepCounter(optimizer, partial(self._finished, i), self._counts[i])
            for i, optimizer in enumerate(self._optimizers)
        ]
        for i in range(len(self._counters)):
            self._write(i)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # by now a range test has set them, wherever it stands in the list
        if self._bounds is None and not vars(trainer)["fast_dev_run"]:
            raise MisconfigurationException(
                "CyclicalLR has no bounds: give base_lr and max_lr, or add LRRangeTest to the Trainer, with apply=True"
                " and the first epoch in at_epochs, which sets them."
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tracer.batch_end(outputs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._let_go()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._let_go()

    def state_dict(self) -> dict[str, Any]:
        return {
            "arguments": self._arguments,
            "bounds": self._bounds,
            "counts": list(self._counts),
            "num_groups": list(self._num_groups),
            "ratios": [list(ratios) for ratios in self._ratios],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        warn_if_changed("CyclicalLR", state_dict["arguments"], self._arguments)
        if all(state_dict["arguments"][name] == self._arguments[name] for name in ("base_lr", "max_lr")):
            self._bounds = state_dict["bounds"]  # they may have been set after the constructor
        self._counts = list(state_dict["counts"])
        self._num_groups = list(state_dict["num_groups"])
        self._ratios = [list(ratios) for ratios in state_dict["ratios"]]

    def _set_lengths(self, trainer: Trainer) -> None:
        batches, run = trainer.num_training_batches, math.inf
        epoch = math.ceil(batches / trainer.accumulate_grad_batches) if math.isfinite(batches) else math.inf
        if self._decay is not None or "run" in (self._step_size.unit, getattr(self._step_size_down, "unit", "")):
            run = trainer.estimated_stepping_batches  # -1 or infinite if it cannot be known
            run = run if run > 0 else math.inf
        self._up = self._down = self._step_size.steps("step_size", epoch, run)
        if self._step_size_down is not None:
            self._down = self._step_size_down.steps("step_size_down", epoch, run)
        if self._decay is not None:
            if not math.isfinite(run):
                raise MisconfigurationException(
                    f"decay={self._decay} needs the length of the run, which is not known: use gamma, or set max_steps."
                )
            self._gamma = self._decay ** (1 / run)

    def _check_number_of_bounds(self) -> None:
        groups = sum(self._num_groups)
        for name, bound in zip(("base_lr", "max_lr"), self._bounds or (), strict=False):
            if groups and len(bound) not in (1, groups):
                raise MisconfigurationException(
                    f"{name} must be one number or one for each of the {groups} parameter groups, got {len(bound)}:"
                    f" {bound}."
                )

    def _finished(self, i: int, count: int) -> None:
        self._counts[i] = count
        self._write(i)

    def _write(self, i: int) -> None:
        """Set the learning rates of the coming step of an optimizer."""
        if self._bounds is None:
            return
        count, groups = self._counts[i], self._optimizers[i].param_groups
        if len(groups) > len(self._ratios[i]):  # added since, by unfreezing
            self._take_in(i)
        if len(self._spans[i]) != len(groups):
            self._spans[i] = self._spans_of(i)
        cycle, height = triangle(count, self._up, self._down)
        share = height * amplitude(self._mode, count, cycle, self._gamma)
        for group, (base_lr, span) in zip(groups, self._spans[i], strict=True):
            set_lr(group, base_lr + span * share)

    def _take_in(self, i: int) -> None:
        """Give new groups their ratio: in proportion to the first group as it stands."""
        assert self._bounds is not None
        ratios, groups = self._ratios[i], self._optimizers[i].param_groups
        stands = get_lr(groups[0]) or ratios[0] * self._bounds[1][0]  # at a lower bound of 0: to where it will go
        ratios += [ratios[0] * get_lr(group) / stands for group in groups[len(ratios) :]]

    def _spans_of(self, i: int) -> list[tuple[float, float]]:
        """Lower bound, and distance to the upper one, of each group of an optimizer."""
        assert self._bounds is not None
        base, peak = self._bounds
        first = sum(self._num_groups[:i])

        def of(bound: list[float], j: int, ratio: float) -> float:
            if len(bound) == 1:
                return bound[0] * ratio
            # a group that was added has no bound of its own: in proportion to the first group
            return bound[first + j] if j < self._num_groups[i] else bound[first] * ratio / self._ratios[i][0]

        lows, highs = ([of(bound, j, ratio) for j, ratio in enumerate(self._ratios[i])] for bound in (base, peak))
        return [(low, high - low) for low, high in zip(lows, highs, strict=True)]

    def _traced_values(self) -> dict[str, float]:
        """What is logged beside the learning rate: where the first optimizer's finished step stood."""
        step = max(0, self._counts[0] - 1)
        cycle, _ = triangle(step, self._up, self._down)
        return {"cyclical_lr/cycle": cycle, "cyclical_lr/phase": step / (self._up + self._down) - (cycle - 1)}

    def _let_go(self) -> None:
        for counter in self._counters:
            counter.remove()
        self._counters, self._optimizers = [], []
        self._tracer.stop()


def _checked(
    base_lr: float | Sequence[float] | None, max_lr: float | Sequence[float] | None
) -> tuple[list[float], list[float]]:
    if base_lr is None or max_lr is None:
        raise ValueError(f"base_lr and max_lr must both be given or both be left open, got {base_lr=}, {max_lr=}.")
    base, peak = (
        [float(bound)] if isinstance(bound, (int, float)) else [*map(float, bound)] for bound in (base_lr, max_lr)
    )
    for name, bound in (("base_lr", base), ("max_lr", peak)):
        if not bound or not all(0 <= lr < math.inf for lr in bound):
            raise ValueError(f"{name} must be finite and at least 0, got {bound}.")
    pairs = len(base) if len(peak) == 1 else len(peak)
    if len(base) not in (1, pairs):
        raise ValueError(f"base_lr and max_lr must have as many values as each other, got {base} and {peak}.")
    for low, high in zip(base * (pairs // len(base)), peak * (pairs // len(peak)), strict=True):
        if not low <= high or high == 0:
            raise ValueError(f"base_lr must not be above max_lr, and max_lr above 0, got {low} and {high}.")
    return base, peak
