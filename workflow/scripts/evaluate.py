"""Evaluate one cell: score one language's predictions and keep their per-example statistics.

Example:
  python workflow/scripts/evaluate.py --model e5-small --intermediate none --target intent --seed 0 --language zh \\
    --data results/data/intent/zh.parquet \\
    --predictions results/predictions/e5-small/none/intent/seed0/predictions.json \\
    --output results/cells/e5-small/none/intent/seed0/zh.json
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

import argparse
from pathlib import Path

from stiltsweep import scriptlog
from stiltsweep.errors import run_script
from stiltsweep.evaluation import evaluate
from stiltsweep.layout import Cell


def main() -> None:
    """Parse, log, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "intermediate", "target", "language"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="prepared data of the target in the language")
    parser.add_argument("--predictions", type=Path, required=True, help="predictions.json, the index")
    parser.add_argument("--family", default="", help="the language's family")
    parser.add_argument("--contaminated", action="store_true", help="the intermediate holds this target's data")
    parser.add_argument("--output", type=Path, required=True, help="the cell's JSON")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    cell = Cell(arguments.model, arguments.intermediate, arguments.target, arguments.seed, arguments.language)
    evaluate(
        cell,
        arguments.data,
        arguments.predictions,
        arguments.output,
        family=arguments.family,
        contaminated=arguments.contaminated,
    )


run_script(main)
