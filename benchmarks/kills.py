"""Kill a sweep at random moments, all of its processes at once, and start it again; compare its cells in the end.

The kills (SIGKILL, or SIGHUP as of a terminal that is closed) are spread over the stages that the sweep has, in their
order. Each waits for a job of its stage to begin, and then some seconds more; the next run goes on from what is left.
After the last kill the sweep runs to its end, and its cells must be the bytes of a sweep that nothing happened to: the
exit status is 1 where they are not.

Example:
  python benchmarks/kills.py                                              a toy sweep, in some minutes
  python benchmarks/kills.py --config config.yaml --reference results     the default sweep, against the one in results/
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import yaml  # noqa: E402

from stiltsweep.files import digest_file, write_json  # noqa: E402

STAGES = ("prepare", "fetch", "pretrain", "intermediate", "finetune", "predict", "evaluate")
LINKED = ("workflow", "profiles", "sweeps")
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
TOY: dict[str, Any] = {
    "title": "Killed again and again",
    "models": ["mt5-nano"],
    "intermediates": ["none", "name-typing"],
    "targets": {"intent": ["de", "fi"]},
    "seeds": [0],
    "training": {"epochs": 1},
    "significance": {"resamples": 200, "resampling": "examples"},
}
"""The sweep without --config; its model is made here too."""


def make(folder: Path, configuration: dict[str, Any]) -> Path:
    """Write a configuration beside links to the code; its results lie in `results`."""
    folder.mkdir(parents=True)
    for linked in LINKED:
        (folder / linked).symlink_to(ROOT / linked)
    (folder / "config.yaml").write_text(yaml.safe_dump({**configuration, "results": "results"}, allow_unicode=True))
    return folder


def begin(folder: Path, cores: int, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the sweep, in a process group of its own."""
    command = [*SNAKEMAKE, "--cores", str(cores), "--quiet", "all", *arguments]
    with open(folder / "snakemake.log", "ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def finish(folder: Path, cores: int, *arguments: str) -> None:
    """Run the sweep, or what the arguments say, to its end.

    Raises:
      SystemExit: it fails.
    """
    if begin(folder, cores, *arguments).wait():
        sys.exit(f"Snakemake failed; its output is in {folder}/snakemake.log, jobs' logs in {folder}/results/logs.")


def cells(results: Path) -> dict[str, str]:
    """Return the digests of all cells and their statistics."""
    folder = results / "cells"
    # A job that is killed while it writes leaves its temporary file, which nobody reads.
    paths = (path for path in sorted(folder.rglob("*.*")) if not path.name.startswith("."))
    return {str(path.relative_to(folder)): digest_file(path) for path in paths}


def left(folder: Path, stage: str) -> bool:
    """Whether the sweep still has jobs of a stage to run."""
    command = [*SNAKEMAKE, "--dry-run", "--quiet", "rules"]
    text = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return re.search(rf"^{stage} +\d+$", text, re.MULTILINE) is not None


def kill(folder: Path, stage: str, cores: int, rng: random.Random, seconds: float) -> bool:
    """Kill the sweep soon after a job of a stage has begun; return whether there was one to begin."""
    logs = folder / "results" / "logs" / stage
    before = _started(logs)
    process = begin(folder, cores)
    _until(lambda: _started(logs) - before or process.poll() is not None)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0.0, seconds))
    if process.poll() is not None:
        if process.returncode:
            sys.exit(f"Snakemake failed; its output is in {folder}/snakemake.log.")
        return False
    os.killpg(process.pid, how := rng.choice([signal.SIGKILL, signal.SIGHUP]))
    print(how.name, end=", ", flush=True)
    process.wait()
    return True


def _started(logs: Path) -> set[tuple[str, int]]:
    """Return the logs of jobs that have begun; one that begins again has a newer file."""
    found = set()
    for path in logs.rglob("*.log"):
        with contextlib.suppress(FileNotFoundError):
            found.add((str(path), path.stat().st_mtime_ns))
    return found


def _until(condition: Callable[[], Any]) -> None:
    while not condition():
        time.sleep(0.02)


def run(folder: Path, reference: Path, kills: int, seed: int, cores: int, seconds: float) -> dict[str, Any]:
    """Kill the sweep in a folder as often as asked, let it end, and compare its cells with those of another one.

    A stage may be done before all of its kills have come: the sweep ends, is compared, and begins again from nothing.
    """
    expected = cells(reference)
    stages = [stage for stage in STAGES if (reference / "logs" / stage).is_dir()]
    if not expected or not stages:
        sys.exit(f"{reference}: holds no cells, or no logs. Name the results folder of a sweep that is done.")
    rng = random.Random(seed)
    killed = dict.fromkeys(stages, 0)
    differing: set[str] = set()
    began = time.monotonic()
    while (missing := kills - sum(killed.values())) > 0:
        shutil.rmtree(folder / "results", ignore_errors=True)
        for number, stage in enumerate(stages):
            for _ in range(missing // len(stages) + (number < missing % len(stages))):
                if not (left(folder, stage) and kill(folder, stage, cores, rng, seconds)):
                    break
                killed[stage] += 1
                print(f"kill {sum(killed.values())} of {kills}: in {stage}", flush=True)
        finish(folder, cores)
        found = cells(folder / "results")
        differing |= {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
    return {
        "same": not differing,
        "cells": sum(name.endswith(".json") for name in expected),
        "kills": killed,
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "differing": sorted(differing),
    }


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="a configuration; left out, that of a toy sweep")
    parser.add_argument("--reference", type=Path, help="results of an undisturbed run; left out, one is made")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="longest time between a job's beginning and the kill"
    )
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="folder to run in; left out, a temporary one")
    parser.add_argument("--output", type=Path, default=Path("results/bench/kills.json"))
    arguments = parser.parse_args()
    # Whoever runs this under nohup has SIGHUP ignored here, and so in what is started here.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    configuration = yaml.safe_load(arguments.config.read_text(encoding="utf-8")) if arguments.config else TOY
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        reference = arguments.reference
        if reference is None:
            finish(make(folder / "undisturbed", configuration), arguments.cores)
            reference = folder / "undisturbed" / "results"
        killed = make(folder / "killed", configuration)
        found = run(killed, reference, arguments.kills, arguments.seed, arguments.cores, arguments.seconds)
    found["config"] = arguments.config.name if arguments.config else "toy"
    write_json(arguments.output, found)
    kinds = ", ".join(f"{count} in {stage}" for stage, count in found["kills"].items())
    if not found["same"]:
        sys.exit(f"{len(found['differing'])} files of cells differ after kills ({kinds}): {found['differing'][:5]}")
    print(f"{found['cells']} cells are the same bytes after kills ({kinds}), {found['seconds']} s.")


if __name__ == "__main__":
    main()
