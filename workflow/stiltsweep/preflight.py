"""What can be known before the first job starts: sources that are well formed and there, weights, a hub in reach.

A job would find the same faults, but perhaps hours into a sweep.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import downloads
from .catalog import Catalog, Model, Task
from .errors import UserError
from .facts import KINDS, SIDED
from .interfaces import INTERFACES, writes
from .jobs import Jobs
from .languages import ENGLISH
from .settings import T5_FAMILY, TrainingSettings
from .sources import READERS
from .sources.parts import root, rooted
from .sweep import Sweep
from .training import tracking

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
    _check_heads(sweep)
    _check_trainings(Jobs(sweep))
    for language, path in sweep.config["segmentations"].items():
        try:
            _check_readable(Path(path))
        except UserError as error:
            raise UserError(f"segmentations.{language}: {error}") from None
    for name in sweep.models_from("files"):
        if not Path(sweep.layout.model(name)).is_file():
            _check_directory(sweep.catalog.models[name])


def check_jobs(
    jobs: Jobs, models: Iterable[str], data: Iterable[tuple[str, str]], *, sources_only: bool = False
) -> None:
    """Check what the jobs that are about to run need: a place to write to, files to read, a hub in reach.

    Args:
      jobs: those of the sweep.
      models: models that are about to be fetched.
      data: (task, language) pairs that are about to be prepared.
      sources_only: whether the run does nothing but fetch and prepare: it does what it can, and missing files are only
        said.

    Raises:
      UserError: the first fault; but files that are not there and repositories that cannot be asked for are named all
        at once.
    """
    _check_writable(Path(jobs.layout.results), "results: the folder", "Name another one in the configuration")
    remote: dict[str, str] = {}
    absent: dict[str, list[str]] = {}
    for name, language in data:
        definition = jobs.task_definition(name, language)
        kind = definition["source"]["type"]
        if kind == "files":
            try:
                not_there = _reader(definition).missing(definition, language)
                if (labels := definition.get("labels_file")) and (folder := root(definition)) is not None:
                    not_there += [str(folder / labels)] if not (folder / labels).is_file() else []
                if not_there:
                    absent.setdefault(name, []).extend(not_there)
                    continue
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
                    at = f"{folder or 'DATA_ROOT'}/hub/{dataset}/{part.settings['revision']}"
                    get = f"hf download {dataset} --repo-type dataset --revision {part.settings['revision']}"
                    remote.setdefault(f"{get} --local-dir {at}", f"task {name}")
    for name in models:
        source = jobs.catalog.models[name].definition["source"]
        if source["type"] == "hub" and not _cached(f"models--{source['repo'].replace('/', '--')}"):
            remote.setdefault(f"hf download {source['repo']} --revision {source['revision']}", f"model {name}")
    if absent:
        text = _absent(jobs, absent)
        if not sources_only:
            raise UserError(text)
        print(f"warning: {text}", file=sys.stderr)
    if remote:
        _check_hub(remote)
        _check_writable(
            downloads.cache(),
            "HF_HOME: the hub's cache",
            "Set HF_HOME to another one, which will hold all that is read",
        )


def _absent(jobs: Jobs, absent: Mapping[str, Sequence[str]]) -> str:
    """Return what says which tasks' files are not there, where to get them, and how to do without."""
    lines = []
    for name, files in absent.items():
        once = list(dict.fromkeys(files))
        more = f" and {len(once) - 1} more" if len(once) > 1 else ""
        notes = str(jobs.catalog.task(name).definition.get("notes", ""))
        where = f" {notes.split('. ')[0].rstrip('.')}." if notes.startswith(("File", "The file")) else ""
        lines.append(f"{name}: no file {once[0]}{more}.{where}")
    names = ", ".join(absent)
    advice = (
        "Put them there, or set data_root (or source.root of the task) to their folder; or leave "
        f"{'the task' if len(absent) == 1 else 'these tasks'} out with without: [{names}]."
    )
    if len(lines) == 1:
        return f"{lines[0]} {advice}"
    return "\n  ".join([f"the files of {len(lines)} tasks are not there. {advice}", *lines])


def _check_heads(sweep: Sweep) -> None:
    """Refuse tasks that encoders have no form for, and targets whose head nothing trains: a random one scores, too."""
    encoders = [name for name in sweep.models if sweep.catalog.models[name].interface == "encoder"]
    for name in sweep.tasks if encoders else ():
        task = sweep.catalog.task(name)
        if not KINDS[task.kind].encoders:
            able = ", ".join(one for one, about in INTERFACES.items() if about.writes)
            raise UserError(
                f"{task.role}/{name}.yaml: kind {task.kind!r} is for models that write text (interface {able}), and "
                f"{encoders[0]} is an encoder: name only such models, or leave the task out with without: [{name}]."
            )
    for name in sweep.languages:
        task = sweep.catalog.targets[name]
        if encoders and task.kind not in SIDED and not task.train_on:
            raise UserError(
                f"target/{name}.yaml: nothing trains the head that {encoders[0]} needs for {task.kind}: no language "
                "counts `train`, and there is no train_on. Count training data in the source language, or name tasks "
                "of this kind under train_on."
            )


def _check_trainings(jobs: Jobs) -> None:
    """Check what trainings need: English development data, windows that go on, a precision that holds, a tracker."""
    sweep, catalog = jobs.sweep, jobs.catalog
    service, resources = jobs.config["tracking"], jobs.config["resources"]
    if resources["share"] > 1 and resources["gpus"] > 1:
        raise UserError(
            f"resources: share {resources['share']} and gpus {resources['gpus']}: a training on several GPUs has them "
            "to itself. Leave one of the two out."
        )
    if service and (package := tracking.missing(service)):
        raise UserError(
            f"tracking: {service}: the package {package} is not installed. Hint: "
            f"pip --python {sys.executable} install {package}, or leave tracking out."
        )
    for name in dict.fromkeys([*(task for tasks in sweep.trainings.values() for task in tasks), *_scored(sweep)]):
        task = catalog.task(name)
        if task.role == "intermediate":
            task.check_dev(ENGLISH)
    for model in sweep.models:
        for name in dict.fromkeys(
            [task for tasks in sweep.trainings.values() for task in tasks] + list(sweep.languages)
        ):
            settings = jobs.training("target", model, name)
            _check_settings(settings, catalog, model, [catalog.task(name)])
            if settings.max_updates == 0 and not writes(catalog.models[model].interface):
                raise UserError(
                    f"training of {model} on {name}: max_updates 0 leaves its head random. Only models that write "
                    "their answers can be asked untrained: say training: {causal: {target: {max_updates: 0}}}, or "
                    "text2text in place of causal."
                )
        for arm in sweep.stages:
            parts = [catalog.intermediates[part.task] for part in sweep.arms[arm].parts]
            settings = jobs.intermediate_training(model, arm)
            _check_settings(settings, catalog, model, parts)
            if settings.max_updates == 0:
                raise UserError(
                    f"training of {model} on {arm}: an intermediate training of no updates is the arm none. Say "
                    "training: {target: {max_updates: 0}} for targets that are asked untrained."
                )


def _scored(sweep: Sweep) -> list[str]:
    """Return the tasks that intermediate stages are scored on."""
    return [part.task for arm in sweep.stages for part in sweep.arms[arm].parts if part.rate is None]


def _check_settings(settings: TrainingSettings, catalog: Catalog, name: str, tasks: Sequence[Task]) -> None:
    model = catalog.models[name]
    where = f"training of {model.name} on {' and '.join(task.name for task in tasks)}"
    # Question answering may say how far its windows step instead.
    kinds = ("tagging",) if settings.window_step else ("tagging", "span_qa")
    windowed = [task for task in tasks if task.kind in kinds]
    if model.interface == "encoder" and windowed and settings.stride >= settings.max_length:
        raise UserError(
            f"{where}: stride {settings.stride} is not below max_length {settings.max_length}: windows of "
            f"{windowed[0].kind} would never go on. Name a smaller one, for example training: {{stride: "
            f"{settings.max_length // 4}}}."
        )
    if settings.precision == "fp16" and _is_t5(model, catalog):
        raise UserError(f"{where}: precision fp16 is refused for T5 models, which overflow in it. Use bf16 or fp32.")


def _is_t5(model: Model, catalog: Catalog) -> bool:
    """Return whether a model is T5-like: all text-to-text models are, and encoders that are made of their weights."""
    if model.interface == "text2text":
        return True
    source = model.definition["source"]
    config = Path(str(source.get("path", ""))) / "config.json"
    if "path" in source and config.is_file():
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type")) in T5_FAMILY
    others = (other for other in catalog.models.values() if other.interface == "text2text")
    return "repo" in source and any(other.definition["source"].get("repo") == source["repo"] for other in others)


def _reader(definition: Mapping[str, Any]) -> Any:
    return importlib.import_module(f".sources.{READERS[definition['source']['type']]}", __package__)


def _check_directory(model: Model) -> None:
    folder = Path(model.definition["source"]["path"])
    where = f"models/{model.name}.yaml: source.path: {folder}"
    if not folder.is_dir():
        raise UserError(f"{where} is not a folder. Name a Hugging Face model directory (see save_pretrained).")
    if not (folder / "config.json").is_file():
        raise UserError(f"{where} holds no config.json. Name a Hugging Face model directory (see save_pretrained).")
    from .models import architectures, given  # not needed by a sweep without such models

    weights = given.weights(folder, given.SAFETENSORS) or given.weights(folder, given.PICKLE)
    if not weights:
        raise UserError(
            f"{where} holds no weights: neither {given.SAFETENSORS} nor {given.PICKLE}, nor an index of their parts. "
            "Bring the whole directory (see save_pretrained)."
        )
    for path in [folder / "config.json", *weights]:
        _check_readable(path)
    try:
        architectures.class_name(model.interface, given.json_object(folder / "config.json"))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _check_readable(path: Path) -> None:
    try:
        with open(path, "rb") as handle:
            empty = not handle.read(1)
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). Give yourself the right to read it.") from None
    if empty:
        raise UserError(f"{path}: is empty. Was its download cut off? Get it again.")


def _check_writable(folder: Path, what: str, advice: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".") as probe:
            probe.write(b"x" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise UserError(
            f"{what} {folder} cannot be written to ({error.strerror}). {advice}, or make room and give yourself the "
            "right to write there."
        ) from None


def _cached(name: str) -> bool:
    """Whether the hub's own cache holds something of a repository; what exactly, the job will see."""
    return (downloads.cache() / name).is_dir()


def _check_hub(wanted: Mapping[str, str]) -> None:
    """Ask the hub for a sign of life.

    Args:
      wanted: command that downloads a repository -> who needs it.

    Raises:
      UserError: there is none; the text names what would have been asked of it.
    """
    endpoint = downloads.endpoint()
    reason = "HF_HUB_OFFLINE is set" if downloads.offline() else ""
    if not reason:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310
            urllib.request.urlopen(request, timeout=_SECONDS).close()  # noqa: S310 (the hub's address)
        except urllib.error.HTTPError:
            return  # an answer
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
    if reason:
        users = list(dict.fromkeys(wanted.values()))
        verb = "has" if len(users) == 1 else "have"
        text = (
            f"{', '.join(users)} {verb} to come from the hub, and {endpoint} is out of reach ({reason}). Where there "
            "is a network, run this sweep with '--until fetch prepare' and bring its results folder here, or bring "
            "data_root and the hub's cache (HF_HOME) after running there:"
        )
        raise UserError(f"{text} {next(iter(wanted))}" if len(wanted) == 1 else "\n  ".join([text, *wanted]))
