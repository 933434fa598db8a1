"""Of differences of types that dealing labels out over languages finds: how many stand with lineages kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..resampling.draws import generator
from ..significance import Joint
from ..typology.models import Problem, Settings, Typed, omnibus
from ..typology.observations import Observations
from ..typology.tables import LANGUAGES, LINEAGES

_SWEEPS = 300
"""Their chance error is 2.9 points at a half."""
_DEALS = 999


def stand(
    types: Mapping[str, str],
    lineages: Mapping[str, str],
    findable: Sequence[str],
    variances: tuple[float, float],
    points: float,
    alpha: float,
) -> float | None:
    """Return the share of simulated sweeps in which both tests find that one type lies so far above the others.

    No variance is between lineages, so that what is lost is lost to there being fewer lineages than languages.

    Args:
      types: language -> type.
      lineages: language -> lineage.
      findable: types that the test over languages can find; each lies apart in as many sweeps.
      variances: of a language's lift around its type's mean, and of the error of its lift.
      points: how far.
      alpha: level of both tests.

    Returns:
      None where there is no test with lineages kept together.
    """
    codes = tuple(sorted(types))
    between, error = variances
    rng = generator(0, "power with lineages", *codes)
    standing = 0
    for sweep in range(_SWEEPS):
        chosen = findable[sweep % len(findable)]
        lifts = rng.normal(0.0, (between + error) ** 0.5, len(codes))
        lifts += [points * (types[code] == chosen) for code in codes]
        observed = Observations.of([Joint(codes, lifts, error * np.eye(len(codes)))], types)
        settings = Settings(permutations=_DEALS, seed=sweep)
        kept, alone = (Typed(Problem(observed, random, lineages), types) for random in (LINEAGES, LANGUAGES))
        if kept.absent:
            return None
        # The test that finds less comes first: where it finds nothing the other need not be made.
        tests = (omnibus(one, settings)["p"] for one in (kept, alone))
        standing += all(p is not None and p < alpha for p in tests)
    return standing / _SWEEPS
