"""Where every job stands: what Snakemake would run again and why, what failed, what goes on from where."""

from __future__ import annotations

import enum
import re
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import lock
from ..layout import FAILURES
from .disk import Disk, Records, same_content
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
        """Whether Snakemake would run it."""
        return self.state not in (State.DONE, State.REMOVED)


def survey(
    jobs: Sequence[Job],
    disk: Disk,
    records: Records,
    failed: Mapping[str, Reason] = MappingProxyType({}),
    now: float | None = None,
    torn: Collection[str] = (),
) -> dict[Job, Status]:
    """Return where every job stands.

    Args:
      jobs: those of `graph.jobs`, in its order.
      disk: the files.
      records: Snakemake's.
      failed: outputs of jobs that are known to have failed, and why; others are seen to have by the error in their log.
      now: seconds since 1970.
      torn: outputs of which a part is gone.
    """
    records.read(job.outputs[0] for job in jobs)
    reasons = _to_run(jobs, disk, records, torn)
    now = time.time() if now is None else now
    return {
        job: _status(job, reasons.get(job), disk, records, now, failed.get(job.outputs[0] if job.outputs else ""))
        for job in jobs
    }


def _to_run(jobs: Sequence[Job], disk: Disk, records: Records, torn: Collection[str]) -> dict[Job, str]:
    """Return the jobs Snakemake would run, each with the reason; empty where an output is not there.

    As Snakemake does it: a job runs for its own sake if something it uses changed; then so does every job that reads
    what it makes, and every job that makes something it reads which is not there.
    """
    oldest = _oldest_outputs(jobs, disk)
    reasons: dict[Job, str] = {}
    for job in jobs:
        own = _own_reason(job, disk, records, oldest[job])
        if own is None and not set(torn).isdisjoint(job.outputs):
            own = "a part of it is gone"
        if own is not None:
            reasons[job] = own
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


def _oldest_outputs(jobs: Sequence[Job], disk: Disk) -> dict[Job, float | None]:
    """Return when the oldest output of every job was made; of a job without, the one of a job that reads it."""
    found: dict[Job, float | None] = {}
    for job in reversed(jobs):
        times = [file.changed for output in job.outputs if (file := disk.file(output))]
        inherited = (time for user in job.users if (time := found[user]) is not None)
        found[job] = min(times) if times else next(inherited, None)
    return found


def _own_reason(job: Job, disk: Disk, records: Records, oldest: float | None) -> str | None:
    """Return why a job runs for its own sake, empty where what is asked for is not there, None if it does not."""
    if (job.wanted or not job.users) and not all(disk.file(output) for output in job.outputs):
        return ""
    if any(records.begun(output) is not None for output in job.outputs):
        return ""
    record = records.of(job.outputs[0])
    if oldest is not None:
        for path in job.inputs:
            file = disk.file(path)
            if file and file.changed > oldest and not same_content(path, file, record):
                return f"{path} is newer"
    if not record:
        return None
    if changed := _changed_params(job, record):
        return changed
    if record.get("input") is not None and record["input"] != sorted(job.inputs):
        return _changed_inputs(record["input"], job.inputs)
    if record.get("code") is not None and record["code"] != job.code:
        return "its command changed"
    return None


def _changed_params(job: Job, record: Mapping[str, Any]) -> str | None:
    recorded = record.get("params")
    if recorded is None or set(recorded) == job.params:
        return None
    return f"its settings changed{_difference(set(recorded) - job.params, job.params - set(recorded))}"


def _difference(old: AbstractSet[str], new: AbstractSet[str]) -> str:
    """Name the settings that differ between two texts of arguments, if they can be told apart."""
    keys = re.compile(r'"(\w+)":("[^"]*"|[^,{}\[\]]+|\[[^\]]*\])')
    before, after = ({m for text in texts for m in keys.findall(text)} for texts in (old, new))
    names = sorted({name for name, _ in before ^ after})
    return f": {', '.join(names[:4])}" if names else ""


def _changed_inputs(recorded: Sequence[str], inputs: Sequence[str]) -> str:
    more, fewer = sorted(set(inputs) - set(recorded)), sorted(set(recorded) - set(inputs))
    parts = [
        f"{len(paths)} inputs {what}, such as {paths[0]}" for paths, what in ((more, "more"), (fewer, "fewer")) if paths
    ]
    return "; ".join(parts) or "its inputs changed"


def _status(job: Job, reason: str | None, disk: Disk, records: Records, now: float, failed: Reason | None) -> Status:
    there = all(disk.file(output) for output in job.outputs)
    if reason is None:
        return Status(State.DONE if there else State.REMOVED)
    began = next((t for output in job.outputs if (t := records.begun(output)) is not None), None)
    resumes = _resumes_at(job, disk)
    run_began = records.locked_since
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
    updates = [int(found[1]) for name in disk.folder(f"{folder}/state") if (found := _STATE.fullmatch(name))]
    return f"update {max(updates)}" if updates else ""


_NOT_LANGUAGES = {"predictions.json", "timing.json", FAILURES}


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
    found = [line.strip() for line in lines if _ERROR.match(line)]
    return found[-1].removeprefix("error: ") if found else ""
