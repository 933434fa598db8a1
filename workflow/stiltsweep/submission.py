"""A benchmark's submission folder: predictions in the files that XTREME's evaluate.py reads.

Source: the readers of evaluate.py (google-research/xtreme) and its mock data. One file a task and language,
{task}/test-{language}.tsv (.json, .jsonl): a label a line; a tag a line and a blank line after a sentence; answers or
ranked candidates by id; an index a line; pairs of ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .aggregates import Members
from .errors import UserError
from .files import read_record, write_json, write_text
from .layout import Cell, Layout
from .metrics.ranking import REVERSE, ranked
from .records import Row, read_meta, read_rows

NUMBERED = ("pawsx",)
"""Tasks whose labels are numbers there: the place of a label among the task's."""


def write(
    results: Path,
    members: Members,
    output: Path,
    *,
    models: Sequence[str],
    intermediates: Sequence[str],
    seeds: Sequence[int],
    languages: Mapping[str, Sequence[str]],
) -> int:
    """Write one folder for every benchmark, model, arm and seed, and last an index of what is there and what is not.

    Args:
      results: the results folder.
      members: benchmark -> task -> languages.
      output: the index; the folders {benchmark}/{model}/{intermediate}/seed{seed} lie beside it.
      models, intermediates, seeds: of the sweep.
      languages: target -> languages of the sweep.

    Returns:
      The number of files of predictions.
    """
    layout = Layout(str(results))
    written: list[str] = []
    missing: list[str] = []
    for benchmark, tasks in members.items():
        for model in models:
            for arm in intermediates:
                for seed in seeds:
                    folder = output.parent / benchmark / model / arm / f"seed{seed}"
                    for task, offered in tasks.items():
                        for code in offered:
                            cell = Cell(model, arm, task, seed, code)
                            path = Path(layout.prediction(cell))
                            name = f"{folder.relative_to(output.parent).as_posix()}/{task}/test-{code}"
                            if code not in languages.get(task, ()) or not path.is_file():
                                missing.append(name)
                                continue
                            suffix, text = rendered(task, Path(layout.data(task, code)), path)
                            write_text(folder / task / f"test-{code}.{suffix}", text)
                            written.append(f"{name}.{suffix}")
    write_json(output, {"files": written, "missing": missing})
    return len(written)


def rendered(task: str, data: Path, predictions: Path) -> tuple[str, str]:
    """Return a file's suffix and text.

    Args:
      task: its name.
      data: prepared Parquet file of the task in a language.
      predictions: what a checkpoint predicted there.

    Raises:
      UserError: the predictions are of other rows, or no benchmark file has a form for them.
    """
    meta = read_meta(data)
    record = read_record(predictions)
    rows = read_rows(data, "test", candidates=False)
    if [row["id"] for row in rows] != record["ids"]:
        raise UserError(f"{predictions}: the ids are not those of {data}. Predict the language anew.")
    if meta.kind not in _FORMS:
        raise UserError(f"{task}: a benchmark's submission has no form for tasks of kind {meta.kind!r}.")
    if meta.kind == "retrieval" and REVERSE not in {*meta.metrics_of("encoder"), *meta.metrics_of("text2text")}:
        by_id = {row["id"]: list(ranked(one)) for row, one in zip(rows, record["predictions"], strict=True)}
        return "json", json.dumps(by_id, ensure_ascii=False) + "\n"
    labels = list(meta.labels) if task in NUMBERED else None
    suffix, form = _FORMS[meta.kind]
    return suffix, form(rows, record["predictions"], labels)


Form = Callable[[Sequence[Row], Sequence[Any], "Sequence[str] | None"], str]


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _label_lines(rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str] | None) -> str:
    return _lines(str(labels.index(one)) if labels else one for one in predictions)


def _choices(rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str] | None) -> str:
    return _lines(json.dumps({"label": one}) for one in predictions)


def _tag_lines(rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str] | None) -> str:
    """Write tags; words after the end of a prediction are outside, as they are scored."""
    sentences = []
    for row, one in zip(rows, predictions, strict=True):
        tags = one["tags"] if isinstance(one, Mapping) else one
        sentences.append(_lines([*tags, *["O"] * (len(row["tokens"]) - len(tags))]))
    return "\n".join(sentences)


def _answers(rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str] | None) -> str:
    by_id = {row["id"]: one for row, one in zip(rows, predictions, strict=True)}
    return json.dumps(by_id, ensure_ascii=False, indent=2) + "\n"


def _nearest(rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str] | None) -> str:
    """Write for each English sentence, in the order of its translations, which of the searched ones is the nearest."""
    place = {row["id"]: index for index, row in enumerate(rows)}
    return _lines(str(place[query]) for one in predictions for query, _ in one["queries"])


def _pairs(rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str] | None) -> str:
    return _lines(f"{row['id']}\t{one[0]}" for row, one in zip(rows, predictions, strict=True) if one)


_FORMS: dict[str, tuple[str, Form]] = {
    "classification": ("tsv", _label_lines),
    "multiple_choice": ("jsonl", _choices),
    "tagging": ("tsv", _tag_lines),
    "span_qa": ("json", _answers),
    "retrieval": ("tsv", _nearest),
    "mining": ("tsv", _pairs),
}
"""Kind of task -> suffix and form of its files; a retrieval that is not searched the other way round ranks by id."""
