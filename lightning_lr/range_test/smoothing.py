"""The one smoother: a centred Gaussian mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_lr.arguments import checked, number
from lightning_lr.range_test.arrays import array

Array = NDArray[np.float64]

# Width of the Gaussian as a share of the number of points. Chosen on the 24 recorded settings.
SIGMA_SHARE = 0.03
# Least width, in points: a narrower Gaussian smooths nothing.
MIN_SIGMA = 1.0
# Where the Gaussian is cut off, in σ. The weight beyond is 0.3 %.
CUTOFF = 3


@checked(values=array, sigma_share=number(at_least=0, at_most=1))
def smooth(values: Array, sigma_share: float = SIGMA_SHARE) -> Array:
    """Centred Gaussian mean with σ = max(1, ``sigma_share`` n) points, cut off at 3σ.

    At the ends the weights inside of the row are normalised to 1. A value that is not finite ends the row: the result
    is NaN from there on, n is the number of values before it.

    Args:
        values: shape [points].
        sigma_share: σ as a share of the number of points.

    Returns:
        Shape [points].

    >>> smooth(np.array([1.0, 1.0, 1.0, np.inf, 1.0])).round(12).tolist()
    [1.0, 1.0, 1.0, nan, nan]
    """
    finite = values[: num_finite(values)]
    smoothed = np.full(len(values), np.nan)
    if len(finite):
        sigma = smoothing_sigma(len(finite), sigma_share)
        radius = int(CUTOFF * sigma + 0.5)
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        total = np.convolve(finite, kernel)[radius : radius + len(finite)]
        weight = np.convolve(np.ones(len(finite)), kernel)[radius : radius + len(finite)]
        smoothed[: len(finite)] = total / weight
    return smoothed


def fill_gaps(values: Array) -> Array:
    """The values with interpolated ones in the place of those that are not finite.

    Those after the last finite one stay.

    >>> fill_gaps(np.array([np.nan, 1.0, np.inf, 3.0, np.nan])).tolist()
    [1.0, 1.0, 2.0, 3.0, nan]
    """
    finite = np.flatnonzero(np.isfinite(values))
    filled: Array = values.copy()
    if len(finite):
        inside = np.arange(finite[-1] + 1)
        filled[inside] = np.interp(inside, finite, values[finite])
    return filled


def smoothing_sigma(num_points: int, sigma_share: float = SIGMA_SHARE) -> float:
    """The σ of `smooth`, in points."""
    return max(MIN_SIGMA, sigma_share * num_points)


def num_finite(values: Array) -> int:
    """The number of values before the first that is not finite.

    >>> num_finite(np.array([1.0, 2.0, np.nan, 3.0]))
    2
    """
    bad = np.flatnonzero(~np.isfinite(values))
    return int(bad[0]) if len(bad) else len(values)
