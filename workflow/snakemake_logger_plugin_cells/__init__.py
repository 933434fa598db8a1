"""A Snakemake logger plugin: one bar over the cells of a sweep, with the time left, in place of walls of text.

`make sweep` asks for it with `--logger cells`; it is found because `workflow/` is on PYTHONPATH. Where the output is
not a terminal it writes a line now and then instead. Failed jobs are printed as they fail, with their log.

(snakemake-logger-plugin-rich draws a bar per rule without the time left, and calls itself unstable.)
"""

from __future__ import annotations

import time
from collections import Counter
from logging import WARNING, LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

CELL = "evaluate"
"""The rule whose jobs are cells."""
_LINE_EVERY = 30.0
"""Seconds between lines where there is no terminal."""


class Clock:
    """Estimates the time left from what jobs of each rule took so far."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.began: dict[int, tuple[str, float]] = {}
        self.seconds: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()

    def start(self, job: int, rule: str, now: float) -> None:
        """Note that a job started."""
        self.began[job] = (rule, now)

    def finish(self, job: int, now: float) -> str | None:
        """Note that a job ended and return its rule."""
        rule, began = self.began.pop(job, (None, now))
        if rule is not None:
            self.waiting[rule] -= 1
            self.finished[rule] += 1
            self.seconds[rule] += now - began  # type: ignore[assignment]
        return rule

    def left(self, now: float) -> float | None:
        """Return seconds left, None before anything is known.

        Every rule's jobs are taken to go on as its finished ones did. Of a rule none of whose jobs has finished a cell
        is taken to be like the quickest job so far, any other like the mean. As many jobs run at once as do now.
        """
        if not self.finished:
            return None
        means = {rule: self.seconds[rule] / count for rule, count in self.finished.items()}
        mean = self.seconds.total() / self.finished.total()
        unknown = {CELL: min(means.values())}
        work = sum(
            count * means.get(rule, unknown.get(rule, mean)) for rule, count in self.waiting.items() if count > 0
        )
        work -= sum(min(now - began, mean) for _, began in self.began.values())
        return max(0.0, work) / max(1, len(self.began))


class LogHandler(LogHandlerBase):
    """Draws the bar."""

    def __post_init__(self) -> None:
        self.console = Console(stderr=True)
        self.clock = Clock()
        self.names: dict[int, str] = {}
        self.failed: set[int] = set()
        self.cells = 0
        self.last_line = time.monotonic()
        self.progress = Progress(
            TextColumn("cells"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[doing]}", justify="left"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task: Any = None

    def emit(self, record: LogRecord) -> None:
        """Handle one event of Snakemake."""
        fields = vars(record)
        event = fields.get("event")
        now = time.monotonic()
        if event == LogEvent.RUN_INFO:
            self._begin(fields["stats"])
        elif event == LogEvent.JOB_INFO:
            self.names[fields["jobid"]] = str(fields.get("rule_msg") or fields["rule_name"])
            self.clock.start(fields["jobid"], fields["rule_name"], now)
            self._show(self.names[fields["jobid"]], now)
        elif event == LogEvent.JOB_FINISHED:
            if self.clock.finish(fields["job_id"], now) == CELL and self.task is not None:
                self.progress.advance(self.task)
            self._show(None, now)
        elif event == LogEvent.JOB_ERROR:
            self._error(fields)
        elif event is None and record.levelno >= WARNING and record.msg and "RuleException" not in str(record.msg):
            self.console.print(escape(str(record.getMessage())), style="red" if record.levelno > WARNING else "yellow")
        elif event is None and str(record.msg).startswith("Nothing to be done"):
            self.console.print(record.getMessage())
        elif event == LogEvent.ERROR and record.msg and fields.get("exception") != "RuleException":
            self.console.print(escape(record.getMessage()), style="red")

    def _begin(self, stats: dict[str, int]) -> None:
        if self.task is not None:
            return
        self.clock.waiting.update({rule: count for rule, count in stats.items() if rule != "total"})
        self.cells = stats.get(CELL, 0)
        self.console.print(f"{stats.get('total', 0)} jobs, {self.cells} of them cells")
        self.progress.start()
        self.task = self.progress.add_task("cells", total=max(1, self.cells), left="", doing="")

    def _show(self, doing: str | None, now: float) -> None:
        if self.task is None:
            return
        left = self.clock.left(now)
        text = "" if left is None else f"about {_duration(left)} left"
        self.progress.update(self.task, left=text, **({} if doing is None else {"doing": doing}))
        if not self.console.is_terminal and now - self.last_line >= _LINE_EVERY:
            self.last_line = now
            done = self.clock.finished
            self.console.print(f"{done[CELL]} of {self.cells} cells, {done.total()} jobs done, {text}")

    def _error(self, fields: dict[str, Any]) -> None:
        job = int(fields["jobid"])
        if job in self.failed:
            return
        name = self.names.get(job, str(fields.get("rule_name")))
        self.failed.add(job)
        self.clock.finish(job, time.monotonic())
        logs = [str(log) for log in fields.get("log") or ()]
        self.console.print(f"failed: {escape(name)}", style="red")
        for log in logs:
            self.console.print(f"  {escape(_last_line(log))}\n  see {escape(log)}", style="red", highlight=False)

    def close(self) -> None:
        """Take the bar away."""
        self.progress.stop()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """It takes the terminal in place of Snakemake's own text."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's own log file stays as it is."""
        return False

    @property
    def has_filter(self) -> bool:
        """It chooses events itself."""
        return True

    @property
    def has_formatter(self) -> bool:
        """It writes them itself."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """It does not."""
        return False


def _last_line(log: str) -> str:
    """Return the last line of a job's log: the error's one sentence, or the end of a traceback."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return "no log"
    return next((line for line in reversed(lines) if line.strip()), "empty log")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"
