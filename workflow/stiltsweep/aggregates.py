"""What enters a benchmark's score, as XTREME and XTREME-R have it; `report.scores` averages it.

Source: evaluate.py of google-research/xtreme. A task's score is the plain mean over its languages, the overall score
the plain mean over tasks. Question answering enters as the mean of exact match and F1, tagging as seqeval's F1 (for
parts of speech too), everything else as the task's own score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Members = Mapping[str, Mapping[str, Sequence[str]]]
"""Benchmark -> its tasks -> their languages there."""


def members(benchmarks: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, dict[str, list[str]]]:
    """Turn what each target says (target -> benchmark -> languages) into benchmark -> target -> languages."""
    of_benchmark: dict[str, dict[str, list[str]]] = {}
    for target in sorted(benchmarks):
        for benchmark, languages in benchmarks[target].items():
            of_benchmark.setdefault(benchmark, {})[target] = list(languages)
    return dict(sorted(of_benchmark.items()))


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
