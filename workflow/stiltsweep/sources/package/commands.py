"""Tasks made of commands: what a command wants, what it names, a question about it, and the reply to it."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import regex
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

from ...errors import UserError, nearest
from ...languages import ENGLISH
from ...records import SPLITS, Row
from ...writing import GRAPHEME
from .home_assistant import TOKEN, Grammar, Sentence, Span, common, grammar, intent_about, sample

INTENT_KEYS = frozenset({"intents"})
SLOTS_KEYS = frozenset({"intents"})
QUESTIONS_KEYS = frozenset({"intents", "questions", "commands", "fits_too"})
REPLY_KEYS = frozenset({"intents", "alike"})

_STOP = " / "
"""Between the commands of a log; a mark of no language."""
_DRAWN = 100
"""Commands among which the others of a log are chosen."""


def _splits(definition: Mapping[str, Any], language: str) -> list[tuple[str, int]]:
    """Return (split, size) for a language: all splits in English, else the test split; test first.

    The test split has the first choice of sentences, so that it does not depend on the size of the training data.
    """
    sizes: Mapping[str, int] = definition["source"]["sizes"]
    for split in sizes:
        if split not in SPLITS:
            raise UserError(f"source.sizes: {split!r} is not a split; allowed: {', '.join(SPLITS)}.")
    wanted = SPLITS if language == ENGLISH else ("test",)
    return [(split, sizes[split]) for split in reversed(SPLITS) if split in wanted and split in sizes]


def _in_order(made: Mapping[str, list[Row]]) -> Iterator[Row]:
    """Yield the rows of the splits in the order train, dev, test, numbered."""
    for split in SPLITS:
        for number, row in enumerate(made.get(split, ())):
            yield {"id": f"{split}-{number}", "split": split, **row}


def intent(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Which of the intents a command has: classification of one text."""
    taken: set[str] = set()
    made: dict[str, list[Row]] = {}
    for split, size in _splits(definition, language):
        sentences = sample(language, definition["source"]["intents"], split, size, "intent", taken)
        made[split] = [{"text_a": s.text, "label": s.label, "cluster": s.template} for s in sentences]
    return _in_order(made)


def slots(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Where the rooms, devices and numbers of a command stand: tagging in BIO, balanced over slot types."""
    source = definition["source"]
    taken: set[str] = set()
    made: dict[str, list[Row]] = {}
    for split, size in _splits(definition, language):
        # Balance needs a choice: three times as many sentences as wanted, of which those with the rarest type are kept.
        pool = [s for s in sample(language, source["intents"], split, 3 * size, "slots", taken) if s.spans]
        made[split] = []
        counts: Counter[str] = Counter(dict.fromkeys(sorted({kind for s in pool for _, _, kind in s.spans}), 0))
        while pool and len(made[split]) < size:
            best = min(pool, key=lambda s: min(counts[kind] for _, _, kind in s.spans))
            pool.remove(best)
            counts.update(kind for _, _, kind in best.spans)
            made[split].append(tag(best.text, best.spans, grammar(language).spaced) | {"cluster": best.template})
        random.Random(f"slots order {language} {split}").shuffle(made[split])
    return _in_order(made)


def tag(text: str, spans: Sequence[Span], spaced: bool) -> Row:
    """Cut a text into tokens with BIO tags.

    Tokens are words and single punctuation marks, or grapheme clusters where words are not written apart; `space_after`
    tells where the text had a space, so that the tokens give the text back exactly.
    """
    pattern = TOKEN if spaced else GRAPHEME
    tokens = [m for m in pattern.finditer(text) if not m.group().isspace()]
    tags = []
    for token in tokens:
        span = next((s for s in spans if s[0] < token.end() and token.start() < s[1]), None)
        tags.append("O" if span is None else f"{'B' if token.start() <= span[0] else 'I'}-{span[2]}")
    return {
        "tokens": [m.group() for m in tokens],
        "tags": tags,
        "space_after": [a.end() < b.start() for a, b in pairwise(tokens)] + [False],
    }


def questions(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """An English question about a short log of commands: extractive question answering.

    A log has one command that answers the question and others of different intents; at least one of these holds a slot
    of the answer's type, where there is such a command, so that the type alone does not give the answer away. None is
    of an intent that the question would fit too (`fits_too`: a lamp that is switched on is a device that is started).
    An answer beside which no command can stand is not asked for.
    """
    source = definition["source"]
    fits_too = _fits_too(source)
    asked: Mapping[str, Mapping[str, str]] = source["questions"]
    taken: set[str] = set()
    made: dict[str, list[Row]] = {}
    for split, size in _splits(definition, language):
        pool = sample(language, source["intents"], split, 3 * size, "questions", taken)
        rng = random.Random(f"questions order {language} {split}")
        waiting: dict[tuple[str, str], list[tuple[Sentence, Span]]] = {}
        for sentence in pool:
            for span in sentence.spans:
                if span[2] in asked.get(sentence.label, {}) and _said_once(sentence.text, span):
                    waiting.setdefault((sentence.label, span[2]), []).append((sentence, span))
        made[split] = []
        counts = Counter(dict.fromkeys(sorted(waiting), 0))
        answered: set[str] = set()
        while len(made[split]) < size:
            open_questions = [key for key in counts if any(s.text not in answered for s, _ in waiting[key])]
            if not open_questions:
                break
            label, kind = key = min(open_questions, key=lambda k: counts[k])
            counts[key] += 1
            sentence, span = next((s, at) for s, at in waiting[key] if s.text not in answered)
            answered.add(sentence.text)
            fit = [other for other in pool if other.label not in fits_too.get(label, ())]
            others = _others(grammar(language), fit, sentence, span, source["commands"] - 1, rng)
            if others:
                made[split].append(_log(sentence, span, others, asked[label][kind], rng))
        rng.shuffle(made[split])
    return _in_order(made)


def _fits_too(source: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    stated: Mapping[str, Sequence[str]] = source.get("fits_too") or {}
    intents = source["intents"]
    if not isinstance(stated, Mapping) or not all(isinstance(names, list) for names in stated.values()):
        raise UserError(f"source.fits_too: {stated!r:.60} is not: intent -> list of intents, as in the catalogue's qa.")
    for name in [*stated, *(name for names in stated.values() for name in names)]:
        if name not in intents:
            raise UserError(f"source.fits_too: {name!r} is not one of source.intents.{nearest(str(name), intents)}")
    return stated


def _said_once(text: str, span: Span) -> bool:
    """Whether a command holds the words of a span nowhere else ("18 minutes 18 seconds" does)."""
    return len(regex.findall(rf"(?<!\d){regex.escape(text[span[0] : span[1]])}(?!\d)", text)) == 1


def _others(
    g: Grammar, pool: Sequence[Sentence], sentence: Sentence, span: Span, count: int, rng: random.Random
) -> list[Sentence]:
    """Choose the commands around the one that answers: of other intents each, and the answer in none, in no form."""
    numbers = _number_kinds()
    answer = sentence.text[span[0] : span[1]]
    forms = {answer, *_forms(g, span[2], answer)}

    def distance(other: Sentence) -> int:
        kinds = {kind for _, _, kind in other.spans}
        return 0 if span[2] in kinds else 1 if span[2] in numbers and kinds & numbers else 2

    drawn = rng.sample(pool, min(len(pool), _DRAWN))
    fit = [other for other in drawn if other.label != sentence.label and not any(f in other.text for f in forms)]
    chosen = [min(fit, key=distance)] if fit else []
    for other in fit:
        if len(chosen) < count and other.label not in {c.label for c in chosen}:
            chosen.append(other)
    return chosen[:count]


def _number_kinds() -> set[str]:
    """Return the kinds of slot that a number fills."""
    types: Mapping[str, str] = common()["types"]
    return {types[name] for name in common()["numbers"]}


def _forms(g: Grammar, kind: str, answer: str) -> set[str]:
    """Return all forms of the word of which the answer holds one (mutfaktaki: mutfak, mutfağın; 5시간짜리: 5)."""
    types: Mapping[str, str] = common()["types"]
    if kind in _number_kinds():
        return set(regex.findall(r"\d+", answer))
    rows: dict[tuple[str, int], set[str]] = {}
    for name, words in g.fillers.items():
        head = name.partition(".")[0]
        if types.get(head) == kind:
            for number, phrase in enumerate(words):
                inside = regex.search(r"\[(.*)\]", phrase)
                rows.setdefault((head, number), set()).add(inside[1] if inside else phrase)
    held = [(word, forms) for forms in rows.values() for word in forms if word in answer]
    # By the word as well: sets have no order that two processes share.
    return max(held, key=lambda one: (len(one[0]), one[0]), default=("", set()))[1]


def _log(sentence: Sentence, span: Span, others: Sequence[Sentence], question: str, rng: random.Random) -> Row:
    lines = [sentence, *others]
    rng.shuffle(lines)
    before = lines[: lines.index(sentence)]
    start = sum(len(line.text) + len(_STOP) for line in before) + span[0]
    return {
        "context": _STOP.join(line.text for line in lines),
        "question": question,
        "answers": [{"text": sentence.text[span[0] : span[1]], "start": start}],
        # Of the command that answers; the others of a log are drawn anew for every question.
        "cluster": sentence.template,
    }


def reply_choice(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Which of four replies of the assistant fits the command: multiple choice.

    Distractors are the same reply about something else, where it names anything, and the replies to commands of other
    intents about the same thing.
    """
    made: dict[str, list[Row]] = {}
    for split, sentence, right, wrong, rng in _with_replies(definition, language, "reply_choice", 3):
        choices = [right, *wrong]
        rng.shuffle(choices)
        row = {"context": sentence.text, "choices": choices, "label": choices.index(right)}
        made.setdefault(split, []).append(row)
    return _in_order(made)


def reply_match(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Whether a reply fits the command: classification of two texts, both labels equally often."""
    made: dict[str, list[Row]] = {}
    for split, sentence, right, wrong, rng in _with_replies(definition, language, "reply_match", 1):
        rows = made.setdefault(split, [])
        label = ("match", "mismatch")[len(rows) % 2]
        rows.append(
            {"text_a": sentence.text, "text_b": right if label == "match" else rng.choice(wrong), "label": label}
        )
    return _in_order(made)


def _with_replies(
    definition: Mapping[str, Any], language: str, salt: str, count: int
) -> Iterator[tuple[str, Sentence, str, list[str], random.Random]]:
    """Yield (split, sentence, its reply, `count` wrong replies, the generator to go on with)."""
    source = definition["source"]
    g = grammar(language)
    taken: set[str] = set()
    for split, size in _splits(definition, language):
        rng = random.Random(f"{salt} order {language} {split}")
        sentences = sample(language, source["intents"], split, size, salt, taken)
        keys = {s.label: s.reply for s in sorted(sentences, key=lambda s: (s.label, s.reply))}
        for sentence in sentences:
            if not _named(g.responses[sentence.reply]) <= sentence.values.keys():
                continue  # the reply names something the command does not
            right = _reply(g, sentence.reply, sentence.label, sentence.values, rng)
            alike = {sentence.label, *(x for group in source["alike"] if sentence.label in group for x in group)}
            others = [label for label in keys if label not in alike]
            wrong: list[str] = []
            drafts: list[tuple[str, tuple[str, str], Mapping[str, str]]] = [(sentence.label, sentence.reply, {})]
            drafts += [(label, keys[label], sentence.values) for label in rng.sample(others, len(others))]
            for label, key, values in drafts:
                reply = _reply(g, key, label, values, rng)
                # One thing and several of it are no different answers: "curtain position set", "curtains position set".
                if _singular(reply) not in map(_singular, (right, *wrong)) and len(wrong) < count:
                    wrong.append(reply)
            yield split, sentence, right, wrong, rng


def _singular(text: str) -> str:
    return str(regex.sub(r"s\b", "", text))


@functools.cache
def _jinja(text: str) -> Template:
    # The replies are code of an installed package; the sandbox and strict names keep a new version from surprises.
    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(text)


def _named(text: str) -> set[str]:
    """Return the filler lists of what a reply always names; durations are named as far as they were given."""
    return {
        filler
        for slot, filler in common()["reply_slots"].items()
        if regex.search(rf"slots\.{slot}\b", text) and f"slots.{slot} is defined" not in text
    }


def _reply(g: Grammar, key: tuple[str, str], label: str, values: Mapping[str, str], rng: random.Random) -> str:
    """Render the package's reply; what it names is taken from `values` or else drawn from the fillers."""
    drawn = {filler: rng.choice(g.fillers[filler]) for filler in sorted(_named(g.responses[key]) - values.keys())}
    known = {**drawn, **values}
    durations = [name for name in ("hours", "minutes", "seconds") if f"slots.{name} is defined" in g.responses[key]]
    if durations and not known.keys() & set(durations):
        known["minutes"] = rng.choice(g.fillers["minutes"])
    slots = {slot: known[filler] for slot, filler in common()["reply_slots"].items() if filler in known}
    state = {"domain": intent_about(label).get("domain", "")}
    return " ".join(str(_jinja(g.responses[key]).render(slots=slots, state=state)).split())
