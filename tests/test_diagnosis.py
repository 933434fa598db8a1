"""Buckets: restrictions add up to the whole, a planted lift is found where it was planted, what is too small is n/a."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthetic
from stiltsweep import identity
from stiltsweep.errors import UserError
from stiltsweep.files import write_json
from stiltsweep.resampling.intervals import p_value
from stiltsweep.significance import Settings, Statistics, compare, estimands, resample
from stiltsweep.significance.buckets import COLUMNS, FEWEST, OTHER, Attributes, buckets, diagnose, parting, restrict

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
CODES = ("fi", "hu", "ru", "de")
GROUPS = {"family": {"agglutinative": ["fi", "hu"], "fusional": ["ru", "de"], "isolating": []}}
SETTINGS = Settings(resamples=400)


def made(values: Mapping[str, Mapping[str, Sequence[Any]]], ids: Mapping[str, Sequence[str]]) -> Attributes:
    arrays = {
        name: {
            code: np.array(own, dtype=object if any(isinstance(v, str) for v in own) else np.float64)
            for code, own in by_language.items()
        }
        for name, by_language in values.items()
    }
    return Attributes({code: tuple(own) for code, own in ids.items()}, arrays)


def planted(
    lift: float, *, n: int = 200, parallel: str = "none", families: Sequence[str] = CODES
) -> tuple[Statistics, Attributes]:
    """Examples of which the longer half has a lift in some languages, and the shorter half none."""
    ids = {code: sorted(synthetic.example_ids(code, n, parallel, 1)) for code in CODES}
    length = {code: np.arange(len(ids[code])) % 2 * 10.0 + 5.0 for code in CODES}
    halves = {}
    for half, points in ((5.0, 0.0), (15.0, lift)):
        part = {code: [name for name, own in zip(ids[code], length[code]) if own == half] for code in CODES}
        expected = {(arm, c): 60.0 + points * (arm == "i" and c in families) for arm in ("none", "i") for c in CODES}
        halves[half] = synthetic.answers(np.random.default_rng([3, int(half)]), part, expected, (0, 1, 2), seed_sd=0.3)
    right = {}
    for key in halves[5.0]:
        right[key] = np.zeros(n)
        for half, found in halves.items():
            right[key][length[key[2]] == half] = found[key]
    return synthetic.statistics(right, ids), made({"length": {c: length[c].tolist() for c in CODES}}, ids)


def rows_of(statistics: Statistics, attributes: Attributes, **options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    asked = estimands(statistics.languages, GROUPS, "family")
    return {(row["bucket"], row["group"]): row for row in diagnose(statistics, attributes, SETTINGS, asked, **options)}


def test_a_lift_planted_in_long_inputs_is_found_there_alone() -> None:
    rows = rows_of(*planted(15.0))
    for group in ("all", "agglutinative", "fusional"):
        short, long = rows["5", group], rows["15", group]
        assert long["p_holm"] < 0.05 and long["ci_low"] > 3.0 and abs(long["lift"] - 15.0) < 6.0
        assert short["p"] > 0.05 and abs(short["lift"]) < 5.0
    assert (rows["5", "all"]["n_examples"], rows["15", "fusional"]["n_examples"]) == (400, 200)
    assert rows["15", "isolating"]["status"] == "n/a" and "isolating" in rows["15", "isolating"]["reason"]


def test_where_families_part() -> None:
    statistics, attributes = planted(25.0, families=("fi", "hu"))
    rows = list(rows_of(statistics, attributes).values())
    (found,) = parting(rows, "agglutinative", "fusional")["i"]
    assert (found["attribute"], found["bucket"]) == ("length", "15")
    assert found["difference"] == found["agglutinative"] - found["fusional"] > 15.0
    assert found["ci_low"] > 0.0 and found["p"] < 0.05
    # The other way round, and without contrasts; a table read from CSV holds texts.
    (turned,) = parting([{k: str(v) for k, v in row.items()} for row in rows], "fusional", "agglutinative")["i"]
    assert (turned["difference"], turned["ci_high"]) == (-found["difference"], -found["ci_low"])
    (bare,) = parting([row for row in rows if row["scope"] != "contrast"], "agglutinative", "fusional")["i"]
    assert bare["p"] is None
    assert parting(list(rows_of(*planted(0.0)).values()), "agglutinative", "fusional") == {}


@pytest.mark.parametrize("parallel", ["none", "partial", "full"])
def test_buckets_add_up_to_the_whole(parallel: str) -> None:
    rng = np.random.default_rng(4)
    ids = {code: sorted(synthetic.example_ids(code, 150, parallel, 0)) for code in CODES}
    expected = {(arm, code): 60.0 for arm in ("none", "i") for code in CODES}
    statistics = synthetic.statistics(synthetic.answers(rng, ids, expected, (0, 1)), ids)
    drawn = {code: rng.integers(1, 40, len(own)).astype(float).tolist() for code, own in ids.items()}
    attributes = made({"length": drawn}, ids)
    found = [restrict(statistics, attributes, bucket.members) for bucket in buckets(attributes, "length", 4)]
    for (arm, seed, code), values in statistics.values.items():
        parts = [part.values[arm, seed, code] for part in found if part]
        assert np.array_equal(np.sum([part.sum(axis=0) for part in parts], axis=0), values.sum(axis=0))
        assert sum(map(len, parts)) == len(ids[code])


def test_one_bucket_of_everything_is_the_engines_own_test() -> None:
    statistics, attributes = planted(5.0)
    everything = {code: np.ones(200, dtype=bool) for code in CODES}
    whole = restrict(statistics, attributes, everything)
    asked = estimands(statistics.languages, GROUPS, "family")
    assert whole is not None
    assert compare(resample(whole, SETTINGS), asked) == compare(resample(statistics, SETTINGS), asked)


def test_order_of_inputs_does_not_matter() -> None:
    statistics, attributes = planted(5.0)
    turned = Attributes(
        dict([*attributes.ids.items()][::-1]),
        {name: dict([*own.items()][::-1]) for name, own in attributes.values.items()},
    )
    assert rows_of(statistics, attributes) == rows_of(statistics, turned)


def test_numbers_are_cut_at_the_quantiles_of_all_languages() -> None:
    ids = {"en": ["a", "b", "c", "d"], "fi": ["a", "b", "c", "d"]}
    attributes = made({"length": {"en": [1, 2, 3, 4], "fi": [5, 6, 7, np.nan]}}, ids)
    found = buckets(attributes, "length", 3)
    assert [(bucket.name, bucket.low, bucket.high) for bucket in found] == [("1-3", 1, 3), ("4-5", 4, 5), ("6-7", 6, 7)]
    assert found[1].members["en"].tolist() == [False, False, False, True]
    assert [bucket.members["fi"].sum() for bucket in found] == [0, 1, 2]  # none holds what has no length


def test_ties_are_merged() -> None:
    ids = {"fi": [f"{i}" for i in range(10)]}
    found = buckets(made({"unknown": {"fi": [0.0] * 8 + [0.25, 0.5]}}, ids), "unknown", 4)
    assert [bucket.name for bucket in found] == ["0", "0.25-0.5"]
    assert [bucket.name for bucket in buckets(made({"unknown": {"fi": [0.0] * 10}}, ids), "unknown", 4)] == ["0"]
    assert buckets(made({"overlap": {"fi": [np.nan] * 10}}, ids), "overlap", 4) == []


def test_names_of_buckets_are_readable_and_differ() -> None:
    ids = {"fi": ["a", "b", "c", "d"]}
    lengths = made({"length": {"fi": [12, 900, 1500, 2048]}}, ids)
    assert [bucket.name for bucket in buckets(lengths, "length", 2)] == ["12-900", "1500-2048"]
    shares = made({"overlap": {"fi": [1.5711, 1.5712, 1.5713, 1.5714]}}, ids)
    assert [bucket.name for bucket in buckets(shares, "overlap", 2)] == ["1.5711-1.5712", "1.5713-1.5714"]


def test_rare_values_share_a_bucket() -> None:
    values = [f"v{min(i // 2, 11):02}" for i in range(30)]
    ids = {"fi": [f"{i:02}" for i in range(30)]}
    found = buckets(made({"label": {"fi": [*values[:-1], None]}}, ids), "label", 4)
    assert [bucket.name for bucket in found] == ["v11", *(f"v{i:02}" for i in range(8)), OTHER]
    assert found[-1].members["fi"].sum() == 6  # v08, v09 and v10
    assert sum(bucket.members["fi"].sum() for bucket in found) == 29


def test_what_is_too_small_is_not_tested() -> None:
    statistics, _ = planted(15.0)
    ids = statistics.ids
    few = {code: [1.0] * (200 - FEWEST + (code == "hu")) + [9.0] * (FEWEST - (code == "hu")) for code in CODES}
    rows = rows_of(statistics, made({"length": few}, ids), minimum=12)
    one, contrast = rows["9", "agglutinative"], rows["9", "agglutinative - fusional"]
    assert rows["9", "all"]["status"] == "ok" and rows["9", "all"]["languages"] == "de fi ru"
    assert (one["status"], one["reason"], one["languages"]) == ("n/a", "5 examples, fewer than 12", "fi")
    assert [one[key] for key in ("score", "lift", "ci_low", "p", "p_holm")] == [None] * 5
    assert contrast["status"] == "n/a"
    none_left = {code: [1.0] * 196 + [9.0] * 4 for code in CODES}
    rows = rows_of(statistics, made({"length": none_left}, ids))
    assert rows["9", "all"]["reason"] == f"no language has {FEWEST} examples"
    fusional = {code: [1.0] * 150 + ([1.0] * 50 if code in ("fi", "hu") else [9.0] * 50) for code in CODES}
    rows = rows_of(statistics, made({"length": fusional}, ids))
    reason = "fewer than 5 examples in each of fi hu"
    assert rows["9", "agglutinative"]["reason"] == rows["9", "agglutinative - fusional"]["reason"] == reason
    rows = rows_of(statistics, made({"length": {code: [1.0] * 200 for code in CODES}}, ids))
    assert {key: row["reason"] for key, row in rows.items()} == {("1", "all"): "all examples are in this bucket"}


def test_p_values_are_corrected_over_all_attributes() -> None:
    statistics, attributes = planted(15.0)
    twice = Attributes(attributes.ids, dict.fromkeys(("length", "tokens_per_word"), attributes.values["length"]))
    asked = estimands(statistics.languages, GROUPS, "family")
    rows = diagnose(statistics, twice, SETTINGS, asked)
    for attribute in twice.values:
        groups = [r for r in rows if r["attribute"] == attribute and r["scope"] == "group" and r["p"] is not None]
        assert len(groups) == 4  # two buckets of two families
        smallest = min(groups, key=lambda row: row["p"])
        assert smallest["p_holm"] == pytest.approx(min(1.0, 8 * smallest["p"]))
        assert smallest["p_bh"] <= smallest["p_holm"]
    assert all(tuple(row) == COLUMNS for row in rows)


def test_a_p_value_is_at_most_one() -> None:
    """Draws without a value count as extreme, once: in a small bucket some resamples hold nothing of a language."""
    assert p_value(np.zeros(1), np.zeros((1, 99)), np.array([5])).tolist() == [1.0]
    assert p_value(np.ones(1), np.zeros((1, 99)), np.array([5])).tolist() == [0.06]


def test_attributes_of_other_examples_are_refused() -> None:
    statistics, attributes = planted(0.0)
    ids = {**attributes.ids, "fi": tuple(f"x{name}" for name in attributes.ids["fi"])}
    with pytest.raises(UserError, match="other examples in fi than the cells"):
        rows_of(statistics, Attributes(ids, attributes.values))


def test_the_script(tmp_path: Path) -> None:
    """Cells and attributes from files, rows in any order; the two tables; a wrong attribute."""
    results = tmp_path / "results"
    codes = ["en", *CODES]
    synthetic.write_sweep(results, intermediates=("none", "pairs"), languages=codes, n=80)
    names = [(code, name) for code in codes for name in synthetic.example_ids(code, 80, "full", 0)]
    np.random.default_rng(0).shuffle(names)
    table = {
        "language": [code for code, _ in names],
        "id": [name for _, name in names],
        "length": [float(int(name[-1]) // 5) for _, name in names],
        "label": [None if name.endswith("9") else "xy"[int(name[-1]) % 2] for _, name in names],
    }
    measures = results / "measures" / "tiny" / "intent.json"
    write_json(measures, {"parallel": "full"})
    pq.write_table(pa.table(table), measures.with_suffix(".parquet"))
    identity.record(measures, identity.tabled("measure", [], {}), [measures.with_suffix(".parquet")])
    command = [
        sys.executable,
        str(SCRIPTS / "diagnose.py"),
        "--results",
        str(results),
        "--model",
        "tiny",
        "--target",
        "intent",
    ]
    command += ["--intermediates", "none", "pairs", "--seeds", "0", "1", "2", "--languages", *codes]
    command += ["--resamples", "200", "--attributes"]
    subprocess.run([*command, "length", "label"], check=True, capture_output=True)
    output = results / "diagnosis" / "tiny" / "intent.csv"
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert list(rows[0]) == list(COLUMNS)
    found = {(row["attribute"], row["bucket"]): row for row in rows if row["group"] == "all"}
    assert {key: row["n_examples"] for key, row in found.items()} == {
        ("length", "0"): "40", ("length", "1"): "40", ("label", "x"): "40", ("label", "y"): "32"
    }  # fmt: skip
    assert {row["scope"] for row in rows} == {"all", "group"}
    contrasts = list(csv.DictReader(output.with_suffix(".contrasts.csv").read_text().splitlines()))
    assert "agglutinative - fusional" in {row["group"] for row in contrasts}
    failed = subprocess.run([*command, "lenght"], check=False, capture_output=True, text=True)
    assert failed.returncode == 1 and "Did you mean 'length'?" in failed.stderr and "Traceback" not in failed.stderr
