"""Put several results folders together: what agrees is taken once, what contradicts is named and nothing is written.

Tests, tables and the report are made again from the cells: name the new folder as `results:` and run snakemake.

Example:
  python workflow/scripts/combine.py cluster/results lab/results --output results-of-both
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
from stiltsweep.combining import combine
from stiltsweep.errors import run_script


def main() -> None:
    """Parse, read, compare, copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="results folders")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    combined = combine(arguments.folders, arguments.output)
    taken = ", ".join(f"{number} {place.replace('_', ' ')}" for place, number in combined.taken.items())
    print(f"{arguments.output}: {taken}; {combined.twice} were in several folders and agreed.")


run_script(main)
