"""Why: lift against what was measured of models and languages, layer by layer and bucket by bucket."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..probing import curves
from ..significance.buckets import BucketLift
from . import looks
from .canvas import GREY, PANEL, SMALL, STYLE, Figure, finish, scale, shorten
from .results import ALL, Results
from .scatters import Covariate, against
from .text import lift

FERTILITY = Covariate(
    "fertility",
    "tokens per word",
    "tokens per word",
    "tokens per word",
    lambda results, row: results.measured.tokenization.get((row.model, row.target, row.group), {}).get("fertility"),
)
PROBE_GAIN = Covariate(
    "probe_gain",
    "gain of the probe",
    "what the intermediate stage added to the morphology that a probe finds, mean over layers",
    "gain of the probe (points)",
    lambda results, row: results.measured.probe_gains.get((row.model, row.intermediate, row.group)),
)

_POOLINGS = {"first": "a word's first piece", "last": "a word's last piece", "mean": "mean of a word's pieces"}
_MOST = 4
"""Panels of buckets in a figure; the table holds all."""


def draw(results: Results) -> dict[str, list[Figure]]:
    """Draw what there is to draw.

    Returns:
      Part of the section (`layers`, `probe_gain`, `fertility`, `buckets`) -> its figures.
    """
    parts: dict[str, Callable[[Results, str, str], Figure | None]] = {
        "layers": layers,
        "probe_gain": functools.partial(against, covariate=PROBE_GAIN),
        "fertility": functools.partial(against, covariate=FERTILITY),
        "buckets": buckets,
    }
    figures = {}
    with mpl.rc_context(STYLE):
        for part, painter in parts.items():
            targets = [""] if part == "layers" else list(results.run.targets)
            drawn = (painter(results, model, target) for model in results.run.models for target in targets)
            figures[part] = [figure for figure in drawn if figure]
    return figures


def layers(results: Results, model: str, _: str = "") -> Figure | None:
    """Draw what probes find in the pretrained model and after every intermediate stage, over layers and by family."""
    shown = (probe for probe in results.measured.probes if probe.model == model and probe.stage != "target")
    all_curves = [curve for curve in curves.curves(shown, source=results.run.source) if curve.group != curves.ALL]
    if not all_curves:
        return None
    # One panel a checkpoint; of several tasks the first one stands for all, of several poolings the mean.
    task, pooling = all_curves[0].task, max(all_curves, key=lambda curve: curve.pooling == "mean").pooling
    panels: dict[curves.Checkpoint, list[curves.Curve]] = {}
    for curve in all_curves:
        if (curve.task, curve.pooling) == (task, pooling):
            panels.setdefault(curve.checkpoint, []).append(curve)
    titles = [f"after {one.intermediate}" if one.stage == "intermediate" else "pretrained" for one in panels]
    figure, below = looks.panels(results, titles, "across: layer (0: embeddings); up: accuracy (points)")
    palette = looks.palette(results)
    values = [value for panel in panels.values() for curve in panel for value in curve.layers]
    margin = 0.06 * (max(values) - min(values)) or 1.0
    for axes, panel in zip(below, panels.values(), strict=True):
        axes.set_ylim(min(values) - margin, max(values) + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for curve in panel:
            colour, marker = palette.get(curve.group, palette[""])
            axes.plot(range(len(curve.layers)), curve.layers, color=colour, linewidth=1.2)
            axes.plot([curve.peak], [curve.height], color=colour, marker=marker, markersize=5)
    what = f"Accuracy of linear probes for {task} in {model} ({_POOLINGS[pooling]}), mean over features and languages"
    caption = f"{what}, by layer and family; the mark is where it is highest."
    return finish(figure, f"{model}/layers", model, caption)


def buckets(results: Results, model: str, target: str) -> Figure | None:
    """Draw lift by bucket and family, one panel for each of the attributes in which families part most."""
    panels: dict[tuple[str, str], list[BucketLift]] = {}
    for row in results.measured.buckets:
        if (row.model, row.target) == (model, target) and row.group != ALL and row.lift is not None:
            panels.setdefault((row.intermediate, row.attribute), []).append(row)
    # An attribute with one bucket is the lift itself.
    several = {key: rows for key, rows in panels.items() if len({row.bucket for row in rows}) > 1}
    parts: dict[tuple[str, str], list[float]] = {key: [1.0] for key in several}
    for row in results.measured.contrasts:
        key = (row.intermediate, row.attribute)
        if (row.model, row.target) == (model, target) and key in parts and row.p is not None:
            parts[key].append(row.p)
    chosen = sorted(several, key=lambda key: min(parts[key]))[:_MOST]
    if not chosen:
        return None
    titles = [" · ".join(key) for key in chosen]
    figure, below = looks.panels(results, titles, "across: bucket of examples; up: lift (points)")
    ends = [v for key in chosen for row in several[key] for v in (row.lift, row.ci_low, row.ci_high) if v is not None]
    for axes, key in zip(below, chosen, strict=True):
        axes.set_ylim(*scale(ends))
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
        _lifts(axes, several[key], looks.palette(results), results.run.alpha)
    chance = (
        f"; of {len(several)} pairs of task and attribute those where two families' lifts differ with the smallest p"
    )
    caption = (
        f"Lift of {model} on {target} by bucket of test examples and family{chance if len(several) > _MOST else ''}. "
        "Filled: significant after Holm, over all attributes."
    )
    return finish(figure, f"{model}/{target}/buckets", looks.title(results, model, target), caption)


@dataclass(frozen=True)
class Parting:
    """A bucket in which the lifts of two families differ after Holm."""

    intermediate: str
    about: Mapping[str, Any]
    """Model, target, attribute and bucket, the lift of each of the two by name, and the difference."""
    families: tuple[str, str]

    @property
    def sentence(self) -> str:
        """Say it."""
        one, other = self.families
        here = f"{self.about['target']} after {self.intermediate}, {self.about['attribute']} {self.about['bucket']}"
        return f"{here}: {lift(self.about[one])} in {one}, {lift(self.about[other])} in {other} languages"


def partings(results: Results) -> list[Parting]:
    """Return where the lifts of two families differ after Holm, the largest difference first.

    The contrast decides. Families share examples and runs, so it may hold although their own intervals overlap.
    """

    def place(row: BucketLift) -> tuple[str, ...]:
        return row.model, row.target, row.intermediate, row.attribute, row.bucket

    lifts = {(*place(row), row.group): row.lift for row in results.measured.buckets if row.scope == "group"}
    pairs = {f"{one} - {other}": (one, other) for one, other in itertools.permutations(results.groups, 2)}
    apart = [
        Parting(
            row.intermediate,
            {
                "model": row.model,
                "target": row.target,
                "attribute": row.attribute,
                "bucket": row.bucket,
                **{name: lifts.get((*place(row), name)) for name in pairs[row.group]},
                "difference": row.lift,
            },
            pairs[row.group],
        )
        for row in results.measured.contrasts
        if row.group in pairs and row.significant(results.run.alpha)
    ]
    return sorted(apart, key=lambda one: -abs(one.about["difference"]))


def _lifts(axes: Axes, rows: Sequence[BucketLift], palette: Mapping[str, tuple[str, str]], alpha: float) -> None:
    names = list(dict.fromkeys(row.bucket for row in rows))
    groups = [group for group in palette if any(row.group == group for row in rows)]
    for g, group in enumerate(groups):
        colour, marker = palette[group]
        for row in (row for row in rows if row.group == group):
            x = names.index(row.bucket) + 0.6 * ((g + 0.5) / len(groups) - 0.5)
            if row.ci_low is not None and row.ci_high is not None:
                axes.plot([x, x], [row.ci_low, row.ci_high], color=colour, linewidth=1.0)
            face = colour if row.significant(alpha) else "white"
            axes.plot([x], [row.lift or 0.0], marker=marker, color=colour, markerfacecolor=face, markersize=4)
    axes.set_xlim(-0.5, len(names) - 0.5)
    wide = (PANEL - 36) / len(names)
    axes.set_xticks(range(len(names)), [shorten(name, wide - 4, SMALL) for name in names], fontsize=SMALL)
