"""Names of things in many languages, from the Unicode locale data (CLDR) that the package Babel holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import UserError, nearest
from ...languages import ENGLISH
from ...records import SPLITS, Row
from .home_assistant import digest

KEYS = frozenset({"types"})

_TABLES = {"territory": "territories", "language": "languages", "currency": "currencies", "script": "scripts"}
TYPES = (*_TABLES, "city")


def name_types(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Which type of thing a name names: classification of one text, types equally often.

    A thing (a territory code, a currency code ...) is in one split only, whatever the language; a name that two types
    share is left out. English has all splits asked for, another language the test split alone.

    Raises:
      UserError: an unknown type.
    """
    source = definition["source"]
    for kind in source["types"]:
        if kind not in TYPES:
            raise UserError(f"source.types: {kind!r} is unknown; known: {', '.join(TYPES)}.{nearest(kind, TYPES)}")
    names = {kind: _names(language, kind) for kind in source["types"]}
    shared = Counter(name.casefold() for of_kind in names.values() for name in set(of_kind.values()))
    sizes: Mapping[str, int] = source["sizes"]
    share = sum(sizes.values())
    for split in SPLITS:
        if split not in sizes or (language != ENGLISH and split != "test"):
            continue
        rows: list[Row] = []
        below = sum(sizes.get(other, 0) for other in SPLITS[: SPLITS.index(split)])
        for index, kind in enumerate(source["types"]):
            wanted = sizes[split] // len(names) + (index < sizes[split] % len(names))
            seen: set[str] = set()
            for key in sorted(names[kind], key=lambda k: digest(f"{kind} {k}")):
                name = names[kind][key]
                here = below <= digest(f"split {kind} {key}") % share < below + sizes[split]
                if not here or shared[name.casefold()] > 1 or name in seen or len(seen) == wanted:
                    continue
                seen.add(name)
                rows.append({"id": f"{kind}-{key}", "split": split, "text_a": name, "label": kind})
        random.Random(f"names order {language} {split}").shuffle(rows)
        yield from rows


def _names(language: str, kind: str) -> dict[str, str]:
    """Return code -> name of one type, without names that are only the code again or explain themselves in brackets."""
    from babel import Locale

    locale = Locale.parse(language)
    if kind == "city":
        names = _cities(language)
    else:
        table: Mapping[str, str] = getattr(locale, _TABLES[kind])
        names = {key: name for key, name in table.items() if "_" not in key and not key.isdigit()}
    return {key: name for key, name in names.items() if isinstance(name, str) and name != key and "(" not in name}


def _cities(language: str) -> dict[str, str]:
    """Return time zone -> its city; in English CLDR names it only where the zone's own name does not."""
    from babel import Locale
    from babel.core import get_global

    named = {zone: about["city"] for zone, about in Locale.parse(language).time_zones.items() if "city" in about}
    if language != ENGLISH:
        return named
    zones = (zone for zone, territory in get_global("zone_territories").items() if territory != "001")
    return {zone: zone.rpartition("/")[2].replace("_", " ") for zone in zones if "/" in zone} | named
