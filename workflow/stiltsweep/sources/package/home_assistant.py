"""Commands for a smart home, made from the sentence templates of the package home-assistant-intents.

A template such as  "[turn] on [all] the {area} (light|lights)"  is written to *recognise* what people say, so most of
what it can generate nobody would say. Three things stand between template and sentence, all of them data (the files in
`commands/`): a language may replace expansion rules of the package, rewrite what an expansion yields (so that a slot
takes the case its neighbours ask for), and refuse what remains odd. A slot that is glued to letters is refused.

Words used here: a *pattern* is one expansion of a template with its slots still open ("turn on the {room} lights"), a
*sentence* is a pattern with its slots filled.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import regex
from hassil import expression as hassil
from hassil.parse_expression import parse_sentence

from ...errors import UserError, nearest
from ...languages import SOURCE_LANGUAGE
from ...records import SPLITS, Row
from ...schema import read_yaml

INTENT_KEYS = frozenset({"intents"})
SLOTS_KEYS = frozenset({"intents"})
QUESTIONS_KEYS = frozenset({"intents", "questions", "commands"})
REPLY_KEYS = frozenset({"intents", "alike"})

DATA = Path(__file__).parent / "commands"
_LONGEST = 90
"""Characters; longer expansions pile up optional words."""
_SHORTEST = 4
_STOP = " / "
"""Between the commands of a log; a mark of no language."""
_OPTIONAL = 0.35
"""Chance that an optional part of a template is said."""
_TRIES = 120
"""Expansions tried for each sentence wanted, before a class is left smaller than asked for."""
_DEAL = ("train", "test", "train", "dev", "train")
"""English templates are dealt to the splits in this pattern: 3 in 5 are for training."""
_SLOT = regex.compile(r"\{([a-z_.]+)\}")
_SLOT_TYPE = regex.compile(r"\{([A-Z]+)\}")
_TOKEN = regex.compile(r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s]")
_GRAPHEME = regex.compile(r"\X")

Span = tuple[int, int, str]
"""(start, end, slot type), code points of the text, end exclusive."""


@dataclass(frozen=True)
class Template:
    """One template of one intent, with the group of templates it stands in."""

    intent: str
    text: str
    response: str
    domains: tuple[str, ...]
    """Kinds of device it is about; empty if any."""
    rules: Mapping[str, str]
    """Expansion rules of this group alone."""


@dataclass(frozen=True)
class Sentence:
    """A filled pattern."""

    text: str
    spans: tuple[Span, ...]
    label: str
    pattern: str
    values: Mapping[str, str]
    """Filler list -> the words filled in."""
    reply: tuple[str, str]
    """(intent, response key) of the template: where its reply stands in the package."""


# ---------------------------------------------------------------------------------------------- the language's data


@dataclass(frozen=True)
class Grammar:
    """Templates, rules and fillers of one language."""

    language: str
    templates: tuple[Template, ...]
    rules: Mapping[str, str]
    responses: Mapping[tuple[str, str], str]
    """(intent, response key) -> reply, as the package writes it (a Jinja text)."""
    fillers: Mapping[str, tuple[str, ...]]
    """`list` or `list.form` -> words; rows of a list's forms keep their order."""
    rewrite: tuple[tuple[regex.Pattern[str], str], ...]
    refuse: tuple[regex.Pattern[str], ...]
    spaced: bool
    """Whether words are written apart; otherwise a character (grapheme cluster) is a token."""
    glued: bool
    """Whether a slot may touch a letter of the template."""


@functools.cache
def _common() -> Mapping[str, Any]:
    common: Mapping[str, Any] = read_yaml(DATA / "common.yaml")
    return common


@functools.cache
def grammar(language: str) -> Grammar:
    """Read a language's templates from the package and its fillers from `commands/{language}.yaml`.

    Raises:
      UserError: there is no such file.
    """
    path = DATA / f"{language}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in DATA.glob("*.yaml") if p.stem != "common")
        raise UserError(f"no fillers for language {language!r}; there are: {', '.join(known)}. Add {path.name}.")
    own = read_yaml(path)
    spec = importlib.util.find_spec("home_assistant_intents")
    assert spec is not None and spec.origin is not None  # the version was checked before
    file = Path(spec.origin).parent / "data" / f"{own.get('file', language)}.json"
    package = json.loads(file.read_text(encoding="utf-8"))
    fillers = _fillers(own["fillers"])
    fillers |= {name: tuple(map(str, values)) for name, values in _common()["numbers"].items()}
    templates = []
    for intent, about in package["intents"].items():
        for group in about["data"]:
            domains = group.get("slots", {}).get("domain") or group.get("requires_context", {}).get("domain") or []
            for text in group["sentences"]:
                for old, new in own.get("templates", []):
                    text = regex.sub(old, new, text)
                if any(regex.search(pattern, text) for pattern in own.get("drop", [])) or not _fillable(text, fillers):
                    continue
                templates.append(
                    Template(
                        intent.removeprefix("Hass"),
                        text,
                        group["response"],
                        (domains,) if isinstance(domains, str) else tuple(domains),
                        group.get("expansion_rules", {}),
                    )
                )
    replies = package["responses"]["intents"]
    return Grammar(
        language,
        tuple(templates),
        {**package["expansion_rules"], **own.get("rules", {})},
        {(i.removeprefix("Hass"), key): text for i, keys in replies.items() for key, text in keys.items()},
        fillers,
        tuple((regex.compile(old), new) for old, new in own.get("rewrite", [])),
        tuple(regex.compile(pattern) for pattern in own.get("refuse", [])),
        own.get("spaced", True),
        own.get("glued", not own.get("spaced", True)),
    )


def _fillable(text: str, fillers: Mapping[str, Sequence[str]]) -> bool:
    """Whether there are words for every list a template names itself (its rules are looked into when it is expanded)."""
    heads = {name.partition(".")[0] for name in fillers}
    lists: Mapping[str, str] = _common()["lists"]
    names = {name.partition(".")[0] for name in regex.findall(r"\{([^}:]+)", text)}
    return all(name == "name" or lists.get(name, name) in heads for name in names)


def _fillers(lists: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Read filler lists: "a, b, c", or {forms: "base, other", words: ["a, a-other", ...]} for a list with forms."""
    found: dict[str, tuple[str, ...]] = {}
    for name, spec in lists.items():
        if isinstance(spec, str):
            found[name] = tuple(word.strip() for word in spec.split(","))
            continue
        forms = [form.strip() for form in spec["forms"].split(",")]
        rows = [[cell.strip() for cell in row.split(",")] for row in spec["words"]]
        for row in rows:
            assert len(row) == len(forms), f"{name}: {row} does not have the forms {forms}"
        for form, column in zip(forms, zip(*rows, strict=True), strict=True):
            found[name if form == "base" else f"{name}.{form}"] = column
    return found


# --------------------------------------------------------------------------------------------------- from template to
#                                                                                                      sentence


_parse = functools.cache(parse_sentence)


def expand(grammar: Grammar, template: Template, rng: random.Random, names: str) -> str:
    """Return one random pattern of a template; `names` is the filler list that {name} stands for."""
    lists: Mapping[str, str] = {**_common()["lists"], "name": names}

    def say(node: hassil.Expression) -> str:
        if isinstance(node, hassil.TextChunk):
            return str(node.original_text)
        if isinstance(node, hassil.Alternative):
            if node.is_optional:
                items = [i for i in node.items if not (isinstance(i, hassil.TextChunk) and i.is_empty)]
                return say(rng.choice(items)) if items and rng.random() < _OPTIONAL else ""
            return say(rng.choice(node.items))
        if isinstance(node, hassil.Permutation):
            return " ".join(say(item) for item in rng.sample(node.items, len(node.items)))
        if isinstance(node, hassil.Group):
            return "".join(say(item) for item in node.items)
        if isinstance(node, hassil.RuleReference):
            rule = template.rules.get(node.rule_name) or grammar.rules[node.rule_name]
            return say(_parse(rule).expression)
        assert isinstance(node, hassil.ListReference)
        name, dot, form = str(node.list_name).partition(".")
        return "{" + lists.get(name, name) + dot + form + "}"

    text = " ".join(say(_parse(template.text).expression).split())
    for old, new in grammar.rewrite:
        text = old.sub(new, text)
    return " ".join(text.split())


def _usable(grammar: Grammar, pattern: str) -> bool:
    """Whether every slot can be filled, none is glued to a word, none comes twice, and nothing is refused."""
    names = [name for name in _SLOT.findall(pattern)]
    heads = [name.split(".")[0] for name in names]
    if len(set(heads)) < len(heads) or any(name not in grammar.fillers for name in names):
        return False
    if not grammar.glued and regex.search(r"[\p{L}\p{N}]\{|\}[\p{L}\p{N}]", pattern):
        return False
    return not any(refused.search(pattern) for refused in grammar.refuse)


def fill(
    grammar: Grammar, pattern: str, label: str, reply: tuple[str, str], rng: random.Random
) -> Sentence:
    """Fill a pattern's slots.

    A filler may hold its slot in brackets: "in der [Küche]" fills the slot with Küche. Where words are written apart
    a span covers whole words, so that an affix or a clitic is inside.
    """
    types: Mapping[str, str] = _common()["types"]
    text, end = "", 0
    spans: list[Span] = []
    values: dict[str, str] = {}
    for match in _SLOT.finditer(pattern):
        text += pattern[end : match.start()]
        end = match.end()
        name = match.group(1)
        phrase = rng.choice(grammar.fillers[name])
        before, bracket, rest = phrase.partition("[")
        word, _, after = rest.partition("]") if bracket else (phrase, "", "")
        before = before if bracket else ""
        start = len(text) + len(before)
        text += before + word + after
        head = name.split(".")[0]
        values[head] = word
        if head in types:
            spans.append((start, start + len(word), types[head]))
    text += pattern[end:]
    if grammar.spaced:
        spans = [_to_words(text, span) for span in spans]
    return Sentence(text, tuple(spans), label, pattern, values, reply)


def _to_words(text: str, span: Span) -> Span:
    inside = [m for m in _TOKEN.finditer(text) if m.start() < span[1] and m.end() > span[0]]
    return inside[0].start(), inside[-1].end(), span[2]


# ----------------------------------------------------------------------------------------------------------- sampling


def digest(text: str) -> int:
    """Return a number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


@functools.cache
def template_splits(language: str) -> Mapping[tuple[str, str], str]:
    """Return (intent, skeleton) -> the one split it is for; every template is for `test` in a transfer language.

    English skeletons are dealt out intent by intent, in the order of their kind of device, of their slots, and of their
    digests: so a split has templates of every label, and of every slot where there are enough. One that stands in
    several groups keeps its first split.
    """
    templates = grammar(language).templates
    if language != SOURCE_LANGUAGE:
        return {(t.intent, skeleton(t.text)): "test" for t in templates}
    groups: dict[tuple[str, str], set[str]] = {}
    for template in templates:
        groups.setdefault((template.intent, " ".join(template.domains)), set()).add(skeleton(template.text))
    found: dict[tuple[str, str], str] = {}
    dealt: Counter[str] = Counter()
    for (intent, _), texts in sorted(groups.items()):
        for text in sorted(texts, key=_order):
            if (intent, text) not in found:
                found[intent, text] = _DEAL[dealt[intent] % len(_DEAL)]
                dealt[intent] += 1
    return found


def _order(text: str) -> tuple[int, list[str], int]:
    slots = sorted(_SLOT_TYPE.findall(text))
    return len(slots), slots, digest(text)


def skeleton(text: str) -> str:
    """Return a template with its lists named by their type of slot: templates that differ in a list alone are one."""
    types: Mapping[str, str] = _common()["types"]
    lists: Mapping[str, str] = _common()["lists"]

    def type_of(match: regex.Match[str]) -> str:
        name = match[1]
        return "{" + ("DEVICE" if name == "name" else types.get(lists.get(name, name), name)) + "}"

    return regex.sub(r"\{([^}:]+)(?::[^}]*)?\}", type_of, text)


def sample(
    language: str, intents: Sequence[str], split: str, size: int, salt: str, taken: set[str]
) -> list[Sentence]:
    """Return up to `size` different sentences, balanced over `intents`, in random order.

    Args:
      language: a language with a file in `commands/`.
      intents: names of intents in `commands/common.yaml`; they are the sentences' labels.
      split: only templates of this split are used.
      size: sentences wanted; an intent with too few possible sentences has fewer.
      salt: makes the samples of two tasks different.
      taken: texts and patterns of other splits, not to be used again; those used here are added.

    Raises:
      UserError: an intent is unknown.
    """
    g = grammar(language)
    splits = template_splits(language)
    rng = random.Random(f"{salt} {language} {split}")
    found: dict[str, Sentence] = {}
    for index, label in enumerate(intents):
        about = _intent(label)
        wanted = size // len(intents) + (index < size % len(intents))
        pool = [t for t in g.templates if splits[t.intent, skeleton(t.text)] == split and _matches(t, about)]
        rng.shuffle(pool)
        for number in range(_TRIES * wanted if pool else 0):
            if not wanted:
                break
            # Every template has its turn before one comes again, however many expansions it has.
            template = pool[number % len(pool)]
            domain = about.get("domain") or next(iter(template.domains), "")
            names = about.get("name") or _common()["names"].get(domain, "name")
            pattern = expand(g, template, rng, names)
            if pattern in taken or not _usable(g, pattern):
                continue
            sentence = fill(g, pattern, label, (template.intent, template.response), rng)
            text = sentence.text
            if text in taken or text in found or not _SHORTEST <= len(text) <= _LONGEST:
                continue
            if any(refused.search(text) for refused in g.refuse):
                continue
            found[text] = sentence
            wanted -= 1
    taken |= found.keys() | {sentence.pattern for sentence in found.values()}
    sentences = list(found.values())
    rng.shuffle(sentences)
    return sentences


def _intent(label: str) -> Mapping[str, Any]:
    known: Mapping[str, Mapping[str, Any]] = _common()["intents"]
    if label not in known:
        raise UserError(f"source.intents: {label!r} is unknown; known: {', '.join(known)}.{nearest(label, known)}")
    return known[label]


def _matches(template: Template, about: Mapping[str, Any]) -> bool:
    return (
        template.intent in about["intents"]
        and template.response in about.get("responses", (template.response,))
        and about.get("domain", "") in ("", *template.domains)
    )


def _splits(definition: Mapping[str, Any], language: str) -> list[tuple[str, int]]:
    """Return (split, size) for a language: all splits in English, else the test split; test first.

    The test split has the first choice of sentences, so that it does not depend on the size of the training data.
    """
    sizes: Mapping[str, int] = definition["source"]["sizes"]
    for split in sizes:
        if split not in SPLITS:
            raise UserError(f"source.sizes: {split!r} is not a split; allowed: {', '.join(SPLITS)}.")
    wanted = SPLITS if language == SOURCE_LANGUAGE else ("test",)
    return [(split, sizes[split]) for split in reversed(SPLITS) if split in wanted and split in sizes]


def _in_order(made: Mapping[str, list[Row]]) -> Iterator[Row]:
    """Yield the rows of the splits in the order train, dev, test, numbered."""
    for split in SPLITS:
        for number, row in enumerate(made.get(split, ())):
            yield {"id": f"{split}-{number}", "split": split, **row}


# -------------------------------------------------------------------------------------------------------------- tasks


def intent(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """Which of the intents a command has: classification of one text."""
    taken: set[str] = set()
    made: dict[str, list[Row]] = {}
    for split, size in _splits(definition, language):
        sentences = sample(language, definition["source"]["intents"], split, size, "intent", taken)
        made[split] = [{"text_a": s.text, "label": s.label} for s in sentences]
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
            made[split].append(tag(best.text, best.spans, grammar(language).spaced))
        random.Random(f"slots order {language} {split}").shuffle(made[split])
    return _in_order(made)


def tag(text: str, spans: Sequence[Span], spaced: bool) -> Row:
    """Cut a text into tokens with BIO tags.

    Tokens are words and single punctuation marks, or grapheme clusters where words are not written apart; `space_after`
    tells where the text had a space, so that the tokens give the text back exactly.
    """
    pattern = _TOKEN if spaced else _GRAPHEME
    found = [m for m in pattern.finditer(text) if not m.group().isspace()]
    tags = []
    for token in found:
        span = next((s for s in spans if s[0] < token.end() and token.start() < s[1]), None)
        tags.append("O" if span is None else f"{'B' if token.start() <= span[0] else 'I'}-{span[2]}")
    return {
        "tokens": [m.group() for m in found],
        "tags": tags,
        "space_after": [a.end() < b.start() for a, b in pairwise(found)] + [False],
    }


def questions(definition: Mapping[str, Any], language: str) -> Iterator[Row]:
    """An English question about a short log of commands: extractive question answering.

    A log has one command that answers the question and others of different intents; at least one of these holds a slot
    of the answer's type, where there is such a command, so that the type alone does not give the answer away.
    """
    source = definition["source"]
    asked: Mapping[str, Mapping[str, str]] = source["questions"]
    taken: set[str] = set()
    made: dict[str, list[Row]] = {}
    for split, size in _splits(definition, language):
        pool = sample(language, source["intents"], split, 3 * size, "questions", taken)
        rng = random.Random(f"questions order {language} {split}")
        waiting: dict[tuple[str, str], list[tuple[Sentence, Span]]] = {}
        for sentence in pool:
            for span in sentence.spans:
                if span[2] in asked.get(sentence.label, {}):
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
            others = _others(pool, sentence, span, source["commands"] - 1, rng)
            made[split].append(_log(sentence, span, others, asked[label][kind], rng))
        rng.shuffle(made[split])
    return _in_order(made)


def _others(pool: Sequence[Sentence], sentence: Sentence, span: Span, count: int, rng: random.Random) -> list[Sentence]:
    """Choose the commands around the one that answers: of other intents each, and the answer nowhere in them."""
    types: Mapping[str, str] = _common()["types"]
    numbers = {types[name] for name in _common()["numbers"]}
    answer = sentence.text[span[0] : span[1]]

    def distance(other: Sentence) -> int:
        kinds = {kind for _, _, kind in other.spans}
        return 0 if span[2] in kinds else 1 if span[2] in numbers and kinds & numbers else 2

    fit = [s for s in rng.sample(pool, len(pool)) if answer not in s.text and s.label != sentence.label]
    chosen = [min(fit, key=distance)]
    for other in fit:
        if len(chosen) < count and other.label not in {c.label for c in chosen}:
            chosen.append(other)
    return chosen[:count]


def _log(sentence: Sentence, span: Span, others: Sequence[Sentence], question: str, rng: random.Random) -> Row:
    lines = [sentence, *others]
    rng.shuffle(lines)
    before = lines[: lines.index(sentence)]
    start = sum(len(line.text) + len(_STOP) for line in before) + span[0]
    return {
        "context": _STOP.join(line.text for line in lines),
        "question": question,
        "answers": [{"text": sentence.text[span[0] : span[1]], "start": start}],
    }


# ------------------------------------------------------------------------------------------------------------ replies


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
        rows.append({"text_a": sentence.text, "text_b": right if label == "match" else rng.choice(wrong), "label": label})
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
            drafts = [(sentence.label, sentence.reply, {})]
            drafts += [(label, keys[label], sentence.values) for label in rng.sample(others, len(others))]
            for label, key, values in drafts:
                reply = _reply(g, key, label, values, rng)
                # One thing and several of it are no different answers: "curtain position set", "curtains position set".
                if _singular(reply) not in map(_singular, (right, *wrong)) and len(wrong) < count:
                    wrong.append(reply)
            yield split, sentence, right, wrong, rng


def _singular(text: str) -> str:
    return regex.sub(r"s\b", "", text)


@functools.cache
def _jinja(text: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(text)  # noqa: S701


def _named(text: str) -> set[str]:
    """Return the filler lists of what a reply always names; durations are named as far as they were given."""
    return {
        filler
        for slot, filler in _common()["reply_slots"].items()
        if regex.search(rf"slots\.{slot}\b", text) and f"slots.{slot} is defined" not in text
    }


def _reply(g: Grammar, key: tuple[str, str], label: str, values: Mapping[str, str], rng: random.Random) -> str:
    """Render the package's reply; what it names is taken from `values` or else drawn from the fillers."""
    drawn = {filler: rng.choice(g.fillers[filler]) for filler in sorted(_named(g.responses[key]) - values.keys())}
    known = {**drawn, **values}
    durations = [name for name in ("hours", "minutes", "seconds") if f"slots.{name} is defined" in g.responses[key]]
    if durations and not known.keys() & set(durations):
        known["minutes"] = rng.choice(g.fillers["minutes"])
    slots = {slot: known[filler] for slot, filler in _common()["reply_slots"].items() if filler in known}
    state = {"domain": _intent(label).get("domain", "")}
    return " ".join(str(_jinja(g.responses[key]).render(slots=slots, state=state)).split())
