"""A table: plain values and how they are shown, written as CSV, Parquet and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..files import replacing, write_text
from . import text

Value = str | int | float | bool | None | tuple[float | None, float | None]

LONGEST = 4_000
"""Rows of a table on the page: 3,900 are a lift for every language of two models, ten targets and ten arms."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    """In CSV and Parquet; an interval becomes name_low and name_high."""
    heading: str
    """In the page and in LaTeX."""
    kind: str = "text"
    """`text`, `score`, `lift`, `slope`, `p`, `interval`, `count`, `number`, `flag` or `digest`."""
    choose: bool = False
    """Whether the page offers a menu of its values."""
    of: Callable[[Any], Value] | None = None
    """What it shows of the object a row is about; left out, the attribute of its name."""

    @property
    def numeric(self) -> bool:
        return self.kind not in ("text", "flag", "digest")

    def value(self, about: Any) -> Value:
        """Return what the column holds of the object a row is about."""
        if self.of:
            return self.of(about)
        if self.kind == "interval":
            return getattr(about, f"{self.name}_low"), getattr(about, f"{self.name}_high")
        value: Value = getattr(about, self.name)
        return value

    def show(self, value: Value) -> str:
        """Write one value for a reader."""
        if isinstance(value, tuple):
            return text.interval(*value)
        if value is None:
            return "n/a" if self.kind in ("score", "lift", "slope", "p", "interval") else ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return _DIGEST.sub(lambda match: match[0][:12], value)
        if self.kind in _NUMBERS:
            return _NUMBERS[self.kind](value)
        return f"{value:g}".replace("-", text.MINUS)


_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
"""A sha256 is shown by its beginning; the files have it whole."""

_NUMBERS: dict[str, Callable[[float], str]] = {
    "score": text.points,
    "lift": text.lift,
    "slope": text.slope,
    "p": text.probability,
    "count": "{:,.0f}".format,
}


@dataclass(frozen=True)
class Table:
    """One table; `rows` hold plain values, as they go into the files."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    """Shown under the table."""
    marks: Sequence[bool] = field(default_factory=list)
    """Row -> whether it is significant; shown bold."""
    brief: Sequence[bool] = field(default_factory=list)
    """Row -> whether the page shows it where the table is too long for it; left out, the first rows are shown."""
    briefly: str = ""
    """Which rows these are."""

    @classmethod
    def of(cls, name: str, caption: str, columns: Sequence[Column], about: Iterable[Any], **more: Any) -> Table:
        """Return a table with one row for each of some objects."""
        return cls(name, caption, columns, [[column.value(one) for column in columns] for one in about], **more)

    def slim(self) -> Table:
        """Return the table for the page.

        Without columns that tell a reader nothing: the only model, empty remarks. Of more than `LONGEST` rows the page
        has those of `brief`, and says so under the table: the files have all.
        """
        places = list(range(len(self.rows)))
        note = self.note
        if len(places) > LONGEST:
            places = [i for i in places if self.brief[i]][:LONGEST] if self.brief else places[:LONGEST]
            which = self.briefly or "the first"
            note = f"Shown: {which}, {len(places):,} of {len(self.rows):,} rows; the files hold all. {note}".rstrip()
        kept = [
            i
            for i, column in enumerate(self.columns)
            if not (column.name == "model" and len({row[i] for row in self.rows}) == 1)
            and not (column.name == "remarks" and not any(row[i] for row in self.rows))
        ]
        columns, rows = [self.columns[i] for i in kept], [[self.rows[at][i] for i in kept] for at in places]
        marks = [self.marks[at] for at in places] if self.marks else []
        return replace(self, columns=columns, rows=rows, marks=marks, note=note)

    def shown(self) -> list[list[str]]:
        """Return the rows as a reader sees them."""
        return [[column.show(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]

    def flat(self) -> tuple[list[str], list[list[Any]]]:
        """Return names and rows for files, with intervals as two columns."""
        names: list[str] = []
        for column in self.columns:
            names += [f"{column.name}_low", f"{column.name}_high"] if column.kind == "interval" else [column.name]
        rows = []
        for row in self.rows:
            flat: list[Any] = []
            for value in row:
                flat += value if isinstance(value, tuple) else [value]
            rows.append(flat)
        return names, rows

    def csv(self) -> str:
        """Return the table as CSV; what is not known is empty, truth is `true` or `false`."""
        buffer = io.StringIO()
        names, rows = self.flat()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(
            [str(v).lower() if isinstance(v, bool) else "" if v is None else v for v in row] for row in rows
        )
        return buffer.getvalue()

    def latex(self) -> str:
        """Return the table as LaTeX that needs the packages booktabs and longtable."""
        layout = "".join("r" if column.numeric else "l" for column in self.columns)
        heading = " & ".join(_latex(column.heading) for column in self.columns)
        lines = [" & ".join(_latex(value) for value in row) + r" \\" for row in self.shown()]
        return "\n".join(
            [
                "% needs \\usepackage{booktabs,longtable}",
                rf"\begin{{longtable}}{{@{{}}{layout}@{{}}}}",
                rf"\caption{{{_latex(self.caption)}}}\\",
                r"\toprule",
                heading + r" \\",
                r"\midrule",
                r"\endfirsthead",
                r"\toprule",
                heading + r" \\",
                r"\midrule",
                r"\endhead",
                r"\bottomrule",
                r"\endlastfoot",
                *lines,
                r"\end{longtable}",
                "",
            ]
        )


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    text.MINUS: r"\ensuremath{-}",
    "→": r"\ensuremath{\rightarrow}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "ρ": r"\ensuremath{\rho}",
    # A row that begins with a bracket would be read as the argument of the line break before it.
    "[": "{[}",
}


def _latex(value: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(value.split()))


def write(table: Table, folder: Path) -> list[Path]:
    """Write a table in all three formats and return the files."""
    paths = [folder / f"{table.name}.{suffix}" for suffix in ("csv", "parquet", "tex")]
    write_text(paths[0], table.csv())
    names, rows = table.flat()
    columns = [pa.array(list(values)) for values in zip(*rows, strict=True)] if rows else [pa.nulls(0)] * len(names)
    with replacing(paths[1]) as temporary:
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), temporary)
    write_text(paths[2], table.latex())
    return paths
