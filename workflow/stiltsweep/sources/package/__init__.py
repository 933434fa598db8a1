"""Tasks read out of installed packages and a table here: nothing is downloaded, the same versions give the same bytes.

A task's `source` names a `builder` of this package, the `packages` it reads with their exact versions, the `sizes` of
its splits, and the builder's own keys. Every builder takes (task definition, language) and yields rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

from ...errors import UserError, nearest
from ...records import Row
from . import commands, django_messages, emoji_names, localisation

Definition = Mapping[str, Any]
Builder = Callable[[Definition, str], Iterator[Row]]

BUILDERS: dict[str, tuple[Builder, frozenset[str]]] = {
    # builder -> (function, the keys of `source` it reads beside the common ones)
    "intent": (commands.intent, commands.INTENT_KEYS),
    "slots": (commands.slots, commands.SLOTS_KEYS),
    "questions": (commands.questions, commands.QUESTIONS_KEYS),
    "reply_choice": (commands.reply_choice, commands.REPLY_KEYS),
    "reply_match": (commands.reply_match, commands.REPLY_KEYS),
    "name_types": (localisation.name_types, localisation.KEYS),
    "messages": (django_messages.messages, django_messages.KEYS),
    "topics": (emoji_names.topics, emoji_names.KEYS),
    "naming": (emoji_names.naming, emoji_names.KEYS),
    "keyword_choice": (emoji_names.keyword_choice, emoji_names.KEYWORD_KEYS),
    "message_texts": (django_messages.texts, django_messages.TEXT_KEYS),
}
_OPTIONAL = frozenset({"fits_too"})
"""Keys that may be left out."""
_COMMON = frozenset({"type", "builder", "packages", "sizes"})


def read(definition: Definition, language: str) -> Iterator[Row]:
    """Yield a packaged task's rows in one language, split by split, in a fixed order.

    Raises:
      UserError: the source has an unknown or missing key, or a package is missing or has another version.
    """
    source = definition["source"]
    builder = source.get("builder")
    if builder not in BUILDERS:
        raise UserError(
            f"source.builder: {builder!r} is unknown; known: {', '.join(BUILDERS)}.{nearest(str(builder), BUILDERS)}"
        )
    function, own = BUILDERS[builder]
    known = sorted(_COMMON | own)
    for key in source:
        if key not in known:
            raise UserError(f"source: unknown key {key!r}; {builder} reads: {', '.join(known)}.{nearest(key, known)}")
    for key in known:
        if key not in source and key not in _OPTIONAL:
            raise UserError(f"source: the key {key!r} is missing; {builder} reads: {', '.join(known)}.")
    origin(definition)
    return function(definition, language)


def origin(definition: Definition) -> dict[str, Any]:
    """Return what to record of the rows' origin: builder and package versions.

    Raises:
      UserError: a package is missing or is not the pinned version.
    """
    packages: Mapping[str, str] = definition["source"].get("packages") or {}
    for name, wanted in packages.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if installed != wanted:
            raise UserError(
                f"source.packages: {name} is {installed}, this task is made from {wanted}. "
                f"Hint: pip install {name}=={wanted}"
            )
    return {"type": "package", "builder": definition["source"]["builder"], "packages": dict(packages)}
