"""How the figures of one report look alike: a colour and a marker per family, legends, titles.

Families differ by marker as well as by colour, so that grey print loses nothing.
"""

from __future__ import annotations

from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from .canvas import COLOURS, GREY, INK, MARKERS, SMALL
from .results import ALL, Results


def palette(results: Results) -> dict[str, tuple[str, str]]:
    """Return group -> colour and marker, in the order of the groups; `all` is black."""
    looks = {group: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, group in enumerate(results.groups)}
    return {**looks, ALL: (INK, "o"), "": (GREY, "x")}


def legend(results: Results) -> list[Line2D]:
    """Return the handles of a legend of the families that have a language here."""
    present = set(results.group_of.values())
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=4.5, label=group)
        for group, (colour, marker) in palette(results).items()
        if group in present and group not in (ALL, "")
    ]


def place_legend(figure: Canvas, handles: list[Line2D]) -> None:
    """Put a legend of families at the foot of a figure, in two columns."""
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=2,
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.2,
        columnspacing=1.6,
        labelspacing=0.3,
        borderpad=0,
        borderaxespad=0,
    )


def title(results: Results, model: str, target: str) -> str:
    """Return a figure's title: the target, and the model where there are several."""
    return f"{model}, {target}" if len(results.run.models) > 1 else target
