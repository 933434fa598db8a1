"""The second question, does the lift depend on morphology: its sentence, its figure and its tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl

from ..typology.tables import ALL, LANGUAGES, LINEAGES, MAIN, MEAN, Omnibus, Term
from . import looks
from .canvas import (
    INK,
    PANEL,
    ROW,
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
)
from .results import Results
from .table import Column, Table
from .text import count, interval, lift, p_equals


def _main(results: Results, random: str, *, pooled: bool) -> list[Omnibus]:
    """Return the tests of types under the main labelling, of single targets and arms or of everything together."""
    rows = [row for row in results.omnibus if row.labelling == MAIN and row.random == random]
    if pooled:
        return [row for row in rows if row.target == row.intermediate == ALL]
    return [row for row in rows if ALL not in (row.model, row.target, row.intermediate)]


def verdict(results: Results) -> tuple[str, str]:
    """Answer the second question in a sentence, and say which types and how many pairs; empty if nothing was asked."""
    rows = _main(results, LANGUAGES, pooled=True)
    if not rows:
        return "", ""
    together = rows[-1] if rows[-1].model == ALL else rows[0]
    return _said(results, together)


def details(results: Results) -> list[tuple[str, str]]:
    """Return (label, sentence): every model by itself where there are several, and what labels change."""
    rows = [row for row in _main(results, LANGUAGES, pooled=True) if row.model != ALL]
    said_of = [(row.model, _sentence(results, row)) for row in rows] if len(rows) > 1 else []
    over = [row for row in results.omnibus if row.random == LANGUAGES and row.p is not None]
    main = {(row.model, row.target, row.intermediate) for row in over if row.labelling == MAIN}
    # Where no language has another label there is nothing to make again; Holm's correction may still change what it is.
    again = [row for row in over if row.labelling != MAIN and (row.model, row.target, row.intermediate) in main]
    flips = sum(row.flips for row in again)
    again = [row for row in again if row.relabelled]
    if again:
        others = ", ".join(sorted({row.labelling.replace("-", " ") for row in again}))
        changed = f"{count(flips, 'conclusion')} changed." if flips else "no conclusion changes."
        said_of.append(("Disputed labels", f"{count(len(again), 'test')} made again ({others}); {changed}"))
    return said_of


def _sentence(results: Results, row: Omnibus) -> str:
    return " ".join(filter(None, _said(results, row)))


def _said(results: Results, row: Omnibus) -> tuple[str, str]:
    alpha = results.run.alpha
    if row.p is None:
        return f"Whether it depends on morphology could not be tested: {row.reason}.", ""
    kept = next((one for one in _main(results, LINEAGES, pooled=True) if one.model == row.model), None)
    types = [one for one in results.types if _same(one, row) and one.term != MEAN and one.estimate is not None]
    types.sort(key=lambda one: -(one.estimate or 0.0))
    tests = f"{p_equals(row.p)}, {count(row.n_types, 'type')} dealt out anew over {count(row.n_languages, 'language')}"
    if kept is not None and kept.p is not None:
        tests += f"; {p_equals(kept.p)} with lineages kept together"
    single = [one for one in _main(results, LANGUAGES, pooled=False) if one.p is not None]
    single = [one for one in single if row.model in (ALL, one.model)]
    differing = sum(one.significant(alpha) for one in single)
    each = f" By itself, after Holm, {differing or 'none'} of {count(len(single), 'pair')} of arm and target differs."
    each = each if len(single) > 1 else ""
    ends = ""
    if types:
        high, low = types[0], types[-1]
        ends = f" The lift is {_apart(high)} in {high.term} languages and {_apart(low)} in {low.term} ones."
    if row.p >= alpha:
        said = (
            f"No evidence that the lift depends on the morphological type of a language ({tests}), which is no proof "
        )
        return f"{said}that it does not.", f"{ends}{each}".strip()
    if kept is None or kept.p is None:
        why = f" Whether that is the type's or the lineage's doing cannot be told: {kept.reason}." if kept else ""
        return f"The lift differs between morphological types ({tests}).", f"{ends}{why}{each}".strip()
    if kept.p < alpha:
        return f"The lift depends on the morphological type of a language ({tests}).", f"{ends}{each}".strip()
    said = f"The lift differs between morphological types, but no more than between lineages ({tests}): the two cannot "
    return f"{said}be told apart here.", f"{ends}{each}".strip()


def _same(term: Term, row: Omnibus) -> bool:
    names = ("model", "target", "intermediate", "labelling", "random")
    return all(getattr(term, name) == getattr(row, name) for name in names)


def _apart(term: Term) -> str:
    side = "above" if (term.estimate or 0.0) >= 0 else "below"
    size = lift(abs(term.estimate or 0.0)).lstrip("+")
    return f"{size} points {side} the mean of the types (interval {interval(term.ci_low, term.ci_high)})"


def figure(results: Results) -> Figure | None:
    """Draw the lift of every type over all targets and arms, with its interval and that of another language."""
    rows = [row for row in results.types if row.labelling == MAIN and row.random == LANGUAGES]
    rows = [row for row in rows if row.target == row.intermediate == ALL and row.lift is not None]
    if not rows:
        return None
    with mpl.rc_context(STYLE):
        return _drawn(results, rows)


def _drawn(results: Results, rows: Sequence[Term]) -> Figure:
    palette = looks.palette(results)
    models = list(dict.fromkeys(row.model for row in rows))
    lines = [(model, [row for row in rows if row.model == model and row.term != MEAN]) for model in models]
    means = {row.model: row.lift or 0.0 for row in rows if row.term == MEAN}
    left = min(max(text_width(row.term) for row in rows) + 12, 110.0)
    right = max(text_width(_beside(row), SMALL) for row in rows) + 8
    height = sum(ROW * (len(own) + 1) + 4 for _, own in lines) + 34
    drawing = canvas(PANEL, height)
    width = PANEL - left - right
    axes = place(drawing, left, 4, width, height - 34)
    ends = [v for _, own in lines for row in own for v in (row.prediction_low, row.prediction_high) if v is not None]
    axes.set_xlim(*scale([*ends, 0.0]))
    axes.set_ylim(height - 34, 0)
    bare(axes, keep="bottom")
    lift_axis(axes)
    beside, start, y = axes.get_yaxis_transform(), -left / width, 0.0
    for model, own in lines:
        what = "all targets and arms" if len(models) == 1 else "all models" if model == ALL else model
        group_heading(axes, start, y + ROW / 2, f"{what} · {count(own[0].n_languages, 'language')}" if own else what)
        y += ROW
        axes.plot([means[model]] * 2, [y, y + ROW * len(own)], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        for row in own:
            middle = y + ROW / 2
            colour, marker = palette.get(row.term, (INK, "D"))
            axes.text(start + 8 / width, middle, shorten(row.term, left - 10), transform=beside, va="center")
            axes.plot([row.prediction_low or 0, row.prediction_high or 0], [middle] * 2, color=colour, linewidth=0.8)
            axes.plot(
                [row.lift_low or 0, row.lift_high or 0],
                [middle] * 2,
                color=colour,
                alpha=0.35,
                linewidth=5,
                solid_capstyle="butt",
            )
            face = colour if row.significant(results.run.alpha) else "white"
            dots(axes, [(row.lift or 0.0, middle)], marker, colour, face=face, size=5)
            axes.text(1.0 + 6 / width, middle, _beside(row), transform=beside, va="center", fontsize=SMALL)
            y += ROW
        y += 4
    caption = (
        "Mean lift of the languages of each type (bar: its interval; line: where another language of the type is to be "
        "expected), and beside it the difference from the mean of the types (dashed). Filled: it differs after Holm."
    )
    return finish(drawing, "types", "Lift by type, languages as units", caption)


def _beside(row: Term) -> str:
    return f"{lift(row.estimate)} {interval(row.ci_low, row.ci_high)}"


_WHERE = (
    Column("model", "model", choose=True),
    Column("target", "target", choose=True),
    Column("intermediate", "intermediate", choose=True),
)
_HOW = (
    Column("labelling", "labels", choose=True, of=lambda row: row.labelling.replace("-", " ")),
    Column("random", "random effects", choose=True),
)
_TERM = (
    Column("estimate", "estimate", "lift"),
    Column("ci", "interval", "interval"),
    Column("p", "p", "p"),
    Column("p_holm", "p Holm", "p"),
    Column("df", "df", "count"),
    Column("tau", "SD between", "score"),
    Column("n_languages", "languages", "count"),
    Column("n_lineages", "lineages", "count"),
    Column("reason", "remarks"),
)


_BRIEFLY = "the labels of languages.csv"


def tables(results: Results) -> dict[str, Table]:
    """Return the tables of the tests of types, of types, and of predictors."""
    alpha = results.run.alpha

    def share(value: float | None) -> float | None:
        return None if value is None else round(value, 1)

    tests = [
        *_WHERE,
        *_HOW,
        Column("p", "p", "p"),
        Column("p_holm", "p Holm", "p"),
        Column("f", "F", "number", of=lambda row: None if row.f is None else round(row.f, 3)),
        Column("p_f", "p of F", "p"),
        Column("tau", "SD between", "score"),
        Column("explained", "variance explained (%)", "number", of=lambda row: share(row.explained)),
        Column("i2", "I2 (%)", "number", of=lambda row: share(row.i2)),
        Column("permutations", "deals", "count"),
        Column("flips", "flips", "flag", choose=True),
        Column("n_types", "types", "count"),
        Column("n_languages", "languages", "count"),
        Column("n_lineages", "lineages", "count"),
        Column("reason", "remarks"),
    ]
    note = (
        "p: types dealt out anew over languages, or over lineages, which are then kept together. SD between: standard "
        "deviation between languages beyond sampling, in points. Labels other than those of languages.csv: see flips."
    )
    omnibus = Table.of(
        "omnibus",
        "Do the types differ? Languages as units",
        tests,
        results.omnibus,
        note=note,
        marks=[row.significant(alpha) for row in results.omnibus],
        brief=[row.labelling == MAIN for row in results.omnibus],
        briefly=_BRIEFLY,
    )
    types = Table.of(
        "types",
        "Every type's difference from the mean of the types, languages as units",
        [
            *_WHERE,
            *_HOW,
            Column("term", "type", choose=True),
            *_TERM[:5],
            Column("lift", "lift", "lift"),
            Column("prediction", "another language", of=_prediction),
            *_TERM[5:],
        ],
        results.types,
        note="Another language: prediction interval for the lift of a language of this type that is not in the sweep.",
        marks=[row.significant(alpha) for row in results.types],
        brief=[row.labelling == MAIN for row in results.types],
        briefly=_BRIEFLY,
    )
    predictors = Table.of(
        "predictors",
        "Lift regressed on numbers about languages",
        [
            *_WHERE,
            _HOW[1],
            Column("specification", "regression", choose=True),
            Column("term", "term"),
            Column("estimate", "slope", "slope"),
            Column("ci_low", "from", "slope"),
            Column("ci_high", "to", "slope"),
            *_TERM[2:4],
            Column("p_permutation", "p permuted", "p"),
            *_TERM[4:],
        ],
        results.predictors,
        note="Points of lift for one unit. It describes and does not prove: languages differ in more than one number.",
        marks=[row.significant(alpha) for row in results.predictors],
    )
    return {table.name: table for table in (omnibus, types, predictors)}


def _prediction(row: Term) -> str:
    return "" if row.prediction_low is None else interval(row.prediction_low, row.prediction_high)
