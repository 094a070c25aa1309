"""The order of timed functions, and the memory that they get."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import partial

import pytest

from benchmarks.timing import results_of

_FAULTS = """
import resource
from benchmarks.timing import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
bytearray(2**25)
before = faults()
for _ in range(10):
    bytearray(2**25)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again() -> None:
    """Each of the 10 blocks has 8192 pages of 4 KiB, which would otherwise be mapped anew."""
    ended = subprocess.run([sys.executable, "-c", _FAULTS], check=True, capture_output=True, text=True)
    assert int(ended.stdout) < 8192


def test_each_function_runs_once_a_round_in_changing_order() -> None:
    called: list[str] = []

    def run(name: str) -> float:
        called.append(name)
        return len(called)

    results = results_of({name: partial(run, name) for name in "abc"}, rounds=20)
    rounds = [called[start : start + 3] for start in range(0, 60, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({names[0] for names in rounds}) == 3  # each is the first of some round
    assert results["b"] == [3 * i + names.index("b") + 1 for i, names in enumerate(rounds)]


def test_orders_depend_on_the_seed() -> None:
    orders: list[list[str]] = [[], []]
    for seed, order in enumerate(orders):
        results_of({name: partial(_append, order, name) for name in "abcdefgh"}, rounds=1, seed=seed)
    assert orders[0] != orders[1]


def _append(order: list[str], name: str) -> float:
    order.append(name)
    return 0.0
