"""Plain text out of installed packages, for vocabularies and continued pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import UserError
from . import django_messages
from . import origin as origin


def texts(corpus: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a corpus in a fixed order, language by language, each text once per language.

    Args:
      corpus: `builder` (only "messages": Django's messages, their English originals under "en"), `packages` with exact
        versions, and `locales` as the package names them.

    Raises:
      UserError: another builder, or a package is missing or has another version.
    """
    if corpus.get("builder") != "messages" or not corpus.get("locales"):
        raise UserError("source.corpus: builder must be 'messages', with a list of Django's `locales`.")
    origin({"source": corpus})
    for locale in corpus["locales"]:
        table = django_messages.catalogue(locale)
        yield from sorted({" ".join(text.split()) for text in table.values()} - {""})
