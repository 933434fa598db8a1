"""Measure the catalogue: everything in it loaded, validated and dry-run, in as few jobs as hold every entry.

Four sweeps, because a sweep is a product: every model without an intermediate task, every intermediate task and
variant with one model, and every target with one model, or with another where encoders cannot, each in one language.
No network is asked, and no data or
weights have to be there.

Example:
  python benchmarks/catalogue.py
  python benchmarks/catalogue.py --turns 5
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import yaml  # noqa: E402

from stiltsweep import catalog as catalogs  # noqa: E402
from stiltsweep.catalog import Catalog, Task  # noqa: E402
from stiltsweep.facts import KINDS  # noqa: E402
from stiltsweep.files import write_json, write_text  # noqa: E402
from stiltsweep.languages import ENGLISH  # noqa: E402

MODEL = "e5-small"
"""The model of the sweeps that are about something else."""
WRITER = "mt5-small"
"""That of targets that encoders have no form for."""
TARGET = "xnli"
"""Their target: one that is trained on."""
VARIANTS = ["multi_task", "mnli+shuffled_labels", "mnli+mlm", "mnli+steps_matched"]
"""`translated` needs translated copies, which no entry of the built-in catalogue has."""
SWEEPS = ("models", "intermediates", "targets", "written")
LIMIT_SECONDS = 10
"""Of CPU, for all of them."""
LINKED = ("Snakefile", "rules", "workflow", "profiles")


def configurations(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Return sweeps that together hold every model, intermediate, target and probing task, by what they go through."""
    texts = [task for task in catalog.intermediates.values() if task.kind == "text"]
    (shared, *_) = [code for code in texts[0].languages if all(code in text.languages for text in texts)]
    small = {TARGET: [_language(catalog.targets[TARGET])]}
    asked = {name: [_language(task)] for name, task in sorted(catalog.targets.items())}
    read, written = (
        {n: asked[n] for n in asked if KINDS[catalog.targets[n].kind].encoders is e} for e in (True, False)
    )
    common = {"minimum_examples": 1, "seeds": [0], "data_root": "data", "intermediates": ["none"]}
    return {
        "models": {**common, "models": sorted(catalog.models), "targets": small},
        "intermediates": {
            **common,
            "models": [MODEL],
            "intermediates": ["none", *sorted(catalog.intermediates), *VARIANTS],
            "arms": {"mlm": {"text": texts[0].name, "languages": [shared]}, "multi_task": {"tasks": ["mnli", "qqp"]}},
            "targets": small,
        },
        "targets": {
            **common,
            "models": [MODEL],
            "targets": read,
            "probes": {"tasks": sorted(catalog.probes), "stages": ["pretrained"]},
        },
        "written": {**common, "models": [WRITER], "targets": written},
    }


def _language(task: Task) -> str:
    """Return a language that a target is tested in, another than English where there is one."""
    tested = [code for code, about in task.languages.items() if about.get("test", 1)]
    return next((code for code in tested if code != ENGLISH), tested[0])


def dry_run(name: str, configuration: dict[str, Any], folder: Path, *arguments: str) -> str:
    """Dry-run a sweep in a folder of its own, and return what Snakemake says.

    Raises:
      SystemExit: it does not go through; the text is Snakemake's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for linked in LINKED:
        if not (folder / linked).exists():
            (folder / linked).symlink_to(ROOT / linked)
    (folder / "config.yaml").write_text(yaml.safe_dump({"title": f"Every one of the {name}", **configuration}))
    found = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "STILTSWEEP_WARM": "off"},
    )
    if found.returncode:
        sys.exit(f"{name}: {found.stdout}{found.stderr}")
    return found.stdout + found.stderr


def measure(turns: int, sweeps: Sequence[str]) -> dict[str, Any]:
    """Dry-run some sweeps; return jobs, seconds of wall time and of CPU (of the fastest turn), and their sums."""
    catalog = catalogs.read()
    found: dict[str, Any] = {
        "entries": {
            "models": len(catalog.models),
            "intermediates": len(catalog.intermediates),
            "targets": len(catalog.targets),
            "probes": len(catalog.probes),
        },
        "sweeps": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name, configuration in configurations(catalog).items():
            if name not in sweeps:
                continue
            times = []
            for _ in range(turns):
                began, used = time.monotonic(), _cpu()
                text = dry_run(name, configuration, Path(scratch) / name, "--quiet", "rules")
                times.append({"seconds": time.monotonic() - began, "cpu_seconds": _cpu() - used})
            jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)
            best = min(times, key=lambda one: one["cpu_seconds"])
            found["sweeps"][name] = {"jobs": int(jobs[1]) if jobs else 0, **{k: round(v, 2) for k, v in best.items()}}
    for key in ("jobs", "seconds", "cpu_seconds"):
        found[key] = round(sum(one[key] for one in found["sweeps"].values()), 2)
    return found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(found: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    entries = ", ".join(f"{count} {name}" for name, count in found["entries"].items())
    lines = ["# The whole catalogue, dry-run", "", f"{entries}.", "", "| every one of the | jobs | seconds | of CPU |"]
    lines.append("|---|---|---|---|")
    for name, one in [*found["sweeps"].items(), ("sum", found)]:
        lines.append(f"| {name} | {one['jobs']} | {one['seconds']:.1f} | {one['cpu_seconds']:.1f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="dry runs of each sweep, of which the fastest counts")
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--output", type=Path, default=Path("results/bench/catalogue.json"))
    arguments = parser.parse_args()
    found = measure(arguments.turns, arguments.sweeps)
    write_json(arguments.output, found)
    write_text(arguments.output.with_suffix(".md"), markdown(found))
    print(markdown(found))
    if set(arguments.sweeps) == set(SWEEPS) and found["cpu_seconds"] > LIMIT_SECONDS:
        sys.exit(f"{found['cpu_seconds']} s are more than {LIMIT_SECONDS}.")


if __name__ == "__main__":
    main()
