"""Metrics as ratios of summed per-example statistics (numpy only).

Every metric of the project has the form  score = 100 * (a . S) / (b . S),  where S is the sum over examples of a small
vector of sufficient statistics. That is what makes the paired bootstrap a matrix product: resampling examples only
changes the weights of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, nearest
from . import answers, mining, neutral, ranking, spans

Gold = Mapping[str, Any]
"""One row of prepared data (see `records`)."""


@dataclass(frozen=True)
class Metric:
    """A score that is a ratio of two linear functions of summed statistics."""

    name: str
    columns: tuple[str, ...]
    """Names of the per-example statistics, in order."""
    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    statistics: Callable[[Gold, Any, str], tuple[float, ...]]
    """(gold row, prediction, language) -> one value per column."""

    def ratio(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reduce (..., columns) statistics to (..., 2): numerator and denominator of the score."""
        weights = np.array([self.numerator, self.denominator], dtype=np.float64)
        return np.asarray(statistics, dtype=np.float64) @ weights.T

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score in points (0 to 100) of summed statistics (..., columns); NaN where nothing was counted."""
        ratio = self.ratio(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            return 100.0 * ratio[..., 0] / ratio[..., 1]


def _counts(gold: Gold, prediction: Any, language: str) -> tuple[float, ...]:
    """The prediction already is the statistic."""
    return tuple(map(float, prediction))


def _correct(gold: Gold, prediction: Any, language: str) -> tuple[float, ...]:
    return 1.0, float(prediction == gold["label"])


# Exact match and F1 in equal parts, as XTREME's task scores mix them: linear, so it can be resampled like the rest.
_EM_F1 = ("n", "exact", "f1"), (0.0, 0.5, 0.5), (1.0, 0.0, 0.0)
_F1 = ("tp", "fp", "fn"), (2.0, 0.0, 0.0), (2.0, 1.0, 1.0)


def _mean(of: str, n: str = "n") -> tuple[tuple[str, str], tuple[float, float], tuple[float, float]]:
    """Columns and weights of a plain mean of one statistic."""
    return (n, of), (0.0, 1.0), (1.0, 0.0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", *_mean("correct"), _correct),
        Metric("span_f1", *_F1, spans.span_statistics),
        Metric("surface_f1", *_F1, spans.surface_statistics),
        Metric("token_accuracy", *_mean("correct", "tokens"), spans.token_statistics),
        Metric("reconstruction_accuracy", *_mean("correct", "tokens"), _counts),
        Metric("squad_f1", *_mean("f1"), answers.squad_f1),
        Metric("squad_em", *_mean("exact"), answers.squad_exact),
        Metric("squad_mean", *_EM_F1, answers.squad_mean),
        Metric("mlqa_f1", *_mean("f1"), answers.mlqa_f1),
        Metric("mlqa_em", *_mean("exact"), answers.mlqa_exact),
        Metric("mlqa_mean", *_EM_F1, answers.mlqa_mean),
        Metric("neutral_f1", *_mean("f1"), neutral.f1),
        Metric("neutral_em", *_mean("exact"), neutral.exact),
        Metric("retrieval_accuracy", *_mean("hits"), ranking.hit),
        Metric(ranking.REVERSE, *_mean("hits"), ranking.reverse_hit),
        Metric("mrr_at_20", *_mean("reciprocal_rank"), ranking.reciprocal_rank),
        Metric("map_at_20", *_mean("average_precision"), ranking.average_precision),
        Metric("bucc_f1", *_F1, mining.pairs),
    )
}


def metric(name: str) -> Metric:
    """Look a metric up by name.

    Raises:
      UserError: no such metric.
    """
    if name not in METRICS:
        raise UserError(f"metric {name!r} is unknown; known: {', '.join(METRICS)}.{nearest(name, METRICS)}")
    return METRICS[name]


def compared(gold: Gold, prediction: Any, *, kind: str, interface: str) -> tuple[Gold, Any]:
    """Return a row and its prediction as the published script of a model's interface compares them.

    Answers that a text-to-text model writes are scored as mT5 scores them; all else as it is.
    """
    if kind == "span_qa" and interface == "text2text":
        return answers.padded(gold, prediction)
    return gold, prediction
