"""Words of a text, where its script or the data show them.

Scripts that put no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese ...) are told by the Unicode line
breaking classes of their letters (UAX #14): ideographic, conditional Japanese starter, or "complex context", which is
the standard's name for scripts whose line breaks need a dictionary. No language has to be listed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import regex

Span = tuple[int, int]
"""[start, end) in code points of a text."""

_UNSPACED = r"[[\p{Line_Break=ID}\p{Line_Break=CJ}\p{Line_Break=SA}]&&\p{L}]"
_IS_UNSPACED = regex.compile(f"(?V1){_UNSPACED}")
_LETTER = regex.compile(r"\p{L}")
_LEXICAL = regex.compile(r"[\p{L}\p{N}]")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}](?:\S*[\p{L}\p{M}\p{N}])?")
_TYPE = regex.compile(rf"(?V1){_UNSPACED}\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--{_UNSPACED}]+")
_GRAPHEME = regex.compile(r"\X")
_CHARACTERS = 0.8
"""Share of one-character tokens from which on tokens are taken for characters (up to half of Chinese words are one)."""


def spaced(texts: Iterable[str]) -> bool:
    """Whether most letters of the texts are of scripts that put spaces between words."""
    letters = unspaced = 0
    for text in texts:
        letters += len(_LETTER.findall(text))
        unspaced += len(_IS_UNSPACED.findall(text))
    return 2 * unspaced <= letters


def are_characters(tokens: Iterable[str]) -> bool:
    """Whether the tokens of a tagging task are single characters, as name corpora give Chinese, Japanese and Thai."""
    lexical = [token for token in tokens if is_word(token)]
    single = sum(len(_GRAPHEME.findall(token)) == 1 for token in lexical)
    return bool(lexical) and single >= _CHARACTERS * len(lexical)


def is_word(token: str) -> bool:
    """Whether a token holds a letter or digit: punctuation is no word."""
    return _LEXICAL.search(token) is not None


def spans(text: str) -> list[Span]:
    """Return the words between white space, without punctuation at their ends; punctuation alone is none."""
    return [found.span() for found in _WORD.finditer(text)]


def folded(text: str) -> str:
    """Return the text in compatible forms and without case: Unicode's, not the language's (Turkish I becomes i)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


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
