"""Comparisons of one model and target: pairs of arms, for a lift an intermediate and the baseline; every estimand."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..resampling.intervals import bca, detectable, extremes, p_value, percentile, within
from ..resampling.strata import SMALLEST as SMALLEST_STRATUM
from ..resampling.tails import FEW, SMALLEST, Tail
from . import influence
from .beyond import MIN_LANGUAGES, beyond_examples
from .cells import Statistics
from .comparison import COLUMNS, HELPED, HIGHER, HURT, LOWER, OPEN, WITHIN
from .corrections import alpha as level_of
from .corrections import holm
from .estimands import Estimand, weights, zero_filled
from .resampled import LEVELS, Array, Pair, Resampled, Settings, lift_pairs
from .seeds import Excess

Row = dict[str, Any]

MAX_UNDEFINED = 0.05
"""A comparison with more draws than this without a value (0/0) is not tested."""


def compare(resampled: Resampled, estimands: Sequence[Estimand], pairs: Sequence[Pair] | None = None) -> list[Row]:
    """Compare arms.

    Args:
      resampled: see `resample`.
      estimands: see `estimands`.
      pairs: arms to compare, among those given to `resample`; left out: every intermediate with the baseline.

    Returns:
      One row per pair and estimand with the keys of `COLUMNS` (`baseline_score` is of the pair's second arm); what is
      corrected is within the rows of one scope and grouping, `p_bh` is left empty (it is the sweep's, see `table`).
    """
    pairs = lift_pairs(resampled.statistics) if pairs is None else pairs

    def rows_of(pair: Pair) -> list[Row]:
        return _compare_one(resampled, pair, estimands)

    if len(pairs) == 1:
        rows = rows_of(pairs[0])
    else:
        # Pairs do not depend on each other, and numpy leaves the other core free to take one.
        with ThreadPoolExecutor(max_workers=2) as pool:
            rows = list(chain.from_iterable(pool.map(rows_of, pairs)))
    settle(rows, resampled.settings.confidence)
    return rows


def _compare_one(resampled: Resampled, pair: Pair, estimands: Sequence[Estimand]) -> list[Row]:
    lifts = zip(resampled.statistics.languages, resampled.flipped[pair], strict=True)
    usable = [code for code, flips in lifts if not np.isnan(flips[0])]
    here = [estimand.within(usable) for estimand in estimands]
    results = iter(_test(resampled, pair, [estimand for estimand in here if not estimand.absent]))
    rows = []
    for asked, estimand in zip(estimands, here, strict=True):
        row = _row(resampled, pair, asked, estimand)
        rows.append(row | _scores(resampled, pair, asked) if estimand.absent else row | next(results))
    return rows


def settle(rows: Sequence[Row], confidence: float) -> None:
    """Correct rows for their number within each scope and grouping, and say what each of them concludes.

    Fills `p_holm`, `p_margin_holm` (the two families of tests are corrected each by itself), `detectable_lift_holm` (at
    the level that Holm's first step asks of the smallest p: what the hardest of the tests could see) and `conclusion`.
    """
    correct(rows, "p_holm", holm)
    correct(rows, "p_margin_holm", holm, "p_margin")
    alpha = level_of(confidence)
    for members in _families(rows, "p"):
        examples, runs, degrees = (
            np.array([row[column] if row[column] is not None else np.nan for row in members])
            for column in ("examples_se", "runs_se", "runs_degrees")
        )
        drawn = Tail(examples**2, [(runs**2, np.where(np.isnan(degrees), np.inf, degrees))])
        ones = np.ones(len(members))
        further = drawn.size(ones * alpha / len(members)) - drawn.size(ones * alpha)
        for row, more in zip(members, further, strict=True):
            row["detectable_lift_holm"] = rounded(row["detectable_lift"] + more)
    for row in rows:
        row["conclusion"] = _conclusion(row, alpha)


def _conclusion(row: Row, alpha: float) -> str:
    if row["p_holm"] is None:
        return ""
    if row["p_holm"] < alpha and row["lift"]:
        up, down = (HIGHER, LOWER) if row["scope"] == "contrast" else (HELPED, HURT)
        return up if row["lift"] > 0 else down
    return WITHIN if row["p_margin_holm"] is not None and row["p_margin_holm"] < alpha else OPEN


def _families(rows: Sequence[Row], column: str) -> list[list[Row]]:
    """Return the rows that are corrected together."""
    families: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row[column] is not None:
            families.setdefault((row["scope"], row["grouping"]), []).append(row)
    return list(families.values())


def correct(rows: Sequence[Row], column: str, method: Any, of: str = "p") -> None:
    """Fill a column of corrected p-values, within the rows of one scope and grouping.

    A table of families answers one question and a table of languages another; each is corrected for all that it holds
    (every intermediate and group), and not for the other, whose hypotheses are sums of the same ones.
    """
    for members in _families(rows, of):
        for row, value in zip(members, method([row[of] for row in members]), strict=True):
            row[column] = rounded(value)


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
        "first_group": asked.first,
        "second_group": asked.second,
        "status": "n/a" if estimand.absent else "ok",
        "conclusion": "",
        "p_fitted": False,
        "reason": _why_absent(statistics, pair, estimand),
        "resampling": resampled.settings.resampling,
        "n_languages": 0 if estimand.absent else len(estimand.languages),
        "n_examples": resampled.count(row_languages),
        "n_clusters": sum(stratum.count(row_languages) for stratum in resampled.strata),
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
    scores: Row = {}
    languages = resampled.statistics.languages
    for column, name in (("baseline_score", pair[1]), ("score", pair[0])):
        if name in resampled.arms:
            mean = resampled.arms[name].scores.mean(axis=0)
            held = asked.within(code for code, score in zip(languages, mean, strict=True) if np.isfinite(score))
            if not held.absent:
                scores[column] = rounded((weights([held], languages) @ zero_filled(mean))[0])
    return scores


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
    base, score = (maps @ zero_filled(side.scores.mean(axis=0)) for side in (baseline, arm))
    lift = score - base
    drawn = resampled.drawn[pair[0]] - resampled.drawn[pair[1]]
    undefined = (maps != 0.0) @ np.isnan(drawn).astype(np.float64) > 0.0
    deviations = np.where(undefined, 0.0, maps @ zero_filled(drawn) - lift[:, None])
    lost = undefined.sum(axis=1)

    beyond = beyond_examples(resampled, pair, tested, maps, drawn)
    both = [code for code in statistics.languages if code in arm.mean and code in baseline.mean]
    cubes, squares = influence.moments(
        resampled.strata, {code: arm.mean[code] - baseline.mean[code] for code in both}, weights(tested, both)
    )
    columns, fitted = judged(settings, lift, deviations, lost, beyond.spread, beyond.parts, cubes, squares)
    columns |= {
        "baseline_score": base,
        "score": score,
        "lift": lift,
        "p_signflip": p_value(lift, maps @ zero_filled(resampled.flipped[pair])),
        "seed_correlation": beyond.correlation,
    }
    results = []
    for j, estimand in enumerate(tested):
        level, note, untested = _verdict(
            settings, estimand, statistics, pair, int(lost[j]), bool(beyond.unknown[j]), _few(resampled, estimand)
        )
        row: Row = {key: rounded(values[j]) for key, values in columns.items()}
        row |= {"resampling": level, "reason": note, "status": "n/a" if untested else "ok"}
        row["p_fitted"] = bool(fitted[j]) and not untested
        results.append(row | dict.fromkeys(untested))
    return results


def judged(
    settings: Settings,
    lift: Array,
    deviations: Array,
    lost: Array,
    spread: Array | float,
    parts: Sequence[Excess],
    cubes: Array,
    squares: Array,
) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Judge lifts by their draws.

    Args:
      settings: see `Settings`.
      lift: (estimands,) in points.
      deviations: (estimands, resamples) draws over examples less the lift.
      lost: (estimands,) draws without a value.
      spread: (estimands, resamples) what runs and languages add to the deviations.
      parts: what it was drawn from.
      cubes, squares: (estimands,) see `influence.moments`.

    Returns:
      Column -> (estimands,) values: p-values, intervals, standard errors; and which p lie in a fitted tail.
    """
    alone = deviations.var(axis=1)
    variance = alone + sum(part.variance for part in parts)
    draws = deviations + spread
    with np.errstate(invalid="ignore", divide="ignore"):
        # Runs and languages are drawn from symmetric distributions: the third moment is the examples' alone.
        acceleration = np.nan_to_num(cubes / (6.0 * np.maximum(variance, squares) ** 1.5))
    columns: dict[str, Array] = {
        "p": p_value(lift, draws, lost),
        "p_margin": within(lift, draws, settings.margin, lost),
        "examples_p": p_value(lift, deviations, lost),
        "detectable_lift": detectable(draws, settings.confidence),
    }
    fitted = _fit_tails(columns["p"], lift, draws, lost, alone, parts)
    _fit_tails(columns["examples_p"], lift, deviations, lost, alone, [])
    runs, degrees = _together(parts, len(lift))
    columns |= {"examples_se": np.sqrt(alone), "runs_se": np.sqrt(runs), "runs_degrees": degrees}
    for prefix, interval in (
        ("ci", percentile(lift, draws, settings.confidence)),
        ("bca", bca(lift, np.sort(draws, axis=1), acceleration, settings.confidence)),
        ("examples_ci", percentile(lift, deviations, settings.confidence)),
    ):
        columns |= {f"{prefix}_low": interval[:, 0], f"{prefix}_high": interval[:, 1]}
    return columns, fitted


def _fit_tails(
    p: Array, lift: Array, draws: Array, lost: Array, examples: Array, parts: Sequence[Excess]
) -> NDArray[np.bool_]:
    """Replace the p values, in place, that fewer than `tails.FEW` draws stand behind; return which these are."""
    chosen = (extremes(lift, draws) < FEW) & (lost == 0) & (examples + sum(part.variance for part in parts) > 0.0)
    if chosen.any():
        at = np.flatnonzero(chosen)
        anchor = max(FEW, draws.shape[1] // 100)
        sizes = -np.partition(-np.abs(draws[at]), anchor - 1, axis=1)[:, anchor - 1]
        tail = Tail(examples[at], [(part.variance[at], part.degrees[at]) for part in parts])
        with np.errstate(invalid="ignore", divide="ignore"):
            onward = tail.beyond(np.abs(lift[at])) / tail.beyond(sizes)
        p[at] = np.maximum(SMALLEST, anchor / draws.shape[1] * np.nan_to_num(onward))
    return np.asarray(chosen)


def _together(parts: Sequence[Excess], estimands: int) -> tuple[Array, Array]:
    """Return the variance of all parts and its degrees of freedom (NaN where there is none)."""
    variance = np.sum([part.variance for part in parts], axis=0) if parts else np.zeros(estimands)
    if len(parts) == 1:
        degrees = parts[0].degrees
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            uncertain = [part.variance**2 / part.degrees for part in parts]
            degrees = variance**2 / np.sum(uncertain, axis=0) if parts else np.full(estimands, np.nan)
    return variance, np.where((variance > 0.0) & np.isfinite(degrees), degrees, np.nan)


_MAIN = (
    *("ci_low", "ci_high", "bca_low", "bca_high", "p", "p_margin", "detectable_lift"),
    *("examples_se", "runs_se", "runs_degrees"),
)
_EXAMPLES = ("examples_ci_low", "examples_ci_high", "examples_p", "p_signflip")
TESTED = _MAIN + _EXAMPLES
"""Columns that have no value where nothing can be tested."""


def _verdict(
    settings: Settings, estimand: Estimand, statistics: Statistics, pair: Pair, lost: int, unknown: bool, few: int
) -> tuple[str, str, tuple[str, ...]]:
    """Say at which level an estimand is tested, with what reservation, and which columns have no value."""
    level = settings.resampling
    if level == LEVELS[2] and estimand.scope == "language":
        level = LEVELS[1]
    undefined, untested = without_value(lost, settings)
    if untested:
        return level, undefined, untested
    sizes = [len(side) for side in (estimand.plus, estimand.minus) if side]
    if level == LEVELS[2] and min(sizes) < MIN_LANGUAGES:
        several = " and ".join(map(str, sizes))
        return level, f"{several} languages: at least {MIN_LANGUAGES} are needed to resample languages", _MAIN
    notes = [text for name in pair if (text := _fewer_runs(statistics, name))]
    if level != LEVELS[0]:
        one, other = (statistics.seeds[name] for name in pair)
        several, single = (pair[0], pair[1]) if len(one) > 1 else (pair[1], pair[0])
        if unknown and len(one) == len(other) == 1:
            return level, "; ".join([*notes, "one run of each arm: how much runs differ is not known"]), _MAIN
        if unknown:
            return level, "; ".join([*notes, f"one run of {single}, and the runs of {several} do not vary"]), _MAIN
        if len(one) == len(other) == 1:
            level = level.replace("+seeds", "")
            notes.append("one seed: conditional on the trained models")
        elif min(len(one), len(other)) == 1:
            notes.append(f"one run of {single}: how much its runs differ is taken from {several}")
        elif settings.pair_seeds and one != other:
            notes.append("runs not paired: the two arms have other seeds")
    if few:
        notes.append(f"{few} clusters of examples: too few to be sure of their spread")
    if undefined:
        notes.append(undefined)
    return level, "; ".join(notes), ()


def without_value(lost: int, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Return what a row says of draws without a value (0/0), and its columns that have none for them.

    Few count as extreme; of more than `MAX_UNDEFINED` nothing can be tested.
    """
    if not lost:
        return "", ()
    said = f"{lost} of {settings.resamples} resamples leave nothing to score"
    return (said, TESTED) if lost > MAX_UNDEFINED * settings.resamples else (f"{said} and count as extreme", ())


def _few(resampled: Resampled, estimand: Estimand) -> int:
    """Return the number of clusters behind an estimand where it is small, else 0."""
    languages = set(estimand.languages)
    clusters = sum(stratum.count(languages) for stratum in resampled.strata)
    return clusters if clusters < SMALLEST_STRATUM and clusters < resampled.count(languages) else 0


def _fewer_runs(statistics: Statistics, arm: str) -> str:
    """Name the runs of an arm that are not in the tests, and why; the mean of the others leaves their scores out."""
    lost = [f"seed {gap.seed} ({gap.why})" for gap in statistics.gaps if gap.arm == arm and not gap.language]
    return f"{arm} without {', '.join(lost)}" if lost else ""


def _seeds(statistics: Statistics, pair: Pair) -> int:
    return min(len(statistics.seeds[name]) for name in pair)


def rounded(value: Any) -> Any:
    """Return a JSON value; nine decimals, so that the last bits of a matrix product do not show."""
    if isinstance(value, (float, np.floating)):
        return round(float(value), 9) + 0.0 if np.isfinite(value) else None  # + 0.0 turns -0.0 into 0.0
    return value
