"""Put the probes of all checkpoints into one CSV file.

Example:
  python workflow/scripts/probes.py --inputs results/probes/models/e5-small/ud_features.json \\
    --families '{"fi": "agglutinative"}' --output results/probes/probes.csv
"""

import argparse
import json
import sys
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.probing import table


def main() -> None:
    """Parse, log, gather, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", nargs="+", type=Path, required=True, help="JSON files of scripts/probe.py")
    parser.add_argument("--families", type=json.loads, required=True, help="language -> family as JSON")
    parser.add_argument("--output", type=Path, required=True, help="probes.csv")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    for path in arguments.inputs:
        identity.made(path)
    probes = table.gather(arguments.inputs, arguments.families)
    table.write(arguments.output, probes)
    read = identity.inputs(arguments.output.parents[1], arguments.inputs)
    identity.record(arguments.output, identity.tabled("probes", sys.argv[1:], read))
    print(f"{len(probes)} probes of {len(arguments.inputs)} checkpoints and tasks: {arguments.output}")


run_script(main)
