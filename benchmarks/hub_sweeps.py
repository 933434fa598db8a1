"""Run the shipped sweeps on the hub of the tests, whole: every model, arm and target, from `plan` to the report.

What is smaller than published is said by tests/hub_place.py and tests/published.py: random weights a few numbers wide,
data sets of some rows in up to four languages in the published layouts, two updates a training, one seed; tasks whose
files have to be asked for or lie elsewhere (CCGbank, LAReQA, Mewsli-X, BUCC 2018) are left out by `without`, as the
sweep files say that a user does. Everything else is theirs. The exit status is 1 where a sweep does not end in a report
that names all its targets.

Example:
  python benchmarks/hub_sweeps.py
  python benchmarks/hub_sweeps.py --sweeps tokenization --smallest       # one model, arm and target: a minute
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from measuring import ROOT, Peak, write

sys.path.insert(0, str(ROOT / "tests"))

from hub_place import SWEEPS, place
from local_hub import Hub

COMMANDS = 2
"""A user's: `snakemake plan` and `snakemake`. What the sweep reads is downloaded and converted by the second."""
_SMALLEST: dict[str, dict[str, Any]] = {
    "xtreme_r_mt5": {"models": ["mt5-base"], "intermediates": ["none"], "targets": {"xcopa": "xtreme-r"}},
    "phang2020": {"intermediates": ["none"], "targets": {"udpos": "xtreme"}},
    "tokenization": {"models": ["byt5-small"], "intermediates": ["none"], "targets": {"tatoeba": "xtreme-r"}},
}


def run(folder: Path, hub: Hub, name: str, smallest: bool) -> dict[str, Any]:
    """Run a sweep in a folder; return what it took and made.

    Raises:
      SystemExit: it does not end in a report that names all its targets; the text says what is missing.
    """
    sweep = place(folder, hub, name, **_SMALLEST[name] if smallest else {})
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    began, asked = time.perf_counter(), len(hub.asked)
    with Peak() as peak:
        sweep.snakemake("plan")
        text = sweep.snakemake()
    wall = time.perf_counter() - began
    cells = [path.relative_to(folder / "results/cells").parts for path in folder.glob("results/cells/**/seed0/*.json")]
    planned = json.loads((folder / "results/plan/plan.json").read_text(encoding="utf-8"))["cells"]
    if planned != {"missing": len(cells)}:
        sys.exit(f"{name}: {len(cells)} cells were made, where {planned} were planned.")
    targets = sorted({parts[2] for parts in cells})
    lacking = _lacking(folder, settings, targets)
    if lacking:
        sys.exit(f"{name}: the report does not name {', '.join(lacking)}.")
    jobs = re.findall(r"(\d+) of \1 steps \(100%\) done", text)
    return {
        "sweep": name,
        "commands": COMMANDS,
        "models": len({parts[0] for parts in cells}),
        "arms": len({parts[1] for parts in cells}),
        "targets": " ".join(targets),
        "left out": " ".join(settings.get("without", [])) or "nothing",
        "jobs": int(jobs[-1]) if jobs else 0,
        "cells": len(cells),
        "wall, s": round(wall),
        "peak, GiB": round(peak.gib, 2),
        "requests to the hub": len(hub.asked) - asked,
    }


def _lacking(folder: Path, settings: Mapping[str, Any], targets: list[str]) -> list[str]:
    """Return the targets that the report's page does not name; those that were asked for and have no cell count too."""
    asked = settings["targets"]
    if isinstance(asked, str):
        entries = (ROOT / "workflow" / "catalog" / "target").glob("*.yaml")
        held = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")).get("benchmarks", {}) for path in entries}
        asked = [name for name, benchmarks in held.items() if asked in benchmarks]
    wanted = {*asked} - {*settings.get("without", [])} | {*targets}
    page = (folder / "results" / "report" / "index.html").read_text(encoding="utf-8")
    return sorted(name for name in wanted if name not in targets or not re.search(rf"\b{name}\b", page))


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--smallest", action="store_true", help="of each one model, arm and target")
    parser.add_argument("--keep", type=Path, help="folder that gets the sweeps; else they are deleted")
    parser.add_argument("--output", type=Path, default=Path("results/bench/hub_sweeps.json"))
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="stiltsweep-hub-"))
    rows = []
    try:
        with Hub() as hub:
            for name in arguments.sweeps:
                (folder / name).mkdir(parents=True)
                rows.append(run((folder / name).resolve(), hub, name, arguments.smallest))
                print(rows[-1], file=sys.stderr, flush=True)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    write(arguments.output, "Shipped sweeps on the hub of the tests, measured", {"sweeps": rows})


if __name__ == "__main__":
    main()
