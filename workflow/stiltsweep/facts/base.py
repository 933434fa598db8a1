"""What the facts of a kind are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
"""One example: `id` (unique within its split), `split`, and the columns of its kind."""


@dataclass(frozen=True)
class Facts:
    """What plans, records and the catalogue need to know of a kind of task."""

    columns: Mapping[str, str]
    """Column -> type, as pyarrow spells it; "?" marks a column that may be missing or null."""
    fault: Callable[[Row, set[str]], str]
    """(row, labels of the task) -> the rule that the row breaks, or an empty text."""
    answers: Callable[[Row], Iterable[Any]] | None = None
    """What of a row would be constant if its answer were hidden; None: nothing can tell."""
    labelled: bool = False
    """Whether its tasks list their labels."""
    sided: bool = False
    """Whether rows are queries and candidates; an id may occur once on each side."""
    paired: bool = False
    """Whether English dev data hold texts that belong together, by which a layer can be chosen."""
    tunes_on_dev: bool = False
    """Whether dev data of every language are read when it is predicted."""
    encoders: bool = True
    """Whether encoders have a form of it; if not, only models that write text have."""


def blank(text: str) -> bool:
    """Return whether a text holds nothing but white space."""
    return not text.strip()
