"""Corrections for many tests, Holm (1979) and Benjamini & Hochberg (1995), and the level that they are judged at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def alpha(confidence: float) -> float:
    """Return the level of tests, one minus a confidence: a p is significant below it.

    1 - 0.95 is above 0.05 in binary, and 1 - 0.9 below 0.1: a p of exactly the level, which 999 draws and few deals
    give, would be significant in one sweep and not in another.
    """
    return round(1.0 - confidence, 12)


def holm(p: ArrayLike) -> Array:
    """Return step-down adjusted p-values in the caller's order; they control the family-wise error rate."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _restore(stepped, order)


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Return step-up adjusted p-values in the caller's order; they control the false discovery rate."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    n = len(values)
    scaled = values[order] * n / np.arange(1, n + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1] if n else scaled
    return _restore(stepped, order)


def _restore(stepped: Array, order: NDArray[np.intp]) -> Array:
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
