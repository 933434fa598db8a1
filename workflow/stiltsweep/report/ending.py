"""What a run says in the terminal while it goes on and when it ends: scores as they come, the largest effects."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..arms import BASELINE
from ..layout import Cell, Layout
from ..significance.comparison import Comparison
from ..significance.controls import is_control
from ..significance.table import read_csv
from .results import ALL
from .text import interval, lift, points

_SHOWN = 3


def largest(layout: Layout) -> list[str]:
    """Return a line for each of the largest lifts over all transfer languages, whatever their tests say."""
    rows = [
        row
        for row in read_csv(layout.path("lift"), Comparison)
        if row.scope == ALL and row.tested and not row.contaminated and not is_control(row.intermediate)
    ]
    rows.sort(key=lambda row: -abs(row.lift or 0.0))
    several = len({row.model for row in rows}) > 1
    return [
        f"{lift(row.lift)} points {interval(row.ci_low, row.ci_high)}: {row.intermediate} on {row.target}"
        f"{f' ({row.model})' if several else ''}, {row.conclusion}"
        for row in rows[:_SHOWN]
    ]


class Scores(logging.Handler):
    """Says the score of every cell when it is there, and its lift where the baseline's cell is there too."""

    def __init__(self, layout: Layout, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._layout = layout
        self._say = say
        self._cells: dict[int, Cell] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one record of Snakemake's."""
        fields = vars(record)
        event = str(fields.get("event") or "")
        if event.endswith("job_info") and fields.get("rule_name") == "evaluate":
            names = fields.get("wildcards") or {}
            self._cells[int(fields["jobid"])] = Cell(
                names["model"], names["intermediate"], names["target"], int(names["seed"]), names["language"]
            )
        elif event.endswith("job_finished"):
            cell = self._cells.pop(int(fields["job_id"]), None)
            line = self._line(cell) if cell else ""
            if line:
                self._say(line)

    def _line(self, cell: Cell) -> str:
        own = self._read(cell)
        if not own:
            return ""
        base = self._read(Cell(cell.model, BASELINE, cell.target, cell.seed, cell.language))
        more = (
            f", {lift(own['score'] - base['score'])} over {BASELINE}" if base and cell.intermediate != BASELINE else ""
        )
        name = f"{cell.model} <- {cell.intermediate} on {cell.target} in {cell.language} (seed {cell.seed})"
        return f"{name}: {own['metric']} {points(own['score'])}{more}"

    def _read(self, cell: Cell) -> dict[str, Any]:
        """Return a cell, empty where there is none: what reads cells to compute checks them, this only shows."""
        try:
            record: dict[str, Any] = json.loads(Path(self._layout.cell(cell)).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record
