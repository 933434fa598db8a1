"""Words of a text, where its script or the data show them (see `writing`)."""

from __future__ import annotations

from collections.abc import Iterable

import regex

from ..writing import GRAPHEME, UNSPACED, folded

Span = tuple[int, int]
"""[start, end) in code points of a text."""

_LEXICAL = regex.compile(r"[\p{L}\p{N}]")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}](?:\S*[\p{L}\p{M}\p{N}])?")
_TYPE = regex.compile(rf"(?V1){UNSPACED}\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--{UNSPACED}]+")
_CHARACTERS = 0.8
"""Share of one-character tokens from which on tokens are taken for characters (up to half of Chinese words are one)."""


def are_characters(tokens: Iterable[str]) -> bool:
    """Whether the tokens of a tagging task are single characters, as name corpora give Chinese, Japanese and Thai."""
    lexical = [token for token in tokens if is_word(token)]
    single = sum(len(GRAPHEME.findall(token)) == 1 for token in lexical)
    return bool(lexical) and single >= _CHARACTERS * len(lexical)


def is_word(token: str) -> bool:
    """Whether a token holds a letter or digit: punctuation is no word."""
    return _LEXICAL.search(token) is not None


def spans(text: str) -> list[Span]:
    """Return the words between white space, without punctuation at their ends; punctuation alone is none."""
    return [match.span() for match in _WORD.finditer(text)]


def types(text: str) -> set[str]:
    """Return the distinct words of a text, folded; each character by itself in scripts without spaces.

    Punctuation separates here also within a word, so that a name is the same with an ending after an apostrophe.
    """
    return set(_TYPE.findall(folded(text)))


def overlap(one: str, other: str) -> float | None:
    """Return the share of types of the text with fewer of them that the other holds; None if one has none."""
    first, second = types(one), types(other)
    fewer = min(len(first), len(second))
    return len(first & second) / fewer if fewer else None
