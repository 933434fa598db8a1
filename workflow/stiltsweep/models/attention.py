"""Attention among the tokens of texts that stand one after the other: each text looks at its own, and at nothing else.

Without a bias FlashAttention reads texts by where they begin (Dao 2023, arXiv:2307.08691); with one (T5's relative
positions, the same for all texts, or DeBERTa's, which are not) and on a CPU, queries, keys and values are laid out for
it as padded texts and its result is picked up again.

Shape letters: B texts of L places each, N tokens of all texts, M tokens of all texts that attention looks at, A heads,
D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .batches import Places

_WIDEST_HEAD = 256
"""Of FlashAttention."""


def attend(
    q_NAD: Tensor,
    k_MAD: Tensor,
    v_MAD: Tensor,
    at: Places,
    of: Places,
    *,
    bias: Tensor | None = None,
    scale: float,
    dropout: float,
    causal: bool = False,
    window: int | None = None,
) -> Tensor:
    """Return what attention makes (N, A * D): each text looks at its own in `of`, and at nothing else.

    Args:
      q_NAD, at: queries, and where their texts are.
      k_MAD, v_MAD, of: keys and values, and where theirs are; heads may be fewer, for several of the queries' each.
      bias: (B, A, L, L) to add to the scores; None: all of a text is seen alike.
      scale: of the scores.
      dropout: of the weights.
      causal: whether a place sees only itself and what is before it.
      window: a place sees those that are nearer than this; None: all of them.
    """
    # Windows matter to longer texts alone.
    window = None if window is None or window >= at.longest else window
    half = q_NAD.dtype in (torch.bfloat16, torch.float16)
    if bias is None and window is None and q_NAD.is_cuda and half and q_NAD.shape[-1] <= _WIDEST_HEAD:
        # torch.nn.attention.varlen, which is public, calls the same kernel, but cannot drop weights.
        attended = torch.ops.aten._flash_attention_forward(
            q_NAD, k_MAD, v_MAD, at.starts, of.starts, at.longest, of.longest, dropout, causal, False, scale=scale
        )
        mixed_NAD: Tensor = attended[0]
        return mixed_NAD.flatten(1)
    q, k, v = (places.spread(x).transpose(1, 2) for x, places in ((q_NAD, at), (k_MAD, of), (v_MAD, of)))
    mask = of.mask_BL[:, None, None, :] if bias is None else bias.to(q.dtype)
    if causal or window is not None:
        near = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
        near = near.tril(0 if causal or window is None else window - 1)
        near = near if window is None else near.triu(1 - window)
        # Texts begin at the left: padding sees itself, where masks would leave it nothing, which is no number.
        mask = (mask & near) | torch.eye(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
    mixed = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale, enable_gqa=k.shape[1] != q.shape[1]
    )
    return at.gather(mixed.transpose(1, 2).flatten(2))


def masked(bias: Tensor, at: Places, *, causal: bool = False) -> Tensor:
    """Return a bias (1 or B, A, L, L) as `attend` takes it: minus infinity where nothing is seen.

    Args:
      bias: what a model adds to the scores of attention.
      at: where the texts are that are looked at.
      causal: whether a place sees only itself and what is before it.
    """
    seen = at.mask_BL[:, None, None, :]
    if causal:
        longest = at.mask_BL.shape[1]
        seen = seen & torch.ones(longest, longest, dtype=torch.bool, device=seen.device).tril()
    kind = seen.device.type
    if torch.is_autocast_enabled(kind):  # once for all layers
        bias = bias.to(torch.get_autocast_dtype(kind))
    hidden = torch.zeros(seen.shape, dtype=bias.dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
    # The fused kernels of attention are for scores that stand side by side; these come head by head, and without them
    # all scores would be made and kept in 32 bits.
    return (bias + hidden).contiguous()


__all__ = ["attend", "masked"]
