"""The tables: one definition each, written as CSV, Parquet and LaTeX (booktabs) and shown in the page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import BASELINE
from ..files import replacing, write_text
from ..languages import SOURCE_LANGUAGE
from . import text
from .figures import rank_correlation, tokens
from .jobs import costs
from .results import ALL, Comparison, Results

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

    @property
    def numeric(self) -> bool:
        return self.kind not in ("text", "flag", "digest")

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

_TESTS = [
    Column("baseline_score", "none", "score"),
    Column("score", "with", "score"),
    Column("lift", "lift", "lift"),
    Column("ci", "interval", "interval"),
    Column("p", "p", "p"),
    Column("p_holm", "p Holm", "p"),
]
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
_REMARKS = [Column("remarks", "remarks")]
_IDENTITY = [
    Column("model", "model", choose=True),
    Column("target", "target", choose=True),
    Column("intermediate", "intermediate", choose=True),
]


def _tests(row: Comparison) -> list[Value]:
    return [row.baseline_score, row.score, row.lift, (row.ci_low, row.ci_high), row.p, row.p_holm]


def _more_tests(row: Comparison) -> list[Value]:
    return [
        row.p_bh,
        row.p_signflip,
        (row.bca_low, row.bca_high),
        (row.examples_ci_low, row.examples_ci_high),
        row.examples_p,
        row.detectable_lift,
    ]


def _sizes(row: Comparison) -> list[Value]:
    return [row.n_languages, row.n_examples, row.n_seeds]


def _remarks(row: Comparison) -> str:
    remarks = [f"n/a: {row.reason}"] if row.status != "ok" else [row.reason] if row.reason else []
    remarks += ["† contaminated"] if row.contaminated else []
    remarks += [f"missing: {' '.join(row.missing)}"] if row.missing else []
    return "; ".join(remarks)


def _identity(row: Comparison) -> list[Value]:
    return [row.model, row.target, row.intermediate]


_HOW = (
    "none: score without intermediate training; with: score with it; lift and intervals in points. "
    "Bold: significant after Holm. detectable: smallest lift found with 80% power, before correction."
)


def build(results: Results) -> dict[str, Table]:
    """Make every table, by name."""
    tables = [
        overall(results),
        groups(results),
        contrasts(results),
        sensitivity(results),
        regression(results),
        per_language(results),
        pretraining(results),
        seeds(results),
        cost(results),
        excluded(results),
        origins(results),
        versions(results),
        data(results),
        models(results),
        training(results),
        cells(results),
    ]
    return {table.name: table for table in tables}


def _marks(results: Results, rows: Sequence[Comparison]) -> list[bool]:
    return [row.significant(results.run.alpha) for row in rows]


def overall(results: Results) -> Table:
    """Lift over all transfer languages."""
    rows = results.select(ALL)
    columns = [*_IDENTITY, Column("metric", "metric"), *_TESTS, *_MORE_TESTS, *_SIZES, *_REMARKS]
    values = [[*_identity(r), r.metric, *_tests(r), *_more_tests(r), *_sizes(r), _remarks(r)] for r in rows]
    return Table("overall", "Lift over all transfer languages", columns, values, _HOW, _marks(results, rows))


def groups(results: Results) -> Table:
    """Lift per family and per group of every further grouping."""
    rows = results.select("group")
    columns = [
        *_IDENTITY,
        Column("grouping", "grouping", choose=True),
        Column("group", "group", choose=True),
        *_TESTS,
        *_MORE_TESTS,
        *_SIZES,
        Column("languages", "which"),
        *_REMARKS,
    ]
    values: list[list[Value]] = [
        [
            *_identity(r),
            r.grouping,
            r.group,
            *_tests(r),
            *_more_tests(r),
            *_sizes(r),
            " ".join(r.languages),
            _remarks(r),
        ]
        for r in rows
    ]
    return Table("groups", "Lift by group of languages", columns, values, _HOW, _marks(results, rows))


def contrasts(results: Results) -> Table:
    """Differences of lift between groups."""
    rows = results.select("contrast")
    tests = [column for column in _TESTS if column.kind != "score"]
    columns = [
        *_IDENTITY,
        Column("grouping", "grouping", choose=True),
        Column("contrast", "contrast", choose=True),
        *tests,
        *_MORE_TESTS,
        *_SIZES,
        *_REMARKS,
    ]
    values: list[list[Value]] = [
        [
            *_identity(r),
            r.grouping,
            r.group.replace(" - ", f" {text.MINUS} "),
            *_tests(r)[2:],
            *_more_tests(r),
            *_sizes(r),
            _remarks(r),
        ]
        for r in rows
    ]
    note = "lift: lift in the first group minus lift in the second, in points. Bold: significant after Holm."
    return Table("contrasts", "Contrasts between groups of languages", columns, values, note, _marks(results, rows))


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
        Column("name", "language"),
        Column("family", results.run.families, choose=True),
        *_IDENTITY,
        *_TESTS,
        Column("n_examples", "examples", "count"),
        Column("n_seeds", "seeds", "count"),
        Column("language", "code"),
        *_REMARKS,
    ]
    values: list[list[Value]] = [
        [
            results.run.language_name(r.group),
            results.group_of.get(r.group, ""),
            *_identity(r),
            *_tests(r),
            r.n_examples,
            r.n_seeds,
            r.group,
            _remarks(r),
        ]
        for r in rows
    ]
    return Table("per_language", "Scores and lift per language", columns, values, _HOW, _marks(results, rows))


def pretraining(results: Results) -> Table:
    """Rank correlation of lift with pre-training size."""
    arms: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in results.select("language"):
        size = tokens(results, row.group)
        if row.lift is not None and size is not None:
            arms.setdefault((row.model, row.target, row.intermediate), []).append((size, row.lift))
    columns = [*_IDENTITY, Column("n_languages", "languages", "count"), Column("spearman", "Spearman's ρ", "number")]
    values: list[list[Value]] = []
    for arm, pairs in arms.items():
        rho = rank_correlation(pairs)
        values.append([*arm, len(pairs), None if rho is None else round(rho, 3)])
    note = "Rank correlation of a language's lift with its mC4 tokens; descriptive, not a test."
    return Table("pretraining", "Lift and pre-training size", columns, values, note)


def seeds(results: Results) -> Table:
    """Mean score of every run."""
    columns = [
        *_IDENTITY,
        Column("group", "group", choose=True),
        Column("seed", "seed", "count"),
        Column("n_languages", "languages", "count"),
        Column("score", "score", "score"),
        Column("baseline_mean", "mean baseline", "score"),
        Column("difference", "difference", "lift"),
    ]
    values: list[list[Value]] = [
        [s.model, s.target, s.intermediate, s.group, s.seed, s.n_languages, s.score, s.baseline, s.lift]
        for s in results.seed_scores
    ]
    note = (
        "Over the languages that all runs of the arm and of the baseline have; difference: from the mean baseline run."
    )
    return Table("seeds", "Mean score of every run", columns, values, note)


def sensitivity(results: Results) -> Table:
    """The same tests under other labels of the languages."""
    columns = [
        *_IDENTITY,
        Column("variant", "variant", choose=True),
        Column("group", "group or contrast", choose=True),
        Column("lift", "lift", "lift"),
        Column("ci", "interval", "interval"),
        Column("p_holm", "p Holm", "p"),
        Column("main_lift", "lift, main", "lift"),
        Column("main_p_holm", "p Holm, main", "p"),
        Column("flips", "flips", "flag", choose=True),
        Column("relabelled", "languages"),
    ]
    values: list[list[Value]] = []
    for row in results.relabelled:
        made = row.comparison
        name = made.group.replace(" - ", f" {text.MINUS} ")
        tests: list[Value] = [made.lift, (made.ci_low, made.ci_high), made.p_holm]
        tests += [row.main_lift, row.main_p_holm]
        variant = row.variant.replace("-", " ")
        values.append([*_identity(made), variant, name, *tests, row.flips, " ".join(row.relabelled)])
    note = "flips (bold): significant after Holm under one labelling and not under the other, or with the other sign."
    marks = [row.flips for row in results.relabelled]
    return Table("sensitivity", "The same tests under other labels", columns, values, note, marks)


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
        Column("r_squared", "R²", "number"),
        Column("n_rows", "lifts", "count"),
        Column("n_languages", "languages", "count"),
        Column("n_clusters", "lineages", "count"),
        Column("remarks", "remarks"),
    ]
    values: list[list[Value]] = [
        [
            c.model,
            c.specification,
            c.term,
            c.coefficient,
            c.standard_error,
            (c.ci_low, c.ci_high),
            c.p,
            c.reference,
            None if c.r_squared is None else round(c.r_squared, 3),
            c.n_rows,
            c.n_languages,
            c.n_clusters,
            c.reason,
        ]
        for c in results.coefficients
    ]
    note = (
        "Lift per language, in points, with an intercept for every target and intermediate; standard errors clustered "
        "by genealogy and too small where lineages are few. It describes and does not prove."
    )
    return Table("regression", "Lift regressed on family, size, script and genealogy", columns, values, note)


def cost(results: Results) -> Table:
    """Time and memory."""
    columns = [
        Column("stage", "stage", choose=True),
        *_IDENTITY,
        Column("runs", "runs", "count"),
        Column("seconds", "seconds", "count"),
        Column("tokens", "tokens", "count"),
        Column("tokens_per_second", "tokens/s", "count"),
        Column("peak_memory_mb", "peak memory (MB)", "count"),
        Column("device", "device"),
    ]
    values: list[list[Value]] = [
        [
            c.stage,
            c.model,
            c.target,
            c.intermediate,
            c.runs,
            round(c.seconds, 3),
            c.tokens,
            c.tokens_per_second,
            c.peak_memory_mb,
            c.devices,
        ]
        for c in costs(results.jobs)
    ]
    note = "Summed over the seeds whose timing is known. A prediction that was resumed counts its last part."
    return Table("cost", "Cost", columns, values, note)


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
    values: list[list[Value]] = [
        [e.what, e.model, e.target, e.intermediate, e.seeds, e.languages, e.reason] for e in results.exclusions
    ]
    return Table("excluded", "Missing, not built, at chance, contaminated", columns, values)


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
    values: list[list[Value]] = []
    for role, entries in (("model", run.models), ("intermediate", run.intermediates), ("target", run.targets)):
        for name, about in entries.items():
            kind = about.get("kind") or about.get("interface") or ""
            values.append(
                [
                    name,
                    role,
                    kind,
                    about.get("description", ""),
                    about.get("licence", ""),
                    _source(about.get("source")),
                    about.get("citation", ""),
                ]
            )
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
    columns = [
        Column("stage", "stage", choose=True),
        *_IDENTITY,
        Column("seed", "seed", "count"),
        Column("updates", "updates", "count"),
        Column("tokens", "tokens", "count"),
        Column("dev_score", "English dev", "score"),
        Column("chance", "chance", "score"),
        Column("learned", "learned", "flag"),
        Column("precision", "precision"),
        Column("data_sha256", "sha256 of the data", "digest"),
        Column("weights_sha256", "sha256 of the checkpoint", "digest"),
    ]
    values: list[list[Value]] = []
    for job in results.jobs:
        if about := job.checkpoint:
            facts = [about.get(name) for name in ("chance", "learned", "precision", "data_sha256", "weights_sha256")]
            work = [about.get("updates"), about.get("tokens"), about.get("dev", {}).get("score")]
            values.append([job.stage, job.model, job.target, job.intermediate, job.seed, *work, *facts])
    return Table("training", "Training runs and checkpoints", columns, values)


def cells(results: Results) -> Table:
    """Every cell with its score and digests; for the files, too long for the page."""
    digests = ("data", "checkpoint", "predictions", "code")
    columns = [
        *_IDENTITY,
        Column("seed", "seed", "count"),
        Column("language", "language"),
        Column("family", results.run.families),
        Column("metric", "metric"),
        Column("score", "score", "score"),
        Column("n", "n", "count"),
        Column("learned", "learned", "flag"),
        Column("contaminated", "contaminated", "flag"),
        *(Column(f"sha256_{part}", part, "digest") for part in digests),
    ]
    values: list[list[Value]] = [
        [
            cell.model,
            cell.target,
            cell.intermediate,
            cell.seed,
            cell.language,
            results.run.fact(cell.language, results.run.families),
            value.get("metric", ""),
            float(value["score"]),
            int(value["n"]),
            bool(value.get("learned", True)),
            bool(value.get("contaminated")),
            *(value.get("digests", {}).get(part, "") for part in digests),
        ]
        for cell, value in results.cells.items()
    ]
    return Table("cells", f"Every cell, {BASELINE} and {SOURCE_LANGUAGE} included", columns, values)
