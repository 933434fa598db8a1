"""Checking YAML against the project's JSON schemas, with errors that name file, key, value and what is allowed."""

from __future__ import annotations

import copy
import functools
import math
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, nearest
from .interfaces import INTERFACES
from .place import beside

SCHEMAS = beside("schemas")


_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE
    ),
}
"""Numbers as people write them. YAML 1.1 reads more: 010 as 8, 1:30 as 90, 1_0 as 10, 0x10 as 16."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a key that stands twice; YAML itself would silently take the last one."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        value = super().construct_object(node, deep=deep)
        plain = isinstance(node, yaml.ScalarNode) and _NUMBERS.get(node.tag)
        if plain and not plain.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"YAML reads {node.value} as {value!r}; write that number, or put quotes around a text",
                node.start_mark,
            )
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice; keep one of them", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
                if key.tag == "tag:yaml.org,2002:bool":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"YAML reads the key {key.value} as true or false; put it in quotes", key.start_mark
                    )
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Read one YAML document with a safe loader.

    Raises:
      UserError: the file is missing, not readable or not YAML, or a key stands twice; the text names line and column.
    """
    try:
        about = path.stat()
        if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
            raise UserError(f"{path}: is a pipe or a device, which can be read once at most. Name a YAML file.")
        if about.st_size > _LARGEST:
            raise UserError(f"{path}: holds {about.st_size:,} bytes, more than {_LARGEST:,}. Is it a YAML file?")
        text = path.read_text(encoding="utf-8")
        return _construct(text)
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}). Name a YAML file that is there.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {_yaml_fault(error)}") from None


_LARGEST = 8_000_000
"""Bytes of a YAML file; the largest of the catalogue has 7,000."""
_MOST = 200_000
"""Values of a document, those behind aliases counted as often as they are used."""
_DEEPEST = 30
"""Levels of nesting."""


def _construct(text: str) -> Any:
    """Read a document, after looking at its size: a few lines of aliases may stand for more than a memory holds."""
    _check_depth(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    """Refuse nesting that would exhaust the parser's stack, which it answers with the end of the process."""
    # No text is nested deeper than this; of few is it worth looking closer.
    indented = max((len(line) - len(line.lstrip(" -?:")) for line in text.splitlines()), default=0)
    if text.count("[") + text.count("{") + indented <= 10 * _DEEPEST:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > 10 * _DEEPEST:
            mark: Any = event.start_mark
            raise yaml.constructor.ConstructorError(None, None, f"nested more than {_DEEPEST} levels", mark)


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that hold themselves, and those that stand for too much."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in open_:
            raise yaml.constructor.ConstructorError(
                None, None, f"nested more than {_DEEPEST} levels: an alias holds itself", node.start_mark
            )
        if id(node) not in sizes:
            open_.add(id(node))
            inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] = 1 + sum(map(size, inner))
            open_.discard(id(node))
            if sizes[id(node)] > _MOST:
                raise yaml.constructor.ConstructorError(
                    None, None, f"aliases or lists make this more than {_MOST:,} values", node.start_mark
                )
        return sizes[id(node)]

    size(root)


def _yaml_fault(error: yaml.YAMLError) -> str:
    """Say in one sentence what is wrong with a YAML text, and where."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = str(getattr(error, "problem", None) or " ".join(str(error).split()))
    if isinstance(error, yaml.constructor.ConstructorError):
        if "constructor for the tag" in problem:
            tag = problem.rpartition("tag:yaml.org,2002:")[2].strip("'\"")
            return f"{place}the tag !!{tag} is not allowed. Write plain values, lists and mappings."
        return f"{place}{problem}."
    hint = (
        " Indent with spaces, not tabs."
        if "cannot start any token" in problem
        else " Is a bracket, quote or colon missing just before?"
    )
    return f"not YAML: {place}{problem}.{hint}"


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Return the schema `name` (config, task, model, training)."""
    document: dict[str, Any] = read_yaml(SCHEMAS / f"{name}.schema.yaml")
    return document


def check(value: Any, name: str, where: str) -> Any:
    """Validate a document and return a copy with every default filled in.

    Args:
      value: what YAML gave.
      name: the schema's name.
      where: the file, for the error text.

    Raises:
      UserError: the first violation, deepest key named.
    """
    import jsonschema

    schema = load(name)
    if not isinstance(value, Mapping):
        what = "is empty" if value is None else f"holds {_kind(value)}"
        keys = ", ".join(schema.get("required", schema["properties"]))
        raise UserError(f"{where}: the document {what}. It has to be keys with values, among them: {keys}.")
    _refuse_implausible(value, where)
    filled = _with_defaults(copy.deepcopy(value), schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults = sorted(validator.iter_errors(filled), key=lambda e: ([str(p) for p in e.absolute_path], e.validator or ""))
    if faults:
        raise UserError(f"{where}: {_sentence(_deepest(faults[0]), schema)}")
    return filled


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), f"{value!r}")


_LARGEST_NUMBER = 1e15
"""No setting is larger; numbers beyond are exact in no arithmetic here."""


def _refuse_implausible(value: Any, where: str, path: tuple[str, ...] = ()) -> None:
    """Refuse what YAML can hold and JSON, which settings are passed on as, cannot."""
    key = ".".join(path) or "the document"
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(
            f"{where}: {key}: {value} is not a finite number. Write an ordinary number, for example 1.0e-4."
        )
    if isinstance(value, int | float) and abs(value) > _LARGEST_NUMBER:
        raise UserError(f"{where}: {key}: {value} is larger than any setting can be ({_LARGEST_NUMBER:.0e}).")
    if isinstance(value, str):
        _refuse_unprintable(value, f"{where}: {key}")
    if not isinstance(value, Mapping | list | str | int | float | None):
        raise UserError(f"{where}: {key}: YAML reads {str(value)!r} as a {type(value).__name__}. Put it in quotes.")
    if len(path) > _DEEPEST:
        raise UserError(
            f"{where}: {'.'.join(path[:3])}: nested more than {_DEEPEST} levels. No setting is; is a bracket too many?"
        )
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, sub in items:
        # A column's values, which `map` has as its keys, may be of any type.
        if isinstance(value, Mapping) and not isinstance(name, str) and path[-1:] != ("map",):
            raise UserError(
                f"{where}: {key}: the key {name!r} is no text. YAML reads no, off, yes and on as booleans and digits "
                "as numbers: put it in quotes."
            )
        if isinstance(name, str):
            _refuse_unprintable(name, f"{where}: {key}")
        _refuse_implausible(sub, where, (*path, str(name)))


def _refuse_unprintable(text: str, where: str) -> None:
    """Refuse characters that no command, file name or page can hold."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
            raise UserError(f"{where}: {text[:40]!r} holds the character U+{ord(character):04X}. Take it out.")


def _deepest(error: Any) -> Any:
    """Return the fault that says most: within alternatives, the one of the alternative that went furthest."""
    while error.context:
        furthest = max(error.context, key=lambda e: len(e.absolute_path))
        if len(furthest.absolute_path) == len(error.absolute_path) and furthest.validator in ("type", "const"):
            break
        error = furthest
    return error


_TRAINING_LAYERS = (("over_tasks",), tuple(INTERFACES), ("pretrain", "intermediate", "target"))
"""Groups of training settings within training settings, from the outside in."""


def check_training(value: Mapping[str, Any], where: str, *, outermost: int = 1) -> dict[str, Any]:
    """Validate training settings, those of single interfaces and stages included, and return them with their types.

    Args:
      value: the settings.
      where: file and key, for the error text.
      outermost: the first of the groups that may stand in them; 0 for a model's, which alone may win over tasks.

    Raises:
      UserError: see `check`; or a group stands where it means nothing.
    """
    filled: dict[str, Any] = check(value, "training", where)
    for depth, names in enumerate(_TRAINING_LAYERS):
        for name in names:
            if name in value and depth < outermost:
                raise UserError(f"{where}: {name!r} cannot stand here; see schemas/training.schema.yaml.")
            if name in value:
                filled[name] = check_training(value[name], f"{where}.{name}", outermost=depth + 1)
    return filled


_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+([eE][-+]?\d+)?)?")
_WORDS: dict[str, dict[str, bool | None]] = {
    "boolean": {"true": True, "false": False, "True": True, "False": False},
    "null": {"null": None, "~": None},
}
"""Texts that stand for other values, by the type that they stand for."""


def _with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    types = schema.get("type", ())
    types = [types] if isinstance(types, str) else types
    if isinstance(value, str) and types and "string" not in types:
        # Snakemake's --config makes text of all that stands inside lists and mappings.
        if {"integer", "number"} & set(types) and _PLAIN_NUMBER.fullmatch(value):
            value = int(value) if "." not in value else float(value)
        for kind in types:
            value = _WORDS.get(kind, {}).get(value, value) if isinstance(value, str) else value
    if isinstance(value, float) and "integer" in types and "number" not in types and value.is_integer():
        return int(value)  # JSON Schema counts 1.0 as an integer; names of folders would not
    if isinstance(value, list) and "items" in schema:
        return [_with_defaults(item, schema["items"]) for item in value]
    if isinstance(value, dict):
        for key, sub in schema.get("properties", {}).items():
            if key not in value and "default" in sub:
                value[key] = copy.deepcopy(sub["default"])
            if key in value:
                value[key] = _with_defaults(value[key], sub)
    return value


def _description(error: Any, schema: Any) -> str:
    """Return what the faulty key is, in the words of the schema: its own, or those of the list or mapping it is in."""
    if "description" in error.schema:
        return str(error.schema["description"])
    text = ""
    for part in error.absolute_path:
        schema = (
            schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part)
        ) or schema.get("additionalProperties", {})
        if not isinstance(schema, Mapping):
            break
        text = str(schema.get("description", text))
    return text


def _sentence(error: Any, schema: Mapping[str, Any]) -> str:
    """Turn a jsonschema error into one sentence."""
    key = ".".join(str(part) for part in error.absolute_path) or "the document"
    value = error.instance
    shown = f"{value!r}" if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    allowed = _description(error, schema)
    allowed = f" It is: {allowed}" if allowed else ""
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [k for k in value if k not in known]
        return f"{key}: unknown key {unknown[0]!r}; known: {', '.join(known)}.{nearest(str(unknown[0]), known)}"
    if error.validator == "required":
        missing = [k for k in error.validator_value if k not in value]
        return f"{key}: the key {missing[0]!r} is missing.{allowed}"
    if error.validator == "enum":
        known = [str(v) for v in error.validator_value]
        return f"{key}: {shown} is not allowed; allowed: {', '.join(known)}.{nearest(str(value), known)}"
    if error.validator == "type":
        hint = ""
        if isinstance(value, bool) and "string" in str(error.validator_value):
            hint = " YAML reads no, off, yes and on as booleans: put it in quotes."
        if isinstance(value, str) and error.validator_value in ("number", "integer"):
            hint = " YAML reads 1e-4 as text: write 1.0e-4."
        types = error.validator_value
        wanted = types if isinstance(types, str) else " or ".join(types)
        return f"{key}: {shown} is not of type {wanted}.{hint}{allowed}"
    if error.validator in ("anyOf", "const"):
        return f"{key}: {shown} is not allowed.{allowed}"
    if error.validator == "contains":
        return f"{key}: {shown} lacks {error.validator_value['const']!r}.{allowed}"
    if error.validator == "uniqueItems":
        twice = next(item for index, item in enumerate(value) if item in value[:index])
        return f"{key}: {shown} has non-unique elements: {twice!r} stands twice.{allowed}"
    return f"{key}: {error.message}.{allowed}"


def descriptions(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (dotted key, its schema) for every property, for the docs and for tests."""
    for key, sub in schema.get("properties", {}).items():
        yield f"{prefix}{key}", sub
        yield from descriptions(sub, f"{prefix}{key}.")
