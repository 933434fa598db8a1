"""What the benchmarks share: sides that take turns, the project's own data, results as JSON and a Markdown table."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from stiltsweep.files import write_json, write_text  # noqa: E402
from stiltsweep.models import tokenizer_files  # noqa: E402
from stiltsweep.models.batches import Example  # noqa: E402
from stiltsweep.models.tokenizer import Tokenizer  # noqa: E402

COMMANDS = "sweeps/commands.yaml"
"""The sweep whose data and model benchmarks read."""
Side = Callable[[], tuple[float, float]]
"""Does one side's work once and returns the seconds it took: CPU and wall, without what is not measured."""


def clock() -> tuple[float, float]:
    """Return seconds of this process: CPU and wall."""
    return time.process_time(), time.perf_counter()


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds a call takes: CPU and wall."""
    cpu, wall = clock()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def take_turns(sides: Mapping[str, Side], turns: int) -> dict[str, tuple[float, float]]:
    """Run the sides one after the other, several times; return each side's median seconds, CPU and wall."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            found[name].append(side())
    return {
        name: (statistics.median(cpu for cpu, _ in times), statistics.median(wall for _, wall in times))
        for name, times in found.items()
    }


class Peak:
    """Watches the memory of this process's descendants, shared pages counted once; `with Peak() as peak:`."""

    def __init__(self, seconds: float = 2.0, apart: Iterable[int] = ()) -> None:
        """Look every so many `seconds`, at all but the processes `apart`."""
        self.gib, self.own_gib = 0.0, 0.0
        """At most: of everything, and of what no file holds, which the system cannot drop when memory is short."""
        self._seconds, self._apart = seconds, set(apart)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._ended.wait(self._seconds):
            sums = {"Pss": 0, "Pss_Anon": 0}
            for process in psutil.Process().children(recursive=True):
                if process.pid in self._apart:
                    continue
                # One that ended meanwhile has no such file, or an empty one.
                with contextlib.suppress(OSError):
                    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
                    for key, value in (line.split(":", 1) for line in lines[1:]):
                        if key in sums:
                            sums[key] += int(value.split()[0])
            self.gib = max(self.gib, sums["Pss"] / 2**20)
            self.own_gib = max(self.own_gib, sums["Pss_Anon"] / 2**20)


def watched(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[str, dict[str, float]]:
    """Run a command; return what it printed, and what it took: seconds of wall and of CPU, peak megabytes.

    Where it fails, this process ends with what it printed.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        said.seek(0)
        output = said.read()
    if process.returncode:
        sys.exit(output)
    return output, {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 2**10}


def prepared(results: Path, files: Sequence[str]) -> Path:
    """Copy files of sweeps/commands.yaml into a folder of the benchmarks' own, making what is not there; return it.

    Args:
      results: of that sweep.
      files: below it, such as models/e5-small/model.json (whose whole folder is meant).
    """
    missing = [name for name in files if not (results / name).is_file()]
    if missing:
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--configfile", COMMANDS, "--"]
        subprocess.run([*command, *(f"results/commands/{name}" for name in missing)], cwd=ROOT, check=True)
        results = ROOT / "results" / "commands"
    work = Path("results/bench/work")
    for name in files:
        folder = Path(name).parent
        shutil.copytree(results / folder, work / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("frozen"))
    return work


def peer_rows(examples: Iterable[Example], kind: str) -> list[dict[str, Any]]:
    """Return inputs as transformers' classes want them, without padding; a window of a context is a row of its own.

    Args:
      examples: of training.
      kind: of the task; text2text or causal where the model writes.
    """
    rows = []
    for example in examples:
        for number, one in enumerate(example.inputs):
            row: dict[str, Any] = {"input_ids": one.ids, "attention_mask": [1] * len(one.ids)}
            if kind == "text2text":
                row["labels"] = example.target
            elif kind == "causal":
                row["labels"] = [-100] * (len(one.ids) - len(example.target)) + example.target
            elif kind == "classification":
                row["labels"] = example.labels
            elif kind == "tagging":
                row["labels"] = [-100] * len(one.ids)
                for place, label in example.labels[number]:
                    row["labels"][place] = label
            else:
                row["start_positions"], row["end_positions"] = example.labels[number]
            rows.append(row)
    return rows


def byte_tokenizer(folder: Path) -> Tokenizer:
    """Return ByT5's tokenizer, whose pieces are bytes."""
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    extra = [f"<extra_id_{number}>" for number in range(125)]
    tokenizer_files.save(tokenizer_files.byte_level(list(tokens.values()), extra), tokens, folder)
    return Tokenizer.from_directory(folder)


def write(output: Path, title: str, found: Mapping[str, Any]) -> None:
    """Write results as JSON and, beside it, as one Markdown table per part; name the machine."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    write_json(output, {**found, "machine": machine})
    lines = [f"# {title}", "", machine, ""]
    for part, rows in found.items():
        if not rows:
            continue
        columns = list(rows[0])
        lines += [f"## {part}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(str(row[column]) for column in columns)} |" for row in rows]
        lines.append("")
    text = "\n".join(lines)
    write_text(output.with_suffix(".md"), text)
    print(text)
