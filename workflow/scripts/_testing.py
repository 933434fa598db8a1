"""What the scripts that test lifts share: their options, and what they read by them."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import identity
from stiltsweep.counting import FAILED_INTERMEDIATES, KEEP
from stiltsweep.languages import ENGLISH, TABLE, Languages
from stiltsweep.layout import Cell, Layout
from stiltsweep.significance import LEVELS, Settings, Statistics, read


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what to test, and how."""
    default = Settings()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--model", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--intermediates", nargs="+", required=True, help="arms; none, the baseline, among them")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--languages", nargs="+", required=True, help="the target's languages")
    parser.add_argument("--source-language", default=ENGLISH, help="what it is trained in: no transfer language")
    parser.add_argument("--families", default="family", help="column of the main grouping, with contrasts")
    parser.add_argument("--tables", nargs="+", type=Path, default=[TABLE], help="languages.csv files, later ones win")
    parser.add_argument("--resamples", type=int, default=default.resamples)
    parser.add_argument("--seed", type=int, default=default.seed, help="of the draws")
    parser.add_argument("--confidence", type=float, default=default.confidence)
    parser.add_argument("--resampling", choices=LEVELS, default=default.resampling, help="what is resampled")
    parser.add_argument(
        "--pair-seeds",
        action=argparse.BooleanOptionalAction,
        default=default.pair_seeds,
        help="pair runs of both arms that share a seed",
    )
    parser.add_argument("--margin", type=float, default=default.margin, help="points that a lift may be and be none")
    parser.add_argument("--allow-missing", action="store_true", help="test what is there, and name what is not")
    parser.add_argument(
        "--failed-intermediates",
        choices=FAILED_INTERMEDIATES,
        default=KEEP,
        help="what to do with runs that learned on an intermediate that learned nothing",
    )
    return parser


def settings(arguments: argparse.Namespace) -> Settings:
    """Return how to test."""
    return Settings.of(vars(arguments))


def inputs(
    arguments: argparse.Namespace, columns: Sequence[str]
) -> tuple[Statistics, Languages, Mapping[str, Mapping[str, Sequence[str]]]]:
    """Read the statistics, the table of languages, and their groups by some of its columns."""
    table = Languages.read(arguments.tables)
    for column in columns:  # a wrong column must fail before anything is read
        table.groups(column, arguments.languages)
    statistics = read(
        arguments.results,
        arguments.model,
        arguments.target,
        intermediates=arguments.intermediates,
        seeds=arguments.seeds,
        languages=arguments.languages,
        source=arguments.source_language,
        allow_missing=arguments.allow_missing,
        failed_intermediates=arguments.failed_intermediates,
    )
    return statistics, table, {column: table.groups(column, statistics.languages) for column in columns}


def made_from(
    stage: str, argv: Sequence[str] | None, arguments: argparse.Namespace, others: Sequence[Path] = ()
) -> identity.Decisive:
    """Return what decides a test: its arguments, the tables of languages, the cells, and what else it reads."""
    grid = itertools.product(arguments.intermediates, arguments.seeds, arguments.languages)
    layout = Layout(str(arguments.results))
    cells = [layout.cell(Cell(arguments.model, arm, arguments.target, seed, language)) for arm, seed, language in grid]
    read = identity.inputs(arguments.results, [*cells, *arguments.tables, *others])
    return identity.tabled(stage, sys.argv[1:] if argv is None else argv, read)
