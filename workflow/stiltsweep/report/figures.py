"""The figures: heat maps, forest plots, languages, pre-training size and seeds.

Families and seeds differ by marker as well as by colour, and what is significant is filled or framed, so that grey
print loses nothing.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..arms import BASELINE
from ..significance.comparison import Comparison
from . import looks
from .answer import FOLDED
from .canvas import (
    GREY,
    INK,
    MARKERS,
    PANEL,
    ROW,
    SIZE,
    SMALL,
    STYLE,
    Figure,
    bare,
    canvas,
    dots,
    finish,
    group_heading,
    lift_axis,
    place,
    scale,
    shorten,
    text_width,
    tick,
    upper,
)
from .results import ALL, Results
from .scatters import PRETRAINING, against
from .text import count, interval, lift, listed, points


def draw(results: Results) -> dict[str, list[Figure]]:
    """Draw every figure of the report.

    Returns:
      Section (`lift`, `controls`, `forest`, `contrasts`, `languages`, `pretraining`, `seeds`) -> its figures.
    """
    sections: dict[str, Callable[[Results, str, str], Figure | None]] = {
        "controls": controls,
        "forest": forest,
        "contrasts": contrasts,
        "languages": per_language,
        "pretraining": functools.partial(against, covariate=PRETRAINING),
        "seeds": seeds,
    }
    figures: dict[str, list[Figure]] = {"lift": []}
    with mpl.rc_context(STYLE):
        for group in (ALL, *results.groups):
            for model in results.run.models:
                figure = heat_map(results, model, group)
                if figure:
                    figures["lift"].append(figure)
        for section, painter in sections.items():
            targets = [""] if section == "controls" else list(results.run.targets)
            if section == "pretraining" and len(results.select(ALL)) > FOLDED:
                targets = [ALL]  # hundreds of panels nobody looks at; the table has every one's correlation
            drawn = (painter(results, model, target) for model in results.run.models for target in targets)
            figures[section] = [figure for figure in drawn if figure]
    return figures


# Heat maps.


def heat_map(results: Results, model: str, group: str) -> Figure | None:
    """Draw intermediate by target: baseline scores in the first row, lifts below, over all languages or one group."""
    scope = {"scope": ALL} if group == ALL else {"scope": "group", "grouping": results.run.families, "group": group}
    rows = results.select(model=model, **scope)
    if not rows:
        return None
    by_place = {(row.intermediate, row.target): row for row in rows}
    targets, intermediates = list(results.run.targets), list(results.run.intermediates)
    # One scale for all heat maps of a model, so that they can be compared.
    lifts = [
        abs(row.lift)
        for row in results.comparisons
        if row.model == model and row.lift is not None and row.scope != "contrast" and row.scope != "language"
    ]
    norm = Normalize(-max([*lifts, 1.0]), max([*lifts, 1.0]))
    colours = mpl.colormaps["RdBu"]

    left = max(text_width(name) for name in [*intermediates, "baseline"]) + 8
    wide = 0.96 * (PANEL - left) / len(targets)
    slanted = any(text_width(name) > wide - 3 for name in targets) and wide < 60
    cell_w, cell_h, gap = max(wide if not slanted else min(wide, 60), 40.0), 22.0, 4.0
    head = max(text_width(name) for name in targets) * 0.6 + 12 if slanted else 16.0
    overhang = text_width(targets[-1]) * 0.8 * slanted
    height = head + cell_h * (len(intermediates) + 1) + gap + 40
    width = max(left + cell_w * len(targets) + overhang + 4, PANEL)
    figure = canvas(width, height)
    axes = place(figure, left, head, cell_w * len(targets), cell_h * (len(intermediates) + 1) + gap)
    axes.set_xlim(0, cell_w * len(targets))
    axes.set_ylim(cell_h * (len(intermediates) + 1) + gap, 0)
    bare(axes)
    axes.set_xticks([])
    for i, name in enumerate(targets):
        x = (i + 0.5) * cell_w
        if slanted:
            axes.text(x - 2, -4, name, rotation=40, rotation_mode="anchor", ha="left", va="bottom")
        else:
            axes.text(x, -5, shorten(name, cell_w - 2), ha="center", va="bottom")
    axes.text(-6, cell_h / 2, "baseline", ha="right", va="center", style="italic")
    for i, target in enumerate(targets):
        score = _baseline(by_place, intermediates, target)
        axes.text((i + 0.5) * cell_w, cell_h / 2, points(score), ha="center", va="center", style="italic")
    for j, name in enumerate(intermediates):
        top = cell_h * (j + 1) + gap
        axes.text(-6, top + cell_h / 2, name, ha="right", va="center")
        for i, target in enumerate(targets):
            row = by_place.get((name, target))
            _heat_cell(axes, row, (i * cell_w, top, cell_w, cell_h), colours, norm, results.run.alpha)
    bar = place(figure, left, height - 30, min(cell_w * len(targets), 150), 6)
    colour_bar = figure.colorbar(ScalarMappable(norm, colours), cax=bar, orientation="horizontal")
    colour_bar.outline.set_linewidth(0.4)
    bar.xaxis.set_major_locator(MaxNLocator(nbins=5, symmetric=True))
    bar.xaxis.set_major_formatter(tick)
    bar.tick_params(length=2, labelsize=SMALL)
    bar.set_xlabel("lift (points)", fontsize=SMALL, labelpad=1)

    languages = sorted({code for row in rows for code in row.languages})
    over = "all transfer languages" if group == ALL else f"{group} languages ({len(languages)})"
    caption = f"Lift of {model} over {over}. {_marked(rows, results.run.alpha)}"
    caption += _absent(results, by_place)
    suffix = "" if group == ALL else f"_{re.sub(r'[^A-Za-z0-9.-]+', '-', group)}"
    return finish(
        figure, f"{model}/lift{suffix}", f"{model}, {over}" if len(results.run.models) > 1 else upper(over), caption
    )


def _marked(rows: Sequence[Comparison], alpha: float) -> str:
    """Say how many of the comparisons that could be tested are significant."""
    tested = [row for row in rows if row.tested]
    return (
        f"{sum(row.significant(alpha) for row in tested)} of {count(len(tested), 'comparison')} significant after Holm."
    )


def _baseline(
    by_place: Mapping[tuple[str, str], Comparison], intermediates: Sequence[str], target: str
) -> float | None:
    """Return the baseline's score over most languages: an arm that lacks one has the baseline's without it, too.

    An arm without a usable run may hold it for fewer languages than it says, so it comes last.
    """
    rows = sorted(
        (by_place[name, target] for name in intermediates if (name, target) in by_place),
        key=lambda row: (row.lift is None, -row.n_languages),
    )
    return next((row.baseline_score for row in rows if row.baseline_score is not None), None)


def _absent(results: Results, by_place: Mapping[tuple[str, str], Comparison]) -> str:
    """Say why places of a heat map have no lift: each reason once, with the pairs it holds for."""
    by_design = {(e["intermediate"], e["target"]): e["reason"] for e in results.run.omitted if not e["language"]}
    reasons: dict[str, list[str]] = {}
    for intermediate in results.run.intermediates:
        for target in results.run.targets:
            row = by_place.get((intermediate, target))
            if row is None or row.lift is None:
                reason = row.reason if row else by_design.get((intermediate, target), "not compared")
                reasons.setdefault(reason, []).append(f"{intermediate} → {target}")
    return "".join(f" n/a, {reason}: {listed(_first(pairs))}." for reason, pairs in reasons.items())


def _first(pairs: Sequence[str]) -> list[str]:
    return [*pairs[:_LISTED], f"{len(pairs) - _LISTED} more"] if len(pairs) > _LISTED else list(pairs)


_LISTED = 6
"""Pairs without a lift that a caption names."""


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
    # What the interval does not part from zero is pale: a heat map is not to shout noise.
    apart = row.ci_low is not None and row.ci_high is not None and row.ci_low * row.ci_high > 0.0
    colour = colours(norm(row.lift if apart else 0.15 * row.lift))
    axes.add_patch(Rectangle((x, y), w, h, facecolor=colour, edgecolor="white", linewidth=1))
    if row.contaminated:
        axes.add_patch(Rectangle((x, y), w, h, fill=False, hatch="////", edgecolor="#99999980", linewidth=0))
    significant = row.significant(alpha)
    if significant:
        axes.add_patch(Rectangle((x + 1.2, y + 1.2), w - 2.4, h - 2.4, fill=False, edgecolor=INK, linewidth=1.1))
    text = lift(row.lift) + ("*" if significant else "") + ("†" if row.contaminated else "")
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", color=_ink_on(colour))


def _ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return the text colour with the better contrast (by WCAG's luminance; at 0.18 black and white tie)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return INK if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18 else "white"


# Forest plots.


@dataclass(frozen=True)
class _Line:
    label: str
    row: Comparison
    colour: str
    marker: str


def forest(results: Results, model: str, target: str) -> Figure | None:
    """Draw the lift over all languages and per family, with intervals and n."""
    palette = looks.palette(results)
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
        looks.title(results, model, target),
        f"Lift of {model} on {target}, over all languages and by family",
    )


def controls(results: Results, model: str, _: str = "") -> Figure | None:
    """Draw the differences between arms and their controls, over all languages of every target."""
    rows = [row for row in results.controls if row.model == model and row.scope == ALL]
    names = dict.fromkeys((row.intermediate, row.against) for row in rows)
    blocks = [
        (
            f"{one} \N{MINUS SIGN} {other}",
            [_Line(row.target, row, INK, "D") for row in rows if (row.intermediate, row.against) == (one, other)],
        )
        for one, other in names
    ]
    title = model if len(results.run.models) > 1 else "All transfer languages"
    what = f"Lift of {model} in one arm less that in another, over all transfer languages"
    return _forest(results, blocks, f"{model}/controls", title, what)


def contrasts(results: Results, model: str, target: str) -> Figure | None:
    """Draw the differences of lift between families."""
    rows = results.select("contrast", grouping=results.run.families, model=model, target=target)
    names = list(dict.fromkeys(row.group for row in rows))
    blocks = [
        (
            name.replace(" - ", " \N{MINUS SIGN} "),
            [_Line(row.intermediate, row, INK, "D") for row in rows if row.group == name],
        )
        for name in names
    ]
    return _forest(
        results,
        blocks,
        f"{model}/{target}/contrasts",
        looks.title(results, model, target),
        f"Lift of {model} on {target} in one family less that in another",
    )


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
    left = min(max(text_width(line.label) for line in lines) + 12, 110.0)
    right = (
        max(text_width(_annotation(line.row, alpha), SMALL) for line in lines if line.row.lift is not None) + 8
        if any(line.row.lift is not None for line in lines)
        else 60.0
    )
    rows = len(lines) + len(blocks)
    height = rows * ROW + (len(blocks) - 1) * 4 + 34
    figure = canvas(PANEL, height)
    axes = place(figure, left, 4, PANEL - left - right, height - 34)
    ends = [
        v
        for line in lines
        for v in (line.row.lift, line.row.ci_low, line.row.ci_high, line.row.examples_ci_low, line.row.examples_ci_high)
        if v is not None and line.row.lift is not None
    ]
    axes.set_xlim(*scale(ends))
    axes.set_ylim(height - 34, 0)
    bare(axes, keep="bottom")
    if ends:
        lift_axis(axes)
    y = 0.0
    # x in the axes' share, y in points: labels stand outside, beside their rows.
    beside = axes.get_yaxis_transform()
    start = -left / (PANEL - left - right)
    drawn: list[tuple[float, _Line]] = []
    for heading, block in blocks:
        group_heading(axes, start, y + ROW / 2, heading)
        y += ROW
        for line in block:
            middle = y + ROW / 2
            label = shorten(line.label, left - 10)
            axes.text(start + 8 / (PANEL - left - right), middle, label, transform=beside, va="center")
            row = line.row
            if row.lift is None:
                reason = shorten(f"n/a: {row.reason}", PANEL - left - 6, SMALL)
                axes.text(0.0, middle, reason, transform=beside, va="center", color="#595959", fontsize=SMALL)
            else:
                drawn.append((middle, line))
                text = _annotation(row, alpha)
                axes.text(1.0 + 6 / (PANEL - left - right), middle, text, transform=beside, va="center", fontsize=SMALL)
            y += ROW
        y += 4
    _whiskers(axes, drawn, alpha)
    caption = f"{what}. {_marked([line.row for line in lines], alpha)}"
    return finish(figure, name, title, caption)


def _annotation(row: Comparison, alpha: float) -> str:
    marks = ("*" if row.significant(alpha) else "") + ("†" if row.contaminated else "")
    return f"{lift(row.lift)}{marks} {interval(row.ci_low, row.ci_high)}"


def _whiskers(axes: Axes, lines: Sequence[tuple[float, _Line]], alpha: float) -> None:
    """Draw lifts with their intervals at (height, line); one artist for what looks alike keeps the figure small."""
    looks: dict[tuple[str, str], list[tuple[float, Comparison]]] = {}
    for y, line in lines:
        looks.setdefault((line.colour, line.marker), []).append((y, line.row))
    for (colour, marker), rows in looks.items():
        inner = [(y, r.examples_ci_low, r.examples_ci_high) for y, r in rows if r.resampling != "examples"]
        bar: dict[str, Any] = {"color": colour, "solid_capstyle": "butt"}
        axes.plot(*_segments(inner), **bar, alpha=0.3, linewidth=5)
        axes.plot(*_segments([(y, r.ci_low, r.ci_high) for y, r in rows]), **bar, linewidth=1.2)
        for filled in (False, True):
            drawn = [(r.lift, y) for y, r in rows if r.lift is not None and r.significant(alpha) == filled]
            dots(axes, drawn, marker, colour, face=colour if filled else "white", size=5)


def _segments(ends: Sequence[tuple[float, float | None, float | None]]) -> tuple[list[float], list[float]]:
    """Return x and y of horizontal lines, parted by NaN; lines without an end are left out."""
    x: list[float] = []
    y: list[float] = []
    for height, low, high in ends:
        if low is not None and high is not None:
            x += [low, high, math.nan]
            y += [height, height, math.nan]
    return x, y


# Languages.


def per_language(results: Results, model: str, target: str) -> Figure | None:
    """Draw every language's lift, by family, one column per intermediate task, at most three beside each other."""
    rows = {(row.intermediate, row.group): row for row in results.select("language", model=model, target=target)}
    languages = [
        code for code in results.transfer_languages if any((i, code) in rows for i in results.run.intermediates)
    ]
    if not languages:
        return None
    palette = looks.palette(results)
    intermediates = list(results.run.intermediates)
    names = {code: results.run.language_name(code) for code in languages}
    left = min(max(text_width(name) for name in names.values()) + 12, 100.0)
    groups = list(dict.fromkeys(results.group_of[code] for code in languages))
    step = 11.0
    across = min(3, len(intermediates))
    bands = [intermediates[i : i + across] for i in range(0, len(intermediates), across)]
    body = step * (len(languages) + len(groups))
    band_height = body + 16 + 32
    figure = canvas(PANEL, band_height * len(bands))
    ends = [
        v
        for row in rows.values()
        for v in (row.lift, row.ci_low, row.ci_high)
        if v is not None and row.lift is not None
    ]
    limits = scale(ends)
    gap = 6.0
    wide = (PANEL - left - 6 - gap * (across - 1)) / across
    for b, band in enumerate(bands):
        for k, intermediate in enumerate(band):
            axes = place(figure, left + k * (wide + gap), b * band_height + 16, wide, body)
            axes.set_xlim(*limits)
            axes.set_ylim(body, 0)
            bare(axes, keep="bottom")
            axes.set_title(shorten(intermediate, wide + gap - 2), fontsize=SIZE, pad=4)
            lift_axis(axes)
            y = 0.0
            drawn: list[tuple[float, _Line]] = []
            for group in groups:
                if k == 0:
                    group_heading(axes, -left / wide, y + step / 2, group or "no family")
                y += step
                members = [code for code in languages if results.group_of[code] == group]
                axes.axhspan(y, y + step * len(members), color="#f4f4f4", zorder=-1, linewidth=0)
                for code in members:
                    row = rows.get((intermediate, code))
                    if k == 0:
                        name = shorten(names[code], left - 10)
                        axes.text(
                            (8 - left) / wide,
                            y + step / 2,
                            name,
                            transform=axes.get_yaxis_transform(),
                            va="center",
                            fontsize=SMALL,
                        )
                    if row and row.lift is not None:
                        drawn.append((y + step / 2, _Line("", row, *palette[group])))
                    else:
                        axes.text(
                            0.5,
                            y + step / 2,
                            "n/a",
                            transform=axes.get_yaxis_transform(),
                            ha="center",
                            va="center",
                            color="#595959",
                            fontsize=SMALL,
                        )
                    y += step
            _whiskers(axes, drawn, results.run.alpha)
    caption = f"Lift of {model} on {target} by language, one column for each intermediate task."
    return finish(figure, f"{model}/{target}/languages", looks.title(results, model, target), caption)


# Seeds.


def seeds(results: Results, model: str, target: str) -> Figure | None:
    """Draw the mean score of every run, baseline runs too, as its distance from the mean baseline run."""
    scores = [s for s in results.seed_scores if s.model == model and s.target == target]
    if not scores:
        return None
    palette = looks.palette(results)
    groups = [group for group in (ALL, *results.groups) if any(s.group == group for s in scores)]
    arms = [arm for arm in results.run.arms if any(s.intermediate == arm for s in scores)]
    left = min(max(text_width(arm) for arm in arms) + 12, 110.0)
    right = 34.0
    height = (len(arms) + 1) * len(groups) * ROW + (len(groups) - 1) * 4 + 34
    wide = PANEL - left - right
    figure = canvas(PANEL, height)
    axes = place(figure, left, 4, wide, height - 34)
    axes.set_xlim(*scale([s.lift for s in scores]))
    axes.set_ylim(height - 34, 0)
    bare(axes, keep="bottom")
    lift_axis(axes, "score of one run less the mean baseline (points)")
    beside = axes.get_yaxis_transform()
    markers = {seed: MARKERS[i % len(MARKERS)] for i, seed in enumerate(results.run.seeds)}
    ranges: dict[str, list[tuple[float, float, float]]] = {}
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    y = 0.0
    for group in groups:
        colour = palette[group][0]
        group_heading(axes, -left / wide, y + ROW / 2, "all languages" if group == ALL else group)
        if group == groups[0]:
            axes.text(1 + 6 / wide, y + ROW / 2, "range", transform=beside, va="center", fontsize=SMALL)
        y += ROW
        for arm in arms:
            spread = [s for s in scores if s.group == group and s.intermediate == arm]
            middle = y + ROW / 2
            axes.text((8 - left) / wide, middle, shorten(arm, left - 10), transform=beside, va="center")
            if spread:
                lifts = [s.lift for s in spread]
                ranges.setdefault(colour, []).append((middle, min(lifts), max(lifts)))
                for s in spread:
                    ink = GREY if arm == BASELINE else colour
                    runs.setdefault((markers[s.seed], ink), []).append((s.lift, middle))
                text = points(max(lifts) - min(lifts)) if len(lifts) > 1 else "n/a"
                axes.text(1 + 6 / wide, middle, text, transform=beside, va="center", fontsize=SMALL)
            y += ROW
        y += 4
    for colour, ends in ranges.items():
        axes.plot(*_segments(ends), color=colour, linewidth=1, alpha=0.5)
    for (marker, ink), places in runs.items():
        dots(axes, places, marker, ink, face="white", size=4.5)
    shapes = ", ".join(f"{_SHAPES[i % len(_SHAPES)]} seed {seed}" for i, seed in enumerate(results.run.seeds))
    caption = f"Runs of {model} on {target}: {shapes}. At the right the largest less the smallest."
    return finish(figure, f"{model}/{target}/seeds", looks.title(results, model, target), caption)


_SHAPES = ("circle", "square", "diamond", "triangle", "triangle down", "plus", "cross", "star")
