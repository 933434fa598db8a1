"""The benchmark for a GPU goes through on a CPU: what is at hand for minutes only has to run the first time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
