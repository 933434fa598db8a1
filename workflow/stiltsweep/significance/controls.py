"""Which arms are compared with each other: an arm with its controls, and a variant with the arm it varies.

A lift of `mnli` may be more training, not the task: `mnli+steps_matched` trains as long without it, and
`mnli+shuffled_labels` sees its texts without its labels. What `mnli` adds to either is the difference of the two lifts,
in which the baseline cancels; so it is tested like a lift, with the other arm in the baseline's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..arms import SHUFFLED_LABELS, STEPS_MATCHED
from .analysis import Row, compare
from .comparison import COLUMNS as LIFT_COLUMNS
from .comparison import Comparison
from .estimands import Estimand
from .resampled import Pair, Resampled

CONTROLS = (SHUFFLED_LABELS, STEPS_MATCHED)


@dataclass(frozen=True)
class Control(Comparison):
    """One row of controls.csv: an arm against another one in the baseline's place."""

    against: str


_PLACE = LIFT_COLUMNS.index("intermediate") + 1
COLUMNS = (*LIFT_COLUMNS[:_PLACE], "against", *LIFT_COLUMNS[_PLACE:])
"""The columns of controls.csv: those of lift.csv, and `against`, the arm in the baseline's place."""


def is_control(arm: str) -> bool:
    """Whether an arm is there to be compared with, and no intermediate training in its own right."""
    return arm.rpartition("+")[2] in CONTROLS


def pairs(arms: Sequence[str]) -> list[Pair]:
    """Return what is compared among some arms, in their order: the arm with the training less the one without.

    An arm with its last variant is compared with the arm without it, where both are there. A control takes something
    away, so it is what its arm is compared with; other variants (masked language modelling, translation) add something.
    """
    chosen = []
    for arm in arms:
        base = arm.rpartition("+")[0]
        if base in arms:
            chosen.append((base, arm) if is_control(arm) else (arm, base))
    return chosen


def compared(resampled: Resampled, estimands: Sequence[Estimand], pairs: Sequence[Pair]) -> list[Row]:
    """Compare arms as `analysis.compare` does; rows have the keys of `COLUMNS`."""
    rows = compare(resampled, estimands, pairs)
    against = [other for _, other in pairs for _ in estimands]
    return [row | {"against": other} for row, other in zip(rows, against, strict=True)]
