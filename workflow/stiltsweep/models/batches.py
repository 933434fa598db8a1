"""What models read: encoded examples, the dense ids of a job, and padded batches.

Shape letters: B inputs of a batch, L token positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..cuts import NOTHING, Cut

Item = TypeVar("Item")
ALIGNED = 8
"""Places that kernels of a GPU read at once."""
_FEW = 256
"""Tokens that cost a GPU hardly anything."""
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


def rounded_up(number: int, bits: int, *, least: int = ALIGNED) -> int:
    """Return the next number that has but its first binary digit and `bits` more, and is a multiple of `least`."""
    step = max(least, 1 << max(0, (number - 1).bit_length() - 1 - bits))
    return number + -number % step


@dataclass(frozen=True)
class Places:
    """Where the tokens of a batch's texts are: one after the other (N of them), and in padded texts (B, L)."""

    mask_BL: Tensor
    """Whether there is a token."""
    places_N: Tensor
    """Of each token its place among B * L."""
    tokens_P: Tensor
    """Of each of the B * L places its token; some token where there is none."""
    positions_N: Tensor
    """Of each token its position in its text, from 0."""
    starts: Tensor
    """Where each text begins among the N tokens, and where the last one ends (B + 1, int32)."""
    longest: int
    """Tokens of the longest text, or more."""
    real_N: Tensor | None = None
    """Where numbers are rounded up: whether a token is one, or fills up; what fills up is the last text of `starts`."""

    @classmethod
    def of(cls, lengths: Sequence[int], width: int, device: torch.device, *, rounded: bool = False) -> Places:
        """Return the places of texts of so many tokens, each padded to a width.

        Args:
          lengths: tokens of each text.
          width: L.
          device: of the tensors.
          rounded: have N, the texts in `starts` and `longest` rounded up, so that few sizes occur.
        """
        counts = np.asarray(lengths, dtype=np.int64)
        starts = np.concatenate([[0], counts.cumsum()])
        real, longest = int(starts[-1]), int(counts.max())
        places = np.arange(width)
        mask = places < counts[:, None]
        # The places of padding stand for the last token of the text before them, or any other: nobody looks.
        tokens = np.minimum(starts[:-1, None] + places, real - 1)
        real_places = np.flatnonzero(mask)
        of_N: Tensor | None = None
        if rounded:
            # Of few tokens many may be added: a GPU is done with them before its host has launched what is next.
            whole = rounded_up(real + 1, 4, least=_FEW)
            texts = rounded_up(len(counts), 2)
            starts = np.concatenate([starts, np.full(texts - len(counts), real), [whole]])
            longest = rounded_up(max(longest, whole - real, _FEW), 0)
            real_places = np.concatenate([real_places, np.zeros(whole - real, dtype=np.int64)])
            of_N = moved(torch.from_numpy(np.arange(whole) < real), device)
        return cls(
            mask_BL=moved(torch.from_numpy(mask), device),
            places_N=moved(torch.from_numpy(real_places), device),
            tokens_P=moved(torch.from_numpy(tokens.ravel()), device),
            positions_N=moved(torch.from_numpy(real_places % width), device),
            starts=moved(torch.from_numpy(starts.astype(np.int32)), device),
            longest=longest,
            real_N=of_N,
        )

    @property
    def tensors(self) -> list[Tensor]:
        """What `with_tensors` puts back."""
        some = [self.mask_BL, self.places_N, self.tokens_P, self.positions_N, self.starts]
        return some if self.real_N is None else [*some, self.real_N]

    def with_tensors(self, tensors: Sequence[Tensor]) -> Places:
        """Return the same places with other tensors of the same sizes."""
        mask_BL, places_N, tokens_P, positions_N, starts, *real_N = tensors
        return Places(mask_BL, places_N, tokens_P, positions_N, starts, self.longest, *real_N)

    def gather(self, of_BL: Tensor) -> Tensor:
        """Return of padded texts (B, L, ..) the tokens (N, ..)."""
        return _take(of_BL.flatten(0, 1), self.places_N, self.tokens_P, self.mask_BL.flatten())

    def spread(self, of_N: Tensor) -> Tensor:
        """Return tokens (N, ..) as padded texts (B, L, ..); what stands for padding is without meaning, but finite."""
        spread = _take(of_N, self.tokens_P, self.places_N, self.real_N)
        return spread.view(*self.mask_BL.shape, *spread.shape[1:])


def _take(of: Tensor, index: Tensor, back: Tensor, real: Tensor | None) -> Tensor:
    """Return  of[index]  where each row that counts is taken once, so that nothing is added up on the way back.

    Args:
      of: rows.
      index: which to take.
      back: of each row of `of`, where it stands in what is taken.
      real: which rows of `of` count; None: all. What came back for others is dropped.
    """
    taken: Tensor = _Take.apply(of, index, back, real)  # type: ignore[no-untyped-call]
    return taken


class _Take(torch.autograd.Function):
    """See `_take`."""

    @staticmethod
    def forward(context: Any, of: Tensor, index: Tensor, back: Tensor, real: Tensor | None) -> Tensor:
        context.back, context.real = back, real
        return of.index_select(0, index)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = gradients[0].index_select(0, context.back)
        if context.real is not None:
            gradient.mul_(context.real.view(-1, *[1] * (gradient.ndim - 1)))
        return gradient, None, None, None


@dataclass
class Batch:
    """Padded inputs of some examples; ids are dense (see `vocabulary`)."""

    examples: list[Example]
    ids_BL: Tensor
    mask_BL: Tensor
    types_BL: Tensor | None
    places: Places | None = None
    """Where the tokens are, for models that read without padding."""

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


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for what the device has yet to do."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def collate(
    examples: list[Example],
    dense: Dense,
    device: torch.device,
    *,
    token_types: bool,
    places: bool = False,
    rounded: bool = False,
) -> Batch:
    """Pad the inputs of some examples to their longest.

    Args:
      examples: of the batch.
      dense: ids of the job.
      device: of the tensors.
      token_types: whether the model tells two segments apart.
      places: say also where the tokens are.
      rounded: sizes are rounded up, so that few occur.
    """
    inputs = [one for example in examples for one in example.inputs]
    lengths = np.array([len(one.ids) for one in inputs])
    width = int(lengths.max())
    if rounded:
        width = rounded_up(width, 1, least=64)
    elif device.type == "cuda":
        width += -width % ALIGNED
    there = np.arange(width) < lengths[:, None]
    ids = np.full(there.shape, int(dense.of([dense.pad])[0]), dtype=np.int64)
    ids[there] = dense.of([piece for one in inputs for piece in one.ids])
    types = None
    if token_types:
        seconds = np.array([one.second if one.second >= 0 else width for one in inputs])
        types = (there & (np.arange(width) >= seconds[:, None])).astype(np.int64)
    return Batch(
        examples,
        moved(torch.from_numpy(ids), device),
        moved(torch.from_numpy(there.astype(np.int64)), device),
        None if types is None else moved(torch.from_numpy(types), device),
        Places.of(lengths.tolist(), width, device, rounded=rounded) if places else None,
    )


def size(examples: Sequence[Example], *, padded: bool) -> int:
    """Return what `by_budget` counts of a batch: its slots, padding included, or its tokens alone."""
    lengths = [len(one.ids) for example in examples for one in example.inputs]
    return max(lengths) * len(lengths) if padded else sum(lengths)


def by_budget(examples: Iterable[Example], tokens: int, *, padded: bool = True) -> Iterator[list[Example]]:
    """Cut a sequence of examples into batches of at most `tokens` padded slots (or one example, if that is longer).

    Of a model that reads without padding, tokens are counted alone. Otherwise a batch also ends where its padding would
    pass a tenth of it, once it is large enough to keep a CPU core busy. So examples in order of length waste little,
    whatever the budget.
    """
    batch: list[Example] = []
    inputs, longest, used = 0, 0, 0
    for example in examples:
        wider, more = max(longest, example.length), inputs + len(example.inputs)
        filled = used + sum(len(one.ids) for one in example.inputs)
        wasteful = padded and longest * inputs >= _BUSY and filled < 0.9 * wider * more
        if batch and ((wider * more if padded else filled) > tokens or wasteful):
            yield batch
            batch, wider, more = [], example.length, len(example.inputs)
            filled = sum(len(one.ids) for one in example.inputs)
        batch.append(example)
        inputs, longest, used = more, wider, filled
    if batch:
        yield batch


def in_parts(items: Iterable[Item], size_of: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Cut a sequence into parts of at most a size, or of one item, if that is larger."""
    part: list[Item] = []
    used = 0
    for item in items:
        if part and used + size_of(item) > most:
            yield part
            part, used = [], 0
        part.append(item)
        used += size_of(item)
    if part:
        yield part


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

    writes: bool
    """Whether the model writes text."""

    def used_ids(self, example: Example) -> Iterator[int]:
        """Yield every id (full vocabulary) that the model meets with an example."""

    def new_head(self, width: int, pieces: int, seed: int, dropout: float = 0.0) -> nn.Module | None:
        """Return a freshly initialised head for hidden states (.., width), None where the model has its own."""

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Return the summed loss of a batch."""

    def predict(self, model: Any, batch: Batch) -> list[Any]:
        """Return one raw output per example."""
