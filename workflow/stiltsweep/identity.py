"""What decides each stage's result, said once: the job records it with what it makes, a plan compares it.

A *decisive record* is a plain dictionary: the names of a result, the settings it is made with, what its inputs hold
(digests of rows and weights, labels, the metric that selects), and the code and library versions of its stage. Its
digest is the result's *identity*. Inputs are named by what they hold and not by how they came to be, so that data which
are prepared anew and come out the same cost no training.

Both sides call the same functions: the job with what it has read, the plan with the records that lie in the results
folder. Where a record is gone (weights and data may be deleted once all that is made of them is there), a plan passes
None, the functions say None, and `differences` leaves that part to what was recorded.

What is not in here decides no result: a description, a citation, a metric that is only reported, a count that agrees
with the data, how often a state is saved, where files lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import __version__, code
from .errors import UserError, remake
from .files import MADE_BY, SEAL, canonical, digest, read_record, sealed, write_record
from .interfaces import writes

Decisive = dict[str, Any]
Record = Mapping[str, Any]

IDENTITY = "identity"
DECISIVE = "made_from"
"""Keys of a record: the digest of its decisive record, and that itself."""

_NOT_ROWS = ("metrics", "parallel", "text2text", "licence", "bucket_minimum")
"""Keys of a task's definition that its prepared data only carry on: no row depends on them."""
_WHOLE = 64 << 20
"""Bytes up to which a user's files are compared whole; longer ones by their length and their two ends."""


def of(decisive: Decisive) -> dict[str, Any]:
    """Return what a record says of its identity, to be laid into it."""
    plain = json.loads(canonical(decisive))
    return {IDENTITY: digest(plain), DECISIVE: plain, MADE_BY: made_by()}


def made_by() -> dict[str, str]:
    """Return this project's version and, in a checkout, its commit."""
    return {"stiltsweep": __version__, **({"commit": commit} if (commit := code.commit()) else {})}


def differences(recorded: Record, expected: Decisive, between: str = ", now ") -> list[str]:
    """Return what is recorded otherwise than it is expected, with both values where they are short; None fits anything.

    Inner names come after a dot: `settings.epochs (1, now 3)`; what stands between two values can be chosen.
    """
    return list(_differences(recorded.get(DECISIVE, {}), json.loads(canonical(expected)), between))


def _differences(recorded: Any, expected: Any, between: str, name: str = "") -> Iterator[str]:
    if expected is None or recorded == expected:
        return
    if isinstance(recorded, dict) and isinstance(expected, dict):
        # A key that only one side has is a difference, but for what is expected to be unknown.
        for key in sorted({*recorded, *expected}):
            inner = f"{name}.{key}" if name else key
            yield from _differences(recorded.get(key), expected[key], between, inner) if key in expected else [inner]
    else:
        old, new = (json.dumps(value, ensure_ascii=False) for value in (recorded, expected))
        yield f"{name} ({old}{between}{new})" if len(old) + len(new) < _SHORT else name


_SHORT = 60
"""Characters of two values that are still shown."""


# The stages. Each function's arguments are what the job's command says and the records of its inputs.


def prepared(task: str, language: str, definition: Record, files: Sequence[Path] | None) -> Decisive:
    """Return what decides the rows of a task in a language.

    Args:
      task, language: names.
      definition: as the job is told it.
      files: the user's files or templates that it reads; empty where it reads none, None where they are not known here.
    """
    about = {key: value for key, value in definition.items() if key not in _NOT_ROWS}
    source = dict(about["source"])
    # Where the files lie decides nothing: their content is compared.
    for place in ("root", "links"):
        source.pop(place, None)
    splits = {code_: sorted(set(counts) - {"sha256"}) for code_, counts in about["languages"].items()}
    return {
        "stage": "prepare",
        "task": task,
        "language": language,
        "definition": {**about, "source": source, "languages": splits},
        "files": None if files is None else contents(files),
        "code": code.digest("prepare"),
    }


def said(meta: Record, definition: Record) -> dict[str, Any]:
    """Return the record of prepared data as the definition of now has it, where their rows stay."""
    now = {
        "metrics": list(definition.get("metrics", [])),
        "parallel": definition["parallel"],
        "text2text": dict(definition["text2text"]),
        "source": {**meta["source"], "licence": definition["licence"]},
    }
    return sealed({**meta, **now})


def counted(meta: Record, expected: Record) -> list[str]:
    """Return which of the counts and digests that a catalogue states of data are not those of the data."""
    counts = {**meta.get("counts", {}), "sha256": meta.get("sha256")}
    return [key for key, value in expected.items() if counts.get(key) != value]


def fetched(model: str, definition: Record, files: Sequence[Path] | None) -> Decisive:
    """Return what decides a fetched model; `files` are those of a directory of the user's own."""
    return {
        "stage": "fetch",
        "model": model,
        "definition": dict(definition),
        "files": None if files is None else contents(files),
        "code": code.digest("fetch"),
    }


def pretrained(model: str, definition: Record, settings: Record) -> Decisive:
    """Return what decides a model that is made from nothing."""
    return {
        "stage": "pretrain",
        "model": model,
        "definition": dict(definition),
        "settings": _without(settings, "save_minutes"),
        "code": code.digest("pretrain"),
        "versions": code.versions("pretrain"),
    }


def trained(
    *,
    names: Record,
    seed: int,
    settings: Record,
    representation: Record,
    prune: bool,
    keep_head: bool,
    mixture: Record | None,
    chance: float,
    more_updates: int | None,
    start: Record | None,
    base: Record | None,
    data: Mapping[str, Record | None],
) -> Decisive:
    """Return what decides a checkpoint.

    Args:
      names: stage, model, intermediate and target.
      seed: the run's.
      settings, representation, prune, keep_head, mixture, chance: as the command says them.
      more_updates: that it makes in addition to its own; None: not known.
      start: record of the model or checkpoint that it starts from.
      base: record of the model below that.
      data: "task/language" -> record of the prepared data.
    """
    interface = None if base is None else str(base["interface"])
    return {
        "stage": "train",
        "names": dict(names),
        "seed": seed,
        "settings": _without(settings, "save_minutes"),
        "representation": dict(representation),
        "prune": prune,
        "mixture": mixture if mixture is not None else False,
        "chance": chance,
        "more_updates": more_updates,
        "start": _weights(start, base, head=keep_head),
        "data": {name: None if meta is None else meta["sha256"] for name, meta in sorted(data.items())},
        "tasks": {meta["task"]: _task(meta, interface) for meta in data.values() if meta is not None}
        if all(meta is not None for meta in data.values())
        else None,
        "code": code.digest("train"),
        "versions": code.versions("train"),
    }


def one_try(decisive: Decisive, seed: int) -> Decisive:
    """Return what decides the result of one try of a training: names and chance levels do not, its own seed does."""
    settings = _without(decisive["settings"], "retry_collapsed")
    return {**_without(decisive, "names", "chance"), "seed": seed, "settings": settings}


def predicted(
    *,
    settings: Record,
    start: Record | None,
    base: Record | None,
    meta: Record | None,
    layer_data: Record | None = None,
    seed: int | None = None,
) -> Decisive:
    """Return what decides the predictions of one language.

    Args:
      settings: as the command says them.
      start, base: records of the checkpoint (or model) and of the model below it.
      meta: record of the prepared data.
      layer_data: of the English data that choose the layer, where the settings say that some do.
      seed: of the run, which draws the shots, where the settings say that there are some.
    """
    interface = None if base is None else str(base["interface"])
    return {
        "stage": "predict",
        "settings": dict(settings),
        "layer_data": (None if layer_data is None else layer_data["sha256"]) if settings.get("layer_from") else "",
        "start": _weights(start, base, head=True),
        "form_options": None if start is None else start.get("form_options", {}),
        "seed": seed if settings.get("shots") else "",
        "data": None if meta is None else meta["sha256"],
        "language": None if meta is None else meta["language"],
        "task": None if meta is None else {"name": meta["task"], **_task(meta, interface)},
        "code": code.digest("predict"),
        "versions": code.versions("predict"),
    }


def scored(*, names: Record, index: Record | None, meta: Record | None, family: str, contaminated: bool) -> Decisive:
    """Return what decides a cell.

    Args:
      names: of the cell.
      index: record of the checkpoint's predictions of the target.
      meta: record of the prepared data.
      family: the language's.
      contaminated: whether the intermediate holds the target's data.
    """
    predicted = None if index is None else index["languages"].get(names["language"], {"error": "not named"})
    metrics = None if meta is None or index is None else metrics_of(meta, index.get("interface", "encoder"))
    return {
        "stage": "evaluate",
        **names,
        "predictions": None if predicted is None else predicted.get(SEAL, "none"),
        "run": None if index is None else {key: index.get(key) for key in RUN},
        "data": None if meta is None else meta["sha256"],
        "metrics": metrics,
        "parallel": None if meta is None else meta["parallel"],
        "family": family,
        "contaminated": contaminated,
        "code": code.digest("evaluate"),
    }


RUN = (
    *("checkpoint_sha256", "learned", "failed_stages", "recipe"),
    *("train_tokens", "train_updates", "train_micro_batch_tokens"),
)
"""What an index of predictions says of its checkpoint and a cell carries on."""


def tabled(stage: str, arguments: Sequence[str], inputs: Mapping[str, str | None]) -> Decisive:
    """Return what decides a table, a set of tests or a page.

    Args:
      stage: the script.
      arguments: its command line (or the part of it that a configuration decides); paths in it do not count.
      inputs: name -> digest of what it reads; None: not known.
    """
    return {
        "stage": stage,
        "arguments": dict(decisive_arguments(arguments)),
        "inputs": dict(sorted(inputs.items())),
        "code": code.digest(stage),
        **({"versions": code.versions(stage)} if stage in code.LIBRARIES else {}),
    }


_PATHS = frozenset(
    (
        *("--results", "--output", "--model", "--target", "--tables", "--inputs", "--measures", "--probes", "--lift"),
        *("--run", "--data", "--start", "--threads", "--revision", "--segmentations", "--published", "--data-root"),
    )
)
"""Options of scripts whose values are names and places: what is read there is compared by content."""


def decisive_arguments(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every option that decides numbers, with its values."""
    name, values = "", list[str]()
    for token in [*arguments, "--"]:
        if token.startswith("--"):
            if name and name not in _PATHS:
                yield name, values
            name, _, value = token.partition("=")
            values = [value] if value else []
        else:
            values.append(token)


def recipe(decisive: Decisive, parent: str) -> str:
    """Return the digest of how a checkpoint was made, whatever its seed: runs that are averaged must agree in it.

    Args:
      decisive: its decisive record.
      parent: the recipe of what it starts from.
    """
    return digest({**_without(decisive, "seed", "start", "more_updates"), "parent": parent})


def metrics_of(meta: Record, interface: str) -> list[str]:
    """Return the names of a task's metrics on an interface: `text2text.metrics` where the task states them."""
    own: list[str] = meta["text2text"].get("metrics", []) if writes(interface) else []
    return own or list(meta["metrics"])


def _task(meta: Record, interface: str | None) -> dict[str, Any]:
    return {
        "kind": meta["kind"],
        "labels": list(meta["labels"]),
        # The one that chooses the state that is kept; the others are only reported.
        "metric": None if interface is None else next(iter(metrics_of(meta, interface)), ""),
        "text2text": _without(meta["text2text"], "metrics"),
    }


def _weights(start: Record | None, base: Record | None, *, head: bool) -> dict[str, Any] | None:
    """Return digests of the weights a job starts from, of the base and its tokenizer, of the head where it counts."""
    if start is None or base is None:
        return None
    return {
        "weights": start["weights_sha256"],
        "base": base["weights_sha256"],
        "tokenizer": base["tokenizer_sha256"],
        "head": start.get("head_sha256", "") if head else "",
    }


def _without(value: Record, *keys: str) -> dict[str, Any]:
    return {key: one for key, one in value.items() if key not in keys}


def model_files(source: Record) -> list[Path]:
    """Return the files of a model directory of the user's own; none for the other sources."""
    folder = Path(source["path"]) if source["type"] == "files" else None
    return sorted(one for one in folder.iterdir() if one.is_file()) if folder is not None and folder.is_dir() else []


def contents(files: Iterable[Path]) -> dict[str, str]:
    """Return name -> digest of a user's files; long ones by their length and their two ends."""
    digests = {}
    for path in files:
        content = hashlib.sha256()
        size = path.stat().st_size
        with open(path, "rb") as handle:
            if size <= _WHOLE:
                content.update(handle.read())
            else:
                content.update(f"{size}\0".encode() + handle.read(_WHOLE >> 4))
                handle.seek(-(_WHOLE >> 4), 2)
                content.update(handle.read())
        name = path.name
        while name in digests:
            name += "+"
        digests[name] = content.hexdigest()
    return digests


# Tables and pages are files of other forms than JSON: beside the first of them lies a record of them all.


def record_path(output: str | Path) -> Path:
    """Return where the record of a stage's outputs lies, by the first of them."""
    return Path(f"{output}.made.json")


def record(output: Path, decisive: Decisive, outputs: Iterable[Path] = ()) -> None:
    """Write the record of a stage's outputs: what they were made from, and their digests.

    Args:
      output: the first output.
      decisive: see `tabled`.
      outputs: the others.
    """
    files = {path.name: _file_digest(path) for path in (output, *outputs)}
    write_record(record_path(output), {**of(decisive), "files": files})


def made(output: Path, rebuild: str = "") -> Record:
    """Return the record of a stage's outputs, after comparing them with it.

    Raises:
      UserError: the record or an output is gone, damaged or was changed; the text says how to make it again.
    """
    again = rebuild or remake(output)
    recorded = read_record(record_path(output), rebuild=again, keys=("files", IDENTITY))
    for name, sha256 in recorded["files"].items():
        path = output.with_name(name)
        if not path.exists():
            raise UserError(f"{path}: no such file. Rebuild it with: {again}")
        if _file_digest(path) != sha256:
            raise UserError(f"{path}: changed after it was written (its digest is another). Rebuild it with: {again}")
    return recorded


def _file_digest(path: Path) -> str:
    """Return the digest of a file, or of all files of a folder but hidden ones, such as Snakemake's time stamp."""
    content = hashlib.sha256()
    for one in sorted(path.rglob("[!.]*")) if path.is_dir() else [path]:
        if one.is_file():
            content.update(f"{one.relative_to(path).as_posix()}\0".encode() + one.read_bytes())
    return content.hexdigest()


def inputs(results: Path, paths: Iterable[str | Path], known: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return name -> digest of what a job reads: names below the results folder, all cells as one.

    Args:
      results: the results folder.
      paths: files.
      known: digests that are known already, by path.
    """
    others: dict[str, str | None] = {}
    cells: dict[str, str | None] = {}
    root = f"{results}/"
    for path in map(str, paths):
        name = path.removeprefix(root) if path.startswith(root) else Path(path).name
        content = known[path] if known and path in known else content_of(Path(path))
        (cells if name.startswith("cells/") else others)[name] = content
    if cells:
        others["cells"] = digest(cells)
    return others


def content_of(path: Path) -> str | None:
    """Return the digest of what a job's input holds, None where it is gone or damaged.

    It is that of the rows for prepared data, a record's own for a record, and the files' own for tables and pages.
    """
    try:
        if record_path(path).is_file():
            return digest(read_record(record_path(path))["files"])
        if path.suffix == ".parquet":
            return str(read_record(path.with_suffix(".json"))["sha256"])
        if path.suffix == ".json":
            return str(read_record(path)[SEAL])
        return _file_digest(path) if path.is_file() else None
    except (UserError, KeyError):
        return None
