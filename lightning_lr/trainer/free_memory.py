"""How much memory is free."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

# psutil knows Linux, macOS and Windows, but not the memory limits of containers. Those are in these files (limit and
# use, in bytes) of cgroup v2 and v1.
_CGROUP = Path("/sys/fs/cgroup")
_LIMIT_AND_USE = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device, or of the host for the CPU; 0 for other devices, where it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return 0
    free: list[int] = [psutil.virtual_memory().available]
    for limit_file, use_file in _LIMIT_AND_USE:
        path = _CGROUP / limit_file
        if path.is_file() and (limit := path.read_text().strip()).isdigit():  # cgroup v2 writes "max" for no limit
            free.append(int(limit) - int((_CGROUP / use_file).read_text()))
    return max(0, min(free))
