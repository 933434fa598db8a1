"""Score and lift by bucket: the same tests over the test examples that have an attribute in common.

A bucket is a restriction of the statistics to some examples of each language; resampling, intervals and corrections are
the engine's own. Bounds of buckets are the same for all languages, so that "long" means the same in each; a language
then holds more or fewer examples of a bucket, or none, and rows say which languages they are about.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, nearest, remake
from .analysis import Row, compare, correct
from .cells import Statistics, told_apart
from .comparison import columns
from .corrections import benjamini_hochberg, holm
from .estimands import Estimand
from .resampled import Settings, resample

Mask = NDArray[np.bool_]

FEWEST = 5
"""Examples of a language in a bucket. With n of them a resample holds none with probability e^-n (0.7% for five), and a
mean over languages has no value where one has none; so a language with fewer is left out of the bucket."""
MOST = 10
"""Buckets of an attribute that is no number; rarer values share the last of them."""
OTHER = "other"


@dataclass(frozen=True)
class BucketLift:
    """One row of a diagnosis: the lift over the examples of one bucket, in a family, over all, or between families."""

    model: str
    target: str
    metric: str
    intermediate: str
    attribute: str
    bucket: str
    low: float | None
    """Smallest and, `high`, largest value in the bucket; None where the attribute is no number."""
    high: float | None
    group: str
    baseline_score: float | None
    score: float | None
    lift: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    n_examples: int
    n_languages: int
    status: str
    reason: str
    p_holm: float | None
    p_bh: float | None
    scope: str
    languages: tuple[str, ...]

    def significant(self, alpha: float) -> bool:
        """Whether the lift differs from zero after Holm's correction (over all attributes) at level `alpha`."""
        return self.lift is not None and self.p_holm is not None and self.p_holm < alpha


COLUMNS = columns(BucketLift)
"""The columns of a diagnosis."""
_TESTED = ("baseline_score", "score", "lift", "ci_low", "ci_high", "p")


@dataclass(frozen=True)
class Attributes:
    """Attributes of the test examples of one target."""

    ids: Mapping[str, tuple[str, ...]]
    """Language -> ids as `Statistics` has them, sorted; English among them where the target has it."""
    values: Mapping[str, Mapping[str, NDArray[Any]]]
    """Attribute -> language -> (examples,) numbers (NaN: none) or texts (None: none), in the order of `ids`."""

    @classmethod
    def read(cls, path: Path, names: Sequence[str], parallel: str) -> Attributes:
        """Read some attributes of a Parquet file made by `tokenization`.

        Args:
          path: the file.
          names: attributes.
          parallel: of the data, see `cells.told_apart`.

        Raises:
          UserError: it cannot be read, or has no such attribute.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                known = [name for name in file.schema_arrow.names if name not in ("language", "id")]
                for name in names:
                    if name not in known:
                        raise UserError(
                            f"{path}: {name!r} is no attribute; there are: {', '.join(known)}.{nearest(name, known)}"
                        )
                table = file.read(columns=["language", "id", *names], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path}: not readable ({str(error).splitlines()[0]}). "
                f"Rebuild it with: {remake(path.with_suffix('.json'))}"
            ) from None
        languages = table.column("language").to_numpy(zero_copy_only=False)
        ids: dict[str, tuple[str, ...]] = {}
        orders: dict[str, NDArray[np.intp]] = {}
        for code in sorted(set(languages)):
            rows = np.flatnonzero(languages == code)
            own = table.column("id").take(rows).to_pylist()
            order = sorted(range(len(own)), key=own.__getitem__)
            ids[code], orders[code] = told_apart(code, (own[i] for i in order), parallel), rows[order]
        columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in names}
        return cls(ids, {name: {code: columns[name][orders[code]] for code in ids} for name in names})


@dataclass(frozen=True)
class Bucket:
    """Examples that have an attribute in common."""

    attribute: str
    name: str
    members: Mapping[str, Mask]
    """Language -> (examples,) in the order of the attributes' ids."""
    low: float | None = None
    """Smallest and, `high`, largest value in it, both included; None where the attribute is no number."""
    high: float | None = None


def buckets(attributes: Attributes, name: str, count: int) -> list[Bucket]:
    """Divide the examples by one attribute; those without it are in no bucket.

    Args:
      attributes: of all languages, English included.
      name: the attribute.
      count: of a number, how many buckets to cut at the quantiles of all languages' examples together; fewer where
        values tie. Of texts, each value is a bucket of its own, up to `MOST` with the rarest values in one.

    Returns:
      In ascending order, or by falling frequency; none where no example has the attribute.
    """
    values = attributes.values[name]
    everything = np.concatenate(list(values.values())) if values else np.empty(0)
    if everything.dtype == object:
        return _by_value(name, values, [str(value) for value in everything if value is not None])
    known = everything[~np.isnan(everything)]
    if not len(known):
        return []
    # Values that occur: equal ones never fall into two buckets.
    cuts = np.unique(np.quantile(known, np.arange(1, count) / count, method="inverted_cdf"))
    bounds = [-np.inf, *(cut for cut in cuts if cut < known.max()), np.inf]
    pairs = list(itertools.pairwise(bounds))
    within = [known[(below < known) & (known <= upto)] for below, upto in pairs]
    ranges = [(float(part.min()), float(part.max())) for part in within]
    names = [_range(low, high, 3) for low, high in ranges]
    if len(set(names)) < len(names):
        names = [_range(low, high, 6) for low, high in ranges]
    return [
        Bucket(name, text, {code: (below < own) & (own <= upto) for code, own in values.items()}, low, high)
        for text, (below, upto), (low, high) in zip(names, pairs, ranges, strict=True)
    ]


def _range(low: float, high: float, digits: int) -> str:
    """Name a bucket of numbers; whole ones are written in full."""
    texts = [f"{value:.0f}" if value.is_integer() else f"{value:.{digits}g}" for value in (low, high)]
    return "-".join(dict.fromkeys(texts))


def _by_value(name: str, values: Mapping[str, NDArray[Any]], known: Sequence[str]) -> list[Bucket]:
    ranked = sorted(Counter(known).items(), key=lambda item: (-item[1], item[0]))
    kept = [value for value, _ in ranked][: MOST if len(ranked) <= MOST else MOST - 1]
    made = [Bucket(name, value, {code: own == value for code, own in values.items()}) for value in kept]
    if len(ranked) > len(kept):
        rest = np.array([value for value, _ in ranked[len(kept) :]], dtype=object)
        made.append(Bucket(name, OTHER, {code: np.isin(own, rest) for code, own in values.items()}))
    return made


def restrict(statistics: Statistics, attributes: Attributes, members: Mapping[str, Mask]) -> Statistics | None:
    """Return the statistics of some examples only, or None where no language has `FEWEST` of them.

    Args:
      statistics: of all examples.
      attributes: of the same examples.
      members: see `Bucket`.

    Raises:
      UserError: the attributes are of other examples.
    """
    ids: dict[str, tuple[str, ...]] = {}
    at: dict[str, NDArray[np.intp]] = {}
    for code, own in statistics.ids.items():
        if attributes.ids.get(code) != own:
            raise UserError(
                f"{statistics.model}/{statistics.target}: the measures hold other examples in {code} than the cells: "
                "the data have changed in between. Build both anew."
            )
        rows = np.flatnonzero(members[code])
        if len(rows) >= FEWEST:
            at[code] = rows
            ids[code] = tuple(own[i] for i in rows)
    if not at:
        return None
    return replace(
        statistics,
        held={arm: codes.intersection(at) for arm, codes in statistics.held.items()},
        ids=ids,
        clusters={code: tuple(own[i] for i in at[code]) for code, own in statistics.clusters.items() if code in at},
        values={key: values[at[key[2]]] for key, values in statistics.values.items() if key[2] in at},
    )


def diagnose(
    statistics: Statistics,
    attributes: Attributes,
    settings: Settings,
    asked: Sequence[Estimand],
    *,
    count: int = 4,
    minimum: int = 30,
) -> list[Row]:
    """Compare every intermediate with the baseline within every bucket of every attribute.

    Args:
      statistics: of all examples.
      attributes: of the same examples, and perhaps English ones.
      settings: see `Settings`.
      asked: what to estimate; single languages are left out, since few have enough examples in a bucket.
      count: see `buckets`.
      minimum: distinct examples (ids) of a group in a bucket; a group with fewer, or a contrast with one, is n/a.

    Returns:
      Rows with the keys of `COLUMNS`; `p_holm` and `p_bh` are within one scope: all attributes, buckets, groups and
      intermediates.
    """
    asked = [estimand for estimand in asked if estimand.scope != "language"]
    rows: list[Row] = []
    # Looking at seven attributes is looking seven times.
    every: list[Row] = []
    for name in attributes.values:
        divided = buckets(attributes, name, count)
        if len(divided) == 1:
            whole = [estimand for estimand in asked if estimand.scope == "all"]
            rows += _not_tested(statistics, divided[0], whole, "all examples are in this bucket")
            continue
        restricted = ((bucket, restrict(statistics, attributes, bucket.members)) for bucket in divided)
        tested = [
            row for bucket, part in restricted for row in _tested(statistics, bucket, part, settings, asked, minimum)
        ]
        every += tested
        rows += tested
    correct(every, "p_holm", holm)
    correct(every, "p_bh", benjamini_hochberg)
    return [{column: row[column] for column in COLUMNS} for row in rows]


def _tested(
    statistics: Statistics,
    bucket: Bucket,
    restricted: Statistics | None,
    settings: Settings,
    asked: Sequence[Estimand],
    minimum: int,
) -> Iterator[Row]:
    if restricted is None:
        yield from _not_tested(statistics, bucket, asked, f"no language has {FEWEST} examples")
        return
    here = [_within(estimand, restricted) for estimand in asked]
    fewest = [min(_examples(restricted, side) for side in (e.plus, e.minus or e.plus)) for e in asked]
    rows = compare(resample(restricted, settings), here)
    for row, examples in zip(rows, itertools.cycle(fewest), strict=False):
        named = _named(bucket, row)
        if row["status"] == "ok" and examples < minimum:
            reason = f"{examples} examples, fewer than {minimum}"
            named |= dict.fromkeys(_TESTED) | {"status": "n/a", "reason": reason}
        yield named


def _examples(statistics: Statistics, languages: Sequence[str]) -> int:
    """Return how many distinct ids some languages hold."""
    return len({name for code in languages for name in statistics.ids.get(code, ())})


def _within(estimand: Estimand, restricted: Statistics) -> Estimand:
    """Return an estimand with the reason why the bucket has nothing of one of its sides, if so."""
    for side in (estimand.plus, estimand.minus):
        if side and not restricted.ids.keys() & set(side):
            return replace(estimand, absent=f"fewer than {FEWEST} examples in each of {' '.join(side)}")
    return estimand


def _named(bucket: Bucket, row: Row) -> Row:
    about = {"attribute": bucket.attribute, "bucket": bucket.name, "low": bucket.low, "high": bucket.high}
    # Corrected later, over all attributes.
    return row | about | {"p_holm": None, "p_bh": None}


def _not_tested(statistics: Statistics, bucket: Bucket, asked: Sequence[Estimand], reason: str) -> Iterator[Row]:
    for arm in statistics.intermediates:
        for estimand in asked:
            row: Row = dict.fromkeys((*COLUMNS, "grouping"))
            row |= {"model": statistics.model, "target": statistics.target, "metric": statistics.metric}
            row |= {"intermediate": arm, "scope": estimand.scope, "group": estimand.group, "status": "n/a"}
            yield _named(bucket, row | {"reason": reason, "n_examples": 0, "n_languages": 0, "languages": ""})


def parting(rows: Sequence[Mapping[str, Any]], one: str, other: str) -> dict[str, list[dict[str, Any]]]:
    """Find the buckets where two families' lifts part: where their intervals do not overlap.

    Disjoint intervals ask for more than an interval of the difference that leaves out zero (Schenker & Gentleman 2001,
    The American Statistician 55:182); what is listed was looked for among many buckets, so more is right.

    Args:
      rows: of one or several targets, see `diagnose`; numbers may be texts, as CSV has them.
      one, other: families, for example agglutinative and fusional.

    Returns:
      Intermediate -> buckets, the largest difference first: model, target, attribute, bucket, the two families' lifts
      by name, and difference, ci_low, ci_high, p and p_holm of the contrast (None where `rows` lacks it).
    """
    places: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok":
            key = tuple(row[column] for column in ("intermediate", "model", "target", "attribute", "bucket"))
            places.setdefault(key, {})[row["group"]] = row
    parted: dict[str, list[dict[str, Any]]] = {}
    for (arm, model, target, attribute, bucket), groups in places.items():
        if one not in groups or other not in groups:
            continue
        (a, a_low, a_high), (b, b_low, b_high) = (
            [float(groups[name][column]) for column in ("lift", "ci_low", "ci_high")] for name in (one, other)
        )
        if a_low > b_high or b_low > a_high:
            parted.setdefault(arm, []).append(
                {"model": model, "target": target, "attribute": attribute, "bucket": bucket, one: a, other: b}
                | {"difference": a - b}
                | _contrast(groups, one, other)
            )
    return {arm: sorted(listed, key=lambda row: -abs(row["difference"])) for arm, listed in parted.items()}


def _contrast(groups: Mapping[str, Mapping[str, Any]], one: str, other: str) -> dict[str, float | None]:
    """Return interval and p of the difference of two families, which is tested in one direction only."""
    if row := groups.get(f"{one} - {other}"):
        return {key: float(row[key]) for key in ("ci_low", "ci_high", "p", "p_holm")}
    if row := groups.get(f"{other} - {one}"):
        tests = {key: float(row[key]) for key in ("p", "p_holm")}
        return {"ci_low": -float(row["ci_high"]), "ci_high": -float(row["ci_low"]), **tests}
    return dict.fromkeys(("ci_low", "ci_high", "p", "p_holm"))
