"""A text that is written after reading another: summaries, headlines, translations."""

from __future__ import annotations

from .base import Facts, Row, blank


def _fault(row: Row, labels: set[str]) -> str:
    if blank(row["text"]):
        return "text is empty"
    return "" if row["references"] and not any(map(blank, row["references"])) else "references must be non-empty texts"


FACTS = Facts(
    # Any of the references is right; the first one is learnt.
    {"text": "string", "references": "list<string>"},
    _fault,
    answers=lambda row: row["references"],
    encoders=False,
)
