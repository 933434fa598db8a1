"""A warm process: it imports the heavy libraries once and forks itself for every job of a local run.

Importing torch and transformers takes longer than many jobs of a small sweep. So where Snakemake runs jobs on its own
machine, it starts one such process (`start`), and a script hands itself over (`hand_over`): the process forks, and the
child runs the script with the caller's arguments, folder, environment and open files. The child is the job: signals
sent to the script reach it, and it dies with the script, also by SIGKILL. Where there is no such process (a cluster
node, a terminal, STILTSWEEP_WARM=off), scripts simply run.

Forking is safe because the process never computes anything itself: it has one thread, and holds no locks.

A script that hands itself over costs what it imports until then, thousands of times in a sweep. So this module imports
next to nothing, and each function what it needs.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import FrameType

VARIABLE = "STILTSWEEP_WARM"
"""Path of the socket; `off` switches the whole thing off."""
_LARGEST = 1 << 20
_LONGEST = 90
"""Bytes of a socket's folder; its path may have 108 on Linux and 104 on macOS."""
_STREAMS = 3
"""Standard input, output and error."""


def start() -> None:
    """Start a warm process that lives as long as this one, and name its socket in the environment.

    Called by the Snakefile before the first job.
    """
    if os.environ.get(VARIABLE) or sys.platform == "win32":
        return
    import subprocess
    import tempfile
    from pathlib import Path

    folder = tempfile.mkdtemp(prefix="stiltsweep-")
    if len(os.fsencode(folder)) > _LONGEST:
        os.rmdir(folder)  # noqa: PTH106
        try:
            folder = tempfile.mkdtemp(prefix="stiltsweep-", dir="/tmp")
        except OSError:
            return  # every job then runs by itself
    path = os.path.join(folder, "socket")  # noqa: PTH118 (as short as it can be: the length of a socket's path is limited)
    # The read end closes when this process is gone, however it went.
    reading, _writing = os.pipe()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.Popen(
        [sys.executable, "-m", "stiltsweep.warm", path, str(reading)],
        env={**environment, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        pass_fds=[reading],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(reading)
    os.environ[VARIABLE] = path


def hand_over() -> None:
    """Run this script in a child of the warm process and exit with its status; return if there is none."""
    path = os.environ.get(VARIABLE, "off")
    if path == "off":
        return
    import signal
    import socket

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    environment = [f"{key}={value}" for key, value in os.environ.items()]
    message = b"\0".join(map(os.fsencode, [os.getcwd(), str(len(sys.argv)), *sys.argv, *environment]))  # noqa: PTH109
    if len(message) > _LARGEST:
        return
    try:
        connection.connect(path)
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], range(_STREAMS))
        connection.sendall(message)
    except OSError:
        return
    answer = connection.makefile("r")
    child = int(answer.readline() or 0)
    if not child:
        return

    def forward(number: int, frame: FrameType | None) -> None:
        try:  # noqa: SIM105 (contextlib is an import more)
            os.kill(child, number)
        except ProcessLookupError:
            pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, forward)
    status = answer.readline()
    # No status: the child was killed.
    os._exit(int(status) if status.strip() else 137)


def _serve(path: str, parent: int) -> None:
    """Accept jobs until the parent is gone."""
    import contextlib
    import select
    import signal
    import socket

    _preload()
    # Only now is there something to connect to: a job that comes earlier runs by itself instead of waiting.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    while True:
        ready, _, _ = select.select([listener.fileno(), parent], [], [])
        if parent in ready:
            break
        connection, _ = listener.accept()
        if os.fork() == 0:
            os.close(parent)
            listener.close()
            _run(connection)
        connection.close()
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108
        os.rmdir(os.path.dirname(path))  # noqa: PTH106, PTH120


def _preload() -> None:
    """Import what preparing, training, prediction and evaluation import."""
    import gc
    import threading

    import pyarrow as pa
    import pyarrow.parquet as pq
    import transformers
    from accelerate import Accelerator
    from transformers.initialization import no_init_weights

    from . import code, evaluation, prediction, sources
    from .sources import package
    from .training import loop

    pa.array([])  # imports pandas when it is first called
    # What children run is the code that is in memory now, whatever becomes of the files: its digest is taken now too.
    for script in ("prepare", "train", "predict", "evaluate", "measure", "diagnose", "probe"):
        code.digest(script)
    # What exists now is never collected in a child: a collection would touch, and so copy, every page of it.
    gc.collect()
    gc.freeze()
    # Names of transformers are imported when they are asked for.
    _ = (
        evaluation,
        prediction,
        loop,
        package,
        pq,
        sources,
        transformers.BertModel,
        transformers.XLMRobertaModel,
        Accelerator,
        no_init_weights,
    )
    if threading.active_count() > 1:
        raise RuntimeError("the warm process has several threads and cannot fork")


def _run(connection: socket.socket) -> None:
    """Be the job: never returns."""
    import contextlib
    import runpy
    import signal
    import socket
    import threading

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    header, files, _, _ = socket.recv_fds(connection, 4, _STREAMS)
    if len(header) < 4 or len(files) < _STREAMS:
        os._exit(0)
    message = connection.makefile("rb").read(int.from_bytes(header, "big"))
    folder, count, *texts = map(os.fsdecode, message.split(b"\0"))
    arguments, environment = texts[: int(count)], texts[int(count) :]
    for target, descriptor in enumerate(files):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    for text in environment:
        key, _, value = text.partition("=")
        os.environ[key] = value
    os.environ[VARIABLE] = "off"
    connection.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
    sys.argv = arguments
    sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))  # noqa: PTH100, PTH120 (as the interpreter does)
    status = 1
    try:
        runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:  # (like the interpreter itself: print it and fail)
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    with contextlib.suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    os._exit(status)


def _die_with(connection: socket.socket) -> None:
    """Kill this process when the script it stands for is gone."""
    import contextlib
    import signal

    with contextlib.suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
