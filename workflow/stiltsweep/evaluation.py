"""Evaluating, without torch: one language's predictions against its prepared data give a cell and its statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import identity
from .errors import UserError, make, remake
from .files import SEAL, digest_file, read_record, replacing, write_record
from .interfaces import writes
from .layout import Cell, Layout
from .metrics import compared, metric
from .records import CLUSTER, Row, data_of, read_rows


def evaluate(cell: Cell, data: Path, index: Path, output: Path, *, family: str, contaminated: bool) -> float:
    """Score one cell and write it, statistics first.

    Args:
      cell: who it is.
      data: prepared Parquet file of the target in the language.
      index: predictions.json of the checkpoint; the language's file lies beside it.
      output: the cell's JSON; the statistics lie beside it as Parquet.
      family: the language's family, empty if it has none.
      contaminated: whether the intermediate holds the target's data.

    Returns:
      The score in points.

    Raises:
      UserError: the language could not be predicted, or its predictions are of other data than these.
    """
    meta = data_of(data, cell.target, cell.language)
    again = remake(index)
    about = read_record(index, rebuild=again, keys=("languages", *identity.RUN))
    stated = about["languages"].get(cell.language, {"error": "the index does not name it"})
    if "error" in stated:
        raise UserError(
            f"{cell.target} could not be predicted in {cell.language} (log: {_log(index)}; the next run predicts it "
            f"again, and only it, as `{make(output)}` does): {stated['error']}"
        )
    path = index.parent / f"{cell.language}.json"
    predicted = read_record(path, rebuild=again, keys=("data_sha256", "ids", "predictions", "tokens"))
    if predicted[SEAL] != stated[SEAL]:
        raise UserError(f"{path}: not of the checkpoint and settings {index} names. Rebuild it with: {again}")
    if predicted["data_sha256"] != meta.sha256:
        raise UserError(f"{path}: predicts other data than {data} holds. Rebuild it with: {again}")
    rows = read_rows(data, "test", candidates=False)
    if [row["id"] for row in rows] != predicted["ids"]:
        raise UserError(f"{path}: the ids are not those of {data}. Rebuild it with: {again}")
    named = asdict(cell)
    decisive = identity.scored(names=named, index=about, meta=asdict(meta), family=family, contaminated=contaminated)
    interface = about.get("interface", "encoder")
    names = meta.metrics_of(interface)
    pairs = [
        compared(row, stated, kind=meta.kind, writes=writes(interface))
        for row, stated in zip(rows, predicted["predictions"], strict=True)
    ]
    columns: dict[str, Any] = {"id": _texts(predicted["ids"])}
    if any(row.get(CLUSTER) for row in rows):
        columns[CLUSTER] = _texts([row.get(CLUSTER) or row["id"] for row in rows])
    scores: dict[str, float | None] = {}
    for name in names:
        rule = metric(name, meta.labels)
        values = np.array(
            [rule.statistics(row, prediction, cell.language) for row, prediction in pairs],
            dtype=np.float64,
        ).reshape(len(rows), len(rule.columns))
        columns.update({f"{name}.{column}": _numbers(values[:, i]) for i, column in enumerate(rule.columns)})
        score = float(rule.score(values.sum(0)))
        scores[name] = None if np.isnan(score) else score
    main = names[0]
    if scores[main] is None:
        raise UserError(f"{data}: metric {main} is undefined: neither data nor predictions hold anything to count.")
    with replacing(output.with_suffix(".parquet")) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    write_record(
        output,
        {
            **identity.of(decisive),
            **named,
            "score": scores[main],
            "metric": main,
            "metrics": scores,
            "n": len(rows),
            "majority": _majority(rows) if meta.kind == "classification" else None,
            "family": family,
            "parallel": meta.parallel,
            "learned": about["learned"],
            "failed_stages": about.get("failed_stages", []),
            "contaminated": contaminated,
            "shots": predicted.get("shots", 0),
            "sentinels": predicted.get("sentinels"),
            "cut": predicted.get("cut"),
            # Of retrieval and mining: the hidden state that was compared.
            "retrieval_layer": predicted.get("retrieval_layer"),
            "digests": {
                "data": meta.sha256,
                "checkpoint": about["checkpoint_sha256"],
                "predictions": stated[SEAL],
                "statistics": digest_file(output.with_suffix(".parquet")),
            },
            # How the run was made, whatever its seed: runs that are averaged must agree in it.
            "recipe": about["recipe"],
            # Amounts of work, not seconds: a cell is the same bytes whenever and wherever it is made again on the CPU.
            "cost": {
                "train_tokens": about["train_tokens"],
                "train_updates": about["train_updates"],
                # None unless training ran out of memory and went on in smaller pieces.
                "train_micro_batch_tokens": about.get("train_micro_batch_tokens"),
                "predict_tokens": predicted["tokens"],
            },
        },
    )
    return float(scores[main] or 0.0)


def _majority(rows: Sequence[Row]) -> float:
    """Return the accuracy, in points, of always answering the most frequent label of these rows."""
    (_, most), *_ = Counter(row["label"] for row in rows).most_common(1)
    return 100.0 * most / len(rows)


def _log(index: Path) -> str:
    """Return the log of the job that wrote an index."""
    *_, model, intermediate, target, seed, _ = index.parts
    names = {"model": model, "intermediate": intermediate, "target": target, "seed": seed.removeprefix("seed")}
    return Layout(str(index.parents[5])).log("predict", **names)


# pa.array would do, but imports pandas when it is first called, which takes longer than all the rest of a cell.


def _texts(values: list[str]) -> pa.Array:
    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def _numbers(values: NDArray[np.float64]) -> pa.Array:
    return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
