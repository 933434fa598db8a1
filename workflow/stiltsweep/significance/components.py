"""Where the variance of a lift comes from: examples, runs, and the chance agreement of runs with examples.

Each of the three is divided into what all languages have in common (shared examples, shared runs) and what each has by
itself, so that the variance of a lift can be told for another number of examples, runs and languages (`power`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arms import BASELINE
from .joint import asked_about, divided, held_by_all, sets_of_runs
from .resampled import Resampled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Variances of a lift in squared points; of runs and examples, those of one. As estimated: may be below 0."""

    examples_common: float
    """Of one example, runs without number: in all languages alike."""
    examples_own: float
    """In each language by itself."""
    agreement_common: float
    """Of one run with one example, beyond what the example is to all runs and the run to all examples."""
    agreement_own: float
    runs_common: float
    """Of one run (of a pair of runs, where seeds are paired)."""
    runs_own: float

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Components:
        """Read what `document` wrote."""
        return cls(**{field.name: float(document[field.name]) for field in fields(cls)})


def mean(several: Sequence[Components]) -> Components:
    """Return the mean, component by component."""
    return Components(*(np.mean([list(asdict(one).values()) for one in several], axis=0).tolist()))


def components(
    resampled: Resampled, arms: Sequence[str], baseline: str = BASELINE
) -> tuple[Components, float, int] | None:
    """Return the components of the mean lift of some arms, the examples a language has on average, and the runs.

    Args:
      resampled: see `resampled.resample`.
      arms: one or more.
      baseline: what they are compared with.

    Returns:
      None where an arm or the baseline has fewer than two runs, or there are fewer than two languages.
    """
    statistics = resampled.statistics
    there = held_by_all(resampled, arms, baseline)
    counts = [len(statistics.seeds[name]) for name in (*arms, baseline)]
    if len(there) < 2 or min(counts) < 2:
        return None
    weights = {**{arm: 1.0 / len(arms) for arm in arms}, baseline: -1.0}
    drawn = np.asarray(sum(w * resampled.drawn[name][there] for name, w in weights.items()))
    examples = np.atleast_2d(np.cov(drawn[:, np.isfinite(drawn).all(axis=0)]))
    n = float(np.mean([len(resampled.examples[statistics.languages[i]]) for i in there]))
    inner = np.ix_(there, there)
    agreement, beyond = np.zeros_like(examples), np.zeros_like(examples)
    for arm, weight in sets_of_runs(resampled, weights):
        agreement += weight**2 * arm.noise[inner]
        beyond += weight**2 * (np.atleast_2d(np.cov(arm.scores[:, there], rowvar=False)) - arm.noise[inner])
    runs = round(float(np.mean(counts)))
    parts = [(examples - agreement / runs) * n, agreement * n, beyond]
    of_parts = [divided(part) for part in parts]
    return Components(*(value for common, alone in of_parts for value in (common, alone - common))), n, runs


def document(resampled: Resampled) -> dict[str, Any]:
    """Return the components of every arm, and of the arms' mean, as JSON; those that cannot be had are left out."""
    arms = [arm for arm in asked_about(resampled.statistics) if arm in resampled.arms]
    if BASELINE not in resampled.arms:
        return {}
    asked = {**{arm: [arm] for arm in arms}, **({"mean": arms} if arms else {})}
    held = {}
    for name, members in asked.items():
        if (had := components(resampled, members)) is not None:
            parts, examples, runs = had
            values = {key: round(value, 6) for key, value in asdict(parts).items()}
            held[name] = {**values, "examples": examples, "runs": runs}
    own = {arm: held[arm] for arm in arms if arm in held}
    return {"arms": own, "mean": held.get("mean")}
