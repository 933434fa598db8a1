"""Pieces of catalogue entries that several tests write; no torch, unlike `tiny`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def lines_source(splits: Sequence[str] = ("train", "dev", "test")) -> dict[str, Any]:
    """Return the `source` of a task in files data/{language}.{split}.jsonl with id, text and label."""
    return {
        "type": "files",
        "root": "data",
        "format": "jsonl",
        "columns": {"text_a": "text", "id": "id", "label": "label"},
        "splits": {split: f"{{language}}.{split}.jsonl" for split in splits},
    }
