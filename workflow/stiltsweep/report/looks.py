"""How the figures of one report look alike: a colour and a marker per family, legends, titles.

Families differ by marker as well as by colour, so that grey print loses nothing.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .canvas import COLOURS, GREY, INK, MARKERS, PANEL, SIZE, SMALL, canvas, place, shorten, tick
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


def panels(results: Results, titles: list[str], label: str, across: int = 1) -> tuple[Canvas, list[Axes]]:
    """Return a canvas with a panel for each title, and what their axes are and a legend of families under them."""
    handles = legend(results)
    left, band, foot = 26.0, 124.0, 18.0 + 12.0 * math.ceil(len(handles) / 2)
    wide = (PANEL - (left + 10) * across) / across
    height = math.ceil(len(titles) / across) * band + foot
    figure = canvas(PANEL, height)
    drawn = []
    for i, name in enumerate(titles):
        r, c = divmod(i, across)
        axes = place(figure, left + c * (wide + left + 10), r * band + 16, wide, band - 32)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(shorten(name, wide), fontsize=SIZE, pad=4, loc="left")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(tick)
        axes.tick_params(length=2.5, which="both")
        drawn.append(axes)
    figure.text(0.5, (foot - 4) / height, label, ha="center", va="top", fontsize=SMALL)
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
    return figure, drawn


def title(results: Results, model: str, target: str) -> str:
    """Return a figure's title: the target, and the model where there are several."""
    return f"{model}, {target}" if len(results.run.models) > 1 else target
