"""Write predictions as a benchmark's evaluate.py reads them: one file a task and language.

Example:
  python workflow/scripts/submission.py --results results --members '{"xtreme": {"xnli": ["en", "de"]}}' \\
    --languages '{"xnli": ["en", "de"]}' --models xlm-roberta-large --intermediates none mnli --seeds 0 1 2 \\
    --output results/submission/index.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import scriptlog, submission
from stiltsweep.errors import run_script


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, log, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results folder that holds predictions/ and data/")
    parser.add_argument("--members", type=json.loads, required=True, help="benchmark -> task -> languages, as JSON")
    parser.add_argument("--languages", type=json.loads, required=True, help="target -> languages of the sweep, as JSON")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--intermediates", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="index.json; the folders lie beside it")
    arguments = parser.parse_args(argv)
    scriptlog.start(arguments)
    files = submission.write(
        arguments.results,
        arguments.members,
        arguments.output,
        models=arguments.models,
        intermediates=arguments.intermediates,
        seeds=arguments.seeds,
        languages=arguments.languages,
    )
    print(f"{files} files of predictions: {arguments.output.parent}")


if __name__ == "__main__":
    run_script(main)
