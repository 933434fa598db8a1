"""Training with several processes: the same losses and weights as with one, and each goes on from the other's state."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import test_mixture
import torch
from safetensors.torch import load_file
from test_training import SETTINGS, TRAIN, a_run
from transformers.models.bert.modeling_bert import BertAttention

from stiltsweep.files import digest_file, read_json
from stiltsweep.settings import TrainingSettings
from stiltsweep.training import loop, processes

CONTEXT = multiprocessing.get_context("fork")


def together(size: int, folder: Path, run: loop.Run, prepare: Callable[[int], None] = lambda rank: None) -> None:
    """Train in forks of this process, which has imported everything."""

    def member(rank: int) -> None:
        os.environ["STILTSWEEP_MEMBER"] = f"{rank} {size} {folder}/store"
        prepare(rank)
        loop.train(run)

    members = [CONTEXT.Process(target=member, args=(rank,)) for rank in range(size)]
    for one in members:
        one.start()
    for one in members:
        one.join(60)
        assert one.exitcode is not None, "it waits for ever"
    (folder / "store").unlink(missing_ok=True)


def losses(output: Path) -> list[float]:
    history = map(json.loads, output.with_name("history.jsonl").read_text().splitlines())
    return [entry["loss"] for entry in history if "loss" in entry]


def same(one: Path, other: Path, tolerance: float = 2e-4) -> None:
    """Compare what two trainings ended with: sums in another order differ in the last digits."""
    assert losses(one) == pytest.approx(losses(other), rel=1e-3, abs=1e-4)
    for name in sorted(path.name for path in other.parent.glob("*.safetensors")):
        a, b = (load_file(path.with_name(name)) for path in (one, other))
        assert a.keys() == b.keys()
        for key in a:
            assert torch.allclose(a[key].float(), b[key].float(), atol=tolerance), key
    about, expected = (read_json(path) for path in (one, other))
    varying = {"weights_sha256", "head_sha256", "record_sha256"}
    assert {k: v for k, v in about.items() if k not in varying} == {
        k: v for k, v in expected.items() if k not in varying
    }


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**{**SETTINGS.to_json(), "dropout": 0.0, "learning_rate": 1e-3, "epochs": 1, **changes})


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_two_processes_train_what_one_does(tmp_path: Path, optimizer: str) -> None:
    wanted = settings(optimizer=optimizer)
    one, two = a_run(tmp_path / "one", wanted), a_run(tmp_path / "two", wanted)
    loop.train(one)
    together(2, tmp_path, two)
    same(two.output, one.output)
    assert not (two.output.parent / "state").exists()


def test_two_processes_train_a_mixture_that_generates(tmp_path: Path) -> None:
    """Tied embeddings, a decoder that is called outside the model's own forward pass, tasks in turn."""
    mixed = test_mixture.mixture({"commands": (["en"], None, 25.0), "text": (["de", "fi"], 0.3, 0.0)})
    wanted = replace(
        test_mixture.SETTINGS, epochs=0.5, evaluations=1, dropout=0.0, learning_rate=1e-3, optimizer="adafactor"
    )
    one, two = (
        test_mixture.a_run(tmp_path / name, mixed, interface="text2text", settings=wanted) for name in ("one", "two")
    )
    loop.train(one)
    together(2, tmp_path, two)
    same(two.output, one.output)


def test_activations_computed_again_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last byte, dropout included; and what was kept without is not."""
    wanted = settings(dropout=0.1, max_updates=3)
    kept, again = a_run(tmp_path / "kept", wanted), a_run(tmp_path / "again", wanted)
    calls = []
    forward = BertAttention.forward

    def counted(self: BertAttention, *arguments: Any, **options: Any) -> Any:
        calls.append(self.training)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(BertAttention, "forward", counted)
    loop.train(kept)
    once = sum(calls)
    loop.train(replace(again, gradient_checkpointing=True))
    assert sum(calls) - once == 2 * once
    for name in ("checkpoint.json", "model.safetensors", "head.safetensors", "history.jsonl"):
        assert digest_file(kept.output.with_name(name)) == digest_file(again.output.with_name(name))


def test_any_number_goes_on_from_where_another_stopped(tmp_path: Path) -> None:
    """Two processes, then one, then three; a signal that reaches only one of them stops all after the same update."""
    wanted = settings(warmup=0.2)
    whole, run = a_run(tmp_path / "whole", wanted), a_run(tmp_path / "pieces", wanted)
    loop.train(whole)
    original = loop._Trainer.update

    def stop_after(update: int) -> None:
        def and_signal(self: loop._Trainer, work: Any) -> None:
            original(self, work)
            if self.progress.update + 1 == update:
                os.kill(os.getpid(), signal.SIGTERM)

        loop._Trainer.update = and_signal  # type: ignore[method-assign]

    together(2, tmp_path, run, lambda rank: stop_after(3) if rank == 1 else None)
    assert [path.name for path in sorted(run.output.parent.glob("state/*/*.json"))] == ["00000003.json"]
    try:
        stop_after(6)
        with pytest.raises(loop.Interrupted, match="after update 6"):
            loop.train(run)
    finally:
        loop._Trainer.update = original  # type: ignore[method-assign]
    together(3, tmp_path, run)
    same(run.output, whole.output)


@pytest.mark.e2e
def test_a_signal_to_the_script_saves_in_all_processes(tmp_path: Path) -> None:
    run = a_run(tmp_path, settings(save_minutes=0.0, epochs=200))
    arguments = [
        *(sys.executable, str(TRAIN), "--stage", "target", "--start", str(run.start), "--data", str(run.data[0])),
        *("--settings", json.dumps(run.settings.to_json()), "--seed", "0", "--prune", "--chance", "25"),
        *("--representation", '{"pooling": "mean", "retrieval": {"layer": -1, "pooling": "mean", "prefix": ""}}'),
        *("--processes", "2", "--output", str(run.output)),
    ]
    state = run.output.parent / "state"
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(state.glob("*/*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.count("the training state is saved") == 2
    assert list(state.glob("*/*.json"))


@pytest.mark.parametrize(
    ("code", "status"),
    [("sys.exit(0)", 0), ("time.sleep(120) if rank == 0 else sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)],
)
def test_one_that_fails_ends_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, status: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    script = f"import os, sys, time; rank = int(os.environ['STILTSWEEP_MEMBER'].split()[0]); {code}; "
    # Who is ended does not come to this: how long that takes is the machine's business.
    script += f"open({str(tmp_path / 'end')!r}, 'w')"
    monkeypatch.setattr(sys, "argv", ["-c", script])
    assert processes.launch(2) == status
    assert not (tmp_path / "end").exists()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("asked", "there", "expected"), [(4, 2, 2), (2, 8, 2), (1, 8, 1), (0, 8, 1), (4, 0, 1)])
def test_as_many_processes_as_gpus_that_were_asked_for_and_are_there(
    monkeypatch: pytest.MonkeyPatch, asked: int, there: int, expected: int
) -> None:
    monkeypatch.delenv("STILTSWEEP_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert processes.wanted(asked) == expected
    monkeypatch.setenv("STILTSWEEP_DEVICE", "cpu")
    assert processes.wanted(asked) == 1


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_parts_of_an_update_are_dealt_out_once_and_evenly(parts: int, size: int) -> None:
    dealt = []
    for rank in range(size):
        team = processes.Team()
        team.rank, team.size = rank, size
        dealt.append(team.deal([f"part {number}" for number in range(parts)]))
    assert len({len(mine) for mine in dealt}) == 1
    counted = [part for mine in dealt for part, factor in mine if factor]
    assert sorted(counted) == [f"part {number}" for number in range(parts)]
    assert {factor for mine in dealt for _, factor in mine} <= {0.0, float(size)}
