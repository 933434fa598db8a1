"""What of its texts a model never meets, counted example by example and summed up for checkpoints, predictions, cells.

Summed up, the counts have these names; those that a kind or an interface lacks are left out:

* inputs, inputs_cut, pieces, pieces_lost: examples, those that lack some of their texts; the same in pieces.
* candidates, candidates_cut, candidate_pieces, candidate_pieces_lost: of what queries are compared with.
* targets, targets_cut, target_pieces, target_pieces_lost: of what training is to write or to mark.
* answers, answers_cut: what was generated; what was stopped at `max_target_length` before it had ended.
* words, words_unpredicted: of tagging; those that no input holds anything of, or that no tag was written for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of one example's texts its inputs and its target lack, in pieces without special ones."""

    pieces: int = 0
    """Of its texts. What its inputs share (a context before each of several choices) counts in each of them; what its
    windows share counts once."""
    lost: int = 0
    """Of these, those that no input holds."""
    target_pieces: int = 0
    """Of the text to write, or of the answer to mark; 0: there is none."""
    target_lost: int = 0
    words: int = 0
    """Words to tag."""
    words_lost: int = 0
    """Words that no input holds anything of."""
    candidate: bool = False
    """Whether it is a candidate of retrieval or mining."""


NOTHING = Cut()


@dataclass(frozen=True)
class Part:
    """Things that may be cut, of one sort."""

    total: str
    """Name of their number."""
    cut: str
    """Name of the number of those that are cut."""
    what: str
    """What happens to them, to be read behind a share: `20% of the test inputs are ...`."""
    pieces: tuple[str, ...] = ()
    """Names of the numbers of pieces, and of those that are lost, where they are counted."""

    @property
    def names(self) -> tuple[str, ...]:
        """All its counts."""
        return self.total, self.cut, *self.pieces


TEST = (
    Part("inputs", "inputs_cut", "of the test inputs are cut at max_length", ("pieces", "pieces_lost")),
    Part(
        "candidates",
        "candidates_cut",
        "of the candidates are cut at max_length",
        ("candidate_pieces", "candidate_pieces_lost"),
    ),
    Part("answers", "answers_cut", "of the generated answers are stopped at max_target_length"),
    Part("words", "words_unpredicted", "of the words get no tag of their own"),
)
"""What may be cut of test data."""


def total(cuts: Iterable[Cut]) -> dict[str, int]:
    """Sum up."""
    counts: Counter[str] = Counter({"inputs": 0, "inputs_cut": 0, "pieces": 0, "pieces_lost": 0})
    for one in cuts:
        many, single = ("candidates", "candidate_") if one.candidate else ("inputs", "")
        _count(counts, many, f"{single}pieces", one.pieces, one.lost)
        if one.target_pieces:
            _count(counts, "targets", "target_pieces", one.target_pieces, one.target_lost)
        if one.words:
            counts["words"] += one.words
            counts["words_unpredicted"] += one.words_lost
    return dict(counts)


def _count(counts: Counter[str], many: str, pieces: str, of: int, lost: int) -> None:
    for name, number in ((many, 1), (f"{many}_cut", int(lost > 0)), (pieces, of), (f"{pieces}_lost", lost)):
        counts[name] += number


def added(counts: Iterable[Counts]) -> dict[str, int]:
    """Add up counts; a name that one of them lacks counts nothing there."""
    sums: Counter[str] = Counter()
    for one in counts:
        sums.update(one)
    return dict(sums)


def describe(counts: Counts) -> str:
    """Return what is cut in a few words for a log; empty where nothing is."""
    texts = []
    for many, pieces in (("inputs", "pieces"), ("candidates", "candidate_pieces"), ("targets", "target_pieces")):
        if counts.get(f"{many}_cut"):
            texts.append(
                f"{counts[f'{many}_cut']:,} of {counts[many]:,} {many} cut "
                f"({counts[f'{pieces}_lost']:,} of {counts[pieces]:,} pieces lost)"
            )
    if counts.get("answers_cut"):
        texts.append(f"{counts['answers_cut']:,} of {counts['answers']:,} answers stopped at max_target_length")
    if counts.get("words_unpredicted"):
        texts.append(f"{counts['words_unpredicted']:,} of {counts['words']:,} words not predicted")
    return ", ".join(texts)
