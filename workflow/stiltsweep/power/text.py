"""Power as Markdown that reads well in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..planning.text import table
from .planning import AXES, Power, Question
from .tests import MOST


def page(power: Power) -> str:
    """Return what a sweep can see and needs as Markdown."""
    share = f"{100 * power.wanted:.0f}%"
    sections = [
        f"# Power: {power.title}",
        f"How large an effect has to be for its test to find it in {share} of sweeps like this one, at the level "
        f"{100 * power.alpha:.3g}%, and what smaller ones need. Corrected: at the level that Holm's first step asks of "
        "the smallest p. Of seeds, languages and examples one is changed and the other two stay. Where the variances "
        "come from stands below.",
        "## Does it help: the mean lift over a target's languages",
        *_section(power.lifts, "lift", "languages"),
        "## Does it depend on morphology: one type so many points above the others",
        *_section(power.types, "difference", "languages a type"),
        *_sources(power),
    ]
    return "\n\n".join(sections) + "\n"


def _section(questions: Sequence[Question], what: str, languages: str) -> list[str]:
    if not questions:
        return ["Nothing is compared."]
    heads = ["", "seeds", languages, "examples", f"smallest {what}", "corrected", "over", "with twice the", "it is"]
    seen = []
    for one in questions:
        best = one.seen.worth_most
        sizes = " + ".join(f"{size} {name}" for name, size in one.sizes.items()) or str(one.design.languages)
        row = [one.name, str(one.design.seeds), sizes, f"{one.design.examples:.0f}"]
        row += [_points(one.seen.single), _points(one.seen.smallest), str(one.tests)]
        seen.append([*row, best, _points(one.seen.doubled[best]) if best else ""])
    heads_needed = ["", "points", "power now", "seeds", languages, "examples a language"]
    needed = [
        [one.name, f"{effect.points:g}", f"{100 * effect.power:.0f}%", *(_needed(effect.needed, axis) for axis in AXES)]
        for one in questions
        for effect in one.effects
    ]
    lines = [table(heads, seen)]
    if most := Counter(one.seen.worth_most for one in questions if one.seen.worth_most).most_common(1):
        lines.append(f"Worth most here: more {most[0][0]}.")
    lines += [f"{one.name}: {one.absent}." for one in questions if one.absent]
    lines += [
        f"{one.name}: that the lift depends on the type is said where the test that keeps lineages together finds it, "
        f"too; with one type {_points(one.seen.smallest)} points above the others both do in about "
        f"{round(100 * one.lineages)}% of sweeps."
        for one in questions
        if one.lineages is not None
    ]
    lines += [f"Needed for a {what} of so many points, corrected, if the rest stays:"] if needed else []
    return [*lines, table(heads_needed, needed)] if needed else lines


def _needed(needed: Mapping[str, int | None], axis: str) -> str:
    value = needed[axis]
    return f"not with {MOST[axis]:,}" if value is None else f"{value:,}"


def _points(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f}"


def _sources(power: Power) -> list[str]:
    lines = [f"* {one.name}: {one.source}." for one in power.lifts]
    lines.append(
        f"* {100 * power.shared:.0f}% of the variance between languages is taken to be the same in all targets "
        f"({power.shared_source})."
    )
    return ["## Where the variances are from", "\n".join(lines)]
