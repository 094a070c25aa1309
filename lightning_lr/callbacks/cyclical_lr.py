"""`CyclicalLR`: the learning rate goes up and down between two bounds, one value per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_lr.arguments import checked, instance_of
from lightning_lr.callbacks._applied import Applied
from lightning_lr.callbacks._argument_rules import CYCLES
from lightning_lr.callbacks._saved_arguments import import_function, plain_arguments
from lightning_lr.callbacks._saved_state import checked_state
from lightning_lr.callbacks._schedule_run import FittedSchedule
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.callbacks._state_rules import CYCLES as CYCLES_STATE
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.amplitude import Mode, ScaleMode, check_amplitude, check_scale
from lightning_lr.schedules.base import finished_cycles
from lightning_lr.schedules.bounds import Bounds, bound
from lightning_lr.schedules.cyclical import Cyclical
from lightning_lr.schedules.tracker import ScheduleTracker
from lightning_lr.schedules.waves import Wave
from lightning_lr.trainer.cycle_losses import CycleLosses
from lightning_lr.trainer.lightning_packages import MisconfigurationException
from lightning_lr.trainer.output_files import check_snapshots_writable, save_checkpoint, snapshot_folder


class CyclicalLR(ScheduledLR):
    """Cyclical learning rates of Smith (2017): a function of the number of finished optimizer steps.

    With t finished steps, u steps up and d steps down, c = 1 + ⌊t/(u+d)⌋ the cycle, and f the wave (0 at the start of a
    cycle, 1 at the peak after u steps, 0 at the end)::

        lr(t) = base_lr + (max_lr - base_lr) · f · S
        S = 1 (triangular),  gamma^(c-1) (triangular2),  gamma^t (exp_range)

    Each optimizer is counted by its own finished steps. Under gradient accumulation a step is an optimizer step, not a
    batch. A step that AMP skips is not counted. A run that is resumed with other lengths goes on from the same phase.

    Lengths are optimizer steps (``500``), epochs (``"2ep"``) or a share of the run (``"0.25run"``). Where ``max_time``
    alone ends the run, they must all be shares of it, and follow its measured speed.

    Args:
        base_lr: lower bound. A number is for the parameter group with the highest learning rate; the other groups keep
            their ratio to it. A list has one bound for each group of the optimizers, by position; a dict has one for
            each group, by the group's ``"name"``. If both bounds are None, an `LRRangeTest` of the same Trainer sets
            them. A group that is added later, as by ``BackboneFinetuning``, keeps its ratio to the others.
        max_lr: upper bound, likewise.
        step_size: u, half a cycle. Smith advises 2 to 10 epochs, and at least 3 cycles in a run. With 0 each cycle
            begins at its peak and takes ``step_size_down``: warm restarts (SGDR, which has ``wave="cosine"``). If that
            is a share of the run, a restart with less than a tenth of its cycle left is left out.
        step_size_down: d; equal to ``step_size`` if None.
        mode: the formula of S.
        gamma: for ``exp_range`` and ``triangular2``, above 0 and at most 1. ``triangular2`` uses 0.5 if None.
        decay: for ``exp_range``, instead of ``gamma``: S at the end of a run of T steps, ``gamma = decay^(1/T)``.
        scale_fn: S as a function, or as its dotted path (``"my_module.my_scale"``), instead of ``mode``. It must return
            a finite number of at least 0.
        scale_mode: the argument of ``scale_fn``: the cycle c, from 1, or the finished steps t.
        wave: f as a straight line up and down, or as half a cosine up and down.
        cycle_mult: length of a cycle divided by the length of the cycle before. Below 1 it needs ``num_cycles``.
        num_cycles: number of cycles, after which ``base_lr`` stays; endless if None.
        fit_cycles: stretch all cycles by one factor, so that the run ends with the end of a cycle: of cycle
            ``num_cycles``, or else of the cycle that needs the least stretching.
        warmup: length of a linear rise before the first cycle, to ``base_lr``, or to the peak with ``step_size=0``. t
            counts from its end.
        momentum: lowest and highest value, moved inversely to the learning rate: momentum of SGD and RMSprop, the first
            beta of Adam and similar optimizers. Not changed if None.
        weight_decay: likewise. Groups keep their ratio, so a group without weight decay stays without.
        optimizer: position of the only optimizer to be driven, in ``configure_optimizers``; all if None. With it, each
            optimizer can have a callback of its own.
        snapshot_cycles: save a checkpoint at the end of each cycle, where the learning rate is lowest, in the folder
            ``snapshots`` of the run. `ensemble` makes one model of them.
        replace_scheduler: whether this callback takes the place of a scheduler that ``configure_optimizers`` returns,
            which then does not step in ``fit``. For libraries that do not let their users leave it out. Not in manual
            optimization. Values that the scheduler set when it was made stay, such as the momentum of ``OneCycleLR``.
        log_position: whether the cycle c (0 in the warm-up) and the phase are logged.

    Attributes:
        snapshots: paths of these checkpoints, in the order of their cycles.

    Logged keys, every ``Trainer(log_every_n_steps)``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |
    | ``cyclical_lr/record`` | the first step of each cycle, for our tab in TensorBoard |
    | ``cyclical_lr/cycle``, ``/phase`` | with ``log_position``: c, and the share of the cycle that has passed |
    | ``cyclical_lr/momentum``, ``/weight_decay`` | of a group with ratio 1, if given |
    | ``cyclical_lr/loss_vs_phase`` | figure of all cycles at the end of the run, in TensorBoard |
    | ``cyclical_lr/<optimizer>/...`` | the same, of a callback that drives this one ``optimizer`` |

    Example:
        >>> cycle = CyclicalLR(base_lr=0.001, max_lr=0.006, step_size="2ep", mode="triangular2")
        >>> cycle.preview(steps=9, steps_per_epoch=2).lr.round(6).tolist()
        [0.001, 0.00225, 0.0035, 0.00475, 0.006, 0.00475, 0.0035, 0.00225, 0.001]

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
        Ilya Loshchilov and Frank Hutter, "SGDR", 2017, arXiv:1608.03983.
        Gao Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", 2017, arXiv:1704.00109.
    """

    _bound_arguments = "base_lr and max_lr"

    @checked(**CYCLES)
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
        replace_scheduler: bool = False,
        log_position: bool = False,
    ) -> None:
        arguments = plain_arguments(locals())
        check_amplitude(mode, gamma, decay, scale_fn)
        if cycle_mult < 1 and num_cycles is None:
            raise ValueError(f"cycle_mult={cycle_mult} shrinks cycles without end: give num_cycles too.")
        bounds = None if base_lr is None and max_lr is None else Bounds.checked(base_lr, max_lr)
        lengths = {"step_size": step_size or None, "step_size_down": step_size_down, "warmup": warmup}
        if step_size == 0 and step_size_down is None:
            raise ValueError("step_size must be above 0 without step_size_down, got 0: give step_size_down too.")
        super().__init__(arguments, bounds, lengths, optimizer, momentum, weight_decay, replace_scheduler)
        scale_fn = import_function("scale_fn", scale_fn) if isinstance(scale_fn, str) else scale_fn
        if scale_fn is not None:
            check_scale(scale_fn, scale_mode)
        default_gamma = 0.5 if mode == "triangular2" else 1.0  # in exp_range it then follows from decay
        self._shape: dict[str, Any] = {
            "mode": mode,
            "gamma": float(default_gamma if gamma is None else gamma),
            "wave": wave,
            "cycle_mult": float(cycle_mult),
            "num_cycles": num_cycles,
            "scale_fn": scale_fn,
            "scale_mode": scale_mode,
        }
        self._decay = None if decay is None else float(decay)
        self._fit_cycles = fit_cycles
        self._snapshot_cycles = self._saves_snapshots = snapshot_cycles
        self._finished_cycles = 0
        self._tracker: ScheduleTracker  # of the first optimizer, while training
        self._losses = CycleLosses()
        self.lr_tracer.before_flush = self._losses.log_starts
        self.snapshots: list[str] = []

    @checked(base_lr=bound, max_lr=bound)
    def set_bounds(
        self,
        base_lr: float | Sequence[float] | Mapping[str, float],
        max_lr: float | Sequence[float] | Mapping[str, float],
    ) -> None:
        """Set the bounds, from the next optimizer step on. Checkpoints keep them.

        Args:
            base_lr: as in the constructor.
            max_lr: as in the constructor.
        """
        self._set_bounds(Bounds.checked(base_lr, max_lr))

    @checked(suggestion=instance_of(Suggestion, what="a Suggestion"))
    def set_bounds_from(self, suggestion: Suggestion) -> Applied:
        base_lr, max_lr = suggestion.base_lr, suggestion.max_lr
        self.set_bounds(base_lr, max_lr)
        return Applied("CyclicalLR", call=f"CyclicalLR(base_lr={base_lr:.3g}, max_lr={max_lr:.3g})")

    @property
    def length_units(self) -> set[str]:
        units = super().length_units | ({"run"} if self._fit_cycles or self._decay is not None else set())
        has_fn_of_t = self._shape["scale_fn"] is not None and self._shape["scale_mode"] == "iterations"
        has_gamma_of_t = self._shape["mode"] == "exp_range" and self._decay is None
        return units | ({""} if has_fn_of_t or has_gamma_of_t else set())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        self._saves_snapshots = self._snapshot_cycles and not vars(trainer)["fast_dev_run"]
        if self._saves_snapshots:
            check_snapshots_writable(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            self.snapshots = []
        assert self._run is not None
        self._tracker = self._run.trackers[0]
        self._finished_cycles = finished_cycles(self._tracker.position)
        self._losses.start(trainer, self._tracker, self._tag)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.lr_tracer.batch_end(outputs)
        self._losses.batch_end(self._tracker, outputs)
        if self._saves_snapshots:
            self._save_snapshot(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses.draw(trainer)
        super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "losses": self._losses.points(), "snapshots": list(self.snapshots)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = checked_state(self, state_dict, CYCLES_STATE)
        super().load_state_dict(state)
        self._losses.load(state["losses"])
        self.snapshots = state["snapshots"]

    def _build_schedule(self, lengths: dict[str, int], run_steps: float, fast_dev_run: bool) -> FittedSchedule:
        for name, value in (("decay", self._decay), ("fit_cycles", self._fit_cycles or None)):
            if value is not None and math.isinf(run_steps):
                raise MisconfigurationException(
                    f"{name}={value} needs the length of the run, which is not known: leave it out, or set max_steps."
                )
        up, warmup = lengths.get("step_size", 0), lengths.get("warmup", 0)
        gamma = self._shape["gamma"] if self._decay is None else self._decay ** (1 / max(1, run_steps - warmup))
        cycles = Cyclical(up, lengths.get("step_size_down", up), warmup=warmup, **{**self._shape, "gamma": gamma})
        if self._fit_cycles and not fast_dev_run:
            return FittedSchedule(cycles.stretched_to(int(run_steps)), end=run_steps)
        if not up and self._durations["step_size_down"].unit == "run":
            cycles = cycles.without_late_restart(run_steps, self._durations["step_size_down"].value)
        return FittedSchedule(cycles)

    def _save_snapshot(self, trainer: Trainer) -> None:
        """Save a checkpoint if the last step has finished a cycle."""
        if (finished := finished_cycles(self._tracker.position)) <= self._finished_cycles:
            return
        self._finished_cycles = finished
        path = snapshot_folder(trainer) / f"cycle={finished}-step={self._tracker.count}.ckpt"
        self.snapshots.append(str(path))  # the checkpoint names itself too
        if not save_checkpoint(trainer, path):
            self.snapshots.pop()
