"""The layers of BERT and of its descendants, cut at attention: what is done token by token, and what needs a text.

A layer is `project`, attention with the `bias` that the class adds to its scores, and `after`. The parts are those of
transformers' own modules, called by the names that each class gives them: BERT, RoBERTa and XLM-R add no bias (Devlin
et al. 2019); RemBERT widens its embeddings first (Chung et al. 2021); MPNet's bias is of relative positions and the
same for all layers (Song et al. 2020); DeBERTa's depends on what stands at the two places (He et al. 2021,
arXiv:2006.03654: content to position and position to content).

Shape letters: B texts of L places each, N tokens of all texts, H width, A heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .attention import masked
from .batches import Places

NAMES = (
    "BertModel",
    "DebertaV2Model",
    "MPNetModel",
    "RemBertModel",
    "RobertaModel",
    "XLMRobertaModel",
)
"""Classes of transformers whose layers are these."""


def can(backbone: Any) -> bool:
    """Return whether an encoder is embeddings and such layers, and nothing between them."""
    # Of DeBERTa v2 the largest sizes read neighbours behind their first layer.
    return type(backbone).__name__ in NAMES and getattr(backbone.encoder, "conv", None) is None


def embed(backbone: Any, ids_N: Tensor, types_N: Tensor | None, at: Places) -> Tensor:
    """Return what the first layer reads (N, H)."""
    embeddings = backbone.embeddings
    # RoBERTa's numbers of positions begin behind that of the padding.
    first = embeddings.padding_idx + 1 if hasattr(embeddings, "padding_idx") else 0
    types_N = torch.zeros_like(ids_N) if types_N is None else types_N
    x_NH: Tensor = embeddings(
        input_ids=ids_N[None], token_type_ids=types_N[None], position_ids=at.positions_N[None] + first
    )[0]
    widened = getattr(backbone.encoder, "embedding_hidden_mapping_in", None)
    return x_NH if widened is None else widened(x_NH)


def project(layer: Any, x_NH: Tensor) -> tuple[Tensor, ...]:
    """Return queries, keys and values (N, A, D)."""
    own = attention(layer)
    return tuple(
        heads(getattr(own, name)(x_NH), own.num_attention_heads)
        for name in next(names for names in _PROJECTIONS if hasattr(own, names[0]))
    )


_PROJECTIONS = (("query", "key", "value"), ("query_proj", "key_proj", "value_proj"), ("q", "k", "v"))


def after(layer: Any, x_NH: Tensor, mixed_NH: Tensor) -> Tensor:
    """Return what a layer makes (N, H) of what it read and what its attention made of that."""
    within = layer.attention
    if hasattr(within, "output"):
        x_NH = within.output(mixed_NH, x_NH)
    else:  # MPNet's
        x_NH = within.LayerNorm(within.dropout(within.attn.o(mixed_NH)) + x_NH)
    made: Tensor = layer.output(layer.intermediate(x_NH), x_NH)
    return made


def attention(layer: Any) -> Any:
    """Return the module of a layer that makes queries, keys and values."""
    within = layer.attention
    return within.self if hasattr(within, "self") else within.attn


def heads(x_NH: Tensor, count: int) -> Tensor:
    """Return states (N, A * D) by head (N, A, D)."""
    return x_NH.view(-1, count, x_NH.shape[-1] // count)


@dataclass(frozen=True)
class Scoring:
    """How a batch's queries and keys are compared."""

    scale: float
    """Of their products."""
    bias: Callable[[Any, Tensor, Tensor], Tensor | None]
    """What is added (B, A, L, L), minus infinity where nothing is seen, from a layer, queries and keys (N, A, D)."""


def scoring(backbone: Any, at: Places) -> Scoring:
    """Return how an encoder's attention compares the places of texts."""
    encoder, longest = backbone.encoder, at.mask_BL.shape[1]
    own = attention(encoder.layer[0])
    places = torch.empty(1, longest, device=at.mask_BL.device)
    if hasattr(encoder, "compute_position_bias"):  # MPNet's
        shared = masked(encoder.compute_position_bias(places), at)
        return Scoring(own.attention_head_size**-0.5, lambda layer, q, k: shared)
    if not hasattr(own, "disentangled_attention_bias"):
        return Scoring(own.attention_head_size**-0.5, lambda layer, q, k: None)
    ways = 1 + len({"c2p", "p2c"} & set(own.pos_att_type))
    scale = (own.attention_head_size * ways) ** -0.5
    if not encoder.relative_attention:
        return Scoring(scale, lambda layer, q, k: None)
    distances, of_distances = encoder.get_rel_pos(places[..., None]), encoder.get_rel_embedding()

    def disentangled(layer: Any, q_NAD: Tensor, k_NAD: Tensor) -> Tensor:
        own = attention(layer)
        q, k = (at.spread(x).transpose(1, 2).flatten(0, 1) for x in (q_NAD, k_NAD))
        scores = own.disentangled_attention_bias(q, k, distances, own.pos_dropout(of_distances), ways)
        return masked(scores.unflatten(0, (-1, own.num_attention_heads)), at)

    return Scoring(scale, disentangled)


__all__ = ["NAMES", "Scoring", "after", "attention", "can", "embed", "heads", "project", "scoring"]
