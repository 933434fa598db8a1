"""Sentences as answers: the one an answer stands in, and XQuAD-R, where the sentences of all languages are the pool."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from . import squad

PAIR_COLUMNS = {
    "id": "id",
    "query": "question",
    "candidate": "sentence_and_context",
    "candidate_id": "sentence_id",
}
COLUMNS = {"id": "id", "cluster": "cluster", "side": "side", "text": "text", "gold": "gold"}

_END = re.compile(r"[.!?][\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])")
_NO_END = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Mt|Ft|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Gov|Sen|Rep|Jr|Sr|No|Vol|vs|ca?|cf|approx|e\.g|i\.e)"
    r"|\b[A-Z])\.\s+$"
)


def spans(text: str) -> list[tuple[int, int]]:
    """Cut English text at the ends of its sentences, by punctuation before a capital or a digit.

    Initials and common abbreviations end nothing. Every character but white space between sentences is in one span.
    """
    sentences = []
    start = 0
    for match in _END.finditer(text):
        if not _NO_END.search(text, start, match.end()):
            sentences.append((start, start + len(text[start : match.end()].rstrip())))
            start = match.end()
    return [*sentences, (start, len(text))]


def of_answer(question: Mapping[str, Any], place: str) -> tuple[int, str]:
    """Return number and text of the sentence in which a SQuAD question's first answer begins.

    Sentences are the paragraph's `sentence_breaks` where it has them, else those of `spans`.

    Raises:
      UserError: no answer, or none in a sentence.
    """
    context = question["context"]
    start = question["answers"][0]["answer_start"] if question.get("answers") else -1
    for number, (first, end) in enumerate(question.get("sentence_breaks") or spans(context)):
        if first <= start < end:
            return number, context[first:end]
    raise UserError(f"{place}: no sentence holds the answer of question {question.get('id')!r}.")


def answers(path: Path, settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number of the question, question) of SQuAD JSON, with `sentence`, `sentence_id` and
    `sentence_and_context` (see `joined`) of its first answer.

    Raises:
      UserError: see `squad.rows`; an answer that is in no sentence.
    """
    for number, question in squad.rows(path, settings):
        index, sentence = of_answer(question, f"{path}, question {number}")
        question |= {
            "sentence": sentence,
            "sentence_id": f"{question['paragraph_number']}_{index}",
            "sentence_and_context": joined(sentence, question["context"]),
        }
        yield number, question


def joined(sentence: str, context: str) -> str:
    """Return a sentence and its paragraph as XTREME-R gives both to a model: no blank between, no line feeds."""
    return (sentence + context).replace("\n", "")


def xquad_r(paths: Sequence[Path], settings: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row): the questions of the first file, then every sentence of the others as a candidate.

    A question's right candidates are the sentences its answer begins in, one a language (LAReQA; Roy et al. 2020). A
    candidate's text is the sentence and, after it, its whole paragraph, as XTREME-R's evaluation joins them; its id is
    language (the file's name), number of the paragraph from 1 and number of the sentence from 0.

    Raises:
      UserError: fewer than two files, not SQuAD JSON, or an answer that is in no sentence.
    """
    if len(paths) < 2:
        raise UserError(f"{paths[0]}: xquad_r reads the file of the questions, and after it those of the candidates.")
    gold: dict[str, list[str]] = {}
    candidates: dict[str, str] = {}
    for path in paths[1:]:
        for number, question in squad.rows(path, {}):
            _, answer = of_answer(question, f"{path}, question {number}")
            context = question["context"]
            for index, (first, end) in enumerate(question["sentence_breaks"]):
                sentence = context[first:end]
                identity = f"{path.stem}_{question['paragraph_number']}_{index}"
                candidates[identity] = joined(sentence, context)
                if sentence == answer:
                    gold.setdefault(question["id"], []).append(identity)
    number = 0
    for number, question in squad.rows(paths[0], {}):
        right = gold.get(question["id"], [])
        row = {"id": question["id"], "side": "query", "text": question["question"], "gold": right}
        yield number, row | {"cluster": question["context"]}
    for extra, (identity, text) in enumerate(candidates.items(), start=1):
        yield number + extra, {"id": identity, "side": "candidate", "text": text, "gold": [], "cluster": None}
