"""What can be known before the first job starts: sources that are well formed and there, weights, a hub in reach.

A job would find the same faults, but perhaps hours into a sweep.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .catalog import Model
from .errors import UserError
from .jobs import Jobs
from .sources import READERS
from .sources.parts import root, rooted
from .sweep import Sweep

_SECONDS = 2.0
"""How long a hub may take to answer."""


def check(sweep: Sweep) -> None:
    """Check what needs no network: the sources of every task that is used, and model directories.

    Raises:
      UserError: the first fault, with file and key.
    """
    for name in [*sweep.tasks, *sweep.probe_tasks]:
        task = sweep.catalog.task(name)
        if task.definition["source"]["type"] == "package":
            continue  # checking its builder means importing the package's own tools
        try:
            _reader(task.definition).check(task.definition)
        except UserError as error:
            raise UserError(f"{task.role}/{name}.yaml: {error}") from None
    for language, path in sweep.config["segmentations"].items():
        try:
            _check_readable(Path(path))
        except UserError as error:
            raise UserError(f"segmentations.{language}: {error}") from None
    for name in sweep.models_from("files"):
        if not Path(sweep.layout.model(name)).is_file():
            _check_directory(sweep.catalog.models[name])


def check_jobs(jobs: Jobs, models: Iterable[str], data: Iterable[tuple[str, str]]) -> None:
    """Check what the jobs that are about to run need: a place to write to, files to read, a hub in reach.

    Args:
      jobs: those of the sweep.
      models: models that are about to be fetched.
      data: (task, language) pairs that are about to be prepared.

    Raises:
      UserError: the first fault.
    """
    _check_writable(Path(jobs.layout.results))
    remote: dict[str, str] = {}
    for name, language in data:
        definition = jobs.task_definition(name, language)
        kind = definition["source"]["type"]
        if kind == "files":
            try:
                for path in _reader(definition).paths(definition, language):
                    _check_readable(path)
            except UserError as error:
                raise UserError(f"{name}/{language}: {error}") from None
        elif kind == "hub":
            reader = _reader(definition)
            for part in reader.check(definition):
                dataset = str(part.settings["dataset"])
                folder = root(rooted(definition, jobs.config.get("data_root")))
                copied = folder and reader.copy_folder(dataset, part.settings["revision"], folder).parent.is_dir()
                if not copied and not _cached(f"datasets--{dataset.replace('/', '--')}"):
                    remote.setdefault(dataset, f"task {name} ({language})")
    for name in models:
        source = jobs.catalog.models[name].definition["source"]
        if source["type"] == "hub" and not _cached(f"models--{source['repo'].replace('/', '--')}"):
            remote.setdefault(str(source["repo"]), f"model {name}")
    if remote:
        _check_hub(remote)


def _reader(definition: Mapping[str, Any]) -> Any:
    return importlib.import_module(f".sources.{READERS[definition['source']['type']]}", __package__)


def _check_directory(model: Model) -> None:
    folder = Path(model.definition["source"]["path"])
    where = f"models/{model.name}.yaml: source.path: {folder}"
    if not folder.is_dir():
        raise UserError(f"{where} is not a folder. Name a Hugging Face model directory (see save_pretrained).")
    if not (folder / "config.json").is_file():
        raise UserError(f"{where} holds no config.json. Name a Hugging Face model directory (see save_pretrained).")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
        found = f"; {', '.join(pickles)} may hold pickles, which are never opened" if pickles else ""
        raise UserError(
            f"{where} holds no .safetensors file{found}. If you trust its weights, load them with transformers and "
            "save them with save_pretrained, which writes safetensors."
        )
    for path in [folder / "config.json", *weights]:
        _check_readable(path)


def _check_readable(path: Path) -> None:
    try:
        with open(path, "rb") as handle:
            empty = not handle.read(1)
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). Give yourself the right to read it.") from None
    if empty:
        raise UserError(f"{path}: is empty. Was its download cut off? Get it again.")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".") as probe:
            probe.write(b"x" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise UserError(
            f"results: the folder {folder} cannot be written to ({error.strerror}). Name another one in the "
            "configuration, or make room and give yourself the right to write there."
        ) from None


def _cached(name: str) -> bool:
    """Whether the hub's own cache holds something of a repository; what exactly, the job will see."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return (Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / name).is_dir()


def _check_hub(wanted: Mapping[str, str]) -> None:
    """Ask the hub for a sign of life.

    Raises:
      UserError: there is none; the text names what would have been asked of it.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reason = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    if not reason:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310
            urllib.request.urlopen(request, timeout=_SECONDS).close()  # noqa: S310 (the hub's address)
        except urllib.error.HTTPError:
            return  # an answer
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
    if reason:
        repo, user = next(iter(wanted.items()))
        more = f" and {len(wanted) - 1} more" if len(wanted) > 1 else ""
        raise UserError(
            f"{user}{more}: {repo} has to come from the hub, and {endpoint} is out of reach ({reason}). Run this where "
            "there is a network, or bring a copy here: see docs/sources.md."
        )
