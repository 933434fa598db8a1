"""Tiny models and data for tests: random weights of the real classes, a real unigram tokenizer, a task anyone can learn."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models as token_models
from tokenizers import normalizers, pre_tokenizers, trainers

from stiltsweep.files import write_record
from stiltsweep.models import directory, fetch, tokenizer_files
from stiltsweep.records import write_rows
from stiltsweep.settings import Representation, TrainingSettings
from stiltsweep.training import loop

SENTENCES = [
    "turn on the light in the kitchen",
    "turn off the lamp in the bedroom",
    "what time is it in the garage",
    "how warm is the office",
    "schalte das Licht in der Küche ein",
    "mach die Lampe im Schlafzimmer aus",
    "打开厨房的灯",
    "关掉卧室的灯",
    "车库现在几点",
    "办公室有多热",
    "เปิดไฟในห้องครัว",
    "ปิดไฟในห้องนอน",
    "أطفئ الضوء في المطبخ",
    "כבה את האור במטבח",
    "mutfaktaki ışığı aç",
    "keittiön valot päälle",
]


def pieces(texts: Iterable[str], size: int = 160) -> list[tuple[str, float]]:
    """Train a unigram vocabulary."""
    raw = RawTokenizer(token_models.Unigram())
    raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    raw.train_from_iterator(
        list(texts), trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", show_progress=False)
    )
    import json

    vocabulary = json.loads(raw.to_str())["model"]["vocab"]
    return [(piece, score) for piece, score in vocabulary if piece != "<unk>"]


def encoder(folder: Path, *, texts: Sequence[str] = SENTENCES, layers: int = 2, seed: int = 0) -> Path:
    """Write a canonical directory of a random BertModel with an XLM-R-like vocabulary; return its model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [(token, 0.0) for token in special] + sorted(pieces(texts), key=lambda p: (-p[1], p[0]))
    vocabulary.append(("<mask>", 0.0))
    raw = tokenizer_files.unigram(
        vocabulary,
        normalizers.NFKC(),
        unk_id=3,
        special=[*special, "<mask>"],
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
    )
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer_files.save(raw, {f"{role}_token": token for role, token in names.items()}, folder)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=1,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    facts = {"class": "BertModel", "pooler": False, "token_types": False, "source": {"type": "test"}}
    write_record(folder / "model.json", {"name": "tiny", "interface": "encoder", **fetch.describe(folder), **facts})
    return folder / "model.json"


def text2text(folder: Path, *, texts: Sequence[str] = SENTENCES, seed: int = 0) -> Path:
    """Write a canonical directory of a random MT5ForConditionalGeneration; return its model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<pad>", "</s>", "<unk>"]
    sentinels = [f"▁<extra_id_{i}>" for i in range(9, -1, -1)]  # as in the published mT5
    vocabulary = [(token, 0.0) for token in special] + sorted(pieces(texts), key=lambda p: (-p[1], p[0]))
    vocabulary += [(token, 0.0) for token in sentinels]
    raw = tokenizer_files.unigram(
        vocabulary,
        normalizers.NFKC(),
        unk_id=2,
        special=[*special, *sentinels],
        single="$A </s>",
        pair="$A </s> $B </s>",
    )
    tokenizer_files.save(raw, {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}, folder)
    torch.manual_seed(seed)
    config = transformers.MT5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    model = transformers.MT5ForConditionalGeneration(config)
    # Like real mT5: the output layer is a matrix of its own.
    model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    directory.save(model, folder)
    facts = {"class": "MT5ForConditionalGeneration", "source": {"type": "test"}}
    write_record(
        folder / "model.json", {"name": "tiny-mt5", "interface": "text2text", **fetch.describe(folder), **facts}
    )
    return folder / "model.json"


def run(
    start: Path,
    data: Path,
    folder: Path,
    settings: TrainingSettings,
    representation: Representation,
    *,
    seed: int = 0,
    chance: float = 25.0,
) -> loop.Run:
    """Return a run on one file of English data that writes its checkpoint into a folder."""
    return loop.Run(
        start=start,
        data=[data],
        output=folder / "checkpoint.json",
        settings=settings,
        representation=representation,
        seed=seed,
        prune=True,
        chance=chance,
        identity={"model": "tiny"},
    )


ROOMS = {"en": ["kitchen", "bedroom", "garage", "office"], "de": ["Küche", "Schlafzimmer", "Garage", "Büro"]}
PATTERNS = {
    "en": {"on": "turn on the {}", "off": "turn off the {}", "time": "what time in the {}", "warm": "how warm is {}"},
    "de": {"on": "mach {} an", "off": "mach {} aus", "time": "wie spät ist es in {}", "warm": "wie warm ist {}"},
}


def about(task: str, language: str, metrics: list[str], **more: Any) -> dict[str, Any]:
    """Return what `write_rows` wants to know about a file."""
    return {
        "task": task,
        "language": language,
        "metrics": metrics,
        "parallel": "none",
        "source": {},
        "text2text": {},
        **more,
    }


def classification(folder: Path, *, train: int = 64, dev: int = 16, test: int = 16, seed: int = 0) -> dict[str, Path]:
    """Write a small intent task in English and German; return language -> Parquet file."""
    rng = random.Random(seed)
    found = {}
    for language, patterns in PATTERNS.items():
        splits = [("train", train), ("dev", dev), ("test", test)] if language == "en" else [("test", test)]
        rows = []
        for split, count in splits:
            for number in range(count):
                label = list(patterns)[number % 4]
                text = patterns[label].format(rng.choice(ROOMS[language])) + f" {number}"
                rows.append({"id": f"{split}{number}", "split": split, "text_a": text, "text_b": None, "label": label})
        found[language] = folder / f"{language}.parquet"
        write_rows(
            found[language], "classification", rows, about("tiny", language, ["accuracy"]), labels=list(PATTERNS["en"])
        )
    return found
