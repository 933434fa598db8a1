"""The lock: one holder at a time, waiters that notice when it is gone, whatever the clocks say."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import running

from stiltsweep import lock as locks
from stiltsweep.files import write_text
from stiltsweep.lock import Lost, holder, lock

WORKFLOW = Path(__file__).parents[1] / "workflow"
HOLD = """
import sys, time
from pathlib import Path
from stiltsweep.lock import lock
with lock(Path(sys.argv[1]), beat=0.1, stale=float(sys.argv[2])) as held:
    print("held", held.waited, flush=True)
    sys.stdin.readline()
    held.check()
print("released", flush=True)
"""


def hold(folder: Path, stale: float = 60.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(stale)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


until = functools.partial(running.until, seconds=120)


def elsewhere(folder: Path, number: int = 1, **more: Any) -> Path:
    """Write the lock file of a process on another machine."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"lock-{number:08d}"
    record = {"host": "node7", "machine": "another boot", "pid": 1, "started": "1", "slurm_job": "815", "since": "then"}
    path.write_text(json.dumps({**record, "beat": 0, **more}))
    return path


def test_nothing_is_left_of_a_lock(tmp_path: Path) -> None:
    with lock(tmp_path / "state") as held:
        assert not held.waited
        about = holder(tmp_path / "state")
        assert about and about["pid"] == os.getpid()
    assert not (tmp_path / "state").exists()
    assert holder(tmp_path / "state") is None


def test_files_of_the_holder_stay_and_the_next_number_is_higher(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with lock(folder):
        (folder / "00000001.json").write_text("{}")
    assert holder(folder) is None
    with lock(folder) as held:
        assert not held.waited
        assert [path.name for path in sorted(folder.glob(locks.LOCKS))] == ["lock-00000002"]


def test_the_second_process_waits_for_the_first(tmp_path: Path) -> None:
    first = hold(tmp_path / "state")
    assert says(first) == "held False"
    second = hold(tmp_path / "state")
    time.sleep(1.0)
    assert holder(tmp_path / "state")["pid"] == first.pid  # type: ignore[index]
    first.communicate("\n")
    assert says(second) == "held True"
    second.communicate("\n")
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_killed_holder_on_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    first = hold(tmp_path / "state")
    assert says(first) == "held False"
    second = hold(tmp_path / "state", stale=1e6)
    time.sleep(0.5)
    first.kill()
    first.wait()
    assert says(second) == "held True"
    second.communicate("\n")
    assert second.returncode == 0


def test_a_silent_holder_elsewhere_is_replaced_after_the_stale_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere(tmp_path)
    began = time.monotonic()
    with caplog.at_level("INFO"), lock(tmp_path, beat=0.05, stale=0.6) as held:
        assert 0.6 <= time.monotonic() - began < locks.STALE_SECONDS
        assert held.waited
    assert "process 1 on node7, SLURM job 815 (since then) is at it; waiting" in caplog.text
    assert "is gone; taking over" in caplog.text


def test_a_holder_elsewhere_that_gives_signs_of_life_is_left_alone(tmp_path: Path) -> None:
    path = elsewhere(tmp_path)
    stop = threading.Event()

    def live() -> None:
        beat = 0
        while not stop.wait(0.1):
            beat += 1
            elsewhere(tmp_path, beat=beat)

    thread = threading.Thread(target=live)
    thread.start()
    taken: list[float] = []
    began = time.monotonic()

    def take() -> None:
        with lock(tmp_path, beat=0.05, stale=0.5):
            taken.append(time.monotonic() - began)

    waiter = threading.Thread(target=take)
    waiter.start()
    time.sleep(1.5)
    assert not taken and path.exists()
    stop.set()
    thread.join()
    waiter.join()
    assert taken[0] > 1.5


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats are compared for change on the waiter's monotonic clock; no wall clock is looked at."""
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    path = elsewhere(tmp_path)
    os.utime(path, (clock() + jump, clock() + jump))
    began = time.monotonic()
    with lock(tmp_path, beat=0.05, stale=0.6):
        assert 0.6 <= time.monotonic() - began < locks.STALE_SECONDS


def test_a_folder_that_goes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that is done removes the folder between another one's making it and its reading it."""
    real, gone = Path.glob, list[Any]()

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        if not gone:
            gone.append(self)
            self.rmdir()
            raise FileNotFoundError(self)
        return real(self, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    with lock(tmp_path / "job") as held:
        held.check()
    assert gone == [tmp_path / "job"]


def test_of_many_that_take_over_one_wins_and_all_have_their_turn(tmp_path: Path) -> None:
    elsewhere(tmp_path)
    inside: list[int] = []
    most: list[int] = []

    def take(number: int) -> None:
        with lock(tmp_path, beat=0.02, stale=0.3) as held:
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            held.check()
            inside.remove(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_holder_that_was_paused_too_long_stops(tmp_path: Path) -> None:
    """Paused (a suspended machine), taken over, woken up: it sees that before it writes."""
    first = hold(tmp_path / "state")
    assert says(first) == "held False"
    os.kill(first.pid, signal.SIGSTOP)
    second = hold(tmp_path / "state", stale=0.5)
    assert says(second) == "held True"
    os.kill(first.pid, signal.SIGCONT)
    _, text = first.communicate("\n")
    assert first.returncode == 1
    assert f"process {second.pid} on" in text and "has taken this job over" in text
    second.communicate("\n")
    assert second.returncode == 0


def test_a_full_disk_does_not_make_a_holder_look_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    with lock(tmp_path, beat=0.05):
        monkeypatch.setattr(locks, "write_text", full)
        path = tmp_path / "lock-00000001"
        before = path.stat().st_mtime_ns
        until(lambda: path.stat().st_mtime_ns != before)
        monkeypatch.setattr(locks, "write_text", write_text)


def test_a_reused_number_of_a_process_is_another_process(tmp_path: Path) -> None:
    with lock(tmp_path / "own"):
        record = holder(tmp_path / "own")
    assert record
    elsewhere(tmp_path, **{**record, "started": "0"})
    with lock(tmp_path, stale=1e6) as held:
        assert not held.waited


def test_a_lock_file_that_says_nothing_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "lock-00000004").write_text("")
    with lock(tmp_path, beat=0.05, stale=0.3):
        assert (tmp_path / "lock-00000005").exists()


def test_a_lock_taken_over_is_not_given_back_by_its_first_holder(tmp_path: Path) -> None:
    with pytest.raises(Lost), lock(tmp_path) as held:
        path = elsewhere(tmp_path, 2)
        held.check()
    assert json.loads(path.read_text())["host"] == "node7"
