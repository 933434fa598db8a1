"""Where every job stands: what is to run and why, what failed, what goes on from where."""

from __future__ import annotations

import enum
import re
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from .. import lock
from .disk import Disk, Marks
from .expected import ALWAYS, Expected
from .graph import Job
from .reasons import Reason

_STATE = re.compile(r"(\d{8})\.json")
"""Files of training/state.py: the number of updates done."""
_ERROR = re.compile(r"(error: .*|[\w.]*(?:Error|Exception|Interrupted)\b.*)")


class State(enum.StrEnum):
    """What a job is; the words are those of plan and status."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Begun and not ended, and nobody is at work on it."""
    STALE = "stale"
    """There, and to be made again."""
    MISSING = "missing"
    REMOVED = "removed"
    """Not there, and not needed: everything made from it is."""


@dataclass
class Status:
    """Where one job stands."""

    state: State
    reason: str = ""
    """Of a stale job: what changed."""
    error: str = ""
    """Of a failed job: the first line of its error."""
    resumes_at: str = ""
    """Where it goes on, for example 'update 1200'."""
    worker: str = ""
    """Of a running job: host and job or process."""

    @property
    def to_do(self) -> bool:
        """Whether it is to run."""
        return self.state not in (State.DONE, State.REMOVED)


def survey(
    jobs: Sequence[Job],
    expected: Expected,
    disk: Disk,
    marks: Marks,
    failed: Mapping[str, Reason] = MappingProxyType({}),
    now: float | None = None,
) -> dict[Job, Status]:
    """Return where every job stands.

    Args:
      jobs: those of `graph.jobs`, in its order.
      expected: what their results are to be made from.
      disk: the files.
      marks: Snakemake's, of jobs under way.
      failed: outputs of jobs that are known to have failed, and why; others are seen to have by the error in their log.
      now: seconds since 1970.
    """
    reasons = to_run(jobs, expected, disk)
    now = time.time() if now is None else now
    return {
        job: _status(job, reasons.get(job), disk, marks, now, failed.get(job.outputs[0] if job.outputs else ""))
        for job in jobs
    }


def to_run(jobs: Sequence[Job], expected: Expected, disk: Disk, forced: Collection[Job] = ()) -> dict[Job, str]:
    """Return the jobs that are to run, each with the reason; empty where an output is not there.

    A job runs if what lies there is not what is asked for (see `Expected.reason`), or if it is not there and somebody
    reads it. So does every job that reads what such a job makes, since what that will be is not known before; it then
    finds its own result fitting, or makes it again. And so does every job that makes what another one needs and lacks.
    """
    reasons: dict[Job, str] = {}
    for job in jobs:
        makers = [maker for maker in job.needs if maker in reasons]
        if job in forced:
            reasons[job] = "asked for"
        elif makers:
            reasons[job] = f"{makers[0].rule} runs before it"
        elif not all(disk.file(output) for output in job.outputs):
            if job.rule in ALWAYS or job.wanted or not job.users:
                reasons[job] = ""
        elif (reason := expected.reason(job)) is not None:
            reasons[job] = reason
    # Whatever a job lacks is made, and with it runs what else is made from that.
    queue = deque(reasons)
    while queue:
        job = queue.popleft()
        for maker, paths in job.needs.items():
            if maker not in reasons and not all(disk.file(path) for path in paths):
                reasons[maker] = ""
                queue.append(maker)
        for user in job.users:
            if user not in reasons:
                reasons[user] = f"{job.rule} runs before it"
                queue.append(user)
    return reasons


def _status(job: Job, reason: str | None, disk: Disk, marks: Marks, now: float, failed: Reason | None) -> Status:
    there = all(disk.file(output) for output in job.outputs)
    if reason is None:
        return Status(State.DONE if there else State.REMOVED)
    began = next((t for output in job.outputs if (t := marks.begun(output)) is not None), None)
    resumes = _resumes_at(job, disk)
    run_began = marks.locked_since
    worker = _worker(job, disk, now)
    if worker and worker.alive:
        left = "" if run_began is not None and worker.began >= run_began else ", left by an earlier run"
        return Status(State.RUNNING, resumes_at=resumes, worker=worker.name + left)
    if began is not None and not worker and run_began is not None and began >= run_began:
        return Status(State.RUNNING, resumes_at=resumes)
    if began is not None or (worker and not there):
        return Status(State.INTERRUPTED, resumes_at=resumes, worker=worker.name if worker else "")
    if there:
        return Status(State.STALE, reason=reason)
    error = first_error(job.log) if job.log and disk.file(job.log) else ""
    if failed is not None:
        error = failed.text if failed.certain or not error else error
    if error:
        return Status(State.FAILED, error=error, resumes_at=resumes)
    return Status(State.MISSING, resumes_at=resumes)


def _resumes_at(job: Job, disk: Disk) -> str:
    """Return where a job goes on: the last update whose state was saved, or the languages already predicted."""
    folder = job.outputs[0].rpartition("/")[0]
    if job.rule == "predict":
        made = [name for name in disk.folder(folder) if name.endswith(".json") and name not in _NOT_LANGUAGES]
        return f"{len(made)} languages predicted" if made else ""
    if not job.gpu:
        return ""
    states = disk.folder(f"{folder}/state")
    names = [name for run in states if not run.startswith("lock-") for name in disk.folder(f"{folder}/state/{run}")]
    updates = [int(state[1]) for name in names if (state := _STATE.fullmatch(name))]
    return f"update {max(updates)}" if updates else ""


_NOT_LANGUAGES = {"predictions.json", "timing.json"}


@dataclass(frozen=True)
class _Worker:
    """Who holds a job's folder."""

    name: str
    began: float
    alive: bool


def _worker(job: Job, disk: Disk, now: float) -> _Worker | None:
    """Return who is at work on a training or prediction, None if nobody ever said so or gave the folder back."""
    folder = f"{job.outputs[0].rpartition('/')[0]}/state"
    beats = [file.changed for name, file in disk.folder(folder).items() if name.startswith("lock-")] if job.gpu else []
    record = lock.holder(Path(folder)) if beats else None
    if record is None:
        return None
    alive = not lock.is_gone(record) and now - max(beats) < lock.STALE_SECONDS
    try:
        began = datetime.fromisoformat(record["since"]).timestamp()
    except (KeyError, ValueError):
        began = 0.0
    return _Worker(lock.who(record), began, alive)


def first_error(log: str) -> str:
    """Return the first line of the error in a job's log, empty if it holds none.

    A script's own sentence begins with "error:"; of a traceback it is the line that names the exception.
    """
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.strip() for line in lines if _ERROR.match(line)]
    return errors[-1].removeprefix("error: ") if errors else ""
