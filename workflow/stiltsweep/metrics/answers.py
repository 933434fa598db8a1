"""Statistics of extractive question answering, as the SQuAD and MLQA scripts define them.

Sources: the rules of `evaluate-v1.1.py` (SQuAD) and `mlqa_evaluation_v1.py` (MLQA), restated. XTREME scores MLQA by the
latter and XQuAD and TyDiQA by the former, English articles in every language; its task scores are the mean of exact
match and F1.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

_ASCII_PUNCTUATION = frozenset(string.punctuation)

_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ARTICLES = {
    "en": _ENGLISH_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    # MLQA strips the Arabic article as a prefix wherever it follows a boundary.
    "ar": re.compile(r"\sال^|ال"),
}
_RE2_SPACES = " \t\n\f\r"
_RE2_SPACE = re.compile(f"[{_RE2_SPACES}]+")
_HAN = re.compile(r"[\u4e00-\u9fa5]")


def normalise_squad(text: str) -> list[str]:
    """Lower-case, drop ASCII punctuation and English articles, split on white space (SQuAD v1.1)."""
    text = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION)
    return _ENGLISH_ARTICLES.sub(" ", text).split()


def normalise_mlqa(text: str, language: str) -> list[str]:
    """Lower-case, drop all Unicode punctuation and the language's own articles; Chinese splits into characters.

    The published script knows seven languages and stops at others; here those have no articles and split on spaces.
    """
    text = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION and unicodedata.category(c)[0] != "P")
    articles = _ARTICLES.get(language)
    if articles:
        text = articles.sub(" ", text)
    if language == "zh":
        text = _HAN.sub(lambda match: f" {match.group()} ", text)
    return text.split()


def pad_punctuation(text: str) -> str:
    """Put a blank on both sides of all that is no letter, mark, number, underscore or ASCII white space; one in a row.

    Blanks at the ends stay: sub-words do not see them, bytes do. A no-break space is padded like punctuation.
    Source: `_pad_punctuation` of multilingual-t5's preprocessors, restated, with RE2's idea of white space.
    """
    kept = (c if c == "_" or c in _RE2_SPACES or unicodedata.category(c)[0] in "LMN" else f" {c} " for c in text)
    return _RE2_SPACE.sub(" ", "".join(kept))


def padded(gold: Mapping[str, Any], prediction: str) -> tuple[dict[str, Any], str]:
    """Return a question and an answer as mT5's scoring compares them: with padded punctuation.

    So *U.S.* is two words and *well-known* too, where the same scripts see one in an answer marked in the context. An
    answer that is not in the context stays as it was written, unpadded as there. Source: the preprocessor `xquad` of
    multilingual-t5, with whose padded answers it compares what a model writes.
    """
    answers = [{**answer, "text": pad_punctuation(answer["text"])} for answer in gold["answers"]]
    return {**gold, "answers": answers}, pad_punctuation(prediction) if prediction in gold["context"] else prediction


def token_f1(gold: list[str], predicted: list[str]) -> float:
    """Return the F1 of two bags of tokens; 0 where they share none, two empty ones included (as both scripts do)."""
    shared = (Counter(gold) & Counter(predicted)).total()
    return 2.0 * shared / (len(gold) + len(predicted)) if shared else 0.0


def _best(
    gold: Mapping[str, Any], prediction: str, normalise: Callable[[str], list[str]], compare: Callable[..., float]
) -> tuple[float, float]:
    """Score against every gold answer and keep the best; a question without answers wants an empty one (SQuAD 2.0)."""
    predicted = normalise(prediction)
    if not gold["answers"]:
        return 1.0, float(not predicted)
    return 1.0, max(float(compare(normalise(answer["text"]), predicted)) for answer in gold["answers"])


def _equal(gold: list[str], predicted: list[str]) -> bool:
    return gold == predicted


def squad_f1(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, F1)."""
    return _best(gold, prediction, normalise_squad, token_f1)


def squad_exact(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, exact match)."""
    return _best(gold, prediction, normalise_squad, _equal)


def squad_mean(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, exact match, F1)."""
    return *squad_exact(gold, prediction, language), squad_f1(gold, prediction, language)[1]


def mlqa_f1(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, F1) under the rules of the answer's own language."""
    return _best(gold, prediction, lambda text: normalise_mlqa(text, language), token_f1)


def mlqa_exact(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, exact match) under the rules of the answer's own language."""
    return _best(gold, prediction, lambda text: normalise_mlqa(text, language), _equal)


def mlqa_mean(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, exact match, F1) under the rules of the answer's own language."""
    return *mlqa_exact(gold, prediction, language), mlqa_f1(gold, prediction, language)[1]
