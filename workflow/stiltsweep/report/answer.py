"""The answer in sentences, made from the numbers alone.

Every sentence follows from lift.csv, the cells and run.json by the rules in this module; no finding is typed in.
"Significant" always means: the p value of the configured resampling, after Holm's correction, is below 1 - confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..languages import SOURCE_LANGUAGE
from .results import ALL, Comparison, Results
from .text import count, counts, interval, lift, listed, p_equals, percent, span

_SHOWN = 5
"""Comparisons a list spells out before it points to the table."""


@dataclass(frozen=True)
class Detail:
    """One item of a list."""

    text: str
    label: str = ""
    """What the item is about, set in bold before it."""


@dataclass(frozen=True)
class Point:
    """One aspect of the answer: a question, a sentence or two, and details."""

    question: str
    sentences: str
    details: list[Detail] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """What the report opens with."""

    verdict: str
    """The answer in one clause or two."""
    summary: str
    """The counts behind the verdict."""
    points: list[Point]

    @property
    def headline(self) -> str:
        """Verdict and summary as one line, for a terminal."""
        return f"{self.verdict} {self.summary}"


@dataclass(frozen=True)
class _Tally:
    """Comparisons sorted by what their tests say; contaminated ones are set aside."""

    up: list[Comparison]
    down: list[Comparison]
    open: list[Comparison]
    untested: list[Comparison]
    contaminated: list[Comparison]

    @property
    def tested(self) -> list[Comparison]:
        return [*self.up, *self.down, *self.open]


def _tally(rows: Sequence[Comparison], alpha: float) -> _Tally:
    clean = [row for row in rows if not row.contaminated]
    tested = [row for row in clean if row.tested]
    found = sorted((row for row in tested if row.significant(alpha)), key=lambda row: -abs(row.lift or 0))
    return _Tally(
        up=[row for row in found if (row.lift or 0) > 0],
        down=[row for row in found if (row.lift or 0) < 0],
        open=[row for row in tested if not row.significant(alpha) or row.lift == 0],
        untested=[row for row in clean if not row.tested],
        contaminated=[row for row in rows if row.contaminated],
    )


def answer(results: Results) -> Answer:
    """Put what the sweep found into sentences."""
    writer = _Writer(results)
    overall = _tally(results.select(ALL), results.run.alpha)
    return Answer(
        verdict=_verdict(overall),
        summary=writer.summary(overall),
        points=[
            *writer.overall(overall),
            *writer.by_family(),
            *writer.contrasts(),
            writer.certainty(),
            *writer.care(),
        ],
    )


def _verdict(tally: _Tally) -> str:
    what = "English intermediate training"
    n = len(tally.tested)
    if not n:
        return "No comparison over all transfer languages could be tested."
    if not tally.up and not tally.down:
        return f"No significant effect of {what} was found in {count(n, 'comparison')}; that is no proof that there is none."
    verb, most, other, rest = (
        ("helped", tally.up, "hurt", tally.down) if tally.up else ("hurt", tally.down, "helped", tally.up)
    )
    where = "in the one comparison made" if n == 1 else f"in all {n} comparisons" if len(most) == n else ""
    where = where or f"in {len(most)} of {count(n, 'comparison')}"
    if len(most) == n:
        return f"{what} {verb} significantly {where}."
    return f"{what} {verb} significantly {where} and {other} significantly in {len(rest) or 'none'}."


class _Writer:
    def __init__(self, results: Results) -> None:
        self.results = results
        self.run = results.run
        self.alpha = results.run.alpha
        self.level = percent(self.alpha)

    # Names and numbers.

    def pair(self, row: Comparison) -> str:
        """Write which comparison a row is, naming the model only where there are several."""
        model = f"{row.model}, " if len(self.run.models) > 1 else ""
        return f"{model}{row.intermediate} → {row.target}"

    def finding(self, row: Comparison) -> str:
        """Write a comparison with its lift, interval, p and counts."""
        share = percent(float(self.run.significance["confidence"]))
        low, high = row.ci_low, row.ci_high
        examples = f", {row.n_examples:,} test examples" if row.n_examples else ""
        return (
            f"{self.pair(row)}: {lift(row.lift)} points ({share} interval {interval(low, high)}, {p_equals(row.p_holm)} "
            f"after Holm; {count(row.n_languages, 'language')}, {count(row.n_seeds, 'seed')}{examples})"
        )

    def findings(self, rows: Sequence[Comparison]) -> list[str]:
        """Spell out the largest few comparisons and say how many more there are."""
        more = [f"and {len(rows) - _SHOWN} more, in the table"] if len(rows) > _SHOWN else []
        return [self.finding(row) + "." for row in rows[:_SHOWN]] + [f"{text}." for text in more]

    def detectable(self, rows: Sequence[Comparison], what: str = "lift") -> str:
        """Say which lift the tests could have seen; empty where lift.csv does not say."""
        values = [row.detectable_lift for row in rows if row.detectable_lift is not None]
        if not values:
            return ""
        who = "it" if len(rows) == 1 else "they"
        return f" The smallest true {what} {who} could have found with 80% power: {span(values)} points."

    # The parts of the answer.

    def summary(self, tally: _Tally) -> str:
        if not tally.tested:
            return _reasons(tally.untested) or "lift.csv holds no such comparison."
        n = len(tally.tested)
        languages = counts([row.n_languages for row in tally.tested], "transfer language")
        seeds = counts([row.n_seeds for row in tally.tested], "seed")
        return (
            f"Of {count(n, 'comparison')} of an English intermediate task with no intermediate training, the mean score rose significantly in "
            f"{len(tally.up)}, fell significantly in {len(tally.down)} and is not settled in {len(tally.open)} "
            f"({languages}, {seeds}; Holm-corrected within model and target at the {self.level} level)."
        )

    def overall(self, tally: _Tally) -> list[Point]:
        if not tally.tested:
            return []
        details = self.findings(tally.up) + self.findings(tally.down)
        sentences = "Significant after correction, largest first:" if details else "No comparison is significant."
        if tally.open:
            number = "one comparison is" if len(tally.open) == 1 else f"{len(tally.open)} comparisons are"
            details.append(
                f"Not settled: {number} not significant. No evidence of an effect is not evidence of no effect."
                + self.detectable(tally.open)
            )
        if tally.contaminated:
            details.append(f"Not counted, because contaminated: {listed([self.pair(r) for r in tally.contaminated])}.")
        if tally.untested:
            details.append(f"Not tested: {_reasons(tally.untested)}")
        return [Point("Does it help over all transfer languages?", sentences, details)]

    def by_family(self) -> list[Point]:
        column = self.run.families
        rows = self.results.select("group", grouping=column)
        if not rows:
            return []
        details = [self._family(group, [row for row in rows if row.group == group]) for group in self.results.groups]
        return [Point(f"For which groups of languages ({column})?", "", details)]

    def _family(self, group: str, rows: Sequence[Comparison]) -> str:
        tally = _tally(rows, self.alpha)
        codes = sorted({code for row in rows for code in row.languages})
        if not tally.tested:
            return f"{group}: n/a. {_reasons(tally.untested) or 'Every comparison is contaminated.'}"
        parts = [
            f"up in {len(tally.up)}{self._largest(tally.up)}",
            f"down in {len(tally.down)}{self._largest(tally.down)}",
            f"not settled in {len(tally.open)}",
        ]
        text = (
            f"{group} ({count(len(codes), 'language')}: {' '.join(codes)}): of {count(len(tally.tested), 'comparison')}, "
            f"significantly {listed(parts)}.{self.detectable(tally.open) if tally.open else ''}"
        )
        return text + (f" Not tested: {_reasons(tally.untested)}" if tally.untested else "")

    def _largest(self, rows: Sequence[Comparison]) -> str:
        if not rows:
            return ""
        return f" ({'' if len(rows) == 1 else 'most: '}{self.pair(rows[0])} {lift(rows[0].lift)})"

    def contrasts(self) -> list[Point]:
        rows = self.results.select("contrast", grouping=self.run.families)
        if not rows:
            return []
        question = "Does the lift differ between the groups?"
        tally = _tally(rows, self.alpha)
        if not tally.tested:
            return [Point(question, f"No contrast could be tested. {_reasons(tally.untested)}")]
        found = sorted([*tally.up, *tally.down], key=lambda row: -abs(row.lift or 0))
        n = len(tally.tested)
        if not found:
            sentences = (
                f"None of {count(n, 'contrast')} between groups is significant after Holm: no evidence that the lift "
                f"depends on the group, and no evidence that it does not.{self.detectable(tally.open, 'difference')}"
            )
            return [Point(question, sentences, self._untested(tally))]
        details = [self._contrast(row) for row in found[:_SHOWN]]
        if len(found) > _SHOWN:
            details.append(f"and {len(found) - _SHOWN} more, in the table.")
        if tally.open:
            number = "contrast is" if len(tally.open) == 1 else "contrasts are"
            rest = f"The other {len(tally.open)} {number} not settled.{self.detectable(tally.open, 'difference')}"
            details.append(rest)
        sentences = f"{len(found)} of {count(n, 'contrast')} between groups {_is(len(found))} significant after Holm:"
        return [Point(question, sentences, details + self._untested(tally))]

    def _contrast(self, row: Comparison) -> str:
        first, _, second = row.group.partition(" - ")
        direction = "higher" if (row.lift or 0) > 0 else "lower"
        difference = lift(abs(row.lift or 0)).lstrip("+")
        return (
            f"{self.pair(row)}: the lift in {first} is {difference} points {direction} than in {second} "
            f"(interval of the difference {interval(row.ci_low, row.ci_high)}, {p_equals(row.p_holm)} after Holm)."
        )

    def _untested(self, tally: _Tally) -> list[str]:
        return [f"Not tested: {_reasons(tally.untested)}"] if tally.untested else []

    def certainty(self) -> Point:
        """Say what was resampled, and what that leaves out."""
        tests = self.run.significance
        how = str(tests["resampling"]).split("+")
        details = []
        seeds = [row.n_seeds for row in self.results.comparisons if row.tested]
        if how == ["examples"]:
            details.append(
                "Every result is conditional on the models that were trained: other seeds may give other results."
            )
        elif seeds and min(seeds) == 1:
            details.append(
                "Some comparisons rest on one seed: how much another training run would differ is not seen there."
            )
        elif seeds and max(seeds) < 5:
            details.append(
                f"{counts(seeds, 'seed').capitalize()} are few: the spread between them is itself only roughly known."
            )
        details += self._conditional(how)
        if "languages" not in how:
            details.append(
                "Statements about a group are about its languages in this sweep, not about all languages of that type."
            )
        sentences = (
            f"Intervals and p values come from a paired bootstrap over {listed(how)} "
            f"({count(int(tests['resamples']), 'resample')})."
        )
        return Point("How sure is that?", sentences, details)

    def _conditional(self, how: Sequence[str]) -> list[str]:
        """Compare with the test over examples alone, which takes the trained models as given."""
        rows = [
            row
            for row in self.results.comparisons
            if row.scope in (ALL, "group") and row.tested and row.p is not None and row.examples_p is not None
        ]
        if how == ["examples"] or not rows:
            return []
        alone = [row for row in rows if (row.examples_p or 0) < self.alpha]
        both = [row for row in alone if (row.p or 0) < self.alpha]
        return [
            f"With the trained models taken as given (examples alone resampled), p is below {self.alpha:g} before correction "
            f"in {len(alone)} of {count(len(rows), 'comparison')} over all languages and by group; "
            f"{len(both)} of these {'stays' if len(both) == 1 else 'stay'} below it with {listed(how)} resampled."
        ]

    def care(self) -> list[Point]:
        """Collect what a reader has to know before quoting a number."""
        details = [f"{listed(names)}: {note}" for note, names in self._notes().items()]
        kinds = Counter(entry.what for entry in self.results.exclusions)
        missing = len(self.results.missing)
        if missing:
            total = missing + len(self.results.cells)
            details.append(f"{missing:,} of {count(total, 'cell')} {_is(missing)} missing; tests run on what is there.")
        holes = [row for row in self.results.comparisons if row.missing and row.scope == ALL]
        if holes:
            details.append(f"Comparisons made with missing cells: {listed([self.pair(row) for row in holes])}.")
        if kinds["learned nothing"]:
            runs = count(kinds["learned nothing"], "run")
            details.append(
                f"{runs} learned nothing (chance level on English) and {_is(kinds['learned nothing'])} in no average."
            )
        if kinds["contaminated"]:
            details.append(
                f"{count(kinds['contaminated'], 'pair')} of intermediate and target {_is(kinds['contaminated'])} contaminated "
                "(marked †): the intermediate task holds the target's data."
            )
        if kinds["not built"]:
            details.append(
                f"{count(kinds['not built'], 'language')} of a target {_is(kinds['not built'])} not built; see below why."
            )
        if any(SOURCE_LANGUAGE in about["languages"] for about in self.run.targets.values()):
            details.append("English is scored, but never counted as a transfer language.")
        return [Point("What to keep in mind", "", details)] if details else []

    def _notes(self) -> dict[str, list[str]]:
        """Gather the notes of tasks and models, each note once with the names it holds for."""
        found: dict[str, list[str]] = {}
        for entries in (self.run.models, self.run.intermediates, self.run.targets):
            for name, about in entries.items():
                notes = about.get("notes", [])
                for note in [notes] if isinstance(notes, str) else notes:
                    found.setdefault(note, []).append(name)
        return found


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _reasons(rows: Sequence[Comparison]) -> str:
    """Say why comparisons are n/a, each reason once with how often it holds."""
    reasons = Counter(row.reason or "no reason given" for row in rows)
    name: Callable[[str, int], str] = lambda reason, n: reason if len(reasons) == 1 else f"{reason} ({n})"  # noqa: E731
    return "; ".join(name(*item) for item in reasons.items()) + "." if reasons else ""
