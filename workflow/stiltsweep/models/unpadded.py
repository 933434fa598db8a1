"""Encoders and decoders over texts that stand one after the other, so that no time goes into padding.

Nearly all the work of a transformer is done token by token, and there the tokens of a batch are one long row. Only
attention has to know the texts (see `attention`). ModernBERT is trained so (Warner et al. 2024, arXiv:2412.13663). The
layers are those of transformers: of BERT's descendants (see `bert`) and T5 they are called one by one; a model of
another class is called whole, as on one long text, and told where its texts begin by an attention of our own, which
transformers lets us register. What comes out is what the model makes of padded texts, within rounding.

Shape letters: B texts of L places each, N tokens of all texts, M tokens of all texts that attention looks at, H width,
A heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from . import architectures, bert, generation
from .attention import attend, masked
from .batches import Batch, Places
from .captured import Captured

if TYPE_CHECKING:
    from .task_model import TaskModel

_T5_ENCODERS = ("T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel")
_BY_POSITION = (
    "albert",
    "camembert",
    "distilbert",
    "electra",
    "ernie",
    "eurobert",
    "gte",
    "modernbert",
    "nomic_bert",
    "xlm-roberta-xl",
    "xmod",
)
"""Types of encoders that take numbers of positions, and whose attention can be another."""
_WHOLE = tuple(
    name for (interface, kind), name in architectures.CLASSES.items() if interface == "causal" or kind in _BY_POSITION
)
_ATTENTION = "unpadded"
"""The name under which transformers knows `_attention`."""
_CAPTURED = ("BertModel", "RobertaModel", "XLMRobertaModel")
"""Encoders of `bert` that a GPU has replayed as graphs (docs/performance.md)."""


def attach(
    model: TaskModel, *, compiled: bool = False, captured: bool = False, sparing: bool = False, share: int = 1
) -> bool:
    """Let a model read without padding; return whether its class can.

    Args:
      model: on the device it will run on, whole.
      compiled: compile what is done token by token; the first batches then take some seconds.
      captured: replay training's passes as graphs of a GPU; not where layers are computed again.
      sparing: compute each layer again on the way back instead of keeping what is in it.
      share: jobs that share the GPU, and its memory.
    """
    name, config = type(model.backbone).__name__, model.backbone.config
    t5 = name in _T5_ENCODERS or generation.can(model.backbone)
    known = t5 or bert.can(model.backbone) or (name in _WHOLE and not sparing)
    if getattr(config, "position_embedding_type", "absolute") != "absolute" or getattr(config, "is_decoder", False):
        known = False
    model.unpadded = Unpadded(model.backbone, compiled=compiled, sparing=sparing) if known else None
    # What a model called whole keeps for the way back is two to three times as much, and two such passes are held while
    # one is captured: of Qwen3 that failed on a card of 80 GB (docs/performance.md), of the others nobody has tried.
    if model.unpadded is not None and captured and not sparing and (t5 or name in _CAPTURED):
        model.unpadded.captured = Captured(model.backbone, share)
    return known


class Unpadded:
    """A backbone's layers, run on the tokens of a batch."""

    def __init__(self, backbone: Any, *, compiled: bool = False, sparing: bool = False) -> None:
        self.backbone = backbone
        self.sparing = sparing
        self.captured: Captured | None = None
        self.bert = bert.can(backbone)
        self.whole = type(backbone).__name__ in _WHOLE
        if self.whole:
            from transformers import AttentionInterface

            AttentionInterface.register(_ATTENTION, _attention)
        parts: list[Callable[..., Any]] = [bert.project, bert.after, _t5_project, _t5_add, _t5_feed]
        if compiled:
            parts = [torch.compile(part, dynamic=True) for part in parts]
        self.bert_project, self.bert_after, self.t5_project, self.t5_add, self.t5_feed = parts

    @property
    def depth(self) -> int:
        """Layers of the encoder."""
        if self.whole:
            return int(self.backbone.config.num_hidden_layers)
        return len(self.backbone.encoder.layer if self.bert else self.backbone.get_encoder().block)

    def encode(self, batch: Batch, layer: int = -1) -> Tensor:
        """Return the hidden states (N, H) of one layer of the encoder; -1 is its output, 0 its embeddings'."""
        at, ids_N, types_N = self._inputs(batch)
        if layer == -1 and self._capturing(at):

            def passed(tensors: Sequence[Tensor]) -> Tensor:
                ids_N, *rest = tensors
                given = None if types_N is None else rest.pop()
                return self._encode(ids_N, given, at.with_tensors(rest), self.depth)

            tensors = [ids_N, *at.tensors, *([] if types_N is None else [types_N])]
            assert self.captured is not None
            return self.captured(("encode", *_sizes(at)), passed, tensors)
        return self._encode(ids_N, types_N, at, self.depth if layer == -1 else layer)

    def written(self, batch: Batch, ids_M: Tensor, to: Places) -> Tensor:
        """Return what the output layer reads (M, H) of texts that are written about those of a batch.

        Args:
          batch: what the encoder reads.
          ids_M, to: what the decoder reads, and to which texts that belongs, as many and in the same order.
        """
        at, ids_N, types_N = self._inputs(batch)
        if self._capturing(at):
            count = 1 + len(at.tensors)

            def passed(tensors: Sequence[Tensor]) -> Tensor:
                there, here = at.with_tensors(tensors[1:count]), to.with_tensors(tensors[count + 1 :])
                return self.decode(self._encode(tensors[0], None, there, self.depth), there, tensors[count], here)

            assert self.captured is not None
            key = ("written", *_sizes(at), *_sizes(to))
            return self.captured(key, passed, [ids_N, *at.tensors, ids_M, *to.tensors])
        return self.decode(self._encode(ids_N, types_N, at, self.depth), at, ids_M, to)

    def _inputs(self, batch: Batch) -> tuple[Places, Tensor, Tensor | None]:
        assert batch.places is not None, "collated without places"
        at = batch.places
        return at, at.gather(batch.ids_BL), None if batch.types_BL is None else at.gather(batch.types_BL)

    def _capturing(self, at: Places) -> bool:
        return self.captured is not None and at.real_N is not None and torch.is_grad_enabled()

    def _encode(self, ids_N: Tensor, types_N: Tensor | None, at: Places, layers: int) -> Tensor:
        if self.bert:
            return self._bert(ids_N, types_N, at, layers)
        if self.whole:
            return self._whole(ids_N, types_N, at, layers)
        return self._t5(self.backbone.get_encoder(), ids_N, at, layers=layers)

    def decode(self, encoded_MH: Tensor, of: Places, ids_N: Tensor, at: Places) -> Tensor:
        """Return what the output layer reads (N, H) of texts that are written.

        Args:
          encoded_MH, of: what the encoder made, and of which texts.
          ids_N, at: what the decoder reads, and to which texts that belongs, as many and in the same order.
        """
        decoder = self.backbone.get_decoder()
        return self._t5(decoder, ids_N, at, layers=len(decoder.block), encoded_MH=encoded_MH, of=of)

    def _bert(self, ids_N: Tensor, types_N: Tensor | None, at: Places, layers: int) -> Tensor:
        x_NH = bert.embed(self.backbone, ids_N, types_N, at)
        scoring = bert.scoring(self.backbone, at)
        for layer in self.backbone.encoder.layer[:layers]:
            x_NH = self._kept(self._bert_layer, layer, x_NH, at, scoring)
        return x_NH

    def _whole(self, ids_N: Tensor, types_N: Tensor | None, at: Places, layers: int) -> Tensor:
        """Run a model on its texts as if they were one; `_attention` keeps them apart."""
        config, reader = self.backbone.config, architectures.reader(self.backbone)
        first = config.pad_token_id + 1 if architectures.counts_from_padding(config.model_type) else 0
        more: dict[str, Any] = {} if types_N is None else {"token_type_ids": types_N[None]}
        if reader is not self.backbone:
            more["use_cache"] = False
        before = config._attn_implementation
        config._attn_implementation = _ATTENTION
        try:
            states = reader(
                input_ids=ids_N[None],
                position_ids=at.positions_N[None] + first,
                output_hidden_states=layers < self.depth,
                places=at,
                **more,
            )
        finally:
            config._attn_implementation = before
        whole: Tensor = states.last_hidden_state if layers == self.depth else states.hidden_states[layers]
        return whole[0]

    def _bert_layer(self, layer: Any, x_NH: Tensor, at: Places, scoring: bert.Scoring) -> Tensor:
        own = bert.attention(layer)
        dropout = own.dropout.p if own.training else 0.0
        q, k, v = self.bert_project(layer, x_NH)
        mixed_NH = attend(q, k, v, at, at, bias=scoring.bias(layer, q, k), scale=scoring.scale, dropout=dropout)
        after: Tensor = self.bert_after(layer, x_NH, mixed_NH)
        return after

    def _t5(
        self,
        stack: Any,
        ids_N: Tensor,
        at: Places,
        *,
        layers: int,
        encoded_MH: Tensor | None = None,
        of: Places | None = None,
    ) -> Tensor:
        x_NH: Tensor = stack.dropout(stack.embed_tokens(ids_N))
        bias = None
        for block in stack.block[:layers]:
            attention = block.layer[0].SelfAttention
            if attention.has_relative_attention_bias:  # T5: of the first layer alone, for all; umT5: of each
                bias = _bias(attention, at, causal=encoded_MH is not None)
            x_NH = self._kept(self._t5_block, block, x_NH, at, bias, encoded_MH, of)
        if layers < len(stack.block):
            return x_NH
        whole: Tensor = stack.dropout(_t5_norm(stack.final_layer_norm, x_NH))
        return whole

    def _t5_block(
        self, block: Any, x_NH: Tensor, at: Places, bias: Tensor | None, encoded_MH: Tensor | None, of: Places | None
    ) -> Tensor:
        own = block.layer[0]
        dropout = own.dropout.p if own.training else 0.0
        q, k, v = self.t5_project(own, own.SelfAttention, x_NH, None)
        mixed_NH = attend(q, k, v, at, at, bias=bias, scale=1.0, dropout=dropout)
        x_NH = self.t5_add(own, own.SelfAttention, x_NH, mixed_NH)
        if encoded_MH is not None and of is not None:
            cross = block.layer[1]
            q, k, v = self.t5_project(cross, cross.EncDecAttention, x_NH, encoded_MH)
            mixed_NH = attend(q, k, v, at, of, scale=1.0, dropout=dropout)
            x_NH = self.t5_add(cross, cross.EncDecAttention, x_NH, mixed_NH)
        fed: Tensor = self.t5_feed(block.layer[-1], x_NH)
        return fed

    def _kept(self, layer: Callable[..., Tensor], *arguments: Any) -> Tensor:
        if not self.sparing or not torch.is_grad_enabled():
            return layer(*arguments)
        again: Tensor = checkpoint(layer, *arguments, use_reentrant=False)
        return again


def _sizes(at: Places) -> tuple[int, ...]:
    """Return what two batches of one shape have in common."""
    return (*at.mask_BL.shape, len(at.positions_N), len(at.starts), at.longest)


def _t5_project(layer: Any, attention: Any, x_NH: Tensor, encoded_MH: Tensor | None) -> tuple[Tensor, ...]:
    x_NH = _t5_norm(layer.layer_norm, x_NH)
    looked_at = x_NH if encoded_MH is None else encoded_MH
    heads = attention.n_heads
    return (
        bert.heads(attention.q(x_NH), heads),
        bert.heads(attention.k(looked_at), heads),
        bert.heads(attention.v(looked_at), heads),
    )


def _t5_add(layer: Any, attention: Any, x_NH: Tensor, mixed_NH: Tensor) -> Tensor:
    added: Tensor = x_NH + layer.dropout(attention.o(mixed_NH))
    return added


def _t5_feed(layer: Any, x_NH: Tensor) -> Tensor:
    dense, normed_NH = layer.DenseReluDense, _t5_norm(layer.layer_norm, x_NH)
    if hasattr(dense, "wi_0"):
        within = _activated(dense.act, dense.wi_0(normed_NH)) * dense.wi_1(normed_NH)
    else:
        within = _activated(dense.act, dense.wi(normed_NH))
    fed: Tensor = x_NH + layer.dropout(dense.wo(dense.dropout(within)))
    return fed


def _t5_norm(norm: Any, x_NH: Tensor) -> Tensor:
    """Normalise as T5 does, in one kernel of a GPU where transformers' own lines are seven."""
    return functional.rms_norm(x_NH, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _activated(act: Any, x_NH: Tensor) -> Tensor:
    """Return an activation; the GELU of mT5, which transformers writes out in eight kernels, in one."""
    if type(act).__name__ == "NewGELUActivation":
        return functional.gelu(x_NH, approximate="tanh")
    activated: Tensor = act(x_NH)
    return activated


def _bias(attention: Any, at: Places, *, causal: bool) -> Tensor:
    """Return what T5 adds to the scores of attention, (B, A, L, L), minus infinity where nothing is seen."""
    longest = at.mask_BL.shape[1]
    return masked(attention.compute_bias(longest, longest, device=at.mask_BL.device), at, causal=causal)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    places: Places,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' layers ask for it (1, A, N, D), each text to itself alone."""
    q, k, v = (of[0].transpose(0, 1) for of in (query, key, value))
    scale = q.shape[-1] ** -0.5 if scaling is None else scaling
    causal = bool(module.is_causal)
    mixed_NH = attend(q, k, v, places, places, scale=scale, dropout=dropout, causal=causal, window=sliding_window)
    return mixed_NH.view(1, *q.shape), None


__all__ = ["Unpadded", "attach"]
