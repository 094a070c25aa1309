"""The search from coarse to fine, by short trainings with one learning rate each."""

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.figure import search_figure
from lightning_lr.search.leaderboard import Candidate, leaderboard
from lightning_lr.search.result import SearchResult, search_result
from lightning_lr.search.trial import Outcome, Trial
from lightning_lr.search.verdicts import Verdict

__all__ = [
    "Bracket",
    "Candidate",
    "Outcome",
    "SearchResult",
    "Trial",
    "Verdict",
    "leaderboard",
    "search_figure",
    "search_result",
]
