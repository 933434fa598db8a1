"""The far tail of a bootstrap, which draws alone do not reach.

With R draws no p value is below 1 / (R + 1): at 10,000 draws 528 tests can never be significant after Holm. The draws
of an estimate are the sum of the examples' draws, which are normal but for little (sums over hundreds), and of the
runs', which are Student's t by construction. So their tail is known but for its level: given the chi-squared variable
behind the t, the sum is normal, and one integral over that variable gives the share beyond any size. Where fewer than
`FEW` draws lie beyond the estimate, p is the share beyond a size that a hundredth of the draws exceeds, times what the
integral says of the rest of the way. (Knijnenburg et al. 2009, Bioinformatics 25:i161, do the same with a generalised
Pareto tail, which has to be fitted anew for every test.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Part = tuple[Array, Array]
"""(estimands,) variance and degrees of freedom of what is drawn as Student's t; infinite degrees: normal."""

FEW = 10
"""Draws; a share of fewer is not known well enough (Knijnenburg et al.)."""
SMALLEST = 1e-9
"""No p below this is believed: neither the examples' draws nor the model behind the runs' are known so far out."""
_NODES = {1: 200, 2: 48}


class Tail:
    """The draws of some estimands as a mixture of normals, one for each node of the chi-squared variables."""

    def __init__(self, examples: Array, parts: Sequence[Part]) -> None:
        """Set up the mixture.

        Args:
          examples: (estimands,) variance of the examples' draws.
          parts: what else is drawn, at most two kinds (runs, languages).
        """
        weights, variances = np.ones(1), np.asarray(examples, dtype=np.float64)[:, None]
        used = [part for part in parts if (part[0] > 0.0).any()]
        for variance, degrees in used:
            chances, factors = _nodes(degrees, _NODES[len(used)])
            # Nodes of several kinds are crossed.
            weights = np.outer(weights, chances).ravel()
            added = variance[:, None] * factors
            variances = (variances[:, :, None] + added[:, None, :]).reshape(len(variances), -1)
        self._weights, self._deviations = weights, np.sqrt(variances)
        self._total = np.sqrt(examples + sum(variance for variance, _ in parts))

    def beyond(self, sizes: Array) -> Array:
        """Return the share of draws that are at least of the (estimands,) sizes, in either direction."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore", invalid="ignore"):
            reach = sizes[:, None] / self._deviations
        # 0 / 0: a size of nothing where nothing is drawn.
        reach[np.isnan(reach)] = 0.0
        return np.asarray(np.minimum(1.0, 2.0 * ndtr(-reach) @ self._weights))

    def size(self, shares: Array) -> Array:
        """Return the sizes that (estimands,) shares of the draws are at least as large as, by false position."""
        wanted = np.log(shares)

        def short(at: Array) -> Array:
            return np.asarray(np.log(np.maximum(self.beyond(at), 1e-300)) - wanted)

        low, high = np.zeros_like(self._total), 2.0 * self._total
        above, below = -wanted, short(high)
        for _ in range(60):
            if not (below > 0.0).any():
                break
            low, above = np.where(below > 0.0, high, low), np.where(below > 0.0, below, above)
            high = np.where(below > 0.0, 2.0 * high, high)
            below = short(high)
        last = np.zeros(len(low), dtype=np.intp)
        for _ in range(60):
            if (high - low <= 1e-12 * self._total).all():
                break
            with np.errstate(divide="ignore", invalid="ignore"):
                middle = np.nan_to_num((low * below - high * above) / (below - above))
            lacking = short(middle)
            side = np.where(lacking > 0.0, 1, -1)
            # An end that stays twice counts half (the Illinois rule), so that the other comes nearer, too.
            above, below = (
                np.where(side > 0, lacking, np.where(last < 0, above / 2.0, above)),
                np.where(side < 0, lacking, np.where(last > 0, below / 2.0, below)),
            )
            low, high = np.where(side > 0, middle, low), np.where(side < 0, middle, high)
            last = side
            if (np.abs(lacking) < 1e-12).all():
                break
        return np.where(np.abs(above) < np.abs(below), low, high)


_legendre = lru_cache(np.polynomial.legendre.leggauss)


def _nodes(degrees: Array, count: int) -> tuple[Array, Array]:
    """Return (nodes,) weights and (estimands, nodes) of degrees / chi-squared(degrees).

    The nodes are Gauss-Legendre's over the logarithm of the share, so that the rare small chi-squared values, which
    make the tail of a t, have nodes of their own.
    """
    from scipy.special import gammaincinv

    # Rows with the same degrees (many: those without runs' variance) share their nodes.
    known, place = np.unique(np.where(np.isfinite(degrees) & (degrees > 0.0), degrees, np.inf), return_inverse=True)
    x, w = _legendre(count)
    exponent = -34.0 * (1.0 - x) / 2.0  # shares from 1e-15 to 1
    shares = np.exp(exponent)
    weights = w * 17.0 * shares
    half = np.where(np.isinf(known), 1.0, known)[:, None] / 2.0
    with np.errstate(divide="ignore"):
        factors = half / np.maximum(gammaincinv(half, shares[None, :]), 1e-300)
    return weights / weights.sum(), np.where(np.isinf(known)[:, None], 1.0, factors)[place]
