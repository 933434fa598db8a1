"""One language's file of templates: read, checked against the capabilities and the reference language, filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UserError, nearest
from ...records import Row
from ...schema import check, read_yaml
from .choice import Choice

COLUMNS = {"span_qa": ("context", "question", "answer"), "classification": ("text_a", "text_b", "label")}
"""Kind -> what a case is made of; text_b may be left out."""
_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Texts:
    """The words and templates of one language."""

    path: Path
    language: str
    review: str
    """`native` or `needed`."""
    slots: Mapping[str, list[str | Mapping[str, str]]]
    """Name of a list -> its words, each a text or its forms by name."""
    cases: Mapping[str, list[Mapping[str, Any]]]
    """Capability -> templates of its examples."""

    @property
    def lengths(self) -> dict[str, int]:
        """Name of a list -> number of its words."""
        return {name: len(words) for name, words in self.slots.items()}

    def place(self, capability: str, case: int | None = None, column: str = "") -> str:
        """Return file, language, capability and key, as the texts of errors begin."""
        at = "" if case is None else f"[{case}]"
        return f"{self.path} ({self.language}): capabilities.{capability}{at}{'.' if column else ''}{column}"


def load(path: Path, language: str, kind: str, capabilities: Mapping[str, Mapping[str, Any]]) -> Texts:
    """Read a language's file and check it by itself.

    Args:
      path: the file.
      language: its language.
      kind: kind of the task, one of `COLUMNS`.
      capabilities: what the task's source says of its capabilities.

    Raises:
      UserError: the file cannot be read, lacks a capability, list or column, or has one that nobody asks for.
    """
    document = check(read_yaml(path), "templates", f"{path} ({language})")
    texts = Texts(path, language, document["review"], document["slots"], document["capabilities"])
    for name in texts.cases:
        if name not in capabilities:
            known = ", ".join(capabilities)
            raise UserError(
                f"{texts.place(name)}: the task has no such capability; it has: {known}.{nearest(name, capabilities)}"
            )
    for name, about in capabilities.items():
        if name not in texts.cases:
            raise UserError(f"{texts.place(name)}: is missing; every language has all capabilities.")
        for placeholder, words in about["slots"].items():
            if words not in texts.slots:
                raise UserError(
                    f"{texts.place(name)}: {{{placeholder}}} is filled from the list {words!r}, which is not among "
                    f"slots: {', '.join(texts.slots)}.{nearest(words, texts.slots)}"
                )
        for number, case in enumerate(texts.cases[name]):
            _check_case(texts, name, number, case, kind, about["slots"])
    return texts


def _check_case(
    texts: Texts, capability: str, number: int, case: Mapping[str, Any], kind: str, slots: Mapping[str, str]
) -> None:
    """Check the columns of a case and the placeholders in them.

    Raises:
      UserError: a column is unknown or missing, or a placeholder is unknown or not used.
    """
    columns = COLUMNS[kind]
    where = texts.place(capability, number)
    for column in case:
        if column not in columns:
            raise UserError(f"{where}: unknown key {column!r}; known: {', '.join(columns)}.{nearest(column, columns)}")
    used = set()
    for column in columns:
        if column not in case:
            if column == "text_b":
                continue
            raise UserError(f"{where}: the key {column!r} is missing; a {kind} case has: {', '.join(columns)}.")
        if isinstance(case[column], list) and column != "answer":
            raise UserError(f"{where}.{column}: only an answer may be a list.")
        for template in _templates(case[column]):
            for field in _FIELD.findall(template):
                placeholder = field.partition(".")[0]
                if placeholder not in slots:
                    raise UserError(
                        f"{where}.{column}: {{{field}}} is not a slot of {capability!r}, which has: "
                        f"{', '.join(slots)}.{nearest(placeholder, slots)}"
                    )
                used.add(placeholder)
    for placeholder in slots:
        if placeholder not in used:
            raise UserError(f"{where}: {{{placeholder}}} occurs in none of its texts, so that examples would be equal.")


def compare(texts: Texts, reference: Texts) -> None:
    """Check that a language's words and cases are as many as those of the reference, which makes ids mean the same.

    Raises:
      UserError: a list or a capability has another number of items.
    """
    for name, words in reference.slots.items():
        count = len(texts.slots.get(name, ()))
        if count != len(words):
            raise UserError(
                f"{texts.path} ({texts.language}): slots.{name}: has {count} words, {len(words)} in {reference.path} "
                f"({reference.language}); word for word they have to be the same."
            )
    for name, cases in reference.cases.items():
        if len(texts.cases[name]) != len(cases):
            raise UserError(
                f"{texts.place(name)}: has {len(texts.cases[name])} cases, {len(cases)} in {reference.path} "
                f"({reference.language}); case for case they have to be the same."
            )


def rows(texts: Texts, kind: str, slots: Mapping[str, str], chosen: list[Choice]) -> Iterator[Row]:
    """Fill in the chosen examples of one capability.

    Args:
      texts: a checked language.
      kind: kind of the task.
      slots: the capability's placeholders and their lists.
      chosen: its examples.

    Raises:
      UserError: a word lacks the form that a template asks for, or a context does not hold its answer.
    """
    for choice in chosen:
        case = texts.cases[choice.capability][choice.case]
        words = {name: texts.slots[slots[name]][at] for name, at in choice.items.items()}
        place = texts.place(choice.capability, choice.case)
        filled = {key: [_fill(one, words, f"{place}.{key}") for one in _templates(case[key])] for key in case}
        cluster = f"{choice.capability}/{choice.case}"
        row: Row = {"id": choice.id, "split": "test", "place": place, "cluster": cluster}
        if kind == "classification":
            yield row | {key: fillings[0][0] for key, fillings in filled.items()}
            continue
        context, fields = filled["context"][0]
        answers = []
        for template, (text, _) in zip(_templates(case["answer"]), filled["answer"], strict=True):
            # Where the answer is a placeholder of the context, it lies there, and not in a longer word before it.
            start = fields.get(template, context.find(text))
            if start < 0:
                raise UserError(f"{place}.answer: {text!r} is not in the context {context!r} (id {choice.id}).")
            answers.append({"text": text, "start": start})
        yield row | {"context": context, "question": filled["question"][0][0], "answers": answers}


def _templates(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _fill(template: str, words: Mapping[str, str | Mapping[str, str]], place: str) -> tuple[str, dict[str, int]]:
    """Return the text of a template, and where the first of each of its placeholders begins in it."""
    starts: dict[str, int] = {}
    text, at = "", 0
    for match in _FIELD.finditer(template):
        text += template[at : match.start()]
        starts.setdefault(match.group(), len(text))
        text += _form(match[1], words, place)
        at = match.end()
    return text + template[at:], starts


def _form(field: str, words: Mapping[str, str | Mapping[str, str]], place: str) -> str:
    placeholder, _, form = field.partition(".")
    word = words[placeholder]
    if isinstance(word, str):
        if form:
            raise UserError(f"{place}: {{{field}}} asks for a form of {word!r}, which is a text and has none.")
        return word
    form = form or "is"
    if form not in word:
        raise UserError(
            f"{place}: {{{field}}} asks for the form {form!r} of {next(iter(word.values()))!r}, which has: "
            f"{', '.join(word)}.{nearest(form, word)}"
        )
    return word[form]
