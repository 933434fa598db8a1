"""What the training runs and the languages add to the uncertainty that the examples make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..resampling.draws import normals
from . import influence
from .estimands import Estimand, zero_filled
from .resampled import LEVELS, Array, Pair, Resampled
from .seeds import Component, Excess, component, draw, lent

MIN_LANGUAGES = 5
"""Fewer languages are no sample of a family."""


@dataclass(frozen=True)
class Beyond:
    """What the training runs and the languages add to the uncertainty."""

    spread: Array
    """(estimands, resamples) deviations to add to the examples'."""
    parts: list[Excess]
    """Of the runs, of the languages."""
    unknown: NDArray[np.bool_]
    """(estimands,) whether runs vary by an amount of which nothing is known."""
    correlation: Array
    """(estimands,) of the two arms' runs of the same seed; NaN with fewer than three."""


def beyond_examples(resampled: Resampled, pair: Pair, tested: Sequence[Estimand], maps: Array, drawn: Array) -> Beyond:
    """Draw what the training runs and the languages add to the uncertainty.

    Args:
      resampled: see `resample`.
      pair: the arms.
      tested: estimands.
      maps: (estimands, languages) their weights.
      drawn: (languages, resamples) lifts under resampled examples.
    """
    settings, statistics = resampled.settings, resampled.statistics
    spread, parts = np.zeros((len(tested), settings.resamples)), []
    unknown = np.zeros(len(tested), dtype=bool)
    if settings.resampling != LEVELS[0]:
        components, labels, unknown = run_components(resampled, pair, maps)
        multipliers = [normals(settings.seed, "run", names, settings.resamples) for names in labels]
        if components:
            more, added = draw(components, multipliers, settings.seed, "runs")
            spread += more
            parts.append(added)
    if settings.resampling == LEVELS[2]:
        one, other = (resampled.arms[name].scores.mean(axis=0) for name in pair)
        sides = ([e.plus for e in tested], [e.minus for e in tested])
        components = [_language_component(statistics.languages, side, one - other, drawn) for side in sides]
        multipliers = [normals(settings.seed, "language", statistics.languages, settings.resamples)] * 2
        more, added = draw(components, multipliers, settings.seed, "languages")
        spread += more
        parts.append(added)
    return Beyond(spread, parts, unknown, _correlation(resampled, pair, maps))


def run_components(
    resampled: Resampled, pair: Pair, maps: Array
) -> tuple[list[Component], list[list[str]], NDArray[np.bool_]]:
    """Return the sets of runs that vary on their own, names for their draws, and estimands whose runs are unknown.

    With the same seeds in both arms and `pair_seeds` the runs' differences are one set, else the arms are two. A run
    has the same draws in every comparison it is part of. Of an arm with one run, see `seeds.lent`.
    """
    statistics, settings = resampled.statistics, resampled.settings
    unknown = np.zeros(len(maps), dtype=bool)

    def component_of(arm: influence.Arm) -> Component:
        noise = np.einsum("jl,lm,jm->j", maps, arm.noise, maps)
        return component(zero_filled(arm.scores) @ maps.T, noise)

    def labels_of(name: str) -> list[str]:
        return [f"{name}\t{s}" for s in statistics.seeds[name]]

    name, other = pair
    several = [arm for arm in pair if len(statistics.seeds[arm]) > 1]
    if not several:
        # One seed was asked for: the row says that it takes the models as given. If more were, it must not.
        return [], [], unknown | (statistics.planned > 1)
    if len(several) == 1:
        own = component_of(resampled.arms[several[0]])
        return [lent(own)], [labels_of(several[0])], unknown | (own.variance == 0.0)
    if settings.pair_seeds and statistics.seeds[name] == statistics.seeds[other]:
        paired = influence.arm(statistics, resampled.strata, name, minus=other)
        return [component_of(paired)], [labels_of(name)], unknown
    return [component_of(resampled.arms[arm]) for arm in pair], [labels_of(arm) for arm in pair], unknown


def _correlation(resampled: Resampled, pair: Pair, maps: Array) -> Array:
    """Return the (estimands,) correlation of the two arms' runs of the same seed, NaN where one of them is constant.

    And of two seeds: two points lie on a line, whatever they are.
    """
    seeds = [resampled.statistics.seeds[name] for name in pair]
    both = sorted(set(seeds[0]) & set(seeds[1]))
    if len(both) < 3:
        return np.full(len(maps), np.nan)
    one, other = (
        zero_filled(resampled.arms[name].scores[[own.index(s) for s in both]]) @ maps.T
        for name, own in zip(pair, seeds, strict=True)
    )
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    sizes = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sizes > 1e-12, (one * other).sum(axis=0) / sizes, np.nan)


def _language_component(
    languages: Sequence[str], sides: Sequence[Sequence[str]], lifts: Array, drawn: Array
) -> Component:
    """Take the languages of each group as a sample; groups of fewer than two add nothing here.

    Args:
      languages: order of the rows below.
      sides: one group of languages per estimand.
      lifts: (languages,).
      drawn: (languages, resamples) lifts under resampled examples.
    """
    deviations = np.zeros((len(languages), len(sides)))
    noise, degrees = np.zeros(len(sides)), np.ones(len(sides))
    for j, side in enumerate(sides):
        if len(side) < MIN_LANGUAGES:
            continue
        at = [languages.index(code) for code in side]
        # Of the spread between languages, what examples alone make is in the draws over examples already.
        own = float(np.nanmean(np.nanvar(drawn[at], axis=0, ddof=1)) - np.var(lifts[at], ddof=1))
        part = component(lifts[at][:, None], np.array([max(0.0, own)]))
        deviations[at, j], noise[j], degrees[j] = part.deviations[:, 0], part.noise[0], part.degrees[0]
    return Component(deviations, noise, degrees)
