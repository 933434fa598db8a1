"""Vectors of words at every layer of a checkpoint's encoder, all layers from one forward pass.

Shape letters: B inputs of a batch, L token positions, H width, W words of a batch, N words of a language, K layers,
embeddings included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..kinds.base import Layout
from ..models.batches import Batch, Example, by_budget
from ..models.task_model import TaskModel
from ..models.tokenizer import Tokenizer, overlapping
from ..records import Row, text_and_spans
from .words import Word

LONGEST = 2048
"""Token slots of one sentence at most, where the model's positions allow more; words after them are left out."""


@dataclass(frozen=True)
class Encoded:
    """A sentence as the model reads it."""

    example: Example
    pieces: Sequence[tuple[int, int]]
    """For each token [first, end) of its sub-words' positions; (0, 0) where the model sees nothing of it."""

    @property
    def seen(self) -> list[bool]:
        """For each token whether the model sees anything of it."""
        return [end > first for first, end in self.pieces]

    def shares(self, place: int) -> bool:
        """Whether a token has a sub-word in common with another: its vector is then that of both, in part or whole."""
        first, end = self.pieces[place]
        others = (one for at, one in enumerate(self.pieces) if at != place)
        return any(max(first, start) < min(end, stop) for start, stop in others)


class Reading:
    """The objective of a model that is only read: no head, no loss (see `models.batches.Objective`)."""

    writes = False

    def used_ids(self, example: Example) -> Iterator[int]:
        """Yield the ids of a sentence."""
        for one in example.inputs:
            yield from one.ids

    def new_head(self, width: int, pieces: int, seed: int, dropout: float = 0.0) -> nn.Module | None:
        """Return none."""
        return None

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Refuse: nothing is trained."""
        raise NotImplementedError

    def predict(self, model: Any, batch: Batch) -> list[Any]:
        """Refuse: nothing is predicted."""
        raise NotImplementedError


def word_pieces(spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return for each word [first, end) of the sub-words that stand for some of its characters; (0, 0) if none does.

    Both sequences are in text order; a sub-word may stand for several words (Thai), a word for several sub-words.
    Sub-words of width zero (a lone leading-space mark) stand for no character.

    Args:
      spans: [start, end) of each word in code points.
      offsets: the same of each sub-word (`tokenizer.Pieces.offsets`).
    """
    standing = [at for at, (start, end) in enumerate(offsets) if start < end]
    starts, ends = [offsets[at][0] for at in standing], [offsets[at][1] for at in standing]
    parts = (standing[overlapping(span, starts, ends)] for span in spans)
    return [(part[0], part[-1] + 1) if part else (0, 0) for part in parts]


def encode(rows: Sequence[Row], tokenizer: Tokenizer, longest: int) -> list[Encoded]:
    """Encode sentences of kind `word_features`, each in one input of at most `longest` positions."""
    layout = Layout(tokenizer)
    sentences = [text_and_spans(row) for row in rows]
    encoded = []
    pieces = tokenizer.pieces([text for text, _ in sentences])
    for number, ((_, spans), segmented) in enumerate(zip(sentences, pieces, strict=True)):
        room = longest - layout.room_one
        places = [
            (first + layout.first_start, end + layout.first_start) if first < end <= room else (0, 0)
            for first, end in word_pieces(spans, segmented.offsets)
        ]
        encoded.append(Encoded(Example(number, [layout.one(segmented.ids[:room])]), places))
    return encoded


def vectors(
    model: TaskModel,
    encoded: Sequence[Encoded],
    words: Sequence[Word],
    pooling: Sequence[str],
    batch_tokens: int,
) -> dict[str, NDArray[np.float32]]:
    """Return pooling -> (K, N, H) vectors of words; layer 0 is the embeddings' output.

    Sentences that hold none of the words are not read. Of every batch only the words' vectors are kept.

    Args:
      model: in evaluation mode.
      encoded: sentences.
      words: which words, in the order of the result.
      pooling: some of `first`, `last` and `mean`.
      batch_tokens: token slots, padding included, of one forward pass.
    """
    device = next(model.parameters()).device
    wanted: dict[int, list[int]] = {}
    for at, word in enumerate(words):
        wanted.setdefault(word.sentence, []).append(at)
    order = sorted(wanted, key=lambda index: (encoded[index].example.length, index))
    pooled: dict[str, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for part in by_budget((encoded[index].example for index in order), batch_tokens):
            batch = model.collate(part, device)
            states = model.layers(batch)
            length = batch.ids_BL.shape[1]
            places, rows = [], []
            for b, example in enumerate(part):
                for at in wanted[example.row]:
                    first, end = encoded[example.row].pieces[words[at].place]
                    places.append((b * length + first, b * length + end))
                    rows.append(at)
            for k, state_BLH in enumerate(states):
                flat = state_BLH.float().flatten(0, 1)
                for how in pooling:
                    if how not in pooled:
                        pooled[how] = np.empty((len(states), len(words), flat.shape[1]), dtype=np.float32)
                    pooled[how][k, rows] = _pooled(flat, places, how).cpu().numpy()
    return pooled


def _pooled(flat: Tensor, places: Sequence[tuple[int, int]], how: str) -> Tensor:
    """Return (W, H): one vector a word, of the [first, end) rows of `flat` that are its sub-words."""
    if how == "first":
        return flat[[first for first, _ in places]]
    if how == "last":
        return flat[[end - 1 for _, end in places]]
    owners = torch.tensor([word for word, (first, end) in enumerate(places) for _ in range(first, end)])
    rows = torch.tensor([at for first, end in places for at in range(first, end)])
    sums = flat.new_zeros(len(places), flat.shape[1]).index_add_(0, owners.to(flat.device), flat[rows.to(flat.device)])
    return sums / torch.tensor([[end - first] for first, end in places], device=flat.device)
