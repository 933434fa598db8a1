"""What a sweep found: the comparisons of lift.csv, the cells, and what follows from them (seeds, cost, exclusions)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import counting, cuts
from ..errors import UserError, remake
from ..files import read_record
from ..layout import Cell as CellId
from ..layout import Layout
from ..probing.table import Probe
from ..significance.comparison import Comparison
from ..significance.controls import Control
from ..significance.runs import RunScore
from ..significance.sensitivity import LACKS, Relabelled
from ..significance.table import read_csv
from ..significance.targets import SCOPE as TARGETS
from ..typology.tables import Omnibus, Term
from .jobs import Job, failure, read_jobs, read_models
from .measured import Measured
from .run import Run
from .scores import Published, Score

ALL = "all"
"""Scope, grouping and group of a comparison over every transfer language."""
LEARNED_NOTHING, START_LEARNED_NOTHING = "learned nothing", "intermediate learned nothing"
"""What an exclusion is called whose run, or whose run's start, ended at chance level."""


def read_cell(path: Path, cell: CellId) -> Mapping[str, Any]:
    """Read the record of a cell.

    Raises:
      UserError: it is not readable, was changed, or is another cell's.
    """
    record = read_record(path)
    names = tuple(record.get(key) for key in ("model", "intermediate", "target", "seed", "language"))
    if names != (cell.model, cell.intermediate, cell.target, cell.seed, cell.language):
        raise UserError(f"{path}: the file holds the cell {'/'.join(map(str, names))}. Rebuild it with: {remake(path)}")
    return record


@dataclass(frozen=True)
class Exclusion:
    """Something that is not in the averages, or has to be read with care."""

    what: str
    """`missing`, `not built`, `learned nothing`, `intermediate learned nothing` or `contaminated`."""
    model: str
    intermediate: str
    target: str
    seeds: str
    languages: str
    reason: str


class Results:
    """A run description, its comparisons and its cells."""

    def __init__(
        self,
        run: Run,
        comparisons: Sequence[Comparison],
        cells: Mapping[CellId, Mapping[str, Any]],
        *,
        controls: Sequence[Control] = (),
        means: Sequence[Comparison] = (),
        runs: Sequence[RunScore] = (),
        relabelled: Sequence[Relabelled] = (),
        omnibus: Sequence[Omnibus] = (),
        types: Sequence[Term] = (),
        predictors: Sequence[Term] = (),
        jobs: Sequence[Job] = (),
        models: Mapping[str, Mapping[str, Any]] | None = None,
        failures: Mapping[CellId, str] | None = None,
        measured: Measured | None = None,
        scores: Sequence[Score] = (),
        published: Sequence[Published] = (),
    ) -> None:
        self.run = run
        order = [{name: i for i, name in enumerate(names)} for names in (run.models, run.targets, run.intermediates)]

        def place(row: Comparison | RunScore) -> tuple[int, int, int]:
            return order[0][row.model], order[1][row.target], order[2].get(row.intermediate, -1)

        self.comparisons = sorted(comparisons, key=place)
        self.controls = sorted(controls, key=place)
        # The arms that help most come first.
        self.means = sorted(means, key=lambda row: (order[0][row.model], -(row.lift or 0.0)))
        """Rows of all targets together."""
        self.seed_scores = sorted(runs, key=place)
        self.cells = dict(cells)
        self.relabelled = list(relabelled)
        self.omnibus = list(omnibus)
        self.types = list(types)
        self.predictors = list(predictors)
        self.jobs = list(jobs)
        self.models = dict(models or {})
        self.failures = dict(failures or {})
        self.measured = measured or Measured()
        self.scores = list(scores)
        self.published = list(published)

    @classmethod
    def read(cls, run: Run, results: str | Path, lift: str | Path) -> Results:
        """Read the comparisons and every cell the run was to build; other cells in the folder are not looked at.

        Args:
          run: the run description.
          results: the results folder.
          lift: lift.csv; the other tables of scripts/lift.py are read where they lie beside it.

        Raises:
          UserError: one of the files is not readable, or a cell says it is another one.
        """
        cells: dict[CellId, Mapping[str, Any]] = {}
        failures: dict[CellId, str] = {}
        layout = Layout(str(results))
        for cell in run.cells():
            path = Path(layout.cell(cell))
            if not path.exists():
                failures[cell] = failure(run, layout, cell)
                continue
            cells[cell] = read_cell(path, cell)

        def asked(row: Comparison | RunScore) -> bool:
            return row.model in run.models and row.target in run.targets and row.intermediate in run.arms

        names = ("controls.csv", "runs.csv", "sensitivity.csv")
        beside, runs, sensitivity = (Path(lift).with_name(name) for name in names)
        controls = read_csv(beside, Control, optional=True)
        relabelled = read_csv(sensitivity, Relabelled, LACKS, optional=True)
        comparisons = read_csv(lift, Comparison)
        return cls(
            run,
            [row for row in comparisons if asked(row)],
            cells,
            means=[row for row in comparisons if row.scope == TARGETS and row.model in run.models],
            controls=[row for row in controls if asked(row)],
            runs=[row for row in read_csv(runs, RunScore, optional=True) if asked(row)],
            relabelled=[row for row in relabelled if asked(row)],
            omnibus=read_csv(layout.pattern("omnibus"), Omnibus, optional=True),
            types=read_csv(layout.pattern("types"), Term, optional=True),
            predictors=read_csv(layout.pattern("predictors"), Term, optional=True),
            jobs=read_jobs(run, layout),
            models=read_models(run, layout),
            failures=failures,
            measured=Measured.read(run, layout),
            scores=read_csv(Path(lift).with_name("benchmarks.csv"), Score, optional=True),
            published=read_csv(Path(lift).with_name("published.csv"), Published, optional=True),
        )

    @cached_property
    def cut(self) -> dict[tuple[str, str, str], dict[str, int]]:
        """(Model, target, language) -> what is cut of its test data (see `cuts`), summed over arms and seeds.

        Inputs are the same in all of them, and their shares so too; answers are not.
        """
        counted: dict[tuple[str, str, str], list[cuts.Counts]] = {}
        for cell, value in self.cells.items():
            if value.get("cut"):
                counted.setdefault((cell.model, cell.target, cell.language), []).append(value["cut"])
        return {key: cuts.added(counts) for key, counts in counted.items()}

    def cut_share(self, part: cuts.Part, model: str, target: str, language: str) -> float | None:
        """Return the per cent of a language's inputs (answers, words) that are cut; None where it has none."""
        counts = self.cut.get((model, target, language), {})
        return 100.0 * counts[part.cut] / counts[part.total] if counts.get(part.total) else None

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
        """The families lift.csv speaks of, in the order they occur, those without a language too; then any others."""
        tested = [row.group for row in self.select("group", grouping=self.run.families)]
        return list(dict.fromkeys([*tested, *sorted(set(self.group_of.values()) - {""})]))

    @cached_property
    def group_of(self) -> dict[str, str]:
        """Transfer language -> family."""
        return {
            code: self.run.fact(code, self.run.families)
            for about in self.run.targets.values()
            for code in about["languages"]
            if code != self.run.source
        }

    @cached_property
    def transfer_languages(self) -> list[str]:
        """Every language of the sweep but the source, by family, then by name."""
        order = {group: i for i, group in enumerate(self.groups)}
        return sorted(
            self.group_of, key=lambda c: (order.get(self.group_of[c], len(order)), self.run.language_name(c), c)
        )

    @cached_property
    def resampled(self) -> list[str]:
        """What the tests drew anew (`examples`, `seeds`, `languages`): of one run of each arm no seeds are drawn."""
        asked = str(self.run.significance["resampling"]).split("+")
        drawn = {what for row in self.comparisons if row.tested for what in row.resampling.split("+")}
        return [what for what in asked if what in drawn] or asked

    @cached_property
    def runs(self) -> dict[tuple[str, str, str, int], dict[str, Mapping[str, Any]]]:
        """(Model, intermediate, target, seed) -> language -> cell."""
        runs: dict[tuple[str, str, str, int], dict[str, Mapping[str, Any]]] = {}
        for cell, value in self.cells.items():
            runs.setdefault((cell.model, cell.intermediate, cell.target, cell.seed), {})[cell.language] = value
        return runs

    @cached_property
    def left_out(self) -> set[tuple[str, str, str, int]]:
        """Those of `runs` that are in no average (see `counting`)."""
        how = self.run.failed_intermediates
        return {run for run, cells in self.runs.items() if counting.left_out(cells.values(), how)}

    @cached_property
    def probes(self) -> list[Probe]:
        """The sweep's probes, without those of targets' trainings that are in no average."""
        last = {name: about["trainings"][-1] for name, about in self.run.targets.items() if about["trainings"]}
        lost = {(model, arm, last.get(target, ""), seed) for model, arm, target, seed in self.left_out}
        return [
            one
            for one in self.measured.probes
            if one.stage != "target" or (one.model, one.intermediate, one.training, one.seed) not in lost
        ]

    @cached_property
    def contaminated(self) -> int:
        """How many pairs of intermediate and target are contaminated; a pair is one, whatever the number of models."""
        return len({(one.intermediate, one.target) for one in self._contaminated()})

    @cached_property
    def exclusions(self) -> list[Exclusion]:
        """Missing cells, what was not built, runs that learned nothing, and contaminated pairs, in this order."""
        return [*self._missing(), *self._omitted(), *self._unlearned(), *self._contaminated()]

    def _missing(self) -> Iterable[Exclusion]:
        holes: dict[tuple[str, str, str, int, str], list[str]] = {}
        for cell in self.missing:
            reason = self.failures.get(cell) or "the cell's file is not there"
            holes.setdefault((cell.model, cell.intermediate, cell.target, cell.seed, reason), []).append(cell.language)
        for (model, intermediate, target, seed, reason), codes in holes.items():
            yield Exclusion("missing", model, intermediate, target, str(seed), " ".join(codes), reason)

    def _omitted(self) -> Iterable[Exclusion]:
        for entry in self.run.omitted:
            yield Exclusion(
                "not built", "", entry["intermediate"], entry["target"], "", entry["language"], entry["reason"]
            )

    def _unlearned(self) -> Iterable[Exclusion]:
        """Runs that learned nothing; then runs whose start learned nothing, whether or not they count."""
        kept = self.run.failed_intermediates == counting.KEEP
        started = []
        for (model, intermediate, target, seed), cells in self.runs.items():
            values = list(cells.values())
            entry = (model, intermediate, target, str(seed), " ".join(cells))
            failed = ", ".join(dict.fromkeys(stage for value in values for stage in counting.failed_stages(value)))
            if not all(value.get("learned", True) for value in values):
                reason = "at chance level on dev data; not in any average"
                yield Exclusion(LEARNED_NOTHING, *entry, reason + (f" (before it {failed} was, too)" if failed else ""))
            elif failed:
                reason = f"{failed} ended at chance level on its dev data; the run itself learned"
                reason += " and counts" if kept else " and is in no average (failed_intermediates: leave_out)"
                started.append(Exclusion(START_LEARNED_NOTHING, *entry, reason))
        yield from started

    def _contaminated(self) -> Iterable[Exclusion]:
        pairs = {(c.model, c.intermediate, c.target): None for c, v in self.cells.items() if v.get("contaminated")}
        for model, intermediate, target in pairs:
            reason = "the intermediate task holds this target's data; not counted in the answer"
            yield Exclusion("contaminated", model, intermediate, target, "", "", reason)
