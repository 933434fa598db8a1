"""Measure a model's tokenizer on the test texts of a target, and write every test example's attributes.

Example:
  python workflow/scripts/measure.py --model results/models/e5-small/model.json --target intent \\
    --data results/data/intent --languages en fi hu tr de ru ar --output results/measures/e5-small/intent.json
"""

import _path  # noqa: F401
from stiltsweep import warm

warm.hand_over()

import argparse
import sys
from pathlib import Path

from stiltsweep import identity, scriptlog
from stiltsweep.errors import UserError, run_script
from stiltsweep.tokenization import measure


def main() -> None:
    """Parse, log, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model's model.json")
    parser.add_argument("--target", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the target's prepared data")
    parser.add_argument("--languages", nargs="+", required=True, help="languages to measure, English among them")
    parser.add_argument("--candidates-english", action="store_true", help="right candidates are English translations")
    parser.add_argument(
        "--segmentations", nargs="*", default=[], metavar="LANGUAGE=FILE", help="word<TAB>mor phe mes, one a line"
    )
    parser.add_argument("--output", type=Path, required=True, help="measures as JSON; attributes beside it as Parquet")
    arguments = parser.parse_args()
    scriptlog.start(arguments)
    supplied = {}
    for text in arguments.segmentations:
        language, equals, path = text.partition("=")
        if not equals:
            raise UserError(f"--segmentations: {text!r} is not LANGUAGE=FILE.")
        supplied[language] = Path(path)
    directory = arguments.model.parent
    document = measure(
        directory,
        arguments.data,
        arguments.languages,
        arguments.output,
        identity={"model": directory.name, "target": arguments.target},
        candidates_english=arguments.candidates_english,
        supplied=supplied,
    )
    data = [arguments.data / f"{language}.parquet" for language in arguments.languages]
    read = identity.inputs(arguments.output.parents[2], [arguments.model, *data, *supplied.values()])
    made_from = identity.tabled("measure", sys.argv[1:], read)
    identity.record(arguments.output, made_from, [arguments.output.with_suffix(".parquet")])
    for language, measures in document["languages"].items():
        numbers = {key: value for key, value in measures.items() if isinstance(value, float)}
        print(language, ", ".join(f"{key} {value:.3f}" for key, value in numbers.items()))


run_script(main)
