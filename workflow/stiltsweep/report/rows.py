"""Rows of the tables that the report reads: each table's own class, its fields the table's columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..behaviour import Failures
from ..significance.buckets import BucketLift
from ..significance.comparison import Comparison
from ..significance.controls import Control
from ..significance.runs import RunScore
from ..significance.sensitivity import LACKS, Relabelled
from ..significance.table import read_csv
from ..typology.tables import Omnibus, Term

Row = TypeVar("Row")


def read_comparisons(path: str | Path) -> list[Comparison]:
    """Read lift.csv.

    Raises:
      UserError: the file is missing, lacks a column, or holds a value of the wrong type; the text names the line.
    """
    return read_csv(path, Comparison)


def read_controls(path: str | Path) -> list[Control]:
    """Read controls.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, Control)


def read_relabelled(path: str | Path) -> list[Relabelled]:
    """Read sensitivity.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, Relabelled, LACKS)


def read_runs(path: str | Path) -> list[RunScore]:
    """Read runs.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, RunScore)


def read_omnibus(path: str | Path) -> list[Omnibus]:
    """Read omnibus.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, Omnibus)


def read_terms(path: str | Path) -> list[Term]:
    """Read types.csv or predictors.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, Term)


def read_buckets(path: str | Path) -> list[BucketLift]:
    """Read a diagnosis.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, BucketLift)


def read_failures(path: str | Path) -> list[Failures]:
    """Read failures.csv.

    Raises:
      UserError: see `read_comparisons`.
    """
    return read_csv(path, Failures)


def if_there(path: Path, read: Callable[[Path], list[Row]]) -> list[Row]:
    """Read a file that a sweep may do without; nothing where it is not there."""
    return read(path) if path.is_file() else []
