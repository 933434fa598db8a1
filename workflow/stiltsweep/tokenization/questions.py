"""What a question asks for: its question word, under one English name in every language."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import regex

from ..schema import read_yaml
from ..writing import folded, spaced

TABLE = Path(__file__).with_name("question_words.yaml")
_EDGE = r"[\p{L}\p{M}\p{N}]"
_NO_WORD = "none"
"""The name of forms that look like question words and are none."""


def question_word(question: str, language: str) -> str | None:
    """Return the first question word of a question (`who`, `how many` ...); of two that begin together the longer one.

    None where the table has no such language or the question no such word, as questions to be answered by yes or no.
    """
    known = _pattern(language)
    if known is None:
        return None
    pattern, names = known
    found_names = (names[match.lastindex - 1] for match in pattern.finditer(folded(question)))
    return next((name for name in found_names if name != _NO_WORD), None)


@functools.cache
def _pattern(language: str) -> tuple[regex.Pattern[str], list[str]] | None:
    table = read_yaml(TABLE)
    if language not in table:
        return None
    forms = sorted(_forms(table[language]), key=lambda form: (-len(form[0].strip("^*")), form))
    return regex.compile("|".join(f"({_expression(text)})" for text, _ in forms)), [name for _, name in forms]


def _forms(entry: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, texts in entry.items():
        for text in texts.split(","):
            yield folded(text.strip()), name


def _expression(form: str) -> str:
    """A form after ^ has to begin the question, one before * may go on; without spaces it may stand within anything."""
    stem = form.strip("^*")
    words = regex.escape(stem, literal_spaces=True).replace(" ", r"\s+")
    if not spaced([stem]):
        # Not within a syllable: behind a vowel that is written before its consonant, or before the consonant's marks.
        return rf"(?<!\p{{Logical_Order_Exception}}){words}(?!\p{{M}})"
    before = r"^\W*" if form.startswith("^") else f"(?<!{_EDGE})"
    return f"{before}{words}" + ("" if form.endswith("*") else f"(?!{_EDGE})")
