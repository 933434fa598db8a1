"""Other people's ways to use it: as a module of another workflow, installed by pip, as data frames."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import SNAKEFILE, snakemake

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
    text = snakemake(host, "-n", "--printshellcmds", snakefile=None).text
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
    snakemake(host, "results/data/retrieval/fi.parquet", snakefile=None)
    made = json.loads((host / "results" / "data" / "retrieval" / "fi.json").read_text())
    task = yaml.safe_load((ROOT / "workflow" / "catalog" / "target" / "retrieval.yaml").read_text())
    assert made["counts"] == {"test": task["languages"]["fi"]["test"]}


def test_the_catalogues_layout_is_the_same_workflow(tmp_path: Path) -> None:
    """workflow/Snakefile, read as snakedeploy has it read, makes all that Snakefile makes; config/ is the default sweep's."""
    assert (ROOT / "config" / "config.yaml").read_text() == (ROOT / "config.yaml").read_text()
    assert (ROOT / "config" / "README.md").is_file()
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"]
    module = 'module it:\n    snakefile: "{}"\n    config: config\n\nuse rule * from it\n'
    (tmp_path / "Snakefile").write_text('configfile: "config.yaml"\n' + module.format(ROOT / "workflow" / "Snakefile"))
    (tmp_path / "config.yaml").write_text("models: [e5-small]\nintermediates: [none]\ntargets: {retrieval: [fi]}\n")
    counts = [
        dict(re.findall(r"^(\w+) +(\d+)$", snakemake(tmp_path, "-n", "--quiet", "rules", snakefile=of).text, re.M))
        for of in (None, SNAKEFILE)
    ]
    assert counts[0].pop("everything") == counts[1].pop("all") == "1"
    assert counts[0] == counts[1]
    assert counts[0]["report"] == "1"


CONDA = """#!{python}
import json, os, pathlib, sys
import yaml
here = pathlib.Path({here!r})
words = sys.argv[1:]
if words[:2] == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": str(here), "platform": "linux-64"}}))
elif words == ["--version"]:
    print("conda 24.11.0")
elif words[0] == "config":
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif "create" in words:
    # As conda does: it has this one file, in a folder of its own.
    definition = yaml.safe_load(pathlib.Path(words[words.index("--file") + 1]).read_text())
    (pins,) = [part["pip"] for part in definition["dependencies"] if isinstance(part, dict)]
    assert all("==" in pin for pin in pins) and any(pin.startswith("torch==") for pin in pins), pins
    program = pathlib.Path(words[words.index("--prefix") + 1]) / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\\necho $1 >> {log}\\nexec {python} \\"$@\\"\\n")
    program.chmod(0o755)
"""
ACTIVATE = 'export PATH="$1/bin:$PATH"; export CONDA_PREFIX="$1"\n'
APPTAINER = """#!/bin/sh
# apptainer --version; apptainer ... exec ... IMAGE bash -c COMMAND: the last word is run.
if [ "$1" = --version ]; then echo "apptainer version 1.3.4"; exit 0; fi
case "$*" in *envs/stiltsweep.sif*) ;; *) echo "another image: $*"; exit 1;; esac
for word in "$@"; do last=$word; done
echo "$*" >> {log}
exec bash -c "$last"
"""


@pytest.mark.parametrize("method", ["conda", "apptainer"])
def test_rules_run_in_an_environment_of_their_own(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for conda and apptainer, which call the program they are given in place of one of their own."""
    log = tmp_path / "log"
    programs = tmp_path / "bin"
    programs.mkdir()
    texts = {
        "conda": {"conda": CONDA.format(python=sys.executable, here=str(tmp_path), log=log), "activate": ACTIVATE},
        "apptainer": {"apptainer": APPTAINER.format(log=log)},
    }
    for name, text in texts[method].items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "config.yaml").write_text("models: [e5-small]\nintermediates: [none]\ntargets: {retrieval: [fi]}\n")
    snakemake(folder, "--sdm", method, "--", "results/data/retrieval/fi.parquet")
    assert "prepare.py" in log.read_text()
    assert (folder / "results" / "data" / "retrieval" / "fi.parquet").is_file()


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
        "from stiltsweep.power import sources\n"
        "from stiltsweep.sweep import Sweep\n"
        "settings = {'models': ['e5-small'], 'intermediates': ['none'], 'targets': {'intent': ['fi']}}\n"
        "sweep = Sweep(*config.resolve(settings))\n"
        "there = len(list(sweep.cells())), code.digest('train'), sorted(sweep.catalog.targets), sorted(sources.packaged()[0])\n"
        "print(json.dumps([stiltsweep.__file__, *there]))\n"
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
