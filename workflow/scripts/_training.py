"""What the scripts that train share: the options that decide no number, and what of them a run is told."""

from __future__ import annotations

import argparse
import json
from typing import Any


def options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a training, and how it computes."""
    parser.add_argument("--settings", type=json.loads, default={}, help="training settings as JSON")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number rounds differently")
    parser.add_argument("--share", type=int, default=1, help="jobs of one GPU that share a card")
    parser.add_argument("--save-minutes", type=float, help="minutes between saves; left out: the settings'")
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="compute activations twice instead of keeping them"
    )
    parser.add_argument("--no-cuda-graphs", action="store_true", help="replay nothing as graphs of a GPU")
    parser.add_argument("--tracking", help="where to send losses and dev scores: tensorboard, trackio, wandb or mlflow")


def computing(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `training.loop.Run` that say how it computes."""
    return {
        "save_minutes": arguments.save_minutes,
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "cuda_graphs": not arguments.no_cuda_graphs,
        "share": arguments.share,
        "tracking": arguments.tracking,
    }
