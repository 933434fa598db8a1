"""Statistics of retrieval: predictions are candidate ids, best first; gold is a non-empty set of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DEPTH = 20
"""How many candidates XTREME-R's retrieval metrics look at."""


def hit(gold: Mapping[str, Any], prediction: Sequence[str], language: str) -> tuple[float, ...]:
    """Return (1, whether the first candidate is right)."""
    return 1.0, float(bool(prediction) and prediction[0] in gold["gold"])


def reciprocal_rank(gold: Mapping[str, Any], prediction: Sequence[str], language: str) -> tuple[float, ...]:
    """Return (1, 1 / rank of the first right candidate within the first 20, else 0)."""
    ranks = (rank for rank, candidate in enumerate(prediction[:DEPTH], start=1) if candidate in gold["gold"])
    return 1.0, 1.0 / next(ranks, float("inf"))


def average_precision(gold: Mapping[str, Any], prediction: Sequence[str], language: str) -> tuple[float, ...]:
    """Return (1, average precision within the first 20), normalised by the right answers that fit in 20."""
    hits, total = 0, 0.0
    for rank, candidate in enumerate(prediction[:DEPTH], start=1):
        if candidate in gold["gold"]:
            hits += 1
            total += hits / rank
    return 1.0, total / min(len(gold["gold"]), DEPTH)
