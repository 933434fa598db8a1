"""The mean score of every run that is in the tests, as runs.csv: the report shows them and decides nothing anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arms import BASELINE
from .comparison import columns
from .estimands import Estimand
from .resampled import Resampled


@dataclass(frozen=True)
class RunScore:
    """Mean score of one run over the languages that it is compared on, in points."""

    model: str
    target: str
    intermediate: str
    """An arm, or the baseline."""
    grouping: str
    group: str
    """A family, or `all`."""
    seed: int
    n_languages: int
    score: float
    baseline: float
    """Mean score of all runs of the baseline over the same languages."""

    @property
    def lift(self) -> float:
        return self.score - self.baseline


COLUMNS = columns(RunScore)
"""The columns of runs.csv."""


def scores(resampled: Resampled, estimands: Sequence[Estimand]) -> list[dict[str, Any]]:
    """Return the runs of every arm, the baseline's first, over the languages of some groups.

    Args:
      resampled: see `resampled.resample`.
      estimands: estimands of means (no contrasts). A language without a score in the arm or the baseline is left out.

    Returns:
      Rows with the keys of `COLUMNS`; none of an arm without runs, nor of any without runs of the baseline.
    """
    statistics = resampled.statistics
    rows: list[dict[str, Any]] = []
    if BASELINE not in resampled.arms:
        return rows
    baseline = resampled.arms[BASELINE].scores
    for arm in (BASELINE, *statistics.intermediates):
        if arm not in resampled.arms:
            continue
        own = resampled.arms[arm].scores
        usable = np.isfinite(np.concatenate([own, baseline])).all(axis=0)
        there = [statistics.languages[i] for i in np.flatnonzero(usable)]
        for estimand in estimands:
            at = [statistics.languages.index(code) for code in estimand.within(there).plus]
            for seed, run in zip(statistics.seeds[arm], own, strict=True):
                if at:
                    row = RunScore(
                        model=statistics.model,
                        target=statistics.target,
                        intermediate=arm,
                        grouping=estimand.grouping,
                        group=estimand.group,
                        seed=seed,
                        n_languages=len(at),
                        score=round(float(run[at].mean()), 9),
                        baseline=round(float(baseline[:, at].mean()), 9),
                    )
                    rows.append({name: getattr(row, name) for name in COLUMNS})
    return rows
