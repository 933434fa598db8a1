"""Measure training: real tokens per second of this project's loop against Hugging Face's Trainer with its defaults.

Both sides train multilingual-e5-small from the same weights on the same encoded examples of sweeps/commands.yaml, on
one CPU thread in fp32, with the same global batch, rate, schedule, clipping and frozen parameters. The Trainer's are
its own: model class, order, padding, optimizer. Tokens are those of the texts, padding left out; what is timed is the
updates, and what goes through frozen layers before them, not loading, scoring dev or saving. `shared` is the loop on
inputs that another run has brought through the frozen half (models/frozen.py), as every run after the first in a sweep.

  frozen   embeddings and the lower half frozen, as in sweeps/commands.yaml
  whole    nothing frozen

Example:
  python benchmarks/training.py
  python benchmarks/training.py --tasks slots --settings frozen --turns 3 --results results/commands
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import transformers
from measuring import Side, clock, peer_rows, prepared, take_turns, write

from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models import frozen
from stiltsweep.models.batches import Example
from stiltsweep.models.device import choose
from stiltsweep.models.load import Source
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import Meta, read_meta, read_rows
from stiltsweep.settings import FROZEN, TrainingSettings
from stiltsweep.training import loop

TASKS = {"slots": "TokenClassification", "qa": "QuestionAnswering", "intent": "SequenceClassification"}
"""Task of sweeps/commands.yaml -> what transformers calls its kind."""
SETTINGS: dict[str, dict[str, Any]] = {"frozen": {"freeze_embeddings": True, "freeze_layers": 6}, "whole": {}}
REPRESENTATION = Representation("mean", -1, "mean", "query: ")
BASE = TrainingSettings(batch_size=16, epochs=2, learning_rate=3e-4, dropout=0.0, evaluations=1)


def examples(work: Path, task: str) -> tuple[list[Example], Meta]:
    """Return the encoded training examples of a task and what its data say of themselves."""
    source = Source.read(work / "models/e5-small/model.json")
    meta = read_meta(work / f"data/{task}/en.parquet")
    made = form(
        meta,
        Tokenizer.from_directory(source.base),
        interface="encoder",
        limits=Limits(BASE.max_length, BASE.stride, BASE.max_target_length),
        representation=REPRESENTATION,
    )
    return made.encode(read_rows(work / f"data/{task}/en.parquet", "train"), training=True), meta


class Ours:
    """A run of this project."""

    def __init__(self, work: Path, task: str, settings: TrainingSettings) -> None:
        self.work, self.task, self.settings = work, task, settings
        self.losses: list[float] = []

    def __call__(self, *, empty: bool = True) -> tuple[float, float]:
        """Train; return the seconds of its updates. `empty`: no states of frozen layers are there at the beginning."""
        if empty:
            shutil.rmtree(self.work / "models/e5-small" / FROZEN, ignore_errors=True)
        spent = np.zeros(2)

        def timing(work: Callable[..., Any]) -> Any:
            def timed(*arguments: Any) -> Any:
                began = np.array(clock())
                made = work(*arguments)
                spent[:] += np.array(clock()) - began
                return made

            return timed

        with (
            tempfile.TemporaryDirectory(dir=self.work) as folder,
            patch.object(loop._Trainer, "_prepared", timing(loop._Trainer._prepared)),
            patch.object(loop._Trainer, "update", timing(loop._Trainer.update)),
            patch.object(frozen._Frozen, "read", timing(frozen._Frozen.read)),
        ):
            output = Path(folder) / "run" / "checkpoint.json"
            loop.train(
                loop.Run(
                    start=self.work / "models/e5-small/model.json",
                    data=[self.work / f"data/{self.task}/en.parquet"],
                    output=output,
                    settings=self.settings,
                    representation=REPRESENTATION,
                    seed=0,
                    prune=True,
                    chance=0.0,
                    identity={},
                )
            )
            history = [json.loads(line) for line in output.with_name("history.jsonl").read_text().splitlines()]
        self.losses = [entry["loss"] for entry in history if "loss" in entry]
        return float(spent[0]), float(spent[1])


class Theirs:
    """Hugging Face's Trainer on the class that transformers has for the kind."""

    def __init__(self, work: Path, task: str, settings: TrainingSettings) -> None:
        self.folder, self.settings = work / "models/e5-small", settings
        self.found, self.meta = examples(work, task)
        self.kind = TASKS[task]
        self.losses: list[float] = []

    def __call__(self) -> tuple[float, float]:
        """Train; return the seconds of its updates."""
        settings = self.settings
        choose("fp32", "bert", 1)
        torch.manual_seed(0)
        model_class = getattr(transformers, f"BertFor{self.kind}")
        options = {} if self.kind == "QuestionAnswering" else {"num_labels": len(self.meta.labels)}
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = model_class.from_pretrained(self.folder, **options, **dropout)
        if settings.freeze_embeddings:
            model.bert.embeddings.requires_grad_(False)
        for layer in model.bert.encoder.layer[: settings.freeze_layers]:
            layer.requires_grad_(False)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(self.folder / "tokenizer.json"),
            pad_token="<pad>",  # noqa: S106
        )
        padding: Callable[..., Any] = transformers.DataCollatorWithPadding(tokenizer)
        if self.kind == "TokenClassification":
            padding = transformers.DataCollatorForTokenClassification(tokenizer)
        with tempfile.TemporaryDirectory() as folder:
            trainer = transformers.Trainer(
                model,
                transformers.TrainingArguments(
                    output_dir=folder,
                    num_train_epochs=settings.epochs,
                    per_device_train_batch_size=settings.batch_size,
                    learning_rate=settings.learning_rate,
                    weight_decay=settings.weight_decay,
                    warmup_steps=settings.warmup,
                    max_grad_norm=settings.clip_norm,
                    # Every loss is wanted, and nothing else that is not the work itself.
                    logging_steps=1,
                    save_strategy="no",
                    report_to=[],
                    disable_tqdm=True,
                    use_cpu=True,
                ),
                data_collator=padding,
                train_dataset=peer_rows(self.found, self.meta.kind),
            )
            trainer.remove_callback(transformers.PrinterCallback)
            began = clock()
            trainer.train()
            spent = np.array(clock()) - np.array(began)
            self.losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return float(spent[0]), float(spent[1])


def epochs(losses: list[float], count: int) -> str:
    """Return the mean loss of each epoch."""
    return " ".join(f"{part.mean():.3f}" for part in np.array_split(np.array(losses), count))


def against_trainer(work: Path, tasks: list[str], names: list[str], turns: int) -> list[dict[str, Any]]:
    """Train with both sides in turns."""
    found = []
    for name in names:
        settings = replace(BASE, **SETTINGS[name])
        for task in tasks:
            ours, theirs = Ours(work, task, settings), Theirs(work, task, settings)
            tokens = sum(len(one.ids) for example in theirs.found for one in example.inputs) * int(settings.epochs)
            sides: dict[str, Side] = {"ours": ours, "shared": partial(ours, empty=False), "Trainer": theirs}
            if name == "whole":
                del sides["shared"]
            seconds = take_turns(sides, turns)
            rates = {side: tokens / cpu for side, (cpu, _) in seconds.items()}
            found.append(
                {
                    "settings": name,
                    "task": task,
                    "real tokens": tokens,
                    "ours, tokens/s": round(rates["ours"]),
                    "shared, tokens/s": round(rates["shared"]) if "shared" in rates else "",
                    "Trainer, tokens/s": round(rates["Trainer"]),
                    "ratio": round(rates["ours"] / rates["Trainer"], 2),
                    "ratio, shared": round(rates["shared"] / rates["Trainer"], 2) if "shared" in rates else "",
                    "ratio of wall": round(seconds["Trainer"][1] / seconds["ours"][1], 2),
                    "loss by epoch, ours": epochs(ours.losses, int(settings.epochs)),
                    "loss by epoch, Trainer": epochs(theirs.losses, int(settings.epochs)),
                    "rate of plain products reached": round(_products(rates["ours"], settings), 2),
                }
            )
            print(found[-1], flush=True)
    return found


def _products(rate: float, settings: TrainingSettings) -> float:
    """Return the floating-point rate of training as a share of that of a plain product of the model's widest layer.

    Per token, a layer multiplies by 4 H^2 + 2 H F weights: 2 operations each forward, 4 more where gradients flow.
    Attention's own products, some percent at these lengths, and the head are not counted.
    """
    hidden, wide, layers = 384, 1536, 12
    passes = 2 * layers + 4 * (layers - settings.freeze_layers)
    per_token = passes * (4 * hidden**2 + 2 * hidden * wide)
    a, b = torch.randn(192, hidden), torch.randn(hidden, wide)
    times = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(20):
            a @ b
        times.append((time.process_time() - began) / 20)
    return rate * per_token * float(np.median(times)) / (2 * 192 * hidden * wide)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("results/commands"), help="of sweeps/commands.yaml")
    parser.add_argument("--output", type=Path, default=Path("results/bench/training.json"))
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    files = ["models/e5-small/model.json", *(f"data/{task}/en.parquet" for task in arguments.tasks)]
    work = prepared(arguments.results, files)
    found = {"Trainer": against_trainer(work, arguments.tasks, arguments.settings, arguments.turns)}
    write(arguments.output, "Training, measured", found)


if __name__ == "__main__":
    main()
