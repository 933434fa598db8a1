"""Errors a user can act on, and the one place that turns them into a line on stderr."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """Something in the user's hands is wrong.

    The text is one sentence: what was wrong (with the value), where (file, key), what is allowed, and a hint.
    Scripts print it without a traceback; every other exception is a bug and keeps its traceback.
    """


def nearest(value: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, or an empty string."""
    match = difflib.get_close_matches(value, list(known), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's main function and exit: 0 or its status, 1 with one line for a `UserError`."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
