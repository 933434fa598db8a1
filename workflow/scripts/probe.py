"""Probe one checkpoint for the features of words in every language of one task.

Example:
  python workflow/scripts/probe.py --start results/models/e5-small/model.json --languages fi tr \\
    --data results/data/ud_features/fi.parquet results/data/ud_features/tr.parquet \\
    --settings '{"batch_tokens": 4096, "features": ["Case", "Number"], "pooling": ["mean"], "sentences": 400,
      "words": 2000, "minimum": {"train": 100, "test": 40, "class": 10}}' \\
    --output results/probes/models/e5-small/ud_features.json
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

import argparse
import json
import sys
from pathlib import Path

from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script


def main() -> None:
    """Parse, log, probe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="model.json or checkpoint.json")
    parser.add_argument("--languages", nargs="+", required=True, help="language codes")
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="prepared data, a file a language")
    parser.add_argument("--settings", type=json.loads, required=True, help="what is probed, as JSON")
    parser.add_argument(
        "--identity", type=json.loads, default={}, help="names of the checkpoint as JSON, for the record"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number rounds differently")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    from stiltsweep.models import gpus
    from stiltsweep.probing.job import probe

    gpus.take()
    probe(
        arguments.start,
        dict(zip(arguments.languages, arguments.data, strict=True)),
        arguments.output,
        arguments.settings,
        identity=arguments.identity,
        threads=arguments.threads,
    )
    read = identity.inputs(arguments.data[0].parents[2], [arguments.start, *arguments.data])
    identity.record(arguments.output, identity.tabled("probe", sys.argv[1:], read))


run_script(main)
