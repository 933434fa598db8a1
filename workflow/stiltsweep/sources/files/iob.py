"""One token and its tag a line, blank lines between sentences: CoNLL-2003, MasakhaNER, Universal NER, PAN-X, CCG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from .text import blocks

COLUMNS = {"id": "$row", "tokens": "tokens", "tags": "tags"}
_DOCUMENT = "-DOCSTART-"
_PREFIXES = {"iob2": ("B-", "I-"), "iob1": ("B-", "I-"), "iobes": ("B-", "I-", "E-", "S-")}


def rows(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line of its first token, sentence): tokens, tags (IOB2 or plain), and its `# key = value` comments.

    Raises:
      UserError: a line lacks a column, a prefix or a well-formed tag; names file and line.
    """
    separator, prefix, scheme = settings.get("separator"), settings.get("token_prefix", ""), settings["scheme"]
    for block in blocks(path):
        sentence: dict[str, Any] = {}
        tokens: list[str] = []
        tags: list[str] = []
        first = 0
        for number, line in block:
            # Only where asked for: a token may well be "#".
            if settings["comments"] and line.startswith("#"):
                comment = line[1:].strip()
                # "# sent_id = 7" of Universal NER, else "# id 7 domain=en" of MultiCoNER.
                key, _, value = comment.partition(" = " if " = " in comment else " ")
                sentence[key.strip()] = value.strip()
                continue
            fields = line.split(separator or ("\t" if "\t" in line else " "))
            token = _field(fields, settings["token_field"], path, number)
            if token == _DOCUMENT:
                continue
            tag = _field(fields, settings["tag_field"], path, number)
            if not token.startswith(prefix):
                raise UserError(f"{path}, line {number}: token {token!r} does not begin with the prefix {prefix!r}.")
            if scheme != "plain" and tag != "O" and tag[:2] not in _PREFIXES[scheme]:
                raise UserError(
                    f"{path}, line {number}: {tag!r} is no {scheme} tag. Check tag_field, scheme and "
                    f"separator; the line has {len(fields)} columns."
                )
            first = first or number
            tokens.append(token.removeprefix(prefix))
            tags.append(tag)
        if tokens:
            yield first, {**sentence, "tokens": tokens, "tags": _CONVERTERS[scheme](tags)}


def _field(fields: Sequence[str], position: int, path: Path, number: int) -> str:
    index = position - 1 if position > 0 else len(fields) + position
    if position == 0 or not 0 <= index < len(fields) or (len(fields) == 1):
        raise UserError(f"{path}, line {number}: {len(fields)} columns, column {position} is asked for (from 1).")
    return fields[index]


def _from_iob1(tags: Sequence[str]) -> list[str]:
    """IOB1 writes B- only between neighbouring entities of one type; IOB2 begins each entity with it."""
    renamed = []
    before = "O"
    for tag in tags:
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        renamed.append(f"B-{tag[2:]}" if begins else tag)
        before = tag
    return renamed


def _from_iobes(tags: Sequence[str]) -> list[str]:
    return [{"S": "B", "E": "I"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]


_CONVERTERS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "plain": list,
    "iob2": list,
    "iob1": _from_iob1,
    "iobes": _from_iobes,
}
