"""Training settings: the defaults, and how the model's, the task's and the configuration's own are laid over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .catalog import Model, Task

Stage = Literal["pretrain", "intermediate", "target"]
STAGES: tuple[Stage, ...] = ("pretrain", "intermediate", "target")
SAVE_MINUTES = "STILTSWEEP_SAVE_MINUTES"
"""Variable with the configuration's plain `save_minutes`: no number depends on it, so it is no setting of a job."""
GPUS = "STILTSWEEP_GPUS"
"""Variable with the GPUs that a training may use, from `resources.gpus`."""
FROZEN = "frozen"
"""Folder beside a model's weights with what its frozen layers make of texts (`models/frozen.py`)."""
CHECKPOINTING = "STILTSWEEP_CHECKPOINTING"
"""Variable: 1 if activations are computed again on the way back, from `resources.gradient_checkpointing`."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training run; `schemas/training.schema.yaml` describes and bounds each of them."""

    optimizer: str = "adamw"
    learning_rate: float = 2e-5
    """Peak, pretrained weights."""
    head_learning_rate: float | None = None
    """Peak, a new head; None: learning_rate."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Below 1 a fraction of all updates, from 1 on a number of updates."""
    schedule: str = "linear"
    epochs: float = 3.0
    max_updates: int | None = None
    batch_size: int = 32
    """Examples per update, all devices."""
    micro_batch_tokens: int = 4096
    """Token slots, padding included, per forward pass."""
    max_length: int = 128
    """Tokens."""
    stride: int = 32
    """Tokens shared by neighbouring windows."""
    max_target_length: int = 64
    """Tokens."""
    clip_norm: float = 1.0
    dropout: float | None = None
    """None: the model's own."""
    evaluations: int = 3
    """English dev is scored this often, evenly over the run."""
    patience: int | None = None
    """Evaluations without a better score before stopping; None: never stop early."""
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    precision: str = "auto"
    save_minutes: float = 10.0
    retry_collapsed: int = 0
    """Times that a run at chance level on dev is made again with another seed."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


def resolve(stage: Stage, model: Model, task: Task, overrides: Mapping[str, Any]) -> TrainingSettings:
    """Lay settings over each other, later ones winning: defaults, model, task, the model's over tasks, configuration.

    In each layer the plain keys come first, then those for the model's interface, then those for the stage; so a
    configuration's plain `epochs` wins over a model's `target: {epochs: ...}`.
    """
    own = model.definition["training"]
    layers = (own, task.definition["training"], own.get("over_tasks", {}), overrides)
    return overlay(stage, *(_of(layer, model.interface) for layer in layers))


def _of(layer: Mapping[str, Any], interface: str) -> dict[str, Any]:
    """Return a layer with its settings for one interface laid over those for all."""
    own = layer.get(interface, {})
    stages = {stage: {**layer.get(stage, {}), **own.get(stage, {})} for stage in STAGES}
    return {**layer, **own, **stages}


def overlay(stage: Stage, *layers: Mapping[str, Any]) -> TrainingSettings:
    """Lay layers of settings over the defaults, later ones winning; see `resolve`."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update({key: value for key, value in layer.items() if key not in STAGES})
        merged.update(layer.get(stage, {}))
    known = {field.name for field in fields(TrainingSettings)}
    return TrainingSettings(**{key: value for key, value in merged.items() if key in known})


def resolve_mixture(
    model: Model, tasks: Sequence[Task], overrides: Mapping[str, Any], own: Mapping[str, Any]
) -> TrainingSettings:
    """Return the settings of an intermediate stage over several tasks.

    What the tasks agree on holds, lengths are the largest, anything else is the model's; then the configuration's
    settings, then those of the mixture itself (`own`).
    """
    definition = model.definition["training"]
    layers = (definition, definition.get("over_tasks", {}))
    alone = asdict(overlay("intermediate", *(_of(layer, model.interface) for layer in layers)))
    each = [asdict(resolve("intermediate", model, task, {})) for task in tasks]
    agreed = {key: each[0][key] if all(one[key] == each[0][key] for one in each) else alone[key] for key in alone}
    agreed |= {key: max(one[key] for one in each) for key in ("max_length", "stride", "max_target_length")}
    return overlay("intermediate", agreed, _of(overrides, model.interface), _of(own, model.interface))
