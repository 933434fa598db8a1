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
from running import snakemake

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
        for block in (*blocks(path, ""), *blocks(path, "sh"))
        for line in block.splitlines()
        if line.startswith(("snakemake ", "make "))
    }
)

NOT_PLANNED = {
    "--report": "a report needs results: the end-to-end tests make one",
    "--sdm": "asks for conda or apptainer, dry run or not",
    "--unlock": "unlocks this checkout",
    "--allowed-rules": "needs what other commands made",
    "my.yaml": "a file of the reader's",
}
"""Words of commands of which no dry run can be made here, and why."""


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("snakemake")])
def test_snakemake_commands_plan(command: str, tmp_path: Path) -> None:
    """Every command of the docs, as a dry run where nothing has been made yet."""
    words = shlex.split(command)[1:]
    for word, why in NOT_PLANNED.items():
        if word in words:
            pytest.skip(why)
    # The executor of a profile would look for its cluster; a dry run plans the same jobs without.
    extra = [] if "-n" in words else ["-n"]
    if "--profile" in words:
        extra += ["--executor", "dryrun"]
    if "--quiet" not in words:
        extra += ["--quiet", "rules"]
    snakemake(ROOT, *extra, "--nolock", *words, cores=None, snakefile=None)


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
    for name in re.findall(r"`((?:workflow|sweeps|profiles|envs|tests|docs|rules|examples)/[A-Za-z0-9_./-]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\bpython ([\w./-]+\.py)\b", text):
        assert (ROOT / name).exists(), name


def test_the_readmes_own_catalogue_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of its example (three on the page of what to add) plan; the task is read from made-up files."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/adding.md"))
    files = dict(re.findall(r"^```yaml\n# ([\w./-]+)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    files |= dict(re.findall(r"^`([\w./-]+\.csv)`[^\n]*\n\n```csv\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
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


def test_pages_that_follow_from_the_code() -> None:
    """Every key of the schemas and every column of the tables is on its page, as `make docs` writes them."""
    import runpy

    written = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    page = written["configuration"]()
    for name in ("config", "training"):
        schema = yaml.safe_load((ROOT / "workflow" / "schemas" / f"{name}.schema.yaml").read_text(encoding="utf-8"))
        for key, about in schema["properties"].items():
            assert f"| `{key}` |" in page or f"| `{key}." in page, key
            assert about.get("description", "")[:30].replace("|", "\\|").split("\n")[0] in page
    from stiltsweep.significance import COLUMNS

    page = written["columns"]()
    assert all(f"| `{column}` |" in page for column in COLUMNS)
    for name, write in written["PAGES"].items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == write(), f"{name}: python docs/generate.py"


def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed: make .venv/.checks")
    found = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in (tmp_path / "site").glob("*.html")}


def test_no_file_names_a_machine() -> None:
    """Paths of somebody's computer and hosts of somebody's network say nothing to others."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a checkout")
    strange = re.compile(
        r"/(?:home|Users)/[a-z][\w.-]*/|/root/|/work/[a-z]|/tmp/[a-z]\w*/\w|\b(?:10|192\.168)(?:\.\d{1,3}){2,3}\b"
    )
    found = []
    for name in listed:
        path = ROOT / name
        assert not (path.is_symlink() and path.readlink().is_absolute()), name
        if path.is_symlink() or path.suffix in (".txt", ".svg", ".png") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
            if strange.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not found
