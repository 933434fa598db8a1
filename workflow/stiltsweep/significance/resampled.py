"""What is drawn for one model and target, once for all comparisons; named in each row:

examples                   test examples (ids), in strata; the trained models are held fixed.
examples+seeds             examples, and the training runs that the seeds stand for; the languages are held fixed.
examples+seeds+languages   also the languages of a group, as a sample of its languages; for groups of five and more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arms import BASELINE
from ..errors import UserError, nearest
from ..resampling.strata import Stratum, stratify
from . import influence
from .bootstrap import arm_draws, sign_flips
from .cells import Statistics, by_unit

Array = NDArray[np.float64]
Pair = tuple[str, str]
"""An arm and the one it is compared with."""

LEVELS = ("examples", "examples+seeds", "examples+seeds+languages")


@dataclass(frozen=True)
class Settings:
    """How to test."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95
    resampling: str = "examples+seeds"
    """One of `LEVELS`."""
    pair_seeds: bool = True
    """Pair the runs of two arms that share a seed, and with it the first head and the order of the target's data."""
    margin: float = 1.0
    """Points; a lift shown to be less than this either way is `no more than the margin`."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings among some values; what these lack is as it is by default."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    def __post_init__(self) -> None:
        """Refuse values without meaning.

        Raises:
          UserError: the text names the setting.
        """
        if self.resampling not in LEVELS:
            hint = nearest(self.resampling, LEVELS)
            raise UserError(f"resampling: {self.resampling!r} is not one of {', '.join(LEVELS)}.{hint}")
        if self.resamples < 100:
            raise UserError(f"resamples: {self.resamples} is too few; at least 100, 10000 for a paper.")
        if not self.margin > 0.0:
            raise UserError(f"margin: {self.margin} is not above 0; 1 (point) is usual.")
        if not 0.5 <= self.confidence < 1.0:
            raise UserError(f"confidence: {self.confidence} is not between 0.5 and 1 (0.95 is usual).")


@dataclass(frozen=True)
class Resampled:
    """Everything drawn for one model and target; any number of estimands can be read off it."""

    statistics: Statistics
    """Of what is drawn: clusters of examples where the data name any."""
    examples: Mapping[str, tuple[str, ...]]
    """Language -> ids of its examples."""
    settings: Settings
    strata: Sequence[Stratum]
    arms: Mapping[str, influence.Arm]
    """Scores and contributions of the arms that have runs."""
    drawn: Mapping[str, Array]
    """Arm -> (languages, resamples) scores under resampled examples."""
    flipped: Mapping[Pair, Array]
    """Pair -> (languages, resamples) lifts under swapped answers; NaN where there is no lift."""
    counts: dict[frozenset[str], int] = field(default_factory=dict)
    """Filled by `count`."""

    def count(self, languages: Iterable[str]) -> int:
        """Return how many distinct examples some languages hold."""
        key = frozenset(languages)
        if key not in self.counts:
            self.counts[key] = len({name for code in key for name in self.examples.get(code, ())})
        return self.counts[key]


def resample(
    statistics: Statistics, settings: Settings, pairs: Sequence[Pair] = (), *, chunk: int | None = None
) -> Resampled:
    """Draw examples and swaps, once for all pairs of arms, languages and estimands.

    Args:
      statistics: see `cells`.
      settings: see `Settings`.
      pairs: arms to compare with each other, besides every intermediate with the baseline.
      chunk: resamples drawn at a time; the result does not depend on it.
    """
    examples = statistics.ids
    statistics = by_unit(statistics)
    strata = stratify(statistics.ids)
    arms = {name: influence.arm(statistics, strata, name) for name, seeds in statistics.seeds.items() if seeds}
    count: dict[str, Any] = {"resamples": settings.resamples, "seed": settings.seed, "chunk": chunk}
    lifts = {pair: _contributions(statistics, arms, pair) for pair in (*lift_pairs(statistics), *pairs)}
    flipped = sign_flips(lifts, strata, languages=statistics.languages, **count)
    return Resampled(statistics, examples, settings, strata, arms, arm_draws(statistics, strata, **count), flipped)


def lift_pairs(statistics: Statistics) -> list[Pair]:
    """Return every intermediate with the baseline."""
    return [(name, BASELINE) for name in statistics.intermediates]


def _contributions(statistics: Statistics, arms: Mapping[str, influence.Arm], pair: Pair) -> dict[str, Array]:
    """Return language -> (examples,) contributions to the lift, summing to it; only where both arms have a score."""
    contributions: dict[str, Array] = {}
    if all(name in arms for name in pair):
        one, other = (arms[name] for name in pair)
        for column, code in enumerate(statistics.languages):
            if all(code in statistics.held[name] for name in pair):
                lift = float(one.scores[:, column].mean() - other.scores[:, column].mean())
                if np.isfinite(lift):
                    contributions[code] = one.mean[code] - other.mean[code] + lift / len(one.mean[code])
    return contributions
