"""How scripts write words: which of them put no space between words, and where a reader's characters end.

Scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese ...) are told by the Unicode line breaking
classes of their letters (UAX #14): ideographic, conditional Japanese starter, or "complex context", which is the
standard's name for scripts whose line breaks need a dictionary. No language has to be listed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import regex

UNSPACED = r"[[\p{Line_Break=ID}\p{Line_Break=CJ}\p{Line_Break=SA}]&&\p{L}]"
"""A letter of a script without spaces, for a pattern with the flag V1."""
GRAPHEME = regex.compile(r"\X")
_IS_UNSPACED = regex.compile(f"(?V1){UNSPACED}")
_LETTER = regex.compile(r"\p{L}")


def spaced(texts: Iterable[str]) -> bool:
    """Whether most letters of the texts are of scripts that put spaces between words."""
    letters = unspaced = 0
    for text in texts:
        letters += len(_LETTER.findall(text))
        unspaced += len(_IS_UNSPACED.findall(text))
    return 2 * unspaced <= letters


def folded(text: str) -> str:
    """Return the text in compatible forms and without case: Unicode's, not the language's (Turkish I becomes i)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def units(text: str) -> list[str]:
    """Cut a text at white space, and around every grapheme of a script without spaces."""
    if not _IS_UNSPACED.search(text):
        return text.split()
    marked = (f" {one} " if _IS_UNSPACED.search(one) else one for one in GRAPHEME.findall(text))
    return "".join(marked).split()
