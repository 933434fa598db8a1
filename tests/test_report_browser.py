"""The page in a real browser: nothing is asked of the network, tables sort and filter, and it fits a phone.

Set STILTSWEEP_SCREENSHOTS to a folder to keep pictures of the page at 1280 and 400 pixels.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from report_fixtures import TABLE, comparison, description, planted, write_all, write_lift
from stiltsweep.files import write_json
from stiltsweep.report.answer import answer
from stiltsweep.report.page import build_report, build_tables, render
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")

SECTIONS = (
    *("lift", "controls", "forest", "contrasts", "languages", "pretraining", "seeds", "types"),
    *("layers", "probe_gain", "fertility", "buckets"),
)
"""Of figures."""
# As root in a container; and nothing of its own that asks the network.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    run = description(targets=("intent", "slots"))
    lifts = {("pairs", "intent", code): 12.0 for code in TABLE.rows}
    folder = write_all(tmp_path_factory.mktemp("results"), run, lifts, n=60, seed_sd=0.2)
    output = folder / "report/index.html"
    build_report(Results.read(read_run(folder / "report/run.json"), folder, folder / "significance/lift.csv"), output)
    return output


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, path):
    """The open page; a message on the console, an error or a request to anywhere else fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))

    def asked(request: Any) -> None:
        if not request.url.startswith("file:"):
            faults.append(request.url)

    opened.on("request", asked)
    opened.goto(path.as_uri())
    yield opened
    opened.close()
    assert faults == []


def column(page, heading: str) -> list[str]:
    """Return the shown values of a column of the table per language."""
    found: list[str] = page.evaluate(
        """(heading) => {
          const table = document.querySelector('table[data-name="per_language"]');
          const i = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === heading);
          return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[i].textContent);
        }""",
        heading,
    )
    return found


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_sorting_by_number_and_back(page):
    button = page.locator('table[data-name="per_language"] th button', has_text="lift")
    button.click()
    lifts = [number(text) for text in column(page, "lift")]
    assert len(lifts) == 36
    assert lifts == sorted(lifts)
    assert min(lifts) < 0 < max(lifts)
    button.click()
    assert [number(text) for text in column(page, "lift")] == lifts[::-1]
    assert page.locator('table[data-name="per_language"] th[aria-sort="descending"]').count() == 1


def test_sorting_by_text_with_the_keyboard(page):
    page.locator('table[data-name="per_language"] th button', has_text="language").focus()
    page.keyboard.press("Enter")
    names = column(page, "language")
    assert names == sorted(names)


def test_filtering(page):
    box = page.locator("#table-per_language")
    box.get_by_label("family").select_option("agglutinative")
    assert set(column(page, "family")) == {"agglutinative"}
    box.get_by_role("searchbox").fill("turkish slots")
    assert column(page, "language") == ["Turkish", "Turkish"]
    assert box.locator("output").inner_text() == "2 of 36 rows"


def test_folded_table_gets_ready_when_opened(page):
    fold = page.locator("#families details")
    assert fold.locator("th button").count() == 0
    fold.locator("summary").click()
    page.wait_for_function("document.querySelectorAll('#families th button').length > 5")


@pytest.mark.parametrize("width", [1280, 400])
def test_page_fits_its_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shown = page.locator("figure svg").first.bounding_box()
    assert shown["width"] > 300
    assert page.locator(".verdict").first.bounding_box()["y"] < 900
    if folder := os.environ.get("STILTSWEEP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"report-{width}.png", full_page=True)


def test_page_without_scripts_shows_everything(browser, path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator('table[data-name="per_language"] tbody tr').count() == 36
    assert page.locator("th button").count() == 0
    context.close()


def test_the_answer_of_a_large_sweep_fits_one_screen(browser, tmp_path):
    """Two models, ten arms and ten targets: verdicts, ranked arms and the largest effects, without scrolling."""
    arms, targets = [f"arm_{i}" for i in range(10)], [f"target_{i}" for i in range(10)]
    run = description(models=("mt5-base", "xlm-roberta-large"), intermediates=arms, targets=targets)
    write_json(tmp_path / "report/run.json", run)
    means = [
        comparison(model=model, intermediate=arm, target="all", scope="targets", reason="10 targets")
        for model in ("mt5-base", "xlm-roberta-large")
        for arm in arms
    ]
    lift = write_lift(tmp_path / "significance/lift.csv", [*planted(run), *means])
    results = Results.read(read_run(tmp_path / "report/run.json"), tmp_path, lift)
    page = tmp_path / "page.html"
    page.write_text(
        render(results, answer(results), dict.fromkeys(SECTIONS, ()), build_tables(results)), encoding="utf-8"
    )
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(page.as_uri())
    assert opened.locator(".first table").count() == 3
    for table in opened.locator(".first table").all():
        box = table.bounding_box()
        assert box["y"] + box["height"] < 900
    assert opened.locator("#answer > details").count() == 2
    opened.set_viewport_size({"width": 400, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") == 400
    ranked = opened.locator(".first table").first.bounding_box()
    assert ranked["x"] + ranked["width"] <= 400
    opened.close()
