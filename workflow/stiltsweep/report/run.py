"""The run description (run.json): everything the report says of a sweep that its results do not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ..aggregates import Members, members
from ..arms import BASELINE
from ..catalog import Model, Task
from ..counting import KEEP
from ..errors import UserError, remake
from ..files import read_json
from ..jobs import Jobs
from ..languages import ENGLISH
from ..layout import Cell
from ..significance.corrections import alpha
from ..sweep import Sweep
from .text import listed


@dataclass(frozen=True)
class Run:
    """A sweep as the report sees it. There is no date: the same sweep gives the same bytes."""

    title: str
    families: str
    """The column of languages.csv that groups languages into families."""
    significance: Mapping[str, Any]
    """The settings of the tests, as in the configuration."""
    models: Mapping[str, Mapping[str, Any]]
    """Model -> description, licence, and what else its YAML file says of its origin."""
    intermediates: Mapping[str, Mapping[str, Any]]
    """Intermediate arm -> description, licence ...; without the baseline."""
    targets: Mapping[str, Mapping[str, Any]]
    """Target task -> description, licence ..., and `languages`, the codes that were to be built; `trainings`, the names
    of those before its predictions."""
    tasks: Mapping[str, Mapping[str, Any]]
    """Every other task that is trained on -> description, licence ..."""
    probes: Mapping[str, Mapping[str, Any]]
    """Probing task -> description, licence ..."""
    benchmarks: Members
    """Those that some target belongs to, with all their tasks."""
    seeds: list[int]
    source_languages: list[str]
    """Those that targets are trained in; the first chooses the state that is kept, and is no transfer language."""
    shots: int
    """Examples of every other language that a model is trained on before it predicts there."""
    languages: Mapping[str, Mapping[str, str]]
    """Language code -> its row of languages.csv."""
    omitted: list[Mapping[str, str]]
    """What was left out on purpose: target, language (empty: all), intermediate (empty: all) and reason."""
    configuration: str
    """The resolved configuration as YAML."""
    revision: str = ""
    """The project's revision, empty if unknown."""

    @property
    def source(self) -> str:
        """The language that lifts transfer from."""
        return self.source_languages[0]

    @property
    def source_names(self) -> str:
        """Name the languages that targets are trained in."""
        return listed([self.language_name(code) for code in self.source_languages])

    @property
    def usual(self) -> bool:
        """Whether targets are trained in English alone and nothing is seen of other languages, as published scores."""
        return self.source_languages == [ENGLISH] and not self.shots

    @property
    def seen(self) -> str:
        """Say in a few words what a model sees of a target's languages."""
        if self.shots:
            return f"{self.shots}-shot"
        return "zero-shot" if len(self.source_languages) == 1 else "training data of several languages"

    @property
    def setting(self) -> str:
        """Say in a sentence what a model sees of a target's languages before it predicts in them."""
        names = self.source_names
        if self.shots:
            return f"Targets are trained in {names}, then on {self.shots} examples of every other language by itself."
        if len(self.source_languages) == 1:
            return f"Targets are trained in {names}, and on nothing of any other language."
        return f"Targets are trained in {names} together, so a score in one of these is not zero-shot."

    @property
    def arms(self) -> list[str]:
        """The baseline, then the others."""
        return [BASELINE, *self.intermediates]

    @property
    def alpha(self) -> float:
        """The level of the tests: 1 - confidence."""
        return alpha(float(self.significance["confidence"]))

    @property
    def failed_intermediates(self) -> str:
        """What was done with runs that learned on a start that learned nothing (see `counting`)."""
        return str(self.significance.get("failed_intermediates", KEEP))

    def cells(self) -> Iterator[Cell]:
        """Every cell that was to be built, in the order of comparison."""
        left_out = {(entry["intermediate"], entry["target"]) for entry in self.omitted if not entry["language"]}
        for model in self.models:
            for intermediate in self.arms:
                for target, about in self.targets.items():
                    if (intermediate, target) in left_out:
                        continue
                    for seed in self.seeds:
                        for language in about["languages"]:
                            yield Cell(model, intermediate, target, seed, language)

    def fact(self, language: str, column: str) -> str:
        """Return one fact about a language, empty where unknown."""
        return self.languages.get(language, {}).get(column, "")

    def language_name(self, language: str) -> str:
        """Return a language's English name, or its code where the table has none."""
        return self.fact(language, "name") or language


def describe(sweep: Sweep, revision: str = "") -> dict[str, Any]:
    """Describe a sweep for run.json.

    Args:
      sweep: the checked configuration and its catalogue.
      revision: the project's revision (for example of git), empty if unknown.
    """
    catalog = sweep.catalog
    named = {ENGLISH, *sweep.sources, *(code for codes in sweep.languages.values() for code in codes)}
    run = Run(
        title=sweep.config["title"],
        families=sweep.config["families"],
        significance=dict(sweep.config["significance"]),
        models={name: _model(sweep, name) for name in sweep.models},
        intermediates={name: _arm(sweep, name) for name in sweep.intermediates if name != BASELINE},
        targets={
            name: {
                **_origin(catalog.targets[name]),
                "languages": codes,
                "trainings": catalog.targets[name].trainings,
            }
            for name, codes in sweep.languages.items()
        },
        tasks={
            name: _origin(catalog.task(name))
            for name in sweep.tasks
            if name not in sweep.languages and name not in sweep.intermediates
        },
        probes={name: _origin(catalog.task(name)) for name in sweep.probe_tasks},
        benchmarks={
            name: tasks
            for name, tasks in members({name: task.benchmarks for name, task in catalog.targets.items()}).items()
            if tasks.keys() & sweep.languages.keys()
        },
        seeds=sweep.seeds,
        source_languages=sweep.sources,
        shots=sweep.shots,
        languages={code: dict(catalog.languages.rows[code]) for code in sorted(named)},
        omitted=[asdict(omitted) for omitted in sweep.omitted],
        configuration=yaml.safe_dump(dict(sweep.config), allow_unicode=True, sort_keys=False),
        revision=revision,
    )
    described = asdict(run)
    for part in _NAMED:
        # Lists keep the order of the configuration; the keys of a JSON object are sorted when it is written.
        described[part] = [{"name": name, **about} for name, about in described[part].items()]
    return described


def licensed(description: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what run.json says of models and tasks that state a licence, by name."""
    return {
        one["name"]: one
        for part in ("models", "targets", "intermediates", "tasks")
        for one in description.get(part, [])
        if one.get("licence")
    }


_NAMED = ("models", "intermediates", "targets", "tasks", "probes")
_ORIGIN = (
    "kind",
    "interface",
    "description",
    "notes",
    "licence",
    "citation",
    "parameters",
    "source",
    "metrics",
    "chance",
)


def _origin(entry: Task | Model) -> dict[str, Any]:
    return {key: entry.definition[key] for key in _ORIGIN if key in entry.definition}


def _model(sweep: Sweep, name: str) -> dict[str, Any]:
    """Describe a model; low-rank adapters, with which lifts are others than with all weights, are noted."""
    about = _origin(sweep.catalog.models[name])
    if told := Jobs(sweep).adapters(name):
        note = f"It is trained by low-rank adapters (LoRA), not by its weights ({told}): compare its lifts with such."
        about["notes"] = f"{about['notes']} {note}" if about.get("notes") else note
    return about


def _arm(sweep: Sweep, name: str) -> dict[str, Any]:
    """Describe an arm: its one task, or what its tasks say under their names."""
    arm, tasks = sweep.arms[name], [sweep.catalog.intermediates[part.task] for part in sweep.arms[name].parts]
    about = _origin(tasks[0])
    if len(tasks) > 1:
        about = {
            key: " ".join(f"{task.name}: {task.definition[key]}" for task in tasks if task.definition.get(key))
            for key in ("kind", "notes", "licence", "citation")
        }
    return {**about, "description": arm.describe(sweep.catalog)}


def read_run(path: str | Path) -> Run:
    """Read run.json.

    Raises:
      UserError: the file is missing, not JSON, or has missing or unknown keys; the text names them.
    """
    value = read_json(path)
    known = {field.name for field in fields(Run)}
    required = known - {"revision"}
    if not isinstance(value, dict) or not required <= value.keys() <= known:
        held = set(value) if isinstance(value, dict) else set()
        lacks = ", ".join(sorted(required - held)) or "nothing"
        unknown = ", ".join(sorted(held - known)) or "nothing"
        raise UserError(
            f"{path}: not a run description: it lacks {lacks} and holds unknown {unknown}. "
            f"Rebuild it with: {remake(path)}"
        )
    named = {part: {entry["name"]: entry for entry in value[part]} for part in _NAMED}
    return Run(**{**value, **named})
