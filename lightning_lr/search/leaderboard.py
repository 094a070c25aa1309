"""What a search says of each learning rate that it tried: how far it came, how it did, and why it was dropped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lightning_lr.search.bracket import Bracket, Outcome
from lightning_lr.search.verdicts import Verdict, verdict


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


def leaderboard(bracket: Bracket) -> list[Candidate]:
    """Every learning rate that was tried, once: the latest rung first, and there the best first.

    Args:
        bracket: that is done.

    Raises:
        ValueError: if it is not, or all learning rates diverged.
    """
    best = bracket.best
    latest = {outcome.lr: outcome for rung in bracket.rungs for outcome in rung}
    ranked = sorted(latest.values(), key=lambda each: (-each.trial.rung, each.end != "completed", each.score, each.lr))
    return [
        Candidate(
            lr=each.lr,
            rung=each.trial.rung,
            steps=len(each.values) * bracket.every,
            score=bracket.sign * each.score,
            verdict=verdict(each.lr, _costs(bracket, each), each.end, best.lr, _costs(bracket, best)),
            why=_why(bracket, each),
            values=each.values,
        )
        for each in ranked
    ]


def _costs(bracket: Bracket, outcome: Outcome) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return bracket.sign * np.array(outcome.values)


def _why(bracket: Bracket, outcome: Outcome) -> str:
    ran, total = len(outcome.values) * bracket.every, outcome.trial.steps
    if outcome.end == "diverged":
        what = "left the level it began at" if math.isfinite(outcome.values[-1]) else "not finite"
        return f"{what} after {ran} of {total} steps"
    kept = bracket.kept(outcome.trial.rung)
    last = kept[-1]
    if outcome.end == "behind":
        window = slice(len(outcome.values) * 2 // 3, len(outcome.values))
        own, theirs = (float(np.mean(each.values[window])) for each in (outcome, last))
        return f"could not catch up with lr={last.lr:.2g} after {ran} of {total} steps: {own:.3g} to {theirs:.3g}"
    own, theirs = bracket.sign * outcome.score, bracket.sign * last.score
    if outcome.lr == bracket.best.lr:
        return f"the best of the last rung, after {total} steps"
    place = f"lr={last.lr:.2g}" if len(kept) == 1 else f"the best {len(kept)}"
    return f"{place} ended better after {total} steps: {own:.3g} to {theirs:.3g}"
