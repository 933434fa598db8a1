"""The catalogue: tasks, models and languages as data, read once from the project and from the user's own folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import UserError, nearest
from .languages import Languages
from .metrics import metric
from .schema import check, check_training, read_yaml

BUILT_IN = Path(__file__).resolve().parent.parent / "catalog"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names become folders, so they are plain: no slash, no leading dot."""

LABELLED = ("classification", "tagging")


@dataclass(frozen=True)
class Task:
    """One intermediate or target task, as its YAML file says."""

    name: str
    role: str
    """`intermediate` or `target`."""
    definition: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.definition["kind"])

    @property
    def languages(self) -> Mapping[str, Mapping[str, Any]]:
        """Languages on offer -> expected counts and digest."""
        found: Mapping[str, Mapping[str, Any]] = self.definition["languages"]
        return found

    @property
    def trained(self) -> bool:
        """Whether there is anything to train on; Tatoeba and BUCC have test data only."""
        return any("train" in about for about in self.languages.values())

    @property
    def metrics(self) -> list[str]:
        return list(self.definition["metrics"])


@dataclass(frozen=True)
class Model:
    """One pretrained model, as its YAML file says."""

    name: str
    definition: Mapping[str, Any]

    @property
    def interface(self) -> str:
        return str(self.definition["interface"])


@dataclass(frozen=True)
class Catalog:
    """Everything a configuration can name."""

    models: Mapping[str, Model]
    intermediates: Mapping[str, Task]
    targets: Mapping[str, Task]
    languages: Languages

    def task(self, name: str) -> Task:
        """Look up an intermediate or target by name.

        Raises:
          UserError: no such task.
        """
        known = {**self.intermediates, **self.targets}
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
            raise UserError(f"catalog: {folder} is not a folder. It should hold models/, intermediate/ or target/.")
    folders = [BUILT_IN, *extra]
    languages = Languages.read(language_tables(extra))
    tasks: dict[str, dict[str, Task]] = {}
    for role in ("intermediate", "target"):
        tasks[role] = {}
        for folder in folders:
            for path in sorted((folder / role).glob("*.yaml")):
                tasks[role][path.stem] = _task(path, role, languages)
    for name in tasks["intermediate"].keys() & tasks["target"].keys():
        # Data folders are named by the task alone.
        raise UserError(f"catalog: {name!r} is both an intermediate and a target; give one of them another name.")
    models = {path.stem: _model(path) for folder in folders for path in sorted((folder / "models").glob("*.yaml"))}
    return Catalog(
        MappingProxyType(models),
        MappingProxyType(tasks["intermediate"]),
        MappingProxyType(tasks["target"]),
        languages,
    )


def language_tables(extra: Sequence[str | Path] = ()) -> list[Path]:
    """Return the languages.csv files of the project and of the user's folders, in the order they are read."""
    return [table for folder in (BUILT_IN, *map(Path, extra)) if (table := folder / "languages.csv").is_file()]


def _name(path: Path) -> str:
    if not NAME.fullmatch(path.stem) or path.stem == "none":
        raise UserError(f"{path}: the name {path.stem!r} must match {NAME.pattern} and not be 'none'.")
    return path.stem


def _task(path: Path, role: str, languages: Languages) -> Task:
    name = _name(path)
    definition = check(read_yaml(path), "task", str(path))
    check_training(definition["training"], f"{path}: training")
    for code in definition["languages"]:
        try:
            languages.value(code, "language")
        except UserError as error:
            raise UserError(f"{path}: languages: {error}") from None
    for metric_name in definition["metrics"]:
        try:
            metric(metric_name)
        except UserError as error:
            raise UserError(f"{path}: metrics: {error}") from None
    if (definition["kind"] in LABELLED) != ("labels" in definition):
        verb = "needs" if definition["kind"] in LABELLED else "takes no"
        raise UserError(f"{path}: labels: kind {definition['kind']!r} {verb} labels.")
    return Task(name, role, MappingProxyType(definition))


def _model(path: Path) -> Model:
    name = _name(path)
    definition = check(read_yaml(path), "model", str(path))
    check_training(definition["training"], f"{path}: training")
    return Model(name, MappingProxyType(definition))
