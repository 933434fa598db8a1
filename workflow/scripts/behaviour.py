"""Count the failures of behavioural tests by capability and language, and write some of them out.

Makes --output (failures.csv), and beside it examples.json: failing examples with the model's predictions.

Example:
  python workflow/scripts/behaviour.py --results results --models e5-small --seeds 0 \\
    --tests '{"behaviour": {"intermediates": ["none"], "languages": ["en", "fi"], "review": {"fi": "needed"}}}' \\
    --output results/behaviour/failures.csv
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import behaviour, identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.files import write_json
from stiltsweep.layout import Cell, Layout
from stiltsweep.significance import table


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, log, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="the results folder")
    parser.add_argument("--models", nargs="+", required=True, help="names of models")
    parser.add_argument("--seeds", nargs="+", type=int, required=True, help="seeds")
    parser.add_argument("--tests", type=json.loads, required=True, help="target -> intermediates, languages, review")
    parser.add_argument("--confidence", type=float, default=0.95, help="level of the intervals")
    parser.add_argument("--output", type=Path, required=True, help="failures.csv")
    arguments = parser.parse_args(argv)
    scriptlog.start(arguments)
    cells = [
        Cell(model, arm, target, seed, language)
        for model in arguments.models
        for target, about in arguments.tests.items()
        for arm in about["intermediates"]
        for seed in arguments.seeds
        for language in about["languages"]
    ]
    reviews = {target: about["review"] for target, about in arguments.tests.items()}
    shown = list(behaviour.examples(arguments.results, cells, reviews))
    write_json(arguments.output.with_name("examples.json"), shown)
    rows = [asdict(row) for row in behaviour.count(arguments.results, cells, reviews, arguments.confidence)]
    table.write_csv(arguments.output, rows, behaviour.COLUMNS)
    layout = Layout(str(arguments.results))
    paths = [layout.cell(cell) for cell in cells]
    made_from = identity.tabled(
        "behaviour", sys.argv[1:] if argv is None else argv, identity.inputs(arguments.results, paths)
    )
    identity.record(arguments.output, made_from, [arguments.output.with_name("examples.json")])
    print(f"{len(rows)} failure rates of {len(cells)} cells: {arguments.output}")


if __name__ == "__main__":
    run_script(main)
