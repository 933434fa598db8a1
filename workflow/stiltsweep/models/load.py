"""Building a model for one job: base weights, a checkpoint's weights over them, and only the vocabulary the job needs.

A *checkpoint* stores what training changed, not what it kept: the tensors that were trainable (in it or in the
checkpoint it started from), and of a trainable embedding only the rows of the pieces it saw. Everything else is read
from the base model, so pruning the vocabulary changes no representation and nothing is ever silently lost: a piece that
training did not see has its pretrained row. (With an output layer over the vocabulary, a pruned softmax ranges over the
kept pieces; the checkpoint records how many.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import UserError, remake
from ..files import check_digest, digest_file, read_json, read_record
from . import architectures, lora
from .batches import Dense, Example, Objective
from .directory import WEIGHTS
from .task_model import TaskModel
from .tensors import CHECKPOINT_FILE, HEAD, read_tensors, save_tensors, whole
from .tokenizer import DIGESTS, MODEL_FILE

_BASE_KEYS = (
    "interface",
    "class",
    "weights_sha256",
    "tokenizer_sha256",
    DIGESTS,
    "config_sha256",
    "embedding",
    "special",
)
_CHECKPOINT_KEYS = ("base", "weights_sha256", "seed")
"""What a record of each holds at least."""
_ROWS = ".rows"
"""Suffix of the tensor that holds the ids of a pruned embedding's rows."""
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout_rate",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
)
"""Keys of configurations."""


@dataclass(frozen=True)
class Source:
    """Where a job's weights come from: a base model, perhaps with a checkpoint over it."""

    base: Path
    """Directory of the base model."""
    about: Mapping[str, Any]
    """The base's model.json."""
    checkpoint: Path | None = None
    """Directory of the checkpoint."""
    trained: Mapping[str, Any] | None = None
    """The checkpoint's checkpoint.json."""

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read a model.json or a checkpoint.json (the files rules depend on)."""
        path = Path(path)
        if path.name == MODEL_FILE:
            return cls(path.parent, read_record(path, keys=_BASE_KEYS))
        about = read_record(path, keys=_CHECKPOINT_KEYS)
        base = path.parent / about["base"]
        # As a user writes it, and Snakemake: error texts name its files.
        plain = Path(os.path.normpath(base))
        base = plain if plain.is_dir() else base
        return cls(base, read_record(base / MODEL_FILE, keys=_BASE_KEYS), path.parent, about)

    def check(self) -> None:
        """Compare weights and head with the digests that their records hold; the tokenizer's files compare themselves.

        Raises:
          UserError: one of them is damaged, swapped or gone; the text names it and how to make it again.
        """
        again = remake(self.base / MODEL_FILE)
        check_digest(self.base / WEIGHTS, self.about["weights_sha256"], again)
        check_digest(self.base / "config.json", self.about["config_sha256"], again)
        if self.checkpoint is not None and self.trained is not None:
            again = remake(self.checkpoint / CHECKPOINT_FILE)
            for name, key in ((WEIGHTS, "weights_sha256"), (HEAD, "head_sha256")):
                if self.trained.get(key) and not (self.checkpoint / name).is_file():
                    raise UserError(
                        f"{self.checkpoint / name}: no weights there, perhaps because of `keep:`. Make them again "
                        f"with: {again}"
                    )
                if self.trained.get(key):
                    check_digest(self.checkpoint / name, self.trained[key], again)

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of what a job starts from: the checkpoint's, or the base's."""
        return self.trained or self.about

    @property
    def interface(self) -> str:
        """`encoder`, `text2text` or `causal`."""
        return str(self.about["interface"])

    @property
    def model_type(self) -> str:
        """Transformers' name of the architecture, such as `bert` or `mt5`."""
        return str(read_json(self.base / "config.json")["model_type"])

    @property
    def weights_sha256(self) -> str:
        """Digest of the weights a job starts from."""
        return str((self.trained or self.about)["weights_sha256"])

    @property
    def failed_stages(self) -> list[str]:
        """Trainings behind these weights that ended at chance level, as folders below the results."""
        about = self.trained
        if about is None:
            return []
        own = [] if about.get("learned", True) else [stage_name(about)]
        return [*about.get("failed_stages", []), *own]

    @property
    def embeddings(self) -> list[str]:
        """Names of the tensors with one row per piece."""
        return [name for name in (self.about["embedding"], self.about.get("output_embedding")) if name]

    def check_length(self, max_length: int, behind: int = 0) -> None:
        """Refuse inputs that are longer than the model's positions.

        Args:
          max_length: of an input.
          behind: pieces that stand behind it at most, of an answer of a causal model.

        Raises:
          UserError: they are.
        """
        positions = self.about.get("max_positions")
        if positions is None or max_length + behind <= positions:
            return
        answers = f" and max_target_length {behind} behind it" if behind and max_length <= positions else ""
        hint = f" Set max_length: {positions - behind} or less." if positions > behind else ""
        raise UserError(
            f"training.max_length: {max_length}{answers}, but {self.about['name']} has {positions} positions.{hint}"
        )


def stage_name(checkpoint: Mapping[str, Any]) -> str:
    """Return what a checkpoint was trained on, by its folder: intermediate/{intermediate} or finetune/{training}."""
    if checkpoint.get("target"):
        return f"finetune/{checkpoint['target']}"
    return f"intermediate/{checkpoint.get('intermediate')}"


def kept_ids(used: Iterable[int], source: Source) -> NDArray[np.int64]:
    """Return the sorted ids a job needs: those its examples use and the special ones.

    Of models that number positions from the padding id, as XLM-R does, also all ids up to that one, so that it stays.
    """
    special = source.about["special"]
    before = special["pad"] if architectures.counts_from_padding(source.model_type) else 0
    needed = {*used, *range(before), *(i for i in special.values() if i is not None)}
    return np.array(sorted(needed), dtype=np.int64)


def vocabulary(
    source: Source, encoded: Sequence[tuple[Objective, Iterable[Example]]], *, prune: bool
) -> NDArray[np.int64] | None:
    """Return the ids a job keeps, None for all: those its examples use, where it prunes and nothing writes text.

    What a model writes is chosen among all pieces: among those of the job's own texts alone, it would depend on which
    other texts are in the job.
    """
    if not prune or any(form.writes for form, _ in encoded):
        return None
    return kept_ids((i for form, examples in encoded for one in examples for i in form.used_ids(one)), source)


def build(
    source: Source,
    form: Objective,
    *,
    kept: NDArray[np.int64] | None,
    seed: int,
    dropout: float | None = None,
    head_from: Path | None = None,
) -> TaskModel:
    """Build a model with the weights of `source`.

    Args:
      source: base model or checkpoint.
      form: the task's kind; decides the head.
      kept: ids of the pieces to keep, sorted; None keeps all.
      seed: of a new head.
      dropout: of the whole model; None leaves its own.
      head_from: checkpoint directory to load the head from; None makes a new one.

    Raises:
      UserError: weights are missing or do not fit the model's class.
    """
    import transformers
    from transformers.initialization import no_init_weights

    # The class comes from our own model.json but is checked all the same: a name must not reach anything else.
    name = str(source.about["class"])
    model_class = getattr(transformers, name, None)
    if not (isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel)):
        raise UserError(f"{source.base / MODEL_FILE}: class {name!r} is not a model class of transformers.")
    config = transformers.AutoConfig.from_pretrained(source.base, local_files_only=True)
    if kept is not None:
        config.vocab_size = len(kept)
        _renumber_padding(config, Dense(kept, int(source.about["special"]["pad"])))
    if dropout is not None:
        for key in _DROPOUTS:
            if hasattr(config, key):
                setattr(config, key, dropout)
    options = {"add_pooling_layer": False} if source.about.get("pooler") is False else {}
    with no_init_weights():
        backbone = model_class(config, **options)
    backbone.tie_weights()
    if source.about.get("output_embedding"):
        # mT5's output layer is a matrix of its own; transformers 5 ties it to the embedding whatever its configuration
        # says, and loading would then overwrite the one with the other.
        backbone.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        backbone.config.tie_word_embeddings = False  # a tied output would be scaled
    tensors = weights(source, kept)
    missing, unexpected = backbone.load_state_dict(tensors, strict=False)
    # Names of one and the same parameter: a file holds it once.
    shared: dict[int, list[str]] = {}
    for key, parameter in backbone.state_dict(keep_vars=True).items():
        shared.setdefault(id(parameter), []).append(key)
    given = {key for keys in shared.values() if any(k in tensors for k in keys) for key in keys}
    missing = [key for key in missing if key not in given]
    if missing or unexpected:
        raise UserError(
            f"{source.base}: weights do not fit {name}: missing {missing[:3]}, unexpected {list(unexpected)[:3]}."
        )
    model = TaskModel(backbone, source, Dense(kept, int(source.about["special"]["pad"])))
    model.add_task(form, seed=seed, head_from=head_from)
    return model


def randomise(model: TaskModel, seed: int) -> None:
    """Give a model that was built the weights that its class begins with, drawn from a seed."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    kind, device = type(model.backbone), next(model.backbone.parameters()).device
    model.backbone = kind(model.backbone.config, **architectures.options(kind)).to(device)
    torch.random.set_rng_state(state)


def _renumber_padding(config: Any, dense: Dense) -> None:
    """Give a configuration the padding id of a pruned vocabulary; an embedding asks for one that it has."""
    number, kept = config.pad_token_id, dense.kept
    if number is None or kept is None:
        return
    there = int(np.searchsorted(kept, number))
    kept_too = there < len(kept) and kept[there] == number
    config.pad_token_id = there if kept_too else int(dense.of([dense.pad])[0])


def weights(source: Source, kept: NDArray[np.int64] | None) -> dict[str, Tensor]:
    """Read the tensors of `source`, embeddings cut to the kept rows, adapters added to their weights, as fp32."""
    trained = {} if source.checkpoint is None else read_tensors(source.checkpoint / WEIGHTS)
    tensors: dict[str, Tensor] = {}
    with whole(source.base / WEIGHTS, MODEL_FILE), safe_open(source.base / WEIGHTS, "pt") as handle:
        for key in handle.keys():  # noqa: SIM118
            rows = key in source.embeddings
            if key in trained and not rows:
                tensors[key] = trained[key]
                continue
            # The tensor is mapped from the file: indexing reads the kept rows only.
            tensor = handle.get_tensor(key)
            tensors[key] = (tensor if kept is None or not rows else tensor[torch.from_numpy(kept)]).float()
    for key in source.embeddings:
        if key in trained:
            ids = trained[key + _ROWS].numpy()
            everything = np.arange(len(tensors[key]), dtype=np.int64) if kept is None else kept
            _, here, there = np.intersect1d(everything, ids, assume_unique=True, return_indices=True)
            tensors[key] = tensors[key].clone()
            tensors[key][torch.from_numpy(here)] = trained[key][torch.from_numpy(there)]
    lora.add(tensors, trained)
    return tensors


def trainable(
    model: TaskModel,
    *,
    freeze_embeddings: bool,
    freeze_layers: int,
    adapters: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[tuple[str, nn.Parameter]]:
    """Freeze what the settings say and return the trainable parameters of the backbone by name.

    Args:
      model: with the weights that training starts from.
      freeze_embeddings, freeze_layers: what stays as it is.
      adapters: settings of low-rank adapters, which are then all that is trained of the backbone (see `lora`).
      seed: of the adapters.

    Raises:
      UserError: more layers to freeze than the encoder has, or none to adapt.
    """
    backbone = model.backbone
    layers = architectures.layers(architectures.reader(backbone))
    if freeze_layers > len(layers):
        one = "" if len(layers) else " that can be frozen one by one"
        raise UserError(f"training.freeze_layers: {freeze_layers}, but the encoder has {len(layers)} layers{one}.")
    if freeze_embeddings:
        for module in architectures.below_layers(backbone):
            module.requires_grad_(False)
    for layer in layers[:freeze_layers]:
        layer.requires_grad_(False)
    if adapters is not None:
        lora.attach(backbone, adapters, frozen_layers=freeze_layers, seed=seed)
    return [(name, parameter) for name, parameter in backbone.named_parameters() if parameter.requires_grad]


def save_checkpoint(
    folder: Path, model: TaskModel, source: Source, names: Iterable[str], state: Mapping[str, Tensor] | None = None
) -> dict[str, str]:
    """Write the tensors in `names` (and those the parent checkpoint had) and the head; return their digests.

    Low-rank adapters stand beside what they are added to (see `lora`), those of the parent before the model's own.

    `state` holds the model's tensors, where the model itself has only pieces of them. The heads of several tasks are
    left out: no later stage reads them, since every stage makes a new one.
    """
    parent = {} if source.checkpoint is None else read_tensors(source.checkpoint / WEIGHTS)
    inherited = {name for name in parent if not name.endswith(_ROWS) and not lora.is_adapter(name)}
    state = model.state_dict() if state is None else state
    trained = {name for name in names if not lora.is_adapter(name)}
    own = {name.removeprefix("backbone."): tensor for name, tensor in state.items() if name.startswith("backbone.")}
    tensors = lora.to_store(model.backbone, own, lora.of_others(parent, trained))
    for name in sorted(trained | inherited):
        if name not in trained and name not in source.embeddings:
            # Not as the model has it: there adapters of the parent are added to it.
            tensors[name] = parent[name]
            continue
        tensors[name] = own[name].detach().to("cpu", torch.float32).contiguous().clone()
        if name in source.embeddings:
            kept = model.dense.kept
            rows = np.arange(len(tensors[name]), dtype=np.int64) if kept is None else kept
            tensors[name + _ROWS] = torch.from_numpy(rows.copy())
            if name in parent:
                _inherit_rows(tensors, name, parent)
    save_tensors(folder / WEIGHTS, tensors)
    digests = {"weights_sha256": digest_file(folder / WEIGHTS)}
    if len(model.tasks) == 1 and model.head is not None:
        head = {
            k: state[f"heads.0.{k}"].detach().to("cpu", torch.float32).contiguous() for k in model.head.state_dict()
        }
        save_tensors(folder / HEAD, head)
        digests["head_sha256"] = digest_file(folder / HEAD)
    return digests


def _inherit_rows(tensors: dict[str, Tensor], name: str, parent: Mapping[str, Tensor]) -> None:
    """Add the rows that the parent checkpoint trained and this job did not need."""
    rows, trained = parent[name + _ROWS], parent[name]
    fresh = ~torch.isin(rows, tensors[name + _ROWS])
    ids = torch.cat([tensors[name + _ROWS], rows[fresh]])
    order = ids.argsort()
    tensors[name] = torch.cat([tensors[name], trained[fresh]])[order].contiguous()
    tensors[name + _ROWS] = ids[order].contiguous()
