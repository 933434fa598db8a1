"""How often the tests find an effect: of a lift over all languages, and of a difference between types of languages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from ..resampling.draws import generator
from ..resampling.tails import Tail
from ..significance.components import Components
from ..typology import permutation

Array = NDArray[np.float64]

_MOST_DEALS = 10_000
"""As many as a sweep with the default `significance.resamples` makes."""
_NODES = 200
"""Values of the chi-squared variable behind an estimated variance that are averaged over."""
MOST = {"seeds": 100, "examples": 100_000, "languages": 1_000}
"""More than these nobody has; they are the end of every search."""


@dataclass(frozen=True)
class Design:
    """What one arm on one target is measured with."""

    examples: float
    """Of a language."""
    seeds: int
    """At least 2: with one there is no test over runs."""
    languages: int
    paired: bool = True
    """Whether runs of both arms that share a seed are pairs."""


def _over(common: float, own: float, languages: int) -> float:
    """Return the variance of a mean over languages; an estimate below 0 stands for 0."""
    return max(0.0, common) + max(0.0, own) / languages


class LiftTest:
    """The test of the mean lift over all languages, at a given level."""

    def __init__(self, parts: Components, design: Design, alpha: float) -> None:
        """Work out the test's critical sizes.

        A lift is significant beyond a size that depends on the variance between runs as it is estimated from a few
        runs: see `significance.seeds`. So its power is a mean over what the estimate may be.
        """
        from scipy.special import gammaincinv

        n, runs, k = design.examples, design.seeds, design.languages
        noise = _over(parts.agreement_common, parts.agreement_own, k) / n
        of_a_run = _over(parts.runs_common, parts.runs_own, k)
        examples = _over(parts.examples_common, parts.examples_own, k) / n + noise / runs
        degrees = (runs - 1.0) * (1 if design.paired else 2)
        shares = (np.arange(_NODES) + 0.5) / _NODES
        factors = np.asarray(gammaincinv(degrees / 2.0, shares)) / (degrees / 2.0)
        added = np.maximum(0.0, (of_a_run + noise) * factors - noise) / runs
        tail = Tail(np.full(_NODES, examples), [(added, np.full(_NODES, degrees))])
        self._critical = tail.size(np.full(_NODES, alpha))
        self._deviation = math.sqrt(examples + of_a_run / runs)

    def power(self, lift: float) -> float:
        """Return the chance that a true lift of so many points is found, in whichever direction."""
        from scipy.special import ndtr

        if self._deviation == 0.0:
            return float(lift > 0.0)
        above, below = ((sign * lift - self._critical) / self._deviation for sign in (1.0, -1.0))
        return float((ndtr(above) + ndtr(below)).mean())


@dataclass(frozen=True)
class TypesTest:
    """The test that types of languages differ: types dealt out over languages, at a given level.

    Its power is that of the F test of a one-way layout at as much of the difference as dealing labels out leaves.
    """

    sizes: tuple[int, ...]
    """Languages of each type."""
    variance: float
    """Of a language's lift around its type's mean, in squared points; what all languages have in common is no part."""
    alpha: float

    @property
    def absent(self) -> str:
        """Why there is no such test; empty where there is."""
        if len(self.sizes) < 2:
            return "there is one type"
        if sum(self.sizes) <= len(self.sizes):
            return f"{sum(self.sizes)} languages of {len(self.sizes)} types"
        if not self.findable:
            return "types of so few languages can be dealt out in too few ways for this level"
        return ""

    @property
    def findable(self) -> list[int]:
        """Places of the types that can be found at all.

        However far a type lies apart, the deals that give its languages to one type of its size do as well; of a type
        of one language among fourteen that is every fourteenth deal, and p is not below 0.07.
        """
        total = sum(self.sizes)
        floors = [self.sizes.count(size) / math.comb(total, size) for size in self.sizes]
        return [place for place, floor in enumerate(floors) if floor < self.alpha]

    def power(self, difference: float) -> float:
        """Return the chance of finding one type so many points above the others, a mean over the findable types."""
        if self.absent:
            return 0.0
        if self.variance <= 0.0:
            return 1.0
        if difference == 0.0:
            return self.alpha
        return _f_power(self, _kept(self.sizes, self.alpha) * difference / math.sqrt(self.variance))


def _f_power(test: TypesTest, difference: float) -> float:
    """Return the power of the F test at a difference in standard deviations."""
    from scipy.special import fdtri, ncfdtr

    total, kinds = sum(test.sizes), len(test.sizes)
    critical = fdtri(kinds - 1, total - kinds, 1.0 - test.alpha)
    sizes = [test.sizes[place] for place in test.findable]
    apart = [difference**2 * size * (1.0 - size / total) for size in sizes]
    return float(1.0 - np.mean(ncfdtr(kinds - 1, total - kinds, apart, critical)))


_FEW = 40
"""Languages up to which dealing labels out is simulated; with more it comes to the F test."""
_SWEEPS = 1_000
_TOGETHER = 50
"""Of these, that are looked at together: few enough for the cache of a processor."""
_WANTED = 0.8
"""Power of the F test at which the two are compared."""


@cache
def _kept(sizes: tuple[int, ...], alpha: float) -> float:
    """Return the share of a difference that is left to the F test when it has the power of labels dealt out anew.

    Where one type lies apart, deals that come near the observed one are apart as well, so a dozen languages find less
    at small levels than the F test does (65 of 80 at 0.006). Simulated where the F test finds `_WANTED`, on one set of
    deals for all sweeps.
    """
    test = TypesTest(sizes, 1.0, alpha)
    total = sum(sizes)
    if total > _FEW:
        return 1.0
    apart = smallest(partial(_f_power, test), _WANTED)
    if apart is None:
        return 1.0
    labels = np.repeat(np.arange(len(sizes)), sizes)
    dealt, _ = permutation.deals(tuple(labels.tolist()), _MOST_DEALS, 0)
    rng = generator(0, "power of types", *map(str, sizes))
    chosen = np.resize(test.findable, _SWEEPS)
    lifts = rng.standard_normal((total, _SWEEPS)) + apart * (labels[:, None] == chosen)
    lifts -= lifts.mean(axis=0)
    # Between types, the sum of squares of every deal; that of the first, the observed one, has to be among the largest.
    kinds = [(dealt == kind).astype(np.float32) * np.float32(size**-0.5) for kind, size in enumerate(sizes)]
    p = np.empty(_SWEEPS)
    for at in range(0, _SWEEPS, _TOGETHER):
        some = lifts[:, at : at + _TOGETHER].astype(np.float32)
        explained = sum(np.square(of_kind @ some) for of_kind in kinds)
        p[at : at + _TOGETHER] = (explained >= explained[0] * np.float32(1.0 - 1e-5)).mean(axis=0)
    had = float((p < alpha).mean())
    equal = smallest(partial(_f_power, test), had) if had > alpha else None
    return equal / apart if equal is not None else 0.0


def language_variance(parts: Components, design: Design, tau2: float) -> float:
    """Return the variance of a language's lift around its type's mean."""
    n, runs = design.examples, design.seeds
    own = (max(0.0, parts.examples_own) + max(0.0, parts.agreement_own) / runs) / n
    return tau2 + own + max(0.0, parts.runs_own) / runs


def pooled_variance(
    targets: Mapping[str, tuple[float, float]], held: Mapping[str, Sequence[str]], types: Mapping[str, str]
) -> float:
    """Return the variance of a language's lift over several targets around its type's mean, if all were as well known.

    It gives the types' differences the precision that they have with every language in its own targets, a mean over
    types: a language that few targets have is known less well, and is compared only with the others of these targets,
    since every target has a mean of its own.

    Args:
      targets: target -> variance that a language has in all targets alike, and in that target alone.
      held: language -> the targets that have it.
      types: language -> type.
    """
    names, codes = list(targets), list(held)
    lifts = [(names.index(name), place) for place, code in enumerate(codes) for name in held[code]]
    stays, apart = (np.array([targets[names[at]][part] for at, _ in lifts]) for part in (0, 1))
    if not (stays + apart).any():
        return 0.0
    owners = np.eye(len(codes))[[place for _, place in lifts]]
    means = np.eye(len(names))[[at for at, _ in lifts]]
    means = means[:, means.any(axis=0)]
    common = owners * np.sqrt(stays)[:, None]
    # A part that is 0 is made very small, for the matrix has to have an inverse.
    weights = np.linalg.inv(common @ common.T + np.diag(np.maximum(apart, 1e-9 * (stays + apart).max())))
    weighed = weights @ means
    precision = owners.T @ (weights - weighed @ np.linalg.solve(means.T @ weighed, weighed.T)) @ owners
    wanted = had = 0.0
    for kind in sorted({types[code] for code in codes}):
        of_kind = np.array([types[code] == kind for code in codes], dtype=np.float64)
        wanted += of_kind.sum() * (1.0 - of_kind.mean())
        had += float(of_kind @ precision @ of_kind)
    # Where every target has one type alone, types and targets cannot be told apart.
    return float(wanted / had) if had > 1e-9 * precision.trace() else math.inf


def smallest(power: Callable[[float], float], wanted: float) -> float | None:
    """Return the smallest effect (points) that is found so often, None where even 100 points are not."""
    low, high = 0.0, 0.125
    while power(high) < wanted:
        low, high = high, 2.0 * high
        if high > 100.0:
            return None
    for _ in range(24):
        middle = (low + high) / 2.0
        low, high = (low, middle) if power(middle) >= wanted else (middle, high)
    return high


def least(power: Callable[[int], float], wanted: float, lowest: int, most: int) -> int | None:
    """Return the least number (of seeds, examples ...) with so much power, None where not even the most has it."""
    if power(lowest) >= wanted:
        return lowest
    if power(most) < wanted:
        return None
    low, high = lowest, most
    while high - low > 1:
        middle = round(math.sqrt(low * high))
        middle = min(max(middle, low + 1), high - 1)
        low, high = (low, middle) if power(middle) >= wanted else (middle, high)
    return high


def changed(design: Design, name: str, value: float) -> Design:
    """Return a design with another number of seeds, examples or languages."""
    if name == "examples":
        return replace(design, examples=value)
    return replace(design, seeds=round(value)) if name == "seeds" else replace(design, languages=round(value))


def balanced(kinds: int, each: int) -> tuple[int, ...]:
    """Return the sizes of types with as many languages each."""
    return (each,) * kinds
