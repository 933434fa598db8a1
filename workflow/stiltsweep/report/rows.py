"""Rows of the tables that the report reads: one class per file, its fields the file's columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ..behaviour import Failures
from ..errors import UserError

Row = TypeVar("Row")


@dataclass(frozen=True)
class Comparison:
    """One row of lift.csv: an intermediate against the baseline, or one group's lift against another's.

    Scores, lifts and intervals are in points; a value that could not be had is None.
    """

    model: str
    target: str
    metric: str
    intermediate: str
    scope: str
    grouping: str
    group: str
    status: str
    reason: str
    baseline_score: float | None
    score: float | None
    lift: float | None
    ci_low: float | None
    ci_high: float | None
    bca_low: float | None
    bca_high: float | None
    p: float | None
    p_holm: float | None
    p_bh: float | None
    p_signflip: float | None
    detectable_lift: float | None
    resampling: str
    n_languages: int
    n_examples: int
    n_seeds: int
    languages: tuple[str, ...]
    examples_ci_low: float | None
    examples_ci_high: float | None
    examples_p: float | None
    missing: tuple[str, ...]
    contaminated: bool

    @property
    def tested(self) -> bool:
        """Whether there is a lift and a corrected p to speak of."""
        return self.status == "ok" and self.lift is not None and self.p_holm is not None

    def significant(self, alpha: float) -> bool:
        """Whether the lift differs from zero after Holm's correction at level `alpha`."""
        return self.tested and self.p_holm is not None and self.p_holm < alpha


def _number(text: str) -> float | None:
    return float(text) if text else None


def _count(text: str) -> int:
    return int(float(text)) if text else 0


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _true(text: str) -> bool:
    return text.strip().lower() == "true"


_PARSERS: dict[str, Callable[[str], Any]] = {
    "float | None": _number,
    "float": float,
    "int": _count,
    "tuple[str, ...]": _codes,
    "bool": _true,
    "str": str,
}


@dataclass(frozen=True)
class Control(Comparison):
    """One row of controls.csv: an arm against another one in the baseline's place."""

    against: str


@dataclass(frozen=True)
class Relabelled:
    """One row of sensitivity.csv: a test under other labels of the languages, beside the same test as it was made."""

    variant: str
    relabelled: tuple[str, ...]
    """Languages left out or labelled otherwise."""
    main_lift: float | None
    main_p_holm: float | None
    flips: bool
    """Whether one of the two is significant and the other is not, or with another sign."""
    comparison: Comparison


@dataclass(frozen=True)
class Coefficient:
    """One row of regression.csv: a term of a regression of lift, or why a regression could not be made."""

    model: str
    specification: str
    term: str
    coefficient: float | None
    standard_error: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    reference: str
    r_squared: float | None
    n_rows: int
    n_languages: int
    n_clusters: int
    reason: str


@dataclass(frozen=True)
class Bucket:
    """One row of a diagnosis: the lift over the examples of one bucket, in a family, over all, or between families."""

    model: str
    target: str
    metric: str
    intermediate: str
    attribute: str
    bucket: str
    group: str
    baseline_score: float | None
    score: float | None
    lift: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    n_examples: int
    n_languages: int
    status: str
    reason: str
    p_holm: float | None
    p_bh: float | None
    scope: str

    def significant(self, alpha: float) -> bool:
        """Whether the lift differs from zero after Holm's correction (within its attribute) at level `alpha`."""
        return self.lift is not None and self.p_holm is not None and self.p_holm < alpha


def _parse(kind: type, row: Mapping[str, str]) -> dict[str, Any]:
    annotations = {f.name: str(f.type) for f in fields(kind)}
    return {name: _PARSERS[text](row[name]) for name, text in annotations.items() if text in _PARSERS}


def read_comparisons(path: str | Path) -> list[Comparison]:
    """Read lift.csv.

    Raises:
      UserError: the file is missing, lacks a column, or holds a value of the wrong type; the text names the line.
    """
    return _read(path, lambda row: Comparison(**_parse(Comparison, row)), Comparison.__annotations__)


def read_controls(path: str | Path) -> list[Control]:
    """Read controls.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return _read(path, lambda row: Control(**_parse(Control, row)), [field.name for field in fields(Control)])


def read_relabelled(path: str | Path) -> list[Relabelled]:
    """Read sensitivity.csv.

    Raises:
      UserError: see `read_comparisons`.
    """

    def parse(row: Mapping[str, str]) -> Relabelled:
        return Relabelled(**_parse(Relabelled, row), comparison=Comparison(**_parse(Comparison, {**row, "p_bh": ""})))

    names = [*Relabelled.__annotations__, *Comparison.__annotations__]
    return _read(path, parse, [name for name in names if name not in ("comparison", "p_bh")])


def read_coefficients(path: str | Path) -> list[Coefficient]:
    """Read regression.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return _read(path, lambda row: Coefficient(**_parse(Coefficient, row)), Coefficient.__annotations__)


def read_buckets(path: str | Path) -> list[Bucket]:
    """Read a diagnosis.

    Raises:
      UserError: see `read_comparisons`.
    """
    return _read(path, lambda row: Bucket(**_parse(Bucket, row)), Bucket.__annotations__)


def read_failures(path: str | Path) -> list[Failures]:
    """Read failures.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return _read(path, lambda row: Failures(**_parse(Failures, row)), Failures.__annotations__)


def if_there(path: Path, read: Callable[[Path], list[Row]]) -> list[Row]:
    """Read a file that a sweep may do without; nothing where it is not there."""
    return read(path) if path.is_file() else []


def _read(path: str | Path, parse: Callable[[Mapping[str, str]], Row], wanted: Iterable[str]) -> list[Row]:
    rebuild = f"Rebuild it with: snakemake --cores 1 --force {path}"
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            lacks = [name for name in wanted if name not in (reader.fieldnames or ())]
            if lacks:
                raise UserError(f"{path}: the columns {', '.join(lacks)} are missing. {rebuild}")
            found = []
            for row in reader:
                try:
                    found.append(parse(row))
                except (ValueError, TypeError, AttributeError) as error:
                    raise UserError(f"{path}: line {reader.line_num}: {error}. {rebuild}") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). {rebuild}") from None
    return found
