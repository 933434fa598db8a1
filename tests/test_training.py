"""Training: what happens in which update, the same gradient however a batch is cut, and resuming to the same bytes."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from stiltsweep.errors import UserError
from stiltsweep.files import digest_file, read_json
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models.batches import by_budget, collate
from stiltsweep.models.device import choose
from stiltsweep.models.load import Source, build
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import read_meta, read_rows
from stiltsweep.settings import TrainingSettings
from stiltsweep.training import loop
from stiltsweep.training.plan import (
    derived_seed,
    epoch_batches,
    evaluation_points,
    learned,
    learning_rate_factor,
    total_updates,
)
from stiltsweep.training.state import StateFolder

REPRESENTATION = Representation("mean", -1, "mean", "")
SETTINGS = TrainingSettings(
    epochs=3,
    batch_size=8,
    learning_rate=5e-3,
    head_learning_rate=2e-2,
    max_length=32,
    micro_batch_tokens=64,
    dropout=0.1,
)
TRAIN = Path(__file__).parents[1] / "workflow" / "scripts" / "train.py"


@functools.cache
def _model() -> Path:
    return tiny.encoder(Path(tempfile.mkdtemp()) / "model").parent


def a_run(folder: Path, settings: TrainingSettings = SETTINGS, *, seed: int = 0, prune: bool = True) -> loop.Run:
    if not (folder / "model" / "model.json").exists():
        # One model for all tests: the trainer of its vocabulary is not deterministic.
        shutil.copytree(_model(), folder / "model")
        tiny.classification(folder / "data")
    return loop.Run(
        start=folder / "model" / "model.json",
        data=[folder / "data" / "en.parquet"],
        output=folder / "out" / "checkpoint.json",
        settings=settings,
        representation=REPRESENTATION,
        seed=seed,
        prune=prune,
        chance=25.0,
        identity={"model": "tiny"},
    )


# The plan of updates


def test_learning_rates_written_out() -> None:
    settings = TrainingSettings(warmup=0.25, schedule="linear")
    # 8 updates: warm up over 2, then 6 steps down that would reach 0 in update 8.
    expected = [1 / 2, 2 / 2, 6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [learning_rate_factor(u, 8, settings) for u in range(8)] == pytest.approx(expected)
    constant = TrainingSettings(warmup=3, schedule="constant")
    assert [learning_rate_factor(u, 5, constant) for u in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert learning_rate_factor(0, 1, TrainingSettings(warmup=0.1)) == 1.0


def test_numbers_of_updates() -> None:
    assert total_updates(100, TrainingSettings(epochs=3, batch_size=32)) == 12  # 4 a pass
    assert total_updates(100, TrainingSettings(epochs=0.5, batch_size=32)) == 2
    assert total_updates(100, TrainingSettings(epochs=3, batch_size=32, max_updates=5)) == 5
    assert total_updates(1, TrainingSettings(epochs=0.1, batch_size=32)) == 1


def test_dev_is_scored_evenly_and_at_the_end() -> None:
    assert evaluation_points(10, 3) == [3, 7, 10]
    assert evaluation_points(2, 5) == [1, 2]


def _lengths(examples: int) -> list[int]:
    found: list[int] = np.random.default_rng(0).lognormal(3.3, 0.5, examples).astype(int).tolist()
    return found


def _padding(batches: list[list[int]], lengths: list[int]) -> float:
    return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) / sum(lengths) - 1


def _met_again(one: list[list[int]], other: list[list[int]]) -> float:
    """Return the share of the pairs of examples that share a batch in one epoch and share one in the other too."""
    first, second = ({pair for batch in epoch for pair in combinations(sorted(batch), 2)} for epoch in (one, other))
    return len(first & second) / len(first)


@pytest.mark.parametrize("examples", [1, 15, 16, 240, 245, 999, 3200])
def test_an_epoch_holds_every_example_once(examples: int) -> None:
    lengths = _lengths(examples)
    batches = epoch_batches(lengths, 16, seed=1, epoch=0)
    assert sorted(i for batch in batches for i in batch) == list(range(examples))
    assert len(batches) == -(-examples // 16) and sum(len(batch) < 16 for batch in batches) == (examples % 16 > 0)
    assert epoch_batches(lengths, 16, seed=1, epoch=0) == batches
    assert examples < 16 or epoch_batches(lengths, 16, seed=1, epoch=1) != batches


@pytest.mark.parametrize(
    ("examples", "at_most", "less_padding"), [(240, 1.4 * 15 / 239, 0.95), (480, 0.06, 0.8), (6400, 0.03, 0.3)]
)
def test_neighbours_part_and_padding_is_cheap(examples: int, at_most: float, less_padding: float) -> None:
    """With few batches neighbours meet again about as often as at random, in other epochs and with other seeds."""
    lengths = _lengths(examples)
    epochs = [epoch_batches(lengths, 16, seed=1, epoch=epoch) for epoch in range(6)]
    seeds = [epoch_batches(lengths, 16, seed=seed, epoch=0) for seed in range(6)]
    for runs in (epochs, seeds):
        assert np.mean([_met_again(one, other) for one, other in combinations(runs, 2)]) < at_most
    order = np.random.default_rng(1).permutation(examples).tolist()
    at_random = _padding([order[at : at + 16] for at in range(0, examples, 16)], lengths)
    assert np.mean([_padding(batches, lengths) for batches in epochs]) < less_padding * at_random


@pytest.mark.parametrize("examples", [245, 16 * 16 + 5])
def test_the_short_batch_holds_examples_of_any_length(examples: int) -> None:
    lengths = _lengths(examples)
    short = [
        i for epoch in range(300) for i in min(epoch_batches(lengths, 16, seed=1, epoch=epoch), key=len)
    ]  # 1,500 examples: their mean is known to 1.5%
    assert np.mean([lengths[i] for i in short]) == pytest.approx(np.mean(lengths), rel=0.08)


def test_equal_lengths_are_shuffled() -> None:
    epochs = [epoch_batches([7] * 160, 16, seed=1, epoch=epoch) for epoch in range(6)]
    assert np.mean([_met_again(one, other) for one, other in combinations(epochs, 2)]) == pytest.approx(
        15 / 159, rel=0.2
    )


def test_seeds_are_made_of_all_their_parts() -> None:
    assert derived_seed(0, "update", 1) != derived_seed(0, "update", 2) != derived_seed(1, "update", 2)
    assert 0 <= derived_seed("x") < 2**63


def test_learned_is_above_guessing() -> None:
    assert not learned(30.0, 25.0, 100)  # one standard error is 4.3 points
    assert learned(40.0, 25.0, 100)
    assert not learned(0.0, 0.0, 10)
    assert learned(0.1, 0.0, 10)


# The loop


def test_the_gradient_does_not_depend_on_how_a_batch_is_cut(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    source = Source.read(run.start)
    kind = form(
        read_meta(run.data[0]),
        Tokenizer.from_directory(source.base),
        interface="encoder",
        limits=Limits(32, 4, 16),
        representation=REPRESENTATION,
    )
    examples = kind.encode(read_rows(run.data[0], "train"), training=True)[:16]
    gradients: list[torch.Tensor] = []
    for budget in (10_000, 60, 1):
        model = build(source, kind, kept=None, seed=0, dropout=0.0)
        weight = sum(kind.weight(e) for e in examples)
        for part in by_budget(examples, budget):
            (model(collate(part, model.dense, torch.device("cpu"), token_types=False)) / weight).backward()
        head: Any = model.head
        gradients.append(head.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)
    assert torch.allclose(gradients[0], gradients[2], atol=1e-6)


def test_training_learns_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    loop.train(a_run(tmp_path / "a"))
    loop.train(a_run(tmp_path / "b"))
    loop.train(a_run(tmp_path / "c", seed=1))
    a, b, c = ((tmp_path / x / "out") for x in "abc")
    about = read_json(a / "checkpoint.json")
    assert about["learned"] and about["dev"]["score"] > 60
    assert about["updates"] == 24
    for name in ("checkpoint.json", "model.safetensors", "head.safetensors", "history.jsonl"):
        assert digest_file(a / name) == digest_file(b / name)
        assert digest_file(a / name) != digest_file(c / name)
    losses = [
        entry["loss"]
        for line in (a / "history.jsonl").read_text().splitlines()
        if "loss" in (entry := json.loads(line))
    ]
    assert len(losses) == 24
    assert sum(losses[-4:]) < sum(losses[:4])
    assert not (a / "state").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_stopped_and_resumed_is_as_undisturbed(tmp_path: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped three times, by the signal a cluster sends, and gone on with: the same bytes."""
    settings = TrainingSettings(**{**SETTINGS.to_json(), "optimizer": optimizer, "warmup": 0.2})
    loop.train(a_run(tmp_path / "whole", settings))
    run = a_run(tmp_path / "pieces", settings)
    original = loop._Trainer.update
    stops = iter([5, 6, 15])
    upcoming = [next(stops)]

    def update(self: loop._Trainer, work: loop._Work) -> None:
        original(self, work)
        if upcoming and self.progress.update + 1 == upcoming[0]:
            upcoming[:] = [following] if (following := next(stops, None)) is not None else []
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Trainer, "update", update)
    for _ in range(3):
        with pytest.raises(loop.Interrupted):
            loop.train(run)
        assert not run.output.exists()
    loop.train(run)
    for name in ("checkpoint.json", "model.safetensors", "head.safetensors", "history.jsonl"):
        assert digest_file(tmp_path / "whole" / "out" / name) == digest_file(run.output.parent / name)


def test_states_are_saved_as_often_as_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(StateFolder, "save", lambda self, update, tensors, values: saved.append(update))
    loop.train(a_run(tmp_path / "seldom", TrainingSettings(**{**SETTINGS.to_json(), "epochs": 1})))
    assert saved == []
    often = a_run(tmp_path / "often", TrainingSettings(**{**SETTINGS.to_json(), "epochs": 1}))
    loop.train(replace(often, save_minutes=0.0))
    assert len(saved) > 2 and saved == list(range(1, len(saved) + 1))
    ends = [digest_file(tmp_path / name / "out" / "checkpoint.json") for name in ("seldom", "often")]
    assert ends[0] == ends[1]


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL, which nothing can handle, in the middle of a real process; state is saved after every update."""
    settings = TrainingSettings(**{**SETTINGS.to_json(), "save_minutes": 0.0, "epochs": 6})
    run = a_run(tmp_path / "killed", settings)
    arguments = [
        *(sys.executable, str(TRAIN), "--stage", "target", "--start", str(run.start), "--data", str(run.data[0])),
        *("--settings", json.dumps(settings.to_json()), "--seed", "0", "--prune", "--chance", "25"),
        *("--representation", '{"pooling": "mean", "retrieval": {"layer": -1, "pooling": "mean", "prefix": ""}}'),
        *("--identity", '{"model": "tiny"}', "--output", str(run.output)),
    ]
    state = run.output.parent / "state"
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(state.glob("*/*3.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not run.output.exists()
    assert list(state.glob("*/*.json"))
    subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL)
    whole = a_run(tmp_path / "whole", settings)
    subprocess.run(
        [argument.replace(str(tmp_path / "killed"), str(tmp_path / "whole")) for argument in arguments],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    for name in ("checkpoint.json", "model.safetensors", "head.safetensors", "history.jsonl"):
        assert digest_file(whole.output.parent / name) == digest_file(run.output.parent / name)


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, {"seed": 0})
    for update in (1, 2, 3):
        folder.save(update, {"x": torch.full((4,), float(update))}, {"update": update})
    assert len(list(folder.folder.glob("*.json"))) == 2
    with open(folder.folder / "00000003.safetensors", "r+b") as handle:
        handle.truncate(20)
    update, tensors, values = folder.load()  # type: ignore[misc]
    assert (update, values["update"], tensors["x"][0]) == (2, 2, 2.0)
    (folder.folder / "00000002.json").write_text("{")
    assert folder.load() is None


def test_a_state_of_another_run_is_not_taken_and_stays(tmp_path: Path) -> None:
    """Settings that are changed and changed back: each run goes on from its own state."""
    one, other = ({"seed": 0, "data": name} for name in "ab")
    StateFolder(tmp_path, one).save(1, {}, {"of": "a"})
    assert StateFolder(tmp_path, other).load() is None
    StateFolder(tmp_path, other).save(7, {}, {"of": "b"})
    found = [StateFolder(tmp_path, which).load() for which in (one, other)]
    assert [(update, values) for update, _, values in found] == [(1, {"of": "a"}), (7, {"of": "b"})]  # type: ignore[misc]


def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    settings = TrainingSettings(**{**SETTINGS.to_json(), "learning_rate": 1.0, "clip_norm": 1e30, "dropout": 0.0})
    run = a_run(tmp_path, settings)
    source = Source.read(run.start)
    weights = torch.full((1,), float("nan"))
    original = loop._Trainer._gradients

    def gradients(self: loop._Trainer, work: loop._Work) -> torch.Tensor:
        return original(self, work) if self.progress.update < 2 else weights[0]

    loop._Trainer._gradients, keep = gradients, original  # type: ignore[method-assign]
    try:
        with pytest.raises(UserError, match="nan and the gradient's norm .* in update 3 at learning rate"):
            loop.train(run)
    finally:
        loop._Trainer._gradients = keep  # type: ignore[method-assign]
    assert source.weights_sha256 and not run.output.exists()


def test_early_stopping_counts_evaluations(tmp_path: Path) -> None:
    settings = TrainingSettings(
        **{
            **SETTINGS.to_json(),
            "epochs": 10,
            "evaluations": 20,
            "patience": 2,
            "learning_rate": 1e-12,
            "head_learning_rate": 1e-12,
        }
    )
    loop.train(a_run(tmp_path, settings))
    about = read_json(tmp_path / "out" / "checkpoint.json")
    assert about["updates"] == 12  # of 80: dev after every 4th update, never better than the first
    assert about["dev"]["update"] == 4
    assert not about["learned"]


def test_frozen_parts_are_not_in_the_checkpoint(tmp_path: Path) -> None:
    from safetensors import safe_open

    settings = TrainingSettings(**{**SETTINGS.to_json(), "freeze_embeddings": True, "freeze_layers": 1, "epochs": 1})
    loop.train(a_run(tmp_path, settings))
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as handle:
        assert {key.split(".")[2] for key in handle.keys()} == {"1"}  # noqa: SIM118
    with pytest.raises(UserError, match="the encoder has 2 layers"):
        loop.train(a_run(tmp_path, TrainingSettings(freeze_layers=3)))


def test_precision() -> None:
    with pytest.raises(UserError, match=r"fp16 is refused for mt5"):
        choose("fp16", "mt5")
    assert choose("auto", "bert").precision in ("fp32", "bf16")
