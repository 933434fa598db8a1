"""What the frozen layers make of texts, kept beside the base model: jobs that meet the same ones compute it once.

Where training leaves the embeddings and the lower layers as they were, all checkpoints of a model agree up to there: on
the test examples of a target, on dev at every evaluation, and on the training examples of all arms, seeds and epochs.
The former come in the same batches each time and are kept by batch, which is fastest to compute. Training shuffles its
batches, so each input goes through the frozen layers alone, without padding, whatever its batch. A state is found by
what it depends on, down to the padding of its batch, so it is the bytes that the job would have computed. Nothing
depends on the folder being there; it may be deleted at any time.

Only on the CPU: a GPU computes the states faster than a disk returns them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..files import replacing
from ..settings import FROZEN
from .directory import WEIGHTS
from .load import Source, TaskModel

log = logging.getLogger(__name__)
_ROOM = 1 << 29
"""Bytes of states that are kept of a model; when they are full, jobs compute."""
_CLASSES = ("BertModel", "XLMRobertaModel")
"""Encoders that are embeddings and a list of layers, and nothing between them."""


def share(model: TaskModel, source: Source, trained: Iterable[str], precision: str) -> None:
    """Let a model share the states of its frozen layers, where it has some and runs on the CPU in fp32.

    Args:
      model: on the device it will run on.
      source: what it was built from.
      trained: names of the backbone's parameters that this job trains.
      precision: of the forward pass.
    """
    device = next(model.parameters()).device.type
    if device != "cpu" or precision != "fp32" or type(model.backbone).__name__ not in _CLASSES:
        return
    depth = _depth(model.backbone, {*trained, *_stored(source)})
    if depth:
        model.frozen = _Frozen(model.backbone, source, depth)


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

    Shape letters: B inputs of a batch, L token positions, H width.
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

    def __call__(self, arguments: Mapping[str, Tensor], full_ids_BL: Tensor) -> Tensor | None:
        """Return the encoder's output (B, L, H); None where it has to be computed whole, since dropout draws.

        Args:
          arguments: of the encoder.
          full_ids_BL: ids of the full vocabulary: those of the arguments depend on the job's other examples.
        """
        if not self.backbone.training:
            states_BLH = self._states(arguments, full_ids_BL)
        elif self.draws:
            return None
        else:
            lengths = arguments["attention_mask"].sum(1).tolist()
            states_BLH = pad_sequence(
                [
                    self._states(
                        {k: of_BL[i : i + 1, :n] for k, of_BL in arguments.items()}, full_ids_BL[i : i + 1, :n]
                    )[0]
                    for i, n in enumerate(lengths)
                ],
                batch_first=True,
            )
        with self._only(self.upper, states_BLH):
            output_BLH: Tensor = self.backbone(**arguments).last_hidden_state
        return output_BLH

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


def _size(path: Path) -> int:
    """Return a file's bytes, none where it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path) -> Tensor | None:
    """Return kept states, None where there are none, or none that are whole."""
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
