"""Few-shot transfer: a model trained on a target sees a few examples of a language before it predicts there.

The second stage of Lauscher et al. 2020 (EMNLP, arXiv:2005.00633) and Zhao et al. 2021 (ACL, arXiv:2012.15682): every
language starts from the same checkpoint, with an optimizer of its own; there is no development data to select by, so
the number of updates is stated. Nothing of it is kept but the predictions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import digest
from ..kinds import Form
from ..models.batches import Example
from ..models.device import Device, autocast
from ..models.load import trainable
from ..models.task_model import TaskModel
from ..records import Meta, Row, read_rows
from ..settings import MICRO_BATCH_TOKENS, TrainingSettings
from .optimizer import build
from .plan import derived_seed, epoch_batches, learning_rate_factor, total_updates
from .processes import Team


class Shots:
    """Trains a model on a few examples of one language after the other, each time from the same weights."""

    def __init__(self, settings: Mapping[str, Any], seed: int) -> None:
        """Take what a rule says.

        Args:
          settings: `examples`, `epochs` and `batch_size` of a language; `sources`, languages without shots; and
            `training`, the settings of the target's own training with the learning rate of this one.
          seed: the run's.
        """
        self.examples = int(settings["examples"])
        self.sources = frozenset(settings["sources"])
        self.seed = seed
        training = TrainingSettings(**settings["training"])
        # The head is a new one no more. A warm-up of so many updates is of the target's thousands: the few of these
        # would end in the midst of it.
        self.training = replace(
            training,
            head_learning_rate=None,
            epochs=float(settings["epochs"]),
            batch_size=int(settings["batch_size"]),
            batch_tokens=None,
            max_updates=None,
            warmup=training.warmup if training.warmup < 1 else 0,
        )
        self._start: list[torch.Tensor] = []
        self._names: list[str] = []

    def rows(self, path: Path, meta: Meta) -> list[Row]:
        """Draw the rows of a language; an id that several languages have is drawn in all of them.

        Raises:
          UserError: there are too few.
        """
        if meta.language in self.sources:
            return []
        split = "train" if meta.counts.get("train") else "dev"
        read = read_rows(path, split)
        if len(read) < self.examples:
            raise UserError(
                f"{path}: {len(read)} rows of train or dev, fewer than the {self.examples} shots that are asked for."
            )
        read.sort(key=lambda row: digest([self.seed, "shots", row["id"]]))
        if meta.labels and "label" in read[0]:
            # Of every label as many: what a few rows happen to hold more of would be answered more often.
            turn: Counter[str] = Counter()
            for row in read:
                row["turn"] = turn[row["label"]]
                turn[row["label"]] += 1
            read.sort(key=lambda row: row.pop("turn"))
        return read[: self.examples]

    def attach(self, model: TaskModel) -> list[str]:
        """Have a model trained from what it is now; return the names of the backbone's parameters that will change."""
        settings = self.training
        named = trainable(
            model,
            freeze_embeddings=settings.freeze_embeddings,
            freeze_layers=settings.freeze_layers,
            adapters=settings.lora,
            seed=derived_seed(self.seed, "shots", "adapters"),
        )
        self._names = [name for name, _ in named]
        self._start = [parameter.detach().clone() for parameter in _changing(model)]
        return self._names

    def train(self, model: TaskModel, form: Form, examples: Sequence[Example], device: Device) -> None:
        """Put a model's weights back to where they were and train on these examples; without any they stay there.

        Raises:
          UserError: the loss or its gradient is not finite.
        """
        with torch.no_grad():
            for parameter, start in zip(_changing(model), self._start, strict=True):
                parameter.copy_(start)
        if not examples:
            return
        settings = self.training
        parameters = dict(model.backbone.named_parameters())
        optimizer = build([(name, parameters[name]) for name in self._names], model.heads, settings, Team())
        scaler = torch.amp.GradScaler(device.torch.type, enabled=device.precision == "fp16")
        order = derived_seed(self.seed, "shots", "order")
        lengths = [example.length for example in examples]
        peaks = [group["lr"] for group in optimizer.param_groups]
        total = total_updates(len(examples), settings)
        model.train()
        update = 0
        for epoch in range(int(settings.epochs)):
            for batch in epoch_batches(lengths, settings.batch_size, order, epoch):
                torch.manual_seed(derived_seed(self.seed, "shots", "update", update))
                factor = learning_rate_factor(update, total, settings)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
                drawn = [form.drawn(examples[i], derived_seed(self.seed, "shots", epoch)) for i in batch]
                self._update(model, form, drawn, optimizer, scaler, device)
                update += 1
        optimizer.zero_grad(set_to_none=True)
        model.eval()

    def _update(
        self,
        model: TaskModel,
        form: Form,
        examples: list[Example],
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        device: Device,
    ) -> None:
        """Make one step from one batch, in as many micro-batches as its length asks for."""
        examples.sort(key=lambda example: (example.length, example.row))
        weight = sum(form.weight(example) for example in examples)
        padded = model.unpadded is None
        total = 0.0
        tokens = self.training.micro_batch_tokens or MICRO_BATCH_TOKENS
        for part in form.micro_batches(examples, tokens, padded=padded):
            with autocast(device):
                loss = model(model.collate(part, device.torch)) / weight
            scaler.scale(loss).backward()
            total += float(loss.detach())
        scaler.unscale_(optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(_changing(model), self.training.clip_norm or math.inf))
        # In fp16 the scaler leaves an update out whose gradient overflows, and scales less from there on.
        if not (math.isfinite(total) and (math.isfinite(norm) or scaler.is_enabled())):
            raise UserError(
                f"{form.meta.task}/{form.meta.language}: the loss of its shots is {total} and the gradient's norm "
                f"{norm}. Lower shots.learning_rate."
            )
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)


def _changing(model: TaskModel) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
