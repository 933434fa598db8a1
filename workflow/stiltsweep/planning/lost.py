"""Results that were deleted: the next run makes them again.

Snakemake makes what is asked for, the report. A file before it that is gone is nothing to it as long as the report is
there, which is why checkpoints and predictions may be deleted to make room. Cells, tests, tables and figures are what a
sweep is for: those that are gone are asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ..files import read_json
from ..layout import Layout
from ..sweep import Sweep
from .disk import Disk


def lost(sweep: Sweep) -> list[str]:
    """Return the results that are not there although the report, which is made last, is."""
    disk = Disk()
    if not disk.file(sweep.layout.path("page")):
        return []  # they are on its way
    return [path for path in _results(sweep) if not disk.file(path)]


def torn(layout: Layout) -> bool:
    """Whether a figure or table of the report is gone, its folder being there."""
    listed = layout.path("report_files")
    if not Path(listed).is_file():
        return False
    disk = Disk()
    folder = str(Path(listed).parent)
    return not all(disk.file(f"{folder}/{name}") for name in read_json(listed))


def _results(sweep: Sweep) -> Iterator[str]:
    layout = sweep.layout
    for cell in sweep.cells():
        yield layout.cell(cell)
        yield layout.path("statistics", **asdict(cell))
    yield from sweep.test_files
    for place in ("lift", "lift_parquet", "controls", "runs", "sensitivity", "omnibus", "types", "predictors"):
        yield layout.path(place)
    for model in sweep.models:
        for target in sweep.languages:
            yield layout.path("measures", model=model, target=target)
            yield layout.path("attributes", model=model, target=target)
            if sweep.diagnosis_files:
                yield layout.path("buckets", model=model, target=target)
                yield layout.path("bucket_contrasts", model=model, target=target)
    if sweep.probed:
        yield from sweep.probe_files()
        yield layout.path("probes")
    yield from sweep.behaviour_files
    for place in ("description", "headline", "figures", "tables"):
        yield layout.path(place)
