"""Rules that adapt a learning rate while training: alignment of gradient and past steps -> factor of the learning rate.

With parameters θ, learning rate α and the optimizer's direction u, a step is ``θ_t+1 = θ_t - α u_t``, so that
``∂f(θ_t)/∂α = -⟨g_t, u_t-1⟩``: if the gradient points along the last step, that step was too short. A rule takes this
*alignment* and gives the factor by which the scale of the scheduled learning rate changes. It knows nothing of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol, get_args

from lightning_lr.adaptation import constants

RuleName = Literal["long_horizon", "multiplicative", "additive"]
Trend = Literal["flat", "falling", "risen"]


class Alignment(NamedTuple):
    """The angle between a gradient g and the displacement ``d = θ_then - θ_now`` of the steps before it.

    Attributes:
        dot: ``⟨g, d⟩``. To first order it is ``-∂f/∂log α`` of the learning rate α of those steps.
        gradient_norm: ``‖g‖``.
        displacement_norm: ``‖d‖``.
    """

    dot: float
    gradient_norm: float
    displacement_norm: float

    @property
    def is_known(self) -> bool:
        """Whether the gradient is finite and not 0, and the parameters have moved."""
        return 0 < self.gradient_norm < math.inf and self.displacement_norm != 0

    @property
    def cosine(self) -> float:
        """The cosine of the angle, from -1 to 1. If it is not finite it is -1: the steps were too long.

        >>> Alignment(1.0, 2.0, 1.0).cosine, Alignment(math.nan, 1.0, math.inf).cosine, Alignment(0.0, 0.0, 1.0).cosine
        (0.5, -1.0, 0.0)
        """
        cosine = self.dot / (self.gradient_norm * self.displacement_norm + constants.COSINE_EPSILON)
        return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else -1.0


class TrainingPhase(NamedTuple):
    """What a rule is told about training, besides the alignment.

    Attributes:
        schedule_direction: how a schedule has last moved the learning rate: 1 up, -1 down; 0 if it has not moved within
            the horizon.
        loss_trend: whether the loss is falling fast or has risen, beyond its noise.
        horizons: length of training so far, in horizons.
    """

    schedule_direction: Literal[-1, 0, 1] = 0
    loss_trend: Trend = "flat"
    horizons: float = 0.0


NO_SCHEDULE = TrainingPhase()


class Rule(Protocol):
    """Adapts a scale.

    Attributes:
        sign_changes: how often the sign of the alignment has changed.
    """

    sign_changes: int

    def update(self, alignment: Alignment, lr: float, steps: int, phase: TrainingPhase = NO_SCHEDULE) -> float:
        """Take one alignment and give the factor by which the scale changes.

        Args:
            alignment: of a gradient and the steps before it.
            lr: learning rate of the latest of these steps.
            steps: since the last alignment.
            phase: of training.
        """


@dataclass
class LongHorizon:
    """The default: the displacement is that from a mean of the iterates, not that of the last step.

    With n the steps since the last alignment, and K the number of sign changes of m::

        c = cosine - target
        m ← m + COSINE_WEIGHT (c - m)
        log scale ← log scale + clip(GAIN √n c / (1 + K / GAIN_HALVING), -MAX_FALL, MAX_RISE √n)

    One step is too short a horizon: noise then shrinks the learning rate (Wu et al. 2018). The gain falls only at sign
    changes. So a learning rate that is too low by decades is reached fast, and one that is right stays.

    =========================  ============================================  ============================
    schedule                   target                                        gain
    =========================  ============================================  ============================
    none                       -COSINE_OFFSET                                as above
    rises                      0: the schedule itself will raise the rate    times the fade
    falls, loss not risen      -NOISE_OFFSET σ: noise will shrink with the   times the fade
                               learning rate
    falls, loss has risen      0                                             times the fade
    =========================  ============================================  ============================

    σ² is an exponential mean of ``(cosine - last cosine)²/2``, and the fade is ``1 - horizons/GAIN_FADE``, at least
    MIN_GAIN_FADE. On a schedule the loss limits the scale as well, since near divergence the cosine reacts too late:
    the scale does not rise while the loss is falling fast and the cosine is below STRAIGHT_COSINE, and it shrinks by at
    least ``MIN_SHRINK √n`` while the loss has risen.

    The values in capitals are those of `lightning_lr.adaptation.constants`.

    References:
        Harry Kesten, "Accelerated Stochastic Approximation", 1958 (the gain).
        Yuhuai Wu et al., "Understanding Short-Horizon Bias in Stochastic Meta-Optimization", 2018, arXiv:1803.02021.
    """

    sign_changes: int = 0
    mean_cosine: float = 0.0
    last_cosine: float | None = None
    cosine_variance: float = 0.0

    def update(self, alignment: Alignment, lr: float, steps: int, phase: TrainingPhase = NO_SCHEDULE) -> float:  # noqa: ARG002
        if math.isfinite(alignment.dot):
            self._track_noise(alignment.cosine)
        cosine = alignment.cosine - self._target_cosine(phase)
        before, weight = self.mean_cosine, constants.COSINE_WEIGHT
        self.mean_cosine = (1 - weight) * before + weight * cosine if before else cosine
        self.sign_changes += before * self.mean_cosine < 0
        root = math.sqrt(steps)
        change = constants.GAIN * root * cosine / (1 + self.sign_changes / constants.GAIN_HALVING)
        limit = constants.MAX_RISE * root
        if phase.schedule_direction:
            change *= max(constants.MIN_GAIN_FADE, 1 - phase.horizons / constants.GAIN_FADE)
            if phase.loss_trend == "falling" and alignment.cosine < constants.STRAIGHT_COSINE:
                limit = 0.0
            elif phase.loss_trend == "risen":
                limit = -constants.MIN_SHRINK * root
        return math.exp(max(-constants.MAX_FALL, min(limit, change)))

    def _track_noise(self, cosine: float) -> None:
        before, self.last_cosine = self.last_cosine, cosine
        if before is not None:
            square = (cosine - before) ** 2 / 2
            self.cosine_variance += constants.COSINE_VARIANCE_WEIGHT * (square - self.cosine_variance)

    def _target_cosine(self, phase: TrainingPhase) -> float:
        """The cosine at which the scale stays."""
        if phase.schedule_direction == 0:
            return -constants.COSINE_OFFSET
        if phase.schedule_direction > 0 or phase.loss_trend == "risen":
            return 0.0
        return -constants.NOISE_OFFSET * math.sqrt(self.cosine_variance)


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
    sign_changes: int = 0
    last_value: float = 0.0  # cosine, the latest that was not 0

    def update(self, alignment: Alignment, lr: float, steps: int, phase: TrainingPhase = NO_SCHEDULE) -> float:  # noqa: ARG002
        cosine = alignment.cosine
        self.sign_changes += self.last_value * cosine < 0
        self.last_value = cosine or self.last_value
        return 1 + self.beta * cosine


@dataclass
class Additive:
    """``α_t = α_t-1 + β ⟨g_t, u_t-1⟩``: the rule of Baydin et al. (SGD-HD, SGDN-HD, Adam-HD).

    β has a unit, so it depends on the scale of the gradients. The paper's rule may take α to 0 or below; here one
    update changes it by a factor of at least ADDITIVE_MIN_FACTOR.

    Args:
        beta: β, above 0; in the paper 1e-3 for SGD and 1e-7 for Adam.

    References:
        See `Multiplicative`.
    """

    beta: float
    sign_changes: int = 0
    last_value: float = 0.0  # dot, the latest that was not 0

    def update(self, alignment: Alignment, lr: float, steps: int, phase: TrainingPhase = NO_SCHEDULE) -> float:  # noqa: ARG002
        if lr == 0 or not math.isfinite(alignment.dot):
            return 1.0
        self.sign_changes += self.last_value * alignment.dot < 0
        self.last_value = alignment.dot or self.last_value
        # d = α u, so β ⟨g, u⟩ = β dot/α, which is β dot/α² relative to α
        return max(constants.ADDITIVE_MIN_FACTOR, 1 + self.beta * alignment.dot / lr**2)


def rule_maker(name: RuleName, beta: float | None, horizon: int | str | None = None) -> Callable[[], Rule]:
    """A function that makes a new rule.

    Args:
        name: of the rule.
        beta: of the paper's rules; None for the default of ``"multiplicative"``.
        horizon: of the anchor, which only ``"long_horizon"`` has.

    Raises:
        ValueError: if the name is unknown, or an argument is missing, not used by the rule, or out of range.
    """
    if name not in get_args(RuleName):
        raise ValueError(f"rule must be one of {', '.join(get_args(RuleName))}, got {name!r}.")
    wrong = f"beta={beta!r}" if name == "long_horizon" else f"horizon={horizon!r}"
    if (beta if name == "long_horizon" else horizon) is not None:
        raise ValueError(
            f"rule='long_horizon' takes horizon, the other rules take beta, got rule={name!r} with {wrong}."
        )
    if name == "long_horizon":
        return LongHorizon
    if beta is None and name == "additive":
        raise ValueError("rule='additive' needs beta, got None: the paper has 1e-3 for SGD and 1e-7 for Adam.")
    beta = constants.MULTIPLICATIVE_BETA if beta is None else beta
    limit, words = (1.0, "below 1") if name == "multiplicative" else (math.inf, "finite")
    if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 < beta < limit:
        raise ValueError(f"beta must be a number above 0 and {words}, got {beta!r}.")
    return partial(Multiplicative if name == "multiplicative" else Additive, beta)
