"""What a run says as it goes on and at its end."""

from __future__ import annotations

import logging
from pathlib import Path

from report_fixtures import comparison, write_lift
from stiltsweep.files import write_json
from stiltsweep.layout import Cell, Layout
from stiltsweep.report.ending import Scores, largest


def test_scores_are_said_as_they_come(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    said: list[str] = []
    handler = Scores(layout, said.append)

    def happens(**fields: object) -> None:
        handler.handle(logging.makeLogRecord({"level": logging.INFO, **fields}))

    for job, (arm, score) in enumerate([("none", 70.0), ("mnli", 72.5)]):
        names = {"model": "m", "intermediate": arm, "target": "xnli", "seed": "0", "language": "sw"}
        happens(event="LogEvent.job_info", rule_name="evaluate", jobid=job, wildcards=names)
        happens(event="LogEvent.job_info", rule_name="predict", jobid=10 + job, wildcards=names)
        assert len(said) == job
        write_json(layout.cell(Cell("m", arm, "xnli", 0, "sw")), {"metric": "accuracy", "score": score})
        happens(event="LogEvent.job_finished", job_id=10 + job)
        happens(event="LogEvent.job_finished", job_id=job)
    assert said == [
        "m <- none on xnli in sw (seed 0): accuracy 70.0",
        "m <- mnli on xnli in sw (seed 0): accuracy 72.5, +2.5 over none",
    ]
    # One that failed to appear, or is being written by somebody, is not said.
    happens(event="LogEvent.job_info", rule_name="evaluate", jobid=5, wildcards={**names, "language": "de"})
    happens(event="LogEvent.job_finished", job_id=5)
    assert len(said) == 2


def test_the_largest_lifts_come_first(tmp_path: Path) -> None:
    rows = [
        comparison(intermediate=arm, lift=lift, contaminated=contaminated)
        for arm, lift, contaminated in [
            ("a", 1.0, False),
            ("b", -5.0, False),
            ("c", 9.0, True),
            ("d", 3.0, False),
            ("e", 0.5, False),
        ]
    ]
    write_lift(tmp_path / "significance" / "lift.csv", rows)
    lines = largest(Layout(str(tmp_path)))
    assert [line.split(": ")[1].split(" on ")[0] for line in lines] == ["b", "d", "a"]
    assert lines[0].startswith("−5.0 points [")
