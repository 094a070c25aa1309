"""`CyclicalLR`: the learning rate goes up and down between two bounds, one value per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, get_args

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer

from lightning_lr.callbacks._arguments import check_flags, check_numbers, imported, plain_arguments
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.base import Position
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.cyclical import Cyclical, Mode, ScaleMode
from lightning_lr.schedules.waves import Wave
from lightning_lr.trainer.cycle_losses import CycleLosses


class CyclicalLR(ScheduledLR):
    """Cyclical learning rates of Smith (2017), a function of the number of finished optimizer steps alone.

    With t finished steps, u and d the steps up and down, c = 1 + ⌊t/(u+d)⌋ the cycle and f its height (0 at the start,
    1 at the peak after u steps, 0 at the end)::

        lr(t) = base_lr + (max_lr - base_lr) · f · S
        S = 1 (triangular),  gamma^(c-1) (triangular2),  gamma^t (exp_range)

    Each optimizer is counted by its own finished steps. Under gradient accumulation a step is an optimizer step, not a
    batch; a step that AMP skipped is none. A run that is resumed with other lengths goes on from the same phase.

    Lengths are optimizer steps (``500``), epochs (``"2ep"``) or a share of the run (``"0.25run"``).

    Args:
        base_lr: lower bound: a number for the parameter group with the highest learning rate (the others keep their
            ratio to it), or one for each group of the optimizers, as a list by position or as a dict by the group's
            ``"name"``. Left open (None, with ``max_lr``), an `LRRangeTest` of the same Trainer sets both. A group that
            is added later, as by ``BackboneFinetuning``, keeps the ratio to the others that it is added with.
        max_lr: upper bound, likewise.
        step_size: half a cycle, u. Smith advises 2 to 10 epochs, and at least 3 cycles in a run.
        step_size_down: d; equal to ``step_size`` if None.
        mode: which S.
        gamma: of ``exp_range`` and ``triangular2`` (there 0.5 if None), above 0, at most 1.
        decay: of ``exp_range``, instead of ``gamma``: the amplitude that is left at the end of a run of T steps,
            ``gamma = decay^(1/T)``.
        scale_fn: own S instead of ``mode``, a function or its dotted path (``"my_module.my_scale"``), that gives a
            finite number of at least 0.
        scale_mode: what ``scale_fn`` is called with: the cycle, from 1, or the finished steps t.
        wave: f straight, or half a cosine on the way up and on the way down.
        cycle_mult: each cycle is so many times as long as the one before; below 1 only with ``num_cycles``.
        num_cycles: after which ``base_lr`` stays; endless if None.
        fit_cycles: stretch all cycles by one factor, so that the run ends at the end of one: of the last of
            ``num_cycles``, else of as many as need the least stretching.
        warmup: length of a linear rise to ``base_lr`` before the first cycle, whose t starts behind it.
        momentum: lowest and highest, moved against the learning rate: momentum of SGD and RMSprop, the first beta of
            Adam and its like. Left alone if None.
        weight_decay: likewise; groups keep their ratio, so a group without weight decay stays without.
        optimizer: position of the only optimizer to be driven, in ``configure_optimizers``, to give each a cycle of
            its own; all if None.
        snapshot_cycles: save a checkpoint at the end of each cycle, where the learning rate is lowest, in the folder
            ``snapshots`` of the run; `ensemble` makes one model of them.

    Logged keys, every ``Trainer(log_every_n_steps)``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |
    | ``cyclical_lr/cycle``, ``/phase`` | c, from 1 on (0 in the warm-up), and the share of the cycle that has passed |
    | ``cyclical_lr/momentum``, ``/weight_decay`` | of a group with ratio 1, where asked for |
    | ``cyclical_lr/loss_vs_phase`` | figure of all cycles at the end of the run, in TensorBoard |

    Example:
        >>> cycle = CyclicalLR(base_lr=0.001, max_lr=0.006, step_size="2ep", mode="triangular2")
        >>> cycle.preview(steps=9, steps_per_epoch=2).lr.round(6).tolist()
        [0.001, 0.00225, 0.0035, 0.00475, 0.006, 0.00475, 0.0035, 0.00225, 0.001]

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
        Gao Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", 2017, arXiv:1704.00109.
    """

    _what_sets_bounds = "base_lr and max_lr"

    def __init__(
        self,
        base_lr: float | Sequence[float] | Mapping[str, float] | None = None,
        max_lr: float | Sequence[float] | Mapping[str, float] | None = None,
        step_size: int | str = "2ep",
        step_size_down: int | str | None = None,
        mode: Mode = "triangular",
        gamma: float | None = None,
        decay: float | None = None,
        scale_fn: Callable[[float], float] | str | None = None,
        scale_mode: ScaleMode = "cycle",
        wave: Wave = "triangle",
        cycle_mult: float = 1.0,
        num_cycles: int | None = None,
        fit_cycles: bool = False,
        warmup: int | str | None = None,
        momentum: tuple[float, float] | None = None,
        weight_decay: tuple[float, float] | None = None,
        optimizer: int | None = None,
        snapshot_cycles: bool = False,
    ) -> None:
        arguments = plain_arguments(locals())
        check_flags(fit_cycles=fit_cycles, snapshot_cycles=snapshot_cycles)
        check_numbers(gamma=gamma, decay=decay, cycle_mult=cycle_mult)
        if isinstance(scale_fn, str):
            scale_fn = imported("scale_fn", scale_fn)
        choices = (("mode", mode, Mode), ("wave", wave, Wave), ("scale_mode", scale_mode, ScaleMode))
        for name, value, kind in choices:
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}.")
        if mode == "exp_range" and (gamma is None) == (decay is None):
            raise ValueError(f"mode='exp_range' needs one of gamma and decay, got {gamma=}, {decay=}.")
        if decay is not None and mode != "exp_range":
            raise ValueError(f"decay is for exp_range, got {decay=} with {mode=}.")
        if gamma is not None and mode == "triangular":
            raise ValueError(f"gamma is for exp_range and triangular2, got {gamma=} with {mode=}.")
        for name, factor in (("gamma", gamma), ("decay", decay)):
            if factor is not None and not 0 < factor <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {factor}.")
        if scale_fn is not None and mode != "triangular":
            raise ValueError(f"scale_fn takes the place of mode: leave mode out, got {mode=}.")
        if not 0 < cycle_mult < math.inf:
            raise ValueError(f"cycle_mult must be finite and above 0, got {cycle_mult}.")
        is_number = isinstance(num_cycles, Real) and not isinstance(num_cycles, bool)
        if num_cycles is not None and not (is_number and num_cycles % 1 == 0 and num_cycles >= 1):
            raise ValueError(f"num_cycles must be a whole number of at least 1, got {num_cycles!r}.")
        if cycle_mult < 1 and num_cycles is None:
            raise ValueError(f"cycle_mult={cycle_mult} shrinks cycles without end: give num_cycles too.")
        bounds = None if base_lr is None and max_lr is None else Bounds.checked(base_lr, max_lr)
        lengths = {"step_size": step_size, "step_size_down": step_size_down, "warmup": warmup}
        super().__init__(arguments, bounds, lengths, optimizer, momentum, weight_decay)
        self._shape = {
            "mode": mode,
            "gamma": float(gamma if gamma is not None else 0.5 if mode == "triangular2" else 1.0),
            "wave": wave,
            "cycle_mult": float(cycle_mult),
            "num_cycles": None if num_cycles is None else int(num_cycles),
            "scale_fn": scale_fn,
            "scale_mode": scale_mode,
        }
        self._decay = None if decay is None else float(decay)
        self._fit_cycles = fit_cycles
        self._snapshot_cycles = snapshot_cycles
        self._ended = 0  # cycles
        self._losses = CycleLosses()
        self.snapshots: list[str] = []  # paths of the checkpoints, in the order of their cycles

    def set_bounds(
        self,
        base_lr: float | Sequence[float] | Mapping[str, float],
        max_lr: float | Sequence[float] | Mapping[str, float],
    ) -> None:
        """Set the bounds, from the next optimizer step on. They are kept in checkpoints.

        Args:
            base_lr: as in the constructor.
            max_lr: as in the constructor.
        """
        self._set_bounds(Bounds.checked(base_lr, max_lr))

    @property
    def units(self) -> set[str]:
        return super().units | ({"run"} if self._fit_cycles or self._decay is not None else set())

    def take(self, suggestion: Suggestion) -> str:
        self.set_bounds(suggestion.base_lr, suggestion.max_lr)
        return f"CyclicalLR(base_lr={suggestion.base_lr:.3g}, max_lr={suggestion.max_lr:.3g})"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            self.snapshots = []
        self._ended = _ended(self._trackers[0].position)
        self._losses.start(trainer, self._trackers[0])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tracer.batch_end(outputs)
        self._losses.batch_end(self._trackers[0], outputs)
        if self._snapshot_cycles:
            self._save_snapshot(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses.draw(trainer)
        super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "losses": self._losses.points(), "snapshots": list(self.snapshots)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._losses.load(state_dict["losses"])
        self.snapshots = list(state_dict["snapshots"])

    def _schedule_for(self, lengths: dict[str, int], run: float, fit: bool) -> tuple[Cyclical, float | None]:
        for name, asked in (("decay", self._decay), ("fit_cycles", self._fit_cycles or None)):
            if asked is not None and not math.isfinite(run):
                raise MisconfigurationException(
                    f"{name}={asked} needs the length of the run, which is not known: leave it out, or set max_steps."
                )
        up, warmup, shape = lengths["step_size"], lengths.get("warmup", 0), dict[str, Any](self._shape)
        if self._decay is not None:
            shape["gamma"] = self._decay ** (1 / max(1, run - warmup))
        cycles = Cyclical(up, lengths.get("step_size_down", up), warmup=warmup, **shape)
        return (cycles.stretched_to(int(run)), run) if self._fit_cycles and fit else (cycles, None)

    def _save_snapshot(self, trainer: Trainer) -> None:
        """Save one if a cycle has ended with the finished step."""
        ended = _ended(self._trackers[0].position)
        if ended <= self._ended:
            return
        self._ended = ended
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "snapshots"
        path = folder / f"cycle={ended}-step={self._trackers[0].count}.ckpt"
        self.snapshots.append(str(path))
        trainer.save_checkpoint(path)


def _ended(position: Position) -> int:
    """How many cycles have ended where a schedule stands."""
    return max(0, position.cycle if position.phase == 1 else position.cycle - 1)
