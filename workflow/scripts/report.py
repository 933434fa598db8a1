"""Write the report: one HTML page with its figures and tables, from lift.csv, the cells and a run description.

Example:
  python workflow/scripts/report.py --results results --lift results/significance/lift.csv \\
    --run results/report/run.json --output results/report/index.html
"""

import argparse
import sys
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.files import SEAL
from stiltsweep.layout import Layout
from stiltsweep.report.page import build_report
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run


def main() -> None:
    """Parse, log, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results folder that holds cells/")
    parser.add_argument("--lift", type=Path, required=True, help="the comparisons (lift.csv)")
    parser.add_argument("--run", type=Path, required=True, help="the run description (run.json)")
    parser.add_argument(
        "--inputs", type=Path, nargs="*", default=[], help="what else is read where it lies, for the record"
    )
    parser.add_argument("--output", type=Path, required=True, help="the page; figures/ and tables/ go beside it")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    identity.made(arguments.lift)
    identity.made(arguments.run)
    results = Results.read(read_run(arguments.run), arguments.results, arguments.lift)
    said = build_report(results, arguments.output)
    record(arguments, results)
    print(said.headline)


def record(arguments: argparse.Namespace, results: Results) -> None:
    """Write down what the page was made from, and what it is made of."""
    layout = Layout(str(arguments.results))
    known = {layout.cell(cell): str(value[SEAL]) for cell, value in results.cells.items()}
    cells = [layout.cell(cell) for cell in results.run.cells()]
    read = identity.inputs(arguments.results, [arguments.lift, arguments.run, *arguments.inputs, *cells], known)
    folder = arguments.output.parent
    outputs = [folder / name for name in ("headline.txt", "figures", "tables")]
    identity.record(arguments.output, identity.tabled("report", sys.argv[1:], read), outputs)


run_script(main)
