"""Per-language lifts of one or several targets as the observations of one meta-regression."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..significance import Joint
from .mixed import Levels

Array = NDArray[np.float64]

_NO_ERROR = 1e-9
"""Squared points; what is written of covariances has as many places."""


@dataclass(frozen=True)
class Observations:
    """Lifts, one a block (target, or model and target) and language."""

    languages: tuple[str, ...]
    """Sorted; those that any block holds."""
    y: Array
    """(observations,) in points."""
    S: Array
    """(observations, observations) covariance of their sampling errors; blocks share no examples."""
    language: Levels
    """(observations,) place in `languages`."""
    block: Levels

    @classmethod
    def of(cls, blocks: Sequence[Joint], known: Collection[str]) -> Observations:
        """Stack blocks, of each the languages that are `known`.

        A block in which nothing varies (a target that every run solves whole, say) is left out: its lifts would weigh
        infinitely much and say nothing of languages. A single lift without any error gets the least error of the
        others.
        """
        blocks = [one for one in blocks if one.covariance.any()]
        kept = [[i for i, code in enumerate(one.languages) if code in known] for one in blocks]
        kept = [places for places in kept if places]
        full = [one for one in blocks if any(code in known for code in one.languages)]
        languages = tuple(sorted({one.languages[i] for one, places in zip(full, kept, strict=True) for i in places}))
        position = {code: place for place, code in enumerate(languages)}
        n = sum(map(len, kept))
        y, S = np.zeros(n), np.zeros((n, n))
        language, block = np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
        start = 0
        for number, (one, places) in enumerate(zip(full, kept, strict=True)):
            here = slice(start, start + len(places))
            y[here] = one.lifts[places]
            S[here, here] = one.covariance[np.ix_(places, places)]
            language[here] = [position[one.languages[i]] for i in places]
            block[here] = number
            start += len(places)
        exact = S.diagonal() <= _NO_ERROR
        if exact.any() and not exact.all():
            S[exact, exact] = S.diagonal()[~exact].min()
        return cls(languages, y, S, language, block)

    @property
    def intercepts(self) -> Array:
        """(observations, blocks - 1): what a block has over the mean of the blocks; none where there is one block."""
        blocks = int(self.block.max()) + 1
        coded = np.eye(blocks)[self.block]
        return np.asarray(coded[:, :-1] - coded[:, -1:])

    def components(self, lineages: Mapping[str, str] | None) -> dict[str, Levels]:
        """Return the random effects: lineages if given, languages, and, over several blocks, what is of one alone."""
        effects: dict[str, Levels] = {}
        if lineages is not None:
            names = np.array([lineages[code] for code in self.languages])
            effects["lineage"] = np.unique(names, return_inverse=True)[1][self.language]
        effects["language"] = self.language
        if len(np.unique(self.language)) < len(self.y):
            effects["observation"] = np.arange(len(self.y))
        return effects
