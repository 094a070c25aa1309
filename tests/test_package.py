"""The package as it is installed: names, old paths, version, typing marker, size, and which part may import which."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import lightning_lr
from lightning_lr.trainer import lightning_packages

PACKAGE = Path(lightning_lr.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each part with those that it may import. Nothing imports upwards, and only the last four know Lightning.
MAY_IMPORT = {
    "arguments": set[str](),
    "figure_style": set[str](),
    "optimizers": set[str](),
    "range_test": {"arguments", "figure_style", "optimizers"},
    "schedules": {"arguments", "figure_style", "optimizers", "range_test"},
    "adaptation": {"arguments", "optimizers"},
    "search": {"arguments", "figure_style", "optimizers", "range_test"},
    "integrations": {"arguments", "search"},
    "trainer": {"figure_style", "optimizers", "range_test", "schedules", "search"},
    "callbacks": {"adaptation", "arguments", "optimizers", "range_test", "schedules", "search", "trainer"},
    "before_fit": {"arguments", "callbacks", "search", "trainer"},
    "command_line": {"before_fit", "callbacks", "range_test", "trainer"},
}
KNOW_LIGHTNING = {"trainer", "callbacks", "before_fit", "command_line"}


def part_of(path: Path) -> str:
    """The package or the module below ``lightning_lr`` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path, *, within_functions: bool) -> Iterator[str]:
    """The modules that a file imports: when it is imported itself, or also later, within functions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if within_functions else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("lightning_lr") == lightning_lr.__version__


def test_public_names_exist_and_are_sorted() -> None:
    assert lightning_lr.__all__ == sorted(lightning_lr.__all__, key=lambda name: (name.islower(), name))
    assert all(hasattr(lightning_lr, name) for name in lightning_lr.__all__)


def test_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(
    ("statements", "new"),
    [
        ("from lightning_lr.bracket import Bracket as found", "Bracket from lightning_lr.search"),
        ("import lightning_lr.bracket\nfound = lightning_lr.bracket.Bracket", "Bracket from lightning_lr.search"),
        ("from lightning_lr import bracket\nfound = bracket.Bracket", "Bracket from lightning_lr.search"),
        ("import lightning_lr.leaderboard as m\nfound = m.leaderboard", "leaderboard from lightning_lr.search"),
        ("from lightning_lr.curve import LRCurve as found", "LRCurve from lightning_lr.range_test"),
    ],
)
def test_old_paths_work_and_name_the_new_one(statements: str, new: str) -> None:
    names: dict[str, object] = {}
    with pytest.warns(DeprecationWarning, match=f"will be removed in the next version: import {new}") as caught:
        exec(statements, names)
    assert caught[0].filename == "<string>"  # the warning points at the user's line
    name, _, module = new.partition(" from ")
    assert names["found"] is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", ["nothing", "_hidden", "__path__"])
def test_old_paths_have_no_other_names(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(importlib.import_module("lightning_lr.bracket"), name)


def test_the_package_is_easy_to_survey() -> None:
    """At most nine packages and six modules at the top; a file has one idea, and a callback is thin."""
    assert len([path for path in FILES if path.name == "__init__.py" and path.parent.parent == PACKAGE]) <= 9
    assert len([path for path in FILES if path.parent == PACKAGE]) <= 6
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert {name for name, length in lengths.items() if length > 250} == set()


def test_the_tab_imports_only_what_every_tensorboard_has() -> None:
    paths = sorted((PACKAGE.parent / "lightning_lr_tensorboard").rglob("*.py"))
    imported = {name.split(".")[0] for path in paths for name in imports_of(path, within_functions=True)}
    assert imported - sys.stdlib_module_names == {"lightning_lr_tensorboard", "tensorboard", "werkzeug"}
    sizes = {
        path.name: len(path.read_text().splitlines())
        for path in paths[0].parent.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name, lines in sizes.items() if lines > 300} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    part = part_of(path)
    if part.startswith("_"):  # the package's own __init__ and __main__ import from everywhere
        return
    imported = [name.split(".") for name in imports_of(path, within_functions=True)]
    parts = {names[1] for names in imported if names[0] == "lightning_lr" and len(names) > 1}
    assert parts <= MAY_IMPORT[part] | {part}
    if part not in KNOW_LIGHTNING:
        assert not {names[0] for names in imported} & {"lightning", "pytorch_lightning"}


def test_no_two_modules_import_each_other() -> None:
    paths = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES}
    names = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph = {
        name: {each if each in names else each.rpartition(".")[0] for each in imports_of(path, within_functions=True)}
        & set(names)
        for name, path in names.items()
    }

    def reaches(start: str, end: str, seen: set[str]) -> bool:
        seen.add(start)
        return any(other == end or (other not in seen and reaches(other, end, seen)) for other in graph[start])

    assert [name for name in graph if reaches(name, name, set())] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_importing_does_not_import_matplotlib(path: Path) -> None:
    assert not any(name.startswith("matplotlib") for name in imports_of(path, within_functions=False))


def test_only_the_rehearsal_replaces_parts_of_the_trainer() -> None:
    """Elsewhere no private loop or connector is imported."""
    for path in FILES:
        if path.stem not in ("rehearsal", "fit_loop"):
            imports = imports_of(path, within_functions=True)
            assert not any(".loops" in name or ".connectors" in name for name in imports), path


def distributions_of(paths: Iterable[Path]) -> set[str]:
    """The distributions that files import, also those whose names are in `lightning_packages._PACKAGES` only."""
    imported = {name.split(".")[0] for path in paths for name in imports_of(path, within_functions=True)}
    imported |= {package.split(".")[0] for package in lightning_packages._PACKAGES}
    imported -= {*sys.stdlib_module_names, "lightning_lr", "lightning_lr_tensorboard"}
    return {"pyyaml" if name == "yaml" else name.replace("_", "-") for name in imported}


def declared(without: str) -> set[str]:
    """The declared distributions, but for those of the extras that a pattern matches."""
    requirements = importlib.metadata.requires("lightning_lr") or []
    names = (re.match(r"[\w-]+", each) for each in requirements if not re.search(f"extra == .({without})", each))
    return {name[0].lower() for name in names if name is not None}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    """The extras for examples and benchmarks are not the package's."""
    assert distributions_of(FILES) == declared(without="examples|benchmarks")


def test_the_callbacks_need_no_extra() -> None:
    files = [path for path in FILES if part_of(path) in ("trainer", "callbacks")]
    assert distributions_of(files) <= declared(without="")
