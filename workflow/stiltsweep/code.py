"""Digests of code: what a change of them means is a change of numbers, not of comments or line breaks."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent

STAGES: dict[str, tuple[str, ...]] = {
    # Cheap stages run again when their code changes; training never does: its checkpoints record the version instead.
    "evaluate": ("metrics/**/*.py", "evaluation.py"),
    "significance": ("metrics/**/*.py", "resampling/**/*.py", "significance/**/*.py"),
    "typology": (
        *("typology/**/*.py", "resampling/draws.py", "significance/joint.py"),
        *("significance/corrections.py", "significance/sensitivity.py"),
    ),
    "scores": (
        "metrics/**/*.py",
        "resampling/**/*.py",
        "significance/**/*.py",
        "aggregates.py",
        "report/scores.py",
    ),
    "behaviour": ("metrics/**/*.py", "behaviour.py"),
    "measure": ("tokenization/**/*", "models/tokenizer.py", "models/reachable.py"),
    "probes": ("probing/table.py",),
    "report": ("report/**/*", "aggregates.py", "cuts.py"),
}


def digest(stage: str) -> str:
    """Return 12 hex digits of the code of a stage (see `STAGES`), comments and docstrings left out."""
    found = hashlib.sha256()
    for pattern in STAGES[stage]:
        for path in sorted(LIBRARY.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(path.relative_to(LIBRARY).as_posix().encode())
                found.update(_meaning(path))
    return found.hexdigest()[:12]


def _meaning(path: Path) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        for name, body in _bodies(node):
            setattr(node, name, [one for one in body if not _is_text(one)] or [ast.Pass()])
    return ast.dump(tree).encode()


def _bodies(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield "body", node.body


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a bare string: a docstring, or the text under an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
