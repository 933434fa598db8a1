"""Words to probe: which sentences and which forms are held out, and what a control task would call each form.

All of it follows from digests of ids and forms, so every checkpoint is asked the same words, and parallel sentences are
on the same side in every language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import feats
from ..records import Row

HELD_OUT_SENTENCES = 0.3
"""Share of the sentences that no probe is trained on."""
HELD_OUT_FORMS = 0.2
"""Share of the word forms that no probe is trained on, wherever they stand."""


@dataclass(frozen=True)
class Selection:
    """What of the data is probed: the configuration's `probes`."""

    features: tuple[str, ...]
    sentences: int
    """Of a language, at most."""
    words: int
    """To train on, of a feature in a language, at most."""
    minimum_train: int
    """Words to train on that a feature needs."""
    minimum_test: int
    """Words of held-out sentences that it needs."""
    minimum_class: int
    """Words to train on that each of its values needs; words of rarer values are left out."""

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Selection:
        """Read the configuration's `probes`."""
        minimum = value["minimum"]
        return cls(
            tuple(value["features"]),
            value["sentences"],
            value["words"],
            minimum["train"],
            minimum["test"],
            minimum["class"],
        )


@dataclass(frozen=True)
class Word:
    """One word of one sentence."""

    sentence: int
    """Index into the sentences."""
    place: int
    """Index into the sentence's tokens."""


@dataclass(frozen=True)
class Examples:
    """Labelled words of one feature in one language."""

    words: NDArray[np.intp]
    """(n,) positions in `Language.words`."""
    labels: NDArray[np.intp]
    """(n,) indices into the feature's values."""
    control: NDArray[np.intp]
    """(n,) the same of the control task."""


@dataclass(frozen=True)
class Feature:
    """One feature in one language: three sets of words that share neither sentences nor, where it says so, forms."""

    name: str
    values: tuple[str, ...]
    train: Examples
    test: Examples
    """Words of held-out sentences; their forms may stand in `train` too."""
    unseen: Examples
    """Words of held-out sentences whose forms are held out as well."""


@dataclass(frozen=True)
class Language:
    """All that is probed in one language."""

    sentences: Sequence[Row]
    """In the order of their ids' digests."""
    words: Sequence[Word]
    """Every word that some feature needs, in the order of the sentences."""
    features: Sequence[Feature]
    skipped: Mapping[str, str]
    """Feature -> why it is not probed here."""


def form(token: str) -> str:
    """Return the form of a word: what has to be unseen where forms are held out, whatever its case."""
    return token.casefold()


def share(*names: str) -> float:
    """Return a number in [0, 1) that looks drawn at random and depends on the names alone."""
    return int.from_bytes(sha256("\0".join(names).encode("utf-8")).digest()[:7], "big") / 2**56


def sentence_is_held_out(identity: str) -> bool:
    """Whether no probe is trained on words of this sentence."""
    return share("sentence", identity) < HELD_OUT_SENTENCES


def form_is_held_out(token: str) -> bool:
    """Whether no probe is trained on words of this form."""
    return share("form", form(token)) < HELD_OUT_FORMS


def control_labels(tokens: Iterable[str], feature: str, counts: Sequence[int]) -> list[int]:
    """Return the control task's label of every word: one per form, drawn from the distribution of the real labels.

    Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks, arXiv:1909.03368: a probe can get it
    right only by remembering forms.

    Args:
      tokens: the words.
      feature: part of what the draws depend on.
      counts: how often each value occurs among the words trained on.
    """
    bounds = np.array(list(accumulate(counts))) / sum(counts)
    known: dict[str, int] = {}
    labels = []
    for token in tokens:
        key = form(token)
        if key not in known:
            known[key] = int(np.searchsorted(bounds, share("control", feature, key), side="right"))
        labels.append(known[key])
    return labels


def choose_sentences(rows: Iterable[Row], limit: int) -> list[Row]:
    """Return the sentences of one language that are probed, in the order of their ids' digests.

    Args:
      rows: records of kind `word_features`, in any order.
      limit: sentences at most.
    """
    return sorted(rows, key=lambda row: (sha256(row["id"].encode("utf-8")).digest(), row["split"]))[:limit]


def choose_words(sentences: Sequence[Row], selection: Selection, seen: Sequence[Sequence[bool]]) -> Language:
    """Choose the words of one language.

    Args:
      sentences: those of `choose_sentences`.
      selection: what is asked for.
      seen: for each token of each sentence whether the model sees anything of it.
    """
    labelled: dict[str, list[tuple[Word, str]]] = {name: [] for name in selection.features}
    for index, row in enumerate(sentences):
        for place, text in enumerate(row["features"]):
            for name, value in feats.parse(text).items():
                if name in labelled and seen[index][place]:
                    labelled[name].append((Word(index, place), value))
    chosen: dict[str, _Chosen] = {}
    skipped: dict[str, str] = {}
    for name, words in labelled.items():
        choice = _choose(words, sentences, selection)
        if isinstance(choice, str):
            skipped[name] = choice
        else:
            chosen[name] = choice
    used = {word for one in chosen.values() for words in one.sets for word, _ in words}
    everything = sorted(used, key=lambda word: (word.sentence, word.place))
    position = {word: at for at, word in enumerate(everything)}
    features = [_feature(name, one, sentences, position) for name, one in chosen.items()]
    return Language(sentences, everything, features, skipped)


def count_contracted(words: Sequence[Word], sentences: Sequence[Row]) -> int | None:
    """Return how many words are several in one, or one of those; None where the rows do not say of every sentence."""
    count = 0
    for word in words:
        marks = sentences[word.sentence].get("contracted")
        if marks is None:
            return None
        count += marks[word.place]
    return count


@dataclass(frozen=True)
class _Chosen:
    values: tuple[str, ...]
    counts: tuple[int, ...]
    sets: tuple[list[tuple[Word, str]], ...]
    """To train on, of held-out sentences, of held-out sentences and forms."""


def _choose(words: Sequence[tuple[Word, str]], sentences: Sequence[Row], selection: Selection) -> _Chosen | str:
    """Split a feature's words; return why not where there are too few."""
    if not words:
        return "no word has it"
    train: list[tuple[Word, str]] = []
    test: list[tuple[Word, str]] = []
    unseen: list[tuple[Word, str]] = []
    for word, value in words:
        row = sentences[word.sentence]
        held_out = form_is_held_out(row["tokens"][word.place])
        if sentence_is_held_out(row["id"]):
            (unseen if held_out else test).append((word, value))
        elif not held_out:
            train.append((word, value))
    train = train[: selection.words]
    counts = Counter(value for _, value in train)
    values = tuple(sorted(value for value, count in counts.items() if count >= selection.minimum_class))
    train, test, unseen = ([one for one in some if one[1] in values] for some in (train, test, unseen))
    if len(values) < 2:
        return f"fewer than two values with {selection.minimum_class} words to train on"
    for some, minimum, what in (
        (train, selection.minimum_train, "to train on"),
        (test, selection.minimum_test, "in held-out sentences"),
    ):
        if len(some) < minimum:
            return f"{len(some)} words {what}, fewer than {minimum}"
    return _Chosen(values, tuple(counts[value] for value in values), (train, test, unseen))


def _feature(name: str, chosen: _Chosen, sentences: Sequence[Row], position: Mapping[Word, int]) -> Feature:
    index = {value: number for number, value in enumerate(chosen.values)}

    def examples(words: Sequence[tuple[Word, str]]) -> Examples:
        tokens = (sentences[word.sentence]["tokens"][word.place] for word, _ in words)
        return Examples(
            np.array([position[word] for word, _ in words], dtype=np.intp),
            np.array([index[value] for _, value in words], dtype=np.intp),
            np.array(control_labels(tokens, name, chosen.counts), dtype=np.intp),
        )

    train, test, unseen = map(examples, chosen.sets)
    return Feature(name, chosen.values, train, test, unseen)
