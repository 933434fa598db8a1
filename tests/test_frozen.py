"""States of frozen layers kept on disk: the same bytes with and without them, and only where they are the model's own."""

from __future__ import annotations

import dataclasses
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import tiny
from stiltsweep.kinds import Limits, Representation
from stiltsweep.models import frozen
from stiltsweep.models.batches import Batch, packs
from stiltsweep.models.load import Source
from stiltsweep.models.task_model import TaskModel
from stiltsweep.prediction import predict
from stiltsweep.settings import FROZEN, PredictionSettings, TrainingSettings
from stiltsweep.training import loop

REPRESENTATION = Representation("mean", -1, "mean", "")
SETTINGS = TrainingSettings(
    epochs=1,
    batch_size=8,
    learning_rate=5e-3,
    head_learning_rate=2e-2,
    max_length=32,
    micro_batch_tokens=64,
    dropout=0.0,
    freeze_embeddings=True,
    freeze_layers=1,
    evaluations=2,
)
PREDICTION = PredictionSettings(Limits(32, 4, 8), REPRESENTATION, 64, prune=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    tiny.encoder(folder / "model", layers=3)
    tiny.classification(folder / "data")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "run"))


def made(
    folder: Path,
    name: str,
    settings: TrainingSettings = SETTINGS,
    *,
    start: str = "model/model.json",
    seed: int = 0,
) -> Path:
    """Train from `start` and predict; return the folder of the checkpoint."""
    output = folder / name / "seed0" / "checkpoint.json"
    loop.train(
        loop.Run(
            start=folder / start,
            data=[folder / "data" / "en.parquet"],
            output=output,
            settings=settings,
            representation=REPRESENTATION,
            seed=seed,
            prune=True,
            chance=25.0,
            identity={},
        )
    )
    predicted(folder, output, output.parent)
    return output.parent


def predicted(folder: Path, start: Path, output: Path) -> None:
    data = {language: folder / "data" / f"{language}.parquet" for language in ("en", "de")}
    predict(start, data, output / "predictions.json", PREDICTION, identity={})


def results(folder: Path) -> dict[str, bytes]:
    """Everything a job made, but for what it cost."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "timing.json"}


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "model" / FROZEN).glob("*")}


def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the number of every layer that runs from here on."""
    found: list[int] = []
    forward = TaskModel.hidden

    def counting(self: TaskModel, batch: Batch, layer: int = -1) -> torch.Tensor:
        layers = self.backbone.encoder.layer
        hooks = [layers[i].register_forward_hook(lambda *_, i=i: found.append(i)) for i in range(len(layers))]
        try:
            return forward(self, batch, layer)
        finally:
            for hook in hooks:
                hook.remove()

    monkeypatch.setattr(TaskModel, "hidden", counting)
    return found


def test_the_bytes_are_those_without_and_the_frozen_layer_runs_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frozen, "_ROOM", 0)
        alone = results(made(folder, "alone"))
        assert not kept(folder)
    with monkeypatch.context() as patch:
        layers = runs(patch)
        first = results(made(folder, "first"))
    known = kept(folder)
    with monkeypatch.context() as patch:
        again = runs(patch)
        second = results(made(folder, "second"))
    assert first == second
    # Where a checkpoint lies in relation to its base is the same for all three.
    assert first == alone
    assert known
    assert kept(folder) == known
    # Of three layers one is frozen.
    assert set(layers) == {0, 1, 2}
    assert set(again) == {1, 2}
    assert layers.count(2) == again.count(2)


def test_training_finds_its_inputs_whatever_its_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other epochs, seeds and batches find what one run has kept; the model learns what it would learn without."""
    made(folder, "first")
    known = kept(folder)
    made(folder, "again", dataclasses.replace(SETTINGS, epochs=3, batch_size=5), seed=1)
    assert kept(folder) == known
    monkeypatch.setattr(frozen, "_MEMORY", 0)
    made(folder, "whole")
    ours, plain = (load_file(folder / name / "seed0" / "model.safetensors") for name in ("first", "whole"))
    assert ours.keys() == plain.keys()
    for name in ours:
        # Batches differ, so sums round otherwise, and Adam makes whole steps of the smallest gradients: up to 2.3e-5 was seen.
        torch.testing.assert_close(ours[name], plain[name], rtol=0, atol=1e-4)


def test_less_than_an_epoch_reads_nothing_before_it_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(frozen._Frozen, "read", lambda _, __, examples: given.append(len(examples)))
    made(folder, "part", dataclasses.replace(SETTINGS, max_updates=2))
    made(folder, "whole")
    training, predicting = given[::2], given[1::2]
    assert training[0] == 0 < training[1]
    assert predicting == [0, 0]


def test_a_checkpoint_over_a_checkpoint_shares_with_the_base(folder: Path) -> None:
    made(folder, "first")
    before = kept(folder)
    made(folder, "over", start="first/seed0/checkpoint.json")
    assert kept(folder) == before  # another upper half, the same batches


def test_how_deep_a_model_is_the_base() -> None:
    """All of it where nothing was trained, as in retrieval, where all seeds are one and the same model."""
    backbone = torch.nn.Module()
    backbone.encoder = torch.nn.Module()
    backbone.encoder.layer = torch.nn.ModuleList([torch.nn.Linear(1, 1) for _ in range(12)])
    assert frozen._depth(backbone, set()) == 12
    assert frozen._depth(backbone, {"encoder.layer.10.x", "encoder.layer.11.x"}) == 10
    assert frozen._depth(backbone, {"encoder.layer.1.x"}) == 1  # not 10 or 11, whose names begin alike
    assert frozen._depth(backbone, {"embeddings.word_embeddings.weight"}) == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_damaged_states_are_computed_anew(folder: Path, damage: str) -> None:
    first = results(made(folder, "first"))
    for path in (folder / "model" / FROZEN).iterdir():
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-4] if damage == "cut" else b"")
    assert results(made(folder, "second")) == first


def test_nothing_is_kept_where_there_is_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "_ROOM", 0)
    full = results(made(folder, "full"))
    assert not kept(folder)
    monkeypatch.undo()
    assert results(made(folder, "first")) == full


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(folder: Path) -> None:
    (folder / "model" / FROZEN).write_text("in the way")
    blocked = results(made(folder, "blocked"))
    (folder / "model" / FROZEN).unlink()
    assert results(made(folder, "first")) == blocked


@pytest.mark.parametrize(
    "change", [{"freeze_embeddings": False}, {"freeze_layers": 0}], ids=["trained embeddings", "no frozen layer"]
)
def test_nothing_is_shared_of_what_is_trained(folder: Path, change: dict[str, Any]) -> None:
    made(folder, "all", dataclasses.replace(SETTINGS, **change))
    # Frozen embeddings alone are no layer.
    assert not kept(folder)


def test_dropout_draws_anew_in_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dataclasses.replace(SETTINGS, dropout=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(frozen, "share", lambda *_, **__: None)
        alone = results(made(folder, "alone", settings))
    assert results(made(folder, "first", settings)) == alone
    assert kept(folder)  # of dev and test


def test_another_base_has_states_of_its_own(folder: Path) -> None:
    made(folder, "first")
    before = set(kept(folder))
    tiny.encoder(folder / "other", layers=3, seed=1)
    shutil.move(folder / "model" / FROZEN, folder / "other" / FROZEN)
    made(folder, "second", start="other/model.json")
    after = {path.name for path in (folder / "other" / FROZEN).iterdir()}
    assert before < after
    assert len(after) == 2 * len(before)


def test_kept_states_are_what_is_used(folder: Path) -> None:
    """A planted fault: states that are whole and wrong are believed."""
    first = results(made(folder, "first"))
    for path in (folder / "model" / FROZEN).iterdir():
        states = -np.load(path)
        with open(path, "wb") as handle:
            np.save(handle, states)
            handle.write(zlib.crc32(states.data).to_bytes(4, "big"))
    assert results(made(folder, "second"))["model.safetensors"] != first["model.safetensors"]


def test_states_that_a_disk_lost_are_computed_again(folder: Path) -> None:
    """Zeros behind an intact header, as long as before: not believed, and mended."""
    first = results(made(folder, "first"))
    whole = kept(folder)
    for path in (folder / "model" / FROZEN).iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:200] + bytes(len(content) - 200))
    assert results(made(folder, "second"))["model.safetensors"] == first["model.safetensors"]
    assert kept(folder) == whole


def test_rows_hold_every_input_once_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(3, 20, 60).tolist()
    rows = packs(lengths, 64)
    assert sorted(i for row in rows for i in row) == list(range(60))
    filled = [sum(lengths[i] for i in row) for row in rows]
    assert sum(filled) > 0.9 * max(filled) * len(rows)
    assert max(filled) < 1.1 * 64
    assert packs([100, 7, 93], 64) == [[0], [2], [1]]
    assert packs([9], 64) == [[0]]


@pytest.mark.parametrize("name", ["Bert", "XLMRoberta"])
def test_inputs_in_rows_are_what_they_are_in_a_batch(name: str, tmp_path: Path) -> None:
    """Both classes, with token types: positions and types are in the states, and inputs of a row do not meet."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        type_vocab_size=2,
        pad_token_id=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    backbone = getattr(transformers, f"{name}Model")(config, add_pooling_layer=False).train()
    cut = frozen._Frozen(backbone, Source(tmp_path, {"weights_sha256": "x"}), 2)
    lengths = [40, 3, 60, 17, 90, 5, 33]
    mask = torch.arange(90) < torch.tensor(lengths)[:, None]
    ids = torch.where(mask, torch.randint(5, 50, mask.shape), 1)
    arguments = {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": (ids > 25).long() * mask}
    states = cut._states(arguments, ids)
    found = cut._packed([states[i, :n] for i, n in enumerate(lengths)])
    whole = backbone(**arguments).last_hidden_state
    assert found.shape == whole.shape
    assert torch.allclose(found[mask], whole[mask], atol=1e-5)
    assert not found[~mask].any()
    weight = torch.randn(whole[mask].shape)
    parameters = list(backbone.encoder.layer[2].parameters())
    gradients, expected = (torch.autograd.grad((of[mask] * weight).sum(), parameters) for of in (found, whole))
    assert max(float(one.abs().max()) for one in expected) > 1.0
    for one, other in zip(gradients, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
