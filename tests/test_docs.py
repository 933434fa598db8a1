"""The documentation: its commands are run (planned, where they would train), and what it names exists."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stiltsweep import config
from stiltsweep.catalog import Task
from stiltsweep.jobs import Jobs
from stiltsweep.sources import prepare
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for path in PAGES
        for block in blocks(path, "")
        for line in block.splitlines()
        if line.startswith(("snakemake ", "make "))
    }
)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("snakemake")])
def test_snakemake_commands_plan(command: str, tmp_path: Path) -> None:
    """Every command of the docs, as a dry run where nothing has been made yet."""
    words = shlex.split(command)[1:]
    if "--report" in words:
        pytest.skip("a report needs results: the end-to-end tests make one")
    # The executor of a profile would look for its cluster; a dry run plans the same jobs without.
    extra = [] if "-n" in words else ["-n"]
    if "--profile" in words:
        extra += ["--executor", "dryrun"]
    found = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, *extra, "--quiet", "rules", "--nolock"]
        if "--quiet" not in words
        else [sys.executable, "-m", "snakemake", *words, *extra, "--nolock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_make_commands_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {shlex.split(c)[1] for c in COMMANDS if c.startswith("make")}
    assert named
    assert named <= targets


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_and_paths_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link
    for name in re.findall(r"`((?:workflow|sweeps|profiles|envs|tests|docs|rules)/[A-Za-z0-9_./-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_readmes_own_catalogue_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of its example are written where it says, and then plan; the task is read from made-up files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^```(?:yaml|csv)\n# ([\w./-]+)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert len(files) == 4
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    sweep = Sweep(*config.resolve(yaml.safe_load(Path("my-sweep.yaml").read_text())))
    assert sweep.languages == {"my-nli": ["en", "gsw"], "xnli": ["en", "de", "sw"]}
    assert sweep.family("gsw") == "fusional"
    assert len(list(sweep.cells())) == 1 * 2 * (2 + 3) * 3
    labels = ["entailment", "neutral", "contradiction"]
    for language, counts in sweep.catalog.targets["my-nli"].languages.items():
        for split, count in counts.items():
            rows = [f"{split}-{i}\tOne {i}.\tOther {i}.\t{labels[i % 3]}" for i in range(count)]
            path = Path("my-data") / f"{split}.{language}.tsv"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(["pairID\tsentence1\tsentence2\tgold_label", *rows]) + "\n", encoding="utf-8")
    definition = json.loads(Jobs(sweep).definition("my-nli", "gsw"))
    meta = prepare(Task("my-nli", "target", definition), "gsw", Path("out/gsw.parquet"))
    assert meta.counts == {"test": 90}
