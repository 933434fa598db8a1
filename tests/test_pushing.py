"""Models and results put into repositories of a hub on this machine, and read back by the hub's own client."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import WRITER, Hub
from test_export import trained

import report_fixtures
from stiltsweep.export import export

ROOT = Path(__file__).parents[1]
READ = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], repo_type=sys.argv[2]))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as found:
        yield found


def run(hub: Hub, folder: Path, *arguments: str, token: str = WRITER, **more: str) -> tuple[int, str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", **more}
    environment |= {"HF_TOKEN": token} if token else {}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr + done.stdout


def push(hub: Hub, folder: Path, *arguments: str, **more: str) -> tuple[int, str]:
    return run(hub, folder, str(ROOT / "workflow" / "scripts" / "push.py"), *arguments, **more)


def read_back(hub: Hub, folder: Path, name: str, kind: str) -> dict[str, bytes]:
    status, text = run(hub, folder, "-c", READ, name, kind)
    assert status == 0, text
    found = Path(text.splitlines()[-1])
    return {str(path.relative_to(found)): path.read_bytes() for path in found.rglob("*") if path.is_file()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_exported_model_comes_back_as_it_was(hub: Hub, tmp_path: Path) -> None:
    made = export(trained(tmp_path, "first", "roberta")[0], tmp_path / "mine").folder
    status, text = push(hub, tmp_path, str(made), "me/mine", "--private")
    assert status == 0 and text.splitlines()[-1] == f"{hub.url}/me/mine", text
    assert read_back(hub, tmp_path, "me/mine", "model") == files(made)
    # Once more, into what is there already.
    assert push(hub, tmp_path, str(made), "me/mine")[0] == 0
    assert read_back(hub, tmp_path, "me/mine", "model") == files(made)


def results(folder: Path) -> Path:
    for name, text in {
        "report/index.html": "<p>page</p>",
        "report/headline.txt": "It helped.",
        "report/tables/cells.csv": "model,score\n",
        "significance/lift.csv": "model,lift\n",
        "significance/lift.csv.made.json": "{}",
        "data/topic/en.parquet": "licensed rows",
        "models/tiny/model.safetensors": "weights",
        "predictions/x/en.json": "{}",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "report" / "run.json").write_text(json.dumps(report_fixtures.description()))
    return folder


def test_results_are_a_data_set_without_data_and_weights(hub: Hub, tmp_path: Path) -> None:
    folder = results(tmp_path / "results")
    status, text = push(hub, tmp_path, str(folder), "me/sweep")
    assert status == 0 and text.splitlines()[-1] == f"{hub.url}/datasets/me/sweep", text
    found = read_back(hub, tmp_path, "me/sweep", "dataset")
    card = found.pop("README.md").decode()
    sent = (
        "report/index.html",
        "report/headline.txt",
        "report/tables/cells.csv",
        "report/run.json",
        "significance/lift.csv",
    )
    assert found == {name: (folder / name).read_bytes() for name in sent}
    run_ = report_fixtures.description()
    assert f"# {run_['title']}\n\nIt helped.\n" in card and run_["configuration"].strip() in card
    assert all(f"* `{one['name']}`: {one['licence']}" in card for one in run_["targets"])


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (("results", "me/sweep"), {"token": ""}, "me/sweep: nobody is logged in to http.*hf auth login"),
        (("results", "me/sweep"), {"token": "hf_other"}, "me/sweep: the token is not a valid one"),
        (("results", "you/sweep"), {}, "you/sweep: the token may not write there"),
        (("results", "sweep"), {}, "sweep: not the name of a repository. Write OWNER/NAME"),
        (("results", "me/a b"), {}, "me/a b: not a name that the hub allows"),
        (("results", "me/sweep"), {"HF_HUB_OFFLINE": "1"}, "switched off by HF_HUB_OFFLINE"),
        (("results", "me/sweep"), {"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 is not to be reached"),
        (("empty", "me/sweep"), {}, "neither a model that scripts/export.py wrote .* nor a results folder"),
    ],
)
def test_what_is_refused_is_one_sentence(
    hub: Hub, tmp_path: Path, arguments: tuple[str, str], more: dict[str, str], message: str
) -> None:
    results(tmp_path / "results")
    (tmp_path / "empty").mkdir()
    status, text = push(hub, tmp_path, str(tmp_path / arguments[0]), arguments[1], **more)
    last = text.strip().splitlines()[-1]
    assert status != 0 and re.search(message, last), text
    assert "Traceback" not in text and not hub.repositories
