"""Files that appear whole or not at all, canonical JSON, digests, and paths that stay in their folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError, remake

_UMASK = os.umask(0o022)
os.umask(_UMASK)  # it can only be read by setting it


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it over `path`, on failure remove it.

    Readers see the old file or the whole new one, also after a full disk or a crash: of the process, and of the machine
    if the file is `durable`; one that costs nothing to lose need not be, and is not fsynced. It gets the usual
    permissions, whatever its writer gave it (safetensors writes for the owner alone).
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name is unique per writer: two processes writing the same file must not share a temporary one.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        os.replace(temporary, target)
        if durable:
            _fsync_folder(target.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename) == temporary:
            error.filename = os.fspath(target)  # the name that means something to a reader
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete what killed processes left of unfinished files; for folders that nobody else is writing to."""
    for path in Path(folder).glob(".*.tmp"):
        path.unlink(missing_ok=True)


def _fsync_folder(folder: Path) -> None:
    """Make a rename durable; not every file system allows it, and none needs it for atomicity."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 1) -> None:
    """Write JSON atomically: sorted keys, no NaN, a final newline, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str], *, rebuild: str = "") -> Any:
    """Read a JSON file this project wrote.

    Raises:
      UserError: the file is missing, not readable or not whole; the text names it and how to `rebuild` it.
    """
    hint = f" Rebuild it with: {rebuild or remake(path)}"
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.{hint}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a whole JSON file ({error}).{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}).{hint}") from None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its pairs (a hook of `json.loads`); json itself takes the last of two equal keys.

    Raises:
      KeyError: a key stands twice.
    """
    object_ = dict(pairs)
    if len(object_) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in names if names.count(name) > 1))
    return object_


SEAL = "record_sha256"
"""Key of a record's own digest."""
MADE_BY = "made_by"
"""Key of what made a record: this project's version and commit, for people. The seal leaves it out, so that what the
same code makes again at another commit is the same."""


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its own digest in it."""
    bare = {key: one for key, one in value.items() if key != SEAL}
    return {**bare, SEAL: _seal(bare)}


def _seal(value: Mapping[str, Any]) -> str:
    return digest({key: one for key, one in value.items() if key not in (SEAL, MADE_BY)})


def write_record(path: str | os.PathLike[str], value: Mapping[str, Any], *, indent: int | None = 1) -> str:
    """Write what a stage made as JSON that vouches for itself, and return its digest (see `read_record`)."""
    record = sealed(value)
    write_json(path, record, indent=indent)
    return str(record[SEAL])


def read_record(path: str | os.PathLike[str], *, rebuild: str = "", keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a record that this project wrote, and check that it is what was written.

    Args:
      path: the JSON file.
      rebuild: the command that makes it again; empty: the one that asks for this file.
      keys: what a record of its stage holds at least.

    Raises:
      UserError: the file is missing, not whole, of another form, or was changed after it was written; the text names
        it and how to make it again.
    """
    record = read_json(path, rebuild=rebuild)
    hint = f"Rebuild it with: {rebuild or remake(path)}"
    if not isinstance(record, dict) or SEAL not in record:
        raise UserError(f"{path}: not a record of this version of stiltsweep. {hint}")
    if record[SEAL] != _seal(record):
        raise UserError(f"{path}: changed after it was written (its digest is another). {hint}")
    if lacking := [key for key in keys if key not in record]:
        raise UserError(f"{path}: a record without {lacking[0]!r}. {hint}")
    return record


def check_digest(path: str | os.PathLike[str], sha256: str, rebuild: str) -> None:
    """Compare a file with the digest that is recorded of it.

    A file of more than 128 MiB is read once; a note beside it says so, until something is written to the file.

    Raises:
      UserError: it is missing or another.
    """
    path = Path(path)
    try:
        stamp = _stamp(path)
        if stamp is not None and _checked_before(path) == [*stamp, sha256]:
            return
        actual = digest_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Rebuild it with: {rebuild}") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). Rebuild it with: {rebuild}") from None
    if actual == sha256:
        if stamp is not None:
            with contextlib.suppress(OSError), replacing(_note(path), durable=False) as temporary:
                temporary.write_text(json.dumps([*stamp, sha256]), encoding="utf-8")
    else:
        raise UserError(
            f"{path}: not what was written there (its digest is another: damaged, swapped or edited). "
            f"Rebuild it with: {rebuild}"
        )


_LARGE = 1 << 27
"""Bytes from which on a file that was compared is not read again while nothing is written to it."""


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _stamp(path: Path) -> list[int] | None:
    """Return what the file system says of a large file that changes with every write to it, None for a small one.

    The time of the last change of status cannot be set by hand, as that of the last change of content can.
    """
    about = path.stat()
    if about.st_size < _LARGE:
        return None
    return [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _checked_before(path: Path) -> Any:
    try:
        return json.loads(_note(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a JSON value's canonical text."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def inside(root: str | os.PathLike[str], *parts: str, links: str | None = None) -> Path:
    """Join parts under `root`, refusing a result outside it.

    Symbolic links are followed as long as they stay below `root`, or below the folder `links` where one is given.

    Raises:
      UserError: a part is absolute or climbs out.
    """
    base = Path(root).resolve()
    joined = base.joinpath(*parts).resolve()
    if not joined.is_relative_to(base):
        plain = Path(os.path.normpath(base.joinpath(*parts))).is_relative_to(base)
        if not plain:
            raise UserError(f"path {'/'.join(parts)!r} leaves the folder {root}. Use a plain name below it.")
        if links is None or not joined.is_relative_to(Path(links).resolve()):
            raise UserError(
                f"path {'/'.join(parts)!r} is a link that leaves the folder {root}, to {joined}. Set source.links in "
                f"the task's YAML to {joined.parent}, or copy the file."
            )
    return Path(root).joinpath(*parts)
