"""What a rule's job is told: what its data and weights are made from, its settings, the arguments of its command.

Canonical JSON, so that equal settings are equal text and nothing reruns for nothing; and only what the stage uses, so
that an edit reruns what it changes and no more.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from . import sources
from .aggregates import members
from .arms import Arm, Part
from .catalog import BUILT_IN, DEV, Recipe, Task
from .errors import UserError
from .facts import SIDED
from .files import canonical, digest, read_json
from .languages import ENGLISH
from .place import from_here
from .records import UNPREPARED
from .settings import LENGTHS, Stage, TrainingSettings, overlay, resolve, resolve_mixture
from .sources import templates
from .sources.parts import rooted
from .sweep import Sweep


class Jobs:
    """The settings and arguments of a sweep's jobs."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.config = sweep.config
        self.catalog = sweep.catalog
        self.layout = sweep.layout
        self._templates: dict[tuple[str, str], list[str]] = {}
        self._tasks: dict[str, Task] = {}

    def definition(self, task: str, language: str) -> str:
        """Return what decides the data of a task in a language, as JSON (no other language's digest)."""
        return canonical(self.task_definition(task, language))

    def task_definition(self, task: str, language: str) -> dict[str, Any]:
        """Return what `definition` writes as JSON."""
        if task not in self._tasks:
            self._tasks[task] = self.catalog.task(task).reading(lambda code: self.sweep.splits(task, code))
        definition = {key: v for key, v in self._tasks[task].definition.items() if key not in _NOT_DATA}
        # Readers look at which splits the other languages have, never at what is in them.
        definition["languages"] = {
            code: {key: value for key, value in about.items() if code == language or key != "sha256"}
            for code, about in definition["languages"].items()
        }
        if definition["source"]["type"] == "files":
            definition = rooted(definition, self.config.get("data_root"))
        if definition["source"]["type"] == "templates":
            definition["source"] = {**definition["source"], "root": _portable(definition["source"]["root"])}
        return definition

    def read_files(self, task: str, language: str) -> list[Path]:
        """Return the user's files that a task in a language is read from.

        Raises:
          UserError: they cannot be found.
        """
        return sources.read_files(Task(task, "task", self.task_definition(task, language)), language)

    def templates(self, task: str, language: str) -> list[str]:
        """Return the files of templates that a task in a language is filled in from, if it is."""
        if (task, language) not in self._templates:
            definition = self.task_definition(task, language)
            templated = definition["source"]["type"] == "templates"
            paths = templates.paths(definition, language) if templated else []
            self._templates[task, language] = list(map(str, paths))
        return self._templates[task, language]

    def model_definition(self, model: str) -> str:
        """Return what decides a model's weights and tokenizer, as JSON."""
        return canonical(self.weights_definition(model))

    def weights_definition(self, model: str) -> dict[str, Any]:
        """Return what `model_definition` writes as JSON."""
        definition = self.catalog.models[model].definition
        return {key: v for key, v in definition.items() if key not in _NOT_WEIGHTS}

    def intermediate_arguments(self, model: str, intermediate: str) -> str:
        """Return the arguments of `train.py` for an arm's intermediate stage, quoted for a shell."""
        return _training_arguments(self.intermediate_run(model, intermediate))

    def intermediate_run(self, model: str, intermediate: str) -> dict[str, Any]:
        """Return what an arm's intermediate stage is told, besides its seed, its data and what it starts from."""
        arm = self.sweep.arms[intermediate]
        identity = {"model": model, "intermediate": intermediate, "target": None}
        run = self._run(model, self.intermediate_training(model, intermediate), identity)
        if arm.plain:
            task = self.catalog.intermediates[arm.parts[0].task]
            return {**run, "chance": float(task.definition["chance"])}
        return {**run, "mixture": arm.mixture(self.catalog)}

    def intermediate_training(self, model: str, intermediate: str) -> TrainingSettings:
        """Return the resolved training settings of a model in an arm's intermediate stage."""
        scored = [part.task for part in self.sweep.arms[intermediate].parts if part.rate is None]
        if len(scored) == 1:
            return self.training("intermediate", model, scored[0])
        tasks = [self.catalog.intermediates[task] for task in scored]
        own = self.config["arms"]["multi_task"]["training"]
        return resolve_mixture(self.catalog.models[model], tasks, self.config["training"], own, self.recipe(model))

    def target_arguments(self, model: str, intermediate: str, training: str) -> str:
        """Return the arguments of `train.py` for a target-stage training, quoted for a shell."""
        return _training_arguments(self.target_run(model, intermediate, training))

    def target_run(self, model: str, intermediate: str, training: str) -> dict[str, Any]:
        """Return what a target-stage training is told, besides its seed, its data and what it starts from."""
        *before, task = self.sweep.trainings[training]
        identity = {"model": model, "intermediate": intermediate, "target": training}
        run = self._run(model, self.target_training(model, training), identity)
        # The official recipes of two stages go on with the first one's head.
        run["keep_head"] = bool(before)
        if len(self.sweep.sources) == 1:
            return {**run, "chance": float(self.catalog.task(task).definition["chance"])}
        together = Arm(training, (Part(task, tuple(self.sweep.sources)),), cap=1)
        return {**run, "mixture": together.mixture(self.catalog, self.sweep.source)}

    def target_training(self, model: str, training: str) -> TrainingSettings:
        """Return the resolved training settings of a model in the last part of a target-stage training."""
        return self.training("target", model, self.sweep.trainings[training][-1])

    def computing(self, settings: TrainingSettings, gpus: int | None = None) -> str:
        """Return the options of a training that decide no number: how it computes, and how often it saves its state.

        A rule takes them by a function of `resources`, which Snakemake does not compare with those of an earlier run.

        Args:
          settings: the training's.
          gpus: those it got; None: it takes no such option.
        """
        options = [] if gpus is None else ["--gpus", str(gpus)]
        options += ["--save-minutes", f"{settings.save_minutes:g}"]
        resources = self.config["resources"]
        options += self._share()
        options += ["--gradient-checkpointing"] if resources["gradient_checkpointing"] else []
        options += [] if resources["cuda_graphs"] else ["--no-cuda-graphs"]
        return shlex.join([*options, *(["--tracking", self.config["tracking"]] if self.config["tracking"] else [])])

    def sharing(self) -> str:
        """Return the option of `predict.py` that says how many jobs a card takes; empty for one."""
        return shlex.join(self._share())

    def _share(self) -> list[str]:
        share = self.config["resources"]["share"]
        return ["--share", str(share)] if share > 1 else []

    def adapters(self, model: str) -> str:
        """Say which of a model's trainings train low-rank adapters, and of which rank; empty: none does."""
        trainings = {
            **{f"intermediate {arm}": self.intermediate_training(model, arm) for arm in self.sweep.stages},
            **{tasks[-1]: self.training("target", model, tasks[-1]) for tasks in self.sweep.trainings.values()},
        }
        ranks = {name: int(one.lora["rank"]) for name, one in trainings.items() if one.lora is not None}
        if len(ranks) == len(trainings) and len(set(ranks.values())) == 1:
            return f"all of it, rank {next(iter(ranks.values()))}"
        return ", ".join(f"{name}, rank {rank}" for name, rank in ranks.items())

    def copies(self, task: str) -> str:
        """Return the option of `prepare.py` that says where copies of hub data sets lie, empty for other tasks.

        At a pinned revision the rows are the same everywhere, so it is passed as `computing` is.
        """
        hub = self.catalog.task(task).definition["source"]["type"] == "hub"
        return shlex.join(["--data-root", self.config["data_root"]]) if hub and "data_root" in self.config else ""

    def _run(self, model: str, settings: TrainingSettings, identity: Mapping[str, Any]) -> dict[str, Any]:
        definition = self.catalog.models[model].definition
        return {
            "settings": _decisive(settings),
            "representation": _representation(definition),
            "identity": dict(identity),
            "prune": bool(definition["vocabulary"].get("prune")),
            "mixture": None,
            "chance": 0.0,
            "keep_head": False,
        }

    def training(self, stage: Stage, model: str, task: str) -> TrainingSettings:
        """Return the resolved training settings of a model on a task."""
        return resolve(
            stage, self.catalog.models[model], self.catalog.task(task), self.config["training"], self.recipe(model)
        )

    def recipe(self, model: str) -> Recipe | None:
        """Return the recipe of a model, None where its own and the tasks' settings are all."""
        return self.sweep.recipe(model)

    def pretraining(self, model: str) -> TrainingSettings:
        """Return the settings of making a model from nothing: its own training settings, its number of updates."""
        definition = self.catalog.models[model].definition
        layers = [{**definition["training"], **self.config["training"]}]
        updates = definition["source"]["updates"]
        # Enough epochs for any number of updates: that number alone ends the run.
        return overlay("pretrain", *layers, {"max_updates": updates, "epochs": float(updates)})

    def pretraining_settings(self, model: str) -> str:
        """Return the settings of `pretrain.py` as JSON."""
        return canonical(_decisive(self.pretraining(model)))

    def prediction(self, model: str, target: str) -> str:
        """Return the settings of `predict.py` as JSON."""
        return canonical(self.prediction_settings(model, target))

    def prediction_settings(self, model: str, target: str) -> dict[str, Any]:
        """Return what `prediction` writes as JSON."""
        definition = {**self.catalog.models[model].definition, "retrieval": self.sweep.retrieval(model, target)}
        if self.catalog.targets[target].kind in SIDED:
            # Texts that are compared stand in no chat template.
            definition["chat"] = False
        trained = self.training("target", model, target)
        layer_from = None
        if task := self.sweep.layer_task(model, target):
            layer_from = {"task": task, "label": definition["retrieval"].get("dev_label")}
        return {
            **{key: getattr(trained, key) for key in (*LENGTHS, "precision")},
            "batch_tokens": self.config["prediction"]["batch_tokens"],
            "prune": bool(definition["vocabulary"].get("prune")),
            "representation": _representation(definition),
            "layer_from": layer_from,
            **({"shots": self._shots(trained)} if self.sweep.shots else {}),
        }

    def _shots(self, trained: TrainingSettings) -> dict[str, Any]:
        """Return how a model goes on from a target's training with examples of a language."""
        about = dict(self.config["shots"])
        rate = about.pop("learning_rate", trained.learning_rate)
        training = {**_decisive(trained), "learning_rate": float(rate)}
        return {**about, "sources": self.sweep.sources, "training": training}

    def shots_option(self, seed: int | str) -> str:
        """Return the option of `predict.py` that says which shots are drawn; empty where there are none."""
        return shlex.join(["--seed", str(seed)]) if self.sweep.shots else ""

    def layer_data(self, model: str, target: str) -> list[str]:
        """Return the prepared English data that choose the layer a target compares; none where nothing is chosen."""
        task = self.sweep.layer_task(model, target)
        return [] if task is None else [self.layout.data(task, ENGLISH)]

    def layer_option(self, model: str, target: str) -> str:
        """Return the option of `predict.py` that names these data, quoted for a shell; empty where there are none."""
        return shlex.join(word for path in self.layer_data(model, target) for word in ("--layer-data", path))

    def measure_arguments(self, target: str) -> str:
        """Return the arguments of `measure.py` that come from configuration and catalogue, quoted for a shell."""
        task = self.catalog.targets[target]
        arguments = ["--languages", *self.sweep.measured(target)]
        # Where English is no language of the task, it is what is searched.
        if task.kind in SIDED and ENGLISH not in task.languages:
            arguments.append("--candidates-english")
        named = [f"{language}={path}" for language, path in self.sweep.segmentations(target).items()]
        return shlex.join([*arguments, *(["--segmentations", *named] if named else [])])

    def probe_identity(self, checkpoint: str, task: str) -> str:
        """Return what a probed checkpoint is, for the record, as JSON."""
        names = {key: value for key, value in asdict(self.sweep.probed[checkpoint]).items() if key != "record"}
        return canonical({**names, "task": task})

    def probe_settings(self) -> str:
        """Return the settings of `probe.py` as JSON."""
        probes = self.config["probes"]
        settings = {key: probes[key] for key in ("features", "pooling", "sentences", "words", "minimum")}
        return canonical({**settings, "batch_tokens": self.config["prediction"]["batch_tokens"]})

    def probe_families(self) -> str:
        """Return the family of every language that is probed, empty where it has none, as JSON."""
        codes = sorted({code for languages in self.sweep.probe_tasks.values() for code in languages})
        return canonical({code: self.sweep.family(code) for code in codes})

    def significance_arguments(self, target: str) -> str:
        """Return the arguments of `significance.py` that come from the configuration, quoted for a shell."""
        groupings = self.config["significance"]["groupings"]
        return shlex.join([*self._testing_arguments(target), *(["--groupings", *groupings] if groupings else [])])

    def diagnosis_arguments(self, target: str) -> str:
        """Return the arguments of `diagnose.py` that come from the configuration, quoted for a shell."""
        settings = self.config["diagnosis"]
        arguments = [*self._testing_arguments(target), "--attributes", *settings["attributes"]]
        return shlex.join([*arguments, "--buckets", str(settings["buckets"]), "--minimum", str(settings["minimum"])])

    def _testing_arguments(self, target: str) -> list[str]:
        settings = self.config["significance"]
        arguments = ["--intermediates", *self.sweep.arms_of(target), "--seeds", *map(str, self.sweep.seeds)]
        arguments += ["--languages", *self.sweep.languages[target], "--source-language", self.sweep.source]
        arguments += ["--families", self.config["families"]]
        for key in ("resamples", "seed", "confidence", "resampling", "margin"):
            arguments += [f"--{key}", str(settings[key])]
        arguments += ["--failed-intermediates", settings["failed_intermediates"]]
        arguments += [] if settings["pair_seeds"] else ["--no-pair-seeds"]
        return [*arguments, *(["--allow-missing"] if settings["allow_missing"] else [])]

    @cached_property
    def submitted(self) -> dict[str, dict[str, list[str]]]:
        """Benchmarks that some target of the sweep belongs to -> those targets -> their languages there."""
        of_targets = {target: self.sweep.catalog.targets[target].benchmarks for target in self.sweep.languages}
        return members(of_targets)

    def submission_predictions(self) -> list[str]:
        """Return the predictions that a submission is written from."""
        targets = dict.fromkeys(target for tasks in self.submitted.values() for target in tasks)
        return [
            self.sweep.layout.predictions(model, arm, target, seed)
            for model in self.sweep.models
            for target in targets
            for arm in self.sweep.arms_of(target)
            for seed in self.sweep.seeds
        ]

    def submission_arguments(self) -> str:
        """Return the arguments of `submission.py`, quoted for a shell."""
        arguments = ["--models", *self.sweep.models, "--intermediates", *self.sweep.intermediates]
        arguments += ["--seeds", *map(str, self.sweep.seeds), "--members", canonical(self.submitted)]
        return shlex.join([*arguments, "--languages", canonical(self.sweep.languages)])

    def behaviour_arguments(self) -> str:
        """Return the arguments of `behaviour.py`, quoted for a shell."""
        tests = {}
        for target in self.sweep.behavioural:
            reviews, languages = self.reviews(target), self.sweep.languages[target]
            known = {language: reviews[language] for language in languages if language in reviews}
            tests[target] = {"intermediates": self.sweep.arms_of(target), "languages": languages, "review": known}
        arguments = [
            "--models",
            *self.sweep.models,
            "--seeds",
            *map(str, self.sweep.seeds),
            "--tests",
            canonical(tests),
        ]
        return shlex.join([*arguments, "--confidence", str(self.config["significance"]["confidence"])])

    def prediction_data(self, target: str) -> list[str]:
        """Return the prepared data that the predictions of a target wait for.

        Those of every language, but for languages that could not be prepared when it was tried last, by the same
        definition. They are tried again beside the predictions of the others, and predicted once their data are there.
        """
        everything = [self.layout.data(target, language) for language in self.sweep.languages[target]]
        return [path for path in everything if path not in self._unprepared]

    @cached_property
    def _unprepared(self) -> set[str]:
        # Looked up once, so that it is the same for all jobs of a run.
        unprepared = set()
        for target, languages in self.sweep.languages.items():
            notes = {note.stem: note for note in Path(self.layout.data_folder(target)).glob(f"*{UNPREPARED}")}
            for language in notes.keys() & languages:
                path = self.layout.data(target, language)
                if not Path(path).is_file() and self._still_holds(notes[language], target, language):
                    unprepared.add(path)
        return unprepared

    def _still_holds(self, note: Path, task: str, language: str) -> bool:
        """Whether the definition that could not be prepared is the one of now."""
        try:
            return bool(read_json(note)["definition"] == digest(self.task_definition(task, language)))
        except (UserError, KeyError, TypeError):
            return False

    def look(self) -> None:
        """Look once at what lies on disk and decides inputs, so that no input function of thousands of jobs does.

        A process that runs one job of a cluster does without and looks for that job only.
        """
        self._unprepared  # noqa: B018 (kept by looking)
        for target, languages in self.sweep.languages.items():
            for language in languages:
                self.templates(target, language)

    def reviews(self, target: str) -> dict[str, str]:
        """Return which languages of a target's templates a native speaker has checked: `native` or `needed`."""
        definition = self.catalog.targets[target].definition
        return templates.reviews(definition) if definition["source"]["type"] == "templates" else {}


_NOT_DATA = {
    "description",
    "citation",
    "notes",
    "provenance",
    "training",
    "contaminates",
    "chance",
    "benchmarks",
    "train_on",
    "capabilities",
    "tokens",
}
_NOT_WEIGHTS = {
    "chat",
    "decoder_layers",
    "pretraining_corpus",
    "description",
    "citation",
    "notes",
    "provenance",
    "licence",
    "pooling",
    "retrieval",
    "vocabulary",
    "training",
}


def _decisive(settings: TrainingSettings) -> dict[str, Any]:
    """Return training settings as JSON values, less what decides no number."""
    return {key: value for key, value in settings.to_json().items() if key != "save_minutes"}


def _training_arguments(run: Mapping[str, Any]) -> str:
    """Return the arguments of `train.py`, quoted for a shell."""
    arguments: list[str] = []
    for key in ("settings", "representation", "identity"):
        arguments += [f"--{key}", canonical(run[key])]
    arguments += ["--prune"] if run["prune"] else []
    if run["mixture"] is None:
        arguments += ["--chance", str(run["chance"])]
    else:
        arguments += ["--mixture", canonical(run["mixture"])]
    return shlex.join([*arguments, *(["--keep-head"] if run["keep_head"] else [])])


def _representation(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a model is read; a layer that is chosen where it is compared is the last until then."""
    retrieval = {key: definition["retrieval"][key] for key in ("layer", "pooling", "prefix")}
    return {
        "pooling": definition["pooling"],
        "retrieval": {**retrieval, "layer": -1 if retrieval["layer"] == DEV else retrieval["layer"]},
        **({"chat": True} if definition["chat"] else {}),
    }


def _portable(folder: str) -> str:
    """Name a folder of the built-in catalogue from the one that rules run in, so that a moved checkout is the same."""
    path = Path(folder)
    return str(Path(from_here("catalog")) / path.relative_to(BUILT_IN)) if path.is_relative_to(BUILT_IN) else folder
