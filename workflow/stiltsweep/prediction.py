"""Predicting: one checkpoint, all languages of a target, one file per language, each written as it is finished."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .errors import UserError
from .files import digest, read_json, write_json
from .kinds import Form, Limits, Representation, form
from .models.batches import Example, by_budget, collate
from .models.device import choose
from .models.load import Source, TaskModel, build, kept_ids
from .models.tokenizer import Tokenizer
from .records import Meta, Row, read_meta, read_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionSettings:
    """What decides predictions besides weights and data."""

    limits: Limits
    representation: Representation
    batch_tokens: int
    """Token slots, padding included, per forward pass."""
    prune: bool
    """Keep only the embedding rows the data needs."""
    precision: str = "auto"

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> PredictionSettings:
        """Read the JSON a rule passes."""
        return cls(
            Limits(value["max_length"], value["stride"], value["max_target_length"]),
            Representation.of(value["representation"]),
            value["batch_tokens"],
            value["prune"],
            value["precision"],
        )


def run(model: TaskModel, examples: Sequence[Example], batch_tokens: int) -> list[Any]:
    """Return one raw output per example.

    Batches are cut from the examples in order of length, so they depend on these examples alone.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda i: (examples[i].length, i))
    raw: list[Any] = [None] * len(examples)
    was_training = model.training
    model.eval()
    at = 0
    with torch.inference_mode():
        for part in by_budget((examples[i] for i in order), batch_tokens):
            batch = collate(part, model.dense, device, token_types=model.token_types)
            for index, output in zip(order[at : at + len(part)], model.form.predict(model, batch), strict=True):
                raw[index] = output
            at += len(part)
    model.train(was_training)
    return raw


@dataclass(frozen=True)
class _Work:
    """One language still to be predicted."""

    language: str
    meta: Meta
    rows: list[Row]
    form: Form
    examples: list[Example]
    fingerprint: str


def predict(
    start: Path,
    data: Mapping[str, Path],
    output: Path,
    settings: PredictionSettings,
    *,
    identity: Mapping[str, Any],
    threads: int = 1,
) -> None:
    """Predict a target in every language, skipping those whose file is there with the same fingerprint.

    Args:
      start: model.json or checkpoint.json.
      data: language -> prepared Parquet file.
      output: the index, written last; each language's file lies beside it as {language}.json.
      settings: lengths, representation and batch size.
      identity: the cell's names without its language, for the record.
      threads: CPU threads.
    """
    source = Source.read(start)
    trained = source.trained
    head_sha256 = (trained or {}).get("head_sha256")
    metas = {language: read_meta(path) for language, path in data.items()}
    fingerprints = {
        language: digest(
            {
                "weights": source.weights_sha256,
                "base": source.about["weights_sha256"],
                "tokenizer": source.about["tokenizer_sha256"],
                "head": head_sha256,
                "data": meta.sha256,
                "settings": asdict(settings),
                "version": __version__,
            }
        )
        for language, meta in metas.items()
    }
    folder = output.parent
    todo = [language for language in data if _fingerprint(folder / f"{language}.json") != fingerprints[language]]
    log.info("predict %s: %d of %d languages to do", "/".join(map(str, identity.values())), len(todo), len(data))
    if todo:
        began = time.monotonic()
        device = choose(settings.precision, source.model_type, threads)
        tokenizer = Tokenizer.from_directory(source.base)
        work = []
        for language in todo:
            meta = metas[language]
            rows = read_rows(data[language], "test")
            if not rows:
                raise UserError(f"{data[language]}: no test examples for {meta.task}/{language}.")
            kind = form(
                meta,
                tokenizer,
                interface=source.interface,
                limits=settings.limits,
                representation=settings.representation,
            )
            kind.options.update((trained or {}).get("form_options", {}))
            work.append(_Work(language, meta, rows, kind, kind.encode(rows, training=False), fingerprints[language]))
        used = chain.from_iterable(one.form.used_ids(example) for one in work for example in one.examples)
        output_ids = (trained or {}).get("output_ids", [])
        kept = kept_ids(chain(used, output_ids), source) if settings.prune else None
        model = build(source, work[0].form, kept=kept, seed=0, dropout=0.0, head_from=_head(source))
        model.to(device.torch)
        tokens = 0
        known: dict[str, list[Any]] = {}
        for one in work:
            tokens += _predict_language(model, one, folder, settings, device.precision, known)
        seconds = time.monotonic() - began
        timing = {
            "seconds": round(seconds, 3),
            "languages": len(work),
            "tokens": tokens,
            "tokens_per_second": round(tokens / seconds, 1),
            "peak_memory_mb": device.peak_memory_mb(),
            "device": device.name,
            "precision": device.precision,
        }
        write_json(folder / "timing.json", timing)
    write_json(
        output,
        {
            **identity,
            "languages": {language: {"fingerprint": fingerprints[language]} for language in sorted(data)},
            "checkpoint_sha256": source.weights_sha256,
            "learned": (trained or {}).get("learned", True),
            "train_tokens": (trained or {}).get("total_tokens", 0),
            "train_updates": (trained or {}).get("total_updates", 0),
        },
    )


def _head(source: Source) -> Path | None:
    return source.checkpoint if source.trained and source.trained.get("head_sha256") else None


def _fingerprint(path: Path) -> str | None:
    """Return the fingerprint of a language's file, None if there is no whole one."""
    try:
        return str(read_json(path)["fingerprint"])
    except (UserError, KeyError, TypeError):
        return None


def _predict_language(
    model: TaskModel,
    work: _Work,
    folder: Path,
    settings: PredictionSettings,
    precision: str,
    known: dict[str, list[Any]],
) -> int:
    """Predict one language, write its file and return its number of tokens.

    `known` holds the outputs of the groups computed so far. Groups are batched apart, so the numbers are the same
    whichever language computes a shared one.
    """
    model.form = work.form
    device = next(model.parameters()).device
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    raw: list[Any] = [None] * len(work.examples)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        groups = work.form.groups(work.rows)
        for group in groups:
            examples = [work.examples[i] for i in group]
            key = digest([one.ids for example in examples for one in example.inputs])
            outputs = known.get(key) or run(model, examples, settings.batch_tokens)
            if len(groups) > 1:
                known[key] = outputs
            for index, output in zip(group, outputs, strict=True):
                raw[index] = output
    predictions = work.form.decode(work.rows, work.examples, raw)
    tokens = sum(len(one.ids) for example in work.examples for one in example.inputs)
    answered = [(row["id"], p) for row, p in zip(work.rows, predictions, strict=True) if p is not None]
    write_json(
        folder / f"{work.language}.json",
        {
            "fingerprint": work.fingerprint,
            "language": work.language,
            "task": work.meta.task,
            "data_sha256": work.meta.sha256,
            "tokens": tokens,
            "ids": [identity for identity, _ in answered],
            "predictions": [prediction for _, prediction in answered],
        },
        indent=None,
    )
    log.info("predict %s/%s: %d examples", work.meta.task, work.language, len(answered))
    return tokens
