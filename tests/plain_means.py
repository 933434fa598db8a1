"""Benchmark scores from cells by plain means, written apart from what the product draws: its oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stiltsweep.aggregates import Members, entry_metrics
from stiltsweep.counting import KEEP, left_out
from stiltsweep.languages import ENGLISH
from stiltsweep.layout import Cell


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


def entry(record: Mapping[str, Any]) -> float | None:
    """Return the score, in points, with which a cell enters a benchmark; None if it lacks it.

    Args:
      record: the cell's JSON.
    """
    scores = [record["metrics"].get(name) for name in entry_metrics(record)]
    return None if None in scores else fmean(scores)


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
        of_arm = runs.setdefault((cell.model, cell.intermediate, cell.target), {})
        of_arm.setdefault(cell.seed, {})[cell.language] = record
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
        entries = [entry(run[language]) if language in run else None for run in counted.values()]
        scores = [score for score in entries if score is not None]
        if not scores or len(scores) < len(entries):
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
