"""Every constant of the adaptation, with its unit and the reason for its value.

"The settings" are those of ``benchmarks/suite``. All of them were in view when the values were chosen, on runs of 600
steps; ``docs/adaptation.md`` says what each part is worth there.

A text that quotes a value writes it as "`NAME` = value"; a test compares the two.
"""

# --- the rule "long_horizon": see `rules.LongHorizon` for the formula

HORIZON_SHARE = 0.5
"""Horizon of the anchor as a share of the run, where its length is known. The longer, the less does noise shrink the
learning rate. On the settings 0.5 is better than 0.2 and 0.33."""

HORIZON_STEPS = 300
"""Horizon in steps, where the length of the run is not known: `HORIZON_SHARE` of 600 steps."""

GAIN = 2
"""Without unit. The log scale changes by its limit where the derivative is half of its root mean square or more, so a
few wild batches do not decide. Until the learning rate has an effect, the mean derivative is taken. 1 is worse.
On nine settings 4 is better, on 28 further ones it is worse: docs/adaptation.md has the figures."""

GAIN_HALVING = 10
"""Sign changes of the mean derivative after which the gain is halved (Kesten 1958), and the learning rate counts as
settled. A constant gain ends 0.03 worse."""

MAX_CHANGE_AT_START = 0.1
"""Of the log scale, for each √step, until the learning rate has an effect: 26 steps for the first factor of 10, since
the mean derivative begins at 0, and 23 for the others."""

MAX_CHANGE = 0.03
"""The same once training learns: 77 steps for a factor of 10. Momentum and second moments show the effect of a learning
rate some 10 to 30 steps late. With 0.1, a VAE and a dropout network overshoot by a factor of 10 and do not recover.
With falls of up to 0.1 it settles lower: the share of good runs on a line to zero is 0.58 instead of 0.69."""

MEAN_WEIGHT = 0.1
"""Weight of a new derivative in its mean, whose sign is watched, and by which the learning rate rises until it has an
effect: the last 20 decide."""

SQUARE_WEIGHT = 0.05
"""Weight of a new value in the mean squares of the derivative and of the gradient's norm, and in the noise of the loss:
the last 40, so that what is usual is well known."""

OVERSHOT_MEAN = 0.7
"""Root mean squares of the derivative by which its mean must be negative for the learning rate to have overshot. A loss
with heavy tails never shows it. They are 3 standard deviations of that mean if all signs are chance. With 2, a plateau
is taken for it: a vision transformer ends at a log gap of 0.96 instead of 0.46."""

NEGLIGIBLE_GAIN = 0.01
"""Share of what the loss has gained so far. While the mean derivative of the loss by the log of the learning rate is
below it, the learning rate stays. Once a network fits all its data, the gradients vanish and all say "longer", without
an end: without this share the learning rate rises by decades, and the network is lost. With 0.003 it still is with
AdamW, whose steps stay long when the gradients vanish. The search counts the same share of a fall as negligible."""

DECAY_SHARE = 0.2
"""Share of the run in which the learning rate falls, where no schedule is set. On the settings the mean log gap is 0.02
lower with it."""

# --- what the rule and the guard are told of the loss: see `loss_level.LossLevel`

FIRST_LOSSES = 5
"""Losses whose mean is the loss before training."""

LEVEL_WEIGHT = 0.2
"""Weight of a new loss in its level: the last 10 decide. With 0.1, clear progress is seen 10 steps later, and the
learning rate overshoots meanwhile."""

LEARNED_DEVIATIONS = 2.5
"""Mean absolute deviations of a loss by which the level must lie below the first losses for training to have learned,
and above them for the loss to have risen. They are 2 standard deviations of a normal loss, and 6 of its level."""

# --- the anchor, which is the mean of the iterates

MAX_DISTANCE_GROWTH = 2
"""Factor by which the accepted distance from the anchor may grow from one measurement to the next. What blows up faster
is left out of the anchor; what stays far away is averaged in after some measurements."""

# --- the rules of Baydin et al.

MULTIPLICATIVE_BETA = 0.02
"""Default of β, without unit. In the range of the paper."""

ADDITIVE_MIN_FACTOR = 0.5
"""The least factor by which one update changes the scale. The paper's rule may take the learning rate to 0 or below."""

# --- how often the alignment is measured with ``every="auto"``

SETTLED_SPACING = 5
"""Steps from one measurement to the next once the learning rate has settled, for a fifth of the cost."""

# --- the first step, and the limits of the learning rate

FIRST_STEP_LENGTH = 1e-3
"""Longest first step, as a share of the length of all parameters, whose root mean square is taken to be at least this:
all may be 0. The settings begin from learning rates up to 1, the tests from up to 1e4."""

MAX_FAILED_FIRST_STEPS = 10
"""First steps that may end in parameters that are not finite before there is an error: a few bad batches are none."""

MAX_SCALE_OF_PLAYERS = 3
"""The scale stays within this factor of 1, up and down, where optimizers step on losses of their own: what one of them
gains the other may lose, so losses are no guide."""

# --- the guard: see `divergence.DivergenceDetector` for the conditions

FAR = 10
"""Times its usual size that a value must have to be far off: the norm of a gradient; the rise of the loss, against its
gain or its noise; the distance from the anchor. Plain SGD can get there within the 5 steps between two measurements.
"""

CALM_STEPS = 100
"""Steps after which earlier returns to the anchor are forgotten."""

LR_AFTER_DIVERGENCE = 0.3
"""Factor of the learning rate with which training goes on, and of the highest one before, which it stays below."""

MAX_RETURNS = 3
"""Returns to the anchor in a row before the guard ends. The scale is then at most 0.3³ of the first one that
diverged, so the learning rate is not the cause."""

# --- the verdict of ``adapt=False``

BALANCED_SHARE = 0.3
"""The learning rate is about right if the mean cosine of an epoch is within this share of its root mean square."""

# --- memory

CPU_VECTOR_ELEMENTS = 2**20
"""Elements of one flat vector: so many that launching an operation costs little, few enough for the cache of a CPU."""

ACCELERATOR_VECTOR_ELEMENTS = 2**25
"""The same on an accelerator: 128 MiB in float32, a small part of its memory. On an H200 few long vectors are faster
(``python -m benchmarks.hypergradient_cost --device cuda``)."""
