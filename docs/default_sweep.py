"""Write what the default sweep ended with into README.md, and its picture beside this file, from its own report.

Example:
  python docs/default_sweep.py results                # after `make sweep`
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).resolve().parent
BEGIN, END = "<!-- of docs/default_sweep.py -->\n", "<!-- end -->\n"
MODEL, ARMS = "e5-small", ("keywords", "name-typing")
TYPES = ("isolating", "agglutinative", "fusional", "introflexive")
TARGETS = {"topic": "accuracy", "naming": "accuracy"}
"""Targets in the order of the table, each with what its score is called there."""

PICTURE = "Lift in points of each intermediate task on each target, the mean over its languages"

Line = dict[str, str]


def read(results: Path, table: str) -> list[Line]:
    """Read one of the report's tables."""
    with open(results / "report" / "tables" / f"{table}.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def entry(lines: list[Line], fits: Callable[[Line], bool]) -> str:
    """Return a baseline's score with the lifts of the arms in brackets; nothing where the target has no such row."""
    found = {line["intermediate"]: line for line in lines if fits(line)}
    if not found:
        return ""
    base = float(found[ARMS[0]]["baseline_score"])
    return f"{base:.1f} ({' / '.join(format(float(found[arm]['lift']), '+.1f') for arm in ARMS)})"


def english(results: Path, target: str) -> str:
    """Return the same for English, of which lift.csv says nothing: from the cells' scores."""
    scores: dict[str, list[float]] = {}
    for line in read(results, "cells"):
        if line["target"] == target and line["language"] == "en":
            scores.setdefault(line["intermediate"], []).append(float(line["score"]))
    if not scores:
        return ""
    means = {arm: sum(values) / len(values) for arm, values in scores.items()}
    lifts = " / ".join(f"{means[arm] - means['none']:+.1f}" for arm in ARMS)
    return f"{means['none']:.1f} ({lifts})"


def block(results: Path) -> str:
    """Return README's words, picture and table of the default sweep."""
    said = (results / "report" / "headline.txt").read_text(encoding="utf-8").strip()
    run = json.loads((results / "report" / "run.json").read_text(encoding="utf-8"))
    seeds = len({line["seed"] for line in read(results, "cells")})
    chances = {about["name"]: about["chance"] for about in run["targets"]}
    groups = read(results, "groups")
    quoted = "\n".join(f"> {line}" for line in textwrap.wrap(said, 118))
    rows = [f"| target | chance | English | {' | '.join(TYPES)} |", "|---" * (3 + len(TYPES)) + "|"]
    for target, metric in TARGETS.items():
        cells = [
            entry(groups, lambda line, t=target, g=group: line["target"] == t and line["group"] == g) for group in TYPES
        ]
        rows.append(
            f"| `{target}` ({metric}) | {chances[target]:g} | {english(results, target)} | {' | '.join(cells)} |"
        )
    return "\n".join(
        [
            quoted,
            "",
            f"![{PICTURE}](docs/default_sweep.svg)",
            "",
            f"Mean scores of the baseline over {seeds} seeds, and in brackets the lift after `{'` / `'.join(ARMS)}`:",
            "",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Replace what stands between the two marks of README.md."""
    results = Path(sys.argv[1])
    readme = DOCS.parent / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = f"{BEGIN}{block(results)}{END}"
    found, count = re.subn(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: new, text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{readme}: the marks {BEGIN.strip()} and {END.strip()} do not stand there once.")
    readme.write_text(found, encoding="utf-8")
    shutil.copyfile(results / "report" / "figures" / MODEL / "lift.svg", DOCS / "default_sweep.svg")


if __name__ == "__main__":
    main()
