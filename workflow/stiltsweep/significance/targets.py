"""The mean lift of an arm over all targets of a model: which intermediate task helps most, and how sure that is.

Each target counts once, with the lift over all its transfer languages. The draws are those of the targets' own tests:
examples of one target are drawn apart from another's, and runs of the same seed are one block in all targets, since
they share what the intermediate stage made of the seed.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arms import BASELINE
from ..resampling.draws import normals
from . import influence
from .analysis import Row, judged, rounded, without_value
from .beyond import run_components
from .comparison import COLUMNS
from .estimands import Estimand, weights, zero_filled
from .resampled import LEVELS, Resampled, Settings
from .seeds import Component, draw

Array = NDArray[np.float64]

SCOPE = "targets"
"""Scope of these rows; their target, grouping and group are `ALL`."""
ALL = "all"


def parts(resampled: Resampled, rows: Iterable[Row]) -> dict[str, Any]:
    """Return what `means` needs of one target, as JSON.

    Args:
      resampled: see `resampled.resample`.
      rows: the tested rows; those of all languages together are taken.

    Returns:
      Arm -> the draws of its lift and its runs. Arms that are not tested, or hold the target's data, are left out.
    """
    statistics = resampled.statistics
    arms: dict[str, Any] = {}
    for row in rows:
        arm = row["intermediate"]
        if row["scope"] != ALL or row["status"] != "ok" or row["contaminated"]:
            continue
        estimand = Estimand(ALL, ALL, ALL, tuple(row["languages"].split()))
        maps = weights([estimand], statistics.languages)
        # A draw that leaves a language nothing to score (0/0) has no value, and is not a lift of 0 there.
        known = np.array([code in estimand.languages for code in statistics.languages])
        drawn = maps[:, known] @ (resampled.drawn[arm] - resampled.drawn[BASELINE])[known]
        both = {
            code: resampled.arms[arm].mean[code] - resampled.arms[BASELINE].mean[code] for code in estimand.languages
        }
        lift = float((maps @ zero_filled(_scores(resampled, arm) - _scores(resampled, BASELINE)))[0])
        cubes, squares = influence.moments(resampled.strata, both, weights([estimand], list(both)))
        components, labels, _ = run_components(resampled, (arm, BASELINE), maps)
        arms[arm] = {
            "lift": lift,
            "deviations": _packed(drawn[0] - lift),
            "cubes": float(cubes[0]),
            "squares": float(squares[0]),
            "runs": [
                {
                    "labels": names,
                    "deviations": [round(float(value), 12) for value in one.deviations[:, 0]],
                    "noise": float(one.noise[0]),
                }
                for one, names in zip(components, labels, strict=True)
                if resampled.settings.resampling != LEVELS[0]
            ],
        }
    return arms


def _scores(resampled: Resampled, arm: str) -> Array:
    return np.asarray(resampled.arms[arm].scores.mean(axis=0))


def _packed(values: Array) -> str:
    """Write draws as text, to the last bit, so that ties stay ties; of accuracies few values occur."""
    return base64.b64encode(zlib.compress(values.astype("<f8").tobytes())).decode("ascii")


def _unpacked(text: str) -> Array:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<f8")


def means(documents: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row for every model and arm with at least two targets, with the keys of lift.csv.

    Args:
      documents: what scripts/significance.py wrote, of all targets, tested alike.
    """
    rows: list[Row] = []
    for model in dict.fromkeys(document["model"] for document in documents):
        own = [document for document in documents if document["model"] == model]
        arms = dict.fromkeys(arm for document in own for arm in document["targets"])
        every = {document["target"] for document in own}
        for arm in arms:
            held = [document for document in own if arm in document["targets"]]
            if len(held) > 1:
                rows.append(_mean(model, arm, held, sorted(every - {document["target"] for document in held})))
    return rows


def _mean(model: str, arm: str, held: Sequence[Mapping[str, Any]], lacks: Sequence[str]) -> Row:
    settings = Settings.of(held[0]["settings"])
    count = len(held)
    parts = [document["targets"][arm] for document in held]
    rows = [
        next(row for row in document["rows"] if row["scope"] == ALL and row["intermediate"] == arm) for document in held
    ]
    lift = np.array([np.mean([part["lift"] for part in parts])])  # rows have it rounded
    deviations = np.mean([_unpacked(part["deviations"]) for part in parts], axis=0)[None, :]
    undefined = np.isnan(deviations)
    deviations[undefined] = 0.0
    lost = int(undefined.sum())
    components, multipliers = _runs(parts, settings)
    spread, added = draw(components, multipliers, settings.seed, "runs") if components else (0.0, None)
    columns, fitted = judged(
        settings,
        lift,
        deviations,
        np.array([lost]),
        np.zeros_like(deviations) + spread,
        [added] if added else [],
        np.array([sum(part["cubes"] for part in parts)]) / count**3,
        np.array([sum(part["squares"] for part in parts)]) / count**2,
    )
    languages = sorted({code for row in rows for code in row["languages"].split()})
    level = settings.resampling if settings.resampling != LEVELS[2] else LEVELS[1]
    notes = [f"{count} targets"] + ([f"without {', '.join(lacks)}"] if lacks else [])
    said, untested = without_value(lost, settings)
    notes += [said] if said else []
    return {
        **dict.fromkeys(COLUMNS),
        "model": model,
        "target": ALL,
        "metric": "mean of the targets' own",
        "intermediate": arm,
        "scope": SCOPE,
        "grouping": ALL,
        "group": ALL,
        "first_group": "",
        "second_group": "",
        "status": "n/a" if untested else "ok",
        "reason": "; ".join(notes),
        "conclusion": "",
        "baseline_score": rounded(np.mean([row["baseline_score"] for row in rows])),
        "score": rounded(np.mean([row["score"] for row in rows])),
        "lift": rounded(lift[0]),
        **{name: rounded(values[0]) for name, values in columns.items() if name not in untested},
        "p_fitted": bool(fitted[0]) and not untested,
        "resampling": level if components else LEVELS[0],
        "n_languages": len(languages),
        "n_examples": sum(row["n_examples"] for row in rows),
        "n_clusters": sum(row["n_clusters"] for row in rows),
        "n_seeds": min(row["n_seeds"] for row in rows),
        "languages": " ".join(languages),
        "missing": " ".join(name for row in rows for name in row["missing"].split()),
        "contaminated": False,
    }


def _runs(parts: Sequence[Mapping[str, Any]], settings: Settings) -> tuple[list[Component], list[Array]]:
    """Return the sets of runs that vary on their own, and their draws: the same runs in several targets are one set."""
    together: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for part in parts:
        for one in part["runs"]:
            together.setdefault(tuple(one["labels"]), []).append(one)
    components, multipliers = [], []
    for labels, sets in together.items():
        deviations = np.sum([one["deviations"] for one in sets], axis=0)[:, None] / len(parts)
        noise = np.array([sum(one["noise"] for one in sets)]) / len(parts) ** 2
        components.append(Component(deviations, noise, np.full(1, len(labels) - 1.0)))
        multipliers.append(normals(settings.seed, "run", labels, settings.resamples))
    return components, multipliers
