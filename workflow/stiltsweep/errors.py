"""Errors a user can act on, and the one place that turns them into a line on stderr."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Callable, Iterable
from typing import TypeGuard


class UserError(Exception):
    """Something in the user's hands is wrong.

    The text is one sentence: what was wrong (with the value), where (file, key), what is allowed, and a hint.
    Scripts print it without a traceback; every other exception is a bug and keeps its traceback.
    """


class Interrupted(Exception):
    """The job was asked to stop, and did so in an orderly way: started again, it goes on."""


def nearest(value: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, or an empty string."""
    match = difflib.get_close_matches(value, list(known), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


COMMAND = "snakemake --cores 1"


def make(path: object) -> str:
    """Return the command that makes a file of a sweep if it has to be made.

    A job does not know how Snakemake was called; who prints its errors does (`Invocation.completed`).
    """
    return f"{COMMAND} {path}"


def remake(path: object) -> str:
    """Return the command that makes a file of a sweep again; see `make`."""
    return f"{COMMAND} --force {path}"


_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""Faults of a disk: full (in three ways), read-only, forbidden."""


def of_disk(error: BaseException) -> TypeGuard[OSError]:
    """Tell a fault of a disk from others that the system reports."""
    return isinstance(error, OSError) and error.errno in _STORAGE


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's main function and exit.

    The status is main's own or 0, 1 with one line for a `UserError` or a disk's fault, 130 with one if `Interrupted`.
    """
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except Interrupted as interruption:
        print(f"interrupted: {interruption}", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if not of_disk(error):
            raise
        print(
            f"error: {error.filename or 'a file'}: {os.strerror(error.errno or 0)}. Nothing was left half-written; "
            "make room, or get the right to write there, and start again.",
            file=sys.stderr,
        )
    sys.exit(1)
