"""Measures of a language: sums over its texts, and what they come to.

Fertility and the share of split words as in Acs (2019, Exploring BERT's Vocabulary) and Rust et al. (2021, How Good is
Your Tokenizer?, 10.18653/v1/2021.acl-long.243), parity as in Petrov et al. (2023, Language Model Tokenizers Introduce
Unfairness Between Languages, arXiv:2305.15425).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..models.tokenizer import Pieces
from .attributes import Segmented

WINDOW = 100
"""Words of which the type-token ratio is taken, in the order of the data."""


@dataclass
class Sums:
    """What a language's texts add up to."""

    texts: int = 0
    untranslated: int = 0
    """Texts left out because they stand in the English data."""
    words: int = 0
    split: int = 0
    word_tokens: int = 0
    characters: int = 0
    visible: int = 0
    tokens: int = 0
    unknown: int = 0
    lost: int = 0
    used: set[int] = field(default_factory=set)
    whole_words: int = 0
    """Words whose length counts; `words` lacks those that a tokenizer drops."""
    word_characters: int = 0
    windows: int = 0
    distinct: int = 0
    """Over all windows."""
    _window: deque[str] = field(default_factory=deque)
    _held: Counter[str] = field(default_factory=Counter)

    def add(self, text: Segmented, pieces: Pieces) -> None:
        """Add one text."""
        self.texts += 1
        self.words += len(text.word_tokens)
        self.split += sum(n > 1 for n in text.word_tokens)
        self.word_tokens += sum(text.word_tokens)
        self.characters += text.characters
        self.visible += text.visible
        self.tokens += text.tokens
        self.unknown += text.unknown
        self.lost += text.lost
        self.used.update(pieces.ids)

    def add_words(self, words: Iterable[str]) -> None:
        """Add a text's words, for their length and the moving-average type-token ratio (Covington & McFall 2010)."""
        for word in words:
            self.whole_words += 1
            self.word_characters += len(word)
            self._window.append(word.lower())
            self._held[word.lower()] += 1
            if len(self._window) > WINDOW:
                gone = self._window.popleft()
                self._held[gone] -= 1
                if not self._held[gone]:
                    del self._held[gone]
            if len(self._window) == WINDOW:
                self.windows += 1
                self.distinct += len(self._held)

    def measures(self, vocabulary: int, special: Collection[int]) -> dict[str, Any]:
        """Return the measures; None where there is nothing to take a share of.

        Args:
          vocabulary: number of pieces, special ones included.
          special: ids that no text is made of.
        """
        return {
            "fertility": _share(self.word_tokens, self.words),
            "word_length": _share(self.word_characters, self.whole_words),
            "mattr": _share(self.distinct, self.windows * WINDOW),
            "split_words": _share(self.split, self.words),
            "characters_per_token": _share(self.characters, self.tokens),
            "unknown": _share(self.unknown, self.tokens),
            "coverage": _share(self.visible - self.lost, self.visible),
            "vocabulary_used": _share(len(self.used.difference(special)), vocabulary - len(special)),
            "words": self.words,
            "texts": self.texts,
            "untranslated": self.untranslated,
            "tokens": self.tokens,
            "characters": self.characters,
        }


@dataclass
class Parity:
    """Tokens of the same examples in a language and in English."""

    examples: int = 0
    tokens: int = 0
    english: int = 0

    def add(self, tokens: int, english: int) -> None:
        """Add one example."""
        self.examples += 1
        self.tokens += tokens
        self.english += english

    @property
    def ratio(self) -> float | None:
        """Tokens in the language over tokens in English; None without a common example."""
        return _share(self.tokens, self.english)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
