"""The jobs of a workflow, read from its rules: what each needs, makes, and would be recorded with.

Rules are those of a parsed Snakefile (Snakemake 9.27); no file is looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


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
    params: frozenset[str]
    """As Snakemake records them."""
    code: str
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
        from snakemake.io import strip_wildcard_constraints  # type: ignore[import-untyped]

        def template(pattern: Any) -> str:
            return str(strip_wildcard_constraints(str(pattern)))

        self.name = str(rule.name)
        self.local = local
        self.gpu = "gpu" in rule.resources
        self.patterns = [output.regex() for output in rule.output]
        self.outputs = [template(output) for output in rule.output]
        self.inputs: list[str | Callable[..., Any]] = [i if callable(i) else template(i) for i in rule.input]
        self.log = template(rule.log[0]) if rule.log else ""
        self.benchmark = template(rule.benchmark) if rule.benchmark else ""
        # What is derived from input, output, threads or resources is not recorded.
        self.params = [p for p in rule.params if not callable(p) or len(inspect.signature(p).parameters) == 1]
        self.code = str(rule.shellcmd or "")

    def match(self, path: str) -> dict[str, str] | None:
        for pattern in self.patterns:
            if found := pattern.match(path):
                return {name: value for name, value in found.groupdict().items() if value is not None}
        return None

    def job(self, wildcards: Mapping[str, str]) -> Job:
        from snakemake.io import apply_wildcards

        seen = SimpleNamespace(**wildcards)
        params = [
            p(seen) if callable(p) else apply_wildcards(p, wildcards) if isinstance(p, str) else p for p in self.params
        ]
        return Job(
            self.name,
            wildcards,
            list(dict.fromkeys(_files(self.inputs, seen, wildcards))),
            [output.format(**wildcards) for output in self.outputs],
            self.log.format(**wildcards),
            self.benchmark.format(**wildcards),
            frozenset(map(repr, params)),
            self.code,
            self.local,
            self.gpu,
        )


def _files(inputs: Iterable[Any], seen: SimpleNamespace, wildcards: Mapping[str, str]) -> Iterator[str]:
    for item in inputs:
        if callable(item):
            found = item(seen)
            yield from [found] if isinstance(found, str) else found
        else:
            yield item.format(**wildcards) if wildcards else item


def jobs(workflow: Any, target: str = "all") -> list[Job]:
    """Return every job behind a target rule, those that make something before those that read it.

    Args:
      workflow: Snakemake's, after the Snakefile was read.
      target: a rule without output; it is no job itself.
    """
    rules = [_Rule(rule, rule.name in workflow._localrules) for rule in workflow.rules if rule.output]
    asked = [item if callable(item) else str(item) for item in workflow.get_rule(target).input]
    wanted = list(_files(asked, SimpleNamespace(), {}))
    root = Job(target, {}, wanted, [], "", "", frozenset(), "", local=True, gpu=False)
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
