"""Which layer of an encoder retrieval compares, where no study names one: the one that finds most on English dev data.

Nothing of the target, and no test data, plays a part. Every checkpoint has its own, as each is chosen by English dev.

Shape letters: B inputs of a batch, N texts, H width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .errors import UserError
from .kinds import Form, form
from .kinds.base import pool
from .kinds.search import nearest
from .languages import ENGLISH
from .metrics import METRICS
from .metrics.ranking import DEPTH
from .models.batches import Example, by_budget
from .models.device import Device, autocast
from .models.load import Source, build, vocabulary
from .models.task_model import TaskModel
from .models.tokenizer import Tokenizer
from .records import Meta, Row, data_of, read_rows
from .settings import PredictionSettings

log = logging.getLogger(__name__)

METRIC = "mrr_at_20"
"""What decides: the mean reciprocal rank of the first right text. Of equal layers the lowest is taken."""
MOST = 2000
"""Texts that ask; of more, as many are taken evenly from all."""


def best(
    source: Source, data: Path, settings: PredictionSettings, tokenizer: Tokenizer, device: Device
) -> tuple[int, list[float]]:
    """Return the hidden state whose vectors find most, and the score of each (points).

    Args:
      source: checkpoint or model.
      data: prepared English data of `settings.layer_from["task"]`.
      settings: of the prediction.
      tokenizer: the model's.
      device: where it runs.

    Raises:
      UserError: the data hold no two texts to tell apart.
    """
    chosen = settings.layer_from or {}
    meta = data_of(data, chosen["task"], ENGLISH)
    known = pairs(meta, read_rows(data, "dev"), chosen.get("label"))
    queries = list(known)[:: max(1, -(-len(known) // MOST))]
    candidates = list(dict.fromkeys(text for query in queries for text in known[query]))
    if len(candidates) < 2:
        raise UserError(f"{data}: its dev data hold {len(candidates)} texts to find; a layer is chosen by two or more.")
    rows: list[Row] = [{"id": str(n), "text": text, "side": "query", "gold": []} for n, text in enumerate(queries)]
    rows += [{"id": str(n), "text": text, "side": "candidate", "gold": []} for n, text in enumerate(candidates)]
    about = Meta(meta.task, meta.language, "retrieval", [], [METRIC], {}, meta.sha256, "none")
    kind = form(
        about, tokenizer, interface=source.interface, limits=settings.limits, representation=settings.representation
    )
    examples = kind.encode(rows, training=False)
    kept = vocabulary(source, [(kind, examples)], prune=settings.prune)
    model = build(source, kind, kept=kept, seed=0, dropout=0.0).to(device.torch).eval()
    with torch.inference_mode(), autocast(device):
        layers = _vectors(model, kind, examples, settings)
    place = {text: str(n) for n, text in enumerate(candidates)}
    gold = [{"gold": {place[text] for text in known[query]}} for query in queries]
    scores = [_score(vectors[: len(queries)], vectors[len(queries) :], gold) for vectors in layers]
    layer = int(np.argmax(scores))
    told = ", ".join(f"{n}: {score:.2f}" for n, score in enumerate(scores))
    log.info("retrieval compares hidden state %d, by %s of %s/en dev (%s)", layer, METRIC, meta.task, told)
    return layer, scores


def pairs(meta: Meta, rows: Sequence[Row], label: str | None) -> dict[str, dict[str, None]]:
    """Return texts that ask -> the texts that belong to them, in the order of the data.

    Args:
      meta: of the data.
      rows: the dev split.
      label: of a classification, that of pairs that mean the same.
    """
    belonging: dict[str, dict[str, None]] = {}
    for first, second in _of_kind(meta.kind, rows, label):
        belonging.setdefault(first, {})[second] = None
    return belonging


def _of_kind(kind: str, rows: Sequence[Row], label: str | None) -> Iterator[tuple[str, str]]:
    if kind == "retrieval":
        texts = {row["id"]: row["text"] for row in rows if row["side"] == "candidate"}
        yield from ((row["text"], texts[one]) for row in rows if row["side"] == "query" for one in row["gold"])
    elif kind == "span_qa":
        yield from ((row["question"], row["context"]) for row in rows if row["answers"])
    elif kind == "multiple_choice":
        for row in rows:
            asked = row["context"] if row.get("question") is None else f"{row['context']} {row['question']}"
            yield asked, row["choices"][row["label"]]
    else:
        yield from ((row["text_a"], row["text_b"]) for row in rows if row["label"] == label and row.get("text_b"))


def _vectors(
    model: TaskModel, kind: Form, examples: Sequence[Example], settings: PredictionSettings
) -> list[NDArray[np.float32]]:
    """Return of every layer, the embeddings first, the unit vectors (N, H) of all texts."""
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda i: (examples[i].length, i))
    of_layers: list[list[Any]] = []
    at = 0
    while at < len(order):
        part = next(by_budget((examples[order[i]] for i in range(at, len(order))), settings.batch_tokens))
        batch = model.collate(part, device)
        layers = model.layers(batch)
        of_layers = of_layers or [[None] * len(examples) for _ in layers]
        for layer, hidden_BLH in enumerate(layers):
            vectors_BH = pool(hidden_BLH, batch.mask_BL, kind.representation.retrieval_pooling).float()
            unit_BH = vectors_BH / vectors_BH.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            for index, vector in zip(order[at : at + len(part)], unit_BH.cpu().numpy(), strict=True):
                of_layers[layer][index] = vector
        at += len(part)
    return [np.stack(vectors) for vectors in of_layers]


def _score(queries: NDArray[np.float32], candidates: NDArray[np.float32], gold: Sequence[Mapping[str, Any]]) -> float:
    rule = METRICS[METRIC]
    _, order = nearest(queries, candidates, DEPTH)
    sums = [rule.statistics(row, list(map(str, one)), "en") for row, one in zip(gold, order.tolist(), strict=True)]
    return float(rule.score(np.sum(sums, axis=0)))
