"""What a result is made from decides whether it is there: code, settings, data, weights, and nothing a folder held before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import snakemake
from safetensors.torch import load_file, save_file
from test_e2e import make, planned

import tiny
from stiltsweep import identity
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.files import digest_file, read_json, read_record, write_json, write_record
from stiltsweep.kinds import Limits, Representation
from stiltsweep.layout import Cell
from stiltsweep.models.load import Source
from stiltsweep.prediction import predict
from stiltsweep.records import read_rows
from stiltsweep.settings import PredictionSettings

ROOT = Path(__file__).parents[1]
SETTINGS = PredictionSettings(Limits(64, 8, 8), Representation("mean", -1, "mean", ""), 2048, prune=True)
STAGES = ("prepare", "train", "predict", "evaluate", "measure", "significance", "lift", "report")

# The code of a stage is what its script reaches, by reading the code itself.


def digests(workflow: Path) -> dict[str, str]:
    program = f"from stiltsweep import code; import json; print(json.dumps({{s: code.digest(s) for s in {STAGES!r}}}))"
    text = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(workflow)}, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(text.stdout)
    return found


def test_an_edit_counts_where_it_is_reached_and_nowhere_else(tmp_path: Path) -> None:
    workflow = tmp_path / "workflow"
    shutil.copytree(ROOT / "workflow", workflow, ignore=shutil.ignore_patterns("__pycache__", "catalog"))
    library = workflow / "stiltsweep"
    before = digests(workflow)

    def changed(path: Path, edit: Callable[[str], str]) -> set[str]:
        whole = path.read_text()
        edited = edit(whole)
        assert edited != whole
        path.write_text(edited)
        after = digests(workflow)
        path.write_text(whole)
        return {stage for stage in STAGES if after[stage] != before[stage]}

    # Three modules away from the script, in a script's own helper, in a data file beside a module.
    groups = changed(library / "languages.py", lambda text: text.replace("def groups(self", "def groups(self, /", 1))
    assert "significance" in groups and not {"evaluate", "train", "predict"} & groups
    rows = changed(library / "records.py", lambda text: text.replace("use_threads=False", "use_threads=True", 1))
    assert {"train", "predict", "evaluate", "measure"} <= rows and "lift" not in rows
    assert changed(workflow / "scripts" / "_testing.py", lambda text: text + "\nprint()\n") == {"significance"}
    questions = library / "tokenization" / "question_words.yaml"
    assert changed(questions, lambda text: text + "\n# more\n") == {"measure"}
    # A new function that nothing calls, comments, docstrings, line breaks.
    unused = "\n\ndef nobody_calls_this() -> None:\n    raise ValueError\n"
    assert changed(library / "metrics" / "spans.py", lambda text: text + unused) == set()
    assert changed(library / "metrics" / "spans.py", lambda text: f"# first\n{text}\n# last\n") == set()
    # What decides no number.
    assert changed(library / "lock.py", lambda text: text + "\nX = 1\n") == set()
    # The heart of a stage.
    metrics = changed(library / "metrics" / "__init__.py", lambda text: text.replace("100.0 *", "99.0 *", 1))
    assert {"evaluate", "train", "significance"} <= metrics


# Records vouch for themselves, and for the files beside them.


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text("{"), "not a whole JSON file"),
        (lambda path: path.write_text("[1]"), "not a record of this version"),
        (lambda path: path.write_text('{"score": 1}'), "not a record of this version"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not a whole JSON file"),
        (lambda path: path.write_text(path.read_text().replace("72.0", "92.0")), "changed after it was written"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_a_record_that_is_not_what_was_written_is_one_sentence(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "cell.json"
    write_record(path, {"score": 72.0})
    assert read_record(path)["score"] == 72.0
    damage(path)
    with pytest.raises(UserError, match=message) as error:
        read_record(path)
    assert f"snakemake --cores 1 --force {path}" in str(error.value) and "\n" not in str(error.value)


def test_tables_are_compared_with_their_record(tmp_path: Path) -> None:
    table, folder = tmp_path / "lift.csv", tmp_path / "figures"
    table.write_text("a,b\n")
    folder.mkdir()
    (folder / "one.svg").write_text("<svg/>")
    identity.record(table, identity.tabled("lift", ["--families", "family"], {}), [folder])
    identity.made(table)
    for change in (
        lambda: table.write_text("a,c\n"),
        lambda: (folder / "one.svg").unlink(),
        lambda: (folder / "two.svg").write_text("<svg/>"),
    ):
        kept = tmp_path / "kept"
        shutil.copytree(folder, kept)
        text = table.read_text()
        change()
        with pytest.raises(UserError, match="changed after it was written"):
            identity.made(table)
        shutil.rmtree(folder)
        kept.rename(folder)
        table.write_text(text)
    identity.made(table)


def test_differences_are_named_with_their_values() -> None:
    made = identity.of({"settings": {"epochs": 1, "rate": 0.5}, "data": "a" * 64, "head": None})
    assert identity.differences(made, {"settings": {"epochs": 3, "rate": 0.5}, "data": "b" * 64, "head": None}) == [
        "data",
        "settings.epochs (1, now 3)",
    ]
    # What cannot be known here is left as it was recorded.
    assert identity.differences(made, {"settings": {"epochs": 1, "rate": 0.5}, "data": None, "head": None}) == []


# Weights, rows and predictions are compared where they are used.


@pytest.fixture
def predicted(tmp_path: Path) -> tuple[Path, dict[str, Path], Path]:
    start, data = tiny.encoder(tmp_path / "model"), tiny.classification(tmp_path / "data" / "tiny")
    index = tmp_path / "predictions" / "tiny" / "none" / "tiny" / "seed0" / "predictions.json"
    predict(start, data, index, SETTINGS, identity={}, task="tiny")
    return start, data, index


def flip(path: Path, at: int = -100) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_weights_that_changed_predict_nothing(predicted: tuple[Path, dict[str, Path], Path], name: str) -> None:
    start, data, index = predicted
    Source.read(start).check()
    flip(start.with_name(name))
    with pytest.raises(UserError, match=rf"{name}: not what was written there .*--force .*model\.json"):
        predict(start, data, index.parent.with_name("seed1") / "predictions.json", SETTINGS, identity={})


def test_predictions_and_data_that_changed_are_not_scored(
    predicted: tuple[Path, dict[str, Path], Path], tmp_path: Path
) -> None:
    _, data, index = predicted

    def score(language: str = "de") -> float:
        cell = Cell("tiny", "none", "tiny", 0, language)
        return evaluate(cell, data[language], index, tmp_path / "cell.json", family="", contaminated=False)

    score()
    own = index.with_name("de.json")
    whole = own.read_text()
    own.write_text(whole.replace('"on"', '"off"', 1))
    with pytest.raises(UserError, match="changed after it was written"):
        score()
    # Another language's, whole in itself.
    shutil.copyfile(index.with_name("en.json"), own)
    with pytest.raises(UserError, match="not of the checkpoint and settings"):
        score()
    own.write_text(whole)
    flip(data["de"])
    with pytest.raises(UserError, match=r"de\.parquet: not what was written there"):
        score()
    # English data under the German name.
    for suffix in (".parquet", ".json"):
        shutil.copyfile(data["en"].with_suffix(suffix), data["de"].with_suffix(suffix))
    with pytest.raises(UserError, match="holds tiny in en, not tiny in de"):
        score()


def test_a_model_whose_states_are_not_finite_predicts_nothing(tmp_path: Path) -> None:
    start, data = tiny.encoder(tmp_path / "model"), tiny.classification(tmp_path / "data")
    weights = start.with_name("model.safetensors")
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("attention.self.query.weight"))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    about = read_json(start)
    write_record(start, {**about, "weights_sha256": digest_file(weights)})
    with pytest.raises(UserError, match="hidden states are not finite"):
        predict(start, data, tmp_path / "out" / "predictions.json", SETTINGS, identity={})


def test_a_large_file_is_read_once_until_it_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stiltsweep import files

    monkeypatch.setattr(files, "_LARGE", 10)
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 100)
    read: list[Any] = []
    original = files.digest_file

    def digest_file(path: Any) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(files, "digest_file", digest_file)
    sha256 = original(path)
    for _ in range(3):
        files.check_digest(path, sha256, "again")
    assert len(read) == 1
    about = path.stat()
    flip(path, 50)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(UserError, match="not what was written there"):
        files.check_digest(path, sha256, "again")


# Through Snakemake: sequences that gave numbers of another configuration without a word.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("identity"))
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration |= {"targets": {"commands": ["en", "de", "fi"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    snakemake(folder, shared=True)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy without Snakemake's records: what lies in results/ is all there is."""
    return Path(
        shutil.copytree(finished, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    )


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = yaml.safe_load(path.read_text())
    change(value)
    path.write_text(yaml.safe_dump(value, sort_keys=False))


@pytest.mark.e2e
def test_what_an_edit_runs_in_a_copied_folder(folder: Path) -> None:
    """A copied folder is worth what it holds; each edit runs what it decides, and taking it back runs nothing."""
    assert planned(folder) == {}
    task, configuration = folder / "catalogue/target/commands.yaml", folder / "config.yaml"
    trained = {"finetune", "predict", "evaluate", "significance", "lift", "report"}

    def runs(path: Path, change: Callable[[dict[str, Any]], None]) -> set[str]:
        whole = path.read_text()
        edit(path, change)
        found = set(planned(folder)) - {"total", "all"}
        path.write_text(whole)
        return found

    assert trained <= runs(task, lambda value: value["labels"].reverse())
    assert trained <= runs(task, lambda value: value.update(metrics=["macro_f1", "accuracy"]))
    assert trained <= runs(
        configuration, lambda value: value.update(training={**value.get("training", {}), "epochs": 3})
    )
    # A metric that is only reported trains and predicts nothing; a description, a licence, a count that agrees nothing.
    reported = runs(task, lambda value: value.update(metrics=["accuracy", "macro_f1"]))
    assert "evaluate" in reported and not {"prepare", "finetune", "predict"} & reported
    assert runs(task, lambda value: value.update(description="Said otherwise.")) <= {"describe", "report"}
    assert planned(folder) == {}


@pytest.mark.e2e
def test_swapped_and_damaged_results_are_made_again(folder: Path) -> None:
    results = folder / "results"
    before = {path: digest_file(path) for path in sorted((results / "cells").rglob("*.*"))}
    # Another seed's weights, and another seed's predictions.
    for stage in ("finetune", "predictions"):
        arm = results / stage / "tiny" / "none" / "commands"
        shutil.rmtree(arm / "seed0")
        shutil.copytree(arm / "seed1", arm / "seed0")
    assert {"finetune", "predict"} <= set(planned(folder))
    # A damaged cell, statistics of another one, a table that somebody edited, cells that are gone.
    (results / "cells/tiny/half/commands/seed0/de.json").write_text("{}")
    shutil.copyfile(
        results / "cells/tiny/half/commands/seed1/fi.parquet", results / "cells/tiny/half/commands/seed0/fi.parquet"
    )
    lift = results / "significance" / "lift.csv"
    lift.write_text(lift.read_text().replace("none", "nine"))
    shutil.rmtree(results / "cells/tiny/half/commands/seed1")
    snakemake(folder, shared=True)
    assert {path: digest_file(path) for path in before} == before
    assert planned(folder) == {}


@pytest.mark.e2e
def test_flipped_weights_are_refused_and_mended_by_the_command_that_is_named(folder: Path) -> None:
    results = folder / "results"
    weights = results / "finetune/tiny/none/commands/seed0/model.safetensors"
    kept = digest_file(weights)
    flip(weights)
    shutil.rmtree(results / "predictions/tiny/none/commands/seed0")
    shutil.rmtree(results / "cells/tiny/none/commands/seed0")
    shutil.copy(folder / "config.yaml", folder / "own.yaml")
    text = snakemake(folder, "--configfile", "own.yaml", check=False, shared=True).text
    assert "model.safetensors: not what was written there" in text
    wanted = weights.with_name("checkpoint.json").relative_to(folder)
    named = re.search(rf"-m snakemake (--force {wanted} .*--configfile own\.yaml)$", text, re.MULTILINE)
    assert named, text
    snakemake(folder, *named[1].split(), cores=None, snakefile=None, shared=True)
    assert digest_file(weights) == kept
    snakemake(folder, shared=True)
    assert planned(folder) == {}


def test_an_old_record_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    write_json(path, {"weights_sha256": "x", "run_sha256": "y"})
    with pytest.raises(UserError, match="not a record of this version"):
        read_record(path)


def test_rows_are_those_of_their_record(tmp_path: Path) -> None:
    data = tiny.classification(tmp_path)
    flip(data["en"])
    with pytest.raises(UserError, match="not what was written there"):
        read_rows(data["en"])
