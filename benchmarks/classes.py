"""Six models of six classes on one target of each kind, from `plan` to one report.

Weights are random and small, in the layouts that the hub publishes: BERT, XLM-R, ModernBERT, DeBERTa, mT5 and Qwen3, as
directories. Targets are packaged (intent, slots, qa, retrieval) but for multiple choice, which is made up here. Nothing
is learnt: what is shown is that every class goes through every kind, arm and stage, and how long that takes.

Example:
  python benchmarks/classes.py
  python benchmarks/classes.py --models qwen3 mt5 --targets intent      the smallest form, as the tests start it
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from measuring import ROOT, write

sys.path.insert(0, str(ROOT / "tests"))

import test_causal
import test_encoders
import test_model_classes

import tiny

MODELS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "bert": ("encoder", lambda folder: test_encoders.upstream(folder, "bert")),
    "xlm-roberta": ("encoder", lambda folder: test_model_classes.upstream(folder, "xlm-roberta")),
    "modernbert": ("encoder", lambda folder: test_encoders.upstream(folder, "modernbert")),
    "deberta": ("encoder", lambda folder: test_model_classes.upstream(folder, "deberta-v2")),
    "mt5": ("text2text", lambda folder: test_model_classes.upstream(folder, "mt5")),
    "qwen3": ("causal", lambda folder: test_causal.upstream(folder, "qwen3")),
}
TARGETS = {
    "intent": ["en", "de", "fi"],
    "slots": ["en", "de", "fi"],
    "qa": ["en", "de", "fi"],
    "rooms": ["en", "de"],
    "retrieval": ["de", "fi"],
}
SETTINGS = {
    "max_updates": 2,
    "evaluations": 1,
    "max_length": 60,
    "max_target_length": 8,
    "stride": 16,
    "freeze_layers": 0,
}


def _choices(folder: Path, language: str, split: str, count: int) -> None:
    """Write a multiple choice of rooms that anyone can answer."""
    rng = random.Random(f"{language}{split}")
    rows = []
    for number in range(count):
        rooms = rng.sample(tiny.ROOMS[language], 3)
        text = tiny.PATTERNS[language]["on"].format(rooms[0])
        order = rng.sample(rooms, 3)
        rows.append({"id": f"{split}{number}", "text": text, "options": order, "label": order.index(rooms[0])})
    path = folder / f"{language}.{split}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def prepare(folder: Path, models: Sequence[str], targets: Sequence[str]) -> Path:
    """Write models, a catalogue and a configuration; return the last."""
    catalogue, data = folder / "catalogue", folder / "data"
    for name in ("models", "target"):
        (catalogue / name).mkdir(parents=True)
    data.mkdir()
    for name in models:
        interface, make = MODELS[name]
        make(folder / name)
        about = {
            "interface": interface,
            "description": f"Random weights in the layout of {name}.",
            "licence": "none",
            "source": {"type": "files", "path": str(folder / name)},
            "parameters": 20_000,
            "hidden_size": 16,
            "layers": 2,
            "vocabulary": {"prune": interface == "encoder"},
        }
        (catalogue / "models" / f"{name}.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    for language in tiny.ROOMS:
        for split, count in (("train", 40), ("dev", 20), ("test", 30)):
            if language == "en" or split == "test":
                _choices(data, language, split, count)
    rooms = {
        "kind": "multiple_choice",
        "description": "Which of three rooms a command names.",
        "licence": "none",
        "source": {
            "type": "files",
            "format": "jsonl",
            "columns": {
                "id": "id",
                "context": "text",
                "question": {"value": "where?"},
                "choices": "options",
                "label": "label",
            },
            "splits": {split: f"{{language}}.{split}.jsonl" for split in ("train", "dev", "test")},
        },
        "languages": {"en": {"train": 40, "dev": 20, "test": 30}, "de": {"test": 30}},
        "metrics": ["accuracy"],
        "chance": 33.3,
    }
    (catalogue / "target" / "rooms.yaml").write_text(yaml.safe_dump(rooms), encoding="utf-8")
    configuration = {
        "title": "Six classes",
        "results": str(folder / "results"),
        "catalog": [str(catalogue)],
        "data_root": str(data),
        "models": list(models),
        "intermediates": ["none", "name-typing"],
        "targets": {name: TARGETS[name] for name in targets},
        "seeds": [0],
        "training": SETTINGS,
        "minimum_examples": 20,
        "significance": {"resamples": 200},
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return path


def run(folder: Path, configuration: Path, cores: int) -> dict[str, Any]:
    """Plan and run the sweep; return what it made.

    Raises:
      SystemExit: one of the commands failed; its output is printed.
    """
    seconds = []
    for goal in ("plan", ""):
        command = [sys.executable, "-m", "snakemake", *([goal] if goal else []), "--cores", str(cores)]
        command += ["--configfile", str(configuration)]
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(round(time.monotonic() - began, 1))
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}")
    results = folder / "results"
    page = (results / "report" / "index.html").read_text(encoding="utf-8")
    rows = []
    for path in sorted((results / "cells").rglob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        rows.append([cell[key] for key in ("model", "intermediate", "target", "language", "metric", "score", "n")])
    return {"plan s": seconds[0], "sweep s": seconds[1], "cells": rows, "page": page}


def main() -> None:
    """Run, check that the page names everything, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/bench/classes.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = run(folder, prepare(folder, arguments.models, arguments.targets), arguments.cores)
    wanted = {
        (model, arm, target, language)
        for model in arguments.models
        for arm in ("none", "name-typing")
        for target in arguments.targets
        for language in TARGETS[target]
    }
    missing = wanted - {tuple(row[:4]) for row in found["cells"]}
    unnamed = [name for name in (*arguments.models, *arguments.targets) if name not in found["page"]]
    if missing or unnamed:
        sys.exit(f"cells that are missing: {sorted(missing)}; not on the page: {unnamed}")
    table = [
        {
            "model": model,
            "interface": MODELS[model][0],
            **{
                target: " ".join(
                    f"{row[3]} {row[5]:.0f}" for row in found["cells"] if row[:3] == [model, "none", target]
                )
                for target in arguments.targets
            },
        }
        for model in arguments.models
    ]
    about = [{"cells": len(found["cells"]), "plan s": found["plan s"], "sweep s": found["sweep s"]}]
    write(
        arguments.output,
        "Six classes on one target of each kind",
        {"sweep": about, "scores without intermediate": table},
    )


if __name__ == "__main__":
    main()
