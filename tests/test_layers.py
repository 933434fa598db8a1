"""The layer of retrieval by English dev data: chosen as every layer by itself would score, never by test, and recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny
from stiltsweep import catalog, config, layers
from stiltsweep.catalog import BUILT_IN
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.files import read_json
from stiltsweep.identity import DECISIVE, IDENTITY
from stiltsweep.jobs import Jobs
from stiltsweep.kinds import Limits, Representation
from stiltsweep.layout import Cell
from stiltsweep.models import device
from stiltsweep.models.load import Source
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import Meta, read_meta, write_rows
from stiltsweep.settings import PredictionSettings
from stiltsweep.sweep import Sweep

LIMITS = Limits(max_length=32, stride=4, max_target_length=16)
DEPTH = 4
PAIRS = [
    (f"{a} {b}", f"{b} in the {a}") for a in ("light", "lamp", "blind") for b in ("kitchen", "garage", "office", "hall")
]


def settings(layer: int = -1, chosen: bool = False) -> PredictionSettings:
    about = {"task": "pairs", "label": "same"} if chosen else None
    return PredictionSettings(LIMITS, Representation("mean", layer, "mean", ""), 512, True, "fp32", about)


def english(path: Path, pairs: list[tuple[str, str]] = PAIRS, test: str = "anything") -> Path:
    """Write a classification of pairs whose dev split has them, and others that mean something else."""
    rows = [
        {"id": f"d{n}", "split": "dev", "text_a": a, "text_b": b, "label": "same"} for n, (a, b) in enumerate(pairs)
    ]
    rows += [
        {"id": f"o{n}", "split": "dev", "text_a": a, "text_b": "no", "label": "other"} for n, (a, _) in enumerate(pairs)
    ]
    rows += [
        {"id": "t", "split": split, "text_a": test, "text_b": test, "label": "same"} for split in ("train", "test")
    ]
    write_rows(path, "classification", rows, tiny.about("pairs", "en", ["accuracy"]), labels=["same", "other"])
    return path


def target(path: Path, pairs: list[tuple[str, str]] = PAIRS, language: str = "de") -> Path:
    rows: list[dict[str, Any]] = []
    for n, (a, b) in enumerate(pairs):
        rows.append({"id": f"q{n}", "split": "test", "side": "query", "text": a, "gold": [f"c{n}"]})
        rows.append({"id": f"c{n}", "split": "test", "side": "candidate", "text": b, "gold": []})
    write_rows(path, "retrieval", rows, tiny.about("found", language, ["mrr_at_20"]), labels=[])
    return path


def model(folder: Path, interface: str = "encoder") -> Path:
    texts = [text for pair in PAIRS for text in pair] + tiny.SENTENCES
    if interface == "encoder":
        return tiny.encoder(folder, texts=texts, layers=DEPTH)
    return tiny.text2text(folder, texts=texts)


@pytest.mark.parametrize("interface", ["encoder", "text2text"])
def test_every_layer_scores_as_if_it_were_the_one_compared(tmp_path: Path, interface: str) -> None:
    """Each layer by itself, through prediction and evaluation of a target with the same pairs."""
    start, data = model(tmp_path / "model", interface), target(tmp_path / "de.parquet")
    source = Source.read(start)
    tokenizer = Tokenizer.from_directory(source.base)
    on = device.choose("fp32", source.model_type, 1)
    found, scores = layers.best(source, english(tmp_path / "en.parquet"), settings(chosen=True), tokenizer, on)
    assert len(scores) == (DEPTH if interface == "encoder" else 2) + 1
    assert interface == "text2text" or len(set(scores)) > 1
    for layer, score in enumerate(scores):
        index = tmp_path / str(layer) / "predictions.json"
        predict(start, {"de": data}, index, settings(layer), identity={})
        cell = Cell("tiny", "none", "found", 0, "de")
        alone = evaluate(cell, data, index, tmp_path / f"{layer}.json", family="", contaminated=False)
        assert alone == pytest.approx(score, abs=1e-4), layer
    assert found == scores.index(max(scores))
    # Test and training rows play no part, nor do pairs of another label.
    other = english(tmp_path / "other.parquet", test="light kitchen")
    assert layers.best(source, other, settings(chosen=True), tokenizer, on) == (found, scores)


def test_predictions_are_those_of_the_chosen_layer_and_say_so(tmp_path: Path) -> None:
    start, data = model(tmp_path / "model"), target(tmp_path / "de.parquet")
    dev = english(tmp_path / "en.parquet", PAIRS[:7])
    chosen = tmp_path / "chosen" / "predictions.json"
    predict(start, {"de": data}, chosen, settings(chosen=True), identity={}, layer_data=dev)
    found = read_json(chosen.parent / "de.json")
    layer = found["retrieval_layer"]
    stated = tmp_path / "stated" / "predictions.json"
    predict(start, {"de": data}, stated, settings(layer), identity={})
    assert read_json(stated.parent / "de.json")["predictions"] == found["predictions"]
    assert found[DECISIVE]["layer_data"] == read_meta(dev).sha256
    evaluate(Cell("tiny", "none", "found", 0, "de"), data, chosen, tmp_path / "c.json", family="", contaminated=False)
    assert read_json(tmp_path / "c.json")["retrieval_layer"] == layer
    # Other dev data are another result; the same, prepared anew, are not.
    before = found[IDENTITY]
    for pairs, same in ((PAIRS[:7], True), (PAIRS[:6], False)):
        english(dev, pairs)
        predict(start, {"de": data}, chosen, settings(chosen=True), identity={}, layer_data=dev)
        assert (read_json(chosen.parent / "de.json")[IDENTITY] == before) is same


def test_texts_that_belong_together_by_kind() -> None:
    def of(kind: str, rows: list[dict[str, Any]], label: str | None = None) -> dict[str, list[str]]:
        made = layers.pairs(Meta("t", "en", kind, [], ["accuracy"], {}, "0", "none"), rows, label)
        return {asked: list(found) for asked, found in made.items()}

    sides = [
        {"id": "1", "side": "query", "text": "a", "gold": ["1", "2"]},
        {"id": "1", "side": "candidate", "text": "A", "gold": []},
        {"id": "2", "side": "candidate", "text": "AA", "gold": []},
        {"id": "3", "side": "candidate", "text": "B", "gold": []},
    ]
    assert of("retrieval", sides) == {"a": ["A", "AA"]}
    answers = [{"text": "x", "start": 0}]
    asked: list[dict[str, Any]] = [
        {"question": "q", "context": "c", "answers": answers},
        {"question": "r", "context": "c", "answers": []},
    ]
    assert of("span_qa", asked) == {"q": ["c"]}
    choice = {"context": "c", "question": None, "choices": ["x", "y"], "label": 1}
    assert of("multiple_choice", [choice, {**choice, "question": "q"}]) == {"c": ["y"], "c q": ["y"]}
    pair = {"text_a": "a", "text_b": "b", "label": "same"}
    assert of("classification", [pair, {**pair, "label": "no"}, {**pair, "text_b": "d"}], "same") == {"a": ["b", "d"]}


def test_one_text_chooses_nothing(tmp_path: Path) -> None:
    start = model(tmp_path / "model")
    source = Source.read(start)
    dev = english(tmp_path / "en.parquet", PAIRS[:1])
    with pytest.raises(UserError, match="hold 1 texts to find"):
        layers.best(
            source, dev, settings(chosen=True), Tokenizer.from_directory(source.base), device.choose("fp32", "bert", 1)
        )


# In a catalogue


def written(folder: Path, retrieval: dict[str, Any]) -> Path:
    definition = yaml.safe_load((BUILT_IN / "models/e5-small.yaml").read_text(encoding="utf-8"))
    definition["retrieval"] = retrieval
    path = folder / "models" / "my-e5.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    return folder


def planned(folder: Path, retrieval: dict[str, Any], **more: Any) -> Jobs:
    about = {"catalog": [str(written(folder, retrieval))], "models": ["my-e5"], "intermediates": ["none"], **more}
    return Jobs(Sweep(*config.resolve({"targets": {"retrieval": ["de"], "intent": ["en", "de"]}, **about})))


def test_jobs_are_told_and_read_the_data(tmp_path: Path) -> None:
    jobs = planned(tmp_path, {"layer": "dev", "dev_task": "reply-choice", "prefix": "query: "})
    told = json.loads(jobs.prediction("my-e5", "retrieval"))
    assert told["layer_from"] == {"task": "reply-choice", "label": None}
    assert told["representation"]["retrieval"] == {"layer": -1, "pooling": "mean", "prefix": "query: "}
    assert jobs.layer_option("my-e5", "retrieval") == "--layer-data results/data/reply-choice/en.parquet"
    assert "reply-choice" in jobs.sweep.tasks
    # What is trained, or compares nothing, has no layer to choose; nor has a model whose layer is stated.
    assert (
        jobs.layer_data("my-e5", "intent") == []
        and json.loads(jobs.prediction("my-e5", "intent"))["layer_from"] is None
    )
    assert planned(tmp_path, {"layer": 3}).layer_data("my-e5", "retrieval") == []
    # A recipe that names a layer wins over the model's choice, and may choose itself.
    (tmp_path / "recipes").mkdir()
    recipe = tmp_path / "recipes" / "mine.yaml"
    for own, expected in (({"layer": 5}, []), ({"layer": "dev", "dev_task": "qa"}, ["results/data/qa/en.parquet"])):
        about = {"interface": "encoder", "description": "One of my own.", "sources": {"mine": "at home"}}
        recipe.write_text(yaml.safe_dump({**about, "retrieval": {"retrieval": {"my-e5": own}}}), encoding="utf-8")
        made = planned(tmp_path, {"layer": "dev", "dev_task": "reply-choice"}, recipe="mine")
        assert made.layer_data("my-e5", "retrieval") == expected


@pytest.mark.parametrize(
    ("retrieval", "message"),
    [
        ({"layer": "dev"}, "my-e5.yaml: retrieval.layer: dev needs dev_task, the task whose English dev data decide: .*pawsx"),
        ({"layer": "dev", "dev_task": "pawss", "dev_label": "paraphrase"}, "'pawss' has no pairs of English dev data.*pawsx"),
        ({"layer": "dev", "dev_task": "tatoeba"}, "'tatoeba' has no pairs of English dev data"),
        ({"layer": "dev", "dev_task": "udpos"}, "'udpos' has no pairs of English dev data"),
        ({"layer": "dev", "dev_task": "pawsx"}, "'pawsx' needs dev_label, the label of pairs that mean the same: .*paraphrase"),
        ({"layer": "dev", "dev_task": "pawsx", "dev_label": "same"}, "'pawsx' has no label 'same': .*paraphrase"),
        ({"layer": "dev", "dev_task": "qa", "dev_label": "same"}, "'qa' takes no dev_label"),
        ({"layer": 4, "dev_task": "qa"}, "dev_task and dev_label go with layer: dev"),
        ({"layer": "test"}, "layer"),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_made_is_refused(tmp_path: Path, retrieval: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        catalog.read([written(tmp_path, retrieval)])
