"""The constants are used, and docstrings name and quote them as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import lightning_lr
from lightning_lr.adaptation import constants

PACKAGE = Path(lightning_lr.__file__).parent
QUOTED = re.compile(r"`([A-Z_]+)` = ([\d.]+\d|\d)")
NAMED = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")


def _docstrings(folder: str) -> list[str]:
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    nodes = [node for path in (PACKAGE / folder).glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    return [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]


def test_quoted_values_are_those_of_the_constants() -> None:
    found = [pair for text in (*_docstrings("adaptation"), *_docstrings("callbacks")) for pair in QUOTED.findall(text)]
    assert len(found) > 5
    assert [(name, float(value)) for name, value in found] == [(name, getattr(constants, name)) for name, _ in found]


def test_names_in_formulas_are_those_of_the_constants() -> None:
    found = {name for text in _docstrings("adaptation") for name in NAMED.findall(text)}
    assert len(found) > 10
    assert {name for name in found if not hasattr(constants, name)} == set()


def test_every_constant_is_used() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    names = [name for name in vars(constants) if name.isupper()]
    assert [name for name in names if f"constants.{name}" not in text and not name.startswith("_")] == []
