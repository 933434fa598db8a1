"""Low-rank adapters: training a few million numbers beside weights that stay as they are (LoRA, by peft).

Source: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685. Every linear layer of the
model's own layers has one, the output layer none (Dettmers et al. 2023, QLoRA, arXiv:2305.14314, section 4: with all
layers adapted, LoRA reaches full fine-tuning). A stage adds what its adapters learnt to the weights that the next one
starts from, which has fresh adapters, so checkpoints hold those of all stages before. Models are predicted with, and
exported, with their adapters added to the weights: nothing is left of them but the numbers.

Shape letters: R rank, I and O width of what a layer reads and makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from . import architectures

_NAME = "default"
"""Of peft, for the adapter of a layer."""
_STORED = re.compile(r"(?P<weight>.+)\.lora\.(?P<number>\d+)\.(?P<part>[AB])")


def attach(backbone: nn.Module, settings: Mapping[str, Any], *, frozen_layers: int, seed: int) -> None:
    """Put fresh adapters into a model and leave nothing else of it to be trained.

    Args:
      backbone: with the weights that training starts from.
      settings: `rank`, `alpha` (what the adapters make is scaled by alpha / rank) and `dropout`.
      frozen_layers: lower layers of the encoder that get none.
      seed: of the adapters; they begin by changing nothing.

    Raises:
      UserError: there is no linear layer to adapt.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = _adapted(backbone, frozen_layers)
    if not names:
        raise UserError(f"training.lora: {type(backbone).__name__} has no linear layers above freeze_layers. Say null.")
    backbone.requires_grad_(False)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    config = LoraConfig(
        r=int(settings["rank"]),
        lora_alpha=int(settings["alpha"]),
        lora_dropout=float(settings["dropout"]),
        target_modules=names,
        bias="none",
    )
    inject_adapter_in_model(config, backbone, adapter_name=_NAME)
    torch.random.set_rng_state(state)


def _adapted(backbone: Any, frozen_layers: int) -> list[str]:
    """Return the names of the linear layers within the model's layers, those of a decoder included."""
    encoder = architectures.reader(backbone)
    stacks = [architectures.layers(encoder)]
    if backbone.config.is_encoder_decoder:
        stacks.append(architectures.layers(backbone.get_decoder()))
    chosen = {
        id(module)
        for number, stack in enumerate(stacks)
        for layer in (stack if number else stack[frozen_layers:])
        for module in layer.modules()
        if isinstance(module, nn.Linear)
    }
    return [name for name, module in backbone.named_modules() if id(module) in chosen]


def is_adapter(name: str) -> bool:
    """Return whether a parameter of a model, or a tensor of a checkpoint, is part of an adapter."""
    return ".lora_A." in name or ".lora_B." in name or _STORED.fullmatch(name) is not None


def to_store(backbone: nn.Module, state: Mapping[str, Tensor], earlier: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's adapters, behind those of the stages before, as a checkpoint holds them.

    Args:
      backbone: with adapters.
      state: its tensors, by name.
      earlier: the adapters of the stages before (see `of_others`).

    Returns:
      For every adapted weight W and every stage, `W.lora.<stage>.A` (R, I) and `.B` (O, R), scaled so that B @ A is
      what is added to W.
    """
    stored = dict(earlier)
    for module_name, module in backbone.named_modules():
        if _NAME not in getattr(module, "lora_A", {}):
            continue
        weight = f"{module_name}.weight"
        number = next(n for n in count() if f"{weight}.lora.{n}.A" not in stored)
        down = state[f"{module_name}.lora_A.{_NAME}.weight"].detach().to("cpu", torch.float32)
        up = state[f"{module_name}.lora_B.{_NAME}.weight"].detach().to("cpu", torch.float32)
        stored[f"{weight}.lora.{number}.A"] = down.contiguous().clone()
        stored[f"{weight}.lora.{number}.B"] = (up * module.scaling[_NAME]).contiguous()
    return stored


def add(tensors: dict[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Add a checkpoint's adapters to the weights they belong to, in the order of their stages.

    Raises:
      UserError: an adapter's weight is not there.
    """
    for name in sorted(stored, key=lambda name: (len(name), name)):
        match = _STORED.fullmatch(name)
        if match is None or match["part"] == "B":
            continue
        weight = match["weight"]
        if weight not in tensors:
            raise UserError(f"the checkpoint adapts {weight!r}, which its base model does not have.")
        tensors[weight] = tensors[weight] + stored[f"{name[:-1]}B"] @ stored[name]


def of_others(stored: Mapping[str, Tensor], trained: Iterable[str]) -> dict[str, Tensor]:
    """Return the adapters of a checkpoint but for those of weights that have since been trained themselves."""
    whole = set(trained)
    return {
        name: tensor
        for name, tensor in stored.items()
        if (match := _STORED.fullmatch(name)) is not None and match["weight"] not in whole
    }


__all__ = ["add", "attach", "is_adapter", "of_others", "to_store"]
