"""What the jobs behind the cells left beside their outputs: cost (timing.json), training records and model records.

These files are looked at where they exist; a report can be made without them, and then says that they are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import read_json, read_record
from ..layout import Cell, Layout
from ..planning.states import first_error
from .run import Run

STAGES = ("intermediate", "finetune", "predictions")
"""Places with one folder per job; in the order of the pipeline."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One training or prediction run."""

    stage: str
    model: str
    intermediate: str
    target: str
    """The target, for `finetune` the training (tasks joined by a plus sign); empty for an intermediate stage."""
    seed: int
    timing: Record
    """Seconds, tokens, memory and device; empty if not known."""
    checkpoint: Record
    """The training record; empty if not known, and for predictions."""


@dataclass(frozen=True)
class Cost:
    """What the jobs of one stage, intermediate and target cost, all seeds together."""

    stage: str
    model: str
    intermediate: str
    target: str
    runs: int
    """Runs whose cost is known."""
    seconds: float
    gpu_seconds: float
    """Of these, those on a GPU."""
    tokens: int
    peak_memory_mb: float | None
    devices: str

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.seconds else None


def read_jobs(run: Run, layout: Layout) -> list[Job]:
    """Read what the sweep's jobs left; jobs that left neither timing nor record are not in the list."""
    jobs = []
    for stage, model, intermediate, target, seed in _jobs(run):
        arm = {"model": model, "intermediate": intermediate}
        folder = Path(layout.path(stage, **arm, target=target, training=target, seed=seed)).parent
        timing, checkpoint = _read(folder / "timing.json", read_json), _read(folder / "checkpoint.json", read_record)
        if timing or checkpoint:
            jobs.append(Job(stage, model, intermediate, target, seed, timing, checkpoint))
    return jobs


def read_models(run: Run, layout: Layout) -> dict[str, Record]:
    """Read the records (model.json) of the models."""
    return {model: about for model in run.models if (about := _read(Path(layout.model(model)), read_record))}


def _jobs(run: Run) -> Iterator[tuple[str, str, str, str, int]]:
    trainings = dict.fromkeys(name for about in run.targets.values() for name in about["trainings"])
    for stage, names in zip(STAGES, ([""], trainings, run.targets), strict=True):
        for model in run.models:
            for intermediate in run.arms:
                for name in names:
                    for seed in run.seeds:
                        yield stage, model, intermediate, name, seed


def _read(path: Path, read: Callable[[Path], Record]) -> Record:
    return read(path) if path.exists() else {}


def costs(jobs: list[Job]) -> list[Cost]:
    """Add up the cost of the seeds of every stage, intermediate and target."""
    arms: dict[tuple[str, str, str, str], list[Record]] = {}
    for job in jobs:
        if job.timing:
            arms.setdefault((job.stage, job.model, job.intermediate, job.target), []).append(job.timing)
    return [
        Cost(
            *arm,
            runs=len(timings),
            seconds=sum(float(timing.get("seconds", 0)) for timing in timings),
            gpu_seconds=sum(float(timing["seconds"]) for timing in timings if timing.get("device", "cpu") != "cpu"),
            tokens=sum(int(timing.get("tokens", 0)) for timing in timings),
            peak_memory_mb=max((float(t["peak_memory_mb"]) for t in timings if t.get("peak_memory_mb")), default=None),
            devices=", ".join(sorted({_device(timing) for timing in timings} - {""})),
        )
        for arm, timings in arms.items()
    ]


def _device(timing: Record) -> str:
    return " ".join(str(timing[key]) for key in ("device", "precision") if timing.get(key))


def failure(run: Run, layout: Layout, cell: Cell) -> str:
    """Return why a cell is not there: the error in the log of the job nearest to it that failed, empty if none did."""
    trainings = reversed(run.targets[cell.target]["trainings"])
    jobs = [
        ("evaluate", layout.log("evaluate", **vars(cell))),
        ("predict", layout.log("predict", **vars(cell))),
        *(("finetune", layout.log("finetune", training=training, **vars(cell))) for training in trainings),
        ("intermediate", layout.log("intermediate", **vars(cell))),
    ]
    errors = ((rule, first_error(log)) for rule, log in jobs)
    return next((f"{rule} failed: {error}" for rule, error in errors if error), "")
