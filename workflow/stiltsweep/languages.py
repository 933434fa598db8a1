"""The languages table: one row a language, one column a fact or a grouping; a user may add rows and columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError, nearest
from .place import beside

ENGLISH = "en"
"""What intermediate tasks are in, texts are compared with, and targets are trained in where a sweep says nothing."""

SIZES = {"mc4": "mc4_tokens_billion", "cc100": "cc100_gib"}
"""Corpus -> the column of its sizes."""
FUSION = "grambank_fusion"
NUMBERS = (*SIZES.values(), FUSION)
"""Columns of numbers that every sweep reads."""

TABLE = beside("catalog") / "languages.csv"
"""The table that comes with this project."""
KEY = "language"
CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")
"""Codes become file names, so they are plain."""


@dataclass(frozen=True)
class Languages:
    """The rows of languages.csv by language code; every value is text, empty where unknown."""

    rows: Mapping[str, Mapping[str, str]]
    columns: tuple[str, ...]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Languages:
        """Read and merge tables; a later table adds rows and columns and replaces single values.

        Raises:
          UserError: a file lacks the `language` column, or a row its code, or a code stands twice in one file.
        """
        rows: dict[str, dict[str, str]] = {}
        columns: dict[str, None] = {}
        for path in paths:
            try:
                text = path.read_text(encoding="utf-8-sig")
            except OSError as error:
                raise UserError(f"{path}: not readable ({error.strerror}).") from None
            except UnicodeDecodeError as error:
                raise UserError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            try:
                table = list(reader)
            except csv.Error as error:
                raise UserError(
                    f"{path}: line {reader.reader.line_num}: not CSV ({error}). Is a quotation mark not closed before?"
                ) from None
            names = list(reader.fieldnames or ())
            if KEY not in names:
                raise UserError(f"{path}: the first line lacks the column {KEY!r}; it has {names}.")
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise UserError(f"{path}: the column {twice[0]!r} occurs twice in the first line. Keep one of them.")
            columns.update(dict.fromkeys(names))
            seen: set[str] = set()
            for number, row in enumerate(table, start=2):
                code = row[KEY]
                if any("\n" in value for value in row.values() if isinstance(value, str)):
                    raise UserError(f"{path}: line {number}: a field has two lines. Is a quotation mark not closed?")
                if not code or code in seen:
                    raise UserError(f"{path}: line {number}: language code {code!r} is empty or occurs twice.")
                if not CODE.fullmatch(code):
                    raise UserError(f"{path}: line {number}: language code {code!r} must match {CODE.pattern}.")
                if None in row:
                    raise UserError(f"{path}: line {number}: more fields than the {len(names)} columns. Quote commas.")
                seen.add(code)
                rows.setdefault(code, {}).update({k: v or "" for k, v in row.items()})
        return cls({code: rows[code] for code in sorted(rows)}, tuple(columns))

    def value(self, language: str, column: str) -> str:
        """Return one fact, empty where unknown.

        Raises:
          UserError: no such language or column.
        """
        if language not in self.rows:
            hint = nearest(language, self.rows)
            raise UserError(f"language {language!r} has no row in languages.csv; add one.{hint}")
        if column not in self.columns:
            hint = nearest(column, self.columns)
            raise UserError(f"languages.csv has no column {column!r}; it has: {', '.join(self.columns)}.{hint}")
        return self.rows[language].get(column, "")

    def numbers(self, column: str) -> dict[str, float]:
        """Return language -> the number in a column, without languages that have none.

        Raises:
          UserError: something else than a number stands there.
        """
        numbers = {}
        for code, row in self.rows.items():
            if text := row.get(column, ""):
                try:
                    # Python would read 1_000.
                    numbers[code] = math.nan if "_" in text else float(text)
                except ValueError:
                    numbers[code] = math.nan
                if not math.isfinite(numbers[code]):
                    raise UserError(f"{column!r} of languages.csv has {text!r} for {code!r}, which is no number.")
        return numbers

    def groups(self, column: str, languages: Sequence[str]) -> dict[str, list[str]]:
        """Group languages by a column; those without a value are left out.

        Every value the whole table knows is a key, so that a group with no language here is seen to be empty.
        """
        self.value(next(iter(languages), ENGLISH), column)
        known = {row.get(column, "") for row in self.rows.values()} - {""}
        groups: dict[str, list[str]] = {value: [] for value in sorted(known)}
        for language in languages:
            if value := self.value(language, column):
                groups[value].append(language)
        return groups
