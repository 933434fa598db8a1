"""Test the lifts of one model and target within buckets of examples: by length, label, overlap ...

Makes, beside --output (lifts of families and of all languages): {target}.contrasts.csv, differences between families.

Example:
  python workflow/scripts/diagnose.py --results results --model e5-small --target intent \\
    --intermediates none pairs typing --seeds 0 1 2 --languages en fi hu tr de ru ar --families family \\
    --attributes length tokens_per_word label
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

from pathlib import Path

import _testing
from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.files import read_json
from stiltsweep.layout import Layout
from stiltsweep.significance import estimands
from stiltsweep.significance.buckets import COLUMNS, Attributes, diagnose
from stiltsweep.significance.table import write_csv


def main() -> None:
    """Parse, log, read, test, write."""
    parser = _testing.options(__doc__)
    parser.add_argument("--attributes", nargs="*", default=[], help="columns of the measures' Parquet file")
    parser.add_argument("--buckets", type=int, default=4, help="of a numeric attribute")
    parser.add_argument("--minimum", type=int, default=30, help="examples of a group in a bucket; fewer are n/a")
    parser.add_argument("--measures", type=Path, help="default: {results}/measures/{model}/{target}.json")
    parser.add_argument("--output", type=Path, help="default: {results}/diagnosis/{model}/{target}.csv")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    pair = {"model": arguments.model, "target": arguments.target}
    layout = Layout(str(arguments.results))
    measures = arguments.measures or Path(layout.path("measures", **pair))
    identity.made(measures)
    statistics, _, groups = _testing.inputs(arguments, [arguments.families])
    rows = diagnose(
        statistics,
        Attributes.read(measures.with_suffix(".parquet"), arguments.attributes, read_json(measures)["parallel"]),
        _testing.settings(arguments),
        estimands(statistics.languages, groups, arguments.families),
        count=arguments.buckets,
        minimum=arguments.minimum,
    )
    output = arguments.output or Path(layout.path("buckets", **pair))
    contrasts = [row for row in rows if row["scope"] == "contrast"]
    write_csv(output.with_suffix(".contrasts.csv"), contrasts, COLUMNS)
    write_csv(output, [row for row in rows if row["scope"] != "contrast"], COLUMNS)
    made_from = _testing.made_from("diagnose", None, arguments, [measures])
    identity.record(output, made_from, [output.with_suffix(".contrasts.csv")])
    tested = sum(row["status"] == "ok" for row in rows)
    print(f"{arguments.model}/{arguments.target}: {tested} of {len(rows)} comparisons tested")


run_script(main)
