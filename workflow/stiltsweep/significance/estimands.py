"""What is estimated: lifts of a language, of a group, of all languages, and contrasts between groups.

Each is a linear map of the per-language lifts, so that every draw of the lifts is one matrix product away from a draw
of all estimands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimand:
    """Mean over `plus`, minus the mean over `minus` if there is any."""

    scope: str
    """language, group, all or contrast."""
    grouping: str
    """The column of languages.csv that made the group; `language` and `all` for those scopes."""
    group: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()
    first: str = ""
    """Of a contrast: the group of `plus`; `second`: that of `minus`."""
    second: str = ""
    absent: str = ""
    """Why there is nothing to estimate; empty where there is."""

    @property
    def languages(self) -> tuple[str, ...]:
        return self.plus + self.minus

    def within(self, available: Iterable[str]) -> Estimand:
        """Return the estimand over those of its languages that are there."""
        there = set(available)
        plus, minus = (tuple(code for code in side if code in there) for side in (self.plus, self.minus))
        lost = [code for code in self.languages if code not in there]
        absent = self.absent
        if not absent and (bool(plus), bool(minus)) != (bool(self.plus), bool(self.minus)):
            absent = f"no usable score in {' '.join(lost)}"
        return replace(self, plus=plus, minus=minus, absent=absent)


def estimands(
    languages: Sequence[str], groups: Mapping[str, Mapping[str, Sequence[str]]], contrasts: str
) -> list[Estimand]:
    """List the estimands of a target in their order in every table.

    Args:
      languages: the target's transfer languages.
      groups: grouping column -> value -> languages; a value may have none.
      contrasts: the grouping whose groups are compared pair by pair.
    """
    asked = [Estimand("all", "all", "all", tuple(languages))]
    for grouping, members in groups.items():
        for group, codes in members.items():
            absent = "" if codes else f"no transfer language of this target is {group}"
            asked.append(Estimand("group", grouping, group, tuple(codes), absent=absent))
    members = groups[contrasts]
    for one, other in itertools.combinations(members, 2):
        empty = [group for group in (one, other) if not members[group]]
        absent = f"no transfer language of this target is {' or '.join(empty)}" if empty else ""
        asked.append(
            Estimand(
                "contrast",
                contrasts,
                f"{one} - {other}",
                tuple(members[one]),
                tuple(members[other]),
                one,
                other,
                absent,
            )
        )
    asked += [Estimand("language", "language", code, (code,)) for code in languages]
    return asked


def weights(asked: Sequence[Estimand], languages: Sequence[str]) -> Array:
    """Return (estimands, languages): the linear map from lifts per language to estimands."""
    matrix = np.zeros((len(asked), len(languages)))
    position = {code: column for column, code in enumerate(languages)}
    for row, estimand in enumerate(asked):
        for side, sign in ((estimand.plus, 1.0), (estimand.minus, -1.0)):
            for code in side:
                matrix[row, position[code]] += sign / len(side)
    return matrix


def zero_filled(values: Array) -> Array:
    """Replace NaN by 0: such languages have weight 0, and 0 * NaN is NaN."""
    return np.nan_to_num(values, nan=0.0)
