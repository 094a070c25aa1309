"""Data that need no network: source code and documentation of Python's standard library, and scikit-learn's digits.

The texts are those of the Python that runs. So recorded losses of the text settings hold for its version only, up to
small differences.
"""

from __future__ import annotations

import io
import keyword
import sysconfig
import tokenize
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_digits
from torch import Tensor

from benchmarks.suite.setting import Batch, Draw

CHARACTERS = 96  # the printable characters of ASCII, and the end of a line, which is the last one
TOKEN_KINDS = 7
TRAIN_DIGITS = 1400  # of 1797
_STDLIB = Path(sysconfig.get_paths()["stdlib"])
_KINDS = {tokenize.STRING: 2, tokenize.COMMENT: 3, tokenize.NUMBER: 4, tokenize.OP: 5}  # 0: space, 1: name, 6: keyword


def read(path: Path) -> str:
    return path.read_text(encoding="utf8", errors="ignore")


def source_files(pattern: str) -> list[Path]:
    """Files of the standard library, in the order of their names."""
    return sorted(_STDLIB.glob(pattern))


def source_code(pattern: str, length: int) -> str:
    """The first characters of these files of the standard library, one file after the other."""
    text = ""
    for path in source_files(pattern):
        text += read(path)
        if len(text) > length:
            break
    return text[:length]


def documentation() -> str:
    """A part of Python's manual."""
    return read(_STDLIB / "pydoc_data" / "topics.py")[20_000:200_000]


def encode(text: str) -> Tensor:
    """One number below `CHARACTERS` for each character."""
    return torch.tensor([CHARACTERS - 1 if c == "\n" else min(max(ord(c) - 32, 0), CHARACTERS - 2) for c in text])


@cache
def code_corpus(pattern: str) -> tuple[Tensor, Tensor]:
    """Encoded source code: nine tenths to train on, one tenth for validation."""
    codes = encode(source_code(pattern, 180_000))
    cut = int(0.9 * len(codes))
    return codes[:cut], codes[cut:]


def next_character(codes: Tensor, starts: list[int], context: int) -> Batch:
    """Windows of a text, and the same windows one character later."""
    windows = torch.stack([codes[start : start + context + 1] for start in starts])
    return windows[:, :-1], windows[:, 1:]


def next_character_draw(codes: Tensor, context: int = 24, batch_size: int = 6) -> Draw:
    def draw(generator: torch.Generator) -> Batch:
        starts = torch.randint(0, len(codes) - context - 1, (batch_size,), generator=generator)
        return next_character(codes, starts.tolist(), context)

    return draw


def next_character_validation(codes: Tensor) -> Batch:
    return next_character(codes, list(range(0, 64 * 90, 90)), 24)


@cache
def token_kinds() -> tuple[Tensor, Tensor]:
    """Encoded source code, and for each character the kind of its token."""
    text = source_code("[p-r]*.py", 60_000)
    kinds = torch.zeros(len(text), dtype=torch.long)
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                kind = 6 if keyword.iskeyword(token.string) else 1
            else:
                kind = _KINDS.get(token.type, 0)
            if kind:
                first, last = starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
                kinds[first:last] = kind
    except (tokenize.TokenError, IndentationError):
        pass  # the text ends within a file
    return encode(text), kinds


def token_kind_draw(context: int, batch_size: int) -> Draw:
    codes, _ = token_kinds()
    train_length = int(0.9 * len(codes))

    def draw(generator: torch.Generator) -> Batch:
        starts = torch.randint(0, train_length - context, (batch_size,), generator=generator).tolist()
        return _token_windows(starts, context)

    return draw


def token_kind_validation(context: int) -> Batch:
    length = len(token_kinds()[0])
    return _token_windows(list(range(int(0.9 * length), length - context, 90)), context)


def _token_windows(starts: list[int], context: int) -> Batch:
    codes, kinds = (torch.stack([each[start : start + context] for start in starts]) for each in token_kinds())
    return codes, kinds


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Handwritten digits in random order: shape [1797, 64], and what they show. The first 1400 are trained on."""
    bunch = load_digits()
    order = np.random.RandomState(77).permutation(len(bunch.data))  # recorded losses need this order
    return torch.tensor(bunch.data[order] / 16 - 0.3, dtype=torch.float32), torch.tensor(bunch.target[order])


def train_digits() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[:TRAIN_DIGITS], labels[:TRAIN_DIGITS]


def validation_digits() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[TRAIN_DIGITS:], labels[TRAIN_DIGITS:]


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Digits that are moved by at most one pixel, shape [batch, 8, 8]."""
    padded = F.pad(images.view(-1, 8, 8), (1,) * 4, value=-0.3)
    offsets = torch.randint(0, 3, (len(padded), 2), generator=generator).tolist()
    return torch.stack(
        [image[down : down + 8, right : right + 8] for image, (down, right) in zip(padded, offsets, strict=True)]
    )


def shifted_draw(images: Tensor, labels: Tensor, batch_size: int) -> Draw:
    def draw(generator: torch.Generator) -> Batch:
        rows = torch.randint(0, len(images), (batch_size,), generator=generator)
        return shifted(images[rows], generator), labels[rows]

    return draw
