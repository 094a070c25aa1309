"""Rules that adapt a learning rate while training: alignment of gradient and past movement -> next learning rate.

With parameters θ, learning rate α and the optimizer's direction u, a step is ``θ_t+1 = θ_t - α u_t``, so that
``∂f(θ_t)/∂α = -⟨g_t, u_t-1⟩``: the gradient, multiplied with what the last step did, tells whether that step was too
short. A rule is told this *alignment* and keeps a ``scale``, by which the scheduled learning rate is multiplied. It
knows nothing of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol, get_args

RuleName = Literal["long_horizon", "multiplicative", "additive"]
Trend = Literal["level", "falls", "has risen"]


class Alignment(NamedTuple):
    """How a gradient g lies to the movement d of the steps before, undone: ``d = θ_then - θ_now``.

    Attributes:
        dot: ``⟨g, d⟩``. To first order it is ``-∂f/∂log α`` of the learning rate α of those steps.
        gradient_norm: ``‖g‖``.
        movement_norm: ``‖d‖``.
    """

    dot: float
    gradient_norm: float
    movement_norm: float

    @property
    def is_known(self) -> bool:
        """Whether the gradient is finite and not 0, and the parameters have moved at all."""
        return 0 < self.gradient_norm < math.inf and self.movement_norm != 0

    @property
    def cosine(self) -> float:
        """The cosine of the angle between g and d, from -1 to 1; -1 where it is not finite: the steps went too far.

        >>> Alignment(1.0, 2.0, 1.0).cosine, Alignment(math.nan, 1.0, math.inf).cosine, Alignment(0.0, 0.0, 1.0).cosine
        (0.5, -1.0, 0.0)
        """
        cosine = self.dot / (self.gradient_norm * self.movement_norm + 1e-30)
        return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else -1.0


class Situation(NamedTuple):
    """What goes on beside an alignment.

    Attributes:
        schedule: how a schedule has moved the learning rate last: 1 up, -1 down; 0 if it has not within the horizon.
        loss: whether it falls fast or has risen of late, beyond its noise.
        horizons: that training has gone on for.
    """

    schedule: Literal[-1, 0, 1] = 0
    loss: Trend = "level"
    horizons: float = 0.0


_CONSTANT = Situation()


class Rule(Protocol):
    """What adapts a scale.

    Attributes:
        scale: factor of the scheduled learning rate, above 0.
        turns: how often the direction of adaptation has changed.
    """

    scale: float
    turns: int

    def update(self, alignment: Alignment, rate: float, steps: int, situation: Situation = _CONSTANT) -> None:
        """Take one alignment.

        Args:
            alignment: of a gradient to the steps before it.
            rate: learning rate of the latest of these steps.
            steps: that were made since the last alignment.
            situation: of training.
        """


@dataclass
class LongHorizon:
    """The default: looks back over the whole way from a mean of the iterates, not only over the last step.

    With c the cosine of the alignment and 0.01, m its mean, K the number of times that m has changed its sign, and n
    the steps since the last alignment::

        m ← 0.8 m + 0.2 c
        log scale ← log scale + clip(0.7 √n c / (1 + K/10), -0.5, 0.1 √n)

    One step looks too short a way ahead: noise then shrinks the learning rate (Wu et al. 2018). The gain falls only
    when the direction turns, so that a rate that is decades away is reached with 23 steps for each of them, and one
    that is right stays. It rises no faster, since momentum needs some ten steps to show what a rate does. The 0.01
    makes up for what noise does still: an iterate that it has driven away from the mean is drawn back, so that at the
    best constant rates the cosine lies a little below 0.

    On top of a schedule the best height is another: one that falls will take the noise away, so that more of it can be
    borne, and one that rises will itself raise the rate. So in place of the 0.01 there stands 0.7 σ while the schedule
    falls, and 0 while it rises; σ is the noise of the cosines, whose square is a mean of halved squares of the
    differences of successive ones, begun at 0 and with a weight of 0.05. The loss has a say too, since near the edge of
    divergence the cosine tells good rates from those that are three times too high too late: the scale does not rise
    while the loss falls fast and the cosine is below 0.5; and while the loss has risen of late, 0 stands in place of
    the 0.01, and the scale shrinks by 0.06 √n at least. And the gain falls with time as well, to half after four
    horizons and to a twentieth in the end, since there is less and less to be won.

    All of this was measured on small tasks, see ``benchmarks/hypergradient.py``.

    References:
        Harry Kesten, "Accelerated Stochastic Approximation", 1958 (the gain).
        Yuhuai Wu et al., "Understanding Short-Horizon Bias in Stochastic Meta-Optimization", 2018, arXiv:1803.02021.
    """

    scale: float = 1.0
    turns: int = 0
    mean: float = 0.0
    latest: float | None = None
    variance: float = 0.0

    def update(self, alignment: Alignment, rate: float, steps: int, situation: Situation = _CONSTANT) -> None:  # noqa: ARG002
        if math.isfinite(alignment.dot):
            self._note(alignment.cosine)
        cosine = alignment.cosine + self._borne(situation)
        before = self.mean
        self.mean = 0.8 * before + 0.2 * cosine if before else cosine
        self.turns += before * self.mean < 0
        root = math.sqrt(steps)
        step = 0.7 * root * cosine / (1 + self.turns / 10)
        highest = 0.1 * root
        if situation.schedule:
            step *= max(0.05, 1 - situation.horizons / 8)
            if situation.loss == "falls" and alignment.cosine < 0.5:  # else the way is all but straight
                highest = 0.0
            elif situation.loss == "has risen":
                highest = -0.06 * root
        self.scale *= math.exp(max(-0.5, min(highest, step)))

    def _note(self, cosine: float) -> None:
        before, self.latest = self.latest, cosine
        if before is not None:
            self.variance += 0.05 * ((cosine - before) ** 2 / 2 - self.variance)

    def _borne(self, situation: Situation) -> float:
        """How far below 0 the cosine is to be."""
        if situation.schedule == 0:
            return 0.01
        if situation.schedule > 0 or situation.loss == "has risen":
            return 0.0
        return 0.7 * math.sqrt(self.variance)


@dataclass
class Multiplicative:
    """``α_t = α_t-1 (1 + β cos(g_t, u_t-1))``: the dimensionless rule of Baydin et al.

    Args:
        beta: β, above 0 and below 1.

    References:
        Atılım Güneş Baydin et al., "Online Learning Rate Adaptation with Hypergradient Descent", 2018,
        arXiv:1703.04782.
    """

    beta: float
    scale: float = 1.0
    turns: int = 0
    before: float = 0.0

    def update(self, alignment: Alignment, rate: float, steps: int, situation: Situation = _CONSTANT) -> None:  # noqa: ARG002
        cosine = alignment.cosine
        self.turns += self.before * cosine < 0
        self.before = cosine or self.before
        self.scale *= 1 + self.beta * cosine


@dataclass
class Additive:
    """``α_t = α_t-1 + β ⟨g_t, u_t-1⟩``: the rule of Baydin et al. (SGD-HD, SGDN-HD, Adam-HD).

    β has a unit, so it depends on the scale of the gradients. Where the rule would take α to zero or below, which
    theirs does, α is halved.

    Args:
        beta: β, above 0; in the paper 1e-3 for SGD and 1e-7 for Adam.

    References:
        as of `Multiplicative`.
    """

    beta: float
    scale: float = 1.0
    turns: int = 0
    before: float = 0.0

    def update(self, alignment: Alignment, rate: float, steps: int, situation: Situation = _CONSTANT) -> None:  # noqa: ARG002
        if rate == 0 or not math.isfinite(alignment.dot):
            return
        self.turns += self.before * alignment.dot < 0
        self.before = alignment.dot or self.before
        # d = α u, so ⟨g, u⟩ = dot / α; and α = scale · schedule, so the step of the scale is that of α by the schedule
        relative = self.beta * alignment.dot / rate**2
        self.scale *= max(0.5, 1 + relative)


def rule_maker(name: RuleName, beta: float | None) -> Callable[[], Rule]:
    """What makes the rule of a name.

    Args:
        name: of the rule.
        beta: of the paper's rules; None for 0.02 with ``"multiplicative"``.

    Raises:
        ValueError: if the name is unknown, or beta is missing, of no use, or out of range.
    """
    if name not in get_args(RuleName):
        raise ValueError(f"rule must be one of {', '.join(get_args(RuleName))}, got {name!r}.")
    if name == "long_horizon":
        if beta is not None:
            raise ValueError(f"rule='long_horizon' takes horizon, the other rules take beta, got beta={beta!r}.")
        return LongHorizon
    if beta is None and name == "additive":
        raise ValueError("rule='additive' needs beta, got None: the paper has 1e-3 for SGD and 1e-7 for Adam.")
    beta = 0.02 if beta is None else beta
    limit, words = (1.0, "below 1") if name == "multiplicative" else (math.inf, "finite")
    if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 < beta < limit:
        raise ValueError(f"beta must be a number above 0 and {words}, got {beta!r}.")
    return partial(Multiplicative if name == "multiplicative" else Additive, beta)
