"""Where in the text it read stands what a model wrote.

A model writes text as it met it: with mT5's spaces around punctuation, and in the forms its tokenizer leaves (NFKC, one
blank for white space). These two things are undone here and nothing else is: no letter, accent or blank more or less.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Collection, Iterator

Span = tuple[int, int]
"""[start, end) in code points."""

_ASCII_PUNCTUATION = frozenset(string.punctuation)


def locate(
    text: str,
    written: str,
    *,
    start: int = 0,
    starts: Collection[int] | None = None,
    ends: Collection[int] | None = None,
) -> Span | None:
    """Return where a text holds what was written, None where it does not.

    A hit begins and ends at whole characters, a letter with its accents being one. One that stands in the text exactly
    as written comes before all others; then one of whole words; then the first.

    Args:
      text: the text.
      written: what to find.
      start: code point of the text to begin at.
      starts, ends: code points at which alone a hit may begin and end (those of tokens); None: anywhere.
    """
    exact = written.strip()
    if not exact:
        return None
    at = text.find(exact, start)
    while at >= 0:
        if _allowed((at, at + len(exact)), starts, ends) and _whole(text, at) and _whole(text, at + len(exact)):
            return at, at + len(exact)
        at = text.find(exact, at + 1)
    return _Letters(text[start:], start).find(_Letters(written).letters, starts, ends)


def as_in(text: str, written: str) -> str:
    """Return what was written in the form the text has it, or as it was written where the text lacks it.

    The model has read the text with padded punctuation, and writes it so. Where the text lacks what was written but for
    case and ASCII punctuation, which no published rule of answers looks at, the text's form is taken too: "u . s ." is
    "U.S.".
    """
    exact = written.strip()
    if exact in text:
        return exact
    for folded in (False, True):
        sought = _Letters(written, folded=folded).letters
        span = _Letters(text, padded=True, folded=folded).find(sought)
        if span:
            return text[span[0] : span[1]]
    return exact


def _allowed(span: Span, starts: Collection[int] | None, ends: Collection[int] | None) -> bool:
    return (starts is None or span[0] in starts) and (ends is None or span[1] in ends)


def _whole(text: str, at: int) -> bool:
    """Return whether a character begins at a place, rather than goes on."""
    return at == len(text) or not _goes_on(text[at])


def _goes_on(character: str) -> bool:
    """Return whether a character belongs to the one before it: accents, vowel signs, medial and final jamo."""
    return unicodedata.category(character)[0] == "M" or 0x1160 <= ord(character) <= 0x11FF


class _Letters:
    """A text as a model's tokenizer leaves it: NFKC, one blank for white space and for characters without width.

    Padded, each punctuation mark stands between blanks (as in `metrics.answers.pad_punctuation`, before NFKC). Folded,
    it is the text itself in lower case and without ASCII punctuation, as SQuAD's script has it.
    """

    def __init__(self, text: str, offset: int = 0, *, padded: bool = False, folded: bool = False) -> None:
        letters: list[str] = []
        self._spans: list[Span | None] = []
        """Of each letter its character in the text; None of blanks."""
        blank = False
        for start, end in _characters(text):
            alone = padded and text[start] != "_" and unicodedata.category(text[start])[0] not in "LMN"
            blank |= alone
            place = (start + offset, end + offset)
            for letter in text[start:end] if folded else unicodedata.normalize("NFKC", text[start:end]):
                if letter.isspace() or (not folded and unicodedata.category(letter) in ("Cc", "Cf")):
                    blank = True
                    continue
                if folded and letter in _ASCII_PUNCTUATION:
                    continue
                for one in letter.lower() if folded else letter:
                    if blank and letters:
                        letters.append(" ")
                        self._spans.append(None)
                    blank = False
                    letters.append(one)
                    self._spans.append(place)
            blank |= alone
        self.letters = "".join(letters)

    def find(
        self, sought: str, starts: Collection[int] | None = None, ends: Collection[int] | None = None
    ) -> Span | None:
        """Return the span of the first hit of whole words, or else of whole characters."""
        first = None
        at = self.letters.find(sought) if sought else -1
        while at >= 0:
            end = at + len(sought)
            begin, finish = self._spans[at], self._spans[end - 1]
            if begin and finish and begin != self._beside(at, -1) and finish != self._beside(end - 1, 1):
                span = begin[0], finish[1]
                if _allowed(span, starts, ends):
                    if self.letters[at - 1 : at] in ("", " ") and self.letters[end : end + 1] in ("", " "):
                        return span
                    first = first or span
            at = self.letters.find(sought, at + 1)
        return first

    def _beside(self, at: int, step: int) -> Span | None:
        """Return the character of the next letter that is no blank in a direction, None at the ends."""
        at += step
        while 0 <= at < len(self._spans) and self._spans[at] is None:
            at += step
        return self._spans[at] if 0 <= at < len(self._spans) else None


def _characters(text: str) -> Iterator[Span]:
    """Yield the spans of a text's characters, marks with the letter before them."""
    start = 0
    for at in range(1, len(text) + 1):
        if _whole(text, at):
            yield start, at
            start = at
