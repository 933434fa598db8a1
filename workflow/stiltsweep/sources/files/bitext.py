"""Two monolingual files and the pairs among their sentences: BUCC as published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from .text import lines

COLUMNS = {"id": "id", "side": "side", "text": "text", "gold": "gold"}


def rows(paths: Sequence[Path], settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number of the sentence, sentence): the queries, most of which have no pair, then the candidates.

    Args:
      paths: queries and candidates, both id TAB sentence, and the pairs, query's id TAB candidate's id.
      settings: none.

    Raises:
      UserError: not three files, a line that is not two columns, or a pair of an unknown query.
    """
    if len(paths) != 3:
        raise UserError(f"{paths[0]}: {len(paths)} files; bitext reads three: queries, candidates and gold pairs.")
    queries, candidates, pairs = paths
    gold: dict[str, list[str]] = {}
    for query, candidate in _columns(pairs):
        gold.setdefault(query, []).append(candidate)
    number = 0
    for path, side in ((queries, "query"), (candidates, "candidate")):
        for identity, text in _columns(path):
            number += 1
            right = gold.pop(identity, []) if side == "query" else []
            yield number, {"id": identity, "side": side, "text": text, "gold": right}
        if gold and side == "query":
            raise UserError(f"{pairs}: the query {next(iter(gold))!r} is not in {queries}.")


def _columns(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in lines(path):
        first, tab, second = line.partition("\t")
        if not tab or not first.strip() or not second.strip():
            raise UserError(f"{path}, line {number}: {line[:40]!r} is not two columns separated by a tab.")
        yield first.strip(), second.strip()
