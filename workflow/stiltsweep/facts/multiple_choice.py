"""The right one of several texts, which are an example's own."""

from __future__ import annotations

from .base import Facts, Row, blank


def _fault(row: Row, labels: set[str]) -> str:
    if len(row["choices"]) < 2 or any(map(blank, row["choices"])):
        return "choices must be at least two non-empty texts"
    return "" if 0 <= row["label"] < len(row["choices"]) else f"label {row['label']} is not an index into its choices"


FACTS = Facts(
    {"context": "string", "question": "string?", "choices": "list<string>", "label": "int32"},
    _fault,
    answers=lambda row: (row["label"],),
    paired=True,
)
