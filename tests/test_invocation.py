"""Lines that are printed to be typed again: each is run as it stands, and must ask Snakemake for the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import snakemake

from stiltsweep.errors import make, remake
from stiltsweep.invocation import Invocation

ROOT = Path(__file__).parents[1]
SNAKEFILE = f"""
import json, sys
sys.path.insert(0, {str(ROOT / "workflow")!r})
from pathlib import Path
from stiltsweep.invocation import invocation

if not workflow.config_settings.configfiles:
    configfile: "config.yaml"

with open({{log!r}}, "a") as log:
    json.dump({{{{
        "again": invocation(workflow, sys.argv).command("results/a cell.json", "--force"),
        "config": config,
        "here": str(Path.cwd()),
    }}}}, log)
    log.write("\\n")

rule cell:
    output: "results/{{{{name}}}}.json"
    shell: "echo made > {{{{output:q}}}}"
"""


WAYS: list[list[str]] = [
    [],
    ["--configfile", "my sweeps/one sweep.yaml"],
    ["--configfile", "my sweeps/one sweep.yaml", "--config", "seeds=[0, 1]", "title=it's one, or two?"],
    ["--config", "training={epochs: 1}", "title="],
    ["--configfile", "other.yaml", "my sweeps/one sweep.yaml", "--config", "own={b: [c, d e]}"],
]


@pytest.mark.parametrize(("options", "elsewhere"), [*((way, False) for way in WAYS), (WAYS[0], True), (WAYS[2], True)])
def test_a_line_run_as_printed_asks_for_the_same(tmp_path: Path, options: list[str], elsewhere: bool) -> None:
    folder = tmp_path / "a folder"
    (folder / "my sweeps").mkdir(parents=True)
    log = tmp_path / "log.jsonl"
    (folder / "Snakefile").write_text(SNAKEFILE.format(log=str(log)))
    (folder / "config.yaml").write_text("title: the default\n")
    (folder / "other.yaml").write_text("title: other\nmodels: [m]\n")
    (folder / "my sweeps" / "one sweep.yaml").write_text("title: one\nseeds: [3]\n")
    where = ["--snakefile", str(folder / "Snakefile"), "--directory", str(folder)] if elsewhere else []
    if elsewhere:  # files of the command line are relative to where it was typed
        options = [str(folder / one) if one.endswith(".yaml") else one for one in options]
    here = tmp_path if elsewhere else folder

    def read(process: Any) -> dict[str, Any]:
        assert process.returncode == 0, process.stderr
        return dict(json.loads(log.read_text().splitlines()[-1]))

    first = read(snakemake(here, *where, "results/b.json", *options, cores=1, snakefile=None))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = subprocess.run(
        first["again"], shell=True, cwd=here, env=environment, capture_output=True, text=True, check=False
    )
    again = read(line)
    assert again == first  # the same configuration, the same folder, and the same line once more
    assert (folder / "results" / "a cell.json").read_text() == "made\n"


@pytest.mark.parametrize("end", ["", ".", "; then go on", ") and more", "\nnext line", " (`snakemake plan` names it)"])
def test_commands_in_errors_ask_for_the_sweep_at_hand(end: str) -> None:
    again = Invocation("snakemake", "--cores 1 --configfile 'my sweep.yaml'")
    text = f"results/m.json: cut short. Rebuild it with: {remake('results/m.json')}{end}"
    assert again.completed(text) == (
        "results/m.json: cut short. Rebuild it with: "
        f"snakemake --force results/m.json --cores 1 --configfile 'my sweep.yaml'{end}"
    )


def test_other_commands_in_errors_stay() -> None:
    again = Invocation("snakemake", "--cores 1 --configfile 'my sweep.yaml'")
    for text in ("snakemake --cores 1 (`snakemake plan` names it)", "snakemake --cores 1 --snakefile S", "--cores 1"):
        assert again.completed(text) == text
    cell = "results/cells/m/none/t/seed0/de.json"
    assert again.completed(f"(the next run does, as `{make(cell)}` does): x") == (
        f"(the next run does, as `snakemake {cell} --cores 1 --configfile 'my sweep.yaml'` does): x"
    )
