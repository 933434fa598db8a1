"""Plain text, whose pieces are predicted from each other."""

from __future__ import annotations

from .base import Facts, Row, blank


def _fault(row: Row, labels: set[str]) -> str:
    return "text is empty" if blank(row["text"]) else ""


FACTS = Facts({"text": "string"}, _fault)
