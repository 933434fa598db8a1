"""Kinds whose rows are sentences of words: a tag for each (tagging), or its morphology (word_features)."""

from __future__ import annotations

from .. import feats
from .base import Facts, Row, blank


def _tagging_fault(row: Row, labels: set[str]) -> str:
    if fault := _tokens_fault(row, "tags"):
        return fault
    unknown = sorted(set(row["tags"]) - labels)
    return f"tag {unknown[0]!r} is not one of {sorted(labels)}" if unknown else ""


def _tokens_fault(row: Row, beside: str) -> str:
    if not row["tokens"] or any(map(blank, row["tokens"])):
        return "tokens must be non-empty texts"
    if len(row["tokens"]) != len(row[beside]):
        return f"{len(row['tokens'])} tokens but {len(row[beside])} {beside}"
    for marks in ("space_after", "contracted"):
        if row.get(marks) is not None and len(row[marks]) != len(row["tokens"]):
            return f"{len(row['tokens'])} tokens but {len(row[marks])} {marks} marks"
    return ""


def _features_fault(row: Row, labels: set[str]) -> str:
    if fault := _tokens_fault(row, "features"):
        return fault
    try:
        for text in row["features"]:
            feats.parse(text)
    except ValueError as error:
        return f"features: {error}"
    return ""


TAGGING = Facts(
    {"tokens": "list<string>", "tags": "list<string>", "space_after": "list<bool>?"},
    _tagging_fault,
    answers=lambda row: row["tags"],
    labelled=True,
)
# For probes; nothing is trained on them or predicted.
WORD_FEATURES = Facts(
    {
        "tokens": "list<string>",
        "features": "list<string>",
        "space_after": "list<bool>?",
        "contracted": "list<bool>?",
    },
    _features_fault,
)
