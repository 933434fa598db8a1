"""Statistics of written texts: mean chrF and ROUGE, of each example the best over its references.

chrF is sacrebleu's sentence chrF with its defaults (six characters, beta 2, white space left out, case kept). ROUGE is
rouge-score's, without stemming, and with words of our own: its tokenizer leaves ASCII letters and digits alone, that is
nothing of a Thai text. Here what it does to ASCII is done to Unicode: whatever is no letter, mark or digit parts words,
case does not count. Scripts without spaces are cut into graphemes (see `writing`), compatible forms are alike, and
characters that only format (zero-width joiners, marks of direction) are left out, on which no reader sees a difference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..writing import folded, units


class Words:
    """A tokenizer for rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, and of scripts without spaces the graphemes."""
        kinds = ((one, unicodedata.category(one)) for one in folded(text))
        return units("".join(one if kind[0] in "LMN" else " " for one, kind in kinds if kind != "Cf"))


@cache
def _chrf() -> Any:
    # Both libraries take longer to import than a plan may.
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _rouge(which: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([which], tokenizer=Words())


def chrf(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, sentence chrF as a share of 1)."""
    return 1.0, float(_chrf().sentence_score(prediction, gold["references"]).score) / 100.0


def rouge_1(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, F of the words in common)."""
    return _best("rouge1", gold, prediction)


def rouge_l(gold: Mapping[str, Any], prediction: str, language: str) -> tuple[float, ...]:
    """Return (1, F of the longest common subsequence of words)."""
    return _best("rougeL", gold, prediction)


def _best(which: str, gold: Mapping[str, Any], prediction: str) -> tuple[float, float]:
    return 1.0, float(_rouge(which).score_multi(gold["references"], prediction)[which].fmeasure)
