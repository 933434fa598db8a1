"""Who holds Snakemake's lock: runs that are gone, alive, elsewhere or without a name, on Snakemake's own persistence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from snakemake.persistence.file import FilePersistence

from stiltsweep import controllers
from stiltsweep import lock as locks
from stiltsweep.files import write_json
from stiltsweep.invocation import Invocation

AGAIN = Invocation("snakemake", "--cores 1 --configfile 'my sweep.yaml'")
UNLOCK = "snakemake --unlock --cores 1 --configfile 'my sweep.yaml'"


def persistence(folder: Path, outputs: list[str]) -> Any:
    """Snakemake's own, for a run that makes some files."""

    class Guarded(FilePersistence):  # type: ignore[misc] # Snakemake has no types
        """A class of its own, so that what is wrapped stays in this test."""

        def all_inputfiles(self) -> list[str]:
            return ["data"]

        def all_outputfiles(self) -> list[str]:
            return outputs

    controllers.guard(Guarded, AGAIN)
    return Guarded(path=folder / ".snakemake")


def left_behind(folder: Path, **record: Any) -> None:
    """A lock whose holder says of itself what `record` says."""
    one = persistence(folder, ["cell"])
    write_json(one.path / controllers.FOLDER / "1.json", {**locks.myself(), "locks": ["0.output.lock"], **record})
    (one.path / "locks" / "0.output.lock").write_text("cell\n")


def dead() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path, below: str) -> list[str]:
    return sorted(path.name for path in (folder / ".snakemake" / below).glob("*"))


def test_a_run_writes_its_name_beside_its_lock_and_takes_both_away(tmp_path: Path) -> None:
    with persistence(tmp_path, ["cell"]).lock():
        (record,) = [json.loads(p.read_text()) for p in (tmp_path / ".snakemake" / controllers.FOLDER).glob("*.json")]
        assert record["pid"] == os.getpid() and record["locks"] == ["0.input.lock", "0.output.lock"]
        assert names(tmp_path, "locks") == record["locks"]
        assert controllers.holders(tmp_path / ".snakemake") == [locks.who(record)]
    assert names(tmp_path, "locks") == names(tmp_path, controllers.FOLDER) == []
    assert controllers.holders(tmp_path / ".snakemake") is None


@pytest.mark.parametrize("reused", [False, True], ids=["no such process", "another process of that number"])
def test_the_lock_of_one_that_is_gone_is_taken_over(
    tmp_path: Path, reused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(tmp_path, **({"started": "1"} if reused else {"pid": dead()}))
    assert controllers.holders(tmp_path / ".snakemake") == []
    with persistence(tmp_path, ["cell"]).lock():
        assert len(names(tmp_path, controllers.FOLDER)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("The run of process ") and line.endswith(" is gone; its lock is taken over.")


REFUSED = [
    ("alive", {}, r"process \d+ on .* is making files here .* or end it with: kill "),
    ("on another host", {"machine": "other", "host": "node7"}, rf"on node7 .* nobody can tell .* type here: {UNLOCK}$"),
    ("in another container", {"machine": "x pid:[1]", "pid": 1}, rf"nobody can tell .* type here: {UNLOCK}$"),
    ("of a machine that says nothing of itself", {"machine": ""}, r"nobody can tell"),
    ("without a number", {"pid": None}, r"is making files here"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_the_lock_of_one_that_may_be_alive_is_not(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    left_behind(tmp_path, **record)
    with pytest.raises(SystemExit, match=message), persistence(tmp_path, ["cell"]).lock():
        pass
    assert names(tmp_path, "locks") == ["0.output.lock"]
    # What overlaps with nothing of theirs is nobody's business, as Snakemake has it.
    with persistence(tmp_path, ["another cell"]).lock():
        pass


@pytest.mark.parametrize("what", ["no record", "a record that is cut off", "a record that is a list"])
def test_a_lock_without_a_name_is_left(tmp_path: Path, what: str) -> None:
    left_behind(tmp_path)
    path = tmp_path / ".snakemake" / controllers.FOLDER / "1.json"
    if what == "no record":
        path.unlink()
    else:
        path.write_text('{"pid": 1' if "cut" in what else "[1]")
    with pytest.raises(SystemExit, match=UNLOCK), persistence(tmp_path, ["cell"]).lock():
        pass
    assert names(tmp_path, "locks") == ["0.output.lock"]


def test_of_two_runs_only_the_dead_ones_locks_go(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=dead())
    folder = tmp_path / ".snakemake"
    write_json(folder / controllers.FOLDER / "2.json", {**locks.myself(), "locks": ["1.output.lock"]})
    (folder / "locks" / "1.output.lock").write_text("other\n")
    with pytest.raises(SystemExit, match="is making files here"), persistence(tmp_path, ["other"]).lock():
        pass
    assert names(tmp_path, "locks") == ["1.output.lock"] and names(tmp_path, controllers.FOLDER) == ["2.json"]


def test_unlock_forgets_who_held_it(tmp_path: Path) -> None:
    left_behind(tmp_path, machine="other")
    persistence(tmp_path, ["cell"]).cleanup_locks()
    assert names(tmp_path, "locks") == names(tmp_path, controllers.FOLDER) == []
    with persistence(tmp_path, ["cell"]).lock():
        pass


def test_of_many_that_find_a_dead_ones_lock_one_takes_it(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=dead())
    together, done = threading.Barrier(6), threading.Event()
    outcomes: list[str] = []

    def run() -> None:
        one = persistence(tmp_path, ["cell"])
        together.wait()
        try:
            with one.lock():
                outcomes.append("held")
                done.wait(120)
        except SystemExit as error:
            outcomes.append(str(error))
        if len(outcomes) == 6:
            done.set()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("is making files" in outcome for outcome in outcomes) == [False] + [True] * 5


def test_a_failure_within_gives_everything_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), persistence(tmp_path, ["cell"]).lock():
        raise KeyboardInterrupt
    assert names(tmp_path, "locks") == names(tmp_path, controllers.FOLDER) == []


def test_a_machine_without_proc_is_told_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: what the kernel says of a process is asked of psutil."""
    began = f"{psutil.Process().create_time():.2f}"  # it is to be imported as on the machine that there is
    monkeypatch.setattr(sys, "platform", "darwin")
    opened = Path.read_text
    readlink = os.readlink

    def read_text(self: Path, *arguments: Any, **more: Any) -> str:
        if str(self).startswith("/proc"):
            raise FileNotFoundError(str(self))
        return opened(self, *arguments, **more)

    def no_link(path: Any, **more: Any) -> Any:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(str(path))
        return readlink(path, **more)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "readlink", no_link)
    me = locks.myself()
    assert me["machine"] and me["started"] == began and not locks.is_gone(me)
    assert locks.is_gone({**me, "pid": dead()}) and locks.is_gone({**me, "started": "12.00"})
