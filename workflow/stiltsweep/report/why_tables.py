"""Tables of the section "why": tokenisation, correlations, lifts by bucket, probes, failures of behavioural tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..behaviour import Failures
from ..probing import curves, gaining
from ..significance.buckets import BucketLift
from ..significance.corrections import holm
from .results import Results
from .table import Column, Table, Value
from .tables import GROUP, IDENTITY, LIFT, correlations, minus
from .text import listed, percent
from .why import FERTILITY, PROBE_GAIN


def build(results: Results) -> dict[str, Table]:
    """Make every table, by name; without rows where the sweep has no such stage."""
    makers = (tokenization, explained, probes, probe_gains, buckets, parting, behaviour, behaviour_languages)
    return {table.name: table for table in (make(results) for make in makers)}


def tokenization(results: Results) -> Table:
    """How the models' tokenizers treat the test texts of every language."""

    def measure(name: str, heading: str, kind: str = "number") -> Column:
        return Column(name, heading, kind, of=lambda pair: _rounded(pair[1].get(name)))

    columns = [
        Column("model", "model", choose=True, of=lambda pair: pair[0][0]),
        Column("target", "target", choose=True, of=lambda pair: pair[0][1]),
        Column("name", "language", of=lambda pair: results.run.language_name(pair[0][2])),
        Column("family", results.run.families, choose=True, of=lambda pair: results.group_of.get(pair[0][2], "")),
        measure("fertility", "tokens per word"),
        measure("split_words", "words split"),
        measure("characters_per_token", "characters per token"),
        measure("parity", "parity to English"),
        measure("unknown", "unknown"),
        measure("coverage", "coverage"),
        measure("boundary_f1", "boundaries F1"),
        measure("words", "words", "count"),
        measure("texts", "texts", "count"),
        Column("language", "code", of=lambda pair: pair[0][2]),
    ]
    note = (
        "parity: tokens of the same examples, by those in English. Empty: not defined, as words are where none are "
        "written apart; the reasons are in the JSON files under measures/."
    )
    measured = results.measured.tokenization.items()
    return Table.of("tokenization", "Tokenisation of the test texts", columns, measured, note=note)


def _rounded(value: Any) -> Value:
    return round(value, 3) if isinstance(value, float) else value


def explained(results: Results) -> Table:
    """Rank correlation of lift with what was measured."""
    note = "Rank correlation over the languages that have both; descriptive, not a test."
    return correlations("explained", "Lift and what was measured", results, (FERTILITY, PROBE_GAIN), note)


@dataclass(frozen=True)
class _Peak:
    curve: curves.Curve
    selectivity: curves.Curve
    forms: float | None
    gain: float | None
    lexicon: float
    untrained: float | None
    information: float


def probes(results: Results) -> Table:
    """Where probes find most, of every checkpoint and family."""
    rows = results.probes

    def by_place(value: str) -> dict[tuple[Any, ...], curves.Curve]:
        return {
            (c.checkpoint, c.task, c.pooling, c.group): c for c in curves.curves(rows, value, source=results.run.source)
        }

    accuracy, selectivity, forms, lexicon, untrained, bits = (
        by_place(value)
        for value in (
            "accuracy",
            "selectivity",
            "form_accuracy",
            "lexicon_accuracy",
            "random_accuracy",
            "information",
        )
    )
    transfer = [one for one in rows if one.language != results.run.source]
    shared = _shares(
        "Words that share a piece with a neighbour, and with it a vector",
        ((one.family, one.n_test, one.n_shared) for one in transfer),
    )
    contracted = _shares(
        'Words that are several in one ("im"), or one of those',
        ((one.family, one.n_test, one.n_contracted) for one in transfer),
    )
    peaks = []
    for place, curve in accuracy.items():
        before = accuracy.get((curve.checkpoint.reference, *place[1:]))
        gain = curve.layers[before.peak] - before.height if before and before is not curve else None
        unseen = forms[place].layers[curve.peak] if place in forms else None
        nothing = untrained[place].layers[curve.peak] if place in untrained else None
        listed_forms, said = (one[place].layers[curve.peak] for one in (lexicon, bits))
        peaks.append(_Peak(curve, selectivity[place], unseen, gain, listed_forms, nothing, said))
    columns = [
        Column("model", "model", choose=True, of=lambda peak: peak.curve.checkpoint.model),
        Column("stage", "stage", choose=True, of=lambda peak: peak.curve.checkpoint.stage),
        Column("intermediate", "intermediate", choose=True, of=lambda peak: peak.curve.checkpoint.intermediate),
        Column("training", "trained on", choose=True, of=lambda peak: peak.curve.checkpoint.training),
        Column("task", "probe", choose=True, of=lambda peak: peak.curve.task),
        Column("pooling", "pieces", choose=True, of=lambda peak: peak.curve.pooling),
        Column("group", "group", choose=True, of=lambda peak: peak.curve.group),
        Column("peak", "layer of the peak", "count", of=lambda peak: peak.curve.peak),
        Column("accuracy", "accuracy there", "score", of=lambda peak: peak.curve.height),
        Column("information", "bits a word", "number", of=lambda peak: round(peak.information, 3)),
        Column("lexicon", "list of forms", "score"),
        Column("untrained", "random weights", "score"),
        Column("selectivity", "selectivity", "score", of=lambda peak: peak.selectivity.layers[peak.curve.peak]),
        Column("form_accuracy", "unseen forms", "score", of=lambda peak: peak.forms),
        Column("gain", "gain", "lift"),
        Column("n_languages", "languages", "count", of=lambda peak: len(peak.curve.languages)),
    ]
    note = (
        "Means over features, then languages, then seeds, in points. bits a word: what the probe says of the value "
        "beyond how common the values are. list of forms: accuracy of the value that a form "
        f"most often has, without a model.{shared}{contracted} random weights: of the pretrained model's architecture, "
        "at the same layer. selectivity: accuracy less that of a probe for "
        "random labels of word forms. gain: on the checkpoint before (for targets: on the one without an intermediate "
        "stage), at that one's peak. Every feature and layer is in probes/probes.csv."
    )
    return Table.of("probes", "What probes find, by family", columns, peaks, note=note)


def _shares(what: str, counts: Iterable[tuple[str, int, int | None]]) -> str:
    """Say of which families how much of the words is of some kind; empty where it is under 1% everywhere.

    Args:
      what: the kind.
      counts: family, words, and those of the kind, None where it is not known.
    """
    words: dict[str, list[int]] = {}
    for family, total, held in counts:
        if held is not None:
            counted = words.setdefault(family, [0, 0])
            counted[0] += total
            counted[1] += held
    shares = {family: held / total for family, (total, held) in words.items() if family and total}
    said = [f"{percent(round(share, 2))} of {family} ones" for family, share in shares.items() if share >= 0.01]
    return f" {what}: {listed(said)}." if said else ""


def probe_gains(results: Results) -> Table:
    """What training added to what probes find, tested."""
    gains = gaining.mean_gains(results.probes, float(results.run.significance["confidence"]), results.run.source)
    tested = [row for row in gains if row.p is not None]
    corrected = dict(zip(map(id, tested), holm([row.p or 0.0 for row in tested]), strict=True))

    def p_holm(row: gaining.MeanGain) -> float | None:
        return float(corrected[id(row)]) if id(row) in corrected else None

    columns = [
        Column("model", "model", choose=True, of=lambda row: row.checkpoint.model),
        Column("stage", "stage", choose=True, of=lambda row: row.checkpoint.stage),
        Column("intermediate", "intermediate", choose=True, of=lambda row: row.checkpoint.intermediate),
        Column("training", "trained on", choose=True, of=lambda row: row.checkpoint.training),
        Column("task", "probe", choose=True),
        Column("pooling", "pieces", choose=True),
        Column("group", "group", choose=True),
        Column("gain", "gain", "lift"),
        Column("ci", "interval", "interval"),
        Column("p", "p", "p"),
        Column("p_holm", "p Holm", "p", of=p_holm),
        Column("layers", "layers", "count"),
        Column("n_languages", "languages", "count"),
        Column("n_seeds", "seeds", "count"),
    ]
    note = (
        "Accuracy less that on the checkpoint before (for targets: on the one without an intermediate stage), in "
        "points, mean over features and over the layers that training changed. Interval and p are over languages and "
        "runs; bold: "
        "significant after Holm over this table."
    )
    marks = [(p := p_holm(row)) is not None and p < results.run.alpha for row in gains]
    return Table.of("probe_gains", "What training added to what probes find", columns, gains, note=note, marks=marks)


def _bucket_columns(group: Column) -> list[Column]:
    return [
        *IDENTITY,
        Column("attribute", "attribute", choose=True),
        Column("bucket", "bucket"),
        group,
        *LIFT,
        Column("p_bh", "p BH", "p"),
        Column("n_languages", "languages", "count"),
        Column("n_examples", "examples", "count"),
        Column("remarks", "remarks", of=lambda row: row.reason),
    ]


def buckets(results: Results) -> Table:
    """Lift by bucket of test examples."""
    rows = results.measured.buckets
    note = "Bold: significant after Holm over all attributes, buckets, groups and intermediate tasks of the target."
    return _buckets("buckets", "Lift by bucket of test examples", GROUP, rows, results, note)


def parting(results: Results) -> Table:
    """Differences between families by bucket."""
    named = Column("contrast", "contrast", choose=True, of=lambda row: minus(row.group))
    rows = results.measured.contrasts
    note = "lift: lift in the first family less that in the second. Bold: significant after Holm over all attributes."
    return _buckets("bucket_contrasts", "Where families part, by bucket", named, rows, results, note)


def _buckets(name: str, caption: str, group: Column, rows: list[BucketLift], results: Results, note: str) -> Table:
    marks = [row.significant(results.run.alpha) for row in rows]
    return Table.of(name, caption, _bucket_columns(group), rows, note=note, marks=marks)


def behaviour(results: Results) -> Table:
    """Failures of behavioural tests by family, without the source language, which is in no family's mean."""
    columns = [Column("group", "family", choose=True)]
    rows = [row for row in results.measured.failures if row.language != results.run.source]
    return _failures("behaviour", "Behavioural tests by family", columns, results, rows, lambda row: (row.family,))


def behaviour_languages(results: Results) -> Table:
    """Failures of behavioural tests by language."""
    columns = [
        Column("language", "language", choose=True),
        Column("family", results.run.families, choose=True),
        Column("review", "review"),
    ]
    caption = "Behavioural tests by language"
    return _failures(
        "behaviour_languages",
        caption,
        columns,
        results,
        results.measured.failures,
        lambda row: (row.language, row.family, row.review),
    )


def _failures(
    name: str,
    caption: str,
    columns: list[Column],
    results: Results,
    rows: Iterable[Failures],
    place: Callable[[Failures], tuple[str, ...]],
) -> Table:
    alike: dict[tuple[str, ...], list[Failures]] = {}
    for row in rows:
        if (row.model, row.intermediate, row.target, row.seed) in results.left_out:
            continue
        alike.setdefault((row.model, row.target, row.intermediate, row.capability, *place(row)), []).append(row)
    values: list[list[Value]] = []
    for key, same in alike.items():
        failures, n = sum(row.failures for row in same), sum(row.n for row in same)
        values.append([*key, failures, n, 100.0 * failures / n])
    numbers = [
        Column("failures", "failures", "count"),
        Column("n", "tests", "count"),
        Column("failure_rate", "failure rate", "score"),
    ]
    note = (
        "Over all runs that count; families are without the source language. A test fails unless the answer is exactly "
        "right. review: whether a native speaker has checked the texts. Intervals of every seed: "
        "behaviour/failures.csv; failing examples: behaviour/examples.json."
    )
    capability = Column("capability", "capability", choose=True)
    return Table(name, caption, [*IDENTITY, capability, *columns, *numbers], values, note)
