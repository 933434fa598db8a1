"""A warm process: it imports the heavy libraries once and forks itself for every job of a local run.

Importing torch and transformers takes longer than many jobs of a small sweep. So where Snakemake runs jobs on its own
machine, it starts one such process (`start`), and a script hands itself over (`hand_over`): the process forks, and the
child runs the script with the caller's arguments, folder, environment and open files. The child is the job: signals
sent to the script reach it, and it dies with the script, also by SIGKILL. Where there is no such process (a cluster
node, a terminal, STILTSWEEP_WARM=off), scripts simply run.

Forking is safe because the process never computes anything itself: it has one thread, and holds no locks.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

VARIABLE = "STILTSWEEP_WARM"
"""Path of the socket; `off` switches the whole thing off."""
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_LARGEST = 1 << 20


def start() -> None:
    """Start a warm process that lives as long as this one, and name its socket in the environment.

    Called by the Snakefile before the first job.
    """
    if os.environ.get(VARIABLE) or sys.platform == "win32":
        return
    folder = tempfile.mkdtemp(prefix="stiltsweep-")
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
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    job = {"script": sys.argv[0], "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    message = json.dumps(job).encode()
    if len(message) > _LARGEST:
        return
    try:
        connection.connect(path)
        files = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
        connection.sendmsg([len(message).to_bytes(4, "big")], [files])
        connection.sendall(message)
    except OSError:
        return
    answer = connection.makefile("r")
    child = int(answer.readline() or 0)
    if not child:
        return

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    status = answer.readline()
    # No status: the child was killed.
    os._exit(int(status) if status.strip() else 137)


def _serve(path: str, parent: int) -> None:
    """Accept jobs until the parent is gone."""
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
    """Import what training, prediction and evaluation import."""
    import transformers
    from accelerate import Accelerator
    from transformers.initialization import no_init_weights

    from . import evaluation, prediction
    from .training import loop

    # What exists now is never collected in a child: a collection would touch, and so copy, every page of it.
    gc.collect()
    gc.freeze()
    # Names of transformers are imported when they are asked for.
    _ = (
        evaluation,
        prediction,
        loop,
        transformers.BertModel,
        transformers.XLMRobertaModel,
        Accelerator,
        no_init_weights,
    )
    if threading.active_count() > 1:
        raise RuntimeError("the warm process has several threads and cannot fork")


def _run(connection: socket.socket) -> None:
    """Be the job: never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    header, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    if len(header) < 4 or not ancillary:
        os._exit(0)
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    reader = connection.makefile("rb")
    job = json.loads(reader.read(int.from_bytes(header, "big")))
    for target, descriptor in enumerate(files):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    os.environ[VARIABLE] = "off"
    connection.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
    sys.argv = [job["script"], *job["arguments"]]
    sys.path.insert(0, os.path.dirname(os.path.abspath(job["script"])))  # noqa: PTH100, PTH120 (as the interpreter does)
    status = 1
    try:
        runpy.run_path(job["script"], run_name="__main__")
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
    with contextlib.suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
