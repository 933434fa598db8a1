"""The configuration of a sweep: checked against its schema, then against the catalogue it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from . import catalog as catalogs
from .catalog import Catalog
from .errors import UserError, nearest
from .schema import check, check_training

BASELINE = "none"
"""The arm without an intermediate task."""


def resolve(config: Mapping[str, Any], where: str = "config") -> tuple[dict[str, Any], Catalog]:
    """Check a configuration, fill its defaults in, and read the catalogue it names.

    Args:
      config: what YAML (and `--config`) gave.
      where: the file, for error texts.

    Raises:
      UserError: the first thing wrong, with key, value, what is allowed and a hint.
    """
    settings = check(dict(config), "config", where)
    check_training(settings["training"], f"{where}: training")
    folder = PurePath(settings["results"])
    if ".." in folder.parts or settings["results"].startswith("~"):
        raise UserError(
            f"{where}: results: {settings['results']!r} climbs out of the working directory. Name a folder."
        )
    catalog = catalogs.read([Path(folder) for folder in settings["catalog"]])
    _names(settings["models"], catalog.models, f"{where}: models")
    _names([i for i in settings["intermediates"] if i != BASELINE], catalog.intermediates, f"{where}: intermediates")
    _names(settings["targets"], catalog.targets, f"{where}: targets")
    settings["targets"] = {
        name: _languages(wanted, catalog, name, f"{where}: targets.{name}")
        for name, wanted in settings["targets"].items()
    }
    for column in [settings["families"], *settings["significance"]["groupings"]]:
        if column not in catalog.languages.columns:
            hint = nearest(column, catalog.languages.columns)
            raise UserError(
                f"{where}: {column!r} is not a column of languages.csv: {', '.join(catalog.languages.columns)}.{hint}"
            )
    return settings, catalog


def _names(wanted: Any, known: Mapping[str, Any], where: str) -> None:
    for name in wanted:
        if name not in known:
            raise UserError(f"{where}: {name!r} is unknown; known: {', '.join(sorted(known))}.{nearest(name, known)}")


def _languages(wanted: Any, catalog: Catalog, target: str, where: str) -> list[str]:
    offered = catalog.targets[target].languages
    if wanted == "all":
        return list(offered)
    for language in wanted:
        if language not in offered:
            hint = nearest(language, offered)
            raise UserError(f"{where}: language {language!r} is not on offer; on offer: {', '.join(offered)}.{hint}")
    return list(wanted)
