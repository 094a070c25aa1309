"""Which scalars the tab reads: their tags, of this package, of Lightning's LearningRateMonitor, and of others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Role = Literal["lr", "loss", "alignment", "log10_scale", "scale"]

_OF_REPORTS = re.compile(r"^(lr_range_test|lr_search|cyclical_lr)/")
_LR = re.compile(r"(^|[/_.-])(lr|learning_?rate)([/_.-]|$)", re.IGNORECASE)
_NO_LR = re.compile(r"[-/_](momentum|weight_decay)$")  # that LearningRateMonitor logs beside a learning rate
_LOSS = re.compile(r"loss|(^|[/_.-])nll([/_.-]|$)", re.IGNORECASE)
_ADAPTATION = re.compile(r"^hypergradient/(alignment|log10_scale|scale)/")

# What a logger with a prefix puts before our tags.
_PREFIX = re.compile(r"^.+-(?=(lr|lr_range_test|lr_search|cyclical_lr|hypergradient)/)")

# One range test of a run, or one search, has one prefix.
RANGE_TEST = re.compile(r"^(lr_range_test(?:/epoch_\d+)?)/(.+)$")
SEARCH = re.compile(r"^(lr_search(?:/epoch_\d+)?)/(.+)$")


def without_prefix(tag: str) -> str:
    """A tag of this package without the prefix of a logger; any other tag as it is.

    >>> [without_prefix(tag) for tag in ("mine-lr/Adam", "mine-lr_range_test/lr", "lr-Adam/pg1", "mine-train_loss")]
    ['lr/Adam', 'lr_range_test/lr', 'lr-Adam/pg1', 'mine-train_loss']
    """
    return _PREFIX.sub("", tag)


def role_of(tag: str) -> Role | None:
    """What a scalar of the training is; None if the view of the training does not show it.

    >>> [role_of(tag) for tag in ("lr/Adam", "lr-Adam/pg1", "lr/loss", "train_loss", "val_acc", "lr_range_test/lr")]
    ['lr', 'lr', 'loss', 'loss', None, None]
    """
    if match := _ADAPTATION.match(tag):
        return match[1]  # type: ignore[return-value]
    if _OF_REPORTS.match(tag):
        return None
    if _LOSS.search(tag):
        return "loss"
    return "lr" if _LR.search(tag) and not _NO_LR.search(tag) else None


def is_shown(tags: Iterable[str]) -> bool:
    """Whether the scalars of a run show a range test, a search, or a learning rate with a loss."""
    tags = list(tags)
    if any(RANGE_TEST.match(tag) or SEARCH.match(tag) for tag in tags):
        return True
    return {"lr", "loss"} <= {role_of(tag) for tag in tags}


def is_read(tag: str) -> bool:
    """Whether the tab reads a scalar."""
    return role_of(tag) is not None or RANGE_TEST.match(tag) is not None or SEARCH.match(tag) is not None
