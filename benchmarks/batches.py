"""Measure batches: how often examples that share one share one again, and what padding costs, on sweeps/commands.yaml.

Three orders of the same encoded training examples: `sorted`, without noise on the lengths (the order of version 0.1
but for its short batches); `ours`; and `random`. For each the share of pairs of a batch that are in one batch again in
the next epoch, and under another seed; padding where an update is one batch (a GPU); and padding and micro-batches an
epoch where it is cut at `micro_batch_tokens`, of a CPU (see models/batches.py).

Example:
  python benchmarks/batches.py
  python benchmarks/batches.py --tasks slots qa --epochs 20
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

from measuring import prepared, write

from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models.batches import Example, by_budget
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import read_meta, read_rows
from stiltsweep.settings import MICRO_BATCH_TOKENS, TrainingSettings
from stiltsweep.training import plan

TASKS = ("intent", "slots", "qa", "reply-choice", "name-typing")
NOISES = {"sorted": 0.0, "ours": plan._NOISE, "random": 1e9}
BATCH = 16
MODEL = "models/e5-small/model.json"
REPRESENTATION = Representation("mean", -1, "mean", "query: ")
Epoch = list[list[int]]


def examples(work: Path, task: str) -> list[Example]:
    """Return the encoded training examples of a task."""
    path = work / f"data/{task}/en.parquet"
    tokenizer = Tokenizer.from_directory((work / MODEL).parent)
    limits = Limits(TrainingSettings().max_length, TrainingSettings().stride, TrainingSettings().max_target_length)
    kind = form(read_meta(path), tokenizer, interface="encoder", limits=limits, representation=REPRESENTATION)
    rows = read_rows(path, "train")
    kind.learn_options(rows)
    return kind.encode(rows, training=True)


def met_again(epochs: Sequence[Epoch]) -> float:
    """Return the share, in per cent, of the pairs that share a batch in one epoch and share one in the next too."""
    met = [{pair for batch in epoch for pair in combinations(sorted(batch), 2)} for epoch in epochs]
    return 100 * fmean(len(one & other) / len(one) for one, other in pairwise(met))


def measured(encoded: Sequence[Example], order: str, epochs: int) -> dict[str, Any]:
    """Return one row of the table."""
    lengths = [example.length for example in encoded]
    with patch.object(plan, "_NOISE", NOISES[order]):
        of_a_run = [plan.epoch_batches(lengths, BATCH, 0, epoch) for epoch in range(epochs)]
        of_seeds = [plan.epoch_batches(lengths, BATCH, seed, 0) for seed in range(epochs)]
    tokens = epochs * sum(len(one.ids) for example in encoded for one in example.inputs)
    updates = [[encoded[i] for i in batch] for epoch in of_a_run for batch in epoch]
    sorted_updates = (sorted(batch, key=lambda e: e.length) for batch in updates)
    micro = [part for batch in sorted_updates for part in by_budget(batch, MICRO_BATCH_TOKENS)]

    def padding(batches: Sequence[Sequence[Example]]) -> float:
        slots = sum(max(e.length for e in batch) * sum(len(e.inputs) for e in batch) for batch in batches)
        return 100 * (slots / tokens - 1)

    shortest = [min(epoch, key=len) for epoch in of_a_run]
    numbers = {
        "% met again, epochs": met_again(of_a_run),
        "% met again, seeds": met_again(of_seeds),
        "% padding": padding(updates),
        "% padding, micro-batches": padding(micro),
        "micro-batches": len(micro) / epochs,
        "mean length": fmean(lengths),
        "in the smallest batch": fmean(fmean(lengths[i] for i in batch) for batch in shortest),
    }
    return {"order": order, **{name: round(number, 1) for name, number in numbers.items()}}


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--results", type=Path, default=Path("results/commands"), help="of sweeps/commands.yaml")
    parser.add_argument("--output", type=Path, default=Path("results/bench/batches.json"))
    arguments = parser.parse_args(argv)
    work = prepared(arguments.results, [MODEL, *(f"data/{task}/en.parquet" for task in arguments.tasks)])
    rows = []
    for task in arguments.tasks:
        encoded = examples(work, task)
        about = {"task": task, "examples": len(encoded), "batches": -(-len(encoded) // BATCH)}
        rows += [{**about, **measured(encoded, order, arguments.epochs)} for order in NOISES]
    write(arguments.output, "Batches: neighbours and padding", {"orders": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
