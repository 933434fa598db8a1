"""One results folder out of several: what agrees is taken once, what contradicts is named.

Two records of one result agree if they have one identity (see `identity`) and hold the same; what it cost to make them
may differ. Tests, tables and the report are not taken: they are of all runs together and made again from the cells.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import MADE_BY, SEAL, canonical, read_record, write_record
from .identity import DECISIVE, IDENTITY, differences
from .layout import Layout

TAKEN = ("data_record", "model", "intermediate", "finetune", "predictions", "cell", "probe")
"""Places of the records that stand for a result, in the order in which one is made from another."""
_WHOLE_FOLDER = ("model", "intermediate", "finetune", "predictions")
_NOT_COMPARED = ("versions", "cost", "micro_batch_tokens", MADE_BY, SEAL)
_NOT_TAKEN = ("state", "frozen", "lock")
"""Folders beside results that are of use to the jobs of their own folder alone."""
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
        results = list(_results(folder))
        if not results:
            raise UserError(f"{folder}: holds no results. Name folders that `results:` of a configuration named.")
        for one in results:
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
                yield Found(place, path, read_record(path, rebuild=_REBUILD))


_REBUILD = "the command that made its folder, or leave it out: delete it, and the sweep makes it again"


def _contradictions(below: str, several: Sequence[Found]) -> Iterator[str]:
    first = several[0]
    for other in several[1:]:
        if differing := _differing(first, other):
            more = f" and {len(differing) - _KEYS} more" if len(differing) > _KEYS else ""
            yield f"{below}: {first.path} and {other.path} {'; '.join(differing[:_KEYS])}{more}"


_KEYS = 4
"""Differences of two records that are named."""


def _differing(first: Found, other: Found) -> list[str]:
    """Return in what two records of one result contradict each other."""
    one, two = first.record, other.record
    if IDENTITY in one and IDENTITY in two and one[IDENTITY] != two[IDENTITY]:
        return [f"were made from other things: {', '.join(differences(one, two[DECISIVE], ' and ')[:_KEYS])}"]
    if first.place == "predictions":
        languages = [(code, one["languages"][code], two["languages"][code]) for code in _both(one, two, "languages")]
        # An index grows by languages, and one that failed in one folder may be there in the other.
        contradictions = [
            f"differ in the predictions of {code}"
            for code, a, b in languages
            if "error" not in a and "error" not in b and canonical(a) != canonical(b)
        ]
        one, two = ({key: value for key, value in record.items() if key != "languages"} for record in (one, two))
    else:
        contradictions = []
    keys = [key for key in sorted({*one, *two}) if key not in _NOT_COMPARED]
    if differing := [key for key in keys if canonical(one.get(key)) != canonical(two.get(key))]:
        contradictions.append(
            f"differ in {', '.join(differing)}, made from the same: keep the one that its cells came from"
        )
    return contradictions


def _both(one: Mapping[str, Any], two: Mapping[str, Any], key: str) -> list[str]:
    return sorted(one[key].keys() & two[key].keys())


def _mixed(chosen: Mapping[str, Sequence[Found]]) -> Iterator[str]:
    """Yield cells that are tested together and were made from different data, or by different recipes."""
    data: dict[tuple[str, ...], tuple[str, Any]] = {}
    recipes: dict[tuple[str, ...], tuple[str, Any]] = {}
    for below, several in chosen.items():
        if several[0].place != "cell":
            continue
        record = several[0].record
        names = [str(record.get(key, "")) for key in ("model", "intermediate", "target", "language")]
        other, known = data.setdefault(tuple(names[2:]), (below, record.get("digests", {}).get("data")))
        if known != record.get("digests", {}).get("data"):
            yield f"{below}: scored on other data than {other}"
        other, known = recipes.setdefault(tuple(names[:3]), (below, record.get("recipe")))
        if known != record.get("recipe"):
            yield f"{below}: trained or predicted with other settings, code or weights than {other}"


def _take(below: str, several: Sequence[Found], output: Path) -> None:
    place, path = several[0].place, output / below
    path.parent.mkdir(parents=True, exist_ok=True)
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
    if place == "predictions" and len(several) > 1:
        languages: dict[str, Any] = {}
        for one in reversed(several):
            by_language = one.record["languages"]
            languages |= {
                code: about for code, about in by_language.items() if "error" not in about or code not in languages
            }
        write_record(path, {**several[0].record, "languages": dict(sorted(languages.items()))})


def _left(file: Path, folder: Path) -> bool:
    return file.relative_to(folder).parts[0] in _NOT_TAKEN
