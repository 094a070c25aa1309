"""``docs/troubleshooting.md`` quotes messages that the code can give."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import lightning_lr

PACKAGE = Path(lightning_lr.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "troubleshooting.md").read_text()

QUOTES = [re.sub(r"\n?^> ", " ", quote, flags=re.M).strip() for quote in re.findall(r"(?:^> .*\n)+", PAGE, re.M)]
REASONS = re.findall(r"^\| `(.*?)`", PAGE, re.M)
MIN_SHARE = 0.25  # of a quote that must be text of the message, not values: else a short text would match anything


def messages() -> dict[str, int]:
    """A regular expression of each text in the code, with anything where it has values, and its number of letters."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            pattern = "".join(re.escape(text) if isinstance(text, str) else ".*" for text in texts)
            found[pattern] = sum(len(text) for text in texts if isinstance(text, str))
    return found


MESSAGES = messages()


def test_the_page_quotes_messages_and_reasons() -> None:
    assert len(QUOTES) > 20
    assert len(REASONS) > 5


@pytest.mark.parametrize("quote", [*QUOTES, *REASONS], ids=lambda quote: quote[:50])
def test_the_code_has_this_message(quote: str) -> None:
    """The quote begins with a text of the code. What follows may be another sentence."""
    long = [pattern for pattern, letters in MESSAGES.items() if letters >= MIN_SHARE * len(quote)]
    assert any(re.match(pattern, quote) for pattern in long)
