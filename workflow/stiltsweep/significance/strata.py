"""Strata: ids grouped by which languages hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stratum:
    """Ids that the same languages hold; they are resampled among themselves."""

    languages: tuple[str, ...]
    """Languages that hold every id of the stratum, sorted."""
    ids: tuple[str, ...]
    """Sorted."""
    rows: Mapping[str, NDArray[np.intp]]
    """Language -> positions of `ids` among that language's sorted ids."""

    @property
    def digest(self) -> str:
        """Return the sha256 (hex) of the ids, which is all that the stratum's draws depend on besides the seed."""
        return hashlib.sha256("\n".join(self.ids).encode("utf-8")).hexdigest()


def stratify(ids: Mapping[str, Sequence[str]]) -> list[Stratum]:
    """Group ids by the set of languages that hold them.

    Parallel data give one stratum, data without shared ids one per language, and data shared in part (MLQA) one per
    combination of languages. An id is one unit wherever it stands: its draw is shared by all languages that hold it.

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
    position = {language: {name: row for row, name in enumerate(names)} for language, names in ids.items()}
    strata = []
    for holding, names in members.items():
        ordered = tuple(sorted(names))
        rows = {code: np.array([position[code][name] for name in ordered], dtype=np.intp) for code in holding}
        strata.append(Stratum(holding, ordered, rows))
    return sorted(strata, key=lambda stratum: stratum.ids)
