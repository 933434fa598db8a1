"""The benchmark `today`: its targets read rows with the columns that the published data sets have, without any code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import published
import pytest

from stiltsweep import catalog, records, sources
from stiltsweep.catalog import Task
from stiltsweep.sources import hub

CATALOGUE = catalog.read()
Rows = list[dict[str, Any]]


def nli(count: int) -> Rows:
    return [{"premise": f"p{i}", "hypothesis": f"h{i}", "label": i % 3} for i in range(count)]


def sib(count: int) -> Rows:
    topics = ["geography", "science/technology", "health"]
    return [{"index_id": 7 * i, "category": topics[i % 3], "text": f"t{i}"} for i in range(count)]


def utterances(count: int) -> Rows:
    intents = ["alarm_set", "iot_hue_lightoff", "cooking_query"]
    return [
        {"id": str(i), "label": intents[i % 3], "label_text": intents[i % 3], "text": f"t{i}", "lang": "x"}
        for i in range(count)
    ]


def passages(count: int) -> Rows:
    return [
        {"link": f"https://x/{i // 2}", "question_number": 1 + i % 2, "flores_passage": f"passage {i // 2}"}
        | {"question": f"q{i}", "correct_answer_num": str(1 + i % 4), "dialect": "x", "ds": "2023-05-03"}
        | {f"mc_answer{k}": f"a{k} {i}" for k in range(1, 5)}
        for i in range(count)
    ]


def stories(count: int) -> Rows:
    return [
        {"story_id": f"s{i}", "sentence_quiz1": "one", "sentence_quiz2": "two", "answer_right_ending": 1 + i % 2}
        | {f"input_sentence_{k}": f"{k}." for k in range(1, 5)}
        for i in range(count)
    ]


def exams(count: int) -> Rows:
    return [
        {"sample_id": f"anatomy/test/{i}", "subject": "anatomy", "question": f"q{i}", "answer": "ABCD"[i % 4]}
        | {f"option_{k}": f"{k}{i}" for k in "abcd"}
        for i in range(count)
    ]


def mmlu(count: int) -> Rows:
    return [{"question": f"q{i}", "subject": "", "choices": list("wxyz"), "answer": i % 4} for i in range(count)]


def race(count: int) -> Rows:
    return [
        {
            "example_id": f"high{i}.txt",
            "article": "A.",
            "answer": "ABCD"[i % 4],
            "question": "_?",
            "options": list("wxyz"),
        }
        for i in range(count)
    ]


PUBLISHED: dict[str, dict[str, dict[str, dict[str, Rows]]]] = {
    "sib200": {
        "mteb/sib200": {
            "eng_Latn": {"train": sib(9), "validation": sib(3), "test": sib(6)},
            "swh_Latn": {"train": sib(9), "validation": sib(3), "test": sib(6)},
        },
        "Davlan/sib200": {"arb_Arab": {"train": sib(9), "validation": sib(3), "test": sib(6)}},
    },
    "massive": {
        "mteb/amazon_massive_intent": {
            "en": {"train": utterances(9), "validation": utterances(3), "test": utterances(6)},
            "zh-CN": {"train": utterances(9), "validation": utterances(3), "test": utterances(6)},
        }
    },
    "belebele": {"facebook/belebele": {"eng_Latn": {"test": passages(6)}, "zho_Hans": {"test": passages(6)}}},
    "xstorycloze": {
        "juletxara/xstory_cloze": {
            "en": {"train": stories(360), "eval": stories(6)},
            "my": {"train": stories(360), "eval": stories(6)},
        }
    },
    "global-mmlu": {
        "CohereLabs/Global-MMLU": {
            "en": {"dev": exams(2), "test": exams(6)},
            "yo": {"dev": exams(2), "test": exams(6)},
        },
        "cais/mmlu": {"all": {"auxiliary_train": mmlu(9), "test": mmlu(2), "validation": mmlu(3), "dev": mmlu(1)}},
    },
    "afrixnli": {
        "masakhane/afrixnli": {
            "eng": {"validation": nli(3), "test": nli(6)},
            "orm": {"validation": nli(3), "test": nli(6)},
        }
    },
    "americasnli": {"nala-cub/americas_nli": {"quy": {"validation": nli(3), "test": nli(6)}}},
    "race": {"ehovy/race": {"all": {"train": race(9), "validation": race(3), "test": race(3)}}},
}
EXPECTED: dict[tuple[str, str], dict[str, int]] = {
    ("sib200", "en"): {"train": 9, "dev": 3, "test": 6},
    ("sib200", "sw"): {"test": 6},
    ("sib200", "ar"): {"test": 6},
    ("massive", "en"): {"train": 9, "dev": 3, "test": 6},
    ("massive", "zh"): {"test": 6},
    ("belebele", "en"): {"test": 6},
    ("belebele", "zh"): {"test": 6},
    ("xstorycloze", "en"): {"train": 288, "dev": 72, "test": 6},
    ("xstorycloze", "my"): {"test": 6},
    ("global-mmlu", "en"): {"train": 9, "dev": 3, "test": 6},
    ("global-mmlu", "yo"): {"test": 6},
    ("afrixnli", "en"): {"test": 6},
    ("afrixnli", "om"): {"test": 6},
    ("americasnli", "qu"): {"test": 6},
    ("race", "en"): {"train": 9, "dev": 3},
    ("flores", "de"): {"test": 2},
    ("uner", "en"): {"train": 2, "dev": 2, "test": 2},
    ("uner", "de"): {"test": 2},
    ("masakhaner2", "yo"): {"test": 2},
}
UNER = (
    "# sent_id = {name}1\n# text = Anna sees Rome .\n1\tAnna\tB-PER\t-\t-\n2\tsees\tO\t-\t-\n3\tRome\tB-LOC\t-\t-\n"
    "4\t.\tO\t-\t-\n\n# sent_id = {name}2\n# text = #1 New York\n1\t#1\tO\t-\t-\n2\tNew\tB-LOC\t-\t-\n"
    "3\tYork\tI-LOC\t-\t-\n\n"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every data set as it is published, in small."""
    root = tmp_path_factory.mktemp("data")
    for name, sets in PUBLISHED.items():
        commits = dict(revisions(CATALOGUE.task(name).definition["source"]))
        for dataset, configs in sets.items():
            published.data_set(root / "hub" / dataset / commits[dataset], configs)
    for code, texts in (("eng_Latn", "One.\nTwo.\n"), ("deu_Latn", "Eins.\nZwei.\n")):
        path = root / "flores200_dataset" / "devtest" / f"{code}.devtest"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts, encoding="utf-8")
    for name in ("English-EWT/en_ewt-ud-train", "English-EWT/en_ewt-ud-dev", "English-PUD/en_pud-ud-test"):
        write_uner(root / "uner" / f"UNER_{name}.iob2")
    write_uner(root / "uner" / "UNER_German-PUD" / "de_pud-ud-test.iob2")
    (root / "masakhaner2" / "yor").mkdir(parents=True)
    lines = "Abẹ́rẹ́ O\nỌyọ B-LOC\n\nNí O\nọdún B-DATE\n2019 I-DATE\n. O\n"
    (root / "masakhaner2" / "yor" / "test.txt").write_text(lines, encoding="utf-8")
    return root


def write_uner(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(UNER.format(name="n0" if "PUD" in path.parent.name else path.stem), encoding="utf-8")


def revisions(source: Any) -> Iterator[tuple[str, str]]:
    """Yield data set and revision of a source and of all its parts."""
    if isinstance(source, dict):
        if "dataset" in source:
            yield source["dataset"], source["revision"]
        for value in source.values():
            yield from revisions(value)
    if isinstance(source, list):
        for value in source:
            yield from revisions(value)


@pytest.mark.parametrize(("name", "language"), EXPECTED)
def test_published_columns_become_rows(
    name: str, language: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    hub._look_up.cache_clear()
    found = prepared(name, language, data, tmp_path)
    kind = CATALOGUE.task(name).kind
    unit = 2 if kind == "retrieval" else 1
    counts = {split: n * unit for split, n in EXPECTED[name, language].items()}
    assert {split: len(rows) for split, rows in found.items()} == counts
    if name in ("sib200", "massive", "belebele", "xstorycloze", "uner") and language != "en":
        english = prepared(name, "en", data, tmp_path)
        assert [row["id"] for row in found["test"]] == [row["id"] for row in english["test"]]


def prepared(name: str, language: str, data: Path, folder: Path) -> dict[str, Rows]:
    """Prepare a task's language as a job does; return its rows by split."""
    task, counts = CATALOGUE.task(name), EXPECTED[name, language]
    assert language in task.languages
    few = Task(task.name, task.role, {**task.definition, "languages": {language: counts}})
    path = folder / f"{language}.parquet"
    sources.prepare(few, language, path, str(data), expected={})
    return {split: records.read_rows(path, split) for split in counts}


def test_what_stands_in_the_rows(data: Path, tmp_path: Path) -> None:
    """Labels and choices by hand, one of each form."""
    (story, *_) = prepared("xstorycloze", "my", data, tmp_path)["test"]
    assert (story["context"], story["choices"], story["label"]) == ("1. 2. 3. 4.", ["one", "two"], 0)
    rows = prepared("belebele", "zh", data, tmp_path)["test"]
    assert [row["id"] for row in rows[:3]] == ["https://x/0#1", "https://x/0#2", "https://x/1#1"]
    assert [row["label"] for row in rows] == [0, 1, 2, 3, 0, 1]
    assert rows[0]["cluster"] == rows[1]["cluster"] != rows[2]["cluster"]
    assert [row["label"] for row in prepared("global-mmlu", "en", data, tmp_path)["train"]][:5] == [0, 1, 2, 3, 0]
    first, second = prepared("uner", "de", data, tmp_path)["test"]
    assert (first["tokens"], first["tags"]) == (["Anna", "sees", "Rome", "."], ["B-PER", "O", "B-LOC", "O"])
    assert (second["id"], second["tokens"]) == ("n02", ["#1", "New", "York"])
    first, second = prepared("masakhaner2", "yo", data, tmp_path)["test"]
    assert (first["tags"], second["tags"]) == (["O", "B-LOC"], ["O"] * 4)  # a date is no entity


def test_every_entry_says_where_its_facts_are_from() -> None:
    today = [task for task in CATALOGUE.targets.values() if "today" in task.benchmarks]
    assert len(today) == 9
    for task in today:
        assert {"source", "languages", "training"} <= task.definition["provenance"].keys(), task.name
        assert set(task.benchmarks["today"]) == set(task.languages), task.name
