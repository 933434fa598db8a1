"""Optimizers and their parameter groups."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..settings import TrainingSettings
from .adafactor import Adafactor
from .processes import Team, Whole


def build(
    backbone: Iterable[tuple[str, nn.Parameter]], heads: nn.Module, settings: TrainingSettings, team: Team
) -> torch.optim.Optimizer:
    """Return the optimizer of a run; each group's `lr` is its peak.

    Weight decay is for matrices: biases, norms and other vectors have none, nor do embeddings, whose unused rows it
    would shrink (a pruned vocabulary would then train differently from a full one).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in backbone:
        embedding = "embed" in name or name.startswith(("shared.", "lm_head."))
        decay = settings.weight_decay if parameter.ndim > 1 and not embedding else 0.0
        groups.setdefault((settings.learning_rate, decay), []).append(parameter)
    rate = settings.head_learning_rate or settings.learning_rate
    for parameter in heads.parameters():
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    listed = [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]
    if settings.optimizer == "adafactor":
        return Adafactor(listed) if team.size == 1 else Whole(listed, team, Adafactor)
    return torch.optim.AdamW(listed, fused=True)
