"""The report's section "why": what was measured beside the scores, read, drawn and set in tables."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report_fixtures import TABLE, comparison, description, write_lift
from stiltsweep.behaviour import Failures
from stiltsweep.files import write_json
from stiltsweep.probing import table as probe_table
from stiltsweep.probing.table import Probe
from stiltsweep.report.page import build_report
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run
from synthetic import write_sweep

CODES = ("fi", "hu", "tr", "ko", "de", "ru", "es", "ar", "zh")


def probe(language: str, layer: int, accuracy: float, intermediate: str = "", seed: int | None = None) -> Probe:
    """Return a probe of the pretrained model, or after an intermediate stage."""
    return Probe(
        model="tiny",
        stage="intermediate" if intermediate else "pretrained",
        intermediate=intermediate or "none",
        training="",
        seed=seed,
        task="ud",
        language=language,
        family=TABLE.value(language, "family"),
        feature="Case",
        pooling="last",
        layer=layer,
        accuracy=accuracy,
        ci_low=accuracy - 1,
        ci_high=accuracy + 1,
        form_accuracy=accuracy - 10,
        control_accuracy=30.0,
        selectivity=accuracy - 30,
        majority=40.0,
        n_train=100,
        n_test=50,
        classes=3,
        selectivity_low=0.0,
        selectivity_high=1.0,
        n_unseen=10,
        lexicon_accuracy=45.0,
        entropy=1.5,
        information=0.7,
        random_accuracy=None if intermediate else 35.0,
        n_shared=5 if TABLE.value(language, "family") == "isolating" else 0,
        n_contracted={"de": 2, "es": 4, "ru": None}.get(language, 0),
    )


def bucket(**values: Any) -> dict[str, Any]:
    row = {
        "model": "tiny",
        "target": "intent",
        "metric": "accuracy",
        "intermediate": "pairs",
        "attribute": "length",
        "bucket": "1-5",
        "low": 1,
        "high": 5,
        "languages": "fi hu",
        "group": "agglutinative",
        "baseline_score": 50.0,
        "score": 51.0,
        "lift": 1.0,
        "ci_low": -1.0,
        "ci_high": 3.0,
        "p": 0.4,
        "n_examples": 60,
        "n_languages": 4,
        "status": "ok",
        "reason": "",
        "p_holm": 1.0,
        "p_bh": 0.9,
        "scope": "group",
    }
    assert values.keys() <= row.keys()
    return row | values


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished sweep in which tokens per word make the lift, and training on pairs adds to the last layer."""
    write_json(tmp_path / "report/run.json", description())
    lifts = [
        comparison(scope="language", grouping="language", group=code, lift=round(4.0 * fertility(code), 3))
        for code in CODES
    ]
    write_lift(tmp_path / "significance/lift.csv", [comparison(), *lifts])
    measures = {code: {"fertility": None if code == "zh" else fertility(code), "words": 10} for code in CODES}
    write_json(tmp_path / "measures/tiny/intent.json", {"model": "tiny", "target": "intent", "languages": measures})
    long = {"bucket": "6-9", "low": 6, "high": 9, "lift": 9.0, "ci_low": 5.0, "ci_high": 13.0, "p_holm": 0.01}
    rows = [
        bucket(),
        bucket(group="fusional"),
        bucket(**long),
        bucket(**long | {"group": "fusional", "lift": 0.25, "ci_low": -2.0, "ci_high": 2.5}),
    ]
    write_rows(tmp_path / "diagnosis/tiny/intent.csv", rows)
    apart = bucket(group="agglutinative - fusional", scope="contrast", bucket="6-9", lift=8.75, p=0.001, p_holm=0.02)
    write_rows(tmp_path / "diagnosis/tiny/intent.contrasts.csv", [apart])
    found = [probe(code, layer, 60.0 + 10 * (layer == 1)) for code in CODES for layer in range(3)]
    found += [
        probe(code, layer, 60.0 + 10 * (layer == 1) + 6 * (layer == 2), "pairs", seed)
        for code in CODES
        for layer in range(3)
        for seed in (0, 1)
    ]
    (tmp_path / "probes").mkdir()
    probe_table.write(tmp_path / "probes/probes.csv", found)
    failing = [
        Failures(
            "tiny",
            "none",
            "intent",
            seed,
            code,
            TABLE.value(code, "family"),
            "negation",
            1 + seed,
            4,
            rate,
            low,
            high,
            "needed",
        )
        for code in ("fi", "hu")
        for seed, rate, low, high in ((0, 25.0, 5.0, 70.0), (1, 50.0, 15.0, 85.0))
    ]
    write_rows(tmp_path / "behaviour/failures.csv", [vars(row) for row in failing])
    return tmp_path


def fertility(code: str) -> float:
    """Tokens per word that differ in every language."""
    return 1.0 + 0.1 * CODES.index(code)


def report(folder: Path) -> tuple[str, dict[str, list[dict[str, str]]]]:
    """Return the page and its tables."""
    build_report(
        Results.read(read_run(folder / "report/run.json"), folder, folder / "significance/lift.csv"),
        folder / "report/index.html",
    )
    tables = {}
    for path in (folder / "report/tables").glob("*.csv"):
        with open(path, encoding="utf-8", newline="") as handle:
            tables[path.stem] = list(csv.DictReader(handle))
    return (folder / "report/index.html").read_text(encoding="utf-8"), tables


def test_everything_measured_is_shown(folder):
    page, tables = report(folder)
    assert 'id="why"' in page
    assert "#why" in page
    for figure in ("tiny/layers", "tiny/intent/fertility", "tiny/intent/probe_gain", "tiny/intent/buckets"):
        assert (folder / f"report/figures/{figure}.svg").is_file(), figure
    explained = {row["covariate"]: row for row in tables["explained"] if row["intermediate"] == "pairs"}
    # Chinese has no words, hence no tokens per word.
    assert (explained["tokens per word"]["spearman"], explained["tokens per word"]["n_languages"]) == ("1.0", "8")
    assert "gain of the probe" in explained
    assert [row["lift"] for row in tables["bucket_contrasts"]] == ["8.75"]
    assert len(tables["buckets"]) == 4
    assert "within a bucket that hold after Holm: 1, the largest first" in page
    assert "intent after pairs, length 6-9: +9.0 in agglutinative, +0.2 in fusional languages" in page
    drawn = (folder / "report/figures/tiny/intent/buckets.svg").read_text()
    assert "pairs · length" in drawn


def test_probes_are_summed_up(folder):
    page, tables = report(folder)
    found = {(row["stage"], row["group"]): row for row in tables["probes"]}
    before, after = found["pretrained", "agglutinative"], found["intermediate", "agglutinative"]
    assert (before["peak"], float(before["accuracy"]), before["gain"]) == ("1", 70.0, "")
    assert (after["peak"], float(after["accuracy"]), float(after["gain"])) == ("1", 70.0, 0.0)
    assert float(before["selectivity"]) == 40.0
    assert float(before["form_accuracy"]) == 60.0
    assert float(before["lexicon"]) == 45.0
    assert (float(before["untrained"]), after["untrained"]) == (35.0, "")
    # Five of fifty words of isolating languages, and none of the others.
    assert "Words that share a piece with a neighbour, and with it a vector: 10% of isolating ones." in page
    # 2 and 4 of 50 in German and Spanish; of Russian it is not known.
    assert '"im"), or one of those: 6% of fusional ones.' in page.replace("&quot;", '"').replace("&#34;", '"')
    results = Results.read(read_run(folder / "report/run.json"), folder, folder / "significance/lift.csv")
    assert results.measured.probe_gains["tiny", "pairs", "fi"] == pytest.approx(2.0)


def test_failures_are_summed_over_seeds_and_languages(folder):
    _, tables = report(folder)
    (row,) = tables["behaviour"]
    assert (row["failures"], row["n"], row["failure_rate"]) == ("6", "16", "37.5")
    assert {row["language"]: row["failures"] for row in tables["behaviour_languages"]} == {"fi": "3", "hu": "3"}


def test_no_section_without_measures(tmp_path):
    write_json(tmp_path / "report/run.json", description())
    write_lift(tmp_path / "significance/lift.csv", [comparison()])
    page, tables = report(tmp_path)
    assert 'id="why"' not in page
    assert tables["tokenization"] == []


def test_a_contrast_that_holds_counts_although_intervals_overlap(folder):
    """Families share examples and runs, so their difference is known better than either lift."""
    place = folder / "diagnosis/tiny"
    wide = {"bucket": "6-9", "lift": 9.0, "ci_low": -5.0, "ci_high": 22.0}
    other = wide | {"group": "fusional", "lift": -1.0, "ci_low": -15.0, "ci_high": 12.0}
    write_rows(place / "intent.csv", [bucket(**wide), bucket(**other)])
    apart = bucket(group="agglutinative - fusional", scope="contrast", bucket="6-9", lift=10.0, p=0.001, p_holm=0.002)
    open_ = apart | {"bucket": "1-5", "lift": 12.0, "p_holm": 0.05}
    write_rows(place / "intent.contrasts.csv", [apart, open_])
    page, _ = report(folder)
    assert "hold after Holm: 1, the largest" in page
    assert "intent after pairs, length 6-9: +9.0 in agglutinative, −1.0 in fusional languages" in page
    write_rows(place / "intent.contrasts.csv", [open_])
    assert "In no bucket do the lifts of two families differ after Holm." in report(folder)[0]


def test_behavioural_tests_leave_out_the_source_and_runs_that_count_nowhere(folder):
    """English is of a family, too, and is what the target was trained in; a run at chance is in no average."""

    def row(code: str, seed: int, failures: int) -> Failures:
        family = TABLE.value(code, "family")
        return Failures("tiny", "none", "intent", seed, code, family, "negation", failures, 4, 0.0, 0.0, 0.0, "needed")

    rows = [row("en", 0, 0), row("de", 0, 3), row("de", 1, 4), row("fi", 0, 2), row("fi", 1, 4)]
    write_rows(folder / "behaviour/failures.csv", [vars(one) for one in rows])
    write_sweep(folder, intermediates=("none",), unlearned=[("none", "intent", 1)])
    _, tables = report(folder)
    by_family = {one["group"]: (one["failures"], one["n"], one["failure_rate"]) for one in tables["behaviour"]}
    assert by_family == {"fusional": ("3", "4", "75.0"), "agglutinative": ("2", "4", "50.0")}
    assert {one["language"]: one["n"] for one in tables["behaviour_languages"]} == {"en": "4", "de": "4", "fi": "4"}


def test_probes_of_trainings_at_chance_are_in_no_mean(folder):
    """The page says that such runs are in no average; so are the probes of what they trained."""
    path = folder / "probes/probes.csv"
    target = [
        replace(probe(code, layer, accuracy + (4.0 if arm == "pairs" else 0.0), "pairs", seed), stage="target")
        for arm in ("none", "pairs")
        for seed, accuracy in ((0, 60.0), (1, 10.0))
        for code in ("fi", "hu", "tr", "ko")
        for layer in range(2)
    ]
    arms = ["none"] * (len(target) // 2) + ["pairs"] * (len(target) // 2)
    found = [replace(one, intermediate=arm, training="intent") for one, arm in zip(target, arms, strict=True)]
    probe_table.write(path, found)
    write_sweep(folder, seeds=(0, 1), unlearned=[("none", "intent", 1), ("pairs", "intent", 1)])
    _, tables = report(folder)
    rows = {row["intermediate"]: row for row in tables["probes"] if row["group"] == "all"}
    assert (float(rows["none"]["accuracy"]), float(rows["pairs"]["accuracy"])) == (60.0, 64.0)
    assert {row["n_seeds"] for row in tables["probe_gains"]} == {"1"}
