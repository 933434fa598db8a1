"""The model of a job in memory: a backbone, the heads of its tasks, and the calls that kinds make on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UserError
from ..settings import T5_FAMILY
from . import architectures, generation
from .batches import Batch, Dense, Example, Objective, collate, moved
from .tensors import HEAD, read_tensors
from .unpadded import Unpadded

if TYPE_CHECKING:
    from .load import Source


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
        written: Tensor = self.backbone.generate(**how, do_sample=False, num_beams=1, use_cache=True)
        return written

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
