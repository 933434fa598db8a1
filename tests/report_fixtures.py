"""Finished sweeps for tests of the report: synthetic cells with real comparisons, and planted comparisons without any."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import lift as lift_script
import numpy as np
import significance as significance_script
import typology as typology_script
from scipy.stats import norm

from stiltsweep.catalog import BUILT_IN
from stiltsweep.files import digest, write_json, write_record
from stiltsweep.languages import ENGLISH, Languages
from stiltsweep.significance import Comparison
from synthetic import LANGUAGES, write_sweep

TABLE = Languages.read([BUILT_IN / "languages.csv"])
FIELDS = list(Comparison.__annotations__)
Row = dict[str, Any]
NOTE = "Sentences are random expansions of templates; what is odd in a language's templates is odd in its scores."


def comparison(**values: Any) -> Row:
    """Return a row of lift.csv with a small lift that is not significant, changed by `values`."""
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
        "conclusion": "not settled",
        "first_group": "",
        "second_group": "",
        "p_fitted": "false",
        "p_margin": 0.3,
        "p_margin_holm": 0.6,
        "detectable_lift_holm": 3.4,
        "n_clusters": 200,
        "examples_se": 0.6,
        "runs_se": 0.7,
        "runs_degrees": 2.0,
        "seed_correlation": 0.9,
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
    return row | values


def positive(**values: Any) -> Row:
    """Return a significant gain of 3.14 points."""
    tests = {"conclusion": "helped", "ci_low": 1.2, "ci_high": 5.1, "p": 0.001, "p_holm": 0.004, "examples_p": 0.0001}
    return comparison(**{"score": 63.14, "lift": 3.14, **tests, **values})


def negative(**values: Any) -> Row:
    """Return a significant loss of 2.77 points."""
    tests = {"conclusion": "hurt", "ci_low": -4.4, "ci_high": -1.1, "p": 0.0004, "p_holm": 0.0008, "examples_p": 0.0001}
    return comparison(**{"score": 57.23, "lift": -2.77, **tests, **values})


def not_available(reason: str, **values: Any) -> Row:
    """Return a comparison that could not be made."""
    known = ("model", "target", "metric", "intermediate", "scope", "grouping", "group", "resampling", "contaminated")
    row = {name: value if name in known else "" for name, value in comparison(**values).items()}
    return row | {"status": "n/a", "reason": reason, "n_languages": 0, "n_examples": 0, "n_clusters": 0, "n_seeds": 0}


def in_group(row: Row, group: str) -> Row:
    """Make a comparison one of a family."""
    return row | {"scope": "group", "grouping": "family", "group": group}


def contrast(row: Row, group: str = "agglutinative - fusional") -> Row:
    """Make a comparison one between families."""
    empty = {"baseline_score": "", "score": ""}
    first, second = group.split(" - ")
    sides = {"first_group": first, "second_group": second}
    said = {"helped": "higher", "hurt": "lower"}.get(row["conclusion"], row["conclusion"])
    return row | {"scope": "contrast", "grouping": "family", "group": group, "conclusion": said} | sides | empty


def write_lift(path: Path, rows: Iterable[Row], fields: Sequence[str] = FIELDS) -> Path:
    """Write rows as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, fields, lineterminator="\n", extrasaction="ignore")
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
) -> Row:
    """Return a run description, changed by `values`."""
    about = {"description": "A task of the tests.", "licence": "MIT", "source": {"type": "package", "package": "demo"}}
    about["kind"] = "classification"
    tests = {"resamples": 500, "seed": 0, "confidence": 0.95, "resampling": "examples+seeds"}
    return {
        "title": "A sweep of the tests",
        "families": "family",
        "significance": {**tests, "groupings": [], "allow_missing": True},
        "models": [{**about, "name": m, "kind": "encoder", "description": "A model of the tests."} for m in models],
        "intermediates": [{**about, "name": i} for i in intermediates],
        "targets": [
            {**about, "name": t, "notes": [NOTE], "languages": list(languages), "trainings": [t]} for t in targets
        ],
        "tasks": [{**about, "name": "wikipedia", "kind": "text", "description": "A text of the tests."}],
        "probes": [],
        "benchmarks": {},
        "seeds": list(seeds),
        "source_languages": ["en"],
        "shots": 0,
        "languages": {code: dict(TABLE.rows[code]) for code in languages},
        "omitted": [
            {"target": targets[0], "language": "sw", "reason": "12 test examples, fewer than 30", "intermediate": ""}
        ],
        "configuration": "title: A sweep of the tests\nmodels: [tiny]\n",
        "revision": "0123abc",
        **values,
    }


def write_all(folder: Path, run: Row, lifts: Mapping[tuple[str, str, str], float] | None = None, **cells: Any) -> Path:
    """Write a sweep as the pipeline leaves it, with the comparisons that the project's scripts make of it.

    Args:
      folder: the results folder.
      run: see `description`.
      lifts: (intermediate, target, language or family) -> points.
      cells: further arguments of `synthetic.write_sweep`.

    Returns:
      The results folder.
    """
    left_out = {(entry["target"], entry["intermediate"]) for entry in run["omitted"] if not entry["language"]}
    tested = []
    for model in names(run, "models"):
        for number, about in enumerate(run["targets"]):
            target = about["name"]
            arms = [arm for arm in ["none", *names(run, "intermediates")] if (target, arm) not in left_out]
            planted = {(i, where): points for (i, t, where), points in (lifts or {}).items() if t == target}
            grid = {"models": [model], "targets": [target], "intermediates": arms, "seeds": run["seeds"]}
            own = {"languages": about["languages"], "lifts": planted, "rng_seed": number, "baseline": 55.0 + 6 * number}
            write_sweep(folder, **{**grid, **own, **cells})
            arguments = {"results": folder, "model": model, "target": target, "intermediates": arms}
            arguments |= {"seeds": run["seeds"], "languages": about["languages"]}
            arguments |= {"resamples": run["significance"]["resamples"], "output": folder / f"{model}-{target}.json"}
            tested.append(arguments["output"])
            significance_script.main(["--allow-missing", *_flags(arguments)])
    lift_script.main(_flags({"inputs": tested, "output": folder / "significance/lift.csv"}))
    typology_script.main(_flags({"inputs": tested, "output": folder / "typology/omnibus.csv"}))
    _write_jobs(folder, run)
    write_json(folder / "report/run.json", run)
    return folder


def names(run: Row, part: str) -> list[str]:
    """Return the names of a run's models, intermediates or targets."""
    return [entry["name"] for entry in run[part]]


def _flags(arguments: Row) -> list[str]:
    flags = []
    for name, value in arguments.items():
        flags += [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return flags


def _write_jobs(folder: Path, run: Row) -> None:
    """Write timings, training records and model records where the pipeline leaves them."""
    for model in names(run, "models"):
        write_record(
            folder / f"models/{model}/model.json",
            {
                "parameters": 117653760,
                "vocabulary_size": 250037,
                "weights_sha256": digest([model, "weights"]),
                "tokenizer_sha256": digest([model, "tokenizer"]),
                "source": {"type": "package", "version": "1.0"},
            },
        )
        for seed in run["seeds"]:
            for arm in ["none", *names(run, "intermediates")]:
                jobs = [f"finetune/{model}/{arm}/{t}/seed{seed}" for t in names(run, "targets")]
                jobs += [f"predictions/{model}/{arm}/{t}/seed{seed}" for t in names(run, "targets")]
                jobs += [f"intermediate/{model}/{arm}/seed{seed}"] if arm != "none" else []
                for job in jobs:
                    timing = {"seconds": 12.5, "tokens": 40_000, "peak_memory_mb": 910, "device": "cpu"}
                    write_json(folder / job / "timing.json", timing)
                    if not job.startswith("predictions"):
                        record = {
                            "updates": 70,
                            "tokens": 40_000,
                            "dev": {"score": 91.5},
                            "chance": 10,
                            "learned": True,
                            "precision": "fp32",
                            "data_sha256": digest("data"),
                            "weights_sha256": digest(job),
                            "versions": {"stiltsweep": "0.1.0", "torch": "2.13.0"},
                        }
                        write_record(folder / job / "checkpoint.json", record)


def planted(run: Row) -> list[Row]:
    """Return comparisons of every scope without any cells, with noise that depends on names alone."""
    rows: list[Row] = []
    families = sorted({row["family"] for row in TABLE.rows.values()})
    for model in names(run, "models"):
        for target in run["targets"]:
            codes = [c for c in target["languages"] if c != ENGLISH]
            groups = {f: [c for c in codes if run["languages"][c]["family"] == f] for f in families}
            for intermediate in names(run, "intermediates"):
                about = {"model": model, "target": target["name"], "intermediate": intermediate}
                rng = np.random.default_rng([*"/".join(about.values()).encode()])
                lifts = {c: rng.normal(0, 1.5) for c in codes}
                rows.append(_tested(codes, lifts, 1.3) | about)
                for group, members in groups.items():
                    row = _tested(members, lifts, 2.0) if members else not_available("no language of this group")
                    rows.append(in_group(row, group) | about)
                for one, other in combinations([g for g in groups if groups[g]], 2):
                    row = _tested(groups[one], lifts, 2.6, minus=groups[other])
                    rows.append(contrast(row, f"{one} - {other}") | about)
                for code in codes:
                    scope = {"scope": "language", "grouping": "language", "group": code}
                    rows.append(_tested([code], lifts, 3.5) | about | scope)
    return rows


def _tested(members: Sequence[str], lifts: Mapping[str, float], width: float, minus: Sequence[str] = ()) -> Row:
    mean = float(np.mean([lifts[c] for c in members]) - (np.mean([lifts[c] for c in minus]) if minus else 0.0))
    p = float(2 * norm.sf(abs(mean) * 1.96 / width)) + 1e-4
    return comparison(
        score=60 + mean,
        lift=mean,
        ci_low=mean - width,
        ci_high=mean + width,
        examples_ci_low=mean - 0.6 * width,
        examples_ci_high=mean + 0.6 * width,
        p=p,
        p_holm=min(1.0, 2.5 * p),
        n_languages=len(members) + len(minus),
        languages=" ".join([*members, *minus]),
    )
