"""Where the variances come from: the tests of this sweep, else those of sweeps that are shipped, by kind of task."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import identity
from ..catalog import BUILT_IN
from ..errors import UserError
from ..files import read_json
from ..significance import Joint
from ..significance.components import Components, mean
from ..typology.models import Problem, Undetermined, spread
from ..typology.observations import Observations
from ..typology.tables import LANGUAGES

PACKAGED = BUILT_IN / "components.csv"


@dataclass(frozen=True)
class Variances:
    """What is known of a target, or of a kind of task."""

    kind: str
    arm: Components
    """Of the lift of one arm, mean over arms."""
    arms: Components
    """Of the mean lift of all arms."""
    tau2: float
    """Between languages of one type, of the lift of one arm, in squared points."""
    examples: float
    """Of a language, where these come from."""
    source: str


@dataclass(frozen=True)
class Known:
    """Variances for every target of a sweep, and what of the languages' is common to targets."""

    targets: Mapping[str, Variances]
    shared: float
    """Share of tau2 that a language has in all targets alike, 0 to 1."""
    shared_source: str


def of_documents(documents: Iterable[Mapping[str, Any]], types: Mapping[str, str], kind: str, source: str) -> Variances:
    """Return the variances that tests of one kind of task, or of one target, say.

    Args:
      documents: what scripts/significance.py wrote.
      types: language -> type.
      kind: of the tasks.
      source: what to say of them.

    Raises:
      UserError: none of them has components.
    """
    documents = list(documents)
    arms = [one for document in documents for one in document["components"]["arms"].values()]
    means = [one for document in documents if (one := document["components"]["mean"])]
    if not arms:
        raise UserError(f"{source}: no arm has two runs, from which to tell how much runs differ.")
    lifts = [Joint.read(one) for document in documents for one in document["joint"]["arms"].values()]
    return Variances(
        kind,
        mean([Components.read(one) for one in arms]),
        mean([Components.read(one) for one in means]),
        float(np.mean([_between([one], types)[0] for one in lifts if len(one.languages) > 3] or [0.0])),
        float(np.mean([one["examples"] for one in arms])),
        source,
    )


def shared(documents: Iterable[Mapping[str, Any]], types: Mapping[str, str]) -> float:
    """Return the share of the variance between languages that is common to the targets of some tests of one model."""
    between = _between([Joint.read(document["joint"]["mean"]) for document in documents], types)
    total = sum(between)
    return between[0] / total if total > 0.0 else 0.5


def _between(lifts: Sequence[Joint], types: Mapping[str, str]) -> tuple[float, float]:
    """Return the variance between languages of one type: common to blocks of lifts, and of one block alone."""
    observed = Observations.of(lifts, types)
    if not observed.languages:
        return 0.0, 0.0
    labels = [types[code] for code in observed.languages]
    X = np.array([[float(label == name) for name in sorted(set(labels))] for label in labels])
    if len(observed.languages) <= X.shape[1]:
        return 0.0, 0.0
    try:
        fitted = Problem(observed, LANGUAGES, {}).fitted(X)
    except Undetermined:
        return 0.0, 0.0
    common = spread(fitted)
    return common, float(fitted.sigma2.sum()) - common


def tested(paths: Iterable[Path]) -> dict[str, list[Mapping[str, Any]]]:
    """Return target -> the tests of it that are there whole, of all models; others are passed over."""
    documents: dict[str, list[Mapping[str, Any]]] = {}
    for path in paths:
        try:
            identity.made(path)
        except UserError:
            continue
        document = read_json(path)
        if document.get("components", {}).get("arms"):
            documents.setdefault(document["target"], []).append(document)
    return documents


_COMPONENTS = tuple(Components.__dataclass_fields__)


def packaged(path: Path = PACKAGED) -> tuple[dict[str, Variances], float, str]:
    """Return kind -> variances of the packaged sweeps, the shared part of tau2, and the sweep that is of."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    of_kind: dict[str, Variances] = {}
    for row in rows:
        if row["lift_of"] != "one arm":
            continue
        other = next(one for one in rows if one["kind"] == row["kind"] and one["lift_of"] == "mean of arms")
        of_kind[row["kind"]] = Variances(
            row["kind"],
            Components.read(row),
            Components.read(other),
            float(row["tau2"]),
            float(row["examples"]),
            row["source"],
        )
    return of_kind, float(rows[0]["shared"]), rows[0]["shared_source"]


def write(variances: Sequence[Variances], share: float, share_source: str, path: Path) -> None:
    """Write what `packaged` reads."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["kind", "lift_of", *_COMPONENTS, "tau2", "shared", "shared_source", "examples", "source"])
        for one in variances:
            for name, parts in (("one arm", one.arm), ("mean of arms", one.arms)):
                values = [f"{value:.6g}" for value in asdict(parts).values()]
                more = [f"{one.tau2:.6g}", f"{share:.4g}", share_source, f"{one.examples:g}", one.source]
                writer.writerow([one.kind, name, *values, *more])


def anything(variances: Iterable[Variances]) -> Variances:
    """Return the mean over kinds, for a kind of which nothing is known."""
    known = list(variances)
    return Variances(
        "any",
        mean([one.arm for one in known]),
        mean([one.arms for one in known]),
        float(np.mean([one.tau2 for one in known])),
        float(np.mean([one.examples for one in known])),
        f"mean of {', '.join(one.kind for one in known)}; {known[0].source}",
    )
