"""Every class of model the catalogue names: fetched from a directory, trained, saved, loaded again, predicting.

Random weights, two updates: what is tested is that nothing of an architecture is lost or left random on the way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file

import tiny
from stiltsweep.catalog import Model
from stiltsweep.errors import UserError
from stiltsweep.files import read_json
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models.batches import collate
from stiltsweep.models.fetch import fetch
from stiltsweep.models.load import Source, build, kept_ids
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import read_meta, read_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.training import loop

REPRESENTATION = Representation("mean", -1, "mean", "")
BERT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
}
T5 = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "dropout_rate": 0.0,
}
SPECIALS: dict[str, dict[str, Any]] = {
    "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "deberta": {
        "pad_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "unk_id": 3,
        "pad_piece": "[PAD]",
        "bos_piece": "[CLS]",
        "eos_piece": "[SEP]",
        "unk_piece": "[UNK]",
    },
    "xlmr": {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
}


def spm(path: Path, style: str) -> sentencepiece.SentencePieceProcessor:
    """Train a SentencePiece model with the special tokens of a family of models."""
    texts = [*tiny.SENTENCES, *(pattern for of in tiny.PATTERNS.values() for pattern in of.values())] * 4
    with open(path, "wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=handle, vocab_size=150, model_type="unigram", num_threads=1,
            minloglevel=2, hard_vocab_limit=False, normalization_rule_name="nmt_nfkc", **SPECIALS[style],
        )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def upstream(folder: Path, kind: str) -> None:
    """Write what a hub repository of that kind holds: config.json, model.safetensors, its tokenizer's own file."""
    folder.mkdir()
    torch.manual_seed(0)
    made: Any
    config: Any
    if kind == "xlm-roberta-xl":
        size = spm(folder / "sentencepiece.bpe.model", "xlmr").vocab_size() + 2
        config = transformers.XLMRobertaXLConfig(vocab_size=size, pad_token_id=1, **BERT)
        made = transformers.XLMRobertaXLForMaskedLM(config)
    elif kind == "xlm-roberta":
        size = spm(folder / "sentencepiece.bpe.model", "xlmr").vocab_size() + 2
        config = transformers.XLMRobertaConfig(vocab_size=size, pad_token_id=1, type_vocab_size=1, **BERT)
        made = transformers.XLMRobertaForMaskedLM(config)
    elif kind == "deberta-v2":
        size = spm(folder / "spm.model", "deberta").vocab_size() + 1
        # Of these, the class names only some among its parameters.
        more: dict[str, Any] = {"position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True}
        config = transformers.DebertaV2Config(
            vocab_size=size,
            type_vocab_size=0,
            relative_attention=True,
            pos_att_type="p2c|c2p",
            position_biased_input=False,
            **BERT,
            **more,
        )
        made = transformers.DebertaV2ForMaskedLM(config)
    else:
        prefix = kind.partition("-")[0]
        if prefix == "byt5":
            (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
            size = 384
        else:
            size = spm(folder / "spiece.model", "t5").vocab_size() + 10
            about = {"tokenizer_class": "T5Tokenizer", "extra_ids": 10}
            (folder / "tokenizer_config.json").write_text(json.dumps(about))
        names = {"mt5": "MT5", "umt5": "UMT5", "byt5": "T5"}
        config = getattr(transformers, f"{names[prefix]}Config")(
            vocab_size=size, tie_word_embeddings=False, decoder_start_token_id=0, feed_forward_proj="gated-gelu", **T5
        )
        made = getattr(transformers, f"{names[prefix]}ForConditionalGeneration")(config)
        made.lm_head = torch.nn.Linear(16, size, bias=False)
    made.save_pretrained(folder)
    if hasattr(made, "lm_head") and made.config.is_encoder_decoder:
        # As published: an output layer of its own, and a configuration that says so.
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**about, "tie_word_embeddings": False}))
        assert "lm_head.weight" in load_file(folder / "model.safetensors")


CASES = [
    ("xlm-roberta", "encoder"),
    ("xlm-roberta-xl", "encoder"),
    ("deberta-v2", "encoder"),
    ("mt5", "encoder"),
    ("mt5", "text2text"),
    ("umt5", "encoder"),
    ("umt5", "text2text"),
    ("byt5", "encoder"),
    ("byt5", "text2text"),
]


def fetched(folder: Path, kind: str, interface: str) -> Path:
    upstream(folder / "upstream", kind)
    source = {"type": "files", "path": str(folder / "upstream")}
    fetch(Model("tiny", {"interface": interface, "source": source}), folder / "model")
    return folder / "model" / "model.json"


@pytest.mark.parametrize(("kind", "interface"), CASES)
def test_fetched_trained_saved_loaded_predicting(tmp_path: Path, kind: str, interface: str) -> None:
    start = fetched(tmp_path, kind, interface)
    about = read_json(start)
    data = tiny.classification(tmp_path / "data", train=16, dev=4, test=4)
    settings = TrainingSettings(
        batch_size=8, epochs=1, learning_rate=1e-2, head_learning_rate=1e-2, max_length=60, evaluations=1
    )
    run = tiny.run(start, data["en"], tmp_path / "out", settings, REPRESENTATION)
    loop.train(run)
    trained = read_json(run.output)
    assert trained["updates"] == 2
    # Every tensor of the model changed or is where it was: the checkpoint holds what training touched.
    before = load_file(start.parent / "model.safetensors")
    after = load_file(run.output.parent / "model.safetensors")
    encoder = [name for name in after if "layer" in name and not name.endswith(".rows") and name in before]
    assert any(not torch.equal(before[name].float(), after[name]) for name in encoder)
    settings_of = PredictionSettings(Limits(60, 8, 16), REPRESENTATION, 512, True, "fp32")
    predict(run.output, data, tmp_path / "out" / "predictions.json", settings_of, identity={"model": "tiny"})
    for language in data:
        found = read_json(tmp_path / "out" / f"{language}.json")["predictions"]
        assert len(found) == 4 and set(found) <= set(tiny.PATTERNS["en"])
    assert about["class"].endswith("Model" if interface == "encoder" else "ForConditionalGeneration")


CLASSES = {
    "xlm-roberta": "XLMRobertaModel",
    "xlm-roberta-xl": "XLMRobertaXLModel",
    "deberta-v2": "DebertaV2Model",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "byt5": "T5EncoderModel",
}


@pytest.mark.parametrize(("kind", "interface"), CASES)
def test_hidden_states_are_those_of_the_published_class(tmp_path: Path, kind: str, interface: str) -> None:
    """Against transformers' own class, which loads the upstream directory by itself; whole vocabulary and pruned."""
    start = fetched(tmp_path, kind, interface)
    data = tiny.classification(tmp_path / "data", train=4, dev=4, test=4)
    source = Source.read(start)
    tokenizer = Tokenizer.from_directory(start.parent)
    kind_of = form(
        read_meta(data["en"]),
        tokenizer,
        interface=interface,
        limits=Limits(60, 8, 16),
        representation=REPRESENTATION,
    )
    examples = kind_of.encode(read_rows(data["en"], "dev"), training=False)
    used = {i for example in examples for i in kind_of.used_ids(example)}
    theirs = getattr(transformers, CLASSES[kind]).from_pretrained(tmp_path / "upstream").eval()
    for kept in (None, kept_ids(used, source)):
        model = build(source, kind_of, kept=kept, seed=0).eval()
        with torch.no_grad():
            ours = model.hidden(collate(examples[:1], model.dense, torch.device("cpu"), token_types=False))
            expected = theirs(input_ids=torch.tensor([examples[0].inputs[0].ids])).last_hidden_state
        assert torch.allclose(ours, expected, atol=1e-5)


TEXTS = [*tiny.SENTENCES, "ﬁne  ①②\tturn", " ", "Ünïcödé", "<unk> x"]


@pytest.mark.parametrize(
    ("kind", "single", "pair"),
    [
        ("deberta-v2", ((1,), (2,)), ((1,), (2,), (2,))),
        ("xlm-roberta-xl", ((0,), (2,)), ((0,), (2, 2), (2,))),
        ("umt5", ((), (1,)), ((), (1,), (1,))),
    ],
)
def test_sentencepiece_files_are_read_as_sentencepiece_reads_them(
    tmp_path: Path, kind: str, single: Any, pair: Any
) -> None:
    start = fetched(tmp_path, kind, "encoder")
    tokenizer = Tokenizer.from_directory(start.parent)
    file = next(path for path in (tmp_path / "upstream").iterdir() if path.suffix == ".model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
    shift = 1 if kind == "xlm-roberta-xl" else 0  # fairseq puts four pieces in front of what were three
    unknown = {0: 3} if shift else {}
    texts = TEXTS[:-1] if kind == "umt5" else [text for text in TEXTS if "<unk>" not in text]
    for text, found in zip(texts, tokenizer.pieces(texts), strict=True):
        assert found.ids == [unknown.get(i, i + shift) for i in processor.encode(text)], text
    assert tokenizer.special_layout(pair=False) == single and tokenizer.special_layout(pair=True) == pair
    assert tokenizer.size == processor.vocab_size() + {"deberta-v2": 1, "xlm-roberta-xl": 2, "umt5": 10}[kind]
    mask = tokenizer.special["mask"]
    assert mask == (None if kind == "umt5" else tokenizer.size - 1)
    if kind == "umt5":
        assert tokenizer.sentinels == [tokenizer.size - 1 - n for n in range(10)]


def test_another_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    upstream(tmp_path / "upstream", "xlm-roberta-xl")
    spm(tmp_path / "upstream" / "sentencepiece.bpe.model", "t5")
    source = {"type": "files", "path": str(tmp_path / "upstream")}
    with pytest.raises(UserError, match="not a vocabulary of xlm-roberta-xl"):
        fetch(Model("tiny", {"interface": "encoder", "source": source}), tmp_path / "model")


def test_a_branch_is_recorded_as_the_commit_it_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "c" * 40
    upstream(tmp_path / commit, "mt5")
    asked: list[str] = []

    def snapshot(repo: str, *, revision: str, **options: Any) -> str:
        asked.append(revision)
        return str(tmp_path / commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = {"type": "hub", "repo": "google/mt5-large", "revision": "main"}
    about = fetch(Model("tiny", {"interface": "text2text", "source": source}), tmp_path / "model")
    assert asked == ["main"] and about["source"] == {**source, "revision": commit, "sha256": {}}
