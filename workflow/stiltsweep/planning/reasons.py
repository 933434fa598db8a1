"""Why jobs of this run failed, as Snakemake saw it: what their own logs cannot say.

A job whose output is not there, or older than its input by another machine's clock, ended without an error; one that
was killed had no time to write any.
"""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

_STATUS = re.compile(r"(?:died with <Signals\.(?P<signal>\w+)|returned non-zero exit status (?P<status>\d+))")
_MISSING = re.compile(
    r"Job (?P<job>\d+) .*are missing\. Missing files after (?P<seconds>\d+) seconds.*?:\n(?P<files>.*)", re.DOTALL
)
_CLOCK = re.compile(r"Output (?P<output>\S+) has older modification time \(.*?\) than input (?P<input>\S+) \(")


@dataclass(frozen=True)
class Reason:
    """Why a job failed."""

    text: str
    certain: bool
    """Whether it is the reason whatever stands in the job's log."""


class Reasons(logging.Handler):
    """Listens to what Snakemake logs of failures."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._by_job: dict[int, Reason] = {}
        self._by_output: dict[str, Reason] = {}
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one record."""
        fields = vars(record)
        if "jobid" in fields and fields.get("event") is not None and str(fields["event"]).endswith("job_error"):
            # What came right before is the error of this job.
            self._by_job.setdefault(int(fields["jobid"]), Reason(_ended(self._last), certain=False))
            self._last = ""
            return
        text = str(record.getMessage())
        if said := _MISSING.search(text):
            files = ", ".join(re.sub(r" \(missing.*?\)", "", said["files"]).split("\n")[:3])
            reason = (
                f"it ended without an error, but {files} was not there {said['seconds']} s later: deleted, or not yet "
                "shown by a slow file system (--latency-wait)"
            )
            self._by_job[int(said["job"])] = Reason(reason, certain=True)
        elif said := _CLOCK.search(text):
            reason = (
                f"it ended without an error, but {said['output']} bears an earlier time than {said['input']}, "
                "which it was made from: the clocks of two machines differ"
            )
            self._by_output[said["output"]] = Reason(reason, certain=True)
        elif text.strip():
            self._last = text

    def of(self, job: int, outputs: Iterable[str]) -> Reason:
        """Return why a job failed, by its number in this run and its outputs."""
        for output in outputs:
            if output in self._by_output:
                return self._by_output[output]
        return self._by_job.get(job, Reason(_ended(""), certain=False))


def _ended(text: str) -> str:
    """Say how a process ended that wrote no error of its own."""
    ending = _STATUS.search(text)
    if ending is None:
        last = " ".join(text.split("\n")[-1].split())
        return f"it ended without an error of its own{': ' + last if last else ''}"
    status = int(ending["status"] or 0)
    name = ending["signal"] or (signal.Signals(status - 128).name if 128 < status < 128 + signal.NSIG else "")
    if name == "SIGKILL":
        return "it was killed (SIGKILL): by somebody, or because memory ran out"
    if name:
        return f"it was ended by a signal ({name})"
    return f"it ended with status {status} and no error of its own"
