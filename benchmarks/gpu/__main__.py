"""What the callbacks cost on a GPU, and what they are worth on wide networks that train for long.

    python -m benchmarks.gpu --out results
    python -m benchmarks.gpu --device cpu --tiny --out results  # tries the code, in seconds; its numbers mean nothing

It needs torch, lightning, torchmetrics and tensorboard; the last part needs scikit-learn too. Steps in bf16-mixed with
fused AdamW, for GPT-2 and ResNet-50 with data that stay on the device, through a real Trainer:

1. How often a step waits for the device, away from logging.
2. Time and memory that each callback adds: without and with ``torch.compile``, and with CUDA graphs of the forward and
   backward passes (``mode="reduce-overhead"``).
3. The sweep of a range test, against plain steps and Lightning's finder.
4. Suggestions and adaptation on settings of `benchmarks.suite`, ten times as wide, for 5000 steps, against a grid.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import overhead, range_test, waits
from benchmarks.gpu.models import Workload, workloads
from benchmarks.gpu.record import Record
from benchmarks.gpu.training import CONTESTANTS, Network, loader_of

_WARM_UP, _STEPS = 6, 30
_SWEEP = 50
# In compiled modes only those that differ most, to save time.
_COMPILED = [name for name in CONTESTANTS if name.startswith(("CyclicalLR", "CyclicLR", "HypergradientLR"))]


def _modes(device: torch.device, *, is_first: bool) -> dict[str, tuple[dict[str, Any] | None, list[str], float]]:
    """The options of ``torch.compile``, the contestants, and the seconds of each mode. The first workload has all."""
    if device.type == "cpu":
        compiled = {"compiled": ({"backend": "aot_eager"}, _COMPILED, 0.0)}
        return {"eager": (None, [*CONTESTANTS], 0.0), **(compiled if is_first else {})}
    graphs = {"CUDA graphs": ({"mode": "reduce-overhead"}, _COMPILED, 15.0)}
    return {
        "eager": (None, [*CONTESTANTS], 25.0),
        "compiled": ({}, _COMPILED, 15.0),
        **(graphs if is_first else {}),
    }


def _measure_workload(
    record: Record, name: str, workload: Workload, device: torch.device, *, is_first: bool, is_tiny: bool
) -> None:
    torch.manual_seed(0)
    loader = loader_of(workload, device)
    warm_up, steps, sweep = (2, 4, 20) if is_tiny else (_WARM_UP, _STEPS, _SWEEP)
    for mode, (options, contestants, seconds) in _modes(device, is_first=is_first).items():
        module = Network(workload.build(), options)
        if mode == "eager" and device.type == "cuda" and is_first:
            record.run("waits", partial(waits.measure, record, module, loader, device, warm_up))
        part = f"overhead, {name}, {mode}"
        measure: Callable[[], None] = partial(
            overhead.measure,
            record,
            part,
            module,
            loader,
            device,
            contestants,
            seconds=seconds,
            least_rounds=1 if is_tiny else 3,
            warm_up=warm_up,
            steps=steps,
        )
        record.run(part, measure)
        if mode == "eager" and is_first:
            record.run("range test", partial(range_test.measure, record, module, loader, device, sweep))
        del module
        torch.compiler.reset()


def _measure_wide(record: Record, device: torch.device, *, is_tiny: bool) -> None:
    from benchmarks.gpu import wide  # needs scikit-learn, which the other parts do not

    wide.measure(record, device, is_tiny=is_tiny)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, gpu.json")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="networks and runs so small that a CPU can try the code")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which no further part begins")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="such as: waits 'overhead, GPT-2' wide")
    arguments = parser.parse_args()
    device = torch.device(arguments.device, 0) if arguments.device == "cuda" else torch.device("cpu")
    record = Record(arguments.out / "gpu.json", arguments.minutes, arguments.only)
    for i, (name, workload) in enumerate(workloads(arguments.tiny).items()):
        _measure_workload(record, name, workload, device, is_first=i == 0, is_tiny=arguments.tiny)
    record.run("wide", partial(_measure_wide, record, device, is_tiny=arguments.tiny))
    if record.has_failures():
        sys.exit("A part has failed: see its row.")


if __name__ == "__main__":
    main()
