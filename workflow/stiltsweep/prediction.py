"""Predicting: one checkpoint, all languages of a target, one file per language, each written as it is finished."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch

from . import identity as identities
from . import layers
from .cuts import describe
from .errors import UserError
from .facts import SIDED
from .files import MADE_BY, SEAL, canonical, digest, read_record, write_json, write_record
from .kinds import Form, form
from .models import architectures, frozen, unpadded
from .models.batches import Example, by_budget, size
from .models.device import Device, autocast, choose
from .models.load import Source, build, vocabulary
from .models.task_model import TaskModel
from .models.tokenizer import Tokenizer
from .records import Meta, Row, data_of, read_meta, read_rows
from .settings import PredictionSettings, TrainingSettings

log = logging.getLogger(__name__)
_GPU_TOKENS = 1 << 16
"""Of a batch on a GPU, at least: with fewer it waits for its next work."""


def run(model: TaskModel, examples: Sequence[Example], batch_tokens: int) -> list[Any]:
    """Return one raw output per example.

    Batches are cut from the examples in order of length, so they depend on these examples alone. Where one does not fit
    in the device's memory, they are half as large from there on.
    """
    device = next(model.parameters()).device
    padded = model.unpadded is None
    if not padded:
        batch_tokens = max(batch_tokens, _GPU_TOKENS)
    order = sorted(range(len(examples)), key=lambda i: (examples[i].length, i))
    raw: list[Any] = [None] * len(examples)
    was_training = model.training
    model.eval()
    at = 0
    with torch.inference_mode(), _finite(model):
        while at < len(order):
            left = (examples[order[i]] for i in range(at, len(order)))
            part = next(by_budget(left, batch_tokens, padded=padded))
            try:
                batch = model.collate(part, device)
                outputs = model.form.predict(model, batch)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                torch.cuda.empty_cache()
                batch_tokens = size(part, padded=padded) // 2
                log.warning("out of memory: batches of %d tokens from here on", batch_tokens)
                continue
            for index, output in zip(order[at : at + len(part)], outputs, strict=True):
                raw[index] = output
            at += len(part)
    model.train(was_training)
    return raw


@contextlib.contextmanager
def _finite(model: TaskModel) -> Iterator[None]:
    """Refuse what a model makes of its inputs if it is not finite: an answer chosen by NaN looks like any other.

    The outcome stays on the device until the end, so that no batch waits for it.

    Raises:
      UserError: a hidden state is NaN or infinite.
    """
    backbone = model.backbone
    parts = [architectures.reader(backbone)]
    if backbone.config.is_encoder_decoder:
        parts.append(backbone.get_decoder())
    seen: list[torch.Tensor] = []

    def look(states: torch.Tensor) -> None:
        fine = torch.isfinite(states).all()
        seen[:] = [seen[0] & fine] if seen else [fine]

    def hook(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        look(output.last_hidden_state)

    hooks = [part.register_forward_hook(hook) for part in parts if part is not None]
    model.look = look
    try:
        yield
    finally:
        model.look = None
        for one in hooks:
            one.remove()
    if seen and not bool(seen[0]):
        raise UserError(
            f"{type(backbone).__name__}: its hidden states are not finite (NaN or infinity), so nothing is predicted "
            "with it. Its weights are damaged or diverged in training: look at history.jsonl beside the checkpoint; or "
            "they do not bear the precision: try precision: fp32."
        )


class FewShot(Protocol):
    """What trains a model on some examples of a language before it predicts there: `training.shots`."""

    @property
    def seed(self) -> int:
        """Of the run; it draws the examples."""

    @property
    def training(self) -> TrainingSettings:
        """How it is trained."""

    def rows(self, path: Path, meta: Meta) -> list[Row]:
        """Return the rows that are drawn of a language; none of one that the target was trained in."""

    def attach(self, model: TaskModel) -> list[str]:
        """Take a model; return the names of the backbone's parameters that will change."""

    def train(self, model: TaskModel, form: Form, examples: Sequence[Example], device: Device) -> None:
        """Train it from the weights that it was taken with; without examples it has these again."""


@dataclass(frozen=True)
class _Work:
    """One language still to be predicted."""

    language: str
    meta: Meta
    rows: list[Row]
    form: Form
    examples: list[Example]
    groups: list[tuple[str, list[int]]]
    """Rows (by index) that are predicted apart from the others, each group with a digest of its rows."""
    shots: list[Example]
    """What the model is trained on before."""
    made_from: Mapping[str, Any]
    """What its file says of its identity."""


class _Encoder:
    """Encodes rows; a group of rows that languages share is held once, however many have it."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self._known: dict[str, tuple[list[Row], list[Example]]] = {}

    def __call__(self, form: Form, rows: list[Row]) -> tuple[list[Row], list[Example], list[tuple[str, list[int]]]]:
        """Return the rows, their examples and their groups."""
        groups = form.groups(rows)
        if len(groups) == 1:
            return rows, form.encode(rows, training=False), [("", groups[0])]
        examples: list[Any] = [None] * len(rows)
        named = []
        for group in groups:
            content = sha256()
            for index in group:
                content.update(canonical(rows[index]).encode("utf-8") + b"\n")
            key = content.hexdigest()
            self.times[key] += 1
            if key not in self._known:
                mine = [rows[index] for index in group]
                self._known[key] = mine, form.encode(mine, training=False)
            for index, row, example in zip(group, *self._known[key], strict=True):
                rows[index], examples[index] = row, example
            named.append((key, group))
        return rows, examples, named


def predict(
    start: Path,
    data: Mapping[str, Path],
    output: Path,
    settings: PredictionSettings,
    *,
    identity: Mapping[str, Any],
    task: str | None = None,
    threads: int = 1,
    layer_data: Path | None = None,
    shots: FewShot | None = None,
) -> None:
    """Predict a target in every language, skipping those whose file is there, made from the same.

    A language that cannot be predicted costs only itself: the index names it and the reason, and has the others.

    Args:
      start: model.json or checkpoint.json.
      data: language -> prepared Parquet file.
      output: the index, written last; each language's file lies beside it as {language}.json.
      settings: lengths, representation and batch size.
      identity: the cell's names without its language, for the record.
      task: the target that the data are to be of; None: whatever they are of.
      threads: CPU threads.
      layer_data: prepared English data, where the settings have them choose the layer that retrieval compares.
      shots: trains the model on examples of each language before it predicts there, as the settings say.

    Raises:
      UserError: the model cannot be built, or not one language has predictions.
    """
    source = Source.read(start)
    source.check_length(settings.limits.max_length)
    source.check()
    trained = source.trained
    failed: dict[str, str] = {}
    metas: dict[str, Meta] = {}
    for language, path in data.items():
        with _alone(language, failed):
            metas[language] = data_of(path, task, language)
    chosen_by = None if layer_data is None else asdict(read_meta(layer_data))
    made_from = {
        language: identities.of(
            identities.predicted(
                settings=settings.to_json(),
                start=source.record,
                base=source.about,
                meta=asdict(meta),
                layer_data=chosen_by,
                seed=None if shots is None else shots.seed,
            )
        )
        for language, meta in metas.items()
    }
    folder = output.parent
    todo = [language for language in metas if _there(folder / f"{language}.json", made_from[language]) is None]
    # Jobs of several checkpoints begin with different languages: so one finds what another has made (see `frozen`).
    first = int(digest(output.parts[-5:])[:8], 16) % max(1, len(todo))
    todo = todo[first:] + todo[:first]
    log.info("predict %s: %d of %d languages to do", "/".join(map(str, identity.values())), len(todo), len(data))
    if todo:
        began = time.monotonic()
        device = choose(settings.precision, source.model_type, threads)
        tokenizer = Tokenizer.from_directory(source.base)
        encode = _Encoder()
        work = []
        options = dict((trained or {}).get("form_options", {}))
        if settings.layer_from and "layer" not in options:
            if layer_data is None:
                raise UserError(f"{output}: a layer is to be chosen by English dev data, and none are given.")
            options["layer"], _ = layers.best(source, layer_data, settings, tokenizer, device)
        for language in todo:
            with _alone(language, failed):
                kind = form(
                    metas[language],
                    tokenizer,
                    interface=source.interface,
                    limits=settings.limits,
                    representation=settings.representation,
                )
                source.check_length(kind.limits.max_length, kind.limits.max_target_length if kind.answers_behind else 0)
                kind.options.update(options)
                path, meta = data[language], metas[language]
                work.append(_encoded(language, path, meta, kind, encode, shots, made_from[language]))
        # Gradients of a pruned vocabulary depend on its size (their norm, Adafactor's moments), so no language shares
        # one with those that happen to be in the same job: a job that goes on has fewer than one that does all.
        alone = shots is not None and settings.prune
        parts = [[one] for one in work] if alone else [work] if work else []
        tokens = sum(_predict_all(part, source, encode, folder, settings, device, failed, shots) for part in parts)
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
    if len(failed) == len(data):
        reasons = "".join(f"\n  {language}: {reason}" for language, reason in failed.items())
        raise UserError(f"{output}: not one language could be predicted:{reasons}")
    made = {language: _there(folder / f"{language}.json", made_from[language]) for language in metas}
    write_record(
        output,
        {
            **identity,
            "task": task,
            "interface": source.interface,
            # Of every language what its predictions were made from, and the digest of its file.
            "languages": {
                language: {"error": failed.get(language, "not written")}
                if (seal := made.get(language)) is None
                else {key: made_from[language][key] for key in (identities.IDENTITY, identities.DECISIVE)}
                | {SEAL: seal}
                for language in sorted(data)
            },
            "checkpoint_sha256": source.weights_sha256,
            "recipe": digest([source.record.get("recipe", source.weights_sha256), settings.to_json()]),
            MADE_BY: identities.made_by(),
            "learned": _learned(source, next(iter(metas.values()))),
            "failed_stages": _failed_before(source),
            "train_tokens": (trained or {}).get("total_tokens", 0),
            "train_updates": (trained or {}).get("total_updates", 0),
            "train_micro_batch_tokens": (trained or {}).get("micro_batch_tokens"),
        },
    )


def _learned(source: Source, meta: Meta) -> bool:
    """Return whether what decides a target's predictions has learned something.

    That is the training on the target or, where it has none, the head: one that no training of its kind and labels has
    shaped is random, or another task's, and never has. A start that ended at chance is told apart (`failed_stages`).
    """
    trained = source.trained or {}
    if source.interface == "encoder" and meta.kind not in SIDED:
        own = bool(trained.get("head_sha256")) and trained.get("kind") == meta.kind
        return own and list(trained.get("labels", meta.labels)) == list(meta.labels) and trained.get("learned", True)
    return bool(trained.get("learned", True)) if trained.get("target") else True


def _failed_before(source: Source) -> list[str]:
    """Return the trainings that ended at chance level, but for the target's own (see `_learned`)."""
    trained = source.trained or {}
    return list(trained.get("failed_stages", [])) if trained.get("target") else source.failed_stages


@contextlib.contextmanager
def _alone(language: str, failed: dict[str, str]) -> Iterator[None]:
    """Keep a failure to its language: log it and note the reason in `failed`."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, UserError)
        reason = str(error) if expected else f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        log.error("predict %s failed: %s", language, reason, exc_info=not expected)
        failed[language] = reason


def _encoded(
    language: str,
    path: Path,
    meta: Meta,
    kind: Form,
    encode: _Encoder,
    shots: FewShot | None,
    made_from: Mapping[str, Any],
) -> _Work:
    """Read and encode one language."""
    seen = [] if shots is None else shots.rows(path, meta)
    learnt = kind.encode(seen, training=True)
    if seen and not learnt:
        raise UserError(
            f"{path}: nothing can be learnt from its {len(seen)} shots at max_length {kind.limits.max_length}."
        )
    rows = [row for split in kind.splits for row in read_rows(path, split)]
    if not meta.counts.get("test"):
        raise UserError(f"{path}: no test examples for {meta.task}/{language}.")
    rows, examples, groups = encode(kind, rows)
    return _Work(language, meta, rows, kind, examples, groups, learnt, made_from)


def _predict_all(
    work: Sequence[_Work],
    source: Source,
    encode: _Encoder,
    folder: Path,
    settings: PredictionSettings,
    device: Device,
    failed: dict[str, str],
    shots: FewShot | None,
) -> int:
    """Build the model and predict some languages with it; return their number of tokens."""
    model = build(
        source,
        work[0].form,
        kept=vocabulary(source, [(one.form, [*one.examples, *one.shots]) for one in work], prune=settings.prune),
        seed=0,
        dropout=0.0 if shots is None else shots.training.dropout,
        head_from=_head(source),
    )
    model.to(device.torch)
    if device.torch.type == "cuda":
        unpadded.attach(model)
    changed = [] if shots is None else shots.attach(model)
    frozen.share(model, source, changed, device.precision)
    tokens = 0
    shared: dict[str, list[Any]] = {key: [] for key, times in encode.times.items() if times > 1}
    for one in work:
        with _alone(one.language, failed):
            if shots is not None:
                model.form = one.form
                shots.train(model, one.form, one.shots, device)
            tokens += _predict_language(model, one, folder, settings, device, shared)
    return tokens


def _head(source: Source) -> Path | None:
    return source.checkpoint if source.trained and source.trained.get("head_sha256") else None


def _there(path: Path, made_from: Mapping[str, Any]) -> str | None:
    """Return the digest of a language's file, None if there is none that is whole and made from this."""
    try:
        record = read_record(path)
    except UserError:
        return None
    return str(record[SEAL]) if record.get(identities.IDENTITY) == made_from[identities.IDENTITY] else None


def _predict_language(
    model: TaskModel,
    work: _Work,
    folder: Path,
    settings: PredictionSettings,
    device: Device,
    shared: dict[str, list[Any]],
) -> int:
    """Predict one language, write its file and return its number of tokens.

    `shared` holds the outputs of the groups that several languages have, once computed. Groups are batched apart, so
    the numbers are the same whichever language computes a shared one.
    """
    model.form = work.form
    raw: list[Any] = [None] * len(work.examples)
    with autocast(device):
        for key, group in work.groups:
            outputs = shared.get(key) or run(model, [work.examples[i] for i in group], settings.batch_tokens)
            if key in shared:
                shared[key] = outputs
            for index, output in zip(group, outputs, strict=True):
                raw[index] = output
    predictions = work.form.decode(work.rows, work.examples, raw)
    tokens = sum(len(one.ids) for example in work.examples for one in example.inputs)
    # Mining tunes on its dev split: what is cut of that is not test data.
    tested = [i for i, row in enumerate(work.rows) if row["split"] == work.form.splits[-1]]
    cut = work.form.cuts(
        [work.examples[i] for i in tested],
        [work.rows[i] for i in tested],
        [raw[i] for i in tested],
        [predictions[i] for i in tested],
    )
    answered = [(row["id"], p) for row, p in zip(work.rows, predictions, strict=True) if p is not None]
    write_record(
        folder / f"{work.language}.json",
        {
            **work.made_from,
            "language": work.language,
            "task": work.meta.task,
            "data_sha256": work.meta.sha256,
            "tokens": tokens,
            "sentinels": work.form.sentinels(raw),
            "cut": cut,
            # Rows that the model was trained on before, and only for this.
            "shots": len({example.row for example in work.shots}),
            "retrieval_layer": work.form.options.get("layer", settings.representation.layer)
            if work.meta.kind in SIDED
            else None,
            "ids": [identity for identity, _ in answered],
            "predictions": [prediction for _, prediction in answered],
        },
        indent=None,
    )
    log.info("predict %s/%s: %d examples", work.meta.task, work.language, len(answered))
    if told := describe(cut):
        log.warning("predict %s/%s: %s", work.meta.task, work.language, told)
    return tokens
