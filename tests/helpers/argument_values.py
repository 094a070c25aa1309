"""Values for arguments, and which of them each kind of argument takes. It must refuse all others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

VALUES: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "np.bool_": np.bool_(True),
    "0": 0,
    "0.0": 0.0,
    "1": 1,
    "2": 2,
    "3.0": 3.0,
    "np.int64": np.int64(2),
    "0.5": 0.5,
    "1.5": 1.5,
    "np.float32": np.float32(0.5),
    "-1": -1,
    "-0.5": -0.5,
    "nan": math.nan,
    "np.nan": np.float32(math.nan),
    "inf": math.inf,
    "-inf": -math.inf,
    "1e300": 1e300,
    "10**400": 10**400,
    "1j": 1j,
    "tensor": torch.tensor(0.5),
    "'0.5'": "0.5",
    "'2'": "2",
    "'1e-3'": "1e-3",
    "'abc'": "abc",
    "''": "",
    "'2ep'": "2ep",
    "'0.5run'": "0.5run",
    "bytes": b"2",
    "path": Path("found"),
    "[]": [],
    "()": (),
    "{}": {},
    "[2]": [2],
    "[0.5]": [0.5],
    "[1, 2]": [1, 2],
    "(0.1, 0.2)": (0.1, 0.2),
    "array": np.array([0.1, 0.2]),
    "array of 0 dimensions": np.array(0.5),
    "12 rising": [0.01 * i for i in range(1, 13)],
    "[2, 1]": [2, 1],
    "[-1]": [-1],
    "[nan]": [math.nan],
    "[None]": [None],
    "[True]": [True],
    "['abc']": ["abc"],
    "[[1, 2]]": [[1, 2]],
    "{'a': 0.5}": {"a": 0.5},
    "{1, 2}": {1, 2},
    "object": object(),
    "class": dict,
    "len": len,
    "math.sqrt": math.sqrt,
    "lambda": lambda x: x,
    "module": torch.nn.Linear(2, 2),
}

_POSITIVE = {"1", "2", "3.0", "np.int64", "0.5", "1.5", "np.float32"}
_WHOLE = {"1", "2", "3.0", "np.int64"}
_ZERO = {"0", "0.0"}
_NUMBER_LISTS = {"[2]", "[0.5]", "[1, 2]", "(0.1, 0.2)", "array", "12 rising"}
_TEXT = {"'0.5'", "'2'", "'1e-3'", "'abc'", "'2ep'", "'0.5run'"}
KINDS: dict[str, set[str]] = {
    "rate": _POSITIVE,
    "rate or 0": _POSITIVE | _ZERO,
    "number": _POSITIVE | _ZERO | {"-1", "-0.5", "1e300"},
    "positive": _POSITIVE | {"1e300"},
    "from 0": _POSITIVE | _ZERO | {"1e300"},
    "from 1": {"1", "2", "3.0", "np.int64", "1.5", "1e300"},
    "from 1 or infinite": {"1", "2", "3.0", "np.int64", "1.5", "1e300", "inf"},
    "any number": _POSITIVE | _ZERO | {"-1", "-0.5", "1e300", "nan", "np.nan", "inf", "-inf"},
    "share": {"0", "0.0", "1", "0.5", "np.float32"},
    "at most 1": {"1", "0.5", "np.float32"},
    "below 1": {"0.5", "np.float32"},
    "whole from 1": _WHOLE,
    "whole from 0": _WHOLE | _ZERO,
    "flag": {"True", "False", "np.bool_"},
    "choice": set(),  # the right ones are in the calls below
    "key": _TEXT,
    "text": _TEXT | {"''"},
    "length": _WHOLE | {"'2'", "'2ep'", "'0.5run'"},
    "auto or length": _WHOLE | {"'2'", "'2ep'", "'0.5run'"},
    "bound": _POSITIVE | _ZERO | _NUMBER_LISTS | {"{'a': 0.5}", "[2, 1]"},
    "two numbers below 1": {"(0.1, 0.2)", "array"},
    "two numbers": {"(0.1, 0.2)", "array", "[1, 2]"},
    "epochs": {"[2]", "[1, 2]", "[2, 1]", "{1, 2}"},
    "rising": {"12 rising"},
    "numbers": _NUMBER_LISTS | {"[2, 1]", "[-1]", "[nan]"},
    "flat numbers": _NUMBER_LISTS | {"[2, 1]", "[-1]", "[nan]", "{1, 2}"},
    "folder": _TEXT | {"path"},
    "function": {"len", "math.sqrt", "lambda", "class", "module"},
    "scale": {"math.sqrt"},
    "batches": {"1", "2", "np.int64", "0.5", "np.float32"},
    "paths": {"['abc']"},
    "mapping": {"{}", "{'a': 0.5}"},
    "scale or lambda": {"math.sqrt", "lambda"},
    "loader": _NUMBER_LISTS
    | {"[]", "()", "[2, 1]", "[-1]", "[nan]", "[None]", "[True]", "['abc']", "[[1, 2]]", "{1, 2}"},
    "steps": _POSITIVE | _ZERO | {"1e300", "array", "array of 0 dimensions", "tensor"},
    "object": set(),  # of a class of this package, or Lightning's
    "anything": set(VALUES),
}


@dataclass(frozen=True)
class Call:
    """A public function or constructor.

    Attributes:
        function: what is called.
        kinds: of its arguments, by name; a question mark at the end: or None.
        given: the arguments that stay as they are while one of them is tried. Functions of no arguments are called.
    """

    function: Callable[..., Any]
    kinds: dict[str, str]
    given: dict[str, Any] = field(default_factory=dict)

    def takes(self, argument: str) -> set[str]:
        """The names of the values that are right."""
        kind = self.kinds[argument]
        return KINDS[kind.removesuffix("?")] | ({"None"} if kind.endswith("?") else set())


def kinds(table: str) -> dict[str, str]:
    """``name: kind``, with commas between."""
    pairs = (each.split(":") for each in table.split(","))
    return {name.strip(): kind.strip() for name, kind in pairs}
