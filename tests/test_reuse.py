"""Other people's ways to use it: as a module of another workflow, installed by pip, as data frames."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
HOST = """
module stiltsweep:
    snakefile: "{snakefile}"
    config: {{"seeds": [0], "models": ["e5-small"], "intermediates": ["none"], "targets": {{"retrieval": ["de", "fi"]}}}}

use rule * from stiltsweep

rule mine:
    default_target: True
    input: "results/significance/lift.csv"
    output: "mine.txt"
    shell: "python workflow/scripts/mine.py {{input}} > {{output}}"
"""


def snakemake(folder: Path, *arguments: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A workflow with scripts of its own in the usual place, whose path has a blank."""
    folder = tmp_path / "another workflow"
    (folder / "workflow" / "scripts").mkdir(parents=True)
    (folder / "workflow" / "scripts" / "mine.py").write_text("print('mine')\n")
    (folder / "Snakefile").write_text(HOST.format(snakefile=ROOT / "Snakefile"))
    return folder


def test_another_workflow_uses_it_as_a_module(host: Path) -> None:
    """Its jobs are those of the configuration handed over, its scripts its own; the other's rules stay as they are."""
    text = snakemake(host, "-n", "--printshellcmds")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE))
    assert counts == {
        **dict.fromkeys(("fetch", "predict", "significance", "lift", "mine"), "1"),
        "prepare": "2",
        "evaluate": "2",
        "total": "9",
    }
    assert f"python {ROOT}/workflow/scripts/predict.py" in text
    assert "python workflow/scripts/mine.py results/significance/lift.csv" in text
    assert text.count("python workflow/scripts") == 1
    # A job is run as it is printed.
    snakemake(host, "results/data/retrieval/fi.parquet")
    made = json.loads((host / "results" / "data" / "retrieval" / "fi.json").read_text())
    task = yaml.safe_load((ROOT / "workflow" / "catalog" / "target" / "retrieval.yaml").read_text())
    assert made["counts"] == {"test": task["languages"]["fi"]["test"]}


def test_installed_by_pip(tmp_path: Path) -> None:
    """The wheel holds what the library reads, and is as good as the checkout: the same catalogue, the same digests of code."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("stiltsweep-*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "site"], check=True)
    code = (
        "import json, stiltsweep\n"
        "from stiltsweep import catalog, code, config, schema\n"
        "from stiltsweep.sweep import Sweep\n"
        "settings = {'models': ['e5-small'], 'intermediates': ['none'], 'targets': {'intent': ['fi']}}\n"
        "sweep = Sweep(*config.resolve(settings))\n"
        "print(json.dumps([stiltsweep.__file__, len(list(sweep.cells())), code.digest('train'), sorted(sweep.catalog.targets)]))\n"
    )
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-P", "-c", code],
                cwd=tmp_path,
                env={"PYTHONPATH": str(library), "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for library in (tmp_path / "site", ROOT / "workflow")
    ]
    assert found[0][0].startswith(str(tmp_path / "site"))
    assert found[0][1:] == found[1][1:]
