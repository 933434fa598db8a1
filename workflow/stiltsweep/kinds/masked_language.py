"""Masked language modelling: plain text on an encoder, some of its pieces hidden and to be found again.

Source: Devlin et al. 2019 (BERT), section 3.1: of 15% of the pieces 80% are replaced by a mask, 10% by a random piece,
and 10% stay. Training draws them anew in every epoch (Liu et al. 2019, RoBERTa).

Shape letters: N masked positions, H width, V pieces of the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..cuts import Cut
from ..errors import UserError
from ..files import digest
from ..models.batches import Batch, Example, Input, moved
from ..models.tokenizer import Tokenizer
from ..records import Row
from .base import Form, Layout

DENSITY = 0.15
_MASKED, _REPLACED = 0.8, 0.1
_STILL = 0
"""The seed that development data are masked with, once and for all."""


class Head(nn.Module):
    """BERT's transform of hidden states and a bias per piece; the output matrix itself is the input embedding's."""

    def __init__(self, width: int, pieces: int, seed: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(pieces))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.dense.weight.normal_(0.0, 0.02, generator=generator)
            self.dense.bias.zero_()

    def forward(self, hidden_NH: Tensor) -> Tensor:
        """Return what is compared with the embeddings of pieces (N, H)."""
        transformed: Tensor = self.norm(functional.gelu(self.dense(hidden_NH)))
        return transformed


class MaskedLanguage(Form):
    """Plain text with masked pieces; the prediction is how many of them were found again.

    `labels` of an example are (position, hidden id) pairs, its `align` the number that its draws depend on.
    """

    @property
    def outputs(self) -> int:
        """No linear head."""
        return 0

    def new_head(self, width: int, pieces: int, seed: int, dropout: float = 0.0) -> nn.Module:
        """Return BERT's head over the job's pieces, new even where the model was published with one."""
        return Head(width, pieces, seed)

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per row, cut at the longest length; in training unmasked (see `drawn`), without empty texts.

        Raises:
          UserError: the model has no piece to mask with.
        """
        layout = Layout(self.tokenizer)
        room = self.limits.max_length - layout.room_one
        whole = [pieces.ids for pieces in self.tokenizer.pieces([row["text"] for row in rows])]
        shortened = [ids[:room] for ids in whole]
        self._mask = mask_id(self.tokenizer)
        self._start = layout.first_start
        self._around = layout.room_one
        # Random pieces are drawn from those that occur, so a pruned vocabulary holds them and changes no draw.
        pieces = np.array(sorted(set(chain.from_iterable(shortened))), dtype=np.int64)
        examples = [
            Example(
                number,
                [layout.one(ids)],
                align=int(digest(["mask", row["id"], row["text"]])[:16], 16),
                cut=Cut(len(whole[number]), len(whole[number]) - len(ids)),
            )
            for number, (row, ids) in enumerate(zip(rows, shortened, strict=True))
            if ids or not training
        ]
        if not training:
            return [self._hide(example, pieces, _STILL) for example in examples]
        self._pieces = pieces
        return examples

    def used_ids(self, example: Example) -> Any:
        """Yield the ids of the text, hidden ones included, and the mask's."""
        yield from super().used_ids(example)
        yield self._mask
        yield from (piece for _, piece in example.labels or ())

    def drawn(self, example: Example, seed: int) -> Example:
        """Mask a text; which pieces and how depends on its id, its text and the epoch's seed alone."""
        return self._hide(example, self._pieces, seed)

    def _hide(self, example: Example, pieces: NDArray[np.int64], seed: int) -> Example:
        ids = list(example.inputs[0].ids)
        places = range(self._start, self._start + len(ids) - self._around)
        rng = np.random.default_rng([example.align, seed])
        labels = []
        for at, how, other in masked(places, pieces, rng):
            labels.append((at, ids[at]))
            if how == "mask":
                ids[at] = self._mask
            elif how == "random":
                ids[at] = other
        return replace(example, inputs=[Input(ids)], labels=labels)

    def weight(self, example: Example) -> float:
        """One term per masked piece."""
        return float(len(example.labels))

    def _logits(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return scores (N, V) at the masked positions alone, and the dense ids (N,) that were there."""
        flat = [(b, at, piece) for b, example in enumerate(batch.examples) for at, piece in example.labels]
        rows, places, pieces = zip(*flat, strict=True) if flat else ((), (), ())
        device = batch.ids_BL.device
        where = moved(torch.tensor([rows, places], dtype=torch.long), device)
        hidden_NH = model.hidden(batch)[where[0], where[1]]
        logits_NV = model.match_pieces(model.head(hidden_NH)) + model.head.bias
        return logits_NV.float(), moved(torch.from_numpy(model.dense.of(pieces)), device)

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy of the masked pieces over the pieces of the job."""
        logits_NV, pieces_N = self._logits(model, batch)
        return functional.cross_entropy(logits_NV, pieces_N, reduction="sum")

    def predict(self, model: Any, batch: Batch) -> list[tuple[int, int]]:
        """Return (masked pieces, right ones) per example."""
        logits_NV, pieces_N = self._logits(model, batch)
        right = iter((logits_NV.argmax(-1) == pieces_N).tolist())
        return [(len(example.labels), sum(next(right) for _ in example.labels)) for example in batch.examples]

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[Any]:
        """Return the counts as they are."""
        return list(raw)


def mask_id(tokenizer: Tokenizer) -> int:
    """Return the piece that stands for a hidden one: the mask, or T5's first sentinel.

    Raises:
      UserError: the tokenizer has neither.
    """
    mask = tokenizer.special["mask"]
    if mask is not None:
        return mask
    if not tokenizer.sentinels:
        raise UserError("masked language modelling: the model's tokenizer has neither a mask nor sentinels.")
    return tokenizer.sentinels[0]


def masked(places: Sequence[int], pieces: NDArray[np.int64], rng: np.random.Generator) -> list[tuple[int, str, int]]:
    """Choose positions to hide: 15% of them and at least one, in order.

    Args:
      places: positions of the text's pieces.
      pieces: ids that a random piece is drawn from.
      rng: of all draws.

    Returns:
      (position, `mask`, `random` or `keep`, a random piece) of each.
    """
    if not places:
        return []
    count = max(1, round(DENSITY * len(places)))
    chosen = np.sort(rng.choice(len(places), size=count, replace=False))
    fates = rng.random(count)
    others = rng.choice(pieces, size=count)
    hows = np.where(fates < _MASKED, "mask", np.where(fates < _MASKED + _REPLACED, "random", "keep"))
    return [(places[i], str(how), int(other)) for i, how, other in zip(chosen, hows, others, strict=True)]
