"""The grid: exact members and counts, what is left out and why, paths, settings, and configurations that are refused."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stiltsweep import catalog, config, settings
from stiltsweep.catalog import Catalog, Model, Task
from stiltsweep.errors import UserError
from stiltsweep.jobs import Jobs
from stiltsweep.layout import PLACES, Cell, Layout
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).parents[1]
BASE: dict[str, Any] = {
    "models": ["e5-small"],
    "intermediates": ["name-typing", "none"],
    "targets": {"intent": ["en", "zh", "fi"], "retrieval": ["fi"]},
    "seeds": [3, 1],
}


def make(**changes: Any) -> Sweep:
    return Sweep(*config.resolve({**copy.deepcopy(BASE), **changes}))


def test_cells_are_exactly_these() -> None:
    sweep = make()
    expected = [
        Cell("e5-small", intermediate, target, seed, language)
        for intermediate in ("none", "name-typing")
        for target, languages in (("intent", ["en", "zh", "fi"]), ("retrieval", ["fi"]))
        for seed in (3, 1)
        for language in languages
    ]
    assert list(sweep.cells()) == expected
    assert len(set(expected)) == 16
    assert sweep.layout.cell(expected[0]) == "results/cells/e5-small/none/intent/seed3/en.json"
    assert sweep.cell_files(target="retrieval") == [sweep.layout.cell(c) for c in expected if c.target == "retrieval"]


WILDCARDS = {
    **{name: name for name in ("model", "target", "task", "language")},
    "intermediate": "pairs+translated",
    "training": "siqa+xcopa",
    "seed": "12",
    "checkpoint": "finetune/model/pairs/siqa+xcopa/seed12",
}


def test_paths_are_read_as_they_are_written() -> None:
    layout = Layout("some/results")
    seen = set()
    for place in PLACES:
        path = layout.path(place, **WILDCARDS)
        found = layout.place(path)
        assert found is not None and found.place == place, path
        assert {name: WILDCARDS[name] for name in found.names} == found.names
        assert layout.pattern(place).format(**WILDCARDS) == path
        seen.add(path)
    assert len(seen) == len(PLACES)
    cell = Cell("m", "pairs+mlm", "xnli", 3, "zh")
    assert layout.cell_of(layout.cell(cell)) == cell
    assert layout.place("results/cells/m/none/t/seed1/zh.json") is None  # of another folder
    assert layout.place("some/results/cells/m/none/t/seedx/zh.json") is None
    for wrong in (layout.model("m"), "elsewhere/zh.json", layout.path("statistics", **vars(cell))):
        with pytest.raises(UserError, match=r"no cell lies there; cells lie at some/results/cells/\{model\}/"):
            layout.cell_of(wrong)


def test_the_snakefile_tells_the_paths_there_are() -> None:
    """Its first lines are what a reader looks at to find a file."""
    told = re.findall(r"^    <results>/(\S+) +\w+$", (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert len(told) >= 12
    assert set(told) <= set(PLACES.values())


def test_what_a_target_starts_from_is_a_fact_of_the_catalogue() -> None:
    sweep = make()
    assert sweep.start("e5-small", "none", 1) == "results/models/e5-small/model.json"
    assert sweep.checkpoint("e5-small", "none", "retrieval", 1) == "results/models/e5-small/model.json"
    trained = "results/intermediate/e5-small/name-typing/seed1/checkpoint.json"
    assert sweep.checkpoint("e5-small", "name-typing", "retrieval", 1) == trained
    assert sweep.checkpoint("e5-small", "name-typing", "intent", 1) == (
        "results/finetune/e5-small/name-typing/intent/seed1/checkpoint.json"
    )


def test_how_often_a_state_is_saved_is_no_setting_of_a_job() -> None:
    plain, often, stage = (
        Jobs(make(training=given)) for given in ({}, {"save_minutes": 1.5}, {"target": {"save_minutes": 1.5}})
    )

    def told(jobs: Jobs) -> list[str]:
        return [
            jobs.target_arguments("e5-small", "none", "intent"),
            jobs.intermediate_arguments("e5-small", "name-typing"),
            jobs.pretraining_settings("mt5-nano"),
        ]

    def apart(jobs: Jobs) -> list[str]:
        resolved = (
            jobs.target_training("e5-small", "intent"),
            jobs.intermediate_training("e5-small", "name-typing"),
            jobs.pretraining("mt5-nano"),
        )
        return [jobs.computing(settings, gpus=2) for settings in resolved]

    assert told(plain) == told(often) == told(stage) and "save_minutes" not in "".join(told(plain))
    seldom, frequent = "--gpus 2 --save-minutes 10", "--gpus 2 --save-minutes 1.5"
    assert apart(plain) == 3 * [seldom] and apart(often) == 3 * [frequent]
    assert apart(stage) == [frequent, seldom, seldom]


def test_small_cells_are_left_out_with_the_reason() -> None:
    counts = {name: catalog.read().targets[name].languages["fi"]["test"] for name in ("intent", "retrieval")}
    assert counts["intent"] < counts["retrieval"]
    sweep = make(minimum_examples=counts["intent"] + 1)
    assert sweep.languages == {"intent": [], "retrieval": ["fi"]}
    reason = f"{counts['intent']} test examples, fewer than {counts['intent'] + 1}"
    assert (sweep.omitted[0].language, sweep.omitted[0].reason) == ("en", reason)


def test_a_language_added_changes_no_other_languages_data() -> None:
    few, more = make(), make(targets={"intent": ["en", "zh", "fi", "ar"], "retrieval": ["fi"]})
    assert Jobs(few).definition("intent", "zh") == Jobs(more).definition("intent", "zh")
    assert Jobs(few).target_arguments("e5-small", "none", "intent") == Jobs(more).target_arguments(
        "e5-small", "none", "intent"
    )
    languages = json.loads(Jobs(few).definition("intent", "zh"))["languages"]
    assert "sha256" in languages["zh"] and "sha256" not in languages["fi"]


def test_settings_are_laid_over_each_other_later_ones_winning() -> None:
    own = {"epochs": 1.0, "batch_size": 4, "target": {"learning_rate": 0.5, "warmup": 0.0}}
    model = Model("m", {"interface": "encoder", "training": own})
    task = Task("t", "target", {"training": {"batch_size": 8, "epochs": 2.0}})
    found = settings.resolve("target", model, task, {"epochs": 9.0, "intermediate": {"warmup": 0.7}})
    assert (found.epochs, found.batch_size, found.learning_rate, found.warmup) == (9.0, 8, 0.5, 0.0)
    found = settings.resolve("intermediate", model, task, {"intermediate": {"warmup": 0.7}})
    assert (found.epochs, found.learning_rate, found.warmup) == (2.0, settings.TrainingSettings().learning_rate, 0.7)
    # A configuration's plain key wins over a model's key for the stage.
    assert settings.resolve("target", model, task, {"warmup": 0.2}).warmup == 0.2


def test_the_schema_and_the_settings_name_the_same_keys() -> None:
    from dataclasses import fields

    from stiltsweep.interfaces import INTERFACES
    from stiltsweep.schema import load

    keys = set(load("training")["properties"]) - {*settings.STAGES, "over_tasks", *INTERFACES}
    assert keys == {field.name for field in fields(settings.TrainingSettings)}


def test_every_key_of_every_schema_is_described() -> None:
    from stiltsweep.schema import descriptions, load

    for name in ("config", "task", "model", "training"):
        for key, sub in descriptions(load(name)):
            bare = set(sub) <= {"type", "properties", "additionalProperties", "required", "default"}
            known = "description" in sub or (bare and "properties" in sub) or "enum" in sub or "default" in sub
            assert known or key in ("licence", "citation"), f"{name}: {key}"


# Refusals: each names file, key, value, what is allowed, and the nearest known name.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"modles": ["x"]}, r"c\.yaml: the document: unknown key 'modles'; known: .*Did you mean 'models'"),
    ({"models": ["e5-smal"]}, r"c\.yaml: models: 'e5-smal' is unknown; known: .*Did you mean 'e5-small'"),
    ({"models": []}, r"c\.yaml: models: \[\]"),
    ({"models": "e5-small"}, r"c\.yaml: models: 'e5-small' is not of type array"),
    ({"models": ["e5-small", "e5-small"]}, r"models: .*non-unique"),
    ({"intermediates": ["name-typing"]}, r"intermediates: .*none"),
    ({"intermediates": ["none", "name-typng"]}, r"intermediates: 'name-typng' is unknown.*'name-typing'"),
    ({"targets": {}}, r"targets: \{\}"),
    ({"targets": {"intnt": "all"}}, r"targets: 'intnt' is unknown.*Did you mean 'intent'"),
    ({"targets": {"intent": ["en", "xx"]}}, r"targets\.intent: language 'xx' is not on offer"),
    ({"targets": {"intent": ["en", False]}}, r"targets\.intent"),
    ({"targets": {"intent": []}}, r"targets\.intent"),
    ({"targets": {"retrieval": ["en"]}}, r"targets\.retrieval: language 'en' is not on offer"),
    ({"seeds": [-1]}, r"seeds\.0: -1"),
    ({"seeds": ["a"]}, r"seeds\.0: 'a' is not of type integer"),
    ({"seeds": [0, 0]}, r"seeds: .*non-unique"),
    ({"families": "familly"}, r"'familly' is not a column of languages\.csv.*Did you mean 'family'"),
    ({"minimum_examples": 0}, r"minimum_examples: 0"),
    ({"results": "../elsewhere"}, r"results: '\.\./elsewhere' climbs out"),
    ({"results": "~/x"}, r"results: '~/x' climbs out"),
    ({"training": {"learning_rat": 0.1}}, r"training: the document: unknown key 'learning_rat'.*'learning_rate'"),
    ({"training": {"learning_rate": "1e-4"}}, r"training: learning_rate: '1e-4' is not of type number.*1\.0e-4"),
    ({"training": {"learning_rate": -1.0}}, r"training: learning_rate: -1\.0"),
    (
        {"training": {"target": {"epoch": 3}}},
        r"training\.target: the document: unknown key 'epoch'.*Did you mean 'epochs'",
    ),
    ({"training": {"precision": "fp8"}}, r"training: precision: 'fp8' is not allowed; allowed: auto"),
    ({"significance": {"resamples": 10}}, r"significance\.resamples: 10"),
    ({"significance": {"resampling": "seeds"}}, r"significance\.resampling: 'seeds' is not allowed"),
    ({"significance": {"groupings": ["skript"]}}, r"'skript' is not a column.*'script'"),
    ({"catalog": ["no-such-folder"]}, r"catalog: no-such-folder is not a folder"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[json.dumps(c) for c, _ in REFUSED])
def test_refused_with_a_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config.resolve({**copy.deepcopy(BASE), **change}, "c.yaml")


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value, allow_unicode=True))
    return path


TASK: dict[str, Any] = {
    "kind": "classification",
    "description": "A task of a test.",
    "licence": "none",
    "source": {"type": "files", "path": "x.jsonl", "format": "jsonl"},
    "labels": ["a", "b"],
    "languages": {"en": {"train": 5, "dev": 5, "test": 50}, "de": {"test": 50}},
    "metrics": ["accuracy"],
}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mine", {"kind": "clasification"}, r"mine\.yaml: kind: 'clasification' is not allowed.*'classification'"),
        ("mine", {"languages": {"xx": {}}}, r"mine\.yaml: languages: language 'xx' has no row in languages\.csv"),
        (
            "mine",
            {"metrics": ["acuracy"]},
            r"mine\.yaml: metrics: metric 'acuracy' is unknown.*Did you mean 'accuracy'",
        ),
        ("mine", {"kind": "span_qa", "metrics": ["squad_f1"]}, r"mine\.yaml: labels: kind 'span_qa' takes no labels"),
        ("mine", {"labels": ["a"]}, r"mine\.yaml: labels"),
        ("mine", {"languages": {"en": {"tests": 5}}}, r"languages\.en: unknown key 'tests'.*'test'"),
        ("mine", {"training": {"epoch": 1}}, r"mine\.yaml: training: the document: unknown key 'epoch'"),
        ("mine", "kind: [", r"mine\.yaml: not YAML"),
        ("None", TASK, r"None\.yaml: the name 'None' must match"),
        ("none", TASK, r"none\.yaml: the name 'none'"),
        ("name-typing", TASK, r"'name-typing' is both an intermediate and a target"),
    ],
)
def test_catalogue_files_are_refused_with_a_sentence(name: str, change: Any, message: str, tmp_path: Path) -> None:
    value = change if isinstance(change, str) else {**TASK, **change}
    write(tmp_path / "target" / f"{name}.yaml", value)
    with pytest.raises(UserError, match=message):
        catalog.read([tmp_path])


def test_a_users_catalogue_adds_and_wins(tmp_path: Path) -> None:
    write(tmp_path / "target" / "mine.yaml", TASK)
    write(tmp_path / "target" / "intent.yaml", {**TASK, "description": "Not the built-in one."})
    write(tmp_path / "languages.csv", "language,name,family,colour\nxq,Questish,agglutinative,red\nde,,isolating,\n")
    found: Catalog = catalog.read([tmp_path])
    assert found.targets["mine"].languages["de"] == {"test": 50}
    assert found.targets["intent"].definition["description"].startswith("Not")
    assert found.languages.value("xq", "colour") == "red"
    assert found.languages.value("de", "family") == "isolating"
    assert found.languages.groups("family", ["xq", "de", "en"])["agglutinative"] == ["xq"]


def test_the_languages_table_holds_the_fifty_of_xtreme_r() -> None:
    found = catalog.read().languages
    assert sum(row["in_xtreme_r"] == "1" for row in found.rows.values()) == 50
    assert sum(row["in_xtreme"] == "1" for row in found.rows.values()) == 40
    assert set(found.groups("family", list(found.rows))) == {"agglutinative", "fusional", "introflexive", "isolating"}
    assert all(row["script"] and row["genealogy"] and row["family_source"] for row in found.rows.values())


def test_3_and_3_0_are_one_setting() -> None:
    """One training under two identities would be made twice, and its halves never compared."""
    as_written: list[str] = []
    for one, zero in ((3, 0), (3.0, 0.0)):
        training = {"epochs": one, "weight_decay": zero, "clip_norm": one, "lora": {"rank": 4, "dropout": zero}}
        jobs = Jobs(
            make(
                training=training, shots={"examples": 2, "learning_rate": type(one)(1)}, targets={"topic": ["en", "de"]}
            )
        )
        as_written.append(jobs.target_arguments("e5-small", "none", "topic") + jobs.prediction("e5-small", "topic"))
    assert as_written[0] == as_written[1] and '"epochs":3.0' in as_written[0]


def test_a_chat_template_is_part_of_what_answers_and_not_of_what_is_compared() -> None:
    sweep = make(models=["qwen3-0.6b"], targets={"tatoeba": ["de"], "xnli": ["de"]}, intermediates=["none"])
    model = sweep.catalog.models["qwen3-0.6b"]
    chatting = replace(model, definition={**model.definition, "chat": True})
    catalogue = replace(sweep.catalog, models={**sweep.catalog.models, "qwen3-0.6b": chatting})
    one, other = (
        [Jobs(found).prediction("qwen3-0.6b", target) for target in ("tatoeba", "xnli")]
        for found in (sweep, Sweep(sweep.config, catalogue))
    )
    assert one[0] == other[0] and one[1] != other[1]
