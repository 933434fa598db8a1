"""The grid of cells: what a configuration asks for, what is left out and why, and where everything lies on disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .arms import BASELINE, Arm
from .catalog import Catalog
from .config import resolve_arms
from .files import canonical
from .languages import SOURCE_LANGUAGE
from .settings import Stage, TrainingSettings, overlay, resolve, resolve_mixture


@dataclass(frozen=True, order=True)
class Cell:
    """One model, intermediate, target, seed and language."""

    model: str
    intermediate: str
    target: str
    seed: int
    language: str


@dataclass(frozen=True)
class Omitted:
    """A target's language, or an arm's target, that the configuration names and the sweep leaves out."""

    target: str
    language: str
    """Empty: all of them."""
    reason: str
    intermediate: str = ""
    """Empty: all of them."""


FAILURES = "failures.json"
"""Beside an index of predictions: languages that could not be predicted (see `evaluation`)."""


class Sweep:
    """A checked configuration and its catalogue, seen as a grid."""

    def __init__(self, config: Mapping[str, Any], catalog: Catalog) -> None:
        self.config = config
        self.catalog = catalog
        self.results = str(config["results"])
        self.models: list[str] = list(config["models"])
        self.arms: dict[str, Arm] = resolve_arms(config, catalog)
        # The baseline comes first, whatever the order in the file: tables and plans read from it.
        self.intermediates: list[str] = [name for name in self.arms if name in config["intermediates"]]
        self.seeds: list[int] = list(config["seeds"])

    @cached_property
    def languages(self) -> dict[str, list[str]]:
        """Target -> languages that are built, in the configuration's order."""
        left_out = {(o.target, o.language) for o in self.omitted if o.language}
        return {
            target: [language for language in wanted if (target, language) not in left_out]
            for target, wanted in self.config["targets"].items()
        }

    @cached_property
    def omitted(self) -> list[Omitted]:
        """Languages below `minimum_examples` by the catalogue's counts (an unstated count is trusted), and targets that
        are not trained on in arms that continue a target's training.
        """
        minimum = self.config["minimum_examples"]
        found = []
        for target, wanted in self.config["targets"].items():
            for language in wanted:
                count = self.catalog.targets[target].languages[language].get("test")
                if count is not None and count < minimum:
                    found.append(Omitted(target, language, f"{count} test examples, fewer than {minimum}"))
            left_out = set(self.intermediates) - set(self.arms_of(target))
            reason = "no training of its own that could go on"
            found += [Omitted(target, "", reason, arm) for arm in self.intermediates if arm in left_out]
        return found

    def arms_of(self, target: str) -> list[str]:
        """Return the arms a target is built in, the baseline first."""
        return [arm for arm in self.intermediates if self.trained(target) or not self.arms[arm].matches]

    def cells(self) -> Iterator[Cell]:
        """Every cell, in the order of comparison."""
        arms = {target: set(self.arms_of(target)) for target in self.languages}
        for model in self.models:
            for intermediate in self.intermediates:
                for target, languages in self.languages.items():
                    if intermediate not in arms[target]:
                        continue
                    for seed in self.seeds:
                        for language in languages:
                            yield Cell(model, intermediate, target, seed, language)

    def trained(self, target: str) -> bool:
        """Whether a target is trained on; the others are predicted straight from the intermediate checkpoint."""
        return bool(self.catalog.targets[target].train_on)

    def contaminated(self, intermediate: str, target: str) -> bool:
        """Whether an arm's intermediate stage sees the target's training or test data."""
        arm = self.arms[intermediate]
        return arm.stage is not None and any(
            target in self.catalog.intermediates[part.task].definition["contaminates"] for part in arm.parts
        )

    @cached_property
    def stages(self) -> list[str]:
        """Arms that are trained in an intermediate stage, those included that others only count the updates of."""
        return [arm.name for arm in self.arms.values() if arm.stage]

    @cached_property
    def trainings(self) -> dict[str, list[str]]:
        """Name of a target-stage training -> tasks trained on so far, its own one last.

        Targets that are trained on the same tasks share it.
        """
        # Names of tasks hold no plus sign.
        return {name: name.split("+") for target in self.languages for name in self.catalog.targets[target].trainings}

    @cached_property
    def _last_trainings(self) -> set[str]:
        """Trainings that predict a target."""
        return {self.catalog.targets[target].trainings[-1] for target in self.languages if self.trained(target)}

    @cached_property
    def tasks(self) -> list[str]:
        """Every task whose data the sweep needs."""
        trained = [task for tasks in self.trainings.values() for task in tasks]
        mixed = [part.task for arm in self.arms.values() for part in arm.parts]
        return list(dict.fromkeys([*mixed, *trained, *self.languages]))

    # Where things lie. The rules spell the same paths as patterns; a test holds the two together.

    def data(self, task: str, language: str) -> str:
        """Return the prepared data of a task in a language."""
        return f"{self.results}/data/{task}/{language}.parquet"

    def intermediate_data(self, intermediate: str) -> list[str]:
        """Return the prepared data an arm's intermediate stage reads: development data are English."""
        found = []
        for part in self.arms[intermediate].parts:
            offered = self.catalog.intermediates[part.task].languages
            source = [SOURCE_LANGUAGE] if "dev" in offered.get(SOURCE_LANGUAGE, {}) else []
            found += [self.data(part.task, code) for code in dict.fromkeys([*source, *part.languages])]
        return found

    def start(self, model: str, intermediate: str, seed: int | str) -> str:
        """Return the checkpoint targets start from: the model itself where there is no intermediate stage."""
        if not self.arms[intermediate].stage:
            return f"{self.results}/models/{model}/model.json"
        return self._intermediate(model, intermediate, seed)

    def training_start(self, model: str, intermediate: str, training: str, seed: int | str) -> str:
        """Return the checkpoint a target-stage training starts from: its first task's, where it has two."""
        before = training.rpartition("+")[0]
        return self.finetuned(model, intermediate, before, seed) if before else self.start(model, intermediate, seed)

    def matched(self, model: str, intermediate: str, training: str, seed: int | str) -> list[str]:
        """Return the intermediate checkpoint (if any) whose updates a target-stage training makes in addition.

        Of a chain of trainings only the last one goes on; the ones before it have no target of their own.
        """
        matches = self.arms[intermediate].matches
        if not matches or training not in self._last_trainings:
            return []
        return [self._intermediate(model, matches, seed)]

    def checkpoint(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the checkpoint that predicts a target."""
        if not self.trained(target):
            return self.start(model, intermediate, seed)
        return self.finetuned(model, intermediate, self.catalog.targets[target].trainings[-1], seed)

    def predictions(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the index of a checkpoint's predictions of a target."""
        return f"{self.results}/predictions/{model}/{intermediate}/{target}/seed{seed}/predictions.json"

    def failures(self, model: str, intermediate: str, target: str, seed: int | str) -> list[str]:
        """Return the file that says that a language could not be predicted and is to be tried again, if any."""
        path = Path(self.predictions(model, intermediate, target, seed)).with_name(FAILURES)
        return [str(path)] if path.is_file() else []

    def _intermediate(self, model: str, intermediate: str, seed: int | str) -> str:
        return f"{self.results}/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json"

    def finetuned(self, model: str, intermediate: str, training: str, seed: int | str) -> str:
        """Return the checkpoint of a target-stage training."""
        return f"{self.results}/finetune/{model}/{intermediate}/{training}/seed{seed}/checkpoint.json"

    def cell(self, cell: Cell) -> str:
        """Return the file of a cell."""
        return cell_path(self.results, cell)

    def cell_files(self, model: str | None = None, target: str | None = None) -> list[str]:
        """Return the files of all cells, or of one model's or target's."""
        return [
            cell_path(self.results, cell)
            for cell in self.cells()
            if model in (None, cell.model) and target in (None, cell.target)
        ]

    def data_folder(self, task: str) -> str:
        """Return the folder of a task's prepared data."""
        return f"{self.results}/data/{task}"

    def family(self, language: str) -> str:
        """Return a language's family under the configured grouping, empty if it has none."""
        return self.catalog.languages.value(language, self.config["families"])

    # What rules pass to scripts. Canonical JSON, so that equal settings are equal text and nothing reruns for nothing;
    # and only what the stage uses, so that an edit reruns what it changes and no more.

    def definition(self, task: str, language: str) -> str:
        """Return what decides the data of a task in a language, as JSON (no other language's digest)."""
        return canonical(self.task_definition(task, language))

    def task_definition(self, task: str, language: str) -> dict[str, Any]:
        """Return what `definition` writes as JSON."""
        definition = {key: v for key, v in self.catalog.task(task).definition.items() if key not in _NOT_DATA}
        # Readers look at which splits the other languages have, never at what is in them.
        definition["languages"] = {
            code: {key: value for key, value in about.items() if code == language or key != "sha256"}
            for code, about in definition["languages"].items()
        }
        if "data_root" in self.config and definition["source"]["type"] == "files":
            definition["source"] = {"root": self.config["data_root"], **definition["source"]}
        return definition

    def model_definition(self, model: str) -> str:
        """Return what decides a model's weights and tokenizer, as JSON."""
        definition = self.catalog.models[model].definition
        return canonical({key: v for key, v in definition.items() if key not in _NOT_WEIGHTS})

    def intermediate_arguments(self, model: str, intermediate: str) -> str:
        """Return the arguments of `train.py` for an arm's intermediate stage, quoted for a shell."""
        arm = self.arms[intermediate]
        identity = {"model": model, "intermediate": intermediate, "target": None}
        arguments = self._training_arguments(model, self.intermediate_training(model, intermediate), identity)
        if arm.plain:
            task = self.catalog.intermediates[arm.parts[0].task]
            return shlex.join([*arguments, "--chance", str(task.definition["chance"])])
        return shlex.join([*arguments, "--mixture", canonical(arm.mixture(self.catalog))])

    def intermediate_training(self, model: str, intermediate: str) -> TrainingSettings:
        """Return the resolved training settings of a model in an arm's intermediate stage."""
        scored = [part.task for part in self.arms[intermediate].parts if part.rate is None]
        if len(scored) == 1:
            return self.training("intermediate", model, scored[0])
        tasks = [self.catalog.intermediates[task] for task in scored]
        own = self.config["arms"]["multi_task"]["training"]
        return resolve_mixture(self.catalog.models[model], tasks, self.config["training"], own)

    def target_arguments(self, model: str, intermediate: str, training: str) -> str:
        """Return the arguments of `train.py` for a target-stage training, quoted for a shell."""
        *before, task = self.trainings[training]
        identity = {"model": model, "intermediate": intermediate, "target": training}
        arguments = self._training_arguments(model, self.training("target", model, task), identity)
        arguments += ["--chance", str(self.catalog.task(task).definition["chance"])]
        # The official recipes of two stages go on with the first one's head.
        return shlex.join([*arguments, "--keep-head"] if before else arguments)

    def _training_arguments(self, model: str, settings: TrainingSettings, identity: Mapping[str, Any]) -> list[str]:
        definition = self.catalog.models[model].definition
        return [
            *("--settings", canonical(settings.to_json())),
            *("--representation", canonical(_representation(definition))),
            *("--identity", canonical(identity)),
            *(["--prune"] if definition["vocabulary"].get("prune") else []),
        ]

    def training(self, stage: Stage, model: str, task: str) -> TrainingSettings:
        """Return the resolved training settings of a model on a task."""
        return resolve(stage, self.catalog.models[model], self.catalog.task(task), self.config["training"])

    def pretraining(self, model: str) -> str:
        """Return the settings of `pretrain.py` as JSON: the model's own training settings, its number of updates."""
        definition = self.catalog.models[model].definition
        layers = [{**definition["training"], **self.config["training"]}]
        updates = definition["source"]["updates"]
        # Enough epochs for any number of updates: that number alone ends the run.
        return canonical(overlay("pretrain", *layers, {"max_updates": updates, "epochs": float(updates)}).to_json())

    def models_from(self, *types: str) -> list[str]:
        """Return the models whose source is of one of these types."""
        return [model for model in self.models if self.catalog.models[model].definition["source"]["type"] in types]

    def prediction(self, model: str, target: str) -> str:
        """Return the settings of `predict.py` as JSON."""
        definition = self.catalog.models[model].definition
        trained = self.training("target", model, target)
        return canonical(
            {
                **{key: getattr(trained, key) for key in ("max_length", "stride", "max_target_length", "precision")},
                "batch_tokens": self.config["prediction"]["batch_tokens"],
                "prune": bool(definition["vocabulary"].get("prune")),
                "representation": _representation(definition),
            }
        )

    def significance_arguments(self, target: str) -> str:
        """Return the arguments of `significance.py` that come from the configuration, quoted for a shell."""
        settings = self.config["significance"]
        arguments = ["--intermediates", *self.arms_of(target), "--seeds", *map(str, self.seeds)]
        arguments += ["--languages", *self.languages[target], "--families", self.config["families"]]
        if settings["groupings"]:
            arguments += ["--groupings", *settings["groupings"]]
        for key in ("resamples", "seed", "confidence", "resampling"):
            arguments += [f"--{key}", str(settings[key])]
        if settings["allow_missing"]:
            arguments.append("--allow-missing")
        return shlex.join(arguments)


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
}
_NOT_WEIGHTS = {
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


def _representation(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {"pooling": definition["pooling"], "retrieval": definition["retrieval"]}


def cell_path(results: str, cell: Cell) -> str:
    """Return the file of a cell below a results folder."""
    return f"{results}/cells/{cell.model}/{cell.intermediate}/{cell.target}/seed{cell.seed}/{cell.language}.json"


__all__ = ["BASELINE", "FAILURES", "SOURCE_LANGUAGE", "Cell", "Omitted", "Sweep", "cell_path"]
