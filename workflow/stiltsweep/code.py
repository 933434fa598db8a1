"""Digests of code: what of this project decides a stage's numbers, read from the code itself.

A stage's code is what its script can reach: from the script's own statements, along names and imports, to the
functions, classes and constants they use, and on from there. So an edit of a helper three modules away counts, and a
new function that nothing calls does not. Comments, docstrings and line breaks never count.

`_DECIDES_NOTHING` is the whole list of what is left out.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import write_json
from .place import beside

LIBRARY = Path(__file__).resolve().parent
SCRIPTS = beside("scripts")

_DECIDES_NOTHING = {
    "": "the names of rooms and the version, which is recorded beside the digest",
    "errors": "how failures are said",
    "files": "how bytes reach the disk, and in what order keys are written",
    "identity": "compares what is recorded; decides what runs, never what comes out",
    "layout": "where files lie",
    "place": "where the library's own files lie",
    "code": "this module",
    "lock": "who works in a folder, and who waits",
    "scriptlog": "logs",
    "warm": "where a process comes from",
    "schema": "refuses configurations",
    "preflight": "refuses sweeps",
    "resources": "what jobs ask of a machine",
    "training.processes": "how many devices share one and the same global batch",
    "training.state": "how a run is saved and goes on: it ends with the same bytes, which the tests hold",
}
"""Module of the library -> why no number depends on it."""


def digest(script: str) -> str:
    """Return 16 hex digits of the code that a script of `workflow/scripts` runs (see the module's text).

    Args:
      script: its name without `.py`, such as `evaluate`.
    """
    key = _state()
    known = _kept(key)
    if script not in known:
        digested = hashlib.sha256()
        # In the order in which they stand, but without their places: what comes to stand between them changes nothing.
        for module, _, content in sorted(_reached(script), key=lambda item: (item[0], str(item[1]).rjust(6))):
            digested.update(f"{module}\0{content}\n".encode())
        known[script] = digested.hexdigest()[:16]
        _keep(key, known)
    return known[script]


@functools.cache
def _state() -> str:
    """Return one digest of every file of the library and the scripts, as they were when it was first asked for.

    A process that holds the library in memory and lives on (see `warm`) asks at its start: what it runs is what was
    there then.
    """
    state = hashlib.sha256()
    for folder in (LIBRARY, SCRIPTS):
        for path in sorted(folder.rglob("*")):
            if path.suffix != ".pyc" and "__pycache__" not in path.parts and path.is_file():
                state.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


_KEPT = LIBRARY / "__pycache__" / "digests.json"
"""Digests of the last state of the code that was read: reading it all takes half a second, a job need not."""


@functools.cache
def _kept(key: str) -> dict[str, str]:
    try:
        kept = json.loads(_KEPT.read_text(encoding="utf-8"))
        return dict(kept["digests"]) if kept["code"] == key else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(key: str, known: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # the project's folder may be somebody else's
        _KEPT.parent.mkdir(exist_ok=True)
        write_json(_KEPT, {"code": key, "digests": known})


def reached(script: str) -> dict[str, list[str]]:
    """Return what a script reaches, for tests and people: module -> names that it uses of it, data files among them."""
    names_of: dict[str, set[str]] = {}
    for module, index, _ in _reached(script):
        names = [index] if isinstance(index, str) else _read(module).statements[index].binds or [f"#{index}"]
        names_of.setdefault(module, set()).update(names)
    return {module: sorted(names) for module, names in sorted(names_of.items())}


@dataclass(frozen=True)
class _Statement:
    """One statement at the top of a module."""

    binds: list[str]
    """Names that it gives a meaning in the module."""
    uses: list[list[str]]
    """Dotted names it mentions, each as its parts."""
    imports: dict[str, list[str]]
    """Names that imports inside it bind: local name -> [module, name in it], [module] for a module itself."""
    effect: bool
    """Whether it does something when the module is imported, so that it counts whoever names it or not."""
    content: str
    """Digest of its meaning."""


@dataclass(frozen=True)
class _Module:
    statements: list[_Statement]
    imports: dict[str, list[str]]
    """Of the whole module, as in `_Statement.imports`."""


_Item = tuple[str, Any, str]
"""(module, number of a statement or name of a data file, digest)."""


@functools.cache
def _reached(script: str) -> frozenset[_Item]:
    start = f"scripts.{script}"
    todo: list[tuple[str, int]] = [(start, number) for number in range(len(_read(start).statements))]
    seen = set(todo)
    entered: set[str] = set()
    items: set[_Item] = set()

    def enter(module: str) -> None:
        """Count what happens when a module is imported, and the files that lie beside it."""
        if module in entered or _left_out(module):
            return
        entered.add(module)
        for number, statement in enumerate(_read(module).statements):
            if statement.effect:
                add(module, number)
        items.update(_data(module))

    def add(module: str, number: int) -> None:
        if (module, number) not in seen:
            seen.add((module, number))
            todo.append((module, number))

    def follow(module: str, parts: list[str]) -> None:
        """Count what a dotted name in a module means."""
        name, *rest = parts
        if _left_out(module):
            return
        enter(module)
        about = _read(module)
        bound = [number for number, one in enumerate(about.statements) if name in one.binds]
        for number in bound:
            add(module, number)
        if bound:
            return
        if name in about.imports:
            imported(about.imports[name], rest)
        elif _exists(f"{module}.{name}" if module else name):
            imported([f"{module}.{name}" if module else name], rest)

    def imported(target: list[str], rest: list[str]) -> None:
        """Count what an imported name means."""
        module, *name = target
        inner = f"{module}.{name[0]}" if module and name else (name[0] if name else module)
        if name and _exists(inner) and not _binds(module, name[0]):
            module, name = inner, []
        enter(module)
        if name:
            follow(module, [*name, *rest])
        elif rest:
            follow(module, rest)
        elif not _left_out(module):
            # The module itself is handed on: anything of it may be used.
            for number in range(len(_read(module).statements)):
                add(module, number)

    while todo:
        module, number = todo.pop()
        statement = _read(module).statements[number]
        items.add((module, number, statement.content))
        for target in statement.imports.values():
            enter(target[0])
        for parts in statement.uses:
            if parts[0] in statement.imports:
                imported(statement.imports[parts[0]], parts[1:])
            elif parts[0] in _read(module).imports or any(parts[0] in one.binds for one in _read(module).statements):
                follow(module, parts)
        if any(parts[-1] == "import_module" for parts in statement.uses):
            # By a name that is put together when it runs: any module beside this one may be meant.
            for sibling in _siblings(module):
                imported([sibling], [])
    return frozenset(items)


def _left_out(module: str) -> bool:
    return module in _DECIDES_NOTHING


def _binds(module: str, name: str) -> bool:
    return not _left_out(module) and any(name in one.binds for one in _read(module).statements)


@functools.cache
def _path(module: str) -> Path | None:
    """Return a module's file: `scripts.evaluate`, or a module of the library by its dotted name within it."""
    if module.startswith("scripts."):
        path = SCRIPTS / f"{module.removeprefix('scripts.')}.py"
        return path if path.is_file() else None
    base = LIBRARY.joinpath(*module.split(".")) if module else LIBRARY
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _exists(module: str) -> bool:
    return _path(module) is not None


def _siblings(module: str) -> list[str]:
    """Return the modules of the package that a module is or lies in, packages within it included."""
    path = _path(module)
    assert path is not None
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    inside = [one.stem if one.is_file() else one.name for one in path.parent.iterdir() if one.name != "__init__.py"]
    names = [f"{package}.{name}" if package else name for name in sorted(inside)]
    return [name for name in names if _exists(name) and name != module]


def _data(module: str) -> Iterator[_Item]:
    """Yield the files that are no code in a package's folder and in those below it that are no packages."""
    path = _path(module)
    if path is None or path.name != "__init__.py" or module.startswith("scripts."):
        return
    folders = [path.parent]
    while folders:
        folder = folders.pop()
        for one in sorted(folder.iterdir()):
            if one.is_dir() and one.name != "__pycache__" and not (one / "__init__.py").exists():
                folders.append(one)
            elif one.is_file() and one.suffix not in (".py", ".pyc") and not one.name.startswith("."):
                name = one.relative_to(path.parent).as_posix()
                yield module, name, hashlib.sha256(one.read_bytes()).hexdigest()


@functools.cache
def _read(module: str) -> _Module:
    path = _path(module)
    if path is None:
        raise FileNotFoundError(f"{module}: no module of that name in {LIBRARY} or {SCRIPTS}")
    return _parsed(module, path, path.read_bytes())


def _parsed(module: str, path: Path, source: bytes) -> _Module:
    tree = ast.parse(source)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports: dict[str, list[str]] = {}
    statements = []
    for node in tree.body:
        if _is_text(node) or _is_for_types(node):
            continue
        own = dict(_imports(node, package))
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(own)
            continue
        _strip(node)
        simple = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign)
        binds = list(dict.fromkeys(_bound(node)))
        if isinstance(node, ast.If | ast.Try):
            imports.update(own)
        statements.append(
            _Statement(
                binds,
                [list(parts) for parts in sorted(set(_uses(node)))],
                own,
                effect=not simple or not binds or _registers(node),
                content=hashlib.sha256(ast.dump(node).encode()).hexdigest(),
            )
        )
    return _Module(statements, imports)


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what imports in a statement bind, as far as it is this project's."""
    for one in ast.walk(node):
        if isinstance(one, ast.ImportFrom):
            if one.level:
                parts = package.split(".") if package else []
                parts = parts[: len(parts) - one.level + 1]
                module = ".".join([*parts, *([one.module] if one.module else [])])
            elif one.module and one.module.split(".")[0] == "stiltsweep":
                module = one.module.partition(".")[2]
            elif one.module and _exists(f"scripts.{one.module}"):
                module = f"scripts.{one.module}"
            else:
                continue
            for alias in one.names:
                yield alias.asname or alias.name, [module, alias.name]
        elif isinstance(one, ast.Import):
            for alias in one.names:
                if _exists(f"scripts.{alias.name}"):
                    yield alias.asname or alias.name, [f"scripts.{alias.name}"]


def _uses(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names in a statement, each as long as it is written."""
    stack = [node]
    while stack:
        one = stack.pop()
        parts: list[str] = []
        inner = one
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            if parts or not isinstance(inner.ctx, ast.Store):
                yield (inner.id, *reversed(parts))
        else:
            stack += ast.iter_child_nodes(inner)


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield one.name


_HARMLESS = {"dataclass", "cache", "lru_cache", "contextmanager", "property", "total_ordering", "wraps", "overload"}
"""Decorators that tell nobody of what they decorate."""


def _registers(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    names = []
    for one in node.decorator_list:
        inner = one.func if isinstance(one, ast.Call) else one
        names.append(inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", ""))
    return not set(names) <= _HARMLESS


def _strip(node: ast.AST) -> None:
    """Take out docstrings, texts under attributes, and annotations of nothing."""
    for one in ast.walk(node):
        if isinstance(one, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            one.body = [inner for inner in one.body if not _is_text(inner)] or [ast.Pass()]


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a bare string: a docstring, or the text under an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_types(node: ast.stmt) -> bool:
    """Whether a statement is for type checkers alone, or the import of annotations from the future."""
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return True
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@functools.cache
def commit() -> str:
    """Return the commit that a checkout of this project stands at, empty where it is none."""
    try:
        head = (LIBRARY.parents[1] / ".git" / "HEAD").read_text(encoding="utf-8").strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        loose = LIBRARY.parents[1] / ".git" / name
        if loose.is_file():
            return loose.read_text(encoding="utf-8").strip()
        packed = (LIBRARY.parents[1] / ".git" / "packed-refs").read_text(encoding="utf-8")
        return next((line.split()[0] for line in packed.splitlines() if line.endswith(f" {name}")), "")
    except OSError:
        return ""


def versions(stage: str) -> dict[str, str]:
    """Return the versions of the libraries that decide a stage's numbers, read without importing them."""
    from importlib import metadata

    return {name: metadata.version(name) for name in LIBRARIES[stage]}


LIBRARIES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("train", "pretrain", "predict", "probe"), ("torch", "transformers", "tokenizers", "accelerate")
)
