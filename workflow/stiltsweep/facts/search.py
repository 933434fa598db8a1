"""Kinds whose rows are queries and candidates in one file: retrieval and mining.

`gold` holds the ids of a query's right candidates, and is empty for a candidate. In mining most queries have none; the
threshold is tuned on dev.
"""

from __future__ import annotations

from .base import Facts, Row, blank

_COLUMNS = {"side": "string", "text": "string", "gold": "list<string>"}


def _retrieval_fault(row: Row, labels: set[str]) -> str:
    if row["side"] == "query" and not row["gold"]:
        return "a query needs at least one gold id"
    return _mining_fault(row, labels)


def _mining_fault(row: Row, labels: set[str]) -> str:
    if row["side"] not in ("query", "candidate"):
        return f"side is {row['side']!r}, allowed: query, candidate"
    return "text is empty" if blank(row["text"]) else ""


RETRIEVAL = Facts(_COLUMNS, _retrieval_fault, sided=True, paired=True)
MINING = Facts(_COLUMNS, _mining_fault, sided=True, tunes_on_dev=True)
