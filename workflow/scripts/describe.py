"""Describe a sweep for its report: the resolved configuration, and what the catalogue says of everything it names.

Example:
  python workflow/scripts/describe.py --configuration "$(python -c 'import json, yaml, sys;
    print(json.dumps(yaml.safe_load(open("config.yaml"))))')" --output results/report/run.json
"""

import argparse
import json
import sys
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import config, identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.files import write_json
from stiltsweep.report.run import describe
from stiltsweep.sweep import Sweep


def main() -> None:
    """Parse, log, describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configuration", type=json.loads, required=True, help="the configuration as JSON")
    parser.add_argument("--revision", default="", help="the project's revision")
    parser.add_argument("--lift", type=Path, help="the comparisons that the sweep ended in (lift.csv)")
    parser.add_argument("--output", type=Path, required=True, help="run.json")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    settings, catalog = config.resolve(arguments.configuration)
    read = identity.inputs(arguments.output.parents[1], [arguments.lift] if arguments.lift else [])
    write_json(arguments.output, describe(Sweep(settings, catalog), arguments.revision))
    identity.record(arguments.output, identity.tabled("describe", sys.argv[1:], read))


run_script(main)
