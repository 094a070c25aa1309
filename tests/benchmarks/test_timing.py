"""The memory that the timed functions get."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
