"""Tables of scores as papers print them, and of published scores beside ours (see `scores`)."""

from __future__ import annotations

from collections.abc import Sequence

from . import text
from .results import Results
from .scores import GROUPS, Score
from .table import Column, Table, Value

_LANGUAGES = Column("languages", "languages", choose=True, of=lambda row: "transfer" if row.transfer else "all")


def build(results: Results) -> dict[str, Table]:
    """Make every table, by name."""
    return {table.name: table for table in (printed(results), benchmarks(results), published(results))}


def benchmarks(results: Results) -> Table:
    """Scores as benchmarks compute them, one row each; empty where no target belongs to one."""
    columns = [
        Column("benchmark", "benchmark", choose=True),
        Column("model", "model", choose=True),
        Column("intermediate", "intermediate", choose=True),
        Column("chosen", "chosen"),
        Column("group", "group", choose=True),
        Column("task", "task", choose=True, of=lambda row: row.task or "mean over tasks"),
        _LANGUAGES,
        Column("metric", "metric"),
        Column("score", "score", "score"),
        Column("ci", "interval", "interval"),
        Column("n_languages", "languages", "count"),
        Column("n_seeds", "seeds", "count"),
        Column("remarks", "remarks", of=_reservations),
    ]
    note = (
        "A task's score is the mean over its languages and seeds; bold: the mean over all tasks of the benchmark. The "
        "best arm by dev is chosen anew in every resample, with the runs drawn and dev examples held fixed."
    )
    marks = [not row.task for row in results.scores]
    return Table.of("benchmarks", "Benchmark scores, one a row", columns, results.scores, note=note, marks=marks)


def printed(results: Results) -> Table:
    """One row a model and arm, one column a task, by groups, as papers print benchmarks; empty where there is none."""
    rows = results.scores
    place = {group: i for i, group in enumerate(dict.fromkeys(GROUPS.values()))}
    tasks = sorted(
        dict.fromkeys((row.group, row.task) for row in rows if row.task and row.group), key=lambda one: place[one[0]]
    )
    columns = [
        Column("benchmark", "benchmark", choose=True),
        Column("model", "model", choose=True),
        Column("intermediate", "intermediate", choose=True),
        _LANGUAGES,
        *(Column(task, f"{group}: {task}") for group, task in tasks),
        Column("mean", "mean over tasks"),
    ]
    lines: dict[tuple[str, str, str, bool], dict[str, Score]] = {}
    for row in rows:
        lines.setdefault((row.benchmark, row.model, row.intermediate, row.transfer), {})[row.task] = row
    values: list[list[Value]] = []
    for (benchmark, model, arm, transfer), scores in lines.items():
        shown = [_shown(scores.get(task)) for _, task in tasks]
        named = [benchmark, model, arm, "transfer" if transfer else "all"]
        values.append([*named, *shown, _shown(scores.get(""))])
    note = (
        "Mean over the languages of the benchmark, in points, with intervals from the draws of the tests; languages: "
        "all, or transfer, without the source language. The mean over tasks needs every task of the benchmark."
    )
    return Table("benchmark_table", "Benchmark scores by groups of tasks", columns, values, note)


def published(results: Results) -> Table:
    """Our scores beside published ones; empty where nothing agrees in model, task, languages and metric."""
    columns = [
        Column("model", "model", choose=True),
        Column("intermediate", "intermediate", choose=True),
        Column("target", "target", choose=True),
        Column("languages", "languages", of=lambda row: _codes(row.languages)),
        Column("metric", "metric"),
        Column("score", "ours", "score"),
        Column("ci", "interval", "interval"),
        Column("published", "published", "score"),
        Column("difference", "difference", "lift"),
        Column("within", "within", choose=True),
        Column("n_seeds", "seeds", "count"),
        Column("paper", "published in"),
        Column("source", "value read from"),
    ]
    note = (
        "difference: ours less the published score, in points. within: whether the published score lies within our "
        "interval, which holds our examples and runs and not what differs in theirs (runs, settings, scripts)."
    )
    return Table.of("published", "Beside published scores", columns, results.published, note=note)


def _codes(languages: Sequence[str]) -> str:
    return " ".join(languages) if len(languages) < 4 else f"{len(languages)}: {' '.join(languages)}"


def _shown(row: Score | None) -> str:
    if row is None or row.score is None:
        return "n/a"
    mark = "†" if row.contaminated else ""
    chosen = f" ({row.chosen})" if row.chosen else ""
    interval = f" {text.interval(row.ci_low, row.ci_high)}" if row.ci_low is not None else ""
    return f"{text.points(row.score)}{mark}{interval}{chosen}"


def _reservations(row: Score) -> str:
    return "; ".join(["† contaminated"] * row.contaminated + [row.reason] * bool(row.reason))
