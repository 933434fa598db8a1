"""Agreement of a tokenizer's boundaries with morphemes that a user supplies, word by word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UserError
from ..models.tokenizer import Tokenizer

Boundaries = frozenset[int]
"""Places within a word, in code points from its start."""


def read(path: Path) -> dict[str, Boundaries]:
    """Read `word<TAB>mor phe me` lines; empty lines do not count.

    Returns:
      Word -> where it is cut.

    Raises:
      UserError: the file cannot be read, a line has another form, or its morphemes do not spell the word.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). Name a file that is there.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    boundaries: dict[str, Boundaries] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        word, _, split = line.partition("\t")
        morphemes = split.split()
        if "".join(morphemes) != word or not word:
            raise UserError(
                f"{path}: line {number}: {line!r} is not a word, a tab and the same word with spaces between its "
                "morphemes (evlerde<TAB>ev ler de); underlying forms do not show where a word is cut."
            )
        at, cuts = 0, set()
        for morpheme in morphemes[:-1]:
            at += len(morpheme)
            cuts.add(at)
        boundaries[word] = frozenset(cuts)
    if not boundaries:
        raise UserError(f"{path}: holds no word. Each line is a word, a tab and its morphemes with spaces between.")
    return boundaries


def agreement(tokenizer: Tokenizer, words: Mapping[str, Boundaries]) -> dict[str, float | int | None]:
    """Compare where a tokenizer cuts words, each taken by itself, with where their morphemes meet.

    Returns:
      boundary_precision, boundary_recall and boundary_f1 over all boundaries together (a share is None where there are
      none to take it of), and boundary_words.
    """
    ordered = sorted(words)
    hits = cut = true = 0
    for word, pieces in zip(ordered, tokenizer.pieces(ordered), strict=True):
        own = _cuts(pieces.offsets)
        hits += len(own & words[word])
        cut += len(own)
        true += len(words[word])
    return {
        "boundary_precision": hits / cut if cut else None,
        "boundary_recall": hits / true if true else None,
        "boundary_f1": 2 * hits / (cut + true) if cut + true else None,
        "boundary_words": len(ordered),
    }


def _cuts(offsets: Iterable[tuple[int, int]]) -> set[int]:
    # Bytes of one character begin where it does; no boundary is within it.
    return {start for start, end in offsets if start < end} - {0}
