"""Scores as papers print them, with intervals (benchmarks.csv), and beside published ones (published.csv).

Example:
  python workflow/scripts/scores.py --results results --run results/report/run.json \\
    --published workflow/catalog/published.csv --output results/significance/benchmarks.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.layout import Layout
from stiltsweep.report.run import read_run
from stiltsweep.report.scores import PUBLISHED_COLUMNS, SCORE_COLUMNS, Reader, benchmark_rows, published_rows
from stiltsweep.significance.table import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, log, read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results folder that holds cells/")
    parser.add_argument("--run", type=Path, required=True, help="the run description (run.json)")
    parser.add_argument("--published", nargs="*", type=Path, default=[], help="catalogues' published.csv")
    parser.add_argument("--output", type=Path, required=True, help="benchmarks.csv; published.csv goes beside it")
    arguments = parser.parse_args(argv)
    scriptlog.start(arguments)
    identity.made(arguments.run)
    reader = Reader(read_run(arguments.run), arguments.results)
    published = [
        asdict(row) | {"languages": " ".join(row.languages)} for row in published_rows(reader, arguments.published)
    ]
    write_csv(arguments.output.with_name("published.csv"), published, PUBLISHED_COLUMNS)
    rows = [asdict(row) for row in benchmark_rows(reader)]
    write_csv(arguments.output, rows, SCORE_COLUMNS)
    cells = [Layout(str(arguments.results)).cell(cell) for cell in reader.run.cells()]
    read = identity.inputs(arguments.results, [arguments.run, *cells, *arguments.published])
    made_from = identity.tabled("scores", sys.argv[1:] if argv is None else argv, read)
    identity.record(arguments.output, made_from, [arguments.output.with_name("published.csv")])
    print(f"{len(rows)} benchmark scores, {len(published)} beside published ones: {arguments.output}")


if __name__ == "__main__":
    run_script(main)
