"""Behavioural tests, counted: how often every model fails at every capability in every language, and at what.

In the manner of CheckList (Ribeiro et al. 2020) and MultiCheckList (Ruder et al. 2021): an example fails unless it has
the whole score of the task's main metric, which for question answering is exact match. What stands before the slash of
an example's id is the capability it tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from .errors import UserError, remake
from .files import check_digest, read_record
from .layout import Cell, Layout
from .metrics import metric
from .records import read_rows

SHOWN = 5
"""Failing examples written out of a capability and language, at most."""


@dataclass(frozen=True)
class Failures:
    """One row of failures.csv: what a model, seed and language make of a capability."""

    model: str
    intermediate: str
    target: str
    seed: int
    language: str
    family: str
    """Empty if the language has none."""
    capability: str
    failures: int
    n: int
    """Examples."""
    failure_rate: float
    """Points: 100 minus the score over these examples, where the metric is right or wrong."""
    ci_low: float
    ci_high: float
    """Points: Wilson's interval over examples, the templates held fixed."""
    review: str
    """Whether a native speaker has checked the texts: `native`, `needed`, or empty where the data do not say."""


COLUMNS = tuple(Failures.__dataclass_fields__)


def capability(name: str) -> str:
    """Return the capability that an example tests by its id.

    Raises:
      UserError: the id has no slash.
    """
    before, slash, _ = name.partition("/")
    if not slash or not before:
        raise UserError(f"id {name!r} names no capability; ids of behavioural tests are capability/number.")
    return before


def failed(results: Path, cell: Cell) -> tuple[dict[str, list[tuple[str, bool]]], Mapping[str, Any]]:
    """Return what became of every example of a cell, by capability in the order of the data, and the cell's JSON.

    Returns:
      Capability -> (id, whether it failed).

    Raises:
      UserError: the cell is missing, or an id names no capability.
    """
    path = Path(Layout(str(results)).cell(cell))
    record = read_record(path, keys=("metric", "digests"))
    check_digest(path.with_suffix(".parquet"), record["digests"]["statistics"], remake(path))
    rule = metric(record["metric"])
    names = [f"{rule.name}.{column}" for column in rule.columns]
    table = pq.read_table(path.with_suffix(".parquet"), columns=["id", *names], use_threads=False).to_pydict()
    outcomes: dict[str, list[tuple[str, bool]]] = {}
    for name, *values in zip(*(table[column] for column in ("id", *names)), strict=True):
        gained, possible = (
            sum(w * v for w, v in zip(weights, values, strict=True)) for weights in (rule.numerator, rule.denominator)
        )
        try:
            outcomes.setdefault(capability(name), []).append((name, gained < possible))
        except UserError as error:
            raise UserError(f"{cell.target}/{cell.language}: {error}") from None
    return outcomes, record


def count(
    results: Path, cells: Sequence[Cell], reviews: Mapping[str, Mapping[str, str]], confidence: float
) -> Iterator[Failures]:
    """Yield the failures of every cell and capability, in the order given and that of the data.

    Args:
      results: the results folder.
      cells: cells of behavioural targets.
      reviews: target -> language -> `native` or `needed`, as far as known.
      confidence: level of the intervals, between 0 and 1.

    Raises:
      UserError: see `failed`.
    """
    # The report reads these rows, and has no use for what takes most of a second to import.
    from scipy.stats import binomtest

    for cell in cells:
        by_capability, record = failed(results, cell)
        review = reviews.get(cell.target, {}).get(cell.language, "")
        for name, outcomes in by_capability.items():
            failures, n = sum(fail for _, fail in outcomes), len(outcomes)
            interval = binomtest(failures, n).proportion_ci(confidence, method="wilson")
            low, high = (round(100.0 * float(end), 6) for end in interval)
            rate = round(100.0 * failures / n, 6)
            yield Failures(
                **asdict(cell),
                family=record["family"],
                capability=name,
                failures=failures,
                n=n,
                failure_rate=rate,
                ci_low=low,
                ci_high=high,
                review=review,
            )


def examples(
    results: Path, cells: Sequence[Cell], reviews: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Any]]:
    """Yield failing examples with what the model predicted: of every capability up to `SHOWN`, evenly spread.

    Args:
      results, cells, reviews: see `count`; of cells that differ in their seed only the first one's are shown.

    Yields:
      model, intermediate, target, seed, language, capability, review, and `examples`: the columns of the data, and
      `prediction`.

    Raises:
      UserError: see `failed`; or the predictions are of other examples than the cell.
    """
    layout = Layout(str(results))
    seen = set()
    for cell in cells:
        if (run := (cell.model, cell.intermediate, cell.target, cell.language)) in seen:
            continue
        seen.add(run)
        path = Path(layout.prediction(cell))
        index = layout.predictions(cell.model, cell.intermediate, cell.target, cell.seed)
        again = remake(index)
        predicted = read_record(path, rebuild=again, keys=("ids", "predictions"))
        predictions = dict(zip(predicted["ids"], predicted["predictions"], strict=True))
        rows = {row["id"]: row for row in read_rows(Path(layout.data(cell.target, cell.language)), "test")}
        by_capability, _ = failed(results, cell)
        for name, outcomes in by_capability.items():
            wrong = [one for one, fail in outcomes if fail]
            shown = wrong if len(wrong) <= SHOWN else [wrong[i * len(wrong) // SHOWN] for i in range(SHOWN)]
            for one in shown:
                if one not in predictions or one not in rows:
                    raise UserError(f"{path}: lacks the example {one!r} of the cell. Rebuild it with: {again}")
            yield {
                **asdict(cell),
                "capability": name,
                "review": reviews.get(cell.target, {}).get(cell.language, ""),
                "examples": [
                    {
                        **{key: value for key, value in rows[one].items() if key != "split" and value is not None},
                        "prediction": predictions[one],
                    }
                    for one in shown
                ],
            }
