"""The page, its figures and its tables: what is in them, that they need nothing else, and that they are the same twice."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pyarrow.parquet as pq
import pytest

from report_fixtures import (
    NOTE,
    TABLE,
    comparison,
    description,
    in_group,
    not_available,
    planted,
    positive,
    write_all,
    write_lift,
)
from stiltsweep.arms import BASELINE
from stiltsweep.catalog import Catalog, Model, Task
from stiltsweep.errors import UserError
from stiltsweep.files import read_json, write_json, write_record
from stiltsweep.report import figures, scatters, score_tables, tables
from stiltsweep.report.answer import answer
from stiltsweep.report.canvas import STYLE, _slim, scale
from stiltsweep.report.page import build_report
from stiltsweep.report.results import ALL, Results
from stiltsweep.report.run import describe, read_run
from stiltsweep.report.scores import Reader, benchmark_rows
from stiltsweep.report.table import LONGEST, Column, Table
from stiltsweep.sweep import Sweep

VOID = {"meta", "link", "br", "input", "hr", "img"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    run = description(targets=("intent", "slots"))
    lifts = {("pairs", "intent", code): 12.0 for code in TABLE.rows}
    return write_all(
        tmp_path_factory.mktemp("results"),
        run,
        lifts,
        n=120,
        seed_sd=0.2,
        contaminated=[("typing", "slots")],
        unlearned=[("pairs", "slots", 2)],
        missing=[("typing", "intent", 1, "ar")],
    )


def read(folder: Path) -> Results:
    return Results.read(read_run(folder / "report/run.json"), folder, folder / "significance/lift.csv")


@pytest.fixture(scope="module")
def html(folder) -> str:
    build_report(read(folder), folder / "report/index.html")
    page: Path = folder / "report/index.html"
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / f"report/tables/{name}.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_planted_gain_is_the_headline(folder, html):
    headline = (folder / "report/headline.txt").read_text()
    assert headline.startswith("English intermediate training helped significantly in 1 of 3 comparisons")
    assert headline.split(". ")[0] in html
    assert "pairs → intent" in html


def test_numbers_of_the_table_are_those_of_lift_csv(folder, page):
    (row,) = [r for r in read(folder).select(ALL) if (r.target, r.intermediate) == ("intent", "pairs")]
    (shown,) = [r for r in rows_of(folder, "overall") if (r["target"], r["intermediate"]) == ("intent", "pairs")]
    assert float(shown["lift"]) == row.lift
    assert float(shown["ci_low"]) == row.ci_low
    assert f"+{row.lift:.1f}" in page.text
    assert f"[{row.ci_low:.1f}, {row.ci_high:.1f}]" in page.text


def test_page_asks_the_network_for_nothing(html, page):
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert not re.match(r"(?:[a-z]+:)?//", attributes.get(name, ""))
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html
    assert "default-src 'none'" in next(a["content"] for a in page.all("meta") if "Security" in a.get("http-equiv", ""))


def test_every_linked_file_is_there(folder, page):
    links = {a["href"] for a in page.all("a") if not a["href"].startswith("#")}
    assert len(links) > 20
    assert not [link for link in links if not (folder / "report" / link).is_file()]


def test_ids_are_unique_and_links_inside_have_aims(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    aims = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    aims += [a["xlink:href"][1:] for a in page.all("use")]
    assert set(aims) <= set(ids)


def test_page_can_be_heard(page):
    assert all(a.get("aria-label") for a in page.all("svg"))
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    labelled = {a["aria-labelledby"] for a in page.all("section")}
    assert labelled <= {a.get("id") for a in page.all("h2")}


def test_a_missing_cell_says_what_failed(folder, tmp_path):
    """The nearest job with an error in its log is the one to blame; without one the file is just not there."""
    reason = next(e.reason for e in read(folder).exclusions if e.what == "missing")
    assert reason == "the cell's file is not there"
    results = tmp_path / "results"
    shutil.copytree(folder, results)
    trained, predicted = (
        results / "logs" / path
        for path in ("intermediate/tiny/typing/seed1.log", "predict/tiny/typing/intent/seed1.log")
    )
    for path in (trained, predicted):
        path.parent.mkdir(parents=True)
    trained.write_text("12:00:00 stiltsweep\nerror: the loss is not finite at update 7\n")
    predicted.write_text("12:00:00 stiltsweep\n")
    (lost,) = (e for e in read(results).exclusions if e.what == "missing")
    assert lost.reason == "intermediate failed: the loss is not finite at update 7"
    predicted.write_text("Traceback (most recent call last):\ntorch.OutOfMemoryError: 3 GiB\n")
    (lost,) = (e for e in read(results).exclusions if e.what == "missing")
    assert lost.reason == "predict failed: torch.OutOfMemoryError: 3 GiB"


def test_what_is_left_out_is_said(folder, page):
    found = {row["what"]: row for row in rows_of(folder, "excluded")}
    assert found["missing"]["languages"] == "ar"
    assert found["not built"]["reason"] == "12 test examples, fewer than 30"
    assert found["learned nothing"]["intermediate"] == "pairs"
    assert found["contaminated"]["target"] == "slots"
    for text in (
        "12 test examples, fewer than 30",
        "Missing: 1 cell.",
        "Learned nothing: 1 run.",
        "contaminated",
        NOTE,
    ):
        assert text in page.text


def test_provenance_is_complete(folder, page):
    cells = rows_of(folder, "cells")
    assert len(cells) == len(read(folder).cells)
    assert all(len(row["sha256_data"]) == 64 for row in cells)
    assert len(rows_of(folder, "training")) == 3 * (2 + 3 * 2)
    assert {row["software"] for row in rows_of(folder, "versions")} >= {"stiltsweep", "torch"}
    for text in ("0123abc", "title: A sweep of the tests", "MIT", "117,653,760", "2.13.0"):
        assert text in page.text


def test_memory_is_in_the_unit_that_it_was_measured_in(html):
    """A job's record counts 2**20 bytes, see `device.peak_memory_mb`."""
    assert "the largest job used 910 MiB" in html and "peak memory (MiB)" in html


def test_cost_adds_up(folder):
    rows = {(r["stage"], r["target"], r["intermediate"]): r for r in rows_of(folder, "cost")}
    assert float(rows["finetune", "intent", "none"]["seconds"]) == 3 * 12.5
    assert float(rows["intermediate", "", "pairs"]["tokens_per_second"]) == 40_000 / 12.5
    assert ("intermediate", "", "none") not in rows


def test_seed_spread(folder):
    results = read(folder)
    scores = [s for s in results.seed_scores if (s.target, s.group) == ("intent", ALL)]
    # Arabic lacks a run of typing, so it leaves that comparison and stays in the others.
    assert {s.intermediate: s.n_languages for s in scores} == {"none": 9, "pairs": 9, "typing": 8}
    runs = [s for s in scores if s.intermediate == BASELINE]
    assert len(runs) == 3
    assert sum(s.lift for s in runs) == pytest.approx(0.0, abs=1e-9)
    at_chance = [s for s in results.seed_scores if (s.target, s.intermediate, s.seed) == ("slots", "pairs", 2)]
    assert at_chance == []


def test_a_mean_over_fewer_languages_is_marked(folder, html):
    """Arabic lacks a run of typing: its mean is over eight languages, that of none over nine."""
    rows = {row["intermediate"]: row["intent"] for row in rows_of(folder, "paper")}
    assert rows["typing"].endswith(" ‡") and "‡" not in rows["none"] + rows["pairs"]
    assert "‡: over fewer languages than none has" in html


def test_same_input_same_bytes(folder, html, tmp_path):
    build_report(read(folder), tmp_path / "index.html")
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == html
    made = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(made) > 50
    for path in made:
        assert (tmp_path / path).read_bytes() == (folder / "report" / path).read_bytes()


@pytest.mark.parametrize("learned", [True, False])
def test_a_sweep_of_the_baseline_alone_ends_in_a_report(tmp_path, learned):
    """Whether it has learned anything or is at chance: folders that Snakemake waits for are there, if empty."""
    run = description(intermediates=(), seeds=(0,), omitted=[])
    unlearned = () if learned else [("none", "intent", 0)]
    write_all(tmp_path, run, intermediates=["none"], unlearned=unlearned)
    found = build_report(read(tmp_path), tmp_path / "report/index.html")
    assert found.headline
    for name in ("figures", "tables"):
        assert (tmp_path / "report" / name).is_dir()
    listed = read_json(tmp_path / "report/files.json")
    assert listed and all((tmp_path / "report" / name).is_file() for name in listed)


def test_stale_files_go(folder, tmp_path):
    (tmp_path / "figures/old").mkdir(parents=True)
    (tmp_path / "figures/old/forest.svg").write_text("")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/old.csv").write_text("")
    (tmp_path / "tables/notes.txt").write_text("mine")
    build_report(read(folder), tmp_path / "index.html")
    assert not (tmp_path / "figures/old/forest.svg").exists()
    assert not (tmp_path / "tables/old.csv").exists()
    assert (tmp_path / "tables/notes.txt").exists()


def test_figures_are_whole_svg(folder, html):
    found = sorted((folder / "report/figures").rglob("*.svg"))
    assert {p.name for p in found} >= {"lift.svg", "forest.svg", "contrasts.svg", "languages.svg", "seeds.svg"}
    for path in found:
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "<metadata" not in text
        assert not re.search(r"\d{4}-\d\d-\d\d", text)


def test_formats_agree(folder, html):
    rows = rows_of(folder, "per_language")
    table = pq.read_table(folder / "report/tables/per_language.parquet").to_pylist()
    assert [row["lift"] for row in table] == [float(row["lift"]) if row["lift"] else None for row in rows]
    latex = (folder / "report/tables/per_language.tex").read_text()
    assert latex.count(r"\\") == len(rows) + 3
    assert r"\toprule" in latex


def test_latex_tables_compile(folder, html, tmp_path):
    """Every table is set by pdfTeX where it is installed; where it is not, nothing is in them that it does not know."""
    tables = sorted((folder / "report/tables").glob("*.tex"))
    for path in tables:
        assert path.read_text(encoding="utf-8").encode("latin-1"), path
    if not shutil.which("pdflatex"):
        return
    inputs = "".join(rf"\input{{{path}}}" for path in tables)
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,longtable}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}\tiny {inputs}\end{{document}}"
    (tmp_path / "all.tex").write_text(document)
    run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    ended = subprocess.run(run, cwd=tmp_path, capture_output=True, check=False, text=True, errors="replace")
    assert ended.returncode == 0, ended.stdout[-1000:]


def test_names_are_escaped_everywhere(tmp_path):
    evil = '<script>alert("1")</script>&$x$'
    run = description(title=evil, configuration=evil)
    run["languages"]["fi"]["name"] = evil
    run["models"][0]["licence"] = evil
    run["omitted"][0]["reason"] = evil
    write_json(tmp_path / "report/run.json", run)
    language = {"scope": "language", "grouping": "language", "group": "fi"}
    rows = [comparison(reason=evil), in_group(comparison(), evil), comparison(**language)]
    write_lift(tmp_path / "significance/lift.csv", rows)
    build_report(read(tmp_path), tmp_path / "report/index.html")
    html = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert html.count("<script>") == 1
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&amp;$x$" in html
    Page(html)
    for path in (tmp_path / "report/figures").rglob("*.svg"):
        ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert ".." not in path.name


def test_latex_is_escaped():
    table = Table("t", "50% & more_", [Column("a", "a"), Column("b", "b", "interval")], [["x_{1}\\", (-1.0, 2.0)]])
    latex = table.latex()
    assert r"\caption{50\% \& more\_}" in latex
    assert r"x\_\{1\}\textbackslash{} & {[}\ensuremath{-}1.0, 2.0] \\" in latex


def test_unavailable_groups_say_why(tmp_path):
    run = description()
    write_json(tmp_path / "report/run.json", run)
    rows = [row for row in planted(run) if row["group"] != "introflexive"]
    rows.append(in_group(not_available("no language of this group"), "introflexive"))
    write_lift(tmp_path / "significance/lift.csv", rows)
    results = read(tmp_path)
    drawn = figures.draw(results)
    (forest,) = drawn["forest"]
    assert "n/a: no language of this group" in forest.svg
    (heat,) = [figure for figure in drawn["lift"] if figure.name.endswith("introflexive")]
    assert ">n/a<" in heat.svg


def test_the_head_counts_the_groups_that_have_a_language(tmp_path):
    """Every type of languages.csv has rows in lift.csv, those without a language here too."""
    write_json(tmp_path / "report/run.json", description(languages=("en", "fi", "hu", "de")))
    rows = [in_group(comparison(), group) for group in ("agglutinative", "fusional")]
    rows += [in_group(not_available("no language of it"), group) for group in ("introflexive", "isolating")]
    write_lift(tmp_path / "significance/lift.csv", rows)
    build_report(read(tmp_path), tmp_path / "report/index.html")
    assert "<dd>3 in 2 groups</dd>" in (tmp_path / "report/index.html").read_text(encoding="utf-8")


def test_the_baseline_of_a_heat_map_is_over_most_languages(tmp_path):
    write_json(tmp_path / "report/run.json", description())
    rows = [comparison(n_languages=8, baseline_score=61.2), comparison(intermediate="typing", baseline_score=58.4)]
    write_lift(tmp_path / "significance/lift.csv", rows)
    (heat, *_) = figures.draw(read(tmp_path))["lift"]
    assert ">58.4<" in heat.svg and ">61.2<" not in heat.svg


def test_captions_count_the_comparisons_that_could_be_tested(tmp_path):
    write_json(tmp_path / "report/run.json", description(intermediates=("pairs", "typing", "nli")))
    rows = [positive(), comparison(intermediate="typing"), not_available("no run counts", intermediate="nli")]
    write_lift(tmp_path / "significance/lift.csv", rows)
    drawn = figures.draw(read(tmp_path))
    for figure in (drawn["lift"][0], drawn["forest"][0]):
        assert "1 of 2 comparisons significant after Holm" in figure.caption


def test_a_pair_is_contaminated_once_in_several_models(folder):
    """Which data a task holds is no matter of the model."""
    one = read(folder)
    models = {**one.run.models, "other": one.run.models["tiny"]}
    cells = {dataclasses.replace(cell, model=model): value for cell, value in one.cells.items() for model in models}
    both = Results(dataclasses.replace(one.run, models=models), [], cells)
    assert one.contaminated == both.contaminated == 1
    (point,) = [point for point in answer(both).points if "keep in mind" in point.question]
    assert "1 pair of intermediate and target is contaminated" in " ".join(detail.text for detail in point.details)


def test_marks_of_significance_and_contamination(tmp_path):
    write_json(tmp_path / "report/run.json", description())
    rows = [positive(), positive(intermediate="typing", contaminated="true", lift=-8.0, score=52.0)]
    write_lift(tmp_path / "significance/lift.csv", rows)
    (heat, *_) = figures.draw(read(tmp_path))["lift"]
    assert ">+3.1*<" in heat.svg
    assert ">−8.0*†<" in heat.svg
    assert ">60.0<" in heat.svg


def test_large_grid_draws(tmp_path):
    names = [f"intermediate-{i}" for i in range(11)]
    run = description(
        intermediates=names, targets=[f"target-{i}" for i in range(12)], languages=sorted(TABLE.rows), seeds=(0,)
    )
    write_json(tmp_path / "report/run.json", run)
    rows = planted(run)
    write_lift(tmp_path / "significance/lift.csv", rows)
    results = read(tmp_path)
    assert len(results.comparisons) == 12 * 11 * (1 + 4 + 6 + len(TABLE.rows) - 1)
    with mpl.rc_context(STYLE):
        heat = figures.heat_map(results, "tiny", ALL)
        languages = figures.per_language(results, "tiny", "target-11")
        sizes = scatters.against(results, "tiny", "target-11", scatters.PRETRAINING)
        forest = figures.forest(results, "tiny", "target-11")
    assert heat and languages and sizes and forest and heat.width > 500
    for name in names:
        assert name in heat.svg and name in languages.svg and name in sizes.svg and name in forest.svg
    assert "Haitian Creole" in languages.svg
    assert len(languages.svg) < 300_000


def test_a_table_too_long_for_the_page_shows_what_it_is_told_to():
    columns = [Column("a", "a", "count")]
    rows = [[i] for i in range(LONGEST + 10)]
    long = Table("long", "Long", columns, rows, "Note.", [i % 2 == 0 for i in range(len(rows))])
    slim = long.slim()
    assert (slim.rows, len(slim.marks)) == (rows[:LONGEST], LONGEST)
    assert slim.note == f"Shown: the first, {LONGEST:,} of {len(rows):,} rows; the files hold all. Note."
    chosen = dataclasses.replace(long, brief=[i % 5 == 0 for i in range(len(rows))], briefly="every fifth").slim()
    assert [row[0] for row in chosen.rows] == list(range(0, len(rows), 5))
    assert chosen.marks == [i % 2 == 0 for i in range(0, len(rows), 5)]
    assert chosen.note.startswith("Shown: every fifth, ")
    # Where all rows fit, all are there; the files have them either way.
    short = dataclasses.replace(long, rows=rows[:LONGEST], marks=long.marks[:LONGEST], brief=[False] * LONGEST).slim()
    assert (len(short.rows), short.note) == (LONGEST, "Note.")
    assert long.csv().count("\n") == len(rows) + 1


def test_pretraining_over_all_targets_is_the_mean(tmp_path, monkeypatch):
    """Of many comparisons one figure a model: the height of a point is the mean of a language's lifts."""
    run = description(targets=["t-1", "t-2"])
    write_json(tmp_path / "report/run.json", run)
    write_lift(tmp_path / "significance/lift.csv", planted(run))
    results = read(tmp_path)
    panels = []
    monkeypatch.setattr(scatters, "scatter", lambda axes, dots: panels.append({dot.name: dot.y for dot in dots}))
    with mpl.rc_context(STYLE):
        whole = scatters.against(results, "tiny", ALL, scatters.PRETRAINING)
    assert whole and whole.name == "tiny/pretraining"
    assert "the mean" in whole.caption
    assert len(panels) == 2
    for intermediate, panel in zip(("pairs", "typing"), panels, strict=True):
        lifts: dict[str, list[float]] = {}
        for row in results.select("language", intermediate=intermediate):
            assert row.lift is not None
            lifts.setdefault(row.group, []).append(row.lift)
        assert {len(own) for own in lifts.values()} == {2}
        assert panel == pytest.approx({code: sum(own) / 2 for code, own in lifts.items() if code in panel})
        assert len(panel) > 8


def test_markers_that_look_alike_say_so_once():
    look = ' style="fill: #fff; stroke: #000"'
    both = f'<g clip-path="url(#p)"><use href="#m" x="1"{look}/><use href="#m" x="2"{look}/></g>'
    assert _slim(both).strip() == f'<g clip-path="url(#p)"{look}><use href="#m" x="1"/><use href="#m" x="2"/></g>'
    other = both.replace("#fff", "#eee", 1)
    assert _slim(other).strip() == other


def test_no_results_at_all_is_still_a_page(tmp_path):
    write_json(tmp_path / "report/run.json", description())
    write_lift(tmp_path / "significance/lift.csv", [])
    found = build_report(read(tmp_path), tmp_path / "report/index.html")
    assert "could be tested" in found.verdict
    Page((tmp_path / "report/index.html").read_text(encoding="utf-8"))


def test_cell_of_another_identity_is_refused(folder, tmp_path):
    write_json(tmp_path / "report/run.json", description())
    write_lift(tmp_path / "significance/lift.csv", [])
    cell = {"model": "tiny", "intermediate": "none", "target": "intent", "seed": 0, "language": "de"}
    write_record(tmp_path / "cells/tiny/none/intent/seed0/fi.json", cell)
    with pytest.raises(UserError, match="holds the cell tiny/none/intent/0/de"):
        read(tmp_path)


def test_cells_of_other_sweeps_are_not_read(folder, tmp_path):
    results = read(folder)
    fewer = Results.read(
        read_run(_write(tmp_path / "run.json", description(seeds=(0,)))), folder, folder / "significance/lift.csv"
    )
    assert 0 < len(fewer.cells) < len(results.cells)
    assert {cell.seed for cell in fewer.cells} == {0}


def _write(path: Path, value: object) -> Path:
    write_json(path, value)
    return path


def test_arms_and_controls(tmp_path):
    """Arms with variants: what they are, against what they are held, and that an arm a target cannot have is not missing."""
    few = ("en", "fi", "hu", "de", "ru", "ar")
    arms = ("pairs", "pairs+mlm", "pairs+steps_matched")
    run = description(targets=("intent", "search"), intermediates=arms, languages=few)
    for entry in run["intermediates"]:
        entry["description"] = f"This is {entry['name']}."
    reason = "no training of its own that could go on"
    run["omitted"] = [{"target": "search", "language": "", "reason": reason, "intermediate": "pairs+steps_matched"}]
    run["targets"][1]["trainings"] = []
    folder = write_all(tmp_path, run, n=60)
    build_report(read(folder), folder / "report/index.html")
    page = Page((folder / "report/index.html").read_text(encoding="utf-8"))
    assert "This is pairs+steps_matched." in page.text
    assert "Missing: no cell." in page.text
    assert f"n/a, {reason}: pairs+steps_matched → search." in page.text
    made = {(r["target"], r["intermediate"], r["against"]) for r in rows_of(folder, "controls")}
    variant, control = ("pairs+mlm", "pairs"), ("pairs", "pairs+steps_matched")
    assert made == {("intent", *variant), ("intent", *control), ("search", *variant)}
    drawn = (folder / "report/figures/tiny/controls.svg").read_text()
    assert "pairs+mlm − pairs<" in drawn
    assert drawn.count(">search<") == 1
    lifts = {(r["target"], r["intermediate"]): float(r["lift"]) for r in rows_of(folder, "overall")}
    differences = {(r["target"], r["against"], r["group"]): r["lift"] for r in rows_of(folder, "controls")}
    assert float(differences["intent", "pairs", "all"]) == pytest.approx(
        lifts["intent", "pairs+mlm"] - lifts["intent", "pairs"]
    )


def test_sentinels_are_shown_where_there_are_any(folder, tmp_path):
    results = read(folder)
    assert tables.build(results)["sentinels"].rows == []
    cells = {
        cell: {**value, "sentinels": 3 if (cell.intermediate, cell.language) == ("pairs", "fi") else 0}
        for cell, value in results.cells.items()
    }
    (row,) = [r for r in tables.sentinels(Results(results.run, [], cells)).rows if r[1] == "intent"]
    assert row == ["tiny", "intent", "pairs", "fi", 3 * 120, 9, 2.5]


def test_benchmark_scores_are_shown_where_a_target_belongs_to_one(folder):
    results = read(folder)
    assert score_tables.build(results)["benchmarks"].rows == []
    run = dataclasses.replace(results.run, benchmarks={"xtreme": {"intent": ["en", "de"], "other": ["de"]}})
    rows = list(benchmark_rows(Reader(run, folder)))
    table = score_tables.benchmarks(Results(run, [], results.cells, scores=rows))
    names = [column.name for column in table.columns]
    shown = [dict(zip(names, row, strict=True)) for row in table.shown()]
    cells = [results.cells[cell] for cell in run.cells() if cell.target == "intent" and cell.intermediate == "none"]
    german = [cell["score"] for cell in cells if cell["language"] == "de"]

    def one(task: str, languages: str) -> dict[str, str]:
        wanted = {"intermediate": "none", "task": task, "languages": languages}
        return next(row for row in shown if all(row[key] == value for key, value in wanted.items()))

    assert one("intent", "transfer")["score"] == f"{sum(german) / 3:.1f}"
    mean = one("mean over tasks", "all")
    assert mean["score"] == "n/a" and "other" in mean["remarks"]
    assert [row["task"] == "mean over tasks" for row in shown] == table.marks


def test_rank_correlation():
    assert scatters.rank_correlation([(1, 1), (2, 4), (3, 9), (4, 16)]) == pytest.approx(1.0)
    assert scatters.rank_correlation([(1, 3), (2, 2), (3, 1), (4, 0)]) == pytest.approx(-1.0)
    assert scatters.rank_correlation([(1, 1), (2, 2)]) is None
    assert scatters.rank_correlation([(1, 1), (2, 1), (3, 1), (4, 1)]) is None


def test_scale_holds_zero():
    low, high = scale([3.0, 5.0])
    assert low < 0 < 5 < high


def test_describe_keeps_order_and_says_what_is_left_out():
    task: dict[str, Any] = {
        "kind": "classification",
        "description": "A task.",
        "licence": "MIT",
        "metrics": ["accuracy"],
    }
    task |= {"chance": 10, "benchmarks": {}, "training": {}}
    languages = {"en": {"test": 99, "train": 9}, "fi": {"test": 99}, "tr": {"test": 5}}
    targets = {
        "intent": Task("intent", "target", {**task, "languages": languages, "train_on": ["more", "intent"]}),
        "search": Task("search", "target", {**task, "languages": {"fi": {"test": 99}}}),
    }
    english = {"en": {"train": 9, "dev": 9}}
    others = {name: Task(name, "intermediate", {**task, "languages": english}) for name in ("b", "a", "more")}
    about = {"interface": "encoder", "description": "A model.", "licence": "MIT", "retrieval": {}, "training": {}}
    model = Model("tiny", about)
    catalog = Catalog({"tiny": model}, others, targets, TABLE)
    config = {
        "title": "t",
        "results": "results",
        "models": ["tiny"],
        "intermediates": ["b", "none", "a", "b+steps_matched"],
        "arms": {"multi_task": {"cap": 9, "temperature": 1.0}, "mlm": {}, "translated": {}},
        "targets": {"intent": ["en", "fi", "tr"], "search": ["fi"]},
        "source_language": ["en"],
        "shots": {"examples": 0},
        "seeds": [3],
        "training": {},
        "recipe": {},
        "probes": {"tasks": []},
        "families": "family",
        "minimum_examples": 30,
        "significance": {"confidence": 0.9, "resamples": 100, "resampling": "examples"},
    }
    found = describe(Sweep(config, catalog), "abc")
    assert [entry["name"] for entry in found["intermediates"]] == ["b", "a", "b+steps_matched"]
    assert "as many more updates as b" in found["intermediates"][2]["description"]
    assert [entry["languages"] for entry in found["targets"]] == [["en", "fi"], ["fi"]]
    assert [entry["trainings"] for entry in found["targets"]] == [["more", "more+intent"], []]
    assert [entry["name"] for entry in found["tasks"]] == ["more"]
    left_out = {(e["target"], e["language"], e["intermediate"]): e["reason"] for e in found["omitted"]}
    assert left_out["intent", "tr", ""] == "5 test examples, fewer than 30"
    # What is absent by design is not missing.
    assert left_out.keys() - {("intent", "tr", "")} == {("search", "", "b+steps_matched")}
    assert sorted(found["languages"]) == ["en", "fi"]
    assert "intermediates:\n- b\n- none\n- a" in found["configuration"]


def test_described_run_is_read_back(tmp_path):
    write_json(tmp_path / "run.json", description(intermediates=("z", "a")))
    run = read_run(tmp_path / "run.json")
    assert run.arms == ["none", "z", "a"]
    assert run.alpha == 0.05
    assert sum(1 for _ in run.cells()) == 3 * 3 * 10
