"""The loss of an output layer over a large vocabulary, a few positions at a time.

mT5 scores 250,112 pieces at every position of an answer. Held whole, the scores of a batch, their softmax and its
gradient are by far the largest tensors of a training. Here the scores of some positions are made, turned into loss and
gradients, and dropped, before those of the next: the softmax is the same, and so is the work; sums over positions are
taken in parts.

Shape letters: N positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..settings import GPU_LOGITS

MOST_LOGITS = 1 << 26
"""Scores that are held at once: a quarter of a gigabyte in 32 bits. Smaller batches are scored whole."""


def cross_entropy(vectors_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, ignored: int | None = None) -> Tensor:
    """Return the summed cross-entropy of  vectors @ weight.T  and labels, as `functional.cross_entropy` does.

    Args:
      vectors_ND: what the output layer reads.
      weight_VD: the output layer, without a bias.
      labels_N: the pieces that are right.
      ignored: label of positions that do not count; None: all do.
    """
    if ignored is not None:
        counted = labels_N != ignored
        vectors_ND, labels_N = vectors_ND[counted], labels_N[counted]
    loss: Tensor = _InParts.apply(vectors_ND, weight_VD, labels_N)  # type: ignore[no-untyped-call]
    return loss


class _InParts(torch.autograd.Function):
    """Makes the gradients along with the loss, while the scores are there."""

    @staticmethod
    def forward(context: Any, vectors_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
        """Return the sum over positions; keep gradients for it."""
        wanted = context.needs_input_grad
        # On a GPU each part costs a reading of the whole layer.
        rows = max(1, (GPU_LOGITS if vectors_ND.is_cuda else MOST_LOGITS) // len(weight_VD))
        # In the precision that the layer itself would have: autocast sees this product as it sees that.
        kind = vectors_ND.device.type
        layer_VD = weight_VD.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight_VD
        losses_N = torch.zeros(len(labels_N), device=vectors_ND.device)
        to_vectors = torch.empty_like(vectors_ND) if wanted[0] else None
        to_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if wanted[1] else None
        for start in range(0, len(labels_N), rows):
            part = slice(start, start + rows)
            labels = labels_N[part]
            scores_PV = functional.linear(vectors_ND[part], layer_VD)
            chances_PV = functional.log_softmax(scores_PV.float(), -1)
            losses_N[part] = -chances_PV.gather(1, labels[:, None])[:, 0]
            if any(wanted[:2]):
                gradient_PV = chances_PV.exp_()
                gradient_PV[torch.arange(len(labels), device=labels.device), labels] -= 1
                gradient_PV = gradient_PV.to(scores_PV.dtype)
                if to_vectors is not None:
                    to_vectors[part] = (gradient_PV @ layer_VD).to(to_vectors.dtype)
                if to_weight is not None:
                    to_weight.addmm_(gradient_PV.T, vectors_ND[part].to(gradient_PV.dtype)) if (
                        gradient_PV.dtype == torch.float32
                    ) else to_weight.add_(gradient_PV.T @ vectors_ND[part].to(gradient_PV.dtype))
            del scores_PV, chances_PV
        context.save_for_backward(to_vectors, None if to_weight is None else to_weight.to(weight_VD.dtype))
        return losses_N.sum()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the kept gradients, scaled."""
        to_vectors, to_weight = context.saved_tensors
        scale = gradients[0]
        return (
            None if to_vectors is None else to_vectors * scale.to(to_vectors.dtype),
            None if to_weight is None else to_weight.mul_(scale.to(to_weight.dtype)),
            None,
        )
