"""Clusters: examples that are no evidence of their own, because they share a text, a template or a source.

Three hypotheses about one premise are answered alike; drawing them one by one would take three for what is one, and
call 13% of true nulls findings with five to a cluster (Miller 2024, arXiv:2411.00640). So clusters are drawn, whole: an
example's statistics are added to its cluster's, and the cluster is the unit of everything that follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def units(
    ids: Mapping[str, Sequence[str]], clusters: Mapping[str, Sequence[str]]
) -> dict[str, tuple[tuple[str, ...], NDArray[np.intp]]]:
    """Return what is drawn: the smallest sets of ids that no cluster of any language cuts through.

    A cluster is named within its language (a premise is another text in each), ids are what languages share. An id has
    one unit in all languages, so that one draw still serves all of them.

    Args:
      ids: language -> ids of its examples.
      clusters: language -> cluster of each of them; a language that is not there has examples of their own.

    Returns:
      Language -> (its units, sorted; each named by the smallest of its ids), and the place of each example's unit.
    """
    above: dict[str, str] = {}

    def root(name: str) -> str:
        path = []
        while (up := above.get(name, name)) != name:
            path.append(name)
            name = up
        for one in path:
            above[one] = name
        return name

    for language, own in clusters.items():
        first: dict[str, str] = {}
        for name, cluster in zip(ids[language], own, strict=True):
            one, other = root(first.setdefault(cluster, name)), root(name)
            if one != other:
                above[max(one, other)] = min(one, other)
    drawn = {}
    for language, names in ids.items():
        roots = [root(name) for name in names]
        ordered = tuple(sorted(set(roots)))
        place = {name: row for row, name in enumerate(ordered)}
        drawn[language] = ordered, np.array([place[name] for name in roots], dtype=np.intp)
    return drawn
