"""The grid of cells: what a configuration asks for, what is left out and why, and where everything lies on disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .catalog import Catalog
from .config import BASELINE
from .files import canonical
from .languages import SOURCE_LANGUAGE
from .settings import Stage, TrainingSettings, overlay, resolve


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
    """A target's language that the configuration names and the sweep leaves out."""

    target: str
    language: str
    reason: str


class Sweep:
    """A checked configuration and its catalogue, seen as a grid."""

    def __init__(self, config: Mapping[str, Any], catalog: Catalog) -> None:
        self.config = config
        self.catalog = catalog
        self.results = str(config["results"])
        self.models: list[str] = list(config["models"])
        # The baseline comes first, whatever the order in the file: tables and plans read from it.
        self.intermediates: list[str] = [BASELINE, *(i for i in config["intermediates"] if i != BASELINE)]
        self.seeds: list[int] = list(config["seeds"])

    @cached_property
    def languages(self) -> dict[str, list[str]]:
        """Target -> languages that are built, in the configuration's order."""
        left_out = {(o.target, o.language) for o in self.omitted}
        return {
            target: [language for language in wanted if (target, language) not in left_out]
            for target, wanted in self.config["targets"].items()
        }

    @cached_property
    def omitted(self) -> list[Omitted]:
        """Languages below `minimum_examples` by the catalogue's counts; an unstated count is trusted."""
        minimum = self.config["minimum_examples"]
        found = []
        for target, wanted in self.config["targets"].items():
            for language in wanted:
                count = self.catalog.targets[target].languages[language].get("test")
                if count is not None and count < minimum:
                    found.append(Omitted(target, language, f"{count} test examples, fewer than {minimum}"))
        return found

    def cells(self) -> Iterator[Cell]:
        """Every cell, in the order of comparison."""
        for model in self.models:
            for intermediate in self.intermediates:
                for target, languages in self.languages.items():
                    for seed in self.seeds:
                        for language in languages:
                            yield Cell(model, intermediate, target, seed, language)

    def trained(self, target: str) -> bool:
        """Whether a target has training data; the others are predicted straight from the intermediate checkpoint."""
        return self.catalog.targets[target].trained

    def contaminated(self, intermediate: str, target: str) -> bool:
        """Whether an intermediate task holds the target's training or test data."""
        if intermediate == BASELINE:
            return False
        return target in self.catalog.intermediates[intermediate].definition["contaminates"]

    # Where things lie. The rules spell the same paths as patterns; a test holds the two together.

    def data(self, task: str, language: str) -> str:
        """Return the prepared data of a task in a language."""
        return f"{self.results}/data/{task}/{language}.parquet"

    def start(self, model: str, intermediate: str, seed: int | str) -> str:
        """Return the checkpoint a target's training starts from: the model itself for the baseline."""
        if intermediate == BASELINE:
            return f"{self.results}/models/{model}/model.json"
        return f"{self.results}/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json"

    def checkpoint(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the checkpoint that predicts a target."""
        if not self.trained(target):
            return self.start(model, intermediate, seed)
        return f"{self.results}/finetune/{model}/{intermediate}/{target}/seed{seed}/checkpoint.json"

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
        definition = {key: v for key, v in self.catalog.task(task).definition.items() if key not in _NOT_DATA}
        # Readers look at which splits the other languages have, never at what is in them.
        definition["languages"] = {
            code: {key: value for key, value in about.items() if code == language or key != "sha256"}
            for code, about in definition["languages"].items()
        }
        if "data_root" in self.config and definition["source"]["type"] == "files":
            definition["source"] = {"root": self.config["data_root"], **definition["source"]}
        return canonical(definition)

    def model_definition(self, model: str) -> str:
        """Return what decides a model's weights and tokenizer, as JSON."""
        definition = self.catalog.models[model].definition
        return canonical({key: v for key, v in definition.items() if key not in _NOT_WEIGHTS})

    def training_arguments(self, stage: Stage, model: str, task: str, intermediate: str) -> str:
        """Return the arguments of `train.py` that come from the catalogue and the configuration, quoted for a shell."""
        definition = self.catalog.models[model].definition
        resolved = self.training(stage, model, task)
        identity = {"model": model, "intermediate": intermediate, "target": task if stage == "target" else None}
        arguments = [
            *("--settings", canonical(resolved.to_json())),
            *("--representation", canonical(_representation(definition))),
            *("--identity", canonical(identity)),
            *("--chance", str(self.catalog.task(task).definition["chance"])),
        ]
        return shlex.join([*arguments, "--prune"] if definition["vocabulary"].get("prune") else arguments)

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
        arguments = ["--intermediates", *self.intermediates, "--seeds", *map(str, self.seeds)]
        arguments += ["--languages", *self.languages[target], "--families", self.config["families"]]
        if settings["groupings"]:
            arguments += ["--groupings", *settings["groupings"]]
        for key in ("resamples", "seed", "confidence", "resampling"):
            arguments += [f"--{key}", str(settings[key])]
        if settings["allow_missing"]:
            arguments.append("--allow-missing")
        return shlex.join(arguments)


_NOT_DATA = {"description", "citation", "notes", "provenance", "training", "contaminates", "chance"}
_NOT_WEIGHTS = {"description", "citation", "notes", "licence", "pooling", "retrieval", "vocabulary", "training"}


def _representation(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {"pooling": definition["pooling"], "retrieval": definition["retrieval"]}


def cell_path(results: str, cell: Cell) -> str:
    """Return the file of a cell below a results folder."""
    return f"{results}/cells/{cell.model}/{cell.intermediate}/{cell.target}/seed{cell.seed}/{cell.language}.json"


__all__ = ["BASELINE", "SOURCE_LANGUAGE", "Cell", "Omitted", "Sweep", "cell_path"]
