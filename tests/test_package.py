"""The package as it is installed: names, version, typing marker, layers."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path

import pytest

import lightning_lr

PACKAGE = Path(lightning_lr.__file__).parent
LIGHTNING_SIDE = {
    "_rehearsal",
    "_fit_loop_aside",
    "_loaders_aside",
    "_search",
    "_sweep",
    "_trace",
    "_progress",
    "_step_loss",
    "_cycle_losses",
    "snapshot_ensemble",
    "cli",
}


def _imports(path: Path) -> set[str]:
    """Modules that a file imports when it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("lightning_lr") == lightning_lr.__version__


def test_public_names_exist_and_are_sorted() -> None:
    assert lightning_lr.__all__ == sorted(lightning_lr.__all__, key=lambda name: (name.islower(), name))
    assert all(hasattr(lightning_lr, name) for name in lightning_lr.__all__)


def test_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_maths_knows_nothing_of_lightning_nor_draws_on_import(path: Path) -> None:
    imports = _imports(path)
    assert not any(name.startswith("matplotlib") for name in imports)
    if path.stem not in LIGHTNING_SIDE | {"__init__", "__main__"}:
        assert not any(name.split(".")[0] in ("lightning", "pytorch_lightning") for name in imports)
        assert not any(f"lightning_lr.{name}" in imports for name in LIGHTNING_SIDE | {"callbacks"})


def test_only_the_rehearsal_replaces_parts_of_the_trainer() -> None:
    """Elsewhere no private loop or connector is imported."""
    for path in PACKAGE.rglob("*.py"):
        if path.stem not in ("_rehearsal", "_fit_loop_aside"):
            assert not any(".loops" in name or ".connectors" in name for name in _imports(path)), path
