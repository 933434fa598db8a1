"""Training settings: the defaults, and how the model's, the task's and the configuration's own are laid over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .catalog import Model, Recipe, Task
from .errors import UserError
from .interfaces import INTERFACES

Stage = Literal["pretrain", "intermediate", "target"]
STAGES: tuple[Stage, ...] = ("pretrain", "intermediate", "target")
LENGTHS = ("max_length", "stride", "max_target_length", "window_step", "max_question_length")
"""Settings of training that prediction cuts texts by too."""
T5_FAMILY = ("t5", "mt5", "umt5", "longt5")
"""transformers' names of the architectures whose activations overflow in fp16."""
FROZEN = "frozen"
"""Folder beside a model's weights with what its frozen layers make of texts (`models/frozen.py`)."""
ACTIVATION_BYTES = 100
"""Of a token that the encoder reads, a layer and a place of its width, kept for the way back, what is made of it for a
decoder included. Measured on a GPU: 53 (XLM-R large), 100 (base, short texts), 43 and with graphs 63 (mT5 base)."""
GPU_LOGITS = 1 << 28
"""Scores of the vocabulary that the output layer makes at once on a GPU, at most."""
MICRO_BATCH_TOKENS = 4096
"""Token slots of one forward pass on a CPU, and at least on a GPU, where nothing is said."""


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
    warmup_from_zero: bool = False
    """Whether the first update of a warm-up has learning rate 0, as in transformers' schedules."""
    schedule: str = "linear"
    epochs: float = 3.0
    max_updates: int | None = None
    batch_size: int = 32
    """Examples per update, all devices; without effect where `batch_tokens` is set."""
    batch_tokens: int | None = None
    """Input slots per update: rows of `max_length`, each filled with as many whole examples as fit."""
    loss_denominator: str = "terms"
    """What an update's summed loss is divided by: its `terms`, or the output `slots` of its rows, a constant."""
    micro_batch_tokens: int | None = None
    """Token slots, padding included, per forward pass; None: MICRO_BATCH_TOKENS on a CPU, by its memory on a GPU."""
    max_length: int = 128
    """Tokens."""
    stride: int = 32
    """Tokens shared by neighbouring windows."""
    window_step: int | None = None
    """Tokens from the start of a context's window to that of the next; None: as many as leave `stride` shared."""
    max_question_length: int | None = None
    """Tokens of a question; None: half of max_length."""
    max_target_length: int = 64
    """Tokens."""
    head: str = "linear"
    """`linear`, or `roberta`: dropout, dense, tanh, dropout, linear, as the classes of the published studies."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: it is left as it is."""
    dropout: float | None = None
    """None: the model's own."""
    evaluations: int = 3
    """Dev is scored this often, evenly over the run."""
    patience: int | None = None
    """Evaluations without a better score before stopping; None: never stop early."""
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    lora: Mapping[str, Any] | None = None
    """`rank`, `alpha` and `dropout` of low-rank adapters that are trained instead of the weights (`models/lora.py`)."""
    precision: str = "auto"
    save_minutes: float = 10.0
    """No number depends on it; a command says it apart from the settings that one depends on."""
    retry_collapsed: int = 0
    """Times that a run at chance level on dev is made again with another seed."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """Lengths in tokens."""

    max_length: int
    stride: int
    max_target_length: int
    window_step: int | None = None
    """Between starts of a context's windows; None: as many as leave `stride` shared."""
    max_question_length: int | None = None
    """None: half of max_length, which it never exceeds."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Limits:
        """Take the lengths out of a training's or a prediction's settings."""
        return cls(**{key: settings[key] for key in LENGTHS if key in settings})


@dataclass(frozen=True)
class Representation:
    """How a model is read: how hidden states become one vector, and what stands around a text."""

    pooling: str
    """For heads: `mean` over all tokens, or the `first` token."""
    layer: int
    """Hidden state retrieval compares; 0 the embeddings, -1 the last layer."""
    retrieval_pooling: str
    prefix: str
    """Text before every query and candidate."""
    chat: bool = False
    """Whether a question stands in the chat template of a causal model."""

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Representation:
        """Read the `pooling`, `retrieval` and `chat` keys of a model's definition."""
        retrieval = definition["retrieval"]
        return cls(
            definition["pooling"],
            retrieval["layer"],
            retrieval["pooling"],
            retrieval["prefix"],
            bool(definition.get("chat")),
        )


@dataclass(frozen=True)
class PredictionSettings:
    """What decides predictions besides weights and data."""

    limits: Limits
    representation: Representation
    batch_tokens: int
    """Token slots, padding included, per forward pass."""
    prune: bool
    """Keep only the embedding rows the data needs."""
    precision: str = "auto"
    layer_from: Mapping[str, Any] | None = None
    """`task` and `label` of the English dev data that choose the layer retrieval compares; None: it is stated."""
    shots: Mapping[str, Any] | None = None
    """How a model is trained on examples of a language before it predicts there (`training.shots`); None: it is not."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> PredictionSettings:
        """Read the JSON a rule passes."""
        return cls(
            Limits.of(value),
            Representation.of(value["representation"]),
            value["batch_tokens"],
            value["prune"],
            value["precision"],
            value.get("layer_from"),
            value.get("shots"),
        )


def resolve(
    stage: Stage, model: Model, task: Task, overrides: Mapping[str, Any], recipe: Recipe | None = None
) -> TrainingSettings:
    """Lay settings over each other, later ones winning: defaults, model, task, recipe, the model's over tasks, what the
    recipe says of the model, configuration.

    In each layer the plain keys come first, then those for the model's interface, then those for the stage; so a
    configuration's plain `epochs` wins over a model's `target: {epochs: ...}`.

    Raises:
      UserError: see `overlay`.
    """
    own = _own(model)
    general, special = recipe.layers(model.name, task.name) if recipe else ((), ())
    layers = (own, task.definition["training"], *general, _over(own), *special, overrides)
    return overlay(stage, *(_of(layer, model.interface) for layer in layers))


def _own(model: Model) -> dict[str, Any]:
    """Return a model's own settings, laid over those of its interface."""
    below, own = INTERFACES[model.interface].training, model.definition["training"]
    over = {**below.get("over_tasks", {}), **own.get("over_tasks", {})}
    return {**below, **own, **({"over_tasks": over} if over else {})}


def _over(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a model's settings wins over tasks and recipes: `over_tasks`, and the optimizer they go with."""
    return {**({"optimizer": own["optimizer"]} if "optimizer" in own else {}), **own.get("over_tasks", {})}


def _of(layer: Mapping[str, Any], interface: str) -> dict[str, Any]:
    """Return a layer with its settings for one interface laid over those for all."""
    own = layer.get(interface, {})
    lengths_of = INTERFACES[interface].lengths_of
    if lengths_of is not None:
        lengths = {key: value for key, value in layer.get(lengths_of, {}).items() if key in LENGTHS}
        own = {**lengths, **own}
    stages = {stage: {**layer.get(stage, {}), **own.get(stage, {})} for stage in STAGES}
    return {**layer, **own, **stages}


def overlay(stage: Stage, *layers: Mapping[str, Any]) -> TrainingSettings:
    """Lay layers of settings over the defaults, later ones winning; see `resolve`.

    A batch is stated in examples or in tokens: a layer that states one takes the other of the layers before back.

    Raises:
      UserError: a batch in tokens that no number of updates goes with, or that holds not one row.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        own = {**{key: value for key, value in layer.items() if key not in STAGES}, **layer.get(stage, {})}
        if "batch_size" in own and "batch_tokens" not in own:
            merged.pop("batch_tokens", None)
        merged.update(own)
    known = {field.name: str(field.type) for field in fields(TrainingSettings)}
    # 3 and 3.0 are one setting, and one identity.
    for key, value in merged.items():
        if known.get(key, "").startswith("float") and value is not None:
            merged[key] = float(value)
    if merged.get("lora") is not None:
        lora = {"alpha": 32, "dropout": 0.0, **merged["lora"]}
        merged["lora"] = {**lora, "dropout": float(lora["dropout"])}
    settings = TrainingSettings(**{key: value for key, value in merged.items() if key in known})
    if settings.batch_tokens is not None:
        if settings.max_updates is None:
            raise UserError(
                f"training: batch_tokens ({settings.batch_tokens}) without max_updates: passes over packed rows are "
                "not counted. Set max_updates too, or batch_size instead."
            )
        if settings.batch_tokens < settings.max_length:
            raise UserError(
                f"training: batch_tokens ({settings.batch_tokens}) is less than one row of max_length "
                f"({settings.max_length}). Raise the one or lower the other."
            )
    return settings


def resolve_mixture(
    model: Model,
    tasks: Sequence[Task],
    overrides: Mapping[str, Any],
    own: Mapping[str, Any],
    recipe: Recipe | None = None,
) -> TrainingSettings:
    """Return the settings of an intermediate stage over several tasks.

    What the tasks agree on holds, lengths are the largest, and so are batches in tokens and their numbers where every
    task has such; anything else is the recipe's and the model's. Then come the configuration's settings, then those of
    the mixture itself (`own`).

    Raises:
      UserError: see `overlay`.
    """
    definition = _own(model)
    general, special = recipe.layers(model.name) if recipe else ((), ())
    layers = (definition, *general, _over(definition), *special)
    alone = asdict(overlay("intermediate", *(_of(layer, model.interface) for layer in layers)))
    each = [asdict(resolve("intermediate", model, task, {}, recipe)) for task in tasks]
    agreed = {key: each[0][key] if all(one[key] == each[0][key] for one in each) else alone[key] for key in alone}
    largest = ["max_length", "stride", "max_target_length"]
    if all(one["batch_tokens"] for one in each):
        largest += ["batch_tokens", "max_updates"]
    agreed |= {key: max(one[key] for one in each) for key in largest}
    return overlay("intermediate", agreed, _of(overrides, model.interface), _of(own, model.interface))
