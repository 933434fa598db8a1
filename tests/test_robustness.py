"""What clusters, disks and people do to a run: it ends in a correct result or in one clear sentence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import entries
import pytest
import test_e2e
import torch
import yaml
from running import command, snakemake, until
from test_training import SETTINGS, TRAIN, a_run

from stiltsweep.errors import UserError, run_script
from stiltsweep.files import digest_file, read_json, remove_leftovers, replacing, write_json
from stiltsweep.models import device
from stiltsweep.models.batches import Batch
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tensors import read_tensors
from stiltsweep.records import read_rows
from stiltsweep.settings import TrainingSettings
from stiltsweep.training import loop, mixture
from stiltsweep.training.state import StateFolder

ROOT = Path(__file__).parents[1]
RESULT = ("checkpoint.json", "model.safetensors", "head.safetensors", "history.jsonl")


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**{**SETTINGS.to_json(), **changes})


def result(folder: Path) -> dict[str, str]:
    return {name: digest_file(folder / "out" / name) for name in RESULT}


def undisturbed(folder: Path, plan: TrainingSettings) -> dict[str, str]:
    """Return the result of a run of the command line that nothing happened to."""
    loop.train(replace(a_run(folder, plan), identity={"stage": "target", "model": "tiny"}))
    return result(folder)


def arguments(run: loop.Run) -> list[str]:
    """Return the command line of a run."""
    return [
        *(sys.executable, str(TRAIN), "--stage", "target", "--start", str(run.start), "--data", *map(str, run.data)),
        *("--settings", json.dumps(run.settings.to_json()), "--seed", str(run.seed), "--prune", "--chance", "25"),
        *("--representation", '{"pooling": "mean", "retrieval": {"layer": -1, "pooling": "mean", "prefix": ""}}'),
        *("--identity", '{"model": "tiny"}', "--output", str(run.output)),
    ]


def start(run: loop.Run, log: Path, **more: Any) -> subprocess.Popen[bytes]:
    with open(log, "wb") as handle:
        return subprocess.Popen(arguments(run), stderr=handle, env={**os.environ, "STILTSWEEP_WARM": "off"}, **more)


# Training state


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


FAULTS: dict[str, Callable[[Path], Any]] = {
    "a flipped bit in the tensors": lambda path: flip(path.with_suffix(".safetensors"), -1),
    "a flipped bit in their header": lambda path: flip(path.with_suffix(".safetensors"), 20),
    "a changed digit": lambda path: path.write_text(path.read_text().replace('"loss": 0.25', '"loss": 0.75')),
    "cut tensors": lambda path: os.truncate(path.with_suffix(".safetensors"), 30),
    "empty tensors": lambda path: os.truncate(path.with_suffix(".safetensors"), 0),
    "no tensors": lambda path: path.with_suffix(".safetensors").unlink(),
    "cut JSON": lambda path: os.truncate(path, 30),
    "empty JSON": lambda path: os.truncate(path, 0),
    "no JSON": lambda path: path.unlink(),
    "other JSON": lambda path: path.write_text("[1, 2]"),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_of_a_damaged_state_the_one_before_is_taken(fault: str, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, {"seed": 0})
    for update in (1, 2):
        folder.save(update, {"x": torch.full((4,), float(update))}, {"loss": 0.25})
    assert folder.load()[0] == 2  # type: ignore[index]
    FAULTS[fault](folder.folder / "00000002.json")
    update, tensors, values = folder.load()  # type: ignore[misc]
    assert (update, tensors["x"][0], values) == (1, 1.0, {"loss": 0.25})


OTHERS: list[dict[str, Any]] = [
    {"settings": {"epochs": 4, "seed": 1}, "data": "a" * 64},
    {"settings": {"epochs": 3, "seed": 1, "more": 1}, "data": "a" * 64},
    {"settings": {"epochs": 3, "seed": 1}, "data": "b" * 64},
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_state_of_another_run_is_neither_taken_nor_lost(other: dict[str, Any], tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, {"settings": {"epochs": 3, "seed": 1}, "data": "a" * 64})
    folder.save(1, {}, {})
    assert StateFolder(tmp_path, other).load() is None
    for update in (2, 3, 4):
        StateFolder(tmp_path, other).save(update, {}, {})
    assert folder.load() == (1, {}, {})
    # Nor one that somebody has put where the other run's own lie.
    shutil.rmtree(StateFolder(tmp_path, other).folder)
    shutil.copytree(folder.folder, StateFolder(tmp_path, other).folder)
    assert StateFolder(tmp_path, other).load() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_settings_that_decide_nothing_may_change(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job told to stop by its cluster saves in time; it may go on with another interval between saves.

    One with another setting that counts begins anew meanwhile, and takes nothing away.
    """
    run = a_run(tmp_path, settings(epochs=12))
    process = start(run, tmp_path / "log")
    until(lambda: b"update 32 of" in (tmp_path / "log").read_bytes())
    process.send_signal(number)
    assert process.wait() == 130
    stopped = re.search(
        rf"interrupted: signal {int(number)} after update (\d+); the training state is saved",
        (tmp_path / "log").read_text(),
    )
    assert stopped
    (saved,) = (tmp_path / "out" / "state").glob("*/[0-9]*.json")
    half = saved.with_name(".00000099.safetensors.1.abcd.tmp")
    half.touch()
    updates: list[float] = []
    original = loop._Trainer.update

    def update(self: loop._Trainer, work: Any) -> None:
        original(self, work)
        updates.append(self.settings.epochs)
        if self.settings.epochs == 11:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop._Trainer, "update", update)
    with pytest.raises(loop.Interrupted, match="after update 1;"):
        loop.train(a_run(tmp_path, settings(epochs=11)))
    assert saved.exists() and len(list((tmp_path / "out" / "state").glob("*/[0-9]*.json"))) == 2
    assert not half.exists()
    loop.train(a_run(tmp_path, settings(epochs=12, save_minutes=3.0)))
    assert len(updates) == 1 + 96 - int(stopped[1])
    assert not (tmp_path / "out" / "state").exists()
    loop.train(a_run(tmp_path / "whole", settings(epochs=12, save_minutes=3.0)))
    assert result(tmp_path) == result(tmp_path / "whole")


# Two copies of a job


def test_a_second_copy_waits_and_repeats_nothing(tmp_path: Path) -> None:
    run = a_run(tmp_path, settings(epochs=12))
    first = start(run, tmp_path / "first.log")
    until((tmp_path / "out" / "state" / "lock-00000001").exists)
    second = start(run, tmp_path / "second.log")
    assert (first.wait(), second.wait()) == (0, 0)
    log = (tmp_path / "second.log").read_text()
    assert f"process {first.pid} on" in log and "already there, made with the same settings" in log
    assert "update 32 of" in (tmp_path / "first.log").read_text() and "update 32 of" not in log
    assert not (tmp_path / "out" / "state").exists()
    assert result(tmp_path) == undisturbed(tmp_path / "whole", settings(epochs=12))


def test_a_second_copy_goes_on_where_a_killed_first_one_was(tmp_path: Path) -> None:
    run = a_run(tmp_path, settings(epochs=12, save_minutes=0.0))
    first = start(run, tmp_path / "first.log")
    until(lambda: list((tmp_path / "out" / "state").glob("*/0000000[3-9].json")))
    first.send_signal(signal.SIGSTOP)  # or it may be done before the second one has started
    second = start(run, tmp_path / "second.log")
    until(lambda: "waiting" in (tmp_path / "second.log").read_text())
    first.kill()
    first.wait()
    assert second.wait() == 0
    log = (tmp_path / "second.log").read_text()
    assert "is gone; taking over" in log and re.search(r"resumed after update \d+ of 96", log)
    assert result(tmp_path) == undisturbed(tmp_path / "whole", settings(epochs=12, save_minutes=0.0))


def test_two_configurations_that_write_to_one_place_take_turns(tmp_path: Path) -> None:
    """Two sweeps with the same results folder: no mixture of both, and the later one has what it asked for."""
    first = start(a_run(tmp_path, settings(epochs=12)), tmp_path / "first.log")
    until((tmp_path / "out" / "state" / "lock-00000001").exists)
    second = start(a_run(tmp_path, settings(epochs=2)), tmp_path / "second.log")
    assert (first.wait(), second.wait()) == (0, 0)
    assert result(tmp_path) == undisturbed(tmp_path / "whole", settings(epochs=2))


def test_a_finished_run_is_made_again_only_if_something_of_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake deletes what it declared before it starts a job, also of one that its last controller did not see end."""
    run = a_run(tmp_path)
    loop.train(run)
    before, seconds = result(tmp_path), (tmp_path / "out" / "timing.json").stat().st_mtime_ns
    run.output.unlink()
    with monkeypatch.context() as patch:
        # Known from what the data say of themselves: not a row is read, and no model built.
        patch.setattr(mixture, "read_rows", None)
        patch.setattr(loop, "build", None)
        loop.train(run)
    assert (tmp_path / "out" / "timing.json").stat().st_mtime_ns == seconds
    assert result(tmp_path) == before
    flip(tmp_path / "out" / "model.safetensors", -1)
    loop.train(run)
    assert (tmp_path / "out" / "timing.json").stat().st_mtime_ns != seconds
    assert result(tmp_path) == before
    loop.train(a_run(tmp_path, settings(epochs=1)))
    assert result(tmp_path) != before


def test_the_later_of_two_that_prepare_one_file_ends_last(tmp_path: Path) -> None:
    """One that a killed controller has left, with an older definition, and the one of the next run."""
    output, source = tmp_path / "de.parquet", tmp_path / "data" / "de.test.jsonl"
    source.parent.mkdir()
    rows = [{"id": str(i), "text": f"text {i}", "label": ("on", "off")[i % 2]} for i in range(30)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    definition = {"kind": "classification", "licence": "none", "source": entries.lines_source(["test"])}
    definition |= {"languages": {"de": {"test": 30}}, "metrics": ["accuracy"], "parallel": "none", "text2text": {}}

    def prepare(labels: list[str], log: str) -> subprocess.Popen[bytes]:
        told = json.dumps({**definition, "labels": labels})
        command = [sys.executable, str(TRAIN.with_name("prepare.py")), "--task", "commands", "--language", "de"]
        with open(tmp_path / log, "wb") as handle:
            return subprocess.Popen(
                [*command, "--definition", told, "--output", str(output)], stderr=handle, cwd=tmp_path
            )

    first = prepare(["on", "off"], "first.log")
    until((tmp_path / "de.state" / "lock-00000001").exists, 60)
    first.send_signal(signal.SIGSTOP)
    second = prepare(["on", "off", "more"], "second.log")
    until(lambda: "waiting for it" in (tmp_path / "second.log").read_text() or second.poll() is not None, 60)
    first.send_signal(signal.SIGCONT)
    assert (first.wait(), second.wait()) == (0, 0), (tmp_path / "second.log").read_text()
    assert read_json(output.with_suffix(".json"))["labels"] == ["on", "off", "more"]
    assert len(read_rows(output)) == 30
    assert sorted(path.name for path in tmp_path.glob("de.*")) == ["de.json", "de.parquet"]


# Disks


def test_a_full_disk_is_one_sentence_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """The largest file a process may write stands for the room that is left; first for nothing, then without limit."""
    run = a_run(tmp_path, settings(epochs=2, save_minutes=0.0))
    size = 60_000
    process = start(run, tmp_path / "log", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert process.wait() == 1
    log = (tmp_path / "log").read_text()
    assert re.search(
        r"^error: .*state/[0-9a-f]{12}/00000001\.safetensors: the training state cannot be saved \(File too large\)\. Make room",
        log,
        re.M,
    )
    assert "Traceback" not in log
    assert not run.output.exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))
    loop.train(run)
    loop.train(a_run(tmp_path / "whole", settings(epochs=2, save_minutes=0.0)))
    assert result(tmp_path) == result(tmp_path / "whole")


@contextlib.contextmanager
def small_disk(path: Path, options: str) -> Iterator[None]:
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a file system in memory can only be mounted by root")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    run = a_run(tmp_path, settings(epochs=2))
    with small_disk(tmp_path / "out", "size=100k"):
        assert start(run, tmp_path / "log").wait() == 1
        log = (tmp_path / "log").read_text()
        assert re.search(r"^error: .*out/\w+\.\w+: No space left on device\. Nothing was left half-written", log, re.M)
        assert "Traceback" not in log
        assert not run.output.exists()


def test_results_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = test_e2e.make(tmp_path)
    with small_disk(folder / "results", "size=1m,ro"):
        text = snakemake(folder, check=False).text
    assert "error: results: the folder results cannot be written to (Read-only file system). Name another one" in text
    assert "Traceback" not in text and "rule " not in text


@pytest.mark.parametrize("number", [28, 122])
def test_a_file_is_whole_or_not_there(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "cell.json", {"score": 1.0})

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_json(tmp_path / "cell.json", {"score": 2.0})
    assert read_json(tmp_path / "cell.json") == {"score": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["cell.json"]


def test_a_disks_fault_is_one_sentence_and_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(number: int) -> Callable[[], int]:
        def main() -> int:
            raise OSError(number, os.strerror(number), "results/cells/x.json")

        return main

    with pytest.raises(SystemExit, match="1"):
        run_script(fails(28))
    assert capsys.readouterr().err.startswith("error: results/cells/x.json: No space left on device. Nothing was left")
    with pytest.raises(OSError, match="Broken pipe"):
        run_script(fails(32))


def test_what_killed_writers_leave_is_cleared_away(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        shutil.copy(temporary, tmp_path / ".b.json.1.abcd.tmp")
        raise KeyboardInterrupt
    (tmp_path / "c.json").write_text("{}")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


# Reading


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"score": 1.0'])
def test_a_damaged_cell_is_named_with_the_command_that_makes_it_again(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results" / "cells" / "tiny" / "none" / "commands" / "seed0" / "de.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(
        UserError, match=rf"{path}: not a whole JSON file .* Rebuild it with: snakemake --cores 1 --force {path}$"
    ):
        read_json(path)
    path.unlink()
    with pytest.raises(
        UserError, match=rf"{path}: no such file\. Rebuild it with: snakemake --cores 1 --force {path}$"
    ):
        read_json(path)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "flipped", "text"])
def test_damaged_tables_and_weights_are_named_too(damage: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    weights = run.start.with_name("model.safetensors")
    for path in (run.data[0], weights):
        if damage == "gone":
            path.unlink()
        elif damage == "flipped":
            flip(path, -6 if path == run.data[0] else 4)
        else:
            path.write_bytes({"empty": b"", "cut": path.read_bytes()[:200], "text": b"x" * 500}[damage])
    what = "no such file" if damage == "gone" else r"not what was written there \(.*\)"
    with pytest.raises(UserError, match=rf"^{run.data[0]}: {what}\. .*snakemake --cores 1 --force {run.data[0]}$"):
        read_rows(run.data[0])
    with pytest.raises(
        UserError, match=rf"{weights}: (not a whole|no weights).* --force {weights.with_name('checkpoint.json')}$"
    ):
        read_tensors(weights)


# Memory and arithmetic


def short_of_memory(monkeypatch: pytest.MonkeyPatch, tokens: int) -> list[int]:
    """Let the device hold micro-batches of so many tokens and no more; return those that were tried."""
    original, tried = TaskModel.forward, []

    def forward(self: TaskModel, batch: Batch) -> torch.Tensor:
        size = batch.ids_BL.numel()
        tried.append(size)
        if size > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, batch)

    monkeypatch.setattr(TaskModel, "forward", forward)
    return tried


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = settings(dropout=0.0, epochs=1, micro_batch_tokens=256)
    loop.train(a_run(tmp_path / "plenty", plain))
    tried = short_of_memory(monkeypatch, 40)
    loop.train(a_run(tmp_path / "short", plain))
    short, plenty = (read_json(tmp_path / name / "out" / "checkpoint.json") for name in ("short", "plenty"))
    assert max(tried) > 40
    assert short["micro_batch_tokens"] == 32 and "micro_batch_tokens" not in plenty
    assert read_json(tmp_path / "short" / "out" / "timing.json")["micro_batch_tokens"] == 32
    for key in ("updates", "tokens", "examples", "settings"):
        assert short[key] == plenty[key]
    losses = [
        [
            entry["loss"]
            for line in (tmp_path / name / "out" / "history.jsonl").read_text().splitlines()
            if "loss" in (entry := json.loads(line))
        ]
        for name in ("short", "plenty")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_out_of_memory_with_one_example_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 1)
    with pytest.raises(
        UserError, match=r"out of memory on cpu in update 1, with an example of \d+ tokens alone\. Lower max_length"
    ):
        loop.train(a_run(tmp_path))


def test_a_loss_that_is_not_finite_names_step_rate_and_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop._Trainer._gradients
    taken: list[int] = []

    def gradients(self: loop._Trainer, work: Any) -> torch.Tensor:
        loss = original(self, work)
        taken.append(self.progress.update)
        return loss if self.progress.update < 3 else loss + torch.inf

    monkeypatch.setattr(loop._Trainer, "_gradients", gradients)
    run = a_run(tmp_path, settings(save_minutes=0.0, warmup=0.0, schedule="constant"))
    message = r"the loss is inf .* in update 4 at learning rate 0\.005\. Nothing was changed by it; the last good state is .*/00000003\.safetensors\."
    with pytest.raises(UserError, match=message):
        loop.train(run)
    assert taken == [0, 1, 2, 3]
    monkeypatch.setattr(loop._Trainer, "_gradients", original)
    loop.train(run)
    loop.train(a_run(tmp_path / "whole", settings(save_minutes=0.0, warmup=0.0, schedule="constant")))
    assert result(tmp_path) == result(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["t5", "mt5", "umt5"])
def test_fp16_is_refused_for_the_t5_family_with_the_reason(kind: str) -> None:
    with pytest.raises(
        UserError, match=rf"training\.precision: fp16 is refused for {kind}: its activations overflow to inf\. Use bf16"
    ):
        device.choose("fp16", kind)


def test_a_missing_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("STILTSWEEP_DEVICE", raising=False)
    with pytest.raises(UserError, match=r"training\.precision: fp16 needs a GPU that runs CUDA\. Use fp32"):
        device.choose("fp16", "bert")
    assert device.choose("auto", "bert").torch.type == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match=r"gives this job the GPU 1, but torch .* finds none .*STILTSWEEP_DEVICE=cpu"):
        device.choose("auto", "bert")
    monkeypatch.setenv("STILTSWEEP_DEVICE", "cpu")
    assert device.choose("auto", "bert").torch.type == "cpu"
    monkeypatch.setenv("STILTSWEEP_DEVICE", "gpu")
    with pytest.raises(UserError, match=r"STILTSWEEP_DEVICE: 'gpu' is not allowed; allowed: auto, cpu, mps"):
        device.choose("auto", "bert")


def test_the_gpu_of_a_mac_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Mac was there: what is chosen is tested, with what it lacks (64-bit numbers), not what it computes."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.delenv("STILTSWEEP_DEVICE", raising=False)
    assert device.choose("auto", "bert").torch.type == "cpu"
    monkeypatch.setenv("STILTSWEEP_DEVICE", "mps")
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        chosen = device.choose("auto", "bert")
        assert (chosen.torch.type, chosen.precision, chosen.widest) == ("mps", "fp32", torch.float32)
        assert device.choose("bf16", "t5").mixed_precision == "bf16"
        with pytest.raises(UserError, match=r"fp16 needs a GPU that runs CUDA"):
            device.choose("fp16", "bert")
    finally:
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"STILTSWEEP_DEVICE=mps: torch .* finds no GPU of a Mac here"):
        device.choose("auto", "bert")


# Runs that learn nothing


NOTHING = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "epochs": 1}


def test_a_collapsed_run_is_marked_and_made_once(tmp_path: Path) -> None:
    loop.train(a_run(tmp_path, settings(**NOTHING)))
    about = read_json(tmp_path / "out" / "checkpoint.json")
    assert not about["learned"]
    assert "collapsed_tries" not in about


def test_a_collapsed_run_is_made_again_with_fresh_seeds_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    original = loop._Trainer.__init__

    def init(self: loop._Trainer, run: loop.Run, *more: Any) -> None:
        seeds.append(run.seed)
        original(self, run, *more)

    monkeypatch.setattr(loop._Trainer, "__init__", init)
    loop.train(a_run(tmp_path, settings(**NOTHING, retry_collapsed=2), seed=7))
    about = read_json(tmp_path / "out" / "checkpoint.json")
    assert len(set(seeds)) == 3 and seeds[0] == 7
    assert not about["learned"] and about["seed"] == 7
    assert about["seed_used"] == seeds[2] and len(about["collapsed_tries"]) == 2
    assert not (tmp_path / "out" / "state").exists()
    seeds.clear()
    loop.train(a_run(tmp_path / "fine", settings(retry_collapsed=2), seed=7))
    assert seeds == [7]
    assert "seed_used" not in read_json(tmp_path / "fine" / "out" / "checkpoint.json")


def test_a_second_try_that_is_killed_is_not_a_first_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path, settings(**NOTHING, retry_collapsed=2))
    loop.train(a_run(tmp_path / "whole", run.settings))
    original = loop._Trainer.update
    total = 0

    def update(self: loop._Trainer, work: Any) -> None:
        nonlocal total
        original(self, work)
        total += 1
        if total == 11:  # of 8 a try
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Trainer, "update", update)
    with pytest.raises(loop.Interrupted):
        loop.train(run)
    assert len(read_json(tmp_path / "out" / "state" / "tries.json")["scores"]) == 1
    loop.train(run)
    assert total == 24
    assert result(tmp_path) == result(tmp_path / "whole")


# Whole sweeps


def sweep_process(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*more),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "STILTSWEEP_WARM": "off"},
    )


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed tiny sweep."""
    folder = test_e2e.make(tmp_path_factory.mktemp("sweep"))
    snakemake(folder, shared=True)
    return folder


def anew(sweep: Path, folder: Path) -> Path:
    """Copy a sweep without its results."""
    shutil.copytree(sweep, folder, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return folder


@pytest.mark.slow
@pytest.mark.e2e
def test_two_sweeps_in_one_directory(sweep: Path, tmp_path: Path) -> None:
    folder = anew(sweep, tmp_path / "sweep")
    first = sweep_process(folder, "-q", "all")
    until(lambda: list((folder / ".snakemake" / "locks").glob("*")))
    text = snakemake(folder, check=False).text
    assert f"error: process {first.pid} on " in text and "is making files here that this run needs" in text
    assert "Traceback" not in text
    output, _ = first.communicate()
    assert first.returncode == 0, output
    assert test_e2e.digests(folder) == test_e2e.digests(sweep)


@pytest.mark.e2e
def test_a_killed_controller_leaves_jobs_that_the_next_one_waits_for(sweep: Path, tmp_path: Path) -> None:
    """SIGKILL to Snakemake alone: its training goes on, and is submitted again by the next run."""
    folder = anew(sweep, tmp_path / "sweep")
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration.update(intermediates=["none"], seeds=[0], targets={"commands": ["de"]}, training={"epochs": 60})
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    output = "results/finetune/tiny/none/commands/seed0/checkpoint.json"
    state = (folder / output).parent / "state"
    controller = sweep_process(folder, output)
    until(lambda: list(state.glob("lock-*")))
    pid = json.loads(next(state.glob("lock-*")).read_text())["pid"]
    controller.kill()
    controller.wait()
    os.kill(pid, 0)  # it is still at it
    text = snakemake(folder, output, shared=True).text
    assert f"The run of process {controller.pid} on " in text
    # Whether it was still at it, or done in the meantime: nothing is trained twice.
    log = (folder / "results/logs/finetune/tiny/none/commands/seed0.log").read_text()
    assert "already there, made with the same settings" in log or "Nothing to be done" in text
    whole = anew(folder, tmp_path / "whole")
    snakemake(whole, output, shared=True)
    for name in ("checkpoint.json", "model.safetensors", "head.safetensors"):
        assert digest_file(folder / Path(output).with_name(name)) == digest_file(whole / Path(output).with_name(name))


@pytest.mark.slow
@pytest.mark.e2e
def test_killed_at_twenty_random_points_the_cells_are_the_same_bytes(sweep: Path, tmp_path: Path) -> None:
    """SIGKILL to everything, some random moment after a job of each stage has begun; then undisturbed."""
    found = entries.benchmark("kills").run(
        anew(sweep, tmp_path / "sweep"), sweep / "results", kills=20, seed=20, cores=2, seconds=4.0
    )
    assert found["same"] and found["cells"] == 20, found["differing"]
    assert sum(found["kills"].values()) == 20 and all(found["kills"].values())
