"""Measure one model and target: read the prepared test data language by language, write measures and attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..facts import SIDED
from ..files import replacing, write_json
from ..languages import ENGLISH
from ..models.tokenizer import Tokenizer
from ..records import Meta, Row, read_meta, read_rows
from ..writing import spaced
from . import segmentations, texts, words
from .attributes import NAMES, NUMERIC, Attributes, Segmented, attributes
from .measures import Parity, Sums
from .questions import question_word
from .texts import Texts

_ROWS = 500
"""Examples segmented at a time."""

SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("id", pa.string()),
        *((name, pa.float64() if name in NUMERIC else pa.string()) for name in NAMES),
    ]
)
"""Of the attributes' Parquet file."""


@dataclass(frozen=True)
class _Vocabulary:
    """What of a tokenizer does not depend on texts."""

    tokenizer: Tokenizer
    lacking: frozenset[int]
    """The unknown piece and the bytes that a character outside the vocabulary falls back to."""
    special: frozenset[int]
    """Pieces that no text is made of."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> _Vocabulary:
        bytes_ = (tokenizer.id_of(f"<0x{byte:02X}>") for byte in range(256))
        lacking = {i for i in (tokenizer.special["unk"], *bytes_) if i is not None}
        special = {i for i in (*tokenizer.special.values(), *tokenizer.unwritten) if i is not None}
        return cls(tokenizer, frozenset(lacking), frozenset(special))


@dataclass(frozen=True)
class _English:
    """What other languages are compared with."""

    texts: frozenset[bytes] = frozenset()
    """Digests of all texts of the English data, training data too: a text that is among them is not translated."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Id -> tokens of the test example."""

    def __contains__(self, text: str) -> bool:
        return bool(self.texts) and _digest(text) in self.texts


def measure(
    directory: Path,
    data: Path,
    languages: Sequence[str],
    output: Path,
    *,
    identity: Mapping[str, str],
    candidates_english: bool = False,
    supplied: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Measure a tokenizer on the test data of a target.

    Args:
      directory: the model's.
      data: folder of the target's prepared data.
      languages: those to measure; English, where it is among them, is what the others are compared with.
      output: the JSON file; the attributes are written beside it, with the suffix .parquet.
      identity: names of the model and target, for the JSON file.
      candidates_english: of retrieval and mining, whether the right candidate is the query's English translation.
      supplied: language -> file of segmentations (see `segmentations`).

    Returns:
      What is written as JSON.

    Raises:
      UserError: a file cannot be read.
    """
    vocabulary = _Vocabulary.of(Tokenizer.from_directory(directory))
    cut = {code: segmentations.read(path) for code, path in (supplied or {}).items() if code in languages}
    english = _English()
    measured: dict[str, Any] = {}
    parallel = set()
    with (
        replacing(output.with_suffix(".parquet")) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        # English first, since the others are compared with it.
        for code in sorted(languages, key=lambda code: (code != ENGLISH, code)):
            path = data / f"{code}.parquet"
            language = _Language(vocabulary, code, path, english, candidates_english)
            for rows in language.rows():
                table = [{"language": code, "id": name, **asdict(attributes)} for name, attributes in rows]
                writer.write_table(pa.Table.from_pylist(table, SCHEMA))
            if code == ENGLISH:
                english = _English(_digests(path, language.meta.kind), language.tokens)
            boundaries = segmentations.agreement(vocabulary.tokenizer, cut[code]) if code in cut else {}
            measured[code] = {**language.measures(), "boundary_f1": None, **boundaries}
            parallel.add(language.meta.parallel)
    document = {
        **identity,
        "parallel": parallel.pop(),  # a fact of the task, the same in all its languages
        "vocabulary": vocabulary.tokenizer.size,
        "languages": measured,
    }
    write_json(output, document)
    return document


class _Language:
    """One language of the target, read once."""

    def __init__(
        self, vocabulary: _Vocabulary, code: str, path: Path, english: _English, candidates_english: bool
    ) -> None:
        self._vocabulary = vocabulary
        self._code = code
        self._english = english
        self.meta: Meta = read_meta(path)
        self._rows = read_rows(path, "test", candidates=False)
        sided = self.meta.kind in SIDED
        wanted = {name for row in self._rows for name in row["gold"][:1]} if sided else set()
        candidates = texts.gold(path, wanted) if sided else {}
        self._examples = [texts.of(row, self.meta.kind, candidates) for row in self._rows]
        self._translations = sided and candidates_english
        self._unit, self._reason = self._words()
        self._sums, self._parity = Sums(), Parity()
        self.tokens: dict[str, int] = {}
        """Id -> tokens of the example."""

    def rows(self) -> Iterator[list[tuple[str, Attributes]]]:
        """Segment everything; yield ids and attributes in the order of the data."""
        for start in range(0, len(self._rows), _ROWS):
            part = slice(start, start + _ROWS)
            yield list(self._measured(self._rows[part], self._examples[part]))

    def measures(self) -> dict[str, Any]:
        """Return the language's measures, once all rows are through."""
        reasons = {}
        if self._unit is None:
            reasons["fertility"] = self._reason
        if self._parity.ratio is None:
            reasons["parity"] = self._no_parity()
        tokenizer = self._vocabulary.tokenizer
        return {
            **self._sums.measures(tokenizer.size, self._vocabulary.special),
            "parity": self._parity.ratio,
            "parity_examples": self._parity.examples,
            "word_unit": self._unit,
            "reasons": reasons,
        }

    def _words(self) -> tuple[str | None, str]:
        """Say what counts as a word, or why nothing does."""
        own = [text for example in self._examples for text in self._translated(example)]
        separated = spaced(own)
        if self.meta.kind == "tagging":
            tokens = (token for row in self._rows for token in row["tokens"])
            if separated or not words.are_characters(tokens):
                return "tokens of the data", ""
            return None, "the data's tokens are characters, and the script puts no space between words"
        return ("white space", "") if separated else (None, "the script puts no space between words")

    def _translated(self, example: Texts) -> list[str]:
        return [text for text in example.own if text not in self._english]

    def _spans(self, example: Texts, text: str) -> list[words.Span]:
        if self._unit is None:
            return []
        if example.tokens is not None:
            return [(start, end) for start, end in example.tokens if words.is_word(text[start:end])]
        return words.spans(text)

    def _measured(self, rows: Sequence[Row], examples: Sequence[Texts]) -> Iterator[tuple[str, Attributes]]:
        tokenizer, lacking = self._vocabulary.tokenizer, self._vocabulary.lacking
        flat = [text for example in examples for text in example.own]
        pieces = iter(tokenizer.pieces(flat))
        right = [example.pair[1] for example in examples if example.pair] if self._translations else []
        english = iter(tokenizer.pieces(right))
        for row, example in zip(rows, examples, strict=True):
            segmented = []
            for text in example.own:
                own = next(pieces)
                spans = self._spans(example, text)
                one = Segmented.of(text, own, spans, lacking)
                segmented.append(one)
                if text in self._english:
                    self._sums.untranslated += 1
                else:
                    self._sums.add(one, own)
                    self._sums.add_words(text[start:end] for start, end in spans)
            length = sum(text.tokens for text in segmented)
            if self._translations:
                if example.pair:
                    self._parity.add(length, len(next(english).ids))
            elif self.meta.parallel != "none" and row["id"] in self._english.tokens:
                self._parity.add(length, self._english.tokens[row["id"]])
            if self._code == ENGLISH:
                self.tokens[row["id"]] = length
            yield row["id"], attributes(example, segmented, self._question_word(example))

    def _question_word(self, example: Texts) -> str | None:
        if example.question is None:
            return None
        language = ENGLISH if example.question in self._english else self._code
        return question_word(example.question, language)

    def _no_parity(self) -> str:
        if self._code == ENGLISH:
            return "English itself"
        if self.meta.parallel == "none":
            return "the examples are not translations of English ones"
        return "no example that English has too"


def _digests(path: Path, kind: str) -> frozenset[bytes]:
    """Return the digests of all texts of a language's data, candidates left out."""
    digests: set[bytes] = set()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(use_threads=False):
            for row in batch.to_pylist():
                if row.get("side") != "candidate":
                    digests.update(map(_digest, texts.of(row, kind, {}).own))
    return frozenset(digests)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
