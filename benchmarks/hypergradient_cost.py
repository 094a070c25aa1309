"""The time of an adaptation, relative to the optimizer's step, and the memory that it holds.

    python -m benchmarks.hypergradient_cost
    python -m benchmarks.hypergradient_cost --device cuda

Time: `LRController.before_step` with a measurement, divided by a step of the optimizer (foreach). Both alternate, for
models of 1 M to 100 M parameters in layers of a million. Memory: the tensors that the adaptation holds between two
steps, in copies of the parameters.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.costs.memory import bytes_of_tensors
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.rules import LongHorizon, Multiplicative, Rule

MILLION = 1_000_000
OPTIMIZERS: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, 1e-6, foreach=True),
    "momentum": lambda p: torch.optim.SGD(p, 1e-6, 0.9, foreach=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-6, foreach=True),
}
RULES: dict[str, tuple[Callable[[], Rule], float | None]] = {
    "long_horizon": (LongHorizon, 200),
    "multiplicative": (partial(Multiplicative, 0.02), None),
}


def _optimizer(name: str, millions: int, device: str) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.randn(1000, 1000, device=device)) for _ in range(millions)]
    optimizer = OPTIMIZERS[name](parameters)
    _new_gradients(optimizer)
    return optimizer


def _controller(optimizer: torch.optim.Optimizer, rule: str) -> LRController:
    make, horizon = RULES[rule]
    return LRController(optimizer, make, horizon, every=1)


def _ratios(name: str, rule: str, millions: int, repeats: int, device: str) -> tuple[list[float], float]:
    optimizer = _optimizer(name, millions, device)
    controller = _controller(optimizer, rule)
    ratios, steps = [], []
    for i in range(repeats + 2):
        start = _now(device)
        controller.before_step()
        middle = _now(device)
        optimizer.step()
        end = _now(device)
        controller.after_step()
        controller.measured.clear()
        _new_gradients(optimizer)
        if i > 1:
            ratios.append((middle - start) / (end - middle))
            steps.append(end - middle)
    return ratios, statistics.median(steps)


def _now(device: str) -> float:
    """When the device has done all that it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _held(name: str, rule: str, millions: int, device: str) -> float:
    """What an adaptation holds between two steps, in copies of the parameters."""
    optimizer = _optimizer(name, millions, device)
    optimizer.step()
    before = bytes_of_tensors()
    controller = _controller(optimizer, rule)
    for _ in range(3):
        controller.before_step()
        optimizer.step()
        controller.after_step()
        controller.measured.clear()
        _new_gradients(optimizer)
    return (bytes_of_tensors() - before) / (4 * MILLION * millions)


def _new_gradients(optimizer: torch.optim.Optimizer) -> None:
    """As a backward pass after ``zero_grad()`` gives them."""
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.randn_like(parameter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':28}{'step':>10}   adaptation / step (range)   memory, in copies of the parameters")
    for millions in arguments.millions:
        for name in OPTIMIZERS:
            for rule in RULES:
                ratios, step = _ratios(name, rule, millions, arguments.repeats, arguments.device)
                held = _held(name, rule, millions, arguments.device)
                spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                print(f"{f'{millions} M, {name}, {rule}':28} {1e3 * step:8.1f} ms   {spread:26}{held:8.2f}", flush=True)


if __name__ == "__main__":
    main()
