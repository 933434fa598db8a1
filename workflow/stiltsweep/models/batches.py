"""What models read: encoded examples, the dense ids of a job, and padded batches.

Shape letters: B inputs of a batch, L token positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..cuts import NOTHING, Cut

_BUSY = 192
"""Token slots from which a larger batch makes a CPU core hardly faster."""


@dataclass(slots=True)
class Input:
    """One sequence for the model."""

    ids: list[int]
    """Ids of the full vocabulary, special tokens included."""
    second: int = -1
    """Where the second segment begins (BERT's token types); -1: there is none."""


@dataclass(slots=True)
class Example:
    """One row, encoded: its windows, its choices, or just its text."""

    row: int
    """Index into the rows."""
    inputs: list[Input]
    labels: Any = None
    """Training target; what it is depends on the kind."""
    align: Any = None
    """What decoding needs to find its way back to the row."""
    target: list[int] = field(default_factory=list)
    """Ids of the output text (text-to-text training)."""
    cut: Cut = NOTHING
    """What its inputs and its target lack of its texts."""

    @property
    def length(self) -> int:
        """Tokens of the longest input."""
        return max(len(one.ids) for one in self.inputs)

    @property
    def slots(self) -> int:
        """Token slots this example takes when its inputs are padded to their longest."""
        return self.length * len(self.inputs)


@dataclass
class Batch:
    """Padded inputs of some examples; ids are dense (see `vocabulary`)."""

    examples: list[Example]
    ids_BL: Tensor
    mask_BL: Tensor
    types_BL: Tensor | None

    @property
    def owners(self) -> list[int]:
        """For each input the index of its example."""
        return [index for index, example in enumerate(self.examples) for _ in example.inputs]


@dataclass(frozen=True)
class Dense:
    """The dense ids of a job: every id of the full vocabulary, or only the kept ones."""

    kept: np.ndarray[Any, np.dtype[np.int64]] | None
    pad: int
    """Pad id of the full vocabulary."""

    def of(self, ids: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Map full ids to dense ids.

        Raises:
          KeyError: an id was not kept: a bug, since the kept ids are collected from the same examples.
        """
        array = np.asarray(ids, dtype=np.int64)
        if self.kept is None:
            return array
        dense = np.searchsorted(self.kept, array)
        if len(array) and (dense.max() >= len(self.kept) or not np.array_equal(self.kept[dense], array)):
            raise KeyError("an id outside the kept vocabulary")
        return dense

    def full(self, ids: Sequence[int]) -> list[int]:
        """Map dense ids back."""
        return list(ids) if self.kept is None else [int(self.kept[i]) for i in ids]

    def full_tensor(self, ids: Tensor) -> Tensor:
        """Map a tensor of dense ids back."""
        return ids if self.kept is None else torch.from_numpy(self.kept[ids.numpy()])


def collate(examples: list[Example], dense: Dense, device: torch.device, *, token_types: bool) -> Batch:
    """Pad the inputs of some examples to their longest."""
    inputs = [one for example in examples for one in example.inputs]
    longest = max(len(one.ids) for one in inputs)
    ids = np.full((len(inputs), longest), int(dense.of([dense.pad])[0]), dtype=np.int64)
    mask = np.zeros((len(inputs), longest), dtype=np.int64)
    types = np.zeros((len(inputs), longest), dtype=np.int64) if token_types else None
    for index, one in enumerate(inputs):
        ids[index, : len(one.ids)] = dense.of(one.ids)
        mask[index, : len(one.ids)] = 1
        if types is not None and one.second >= 0:
            types[index, one.second : len(one.ids)] = 1
    return Batch(
        examples,
        torch.from_numpy(ids).to(device),
        torch.from_numpy(mask).to(device),
        None if types is None else torch.from_numpy(types).to(device),
    )


def by_budget(examples: Iterable[Example], tokens: int) -> Iterator[list[Example]]:
    """Cut a sequence of examples into batches of at most `tokens` padded slots (or one example, if that is longer).

    A batch also ends where its padding would pass a tenth of it, once it is large enough to keep a CPU core busy. So
    examples in order of length waste little, whatever the budget.
    """
    batch: list[Example] = []
    inputs, longest, used = 0, 0, 0
    for example in examples:
        wider, more = max(longest, example.length), inputs + len(example.inputs)
        filled = used + sum(len(one.ids) for one in example.inputs)
        wasteful = longest * inputs >= _BUSY and filled < 0.9 * wider * more
        if batch and (wider * more > tokens or wasteful):
            yield batch
            batch, wider, more = [], example.length, len(example.inputs)
            filled = sum(len(one.ids) for one in example.inputs)
        batch.append(example)
        inputs, longest, used = more, wider, filled
    if batch:
        yield batch


def packs(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Put inputs together in rows of about `room` places, as even as they get; return each row's inputs.

    The longest first, each into the row that is emptiest so far.
    """
    rows: list[list[int]] = [[] for _ in range(-(-sum(lengths) // room))]
    filled = [0] * len(rows)
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        emptiest = filled.index(min(filled))
        rows[emptiest].append(index)
        filled[emptiest] += lengths[index]
    return [row for row in rows if row]


class Objective(Protocol):
    """What a model needs of a task's kind: its head and its loss (see `kinds`)."""

    text2text: bool
    """Whether the model writes text."""

    def used_ids(self, example: Example) -> Iterator[int]:
        """Yield every id (full vocabulary) that the model meets with an example."""

    def new_head(self, width: int, pieces: int, seed: int, dropout: float = 0.0) -> nn.Module | None:
        """Return a freshly initialised head for hidden states (.., width), None where the model has its own."""

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Return the summed loss of a batch."""

    def predict(self, model: Any, batch: Batch) -> list[Any]:
        """Return one raw output per example."""
