"""Behavioural tests: templates filled with words, one file a language, the same examples in each (docs/behaviour.md).

choice    which words meet in which case, looking at positions alone
texts     one language's file, checked and filled in
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import inside
from ...languages import ENGLISH
from ...records import Row
from ...schema import check as check_schema
from .choice import Choice, choices
from .texts import COLUMNS, Texts, compare, load, rows

Definition = Mapping[str, Any]


def check(definition: Definition) -> None:
    """Check a task's source and fill in all its languages, which costs little.

    Raises:
      UserError: a key, a file, a capability, a list of words or a template is wrong.
    """
    source = _source(definition)
    reference = _load(definition, source, _reference(definition))
    chosen = _choices(source, reference)
    for language in definition["languages"]:
        for _ in _rows(definition, source, language, reference, chosen):
            pass


def read(definition: Definition, language: str) -> Iterator[Row]:
    """Yield the examples of one language, capability after capability; all are of the split `test`.

    Raises:
      UserError: see `check`.
    """
    source = _source(definition)
    reference = _load(definition, source, _reference(definition))
    return _rows(definition, source, language, reference, _choices(source, reference))


def _choices(source: Definition, reference: Texts) -> dict[str, list[Choice]]:
    """Return the examples of every capability, which are those of every language."""
    lengths = reference.lengths
    return {
        name: choices(name, len(reference.cases[name]), about["slots"], lengths, source.get("sample"))
        for name, about in sorted(source["capabilities"].items())
    }


def _rows(
    definition: Definition, source: Definition, language: str, reference: Texts, chosen: Mapping[str, list[Choice]]
) -> Iterator[Row]:
    texts = reference if language == reference.language else _load(definition, source, language)
    compare(texts, reference)
    for name, some in chosen.items():
        yield from rows(texts, definition["kind"], source["capabilities"][name]["slots"], some)


def paths(definition: Definition, language: str) -> list[Path]:
    """Return the files that decide the examples of a language: its own, and that of the reference language.

    Raises:
      UserError: the path leaves the task's folder, or has a placeholder other than {language}.
    """
    source = _source(definition)
    return list(dict.fromkeys(_path(source, code) for code in (language, _reference(definition))))


def reviews(definition: Definition) -> dict[str, str]:
    """Return, by language, whether a native speaker has checked the texts (`native`) or still has to (`needed`)."""
    source = _source(definition)
    return {language: _load(definition, source, language).review for language in definition["languages"]}


def origin(definition: Definition) -> dict[str, Any]:
    """Return what to record: the files' path and the capabilities; the rows' own digest says the rest."""
    source = _source(definition)
    return {"type": "templates", "path": source["path"], "capabilities": sorted(source["capabilities"])}


def _source(definition: Definition) -> Definition:
    if definition["kind"] not in COLUMNS:
        raise UserError(
            f"source: templates make examples of kind {' or '.join(COLUMNS)}, not of kind {definition['kind']!r}."
        )
    source: Definition = check_schema(definition["source"], "source_templates", "source")
    return source


def _reference(definition: Definition) -> str:
    """Return the language that the others are compared with: English, or the first one of a task without it."""
    return ENGLISH if ENGLISH in definition["languages"] else next(iter(definition["languages"]))


def _path(source: Definition, language: str) -> Path:
    name = source["path"].replace("{language}", language)
    if "{" in name:
        raise UserError(f"source.path: unknown placeholder in {source['path']!r}; known: {{language}}.")
    return inside(source["root"], name)


def _load(definition: Definition, source: Definition, language: str) -> Texts:
    return load(_path(source, language), language, definition["kind"], source["capabilities"])
