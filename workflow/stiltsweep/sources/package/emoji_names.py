"""Names and keywords of emoji in many languages, from the Unicode locale data (CLDR): one table in this project.

`annotations/names.tsv` has one item a line: its code points, Unicode's group and subgroup, the cluster of items that
are variants of one thing, the part of the data it belongs to, its English keywords, and its name in every language as
published. `workflow/scripts/annotations.py` makes it from the published packages and says what was left out. The part
of an item is a column and not a setting, so no task of any size or language trains on what another tests.
"""

from __future__ import annotations

import csv
import random
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regex

from ...errors import UserError, nearest
from ...languages import ENGLISH
from ...records import SPLITS, Row
from .home_assistant import digest

KEYS = frozenset({"groups"})
KEYWORD_KEYS = frozenset({"keywords"})
TABLE = Path(__file__).parent / "annotations" / "names.tsv"

LEFT = "intermediate"
"""The part of the items that no target has; the other parts are named like its splits."""
ABOUT = ("item", "group", "subgroup", "cluster", "part", "keywords")
"""Columns of the table before those of the languages."""
KEYWORD_STOP = "|"
CHOICES = 4
"""Sets of keywords in a row of `keyword_choice`, one of them right."""

_HIDDEN = regex.compile(r"[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
"""Zero-width spaces, marks of direction and soft hyphens; joiners stay, Persian spells with them."""
_BRACKETS = regex.compile(r"\s*[(\[（][^()\[\]（）]*[)\]）]")
_SLASH = regex.compile(r"(?<=\p{L})\s*/\s*\S+")


@dataclass(frozen=True)
class Item:
    """One emoji: what the table says of it, and its name in one language and in English."""

    id: str
    group: str
    cluster: str
    part: str
    keywords: tuple[str, ...]
    english: str
    name: str


def clean(name: str) -> str:
    """Return a published name without explanations in brackets, second forms and characters that nobody sees.

    German *Student(in)* and Hebrew *סטודנט/ית* keep their first form.
    """
    shown = _HIDDEN.sub("", unicodedata.normalize("NFC", name))
    return " ".join(_SLASH.sub("", _BRACKETS.sub("", shown)).split())


@cache
def items(language: str) -> tuple[Item, ...]:
    """Return every item with its cleaned name in a language, in Unicode's order.

    Raises:
      UserError: the table has no such language.
    """
    with open(TABLE, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        offered = [name for name in reader.fieldnames or () if name not in ABOUT]
        if language not in offered:
            raise UserError(
                f"names of emoji: none in language {language!r}; there are: {', '.join(offered)}."
                f"{nearest(language, offered)} Add a row to languages.csv and run workflow/scripts/annotations.py."
            )
        return tuple(
            Item(
                id=line["item"],
                group=line["group"],
                cluster=line["cluster"],
                part=line["part"],
                keywords=tuple(line["keywords"].split(KEYWORD_STOP)),
                english=clean(line[ENGLISH]),
                name=clean(line[language]),
            )
            for line in reader
        )


def topics(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Which of Unicode's groups a thing is in, by its name: classification of one text, groups equally often in test.

    An id is the same thing in every language.
    """
    for split in SPLITS:
        if split not in definition["languages"][language]:
            continue
        for item in _chosen(definition, language, split):
            yield {"id": item.id, "split": split, "text_a": item.name, "label": item.group, "cluster": item.cluster}


def naming(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Find the English name that a name translates, or the other way round: retrieval, test only.

    The items are those that `topics` tests; none has a name in any language that is its English name or nearly.
    """
    for side in ("query", "candidate"):
        for item in _chosen(definition, language, "test"):
            text, gold = (item.name, [item.id]) if side == "query" else (item.english, [])
            yield {"id": item.id, "split": "test", "side": side, "text": text, "gold": gold, "cluster": item.cluster}


def keyword_choice(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Which of four sets of keywords fits a name: multiple choice, on items that no target trains on or tests.

    Keywords that are words of the name are left out, and no wrong set has a keyword of the right item.
    """
    source = definition["source"]
    shown = {
        item: text
        for item in items(language)
        if item.part == LEFT and (text := _shown(item, source["keywords"])) is not None
    }
    pool = sorted(shown, key=lambda item: digest(f"keywords {item.id}"))
    rng = random.Random("keywords")
    rows: list[Row] = []
    for item in pool:
        choices = [shown[item]]
        for other in rng.sample(pool, len(pool)):
            told = other.cluster != item.cluster and not set(other.keywords) & set(item.keywords)
            if told and shown[other] not in choices and len(choices) < CHOICES:
                choices.append(shown[other])
        right = choices[0]
        rng.shuffle(choices)
        label = choices.index(right)
        rows.append({"id": item.id, "context": item.name, "choices": choices, "label": label, "cluster": item.cluster})
    # Variants of one thing stay together: dev takes whole clusters, and training what is left.
    sizes = source["sizes"]
    dev: set[str] = set()
    for row in rows:
        if sum(other["cluster"] in dev for other in rows) < sizes["dev"]:
            dev.add(row["cluster"])
    train = [row for row in rows if row["cluster"] not in dev]
    for split, chosen in (("train", train), ("dev", [row for row in rows if row["cluster"] in dev])):
        for row in chosen[: sizes[split]]:
            yield {**row, "split": split}


def _chosen(definition: Mapping[str, Any], language: str, split: str) -> list[Item]:
    """Return a split's items, as many of each group as the size of the split allows, in an order without meaning.

    Raises:
      UserError: a group that the table does not have.
    """
    source = definition["source"]
    groups: list[str] = source["groups"]
    known = sorted({item.group for item in items(language)})
    for group in groups:
        if group not in known:
            raise UserError(f"source.groups: {group!r} is unknown; known: {', '.join(known)}.{nearest(group, known)}")
    ranked = sorted(
        (item for item in items(language) if item.part == split), key=lambda item: digest(f"{split} {item.id}")
    )
    each = source["sizes"][split] // len(groups)
    kept = {item.id for group in groups for item in [one for one in ranked if one.group == group][:each]}
    return [item for item in ranked if item.id in kept]


def _shown(item: Item, most: int) -> str | None:
    """Return up to `most` keywords as one text, without those that share a word with the name; None below two."""
    words = set(regex.findall(r"\w+", item.name.casefold()))
    kept = [word for word in item.keywords if not words & set(regex.findall(r"\w+", word.casefold()))]
    return ", ".join(kept[:most]) if len(kept) > 1 else None
