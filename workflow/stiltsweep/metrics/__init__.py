"""Metrics as functions of summed per-example statistics (numpy only).

Nearly every metric of the project has the form  score = 100 * (a . S) / (b . S),  where S is the sum over examples of a
small vector of sufficient statistics; two are another smooth function of S (`classes`). That is what makes the paired
bootstrap a matrix product: resampling examples only changes the weights of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, nearest
from . import answers, classes, generation, mining, neutral, ranking, spans

Gold = Mapping[str, Any]
"""One row of prepared data (see `records`)."""


@dataclass(frozen=True)
class Metric:
    """A score that is a function of summed statistics: the ratio of two linear ones, or a `curve`."""

    name: str
    columns: tuple[str, ...]
    """Names of the per-example statistics, in order."""
    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    statistics: Callable[[Gold, Any, str], tuple[float, ...]]
    """(gold row, prediction, language) -> one value per column."""
    curve: classes.Curve | None = None
    """The function, where it is no ratio; the weights are empty then."""

    def reduced(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reduce (..., columns) statistics to what has to be summed: (..., 2) numerator and denominator of a ratio."""
        if self.curve:
            return np.asarray(statistics, dtype=np.float64)
        weights = np.array([self.numerator, self.denominator], dtype=np.float64)
        return np.asarray(statistics, dtype=np.float64) @ weights.T

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score in points (0 to 100) of summed statistics (..., columns); NaN where nothing was counted."""
        if self.curve:
            return self.curve.score(sums)
        ratio = self.reduced(sums)
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
        # Columns and statistics come with the labels of a task (see `metric`).
        Metric("macro_f1", (), (), (), classes.statistics(()), classes.Curve(weighted=False)),
        Metric("weighted_f1", (), (), (), classes.statistics(()), classes.Curve(weighted=True)),
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
        Metric("chrf", *_mean("f"), generation.chrf),
        Metric("rouge_1", *_mean("f"), generation.rouge_1),
        Metric("rouge_l", *_mean("f"), generation.rouge_l),
    )
}


_TAGS = ("span_f1", "surface_f1", "token_accuracy")
_ANSWERS = tuple(f"{rules}_{part}" for rules in ("squad", "mlqa", "neutral") for part in ("f1", "em", "mean"))
_SEARCH = ("retrieval_accuracy", ranking.REVERSE, "mrr_at_20", "map_at_20")
FITTING: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "weighted_f1"),
    "multiple_choice": ("accuracy",),
    "tagging": _TAGS,
    "span_qa": tuple(name for name in _ANSWERS if name in METRICS),
    "retrieval": _SEARCH,
    "mining": ("bucc_f1",),
    "text": ("reconstruction_accuracy",),
    "generation": ("chrf", "rouge_l", "rouge_1"),
}
"""Kind of task -> metrics that can score it."""

_NO_SUMS = {
    "pearson": "Pearson's r needs labels that are numbers, and no kind of task has such",
    "spearman": "Spearman's rho is of ranks, which no sum over examples gives, so it cannot be resampled as others are",
}


def metric(name: str, labels: Sequence[str] = ()) -> Metric:
    """Look a metric up by name.

    Args:
      name: see `METRICS`.
      labels: of the task, for metrics that count by class.

    Raises:
      UserError: no such metric.
    """
    if name not in METRICS:
        why = next((f" {reason}." for word, reason in _NO_SUMS.items() if word in name.lower()), "")
        raise UserError(f"metric {name!r} is unknown; known: {', '.join(METRICS)}.{why or nearest(name, METRICS)}")
    kind = METRICS[name]
    if kind.curve:
        return replace(kind, columns=classes.columns(labels), statistics=classes.statistics(tuple(labels)))
    return kind


def fitting(name: str, kind: str) -> Metric:
    """Look a metric up that is to score a kind of task.

    Raises:
      UserError: no such metric, or it does not fit; the text names those that do.
    """
    found = metric(name)
    if name not in FITTING.get(kind, (name,)):
        raise UserError(
            f"metric {name!r} does not fit tasks of kind {kind!r}; those that do: {', '.join(FITTING[kind])}."
        )
    return found


def compared(gold: Gold, prediction: Any, *, kind: str, writes: bool) -> tuple[Gold, Any]:
    """Return a row and its prediction as the published script for a model compares them.

    Answers that a model writes are scored as mT5 scores them; all else as it is.
    """
    if kind == "span_qa" and writes:
        return answers.padded(gold, prediction)
    return gold, prediction
