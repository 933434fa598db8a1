"""Arms: what their names stand for, what they train on and are left out of, and names that are refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from stiltsweep import config
from stiltsweep.errors import UserError
from stiltsweep.jobs import Jobs
from stiltsweep.settings import overlay
from stiltsweep.sweep import Sweep

LABELS = ["no", "yes"]


def task(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "classification",
        "description": "A task for tests.",
        "licence": "none",
        "labels": LABELS,
        "source": {"type": "files", "format": "jsonl", "splits": {"train": "train.{language}.jsonl"}},
        "metrics": ["accuracy"],
        "chance": 50,
        "languages": {"en": {"train": 64, "dev": 20}},
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of two labelled intermediates, one text, a target trained on two tasks and one not trained on."""
    files = {
        "intermediate/pairs.yaml": task(
            contaminates=["chained"],
            languages={"en": {"train": 64, "dev": 20}, "de": {"train": 60}, "sw": {"train": 50}},
            training={"epochs": 2, "batch_size": 8, "max_length": 64},
        ),
        "intermediate/first.yaml": task(training={"epochs": 7, "batch_size": 8, "max_length": 96}),
        "intermediate/prose.yaml": {
            **{k: v for k, v in task().items() if k not in ("labels", "chance")},
            "kind": "text",
            "metrics": ["reconstruction_accuracy"],
            "languages": {"en": {"train": 30, "dev": 5}, "de": {"train": 30}, "fi": {"train": 30}},
        },
        "target/chained.yaml": task(
            train_on=["first", "chained"], languages={"en": {"train": 64, "dev": 20, "test": 40}, "de": {"test": 40}}
        ),
        "target/borrowed.yaml": task(
            train_on=["first"],
            languages={"de": {"test": 40}, "fi": {"test": 40}, "sw": {"test": 40}},
            benchmarks={"small": ["de", "fi"]},
        ),
        "target/untrained.yaml": {
            **{k: v for k, v in task().items() if k not in ("labels", "chance")},
            "kind": "retrieval",
            "metrics": ["retrieval_accuracy"],
            "languages": {"de": {"test": 40}, "sw": {"test": 40}},
            "benchmarks": {"small": ["de"]},
        },
    }
    for name, value in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return tmp_path


def make(folder: Path, *intermediates: str, **changes: Any) -> Sweep:
    settings = {
        "catalog": [str(folder)],
        "models": ["e5-small"],
        "intermediates": ["none", *intermediates],
        "targets": {"chained": ["de"], "borrowed": ["de"], "untrained": ["de"]},
        "seeds": [0],
        "arms": {"mlm": {"text": "prose", "languages": ["de", "fi"], "rate": 0.25}},
        **changes,
    }
    return Sweep(*config.resolve(settings))


def option(line: str, name: str) -> Any:
    words = shlex.split(line)
    return json.loads(words[words.index(name) + 1])


def test_a_plain_task_needs_no_mixture(folder: Path) -> None:
    sweep = make(folder, "pairs")
    assert sweep.intermediate_data("pairs") == ["results/data/pairs/en.parquet"]
    line = Jobs(sweep).intermediate_arguments("e5-small", "pairs")
    assert "--mixture" not in line and "--chance 50" in line
    assert option(line, "--settings")["epochs"] == 2


def test_translated_trains_in_the_other_languages_and_is_selected_in_english(folder: Path) -> None:
    sweep = make(folder, "pairs+translated")
    assert sweep.intermediate_data("pairs+translated") == [
        f"results/data/pairs/{language}.parquet" for language in ("en", "de", "sw")
    ]
    mixture = option(Jobs(sweep).intermediate_arguments("e5-small", "pairs+translated"), "--mixture")
    assert mixture["tasks"]["pairs"] == {"chance": 50, "languages": ["de", "sw"], "rate": None}
    assert not mixture["shuffle_labels"]


def test_text_is_mixed_in_at_its_rate(folder: Path) -> None:
    sweep = make(folder, "pairs+shuffled_labels+mlm")
    name = "pairs+shuffled_labels+mlm"
    assert sweep.intermediate_data(name) == [
        "results/data/pairs/en.parquet",
        *(f"results/data/prose/{language}.parquet" for language in ("en", "de", "fi")),
    ]
    mixture = option(Jobs(sweep).intermediate_arguments("e5-small", name), "--mixture")
    assert mixture["tasks"]["prose"] == {"chance": 0, "languages": ["de", "fi"], "rate": 0.25}
    assert mixture["shuffle_labels"]
    assert "prose" in sweep.tasks


def test_multi_task_takes_the_single_tasks_of_the_configuration(folder: Path) -> None:
    sweep = make(folder, "pairs", "multi_task", "first", "pairs+mlm", "prose")
    line = Jobs(sweep).intermediate_arguments("e5-small", "multi_task")
    mixture = option(line, "--mixture")
    assert list(mixture["tasks"]) == ["first", "pairs"]
    assert (mixture["cap"], mixture["temperature"]) == (131072, 1.0)
    settings = option(line, "--settings")
    # Agreed on: 8 a batch. Not agreed on: epochs, so the model's hold. Lengths: the largest.
    epochs = overlay("intermediate", sweep.catalog.models["e5-small"].definition["training"]).epochs
    assert (settings["batch_size"], settings["epochs"], settings["max_length"]) == (8, epochs, 96)
    named = make(folder, "multi_task", arms={"multi_task": {"tasks": ["first", "pairs"], "training": {"epochs": 1}}})
    assert option(Jobs(named).intermediate_arguments("e5-small", "multi_task"), "--settings")["epochs"] == 1


def test_matched_steps_start_from_the_model_and_count_another_arms_updates(folder: Path) -> None:
    sweep = make(folder, "pairs+steps_matched")
    name, model = "pairs+steps_matched", "results/models/e5-small/model.json"
    assert sweep.start("e5-small", name, 0) == model
    assert sweep.stages == ["pairs"]  # trained although no cell of it was asked for: its updates are counted
    assert sweep.intermediates == ["none", name]
    matched = ["results/intermediate/e5-small/pairs/seed0/checkpoint.json"]
    assert sweep.matched("e5-small", name, "first+chained", 0) == matched
    assert sweep.matched("e5-small", name, "first", 0) == matched  # where `borrowed` ends
    assert sweep.matched("e5-small", "none", "first", 0) == []
    # A target that is not trained on has nothing that could go on.
    assert {cell.target for cell in sweep.cells() if cell.intermediate == name} == {"chained", "borrowed"}
    assert [(o.intermediate, o.target) for o in sweep.omitted] == [(name, "untrained")]
    assert name not in Jobs(sweep).significance_arguments("untrained")
    assert name in Jobs(sweep).significance_arguments("chained")
    assert not sweep.contaminated(name, "chained") and make(folder, "pairs").contaminated("pairs", "chained")


def test_targets_trained_alike_share_their_trainings(folder: Path) -> None:
    sweep = make(folder, "pairs")
    assert sweep.trainings == {"first": ["first"], "first+chained": ["first", "chained"]}
    first = "results/finetune/e5-small/pairs/first/seed0/checkpoint.json"
    assert sweep.checkpoint("e5-small", "pairs", "borrowed", 0) == first
    assert sweep.training_start("e5-small", "pairs", "first+chained", 0) == first
    assert sweep.training_start("e5-small", "pairs", "first", 0) == sweep.start("e5-small", "pairs", 0)
    assert sweep.checkpoint("e5-small", "pairs", "untrained", 0) == sweep.start("e5-small", "pairs", 0)


def test_a_benchmark_selects_its_targets_and_languages(folder: Path) -> None:
    assert make(folder, targets="small").languages == {"borrowed": ["de", "fi"], "untrained": ["de"]}
    assert make(folder, targets={"borrowed": "small", "chained": "all"}).languages == {
        "borrowed": ["de", "fi"],
        "chained": ["en", "de"],
    }


REFUSED: list[tuple[list[str], dict[str, Any], str]] = [
    (["pairs+mml"], {}, r"intermediates: pairs\+mml: variant 'mml' is unknown.*mlm"),
    (["pairs+mlm+translated"], {}, r"in this order: translated\+mlm"),
    (["pairs+mlm+mlm"], {}, r"write each variant once"),
    (["none+mlm"], {}, r"none\+mlm: 'none' is unknown"),
    (["first+translated"], {}, r"first\+translated: first has training data in English only"),
    (["prose+shuffled_labels"], {}, r"prose\+shuffled_labels: plain text has no labels"),
    (["prose+mlm"], {}, r"drop \+mlm"),
    (["pairs", "multi_task"], {}, r"multi_task.*at least two"),
    (["multi_task"], {"arms": {"multi_task": {"tasks": ["pairs", "frist"]}}}, r"multi_task\.tasks: 'frist'.*'first'"),
    (
        ["pairs+mlm"],
        {"arms": {"mlm": {"text": "pairs"}}},
        r"arms\.mlm\.text: 'pairs' is not a task of kind text; known: .*prose",
    ),
    (["pairs+mlm"], {"arms": {"mlm": {"text": "prose", "languages": ["tr"]}}}, r"prose has no training data in 'tr'"),
    (["pairs+translated"], {"arms": {"translated": {"languages": ["fi"]}}}, r"pairs has no training data in 'fi'"),
    ([], {"targets": "smal"}, r"targets: 'smal' is not a benchmark.*'small'"),
    ([], {"targets": {"chained": "small"}}, r"targets\.chained: 'small' is neither.*one of: all"),
]


@pytest.mark.parametrize(("names", "changes", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_what_is_refused(folder: Path, names: list[str], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(folder, *names, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_on": ["nowhere"]}, r"target/chained\.yaml: train_on: no task 'nowhere'"),
        ({"train_on": ["prose"]}, r"train_on: 'prose' is not a task of kind 'classification'"),
        ({"benchmarks": {"small": ["tr"]}}, r"benchmarks\.small: 'tr' is not among its languages"),
    ],
)
def test_what_tasks_say_of_each_other_is_checked(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "target/chained.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        make(folder)
