"""Exact nearest neighbours by dot product, in memory that does not grow with queries times candidates.

Shape letters: Q queries, C candidates of a block, K neighbours, H width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.device import place

QUERIES, CANDIDATES = 1024, 65_536
"""Compared at once: the block of scores takes 256 MB."""

Vectors = NDArray[np.float32] | Sequence[NDArray[np.float32]]
"""Vectors of one width (…, H): an array, or one array a vector, which is never copied whole."""


def nearest(
    queries: Vectors, candidates: Vectors, depth: int, *, chunk: int = QUERIES, block: int = CANDIDATES
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the candidates with the largest dot product of each query, best first.

    Every product is computed, on the GPU if there is one. Equal products stand in the order of the candidates, however
    the work is cut. (Cutting it differently may round a product's last bit differently.)

    Args:
      queries: (Q, H).
      candidates: (C, H), in all.
      depth: neighbours wanted.
      chunk: queries compared at once.
      block: candidates compared at once.

    Returns:
      Products and indices of the candidates, both (Q, min(depth, C)).
    """
    device = place()
    if device.type == "mps":  # lacks a stable sort of whole numbers
        device = torch.device("cpu")
    depth = min(depth, len(candidates))
    best = torch.full((len(queries), depth), -torch.inf)
    places = torch.zeros((len(queries), depth), dtype=torch.int64)
    for first in range(0, len(candidates), block):
        c_CH = _together(candidates[first : first + block]).to(device)
        for start in range(0, len(queries), chunk):
            part = slice(start, start + chunk)
            q_QH = _together(queries[part]).to(device)
            known = best[part].to(device), places[part].to(device)
            scores_QK, indices_QK = _merge(*known, _products(q_QH, c_CH), first)
            best[part], places[part] = scores_QK.cpu(), indices_QK.cpu()
    return best.numpy(), places.numpy()


def _together(vectors: Vectors) -> Tensor:
    return torch.from_numpy(vectors if isinstance(vectors, np.ndarray) else np.stack(vectors))


def _products(q_QH: Tensor, c_CH: Tensor) -> Tensor:
    """Return the dot products (Q, C); on the CPU by numpy, whose rounding does not depend on torch's threads."""
    if q_QH.device.type == "cpu":
        return torch.from_numpy(q_QH.numpy() @ c_CH.numpy().T)
    return q_QH @ c_CH.T


def _merge(best_QK: Tensor, found_QK: Tensor, scores_QC: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Take a block of scores into the best of the blocks before it; its first candidate has the index `first`.

    Only scores above the worst of the best matter, and after the first block those are few: finding them is one
    comparison with each score, where sorting or selecting would cost several passes.
    """
    depth = best_QK.shape[1]
    kept_QC = scores_QC > best_QK[:, -1:]
    if int(kept_QC.count_nonzero()) > 4 * best_QK.numel():
        # The first block, or one better than all before. Of equal scores at the border the earliest will do.
        border_Q1 = scores_QC.topk(min(depth, scores_QC.shape[1]), dim=1).values[:, -1:]
        equal_QC = scores_QC == border_Q1
        kept_QC &= (scores_QC > border_Q1) | (equal_QC & (equal_QC.cumsum(1, dtype=torch.int32) <= depth))
    rows, columns = kept_QC.nonzero(as_tuple=True)
    if not len(rows):
        return best_QK, found_QK
    counts_Q = torch.bincount(rows, minlength=len(best_QK))
    places = torch.arange(len(rows), device=rows.device) - (counts_Q.cumsum(0) - counts_Q)[rows]
    more = int(counts_Q.max())
    new = scores_QC.new_full((len(best_QK), more), -torch.inf)
    indices = found_QK.new_zeros((len(best_QK), more))
    new[rows, places] = scores_QC[rows, columns]
    indices[rows, places] = columns + first
    # Stable, with the earlier candidates first.
    scores, order = torch.cat([best_QK, new], 1).sort(dim=1, descending=True, stable=True)
    return scores[:, :depth], torch.cat([found_QK, indices], 1).gather(1, order[:, :depth])
