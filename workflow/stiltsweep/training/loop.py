"""One training run, from prepared data and starting weights to a checkpoint; killed at any moment, it goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import UserError
from ..files import write_json, write_text
from ..kinds import Form, Limits, Representation, form
from ..metrics import metric
from ..models.batches import Example, by_budget, collate
from ..models.device import Device, choose
from ..models.load import Source, TaskModel, build, kept_ids, save_checkpoint, trainable
from ..models.tokenizer import Tokenizer
from ..prediction import run as predict_examples
from ..records import Meta, Row, read_meta, read_rows
from ..settings import TrainingSettings
from . import optimizer as optimizers
from .plan import derived_seed, epoch_batches, evaluation_points, learned, learning_rate_factor, total_updates
from .state import StateFolder, load_optimizer, optimizer_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What decides the result of a training run."""

    start: Path
    """model.json or the checkpoint.json of the stage before."""
    data: Path
    """English prepared data."""
    output: Path
    """The checkpoint.json to write, last of all."""
    settings: TrainingSettings
    representation: Representation
    seed: int
    prune: bool
    """Keep only the embedding rows the data needs."""
    chance: float
    """Dev score, in points, of a run that learned nothing."""
    identity: Mapping[str, Any]
    """Names of the run (stage, model, intermediate, target), for the record."""


@dataclass
class _Progress:
    """What a run carries from update to update besides weights and optimizer; all of it is saved."""

    update: int = 0
    tokens: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_score: float = -math.inf
    best_update: int = 0
    stale: int = 0
    """Evaluations since the best one."""
    seconds: float = 0.0
    """Wall time of all tries."""


class Interrupted(Exception):
    """The job was asked to stop; its state is saved."""


def train(run: Run, threads: int = 1) -> None:
    """Train, keep the state with the best English dev score, and write the checkpoint.

    A restart finds the training state beside the output and goes on from there; on the CPU the result is the same,
    byte for byte, as that of an undisturbed run.

    Raises:
      UserError: bad data or settings, a state of another run, or a loss that is not finite.
      Interrupted: SIGTERM, SIGINT or SIGUSR1 arrived.
    """
    settings = run.settings
    source = Source.read(run.start)
    device = choose(settings.precision, source.model_type, threads)
    tokenizer = Tokenizer.from_directory(source.base)
    meta = read_meta(run.data)
    _check_length(settings.max_length, source)
    limits = Limits(settings.max_length, settings.stride, settings.max_target_length)
    kind = form(meta, tokenizer, interface=source.interface, limits=limits, representation=run.representation)
    train_rows, dev_rows = read_rows(run.data, "train"), read_rows(run.data, "dev")
    if not train_rows or not dev_rows:
        raise UserError(f"{run.data}: training needs the splits train and dev; it has {meta.counts}.")
    kind.learn_options(train_rows)
    examples = kind.encode(train_rows, training=True)
    dev_examples = kind.encode(dev_rows, training=False)
    if not examples:
        raise UserError(f"{run.data}: not one training example can be learnt from at max_length {settings.max_length}.")
    used = set(chain.from_iterable(kind.used_ids(e) for e in chain(examples, dev_examples)))
    kept = kept_ids(used, source) if run.prune else None
    torch.manual_seed(derived_seed(run.seed, "build"))
    model = build(source, kind, kept=kept, seed=derived_seed(run.seed, "head"), dropout=settings.dropout)
    names = [
        name
        for name, _ in trainable(
            model, freeze_embeddings=settings.freeze_embeddings, freeze_layers=settings.freeze_layers
        )
    ]
    trainer = _Trainer(run, source, meta, model, names, examples, dev_rows, dev_examples, device)
    with _stop_signals() as stop:
        trainer.go(stop)
    digests = save_checkpoint(run.output.parent, model, source, names)
    progress = trainer.progress
    parent = source.trained or {}
    write_text(
        run.output.parent / "history.jsonl",
        "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in progress.history),
    )
    write_json(run.output.parent / "timing.json", trainer.timing())
    write_json(
        run.output,
        {
            **run.identity,
            "seed": run.seed,
            "base": os.path.relpath(source.base, run.output.parent),
            "parent_sha256": source.weights_sha256,
            **digests,
            "task": meta.task,
            "kind": meta.kind,
            "interface": source.interface,
            "form_options": kind.options,
            "data_sha256": meta.sha256,
            "settings": settings.to_json(),
            "vocabulary": {"pruned": run.prune, "pieces": len(kept) if kept is not None else None},
            # A model that writes text needs the pieces of its answers whatever the test data hold.
            "output_ids": sorted({i for e in examples for i in e.target}) if kind.text2text and run.prune else [],
            "examples": len(examples),
            "dropped_examples": len(train_rows) - len(examples),
            "updates": progress.update,
            "tokens": progress.tokens,
            "total_updates": progress.update + parent.get("total_updates", 0),
            "total_tokens": progress.tokens + parent.get("total_tokens", 0),
            "dev": {"metric": meta.metrics[0], "score": progress.best_score, "update": progress.best_update},
            "chance": run.chance,
            "learned": parent.get("learned", True) and learned(progress.best_score, run.chance, len(dev_rows)),
            "precision": device.precision,
            "versions": versions(),
        },
    )
    trainer.state.clear()
    log.info("done: dev %s %.2f after update %d", meta.metrics[0], progress.best_score, progress.best_update)


def _check_length(max_length: int, source: Source) -> None:
    positions = source.about.get("max_positions")
    if positions is not None and max_length > positions:
        raise UserError(f"training.max_length: {max_length}, but {source.about['name']} has {positions} positions.")


def versions() -> dict[str, str]:
    """Return the versions that decide numbers."""
    import accelerate
    import tokenizers
    import transformers

    return {
        "stiltsweep": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "accelerate": accelerate.__version__,
    }


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect stop signals in a list that the loop looks at between updates."""
    caught: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.signal(number, lambda number, _: caught.append(number)) for number in signals]
    try:
        yield caught
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


class _Trainer:
    """The loop over updates."""

    def __init__(
        self,
        run: Run,
        source: Source,
        meta: Meta,
        model: TaskModel,
        names: Sequence[str],
        examples: list[Example],
        dev_rows: list[Row],
        dev_examples: list[Example],
        device: Device,
    ) -> None:
        from accelerate import Accelerator

        settings = run.settings
        self.run, self.meta, self.settings, self.device = run, meta, settings, device
        self.examples, self.dev_rows, self.dev_examples = examples, dev_rows, dev_examples
        self.total = total_updates(len(examples), settings)
        self.evaluations = set(evaluation_points(self.total, settings.evaluations))
        self.accelerator = Accelerator(mixed_precision=device.mixed_precision, cpu=device.torch.type == "cpu")
        parameters = dict(model.backbone.named_parameters())
        named = [(name, parameters[name]) for name in names]
        optimizer = optimizers.build(named, model.head, settings)
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        # The parameters training changes: what the best state copies and the training state saves.
        self.trained: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.best: dict[str, Tensor] = {}
        self.budget = settings.micro_batch_tokens
        self.progress = _Progress()
        self.state = StateFolder(
            run.output.parent / "state",
            {
                "settings": settings.to_json(),
                "seed": run.seed,
                "base": source.about["weights_sha256"],
                "weights": source.weights_sha256,
                "data": meta.sha256,
                "versions": versions(),
            },
        )

    def go(self, stop: list[int]) -> None:
        """Run all updates that are left and leave the model in its best state."""
        self._restore()
        progress, began, saved = self.progress, time.monotonic(), time.monotonic()
        before = progress.seconds
        self.model.train()
        for batch in islice(self._batches(), progress.update, self.total):
            if self.settings.patience is not None and progress.stale >= self.settings.patience:
                log.info("stop early: no better dev score in %d evaluations", progress.stale)
                break
            self._update(batch)
            progress.update += 1
            if progress.update in self.evaluations:
                self._evaluate()
            progress.seconds = before + time.monotonic() - began
            if stop or time.monotonic() - saved >= 60 * self.settings.save_minutes:
                self._save()
                saved = time.monotonic()
                if stop:
                    raise Interrupted(f"signal {stop[0]} after update {progress.update}; the training state is saved")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(self.best[name])

    def _batches(self) -> Iterator[list[int]]:
        lengths = [example.length for example in self.examples]
        epoch = 0
        while True:
            yield from epoch_batches(lengths, self.settings.batch_size, derived_seed(self.run.seed, "order"), epoch)
            epoch += 1

    def _update(self, batch: list[int]) -> None:
        """Make one optimizer step from one global batch, in as many micro-batches as memory asks for."""
        progress, settings = self.progress, self.settings
        factor = learning_rate_factor(progress.update, self.total, settings)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        while True:
            try:
                loss = self._gradients(batch)
                break
            except torch.OutOfMemoryError:
                self.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                self.budget //= 2
                if self.budget < max(self.examples[i].length for i in batch):
                    raise
                log.warning("out of memory: micro-batches of %d tokens from here on", self.budget)
        norm = float(self.accelerator.clip_grad_norm_(list(self.trained.values()), settings.clip_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"{self.run.output}: the loss is {loss} and the gradient's norm {norm} in update {progress.update + 1} "
                f"at learning rate {settings.learning_rate * factor:.3g}. Nothing was changed by it; the last saved "
                f"state is in {self.state.folder}. Lower the learning rate, or use bf16 or fp32."
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.tokens += sum(len(one.ids) for i in batch for one in self.examples[i].inputs)
        progress.history.append(
            {"update": progress.update + 1, "loss": loss, "gradient_norm": norm, "learning_rate_factor": factor}
        )

    def _gradients(self, batch: list[int]) -> float:
        """Accumulate the gradient of the batch's mean loss and return that loss.

        Every micro-batch's summed loss is divided by the weight of the whole batch, so the gradient does not depend on
        how the batch is cut.
        """
        model = self.model
        kind: Form = model.form
        # Dropout depends on seed and update alone, so a resumed run draws the same.
        torch.manual_seed(derived_seed(self.run.seed, "update", self.progress.update))
        examples = sorted((self.examples[i] for i in batch), key=lambda e: (e.length, e.row))
        weight = sum(kind.weight(example) for example in examples)
        total = 0.0
        for part in by_budget(examples, self.budget):
            loss = model(collate(part, model.dense, self.device.torch, token_types=model.token_types)) / weight
            self.accelerator.backward(loss)
            total += float(loss.detach())
        return total

    def _evaluate(self) -> None:
        """Score English dev and keep the state if it is the best so far; a tie keeps the earlier one."""
        progress, kind = self.progress, self.model.form
        with self.accelerator.autocast():
            raw = predict_examples(self.model, self.dev_examples, self.settings.micro_batch_tokens)
        predictions = kind.decode(self.dev_rows, self.dev_examples, raw)
        main = metric(self.meta.metrics[0])
        sums = np.sum(
            [
                main.statistics(row, prediction, self.meta.language)
                for row, prediction in zip(self.dev_rows, predictions, strict=True)
            ],
            axis=0,
        )
        score = float(np.nan_to_num(main.score(sums)))
        progress.history.append({"update": progress.update, "dev": score, "metric": main.name})
        log.info("update %d of %d: dev %s %.2f", progress.update, self.total, main.name, score)
        if score > progress.best_score:
            progress.best_score, progress.best_update, progress.stale = score, progress.update, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.trained.items()}
        else:
            progress.stale += 1

    def _save(self) -> None:
        tensors, values = optimizer_tensors(self.optimizer)
        for prefix, group in (("model.", self.trained), ("best.", self.best)):
            tensors.update({prefix + name: tensor.detach().cpu().contiguous() for name, tensor in group.items()})
        progress = self.progress
        about = {
            **values,
            "progress": {**vars(progress), "best_score": progress.best_score if self.best else None},
            "budget": self.budget,
        }
        self.state.save(progress.update, tensors, about)
        log.info("training state saved after update %d", progress.update)

    def _restore(self) -> None:
        found = self.state.load()
        if found is None:
            return
        update, tensors, values = found
        progress = values["progress"]
        # JSON has no infinity: the score of a run not yet evaluated is saved as null.
        best_score = -math.inf if progress["best_score"] is None else progress["best_score"]
        self.progress = _Progress(**{**progress, "best_score": best_score})
        self.budget = values["budget"]
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(tensors["model." + name])
        self.best = {
            name.removeprefix("best."): tensor.to(self.device.torch)
            for name, tensor in tensors.items()
            if name.startswith("best.")
        }
        load_optimizer(self.optimizer, tensors, values)
        log.info("resumed after update %d of %d", update, self.total)

    def timing(self) -> dict[str, Any]:
        """Return what the run cost; not part of the checkpoint, since it differs from run to run."""
        seconds = self.progress.seconds
        return {
            "seconds": round(seconds, 3),
            "tokens": self.progress.tokens,
            "tokens_per_second": round(self.progress.tokens / max(seconds, 1e-9), 1),
            "peak_memory_mb": self.device.peak_memory_mb(),
            "device": self.device.name,
            "precision": self.device.precision,
            "micro_batch_tokens": self.budget,
        }


__all__ = ["Interrupted", "Run", "train", "versions"]
