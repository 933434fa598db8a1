"""Do the types differ? Their labels are dealt out anew over the languages, or over whole lineages.

The statistic is what the types explain of the weighted sum of squares, with the weights of the model without types,
which are the same for every deal: so only the labels move, and languages that are measured badly, or together, keep
the weight that they have. Under a hypothesis of no difference the observed deal is one of all those equally likely (a
randomisation test: Fisher 1935; for meta-regression Higgins & Thompson 2004, Statistics in Medicine 23:1663). With
lineages kept together, the languages of one lineage and one type move as one: related languages are no independent
evidence (Galton's problem).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..resampling.draws import generator
from .mixed import Fit, Levels

Array = NDArray[np.float64]

_DEPENDENT = 1e-9
"""Of the largest eigenvalue of what any deal weighs: what is below is rounding."""
_TIE = 1e-9
"""Relative: deals that make the same groups have the same statistic but for rounding."""


@dataclass(frozen=True)
class Permuted:
    """The result of a permutation test."""

    p: float
    deals: int
    """Deals looked at, the observed one among them."""
    exact: bool
    """Whether these are all there are."""


@dataclass(frozen=True)
class Reduced:
    """A fit without types, reduced to what a deal of something over its languages needs."""

    M: Array
    """(languages, languages): weights after what the fit has is projected out."""
    r: Array
    """(languages,): weighted residuals, summed over a language's observations."""

    @classmethod
    def of(cls, null: Fit, languages: Levels) -> Reduced:
        """Reduce a fit; `languages` is the number of each observation's language."""
        WX = null.weights @ null.X
        P = null.weights - WX @ null.bread @ WX.T
        gather = np.zeros((len(languages), int(languages.max()) + 1))
        gather[np.arange(len(languages)), languages] = 1.0
        return cls(gather.T @ P @ gather, gather.T @ (P @ null.y))

    def explained(self, deals: Array) -> Array:
        """Return (deals,) the sum of squares that (languages, columns, deals) regressors explain.

        Where targets have different languages a deal can give every target types or numbers of one kind, whose mean the
        fit has already: its regressors depend on each other, and explain what the independent ones among them do.
        """
        k, g, n = deals.shape
        r_gn = np.einsum("k,kgn->gn", self.r, deals)
        MT = (self.M @ deals.reshape(k, g * n)).reshape(k, g, n)
        inner = np.einsum("kgn,khn->ngh", deals, MT, optimize=True)
        values, vectors = np.linalg.eigh(inner)
        explains = values > _DEPENDENT * values.max()
        parts = np.einsum("ngh,gn->nh", vectors, r_gn) ** 2
        return np.asarray(np.divide(parts, values, out=np.zeros_like(parts), where=explains).sum(axis=1))


def count(labels: Sequence[int]) -> int:
    """Return in how many ways labels can be dealt out to as many places."""
    ways = math.factorial(len(labels))
    for same in Counter(labels).values():
        ways //= math.factorial(same)
    return ways


@lru_cache(maxsize=64)
def deals(labels: tuple[int, ...], most: int, seed: int) -> tuple[NDArray[np.int16], bool]:
    """Return (deals, places) labels, every distinct deal or `most` random ones besides the observed, which is the
    first.

    Args:
      labels: the observed ones.
      most: draw at random where there are more than this.
      seed: of the random draws.
    """
    observed = np.array(labels, dtype=np.int16)
    if count(labels) <= most:
        return _exact(labels), True
    order = generator(seed, "deal", " ".join(map(str, labels))).random((most, len(labels))).argsort(axis=1)
    return np.concatenate([observed[None, :], observed[order]]), False


@lru_cache(maxsize=64)
def _exact(labels: tuple[int, ...]) -> NDArray[np.int16]:
    others = [deal for deal in _all(sorted(labels)) if deal != labels]
    return np.array([labels, *others], dtype=np.int16)


def _all(labels: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield the distinct orders of sorted labels, in order (Narayana's algorithm)."""
    now = list(labels)
    while True:
        yield tuple(now)
        i = len(now) - 2
        while i >= 0 and now[i] >= now[i + 1]:
            i -= 1
        if i < 0:
            return
        j = len(now) - 1
        while now[j] <= now[i]:
            j -= 1
        now[i], now[j] = now[j], now[i]
        now[i + 1 :] = reversed(now[i + 1 :])


def types(reduced: Reduced, labels: Sequence[int], blocks: Levels, *, most: int, seed: int) -> Permuted:
    """Test whether types differ.

    Args:
      reduced: the fit without types.
      labels: (languages,) number of each language's type.
      blocks: (languages,) number of what moves as one; all languages of a block have one type.
      most: number of random deals, where there are more than these.
      seed: of the random deals.
    """
    first = [int(np.flatnonzero(blocks == block)[0]) for block in range(int(blocks.max()) + 1)]
    dealt, exact = deals(tuple(labels[i] for i in first), most, seed)
    spread = dealt[:, blocks]  # (deals, languages)
    kinds = sorted(set(labels))[1:]
    columns = np.stack([(spread == kind).T for kind in kinds], axis=1).astype(np.float64)
    return _judged(reduced.explained(columns), exact=exact)


def number(reduced: Reduced, values: Array, *, most: int, seed: int) -> Permuted:
    """Test whether a number (languages,) predicts the lift, by dealing it out over the languages."""
    ranks = np.unique(values, return_inverse=True)[1]
    dealt, exact = deals(tuple(int(rank) for rank in ranks), most, seed)
    known = np.unique(values)
    return _judged(reduced.explained(known[dealt].T[:, None, :] - values.mean()), exact=exact)


def _judged(statistics: Array, *, exact: bool) -> Permuted:
    # The first is the observed one, which counts as at least as large as itself: p is never 0.
    extreme = np.count_nonzero(statistics >= statistics[0] * (1.0 - _TIE) - 1e-12)
    return Permuted(float(extreme / len(statistics)), len(statistics), exact)
