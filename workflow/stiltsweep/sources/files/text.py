"""Lines of a text file, with their numbers, exactly as published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError

_BOM = b"\xef\xbb\xbf"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text without its line end) of a UTF-8 file.

    Only line feeds end a line (a carriage return before one goes with it): U+2028, U+0085 and the like occur inside
    published sentences, where `str.splitlines` would cut them.

    Raises:
      UserError: a line is not UTF-8; the text names file and line.
    """
    with open(path, "rb") as handle:
        for number, raw in enumerate(handle, start=1):
            if number == 1:
                raw = raw.removeprefix(_BOM)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: not UTF-8 ({error.reason}). Convert the file to UTF-8."
                ) from None
            yield number, text.removesuffix("\n").removesuffix("\r")


def blocks(path: Path) -> Iterator[list[tuple[int, str]]]:
    """Yield the stretches of lines between blank ones."""
    block: list[tuple[int, str]] = []
    for number, line in lines(path):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block
