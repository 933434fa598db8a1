"""Messages of a web framework in many languages, from the translation catalogues of the package Django."""

from __future__ import annotations

import gettext
import hashlib
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...records import Row
from .home_assistant import digest

KEYS = frozenset({"words", "locales", "leave_out"})
TEXT_KEYS = frozenset({"words", "locales", "digests_from"})

_PLACEHOLDER = re.compile(r"%\(\w+\)[sdr]|%[sdr]|%%")
_TAG = re.compile(r"<[^<>]+>")
_QUOTE = re.compile(r"[“”„«»‘’‹›「」`]|(?<!\w)\"|\"(?!\w)")
"""Quotation marks; a straight one within a word is a letter's (Hebrew abbreviations)."""
_PAIR = re.compile(r"(?<!\w)'([^']*)'(?!\w)")
"""Apostrophes that quote; others are left out letters."""


def messages(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Find the English message a translated one says: retrieval, test only.

    The messages are those translated in every language the task offers, so all languages share ids and candidates. An
    id is made from the English message alone: it survives another version with more messages. What is filled into a
    message at run time is written as an ellipsis; mark-up and quotation marks are removed, as they give pairs away.
    Messages that `leave_out` lists by id are not asked.
    """
    source = definition["source"]
    least, most = source["words"]
    tables = {code: catalogue(source["locales"].get(code, code)) for code in sorted(definition["languages"])}
    everywhere = sorted(set.intersection(*map(set, tables.values())))
    pool = [key for key in everywhere if least <= len(key.split()) <= most and _name(key) not in source["leave_out"]]
    english = {key: _clean(key) for key in pool}
    foreign = {code: {key: _clean(table[key]) for key in pool} for code, table in tables.items()}
    # A text that two messages share, in any language, has no one right answer; one left in English asks nothing.
    for texts in (english, *foreign.values()):
        common = Counter(text.casefold() for text in texts.values())
        pool = [key for key in pool if common[texts[key].casefold()] == 1 and len(texts[key]) > 3]
    pool = [
        key
        for key in pool
        if all(texts[key].casefold() != english[key].casefold() for texts in foreign.values())
        and sum(word.isalpha() for word in re.findall(r"\w+", english[key])) >= least
    ]
    chosen = sorted(sorted(pool, key=digest)[: source["sizes"]["test"]])
    for side in ("query", "candidate"):
        for key in chosen:
            name = _name(key)
            text, gold = (foreign[language][key], [name]) if side == "query" else (english[key], [])
            yield {"id": name, "split": "test", "side": side, "text": text, "gold": gold}


def texts(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Messages in one language as plain text, for language modelling: dev and training.

    `messages` asks for those with the smallest digests. Here only messages whose digest lies above a share of all
    (`digests_from`) are read, so that a model is not trained on the texts that it is asked to find.
    """
    source = definition["source"]
    least, most = source["words"]
    table = catalogue(source["locales"].get(language, language))
    floor = int(source["digests_from"] * 2**64)
    pool = [key for key in table if least <= len(key.split()) <= most and digest(key) >= floor]
    key_of: dict[str, str] = {}
    for key in sorted(pool, key=digest):
        key_of.setdefault(_clean(table[key]), key)
    rows = [(_name(key), text) for text, key in key_of.items() if text]
    sizes = source["sizes"]
    for split, chosen in (("train", rows[sizes["dev"] :][: sizes["train"]]), ("dev", rows[: sizes["dev"]])):
        for name, text in chosen:
            yield {"id": name, "split": split, "text": text}


def _name(key: str) -> str:
    """Return a message's id, made from the English message alone."""
    return hashlib.sha256(key.encode("utf-8")).hexdigest()[:12]


def _clean(text: str) -> str:
    text = _PAIR.sub(r" \1 ", _QUOTE.sub(" ", _TAG.sub(" ", _PLACEHOLDER.sub("…", text))))
    return re.sub(r"\s+([.,:;?!])", r"\1", " ".join(text.split()))


@cache
def catalogue(locale: str) -> Mapping[str, str]:
    """Return message -> translation over all of Django's applications; the first of two translations wins.

    The locale "en" has the messages themselves, those that are translated into German: Django holds no list of them.
    """
    if locale == "en":
        return {key: key for key in catalogue("de")}
    spec = importlib.util.find_spec("django")
    assert spec is not None and spec.origin is not None  # the version was checked before
    root = Path(spec.origin).parent
    messages: dict[str, str] = {}
    for path in sorted(root.glob(f"**/locale/{locale}/LC_MESSAGES/*.mo")):
        with path.open("rb") as handle:
            entries: Mapping[Any, Any] = gettext.GNUTranslations(handle)._catalog  # type: ignore[attr-defined]
        for key, value in entries.items():
            if isinstance(key, str) and isinstance(value, str) and key and value:
                messages.setdefault(key.rpartition("\x04")[2], value)
    return messages
