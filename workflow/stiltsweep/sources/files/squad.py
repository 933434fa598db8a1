"""SQuAD JSON, versions 1 and 2: SQuAD, XQuAD, MLQA and TyDiQA-GoldP as published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import unique

COLUMNS = {
    "id": "id",
    "cluster": "context",
    "context": "context",
    "question": "question",
    "answers": {"text": "answers.text", "start": "answers.answer_start"},
}


def rows(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number of the question, question): its keys and those of its paragraph and article.

    `paragraph_number` counts the file's paragraphs from 1.

    The file is one JSON value and is read whole: about ten times its size in memory, 0.4 GB for SQuAD 2.0 train.

    Raises:
      UserError: not JSON of this shape; the text names the place.
    """
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=unique)
    except KeyError as error:
        raise UserError(f"{path}: the key {error} stands twice in one object. Keep one of them.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}).") from None
    number = paragraphs = 0
    for a, article in enumerate(_list(document, "data", path, "the document")):
        for p, paragraph in enumerate(_list(article, "paragraphs", path, f"data[{a}]")):
            paragraphs += 1
            shared = {key: value for key, value in {**article, **paragraph}.items() if key not in ("paragraphs", "qas")}
            shared["paragraph_number"] = paragraphs
            for question in _list(paragraph, "qas", path, f"data[{a}].paragraphs[{p}]"):
                number += 1
                if not isinstance(question, dict):
                    raise UserError(f"{path}, question {number}: {question!r} is not a JSON object.")
                yield number, {**shared, **question}


def _list(value: Any, key: str, path: Path, place: str) -> list[Any]:
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise UserError(f"{path}: {place} lacks the list {key!r}. SQuAD JSON is data[].paragraphs[].qas[].")
    return items
