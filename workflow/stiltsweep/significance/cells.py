"""Reading the cells of one model and target: which runs there are, and every example's sufficient statistics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import counting
from ..arms import BASELINE
from ..counting import KEEP
from ..errors import UserError, remake
from ..files import SEAL, check_digest, read_record
from ..languages import ENGLISH
from ..layout import Cell, Layout
from ..metrics import Metric, metric
from ..metrics.classes import Curve, labels_of
from ..records import CLUSTER
from ..resampling.clusters import units

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """Something of the grid that is not in the tests."""

    arm: str
    seed: int
    language: str
    """Empty for a whole run."""
    why: str
    """missing; undefined (nothing to score); for whole runs: at-chance, intermediate-at-chance, incomplete."""
    name: str
    """Path below cells/, with the reason after a colon unless it is simply missing."""


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of one model and target, ready to be resampled.

    Every arm (intermediate) is a rectangle: each of its runs (seeds) holds every language of `held[arm]`.
    """

    model: str
    target: str
    metric: str
    languages: tuple[str, ...]
    """Transfer languages asked for, sorted; never the source language."""
    seeds: Mapping[str, tuple[int, ...]]
    """Arm -> seeds of the runs used, ascending; empty where no run is usable. The baseline is an arm."""
    held: Mapping[str, frozenset[str]]
    """Arm -> languages that every used run of it holds."""
    ids: Mapping[str, tuple[str, ...]]
    """Language -> ids of its test examples, sorted; the same in two languages only for the same example."""
    values: Mapping[tuple[str, int, str], Array]
    """(arm, seed, language) -> (examples, 2) numerator and denominator of the score, rows in the order of `ids`; with a
    `curve` (examples, any) of what it is a function of."""
    gaps: tuple[Gap, ...] = ()
    """Cells and runs that are not in the tests."""
    contaminated: frozenset[str] = frozenset()
    """Arms whose intermediate holds this target's data."""
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Language -> cluster of each example, in the order of `ids`; nothing where the data name no clusters."""
    planned: int = 0
    """Runs an arm was to have; 0 where that is not known."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Cell read -> digest of its record."""
    curve: Curve | None = None
    """The score as a function of sums, where it is no ratio."""

    @property
    def intermediates(self) -> tuple[str, ...]:
        """Every arm but the baseline, in the order asked for."""
        return tuple(arm for arm in self.seeds if arm != BASELINE)


def by_unit(statistics: Statistics) -> Statistics:
    """Return the statistics of what is drawn: of clusters where there are any, else of the examples as they are."""
    if not statistics.clusters:
        return statistics
    drawn = units(statistics.ids, statistics.clusters)

    def summed(values: Array, language: str) -> Array:
        names, place = drawn[language]
        return np.stack([np.bincount(place, weights=column, minlength=len(names)) for column in values.T], axis=1)

    return replace(
        statistics,
        ids={language: names for language, (names, _) in drawn.items()},
        values={key: summed(values, key[2]) for key, values in statistics.values.items()},
        clusters={},
    )


def told_apart(language: str, ids: Iterable[str], parallel: str) -> tuple[str, ...]:
    """Return ids that no other language's example has where the data are not parallel (`none`).

    Many data sets number the examples of every language from zero.
    """
    return tuple(f"{language}\t{name}" for name in ids) if parallel == "none" else tuple(ids)


def gap(model: str, arm: str, target: str, seed: int, language: str, why: str) -> Gap:
    """Return a gap with its name."""
    path = f"{model}/{arm}/{target}/seed{seed}" + (f"/{language}" if language else "")
    return Gap(arm, seed, language, why, path if why == "missing" else f"{path}:{why}")


def read(
    results: Path,
    model: str,
    target: str,
    *,
    intermediates: Sequence[str],
    seeds: Sequence[int],
    languages: Sequence[str],
    allow_missing: bool = False,
    failed_intermediates: str = KEEP,
    metric_name: str = "",
    source: str | None = ENGLISH,
) -> Statistics:
    """Read the cells of one model and target.

    Runs that do not count (see `counting`) are left out and named in `gaps`. With `allow_missing`, a run that lacks
    half of its languages or more is left out as a whole, and of the others each language that some run of the arm
    lacks: what remains is a rectangle, so that no mean is taken over different languages in different runs.

    Args:
      results: the results folder.
      model, target: names.
      intermediates: arms, `none` among them.
      seeds: seeds of every arm.
      languages: languages of the target, the source language perhaps among them.
      allow_missing: go on without missing cells, naming them.
      failed_intermediates: what to do with runs that learned on a start that learned nothing (see `counting`).
      metric_name: read the statistics of this metric; left out, those of the cells' main one.
      source: the language that targets are trained in, which is no transfer language and is not read; None reads
        it too, for scores that are no lifts.

    Raises:
      UserError: the grid has no baseline or no transfer language; a cell is missing, is not the cell its path says,
        disagrees with its statistics, or holds other ids than its siblings.
    """
    if BASELINE not in intermediates:
        raise UserError(f"{model}/{target}: the intermediates lack 'none', the baseline every lift is measured from.")
    transfer = tuple(sorted(set(languages) - {source}))
    if not transfer:
        raise UserError(f"{model}/{target}: no transfer language; {source} is the source and never counts as one.")
    grid = [
        (arm, seed, code) for arm in dict.fromkeys(intermediates) for seed in sorted(set(seeds)) for code in transfer
    ]
    cells: dict[tuple[str, int, str], dict[str, Any]] = {}
    gaps: list[Gap] = []
    for key in grid:
        arm, seed, code = key
        path = Path(Layout(str(results)).cell(Cell(model, arm, target, seed, code)))
        if path.is_file() and path.with_suffix(".parquet").is_file():
            cells[key] = _cell(path, model, target, key)
        else:
            gaps.append(gap(model, arm, target, seed, code, "missing"))
    if gaps and not allow_missing:
        shown = ", ".join(f"{lost.name}.json" for lost in gaps[:5]) + (" ..." if len(gaps) > 5 else "")
        raise UserError(
            f"{model}/{target}: {len(gaps)} of {len(grid)} cells are missing below {results / 'cells'}: {shown}. "
            "Hint: build them (snakemake --rerun-incomplete), or set significance.allow_missing: true to test without "
            "them; they are then named in every table."
        )
    if not cells:
        raise UserError(f"{model}/{target}: none of its {len(grid)} cells exists below {results / 'cells'}.")
    _same_recipe(model, target, cells)
    names = [metric_name] if metric_name else sorted({str(cell["metric"]) for cell in cells.values()})
    if len(names) > 1:
        raise UserError(
            f"{model}/{target}: cells are scored by different metrics ({', '.join(names)}); score them anew."
        )
    used, held, left_out = _rectangles(cells, tuple(dict.fromkeys(intermediates)), failed_intermediates)
    parallel = str(next(iter(cells.values()))["parallel"])
    rule = _rule(names[0], results, model, target, next(iter(cells)))
    ids, clusters, values = _values(results, model, target, rule, cells, used, held)
    undefined = [
        gap(model, arm, target, s, code, "undefined")
        for (arm, s, code), v in values.items()
        if not (rule.curve or v[:, 1].sum())
    ]
    return Statistics(
        model=model,
        target=target,
        metric=names[0],
        languages=transfer,
        seeds=used,
        held=held,
        ids={code: told_apart(code, own, parallel) for code, own in ids.items()},
        values=values,
        gaps=(*gaps, *(gap(model, arm, target, s, "", why) for (arm, s), why in left_out.items()), *undefined),
        contaminated=frozenset(arm for (arm, _, _), cell in cells.items() if cell["contaminated"]),
        clusters={code: told_apart(code, own, parallel) for code, own in clusters.items()},
        planned=len(set(seeds)),
        digests={f"{arm}/seed{seed}/{code}": str(cell[SEAL]) for (arm, seed, code), cell in cells.items()},
        curve=rule.curve,
    )


def _rule(name: str, results: Path, model: str, target: str, key: tuple[str, int, str]) -> Metric:
    """Return the metric, by the labels that some cell's statistics are of where it counts by class."""
    if not metric(name).curve:
        return metric(name)
    import pyarrow.parquet as pq

    arm, seed, code = key
    path = Path(Layout(str(results)).cell(Cell(model, arm, target, seed, code))).with_suffix(".parquet")
    names = [column.removeprefix(f"{name}.") for column in pq.read_schema(path).names if column.startswith(f"{name}.")]
    return metric(name, labels_of(names))


def _cell(path: Path, model: str, target: str, key: tuple[str, int, str]) -> dict[str, Any]:
    cell = read_record(path, keys=("score", "metric", "n", "learned", "contaminated", "digests", "recipe"))
    expected = {"model": model, "intermediate": key[0], "target": target, "seed": key[1], "language": key[2]}
    said = {name: cell.get(name) for name in expected}
    if said != expected:
        raise UserError(
            f"{path}: says it is the cell {said}, its path says {expected}. Rebuild it with: {remake(path)}"
        )
    return cell


def _same_recipe(model: str, target: str, cells: Mapping[tuple[str, int, str], Mapping[str, Any]]) -> None:
    """Refuse to average what was made differently: runs of an arm differ in their seed alone.

    Raises:
      UserError: they do not; the text names two of them.
    """
    first: dict[str, tuple[tuple[str, int, str], Mapping[str, Any]]] = {}
    for key, cell in cells.items():
        other, before = first.setdefault(key[0], (key, cell))
        if before["recipe"] != cell["recipe"]:
            one, two = (f"{model}/{arm}/{target}/seed{seed}/{code}.json" for arm, seed, code in (other, key))
            raise UserError(
                f"cells/{one} and cells/{two} were made with different settings, data or code, and cannot be averaged. "
                "Rebuild the older one, with what it is made from: snakemake --cores 1 (`snakemake plan` names it)"
            )


def _rectangles(
    cells: Mapping[tuple[str, int, str], Mapping[str, Any]], arms: Iterable[str], failed_intermediates: str
) -> tuple[dict[str, tuple[int, ...]], dict[str, frozenset[str]], dict[tuple[str, int], str]]:
    """Choose each arm's runs and languages; return (arm -> seeds, arm -> languages, run left out -> why)."""
    used: dict[str, tuple[int, ...]] = {}
    held: dict[str, frozenset[str]] = {}
    left_out: dict[tuple[str, int], str] = {}
    languages = {code for _, _, code in cells}
    for arm in arms:
        runs: dict[int, set[str]] = {}
        for seed in sorted({s for a, s, _ in cells if a == arm}):
            run = {code: cells[arm, seed, code] for code in languages if (arm, seed, code) in cells}
            if why := counting.left_out(run.values(), failed_intermediates):
                left_out[arm, seed] = why
            elif 2 * len(run) <= len(languages):
                left_out[arm, seed] = "incomplete"
            else:
                runs[seed] = set(run)
        used[arm] = tuple(runs)
        held[arm] = frozenset(set.intersection(*runs.values())) if runs else frozenset()
    return used, held, left_out


def _values(
    results: Path,
    model: str,
    target: str,
    rule: Metric,
    cells: Mapping[tuple[str, int, str], Mapping[str, Any]],
    used: Mapping[str, tuple[int, ...]],
    held: Mapping[str, frozenset[str]],
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]], dict[tuple[str, int, str], Array]]:
    """Read the statistics of every used cell, rows sorted by id, with ids and clusters."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [f"{rule.name}.{column}" for column in rule.columns]
    first: dict[str, tuple[pa.ChunkedArray, NDArray[np.intp] | None]] = {}
    ids: dict[str, tuple[str, ...]] = {}
    clusters: dict[str, tuple[str, ...]] = {}
    values: dict[tuple[str, int, str], Array] = {}
    for arm, seeds in used.items():
        for seed in seeds:
            for code in sorted(held[arm]):
                path = Path(Layout(str(results)).cell(Cell(model, arm, target, seed, code))).with_suffix(".parquet")
                again = remake(path.with_suffix(".json"))
                check_digest(path, cells[arm, seed, code]["digests"]["statistics"], again)
                try:
                    # Threads cost more than they give on files this small.
                    file = pq.ParquetFile(path)
                    named = [CLUSTER] if code not in first and CLUSTER in file.schema_arrow.names else []
                    table = file.read(columns=["id", *columns, *named], use_threads=False)
                    statistics = np.stack([table.column(name).to_numpy() for name in columns], axis=1)
                except (OSError, pa.ArrowException, KeyError) as error:
                    raise UserError(
                        f"{path}: not the statistics of {rule.name} ({str(error).splitlines()[0]}). "
                        f"Rebuild it with: {again}"
                    ) from None
                _agree(path, rule, statistics, cells[arm, seed, code])
                names = table.column("id")
                if code in first and names.equals(first[code][0]):
                    order = first[code][1]
                else:
                    order = _order(path, names.to_pylist(), code, ids)
                    first.setdefault(code, (names, order))
                if named:
                    own = table.column(CLUSTER).to_pylist()
                    clusters[code] = tuple(own if order is None else (own[i] for i in order))
                values[arm, seed, code] = rule.reduced(statistics if order is None else statistics[order])
    return ids, clusters, values


def _order(path: Path, names: list[str], code: str, ids: dict[str, tuple[str, ...]]) -> NDArray[np.intp] | None:
    """Return the order that sorts a cell's ids (None: sorted already), after comparing them with its siblings'."""
    order = sorted(range(len(names)), key=names.__getitem__)
    ordered = tuple(names[i] for i in order)
    if len(set(ordered)) < len(ordered):
        twice = next(a for a, b in itertools.pairwise(ordered) if a == b)
        raise UserError(f"{path}: the id {twice!r} occurs twice; score the cell anew.")
    if ids.setdefault(code, ordered) != ordered:
        odd = sorted(set(ids[code]) ^ set(ordered))[:3]
        raise UserError(
            f"{path}: holds other examples than its siblings in {code} (for one: {', '.join(map(repr, odd))}): they "
            "were made from different data and cannot be paired. Predict and score the older one anew."
        )
    return None if order == list(range(len(names))) else np.array(order, dtype=np.intp)


def _agree(path: Path, rule: Metric, statistics: Array, cell: Mapping[str, Any]) -> None:
    """Refuse statistics that do not sum to the score beside them: one of the two files is stale."""
    score = float(rule.score(statistics.sum(axis=0)))
    stated = cell["score"] if rule.name == cell["metric"] else cell["metrics"].get(rule.name)
    same = stated is None if math.isnan(score) else stated is not None and abs(score - stated) < 1e-6
    if len(statistics) != cell["n"] or not same:
        raise UserError(
            f"{path}: sums to {score:.4f} over {len(statistics)} examples, the cell beside it says {stated} over "
            f"{cell['n']}. Score it anew: {remake(path.with_suffix('.json'))}"
        )
