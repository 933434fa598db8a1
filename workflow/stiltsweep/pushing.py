"""Putting an exported model, or a sweep's results, into a repository of the Hugging Face hub, for who has an account.

The hub's own client sends the files. Of results it is what a reader needs: the page, its tables and figures, tests and
every cell's score; neither data nor weights nor predictions, whose licences are not the sweep's to give.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .downloads import endpoint, offline
from .errors import UserError
from .files import read_json, write_text
from .layout import Layout
from .report.run import licensed

CARD = "README.md"
_TAKEN = ("report", "significance", "typology", "diagnosis", "behaviour", "measures", "power")
"""Folders of results that are sent, as far as they are there."""


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Send a folder to a repository, which is made if it is not there; return its address.

    Args:
      folder: one that `export` wrote (a model), or a results folder with its report (a data set).
      repository: owner/name.
      private: whether a new one is seen by its owner alone.

    Raises:
      UserError: the folder is neither, or the hub does not take it; the text says why and what to do.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"{repository}: not the name of a repository. Write OWNER/NAME, for example me/my-slots.")
    if offline():
        raise UserError("the hub is switched off by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE. Unset it to push.")
    layout = Layout(str(folder))
    if (folder / "config.json").is_file() and (folder / CARD).is_file():
        return _send(folder, repository, "model", private)
    if Path(layout.path("page")).is_file():
        with tempfile.TemporaryDirectory() as temporary:
            chosen = Path(temporary)
            for name in _TAKEN:
                if (folder / name).is_dir():
                    shutil.copytree(folder / name, chosen / name, ignore=shutil.ignore_patterns("*.made.json"))
            write_text(chosen / CARD, _card(layout))
            return _send(chosen, repository, "dataset", private)
    raise UserError(
        f"{folder}: neither a model that scripts/export.py wrote (config.json, {CARD}) nor a results folder with its "
        f"report ({layout.path('page')}). Export a checkpoint, or finish the sweep."
    )


def _send(folder: Path, repository: str, kind: str, private: bool) -> str:
    import huggingface_hub

    if huggingface_hub.get_token() is None:
        raise UserError(
            f"{repository}: nobody is logged in to {endpoint()}. Log in with `hf auth login` and a token that may "
            "write."
        )
    hub = huggingface_hub.HfApi(endpoint=endpoint(), library_name="stiltsweep")
    with _explained(repository):
        made = hub.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, repo_type=kind, folder_path=folder, commit_message="Upload of stiltsweep")
    return str(made)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Say in a sentence what the hub refused."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise UserError(f"{repository}: not a name that the hub allows: {str(error).splitlines()[0]}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = {
            401: "the token is not a valid one. Log in again with `hf auth login`",
            403: "the token may not write there. Name a repository of yours, or log in with a token that may write",
        }.get(status, f"the hub answered HTTP {status}: {str(error).splitlines()[0]}. Try again later")
        raise UserError(f"{repository}: {why}.") from None
    except (httpx2.TransportError, OSError) as error:
        raise UserError(
            f"{repository}: {endpoint()} is not to be reached ({error}). Try again with a network."
        ) from None


def _card(layout: Layout) -> str:
    """Return the card of a results folder: title, answer, what is in it, the configuration, licences."""
    run = read_json(layout.path("description"))
    headline = Path(layout.path("headline")).read_text(encoding="utf-8").strip()
    licences = [f"* `{name}`: {about['licence']}" for name, about in licensed(run).items()]
    lines = [
        "---",
        "tags: [stiltsweep, cross-lingual-transfer]",
        "---",
        "",
        f"# {run['title']}",
        "",
        headline,
        "",
        "`report/index.html` is the page, `report/tables/cells.csv` every cell's score, `significance/lift.csv` every "
        "test; stiltsweep's docs/columns.md says what their columns are. Data, weights and predictions are not here.",
        "",
        "## Configuration",
        "",
        "```yaml",
        run["configuration"].strip(),
        "```",
        "",
        "## Made from",
        "",
        "Scores are of models and data with these licences:",
        "",
        *licences,
    ]
    return "\n".join(lines) + "\n"
