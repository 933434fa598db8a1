"""Words and sub-words: long sentences and contexts in windows, words of which nothing is left, and what they cost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.kinds.span_qa import MAX_ANSWER, best_within, within_reach
from stiltsweep.metrics import metric
from stiltsweep.models import tokenizer_files
from stiltsweep.models.batches import Dense, collate
from stiltsweep.models.load import Source, build
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import run
from stiltsweep.records import Meta

REPRESENTATION = Representation("mean", -1, "mean", "")
POS = ("NOUN", "VERB", "ADP", "PUNCT")
SHORT = Limits(24, 8, 64)
PLACES = ("O", "B-PLACE", "I-PLACE")


def make(source: Source, kind: str, labels: tuple[str, ...] = (), limits: Limits = SHORT):
    about = Meta("t", "en", kind, list(labels), ["accuracy"], {}, "0", "none")
    tokenizer = Tokenizer.from_directory(source.base)
    return form(about, tokenizer, interface=source.interface, limits=limits, representation=REPRESENTATION)


def sentence(tokens: list[str], tags: list[str], spaces: bool = True) -> dict[str, object]:
    return {"id": "1", "tokens": tokens, "tags": tags, "space_after": [spaces] * len(tokens)}


LONG = {
    "en": (["kitchen", "in", "garage", "!"] * 25, True),
    "th": (["ห้องครัว", "ใน", "ห้องนอน", "ที่"] * 20, True),
    "zh": (["厨房", "里", "车", "库"] * 30, False),
    "ar": (["المطبخ", "في", "الضوء", "؟"] * 20, True),
    "tr": (["IŞIĞI", "mutfaktaki", "İ", "ı"] * 20, True),
    "combining": (["Ku\u0308che", "cafe\u0301", "n\u0303", "x"] * 20, True),
}


@pytest.mark.parametrize("language", LONG)
def test_long_sentences_keep_every_tag(language: str, encoder: Source) -> None:
    """An oracle in every window gets every word right, and words that share a piece share their answer."""
    tokens, spaces = LONG[language]
    # Neighbours that share a piece (Chinese) can only have one tag: tags change every four words.
    tags = [POS[index // 4 % 4] for index in range(len(tokens))]
    row = sentence(tokens, tags, spaces)
    kind = make(encoder, "tagging", POS)
    (example,), (learnt,) = (kind.encode([row], training=training) for training in (False, True))
    assert len(example.inputs) > 2
    assert all(len(one.ids) <= 24 for one in example.inputs)
    answers = [dict(window) for window in learnt.labels]
    raw = [(token, answers[w][position]) for w, window in enumerate(example.align) for token, position in window]
    (found,) = kind.decode([row], [example], [raw])
    assert found == tags


def test_every_word_is_decided_where_it_has_context(encoder: Source) -> None:
    """At least half of the overlap lies on both sides of a word's first piece, or the sentence's end does."""
    tokens, _ = LONG["en"]
    kind = make(encoder, "tagging", POS)
    (example,) = kind.encode([sentence(tokens, ["NOUN"] * len(tokens))], training=False)
    last = len(example.inputs) - 1
    for number, (one, window) in enumerate(zip(example.inputs, example.align, strict=True)):
        for _, position in window:
            before, after = position - 1, len(one.ids) - 2 - position
            assert before >= 8 // 2 - 1 or number == 0
            assert after >= 8 // 2 - 1 or number == last


def test_windows_of_one_sentence_reach_the_model_together(encoder: Source) -> None:
    """What a model says of a long sentence is what it says of the windows one by one."""
    tokens, _ = LONG["en"]
    rows = [sentence(tokens, ["NOUN"] * len(tokens)), sentence(tokens[:3], ["NOUN"] * 3)]
    kind = make(encoder, "tagging", POS)
    examples = kind.encode(rows, training=False)
    model = build(encoder, kind, kept=None, seed=1)
    predictions = kind.decode(rows, examples, run(model, examples, 512))
    assert [len(found) for found in predictions] == [len(tokens), 3]
    model.eval()
    for example, predicted in zip(examples, predictions, strict=True):
        for one, window in zip(example.inputs, example.align, strict=True):
            with torch.inference_mode():
                hidden = model.backbone(torch.tensor([one.ids])).last_hidden_state
                assert model.head is not None
                tags = model.head(hidden)[0].argmax(-1).tolist()
            for token, position in window:
                assert predicted[token] == POS[tags[position]]


@pytest.mark.parametrize("nothing", ["\u200b", "\u00ad", "\u200f"])
def test_a_word_of_which_nothing_is_left_is_an_error(nothing: str, encoder: Source) -> None:
    """Its neighbours keep their own answers; it has none, and that is wrong whatever its tag is."""
    row = sentence(["kitchen", nothing, "garage"], ["NOUN", "NOUN", "VERB"])
    kind = make(encoder, "tagging", POS)
    (example,) = kind.encode([row], training=False)
    assert [token for window in example.align for token, _ in window] == [0, 2]
    (learnt,) = kind.encode([row], training=True)
    assert kind.weight(learnt) == 2.0
    (found,) = kind.decode([row], [example], [[(0, 0), (2, 1)]])
    assert found == ["NOUN", "O", "VERB"]
    assert metric("token_accuracy").statistics(row, found, "en") == (3.0, 2.0)
    assert metric("span_f1").statistics(row, found, "en") == (1.0, 1.0, 1.0)
    # Where there is a tag for it, it is outside of every span.
    named = sentence(["kitchen", nothing, "garage"], ["B-PLACE", "O", "B-PLACE"])
    kind = make(encoder, "tagging", PLACES)
    (example,) = kind.encode([named], training=False)
    assert kind.decode([named], [example], [[(0, 1), (2, 1)]]) == [named["tags"]]


def test_names_beyond_the_longest_input_are_missed(text_model: Source) -> None:
    """A model that writes text reads the beginning of a long sentence; what it cannot see counts against it."""
    tokens = ["kitchen", "in"] * 30 + ["garage"]
    row = sentence(tokens, ["B-PLACE", "O"] * 30 + ["B-PLACE"])
    kind = make(text_model, "tagging", PLACES, Limits(24, 8, 24))
    (example,) = kind.encode([row], training=False)
    assert len(example.inputs[0].ids) == 24
    found = kind.text.parse(row, " $$ ".join(["PLACE: kitchen"] * 5))
    assert metric("surface_f1").statistics(row, found, "en") == (5.0, 0.0, 26.0)
    assert metric("span_f1").statistics(row, found, "en") == (5.0, 0.0, 26.0)
    assert metric("token_accuracy").statistics(row, found, "en") == (61.0, 30.0 + 5.0)


# Span QA


@pytest.mark.parametrize(("apart", "expected"), [(MAX_ANSWER - 1, True), (MAX_ANSWER, False)])
def test_no_answer_is_longer_than_the_bound_in_characters(apart: int, expected: bool, tmp_path: Path) -> None:
    """The same for pieces and for bytes: the highest start and end are an answer if they are within reach."""
    extra = [f"<extra_id_{n}>" for n in range(125)]
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer_files.save(tokenizer_files.byte_level(list(special.values()), extra), special, tmp_path)
    context = "ก" * (2 * MAX_ANSWER)  # three bytes each
    row = {"id": "1", "context": context, "question": "?", "answers": []}
    about = Meta("t", "th", "span_qa", [], ["squad_em"], {}, "0", "none")
    kind = form(
        about,
        Tokenizer.from_directory(tmp_path),
        interface="encoder",
        limits=Limits(2048, 512, 8),
        representation=REPRESENTATION,
    )
    (example,) = kind.encode([row], training=False)
    first, _ = example.align[0]
    logits = torch.full((1, len(example.inputs[0].ids), 2), -5.0)
    logits[0, first + 30, 0] = 9.0
    logits[0, first + 30 + 3 * apart + 2, 1] = 9.0
    model = SimpleNamespace(hidden=lambda batch: logits, head=lambda hidden: hidden)
    batch = collate([example], Dense(None, 0), torch.device("cpu"), token_types=False)
    ((score, start, end, _),) = kind.predict(model, batch)[0]
    (found,) = kind.decode([row], [example], [[(score, start, end, 0.0)]])
    assert (score == 18.0) is expected and len(found) <= MAX_ANSWER
    assert (found == "ก" * MAX_ANSWER) is expected


def test_the_best_within_reach_is_that_of_trying_all() -> None:
    generator = torch.Generator().manual_seed(0)
    for length in (1, 2, 3, 17, 64):
        values = torch.randint(0, 6, (4, length), generator=generator).float()
        firsts, lasts = torch.randint(0, length, (2, 4, length), generator=generator)
        found, where = best_within(values, firsts, lasts)
        for b in range(4):
            for i in range(length):
                reach = values[b, int(firsts[b, i]) : int(lasts[b, i]) + 1]
                if len(reach):
                    assert (found[b, i], where[b, i] - firsts[b, i]) == (reach.max(), reach.argmax())
                else:
                    assert found[b, i] < -1e9


def test_an_answer_may_end_within_the_bound_and_where_something_is_said() -> None:
    """Of each piece the first and last end; a piece without width stands for white space."""
    offsets = [(0, 0), (0, 3), (3, 100), (100, 100), (100, 150), (150, 400), (400, 400)]
    firsts, lasts = within_reach(offsets)
    assert firsts.tolist() == [1, 1, 2, 4, 4, 5, 6]
    assert lasts.tolist() == [4, 4, 4, 4, 4, 5, -1]  # 160 characters; the piece of 250 is an answer by itself


# (language, context, gold answer): 40 and 39 bytes of letters, in contexts of published data.
BYTES = [
    ("hi", "कार्यक्रम वाशिंगटन में राष्ट्रपति भवन के सामने हुआ।", "राष्ट्रपति भवन"),
    ("ru", "Игра прошла на стадионе имени Ленина в Санта-Кларе.", "стадионе имени Ленина"),
]


@pytest.mark.parametrize(("language", "context", "gold"), BYTES)
def test_a_byte_encoder_that_scores_the_gold_answers_it(language: str, context: str, gold: str, tmp_path: Path) -> None:
    extra = [f"<extra_id_{n}>" for n in range(125)]
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer_files.save(tokenizer_files.byte_level(list(special.values()), extra), special, tmp_path)
    about = Meta("t", language, "span_qa", [], ["squad_em"], {}, "0", "none")
    kind = form(
        about,
        Tokenizer.from_directory(tmp_path),
        interface="encoder",
        limits=Limits(64, 48, 8),  # several windows
        representation=REPRESENTATION,
    )
    row = {"id": "1", "context": context, "question": "?", "answers": [{"text": gold, "start": context.index(gold)}]}
    (example,) = kind.encode([row], training=True)
    logits = torch.full((len(example.inputs), max(len(one.ids) for one in example.inputs), 2), -5.0)
    for window, (start, end) in enumerate(example.labels):
        logits[window, start, 0] = logits[window, end, 1] = 5.0
    model = SimpleNamespace(hidden=lambda batch: logits, head=lambda hidden: hidden)
    batch = collate([example], Dense(None, 0), torch.device("cpu"), token_types=False)
    assert kind.decode([row], [example], kind.predict(model, batch)) == [gold]


def test_the_best_window_answers(encoder: Source) -> None:
    """A long context: the span of the highest score of all windows, in the context's own characters."""
    context = "turn on the light in the kitchen. " * 4 + "Küche, cafe\u0301 — ห้องครัว. " + "what time is it? " * 4
    row = {"id": "1", "context": context, "question": "where?", "answers": []}
    kind = make(encoder, "span_qa", limits=Limits(32, 12, 8))
    (example,) = kind.encode([row], training=False)
    assert len(example.inputs) > 3
    assert all(len(one.ids) <= 32 for one in example.inputs)
    place = context.index("ห้องครัว")
    held = [
        (w, [i for i, (a, b) in enumerate(offsets) if a < place + 8 and b > place])
        for w, (_, offsets) in enumerate(example.align)
    ]
    window, inside = max(held, key=lambda one: len(one[1]))
    raw = [(0.5, 0, 0, 0.0)] * len(example.inputs)
    raw[window] = (0.6, inside[0], inside[-1], 9.0)
    (found,) = kind.decode([row], [example], [raw])
    assert "ห้องครัว" in found
    covered = {i for _, offsets in example.align for a, b in offsets for i in range(a, b)}
    assert all(i in covered for i, c in enumerate(context) if not c.isspace())
