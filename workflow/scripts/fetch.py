"""Fetch one model into the canonical directory form.

Example:
  python workflow/scripts/fetch.py --model my-xlmr --output results/models/my-xlmr/model.json --definition \\
    '{"interface": "encoder", "source": {"type": "files", "path": "models/my-xlmr"}}'
"""

import argparse
import json
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import scriptlog
from stiltsweep.catalog import Model
from stiltsweep.errors import run_script
from stiltsweep.files import remove_leftovers
from stiltsweep.lock import lock
from stiltsweep.models.fetch import fetch


def main() -> None:
    """Parse, log, fetch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--definition", type=json.loads, required=True, help="its interface and source as JSON")
    parser.add_argument("--output", type=Path, required=True, help="model.json; the other files are written beside it")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    folder = arguments.output.parent
    # A copy that a killed controller has left may be at it with an older definition: the later one must end last.
    with lock(folder / "state"):
        remove_leftovers(folder)
        fetch(Model(arguments.model, arguments.definition), folder)


run_script(main)
