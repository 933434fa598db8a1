"""Combine the tests of every model and target: correct over the sweep, write lift.csv and its companions.

Makes, beside --output (lift.csv): lift.parquet; controls.csv, arms against their controls; runs.csv, every run by
itself; and sensitivity.csv, the same tests under other labels.

Example:
  python workflow/scripts/lift.py --inputs results/significance/e5-small/intent.json \\
    results/significance/e5-small/slots.json --output results/significance/lift.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.significance import controls, runs, sensitivity, table


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, log, read, correct, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", nargs="+", type=Path, required=True, help="JSON files of scripts/significance.py")
    parser.add_argument("--output", type=Path, required=True, help="lift.csv")
    arguments = parser.parse_args(argv)
    scriptlog.start(arguments)
    written: list[Path] = []

    def beside(name: str) -> Path:
        written.append(arguments.output.with_name(name))
        return written[-1]

    for path in arguments.inputs:
        identity.made(path)
    documents = table.combine(arguments.inputs)
    rows = [row for document in documents for row in document["rows"]] + table.over_targets(documents)
    table.write_csv(arguments.output, rows)
    table.write_parquet(beside("lift.parquet"), rows)
    apart = [row for document in documents for row in document["controls"]]
    table.write_csv(beside("controls.csv"), apart, controls.COLUMNS)
    apart = [row for document in documents for row in document["runs"]]
    table.write_csv(beside("runs.csv"), apart, runs.COLUMNS)
    compared = sensitivity.compared(documents)
    table.write_csv(beside("sensitivity.csv"), compared, sensitivity.COLUMNS)
    read = identity.inputs(arguments.output.parents[1], arguments.inputs)
    identity.record(arguments.output, identity.tabled("lift", sys.argv[1:] if argv is None else argv, read), written)
    print(f"{len(rows)} comparisons of {len(documents)} model and target pairs: {arguments.output}")


if __name__ == "__main__":
    run_script(main)
