"""Classification of one text or a pair."""

from __future__ import annotations

from .base import Facts, Row, blank


def _fault(row: Row, labels: set[str]) -> str:
    if blank(row["text_a"]):
        return "text_a is empty"
    if row.get("text_b") is not None and blank(row["text_b"]):
        return "text_b is empty"
    return "" if row["label"] in labels else f"label {row['label']!r} is not one of {sorted(labels)}"


FACTS = Facts(
    {"text_a": "string", "text_b": "string?", "label": "string"},
    _fault,
    answers=lambda row: (row["label"],),
    labelled=True,
    paired=True,
)
