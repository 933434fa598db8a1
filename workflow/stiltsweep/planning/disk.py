"""What is on disk, read folder by folder: files, and Snakemake's marks of jobs under way.

Every folder is listed once, so that a network file system answers a few thousand requests and not one for every file.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import controllers

_NAME_LENGTH = 254
"""Snakemake cuts longer names of marks into folders."""


@dataclass(frozen=True)
class File:
    """A file's size in bytes and the time it was last changed (seconds since 1970)."""

    size: int
    changed: float


class Disk:
    """Files by path; what was seen of a folder is kept."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, File]] = {}

    def folder(self, path: str) -> Mapping[str, File]:
        """Return the files of a folder by name, folders among them with size 0; a folder that is not there is empty."""
        if path not in self._folders:
            files = {}
            try:
                with os.scandir(path or ".") as entries:
                    for entry in entries:
                        about = entry.stat()
                        files[entry.name] = File(about.st_size if entry.is_file() else 0, about.st_mtime)
            except OSError:
                pass
            self._folders[path] = files
        return self._folders[path]

    def file(self, path: str) -> File | None:
        """Return a file, None if it is not there."""
        folder, _, name = path.rpartition("/")
        return self.folder(folder).get(name)


class Marks:
    """What Snakemake says of a run under way: its lock, and a mark for every output that a job has begun to make."""

    def __init__(self, folder: str = ".snakemake") -> None:
        self.root = folder
        self._marks = _names(Path(folder) / "incomplete")
        locks = [Path(folder) / "locks" / name for name in _names(Path(folder) / "locks")]
        self.holders = controllers.holders(folder)
        """Runs that may be alive, for people; None where nobody has written down who holds the lock."""
        self.locked_since: float | None = min((_changed(lock) for lock in locks), default=None)
        """When the run began that holds the lock, None without one, or if it is gone."""
        if self.holders == []:
            self.locked_since = None

    def begun(self, output: str) -> float | None:
        """Return when the job that has begun (and not ended) to make an output began, None if none has."""
        if not self._marks:
            return None
        name = _mark_name(output)
        return _changed(Path(self.root) / "incomplete" / name) if name in self._marks else None


def read_object(path: str, *, last_line: bool = False) -> Mapping[str, Any]:
    """Return the JSON object in a file, or in its last line; empty if there is none to be read."""
    try:
        with open(path, "rb") as handle:
            text = handle.read()
        value = json.loads(text.splitlines()[-1] if last_line else text)
    except (OSError, ValueError, IndexError):
        return {}
    return value if isinstance(value, dict) else {}


def _mark_name(output: str) -> str:
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[at : at + _NAME_LENGTH] for at in range(0, len(name), _NAME_LENGTH)]
    return "/".join([*(f"@{part}" for part in parts[:-1]), parts[-1]])


def _names(folder: Path) -> set[str]:
    """Return the files below a folder by their path in it."""
    paths = set()
    for root, _, names in os.walk(folder):
        inner = os.path.relpath(root, folder)
        paths |= {name if inner == "." else f"{inner}/{name}" for name in names}
    return paths


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
