"""What a task's `source` asks to be read: its splits as parts, for one language, with every placeholder filled in.

Shared by the sources whose upstream is a table or a file (`files`, `hub`).
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..files import canonical
from ..languages import TABLE, Languages
from ..records import SPLITS, Row
from ..schema import check, load
from .columns import Columns, RowError, passes

SOURCE_ONLY = ("type", "names", "splits", "root", "links")
"""Keys that a part cannot override."""

Upstream = tuple[int, dict[str, Any]]
"""A row as upstream has it, after its number in the file (line or row, from 1)."""


@dataclass(frozen=True)
class Part:
    """One stretch of a split that is read with one set of settings."""

    split: str
    settings: Mapping[str, Any]
    """The source's settings overridden by the part's own; templates are not filled in yet."""
    columns: Columns
    place: str
    """The part's key in the task's YAML, for error texts."""
    given: frozenset[str]
    """Keys of the settings that the YAML file names; the others have their defaults."""
    placeholders: Mapping[str, str] = field(default_factory=dict)
    """language, split, name; empty where no language is chosen."""

    def fill(self, template: str) -> str:
        """Fill in {language}, {name}, {iso639_3} and {split}.

        Raises:
          UserError: another placeholder, or a language without an ISO 639-3 code.
        """

        def value(match: re.Match[str]) -> str:
            key = match[1]
            if key == "iso639_3":
                return _iso639_3(self.placeholders["language"], self.place)
            if key not in self.placeholders:
                known = [*self.placeholders, "iso639_3"]
                hint = nearest(key, known)
                raise UserError(f"{self.place}: unknown placeholder {{{key}}} in {template!r}; known: {known}.{hint}")
            return self.placeholders[key]

        return re.sub(r"\{(\w+)\}", value, template)

    def rows(self, upstream: Iterable[Upstream], file: str, unit: str, short: str) -> Iterator[Row]:
        """Turn upstream rows into records: filter, cut out the stretch asked for, map the columns.

        Args:
          upstream: rows in the order of the file.
          file: what to call their origin in error texts.
          unit: what their numbers count (line, row).
          short: what the mapping knows as $file.

        Yields:
          Records, each with `place` (file and line) beside its columns.

        Raises:
          UserError: a row does not fit the mapping; the text names file, line and column.
        """
        conditions = _filled(self.settings["keep"], self.fill)
        folds = self.settings.get("folds")
        first = self.settings["skip"]
        end = first + self.settings["take"] if "take" in self.settings else None
        facts = {"$file": short, "$language": self.placeholders["language"], "$name": self.placeholders["name"]}
        kept = -1
        candidates: set[str] = set()
        for index, (number, row) in enumerate(upstream):
            place = f"{file}, {unit} {number}"
            try:
                if not passes(row, conditions):
                    continue
                kept += 1
                if end is not None and kept >= end:
                    return
                if kept < first or (folds and kept % folds["of"] not in folds["take"]):
                    continue
                row["$row"] = index
                row.update(facts)
                for record in self.columns.records(row):
                    if self.columns.shared and record["side"] == "candidate":
                        if record["id"] in candidates:
                            continue
                        candidates.add(record["id"])
                    yield {**record, "split": self.split, "place": place}
            except RowError as fault:
                raise UserError(f"{place}: {fault}") from None


def _filled(conditions: Mapping[str, Mapping[str, Any]], fill: Any) -> dict[str, dict[str, Any]]:
    def value(raw: Any) -> Any:
        if isinstance(raw, list):
            return [value(item) for item in raw]
        return fill(raw) if isinstance(raw, str) else raw

    return {column: {name: value(raw) for name, raw in about.items()} for column, about in conditions.items()}


@functools.cache
def _languages() -> Languages:
    return Languages.read([TABLE])


def _iso639_3(language: str, place: str) -> str:
    code = _languages().rows.get(language, {}).get("iso639_3", "")
    if not code:
        raise UserError(
            f"{place}: {{iso639_3}}: the project's languages.csv has no code for language {language!r}. "
            "Use {name} and write the code under source.names."
        )
    return code


def plan(
    definition: Mapping[str, Any],
    own: str,
    short: str,
    columns: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda settings: {},
) -> list[Part]:
    """Check a task's source and return its parts in the order of `records.SPLITS`, for no language yet.

    Args:
      definition: the task's YAML.
      own: name of the schema of this source's own keys (source_files, source_hub).
      short: the key that a part written as one string stands for.
      columns: settings of a part -> columns that need not be spelled out.

    Raises:
      UserError: an unknown or wrong key; the text names it and the nearest known one.
    """
    source = dict(definition["source"])
    known = [*load("source")["properties"], *load(own)["properties"]]
    _refuse_unknown(source, known, "source")
    if "splits" not in source:
        raise UserError("source: the key 'splits' is missing. It says what train, dev and test are read from.")
    splits = check({key: source[key] for key in ("splits", "names") if key in source}, "source", "source")["splits"]
    shared = {key: value for key, value in source.items() if key not in SOURCE_ONLY}
    parts = []
    for split in SPLITS:
        if split not in splits:
            continue
        raw = splits[split]
        for index, given in enumerate(raw if isinstance(raw, list) else [raw]):
            place = f"source.splits.{split}" + (f"[{index}]" if isinstance(raw, list) else "")
            part = {short: given} if isinstance(given, str) else given
            if not isinstance(part, Mapping):
                raise UserError(f"{place}: {part!r} is neither a {short} nor a mapping of settings.")
            _refuse_unknown(part, [key for key in known if key not in SOURCE_ONLY], place)
            settings = copy.deepcopy({**shared, **part})
            mine = set(load(own)["properties"])
            checked = check({k: v for k, v in settings.items() if k not in mine}, "source", place)
            checked |= check({k: v for k, v in settings.items() if k in mine}, own, place)
            mapping = Columns(str(definition["kind"]), {**columns(checked), **checked["columns"]}, place)
            parts.append(Part(split, checked, mapping, place, frozenset(settings)))
    return parts


def _refuse_unknown(given: Mapping[str, Any], known: list[str], place: str) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{place}: unknown key {key!r}; known: {', '.join(known)}.{nearest(str(key), known)}")


def for_language(parts: Iterable[Part], definition: Mapping[str, Any], language: str) -> list[Part]:
    """Return the parts to read for a language: those of the splits that the catalogue counts for it.

    A language without counts is refused rather than given everything: the splits read decide what is trained on.

    Raises:
      UserError: the language counts no split, or one that no part provides.
    """
    wanted = [split for split in SPLITS if split in definition["languages"][language]]
    if not wanted:
        raise UserError(
            f"languages.{language}: no split is counted. Write the number of examples of each split to read, for "
            "example {test: 1000}; prepare checks it."
        )
    names = definition["source"].get("names", {}).get(language, language)
    read = []
    for split in wanted:
        chosen = [part for part in parts if part.split == split and _meant_for(part.settings, language)]
        if not chosen:
            raise UserError(f"languages.{language}: split {split!r} is counted, but source.splits reads none for it.")
        for part in chosen:
            # A part that does not mention {name} would read the same file once a name.
            several = isinstance(names, list) and "{name}" in canonical(dict(part.settings))
            for name in names if several else [names if isinstance(names, str) else names[0]]:
                values = {"language": language, "name": name, "split": split}
                read.append(replace(part, placeholders=values))
    return read


def _meant_for(settings: Mapping[str, Any], language: str) -> bool:
    return language in settings.get("only", [language]) and language not in settings.get("except", [])


def root(definition: Mapping[str, Any]) -> Path | None:
    """Return the data folder, None if it is not known."""
    given = definition["source"].get("root")
    return Path(given) if given else None


def links(definition: Mapping[str, Any]) -> str | None:
    """Return the folder that links may lead into beside the data folder, None if there is none."""
    given = definition["source"].get("links")
    return str(given) if given else None


def rooted(definition: Mapping[str, Any], folder: str | None) -> dict[str, Any]:
    """Return a definition that says its data folder: its own, else the one given (the configuration's data_root).

    One of files of its own folder may link into the one given.
    """
    kind = definition["source"]["type"]
    given = {"root": folder} if folder and kind in ("files", "hub") else {}
    if folder and kind == "files" and "root" in definition["source"]:
        given["links"] = folder
    return {**definition, "source": {**given, **definition["source"]}}
