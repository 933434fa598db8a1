"""The figures, drawn by matplotlib as SVG text: same results, same bytes.

Sizes are in points. A panel is 276 pt wide, which is the column of a 400 px screen, so that text in it needs no zoom;
figures that need more columns than fit grow wider and scroll. Colours are Okabe and Ito's, which the colour-blind can tell
apart; groups and seeds differ by marker too, and what is significant is filled, so that grey print loses nothing.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from scipy import stats

from ..config import BASELINE
from .results import ALL, Comparison, Results, SeedLift
from .text import count, interval, lift, points

PANEL = 276.0
_SIZE = 8.0
_SMALL = 7.0
_ROW = 13.0
_INK = "#222222"
_GREY = "#767676"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7400")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
_STYLE = {
    # Text stays text: it can be searched and read aloud, and takes the page's own font.
    "svg.fonttype": "none",
    "svg.hashsalt": "stiltsweep",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": _SIZE,
    "text.color": _INK,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
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


def draw(results: Results) -> dict[str, list[Figure]]:
    """Draw every figure of the report.

    Returns:
      Section (`lift`, `forest`, `contrasts`, `languages`, `pretraining`, `seeds`) -> its figures, by model and target.
    """
    sections: dict[str, Callable[[Results, str, str], Figure | None]] = {
        "forest": forest,
        "contrasts": contrasts,
        "languages": per_language,
        "pretraining": pretraining,
        "seeds": seeds,
    }
    found: dict[str, list[Figure]] = {"lift": []}
    with mpl.rc_context(_STYLE):
        for model in results.run.models:
            for group in (ALL, *results.groups):
                figure = heat_map(results, model, group)
                if figure:
                    found["lift"].append(figure)
        for section, painter in sections.items():
            drawn = (painter(results, model, target) for model in results.run.models for target in results.run.targets)
            found[section] = [figure for figure in drawn if figure]
    return found


# Canvas.


@functools.cache
def _width(text: str, size: float = _SIZE, bold: bool = False) -> float:
    """Return the width of a text in points, as the widest of the fonts in question sets it."""
    from matplotlib.font_manager import FontProperties

    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width)


def _shorten(text: str, width: float, size: float = _SIZE) -> str:
    """Cut a text to a width, marking the cut."""
    if _width(text, size) <= width:
        return text
    while text and _width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _canvas(width: float, height: float) -> Canvas:
    canvas = Canvas(figsize=(width / 72, height / 72))
    FigureCanvasSVG(canvas)
    return canvas


def _place(canvas: Canvas, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by their distance from the top left corner."""
    w, h = canvas.get_size_inches() * 72
    return canvas.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def _bare(axes: Axes, *, keep: str = "") -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep.split())
    if "left" not in keep:
        axes.set_yticks([])
    axes.tick_params(length=2.5)


def _finish(canvas: Canvas, name: str, title: str, caption: str) -> Figure:
    buffer = io.StringIO()
    # No metadata at all: a date or a version in it would change the bytes.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(buffer, format="svg", metadata=nothing)
    svg = re.sub(r"<!--.*?-->\s*", "", buffer.getvalue(), flags=re.DOTALL)
    return Figure(name, title, caption, svg, float(canvas.get_size_inches()[0]) * 72)


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that hold zero and every value, with a margin."""
    low, high = min([0.0, *values]), max([0.0, *values])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _palette(results: Results) -> dict[str, tuple[str, str]]:
    """Group -> colour and marker, in the order of the groups; `all` is black."""
    looks = {
        group: (_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i, group in enumerate(results.groups)
    }
    return {**looks, ALL: (_INK, "o"), "": (_GREY, "x")}


def _lift_axis(axes: Axes, label: str = "lift (points)") -> None:
    axes.axvline(0, color=_GREY, linewidth=0.8, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, min_n_ticks=2))
    axes.xaxis.set_major_formatter(lambda value, _: points(value, 0 if abs(value - round(value)) < 1e-9 else 1))
    axes.set_xlabel(label, fontsize=_SMALL, labelpad=2)


# Heat maps.


def heat_map(results: Results, model: str, group: str) -> Figure | None:
    """Draw intermediate by target: baseline scores in the first row, lifts below, over all languages or one group."""
    scope = {"scope": ALL} if group == ALL else {"scope": "group", "grouping": results.run.families, "group": group}
    rows = results.select(model=model, **scope)
    if not rows:
        return None
    found = {(row.intermediate, row.target): row for row in rows}
    targets, intermediates = list(results.run.targets), list(results.run.intermediates)
    # One scale for all heat maps of a model, so that they can be compared.
    lifts = [
        abs(row.lift)
        for row in results.comparisons
        if row.model == model and row.lift is not None and row.scope != "contrast" and row.scope != "language"
    ]
    norm = Normalize(-max([*lifts, 1.0]), max([*lifts, 1.0]))
    colours = mpl.colormaps["RdBu"]

    left = max(_width(name) for name in [*intermediates, "baseline"]) + 8
    wide = 0.96 * (PANEL - left) / len(targets)
    slanted = any(_width(name) > wide - 3 for name in targets) and wide < 60
    cell_w, cell_h, gap = max(wide if not slanted else min(wide, 60), 40.0), 22.0, 4.0
    head = max(_width(name) for name in targets) * 0.6 + 12 if slanted else 16.0
    overhang = _width(targets[-1]) * 0.8 * slanted
    height = head + cell_h * (len(intermediates) + 1) + gap + 40
    width = max(left + cell_w * len(targets) + overhang + 4, PANEL)
    canvas = _canvas(width, height)
    axes = _place(canvas, left, head, cell_w * len(targets), cell_h * (len(intermediates) + 1) + gap)
    axes.set_xlim(0, cell_w * len(targets))
    axes.set_ylim(cell_h * (len(intermediates) + 1) + gap, 0)
    _bare(axes)
    axes.set_xticks([])
    for i, name in enumerate(targets):
        x = (i + 0.5) * cell_w
        if slanted:
            axes.text(x - 2, -4, name, rotation=40, rotation_mode="anchor", ha="left", va="bottom")
        else:
            axes.text(x, -5, _shorten(name, cell_w - 2), ha="center", va="bottom")
    axes.text(-6, cell_h / 2, "baseline", ha="right", va="center", style="italic")
    for i, target in enumerate(targets):
        score = next((found[name, target].baseline_score for name in intermediates if (name, target) in found), None)
        axes.text((i + 0.5) * cell_w, cell_h / 2, points(score), ha="center", va="center", style="italic")
    for j, name in enumerate(intermediates):
        top = cell_h * (j + 1) + gap
        axes.text(-6, top + cell_h / 2, name, ha="right", va="center")
        for i, target in enumerate(targets):
            row = found.get((name, target))
            _heat_cell(axes, row, (i * cell_w, top, cell_w, cell_h), colours, norm, results.run.alpha)
    bar = _place(canvas, left, height - 30, min(cell_w * len(targets), 150), 6)
    colour_bar = canvas.colorbar(ScalarMappable(norm, colours), cax=bar, orientation="horizontal")
    colour_bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    bar.xaxis.set_major_locator(MaxNLocator(nbins=5, symmetric=True))
    bar.xaxis.set_major_formatter(lambda value, _: points(value, 0 if abs(value - round(value)) < 1e-9 else 1))
    bar.tick_params(length=2, labelsize=_SMALL)
    bar.set_xlabel("lift (points)", fontsize=_SMALL, labelpad=1)

    languages = sorted({code for row in rows for code in row.languages})
    over = "all transfer languages" if group == ALL else f"{group} languages ({count(len(languages), 'language')})"
    marked = sum(row.significant(results.run.alpha) for row in rows)
    caption = (
        f"{model}: lift over {over} by intermediate task (rows) and target (columns); the first row is the score without "
        f"intermediate training. {marked} of {count(len(rows), 'comparison')} significant after Holm (* and a frame)."
    )
    if any(row.contaminated for row in rows):
        caption += " † and hatched: contaminated."
    suffix = "" if group == ALL else f"_{re.sub(r'[^A-Za-z0-9.-]+', '-', group)}"
    return _finish(canvas, f"{model}/lift{suffix}", f"{model}: {over}", caption)


def _heat_cell(
    axes: Axes,
    row: Comparison | None,
    box: tuple[float, float, float, float],
    colours: mpl.colors.Colormap,
    norm: Normalize,
    alpha: float,
) -> None:
    x, y, w, h = box
    if row is None or row.lift is None:
        axes.add_patch(Rectangle((x, y), w, h, facecolor="#eeeeee", edgecolor="white", linewidth=1))
        axes.text(x + w / 2, y + h / 2, "n/a", ha="center", va="center", color="#595959")
        return
    colour = colours(norm(row.lift))
    axes.add_patch(Rectangle((x, y), w, h, facecolor=colour, edgecolor="white", linewidth=1))
    if row.contaminated:
        axes.add_patch(Rectangle((x, y), w, h, fill=False, hatch="////", edgecolor="#99999980", linewidth=0))
    significant = row.significant(alpha)
    if significant:
        axes.add_patch(Rectangle((x + 1.2, y + 1.2), w - 2.4, h - 2.4, fill=False, edgecolor=_INK, linewidth=1.1))
    luminance = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    text = lift(row.lift) + ("*" if significant else "") + ("†" if row.contaminated else "")
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", color=_INK if luminance > 0.45 else "white")


# Forest plots.


@dataclass(frozen=True)
class _Line:
    label: str
    row: Comparison
    colour: str
    marker: str


def forest(results: Results, model: str, target: str) -> Figure | None:
    """Draw the lift over all languages and per family, with intervals and n."""
    palette = _palette(results)
    blocks = []
    for group in (ALL, *results.groups):
        scope = {"scope": ALL} if group == ALL else {"scope": "group", "grouping": results.run.families, "group": group}
        rows = results.select(model=model, target=target, **scope)
        if rows:
            heading = f"{'all languages' if group == ALL else group} · {_sizes(rows)}"
            blocks.append((heading, [_Line(row.intermediate, row, *palette[group]) for row in rows]))
    return _forest(
        results,
        blocks,
        f"{model}/{target}/forest",
        _title(results, model, target),
        f"Lift on {target} by family, {model}",
    )


def contrasts(results: Results, model: str, target: str) -> Figure | None:
    """Draw the differences of lift between families."""
    rows = results.select("contrast", grouping=results.run.families, model=model, target=target)
    names = list(dict.fromkeys(row.group for row in rows))
    blocks = [
        (
            name.replace(" - ", " \N{MINUS SIGN} "),
            [_Line(row.intermediate, row, _INK, "D") for row in rows if row.group == name],
        )
        for name in names
    ]
    return _forest(
        results,
        blocks,
        f"{model}/{target}/contrasts",
        _title(results, model, target),
        f"Difference of lift between families on {target}, {model}",
    )


def _title(results: Results, model: str, target: str) -> str:
    return f"{model}, {target}" if len(results.run.models) > 1 else target


def _sizes(rows: Sequence[Comparison]) -> str:
    languages = max(row.n_languages for row in rows)
    if not languages:
        return "no language"
    examples = max(row.n_examples for row in rows)
    return count(languages, "language") + (f", {count(examples, 'example')}" if examples else "")


def _forest(
    results: Results, blocks: Sequence[tuple[str, Sequence[_Line]]], name: str, title: str, what: str
) -> Figure | None:
    lines = [line for _, block in blocks for line in block]
    if not lines:
        return None
    alpha = results.run.alpha
    left = min(max(_width(line.label) for line in lines) + 12, 110.0)
    right = (
        max(_width(_annotation(line.row, alpha), _SMALL) for line in lines if line.row.lift is not None) + 8
        if any(line.row.lift is not None for line in lines)
        else 60.0
    )
    rows = len(lines) + len(blocks)
    height = rows * _ROW + (len(blocks) - 1) * 4 + 34
    canvas = _canvas(PANEL, height)
    axes = _place(canvas, left, 4, PANEL - left - right, height - 34)
    ends = [
        v
        for line in lines
        for v in (line.row.lift, line.row.ci_low, line.row.ci_high, line.row.examples_ci_low, line.row.examples_ci_high)
        if v is not None and line.row.lift is not None
    ]
    axes.set_xlim(*_scale(ends))
    axes.set_ylim(height - 34, 0)
    _bare(axes, keep="bottom")
    if ends:
        _lift_axis(axes)
    y = 0.0
    # x in the axes' share, y in points: labels stand outside, beside their rows.
    beside = axes.get_yaxis_transform()
    start = -left / (PANEL - left - right)
    for heading, block in blocks:
        axes.text(start, y + _ROW / 2, heading, transform=beside, va="center", weight="bold", fontsize=_SMALL + 0.5)
        y += _ROW
        for line in block:
            middle = y + _ROW / 2
            label = _shorten(line.label, left - 10)
            axes.text(start + 8 / (PANEL - left - right), middle, label, transform=beside, va="center")
            row = line.row
            if row.lift is None:
                reason = _shorten(f"n/a: {row.reason}", PANEL - left - 6, _SMALL)
                axes.text(0.0, middle, reason, transform=beside, va="center", color="#595959", fontsize=_SMALL)
            else:
                _whisker(axes, middle, line, significant=row.significant(alpha))
                text = _annotation(row, alpha)
                axes.text(
                    1.0 + 6 / (PANEL - left - right), middle, text, transform=beside, va="center", fontsize=_SMALL
                )
            y += _ROW
        y += 4
    share = f"{float(results.run.significance['confidence']):.0%}"
    inner = any(line.row.examples_ci_low is not None for line in lines)
    inside = inner and str(results.run.significance["resampling"]) != "examples"
    caption = (
        f"{what}. Lines: {share} intervals"
        + (
            f" with {results.run.significance['resampling'].replace('+', ' and ')} resampled; broad bars: the same with "
            "examples alone, the trained models taken as given"
            if inside
            else ""
        )
        + ". Filled and *: significant after Holm."
        + (" †: contaminated." if any(line.row.contaminated for line in lines) else "")
    )
    return _finish(canvas, name, title, caption)


def _annotation(row: Comparison, alpha: float) -> str:
    marks = ("*" if row.significant(alpha) else "") + ("†" if row.contaminated else "")
    return f"{lift(row.lift)}{marks} {interval(row.ci_low, row.ci_high)}"


def _whisker(axes: Axes, y: float, line: _Line, *, significant: bool) -> None:
    row = line.row
    if row.examples_ci_low is not None and row.examples_ci_high is not None and row.resampling != "examples":
        axes.plot(
            [row.examples_ci_low, row.examples_ci_high],
            [y, y],
            color=line.colour,
            alpha=0.3,
            linewidth=5,
            solid_capstyle="butt",
        )
    if row.ci_low is not None and row.ci_high is not None:
        axes.plot([row.ci_low, row.ci_high], [y, y], color=line.colour, linewidth=1.2)
    face = line.colour if significant else "white"
    axes.plot(
        [row.lift],
        [y],
        marker=line.marker,
        color=line.colour,
        markerfacecolor=face,
        markersize=5,
        markeredgewidth=1.1,
        linestyle="none",
    )


# Languages.


def per_language(results: Results, model: str, target: str) -> Figure | None:
    """Draw every language's lift, by family, one column per intermediate task, at most three beside each other."""
    rows = {(row.intermediate, row.group): row for row in results.select("language", model=model, target=target)}
    languages = [
        code for code in results.transfer_languages if any((i, code) in rows for i in results.run.intermediates)
    ]
    if not languages:
        return None
    palette = _palette(results)
    intermediates = list(results.run.intermediates)
    names = {code: results.run.language_name(code) for code in languages}
    left = min(max(_width(name) for name in names.values()) + 12, 100.0)
    groups = list(dict.fromkeys(results.group_of[code] for code in languages))
    step = 11.0
    across = min(3, len(intermediates))
    bands = [intermediates[i : i + across] for i in range(0, len(intermediates), across)]
    body = step * (len(languages) + len(groups))
    band_height = body + 16 + 32
    canvas = _canvas(PANEL, band_height * len(bands))
    ends = [
        v
        for row in rows.values()
        for v in (row.lift, row.ci_low, row.ci_high)
        if v is not None and row.lift is not None
    ]
    limits = _scale(ends)
    gap = 6.0
    wide = (PANEL - left - 6 - gap * (across - 1)) / across
    for b, band in enumerate(bands):
        for k, intermediate in enumerate(band):
            axes = _place(canvas, left + k * (wide + gap), b * band_height + 16, wide, body)
            axes.set_xlim(*limits)
            axes.set_ylim(body, 0)
            _bare(axes, keep="bottom")
            axes.set_title(_shorten(intermediate, wide), fontsize=_SIZE, pad=4)
            _lift_axis(axes)
            y = 0.0
            for group in groups:
                if k == 0:
                    axes.text(
                        -left / wide,
                        y + step / 2,
                        group or "no family",
                        transform=axes.get_yaxis_transform(),
                        va="center",
                        weight="bold",
                        fontsize=_SMALL,
                    )
                y += step
                members = [code for code in languages if results.group_of[code] == group]
                axes.axhspan(y, y + step * len(members), color="#f4f4f4", zorder=-1, linewidth=0)
                for code in members:
                    row = rows.get((intermediate, code))
                    if k == 0:
                        name = _shorten(names[code], left - 10)
                        axes.text(
                            (8 - left) / wide,
                            y + step / 2,
                            name,
                            transform=axes.get_yaxis_transform(),
                            va="center",
                            fontsize=_SMALL,
                        )
                    if row and row.lift is not None:
                        _whisker(
                            axes,
                            y + step / 2,
                            _Line("", row, *palette[group]),
                            significant=row.significant(results.run.alpha),
                        )
                    else:
                        axes.text(
                            0.5,
                            y + step / 2,
                            "n/a",
                            transform=axes.get_yaxis_transform(),
                            ha="center",
                            va="center",
                            color="#595959",
                            fontsize=_SMALL,
                        )
                    y += step
    caption = (
        f"Lift on {target} in every language, by family, {model}; the line is the interval"
        + (
            ""
            if str(results.run.significance["resampling"]) == "examples"
            else ", the broad bar the same over examples alone"
        )
        + ". Filled: significant after Holm."
    )
    return _finish(canvas, f"{model}/{target}/languages", _title(results, model, target), caption)


_TOKENS = "mc4_tokens_billion"


def tokens(results: Results, language: str) -> float | None:
    """Return the billions of mC4 tokens a language has in pre-training, None where languages.csv does not say."""
    try:
        value = float(results.run.fact(language, _TOKENS))
    except ValueError:
        return None
    return value if value > 0 else None


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation, None for fewer than four pairs or where one side is constant."""
    if len(pairs) < 4 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return float(stats.spearmanr(*zip(*pairs, strict=True)).statistic)


def pretraining(results: Results, model: str, target: str) -> Figure | None:
    """Draw lift against log pre-training size, one panel per intermediate task."""
    palette = _palette(results)
    rows = [row for row in results.select("language", model=model, target=target) if row.lift is not None]
    placed = [(row, size) for row in rows if (size := tokens(results, row.group)) is not None]
    if not placed:
        return None
    intermediates = list(dict.fromkeys(row.intermediate for row, _ in placed))
    across = 1 if len(intermediates) <= 3 else 2
    down = math.ceil(len(intermediates) / across)
    left, panel_h, legend = 30.0, 124.0, 16.0 * math.ceil(len(results.groups) / 3)
    named = across == 1 and len(placed) <= 25 * len(intermediates)
    wide = (PANEL - left * across - 4) / across
    canvas = _canvas(PANEL, down * panel_h + legend + 20)
    ylim = _scale([row.lift for row, _ in placed if row.lift is not None])
    sizes = [size for _, size in placed]
    xlim = (min(sizes) / 1.6, max(sizes) * 1.6)
    for i, intermediate in enumerate(intermediates):
        r, c = divmod(i, across)
        axes = _place(canvas, left + c * (wide + left), r * panel_h + 16, wide, panel_h - 32)
        axes.set_xscale("log")
        axes.set_xlim(*xlim)
        axes.set_ylim(*ylim)
        axes.spines[["top", "right"]].set_visible(False)
        axes.axhline(0, color=_GREY, linewidth=0.8, zorder=0)
        axes.set_title(_shorten(intermediate, wide), fontsize=_SIZE, pad=4, loc="left")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(lambda value, _: points(value, 0 if abs(value - round(value)) < 1e-9 else 1))
        axes.tick_params(length=2.5, which="both")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        for row, size in placed:
            if row.intermediate != intermediate or row.lift is None:
                continue
            colour, marker = palette[results.group_of.get(row.group, "")]
            axes.plot(
                [size],
                [row.lift],
                marker=marker,
                color=colour,
                markersize=4.5,
                linestyle="none",
                markerfacecolor=colour + "99",
            )
            if named:
                axes.annotate(row.group, (size, row.lift), (4, 2), textcoords="offset points", fontsize=6.5)
    canvas.text(
        0.5,
        (legend + 6) / (down * panel_h + legend + 20),
        "pre-training size (billion mC4 tokens, log scale); up: lift (points)",
        ha="center",
        va="bottom",
        fontsize=_SMALL,
    )
    canvas.legend(
        handles=_legend(results, palette),
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize=_SMALL,
        handletextpad=0.2,
        columnspacing=1.2,
        borderpad=0,
    )
    caption = (
        f"Lift on {target} against pre-training size by language, {model}. Sizes are mC4's (mT5), a stand-in for other models. "
        "Descriptive: languages differ in more than size."
    )
    return _finish(canvas, f"{model}/{target}/pretraining", _title(results, model, target), caption)


def _legend(results: Results, palette: dict[str, tuple[str, str]]) -> list[Line2D]:
    present = set(results.group_of.values())
    return [
        Line2D([], [], color=palette[group][0], marker=palette[group][1], linestyle="none", markersize=4.5, label=group)
        for group in results.groups
        if group in present
    ]


# Seeds.


def seeds(results: Results, model: str, target: str) -> Figure | None:
    """Draw the mean lift of every seed, over all languages and by family."""
    found = [s for s in results.seed_lifts if s.model == model and s.target == target]
    if not found:
        return None
    palette = _palette(results)
    blocks: list[tuple[str, list[tuple[str, list[SeedLift]]]]] = []
    for intermediate in results.run.intermediates:
        lines = []
        for group in (ALL, *results.groups):
            spread = [s for s in found if s.intermediate == intermediate and s.group == group]
            if spread:
                lines.append((group, spread))
        if lines:
            blocks.append((intermediate, lines))
    labels = ["all languages", *results.groups]
    left = min(max(_width(label) for label in labels) + 12, 110.0)
    right = 40.0
    rows = sum(len(lines) + 1 for _, lines in blocks)
    height = rows * _ROW + (len(blocks) - 1) * 4 + 34
    wide = PANEL - left - right
    canvas = _canvas(PANEL, height)
    axes = _place(canvas, left, 4, wide, height - 34)
    axes.set_xlim(*_scale([s.lift for s in found]))
    axes.set_ylim(height - 34, 0)
    _bare(axes, keep="bottom")
    _lift_axis(axes, "lift of one seed (points)")
    beside = axes.get_yaxis_transform()
    numbers = {seed: i for i, seed in enumerate(results.run.seeds)}
    y = 0.0
    for heading, lines in blocks:
        axes.text(
            -left / wide, y + _ROW / 2, heading, transform=beside, va="center", weight="bold", fontsize=_SMALL + 0.5
        )
        axes.text(1 + 6 / wide, y + _ROW / 2, "range", transform=beside, va="center", fontsize=_SMALL, color="#595959")
        y += _ROW
        for group, spread in lines:
            middle = y + _ROW / 2
            label = "all languages" if group == ALL else group
            axes.text((8 - left) / wide, middle, _shorten(label, left - 10), transform=beside, va="center")
            lifts = [s.lift for s in spread]
            colour = palette[group][0]
            axes.plot([min(lifts), max(lifts)], [middle, middle], color=colour, linewidth=1, alpha=0.5)
            for s in spread:
                marker = _MARKERS[numbers[s.seed] % len(_MARKERS)]
                axes.plot(
                    [s.lift],
                    [middle],
                    marker=marker,
                    color=colour,
                    markersize=4.5,
                    linestyle="none",
                    markerfacecolor="white",
                    markeredgewidth=1,
                )
            text = points(max(lifts) - min(lifts)) if len(lifts) > 1 else "n/a"
            axes.text(1 + 6 / wide, middle, text, transform=beside, va="center", fontsize=_SMALL)
            y += _ROW
        y += 4
    shapes = ", ".join(f"{_SHAPES[i % len(_SHAPES)]} seed {seed}" for seed, i in numbers.items())
    caption = (
        f"Mean lift of each seed on {target}, {model}: {BASELINE} and the intermediate task at the same seed number. "
        f"Markers: {shapes}. Right: largest minus smallest."
    )
    return _finish(canvas, f"{model}/{target}/seeds", _title(results, model, target), caption)


_SHAPES = ("circle", "square", "diamond", "triangle up", "triangle down", "plus", "cross", "star")
