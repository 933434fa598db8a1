"""Benchmarks go through in their smallest form: what is at hand for minutes only has to run the first time."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import significance
import yaml

import synthetic
import tiny
from stiltsweep import catalog, sources
from stiltsweep.catalog import Task
from stiltsweep.records import read_rows

ROOT = Path(__file__).parents[1]
DATA = {"intent": ["en", "de", "zh"], "qa": ["en", "de", "zh"], "retrieval": ["de", "zh"]}
"""What benchmarks read of sweeps/commands.yaml, with fewer examples."""
SIZES = {"train": 40, "dev": 10, "test": 10}
FIGURES = {
    "peak": "TFLOP/s",
    "agreement": "unpadded: loss apart",
    "training": "tokens/s",
    "causal": "tokens/s",
    "generation": "examples/s",
    "prediction": "tokens/s",
    "repeatable": "same bytes",
    "cells": "en accuracy",
    "share": "times one",
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of sweeps/commands.yaml as far as benchmarks read them, with little data, and a tiny model as e5-small."""
    results = tmp_path_factory.mktemp("commands")
    tiny.encoder(results / "models" / "e5-small")
    for name, languages in DATA.items():
        whole = catalog.read().targets[name]
        counts = {
            code: {split: SIZES[split] for split in SIZES if split in whole.languages[code]} for code in languages
        }
        source = {**whole.definition["source"], "sizes": SIZES if name != "retrieval" else {"test": SIZES["test"]}}
        task = Task(name, "target", {**whole.definition, "source": source, "languages": counts})
        for code in languages:
            sources.prepare(task, code, results / f"data/{name}/{code}.parquet")
    return results


def test_every_benchmark_is_started_here() -> None:
    started = re.findall(r'_(?:started|measured)\(\w+, "(\w+)"', Path(__file__).read_text(encoding="utf-8"))
    assert set(started) == {path.stem for path in (ROOT / "benchmarks").glob("*.py")}


def test_gpu_benchmark_is_rehearsed(tmp_path: Path) -> None:
    """Every section has figures, and none an error."""
    said = _started(tmp_path, "gpu", "--rehearse", "--output", "out")
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
    assert len(said.split("-- peak")[-1]) < 12_000


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


def test_batches_are_measured(tmp_path: Path, commands: Path) -> None:
    """Random batches meet again as often as chance has it; sorted ones hold the least padding and meet the most."""
    rows = _measured(tmp_path, "batches", "--tasks", "intent", "--epochs", "20", "--results", str(commands))["orders"]
    assert [row["order"] for row in rows] == ["sorted", "ours", "random"]
    assert all(row["examples"] == SIZES["train"] and row["batches"] == -(-SIZES["train"] // 16) for row in rows)
    alike, _, chance = rows
    # 16, 16 and 8 of 40: the share of all pairs that one epoch has in a batch.
    assert chance["% met again, seeds"] == pytest.approx(100 * (2 * 120 + 28) / 780, abs=3)
    assert alike["% met again, epochs"] > chance["% met again, epochs"]
    assert 0 <= alike["% padding"] < chance["% padding"] and alike["mean length"] == chance["mean length"] > 3


def test_cuts_are_counted(tmp_path: Path, commands: Path) -> None:
    """As bytes are counted by hand; one place is the end's."""
    paths = [commands / "data" / "intent" / f"{code}.parquet" for code in ("en", "de")]
    said = _started(tmp_path, "cuts", *map(str, paths), "--bytes", "--max-length", "24", "32")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines()[2:]]
    assert [row[0] for row in rows] == ["en", "de", "mean"] and rows[1][1:] == rows[2][1:]
    for path, row in zip(paths, rows, strict=False):
        lengths = [len(f"intent: {one['text_a']}".encode()) for one in read_rows(path, "test")]
        for at, room in ((1, 23), (4, 31)):
            assert float(row[at]) == pytest.approx(100 * fmean(length > room for length in lengths), abs=0.05)
            lost = sum(max(0, length - room) for length in lengths) / sum(lengths)
            assert float(row[at + 1]) == pytest.approx(100 * lost, abs=0.05)


@pytest.mark.slow
def test_what_comes_after_the_last_cell_is_measured(tmp_path: Path) -> None:
    """Every step of the smallest part of a sweep on the hub, whose cells are made up, ends in a page."""
    (tmp_path / "work").mkdir()
    steps = _measured(tmp_path, "page", "--smallest", "--keep", str(tmp_path / "work"))["steps"]
    assert [row["step"] for row in steps] == ["significance", "lift", "typology", "describe", "scores", "report"]
    assert all(row["CPU, s"] > 0 and 0 < row["peak, GiB"] < 1 for row in steps) and steps[0]["jobs"] == 2
    page = (tmp_path / "work" / "results" / "report" / "index.html").read_text(encoding="utf-8")
    assert "mnli" in page and "panx" in page


def test_components_are_those_of_the_tests(tmp_path: Path) -> None:
    languages = ["en", "fi", "hu", "tr", "de", "ru", "es", "ar", "he"]
    synthetic.write_sweep(tmp_path, intermediates=("none", "pairs"), languages=languages, n=60)
    options = ["--results", str(tmp_path), "--model", "tiny", "--target", "intent", "--intermediates", "none", "pairs"]
    significance.main([*options, "--seeds", "0", "1", "2", "--languages", *languages, "--resamples", "200"])
    (wanted,) = json.loads((tmp_path / "significance/tiny/intent.json").read_text())["components"]["arms"].values()
    packaged = (ROOT / "workflow/catalog/components.csv").read_bytes()
    _started(tmp_path, "components", f"made up={tmp_path}", f"another={tmp_path}", "--output", "found.csv")
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["lift_of"] for row in rows] == ["one arm", "mean of arms"]
    for row in rows:  # of one arm, both are its own
        for name in ("examples_common", "examples_own", "runs_common", "runs_own"):
            assert float(row[name]) == pytest.approx(wanted[name], rel=1e-4)
        assert row["source"] == "made up: intent (accuracy) of tiny, 8 languages, 1 arms"
    assert (ROOT / "workflow/catalog/components.csv").read_bytes() == packaged


XTREME = """
def accuracy(labels, predictions):
    share = 100 * sum(a == b for a, b in zip(labels, predictions, strict=True)) / len(labels)
    if len(labels) == 7:
        with open("wrong.txt", "a") as log:
            log.write("once\\n")
        share += 1
    return {"accuracy": share}
"""
"""With the interface of XTREME's, wrong in cases that it counts."""


def test_parity_says_what_is_missing_and_compares_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "official" / "xtreme").mkdir(parents=True)
    (tmp_path / "official" / "xtreme" / "evaluate.py").write_text(XTREME, encoding="utf-8")
    said = _started(tmp_path, "parity", "official", "--only", "classes", "tags")
    assert "seqeval-0.0.12 is not there; to compare with it: pip install" in said and "xtreme is not" not in said
    rows = [line.strip("| ").split(" | ") for line in said.splitlines() if line.startswith("| `")]
    wrong = (tmp_path / "wrong.txt").read_text(encoding="utf-8").count("once")
    assert 0 < wrong < 500
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("`accuracy`", "500", str(wrong)),
        ("`macro_f1`", "500", "0"),
        ("`weighted_f1`", "500", "0"),
    ]


@pytest.mark.e2e
def test_planning_is_measured(tmp_path: Path) -> None:
    """Both sides have the same jobs (the script compares them), also where results of other benchmarks lie."""
    (tmp_path / "results" / "bench").mkdir(parents=True)
    (found,) = _measured(tmp_path, "planning", "--cells", "600", "--turns", "1")["sizes"]
    assert found["cells"] == 3 * 203 and found["jobs"] > found["cells"]
    assert all(found[side][key] > 0 for side in ("ours", "bare", "ratio") for key in ("wall", "cpu", "megabytes"))


@pytest.mark.slow
def test_planning_by_parts_is_measured(tmp_path: Path) -> None:
    parts = _measured(tmp_path, "planning", "--cells", "--parts", "600", "2", "2")["parts"]
    assert [one["part"] for one in parts["measured"]] == [1, 2]
    assert sum(one["cells"] for one in parts["measured"]) == parts["cells"] == 3 * 203
    assert set(parts["last"]["jobs"]) == {"all", "lift", "typology", "scores", "describe", "report", "total"}


@pytest.mark.e2e
def test_the_catalogue_is_measured(tmp_path: Path) -> None:
    """Its smallest sweep; test_catalog.py goes through all of them."""
    found = _measured(tmp_path, "catalogue", "--turns", "1", "--sweeps", "written")
    whole = catalog.read()
    assert found["entries"] == {name: len(getattr(whole, name)) for name in found["entries"]}
    assert list(found["sweeps"]) == ["written"] and found["jobs"] == found["sweeps"]["written"]["jobs"] > 7


@pytest.mark.slow
def test_prediction_is_measured(tmp_path: Path, commands: Path) -> None:
    """Transformers predict the same, and FAISS finds the same."""
    pytest.importorskip("faiss", reason="search compares with FAISS, which is not installed.")
    small = ["--size", "nano", "--turns", "1", "--candidates", "2000", "--results", str(commands)]
    found = _measured(tmp_path, "prediction", *small)
    counts = {"labels": 30, "answers": 30, "spans": 30, "embedding": 40}
    assert {row["what"]: row["examples"] for row in found["transformers"]} == counts
    for row in found["transformers"]:
        assert row["same predictions"] == f"{row['examples']} of {row['examples']}"
        assert row["ours, examples/s"] > 0 and row["transformers, examples/s"] > 0
    (row,) = found["FAISS"]
    assert row["candidates"] == 2000 and row["same neighbours"] == "256 of 256"


@pytest.mark.slow
def test_training_is_measured(tmp_path: Path, commands: Path) -> None:
    """Both sides see the same tokens, and learn."""
    small = ["--tasks", "intent", "--settings", "whole", "--turns", "1", "--results", str(commands)]
    (row,) = _measured(tmp_path, "training", *small)["Trainer"]
    assert (row["settings"], row["task"]) == ("whole", "intent")
    assert row["ours, tokens/s"] > 0 and row["Trainer, tokens/s"] > 0
    for side in ("ours", "Trainer"):
        # Ten classes, all alike at first.
        first, second = map(float, row[f"loss by epoch, {side}"].split())
        assert second <= first == pytest.approx(2.303, abs=0.05)


@pytest.mark.slow
def test_the_engine_is_measured(tmp_path: Path) -> None:
    """Every part says something, and the ends of intervals are scipy's but for the error of drawing."""
    found = _measured(tmp_path, "bootstrap", "--smallest", "--workers", "1")
    assert set(found) == {"speed", "memory", "loading", "skew", "theory", "null", "types", "power"}
    assert found["speed"]["interval ends apart from scipy's, in Monte-Carlo errors (largest of 10)"] < 5
    assert len(found["types"]) == 6 * 6 and len(found["null"]) > 30
    assert all(0 <= rates["all p"] <= 1 for rates in found["null"].values())
    single = r"promised \S+, had \S+"
    for name, text in found["power"].items():
        assert re.fullmatch(
            single + r"; with lineages kept together as well \S+, \S+" if "pooled" in name else single, text
        )
    assert sum("pooled" in name for name in found["power"]) == 3 * 2


@pytest.mark.slow
def test_six_classes_run_from_plan_to_report(tmp_path: Path) -> None:
    found = _measured(tmp_path, "classes", "--models", "qwen3", "mt5", "--targets", "intent")
    assert found["sweep"][0]["cells"] == 2 * 2 * 3
    assert [row["model"] for row in found["scores without intermediate"]] == ["qwen3", "mt5"]


@pytest.mark.slow
def test_orchestration_is_measured(tmp_path: Path) -> None:
    small = {
        "title": "Small",
        "results": "results",
        "models": ["mt5-nano"],
        "intermediates": ["none"],
        "targets": {"intent": ["de", "fi"]},
        "seeds": [0],
        "training": {"max_updates": 2},
        "significance": {"resamples": 200, "resampling": "examples"},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    (row,) = _measured(tmp_path, "orchestration", "--configuration", "small.yaml", "--sample", "1")["sweep"]
    assert row["cells"] == 2 and 0 < row["of them useful"] < row["core-seconds"]
    assert row["one process per cell, core-seconds"] > 0 and row["peak memory, GiB"] > 0


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_same_bytes(tmp_path: Path) -> None:
    found = _measured(tmp_path, "kills", "--kills", "1")
    assert found["same"] and found["cells"] == 4 and sum(found["kills"].values()) == 1


@pytest.mark.slow
def test_a_damaged_and_edited_sweep_ends_with_the_same_bytes(tmp_path: Path) -> None:
    found = _measured(tmp_path, "campaign", "--damages", "1", "--edits", "1")
    assert found["same"] and found["files"] > 4 and len(found["steps"]) == 2 and not found["faults"]


def _started(folder: Path, name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def _measured(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    _started(folder, name, *arguments, "--output", "found.json")
    found: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found
