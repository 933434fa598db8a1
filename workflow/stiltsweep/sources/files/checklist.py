"""MultiCheckList's templates as google-research/xtreme publishes them (multichecklist/checklist_templates.tsv).

A line is a field (Name, Capability, Context, Question, Answer, or a slot such as adj), its English, and translations of
it. A language may have several columns, each followed by one named `{language}-placeholders`: the English words with
which the translation before it goes, such as the nouns of a gender.

The published script fills the templates in with code of its own for each language, and with random names out of the
package checklist. Here one rule serves every language: a translation may be used where, of every slot that its column
of placeholders names words of, the word drawn is among them. Names are those the task gives, and draws come from
digests, so that a number means the same example in every language that has it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError, nearest
from .text import lines

COLUMNS = {
    "id": "id",
    "context": "context",
    "question": "question",
    "answers": {"text": "answers.text", "start": "answers.answer_start"},
}
SHORT = {
    "A is COMP than B. Who is more / less COMP?": "comparison",
    "Intensifiers (very, super, extremely) and reducers (somewhat, kinda, etc)?": "intensifier",
    "size, shape, age, color": "property",
    "Profession vs nationality": "profession",
    "Animal vs Vehicle": "vehicle",
    "Animal vs Vehicle v2": "vehicle-v2",
}
"""Name of a test -> what ids call it."""
_ALIASES = {"s": "state"}
_PAIR = "p"
"""The placeholder of two properties (p1, p2) and a value of each (v1, v2)."""
_PROPERTIES = "property"
_FIELD = re.compile(r"\{(?:[ac]:)?([a-z_]+)(\d*)(?:\[(\d)\]|\.([pv])([12]))?\}")
_SEPARATOR = re.compile(r"\s*[,،，၊]\s*")
_SENTENCE = re.compile(r"(^|[.!?]\s+)(\w)")


@dataclass(frozen=True)
class _Entry:
    """A template or word: its English, and what the language has for it."""

    english: str
    variants: tuple[tuple[str, str], ...]
    """(translation, English words that it goes with, or nothing)."""

    def forms(self) -> list[str]:
        """Return the English words by which a column of placeholders may name it."""
        parts = [self.english, *_SEPARATOR.split(self.english)]
        return [*parts, *(part.partition(" ")[2] for part in parts if " " in part)]


@dataclass
class _Test:
    name: str
    contexts: list[_Entry] = field(default_factory=list)
    questions: list[_Entry] = field(default_factory=list)
    answers: list[_Entry] = field(default_factory=list)
    slots: dict[str, list[_Entry]] = field(default_factory=dict)


class _UnfitError(Exception):
    """The language has no translation for what was drawn."""


def rows(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, example) of one language: `id`, `context`, `question`, `answers` and the `test`'s name.

    Args:
      path: the file.
      settings: `name`, the language's column; `people`, first names to draw from; `sample`, draws of each test, which
        take its contexts and questions in turn. A draw is left out where the language has no translation for it or its
        answer is not in its context word for word.

    Raises:
      UserError: not a file of this form, no such language, or fewer than two names.
    """
    people: list[str] = settings.get("people", [])
    if len(set(people)) < 2:
        raise UserError(f"{path}: people: give at least two first names for {settings['name']!r}; the file has none.")
    number = 0
    for test in _tests(path, settings["name"]):
        for draw in range(1, settings.get("sample", 200) + 1):
            number += 1
            try:
                yield number, _example(test, draw, people)
            except _UnfitError:
                continue


def _tests(path: Path, name: str) -> list[_Test]:
    """Return the tests of a file, with one language's translations.

    Raises:
      UserError: not a file of this form, or no such language.
    """
    table = [(number, line.rstrip("\r").split("\t")) for number, line in lines(path)]
    header = [column.strip() for column in table[0][1]] if table else []
    if header[:2] != ["Field", "en"]:
        raise UserError(f"{path}, line 1: begins with {header[:2]}, not with Field, en. Is it checklist_templates.tsv?")
    columns = [at for at, column in enumerate(header) if column == name]
    if not columns:
        known = sorted({column for column in header[1:] if not column.endswith("-placeholders")})
        raise UserError(f"{path}: has no language {name!r}; it has: {', '.join(known)}.{nearest(name, known)}")
    tests: list[_Test] = []
    for number, fields in table[1:]:
        cells = [cell.strip() for cell in fields] + [""] * (len(header) - len(fields))
        key, english = cells[0], cells[1]
        if not key:
            continue
        if key == "Name":
            # The second test of animals and vehicles has the words of the first.
            shared = tests[-1].slots if tests and english.startswith(tests[-1].name) else {}
            tests.append(_Test(english, slots=dict(shared)))
            continue
        if not tests:
            raise UserError(f"{path}, line {number}: {key!r} stands before the first Name.")
        variants = []
        for at in columns:
            paired = at + 1 < len(header) and header[at + 1] == f"{name}-placeholders"
            if cells[at]:
                variants.append((cells[at], cells[at + 1] if paired else ""))
        entry = _Entry(english, tuple(variants))
        test = tests[-1]
        lists = {"Context": test.contexts, "Question": test.questions, "Answer": test.answers}
        if key in lists:
            lists[key].append(entry)
        elif key != "Capability":
            test.slots.setdefault(key, []).append(entry)
    for test in tests:
        if not test.contexts or not test.questions or len(test.questions) != len(test.answers):
            raise UserError(f"{path}: the test {test.name!r} lacks contexts, questions or an answer to each question.")
    return tests


class _Draw:
    """Choices made one after the other from the digest of a text, the same everywhere."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.made = 0

    def below(self, n: int) -> int:
        """Return a number from 0 to n - 1."""
        self.made += 1
        return int.from_bytes(hashlib.sha256(f"{self.text}/{self.made}".encode()).digest()[:8]) % n


def _example(test: _Test, number: int, people: Sequence[str]) -> dict[str, Any]:
    """Make one example.

    Raises:
      _UnfitError: the language has no translation for it, or its answer is not in its context.
    """
    short = SHORT.get(test.name) or re.sub(r"[^a-z0-9]+", "-", test.name.lower()).strip("-")
    draw = _Draw(f"{short}/{number}")
    turn = number - 1
    context = test.contexts[turn % len(test.contexts)]
    at = turn // len(test.contexts) % len(test.questions)
    chosen = {key: entries[draw.below(len(entries))] for key, entries in test.slots.items()}
    first = draw.below(len(people))
    second = (first + 1 + draw.below(len(people) - 1)) % len(people)
    properties = _properties(test, draw)
    # What was drawn, as columns of placeholders name it. An answer {p.v1} is asked for by the first of two properties.
    facts = {key: set(entry.forms()) for key, entry in chosen.items()} | {"context": {context.english}}
    question = test.questions[at]
    if properties:
        asked = re.search(r"\.v([12])\}", test.answers[at].english)
        if asked is None:
            raise _UnfitError
        facts[_PROPERTIES] = {properties[int(asked[1]) - 1][0].english}
        # A few translations stand with the question of the other property; the published script skips them too.
        other = f".p{3 - int(asked[1])}}}"
        question = _Entry(question.english, tuple(one for one in question.variants if other not in one[0]))
    known = {key: {form for entry in entries for form in entry.forms()} for key, entries in test.slots.items()}
    known["context"] = {entry.english for entry in test.contexts}

    def word(match: re.Match[str]) -> str:
        name, which, part, role, position = match.groups()
        if name in ("first_name", "male"):
            return people[second if which else first]
        if name == _PAIR and role:
            return _pick(properties[int(position) - 1][0 if role == "p" else 1], facts, known)
        entry = chosen.get(_ALIASES.get(name, name))
        if entry is None:
            raise _UnfitError
        text = _pick(entry, facts, known)
        if part is None:
            return text
        parts = _SEPARATOR.split(text) if _SEPARATOR.search(text) else text.split()
        if int(part) >= len(parts):
            raise _UnfitError
        return parts[int(part)]

    passage = _FIELD.sub(word, _pick(context, facts, known))
    # Title case, which leaves Georgian as it is: its capitals are for headlines.
    passage = _SENTENCE.sub(lambda match: match[1] + match[2].title(), passage)
    # Quechua has a second answer where placeholders would be.
    given = [text for variant in test.answers[at].variants for text in variant if "{" in text]
    for text in (_FIELD.sub(word, template) for template in given):
        if text in passage:
            return {
                "id": f"{short}/{number}",
                "test": test.name,
                "context": passage,
                "question": _FIELD.sub(word, _pick(question, facts, known)),
                "answers": [{"text": text, "answer_start": passage.index(text)}],
            }
    raise _UnfitError


def _properties(test: _Test, draw: _Draw) -> list[tuple[_Entry, _Entry]]:
    """Draw two different properties and a value of each, if a test has properties."""
    names = test.slots.get(_PROPERTIES, [])
    if not names:
        return []
    first = draw.below(len(names))
    second = (first + 1 + draw.below(len(names) - 1)) % len(names)
    chosen = []
    for name in (names[first], names[second]):
        values = test.slots[name.english]
        chosen.append((name, values[draw.below(len(values))]))
    return chosen


def _pick(entry: _Entry, facts: Mapping[str, set[str]], known: Mapping[str, set[str]]) -> str:
    """Return the first translation that goes with what was drawn.

    Raises:
      _UnfitError: there is none.
    """
    for text, condition in entry.variants:
        wanted = {condition, *_SEPARATOR.split(condition)} - {""}
        named = ((key, wanted & words) for key, words in known.items())
        if all(values & facts[key] for key, values in named if values):
            return text
    raise _UnfitError
