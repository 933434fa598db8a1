"""Adafactor as mT5 was trained with it, over lists of tensors: nothing waits for the device.

Shazeer and Stern 2018, arXiv:1804.04235, with a rate that is given, scaled by each parameter's root mean square, and no
first moment. The update is that of transformers' class of this name (`scale_parameter`, neither `relative_step` nor
`warmup_init`), which goes through the tensors one by one and asks the device about each; PyTorch's own does so too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..models.batches import in_parts

_DECAY = -0.8
_SMALLEST_SQUARE, _SMALLEST_SCALE = 1e-30, 1e-3
_CLIP = 1.0
_TOGETHER = 1 << 27
"""Elements of the tensors that are updated together: their updates are in memory at once."""


class Adafactor(torch.optim.Optimizer):
    """An optimizer whose moments of matrices are a row and a column."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        """Take groups of parameters, each with its `lr` and `weight_decay`."""
        super().__init__(list(groups), {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update."""
        for group in self.param_groups:
            with_gradient = [parameter for parameter in group["params"] if parameter.grad is not None]
            for matrices in (True, False):
                alike = [parameter for parameter in with_gradient if (parameter.ndim > 1) == matrices]
                for part in in_parts(alike, torch.Tensor.numel, _TOGETHER):
                    self._update(part, matrices, float(group["lr"]), float(group["weight_decay"]))

    def _update(self, parameters: list[nn.Parameter], matrices: bool, rate: float, weight_decay: float) -> None:
        gradients = [parameter.grad.float() for parameter in parameters if parameter.grad is not None]
        states = [self._state(parameter, matrices) for parameter in parameters]
        for state in states:
            state["step"] += 1
        new = [state["step"] ** _DECAY for state in states]
        if matrices:
            updates = _factored(gradients, states, new)
        else:
            squares = torch._foreach_mul(gradients, gradients)
            torch._foreach_add_(squares, _SMALLEST_SQUARE)
            moments = [state["exp_avg_sq"] for state in states]
            torch._foreach_lerp_(moments, squares, new)
            updates = list(torch._foreach_sqrt(moments))
            torch._foreach_reciprocal_(updates)
            torch._foreach_mul_(updates, gradients)
        scales = _root_mean_squares(parameters)
        torch._foreach_clamp_min_(scales, _SMALLEST_SCALE)
        torch._foreach_mul_(scales, rate)
        clipped = _root_mean_squares(updates)
        torch._foreach_div_(clipped, _CLIP)
        torch._foreach_clamp_min_(clipped, 1.0)
        torch._foreach_mul_(updates, torch._foreach_div(scales, clipped))
        changed: list[Tensor] = list(parameters)
        if weight_decay:
            torch._foreach_add_(updates, torch._foreach_mul(changed, torch._foreach_mul(scales, weight_decay)))
        torch._foreach_sub_(changed, tuple(updates))

    def _state(self, parameter: nn.Parameter, matrix: bool) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = 0
            shapes = {"exp_avg_sq": parameter.shape}
            if matrix:
                shapes = {"exp_avg_sq_row": parameter.shape[:-1]}
                shapes["exp_avg_sq_col"] = parameter.shape[:-2] + parameter.shape[-1:]
            for key, shape in shapes.items():
                state[key] = torch.zeros(shape, dtype=torch.float32, device=parameter.device)
        return state


def _factored(gradients: list[Tensor], states: list[dict[str, Any]], new: list[float]) -> list[Tensor]:
    """Move the moments on and return the gradients over the roots of what they estimate."""
    rows, columns = ([state[key] for state in states] for key in ("exp_avg_sq_row", "exp_avg_sq_col"))
    for moments, along in ((rows, -1), (columns, -2)):
        means = [torch.linalg.vector_norm(gradient, dim=along) for gradient in gradients]
        torch._foreach_mul_(means, means)
        torch._foreach_div_(means, [float(gradient.shape[along]) for gradient in gradients])
        torch._foreach_add_(means, _SMALLEST_SQUARE)
        torch._foreach_lerp_(moments, means, new)
    by_row = [(row / row.mean(-1, keepdim=True)).rsqrt_().unsqueeze(-1) for row in rows]
    by_column = [column.rsqrt().unsqueeze(-2) for column in columns]
    return [gradient * row * column for gradient, row, column in zip(gradients, by_row, by_column, strict=True)]


def _root_mean_squares(tensors: list[Any]) -> list[Tensor]:
    norms = list(torch._foreach_norm(tensors))
    torch._foreach_div_(norms, [math.sqrt(tensor.numel()) for tensor in tensors])
    return norms


__all__ = ["Adafactor"]
