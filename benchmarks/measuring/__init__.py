"""What the benchmarks share: sides that take turns, the project's own data, results as JSON and a Markdown table."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
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
