"""Which runs count: the one rule of tests, benchmark scores and report.

A run that ends at chance level on dev says nothing of its intermediate task and is left out. Another thing is a
run that learned its target although a training it goes on from (its intermediate, the first of two target stages) ended
at chance. Whether such a run counts is a setting, because both have a use: kept, a lift is that of *setting out to
train* on an intermediate task, failures included; left out, it is that of training which succeeded, of runs chosen by
how they went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

KEEP, LEAVE_OUT = "keep", "leave_out"
FAILED_INTERMEDIATES = (KEEP, LEAVE_OUT)
"""What to do with runs that learned their target on a start that learned nothing; the first is the default."""

AT_CHANCE = "at-chance"
START_AT_CHANCE = "intermediate-at-chance"


def failed_stages(record: Mapping[str, Any]) -> list[str]:
    """Return the trainings, as folders below the results, that a cell's run goes on from and that ended at chance."""
    return list(record.get("failed_stages", []))


def left_out(records: Iterable[Mapping[str, Any]], failed_intermediates: str) -> str:
    """Return why a run does not count: `at-chance`, `intermediate-at-chance`; empty if it does.

    Args:
      records: the run's cells (JSON).
      failed_intermediates: one of `FAILED_INTERMEDIATES`.
    """
    cells = list(records)
    if not all(record.get("learned", True) for record in cells):
        return AT_CHANCE
    if failed_intermediates == LEAVE_OUT and any(failed_stages(record) for record in cells):
        return START_AT_CHANCE
    return ""
