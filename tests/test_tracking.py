"""What is sent of a training while it runs, read back from TensorBoard's files; the training itself is the same."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import tiny
from stiltsweep import preflight
from stiltsweep.errors import UserError
from stiltsweep.kinds import Representation
from stiltsweep.settings import TrainingSettings
from stiltsweep.training import loop, tracking

SETTINGS = TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-3, max_length=32, evaluations=2)
events = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed: make .venv/.checks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracked")
    tiny.encoder(folder / "model", layers=2)
    tiny.classification(folder / "data")
    return folder


def train(folder: Path, name: str, service: str | None) -> Path:
    output = folder / name / "seed0" / "checkpoint.json"
    loop.train(
        loop.Run(
            start=folder / "model" / "model.json",
            data=[folder / "data" / "en.parquet"],
            output=output,
            settings=SETTINGS,
            representation=Representation("mean", -1, "mean", ""),
            seed=0,
            prune=True,
            chance=25.0,
            identity={"stage": "target", "model": "tiny"},
            tracking=service,
        )
    )
    return output


def scalars(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read TFRecords: length, its checksum, an event, its checksum."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = events.Event.FromString(data[at + 12 : at + 12 + length])
        for value in event.summary.value:
            found[value.tag].append((event.step, value.simple_value))
        at += length + 16
    return found


def test_tensorboard_shows_what_the_history_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_SECONDS", 0.0)
    plain, watched = (train(folder, name, service) for name, service in (("plain", None), ("watched", "tensorboard")))
    assert (plain.parent / "model.safetensors").read_bytes() == (watched.parent / "model.safetensors").read_bytes()
    assert (plain.parent / "history.jsonl").read_bytes() == (watched.parent / "history.jsonl").read_bytes()
    assert not (plain.parent / tracking.FOLDER).exists()
    sent: dict[str, list[tuple[int, float]]] = {}
    for path in tracking.folder(watched).rglob("events.out.*"):
        sent |= {tag: values for tag, values in scalars(path).items() if values}
    history = [json.loads(line) for line in (watched.parent / "history.jsonl").read_text().splitlines()]
    losses = [(entry["update"], entry["loss"]) for entry in history if "loss" in entry]
    assert [step for step, _ in sent["train/loss"]] == [step for step, _ in losses]
    assert [value for _, value in sent["train/loss"]] == pytest.approx([value for _, value in losses], rel=1e-6)
    (tag,) = [tag for tag in sent if tag.startswith("dev/")]
    dev = [(entry["update"], entry["dev"]) for entry in history if "dev" in entry]
    assert sent[tag] == [(step, pytest.approx(value)) for step, value in dev]
    assert all(value > 0 for _, value in sent["train/tokens_per_second"])


def test_a_service_that_fails_ends_its_own_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from accelerate import tracking as accelerates

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(accelerates.TensorBoardTracker, "log", fail)
    with caplog.at_level("WARNING"):
        output = train(folder, "failing", "tensorboard")
    assert output.exists()
    (said,) = [record.getMessage() for record in caplog.records if "tracking" in record.getMessage()]
    assert said == "tracking stops: ConnectionError: no route to host"


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert {name: tracking.missing(name) for name in tracking.LIBRARIES} == {
        "tensorboard": "tensorboardX",
        "trackio": "trackio",
        "wandb": "wandb",
        "mlflow": "mlflow",
    }
    jobs: Any = type(
        "Jobs",
        (),
        {"config": {"tracking": "wandb", "resources": {"share": 1, "gpus": 1}}, "sweep": None, "catalog": None},
    )()
    with pytest.raises(UserError, match=r"tracking: wandb: the package wandb is not installed\. Hint: pip --"):
        preflight._check_trainings(jobs)
    assert sys.executable
