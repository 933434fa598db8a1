"""Adafactor against transformers' class of the name, over many updates, sizes and rates."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers.optimization import Adafactor as Theirs

from stiltsweep.training import adafactor

SHAPES = [(7, 5), (3,), (1, 4), (64, 33), (2, 3, 4), (1,), (500, 8)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("size", [1e-9, 1e-4, 1.0, 1e3])
@pytest.mark.parametrize("together", [1, 100, 1 << 27])
def test_updates_are_those_of_transformers(
    weight_decay: float, size: float, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adafactor, "_TOGETHER", together)
    torch.manual_seed(0)
    start = [torch.randn(shape) * (0.0 if number == 2 else 0.3) for number, shape in enumerate(SHAPES)]
    sides = []
    for make in (adafactor.Adafactor, Theirs):
        parameters = [torch.nn.Parameter(tensor.clone()) for tensor in start]
        groups = [
            {"params": parameters[:3], "lr": 1e-3, "weight_decay": weight_decay},
            {"params": parameters[3:], "lr": 1e-1, "weight_decay": 0.0},
        ]
        options = {} if make is adafactor.Adafactor else {"scale_parameter": True, "relative_step": False}
        sides.append((parameters, make(groups, **options)))
    for update in range(30):
        for number in range(len(SHAPES)):
            gradient = torch.randn(SHAPES[number]) * size
            if number == 3:
                gradient[10:] = 0.0  # rows of an embedding that no text has
            for parameters, _ in sides:
                # One has no gradient in some updates, as the head of a task that is not drawn.
                parameters[number].grad = None if number == 4 and update % 3 else gradient.clone()
        for _, optimizer in sides:
            optimizer.step()
    for ours, theirs, first in zip(sides[0][0], sides[1][0], start, strict=True):
        assert not torch.equal(ours, first)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_goes_on_from_a_saved_state_to_the_same_bytes() -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(6, 4, 3) for _ in range(6)]
    whole, half = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
    optimizers = [adafactor.Adafactor([{"params": [one], "lr": 0.01, "weight_decay": 0.0}]) for one in (whole, half)]
    for number, gradient in enumerate(gradients):
        if number == 3:
            saved = copy.deepcopy(optimizers[1].state_dict())
            optimizers[1] = adafactor.Adafactor([{"params": [half], "lr": 0.01, "weight_decay": 0.0}])
            optimizers[1].load_state_dict(saved)
        for parameter, optimizer in zip((whole, half), optimizers, strict=True):
            parameter.grad = gradient[0].clone()
            optimizer.step()
    assert torch.equal(whole, half)
