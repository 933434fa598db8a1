"""mT5 from the layout it is published in: a SentencePiece model whose very last piece is `▁<extra_id_0>`, config, weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers

import tiny
from stiltsweep.catalog import Model
from stiltsweep.evaluation import evaluate
from stiltsweep.files import read_json
from stiltsweep.kinds import Limits, Representation
from stiltsweep.layout import Cell
from stiltsweep.models.fetch import fetch
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import write_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.training import loop

SENTINELS = 12
REPRESENTATION = Representation("first", -1, "mean", "")
_USER_DEFINED = 4


def piece(text: str) -> bytes:
    """Return a user-defined piece as a field of SentencePiece's ModelProto; such fields may follow at its end."""
    name = text.encode()
    message = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", 0.0) + b"\x18" + bytes([_USER_DEFINED])
    return b"\x0a" + bytes([len(message)]) + message


def published(folder: Path, texts: list[str], seed: int = 0) -> sentencepiece.SentencePieceProcessor:
    """Write a directory as the hub has mT5: spiece.model, config.json, tokenizer_config.json (extra_ids: 0), weights."""
    folder.mkdir(parents=True)
    path = folder / "spiece.model"
    with path.open("wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=handle, vocab_size=400, model_type="unigram", byte_fallback=True,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2, hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc",
        )  # fmt: skip
    names = [f"▁<extra_id_{n}>" for n in reversed(range(SENTINELS))]
    path.write_bytes(path.read_bytes() + b"".join(map(piece, names)))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    torch.manual_seed(seed)
    config = transformers.MT5Config(
        vocab_size=processor.vocab_size(), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=2,
        dropout_rate=0.0, tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    model = transformers.MT5ForConditionalGeneration(config)
    model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    with torch.no_grad():
        # Like weights fresh from pre-training it often wants to begin with a sentinel: wherever its state's first number is
        # positive, for all others are nothing.
        model.decoder.final_layer_norm.weight.zero_()
        model.decoder.final_layer_norm.weight[0] = 1.0
        model.lm_head.weight[-1, 0] = 10.0
    model.save_pretrained(folder)
    return processor


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sentencepiece.SentencePieceProcessor]:
    folder = tmp_path_factory.mktemp("mt5")
    processor = published(folder / "hub", tiny.SENTENCES * 3)
    fetch(
        Model("mt5", {"interface": "text2text", "source": {"type": "files", "path": str(folder / "hub")}}), folder / "m"
    )
    return folder / "m" / "model.json", processor


def test_the_last_pieces_are_its_sentinels(start: tuple[Path, sentencepiece.SentencePieceProcessor]) -> None:
    path, processor = start
    last = processor.vocab_size() - 1
    assert processor.id_to_piece(last) == "▁<extra_id_0>"  # by SentencePiece's own word
    assert read_json(path)["sentinels"] == list(range(last, last - SENTINELS, -1))
    tokenizer = Tokenizer.from_directory(path.parent)
    for text in tiny.SENTENCES:
        assert tokenizer.pieces([text])[0].ids == processor.encode(text)


def test_sentinels_are_counted_and_never_written(
    start: tuple[Path, sentencepiece.SentencePieceProcessor], tmp_path: Path
) -> None:
    path, _ = start
    answers = [{"text": "light", "start": 12}]
    rows = [
        {"id": str(n), "split": "test", "context": tiny.SENTENCES[0], "question": text, "answers": answers}
        for n, text in enumerate(tiny.SENTENCES)
    ]
    data = tmp_path / "de.parquet"
    write_rows(data, "span_qa", rows, tiny.about("asked", "de", ["squad_em"]), labels=[])
    index = tmp_path / "out" / "predictions.json"
    settings = PredictionSettings(Limits(64, 8, 8), REPRESENTATION, 512, False, "fp32")
    predict(path, {"de": data}, index, settings, identity={})
    found = read_json(index.parent / "de.json")
    counted = found["sentinels"]
    assert 0 < counted <= len(rows)
    assert not any("extra_id" in answer for answer in found["predictions"])
    evaluate(Cell("mt5", "none", "asked", 0, "de"), data, index, tmp_path / "c.json", family="", contaminated=False)
    assert read_json(tmp_path / "c.json")["sentinels"] == counted
    # transformers' own greedy generation, with nothing forbidden, begins with one in as many answers.
    source = transformers.MT5ForConditionalGeneration.from_pretrained(path.parent).eval()
    tokenizer = Tokenizer.from_directory(path.parent)
    with_sentinel = 0
    for row in rows:
        text = f"question: {row['question']} context: {row['context']}"
        ids = torch.tensor([[*tokenizer.pieces([text])[0].ids, 1]])
        written = source.generate(ids, max_new_tokens=8, do_sample=False)[0].tolist()
        with_sentinel += any(one in set(tokenizer.sentinels) for one in written)
    assert counted == with_sentinel


def test_a_plain_text_arm_is_trained(start: tuple[Path, sentencepiece.SentencePieceProcessor], tmp_path: Path) -> None:
    path, _ = start
    data = tmp_path / "de.parquet"
    rows = [
        {"id": f"{split}{n}", "split": split, "text": text}
        for split in ("train", "dev")
        for n, text in enumerate(tiny.SENTENCES)
    ]
    write_rows(data, "text", rows, tiny.about("prose", "de", ["reconstruction_accuracy"]), labels=[])
    settings = TrainingSettings(
        optimizer="adafactor", learning_rate=1e-2, schedule="constant", epochs=6, batch_size=8, max_length=32,
        max_target_length=32, evaluations=1, dropout=0.0, weight_decay=0.0,
    )  # fmt: skip
    run = loop.Run(
        start=path, data=[data], output=tmp_path / "out" / "checkpoint.json", settings=settings,
        representation=REPRESENTATION, seed=0, prune=False, chance=0.0, identity={},
    )  # fmt: skip
    loop.train(run)
    losses = [
        entry["loss"]
        for entry in map(json.loads, (run.output.parent / "history.jsonl").read_text().splitlines())
        if "loss" in entry
    ]
    assert read_json(run.output)["total_updates"] == 12 and losses[-1] < losses[0]
