"""The oracle: a model that is always right, through all of encoding and decoding. What it lacks to 100 is out of reach.

Text-to-text, it writes the gold text, which goes through the tokenizer and back. An encoder, it has its highest scores
at the gold positions. Answers that a model writes wrongly are scored beside mT5's own functions.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.kinds.span_qa import SpanText
from stiltsweep.kinds.tagging import TaggingForm
from stiltsweep.metrics import METRICS, compared
from stiltsweep.metrics.answers import pad_punctuation
from stiltsweep.models.batches import Dense, Example, collate
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import Meta, Row
from upstream import official
from upstream.agreement import CLOSE, Agreement, score

XQUAD = ["en", "de", "es", "ro", "el", "ru", "tr", "vi", "ar", "hi", "zh", "th"]
NER = {
    "en": "uner.en_ewt.test.iob2",
    "ha": "masakhaner2.hau.test.txt",
    "sw": "masakhaner2.swa.test.txt",
    "yo": "masakhaner2.yor.test.txt",
    "zu": "masakhaner2.zul.test.txt",
}
HOW = Representation("mean", -1, "mean", "")
_BATCH = 16


class Reader(NamedTuple):
    """A tokenizer with the lengths that go with it."""

    name: str
    tokenizer: Tokenizer
    limits: Limits


def questions(folder: Path, language: str) -> list[Row]:
    """Read XQuAD of a language."""
    data = json.loads((folder / "xquad" / f"xquad.{language}.json").read_text("utf-8"))["data"]
    return [
        {
            "id": qa["id"],
            "context": paragraph["context"],
            "question": qa["question"],
            "answers": [{"text": one["text"], "start": one["answer_start"]} for one in qa["answers"]],
        }
        for article in data
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def sentences(folder: Path, language: str) -> list[Row]:
    """Read named entities of a language."""
    found: list[Row] = []
    tokens: list[str] = []
    tags: list[str] = []
    for line in [*(folder / "ner" / NER[language]).read_text("utf-8").split("\n"), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if tokens:
                found.append({"id": str(len(found)), "tokens": tokens, "tags": tags, "space_after": None})
            tokens, tags = [], []
            continue
        fields = line.split("\t") if NER[language].endswith("iob2") else line.split(" ")
        tokens.append(fields[1 if NER[language].endswith("iob2") else 0])
        tags.append(fields[2 if NER[language].endswith("iob2") else -1])
    return found


def about(kind: str, rows: Sequence[Row]) -> Meta:
    """Return what a prepared file would say."""
    labels = sorted({tag for row in rows for tag in row.get("tags", [])})
    metrics = ["span_f1"] if kind == "tagging" else ["squad_em"]
    return Meta("oracle", "xx", kind, labels, metrics, {"test": len(rows)}, "", "none")


def written(kind: str, rows: Sequence[Row], reader: Reader) -> list[Any]:
    """Return the predictions of a model that writes the gold text, and the texts."""
    limits = Limits(1 << 20, 1, 1 << 20)
    made = form(about(kind, rows), reader.tokenizer, interface="text2text", limits=limits, representation=HOW)
    texts = [reader.tokenizer.decode(example.target) for example in made.encode(rows, training=True)]
    return [(made.text.parse(row, text), text) for row, text in zip(rows, texts, strict=True)]  # type: ignore[attr-defined]


def pointed(kind: str, rows: Sequence[Row], reader: Reader) -> list[Any]:
    """Return the predictions of an encoder whose highest scores are at the gold positions."""
    made = form(about(kind, rows), reader.tokenizer, interface="encoder", limits=reader.limits, representation=HOW)
    found: list[Any] = ["" if kind == "span_qa" else ["O"] * len(row["tokens"]) for row in rows]
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        examples = made.encode(part, training=kind == "span_qa")
        batch = collate(examples, Dense(None, 0), torch.device("cpu"), token_types=False)
        logits = torch.zeros((*batch.ids_BL.shape, max(2, len(made.meta.labels))))
        place = _tags if isinstance(made, TaggingForm) else _spans
        place(logits, examples, part, made.meta.labels)
        model = SimpleNamespace(hidden=lambda batch, logits=logits: logits, head=lambda hidden: hidden)
        asked = [part[example.row] for example in examples]
        for example, one in zip(examples, made.decode(asked, examples, made.predict(model, batch)), strict=True):
            found[start + example.row] = one
    return found


def _spans(logits: torch.Tensor, examples: Sequence[Example], rows: Sequence[Row], labels: Sequence[str]) -> None:
    windows = [window for example in examples for window in example.labels]
    for at, (first, last) in enumerate(windows):
        if (first, last) != (0, 0):
            logits[at, first, 0] = logits[at, last, 1] = 9.0


def _tags(logits: torch.Tensor, examples: Sequence[Example], rows: Sequence[Row], labels: Sequence[str]) -> None:
    at = 0
    for example in examples:
        for window in example.align:
            for token, position in reversed(window):  # of words in one piece the first counts
                logits[at, position] = 0.0
                logits[at, position, labels.index(rows[example.row]["tags"][token])] = 9.0
            at += 1


def answered(folder: Path, readers: Sequence[Reader], every: int = 1) -> list[str]:
    """Return the table of XQuAD, of all questions or of every so many."""
    t5, strip = official.t5_answers(folder), official.mt5_preprocessors(folder)._pad_punctuation
    heads = [f"{how}, {reader.name}" for reader in readers for how in ("writes", "by mT5's own scoring", "points")]
    lines = [f"| XQuAD, exact match | questions | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for language in XQUAD:
        rows = questions(folder, language)[::every]
        cells = []
        for reader in readers:
            texts = written("span_qa", rows, reader)
            pairs = [compared(row, one, kind="span_qa", writes=True) for row, (one, _) in zip(rows, texts, strict=True)]
            theirs = t5.qa_metrics(
                [[t5.normalize_squad(strip(one["text"])) for one in row["answers"]] for row in rows],
                [t5.normalize_squad(text) for _, text in texts],
            )["em"]
            marked = list(zip(rows, pointed("span_qa", rows, reader), strict=True))
            cells += [score("squad_em", pairs), theirs, score("squad_em", marked)]
        lines.append(f"| {language} | {len(rows)} | {' | '.join(f'{one:.1f}' for one in cells)} |")
        print(lines[-1], flush=True)
    return lines


def named(folder: Path, readers: Sequence[Reader], every: int = 1) -> list[str]:
    """Return the table of named entities, of all sentences or of every so many."""
    heads = [f"{how}, {reader.name}" for reader in readers for how in ("writes", "`surface_f1`", "points")]
    lines = [f"| names, `span_f1` | sentences | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for language in NER:
        rows = sentences(folder, language)[::every]
        cells = []
        for reader in readers:
            pairs = [(row, one) for row, (one, _) in zip(rows, written("tagging", rows, reader), strict=True)]
            marked = list(zip(rows, pointed("tagging", rows, reader), strict=True))
            cells += [score("span_f1", pairs), score("surface_f1", pairs), score("span_f1", marked)]
        lines.append(f"| {language} | {len(rows)} | {' | '.join(f'{one:.2f}' for one in cells)} |")
        print(lines[-1], flush=True)
    return lines


# Answers as models get them wrong


def _without_accent(text: str) -> str:
    """Return a text without its last accent or vowel sign, itself where it has none."""
    letters = unicodedata.normalize("NFD", text)
    marks = [at for at, one in enumerate(letters) if unicodedata.category(one) == "Mn"]
    return unicodedata.normalize("NFC", letters[: marks[-1]] + letters[marks[-1] + 1 :]) if marks else text


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _altered(gold: str, context: str, rng: random.Random) -> Iterator[str]:
    yield _without_accent(gold)
    yield gold.lower()
    yield f"the {gold}"
    if len(gold) > 2:
        at = rng.randrange(1, len(gold))
        yield f"{gold[:at]} {gold[at:]}"
        yield gold[: at - 1] + gold[at:]
        yield gold[:-1]
    if " " in gold:
        yield gold.replace(" ", "", 1)
        yield gold.split(" ", 1)[1]
    words = pad_punctuation(context).split()
    at = rng.randrange(len(words))
    yield " ".join(words[at : at + rng.randint(1, 5)])


def generated(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Exact match and F1 of written answers of XQuAD, right and wrong ones, against mT5's own."""
    t5, strip = official.t5_answers(folder), official.mt5_preprocessors(folder)._pad_punctuation
    text = SpanText(about("span_qa", []))
    count: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for language in XQUAD:
        for row in questions(folder, language):
            golds = [strip(one["text"]) for one in row["answers"]]
            targets = [t5.normalize_squad(gold) for gold in golds]
            unpadded = row["answers"][0]["text"]
            for group, made in (
                ("the gold, padded", [golds[0]]),
                ("the gold in NFKC", [_normal(golds[0])] * (_normal(golds[0]) != golds[0])),
                ("the gold without padding", [unpadded] * (unpadded.strip() != golds[0].strip())),
                (
                    "altered: accent, letter, word or blank lost or too many, another span",
                    _altered(golds[0], row["context"], rng),
                ),
            ):
                for one in made:
                    pair = compared(row, text.parse(row, one), kind="span_qa", writes=True)
                    answer = t5.normalize_squad(one)
                    count[group] += 1
                    wrong[group] += any(
                        abs(METRICS[name].statistics(*pair, language)[1] - max(rule(gold, answer) for gold in targets))
                        > CLOSE
                        for name, rule in (("squad_em", t5._exact_match_score), ("squad_f1", t5._f1_score))
                    )
    reasons: Mapping[str, str] = {
        "the gold in NFKC": "the tokenizer changed it, not the model: free here, an error there",
        "the gold without padding": "exactly as the context has it: right here",
    }
    for group, cases in count.items():
        yield Agreement(
            f"written answers of XQuAD, {group}",
            "multilingual-t5's xquad, T5's qa_utils",
            cases,
            wrong[group],
            reasons.get(group, ""),
        )
