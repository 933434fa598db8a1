"""The sweep's tables: all comparisons, corrected over the sweep; written and read by the fields of a dataclass."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UserError, remake
from ..files import read_json, replacing, write_text
from . import targets
from .analysis import Row, correct, settle
from .comparison import COLUMNS, Comparison
from .corrections import benjamini_hochberg

Kind = TypeVar("Kind")


def _number(text: str) -> float | None:
    return float(text) if text else None


def _count(text: str) -> int:
    return int(float(text)) if text else 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _true(text: str) -> bool:
    return text.strip().lower() == "true"


_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "float | None": (_number, "float64"),
    "float": (float, "float64"),
    "int": (_count, "int64"),
    "tuple[str, ...]": (_names, "string"),
    "bool": (_true, "bool"),
    "str": (str, "string"),
}
"""A field's type -> how its text is read, and what it is in Parquet. Names stand in one text, with blanks between."""


def combine(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the results of every model and target and correct over the sweep.

    Holm runs over the whole sweep for the mean over all languages, which the answer counts over models, targets and
    arms, and within a model and target for the other scopes. Benjamini-Hochberg runs over all rows of one scope and
    grouping in the whole sweep. Controls are corrected by themselves.

    Args:
      paths: files made by scripts/significance.py, in any order.

    Returns:
      The documents, sorted by model and target, with what is corrected over the sweep.

    Raises:
      UserError: two files are of the same model and target, or were tested with different settings.
    """
    documents = sorted(
        (read_json(path) for path in paths), key=lambda document: (document["model"], document["target"])
    )
    names = [(document["model"], document["target"]) for document in documents]
    for one, other in itertools.pairwise(names):
        if one == other:
            raise UserError(f"{'/'.join(one)}: two of the files hold its tests; pass each once.")
    for document in documents:
        if document["settings"] != documents[0]["settings"]:
            raise UserError(
                f"{document['model']}/{document['target']}: tested with {document['settings']}, "
                f"{'/'.join(names[0])} with {documents[0]['settings']}. Run both anew with the same settings."
            )
    for part in ("rows", "controls"):
        rows = [row for document in documents for row in document[part]]
        settle([row for row in rows if row["scope"] == "all"], documents[0]["settings"]["confidence"])
        correct(rows, "p_bh", benjamini_hochberg)
    return documents


def over_targets(documents: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of all targets together, corrected over models and arms."""
    rows = targets.means(documents)
    settle(rows, documents[0]["settings"]["confidence"])
    correct(rows, "p_bh", benjamini_hochberg)
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Write rows as CSV; values that do not exist are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in columns])
    write_text(path, text.getvalue())


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write comparisons as Parquet with the types of their fields, also where a column is empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {field.name: pa.type_for_alias(_TYPES[str(field.type)][1]) for field in fields(Comparison)}
    table = pa.table({column: pa.array([row[column] for row in rows], of) for column, of in types.items()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_csv(path: str | Path, kind: type[Kind], lacks: Collection[str] = (), *, optional: bool = False) -> list[Kind]:
    """Read a table whose columns are the fields of a dataclass, in any order and among others.

    Args:
      path: the table.
      kind: the dataclass.
      lacks: fields that the table does not have; they are read as if their column were empty.
      optional: whether a sweep may do without the table; one that is not there has no rows.

    Raises:
      UserError: the file is missing, lacks a column, or holds a value of the wrong type; the text names the line.
    """
    if optional and not Path(path).is_file():
        return []
    rebuild = f"Rebuild it with: {remake(path)}"
    readers = {field.name: _TYPES[str(field.type)][0] for field in fields(kind)}  # type: ignore[arg-type]
    empty = dict.fromkeys(lacks, "")
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            unknown = [name for name in readers if name not in (reader.fieldnames or ()) and name not in empty]
            if unknown:
                raise UserError(f"{path}: the columns {', '.join(unknown)} are missing. {rebuild}")
            rows = []
            for line in reader:
                row = {**line, **empty}
                try:
                    rows.append(kind(**{name: read(row[name]) for name, read in readers.items()}))
                except (ValueError, TypeError, AttributeError) as error:
                    raise UserError(f"{path}: line {reader.line_num}: {error}. {rebuild}") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). {rebuild}") from None
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
