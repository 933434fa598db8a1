"""Which words meet in which case: the same in every language, because it looks at positions and never at words."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...errors import UserError

MOST = 100_000
"""Combinations of one case; more are a mistake, or more than anyone would wait for."""


@dataclass(frozen=True)
class Choice:
    """One example: a case, and an item for each of its placeholders."""

    capability: str
    case: int
    """Position of the case, from 0."""
    items: Mapping[str, int]
    """Placeholder -> position in its list, from 0."""

    @property
    def id(self) -> str:
        """`capability/case-item-item...`, counted from 1, items in the order of their placeholders' names.

        It says which template and which words an example came from, and stays when a list or the cases grow.
        """
        return f"{self.capability}/" + "-".join(str(at + 1) for at in (self.case, *self.items.values()))


def choices(
    capability: str, cases: int, slots: Mapping[str, str], lengths: Mapping[str, int], sample: int | None
) -> list[Choice]:
    """Return the examples of a capability, ordered by case and items.

    Args:
      capability: its name.
      cases: how many it has.
      slots: placeholder -> name of its list, in any order; two that share a list never hold the same item.
      lengths: name of a list -> items in it.
      sample: examples wanted, spread evenly over the cases (the first ones get what is left over); of a case those
        with the smallest SHA-256 of their id, so that a larger sample holds a smaller one. None: all there are.

    Raises:
      UserError: a case has more than `MOST` combinations.
    """
    slots = dict(sorted(slots.items()))
    most = math.prod(lengths[name] for name in slots.values())
    if most > MOST:
        raise UserError(
            f"capabilities.{capability}: {most:,} combinations of words in each case, more than {MOST:,}. "
            "Shorten its lists."
        )
    made = []
    for case in range(cases):
        every = list(_combinations(capability, case, slots, lengths))
        if sample is not None:
            wanted = sample // cases + (case < sample % cases)
            every = sorted(sorted(every, key=_digest)[:wanted], key=lambda choice: tuple(choice.items.values()))
        made += every
    return made


def _combinations(capability: str, case: int, slots: Mapping[str, str], lengths: Mapping[str, int]) -> Iterator[Choice]:
    for items in itertools.product(*(range(lengths[name]) for name in slots.values())):
        drawn = list(zip(slots.values(), items, strict=True))
        if len(set(drawn)) == len(drawn):
            yield Choice(capability, case, dict(zip(slots, items, strict=True)))


def _digest(choice: Choice) -> bytes:
    return hashlib.sha256(choice.id.encode("utf-8")).digest()
