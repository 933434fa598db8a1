"""Benchmark scores worked out by hand from small grids of cells."""

from __future__ import annotations

from typing import Any

import pytest

from plain_means import Aggregate, aggregates, entry
from stiltsweep.aggregates import members
from stiltsweep.layout import Cell

MEMBERS = members(
    {
        "xnli": {"xtreme": ["en", "de", "ar"], "xtreme-r": ["en", "de", "ar"]},
        "udpos": {"xtreme": ["en", "de"], "xtreme-r": ["en", "de", "lt"]},
        "xquad": {"xtreme": ["en", "ar"], "xtreme-r": ["en", "ar"]},
        "tatoeba": {"xtreme": ["de", "ar"]},
        "own": {},
    }
)


def record(main: str, learned: bool = True, contaminated: bool = False, **scores: float) -> dict[str, Any]:
    return {
        "metric": main,
        "score": scores[main],
        "metrics": scores,
        "learned": learned,
        "contaminated": contaminated,
    }


def grid(seed: int = 0, arm: str = "none") -> dict[Cell, dict[str, Any]]:
    """All of small XTREME: 60 on XNLI, 75 on UDPOS (F1, not accuracy), 55 on XQuAD (EM and F1), 40 on Tatoeba."""

    def cell(target: str, language: str) -> Cell:
        return Cell("m", arm, target, seed, language)

    return {
        cell("xnli", "en"): record("accuracy", accuracy=80.0),
        cell("xnli", "de"): record("accuracy", accuracy=60.0),
        cell("xnli", "ar"): record("accuracy", accuracy=40.0),
        cell("udpos", "en"): record("token_accuracy", token_accuracy=96.0, span_f1=90.0),
        cell("udpos", "de"): record("token_accuracy", token_accuracy=80.0, span_f1=60.0),
        cell("xquad", "en"): record("squad_f1", squad_f1=80.0, squad_em=60.0),
        cell("xquad", "ar"): record("squad_f1", squad_f1=50.0, squad_em=30.0),
        cell("tatoeba", "de"): record("retrieval_accuracy", retrieval_accuracy=50.0, mrr_at_20=90.0),
        cell("tatoeba", "ar"): record("retrieval_accuracy", retrieval_accuracy=30.0, mrr_at_20=90.0),
    }


def made(cells: dict[Cell, dict[str, Any]], benchmark: str, arm: str = "none") -> dict[tuple[str, bool], Aggregate]:
    found = aggregates(cells, MEMBERS, ["m"], ["none", "other"])
    return {(a.task, a.transfer): a for a in found if a.benchmark == benchmark and a.intermediate == arm}


def test_a_whole_benchmark_by_hand() -> None:
    found = made(grid(), "xtreme")
    scores = {key: aggregate.score for key, aggregate in found.items()}
    assert scores == {
        ("xnli", False): 60.0,
        ("udpos", False): 75.0,
        ("xquad", False): 55.0,
        ("tatoeba", False): 40.0,
        ("", False): 57.5,
        # Without English: 50, 60, 40 and again 40.
        ("xnli", True): 50.0,
        ("udpos", True): 60.0,
        ("xquad", True): 40.0,
        ("tatoeba", True): 40.0,
        ("", True): 47.5,
    }
    assert {aggregate.reason for aggregate in found.values()} == {""}


def test_a_missing_language_is_named_and_never_averaged_over() -> None:
    found = made(grid(), "xtreme-r")
    assert found["xnli", False].score == 60.0
    assert found["udpos", False].score is None
    assert found["udpos", False].reason == "missing: lt"
    assert found["", False].score is None
    assert found["", False].reason == "missing: udpos (lt)"
    cells = grid()
    del cells[Cell("m", "none", "xnli", 0, "en")]
    found = made(cells, "xtreme")
    assert found["xnli", False].reason == "missing: en"
    assert found["xnli", True].score == 50.0  # English alone is missing
    assert found["", True].score == 47.5


def test_a_task_that_was_not_run_is_missing_as_a_whole() -> None:
    cells = {cell: value for cell, value in grid().items() if cell.target == "xnli"}
    found = made(cells, "xtreme")
    assert found["tatoeba", False].reason == "missing: all languages"
    gaps = [f"{task} (all languages)" for task in ("tatoeba", "udpos", "xquad")]
    assert found["", False].reason == f"missing: {', '.join(gaps)}"
    assert made(cells, "xtreme", "other")["xnli", False].score is None
    assert not list(
        aggregates({Cell("m", "none", "own", 0, "de"): record("accuracy", accuracy=1.0)}, MEMBERS, ["m"], [])
    )


def test_seeds_are_averaged_and_runs_at_chance_left_out() -> None:
    cells = grid(0) | grid(1)
    cells[Cell("m", "none", "xnli", 1, "ar")] = record("accuracy", accuracy=55.0)
    found = made(cells, "xtreme")
    assert found["xnli", False].score == pytest.approx(62.5)  # 60 and 65
    assert found["xnli", False].seeds == 2
    for language in ("en", "de", "ar"):
        cells[Cell("m", "none", "xnli", 1, language)] = record("accuracy", learned=False, accuracy=33.3)
    found = made(cells, "xtreme")
    assert (found["xnli", False].score, found["xnli", False].seeds, found["", False].seeds) == (60.0, 1, 1)
    # A second run that lacks a language is not a mean over what is there.
    cells = grid(0) | grid(1)
    del cells[Cell("m", "none", "xnli", 1, "ar")]
    assert made(cells, "xtreme")["xnli", False].reason == "missing: ar"


def test_what_enters_is_the_benchmarks_metric() -> None:
    assert entry(record("mlqa_f1", mlqa_f1=70.0, mlqa_em=50.0, squad_f1=1.0, squad_em=2.0)) == 60.0
    assert entry(record("squad_mean", squad_mean=44.0)) == 44.0
    assert entry(record("squad_f1", squad_f1=44.0)) is None  # exact match was not scored
    assert entry(record("surface_f1", surface_f1=70.0, span_f1=65.0)) == 65.0  # mT5's strings are another measure
    assert entry(record("mrr_at_20", mrr_at_20=12.0, retrieval_accuracy=8.0)) == 12.0


def test_contamination_is_carried() -> None:
    cells = grid(arm="other")
    cells[Cell("m", "other", "xnli", 0, "de")] = record("accuracy", contaminated=True, accuracy=60.0)
    found = made(cells, "xtreme", "other")
    assert found["xnli", False].contaminated
    assert not found["udpos", False].contaminated
    assert found["", True].contaminated
