"""Several results folders made one, and two sweeps side by side."""

from __future__ import annotations

import copy
import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_ind

from stiltsweep import combining, comparing, identity
from stiltsweep.errors import UserError
from stiltsweep.files import MADE_BY, read_record, sealed, write_record
from stiltsweep.layout import Cell, Layout

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"


def sweep(folder: Path, seeds: list[int], score: Callable[[Cell], float] = lambda cell: 50.0 + cell.seed) -> Path:
    """Write the records of a small sweep, with a file beside each."""
    layout = Layout(str(folder))

    def put(path: str, record: dict[str, Any], beside: str) -> None:
        write_record(Path(path), record)
        Path(path).with_name(beside).write_bytes(path.removeprefix(str(folder)).encode())

    put(layout.model("m"), {"weights_sha256": "w"}, "model.safetensors")
    for language in ("en", "fi"):
        record = layout.path("data_record", task="t", language=language)
        put(
            record,
            {"sha256": f"rows-{language}", "versions": {"x": folder.name}, MADE_BY: folder.name},
            f"{language}.parquet",
        )
    for seed in seeds:
        for arm in ("none", "pairs"):
            run = f"{arm}{seed}"
            checkpoint = layout.finetuned("m", arm, "t", seed)
            put(checkpoint, {"weights_sha256": run}, "model.safetensors")
            (Path(checkpoint).parent / "state").mkdir()
            (Path(checkpoint).parent / "state" / "lock-1").touch()
            index = {
                "checkpoint_sha256": run,
                "languages": {code: {"identity": run + code} for code in ("en", "fi")},
            }
            put(layout.predictions("m", arm, "t", seed), index, "en.json")
            for language in ("en", "fi"):
                cell = Cell("m", arm, "t", seed, language)
                about = {"score": score(cell), "digests": {"data": f"rows-{language}", "predictions": run + language}}
                put(layout.cell(cell), {**vars(cell), **about, "cost": {"tokens": 1}}, f"{language}.parquet")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_seeds_of_two_people_become_one_sweep(tmp_path: Path) -> None:
    one, other = sweep(tmp_path / "one", [0, 1]), sweep(tmp_path / "other", [1, 2])
    whole = sweep(tmp_path / "whole", [0, 1, 2])
    found = combining.combine([one, other], tmp_path / "both")
    expected = {name: text for name, text in files(whole).items() if "/state/" not in name}
    made = files(tmp_path / "both")
    assert made.keys() == expected.keys()
    varying = {name for name in made if made[name] != expected[name]}
    assert varying == {f"data/t/{language}.json" for language in ("en", "fi")}  # who made it
    assert found.taken == {"data_record": 2, "model": 1, "finetune": 6, "predictions": 6, "cell": 12}
    assert found.twice == 3 + 2 * (1 + 1 + 2)


def test_what_contradicts_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    one, other = sweep(tmp_path / "one", [0]), sweep(tmp_path / "other", [0], score=lambda cell: 40.0)
    with pytest.raises(UserError, match=r"^4 results contradict each other, nothing was written:") as error:
        combining.combine([one, other], tmp_path / "both")
    below = "cells/m/none/t/seed0/en.json"
    assert f"{below}: {one / below} and {other / below} differ in score, made from the same" in str(error.value)
    assert not list(tmp_path.glob("both*"))
    for path in (other / "cells").rglob("*.json"):
        path.unlink()
    cell = Cell("m", "none", "t", 7, "fi")
    about = {"score": 1.0, "digests": {"data": "other rows", "predictions": "p"}}
    write_record(Path(Layout(str(other)).cell(cell)), {**vars(cell), **about})
    with pytest.raises(UserError, match=r"seed7/fi\.json: scored on other data than cells/m/none/t/seed0/fi\.json"):
        combining.combine([one, other], tmp_path / "both")


def test_languages_of_one_run_are_put_together(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", [0])
    shutil.copytree(one, tmp_path / "other")
    path = Path(Layout(str(one)).predictions("m", "none", "t", 0))
    index = read_record(path)
    failed, more = copy.deepcopy(index), copy.deepcopy(index)
    failed["languages"]["fi"] = {"error": "out of memory"}
    more["languages"]["de"] = {"identity": "x"}
    write_record(path, failed)
    write_record(tmp_path / "other" / path.relative_to(one), more)
    combining.combine([one, tmp_path / "other"], tmp_path / "both")
    assert read_record(tmp_path / "both" / path.relative_to(one)) == sealed(more)
    more["languages"]["en"] = {"identity": "another run's"}
    write_record(tmp_path / "other" / path.relative_to(one), more)
    with pytest.raises(UserError, match="differ in the predictions of en"):
        combining.combine([one, tmp_path / "other"], tmp_path / "third")


def test_other_settings_are_named_and_seeds_of_other_recipes_not_mixed(tmp_path: Path) -> None:
    one, other = sweep(tmp_path / "one", [0]), sweep(tmp_path / "other", [0])
    for folder, epochs in ((one, 1), (other, 3)):
        path = Path(Layout(str(folder)).finetuned("m", "none", "t", 0))
        write_record(path, {**read_record(path), **identity.of({"settings": {"epochs": epochs}, "seed": 0})})
    with pytest.raises(UserError, match=r"were made from other things: settings\.epochs \(1 and 3\)\n"):
        combining.combine([one, other], tmp_path / "both")
    later = sweep(tmp_path / "later", [1])
    for folder, recipe in ((one, "one epoch"), (later, "three epochs")):
        path = Path(Layout(str(folder)).cell(Cell("m", "none", "t", 0 if folder == one else 1, "fi")))
        write_record(path, {**read_record(path), "recipe": recipe})
    with pytest.raises(UserError, match=r"seed1/fi\.json: trained or predicted with other settings, code or weights"):
        combining.combine([one, later], tmp_path / "both")
    path.write_text(path.read_text().replace("51", "99"))
    with pytest.raises(UserError, match=r"seed1/fi\.json: changed after it was written"):
        combining.combine([one, later], tmp_path / "both")


def test_folders_that_are_not_results_are_refused(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", [0])
    with pytest.raises(UserError, match="holds no results"):
        combining.combine([one, tmp_path / "no"], tmp_path / "both")
    with pytest.raises(UserError, match="is there already and not empty"):
        combining.combine([one], one)
    with pytest.raises(UserError, match="holds no cells"):
        comparing.read(tmp_path)


def test_a_difference_is_judged_by_the_spread_of_seeds(tmp_path: Path) -> None:
    noise = {0: -1.0, 1: 0.5, 2: 0.25, 3: 1.5}

    def shifted(by: float) -> Callable[[Cell], float]:
        return lambda cell: 50.0 + noise[cell.seed] * (1 + by / 10) + (by if cell.intermediate == "pairs" else 0.0)

    one = comparing.read(sweep(tmp_path / "one", [0, 1, 2, 3], shifted(0)))
    for by, verdict in ((9.0, "beyond seeds"), (0.3, "within seeds")):
        other = comparing.read(sweep(tmp_path / f"by{by}", [0, 1, 2, 3], shifted(by)))
        change = {change.intermediate: change for change in comparing.changes(one, other)}["pairs"]
        runs = [[50 + value * (1 + b / 10) + b for value in noise.values()] for b in (0, by)]
        tested = ttest_ind(runs[1], runs[0], equal_var=False)
        assert change.verdict == verdict == ("beyond seeds" if tested.pvalue < 0.05 else "within seeds")
        assert change.spread is not None
        assert change.difference / change.spread == pytest.approx(tested.statistic)
    assert {change.verdict for change in comparing.changes(one, one)} == {"same"}
    alone = comparing.read(sweep(tmp_path / "alone", [0], shifted(5)))
    assert {change.verdict for change in comparing.changes(one, alone)} == {"one seed"}


def test_lifts_are_paired_by_seed_over_the_languages_of_all_runs(tmp_path: Path) -> None:
    noise = {0: -4.0, 1: 2.0, 2: 1.0}

    def score(by: float) -> Callable[[Cell], float]:
        lift = {"en": 100.0, "fi": by}  # English is no transfer language
        return lambda cell: 50 + noise[cell.seed] + (lift[cell.language] if cell.intermediate == "pairs" else 0.0)

    one, other = (sweep(tmp_path / str(by), [0, 1, 2], score(by)) for by in (1.0, 3.0))
    found = comparing.lifts(comparing.read(one), comparing.read(other))
    # The seeds' noise is in both arms of a run, and so in no lift: what is left differs beyond it.
    assert [(lift.intermediate, lift.languages, lift.first, lift.second, lift.verdict) for lift in found] == [
        ("pairs", 1, pytest.approx(1.0), pytest.approx(3.0), "beyond seeds")
    ]


def test_runs_that_count_in_no_lift_of_the_page_count_in_none_of_these(tmp_path: Path) -> None:
    lifts = {0: 2.0, 1: 4.0, 2: -60.0}
    folder = sweep(tmp_path, [0, 1, 2], lambda cell: 50.0 + (lifts[cell.seed] if cell.intermediate == "pairs" else 0.0))
    cells = dict(comparing.read(folder))

    def first(failed: str, **about: object) -> float:
        odd = {c: {**v, **(about if (c.intermediate, c.seed) == ("pairs", 2) else {})} for c, v in cells.items()}
        (found,) = comparing.lifts(odd, odd, failed=(failed, failed))
        return found.first

    assert first("keep", learned=True) == first("keep", failed_stages=["intermediate/pairs"]) == pytest.approx(-18.0)
    assert first("keep", learned=False) == pytest.approx(3.0)
    assert first("leave_out", failed_stages=["intermediate/pairs"]) == pytest.approx(3.0)
    assert comparing.failed_intermediates({"significance.failed_intermediates": '"leave_out"'}) == "leave_out"


def test_the_scripts(tmp_path: Path) -> None:
    one, other = sweep(tmp_path / "one", [0, 1]), sweep(tmp_path / "other", [2], score=lambda cell: 40.0)

    def script(name: str, *arguments: str | Path) -> str:
        code = (
            "import runpy, sys\n"
            f"sys.argv = {[str(SCRIPTS / name), *map(str, arguments)]!r}\n"
            f"runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        command = [sys.executable, "-X", "importtime", "-c", code]
        environment = {"PYTHONPATH": str(SCRIPTS)}
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert not re.search(r"\| +torch$", found.stderr, re.MULTILINE)
        return found.stdout

    said = script("combine.py", one, other, "--output", tmp_path / "both")
    assert "12 cell; 3 were in several folders and agreed." in said
    said = script("compare.py", one, tmp_path / "both", "--output", tmp_path / "changed.csv")
    assert "Cells: 8 in both, 0 only in the first, 4 only in the second." in said
    assert "m / pairs / t: 4, 0, +0.00, same" in said
    assert len(list(csv.reader((tmp_path / "changed.csv").open()))) == 1
