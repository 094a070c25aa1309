"""`suggest`: a learning rate and the bounds of a cycle, read off the curve of a range test by one of the `rules`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from lightning_lr.arguments import checked, choice, instance_of, whole
from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.rule_input import DIVISORS, RuleInput, rule_input
from lightning_lr.range_test.rules import FLAT_NOISE, RULES, Rule

# max_lr per lr of a sweep. On the settings of benchmarks/suite, in runs of 600 steps, the mean log gap of triangular2
# and of one cycle is 0.201 and 0.182 with 2, 0.206 and 0.184 with 2.5.
MAX_LR_PER_LR = 2.0
# decay_lr per lr. On the settings of benchmarks/suite, in runs of 600 steps, the mean log gap of a line and of a cosine
# to zero with the trials of LRRangeTest is 0.059 and 0.063 with it, 0.069 and 0.090 with max_lr. With those of LRSearch
# it is 0.067 and 0.077, 0.072 and 0.082. Without a warm-up they bear less than cycles.
DECAY_LR_PER_LR = 2.0
# base_lr is this part of max_lr: Smith (2017) advises a third or a quarter.
BASE_LR_DIVISOR = 4
# A suggestion is confident if the fall D is at least this share of |L0| and more than so many standard errors. On the
# 24 recorded settings 78 % of the suggestions are confident. Mean regret: 0.010 if confident, else 0.013.
CONFIDENT_FALL_SHARE = 0.2
CONFIDENT_NOISE = 10
# Finite values that a curve must start with, since the initial level is the mean of at least 3.
MIN_FINITE = 3


@dataclass(frozen=True)
class Suggestion:
    """What a rule reads off a curve.

    Attributes:
        lr: a constant learning rate to train with.
        base_lr: lower bound of a cycle.
        max_lr: upper bound of a cycle.
        one_cycle_max_lr: peak of a one-cycle schedule.
        confident: whether the curve is clear: it fell far enough, by more than its noise, and rose again.
        reasons: one sentence for each of these conditions that failed.
    """

    lr: float
    base_lr: float
    max_lr: float
    one_cycle_max_lr: float
    confident: bool
    reasons: tuple[str, ...]

    @property
    def decay_lr(self) -> float:
        """First learning rate of a schedule that falls to almost nothing, without a warm-up: 2 lr, at most max_lr."""
        return min(DECAY_LR_PER_LR * self.lr, self.max_lr)


SUGGESTION_FIELDS = tuple(field.name for field in fields(Suggestion))


@checked(
    curve=instance_of(LRCurve, what="an LRCurve"),
    rule=choice(RULES),
    update=choice(DIVISORS),
    steps_per_point=whole(at_least=1),
)
def suggest(
    curve: LRCurve, rule: Rule = "dual", update: UpdateKind = "normalized", steps_per_point: int = 1
) -> Suggestion:
    """A learning rate and the bounds of a cycle, read off a curve.

    The cost is the loss, or its negative where more is better. L0 is its mean over the first points. It is capped at
    ``L0 + 2 |L0|``, and held at the cap from the first value that is not finite on. s is the cost smoothed by
    `lightning_lr.range_test.smooth`, m the index of the minimum of s, ``D = L0 - s[m]`` the fall, and
    ``se = 1.4826 MAD(diff cost) / sqrt(2) / sqrt(2 sqrt(pi) sigma)`` the standard error of s.

    Rules, with λ(i) the learning rate at index i, and k the divisor for the kind of optimizer:

    * ``dual``: ``λ(i1 - q)^0.3 λ(i2 - q)^0.7 / k``. i1 is the first index at which s has 90 % of its fall. i2 is the
      first index after m at which s has lost half of its fall. If nothing was learned (``D <= 2 se``):
      ``λ(i2 - q) / (3 k)``, with i2 the first index at which ``s >= L0 + 6 se``. The loss shows a learning rate late,
      so q goes back by 4 steps: 4 points, or ``4 / steps_per_point`` of them, at least 1.
    * ``smith``: ``λ(m) / 3``: a third of the learning rate at which s gets worse.
    * ``minimum``: ``λ(m) / 10``.
    * ``valley``: two thirds down the longest descent of s.
    * ``slide``: the last learning rate before the descent of s ends.
    * ``steepest``: the learning rate at which s falls fastest, by log λ.

    ``max_lr`` is 2 lr, ``one_cycle_max_lr`` is the same, ``base_lr`` is ``max_lr / 4``. Only
    ``smith`` has bounds that it reads off the curve: where s starts to fall, and where it gets worse.

    ``confident`` means that ``D >= 0.2 |L0|``, that ``D > 10 se``, and that s rises again after m. It does not depend
    on the rule.

    Args:
        curve: what was recorded.
        rule: how the learning rate is read off it.
        update: the kind of the optimizer's updates, see `lightning_lr.optimizers.update_kind.update_kind`.
            ``"gradient"`` (k = 1): proportional to the gradient, as of SGD. ``"momentum"`` (4): SGD with momentum.
            ``"normalized"`` (6): the size of the gradient does not matter, as for Adam, Lion and Muon.
            ``"shrinking"`` (1): normalized by all gradients so far, as of Adagrad.
        steps_per_point: optimizer steps between two points, as of a metric that is read every few steps.

    Raises:
        ValueError: for an unknown rule or kind of update, or a curve with less than three finite values at its start.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186 (``smith``).
        ``minimum``, ``valley``, ``slide`` and ``steepest`` are after fastai, with the smoothing of this package.
    """
    if curve.num_finite < MIN_FINITE:
        raise ValueError(
            f"The curve must start with at least {MIN_FINITE} finite values, got {curve.losses[:MIN_FINITE].tolist()}:"
            f" look for NaN in the data and the loss. If the loss is finite at lower learning rates, lower min_lr."
        )
    measured = rule_input(curve, update, steps_per_point)
    found = RULES[rule](measured)
    return with_bounds(found.lr, _reasons(measured, curve.monitor), found.base_lr, found.max_lr)


def with_bounds(
    lr: float, reasons: tuple[str, ...], base_lr: float | None = None, max_lr: float | None = None
) -> Suggestion:
    """The suggestion of a learning rate, with the bounds that `suggest` describes where they are None."""
    if max_lr is None:
        max_lr = MAX_LR_PER_LR * lr
    return Suggestion(
        lr=lr,
        base_lr=base_lr if base_lr is not None else max_lr / BASE_LR_DIVISOR,
        max_lr=max_lr,
        one_cycle_max_lr=max_lr,
        confident=not reasons,
        reasons=reasons,
    )


def _reasons(curve: RuleInput, monitor: str) -> tuple[str, ...]:
    """Why a suggestion is not confident."""
    reasons = []
    if curve.fall < CONFIDENT_FALL_SHARE * abs(curve.initial):
        percent = 100 * curve.fall / abs(curve.initial) if curve.initial else 0.0
        reasons.append(
            f"{monitor} improved by only {percent:.1f} % of its initial value (at least"
            f" {100 * CONFIDENT_FALL_SHARE:.0f} % is needed)"
        )
    if curve.fall <= CONFIDENT_NOISE * curve.noise:
        reasons.append(f"the improvement of {monitor} is less than {CONFIDENT_NOISE} times its noise")
    if curve.edge is None or curve.fall <= FLAT_NOISE * curve.noise:
        reasons.append(f"no divergence was reached up to lr={curve.lrs[-1]:.3g}")
    return tuple(reasons)
