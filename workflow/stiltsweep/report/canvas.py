"""Drawing on a canvas measured in points: sizes, text, axes, scattered points with names, and SVG with fixed bytes.

A panel is 276 pt wide, which is the column of a 400 px screen, so that text in it needs no zoom; figures that need more
columns than fit grow wider and scroll. Colours are Okabe and Ito's, which the colour-blind can tell apart.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.ticker import MaxNLocator

from .text import points

PANEL = 276.0
SIZE = 8.0
SMALL = 7.0
ROW = 13.0
INK = "#222222"
GREY = "#767676"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7400")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
STYLE: dict[Any, Any] = {
    # Text stays text: it can be searched and read aloud, and takes the page's own font.
    "svg.fonttype": "none",
    "svg.hashsalt": "stiltsweep",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": SIZE,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.5,
}


@dataclass(frozen=True)
class Figure:
    """One drawing."""

    name: str
    """Its path below the figures folder, without the suffix."""
    title: str
    caption: str
    """What it shows; stands under it and is its text alternative."""
    svg: str
    width: float
    """Natural width in points."""


@functools.cache
def text_width(text: str, size: float = SIZE) -> float:
    """Return the width of a text in points, as the widest of the fonts in question sets it."""
    if not text.strip():
        return 0.0
    # How far the font moves on; to measure the letters' outlines takes ten times as long and says a point less.
    font = _font()
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return font.get_width_height()[0] / 64.0 * size / _UNIT


_UNIT = 100.0
"""Size (points) at which texts are measured."""


@functools.cache
def _font() -> FT2Font:
    font = FT2Font(findfont(FontProperties(family="DejaVu Sans")))
    font.set_size(_UNIT, 72)
    return font


def shorten(text: str, width: float, size: float = SIZE) -> str:
    """Cut a text to a width, marking the cut."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def canvas(width: float, height: float) -> Canvas:
    """Return an empty canvas of a size in points."""
    empty = Canvas(figsize=(width / 72, height / 72))
    FigureCanvasSVG(empty)
    return empty


def place(canvas: Canvas, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by their distance from the top left corner."""
    w, h = canvas.get_size_inches() * 72
    return canvas.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def group_heading(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a group's heading, x in the axes' share; its white ground cuts the line at zero."""
    axes.text(
        x,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        va="center",
        weight="bold",
        fontsize=SMALL + 0.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )


def upper(text: str) -> str:
    """Begin a text with a capital."""
    return text[:1].upper() + text[1:]


def bare(axes: Axes, *, keep: str = "") -> None:
    """Take the frame away, all but the sides in `keep`."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep.split())
    if "left" not in keep:
        axes.set_yticks([])
    axes.tick_params(length=2.5)


def finish(canvas: Canvas, name: str, title: str, caption: str) -> Figure:
    """Write the canvas as SVG."""
    buffer = io.StringIO()
    # No metadata at all: a date or a version in it would change the bytes.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(buffer, format="svg", metadata=nothing)
    return Figure(name, title, caption, _slim(buffer.getvalue()), float(canvas.get_size_inches()[0]) * 72)


def _slim(svg: str) -> str:
    """Halve matplotlib's SVG: no comments, no ids that nothing refers to, no turns by nothing, no third decimals.

    What all markers of a group look like is said once, of the group, and the font once, of the figure.
    """
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    used = {one or other for one, other in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)}
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), svg)
    svg = re.sub(r">\s+<", "><", re.sub(r" ?\n(?=[LMQCz\"])", " ", svg)).rstrip() + "\n"
    svg = re.sub(r'(<g(?: clip-path="[^"]*")?)>((?:<use [^>]*/>){2,})</g>', _alike, svg)
    fonts = set(re.findall(r" (font-family: [^;\"]*);", svg))
    if len(fonts) == 1:
        (font,) = fonts
        svg = svg.replace(f" {font};", "").replace("<svg ", f'<svg style="{font}" ', 1)
    return svg


def _alike(group: re.Match[str]) -> str:
    """Move the style that all markers of a group have to the group."""
    styles = set(re.findall(r' style="[^"]*"', group[2]))
    if len(styles) != 1:
        return group[0]
    (style,) = styles
    return f"{group[1]}{style}>{group[2].replace(style, '')}</g>"


def scale(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that hold zero and every value, with a margin."""
    low, high = min([0.0, *values]), max([0.0, *values])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def lift_axis(axes: Axes, label: str = "lift (points)") -> None:
    """Mark zero and write the axis of a lift."""
    width = float(axes.get_window_extent().width) * 72 / axes.figure.dpi
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, min(5, int(width / 30))), min_n_ticks=2))
    axes.xaxis.set_major_formatter(tick)
    axes.set_xlabel(label, fontsize=SMALL, labelpad=2)


def tick(value: float, _: float = 0) -> str:
    """Write a number on an axis."""
    return points(value, 0 if abs(value - round(value)) < 1e-9 else 1)


@dataclass(frozen=True)
class Dot:
    """A named point."""

    name: str
    x: float
    y: float
    colour: str
    marker: str


_MOST_NAMES = 25
"""Points of one panel that are named; more names than that hide the points."""


def dots(axes: Axes, places: Sequence[tuple[float, float]], marker: str, colour: str, face: str, size: float) -> None:
    """Draw markers that look alike."""
    if places:
        x, y = zip(*places, strict=True)
        look: dict[str, Any] = {"marker": marker, "color": colour, "markerfacecolor": face, "markersize": size}
        axes.plot(x, y, **look, markeredgewidth=1.1, linestyle="none")


def scatter(axes: Axes, named: Sequence[Dot]) -> None:
    """Draw points and, unless they are many, write each name where it hides nothing, or not at all."""
    for colour, marker in dict.fromkeys((dot.colour, dot.marker) for dot in named):
        places = [(dot.x, dot.y) for dot in named if (dot.colour, dot.marker) == (colour, marker)]
        dots(axes, places, marker, colour, face=colour + "99", size=4.5)
    if len(named) > _MOST_NAMES:
        return
    scale_up = 72 / axes.figure.dpi
    at = [tuple(axes.transData.transform((dot.x, dot.y)) * scale_up) for dot in named]
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in at]
    frame = axes.get_window_extent()
    right_edge = frame.x1 * scale_up + 4
    for dot, (x, y) in zip(named, at, strict=True):
        w, h = text_width(dot.name, SMALL), 6.0
        for dx, dy in ((4, -h / 2), (-4 - w, -h / 2), (-w / 2, 4), (-w / 2, -4 - h), (3, 3), (-3 - w, 3), (3, -3 - h)):
            box = (x + dx, y + dy, x + dx + w, y + dy + h)
            if box[2] <= right_edge and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(dot.name, (dot.x, dot.y), (dx, dy), textcoords="offset points", fontsize=SMALL)
                break


Box = tuple[float, float, float, float]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
