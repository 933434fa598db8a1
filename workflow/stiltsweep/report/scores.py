"""Scores as papers print them: benchmarks by groups of tasks, the best arm by dev, published scores beside.

Made from the cells and a run description by scripts/scores.py, before the report, which shows them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..aggregates import entry_metrics
from ..arms import BASELINE
from ..errors import UserError
from ..files import read_record
from ..layout import Cell, Layout
from ..significance import Settings, read
from ..significance.comparison import columns
from ..significance.controls import is_control
from ..significance.levels import Level, Levels, best, mean
from .jobs import read_jobs
from .run import Run

GROUPS = {
    "classification": "sentence pair",
    "multiple_choice": "sentence pair",
    "tagging": "structured",
    "span_qa": "QA",
    "retrieval": "retrieval",
    "mining": "retrieval",
    "generation": "generation",
}
"""Kind of task -> the group under which benchmarks print it."""
BEST = "best by dev"
"""What stands in an arm's place where the arm was chosen for each target."""


@dataclass(frozen=True)
class Score:
    """One row of benchmarks.csv."""

    benchmark: str
    model: str
    intermediate: str
    """An arm, or `BEST`."""
    chosen: str
    """The arm that was chosen, where one was."""
    group: str
    task: str
    """Empty for the mean over all tasks of the benchmark."""
    transfer: bool
    """Whether the source language is left out."""
    metric: str
    score: float | None
    ci_low: float | None
    ci_high: float | None
    n_languages: int
    """Of the benchmark; of the mean over tasks, those that any of them has."""
    n_seeds: int
    contaminated: bool
    reason: str
    """Why there is no score."""


@dataclass(frozen=True)
class Published:
    """One row of published.csv: a published score that has one of ours to stand beside."""

    model: str
    intermediate: str
    target: str
    languages: tuple[str, ...]
    metric: str
    score: float
    """Ours."""
    ci_low: float | None
    ci_high: float | None
    n_seeds: int
    published: float
    paper: str
    source: str
    difference: float
    """Ours less theirs, in points."""
    within: str
    """`yes` or `no`: whether theirs lies within our interval; empty where there is none."""


SCORE_COLUMNS, PUBLISHED_COLUMNS = columns(Score), columns(Published)
CATALOGUE = ("model", "intermediate", "target", "languages", "metric", "score", "paper", "source")
"""The columns of a catalogue's published.csv."""


@dataclass
class Reader:
    """Reads the statistics of a sweep's targets once for each metric."""

    run: Run
    results: Path
    _known: dict[tuple[str, str, str], Levels | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = Settings.of(self.run.significance)

    def contaminated(self, model: str, arm: str, target: str) -> bool:
        """Whether an arm's intermediate holds a target's data."""
        record = self.cell(model, target, [arm])
        return bool(record and record["contaminated"])

    def cell(self, model: str, target: str, arms: Sequence[str] = ()) -> Mapping[str, Any] | None:
        """Return some cell's record, of one of some arms if they are named."""
        for arm in arms or self.run.arms:
            for seed in self.run.seeds:
                for code in self.run.targets[target]["languages"]:
                    path = Path(Layout(str(self.results)).cell(Cell(model, arm, target, seed, code)))
                    if path.is_file():
                        record: Mapping[str, Any] = read_record(path)
                        return record
        return None

    def levels(self, model: str, target: str, metric: str) -> Levels | None:
        """Return the scores of a model on a target under a metric; None if there are no cells that hold it."""
        key = model, target, metric
        if key not in self._known:
            record = self.cell(model, target)
            self._known[key] = None
            if record is not None and metric in record["metrics"]:
                left_out = {e["intermediate"] for e in self.run.omitted if e["target"] == target and not e["language"]}
                statistics = read(
                    self.results,
                    model,
                    target,
                    intermediates=[arm for arm in self.run.arms if arm not in left_out],
                    seeds=self.run.seeds,
                    languages=self.run.targets[target]["languages"],
                    # What is missing is said in the row; here it must not stop the others.
                    allow_missing=True,
                    failed_intermediates=self.run.failed_intermediates,
                    metric_name=metric,
                    source=None,
                )
                self._known[key] = Levels(statistics, self.settings)
        return self._known[key]

    def level(self, model: str, arm: str, target: str, metrics: Sequence[str], codes: Sequence[str]) -> Level | None:
        """Return the mean over metrics and languages; None if something of it is missing."""
        levels = [self.levels(model, target, metric) for metric in metrics]
        parts = [one.of(arm, codes) if one else None for one in levels]
        whole = [part for part in parts if part is not None]
        return mean(whole) if whole and len(whole) == len(parts) else None

    def seeds(self, model: str, arm: str, target: str, metrics: Sequence[str]) -> int:
        """Return how many runs a score is a mean over."""
        levels = self.levels(model, target, metrics[0])
        return len(levels.seeds.get(arm, ())) if levels else 0


def benchmark_rows(reader: Reader) -> Iterable[Score]:
    """Yield every task's and the overall score of every benchmark, of every model and arm, in all languages and without
    the source language.
    """
    run = reader.run
    dev = _dev_scores(reader)
    for benchmark, tasks in run.benchmarks.items():
        if not run.targets.keys() & tasks.keys():
            continue
        for model in run.models:
            for transfer in (False, True):
                arms = [*run.arms, BEST] if run.intermediates else run.arms
                for arm in arms:
                    yield from _rows(reader, dev, benchmark, tasks, model, arm, transfer)


def _rows(
    reader: Reader,
    dev: Mapping[tuple[str, str, str], Mapping[int, float]],
    benchmark: str,
    tasks: Mapping[str, Sequence[str]],
    model: str,
    arm: str,
    transfer: bool,
) -> Iterable[Score]:
    run, confidence = reader.run, reader.settings.confidence
    levels: list[Level] = []
    made: list[Score] = []
    for task, offered in tasks.items():
        codes = [code for code in offered if not (transfer and code == run.source)]
        record = reader.cell(model, task) if task in run.targets else None
        metrics = entry_metrics(record) if record else []
        chosen, level = "", None
        reason = "" if metrics else "not in this sweep"
        contaminated = False
        if metrics and not codes:
            reason = "no language but the source"
        elif metrics and arm == BEST:
            chosen, level, reason = _best(reader, dev, model, task, metrics, codes)
        elif metrics:
            level = reader.level(model, arm, task, metrics, codes)
            if not level:
                lacking = [code for code in codes if reader.level(model, arm, task, metrics, [code]) is None]
                reason = f"missing: {' '.join(lacking)}"
            contaminated = reader.contaminated(model, arm, task)
        if level:
            levels.append(level)
        low, high = level.interval(confidence) if level else (None, None)
        kind = str(run.targets[task]["kind"]) if task in run.targets else ""
        seeds = reader.seeds(model, chosen or arm, task, metrics) if level else 0
        score = round(level.score, 9) if level else None
        names = (benchmark, model, arm, chosen, GROUPS.get(kind, ""), task, transfer, " ".join(metrics))
        made.append(Score(*names, score, low, high, len(codes), seeds, contaminated, reason))
    yield from made
    whole = mean(levels) if len(levels) == len(tasks) else None
    low, high = whole.interval(confidence) if whole else (None, None)
    gaps = ", ".join(f"{row.task} ({row.reason})" for row in made if row.score is None)
    seeds = min((row.n_seeds for row in made), default=0)
    touched = any(row.contaminated for row in made)
    names = (benchmark, model, arm, "", "", "", transfer, "")
    languages = {code for offered in tasks.values() for code in offered if not (transfer and code == run.source)}
    yield Score(*names, round(whole.score, 9) if whole else None, low, high, len(languages), seeds, touched, gaps)


def _best(
    reader: Reader,
    dev: Mapping[tuple[str, str, str], Mapping[int, float]],
    model: str,
    task: str,
    metrics: Sequence[str],
    codes: Sequence[str],
) -> tuple[str, Level | None, str]:
    """Return the arm chosen for a target among its intermediate tasks, its score, and why there is none."""
    run = reader.run
    trainings = run.targets[task].get("trainings", [])
    if not trainings:
        return "", None, "not trained on: no dev score to choose by"
    levels, scores = {}, {}
    for arm in run.intermediates:
        if is_control(arm) or reader.contaminated(model, arm, task):
            continue
        level = reader.level(model, arm, task, metrics, codes)
        # The choice is between what is scored: a run that does not count has no say in it.
        levels_of = reader.levels(model, task, metrics[0])
        counted = levels_of.seeds.get(arm, ()) if levels_of else ()
        by_seed = {s: score for s, score in dev.get((model, arm, trainings[-1]), {}).items() if s in counted}
        if level and by_seed:
            levels[arm], scores[arm] = level, by_seed
    if not levels:
        return "", None, "no arm to choose from has all its languages and a dev score"
    arm, level = best(levels, scores, reader.settings)
    return arm, level, ""


def _dev_scores(reader: Reader) -> dict[tuple[str, str, str], dict[int, float]]:
    """Return (model, arm, training) -> seed -> dev score of the runs that learned."""
    scores: dict[tuple[str, str, str], dict[int, float]] = {}
    for job in read_jobs(reader.run, Layout(str(reader.results))):
        score = job.checkpoint.get("dev", {}).get("score")
        if job.stage == "finetune" and score is not None and job.checkpoint.get("learned", True):
            scores.setdefault((job.model, job.intermediate, job.target), {})[job.seed] = float(score)
    return scores


def published_rows(reader: Reader, tables: Iterable[Path]) -> Iterable[Published]:
    """Yield the published scores of catalogues whose model, arm, target, languages and metric this sweep has."""
    run = reader.run
    if not run.usual:  # published scores are zero-shot from English
        return
    for table in tables:
        for row in read_published(table):
            model, arm, target, codes = row["model"], row["intermediate"], row["target"], row["languages"].split()
            if model not in run.models or arm not in run.arms or target not in run.targets:
                continue
            level = reader.level(model, arm, target, [row["metric"]], codes)
            if level is None:
                continue
            low, high = level.interval(reader.settings.confidence)
            theirs = float(row["score"])
            yield Published(
                model=model,
                intermediate=arm,
                target=target,
                languages=tuple(codes),
                metric=row["metric"],
                score=round(level.score, 9),
                ci_low=low,
                ci_high=high,
                n_seeds=reader.seeds(model, arm, target, [row["metric"]]),
                published=theirs,
                paper=row["paper"],
                source=row["source"],
                difference=round(level.score - theirs, 9),
                within="" if low is None or high is None else "yes" if low <= theirs <= high else "no",
            )


def read_published(path: Path) -> list[dict[str, str]]:
    """Read a catalogue's published.csv.

    Raises:
      UserError: a column is missing, or a score is no number; the text names the line.
    """
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        lacks = [name for name in CATALOGUE if name not in (reader.fieldnames or ())]
        if lacks:
            raise UserError(f"{path}: the columns {', '.join(lacks)} are missing; it needs {', '.join(CATALOGUE)}.")
        rows = []
        for row in reader:
            try:
                float(row["score"])
            except (TypeError, ValueError):
                raise UserError(f"{path}: line {reader.line_num}: score: {row['score']!r} is not a number.") from None
            rows.append(
                {name: (row[name] or "").strip() for name in CATALOGUE}
                | {"intermediate": row["intermediate"] or BASELINE}
            )
    return rows
