"""Training on mixtures: proportions, masked language modelling, translated and shuffled data, runs that go on longer."""

from __future__ import annotations

import functools
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import tiny
from stiltsweep.errors import UserError
from stiltsweep.facts import KINDS
from stiltsweep.files import digest_file, read_json, write_record
from stiltsweep.kinds import Limits, Representation, form, shuffle_labels
from stiltsweep.kinds import masked_language as mlm
from stiltsweep.models import fetch
from stiltsweep.models.batches import collate
from stiltsweep.models.load import Source, build
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tensors import HEAD, read_tensors
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import Meta, Row, read_meta, read_rows, write_rows
from stiltsweep.settings import TrainingSettings
from stiltsweep.training import loop
from stiltsweep.training.mixture import Mixture
from stiltsweep.training.plan import Sampling, derived_seed, total_updates

REPRESENTATION = Representation("mean", -1, "mean", "")
SETTINGS = TrainingSettings(
    epochs=2, batch_size=8, learning_rate=5e-3, head_learning_rate=2e-2, max_length=48, micro_batch_tokens=128
)
TRAIN = Path(__file__).parents[1] / "workflow" / "scripts" / "train.py"
CPU = torch.device("cpu")
FILES = ("checkpoint.json", "model.safetensors", "history.jsonl")


@functools.cache
def _models() -> Path:
    # One model of each kind for all tests: the trainer of their vocabulary is not deterministic.
    folder = Path(tempfile.mkdtemp())
    tiny.encoder(folder / "encoder")
    tiny.text2text(folder / "text2text")
    return folder


def _choices(number: int) -> dict[str, Any]:
    rooms = tiny.ROOMS["en"] if number % 3 else tiny.ROOMS["en"][:3]
    right = number % len(rooms)
    return {"context": f"turn on the {rooms[right]}", "question": None, "choices": rooms, "label": right}


def _tags(number: int) -> dict[str, Any]:
    tokens = ["turn", "on", "the", tiny.ROOMS["en"][number % 4], str(number)]
    return {"tokens": tokens, "tags": ["O", "O", "O", "B-ROOM", "O"], "space_after": None}


def _span(number: int) -> dict[str, Any]:
    room = tiny.ROOMS["en"][number % 4]
    answers = [{"text": room, "start": 3}]
    return {"context": f"on {room} {number}", "question": f"which room {number}", "answers": answers}


def _command(number: int, language: str = "en") -> dict[str, Any]:
    label = list(tiny.PATTERNS["en"])[number % 4]
    rooms = tiny.ROOMS[language]
    text = tiny.PATTERNS[language][label].format(rooms[number // 4 % len(rooms)])
    return {"text_a": f"{text} {number}", "text_b": None, "label": label}


def _rows(make: Any, **splits: int) -> list[Row]:
    return [
        {"id": f"{split}{number}", "split": split, **make(number)} for split, n in splits.items() for number in range(n)
    ]


def _write(path: Path, kind: str, rows: list[Row], labels: list[str], metrics: list[str]) -> Path:
    write_rows(path, kind, rows, tiny.about(path.parent.name, path.stem, metrics), labels=labels)
    return path


COMMANDS = list(tiny.PATTERNS["en"])


def data(folder: Path) -> dict[str, list[Path]]:
    """Write four small tasks; return task -> files."""
    sentences = tiny.SENTENCES * 2
    return {
        "commands": [
            _write(folder / "commands" / "en.parquet", "classification", _rows(_command, train=64, dev=16), COMMANDS, ["accuracy"])
        ],
        "choices": [_write(folder / "choices" / "en.parquet", "multiple_choice", _rows(_choices, train=32, dev=12), [], ["accuracy"])],
        "tags": [_write(folder / "tags" / "en.parquet", "tagging", _rows(_tags, train=16, dev=8), ["O", "B-ROOM", "I-ROOM"], ["token_accuracy"])],
        "text": [
            _write(folder / "text" / f"{code}.parquet", "text", _rows(lambda n: {"text": sentences[n]}, **splits), [], ["reconstruction_accuracy"])
            for code, splits in (("de", {"train": 20, "dev": 6}), ("fi", {"train": 12, "dev": 6}))
        ],
    }  # fmt: skip


Tasks = dict[str, tuple[list[str], float | None, float]]
"""Name -> languages, rate, chance."""


def mixture(
    tasks: Tasks, *, cap: int = 1000, temperature: float = 1.0, shuffle: bool = False
) -> Mixture:  # fmt: skip
    about = {n: dict(zip(("languages", "rate", "chance"), one, strict=True)) for n, one in tasks.items()}
    return Mixture.of(
        {"tasks": about, "cap": cap, "temperature": temperature, "shuffle_labels": shuffle, "dev_language": "en"}
    )


THREE: Tasks = {"commands": (["en"], None, 25.0), "choices": (["en"], None, 25.0), "tags": (["en"], None, 0.0)}
FOUR: Tasks = {**THREE, "text": (["de", "fi"], 0.25, 0.0)}


def a_run(folder: Path, mixed: Mixture | None, *, interface: str = "encoder", **changes: Any) -> loop.Run:
    if not (folder / interface).exists():
        shutil.copytree(_models() / interface, folder / interface)
    written = data(folder / "data")
    wanted = list(mixed.tasks) if mixed else ["commands"]
    run = loop.Run(
        start=folder / interface / "model.json",
        data=[path for name in wanted for path in written[name]],
        output=folder / "out" / "checkpoint.json",
        settings=SETTINGS,
        representation=REPRESENTATION,
        seed=0,
        prune=True,
        chance=25.0,
        identity={"model": "tiny"},
        mixture=mixed,
    )
    return replace(run, **changes)


def history(run: loop.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.output.parent / "history.jsonl").read_text().splitlines()]


# Proportions and numbers of updates


def test_proportions_worked_out_by_hand() -> None:
    """MNLI, SQuAD and CSQA, K = 2^17 (Phang et al. 2020): min(e, K) are 131072, 87599, 9741, their sum 228412."""
    sizes = [392_702, 87_599, 9_741]
    found = Sampling(sizes, [None] * 3, cap=2**17, temperature=1.0).proportions()
    assert found == pytest.approx([0.573841, 0.383513, 0.042647], abs=1e-6)
    # Temperature 2: the roots 362.0387, 295.9713 and 98.6965, their sum 756.7065.
    found = Sampling(sizes, [None] * 3, cap=2**17, temperature=2.0).proportions()
    assert found == pytest.approx([0.478440, 0.391131, 0.130429], abs=1e-6)
    # A fifth of the updates for text of any size; the others share four fifths.
    found = Sampling([*sizes, 5], [None, None, None, 0.2], cap=2**17, temperature=1.0).proportions()
    assert found == pytest.approx([0.459073, 0.306810, 0.034117, 0.2], abs=1e-6)


def test_numbers_of_updates_of_mixtures() -> None:
    settings = TrainingSettings(epochs=2, batch_size=10)
    # min(100, 50) + min(30, 50) = 80 examples, 8 batches, 2 epochs.
    assert Sampling([100, 30], [None, None], 50, 1.0).updates(settings) == 16
    assert Sampling([100, 30], [None, None], 50, 3.0).updates(settings) == 16
    # One task with text: its own 20 updates stay 20 of 25; the cap is between tasks.
    assert total_updates(100, settings) == 20
    assert Sampling([100, 7], [None, 0.2], 50, 1.0).updates(settings) == 25
    assert Sampling([100, 7], [None, 0.2], 50, 1.0).proportions() == [0.8, 0.2]
    assert Sampling([100], [None], 50, 1.0).updates(settings) == 20


def test_draws_follow_the_proportions_and_depend_on_seed_and_update_alone() -> None:
    sampling = Sampling([600, 300, 9], [None, None, 0.1], 10_000, 1.0)
    drawn = list(islice(sampling.draws(3), 20_000))
    for task, p in enumerate([0.6, 0.3, 0.1]):
        assert abs(drawn.count(task) / 20_000 - p) < 4 * (p * (1 - p) / 20_000) ** 0.5
    assert list(islice(sampling.draws(3), 150, 250)) == drawn[150:250]
    assert list(islice(sampling.draws(4), 200)) != drawn[:200]


# Masked language modelling


def _text_form(interface: str = "encoder", tokenizer: Tokenizer | None = None) -> Any:
    meta = Meta("text", "de", "text", [], ["reconstruction_accuracy"], {}, "", "none")
    tokenizer = tokenizer or Tokenizer.from_directory(_models() / interface)
    return form(meta, tokenizer, interface="encoder", limits=Limits(48, 4, 16), representation=REPRESENTATION)


def test_masking_statistics() -> None:
    """15% of the pieces, of those 80% masks, 10% random pieces (uniform over those given), 10% as they are."""
    rng = np.random.default_rng(0)
    found = [mlm.masked(range(5, 45), np.arange(100, 110), rng) for _ in range(5_000)]
    assert {len(one) for one in found} == {6}
    assert all(5 <= at < 45 for one in found for at, _, _ in one)
    assert all(len({at for at, _, _ in one}) == 6 for one in found)
    n = 30_000
    how = Counter(how for one in found for _, how, _ in one)
    for name, p in (("mask", 0.8), ("random", 0.1), ("keep", 0.1)):
        assert abs(how[name] / n - p) < 4 * (p * (1 - p) / n) ** 0.5
    where = Counter(at for one in found for at, _, _ in one)
    assert all(abs(where[at] / n - 1 / 40) < 5 * (1 / 40 / n) ** 0.5 for at in range(5, 45))
    others = Counter(other for one in found for _, how, other in one if how == "random")
    assert set(others) == set(range(100, 110))
    assert all(abs(count / how["random"] - 0.1) < 0.03 for count in others.values())
    assert len(mlm.masked(range(2), np.arange(3), rng)) == 1
    assert mlm.masked(range(0), np.arange(0), rng) == []


def test_masks_are_drawn_anew_every_epoch_and_can_be_undone() -> None:
    kind = _text_form()
    rows = _rows(lambda n: {"text": tiny.SENTENCES[n]}, train=16)
    examples = kind.encode(rows, training=True)
    special = {i for i in kind.tokenizer.special.values() if i is not None}
    first = [kind.drawn(example, 1) for example in examples]
    assert [one.inputs[0].ids for one in first] == [kind.drawn(e, 1).inputs[0].ids for e in examples]
    assert [one.labels for one in first] != [kind.drawn(e, 2).labels for e in examples]
    used = {i for example in examples for i in kind.used_ids(example)}
    for plain, hidden in zip(examples, first, strict=True):
        ids = list(hidden.inputs[0].ids)
        assert used >= set(ids)
        for at, piece in hidden.labels:
            ids[at] = piece
        assert ids == plain.inputs[0].ids
        assert not special & {piece for _, piece in hidden.labels}
        assert kind.weight(hidden) == len(hidden.labels) == max(1, round(0.15 * (len(ids) - 2)))
    assert any(kind.tokenizer.special["mask"] in one.inputs[0].ids for one in first)
    # Dev data are masked once and for all, whatever training did.
    dev = kind.encode(rows, training=False)
    assert [one.inputs for one in dev] == [one.inputs for one in kind.encode(rows, training=False)]
    assert [one.labels for one in first] == [kind.drawn(e, 1).labels for e in examples]


def test_an_encoder_without_a_mask_hides_with_its_first_sentinel(tmp_path: Path) -> None:
    folder = tmp_path / "mt5"
    shutil.copytree(_models() / "text2text", folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.MT5EncoderModel(config).save_pretrained(folder)
    facts = {"class": "MT5EncoderModel", "source": {"type": "test"}}
    write_record(folder / "model.json", {"name": "x", "interface": "encoder", **fetch.describe(folder), **facts})
    source = Source.read(folder / "model.json")
    tokenizer = Tokenizer.from_directory(folder)
    assert mlm.mask_id(tokenizer) == tokenizer.id_of("▁<extra_id_0>")
    kind = _text_form(tokenizer=tokenizer)
    examples = kind.encode(_rows(lambda n: {"text": tiny.SENTENCES[n]}, dev=16), training=False)
    assert any(mlm.mask_id(tokenizer) in example.inputs[0].ids for example in examples)
    model = build(source, kind, kept=None, seed=0)
    vectors = torch.randn(3, 32)
    expected = vectors @ model.backbone.get_input_embeddings().weight.T / 32**0.5
    assert torch.allclose(model.match_pieces(vectors), expected, atol=1e-5)
    assert torch.isfinite(model(collate(examples, model.dense, CPU, token_types=False)))


def test_the_tied_head_is_that_of_transformers() -> None:
    """Loss and gradients, those of the embeddings included, against BertForMaskedLM with the same weights."""
    source = Source.read(_models() / "encoder" / "model.json")
    kind = _text_form()
    examples = kind.encode(_rows(lambda n: {"text": tiny.SENTENCES[n]}, dev=16), training=False)
    model = build(source, kind, kept=None, seed=0, dropout=0.0)
    head: Any = model.head
    torch.nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(1))
    config = transformers.AutoConfig.from_pretrained(source.base)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    other = transformers.BertForMaskedLM(config)
    other.bert.load_state_dict(model.backbone.state_dict())
    predictions: Any = other.cls.predictions
    predictions.transform.dense.load_state_dict(head.dense.state_dict())
    predictions.transform.LayerNorm.load_state_dict(head.norm.state_dict())
    predictions.decoder.bias.data.copy_(head.bias.data)
    predictions.bias.data.copy_(head.bias.data)
    assert predictions.decoder.weight is other.bert.embeddings.word_embeddings.weight
    batch = collate(examples, model.dense, CPU, token_types=False)
    labels = torch.full_like(batch.ids_BL, -100)
    for row, example in enumerate(examples):
        for at, piece in example.labels:
            labels[row, at] = piece
    count = sum(len(example.labels) for example in examples)
    theirs = other(input_ids=batch.ids_BL, attention_mask=batch.mask_BL, labels=labels).loss * count
    ours = model(batch)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours.backward()
    theirs.backward()
    names = dict(other.bert.named_parameters())
    for name, parameter in model.backbone.named_parameters():
        one, another = parameter.grad, names[name].grad
        assert one is not None and another is not None and torch.allclose(one, another, atol=1e-4), name
    assert torch.allclose(head.dense.weight.grad, predictions.transform.dense.weight.grad, atol=1e-4)
    logits = other(input_ids=batch.ids_BL, attention_mask=batch.mask_BL).logits.argmax(-1)
    found = kind.predict(model.eval(), batch)
    assert found == [
        (len(e.labels), sum(logits[i, at].item() == p for at, p in e.labels)) for i, e in enumerate(examples)
    ]


def test_text_alone_is_scored_in_the_languages_it_has(tmp_path: Path) -> None:
    files = [
        _write(
            tmp_path / "prose" / f"{code}.parquet",
            "text",
            _rows(lambda n, code=code: {"text": _command(n, code)["text_a"]}, train=24, dev=8),
            [],
            ["reconstruction_accuracy"],
        )
        for code in ("de", "en")
    ]
    run = a_run(tmp_path, None, settings=replace(SETTINGS, epochs=10, evaluations=1))
    dev = []
    for languages in (["en", "de"], ["de"]):
        given = [path for path in files if path.stem in languages]
        mixed = mixture({"prose": (languages, None, 0.0)})
        loop.train(replace(run, data=given, mixture=mixed))
        about = read_json(run.output)
        assert about["kind"] == "text" and about["examples"] == 24 * len(languages)
        assert about["dev"]["metric"] == "reconstruction_accuracy"
        dev.append(set(about["mixture"]["tasks"]["prose"]["data_sha256"]))
        losses = [entry["loss"] for entry in history(run) if "loss" in entry]
        assert sum(losses[-8:]) < 0.95 * sum(losses[:8])
        assert (run.output.parent / "head.safetensors").exists()
        run.output.unlink()
    assert dev == [{"de", "en"}, {"de"}]


# Runs over mixtures


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> loop.Run:
    run = a_run(tmp_path_factory.mktemp("four"), mixture(FOUR, cap=40), settings=replace(SETTINGS, epochs=6))
    loop.train(run)
    return run


def test_three_kinds_and_text_are_learned_together(four: loop.Run) -> None:
    about = read_json(four.output)
    # min(64, 40) + min(32, 40) + 16 = 88 examples: 11 batches, 6 epochs, three quarters of all updates.
    assert about["updates"] == 88
    tasks = about["mixture"]["tasks"]
    assert [tasks[name]["proportion"] for name in FOUR] == pytest.approx(
        [0.75 * 40 / 88, 0.75 * 32 / 88, 0.75 * 16 / 88, 0.25]
    )
    assert tasks["tags"]["dev"]["score"] > 90 and tasks["commands"]["dev"]["score"] > 45 and about["learned"]
    scored = [tasks[name]["dev"]["score"] for name in THREE]
    assert about["dev"]["score"] == pytest.approx(sum(scored) / 3)
    assert about["dev"]["metric"] == "mean of accuracy, token_accuracy"
    assert tasks["text"]["dev"] is None and tasks["text"]["data_sha256"].keys() == {"de", "fi"}
    assert about["chance"] == pytest.approx(50 / 3)
    evaluations = [entry for entry in history(four) if "dev" in entry]
    assert all(entry["dev"] == pytest.approx(sum(entry["tasks"].values()) / 3) for entry in evaluations)
    assert about["dev"]["score"] == max(entry["dev"] for entry in evaluations)
    # No later stage reads these heads.
    assert not (four.output.parent / "head.safetensors").exists() and "head_sha256" not in about
    drawn = [entry["task"] for entry in history(four) if "loss" in entry]
    assert set(drawn) == set(FOUR)
    for name in FOUR:
        losses = [entry["loss"] for entry in history(four) if entry.get("task") == name]
        assert sum(losses[-4:]) < sum(losses[:4]), name


def test_a_target_starts_from_a_mixture(four: loop.Run, tmp_path: Path) -> None:
    shutil.copytree(four.output.parent.parent, tmp_path / "x")
    start = tmp_path / "x" / "out" / "checkpoint.json"
    run = a_run(tmp_path / "x", None, start=start, output=tmp_path / "x" / "target" / "checkpoint.json")
    loop.train(run)
    about = read_json(run.output)
    assert about["total_updates"] == 88 + about["updates"] and about["task"] == "commands"
    assert about["parent_sha256"] == read_json(start)["weights_sha256"]


@pytest.mark.parametrize(("task", "kept"), [("choices", True), ("commands", False)])
def test_a_second_training_goes_on_with_the_head_of_a_kind_without_labels(
    task: str, kept: bool, tmp_path: Path
) -> None:
    """Labels of two tasks may stand in another order, so their heads are new."""
    files = data(tmp_path / "data")
    first = a_run(tmp_path, None, data=files[task], settings=replace(SETTINGS, max_updates=4))
    loop.train(first)
    still = replace(SETTINGS, learning_rate=1e-12, head_learning_rate=None, max_updates=1)
    heads = {}
    for keep in (False, True):
        output = tmp_path / f"second-{keep}" / "checkpoint.json"
        loop.train(
            a_run(tmp_path, None, data=files[task], start=first.output, output=output, settings=still, keep_head=keep)
        )
        heads[keep] = read_tensors(output.parent / HEAD)
    before = read_tensors(first.output.parent / HEAD)
    assert all(torch.allclose(before[name], heads[True][name], atol=1e-6) for name in before) == kept
    assert not all(torch.allclose(before[name], heads[False][name], atol=1e-6) for name in before)


def test_every_batch_is_of_one_task_and_goes_through_it_epoch_by_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[loop._Batch] = []
    monkeypatch.setattr(loop._Trainer, "update", lambda self, work: seen.append(work.batch))
    loop.train(a_run(tmp_path, mixture(FOUR), settings=replace(SETTINGS, epochs=8, evaluations=1)))
    for task, examples in enumerate([64, 32, 16, 32]):
        batches = [batch for batch in seen if batch.task == task]
        an_epoch = examples // 8
        for at in range(0, len(batches) - an_epoch + 1, an_epoch):
            whole = batches[at : at + an_epoch]
            assert sorted(i for batch in whole for i in batch.examples) == list(range(examples))
            assert len({batch.epoch_seed for batch in whole}) == 1


def test_text2text_learns_several_tasks_and_span_corruption(tmp_path: Path) -> None:
    tasks = {"commands": (["en"], None, 25.0), "choices": (["en"], None, 25.0), "text": (["de", "fi"], 0.2, 0.0)}
    settings = replace(SETTINGS, epochs=5, learning_rate=1e-2, optimizer="adafactor", evaluations=1)
    run = a_run(tmp_path, mixture(tasks), interface="text2text", settings=settings)
    loop.train(run)
    about = read_json(run.output)
    scores = {name: one["dev"]["score"] for name, one in about["mixture"]["tasks"].items() if one["dev"]}
    assert scores.keys() == {"commands", "choices"} and about["learned"]
    assert scores["commands"] > 60
    assert about["updates"] == 75  # (64 + 32) / 8 batches, 5 epochs, four fifths
    # It learns to choose among all pieces, as it will when it predicts, although pruning is asked for.
    assert run.prune and about["vocabulary"] == {"pruned": False, "pieces": None}


def test_a_stopped_mixture_goes_on_to_the_same_bytes(
    four: loop.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path, mixture(FOUR, cap=40), settings=four.settings)
    original = loop._Trainer.update
    stops = [7, 8, 45]

    def update(self: loop._Trainer, work: loop._Work) -> None:
        original(self, work)
        if stops and self.progress.update + 1 == stops[0]:
            stops.pop(0)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Trainer, "update", update)
    for _ in range(3):
        with pytest.raises(loop.Interrupted):
            loop.train(run)
    loop.train(run)
    for name in FILES:
        assert digest_file(run.output.parent / name) == digest_file(four.output.parent / name)


def test_a_state_of_another_mixture_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop._Trainer.update

    def update(self: loop._Trainer, work: loop._Work) -> None:
        original(self, work)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Trainer, "update", update)
    for mixed in (mixture(FOUR), mixture(FOUR, temperature=2.0), mixture(THREE)):
        with pytest.raises(loop.Interrupted, match="after update 1;"):
            loop.train(a_run(tmp_path, mixed))
    with pytest.raises(loop.Interrupted, match="after update 2;"):
        loop.train(a_run(tmp_path, mixture(FOUR)))


def test_out_of_memory_halves_the_micro_batches_of_a_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = TaskModel.forward

    def forward(self: TaskModel, batch: Any) -> torch.Tensor:
        if batch.ids_BL.numel() > 130:
            raise torch.OutOfMemoryError("no memory left")
        return original(self, batch)

    monkeypatch.setattr(TaskModel, "forward", forward)
    run = a_run(tmp_path, mixture(FOUR), settings=replace(SETTINGS, epochs=0.5, micro_batch_tokens=1024))
    loop.train(run)
    assert read_json(run.output.parent / "timing.json")["micro_batch_tokens"] == 128


def test_learned_needs_one_task_above_its_own_chance(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=0.2, learning_rate=1e-12, head_learning_rate=1e-12, evaluations=1)
    low: Tasks = {"commands": (["en"], None, 90.0), "choices": (["en"], None, 90.0)}
    run = a_run(tmp_path / "a", mixture(low), settings=settings)
    loop.train(run)
    about = read_json(run.output)
    assert not about["learned"]
    one: Tasks = {**low, "commands": (["en"], None, 0.0)}
    run = a_run(tmp_path / "b", mixture(one), settings=settings)
    loop.train(run)
    assert read_json(run.output)["dev"] == about["dev"] and about["mixture"]["tasks"]["commands"]["dev"]["score"] > 0
    assert read_json(run.output)["learned"]


# Translated copies


def test_training_rows_are_of_the_languages_asked_for_and_dev_rows_english(tmp_path: Path) -> None:
    """English's own training rows are not read: they are wrong on purpose, and the run learns all the same."""
    folder = tmp_path / "data" / "copies"
    wrong = [{**row, "label": "on"} if row["split"] == "train" else row for row in _rows(_command, train=19, dev=16)]
    files = [
        _write(folder / "en.parquet", "classification", wrong, COMMANDS, ["accuracy"]),
        _write(folder / "de.parquet", "classification", _rows(lambda n: _command(n, "de"), train=40), COMMANDS, ["accuracy"]),
        _write(folder / "fi.parquet", "classification", _rows(_command, train=40), COMMANDS, ["accuracy"]),
    ]  # fmt: skip
    mixed = mixture({"copies": (["de", "fi"], None, 25.0)})
    run = replace(a_run(tmp_path, None, mixture=mixed), data=files, settings=replace(SETTINGS, epochs=6))
    loop.train(run)
    about = read_json(run.output)
    assert about["examples"] == 80 and about["task"] == "copies" and about["learned"]
    part = about["mixture"]["tasks"]["copies"]
    assert part["data_sha256"] == {path.stem: read_meta(path).sha256 for path in files}
    assert part["languages"] == ["de", "fi"]
    with pytest.raises(UserError, match=r"no prepared data of copies in sw"):
        loop.train(replace(run, mixture=mixture({"copies": (["de", "sw"], None, 25.0)})))
    with pytest.raises(UserError, match=r"dev in en; there are"):
        loop.train(replace(run, data=files[1:]))
    with pytest.raises(UserError, match="a run without --mixture reads one"):
        loop.train(replace(run, mixture=None))


def test_files_of_one_task_have_to_agree(tmp_path: Path) -> None:
    run = a_run(tmp_path, mixture({"commands": (["en", "de"], None, 25.0)}))
    other = _write(tmp_path / "x" / "commands" / "de.parquet", "classification", _rows(_command, train=8), [*COMMANDS, "z"], ["accuracy"])  # fmt: skip
    with pytest.raises(UserError, match="labels or metrics are not those of"):
        loop.train(replace(run, data=[*run.data, other]))


@pytest.mark.parametrize("rates", [[0.5, 0.5], [0.2, 0.3], [None, 0.6, 0.5]])
def test_rates_leave_something_to_a_task_without_one(rates: list[float | None]) -> None:
    with pytest.raises(UserError, match="must sum to less than 1, and one task must have none"):
        mixture({str(i): (["en"], rate, 0.0) for i, rate in enumerate(rates)})


# Shuffled labels


def _answers(kind: str, row: Row) -> Any:
    column = {
        "tagging": "tags",
        "span_qa": "question",
        "retrieval": "gold",
        "mining": "gold",
        "generation": "references",
    }.get(kind, "label")
    return row[column]


SPLITS = {
    "classification": _rows(lambda n: {**_command(n), "label": COMMANDS[n % 3]}, train=50),
    "multiple_choice": _rows(_choices, train=60),
    "tagging": _rows(_tags, train=30),
    "span_qa": _rows(_span, train=40),
    "generation": _rows(lambda n: {"text": str(n), "references": [f"about {n}"]}, train=40),
    **{
        kind: _rows(lambda n: {"side": ["query", "candidate"][n % 2], "text": str(n), "gold": [] if n % 2 else [str(n)]}, train=40)
        for kind in ("retrieval", "mining")
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("text", "word_features")])
def test_shuffling_keeps_texts_and_answers_but_not_which_belongs_where(kind: str) -> None:
    rows = SPLITS[kind]
    before = json.dumps(rows)
    found = shuffle_labels(kind, rows, 7)
    assert json.dumps(rows) == before
    assert found == shuffle_labels(kind, rows, 7) != shuffle_labels(kind, rows, 8)
    changed = [old != new for old, new in zip(rows, found, strict=True)]
    assert sum(changed) > len(rows) / 4
    name = (
        "label"
        if kind in ("classification", "multiple_choice")
        else {"tagging": "tags", "span_qa": "question", "generation": "references"}.get(kind, "gold")
    )
    assert [{k: v for k, v in row.items() if k != name} for row in found] == [{k: v for k, v in row.items() if k != name} for row in rows]  # fmt: skip
    if kind == "tagging":
        assert Counter(tag for row in found for tag in row["tags"]) == Counter(
            tag for row in rows for tag in row["tags"]
        )
        assert [len(row["tags"]) for row in found] == [len(row["tags"]) for row in rows]
    else:
        assert Counter(json.dumps(_answers(kind, row)) for row in found) == Counter(
            json.dumps(_answers(kind, row)) for row in rows
        )
    if kind == "multiple_choice":
        marginals = [Counter((len(row["choices"]), row["label"]) for row in x) for x in (rows, found)]
        assert marginals[0] == marginals[1]
    if kind in ("retrieval", "mining"):
        assert all(bool(row["gold"]) == (row["side"] == "query") for row in found)


def test_a_shuffled_run_keeps_its_last_state_and_says_so(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=6, evaluations=6, patience=1)
    mixed = mixture({"commands": (["en"], None, 25.0)}, shuffle=True)
    run = a_run(tmp_path, mixed, settings=settings)
    loop.train(run)
    about = read_json(run.output)
    assert about["note"] == "labels shuffled" and about["learned"]
    assert about["dev"]["update"] == about["updates"] == 48  # no patience either
    evaluations = [entry for entry in history(run) if "dev" in entry]
    assert about["dev"]["score"] == evaluations[-1]["dev"] < 60
    # The same texts in the same order as without; another seed shuffles in another way.
    plain = a_run(tmp_path / "plain", None, settings=settings)
    assert len(history(run)) == 54
    rows = read_rows(plain.data[0], "train")
    seeds = [shuffle_labels("classification", rows, derived_seed(seed, "labels")) for seed in (0, 1)]
    assert seeds[0] != seeds[1]


def test_shuffled_labels_are_what_is_learned(tmp_path: Path) -> None:
    """Training on rows shuffled beforehand gives the same losses as shuffling them in the run."""
    settings = replace(SETTINGS, epochs=1)
    run = a_run(tmp_path / "a", mixture({"commands": (["en"], None, 25.0)}, shuffle=True), settings=settings)
    loop.train(run)
    rows = read_rows(run.data[0], "train")
    beforehand = [*shuffle_labels("classification", rows, derived_seed(0, "labels")), *read_rows(run.data[0], "dev")]
    path = _write(tmp_path / "commands" / "en.parquet", "classification", beforehand, COMMANDS, ["accuracy"])
    other = replace(a_run(tmp_path / "b", None, settings=settings), data=[path])
    loop.train(other)
    assert [e.get("loss") for e in history(run)] == [e.get("loss") for e in history(other)]


# More updates


def test_a_run_makes_as_many_updates_more_as_another_made(tmp_path: Path) -> None:
    write_record(tmp_path / "other.json", {"updates": 13, "total_updates": 99})
    settings = replace(SETTINGS, patience=1, evaluations=8, learning_rate=1e-12, head_learning_rate=1e-12)
    run = a_run(tmp_path, None, settings=settings, more_updates=tmp_path / "other.json")
    loop.train(run)
    about = read_json(run.output)
    assert about["updates"] == 16 + 13 and about["more_updates"] == 13
    factors = [entry["learning_rate_factor"] for entry in history(run) if "loss" in entry]
    assert factors[:2] == [0.5, 1.0] and factors[-1] == pytest.approx(1 / 27)
    assert [entry["update"] for entry in history(run) if "dev" in entry] == [4, 7, 11, 14, 18, 22, 25, 29]


# The script


def test_the_script_trains_a_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes from the command line as from the library."""
    settings = replace(SETTINGS, epochs=0.5)
    identity = {"stage": "intermediate", "model": "tiny"}
    four = a_run(tmp_path / "library", mixture(FOUR, cap=40), settings=settings, chance=0.0, identity=identity)
    loop.train(four)
    run = a_run(tmp_path / "script", None, data=four.data)
    about = {n: dict(zip(("languages", "rate", "chance"), one, strict=True)) for n, one in FOUR.items()}
    value = {"tasks": about, "cap": 40, "temperature": 1.0, "shuffle_labels": False, "dev_language": "en"}
    arguments = [
        *(str(TRAIN), "--stage", "intermediate", "--start", str(run.start)),
        *("--data", *map(str, run.data), "--mixture", json.dumps(value), "--prune", "--seed", "0"),
        *("--settings", json.dumps(settings.to_json()), "--identity", '{"model": "tiny"}'),
        *("--representation", '{"pooling": "mean", "retrieval": {"layer": -1, "pooling": "mean", "prefix": ""}}'),
        *("--output", str(run.output)),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.delenv("STILTSWEEP_WARM", raising=False)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(TRAIN), run_name="__main__")
    for name in FILES:
        assert digest_file(run.output.parent / name) == digest_file(four.output.parent / name)
