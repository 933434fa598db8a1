"""Generation: chrF and ROUGE against their libraries and by hand, the kind on tiny models, encoders refused."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rouge_score import rouge_scorer
from sacrebleu import sentence_chrf
from test_causal import fetched, upstream
from test_metrics import total

import tiny
from stiltsweep import config, preflight, schema
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.facts import KINDS
from stiltsweep.files import read_json
from stiltsweep.identity import RUN
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.layout import Cell, Layout
from stiltsweep.metrics import metric
from stiltsweep.metrics.generation import Words
from stiltsweep.models.load import Source
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import Meta, read_rows, write_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.sweep import Sweep
from stiltsweep.tokenization import texts
from stiltsweep.training import loop

METRICS = ["chrf", "rouge_l", "rouge_1"]
PLAIN = Representation("mean", -1, "mean", "")
ENGLISH = [
    "The quick brown fox jumps over the lazy dog.",
    "A quick, well-known fox (brown) doesn't jump: it's lazy!",
    "the DOG sleeps; $5.30 were paid in 2021_22",
    "Nothing in common",
    "",
    "...",
]


def gold(*references: str) -> dict[str, Any]:
    return {"references": list(references)}


def mangled(text: str, rng: random.Random) -> str:
    words = [word for word in text.split() if rng.random() < 0.7]
    rng.shuffle(words)
    return " ".join(words)


def test_english_numbers_are_those_of_the_libraries() -> None:
    rng = random.Random(0)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"])  # with its own tokenizer, whose words are ASCII
    sentences = [text for text in ENGLISH if text.strip(".")]
    for _ in range(200):
        references = rng.sample(sentences, rng.randint(1, 3))
        written = rng.choice([mangled(rng.choice(references), rng), rng.choice(ENGLISH)])
        theirs = scorer.score_multi(references, written)
        found = {name: total(name, [gold(*references)], [written]) for name in METRICS}
        assert found["rouge_1"] == pytest.approx(100 * theirs["rouge1"].fmeasure, abs=1e-9)
        assert found["rouge_l"] == pytest.approx(100 * theirs["rougeL"].fmeasure, abs=1e-9)
        assert found["chrf"] == pytest.approx(sentence_chrf(written, references).score, abs=1e-9)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "It's 3.5% — O.K.?", ["it", "s", "3", "5", "o", "k"]),
        ("fi", "Keittiön valot, päälle!", ["keittiön", "valot", "päälle"]),
        ("ar", "أطفئ الضوءَ في المطبخ؟", ["أطفئ", "الضوءَ", "في", "المطبخ"]),
        ("ar", "\u200fالضوء\u200f", ["الضوء"]),
        ("fa", "می\u200cخواهم", ["میخواهم"]),
        ("th", "เปิดไฟ (LED)", ["เ", "ปิ", "ด", "ไ", "ฟ", "led"]),
        ("zh", "打开灯，3盏。", ["打", "开", "灯", "3", "盏"]),
        ("zh", "ＬＥＤ灯", ["led", "灯"]),
        ("hi", "बत्ती जलाओ।", ["बत्ती", "जलाओ"]),
        ("ko", "불을 켜 줘.", ["불을", "켜", "줘"]),
    ],
)
def test_words_of_other_scripts(language: str, text: str, words: list[str]) -> None:
    assert Words().tokenize(text) == words


@pytest.mark.parametrize(
    ("references", "written", "rouge_1", "rouge_l"),
    [
        # Of 3 words and 2 two are shared, in the other order one: 2 * 2 / 5 and 2 * 1 / 5.
        (["keittiön valot päälle"], "Päälle keittiön", 80.0, 40.0),
        (["打开厨房的灯"], "灯的厨房", 80.0, 40.0),  # 4 of 6 and 4; 厨房 stays in order
        (["أطفئ الضوء في المطبخ"], "أطفئ المطبخ", 200 * 2 / 6, 200 * 2 / 6),
        (["เปิดไฟ"], "ปิดไฟ", 200 * 4 / 9, 200 * 4 / 9),  # เ ปิ ด ไ ฟ, all but the first
        # The best of all references counts.
        (["打开灯", "开灯"], "开灯", 100.0, 100.0),
        (["keittiön valot"], "", 0.0, 0.0),
    ],
)
def test_rouge_by_hand(references: list[str], written: str, rouge_1: float, rouge_l: float) -> None:
    assert total("rouge_1", [gold(*references)], [written]) == pytest.approx(rouge_1)
    assert total("rouge_l", [gold(*references)], [written]) == pytest.approx(rouge_l)


def test_chrf_by_hand() -> None:
    # Thai, two of three characters: precisions 1, 1; recalls 2/3, 1/2; longer ones do not exist in what is written.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    assert total("chrf", [gold("กขค")], ["กข"]) == pytest.approx(expected)
    assert total("chrf", [gold("灯", "打开灯")], ["打 开 灯"]) == pytest.approx(100.0)  # blanks are left out
    assert total("chrf", [gold("valot")], [""]) == 0
    # A mean over examples.
    assert total("chrf", [gold("กขค"), gold("valot")], ["กข", "valot"]) == pytest.approx((expected + 100) / 2)


def test_the_schema_names_the_registrys_kinds() -> None:
    assert schema.load("task")["properties"]["kind"]["enum"] == [*KINDS]


def data(folder: Path) -> dict[str, Path]:
    """What room is it: a summary of one word that anyone can learn, with a second reference."""
    found = {}
    for language, patterns in tiny.PATTERNS.items():
        rows = [
            {"id": f"{split}{n}", "split": split, "text": pattern.format(room), "references": [room, f"the {room}"]}
            for split in ("train", "dev", "test")
            for n, (pattern, room) in enumerate(
                (pattern, room) for pattern in patterns.values() for room in tiny.ROOMS[language]
            )
        ]
        found[language] = folder / f"{language}.parquet"
        about = tiny.about("short", language, METRICS, text2text={"template": "summarize: {text}"})
        write_rows(found[language], "generation", rows, about, labels=[])
    return found


@pytest.mark.parametrize("interface", ["text2text", "causal"])
def test_a_model_learns_predicts_and_is_scored(tmp_path: Path, interface: str) -> None:
    if interface == "causal":
        upstream(tmp_path / "upstream", "qwen3")
        start = fetched(tmp_path)
    else:
        start = tiny.text2text(tmp_path / "model")
    found = data(tmp_path / "data")
    training = TrainingSettings(
        batch_size=4, epochs=40, learning_rate=1e-2, max_length=100, max_target_length=24, evaluations=2, warmup=0.1
    )
    run = tiny.run(start, found["en"], tmp_path / "out", training, PLAIN, chance=0.0)
    loop.train(run)
    about = read_json(run.output)
    assert about["dev"]["metric"] == "chrf" and about["dev"]["score"] > 60
    cell = Cell("tiny", "none", "short", 0, "en")
    layout = Layout(str(tmp_path))
    index, output = Path(layout.predictions("tiny", "none", "short", 0)), Path(layout.cell(cell))
    settings = PredictionSettings(Limits(100, 8, 24), PLAIN, 512, True, "fp32")
    predict(run.output, found, index, settings, identity=dict.fromkeys(RUN))
    folder = index.parent
    written = read_json(folder / "en.json")
    assert written["cut"]["answers"] == 16 and all(isinstance(one, str) for one in written["predictions"])
    rows = {row["id"]: row for row in read_rows(found["en"], "test")}
    golds = [rows[name] for name in written["ids"]]
    for name in METRICS:
        assert total(name, golds, written["predictions"]) > 50
    mean = sum(
        sentence_chrf(one, row["references"]).score for row, one in zip(golds, written["predictions"], strict=True)
    )
    score = evaluate(cell, found["en"], index, output, family="", contaminated=False)
    assert score == pytest.approx(mean / 16)
    about = read_json(output)
    assert about["metric"] == "chrf" and {*about["metrics"]} == {*METRICS} and about["majority"] is None
    # Resampled as every other score: what is beside the cell adds up to it.
    table = pq.read_table(output.with_suffix(".parquet"))
    sums = np.array([[sum(table[f"chrf.{name}"].to_pylist()) for name in ("n", "f")]])
    assert metric("chrf").score(sums)[0] == pytest.approx(score)


def test_a_long_text_gives_way_and_what_asks_stays(tmp_path: Path) -> None:
    source = Source.read(tiny.text2text(tmp_path / "model"))
    pieces = Tokenizer.from_directory(source.base)
    text = "turn on the light in the kitchen " * 6
    about = Meta("t", "en", "generation", [], METRICS, {}, "0", "none", text2text={"template": "{text} office"})
    made = form(about, pieces, interface="text2text", limits=Limits(24, 4, 8), representation=PLAIN)
    (example,) = made.encode([{"text": text, "references": ["kitchen"]}], training=False)
    assert len(example.inputs[0].ids) == 24 and example.cut.lost > 0
    assert pieces.decode(example.inputs[0].ids).endswith("office")
    plain = form(replace(about, text2text={}), pieces, interface="text2text", limits=Limits(99, 4, 8), representation=PLAIN)  # fmt: skip
    assert plain.text.source({"text": " as it is "}) == "as it is"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="'generation' has no encoder form"):
        form(about, pieces, interface="encoder", limits=Limits(24, 4, 8), representation=PLAIN)


def test_what_is_measured_is_the_text_and_its_overlap_with_the_first_reference() -> None:
    found = texts.of({"text": "a b", "references": ["b", "c"]}, "generation", {})
    assert found.own == ("a b",) and found.pair == ("a b", "b")


@pytest.mark.parametrize("models", [["e5-small"], ["mt5-small", "e5-small"]])
def test_an_encoder_is_refused_before_anything_runs(models: list[str]) -> None:
    given = {"models": models, "intermediates": ["none"], "seeds": [0], "targets": {"xlsum": ["en", "th"]}}
    with pytest.raises(UserError) as refused:
        preflight.check(Sweep(*config.resolve(given)))
    assert str(refused.value) == (
        "target/xlsum.yaml: kind 'generation' is for models that write text (interface text2text, causal), and e5-small "
        "is an encoder: name only such models, or leave the task out with without: [xlsum]."
    )
    preflight.check(Sweep(*config.resolve({**given, "models": ["mt5-small", "qwen3-0.6b"]})))
