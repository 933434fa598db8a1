"""stiltsweep: sweeps of intermediate-task training for zero-shot cross-lingual transfer.

The rooms, ground floor first; imports run downward only:

    errors, files                             how things fail and how files are written
    records, languages, catalog, config       what an example, a language, a task, a model and a configuration are
    metrics/                                  per-example sufficient statistics and the score they sum to
    sources/                                  where examples come from
    sweep                                     the grid of cells and their paths
    models/, kinds/, training/, prediction    the rooms that know torch
    significance/, report/                    the rooms that read cells, never models
    probing/                                  what checkpoints know of words; torch in two of its modules only
"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import what notebooks use when it is first used: stiltsweep.results, stiltsweep.export."""
    if name in ("results", "export"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
