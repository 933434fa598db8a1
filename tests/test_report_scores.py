"""Benchmarks as papers print them, the best arm by English dev, and published scores beside ours."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import scores as scores_script
from test_significance_cells import GRID

import synthetic
from plain_means import aggregates
from report_fixtures import description
from stiltsweep import catalog, identity
from stiltsweep.errors import UserError
from stiltsweep.files import read_json, write_json, write_record
from stiltsweep.metrics import FITTING
from stiltsweep.report.run import read_run
from stiltsweep.report.scores import BEST, CATALOGUE, Reader, benchmark_rows, published_rows, read_published
from stiltsweep.significance import Settings
from stiltsweep.significance.cells import Statistics
from stiltsweep.significance.levels import Level, Levels, best

ARMS = ("none", "pairs", "typing")
TARGETS = ("intent", "slots")
BENCHMARKS = {
    "mini": {"intent": ["en", "fi", "de"], "slots": ["en", "ar"]},
    "other": {"intent": ["fi"], "absent": ["fi"]},
}


def sweep(folder: Path, dev: dict[str, float] | None = None, arms: tuple[str, ...] = ARMS, **more: Any) -> Reader:
    grid = GRID | {"intermediates": arms}
    synthetic.write_sweep(folder, n=150, targets=TARGETS, **{**grid, **more})
    run = description(intermediates=arms[1:], targets=TARGETS, languages=GRID["languages"], benchmarks=BENCHMARKS)
    write_json(folder / "report" / "run.json", run)
    for arm, score in (dev or {}).items():
        for target in TARGETS:
            for seed in (0, 1, 2):
                path = folder / "finetune" / "tiny" / arm / target / f"seed{seed}" / "checkpoint.json"
                write_record(path, {"dev": {"metric": "accuracy", "score": score + seed}, "learned": True})
    return Reader(read_run(folder / "report" / "run.json"), folder)


def test_scores_are_those_that_xtreme_would_compute(tmp_path: Path) -> None:
    """The means, as a reading of the cells of its own has them; every one within its interval."""
    reader = sweep(tmp_path, contaminated=[("typing", "slots")])
    cells = {
        cell: read_json(
            tmp_path / "cells" / f"{cell.model}/{cell.intermediate}/{cell.target}/seed{cell.seed}/{cell.language}.json"
        )
        for cell in reader.run.cells()
    }
    expected = {
        (r.benchmark, r.intermediate, r.task, r.transfer): r for r in aggregates(cells, BENCHMARKS, ["tiny"], ARMS)
    }
    found = {
        (r.benchmark, r.intermediate, r.task, r.transfer): r for r in benchmark_rows(reader) if r.intermediate != BEST
    }
    assert found.keys() == expected.keys()
    for key, row in found.items():
        if expected[key].score is None:
            assert row.score is None and row.reason
        else:
            assert row.score == pytest.approx(expected[key].score)
            assert row.score is not None and row.ci_low is not None and row.ci_high is not None
            assert row.ci_low < row.score < row.ci_high and row.n_seeds == 3
            assert row.contaminated == expected[key].contaminated
    assert found["mini", "none", "", False].score == pytest.approx(
        fmean(found["mini", "none", task, False].score or 0.0 for task in TARGETS)
    )
    assert "absent" in found["other", "none", "", True].reason


def test_intervals_cover_the_expected_score(tmp_path: Path) -> None:
    """Sweeps drawn anew, truth known: about 95 of 100 intervals of a mean over languages and tasks hold it."""
    inside = 0
    for number in range(20):
        reader = sweep(tmp_path / str(number), arms=("none",), rng_seed=100 + number, seed_sd=2.0)
        (row,) = [
            r
            for r in benchmark_rows(reader)
            if (r.benchmark, r.intermediate, r.task, r.transfer) == ("mini", "none", "", False)
        ]
        assert row.ci_low is not None and row.ci_high is not None
        inside += row.ci_low <= 60.0 <= row.ci_high
    assert inside >= 16


def test_the_best_arm_is_chosen_by_dev_and_never_by_test(tmp_path: Path) -> None:
    reader = sweep(
        tmp_path, {"none": 99.0, "pairs": 70.0, "typing": 60.0}, lifts={("typing", "fi"): 20.0, ("typing", "de"): 20.0}
    )
    rows = [r for r in benchmark_rows(reader) if r.intermediate == BEST and r.benchmark == "mini" and not r.transfer]
    assert {r.chosen for r in rows if r.task} == {"pairs"}
    pairs = {
        r.task: r.score
        for r in benchmark_rows(reader)
        if (r.intermediate, r.benchmark, r.transfer) == ("pairs", "mini", False)
    }
    assert {r.task: r.score for r in rows} == pytest.approx(pairs)


def test_the_mean_over_tasks_says_of_how_many_languages_it_is(tmp_path: Path) -> None:
    rows = [r for r in benchmark_rows(sweep(tmp_path)) if (r.benchmark, r.intermediate) == ("mini", "none")]
    counts = {(r.task, r.transfer): r.n_languages for r in rows}
    assert counts["", False] == len({"en", "fi", "de", "ar"}) and counts["", True] == len({"fi", "de", "ar"})
    assert (counts["intent", True], counts["slots", True]) == (2, 1)


def test_runs_that_do_not_count_have_no_say_in_the_choice(tmp_path: Path) -> None:
    """Their dev scores would choose an arm for runs that are not in its score."""
    reader = sweep(tmp_path, {"pairs": 70.0, "typing": 69.0}, failed_starts=[("typing", t, 2) for t in TARGETS])
    for target in TARGETS:
        path = tmp_path / f"finetune/tiny/typing/{target}/seed2/checkpoint.json"
        write_record(path, {"dev": {"metric": "accuracy", "score": 99.0}, "learned": True})
    chosen = {r.task: r.chosen for r in benchmark_rows(reader) if r.intermediate == BEST and r.score is not None}
    assert set(chosen.values()) == {"typing", ""}
    run = replace(reader.run, significance={**reader.run.significance, "failed_intermediates": "leave_out"})
    rows = [r for r in benchmark_rows(Reader(run, tmp_path)) if r.intermediate == BEST and r.task]
    assert {(r.chosen, r.n_seeds) for r in rows if r.score is not None} == {("pairs", 3)}


def test_the_choice_is_part_of_the_resampling() -> None:
    """Two arms that dev cannot tell apart, 10 points apart on test: the interval holds both; told apart, one."""
    settings = Settings(resamples=2000)
    flat = {"a": Level(60.0, np.full(2000, 60.0)), "b": Level(70.0, np.full(2000, 70.0))}
    arm, level = best(flat, {"a": {0: 80.0, 1: 82.0, 2: 81.2}, "b": {0: 80.1, 1: 81.8, 2: 81.0}}, settings)
    assert arm == "a" and level.score == 60.0
    assert level.interval(0.95) == (60.0, 70.0)
    assert 0.2 < (level.draws == 70.0).mean() < 0.8
    arm, level = best(flat, {"a": {0: 90.0, 1: 90.1, 2: 90.2}, "b": {0: 80.0, 1: 80.1, 2: 80.2}}, settings)
    assert (arm, level.interval(0.95)) == ("a", (60.0, 60.0))


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(CATALOGUE), *rows]) + "\n")
    return path


def test_only_what_agrees_stands_beside(tmp_path: Path) -> None:
    reader = sweep(tmp_path)
    ours = {r.languages: r for r in published_rows(reader, [table(
        tmp_path / "published.csv",
        "tiny,none,intent,fi,accuracy,60,Paper,a page",
        "tiny,none,intent,fi de,accuracy,20.5,Paper,a page",
        "tiny,none,intent,fi zh,accuracy,60,Paper,zh is not in the sweep",
        "tiny,none,intent,fi,macro_f1,60,Paper,another metric",
        "tiny,mnli,intent,fi,accuracy,60,Paper,another arm",
        "huge,none,intent,fi,accuracy,60,Paper,another model",
    )])}  # fmt: skip
    assert list(ours) == [("fi",), ("fi", "de")]
    near, far = ours.values()
    assert (near.within, far.within) == ("yes", "no")
    assert far.difference == pytest.approx(far.score - 20.5) and far.ci_low is not None and far.ci_low > 20.5
    with pytest.raises(UserError, match="line 2: score: 'x' is not a number"):
        read_published(table(tmp_path / "wrong.csv", "tiny,none,intent,fi,accuracy,x,Paper,a page"))


def test_the_catalogues_own_table_names_what_there_is() -> None:
    known = catalog.read()
    rows = read_published(catalog.BUILT_IN / "published.csv")
    assert len(rows) > 200
    for row in rows:
        target = known.targets[row["target"]]
        assert row["model"] in known.models and row["paper"] and row["source"]
        assert row["metric"] in FITTING[target.kind]
        assert set(row["languages"].split()) <= set(target.languages) and 0 <= float(row["score"]) <= 100


def test_the_script_writes_both_tables_the_same_twice(tmp_path: Path) -> None:
    sweep(tmp_path)
    described = tmp_path / "report" / "run.json"
    identity.record(described, identity.tabled("describe", [], {}))
    rows = table(tmp_path / "published.csv", "tiny,none,intent,fi,accuracy,60,Paper,a page")
    output = tmp_path / "significance" / "benchmarks.csv"
    arguments = [
        "--results",
        str(tmp_path),
        "--run",
        str(described),
        "--published",
        str(rows),
        "--output",
        str(output),
    ]
    contents = []
    for _ in range(2):
        scores_script.main(arguments)
        contents.append((output.read_bytes(), output.with_name("published.csv").read_bytes()))
    assert contents[0] == contents[1]
    assert set(identity.made(output)["files"]) == {"benchmarks.csv", "published.csv"}
    with open(output, encoding="utf-8", newline="") as handle:
        assert {row["benchmark"] for row in csv.DictReader(handle)} == {"mini", "other"}


def test_a_benchmark_of_the_source_language_alone_has_no_transfer_score(tmp_path: Path) -> None:
    reader = sweep(tmp_path)
    alone = Reader(replace(reader.run, benchmarks={"mini": {"intent": ["en"]}}), tmp_path)
    rows = {(r.task, r.transfer): r for r in benchmark_rows(alone) if r.intermediate == "none"}
    assert rows["intent", False].score is not None and rows["", False].score == rows["intent", False].score
    assert rows["intent", True].score is None and rows["intent", True].reason == "no language but the source"
    assert rows["", True].score is None


def test_a_language_in_which_nothing_was_counted_has_no_score_and_none_of_0() -> None:
    """A secondary metric may be 0/0 in one language: no entity there, and none predicted."""
    ids = tuple(f"{i:02}" for i in range(20))
    right = np.stack([np.arange(20.0) % 2, np.ones(20)], axis=1)
    values = {("none", seed, "de"): right for seed in (0, 1)} | {("none", 0, "fi"): right}
    values |= {("none", 1, "fi"): np.zeros((20, 2))}
    languages = frozenset({"de", "fi"})
    statistics = Statistics(
        "tiny",
        "ner",
        "span_f1",
        ("de", "fi"),
        {"none": (0, 1)},
        {"none": languages},
        dict.fromkeys(languages, ids),
        values,
    )
    levels = Levels(statistics, Settings(resamples=100))
    level = levels.of("none", ["de"])
    assert level is not None and level.score == 50.0
    assert levels.of("none", ["fi"]) is None and levels.of("none", ["de", "fi"]) is None
