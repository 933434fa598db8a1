"""Mewsli-X as its own script writes it: mentions of entities in WikiNews, pairs of Wikipedia, and the entities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError
from .tables import jsonl

_BRACES = re.compile(r"\{(.*?)\}")


def rows(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, row) of wikinews_mentions, wikipedia_pairs or candidate_set_entities.

    A row has, as far as the file does: `id` (of the mention), `language` (of its document), `mention`, `entity_id` and
    `description`. One line of WikiNews is an article, and gives a row a mention.

    Raises:
      UserError: a line of another shape, or a mention that is in no sentence.
    """
    for number, line in jsonl(path, {}):
        try:
            if "mentions" in line:
                for mention in line["mentions"]:
                    yield number, _mention(line["context"], mention)
            elif "contextual_mention" in line:
                within = line["contextual_mention"]
                yield number, {**_mention(within["context"], within["mention"]), "description": _entity(line["entity"])}
            else:
                yield number, {"entity_id": line["entity_id"], "description": _entity(line)}
        except KeyError as error:
            raise UserError(f"{path}, line {number}: {error} is missing; this is no line of Mewsli-X.") from None
        except _NoSentenceError as error:
            raise UserError(f"{path}, line {number}: the mention {error} is in no sentence of its text.") from None


class _NoSentenceError(Exception):
    pass


def _mention(context: Mapping[str, Any], mention: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": mention["example_id"],
        "language": context["language"],
        "mention": marked(context, mention["mention_span"]),
        "entity_id": mention["entity_id"],
    }


def marked(context: Mapping[str, Any], span: Mapping[str, Any]) -> str:
    """Return a mention and its sentence, in which it stands in braces: "Smith: The verdict for { Smith } came back."

    That is how XTREME-R's baseline writes it: the mention comes first lest a long sentence be cut before it; pairs of
    braces of the text itself become round brackets.
    """
    text, start, end = context["text"], span["start"], span["end"]
    for sentence in context["sentence_spans"]:
        if sentence["start"] <= start and end <= sentence["end"]:
            left = _BRACES.sub(r"(\1)", text[sentence["start"] : start])
            right = _BRACES.sub(r"(\1)", text[end : sentence["end"]])
            return _one_line(f"{text[start:end]}: {left} {{ {text[start:end]} }} {right}")
    raise _NoSentenceError(repr(span.get("text", text[start:end])))


def _entity(entity: Mapping[str, Any]) -> str:
    text = entity["description"]
    return _one_line(" ".join(text[span["start"] : span["end"]] for span in entity["sentence_spans"]))


def _one_line(text: str) -> str:
    """Join lines, and make two spaces one, as XTREME-R's baseline does."""
    return " ".join(text.splitlines()).replace("  ", " ").strip()
