"""Prepare one task in one language: read its source, check every row, write Parquet and what it holds.

Example:
  python workflow/scripts/prepare.py --task intent --language zh --output results/data/intent/zh.parquet
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

import argparse
import json
from pathlib import Path

from stiltsweep import catalog, scriptlog, sources
from stiltsweep.catalog import Task
from stiltsweep.errors import run_script
from stiltsweep.lock import lock


def main() -> None:
    """Parse, log, prepare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="name of an intermediate or target task")
    parser.add_argument("--language", required=True, help="language code")
    parser.add_argument("--output", type=Path, required=True, help="the Parquet file")
    parser.add_argument("--definition", help="the task as JSON, instead of reading it from the catalogue")
    parser.add_argument("--data-root", help="folder of its files, or of copies of hub data sets, if it names none")
    parser.add_argument("--catalog", type=Path, nargs="*", default=[], help="your own catalogue folders")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    if arguments.definition:
        task = Task(arguments.task, "task", json.loads(arguments.definition))
    else:
        task = catalog.read(arguments.catalog).task(arguments.task).reading()
    # A copy that a killed controller has left may be at it with an older definition: the later one must end last.
    with lock(arguments.output.with_suffix(".state")):
        sources.prepare(task, arguments.language, arguments.output, arguments.data_root)


run_script(main)
