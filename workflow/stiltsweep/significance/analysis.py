"""All comparisons of one model and target: pairs of arms, for a lift an intermediate and the baseline; every estimand.

What is resampled, named in each row:

examples                   test examples (ids), in strata; the trained models are held fixed.
examples+seeds             examples, and the training runs that the seeds stand for; the languages are held fixed.
examples+seeds+languages   also the languages of a group, as a sample of its languages; for groups of five and more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arms import BASELINE
from ..errors import UserError, nearest
from ..resampling.draws import normals
from ..resampling.intervals import bca, detectable, p_value, percentile
from ..resampling.strata import Stratum, stratify
from . import influence
from .bootstrap import arm_draws, sign_flips
from .cells import Statistics
from .comparison import COLUMNS
from .corrections import holm
from .estimands import Estimand, weights
from .seeds import Component, component, draw

Array = NDArray[np.float64]
Row = dict[str, Any]
Pair = tuple[str, str]
"""An arm and the one it is compared with."""

LEVELS = ("examples", "examples+seeds", "examples+seeds+languages")
MIN_LANGUAGES = 5
"""Fewer languages are no sample of a family."""
_MAX_UNDEFINED = 0.05
"""A comparison with more draws than this without a value (0/0) is not tested."""


@dataclass(frozen=True)
class Settings:
    """How to test."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95
    resampling: str = "examples+seeds"
    """One of `LEVELS`."""
    pair_seeds: bool = False
    """Pair the runs of the two arms that share a seed. Right only if they share what the seed decides."""

    def __post_init__(self) -> None:
        """Refuse values without meaning.

        Raises:
          UserError: the text names the setting.
        """
        if self.resampling not in LEVELS:
            hint = nearest(self.resampling, LEVELS)
            raise UserError(f"resampling: {self.resampling!r} is not one of {', '.join(LEVELS)}.{hint}")
        if self.resamples < 100:
            raise UserError(f"resamples: {self.resamples} is too few; at least 100, 10000 for a paper.")
        if not 0.5 <= self.confidence < 1.0:
            raise UserError(f"confidence: {self.confidence} is not between 0.5 and 1 (0.95 is usual).")


@dataclass(frozen=True)
class Resampled:
    """Everything drawn for one model and target; any number of estimands can be read off it."""

    statistics: Statistics
    settings: Settings
    strata: Sequence[Stratum]
    arms: Mapping[str, influence.Arm]
    """Scores and contributions of the arms that have runs."""
    drawn: Mapping[str, Array]
    """Arm -> (languages, resamples) scores under resampled examples."""
    flipped: Mapping[Pair, Array]
    """Pair -> (languages, resamples) lifts under swapped answers; NaN where there is no lift."""


def resample(
    statistics: Statistics, settings: Settings, pairs: Sequence[Pair] = (), *, chunk: int | None = None
) -> Resampled:
    """Draw examples and swaps, once for all pairs of arms, languages and estimands.

    Args:
      statistics: see `cells`.
      settings: see `Settings`.
      pairs: arms to compare with each other, besides every intermediate with the baseline.
      chunk: resamples drawn at a time; the result does not depend on it.
    """
    strata = stratify(statistics.ids)
    arms = {name: influence.arm(statistics, strata, name) for name, seeds in statistics.seeds.items() if seeds}
    count: dict[str, Any] = {"resamples": settings.resamples, "seed": settings.seed, "chunk": chunk}
    lifts = {pair: _contributions(statistics, arms, pair) for pair in (*lift_pairs(statistics), *pairs)}
    flipped = sign_flips(lifts, strata, languages=statistics.languages, **count)
    return Resampled(statistics, settings, strata, arms, arm_draws(statistics, strata, **count), flipped)


def lift_pairs(statistics: Statistics) -> list[Pair]:
    """Return every intermediate with the baseline."""
    return [(name, BASELINE) for name in statistics.intermediates]


def compare(resampled: Resampled, found: Sequence[Estimand], pairs: Sequence[Pair] | None = None) -> list[Row]:
    """Compare arms.

    Args:
      resampled: see `resample`.
      found: see `estimands`.
      pairs: arms to compare, among those given to `resample`; left out: every intermediate with the baseline.

    Returns:
      One row per pair and estimand with the keys of `COLUMNS` (`baseline_score` is of the pair's second arm); `p_holm`
      is within the rows of one scope and grouping, `p_bh` is left empty (it is the sweep's, see `table`).
    """
    pairs = lift_pairs(resampled.statistics) if pairs is None else pairs
    # Pairs do not depend on each other, and numpy leaves the other core free to take one.
    with ThreadPoolExecutor(max_workers=2) as pool:
        rows = list(chain.from_iterable(pool.map(lambda pair: _compare_one(resampled, pair, found), pairs)))
    correct(rows, "p_holm", holm)
    return rows


def _compare_one(resampled: Resampled, pair: Pair, found: Sequence[Estimand]) -> list[Row]:
    lifts = zip(resampled.statistics.languages, resampled.flipped[pair], strict=True)
    usable = [code for code, flips in lifts if not np.isnan(flips[0])]
    here = [estimand.within(usable) for estimand in found]
    results = iter(_test(resampled, pair, [estimand for estimand in here if not estimand.absent]))
    rows = []
    for asked, estimand in zip(found, here, strict=True):
        row = _row(resampled, pair, asked, estimand)
        rows.append(row | _scores(resampled, pair, asked) if estimand.absent else row | next(results))
    return rows


def correct(rows: Sequence[Row], column: str, method: Any) -> None:
    """Fill a column of corrected p-values, within the rows of one scope and grouping.

    A table of families answers one question and a table of languages another; each is corrected for all that it holds
    (every intermediate and group), and not for the other, whose hypotheses are sums of the same ones.
    """
    families: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["p"] is not None:
            families.setdefault((row["scope"], row["grouping"]), []).append(row)
    for members in families.values():
        for row, value in zip(members, method([row["p"] for row in members]), strict=True):
            row[column] = _rounded(value)


def _contributions(statistics: Statistics, arms: Mapping[str, influence.Arm], pair: Pair) -> dict[str, Array]:
    """Return language -> (examples,) contributions to the lift, summing to it; only where both arms have a score."""
    found: dict[str, Array] = {}
    if all(name in arms for name in pair):
        one, other = (arms[name] for name in pair)
        for column, code in enumerate(statistics.languages):
            if all(code in statistics.held[name] for name in pair):
                lift = float(one.scores[:, column].mean() - other.scores[:, column].mean())
                if np.isfinite(lift):
                    found[code] = one.mean[code] - other.mean[code] + lift / len(one.mean[code])
    return found


def _row(resampled: Resampled, pair: Pair, asked: Estimand, estimand: Estimand) -> Row:
    """Return what is known of a comparison before it is tested."""
    statistics = resampled.statistics
    row: Row = dict.fromkeys(COLUMNS)
    row_languages = set() if estimand.absent else set(estimand.languages)
    row |= {
        "model": statistics.model,
        "target": statistics.target,
        "metric": statistics.metric,
        "intermediate": pair[0],
        "scope": asked.scope,
        "grouping": asked.grouping,
        "group": asked.group,
        "status": "n/a" if estimand.absent else "ok",
        "reason": _why_absent(statistics, pair, estimand),
        "resampling": resampled.settings.resampling,
        "n_languages": 0 if estimand.absent else len(estimand.languages),
        "n_examples": sum(stratum.count(row_languages) for stratum in resampled.strata),
        "n_seeds": _seeds(statistics, pair),
        "languages": " ".join(estimand.languages),
        "missing": " ".join(
            gap.name
            for gap in statistics.gaps
            if gap.arm in pair and (not gap.language or gap.language in asked.languages)
        ),
        "contaminated": any(name in statistics.contaminated for name in pair),
    }
    return row


def _scores(resampled: Resampled, pair: Pair, asked: Estimand) -> Row:
    """Return what scores there are where arms cannot be compared: a baseline stays though the other has no run.

    A score is the mean over the languages that its arm holds of those asked for.
    """
    found: Row = {}
    languages = resampled.statistics.languages
    for column, name in (("baseline_score", pair[1]), ("score", pair[0])):
        if name in resampled.arms:
            mean = resampled.arms[name].scores.mean(axis=0)
            held = asked.within(code for code, score in zip(languages, mean, strict=True) if np.isfinite(score))
            if not held.absent:
                found[column] = _rounded((weights([held], languages) @ _zero_filled(mean))[0])
    return found


def _why_absent(statistics: Statistics, pair: Pair, estimand: Estimand) -> str:
    """Say why there is nothing to compare: an arm without a run that counts first."""
    for name in pair:
        if estimand.absent and not statistics.seeds[name]:
            why = sorted({gap.why for gap in statistics.gaps if gap.arm == name and not gap.language})
            return f"no run of {name} counts ({', '.join(why) or 'missing'})"
    return estimand.absent


def _test(resampled: Resampled, pair: Pair, tested: Sequence[Estimand]) -> list[Row]:
    """Test the estimands of one pair of arms; return the rows' results in order."""
    if not tested:
        return []
    statistics, settings = resampled.statistics, resampled.settings
    arm, baseline = (resampled.arms[name] for name in pair)
    maps = weights(tested, statistics.languages)
    base, score = (maps @ _zero_filled(side.scores.mean(axis=0)) for side in (baseline, arm))
    lift = score - base
    drawn = resampled.drawn[pair[0]] - resampled.drawn[pair[1]]
    undefined = (maps != 0.0) @ np.isnan(drawn).astype(np.float64) > 0.0
    deviations = np.where(undefined, 0.0, maps @ _zero_filled(drawn) - lift[:, None])
    lost = undefined.sum(axis=1)

    seeds = _seeds(statistics, pair)
    spread, added = _beyond_examples(resampled, pair, tested, maps, drawn)
    variance = deviations.var(axis=1) + added
    draws = deviations + spread

    both = [code for code in statistics.languages if code in arm.mean and code in baseline.mean]
    cubes, squares = influence.moments(
        resampled.strata, {code: arm.mean[code] - baseline.mean[code] for code in both}, weights(tested, both)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        # Runs and languages are drawn from symmetric distributions: the third moment is the examples' alone.
        acceleration = np.nan_to_num(cubes / (6.0 * np.maximum(variance, squares) ** 1.5))
    columns: dict[str, Array] = {
        "baseline_score": base,
        "score": score,
        "lift": lift,
        "p": p_value(lift, draws, lost),
        "p_signflip": p_value(lift, maps @ _zero_filled(resampled.flipped[pair])),
        "examples_p": p_value(lift, deviations, lost),
        "detectable_lift": detectable(draws, settings.confidence),
    }
    for prefix, interval in (
        ("ci", percentile(lift, draws, settings.confidence)),
        ("bca", bca(lift, np.sort(draws, axis=1), acceleration, settings.confidence)),
        ("examples_ci", percentile(lift, deviations, settings.confidence)),
    ):
        columns |= {f"{prefix}_low": interval[:, 0], f"{prefix}_high": interval[:, 1]}

    results = []
    for j, estimand in enumerate(tested):
        level, note, untested = _verdict(settings, estimand, seeds, int(lost[j]))
        row: Row = {key: _rounded(values[j]) for key, values in columns.items()}
        row |= {"resampling": level, "reason": note, "status": "n/a" if untested else "ok"}
        results.append(row | dict.fromkeys(untested))
    return results


_MAIN = ("ci_low", "ci_high", "bca_low", "bca_high", "p", "detectable_lift")
_EXAMPLES = ("examples_ci_low", "examples_ci_high", "examples_p", "p_signflip")


def _verdict(settings: Settings, estimand: Estimand, seeds: int, lost: int) -> tuple[str, str, tuple[str, ...]]:
    """Say at which level an estimand is tested, with what reservation, and which columns have no value."""
    level = settings.resampling
    if level == LEVELS[2] and estimand.scope == "language":
        level = LEVELS[1]
    if lost > _MAX_UNDEFINED * settings.resamples:
        return level, f"{lost} of {settings.resamples} resamples leave nothing to score", _MAIN + _EXAMPLES
    sizes = [len(side) for side in (estimand.plus, estimand.minus) if side]
    if level == LEVELS[2] and min(sizes) < MIN_LANGUAGES:
        several = " and ".join(map(str, sizes))
        return level, f"{several} languages: at least {MIN_LANGUAGES} are needed to resample languages", _MAIN
    notes = []
    if level != LEVELS[0] and seeds < 2:
        level = level.replace("+seeds", "")
        notes.append("one seed: conditional on the trained models")
    if lost:
        notes.append(f"{lost} of {settings.resamples} resamples leave nothing to score and count as extreme")
    return level, "; ".join(notes), ()


def _seeds(statistics: Statistics, pair: Pair) -> int:
    return min(len(statistics.seeds[name]) for name in pair)


def _zero_filled(values: Array) -> Array:
    """Replace NaN by 0: such languages have weight 0, and 0 * NaN is NaN."""
    return np.nan_to_num(values, nan=0.0)


def _beyond_examples(
    resampled: Resampled, pair: Pair, tested: Sequence[Estimand], maps: Array, drawn: Array
) -> tuple[Array, Array]:
    """Draw what the training runs and the languages add to the uncertainty.

    Args:
      resampled: see `resample`.
      pair: the arms.
      tested: estimands.
      maps: (estimands, languages) their weights.
      drawn: (languages, resamples) lifts under resampled examples.

    Returns:
      (estimands, resamples) deviations to add to the examples', and (estimands,) the variance that they add.
    """
    settings, statistics = resampled.settings, resampled.statistics
    spread, variance = np.zeros((len(tested), settings.resamples)), np.zeros(len(tested))

    def add(kind: str, components: Sequence[Component], multipliers: Sequence[Array]) -> None:
        more, added = draw(components, multipliers, settings.seed, kind)
        spread[:] += more
        variance[:] += added

    if settings.resampling != LEVELS[0] and _seeds(statistics, pair) > 1:
        components, multipliers = [], []
        for arm, labels in _runs(resampled, pair):
            noise = np.einsum("jl,lm,jm->j", maps, arm.noise, maps)
            components.append(component(_zero_filled(arm.scores) @ maps.T, noise))
            multipliers.append(normals(settings.seed, "run", labels, settings.resamples))
        add("runs", components, multipliers)
    if settings.resampling == LEVELS[2]:
        one, other = (resampled.arms[name].scores.mean(axis=0) for name in pair)
        sides = ([e.plus for e in tested], [e.minus for e in tested])
        components = [_language_component(statistics.languages, side, one - other, drawn) for side in sides]
        add("languages", components, [normals(settings.seed, "language", statistics.languages, settings.resamples)] * 2)
    return spread, variance


def _runs(resampled: Resampled, pair: Pair) -> list[tuple[influence.Arm, list[str]]]:
    """Return the sets of runs that vary on their own, each with the names of its runs' draws.

    The arms of a comparison are two sets. A run has the same draws in every comparison it is part of.
    """
    statistics = resampled.statistics
    if not resampled.settings.pair_seeds:
        return [(resampled.arms[arm], [f"{arm}\t{s}" for s in statistics.seeds[arm]]) for arm in pair]
    name, other = pair
    if statistics.seeds[name] != statistics.seeds[other]:
        raise UserError(
            f"{statistics.model}/{statistics.target}: seeds cannot be paired: {name} has {statistics.seeds[name]}, "
            f"{other} has {statistics.seeds[other]}. Build the missing runs, or leave seeds unpaired."
        )
    paired = influence.arm(statistics, resampled.strata, name, minus=other)
    return [(paired, [f"{name}\t{s}" for s in statistics.seeds[name]])]


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


def _rounded(value: Any) -> Any:
    """Return a JSON value; nine decimals, so that the last bits of a matrix product do not show."""
    if isinstance(value, (float, np.floating)):
        return round(float(value), 9) if np.isfinite(value) else None
    return value
