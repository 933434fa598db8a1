"""The answer in sentences, made from the numbers alone.

Every sentence follows from lift.csv, the cells and run.json by the rules in this module; no finding is typed in.
"Significant" always means: the p value of the configured resampling, after Holm's correction, is below 1 - confidence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from .. import cuts
from ..counting import KEEP
from ..languages import ENGLISH
from ..significance.comparison import WITHIN, Comparison
from ..significance.controls import is_control
from ..significance.sensitivity import Relabelled
from . import morphology
from .results import ALL, LEARNED_NOTHING, START_LEARNED_NOTHING, Results
from .text import count, counts, interval, lift, listed, p_equals, percent, points, span

_UNEVEN = 2.0
"""Points by which groups' shares of cut inputs may differ before the answer says so."""

FOLDED = 24
"""With more comparisons than these the page ranks arms, names the largest effects, and folds the rest."""
_LARGEST = 3

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
class Line:
    """One comparison as a line of the first screen, written out."""

    target: str
    arm: str
    """With its model where there are several; marked where contaminated."""
    lift: str
    interval: str
    conclusion: str
    remark: str = ""
    """Of a mean over targets: which."""


@dataclass(frozen=True)
class Ranking:
    """The arms of one model by their mean lift over targets."""

    model: str
    targets: str
    """Which targets most of its arms are averaged over; a line with others has a remark."""
    lines: list[Line]


@dataclass(frozen=True)
class Answer:
    """What the report opens with."""

    verdict: str
    """The answer in one clause or two."""
    morphology: str
    """The answer to the second question, whether the lift depends on morphology; empty where it was not asked."""
    types: str
    """Which types lie apart, and on how many pairs of arm and target by itself."""
    summary: str
    """The counts behind the verdict."""
    points: list[Point]
    lines: list[Line] = field(default_factory=list)
    """Every comparison over all transfer languages, in the order of lift.csv."""
    rankings: list[Ranking] = field(default_factory=list)
    """Arms by their mean lift over all targets, one a model; empty where there is one target."""
    largest: list[Line] = field(default_factory=list)
    """The largest effects, those that hold after correction first; empty where the lines are few enough to see them."""

    @property
    def headline(self) -> str:
        """Verdict and summary as one line, for a terminal."""
        return " ".join(filter(None, (self.verdict, self.morphology, self.types, self.summary)))


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

    @property
    def within(self) -> list[Comparison]:
        """Those shown to be no more than the margin either way."""
        return [row for row in self.open if row.conclusion == WITHIN]

    @property
    def unsettled(self) -> list[Comparison]:
        return [row for row in self.open if row.conclusion != WITHIN]


def _tally(rows: Sequence[Comparison], alpha: float) -> _Tally:
    clean = [row for row in rows if not row.contaminated]
    tested = [row for row in clean if row.tested]
    significant = sorted((row for row in tested if row.significant(alpha)), key=lambda row: -abs(row.lift or 0))
    return _Tally(
        up=[row for row in significant if (row.lift or 0) > 0],
        down=[row for row in significant if (row.lift or 0) < 0],
        open=[row for row in tested if not row.significant(alpha) or row.lift == 0],
        untested=[row for row in clean if not row.tested],
        contaminated=[row for row in rows if row.contaminated],
    )


def answer(results: Results) -> Answer:
    """Put what the sweep found into sentences."""
    writer = _Writer(results)
    overall = _tally(writer.select(ALL), results.run.alpha)
    of_types = morphology.verdict(results)
    significant = [*overall.up, *overall.down]
    largest = sorted(overall.tested, key=lambda row: (row not in significant, -abs(row.lift or 0.0)))
    return Answer(
        verdict=_verdict(overall),
        morphology=of_types[0],
        types=of_types[1],
        summary=writer.summary(overall),
        points=[
            *writer.overall(overall),
            *writer.controls(),
            *writer.by_family(),
            *writer.types(),
            *writer.contrasts(),
            *writer.labels(),
            writer.certainty(),
            *writer.care(),
        ],
        lines=[writer.line(row) for row in writer.select(ALL)],
        rankings=writer.rankings(),
        largest=[writer.line(row) for row in largest[:_LARGEST]] if len(writer.select(ALL)) > FOLDED else [],
    )


def _verdict(tally: _Tally) -> str:
    what = "English intermediate training"
    n = len(tally.tested)
    if not n:
        return "No comparison over all transfer languages could be tested."
    if not tally.up and not tally.down:
        made = count(n, "comparison")
        return f"No significant effect of {what} was found in {made}; that is no proof that there is none."
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

    def select(self, scope: str, **equal: str) -> list[Comparison]:
        """Return comparisons of intermediate trainings with none; controls are not what is asked about."""
        return [row for row in self.results.select(scope, **equal) if not is_control(row.intermediate)]

    # Names and numbers.

    def pair(self, row: Comparison) -> str:
        """Write which comparison a row is, naming the model only where there are several."""
        model = f"{row.model}, " if len(self.run.models) > 1 else ""
        return f"{model}{row.intermediate} → {row.target}"

    def line(self, row: Comparison) -> Line:
        """Write a comparison for the first screen."""
        model = f"{row.model}, " if len(self.run.models) > 1 else ""
        arm = f"{model}{row.intermediate}" + (" †" if row.contaminated else "")
        conclusion = row.conclusion
        if conclusion == WITHIN:
            conclusion = f"no more than {self._margin} either way"
        if not row.tested:
            conclusion = f"n/a: {row.reason}"
        if row.target == ALL:
            return Line(
                row.model, row.intermediate, lift(row.lift), interval(row.ci_low, row.ci_high), conclusion, row.reason
            )
        return Line(row.target, arm, lift(row.lift), interval(row.ci_low, row.ci_high), conclusion)

    def rankings(self) -> list[Ranking]:
        """Write the arms of every model by their mean lift over targets."""
        models: dict[str, list[Line]] = {}
        for row in self.results.means:
            if not is_control(row.intermediate):
                models.setdefault(row.model, []).append(self.line(row))
        ranked = []
        for model, lines in models.items():
            usual = Counter(line.remark for line in lines).most_common(1)[0][0]
            kept = [replace(line, remark="" if line.remark == usual else line.remark) for line in lines]
            ranked.append(Ranking(model, usual, kept))
        return ranked

    @property
    def _margin(self) -> str:
        return f"{float(self.run.significance.get('margin', 1)):g}"

    def _small(self, tally: _Tally, noun: str = "comparison") -> str:
        """Say how many comparisons are no more than the margin."""
        number, unit = len(tally.within), "point" if self._margin == "1" else "points"
        small = f"shown to be no more than {self._margin} {unit} either way"
        return f" {count(number, noun)} {_is(number)} {small}." if number else ""

    def _others(self, tally: _Tally) -> str:
        """Say how many comparisons are no more than the margin, and how many are open."""
        number = len(tally.unsettled)
        return self._small(tally) + (f" {count(number, 'comparison')} {_is(number)} not settled." if number else "")

    def _open(self, tally: _Tally, noun: str, text: str, what: str) -> list[Detail]:
        """Tell those that are no more than the margin apart from those of which nothing is known."""
        details = []
        if tally.within:
            small = "; ".join(f"{self.pair(row)} {lift(row.lift)}" for row in tally.within) + "."
            details.append(Detail(small, f"{count(len(tally.within), noun)} no more than {self._margin} either way"))
        if tally.unsettled:
            text += self.detectable(tally.unsettled, what)
            details.append(Detail(text, f"{count(len(tally.unsettled), noun)} not settled"))
        return details

    def finding(self, row: Comparison) -> Detail:
        """Write a comparison with its lift, interval, p and counts."""
        share = percent(float(self.run.significance["confidence"]))
        examples = f", {row.n_examples:,} test examples" if row.n_examples else ""
        return Detail(
            f"{lift(row.lift)} points ({share} interval {interval(row.ci_low, row.ci_high)}, {p_equals(row.p_holm)} "
            f"after Holm; {count(row.n_languages, 'language')}, {count(row.n_seeds, 'seed')}{examples}).",
            self.pair(row),
        )

    def detectable(self, rows: Sequence[Comparison], what: str = "lift") -> str:
        """Say which lift the tests could have seen; empty where lift.csv does not say."""
        values = [row.detectable_lift for row in rows if row.detectable_lift is not None]
        if not values:
            return ""
        who = "it" if len(rows) == 1 else "they"
        after = [row.detectable_lift_holm for row in rows if row.detectable_lift_holm is not None]
        rest = f"; after it: {span(after)}" if after else ""
        return f" Smallest true {what} {who} would find with 80% power, before correction: {span(values)} points{rest}."

    # The parts of the answer.

    def summary(self, tally: _Tally) -> str:
        if not tally.tested:
            # A sentence here, after a colon elsewhere; most reasons begin with a name, which stays as it is.
            said = re.sub("^no ", "No ", _reasons(tally.untested))
            return said or "lift.csv holds no such comparison."
        languages = counts([row.n_languages for row in tally.tested], "transfer language")
        seeds = counts([row.n_seeds for row in tally.tested], "seed")
        rest = self._others(tally) if tally.up or tally.down or tally.within else ""
        every = sum(row.tested for row in self.results.select(ALL))
        more = f"{every} tests, those of controls and contaminated pairs among them,"
        corrected = more if every > len(tally.tested) else "all of them"
        return (
            "Each comparison sets one English intermediate task on one target against no intermediate training, by the "
            f"mean score over {languages} ({seeds}; Holm-corrected over {corrected} at the {self.level} level).{rest}"
        ) + ("" if self.run.usual else f" {self.run.setting}")

    def overall(self, tally: _Tally) -> list[Point]:
        if not tally.tested:
            return []
        significant = [*tally.up, *tally.down]
        details = [
            *_first([self.finding(row) for row in tally.up]),
            *_first([self.finding(row) for row in tally.down]),
        ]
        sentences = "Significant after correction, largest first:" if significant else "No comparison is significant."
        text = "no evidence of an effect, which is not evidence of no effect."
        details += self._open(tally, "comparison", text, "lift")
        if tally.contaminated:
            number = count(len(tally.contaminated), "comparison")
            details.append(Detail(f"{number}, marked † in the tables.", "Not counted, contaminated"))
        details += self._untested(tally)
        return [Point("Does it help over all transfer languages?", sentences, details)]

    def controls(self) -> list[Point]:
        """Say whether arms differ from their controls, and variants from what they vary."""
        rows = [row for row in self.results.controls if row.scope == ALL]
        if not rows:
            return []
        pairs = dict.fromkeys((row.intermediate, row.against) for row in rows)
        details = []
        for one, other in pairs:
            tally = _tally([row for row in rows if (row.intermediate, row.against) == (one, other)], self.alpha)
            said = self._counted(tally, "difference") if tally.tested else "n/a."
            reasons = _reasons(tally.untested)
            details.append(Detail(said + (f" Not tested: {reasons}" if reasons else ""), f"{one} against {other}"))
        sentences = (
            "Each arm against the one that lacks what it is about, over all transfer languages of a target. Only what "
            "a lift exceeds those of its controls by is due to the task."
        )
        return [Point("Is it the task, or more training?", sentences, details)]

    def _counted(self, tally: _Tally, what: str) -> str:
        """Count what tests say, and name the largest of either sign."""
        n = len(tally.tested)
        if not tally.up and not tally.down:
            return f"no significant {what} in {count(n, 'comparison')}.{self._small(tally)}" + self.detectable(
                tally.unsettled, what
            )
        text = (
            f"of {count(n, 'comparison')}, significantly up in {len(tally.up) or 'none'}{self._largest(tally.up)} "
            f"and down in {len(tally.down) or 'none'}{self._largest(tally.down)}."
        )
        return text + self._others(tally) + self.detectable(tally.unsettled, what)

    def by_family(self) -> list[Point]:
        column = self.run.families
        rows = self.select("group", grouping=column)
        if not rows:
            return []
        details = [self._family(group, [row for row in rows if row.group == group]) for group in self.results.groups]
        return [Point(f"For which languages, grouped by {column}?", "", details)]

    def _family(self, group: str, rows: Sequence[Comparison]) -> Detail:
        tally = _tally(rows, self.alpha)
        codes = sorted({code for row in rows for code in row.languages})
        label = f"{group} ({' '.join(codes)})" if codes else group
        if not tally.tested:
            return Detail(f"n/a. {_reasons(tally.untested) or 'Every comparison is contaminated.'}", label)
        text = self._counted(tally, "lift") + (f" Not tested: {_reasons(tally.untested)}" if tally.untested else "")
        return Detail(text, label)

    def _largest(self, rows: Sequence[Comparison]) -> str:
        if not rows:
            return ""
        return f" ({'' if len(rows) == 1 else 'most: '}{self.pair(rows[0])} {lift(rows[0].lift)})"

    def types(self) -> list[Point]:
        """Say what the second question's tests say of each model, and under other labels."""
        said = [Detail(text, label) for label, text in morphology.details(self.results)]
        return [Point("Does it depend on morphology?", "", said)] if said else []

    def contrasts(self) -> list[Point]:
        rows = self.select("contrast", grouping=self.run.families)
        if not rows:
            return []
        question = "Does the lift differ between these groups, in these languages?"
        tally = _tally(rows, self.alpha)
        if not tally.tested:
            reasons = _reasons(tally.untested) or "Every comparison is contaminated."
            return [Point(question, f"No contrast could be tested. {reasons}")]
        significant = sorted([*tally.up, *tally.down], key=lambda row: -abs(row.lift or 0))
        n = len(tally.tested)
        if not significant:
            sentences = (
                f"None of {count(n, 'contrast')} is significant after Holm: no evidence that the lift depends on the "
                f"group, and no evidence that it does not.{self._small(tally, 'contrast')}"
                f"{self.detectable(tally.unsettled, 'difference')}"
            )
            return [Point(question, sentences, self._untested(tally))]
        details = _first([self._contrast(row) for row in significant])
        text = "no evidence of a difference, which is not evidence of none."
        details += self._open(tally, "contrast", text, "difference")
        sentences = f"{len(significant)} of {count(n, 'contrast')} {_is(len(significant))} significant after Holm:"
        return [Point(question, sentences, details + self._untested(tally))]

    def _contrast(self, row: Comparison) -> Detail:
        direction = "higher" if (row.lift or 0) > 0 else "lower"
        return Detail(
            f"the lift in {row.first_group} is {points(abs(row.lift or 0))} points {direction} than in "
            f"{row.second_group} (interval of the difference {interval(row.ci_low, row.ci_high)}, "
            f"{p_equals(row.p_holm)} after Holm).",
            self.pair(row),
        )

    def _untested(self, tally: _Tally) -> list[Detail]:
        return [Detail(_reasons(tally.untested), "Not tested")] if tally.untested else []

    def labels(self) -> list[Point]:
        """Say where the conclusions depend on disputed labels of languages.

        A group that has the same languages under both labellings has the same test, which is not made again; Holm's
        correction may still change what it says.
        """
        main = {_place(row): set(row.languages) for row in self.results.comparisons}
        rows = [
            row
            for row in self.results.relabelled
            if row.main_p_holm is not None and row.tested and not row.contaminated
            if row.flips or main.get(_place(row)) != set(row.languages)
        ]
        if not rows:
            return []
        codes = sorted({code for row in rows for code in row.relabelled})
        flips = [row for row in rows if row.flips]
        tests = f"{count(len(rows), 'test')} made again with disputed labels left out or changed ({' '.join(codes)})"
        if not flips:
            return [Point("Do disputed labels matter?", f"Of {tests}, none changes its conclusion.")]
        details = _first([self._flip(row) for row in flips])
        verb = "changes its conclusion" if len(flips) == 1 else "change their conclusion"
        return [Point("Do disputed labels matter?", f"Of {tests}, {len(flips)} {verb}:", details)]

    def _flip(self, row: Relabelled) -> Detail:
        return Detail(
            f"{lift(row.lift)} points ({p_equals(row.p_holm)} after Holm) instead of {lift(row.main_lift)} "
            f"({p_equals(row.main_p_holm)}), {row.variant.replace('-', ' ')}: {' '.join(row.relabelled)}.",
            f"{self.pair(row)}, {row.group}",
        )

    def certainty(self) -> Point:
        """Say what was resampled, and what that leaves out."""
        tests = self.run.significance
        how = self.results.resampled
        texts = []
        seeds = [row.n_seeds for row in self.results.comparisons if row.tested]
        if how == ["examples"]:
            texts.append("Every result is conditional on the models that were trained: other seeds may say otherwise.")
        elif seeds and min(seeds) == 1:
            texts.append("Some comparisons rest on one seed, which cannot show how much another run would differ.")
        elif seeds and max(seeds) < 5:
            texts.append(f"With {counts(seeds, 'seed')}, the spread between seeds is itself only roughly known.")
        texts += self._pairs()
        texts += self._conditional(how)
        if "languages" not in how:
            texts.append(
                "What is said of a group holds for its languages in this sweep, not for every language of the type."
            )
        sentences = (
            f"Intervals and p values come from a paired bootstrap over {listed(how)} "
            f"({count(int(tests['resamples']), 'resample')})."
        )
        return Point("How sure is that?", sentences, [Detail(text) for text in texts])

    def _pairs(self) -> list[str]:
        """Say how the runs of one seed go together, as measured; whether they are paired does not follow from it."""
        correlations: dict[str, list[float]] = {}
        for row in self.select(ALL):
            if row.seed_correlation is not None:
                correlations.setdefault(row.target, []).append(row.seed_correlation)
        if not correlations:
            return []
        measured = listed([f"{target} {_range(values)}" for target, values in correlations.items()])
        how = "are pairs" if self.run.significance.get("pair_seeds", True) else "are not paired (pair_seeds: false)"
        return [f"Runs of the same seed {how}; the correlation of their scores, as measured: {measured}."]

    def _conditional(self, how: Sequence[str]) -> list[str]:
        """Compare with the test over examples alone, which takes the trained models as given."""
        rows = [
            row
            for row in self.results.comparisons
            if row.scope in (ALL, "group") and row.tested and row.p is not None and row.examples_p is not None
            if row.resampling != "examples"
        ]
        if how == ["examples"] or not rows:
            return []
        alone = [row for row in rows if row.examples_p is not None and row.examples_p < self.alpha]
        both = [row for row in alone if row.p is not None and row.p < self.alpha]
        return [
            f"If the trained models are taken as given (examples alone resampled), p is below {self.alpha:g} before "
            f"correction in {len(alone)} of {count(len(rows), 'comparison')} over all languages and by group; with "
            f"{listed(how)} resampled it stays below in {len(both)} of these."
        ]

    def care(self) -> list[Point]:
        """Collect what a reader has to know before quoting a number."""
        every = list(self.run.targets)
        notes = self._notes().items()
        details = [Detail(note, "Every target" if names == every else listed(names)) for note, names in notes]
        kinds = Counter(entry.what for entry in self.results.exclusions)
        missing = len(self.results.missing)
        texts = []
        if missing:
            total = missing + len(self.results.cells)
            texts.append(f"{missing:,} of {count(total, 'cell')} {_is(missing)} missing; tests run on what is there.")
        holes = [row for row in self.select(ALL) if row.missing]
        if holes:
            pairs = listed([self.pair(row) for row in holes[:_SHOWN]])
            more = f" and {len(holes) - _SHOWN} more" if len(holes) > _SHOWN else ""
            texts.append(f"Cells or runs are left out of these comparisons (the table says which): {pairs}{more}.")
        if number := kinds[LEARNED_NOTHING]:
            texts.append(
                f"{count(number, 'run')} learned nothing (chance level on dev data) and {_is(number)} in no average."
            )
        if number := kinds[START_LEARNED_NOTHING]:
            kept = self.run.failed_intermediates == KEEP
            texts.append(
                f"{count(number, 'run')} learned the target after an intermediate training that learned nothing, and "
                + (f"{'counts' if number == 1 else 'count'}." if kept else f"{_is(number)} in no average.")
            )
        if number := self.results.contaminated:
            texts.append(
                f"{count(number, 'pair')} of intermediate and target {_is(number)} contaminated (marked †): the "
                "intermediate task holds the target's data."
            )
        if number := kinds["not built"]:
            texts.append(f"{count(number, 'part')} of the grid {_is(number)} not built; the reasons stand below.")
        details += self._cut()
        if any(self.run.source in about["languages"] for about in self.run.targets.values()):
            name = self.run.language_name(self.run.source)
            texts.append(f"{name} is scored, but never counts as a transfer language.")
        if self.run.source != ENGLISH and ENGLISH in self.results.transfer_languages:
            texts.append(
                "English counts as a transfer language, and intermediate tasks are in English: its lift is not that of "
                "a language in which nothing was trained."
            )
        details += [Detail(text) for text in texts]
        return [Point("What to keep in mind", "", details)] if details else []

    def _cut(self) -> list[Detail]:
        """Say where more is cut of the texts of one group of languages than of another's."""
        details = []
        for model, target in dict.fromkeys((model, target) for model, target, _ in self.results.cut):
            for part in cuts.TEST:
                shares: dict[str, list[float]] = {}
                for code, group in self.results.group_of.items():
                    share = self.results.cut_share(part, model, target, code)
                    if share is not None and group:
                        shares.setdefault(group, []).append(share)
                means = {group: fmean(values) for group, values in shares.items()}
                if not means or max(means.values()) - min(means.values()) <= _UNEVEN:
                    continue
                order = sorted(means, key=lambda group: (-means[group], group))
                text = (
                    f"{listed([f'{points(means[group])}% ({group})' for group in order])} {part.what} (means over "
                    "languages): what these groups differ by is also due to what was cut."
                )
                details.append(Detail(text, f"{model}, {target}" if len(self.run.models) > 1 else target))
        return details

    def _notes(self) -> dict[str, list[str]]:
        """Gather the notes of tasks and models, each note once with the names it holds for."""
        names_of: dict[str, list[str]] = {}
        for entries in (self.run.models, self.run.intermediates, self.run.targets, self.run.tasks):
            for name, about in entries.items():
                notes = about.get("notes", [])
                for note in [notes] if isinstance(notes, str) else notes:
                    names_of.setdefault(note, []).append(name)
        return names_of


def _place(row: Comparison) -> tuple[str, ...]:
    return row.model, row.target, row.intermediate, row.scope, row.grouping, row.group


def _first(details: Sequence[Detail]) -> list[Detail]:
    """Keep the first few items and say how many more the table has."""
    more = [Detail(f"and {len(details) - _SHOWN} more, in the table.")] if len(details) > _SHOWN else []
    return [*details[:_SHOWN], *more]


def _range(values: Sequence[float]) -> str:
    low, high = points(min(values), 2), points(max(values), 2)
    return low if low == high else f"{low} to {high}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _reasons(rows: Sequence[Comparison]) -> str:
    """Say why comparisons are n/a, each reason once, with how often it holds if there are several."""
    reasons = Counter(row.reason or "no reason given" for row in rows)
    texts = [reason if len(reasons) == 1 else f"{reason} ({number})" for reason, number in reasons.items()]
    return f"{'; '.join(texts)}." if texts else ""
