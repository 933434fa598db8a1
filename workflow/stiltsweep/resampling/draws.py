"""Random draws that depend on a seed and on names alone.

Every stream has its own generator, keyed by the seed and by what it is drawn for (a stratum's ids, a run, a language).
Streams are read resample by resample, so that the result is the same for any chunk size, any order of inputs and any
number of cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Float = NDArray[np.float32]
"""Counts below 2**24 are exact in it."""

_CACHED = 2**18
"""Numbers drawn at a time, so that counting them stays within a core's cache."""


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of one named stream."""
    key = hashlib.sha256("\0".join(names).encode("utf-8")).digest()
    words = np.frombuffer(key, dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *(int(word) for word in words)])))


class Counts:
    """How often each of `n` examples is drawn when `n` are drawn with replacement."""

    def __init__(self, seed: int, digest: str, n: int) -> None:
        self._generator = generator(seed, "examples", digest)
        self._n = n

    def take(self, resamples: int) -> Float:
        """Return the next (resamples, n) counts; every row sums to n."""
        n = self._n
        counts = np.empty((resamples, n), dtype=np.float32)
        step = max(1, _CACHED // n)
        for start in range(0, resamples, step):
            rows = min(step, resamples - start)
            # 64-bit integers keep the half-used word of the stream between calls; narrower types would drop it.
            picks = self._generator.integers(n, size=(rows, n), dtype=np.int64)
            picks += np.arange(rows)[:, None] * n
            counts[start : start + rows] = np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n)
        return counts


class Signs:
    """Fair coins: whether the two systems of a comparison swap their answers to each of `n` examples."""

    def __init__(self, seed: int, digest: str, n: int) -> None:
        self._generator = generator(seed, "signs", digest)
        self._n = n

    def take(self, resamples: int) -> Float:
        """Return the next (resamples, n) of 0 and 1."""
        row = 4 * -(-self._n // 32)  # whole 32-bit words, so that no bits are lost between calls
        bits = np.frombuffer(self._generator.bytes(resamples * row), dtype=np.uint8)
        return np.unpackbits(bits.reshape(resamples, row), axis=1, count=self._n).astype(np.float32)


def normals(seed: int, kind: str, names: Iterable[str], resamples: int) -> Array:
    """Return (names, resamples) standard normal multipliers, one stream per name."""
    return np.stack([generator(seed, kind, name).standard_normal(resamples) for name in names])


def t_scale(seed: int, kind: str, degrees: float, resamples: int) -> Array:
    """Return (resamples,) factors that turn normal draws into Student's t: sqrt(degrees / chi-squared(degrees))."""
    if not np.isfinite(degrees):
        return np.ones(resamples)
    half = generator(seed, "scale", kind).standard_gamma(degrees / 2, resamples)
    return np.sqrt(degrees / 2 / half)
