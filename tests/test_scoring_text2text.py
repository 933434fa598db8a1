"""Text to text: mT5's formats, answers back in the context, likelihood of closed sets, generation and its sentinels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from stiltsweep.evaluation import evaluate
from stiltsweep.files import SEAL, digest_file, read_json, write_record
from stiltsweep.identity import RUN
from stiltsweep.kinds import Limits, Representation, form, text2text
from stiltsweep.kinds.classification import ClassificationText
from stiltsweep.kinds.placing import locate
from stiltsweep.kinds.span_qa import SpanText
from stiltsweep.kinds.tagging import TaggingText
from stiltsweep.layout import Cell
from stiltsweep.metrics import compared, metric
from stiltsweep.metrics.answers import pad_punctuation
from stiltsweep.models.load import Source, build
from stiltsweep.models.task_model import Generated
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict, run
from stiltsweep.records import Meta, write_rows
from stiltsweep.settings import PredictionSettings

LIMITS = Limits(max_length=64, stride=8, max_target_length=12)
REPRESENTATION = Representation("mean", -1, "mean", "")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source.read(tiny.text2text(tmp_path_factory.mktemp("text2text")))


def meta(kind: str, labels: tuple[str, ...] = (), **text: object) -> Meta:
    return Meta("t", "en", kind, list(labels), ["accuracy"], {}, "0", "none", text2text=dict(text))


def make(source: Source, about: Meta):
    tokenizer = Tokenizer.from_directory(source.base)
    return form(about, tokenizer, interface="text2text", limits=LIMITS, representation=REPRESENTATION)


# mT5's formats, as its preprocessors and their tests give them


def test_xnli_and_pawsx_as_mt5_writes_them() -> None:
    xnli = ClassificationText(
        meta(
            "classification",
            ("entailment", "neutral", "contradiction"),
            template="xnli: premise: {text_a} hypothesis: {text_b}",
            targets={"entailment": "0", "neutral": "1", "contradiction": "2"},
        )
    )
    row = {"text_a": "premise1", "text_b": "hypothesis1", "label": "neutral"}
    assert xnli.source(row) == "xnli: premise: premise1 hypothesis: hypothesis1"
    assert (xnli.target(row), xnli.choices(row)) == ("1", ["0", "1", "2"])
    assert xnli.chosen(row, 2) == "contradiction"
    template = "paws sentence1: {text_a} sentence2: {text_b}"
    pawsx = ClassificationText(
        meta("classification", ("0", "1"), template=template, targets={"0": "different_meaning"})
    )
    assert pawsx.source(row) == "paws sentence1: premise1 sentence2: hypothesis1"
    assert pawsx.choices(row) == ["different_meaning", "1"]


def test_questions_as_mt5_writes_them() -> None:
    row = {
        "context": "Some context.",
        "question": "Whose portrait by François Clouet was included in the Jones bequest of 1882?",
        "answers": [{"text": "The answer.", "start": 0}],
    }
    text = SpanText(meta("span_qa"))
    asked = "Whose portrait by François Clouet was included in the Jones bequest of 1882 ?"
    assert text.source(row) == f"question: {asked} context: Some context . "
    assert text.target(row) == "The answer . "


@pytest.mark.parametrize(
    ("text", "padded"),
    [
        ("U.S. (1882)", "U . S . ( 1882 ) "),
        ("snake_case  a\tb", "snake_case a b"),  # underscores are letters to the rule; white space collapses
        ("北京，2008年。", "北京 ， 2008年 。 "),
        ("कि॒ हिन्दी।", "कि॒ हिन्दी । "),  # vowel signs and marks stay, the danda is padded
        ("ห้องครัว ๒", "ห้องครัว ๒"),
        ("e\u0301 $5 ½", "e\u0301 $ 5 ½"),
        ("من؟", "من ؟ "),
        ("(a)\u00a0b", " ( a ) \u00a0 b"),  # RE2's white space is ASCII: the no-break space is padded, and stays
        ("a\u3000b\u200cc\vd", "a \u3000 b \u200c c \v d"),
    ],
)
def test_punctuation_is_padded(text: str, padded: str) -> None:
    assert pad_punctuation(text) == padded


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("It was the U.S. (and Canada) in 1882.", "U.S. (and Canada)"),
        ("他于2008年，在北京（首都）工作。", "北京（首都）"),
        ("เขาอยู่ในห้องครัว, ชั้น 2.", "ห้องครัว, ชั้น 2"),
        ("سأل: «من أنت؟» ثم ذهب.", "«من أنت؟»"),
        ("İstanbul'da 29 Mayıs 1453'te.", "29 Mayıs 1453'te"),
        ("Die Straße Nr. 5, Köln.", "Straße Nr. 5"),
        ("Cafe\u0301 d'Or.", "Cafe\u0301 d'Or"),
    ],
)
def test_a_written_answer_is_scored_as_the_context_has_it(context: str, answer: str) -> None:
    """Padding, and what a tokenizer does to characters on the way (NFKC), cost a right answer nothing."""
    import unicodedata

    text = SpanText(meta("span_qa"))
    row = {"context": context, "question": "?", "answers": [{"text": answer, "start": context.index(answer)}]}
    written = unicodedata.normalize("NFKC", text.target(row))
    assert text.parse(row, f" {written} ") == answer
    for name in ("squad_em", "mlqa_em"):
        assert metric(name).statistics(row, text.parse(row, written), "de") == (1.0, 1.0)


def test_an_answer_that_is_not_in_the_context_stays_as_written() -> None:
    text = SpanText(meta("span_qa"))
    row = {"context": "the cat", "question": "?", "answers": []}
    assert text.parse(row, " a dog ") == "a dog"
    assert text.parse(row, "unanswerable") == ""
    assert text.target(row) == "unanswerable"
    assert text.parse(row, "") == ""


# (language, context, gold, written, EM by mT5's own scoring, or what an exact hit makes of it)
WRITTEN = [
    ("ko", "대한민국의 수도는 서울 이다.", "서울", "서우", 0),  # another syllable
    ("ko", "간장 공장은 가 지역에 있다.", "가", "가", 1),  # not the beginning of the first syllable
    ("es", "Lo escribió José en 1990.", "José", "Jose", 0),  # an accent that is not written is a fault
    ("es", "Lo escribio\u0301 Jose\u0301 en 1990.", "Jose\u0301", "Jose", 0),
    ("es", "Lo escribio\u0301 Jose\u0301 en 1990.", "Jose\u0301", "José", 1),  # the same character
    ("es", "Está esta.", "esta", "esta", 1),
    ("vi", "Ông Trần và ông Trân.", "ông Trân", "ông Trân", 1),
    ("el", "Η νόμος και ο νομός.", "νομός", "νομός", 1),
    ("ru", "Список партий. Эти партии победили.", "партии", "партии", 1),
    ("en", "A part I Victory in World War IV.", "IV", "IV", 1),  # not across words
    ("tr", "İ ve I", "I", "I", 1),
    ("hi", "क़लम और कलम", "कलम", "कलम", 1),
    ("th", "ที่ ทีม", "ที", "ที", 1),
    ("en", "The therapist came.", "therapist", "the rapist", 0),  # blanks put in
    ("de", "Die Straßenbahn kam.", "Straßenbahn", "Straßen bahn", 0),
    ("en", "New York is big.", "New York", "NewYork", 0),  # a blank left out
    ("en", "It was the U.S. army.", "U.S.", "U . S .", 1),
    ("en", "It was the U.S. army.", "U.S.", "u . s .", 1),  # case and ASCII punctuation count for nothing
    ("en", "It was the U.S. army.", "U.S.", "U S", 1),
    ("en", "It ended 20–18 there.", "20–18", "20 – 18", 1),
    ("en", "It ended 20–18 there.", "20–18", "20– 18", 0),  # a dash is no ASCII punctuation
    ("en", "It took 3½ hours…", "3½", "31⁄2", 1),  # what NFKC makes of a character
    ("en", "It took 3½ hours.", "½", "1", 0),  # a part of a character
    ("zh", "他于２００８年，在北京（首都）工作。", "２００８年，在北京", "2008年 , 在北京", 1),
]


@pytest.mark.parametrize(("language", "context", "gold", "written", "expected"), WRITTEN)
def test_placing_neither_raises_nor_lowers_mt5s_score(
    language: str, context: str, gold: str, written: str, expected: int
) -> None:
    row = {"context": context, "question": "?", "answers": [{"text": gold, "start": context.rindex(gold)}]}
    found = SpanText(meta("span_qa")).parse(row, written)
    assert metric("squad_em").statistics(row, found, language)[1] == expected, found
    scored = compared(row, found, kind="span_qa", writes=True)
    assert metric("squad_em").statistics(*scored, language)[1] == expected, found


def test_a_text_models_answers_are_padded_on_both_sides_for_the_score() -> None:
    """multilingual-t5 compares with padded gold answers: three words here, two of an encoder's answer."""
    context = "In the U.S. army."
    row = {"context": context, "question": "?", "answers": [{"text": "U.S. army", "start": 7}]}
    law = {"context": "US law, U.S. law.", "question": "?", "answers": [{"text": "US", "start": 0}]}
    found = SpanText(meta("span_qa")).parse(law, "U . S .")
    assert metric("squad_em").statistics(*compared(law, found, kind="span_qa", writes=True), "en")[1] == 0
    for writes, expected in ((True, 2 * 1 / (3 + 1)), (False, 2 * 1 / (2 + 1))):
        scored = compared(row, "army", kind="span_qa", writes=writes)
        assert metric("squad_f1").statistics(*scored, "en")[1] == pytest.approx(expected)


def test_locate_by_hand() -> None:
    assert locate("ab cd ab", "ab", start=2) == (6, 8)
    assert locate("a b", "ab") is None
    assert locate("a \u200b\tb", "a b") == (0, 5)
    assert locate("cabin ab", "ab") == (1, 3)  # exactly as written: the first
    assert locate("ａbin ａb", "ab") == (5, 7)  # whole words before parts of them
    assert locate("Ｆull ½", "Full") == (0, 4)
    assert locate("3½", "1⁄2") == (1, 2)
    assert locate("3½", "1") is None
    assert locate("abc", "d") is None
    assert locate("abc", " ") is None
    assert locate("Manny Man", "Man", starts={0, 6}, ends={5, 9}) == (6, 9)


def entities(*labels: str, **text: object) -> TaggingText:
    return TaggingText(meta("tagging", labels or ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), **text))


def test_names_as_mt5_writes_them() -> None:
    tokens = ["rick", "and", "morty", "are", "cool", "."]
    row = {"tokens": tokens, "tags": ["B-PER", "O", "B-PER", "O", "O", "O"], "space_after": None}
    text = entities()
    assert text.source(row) == "tag: rick and morty are cool ."
    assert text.target(row) == "PER: rick $$ PER: morty"
    assert text.parse(row, text.target(row)) == {"spans": [["PER", "rick"], ["PER", "morty"]], "tags": row["tags"]}
    nobody = {**row, "tags": ["O"] * 6}
    assert text.target(nobody) == "None"
    assert text.parse(nobody, "None") == {"spans": [], "tags": ["O"] * 6}
    assert text.parse(nobody, "") == {"spans": [], "tags": ["O"] * 6}


def test_a_name_with_a_colon_counts() -> None:
    row = {"tokens": ["CSI:", "Miami", "in", "Miami"], "tags": ["B-PER", "I-PER", "O", "B-LOC"], "space_after": None}
    text = entities()
    assert text.target(row) == "PER: CSI: Miami $$ LOC: Miami"
    found = text.parse(row, text.target(row))
    assert found["tags"] == row["tags"]
    assert metric("surface_f1").statistics(row, found, "en") == (2.0, 0.0, 0.0)
    assert metric("span_f1").statistics(row, found, "en") == (2.0, 0.0, 0.0)


def test_what_is_no_name_is_an_error() -> None:
    row = {"tokens": ["in", "Kyiv"], "tags": ["O", "B-LOC"], "space_after": None}
    text = entities()
    for written, spans in [
        ("LOC: Kiev", (0, 1, 1)),  # another string
        ("LOC Kyiv", (0, 0, 1)),  # no colon: not a name at all, as mT5's parser has it
        ("LOC: Kyiv $$ LOC: Kyiv", (1, 1, 0)),
        ("PER: Kyiv", (0, 1, 1)),
        ("LOC: ", (0, 1, 1)),
        ("", (0, 0, 1)),
    ]:
        found = text.parse(row, written)
        assert metric("surface_f1").statistics(row, found, "en") == tuple(map(float, spans)), written
    assert text.parse(row, "LOC: Kyiv $$ LOC: Kyiv")["tags"] == ["O", "B-LOC"]  # there is one place


@pytest.mark.parametrize(
    ("tokens", "written", "tags"),
    [
        (["Manny", "met", "Man"], "PER: Man", ["O", "O", "B-PER"]),  # whole tokens only
        (["東京都", "と", "東京"], "LOC: 東京", ["O", "O", "B-LOC"]),
        (["간장", "가"], "PER: 가", ["O", "B-PER"]),
        (["New", "York"], "LOC: NewYork", ["O", "O"]),  # not what stands there
        (["therapist"], "PER: the rapist", ["O"]),
        (["José", "Jose"], "PER: Jose", ["O", "B-PER"]),
        (["Ｔｏｋｙｏ", "Tower"], "LOC: Tokyo Tower", ["B-LOC", "I-LOC"]),
    ],
)
def test_names_are_whole_tokens(tokens: list[str], written: str, tags: list[str]) -> None:
    row = {"tokens": tokens, "tags": ["O"] * len(tokens), "space_after": None}
    assert entities().parse(row, written)["tags"] == tags


def test_parts_of_speech_are_written_one_by_one() -> None:
    row = {"tokens": ["Sie", "schläft", "."], "tags": ["PRON", "VERB", "PUNCT"], "space_after": [True, False, False]}
    text = entities("PRON", "VERB", "PUNCT", "X", template="pos: {text}")
    assert text.source(row) == "pos: Sie schläft."
    assert text.target(row) == "PRON VERB PUNCT"
    assert text.parse(row, "PRON VERB PUNCT X") == ["PRON", "VERB", "PUNCT"]
    short = text.parse(row, "PRON")
    assert metric("token_accuracy").statistics(row, short, "de") == (3.0, 1.0)
    assert metric("span_f1").statistics(row, short, "de") == (1.0, 0.0, 2.0)
    assert metric("token_accuracy").statistics(row, text.parse(row, ""), "de") == (3.0, 0.0)


# Closed sets


def test_choices_in_parts_are_the_choices_at_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ("on", "off", "turn on the light", "warm")
    kind = make(source, meta("classification", labels))
    rows = [{"text_a": t, "text_b": None, "label": "on"} for t in tiny.SENTENCES]
    examples = kind.encode(rows, training=False)
    model = build(source, kind, kept=None, seed=0)
    whole = kind.decode(rows, examples, run(model, examples, 10_000))
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(model, name)

        def call(*arguments: Any) -> Any:
            calls.append(name)
            return method(*arguments)

        return call

    for name in ("decode", "encode"):
        monkeypatch.setattr(model, name, counted(name))
    monkeypatch.setattr(model, "generate", None)
    monkeypatch.setattr(text2text, "_MOST_LOGITS", 2000)
    assert kind.decode(rows, examples, run(model, examples, 10_000)) == whole
    assert calls.count("decode") > calls.count("encode")
    assert kind.sentinels(run(model, examples, 10_000)) is None


# Generation and sentinels


def favouring_sentinels(source: Source, kind: Any, strength: float):
    """Return a model whose output layer likes sentinels."""
    model = build(source, kind, kept=None, seed=0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        weight = model.backbone.lm_head.weight
        for i in source.about["sentinels"]:
            weight[i] = strength * torch.randn(weight.shape[1], generator=generator)
    return model


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_sentinels_are_kept_out_and_counted(strength: float, source: Source) -> None:
    """Against transformers' own generation, one text at a time: texts are its texts, and the count its arg-maxima."""
    kind = make(source, meta("span_qa"))
    rows = [{"context": t, "question": "where?", "answers": []} for t in tiny.SENTENCES]
    examples = kind.encode(rows, training=False)
    model = favouring_sentinels(source, kind, strength)
    raw = run(model, examples, 10_000)
    sentinels = source.about["sentinels"]
    tried = []
    for example, found in zip(examples, raw, strict=True):
        output = model.backbone.generate(
            torch.tensor([example.inputs[0].ids]),
            max_new_tokens=12,
            do_sample=False,
            use_cache=False,
            suppress_tokens=sentinels,
            output_logits=True,
            return_dict_in_generate=True,
        )
        assert found.ids == [i for i in output.sequences[0].tolist() if i not in (0, 1)]
        assert not set(found.ids) & set(sentinels)
        tried.append(any(int(step[0].argmax()) in sentinels for step in output.logits))
    assert [found.sentinel for found in raw] == tried
    assert kind.sentinels(raw) == sum(tried)
    assert (sum(tried) > 0) == (strength > 0)


def test_a_finished_text_tries_no_more(source: Source) -> None:
    """A text that ended is scored on until the longest ends; what would follow its end does not count."""
    from stiltsweep.models.task_model import _Forbid

    forbid = _Forbid([5], eos=1)
    scores = torch.zeros(2, 8)
    scores[:, 3] = 1.0
    forbid(torch.tensor([[0], [0]]), scores)
    scores[:, 5] = 2.0
    out = forbid(torch.tensor([[0, 1], [0, 3]]), scores)
    assert forbid.tried_B.tolist() == [False, True]
    assert out[:, 5].tolist() == [-torch.inf] * 2
    assert torch.equal(out[:, :5], scores[:, :5])


def test_generation_in_batches_is_generation_alone(source: Source) -> None:
    kind = make(source, meta("span_qa"))
    rows = [{"context": t, "question": "where?", "answers": []} for t in tiny.SENTENCES]
    examples = kind.encode(rows, training=False)
    model = build(source, kind, kept=None, seed=0)
    assert run(model, examples, 10_000) == [run(model, [example], 64)[0] for example in examples]


# Through prediction and evaluation


def questions(folder: Path) -> dict[str, Path]:
    found = {}
    for language, texts in (("en", tiny.SENTENCES[:4]), ("zh", tiny.SENTENCES[6:10])):
        rows = [
            {
                "id": f"{i}",
                "split": "test",
                "context": text,
                "question": "where?",
                "answers": [{"text": text[:4], "start": 0}],
            }
            for i, text in enumerate(texts)
        ]
        found[language] = folder / f"{language}.parquet"
        write_rows(found[language], "span_qa", rows, tiny.about("qa", language, ["squad_mean"]), labels=[])
    return found


SETTINGS = PredictionSettings(LIMITS, REPRESENTATION, 4096, prune=True)


def test_sentinels_reach_the_cell(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, index = questions(tmp_path / "data"), tmp_path / "predictions" / "predictions.json"
    generate = "stiltsweep.models.task_model.TaskModel.generate"
    monkeypatch.setattr(
        generate, lambda self, encoded, mask, most: [Generated([], i < 3, i > 0) for i in range(len(mask))]
    )
    predict(source.base / "model.json", data, index, SETTINGS, identity={})
    assert read_json(index.parent / "zh.json")["sentinels"] == 3
    cell = Cell("m", "none", "qa", 0, "zh")
    evaluate(cell, data["zh"], index, tmp_path / "zh.json", family="", contaminated=False)
    assert read_json(tmp_path / "zh.json")["sentinels"] == 3


def test_where_nothing_is_written_there_is_no_count(source: Source, tmp_path: Path) -> None:
    data, index = tiny.classification(tmp_path / "data"), tmp_path / "predictions" / "predictions.json"
    predict(source.base / "model.json", data, index, SETTINGS, identity={})
    evaluate(Cell("m", "none", "tiny", 0, "de"), data["de"], index, tmp_path / "de.json", family="", contaminated=False)
    assert read_json(tmp_path / "de.json")["sentinels"] is None


@pytest.mark.parametrize("task", [questions, tiny.classification], ids=["open", "closed"])
def test_what_is_written_does_not_depend_on_the_other_languages(task, tmp_path: Path) -> None:
    """Not even where the vocabulary is pruned: an answer is one of all pieces, not of those of this job's languages."""
    start = tiny.text2text(tmp_path / "model")
    tensors = load_file(start.parent / "model.safetensors")
    tensors["lm_head.weight"].normal_(generator=torch.Generator().manual_seed(0))  # likes pieces of any language
    save_file(tensors, start.parent / "model.safetensors", metadata={"format": "pt"})
    write_record(start, read_json(start) | {"weights_sha256": digest_file(start.parent / "model.safetensors")})
    data = task(tmp_path / "data")
    predict(start, data, tmp_path / "all" / "predictions.json", SETTINGS, identity={})
    for language, path in data.items():
        index = tmp_path / language / "predictions.json"
        predict(start, {language: path}, index, SETTINGS, identity={})
        assert digest_file(index.parent / f"{language}.json") == digest_file(tmp_path / "all" / f"{language}.json")


def test_a_metric_of_its_own_where_the_model_writes_text(source: Source, tmp_path: Path) -> None:
    """Tagging is scored by strings where the model writes them, and by positions on an encoder; the cell says which."""
    tokens = ["light", "in", "kitchen"]
    row = {"id": "0", "split": "test", "tokens": tokens, "tags": ["O", "O", "B-AREA"], "space_after": None}
    rows = [row, {**row, "id": "1", "tags": ["B-AREA", "O", "O"]}]
    about = tiny.about("slots", "de", ["span_f1", "token_accuracy"], text2text={"metrics": ["surface_f1", "span_f1"]})
    data = tmp_path / "de.parquet"
    written = write_rows(data, "tagging", rows, about, labels=["O", "B-AREA", "I-AREA"])
    named = {}
    for interface in ("text2text", "encoder"):
        index = tmp_path / interface / "predictions.json"
        tags = [["O", "O", "B-AREA"], ["O", "O", "O"]]
        spans = [{"tags": t, "spans": [["AREA", "kitchen"]]} for t in tags]
        predictions = spans if interface == "text2text" else tags
        found = {"data_sha256": written.sha256, "tokens": 1, "sentinels": None}
        seal = write_record(index.parent / "de.json", {**found, "ids": ["0", "1"], "predictions": predictions})
        facts = {"checkpoint_sha256": "", "learned": True, "train_tokens": 0, "train_updates": 0}
        index_of = {**dict.fromkeys(RUN), "interface": interface, "languages": {"de": {SEAL: seal}}}
        write_record(index, {**index_of, **facts})
        evaluate(
            Cell("m", "none", "slots", 0, "de"), data, index, index.parent / "cell.json", family="", contaminated=False
        )
        named[interface] = read_json(index.parent / "cell.json")
    assert (named["text2text"]["metric"], named["encoder"]["metric"]) == ("surface_f1", "span_f1")
    assert named["text2text"]["metrics"] == pytest.approx({"surface_f1": 50.0, "span_f1": 200 / 3})
    assert list(named["encoder"]["metrics"]) == ["span_f1", "token_accuracy"]
    assert np.isclose(named["encoder"]["score"], 200 / 3)
