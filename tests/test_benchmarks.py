"""Benchmarks go through in their smallest form: what is at hand for minutes only has to run the first time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FIGURES = {
    "peak": "TFLOP/s",
    "agreement": "unpadded: loss apart",
    "training": "tokens/s",
    "causal": "tokens/s",
    "generation": "examples/s",
    "prediction": "tokens/s",
    "repeatable": "same bytes",
    "cells": "en accuracy",
}


def test_gpu_benchmark_is_rehearsed(tmp_path: Path) -> None:
    """Every section has figures, and none an error."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--rehearse", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "out" / "gpu.json").read_text(encoding="utf-8"))
    assert found["about"]["torch"] and found["about"]["transformers"]
    assert set(found["sections"]) == set(FIGURES)
    for name, section in found["sections"].items():
        assert not section["errors"], section["errors"][0]["traceback"]
        assert not section["left"], f"{name}: no time for {section['left']}"
        assert section["rows"], name
        for row in section["rows"]:
            assert row.get(FIGURES[name]) is not None, row
    sides = {row["side"] for row in found["sections"]["training"]["rows"]}
    assert {"padded", "captured", "Trainer"} <= sides
    assert "| xlm-r base | XNLI |" in (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    # The end of what it prints is all that is sure to come back from a machine that is lent.
    assert len(done.stdout.split("-- peak")[-1]) < 12_000


@pytest.mark.slow
def test_sweeps_on_a_hub_run_from_plan_to_report(tmp_path: Path) -> None:
    """A model that reads bytes and one that reads XTREME's own target, from `plan` to a report that names it."""
    (row,) = _measured(tmp_path, "hub_sweeps", "--smallest", "--sweeps", "tokenization")["sweeps"]
    assert (row["commands"], row["models"], row["arms"], row["targets"]) == (2, 1, 1, "tatoeba")
    assert row["cells"] == 3 and row["jobs"] > 10


def test_fetching_is_measured(tmp_path: Path) -> None:
    """Every form of the weights gives the same file."""
    legacy, archive = _measured(tmp_path, "fetching", "--size", "nano", "--forms", "legacy", "pickle")["fetch"]
    assert legacy["sha256"] == archive["sha256"] and legacy["tensors compared"] == archive["tensors compared"] > 30
    assert 0 < legacy["of it in no file, GiB"] <= legacy["peak, GiB"] < 1


@pytest.mark.slow
def test_memory_over_a_vocabulary_is_measured(tmp_path: Path) -> None:
    """Scores in parts give the same loss, and take less memory where they are many."""
    whole, parts = _measured(tmp_path, "vocabulary", "--rows", "250112")["training"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-5)
    assert parts["peak, MB"] < 0.8 * whole["peak, MB"] and parts["peak, MB"] < parts["planned, MB"]


def _measured(folder: Path, name: str, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    output = folder / "out.json"
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments, "--output", str(output)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[dict[str, Any]]] = json.loads(output.read_text(encoding="utf-8"))
    return found
