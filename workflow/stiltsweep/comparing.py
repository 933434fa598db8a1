"""Two sweeps side by side: what differs in settings, cells and lifts, by how much, and whether seeds explain it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from . import counting, identity
from .arms import BASELINE
from .errors import UserError
from .files import canonical, read_json, read_record
from .languages import ENGLISH
from .layout import Cell, Layout

Scores = Mapping[Cell, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """The cells of one model, intermediate and target in both sweeps."""

    model: str
    intermediate: str
    target: str
    cells: int
    """In both."""
    changed: int
    """Of these, with another score."""
    difference: float
    """Points: mean over the languages and runs of the second sweep less that of the first."""
    spread: float | None
    """Points: standard error of that difference, from the runs of both sweeps; None with one run a sweep."""
    verdict: str
    """`same`, `within seeds`, `beyond seeds`, or `one seed`."""


def read(folder: Path) -> dict[Cell, Mapping[str, Any]]:
    """Return every cell of a results folder.

    Raises:
      UserError: there is none, or one is not readable.
    """
    layout = Layout(str(folder))
    files = sorted(Path(layout.folder("cell")).rglob("*.json"))
    paths = [path for path in files if (at := layout.place(path)) and at.place == "cell"]
    if not paths:
        raise UserError(f"{folder}: holds no cells. Name a folder that `results:` of a configuration named.")
    return {layout.cell_of(path): read_record(path, keys=("score",)) for path in paths}


def settings(folder: Path) -> dict[str, str]:
    """Return the settings of a sweep by dotted key, as its report recorded them; empty without a report.

    Raises:
      UserError: what the report recorded was changed afterwards.
    """
    path = Path(Layout(str(folder)).path("description"))
    if not path.is_file():
        return {}
    import yaml

    identity.made(path)
    return dict(_flat(yaml.safe_load(read_json(path)["configuration"]), ""))


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, canonical(value)


def changes(one: Scores, other: Scores, confidence: float = 0.95) -> list[Change]:
    """Compare the cells that both sweeps hold, by model, intermediate and target.

    The difference of the means is beyond the spread of seeds if Welch's t test of the runs' means over languages says
    so at this confidence. Runs are seeds; languages and examples are held fixed.
    """
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in sorted(one.keys() & other.keys()):
        groups.setdefault((cell.model, cell.intermediate, cell.target), []).append(cell)
    made = []
    for names, cells in groups.items():
        changed = sum(one[cell]["score"] != other[cell]["score"] for cell in cells)
        a, b = (_runs(cells, scores) for scores in (one, other))
        difference = fmean(b) - fmean(a)
        spread, verdict = _verdict(a, b, difference, confidence) if changed else (None, "same")
        made.append(Change(*names, len(cells), changed, difference, spread, verdict))
    return made


@dataclass(frozen=True)
class Lift:
    """What one intermediate task brings on one target, in both sweeps."""

    model: str
    intermediate: str
    target: str
    languages: int
    """Transfer languages that all runs of both sweeps have."""
    first: float
    second: float
    """Points: mean lift over these languages and the runs."""
    spread: float | None
    verdict: str
    """As of `Change`, of the difference between the two lifts."""


def sources(settings: Mapping[str, str]) -> set[str]:
    """Return the source language of a sweep's settings, which is no transfer language; English where they name none."""
    return {json.loads(stated)[0]} if (stated := settings.get("source_language")) else {ENGLISH}


def failed_intermediates(settings: Mapping[str, str]) -> str:
    """Return what a sweep does with runs that learned on a start that learned nothing."""
    stated = settings.get("significance.failed_intermediates")
    return str(json.loads(stated)) if stated else counting.KEEP


def lifts(
    one: Scores,
    other: Scores,
    sources: Collection[str] = (ENGLISH,),
    confidence: float = 0.95,
    failed: tuple[str, str] = (counting.KEEP, counting.KEEP),
) -> list[Lift]:
    """Compare lifts over the baseline `none` of the same seed, over the languages that all runs of both sweeps have.

    Args:
      one, other: cells of both.
      sources: languages that are a source in either, and so no transfer language of both.
      confidence: of the verdict.
      failed: of both, what is done with runs that learned on a start that learned nothing (see `counting`). Runs that
        do not count are left out, as they are of lift.csv.
    """
    names = sorted({(cell.model, cell.intermediate, cell.target) for cell in one.keys() & other.keys()})
    compared = []
    for model, arm, target in names:
        if arm == BASELINE:
            continue
        sides = [
            _by_run(scores, model, arm, target, sources, how) for scores, how in zip((one, other), failed, strict=True)
        ]
        languages = set.intersection(*(set(run) for side in sides for run in side.values())) if all(sides) else set()
        if not languages:
            continue
        a, b = ([fmean(run[code] for code in sorted(languages)) for run in side.values()] for side in sides)
        first, second = fmean(a), fmean(b)
        same = first == second
        spread, verdict = (None, "same") if same else _verdict(a, b, second - first, confidence)
        compared.append(Lift(model, arm, target, len(languages), first, second, spread, verdict))
    return compared


def _by_run(
    scores: Scores, model: str, arm: str, target: str, sources: Collection[str], failed: str
) -> dict[int, dict[str, float]]:
    """Return the lift of every run in every transfer language, of the runs that the baseline has too."""
    runs: dict[int, dict[str, float]] = {}
    for cell, record in scores.items():
        if (cell.model, cell.intermediate, cell.target) == (model, arm, target) and cell.language not in sources:
            base = scores.get(Cell(model, BASELINE, target, cell.seed, cell.language))
            if base is not None and not counting.left_out((record, base), failed):
                runs.setdefault(cell.seed, {})[cell.language] = float(record["score"]) - float(base["score"])
    return dict(sorted(runs.items()))


def _runs(cells: Sequence[Cell], scores: Scores) -> list[float]:
    runs: dict[int, list[float]] = {}
    for cell in cells:
        runs.setdefault(cell.seed, []).append(float(scores[cell]["score"]))
    return [fmean(values) for values in runs.values()]


_SAME = 1e-9
"""Points below which scores differ by rounding alone."""


def _verdict(a: list[float], b: list[float], difference: float, confidence: float) -> tuple[float | None, str]:
    if len(a) < 2 or len(b) < 2:
        return None, "one seed"
    parts = [variance(runs) / len(runs) for runs in (a, b)]
    error = math.sqrt(sum(parts))
    if error < _SAME:
        return 0.0, "beyond seeds" if abs(difference) >= _SAME else "within seeds"
    from scipy.stats import t

    freedom = sum(parts) ** 2 / sum(part**2 / (len(runs) - 1) for part, runs in zip(parts, (a, b), strict=True))
    beyond = abs(difference) > error * float(t.ppf((1 + confidence) / 2, freedom))
    return error, "beyond seeds" if beyond else "within seeds"
