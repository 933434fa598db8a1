"""The shipped sweeps on a hub that speaks the real one's protocol: from plan to report, in a reduced form.

`make test` runs a corner of one, `make bench` all arms, models and targets of the three (benchmarks/hub_sweeps.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_place import Place, place
from local_hub import Hub

from stiltsweep.files import read_json

pytestmark = pytest.mark.e2e


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
