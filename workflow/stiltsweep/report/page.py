"""Putting the report together: sentences, figures and tables into one HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from ..arms import MULTI_TASK
from ..files import write_json, write_text
from . import methods, morphology, score_tables, text, why, why_tables
from .answer import FOLDED, Answer, answer
from .canvas import Figure
from .figures import draw
from .jobs import STAGES, costs
from .results import Results
from .table import Table, write
from .tables import build

_TEMPLATES = Path(__file__).parent / "templates"


def build_report(results: Results, output: Path) -> Answer:
    """Write the page, and beside it `figures/`, `tables/` and `headline.txt`.

    Files of an earlier report in the two folders are removed, so that they hold this report's files only.

    Args:
      results: what the sweep found.
      output: the page.

    Returns:
      The answer the page opens with.
    """
    said = answer(results)
    figures = {**draw(results), **why.draw(results)}
    types = morphology.figure(results)
    figures["types"] = [types] if types else []
    tables = build_tables(results)
    folder = output.parent
    written: set[Path] = set()
    for section in figures.values():
        for figure in section:
            path = folder / "figures" / f"{figure.name}.svg"
            write_text(path, figure.svg)
            written.add(path)
    for table in tables.values():
        written.update(write(table, folder / "tables"))
    for pattern in ("figures/**/*.svg", "tables/*.csv", "tables/*.parquet", "tables/*.tex"):
        for stale in set(folder.glob(pattern)) - written:
            stale.unlink()
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)  # also where there is nothing to draw
    write_json(folder / "files.json", sorted(path.relative_to(folder).as_posix() for path in written))
    write_text(folder / "headline.txt", said.headline + "\n")
    write_text(output, render(results, said, figures, tables))
    return said


def build_tables(results: Results) -> dict[str, Table]:
    """Return every table of the page, by name."""
    parts = (build(results), score_tables.build(results), morphology.tables(results), why_tables.build(results))
    return {name: table for part in parts for name, table in part.items()}


def render(results: Results, said: Answer, figures: Mapping[str, Sequence[Figure]], tables: Mapping[str, Table]) -> str:
    """Return the page's HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline_svg
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    run = results.run
    spent = costs(results.jobs)
    how = methods.paragraph(results)
    return environment.get_template("report.html.j2").render(
        run=run,
        answer=said,
        folded_from=FOLDED,
        methods=how,
        bibtex=methods.bibtex(how),
        figures=figures,
        tables={name: table.slim() for name, table in tables.items()},
        text=text,
        # The style and the script are ours; the script's digest is the only one the page lets run.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        languages=results.transfer_languages,
        group_of=results.group_of,
        groups_held=len(set(results.group_of.values()) - {""}),
        cells=len(results.cells),
        excluded=Counter(entry.what for entry in results.exclusions),
        missing=len(results.missing),
        contaminated=results.contaminated,
        resampled=results.resampled,
        spent=spent,
        partings=why.partings(results),
        why=any(tables[name].rows for name in ("probes", "tokenization", "buckets", "behaviour")),
        variants=any("+" in name or name == MULTI_TASK for name in run.intermediates),
        gpu_seconds=sum(c.gpu_seconds for c in spent),
        seconds={stage: sum(c.seconds for c in spent if c.stage == stage) for stage in STAGES},
        peak_memory_mb=max((c.peak_memory_mb for c in spent if c.peak_memory_mb), default=None),
        devices=sorted({c.devices for c in spent if c.devices}),
    )


_IDS = re.compile(r'(\bid="|\bhref="#|url\(#)')


def inline_svg(figure: Figure, number: int) -> Markup:
    """Return a figure's SVG for use inside the page: ids of its own, scaled by its column, described for readers."""
    svg = figure.svg[figure.svg.index("<svg") :]
    # matplotlib's rule for all elements would reach the whole page; the page's own style has it for figures.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    # In the page, the page's own font is used.
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    svg = _IDS.sub(rf"\g<1>f{number}-", svg)
    opening, _, rest = svg.partition(">")
    view = re.search(r'viewBox="([^"]*)"', opening)
    if view is None:
        raise ValueError(f"{figure.name}: the SVG has no viewBox")
    label = Markup.escape(f"{figure.title}. {figure.caption}")
    head = f'<svg viewBox="{view[1]}" role="img" aria-label="{label}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return Markup(f"{head}>{rest}")  # noqa: S704 (matplotlib escapes the texts it writes)
