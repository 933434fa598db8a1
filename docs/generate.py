"""Write the pages that follow from the code: configuration.md from the schemas, columns.md from the classes of rows,
and in catalog.md the rows of its tables, from the catalogue's files.

python docs/generate.py            writes them
python docs/generate.py --check    says whether they are as they would be written
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
LIBRARY = DOCS.parent / "workflow" / "stiltsweep"
SCHEMAS = DOCS.parent / "workflow" / "schemas"
TABLES = {
    "significance/lift.csv": ("significance/comparison.py", "Comparison", "One row a comparison; how each is computed: [statistics](statistics.md)."),
    "significance/runs.csv": ("significance/runs.py", "RunScore", "One row a run and group of languages."),
    "significance/controls.csv": ("significance/controls.py", "Control", "An arm against another arm; the columns of lift.csv, and:"),
    "significance/sensitivity.csv": ("significance/sensitivity.py", "Relabelled", "Comparisons under other labels of languages; the columns of lift.csv, and:"),
    "typology/omnibus.csv": ("typology/tables.py", "Omnibus", "Do the types differ."),
    "typology/types.csv, predictors.csv": ("typology/tables.py", "Term", "By how much, and what else does it."),
    "significance/benchmarks.csv": ("report/scores.py", "Score", "Benchmarks' scores as papers print them."),
    "significance/published.csv": ("report/scores.py", "Published", "Published scores beside ours."),
    "behaviour/failures.csv": ("behaviour.py", "Failures", "Failures by capability and language; only with such targets."),
    "probes/probes.csv": ("probing/table.py", "Probe", "One row a checkpoint, language, feature, pooling and layer: [probes](probes.md)."),
    "diagnosis/{model}/{target}.csv": ("significance/buckets.py", "BucketLift", "Lifts by bucket of examples: [diagnosis](diagnosis.md)."),
}  # fmt: skip
_NOTE = "<!-- Written by docs/generate.py; edit what it reads, and run it again. -->\n"


def configuration() -> str:
    """Return the reference of the configuration's keys."""
    config, training = (
        yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8")) for name in ("config", "training")
    )
    parts = [
        _NOTE,
        "# Configuration reference\n",
        "A sweep is one YAML file, such as `config.yaml`; `snakemake --configfile FILE` names another, and `--config KEY=VALUE` changes one key.",
        "A key that is not listed here, or a value that is not allowed, is refused before anything runs.\n",
        _keys(config, required=config["required"]),
        "\n## Training settings\n",
        f"{training['description']} Values as published: [recipes](recipes.md).\n",
        _keys(training),
    ]
    return "\n".join(parts) + "\n"


def _keys(schema: Mapping[str, Any], required: list[str] | tuple[str, ...] = ()) -> str:
    lines = ["| key | values | default | what it says |", "|---|---|---|---|"]
    for name, about in _flat(schema):
        default = "required" if name in required else f"`{_yaml(about['default'])}`" if "default" in about else ""
        default = "" if default == "`{}`" else default
        lines.append(
            f"| `{name}` | {_cell(_values(about))} | {_cell(default)} | {_cell(about.get('description', ''))} |"
        )
    return "\n".join(lines)


def _flat(schema: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, about in schema.get("properties", {}).items():
        inner = about.get("properties")
        if not inner or "description" in about:
            yield f"{above}{name}", about
        if inner:
            yield from _flat(about, f"{above}{name}.")


def _values(about: Mapping[str, Any]) -> str:
    if "enum" in about:
        return ", ".join(f"`{_yaml(value)}`" for value in about["enum"])
    kind = about.get("type", "")
    text = " or ".join(kind) if isinstance(kind, list) else kind
    if text == "array":
        text = f"list of {_values(about.get('items', {})) or 'values'}"
    low = about.get("minimum", about.get("exclusiveMinimum"))
    high = about.get("maximum", about.get("exclusiveMaximum"))
    if low is not None or high is not None:
        more, less = (
            ("above " if "exclusiveMinimum" in about else "from "),
            ("below " if "exclusiveMaximum" in about else "to "),
        )
        text += f", {more}{low}" * (low is not None) + f" {less}{high}" * (high is not None)
    return text


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return text.replace("\n...", "").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def columns() -> str:
    """Return the columns of every table, from the classes of their rows."""
    parts = [
        _NOTE,
        "# Columns of the tables\n",
        "What lies where, and how tables are read, is on the page [results](outputs.md). Scores, lifts, intervals and standard errors are in points;",
        "an empty value is one that could not be had. Parquet files of the same name have the same columns.\n",
    ]
    for table, (file, name, about) in TABLES.items():
        parts += [f"## {table}\n", f"{about}\n", "| column | type | what it says |", "|---|---|---|"]
        parts += [
            f"| `{column}` | {_cell(kind)} | {_cell(text)} |" for column, kind, text in _fields(LIBRARY / file, name)
        ]
        parts.append("")
    return "\n".join(parts)


def _fields(path: Path, name: str) -> list[tuple[str, str, str]]:
    """Return (field, type, text under it) of a dataclass; a text stands for the fields above it that have none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    rows: list[tuple[str, str, str]] = []
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            kind = ast.unparse(node.annotation).replace(" | None", "").replace("tuple[str, ...]", "names")
            rows.append(
                (
                    node.target.id,
                    {"str": "text", "bool": "true or false", "int": "count", "float": "number"}.get(kind, kind),
                    "",
                )
            )
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and rows:
            rows[-1] = (*rows[-1][:2], str(node.value.value))
    return rows


CATALOGUE = DOCS.parent / "workflow" / "catalog"
_ORIGINS = re.compile(r"\b([SDM](?=:)|ours(?=:)|ours$)")
_COMMIT = re.compile("[0-9a-f]{40}")


def catalogue() -> str:
    """Return catalog.md with the rows of its tables as the catalogue's files have them; the text between them stays."""
    lines = (DOCS / "catalog.md").read_text(encoding="utf-8").splitlines()
    kept = {cells[0]: cells for cells in map(_cells, lines) if len(cells) > 4}
    found: list[str] = []
    section = header = ""
    for line in lines:
        section = line if line.startswith("## ") else section
        if not line.startswith("|"):
            header = ""
        elif not header:
            header = line
        written = section in _SECTIONS and header.startswith(("| task |", "| model |"))
        if written and line.startswith("| `"):
            continue
        found.append(line)
        if written and line.startswith("| ---"):
            role, packaged = _SECTIONS[section]
            role = "intermediate" if packaged and "holds data of" in header else role
            found += [
                _row(path, role, kept.get(f"`{path.stem}`", []))
                for path in sorted((CATALOGUE / role).glob("*.yaml"))
                if role == "models" or (_source(path)["type"] in ("package", "templates")) == packaged
            ]
    return "\n".join(found) + "\n"


_SECTIONS = {
    "## Targets": ("target", False),
    "## Intermediate tasks": ("intermediate", False),
    "## Probing tasks": ("probe", False),
    "## Packaged tasks, no network": ("target", True),
    "## Models": ("models", False),
}
"""Heading -> the folder of the files below it, and whether those whose texts are packaged."""


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("| `") else []


def _source(path: Path) -> Mapping[str, Any]:
    source: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["source"]
    return source


def _row(path: Path, role: str, kept: list[str]) -> str:
    """Return a file's row; what is said of a packaged source is kept from the page."""
    about = yaml.safe_load(path.read_text(encoding="utf-8"))
    source, licence = about["source"], about["licence"]
    pinned = "commit" in source or all(_COMMIT.fullmatch(found) for found in _named(source, "revision"))
    origins = ", ".join(
        f"{key} {' '.join(dict.fromkeys(_ORIGINS.findall(text) or ['S']))}"
        + " **to pin**" * (key == ("revision" if role == "models" else "source") and not pinned)
        for key, text in about.get("provenance", {}).items()
    )
    if role == "models":
        size = f"{about['hidden_size']:,}, {about['layers']}"
        said = f"`{source['repo']}`" if source["type"] == "hub" else (kept[4] if kept else source["type"])
        return _line(f"`{path.stem}`", about["interface"], f"{about['parameters']:,}", size, said, licence, origins)
    sets = list(dict.fromkeys(_named(source, "dataset")))
    said = ", ".join(f"`{name}`" for name in sets) if sets else "your files" if source["type"] == "files" else ""
    train = about["languages"].get("en", {}).get("train")
    held = ", ".join(about.get("contaminates", []))
    member = ", ".join(f"{name} {len(codes)}" for name, codes in about.get("benchmarks", {}).items())
    return _line(
        f"`{path.stem}`",
        about["kind"],
        str(len(about["languages"])),
        f"{train:,}" if train else "–",
        said or (kept[4] if kept else source["type"]),
        licence,
        member or held,
        origins,
    )


def _line(*cells: str) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _named(source: Any, key: str) -> Iterator[str]:
    """Yield what a source and its parts give for a key."""
    if isinstance(source, Mapping):
        if key in source:
            yield source[key]
        for value in source.values():
            yield from _named(value, key)
    elif isinstance(source, list):
        for value in source:
            yield from _named(value, key)


PAGES = {"configuration.md": configuration, "columns.md": columns, "catalog.md": catalogue}


def main() -> None:
    """Write the pages, or compare."""
    for name, page in PAGES.items():
        path = DOCS / name
        if "--check" in sys.argv[1:]:
            if path.read_text(encoding="utf-8") != page():
                sys.exit(f"error: docs/{name} is not what docs/generate.py writes. Hint: python docs/generate.py")
        else:
            path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
