"""Checking YAML against the project's JSON schemas, with errors that name file, key, value and what is allowed."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, nearest

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"


def read_yaml(path: Path) -> Any:
    """Read one YAML document with the safe loader.

    Raises:
      UserError: the file is missing or not YAML; the text names line and column.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader, C or Python)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable ({error}).") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())}).") from None


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
    filled = _with_defaults(copy.deepcopy(value), schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults = sorted(validator.iter_errors(filled), key=lambda e: ([str(p) for p in e.absolute_path], e.validator or ""))
    if faults:
        raise UserError(f"{where}: {_sentence(faults[0])}")
    return filled


def check_training(value: Mapping[str, Any], where: str) -> None:
    """Validate training settings, those of single stages included.

    Raises:
      UserError: see `check`.
    """
    check(value, "training", where)
    for stage in ("pretrain", "intermediate", "target"):
        if stage in value:
            check(value[stage], "training", f"{where}.{stage}")


_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and schema.get("type") in ("integer", "number") and _PLAIN_NUMBER.fullmatch(value):
        # Snakemake's --config makes text of numbers inside lists and mappings.
        return int(value) if "." not in value else float(value)
    if isinstance(value, list) and "items" in schema:
        return [_with_defaults(item, schema["items"]) for item in value]
    if isinstance(value, dict):
        for key, sub in schema.get("properties", {}).items():
            if key not in value and "default" in sub:
                value[key] = copy.deepcopy(sub["default"])
            if key in value:
                value[key] = _with_defaults(value[key], sub)
    return value


def _sentence(error: Any) -> str:
    """Turn a jsonschema error into one sentence."""
    key = ".".join(str(part) for part in error.absolute_path) or "the document"
    value = error.instance
    shown = f"{value!r}" if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    allowed = error.schema.get("description", "")
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
        return f"{key}: {shown} is not of type {error.validator_value}.{hint}{allowed}"
    return f"{key}: {error.message}.{allowed}"


def descriptions(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (dotted key, its schema) for every property, for the docs and for tests."""
    for key, sub in schema.get("properties", {}).items():
        yield f"{prefix}{key}", sub
        yield from descriptions(sub, f"{prefix}{key}.")
