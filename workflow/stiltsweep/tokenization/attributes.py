"""Attributes of test examples, and what each adds to its language's measures.

An example is segmented once, text by text, without special tokens and without cutting anything off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from itertools import chain

from ..models.tokenizer import Pieces, overlapping
from . import words
from .texts import Texts
from .words import Span


@dataclass(frozen=True)
class Attributes:
    """One test example; None where its kind lacks something, or the language's words cannot be told."""

    length: int
    """Tokens of all its texts; of retrieval the query's."""
    tokens_per_word: float | None
    answer_length: float | None
    """Tokens of the gold answer; of tagging the mean over the gold names of a sentence."""
    label: str | None
    """Gold label of a classification."""
    question_word: str | None
    overlap: float | None
    """Share of the word types of the pair's text with fewer of them that the other holds."""
    unknown: float | None
    """Share of tokens that are unknown, or bytes of what the vocabulary lacks."""


NAMES = tuple(field.name for field in fields(Attributes))
NUMERIC = ("length", "tokens_per_word", "answer_length", "overlap", "unknown")


@dataclass(frozen=True)
class Segmented:
    """One text and its pieces."""

    characters: int
    """Code points, white space included."""
    visible: int
    """Code points that are not white space."""
    tokens: int
    unknown: int
    """Tokens that are unknown, or bytes of what the vocabulary lacks."""
    lost: int
    """Code points these stand for."""
    word_tokens: tuple[int, ...]
    """For each word how many tokens overlap it; none where words cannot be told."""
    starts: Sequence[int]
    ends: Sequence[int]
    """Offsets of the pieces that stand for at least one character."""

    @classmethod
    def of(cls, text: str, pieces: Pieces, words: Sequence[Span], lacking: Collection[int]) -> Segmented:
        """Count.

        Args:
          text: the text.
          pieces: its own.
          words: its words.
          lacking: ids of the unknown piece and of fallback bytes.
        """
        standing = [(start, end) for start, end in pieces.offsets if start < end]
        starts, ends = [start for start, _ in standing], [end for _, end in standing]
        unknown = lost = reached = 0
        for i, (start, end) in zip(pieces.ids, pieces.offsets, strict=True):
            if i in lacking:
                unknown += 1
                lost += max(0, end - max(start, reached))  # bytes of one character share its place
                reached = max(reached, end)
        counts = [overlapping(word, starts, ends) for word in words]
        return cls(
            characters=len(text),
            visible=sum(not character.isspace() for character in text),
            tokens=len(pieces.ids),
            unknown=unknown,
            lost=lost,
            word_tokens=tuple(n for one in counts if (n := one.stop - one.start) > 0),
            starts=starts,
            ends=ends,
        )


def attributes(example: Texts, segmented: Sequence[Segmented], question_word: str | None) -> Attributes:
    """Return an example's attributes from its segmented texts."""
    tokens = sum(text.tokens for text in segmented)
    per_word = list(chain.from_iterable(text.word_tokens for text in segmented))
    last = segmented[-1]
    places = [overlapping(answer, last.starts, last.ends) for answer in example.answers]
    return Attributes(
        length=tokens,
        tokens_per_word=_rounded(sum(per_word) / len(per_word)) if per_word else None,
        answer_length=_rounded(sum(one.stop - one.start for one in places) / len(places)) if places else None,
        label=example.label,
        question_word=question_word,
        overlap=_rounded(words.overlap(*example.pair)) if example.pair else None,
        unknown=_rounded(sum(text.unknown for text in segmented) / tokens) if tokens else None,
    )


def _rounded(value: float | None) -> float | None:
    """Six decimals: equal shares are equal numbers, so that they tie."""
    return None if value is None else round(value, 6)
