"""The plan of a sweep: its cells and jobs, where each stands, and what is still to come in time and disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..resources import CPU_TERAFLOPS, STARTUP_SECONDS, Needs
from ..settings import FROZEN
from ..sweep import Sweep
from . import remarks
from .disk import Disk, Marks
from .estimates import Estimates, wall_seconds
from .expected import Expected
from .graph import Job
from .reasons import Reason
from .states import State, Status, survey

CELL = "evaluate"
"""The rule whose jobs are cells."""
_MODELS = ("fetch", "pretrain")
_OWN_FOLDER = {"fetch", "pretrain", "intermediate", "finetune", "predict"}
"""Rules that fill the folder of their output."""
_CHECKPOINTS = ("intermediate", "finetune")
_SMALL_BYTES = {
    "prepare": 200_000,
    "predict": 2_000_000,
    "probe": 1_000_000,
    "evaluate": 30_000,
    "significance": 500_000,
    "report": 3_000_000,
}
"""Rough sizes before there is one to measure."""


@dataclass(frozen=True)
class Machine:
    """What jobs run on."""

    cores: int
    gpus: int | None
    """Jobs with a GPU that run at once; None: no limit of their own."""
    remote: bool
    """Whether jobs are handed to a cluster."""
    accelerated: bool
    """Whether training runs on GPUs."""

    @classmethod
    def of(cls, workflow: Any, needs: Needs) -> Machine:
        """Read Snakemake's command line: --cores, --jobs and --resources gpu=N."""
        settings = workflow.resource_settings
        limit = workflow.global_resources.get("gpu")
        gpus = None if limit is None or limit.value is None else int(limit.value)
        remote = settings.nodes is not None and settings.cores is None
        cores = settings.cores or os.cpu_count() or 1
        if remote and gpus is None:
            gpus = settings.nodes
        here = any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))
        # A plan for a number of GPUs is one for a machine that has them.
        return cls(max(cores, gpus or 0), gpus, remote, bool(needs.gpus) and (remote or here or bool(gpus)))

    @property
    def text(self) -> str:
        """For people."""
        if self.remote:
            return f"{self.gpus} jobs at once on the cluster"
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{cores} and {self.gpus} GPUs" if self.accelerated and self.gpus is not None else cores


@dataclass(frozen=True)
class Arm:
    """The cells of one model, intermediate and target."""

    model: str
    intermediate: str
    target: str
    cells: int
    states: Mapping[str, int]
    contaminated: bool


@dataclass(frozen=True)
class Rule:
    """The jobs of one rule."""

    rule: str
    jobs: int
    to_do: int
    seconds: float
    """Of those to do, one after the other."""
    sources: Mapping[str, int]
    """Where the estimates of those to do are from."""


@dataclass(frozen=True)
class Stale:
    """Jobs of a rule that run again for one reason."""

    rule: str
    reason: str
    jobs: int
    example: str


@dataclass(frozen=True)
class Attention:
    """A job that failed, was interrupted or is running."""

    rule: str
    job: str
    state: str
    error: str
    resumes_at: str
    worker: str
    log: str
    command: str
    """Runs this job alone (after what it needs)."""
    cells: int
    """Cells that wait for it."""


@dataclass(frozen=True)
class Plan:
    """Everything plan and status say."""

    title: str
    machine: Machine
    cells: Mapping[str, int]
    """Number of cells by state."""
    arms: Sequence[Arm]
    rules: Sequence[Rule]
    hours: float
    """Of training and prediction still to do, on GPUs or cores."""
    wall_seconds: float
    all_hours: float
    """The same for the whole sweep, begun from nothing."""
    all_wall_seconds: float
    disk: Mapping[str, int]
    """Bytes: there now; still to come for checkpoints and for the rest; what stays of those checkpoints."""
    stale: Sequence[Stale]
    attention: Sequence[Attention]
    omitted: Sequence[Mapping[str, str]]
    elsewhere: str
    """What a sweep that needs a GPU would take on one, where there is none; else empty."""
    remarks: Sequence[str]
    """What its settings make of the sweep that their author may not have meant."""
    locked_since: float | None
    holder: str
    """Who holds the lock, for people, and what to do if that is wrong."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)


def make(
    jobs: Sequence[Job],
    sweep: Sweep,
    needs: Needs,
    machine: Machine,
    command: Callable[[str], str],
    failed: Mapping[str, Reason] = MappingProxyType({}),
) -> Plan:
    """Look at the disk and make the plan.

    Args:
      jobs: those of `graph.jobs`.
      sweep: the grid they belong to.
      needs: what they compute.
      machine: what they run on.
      command: how to call Snakemake for a file.
      failed: outputs of jobs that are known to have failed, and why.
    """
    disk, marks = Disk(), Marks()
    states = survey(jobs, Expected(needs.jobs), disk, marks, failed)
    todo = [job for job in jobs if states[job].to_do]
    speed = 1e12 * (sweep.config["resources"]["teraflops"] if machine.accelerated else CPU_TERAFLOPS)
    estimates = Estimates(jobs, needs, disk, speed, remote=machine.remote)
    expected = {job: estimates.of(job) for job in jobs}
    seconds = {job: estimate.seconds for job, estimate in expected.items()}
    blocked = _blocked(jobs, states)
    cells = {job: State.FAILED if job in blocked else states[job].state for job in jobs if job.rule == CELL}

    def wall(some: Sequence[Job]) -> float:
        return wall_seconds(some, seconds, machine.cores, machine.gpus, machine.remote) if some else 0.0

    def hours(some: Iterable[Job]) -> float:
        return sum(seconds[job] for job in some if job.gpu) / 3600

    to_come = wall(todo)
    return Plan(
        title=sweep.config["title"],
        machine=machine,
        cells=dict(Counter(str(state) for state in cells.values())),
        arms=_arms(cells, sweep),
        rules=[
            Rule(
                rule,
                sum(job.rule == rule for job in jobs),
                len(mine),
                sum(seconds[job] for job in mine),
                dict(Counter(expected[job].source for job in mine)),
            )
            for rule in dict.fromkeys(job.rule for job in jobs)
            for mine in [[job for job in todo if job.rule == rule]]
        ],
        hours=hours(todo),
        wall_seconds=to_come,
        all_hours=hours(jobs),
        all_wall_seconds=to_come if len(todo) == len(jobs) else wall(jobs),
        disk=_disk(jobs, todo, needs, disk, sweep.config["keep"]),
        stale=_stale(states),
        attention=_attention(states, blocked, command),
        omitted=[asdict(omitted) for omitted in sweep.omitted],
        remarks=remarks.of(needs),
        elsewhere=_elsewhere(jobs, needs, machine, hours(jobs)),
        locked_since=marks.locked_since,
        holder="; ".join(marks.holders or [f"an unknown run. If no Snakemake is alive: {command('--unlock')}"]),
    )


def _elsewhere(jobs: Sequence[Job], needs: Needs, machine: Machine, hours: float) -> str:
    if machine.accelerated or not needs.gpus or hours < _HOURS_OF_CORES:
        return ""
    speed = 1e12 * needs.sweep.config["resources"]["teraflops"]
    there = sum(STARTUP_SECONDS + needs.need(job.rule, job.wildcards).flops / speed for job in jobs if job.gpu) / 3600
    teraflops = needs.sweep.config["resources"]["teraflops"]
    return (
        f"This sweep needs a GPU, and there is none here: on one {needs.card[0]} (resources.card, at {teraflops:g} "
        f"teraflops) about {there:,.0f} GPU-hours, one job after the other {there / 24:,.1f} days; on cores "
        f"{hours:,.0f} hours."
    )


_HOURS_OF_CORES = 100
"""Of training and prediction, up to which a plan takes a machine without a GPU as it is."""


def _blocked(jobs: Sequence[Job], states: Mapping[Job, Status]) -> dict[Job, list[Job]]:
    """Return the cells that are not there because a job before them failed (or they did), each with the failed jobs."""
    blocked: dict[Job, list[Job]] = {}
    for failed in jobs:
        if states[failed].state is not State.FAILED:
            continue
        stack, seen = [failed], {failed}
        while stack:
            job = stack.pop()
            if job.rule == CELL and states[job].state in (State.FAILED, State.MISSING):
                blocked.setdefault(job, []).append(failed)
            more = [user for user in job.users if user not in seen]
            seen.update(more)
            stack += more
    return blocked


def _arms(cells: Mapping[Job, State], sweep: Sweep) -> list[Arm]:
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for job, state in cells.items():
        key = (job.wildcards["model"], job.wildcards["intermediate"], job.wildcards["target"])
        counts.setdefault(key, Counter())[str(state)] += 1
    return [
        Arm(*key, cells=by_state.total(), states=dict(by_state), contaminated=sweep.contaminated(intermediate, target))
        for model in sweep.models
        for intermediate in sweep.intermediates
        for target in sweep.languages
        if (by_state := counts.get(key := (model, intermediate, target)))
    ]


def _stale(states: Mapping[Job, Status]) -> list[Stale]:
    alike: dict[tuple[str, str], list[Job]] = {}
    for job, status in states.items():
        if status.state is State.STALE:
            alike.setdefault((job.rule, status.reason), []).append(job)
    return [Stale(rule, reason, len(jobs), jobs[0].outputs[0]) for (rule, reason), jobs in alike.items()]


def _attention(
    states: Mapping[Job, Status], blocked: Mapping[Job, Sequence[Job]], command: Callable[[str], str]
) -> list[Attention]:
    waiting = Counter(failed for jobs in blocked.values() for failed in jobs)
    return [
        Attention(
            job.rule,
            job.name,
            str(status.state),
            status.error,
            status.resumes_at,
            status.worker,
            job.log,
            command(job.outputs[0]),
            waiting[job],
        )
        for job, status in states.items()
        if status.state in (State.FAILED, State.RUNNING, State.INTERRUPTED) or (status.resumes_at and status.to_do)
    ]


def _disk(jobs: Sequence[Job], todo: Sequence[Job], needs: Needs, disk: Disk, keep: str) -> dict[str, int]:
    sizes: dict[str, list[int]] = {}
    used: dict[str, int] = {}
    for job in jobs:
        folder = job.outputs[0].rpartition("/")[0]
        files = (
            disk.folder(folder) if job.rule in _OWN_FOLDER else {output: disk.file(output) for output in job.outputs}
        )
        if held := {name: file.size for name, file in files.items() if file}:
            sizes.setdefault(job.rule, []).append(sum(held.values()))
            kept = disk.folder(f"{folder}/{FROZEN}") if job.rule in _MODELS else {}
            used.update({f"{folder}/{FROZEN}/{name}": file.size for name, file in kept.items()})
            used.update({f"{folder}/{name}" if job.rule in _OWN_FOLDER else name: size for name, size in held.items()})
    coming = Counter[str]()
    for job in todo:
        if not disk.file(job.outputs[0]):
            # Checkpoints of a model differ by what of it was trained, so the catalogue's size stands for each.
            need = needs.need(job.rule, job.wildcards)
            measured = sizes.get(job.rule)
            coming[job.rule] += (
                need.checkpoint_bytes
                or (sum(measured) // len(measured) if measured else 0)
                or (
                    4 * needs.parameters(job.wildcards["model"])
                    if job.rule == "fetch"
                    else _SMALL_BYTES.get(job.rule, 0)
                )
            )
    staying = {"all": _CHECKPOINTS, "intermediate": _CHECKPOINTS[:1], "none": ()}[keep]
    return {
        "used": sum(used.values()),
        "checkpoints": sum(coming[rule] for rule in _CHECKPOINTS),
        "checkpoints_staying": sum(coming[rule] for rule in staying),
        "rest": sum(size for rule, size in coming.items() if rule not in _CHECKPOINTS),
    }
