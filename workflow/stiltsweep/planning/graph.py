"""The jobs of a workflow, read from its rules: what each needs, makes, and would be recorded with.

Rules are those of a parsed Snakefile (Snakemake 9.27); no file is looked at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

TABLED = frozenset(
    (
        *("significance", "lift", "typology", "measure", "diagnose", "behaviour", "probe", "probes"),
        *("describe", "scores", "report"),
    )
)
"""Rules whose outputs are tables, tests and pages: what decides them is their command line and what they read."""
_PARAMETER = re.compile(r"(?:(--[\w-]+)\s+)?\{params\.(\w+)(:q)?\}")
"""A part of a shell command that comes from a rule's `params`, with the option before it."""


@dataclass(eq=False, slots=True)
class Job:
    """One job of one rule."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: list[str]
    outputs: list[str]
    log: str
    """Empty for rules without one."""
    benchmark: str
    """Empty for rules without one."""
    arguments: list[str]
    """What a configuration decides of the command line of a rule in `TABLED`; empty for the others."""
    local: bool
    """Runs where Snakemake runs, also on a cluster."""
    gpu: bool
    """Asks for a GPU."""
    wanted: bool = False
    """Asked for by name, beside being needed for what is."""
    needs: dict[Job, list[str]] = field(default_factory=dict)
    """Jobs that make its inputs, and which."""
    users: list[Job] = field(default_factory=list)
    """Jobs that read its outputs."""

    @property
    def name(self) -> str:
        """Rule and wildcards, for people."""
        return " ".join([self.rule, *self.wildcards.values()])


class _Rule:
    """One rule, its patterns taken apart."""

    def __init__(self, rule: Any, local: bool) -> None:
        from snakemake.io import strip_wildcard_constraints

        def template(pattern: Any) -> str:
            return str(strip_wildcard_constraints(str(pattern)))

        self.name = str(rule.name)
        self.local = local
        self.gpu = "gpu" in rule.resources
        self.patterns = [output.regex() for output in rule.output]
        self.outputs = [template(output) for output in rule.output]
        self.inputs = [i if callable(i) else template(i) for i in _bare(rule.input)]
        self.log = template(rule.log[0]) if rule.log else ""
        self.benchmark = template(rule.benchmark) if rule.benchmark else ""
        self.params = dict(rule.params.items()) if self.name in TABLED else {}
        self.command = _PARAMETER.findall(str(rule.shellcmd or "")) if self.name in TABLED else []

    def match(self, path: str) -> dict[str, str] | None:
        for pattern in self.patterns:
            if match := pattern.match(path):
                return {name: value for name, value in match.groupdict().items() if value is not None}
        return None

    def job(self, wildcards: Mapping[str, str]) -> Job:
        seen = SimpleNamespace(**wildcards)
        return Job(
            self.name,
            wildcards,
            list(dict.fromkeys(_files(self.inputs, seen, wildcards))),
            [output.format(**wildcards) for output in self.outputs],
            self.log.format(**wildcards),
            self.benchmark.format(**wildcards),
            list(self._arguments(seen)),
            self.local,
            self.gpu,
        )

    def _arguments(self, wildcards: SimpleNamespace) -> Iterator[str]:
        """Yield what of the command line comes from `params`, as a shell would hand it over."""
        for option, name, quoted in self.command:
            value = self.params[name]
            value = value(wildcards) if callable(value) else value
            values = list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]
            if option:
                yield option
            for one in values:
                yield from [one] if quoted else shlex.split(one)


def _bare(inputs: Iterable[Any]) -> list[str | Callable[..., Any]]:
    """Return a rule's inputs, functions without the flags (such as `ancient`) that may be around them."""
    return [getattr(item, "callable", None) or item for item in inputs]


def _files(inputs: Iterable[Any], seen: SimpleNamespace, wildcards: Mapping[str, str]) -> Iterator[str]:
    for item in inputs:
        if callable(item):
            named = item(seen)
            yield from [named] if isinstance(named, str) else named
        else:
            yield item.format(**wildcards) if wildcards else item


def jobs(workflow: Any, targets: Iterable[str] = ("all",)) -> list[Job]:
    """Return every job behind some targets, those that make something before those that read it.

    Args:
      workflow: Snakemake's, after the Snakefile was read.
      targets: files, and names of rules without wildcards.
    """
    rules = [_Rule(rule, rule.name in workflow._localrules) for rule in workflow.rules if rule.output]
    named = {str(rule.name): rule for rule in workflow.rules}
    asked = [
        item if callable(item) else str(item)
        for target in targets
        for item in ((named[target].output or _bare(named[target].input)) if target in named else [target])
    ]
    wanted = list(_files(asked, SimpleNamespace(), {}))
    root = Job("", {}, wanted, [], "", "", [], local=True, gpu=False)
    makers: dict[str, Job | None] = {}
    ordered: list[Job] = []
    # Depth first without recursion: a job is put after what it needs.
    stack = [(root, iter(root.inputs))]
    while stack:
        reader, paths = stack[-1]
        path = next(paths, None)
        if path is None:
            stack.pop()
            ordered.append(reader)
            continue
        if path not in makers:
            makers[path] = made = _made(path, rules)
            if made is not None:
                makers.update(dict.fromkeys(made.outputs, made))
                stack.append((made, iter(made.inputs)))
        job = makers[path]
        if job is not None:
            if job not in reader.needs:
                job.users.append(reader)
            reader.needs.setdefault(job, []).append(path)
    for job in root.needs:
        job.users.remove(root)
        job.wanted = True
    return ordered[:-1]


def _made(path: str, rules: Iterable[_Rule]) -> Job | None:
    for rule in rules:
        if (wildcards := rule.match(path)) is not None:
            return rule.job(wildcards)
    return None
