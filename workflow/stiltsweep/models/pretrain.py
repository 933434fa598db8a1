"""A model from nothing: mT5's architecture, a vocabulary trained on a corpus, random weights.

`fetch` writes the initial model; the updates of span corruption that its model.json asks for (`pretrain_updates`) are
made by the training stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..sources.package import corpora
from .directory import save
from .tokenizer import Tokenizer
from .vocabulary import train_unigram


def write(
    source: Mapping[str, Any], directory: Path, interface: str, texts: Iterable[str] | None = None
) -> dict[str, Any]:
    """Train the vocabulary and write a randomly initialised MT5ForConditionalGeneration.

    Args:
      source: `corpus` (see `corpora.texts`), `vocabulary_size`, `architecture` (keys of MT5Config), `seed`, `updates`.
      directory: exists.
      interface: only `text2text`.
      texts: instead of the corpus.

    Returns:
      What model.json adds: class, source, pretrain_updates.

    Raises:
      UserError: another interface; or see `corpora.texts` and `train_unigram`.
    """
    if interface != "text2text":
        raise UserError(f"a pretrained-here model has interface text2text, not {interface!r}.")
    import torch
    from transformers import MT5Config, MT5ForConditionalGeneration

    train_unigram(corpora.texts(source["corpus"]) if texts is None else texts, source["vocabulary_size"], directory)
    tokenizer = Tokenizer.from_directory(directory)
    special = tokenizer.special
    config = MT5Config(
        **source["architecture"],
        vocab_size=tokenizer.size,
        pad_token_id=special["pad"],
        eos_token_id=special["eos"],
        decoder_start_token_id=special["pad"],
    )
    # The generator of this thread is put back: nothing outside may depend on a model having been made.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source["seed"])
        model = MT5ForConditionalGeneration(config)
        # mT5's output layer is a matrix of its own; transformers ties it to the embedding, whatever its configuration
        # says.
        model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
        torch.nn.init.normal_(model.lm_head.weight, std=config.d_model**-0.5)
    save(model, directory)
    return {
        "class": "MT5ForConditionalGeneration",
        "source": dict(source),
        "pretrain_updates": source["updates"],
        "checks": {},
    }
