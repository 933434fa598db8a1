"""Measures and attributes: hand-worked cases in several scripts, the tokenizers library asked directly, planted faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import regex
import tokenizers
from tokenizers import normalizers

from stiltsweep import config
from stiltsweep.errors import UserError
from stiltsweep.files import read_json
from stiltsweep.jobs import Jobs
from stiltsweep.models import tokenizer_files
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import write_rows
from stiltsweep.schema import read_yaml
from stiltsweep.sweep import Sweep
from stiltsweep.tokenization import measure, segmentations, texts, words
from stiltsweep.tokenization.measures import Sums
from stiltsweep.tokenization.questions import TABLE, _pattern, question_word
from stiltsweep.writing import spaced

TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
PIECES = [
    "▁turn", "▁on", "▁the", "▁light", "s", "▁", "▁ışık", "lar", "ı", "▁aç", "▁ev", "ler", "de", "▁打", "开", "灯", "打", "▁ไฟ", "เปิด", "▁",
    *"abcdefghijklmnopqrstuvwxyz",
]  # fmt: skip


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces whose path through a text can be followed by hand: long ones first."""
    folder = tmp_path_factory.mktemp("unigram")
    scored = [(piece, -1.0 - 10.0 / len(piece)) for piece in dict.fromkeys(PIECES)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    made = tokenizer_files.unigram(
        [*special, *scored], normalizers.NFKC(), unk_id=2, special=["<pad>", "</s>", "<unk>"],
        single="$A </s>", pair="$A </s> $B </s>",
    )  # fmt: skip
    tokenizer_files.save(made, TOKENS, folder)
    return folder


@pytest.fixture(scope="module")
def byte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("byte")
    tokenizer_files.save(tokenizer_files.byte_level(["<pad>", "</s>", "<unk>"], ["<extra_id_0>"]), TOKENS, folder)
    return folder


def write(folder: Path, kind: str, languages: dict[str, list[dict[str, Any]]], parallel: str = "none") -> list[str]:
    for code, rows in languages.items():
        named = [{"id": f"{i}", "split": "test", **row} for i, row in enumerate(rows)]
        labels = sorted({label for row in named for label in [row.get("label"), *row.get("tags", [])] if label})
        about = {
            "task": "t",
            "language": code,
            "metrics": ["accuracy"],
            "parallel": parallel,
            "source": {},
            "text2text": {},
        }
        write_rows(folder / f"{code}.parquet", kind, named, about, labels=labels)
    return list(languages)


def measured(
    model: Path,
    folder: Path,
    kind: str,
    languages: dict[str, list[dict[str, Any]]],
    parallel: str = "none",
    **options: Any,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    codes = write(folder / "data", kind, languages, parallel)
    identity = {"model": "m", "target": "t"}
    found = measure(model, folder / "data", codes, folder / "out.json", identity=identity, **options)
    assert found == read_json(folder / "out.json")
    return found["languages"], pq.read_table(folder / "out.parquet").to_pylist()


def one(text: str, label: str = "x", **more: Any) -> dict[str, Any]:
    return {"text_a": text, "text_b": None, "label": label, **more}


def test_a_case_by_hand(unigram: Path, tmp_path: Path) -> None:
    rows = {
        "en": [one("turn on the lights"), one("turn on!", "y")],
        "tr": [one("evlerde ışıkları aç"), one("aç", "y")],
        "zh": [one("打开灯"), one("灯灯", "y")],
    }
    found, table = measured(unigram, tmp_path, "classification", rows, "full")
    # turn|on|the|light s and turn|on: one word of six is in two; "!" is unknown and no word.
    assert found["en"] | {"fertility": round(7 / 6, 6), "split_words": round(1 / 6, 6)} == found["en"]
    assert (found["en"]["tokens"], found["en"]["words"], found["en"]["characters"]) == (8, 6, 26)
    assert found["en"]["unknown"] == round(1 / 8, 6)
    assert found["en"]["coverage"] == round(21 / 22, 6)  # of letters and the exclamation mark
    # ev|ler|de, ışık|lar|ı, aç; and aç.
    assert found["tr"]["fertility"] == round(8 / 4, 6) and found["tr"]["split_words"] == 0.5
    # 打|开|灯 and the mark, 灯, 灯.
    assert found["zh"]["fertility"] is None and "no space" in found["zh"]["reasons"]["fertility"]
    assert found["zh"]["characters_per_token"] == round(5 / 6, 6)
    assert (found["tr"]["parity"], found["zh"]["parity"]) == (1.0, round(6 / 8, 6))
    assert found["en"]["parity"] is None
    assert [row["length"] for row in table] == [5.0, 3.0, 7.0, 1.0, 3.0, 3.0]
    assert [row["tokens_per_word"] for row in table] == [1.25, 1.0, round(7 / 3, 6), 1.0, None, None]
    assert [row["unknown"] for row in table][:2] == [0.0, round(1 / 3, 6)]
    assert [row["label"] for row in table] == ["x", "y"] * 3
    assert {row["overlap"] for row in table} == {None}


def test_bytes_are_bytes(byte: Path, tmp_path: Path) -> None:
    """A byte tokenizer's measures follow from UTF-8 alone."""
    rows = {"en": [one("turn it on")], "tr": [one("ışık aç")], "th": [one("เปิดไฟ")], "he": [one("אור דלוק")]}
    found, _ = measured(byte, tmp_path, "classification", rows, "full")
    for code, (row,) in rows.items():
        text = row["text_a"]
        assert found[code]["tokens"] == len(text.encode())
        assert found[code]["characters_per_token"] == round(len(text) / len(text.encode()), 6)
        assert (found[code]["coverage"], found[code]["unknown"]) == (1.0, 0.0)
    assert found["en"]["characters_per_token"] == 1.0
    assert found["tr"]["fertility"] == (len("ışık".encode()) + len("aç".encode())) / 2
    assert found["he"]["parity"] == round(len("אור דלוק".encode()) / len("turn it on"), 6)


def test_against_the_library(unigram: Path, tmp_path: Path) -> None:
    """Fertility word by word and parity text by text, asked of `tokenizers` without this project's wrapper."""
    raw = tokenizers.Tokenizer.from_file(str(unigram / "tokenizer.json"))
    sentences = {
        "en": ["turn on the lights", "the light, on...", "turn it on"],
        "tr": ["ışıkları aç", "evlerde ışık", "aç - ışıkları"],
    }
    rows = {code: [one(text, "ab"[i % 2]) for i, text in enumerate(found)] for code, found in sentences.items()}
    found, _ = measured(unigram, tmp_path, "classification", rows, "partial")
    totals = {}
    for code, own in sentences.items():
        alone = [w for text in own for chunk in text.split() if (w := regex.sub(r"^\W+|\W+$", "", chunk))]
        # A word by itself begins like a word within a text; its mark belongs to its first piece or stands alone.
        counts = [sum(piece != "▁" for piece in raw.encode(w, add_special_tokens=False).tokens) for w in alone]
        assert found[code]["fertility"] == round(sum(counts) / len(counts), 6)
        assert found[code]["split_words"] == round(sum(n > 1 for n in counts) / len(counts), 6)
        totals[code] = sum(len(raw.encode(text, add_special_tokens=False).ids) for text in own)
    assert found["tr"]["parity"] == round(totals["tr"] / totals["en"], 6)


def test_fallback_bytes_are_not_covered(tmp_path: Path) -> None:
    """Three bytes of one character are three unknown pieces and one lost character."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"<0x{b:02X}>", 0.0) for b in range(256))]
    made = tokenizer_files.unigram(
        [*pieces, ("▁a", -1.0), ("b", -2.0), ("▁", -3.0)], normalizers.NFKC(), unk_id=2,
        special=["<pad>", "</s>", "<unk>"], single="$A </s>", pair="$A </s> $B </s>", byte_fallback=True,
    )  # fmt: skip
    tokenizer_files.save(made, TOKENS, tmp_path)
    found, _ = measured(tmp_path, tmp_path, "classification", {"en": [one("abb a漢b")]})
    assert (found["en"]["tokens"], found["en"]["unknown"]) == (8, round(3 / 8, 6))
    assert found["en"]["coverage"] == round(5 / 6, 6)


def test_parity_needs_translations(unigram: Path, tmp_path: Path) -> None:
    """Equal ids are no translations where the data are not parallel, and English is compared with nothing."""
    found, _ = measured(unigram, tmp_path / "a", "classification", {"en": [one("turn on")], "tr": [one("aç")]})
    assert found["tr"]["parity"] is None and "not translations" in found["tr"]["reasons"]["parity"]
    found, _ = measured(unigram, tmp_path / "b", "classification", {"tr": [one("aç")]}, "full")
    assert found["tr"]["reasons"]["parity"] == "no example that English has too"


def test_translations_of_queries(unigram: Path, tmp_path: Path) -> None:
    """Retrieval of English sentences: parity is over queries and their right candidates alone."""
    sides = [
        {"id": "a", "side": "query", "text": "ışıkları aç", "gold": ["a"]},
        {"id": "a", "side": "candidate", "text": "turn on the lights", "gold": []},
        {"id": "b", "side": "candidate", "text": "the the the the the the", "gold": []},
    ]
    found, table = measured(unigram, tmp_path, "retrieval", {"tr": sides}, candidates_english=True)
    assert found["tr"]["parity"] == round(4 / 5, 6)
    assert found["tr"]["texts"] == len(table) == 1
    found, _ = measured(unigram, tmp_path, "retrieval", {"tr": sides})
    assert found["tr"]["parity"] is None


def test_english_questions_are_not_the_languages_own(unigram: Path, tmp_path: Path) -> None:
    """As in the packaged questions: English whatever the context's language. They count in no language's measures."""
    question = "Who turned on the light?"
    answer = [{"text": "aç", "start": 9}]
    rows = {
        "en": [{"question": question, "context": "turn on the light", "answers": [{"text": "light", "start": 12}]}],
        "tr": [{"question": question, "context": "ışıkları aç", "answers": answer}],
    }
    found, table = measured(unigram, tmp_path, "span_qa", rows)
    assert (found["tr"]["words"], found["tr"]["untranslated"], found["en"]["untranslated"]) == (2, 1, 0)
    assert found["tr"]["fertility"] == 2.0
    by = {row["language"]: row for row in table}
    assert (by["tr"]["question_word"], by["tr"]["answer_length"], by["tr"]["overlap"]) == ("who", 1.0, 0.0)
    assert by["en"]["overlap"] == 0.75  # on, the and light of turn, on, the, light


def test_names_are_measured_in_tokens(unigram: Path, tmp_path: Path) -> None:
    tags = ["B-X", "I-X", "O"]
    row = {"tokens": ["evlerde", "ışıkları", "aç"], "tags": tags, "space_after": [True, True, False]}
    single = {"tokens": ["aç"], "tags": ["B-X"], "space_after": None}
    parts = {"tokens": ["aç"], "tags": ["O"], "space_after": None}
    found, table = measured(unigram, tmp_path, "tagging", {"tr": [row, single, parts]})
    assert [one["answer_length"] for one in table] == [6.0, 1.0, None]
    assert found["tr"]["word_unit"] == "tokens of the data"
    # Parts of speech are tags of every token, and no names.
    assert texts.of({"tokens": ["a"], "tags": ["NOUN"]}, "tagging", {}).answers == ()


@pytest.mark.parametrize(
    ("tokens", "unit"),
    [(["打", "开", "灯"], None), (["打开", "灯"], "tokens of the data"), (["ไ", "ฟ", "เ", "ปิ", "ด"], None)],
)
def test_characters_are_no_words(tokens: list[str], unit: str | None, unigram: Path, tmp_path: Path) -> None:
    row = {"tokens": tokens, "tags": ["O"] * len(tokens), "space_after": [False] * len(tokens)}
    found, table = measured(unigram, tmp_path, "tagging", {"zh": [row]})
    assert found["zh"]["word_unit"] == unit
    assert (found["zh"]["fertility"] is None) == (unit is None) == (table[0]["tokens_per_word"] is None)


def test_a_choice_has_no_pair() -> None:
    row = {"context": "turn", "question": None, "choices": ["on", "the"], "label": 1}
    assert texts.of(row, "multiple_choice", {}) == texts.Texts(("turn", "on", "the"))
    assert texts.of({**row, "question": "who?"}, "multiple_choice", {}).own == ("turn", "who?", "on", "the")


def test_what_the_default_sweep_measures() -> None:
    root = Path(__file__).parents[1]
    sweep = Sweep(
        *config.resolve(read_yaml(root / "config.yaml") | {"segmentations": {"fi": "fi.tsv", "eu": "eu.tsv"}})
    )
    assert sweep.measured("topic") == sweep.languages["topic"]
    assert sweep.measured("naming") == sweep.languages["naming"] and "en" not in sweep.measured("naming")
    # The candidates of retrieval are English; morphemes are those of the target's own languages.
    assert Jobs(sweep).measure_arguments("naming").endswith("--candidates-english --segmentations fi=fi.tsv")
    assert "--candidates-english" not in Jobs(sweep).measure_arguments("topic")
    assert sweep.segmentations("topic") == {"fi": "fi.tsv"}
    alone = Sweep(*config.resolve({**read_yaml(root / "config.yaml"), "targets": {"intent": ["fi", "de"]}}))
    assert alone.measured("intent") == ["en", "fi", "de"]
    assert "results/diagnosis/e5-small/intent.csv" in alone.diagnosis_files


def test_words() -> None:
    def found(text: str) -> list[str]:
        return [text[start:end] for start, end in words.spans(text)]

    assert found("«Türkiye'de», 13:30 -- (e-posta)!") == ["Türkiye'de", "13:30", "e-posta"]
    assert found("شَغِّل النور؟ ١٢") == ["شَغِّل", "النور", "١٢"]
    assert found("यहाँ कौन है?") == ["यहाँ", "कौन", "है"]
    assert found("… / --") == []
    for text in ("打开灯", "เปิดไฟ 3 ดวง", "電気をつけて", "ເປີດໄຟ"):
        assert not spaced([text])
    for text in ("불을 켜 줘", "bật đèn", "打 turn on the light", ""):
        assert spaced([text])


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        # 打 开 客 厅 的 灯 against 关 掉 客 厅 的 电 视 机: three of six.
        ("打开客厅的灯", "关掉客厅的电视机", 3 / 6),
        # evde | kim | var against ali | ev | de | kim: Ev'de falls apart, one of three stands in the other.
        ("Evde kim var?", "Ali, Ev'de, Kim", 1 / 3),
        ("Işık aç", "ışık AÇ", 1 / 2),  # Unicode's lower case of I is i, not Turkish ı
        # النور (the light) stands in both, once with another word's punctuation.
        ("أين النور؟", "شَغِّل النور، الآن", 1 / 2),
        ("turn Turn TURN", "turn", 1.0),
        ("ﬁne", "FINE!", 1.0),
        ("iPhone手机", "手 iphone", 2 / 2),
        ("...", "turn", None),
    ],
)
def test_overlap_by_hand(a: str, b: str, share: float | None) -> None:
    assert words.overlap(a, b) == words.overlap(b, a) == share


@pytest.mark.parametrize(
    ("language", "question", "word"),
    [
        ("en", "In which room should the light go on?", "which"),
        ("en", "How many hours, and who?", "how many"),
        ("en", "Whoever is it?", None),
        ("de", "Seit wie vielen Jahren?", "how many"),
        ("tr", "Işık NE ZAMAN açıldı?", "when"),
        ("tr", "Kimya nedir?", "what"),
        ("fi", "Kuinka monta valoa?", "how many"),
        ("zh", "电灯是什么时候打开的？", "when"),
        ("th", "ไฟเปิดเมื่อไหร่", "when"),
        ("ko", "누구에게 주었습니까?", "who"),
        ("ar", "من أضاء النور؟", "who"),
        ("ar", "إلى أي غرفة أرسل من المطبخ؟", "which"),
        ("hi", "दुनिया में कौन सा शहर?", "which"),
        ("el", "Πού είναι;", "where"),
        ("xx", "who?", None),
        # Forms that stand within other words, or begin like another question word.
        ("th", "บทความนี้เกี่ยวกับใคร", "who"),
        ("th", "ใครครวญหรือไม่", "who"),
        ("th", "เขาใคร่ครวญหรือไม่", None),
        ("th", "มีไฟกี่ดวง", "how many"),
        ("th", "ผู้ใดเปิดไฟ", "who"),
        ("th", "ไฟดับเพราะอะไร", "why"),
        ("ar", "من أين جاء؟", "where"),
        ("ar", "من أي غرفة؟", "which"),
        ("ar", "من متى يعمل؟", "when"),
        ("ar", "من خلال ماذا دخل؟", "what"),
        ("ar", "من بين الغرف، كم غرفة مضاءة؟", "how many"),
        ("zh", "有任何问题吗？", None),
        ("zh", "他担任何职？", "what"),
        ("zh", "几何学的创始人是谁？", "who"),
        ("zh", "几乎所有的灯在哪里？", "where"),
        ("zh", "有几盏灯？", "how many"),
        ("vi", "Ngôi sao nào sáng nhất?", "which"),
        ("vi", "Sao đèn không sáng?", "why"),
        ("vi", "Sao Hỏa cách Trái Đất bao xa?", "how many"),
        ("fi", "Mihin aikaan valo syttyy?", "when"),
        ("fi", "Mistä syystä valo sammui?", "why"),
        ("tr", "Ne zamandan beri?", "when"),
        ("id", "Dari manakah asalnya?", "where"),
        ("he", "מיהו המנהל?", "who"),
        ("ko", "누굴 만났습니까?", "who"),
        ("hu", "Kié ez a ház?", "who"),
        ("hi", "यह किसमें है?", "which"),
        ("pl", "W którym pokoju jest światło?", "which"),
        ("pl", "Czyje to światło?", "who"),
        ("eu", "Zenbat argi daude?", "how many"),
        ("eu", "Non dago lanpara?", "where"),
    ],
)
def test_question_words(language: str, question: str, word: str | None) -> None:
    assert question_word(question, language) == word


def test_the_table_of_question_words() -> None:
    """Every form is found as itself, under its own name: none is hidden by another, none begins with a wrong letter."""
    table = read_yaml(TABLE)
    names = set(table["en"])
    for language, entry in table.items():
        assert set(entry) - {"none"} == names, language
        assert _pattern(language)
        for name, forms in entry.items():
            for form in forms.split(","):
                found = question_word(form.strip(" ^*"), language)
                assert found == (None if name == "none" else name), (language, form)


def test_morphemes(unigram: Path, tmp_path: Path) -> None:
    """ev|ler|de is cut as its morphemes; ışık|lar|ı has both boundaries of ışık|ları; kitap|ta (unknown) none."""
    path = tmp_path / "tr.tsv"
    path.write_text("evlerde\tev ler de\nışıkları\tışık ları\n\naç\taç\nevde\tevd e\n", encoding="utf-8")
    found = segmentations.agreement(Tokenizer.from_directory(unigram), segmentations.read(path))
    # Cut: 2 + 2 + 0 + 1 (ev|de); true: 2 + 1 + 0 + 1; both: 2 + 1 + 0 + 0.
    assert found == {
        "boundary_precision": 3 / 5,
        "boundary_recall": 3 / 4,
        "boundary_f1": 2 * 3 / 9,
        "boundary_words": 4,
    }
    languages, _ = measured(
        unigram, tmp_path, "classification", {"tr": [one("aç")], "fi": [one("on")]}, supplied={"tr": path}
    )
    assert (languages["tr"]["boundary_f1"], languages["fi"]["boundary_f1"]) == (2 / 3, None)


@pytest.mark.parametrize("line", ["evlerde ev ler de", "evlerde\tev lar de", "\tev", "evde\t"])
def test_a_wrong_line_of_morphemes_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "tr.tsv"
    path.write_text(f"ev\tev\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match="tr.tsv: line 2"):
        segmentations.read(path)


def test_the_same_texts_give_the_same_bytes(unigram: Path, tmp_path: Path) -> None:
    """Whatever the order of the languages, and however many examples are segmented at a time."""
    rows = {
        "tr": [one("evlerde ışık", "y"), one("aç")] * 300,
        "en": [one("turn on", "y"), one("the light")] * 300,
    }
    rows = {code: [{**row, "id": str(i)} for i, row in enumerate(found)] for code, found in rows.items()}
    measured(unigram, tmp_path / "a", "classification", rows, "full")
    measured(unigram, tmp_path / "b", "classification", dict(reversed(rows.items())), "full")
    for name in ("out.json", "out.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_type_token_ratio_is_the_mean_over_all_windows():
    words = [f"w{(i * i) % 37}" for i in range(260)]
    sums = Sums()
    for start in range(0, 260, 7):  # texts of seven words, one stream
        sums.add_words(words[start : start + 7])
    sums.words = 250  # of which a tokenizer has pieces: it drops the others
    found = sums.measures(10, ())
    ratios = [len(set(words[i : i + 100])) / 100 for i in range(260 - 99)]
    assert found["mattr"] == round(sum(ratios) / len(ratios), 6)
    assert found["word_length"] == round(sum(map(len, words)) / 260, 6)
    assert Sums().measures(10, ())["mattr"] is None
