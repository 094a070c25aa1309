"""`Ratio`: one measured ratio with its spread, and how it comes from times that were taken in turn."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PARTS = 4  # of the rounds; the spread is that of their ratios


class Ratio(NamedTuple):
    """A ratio, and where it was measured.

    Attributes:
        kind: what is measured: "step", "added", "finder", "memory" or "import".
        where: model, parameter groups and interval of logging.
        what: name of the case above the fraction bar.
        against: name of the case below it.
        ratio: the median of those of all rounds.
        low: the lowest of those of a quarter of the rounds.
        high: the highest.
    """

    kind: str
    where: str
    what: str
    against: str
    ratio: float
    low: float
    high: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it the same ratio in two measurements."""
        return self.kind, self.where, self.what, self.against


def ratio_of_times(
    kind: str,
    where: str,
    times: dict[str, NDArray[np.float64]],
    what: str,
    against: str,
    base: str | None = None,
) -> Ratio:
    """The ratio of two times, or of what they add to that of a base.

    Args:
        kind: see `Ratio`.
        where: see `Ratio`.
        times: of each case, one of each round, shape [rounds].
        what: case above the fraction bar.
        against: case below it.
        base: case that is subtracted above the bar and below it. Both then count as shares of it.
    """

    def ratio(part: slice) -> float:
        def median(name: str, by: str) -> float:
            # of the ratios of each round, since the machine's speed changes from round to round
            return float(np.median(times[name][part] / times[by][part]))

        if base is None:
            return median(what, against)
        return (median(what, base) - 1) / (median(against, base) - 1)

    rounds = len(times[what])
    edges = np.linspace(0, rounds, min(PARTS, rounds) + 1).astype(int).tolist()
    parts = [ratio(slice(start, end)) for start, end in pairwise(edges)]
    return Ratio(kind, where, what, against, ratio(slice(None)), min(parts), max(parts))
