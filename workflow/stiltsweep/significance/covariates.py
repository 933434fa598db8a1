"""What was measured of models and languages, as covariates of the regression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from ..files import read_json
from ..probing import curves, table
from .regression import FERTILITY, PROBE, Measured


def measured(measures: Iterable[Path], probes: Iterable[Path]) -> Measured:
    """Return tokens per word, mean over the targets that have it, and what probes find in the pretrained model.

    The second is the accuracy at each language's best layer, mean over features, probing tasks and poolings.

    Args:
      measures: JSON files of scripts/measure.py.
      probes: probes.csv, or nothing.

    Raises:
      UserError: a file is not readable.
    """
    fertility: dict[tuple[str, str], list[float]] = {}
    for document in map(read_json, measures):
        for language, found in document["languages"].items():
            if found["fertility"] is not None:
                fertility.setdefault((document["model"], language), []).append(found["fertility"])
    accuracy: dict[tuple[str, str], list[float]] = {}
    for path in probes:
        for curve in curves.curves(table.read(path), by="language"):
            if curve.checkpoint.stage == "pretrained":
                accuracy.setdefault((curve.checkpoint.model, curve.group), []).append(curve.height)
    both: Sequence[tuple[str, dict[tuple[str, str], list[float]]]] = ((FERTILITY, fertility), (PROBE, accuracy))
    return {name: {key: fmean(values) for key, values in found.items()} for name, found in both if found}
