"""Predict a target in all its languages with one checkpoint; languages that are there already are kept.

Example:
  python workflow/scripts/predict.py --start results/finetune/e5-small/none/intent/seed0/checkpoint.json \\
    --data results/data/intent --languages en zh --settings '...' \\
    --output results/predictions/e5-small/none/intent/seed0/predictions.json
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

import argparse
import json
from pathlib import Path

from stiltsweep import scriptlog
from stiltsweep.errors import run_script
from stiltsweep.files import remove_leftovers
from stiltsweep.lock import lock


def main() -> None:
    """Parse, log, predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="model.json or checkpoint.json")
    parser.add_argument("--data", type=Path, required=True, help="folder of the target's prepared data")
    parser.add_argument("--languages", nargs="+", required=True, help="language codes")
    parser.add_argument("--settings", type=json.loads, required=True, help="prediction settings as JSON")
    parser.add_argument("--layer-data", type=Path, help="prepared English data that choose the layer")
    parser.add_argument("--seed", type=int, default=0, help="of the run, by which shots are drawn")
    parser.add_argument("--identity", type=json.loads, default={}, help="names of the run as JSON, for the record")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number rounds differently")
    parser.add_argument("--share", type=int, default=1, help="jobs of one GPU that share a card")
    parser.add_argument("--output", type=Path, required=True, help="predictions.json, the index")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    from stiltsweep.models import gpus
    from stiltsweep.prediction import predict
    from stiltsweep.settings import PredictionSettings
    from stiltsweep.training.shots import Shots

    settings = PredictionSettings.of(arguments.settings)
    gpus.take(share=arguments.share)
    # A second copy of this job waits, and finds every language there.
    with lock(arguments.output.parent / "state"):
        remove_leftovers(arguments.output.parent)
        predict(
            arguments.start,
            {language: arguments.data / f"{language}.parquet" for language in arguments.languages},
            arguments.output,
            settings,
            identity=arguments.identity,
            task=arguments.data.name,
            threads=arguments.threads,
            layer_data=arguments.layer_data,
            shots=None if settings.shots is None else Shots(settings.shots, arguments.seed),
        )


run_script(main)
