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

from .device import DEVICE

log = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"
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
    names = named.split(",")[:there] if named else [str(number) for number in range(there)]
    folder = Path(tempfile.gettempdir()) / "stiltsweep-gpus"
    chosen, files = locked(folder, names, count, share)
    _held.extend(files)
    os.environ[VISIBLE] = ",".join(chosen)
    log.info("GPU %s of %s", " and ".join(chosen), ", ".join(names))


def locked(folder: Path, names: Sequence[str], count: int, share: int) -> tuple[list[str], list[int]]:
    """Wait for GPUs that are free and return their names, and the open files that hold their locks.

    A job of one GPU takes one of its `share` places, on the emptiest card; a job of several takes all places of each.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o777)
        # Other users' jobs have theirs there; each may remove its own files alone.
        folder.chmod(0o1777)
    told = False
    while True:
        if count == 1:
            for place in range(share):
                for name in names:
                    if (file := _lock(folder / f"{name}.{place}")) is not None:
                        return [name], [file]
        else:
            chosen: list[str] = []
            files: list[int] = []
            for name in names:
                mine = [_lock(folder / f"{name}.{place}") for place in range(share)]
                if None not in mine:
                    chosen.append(name)
                    files += [file for file in mine if file is not None]
                else:
                    _release(file for file in mine if file is not None)
                if len(chosen) == count:
                    return chosen, files
            # Held while waiting for more, they could keep two such jobs waiting for each other.
            _release(files)
        if not told:
            log.info("waiting for %d of the GPUs %s: other jobs have them", count, ", ".join(names))
            told = True
        time.sleep(1 + random.random())


def _lock(path: Path) -> int | None:
    """Return an open file whose lock is this process's, None if another has it."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _release(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


__all__ = ["locked", "take"]
