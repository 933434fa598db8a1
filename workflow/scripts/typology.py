"""Ask whether the lift depends on morphology, with languages as the units, of every test of a sweep together.

Makes, beside --output (omnibus.csv: do the types differ?): types.csv, every type's difference from the mean with
intervals; and predictors.csv, the lift regressed on numbers about languages.

Example:
  python workflow/scripts/typology.py --inputs results/significance/e5-small/intent.json \\
    results/significance/e5-small/slots.json --corpora e5-small=cc100 --output results/typology/omnibus.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import identity, scriptlog
from stiltsweep.errors import UserError, nearest, run_script
from stiltsweep.languages import TABLE, Languages
from stiltsweep.significance import table
from stiltsweep.typology import OMNIBUS, TERMS, Settings, compare_types, levels, predictors, regress
from stiltsweep.typology.levels import TYPES
from stiltsweep.typology.tables import MEAN

BESIDE = ("types.csv", "predictors.csv")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, log, read, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", nargs="+", type=Path, required=True, help="JSON files of scripts/significance.py")
    parser.add_argument("--tables", nargs="+", type=Path, default=[TABLE], help="languages.csv files, later ones win")
    parser.add_argument("--measures", nargs="*", type=Path, default=[], help="JSON files of scripts/measure.py")
    parser.add_argument("--probes", nargs="*", type=Path, default=[], help="probes.csv")
    parser.add_argument("--corpora", nargs="*", default=[], metavar="MODEL=CORPUS", help="of pre-training")
    parser.add_argument("--predictors", nargs="*", default=[], help="more columns of languages.csv, of numbers")
    parser.add_argument("--output", type=Path, required=True, help="omnibus.csv")
    arguments = parser.parse_args(argv)
    scriptlog.start(arguments)
    corpora = _corpora(arguments.corpora)
    for path in arguments.inputs:
        identity.made(path)
    documents = table.combine(arguments.inputs)
    said = documents[0]["settings"]
    settings = Settings(said["resamples"], said["seed"], said["confidence"])
    languages = Languages.read(arguments.tables)
    asked = levels(documents)
    tests, terms = compare_types(asked, languages, said["families"], settings)
    table.write_csv(arguments.output, tests, OMNIBUS)
    table.write_csv(arguments.output.with_name("types.csv"), terms, TERMS)
    known = {code for level in asked for code in level.languages}
    numbers = [
        *predictors.of_languages(languages, arguments.predictors),
        *predictors.of_texts(arguments.measures),
        *predictors.of_probes(arguments.probes, known),
    ]
    sizes = predictors.sizes(languages, corpora)
    numbers = predictors.apart(numbers, [TYPES, MEAN, *(size.name for size in sizes.values())])
    rows = regress(asked, languages, said["families"], numbers, sizes, settings)
    table.write_csv(arguments.output.with_name("predictors.csv"), rows, TERMS)
    paths = [*arguments.inputs, *arguments.tables, *arguments.measures, *arguments.probes]
    made_from = identity.tabled(
        "typology", sys.argv[1:] if argv is None else argv, identity.inputs(arguments.output.parents[1], paths)
    )
    identity.record(arguments.output, made_from, [arguments.output.with_name(name) for name in BESIDE])
    tested = sum(row["status"] == "ok" for row in tests)
    print(f"{tested} of {len(tests)} tests of types, {len(rows)} rows of predictors: {arguments.output.parent}")


def _corpora(texts: Sequence[str]) -> dict[str, str]:
    corpora = {}
    for text in texts:
        model, _, corpus = text.partition("=")
        if corpus not in predictors.CORPORA:
            hint = nearest(corpus, predictors.CORPORA)
            raise UserError(f"--corpora {text}: {corpus!r} is not one of {', '.join(predictors.CORPORA)}.{hint}")
        corpora[model] = corpus
    return corpora


if __name__ == "__main__":
    run_script(main)
