"""Pieces of catalogue entries that several tests write, and the programs in benchmarks/; no torch, unlike `tiny`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
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


def benchmark(name: str) -> ModuleType:
    """Import a program of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "benchmarks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
