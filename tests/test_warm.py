"""The warm process: a handed-over script behaves as if it ran by itself, and dies with its caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "workflow"
SCRIPT = """
import os, sys, time
sys.path.insert(0, {library!r})
from stiltsweep import warm
warm.hand_over()
import signal
print(os.getcwd(), sys.argv[1:], os.environ["SEEN"], sorted({{"torch", "transformers"}} & set(sys.modules)), flush=True)
print("to stderr", file=sys.stderr, flush=True)
if sys.argv[1] == "fail":
    raise ValueError("on purpose")
if sys.argv[1] == "exit":
    sys.exit(7)
if sys.argv[1] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    open(sys.argv[2], "w").write(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("warm")
    path = folder / "script.py"
    path.write_text(SCRIPT.format(library=str(LIBRARY)))
    starter = (
        f"import sys; sys.path.insert(0, {str(LIBRARY)!r})\n"
        "import os; from stiltsweep import warm\n"
        "warm.start(); print(os.environ[warm.VARIABLE], flush=True); sys.stdin.read()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "STILTSWEEP_WARM"}
    parent = subprocess.Popen(
        [sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    socket = parent.stdout.readline().strip()
    deadline = time.monotonic() + 120
    while not Path(socket).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    yield path, {**environment, "STILTSWEEP_WARM": socket, "SEEN": "yes"}
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 120
    while Path(socket).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(socket).exists()  # it is gone with the process that started it


def run(script: tuple[Path, dict[str, str]], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path, environment = script
    return subprocess.run(
        [sys.executable, str(path), *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


def test_arguments_folder_environment_and_output_are_the_callers(
    script: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    found = run(script, "a b", "c", cwd=tmp_path)
    assert found.returncode == 0
    assert found.stdout == f"{tmp_path} ['a b', 'c'] yes ['torch', 'transformers']\n"
    assert found.stderr == "to stderr\n"


def test_status_and_traceback_come_back(script: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    assert run(script, "exit", cwd=tmp_path).returncode == 7
    failed = run(script, "fail", cwd=tmp_path)
    assert failed.returncode == 1
    assert "ValueError: on purpose" in failed.stderr


def started(script: tuple[Path, dict[str, str]], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    path, environment = script
    marker = folder / "pid"
    process = subprocess.Popen(
        [sys.executable, str(path), "wait", str(marker)],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process, int(marker.read_text())


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_a_signal_reaches_the_job(script: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    process, job = started(script, tmp_path)
    assert job != process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 3
    assert gone(job)


def test_killing_the_script_kills_the_job(script: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    process, job = started(script, tmp_path)
    process.kill()
    process.wait()
    assert gone(job)


def test_a_killed_job_is_a_failed_script(script: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    process, job = started(script, tmp_path)
    os.kill(job, signal.SIGKILL)
    assert process.wait(10) == 137


def test_without_a_warm_process_a_script_simply_runs(script: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    path, environment = script
    for socket in ("off", str(tmp_path / "none")):
        found = run((path, {**environment, "STILTSWEEP_WARM": socket}), "x", cwd=tmp_path)
        assert found.stdout == f"{tmp_path} ['x'] yes []\n"
