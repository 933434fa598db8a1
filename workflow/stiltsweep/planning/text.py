"""A plan as Markdown that reads well in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from .plan import Attention, Plan
from .states import State

_SOURCES = {
    "benchmark": "what these jobs took before",
    "alike": "what others of this sweep took",
    "size": "model FLOPs and data sizes",
    "guess": "a rough constant",
}
_ROWS = 40
"""Jobs listed at most in one table; plan.json has all."""


def page(plan: Plan, heading: str = "Plan") -> str:
    """Return the plan as Markdown."""
    sections = [
        _summary(plan, heading),
        *_attention(plan),
        *_cells(plan),
        *_rules(plan),
        *_stale(plan),
        *_omitted(plan),
        *_remarks(plan),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def failures(plan: Plan) -> str:
    """Return the table of failed jobs, empty if there are none."""
    failed = [one for one in plan.attention if one.state == State.FAILED]
    if not failed:
        return ""
    waiting = plan.cells.get(str(State.FAILED), 0)
    text = f"{_plural(len(failed), 'job')} failed; cells that are not there for it: {waiting}."
    for one in failed[:_ROWS]:
        text += f"\n\n  {one.job}\n    {one.error}\n    log:   {one.log}\n    rerun: {one.command}"
        if one.resumes_at:
            text += f"\n    goes on after {one.resumes_at}"
    text += _more(failed)
    if any(one.rule == "prepare" for one in failed):
        text += (
            "\n\nData that could not be prepared are tried again by the next run, which meanwhile predicts the other "
            "languages of their task."
        )
    return text


def _summary(plan: Plan, heading: str) -> str:
    total = sum(plan.cells.values())
    states = ", ".join(f"{plan.cells[state]} {state}" for state in map(str, State) if plan.cells.get(state))
    jobs = sum(rule.to_do for rule in plan.rules)
    kind = "GPU-hours" if plan.machine.accelerated else "core-hours of training and prediction"
    lines = [f"# {heading}: {plan.title}", "", *([plan.elsewhere, ""] if plan.elsewhere else [])]
    lines.append(f"{_plural(total, 'cell')}: {states}.")
    if plan.locked_since is not None:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(plan.locked_since))
        lines.append(f"Locked since {began} by {plan.holder}.")
    if jobs:
        lines.append(
            f"{_plural(jobs, 'job')} to run: about {duration(plan.wall_seconds)} with {plan.machine.text}, "
            f"{plan.hours:.2f} {kind}."
        )
    else:
        lines.append("Nothing to run.")
    lines.append(f"The whole sweep from nothing: about {duration(plan.all_wall_seconds)}, {plan.all_hours:.2f} {kind}.")
    disk = plan.disk
    text = f"Disk: {size(disk['used'])} there"
    if jobs:
        text += f"; {size(disk['checkpoints'])} more for checkpoints and {size(disk['rest'])} for everything else"
        if disk["checkpoints_staying"] < disk["checkpoints"]:
            text += f" ({size(disk['checkpoints_staying'])} of the checkpoints stay)"
    return "\n".join([*lines, text + "."])


def _attention(plan: Plan) -> Iterator[str]:
    if text := failures(plan):
        yield f"## Failed\n\n{text}"
    titles = {
        "Running": {State.RUNNING},
        "Interrupted": {State.INTERRUPTED},
        "Begun before": {State.MISSING, State.STALE},
    }
    for title, states in titles.items():
        if those := [one for one in plan.attention if one.state in states]:
            yield f"## {title}\n\n{table(['job', 'goes on after', 'where'], map(_place, those[:_ROWS]))}{_more(those)}"


def _place(one: Attention) -> list[str]:
    return [one.job, one.resumes_at, one.worker or one.log]


def _cells(plan: Plan) -> Iterator[str]:
    for model in dict.fromkeys(arm.model for arm in plan.arms):
        arms = {(arm.intermediate, arm.target): arm for arm in plan.arms if arm.model == model}
        targets = list(dict.fromkeys(target for _, target in arms))
        rows = []
        for intermediate in dict.fromkeys(name for name, _ in arms):
            row = [intermediate]
            for target in targets:
                arm = arms.get((intermediate, target))
                done = arm.states.get(str(State.DONE), 0) if arm else 0
                row.append(f"{done}/{arm.cells}{'*' if arm.contaminated else ''}" if arm else "-")
            rows.append(row)
        yield f"## Cells of {model}: done/all\n\n{table([model, *targets], rows)}"
    if any(arm.contaminated for arm in plan.arms):
        yield "\\* contaminated: the intermediate task holds data of this target."


def _rules(plan: Plan) -> Iterator[str]:
    rows = [
        [
            rule.rule,
            str(rule.jobs),
            str(rule.to_do),
            duration(rule.seconds) if rule.to_do else "",
            ", ".join(f"{_SOURCES[source]} ({count})" for source, count in rule.sources.items()),
        ]
        for rule in plan.rules
    ]
    yield f"## Jobs\n\n{table(['rule', 'jobs', 'to do', 'time, one by one', 'estimated from'], rows)}"


def _stale(plan: Plan) -> Iterator[str]:
    if plan.stale:
        rows = [[one.rule, str(one.jobs), one.reason, one.example] for one in plan.stale[:_ROWS]]
        stale = table(["rule", "jobs", "because", "for example"], rows)
        yield f"## To be made again, and why\n\n{stale}{_more(plan.stale)}"


def _omitted(plan: Plan) -> Iterator[str]:
    if plan.omitted:
        names = ["intermediate", "target", "language"]
        rows = [[*(one[name] or "all" for name in names), one["reason"]] for one in plan.omitted[:_ROWS]]
        yield f"## Left out\n\n{table([*names, 'because'], rows)}{_more(plan.omitted)}"


def _remarks(plan: Plan) -> Iterator[str]:
    if plan.remarks:
        lines = "\n".join(f"* {text}" for text in plan.remarks[:_ROWS])
        yield f"## Settings\n\n{lines}{_more(plan.remarks)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are as wide as their cells."""
    lines = [list(heads), *([cell.replace("|", "/") for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def _more(listed: Sequence[object]) -> str:
    return f"\n\nand {len(listed) - _ROWS} more" if len(listed) > _ROWS else ""


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time for people: seconds, minutes, hours or days."""
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{1 if name == 'h' else 0}f} {name}"
    return f"{seconds / 86400:.1f} days"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("B", "kB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
