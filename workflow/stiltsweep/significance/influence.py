"""What each example contributes to a score: the infinitesimal jackknife on sufficient statistics.

For a score 100 * N / D (sums over examples of n_e and d_e) the derivative with respect to the weight of example e is
u_e = (100 * n_e - score * d_e) / D. Contributions sum to zero, and sum u_e^2 is the delta-method variance of the score.
(Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, ch. 6; Davison & Hinkley 1997, Bootstrap Methods
and their Application, sec. 2.7.) One pass over the statistics gives what a delete-one jackknife would take one
re-scoring per example for: BCa's acceleration, the noise that examples add to a run's score, and sign flips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics.classes import Curve
from ..resampling.strata import Stratum
from .cells import Statistics

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """Scores and contributions of one arm."""

    scores: Array
    """(runs, languages) in points; NaN where nothing was counted or the arm does not hold the language."""
    mean: Mapping[str, Array]
    """Language -> (examples,) contributions to the mean score of the runs."""
    noise: Array
    """(languages, languages): G with w G w' the variance that resampling examples gives one run's  w . scores,  beyond
    what it gives to all runs alike (the mean square of the run x example interaction)."""


def arm(statistics: Statistics, strata: Sequence[Stratum], name: str, minus: str | None = None) -> Arm:
    """Compute one arm's scores and contributions.

    Args:
      statistics: see `cells`.
      strata: of the statistics' ids.
      name: the arm.
      minus: another arm with the same seeds: everything is then of the difference, run by run (paired seeds).
    """
    return blend(statistics, strata, {name: 1.0, **({minus: -1.0} if minus else {})})


def blend(statistics: Statistics, strata: Sequence[Stratum], weights: Mapping[str, float]) -> Arm:
    """Compute the scores and contributions of a weighted sum of arms that have the same seeds, run by run."""
    name = next(iter(weights))
    seeds, languages = statistics.seeds[name], statistics.languages
    held = frozenset.intersection(*(statistics.held[other] for other in weights))
    scores = np.full((len(seeds), len(languages)), np.nan)
    contributions: dict[str, Array] = {}
    for column, code in enumerate(languages):
        if code in held:
            runs = [
                [(w, _run(statistics.values[other, s, code], statistics.curve)) for other, w in weights.items()]
                for s in seeds
            ]
            scores[:, column] = [sum(w * score for w, (score, _) in run) for run in runs]
            contributions[code] = np.stack([np.sum([w * u for w, (_, u) in run], axis=0) for run in runs])
    noise = np.zeros((len(languages), len(languages)))
    if len(seeds) > 1:
        for stratum in strata:
            codes = [code for code in stratum.rows if code in contributions]
            n = len(stratum.ids)
            if not codes or n < 2:
                continue
            at = np.array([languages.index(code) for code in codes])
            # R runs, L languages, N examples of the stratum
            u_RLN = np.stack([stratum.spread(code, contributions[code]) for code in codes], axis=1)
            u_RLN -= u_RLN.mean(axis=0)
            u_RLN -= u_RLN.mean(axis=2, keepdims=True)
            gram = np.einsum("rln,rmn->lm", u_RLN, u_RLN, optimize=True) * n / (n - 1)
            noise[np.ix_(at, at)] += gram / (len(seeds) - 1)
    return Arm(scores, {code: u.mean(axis=0) for code, u in contributions.items()}, noise)


def _run(values: Array, curve: Curve | None = None) -> tuple[float, Array]:
    """Return one cell's score and its examples' contributions; NaN and zeros where nothing was counted."""
    if curve:
        sums = values.sum(axis=0)
        return float(curve.score(sums)), values @ curve.gradient(sums)
    above, below = values.sum(axis=0)
    if below == 0.0:
        return float("nan"), np.zeros(len(values))
    score = 100.0 * above / below
    return float(score), (100.0 * values[:, 0] - score * values[:, 1]) / below


def moments(strata: Sequence[Stratum], combined: Mapping[str, Array], weights: Array) -> tuple[Array, Array]:
    """Return the third and second moments of weighted contributions, summed over strata.

    Args:
      strata: of the languages' ids.
      combined: language -> (examples,) contributions.
      weights: (estimands, languages), columns in the order of `combined`.

    Returns:
      (sum of cubes, sum of squares), each (estimands,): an estimand's acceleration from examples alone is
      cubes / (6 * squares ** 1.5) (Davison & Hinkley 1997, eq. 5.31, for strata).
    """
    codes = list(combined)
    cubes, squares = np.zeros(len(weights)), np.zeros(len(weights))
    for stratum in strata:
        held = [i for i, code in enumerate(codes) if code in stratum.rows]
        if held:
            u_LN = np.stack([stratum.spread(codes[i], combined[codes[i]]) for i in held])
            u_LN = u_LN - u_LN.mean(axis=1, keepdims=True)
            z_JN = weights[:, held] @ u_LN
            squared_JN = z_JN * z_JN
            cubes += (squared_JN * z_JN).sum(axis=1)
            squares += squared_JN.sum(axis=1)
    return cubes, squares
