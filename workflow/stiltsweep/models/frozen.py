"""What the frozen layers make of texts, kept beside the base model: jobs that meet the same ones compute it once.

Where training leaves the embeddings and the lower layers as they were, all checkpoints of a model agree up to there: on
the test examples of a target, on dev at every evaluation, and on the training examples of all arms, seeds and epochs.
The former come in the same batches each time. Training shuffles its batches, so its inputs go through the frozen layers
before it begins, in order of length, and its batches are put together from what came out. States are kept by batch and
found by what they depend on, down to the padding, so they are the bytes that the job would have computed. Nothing
depends on the folder being there; it may be deleted at any time.

Only on the CPU: a GPU computes the states faster than a disk returns them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ..files import replacing
from ..settings import FROZEN
from .batches import Example, by_budget, packs
from .directory import WEIGHTS
from .load import Source
from .task_model import TaskModel

log = logging.getLogger(__name__)
_ROOM = 1 << 29
"""Bytes of states that are kept of a model; when they are full, jobs compute."""
_MEMORY = 1 << 29
"""Bytes of states of training inputs that a job holds; if they are more, it computes them in every epoch."""
_TOKENS = 4096
"""Token slots of a batch of training inputs."""
_ROW = 128
"""Places of a row of several inputs, about: attention grows with their square."""
_CLASSES = ("BertModel", "XLMRobertaModel")
"""Encoders that are embeddings and a list of layers, and nothing between them."""


def share(
    model: TaskModel, source: Source, trained: Iterable[str], precision: str, examples: Sequence[Example] = ()
) -> None:
    """Let a model share the states of its frozen layers, where it has some and runs on the CPU in fp32.

    Args:
      model: on the device it will run on.
      source: what it was built from.
      trained: names of the backbone's parameters that this job trains.
      precision: of the forward pass.
      examples: what it will be trained on, as it meets them in every epoch.
    """
    device = next(model.parameters()).device.type
    if device != "cpu" or precision != "fp32" or type(model.backbone).__name__ not in _CLASSES:
        return
    depth = _depth(model.backbone, {*trained, *_stored(source)})
    if depth:
        model.frozen = frozen = _Frozen(model.backbone, source, depth)
        frozen.read(model, examples)


def _stored(source: Source) -> list[str]:
    """Return the names of the tensors that a checkpoint lays over its base."""
    if source.checkpoint is None:
        return []
    with safe_open(source.checkpoint / WEIGHTS, "pt") as handle:
        return list(handle.keys())


def _depth(backbone: Any, changed: set[str]) -> int:
    """Return how many layers, from the lowest up, are the base model's; 0 too where its embeddings are not."""
    if any(name.startswith("embeddings.") for name in changed):
        return 0
    layers = range(len(backbone.encoder.layer))
    return next((i for i in layers if any(name.startswith(f"encoder.layer.{i}.") for name in changed)), len(layers))


class _Frozen:
    """An encoder cut in two: states of the lower part out of a folder, and the upper part run on them.

    Shape letters: B inputs of a batch, L token positions, H width; P rows of R places, N places.
    """

    def __init__(self, backbone: Any, source: Source, depth: int) -> None:
        self.backbone = backbone
        self.lower, self.upper = backbone.encoder.layer[:depth], backbone.encoder.layer[depth:]
        self.draws = any(isinstance(one, nn.Dropout) and one.p > 0 for one in backbone.modules())
        self.folder = source.base / FROZEN
        # All that a state depends on besides its batch; processors and threads round differently.
        self.about = repr(
            (
                source.about["weights_sha256"],
                depth,
                torch.__version__,
                transformers.__version__,
                torch.backends.cpu.get_cpu_capability(),
                torch.get_num_threads(),
            )
        ).encode()
        self.room = _ROOM - sum(_size(path) for path in self.folder.glob("*.npy"))
        self.known: dict[bytes, Tensor] = {}
        """States (L, H) of training inputs, without padding, by `_rows`."""

    def read(self, model: TaskModel, examples: Sequence[Example]) -> None:
        """Bring training inputs through the lower part; not where dropout draws there, nor where they are too many."""
        tokens = sum(len(one.ids) for example in examples for one in example.inputs)
        if self.draws or 4 * tokens * self.backbone.config.hidden_size > _MEMORY:
            return
        for part in by_budget(sorted(examples, key=lambda example: example.length), _TOKENS):
            batch = model.collate(part, torch.device("cpu"))
            _, arguments = model.encoder_call(batch)
            full_ids_BL = model.dense.full_tensor(batch.ids_BL)
            states_BLH = self._states(arguments, full_ids_BL)
            for row, states_LH, mask_L in zip(
                _rows(arguments, full_ids_BL), states_BLH, batch.mask_BL.bool(), strict=True
            ):
                self.known[row] = states_LH[mask_L]

    def __call__(self, arguments: Mapping[str, Tensor], full_ids_BL: Tensor) -> Tensor | None:
        """Return the encoder's output (B, L, H); None in training on inputs that were not read before it.

        Args:
          arguments: of the encoder.
          full_ids_BL: ids of the full vocabulary: those of the arguments depend on the job's other examples.
        """
        if self.backbone.training:
            known = [self.known.get(row) for row in _rows(arguments, full_ids_BL)]
            states = [states_LH for states_LH in known if states_LH is not None]
            return self._packed(states) if len(states) == len(known) else None
        with self._only(self.upper, self._states(arguments, full_ids_BL)):
            output_BLH: Tensor = self.backbone(**arguments).last_hidden_state
        return output_BLH

    def _packed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the upper part's output (B, L, H) for the states (L, H) of B inputs.

        Inputs stand one after the other in rows of R places and do not see each other, so that hardly any place is
        padding. Their positions are in their states already.
        """
        rows = packs([len(states_LH) for states_LH in inputs], _ROW)
        states_PRH = pad_sequence([torch.cat([inputs[i] for i in row]) for row in rows], batch_first=True)
        owners_PR = np.full(states_PRH.shape[:2], -1)
        places_BL = np.full((len(inputs), max(map(len, inputs))), owners_PR.size)
        for number, row in enumerate(rows):
            at = 0
            for i in row:
                length = len(inputs[i])
                owners_PR[number, at : at + length] = i
                places_BL[i, :length] = number * owners_PR.shape[1] + np.arange(at, at + length)
                at += length
        mask_PRR = torch.from_numpy(owners_PR[:, :, None] == owners_PR[:, None, :])
        with self._only(self.upper, states_PRH):
            output_PRH = self.backbone(
                input_ids=torch.from_numpy(owners_PR), attention_mask=mask_PRR[:, None]
            ).last_hidden_state
        flat_NH = functional.pad(output_PRH.flatten(0, 1), (0, 0, 0, 1))  # the last row stands for padding
        return flat_NH.index_select(0, torch.from_numpy(places_BL.ravel())).view(*places_BL.shape, -1)

    def _states(self, arguments: Mapping[str, Tensor], full_ids_BL: Tensor) -> Tensor:
        """Return the states (B, L, H) of the lower part, kept or computed."""
        key = hashlib.sha256(self.about)
        for tensor in (full_ids_BL, *(value for name, value in arguments.items() if name != "input_ids")):
            key.update(repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
        path = self.folder / f"{key.hexdigest()}.npy"
        states_BLH = _read(path)
        if states_BLH is None:
            with torch.no_grad(), self._only(self.lower):
                states_BLH = self.backbone(**arguments).last_hidden_state
            self._write(path, states_BLH)
        return states_BLH

    def _write(self, path: Path, states_BLH: Tensor) -> None:
        if self.room < states_BLH.nbytes:
            return
        self.room -= states_BLH.nbytes
        try:
            with replacing(path, durable=False) as temporary, open(temporary, "wb") as handle:
                np.save(handle, states_BLH.numpy(), allow_pickle=False)
                handle.write(_checksum(states_BLH.numpy()))
        except OSError as error:  # a full disk, or somebody else's folder: the states are computed, as without it
            log.info("%s: states of frozen layers are not kept (%s)", self.folder, error.strerror)
            self.room = 0

    @contextlib.contextmanager
    def _only(self, layers: nn.ModuleList, states_BLH: Tensor | None = None) -> Iterator[None]:
        """Reduce the encoder to some of its layers, its embeddings to known states."""
        encoder, embeddings = self.backbone.encoder, self.backbone.embeddings
        whole = encoder.layer
        encoder.layer = layers
        if states_BLH is not None:
            embeddings.forward = lambda **_: states_BLH
        try:
            yield
        finally:
            encoder.layer = whole
            if states_BLH is not None:
                del embeddings.forward


def _rows(arguments: Mapping[str, Tensor], full_ids_BL: Tensor) -> list[bytes]:
    """Return what tells the inputs of a batch apart: ids of the full vocabulary and token types, without padding."""
    lengths = arguments["attention_mask"].sum(1).tolist()
    types_BL = arguments.get("token_type_ids")
    told = [full_ids_BL] if types_BL is None else [full_ids_BL, types_BL]
    return [b"".join(of_BL[i, :n].numpy().tobytes() for of_BL in told) for i, n in enumerate(lengths)]


def _size(path: Path) -> int:
    """Return a file's bytes, none where it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path) -> Tensor | None:
    """Return kept states, None where there are none, or none that are what was written."""
    try:
        with open(path, "rb") as handle:
            states = np.load(handle, allow_pickle=False)
            whole = handle.read() == _checksum(states)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(states) if whole else None


def _checksum(states_BLH: np.ndarray[Any, Any]) -> bytes:
    """Return what stands behind kept states in their file: a disk that lost some of them leaves a file as long."""
    return zlib.crc32(np.ascontiguousarray(states_BLH).data).to_bytes(4, "big")
