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
from lightning_lr.arguments import checked, choice, flag, number, real, whole

RuleName = Literal["long_horizon", "multiplicative", "additive"]


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
        product = self.gradient_norm * self.displacement_norm
        cosine = self.dot / product if product != 0 else 0.0
        return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else -1.0


class LossState(NamedTuple):
    """What a rule is told of the loss, besides the alignment. See `lightning_lr.adaptation.loss_level.LossLevel`.

    Attributes:
        has_learned: whether the loss has ever been below its first values, beyond the noise.
        has_risen: whether it is above them, beyond the noise.
        gain: by how much it is below that; 0 if it is not, or is not known.
    """

    has_learned: bool = True
    has_risen: bool = False
    gain: float = 0.0


UNKNOWN_LOSS = LossState()


class Rule(Protocol):
    """Adapts a scale.

    Attributes:
        sign_changes: how often the sign of the alignment has changed.
    """

    sign_changes: int

    def update(self, alignment: Alignment, lr: float, steps: int, loss: LossState = UNKNOWN_LOSS) -> float:
        """Take one alignment and give the factor by which the scale changes.

        Args:
            alignment: of a gradient and the steps before it.
            lr: learning rate of the latest of these steps.
            steps: since the last alignment.
            loss: what is known of the loss.
        """


@checked(
    sign_changes=whole(at_least=0),
    count=whole(at_least=0),
    mean=number(),
    mean_square=number(at_least=0),
    mean_square_norm=number(at_least=0),
    has_overshot=flag,
)
@dataclass
class LongHorizon:
    """The default: the derivative of the loss by the log of the learning rate, of all steps since the anchor.

    If all steps had been longer by a factor 1 + ε, θ would be ε(θ - θ̄) further on, with θ̄ a mean of the iterates. So
    ``⟨g, θ̄ - θ⟩`` is minus that derivative. The learning rate of a step is s times the scheduled one. At first s = 1,
    and m, v, k and K are 0. The first step is shortened to FIRST_STEP_LENGTH ‖θ‖, and s by the same factor. Before
    every n-th step, with n = 1 until K = GAIN_HALVING and then SETTLED_SPACING::

        d = θ̄ - θ
        θ̄ ← θ̄ + (θ - θ̄) n / horizon                             at the first step: θ̄ = θ, and nothing else
        G² ← G² + SQUARE_WEIGHT (min(‖g‖, FAR G)² - G²)          at the second step: G = ‖g‖
        c = ⟨g, d⟩ / (max(‖g‖, G) ‖d‖)
        m ← m + MEAN_WEIGHT (c - m)
        v ← v + SQUARE_WEIGHT (c² - v),  k ← k + 1
        r = √(v / (1 - (1 - SQUARE_WEIGHT)^k))
        has overshot = at some measurement since the start or a return to the anchor, m < -OVERSHOT_MEAN r
        has effect = it has overshot, or the loss has learned or has risen: see `LossLevel`
        limit = MAX_CHANGE if it has effect, else MAX_CHANGE_AT_START
        K ← K + 1 if m has changed its sign and it has effect
        y = max(0, m) if it has no effect, 0 if |m| G ‖d‖ < NEGLIGIBLE_GAIN · gain of the loss, else c
        x = limit clip(GAIN y / r / (1 + K / GAIN_HALVING), ±1)
        s ← s exp(√n x), from the step after the next on

    At the best learning rate the derivative is 0, with or without noise. So there is no offset, and as c is divided by
    its own root mean square, neither noise nor dimension has a say. One step is too short a horizon: noise then
    shrinks the learning rate (Wu et al. 2018). d is the trace of MetaOptimize (Sharifnassab et al. 2025) for a
    discount of 1 - 1/horizon, which includes decoupled weight decay. The mean of gradients of different lengths must
    count the long ones, so c is not a cosine: batches that are fitted already have small gradients and say "longer".
    Where all are fitted, all say so without an end. So s stays while the mean derivative matters little to the loss.

    The values in capitals are those of `lightning_lr.adaptation.constants`.

    References:
        Arsalan Sharifnassab, Saber Salehkaleybar, Richard Sutton, "MetaOptimize: A Framework for Optimizing Step
        Sizes and Other Meta-parameters", 2025, arXiv:2402.02342 (the trace).
        Harry Kesten, "Accelerated Stochastic Approximation", 1958 (the gain).
        Yuhuai Wu et al., "Understanding Short-Horizon Bias in Stochastic Meta-Optimization", 2018, arXiv:1803.02021.
    """

    sign_changes: int = 0
    count: int = 0
    mean: float = 0.0
    mean_square: float = 0.0
    mean_square_norm: float = 0.0
    has_overshot: bool = False

    def update(self, alignment: Alignment, lr: float, steps: int, loss: LossState = UNKNOWN_LOSS) -> float:  # noqa: ARG002
        derivative = self._derivative(alignment)
        before, self.mean = self.mean, self.mean + constants.MEAN_WEIGHT * (derivative - self.mean)
        self.count += 1
        self.mean_square += constants.SQUARE_WEIGHT * (derivative**2 - self.mean_square)
        rms = math.sqrt(self.mean_square / (1 - (1 - constants.SQUARE_WEIGHT) ** self.count))
        if rms == 0:
            return 1.0
        self.has_overshot = self.has_overshot or self.mean < -constants.OVERSHOT_MEAN * rms
        has_effect = self.has_overshot or loss.has_learned or loss.has_risen
        limit = constants.MAX_CHANGE if has_effect else constants.MAX_CHANGE_AT_START
        self.sign_changes += has_effect and before * self.mean < 0
        gain = constants.GAIN / (1 + self.sign_changes / constants.GAIN_HALVING)
        mean_dot = self.mean * math.sqrt(self.mean_square_norm) * alignment.displacement_norm
        if not has_effect:  # It only rises. So it rises by the mean: the noise of single derivatives would drive it up.
            signal = max(0.0, self.mean)
        else:
            signal = 0.0 if abs(mean_dot) < constants.NEGLIGIBLE_GAIN * loss.gain else derivative
        change = limit * max(-1.0, min(1.0, gain * signal / rms))
        return math.exp(math.sqrt(steps) * change)

    def _derivative(self, alignment: Alignment) -> float:
        """c; -1 if it is not finite."""
        norm = alignment.gradient_norm
        limit = constants.FAR * math.sqrt(self.mean_square_norm) or norm
        weight = constants.SQUARE_WEIGHT if self.mean_square_norm else 1.0
        self.mean_square_norm += weight * (min(norm, limit) ** 2 - self.mean_square_norm)
        usual = math.sqrt(self.mean_square_norm)
        return alignment.cosine * min(1.0, norm / usual) if usual > 0 else alignment.cosine  # squares may underflow


@checked(beta=number(above=0, below=1), sign_changes=whole(at_least=0), last_value=real)
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

    def update(self, alignment: Alignment, lr: float, steps: int, loss: LossState = UNKNOWN_LOSS) -> float:  # noqa: ARG002
        cosine = alignment.cosine
        self.sign_changes += self.last_value * cosine < 0
        self.last_value = cosine or self.last_value
        return 1 + self.beta * cosine


@checked(beta=number(above=0), sign_changes=whole(at_least=0), last_value=real)
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

    def update(self, alignment: Alignment, lr: float, steps: int, loss: LossState = UNKNOWN_LOSS) -> float:  # noqa: ARG002
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
    name = choice(get_args(RuleName))("rule", name)
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
    beta = number(above=0, below=1.0 if name == "multiplicative" else math.inf)("beta", beta)
    return partial(Multiplicative if name == "multiplicative" else Additive, beta)
