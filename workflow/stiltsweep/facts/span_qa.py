"""Questions whose answer stands in their context."""

from __future__ import annotations

from .base import Facts, Row, blank


def _fault(row: Row, labels: set[str]) -> str:
    if blank(row["context"]) or blank(row["question"]):
        return "context or question is empty"
    for answer in row["answers"]:
        start, text = answer["start"], answer["text"]
        if not text or row["context"][start : start + len(text)] != text:
            return f"answer {text!r} is not at offset {start} of the context (offsets count code points)"
    return ""


FACTS = Facts(
    {"context": "string", "question": "string", "answers": "list<struct<text: string, start: int32>>"},
    _fault,
    answers=lambda row: (("an answer", row["id"]) if row["answers"] else "no answer",),
    paired=True,
)
