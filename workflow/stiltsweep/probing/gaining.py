"""What training added to what a probe finds: the mean gain with an interval and a test over languages and runs.

A gain is the accuracy of a probe on a checkpoint less that on its reference, in one language, after one run, mean over
features and over the layers that training changed: a layer in which nothing moved was frozen and says nothing.
Languages and runs are crossed, as examples and runs are in the tests of lift: the variance of the mean is that between
languages plus that between runs less what both hold of their interaction, with Satterthwaite's (1946) degrees of
freedom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ..languages import ENGLISH
from .curves import ALL, Checkpoint, curves
from .table import Probe

FEWEST = 3
"""Languages of a group; two show too little of how much they differ."""
_SAME = 1e-9
"""Points, or relative to more than one: gains that differ by less are the same but for rounding."""


@dataclass(frozen=True)
class MeanGain:
    """Points that a probe gained, over the languages of a group."""

    checkpoint: Checkpoint
    task: str
    pooling: str
    group: str
    gain: float
    ci_low: float | None
    ci_high: float | None
    p: float | None
    layers: int
    """Those that training changed, which the mean is over."""
    n_languages: int
    n_seeds: int


def mean_gains(probes: Iterable[Probe], confidence: float, source: str = ENGLISH) -> list[MeanGain]:
    """Return the mean gain of every checkpoint, task and pooling, over each family and over all transfer languages.

    Args:
      probes: rows of probes.csv.
      confidence: of the intervals.
      source: the language that targets are trained in, which is none of these.
    """
    rows = [probe for probe in probes if probe.language != source]
    families = {probe.language: probe.family for probe in rows}
    by_seed: dict[int | None, list[Probe]] = {}
    for probe in rows:
        by_seed.setdefault(probe.seed, []).append(probe)
    pretrained = by_seed.pop(None, [])
    # (checkpoint, task, pooling) -> seed -> language -> layer -> gain
    of_probe: dict[tuple[Checkpoint, str, str], dict[int | None, dict[str, tuple[float, ...]]]] = {}
    for seed, own in by_seed.items():
        # A pretrained model has no seed and is the reference of all.
        known = {(c.checkpoint, c.task, c.pooling, c.group): c for c in curves([*pretrained, *own], by="language")}
        for (checkpoint, task, pooling, language), curve in known.items():
            before = known.get((checkpoint.reference, task, pooling, language))
            if before is not None and checkpoint != checkpoint.reference:
                layers = tuple(now - then for now, then in zip(curve.layers, before.layers, strict=True))
                of_probe.setdefault((checkpoint, task, pooling), {}).setdefault(seed, {})[language] = layers
    results = []
    for (checkpoint, task, pooling), runs in of_probe.items():
        languages = sorted(set.intersection(*(set(run) for run in runs.values())))
        if not languages:
            continue
        gains = np.array([[runs[seed][code] for code in languages] for seed in sorted(runs, key=str)])
        moved = (np.abs(gains) > 1e-9).any(axis=(0, 1))
        if not moved.any():
            continue
        of_run = gains[:, :, moved].mean(axis=2)  # (runs, languages)
        groups = {ALL: languages}
        for code in languages:
            if families[code]:
                groups.setdefault(families[code], []).append(code)
        for group, codes in groups.items():
            at = [languages.index(code) for code in codes]
            estimate, low, high, p = tested(of_run[:, at], confidence)
            row = MeanGain(checkpoint, task, pooling, group, estimate, low, high, p, 0, len(codes), len(of_run))
            results.append(replace(row, layers=int(moved.sum())))
    return results


def tested(gains: NDArray[np.float64], confidence: float) -> tuple[float, float | None, float | None, float | None]:
    """Return the mean of (runs, languages) gains, its interval and p; None where there are too few languages."""
    from scipy import stats

    runs, languages = gains.shape
    estimate = fmean(gains.ravel().tolist())
    if languages < FEWEST:
        return estimate, None, None, None
    by_language, by_run = gains.mean(axis=0), gains.mean(axis=1)
    between = float(by_language.var(ddof=1)) / languages
    parts = [(between, languages - 1)]
    if runs > 1:
        rest = gains - by_language[None, :] - by_run[:, None] + estimate
        noise = float((rest**2).sum()) / ((runs - 1) * (languages - 1)) / languages
        # Of the spread of runs, what is their interaction with languages is in the languages' already.
        parts.append((max(0.0, float(by_run.var(ddof=1)) - noise) / runs, runs - 1))
    variance = sum(value for value, _ in parts)
    if variance <= (_SAME * max(1.0, float(np.abs(gains).max()))) ** 2:
        return estimate, None, None, None
    df = variance**2 / sum(value**2 / degrees for value, degrees in parts)
    error = math.sqrt(variance)
    reach = float(stats.t.ppf(0.5 + confidence / 2, df)) * error
    return estimate, estimate - reach, estimate + reach, float(2 * stats.t.sf(abs(estimate) / error, df))
