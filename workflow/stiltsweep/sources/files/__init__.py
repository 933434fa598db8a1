"""Examples from files in the formats the tasks are published in; a task's YAML says which and where (docs/sources.md).

Nothing is copied and nothing held: rows stream from the file to the prepared data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError, nearest
from ...files import inside
from ...records import Row
from ..parts import Part, for_language, links, plan, root
from . import bitext, checklist, conllu, iob, mewslix, sentences, squad, tables


@dataclass(frozen=True)
class Format:
    """How a format is read."""

    rows: Callable[[Any, Mapping[str, Any]], Iterator[tuple[int, dict[str, Any]]]]
    """(path, settings) -> numbered upstream rows; a list of paths where `joined`."""
    unit: str
    """What the numbers of its rows count."""
    options: frozenset[str] = frozenset()
    """Keys of the source that only some formats take, and this one does."""
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kinds of task whose columns need not be spelled out -> these columns."""
    joined: bool = False
    """Whether several files make one table, line by line."""


_TABLE = frozenset({"fields", "quotes"})
_CONLLU = frozenset({"words", "precedence", "hidden", "blanks"})
_IOB = frozenset({"scheme", "token_field", "tag_field", "separator", "comments", "token_prefix"})
_CHECKLIST = frozenset({"people", "sample"})
FORMATS = {
    "conllu": Format(conllu.rows, "line", _CONLLU, conllu.COLUMNS),
    "iob": Format(iob.rows, "line", _IOB, {"tagging": iob.COLUMNS}),
    "squad": Format(squad.rows, "question", frozenset(), {"span_qa": squad.COLUMNS}),
    "squad_sentences": Format(sentences.answers, "question", frozenset(), {"retrieval": sentences.PAIR_COLUMNS}),
    "xquad_r": Format(sentences.xquad_r, "row", frozenset(), {"retrieval": sentences.COLUMNS}, joined=True),
    "checklist": Format(checklist.rows, "draw", _CHECKLIST, {"span_qa": checklist.COLUMNS}),
    "mewslix": Format(mewslix.rows, "line"),
    "bitext": Format(bitext.rows, "sentence", frozenset(), {"mining": bitext.COLUMNS}, joined=True),
    "tsv": Format(tables.tsv, "line", _TABLE),
    "csv": Format(tables.comma, "line", _TABLE),
    "jsonl": Format(tables.jsonl, "line"),
    "parquet": Format(tables.parquet, "row"),
    "lines": Format(tables.parallel, "line", frozenset({"fields"}), {"retrieval": tables.PAIR_COLUMNS}, joined=True),
}


def check(definition: Mapping[str, Any]) -> list[Part]:
    """Check a task's source without touching any file, and return its parts.

    Raises:
      UserError: an unknown or wrong key, an option of another format, a language without parts.
    """
    kind = definition["kind"]

    def columns(settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return FORMATS[settings["format"]].columns.get(kind, {})

    parts = plan(definition, "source_files", "path", columns)
    for part in parts:
        about = FORMATS[part.settings["format"]]
        foreign = sorted(part.given & ((_TABLE | _CONLLU | _IOB | _CHECKLIST) - about.options))
        if foreign:
            allowed = ", ".join(sorted(about.options)) or "none"
            raise UserError(
                f"{part.place}: the format {part.settings['format']!r} has no option {foreign[0]!r}; it has: {allowed}."
                + nearest(foreign[0], about.options)
            )
        if isinstance(part.settings["path"], list) != about.joined:
            form = "a list of files, one a column" if about.joined else "one file (several files are several parts)"
            raise UserError(f"{part.place}.path: the format {part.settings['format']!r} reads {form}.")
    for language in definition["languages"]:
        for part in for_language(parts, definition, language):
            for template in _templates(part):
                part.fill(template)
    return parts


def read(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Open the files of one language and stream their records, split after split.

    Raises:
      UserError: the definition is wrong or a file is missing (at once); a row does not fit (while iterating).
    """
    opened = [(part, _groups(part, definition)) for part in for_language(check(definition), definition, language)]
    return _stream(opened)


def _stream(opened: Iterable[tuple[Part, list[list[Path]]]]) -> Iterator[Row]:
    for part, groups in opened:
        about = FORMATS[part.settings["format"]]
        settings = {**part.settings, **{key: part.placeholders[key] for key in ("name", "language")}}
        if "token_prefix" in settings:
            settings["token_prefix"] = part.fill(settings["token_prefix"])
        for group in groups:
            upstream = about.rows(group if about.joined else group[0], settings)
            yield from part.rows(upstream, str(group[0]), about.unit, group[0].stem)


def paths(definition: Mapping[str, Any], language: str) -> list[Path]:
    """Return the files that `read` opens for a language, in order: the inputs of the rule that prepares it.

    Raises:
      UserError: the definition is wrong or a file is missing.
    """
    parts = for_language(check(definition), definition, language)
    return list(dict.fromkeys(path for part in parts for group in _groups(part, definition) for path in group))


def missing(definition: Mapping[str, Any], language: str) -> list[str]:
    """Return the files (or patterns) that a language is read from and that are not there.

    Raises:
      UserError: the definition is wrong, or says no folder.
    """
    folder, beside = root(definition), links(definition)
    lacking = []
    for part in for_language(check(definition), definition, language) if folder is not None else []:
        assert folder is not None
        for template in _templates(part):
            # One that leads out of the folder is refused here too.
            path = inside(folder, part.fill(template), links=beside)
            try:
                _matches(folder, beside, part.fill(template), part.place)
            except UserError:
                lacking.append(str(path))
    return list(dict.fromkeys(lacking))


def origin(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to record: the format and file names of each split; the rows' own digest says the rest."""
    splits: dict[str, list[dict[str, Any]]] = {}
    for part in check(definition):
        splits.setdefault(part.split, []).append({key: part.settings[key] for key in ("format", "path")})
    return {"type": "files", "splits": splits}


def _templates(part: Part) -> list[str]:
    path = part.settings["path"]
    return list(path) if isinstance(path, list) else [path]


def _groups(part: Part, definition: Mapping[str, Any]) -> list[list[Path]]:
    """Return the files of a part; each group is read as one table."""
    folder = root(definition)
    if folder is None:
        raise UserError(
            f"{part.place}: the data folder is unknown. Set data_root in the configuration, or source.root in the "
            "task's YAML; scripts take --data-root."
        )
    beside = links(definition)
    columns = [_matches(folder, beside, part.fill(template), part.place) for template in _templates(part)]
    if not FORMATS[part.settings["format"]].joined:
        return [[path] for path in columns[0]]
    if len({len(matches) for matches in columns}) != 1:
        raise UserError(
            f"{part.place}.path: the patterns match different numbers of files: {[len(m) for m in columns]}."
        )
    return [list(group) for group in zip(*columns, strict=True)]


def _matches(folder: Path, beside: str | None, relative: str, place: str) -> list[Path]:
    path = inside(folder, relative, links=beside)
    if "*" in relative or "?" in relative:
        matches = sorted(match for match in folder.glob(relative) if match.is_file())
        if matches:
            return [inside(folder, str(match.relative_to(folder)), links=beside) for match in matches]
    elif path.is_file():
        return [path]
    raise UserError(
        f"{place}: no file {path}. Put the published file there, or set data_root or source.root to its folder."
    )
