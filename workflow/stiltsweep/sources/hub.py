"""Examples from data sets on the Hugging Face hub, at a pinned revision, without loading scripts (docs/sources.md).

The files of a split are downloaded into the hub's own cache, compared with the hub's digests and read from there, or
read from the network with `streaming`; neither holds a data set in memory. A copy below the data folder is read instead
of the hub, so that a machine without a network can run what another one has fetched.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .. import downloads
from ..errors import UserError, nearest
from ..files import inside
from ..records import Row
from .columns import check_class_names, class_names
from .parts import Part, for_language, plan, root

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_SECONDS = 20
_ABOUT = ("dataset_infos.json", "README.md")
"""Files of a data set's repository that say what its configurations are."""


def check(definition: Mapping[str, Any]) -> list[Part]:
    """Check a task's source without touching the network, and return its parts.

    Raises:
      UserError: an unknown or wrong key, or a language without parts.
    """
    parts = plan(definition, "source_hub", "split")
    for language in definition["languages"]:
        for part in for_language(parts, definition, language):
            part.fill(part.settings.get("config", ""))
            part.fill(part.settings["split"])
    return parts


def read(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Open one language's data sets and stream their records, split after split.

    Raises:
      UserError: the definition is wrong, or a data set, configuration or split cannot be had (the first at once, later
        ones and rows that do not fit while iterating).
    """
    parts = for_language(check(definition), definition, language)
    return _stream(parts, root(definition), _open(parts[0], root(definition)))


def _stream(parts: list[Part], folder: Path | None, first: Iterable[dict[str, Any]]) -> Iterator[Row]:
    for index, part in enumerate(parts):
        table = _open(part, folder) if index else first
        config = part.fill(part.settings.get("config", ""))
        yield from part.rows(enumerate(_rows(table, part), start=1), _name(part), "row", config)


def _rows(table: Iterable[dict[str, Any]], part: Part) -> Iterator[dict[str, Any]]:
    """Iterate, telling a broken connection from a fault of this program."""
    try:
        for row in table:
            yield dict(row)
    except Exception as error:
        if not downloads.out_of_reach(error):
            raise
        raise _unreachable(part, error) from None


def origin(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to record: every data set with the commit that was read.

    Raises:
      UserError: a revision that is not a commit cannot be looked up.
    """
    folder = root(definition)
    commits = {part.settings["dataset"]: _commit(part, folder) for part in check(definition)}
    return {"type": "hub", "datasets": dict(sorted(commits.items()))}


def copy_folder(dataset: str, revision: str, folder: Path) -> Path:
    """Return where a copy of a data set's repository is looked for below the data folder."""
    return inside(folder, "hub", *dataset.split("/"), revision)


def _local(part: Part, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    path = copy_folder(part.settings["dataset"], part.settings["revision"], folder)
    return path if path.is_dir() else None


def _open(part: Part, folder: Path | None) -> Iterable[dict[str, Any]]:
    """Open one split of one configuration.

    Raises:
      UserError: it cannot be had (the text says what is on offer, or where to put files instead), or it names its
        labels in another order than the part's columns do.
    """
    import datasets

    settings = part.settings
    config = part.fill(settings["config"]) if "config" in settings else None
    split = part.fill(settings["split"])
    copied = _local(part, folder)
    downloads.patient()
    downloads.forget_refusals()
    try:
        if copied:
            table = datasets.load_dataset(str(copied), config, split=split, streaming=True)
        elif settings["streaming"]:
            commit = _commit(part, folder)
            table = datasets.load_dataset(settings["dataset"], config, split=split, revision=commit, streaming=True)
        else:
            table = _downloaded(settings["dataset"], config, split, _commit(part, folder))
    except ValueError as error:
        # datasets reports unknown configurations and splits as ValueError, with what there is in brackets.
        known = re.findall(r"'([^']+)'", str(error).partition("[")[2])
        wanted = split if "split" in str(error).lower() else config or ""
        raise UserError(f"{part.place}: {_name(part)}: {_first_line(error)}{nearest(wanted, known)}") from None
    except RuntimeError as error:
        raise UserError(
            f"{part.place}: {_name(part)} needs a loading script, which datasets no longer runs "
            f"({_first_line(error)}). Name a copy in Parquet (many data sets have one at "
            "revision: refs/convert/parquet), or use type: files."
        ) from None
    except Exception as error:
        if not downloads.out_of_reach(error):
            raise
        raise _unreachable(part, error) from None
    named = class_names(getattr(table, "features", None) or {})
    check_class_names(settings["columns"], named, f"{part.place}: {_name(part)}")
    rows: Iterable[dict[str, Any]] = table
    return rows


def _downloaded(dataset: str, config: str | None, split: str, commit: str) -> Iterable[dict[str, Any]]:
    """Open one split of a configuration in the hub's cache, its files downloaded and compared with the hub.

    Raises:
      ValueError: no such configuration or split; its text lists those that there are.
      UserError: a file is not the hub's.
    """
    import datasets
    import huggingface_hub

    cache = huggingface_hub.constants.HF_HUB_CACHE
    folder = Path(cache, f"datasets--{dataset.replace('/', '--')}", "snapshots", commit)
    name = split.partition("[")[0]
    if downloads.offline():
        names = _cached(folder, config, name)
        builder = datasets.load_dataset_builder(
            _FORMATS.get(Path(names[0]).suffix, "parquet"), data_files={name: [str(folder / file) for file in names]}
        )
    else:
        builder = datasets.load_dataset_builder(dataset, config, revision=commit)
        offered = dict(builder.config.data_files or {})
        if name not in offered:
            raise ValueError(f"Unknown split {name!r}. Should be one of {sorted(map(str, offered))}.")
        address = f"hf://datasets/{dataset}@{commit}/"
        if strange := [file for file in offered[name] if not file.startswith(address)]:
            raise UserError(
                f"hub data set {dataset} at {commit}: split {name} is read from elsewhere ({strange[0]}), so that its "
                "files have no digest to compare with. Set streaming: true to read it all the same, or use type: files."
            )
        names = [file.removeprefix(address) for file in offered[name]]
        for file in names:
            huggingface_hub.hf_hub_download(dataset, file, repo_type="dataset", revision=commit)
        # What was compared is what is read.
        builder.config.data_files = {name: [str(folder / file) for file in names]}
    about = [file for file in _ABOUT if (folder / file).is_file()]
    downloads.compare(dataset, "dataset", commit, folder, [*names, *about])
    return builder.as_streaming_dataset(split=split)  # type: ignore[no-any-return]


_FORMATS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}


def _cached(folder: Path, config: str | None, split: str) -> list[str]:
    """Return the files of a split that the hub's cache holds, as the data set's card names them.

    Raises:
      FileNotFoundError: not a split of the configuration, or not downloaded.
    """
    text = (folder / "README.md").read_text(encoding="utf-8") if (folder / "README.md").is_file() else ""
    head = yaml.safe_load(text.split("---")[1]) if text.startswith("---") and text.count("---") > 1 else {}
    for about in (head or {}).get("configs", []):
        if config is not None and about.get("config_name") != config:
            continue
        named = about.get("data_files", [])
        for item in named if isinstance(named, list) else [named]:
            part = {"split": "train", "path": item} if isinstance(item, str) else item
            if part.get("split") == split:
                patterns = part["path"] if isinstance(part["path"], list) else [part["path"]]
                files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
                if files:
                    return [str(file.relative_to(folder)) for file in files]
    raise FileNotFoundError("offline, and the hub's cache does not hold it")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _name(part: Part) -> str:
    """Return data set, configuration and split as error texts name them."""
    settings = part.settings
    config = f" {part.fill(settings['config'])}" if "config" in settings else ""
    return f"hub data set {settings['dataset']}{config}, split {part.fill(settings['split'])}"


def _unreachable(part: Part, error: Exception) -> UserError:
    dataset, revision = part.settings["dataset"], part.settings["revision"]
    return downloads.failure(
        f"hub data set {dataset} at revision {revision}",
        dataset,
        f"datasets/{dataset}",
        error,
        f"Where there is a network, run 'hf download {dataset} --repo-type dataset --revision {revision} --local-dir "
        f"DATA_ROOT/hub/{dataset}/{revision}', with DATA_ROOT the configuration's data_root, and bring that folder "
        "here; or run this sweep there with '--until fetch prepare' and bring its results folder; or read other files "
        "with type: files in the task's YAML.",
    )


def _commit(part: Part, folder: Path | None) -> str:
    """Return the commit of a part's revision, looked up only where the revision is a moving name."""
    revision = str(part.settings["revision"])
    if _COMMIT.fullmatch(revision) or _local(part, folder):
        return revision
    try:
        return _look_up(part.settings["dataset"], revision)
    except Exception as error:
        if not downloads.out_of_reach(error):
            raise
        raise _unreachable(part, error) from None


@functools.cache
def _look_up(dataset: str, revision: str) -> str:
    """Ask the hub once which commit a branch or tag is, so that what is read is what is recorded."""
    import huggingface_hub

    about = huggingface_hub.HfApi().dataset_info(dataset, revision=revision, timeout=_TIMEOUT_SECONDS)
    return str(about.sha)
