"""Tables: TSV, CSV, JSON lines and Parquet, and files that belong together line by line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import unique
from ..columns import check_class_names, class_names
from .text import lines

PAIR = ("query", "candidate")
PAIR_COLUMNS = {"id": "$row", "query": "query", "candidate": "candidate"}
_BATCH_ROWS = 2_000

# Contexts of published CSV exceed the module's limit of 131,072 characters a field.
csv.field_size_limit(1 << 30)


def tsv(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, row) of tab-separated values; quote characters are text unless `quotes` says otherwise."""
    return _named(_quoted(path, "\t") if settings.get("quotes", False) else _split(path), path, settings)


def comma(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, row) of comma-separated values; quote characters enclose fields unless `quotes` says otherwise."""
    return _named(_quoted(path, ",") if settings.get("quotes", True) else _split(path, ","), path, settings)


def _split(path: Path, separator: str = "\t") -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split(separator)) for number, line in lines(path) if line)


def _quoted(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, fields); blank lines are skipped."""
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), delimiter=separator, strict=True)
    try:
        yield from ((reader.line_num, fields) for fields in reader if fields)
    except csv.Error as error:
        hint = "Hint: quotes: false, if quote characters are part of the text."
        raise UserError(f"{path}, line {reader.line_num}: {error}. {hint}") from None


def _named(
    table: Iterator[tuple[int, list[str]]], path: Path, settings: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Name the fields by the header line, or by `fields` where the file has none.

    Raises:
      UserError: a name occurs twice, or a row has another number of columns; names file and line.
    """
    names: list[str] = settings.get("fields") or next(table, (0, []))[1]
    if len(set(names)) != len(names):
        raise UserError(f"{path}, line 1: a column name occurs twice in the header: {', '.join(names)}.")
    for number, values in table:
        if len(values) != len(names):
            raise UserError(
                f"{path}, line {number}: {len(values)} columns, expected {len(names)} ({', '.join(names)}). Hint: "
                "quotes says whether quote characters enclose fields, fields names the columns without a header."
            )
        yield number, dict(zip(names, values, strict=True))


def jsonl(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, object) of JSON lines; blank lines are skipped.

    Raises:
      UserError: a line is not a JSON object; names file and line.
    """
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=unique)
        except KeyError as error:
            raise UserError(f"{path}, line {number}: the key {error} stands twice. Keep one of them.") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno}).") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: {line[:40]!r} is not a JSON object.")
        yield number, row


def parquet(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, its values) of a Parquet file, a batch at a time.

    Raises:
      UserError: not Parquet, or written by `datasets` with its labels in another order than the mapping has them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            written = (file.schema_arrow.metadata or {}).get(b"huggingface")
            if written:
                features = json.loads(written).get("info", {}).get("features", {})
                check_class_names(settings.get("columns", {}), class_names(features), str(path))
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]}).") from None


def parallel(paths: Sequence[Path], settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, row) of files whose equal lines belong together; a column a file.

    Raises:
      UserError: one file is shorter than another; names the file and its number of lines.
    """
    names = settings.get("fields", PAIR)
    if len(names) != len(paths):
        raise UserError(f"{paths[0]}: {len(paths)} files for the {len(names)} fields {', '.join(names)}.")
    readers = [lines(path) for path in paths]
    number = 0
    while True:
        items = [next(reader, None) for reader in readers]
        if all(item is None for item in items):
            return
        for path, item in zip(paths, items, strict=True):
            if item is None:
                raise UserError(
                    f"{path}: ends after line {number}, but belongs line by line to {_others(paths, path)}."
                )
        number += 1
        yield number, {name: item[1] for name, item in zip(names, items, strict=True) if item is not None}


def _others(paths: Sequence[Path], path: Path) -> str:
    return ", ".join(str(other) for other in paths if other != path)
