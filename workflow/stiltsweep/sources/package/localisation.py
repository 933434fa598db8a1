"""Names of things in many languages, from the Unicode locale data (CLDR) that the package Babel holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import UserError, nearest
from ...languages import SOURCE_LANGUAGE
from ...records import SPLITS, Row
from .home_assistant import digest

KEYS = frozenset({"types"})

TYPES = ("territory", "language", "currency", "script", "city")


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
        if split not in sizes or (language != SOURCE_LANGUAGE and split != "test"):
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
    from babel.core import get_global

    locale = Locale.parse(language)
    cities: dict[str, str] = {}
    if language == SOURCE_LANGUAGE:
        # CLDR names a time zone's city in English only where the zone's own name does not.
        zones = (zone for zone, territory in get_global("zone_territories").items() if territory != "001")
        cities = {zone: zone.rpartition("/")[2].replace("_", " ") for zone in zones if "/" in zone}
    found: Mapping[str, str] = {
        "territory": lambda: {k: v for k, v in locale.territories.items() if k.isalpha()},
        "language": lambda: {k: v for k, v in locale.languages.items() if "_" not in k},
        "currency": lambda: locale.currencies,
        "script": lambda: locale.scripts,
        "city": lambda: cities | {k: v["city"] for k, v in locale.time_zones.items() if "city" in v},
    }[kind]()
    return {key: name for key, name in found.items() if isinstance(name, str) and name != key and "(" not in name}
