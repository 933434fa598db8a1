"""Test every lift of one model and target.

Example:
  python workflow/scripts/significance.py --results results --model e5-small --target intent \\
    --intermediates none pairs typing --seeds 0 1 2 --languages en fi hu tr de ru ar --families family
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

import _testing
from stiltsweep import identity, scriptlog
from stiltsweep.errors import run_script
from stiltsweep.files import digest, write_json
from stiltsweep.layout import Layout
from stiltsweep.significance import compare, components, controls, estimands, joint, resample, runs, targets
from stiltsweep.significance.sensitivity import variants


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, log, read, test, write."""
    parser = _testing.options(__doc__)
    parser.add_argument("--groupings", nargs="*", default=[], help="further columns of languages.csv")
    parser.add_argument("--output", type=Path, help="default: {results}/significance/{model}/{target}.json")
    arguments = parser.parse_args(argv)
    scriptlog.start(arguments)

    settings = _testing.settings(arguments)
    columns = list(dict.fromkeys([arguments.families, *arguments.groupings]))
    statistics, table, found_groups = _testing.inputs(arguments, columns)
    groups = dict(found_groups)
    # An empty family is a finding about the target; an empty one of 16 scripts is noise.
    groups |= {c: {g: codes for g, codes in groups[c].items() if codes} for c in columns[1:]}
    pairs = controls.pairs(statistics.intermediates)
    resampled = resample(statistics, settings, pairs)
    asked = estimands(statistics.languages, groups, arguments.families)
    rows = compare(resampled, asked)
    main = [e for e in asked if e.scope == "all" or (e.scope, e.grouping) == ("group", arguments.families)]
    sensitivity = []
    for variant, (changed, codes) in variants(table, arguments.families, statistics.languages).items():
        # A language's own lift does not depend on labels.
        relabelled = [
            estimand
            for estimand in estimands(statistics.languages, {arguments.families: changed}, arguments.families)
            if estimand.scope in ("group", "contrast")
        ]
        about = {"variant": variant, "relabelled": " ".join(codes)}
        sensitivity += [about | row for row in compare(resampled, relabelled)]
    document = {
        "model": arguments.model,
        "target": arguments.target,
        "metric": statistics.metric,
        "settings": asdict(settings) | {"families": arguments.families, "groupings": columns[1:]},
        "seeds": {arm: list(seeds) for arm, seeds in statistics.seeds.items()},
        "strata": [{"languages": list(s.rows), "examples": len(s.ids)} for s in resampled.strata],
        "missing": [gap.name for gap in statistics.gaps],
        "cells": digest(dict(statistics.digests)),
        "runs": runs.scores(resampled, main),
        "rows": rows,
        "controls": controls.compared(resampled, main, pairs),
        "sensitivity": sensitivity,
        "joint": joint.document(resampled),
        "components": components.document(resampled),
        "targets": targets.parts(resampled, rows),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    place = Layout(str(arguments.results)).path("tests", model=arguments.model, target=arguments.target)
    output = arguments.output or Path(place)
    write_json(output, document)
    identity.record(output, _testing.made_from("significance", argv, arguments))
    tested = sum(row["p"] is not None for row in rows)
    print(f"{arguments.model}/{arguments.target}: {tested} of {len(rows)} comparisons tested ({settings.resampling})")
    for gap in statistics.gaps:
        print(f"left out: {gap.name}")


if __name__ == "__main__":
    run_script(main)
