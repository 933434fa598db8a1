"""Forward and backward passes as CUDA graphs: hundreds of launches become two.

With the short texts of these tasks a GPU waits for its host: a layer is some hundred launches, forward and backward, of
microseconds of work each. A graph is captured once for each shape, with tensors that stay where they are, and replayed
with other contents. Shapes are few because numbers of tokens are rounded up (`batches.Places`). Gradients are added to
tensors that stay too, so all graphs of a model share them and one pool of memory for what lies between the two passes.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_MOST = 32
"""Shapes that are captured; others run as they are."""
_FULL = 0.75
"""Share of a card's memory from which on nothing more is captured: what lies between two passes stays reserved."""

Pass = Callable[[Sequence[Tensor]], Tensor]


class Captured:
    """The captured passes of one model."""

    def __init__(self, model: nn.Module, share: int = 1) -> None:
        """Capture passes through a model; its parameters that learn get a gradient that stays.

        Args:
          model: on the GPU.
          share: jobs that share its memory.
        """
        self.model = model
        self.pairs: dict[Hashable, _Pair] = {}
        self.met: set[Hashable] = set()
        """Shapes that occurred: one that does not come back is not worth a capture."""
        self.pool = torch.cuda.graph_pool_handle()
        self.stream: torch.cuda.Stream = torch.cuda.Stream()
        """One for all captures: each stream has memory of its own."""
        self.full = _FULL / share * torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        self.anchor = torch.zeros((), device="cuda", requires_grad=True)

    def __call__(self, key: Hashable, function: Pass, tensors: Sequence[Tensor]) -> Tensor:
        """Return what a function makes of tensors, as it is or by a graph.

        Args:
          key: tells functions and shapes apart.
          function: computes on tensors of the GPU alone and waits for nothing.
          tensors: what it computes from.
        """
        pair = self.pairs.get(key)
        if pair is None:
            if key not in self.met or len(self.pairs) >= _MOST or torch.cuda.memory_reserved() >= self.full:
                self.met.add(key)
                return function(tensors)
            pair = self.pairs[key] = _Pair(function, tensors, self)
        for static, tensor in zip(pair.tensors, tensors, strict=True):
            static.copy_(tensor)
        made: Tensor = _Replay.apply(self.anchor, pair)  # type: ignore[no-untyped-call]
        return made


class _Pair:
    """A pass forward and the one back."""

    def __init__(self, function: Pass, tensors: Sequence[Tensor], owner: Captured) -> None:
        self.tensors = [tensor.clone() for tensor in tensors]
        with _stand_ins(owner.model) as leaves:
            self._capture(function, leaves, owner)

    def _capture(self, function: Pass, leaves: Sequence[tuple[nn.Parameter, nn.Parameter]], owner: Captured) -> None:
        kind = "cuda"

        def passed() -> Tensor:
            # Weights in half precision that autocast remembers would not be made again when the graph is replayed.
            dtype, on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
            with torch.autocast(kind, dtype=dtype, enabled=on, cache_enabled=False):
                return function(self.tensors)

        # Once before the capture: libraries get ready, and which parameters take part is seen.
        owner.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(owner.stream):
            out = passed()
            parameters = [leaf for _, leaf in leaves]
            gradients = torch.autograd.grad(out, parameters, torch.zeros_like(out), allow_unused=True)
        torch.cuda.current_stream().wait_stream(owner.stream)
        used = [pair for pair, gradient in zip(leaves, gradients, strict=True) if gradient is not None]
        del out, gradients
        for parameter, _ in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with _recorded(owner) as self.forward:
            out = passed()
        self.gradient = torch.zeros_like(out)
        with _recorded(owner) as self.backward:
            new = torch.autograd.grad(out, [leaf for _, leaf in used], self.gradient)
            sums: list[Tensor] = [parameter.grad for parameter, _ in used if parameter.grad is not None]
            torch._foreach_add_(sums, new)
        del new
        self.out = out.detach()


@contextlib.contextmanager
def _recorded(owner: Captured) -> Iterator[torch.cuda.CUDAGraph]:
    """Record what a block does as a graph.

    `torch.cuda.graph` would also give all memory that is free back to the driver, each time, to be asked for again by
    the next passes: with 32 shapes that took longer than what the graphs saved. What other threads do, who bring the
    next texts to the GPU, is none of the graph's business.
    """
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    collecting = gc.isenabled()
    gc.disable()  # nothing of the GPU's may be let go of while a graph is recorded
    try:
        with torch.cuda.stream(owner.stream):
            graph.capture_begin(pool=owner.pool, capture_error_mode="thread_local")
            try:
                yield graph
            finally:
                graph.capture_end()
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _stand_ins(model: nn.Module) -> Iterator[list[tuple[nn.Parameter, nn.Parameter]]]:
    """Put parameters of the same memory in the place of those that learn; yield both of each.

    A parameter that an earlier pass went through remembers the stream of that pass for as long as its outcome is
    referred to; a capture would break on it.
    """
    places = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter.requires_grad
    ]
    leaves = {id(parameter): (parameter, nn.Parameter(parameter.detach())) for _, _, parameter in places}
    for module, name, parameter in places:
        module._parameters[name] = leaves[id(parameter)][1]
    try:
        yield list(leaves.values())
    finally:
        for module, name, parameter in places:
            module._parameters[name] = parameter


class _Replay(torch.autograd.Function):
    """Replays a pair; its gradients are added up in the graph, so nothing comes back here."""

    @staticmethod
    def forward(context: Any, anchor: Tensor, pair: _Pair) -> Tensor:
        context.pair = pair
        pair.forward.replay()
        return pair.out.detach()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, None]:
        pair: _Pair = context.pair
        pair.gradient.copy_(gradients[0])
        pair.backward.replay()
        return None, None


__all__ = ["Captured"]
