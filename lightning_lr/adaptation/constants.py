"""Every constant of the adaptation, with its unit and the reason for its value.

"The tasks" are the five of ``benchmarks/tasks.py``, with SGD, momentum, Nesterov, Adam and AdamW from learning rates of
1e-7 to 10, and under a cosine and triangular cycles: ``python -m benchmarks.hypergradient``.

A text that quotes a value writes it as "`NAME` = value"; a test compares the two.
"""

# --- the rule "long_horizon": see `rules.LongHorizon` for the formula

GAIN = 0.7
"""Change of the log scale at a cosine of 1, for each √step. Chosen on the tasks."""

GAIN_HALVING = 10
"""Sign changes of the mean cosine after which the gain is halved (Kesten 1958). Chosen on the tasks."""

MAX_RISE = 0.1
"""Of the log scale, for each √step: 23 steps for a factor of 10. Momentum needs about 10 steps to show the effect of
a learning rate, and the scale must not run ahead of that. Chosen on the tasks."""

MAX_FALL = 0.5
"""Of the log scale, for each measurement. More than the rise, since a learning rate that is too high does harm at once.
Chosen on the tasks."""

COSINE_WEIGHT = 0.2
"""Weight of a new cosine in the exponential mean whose sign is watched. Chosen on the tasks."""

COSINE_OFFSET = 0.01
"""The target of the cosine is minus this. At the best constant learning rates the cosine is slightly negative, because
an iterate that noise has driven away from the mean is drawn back. Chosen on the tasks."""

COSINE_EPSILON = 1e-30
"""Added to the product of the two norms in the cosine, against a division by 0. Far below any product that matters."""

# --- the same rule on top of a schedule

NOISE_OFFSET = 0.7
"""Standard deviations of the cosine. While a schedule falls, the target of the cosine is minus this. Chosen on the
tasks. There is no upper bound: one of 0.1 kept the scale from leaving a plateau of the loss."""

COSINE_VARIANCE_WEIGHT = 0.05
"""Weight of a new squared difference in the variance of the cosine. Chosen on the tasks."""

STRAIGHT_COSINE = 0.5
"""While the loss falls fast, the scale rises only at cosines of at least this: then the path is nearly straight. Chosen
on the tasks."""

MIN_SHRINK = 0.06
"""Of the log scale, for each √step: the scale shrinks by this at least while the loss has risen. Chosen on the
tasks."""

GAIN_FADE = 8
"""Horizons after which the gain would reach 0, falling linearly with time: there is less and less to gain. Chosen on
the tasks."""

MIN_GAIN_FADE = 0.05
"""The least factor to which the gain fades. Chosen on the tasks."""

# --- the rules of Baydin et al.

MULTIPLICATIVE_BETA = 0.02
"""Default of β, without unit. In the range of the paper."""

ADDITIVE_MIN_FACTOR = 0.5
"""The least factor by which one update changes the scale. The paper's rule may take the learning rate to 0 or below."""

# --- the anchor, which is the mean of the iterates

HORIZON_SHARE = 0.2
"""Horizon as a share of the run, where its length is known. Chosen on the tasks."""

HORIZON_STEPS = 200
"""Horizon in steps, where the length of the run is not known: `HORIZON_SHARE` of 1000 steps. Chosen on the tasks."""

MAX_DISTANCE_RATIO = 100
"""An iterate this many times as far from the anchor as those before is not averaged in: it has blown up. Chosen on the
tasks."""

MAX_DISTANCE_GROWTH = 2
"""Factor by which the accepted distance may grow from one measurement to the next. What blows up faster is left out of
the anchor; what stays far away is averaged in after some measurements. Chosen on the tasks."""

ANCHOR_LR_DROP = 0.3
"""When the learning rate falls below this share of its peak since the anchor was set, a new anchor begins: the old one
is of an earlier phase of training. Chosen on the tasks."""

# --- how often the alignment is measured with ``every="auto"``

SETTLED_SIGN_CHANGES = 8
"""Sign changes of the mean cosine after which the learning rate counts as settled. Chosen on the tasks."""

SETTLED_SPACING = 5
"""Steps from one measurement to the next once the learning rate has settled, for a fifth of the cost. Chosen on the
tasks."""

# --- the first step, and the limits of the learning rate

FIRST_STEP_LENGTH = 1e-3
"""Longest first step, as a share of the length of all parameters. The tasks begin from learning rates up to 10, the
tests from up to 1e4."""

MIN_PARAMETER_RMS = 1e-3
"""Root mean square that the parameters are taken to have at least, for the length of the first step: all may be 0."""

MAX_FAILED_FIRST_STEPS = 10
"""First steps that may end in parameters that are not finite before there is an error: a few bad batches are none."""

GROWTH_ROUNDING = 1e-9
"""The limit of growth of a learning rate is this much above `MAX_RISE`, so that rounding does not make it bind."""

RECENT_MAX_LR_DECAY = 0.98
"""Factor, for each step, by which the recent maximum of the scheduled learning rate is forgotten: half after 34 steps.
A divergence shows some steps after its cause. Chosen on the tasks."""

SCHEDULE_TOLERANCE = 1e-6
"""Relative change of a scheduled learning rate from which on the schedule has moved. Above the rounding of float32, in
which the learning rate may have been multiplied by its scale."""

# --- divergence: see `divergence.DivergenceDetector` for the conditions

LOSS_MEAN_WEIGHT = 0.2
"""Weight of a new loss in the fast mean. Chosen on the tasks."""

LOSS_LEVEL_WEIGHT = 0.1
"""Weight of a new loss in the slow mean, whose lowest value counts as reached; a few low losses do not. With it 1 % of
3000 series of flat noise counted as diverged, with the fast mean 70 %."""

LOSS_VARIANCE_WEIGHT = 0.05
"""Weight of a new squared difference in the variance of the loss. Chosen on the tasks."""

RISE_SHARE = 0.7
"""Share of the gain so far that must be lost again for the loss to be high. Chosen on the tasks."""

PATIENCE = 10
"""Steps for which the loss must stay high. Chosen on the tasks."""

STUCK_STEPS = 15
"""Steps of a high loss after which the noise of these steps alone decides. A network that has died has a quiet loss,
and the noise before hid that for hundreds of steps on the digits with SGD."""

GAIN_DEVIATIONS = 3
"""Standard deviations of the loss that the gain must exceed, so that noise does not look like a gain that was lost.
Chosen on the tasks."""

STUCK_GAIN_DEVIATIONS = 4
"""The same after `STUCK_STEPS`, where the deviation is known from few losses. Chosen on the tasks."""

STUCK_MIN_NOISE = 0.2
"""Least noise after `STUCK_STEPS`, as a share of the noise before: most differences of a quiet loss in bfloat16 are 0.
Chosen on the tasks."""

WILD_DIFFERENCES = 3
"""Largest differences of the latest losses that are left out of their noise: those of the last wild steps before a
network died. Chosen on the tasks."""

DEVIATION_PER_DIFFERENCE = 1.15
"""Standard deviation of the latest losses over the mean of their absolute differences without `WILD_DIFFERENCES`. For
16 normal values it is 1.21 by simulation. Chosen on the tasks."""

ABOVE_START_DEVIATIONS = 10
"""Standard deviations above the first loss at which training has diverged even if it had gained nothing before. Chosen
on the tasks."""

MAX_STEPS_FAR_ABOVE = 2 * STUCK_STEPS
"""Steps for which a loss far above its start keeps the anchor in place. A divergence is detected by then. A loss that
stays longer is where training is now, and the anchor must follow."""

CALM_STEPS = 100
"""Steps after which earlier returns to the anchor are forgotten. It takes up to 20 to detect the next divergence."""

# --- the trend of the loss, which the rule is told

LOW_MEMORY = 20
"""Steps: the recent low of the level moves to the level by 1/20 of their distance a step. Longer, and noise that has
faded would count as a rise. Chosen on the tasks."""

RISEN_SHARE = 0.01
"""The level must exceed its recent low by this share of the gain to have risen, if there is no noise. Chosen on the
tasks."""

FALLING_SHARE = 0.15
"""The fast mean must be below the slow one by this share of the gain for the loss to fall fast. Chosen on the tasks."""

FALLING_DEVIATIONS = 0.5
"""The same in standard deviations of the loss; both must hold. Chosen on the tasks."""

# --- after a divergence

SCALE_AFTER_DIVERGENCE = 0.3
"""Factor of the scale with which training goes on. Chosen on the tasks."""

CEILING_AFTER_DIVERGENCE = 0.5
"""The learning rate stays below this share of the one that diverged. On the digits with SGD it rose to the same value
again without it."""

SIGN_CHANGES_AFTER_DIVERGENCE = 3
"""Sign changes that a divergence counts as, so that the gain is smaller afterwards. Chosen on the tasks."""

MAX_RETURNS = 3
"""Returns to the anchor in a row before the guard ends. The scale is then at most 0.3³ of the first one that
diverged, so the learning rate is not the cause."""

# --- the verdict of ``adapt=False``

BALANCED_SHARE = 0.3
"""The learning rate is about right if the mean cosine of an epoch is within this share of its root mean square. Chosen
on the tasks."""

# --- memory

CPU_VECTOR_ELEMENTS = 2**20
"""Elements of one flat vector: so many that launching an operation costs little, few enough for the cache of a CPU."""

ACCELERATOR_VECTOR_ELEMENTS = 2**25
"""The same on an accelerator: 128 MiB in float32, a small part of its memory. On an H200 few long vectors are faster
(``python -m benchmarks.hypergradient_cost --device cuda``)."""
