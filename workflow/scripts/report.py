"""Write the report: one HTML page with its figures and tables, from lift.csv, the cells and a run description.

Example:
  python workflow/scripts/report.py --results results --lift results/significance/lift.csv \\
    --run results/report/run.json --output results/report/index.html
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import scriptlog
from stiltsweep.errors import run_script
from stiltsweep.report.page import build_report
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run


def main() -> None:
    """Parse, log, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results folder that holds cells/")
    parser.add_argument("--lift", type=Path, required=True, help="the comparisons (lift.csv)")
    parser.add_argument("--run", type=Path, required=True, help="the run description (run.json)")
    parser.add_argument("--output", type=Path, required=True, help="the page; figures/ and tables/ go beside it")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    results = Results.read(read_run(arguments.run), arguments.results, arguments.lift)
    found = build_report(results, arguments.output)
    print(found.headline)


run_script(main)
