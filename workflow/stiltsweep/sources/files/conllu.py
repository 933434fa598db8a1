"""CoNLL-U, the format of Universal Dependencies (universaldependencies.org/format.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import feats
from ...errors import UserError
from .text import blocks

_WORDS = {"id": "sent_id", "tokens": "tokens", "space_after": "space_after"}
COLUMNS = {
    "tagging": {**_WORDS, "tags": "upos"},
    "word_features": {**_WORDS, "features": "feats", "contracted": "contracted"},
}

PRECEDENCE: Sequence[str] = (
    *("VERB", "NOUN", "PROPN", "PRON", "ADJ", "NUM", "ADV", "INTJ"),
    *("AUX", "ADP", "DET", "PART", "CCONJ", "SCONJ", "X", "PUNCT"),
)
"""Which tag wins between words as near to the root, in the order of the XTREME conversion (ud-conversion-tools')."""
OF_LANGUAGES: Mapping[str, Sequence[str]] = {
    "es": ["VERB", "AUX", "PRON", "ADP", "DET"],
    "fr": ["VERB", "AUX", "PRON", "NOUN", "ADJ", "ADV", "ADP", "DET", "PART", "SCONJ", "CONJ"],
    "it": ["VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"],
}
"""The lists that it has for single languages. It stops at a tag that its list lacks; here such a tag comes last."""
FUNCTION_WORDS = frozenset(("aux", "case", "clf", "cop", "det", "mark"))
"""Relations of function words, which say of the word above them what other languages say by its ending."""
_FIELDS = 10
_NO_SPACE = "SpaceAfter=No"


def rows(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line of its first token, sentence): tokens, upos, xpos, feats, space_after, contracted, and comments.

    Comments are `# key = value`. Empty nodes (8.1) are no words of the sentence and are left out. Multi-word tokens
    (3-4) either give way to their syntactic words (no space between those) or replace them (`words: fused`);
    `contracted` is true of what comes of them either way.

    Raises:
      UserError: a line has another number of columns, the words are not numbered from 1, or multi-word tokens are not
        ranges of them one after the other; names file and line.
    """
    fused = settings["words"] == "fused"
    precedence = settings.get("precedence") or OF_LANGUAGES.get(settings.get("language", ""), PRECEDENCE)
    for block in blocks(path):
        sentence: dict[str, Any] = {}
        words: list[list[str]] = []
        spans: list[tuple[int, int, list[str]]] = []
        first = 0
        for number, line in block:
            if line.startswith("#"):
                key, equals, value = line[1:].partition("=")
                if equals:
                    sentence[key.strip()] = value.strip()
                continue
            first = first or number
            fields = line.split("\t")
            if len(fields) != _FIELDS:
                raise UserError(f"{path}, line {number}: {len(fields)} columns between tabs; CoNLL-U has {_FIELDS}.")
            index = fields[0]
            if index.isdecimal():
                words.append(fields)
                if int(index) != len(words):
                    raise UserError(f"{path}, line {number}: word {index} stands where word {len(words)} should.")
            elif (start := index.partition("-"))[1] and start[0].isdecimal() and start[2].isdecimal():
                span = (int(start[0]), int(start[2]), fields)
                if span[1] < span[0] or span[0] <= max(len(words), spans[-1][1] if spans else 0):
                    raise UserError(
                        f"{path}, line {number}: the multi-word token {index} must stand before its first word, end "
                        "after it, and share no word with another."
                    )
                spans.append(span)
            elif "." not in index:
                raise UserError(f"{path}, line {number}: {index!r} is no CoNLL-U word number (3, 3-4 or 3.1).")
        if not words:
            continue
        if spans and spans[-1][1] > len(words):
            raise UserError(f"{path}, line {first}: the multi-word token {spans[-1][2][0]} ends after the last word.")
        tokens = _fused(words, spans, precedence) if fused else _syntactic(words, spans)
        if settings["hidden"] == "drop" and _is_hidden([token[0] for token in tokens]):
            continue
        for name, values in zip(_NAMES, zip(*tokens, strict=True), strict=True):
            sentence[name] = list(values)
        if settings.get("blanks") == "drop":
            sentence["tokens"] = [token.replace(" ", "").replace("\u200c", "") for token in sentence["tokens"]]
        yield first, sentence


_Token = tuple[str, str, str, str, bool, bool]
"""Form, UPOS, XPOS, FEATS, whether a space follows, whether it is a multi-word token or of one."""
_NAMES = ("tokens", "upos", "xpos", "feats", "space_after", "contracted")


def _space(misc: str) -> bool:
    return _NO_SPACE not in misc.split("|")


def _syntactic(words: Sequence[list[str]], spans: Sequence[tuple[int, int, list[str]]]) -> list[_Token]:
    spaces = [_space(word[9]) for word in words]
    contracted = [False] * len(words)
    for start, end, token in spans:
        spaces[start - 1 : end] = [False] * (end - start) + [_space(token[9])]
        contracted[start - 1 : end] = [True] * (end - start + 1)
    return [_token(*one) for one in zip(words, spaces, contracted, strict=True)]


def _token(word: Sequence[str], space: bool, contracted: bool) -> _Token:
    return word[1], word[3], word[4], word[5], space, contracted


def _fused(
    words: Sequence[list[str]], spans: Sequence[tuple[int, int, list[str]]], precedence: Sequence[str]
) -> list[_Token]:
    """Replace the words of each multi-word token by the token, with the tag of its word nearest the root."""
    above = _ancestors(words) if spans else []
    ranks = {tag: rank for rank, tag in enumerate(precedence)}
    tokens: list[_Token] = []
    done = 0
    for start, end, token in spans:
        tokens += [_token(w, _space(w[9]), False) for w in words[done : start - 1]]
        head = min(range(start - 1, end), key=lambda i: (above[i], ranks.get(words[i][3], len(ranks)), i))
        features = _features(words[start - 1 : end], above[start - 1 : end])
        tokens.append((token[1], words[head][3], words[head][4], features, _space(token[9]), True))
        done = end
    return tokens + [_token(w, _space(w[9]), False) for w in words[done:]]


def _features(parts: Sequence[list[str]], above: Sequence[int]) -> str:
    """Return the features of a multi-word token.

    Those of its words, each from the one nearest to the root that has it, so that "im" is in the dative as its "dem"
    is; none where words as near say otherwise. Words that depend on another one of the token without being its function
    words are passed over: an object or a possessor ("his" of "his house") has a number and a person of its own.

    Args:
      parts: its words.
      above: of each, from how many nodes it can be reached (`_ancestors`).
    """
    inside = {part[0] for part in parts}
    said: dict[str, dict[int, set[str]]] = {}
    for part, depth in zip(parts, above, strict=True):
        if part[6] in inside and part[7].partition(":")[0] not in FUNCTION_WORDS:
            continue
        try:
            known = feats.parse(part[5])
        except ValueError:
            return part[5]  # whoever needs features refuses it by its text
        for name, value in known.items():
            said.setdefault(name, {}).setdefault(depth, set()).add(value)
    nearest = {name: by_depth[min(by_depth)] for name, by_depth in said.items()}
    sure = {name: value for name, values in nearest.items() if len(values) == 1 for value in values}
    # Names in the order of the format, whatever their case.
    return "|".join(f"{name}={sure[name]}" for name in sorted(sure, key=str.lower)) or feats.NONE


def _ancestors(words: Sequence[list[str]]) -> list[int]:
    """Return from how many nodes each word can be reached, along the edges of the tree and enhanced dependencies.

    XTREME's conversion counts so; of words without enhanced dependencies it is their depth in the tree. The root is a
    node, empty nodes are none.
    """
    heads = [{word[6], *(one.partition(":")[0] for one in word[8].split("|"))} for word in words]
    over = [{int(head) for head in row if head.isdecimal() and int(head) <= len(words)} for row in heads]
    counts = []
    for index in range(1, len(words) + 1):
        seen: set[int] = set()
        waiting = [index]
        while waiting:
            at = waiting.pop()
            new = over[at - 1] - seen if at else set()
            seen |= new
            waiting += new
        counts.append(len(seen - {index}))
    return counts


def _is_hidden(forms: Sequence[str]) -> bool:
    """Return whether the text was withheld (licence): all words, or all but one, are underscores, as XTREME has it."""
    hidden = sum(form == "_" for form in forms)
    return hidden > 0 and hidden >= len(forms) - 1
