"""Data sets of the Hugging Face hub: through `datasets` itself on copies in Parquet, and without a network."""

from __future__ import annotations

import builtins
import copy
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import published
import pyarrow as pa
import pytest
import yaml
from running import snakemake

from stiltsweep import records, sources
from stiltsweep.catalog import Task
from stiltsweep.errors import UserError
from stiltsweep.sources import files, hub

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NLI = {
    "id": "$row",
    "text_a": "premise",
    "text_b": "hypothesis",
    "label": {"column": "label", "map": ["entailment", "neutral", "contradiction"]},
}


@pytest.fixture(autouse=True)
def nothing_leaves_this_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.chdir(tmp_path)
    hub._look_up.cache_clear()


def definition(kind: str, source: dict[str, Any], languages: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"licence": "none", "parallel": "none", "metrics": ["accuracy"], "text2text": {}}
    return {"kind": kind, "source": {"type": "hub", "root": "data", **source}, "languages": languages, **about, **more}


def copy_of(root: Path, dataset: str, tables: dict[str, dict[str, pa.Table]], revision: str = COMMIT) -> None:
    """Write a data set's repository where copies of the hub's are looked for."""
    published.data_set(root / "hub" / dataset / revision, tables)


XNLI = {
    "dataset": "facebook/xnli",
    "revision": COMMIT,
    "config": "{language}",
    "columns": NLI,
    "keep": {"label": {"is_not": -1}},
    "splits": {"dev": "validation", "test": "test"},
}


def xnli(language: str, **source: Any) -> dict[str, Any]:
    return definition("classification", {**XNLI, **source}, {language: {"dev": 1, "test": 2}})


def pairs(*labels: int) -> pa.Table:
    count = range(len(labels))
    return pa.table({"premise": [f"π{i}" for i in count], "hypothesis": [f"ὑ{i}" for i in count], "label": labels})


def test_a_copy_below_the_data_folder_is_read_by_datasets_itself(tmp_path):
    copy_of(tmp_path / "data", "facebook/xnli", {"el": {"validation": pairs(1), "test": pairs(0, -1, 2)}, "de": {}})
    found = list(hub.read(xnli("el"), "el"))
    # The number of a row is upstream's, so that it is the same example in every language whatever is left out.
    assert [(row["split"], row["id"], row["label"]) for row in found] == [
        ("dev", "0", "neutral"),
        ("test", "0", "entailment"),
        ("test", "2", "contradiction"),
    ]
    assert found[2]["text_b"] == "ὑ2"
    assert found[2]["place"] == "hub data set facebook/xnli el, split test, row 3"
    assert hub.origin(xnli("el")) == {"type": "hub", "datasets": {"facebook/xnli": COMMIT}}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["contradiction", "neutral", "entailment"], True),
        (["neutral", "Entailment", "contradiction"], True),
        (["Entailment", "neutral", "CONTRADICTION"], False),
        (["0", "1", "2"], False),
        (["yes", "maybe", "no"], False),
    ],
)
def test_labels_in_another_order_than_the_map_are_refused(tmp_path, names, wrong, nested):
    """The file is written by `datasets` itself, with the names of its labels in it."""
    label: Any = datasets.ClassLabel(names=names)
    features = {"premise": datasets.Value("string"), "hypothesis": datasets.Value("string")}
    features["label"] = datasets.List(label) if nested else label
    labels = [[0], [2]] if nested else [0, 2]
    rows = {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": labels}
    folder = tmp_path / "data" / "hub" / "facebook" / "xnli" / COMMIT
    (folder / "el").mkdir(parents=True)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: el\n  data_files:\n  - {split: test, path: el/test-*}\n---\n"
    )
    table = folder / "el" / "test-0.parquet"
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(table)
    by_hub = definition("classification", {**XNLI, "splits": {"test": "test"}, "keep": {}}, {"el": {"test": 2}})
    by_file = {"type": "files", "root": str(table.parent), "format": "parquet", "columns": NLI}
    by_file = {**by_hub, "source": {**by_file, "splits": {"test": "test-0.parquet"}}}
    for reader, task in ((hub, by_hub), (files, by_file)):
        if wrong:
            with pytest.raises(UserError, match=rf"columns\.label\.map reads 0 as 'entailment', but .* {names[1]}, "):
                list(reader.read(task, "el"))
        elif not nested:
            assert [row["label"] for row in reader.read(task, "el")] == ["entailment", "contradiction"]


def test_prepare_from_the_hub_writes_rows_and_the_commit(tmp_path):
    copy_of(tmp_path / "data", "facebook/xnli", {"el": {"validation": pairs(1), "test": pairs(0, -1, 2)}})
    labels = ["entailment", "neutral", "contradiction"]
    task = Task("xnli", "target", xnli("el") | {"labels": labels})
    meta = sources.prepare(task, "el", tmp_path / "el.parquet")
    assert meta.counts == {"dev": 1, "test": 2}
    assert meta.source["datasets"] == {"facebook/xnli": COMMIT}
    assert [row["text_a"] for row in records.read_rows(tmp_path / "el.parquet", "test")] == ["π0", "π2"]


def test_nested_columns_numbered_tags_and_language_in_the_id(tmp_path):
    answers = [{"text": ["b"], "answer_start": [1]}, {"text": ["c", "bc"], "answer_start": [2, 1]}]
    table = pa.table(
        {"id": ["english-1-0", "arabic-7-0"], "context": ["abc"] * 2, "question": ["?"] * 2, "answers": answers}
    )
    dataset = "google-research-datasets/tydiqa"
    copy_of(tmp_path / "data", dataset, {"secondary_task": {"train": table, "validation": table}})
    columns: dict[str, Any] = {"id": "id", "context": "context", "question": "question"}
    columns |= {"answers": {"text": "answers.text", "start": "answers.answer_start"}}
    source = {"dataset": dataset, "revision": COMMIT, "config": "secondary_task", "columns": columns}
    source |= {"names": {"en": "english", "ar": "arabic"}, "keep": {"id": {"prefix": "{name}-"}}}
    source |= {"splits": {"train": "train", "test": "validation"}}
    tydiqa = definition("span_qa", source, {"en": {"train": 1}, "ar": {"test": 1}})
    assert [(row["split"], row["id"]) for row in hub.read(tydiqa, "en")] == [("train", "english-1-0")]
    (row,) = hub.read(tydiqa, "ar")
    assert row["answers"] == [{"text": "c", "start": 2}, {"text": "bc", "start": 1}]

    tags = pa.table({"tokens": [["กรุงเทพ", "ๆ"]], "ner_tags": [[5, 0]]})
    copy_of(tmp_path / "data", "unimelb-nlp/wikiann", {"th": {"test": tags}})
    labels = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
    columns = {"id": "$row", "tokens": "tokens", "tags": {"column": "ner_tags", "map": labels}}
    source = {"dataset": "unimelb-nlp/wikiann", "revision": COMMIT, "config": "{language}", "columns": columns}
    panx = definition("tagging", source | {"splits": {"test": "test"}}, {"th": {"test": 1}}, labels=labels)
    assert [row["tags"] for row in hub.read(panx, "th")] == [["B-LOC", "O"]]


def test_parts_may_come_from_several_data_sets(tmp_path):
    copy_of(tmp_path / "data", "stanfordnlp/snli", {"plain_text": {"train": pairs(0, -1)}})
    rounds = {f"train_r{i}": pairs(i).append_column("uid", [[f"r{i}"]]) for i in (1, 2)}
    copy_of(tmp_path / "data", "facebook/anli", {"plain_text": rounds})
    source = {
        "dataset": "stanfordnlp/snli",
        "revision": COMMIT,
        "config": "plain_text",
        "columns": NLI | {"id": {"template": "snli-{$row}"}},
        "keep": {"label": {"is_not": [-1]}},
        "splits": {
            "train": [
                "train",
                {"dataset": "facebook/anli", "split": "train_r1", "columns": NLI | {"id": "uid"}},
                {"dataset": "facebook/anli", "split": "train_r2", "columns": NLI | {"id": "uid"}},
            ]
        },
    }
    plus = definition("classification", source, {"en": {"train": 3}})
    assert [row["id"] for row in hub.read(plus, "en")] == ["snli-0", "r1", "r2"]
    assert hub.origin(plus)["datasets"] == {"facebook/anli": COMMIT, "stanfordnlp/snli": COMMIT}


def test_the_hub_is_asked_for_the_pinned_revision_and_rows_stream(monkeypatch):
    asked = []
    produced = []

    def endless():
        for index in range(1_000_000):
            produced.append(index)
            yield {"premise": f"p{index}", "hypothesis": "h", "label": 0}

    def load_dataset(path, name=None, **more):
        asked.append((path, name, more))
        return datasets.IterableDataset.from_generator(endless)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    stream = hub.read(xnli("sw", streaming=True), "sw")
    assert next(stream)["text_a"] == "p0"
    expected = {"split": "validation", "revision": COMMIT, "streaming": True}
    assert asked == [("facebook/xnli", "sw", expected)]
    assert len(produced) < 10


def test_a_moving_revision_is_looked_up_once_and_its_commit_is_read_and_recorded(monkeypatch):
    asked = []

    class Api:
        def dataset_info(self, dataset, revision, timeout):
            asked.append((dataset, revision))
            return type("Info", (), {"sha": COMMIT})()

    revisions = []

    def load_dataset(path, name=None, **more):
        revisions.append(more["revision"])
        return datasets.Dataset.from_list([{"premise": "p", "hypothesis": "h", "label": 0}])

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    moving = xnli("sw", revision="refs/convert/parquet", streaming=True)
    assert len(list(hub.read(moving, "sw"))) == 2
    assert hub.origin(moving)["datasets"] == {"facebook/xnli": COMMIT}
    assert revisions == [COMMIT, COMMIT]
    assert asked == [("facebook/xnli", "refs/convert/parquet")]


def failing(monkeypatch, error: Exception) -> None:
    def load_dataset(*args: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset)


# The HTTP library under the hub's client raises errors that are no OSError; which library it is has changed before.
HttpError = type("ConnectError", (Exception,), {"__module__": "httpx"})


@pytest.mark.parametrize(
    "error",
    [
        HttpError("Name or service not known"),
        ConnectionError("Couldn't reach 'facebook/xnli' on the Hub (LocalEntryNotFoundError)"),
        FileNotFoundError("Couldn't find any data file\nsecond line"),
        datasets.exceptions.DatasetNotFoundError("Dataset 'facebook/xnli' doesn't exist on the Hub"),
        builtins.TimeoutError(),
    ],
)
def test_without_the_hub_one_sentence_says_what_is_missing_and_where_to_put_it(monkeypatch, error):
    failing(monkeypatch, error)
    with pytest.raises(UserError) as raised:
        hub.read(xnli("sw"), "sw")
    text = str(raised.value)
    assert "\n" not in text
    assert f"hub data set facebook/xnli at revision {COMMIT} cannot be had" in text
    assert f"--local-dir DATA_ROOT/hub/facebook/xnli/{COMMIT}" in text
    assert "type: files" in text


@pytest.mark.parametrize(
    "error", [HttpError("offline mode"), huggingface_hub.errors.OfflineModeIsEnabled("offline mode")]
)
def test_a_revision_that_cannot_be_looked_up_gives_the_same_sentence(monkeypatch, error):
    class Api:
        def dataset_info(self, dataset, revision, timeout):
            raise error

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    for call in (lambda d: hub.read(d, "sw"), hub.origin):
        with pytest.raises(UserError, match=r"at revision main cannot be had \(offline mode\)"):
            call(xnli("sw", revision="main"))


def test_a_connection_that_breaks_while_reading_is_told_apart_from_a_bug(monkeypatch):
    def broken():
        yield {"premise": "p", "hypothesis": "h", "label": 0}
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **more: broken())
    stream = hub.read(xnli("sw", streaming=True), "sw")
    next(stream)
    with pytest.raises(UserError, match=r"cannot be had \(reset by peer\)"):
        next(stream)


def test_a_bug_is_not_taken_for_the_network(monkeypatch):
    failing(monkeypatch, ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        hub.read(xnli("sw"), "sw")


def test_loading_scripts_are_refused_with_the_way_out(monkeypatch):
    failing(monkeypatch, RuntimeError("Dataset scripts are no longer supported, but found xnli.py"))
    with pytest.raises(UserError, match=r"needs a loading script.*refs/convert/parquet.*type: files"):
        hub.read(xnli("sw"), "sw")


def test_unknown_configurations_splits_and_columns_name_the_nearest(tmp_path):
    tables = {f"xquad.{code}": {"validation": pairs(1), "test": pairs(0)} for code in ("el", "de")}
    copy_of(tmp_path / "data", "facebook/xnli", tables)
    with pytest.raises(UserError, match=r"facebook/xnli xquda\.el.*Did you mean 'xquad\.el'\?"):
        hub.read(xnli("el", config="xquda.{language}"), "el")
    with pytest.raises(UserError, match=r"split validatoin.*Did you mean 'validation'\?"):
        hub.read(xnli("el", config="xquad.{language}", splits={"dev": "validatoin", "test": "test"}), "el")
    wrong = xnli("el", config="xquad.{language}", columns=NLI | {"text_a": "premises"})
    with pytest.raises(UserError, match=r"split validation, row 1: text_a: .*'premises'.*Did you mean 'premise'\?"):
        list(hub.read(wrong, "el"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "xnli"}, r"dataset: 'xnli' does not match"),
        ({"revision": None}, r"revision: None is not of type string"),
        ({"confg": "x"}, r"source: unknown key 'confg'; .*Did you mean 'config'\?"),
        ({"format": "tsv"}, r"source: unknown key 'format'"),
        ({"config": "{lang}"}, r"unknown placeholder \{lang\}.*Did you mean 'language'\?"),
        ({"splits": {"dev": {"split": "validation", "revison": "x"}, "test": "test"}}, r"Did you mean 'revision'\?"),
    ],
)
def test_a_wrong_source_is_refused_without_a_network(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        hub.check(xnli("el", **changes))


def test_a_revision_is_required():
    source = copy.deepcopy(XNLI)
    del source["revision"]
    with pytest.raises(UserError, match=r"source\.splits\.dev: .*'revision' is missing"):
        hub.check(definition("classification", source, {"el": {"dev": 1}}))


@pytest.mark.e2e
def test_the_configurations_data_folder_is_that_of_hub_copies_too(tmp_path, monkeypatch):
    """Also when it moves: that is no change of any job, for the rows are those of the pinned revision."""
    labels = ["entailment", "neutral", "contradiction"]
    source = {key: value for key, value in XNLI.items() if key != "splits"} | {
        "type": "hub",
        "splits": {"test": "test"},
    }
    task = {"kind": "classification", "description": "A copy of a data set.", "licence": "none", "source": source}
    task |= {"labels": labels, "languages": {"el": {"test": 2}}, "metrics": ["accuracy"], "train_on": ["intent"]}
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    (tmp_path / "catalogue" / "target").mkdir(parents=True)
    (tmp_path / "catalogue" / "target" / "copied.yaml").write_text(yaml.safe_dump(task))
    configuration = {"catalog": ["catalogue"], "models": ["e5-small"], "intermediates": ["none"], "seeds": [0]}
    configuration |= {"targets": {"copied": ["el"]}, "minimum_examples": 1, "data_root": "first"}
    copy_of(tmp_path / "first", "facebook/xnli", {"el": {"test": pairs(0, -1, 2)}})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    wanted = "results/data/copied/el.parquet"

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration))
    snakemake(tmp_path, wanted, shared=True)
    assert [row["text_a"] for row in records.read_rows(tmp_path / wanted)] == ["π0", "π2"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**configuration, "data_root": "second"}))
    assert "Nothing to be done" in snakemake(tmp_path, wanted, "--dry-run").text
