"""Snakemake as a command, for tests: started anew, or forked off a process that has imported it once.

A start of Snakemake is mostly its imports, pandas' and SQLAlchemy's among them. So the first call of a test process
starts a server that has imported Snakemake and nothing of this project, and every call is a fork of it, with its own
arguments, folder, environment and pipes, which ends as an interpreter ends. What a process would find anew is renewed in
the child: the folder it began in, the place of temporary files. Tests of signals, of process groups and of start-up
itself start real processes (`command`).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SNAKEFILE = ROOT / "Snakefile"


class Ended(NamedTuple):
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    """The processor's, of it and of the children it has waited for."""

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr


def command(*arguments: str, cores: int | None = 2, snakefile: Path | None = SNAKEFILE) -> list[str]:
    """Return the command line that starts Snakemake in a process of its own; what is None is not said."""
    named = [] if snakefile is None else ["--snakefile", str(snakefile)]
    counted = [] if cores is None else ["--cores", str(cores)]
    return [sys.executable, "-m", "snakemake", *named, *counted, *arguments]


def snakemake(
    folder: Path,
    *arguments: str,
    check: bool = True,
    cores: int | None = 2,
    snakefile: Path | None = SNAKEFILE,
    environment: Mapping[str, str] | None = None,
    shared: bool = False,
) -> Ended:
    """Run Snakemake in a folder, on this project's Snakefile unless told otherwise (None: the folder's own).

    `environment` is added to that of the tests. With `check` it has to end well; else the end of the last logs is shown.
    `shared`: jobs are forks of one warm process for all such calls, where each run would start one of its own.
    """
    # Python itself reads these, once.
    assert not any(name.startswith("PYTHON") for name in environment or ())
    words = command(*arguments, cores=cores, snakefile=snakefile)[3:]
    warmed = {"STILTSWEEP_WARM": warm_socket()} if shared else {}
    ended = _server().run(folder, words, {**os.environ, **warmed, **(environment or {})})
    assert not check or ended.returncode == 0, ended.text[-12_000:] + last_logs(folder)
    return ended


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def last_logs(folder: Path) -> str:
    """Return the ends of the logs that a sweep has written last."""
    logs = sorted((folder / "results" / "logs").rglob("*.log"), key=lambda path: path.stat().st_mtime)
    return "".join(f"\n--- {path}\n{path.read_text()[-1500:]}" for path in logs[-2:])


class _Server:
    """The process that forks, as the tests see it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._answers = self._socket.makefile("r")

    def run(self, folder: Path, arguments: list[str], environment: dict[str, str]) -> Ended:
        pipes = [os.pipe(), os.pipe()]
        asked = json.dumps({"folder": str(folder.absolute()), "arguments": arguments, "environment": environment})
        message = asked.encode("utf-8", "surrogateescape")
        socket.send_fds(self._socket, [len(message).to_bytes(4, "big")], [writing for _, writing in pipes])
        self._socket.sendall(message)
        texts = ["", ""]

        def read(number: int) -> None:
            with open(pipes[number][0], encoding="utf-8", errors="replace") as stream:
                texts[number] = stream.read()

        # To the end of both pipes, as with subprocess.run: until whatever it has started is gone as well.
        threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
        for (_, writing), thread in zip(pipes, threads, strict=True):
            os.close(writing)
            thread.start()
        answer = self._answers.readline()
        assert answer, "the process that forks Snakemake is gone"
        for thread in threads:
            thread.join()
        status, seconds = json.loads(answer)
        return Ended(status, texts[0], texts[1], seconds)


_servers: dict[int, _Server] = {}
"""Of this process alone: one that it forks starts its own."""


_sockets: dict[int, str] = {}


def warm_socket() -> str:
    """Return the socket of a warm process that lives as long as the tests, as `onstart` in Snakefile starts it."""
    from stiltsweep import warm

    if os.getpid() not in _sockets:
        before = os.environ.pop(warm.VARIABLE, None)
        warm.start()
        _sockets[os.getpid()] = os.environ.pop(warm.VARIABLE)
        if before is not None:
            os.environ[warm.VARIABLE] = before
        until(Path(_sockets[os.getpid()]).exists)
    return _sockets[os.getpid()]


def _server() -> _Server:
    if os.getpid() not in _servers:
        _servers[os.getpid()] = _Server()
    return _servers[os.getpid()]


def _serve(connection: socket.socket) -> None:
    """Fork for every question until the tests are gone; returns in the child, which is to be the command."""
    while True:
        size, pipes, _, _ = socket.recv_fds(connection, 4, 2)
        if len(size) < 4:
            break
        message = b""
        while len(message) < int.from_bytes(size, "big"):
            message += connection.recv(1 << 20)
        child = os.fork()
        if child == 0:
            for target, pipe in enumerate(pipes, start=1):
                os.dup2(pipe, target)
                os.close(pipe)
            connection.close()
            _become(json.loads(message.decode("utf-8", "surrogateescape")))
            return
        for pipe in pipes:
            os.close(pipe)
        _, status, used = os.wait4(child, 0)
        answer = [os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime]
        connection.sendall(f"{json.dumps(answer)}\n".encode())
    os._exit(0)


def _become(asked: dict[str, object]) -> None:
    """Be as `python -m snakemake` is when its imports are done."""
    from snakemake.workflow import Workflow

    folder, arguments, environment = asked["folder"], asked["arguments"], asked["environment"]
    assert isinstance(folder, str) and isinstance(arguments, list) and isinstance(environment, dict)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    # The one thing that Snakemake looks up when it is imported (9.27.1).
    Workflow._rundir = folder
    sys.path[0] = folder
    sys.argv = ["snakemake", *arguments]


# What `snakemake` imports until it ends, also where its own modules are imported late.
_IMPORTS = (
    *(
        "snakemake.cli",
        "snakemake.dag",
        "snakemake.executors.dryrun",
        "snakemake.executors.local",
        "snakemake.profiles",
    ),
    *("snakemake.persistence.file", "snakemake.report", "snakemake.storage", "snakemake.assets", "smart_open", "yte"),
    *(
        "snakemake_executor_plugin_slurm",
        "docutils.core",
        "docutils.parsers.rst",
        "docutils.writers.html4css1",
        "regex",
    ),
    *("PIL.Image", "jsonschema", "referencing.jsonschema", "rich.progress", "pygments.lexers", "pygments.formatters"),
)


def _main() -> None:
    for name in _IMPORTS:
        importlib.import_module(name)
    assert threading.active_count() == 1 and not any(name.partition(".")[0] == "stiltsweep" for name in sys.modules)
    gc.collect()
    gc.freeze()
    connection = socket.socket(fileno=int(sys.argv[1]))
    with suppress(KeyboardInterrupt):
        _serve(connection)
        runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
