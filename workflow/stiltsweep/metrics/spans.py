"""Statistics of tagging: chunks as seqeval reads them, tokens, and mT5's typed strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Chunk = tuple[str, int, int]
"""(type, first token, last token), both inclusive."""

_PREFIXES = ("B-", "I-", "E-", "S-")


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """Return the chunks of one sentence under seqeval's default (lenient, conlleval) reading.

    A tag's first character is its position (B I E S O). What follows "B-", "I-", "E-" or "S-" is its type; any other
    tag is a type of its own, so bare parts of speech are read too: neighbouring equal tags merge into one chunk, and a
    bare tag beginning with B, S or E is a chunk of one token each. That is how XTREME's evaluate.py scores UD POS, with
    seqeval 0.0.12 of its time (see `token_statistics` for accuracy).

    seqeval 1.2 reads bare tags in another way: it takes the first letter off, so that CCONJ and SCONJ are one type.
    0.0.12 in turn takes what follows a tag's last hyphen for its type ("B-art-film" is a film); here that holds only
    of tags that do not begin with a position and a hyphen, and others keep their whole type, as in 1.2.
    """
    ended: list[Chunk] = []
    start = 0
    last_position, last_type = "O", "O"
    for index, tag in enumerate([*tags, "O"]):
        position, kind = tag[:1], _type(tag)
        if _ends(last_position, position, last_type, kind):
            ended.append((last_type, start, index - 1))
        if _starts(last_position, position, last_type, kind):
            start = index
        last_position, last_type = position, kind
    return ended


def _type(tag: str) -> str:
    return tag[2:] if tag[:2] in _PREFIXES else tag.rsplit("-", maxsplit=1)[-1]


def _ends(last: str, this: str, last_type: str, this_type: str) -> bool:
    if last in "ES":
        return True
    if last in "BI" and this in "BSO":
        return True
    return last not in "O." and last_type != this_type


def _starts(last: str, this: str, last_type: str, this_type: str) -> bool:
    if this in "BS":
        return True
    if last in "ESO" and this in "EI":
        return True
    return this not in "O." and last_type != this_type


def _f1_counts(gold: Counter[Any], predicted: Counter[Any]) -> tuple[float, float, float]:
    hits = (gold & predicted).total()
    return float(hits), float(predicted.total() - hits), float(gold.total() - hits)


def _tags(prediction: Any) -> Sequence[str]:
    """Return the tags of a prediction; models that write text predict `tags` and `spans`."""
    tags: Sequence[str] = prediction["tags"] if isinstance(prediction, Mapping) else prediction
    return tags


def span_statistics(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (tp, fp, fn) of exact chunks; a prediction shorter than the sentence misses the words it lost."""
    tags = _tags(prediction)
    padded = [*tags, *("O" for _ in range(len(gold["tags"]) - len(tags)))]
    return _f1_counts(Counter(chunks(gold["tags"])), Counter(chunks(padded)))


def token_statistics(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (tokens, correct); truncated words count as wrong, whatever their gold tag is."""
    tags = gold["tags"]
    return float(len(tags)), float(sum(a == b for a, b in zip(tags, _tags(prediction), strict=False)))


def surface_statistics(gold: Mapping[str, Any], prediction: Any, language: str) -> tuple[float, ...]:
    """Return (tp, fp, fn) of typed strings, as bags; tags are read as the strings they mark.

    Source: multilingual-t5's `span_f1`, which compares lists of "TYPE: text" strings and uses up a gold string with
    each hit. It drops strings whose text holds a colon from both sides; here they count. It cannot be compared with
    seqeval's F1, which knows positions.
    """
    spans = prediction["spans"] if isinstance(prediction, Mapping) else _strings(gold, prediction)
    wanted = Counter(_strings(gold, gold["tags"]))
    return _f1_counts(wanted, Counter((kind, text) for kind, text in spans))


def _strings(row: Mapping[str, Any], tags: Sequence[str]) -> list[tuple[str, str]]:
    """Return the (type, text) pairs that tags mark in a row's sentence."""
    tokens = row["tokens"]
    spaces = row.get("space_after") or [True] * len(tokens)
    words = [token + " " * bool(space) for token, space in zip(tokens, spaces, strict=True)]
    return [(kind, "".join(words[first : last + 1]).strip()) for kind, first, last in chunks(tags)]
