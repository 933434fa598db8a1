"""One results folder out of several: what agrees is taken once, what contradicts is named.

Two records of one result agree if they say the same but for versions and cost. Tests, tables and the report are not
taken: they are of all runs together and made again from the cells.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import MADE_BY, SEAL, canonical, read_json, write_record
from .layout import Layout

TAKEN = ("data_record", "model", "intermediate", "finetune", "predictions", "cell", "probe")
"""Places of the records that stand for a result, in the order in which one is made from another."""
_WHOLE_FOLDER = ("model", "intermediate", "finetune", "predictions")
_NOT_COMPARED = ("versions", "cost", MADE_BY, SEAL)
_NOT_TAKEN = ("state", "lock")
_SHOWN = 20


@dataclass(frozen=True)
class Found:
    """A result in one of the folders."""

    place: str
    path: Path
    """Its record."""
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Combined:
    """What was put together."""

    taken: Mapping[str, int]
    """Place -> results taken."""
    twice: int
    """Results that several folders held alike."""


def combine(folders: Sequence[Path], output: Path) -> Combined:
    """Put the results of several folders into a new one, which appears whole.

    Raises:
      UserError: the output is there already, a folder holds no results, or results contradict each other.
    """
    if output.exists() and any(output.iterdir()):
        raise UserError(
            f"{output}: is there already and not empty. Name a new folder; the ones given stay as they are."
        )
    chosen: dict[str, list[Found]] = {}
    for folder in folders:
        found = list(_results(folder))
        if not found:
            raise UserError(f"{folder}: holds no results. Name folders that `results:` of a configuration named.")
        for one in found:
            chosen.setdefault(str(one.path.relative_to(folder)), []).append(one)
    wrong = [text for below, several in chosen.items() for text in _contradictions(below, several)]
    wrong += _mixed(chosen)
    if wrong:
        more = f"\n  ... and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise UserError(
            f"{len(wrong)} results contradict each other, nothing was written:\n  "
            + "\n  ".join(wrong[:_SHOWN])
            + f"{more}\nMove one of the two out of its folder, or make both anew from the same settings and data."
        )
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for below, several in chosen.items():
        _take(below, several, partial)
    if output.exists():
        output.rmdir()
    partial.rename(output)
    counts = {place: sum(several[0].place == place for several in chosen.values()) for place in TAKEN}
    return Combined({place: n for place, n in counts.items() if n}, sum(len(s) > 1 for s in chosen.values()))


def _results(folder: Path) -> Iterator[Found]:
    layout = Layout(str(folder))
    for place in TAKEN:
        for path in sorted(Path(layout.folder(place)).rglob("*.json")):
            at = layout.place(path)
            if at is not None and at.place == place:
                record = read_json(path)
                if not isinstance(record, dict):
                    raise UserError(f"{path}: not the record of a result. Delete it and make it again.")
                yield Found(place, path, record)


def _contradictions(below: str, several: Sequence[Found]) -> Iterator[str]:
    first = several[0]
    for other in several[1:]:
        keys = [key for key in sorted({*first.record, *other.record}) if key not in _NOT_COMPARED]
        differing = [key for key in keys if not _alike(first.place, key, first.record.get(key), other.record.get(key))]
        if differing:
            yield f"{below}: {first.path} and {other.path} differ in {', '.join(differing)}"


def _alike(place: str, key: str, one: Any, other: Any) -> bool:
    if place != "predictions" or key != "languages" or not isinstance(one, dict) or not isinstance(other, dict):
        return canonical(one) == canonical(other)
    # An index grows by languages, and a language that failed in one place may be there in the other.
    pairs = [(one[language], other[language]) for language in one.keys() & other.keys()]
    return all(a == b for a, b in pairs if "error" not in a and "error" not in b)


def _mixed(chosen: Mapping[str, Sequence[Found]]) -> Iterator[str]:
    """Yield cells that are compared with each other and were made from different data."""
    data: dict[tuple[str, str], tuple[str, str]] = {}
    for below, several in chosen.items():
        record = several[0].record
        if several[0].place == "cell":
            key, digest = (
                (record.get("target", ""), record.get("language", "")),
                record.get("digests", {}).get("data", ""),
            )
            other, known = data.setdefault(key, (below, digest))
            if known != digest:
                yield f"{below}: scored on other data than {other}"


def _take(below: str, several: Sequence[Found], output: Path) -> None:
    place, path = several[0].place, output / below
    path.parent.mkdir(parents=True, exist_ok=True)
    # What is made from another is younger, whichever folder it came from: Snakemake compares times.
    made = time.time() - 60 * (len(TAKEN) - TAKEN.index(place)) + below.count("+")
    for one in reversed(several):  # the first one's files stay
        if place in _WHOLE_FOLDER:
            files = [
                file
                for file in sorted(one.path.parent.rglob("*"))
                if file.is_file() and not _left(file, one.path.parent)
            ]
        else:
            files = sorted(one.path.parent.glob(f"{one.path.stem}.*"))
        for file in files:
            target = path.parent / file.relative_to(one.path.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            os.utime(target, (made, made))
    if place == "predictions" and len(several) > 1:
        languages: dict[str, Any] = {}
        for one in reversed(several):
            found = one.record["languages"]
            languages |= {code: about for code, about in found.items() if "error" not in about or code not in languages}
        write_record(path, {**several[0].record, "languages": dict(sorted(languages.items()))})
        os.utime(path, (made, made))


def _left(file: Path, folder: Path) -> bool:
    return file.relative_to(folder).parts[0] in _NOT_TAKEN
