"""How Snakemake was called, as a command that can be typed again: with the same configuration, from the same folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import COMMAND

_MADE = re.compile(rf"{COMMAND} (--force )?([^\s`(-][^\s`]*?)(?=[`).,;:]*(?:\s|$))")
"""What `errors.make` and `errors.remake` return, in a sentence."""


@dataclass(frozen=True)
class Invocation:
    """A call of Snakemake without targets and flags."""

    program: str
    options: str
    """Those that decide what the sweep is and where jobs run, quoted for a shell."""

    def command(self, *words: str) -> str:
        """Return the command with these targets and flags."""
        # Words come first: behind --configfile or --config each would be read as one more of these.
        return " ".join([self.program, *map(shlex.quote, words), *([self.options] if self.options else [])])

    def completed(self, text: str) -> str:
        """Return a text in which commands that make a file (`errors.make`, `remake`) ask for this sweep, from here."""
        return _MADE.sub(lambda one: self.command(*(["--force"] if one[1] else []), one[2]), text)


def invocation(workflow: Any, arguments: Sequence[str]) -> Invocation:
    """Read how Snakemake was called.

    Args:
      workflow: Snakemake's.
      arguments: the command line, the program first.
    """
    options: list[str] = []
    if workflow.overwrite_workdir is not None:
        options += ["--directory", str(workflow.overwrite_workdir)]
    # Where Snakemake went elsewhere, what lies there is not what is found from where it was called.
    if workflow.overwrite_workdir is not None or Path(workflow.main_snakefile) != Path.cwd() / "Snakefile":
        options += ["--snakefile", str(workflow.main_snakefile)]
    profile = _value(arguments, "--profile")
    options += ["--profile", profile] if profile else ["--cores", "1"]
    if files := workflow.config_settings.configfiles:
        here = workflow.overwrite_workdir is None
        options += ["--configfile", *(_short(Path(file)) if here else str(Path(file).absolute()) for file in files)]
    if own := workflow.config_settings.config:
        options += ["--config", *(f"{key}={_text(value)}" for key, value in own.items())]
    return Invocation(_program(arguments[0]), shlex.join(options))


def _program(called: str) -> str:
    """Return what to type for Snakemake: its name where the shell finds it, its path where it was called by one."""
    path = Path(called)
    if path.name != "snakemake":
        return f"{shlex.quote(sys.executable)} -m snakemake"
    on_path = shutil.which("snakemake")
    # `make sweep` calls it by a relative path, and puts it on PATH for its own time only.
    return "snakemake" if path.is_absolute() and on_path and Path(on_path) == path else shlex.quote(called)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def _value(arguments: Sequence[str], option: str) -> str | None:
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else next(iter(arguments[at + 1 :]), None)
    return None


def _text(value: Any) -> str:
    """Return a value as Snakemake's --config reads it: YAML, of which JSON is a part; plain words as they are."""
    if value is None:
        return ""
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
