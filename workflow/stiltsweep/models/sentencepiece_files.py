"""SentencePiece model files (`spiece.model`) as `tokenizers` tokenizers, without the protobuf package.

Only unigram models are read. Which ids pieces have, and which special tokens surround a text, differs by model type:
T5-like models take the file's own ids, DeBERTa adds a mask, XLM-R has fairseq's special tokens in front. Field numbers
are those of SentencePiece's sentencepiece_model.proto.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, normalizers

from ..errors import UserError
from . import tokenizer_files

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_UNIGRAM = 1
_SENTINEL = re.compile(r"▁?<extra_id_\d+>")


@dataclass(frozen=True)
class Piece:
    """One piece of a vocabulary."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class Vocabulary:
    """What is needed of a model file."""

    pieces: list[Piece]
    charsmap: bytes
    """Compiled normalisation rules; empty: none."""
    byte_fallback: bool

    @classmethod
    def parse(cls, model: bytes, where: str) -> Vocabulary:
        """Parse a serialised ModelProto.

        Raises:
          UserError: it is none, or not a unigram model.
        """
        pieces = []
        charsmap = b""
        byte_fallback, kind = False, _UNIGRAM
        try:
            for number, value in fields(model):
                if number == 1:
                    about = dict(fields(_bytes(value)))
                    score = struct.unpack("<f", _bytes(about.get(2, b"\0\0\0\0")))[0]
                    pieces.append(Piece(_bytes(about[1]).decode("utf-8"), score, _int(about.get(3, NORMAL))))
                elif number == 2:
                    trainer = dict(fields(_bytes(value)))
                    kind, byte_fallback = _int(trainer.get(3, _UNIGRAM)), bool(trainer.get(35, 0))
                elif number == 3:
                    charsmap = _bytes(dict(fields(_bytes(value))).get(2, b""))
        except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
            raise UserError(f"{where}: not a SentencePiece model ({error}).") from None
        if not pieces or kind != _UNIGRAM:
            raise UserError(
                f"{where}: not a SentencePiece unigram model; save the tokenizer as tokenizer.json instead."
            )
        return cls(pieces, charsmap, byte_fallback)

    def with_sentinels(self, count: int) -> Vocabulary:
        """Return the vocabulary with `count` sentinels after its last piece, <extra_id_0> the very last, as in T5."""
        sentinels = [Piece(f"<extra_id_{n}>", 0.0, USER_DEFINED) for n in reversed(range(count))]
        return replace(self, pieces=[*self.pieces, *sentinels])

    def with_mask(self) -> Vocabulary:
        """Return the vocabulary with DeBERTa's "[MASK]" after its last piece."""
        return replace(self, pieces=[*self.pieces, Piece("[MASK]", 0.0, CONTROL)])

    def with_fairseq_ids(self) -> Vocabulary:
        """Return the vocabulary as XLM-R numbers it: fairseq's special tokens in front, "<mask>" after the last piece.

        Raises:
          ValueError: the file does not begin with the pieces that fairseq's replace.
        """
        if [piece.text for piece in self.pieces[:3]] != ["<unk>", "<s>", "</s>"]:
            raise ValueError("its first pieces are not <unk>, <s>, </s>")
        front = [Piece(text, 0.0, CONTROL) for text in ("<s>", "<pad>", "</s>")]
        pieces = [*front, Piece("<unk>", 0.0, UNKNOWN), *self.pieces[3:], Piece("<mask>", 0.0, CONTROL)]
        return replace(self, pieces=pieces)

    def tokenizer(
        self,
        normalizer: normalizers.Normalizer | None = None,
        *,
        single: str = "$A </s>",
        pair: str = "$A </s> $B </s>",
    ) -> tokenizers.Tokenizer:
        """Make a tokenizer; a T5-like one if nothing else is asked for: "</s>" ends every text.

        Args:
          normalizer: instead of the model's own rules.
          single: special tokens around one text; `pair` around two.
          pair: see `single`.
        """
        if normalizer is None:
            normalizer = normalizers.Precompiled(self.charsmap) if self.charsmap else normalizers.Sequence([])
        unknown = next(i for i, piece in enumerate(self.pieces) if piece.type == UNKNOWN)
        special = [p.text for p in self.pieces if p.type in (UNKNOWN, CONTROL) or _SENTINEL.fullmatch(p.text)]
        made = tokenizer_files.unigram(
            [(piece.text, piece.score) for piece in self.pieces],
            normalizer,
            unk_id=unknown,
            special=special,
            single=single,
            pair=pair,
            byte_fallback=self.byte_fallback,
        )
        known = set(special)
        always = [p.text for p in self.pieces if p.type == USER_DEFINED and p.text not in known]
        made.add_tokens([AddedToken(text, normalized=False) for text in always])
        return made


def read(path: Path, model_type: str = "t5", *, sentinels: int = 0) -> tokenizers.Tokenizer:
    """Read a model file as a tokenizer.

    Args:
      path: the file.
      model_type: transformers' name of the architecture: T5-like, `deberta-v2`, `xlm-roberta` or `xlm-roberta-xl`.
      sentinels: number of T5's sentinels that come after the file's own pieces.

    Raises:
      UserError: see `Vocabulary.parse`; or its pieces are not those of such a model.
    """
    vocabulary = Vocabulary.parse(path.read_bytes(), str(path))
    try:
        if model_type == "deberta-v2":
            return vocabulary.with_mask().tokenizer(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]")
        if model_type in ("xlm-roberta", "xlm-roberta-xl"):
            made = vocabulary.with_fairseq_ids()
            return made.tokenizer(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>")
    except ValueError as error:
        raise UserError(f"{path}: not a vocabulary of {model_type} ({error}).") from None
    return vocabulary.with_sentinels(sentinels).tokenizer()


def code_point_rules(rules: Mapping[str, str]) -> normalizers.Normalizer:
    """Make a normalizer that replaces single code points and leaves all others, and their order, alone.

    (Unicode's own forms also reorder combining marks, which breaks Burmese, Arabic and Hebrew pieces trained without.)
    """
    from sentencepiece import SentencePieceNormalizer, set_min_log_level

    set_min_log_level(2)
    # The table cannot replace a text's first character by nothing without shifting the offsets of the rest.
    dropped = "".join(f"\\x{{{ord(source):x}}}" for source, target in sorted(rules.items()) if not target)
    kept = sorted((source, target) for source, target in rules.items() if target)
    compiled = SentencePieceNormalizer(norm_map=kept).serialized_model_proto()
    specification = dict(fields(_bytes(dict(fields(compiled))[3])))
    table = normalizers.Precompiled(_bytes(specification[2]))
    return normalizers.Sequence([normalizers.Replace(Regex(f"[{dropped}]"), ""), table]) if dropped else table


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of a protocol buffers message: integers for varints, else bytes.

    Wire format: https://protobuf.dev/programming-guides/encoding/ (0: varint, 1: 8 bytes, 2: length first, 5: 4 bytes).
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("it ends early")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where bytes belong")
    return value


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise TypeError("bytes where a number belongs")
    return value
