"""expect.py on tasks read from files: every wrong count at once, splits that are found, and what --write leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stiltsweep.schema import read_yaml

EXPECT = Path(__file__).parents[1] / "workflow" / "scripts" / "expect.py"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A catalogue with one task that counts wrongly, and its data: 6 and 4 rows in English, 3 in German, 2 in Spanish."""
    for name, count in (("en.train", 6), ("en.dev", 4), ("de.test", 3), ("es.test", 2)):
        rows = [{"id": n, "text": f"{name} {n}", "label": "ab"[n % 2]} for n in range(count)]
        path = tmp_path / "data" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    definition: dict[str, Any] = {
        "kind": "classification",
        "description": "Of files, to count.",
        "licence": "none",
        "source": {
            "type": "files",
            "root": str(tmp_path / "data"),
            "format": "jsonl",
            "columns": {"id": "id", "text_a": "text", "label": "label"},
            "splits": {split: f"{{language}}.{split}.jsonl" for split in ("train", "dev", "test")},
        },
        "labels": ["a", "b"],
        "metrics": ["accuracy"],
        "languages": {"en": {"train": 7, "dev": 5}, "de": {"test": 3}, "es": {"test": 9, "sha256": "0" * 64}},
    }
    path = tmp_path / "catalog" / "target" / "counted.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(definition, sort_keys=False))
    return path


def expect(task: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXPECT), "counted", "--catalog", str(task.parents[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_wrong_counts_are_listed_at_once(task: Path) -> None:
    found = expect(task)
    assert found.returncode == 1
    for said in (
        "4 counts differ",
        "counted/en: train: counted 7, found 6",
        "counted/en: dev: counted 5, found 4",
        "counted/es: test: counted 9, found 2",
        "counted/es: sha256: stated 000",
    ):
        assert said in found.stderr
    assert "counted/de" not in found.stderr
    assert "en: {train: 6, dev: 4, sha256: " in found.stdout


def test_what_is_written_is_what_is_there(task: Path) -> None:
    assert expect(task, "--write").returncode == 0
    written = read_yaml(task)["languages"]
    assert {code: {k: v for k, v in about.items() if k != "sha256"} for code, about in written.items()} == {
        "en": {"train": 6, "dev": 4},
        "de": {"test": 3},
        "es": {"test": 2},
    }
    again = expect(task)
    assert (again.returncode, again.stderr) == (0, "")


def test_splits_of_languages_that_count_nothing_are_those_that_have_a_file(task: Path) -> None:
    found = expect(task, "--languages", "en", "de", "es")
    assert found.returncode == 0, found.stderr
    assert "en: {train: 6, dev: 4, sha256: " in found.stdout and "es: {test: 2, sha256: " in found.stdout
