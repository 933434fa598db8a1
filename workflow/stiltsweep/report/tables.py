"""The tables: one definition each, written as CSV, Parquet and LaTeX (booktabs) and shown in the page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..aggregates import Aggregate, aggregates
from ..arms import BASELINE
from ..files import replacing, write_text
from ..languages import SOURCE_LANGUAGE
from . import text
from .jobs import costs
from .results import ALL, Results
from .rows import Comparison
from .scatters import PRETRAINING, Covariate, pairs, rank_correlation

Value = str | int | float | bool | None | tuple[float | None, float | None]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    """In CSV and Parquet; an interval becomes name_low and name_high."""
    heading: str
    """In the page and in LaTeX."""
    kind: str = "text"
    """`text`, `score`, `lift`, `p`, `interval`, `count`, `number`, `flag` or `digest`."""
    choose: bool = False
    """Whether the page offers a menu of its values."""
    of: Callable[[Any], Value] | None = None
    """What it shows of the object a row is about; left out, the attribute of its name."""

    @property
    def numeric(self) -> bool:
        return self.kind not in ("text", "flag", "digest")

    def value(self, about: Any) -> Value:
        """Return what the column holds of the object a row is about."""
        if self.of:
            return self.of(about)
        if self.kind == "interval":
            return getattr(about, f"{self.name}_low"), getattr(about, f"{self.name}_high")
        found: Value = getattr(about, self.name)
        return found

    def show(self, value: Value) -> str:
        """Write one value for a reader."""
        if isinstance(value, tuple):
            return text.interval(*value)
        if value is None:
            return "n/a" if self.kind in ("score", "lift", "p", "interval") else ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return _DIGEST.sub(lambda match: match[0][:12], value)
        if self.kind in _NUMBERS:
            return _NUMBERS[self.kind](value)
        return f"{value:g}".replace("-", text.MINUS)


_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
"""A sha256 is shown by its beginning; the files have it whole."""

_NUMBERS: dict[str, Callable[[float], str]] = {
    "score": text.points,
    "lift": text.lift,
    "p": text.probability,
    "count": "{:,.0f}".format,
}


@dataclass(frozen=True)
class Table:
    """One table; `rows` hold plain values, as they go into the files."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    """Shown under the table."""
    marks: Sequence[bool] = field(default_factory=list)
    """Row -> whether it is significant; shown bold."""

    @classmethod
    def of(cls, name: str, caption: str, columns: Sequence[Column], about: Iterable[Any], **more: Any) -> Table:
        """Return a table with one row for each of some objects."""
        return cls(name, caption, columns, [[column.value(one) for column in columns] for one in about], **more)

    def slim(self) -> Table:
        """Return the table without columns that tell a reader of the page nothing: the only model, empty remarks."""
        kept = [
            i
            for i, column in enumerate(self.columns)
            if not (column.name == "model" and len({row[i] for row in self.rows}) == 1)
            and not (column.name == "remarks" and not any(row[i] for row in self.rows))
        ]
        columns, rows = [self.columns[i] for i in kept], [[row[i] for i in kept] for row in self.rows]
        return replace(self, columns=columns, rows=rows)

    def shown(self) -> list[list[str]]:
        """Return the rows as a reader sees them."""
        return [[column.show(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]

    def flat(self) -> tuple[list[str], list[list[Any]]]:
        """Return names and rows for files, with intervals as two columns."""
        names: list[str] = []
        for column in self.columns:
            names += [f"{column.name}_low", f"{column.name}_high"] if column.kind == "interval" else [column.name]
        rows = []
        for row in self.rows:
            flat: list[Any] = []
            for value in row:
                flat += value if isinstance(value, tuple) else [value]
            rows.append(flat)
        return names, rows

    def csv(self) -> str:
        """Return the table as CSV; what is not known is empty, truth is `true` or `false`."""
        buffer = io.StringIO()
        names, rows = self.flat()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(
            [str(v).lower() if isinstance(v, bool) else "" if v is None else v for v in row] for row in rows
        )
        return buffer.getvalue()

    def latex(self) -> str:
        """Return the table as LaTeX that needs the packages booktabs and longtable."""
        layout = "".join("r" if column.numeric else "l" for column in self.columns)
        heading = " & ".join(_latex(column.heading) for column in self.columns)
        lines = [" & ".join(_latex(value) for value in row) + r" \\" for row in self.shown()]
        return "\n".join(
            [
                "% needs \\usepackage{booktabs,longtable}",
                rf"\begin{{longtable}}{{@{{}}{layout}@{{}}}}",
                rf"\caption{{{_latex(self.caption)}}}\\",
                r"\toprule",
                heading + r" \\",
                r"\midrule",
                r"\endfirsthead",
                r"\toprule",
                heading + r" \\",
                r"\midrule",
                r"\endhead",
                r"\bottomrule",
                r"\endlastfoot",
                *lines,
                r"\end{longtable}",
                "",
            ]
        )


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    text.MINUS: r"\ensuremath{-}",
    "→": r"\ensuremath{\rightarrow}",
    "†": r"\dag{}",
    "ρ": r"\ensuremath{\rho}",
    # A row that begins with a bracket would be read as the argument of the line break before it.
    "[": "{[}",
}


def _latex(value: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(value.split()))


def write(table: Table, folder: Path) -> list[Path]:
    """Write a table in all three formats and return the files."""
    paths = [folder / f"{table.name}.{suffix}" for suffix in ("csv", "parquet", "tex")]
    write_text(paths[0], table.csv())
    names, rows = table.flat()
    columns = [pa.array(list(values)) for values in zip(*rows, strict=True)] if rows else [pa.nulls(0)] * len(names)
    with replacing(paths[1]) as temporary:
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), temporary)
    write_text(paths[2], table.latex())
    return paths


# What the tables hold.


def _remarks(row: Comparison) -> str:
    remarks = [f"n/a: {row.reason}"] if row.status != "ok" else [row.reason] if row.reason else []
    remarks += ["† contaminated"] if row.contaminated else []
    remarks += [f"missing: {' '.join(row.missing)}"] if row.missing else []
    return "; ".join(remarks)


def _minus(name: str) -> str:
    """Write a contrast with a true minus sign."""
    return name.replace(" - ", f" {text.MINUS} ")


_LIFT = [
    Column("lift", "lift", "lift"),
    Column("ci", "interval", "interval"),
    Column("p", "p", "p"),
    Column("p_holm", "p Holm", "p"),
]
_TESTS = [Column("baseline_score", "none", "score"), Column("score", "with", "score"), *_LIFT]
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
_IDENTITY = [
    Column("model", "model", choose=True),
    Column("target", "target", choose=True),
    Column("intermediate", "intermediate", choose=True),
]
_GROUPING = Column("grouping", "grouping", choose=True)
_GROUP = Column("group", "group", choose=True)

_HOW = (
    "none: score without intermediate training; with: score with it; lift and intervals in points. "
    "Bold: significant after Holm. detectable: smallest lift found with 80% power, before correction."
)


def build(results: Results) -> dict[str, Table]:
    """Make every table, by name."""
    makers = (
        *(overall, groups, contrasts, compared, sensitivity, regression, per_language, pretraining, seeds, cost),
        *(benchmarks, excluded, sentinels, origins, versions, data, models, training, cells),
    )
    return {table.name: table for table in (make(results) for make in makers)}


def _marks(results: Results, rows: Sequence[Comparison]) -> list[bool]:
    return [row.significant(results.run.alpha) for row in rows]


def overall(results: Results) -> Table:
    """Lift over all transfer languages."""
    rows = results.select(ALL)
    columns = [*_IDENTITY, Column("metric", "metric"), *_TESTS, *_MORE_TESTS, *_SIZES, *_REMARKS]
    return Table.of(
        "overall", "Lift over all transfer languages", columns, rows, note=_HOW, marks=_marks(results, rows)
    )


def groups(results: Results) -> Table:
    """Lift per family and per group of every further grouping."""
    rows = results.select("group")
    which = Column("languages", "which", of=lambda row: " ".join(row.languages))
    columns = [*_IDENTITY, _GROUPING, _GROUP, *_TESTS, *_MORE_TESTS, *_SIZES, which, *_REMARKS]
    return Table.of("groups", "Lift by group of languages", columns, rows, note=_HOW, marks=_marks(results, rows))


def contrasts(results: Results) -> Table:
    """Differences of lift between groups."""
    rows = results.select("contrast")
    named = Column("contrast", "contrast", choose=True, of=lambda row: _minus(row.group))
    columns = [*_IDENTITY, _GROUPING, named, *_LIFT, *_MORE_TESTS, *_SIZES, *_REMARKS]
    note = "lift: lift in the first group minus lift in the second, in points. Bold: significant after Holm."
    marks = _marks(results, rows)
    return Table.of("contrasts", "Contrasts between groups of languages", columns, rows, note=note, marks=marks)


def compared(results: Results) -> Table:
    """Arms against their controls, and variants against the arms they vary."""
    rows = results.controls
    against = Column("against", "against", choose=True)
    scores = [Column("baseline_score", "its score", "score"), Column("score", "score", "score")]
    difference = [Column("lift", "difference", "lift"), *_LIFT[1:]]
    columns = [*_IDENTITY, against, _GROUP, *scores, *difference, *_MORE_TESTS, *_SIZES, *_REMARKS]
    note = (
        "difference: score of the arm less that of the one it is held against, which is the difference of their lifts; "
        "in points. Bold: significant after Holm, within one model and target."
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
        *_IDENTITY,
        *_TESTS,
        *_SIZES[1:],
        Column("language", "code", of=lambda r: r.group),
        *_REMARKS,
    ]
    marks = _marks(results, rows)
    return Table.of("per_language", "Scores and lift per language", columns, rows, note=_HOW, marks=marks)


def pretraining(results: Results) -> Table:
    """Rank correlation of lift with pre-training size."""
    note = "Rank correlation of a language's lift with its mC4 tokens; descriptive, not a test."
    return _correlations("pretraining", "Lift and pre-training size", results, [PRETRAINING], note)


def _correlations(name: str, caption: str, results: Results, covariates: Sequence[Covariate], note: str) -> Table:
    columns = [*_IDENTITY, _SIZES[0], Column("spearman", "Spearman's ρ", "number")]
    values: list[list[Value]] = []
    for covariate in covariates:
        for arm, found in pairs(results, covariate).items():
            rho = rank_correlation([(value, lift) for _, value, lift in found])
            values.append([*arm, len(found), None if rho is None else round(rho, 3)])
    return Table(name, caption, columns, values, note)


def seeds(results: Results) -> Table:
    """Mean score of every run."""
    columns = [
        *_IDENTITY,
        _GROUP,
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

    def made(column: Column) -> Column:
        return replace(column, of=lambda row: column.value(row.comparison))

    columns = [
        *map(made, _IDENTITY),
        Column("variant", "variant", choose=True, of=lambda row: row.variant.replace("-", " ")),
        Column("group", "group or contrast", choose=True, of=lambda row: _minus(row.comparison.group)),
        *(made(column) for column in _LIFT if column.name != "p"),
        Column("main_lift", "lift, main", "lift"),
        Column("main_p_holm", "p Holm, main", "p"),
        Column("flips", "flips", "flag", choose=True),
        Column("relabelled", "languages", of=lambda row: " ".join(row.relabelled)),
    ]
    note = "flips (bold): significant after Holm under one labelling and not under the other, or with the other sign."
    rows = results.relabelled
    marks = [row.flips for row in rows]
    return Table.of("sensitivity", "The same tests under other labels", columns, rows, note=note, marks=marks)


def regression(results: Results) -> Table:
    """Lift regressed on family, with covariates."""
    columns = [
        Column("model", "model", choose=True),
        Column("specification", "regression", choose=True),
        Column("term", "term"),
        Column("coefficient", "coefficient", "lift"),
        Column("standard_error", "standard error", "score"),
        Column("ci", "interval", "interval"),
        Column("p", "p", "p"),
        Column("reference", "compared with"),
        Column("r_squared", "R²", "number", of=lambda c: None if c.r_squared is None else round(c.r_squared, 3)),
        Column("n_rows", "lifts", "count"),
        _SIZES[0],
        Column("n_clusters", "lineages", "count"),
        Column("remarks", "remarks", of=lambda c: c.reason),
    ]
    note = (
        "Lift per language, in points, with an intercept for every target and intermediate; standard errors clustered "
        "by genealogy and too small where lineages are few. It describes and does not prove."
    )
    caption = "Lift regressed on family, size, script and genealogy"
    return Table.of("regression", caption, columns, results.coefficients, note=note)


def cost(results: Results) -> Table:
    """Time and memory."""
    columns = [
        Column("stage", "stage", choose=True),
        *_IDENTITY,
        Column("runs", "runs", "count"),
        Column("seconds", "seconds", "count", of=lambda spent: round(spent.seconds, 3)),
        Column("gpu_seconds", "GPU seconds", "count", of=lambda spent: round(spent.gpu_seconds, 3)),
        Column("tokens", "tokens", "count"),
        Column("tokens_per_second", "tokens/s", "count"),
        Column("peak_memory_mb", "peak memory (MB)", "count"),
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


def _reservations(found: Aggregate) -> str:
    return "; ".join(["† contaminated"] * found.contaminated + [found.reason] * bool(found.reason))


def benchmarks(results: Results) -> Table:
    """Scores as benchmarks compute them; empty where no target belongs to one."""
    run = results.run
    columns = [
        Column("benchmark", "benchmark", choose=True),
        *(_IDENTITY[0], _IDENTITY[2]),
        Column("task", "task", choose=True, of=lambda found: found.task or "mean over tasks"),
        Column("languages", "languages", choose=True, of=lambda found: "transfer" if found.transfer else "all"),
        Column("score", "score", "score"),
        Column("seeds", "seeds", "count"),
        Column("remarks", "remarks", of=_reservations),
    ]
    rows = list(aggregates(results.cells, run.benchmarks, list(run.models), run.arms))
    note = "A task's score is the mean over its languages and seeds; bold: the mean over all tasks of the benchmark."
    return Table.of(
        "benchmarks", "Benchmark scores", columns, rows, note=note, marks=[not found.task for found in rows]
    )


def sentinels(results: Results) -> Table:
    """Generated answers that were, or tried to be, tokens of pre-training; empty where nothing is generated."""
    found: dict[tuple[str, ...], list[int]] = {}
    for cell, value in results.cells.items():
        if value.get("sentinels") is not None:
            numbers = found.setdefault((cell.model, cell.target, cell.intermediate, cell.language), [0, 0])
            numbers[0] += int(value["n"])
            numbers[1] += int(value["sentinels"])
    columns = [
        *_IDENTITY,
        Column("language", "language"),
        Column("answers", "answers", "count"),
        Column("sentinels", "with sentinels", "count"),
        Column("share", "%", "score"),
    ]
    values: list[list[Value]] = [[*arm, n, held, 100.0 * held / n] for arm, (n, held) in found.items() if held]
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
    roles = {"model": run.models, "intermediate": run.intermediates, "target": run.targets, "trained on": run.tasks}
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
    found: dict[tuple[str, str], list[int]] = {}
    for i, records in enumerate((results.cells.values(), [job.checkpoint for job in results.jobs])):
        for record in records:
            for package, version in record.get("versions", {}).items():
                found.setdefault((package, str(version)), [0, 0])[i] += 1
    columns = [
        Column("software", "software"),
        Column("version", "version"),
        Column("cells", "cells", "count"),
        Column("trainings", "training runs", "count"),
    ]
    values: list[list[Value]] = [[*key, *numbers] for key, numbers in sorted(found.items())]
    return Table("versions", "Software versions", columns, values)


def data(results: Results) -> Table:
    """Digest of every target's data by language."""
    found: dict[tuple[str, str, str], int] = {}
    for cell, value in results.cells.items():
        found[cell.target, cell.language, value.get("digests", {}).get("data", "")] = int(value.get("n", 0))
    columns = [
        Column("target", "target", choose=True),
        Column("language", "language"),
        Column("n", "test examples", "count"),
        Column("sha256", "sha256 of the data", "digest"),
    ]
    values: list[list[Value]] = [[target, code, n, digest] for (target, code, digest), n in found.items()]
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
        *_IDENTITY,
        Column("seed", "seed", "count"),
        recorded("updates", "updates"),
        recorded("tokens", "tokens"),
        Column("dev_score", "English dev", "score", of=lambda job: job.checkpoint.get("dev", {}).get("score")),
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

    def digest(part: str) -> Column:
        return Column(f"sha256_{part}", part, "digest", of=lambda pair: pair[1].get("digests", {}).get(part, ""))

    grouping = results.run.families
    columns = [
        *map(of_cell, [*_IDENTITY, Column("seed", "seed", "count"), Column("language", "language")]),
        Column("family", grouping, of=lambda pair: results.run.fact(pair[0].language, grouping)),
        recorded("metric", "metric"),
        recorded("score", "score", "score"),
        recorded("n", "n", "count"),
        recorded("learned", "learned", "flag", True),
        recorded("contaminated", "contaminated", "flag", False),
        *map(digest, ("data", "checkpoint", "predictions", "code")),
    ]
    return Table.of("cells", f"Every cell, {BASELINE} and {SOURCE_LANGUAGE} included", columns, results.cells.items())
