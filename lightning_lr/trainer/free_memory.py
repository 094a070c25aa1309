"""How much memory is free, as far as the system tells."""

from __future__ import annotations

import re
from pathlib import Path

import torch


def free_bytes(device: torch.device) -> float:
    """Free memory of a device, or of the host if it has none of its own; 0 where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _free_host_bytes() if device.type == "cpu" else 0


def _free_host_bytes() -> float:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:  # not Linux
        return 0
    available = re.search(r"MemAvailable:\s+(\d+) kB", text)
    free = int(available[1]) * 1024 if available else 0
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and (most := limit.read_text().strip()).isdigit():  # else "max": no limit of the container
        free = min(free, int(most) - int(used.read_text()))
    return max(0, free)
