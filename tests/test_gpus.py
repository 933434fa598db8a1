"""Which GPU a job takes: no two jobs the same, however they end, and several where a card is shared."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stiltsweep.models import gpus

HOLD = """
import sys, time
from pathlib import Path
from stiltsweep.models.gpus import locked
names, _ = locked(Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4]))
print(",".join(names), flush=True)
time.sleep(60)
"""


class Job:
    """A process that holds GPUs."""

    def __init__(self, folder: Path, names: str, count: int = 1, share: int = 1) -> None:
        command = [sys.executable, "-c", HOLD, str(folder), names, str(count), str(share)]
        path = str(Path(__file__).parents[1] / "workflow")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )

    def has(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.end()


def test_jobs_side_by_side_take_different_ones_and_the_next_waits(tmp_path: Path, jobs: list[Job]) -> None:
    folder = tmp_path / "gpus"
    jobs += [Job(folder, "0,GPU-5f,2") for _ in range(3)]
    assert {job.has() for job in jobs} == {"0", "GPU-5f", "2"}
    late = Job(folder, "0,GPU-5f,2")
    jobs.append(late)
    time.sleep(1)
    assert late.process.poll() is None
    jobs[1].end()  # killed: its lock goes with it
    assert late.has() in ("0", "GPU-5f", "2")


def test_a_shared_card_takes_several_and_the_emptiest_comes_first(tmp_path: Path, jobs: list[Job]) -> None:
    folder = tmp_path / "gpus"
    found = []
    for _ in range(4):
        jobs.append(Job(folder, "0,1", share=2))
        found.append(jobs[-1].has())
    assert sorted(found[:2]) == ["0", "1"] and sorted(found) == ["0", "0", "1", "1"]
    # A training on two GPUs wants each to itself, and does not hold one while it waits for the other.
    several = Job(folder, "0,1", count=2, share=2)
    jobs.append(several)
    jobs[0].end()
    jobs[1].end()
    time.sleep(1)
    assert several.process.poll() is None
    one = Job(folder, "0,1", share=2)
    jobs.append(one)
    assert one.has() in ("0", "1")
    for job in (*jobs[2:4], one):
        job.end()
    assert several.has() == "0,1"


def test_what_a_job_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(gpus.DEVICE, raising=False)
    # As many as it asked for: a cluster has chosen them.
    monkeypatch.setenv(gpus.VISIBLE, "2,7")
    gpus.take(2)
    assert os.environ[gpus.VISIBLE] == "2,7" and not list(tmp_path.iterdir())
    gpus.take(1)
    assert os.environ[gpus.VISIBLE] == "2"
    gpus.take(1)
    assert os.environ[gpus.VISIBLE] == "2"
    mode = (tmp_path / "stiltsweep-gpus").stat().st_mode & 0o7777
    assert mode == 0o1777
    # Another job of this machine, here another thread's open file, gets the other one.
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.extend(gpus.locked(tmp_path / "stiltsweep-gpus", ["2", "7"], 1, 1)[0])
    )
    thread.start()
    thread.join()
    assert found == ["7"]
    # On a CPU, by choice, nothing is taken.
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setenv(gpus.VISIBLE, "2,7")
    monkeypatch.setenv(gpus.DEVICE, "cpu")
    gpus.take(1)
    assert os.environ[gpus.VISIBLE] == "2,7"
