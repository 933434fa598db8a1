"""Where the files lie that the library reads: beside it in a checkout, inside it where it was installed by pip."""

from __future__ import annotations

from pathlib import Path

_LIBRARY = Path(__file__).resolve().parent


def beside(name: str) -> Path:
    """Return one of the workflow's folders: catalog, schemas or scripts."""
    installed = _LIBRARY / "_workflow" / name
    return installed if installed.is_dir() else _LIBRARY.parent / name


def from_here(name: str) -> str:
    """Name such a folder as rules do: by its path from the project's folder where that, or a link to it, is this one.

    Elsewhere (in the folder of a workflow that uses this one as a module) its whole path is the name.
    """
    short = Path("workflow") / name
    folder = beside(name)
    return str(short) if short.is_dir() and short.samefile(folder) else str(folder)
