"""A unigram vocabulary cut to the pieces that given texts can reach: the same tokenization, without the load time.

Building a tokenizer of 250,000 pieces takes more than a second and 300 MB, and every job pays it. Almost no piece can
occur in a job's texts. A unigram tokenizer takes the path of pieces through a text whose scores sum highest; a piece
that is no substring of the (normalised) text lies on no path. So a tokenizer that holds only the pieces that are
substrings of the texts segments them exactly like the whole one, as long as the score of unknown characters, which is
derived from the lowest score of the vocabulary, stays what it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from ..files import replacing

MARK = "▁"
"""Stands for a space; pieces that begin a word begin with it."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_LIMIT = 150_000
"""Characters of distinct words whose substrings are looked up; beyond, building the whole tokenizer is quicker."""


def write_index(tokenizer_json: Path, path: Path) -> bool:
    """Write what `Reachable` reads, if the tokenizer is of the right form; else remove the file.

    The form: a unigram model, words marked by Metaspace, and no piece that goes on after a mark within it, so that
    words can be looked at one by one. (SentencePiece trains such vocabularies unless told to cross spaces.)

    Returns:
      Whether the tokenizer has that form.
    """
    spec = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    model = spec["model"]
    if not _fits(spec):
        path.unlink(missing_ok=True)
        return False
    pieces = [piece for piece, _ in model["vocab"]]
    scores = np.array([score for _, score in model["vocab"]], dtype=np.float64)
    # Added tokens that the model's vocabulary lacks follow it; they are never reached as text, and the lowest score
    # leaves that of unknown characters alone.
    known = set(pieces)
    extra = sorted((token for token in spec["added_tokens"] if token["content"] not in known), key=lambda t: t["id"])
    if [token["id"] for token in extra] != list(range(len(pieces), len(pieces) + len(extra))):
        path.unlink(missing_ok=True)
        return False
    pieces += [token["content"] for token in extra]
    scores = np.concatenate([scores, np.full(len(extra), scores.min())])
    index = {piece: i for i, piece in enumerate(pieces)}
    always = {index[token["content"]] for token in spec["added_tokens"]}
    always |= {int(scores.argmin()), model["unk_id"]}
    always |= {i for i, piece in enumerate(pieces) if set(piece) == {MARK} or _BYTE.fullmatch(piece)}
    local = {original: i for i, original in enumerate(sorted(always))}
    _renumber(spec, local)
    stored = save(
        {
            "pieces": np.frombuffer("\n".join(pieces).encode("utf-8"), dtype=np.uint8),
            "scores": scores,
            "always": np.array(sorted(always), dtype=np.int64),
            "skeleton": np.frombuffer(json.dumps(spec, ensure_ascii=False).encode("utf-8"), dtype=np.uint8),
        }
    )
    with replacing(path) as temporary:
        temporary.write_bytes(stored)
    return True


def _fits(spec: dict[str, Any]) -> bool:
    model = spec["model"]
    if (
        model.get("type") != "Unigram"
        or model.get("unk_id") is None
        or '"Metaspace"' not in json.dumps(spec["pre_tokenizer"])
    ):
        return False
    if (spec["post_processor"] or {}).get("type") not in (None, "TemplateProcessing"):
        return False
    return all("\n" not in piece and (MARK not in piece[1:] or set(piece) == {MARK}) for piece, _ in model["vocab"])


def _renumber(spec: dict[str, Any], local: dict[int, int]) -> None:
    """Make a skeleton without a vocabulary whose special tokens have local ids."""
    spec["model"]["unk_id"] = local[spec["model"]["unk_id"]]
    spec["model"]["vocab"] = []
    for token in spec["added_tokens"]:
        token["id"] = local[token["id"]]
    spec["added_tokens"].sort(key=lambda token: token["id"])
    for token in (spec["post_processor"] or {}).get("special_tokens", {}).values():
        token["ids"] = [local[i] for i in token["ids"]]


class Reachable:
    """A tokenizer that grows with the texts it meets."""

    def __init__(self, path: Path) -> None:
        stored = load_file(path)
        pieces = stored["pieces"].tobytes().decode("utf-8").split("\n")
        self._pieces = pieces
        self._ids = dict(zip(pieces, range(len(pieces)), strict=True))
        self._scores = stored["scores"]
        self._skeleton = json.loads(stored["skeleton"].tobytes())
        self._longest = max(map(len, pieces))
        special = [token["content"] for token in self._skeleton["added_tokens"]]
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")
        self._words: set[str] = set()
        self._characters = 0
        self._local = {int(i): local for local, i in enumerate(stored["always"])}
        self._rebuild()

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer as far as it has grown; its ids are local."""
        return self._tokenizer

    @property
    def original(self) -> NDArray[np.int64]:
        """For each local id the id of the whole vocabulary."""
        return self._original

    @property
    def exhausted(self) -> bool:
        """Whether so much was asked for that the whole tokenizer had better be used."""
        return self._characters > _LIMIT

    def id_of(self, piece: str) -> int | None:
        """Return a piece's id in the whole vocabulary."""
        return self._ids.get(piece)

    def local_ids(self, ids: Sequence[int]) -> list[int]:
        """Map ids of the whole vocabulary to local ones, growing as needed."""
        self._add(i for i in ids if 0 <= i < len(self._pieces))
        return [self._local[i] for i in ids if i in self._local]

    def cover(self, texts: Iterable[str]) -> None:
        """Grow so that these texts are segmented as by the whole vocabulary."""
        normalize = self._tokenizer.normalizer.normalize_str if self._tokenizer.normalizer else str
        words: set[str] = set()
        for text in set(texts):
            for part in self._special.split(text):
                words.update(normalize(part).replace(" ", MARK).split(MARK))
        words -= self._words
        self._characters += sum(map(len, words))
        if self.exhausted:
            return
        self._words |= words
        runs: set[str] = set()
        longest = self._longest
        for word in words:
            marked = MARK + word
            length = len(marked)
            runs.update(marked[i:j] for i in range(length) for j in range(i + 1, min(length, i + longest) + 1))
        self._add(sorted(self._ids[piece] for piece in runs & self._ids.keys()))

    def _add(self, ids: Iterable[int]) -> None:
        before = len(self._local)
        for i in ids:
            self._local.setdefault(i, len(self._local))
        if len(self._local) > before:
            self._rebuild()

    def _rebuild(self) -> None:
        self._original = np.fromiter(self._local, dtype=np.int64, count=len(self._local))
        self._skeleton["model"]["vocab"] = [(self._pieces[i], float(self._scores[i])) for i in self._local]
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(self._skeleton, ensure_ascii=False))
