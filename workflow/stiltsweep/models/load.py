"""Building a model for one job: base weights, a checkpoint's weights over them, and only the vocabulary the job needs.

A *checkpoint* stores what training changed, not what it kept: the tensors that were trainable (in it or in the
checkpoint it started from), and of a trainable embedding only the rows of the pieces it saw. Everything else is read
from the base model, so pruning the vocabulary changes no representation and nothing is ever silently lost: a piece that
training did not see has its pretrained row. (With an output layer over the vocabulary, a pruned softmax ranges over the
kept pieces; the checkpoint records how many.)
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UserError
from ..files import check_digest, digest_file, read_json, read_record, replacing
from ..settings import T5_FAMILY
from . import architectures, generation, lora
from .batches import Batch, Dense, Example, Objective, collate, moved
from .directory import WEIGHTS
from .tokenizer import DIGESTS, MODEL_FILE
from .unpadded import Unpadded

CHECKPOINT_FILE = "checkpoint.json"
HEAD = "head.safetensors"
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
        again = f"snakemake --cores 1 --force {self.base / MODEL_FILE}"
        check_digest(self.base / WEIGHTS, self.about["weights_sha256"], again)
        check_digest(self.base / "config.json", self.about["config_sha256"], again)
        if self.checkpoint is not None and self.trained is not None:
            again = f"snakemake --cores 1 --force {self.checkpoint / CHECKPOINT_FILE}"
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


class TaskModel(nn.Module):
    """A backbone and the heads of one or more tasks, with the calls that kinds make on them.

    One task is in use at a time: `form`, `head` and `forward` are its. `forward` is the loss, so that accelerate's
    wrappers (autocast, DDP, FSDP) see every training step.
    """

    def __init__(self, backbone: Any, source: Source, dense: Dense) -> None:
        super().__init__()
        self.backbone = backbone
        self.tasks: list[Objective] = []
        # By number: names of tasks may hold dots, which names of modules may not.
        self.heads = nn.ModuleDict()
        self.form: Objective
        self.dense = dense
        self.dense_pad = int(dense.of([dense.pad])[0])
        start = getattr(backbone.config, "decoder_start_token_id", None)
        self.decoder_start = self.dense_pad if start is None else int(dense.of([start])[0])
        self.token_types = getattr(backbone.config, "type_vocab_size", 0) > 1 and source.about.get("token_types", True)
        eos = source.about["special"].get("eos")
        self.eos = None if eos is None else int(dense.of([eos])[0])
        self.forbidden = [
            int(i) for i in _present(source.about.get("unwritten", source.about.get("sentinels", [])), dense)
        ]
        # Set by `frozen.share`: the encoder's output where its lower layers' is known, else None.
        self.frozen: Callable[[Mapping[str, Tensor], Tensor], Tensor | None] | None = None
        # Set by `unpadded.attach`.
        self.unpadded: Unpadded | None = None
        # Set where several processes hold pieces of the weights: layers are then called through the whole model alone.
        self.sharded = False
        self.causal = source.about.get("interface") == "causal"
        # Is shown the states that do not come out of a call of the encoder or the decoder as a whole.
        self.look: Callable[[Tensor], None] | None = None

    def add_task(self, form: Objective, *, seed: int, head_from: Path | None = None) -> None:
        """Add a task and use it.

        Args:
          form: the task's kind; decides the head.
          seed: of a new head.
          head_from: checkpoint directory to load the head from; None makes a new one.
        """
        config = self.backbone.config
        rates = (getattr(config, key, None) for key in ("hidden_dropout_prob", "dropout_rate", "dropout"))
        dropout = next((float(rate) for rate in rates if rate is not None), 0.0)
        head = form.new_head(config.hidden_size, config.vocab_size, seed, dropout)
        if head is not None:
            if head_from is not None:
                head.load_state_dict(read_tensors(head_from / HEAD))
            self.heads[str(len(self.tasks))] = head
        self.tasks.append(form)
        self.use(len(self.tasks) - 1)

    def use(self, task: int) -> None:
        """Use the task that was added as number `task`, from 0."""
        self._used = str(task)
        self.form = self.tasks[task]

    @property
    def head(self) -> nn.Module | None:
        """The head of the task in use; None where the model's own output layer serves."""
        if self._used in self.heads:
            return self.heads[self._used]
        return None

    def forward(self, batch: Batch) -> Tensor:
        """Return the batch's summed loss."""
        return self.form.loss(self, batch)

    def collate(self, examples: list[Example], device: torch.device) -> Batch:
        """Return examples as this model reads them."""
        return collate(
            examples,
            self.dense,
            device,
            token_types=self.token_types,
            places=self.unpadded is not None,
            rounded=self.replays and self.training,
        )

    @property
    def replays(self) -> bool:
        """Whether passes of training are captured and replayed."""
        return self.unpadded is not None and self.unpadded.captured is not None

    def match_pieces(self, vectors_NH: Tensor) -> Tensor:
        """Return scores (N, V) of every piece: dot products with the input embeddings, tied to the output by that."""
        if self.backbone.config.model_type in T5_FAMILY:
            # Their embeddings are large; T5 scales so where it ties the two.
            vectors_NH = vectors_NH * self.backbone.config.hidden_size**-0.5
        wider: Any
        for wider in architectures.below_layers(self.backbone)[1:]:
            # Narrow embeddings are compared as the layers read them; the bias is the same for all pieces.
            vectors_NH = vectors_NH @ wider.weight
        return functional.linear(vectors_NH, self.backbone.get_input_embeddings().weight)

    def hidden(self, batch: Batch, layer: int = -1) -> Tensor:
        """Return hidden states (B, L, H) of one layer of the encoder."""
        if self.unpadded is not None and batch.places is not None:
            depth = self.unpadded.depth + 1
            if -depth <= layer < depth:
                states_NH = self.unpadded.encode(batch, layer if layer == -1 else layer % depth)
                if self.look is not None:
                    self.look(states_NH)
                return batch.places.spread(states_NH)
        elif layer == -1:
            encoder, arguments = self.encoder_call(batch)
            shared = self.frozen(arguments, self.dense.full_tensor(batch.ids_BL)) if self.frozen else None
            last: Tensor = encoder(**arguments).last_hidden_state if shared is None else shared
            return last
        states = self.layers(batch)
        if not -len(states) <= layer < len(states):
            raise UserError(
                f"retrieval.layer: {layer} is not a layer; the model has {len(states) - 1} (0: embeddings)."
            )
        return states[layer]

    def layers(self, batch: Batch) -> Sequence[Tensor]:
        """Return hidden states (B, L, H) of the embeddings' output and of every layer of the encoder, in this order."""
        encoder, arguments = self.encoder_call(batch)
        states: Sequence[Tensor] = encoder(**arguments, output_hidden_states=True).hidden_states
        return states

    def encoder_call(self, batch: Batch) -> tuple[Any, dict[str, Any]]:
        """Return the encoder and what it is called with."""
        encoder = architectures.reader(self.backbone)
        arguments: dict[str, Any] = {"input_ids": batch.ids_BL, "attention_mask": batch.mask_BL}
        if batch.types_BL is not None:
            arguments["token_type_ids"] = batch.types_BL
        if self.causal:
            arguments["use_cache"] = False
        return encoder, arguments

    def branched(self, ids_PT: Tensor, places_PT: Tensor, texts_PT: Tensor) -> Tensor:
        """Return a causal model's states (P, T, H) of prompts with several continuations each.

        Args:
          ids_PT: a prompt and its continuations, one after the other.
          places_PT: numbers of the places: those of a continuation go on from the prompt's.
          texts_PT: 0 in the prompt, 1, 2, .. in the continuations, which see the prompt and themselves; -1: nothing.
        """
        config, (_, width) = self.backbone.config, ids_PT.shape
        of_key, of_query = texts_PT[:, None, :], texts_PT[:, :, None]
        before = torch.ones(width, width, dtype=torch.bool, device=ids_PT.device).tril()
        seen_PTT = before & (of_key >= 0) & ((of_key == 0) | (of_key == of_query))
        # What stands for nothing sees itself, for seeing nothing would be no number.
        seen_PTT = (seen_PTT | torch.eye(width, dtype=torch.bool, device=ids_PT.device))[:, None]
        window = getattr(config, "sliding_window", None)
        near_PTT = seen_PTT
        if window is not None:
            near_PTT = seen_PTT & (places_PT[:, None, :, None] - places_PT[:, None, None, :] < window)
        types = getattr(config, "layer_types", None)
        masks = {"full_attention": seen_PTT, "sliding_attention": near_PTT}
        states: Tensor = architectures.reader(self.backbone)(
            input_ids=ids_PT,
            position_ids=places_PT,
            attention_mask=near_PTT if types is None else masks,
            use_cache=False,
        ).last_hidden_state
        return states

    def continue_texts(
        self, prompts: Sequence[Sequence[int]], most: int, device: torch.device, end: int | None = None
    ) -> list[Generated]:
        """Continue each text greedily with a causal model; they end where they stand, so padding is before them.

        Args:
          prompts: ids of the full vocabulary.
          most: pieces to write.
          device: of the model.
          end: of the full vocabulary, a piece that ends a text besides the one that ends all; None: no other.
        """
        ends = [self.eos, *(self.dense.of([end]).tolist() if end is not None else [])]
        width = max(map(len, prompts))
        ids = np.full((len(prompts), width), self.dense_pad, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = self.dense.of(prompt)
        lengths = np.array([len(prompt) for prompt in prompts])
        there = np.arange(width) >= width - lengths[:, None]
        out_BT = self._generate(
            most,
            eos_token_id=[number for number in dict.fromkeys(ends) if number is not None] or None,
            input_ids=moved(torch.from_numpy(ids), device),
            attention_mask=moved(torch.from_numpy(there.astype(np.int64)), device),
        )
        written = out_BT[:, width:].tolist()
        return self._read(written, [False] * len(written), ends)

    def encode(self, batch: Batch) -> Tensor:
        """Return the encoder's output (B, L, H) of a sequence-to-sequence model."""
        return self.hidden(batch)

    def decode(self, encoded_BLH: Tensor, mask_BL: Tensor, inputs_BT: Tensor, text_BT: Tensor | None = None) -> Tensor:
        """Return the decoder's logits (B, T, V).

        Args:
          encoded_BLH, mask_BL: what the encoder made, and where it has read something.
          inputs_BT: what the decoder reads.
          text_BT: which of several texts each position belongs to; they stand one after the other and do not see each
            other. T5's positions are relative, so each is read as it would be alone.
        """
        from transformers.modeling_outputs import BaseModelOutput

        output = self.backbone(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded_BLH),
            attention_mask=mask_BL,
            decoder_input_ids=inputs_BT,
            decoder_attention_mask=None if text_BT is None else _within(text_BT),
            use_cache=False,
        )
        logits: Tensor = output.logits
        return logits

    def before_scores(self, encoded_BLH: Tensor, mask_BL: Tensor, inputs_BT: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return what the output layer would read (B, T, H), and its matrix (V, H), so that the caller scores in parts.

        None where the layer is cut into pieces over several devices.
        """
        layer = self.backbone.lm_head
        if type(layer.weight.data) is not Tensor or layer.bias is not None:
            return None
        self.backbone.lm_head = nn.Identity()
        try:
            return self.decode(encoded_BLH, mask_BL, inputs_BT), layer.weight
        finally:
            self.backbone.lm_head = layer

    def generate(self, encoded_BLH: Tensor, mask_BL: Tensor, max_new_tokens: int) -> list[Generated]:
        """Generate one text per row, greedily, with a cache, sentinels forbidden."""
        if generation.can(self.backbone) and not self.sharded:
            written = generation.greedy(
                self.backbone,
                encoded_BLH,
                mask_BL,
                start=self.decoder_start,
                pad=self.dense_pad,
                eos=self.eos,
                forbidden=self.forbidden,
                most=max_new_tokens,
                look=self.look,
            )
            return self._read(written.ids_BT.tolist(), written.tried_B.tolist())
        from transformers.modeling_outputs import BaseModelOutput

        forbid = _Forbid(self.forbidden, self.eos)
        out_BT = self._generate(
            max_new_tokens,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded_BLH),
            attention_mask=mask_BL,
            decoder_start_token_id=self.decoder_start,
            logits_processor=[forbid],
        )
        return self._read([row[1:] for row in out_BT.tolist()], forbid.tried_B.tolist())

    def _generate(self, most: int, **inputs: Any) -> Tensor:
        """Have transformers write at most so many pieces greedily, with a cache."""
        how = {"eos_token_id": self.eos, "pad_token_id": self.dense_pad, "max_new_tokens": most, **inputs}
        found: Tensor = self.backbone.generate(**how, do_sample=False, num_beams=1, use_cache=True)
        return found

    def _read(
        self, rows: Sequence[Sequence[int]], tried: Sequence[bool], ends: Sequence[int | None] = ()
    ) -> list[Generated]:
        """Return written pieces as texts of the full vocabulary."""
        ends = ends or [self.eos]
        special = {self.dense_pad, self.decoder_start, *ends}
        ids = [self.dense.full([i for i in row if i not in special]) for row in rows]
        return list(map(Generated, ids, tried, [not set(ends).isdisjoint(row) for row in rows]))


def _within(text_BT: Tensor) -> Tensor:
    """Return (B, 1, T, T) what each position sees: the positions of its own text up to itself."""
    same_BTT = text_BT[:, :, None] == text_BT[:, None, :]
    return same_BTT.tril()[:, None]


class Generated(NamedTuple):
    """One generated text."""

    ids: list[int]
    """Of the full vocabulary, without special ones."""
    sentinel: bool
    """Whether a sentinel would have been one of them, had it not been forbidden."""
    ended: bool
    """Whether it ended by itself, not for being as long as it may be."""


class _Forbid:
    """Keeps pieces out of generated texts, and remembers in which texts one of them would have come next."""

    def __init__(self, pieces: Sequence[int], eos: int | None) -> None:
        self.pieces = pieces
        self.eos = eos
        self.tried_B = torch.zeros(0, dtype=torch.bool)

    def __call__(self, ids_BT: Tensor, scores_BV: Tensor) -> Tensor:
        """Return the scores of the next pieces with those of the forbidden ones at minus infinity."""
        pieces = torch.tensor(self.pieces, dtype=torch.long, device=ids_BT.device)
        if not len(self.tried_B):
            self.tried_B = torch.zeros(len(ids_BT), dtype=torch.bool, device=ids_BT.device)
        # Texts that are finished go on being scored until the longest is.
        unfinished_B = (ids_BT[:, 1:] != (-1 if self.eos is None else self.eos)).all(1)
        self.tried_B |= torch.isin(scores_BV.argmax(-1), pieces) & unfinished_B
        return scores_BV.index_fill(1, pieces, -torch.inf)


def _present(ids: Iterable[int], dense: Dense) -> NDArray[np.int64]:
    array = np.array(sorted(ids), dtype=np.int64)
    return array if dense.kept is None else dense.of(np.intersect1d(array, dense.kept).tolist())


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
    found = {key for keys in shared.values() if any(k in tensors for k in keys) for key in keys}
    missing = [key for key in missing if key not in found]
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
    found = there < len(kept) and kept[there] == number
    config.pad_token_id = there if found else int(dense.of([dense.pad])[0])


def weights(source: Source, kept: NDArray[np.int64] | None) -> dict[str, Tensor]:
    """Read the tensors of `source`, embeddings cut to the kept rows, adapters added to their weights, as fp32."""
    trained = {} if source.checkpoint is None else read_tensors(source.checkpoint / WEIGHTS)
    tensors: dict[str, Tensor] = {}
    with _whole(source.base / WEIGHTS, MODEL_FILE), safe_open(source.base / WEIGHTS, "pt") as handle:
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
      UserError: it is not there, as after `keep: none`; the text says how to make it again.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no weights there, perhaps because of `keep:`. Make them again with: "
            f"snakemake --cores 1 --force {path.with_name(CHECKPOINT_FILE)}"
        )
    with _whole(path, CHECKPOINT_FILE):
        found: dict[str, Tensor] = load_file(path)
    return found


@contextlib.contextmanager
def _whole(path: Path, declared: str) -> Iterator[None]:
    """Name a file of weights that cannot be read, and how to make it again: by asking for what is declared of it."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({error}). Rebuild it with: "
            f"snakemake --cores 1 --force {path.with_name(declared)}"
        ) from None


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


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically.

    Raises:
      OSError: it cannot be written; safetensors has an error of its own for this, with the system's number in its text.
    """
    with replacing(path) as temporary:
        try:
            save_file(tensors, os.fspath(temporary), metadata={"format": "pt", **(metadata or {})})
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            if not number:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), os.fspath(path)) from None
