"""Commands for a smart home, made from the sentence templates of the package home-assistant-intents.

A template such as  "[turn] on [all] the {area} (light|lights)"  is written to *recognise* what people say, so most of
what it can generate nobody would say. Three things stand between template and sentence, all of them data (the files in
`languages/`): a language may replace expansion rules of the package, rewrite what an expansion yields (so that a slot
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex
from hassil import expression as hassil
from hassil.parse_expression import parse_sentence

from ...errors import UserError, nearest
from ...languages import ENGLISH
from ...schema import read_yaml

DATA = Path(__file__).parent / "languages"
_LONGEST = 90
"""Characters; longer expansions pile up optional words."""
_SHORTEST = 4
_OPTIONAL = 0.35
"""Chance that an optional part of a template is said."""
_TRIES = 120
"""Expansions tried for each sentence wanted, before a class is left smaller than asked for."""
_DEAL = ("train", "test", "train", "dev", "train")
"""English templates are dealt to the splits in this pattern: 3 in 5 are for training."""
_SLOT = regex.compile(r"\{([a-z_.]+)\}")
_SLOT_TYPE = regex.compile(r"\{([A-Z]+)\}")
TOKEN = regex.compile(r"[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s]")

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
    template: str
    """The intent and skeleton of the template (see `skeleton`): what is made from it has much in common."""


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
def common() -> Mapping[str, Any]:
    """Return what all languages share."""
    shared: Mapping[str, Any] = read_yaml(DATA.parent / "common.yaml")
    return shared


@functools.cache
def grammar(language: str) -> Grammar:
    """Read a language's templates from the package and its fillers from `languages/{language}.yaml`.

    Raises:
      UserError: there is no such file.
    """
    path = DATA / f"{language}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in DATA.glob("*.yaml"))
        raise UserError(f"no fillers for language {language!r}; there are: {', '.join(known)}. Add {path.name}.")
    own = read_yaml(path)
    spec = importlib.util.find_spec("home_assistant_intents")
    assert spec is not None and spec.origin is not None  # the version was checked before
    file = Path(spec.origin).parent / "data" / f"{own.get('file', language)}.json"
    package = json.loads(file.read_text(encoding="utf-8"))
    fillers = _fillers(own["fillers"])
    fillers |= {name: tuple(map(str, values)) for name, values in common()["numbers"].items()}
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
    """Whether there are words for every list a template names itself (those of its rules show when it is expanded)."""
    heads = {name.partition(".")[0] for name in fillers}
    lists: Mapping[str, str] = common()["lists"]
    names = {name.partition(".")[0] for name in regex.findall(r"\{([^}:]+)", text)}
    return all(name == "name" or lists.get(name, name) in heads for name in names)


def _fillers(lists: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Read filler lists: "a, b, c", or {forms: "base, other", words: ["a, a-other", ...]} for a list with forms."""
    columns: dict[str, tuple[str, ...]] = {}
    for name, spec in lists.items():
        if isinstance(spec, str):
            columns[name] = tuple(word.strip() for word in spec.split(","))
            continue
        forms = [form.strip() for form in spec["forms"].split(",")]
        rows = [[cell.strip() for cell in row.split(",")] for row in spec["words"]]
        for row in rows:
            assert len(row) == len(forms), f"{name}: {row} does not have the forms {forms}"
        for form, column in zip(forms, zip(*rows, strict=True), strict=True):
            columns[name if form == "base" else f"{name}.{form}"] = column
    return columns


_parse = functools.cache(parse_sentence)


def expand(grammar: Grammar, template: Template, rng: random.Random, names: str) -> str:
    """Return one random pattern of a template; `names` is the filler list that {name} stands for."""
    lists: Mapping[str, str] = {**common()["lists"], "name": names}

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
    names = list(_SLOT.findall(pattern))
    heads = [name.split(".")[0] for name in names]
    if len(set(heads)) < len(heads) or any(name not in grammar.fillers for name in names):
        return False
    if not grammar.glued and regex.search(r"[\p{L}\p{N}]\{|\}[\p{L}\p{N}]", pattern):
        return False
    return not any(refused.search(pattern) for refused in grammar.refuse)


def fill(
    grammar: Grammar, pattern: str, label: str, reply: tuple[str, str], rng: random.Random, template: str = ""
) -> Sentence:
    """Fill a pattern's slots.

    A filler may hold its slot in brackets: "in der [Küche]" fills the slot with Küche. Where words are written apart
    a span covers whole words, so that an affix or a clitic is inside.
    """
    types: Mapping[str, str] = common()["types"]
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
    return Sentence(text, tuple(spans), label, pattern, values, reply, template)


def _to_words(text: str, span: Span) -> Span:
    inside = [m for m in TOKEN.finditer(text) if m.start() < span[1] and m.end() > span[0]]
    return inside[0].start(), inside[-1].end(), span[2]


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
    if language != ENGLISH:
        return {(t.intent, skeleton(t.text)): "test" for t in templates}
    groups: dict[tuple[str, str], set[str]] = {}
    for template in templates:
        groups.setdefault((template.intent, " ".join(template.domains)), set()).add(skeleton(template.text))
    split_of: dict[tuple[str, str], str] = {}
    dealt: Counter[str] = Counter()
    for (intent, _), texts in sorted(groups.items()):
        for text in sorted(texts, key=_order):
            if (intent, text) not in split_of:
                split_of[intent, text] = _DEAL[dealt[intent] % len(_DEAL)]
                dealt[intent] += 1
    return split_of


def _order(text: str) -> tuple[int, list[str], int]:
    slots = sorted(_SLOT_TYPE.findall(text))
    return len(slots), slots, digest(text)


def skeleton(text: str) -> str:
    """Return a template with its lists named by their type of slot: templates that differ in a list alone are one."""
    types: Mapping[str, str] = common()["types"]
    lists: Mapping[str, str] = common()["lists"]

    def type_of(match: regex.Match[str]) -> str:
        name = match[1]
        return "{" + ("DEVICE" if name == "name" else types.get(lists.get(name, name), name)) + "}"

    return str(regex.sub(r"\{([^}:]+)(?::[^}]*)?\}", type_of, text))


def sample(language: str, intents: Sequence[str], split: str, size: int, salt: str, taken: set[str]) -> list[Sentence]:
    """Return up to `size` different sentences, balanced over `intents`, in random order.

    Args:
      language: a language with a file in `languages/`.
      intents: names of intents in `common.yaml`; they are the sentences' labels.
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
    chosen: dict[str, Sentence] = {}
    for index, label in enumerate(intents):
        about = intent_about(label)
        wanted = size // len(intents) + (index < size % len(intents))
        pool = [t for t in g.templates if splits[t.intent, skeleton(t.text)] == split and _matches(t, about)]
        rng.shuffle(pool)
        for number in range(_TRIES * wanted if pool else 0):
            if not wanted:
                break
            # Every template has its turn before one comes again, however many expansions it has.
            template = pool[number % len(pool)]
            domain = about.get("domain") or next(iter(template.domains), "")
            names = about.get("name") or common()["names"].get(domain, "name")
            pattern = expand(g, template, rng, names)
            if pattern in taken or not _usable(g, pattern):
                continue
            named = f"{template.intent} {digest(skeleton(template.text)):016x}"
            sentence = fill(g, pattern, label, (template.intent, template.response), rng, named)
            text = sentence.text
            if text in taken or text in chosen or not _SHORTEST <= len(text) <= _LONGEST:
                continue
            if any(refused.search(text) for refused in g.refuse):
                continue
            chosen[text] = sentence
            wanted -= 1
    taken |= chosen.keys() | {sentence.pattern for sentence in chosen.values()}
    sentences = list(chosen.values())
    rng.shuffle(sentences)
    return sentences


def intent_about(label: str) -> Mapping[str, Any]:
    """Return what `common.yaml` says of an intent.

    Raises:
      UserError: it is unknown.
    """
    known: Mapping[str, Mapping[str, Any]] = common()["intents"]
    if label not in known:
        raise UserError(f"source.intents: {label!r} is unknown; known: {', '.join(known)}.{nearest(label, known)}")
    return known[label]


def _matches(template: Template, about: Mapping[str, Any]) -> bool:
    return (
        template.intent in about["intents"]
        and template.response in about.get("responses", (template.response,))
        and about.get("domain", "") in ("", *template.domains)
    )
