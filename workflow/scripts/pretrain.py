"""Make a model from nothing: a vocabulary and random weights, then span corruption on a packaged corpus.

Example:
  python workflow/scripts/pretrain.py --model mt5-nano --definition '{"interface": "text2text", "source": {...}}' \\
    --settings '{"optimizer": "adafactor", "learning_rate": 0.001}' --output results/models/mt5-nano/model.json
"""

import argparse
import json
from pathlib import Path

import _path  # noqa: F401
import _training
from stiltsweep import scriptlog
from stiltsweep.catalog import Model
from stiltsweep.errors import run_script
from stiltsweep.lock import lock
from stiltsweep.settings import TrainingSettings


def main() -> None:
    """Parse, log, pretrain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--definition", type=json.loads, required=True, help="its interface and source as JSON")
    _training.options(parser)
    parser.add_argument("--output", type=Path, required=True, help="model.json; the other files are written beside it")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    settings = TrainingSettings(**arguments.settings)
    from stiltsweep.models import gpus
    from stiltsweep.training.pretrain import pretrain

    gpus.take(share=arguments.share)
    # A copy that a killed controller has left may still be at it.
    with lock(arguments.output.parent / "state"):
        pretrain(
            Model(arguments.model, arguments.definition),
            arguments.output,
            settings,
            arguments.threads,
            **_training.computing(arguments),
        )


run_script(main)
