"""What the tables of the report hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from .. import cuts
from ..arms import BASELINE
from ..significance.comparison import Comparison
from . import text
from .jobs import costs
from .results import ALL, Results
from .scatters import PRETRAINING, Covariate, pairs, rank_correlation
from .table import Column, Table, Value


def _remarks(row: Comparison) -> str:
    remarks = [f"n/a: {row.reason}"] if row.status != "ok" else [row.reason] if row.reason else []
    remarks += ["† contaminated"] if row.contaminated else []
    remarks += [f"missing: {' '.join(row.missing)}"] if row.missing else []
    return "; ".join(remarks)


def minus(name: str) -> str:
    """Write a contrast with a true minus sign."""
    return name.replace(" - ", f" {text.MINUS} ")


LIFT = [
    Column("lift", "lift", "lift"),
    Column("ci", "interval", "interval"),
    Column("p", "p", "p"),
    Column("p_holm", "p Holm", "p"),
]
_TESTS = [Column("baseline_score", "none", "score"), Column("score", "with", "score"), *LIFT]
_MORE_TESTS = [
    Column("p_bh", "p BH", "p"),
    Column("p_signflip", "p sign-flip", "p"),
    Column("bca", "BCa interval", "interval"),
    Column("examples_ci", "interval, examples only", "interval"),
    Column("examples_p", "p, examples only", "p"),
    Column("detectable_lift", "detectable", "score"),
]
_SIZES = [
    Column("n_languages", "languages", "count"),
    Column("n_examples", "examples", "count"),
    Column("n_seeds", "seeds", "count"),
]
_REMARKS = [Column("remarks", "remarks", of=_remarks)]
IDENTITY = [
    Column("model", "model", choose=True),
    Column("target", "target", choose=True),
    Column("intermediate", "intermediate", choose=True),
]
GROUPING = Column("grouping", "grouping", choose=True)
GROUP = Column("group", "group", choose=True)

_HOW = (
    "none: score without intermediate training; with: score with it; lift and intervals in points. "
    "Bold: significant after Holm. detectable: smallest lift found with 80% power, before correction."
)


def build(results: Results) -> dict[str, Table]:
    """Make every table, by name."""
    makers = (
        *(overall, paper, groups, contrasts, compared, sensitivity, per_language, pretraining, seeds, cost),
        *(excluded, cut, sentinels, origins, versions, data, models, training, cells),
    )
    return {table.name: table for table in (make(results) for make in makers)}


def _marks(results: Results, rows: Sequence[Comparison]) -> list[bool]:
    return [row.significant(results.run.alpha) for row in rows]


def overall(results: Results) -> Table:
    """Lift over all transfer languages."""
    rows = results.select(ALL)
    columns = [*IDENTITY, Column("metric", "metric"), *_TESTS, *_MORE_TESTS, *_SIZES, *_REMARKS]
    return Table.of(
        "overall", "Lift over all transfer languages", columns, rows, note=_HOW, marks=_marks(results, rows)
    )


def paper(results: Results) -> Table:
    """Mean score and standard deviation over seeds, arms by targets: the layout of papers."""
    runs: dict[tuple[str, str], dict[str, list[float]]] = {}
    languages: dict[tuple[str, str], dict[str, int]] = {}
    for run in results.seed_scores:
        if run.group == run.grouping == ALL:
            runs.setdefault((run.model, run.intermediate), {}).setdefault(run.target, []).append(run.score)
            languages.setdefault((run.model, run.intermediate), {})[run.target] = run.n_languages
    # Of what the baseline has: a language that an arm lacks leaves its mean, and not the baseline's.
    fewer = {
        (*arm, target)
        for arm, counts in languages.items()
        for target, n in counts.items()
        if n < languages.get((arm[0], BASELINE), {}).get(target, 0)
    }
    contaminated = {(row.model, row.intermediate, row.target) for row in results.select(ALL) if row.contaminated}

    def scores(target: str) -> Column:
        def written(row: tuple[tuple[str, str], dict[str, list[float]]]) -> str:
            arm, by_target = row
            if target not in by_target:
                return ""
            values = by_target[target]
            spread = f" ± {text.points(stdev(values))}" if len(values) > 1 else ""
            marks = " †" * ((*arm, target) in contaminated) + " ‡" * ((*arm, target) in fewer)
            return f"{text.points(fmean(values))}{spread}{marks}"

        return Column(target, target, of=written)

    columns = [
        Column("model", "model", choose=True, of=lambda row: row[0][0]),
        Column("intermediate", "intermediate", choose=True, of=lambda row: row[0][1]),
        *(scores(target) for target in results.run.targets),
    ]
    note = "Mean over transfer languages ± standard deviation over seeds, in points."
    note += " †: contaminated." if contaminated else ""
    note += " ‡: over fewer languages than none has: the difference from it is no lift." if fewer else ""
    return Table.of("paper", "Scores of targets by arm, as papers print them", columns, list(runs.items()), note=note)


def groups(results: Results) -> Table:
    """Lift per family and per group of every further grouping."""
    rows = results.select("group")
    which = Column("languages", "which", of=lambda row: " ".join(row.languages))
    columns = [*IDENTITY, GROUPING, GROUP, *_TESTS, *_MORE_TESTS, *_SIZES, which, *_REMARKS]
    return Table.of("groups", "Lift by group of languages", columns, rows, note=_HOW, marks=_marks(results, rows))


def contrasts(results: Results) -> Table:
    """Differences of lift between groups."""
    rows = results.select("contrast")
    named = Column("contrast", "contrast", choose=True, of=lambda row: minus(row.group))
    columns = [*IDENTITY, GROUPING, named, *LIFT, *_MORE_TESTS, *_SIZES, *_REMARKS]
    note = "lift: lift in the first group minus lift in the second, in points. Bold: significant after Holm."
    marks = _marks(results, rows)
    return Table.of("contrasts", "Contrasts between groups of languages", columns, rows, note=note, marks=marks)


def compared(results: Results) -> Table:
    """Arms against their controls, and variants against the arms they vary."""
    rows = results.controls
    against = Column("against", "against", choose=True)
    scores = [Column("baseline_score", "its score", "score"), Column("score", "score", "score")]
    difference = [Column("lift", "difference", "lift"), *LIFT[1:]]
    columns = [*IDENTITY, against, GROUP, *scores, *difference, *_MORE_TESTS, *_SIZES, *_REMARKS]
    note = (
        "difference: score of the arm less that of the one it is held against, which is the difference of their lifts; "
        "in points. Bold: significant after Holm, over the sweep for all languages, else within one model and target."
    )
    return Table.of("controls", "Arms against their controls", columns, rows, note=note, marks=_marks(results, rows))


def per_language(results: Results) -> Table:
    """Scores and lift of every language."""
    place = {code: i for i, code in enumerate(results.transfer_languages)}
    arms = {(r.model, r.target, r.intermediate): None for r in results.comparisons}
    order = {arm: i for i, arm in enumerate(arms)}
    rows = sorted(
        results.select("language"),
        key=lambda r: (order[r.model, r.target, r.intermediate], place.get(r.group, len(place))),
    )
    columns = [
        Column("name", "language", of=lambda r: results.run.language_name(r.group)),
        Column("family", results.run.families, choose=True, of=lambda r: results.group_of.get(r.group, "")),
        *IDENTITY,
        *_TESTS,
        *_majority(results),
        *_SIZES[1:],
        Column(
            "inputs_cut", "% cut", "score", of=lambda r: results.cut_share(cuts.TEST[0], r.model, r.target, r.group)
        ),
        Column("language", "code", of=lambda r: r.group),
        *_REMARKS,
    ]
    marks = _marks(results, rows)
    note = f"{_HOW} % cut: test inputs that are longer than max_length and cut, in per cent."
    return Table.of("per_language", "Scores and lift per language", columns, rows, note=note, marks=marks)


def _majority(results: Results) -> list[Column]:
    """Return a column of what the most frequent label alone would score, where some target has labels."""
    known = {
        (cell.target, cell.language): value["majority"]
        for cell, value in results.cells.items()
        if value.get("majority") is not None
    }
    of = Column("majority", "majority class", "score", of=lambda row: known.get((row.target, row.group)))
    return [of] if known else []


def pretraining(results: Results) -> Table:
    """Rank correlation of lift with pre-training size."""
    note = "Rank correlation of a language's lift with its mC4 tokens; descriptive, not a test."
    return correlations("pretraining", "Lift and pre-training size", results, [PRETRAINING], note)


def correlations(name: str, caption: str, results: Results, covariates: Sequence[Covariate], note: str) -> Table:
    """Rank correlation of lift with each of some covariates."""
    columns = [*IDENTITY, Column("covariate", "with"), _SIZES[0], Column("spearman", "Spearman's ρ", "number")]
    values: list[list[Value]] = []
    for covariate in covariates:
        for arm, languages in pairs(results, covariate).items():
            rho = rank_correlation([(value, lift) for _, value, lift in languages])
            values.append([*arm, covariate.title, len(languages), None if rho is None else round(rho, 3)])
    return Table(name, caption, columns, values, note)


def seeds(results: Results) -> Table:
    """Mean score of every run."""
    columns = [
        *IDENTITY,
        GROUP,
        Column("seed", "seed", "count"),
        _SIZES[0],
        Column("score", "score", "score"),
        Column("baseline_mean", "mean baseline", "score", of=lambda run: run.baseline),
        Column("difference", "difference", "lift", of=lambda run: run.lift),
    ]
    note = (
        "Over the languages that all runs of the arm and of the baseline have; difference: from the mean baseline run."
    )
    return Table.of("seeds", "Mean score of every run", columns, results.seed_scores, note=note)


def sensitivity(results: Results) -> Table:
    """The same tests under other labels of the languages."""

    columns = [
        *IDENTITY,
        Column("variant", "variant", choose=True, of=lambda row: row.variant.replace("-", " ")),
        Column("group", "group or contrast", choose=True, of=lambda row: minus(row.group)),
        *(column for column in LIFT if column.name != "p"),
        Column("main_lift", "lift, main", "lift"),
        Column("main_p_holm", "p Holm, main", "p"),
        Column("flips", "flips", "flag", choose=True),
        Column("relabelled", "languages", of=lambda row: " ".join(row.relabelled)),
    ]
    note = "flips (bold): significant after Holm under one labelling and not under the other, or with the other sign."
    rows = results.relabelled
    marks = [row.flips for row in rows]
    brief = {"brief": marks, "briefly": "conclusions that change"}
    return Table.of("sensitivity", "The same tests under other labels", columns, rows, note=note, marks=marks, **brief)


def cost(results: Results) -> Table:
    """Time and memory."""
    columns = [
        Column("stage", "stage", choose=True),
        *IDENTITY,
        Column("runs", "runs", "count"),
        Column("seconds", "seconds", "count", of=lambda spent: round(spent.seconds, 3)),
        Column("gpu_seconds", "GPU seconds", "count", of=lambda spent: round(spent.gpu_seconds, 3)),
        Column("tokens", "tokens", "count"),
        Column("tokens_per_second", "tokens/s", "count"),
        Column("peak_memory_mb", "peak memory (MiB)", "count"),
        Column("device", "device", of=lambda spent: spent.devices),
    ]
    note = "Summed over the seeds whose timing is known. A prediction that was resumed counts its last part."
    return Table.of("cost", "Cost", columns, costs(results.jobs), note=note)


def excluded(results: Results) -> Table:
    """Everything that is missing, not built, at chance or contaminated."""
    columns = [
        Column("what", "what", choose=True),
        Column("model", "model"),
        Column("target", "target"),
        Column("intermediate", "intermediate"),
        Column("seeds", "seed"),
        Column("languages", "languages"),
        Column("reason", "reason"),
    ]
    return Table.of("excluded", "Missing, not built, at chance, contaminated", columns, results.exclusions)


def cut(results: Results) -> Table:
    """What is cut of test data, by language; empty where nothing is."""
    columns = [
        Column("model", "model", choose=True),
        Column("target", "target", choose=True),
        Column("language", "language"),
        Column("family", results.run.families, choose=True),
        Column("what", "what", choose=True),
        Column("number", "number", "count"),
        Column("cut", "cut", "count"),
        Column("share", "% cut", "score"),
        Column("pieces", "pieces", "count"),
        Column("pieces_lost", "pieces lost", "count"),
    ]
    values: list[list[Value]] = []
    for (model, target, code), counts in results.cut.items():
        family = results.run.fact(code, results.run.families)
        for part in cuts.TEST:
            if counts.get(part.cut):
                share = results.cut_share(part, model, target, code)
                lost: list[Value] = [counts[name] for name in part.pieces] or [None, None]
                values.append(
                    [model, target, code, family, part.total, counts[part.total], counts[part.cut], share, *lost]
                )
    note = (
        "Over all arms and seeds, each of which reads the same inputs; only where anything is cut. Inputs and "
        "candidates end at max_length, answers at max_target_length; words lack a tag of their own where the tokenizer "
        "keeps nothing of them, or a model that writes tags read or wrote nothing of them."
    )
    return Table("cut", "What is cut of test data", columns, values, note)


def sentinels(results: Results) -> Table:
    """Generated answers that were, or tried to be, tokens of pre-training; empty where nothing is generated."""
    answers: dict[tuple[str, ...], list[int]] = {}
    for cell, value in results.cells.items():
        if value.get("sentinels") is not None:
            numbers = answers.setdefault((cell.model, cell.target, cell.intermediate, cell.language), [0, 0])
            numbers[0] += int(value["n"])
            numbers[1] += int(value["sentinels"])
    columns = [
        *IDENTITY,
        Column("language", "language"),
        Column("answers", "answers", "count"),
        Column("sentinels", "with sentinels", "count"),
        Column("share", "%", "score"),
    ]
    values: list[list[Value]] = [[*arm, n, held, 100.0 * held / n] for arm, (n, held) in answers.items() if held]
    note = "Over all seeds; only where there are any. Many mean that the model was not taught to stop using them."
    return Table("sentinels", "Generated answers with sentinels of pre-training", columns, values, note)


def origins(results: Results) -> Table:
    """Models and tasks with their licences."""
    columns = [
        Column("name", "name"),
        Column("role", "role", choose=True),
        Column("kind", "kind"),
        Column("description", "what it is"),
        Column("licence", "licence"),
        Column("source", "source"),
        Column("citation", "cite"),
    ]
    run = results.run
    roles = {
        "model": run.models,
        "intermediate": run.intermediates,
        "target": run.targets,
        "trained on": run.tasks,
        "probe": run.probes,
    }
    values: list[list[Value]] = [
        [
            name,
            role,
            about.get("kind") or about.get("interface") or "",
            *(about.get(key, "") for key in ("description", "licence")),
            _source(about.get("source")),
            about.get("citation", ""),
        ]
        for role, entries in roles.items()
        for name, about in entries.items()
    ]
    return Table("origins", "Models and tasks, their licences and sources", columns, values)


def _source(source: Any) -> str:
    """Write a source as `package (builder: x; packages: y 1.0)`: its plain settings, nested lists left out."""
    if not isinstance(source, dict):
        return str(source or "")
    facts = []
    for key, value in source.items():
        if key == "packages":
            facts.append(f"packages: {', '.join(f'{name} {version}' for name, version in value.items())}")
        elif key != "type" and isinstance(value, str | int | float):
            facts.append(f"{key}: {value}")
    return str(source.get("type", "")) + (f" ({'; '.join(facts)})" if facts else "")


def versions(results: Results) -> Table:
    """Software the results were made with; a package with two versions has two rows."""
    numbers_of: dict[tuple[str, str], list[int]] = {}
    for i, records in enumerate((results.cells.values(), [job.checkpoint for job in results.jobs])):
        for record in records:
            for package, version in record.get("versions", {}).items():
                numbers_of.setdefault((package, str(version)), [0, 0])[i] += 1
    columns = [
        Column("software", "software"),
        Column("version", "version"),
        Column("cells", "cells", "count"),
        Column("trainings", "training runs", "count"),
    ]
    values: list[list[Value]] = [[*key, *numbers] for key, numbers in sorted(numbers_of.items())]
    return Table("versions", "Software versions", columns, values)


def data(results: Results) -> Table:
    """Digest of every target's data by language."""
    sizes: dict[tuple[str, str, str], int] = {}
    for cell, value in results.cells.items():
        sizes[cell.target, cell.language, value.get("digests", {}).get("data", "")] = int(value.get("n", 0))
    columns = [
        Column("target", "target", choose=True),
        Column("language", "language"),
        Column("n", "test examples", "count"),
        Column("sha256", "sha256 of the data", "digest"),
    ]
    values: list[list[Value]] = [[target, code, n, digest] for (target, code, digest), n in sizes.items()]
    return Table("data", "Test data", columns, values)


def models(results: Results) -> Table:
    """What the model directories hold."""
    columns = [
        Column("name", "name"),
        Column("parameters", "parameters", "count"),
        Column("vocabulary_size", "vocabulary", "count"),
        Column("weights_sha256", "sha256 of the weights", "digest"),
        Column("tokenizer_sha256", "sha256 of the tokenizer", "digest"),
        Column("source", "source as fetched"),
    ]
    values: list[list[Value]] = [
        [name, *(about.get(column.name) for column in columns[1:5]), _source(about.get("source"))]
        for name, about in results.models.items()
    ]
    return Table("models", "Models as fetched", columns, values)


def training(results: Results) -> Table:
    """Every training run and its checkpoint."""

    def recorded(name: str, heading: str, kind: str = "count") -> Column:
        return Column(name, heading, kind, of=lambda job: job.checkpoint.get(name))

    columns = [
        Column("stage", "stage", choose=True),
        *IDENTITY,
        Column("seed", "seed", "count"),
        recorded("updates", "updates"),
        recorded("tokens", "tokens"),
        Column("inputs_cut", "inputs cut", "count", of=lambda job: job.checkpoint.get("cut", {}).get("inputs_cut")),
        Column("targets_cut", "targets cut", "count", of=lambda job: job.checkpoint.get("cut", {}).get("targets_cut")),
        Column("dev_score", "dev", "score", of=lambda job: job.checkpoint.get("dev", {}).get("score")),
        recorded("chance", "chance", "score"),
        recorded("learned", "learned", "flag"),
        recorded("precision", "precision", "text"),
        recorded("data_sha256", "sha256 of the data", "digest"),
        recorded("weights_sha256", "sha256 of the checkpoint", "digest"),
    ]
    made = [job for job in results.jobs if job.checkpoint]
    return Table.of("training", "Training runs and checkpoints", columns, made)


def cells(results: Results) -> Table:
    """Every cell with its score and digests; for the files, too long for the page."""

    def of_cell(column: Column) -> Column:
        return replace(column, of=lambda pair: column.value(pair[0]))

    def recorded(name: str, heading: str, kind: str = "text", default: Value = "") -> Column:
        return Column(name, heading, kind, of=lambda pair: pair[1].get(name, default))

    def counted(name: str) -> Column:
        return Column(name, name.replace("_", " "), "count", of=lambda pair: (pair[1].get("cut") or {}).get(name))

    def digest(part: str) -> Column:
        return Column(f"sha256_{part}", part, "digest", of=lambda pair: pair[1].get("digests", {}).get(part, ""))

    grouping = results.run.families
    columns = [
        *map(of_cell, [*IDENTITY, Column("seed", "seed", "count"), Column("language", "language")]),
        Column("family", grouping, of=lambda pair: results.run.fact(pair[0].language, grouping)),
        recorded("metric", "metric"),
        recorded("score", "score", "score"),
        recorded("n", "n", "count"),
        *(counted(name) for part in cuts.TEST for name in part.names),
        recorded("learned", "learned", "flag", True),
        recorded("contaminated", "contaminated", "flag", False),
        *map(digest, ("data", "checkpoint", "predictions", "code")),
    ]
    return Table.of(
        "cells", f"Every cell, {BASELINE} and {results.run.source} included", columns, results.cells.items()
    )
