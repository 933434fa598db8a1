"""Weights in PyTorch's own format (`pytorch_model.bin`), rewritten as safetensors.

Such a file is a pickle: a program that builds its objects. It is read by `torch.load(weights_only=True)`, whose
interpreter knows how to build tensors, ordered dictionaries and plain values and nothing else: no name of another
module is looked up, no function called, nothing imported. A file that asks for more is refused, and nothing of it runs.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import write_json

if TYPE_CHECKING:
    from torch import Tensor, UntypedStorage

LOG = logging.getLogger("stiltsweep")
_SHARD_BYTES = 1 << 30
"""Of one file of rewritten weights: what is mapped twice while it is compared."""
_SMALL_BYTES = 1 << 20
"""A tensor of fewer is read into memory."""
_FIRST = ("shared.weight",)
"""Names that stay where several are one tensor; transformers ties the others to it."""


def rewrite(paths: list[Path], scratch: Path) -> int:
    """Write pickled weights as safetensors, each tensor compared with what was read; return how many.

    A file in today's form (a zip archive) is mapped into memory; of one in the form before 2020 a copy on the disk is.

    Args:
      paths: the files of one model.
      scratch: exists, on a disk; gets model-*.safetensors and their index.

    Raises:
      UserError: a file is damaged, or holds anything but named tensors; nothing in it was run.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    where: dict[str, str] = {}
    for path in paths:
        state = _read(path, scratch)
        for group in _groups(state):
            name = f"model-{len(set(where.values())) + 1:05d}.safetensors"
            part = {key: state[key].contiguous() for key in group}
            save_file(part, str(scratch / name), metadata={"format": "pt"})
            for key in group:
                with safe_open(scratch / name, "pt") as written:
                    same = _same(part.pop(key), written.get_tensor(key))
                if not same:
                    raise UserError(f"{path}: tensor {key!r} changed while it was rewritten. If it stays, report it.")
                if key in where:
                    raise UserError(f"{path}: tensor {key!r} stands in another file of the model too.")
                where[key] = name
                # What was written need not be held.
                del state[key]
    index = {"metadata": {}, "weight_map": where}
    write_json(scratch / "model.safetensors.index.json", index)
    return len(where)


def _read(path: Path, scratch: Path) -> dict[str, Tensor]:
    """Return the tensors of one file, every one once however many names it has.

    Args:
      path: the file.
      scratch: exists, on a disk; holds what cannot be mapped from `path`, in files without a name.

    Raises:
      UserError: see `rewrite`.
    """
    import torch

    LOG.info("%s: a pickle; read with torch.load(weights_only=True), which runs nothing of it", path.name)
    with open(path, "rb") as handle:
        mapped = handle.read(4) == b"PK\x03\x04"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a TorchScript archive, which is refused below
            place: Any = "cpu" if mapped else _mapped(path, scratch)
            state = torch.load(path, map_location=place, weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused, and nothing in it was run: {_asked(error)}. Use other weights; these may be meant to "
            "harm."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        if form := next((form for form in ("TorchScript", ".tar") if form in str(error)), ""):
            raise UserError(
                f"{path}: refused, and nothing in it was run: it is a {form} archive, where a file of weights is "
                "expected (a state dict, as torch.save writes it)."
            ) from None
        raise UserError(
            f"{path}: not a whole file of PyTorch weights, and nothing in it was run ({_first(error)}). Was its "
            "download cut off? Get it again."
        ) from None
    if not isinstance(state, dict) or not state:
        raise UserError(f"{path}: holds {type(state).__name__}, where named tensors are expected (a state dict).")
    return dict(_checked(path, state))


def _mapped(path: Path, scratch: Path) -> Callable[[UntypedStorage, str], UntypedStorage]:
    """Return what torch.load asks where to put the bytes of a tensor: into a file, not into this machine's memory.

    Raises:
      ValueError: when asked for more bytes than `path` has: a few that claim to be terabytes would fill the disk.
    """
    import torch

    left = path.stat().st_size

    def place(storage: UntypedStorage, location: str) -> UntypedStorage:
        nonlocal left
        size = storage.nbytes()
        left -= size
        if left < 0:
            raise ValueError("its tensors claim more bytes than it has")
        if size < _SMALL_BYTES:
            return storage
        name = scratch / ".storage"
        try:
            copy: UntypedStorage = torch.UntypedStorage.from_file(os.fspath(name), True, size)  # type: ignore[assignment]
            return copy
        except RuntimeError:
            # There are file systems whose files cannot be mapped for writing.
            return storage
        finally:
            # Without a name the file goes with the tensor, and with this process if it is killed.
            name.unlink(missing_ok=True)

    return place


def _checked(path: Path, state: dict[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    import torch

    names: dict[tuple[Any, ...], list[str]] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise UserError(f"{path}: holds {key!r:.60}, a {type(value).__name__}, where named tensors are expected.")
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            raise UserError(f"{path}: tensor {key!r} is not a plain one of numbers; refused.")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            # A few bytes that claim to be a tensor of terabytes would fill memory and disk.
            raise UserError(f"{path}: tensor {key!r} claims more than the file holds; refused.")
        view = (value.untyped_storage().data_ptr(), value.storage_offset(), tuple(value.shape), value.stride())
        names.setdefault((*view, value.dtype) if value.numel() else (key,), []).append(key)
    for same in names.values():
        key = next((name for name in _FIRST if name in same), same[0])
        yield key, state[key]


def _groups(state: dict[str, Tensor]) -> Iterator[list[str]]:
    """Yield names of tensors that make a file together."""
    group: list[str] = []
    size = 0
    for key in list(state):
        own = state[key].numel() * state[key].element_size()
        if group and size + own > _SHARD_BYTES:
            yield group
            group, size = [], 0
        group.append(key)
        size += own
    if group:
        yield group


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bytes: not-a-number, too, is what it was."""
    import torch

    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(torch.equal(*(of.contiguous().flatten().view(torch.uint8) for of in (one, other))))


def _asked(error: Exception) -> str:
    """Say what a refused pickle is, out of an error of torch that goes on with advice to switch the protection off."""
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks for {name[1]}, and weights need no such thing" if name else "it is no file of PyTorch weights"


def _first(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0][:160] or type(error).__name__
