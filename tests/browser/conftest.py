"""A real Chromium that opens reports from disk, and what it complained of."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, sync_playwright

from auditor.formats.html import render_html
from auditor.formats.view import ReportView, build_view
from tests.formats.sample_run import clean_run, empty_run, sample_run

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-quic",
    "--disable-component-update",
    "--disable-sync",
)

ODD_TEXTS = (
    ";=1+1",
    "a;;-b",
    "\uff1d1",
    "\u22121",
    'say "x", y',
    "two\nlines\r\t",
    "\u2028",
    "\x07bell",
    "\U0001f600",
    "'=",
)


def odd_view() -> ReportView:
    """Owners that a spreadsheet, a CSV reader or a browser may trip over."""
    view = build_view(sample_run())
    texts = itertools.cycle(ODD_TEXTS)
    return replace(view, findings=tuple(replace(finding, owner=next(texts)) for finding in view.findings))


VIEWS: dict[str, Callable[[], ReportView]] = {
    "rich": lambda: build_view(sample_run()),
    "odd": odd_view,
    "paged": lambda: build_view(sample_run(users=150)),
    "huge": lambda: build_view(sample_run(users=20_000)),
    "clean": lambda: build_view(clean_run()),
    "empty": lambda: build_view(empty_run()),
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is not installed: no report can be opened"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        yield chromium
        chromium.close()


@dataclass(frozen=True)
class StoredReport:
    """A report on disk and the view that it was made of."""

    path: Path
    view: ReportView


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], StoredReport]:
    folder = tmp_path_factory.mktemp("reports")
    made: dict[str, StoredReport] = {}

    def store(name: str) -> StoredReport:
        if name not in made:
            view = VIEWS[name]()
            path = folder / f"{name}.html"
            path.write_bytes(render_html(view))
            made[name] = StoredReport(path, view)
        return made[name]

    return store


@dataclass
class OpenReport:
    """A report in a browser's page, the words that a reader sees, and all that must not happen."""

    page: Page
    view: ReportView
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Note every request, and whatever the page or the browser complains of."""
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    @property
    def rows(self) -> Locator:
        """The rows of findings that are drawn."""
        return self.page.locator("#findings-table tbody tr:not(.details)")

    @property
    def count(self) -> Locator:
        """The live region that says how many findings are shown."""
        return self.page.locator("#findings .count")

    def column(self, name: str) -> list[str]:
        """The first line of every drawn cell of a column."""
        return self.page.locator(f"#findings-table tbody td.c-{name} .main").all_text_contents()

    def controls(self) -> list[str]:
        """The control of every drawn row."""
        return self.page.locator("#findings-table tbody [data-f=title]").all_text_contents()

    def chip(self, facet: str, value: str) -> Locator:
        """A filter button."""
        return self.page.locator(f'.chip[data-facet="{facet}"][data-value="{value}"]')

    def head(self, name: str) -> Locator:
        """The button that sorts by a column."""
        return self.page.locator(f'#findings-table th[data-column="{name}"] button')


OpenReports = Callable[..., OpenReport]


@pytest.fixture
def open_report(browser: Browser, stored: Callable[[str], StoredReport]) -> Iterator[OpenReports]:
    opened: list[OpenReport] = []

    def open_one(name: str = "rich", fragment: str = "", **options: Any) -> OpenReport:
        report = stored(name)
        page = browser.new_context(accept_downloads=True, **options).new_page()
        shown = OpenReport(page, report.view, report.path.as_uri())
        shown.listen()
        page.goto(shown.url + fragment)
        opened.append(shown)
        return shown

    yield open_one
    for shown in opened:
        shown.page.context.close()
    for shown in opened:
        assert shown.complaints == []
        assert [
            url for url in shown.requests if url.partition("#")[0] != shown.url and not url.startswith("blob:")
        ] == []
