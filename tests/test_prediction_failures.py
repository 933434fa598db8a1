"""One language that cannot be predicted costs only itself, in one call and through Snakemake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from running import snakemake
from test_e2e import make, planned

import tiny
from stiltsweep import config, sources
from stiltsweep.catalog import Task
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.files import digest_file, read_json
from stiltsweep.jobs import Jobs
from stiltsweep.kinds import Limits, Representation
from stiltsweep.kinds.classification import ClassificationForm
from stiltsweep.layout import Cell
from stiltsweep.prediction import predict
from stiltsweep.settings import PredictionSettings
from stiltsweep.sweep import Sweep

SETTINGS = PredictionSettings(Limits(64, 8, 8), Representation("mean", -1, "mean", ""), 2048, prune=True)
CELL = Cell("tiny", "none", "tiny", 0, "de")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return tiny.encoder(tmp_path / "model")


def index_of(tmp_path: Path) -> Path:
    return tmp_path / "results" / "predictions" / "tiny" / "none" / "tiny" / "seed0" / "predictions.json"


@pytest.mark.parametrize("fault", ["no meta", "no data", "bug"])
def test_the_others_are_predicted_and_scored(
    fault: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.classification(tmp_path / "data")
    index, whole = index_of(tmp_path), tmp_path / "whole" / "predictions.json"
    predict(start, data, whole, SETTINGS, identity={})
    with monkeypatch.context() as patch:
        if fault == "bug":
            decode = ClassificationForm.decode

            def broken(self, *arguments):  # type: ignore[no-untyped-def]
                if self.meta.language == "de":
                    raise IndexError("list index out of range")
                return decode(self, *arguments)

            patch.setattr(ClassificationForm, "decode", broken)
        else:
            lost = data["de"].with_suffix(".json" if fault == "no meta" else ".parquet")
            kept = lost.read_bytes()
            lost.write_bytes(b"{")
        predict(start, data, index, SETTINGS, identity={})
    if fault != "bug":
        lost.write_bytes(kept)
    languages = read_json(index)["languages"]
    assert "identity" in languages["en"]
    expected = {"no meta": "de.json", "no data": "de.parquet", "bug": "IndexError: list index out of range"}
    assert expected[fault] in languages["de"]["error"]
    evaluate(
        Cell("tiny", "none", "tiny", 0, "en"), data["en"], index, tmp_path / "en.json", family="", contaminated=False
    )
    with pytest.raises(
        UserError, match=r"could not be predicted in de \(log: .*logs/predict/tiny/none/tiny/seed0\.log; "
    ):
        evaluate(CELL, data["de"], index, tmp_path / "de.json", family="", contaminated=False)
    assert not (tmp_path / "de.json").exists()
    # The next time it is done, and it alone; the result is that of an undisturbed job.
    before = (index.parent / "en.json").stat().st_mtime_ns
    predict(start, data, index, SETTINGS, identity={})
    assert (index.parent / "en.json").stat().st_mtime_ns == before
    for language in data:
        assert digest_file(index.parent / f"{language}.json") == digest_file(whole.parent / f"{language}.json")


def test_an_old_file_of_a_failed_language_is_not_scored(start: Path, tmp_path: Path) -> None:
    """The predictions of another checkpoint lie where the failed language's would."""
    data, index = tiny.classification(tmp_path / "data"), index_of(tmp_path)
    predict(start, data, index, SETTINGS, identity={})
    other = tiny.encoder(tmp_path / "other", seed=1)
    kept = data["de"].read_bytes()
    data["de"].write_bytes(b"")
    predict(other, data, index, SETTINGS, identity={})
    data["de"].write_bytes(kept)
    assert (index.parent / "de.json").exists()
    with pytest.raises(UserError, match="could not be predicted in de"):
        evaluate(CELL, data["de"], index, tmp_path / "de.json", family="", contaminated=False)


def test_nothing_predicted_at_all_is_a_failure(start: Path, tmp_path: Path) -> None:
    data = tiny.classification(tmp_path / "data")
    for path in data.values():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"not one language could be predicted:\n  en: .*\n  de: "):
        predict(start, data, index_of(tmp_path), SETTINGS, identity={})
    assert not index_of(tmp_path).exists()


def test_inputs_longer_than_the_models_positions_are_refused(start: Path, tmp_path: Path) -> None:
    settings = PredictionSettings(Limits(200, 8, 8), SETTINGS.representation, 2048, prune=True)
    with pytest.raises(UserError, match="200, but tiny has 128 positions"):
        predict(start, tiny.classification(tmp_path / "data"), index_of(tmp_path), settings, identity={})


def test_memory_that_runs_out_halves_the_batches(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    data = tiny.classification(tmp_path / "data")
    predict(start, data, tmp_path / "roomy" / "predictions.json", SETTINGS, identity={})
    forward = ClassificationForm.predict

    def cramped(self, model, batch):  # type: ignore[no-untyped-def]
        if batch.ids_BL.numel() > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, model, batch)

    monkeypatch.setattr(ClassificationForm, "predict", cramped)
    predict(start, data, tmp_path / "cramped" / "predictions.json", SETTINGS, identity={})
    assert "batches of" in caplog.text
    for language in data:
        roomy, tight = (read_json(tmp_path / name / f"{language}.json") for name in ("roomy", "cramped"))
        assert roomy["predictions"] == tight["predictions"]


@pytest.mark.e2e
def test_the_next_run_predicts_only_the_language_that_failed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration |= {"intermediates": ["none", "half"], "seeds": [0], "targets": {"commands": ["en", "de", "fi"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    wanted = [
        f"results/cells/tiny/{arm}/commands/seed0/{code}.json"
        for arm in ("none", "half")
        for code in ("en", "de", "fi")
    ]
    data = folder / "results" / "data" / "commands" / "fi.parquet"
    snakemake(folder, str(data.relative_to(folder)), shared=True)
    kept, times = data.read_bytes(), data.stat()

    def replace(content: bytes) -> None:
        data.write_bytes(content)
        os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (folder / "results" / "predictions").rglob("??.json")}

    replace(b"")
    text = snakemake(folder, "--keep-going", *wanted, check=False, shared=True).text
    assert "could not be predicted in fi" in text
    cells = folder / "results" / "cells" / "tiny"
    assert sorted(path.stem for path in cells.rglob("*.json")) == ["de", "de", "en", "en"]
    scored = {path: digest_file(path) for path in cells.rglob("*.*")}
    # It is tried again, and so it is after the same failure once more.
    assert planned(folder, *wanted)["predict"] == 2
    snakemake(folder, "--keep-going", *wanted, check=False, shared=True)
    assert planned(folder, *wanted)["predict"] == 2
    replace(kept)
    before = written()
    assert {path.stem for path in before} == {"en", "de"}
    snakemake(folder, *wanted, shared=True)
    after = written()
    assert {path.stem for path in after.keys() - before.keys()} == {"fi"}
    assert {path: after[path] for path in before} == before
    assert {path: digest_file(path) for path in scored} == scored
    assert len(list(cells.rglob("*.json"))) == 6
    assert "Nothing to be done" in snakemake(folder, *wanted, shared=True).text


@pytest.mark.e2e
def test_a_language_that_cannot_be_prepared_costs_only_itself(tmp_path: Path) -> None:
    """The run in which it fails first waits with its task; the next one goes on, and tries it again."""
    folder = make(tmp_path)
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration |= {"intermediates": ["none"], "seeds": [0], "targets": {"commands": ["en", "de", "fi"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    cells = folder / "results" / "cells" / "tiny" / "none" / "commands" / "seed0"
    wanted = [f"{cells.relative_to(folder)}/{code}.json" for code in ("en", "de", "fi")]
    source = folder / "data" / "fi.test.jsonl"
    whole = source.read_text()
    source.write_text(whole.replace('"warm"', '"wram"', 1))

    text = snakemake(folder, "--keep-going", *wanted, check=False, shared=True).text
    assert "label 'wram' is not one of" in text and "tried again by the next run" in text
    assert not cells.exists()
    text = snakemake(folder, "--keep-going", *wanted, check=False, shared=True).text
    assert "1 job failed; cells that are not there for it: 1." in text
    assert sorted(path.stem for path in cells.glob("*.json")) == ["de", "en"]
    scored = {path: digest_file(path) for path in cells.glob("*.*")}
    before = {path: path.stat().st_mtime_ns for path in (folder / "results" / "predictions").rglob("??.json")}
    assert planned(folder, *wanted) == {"prepare": 1, "evaluate": 1, "total": 2}

    # Mended: the command of the failure table, and then the same run as before.
    source.write_text(whole)
    snakemake(folder, "results/data/commands/fi.parquet", shared=True)
    snakemake(folder, *wanted, shared=True)
    assert len(list(cells.glob("*.json"))) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before  # neither was predicted again
    assert {path: digest_file(path) for path in scored} == scored


def test_predictions_do_not_wait_for_what_failed_by_the_same_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path)
    monkeypatch.chdir(folder)
    source = folder / "data" / "fi.test.jsonl"
    whole = source.read_text()
    source.write_text(whole.replace('"warm"', '"wram"', 1))
    wanted = [f"results/data/commands/{code}.parquet" for code in ("en", "de", "fi")]

    def jobs() -> Jobs:
        return Jobs(Sweep(*config.resolve(yaml.safe_load((folder / "config.yaml").read_text()))))

    def prepare_finnish() -> None:
        task = Task("commands", "target", jobs().task_definition("commands", "fi"))
        sources.prepare(task, "fi", Path(wanted[2]))

    assert jobs().prediction_data("commands") == wanted
    with pytest.raises(UserError, match="wram"):
        prepare_finnish()
    assert jobs().prediction_data("commands") == wanted[:2]
    assert jobs().prediction_data("pairs") == ["results/data/pairs/de.parquet", "results/data/pairs/fi.parquet"]
    definition = folder / "catalogue" / "target" / "commands.yaml"
    mended = yaml.safe_load(definition.read_text())
    mended["labels"].append("wram")
    original = definition.read_text()
    definition.write_text(yaml.safe_dump(mended))
    assert jobs().prediction_data("commands") == wanted
    definition.write_text(original)
    source.write_text(whole)
    prepare_finnish()
    assert jobs().prediction_data("commands") == wanted
    assert not list(Path("results/data/commands").glob("*.failed"))
