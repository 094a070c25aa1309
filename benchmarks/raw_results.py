"""Raw results of the benchmarks: JSON files that say with which versions and on what kind of machine they were made."""

from __future__ import annotations

import json
import math
import os
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("results")
_PACKAGES = ("torch", "lightning", "lightning_lr", "numpy", "prodigyopt", "schedulefree", "dadaptation")


def made_with() -> dict[str, Any]:
    """Versions and the kind of machine. No name of a host and no path."""
    packages = {name: version(name) for name in _PACKAGES if find_spec(name) is not None}
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": packages,
    }


def save(name: str, rows: list[dict[str, Any]], folder: Path = FOLDER, **about: Any) -> None:
    """Write rows and what they are about. Numbers that are not finite become null."""
    folder.mkdir(exist_ok=True)
    finite = [{key: _finite(value) for key, value in row.items()} for row in rows]
    lines = ",\n    ".join(json.dumps(row, allow_nan=False) for row in finite)
    head = json.dumps({"made_with": made_with(), **about}, indent=2)[:-2]
    text = f'{head},\n  "rows": [\n    {lines}\n  ]\n}}\n'
    temporary = folder / f".{name}.json"
    temporary.write_text(text)
    temporary.replace(folder / f"{name}.json")  # at once: an interrupted run leaves the last whole file


def load(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What `save` wrote, with ``rows`` empty if it never did."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {"rows": []}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return [_finite(each) for each in value] if isinstance(value, list) else value


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
