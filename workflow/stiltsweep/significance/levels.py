"""Scores themselves, with intervals: means over languages and targets, on the draws that lifts are tested with.

A resample draws examples and runs as lifts do: one draw of examples serves every arm and language that holds them, one
draw of a run every target that it is part of. So means over targets, and the choice of an arm, can be made in every
resample anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ..resampling.draws import normals
from ..resampling.strata import stratify
from . import influence
from .bootstrap import arm_draws
from .cells import Statistics, by_unit
from .estimands import zero_filled
from .resampled import LEVELS, Settings
from .seeds import component, draw

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """A score in points and its draws."""

    score: float
    draws: Array
    """(resamples,); NaN where nothing was counted."""

    def interval(self, confidence: float) -> tuple[float | None, float | None]:
        """Return the percentile interval; nothing where draws have no value."""
        if not np.isfinite(self.draws).all():
            return None, None
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile(self.draws, [tail, 1.0 - tail])
        return round(float(low), 9), round(float(high), 9)


class Levels:
    """The scores of one model and target under one metric, ready to be averaged over any languages."""

    def __init__(self, statistics: Statistics, settings: Settings) -> None:
        statistics = by_unit(statistics)
        self.settings = settings
        # Of the examples themselves nothing is kept: a large sweep's are half a gigabyte.
        self.languages, self.held, self.seeds = statistics.languages, statistics.held, statistics.seeds
        strata = stratify(statistics.ids)
        self._arms = {
            name: replace(influence.arm(statistics, strata, name), mean={})
            for name, seeds in statistics.seeds.items()
            if seeds
        }
        self._drawn = arm_draws(statistics, strata, resamples=settings.resamples, seed=settings.seed)

    def of(self, arm: str, languages: Sequence[str]) -> Level | None:
        """Return an arm's mean score over some languages; None if a run lacks one of them, or has no score there."""
        known = self.languages
        if arm not in self._arms or not set(languages) <= self.held[arm]:
            return None
        own = self._arms[arm]
        at = [known.index(code) for code in languages]
        if not np.isfinite(own.scores[:, at]).all():
            return None
        weights = np.zeros(len(known))
        weights[at] = 1.0 / len(languages)
        runs = zero_filled(own.scores) @ weights
        draws = weights @ np.where(weights[:, None] > 0.0, self._drawn[arm], 0.0)
        if len(runs) > 1 and self.settings.resampling != LEVELS[0]:
            noise = np.array([weights @ own.noise @ weights])
            labels = [f"{arm}\t{seed}" for seed in self.seeds[arm]]
            multipliers = normals(self.settings.seed, "run", labels, self.settings.resamples)
            spread, _ = draw([component(runs[:, None], noise)], [multipliers], self.settings.seed, "runs")
            draws = draws + spread[0]
        return Level(float(runs.mean()), draws)


def mean(levels: Sequence[Level]) -> Level:
    """Return the mean of some scores, draw by draw."""
    return Level(fmean(level.score for level in levels), np.mean([level.draws for level in levels], axis=0))


def best(levels: Mapping[str, Level], dev: Mapping[str, Mapping[int, float]], settings: Settings) -> tuple[str, Level]:
    """Choose the arm with the best dev score, in every resample anew.

    Dev scores vary with the runs as the scores do, by the same draws; the examples of dev are held fixed. So the
    interval holds the uncertainty of the choice as far as runs decide it.

    Args:
      levels: arms to choose from.
      dev: arm -> seed -> dev score of its run.
      settings: of the draws.

    Returns:
      The arm chosen on the mean dev scores (the first of several equal ones) and its score, whose draws are those of
      the arm that each resample chooses.
    """
    arms = list(levels)
    scores = []
    for arm in arms:
        runs = np.array(list(dev[arm].values()))
        drawn = np.full(settings.resamples, runs.mean())
        if len(runs) > 1 and settings.resampling != LEVELS[0]:
            labels = [f"{arm}\t{seed}" for seed in dev[arm]]
            multipliers = normals(settings.seed, "run", labels, settings.resamples)
            spread, _ = draw([component(runs[:, None], np.zeros(1))], [multipliers], settings.seed, "runs")
            drawn = drawn + spread[0]
        scores.append(drawn)
    chosen = np.argmax(np.round(scores, 9), axis=0)
    draws = np.stack([levels[arm].draws for arm in arms])[chosen, np.arange(settings.resamples)]
    means = [fmean(dev[arm].values()) for arm in arms]
    arm = arms[means.index(max(means))]
    return arm, Level(levels[arm].score, draws)
