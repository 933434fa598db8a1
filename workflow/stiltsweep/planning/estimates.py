"""What jobs will take: from what this sweep's own jobs took, and before there are any from the models' sizes."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..resources import STARTUP_SECONDS, Needs
from .disk import Disk, read_object
from .graph import Job

SECONDS = {
    "prepare": 1.5,
    "fetch": 15.0,
    "evaluate": 0.2,
    "significance": 5.0,
    "lift": 3.0,
    "describe": 1.0,
    "report": 5.0,
}
"""Rough time of jobs without a model, before any has run; as the default sweep took on two busy cores."""
LOCAL_STARTUP_SECONDS = 2.0
"""Before the first update of a job that runs here, where it is forked from a process that holds torch (see `warm`)."""
_UNKNOWN_SECONDS = 5.0


@dataclass(frozen=True)
class Estimate:
    """What one job takes."""

    seconds: float
    source: str
    """`benchmark` (this very job's), `alike` (others of its rule), `size` (of model and data) or `guess`."""


class Estimates:
    """Estimates for the jobs of a sweep."""

    def __init__(
        self,
        jobs: Sequence[Job],
        needs: Needs,
        disk: Disk,
        flops_per_second: float,
        *,
        remote: bool = False,
    ) -> None:
        """Read what jobs took so far.

        Args:
          jobs: all of them.
          needs: what they compute.
          disk: where benchmarks and timings lie.
          flops_per_second: of one device, where nothing was measured.
          remote: whether training and prediction run on a cluster, where starting takes longer.
        """
        self._startup = STARTUP_SECONDS if remote else LOCAL_STARTUP_SECONDS
        self._needs = needs
        self._speed = flops_per_second
        self.measured: dict[Job, float] = {}
        for job in jobs:
            if (seconds := _measured(job, disk)) is not None:
                self.measured[job] = seconds
        # From the closest relatives to the farthest: (seconds, work) of each.
        self._alike: list[dict[tuple[str, ...], list[tuple[float, float]]]] = [defaultdict(list) for _ in _RELATIVES]
        for job, seconds in self.measured.items():
            for level, names in zip(self._alike, _RELATIVES, strict=True):
                level[_key(job, names)].append((seconds, self._work(job)))

    def of(self, job: Job) -> Estimate:
        """Return the estimate of one job."""
        if job in self.measured:
            return Estimate(self.measured[job], "benchmark")
        work = self._work(job)
        for level, names in zip(self._alike, _RELATIVES, strict=True):
            if relatives := level.get(_key(job, names)):
                seconds = fmean(time for time, _ in relatives)
                computed = fmean(operations for _, operations in relatives)
                return Estimate(seconds * (work / computed if computed else 1.0), "alike")
        if work:
            return Estimate(self._startup + work / self._speed, "size")
        return Estimate(SECONDS.get(job.rule, _UNKNOWN_SECONDS), "guess")

    def _work(self, job: Job) -> float:
        return self._needs.need(job.rule, job.wildcards).flops


_RELATIVES = (
    ("model", "task", "target", "training", "intermediate"),
    ("model", "task", "target", "training"),
    ("model",),
    (),
)
"""Wildcards in which relatives agree, besides the rule."""


def _key(job: Job, names: Iterable[str]) -> tuple[str, ...]:
    return (job.rule, *(job.wildcards.get(name, "") for name in names))


def _measured(job: Job, disk: Disk) -> float | None:
    """Return how long a job took; None if that is not known.

    Snakemake's benchmark is the last try's; the job's own timing is that of all tries but without its start.
    """
    seconds = []
    if job.benchmark and disk.file(job.benchmark):
        seconds.append(_number(read_object(job.benchmark, last_line=True), "s"))
    folder = job.outputs[0].rpartition("/")[0]
    if job.gpu and disk.file(f"{folder}/timing.json"):
        timing = read_object(f"{folder}/timing.json")
        # A prediction may have had a few languages left to do.
        share = len([p for p in job.inputs if p.endswith(".parquet")]) / (_number(timing, "languages") or 1)
        seconds.append((_number(timing, "seconds") or 0.0) * (share if job.rule == "predict" else 1.0))
    return max((one for one in seconds if one), default=None)


def _number(value: Mapping[str, Any], key: str) -> float | None:
    number = value.get(key)
    return float(number) if isinstance(number, int | float) else None


def wall_seconds(
    todo: Sequence[Job], seconds: Mapping[Job, float], cores: int, gpus: int | None, remote: bool
) -> float:
    """Return how long jobs take together, by letting them run: each as soon as it can, the longest way ahead first.

    Args:
      todo: the jobs to run, in the order of `graph.jobs`.
      seconds: time of each.
      cores: jobs that run at once here.
      gpus: jobs with a GPU that run at once, None for no limit of their own.
      remote: whether jobs that are not local run elsewhere, so that they take none of the cores here.
    """
    place = {job: n for n, job in enumerate(todo)}
    ahead: dict[Job, float] = {}
    for job in reversed(todo):
        ahead[job] = seconds[job] + max((ahead[user] for user in job.users if user in place), default=0.0)
    waiting = {job: sum(maker in place for maker in job.needs) for job in todo}
    free = {"core": max(1, cores), "gpu": len(todo) if gpus is None else max(1, gpus)}
    ready: dict[bool, list[tuple[float, int, Job]]] = {True: [], False: []}

    def enqueue(job: Job) -> None:
        heapq.heappush(ready[job.gpu], (-ahead[job], place[job], job))

    for job, count in waiting.items():
        if not count:
            enqueue(job)
    running: list[tuple[float, int, Job]] = []
    now = 0.0
    while running or ready[True] or ready[False]:
        for queue in ready.values():
            while queue and all(free[kind] for kind in _takes(queue[0][2], remote)):
                job = heapq.heappop(queue)[2]
                for kind in _takes(job, remote):
                    free[kind] -= 1
                heapq.heappush(running, (now + seconds[job], place[job], job))
        now, _, job = heapq.heappop(running)
        for kind in _takes(job, remote):
            free[kind] += 1
        for user in job.users:
            if user in place:
                waiting[user] -= 1
                if not waiting[user]:
                    enqueue(user)
    return now


def _takes(job: Job, remote: bool) -> list[str]:
    return (["gpu"] if job.gpu else []) + (["core"] if job.local or not remote else [])
