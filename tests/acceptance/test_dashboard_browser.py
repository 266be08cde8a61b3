"""The dashboard in a real browser: a real process, real workers, a click where a person clicks."""

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import LAPTOP, PHONE
from tests.commands import call, command, environment
from tests.conftest import StudyMaker
from tests.workers import make_worker
from tuner.storage import Database, create_study, study_names

#: Milliseconds that a page may take on a busy machine.
PATIENCE = 60_000


class Dashboard:
    """A dashboard that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._link_told = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        for line in self._process.stderr or ():
            self._lines.append(line)
            if "is at" in line:
                self._link_told.set()

    def stop_listening(self) -> None:
        self._thread.join()

    @property
    def link(self) -> str:
        """The newest link that lets somebody in."""
        assert self._link_told.wait(PATIENCE / 1000), self._lines
        link: str = re.findall(r"http://\S+token=\S+", "".join(self._lines))[-1]
        return link

    def end(self, number: signal.Signals) -> int:
        """End it; give its exit code."""
        self._process.send_signal(number)
        return self._process.wait(30)


@contextmanager
def dashboard(storage: str, *options: str) -> Iterator[Dashboard]:
    with subprocess.Popen(
        command("dashboard", "--port", "0", *options),
        env=environment(storage),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        site = Dashboard(process)
        try:
            yield site
        finally:
            process.kill()
            site.stop_listening()


@contextmanager
def visitor(browser: Browser, size: dict[str, int]) -> Iterator[Page]:
    """Look with a fresh browser; complain about scripts that the page was not allowed."""
    with browser.new_context(
        viewport={"width": size["width"], "height": size["height"]}
    ) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        yield page
        assert not [text for text in complaints if "Content Security Policy" in text]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tuner.db'}"


def test_a_viewer_watches_a_study_move_and_deletes_nothing(
    browser: Browser, storage: str, toy: StudyMaker, tmp_path: Path
) -> None:
    with (
        Database.open(storage, create=True) as database,
        dashboard(storage) as site,
        visitor(browser, LAPTOP) as page,
    ):
        stored = create_study(database, toy("budget.trials=2", "pruner.name=none")).study
        page.goto(site.link)
        page.get_by_text("toy").first.click()
        page.wait_for_url("**/studies/*")
        study_page = page.url
        page.goto(f"{study_page}/note")
        expect(page.get_by_text("0 of 2 trials done")).to_be_visible(timeout=PATIENCE)

        worker = threading.Thread(target=make_worker(database, stored, "slow_reporting").run)
        worker.start()
        for progress in ("1 running", "of 2 trials done (1 complete", "2 of 2 trials done"):
            expect(page.locator("body")).to_contain_text(progress, timeout=PATIENCE)
        worker.join()
        expect(page.get_by_text("Best val_accuracy: 1.0000 (trial 0)")).to_be_visible()
        page.screenshot(path=tmp_path / "note.png")

        page.goto(study_page)
        expect(page.get_by_text("Best Trial (number=0)")).to_be_visible(timeout=PATIENCE)
        curves = page.locator("#graph-intermediate-values .scatterlayer .trace")
        expect(curves).to_have_count(2, timeout=PATIENCE)
        page.screenshot(path=tmp_path / "study.png", full_page=True)

        page.goto(page.url.partition("/dashboard")[0])
        page.get_by_role("button", name="delete study").click()
        page.get_by_role("button", name="Yes", exact=True).click()
        expect(page.get_by_text("Failed to delete study")).to_be_visible()
        page.screenshot(path=tmp_path / "refused.png")
        assert study_names(database) == ["toy"]

        page.goto(f"{study_page}/note")
        page.get_by_role("link", name="Report").click()
        page.wait_for_selector("html[data-plots]")
        expect(page.locator("body")).to_contain_text("toy", timeout=PATIENCE)
        page.screenshot(path=tmp_path / "report.png")
        assert site.end(signal.SIGINT) == 130


def test_an_operator_deletes_a_study(
    browser: Browser, storage: str, toy: StudyMaker, tmp_path: Path
) -> None:
    with (
        Database.open(storage, create=True) as database,
        dashboard(storage, "--operator") as site,
        visitor(browser, PHONE) as page,
    ):
        create_study(database, toy())
        page.goto(site.link)
        page.get_by_role("button", name="delete study").click()
        page.get_by_role("button", name="Yes", exact=True).click()
        expect(page.get_by_text("Success to delete a study")).to_be_visible()
        page.screenshot(path=tmp_path / "deleted-phone.png")

        assert study_names(database) == []
        assert site.end(signal.SIGTERM) == 143


def test_before_the_first_study_a_page_waits_and_then_goes_over(
    browser: Browser, storage: str, toy: StudyMaker, tmp_path: Path
) -> None:
    with dashboard(storage) as site, visitor(browser, PHONE) as page:
        home = site.link.partition("/tuner/")[0]
        page.goto(home)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.screenshot(path=tmp_path / "sign-in.png")
        page.goto(site.link)
        expect(page.get_by_role("heading", name="No study yet")).to_be_visible()
        page.screenshot(path=tmp_path / "no-study.png")

        with Database.open(storage, create=True) as database:
            create_study(database, toy())

        expect(page.get_by_text("toy").first).to_be_visible(timeout=PATIENCE)
        page.screenshot(path=tmp_path / "studies.png")
        page.goto(f"{home}/tuner/sign-out")
        page.screenshot(path=tmp_path / "sign-out.png")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_secret_is_typed_where_others_reach_the_dashboard(
    browser: Browser, storage: str, tmp_path: Path
) -> None:
    from tuner.dashboard import Role, credential_line

    file = tmp_path / "secrets.txt"
    file.write_text(credential_line(Role.VIEWER, "a viewer knows this"))
    file.chmod(0o600)
    everywhere = "0.0.0.0"  # noqa: S104 - which is refused
    refused = call("dashboard", "--port", "0", "--host", everywhere, storage=storage)
    assert refused.returncode == 2
    assert "--make-secret" in refused.stderr

    with dashboard(storage, "--secrets", str(file)) as site, visitor(browser, PHONE) as page:
        page.goto(address(site))
        page.get_by_label("Secret").fill("something else")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.screenshot(path=tmp_path / "wrong-secret.png")
        page.get_by_label("Secret").fill("a viewer knows this")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="No study yet")).to_be_visible()


def address(site: Dashboard) -> str:
    assert site._link_told.wait(PATIENCE / 1000), site._lines
    (found,) = re.findall(r"is at (\S+)", "".join(site._lines))
    return str(found)
