"""What a sweep found: the comparisons of lift.csv, the cells, and what follows from them (seeds, cost, exclusions)."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config import BASELINE
from ..errors import UserError
from ..files import read_json
from ..languages import SOURCE_LANGUAGE
from ..sweep import Cell as CellId
from ..sweep import cell_path
from .run import Run

ALL = "all"
"""Scope, grouping and group of a comparison over every transfer language."""


@dataclass(frozen=True)
class Comparison:
    """One row of lift.csv: an intermediate against the baseline, or one group's lift against another's.

    Scores, lifts and intervals are in points; a value that could not be had is None.
    """

    model: str
    target: str
    metric: str
    intermediate: str
    scope: str
    grouping: str
    group: str
    status: str
    reason: str
    baseline_score: float | None
    score: float | None
    lift: float | None
    ci_low: float | None
    ci_high: float | None
    bca_low: float | None
    bca_high: float | None
    p: float | None
    p_holm: float | None
    p_bh: float | None
    p_signflip: float | None
    detectable_lift: float | None
    resampling: str
    n_languages: int
    n_examples: int
    n_seeds: int
    languages: tuple[str, ...]
    examples_ci_low: float | None
    examples_ci_high: float | None
    examples_p: float | None
    missing: tuple[str, ...]
    contaminated: bool

    @property
    def tested(self) -> bool:
        """Whether there is a lift and a corrected p to speak of."""
        return self.status == "ok" and self.lift is not None and self.p_holm is not None

    def significant(self, alpha: float) -> bool:
        """Whether the lift differs from zero after Holm's correction at level `alpha`."""
        return self.tested and self.p_holm is not None and self.p_holm < alpha


def _number(text: str) -> float | None:
    return float(text) if text else None


def _count(text: str) -> int:
    return int(float(text)) if text else 0


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _true(text: str) -> bool:
    return text.strip().lower() == "true"


_PARSERS: dict[str, Callable[[str], Any]] = {
    "float | None": _number,
    "int": _count,
    "tuple[str, ...]": _codes,
    "bool": _true,
    "str": str,
}


def read_comparisons(path: str | Path) -> list[Comparison]:
    """Read lift.csv.

    Raises:
      UserError: the file is missing, lacks a column, or holds a value of the wrong type; the text names the line.
    """
    rebuild = f"Rebuild it with: snakemake --cores 1 --force {path}"
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            wanted: Mapping[str, str] = Comparison.__annotations__
            lacks = [name for name in wanted if name not in (reader.fieldnames or ())]
            if lacks:
                raise UserError(f"{path}: the columns {', '.join(lacks)} are missing. {rebuild}")
            found = []
            for row in reader:
                try:
                    found.append(Comparison(**{name: _PARSERS[kind](row[name]) for name, kind in wanted.items()}))
                except (ValueError, TypeError) as error:
                    raise UserError(f"{path}: line {reader.line_num}: {error}. {rebuild}") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). {rebuild}") from None
    return found


@dataclass(frozen=True)
class SeedLift:
    """Mean lift of one seed's run over the languages that both arms have."""

    model: str
    target: str
    intermediate: str
    group: str
    """A family, or `all`."""
    seed: int
    n_languages: int
    baseline: float
    score: float

    @property
    def lift(self) -> float:
        return self.score - self.baseline


@dataclass(frozen=True)
class Cost:
    """What one arm on one target cost, all seeds together."""

    model: str
    intermediate: str
    target: str
    runs: int
    train_seconds: float
    predict_seconds: float
    tokens_per_second: float | None
    """Median over runs."""
    peak_memory_mb: float | None
    devices: str


@dataclass(frozen=True)
class Exclusion:
    """Something that is not in the averages, or has to be read with care."""

    what: str
    """`missing`, `not built`, `learned nothing` or `contaminated`."""
    model: str
    intermediate: str
    target: str
    seeds: str
    languages: str
    reason: str


class Results:
    """A run description, its comparisons and its cells."""

    def __init__(self, run: Run, comparisons: Sequence[Comparison], cells: Mapping[CellId, Mapping[str, Any]]) -> None:
        self.run = run
        self.comparisons = list(comparisons)
        self.cells = dict(cells)

    @classmethod
    def read(cls, run: Run, results: str | Path, lift: str | Path) -> Results:
        """Read the comparisons and every cell the run was to build; other cells in the folder are not looked at.

        Raises:
          UserError: lift.csv or a cell is not readable, or a cell says it is another one.
        """
        cells: dict[CellId, Mapping[str, Any]] = {}
        for cell in run.cells():
            path = Path(cell_path(str(results), cell))
            if not path.exists():
                continue
            value = read_json(path)
            identity = tuple(value.get(key) for key in ("model", "intermediate", "target", "seed", "language"))
            if identity != (cell.model, cell.intermediate, cell.target, cell.seed, cell.language):
                raise UserError(
                    f"{path}: the file holds the cell {'/'.join(map(str, identity))}. "
                    f"Rebuild it with: snakemake --cores 1 --force {path}"
                )
            cells[cell] = value
        wanted = (set(run.models), set(run.targets), set(run.arms))
        comparisons = [
            row
            for row in read_comparisons(lift)
            if row.model in wanted[0] and row.target in wanted[1] and row.intermediate in wanted[2]
        ]
        return cls(run, comparisons, cells)

    def select(self, scope: str, **equal: str) -> list[Comparison]:
        """Return the comparisons of a scope whose fields have the given values, in the order of lift.csv."""
        return [
            row
            for row in self.comparisons
            if row.scope == scope and all(getattr(row, name) == value for name, value in equal.items())
        ]

    @cached_property
    def missing(self) -> list[CellId]:
        """Cells that were to be built and are not there."""
        return [cell for cell in self.run.cells() if cell not in self.cells]

    @cached_property
    def groups(self) -> list[str]:
        """The families lift.csv speaks of, in the order they occur; those without a language too."""
        return list(dict.fromkeys(row.group for row in self.select("group", grouping=self.run.families)))

    @cached_property
    def group_of(self) -> dict[str, str]:
        """Transfer language -> family."""
        return {
            code: self.run.fact(code, self.run.families)
            for about in self.run.targets.values()
            for code in about["languages"]
            if code != SOURCE_LANGUAGE
        }

    @cached_property
    def transfer_languages(self) -> list[str]:
        """Every language of the sweep but English, by family, then by name."""
        order = {group: i for i, group in enumerate(self.groups)}
        return sorted(
            self.group_of, key=lambda c: (order.get(self.group_of[c], len(order)), self.run.language_name(c), c)
        )

    @cached_property
    def seed_lifts(self) -> list[SeedLift]:
        """Mean lift of every seed, over all transfer languages and by family; runs that learned nothing are left out.

        Seeds of the two arms are set side by side by their number.
        """
        found = []
        for model in self.run.models:
            for target, about in self.run.targets.items():
                languages = [code for code in about["languages"] if code != SOURCE_LANGUAGE]
                for intermediate in self.run.intermediates:
                    for group in (ALL, *self.groups):
                        members = [c for c in languages if group in (ALL, self.group_of[c])]
                        for seed in self.run.seeds:
                            pairs = [
                                (float(base["score"]), float(other["score"]))
                                for code in members
                                if (base := self._learned(CellId(model, BASELINE, target, seed, code)))
                                and (other := self._learned(CellId(model, intermediate, target, seed, code)))
                            ]
                            if pairs:
                                means = [statistics.fmean(values) for values in zip(*pairs, strict=True)]
                                found.append(
                                    SeedLift(model, target, intermediate, group, seed, len(pairs), means[0], means[1])
                                )
        return found

    def _learned(self, cell: CellId) -> Mapping[str, Any] | None:
        value = self.cells.get(cell)
        return value if value and value.get("learned", True) else None

    @cached_property
    def costs(self) -> list[Cost]:
        """Cost per model, intermediate and target; training seconds count once a run, prediction once a language."""
        arms: dict[tuple[str, str, str], dict[int, list[Mapping[str, Any]]]] = {}
        for cell, value in self.cells.items():
            runs = arms.setdefault((cell.model, cell.intermediate, cell.target), {})
            runs.setdefault(cell.seed, []).append(value.get("cost", {}))
        return [_cost(*arm, runs) for arm, runs in arms.items()]

    @cached_property
    def exclusions(self) -> list[Exclusion]:
        """Missing cells, what was not built, runs that learned nothing, and contaminated pairs, in this order."""
        return [*self._missing(), *self._omitted(), *self._unlearned(), *self._contaminated()]

    def _missing(self) -> Iterable[Exclusion]:
        holes: dict[tuple[str, str, str, int], list[str]] = {}
        for cell in self.missing:
            holes.setdefault((cell.model, cell.intermediate, cell.target, cell.seed), []).append(cell.language)
        for (model, intermediate, target, seed), codes in holes.items():
            yield Exclusion(
                "missing", model, intermediate, target, str(seed), " ".join(codes), "the cell's file is not there"
            )

    def _omitted(self) -> Iterable[Exclusion]:
        for entry in self.run.omitted:
            yield Exclusion("not built", "", "", entry["target"], "", entry["language"], entry["reason"])

    def _unlearned(self) -> Iterable[Exclusion]:
        runs: dict[tuple[str, str, str, int], list[str]] = {}
        for cell, value in self.cells.items():
            if not value.get("learned", True):
                runs.setdefault((cell.model, cell.intermediate, cell.target, cell.seed), []).append(cell.language)
        for (model, intermediate, target, seed), codes in runs.items():
            reason = "at chance level on English dev data; not in any average"
            yield Exclusion("learned nothing", model, intermediate, target, str(seed), " ".join(codes), reason)

    def _contaminated(self) -> Iterable[Exclusion]:
        pairs = {(c.model, c.intermediate, c.target): None for c, v in self.cells.items() if v.get("contaminated")}
        for model, intermediate, target in pairs:
            reason = "the intermediate task holds this target's data; not counted in the answer"
            yield Exclusion("contaminated", model, intermediate, target, "", "", reason)


def _cost(model: str, intermediate: str, target: str, runs: Mapping[int, list[Mapping[str, Any]]]) -> Cost:
    # Every language's cell repeats the training seconds of its run, so the largest counts once.
    speeds = [max(float(c.get("tokens_per_second") or 0) for c in cells) for cells in runs.values()]
    memory = [float(c["peak_memory_mb"]) for cells in runs.values() for c in cells if c.get("peak_memory_mb")]
    return Cost(
        model,
        intermediate,
        target,
        runs=len(runs),
        train_seconds=sum(max(float(c.get("train_seconds") or 0) for c in cells) for cells in runs.values()),
        predict_seconds=sum(float(c.get("predict_seconds") or 0) for cells in runs.values() for c in cells),
        tokens_per_second=statistics.median(speeds) if any(speeds) else None,
        peak_memory_mb=max(memory, default=None),
        devices=", ".join(sorted({str(c["device"]) for cells in runs.values() for c in cells if c.get("device")})),
    )
