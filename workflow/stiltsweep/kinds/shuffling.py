"""Permuting the answers of training rows: a control that keeps texts and answers, but not which belongs where."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..records import Row


def shuffle_labels(kind: str, rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows of a training split with their answers permuted at random; all else stays in place.

    What an answer is depends on the kind. Classification: the label. Multiple choice: the label, among the rows with
    as many choices. Tagging: the tags, over all tokens of the split. Question answering: the question (an answer is a
    place in its context, and stays there). Retrieval and mining: the ids of the right candidates, among the queries.
    Generation: the references. Plain text has no answers.
    """
    return _SHUFFLES[kind](rows, np.random.default_rng(seed))


def _exchange(rows: Sequence[Row], where: Sequence[int], column: str, rng: np.random.Generator) -> list[Row]:
    """Permute one column among the rows of some indices."""
    exchanged = list(rows)
    for at, other in zip(where, rng.permutation(np.array(where, dtype=np.int64)).tolist(), strict=True):
        exchanged[at] = {**rows[at], column: rows[other][column]}
    return exchanged


def _classification(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    return _exchange(rows, range(len(rows)), "label", rng)


def _multiple_choice(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    shuffled = list(rows)
    for choices in sorted({len(row["choices"]) for row in rows}):
        shuffled = _exchange(
            shuffled, [i for i, row in enumerate(rows) if len(row["choices"]) == choices], "label", rng
        )
    return shuffled


def _tagging(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    tags = [tag for row in rows for tag in row["tags"]]
    permuted = iter([tags[i] for i in rng.permutation(len(tags)).tolist()])
    return [{**row, "tags": [next(permuted) for _ in row["tags"]]} for row in rows]


def _span_qa(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    return _exchange(rows, range(len(rows)), "question", rng)


def _sided(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    return _exchange(rows, [i for i, row in enumerate(rows) if row["side"] == "query"], "gold", rng)


def _generation(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    return _exchange(rows, range(len(rows)), "references", rng)


def _text(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    return list(rows)


_SHUFFLES: dict[str, Callable[[Sequence[Row], np.random.Generator], list[Row]]] = {
    "classification": _classification,
    "multiple_choice": _multiple_choice,
    "tagging": _tagging,
    "span_qa": _span_qa,
    "retrieval": _sided,
    "mining": _sided,
    "text": _text,
    "generation": _generation,
}
