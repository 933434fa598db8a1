"""Cells of sweeps that were never trained: scores with planted lifts, for tests of everything that reads cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtri

from stiltsweep.catalog import BUILT_IN
from stiltsweep.files import digest, digest_file, write_record
from stiltsweep.languages import ENGLISH, Languages
from stiltsweep.metrics import metric as find_metric
from stiltsweep.significance import Statistics

LANGUAGES = ("en", "zh", "vi", "fi", "hu", "ko", "tr", "de", "ru", "ar")


def write_sweep(
    results: Path,
    *,
    models: Sequence[str] = ("tiny",),
    targets: Sequence[str] = ("intent",),
    intermediates: Sequence[str] = ("none", "pairs", "typing"),
    seeds: Sequence[int] = (0, 1, 2),
    languages: Sequence[str] = LANGUAGES,
    lifts: Mapping[tuple[str, str], float] | None = None,
    baseline: float = 60.0,
    n: int = 200,
    parallel: str = "full",
    metrics: Sequence[str] = ("accuracy",),
    seed_sd: float = 1.0,
    correlation: float = 0.5,
    shared: float = 0.1,
    families: Mapping[str, str] | None = None,
    unlearned: Collection[tuple[str, str, int]] = (),
    failed_starts: Collection[tuple[str, str, int]] = (),
    contaminated: Collection[tuple[str, str]] = (),
    missing: Collection[tuple[str, str, int, str]] = (),
    same_baselines: bool = False,
    rng_seed: int = 0,
) -> list[Path]:
    """Write cells and their statistics in the layout of a real sweep.

    An example is answered rightly when a latent normal variable lies under the quantile of the run's accuracy (see
    `answers`), so the expected accuracy of a cell is exactly  baseline + lift + seed effect.

    Args:
      results: the results folder; cells go to results/cells/{model}/{intermediate}/{target}/seed{seed}/.
      models, targets, intermediates, seeds, languages: the grid; every combination is written.
      lifts: (intermediate, language or family) -> points added to the expected score; a language wins over its family.
      baseline: expected score of the untouched model, in points (0 to 100).
      n: test examples per language; with `partial` data the size of the pool, of which each language holds about 70%.
      parallel: `full`, `partial` or `none`: whether languages share ids.
      metrics: the first is the cell's score; means (accuracy, squad_f1 ...) and F1 of tp/fp/fn counts are known.
      seed_sd: standard deviation over seeds of a run's expected score, in points.
      correlation, shared: see `answers`.
      families: language -> value of the cell's `family`; default: the catalogue's languages.csv.
      unlearned: (intermediate, target, seed) of runs with `learned: false`.
      failed_starts: (intermediate, target, seed) of runs whose intermediate training learned nothing.
      contaminated: (intermediate, target) pairs with `contaminated: true`.
      missing: (intermediate, target, seed, language) of cells that are not written.
      same_baselines: every seed of `none` is the same run, as in retrieval from an untouched model.
      rng_seed: same seed, same bytes.

    Returns:
      The paths of the cells (JSON) written.
    """
    table = Languages.read([BUILT_IN / "languages.csv"])
    families = families or {code: table.value(code, "family") for code in languages if code != ENGLISH}
    lifts = lifts or {}
    written: list[Path] = []
    for m, model in enumerate(models):
        for t, target in enumerate(targets):
            ids = {code: example_ids(code, n, parallel, rng_seed + t) for code in languages}
            expected = {
                (arm, code): baseline + lifts.get((arm, code), lifts.get((arm, families.get(code, "")), 0.0))
                for arm in intermediates
                for code in languages
            }
            right = answers(
                np.random.default_rng([rng_seed, m, t]),
                ids,
                expected,
                seeds,
                seed_sd=seed_sd,
                correlation=correlation,
                shared=shared,
                constant=("none",) if same_baselines else (),
            )
            for i, intermediate in enumerate(intermediates):
                for s, seed in enumerate(seeds):
                    for k, code in enumerate(languages):
                        if (intermediate, target, seed, code) in missing:
                            continue
                        rng = np.random.default_rng([rng_seed, m, t, i, s, k])
                        identity = {
                            "model": model,
                            "intermediate": intermediate,
                            "target": target,
                            "seed": seed,
                            "language": code,
                        }
                        about = {
                            "family": families.get(code, ""),
                            "parallel": parallel,
                            "learned": (intermediate, target, seed) not in unlearned,
                            "failed_stages": [f"intermediate/{intermediate}"]
                            * ((intermediate, target, seed) in failed_starts),
                            "contaminated": (intermediate, target) in contaminated,
                        }
                        values = right[intermediate, seed, code]
                        written.append(_write_cell(results, identity, about, ids[code], values, metrics, rng))
    return written


def example_ids(language: str, n: int, parallel: str, rng_seed: int) -> list[str]:
    """Return the ids one language holds, in data order."""
    if parallel == "none":
        return [f"{language}-{i:05d}" for i in range(n)]
    if parallel == "full":
        return [f"ex-{i:05d}" for i in range(n)]
    held = np.random.default_rng([rng_seed, *language.encode()]).random(n) < 0.7
    return [f"ex-{i:05d}" for i in np.flatnonzero(held)]


def answers(
    rng: np.random.Generator,
    ids: Mapping[str, Sequence[str]],
    expected: Mapping[tuple[str, str], float],
    seeds: Sequence[int],
    *,
    seed_sd: float = 1.0,
    correlation: float = 0.5,
    shared: float = 0.1,
    steady: float = 0.1,
    constant: Collection[str] = (),
    paired: float = 0.0,
    cluster: int = 1,
) -> dict[tuple[str, int, str], np.ndarray]:
    """Draw who answers what rightly.

    Args:
      rng: of everything drawn.
      ids: language -> ids.
      expected: (arm, language) -> expected accuracy in points.
      seeds: runs of every arm.
      seed_sd: standard deviation over runs of the expected accuracy, in points; shared by all languages of a run.
      correlation: share of the latent variable that is the id's difficulty, the same for all arms, runs and languages.
      shared: share that is the arm's own liking for the id, the same for all its runs and languages: what makes lifts
        of parallel languages go together.
      steady: share that is the arm's liking for the id in one language, the same for all its runs.
      constant: arms whose runs are one and the same, with exactly the expected accuracy.
      paired: correlation of the effects that a seed has on the runs of two arms.
      cluster: ids, one after the other, that an arm likes alike (see `shared`, `steady`).

    Returns:
      (arm, seed, language) -> (examples,) of bool.
    """
    pool = sorted({i for held in ids.values() for i in held})
    position = {name: row for row, name in enumerate(pool)}
    rows = {code: np.array([position[i] for i in held]) for code, held in ids.items()}
    difficulty = rng.standard_normal(len(pool))
    common = rng.standard_normal(len(seeds)) if paired else np.zeros(len(seeds))
    found: dict[tuple[str, int, str], np.ndarray] = {}
    for arm in dict.fromkeys(arm for arm, _ in expected):
        liking = rng.standard_normal(len(pool))[np.arange(len(pool)) // cluster * cluster]
        # Of the languages' own likings only as many are drawn as there are examples.
        taste = {
            code: rng.standard_normal(len(at))[np.unique(at // cluster, return_inverse=True)[1]]
            for code, at in rows.items()
        }
        for place, seed in enumerate(seeds):
            effect = np.sqrt(paired) * common[place] + np.sqrt(1.0 - paired) * rng.standard_normal()
            effect *= seed_sd * (arm not in constant)
            for code, at in rows.items():
                own = rng.standard_normal(len(at))
                z = np.sqrt(correlation) * difficulty[at] + np.sqrt(shared) * liking[at]
                z += np.sqrt(steady) * taste[code] + np.sqrt(1.0 - correlation - shared - steady) * own
                limit = ndtri(np.clip((expected[arm, code] + effect) / 100, 0.001, 0.999))
                again = arm in constant and seed != seeds[0]
                found[arm, seed, code] = found[arm, seeds[0], code] if again else z < limit
    return found


def statistics(
    right: Mapping[tuple[str, int, str], np.ndarray], ids: Mapping[str, Sequence[str]], denominator: float = 1.0
) -> Statistics:
    """Return answers as the engine reads them, without files; ids must be sorted.

    Args:
      right: (arm, seed, language) -> (examples,) of numbers: what each example adds to the numerator.
      ids: language -> sorted ids.
      denominator: what each example adds to the denominator.
    """
    arms = tuple(dict.fromkeys(arm for arm, _, _ in right))
    return Statistics(
        model="tiny",
        target="intent",
        metric="accuracy",
        languages=tuple(sorted(ids)),
        seeds={arm: tuple(sorted({s for a, s, _ in right if a == arm})) for arm in arms},
        held={arm: frozenset(ids) for arm in arms},
        ids={code: tuple(held) for code, held in ids.items()},
        values={
            key: np.stack([values.astype(float), np.full(len(values), denominator)], axis=1)
            for key, values in right.items()
        },
    )


def _write_cell(
    results: Path,
    identity: Mapping[str, Any],
    about: Mapping[str, Any],
    ids: list[str],
    right: np.ndarray,
    metrics: Sequence[str],
    rng: np.random.Generator,
) -> Path:
    columns: dict[str, np.ndarray] = {}
    scores: dict[str, float | None] = {}
    for name in metrics:
        found = find_metric(name)
        if found.columns == ("tp", "fp", "fn"):
            # One to three gold spans an example: all found, or all missed with as many wrong ones half of the time.
            spans = np.random.default_rng(len(ids)).integers(1, 4, len(ids))
            wrong = spans * (rng.random(len(ids)) < 0.5)
            values = np.stack([spans * right, wrong * ~right, spans * ~right], axis=1)
        else:
            values = np.stack([np.ones(len(ids)), *[right] * (len(found.columns) - 1)], axis=1)
        values = values.astype(np.float64)
        columns |= {f"{name}.{column}": values[:, j] for j, column in enumerate(found.columns)}
        scores[name] = float(found.score(values.sum(axis=0)))
    folder = results / "cells" / identity["model"] / identity["intermediate"] / identity["target"]
    path: Path = folder / f"seed{identity['seed']}" / f"{identity['language']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), **columns}), path.with_suffix(".parquet"))
    digests = {part: digest([*identity.values(), part]) for part in ("data", "checkpoint", "predictions")}
    digests["statistics"] = digest_file(path.with_suffix(".parquet"))
    cost = {
        "train_seconds": 20.0 + float(rng.random()),
        "predict_seconds": 1.0 + float(rng.random()),
        "tokens": 40 * len(ids),
        "tokens_per_second": 2000.0,
        "peak_memory_mb": 900.0,
        "device": "cpu",
    }
    cell = {
        **identity,
        **about,
        "score": scores[metrics[0]],
        "metric": metrics[0],
        "metrics": scores,
        "n": len(ids),
        "digests": digests,
        "cost": cost,
        "recipe": digest([identity["model"], identity["intermediate"], identity["target"]]),
    }
    write_record(path, cell)
    return path
