"""Making the tokenizer files of a canonical model directory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from ..files import digest_file, replacing, write_json
from .reachable import MARK, write_index
from .tokenizer import CHAT, CONFIG, FILE, INDEX, ROLES, byte_letters


def save(
    tokenizer: tokenizers.Tokenizer,
    tokens: Mapping[str, str],
    directory: Path,
    *,
    chat: tuple[str, str, str] | None = None,
) -> str:
    """Write tokenizer.json, its index and tokenizer_config.json.

    Args:
      tokenizer: whole, without truncation and padding.
      tokens: "pad_token", "eos_token", ... -> the token's text; other keys are left out.
      directory: exists.
      chat: what a chat template puts before and after what a user says, and the token that ends an answer (empty: that
        which ends a text); None: there is none.

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
    asked = {} if chat is None else {CHAT: list(chat)}
    write_json(directory / CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast", **named, **asked})
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
      single: special tokens around one text, as in "<s> $A </s>" or "[CLS] $A [SEP]"; `pair` likewise with $B.
      pair: see `single`.
      byte_fallback: whether unknown characters become byte pieces.
    """
    tokenizer = tokenizers.Tokenizer(models.Unigram(list(pieces), unk_id=unk_id, byte_fallback=byte_fallback))
    spaces = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=True, right=True)]
    tokenizer.normalizer = normalizers.Sequence([normalizer, *spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    metaspace = decoders.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), metaspace]) if byte_fallback else metaspace
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    ids = {token: tokenizer.token_to_id(token) for token in re.findall(r"<[^ ]+>|\[[^ ]+\]", single)}
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(ids.items()))
    return tokenizer


def byte_level(special: Sequence[str], extra: Sequence[str]) -> tokenizers.Tokenizer:
    """Make ByT5's tokenizer: one piece a byte, its id the byte's value plus the number of special tokens before.

    Args:
      special: tokens before the bytes, the unknown one last (it never occurs: every text is bytes).
      extra: tokens after the bytes.
    """
    letters = byte_letters()
    names = [*special, *(letters[byte] for byte in range(256)), *extra]
    tokenizer = tokenizers.Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], unk_token=special[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in [*special, *extra]])
    eos = "</s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", pair=f"$A {eos} $B {eos}", special_tokens=[(eos, tokenizer.token_to_id(eos))]
    )
    return tokenizer
