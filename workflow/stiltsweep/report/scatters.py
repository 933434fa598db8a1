"""Lift of languages against a number that each of them has: pre-training size, tokens per word, what a probe gained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.ticker import MaxNLocator, NullLocator

from ..languages import SIZES
from ..significance.comparison import Comparison
from . import looks
from .canvas import GREY, Dot, Figure, finish, scale, scatter, tick
from .results import ALL, Results


@dataclass(frozen=True)
class Covariate:
    """A number per language that a lift may go with."""

    name: str
    """Of the figures' files."""
    title: str
    """In tables."""
    what: str
    """In captions, after "against"."""
    axis: str
    of: Callable[[Results, Comparison], float | None]
    """Its value for the language of a comparison; None where it is not known."""
    logarithmic: bool = False


def tokens(results: Results, language: str) -> float | None:
    """Return the billions of mC4 tokens a language has in pre-training, None where languages.csv does not say."""
    try:
        value = float(results.run.fact(language, SIZES["mc4"]))
    except ValueError:
        return None
    return value if value > 0 else None


PRETRAINING = Covariate(
    "pretraining",
    "pre-training size",
    "pre-training size",
    "billion mC4 tokens, log scale",
    lambda results, row: tokens(results, row.group),
    logarithmic=True,
)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation, None for fewer than four pairs or where one side is constant."""
    if len(pairs) < 4 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return float(np.corrcoef([_ranks(side) for side in zip(*pairs, strict=True)])[0, 1])


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of every value, equal ones their mean rank; scipy's takes a second to import."""
    ordered = np.sort(values)
    return [float(np.searchsorted(ordered, v) + np.searchsorted(ordered, v, "right")) / 2 for v in values]


def pairs(results: Results, covariate: Covariate) -> dict[tuple[str, str, str], list[tuple[Comparison, float, float]]]:
    """Return (model, target, intermediate) -> (comparison, covariate, lift) of the languages that have both."""
    by_arm: dict[tuple[str, str, str], list[tuple[Comparison, float, float]]] = {}
    for row in results.select("language"):
        value = covariate.of(results, row)
        if row.lift is not None and value is not None:
            by_arm.setdefault((row.model, row.target, row.intermediate), []).append((row, value, row.lift))
    return by_arm


def against(results: Results, model: str, target: str, covariate: Covariate) -> Figure | None:
    """Draw lift against a covariate, one panel per intermediate task; of target `all` the mean over its targets."""
    held: dict[str, dict[str, tuple[float, list[float]]]] = {}
    for (own, where, intermediate), languages in pairs(results, covariate).items():
        if own == model and target in (where, ALL):
            for row, value, lift in languages:
                held.setdefault(intermediate, {}).setdefault(row.group, (value, []))[1].append(lift)
    palette = looks.palette(results)
    panels = {
        intermediate: [
            Dot(code, value, fmean(lifts), *palette[results.group_of.get(code, "")])
            for code, (value, lifts) in held[intermediate].items()
        ]
        for intermediate in results.run.intermediates
        if intermediate in held
    }
    if not panels:
        return None
    label = f"across: {covariate.axis}; up: lift (points)"
    figure, drawn = looks.panels(results, list(panels), label, across=1 if len(panels) <= 3 else 2)
    values = [dot.x for panel in panels.values() for dot in panel]
    ylim = scale([dot.y for panel in panels.values() for dot in panel])
    for axes, panel in zip(drawn, panels.values(), strict=True):
        if covariate.logarithmic:
            axes.set_xscale("log")
            # A tick of matplotlib's takes a millisecond, and nobody reads those between the powers of ten.
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlim(min(values) / 1.6, max(values) * 1.6)
        else:
            margin = 0.06 * (max(values) - min(values)) or 1.0
            axes.set_xlim(min(values) - margin, max(values) + margin)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_ylim(*ylim)
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.xaxis.set_major_formatter((lambda value, _: f"{value:g}") if covariate.logarithmic else tick)
        axes.tick_params(length=2.5)
        scatter(axes, panel)
    where = "over the targets that it has, the mean," if target == ALL else f"on {target}"
    caption = f"Lift of {model} {where} against {covariate.what}, one point for each language."
    name = f"{model}/{covariate.name}" if target == ALL else f"{model}/{target}/{covariate.name}"
    title = looks.title(results, model, "all targets" if target == ALL else target)
    return finish(figure, name, title, caption)
