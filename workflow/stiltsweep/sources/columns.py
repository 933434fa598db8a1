"""The columns mapping of a task's YAML: from a row as upstream has it to the record columns of a kind.

One small declarative language for every source; docs/sources.md documents it with examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from ..errors import UserError, nearest
from ..facts import KINDS
from ..records import CLUSTER, Row

PAIR = {"query": "string", "candidate": "string", "candidate_id": "string?", CLUSTER: "string?"}
"""Retrieval may map these instead of side, text and gold: a row is a query and its one right candidate. The candidate's
id is the row's, or `candidate_id`, if rows have candidates in common; such a candidate is read once."""

KEYS = ("column", "template", "value", "map", "others", "lacks", "text", "start")
ROW_FACTS = ("$row", "$file", "$language", "$name")
"""Columns that every upstream row has beside its own: its number in the file from 0, the file's name without ending (of
a hub data set the configuration), the language, and upstream's name for it."""

_LONGEST = 40
"""Characters of a cluster's name."""
_FIELD = re.compile(r"\{([^{}]+)\}")
_Getter = Callable[[Mapping[str, Any]], Any]


class RowError(Exception):
    """A row does not fit the mapping; whoever knows file and line turns this into a `UserError`."""


class Columns:
    """A checked mapping for one kind of task."""

    def __init__(self, kind: str, spec: Mapping[str, Any], place: str) -> None:
        """Compile a mapping.

        Args:
          kind: one of `facts.KINDS`.
          spec: record column -> upstream column name, list of values, or mapping (see `KEYS`).
          place: the mapping's owner in the YAML file, for error texts.

        Raises:
          UserError: an unknown or missing column or key; the text names the nearest known one.
        """
        types = {"id": "string", **KINDS[kind].columns, CLUSTER: "string?"}
        self._pair = kind == "retrieval" and not spec.keys() & set(KINDS[kind].columns)
        if self._pair:
            types = {"id": "string", **PAIR}
        for column in spec:
            if column not in types:
                known = [*types, *(PAIR if kind == "retrieval" else ())]
                hint = nearest(str(column), known)
                raise UserError(f"{place}.columns: a {kind} record has no column {column!r}; it has: {known}.{hint}")
        for column, kind_of in types.items():
            if column not in spec and not kind_of.endswith("?"):
                raise UserError(f"{place}.columns: {column!r} is missing: say which upstream column it is read from.")
        self.shared = self._pair and "candidate_id" in spec
        """Whether several rows may have one candidate."""
        self._getters = [
            (column, types[column], _getter(spec[column], f"{place}.columns.{column}", types[column]))
            for column in types
            if column in spec
        ]

    def records(self, row: Mapping[str, Any]) -> list[Row]:
        """Map one upstream row to records without their split: one, or a query and its candidate.

        Raises:
          RowError: a column is missing, has no entry in a map, or is of the wrong type.
        """
        record: Row = {}
        for column, type_, get in self._getters:
            try:
                record[column] = _CONVERTERS[type_.rstrip("?")](get(row), type_.endswith("?"))
            except RowError as fault:
                raise RowError(f"{column}: {fault}") from None
        if "answers" in record:
            _check_offsets(record["context"], record["answers"])
        if record.get(CLUSTER) is not None:
            record[CLUSTER] = _name(record[CLUSTER])
        if not self._pair:
            return [record]
        candidate = record.get("candidate_id", record["id"])
        return [
            {"id": record["id"], "side": "query", "text": record["query"], "gold": [candidate]}
            | ({CLUSTER: record[CLUSTER]} if CLUSTER in record else {}),
            {"id": candidate, "side": "candidate", "text": record["candidate"], "gold": []},
        ]


def check_class_names(spec: Mapping[str, Any], names: Mapping[str, Sequence[str]], where: str) -> None:
    """Compare maps of numbers to labels with the names that a data set itself gives these numbers.

    Spellings may differ, an order may not: a label that the data set knows by another number would be read as another.

    Args:
      spec: record column -> mapping, as of `Columns`.
      names: upstream column -> its label names, by number (`datasets.ClassLabel`).
      where: the data set, for the error's text.

    Raises:
      UserError: a number is mapped to a label that the data set gives another number.
    """
    for column, about in spec.items():
        own = names.get(str(about.get("column", ""))) if isinstance(about, Mapping) and "map" in about else None
        if own is None:
            continue
        numbers = {_plain(name): number for number, name in enumerate(own)}
        pairs = enumerate(about["map"]) if isinstance(about["map"], list) else about["map"].items()
        for key, label in pairs:
            known = numbers.get(_plain(label))
            if known is not None and _text(key) != str(known):
                raise UserError(
                    f"{where}: columns.{column}.map reads {_text(key)} as {label!r}, but this copy of the data set "
                    f"names its labels {', '.join(own)}, so that {known} is {label!r}. Give the map in that order."
                )


def _plain(label: Any) -> str:
    return re.sub(r"[\W_]+", "", str(label)).casefold() or str(label)


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the label names of the columns that have some, of the features of a data set as JSON or as objects."""
    names = {}
    for column, feature in features.items():
        inner = feature
        while inner is not None and not _names(inner):
            inner = inner.get("feature") if isinstance(inner, Mapping) else getattr(inner, "feature", None)
        if inner is not None:
            names[column] = _names(inner)
    return names


def _names(feature: Any) -> list[str]:
    names = feature.get("names") if isinstance(feature, Mapping) else getattr(feature, "names", None)
    return list(names) if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names) else []


def passes(row: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether an upstream row meets every condition (`is`, `is_not`, `prefix`).

    Raises:
      RowError: a condition names a column that the row lacks.
    """
    for column, about in conditions.items():
        text = _text(lookup(row, column, column.split(".")))
        if "is" in about and text not in _texts(about["is"]):
            return False
        if "is_not" in about and text in _texts(about["is_not"]):
            return False
        if "prefix" in about and not text.startswith(about["prefix"]):
            return False
    return True


def lookup(row: Mapping[str, Any], name: str, path: Sequence[str]) -> Any:
    """Return a column by its name, or a nested one by its dotted path.

    A number in the path is a position in a list; a name applied to a list of mappings collects it from each.

    Raises:
      RowError: no such column; the text names the nearest one.
    """
    if name in row:
        return row[name]
    value: Any = row
    for step in path:
        value = _step(value, step, name)
    return value


def _step(value: Any, step: str, name: str) -> Any:
    if isinstance(value, Mapping):
        if step in value:
            return value[step]
        known = [str(key) for key in value if key not in ROW_FACTS]
        raise RowError(f"no upstream column {name!r}; there are: {', '.join(known)}.{nearest(step, known)}")
    if isinstance(value, list):
        if not step.isdigit():
            return [_step(item, step, name) for item in value]
        if int(step) < len(value):
            return value[int(step)]
        raise RowError(f"upstream column {name!r}: the list has only {len(value)} items")
    raise RowError(
        f"upstream column {name!r}: {step!r} is looked for in {value!r}, which is neither a mapping nor a list"
    )


def _text(value: Any) -> str:
    """Return the text by which values are compared: YAML's 0, JSON's 0 and a TSV's "0" are the same label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _texts(value: Any) -> set[str]:
    return {_text(item) for item in value} if isinstance(value, list) else {_text(value)}


def _getter(spec: Any, place: str, type_: str) -> _Getter:
    """Compile one value's specification."""
    if isinstance(spec, str):
        return _column(spec)
    if isinstance(spec, list):
        getters = [_getter(item, f"{place}[{index}]", "") for index, item in enumerate(spec)]
        return lambda row: [get(row) for get in getters]
    if not isinstance(spec, Mapping):
        raise UserError(
            f"{place}: {spec!r} is neither a column name, a list nor a mapping. Constants are {{value: x}}."
        )
    for key in spec:
        if key not in KEYS:
            raise UserError(f"{place}: unknown key {key!r}; known: {', '.join(KEYS)}.{nearest(str(key), KEYS)}")
    if "struct" in type_:
        return _answers(spec, place)
    origins = [key for key in ("column", "template", "value") if key in spec]
    if len(origins) != 1 or spec.keys() & {"text", "start"}:
        raise UserError(f"{place}: exactly one of column, template and value must be given, not {list(spec)}.")
    given = spec[origins[0]]
    if origins[0] != "value" and not isinstance(given, str):
        raise UserError(f"{place}.{origins[0]}: {given!r} is not text.")
    get: _Getter
    if origins[0] == "value":
        get = lambda row: given  # noqa: E731
    else:
        get = _column(given) if origins[0] == "column" else _template(given)
    if "others" in spec and ("map" not in spec or spec["others"] != "keep"):
        raise UserError(f"{place}.others: {spec['others']!r} is not allowed; beside a map it may be: keep.")
    if "lacks" in spec:
        return _lacking(get, spec, place)
    return _mapped(get, spec["map"], "others" in spec, place) if "map" in spec else get


def _column(name: str) -> _Getter:
    path = name.split(".")
    return lambda row: row[name] if name in row else lookup(row, name, path)


def _template(template: str) -> _Getter:
    """Compile text with {columns} in it; white space at its ends goes, as a column may be empty."""
    pieces = _FIELD.split(template)
    columns = [_column(name) for name in pieces[1::2]]

    def get(row: Mapping[str, Any]) -> str:
        texts = list(pieces)
        texts[1::2] = [_text(column(row)) for column in columns]
        return "".join(texts).strip()

    return get


def _mapped(get: _Getter, given: Any, keep_others: bool, place: str) -> _Getter:
    """Compile a map of values; a list is a map of its positions, and lists are mapped item by item."""
    if not isinstance(given, (list, Mapping)) or not given:
        raise UserError(f"{place}.map: {given!r} is neither a mapping of values nor a list of labels.")
    pairs = enumerate(given) if isinstance(given, list) else given.items()
    table = {_text(key): value for key, value in pairs}

    def one(value: Any) -> Any:
        text = _text(value)
        if text in table:
            return table[text]
        if keep_others:
            return value
        raise RowError(
            f"value {value!r} has no entry in the map; it has: {', '.join(table)}.{nearest(text, table)} Hint: rows to "
            "leave out are named under keep, with is_not."
        )

    def mapped(row: Mapping[str, Any]) -> Any:
        value = get(row)
        return [one(item) for item in value] if isinstance(value, list) else one(value)

    return mapped


def _lacking(get: _Getter, spec: Mapping[str, Any], place: str) -> _Getter:
    """Compile a question: whether a text of items between bars (CoNLL-U's MISC) lacks one; lists item by item."""
    item = spec["lacks"]
    if not isinstance(item, str) or not item or "map" in spec:
        raise UserError(f"{place}.lacks: {item!r} is not a text, or a map stands beside it. Name the item alone.")

    def lacking(row: Mapping[str, Any]) -> Any:
        value = get(row)
        lacks = [item not in _text(text).split("|") for text in (value if isinstance(value, list) else [value])]
        return lacks if isinstance(value, list) else lacks[0]

    return lacking


def _answers(spec: Mapping[str, Any], place: str) -> _Getter:
    if set(spec) != {"text", "start"}:
        raise UserError(f"{place}: answers are given by exactly the keys text and start, not {list(spec)}.")
    texts, starts = (_getter(spec[key], f"{place}.{key}", "") for key in ("text", "start"))

    def get(row: Mapping[str, Any]) -> list[dict[str, Any]]:
        columns = [value if isinstance(value, list) else [value] for value in (texts(row), starts(row))]
        if len(columns[0]) != len(columns[1]):
            raise RowError(f"{len(columns[0])} texts but {len(columns[1])} starts")
        return [
            {"text": _string(text, False), "start": _integer(start, False)}
            for text, start in zip(*columns, strict=True)
        ]

    return get


def _check_offsets(context: str, answers: list[dict[str, Any]]) -> None:
    """Refuse an answer that is not where its offset says, with where it is: shifted offsets come from other units."""
    for answer in answers:
        start, text = answer["start"], answer["text"]
        if not text:
            raise RowError("answers: an answer's text is empty; a question without an answer has an empty list")
        if start < 0 or not context.startswith(text, start):
            nearby = min(
                (m.start() for m in re.finditer(re.escape(text), context)), key=lambda s: abs(s - start), default=None
            )
            hint = "the context does not hold it" if nearby is None else f"the nearest occurrence is at {nearby}"
            raise RowError(
                f"answers: {text!r} is not at offset {start} of the context; {hint} (offsets count code points)"
            )


def _name(cluster: str) -> str:
    """Return a cluster's name: a text that names one (a premise, a paragraph) is named by its digest."""
    return cluster if len(cluster) <= _LONGEST else sha256(cluster.encode("utf-8")).hexdigest()[:16]


def _string(value: Any, optional: bool) -> str | None:
    if value is None and optional:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RowError(f"{value!r} is not text")


def _integer(value: Any, optional: bool) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    raise RowError(f"{value!r} is not a whole number")


def _strings(value: Any, optional: bool) -> list[str | None]:
    if isinstance(value, list):
        return [_string(item, False) for item in value]
    raise RowError(f"{value!r} is not a list")


def _booleans(value: Any, optional: bool) -> list[bool] | None:
    if value is None and optional:
        return None
    if isinstance(value, list) and all(isinstance(item, bool) for item in value):
        return value
    raise RowError(f"{value!r} is not a list of true and false")


_CONVERTERS: dict[str, Callable[[Any, bool], Any]] = {
    "string": _string,
    "int32": _integer,
    "list<string>": _strings,
    "list<bool>": _booleans,
    "list<struct<text: string, start: int32>>": lambda value, optional: value,
}
