"""Making the tokenizer files of a canonical model directory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from ..files import digest_file, replacing, write_json
from .reachable import MARK, write_index
from .tokenizer import CONFIG, FILE, INDEX, ROLES


def save(tokenizer: tokenizers.Tokenizer, tokens: Mapping[str, str], directory: Path) -> str:
    """Write tokenizer.json, its index and tokenizer_config.json.

    Args:
      tokenizer: whole, without truncation and padding.
      tokens: "pad_token", "eos_token", ... -> the token's text; other keys are left out.
      directory: exists.

    Returns:
      The sha256 of tokenizer.json.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with replacing(directory / FILE) as temporary:
        # Readable JSON would be twice as large and as slow to read for a vocabulary.
        tokenizer.save(str(temporary), pretty=False)
    write_index(directory / FILE, directory / INDEX)
    named = {f"{role}_token": tokens[f"{role}_token"] for role in ROLES if tokens.get(f"{role}_token")}
    write_json(directory / CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast", **named})
    return digest_file(directory / FILE)


def unigram(
    pieces: Sequence[tuple[str, float]],
    normalizer: normalizers.Normalizer,
    *,
    unk_id: int,
    special: Sequence[str],
    single: str,
    pair: str,
    byte_fallback: bool = False,
) -> tokenizers.Tokenizer:
    """Make a SentencePiece-like unigram tokenizer.

    Args:
      pieces: piece and score by id.
      normalizer: applied first; white space is collapsed and stripped after it.
      unk_id: the unknown piece's id.
      special: pieces that are special tokens.
      single: special tokens around one text, as in "<s> $A </s>"; `pair` likewise with $B.
      pair: see `single`.
      byte_fallback: whether unknown characters become byte pieces.
    """
    tokenizer = tokenizers.Tokenizer(models.Unigram(list(pieces), unk_id=unk_id, byte_fallback=byte_fallback))
    spaces = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=True, right=True)]
    tokenizer.normalizer = normalizers.Sequence([normalizer, *spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    metaspace = decoders.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    tokenizer.decoder = (
        decoders.Sequence([decoders.ByteFallback(), metaspace]) if byte_fallback else metaspace
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    ids = {token: tokenizer.token_to_id(token) for token in re.findall(r"<[^ ]+>", single)}
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(ids.items()))
    return tokenizer


def code_point_rules(rules: Mapping[str, str]) -> normalizers.Normalizer:
    """Make a normalizer that replaces single code points and leaves all others, and their order, alone.

    (Unicode's own forms also reorder combining marks, which breaks Burmese, Arabic and Hebrew pieces trained without.)
    """
    from sentencepiece import SentencePieceNormalizer, set_min_log_level

    set_min_log_level(2)
    # The table cannot express "replace by nothing" at the start of a text without shifting the offsets of the rest.
    dropped = "".join(f"\\x{{{ord(source):x}}}" for source, target in sorted(rules.items()) if not target)
    kept = sorted((source, target) for source, target in rules.items() if target)
    compiled = SentencePieceNormalizer(norm_map=kept).serialized_model_proto()
    table = normalizers.Precompiled(_field(_field(compiled, 3), 2))
    return normalizers.Sequence([normalizers.Replace(Regex(f"[{dropped}]"), ""), table]) if dropped else table


def _field(message: bytes, number: int) -> bytes:
    """Return the first length-delimited field `number` of a protocol buffers message.

    Wire format: https://protobuf.dev/programming-guides/encoding/ (varint 0, 64 bit 1, length-delimited 2, 32 bit 5).
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 2:
            length, at = _varint(message, at)
            if key >> 3 == number:
                return message[at : at + length]
            at += length
        elif wire == 0:
            _, at = _varint(message, at)
        else:
            at += {1: 8, 5: 4}[wire]
    raise ValueError(f"field {number} is missing")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
