"""Statistics of question answering that treat all scripts and languages alike.

The published scripts do not: SQuAD's drops English articles in every language and splits at white space alone, so
that a Thai answer is right or wrong as a whole; MLQA's splits Chinese into characters, and only Chinese. Where
languages or their types are compared, that is a difference between languages which no model made. Here a text is cut
into words where its script has them and into graphemes where it has none (see `writing`), nothing is dropped but
punctuation, and compatible forms and case do not count.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..writing import folded, units


def normalise(text: str) -> list[str]:
    """Fold, drop punctuation (Unicode's general category P), cut into words or graphemes."""
    return units("".join(c for c in folded(text) if unicodedata.category(c)[0] != "P"))


def _f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the F1 of two bags of units; 1 where both are empty."""
    if not gold and not predicted:
        return 1.0
    return 2.0 * (Counter(gold) & Counter(predicted)).total() / (len(gold) + len(predicted))


def _golds(gold: Mapping[str, Any]) -> list[list[str]]:
    """Return every gold answer's units; of a question without answers that of an empty one."""
    return [normalise(answer["text"]) for answer in gold["answers"]] or [[]]


def f1(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, the best F1 over the gold answers)."""
    predicted = normalise(prediction)
    return 1.0, max(_f1(units, predicted) for units in _golds(gold))


def exact(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, whether one of the gold answers has the same units in the same order)."""
    return 1.0, float(normalise(prediction) in _golds(gold))
