"""Train one checkpoint: a model on an intermediate task, or that (or the model itself) on a target.

Killed at any moment and started again it goes on from its training state, which lies beside the checkpoint.

Example:
  python workflow/scripts/train.py --stage target --start results/models/e5-small/model.json \\
    --data results/data/intent/en.parquet --settings '{"epochs": 3}' --seed 0 \\
    --output results/finetune/e5-small/none/intent/seed0/checkpoint.json
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

import argparse
import json
import os
from pathlib import Path

import _training
from stiltsweep import scriptlog
from stiltsweep.errors import run_script
from stiltsweep.settings import TrainingSettings


def main() -> int:
    """Parse, log, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=["intermediate", "target"], required=True)
    parser.add_argument("--start", type=Path, required=True, help="model.json, or checkpoint.json of the stage before")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="prepared data; one file, or a mixture's")
    parser.add_argument("--representation", type=json.loads, required=True, help="pooling and retrieval as JSON")
    parser.add_argument("--identity", type=json.loads, default={}, help="names of the run as JSON, for the record")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--chance", type=float, default=0.0, help="dev score of a run that learned nothing")
    parser.add_argument("--mixture", type=json.loads, help="tasks to train on together as JSON; left out: one task")
    parser.add_argument(
        "--more-updates", type=Path, help="checkpoint.json of a run: make as many updates more as that one made"
    )
    parser.add_argument("--keep-head", action="store_true", help="go on with the head of --start, where it fits")
    parser.add_argument("--prune", action="store_true", help="keep only the embedding rows the data needs")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs to use, as far as they are there: a process for each")
    parser.add_argument("--processes", type=int, help="processes to train with; left out: one, or one per GPU used")
    _training.options(parser)
    parser.add_argument("--output", type=Path, required=True, help="checkpoint.json")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    settings = TrainingSettings(**arguments.settings)
    # Imported after the arguments are known to be right: torch takes seconds.
    from stiltsweep.models import gpus
    from stiltsweep.training import processes

    count = processes.wanted(arguments.gpus) if arguments.processes is None else arguments.processes
    if not processes.is_member():
        gpus.take(count, arguments.share)
    if count > 1 and not processes.is_member():
        os.environ[warm.VARIABLE] = "off"
        return processes.launch(count)
    from stiltsweep.kinds import Representation
    from stiltsweep.training.loop import Run, train
    from stiltsweep.training.mixture import Mixture

    run = Run(
        start=arguments.start,
        data=arguments.data,
        output=arguments.output,
        settings=settings,
        representation=Representation.of(arguments.representation),
        seed=arguments.seed,
        prune=arguments.prune,
        chance=arguments.chance,
        identity={"stage": arguments.stage, **arguments.identity},
        mixture=None if arguments.mixture is None else Mixture.of(arguments.mixture),
        more_updates=arguments.more_updates,
        keep_head=arguments.keep_head,
        **_training.computing(arguments),
    )
    train(run, threads=arguments.threads)
    return 0


run_script(main)
