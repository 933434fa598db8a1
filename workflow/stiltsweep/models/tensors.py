"""Files of weights: whole ones are read, others named with the command that makes them again; written atomically."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError, remake
from ..files import replacing

CHECKPOINT_FILE = "checkpoint.json"
HEAD = "head.safetensors"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
      UserError: it is not there, as after `keep: none`; the text says how to make it again.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no weights there, perhaps because of `keep:`. Make them again with: "
            f"{remake(path.with_name(CHECKPOINT_FILE))}"
        )
    with whole(path, CHECKPOINT_FILE):
        tensors: dict[str, Tensor] = load_file(path)
    return tensors


@contextlib.contextmanager
def whole(path: Path, declared: str) -> Iterator[None]:
    """Name a file of weights that cannot be read, and how to make it again: by asking for what is declared of it."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({error}). Rebuild it with: {remake(path.with_name(declared))}"
        ) from None


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file atomically.

    Raises:
      OSError: it cannot be written; safetensors has an error of its own for this, with the system's number in its text.
    """
    with replacing(path) as temporary:
        try:
            save_file(tensors, os.fspath(temporary), metadata={"format": "pt"})
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            if not number:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), os.fspath(path)) from None
