"""Encoders of any class that transformers has: published layouts with random weights, against transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from test_unpadded import reads_alike
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Raw
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

import tiny
from stiltsweep.catalog import Model
from stiltsweep.errors import UserError
from stiltsweep.files import read_json
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models import architectures, directory, tokenizer_files
from stiltsweep.models.batches import collate
from stiltsweep.models.fetch import fetch
from stiltsweep.models.load import Source, build, kept_ids, trainable
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import read_meta, read_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.training import loop

REPRESENTATION = Representation("mean", -1, "mean", "")
TEXTS = [*tiny.SENTENCES, *(pattern for of in tiny.PATTERNS.values() for pattern in of.values())] * 4
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>", "cls": "<s>", "sep": "</s>"}
EUROBERT = {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "pad": "<|pad|>", "mask": "<|mask|>"}
GEMMA = {"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>", "mask": "<mask>"}


def tokenizer(style: str) -> tuple[Raw, dict[str, str]]:
    """Train a tokenizer in the form that a family of models publishes."""
    names = {"wordpiece": BERT, "lower": BERT, "bytes": ROBERTA, "llama": EUROBERT, "gemma": GEMMA, "unigram": ROBERTA}
    tokens = names[style]
    special = list(dict.fromkeys(tokens.values()))
    single, pair = "{0} $A {1}", "{0} $A {1} $B:1 {1}:1"
    first, last = tokens.get("cls") or tokens["bos"], tokens.get("sep") or tokens["eos"]
    trainer: Any
    if style in ("wordpiece", "lower"):
        raw = Raw(models.WordPiece(unk_token="[UNK]"))
        raw.normalizer = normalizers.BertNormalizer(lowercase=style == "lower")
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        raw.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
        pair = "{0} $A {1} $B:1 {1}:1"
    elif style in ("bytes", "llama"):
        raw = Raw(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        # Llama's special tokens stand behind its vocabulary, the padding token among them.
        trainer = trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=special if style == "bytes" else [],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        pair = "{0} $A {1} {1} $B {1}" if style == "bytes" else "{0} $A {1} {0} $B {1}"
    elif style == "gemma":
        raw = Raw(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        raw.normalizer = normalizers.Replace(" ", "▁")
        raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*special, *bytes_], show_progress=False)
        pair = "{0} $A {1} {0} $B {1}"
    else:
        raw = Raw(models.Unigram())
        raw.normalizer = normalizers.NFKC()
        raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
        raw.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        trainer = trainers.UnigramTrainer(
            vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False
        )
        pair = "{0} $A {1} {1} $B {1}"
    raw.train_from_iterator(TEXTS, trainer)
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    ids = [(token, raw.token_to_id(token)) for token in dict.fromkeys((first, last))]
    raw.post_processor = processors.TemplateProcessing(
        single=single.format(first, last), pair=pair.format(first, last), special_tokens=ids
    )
    return raw, {f"{role}_token": token for role, token in tokens.items()}


STYLES = {
    "albert": "unigram",
    "bert": "lower",
    "camembert": "unigram",
    "deberta": "bytes",
    "distilbert": "lower",
    "electra": "lower",
    "ernie": "lower",
    "eurobert": "llama",
    "gte": "unigram",
    "modernbert": "gemma",
    "mpnet": "unigram",
    "nomic_bert": "lower",
    "rembert": "unigram",
    "roberta": "bytes",
    "xlm-roberta-xl": "unigram",
    "xmod": "unigram",
}
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "embedding_size": 8,
    "input_embedding_size": 8,
    "output_embedding_size": 8,
    "max_position_embeddings": 66,
}
MORE: dict[str, dict[str, Any]] = {
    "modernbert": {"local_attention": 8},
    "xmod": {"languages": ["en_XX", "de_DE"], "default_language": "en_XX"},
}


def upstream(folder: Path, kind: str) -> Any:
    """Write a directory as the hub has it and return transformers' own model of it."""
    raw, tokens = tokenizer(STYLES[kind])
    about: Any = type(transformers.AutoConfig.for_model(kind))
    plain = about()
    known = {about.attribute_map.get(key, key): size for key, size in SIZES.items() if hasattr(plain, key)}
    ids = {f"{role}_token_id": raw.token_to_id(token) for role in ROLES if (token := tokens.get(f"{role}_token"))}
    torch.manual_seed(0)
    config = about(vocab_size=raw.get_vocab_size(), **known, **ids, **MORE.get(kind, {}))
    config.initializer_range = 0.5
    made = transformers.AutoModelForMaskedLM.from_config(config)
    made.save_pretrained(folder)
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **tokens}))
    return transformers.AutoModel.from_pretrained(folder).eval()


ROLES = ("pad", "bos", "eos", "mask", "cls", "sep")


def fetched(folder: Path) -> Path:
    source = {"type": "files", "path": str(folder / "upstream")}
    fetch(Model("tiny", {"interface": "encoder", "source": source}), folder / "model")
    return folder / "model" / "model.json"


@pytest.mark.parametrize("kind", STYLES)
def test_encoder_is_transformers_own_and_trains(tmp_path: Path, kind: str) -> None:
    theirs = upstream(tmp_path / "upstream", kind)
    start = fetched(tmp_path)
    about = read_json(start)
    assert about["class"] == MODEL_MAPPING_NAMES[kind] and about["hidden_size"] == 16 and about["layers"] == 3
    data = tiny.classification(tmp_path / "data", train=16, dev=4, test=4)
    source, limits = Source.read(start), Limits(60, 8, 16)
    pieces = Tokenizer.from_directory(start.parent)
    kind_of = form(read_meta(data["en"]), pieces, interface="encoder", limits=limits, representation=REPRESENTATION)
    examples = kind_of.encode(read_rows(data["en"], "dev"), training=False)
    kept = kept_ids({i for example in examples for i in kind_of.used_ids(example)}, source)
    assert len(kept) < about["vocabulary_size"]
    # Ids, padding, every layer: of texts of two lengths, whole vocabulary and pruned.
    mine = [one.ids for example in examples for one in example.inputs]
    fast = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "upstream")
    assert mine == fast([row["text_a"] for row in read_rows(data["en"], "dev")])["input_ids"]
    for those in (None, kept):
        model = build(source, kind_of, kept=those, seed=0).eval()
        batch = collate(examples, model.dense, torch.device("cpu"), token_types=model.token_types)
        with torch.no_grad():
            found = [*model.layers(batch), model.hidden(batch)]
            for i, ids in enumerate(mine):
                expected = theirs(input_ids=torch.tensor([ids]), output_hidden_states=True)
                for ours, own in zip(found, [*expected.hidden_states, expected.last_hidden_state], strict=True):
                    torch.testing.assert_close(ours[i, : len(ids)], own[0], atol=1e-4, rtol=1e-4)
    # As many positions as it says, and no more.
    room = about["max_positions"]
    last = torch.full((1, room), mine[0][1])
    assert theirs(input_ids=last).last_hidden_state.shape[1] == room
    if kind not in ("deberta", "eurobert", "gte", "modernbert", "nomic_bert"):  # those are relative: nothing fails
        with pytest.raises((IndexError, RuntimeError)):
            theirs(input_ids=torch.full((1, room + 1), mine[0][1]))
    # Freezing: the lowest layers and what is below them, and nothing else.
    if kind == "albert":
        with pytest.raises(UserError, match="0 layers that can be frozen one by one"):
            trainable(model, freeze_embeddings=False, freeze_layers=1)
    else:
        names = [name for name, _ in trainable(model, freeze_embeddings=True, freeze_layers=2)]
        frozen = {name for name, parameter in model.backbone.named_parameters() if not parameter.requires_grad}
        numbers = {part for name in names for part in name.split(".") if part.isdigit()}
        assert about["embedding"] in frozen and "2" in numbers
        layer = next(name.partition(".2.")[0] for name in names if ".2." in name)
        assert not any(name.startswith((f"{layer}.0.", f"{layer}.1.")) for name in names)
        assert all("embed" in name or name.startswith((f"{layer}.0.", f"{layer}.1.")) for name in frozen)
        assert not any("word_embed" in name or "project" in name.split("_")[-1] for name in names)
    settings = TrainingSettings(
        batch_size=8, epochs=1, learning_rate=1e-2, head_learning_rate=1e-2, max_length=60, evaluations=1
    )
    run = tiny.run(start, data["en"], tmp_path / "out", settings, REPRESENTATION)
    loop.train(run)
    assert read_json(run.output)["updates"] == 2
    settings_of = PredictionSettings(limits, REPRESENTATION, 512, True, "fp32")
    predict(run.output, data, tmp_path / "out" / "predictions.json", settings_of, identity={"model": "tiny"})
    for language in data:
        assert len(read_json(tmp_path / "out" / f"{language}.json")["predictions"]) == 4


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in STYLES if kind != "deberta"])
def test_reading_without_padding_changes_nothing(tmp_path: Path, kind: str, rounded: bool) -> None:
    upstream(tmp_path / "upstream", kind)
    start = fetched(tmp_path)
    data = tiny.classification(tmp_path / "data", train=8, dev=4, test=4)["en"]
    pieces = Tokenizer.from_directory(start.parent)
    limits = Limits(60, 8, 16)
    kind_of = form(read_meta(data), pieces, interface="encoder", limits=limits, representation=REPRESENTATION)
    examples = kind_of.encode(read_rows(data, "train"), training=True)
    assert len({example.length for example in examples}) > 1
    # Windows, where a model has them, are shorter than the texts.
    model = build(Source.read(start), kind_of, kept=None, seed=0, dropout=0.0).eval()
    reads_alike(model, kind_of, examples, (0, 2, 3, -1), rounded=rounded)


SCRIPTS = [
    "turn on the light",
    "Ünïcödé naïve İstanbul ﬁne ①②",
    "e\u0301te\u0301 pho\u031b\u0309",
    "打开厨房的灯 𠮷野家",
    "เปิดไฟในห้องครัว กำ",
    "أطفئ الضوءَ في المطبخ",
    "כבה את האור",
    "रसोई की बत्ती जलाओ क्षि",
    "주방 불을 켜 각",
    "გამორთე შუქი ᏣᎳᎩ",
    "👩‍👩‍👧 🇩🇪 ok 🙂",
    "መብራቱን አጥፋ ⲕⲟⲡⲧ",
    "  two  spaces\tand a tab ",
    "x\u200dy \u00ad soft",
]


@pytest.mark.parametrize("style", ["wordpiece", "lower", "bytes", "llama", "gemma", "unigram", "byt5"])
def test_every_character_belongs_to_a_piece(tmp_path: Path, style: str) -> None:
    if style == "byt5":
        (tmp_path / "upstream").mkdir()
        (tmp_path / "upstream" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
        tokenizer_files.save(*directory.read_tokenizer(tmp_path / "upstream", "t5"), tmp_path)
    else:
        raw, tokens = tokenizer(style)
        raw.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens))
    pieces = Tokenizer.from_directory(tmp_path)
    for text, found in zip(SCRIPTS, pieces.pieces(SCRIPTS), strict=True):
        covered = {place for start, end in found.offsets for place in range(start, end)}
        blank = {i for i, letter in enumerate(text) if letter.isspace() or letter in "\u200d\u00ad\ufe0f"}
        assert set(range(len(text))) - blank <= covered, (text, found.offsets)
        assert all(0 <= start <= end <= len(text) for start, end in found.offsets)
        ends = [end for start, end in found.offsets if start < end]
        assert ends == sorted(ends)
        assert [start for start, _ in found.offsets] == sorted(start for start, _ in found.offsets), text
        assert not any(text[start].isspace() or text[end - 1].isspace() for start, end in found.offsets if start < end)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "new"}, "code of its repository.*'gte'"),
        ({"model_type": "canine"}, "no fast tokenizer"),
        ({"model_type": "convbert"}, "read padding"),
        ({"model_type": "llama"}, "cannot be used with interface 'encoder'; supported: albert"),
        ({"model_type": "vit"}, "cannot be used"),
        ({"model_type": "bart"}, "cannot be used"),
        ({"model_type": "robert"}, "roberta"),
        ({"model_type": "xmod"}, "default_language"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        architectures.class_name("encoder", config)


def test_classes_are_those_of_automodel() -> None:
    ours = {kind: name for (interface, kind), name in architectures.CLASSES.items() if interface == "encoder"}
    for kind, name in {**ours, **architectures._UNTRIED}.items():
        assert name.endswith("EncoderModel") or MODEL_MAPPING_NAMES[kind] == name
    known = {*ours, *architectures._UNTRIED, *architectures._REFUSED}
    assert set(MODEL_FOR_MASKED_LM_MAPPING_NAMES) <= known | {"layoutlm"}


def test_a_type_that_tests_do_not_run_is_tried(tmp_path: Path) -> None:
    raw, tokens = tokenizer("lower")
    config = transformers.MegatronBertConfig(
        vocab_size=raw.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    folder = tmp_path / "upstream"
    transformers.MegatronBertModel(config).save_pretrained(folder)
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    assert read_json(fetched(tmp_path))["class"] == "MegatronBertModel"

    class Causal(transformers.MegatronBertModel):
        def forward(self, input_ids: Any = None, attention_mask: Any = None, **more: Any) -> Any:
            found = super().forward(input_ids=input_ids, attention_mask=attention_mask, **more)
            found["last_hidden_state"] = (
                found.hidden_states[0] if "hidden_states" in found else self.embeddings(input_ids)
            )
            return found

    assert "does not see" in str(architectures.check(Causal(config, add_pooling_layer=False), [5, 6, 7], 0))
