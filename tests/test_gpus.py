"""Which GPU a job takes: no two jobs the same, however they end, and several where a card is shared."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stiltsweep.errors import UserError
from stiltsweep.models import gpus
from stiltsweep.models.device import DEVICE

HOLD = """
import sys, time
from pathlib import Path
from stiltsweep.models.gpus import locked
names, _ = locked(Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4]))
print(",".join(names), flush=True)
time.sleep(600)
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


def test_a_card_that_is_taken_whole_is_shared_with_no_other_sweep(tmp_path: Path) -> None:
    folder, names = tmp_path / "gpus", ["0", "1"]
    chosen, files = gpus.locked(folder, names, 1, 1)
    assert chosen == ["0"]
    shared = [gpus.locked(folder, names, 1, 4) for _ in range(4)]
    assert [found for found, _ in shared] == [["1"]] * 4
    # Neither is free: the one is whole another's, the other has no place, and is nobody's as a whole.
    assert not any(gpus._place(folder, name, place) for name in names for place in (None, 0, 3))
    for file in files:
        os.close(file)
    assert gpus._place(folder, "0", None) and not gpus._place(folder, "1", None)
    for file in [file for _, held in shared for file in held]:
        os.close(file)
    assert gpus._place(folder, "1", None) and not gpus._place(folder, "0", 0)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0, 1 ,2", ["0", "1"]), ("MIG-GPU-5f/1/0,MIG-GPU-5f/2/0", ["MIG-GPU-5f/1/0", "MIG-GPU-5f/2/0"])],
)
def test_names_as_cuda_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(DEVICE, raising=False)
    for number in (0, 1):
        monkeypatch.setattr(gpus, "_held", [])
        monkeypatch.setenv(gpus.VISIBLE, visible)
        gpus.take(1)
        assert os.environ[gpus.VISIBLE] == expected[number]
    # With spaces or without, they are the same cards.
    assert {path.name for path in (tmp_path / "stiltsweep-gpus").iterdir()} == {
        name.replace("/", "-") for name in expected
    }


def test_locks_are_for_all_users_and_where_there_are_none_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    before = os.umask(0o077)
    try:
        gpus.locked(tmp_path / "gpus", ["0"], 1, 2)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "gpus").iterdir()} == {0o644}
    opened = os.open

    def closed(path: Any, flags: int, mode: int = 0o777) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(UserError, match="gpus/0: locks of GPUs cannot be had there.*Permission denied.*DEVICES=0 "):
        gpus.locked(tmp_path / "gpus", ["0", "1"], 1, 1)
    monkeypatch.setattr(os, "open", opened)

    def no_locks(file: int, how: int) -> None:
        raise OSError(9, "Bad file descriptor")  # NFS, for a file that is open for reading

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UserError, match="Bad file descriptor"):
        gpus.locked(tmp_path / "gpus", ["0", "1"], 2, 1)


def test_what_a_job_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(DEVICE, raising=False)
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
    monkeypatch.setenv(DEVICE, "cpu")
    gpus.take(1)
    assert os.environ[gpus.VISIBLE] == "2,7"
