"""Texts to pieces and back: one torch-free wrapper around `tokenizers` for every model.

Offsets are the point of it: each piece knows which characters (code points) of the *original* text it stands for, with
normalisation, the space a piece begins with, and letters that became several all accounted for.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from ..errors import UserError, remake
from ..files import check_digest, digest_file, read_json, read_record
from .reachable import MARK, Reachable

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
INDEX = "tokenizer.safetensors"
MODEL_FILE = "model.json"
"""The record of the model that a tokenizer lies beside."""
DIGESTS = "tokenizer_files_sha256"
"""Key of that record: file -> sha256."""
CHAT = "chat"
"""Key of `CONFIG`."""
ROLES = ("pad", "bos", "cls", "eos", "sep", "unk", "mask")
_BYTES_FROM = 3
"""The id of byte 0 in ByT5's vocabulary."""
_BYTE_SENTINELS = 100
_NO_BYTE = 0xF5
"""Bytes from here on occur in no UTF-8 text."""
_CHUNK = 1000
"""Texts per call: the library's own result objects are many times larger than what is kept of them."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """One text without special tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """For each piece its [start, end) in code points of the text, white space at both ends left out.

    Starts and ends never go backwards. A piece that stands for white space alone is empty (start == end). Pieces that
    share a character (one that normalisation made several of, or bytes of one character) share its offsets.
    """


def overlapping(span: tuple[int, int], starts: Sequence[int], ends: Sequence[int]) -> slice:
    """Return which pieces overlap a span.

    Args:
      span: [start, end) in code points.
      starts, ends: offsets of the pieces that stand for at least one character; they never go backwards.
    """
    return slice(bisect_right(ends, span[0]), bisect_left(starts, span[1]))


def digests(directory: Path) -> dict[str, str]:
    """Return the digests of a tokenizer's files, by name."""
    files = (directory / name for name in (FILE, CONFIG, INDEX))
    return {path.name: digest_file(path) for path in files if path.is_file()}


class Tokenizer:
    """A tokenizer of a canonical model directory.

    Special tokens written out in a text ("</s>") are taken for special tokens, as transformers does.
    """

    def __init__(self, directory: Path, tokens: Mapping[str, Any], index: Reachable | None) -> None:
        self._directory = directory
        self._index = index
        self._whole: tokenizers.Tokenizer | None = None
        if index is None:
            self._load()
        self.special: dict[str, int | None] = {
            role: self.id_of(tokens[f"{role}_token"]) if f"{role}_token" in tokens else None for role in ROLES
        }
        """Role (`ROLES`) -> id, None where the model has none."""
        *around, end = tokens.get(CHAT, ("",))
        self.chat: tuple[str, str] | None = (around[0], around[1]) if around else None
        """What a chat template puts before and after what a user says."""
        self.chat_end = self.id_of(end) if end else self.special["eos"]
        """The piece that ends an answer in a chat template."""
        self.token_types = False
        """Whether the second text of a pair has token type 1."""
        self._layouts = {pair: self._probe(pair) for pair in (False, True)}

    @classmethod
    def from_directory(cls, directory: str | Path, *, whole: bool = False) -> Tokenizer:
        """Read a tokenizer as `fetch` wrote it.

        Args:
          directory: holds tokenizer.json, tokenizer_config.json and, for large unigram vocabularies, the index that
            spares loading all of it (see `reachable`).
          whole: load the whole vocabulary at once.

        Raises:
          UserError: a file is missing, broken, or another than the model's record says (there is none while a model is
            fetched).
        """
        directory = Path(directory)
        record = directory / MODEL_FILE
        if record.is_file():
            again = remake(record)
            for name, sha256 in read_record(record, rebuild=again, keys=(DIGESTS,))[DIGESTS].items():
                check_digest(directory / name, sha256, again)
        tokens = read_json(directory / CONFIG)
        index = directory / INDEX
        return cls(directory, tokens, Reachable(index) if index.is_file() and not whole else None)

    def _load(self) -> tokenizers.Tokenizer:
        if self._whole is None:
            path = self._directory / FILE
            try:
                self._whole = tokenizers.Tokenizer.from_file(str(path))
            except Exception as error:  # the library raises bare Exception
                raise UserError(f"{path}: not a readable tokenizer ({error}). Fetch the model again.") from None
            self._whole.no_truncation()
            self._whole.no_padding()
        return self._whole

    @property
    def size(self) -> int:
        """Number of pieces, special tokens included."""
        return len(self._index) if self._index is not None else int(self._load().get_vocab_size())

    @property
    def sentinels(self) -> list[int]:
        """Ids of the sentinels of T5's pre-training, the first one first; empty for other models.

        T5 and umT5 name them <extra_id_0>, mT5's vocabulary "▁<extra_id_0>", with the word's mark (where both are
        there, the latter were trained). ByT5 has none of its own: its pre-training counts down from its last byte (id
        258). Its tokenizer's <extra_id_0> (259) and those after it have never been written.
        """
        if self.is_bytes:
            return [_BYTES_FROM + 255 - n for n in range(_BYTE_SENTINELS)]
        for name in (MARK + "<extra_id_{}>", "<extra_id_{}>"):
            ids = list(takewhile(lambda i: i is not None, (self.id_of(name.format(n)) for n in count())))
            if ids:
                return [i for i in ids if i is not None]
        return []

    @property
    def unwritten(self) -> list[int]:
        """Ids of the sentinels that no text needs: none may be in an answer.

        Of ByT5 those whose bytes are in no UTF-8 text; the others are letters of many scripts too.
        """
        return list(range(_BYTES_FROM + _NO_BYTE, self.size)) if self.is_bytes else self.sentinels

    @property
    def is_bytes(self) -> bool:
        """Whether pieces are bytes, numbered as in ByT5."""
        if self._index is not None:
            return False
        return all(self.id_of(letter) == _BYTES_FROM + byte for byte, letter in byte_letters().items())

    def id_of(self, piece: str) -> int | None:
        """Return the id of a piece, None if there is no such piece."""
        number = self._index.id_of(piece) if self._index is not None else self._load().token_to_id(piece)
        return None if number is None else int(number)

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Segment texts: no special tokens added, nothing cut off."""
        inner, original = self._covering(texts)
        segmented = []
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            for text, encoding in zip(chunk, inner.encode_batch(chunk, add_special_tokens=False), strict=True):
                ids = encoding.ids if original is None else original[encoding.ids].tolist()
                offsets = _offsets(text, encoding.tokens, encoding.offsets)
                segmented.append(Pieces(ids, offsets))
        return segmented

    def behind(self, before: str, texts: Sequence[str]) -> list[Pieces]:
        """Segment texts as they stand behind another, whose own pieces are left out.

        Many tokenizers put a space before what they take for the beginning of a text: here that is no beginning. Where
        the other's last piece would reach into a text, the text is segmented alone.
        """
        known = self.pieces([before])[0].ids
        segmented = []
        for text, one in zip(texts, self.pieces([before + text for text in texts]), strict=True):
            if one.ids[: len(known)] != known:
                segmented += self.pieces([text])
                continue
            offsets = [(max(0, start - len(before)), max(0, end - len(before))) for start, end in one.offsets]
            segmented.append(Pieces(one.ids[len(known) :], offsets[len(known) :]))
        return segmented

    def special_layout(self, *, pair: bool) -> tuple[tuple[int, ...], ...]:
        """Return the special ids (before, after) one text, or (before, between, after) a pair."""
        return self._layouts[pair]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special tokens are left out."""
        if self._whole is None and self._index is not None:
            local = self._index.local_ids(ids)
            return str(self._index.tokenizer.decode(local, skip_special_tokens=True))
        return str(self._load().decode(list(ids), skip_special_tokens=True))

    def _covering(self, texts: Sequence[str]) -> tuple[tokenizers.Tokenizer, NDArray[np.int64] | None]:
        """Return a tokenizer that is exact for these texts, and the map from its ids to the whole vocabulary's."""
        if self._whole is None and self._index is not None:
            self._index.cover(texts)
            if not self._index.exhausted:
                return self._index.tokenizer, self._index.original
        return self._load(), None

    def _probe(self, pair: bool) -> tuple[tuple[int, ...], ...]:
        """Find where the tokenizer itself puts special tokens, by an example."""
        inner, original = self._covering(["a", "b"])
        encoding = inner.encode("a", "b") if pair else inner.encode("a")
        ids = encoding.ids if original is None else original[encoding.ids].tolist()
        self.token_types |= 1 in encoding.type_ids
        runs: list[list[int]] = [[]]
        last: int | None = None
        for i, sequence, special in zip(ids, encoding.sequence_ids, encoding.special_tokens_mask, strict=True):
            if special:
                runs[-1].append(i)
            elif sequence != last:
                last = sequence
                runs.append([])
        return tuple(map(tuple, runs))


def byte_letters() -> dict[int, str]:
    """Return the letter that stands for each byte in the library's byte-level alphabet.

    Printable Latin-1 stands for itself, the other bytes for U+0100 onwards.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(0x100 + n) for n, byte in enumerate(others)}


def _blank(character: str) -> bool:
    """Whether normalisers turn the character into a space or into nothing."""
    return character.isspace() or character in (MARK, "\ufffd") or unicodedata.category(character) in ("Cc", "Cf")


def _offsets(text: str, tokens: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Trim and extend the library's offsets to what each piece stands for."""
    trimmed: list[tuple[int, int]] = []
    reached = 0
    for token, (start, end) in zip(tokens, offsets, strict=True):
        while start < end and _blank(text[start]):
            start += 1
        while start < end and _blank(text[end - 1]):
            end -= 1
        if not token.strip(MARK):
            # The mark put before the first word is aligned to that word's first character: it stands for none of it.
            end = start
        start = max(start, reached)
        trimmed.append((start, max(start, end)))
        reached = start
    # A letter and its accents that became one character are aligned to the letter alone: the accents go with it.
    following = len(text)
    for i in range(len(trimmed) - 1, -1, -1):
        start, end = trimmed[i]
        if start < end:
            while end < following and not _blank(text[end]):
                end += 1
            trimmed[i] = (start, end)
        following = start
    return trimmed
