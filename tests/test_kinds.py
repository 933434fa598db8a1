"""Kinds of task: windows, alignment of sub-words in several scripts, decoding, and both forms learning something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from stiltsweep.errors import UserError
from stiltsweep.kinds import Limits, Representation, form, text2text
from stiltsweep.kinds.base import cut_pair, windows
from stiltsweep.kinds.tagging import TaggingText, first_pieces
from stiltsweep.kinds.text2text import fill
from stiltsweep.models.batches import Dense, by_budget, collate
from stiltsweep.models.load import Source, build, kept_ids
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import run
from stiltsweep.records import Meta, text_and_spans

LIMITS = Limits(max_length=32, stride=4, max_target_length=16)
REPRESENTATION = Representation("mean", -1, "mean", "")
LABELS = ["O", "B-AREA", "I-AREA", "B-TIME", "I-TIME"]


def meta(kind: str, labels: list[str] = (), **more: object) -> Meta:  # type: ignore[assignment]
    return Meta("t", "en", kind, list(labels), ["accuracy"], {}, "0", "none", **more)  # type: ignore[arg-type]


def make(source: Source, about: Meta, limits: Limits = LIMITS):
    tokenizer = Tokenizer.from_directory(source.base)
    return form(about, tokenizer, interface=source.interface, limits=limits, representation=REPRESENTATION)


# Windows and cutting


@pytest.mark.parametrize(
    ("length", "room", "stride", "expected"),
    [
        (3, 10, 2, [(0, 3)]),
        (10, 10, 2, [(0, 10)]),
        (11, 10, 2, [(0, 10), (8, 11)]),
        (25, 10, 4, [(0, 10), (6, 16), (12, 22), (18, 25)]),
        (5, 2, 5, [(0, 2), (1, 3), (2, 4), (3, 5)]),  # a stride as large as the window still moves on
    ],
)
def test_windows_cover_everything(length: int, room: int, stride: int, expected: list[tuple[int, int]]) -> None:
    assert windows(length, room, stride) == expected


def test_a_pair_loses_from_its_longer_text_first() -> None:
    first, second = cut_pair(range(10), range(4), 9)
    assert (len(first), len(second)) == (5, 4)
    first, second = cut_pair(range(10), range(10), 7)
    assert (len(first), len(second)) == (4, 3)
    assert cut_pair([1], [2], 5) == ([1], [2])


# Alignment


def test_tokens_and_sub_words_meet_by_characters() -> None:
    # Two Chinese characters in one piece, a word in two pieces, and a token the tokenizer dropped.
    spans = [(0, 1), (1, 2), (2, 5), (5, 6)]
    offsets = [(0, 0), (0, 2), (2, 4), (4, 5)]
    assert first_pieces(spans, offsets) == [1, 1, 2, -1]


SENTENCES = {
    "zh": (list("打开厨房的灯"), [False] * 6, ["O", "O", "B-AREA", "I-AREA", "O", "O"]),
    # A space before the span: where a sub-word reaches over a span's edge, no tagger on sub-words can find it.
    "th": (
        ["ปิ", "ด", "ไ", "ฟ", "ห้", "อ", "ง"],
        [False] * 3 + [True] + [False] * 3,
        ["O"] * 4 + ["B-AREA", *["I-AREA"] * 2],
    ),
    "ar": (["أطفئ", "الضوء", "في", "المطبخ"], [True] * 4, ["O", "O", "O", "B-AREA"]),
    "he": (["כבה", "את", "האור", "במטבח"], [True] * 4, ["O", "O", "O", "B-AREA"]),
    "tr": (["mutfaktaki", "ışığı", "aç", "!"], [True, True, False, True], ["B-AREA", "O", "O", "O"]),
    "combining": (["Ku\u0308che", "an"], [True, True], ["B-AREA", "O"]),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_gold_tags_survive_encoding_and_decoding(name: str, encoder: Source) -> None:
    """An oracle that answers every position with its gold tag gets every token right, in any script."""
    tokens, spaces, tags = SENTENCES[name]
    row = {"id": "1", "split": "test", "tokens": tokens, "tags": tags, "space_after": spaces}
    kind = make(encoder, meta("tagging", LABELS))
    (example,) = kind.encode([row], training=False)
    (learnt,) = kind.encode([row], training=True)
    answers = {(window, position): label for window, w in enumerate(learnt.labels) for position, label in w}
    raw = [(token, answers[window, position]) for window, w in enumerate(example.align) for token, position in w]
    assert kind.decode([row], [example], [raw]) == [tags]


def test_text_is_rebuilt_with_its_spaces() -> None:
    text, spans = text_and_spans({"tokens": ["a", "b", "!"], "space_after": [True, False, True], "tags": []})
    assert text == "a b!"
    assert spans == [(0, 1), (2, 3), (3, 4)]


def test_a_long_sentence_is_windowed_and_no_token_is_lost(encoder: Source) -> None:
    tokens = ["kitchen", "light"] * 60
    row = {"id": "1", "split": "test", "tokens": tokens, "tags": ["O"] * len(tokens), "space_after": None}
    kind = make(encoder, meta("tagging", LABELS))
    (example,) = kind.encode([row], training=True)
    assert len(example.inputs) > 3
    assert all(len(one.ids) <= LIMITS.max_length for one in example.inputs)
    assert sorted(token for window in example.align for token, _ in window) == list(range(len(tokens)))
    assert kind.weight(example) == len(tokens)


# Span QA


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("turn on the light in the kitchen. what time is it in the garage.", "garage"),
        ("打开厨房的灯。关掉卧室的灯。", "卧室"),
        ("เปิดไฟในห้องครัว ห้องนอน ปิดไฟ", "ห้องนอน"),
        ("أطفئ الضوء في المطبخ", "المطبخ"),
        ("כבה את האור במטבח", "האור"),
    ],
)
@pytest.mark.parametrize("max_length", [24, 64])
def test_gold_answers_survive_encoding_and_decoding(
    context: str, answer: str, max_length: int, encoder: Source
) -> None:
    """An oracle that points at the gold pieces gets back a text that holds the answer, windows or not."""
    start = context.index(answer)
    row = {"id": "1", "context": context, "question": "where?", "answers": [{"text": answer, "start": start}]}
    kind = make(encoder, meta("span_qa"), Limits(max_length, 6, 16))
    (example,) = kind.encode([row], training=True)
    raw = []
    for (first, _), (begin, end) in zip(example.align, example.labels, strict=True):
        raw.append((0.0, 0, 0, 0.0) if (begin, end) == (0, 0) else (9.0, begin - first, end - first, 0.0))
    assert max(part[0] for part in raw) == 9.0
    (found,) = kind.decode([row], [example], [raw])
    assert answer in found
    assert len(found) <= len(answer) + 6  # a piece may reach over the answer's edge, a sentence may not


def test_no_answer_wins_only_where_training_had_such_questions(encoder: Source) -> None:
    row = {"id": "1", "context": "turn on the light", "question": "who?", "answers": []}
    kind = make(encoder, meta("span_qa"))
    (example,) = kind.encode([row], training=False)
    raw = [[(1.0, 0, 0, 5.0)]]
    assert kind.decode([row], [example], raw) != [""]
    kind.learn_options([row])
    assert kind.decode([row], [example], raw) == [""]


def test_best_span_is_the_best_of_all_spans(encoder: Source) -> None:
    """The search by widths finds what trying every pair finds."""
    rows = [
        {"id": str(i), "context": text, "question": "what?", "answers": []} for i, text in enumerate(tiny.SENTENCES[:6])
    ]
    kind = make(encoder, meta("span_qa"), Limits(100, 4, 16))
    examples = kind.encode(rows, training=False)
    model = build(encoder, kind, kept=None, seed=3)
    raw = run(model, examples, 10_000)
    batch = collate(examples, model.dense, torch.device("cpu"), token_types=False)
    model.eval()
    with torch.inference_mode():
        logits = kind._logits(model, batch).numpy()
    for index, (example, parts) in enumerate(zip(examples, raw, strict=True)):
        first, offsets = example.align[0]
        inside = range(first, first + len(offsets))
        best = max((logits[index, s, 0] + logits[index, e, 1], s, e) for s in inside for e in inside if s <= e < s + 30)
        assert parts[0][0] == pytest.approx(best[0], abs=1e-4)


# Retrieval


def test_a_text_finds_itself(encoder: Source) -> None:
    rows = [
        {"id": f"{side}{i}", "side": side, "text": text, "gold": [f"candidate{i}"] if side == "query" else []}
        for side in ("query", "candidate")
        for i, text in enumerate(tiny.SENTENCES[:8])
    ]
    kind = make(encoder, meta("retrieval"))
    examples = kind.encode(rows, training=False)
    model = build(encoder, kind, kept=None, seed=0)
    found = kind.decode(rows, examples, run(model, examples, 512))
    assert [f[0] for f in found[:8]] == [f"candidate{i}" for i in range(8)]
    assert found[8:] == [None] * 8


# Batches and pruning


def test_batches_keep_to_the_budget(encoder: Source) -> None:
    kind = make(encoder, meta("classification", ["a", "b"]))
    rows = [{"text_a": text, "text_b": None, "label": "a"} for text in tiny.SENTENCES]
    examples = kind.encode(rows, training=True)
    batches = list(by_budget(examples, 60))
    assert [e.row for batch in batches for e in batch] == list(range(len(rows)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(e.length for e in batch) <= 60


def test_pruning_the_vocabulary_changes_no_hidden_state(encoder: Source) -> None:
    kind = make(encoder, meta("classification", ["a", "b"]))
    examples = kind.encode([{"text_a": t, "text_b": None, "label": "a"} for t in tiny.SENTENCES[:5]], training=True)
    kept = kept_ids((i for e in examples for i in kind.used_ids(e)), encoder)
    assert len(kept) < encoder.about["vocabulary_size"]
    states = []
    for ids in (None, kept):
        model = build(encoder, kind, kept=ids, seed=0).eval()
        with torch.inference_mode():
            states.append(model.hidden(collate(examples, model.dense, torch.device("cpu"), token_types=False)))
    assert torch.equal(*states)


def test_an_id_that_was_not_kept_is_a_bug() -> None:
    dense = Dense(np.array([0, 1, 5]), 1)
    assert dense.of([5, 0]).tolist() == [2, 0]
    assert dense.full([2, 0]) == [5, 0]
    for outside in ([4], [9]):
        with pytest.raises(KeyError):
            dense.of(outside)


# Text to text


def test_templates_name_real_columns() -> None:
    assert fill("premise: {text_a} hypothesis: {text_b}", {"text_a": "A", "text_b": None}) == "premise: A hypothesis:"
    with pytest.raises(UserError, match="text_c"):
        fill("{text_c}", {"text_a": "A"})


def test_typed_strings_go_back_to_their_places() -> None:
    row = {
        "tokens": ["light", "in", "kitchen", "and", "light", "at", "noon"],
        "tags": ["O", "O", "B-AREA", "O", "O", "O", "B-TIME"],
        "space_after": None,
    }
    text = TaggingText(meta("tagging", LABELS))
    assert text.target(row) == "AREA: kitchen $$ TIME: noon"
    found = text.parse(row, text.target(row))
    assert found["tags"] == row["tags"]
    found = text.parse(row, "AREA: garage $$ TIME: noon $$ nonsense $$ PERSON: light")
    assert found["tags"] == ["O"] * 6 + ["B-TIME"]  # not in the sentence, no colon, no such type: no place
    assert found["spans"] == [["AREA", "garage"], ["TIME", "noon"], ["PERSON", "light"]]
    assert text.parse(row, "O")["tags"] == ["O"] * 7


@pytest.mark.parametrize("pack", [1, 9, 128])
def test_label_likelihood_is_that_of_scoring_one_label_at_a_time(
    text_model: Source, monkeypatch: pytest.MonkeyPatch, pack: int
) -> None:
    """All labels of a row, in one sequence of the decoder or cut into several, score as each does by itself."""
    labels = ["on", "off", "turn on the light", "warm"]
    kind = make(text_model, meta("classification", labels))
    assert isinstance(kind, text2text.TextToText)
    rows = [{"text_a": t, "text_b": None, "label": "on"} for t in tiny.SENTENCES[:6]]
    examples = kind.encode(rows, training=False)
    model = build(text_model, kind, kept=None, seed=0).eval()
    monkeypatch.setattr(text2text, "_PACK", pack)
    monkeypatch.setattr(text2text, "_MOST_PAIRS", 3 * pack**2)
    batch = collate(examples, model.dense, torch.device("cpu"), token_types=False)
    with torch.no_grad():
        found = kind.likelihoods(model, batch)
        expected = [
            -len(choice)
            * model.backbone(input_ids=torch.tensor([example.inputs[0].ids]), labels=torch.tensor([choice])).loss.item()
            for example in examples
            for choice in example.align
        ]
    assert len(set(expected)) == len(expected)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-4)
    chosen = kind.decode(rows, examples, run(model, examples, 10_000))
    assert chosen == [labels[int(np.argmax(expected[at : at + 4]))] for at in range(0, len(expected), 4)]


def test_generation_is_that_of_transformers(text_model: Source) -> None:
    kind = make(text_model, meta("span_qa"))
    rows = [{"context": t, "question": "where?", "answers": [{"text": t[:4], "start": 0}]} for t in tiny.SENTENCES[:4]]
    examples = kind.encode(rows, training=False)
    model = build(text_model, kind, kept=None, seed=0)
    raw = run(model, examples, 10_000)
    for example, (ids, *_) in zip(examples, raw, strict=True):
        whole = model.backbone.generate(
            torch.tensor([example.inputs[0].ids]),
            max_new_tokens=16,
            do_sample=False,
            suppress_tokens=text_model.about["sentinels"],
        )[0].tolist()
        assert ids == [i for i in whole if i not in (0, 1)]
        assert not set(ids) & set(text_model.about["sentinels"])


@pytest.mark.parametrize("interface", ["encoder", "text2text"])
def test_a_label_outside_the_choices_cannot_be_predicted(interface: str, encoder: Source, text_model: Source) -> None:
    source = encoder if interface == "encoder" else text_model
    labels = ["a", "b", "c"]
    kind = make(source, meta("classification", labels))
    rows = [{"text_a": t, "text_b": "light", "label": "a"} for t in tiny.SENTENCES]
    examples = kind.encode(rows, training=False)
    assert set(kind.decode(rows, examples, run(build(source, kind, kept=None, seed=0), examples, 64))) <= set(labels)


def test_multiple_choice_scores_each_rows_own_choices(encoder: Source, text_model: Source) -> None:
    rows = [
        {"context": "turn on the light", "question": None, "choices": ["kitchen", "garage", "office"], "label": 2},
        {"context": "how warm", "question": "where?", "choices": ["bedroom", "lamp"], "label": 0},
    ]
    for source in (encoder, text_model):
        kind = make(source, meta("multiple_choice"))
        examples = kind.encode(rows, training=False)
        model = build(source, kind, kept=None, seed=0)
        together = kind.decode(rows, examples, run(model, examples, 10_000))
        apart = [kind.decode([row], [e], run(model, [e], 64))[0] for row, e in zip(rows, examples, strict=True)]
        assert together == apart
        assert together[0] in (0, 1, 2)
        assert together[1] in (0, 1)


def test_pruned_checkpoint_has_the_base_rows_for_pieces_it_never_saw(tmp_path: Path) -> None:
    """Save with a pruned, changed embedding; load with other pieces: trained rows are trained, the others pretrained."""
    from stiltsweep.files import write_record
    from stiltsweep.models.load import save_checkpoint, weights

    source = Source.read(tiny.encoder(tmp_path / "models"))
    kind = make(source, meta("classification", ["a", "b"]))
    kept = np.array([0, 1, 2, 3, 10, 11, 12], dtype=np.int64)
    model = build(source, kind, kept=kept, seed=0)
    name = source.about["embedding"]
    with torch.no_grad():
        model.backbone.get_input_embeddings().weight.add_(1.0)
    digests = save_checkpoint(tmp_path / "checkpoint", model, source, [name])
    write_record(tmp_path / "checkpoint" / "checkpoint.json", {"base": "../models", "seed": 0, **digests})
    trained = Source.read(tmp_path / "checkpoint" / "checkpoint.json")
    other = np.array([0, 1, 2, 3, 5, 11, 20], dtype=np.int64)
    base, overlaid = weights(source, other)[name], weights(trained, other)[name]
    changed = torch.tensor([i in kept for i in other])
    assert torch.allclose(overlaid[changed], base[changed] + 1.0)
    assert torch.equal(overlaid[~changed], base[~changed])
    whole = weights(trained, None)[name]
    assert torch.equal(whole[torch.from_numpy(other)], overlaid)


def test_an_output_layer_of_its_own_is_loaded_as_such(text_model: Source) -> None:
    """transformers 5 ties mT5's output layer to its embedding; ours must keep both, and their gradients apart."""
    from safetensors import safe_open

    model = build(text_model, make(text_model, meta("classification", ["a", "b"])), kept=None, seed=0)
    with safe_open(text_model.base / "model.safetensors", "pt") as handle:
        output, embedding = handle.get_tensor("lm_head.weight"), handle.get_tensor("shared.weight")
    assert not torch.equal(output, embedding)
    assert torch.equal(model.backbone.lm_head.weight, output)
    for module in (model.backbone.shared, model.backbone.encoder.embed_tokens, model.backbone.decoder.embed_tokens):
        assert torch.equal(module.weight, embedding)


def test_span_corruption_by_hand(text_model: Source) -> None:
    from stiltsweep.kinds.span_corruption import corrupted_spans

    rng = np.random.default_rng(0)
    for length in range(3, 60):
        spans = corrupted_spans(length, rng)
        assert spans and spans[-1][1] <= length
        assert all(a < b for a, b in spans)
        assert all(first[1] < second[0] for first, second in zip(spans, spans[1:], strict=False))
        assert sum(b - a for a, b in spans) == max(1, round(length * 0.15))
    kind = make(text_model, meta("text"), Limits(100, 4, 100))
    row = {"id": "7", "text": tiny.SENTENCES[0]}
    (example,) = kind.encode([row], training=True)
    source, target = example.inputs[0].ids[:-1], example.target[:-1]
    sentinels = text_model.about["sentinels"]
    holes: dict[int, list[int]] = {}
    for i in target:
        if i in sentinels:
            holes[i] = []
        else:
            holes[list(holes)[-1]].append(i)
    rebuilt = [j for i in source for j in (holes[i] if i in sentinels else [i])]
    assert rebuilt == kind.tokenizer.pieces([row["text"]])[0].ids
    assert list(holes) == sentinels[: len(holes)]
