"""What all kinds share: the protocol of a form, pooling, special tokens and windows.

Shape letters: B inputs of a batch, L token positions, H width.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import cuts
from ..models.batches import Batch, Example, Input, by_budget
from ..models.tokenizer import Pieces, Tokenizer
from ..records import Meta, Row
from ..settings import Limits, Representation


class Form(ABC):
    """A task's kind on one interface: encodes rows, owns the head's meaning, computes losses, decodes predictions."""

    writes = False
    answers_behind = False
    """Whether an answer stands behind its question, in the positions of one text."""
    splits: tuple[str, ...] = ("test",)
    """What predicting reads; only rows of the last one are predicted."""
    options: dict[str, Any]
    """What training found out about the task and prediction needs; saved with the checkpoint."""

    def __init__(self, meta: Meta, tokenizer: Tokenizer, limits: Limits, representation: Representation) -> None:
        self.meta = meta
        self.tokenizer = tokenizer
        self.limits = limits
        self.representation = representation
        self.options = {}

    @property
    def metric(self) -> str:
        """Name of the metric that is the task's score on this interface."""
        return self.meta.metrics_of("text2text" if self.writes else "encoder")[0]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Width of the head; 0: no head."""

    @property
    def published_head(self) -> bool:
        """Whether the head is that of the published studies' classes, and not one linear layer."""
        return self.options.get("head") == "roberta"

    @abstractmethod
    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """Encode rows in order; in `training`, examples carry labels and useless rows are left out."""

    @abstractmethod
    def weight(self, example: Example) -> float:
        """How many terms an example adds to the summed loss; an update divides by the sum over its whole batch."""

    @abstractmethod
    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Return the summed (not averaged) loss of a batch."""

    @abstractmethod
    def predict(self, model: Any, batch: Batch) -> list[Any]:
        """Return one raw output per example of the batch, on the CPU."""

    @abstractmethod
    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[Any]:
        """Return one prediction per row, as its metric wants it."""

    def sentinels(self, raw: Sequence[Any]) -> int | None:
        """Return how many generated answers would have held one of T5's sentinels; None where nothing is generated."""
        return None

    def cuts(
        self,
        examples: Sequence[Example],
        rows: Sequence[Row] = (),
        raw: Sequence[Any] = (),
        predictions: Sequence[Any] = (),
    ) -> dict[str, int]:
        """Count what is cut of some examples (see `cuts`).

        Args:
          examples: of training, or of test.
          rows, raw, predictions: of test, what belongs to the examples; of training nothing.
        """
        return cuts.total(example.cut for example in examples)

    def used_ids(self, example: Example) -> Iterator[int]:
        """Yield every id (full vocabulary) that the model meets with an example."""
        for one in example.inputs:
            yield from one.ids
        yield from example.target

    def groups(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return the rows (by index) in the groups that are predicted apart from each other; here all are one group.

        A group that occurs in several languages, as shared candidates do, is computed once.
        """
        return [list(range(len(rows)))]

    def micro_batches(
        self, examples: Sequence[Example], tokens: int, *, padded: bool = True
    ) -> Iterator[list[Example]]:
        """Cut the examples of one update into what goes through the model at once (see `by_budget`)."""
        return by_budget(examples, tokens, padded=padded)

    def learn_options(self, rows: Sequence[Row]) -> None:  # noqa: B027 (most kinds have none)
        """Set `options` from the training rows."""

    def drawn(self, example: Example, seed: int) -> Example:
        """Return a training example as the model meets it in an epoch of its own seed; most kinds leave it as it is."""
        return example

    def new_head(self, width: int, pieces: int, seed: int, dropout: float = 0.0) -> nn.Module | None:
        """Return a freshly initialised head: normal with deviation 0.02, zero bias, drawn from `seed` alone.

        Args:
          width: of the hidden states.
          pieces: of the job's vocabulary, for a head over it.
          seed: of the head.
          dropout: of the model, which the published heads share.
        """
        if not self.outputs:
            return None
        head = self._layers(width, dropout) if self.published_head else nn.Linear(width, self.outputs)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in head.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(0.0, 0.02, generator=generator)
                    layer.bias.zero_()
        return head

    def _layers(self, width: int, dropout: float) -> nn.Module:
        """Return the published head's layers: of one vector a text, those of RobertaForSequenceClassification."""
        return nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, self.outputs)
        )


def pool(hidden_BLH: Tensor, mask_BL: Tensor, how: str) -> Tensor:
    """Return one vector per input (B, H): the mean over its tokens, or its first token."""
    if how == "first":
        return hidden_BLH[:, 0]
    weights_BL1 = mask_BL[..., None].to(hidden_BLH.dtype)
    return (hidden_BLH * weights_BL1).sum(1) / weights_BL1.sum(1)


class Layout:
    """Where a tokenizer puts its special tokens around one text or a pair."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._one = tokenizer.special_layout(pair=False)
        self._two = tokenizer.special_layout(pair=True)

    @property
    def room_one(self) -> int:
        """Special tokens around one text."""
        return sum(map(len, self._one))

    @property
    def room_two(self) -> int:
        """Special tokens around a pair."""
        return sum(map(len, self._two))

    def one(self, ids: Sequence[int]) -> Input:
        """Wrap one text."""
        before, after = self._one
        return Input([*before, *ids, *after])

    def two(self, first: Sequence[int], second: Sequence[int]) -> Input:
        """Wrap a pair."""
        before, between, after = self._two
        start = len(before) + len(first) + len(between)
        return Input([*before, *first, *between, *second, *after], start)

    @property
    def first_start(self) -> int:
        """Position of the first piece of the first (or only) text."""
        return len(self._one[0])


def cut_pair(first: Sequence[int], second: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Shorten a pair to `room` pieces, piece by piece from the longer text, from the second where both are as long.

    So do BERT's own script, jiant, and the slow tokenizers that XTREME ran with.
    """
    excess = len(first) + len(second) - room
    if excess <= 0:
        return first, second
    keep_first, keep_second = len(first), len(second)
    longer_by = abs(keep_first - keep_second)
    take = min(excess, longer_by)
    if keep_first >= keep_second:
        keep_first -= take
    else:
        keep_second -= take
    rest = excess - take
    keep_first -= rest // 2
    keep_second -= (rest + 1) // 2
    return first[:keep_first], second[:keep_second]


def shorten(pieces: Pieces, room: int, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Cut a text to `room` pieces, from the end of a part of it that can best be spared.

    Args:
      pieces: of the text.
      room: pieces to keep.
      spans: [start, end) in code points of the parts that give way, one after the other, each from its end; after them
        the whole text does.
    """
    excess = len(pieces.ids) - room
    dropped: set[int] = set()
    for start, end in (*spans, (0, sys.maxsize)):
        if len(dropped) >= excess:
            break
        inside = [i for i, (a, b) in enumerate(pieces.offsets) if start <= a and b <= end and i not in dropped]
        dropped.update(inside[max(0, len(inside) - (excess - len(dropped))) :])
    return [one for i, one in enumerate(pieces.ids) if i not in dropped]


def windows(length: int, room: int, stride: int, step: int | None = None) -> list[tuple[int, int]]:
    """Return (start, end) of windows of at most `room` that cover `length` positions.

    They overlap by `stride`, or begin `step` after each other, but leave nothing out between them.
    """
    if length <= room:
        return [(0, length)]
    step = max(1, room - stride) if step is None else min(step, room)
    spans = []
    start = 0
    while True:
        end = min(start + room, length)
        spans.append((start, end))
        if end == length:
            return spans
        start += step
