"""Lifts of the languages together, with the covariance that shared examples and shared runs give them.

What is asked of languages as units (`typology`) needs more than each language's interval: two languages that hold the
same examples, and all of them the same runs, err together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arms import BASELINE
from . import influence
from .analysis import MAX_UNDEFINED
from .cells import Statistics
from .controls import is_control
from .resampled import LEVELS, Pair, Resampled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Joint:
    """The lift of some arms' mean over the baseline, in every language that all of them hold."""

    languages: tuple[str, ...]
    lifts: Array
    """(languages,) in points."""
    covariance: Array
    """(languages, languages) of their sampling errors, in squared points."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "languages": list(self.languages),
            "lifts": [round(float(value), 9) for value in self.lifts],
            "covariance": [[round(float(value), 9) for value in row] for row in self.covariance],
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Joint:
        """Return what `document` wrote."""
        k = len(document["languages"])
        covariance = np.array(document["covariance"], dtype=np.float64).reshape(k, k)
        return cls(tuple(document["languages"]), np.array(document["lifts"], dtype=np.float64), covariance)


NOTHING = Joint((), np.zeros(0), np.zeros((0, 0)))


def joint(resampled: Resampled, arms: Sequence[str]) -> Joint:
    """Return the lifts of the mean of some arms, and their covariance over the draws of examples and of runs.

    Args:
      resampled: see `resampled.resample`.
      arms: one or more; only languages in which all of them and the baseline have a score are taken.

    Returns:
      No languages where an arm has no runs.
    """
    statistics = resampled.statistics
    there = held_by_all(resampled, arms)
    languages = tuple(statistics.languages[i] for i in there)
    if not there:
        return NOTHING
    weights = {**{arm: 1.0 / len(arms) for arm in arms}, BASELINE: -1.0}
    lifts = sum(w * resampled.arms[name].scores[:, there].mean(axis=0) for name, w in weights.items())
    drawn = sum(w * resampled.drawn[name][there] for name, w in weights.items())
    drawn = np.asarray(drawn)[:, np.isfinite(drawn).all(axis=0)]
    covariance = np.atleast_2d(np.cov(drawn))
    if resampled.settings.resampling != LEVELS[0]:
        covariance = covariance + _runs(resampled, weights, there)
    return Joint(languages, np.asarray(lifts), covariance)


def held_by_all(resampled: Resampled, arms: Sequence[str], baseline: str = BASELINE) -> list[int]:
    """Return the places of the languages in which all of some arms and the baseline have a score, in nearly all draws.

    Where more draws are without a value than a test goes by, the language has no test of its own; and all languages
    are drawn together, so that a few of such languages would leave no draw.
    """
    pairs = [(arm, baseline) for arm in arms]

    def known(pair: Pair, place: int) -> bool:
        drawn = resampled.drawn[pair[0]][place] - resampled.drawn[pair[1]][place]
        return bool(np.isnan(drawn).mean() <= MAX_UNDEFINED)

    return [
        i
        for i in range(len(resampled.statistics.languages))
        if all(name in resampled.arms for pair in pairs for name in pair)
        and all(np.isfinite(resampled.flipped[pair][i]).all() and known(pair, i) for pair in pairs)
    ]


def asked_about(statistics: Statistics) -> list[str]:
    """Return the arms that are asked about: no controls, and none that holds the target's data."""
    return [arm for arm in statistics.intermediates if not is_control(arm) and arm not in statistics.contaminated]


def _runs(resampled: Resampled, weights: Mapping[str, float], there: Sequence[int]) -> Array:
    """Return (languages, languages): what the training runs add to the covariance that the examples make.

    As for single estimands (`seeds`) it is the covariance between runs less that of the interaction of runs with
    examples, which the examples' holds already. Three runs of two arms know four directions, not a matrix of twelve
    languages, and a weighted mean would trust whatever they happen not to point at. So two numbers are taken from it,
    each a mean over all languages and never below 0: the variance that a run gives to all languages alike, and that
    which it gives to each by itself.
    """
    sets = sets_of_runs(resampled, weights)
    of_a_run = [
        np.atleast_2d(np.cov(arm.scores[:, there], rowvar=False)) - arm.noise[np.ix_(there, there)]
        if len(arm.scores) > 1
        else None
        for arm, _ in sets
    ]
    known = [one for one in of_a_run if one is not None]
    if not known:  # one run of each arm: conditional on the trained models
        return np.zeros((len(there),) * 2)
    # An arm with one run varies as the others do, as far as anyone can know.
    lent = np.mean(known, axis=0)
    excess = np.sum(
        [
            weight**2 * (lent if own is None else own) / len(arm.scores)
            for (arm, weight), own in zip(sets, of_a_run, strict=True)
        ],
        axis=0,
    )
    return common_and_own(excess)


def common_and_own(excess: Array) -> Array:
    """Return (languages, languages): one variance that is common to all, and one that each has by itself."""
    k = len(excess)
    common, alone = divided(excess)
    common = alone if k == 1 else max(0.0, common)
    return np.full((k, k), max(0.0, common)) + max(0.0, alone - common) * np.eye(k)


def divided(covariance: Array) -> tuple[float, float]:
    """Return the mean covariance of two languages and the mean variance of one, of a (languages, languages) covariance.

    The first is what all languages have in common, as estimated: it may be below 0, and is 0 of a single language.
    """
    k = len(covariance)
    alone = float(np.trace(covariance)) / k
    return (float(covariance.sum()) - k * alone) / max(1, k * (k - 1)), alone


def sets_of_runs(resampled: Resampled, weights: Mapping[str, float]) -> list[tuple[influence.Arm, float]]:
    """Return the sets of runs that vary on their own, with their weights: one of all arms where seeds are paired."""
    statistics = resampled.statistics
    seeds = {statistics.seeds[name] for name in weights}
    if resampled.settings.pair_seeds and len(seeds) == 1:
        return [(influence.blend(statistics, resampled.strata, weights), 1.0)]
    return [(resampled.arms[name], weight) for name, weight in weights.items()]


def document(resampled: Resampled) -> dict[str, Any]:
    """Return the joint lifts of every arm, and of the arms' mean, as JSON.

    Controls, and arms that hold the target's data, are left out: they are not what is asked about. Arms without runs
    are not in the mean.
    """
    arms = asked_about(resampled.statistics)
    held = [arm for arm in arms if arm in resampled.arms]
    return {
        "arms": {arm: joint(resampled, [arm]).document() for arm in arms},
        "mean": (joint(resampled, held) if held else NOTHING).document(),
    }
