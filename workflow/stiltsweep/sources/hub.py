"""Examples from data sets on the Hugging Face hub, at a pinned revision, without loading scripts (docs/sources.md).

Rows are read from the Arrow cache that `datasets` maps into memory, or from the network with `streaming`; neither holds
a data set in memory. A copy below the data folder is read instead of the hub, so that a machine without a network can
run what another one has fetched.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..files import inside
from ..records import Row
from .columns import check_class_names, class_names
from .parts import Part, for_language, plan, root

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_SECONDS = 20
_NETWORK_PACKAGES = ("aiohttp", "datasets", "httpcore", "httpx", "httpx2", "huggingface_hub", "requests", "urllib3")


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
        if not _is_out_of_reach(error):
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
    try:
        if copied:
            table = datasets.load_dataset(str(copied), config, split=split, streaming=True)
        else:
            table = datasets.load_dataset(
                settings["dataset"],
                config,
                split=split,
                revision=_commit(part, folder),
                streaming=settings["streaming"],
            )
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
        if not _is_out_of_reach(error):
            raise
        raise _unreachable(part, error) from None
    named = class_names(getattr(table, "features", None) or {})
    check_class_names(settings["columns"], named, f"{part.place}: {_name(part)}")
    rows: Iterable[dict[str, Any]] = table
    return rows


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _name(part: Part) -> str:
    """Return data set, configuration and split as error texts name them."""
    settings = part.settings
    config = f" {part.fill(settings['config'])}" if "config" in settings else ""
    return f"hub data set {settings['dataset']}{config}, split {part.fill(settings['split'])}"


def _is_out_of_reach(error: Exception) -> bool:
    """Tell a network or hub failure from a bug; the hub's client passes on errors of whichever HTTP library it uses."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _NETWORK_PACKAGES


def _unreachable(part: Part, error: Exception) -> UserError:
    dataset, revision = part.settings["dataset"], part.settings["revision"]
    return UserError(
        f"hub data set {dataset} at revision {revision} could not be had ({_first_line(error)}): where there is a "
        f"network, run 'hf download {dataset} --repo-type dataset --revision {revision} --local-dir "
        f"DATA_ROOT/hub/{dataset}/{revision}', with DATA_ROOT the configuration's data_root, and bring "
        "that folder here; or read other files with type: files in the task's YAML."
    )


def _commit(part: Part, folder: Path | None) -> str:
    """Return the commit of a part's revision, looked up only where the revision is a moving name."""
    revision = str(part.settings["revision"])
    if _COMMIT.fullmatch(revision) or _local(part, folder):
        return revision
    try:
        return _look_up(part.settings["dataset"], revision)
    except Exception as error:
        if not _is_out_of_reach(error):
            raise
        raise _unreachable(part, error) from None


@functools.cache
def _look_up(dataset: str, revision: str) -> str:
    """Ask the hub once which commit a branch or tag is, so that what is read is what is recorded."""
    import huggingface_hub

    about = huggingface_hub.HfApi().dataset_info(dataset, revision=revision, timeout=_TIMEOUT_SECONDS)
    return str(about.sha)
