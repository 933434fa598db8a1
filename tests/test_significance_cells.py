"""From cells on disk to lift.csv: what is refused, what is left out and named, and the scripts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lift
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import significance

import synthetic
from stiltsweep.catalog import BUILT_IN
from stiltsweep.errors import UserError
from stiltsweep.files import digest_file, read_json, write_record
from stiltsweep.languages import Languages
from stiltsweep.resampling.strata import stratify
from stiltsweep.significance import (
    COLUMNS,
    Comparison,
    Settings,
    Statistics,
    compare,
    estimands,
    read,
    resample,
    sensitivity,
    table,
)
from stiltsweep.significance import table as tables
from stiltsweep.significance.runs import RunScore

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
GRID: dict[str, Any] = {
    "intermediates": ("none", "pairs"),
    "seeds": (0, 1, 2),
    "languages": ("en", "fi", "hu", "de", "ru", "ar"),
}


@pytest.fixture
def results(tmp_path):
    synthetic.write_sweep(tmp_path, n=60, **GRID)
    return tmp_path


def reading(results: Path, **changes: Any) -> Statistics:
    return read(results, "tiny", "intent", **(GRID | changes))


def rows_of(statistics: Statistics, **settings: Any) -> list[dict[str, Any]]:
    groups = {"family": Languages.read([BUILT_IN / "languages.csv"]).groups("family", statistics.languages)}
    settings = {"resamples": 200} | settings
    return compare(resample(statistics, Settings(**settings)), estimands(statistics.languages, groups, "family"))


def edit(path, **changes):
    write_record(path, read_json(path) | changes)


def test_reads_every_cell_but_english(results):
    statistics = reading(results)
    assert statistics.languages == ("ar", "de", "fi", "hu", "ru")
    assert len(statistics.values) == 2 * 3 * 5
    assert statistics.values["pairs", 1, "fi"].shape == (60, 2)
    assert not statistics.gaps


def put(path, table):
    """Write the statistics of a cell, which vouches for them."""
    pq.write_table(table, path)
    cell = read_json(path.with_suffix(".json"))
    edit(path.with_suffix(".json"), digests=cell["digests"] | {"statistics": digest_file(path)})


def test_rows_in_another_order_are_the_same_test(results):
    expected = rows_of(reading(results))
    path = results / "cells/tiny/pairs/intent/seed1/fi.parquet"
    shuffled = pq.read_table(path).take(list(range(59, -1, -1)))
    put(path, shuffled)
    found = reading(results)
    assert rows_of(found) == expected
    assert rows_of(reading(results, languages=GRID["languages"][::-1], seeds=(2, 0, 1))) == expected


def test_equal_ids_of_data_that_are_not_parallel_are_told_apart(results):
    """Many data sets number the examples of every language from zero: no example is in two languages for that."""
    assert {row["n_examples"] for row in rows_of(reading(results)) if row["group"] == "all"} == {60}
    for path in results.glob("cells/**/*.json"):
        edit(path, parallel="none")
    statistics = reading(results)
    assert {row["n_examples"] for row in rows_of(statistics) if row["group"] == "all"} == {5 * 60}
    assert len(stratify(statistics.ids)) == 5


def test_missing_cells_are_refused_and_named(results):
    (results / "cells/tiny/pairs/intent/seed1/fi.json").unlink()
    with pytest.raises(UserError, match=r"1 of 30 cells are missing .*tiny/pairs/intent/seed1/fi.json.*allow_missing"):
        reading(results)


def test_missing_cells_become_gaps_when_allowed(results):
    """One cell missing: its language leaves that comparison. A run that lost most of its cells leaves as a whole."""
    cells = results / "cells/tiny/pairs/intent"
    (cells / "seed1/fi.json").unlink()
    for code in ("fi", "hu", "de"):
        (cells / f"seed2/{code}.parquet").unlink()
    statistics = reading(results, allow_missing=True)
    assert statistics.seeds == {"none": (0, 1, 2), "pairs": (0, 1)}
    assert sorted(statistics.held["pairs"]) == ["ar", "de", "hu", "ru"]
    found = {(row["scope"], row["group"]): row for row in rows_of(statistics)}
    finnish, family, all_ = found["language", "fi"], found["group", "agglutinative"], found["all", "all"]
    assert finnish["status"] == "n/a"
    assert "fi" in finnish["reason"]
    assert finnish["lift"] is None
    assert (family["status"], family["languages"], family["n_seeds"]) == ("ok", "hu", 2)
    assert all_["missing"].split() == [
        "tiny/pairs/intent/seed1/fi",
        *(f"tiny/pairs/intent/seed2/{code}" for code in ("de", "fi", "hu")),
        "tiny/pairs/intent/seed2:incomplete",
    ]
    assert found["language", "ar"]["missing"] == "tiny/pairs/intent/seed2:incomplete"


def test_runs_at_chance_are_left_out_and_named(tmp_path):
    synthetic.write_sweep(tmp_path, n=60, **GRID, unlearned=[("pairs", "intent", 1)])
    statistics = reading(tmp_path)
    assert statistics.seeds["pairs"] == (0, 2)
    assert {row["missing"] for row in rows_of(statistics)} == {"tiny/pairs/intent/seed1:at-chance"}


@pytest.mark.parametrize("arms", [("pairs",), ("none",), ("none", "pairs")])
def test_no_run_left_is_not_a_number(tmp_path, arms):
    synthetic.write_sweep(tmp_path, n=60, **GRID, unlearned=[(arm, "intent", s) for arm in arms for s in (0, 1, 2)])
    for row in rows_of(reading(tmp_path)):
        assert row["status"] == "n/a"
        assert row["lift"] is None
        assert row["reason"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 7}, "its path says"),
        ({"score": 12.0}, "the cell beside it says 12.0"),
        ({"n": 59}, "over 59"),
        ({"metric": "span_f1"}, "different metrics"),
    ],
)
def test_stale_or_foreign_cells_are_refused(results, changes, text):
    edit(results / "cells/tiny/pairs/intent/seed1/fi.json", **changes)
    with pytest.raises(UserError, match=text):
        reading(results)


def test_other_examples_and_double_ids_are_refused(results):
    path = results / "cells/tiny/pairs/intent/seed1/fi.parquet"
    found = pq.read_table(path)
    for ids, text in ((["odd", *found["id"].to_pylist()[1:]], "other examples"), (["ex-00001"] * 60, "occurs twice")):
        put(path, found.set_column(0, "id", pa.array(ids)))
        with pytest.raises(UserError, match=text):
            reading(results)


def test_broken_statistics_name_the_command_that_rebuilds_them(results):
    path = results / "cells/tiny/pairs/intent/seed1/fi.parquet"
    path.write_bytes(b"half a fi")
    with pytest.raises(UserError, match=r"fi.parquet: .*snakemake --cores 1 --force .*fi.json"):
        reading(results)


def test_a_grid_without_baseline_or_transfer_language_is_refused(results):
    with pytest.raises(UserError, match="lack 'none'"):
        reading(results, intermediates=("pairs",))
    with pytest.raises(UserError, match="no transfer language"):
        reading(results, languages=("en",))


def test_scripts_from_cells_to_lift(tmp_path, capsys):
    """The two commands, their files, the correction over the sweep, and the same bytes twice."""
    targets = ("intent", "slots")
    lifts = {("pairs", "agglutinative"): 15.0}
    languages = ["en", "fi", "hu", "id", "de", "ru", "ar"]
    synthetic.write_sweep(tmp_path, targets=targets, n=120, **(GRID | {"languages": languages}), lifts=lifts)
    options = ["--results", tmp_path, "--model", "tiny", "--intermediates", "none", "pairs", "--resamples", "500"]
    options += ["--seeds", "0", "1", "2", "--languages", *languages, "--groupings", "script"]

    for target in targets:
        significance.main([*map(str, options), "--target", target])
        assert "comparisons tested" in capsys.readouterr().out
    inputs = [tmp_path / "significance" / "tiny" / f"{target}.json" for target in targets]
    again = tmp_path / "again.json"
    command = [sys.executable, SCRIPTS / "significance.py", *options, "--target", "intent", "--output", again]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    assert again.read_bytes() == inputs[0].read_bytes()

    output = tmp_path / "significance" / "lift.csv"
    lift.main(["--inputs", *map(str, inputs), "--output", str(output)])
    with open(output, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS
    families = [row for row in rows if row["grouping"] == "family" and row["scope"] == "group"]
    assert [row["group"] for row in families[:4]] == ["agglutinative", "fusional", "introflexive", "isolating"]
    assert float(families[0]["lift"]) == pytest.approx(15.0, abs=6.0)
    assert float(families[0]["p_holm"]) <= float(families[0]["p_bh"]) * 4
    assert {row["contaminated"] for row in rows} == {"false"}
    parquet = pq.read_table(output.with_suffix(".parquet"))
    assert parquet.num_rows == len(rows)
    assert tuple(parquet.column_names) == COLUMNS
    # What was written reads back as what it is, and every field has a type in Parquet too.
    again = table.read_csv(output, Comparison)
    assert [one.lift for one in again] == [row["lift"] for row in parquet.to_pylist()]
    assert [one.n_examples for one in again] == [row["n_examples"] for row in parquet.to_pylist()]
    # The mean over a row's runs is its score: runs.csv and lift.csv are of the same runs and languages.
    runs = table.read_csv(output.with_name("runs.csv"), RunScore)
    for one in again:
        own = [run for run in runs if (run.target, run.intermediate) == (one.target, one.intermediate)]
        own = [run for run in own if (run.grouping, run.group) == (one.grouping, one.group)]
        if one.scope == "all" or (one.scope == "group" and own):
            assert sum(run.score for run in own) / len(own) == pytest.approx(one.score, abs=1e-8)
            assert own[0].baseline == pytest.approx(one.baseline_score, abs=1e-8)
            assert (len(own), own[0].n_languages) == (one.n_seeds, one.n_languages)
    # Indonesian is agglutinative by one source and isolating by another, and the table says so.
    with open(output.with_name("sensitivity.csv"), newline="") as handle:
        changed = list(csv.DictReader(handle))
    assert {row["variant"] for row in changed} == {
        "without-low-confidence",
        "low-confidence-relabelled",
        "all-relabelled",
    }
    moved = next(r for r in changed if (r["variant"], r["group"]) == ("low-confidence-relabelled", "agglutinative"))
    assert moved["languages"] == "fi hu"
    assert moved["relabelled"] == "id"
    assert moved["main_lift"] == families[0]["lift"]


def test_script_prints_one_line_for_a_user_error(results):
    command = [sys.executable, SCRIPTS / "significance.py", "--results", results, "--model", "tiny"]
    command += ["--target", "intent", "--intermediates", "none", "pairs", "--seeds", 0, 9, "--languages", "fi"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: tiny/intent: 2 of 4 cells are missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_combining_refuses_doubles_and_mixed_settings(tmp_path):
    base = {"model": "m", "target": "t", "settings": {"seed": 0}, "rows": [], "controls": []}
    for name, changes in (("a", {}), ("b", {}), ("c", {"target": "u", "settings": {"seed": 1}})):
        (tmp_path / f"{name}.json").write_text(json.dumps(base | changes))
    with pytest.raises(UserError, match="two of the files"):
        tables.combine([tmp_path / "a.json", tmp_path / "b.json"])
    with pytest.raises(UserError, match="m/u: tested with"):
        tables.combine([tmp_path / "a.json", tmp_path / "c.json"])


def languages_table(tmp_path, text):
    path = tmp_path / "languages.csv"
    path.write_text(text)
    return Languages.read([path])


def test_variants_of_labels(tmp_path):
    table = languages_table(
        tmp_path, "language,g,g_confidence,g_alternative\nen,x,high,\naa,x,high,\nbb,x,low,y\ncc,y,medium,w\n"
    )
    found = sensitivity.variants(table, "g", ["aa", "bb", "cc"])
    assert found == {
        "without-low-confidence": ({"x": ["aa"], "y": ["cc"]}, ["bb"]),
        "low-confidence-relabelled": ({"x": ["aa"], "y": ["bb", "cc"]}, ["bb"]),
        "all-relabelled": ({"w": ["cc"], "x": ["aa"], "y": ["bb"]}, ["bb", "cc"]),
    }
    assert sensitivity.variants(table, "g", ["aa"]) == {}


def test_a_conclusion_flips_when_significance_or_sign_does():
    def row(p, lift):
        return {"intermediate": "i", "scope": "group", "grouping": "g", "group": "x", "p_holm": p, "lift": lift}

    def flips(main, other):
        document = {"settings": {"confidence": 0.95}, "rows": [main], "sensitivity": [other]}
        return sensitivity.compared([document])[0]["flips"]

    assert flips(row(0.01, 2.0), row(0.2, 1.0))
    assert flips(row(0.01, 2.0), row(0.01, -2.0))
    assert not flips(row(0.01, 2.0), row(0.04, 1.0))
    assert not flips(row(0.3, 2.0), row(0.4, -1.0))
    assert not flips(row(0.01, 2.0), row(None, None))


def test_sensitivity_compares_with_the_row_of_its_own_grouping():
    """A second grouping may have a group of the same name."""

    def row(grouping: str, scope: str, lift: float, p: float) -> dict[str, object]:
        return {
            **dict.fromkeys(COLUMNS),
            "intermediate": "i",
            "scope": scope,
            "grouping": grouping,
            "group": "x",
            "lift": lift,
            "p_holm": p,
        }

    for scope in ("group", "contrast"):
        rows = [row("family", scope, 2.0, 0.01), row("mine", scope, -3.0, 0.9)]
        for document_rows in (rows, rows[::-1]):
            document = {
                "settings": {"confidence": 0.95},
                "rows": document_rows,
                "sensitivity": [{"variant": "v", "relabelled": "", **row("family", scope, 1.9, 0.01)}],
            }
            (found,) = sensitivity.compared([document])
            assert (found["main_lift"], found["main_p_holm"], found["flips"]) == (2.0, 0.01, False)
