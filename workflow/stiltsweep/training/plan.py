"""What happens in which update: pure functions of sizes, lengths and seeds, so that a resumed run repeats them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from ..files import digest
from ..settings import TrainingSettings

_POOL = 16
"""Batches whose examples are sorted by length together: many for little padding, few to stay random."""
_NOISE = 1.5
"""Deviation of the noise on the lengths of a single pool, in deviations of the lengths; of the logarithms of both."""


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed made of names and numbers."""
    return int(digest(list(parts))[:16], 16) >> 1


def total_updates(examples: int, settings: TrainingSettings) -> int:
    """Return the number of updates of a run, at least one unless none is asked for; in tokens it is stated."""
    if settings.batch_tokens is not None and settings.max_updates is not None:
        return settings.max_updates
    updates = max(1, round(settings.epochs * math.ceil(examples / settings.batch_size)))
    return updates if settings.max_updates is None else min(updates, settings.max_updates)


@dataclass(frozen=True)
class Sampling:
    """In which proportions the tasks of a mixture are drawn.

    A task with a rate makes up exactly that share of the updates (in expectation); the others share the rest in
    proportion to  min(examples, cap) ** (1 / temperature)  (Raffel et al. 2020, section 3.5.2; Phang et al. 2020 with
    temperature 1 and a cap of 2^17).
    """

    sizes: Sequence[int]
    """Examples per task."""
    rates: Sequence[float | None]
    """Shares of the updates; at least one task has none."""
    cap: int
    temperature: float

    @property
    def _counted(self) -> list[int]:
        """Examples that count of each task without a rate. The cap is between tasks: one alone counts whole."""
        sizes = [size for size, rate in zip(self.sizes, self.rates, strict=True) if rate is None]
        return sizes if len(sizes) == 1 else [min(size, self.cap) for size in sizes]

    @property
    def _left(self) -> float:
        """Share of the updates of the tasks without a rate."""
        return 1.0 - sum(rate for rate in self.rates if rate is not None)

    def proportions(self) -> list[float]:
        """Return the probability of each task to be drawn for an update; they sum to 1."""
        weights = [size ** (1 / self.temperature) for size in self._counted]
        shares = iter([self._left * weight / sum(weights) for weight in weights])
        return [next(shares) if rate is None else rate for rate in self.rates]

    def updates(self, settings: TrainingSettings) -> int:
        """Return the number of updates: those of the tasks without a rate are as many as without the other tasks."""
        return round(total_updates(sum(self._counted), settings) / self._left)

    def draws(self, seed: int) -> Iterator[int]:
        """Yield the task of update 0, 1, ...; the draw of an update depends on it and the seed alone."""
        edges = np.cumsum(self.proportions())
        for update in count():
            at = np.random.default_rng([seed, update]).random() * edges[-1]
            yield int(np.searchsorted(edges, at, side="right"))


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the batches of one epoch: every example once, similar lengths together, in random order.

    Shuffles, sorts by length within pools of `_POOL` batches, cuts into batches, and shuffles those. Where one pool is
    all there is, examples of one length would meet again in every epoch and under every seed: there the lengths are
    noisy. The more batches there are, the more the pools mix them, and the less noise there is. If the last batch of a
    pool is short, the place that it is cut at is drawn, so it holds examples of any length.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    size = batch_size * _POOL
    keys = np.log(lengths)
    keys += rng.normal(0.0, _NOISE * keys.std() * min(1.0, size / len(lengths)), len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), size):
        pool = order[start : start + size]
        by_length = iter(pool[np.argsort(keys[pool], kind="stable")].tolist())
        sizes = [batch_size] * (len(pool) // batch_size)
        if short := len(pool) % batch_size:
            sizes.insert(int(rng.integers(len(sizes) + 1)), short)
        batches.extend(list(islice(by_length, length)) for length in sizes)
    return [batches[i] for i in rng.permutation(len(batches))]


def rows(settings: TrainingSettings) -> int:
    """Return the rows of an update: of packed examples, or of one each."""
    return settings.batch_tokens // settings.max_length if settings.batch_tokens else settings.batch_size


def packed_batches(sizes: Sequence[tuple[int, int]], settings: TrainingSettings, seed: int) -> Iterator[list[int]]:
    """Yield the examples of update 0, 1, ... without end: as many as fit into its rows one after the other.

    Rows are filled as mesh-tensorflow's `pack_dataset` fills them: examples come in random order, epoch after epoch,
    and one that does not fit into the row, by its input or its output, begins the next. A row, like an update, may hold
    examples of two epochs. Each example is read as it is alone: what is packed decides the update, not the attention.

    Args:
      sizes: (input, output) tokens of every example; more than a row holds count as a whole row.
      settings: batch_tokens, max_length and max_target_length.
      seed: of the order.
    """
    wanted, batch, full, used = rows(settings), list[int](), 0, (0, 0)
    for epoch in count():
        for example in np.random.default_rng([seed, epoch]).permutation(len(sizes)).tolist():
            size = min(sizes[example][0], settings.max_length), min(sizes[example][1], settings.max_target_length)
            together = used[0] + size[0], used[1] + size[1]
            if together[0] > settings.max_length or together[1] > settings.max_target_length:
                full, together = full + 1, size
                if full == wanted:
                    yield batch
                    batch, full = [], 0
            batch.append(example)
            used = together


def learning_rate_factor(update: int, total: int, settings: TrainingSettings) -> float:
    """Return the factor of the peak learning rate in update 0, 1, ... `total` - 1.

    The warm-up rises linearly and reaches 1 in its last update, or, begun from zero, in the update after it; the linear
    schedule then falls towards 0, which it would reach in update `total`.
    """
    warmup = warmup_updates(total, settings)
    if update < warmup:
        return (update if settings.warmup_from_zero else update + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    return (total - update) / max(1, total - warmup)


def warmup_updates(total: int, settings: TrainingSettings) -> float:
    """Return the number of updates of the warm-up; a share of all is rounded down, as in jiant."""
    return settings.warmup if settings.warmup >= 1 else math.floor(settings.warmup * total)


def evaluation_points(total: int, evaluations: int) -> list[int]:
    """Return after how many updates dev is scored: evenly spaced, the last one at the end."""
    return sorted({max(1, round(total * (i + 1) / evaluations)) for i in range(evaluations)})


def learned(score: float, chance: float, examples: int) -> bool:
    """Return whether a dev score is above chance: by three standard errors of guessing, or at all where chance is 0."""
    share = chance / 100
    return score > chance + 300 * math.sqrt(share * (1 - share) / examples)
