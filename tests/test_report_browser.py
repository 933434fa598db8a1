"""The page in a real browser: nothing is asked of the network, tables sort and filter, and it fits a phone.

Set STILTSWEEP_SCREENSHOTS to a folder to keep pictures of the page at 1280 and 400 pixels.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from report_fixtures import TABLE, description, write_all
from stiltsweep.report.page import build_report
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")

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
    opened.on("request", lambda request: request.url.startswith("file:") or faults.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    opened.close()
    assert faults == []


def column(page, heading: str) -> list[str]:
    """Return the shown values of a column of the table per language."""
    return page.evaluate(
        """(heading) => {
          const table = document.querySelector('table[data-name="per_language"]');
          const i = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === heading);
          return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[i].textContent);
        }""",
        heading,
    )


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
