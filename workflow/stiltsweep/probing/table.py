"""All probes of a sweep as one CSV file, one row a checkpoint, language, feature, pooling and layer."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import UserError, remake
from ..files import read_json, write_text


@dataclass(frozen=True, slots=True)
class Probe:
    """One row; accuracies are in points, see `linear.Score`."""

    model: str
    stage: str
    """`pretrained`, `intermediate` or `target`."""
    intermediate: str
    """Arm behind the checkpoint; `none` for the pretrained model and for targets of the baseline."""
    training: str
    """What a target checkpoint was trained on; empty for the other stages."""
    seed: int | None
    """Empty for the pretrained model."""
    task: str
    language: str
    family: str
    feature: str
    pooling: str
    layer: int
    """0: the embeddings' output."""
    accuracy: float
    """Share of words of held-out sentences that are right."""
    ci_low: float
    ci_high: float
    """Interval of `accuracy` over sentences."""
    form_accuracy: float | None
    """The same of words whose form is held out too; empty where there are none."""
    control_accuracy: float
    """That of a probe trained on random values of word forms, on the words of `accuracy`."""
    selectivity: float
    """`accuracy` less `control_accuracy`."""
    majority: float
    """Accuracy of always giving the value most often trained on."""
    n_train: int
    """Words trained on."""
    n_test: int
    """Words of `accuracy`."""
    classes: int
    """Values of the feature."""
    selectivity_low: float
    selectivity_high: float
    """Interval of `selectivity` over sentences."""
    n_unseen: int
    """Words of `form_accuracy`."""
    lexicon_accuracy: float
    """Of a list of word forms, without a model, on the words of `accuracy`."""
    n_shared: int
    """Words of `accuracy` that share a sub-word with another word."""
    n_contracted: int | None
    """Words of `accuracy` that are several in one ("im"), or, where those are read apart, one of them; empty where the
    data do not say."""
    entropy: float
    """Bits a word of `accuracy` that its value costs who knows how common the values are."""
    information: float
    """Of these bits those that the probe saves (V-information); below 0 where it misleads."""
    random_accuracy: float | None
    """`accuracy` with random weights of the same architecture; of the pretrained model alone."""


COLUMNS = tuple(field.name for field in fields(Probe))
_FROM_JOB = ("model", "stage", "intermediate", "training", "seed", "task")


def gather(paths: Iterable[Path], families: Mapping[str, str]) -> list[Probe]:
    """Read the files of `job.probe`.

    Args:
      paths: in the order wanted.
      families: language -> family, empty where it has none.

    Raises:
      UserError: a file is missing or not whole.
    """
    probes = []
    for path in paths:
        about = read_json(path)
        names = {key: about[key] for key in _FROM_JOB}
        probes += [Probe(**names, family=families[one["language"]], **one) for one in about["probes"]]
    return probes


def write(path: Path, probes: Iterable[Probe]) -> None:
    """Write probes as CSV; what is None is empty, and numbers are written so that they read back the same."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for probe in probes:
        values = (getattr(probe, name) for name in COLUMNS)
        writer.writerow(
            "" if value is None else round(value, 6) if isinstance(value, float) else value for value in values
        )
    write_text(path, text.getvalue())


def read(path: Path) -> list[Probe]:
    """Read probes.csv.

    Raises:
      UserError: it is missing, or its columns are not those of `Probe`.
    """
    rebuild = f"Rebuild it with: {remake(path)}"
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UserError(f"{path}: its columns are not those of this version. {rebuild}")
            return [Probe(**{name: _READERS[name](text) for name, text in row.items()}) for row in reader]
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). {rebuild}") from None


def _reader(kind: str) -> Callable[[str], Any]:
    # Names recur in every row: each is held once.
    known: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": sys.intern}
    convert = known[kind.removesuffix(" | None")]
    return (lambda text: convert(text) if text else None) if kind.endswith("| None") else convert


_READERS = {field.name: _reader(str(field.type)) for field in fields(Probe)}
