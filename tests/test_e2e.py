"""A tiny sweep from its own configuration to the report, through Snakemake's command line, and what users do to it after.

Its model (random weights), tasks and languages come from a user's own catalogue, so this is also the test that adding
them takes files and no code.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import entries
import pyarrow.parquet as pq
import pytest
import yaml
from running import command, snakemake, warm_socket

import tiny
from stiltsweep.files import digest_file, read_json

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.e2e

PATTERNS = {
    "en": {"on": "turn on the {}", "off": "turn off the {}", "time": "what time in {}", "warm": "how warm is {}"},
    "de": {"on": "mach {} an", "off": "mach {} aus", "time": "wie spät ist es in {}", "warm": "wie warm ist {}"},
    "fi": {"on": "avaa {}", "off": "sulje {}", "time": "paljonko kello on {}", "warm": "kuinka lämmin on {}"},
    "ar": {"on": "شغل {}", "off": "أطفئ {}", "time": "كم الساعة في {}", "warm": "كم حرارة {}"},
}
ROOMS = ["kitchen", "Küche", "keittiö", "المطبخ", "garage", "office"]


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    # Targets first: --quiet would swallow them.
    text = snakemake(folder, *arguments, "-n", "--quiet", "rules").text
    return {rule: int(count) for rule, count in re.findall(r"^([a-z_]+) +(\d+)$", text, re.MULTILINE)}


def rows(language: str, split: str, count: int, labels: list[str], seed: str) -> list[dict[str, Any]]:
    rng = random.Random(f"{language} {split} {seed}")
    return [
        {
            "id": f"{split}{i}",
            "text": PATTERNS[language][label].format(rng.choice(ROOMS)) + f" {i}",
            "label": label,
        }
        for i in range(count)
        for label in [labels[i % len(labels)]]
    ]


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def make(folder: Path) -> Path:
    """Write the catalogue, the data and the configuration of the tiny sweep."""
    (folder / "workflow").symlink_to(ROOT / "workflow")
    labels = ["on", "off", "time", "warm"]
    for language in PATTERNS:
        for split, count in (("train", 96), ("dev", 24), ("test", 40)):
            if split == "test" or language == "en":
                write_lines(folder / "data" / f"{language}.{split}.jsonl", rows(language, split, count, labels, "a"))
    for language in ("de", "fi"):
        for side, of in ((language, language), ("en", "en")):
            texts = [row["text"] for row in rows(of, "pairs", 30, labels, "b")]
            (folder / "data" / f"pairs.{language}.{side}.txt").write_text("\n".join(texts) + "\n")
    shutil.copytree(tiny.encoder(folder / "tiny").parent, folder / "weights" / "tiny")
    catalogue = {
        "models/tiny.yaml": {
            "interface": "encoder",
            "description": "Two layers of random weights.",
            "licence": "none",
            "source": {"type": "files", "path": "weights/tiny"},
            "parameters": 30000,
            "hidden_size": 32,
            "layers": 2,
            "pooling": "mean",
            "vocabulary": {"prune": True},
            "training": {"learning_rate": 5.0e-3, "head_learning_rate": 2.0e-2, "dropout": 0.0, "epochs": 2},
        },
        "target/commands.yaml": {
            "kind": "classification",
            "description": "Four kinds of command.",
            "licence": "none",
            "source": entries.lines_source(),
            "labels": labels,
            "languages": {
                "en": {"train": 96, "dev": 24, "test": 40},
                **{language: {"test": 40} for language in ("de", "fi", "ar")},
            },
            "metrics": ["accuracy"],
            "chance": 25,
        },
        "target/pairs.yaml": {
            "kind": "retrieval",
            "description": "English sides of pairs.",
            "licence": "none",
            "source": {
                "type": "files",
                "root": "data",
                "format": "lines",
                "splits": {"test": {"path": ["pairs.{language}.{language}.txt", "pairs.{language}.en.txt"]}},
            },
            "languages": {"de": {"test": 30}, "fi": {"test": 30}},
            "metrics": ["retrieval_accuracy"],
        },
        "intermediate/half.yaml": {
            "kind": "classification",
            "description": "Only two kinds of command.",
            "licence": "none",
            "source": {
                "type": "files",
                "root": "data",
                "format": "jsonl",
                "columns": {"text_a": "text", "id": "id", "label": "label"},
                "keep": {"label": {"is": ["on", "off"]}},
                "splits": {split: f"{{language}}.{split}.jsonl" for split in ("train", "dev")},
            },
            "labels": ["on", "off"],
            "languages": {"en": {"train": 48, "dev": 12}},
            "metrics": ["accuracy"],
            "chance": 50,
            "contaminates": ["commands"],
        },
    }
    for name, value in catalogue.items():
        path = folder / "catalogue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value, allow_unicode=True))
    configuration = {
        "title": "Tiny",
        "catalog": ["catalogue"],
        "models": ["tiny"],
        "intermediates": ["none", "half"],
        "targets": {"commands": ["en", "de", "fi"], "pairs": ["de", "fi"]},
        "seeds": [0, 1],
        "significance": {"resamples": 200},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("sweep"))
    snakemake(folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    cells = folder / "results" / "cells"
    return {str(path.relative_to(cells)): digest_file(path) for path in sorted(cells.rglob("*.*"))}


def test_every_cell_and_the_report_are_there(sweep: Path) -> None:
    cells = sorted((sweep / "results" / "cells").rglob("*.json"))
    assert len(cells) == 2 * 2 * (3 + 2)  # arms x seeds x (languages of commands + of pairs)
    found = {path.relative_to(sweep / "results" / "cells").as_posix(): read_json(path) for path in cells}
    english = found["tiny/none/commands/seed0/en.json"]
    assert english["learned"] and english["score"] > 60
    assert english["n"] == 40
    assert found["tiny/half/commands/seed0/de.json"]["contaminated"]
    assert not found["tiny/half/pairs/seed0/de.json"]["contaminated"]
    assert found["tiny/half/commands/seed0/fi.json"]["family"] == "agglutinative"
    for seed in (0, 1):  # no training: the same model whatever the seed
        assert found["tiny/none/pairs/seed0/de.json"]["score"] == found[f"tiny/none/pairs/seed{seed}/de.json"]["score"]
    lift = (sweep / "results" / "significance" / "lift.csv").read_text().splitlines()
    assert any("agglutinative - fusional" in line for line in lift)
    attributes = pq.read_table(sweep / "results" / "measures" / "tiny" / "commands.parquet")
    assert attributes.num_rows == 3 * 40
    buckets = (sweep / "results" / "diagnosis" / "tiny" / "commands.csv").read_text().splitlines()
    assert any(",length," in line and ",agglutinative," in line for line in buckets)
    page = (sweep / "results" / "report" / "index.html").read_text()
    assert "Tiny" in page
    assert (sweep / "results" / "report" / "headline.txt").read_text().strip()


def test_running_again_does_nothing(sweep: Path) -> None:
    assert "Nothing to be done" in snakemake(sweep, shared=True).text


def test_one_deleted_cell_is_one_job(sweep: Path) -> None:
    name = "results/cells/tiny/half/commands/seed1/fi.json"
    before = digests(sweep)
    (sweep / name).unlink()
    assert planned(sweep, name) == {"evaluate": 1, "total": 1}
    snakemake(sweep, name, shared=True)
    assert digests(sweep) == before


def test_a_language_added_is_predicted_alone(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sweep, folder, symlinks=True)
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration["targets"]["commands"].append("ar")
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    jobs = planned(folder)
    assert not {"fetch", "intermediate", "finetune"} & set(jobs)
    assert (jobs["prepare"], jobs["predict"]) == (1, 4)
    predictions = folder / "results" / "predictions" / "tiny" / "half" / "commands" / "seed0"
    before = {path.name: path.stat().st_mtime_ns for path in predictions.glob("??.json")}
    old = digests(folder)
    snakemake(folder, "results/cells/tiny/half/commands/seed0/ar.json", shared=True)
    after = {path.name: path.stat().st_mtime_ns for path in predictions.glob("??.json")}
    assert after.keys() - before.keys() == {"ar.json"}
    assert {name: after[name] for name in before} == before
    new = digests(folder)
    assert {name: new[name] for name in old} == old


def test_an_intermediate_added_runs_only_its_jobs(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sweep, folder, symlinks=True)
    definition = yaml.safe_load((folder / "catalogue" / "intermediate" / "half.yaml").read_text())
    (folder / "catalogue" / "intermediate" / "other.yaml").write_text(yaml.safe_dump(definition))
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration["intermediates"].append("other")
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    jobs = planned(folder)
    expected = {"prepare": 1, "intermediate": 2, "finetune": 2, "predict": 4, "evaluate": 10}
    assert {rule: jobs.get(rule) for rule in expected} == expected
    assert "fetch" not in jobs


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"title": "Another"}, {"describe", "scores", "report"}),
        (
            {"significance": {"resamples": 300}},
            {"describe", "significance", "lift", "typology", "diagnose", "scores", "report"},
        ),
        (
            {"training": {"target": {"epochs": 1}}},
            {
                "describe",
                "finetune",
                "predict",
                "evaluate",
                "significance",
                "lift",
                "typology",
                "diagnose",
                "scores",
                "report",
            },
        ),
    ],
)
def test_an_edit_reruns_what_uses_it(sweep: Path, change: dict[str, Any], rules: set[str]) -> None:
    original = (sweep / "config.yaml").read_text()
    try:
        (sweep / "config.yaml").write_text(yaml.safe_dump({**yaml.safe_load(original), **change}))
        assert set(planned(sweep)) - {"total", "all"} == rules
    finally:
        (sweep / "config.yaml").write_text(original)


@pytest.mark.parametrize(
    ("sign", "warm"), [(signal.SIGKILL, False), (signal.SIGHUP, True)], ids=["killed", "its terminal closed"]
)
def test_ended_and_started_again_the_cells_are_the_same_bytes(
    sweep: Path, tmp_path: Path, sign: signal.Signals, warm: bool
) -> None:
    """A signal to everything in the middle of training, in a copy that still has all of it to do; then the same command.

    Jobs are processes of the group that gets the signal, or forks of a warm process outside of it, as on a user's machine.
    """
    folder = tmp_path / "copy"
    shutil.copytree(
        sweep,
        folder,
        symlinks=True,
        ignore=shutil.ignore_patterns("finetune", "predictions", "cells", "report", ".snakemake"),
    )
    process = subprocess.Popen(
        command(),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "STILTSWEEP_WARM": warm_socket() if warm else "off"},
    )
    deadline = time.monotonic() + 120
    while not list((folder / "results" / "finetune").rglob("checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, sign)
    process.wait()
    snakemake(folder, shared=True)
    assert digests(folder) == digests(sweep)
