"""Metrics against independent implementations, hand-worked cases in several scripts, and the sum they are ratios of."""

from __future__ import annotations

import random
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from seqeval.metrics import f1_score
from sklearn.metrics import accuracy_score, average_precision_score, label_ranking_average_precision_score

from stiltsweep.errors import UserError
from stiltsweep.metrics import METRICS, metric
from stiltsweep.metrics.answers import normalise_mlqa, normalise_squad
from stiltsweep.metrics.spans import chunks

PREFIXED = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-PER"]
# fmt: off
UPOS = ["ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
        "SYM", "VERB", "X"]
BARE = [*UPOS, "BANANA", "IN", "EX", "SYMBOL", "OTHER", "O", "_", "WP$", ".", "E", "S"]
# fmt: on


def total(name: str, golds: list[dict[str, Any]], predictions: list[Any], language: str = "en") -> float:
    rule = metric(name)
    sums = np.sum([rule.statistics(g, p, language) for g, p in zip(golds, predictions, strict=True)], axis=0)
    return float(rule.score(sums))


def as_prefixed(tag: str) -> str:
    """Write a bare tag so that seqeval 1.2 reads of it what 0.0.12 reads of the bare tag: "S-*SCONJ"."""
    return "O" if tag == "O" else f"{tag[0]}-*{tag}"  # (to 1.2 the type of O is "_")


@pytest.mark.parametrize(
    ("tags", "written"), [(PREFIXED, str), (BARE, as_prefixed)], ids=["IOBES", "bare, as seqeval 0.0.12"]
)
def test_span_f1_is_seqevals(tags: list[str], written: Callable[[str], str]) -> None:
    """200 corpora of random, mostly invalid tag sequences, which is where readings differ."""
    rng = random.Random(0)
    for _ in range(200):
        golds = [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(rng.randint(1, 6))]
        predictions = [[t if rng.random() < 0.6 else rng.choice(tags) for t in gold] for gold in golds]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = 100 * f1_score(*([[written(t) for t in one] for one in of] for of in (golds, predictions)))
        found = total("span_f1", [{"tags": gold} for gold in golds], predictions)
        assert np.nan_to_num(found) == pytest.approx(expected, abs=1e-9)


def test_accuracies_are_scikit_learns() -> None:
    rng = random.Random(0)
    for _ in range(200):
        golds = [[rng.choice(BARE) for _ in range(rng.randint(1, 12))] for _ in range(rng.randint(1, 6))]
        predictions = [[t if rng.random() < 0.6 else rng.choice(BARE) for t in gold] for gold in golds]
        flat = [t for gold in golds for t in gold], [t for predicted in predictions for t in predicted]
        expected = 100 * accuracy_score(*flat)
        assert total("token_accuracy", [{"tags": gold} for gold in golds], predictions) == pytest.approx(expected)
        assert total("accuracy", [{"label": tag} for tag in flat[0]], flat[1]) == pytest.approx(expected)


# What `get_entities` of seqeval 0.0.12, run once, said of each sentence.
CHUNKS = {
    "NOUN CCONJ NOUN": [("NOUN", 0, 0), ("CCONJ", 1, 1), ("NOUN", 2, 2)],
    "SCONJ CCONJ": [("SCONJ", 0, 0), ("CCONJ", 1, 1)],
    "SCONJ SCONJ": [("SCONJ", 0, 0), ("SCONJ", 1, 1)],  # S: a chunk of one
    "NOUN NOUN VERB": [("NOUN", 0, 1), ("VERB", 2, 2)],  # neighbours merge
    "X NOUN X X": [("X", 0, 0), ("NOUN", 1, 1), ("X", 2, 3)],
    "INTJ INTJ": [("INTJ", 0, 1)],
    "EX EX NN": [("EX", 0, 0), ("EX", 1, 1), ("NN", 2, 2)],
    "BANANA BANANA": [("BANANA", 0, 0), ("BANANA", 1, 1)],
    "OTHER NOUN OTHER": [("NOUN", 1, 1)],  # O: outside
    "B I E S O B": [("B", 0, 0), ("I", 1, 1), ("E", 2, 2), ("S", 3, 3), ("B", 5, 5)],
    "IN I-PER": [("IN", 0, 0), ("PER", 1, 1)],
    "B-A I-A O I-A I-B B-B": [("A", 0, 1), ("A", 3, 3), ("B", 4, 4), ("B", 5, 5)],
}


@pytest.mark.parametrize(("tags", "expected"), CHUNKS.items())
def test_chunks_are_those_of_seqeval_0_0_12(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert chunks(tags.split()) == expected


def test_a_type_may_hold_a_hyphen_behind_its_position() -> None:
    """As in seqeval 1.2; 0.0.12 takes art-film and car-film for one type."""
    assert chunks(["B-art-film", "I-art-film", "I-car-film"]) == [("art-film", 0, 1), ("car-film", 2, 2)]


def test_one_kind_of_conjunction_is_not_the_other() -> None:
    gold = {"tags": ["NOUN", "CCONJ", "NOUN"]}
    assert total("span_f1", [gold], [["NOUN", "SCONJ", "NOUN"]]) == pytest.approx(200 / 3)


def test_words_that_were_cut_off_are_errors() -> None:
    gold = {"tags": ["B-A", "O", "B-A"]}
    assert metric("span_f1").statistics(gold, ["B-A"], "en") == (1.0, 0.0, 1.0)
    assert metric("token_accuracy").statistics(gold, ["B-A"], "en") == (3.0, 1.0)


def test_typed_strings_know_no_place() -> None:
    gold = {"tokens": ["in", "New", "York", "and", "York"], "tags": ["O", "B-LOC", "I-LOC", "O", "B-LOC"]}
    predicted = {"spans": [["LOC", "York"], ["LOC", "York"], ["PER", "New York"]], "tags": ["O"] * 5}
    assert metric("surface_f1").statistics(gold, predicted, "en") == (1.0, 2.0, 1.0)  # the second York is one too many
    assert metric("span_f1").statistics(gold, predicted, "en") == (0.0, 0.0, 2.0)
    assert metric("surface_f1").statistics(gold, gold["tags"], "en") == (2.0, 0.0, 0.0)
    thai = {"tokens": ["ใน", "ห้อง", "ครัว"], "tags": ["O", "B-R", "I-R"], "space_after": [False, False, False]}
    assert metric("surface_f1").statistics(thai, {"spans": [["R", "ห้องครัว"]], "tags": []}, "th") == (1.0, 0.0, 0.0)


def test_typed_strings_against_matching_one_by_one() -> None:
    """multilingual-t5 strikes each hit off its list of gold strings; its F1 has 1e-13 in the denominators."""
    rng = random.Random(0)
    for _ in range(200):
        golds, predictions = [], []
        tp = fp = fn = 0
        for _ in range(rng.randint(1, 5)):
            tokens = [rng.choice(["Ann", "Bo", "東京", "Kyiv"]) for _ in range(rng.randint(1, 8))]
            tags = [rng.choice(["O", "B-PER", "B-LOC"]) for _ in tokens]
            wanted = [[tag[2:], token] for token, tag in zip(tokens, tags, strict=True) if tag != "O"]
            found = [s if rng.random() < 0.6 else ["LOC", rng.choice(tokens)] for s in wanted + wanted[:1]]
            rng.shuffle(found)
            left = list(wanted)
            for one in found:
                if one in left:
                    left.remove(one)
                    tp += 1
                else:
                    fp += 1
            fn += len(left)
            golds.append({"tokens": tokens, "tags": tags})
            predictions.append({"spans": found, "tags": []})
        precision, recall = tp / (tp + fp + 1e-13), tp / (tp + fn + 1e-13)
        expected = 100 * 2 * precision * recall / (precision + recall + 1e-13)
        assert np.nan_to_num(total("surface_f1", golds, predictions)) == pytest.approx(expected, abs=1e-6)


# (language, gold, prediction, SQuAD F1, MLQA F1) worked out by hand from the published rules.
ANSWERS = [
    ("en", "The Cat!", "a cat", 1, 1),
    ("en", "red big cat", "big cat", 0.8, 0.8),
    ("en", "the", "the", 0, 0),  # nothing is left of either: both scripts give 0
    ("de", "der Hund", "ein Hund", 0.5, 1),  # German articles only in MLQA's rules
    ("es", "la casa", "casa", 2 / 3, 1),
    ("vi", "cái bàn", "bàn", 2 / 3, 1),
    ("ar", "الكتاب", "كتاب", 0, 1),  # the Arabic article goes, prefix or not
    ("hi", "राम का घर", "राम घर", 0.8, 0.8),
    ("zh", "北京市", "北京", 0, 0.8),  # Chinese characters are words only in MLQA's rules
    ("zh", "iPhone手机", "手机", 0, 0.8),
    ("th", "ห้องครัว", "ครัว", 0, 0),  # Thai is one word under both
    ("tr", "İstanbul", "istanbul", 0, 0),  # dotted capital I lower-cases to i and a combining dot
    ("el", "«Αθήνα»", "Αθήνα", 0, 1),  # guillemets are no ASCII punctuation
    ("fi", "keittiössä", "keittiössä.", 1, 1),
    ("es", "unas casas", "las casas", 0.5, 1),
    ("hi", "एक घर", "घर", 2 / 3, 2 / 3),  # MLQA: Hindi has no articles
    ("hi", "राम।", "राम", 0, 1),  # the danda is punctuation, but not ASCII's
    ("vi", "của những người", "người", 0.5, 1),
    ("vi", "là cái gì", "gì", 0.5, 1),
    ("de", "dem Hund des Kindes", "Hund Kindes", 2 / 3, 1),
    ("de", "Derby", "by", 0, 0),  # an article is a word of its own
    ("ar", "في المدرسة", "في مدرسة", 0.5, 1),
    ("ar", "سؤال", "سؤ", 0, 1),  # the published rule strikes the article's letters out within words too
    ("zh", "２００８年", "2008年", 0, 0.5),  # full-width digits are other characters; 年 is shared
    ("zh", "北 京", "北京", 0, 1),
    ("ja", "東京都", "東京", 0, 0),  # Japanese is not split: MLQA has none
    ("th", "ใน ห้องครัว", "ห้องครัว", 2 / 3, 2 / 3),
    ("tr", "ISPARTA", "ısparta", 0, 0),  # capital I lower-cases to a dotted i, whatever the language
    ("tr", "IŞIK", "işik", 1, 1),
    ("tr", "İzmir'in", "İzmirin", 1, 1),
    ("el", "ΟΔΟΣ", "οδος", 1, 1),  # lower-casing writes a final sigma
    ("el", "ΟΔΟΣ", "οδοσ", 0, 0),
    ("ru", "Анна", "анна", 1, 1),
    ("en", "U.S.", "US", 1, 1),
    ("en", "an-the-a", "anthea", 1, 1),  # punctuation goes before the articles do
    ("en", "a—the", "b", 0, 0),
    ("en", "cat cat dog", "cat", 0.5, 0.5),  # bags: the second cat is missed
]


@pytest.mark.parametrize(("language", "gold", "predicted", "squad", "mlqa"), ANSWERS)
def test_answers_by_hand(language: str, gold: str, predicted: str, squad: float, mlqa: float) -> None:
    row = {"answers": [{"text": gold, "start": 0}]}
    for name, expected in (("squad_f1", squad), ("mlqa_f1", mlqa)):
        assert metric(name).statistics(row, predicted, language) == pytest.approx((1.0, expected)), name


@pytest.mark.parametrize("family", ["squad", "mlqa"])
def test_answers_against_the_rules_read_word_by_word(family: str) -> None:
    """200 generated pairs: lists of words, without regular expressions or bags; the mean of exact match and F1."""
    articles = {
        "en": "a an the",
        "es": "un una unos unas el la los las",
        "de": "ein eine einen einem eines einer der die das den dem des",
        "vi": "của là cái chiếc những",
        "zh": "",
        "hi": "",
    }
    words = [
        "Der",
        "hund",
        "THE",
        "Cat",
        "una",
        "casa",
        "của",
        "北京",
        "iPhone",
        "घर",
        "o'clock",
        "«x»",
        "5,0",
        "।",
        "-",
    ]
    rng = random.Random(0)

    def read(text: str, language: str) -> list[str]:
        kept = ""
        for character in text.lower():
            ascii_punctuation = character.isascii() and not character.isalnum() and not character.isspace()
            other = family == "mlqa" and unicodedata.category(character).startswith("P")
            kept += "" if ascii_punctuation or other else character
        if family == "mlqa" and language == "zh":
            kept = "".join(f" {c} " if "CJK UNIFIED" in unicodedata.name(c, "") else c for c in kept)
        dropped = articles["en" if family == "squad" else language].split()
        return [word for word in kept.split() if word not in dropped]

    for number in range(200):
        language = rng.choice(list(articles))
        gold, predicted = (" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(2))
        if number % 3 == 0:
            predicted = gold + rng.choice(["", ".", " the", "。"])
        left = read(gold, language)
        shared = 0
        for word in read(predicted, language):
            if word in left:
                left.remove(word)
                shared += 1
        sizes = len(read(gold, language)), len(read(predicted, language))
        f1 = 2 * (shared / sizes[0]) * (shared / sizes[1]) / (shared / sizes[0] + shared / sizes[1]) if shared else 0.0
        exact = float(read(gold, language) == read(predicted, language))
        row = {"answers": [{"text": gold, "start": 0}]}
        found = metric(f"{family}_mean").statistics(row, predicted, language)
        assert found == pytest.approx((1.0, exact, f1)), (language, gold, predicted)
        assert metric(f"{family}_f1").statistics(row, predicted, language) == pytest.approx((1.0, f1))
        assert metric(f"{family}_em").statistics(row, predicted, language) == (1.0, exact)
        assert total(f"{family}_mean", [row], [predicted], language) == pytest.approx(50 * (exact + f1))


def test_best_of_several_answers_and_none() -> None:
    row = {"answers": [{"text": "a dog", "start": 0}, {"text": "cat", "start": 0}]}
    assert metric("squad_em").statistics(row, "Cat", "en") == (1.0, 1.0)
    unanswerable: dict[str, Any] = {"answers": []}
    assert metric("squad_f1").statistics(unanswerable, "", "en") == (1.0, 1.0)
    assert metric("squad_f1").statistics(unanswerable, "cat", "en") == (1.0, 0.0)


def test_normalisers() -> None:
    assert normalise_squad("The  U.S. (an) Army") == ["us", "army"]
    assert normalise_mlqa("在2008年，北京", "zh") == ["在", "2008", "年", "北", "京"]


def test_ranking_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(2, 15))
        scores = rng.permutation(n).astype(float)
        relevant = rng.random(n) < 0.3
        relevant[rng.integers(n)] = True
        order = [str(i) for i in np.argsort(-scores)]
        gold = {"gold": [str(i) for i in np.flatnonzero(relevant)]}
        found = metric("map_at_20").statistics(gold, order, "en")[1]
        assert found == pytest.approx(average_precision_score(relevant, scores))
        one = np.zeros(n, dtype=bool)
        one[rng.integers(n)] = True
        gold = {"gold": [str(np.flatnonzero(one)[0])]}
        expected = label_ranking_average_precision_score([one], [scores])  # of one right answer: its reciprocal rank
        assert metric("mrr_at_20").statistics(gold, order, "en")[1] == pytest.approx(expected)
        assert metric("retrieval_accuracy").statistics(gold, order, "en") == (1.0, float(expected == 1))


def test_ranks_beyond_twenty_do_not_count() -> None:
    order = [str(i) for i in range(30)]
    assert metric("mrr_at_20").statistics({"gold": ["20"]}, order, "en") == (1.0, 0.0)
    assert metric("mrr_at_20").statistics({"gold": ["19"]}, order, "en") == (1.0, 1 / 20)
    # Thirty right answers: only twenty fit.
    assert metric("map_at_20").statistics({"gold": order}, order, "en") == (1.0, 1.0)


def test_a_score_is_the_ratio_of_sums_and_nan_of_nothing() -> None:
    accuracy = metric("accuracy")
    assert accuracy.score(np.array([[4.0, 1.0], [0.0, 0.0]])).tolist()[0] == 25.0
    assert np.isnan(accuracy.score(np.array([0.0, 0.0])))
    for rule in METRICS.values():
        assert len(rule.columns) == len(rule.numerator) == len(rule.denominator)
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        metric("acuracy")
