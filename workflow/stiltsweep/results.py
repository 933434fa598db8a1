"""What a sweep found, as data frames: for notebooks and scripts of one's own.

    import stiltsweep.results
    found = stiltsweep.results.read("results")
    found.cells.groupby(["target", "intermediate", "family"]).score.mean()

The columns are described in docs/outputs.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arms import BASELINE
from .errors import UserError
from .identity import made
from .layout import Cell, Layout
from .report.results import read_cell
from .report.run import read_run
from .significance.comparison import Comparison
from .significance.runs import RunScore
from .significance.table import read_csv

if TYPE_CHECKING:
    import pandas as pd

_CELL = (
    "model",
    "intermediate",
    "target",
    "seed",
    "language",
    "family",
    "metric",
    "score",
    "n",
    "learned",
    "contaminated",
)
"""Columns of cells, as their records name them."""


@dataclass(frozen=True)
class Tables:
    """A sweep's results, one table a kind of thing."""

    cells: pd.DataFrame
    """One row a cell: what it is of, its score in points, and `lift` over the baseline's cell of the same seed."""
    metrics: pd.DataFrame
    """One row a cell and metric, for metrics that are reported besides the score."""
    lifts: pd.DataFrame
    """One row a comparison: lift.csv, with intervals and tests; over languages, families and all."""
    runs: pd.DataFrame
    """One row a run and group of languages: runs.csv."""


def read(folder: str | Path = "results") -> Tables:
    """Read a results folder whose report is made.

    Only the cells that the report was made of are read, so leftovers of another configuration never mix in, and each
    is checked against its record.

    Raises:
      UserError: there is no report, or something in the folder is damaged or does not belong to it.
    """
    import pandas as pd

    layout = Layout(str(folder))
    description = Path(layout.path("description"))
    if not description.is_file():
        raise UserError(f"{description}: not there, so {folder} holds no finished sweep. Hint: snakemake --cores 2")
    for output in (description, Path(layout.path("lift"))):
        made(output)
    records = list(_records(layout, read_run(description).cells()))
    cells = pd.DataFrame([{name: record[name] for name in _CELL} for record in records], columns=list(_CELL))
    return Tables(
        cells=_with_lift(cells),
        metrics=_metrics(records),
        lifts=_table(layout, "lift", Comparison),
        runs=_table(layout, "runs", RunScore),
    )


def _records(layout: Layout, cells: Iterable[Cell]) -> Iterator[Mapping[str, Any]]:
    """Yield the records of cells that are there; those that failed are not."""
    for cell in cells:
        path = Path(layout.cell(cell))
        if path.is_file():
            yield read_cell(path, cell)


def _metrics(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    names = _CELL[:5]
    rows = [
        {**{name: record[name] for name in names}, "metric": metric, "value": value}
        for record in records
        for metric, value in record["metrics"].items()
    ]
    return pd.DataFrame(rows, columns=[*names, "metric", "value"])


def _with_lift(cells: pd.DataFrame) -> pd.DataFrame:
    """Add each cell's score minus that of the baseline's cell with the same model, target, seed and language."""
    keys = ["model", "target", "seed", "language"]
    baseline = cells[cells.intermediate == BASELINE].set_index(keys).score
    with_it = cells.join(baseline.rename("baseline"), on=keys)
    return with_it.assign(lift=with_it.score - with_it.pop("baseline"))


def _table(layout: Layout, place: str, kind: type[Any]) -> pd.DataFrame:
    """Read a table by the types of its row's fields."""
    import pandas as pd

    names = [field.name for field in fields(kind)]
    return pd.DataFrame([vars(row) for row in read_csv(layout.path(place), kind)], columns=names)
