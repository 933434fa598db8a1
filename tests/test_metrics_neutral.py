"""The metrics of answers that treat scripts alike: against SQuAD's where the two must agree, and by what must not matter."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

import pytest
import regex
from test_real_data import DATA

from stiltsweep.metrics import metric
from stiltsweep.writing import units

# What one would list by name: scripts whose words stand without spaces.
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
TEXTS = [
    "turn on the light", "schalte das Licht ein", "ışıkları aç", "주방 불 켜 줘", "أطفئ الضوء في المطبخ", "रसोई की बत्ती",
    "打开厨房的灯", "電気をつけてください", "เปิดไฟในห้องครัว", "ເປີດໄຟ", "បើកភ្លើង", "မီးဖွင့်ပါ",
]  # fmt: skip


def score(name: str, gold: str, predicted: str, language: str = "en") -> float:
    rule = metric(name)
    answers = {"answers": [{"text": gold, "start": 0}]}
    return 100 * rule.statistics(answers, predicted, language)[1]


@pytest.mark.parametrize("text", TEXTS)
def test_graphemes_only_where_a_script_has_no_spaces(text: str) -> None:
    found = units(text)
    if UNSPACED.search(text):
        assert found == regex.findall(r"\X", text)
        # A writer's blank, or none, is no difference there.
        assert units(" ".join(found)) == found
    else:
        assert found == text.split()


@pytest.mark.parametrize("text", TEXTS)
def test_part_of_an_answer_is_worth_its_part_in_every_script(text: str) -> None:
    gold = units(text)
    for n in range(len(gold)):
        glue = "" if UNSPACED.search(text) else " "
        part = glue.join(gold[:n])
        assert score("neutral_f1", text, part) == pytest.approx(100 * 2 * n / (len(gold) + n))
        assert score("neutral_em", text, part) == 0
        if UNSPACED.search(text) and n:
            assert score("squad_f1", text, part) == 0
    assert score("neutral_f1", text, text) == score("neutral_em", text, text) == 100


def test_without_articles_and_foreign_marks_it_is_squads() -> None:
    """In scripts with spaces only normalisation differs; where that leaves both alone, so are the scores."""
    rng = random.Random(0)
    words = ["light", "Kitchen", "мир", "Büro", "9", "on"]
    for _ in range(300):
        gold, predicted = ([rng.choice(words) for _ in range(rng.randint(1, 4))] for _ in range(2))
        texts = " ".join(gold), ", ".join(predicted)
        assert score("neutral_f1", *texts) == pytest.approx(score("squad_f1", *texts))
        assert score("neutral_em", *texts) == score("squad_em", *texts)


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        ("the light", "light", 200 / 3),  # an article counts, as it does in the languages that SQuAD has none for
        ("iPhone手机", "ＩＰＨＯＮＥ 手機", 80 * 5 / 6),  # compatible forms: three units a side, 手 and iphone shared
        ("1990年", "1990", 200 / 3),
        ("「東京」", "東京", 100),
        ("Ankara’da", "ankarada", 100),
        ("...", "", 100),
        ("...", "x", 0),
    ],
)
def test_by_hand(gold: str, predicted: str, f1: float) -> None:
    assert score("neutral_f1", gold, predicted) == pytest.approx(f1)
    assert score("neutral_f1", predicted, gold) == pytest.approx(f1)
    assert score("neutral_em", gold, predicted) == 100 * (f1 == 100)


def test_no_answer_and_the_best_of_several() -> None:
    rule = metric("neutral_f1")
    assert rule.statistics({"answers": []}, "", "en") == (1, 1)
    assert rule.statistics({"answers": []}, "light", "en") == (1, 0)
    golds = {"answers": [{"text": "灯", "start": 0}, {"text": "打开灯", "start": 0}]}
    assert rule.statistics(golds, "打开灯", "zh") == (1, 1)


@pytest.mark.skipif(not (DATA / "xquad").is_dir(), reason="needs XQuAD beside the project")
def test_a_lost_ending_of_xquads_answers() -> None:
    """The last unit lost costs what its part is worth. Today's scripts: everything in Thai, nothing like it in Chinese."""
    found: dict[str, dict[str, float]] = {}
    for code in ("en", "th", "zh"):
        document = json.loads(Path(DATA / "xquad" / f"xquad.{code}.json").read_text(encoding="utf-8"))
        golds = [
            question["answers"][0]["text"]
            for article in document["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        cut = [("" if code != "en" else " ").join(units(gold)[:-1]) for gold in golds]
        long = [(gold, part) for gold, part in zip(golds, cut, strict=True) if len(units(gold)) > 2]
        found[code] = {
            name: sum(score(name, gold, part, code) for gold, part in long) / len(long)
            for name in ("neutral_f1", "squad_f1")
        }
    assert found["th"]["squad_f1"] < 5 and found["zh"]["squad_f1"] < 5 and found["en"]["squad_f1"] > 70
    assert all(scores["neutral_f1"] > 80 for scores in found.values()), found


def test_nothing_but_punctuation_is_dropped() -> None:
    kept = "".join(chr(i) for i in range(0x20, 0x500) if unicodedata.category(chr(i))[0] in "LNS")
    assert len("".join(units(kept))) == len(kept)
