"""Morphological features as Universal Dependencies write them: `Case=Nom|Number=Sing`, an underscore for none.

The format: universaldependencies.org/format.html, "Morphological Annotation".
"""

from __future__ import annotations

import difflib
import re

NONE = "_"
NAME = re.compile(r"[A-Z0-9][A-Za-z0-9]*(\[[a-z0-9]+\])?")
"""A feature's name, perhaps with a layer: Number[psor] is the number of the possessor."""
_VALUE = re.compile(r"[A-Za-z0-9]+(,[A-Za-z0-9]+)*")


UNIVERSAL = (
    *("Abbr", "Animacy", "Aspect", "Case", "Clusivity", "Definite", "Degree", "Deixis", "DeixisRef", "Evident"),
    *("ExtPos", "Foreign", "Gender", "Mood", "NounClass", "Number", "NumType", "Person", "Polarity", "Polite", "Poss"),
    *("PronType", "Reflex", "Tense", "Typo", "VerbForm", "Voice"),
)
"""Features that languages share (universaldependencies.org/u/feat); treebanks may have others of their own."""


def almost(name: str) -> str:
    """Return the universal feature that a name misses by a letter or its case, empty if there is none."""
    folded = {known.casefold(): known for known in UNIVERSAL}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.85)
    return folded[close[0]] if close else ""


def parse(text: str) -> dict[str, str]:
    """Return feature -> value of one word.

    Several values of a feature ("Acc,Dat", the word is either) stay one text, a value of its own.

    Raises:
      ValueError: the text is not written so, or a feature stands twice.
    """
    if text == NONE:
        return {}
    features: dict[str, str] = {}
    for part in text.split("|"):
        name, _, value = part.partition("=")
        if not NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name in features:
            raise ValueError(f"{text!r} is not written as Name=Value|Name=Value or _")
        features[name] = value
    return features
