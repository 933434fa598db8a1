"""Retrieval: which candidates mean what a query means, by cosine of pooled hidden states.

Shape letters: B inputs of a batch, L token positions, H width, P pairs of a query and a right candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..cuts import Cut
from ..metrics.ranking import DEPTH, REVERSE
from ..models.batches import Batch, Example
from ..records import Row
from .base import Form, Layout, pool
from .search import nearest

SCALE = 100.0
"""Cosines are multiplied by it in training's softmax: where XTREME-R's dual encoders start (and hardly leave)."""
_PIECE = 4096
"""Token slots, padding included, whose activations training holds at once."""


class RetrievalForm(Form):
    """A pooled layer of the encoder; no head.

    Untrained, the layer is the one the model's catalogue entry names. Training (a dual encoder whose sides share all
    weights) reads the last layer, and so does whatever is predicted from its checkpoint.
    """

    @property
    def outputs(self) -> int:
        """No head."""
        return 0

    def learn_options(self, rows: Sequence[Row]) -> None:
        """Training shapes the last layer."""
        self.options = {"layer": -1}

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per query or candidate; in training, one example per query and right candidate, of two inputs."""
        layout = Layout(self.tokenizer)
        room = self.limits.max_length - layout.room_one
        pieces = self.tokenizer.pieces([self.representation.prefix + row["text"] for row in rows])
        inputs = [layout.one(text.ids[:room]) for text in pieces]
        lengths = [len(text.ids) for text in pieces]
        lost = [max(0, length - room) for length in lengths]
        if not training:
            return [
                Example(n, [one], cut=Cut(lengths[n], lost[n], candidate=row["side"] == "candidate"))
                for n, (row, one) in enumerate(zip(rows, inputs, strict=True))
            ]
        candidates = {row["id"]: number for number, row in enumerate(rows) if row["side"] == "candidate"}
        return [
            Example(
                number,
                [inputs[number], inputs[candidates[gold]]],
                labels=gold,
                align=frozenset(row["gold"]),
                cut=Cut(lengths[number] + lengths[candidates[gold]], lost[number] + lost[candidates[gold]]),
            )
            for number, row in enumerate(rows)
            if row["side"] == "query"
            for gold in row["gold"]
        ]

    def groups(self, rows: Sequence[Row]) -> list[list[int]]:
        """Queries and candidates apart: languages often share their candidates."""
        groups: dict[tuple[str, str], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault((row["side"] == "candidate", row["split"]), []).append(index)
        return [groups[key] for key in sorted(groups)]

    def weight(self, example: Example) -> float:
        """One query."""
        return 1.0

    def micro_batches(
        self, examples: Sequence[Example], tokens: int, *, padded: bool = True
    ) -> Iterator[list[Example]]:
        """Keep the update together: every pair is the negative of all others, whatever memory there is."""
        yield list(examples)

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Return the summed cross entropy of each query's right candidate among all candidates of the update.

        Candidates that are right for the query too are left out of its softmax.
        """
        vectors_BH = self._in_pieces(model, batch)
        with torch.autocast(vectors_BH.device.type, enabled=False):
            logits_PP = SCALE * vectors_BH[0::2] @ vectors_BH[1::2].T
        right = [[other.labels in one.align for other in batch.examples] for one in batch.examples]
        right_PP = torch.tensor(right, device=logits_PP.device)
        right_PP.fill_diagonal_(False)
        target_P = torch.arange(len(logits_PP), device=logits_PP.device)
        return F.cross_entropy(logits_PP.masked_fill(right_PP, -torch.inf), target_P, reduction="sum")

    def _in_pieces(self, model: Any, batch: Batch) -> Tensor:
        """Return unit vectors (B, H) with their gradients, holding the activations of one piece of the batch at a time.

        Inputs are cut by length. All pieces but a single one are computed again on the way back (Chen et al. 2016,
        Training Deep Nets with Sublinear Memory Cost): memory then depends on the piece, and the loss on the batch.
        """
        lengths = batch.mask_BL.sum(1).tolist()
        order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
        pieces: list[list[int]] = [[]]
        for index in order:
            if pieces[-1] and lengths[index] * (len(pieces[-1]) + 1) > _PIECE:
                pieces.append([])
            pieces[-1].append(index)
        vectors: list[Tensor] = []
        for piece in pieces:
            rows, longest = torch.tensor(piece, device=batch.ids_BL.device), lengths[piece[-1]]
            types = None if batch.types_BL is None else batch.types_BL[rows, :longest]
            part = Batch([], batch.ids_BL[rows, :longest], batch.mask_BL[rows, :longest], types)
            again = len(pieces) > 1
            vectors.append(
                checkpoint(self._vectors, model, part, use_reentrant=False) if again else self._vectors(model, part)
            )
        back = torch.tensor(order, device=batch.ids_BL.device).argsort()
        return torch.cat(vectors)[back]

    def _vectors(self, model: Any, batch: Batch) -> Tensor:
        """Return unit vectors (B, H)."""
        hidden_BLH = model.hidden(batch, layer=self.options.get("layer", self.representation.layer))
        vectors_BH = pool(hidden_BLH, batch.mask_BL, self.representation.retrieval_pooling).float()
        unit_BH: Tensor = vectors_BH / vectors_BH.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return unit_BH

    def predict(self, model: Any, batch: Batch) -> list[NDArray[np.float32]]:
        """Return unit vectors (H,)."""
        return list(self._vectors(model, batch).cpu().numpy())

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return what `metrics.ranking` wants of each query; None for a candidate's own row."""
        queries, candidates = sides(rows)
        _, best = nearest([raw[i] for i in queries], [raw[i] for i in candidates], DEPTH)
        ranked: list[Any] = [None] * len(rows)
        for query, order in zip(queries, best, strict=True):
            ranked[query] = [rows[candidates[i]]["id"] for i in order]
        if REVERSE in {*self.meta.metrics_of("encoder"), *self.meta.metrics_of("text2text")}:
            nearest_query = self._nearest_queries(rows, raw, queries, candidates)
            for query in queries:
                asked = [nearest_query[gold] for gold in rows[query]["gold"]]
                ranked[query] = {"candidates": ranked[query], "queries": asked}
        return ranked

    def _nearest_queries(
        self,
        rows: Sequence[Row],
        raw: Sequence[NDArray[np.float32]],
        queries: Sequence[int],
        candidates: Sequence[int],
    ) -> dict[str, list[Any]]:
        """Return, by the id of each right candidate, the nearest query and whether it is right for that."""
        wanted = {gold for query in queries for gold in rows[query]["gold"]}
        asking = [i for i in candidates if rows[i]["id"] in wanted]
        _, best = nearest([raw[i] for i in asking], [raw[i] for i in queries], 1)
        answers = [rows[queries[order[0]]] for order in best.tolist()]
        return {
            rows[i]["id"]: [query["id"], rows[i]["id"] in query["gold"]]
            for i, query in zip(asking, answers, strict=True)
        }


def sides(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
    """Return the indices of the queries and of the candidates."""
    queries = [index for index, row in enumerate(rows) if row["side"] == "query"]
    return queries, [index for index, row in enumerate(rows) if row["side"] == "candidate"]
