"""What is cut is counted: against the tokenizer itself, for every kind and both interfaces, from inputs to the report."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_training import a_run

import tiny
from report_fixtures import comparison, description, write_lift
from stiltsweep import cuts
from stiltsweep.evaluation import evaluate
from stiltsweep.files import read_json, write_json, write_record
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.kinds.base import Layout, shorten
from stiltsweep.layout import Cell
from stiltsweep.models.batches import Example
from stiltsweep.models.load import Source
from stiltsweep.models.task_model import Generated
from stiltsweep.models.tokenizer import Pieces, Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import Meta, Row, write_rows
from stiltsweep.report.answer import answer
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run
from stiltsweep.report.tables import build
from stiltsweep.settings import PredictionSettings
from stiltsweep.training import loop

SHORT, LONG = "turn on the light", "turn on the light in the kitchen " * 6 + "office"
REPRESENTATION = Representation("mean", -1, "mean", "query: ")
LIMITS = Limits(max_length=32, stride=4, max_target_length=8)

ROWS: dict[str, list[Row]] = {
    "classification": [
        {"text_a": a, "text_b": b, "label": "on"}
        for a, b in ((SHORT, None), (LONG, None), (SHORT, SHORT), (SHORT, LONG), (LONG, LONG))
    ],
    "multiple_choice": [
        {"context": context, "question": question, "choices": [SHORT, "how warm is the office"], "label": 1}
        for context, question in (("lamp", "what"), (LONG, "what time"), (LONG, None), ("lamp", LONG))
    ],
    "tagging": [
        {"tokens": text.split(), "tags": ["O"] * len(text.split()), "space_after": None} for text in (SHORT, LONG)
    ],
    "span_qa": [
        {"context": context, "question": question, "answers": [{"text": "light", "start": context.index("light")}]}
        for context, question in ((SHORT, "what"), (LONG, "what"), (SHORT, LONG))
    ],
    "retrieval": [
        {"text": text, "side": side, "gold": ["1"] if side == "query" else []}
        for text, side in ((SHORT, "query"), (LONG, "candidate"), (LONG, "query"), (SHORT, "candidate"))
    ],
    "text": [{"text": text} for text in (SHORT, LONG)],
}
KINDS = [(kind, "encoder") for kind in [*ROWS, "mining"]] + [
    (kind, "text2text") for kind in ("classification", "multiple_choice", "tagging", "span_qa", "text")
]


def rows_of(kind: str) -> list[Row]:
    rows = ROWS["retrieval" if kind == "mining" else kind]
    return [{"id": str(number), "split": "test", **row} for number, row in enumerate(rows)]


def make(source: Source, kind: str, limits: Limits = LIMITS, **text: str) -> Any:
    labels = {"classification": ["on", "off"], "tagging": ["O", "B-AREA", "I-AREA"]}.get(kind, [])
    about = Meta("t", "en", kind, labels, ["accuracy"], {}, "0", "none", text2text=text)
    tokenizer = Tokenizer.from_directory(source.base)
    return form(about, tokenizer, interface=source.interface, limits=limits, representation=REPRESENTATION)


def held(example: Example, layout: Layout) -> int:
    """Return how many pieces of texts the inputs of an example hold, counted in the inputs."""
    special = {i for part in (*layout._one, *layout._two) for i in part}
    return sum(i not in special for one in example.inputs for i in one.ids)


@pytest.mark.parametrize(("kind", "interface"), KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_pieces_that_are_not_lost_are_in_the_inputs(
    kind: str, interface: str, training: bool, encoder: Source, text_model: Source
) -> None:
    """What a wide model reads and a narrow one does not is what the narrow one says it lost, example by example."""
    source = encoder if interface == "encoder" else text_model
    rows = rows_of(kind)
    if training and kind in ("retrieval", "mining"):
        rows[0]["gold"] = ["3"]
    wide, narrow = (make(source, kind, Limits(length, 4, 512)).encode(rows, training=training) for length in (1000, 32))
    layout = Layout(Tokenizer.from_directory(source.base))
    assert len(wide) == len(narrow) > 0
    for all_of_it, example in zip(wide, narrow, strict=True):
        assert all_of_it.cut.lost == 0 and example.cut.pieces == all_of_it.cut.pieces
        if len(example.inputs) == len(all_of_it.inputs) and (kind, interface) != ("text", "text2text"):
            # Masking and windows aside, pieces are in the inputs once.
            assert held(all_of_it, layout) == all_of_it.cut.pieces
            assert held(example, layout) == example.cut.pieces - example.cut.lost
        assert all(len(one.ids) <= 32 for one in example.inputs) or (kind, interface) == ("text", "text2text")
    counts = make(source, kind).cuts(narrow)
    many = [e for e in narrow if not e.cut.candidate]
    assert counts["inputs"] == len(many) and counts["inputs_cut"] == sum(e.cut.lost > 0 for e in many)
    assert counts["pieces_lost"] == sum(e.cut.lost for e in many)
    windowed = interface == "encoder" and kind == "tagging"
    assert (counts["inputs_cut"] > 0) is not windowed
    assert ("candidates_cut" in counts) is (kind in ("retrieval", "mining") and not training)


def test_cut_counts_by_hand(encoder: Source) -> None:
    """Pieces of a text less the places there are for them, by the tokenizer alone."""
    tokenizer = Tokenizer.from_directory(encoder.base)
    length = len(tokenizer.pieces([LONG])[0].ids)
    rows = [{"id": "0", "text_a": LONG, "text_b": None, "label": "on"}] * 2 + rows_of("classification")[:1]
    kind = make(encoder, "classification")
    short = len(tokenizer.pieces([SHORT])[0].ids)
    assert kind.cuts(kind.encode(rows, training=False)) == {
        "inputs": 3,
        "inputs_cut": 2,
        "pieces": 2 * length + short,
        "pieces_lost": 2 * (length - 30),  # <s> and </s> take two of the 32 places
    }


def test_a_part_gives_way_from_its_end() -> None:
    pieces = Pieces([1, 2, 3, 4, 5], [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])
    assert shorten(pieces, 5, [(0, 2)]) == [1, 2, 3, 4, 5]
    assert shorten(pieces, 4, [(1, 3)]) == [1, 2, 4, 5]
    assert shorten(pieces, 2, [(1, 3)]) == [1, 4]  # what gives way is gone: then the whole text from its end
    assert shorten(pieces, 2, [(1, 3), (0, 4)]) == [1, 5]
    assert shorten(pieces, 3, []) == [1, 2, 3]
    assert shorten(pieces, 0, [(0, 9)]) == []


@pytest.mark.parametrize("template", [None, "{question} {context}", "ask: {context}{question}"])
def test_choices_and_question_outlive_the_context(template: str | None, encoder: Source, text_model: Source) -> None:
    row = rows_of("multiple_choice")[1]
    tokenizer = Tokenizer.from_directory(encoder.base)
    (example,) = make(encoder, "multiple_choice").encode([row], training=False)
    for one, choice in zip(example.inputs, row["choices"], strict=True):
        read = tokenizer.decode(one.ids)
        assert len(one.ids) == 32 and read.endswith(choice) and row["question"] in read
        assert read.startswith("turn on") and "office" not in read.replace(choice, "")
    text = {} if template is None else {"template": template}
    kind = make(text_model, "multiple_choice", Limits(64, 4, 8), **text)
    (example,) = kind.encode([row], training=False)
    read = Tokenizer.from_directory(text_model.base).decode(example.inputs[0].ids)
    assert all(choice in read for choice in row["choices"])
    assert row["question"] in read and example.cut.lost > 0 and len(example.inputs[0].ids) == 64


def test_targets_that_are_cut_are_counted(encoder: Source, text_model: Source) -> None:
    rows = rows_of("span_qa")[:2]
    rows[1]["answers"] = [{"text": LONG[:120], "start": 0}]
    for source, limits in ((text_model, LIMITS), (encoder, Limits(24, 4, 8))):
        kind = make(source, "span_qa", limits)
        examples = kind.encode(rows, training=True)
        counts = kind.cuts(examples)
        assert (counts["targets"], counts["targets_cut"]) == (2, 1)
        lost = [example.cut.target_lost for example in examples]
        assert lost[0] == 0 and lost[1] == counts["target_pieces_lost"] > 0
        # An encoder learns of such an answer that no window holds it, a writer its beginning.
        if source is encoder:
            assert set(examples[1].labels) == {(0, 0)}
        else:
            assert len(examples[1].target) == 8


def test_answers_that_were_stopped_are_counted(text_model: Source) -> None:
    kind = make(text_model, "span_qa")
    rows = rows_of("span_qa")
    raw = [Generated([1], False, ended) for ended in (True, False, False)]
    counts = kind.cuts(kind.encode(rows, training=False), rows, raw, ["", "", ""])
    assert (counts["answers"], counts["answers_cut"]) == (3, 2)


def test_words_without_a_tag_are_counted(encoder: Source, text_model: Source) -> None:
    rows = rows_of("tagging")
    about = Meta("t", "en", "tagging", ["X", "Y"], ["accuracy"], {}, "0", "none")
    tokenizer = Tokenizer.from_directory(text_model.base)
    writer = form(about, tokenizer, interface="text2text", limits=LIMITS, representation=REPRESENTATION)
    examples = writer.encode(rows, training=False)
    unread = examples[1].cut.words_lost
    read = tokenizer.decode(examples[1].inputs[0].ids).replace("tag:", "").split()
    assert abs(len(rows[1]["tokens"]) - len(read) - unread) <= 1  # the last word read may be half a word
    raw = [Generated([], False, True)] * 2
    # Of the short sentence one tag is missing; of the long one as many as were not read, and more.
    counts = writer.cuts(examples, rows, raw, [["X"] * 3, ["X"] * 5])
    assert counts["words"] == 4 + 43 and counts["words_unpredicted"] == 1 + 38
    counts = writer.cuts(examples, rows, raw, [["X"] * 4, ["X"] * 43])
    assert counts["words_unpredicted"] == unread > 0
    # An encoder reads all windows, and misses what its tokenizer drops.
    row = {"id": "0", "split": "test", "tokens": ["light", "\u3000", "on"], "tags": ["O"] * 3, "space_after": None}
    kind = make(encoder, "tagging")
    counts = kind.cuts(kind.encode([row, rows[1]], training=False))
    assert (counts["words"], counts["words_unpredicted"], counts["inputs_cut"]) == (3 + 43, 1, 0)


SETTINGS = PredictionSettings(LIMITS, REPRESENTATION, 4096, prune=True)


def test_sixteen_long_texts_reach_predictions_cell_and_log(
    encoder: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = ["on", "off"]
    rows = [
        {"id": str(n), "split": "test", "text_a": LONG if n % 2 else SHORT, "text_b": None, "label": labels[n // 16]}
        for n in range(32)
    ]
    data, index = tmp_path / "de.parquet", tmp_path / "predictions" / "predictions.json"
    write_rows(data, "classification", rows, tiny.about("tiny", "de", ["accuracy"]), labels=labels)
    with caplog.at_level(logging.INFO):
        predict(encoder.base / "model.json", {"de": data}, index, SETTINGS, identity={})
    counts = read_json(index.parent / "de.json")["cut"]
    assert (counts["inputs"], counts["inputs_cut"]) == (32, 16) and counts["pieces_lost"] > 16
    assert f"16 of 32 inputs cut ({counts['pieces_lost']:,} of {counts['pieces']:,} pieces lost)" in caplog.text
    evaluate(Cell("m", "none", "tiny", 0, "de"), data, index, tmp_path / "c.json", family="", contaminated=False)
    assert read_json(tmp_path / "c.json")["cut"] == counts
    # Predictions that do not say what was cut are made again.
    old = read_json(index.parent / "de.json")
    write_json(index.parent / "de.json", {key: value for key, value in old.items() if key != "cut"})
    predict(encoder.base / "model.json", {"de": data}, index, SETTINGS, identity={})
    assert read_json(index.parent / "de.json") == old


def test_training_says_what_it_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = a_run(tmp_path)
    run = replace(run, settings=replace(run.settings, max_length=8, max_updates=2))
    loop.train(run)
    counts = read_json(run.output)["cut"]
    assert counts["inputs"] == 64 and 0 < counts["inputs_cut"] <= 64
    assert counts["pieces_lost"] < counts["pieces"]
    assert f"{counts['inputs_cut']} of 64 inputs cut" in caplog.text


# The report


def told(tmp_path: Path, shares: dict[str, tuple[int, int]], part: cuts.Part) -> tuple[str, list[list[Any]], Any]:
    """Return what a report keeps in mind, its table of cuts and its language column, for cut and counted things."""
    languages = list(shares)
    write_json(tmp_path / "run.json", description(languages=["en", *languages], intermediates=["pairs"], seeds=[0]))
    for code, (number, of) in shares.items():
        for arm in ("none", "pairs"):
            cell = {"model": "tiny", "intermediate": arm, "target": "intent", "seed": 0, "language": code}
            counts = {"inputs": of, "inputs_cut": 0, "pieces": 9 * of, "pieces_lost": 0}
            counts |= {part.total: of, part.cut: number} | dict.fromkeys(part.pieces, 9)
            more = {"score": 50.0, "metric": "accuracy", "n": of, "cut": counts}
            write_record(tmp_path / f"cells/tiny/{arm}/intent/seed0/{code}.json", cell | more)
    rows = [comparison(scope="language", grouping="language", group=code) for code in languages]
    results = Results.read(read_run(tmp_path / "run.json"), tmp_path, write_lift(tmp_path / "lift.csv", rows))
    (point,) = [point for point in answer(results).points if "keep in mind" in point.question]
    tables = build(results)
    column = [one.name for one in tables["per_language"].columns].index("inputs_cut")
    shown = {row[0]: row[column] for row in tables["per_language"].rows}
    return "\n".join(f"{d.label}: {d.text}" for d in point.details), [[*row] for row in tables["cut"].rows], shown


@pytest.mark.parametrize("part", cuts.TEST, ids=lambda part: part.total)
def test_the_answer_warns_where_types_are_cut_unlike(part: cuts.Part, tmp_path: Path) -> None:
    # Agglutinative: the mean of 6 and 1 per cent is 3.5; fusional: 1 per cent.
    mind, table, _ = told(tmp_path, {"fi": (12, 200), "tr": (1, 100), "de": (1, 100)}, part)
    assert f"3.5% (agglutinative) and 1.0% (fusional) {part.what} (means over languages)" in mind
    # Counts over both arms.
    assert ["tiny", "intent", "fi", "agglutinative", part.total, 400, 24, 6.0] in [row[:8] for row in table]


def test_no_warning_where_types_are_cut_alike(tmp_path: Path) -> None:
    mind, table, shown = told(tmp_path, {"fi": (40, 100), "de": (38, 100)}, cuts.TEST[0])
    assert "means over languages" not in mind
    assert len(table) == 2 and shown == {"Finnish": 40.0, "German": 38.0}


def test_nothing_is_cut_where_nothing_is_long(tmp_path: Path) -> None:
    mind, table, shown = told(tmp_path, {"fi": (0, 100), "de": (0, 100)}, cuts.TEST[0])
    assert table == [] and "means over" not in mind and set(shown.values()) == {0.0}
