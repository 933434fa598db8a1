"""Damage files and edit settings, catalogue and code of one results folder in a random order; compare with a fresh one.

The old folder is run after every few of these. A damaged file that a job reads may end a run with one sentence that
names a command; that command is run, as a user would, until the sweep goes through. In the end a fresh folder is run
with the same settings, catalogue and code: every cell of the two must be the same bytes, and so must the table of
lifts. The exit status is 1 where they are not, or where a run ended in something else than such a sentence.

Example:
  python benchmarks/campaign.py                             20 damaged files and 20 edits of a small sweep
  python benchmarks/campaign.py --damages 4 --edits 4 --seed 1
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import yaml  # noqa: E402

from stiltsweep.files import digest_file, write_json  # noqa: E402

COPIED = ("Snakefile", "rules", "workflow", "profiles", "envs")
CONFIGURATION: dict[str, Any] = {
    "title": "Damaged and edited",
    "models": ["e5-small"],
    "intermediates": ["none", "name-typing"],
    "targets": {"intent": ["en", "de", "fi", "tr"]},
    "seeds": [0],
    "training": {"epochs": 1},
    "significance": {"resamples": 200, "resampling": "examples"},
}
_TRIES = 8
"""Runs after which a folder that still ends with a sentence counts as stuck."""
_REBUILD = re.compile(r"Rebuild it with: +(snakemake [^\n]*?)(?=\. |\.$|$)", re.MULTILINE)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
INTENT = "workflow/catalog/target/intent.yaml"
LANGUAGES = "workflow/catalog/languages.csv"


@dataclass
class Checkout:
    """A copy of the project with a configuration of its own."""

    folder: Path
    configuration: dict[str, Any]
    log: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Write the configuration."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.configuration), encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace the first place of a text in a file; the two texts are swapped if it was replaced before.

        Raises:
          SystemExit: neither is there.
        """
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        old, new = (new, old) if new and new in text else (old, new)
        if old not in text:
            sys.exit(f"{path} no longer holds {old!r}: mend this benchmark's list of edits.")
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        found = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        self.log += [f"$ {shlex.join(arguments)}", found.stdout, found.stderr]
        return found


def setting(path: str, *values: Any) -> Callable[[Checkout, random.Random], str]:
    """Return an edit that gives a key of the configuration another of its values."""

    def edit(checkout: Checkout, rng: random.Random) -> str:
        *outer, last = path.split(".")
        place = checkout.configuration
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = rng.choice([value for value in values if value != place.get(last)])
        return f"{path}: {place[last]}"

    return edit


def text(path: str, old: str, new: str) -> Callable[[Checkout, random.Random], str]:
    """Return an edit that puts a text in another's place, and back the next time."""

    def edit(checkout: Checkout, rng: random.Random) -> str:
        checkout.replace(path, old, new)
        return f"{path}: {new.strip().splitlines()[0]}"

    return edit


def line(path: str, *lines: str) -> Callable[[Checkout, random.Random], str]:
    """Return an edit that gives a line of a file, known by its first word, another of its contents."""

    def edit(checkout: Checkout, rng: random.Random) -> str:
        key = lines[0].split()[0]
        file = checkout.folder / path
        content = file.read_text(encoding="utf-8")
        now = next(one for one in content.splitlines() if one.startswith(key))
        chosen = rng.choice([one for one in lines if one != now])
        checkout.replace(path, now, chosen)
        return f"{path}: {chosen}"

    return edit


REVERSED = (
    "labels: [close, open, device_off, device_on, light_off, light_on, timer_cancel, timer_start, set_temperature, "
    "ask_temperature]"
)
EDITS: Sequence[Callable[[Checkout, random.Random], str]] = (
    setting("training.epochs", 1, 2),
    setting("training.learning_rate", 1.0e-4, 2.0e-4),
    setting("training.max_length", 96, 128),
    setting("seeds", [0], [0, 1], [1]),
    setting("targets.intent", ["en", "de", "fi", "tr"], ["en", "de", "fi"], ["en", "de", "fi", "tr", "zh"]),
    setting("intermediates", ["none", "name-typing"], ["none", "name-typing", "reply-choice"]),
    setting("prediction.batch_tokens", 4096, 1024),
    setting("significance.resamples", 200, 300),
    setting("significance.seed", 0, 1),
    setting("minimum_examples", 30, 20),
    setting("title", "Damaged and edited", "Another title"),
    text(INTENT, "description: Which", "description: Which, again,"),
    line(INTENT, "metrics: [accuracy]", "metrics: [accuracy, macro_f1]", "metrics: [macro_f1, accuracy]"),
    line(INTENT, "metrics: [accuracy]", "metrics: [accuracy, weighted_f1]", "metrics: [macro_f1]"),
    line(INTENT, "labels: *labels", REVERSED),
    text(LANGUAGES, "\ntr,Turkish,tur,agglutinative", "\ntr,Turkish,tur,fusional"),
    text("workflow/stiltsweep/training/loop.py", "from __future__ import", "# A comment.\nfrom __future__ import"),
    text(
        "workflow/stiltsweep/metrics/spans.py", "\ndef chunks(", "\ndef unused() -> int:\n    return 1\n\n\ndef chunks("
    ),
    text("workflow/stiltsweep/records.py", "def read_rows(", "def read_rows(  # of one split\n"),
    text("workflow/stiltsweep/metrics/classes.py", '    """Return the', '    """Return always the'),
    text("workflow/stiltsweep/languages.py", "        groups: dict", "        pass\n        groups: dict"),
)
"""Edits that can be made in any order and more than once; a second time the next value, or back."""


def damage(results: Path, rng: random.Random) -> str | None:
    """Damage one file that the sweep made; return what was done, None if there is nothing left to damage."""
    kind = rng.choice(PLACES)
    files = [path for path in sorted(results.glob(kind)) if path.is_file() and path.stat().st_size]
    if not files:
        return None
    path = rng.choice(files)
    content = bytearray(path.read_bytes())
    others = [other for other in files if other != path and other.suffix == path.suffix]
    how = rng.choice(["truncate", "flip", "zero", "delete", "swap", "edit"])
    if how == "swap" and others:
        path.write_bytes(rng.choice(others).read_bytes())
    elif how == "delete":
        path.unlink()
    elif how == "zero":
        path.write_bytes(bytes(content[: len(content) // 2]) + bytes(len(content) - len(content) // 2))
    elif (
        how == "edit"
        and (digits := list(re.finditer(rb"[1-8](?=[^0-9a-f])", bytes(content))))
        and path.suffix == ".json"
    ):
        at = rng.choice(digits).start()
        content[at] += 1
        path.write_bytes(content)
    elif how == "truncate":
        path.write_bytes(content[: rng.randrange(len(content))])
    else:
        how = "flip"
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    return f"{how} {path.relative_to(results)}"


PLACES = (
    "data/*/*.parquet",
    "data/*/*.json",
    "models/*/*.safetensors",
    "models/*/*.json",
    "models/*/frozen/**/*",
    "intermediate/**/*.safetensors",
    "intermediate/**/*.json",
    "finetune/**/*.safetensors",
    "finetune/**/*.json",
    "predictions/**/*.json",
    "cells/**/*.json",
    "cells/**/*.parquet",
    "significance/**/*",
    "typology/*",
    "diagnosis/**/*",
    "report/*",
    "report/tables/*",
)


def settle(checkout: Checkout, cores: int) -> tuple[int, list[str]]:
    """Run until the sweep goes through, doing what the sentences say; return how often, and faults."""
    checkout.write()
    faults: list[str] = []
    for attempt in range(1, _TRIES + 1):
        found = checkout.snakemake("--cores", str(cores), "--quiet", "all", "--keep-going")
        said = found.stdout + found.stderr + _failed_logs(checkout.folder / "results" / "logs", found)
        if _TRACEBACK.search(said):
            faults.append(f"a traceback: {said[-1500:]}")
        if found.returncode == 0:
            return attempt, faults
        commands = dict.fromkeys(match[1] for match in _REBUILD.finditer(said))
        if not commands:
            return attempt, [*faults, f"failed, and named no command: {said[-1500:]}"]
        for command in commands:
            checkout.snakemake(*shlex.split(command)[1:])
    return _TRIES, [*faults, f"still failing after {_TRIES} runs: {said[-1500:]}"]


def _failed_logs(logs: Path, found: subprocess.CompletedProcess[str]) -> str:
    """Return the errors of jobs' logs of a run that failed."""
    if found.returncode == 0:
        return ""
    newest = sorted(logs.rglob("*.log"), key=lambda path: path.stat().st_mtime)[-40:]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in newest]
    return "\n".join(line for text_ in texts for line in text_.splitlines() if "error" in line or "Traceback" in line)


def results_of(folder: Path) -> dict[str, str]:
    """Return the digests of all cells, their statistics and the table of lifts."""
    results = folder / "results"
    paths = [path for path in (results / "cells").rglob("*.*") if not path.name.startswith(".")]
    paths += results.glob("report/tables/overall.csv")
    return {str(path.relative_to(results)): digest_file(path) for path in sorted(paths)}


def make(folder: Path) -> Checkout:
    """Copy the project, without what it has made."""
    folder.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    checkout = Checkout(folder, yaml.safe_load(yaml.safe_dump(CONFIGURATION)))
    checkout.write()
    return checkout


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damages", type=int, default=20)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--most", type=int, default=3, help="most of them between two runs")
    parser.add_argument("--seed", type=int, default=0, help="of what is done, and in which order")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="folder to run in; left out, a temporary one")
    parser.add_argument("--output", type=Path, default=Path("results/bench/campaign.json"))
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        old = make(folder / "old")
        runs, faults = settle(old, arguments.cores)
        steps = [True] * arguments.edits + [False] * arguments.damages
        rng.shuffle(steps)
        edits = [edit for _ in range(-(-arguments.edits // len(EDITS))) for edit in rng.sample(EDITS, len(EDITS))]
        done: list[str] = []
        while steps:
            now, steps = steps[: (count := rng.randint(1, arguments.most))], steps[count:]
            for edit in now:
                said = edits.pop(0)(old, rng) if edit else None
                while said is None:
                    said = damage(old.folder / "results", rng)
                done.append(said)
                print(said, flush=True)
            times, wrong = settle(old, arguments.cores)
            runs += times
            faults += [f"after {done[-len(now) :]}: {fault}" for fault in wrong]
            print(f"  {times} runs" + "".join(f"\n  FAULT {fault}" for fault in wrong), flush=True)
        # What was edited, in a folder that holds nothing.
        fresh = Checkout(folder / "fresh", old.configuration)
        shutil.copytree(old.folder, fresh.folder, ignore=shutil.ignore_patterns("results", ".snakemake", "__pycache__"))
        faults += settle(fresh, arguments.cores)[1]
        one, other = results_of(old.folder), results_of(fresh.folder)
        wanted = set(other)
        differing = sorted(name for name in wanted if one.get(name) != other[name])
        (folder / "snakemake.log").write_text("\n".join(old.log), encoding="utf-8")
    found = {
        "same": not differing and not faults,
        "files": len(wanted),
        "damages": arguments.damages,
        "edits": arguments.edits,
        "runs": runs,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began),
        "differing": differing,
        "faults": faults,
        "steps": done,
    }
    write_json(arguments.output, found)
    if not found["same"]:
        sys.exit(f"{len(differing)} files differ: {differing[:5]}; {len(faults)} faults: {faults[:3]}")
    print(
        f"{len(wanted)} cells, statistics and tables are the same bytes after {arguments.damages} damaged files and "
        f"{arguments.edits} edits ({runs} runs, {found['seconds']} s)."
    )


if __name__ == "__main__":
    main()
