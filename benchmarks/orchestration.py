"""Measure orchestration: what a sweep costs besides its arithmetic, against one process per cell.

The sweep runs as `make sweep` does. Core-seconds are those of Snakemake, the shells and scripts it waits for, and every
fork of the warm process; the useful ones are those of training and prediction. The way it is measured against starts
two processes for a cell, as scripts that know one model, one task and one language do: one that loads the checkpoint
and predicts the language, and one that scores it. Core-seconds depend little on what else the machine does; wall time
does.

Example:
  python benchmarks/orchestration.py                          the default sweep, set-up excluded
  python benchmarks/orchestration.py --configuration small.yaml --cores 1
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import ROOT, Peak, write

LINKED = ("Snakefile", "rules", "workflow", "envs", "profiles", "sweeps", "config.yaml")
USEFUL = 1.0
"""Core-seconds from which a fork of the warm process is a training or a prediction; scoring a cell takes 0.02."""
_SERVER = """
import json, os, resource, signal, sys
from stiltsweep import warm

# The forks are waited for, at the end, so that their times are known.
real = signal.signal
signal.signal = lambda number, handler: (
    None if (number, handler) == (signal.SIGCHLD, signal.SIG_IGN) else real(number, handler)
)
warm._serve(sys.argv[1], int(sys.argv[2]))
forks = []
while True:
    try:
        _, _, used = os.wait4(-1, 0)
    except ChildProcessError:
        break
    forks.append((used.ru_utime + used.ru_stime, used.ru_maxrss))
own = resource.getrusage(resource.RUSAGE_SELF)
json.dump({"own": own.ru_utime + own.ru_stime, "forks": forks}, open(sys.argv[3], "w"))
"""


def sweep(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Run a sweep in a folder; return its wall time, core-seconds, forks of the warm process and peak of memory."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    socket, times = folder / "socket", folder / "times.json"
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(socket), str(reading), str(times)],
        env=environment | {"TOKENIZERS_PARALLELISM": "false"},
        pass_fds=[reading],
    )
    before, began = _waited(), time.perf_counter()
    with Peak() as peak:
        subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=folder,
            env=environment | {"STILTSWEEP_WARM": str(socket)},
            check=True,
        )
    wall, waited = time.perf_counter() - began, _waited() - before
    os.close(writing)
    server.wait()
    found = json.loads(times.read_text())
    return {"wall": wall, "snakemake": waited, "peak": peak.gib, **found}


def _waited() -> float:
    """Return the core-seconds of processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_process_per_cell(folder: Path, cells: int) -> float:
    """Return the core-seconds of a cell whose prediction and scoring are processes of their own."""
    environment = {**os.environ, "STILTSWEEP_WARM": "off", "OMP_NUM_THREADS": "1"}
    index = min((folder / "results/predictions").glob("*/none/*/seed*/predictions.json"))
    model, _, target, seed = index.parts[-5:-1]
    start = folder / f"results/finetune/{model}/none/{target}/{seed}/checkpoint.json"
    settings = next(
        line.split(" = ", 1)[1]
        for line in (folder / f"results/logs/predict/{model}/none/{target}/{seed}.log").read_text().splitlines()
        if " settings = " in line
    )
    data = folder / "results/data" / target
    languages = sorted(json.loads(index.read_text())["languages"])[:cells]
    before = _waited()
    for language in languages:
        alone = folder / "alone" / language / "predictions.json"
        _script(
            environment,
            *("predict.py", "--start", start, "--data", data, "--languages", language, "--output", alone),
            *("--settings", json.dumps(ast.literal_eval(settings))),
        )
        _script(
            environment,
            *("evaluate.py", "--model", model, "--intermediate", "none", "--target", target, "--language", language),
            *("--seed", seed.removeprefix("seed"), "--data", data / f"{language}.parquet", "--predictions", alone),
            *("--output", alone.with_name("cell.json")),
        )
    return (_waited() - before) / len(languages)


def _script(environment: dict[str, str], name: str, *arguments: object) -> None:
    command = [sys.executable, str(ROOT / "workflow/scripts" / name), *map(str, arguments)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configuration", type=Path, help="instead of config.yaml; its results must be `results`")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--sample", type=int, default=4, help="cells made by processes of their own")
    parser.add_argument("--output", type=Path, default=Path("results/bench/orchestration.json"))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stiltsweep-bench-"))
    try:
        command = ["--logger", "cells", "--cores", str(arguments.cores)]
        if arguments.configuration:
            command += ["--configfile", str(arguments.configuration.resolve())]
        found = sweep(folder, command)
        cells = len(list((folder / "results/cells").rglob("*.json")))
        jobs = [seconds for seconds, _ in found["forks"]]
        useful = sum(seconds for seconds in jobs if seconds >= USEFUL)
        total = found["snakemake"] + found["own"] + sum(jobs)
        alone = one_process_per_cell(folder, arguments.sample)
        row = {
            "cells": cells,
            "wall, s": round(found["wall"], 1),
            "core-seconds": round(total, 1),
            "of them useful": round(useful, 1),
            "Snakemake, shells and scripts it waits for": round(found["snakemake"], 1),
            "overhead per cell, core-seconds": round((total - useful) / cells, 3),
            "one process per cell, core-seconds": round(alone, 2),
            "peak memory, GiB": round(found["peak"], 2),
        }
        write(arguments.output, "Orchestration, measured", {"sweep": [row]})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
