"""What a suggestion was applied to, and the sentence that tells the user so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lightning_lr.range_test.suggestion import Suggestion


class Applied(NamedTuple):
    """One thing whose learning rate was set.

    Attributes:
        name: for the user: ``"Adam"``, ``"StepLR"``, ``"model.lr"``, ``"CyclicalLR"``.
        call: call of a constructor that gives the same bounds: ``"OneCycleLR(max_lr=0.1)"``.
        option: attribute of the module, or argument of an optimizer, that holds the learning rate: ``"model.lr"``.
    """

    name: str
    call: str | None = None
    option: str | None = None


def summary(owner: str, suggestion: Suggestion, applied: Sequence[Applied], to_keep: str = "") -> str:
    """One line: the suggestion, whether it is confident, what was set, and how to keep it.

    >>> suggestion = Suggestion(0.1, 0.02, 0.2, 0.3, True, ())
    >>> summary("LRSearch", suggestion, [Applied("SGD"), Applied("model.lr")], "lr=0.1").split(". ")[1:]
    ['Set: SGD, model.lr', 'To keep it for good: lr=0.1']

    Args:
        owner: name of the callback that found it.
        suggestion: as found.
        applied: what was set.
        to_keep: what to write for a later run, or nothing.
    """
    certainty = "confident" if suggestion.confident else "not confident"
    found = (
        f"lr={suggestion.lr:.3g} ({certainty}); {suggestion.decay_lr:.3g} with a decay to 0; cycle bounds"
        f" {suggestion.base_lr:.3g} to {suggestion.max_lr:.3g}"
    )
    if not applied:
        return f"{owner} found {found}. Nothing was set."
    names = ", ".join(dict.fromkeys(each.name for each in applied))
    return f"{owner} found {found}. Set: {names}." + (f" To keep it for good: {to_keep}" if to_keep else "")
