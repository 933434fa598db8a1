"""Measure what comes after the last cell of a large sweep: its tests, its tables and the page.

Nothing is trained: cells of every model, arm, target, language and seed of a sweep file are made up
(`tests/synthetic.py`: lifts that differ by arm, target and language, in the sweep's own metrics) and the scripts of the
rules run on them, one after the other, each watched by itself.

Example:
  python benchmarks/page.py                                       sweeps/xtreme_r_mt5.yaml, 13,398 cells
  python benchmarks/page.py --sweep sweeps/phang2020.yaml --examples 500
  python benchmarks/page.py --smallest                            one model, two arms, two targets, one language a type
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from measuring import ROOT, watched, write

sys.path.insert(0, str(ROOT / "tests"))

import numpy as np
import yaml

from stiltsweep import config
from stiltsweep.catalog import BUILT_IN
from stiltsweep.files import canonical
from stiltsweep.identity import metrics_of
from stiltsweep.jobs import Jobs
from stiltsweep.sweep import Sweep
from synthetic import write_sweep

SCRIPTS = "workflow/scripts"
SMALLEST = {
    "intermediates": ["none", "mnli", "qqp"],
    "targets": {"xnli": ["ar", "de", "vi", "tr"], "panx": ["fi", "ru"]},
    "significance": {"resamples": 200},
}


def main() -> None:
    """Make cells up, run what comes after them, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, default=ROOT / "sweeps" / "xtreme_r_mt5.yaml", help="a sweep file")
    parser.add_argument("--examples", type=int, default=3000, help="at most so many of a language")
    parser.add_argument("--smallest", action="store_true", help="a few cells of the sweep, 50 examples each")
    parser.add_argument("--keep", type=Path, help="leave cells, tables and page in this folder")
    parser.add_argument("--output", type=Path, default=Path("results/bench/page.json"), help="JSON; a table beside it")
    arguments = parser.parse_args()
    settings = yaml.safe_load(arguments.sweep.read_text(encoding="utf-8"))
    if arguments.smallest:
        settings |= SMALLEST | {"models": settings["models"][:1]}
        arguments.examples = 50
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        rows = measure(settings, folder / "results", arguments.examples)
    write(arguments.output, "After the last cell", {"steps": rows})


def measure(settings: dict[str, Any], results: Path, examples: int) -> list[dict[str, Any]]:
    """Make the cells of a sweep up and run what comes after them.

    Args:
      settings: the configuration.
      results: the folder that is written.
      examples: at most so many of a language.

    Returns:
      One row a step, in the order of a run: jobs, seconds of wall and CPU, GiB at most.
    """
    sweep = Sweep(*config.resolve(settings | {"results": str(results)}))
    cells = make_up(sweep, results, examples)
    size = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    print(f"{cells} cells made up, {size / 1e6:.0f} MB", flush=True)
    layout, jobs = sweep.layout, Jobs(sweep)
    tables = ["--tables", str(BUILT_IN / "languages.csv")]
    tests = []
    for model in sweep.models:
        for target in sweep.languages:
            output = layout.path("tests", model=model, target=target)
            what = ["--results", str(results), "--model", model, "--target", target, *tables]
            tests.append(["significance", *what, *shlex.split(jobs.significance_arguments(target)), "--output", output])
    rows = [_run("significance", tests)]
    made = sweep.test_files
    lift, run, page = (layout.path(place) for place in ("lift", "description", "page"))
    corpora = ["--corpora", *sweep.corpora] if sweep.corpora else []
    described = ["--configuration", canonical(sweep.config), "--lift", lift, "--output", run]
    scored = ["--results", str(results), "--run", run, "--published", str(BUILT_IN / "published.csv")]
    others = ("controls", "runs", "sensitivity", "benchmarks", "published", "omnibus", "types", "predictors")
    last = ["--results", str(results), "--lift", lift, "--run", run, "--inputs", *map(layout.path, others)]
    for name, command in {
        "lift": ["lift", "--inputs", *made, "--output", lift],
        "typology": ["typology", "--inputs", *made, *tables, *corpora, "--output", layout.path("omnibus")],
        "describe": ["describe", *described],
        "scores": ["scores", *scored, "--output", layout.path("benchmarks")],
        "report": ["report", *last, "--output", page],
    }.items():
        rows.append(_run(name, [command]))
    text = Path(page).read_text(encoding="utf-8")
    if re.search(r"\bnan\b", text):
        raise SystemExit(f"{page}: shows what is not a number")
    print(f"page: {len(text.encode()) / 1e6:.1f} MB")
    return rows


def make_up(sweep: Sweep, results: Path, examples: int) -> int:
    """Write cells; return how many."""
    written = 0
    for model in sweep.models:
        for target, languages in sweep.languages.items():
            task = sweep.catalog.targets[target]
            arms = sweep.arms_of(target)
            # The same from run to run, whatever Python does with hashes.
            number = zlib.crc32(f"{model} {target}".encode())
            drawn = np.random.default_rng(number)
            # Arms differ by a point, and languages by another within them.
            mean = {arm: drawn.normal(0.5, 1.0) for arm in arms[1:]}
            lifts = {(arm, code): mean[arm] + drawn.normal(0.0, 1.0) for arm in arms[1:] for code in languages}
            written += len(
                write_sweep(
                    results,
                    models=[model],
                    targets=[target],
                    intermediates=arms,
                    seeds=sweep.seeds,
                    languages=languages,
                    lifts=lifts,
                    baseline=float(drawn.uniform(45.0, 80.0)),
                    n=min(examples, max(task.languages[code].get("test", examples) for code in languages)),
                    parallel=task.definition["parallel"],
                    metrics=metrics_of(task.definition, sweep.catalog.models[model].interface),
                    rng_seed=number,
                )
            )
    return written


def _run(step: str, commands: list[list[str]]) -> dict[str, Any]:
    # Every job by itself and one after the other: the largest memory is that of a job.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
    used = [
        watched([sys.executable, str(ROOT / SCRIPTS / f"{script}.py"), *command], ROOT, environment)[1]
        for script, *command in commands
    ]
    return {
        "step": step,
        "jobs": len(used),
        "wall, s": round(sum(one["wall"] for one in used), 1),
        "CPU, s": round(sum(one["cpu"] for one in used), 1),
        "longest, s": round(max(one["wall"] for one in used), 1),
        "peak, GiB": round(max(one["megabytes"] for one in used) / 2**10, 2),
    }


if __name__ == "__main__":
    main()
