"""F1 of the classes of a classification, averaged over classes: a smooth function of summed statistics, but no ratio.

An example's statistics are, for each label, whether it is the gold one, whether it is the predicted one, and whether
it is both. Their sums g, p and b give F1 = 2b / (g + p) of each class. Source: scikit-learn's f1_score with
average="macro" and "weighted", whose classes are those that occur among gold labels or predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PARTS = ("gold", "predicted", "both")


@dataclass(frozen=True)
class Curve:
    """A score that is a smooth function of sums, with its derivative; of twice all sums it is the same."""

    weighted: bool
    """By the gold examples of each class; else every class counts alike."""

    def score(self, sums: Array) -> Array:
        """Return the score in points of (..., 3 x labels) sums; NaN where nothing was counted."""
        gold, predicted, both = np.split(np.asarray(sums, dtype=np.float64), 3, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.where(gold + predicted > 0, 2 * both / (gold + predicted), 0.0)
            weights = self._weights(gold, predicted)
            score: Array = 100.0 * (weights * f1).sum(axis=-1) / weights.sum(axis=-1)
        return score

    def gradient(self, sums: Array) -> Array:
        """Return the derivative of the score at (3 x labels,) sums, in points; zeros where there is no score."""
        gold, predicted, both = np.split(np.asarray(sums, dtype=np.float64), 3)
        size = np.where(gold + predicted > 0, gold + predicted, 1.0)
        weights = self._weights(gold, predicted)
        if not weights.sum():
            return np.zeros(len(sums))
        share = 100.0 * weights / weights.sum()
        by_size = share * np.where(gold + predicted > 0, -2 * both / size**2, 0.0)
        by_gold = by_size
        if self.weighted:
            # The weight of a class is its own gold examples.
            f1 = np.where(gold + predicted > 0, 2 * both / size, 0.0)
            by_gold = by_size + (100.0 * f1 - self.score(sums)) / weights.sum()
        by_both = np.where(gold + predicted > 0, share * 2 / size, 0.0)
        return np.concatenate([by_gold, by_size, by_both])

    def _weights(self, gold: Array, predicted: Array) -> Array:
        return gold if self.weighted else (gold + predicted > 0).astype(np.float64)


def columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the statistics."""
    return tuple(f"{part}:{label}" for part in PARTS for label in labels)


def labels_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that `columns` was given."""
    return tuple(name.partition(":")[2] for name in names if name.startswith(f"{PARTS[0]}:"))


def statistics(labels: Sequence[str]) -> Callable[[Mapping[str, Any], Any, str], tuple[float, ...]]:
    """Return the function that gives an example's statistics."""

    def of(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
        is_gold = [float(gold["label"] == label) for label in labels]
        is_predicted = [float(prediction == label) for label in labels]
        return *is_gold, *is_predicted, *(a * b for a, b in zip(is_gold, is_predicted, strict=True))

    return of
