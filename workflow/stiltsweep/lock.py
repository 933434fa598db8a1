"""One process at a time in a folder, also where several machines share it.

A controller that is killed leaves its jobs running, and the next one submits them again. So the second copy of a job
waits for the first, and finds its work done; or, if the first one is gone, goes on from what that has left.

Every holder creates a file of its own, `lock-00000001`, `lock-00000002` ...; the highest number holds the folder.
Creating a file that must not exist is atomic on local disks and on NFS, so a number has one owner, and taking a lock
over is nothing but creating the next number. The holder writes a beat into its file every few seconds. Others never
compare clocks: they watch, on their own monotonic clock, whether the file changes. A holder that was only paused sees a
higher number when it wakes up, and stops.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import write_text

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""Time between two beats."""
STALE_SECONDS = 300.0
"""A holder on another machine that has not changed its file for so long is gone; NFS may hide a change for a minute."""
LOCKS = "lock-????????"
"""Names of the files, as a pattern."""


class Lost(UserError):
    """Another process has taken the folder over, because this one gave no sign of life."""


class Held:
    """A lock that this process holds."""

    def __init__(self, path: Path, waited: bool) -> None:
        self._path = path
        self.waited = waited
        """Whether another process held the folder when this one came."""

    def check(self) -> None:
        """Make sure that the folder is still this process's; to be called before anything is written to it.

        Raises:
          Lost: it is not.
        """
        newest = _newest(self._path.parent)
        if newest is not None and newest.name > self._path.name:
            raise Lost(
                f"{self._path.parent}: {who(_read(newest))} has taken this job over, because this process gave no "
                "sign of life. This one stops; nothing is lost."
            )


@contextlib.contextmanager
def lock(folder: Path, *, beat: float | None = None, stale: float | None = None) -> Iterator[Held]:
    """Hold a folder, after waiting for whoever holds it.

    Args:
      folder: it is made if it is not there. Other files in it are the holder's to change.
      beat: seconds between two signs of life.
      stale: seconds without one after which a holder that cannot be looked up (another machine) counts as gone.
    """
    beat = BEAT_SECONDS if beat is None else beat
    held = _acquire(folder, beat, STALE_SECONDS if stale is None else stale)
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(held, stop, beat), daemon=True)
    thread.start()
    try:
        yield held
    finally:
        stop.set()
        thread.join()
        with contextlib.suppress(OSError, Lost):
            held.check()
            _release(held._path)


def _release(path: Path) -> None:
    """Give a folder back; where the holder has left nothing else in it, it goes."""
    if any(not other.match(LOCKS) for other in path.parent.iterdir()):
        # The file stays the highest number, so that the next holder's is higher still.
        if path.exists():
            _write(path, {"released": True})
        return
    for own in _all(path.parent):
        own.unlink()
    path.parent.rmdir()


def holder(folder: Path) -> dict[str, Any] | None:
    """Return what the holder of a folder says of itself (host, pid, slurm_job, since), None if nobody holds it.

    It may be gone; only watching it tells.
    """
    newest = _newest(folder)
    newest_record = _read(newest) if newest else {"released": True}
    return None if newest_record.get("released") else newest_record


def _acquire(folder: Path, beat: float, stale: float) -> Held:
    waited = False
    seen: tuple[str, int] | None = None
    since = time.monotonic()
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        newest = _newest(folder)
        record = _read(newest) if newest else {"released": True}
        if not record.get("released"):
            sign = _sign(newest)
            if sign != seen:
                seen, since = sign, time.monotonic()
            gone = is_gone(record)
            if not gone and time.monotonic() - since < stale:
                if not waited:
                    log.info("%s: %s is at it; waiting for it", folder, who(record))
                waited = True
                time.sleep(min(beat, 1.0))
                continue
            log.warning("%s: %s is gone; taking over", folder, who(record))
        path = folder / f"lock-{int(newest.name[5:]) + 1 if newest else 1:08d}"
        if _create(path):
            return Held(path, waited)
        # Another one was quicker.
        waited = True


def _create(path: Path) -> bool:
    """Create a lock file that must not exist, whole from the first moment; return whether this process did."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_text(json.dumps(myself()), encoding="utf-8")
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):  # or the folder was removed by a holder that is done
        return False
    finally:
        temporary.unlink(missing_ok=True)
    newest = _newest(path.parent)
    if newest is not None and newest.name > path.name:
        # What was seen is long past: the number had been used and removed since.
        path.unlink(missing_ok=True)
        return False
    for old in _all(path.parent):
        if old.name < path.name:
            old.unlink(missing_ok=True)
    return True


def _beat(held: Held, stop: threading.Event, seconds: float) -> None:
    record = myself()
    count = 0
    while not stop.wait(seconds):
        count += 1
        try:
            held.check()
            if not held._path.exists():
                return  # the holder is done and has removed it
            _write(held._path, {**record, "beat": count})
        except Lost:
            return  # the holder will see it too, before it writes
        except OSError:
            # A full disk is no reason to look dead: a time stamp takes no room.
            with contextlib.suppress(OSError):
                os.utime(held._path)


def myself() -> dict[str, Any]:
    """Return what tells this process from all others, on any machine."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "beat": 0,
    }


def _machine() -> str:
    """Return what a process number is unique in: this boot of this machine, and this container of it."""
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 (not the path of a file)
    if not parts:
        # No Linux: the machine's own number. When a process began tells boots apart.
        parts.append(f"{socket.gethostname()} {uuid.getnode():012x}")
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """Return when a process began, in its kernel's own count, which tells it from a later one of the same number."""
    try:
        # The name, in brackets, may hold anything; fields are counted behind it.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return _started_elsewhere(pid) if sys.platform != "linux" else None
    return None if stat[0] == "Z" else stat[19]


def _started_elsewhere(pid: int) -> str | None:
    """Return the same where the kernel is not Linux."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def is_here(record: Mapping[str, Any]) -> bool:
    """Whether a holder is, or was, a process of this machine, which can be looked up."""
    return bool(record.get("machine")) and record["machine"] == _machine()


def is_gone(record: Mapping[str, Any]) -> bool:
    """Whether a holder is known to be gone: a process of this machine that is no more."""
    try:
        return is_here(record) and _started(int(record["pid"])) != record["started"]
    except (KeyError, TypeError, ValueError):
        return False  # it says too little of itself


def who(record: Mapping[str, Any]) -> str:
    """Return a holder's process, host and SLURM job, for people."""
    job = f", SLURM job {record['slurm_job']}" if record.get("slurm_job") else ""
    return f"process {record.get('pid', '?')} on {record.get('host', '?')}{job} (since {record.get('since', '?')})"


def _newest(folder: Path) -> Path | None:
    return max(_all(folder), default=None)


def _all(folder: Path) -> list[Path]:
    """Return the lock files of a folder, in order; none where a holder that is done has just removed it."""
    try:
        return sorted(folder.glob(LOCKS))
    except FileNotFoundError:
        return []


def _sign(path: Path | None) -> tuple[str, int] | None:
    """Return what changes with every beat."""
    try:
        return (path.read_text(encoding="utf-8"), path.stat().st_mtime_ns) if path else None
    except OSError:
        return None


def _read(path: Path) -> dict[str, Any]:
    """Return a lock file's content; one that cannot be read belongs to nobody in particular, and is watched."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"released": True}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, record: dict[str, Any]) -> None:
    write_text(path, json.dumps(record))
