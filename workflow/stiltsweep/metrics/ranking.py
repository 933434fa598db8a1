"""Statistics of retrieval: gold is a non-empty set of candidates' ids, a prediction the ids found, best first.

Where the other way round is asked for too (see `REVERSE`), a prediction is a mapping: `candidates`, those ids, and
`queries`, for each right candidate the id of the nearest of all queries, and whether it is right for that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REVERSE = "reverse_retrieval_accuracy"
"""The metric for which right candidates ask and queries are searched."""

DEPTH = 20
"""How many candidates XTREME-R's retrieval metrics look at."""


def ranked(prediction: Any) -> Sequence[str]:
    """Return the ids of candidates, best first, of a prediction of either form."""
    ids: Sequence[str] = prediction["candidates"] if isinstance(prediction, Mapping) else prediction
    return ids


def hit(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (1, whether the first candidate is right)."""
    ids = ranked(prediction)
    return 1.0, float(bool(ids) and ids[0] in gold["gold"])


def reverse_hit(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (right candidates, those to which the nearest of all queries is one they are right for).

    Source: XTREME's `evaluate_retrieval.py` on Tatoeba, where each English sentence asks and the sentences of the other
    language are searched.
    """
    return float(len(prediction["queries"])), float(sum(right for _, right in prediction["queries"]))


def reciprocal_rank(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (1, 1 / rank of the first right candidate within the first 20, else 0)."""
    ranks = (rank for rank, candidate in enumerate(ranked(prediction)[:DEPTH], start=1) if candidate in gold["gold"])
    return 1.0, 1.0 / next(ranks, float("inf"))


def average_precision(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (1, average precision within the first 20), normalised by the right answers that fit in 20."""
    hits, total = 0, 0.0
    for rank, candidate in enumerate(ranked(prediction)[:DEPTH], start=1):
        if candidate in gold["gold"]:
            hits += 1
            total += hits / rank
    return 1.0, total / min(len(gold["gold"]), DEPTH)
