"""Published data end to end: a reduced form of sweeps/files.yaml, where the folder with the data is at hand."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import yaml
from running import snakemake

from stiltsweep.files import read_json
from stiltsweep.probing import table

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("STILTSWEEP_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.e2e
@pytest.mark.skipif(
    not (DATA / "udpos").is_dir(), reason=f"no published data in {DATA}; name a folder by STILTSWEEP_DATA"
)
def test_treebanks_and_sentence_pairs_are_scored_far_above_chance(tmp_path: Path) -> None:
    for folder in ("workflow", "sweeps"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    configuration = yaml.safe_load((ROOT / "sweeps/files.yaml").read_text(encoding="utf-8"))
    configuration |= {
        "results": "results",
        "intermediates": ["none"],
        "data_root": str(DATA),
        "targets": {"ud_pos": ["he", "hu"], "tatoeba_files": ["jv", "te"]},
        "training": {"max_updates": 40, "evaluations": 1},
        "probes": {
            "tasks": ["ud_features_files"],
            "languages": ["he", "hu"],
            "features": ["Gender", "Case"],
            "stages": ["pretrained"],
            "sentences": 120,
            "pooling": ["mean"],
        },
    }
    (tmp_path / "reduced.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    snakemake(tmp_path, "--configfile", "reduced.yaml")
    cells = tmp_path / "results" / "cells" / "e5-small" / "none"
    # The most frequent tag is about 17% of the words; one sentence pair among 205 (Javanese) and 234 (Telugu).
    for name, counted, least in (
        ("ud_pos/seed0/he", 491, 45.0),
        ("ud_pos/seed0/hu", 449, 45.0),
        ("tatoeba_files/seed0/jv", 205, 25.0),
        ("tatoeba_files/seed0/te", 234, 60.0),
    ):
        cell = read_json(cells / f"{name}.json")
        assert cell["n"] == counted and cell["score"] > least, (name, cell["score"])
    probes = table.read(tmp_path / "results" / "probes" / "probes.csv")
    assert {(probe.language, probe.feature) for probe in probes} == {("he", "Gender"), ("hu", "Case")}
    # Hungarian's cases and Hebrew's genders can be read off all layers but the last ones, which give them up.
    assert all(probe.accuracy > probe.majority + 10 for probe in probes if probe.layer < 9)
    with (tmp_path / "results" / "significance" / "lift.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == []  # nothing to compare, and nothing made up
    assert "</html>" in (tmp_path / "results" / "report" / "index.html").read_text(encoding="utf-8")
