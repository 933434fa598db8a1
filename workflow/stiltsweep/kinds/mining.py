"""Mining: the few queries that have a translation among the candidates, and which; most sentences have none (BUCC).

Shape letters: Q queries, C candidates, K neighbours, H width.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..models.batches import Example
from ..records import Row
from .retrieval import RetrievalForm, sides
from .search import Vectors, nearest

log = logging.getLogger(__name__)

NEIGHBOURS = 4
"""The k of the margin, as XTREME has it."""


@dataclass(frozen=True)
class Pair:
    """A query and a candidate that may be its translation."""

    score: float
    query: int
    candidate: int


class MiningForm(RetrievalForm):
    """Retrieval's vectors; pairs by their margin, above a threshold that is best on the language's own dev split.

    XTREME tunes it so too. It is the one thing that is learnt from the target language's gold pairs.
    """

    splits = ("dev", "test")

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return [candidate's id, score] or [] of each query of the test split; None for all other rows.

        While training there is no test split, and the dev split is predicted with its own threshold.

        Raises:
          UserError: no dev split.
        """
        by_split: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            by_split.setdefault(row["split"], []).append(index)
        if "dev" not in by_split:
            raise UserError(
                f"{self.meta.task}/{self.meta.language}: mining tunes its threshold on dev, which is missing."
            )
        pairs = {split: _mine_texts(rows, raw, indices) for split, indices in by_split.items()}
        right = [rows[pair.candidate]["id"] in rows[pair.query]["gold"] for pair in pairs["dev"]]
        gold = sum(len(rows[index]["gold"]) for index in by_split["dev"])
        threshold = best_threshold([pair.score for pair in pairs["dev"]], right, gold)
        log.info("mine %s/%s: threshold %.4f", self.meta.task, self.meta.language, threshold)
        predicted = "test" if "test" in by_split else "dev"
        mined: list[Any] = [None] * len(rows)
        for index in by_split[predicted]:
            if rows[index]["side"] == "query":
                mined[index] = []
        for pair in pairs[predicted]:
            if pair.score >= threshold:
                mined[pair.query] = [rows[pair.candidate]["id"], round(pair.score, 6)]
        return mined


def _mine_texts(rows: Sequence[Row], raw: Sequence[NDArray[np.float32]], indices: Sequence[int]) -> list[Pair]:
    """Mine among some rows; a pair's query and candidate are indices of rows.

    A text that stands in several rows of a side is compared once, and its pairs are dropped, as which row is meant is
    unknown. (LASER's miner compares it once, XTREME's reader of its output drops it.)
    """
    queries, candidates = ([indices[i] for i in side] for side in sides([rows[i] for i in indices]))
    q, c = ({rows[i]["text"]: i for i in reversed(side)} for side in (queries, candidates))
    times = [Counter(rows[i]["text"] for i in side) for side in (queries, candidates)]
    from_query, from_candidate = sorted(q.values()), sorted(c.values())
    mined = mine([raw[i] for i in from_query], [raw[i] for i in from_candidate])
    pairs = (Pair(one.score, from_query[one.query], from_candidate[one.candidate]) for one in mined)
    return [p for p in pairs if times[0][rows[p.query]["text"]] == times[1][rows[p.candidate]["text"]] == 1]


def mine(queries: Vectors, candidates: Vectors, neighbours: int = NEIGHBOURS) -> list[Pair]:
    """Pair queries and candidates by ratio margin, best first; each occurs at most once.

    The score of a pair is its cosine divided by the mean of the two means of cosines to the nearest neighbours
    (Artetxe and Schwenk 2019, Margin-based Parallel Corpus Mining with Multilingual Sentence Embeddings, ACL). Each
    query proposes the best of its neighbours and each candidate the best of its own; of these proposals the best is
    taken as long as neither side is taken yet. That is the retrieval `max` of their code, which XTREME runs; `fwd`,
    `bwd` and `intersect` are not implemented. As there, scores that are not positive are dropped in the end.

    Args:
      queries: unit vectors (Q, H).
      candidates: unit vectors (C, H).
      neighbours: K; fewer where a side has fewer.

    Returns:
      Pairs with falling scores; equal ones in the order of queries' proposals, then candidates'. Memory is linear in
      Q + C.
    """
    forward_QK, candidate_QK = nearest(queries, candidates, neighbours)
    backward_CK, query_CK = nearest(candidates, queries, neighbours)
    mean_Q, mean_C = forward_QK.mean(1, dtype=np.float64), backward_CK.mean(1, dtype=np.float64)
    margin_QK = forward_QK / ((mean_Q[:, None] + mean_C[candidate_QK]) / 2)
    margin_CK = backward_CK / ((mean_C[:, None] + mean_Q[query_CK]) / 2)
    every_q, every_c = np.arange(len(mean_Q)), np.arange(len(mean_C))
    best_q, best_c = margin_QK.argmax(1), margin_CK.argmax(1)
    scores = np.concatenate([margin_QK[every_q, best_q], margin_CK[every_c, best_c]])
    proposals = np.stack(
        [
            np.concatenate([every_q, query_CK[every_c, best_c]]),
            np.concatenate([candidate_QK[every_q, best_q], every_c]),
        ],
        axis=1,
    )
    order = np.argsort(-scores, kind="stable")
    taken: tuple[set[int], set[int]] = set(), set()
    pairs = []
    for score, (query, candidate) in zip(scores[order].tolist(), proposals[order].tolist(), strict=True):
        if query not in taken[0] and candidate not in taken[1]:
            taken[0].add(query)
            taken[1].add(candidate)
            if score > 0:
                pairs.append(Pair(score, query, candidate))
    return pairs


def best_threshold(scores: Sequence[float], right: Sequence[bool], gold: int) -> float:
    """Return the threshold at and above which pairs have the best F1: half-way between two scores.

    The highest one where several are equally good, in XTREME's arithmetic, whose rounding decides between some that
    are; 0 (every pair) where no pair is right, and the last score where all pairs are taken.

    Args:
      scores: of the pairs, falling.
      right: whether each pair is a gold pair.
      gold: number of gold pairs, found or not.
    """
    if not any(right):
        return 0.0
    values = np.array(scores, dtype=np.float64)
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(values) + 1), hits / gold
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros(len(values)), where=hits > 0)
    # A cut between equal scores does not exist.
    f1[:-1][values[:-1] == values[1:]] = -1.0
    cut = int(f1.argmax())
    return float(values[cut] if cut + 1 == len(values) else (values[cut] + values[cut + 1]) / 2)
