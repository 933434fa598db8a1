"""Intervals, p-values and power from draws of an estimate's deviation."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POWER = 0.8
"""What a detectable lift is detected with."""
TIE = 1e-9
"""Points: draws closer than this to a bound are equal to it but for rounding. Accuracies tie often."""


def quantiles(ordered: Array, levels: Array) -> Array:
    """Return linear quantiles of (estimands, resamples) sorted rows at (estimands, k) levels; NaN where a level is."""
    last = ordered.shape[1] - 1
    at = np.where(np.isnan(levels), 0.0, levels) * last
    low = np.clip(np.floor(at).astype(np.intp), 0, last)
    high = np.minimum(low + 1, last)
    below, above = np.take_along_axis(ordered, low, axis=1), np.take_along_axis(ordered, high, axis=1)
    return np.where(np.isnan(levels), np.nan, below + (above - below) * (at - low))


def percentile(estimate: Array, deviations: Array, confidence: float) -> Array:
    """Return (estimands, 2) percentile intervals.

    Args:
      estimate: (estimands,).
      deviations: (estimands, resamples) draws less the estimate.
      confidence: 0.95 for 95%.
    """
    tail = (1.0 - confidence) / 2.0
    return np.asarray(estimate[:, None] + np.quantile(deviations, [tail, 1.0 - tail], axis=1).T)


def bca(estimate: Array, ordered: Array, acceleration: Array, confidence: float) -> Array:
    """Return (estimands, 2) bias-corrected and accelerated intervals (Efron 1987, JASA 82:171).

    Args:
      estimate, confidence: as for `percentile`.
      ordered: (estimands, resamples) deviations, rows sorted.
      acceleration: (estimands,) skewness of the contributions over six.

    Returns:
      NaN where the correction has no value, as when every draw lies on one side of the estimate.
    """
    below = np.count_nonzero(ordered < -TIE, axis=1) + 0.5 * np.count_nonzero(np.abs(ordered) <= TIE, axis=1)
    tail = (1.0 - confidence) / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        bias = _normal_quantile(below / ordered.shape[1])[:, None]
        reach = bias + _normal_quantile(np.array([tail, 1.0 - tail]))
        levels = _normal_share(bias + reach / (1.0 - acceleration[:, None] * reach))
    return estimate[:, None] + quantiles(ordered, levels)


# scipy has both, and takes a quarter of a second to import.


@np.vectorize(otypes=[np.float64])
def _normal_quantile(share: float) -> float:
    """Return the standard normal quantile, NaN at 0 and 1."""
    return NormalDist().inv_cdf(share) if 0.0 < share < 1.0 else np.nan


@np.vectorize(otypes=[np.float64])
def _normal_share(quantile: float) -> float:
    return NormalDist().cdf(quantile)


def extremes(estimate: Array, deviations: Array) -> Array:
    """Return the (estimands,) number of draws that are at least as large as the estimate, in either direction."""
    # ">=", not ">": accuracies tie often, and ties must count against a finding.
    return np.asarray(np.count_nonzero(np.abs(deviations) >= np.abs(estimate)[:, None] - TIE, axis=1))


def within(estimate: Array, deviations: Array, margin: float, undefined: Array | int = 0) -> Array:
    """Return p of the two one-sided tests that the true value lies less than a margin from zero, either way.

    The larger of the two tests' p (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15:657): the share
    of draws around the margin that are as far below it as the estimate, and the same from the other side.

    Args:
      estimate, deviations, undefined: as for `p_value`.
      margin: in the estimate's unit, above 0.
    """
    ends = [
        np.count_nonzero(margin + deviations <= estimate[:, None] + TIE, axis=1),
        np.count_nonzero(deviations - margin >= estimate[:, None] - TIE, axis=1),
    ]
    return np.asarray(np.minimum(1.0, (1 + np.maximum(*ends) + undefined) / (1 + deviations.shape[1])))


def p_value(estimate: Array, deviations: Array, undefined: Array | int = 0) -> Array:
    """Return two-sided p = (1 + #{|deviation| >= |estimate|}) / (1 + resamples), never 0.

    Args:
      estimate: (estimands,).
      deviations: (estimands, resamples) draws less the estimate: what chance does where the true value is 0.
      undefined: (estimands,) number of draws that had no value; they count as extreme.
    """
    # A draw without a value is held as a deviation of 0, which is extreme already where the estimate is 0.
    return np.asarray(np.minimum(1.0, (1 + extremes(estimate, deviations) + undefined) / (1 + deviations.shape[1])))


def detectable(deviations: Array, confidence: float) -> Array:
    """Return the smallest true lift found with `POWER`, in points, before correction for many tests.

    The two-sided critical size of the draws plus their one-sided quantile at the power, which for normal draws is
    (z(1 - alpha/2) + z(power)) * standard error: Bloom 1995, Evaluation Review 19:547.

    Args:
      deviations: (estimands, resamples) draws less the estimate.
      confidence: one minus the level of the test.
    """
    return np.asarray(np.quantile(np.abs(deviations), [confidence, 2.0 * POWER - 1.0], axis=1).sum(axis=0))
