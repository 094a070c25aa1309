"""`SearchResult`: what a search found."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lightning_lr.range_test.suggestion import Suggestion, with_bounds
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import Candidate, leaderboard


@dataclass(frozen=True)
class SearchResult(Suggestion):
    """The best learning rate, the bounds of a cycle that go with it, and all learning rates that were tried.

    Attributes:
        candidates: every learning rate that was tried, the best first.
        steps: optimizer steps of all trials.
    """

    candidates: tuple[Candidate, ...]
    steps: int


def search_result(bracket: Bracket, momentum: bool) -> SearchResult:
    """The result of a search that is done.

    Args:
        bracket: the search.
        momentum: whether the optimizer has momentum or second moments: ``max_lr`` is then higher, see `suggest`.

    Raises:
        ValueError: if it is not done, or all learning rates diverged.
    """
    candidates = leaderboard(bracket)
    lr, tried = candidates[0].lr, [each.lr for each in candidates]
    reasons = []
    if lr == max(tried):
        reasons.append(f"lr={lr:.3g} is the highest that was tried: raise max_lr")
    if lr == min(tried):
        reasons.append(f"lr={lr:.3g} is the lowest that was tried: lower min_lr")
    if bracket.best.score >= bracket.sign * candidates[0].values[0]:
        reasons.append("no learning rate improved on the start")
    suggestion = with_bounds(lr, momentum, tuple(reasons))
    return SearchResult(**asdict(suggestion), candidates=tuple(candidates), steps=bracket.spent)
