"""Benchmark scores, as XTREME and XTREME-R compute them from cells: the mean over languages, then over tasks.

Source: evaluate.py of google-research/xtreme. A task's score is the plain mean over its languages, the overall score
the plain mean over tasks. Question answering enters as the mean of exact match and F1, tagging as seqeval's F1 (for
parts of speech too), everything else as the task's own score. English is one of the languages there; the same is given
without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from .counting import KEEP, left_out
from .languages import ENGLISH
from .layout import Cell

Members = Mapping[str, Mapping[str, Sequence[str]]]
"""Benchmark -> its tasks -> their languages there."""


@dataclass(frozen=True)
class Aggregate:
    """The score of one model and arm on a task of a benchmark, or on all of them."""

    benchmark: str
    model: str
    intermediate: str
    task: str
    """Empty for the mean over all tasks."""
    transfer: bool
    """Whether English is left out."""
    score: float | None
    """Points; None where a cell is missing."""
    reason: str
    """Why there is no score: `missing: ...`; empty where there is one."""
    seeds: int
    """Runs it is a mean over; of all tasks the fewest."""
    contaminated: bool
    """Whether the arm's intermediate holds data of the task, or of one of the tasks."""


def members(benchmarks: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, dict[str, list[str]]]:
    """Turn what each target says (target -> benchmark -> languages) into benchmark -> target -> languages."""
    found: dict[str, dict[str, list[str]]] = {}
    for target in sorted(benchmarks):
        for benchmark, languages in benchmarks[target].items():
            found.setdefault(benchmark, {})[target] = list(languages)
    return dict(sorted(found.items()))


def entry_metrics(record: Mapping[str, Any]) -> list[str]:
    """Return the metrics whose mean is the score with which a cell enters a benchmark.

    Args:
      record: the cell's JSON.
    """
    scores = record["metrics"]
    family = str(record["metric"]).rpartition("_")[0]
    if family in ("squad", "mlqa"):
        parts = [f"{family}_em", f"{family}_f1"]
        return parts if all(scores.get(part) is not None for part in parts) else [f"{family}_mean"]
    return ["span_f1" if "span_f1" in scores else str(record["metric"])]


def entry(record: Mapping[str, Any]) -> float | None:
    """Return the score, in points, with which a cell enters a benchmark; None if it lacks it.

    Args:
      record: the cell's JSON.
    """
    found = [record["metrics"].get(name) for name in entry_metrics(record)]
    return None if None in found else fmean(found)


def aggregates(
    cells: Mapping[Cell, Mapping[str, Any]],
    members: Members,
    models: Sequence[str],
    intermediates: Sequence[str],
    failed_intermediates: str = KEEP,
) -> Iterator[Aggregate]:
    """Yield every task's and the overall score, with English and without, of every model and arm.

    Benchmarks none of whose tasks has a cell are left out. Runs that do not count (see `counting`) are left out, as
    everywhere; the others have to hold every language.

    Args:
      cells: cells and their JSON.
      members: every task of every benchmark, also those that are not in the sweep.
      models, intermediates: names, in the order wanted.
      failed_intermediates: see `counting`.
    """
    runs: dict[tuple[str, str, str], dict[int, dict[str, Mapping[str, Any]]]] = {}
    for cell, record in cells.items():
        found = runs.setdefault((cell.model, cell.intermediate, cell.target), {})
        found.setdefault(cell.seed, {})[cell.language] = record
    present = {target for _, _, target in runs}
    for benchmark, tasks in members.items():
        if not present & tasks.keys():
            continue
        for model in models:
            for arm in intermediates:
                for transfer in (False, True):
                    made = [
                        _task(
                            benchmark,
                            task,
                            languages,
                            runs.get((model, arm, task), {}),
                            model,
                            arm,
                            transfer,
                            failed_intermediates,
                        )
                        for task, languages in tasks.items()
                    ]
                    yield from made
                    yield _overall(made)


def _task(
    benchmark: str,
    task: str,
    languages: Sequence[str],
    runs: Mapping[int, Mapping[str, Mapping[str, Any]]],
    model: str,
    arm: str,
    transfer: bool,
    failed_intermediates: str,
) -> Aggregate:
    wanted = [language for language in languages if not (transfer and language == ENGLISH)]
    why = {seed: left_out(run.values(), failed_intermediates) for seed, run in runs.items()}
    counted = {seed: run for seed, run in runs.items() if not why[seed]}
    missing = []
    means = []
    for language in wanted:
        found = [entry(run[language]) if language in run else None for run in counted.values()]
        scores = [score for score in found if score is not None]
        if not scores or len(scores) < len(found):
            missing.append(language)
        else:
            means.append(fmean(scores))
    reason = ""
    if not runs:
        reason = "missing: all languages"
    elif not counted:
        reason = f"missing: every run is {' or '.join(sorted(set(why.values())))}"
    elif missing:
        reason = f"missing: {', '.join(missing)}"
    contaminated = any(record["contaminated"] for run in runs.values() for record in run.values())
    score = None if reason else fmean(means)
    return Aggregate(benchmark, model, arm, task, transfer, score, reason, len(counted), contaminated)


def _overall(tasks: Sequence[Aggregate]) -> Aggregate:
    first = tasks[0]
    gaps = [f"{one.task} ({one.reason.removeprefix('missing: ')})" for one in tasks if one.score is None]
    scores = [one.score for one in tasks if one.score is not None]
    return Aggregate(
        first.benchmark,
        first.model,
        first.intermediate,
        "",
        first.transfer,
        None if gaps else fmean(scores),
        f"missing: {', '.join(gaps)}" if gaps else "",
        min(one.seeds for one in tasks),
        any(one.contaminated for one in tasks),
    )
