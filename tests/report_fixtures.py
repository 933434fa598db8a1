"""Small finished sweeps for tests of the report: synthetic cells, and comparisons with planted lifts and p values."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm
from synthetic import LANGUAGES, write_sweep

from stiltsweep.catalog import BUILT_IN
from stiltsweep.files import write_json
from stiltsweep.languages import SOURCE_LANGUAGE, Languages
from stiltsweep.report.results import Comparison

FIELDS = list(Comparison.__annotations__)
Row = dict[str, Any]
NOTE = "Sentences are random expansions of templates; what is odd in a language's templates is odd in its scores."


def comparison(**values: Any) -> Row:
    """Return a row of lift.csv with a plain, not significant lift, changed by `values`."""
    row: Row = {
        "model": "tiny",
        "target": "intent",
        "metric": "accuracy",
        "intermediate": "pairs",
        "scope": "all",
        "grouping": "all",
        "group": "all",
        "status": "ok",
        "reason": "",
        "baseline_score": 60.0,
        "score": 60.5,
        "lift": 0.5,
        "ci_low": -1.5,
        "ci_high": 2.5,
        "bca_low": -1.4,
        "bca_high": 2.6,
        "p": 0.6,
        "p_holm": 1.0,
        "p_bh": 0.8,
        "p_signflip": 0.61,
        "detectable_lift": 2.8,
        "resampling": "examples+seeds",
        "n_languages": 9,
        "n_examples": 200,
        "n_seeds": 3,
        "languages": "ar de fi",
        "examples_ci_low": -0.7,
        "examples_ci_high": 1.7,
        "examples_p": 0.4,
        "missing": "",
        "contaminated": "false",
    }
    assert values.keys() <= row.keys()
    return {**row, **values}


def positive(**values: Any) -> Row:
    return comparison(
        **{
            "score": 63.14,
            "lift": 3.14,
            "ci_low": 1.2,
            "ci_high": 5.1,
            "p": 0.001,
            "p_holm": 0.004,
            "examples_p": 0.0001,
        }
        | values
    )


def negative(**values: Any) -> Row:
    return comparison(
        **{
            "score": 57.23,
            "lift": -2.77,
            "ci_low": -4.4,
            "ci_high": -1.1,
            "p": 0.0004,
            "p_holm": 0.0008,
            "examples_p": 0.0001,
        }
        | values
    )


def not_available(reason: str, **values: Any) -> Row:
    empty = dict.fromkeys(
        [
            "score",
            "baseline_score",
            "lift",
            "ci_low",
            "ci_high",
            "bca_low",
            "bca_high",
            "p",
            "p_holm",
            "p_bh",
            "p_signflip",
            "detectable_lift",
            "examples_ci_low",
            "examples_ci_high",
            "examples_p",
            "languages",
        ],
        "",
    )
    return comparison(**empty, status="n/a", reason=reason, n_languages=0, n_examples=0, n_seeds=0) | values


def write_lift(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def description(
    *,
    models: Sequence[str] = ("tiny",),
    intermediates: Sequence[str] = ("pairs", "typing"),
    targets: Sequence[str] = ("intent",),
    languages: Sequence[str] = LANGUAGES,
    seeds: Sequence[int] = (0, 1, 2),
    **values: Any,
) -> dict[str, Any]:
    """Return a run description."""
    table = Languages.read([BUILT_IN / "languages.csv"])
    about = {"description": "A task of the tests.", "licence": "MIT", "source": {"type": "package", "package": "demo"}}
    return {
        "title": "test sweep",
        "families": "family",
        "significance": {
            "resamples": 1000,
            "seed": 0,
            "confidence": 0.95,
            "resampling": "examples+seeds",
            "groupings": [],
            "allow_missing": False,
        },
        "models": {m: {**about, "interface": "encoder", "description": "A model of the tests."} for m in models},
        "intermediates": {i: {**about, "kind": "classification"} for i in intermediates},
        "targets": {
            t: {**about, "kind": "classification", "notes": [NOTE], "languages": list(languages)} for t in targets
        },
        "seeds": list(seeds),
        "languages": {code: dict(table.rows[code]) for code in languages},
        "omitted": [{"target": targets[0], "language": "eu", "reason": "12 test examples, fewer than 30"}],
        "configuration": "title: test sweep\nmodels: [tiny]\n",
        "revision": "0123abc",
        **values,
    }


def sweep(
    folder: Path,
    *,
    lift_of: Callable[[str, str, str], float] = lambda intermediate, target, group: 0.0,
    **grid: Any,
) -> Path:
    """Write cells, lift.csv and run.json of a whole sweep; return the results folder.

    The comparisons are planted, not tested: `lift_of` gives the lift of a language or group, significance follows from it.
    """
    run = description(**{k: v for k, v in grid.items() if k not in ("n", "missing", "unlearned", "contaminated")})
    targets, arms = list(run["targets"]), list(run["intermediates"])
    codes = run["targets"][targets[0]]["languages"]
    for number, target in enumerate(targets):
        write_sweep(
            folder,
            models=list(run["models"]),
            targets=[target],
            intermediates=["none", *arms],
            seeds=run["seeds"],
            languages=codes,
            lifts={(i, c): lift_of(i, target, c) for i in arms for c in codes},
            n=grid.get("n", 20),
            baseline=60.0 + number,
            seed_sd=1.5,
            rng_seed=number,
            **{k: grid[k] for k in ("missing", "unlearned", "contaminated") if k in grid},
        )
    write_lift(folder / "significance/lift.csv", planted(run, lift_of, grid.get("contaminated", ())))
    write_json(folder / "report/run.json", run)
    return folder


def planted(run: Mapping[str, Any], lift_of: Callable[[str, str, str], float], contaminated: Any) -> list[Row]:
    """Return comparisons of every scope, with noise that depends on names alone."""
    rows: list[Row] = []
    all_families = sorted({row["family"] for row in Languages.read([BUILT_IN / "languages.csv"]).rows.values()})
    for model in run["models"]:
        for target, about in run["targets"].items():
            codes = [c for c in about["languages"] if c != SOURCE_LANGUAGE]
            for intermediate in run["intermediates"]:
                rng = np.random.default_rng([*model.encode(), *target.encode(), *intermediate.encode()])
                same = {"model": model, "target": target, "intermediate": intermediate}
                same["contaminated"] = str((intermediate, target) in contaminated).lower()
                lifts = {c: lift_of(intermediate, target, c) + rng.normal(0, 1.2) for c in codes}
                base = {c: 55 + rng.normal(0, 8) for c in codes}

                def row(
                    members: Sequence[str],
                    width: float,
                    same: Row = same,
                    lifts: Row = lifts,
                    base: Row = base,
                    **values: Any,
                ) -> Row:
                    mean = float(np.mean([lifts[c] for c in members]))
                    low = float(np.mean([base[c] for c in members]))
                    p = float(2 * norm.sf(abs(mean) * 1.96 / width)) + 1e-4
                    return comparison(
                        **same,
                        baseline_score=low,
                        score=low + mean,
                        lift=mean,
                        ci_low=mean - width,
                        ci_high=mean + width,
                        bca_low=mean - 1.02 * width,
                        bca_high=mean + 0.99 * width,
                        examples_ci_low=mean - 0.6 * width,
                        examples_ci_high=mean + 0.6 * width,
                        examples_p=p**1.8,
                        p=p,
                        p_holm=min(1.0, 2.5 * p),
                        p_bh=min(1.0, 1.5 * p),
                        p_signflip=p,
                        detectable_lift=1.4 * width,
                        n_languages=len(members),
                        n_examples=200,
                        languages=" ".join(members),
                        **values,
                    )

                rows.append(row(codes, 1.3))
                families = {f: [c for c in codes if run["languages"][c]["family"] == f] for f in all_families}
                for family, members in families.items():
                    scope = {"scope": "group", "grouping": "family", "group": family}
                    rows.append(
                        row(members, 2.0, **scope)
                        if members
                        else not_available("no language of this group", **same, **scope)
                    )
                for first, second in combinations([f for f in families if families[f]], 2):
                    difference = float(
                        np.mean([lifts[c] for c in families[first]]) - np.mean([lifts[c] for c in families[second]])
                    )
                    p = float(2 * norm.sf(abs(difference) * 1.96 / 2.6)) + 1e-4
                    rows.append(
                        comparison(
                            **same,
                            scope="contrast",
                            grouping="family",
                            group=f"{first} - {second}",
                            baseline_score="",
                            score="",
                            lift=difference,
                            ci_low=difference - 2.6,
                            ci_high=difference + 2.6,
                            p=p,
                            p_holm=min(1.0, 4 * p),
                            n_languages=len(families[first] + families[second]),
                            detectable_lift=3.7,
                            examples_ci_low=difference - 1.5,
                            examples_ci_high=difference + 1.5,
                            languages=" ".join(families[first] + families[second]),
                        )
                    )
                rows += [row([c], 3.5, scope="language", grouping="language", group=c) for c in codes]
    return rows
