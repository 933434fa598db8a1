"""Greedy writing with an encoder-decoder: what the encoder made is projected once, a step costs one token per text.

Keys and values stand in tensors that are made once for the longest answer. Texts that have ended are dropped when
enough of them have, so the end of a batch, where few still write, costs little. The pieces are those that transformers'
`generate` writes. The layers are transformers', called one by one.

Shape letters: B texts, R of them that still write, L places of what was read, T of what is written, H width, A heads,
D width of a head, V pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_CLASSES = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration", "UMT5ForConditionalGeneration")
_STEPS = 4
"""Between looks at how many texts still write: a look waits for the GPU."""
_KEPT = 0.75
"""Share of the texts that still write from which on the others are not worth dropping."""


def can(backbone: Any) -> bool:
    """Return whether a backbone's layers can be called one by one to write.

    Not where the output layer is the embedding: versions of transformers differ in how they scale it then.
    """
    if type(backbone).__name__ not in _CLASSES:
        return False
    return not backbone.config.tie_word_embeddings and backbone.lm_head.bias is None


class Written(NamedTuple):
    """What was written."""

    ids_BT: Tensor
    """Pieces up to the end and with it, then padding."""
    tried_B: Tensor
    """Whether a forbidden piece was the likeliest one at some place."""


def greedy(
    backbone: Any,
    encoded_BLH: Tensor,
    mask_BL: Tensor,
    *,
    start: int,
    pad: int,
    eos: int | None,
    forbidden: Sequence[int],
    most: int,
    look: Callable[[Tensor], None] | None = None,
) -> Written:
    """Write one text for each that was read.

    Args:
      backbone: one that `can`, in evaluation, whole.
      encoded_BLH, mask_BL: what its encoder made, and where there is a token.
      start, pad, eos: the piece a text begins with, the one behind its end, and its end (None: it has none).
      forbidden: pieces that are not written; nothing is remembered of them but that one would have been.
      most: pieces of an answer, its end included.
      look: is shown the decoder's states.
    """
    decoder, device = backbone.get_decoder(), encoded_BLH.device
    biases = _biases(decoder, most)
    crossed = [_keys(block.layer[1].EncDecAttention, encoded_BLH) for block in decoder.block]
    own: list[tuple[Tensor, Tensor]] = []
    banned = torch.tensor(forbidden, dtype=torch.long, device=device)
    ids_BT = torch.full((len(encoded_BLH), most), pad, dtype=torch.long, device=device)
    tried_B = torch.zeros(len(encoded_BLH), dtype=torch.bool, device=device)
    rows_R = torch.arange(len(encoded_BLH), device=device)
    open_R = torch.ones_like(rows_R, dtype=torch.bool)
    seen_RL = mask_BL.bool()[:, None, None, :]
    piece_R = torch.full_like(rows_R, start)
    for step in range(most):
        x_RH = decoder.embed_tokens(piece_R)
        for number, block in enumerate(decoder.block):
            x_RH = _block(block, x_RH, step, biases[number], own, number, crossed[number], seen_RL, most)
        x_RH = decoder.final_layer_norm(x_RH)
        if look is not None:
            look(x_RH)
        scores_RV = backbone.lm_head(x_RH).float()
        if len(banned):
            tried_B[rows_R] |= torch.isin(scores_RV.argmax(-1), banned) & open_R
            scores_RV = scores_RV.index_fill(1, banned, -torch.inf)
        piece_R = torch.where(open_R, scores_RV.argmax(-1), pad)
        ids_BT[rows_R, step] = piece_R
        if eos is None:
            continue
        open_R = open_R & (piece_R != eos)
        if device.type == "cuda" and (step + 1) % _STEPS:
            continue
        left = int(open_R.sum())
        if not left:
            break
        if left <= _KEPT * len(open_R):
            still = open_R.nonzero()[:, 0]
            rows_R, open_R, seen_RL, piece_R = rows_R[still], open_R[still], seen_RL[still], piece_R[still]
            crossed = [(keys[still], values[still]) for keys, values in crossed]
            own = [(keys[still], values[still]) for keys, values in own]
    return Written(ids_BT, tried_B)


def _block(
    block: Any,
    x_RH: Tensor,
    step: int,
    bias: Tensor,
    own: list[tuple[Tensor, Tensor]],
    number: int,
    crossed: tuple[Tensor, Tensor],
    seen_RL: Tensor,
    most: int,
) -> Tensor:
    layer = block.layer[0]
    attention = layer.SelfAttention
    normed_RH = layer.layer_norm(x_RH)
    q, k, v = (
        linear(normed_RH).unflatten(-1, (attention.n_heads, -1)) for linear in (attention.q, attention.k, attention.v)
    )
    if number == len(own):
        own.append((k.new_empty(*k.shape[:2], most, k.shape[2]), v.new_empty(*v.shape[:2], most, v.shape[2])))
    keys, values = own[number]
    keys[:, :, step], values[:, :, step] = k, v
    upto = slice(step + 1)
    mixed = functional.scaled_dot_product_attention(
        q[:, :, None],
        keys[:, :, upto],
        values[:, :, upto],
        attn_mask=bias[:, :, step : step + 1, upto].to(q.dtype),
        scale=1.0,
    )
    x_RH = x_RH + attention.o(mixed.flatten(1))
    layer = block.layer[1]
    attention = layer.EncDecAttention
    q = attention.q(layer.layer_norm(x_RH)).unflatten(-1, (attention.n_heads, -1))
    mixed = functional.scaled_dot_product_attention(q[:, :, None], *crossed, attn_mask=seen_RL, scale=1.0)
    x_RH = x_RH + attention.o(mixed.flatten(1))
    fed: Tensor = block.layer[2](x_RH)
    return fed


def _keys(attention: Any, encoded_BLH: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values (B, A, L, D) of what was read."""
    keys, values = (
        linear(encoded_BLH).unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)
        for linear in (attention.k, attention.v)
    )
    return keys, values


def _biases(decoder: Any, most: int) -> list[Tensor]:
    """Return what relative positions add in each block (1, A, T, T); in T5 the first block has them for all."""
    biases: list[Tensor] = []
    for block in decoder.block:
        attention = block.layer[0].SelfAttention
        bias = attention.compute_bias(most, most).contiguous() if attention.has_relative_attention_bias else biases[-1]
        biases.append(bias)
    return biases


__all__ = ["Written", "can", "greedy"]
