"""Where examples come from: installed packages, files, templates, or a hub data set; one way out (`prepare`).

A reader is a function  read(definition, language) -> iterator of rows  (see `records`), where `definition` is the
task's YAML as a mapping. It yields the splits on offer one after the other, each in a fixed order.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import identity
from ..catalog import Task
from ..errors import UserError, nearest
from ..files import digest, inside, read_record, write_json, write_record
from ..records import UNPREPARED, Meta, Row, meta_path, read_meta, read_rows, write_rows
from .parts import links, root, rooted

# Source type -> module of this package. Readers are imported only when a task asks for one.
READERS = {"package": "package", "files": "files", "hub": "hub", "templates": "templates"}


def read(task: Task, language: str) -> tuple[Iterator[Row], dict[str, Any]]:
    """Open a task's source for one language.

    Returns:
      The rows, and what to record of their origin (package versions, revision, files ...).

    Raises:
      UserError: the language is not on offer, or the source cannot be had.
    """
    if language not in task.languages:
        hint = nearest(language, task.languages)
        raise UserError(f"{task.name}: language {language!r} is not on offer: {', '.join(task.languages)}.{hint}")
    source = task.definition["source"]
    module = importlib.import_module(f".{READERS[source['type']]}", __name__)
    return module.read(task.definition, language), module.origin(task.definition)


def prepare(
    task: Task,
    language: str,
    output: Path,
    data_root: str | None = None,
    *,
    expected: Mapping[str, Any] | None = None,
) -> Meta:
    """Read one task in one language and write its checked rows and their `Meta`.

    Where the rows lie there already, made from the same, only what their record carries on is written anew: the names
    of metrics, how examples are written as text.

    A failure leaves a note beside the output, so that the next run predicts the task's other languages meanwhile (see
    `Jobs.prediction_data`); success takes it away.

    Args:
      task: as the catalogue says it, or as a rule does.
      language: code.
      output: the Parquet file.
      data_root: folder of files, or below which copies of hub data sets lie, where the task itself names none.
      expected: counts and digest to compare with, instead of those that the catalogue states.

    Raises:
      UserError: see `read` and `records.write_rows`.
    """
    note = output.with_suffix(UNPREPARED)
    try:
        placed = Task(task.name, task.role, rooted(task.definition, data_root))
        meta = _prepare(placed, language, output, task.languages.get(language, {}) if expected is None else expected)
    except Exception as error:
        with contextlib.suppress(OSError):
            write_json(note, {"definition": digest(task.definition), "error": str(error)})
        raise
    note.unlink(missing_ok=True)
    return meta


def read_files(task: Task, language: str) -> list[Path]:
    """Return the user's files that a task in a language is read from: published files, templates, its labels.

    Raises:
      UserError: they cannot be found.
    """
    definition = task.definition
    kind = definition["source"]["type"]
    paths = []
    if kind in ("files", "templates"):
        paths = list(importlib.import_module(f".{READERS[kind]}", __name__).paths(definition, language))
    if "labels_file" in definition and (folder := root(definition)) is not None:
        paths.append(inside(folder, definition["labels_file"], links=links(definition)))
    return [path for path in paths if path.is_file()]  # what is missing is said by whoever reads it


def _kept(task: Task, output: Path, decisive: identity.Decisive, expected: Mapping[str, Any]) -> Meta | None:
    """Return what is said of rows that lie there already, made from the same; None where there are none."""
    try:
        record = read_record(meta_path(output))
        if identity.differences(record, decisive) or identity.counted(record, expected):
            return None
        read_rows(output, "train")  # compares the file with its digest
    except UserError:
        return None
    write_record(meta_path(output), identity.said(record, task.definition))
    return read_meta(output)


def _prepare(task: Task, language: str, output: Path, expected: Mapping[str, Any]) -> Meta:
    try:
        decisive = identity.prepared(task.name, language, task.definition, read_files(task, language))
        if (meta := _kept(task, output, decisive, expected)) is not None:
            return meta
        rows, origin = read(task, language)
    except UserError as error:
        raise UserError(f"{task.name}/{language}: {error}") from None
    about = {
        "task": task.name,
        "language": language,
        "metrics": task.metrics,
        "parallel": task.definition["parallel"],
        "source": {**origin, "licence": task.definition["licence"]},
        "text2text": dict(task.definition["text2text"]),
    }
    labels = _labels(task)
    made_from = identity.of(decisive)
    return write_rows(output, task.kind, rows, about, labels=labels, expected=expected, identity=made_from)


def _labels(task: Task) -> list[str]:
    """Return a task's labels in their fixed order, from its file of labels if it has one.

    Raises:
      UserError: the file is missing or empty, or holds a label twice.
    """
    if "labels_file" not in task.definition:
        return list(task.definition.get("labels", []))
    folder = root(task.definition)
    if folder is None:
        raise UserError(f"{task.name}: labels_file: set data_root in the configuration to the folder that it lies in.")
    path = inside(folder, task.definition["labels_file"], links=links(task.definition))
    try:
        labels = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{task.name}: labels_file: {path} is not readable ({error}). It should hold one label a line."
        ) from None
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UserError(
            f"{task.name}: labels_file: {path} has fewer than two labels, or one twice; it holds one a line."
        )
    return labels
