"""Numbers about languages that may go with the lift: from languages.csv, and measured of a model and its texts.

Every number means one thing in all languages, and its name says which: the corpus, the feature, the pooling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from ..files import read_json
from ..languages import FUSION, SIZES, Languages
from ..probing import table as probe_table
from ..probing.table import Probe

CORPORA = {"mc4": (SIZES["mc4"], "log10 tokens in mC4"), "cc100": (SIZES["cc100"], "log10 size in CC-100")}
"""Corpus -> column of languages.csv, and name of the predictor."""


@dataclass(frozen=True)
class Predictor:
    """A number for languages."""

    name: str
    everywhere: Mapping[str, float] = field(default_factory=dict)
    """Language -> number, the same for every model."""
    of_model: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Model -> language -> number."""

    def values(self, model: str) -> Mapping[str, float]:
        """Return the numbers for one model."""
        return self.of_model.get(model, {}) if self.of_model else self.everywhere


def _verb_synthesis(text: str) -> float | None:
    """Read WALS 22A, `4-5 categories per word`: the middle of the range."""
    ends = re.match(r"(\d+)-(\d+) categor", text)
    return (int(ends[1]) + int(ends[2])) / 2.0 if ends else None


def _cases(text: str) -> float | None:
    """Read WALS 49A, `6-7 cases`: the middle; none count as 0, ten and more as 10."""
    if text == "No morphological case-marking":
        return 0.0
    ends = re.match(r"(\d+)(?:-(\d+))?(?: or more)? cases", text)
    return (int(ends[1]) + int(ends[2] or ends[1])) / 2.0 if ends else None


def _latin(text: str) -> float | None:
    """Read ISO 15924: 1 for Latin, the script of English, 0 for any other."""
    return float(text == "Latn") if text else None


_NUMBERS = {FUSION: "fusion (Grambank)"}
_READ = {
    "script": ("Latin script", _latin),
    "wals_22a": ("inflectional synthesis of the verb (WALS 22A)", _verb_synthesis),
    "wals_49a": ("number of cases (WALS 49A)", _cases),
}


def of_languages(table: Languages, columns: Iterable[str] = ()) -> list[Predictor]:
    """Return the numbers that languages.csv holds.

    Args:
      table: the languages.
      columns: numbers of the user's own, named by their columns.
    """
    names = dict.fromkeys(columns, "") | _NUMBERS
    predictors = [
        Predictor(name or column, table.numbers(column)) for column, name in names.items() if column in table.columns
    ]
    for column, (name, read) in _READ.items():
        if column in table.columns:
            values = {code: read(row.get(column, "")) for code, row in table.rows.items()}
            predictors.append(Predictor(name, {code: value for code, value in values.items() if value is not None}))
    return predictors


def apart(predictors: Iterable[Predictor], taken: Iterable[str]) -> list[Predictor]:
    """Return predictors with a name each: a column of the user's may be called as what is made here.

    Args:
      predictors: the predictors; of two of one name the first is renamed, which is the user's.
      taken: names of what else the lift is regressed on.
    """
    named: list[Predictor] = []
    used = set(taken)
    for one in reversed(list(predictors)):
        name = one.name
        while name in used:
            name += " (column)"
        used.add(name)
        named.append(replace(one, name=name))
    return named[::-1]


def sizes(table: Languages, corpora: Mapping[str, str]) -> dict[str, Predictor]:
    """Return model -> log10 of the size of each language in the model's own corpus.

    Args:
      table: the languages.
      corpora: model -> one of `CORPORA`; models with another corpus are left out.
    """
    predictors = {}
    for model, corpus in corpora.items():
        column, name = CORPORA.get(corpus, ("", ""))
        if column in table.columns:
            predictors[model] = Predictor(name, {c: math.log10(size) for c, size in table.numbers(column).items()})
    return predictors


_MEASURED = {"fertility": "tokens per word", "word_length": "characters per word", "mattr": "type-token ratio (MATTR)"}
"""Measure of scripts/measure.py -> name of the predictor."""


def of_texts(measures: Iterable[Path]) -> list[Predictor]:
    """Return what was measured of test texts, mean over the targets that have it.

    Words between blanks and the tokens of tagged data are two units, and two predictors. A language whose script puts
    no blank between words has no number in the first.

    Args:
      measures: JSON files of scripts/measure.py.
    """
    held: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for document in map(read_json, measures):
        for language, numbers in document["languages"].items():
            for measure in _MEASURED:
                if numbers.get(measure) is not None:
                    models = held.setdefault((measure, numbers["word_unit"]), {})
                    models.setdefault(document["model"], {}).setdefault(language, []).append(float(numbers[measure]))
    return [
        Predictor(
            f"{_MEASURED[measure]} ({unit})",
            of_model={
                model: {code: fmean(values) for code, values in languages.items()}
                for model, languages in models.items()
            },
        )
        for (measure, unit), models in sorted(held.items())
    ]


def of_probes(paths: Iterable[Path], languages: Iterable[str]) -> list[Predictor]:
    """Return what linear probes find of one feature in the pretrained model: points above the feature's majority.

    One predictor for every probing task, pooling and feature; of the layer that is best on average over the other
    languages, so that no language's own test words choose it. A feature that fewer than half of the languages have
    is left out, since it would be a number about the treebanks.

    Args:
      paths: probes.csv, or nothing.
      languages: those that are compared.
    """
    wanted = set(languages)
    rows = [row for path in paths for row in probe_table.read(path)]
    rows = [row for row in rows if row.stage == "pretrained" and row.language in wanted]
    kinds: dict[tuple[str, str, str], dict[str, list[Probe]]] = {}
    for row in rows:
        kinds.setdefault((row.task, row.feature, row.pooling), {}).setdefault(row.model, []).append(row)
    predictors = []
    for (task, feature, pooling), models in sorted(kinds.items()):
        of_model = {model: _above_majority(mine) for model, mine in models.items()}
        of_model = {model: values for model, values in of_model.items() if 2 * len(values) >= len(wanted)}
        if of_model:
            predictors.append(Predictor(f"probe of {feature}, above majority ({task}, {pooling})", of_model=of_model))
    return predictors


def _above_majority(rows: Sequence[Probe]) -> dict[str, float]:
    """Return language -> accuracy less majority at the layer that is best in the other languages."""
    gains: dict[str, dict[int, float]] = {}
    for row in rows:
        gains.setdefault(row.language, {})[row.layer] = row.accuracy - row.majority
    best_gains = {}
    for language, own in gains.items():
        others = [theirs for code, theirs in gains.items() if code != language]
        layers = [layer for layer in sorted(own) if all(layer in theirs for theirs in others)]
        if others and layers:
            best = max(layers, key=lambda layer: fmean(theirs[layer] for theirs in others))
            best_gains[language] = own[best]
    return best_gains
