"""The official code that our scores are compared with: where it lies below one folder, and how it is called.

What imports TensorFlow is not imported: single functions are read out of the file and run with what they need.
TensorFlow's regular expressions are RE2's, so its package stands in for them.
"""

from __future__ import annotations
import __future__

import ast
import collections
import importlib
import json
import os
import re
import string
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SOURCES = {
    "xtreme": "git clone https://github.com/google-research/xtreme {folder} && git -C {folder} checkout 838c13b",
    "multilingual-t5": "git clone https://github.com/google-research/multilingual-t5 {folder}"
    " && git -C {folder} checkout 9dcd60f",
    "t5": "git clone https://github.com/google-research/text-to-text-transfer-transformer {folder}"
    " && git -C {folder} checkout e081111",
    "seqio": "git clone https://github.com/google/seqio {folder} && git -C {folder} checkout b898b9f",
    "seqeval-0.0.12": "pip install --no-deps --target {folder} seqeval==0.0.12",
    "re2": "pip install --no-deps --target {folder} google-re2==1.1.20251105",
    "networkx": "pip install --no-deps --target {folder} networkx==1.11 decorator==4.4.2",
    "xquad": "git clone https://github.com/google-deepmind/xquad {folder}",
    "ner": "get uner.en_ewt.test.iob2 of UNER_English-EWT and masakhaner2.{{hau,swa,yor,zul}}.test.txt of masakhane-ner"
    " into {folder}",
    "udpos": "get *-ud-test.conllu of treebanks of Universal Dependencies into {folder}",
}
"""What lies below the folder -> how to get it."""


def missing(folder: Path, names: Iterable[str]) -> list[str]:
    """Return a sentence for each thing that is not there: what, and how to get it."""
    return [
        f"{name} is not there; to compare with it: {SOURCES[name].format(folder=folder / name)}"
        for name in names
        if not (folder / name).is_dir()
    ]


@contextmanager
def silent() -> Iterator[None]:
    """Let code talk to nobody."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


def functions(path: Path, names: Iterable[str], **known: Any) -> SimpleNamespace:
    """Run single functions (and nothing else) of a Python file.

    Args:
      path: the file.
      names: of the functions or classes, at its top level.
      known: what their code refers to.
    """
    wanted = set(names)
    tree = ast.parse(path.read_text("utf-8"))
    found = [node for node in tree.body if getattr(node, "name", None) in wanted]
    for node in found:
        node.decorator_list = []  # type: ignore[attr-defined]
    if len(found) != len(wanted):
        raise SystemExit(f"{path}: lacks one of {', '.join(sorted(wanted))}; is it another version?")
    space: dict[str, Any] = dict(known)
    code = compile(ast.Module(found, []), str(path), "exec", flags=__future__.annotations.compiler_flag)
    exec(code, space)  # noqa: S102
    return SimpleNamespace(**{name: space[name] for name in wanted})


@contextmanager
def importing(*folders: Path) -> Iterator[None]:
    """Let modules be imported from folders."""
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


def module(name: str, *folders: Path) -> Any:
    """Import a module from folders."""
    with importing(*folders):
        return importlib.import_module(name)


def asked(program: str, job: Any, *folders: Path, cwd: Path | None = None) -> Any:
    """Run a program in a process of its own, with folders to import from; JSON goes in and comes out last.

    Args:
      program: Python; `job` is what it is asked, and what it calls `answer` comes back.
      job: JSON.
      folders: to import from, before all else.
      cwd: where it runs.
    """
    code = f"import json, sys\njob = json.load(sys.stdin)\n{program}\nprint('\\n' + json.dumps(answer))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONWARNINGS": "ignore"}
    made = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        check=False,
    )
    if made.returncode:
        raise SystemExit(made.stderr)
    return json.loads(made.stdout.splitlines()[-1])


def t5_answers(folder: Path) -> SimpleNamespace:
    """Return T5's functions for scoring answers."""
    scores = ("qa_metrics", "_metric_max_over_ground_truths", "_exact_match_score", "_f1_score")
    names = ("_normalize_answer", "normalize_squad", *scores)
    quiet = SimpleNamespace(info=lambda *_: None)
    path = folder / "t5/t5/evaluation/qa_utils.py"
    return functions(path, names, collections=collections, re=re, string=string, np=np, logging=quiet)


def mt5_metrics(folder: Path) -> SimpleNamespace:
    """Return mT5's metrics."""
    return functions(
        folder / "multilingual-t5/multilingual_t5/evaluation/metrics.py",
        ("normalize_mlqa", "mlqa", "span_f1"),
        collections=collections,
        re=re,
        string=string,
        sys=sys,
        unicodedata=unicodedata,
        qa_utils=t5_answers(folder),
    )


class Dataset:
    """As much of a tf.data.Dataset as mT5's preprocessors use."""

    def __init__(self, examples: Iterable[dict[str, Any]]) -> None:
        self.examples = list(examples)

    def map(self, function: Any, num_parallel_calls: Any = None) -> Dataset:
        """Apply a function to every example."""
        return Dataset(map(function, self.examples))


def mt5_preprocessors(folder: Path) -> SimpleNamespace:
    """Return mT5's preprocessors, with RE2 for TensorFlow's regular expressions."""
    re2 = module("re2", folder / "re2")

    def replace(text: Any, pattern: str, rewrite: str) -> Any:
        if isinstance(text, list):
            return [replace(one, pattern, rewrite) for one in text]
        return re2.sub(pattern, rewrite, text)

    strings = SimpleNamespace(
        regex_replace=replace,
        join=lambda parts, separator="": separator.join(parts),
        reduce_join=lambda parts, separator="": separator.join(parts),
        as_string=str,
    )
    tf = SimpleNamespace(strings=strings, data=SimpleNamespace(experimental=SimpleNamespace(AUTOTUNE=None)))
    path = folder / "multilingual-t5/multilingual_t5/preprocessors.py"
    return functions(path, ("_string_join", "_pad_punctuation", "wikiann", "xquad", "process_mnli"), tf=tf)
