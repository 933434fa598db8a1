"""The catalogue: tasks, models and languages as data, read once from the project and from the user's own folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import UserError, nearest
from .facts import KINDS
from .languages import ENGLISH, Languages
from .metrics import fitting
from .place import beside
from .records import SPLITS
from .schema import check, check_training, read_yaml

BUILT_IN = beside("catalog")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names become folders, so they are plain: no slash, no leading dot."""

RESERVED = ("none", "multi_task", "all")
"""Names that mean something else in a configuration."""

ROLES = ("intermediate", "target", "probe")
"""Roles of tasks, each with a folder of its name."""
_A = {"intermediate": "an intermediate", "target": "a target", "probe": "a probing task"}
_SECTIONS = ("models/", "recipes/", *(f"{role}/" for role in ROLES), "languages.csv")
OURS = "ours"
"""Name of the recipe that says nothing: models and tasks have settings of their own."""
PROBED = "word_features"
"""The kind of every probing task, and of no other."""


@dataclass(frozen=True)
class Task:
    """One intermediate, target or probing task, as its YAML file says."""

    name: str
    role: str
    """`intermediate`, `target` or `probe`."""
    definition: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.definition["kind"])

    @property
    def languages(self) -> Mapping[str, Mapping[str, Any]]:
        """Languages on offer -> expected counts and digest."""
        languages: Mapping[str, Mapping[str, Any]] = self.definition["languages"]
        return languages

    @property
    def train_on(self) -> list[str]:
        """Tasks trained on, one after the other, before this one is predicted; none for Tatoeba and BUCC."""
        own = [self.name] if any("train" in about for about in self.languages.values()) else []
        return list(self.definition.get("train_on", own))

    def usual_splits(self, language: str) -> list[str]:
        """Return the splits of a language that are read when targets are trained in English, without shots.

        A target's other languages are tested, and no more; its digests are of these.
        """
        offered = [split for split in SPLITS if split in self.languages[language]]
        if self.role != "target" or language == ENGLISH or KINDS[self.kind].tunes_on_dev:
            return offered
        return [split for split in offered if split == "test"]

    def check_dev(self, language: str) -> None:
        """Check that the state that a training keeps can be chosen where it is trained in a language.

        Raises:
          UserError: the language counts training data and no development data.
        """
        about = self.languages.get(language, {})
        if "train" in about and DEV not in about:
            raise UserError(
                f"{self.role}/{self.name}.yaml: languages.{language}: train is counted and dev is not, on which the "
                "state that is kept is chosen. Count it too, for example {train: 600, dev: 60}."
            )

    def reading(self, splits: Callable[[str], Sequence[str]] | None = None) -> Task:
        """Return the task with the counts of some splits alone, and its digests as far as they are of these.

        Args:
          splits: language -> those that are read; left out, the usual ones.
        """
        wanted = splits or self.usual_splits
        languages = {}
        for code, about in self.languages.items():
            languages[code] = {split: about[split] for split in wanted(code)}
            if "sha256" in about and list(languages[code]) == self.usual_splits(code):
                languages[code]["sha256"] = about["sha256"]
        return Task(self.name, self.role, {**self.definition, "languages": languages})

    @property
    def trainings(self) -> list[str]:
        """Names of the trainings behind it, each that of the tasks trained on so far; what predicts it comes last."""
        return ["+".join(self.train_on[:n]) for n in range(1, len(self.train_on) + 1)]

    @property
    def benchmarks(self) -> Mapping[str, list[str]]:
        """Benchmark -> this target's languages there."""
        benchmarks: Mapping[str, list[str]] = self.definition["benchmarks"]
        return benchmarks

    @property
    def metrics(self) -> list[str]:
        return list(self.definition.get("metrics", []))


@dataclass(frozen=True)
class Model:
    """One pretrained model, as its YAML file says."""

    name: str
    definition: Mapping[str, Any]

    @property
    def interface(self) -> str:
        return str(self.definition["interface"])


@dataclass(frozen=True)
class Recipe:
    """Settings that belong together because a study was made with them, as its YAML file says."""

    name: str
    definition: Mapping[str, Any]

    @property
    def interface(self) -> str:
        """Interface of the models it is for."""
        return str(self.definition["interface"])

    def knows(self, task: str) -> bool:
        """Whether it has settings of a task's own."""
        return task in self.definition["tasks"] or task in self.definition["retrieval"]

    def layers(self, model: str, task: str = "") -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """Return the layers of settings for all models, and those for one, which win over the model's own."""
        about = self.definition
        special = about["models"].get(model, {})
        return (
            [about["training"], about["tasks"].get(task, {})],
            [special.get("training", {}), special.get("tasks", {}).get(task, {})],
        )

    def retrieval(self, model: str, task: str) -> Mapping[str, Any]:
        """Return what it says of the representation that a retrieval task compares."""
        settings: Mapping[str, Any] = self.definition["retrieval"].get(task, {}).get(model, {})
        return settings


@dataclass(frozen=True)
class Catalog:
    """Everything a configuration can name."""

    models: Mapping[str, Model]
    intermediates: Mapping[str, Task]
    targets: Mapping[str, Task]
    languages: Languages
    probes: Mapping[str, Task] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        """Look up an intermediate, target or probing task by name.

        Raises:
          UserError: no such task.
        """
        known = {**self.intermediates, **self.targets, **self.probes}
        if name not in known:
            raise UserError(f"task {name!r} is unknown; known: {', '.join(known)}.{nearest(name, known)}")
        return known[name]

    def model(self, name: str) -> Model:
        """Look up a model by name.

        Raises:
          UserError: no such model.
        """
        if name not in self.models:
            raise UserError(f"model {name!r} is unknown; known: {', '.join(self.models)}.{nearest(name, self.models)}")
        return self.models[name]


def read(extra: Sequence[Path] = ()) -> Catalog:
    """Read the project's catalogue and the user's folders, which have the same layout and win on equal names.

    Raises:
      UserError: a folder is missing or a file is wrong; the text names file and key.
    """
    for folder in extra:
        if not folder.is_dir():
            raise UserError(f"catalog: {folder} is not a folder. It should hold {', '.join(_SECTIONS)}.")
        for path in sorted(folder.glob("*/*.yml")):
            raise UserError(f"{path}: catalogue files end in .yaml. Rename it to {path.stem}.yaml.")
        if not any((folder / name).exists() for name in _SECTIONS):
            raise UserError(f"catalog: {folder} holds none of: {', '.join(_SECTIONS)}.")
    folders = [BUILT_IN, *extra]
    languages = Languages.read(language_tables(extra))
    tasks: dict[str, dict[str, Task]] = {}
    for role in ROLES:
        tasks[role] = {}
        for folder in folders:
            for path in sorted((folder / role).glob("*.yaml")):
                tasks[role][path.stem] = _task(path, role, languages)
    for first, second in combinations(ROLES, 2):
        for name in tasks[first].keys() & tasks[second].keys():
            # Data folders are named by the task alone.
            raise UserError(f"catalog: {name!r} is both {_A[first]} and {_A[second]}; give one of them another name.")
    _check_names(tasks["intermediate"], tasks["target"])
    models = {path.stem: _model(path) for folder in folders for path in sorted((folder / "models").glob("*.yaml"))}
    recipes = {path.stem: _recipe(path) for folder in folders for path in sorted((folder / "recipes").glob("*.yaml"))}
    for recipe in recipes.values():
        _check_recipe(recipe, tasks, models)
    everything = {name: task for role in ("intermediate", "target") for name, task in tasks[role].items()}
    for model in models.values():
        _check_layer(model.definition["retrieval"], everything, f"models/{model.name}.yaml: retrieval")
    for recipe in recipes.values():
        for target, own in recipe.definition["retrieval"].items():
            for name, chosen in own.items():
                _check_layer(chosen, everything, f"recipes/{recipe.name}.yaml: retrieval.{target}.{name}")
    return Catalog(
        MappingProxyType(models),
        MappingProxyType(tasks["intermediate"]),
        MappingProxyType(tasks["target"]),
        languages,
        MappingProxyType(tasks["probe"]),
        MappingProxyType(recipes),
    )


def _check_names(intermediates: Mapping[str, Task], targets: Mapping[str, Task]) -> None:
    """Check what tasks say of each other and of themselves.

    Raises:
      UserError: a name that no task has, or a language that its task does not offer.
    """
    known = {**intermediates, **targets}
    for task in known.values():
        for key, names, allowed in (
            ("train_on", task.train_on, known),
            ("contaminates", task.definition["contaminates"], targets),
        ):
            for name in names:
                if name not in allowed:
                    raise UserError(f"{task.role}/{task.name}.yaml: {key}: no task {name!r}.{nearest(name, allowed)}")
        for name in task.train_on:
            counted = any("train" in about for about in known[name].languages.values())
            if not counted or known[name].kind != task.kind:
                raise UserError(
                    f"{task.role}/{task.name}.yaml: train_on: {name!r} is not a task of kind {task.kind!r} with "
                    "training data."
                )
        for benchmark, languages in task.benchmarks.items():
            for code in languages:
                if code not in task.languages:
                    raise UserError(
                        f"{task.role}/{task.name}.yaml: benchmarks.{benchmark}: {code!r} is not among its languages."
                        f"{nearest(code, task.languages)}"
                    )


def language_tables(extra: Sequence[str | Path] = ()) -> list[Path]:
    """Return the languages.csv files of the project and of the user's folders, in the order they are read."""
    return [table for folder in (BUILT_IN, *map(Path, extra)) if (table := folder / "languages.csv").is_file()]


_ENDINGS = (
    ".json",
    ".jsonl",
    ".csv",
    ".parquet",
    ".contrasts",
    ".svg",
    ".tex",
    ".html",
    ".txt",
    ".log",
    ".lock",
    ".tmp",
)
"""What files below the results end in; a folder of such a name would lie where a file of theirs does."""
_LONGEST = 100
"""Characters of a name; several of them make the name of one folder, and no file system holds more than 255 bytes."""


def _name(path: Path) -> str:
    if path.stem.endswith(_ENDINGS):
        raise UserError(
            f"{path}: the name {path.stem!r} ends as files of results do ({', '.join(_ENDINGS)}). Give it another name."
        )
    if len(path.stem) > _LONGEST:
        raise UserError(
            f"{path}: the name has {len(path.stem)} characters, more than {_LONGEST}. Give it a shorter one."
        )
    if not NAME.fullmatch(path.stem) or path.stem in RESERVED:
        raise UserError(
            f"{path}: the name {path.stem!r} must match {NAME.pattern} and not be one of: {', '.join(RESERVED)}."
        )
    return path.stem


def _task(path: Path, role: str, languages: Languages) -> Task:
    name = _name(path)
    definition = check(read_yaml(path), "task", str(path))
    check_training(definition["training"], f"{path}: training")
    if definition["source"]["type"] == "templates":
        if "root" in definition["source"]:
            raise UserError(f"{path}: source: unknown key 'root'; templates lie below the folder of this file.")
        definition["source"]["root"] = str(path.parent)
    for code in definition["languages"]:
        try:
            languages.value(code, "language")
        except UserError as error:
            raise UserError(f"{path}: languages: {error}") from None
    for key, names in (
        ("metrics", definition.get("metrics", [])),
        ("text2text.metrics", definition["text2text"].get("metrics", [])),
    ):
        for metric_name in names:
            try:
                fitting(metric_name, definition["kind"])
            except UserError as error:
                raise UserError(f"{path}: {key}: {error}") from None
    if (role == "probe") != (definition["kind"] == PROBED):
        raise UserError(f"{path}: kind: tasks of kind {PROBED!r} stand in the folder probe/, and no others do.")
    if ("metrics" in definition) == (role == "probe"):
        rule = "takes no metrics: probes have accuracies of their own" if role == "probe" else "the key is missing"
        raise UserError(f"{path}: metrics: {rule}.")
    given = len({"labels", "labels_file"} & definition.keys())
    labelled = KINDS[definition["kind"]].labelled
    if given != labelled:
        rule = "needs either labels or labels_file" if labelled else "takes no labels"
        raise UserError(f"{path}: labels: kind {definition['kind']!r} {rule}.")
    return Task(name, role, MappingProxyType(definition))


def _model(path: Path) -> Model:
    name = _name(path)
    definition = check(read_yaml(path), "model", str(path))
    check_training(definition["training"], f"{path}: training", outermost=0)
    causal = definition["interface"] == "causal"
    if definition["chat"] and not causal:
        raise UserError(f"{path}: chat: only models of interface causal have a chat template. Leave it out.")
    if causal and definition["retrieval"]["pooling"] == "first":
        raise UserError(f"{path}: retrieval.pooling: the first piece of a causal model sees nothing else. Name mean.")
    return Model(name, MappingProxyType(definition))


def _recipe(path: Path) -> Recipe:
    name = _name(path)
    if name == OURS:
        raise UserError(f"{path}: {OURS} is the name of models' and tasks' own settings. Give the recipe another name.")
    definition = check(read_yaml(path), "recipe", str(path))
    check_training(definition["training"], f"{path}: training")
    blocks = {f"tasks.{task}": block for task, block in definition["tasks"].items()}
    for model, about in definition["models"].items():
        blocks[f"models.{model}.training"] = about.get("training", {})
        blocks |= {f"models.{model}.tasks.{task}": block for task, block in about.get("tasks", {}).items()}
    for key, block in blocks.items():
        check_training(block, f"{path}: {key}")
    return Recipe(name, MappingProxyType(definition))


DEV = "dev"
"""In the place of a layer of retrieval: the one that finds most on English dev data."""


def _check_layer(chosen: Mapping[str, Any], tasks: Mapping[str, Task], where: str) -> None:
    """Check what a layer of retrieval is chosen by.

    Raises:
      UserError: nothing says it, or what does has no pairs of English dev data.
    """
    name, label = chosen.get("dev_task"), chosen.get("dev_label")
    if chosen.get("layer") != DEV:
        if name or label:
            raise UserError(
                f"{where}: dev_task and dev_label go with layer: dev, which is not set. Set it or drop them."
            )
        return
    fitting_ = [
        task.name for task in tasks.values() if KINDS[task.kind].paired and DEV in task.languages.get(ENGLISH, {})
    ]
    if name is None:
        raise UserError(
            f"{where}.layer: dev needs dev_task, the task whose English dev data decide: {', '.join(fitting_)}."
        )
    if name not in fitting_:
        raise UserError(
            f"{where}.dev_task: {name!r} has no pairs of English dev data; those that have: {', '.join(fitting_)}."
            f"{nearest(name, fitting_)}"
        )
    if (tasks[name].kind == "classification") != (label is not None):
        rule = "needs dev_label, the label of pairs that mean the same" if label is None else "takes no dev_label"
        known = tasks[name].definition.get("labels") if label is None else None
        raise UserError(f"{where}: dev_task {name!r} {rule}{': ' + ', '.join(known) if known else ''}.")
    if label is not None and label not in tasks[name].definition.get("labels", [label]):
        known = tasks[name].definition["labels"]
        raise UserError(
            f"{where}.dev_label: {name!r} has no label {label!r}: {', '.join(known)}.{nearest(label, known)}"
        )


def _check_recipe(recipe: Recipe, tasks: Mapping[str, Mapping[str, Task]], models: Mapping[str, Model]) -> None:
    """Check that a recipe names tasks and models there are.

    Raises:
      UserError: it names another.
    """
    known = [name for role in ROLES for name in tasks[role]]
    about = recipe.definition
    named = [(task, known, "tasks") for task in about["tasks"]]
    named += [(model, [*models], "models") for model in about["models"]]
    for model, own in about["models"].items():
        named += [(task, known, f"models.{model}.tasks") for task in own.get("tasks", {})]
    for task, own in about["retrieval"].items():
        named += [(task, known, "retrieval"), *((model, [*models], f"retrieval.{task}") for model in own)]
    for name, allowed, key in named:
        if name not in allowed:
            raise UserError(f"recipes/{recipe.name}.yaml: {key}: {name!r} is unknown.{nearest(name, allowed)}")
