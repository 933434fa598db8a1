"""Which runs count: a run's own failure, its intermediate's, and a head that nothing trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_prediction_failures import SETTINGS as PREDICTION
from test_robustness import NOTHING, settings
from test_significance_cells import GRID, reading, rows_of
from test_training import SETTINGS, a_run

import report_fixtures
import synthetic
import tiny
from stiltsweep.counting import FAILED_INTERMEDIATES, KEEP, LEAVE_OUT, left_out
from stiltsweep.files import read_json, write_json
from stiltsweep.models.load import Source
from stiltsweep.prediction import _learned, predict
from stiltsweep.records import read_meta
from stiltsweep.report.answer import answer
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run
from stiltsweep.report.scores import Reader, benchmark_rows
from stiltsweep.schema import check
from stiltsweep.training import loop

SEEDS = (0, 1, 2)


def test_the_default_is_the_schemas() -> None:
    settings = check({"models": ["m"], "intermediates": ["none"], "targets": {"t": "all"}}, "config", "config")
    assert settings["significance"]["failed_intermediates"] == FAILED_INTERMEDIATES[0] == KEEP


@pytest.mark.parametrize("rule", FAILED_INTERMEDIATES)
def test_a_run_is_judged_by_itself_and_then_by_its_start(rule: str) -> None:
    fine: dict[str, Any] = {"learned": True, "failed_stages": []}
    after = fine | {"failed_stages": ["intermediate/mnli"]}
    assert not left_out([fine, fine], rule)
    assert not left_out([{}], rule)  # cells of earlier versions say less
    assert left_out([fine, fine | {"learned": False}], rule) == "at-chance"
    assert left_out([after | {"learned": False}], rule) == "at-chance"
    assert left_out([after], rule) == ("" if rule == KEEP else "intermediate-at-chance")


def test_tests_and_benchmarks_follow_the_setting(tmp_path: Path) -> None:
    synthetic.write_sweep(tmp_path, n=60, **GRID, failed_starts=[("pairs", "intent", 1)])
    assert reading(tmp_path).seeds["pairs"] == SEEDS
    assert not reading(tmp_path).gaps
    without = reading(tmp_path, failed_intermediates=LEAVE_OUT)
    assert without.seeds == {"none": SEEDS, "pairs": (0, 2)}
    assert {row["missing"] for row in rows_of(without)} == {"tiny/pairs/intent/seed1:intermediate-at-chance"}
    codes = [code for code in GRID["languages"] if code != "en"]
    for rule, runs in ((KEEP, 3), (LEAVE_OUT, 2)):
        described = results_of(tmp_path, failed_intermediates=rule).run
        rows = benchmark_rows(Reader(replace(described, benchmarks={"x": {"intent": codes}}), tmp_path))
        assert {row.n_seeds for row in rows if row.intermediate == "pairs"} == {runs}


def results_of(folder: Path, **tests: Any) -> Results:
    """Read the cells of a sweep with two arms, whatever was tested of them."""
    run = report_fixtures.description(intermediates=("pairs",), languages=GRID["languages"])
    run["significance"] |= tests
    write_json(folder / "run.json", run)
    lift = report_fixtures.write_lift(folder / "lift.csv", rows_of(reading(folder, **tests)))
    return Results.read(read_run(folder / "run.json"), folder, lift)


@pytest.mark.parametrize("rule", FAILED_INTERMEDIATES)
def test_the_page_says_whose_failure_it_was(tmp_path: Path, rule: str) -> None:
    starts = [("pairs", "intent", seed) for seed in SEEDS]
    synthetic.write_sweep(tmp_path, n=60, **GRID, failed_starts=starts)
    results = results_of(tmp_path, failed_intermediates=rule)
    found = Counter(entry.what for entry in results.exclusions)
    assert found["intermediate learned nothing"] == 3 and not found["learned nothing"]
    reasons = {entry.reason for entry in results.exclusions if entry.what != "not built"}
    (reason,) = reasons
    assert reason.startswith("intermediate/pairs ended at chance level") and "the run itself learned" in reason
    text = " ".join(detail.text for point in answer(results).points for detail in point.details)
    assert ("3 runs learned the target" in text) and ("and count." if rule == KEEP else "are in no average") in text
    kept = {arm for arm, seeds in reading(tmp_path, failed_intermediates=rule).seeds.items() if seeds}
    assert kept == ({"none", "pairs"} if rule == KEEP else {"none"})


def test_the_baseline_stays_where_the_other_arm_has_no_run(tmp_path: Path) -> None:
    synthetic.write_sweep(tmp_path, n=60, **GRID, unlearned=[("pairs", "intent", seed) for seed in SEEDS])
    alone = {(row["scope"], row["group"]): row for row in rows_of(reading(tmp_path))}
    fine = tmp_path / "fine"
    synthetic.write_sweep(fine, n=60, **GRID)
    for row in rows_of(reading(fine)):
        lost = alone[row["scope"], row["group"]]
        assert (lost["status"], lost["lift"], lost["score"]) == ("n/a", None, None)
        if row["status"] == "ok":
            assert lost["baseline_score"] == pytest.approx(row["baseline_score"])
            assert lost["reason"] == "no run of pairs counts (at-chance)"


def test_an_intermediate_at_chance_is_not_the_targets_failure(tmp_path: Path) -> None:
    """Trained: a stage that learns nothing, then the target, which does."""
    first = a_run(tmp_path, settings(**NOTHING))
    first = replace(first, output=tmp_path / "first" / "checkpoint.json")
    first = replace(first, identity={"model": "tiny", "intermediate": "other", "target": None})
    loop.train(first)
    assert not read_json(first.output)["learned"]
    second = replace(a_run(tmp_path, SETTINGS), start=first.output)
    second = replace(second, identity={"model": "tiny", "intermediate": "other", "target": "tiny"})
    loop.train(second)
    about = read_json(second.output)
    assert about["learned"] and about["failed_stages"] == ["intermediate/other"]
    data = {code: tmp_path / "data" / f"{code}.parquet" for code in ("en", "de")}
    index = tmp_path / "predictions" / "predictions.json"
    predict(second.output, data, index, PREDICTION, identity={})
    found = read_json(index)
    assert found["learned"] and found["failed_stages"] == ["intermediate/other"]


def test_a_head_that_nothing_trained_never_learned(tmp_path: Path) -> None:
    data = tiny.classification(tmp_path / "data")
    start = tiny.encoder(tmp_path / "model")
    index = tmp_path / "predictions" / "predictions.json"
    predict(start, data, index, PREDICTION, identity={})
    assert read_json(index)["learned"] is False
    meta = read_meta(data["en"])
    about = read_json(start)
    trained = {"head_sha256": "f", "kind": meta.kind, "labels": list(meta.labels), "learned": True, "target": "tiny"}

    def learned(**changes: Any) -> bool:
        return _learned(Source(tmp_path, about, tmp_path, trained | changes), meta)

    assert learned()
    assert not learned(learned=False)
    assert not learned(head_sha256=None)
    assert not learned(kind="tagging")
    # Another task's head with as many labels, and one whose labels stand in another order.
    assert not learned(labels=[f"other-{label}" for label in meta.labels])
    assert not learned(labels=list(meta.labels)[::-1])
    # Retrieval has no head: nothing of its own can fail.
    pairs = replace(meta, kind="retrieval", labels=[])
    assert _learned(Source(tmp_path, about), pairs)
    stage = trained | {"kind": "classification", "learned": False, "target": None, "intermediate": "mnli"}
    source = Source(tmp_path, about, tmp_path, stage)
    assert _learned(source, pairs) and source.failed_stages == ["intermediate/mnli"]
