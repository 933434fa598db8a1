"""The paired bootstrap over examples as a matrix product, and sign flips by the same means.

A score is a ratio of two sums over examples, so a resample is a row of counts and all scores of all resamples are

    counts (resamples x examples)  @  statistics (examples x columns)

once per stratum. Statistics are put on a grid on which every such sum is exact: the result then has the same bits
whatever the order of summation, hence for any number of cores, any BLAS and any chunk size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..metrics.classes import Curve
from ..resampling.draws import Counts, Signs
from ..resampling.strata import Stratum
from .cells import Statistics

Array = NDArray[np.float64]
Key = TypeVar("Key")

_CHUNK_NUMBERS = 2**21
"""Counts per product: enough rows for the product to be efficient, and memory that does not grow with the resamples."""


@dataclass(frozen=True)
class Column:
    """One column of the product: the numerator or denominator of a score, in one language."""

    language: str
    values: Array
    """(examples of the language,)."""


@dataclass(frozen=True)
class _Part:
    """What one stratum contributes."""

    stratum: Stratum
    columns: NDArray[np.intp]
    """Columns that vary over the stratum."""
    matrix: NDArray[Any]
    """(examples, columns), float32 where its sums are exact in that."""


def exact(matrix: Array) -> NDArray[Any]:
    """Round (examples, columns) to the finest binary grid on which sums of as many rows as there are stay exact.

    Counts stay what they are (and become float32, which halves the work); fractions move by less than 1e-11 of the
    largest entry for 20,000 examples.
    """
    bound = len(matrix) * np.abs(matrix).max(initial=0.0)
    if bound < 2**24 and np.array_equal(matrix, np.rint(matrix)):
        return matrix.astype(np.float32)
    # 52 bits hold any sum up to the bound; frexp gives the power of two just above it.
    step = np.ldexp(1.0, int(np.frexp(bound)[1]) - 52)
    return np.asarray(np.rint(matrix / step) * step)


def product(
    columns: Sequence[Column],
    strata: Sequence[Stratum],
    resamples: int,
    draws: Callable[[str, int], Counts | Signs],
    reduce: Callable[[Array], Array],
    *,
    conserved: bool,
    chunk: int | None = None,
) -> Array:
    """Multiply draws with columns, chunk by chunk, and reduce each chunk at once.

    Args:
      columns: what is summed.
      strata: the strata of the columns' languages.
      resamples: rows to draw.
      draws: (digest, n) -> a stratum's stream of draws.
      reduce: (rows, columns) sums -> (rows, kept) numbers to keep.
      conserved: every row of draws sums to the number of examples (counts do, signs do not).
      chunk: rows drawn at a time, by default as many as fit a cache; the result does not depend on it.

    Returns:
      (kept, resamples).
    """
    parts, fixed = _parts(columns, strata, conserved=conserved)
    streams = [draws(part.stratum.digest, len(part.stratum.ids)) for part in parts]
    longest = max((len(part.stratum.ids) for part in parts), default=1)
    chunk = chunk or max(1, _CHUNK_NUMBERS // longest)
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    kept: list[Array] = []
    sums = np.empty(0)
    for number, (part, taken) in enumerate(_taken(parts, streams, sizes)):
        if number % len(parts) == 0:
            sums = np.tile(fixed, (len(taken), 1))
        sums[:, part.columns] += taken.astype(part.matrix.dtype, copy=False) @ part.matrix
        if number % len(parts) == len(parts) - 1:
            kept.append(reduce(sums).T)
    if not parts:
        kept = [np.repeat(reduce(fixed[None, :]).T, resamples, axis=1)]
    return np.concatenate(kept, axis=1)


def _taken(
    parts: Sequence[_Part], streams: Sequence[Counts | Signs], sizes: Sequence[int]
) -> Iterator[tuple[_Part, NDArray[np.float32]]]:
    """Yield the draws of every chunk and stratum in order, drawing the next while the caller works on this one."""
    jobs = [(part, stream, rows) for rows in sizes for part, stream in zip(parts, streams, strict=True)]
    if sum(len(part.stratum.ids) * rows for part, _, rows in jobs) < _CHUNK_NUMBERS:
        # Sooner drawn than a thread is started.
        yield from ((part, stream.take(rows)) for part, stream, rows in jobs)
        return
    with ThreadPoolExecutor(max_workers=1) as ahead:
        # One thread draws, in the order of the jobs: every stream is read as it would be without it.
        waiting: deque[tuple[_Part, Future[NDArray[np.float32]]]] = deque()
        for part, stream, rows in jobs:
            waiting.append((part, ahead.submit(stream.take, rows)))
            if len(waiting) > 1:
                ready, draws = waiting.popleft()
                yield ready, draws.result()
        for ready, draws in waiting:
            yield ready, draws.result()


def _parts(columns: Sequence[Column], strata: Sequence[Stratum], *, conserved: bool) -> tuple[list[_Part], Array]:
    """Split columns into strata; with conserved draws, what is constant over a stratum adds a constant."""
    fixed = np.zeros(len(columns))
    parts = []
    for stratum in strata:
        varying: list[int] = []
        kept: list[Array] = []
        for number, column in enumerate(columns):
            if column.language not in stratum.rows:
                continue
            values = stratum.spread(column.language, column.values)
            if (values == values[0]).all() and (conserved or values[0] == 0.0):
                fixed[number] += values[0] * len(values)
            else:
                varying.append(number)
                kept.append(values)
        # A stratum whose columns are all constant draws nothing: no other stream depends on it.
        if varying:
            groups = exact(np.stack(kept, axis=1))
            parts.append(_Part(stratum, np.array(varying, dtype=np.intp), groups))
    return parts, fixed


def arm_draws(
    statistics: Statistics, strata: Sequence[Stratum], *, resamples: int, seed: int, chunk: int | None = None
) -> dict[str, Array]:
    """Resample examples; one draw serves every arm, seed and language that holds the ids.

    Args:
      statistics: see `cells`.
      strata: of the statistics' ids.
      resamples: number of resamples.
      seed: of the draws.
      chunk: see `product`.

    Returns:
      Arm -> (languages, resamples) scores in points, the mean over the arm's runs; NaN where nothing was counted and
      for languages that the arm does not hold.
    """
    if statistics.curve:
        return _curve_draws(statistics, statistics.curve, strata, resamples=resamples, seed=seed, chunk=chunk)
    columns: list[Column] = []
    scores: list[tuple[str, int, list[tuple[int, int, float]]]] = []
    for language, code in enumerate(statistics.languages):
        arms = [arm for arm, seeds in statistics.seeds.items() if seeds and code in statistics.held[arm]]
        runs = {(arm, s): statistics.values[arm, s, code] for arm in arms for s in statistics.seeds[arm]}
        if not runs:
            continue
        shared = next(iter(runs.values()))[:, 1]
        if all(np.array_equal(values[:, 1], shared) for values in runs.values()):
            # One denominator for all runs (accuracy): the mean over runs is a sum of numerators.
            columns.append(Column(code, shared))
            below = len(columns) - 1
            for arm in arms:
                seeds = statistics.seeds[arm]
                columns.append(Column(code, np.sum([runs[arm, s][:, 0] for s in seeds], axis=0)))
                scores.append((arm, language, [(len(columns) - 1, below, 100.0 / len(seeds))]))
        else:
            for arm in arms:
                seeds = statistics.seeds[arm]
                terms = []
                for s in seeds:
                    columns += [Column(code, runs[arm, s][:, 0]), Column(code, runs[arm, s][:, 1])]
                    terms.append((len(columns) - 2, len(columns) - 1, 100.0 / len(seeds)))
                scores.append((arm, language, terms))
    draws = {arm: np.full((len(statistics.languages), resamples), np.nan) for arm in statistics.seeds}
    if not scores:
        return draws
    flat = [(number, *term) for number, (_, _, terms) in enumerate(scores) for term in terms]
    above, below_, weight = (np.array([row[i] for row in flat]) for i in (1, 2, 3))
    starts = np.flatnonzero(np.diff([-1, *(row[0] for row in flat)]))

    def reduce(sums: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.add.reduceat(sums[:, above] / sums[:, below_] * weight, starts, axis=1)

    def counts(digest: str, n: int) -> Counts:
        return Counts(seed, digest, n)

    drawn = product(columns, strata, resamples, counts, reduce, conserved=True, chunk=chunk)
    for number, (arm, language, _) in enumerate(scores):
        draws[arm][language] = drawn[number]
    return draws


def _curve_draws(
    statistics: Statistics, curve: Curve, strata: Sequence[Stratum], *, resamples: int, seed: int, chunk: int | None
) -> dict[str, Array]:
    """Do what `arm_draws` does for a score that is no ratio: the same draws and sums, another function of them."""
    columns: list[Column] = []
    scores: list[tuple[str, int, list[slice]]] = []
    for arm, seeds in statistics.seeds.items():
        for language, code in enumerate(statistics.languages):
            runs = []
            for s in seeds if code in statistics.held[arm] else ():
                values = statistics.values[arm, s, code]
                runs.append(slice(len(columns), len(columns) + values.shape[1]))
                columns += [Column(code, values[:, i]) for i in range(values.shape[1])]
            if runs:
                scores.append((arm, language, runs))
    draws = {arm: np.full((len(statistics.languages), resamples), np.nan) for arm in statistics.seeds}
    if not scores:
        return draws

    def reduce(sums: Array) -> Array:
        means = [np.mean([curve.score(sums[:, run]) for run in runs], axis=0) for _, _, runs in scores]
        return np.stack(means, axis=1)

    def counts(digest: str, n: int) -> Counts:
        return Counts(seed, digest, n)

    drawn = product(columns, strata, resamples, counts, reduce, conserved=True, chunk=chunk)
    for number, (arm, language, _) in enumerate(scores):
        draws[arm][language] = drawn[number]
    return draws


def sign_flips(
    contributions: Mapping[Key, Mapping[str, Array]],
    strata: Sequence[Stratum],
    *,
    languages: Sequence[str],
    resamples: int,
    seed: int,
    chunk: int | None = None,
) -> dict[Key, Array]:
    """Swap the two systems' answers to random examples; a swapped id is swapped in every language that holds it.

    Args:
      contributions: comparison -> language -> (examples,) contributions to its lift, summing to it.
      strata: of the languages' ids.
      languages: order of the result's rows.
      resamples: number of random swaps.
      seed: of the draws.
      chunk: see `product`.

    Returns:
      Comparison -> (languages, resamples) lifts after swapping; NaN for languages without contributions.
    """
    columns: list[Column] = []
    place: list[tuple[Key, int]] = []
    scale: list[float] = []
    for name, by_language in contributions.items():
        for language, code in enumerate(languages):
            if code in by_language:
                values, factor = _integral(by_language[code])
                columns.append(Column(code, values))
                place.append((name, language))
                scale.append(factor)
    total = np.array([column.values.sum() for column in columns])
    factors = np.array(scale)

    def reduce(sums: Array) -> Array:
        # Signs are 0 or 1, and a swap turns a contribution round: total - 2 * (sum of those swapped).
        return np.asarray((total - 2.0 * sums) / factors)

    def coins(digest: str, n: int) -> Signs:
        return Signs(seed, digest, n)

    lifts = product(columns, strata, resamples, coins, reduce, conserved=False, chunk=chunk)
    flips = {name: np.full((len(languages), resamples), np.nan) for name in contributions}
    for number, (name, language) in enumerate(place):
        flips[name][language] = lifts[number]
    return flips


def _integral(values: Array) -> tuple[Array, float]:
    """Scale contributions to whole numbers where they are multiples of one (accuracy), so that their sums are exact."""
    sizes = np.abs(values[np.abs(values) > 1e-12])
    if sizes.size:
        smallest = float(sizes.min())
        scaled = values / smallest
        if np.abs(scaled).max() < 2**12 and np.abs(scaled - np.rint(scaled)).max() < 1e-6:
            return np.rint(scaled), 1.0 / smallest
    return values, 1.0
