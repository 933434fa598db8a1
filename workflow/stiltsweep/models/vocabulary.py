"""Train a vocabulary in mT5's manner."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, normalizers

from ..errors import UserError
from . import tokenizer_files
from .sentencepiece_files import Vocabulary

SENTINELS = 100
TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def train_unigram(texts: Iterable[str], size: int, output: Path) -> None:
    """Train a SentencePiece unigram vocabulary and write its tokenizer files.

    mT5's layout: <pad> 0, </s> 1, <unk> 2, the 256 bytes characters outside the vocabulary fall back to, the pieces,
    and <extra_id_99> ... <extra_id_0> at the top. Training has no random part and runs in one thread: the same texts
    give the same bytes.

    Args:
      texts: training text, read once.
      size: ids in all, sentinels included.
      output: directory that gets tokenizer.json and the files beside it.

    Raises:
      UserError: the texts are too few for the size.
    """
    import sentencepiece

    normalizer = _normalizer()
    sentences = (" ".join(normalizer.normalize_str(text).split()) for text in texts)
    model = io.BytesIO()
    sentencepiece.set_min_log_level(2)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(sentence for sentence in sentences if sentence),
            model_writer=model,
            model_type="unigram",
            vocab_size=size - SENTINELS,
            character_coverage=0.9995,
            byte_fallback=True,
            # The tokenizer normalises by itself; the trainer sees what it will see.
            normalization_rule_name="identity",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"a vocabulary of {size} cannot be trained on these texts ({reason}).") from None
    vocabulary = Vocabulary.parse(model.getvalue(), "the trained vocabulary")
    tokenizer_files.save(vocabulary.with_sentinels(SENTINELS).tokenizer(normalizer), TOKENS, output)


def _normalizer() -> normalizers.Normalizer:
    """NFKC, control characters dropped, every kind of white space a space."""
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\s\x{200B}\x{2028}\x{2029}\x{FEFF}▁]"), " "),
            normalizers.Replace(Regex(r"\p{Cc}"), ""),
            normalizers.NFKC(),
        ]
    )
