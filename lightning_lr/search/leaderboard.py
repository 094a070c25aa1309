"""The leaderboard of a search: every learning rate that was tried, how far it came, how it did, and why it was dropped.

To add a column: add the value to `Candidate` and `leaderboard`, and its text to `COLUMNS`. The terminal, TensorBoard
and the CSV file take it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_lr.arguments import checked, instance_of
from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.progress import last_third
from lightning_lr.search.trial import Outcome
from lightning_lr.search.verdicts import MEANINGS, Verdict, is_behind, verdict


@dataclass(frozen=True)
class Candidate:
    """A learning rate that was tried.

    Attributes:
        lr: the learning rate.
        rung: the last rung that it was in, from 0.
        steps: optimizer steps that it ran for there, from the common state.
        score: the mean of the last third of what was recorded; not finite if it diverged.
        verdict: see `lightning_lr.search.verdicts.verdict`.
        why: why it won or was dropped.
        values: what was recorded there, from the common state on.
    """

    lr: float
    rung: int
    steps: int
    score: float
    verdict: Verdict
    why: str
    values: tuple[float, ...]


class Column(NamedTuple):
    """A column of the leaderboard.

    Attributes:
        name: head of the column.
        text: gives the text of a candidate.
        is_number: whether the text is a number, which is aligned to the right.
        wraps: whether the text may be broken into several lines.
    """

    name: str
    text: Callable[[Candidate], str]
    is_number: bool = True
    wraps: bool = False


COLUMNS = (
    Column("lr", lambda each: f"{each.lr:.3g}"),
    Column("verdict", lambda each: each.verdict, is_number=False),
    Column("score", lambda each: f"{each.score:.4g}" if math.isfinite(each.score) else ""),
    Column("rung", lambda each: str(each.rung + 1)),
    Column("steps", lambda each: str(each.steps)),
    Column("why", lambda each: each.why, is_number=False, wraps=True),
)
STYLES: dict[Verdict, str] = {"very high": "red", "high": "yellow", "good": "bold green", "low": "blue"}
CAPTION = "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANINGS.items())


@checked(bracket=instance_of(Bracket, what="a Bracket"))
def leaderboard(bracket: Bracket) -> list[Candidate]:
    """Every learning rate that was tried, once: the latest rung first, and in a rung the best first.

    Args:
        bracket: a search that is done.

    Raises:
        ValueError: if it is not done, or all learning rates diverged.
    """
    best = bracket.best
    latest = {outcome.lr: outcome for rung in bracket.rungs for outcome in rung}
    latest[best.lr] = best
    ranked = sorted(
        latest.values(),
        key=lambda each: (each.lr != best.lr, -each.trial.rung, each.end != "completed", each.score, each.lr),
    )
    return [
        Candidate(
            lr=each.lr,
            rung=each.trial.rung,
            steps=len(each.values) * bracket.every,
            score=bracket.sign * each.score,
            verdict=_verdict(bracket, each),
            why=_why(bracket, each),
            values=each.values,
        )
        for each in ranked
    ]


def leaderboard_rows(candidates: Sequence[Candidate]) -> list[list[str]]:
    """The texts of the leaderboard, the heads first."""
    return [[column.name for column in COLUMNS], *([column.text(each) for column in COLUMNS] for each in candidates)]


def leaderboard_table(candidates: Sequence[Candidate], title: str) -> Table:
    """The leaderboard for the terminal."""
    table = Table(title=title, title_justify="left", caption=CAPTION, caption_justify="left", box=SIMPLE_HEAD)
    heads, *rows = leaderboard_rows(candidates)
    for column, head in zip(COLUMNS, heads, strict=True):
        table.add_column(head, justify="right" if column.is_number else "left", no_wrap=not column.wraps)
    for each, row in zip(candidates, rows, strict=True):
        table.add_row(*row, style=STYLES[each.verdict])
    return table


def leaderboard_markdown(candidates: Sequence[Candidate]) -> str:
    """The leaderboard for TensorBoard's texts."""
    heads, *rows = leaderboard_rows(candidates)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", CAPTION])


def _costs(bracket: Bracket, outcome: Outcome) -> Array:
    return bracket.sign * np.array(outcome.values)


def _verdict(bracket: Bracket, outcome: Outcome) -> Verdict:
    if outcome.end != "diverged" and bracket.best.lr < bracket.lowest_diverged < outcome.lr:
        return "high"  # it survived its short trial by chance
    best = bracket.best
    return verdict(outcome.lr, _costs(bracket, outcome), outcome.end, best.lr, _costs(bracket, best))


def _why(bracket: Bracket, outcome: Outcome) -> str:
    """The reason for which a learning rate was dropped or won, as a sentence."""
    ran, total = len(outcome.values) * bracket.every, outcome.trial.steps
    if outcome.end == "diverged":
        what = "rose far above its start" if math.isfinite(outcome.values[-1]) else "not finite"
        what = what if outcome.error is None else f"raised {outcome.error}"
        return f"{what} after {ran} of {total} steps"
    if outcome.lr == bracket.best.lr:
        is_last = outcome.trial.rung == len(bracket.rungs) - 1
        what = "the last rung" if is_last else "those below all that diverged"
        return f"the best of {what}, after {total} steps"
    if outcome.end == "dropped":
        return _why_dropped(bracket, outcome)
    rival = _winner(bracket, outcome.trial.rung)
    if (outcome.score, outcome.lr) <= (rival.score, rival.lr):
        if outcome.lr > bracket.lowest_diverged:
            return f"above lr={bracket.lowest_diverged:.2g}, which diverged"
        return f"nothing was learned, and lr={rival.lr:.2g} is higher and ended as well after {total} steps"
    score, of_rival = bracket.sign * outcome.score, bracket.sign * rival.score
    if score == of_rival:
        return f"lr={rival.lr:.2g} is lower and ended as well after {total} steps: {score:.3g}"
    return f"lr={rival.lr:.2g} ended better after {total} steps: {_compared(score, of_rival)}"


def _winner(bracket: Bracket, rung: int) -> Outcome:
    """The best of a rung when it was done. It may have diverged since then, and is the first one of the next rung."""
    if rung == len(bracket.rungs) - 1:
        best = bracket.best_of_rung(rung)
        assert best is not None  # this is asked for a trial that was completed
        return best
    winner = bracket.rungs[rung + 1][0].lr
    return next(each for each in bracket.rungs[rung] if each.lr == winner)


def _why_dropped(bracket: Bracket, outcome: Outcome) -> str:
    """As `_why`, with the best one of its rung that the trial was behind, and the means of the last third."""
    ran, total = len(outcome.values) * bracket.every, outcome.trial.steps
    costs = _costs(bracket, outcome)
    completed = [each for each in bracket.rungs[outcome.trial.rung] if each.end == "completed"]
    for rival in sorted(completed, key=lambda each: (each.score, each.lr)):
        of_rival = _costs(bracket, rival)[: len(costs)]
        both = np.isfinite(costs) & np.isfinite(of_rival)
        if both.any() and is_behind(costs, _costs(bracket, rival)):
            mean, rival_mean = (bracket.sign * float(np.mean(last_third(each[both]))) for each in (costs, of_rival))
            if bracket.sign * mean > bracket.sign * rival_mean:
                return (
                    f"could not catch up with lr={rival.lr:.2g} after {ran} of {total} steps:"
                    f" {_compared(mean, rival_mean)}"
                )
    return f"ended after {ran} of {total} steps"


def _compared(number: float, other: float) -> str:
    """Two numbers with as many digits as tell them apart, from three to six."""
    texts = [(f"{number:.{digits}g}", f"{other:.{digits}g}") for digits in range(3, 7)]
    first, second = next((pair for pair in texts if pair[0] != pair[1]), texts[-1])
    return f"{first} to {second}"
