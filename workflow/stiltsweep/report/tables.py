"""The tables: one definition each, written as CSV, Parquet and LaTeX (booktabs) and shown in the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import BASELINE
from ..files import replacing, write_text
from ..languages import SOURCE_LANGUAGE
from . import text
from .figures import rank_correlation, tokens
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
    """`text`, `score`, `lift`, `p`, `interval`, `count`, `number`, `seconds`, `flag` or `digest`."""
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
            return "yes" if value else ""
        if isinstance(value, str):
            return value[:12] if self.kind == "digest" else value
        written = {
            "score": text.points,
            "lift": text.lift,
            "p": text.probability,
            "seconds": text.seconds,
            "count": lambda v: f"{v:,.0f}",
        }
        return written[self.kind](value) if self.kind in written else f"{value:g}".replace("-", text.MINUS)


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


_HOW = "none: score without intermediate training; with: score with it; lift and intervals in points. Bold: significant after Holm."


def build(results: Results) -> dict[str, Table]:
    """Make every table, by name."""
    tables = [
        overall(results),
        groups(results),
        contrasts(results),
        per_language(results),
        pretraining(results),
        seeds(results),
        cost(results),
        excluded(results),
        origins(results),
        versions(results),
        data(results),
        checkpoints(results),
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
    rows = results.select("language")
    columns = [
        Column("name", "language"),
        Column("language", "code"),
        Column("family", results.run.families, choose=True),
        *_IDENTITY,
        *_TESTS,
        Column("n_examples", "examples", "count"),
        Column("n_seeds", "seeds", "count"),
        *_REMARKS,
    ]
    values: list[list[Value]] = [
        [
            results.run.language_name(r.group),
            r.group,
            results.group_of.get(r.group, ""),
            *_identity(r),
            *_tests(r),
            r.n_examples,
            r.n_seeds,
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
    """Mean lift of every seed."""
    columns = [
        *_IDENTITY,
        Column("group", "group", choose=True),
        Column("seed", "seed", "count"),
        Column("n_languages", "languages", "count"),
        Column("baseline_score", "none", "score"),
        Column("score", "with", "score"),
        Column("lift", "lift", "lift"),
    ]
    values: list[list[Value]] = [
        [s.model, s.target, s.intermediate, s.group, s.seed, s.n_languages, s.baseline, s.score, s.lift]
        for s in results.seed_lifts
    ]
    note = "Means over the languages both arms have; the arms are set side by side by seed number."
    return Table("seeds", "Lift of every seed", columns, values, note)


def cost(results: Results) -> Table:
    """Time and memory."""
    columns = [
        *_IDENTITY,
        Column("runs", "runs", "count"),
        Column("train_seconds", "training", "seconds"),
        Column("predict_seconds", "prediction", "seconds"),
        Column("tokens_per_second", "tokens/s", "count"),
        Column("peak_memory_mb", "peak memory (MB)", "count"),
        Column("device", "device"),
    ]
    values: list[list[Value]] = [
        [
            c.model,
            c.target,
            c.intermediate,
            c.runs,
            c.train_seconds,
            c.predict_seconds,
            c.tokens_per_second,
            c.peak_memory_mb,
            c.devices,
        ]
        for c in results.costs
    ]
    note = "Seconds are summed over seeds (training) and over seeds and languages (prediction); tokens/s is the median run."
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
    """Write a source as `package (name: x, version: 1)`, leaving nested settings out."""
    if not isinstance(source, dict):
        return str(source or "")
    facts = [
        f"{key}: {value}" for key, value in source.items() if key != "type" and isinstance(value, str | int | float)
    ]
    facts += [
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in source.items()
        if key in ("packages", "versions")
    ]
    return str(source.get("type", "")) + (f" ({', '.join(facts)})" if facts else "")


def versions(results: Results) -> Table:
    """Software the cells were made with; a package with two versions has two rows."""
    found: dict[tuple[str, str], int] = {}
    for value in results.cells.values():
        for package, version in value.get("versions", {}).items():
            key = (package, str(version))
            found[key] = found.get(key, 0) + 1
    columns = [Column("software", "software"), Column("version", "version"), Column("cells", "cells", "count")]
    values: list[list[Value]] = [[*key, number] for key, number in sorted(found.items())]
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


def checkpoints(results: Results) -> Table:
    """Digest of every checkpoint that was evaluated."""
    found: dict[tuple[str, str, str, int, str, bool], int] = {}
    for cell, value in results.cells.items():
        digest = value.get("digests", {}).get("checkpoint", "")
        key = (cell.model, cell.target, cell.intermediate, cell.seed, digest, bool(value.get("learned", True)))
        found[key] = found.get(key, 0) + 1
    columns = [
        *_IDENTITY,
        Column("seed", "seed", "count"),
        Column("sha256", "sha256 of the checkpoint", "digest"),
        Column("learned", "learned", "flag"),
        Column("languages", "languages", "count"),
    ]
    values: list[list[Value]] = [[*key, number] for key, number in found.items()]
    return Table("checkpoints", "Checkpoints", columns, values)


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
