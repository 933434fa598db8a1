"""Strata: ids grouped by which languages hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALLEST = 30
"""Ids; a smaller stratum is pooled with other small ones."""


@dataclass(frozen=True)
class Stratum:
    """Ids that are resampled among themselves."""

    ids: tuple[str, ...]
    """Sorted."""
    places: Mapping[str, NDArray[np.intp]]
    """Language -> positions in `ids` of those it holds: all of them, but in the pool of small strata."""
    rows: Mapping[str, NDArray[np.intp]]
    """Language -> positions of these among that language's own sorted ids."""

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of the ids, which is all that the stratum's draws depend on besides the seed."""
        return hashlib.sha256("\n".join(self.ids).encode("utf-8")).hexdigest()

    def spread(self, language: str, values: Array) -> Array:
        """Place a language's values (..., its examples) on the stratum's ids (..., ids), 0 where it holds none."""
        placed = np.zeros((*values.shape[:-1], len(self.ids)))
        placed[..., self.places[language]] = values[..., self.rows[language]]
        return placed

    def count(self, languages: Collection[str]) -> int:
        """Return how many ids any of the languages holds."""
        held = [self.places[code] for code in languages if code in self.places]
        return len(np.unique(np.concatenate(held))) if held else 0


def stratify(ids: Mapping[str, Sequence[str]]) -> list[Stratum]:
    """Group ids by the set of languages that hold them.

    Parallel data give one stratum, data without shared ids one per language, and data shared in part (MLQA) one per
    combination of languages. An id is one unit wherever it stands: its draw is shared by all languages that hold it.
    Drawing n ids out of n understates a variance by 1/n, so combinations with fewer than `SMALLEST` ids are pooled into
    one stratum; a language's number of examples then varies a little over resamples, as a ratio allows.

    Args:
      ids: language -> its sorted ids.

    Returns:
      Strata sorted by their ids, so that their order does not depend on that of the languages.
    """
    holders: dict[str, list[str]] = {}
    for language in sorted(ids):
        for name in ids[language]:
            holders.setdefault(name, []).append(language)
    members: dict[tuple[str, ...], list[str]] = {}
    for name, codes in holders.items():
        members.setdefault(tuple(codes), []).append(name)
    small = [name for names in members.values() if len(names) < SMALLEST for name in names]
    groups = [names for names in members.values() if len(names) >= SMALLEST] + ([small] if small else [])
    position = {language: {name: row for row, name in enumerate(names)} for language, names in ids.items()}
    strata = []
    for names in groups:
        ordered = tuple(sorted(names))
        places: dict[str, NDArray[np.intp]] = {}
        rows: dict[str, NDArray[np.intp]] = {}
        for code in sorted({code for name in names for code in holders[name]}):
            own = position[code]
            places[code] = np.array([place for place, name in enumerate(ordered) if name in own], dtype=np.intp)
            rows[code] = np.array([own[name] for name in ordered if name in own], dtype=np.intp)
        strata.append(Stratum(ordered, places, rows))
    return sorted(strata, key=lambda stratum: stratum.ids)
