"""Low-rank adapters: what they train, merging against peft itself, stages on stages, and resuming to the same bytes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny
from stiltsweep.errors import Interrupted, UserError
from stiltsweep.files import canonical, digest_file, read_json, write_record
from stiltsweep.kinds import Form, Limits, Representation, form
from stiltsweep.models.batches import Example
from stiltsweep.models.load import Source, build, save_checkpoint, trainable, weights
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import read_meta, read_rows
from stiltsweep.schema import check_training
from stiltsweep.settings import TrainingSettings, overlay
from stiltsweep.training import loop

HOW = Representation("mean", -1, "mean", "")
LIMITS = Limits(60, 8, 16)
ADAPTERS = {"rank": 4, "alpha": 12, "dropout": 0.0}
SETTINGS = TrainingSettings(
    epochs=2, batch_size=8, learning_rate=1e-2, max_length=60, evaluations=2, lora={**ADAPTERS, "dropout": 0.1}
)


@pytest.fixture(params=["encoder", "text2text"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make = {"encoder": tiny.encoder, "text2text": tiny.text2text}[request.param]
    return make(tmp_path / "model")


def of(source: Source, data: Path) -> tuple[TaskModel, Form, list[Example]]:
    pieces = Tokenizer.from_directory(source.base)
    kind = form(read_meta(data), pieces, interface=source.interface, limits=LIMITS, representation=HOW)
    examples = kind.encode(read_rows(data, "train"), training=True)
    return build(source, kind, kept=None, seed=0, dropout=0.0, head_from=source.checkpoint), kind, examples


def loss(model: TaskModel, kind: Form, examples: list[Example]) -> float:
    with torch.no_grad():
        return float(kind.loss(model.eval(), model.collate(examples, torch.device("cpu"))))


def adapt(model: TaskModel, seed: int, *, adapters: dict[str, Any] = ADAPTERS, frozen: int = 0) -> list[str]:
    """Attach adapters and give all of them weights, so that each changes something."""
    found = trainable(model, freeze_embeddings=False, freeze_layers=frozen, adapters=adapters, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in found:
            parameter.normal_(0.0, 0.2, generator=generator)
    return [name for name, _ in found]


def saved(folder: Path, model: TaskModel, source: Source, names: list[str]) -> Source:
    folder.mkdir()
    digests = save_checkpoint(folder, model, source, names)
    write_record(folder / "checkpoint.json", {"base": f"../{source.base.name}", "seed": 0, **digests})
    return Source.read(folder / "checkpoint.json")


def test_a_merged_model_is_the_one_that_was_trained_stage_after_stage(tmp_path: Path, start: Path) -> None:
    data = tiny.classification(tmp_path / "data", train=12, dev=4, test=4)["en"]
    source = Source.read(start)
    model, kind, examples = of(source, data)
    before = loss(model, kind, examples)
    fresh = trainable(model, freeze_embeddings=False, freeze_layers=0, adapters=ADAPTERS, seed=1)
    assert loss(model, kind, examples) == before  # adapters begin by changing nothing
    assert all(".lora_" in name for name, _ in fresh)
    for number in (1, 2, 3):
        model, kind, examples = of(source, data)
        before, names = loss(model, kind, examples), adapt(model, number)
        changed = loss(model, kind, examples)
        source = saved(tmp_path / f"stage{number}", model, source, names)
        merged, kind, examples = of(source, data)
        assert abs(changed - before) > 0.01
        assert loss(merged, kind, examples) == pytest.approx(changed, rel=1e-5)
    stored = load_file(tmp_path / "stage3" / "model.safetensors")
    # Three stages of two small matrices each, and nothing else; peft's own numbers of the last one.
    assert {name.rsplit(".", 3)[2] for name in stored} == {"0", "1", "2"}
    peft = {name: p for name, p in model.backbone.named_parameters() if ".lora_" in name}
    first = next(name for name in stored if name.endswith(".lora.2.A"))
    module = first.removesuffix(".weight.lora.2.A")
    assert stored[first].equal(peft[f"{module}.lora_A.default.weight"].detach())
    torch.testing.assert_close(stored[f"{first[:-1]}B"], 3 * peft[f"{module}.lora_B.default.weight"].detach())


def test_whole_weights_after_adapters_and_adapters_after_whole_weights(tmp_path: Path, start: Path) -> None:
    data = tiny.classification(tmp_path / "data", train=12, dev=4, test=4)["en"]
    source = Source.read(start)
    generator = torch.Generator().manual_seed(3)
    for number, adapted in enumerate((True, False, True, False)):
        model, kind, examples = of(source, data)
        if adapted:
            names = adapt(model, number)
        else:
            # The lower layer stays as it is, with the adapters that it has by now.
            found = trainable(model, freeze_embeddings=True, freeze_layers=1)
            with torch.no_grad():
                for _, parameter in found:
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
            names = [name for name, _ in found]
        expected = loss(model, kind, examples)
        source = saved(tmp_path / f"stage{number}", model, source, names)
        again, kind, examples = of(source, data)
        assert loss(again, kind, examples) == pytest.approx(expected, rel=1e-5), number
    stored = load_file(tmp_path / "stage3" / "model.safetensors")
    both = [name for name in stored if ".lora." in name and name.partition(".lora.")[0] in stored]
    assert not both  # what was trained whole holds its adapters already
    assert any(".lora.1.A" in name for name in stored)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (True, "training: lora: True is not of type object or null.*{rank: 16} for example"),
        (16, "training: lora: 16 is not of type object or null"),
        ({"alpha": 4}, "training: lora: the key 'rank' is missing"),
        ({"rank": 0}, "training: lora.rank: 0 is less than the minimum of 1"),
        ({"rank": "x"}, "training: lora.rank: 'x' is not of type integer"),
        ({"rank": 4, "alpha": -1}, "training: lora.alpha: -1 is less than the minimum of 1"),
        ({"rank": 4, "dropout": 1}, "training: lora.dropout: 1 is greater than the maximum of 0.9"),
        ({"rank": 4, "targets": ["q"]}, "training: lora: unknown key 'targets'; known: rank, alpha, dropout"),
    ],
)
def test_what_is_no_adapter_is_refused_with_what_is_one(said: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        check_training({"lora": said}, "x.yaml: training")


def test_adapters_are_one_setting_however_they_are_written() -> None:
    # `--config` makes text of all that stands within a mapping; YAML has 16.0 for 16 where a program wrote it.
    ways = [{"rank": 16}, {"rank": "16"}, {"rank": 16.0, "dropout": 0}, {"rank": 16, "alpha": 32, "dropout": "0.0"}]
    found = {canonical(overlay("target", check_training({"lora": way}, "x")).lora) for way in ways}
    assert found == {'{"alpha":32,"dropout":0.0,"rank":16}'}
    assert overlay("target", {"lora": {"rank": 4}}, check_training({"lora": "null"}, "x")).lora is None


def test_frozen_layers_get_no_adapters_and_a_seed_is_a_seed(tmp_path: Path, start: Path) -> None:
    data = tiny.classification(tmp_path / "data", train=12, dev=4, test=4)["en"]
    drawn = []
    for seed in (1, 1, 2):
        model, _, _ = of(Source.read(start), data)
        state = torch.random.get_rng_state()
        found = trainable(model, freeze_embeddings=False, freeze_layers=1, adapters=ADAPTERS, seed=seed)
        assert torch.random.get_rng_state().equal(state)
        drawn.append({name: parameter.detach() for name, parameter in found})
        names = [name for name, _ in found if not name.startswith("decoder.")]
        assert names and all(name.startswith(("encoder.layer.1.", "encoder.block.1.")) for name in names)
    assert all(drawn[0][name].equal(drawn[1][name]) for name in drawn[0])
    assert any(not drawn[0][name].equal(drawn[2][name]) for name in drawn[0])
    model, _, _ = of(Source.read(start), data)
    if not model.form.writes:  # of a model that writes, the decoder's layers are never frozen
        with pytest.raises(UserError, match="no linear layers above freeze_layers"):
            trainable(model, freeze_embeddings=False, freeze_layers=2, adapters=ADAPTERS)


def test_a_run_goes_on_to_the_same_bytes_and_the_next_stage_starts_from_it(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.classification(tmp_path / "data", train=32, dev=8, test=4)["en"]
    run = tiny.run(start, data, tmp_path / "out", SETTINGS, HOW)
    loop.train(run)
    expected = read_json(run.output)
    assert expected["settings"]["lora"] == {"rank": 4, "alpha": 12, "dropout": 0.1}
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert size < (start.parent / "model.safetensors").stat().st_size
    kept = digest_file(tmp_path / "out" / "model.safetensors")
    shutil.rmtree(tmp_path / "out")
    update, count = loop._Trainer.update, 0

    def stopping(self: Any, work: Any) -> None:
        nonlocal count
        update(self, work)
        count += 1
        if count == 5:
            self._save()
            raise Interrupted("here")

    monkeypatch.setattr(loop._Trainer, "update", stopping)
    with pytest.raises(Interrupted):
        loop.train(run)
    monkeypatch.setattr(loop._Trainer, "update", update)
    loop.train(run)
    assert read_json(run.output)["weights_sha256"] == expected["weights_sha256"] == kept
    # The next stage: adapters upon adapters, the merged weights of the first as its start.
    second = replace(run, start=run.output, output=tmp_path / "second" / "checkpoint.json", seed=1)
    loop.train(second)
    base, one, two = (weights(Source.read(path), None) for path in (start, run.output, second.output))
    changed = [name for name in base if not base[name].equal(two[name])]
    assert changed and all(not one[name].equal(base[name]) and not one[name].equal(two[name]) for name in changed)
    stored = load_file(tmp_path / "second" / "model.safetensors")
    first = load_file(tmp_path / "out" / "model.safetensors")
    assert all(stored[name].equal(first[name]) for name in first)
