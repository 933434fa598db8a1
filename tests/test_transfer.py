"""What targets are trained in: a source language other than English, several, and a few examples of the language tested."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from running import snakemake
from test_e2e import make as make_sweep
from test_e2e import planned
from test_sweep import make

import tiny
from stiltsweep import comparing
from stiltsweep import export as exporting
from stiltsweep.errors import UserError
from stiltsweep.export import export
from stiltsweep.files import read_json, read_record
from stiltsweep.jobs import Jobs
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models.device import Device
from stiltsweep.models.load import Source, build
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import read_meta, read_rows, write_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.training import loop
from stiltsweep.training.mixture import Mixture
from stiltsweep.training.plan import learning_rate_factor
from stiltsweep.training.shots import Shots

HOW = Representation("mean", -1, "mean", "")
LIMITS = Limits(64, 8, 8)
CPU = Device(torch.device("cpu"), "fp32")
TARGET = TrainingSettings(
    epochs=8, batch_size=8, learning_rate=5e-3, head_learning_rate=2e-2, max_length=64, dropout=0.0
)
TOPIC = {"targets": {"topic": ["en", "de", "fi"]}, "intermediates": ["none", "keywords"], "seeds": [0]}


# The grid, what jobs read, and what is refused.


def test_the_source_language_decides_what_is_trained_on_and_what_is_no_transfer() -> None:
    english, german = Jobs(make(**TOPIC)), Jobs(make(**TOPIC, source_language="de"))
    assert english.sweep.training_data("topic") == ["results/data/topic/en.parquet"]
    assert german.sweep.training_data("topic") == ["results/data/topic/de.parquet"]
    # The intermediate task stays English, and the settings of training are the same.
    assert german.sweep.intermediate_data("keywords") == ["results/data/keywords/en.parquet"]
    assert german.target_run("e5-small", "none", "topic") == english.target_run("e5-small", "none", "topic")
    told = german.significance_arguments("topic")
    assert "--source-language de" in told and "--source-language en" in english.significance_arguments("topic")
    # Rows that nothing reads are not prepared: training data of languages that are tested alone.
    for jobs, whole in ((english, {"en"}), (german, {"en", "de"})):
        splits = {
            code: set(jobs.task_definition("topic", code)["languages"][code]) - {"sha256"}
            for code in ("en", "de", "fi")
        }
        assert {code for code, found in splits.items() if "train" in found} == whole
        assert all("test" in found for found in splits.values())
    # A digest that the catalogue states is of the splits that are read when nothing is said.
    assert "sha256" in english.task_definition("topic", "de")["languages"]["de"]
    assert "sha256" not in german.task_definition("topic", "de")["languages"]["de"]
    assert "sha256" in german.task_definition("topic", "fi")["languages"]["fi"]


def test_several_source_languages_are_one_training() -> None:
    jobs = Jobs(make(**TOPIC, source_language=["de", "en"]))
    assert jobs.sweep.source == "de"
    assert jobs.sweep.training_data("topic") == ["results/data/topic/de.parquet", "results/data/topic/en.parquet"]
    mixture = jobs.target_run("e5-small", "none", "topic")["mixture"]
    assert mixture["tasks"]["topic"]["languages"] == ["de", "en"] and mixture["dev_language"] == "de"
    assert jobs.sweep.trainings == {"topic": ["topic"]}


def test_shots_are_part_of_what_predictions_are_told() -> None:
    jobs = Jobs(make(**TOPIC, shots=12))
    told = jobs.prediction_settings("e5-small", "topic")["shots"]
    assert (told["examples"], told["epochs"], told["sources"]) == (12, 20, ["en"])
    own = jobs.training("target", "e5-small", "topic")
    assert told["training"]["learning_rate"] == own.learning_rate
    faster = Jobs(make(**TOPIC, shots={"examples": 12, "learning_rate": 1e-3}))
    assert faster.prediction_settings("e5-small", "topic")["shots"]["training"]["learning_rate"] == 1e-3
    assert jobs.shots_option(3) == "--seed 3" and Jobs(make(**TOPIC)).shots_option(3) == ""
    assert "shots" not in Jobs(make(**TOPIC)).prediction_settings("e5-small", "topic")
    # Of a language that gives shots the rows that they are drawn from are read too.
    assert set(jobs.task_definition("topic", "de")["languages"]["de"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_language": "xx"}, "source_language: 'xx' is unknown"),
        (
            {"source_language": "qu"},
            r"source_language: topic is trained on topic, .* no training data in 'qu'; .*, or say source_language: en\.",
        ),
        ({"source_language": []}, "source_language"),
        ({"source_language": ["de", "de"]}, "source_language"),
        ({"source_language": 3}, "source_language"),
        ({"shots": -1}, "shots"),
        ({"shots": True}, "shots"),
        ({"shots": {"exmples": 3}}, r"shots.*exmples.*Did you mean 'examples'"),
        ({"shots": {"examples": 3, "epochs": 0}}, "epochs"),
        ({"shots": 300}, "shots: topic counts fewer than 300 examples of train .* in de, fi"),
        ({"shots": 2, "targets": {"naming": ["de"]}}, "shots: naming is not trained on"),
        ({"shots": 2, "targets": {"xquad": ["de"]}}, r"shots: xquad counts fewer than 2 .* in de.*without: \[xquad\]"),
        (
            {"source_language": "de", "targets": {"xquad": ["de", "en"], "topic": ["fi"], "udpos": ["fi"]}},
            r"xquad is trained on squad_heldout, which counts no .*without: \[xquad, udpos\]",
        ),
        ({"source_language": "German"}, "'German' is unknown; languages go by their codes. Did you mean 'de'"),
        ({"source_language": "DE"}, "'DE' is unknown; languages go by their codes. Did you mean 'de'"),
        ({"source_language": "de", "targets": {"topic": ["de"]}}, "targets.topic: de alone, which is source_language"),
        ({"shots": 8.5}, "shots: 8.5 is not of type integer or object"),
        ({"shots": {"epochs": 50}}, r"shots: .* not how many .*shots: \{examples: 20\}"),
        ({"shots": 2, "source_language": ["en", "de", "fi"]}, "none but the source languages"),
        (
            {"shots": 2, "targets": {"naming": ["de"], "topic": ["de"], "xquad": ["de"]}},
            r"naming is not trained on.*without: \[naming, xquad\]",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make(**{**TOPIC, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shots", [8, 8.0, "8", {"examples": 8}, {"examples": "8"}])
def test_shots_are_a_number_however_it_is_typed(shots: Any) -> None:
    """A command line makes texts of numbers, and people write 8.0."""
    found = make(**TOPIC, shots=shots).config["shots"]["examples"]
    assert found == 8 and type(found) is int


def test_languages_that_are_not_built_need_no_shots() -> None:
    """Yoruba has 100 examples of names to train on, and 100 to test."""
    settings = {**TOPIC, "targets": {"panx": ["en", "de", "yo"]}, "shots": 200}
    with pytest.raises(UserError, match="fewer than 200 examples of train .* in yo"):
        make(**settings)
    assert make(**settings, minimum_examples=1000).languages == {"panx": ["en", "de"]}


# Training and predicting.


def task(folder: Path, *, train: int = 64, dev: int = 16, test: int = 32) -> dict[str, Path]:
    """Write the tiny task with training data in both languages, their labels turned round in German."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = list(tiny.PATTERNS["en"])
    found = {}
    for language, patterns in tiny.PATTERNS.items():
        turned = dict(zip(labels, labels if language == "en" else [*labels[1:], labels[0]], strict=True))
        rows = []
        for split, count in (("train", train), ("dev", dev), ("test", test)):
            for number in range(count):
                # Some labels are rarer than others.
                label = labels[0] if number % 5 == 0 else labels[number % 4]
                text = patterns[label].format(tiny.ROOMS[language][number // 4 % 4]) + f" {number}"
                row = {"id": f"{split}{number}", "split": split, "text_a": text, "text_b": None, "label": turned[label]}
                rows.append(row)
        found[language] = folder / f"{language}.parquet"
        write_rows(found[language], "classification", rows, tiny.about("tiny", language, ["accuracy"]), labels=labels)
    return found


def trained(folder: Path, data: dict[str, Path], languages: list[str], settings: TrainingSettings = TARGET) -> Path:
    run = tiny.run(tiny.encoder(folder / "model"), data["en"], folder / "run", settings, HOW)
    if languages != ["en"]:
        part = {"languages": languages, "rate": None, "chance": 25.0}
        given = {"tasks": {"tiny": part}, "cap": 1, "temperature": 1.0, "shuffle_labels": False}
        mixture = Mixture.of({**given, "dev_language": languages[0]})
        run = replace(run, data=[data[code] for code in languages], mixture=mixture)
    loop.train(run)
    return run.output


def accuracy(index: Path, data: dict[str, Path], language: str) -> float:
    found = read_json(index.parent / f"{language}.json")
    gold = {row["id"]: row["label"] for row in read_rows(data[language], "test")}
    return sum(bool(gold[name] == given) for name, given in zip(found["ids"], found["predictions"], strict=True)) / len(
        gold
    )


def test_training_in_several_languages_reads_all_of_them_and_selects_by_the_first(tmp_path: Path) -> None:
    data = task(tmp_path / "data")
    found = read_record(trained(tmp_path, data, ["de", "en"]))
    assert found["examples"] == 128 and set(found["made_from"]["data"]) == {"tiny/de", "tiny/en"}
    # By German dev alone: as many rows as German has, scored with German labels.
    settings = PredictionSettings(LIMITS, HOW, 2048, prune=True)
    index = tmp_path / "p" / "predictions.json"
    predict(tmp_path / "run" / "checkpoint.json", data, index, settings, identity={})
    assert accuracy(index, data, "de") > 0.8
    assert found["mixture"]["tasks"]["tiny"]["dev"]["score"] == found["dev"]["score"]


def shots_settings(examples: int = 24, **more: Any) -> PredictionSettings:
    about = {"examples": examples, "epochs": 30, "batch_size": 32, "sources": ["en"], **more}
    training = {key: value for key, value in TARGET.to_json().items() if key != "save_minutes"}
    return PredictionSettings(LIMITS, HOW, 2048, prune=True, shots={**about, "training": training})


def predicted(start: Path, data: dict[str, Path], folder: Path, settings: PredictionSettings, seed: int = 0) -> Path:
    index = folder / "predictions.json"
    shots = None if settings.shots is None else Shots(settings.shots, seed)
    predict(start, data, index, settings, identity={}, shots=shots)
    return index


def test_shots_teach_a_language_what_english_could_not(tmp_path: Path) -> None:
    """German labels are turned round, so no zero-shot answer is right; the source language is predicted as ever."""
    data = task(tmp_path / "data")
    start = trained(tmp_path, data, ["en"])
    zero = predicted(start, data, tmp_path / "zero", replace(shots_settings(), shots=None))
    few = predicted(start, data, tmp_path / "few", shots_settings())
    assert accuracy(zero, data, "de") < 0.5 < 0.8 < accuracy(few, data, "de")
    one, other = (read_json(index.parent / "en.json") for index in (zero, few))
    assert one["predictions"] == other["predictions"] and one["identity"] != other["identity"]


def test_no_language_depends_on_another_and_each_run_draws_its_own(tmp_path: Path) -> None:
    data = task(tmp_path / "data")
    start = trained(tmp_path, data, ["en"], replace(TARGET, epochs=1))
    settings = shots_settings(sources=[])
    whole = predicted(start, data, tmp_path / "whole", settings)
    for language in data:
        alone = predicted(start, {language: data[language]}, tmp_path / language, settings)
        # But for the pruned vocabulary, which changes no number; the bytes are the same.
        assert (alone.parent / f"{language}.json").read_bytes() == (whole.parent / f"{language}.json").read_bytes()
    again = predicted(start, data, tmp_path / "again", settings, seed=1)
    first, second = (read_json(index.parent / "de.json") for index in (whole, again))
    assert first["identity"] != second["identity"] and first["made_from"]["seed"] == 0
    # Runs are averaged over seeds, so the seed is no part of how a run was made.
    assert read_json(whole)["recipe"] == read_json(again)["recipe"]
    assert read_json(whole)["recipe"] != read_json(predicted(start, data, tmp_path / "x", shots_settings(8)))["recipe"]


def test_a_pruned_vocabulary_is_that_of_the_language_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was killed goes on with fewer languages: what they learn from their shots must not show it.

    Adafactor's steps, and the norm that gradients are clipped to, depend on how many pieces the embeddings have.
    """
    data = task(tmp_path / "data")
    start = trained(tmp_path, data, ["en"], replace(TARGET, epochs=1))
    settings = shots_settings(sources=[], epochs=5)
    about = dict(settings.shots or {})
    about["training"] = {**about["training"], "optimizer": "adafactor", "clip_norm": 0.01}
    learnt: dict[str, list[torch.Tensor]] = {}
    train = Shots.train

    def kept(self: Shots, model: TaskModel, kind: Any, examples: Any, device: Device) -> None:
        train(self, model, kind, examples, device)
        learnt.setdefault(kind.meta.language, []).append(next(iter(model.heads.parameters())).detach().clone())

    monkeypatch.setattr(Shots, "train", kept)
    for folder, languages in (("whole", ["en", "de"]), ("rest", ["de"])):
        given = {language: data[language] for language in languages}
        predicted(start, given, tmp_path / folder, replace(settings, shots=about))
    whole, rest = learnt["de"]
    assert torch.equal(whole, rest) and not torch.equal(whole, learnt["en"][0])


@pytest.mark.parametrize("warmup", [0, 0.1, 500])
def test_shots_reach_their_peak_whatever_the_warm_up_of_the_target(warmup: float, tmp_path: Path) -> None:
    """TyDi QA's 500 updates of warm-up would leave twenty updates at a twenty-fifth of the rate."""
    about = dict(shots_settings().shots or {})
    about["training"] = {**about["training"], "warmup": warmup}
    settings = Shots(about, 0).training
    assert max(learning_rate_factor(update, 20, settings) for update in range(20)) == 1


def test_shots_are_the_same_items_everywhere_and_every_label_has_its_share(tmp_path: Path) -> None:
    data = task(tmp_path / "data")
    shots = Shots(shots_settings(8, sources=[]).shots or {}, seed=0)
    rows = {language: shots.rows(path, read_meta(path)) for language, path in data.items()}
    assert set(Counter(row["label"] for row in rows["en"]).values()) == {2}
    assert {row["split"] for row in rows["en"]} == {"train"} and set(rows["en"][0]) == set(
        read_rows(data["en"], "train")[0]
    )
    other = Shots(shots_settings(8, sources=["en"]).shots or {}, seed=1)
    assert other.rows(data["en"], read_meta(data["en"])) == []
    assert {row["id"] for row in other.rows(data["de"], read_meta(data["de"]))} != {row["id"] for row in rows["de"]}
    with pytest.raises(UserError, match="64 rows of train or dev, fewer than the 65 shots"):
        Shots(shots_settings(65).shots or {}, 0).rows(data["de"], read_meta(data["de"]))
    # Ids that languages share are drawn in all of them, where the labels are the same.
    parallel = tmp_path / "parallel" / "de.parquet"
    parallel.parent.mkdir()
    turned = [{**row, "text_a": "x" + row["text_a"]} for row in read_rows(data["en"], "train")]
    write_rows(
        parallel, "classification", turned, tiny.about("tiny", "de", ["accuracy"]), labels=list(tiny.PATTERNS["en"])
    )
    drawn = shots.rows(parallel, read_meta(parallel))
    assert [row["id"] for row in drawn] == [row["id"] for row in rows["en"]]


@pytest.mark.parametrize("adapters", [None, {"rank": 4, "alpha": 8, "dropout": 0.0}])
@pytest.mark.parametrize("interface", ["encoder", "text2text"])
def test_weights_are_put_back_before_every_language(
    interface: str, adapters: dict[str, Any] | None, tmp_path: Path
) -> None:
    data = task(tmp_path / "data")
    source = Source.read((tiny.encoder if interface == "encoder" else tiny.text2text)(tmp_path / "model"))
    pieces = Tokenizer.from_directory(source.base)
    settings = replace(TARGET, lora=adapters).to_json()
    shots = Shots({"examples": 8, "epochs": 5, "batch_size": 4, "sources": [], "training": settings}, seed=0)
    kinds = {
        language: form(read_meta(path), pieces, interface=interface, limits=LIMITS, representation=HOW)
        for language, path in data.items()
    }
    examples = {
        language: kinds[language].encode(shots.rows(path, read_meta(path)), training=True)
        for language, path in data.items()
    }
    model = build(source, kinds["en"], kept=None, seed=0, dropout=0.0)
    shots.attach(model)

    def loss(language: str) -> float:
        with torch.no_grad():
            return float(kinds[language].loss(model.eval(), model.collate(examples[language], torch.device("cpu"))))

    def learn(language: str, given: bool = True) -> float:
        model.form = kinds[language]
        shots.train(model, kinds[language], examples[language] if given else [], CPU)
        return loss(language)

    before, first = loss("de"), learn("de")
    assert first < before
    learn("en")
    assert learn("de") == first
    assert learn("de", given=False) == pytest.approx(before, rel=1e-6)


def test_a_loss_that_is_not_finite_costs_its_language_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = task(tmp_path / "data")
    start = trained(tmp_path, data, ["en"], replace(TARGET, epochs=1))
    forward = TaskModel.forward
    monkeypatch.setattr(TaskModel, "forward", lambda self, batch: forward(self, batch) * float("nan"))
    index = predicted(start, data, tmp_path / "p", shots_settings())
    languages = read_json(index)["languages"]
    assert "the loss of its shots is nan" in languages["de"]["error"] and "identity" in languages["en"]


# A sweep from end to end.


@pytest.mark.e2e
def test_a_sweep_from_german_and_with_shots(tmp_path: Path) -> None:
    make_sweep(tmp_path)
    path = next(
        path for path in tmp_path.rglob("target/commands.yaml") if not path.is_relative_to(tmp_path / "workflow")
    )
    about = yaml.safe_load(path.read_text())
    for split, count in (("train", 96), ("dev", 24)):
        english = (tmp_path / "data" / f"en.{split}.jsonl").read_text()
        (tmp_path / "data" / f"de.{split}.jsonl").write_text(english)
        about["languages"]["de"][split] = count
    path.write_text(yaml.safe_dump(about, allow_unicode=True))
    settings = yaml.safe_load((tmp_path / "config.yaml").read_text())
    settings = {**settings, "targets": {"commands": ["en", "de"]}, "results": "results"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))
    snakemake(tmp_path, shared=True)
    english = (tmp_path / "results" / "report" / "index.html").read_text()
    assert "English (zero-shot)" in english and planned(tmp_path) == {}
    # Another source trains the targets anew, and nothing else but what follows from it.
    settings["source_language"] = "de"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))
    again = planned(tmp_path)
    assert {"finetune", "predict", "report"} <= set(again) and not {"fetch", "intermediate"} & set(again)
    snakemake(tmp_path, shared=True)
    page = (tmp_path / "results" / "report" / "index.html").read_text()
    assert (
        "German (zero-shot)" in page and "Targets are trained in German, and on nothing of any other language." in page
    )
    assert planned(tmp_path) == {}
    assert comparing.sources(comparing.settings(tmp_path / "results")) == {"de"}
    with open(tmp_path / "results" / "significance" / "lift.csv", encoding="utf-8", newline="") as handle:
        assert {row["languages"] for row in csv.DictReader(handle) if row["scope"] == "language"} == {"en"}
    # Shots change predictions and what follows; going back finds what was there.
    settings.update(source_language="en", shots=8)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))
    snakemake(tmp_path, shared=True)
    page = (tmp_path / "results" / "report" / "index.html").read_text()
    assert "English (8-shot)" in page and "help few-shot transfer" in page
    assert re.search(r"then on 8 examples of every other language", page)
    assert planned(tmp_path) == {}
    assert json.loads((tmp_path / "results" / "report" / "run.json").read_text())["shots"] == 8
    cells = [json.loads(path.read_text()) for path in (tmp_path / "results" / "cells").rglob("*.json")]
    assert {(cell["language"], cell["shots"]) for cell in cells} == {("en", 0), ("de", 8)}
    # Scores after shots are not those of the weights that are exported.
    checkpoint = next((tmp_path / "results" / "finetune").glob("tiny/none/*/seed0/checkpoint.json"))
    card = (export(checkpoint, tmp_path / "exported").folder / "README.md").read_text()
    assert "| commands | en |" in card and "| commands | de |" not in card and "trained on commands/en" in card


def test_a_card_says_what_it_was_trained_in(tmp_path: Path) -> None:
    data = task(tmp_path / "data")
    checkpoint = trained(tmp_path / "results", data, ["de", "en"], replace(TARGET, epochs=1))
    place = tmp_path / "results" / "finetune" / "tiny" / "none" / "tiny" / "seed0"
    card = exporting._card(Source.read(checkpoint), place / "checkpoint.json", "AutoModel")
    assert "trained on tiny/de, tiny/en (128 examples" in card


def test_a_sweep_without_a_report_is_taken_to_be_from_english() -> None:
    """Its English cells were trained on, whatever the other sweep's source is."""
    assert comparing.sources({}) | comparing.sources({"source_language": '["de"]'}) == {"de", "en"}
