"""Compare two sweeps: settings that differ, cells and lifts that changed, by how much, and whether seeds do as much.

Example:
  python workflow/scripts/compare.py results results-of-last-month --output changed.csv
"""

import argparse
import csv
import io
from dataclasses import astuple
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import comparing
from stiltsweep.errors import run_script
from stiltsweep.files import write_text


def main() -> None:
    """Parse, read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="a results folder")
    parser.add_argument("second", type=Path, help="another one")
    parser.add_argument("--output", type=Path, help="CSV file of every cell that changed")
    arguments = parser.parse_args()
    one, other = comparing.read(arguments.first), comparing.read(arguments.second)
    old, new = comparing.settings(arguments.first), comparing.settings(arguments.second)
    if not old or not new:
        print("Settings: not compared, since a folder has no report.")
    for key in sorted({*old, *new}) if old and new else []:
        if old.get(key) != new.get(key):
            print(f"Setting {key}: {old.get(key, 'not there')} -> {new.get(key, 'not there')}")
    print(
        f"Cells: {len(one.keys() & other.keys())} in both, {len(one.keys() - other.keys())} only in the first, "
        f"{len(other.keys() - one.keys())} only in the second."
    )
    print("model / intermediate / target: cells, changed, mean difference (standard error of seeds), verdict")
    for change in comparing.changes(one, other):
        spread = "" if change.spread is None else f" ({change.spread:.2f})"
        print(
            f"{change.model} / {change.intermediate} / {change.target}: {change.cells}, {change.changed}, "
            f"{change.difference:+.2f}{spread}, {change.verdict}"
        )
    how = comparing.failed_intermediates(old), comparing.failed_intermediates(new)
    if lifts := comparing.lifts(one, other, comparing.sources(old) | comparing.sources(new), failed=how):
        print("model / intermediate / target: lift in the first, in the second (transfer languages), verdict")
    for lift in lifts:
        spread = "" if lift.spread is None else f" (standard error {lift.spread:.2f})"
        print(
            f"{lift.model} / {lift.intermediate} / {lift.target}: {lift.first:+.2f}, {lift.second:+.2f} "
            f"({lift.languages}), {lift.verdict}{spread}"
        )
    if arguments.output:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = ("model", "intermediate", "target", "seed", "language")
        writer.writerow([*names, "first", "second", "difference", "made_from"])
        for cell in sorted(one.keys() & other.keys()):
            a, b = one[cell], other[cell]
            parts = {*a.get("digests", {}), *b.get("digests", {})}
            made = " ".join(sorted(part for part in parts if a["digests"].get(part) != b["digests"].get(part)))
            if a["score"] != b["score"] or made:
                writer.writerow([*astuple(cell), a["score"], b["score"], b["score"] - a["score"], made])
        write_text(arguments.output, text.getvalue())


run_script(main)
