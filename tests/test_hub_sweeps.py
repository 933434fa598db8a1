"""The shipped sweeps on a hub that speaks the real one's protocol: from plan to report, in a reduced form.

The sweep files themselves are read; what is reduced is their languages, updates and rows. `make test` runs a corner of
one, `make bench` all arms, models and targets of the three.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import published
import pytest
import yaml
from local_hub import Hub

from stiltsweep.files import read_json

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("hub sweeps")]
SHORT = {"max_updates": 2, "evaluations": 1, "max_length": 64, "max_target_length": 8, "stride": 16, "warmup": 0}
SWEEPS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "xtreme_r_mt5": (["mt5-base", "xlm-roberta-large"], {"without": ["ccg", "lareqa", "mewslix"]}),
    "phang2020": (["xlm-roberta-large"], {"without": ["ccg", "bucc2018"]}),
    "tokenization": (
        ["mt5-small", "byt5-small", "mt5-base", "byt5-base"],
        {"probes": {"tasks": ["ud_features"], "pooling": ["mean"]}},
    ),
}
"""Sweep -> models that the hub has, keys that are other than in the file."""


class Place:
    """A folder to run a sweep in, with a hub."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder, self.hub = folder, hub

    def snakemake(self, *arguments: str, environment: dict[str, str] | None = None, check: bool = True) -> str:
        keys = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.folder / "hf"), **(environment or {})}
        found = subprocess.run(
            [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *arguments],
            cwd=self.folder,
            env={**os.environ, **keys},
            capture_output=True,
            text=True,
            check=False,
        )
        text = found.stdout + found.stderr
        assert not check or found.returncode == 0, text[-6000:]
        return text


def place(folder: Path, hub: Hub, name: str, **more: Any) -> Place:
    """Publish what a sweep reads, and write its configuration in a reduced form."""
    models, changes = SWEEPS[name]
    published.publish(hub, folder / "repositories", models)
    published.reduced(folder / "catalogue", models)
    settings = yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))
    settings |= {"catalog": ["catalogue"], "results": "results", "seeds": [0], "minimum_examples": 1}
    settings |= {"training": SHORT, "significance": {"resamples": 200, "resampling": "examples"}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**settings, **changes, **more}))
    (folder / "workflow").symlink_to(ROOT / "workflow")
    return Place(folder, hub)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as made:
        yield made


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Place:
    """mT5 and XLM-R after MNLI, on a task of each kind that is on the hub."""
    targets = {"xnli": ["en", "de"], "panx": ["de"], "xquad": ["de"], "tatoeba": ["de"]}
    more = {"intermediates": ["none", "mnli"], "targets": {**targets, "mewslix": ["de"]}, "without": ["mewslix"]}
    return place(tmp_path_factory.mktemp("corner"), hub, "xtreme_r_mt5", **more)


def test_a_fetch_with_a_network_and_a_sweep_without_end_in_a_report(corner: Place) -> None:
    plan = corner.snakemake("plan")
    assert "mewslix" in plan and "named by `without`" in plan
    corner.snakemake("--until", "fetch", "prepare")
    assert {path.parent.name for path in corner.folder.glob("results/models/*/model.json")} == {
        "mt5-base",
        "xlm-roberta-large",
    }
    asked = len(corner.hub.asked)
    corner.snakemake(environment={"HF_HUB_OFFLINE": "1"})
    assert len(corner.hub.asked) == asked
    assert (corner.folder / "results/report/index.html").is_file()
    cells = sorted(corner.folder.glob("results/cells/*/*/*/seed0/*.json"))
    assert len(cells) == 2 * 2 * 5
    about = read_json(corner.folder / "results/models/mt5-base/model.json")
    assert about["checks"]["tensors_unpickled"] == about["checks"]["tensors"]
    # Planned bytes of a checkpoint with the whole vocabulary are those written: four of every parameter of the catalogue,
    written = corner.folder / "results/finetune/mt5-base/none/xnli/seed0/model.safetensors"
    rows = 2 * 8 * about["vocabulary_size"]  # ids of the rows of embedding and output layer, names and shapes.
    assert 0 <= written.stat().st_size - 4 * about["parameters"] - rows < 10_000


def test_files_that_are_not_there_are_named_at_once_and_the_rest_is_prepared(tmp_path: Path, hub: Hub) -> None:
    sweep = place(tmp_path, hub, "xtreme_r_mt5", without=[], intermediates=["none", "ccg"], targets={
        "lareqa": ["de"], "mewslix": ["de"], "xnli": ["de"]
    })  # fmt: skip
    found = sweep.snakemake(check=False)
    error = found[found.index("error: ") :]
    assert "the files of 3 tasks are not there" in error and "without: [" in error
    for words in (
        "ccg: no file data/ccg/train.txt and 2 more",
        "lareqa: no file",
        "github.com/google-research",
        "mewslix: no file",
    ):
        assert words in error, error
    assert not (tmp_path / "results/data/xnli").exists()
    found = sweep.snakemake("--until", "prepare", check=False)
    assert "the files of 3 tasks are not there" in found
    assert (tmp_path / "results/data/xnli/de.parquet").is_file()


def test_out_of_reach_of_the_hub_everything_that_is_missing_is_named_with_its_command(tmp_path: Path, hub: Hub) -> None:
    sweep = place(tmp_path, hub, "xtreme_r_mt5", intermediates=["none"], targets={"xnli": ["de"], "panx": ["de"]})
    found = sweep.snakemake(check=False, environment={"HF_HUB_OFFLINE": "1"})
    error = found[found.index("error: ") :]
    for words in (
        "hf download google/mt5-base --revision ",
        "hf download facebook/xnli --repo-type dataset --revision",
    ):
        assert words in error
    assert "unimelb-nlp/wikiann" in error and "--until fetch prepare" in error


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_sweep_runs_from_plan_to_report(name: str, tmp_path: Path, hub: Hub) -> None:
    """Every model, arm and target of the sweep, in the languages that the hub's small data sets hold."""
    benchmark = {"phang2020": "xtreme"}.get(name, "xtreme-r")
    shipped = yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))["targets"]
    targets: Any = dict.fromkeys(shipped, "all") if isinstance(shipped, dict) else benchmark
    sweep = place(tmp_path, hub, name, targets=targets)
    plan = sweep.snakemake("plan")
    cells = int(re.search(r"^(\d+) cells", plan, re.MULTILINE)[1])  # type: ignore[index]
    sweep.snakemake()
    assert len(list(tmp_path.glob("results/cells/**/seed0/*.json"))) == cells > 50
    assert (tmp_path / "results/report/index.html").is_file()
    made = json.loads((tmp_path / "results/plan/plan.json").read_text())
    assert made["cells"] == {"missing": cells}
