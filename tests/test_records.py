"""Prepared data: every rule that refuses a row, what is left on disk, digests, and round trips in several scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stiltsweep import records
from stiltsweep.errors import UserError
from stiltsweep.facts import KINDS, SIDED

ABOUT = {"task": "toy", "language": "th", "metrics": ["accuracy"], "parallel": "full"}


def write(
    path: Path, kind: str, rows: list[dict[str, Any]], labels: list[str] | None = None, **more: Any
) -> records.Meta:
    return records.write_rows(path, kind, iter(rows), ABOUT, labels=labels or [], **more)


def classification(index: int, **changes: Any) -> dict[str, Any]:
    row = {"id": f"{index}", "split": "test", "text_a": "สวัสดี", "text_b": "γειά", "label": ("yes", "no")[index % 2]}
    return row | changes


def choice(index: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"{index}",
        "split": "test",
        "context": "ጥያቄ",
        "question": None,
        "choices": ["א", "ב"],
        "label": index % 2,
    }
    return row | changes


def tagged(index: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"{index}",
        "split": "test",
        "tokens": ["我", "爱", "你"],
        "tags": ["P", "V", "P"],
        "space_after": None,
    }
    return row | changes


def answered(index: int, **changes: Any) -> dict[str, Any]:
    # The context has a character outside the Basic Multilingual Plane before the answer: offsets count code points.
    row = {"id": f"{index}", "split": "test", "context": "𐍈 สีเขียว", "question": "สี?"}
    return row | {"answers": [{"text": "เขียว", "start": 4}]} | changes


def query(index: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"{index}", "split": "test", "side": "query", "text": "مرحبا", "gold": [f"{index}"]} | changes


def candidate(index: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"{index}", "split": "test", "side": "candidate", "text": "hello", "gold": []} | changes


def word(index: int, **changes: Any) -> dict[str, Any]:
    row = {"id": f"{index}", "split": "test", "tokens": ["मैं", "घर"], "features": ["Case=Nom|Person=1", "_"]}
    return row | {"space_after": None, "contracted": None} | changes


def plain(index: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"{index}", "split": "train", "text": "Мамо"} | changes


def written(index: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"{index}", "split": "test", "text": "ข่าว", "references": ["สรุป", f"{index}"]} | changes


MAKERS = {
    "text": (plain, []),
    "classification": (classification, ["yes", "no"]),
    "multiple_choice": (choice, []),
    "tagging": (tagged, ["P", "V"]),
    "word_features": (word, []),
    "span_qa": (answered, []),
    "retrieval": (query, []),
    "mining": (query, []),
    "generation": (written, []),
}

FAULTS = [
    ("generation", {"text": "\u3000"}, "text is empty"),
    ("generation", {"text": None}, "text is missing"),
    ("generation", {"references": None}, "references is missing"),
    ("generation", {"references": []}, "references must be non-empty texts"),
    ("generation", {"references": ["สรุป", " "]}, "references must be non-empty texts"),
    ("text", {"text": "\t"}, "text is empty"),
    ("classification", {"id": None}, "id is missing"),
    ("classification", {"split": None}, "split is missing"),
    ("classification", {"split": "dev2"}, "split is 'dev2', allowed: train, dev, test"),
    ("classification", {"label": None}, "label is missing"),
    ("classification", {"text_a": " \u3000\n"}, "text_a is empty"),
    ("classification", {"text_b": ""}, "text_b is empty"),
    ("classification", {"label": "maybe"}, "label 'maybe' is not one of ['no', 'yes']"),
    ("multiple_choice", {"choices": ["א"]}, "choices must be at least two non-empty texts"),
    ("multiple_choice", {"choices": ["א", " "]}, "choices must be at least two non-empty texts"),
    ("multiple_choice", {"label": 2}, "label 2 is not an index into its choices"),
    ("multiple_choice", {"label": -1}, "label -1 is not an index into its choices"),
    ("tagging", {"tokens": [], "tags": []}, "tokens must be non-empty texts"),
    ("tagging", {"tokens": ["我", "", "你"]}, "tokens must be non-empty texts"),
    ("tagging", {"tags": ["P", "V"]}, "3 tokens but 2 tags"),
    ("tagging", {"space_after": [True]}, "3 tokens but 1 space_after marks"),
    ("tagging", {"tags": ["P", "V", "Q"]}, "tag 'Q' is not one of ['P', 'V']"),
    ("word_features", {"contracted": [True]}, "2 tokens but 1 contracted marks"),
    ("span_qa", {"context": " "}, "context or question is empty"),
    ("span_qa", {"question": ""}, "context or question is empty"),
    ("span_qa", {"answers": [{"text": "เขียว", "start": 5}]}, "is not at offset 5"),
    ("span_qa", {"answers": [{"text": "", "start": 0}]}, "is not at offset 0"),
    ("retrieval", {"side": "answer"}, "side is 'answer', allowed: query, candidate"),
    ("retrieval", {"text": "\u200a"}, "text is empty"),
    ("retrieval", {"gold": []}, "a query needs at least one gold id"),
    ("mining", {"side": "answer"}, "side is 'answer', allowed: query, candidate"),
    ("mining", {"text": "\u200a"}, "text is empty"),
]


@pytest.mark.parametrize(("kind", "changes", "sentence"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_row_that_breaks_a_rule_is_refused_and_nothing_is_left(tmp_path, kind, changes, sentence):
    maker, labels = MAKERS[kind]
    good = [maker(0), candidate(0)] if kind in SIDED else [maker(0)]
    with pytest.raises(UserError) as error:
        write(tmp_path / "data" / "th.parquet", kind, [*good, maker(1, **changes)], labels)
    assert "toy/th" in str(error.value)
    assert sentence in str(error.value)
    if changes.get("id", "") is not None:
        assert "'1'" in str(error.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_refused_row_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "th.parquet"
    write(path, "classification", [classification(0)], ["yes", "no"])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(UserError):
        write(path, "classification", [classification(0, label="?")], ["yes", "no"])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_id_may_recur_in_another_split_or_on_the_other_side_but_not_beside_itself(tmp_path):
    path = tmp_path / "x.parquet"
    write(path, "tagging", [tagged(0, split="train"), tagged(0)], ["P", "V"])
    write(path, "retrieval", [query(0), candidate(0)])
    with pytest.raises(UserError, match=r"id '0' occurs twice in split 'test'"):
        write(path, "tagging", [tagged(0), tagged(1), tagged(0)], ["P", "V"])
    with pytest.raises(UserError, match=r"id '0' occurs twice"):
        write(path, "retrieval", [query(0), candidate(0), candidate(0)])


@pytest.mark.parametrize("kind", ["classification", "multiple_choice"])
def test_constant_labels_are_taken_for_hidden_ones_from_twenty_rows_on(tmp_path, kind):
    maker, labels = MAKERS[kind]
    label = maker(0)["label"]
    few = [maker(i, label=label) for i in range(19)]
    write(tmp_path / "x.parquet", kind, few, labels)
    with pytest.raises(UserError, match=r"all 20 answers of split 'test' are .*: they look hidden"):
        write(tmp_path / "y.parquet", kind, [*few, maker(19, label=label)], labels)
    varied = [maker(i, split="train") for i in range(40)]
    with pytest.raises(UserError, match="split 'test'"):
        write(tmp_path / "y.parquet", kind, [*varied, *few, maker(19, label=label)], labels)
    assert not (tmp_path / "y.parquet").exists()


def test_gold_must_name_candidates_of_the_same_split(tmp_path):
    path = tmp_path / "x.parquet"
    write(path, "retrieval", [query(0, gold=["1", "0"]), candidate(0), candidate(1)])
    with pytest.raises(UserError, match=r"query '0' names the candidate '2', which split 'test' lacks"):
        write(path, "retrieval", [query(0, gold=["2"]), candidate(0)])
    with pytest.raises(UserError, match=r"which split 'test' lacks"):
        write(path, "retrieval", [candidate(0, split="dev"), query(0)])


def test_no_rows_and_counts_or_digests_other_than_expected_are_refused(tmp_path):
    rows = [classification(i) for i in range(3)]
    with pytest.raises(UserError, match="no examples"):
        write(tmp_path / "x.parquet", "classification", [], ["yes", "no"])
    with pytest.raises(UserError, match="the number of test examples is 3, the catalogue expects 4"):
        write(tmp_path / "x.parquet", "classification", rows, ["yes", "no"], expected={"test": 4})
    with pytest.raises(UserError, match="the number of dev examples is None, the catalogue expects 3"):
        write(tmp_path / "x.parquet", "classification", rows, ["yes", "no"], expected={"dev": 3})
    with pytest.raises(UserError, match="the rows' digest is"):
        write(tmp_path / "x.parquet", "classification", rows, ["yes", "no"], expected={"sha256": "0" * 64})
    assert list(tmp_path.iterdir()) == []
    meta = write(tmp_path / "x.parquet", "classification", rows, ["yes", "no"])
    again = write(
        tmp_path / "x.parquet", "classification", rows, ["yes", "no"], expected={"test": 3, "sha256": meta.sha256}
    )
    assert again == meta


def test_retrieval_counts_queries_alone(tmp_path):
    meta = write(tmp_path / "x.parquet", "retrieval", [query(0), candidate(0), candidate(1), candidate(2)])
    assert meta.counts == {"test": 1}


@pytest.mark.parametrize("rows_a_batch", [1, 2, 3, 7, 8, 100])
def test_digest_and_rows_do_not_depend_on_batches(tmp_path, monkeypatch, rows_a_batch):
    rows = [classification(i, text_b=None if i == 3 else "γειά") for i in range(8)]
    expected = write(tmp_path / "a.parquet", "classification", rows, ["yes", "no"])
    monkeypatch.setattr(records, "_BATCH_ROWS", rows_a_batch)
    assert write(tmp_path / "b.parquet", "classification", rows, ["yes", "no"]).sha256 == expected.sha256
    assert records.read_rows(tmp_path / "b.parquet") == rows


def test_digest_depends_on_every_value_and_on_the_order(tmp_path):
    rows = [classification(0), classification(1)]
    changed = [
        rows[::-1],
        [classification(0, text_a="สวัสดิ"), rows[1]],
        [classification(0, text_b=None), rows[1]],
        [classification(0, split="dev"), rows[1]],
        [classification(0, id="00"), rows[1]],
        rows[:1],
    ]
    digests = [write(tmp_path / "x.parquet", "classification", r, ["yes", "no"]).sha256 for r in [rows, *changed]]
    assert len(set(digests)) == len(digests)


TEXTS = [
    "สีเขียว ๆ",
    "מה שלומך?",
    "ܫܠܡܐ",
    "我愛你。",
    "नमस्ते",
    "İstanbul'da ılık",
    "e\u0301 é",
    "𐍈🙂",
    "a\u2028b\x85c",
    'tab\t"quote" \\n',
]


def test_every_kind_is_tested():
    assert set(MAKERS) == set(KINDS)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_round_trip_in_several_scripts(tmp_path, kind):
    rows = []
    for index, text in enumerate(TEXTS):
        padded = f"x {text}"
        rows += {
            "text": [plain(index, text=text, split="test")],
            "classification": [classification(index, text_a=text, text_b=None if index % 2 else text)],
            "multiple_choice": [choice(index, context=text, choices=[text, padded], question=text)],
            "tagging": [tagged(index, tokens=[text, padded], tags=["P", "V"], space_after=[False, True])],
            "word_features": [word(index, tokens=[text, padded], space_after=[False, True])],
            "span_qa": [answered(index, context=padded, answers=[{"text": text, "start": 2}] if index % 3 else [])],
            "retrieval": [query(index, text=text), candidate(index, text=padded)],
            "mining": [query(index, text=text, gold=[] if index else ["0"]), candidate(index, text=padded)],
            "generation": [written(index, text=text, references=[padded, text])],
        }[kind]
    path = tmp_path / "data" / "th.parquet"
    meta = write(path, kind, rows, MAKERS[kind][1])
    assert records.read_rows(path) == rows
    assert records.read_rows(path, "test") == rows
    assert records.read_rows(path, "dev") == []
    assert records.read_meta(path) == meta
    assert json.loads(records.meta_path(path).read_text(encoding="utf-8"))["counts"] == {"test": len(TEXTS)}


def test_splits_are_read_apart_and_columns_that_no_kind_has_are_left_out(tmp_path):
    path = tmp_path / "x.parquet"
    rows = [tagged(0, split="train", place="a.conllu, line 1"), tagged(1), tagged(2)]
    write(path, "tagging", rows, ["P", "V"])
    assert [row["id"] for row in records.read_rows(path, "test")] == ["1", "2"]
    assert set(records.read_rows(path, "train")[0]) == {"id", "split", *KINDS["tagging"].columns}


def test_a_file_that_is_missing_or_cut_off_is_named_with_the_way_to_rebuild_it(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(UserError, match=r"x\.parquet.*Rebuild it with: snakemake"):
        records.read_rows(path)
    write(path, "tagging", [tagged(0)], ["P", "V"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"x\.parquet.*Rebuild it with: snakemake"):
        records.read_rows(path)
    records.meta_path(path).unlink()
    with pytest.raises(UserError, match=r"x\.json.*Rebuild it with: snakemake"):
        records.read_meta(path)
