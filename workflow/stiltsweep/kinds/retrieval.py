"""Retrieval: which candidates mean what a query means, by cosine of pooled hidden states; exact search in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from ..metrics.ranking import DEPTH
from ..models.batches import Batch, Example
from ..records import Row
from .base import Form, Layout, pool

_CHUNK = 1024
"""Queries compared at once: the score block is (_CHUNK, candidates)."""


class RetrievalForm(Form):
    """A pooled layer of the encoder; no head, no training data."""

    @property
    def outputs(self) -> int:
        """No head."""
        return 0

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per query or candidate.

        Raises:
          UserError: asked for training.
        """
        if training:
            raise UserError(f"{self.meta.task}: retrieval targets are predicted without training on them.")
        layout = Layout(self.tokenizer)
        room = self.limits.max_length - layout.room_one
        pieces = self.tokenizer.pieces([self.representation.prefix + row["text"] for row in rows])
        return [Example(number, [layout.one(found.ids[:room])]) for number, found in enumerate(pieces)]

    def groups(self, rows: Sequence[Row]) -> list[list[int]]:
        """Queries and candidates apart: languages often share their candidates."""
        found = [[i for i, row in enumerate(rows) if row["side"] == side] for side in ("query", "candidate")]
        return [group for group in found if group]

    def weight(self, example: Example) -> float:
        """Nothing is trained."""
        return 0.0

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Nothing is trained.

        Raises:
          UserError: always.
        """
        raise UserError(f"{self.meta.task}: retrieval targets are predicted without training on them.")

    def predict(self, model: Any, batch: Batch) -> list[NDArray[np.float32]]:
        """Return unit vectors (H,)."""
        hidden_BLH = model.hidden(batch, layer=self.representation.layer)
        vectors_BH = pool(hidden_BLH, batch.mask_BL, self.representation.retrieval_pooling).float()
        vectors_BH = vectors_BH / vectors_BH.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return list(vectors_BH.cpu().numpy())

    def decode(
        self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[NDArray[np.float32]]
    ) -> list[list[str] | None]:
        """Return the ids of the best candidates of each query, best first; None for a candidate's own row."""
        queries = [index for index, row in enumerate(rows) if row["side"] == "query"]
        candidates = [index for index, row in enumerate(rows) if row["side"] == "candidate"]
        best = nearest(np.stack([raw[i] for i in queries]), np.stack([raw[i] for i in candidates]), DEPTH)
        found: list[list[str] | None] = [None] * len(rows)
        for query, order in zip(queries, best, strict=True):
            found[query] = [rows[candidates[i]]["id"] for i in order]
        return found


def nearest(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], depth: int, chunk: int = _CHUNK
) -> NDArray[np.int64]:
    """Return for each query the indices of its best candidates by dot product (queries, min(depth, candidates)).

    Ties go to the earlier candidate, so the result does not depend on `chunk`; memory is chunk x candidates.
    """
    depth = min(depth, len(candidates))
    rows = []
    for start in range(0, len(queries), chunk):
        scores = queries[start : start + chunk] @ candidates.T
        # A stable sort of the few best: argpartition alone breaks ties by chance.
        rows.append(np.argsort(-scores, axis=1, kind="stable")[:, :depth])
    return np.concatenate(rows)
