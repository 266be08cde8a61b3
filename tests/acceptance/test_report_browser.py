"""A report as people open it: from disk, in a browser, without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from playwright.sync_api import Browser, Page

from tests.browser import LAPTOP, PHONE
from tests.conftest import StudyMaker
from tests.integration.test_report import NASTY, end_one
from tests.large_study import fill
from tuner.report import render
from tuner.storage import Database, create_study

#: Inner width of an A4 page with usual margins, in CSS pixels.
PAPER = {"width": 718, "height": 1000}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with Database.open(f"sqlite:///{folder / 'studies.db'}", create=True) as database:
        study = fill(database, n_trials=150, n_reports=8, n_running=0)
        (folder / "report.html").write_text(render(database, study))
    return folder / "report.html"


@contextmanager
def opened(browser: Browser, file: Path, size: Any, **settings: Any) -> Iterator[Page]:
    """Open a file without a network; what is asked of it or complained about is an error."""
    context = browser.new_context(viewport=size, offline=True, **settings)
    page = context.new_page()
    told: list[str] = []
    page.on("request", lambda request: told.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    try:
        page.goto(file.as_uri())
        if settings.get("java_script_enabled", True):
            page.wait_for_selector("html[data-plots]")
        yield page
        asked = [url for url in told if not url.startswith(("data:", "blob:"))]
        assert asked == [file.as_uri()]
    finally:
        context.close()


def check_fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_all_plots_are_drawn_and_nothing_is_asked_of_the_network(
    browser: Browser, report: Path, size: dict[str, int], tmp_path: Path
) -> None:
    with opened(browser, report, size) as page:
        plots = page.locator(".plot").all()
        assert len(plots) == int(page.get_attribute("html", "data-plots") or 0) == 15
        for plot in plots:
            box = plot.locator("svg.main-svg").first.bounding_box()
            assert box is not None
            assert box["width"] > 200
            assert box["height"] > 150
            words = page.locator(f"#{plot.get_attribute('aria-labelledby')}").inner_text()
            assert len(words) > 20
        check_fits(page, size["width"])
        page.screenshot(path=tmp_path / "report.png", full_page=True)


def test_a_printed_report_fits_its_paper(browser: Browser, report: Path, tmp_path: Path) -> None:
    with opened(browser, report, LAPTOP) as page:
        page.emulate_media(media="print")
        page.set_viewport_size(PAPER)  # type: ignore[arg-type]  # a dict of the right keys
        page.wait_for_selector("#history svg.main-svg[width='680']")

        check_fits(page, PAPER["width"])
        assert page.locator("nav").is_hidden()
        page.screenshot(path=tmp_path / "print.png", full_page=True)
        assert page.pdf(path=tmp_path / "report.pdf", format="A4").startswith(b"%PDF")

        page.emulate_media(media="screen")
        page.wait_for_selector("#history svg.main-svg:not([width='680'])")


def test_the_keyboard_reaches_the_summary_first(browser: Browser, report: Path) -> None:
    with opened(browser, report, LAPTOP) as page:
        page.keyboard.press("Tab")
        skip = page.locator(":focus")

        assert skip.inner_text() == "Skip to the summary"
        box = skip.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#summary"


def test_without_scripts_the_words_and_tables_are_there(browser: Browser, report: Path) -> None:
    with opened(browser, report, PHONE, java_script_enabled=False) as page:
        assert page.get_by_text("The plots need JavaScript").is_visible()
        assert page.get_by_text("learning_rate decides").first.is_visible()
        check_fits(page, PHONE["width"])


def test_a_hostile_study_runs_nothing(browser: Browser, toy: StudyMaker, tmp_path: Path) -> None:
    facts = dict.fromkeys(("host", "worker", "reason", NASTY), NASTY * 5)
    with Database.open(f"sqlite:///{tmp_path / 'studies.db'}", create=True) as database:
        study = create_study(database, toy()).study
        end_one(database, study, 0.5, reports=(0.4, 0.5), facts=facts)
        end_one(database, study, None, state=TrialState.FAIL, facts=facts)
        (tmp_path / "report.html").write_text(render(database, study))

    with opened(browser, tmp_path / "report.html", PHONE) as page:
        assert page.locator("img").count() == 0
        assert "<script>alert(1)</script>" in page.locator("#ends").inner_text()
        assert "<script>alert(1)</script>" in (page.locator("#timeline").text_content() or "")
        check_fits(page, PHONE["width"])
