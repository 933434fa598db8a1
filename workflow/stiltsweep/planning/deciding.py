"""What Snakemake is told to run: the jobs whose results are not what is asked for, and no others.

Snakemake's own reasons to run a job again (times of files, its records of settings and code in .snakemake, marks of
jobs that were killed) are switched off here, and the comparison of `expected` takes their place. What Snakemake still
decides is what is not there, in which order jobs run, and where.

Of Snakemake's internals this uses, as of 9.27: `Workflow._build_dag`, called once its command line is known and before
it decides anything; `DAG.targetfiles`, `targetrules`, `forcefiles`, `forcerules` and `ignore_incomplete`; the set
`dag_settings.rerun_triggers`; and `_IOFile.is_newer`, which is made to say no. (Its own `ancient` would also keep a job
from running after the one that makes its input.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UserError
from ..files import write_record
from ..identity import Record
from ..jobs import Jobs
from .disk import Disk
from .expected import Expected
from .graph import jobs
from .states import to_run


def install(workflow: Any, work: Jobs, *, alone: bool = True) -> None:
    """Have Snakemake run what `plan` says is to run, of what is asked for on its command line.

    Args:
      workflow: Snakemake's, after every rule was read.
      work: what its jobs are told.
      alone: no other workflow uses this one as a module. If one does, its rules keep Snakemake's own reasons to run
        again, which can only run more of ours: what is whole and fits is found done.
    """
    build = workflow._build_dag

    def decide_and_build() -> None:
        try:
            _decide(workflow, work, alone)
        except UserError as error:
            raise SystemExit(f"error: {error}") from None
        build()

    workflow._build_dag = decide_and_build


def _decide(workflow: Any, work: Jobs, alone: bool) -> None:
    from snakemake.io import _IOFile

    dag = workflow.dag
    if alone:
        workflow.dag_settings.rerun_triggers = frozenset()
        _IOFile.is_newer = _never
    # What a killed job has left behind is whole or not there, and compared like the rest.
    dag.ignore_incomplete = True
    rules = {str(rule.name) for rule in dag.forcerules}
    wanted = jobs(workflow, [*(str(rule.name) for rule in dag.targetrules), *map(str, dag.targetfiles)])
    forced = [job for job in wanted if job.rule in rules or not dag.forcefiles.isdisjoint(job.outputs)]
    expected = Expected(work)
    dag.forcefiles.update(job.outputs[0] for job in to_run(wanted, expected, Disk(), forced))
    if expected.restated and not workflow.dryrun:
        _restate(workflow, expected.restated)


def _restate(workflow: Any, records: Mapping[str, Record]) -> None:
    """Have records written once the run holds its lock: whoever else is at work in the folder reads them."""
    take = workflow.persistence.lock

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        with take():
            for path, record in records.items():
                write_record(path, record)
            yield

    workflow.persistence.lock = lock


async def _never(file: Any, time: float) -> bool:
    """Say that an input is not newer than an output: times of files say nothing here."""
    return False
