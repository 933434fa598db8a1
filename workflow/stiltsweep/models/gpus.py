"""Which GPUs of a machine a job computes on: jobs side by side take different ones.

Snakemake counts GPUs (`--resources gpu=4`), and does not say which. A cluster that has given a job as many as it asked
for has chosen them. Elsewhere a job holds a lock on a file named after its GPU for as long as it lives, however it
ends; sweeps and users of one machine see each other's. Small models may share a card: it then has so many locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ..errors import UserError
from .device import DEVICE

log = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"
_TRIES = 3
"""Times that a file is looked at again before it is called unusable."""
_held: list[int] = []
"""Open files whose locks are this job's."""


def take(count: int = 1, share: int = 1) -> None:
    """Choose this job's GPUs among those that are visible, wait for them, and let it see no others.

    Called before anything asks CUDA, which looks once; a second call changes nothing.

    Args:
      count: GPUs that are wanted; where no more are visible they are this job's already.
      share: jobs of one GPU that a card takes.
    """
    there = 0 if os.environ.get(DEVICE) == "cpu" else torch.cuda.device_count()
    if _held or there <= count:
        return
    named = os.environ.get(VISIBLE)
    names = [name.strip() for name in named.split(",")[:there]] if named else [str(number) for number in range(there)]
    folder = Path(tempfile.gettempdir()) / "stiltsweep-gpus"
    chosen, files = locked(folder, names, count, share)
    _held.extend(files)
    os.environ[VISIBLE] = ",".join(chosen)
    log.info("GPU %s of %s", " and ".join(chosen), ", ".join(names))


def locked(folder: Path, names: Sequence[str], count: int, share: int) -> tuple[list[str], list[int]]:
    """Wait for GPUs that are free and return their names, and the open files that hold their locks.

    A job of one GPU takes one of its `share` places, on the emptiest card; a job of several takes each whole. A card
    that is taken whole is shared with nobody, whatever another sweep's `share`.

    Raises:
      UserError: locks cannot be had there.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o777)
        # Other users' jobs have theirs there; each may remove its own files alone.
        folder.chmod(0o1777)
    places: list[int | None] = [None] if count > 1 or share == 1 else list(range(share))
    told = 0
    while True:
        chosen: list[str] = []
        files: list[int] = []
        try:
            for place in places:
                for name in names:
                    if mine := _place(folder, name, place):
                        chosen.append(name)
                        files += mine
                    if len(chosen) == count:
                        return chosen, files
        except OSError as error:
            # Another user's job may be about to make the folder or a file, and to open it for others.
            if told >= _TRIES:
                raise UserError(
                    f"{error.filename or folder}: locks of GPUs cannot be had there ({error.strerror}). Have its owner "
                    f"remove {folder}, or name one GPU for this run: {VISIBLE}={names[0]} snakemake ..."
                ) from None
        # Held while waiting for more, they could keep two such jobs waiting for each other.
        _release(files)
        if not told:
            log.info("waiting for %d of the GPUs %s: other jobs have them", count, ", ".join(names))
        told += 1
        time.sleep(1 + random.random())


def _place(folder: Path, name: str, place: int | None) -> list[int]:
    """Return the open files whose locks are a place on a card, or the whole card; none if others have it."""
    file = folder / name.replace("/", "-")  # MIG-GPU-<uuid>/1/0
    card = _lock(file, fcntl.LOCK_EX if place is None else fcntl.LOCK_SH)
    if card is None or place is None:
        return [] if card is None else [card]
    mine = _lock(file.with_name(f"{file.name}.{place}"), fcntl.LOCK_EX)
    if mine is None:
        os.close(card)
    return [] if mine is None else [card, mine]


def _lock(path: Path, how: int) -> int | None:
    """Return an open file with a lock of this process's, None if others' keep it from it.

    Raises:
      OSError: there are no locks: the file is not to be read, or its disk knows none.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT, 0o644)
        os.fchmod(file, 0o644)  # for other users, whatever the umask
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError as error:
        os.close(file)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return file


def _release(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


__all__ = ["locked", "take"]
