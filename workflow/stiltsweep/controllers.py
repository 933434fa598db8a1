"""Who runs Snakemake in a folder, so that the lock of a run that is gone is taken over.

Snakemake's lock names files and nobody: one that was left by a killed run or a closed terminal looks like that of a run
at work, and somebody has to remove it. So every run writes its name beside the lock: host, process, when that began. A
process of this machine that is no more holds nothing. Of one on another machine (or in another container) nothing can
be known from here: its lock stays until somebody types `snakemake --unlock`.

Snakemake 9.27 has no hook between its graph and its lock, so the method that takes the lock is wrapped.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import lock as locks
from .files import write_json
from .invocation import Invocation

FOLDER = "controllers"
"""Below .snakemake, beside its locks."""


def guard(persistence: Any, again: Invocation) -> None:
    """Make Snakemake's persistence write down who holds its lock, and take over from those who are gone.

    Args:
      persistence: the class that all of Snakemake's kinds of persistence are derived from.
      again: how Snakemake is called here, for what is printed.
    """
    if hasattr(persistence, "unguarded"):
        return
    persistence.unguarded = take = persistence.lock
    cleanup = persistence.cleanup_locks

    @contextlib.contextmanager
    def lock(self: Any) -> Iterator[None]:
        folder = Path(self.path) / FOLDER
        with contextlib.ExitStack() as held:
            # One at a time: Snakemake looks at locks first and writes its own later.
            with locks.lock(folder / "taking"):
                _take_over(self, folder)
                if self.locked:
                    sys.exit(f"error: {_refusal(list(_records(folder).values()), again)}")
                own = folder / f"{secrets.token_hex(8)}.json"
                held.callback(own.unlink, missing_ok=True)
                held.enter_context(take(self))
                names = [Path(path).name for path in getattr(self, "_lockfile", {}).values()]
                write_json(own, {**locks.myself(), "locks": names})
            yield

    @contextlib.contextmanager
    def warn(self: Any) -> Iterator[None]:
        if self.locked:
            alive = [one for one in _records(Path(self.path) / FOLDER).values() if not locks.is_gone(one)]
            if alive or not _records(Path(self.path) / FOLDER):
                print(_refusal(alive, again), file=sys.stderr)
        yield

    def unlock(self: Any) -> None:
        cleanup(self)
        for path in _records(Path(self.path) / FOLDER):
            path.unlink(missing_ok=True)

    persistence.lock, persistence.lock_warn_only, persistence.cleanup_locks = lock, warn, unlock


def holders(folder: str | Path = ".snakemake") -> list[str] | None:
    """Return the runs that may be alive, for people; None where nobody has written down who holds the locks."""
    records = _records(Path(folder) / FOLDER)
    return [locks.who(record) for record in records.values() if not locks.is_gone(record)] if records else None


def _records(folder: Path) -> dict[Path, Mapping[str, Any]]:
    records: dict[Path, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = None
        # One that cannot be read is somebody's all the same.
        records[path] = record if isinstance(record, dict) else {}
    return records


def _take_over(persistence: Any, folder: Path) -> None:
    """Remove the locks of runs that are gone, and the names of runs whose locks are."""
    records = _records(folder)
    gone = {path: record for path, record in records.items() if locks.is_gone(record)}
    locked = persistence.locked
    directory = getattr(persistence, "_lockdir", None)
    if directory is None:
        # Locks in a database belong to all runs of the folder.
        if gone and len(gone) == len(records):
            persistence._delete_locks()
    else:
        for record in gone.values():
            for name in record.get("locks", ()):
                (Path(directory) / Path(str(name)).name).unlink(missing_ok=True)
    for path, record in gone.items():
        if locked:
            print(f"The run of {locks.who(record)} is gone; its lock is taken over.", file=sys.stderr)
        path.unlink(missing_ok=True)
    Path(persistence.path, "locks").mkdir(exist_ok=True)


def _refusal(records: list[Mapping[str, Any]], again: Invocation) -> str:
    """Say who holds the lock and what to do."""
    if not records:
        return (
            "the folder is locked by a run that left no name (of an older version, or of another workflow). If no "
            f"Snakemake is at work here, type: {again.command('--unlock')}"
        )
    record = records[0]
    if locks.is_here(record):
        return (
            f"{locks.who(record)} is making files here that this run needs. Wait until it ends, look at it with "
            f"`{again.command('status')}`, or end it with: kill {record.get('pid', '')}"
        )
    return (
        f"{locks.who(record)} holds the lock of this folder, and from this machine nobody can tell whether it is "
        f"alive. Look there; if no Snakemake runs, type here: {again.command('--unlock')}"
    )
