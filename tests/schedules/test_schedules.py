"""Schedules compared with the tables below, and with torch's CyclicLR and OneCycleLR."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_lr.schedules.amplitude import Mode
from lightning_lr.schedules.base import Schedule, lr_at
from lightning_lr.schedules.cyclical import Cyclical
from lightning_lr.schedules.inverse_range import InverseRange
from lightning_lr.schedules.one_cycle import OneCycle
from lightning_lr.schedules.warmup_stable_decay import WarmupStableDecay
from lightning_lr.schedules.waves import Wave

HALF = math.sqrt(0.5)
# name -> schedule, {step: (cycle, base_factor, amplitude)}
TABLES: dict[str, tuple[Schedule, dict[int, tuple[int, float, float]]]] = {
    "triangular, 2 up and 4 down": (
        Cyclical(2, 4),
        {0: (1, 1, 0), 1: (1, 1, 0.5), 2: (1, 1, 1), 3: (1, 1, 0.75), 5: (1, 1, 0.25), 6: (2, 1, 0), 8: (2, 1, 1)},
    ),
    "triangular2": (
        Cyclical(2, 2, "triangular2", 0.5),
        {2: (1, 1, 1), 3: (1, 1, 0.5), 4: (2, 1, 0), 6: (2, 1, 0.5), 7: (2, 1, 0.25), 10: (3, 1, 0.25)},
    ),
    "triangular2 with gamma 0.9": (
        Cyclical(2, 2, "triangular2", 0.9),
        {2: (1, 1, 1), 6: (2, 1, 0.9), 9: (3, 1, 0.405)},
    ),
    "exp_range": (
        Cyclical(2, 2, "exp_range", 0.9),
        {0: (1, 1, 0), 1: (1, 1, 0.45), 2: (1, 1, 0.81), 3: (1, 1, 0.3645), 4: (2, 1, 0), 6: (2, 1, 0.531441)},
    ),
    "exp_range after a warm-up": (
        Cyclical(1, 1, "exp_range", 0.5, warmup=2, num_cycles=2),
        {
            0: (0, 1 / 3, 0),
            1: (0, 2 / 3, 0),
            2: (1, 1, 0),
            3: (1, 1, 0.5),
            4: (2, 1, 0),
            5: (2, 1, 0.125),
            6: (2, 1, 0),
        },
    ),
    "all at once": (  # cycles start at 2, 8 and 20 and end at 44; their peaks are at 4, 12 and 28
        Cyclical(2, 4, "triangular2", 0.5, wave="cosine", cycle_mult=2.0, num_cycles=3, warmup=2),
        {1: (0, 2 / 3, 0), 2: (1, 1, 0), 3: (1, 1, 0.5), 4: (1, 1, 1), 5: (1, 1, (1 + HALF) / 2), 6: (1, 1, 0.5)}
        | {8: (2, 1, 0), 12: (2, 1, 0.5), 16: (2, 1, 0.25), 20: (3, 1, 0), 28: (3, 1, 0.25), 36: (3, 1, 0.125)}
        | {44: (3, 1, 0), 45: (3, 1, 0)},
    ),
    "cosine, 4 up and 2 down": (
        Cyclical(4, 2, wave="cosine"),
        {
            0: (1, 1, 0),
            1: (1, 1, (1 - HALF) / 2),
            2: (1, 1, 0.5),
            3: (1, 1, (1 + HALF) / 2),
            4: (1, 1, 1),
            5: (1, 1, 0.5),
        },
    ),
    "scale_fn of the cycle": (
        Cyclical(2, 2, scale_fn=math.sqrt),
        {2: (1, 1, 1), 4: (2, 1, 0), 6: (2, 1, math.sqrt(2)), 10: (3, 1, math.sqrt(3))},
    ),
    "scale_fn of the step": (
        Cyclical(2, 2, scale_fn=math.sqrt, scale_mode="iterations"),
        {0: (1, 1, 0), 1: (1, 1, 0.5), 2: (1, 1, math.sqrt(2)), 6: (2, 1, math.sqrt(6))},
    ),
    "growing": (
        Cyclical(1, 2, cycle_mult=2.0),  # cycles start at 0, 3, 9 and 21
        {0: (1, 1.0, 0), 1: (1, 1, 1), 2: (1, 1, 0.5), 3: (2, 1, 0), 4: (2, 1, 0.5), 5: (2, 1, 1), 8: (2, 1, 0.25)}
        | {9: (3, 1, 0), 13: (3, 1, 1), 20: (3, 1, 0.125), 21: (4, 1, 0)},
    ),
    "shrinking": (
        Cyclical(4, 4, cycle_mult=0.5, num_cycles=3),  # cycles start at 0, 8 and 12 and end at 14
        {4: (1, 1.0, 1), 7: (1, 1, 0.25), 8: (2, 1, 0), 10: (2, 1, 1), 12: (3, 1, 0), 13: (3, 1, 1), 14: (3, 1, 0)}
        | {15: (3, 1, 0), 1000: (3, 1, 0)},
    ),
    "two cycles after a warm-up": (
        Cyclical(2, 2, warmup=3, num_cycles=2),
        {0: (0, 0.25, 0), 1: (0, 0.5, 0), 2: (0, 0.75, 0), 3: (1, 1, 0), 5: (1, 1, 1), 6: (1, 1, 0.5), 7: (2, 1, 0)}
        | {9: (2, 1, 1), 10: (2, 1, 0.5), 11: (2, 1, 0), 12: (2, 1, 0)},
    ),
    "one cycle, two phases": (
        OneCycle(11, 3 / 11, final_div_factor=100, wave="triangle"),
        {0: (1, 1, 0), 1: (1, 1, 0.5), 2: (1, 1, 1), 6: (1, 0.505, 0.5), 10: (1, 0.01, 0), 11: (1, 0.01, 0)},
    ),
    "one cycle, three phases": (
        OneCycle(11, 5 / 11, True, 100, "triangle"),
        {0: (1, 1, 0), 3: (1, 1, 0.75), 4: (1, 1, 1), 5: (1, 1, 0.75), 7: (1, 1, 0.25), 8: (1, 1, 0)}
        | {9: (1, 0.505, 0), 10: (1, 0.01, 0), 99: (1, 0.01, 0)},
    ),
    "one cycle, cosine": (
        OneCycle(11, 5 / 11, final_div_factor=100),
        {1: (1, 1, (1 - HALF) / 2), 2: (1, 1, 0.5), 4: (1, 1, 1), 7: (1, 0.505, 0.5), 10: (1, 0.01, 0)},
    ),
    "warm-up, stable, decay": (
        WarmupStableDecay(3, 4, 10),
        {
            0: (1, 0.25, 0.25),
            2: (1, 0.75, 0.75),
            3: (1, 1, 1),
            6: (1, 1, 1),
            7: (1, 0.5, 0.5),
            8: (1, 1 - HALF, 1 - HALF),
        }
        | {10: (1, 0, 0), 11: (1, 0, 0)},
    ),
    "open end": (WarmupStableDecay(1, 1, math.inf), {0: (1, 0.5, 0.5), 1: (1, 1, 1), 10**9: (1, 1, 1)}),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    schedule, table = TABLES[name]
    for step, (cycle, base_factor, amplitude) in table.items():
        position = schedule.at(step)
        assert (position.cycle, position.base_factor, position.amplitude) == pytest.approx(
            (cycle, base_factor, amplitude), abs=1e-15
        ), step


@pytest.mark.parametrize("name", TABLES)
def test_arrays_and_tensors_are_the_values_of_single_steps(name: str) -> None:
    schedule, table = TABLES[name]
    steps = np.array([*table])
    single = [lr_at(schedule, step, 0.1, 0.7) for step in table]
    assert lr_at(schedule, steps, 0.1, 0.7).tolist() == single
    tensor = lr_at(schedule, torch.tensor([[*table]]), 0.1, 0.7)
    assert tensor.tolist() == [single]
    assert tensor.dtype == torch.float64


@given(low=st.floats(1e-5, 1), factor=st.floats(1, 100))
@settings(max_examples=250, deadline=None)
def test_the_bounds_are_reached_exactly(low: float, factor: float) -> None:
    """``low + (high - low)`` differs from ``high`` by a rounding error for one pair in sixty."""
    high = low * factor
    assert [lr_at(Cyclical(3, 3), step, low, high) for step in (0, 3, 6)] == [low, high, low]
    assert lr_at(OneCycle(10, 0.5), 4, low, high) == high
    assert lr_at(WarmupStableDecay(2, 2, 9), 4, 0.0, high) == high


@given(
    up=st.floats(1, 30),
    down=st.floats(1, 30),
    mult=st.floats(0.7, 2.0),
    number=st.integers(1, 6),
    warmup=st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_cycles_follow_each_other_without_a_gap(up: float, down: float, mult: float, number: int, warmup: int) -> None:
    assume(min(up, down) * min(1.0, mult ** (number - 1)) >= 1)
    schedule = Cyclical(up, down, cycle_mult=mult, num_cycles=number, warmup=warmup)
    cycles = [schedule.start_peak_end(cycle) for cycle in range(1, number + 1)]
    assert cycles[0][0] == warmup
    assert cycles[-1][2] == schedule.total_steps
    for i, (start, peak, end) in enumerate(cycles, start=1):
        assert start < peak < end
        assert [schedule.at(step).cycle for step in (start, peak, end - 1)] == [i, i, i]
        assert (schedule.at(start).amplitude, schedule.at(peak).amplitude) == (0, 1)
        assert i == number or end == cycles[i][0]
        for step in range(start, end):
            position = schedule.at(step)
            assert schedule.resume_step(position.cycle, position.phase, 0) == step
    assert schedule.at(cycles[-1][2]) == (number, 1, 1, 0)


@given(
    step_size=st.floats(2, 60),
    steps=st.integers(40, 500),
    mult=st.sampled_from([1.0, 1.5, 2.0]),
    warmup=st.integers(0, 20),
)
@settings(max_examples=100, deadline=None)
def test_stretched_cycles_end_with_the_run(step_size: float, steps: int, mult: float, warmup: int) -> None:
    cycles = Cyclical(step_size, step_size, cycle_mult=mult, warmup=warmup)
    assume(step_size * 2 <= steps - warmup)  # otherwise there is one cycle, shorter than asked for
    stretched = cycles.stretched_to(steps)
    assert stretched.total_steps == steps
    assert stretched.up / stretched.down == pytest.approx(1)
    assert stretched.num_cycles is not None
    stretch = abs(math.log(stretched.up / step_size))
    for other in (stretched.num_cycles - 1, stretched.num_cycles + 1):
        if other:
            lengths = sum(2 * step_size * mult**i for i in range(other))
            assert stretch <= abs(math.log((steps - warmup) / lengths)) + 1e-9


def _torchs(make: Any, steps: int, **group: Any) -> tuple[list[float], list[float]]:
    """The learning rate and the momentum of each step under a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], **{"lr": 0.1, "momentum": 0.5, **group})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(optimizer)
        lrs, momenta = [], []
        for step in range(steps):
            lrs.append(optimizer.param_groups[0]["lr"])
            momenta.append(optimizer.param_groups[0]["momentum"])
            if step < steps - 1:
                scheduler.step()
    return lrs, momenta


@given(
    up=st.integers(1, 60),
    down=st.integers(1, 60),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    gamma=st.floats(0.9, 1.0),
    base_lr=st.floats(1e-5, 1e-2),
    factor=st.floats(1.0, 100.0),
)
@settings(max_examples=250, deadline=None)
def test_equals_torchs_cyclic_lr(up: int, down: int, mode: Mode, gamma: float, base_lr: float, factor: float) -> None:
    """Within 1e-12 of max_lr: torch computes the phase with rounding errors where ours is exact."""
    max_lr, steps = base_lr * factor, 3 * (up + down)
    theirs, momenta = _torchs(
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(
            optimizer, base_lr, max_lr, up, down, mode, gamma, base_momentum=0.8, max_momentum=0.9
        ),
        steps,
    )
    ours = Cyclical(up, down, mode, {"triangular": 1.0, "triangular2": 0.5, "exp_range": gamma}[mode])
    assert [lr_at(ours, step, base_lr, max_lr) for step in range(steps)] == pytest.approx(theirs, abs=1e-12 * max_lr)
    assert [InverseRange(0.8, 0.9).at(ours.at(step).amplitude) for step in range(steps)] == pytest.approx(
        momenta, abs=1e-12
    )


@given(
    first=st.integers(1, 60),
    mult=st.integers(1, 3),
    base_lr=st.floats(1e-5, 1e-2),
    factor=st.floats(1.0, 100.0),
    warmup=st.integers(0, 20),
)
@settings(max_examples=200, deadline=None)
def test_equals_torchs_warm_restarts_after_a_warm_up_to_the_peak(
    first: int, mult: int, base_lr: float, factor: float, warmup: int
) -> None:
    max_lr, steps = base_lr * factor, 5 * first
    theirs, _ = _torchs(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, mult, base_lr),
        steps,
        lr=max_lr,
    )
    ours = Cyclical(0, first, wave="cosine", cycle_mult=mult, warmup=warmup)
    lrs = [lr_at(ours, step, base_lr, max_lr) for step in range(warmup + steps)]
    assert lrs[:warmup] == pytest.approx([max_lr * (step + 1) / (warmup + 1) for step in range(warmup)])
    assert lrs[warmup:] == pytest.approx(theirs, abs=1e-12 * max_lr)


@given(
    total=st.integers(3, 400),
    pct_start=st.floats(0.01, 0.99),
    three_phase=st.booleans(),
    wave=st.sampled_from(["triangle", "cosine"]),
    max_lr=st.floats(1e-4, 1.0),
    div=st.floats(1.0, 100.0),
    final=st.floats(1.0, 1e5),
)
@settings(max_examples=250, deadline=None)
def test_equals_torchs_one_cycle_lr(
    total: int, pct_start: float, three_phase: bool, wave: Wave, max_lr: float, div: float, final: float
) -> None:
    """If the rise takes more than 0 steps. The tests below show what torch does otherwise."""
    pct_start = pct_start / 2 if three_phase else pct_start
    assume(pct_start * total > 1.001)
    theirs, momenta = _torchs(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr,
            total_steps=total,
            pct_start=pct_start,
            anneal_strategy="linear" if wave == "triangle" else "cos",
            three_phase=three_phase,
            div_factor=div,
            final_div_factor=final,
        ),
        total,
    )
    ours = OneCycle(total, pct_start, three_phase, final, wave)
    assert [lr_at(ours, step, max_lr / div, max_lr) for step in range(total)] == pytest.approx(
        theirs, abs=1e-12 * max_lr
    )
    assert [InverseRange(0.85, 0.95).at(ours.at(step).amplitude) for step in range(total)] == pytest.approx(
        momenta, abs=1e-12
    )


# Where torch 2.13 is wrong, ours differs on purpose. Each test shows what torch does.


def test_torch_gives_a_momentum_to_sgd_without_one() -> None:
    """``cycle_momentum=True``, the default, sets it to 0.9. Ours sets momentum only if the user asks for it."""
    _, momenta = _torchs(lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, 2), 2, momentum=0.0)
    assert momenta[0] == 0.9


def test_torchs_one_cycle_jumps_up_after_its_end() -> None:
    """The step after the last one goes back to a higher rate, and the next raises. Ours keeps the last rate."""
    theirs, _ = _torchs(lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=5), 6)
    assert theirs[5] > 1000 * theirs[4]
    with pytest.raises(ValueError, match="Tried to step 6 times"):
        _torchs(lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=5), 7)
    ours = OneCycle(5)
    assert ours.at(4) == ours.at(5) == ours.at(6)


def test_torchs_one_cycle_divides_by_zero_without_a_rise() -> None:
    """With ``pct_start * total_steps == 1``. Ours starts at the peak."""
    with pytest.raises(ZeroDivisionError):
        _torchs(lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=5, pct_start=0.2), 2)
    assert [round(OneCycle(5, 0.2, wave="triangle").at(step).amplitude, 12) for step in range(5)] == [
        1,
        0.75,
        0.5,
        0.25,
        0,
    ]


def test_torchs_one_cycle_never_peaks_if_it_rises_for_less_than_a_step() -> None:
    """With ``pct_start * total_steps < 1``, torch's peak lies before step 0. Ours starts at the peak."""
    theirs, _ = _torchs(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=10, pct_start=0.05, anneal_strategy="linear"
        ),
        10,
    )
    assert max(theirs) == theirs[0] == pytest.approx(1 - 0.5 / 9.5, abs=1e-4)
    assert lr_at(OneCycle(10, 0.05, wave="triangle"), 0, 1 / 25, 1.0) == 1.0


def test_torchs_exp_range_may_grow() -> None:
    """It accepts a gamma above 1 and exceeds ``max_lr``. `CyclicalLR` refuses such a gamma."""
    theirs, _ = _torchs(
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(
            optimizer, 0.0, 0.1, 2, mode="exp_range", gamma=1.5, cycle_momentum=False
        ),
        3,
    )
    assert theirs[2] == pytest.approx(0.225)


def test_torch_forgets_the_scale_fn() -> None:
    """It saves a function as None, so a loaded scheduler is triangular. Ours saves the name and imports it."""

    def make(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.CyclicLR(
            optimizer, 0.1, 0.2, 2, scale_fn=lambda x: 1 / x**2, cycle_momentum=False
        )

    state = make(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)).state_dict()
    assert state["_scale_fn_custom"] is None


def test_torch_accepts_bounds_that_are_upside_down() -> None:
    theirs, _ = _torchs(
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 0.2, 0.1, 2, cycle_momentum=False), 3
    )
    assert theirs == pytest.approx([0.2, 0.15, 0.1])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cyclical(4, 4, cycle_mult=0.5), "cycle_mult=0.5 shrinks cycles without end: give num_cycles too"),
        (
            lambda: Cyclical(4, 4, cycle_mult=0.5, num_cycles=4),
            "at least a step up and a step down, got 0.5 up and 0.5 down",
        ),
        (lambda: Cyclical(10, 10).stretched_to(1), "at least a step up"),
        (
            lambda: Cyclical(10, 10, warmup=9).stretched_to(9),
            "warmup must be shorter than the run, .* got 9 steps in a run of 9",
        ),
        (lambda: Cyclical(10, 10, warmup=9, num_cycles=2).stretched_to(5), "warmup must be shorter than the run"),
        (lambda: lr_at(Cyclical(2, 2), -1, 0.0, 1.0), "step must be finite and at least 0, got -1"),
        (
            lambda: WarmupStableDecay(5, 6, 10),
            "warmup and decay must fit into the run, got 5 and 6 steps in a run of 10",
        ),
        (
            lambda: Cyclical(2, 2, scale_fn=math.log2).at(2) and Cyclical(2, 2, scale_fn=lambda _: -1.0).at(2),
            "scale_fn must",
        ),
        (lambda: Cyclical(2, 2, scale_fn=lambda _: math.nan).at(2), "scale_fn must give a finite number"),
    ],
)
def test_bad_schedules(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
