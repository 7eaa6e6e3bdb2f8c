"""The HTML report as its readers use it, in a real browser, from a disk, with no network."""

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from auditor.formats.findings_csv import render_findings_csv
from auditor.model import ControlId, Outcome
from tests.browser.conftest import OpenReport, OpenReports
from tests.formats.sample_run import (
    AT_USER,
    BREAKING_NAME,
    FIRST,
    FORMULA_USER,
    HOSTILE,
    IMAGE_OWNER,
    MINUS_USER,
    PLUS_USER,
    SCRIPT_NAME,
)

PAGE = 100


def test_the_file_is_all_that_is_asked_for(open_report: OpenReports) -> None:
    """Opening the report asks for the file and nothing else, and the browser has nothing to complain of."""
    report = open_report()
    assert report.requests == [report.url]
    assert report.complaints == []
    expect(report.rows).to_have_count(len(report.view.findings))


def test_search_narrows_the_findings(open_report: OpenReports) -> None:
    """Every word must occur, anywhere in what is known of a finding: user, owner, ARN, key id."""
    report = open_report()
    total = len(report.view.findings)
    expect(report.count).to_have_text(f"{total} findings")
    search = report.page.locator("#search")
    for words, user, found in (
        ("ci-deploy", "ci-deploy", 1),
        ("FINANCE@example.com", "billing-export", 3),
        ("division-03 deep", "deep", 1),
        ("AKIA00000002EX02 older than", "billing-export", 0),
        ("AKIA00000002EX02 more than", "billing-export", 1),
    ):
        search.fill(words)
        expect(report.count).to_have_text(f"{found} of {total} findings")
        assert report.column("user") == [user] * found
    search.fill("")
    expect(report.count).to_have_text(f"{total} findings")


def test_nothing_found_is_said_and_can_be_undone(open_report: OpenReports) -> None:
    """A search without a match shows a sentence and the way back, not an empty table."""
    report = open_report()
    report.page.locator("#search").fill("no such user anywhere")
    expect(report.count).to_have_text(f"0 of {len(report.view.findings)} findings")
    expect(report.page.get_by_text("No finding matches.")).to_be_visible()
    expect(report.page.locator("#findings-table")).to_be_hidden()
    report.page.get_by_role("button", name="Clear search and filters").click()
    expect(report.rows).to_have_count(len(report.view.findings))
    expect(report.page.locator("#search")).to_have_value("")


def test_numbers_are_sorted_as_numbers_both_ways(open_report: OpenReports) -> None:
    """1500 days come after 200, and rows without an age stand last whichever way."""
    report = open_report()
    ages = [finding.age_days for finding in report.view.findings]
    known = sorted(age for age in ages if age is not None)
    blanks = [""] * ages.count(None)
    assert blanks
    head = report.page.locator('#findings-table th[data-column="age"]')
    report.head("age").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert report.column("age") == [*map(str, known), *blanks]
    report.head("age").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert report.column("age") == [*map(str, reversed(known)), *blanks]


def test_texts_are_sorted_both_ways(open_report: OpenReports) -> None:
    """One order is the other one backwards, words before and after as a reader expects."""
    report = open_report()
    report.head("user").click()
    upwards = report.column("user")
    report.head("user").click()
    assert report.column("user") == list(reversed(upwards))
    words = [user for user in upwards if user.isalpha()]
    assert words == sorted(words)
    assert sorted(upwards) == sorted(finding.user for finding in report.view.findings)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("severity", ["Critical", "High", "Medium", "Low"]),
        ("outcome", ["Non-compliant", "Unknown"]),
    ],
)
def test_grades_are_sorted_by_gravity(open_report: OpenReports, column: str, values: list[str]) -> None:
    """Severities and outcomes follow their gravity, not the alphabet."""
    report = open_report()
    cells = report.page.locator(f"#findings-table tbody td.c-{column} [data-f={column}_word]")
    report.head(column).click()
    assert list(dict.fromkeys(cells.all_text_contents())) == values
    report.head(column).click()
    assert list(dict.fromkeys(cells.all_text_contents())) == values[::-1]


def test_every_column_can_be_sorted(open_report: OpenReports) -> None:
    """Each heading is a button that sorts by it and loses no row."""
    report = open_report()
    heads = report.page.locator("#findings-table th")
    for name in [head.get_attribute("data-column") for head in heads.all()]:
        assert name
        report.head(name).click()
        expect(report.page.locator(f'th[data-column="{name}"][aria-sort]').first).to_be_visible()
        expect(report.rows).to_have_count(len(report.view.findings))


def test_filters_combine(open_report: OpenReports) -> None:
    """Choices of one kind add up, different kinds narrow, and the numbers are those of the run."""
    report = open_report()
    view = report.view
    report.chip("outcome", "non_compliant").click()
    report.chip("severity", "high").click()
    report.chip("severity", "medium").click()
    failing = [f for f in view.findings if f.outcome == Outcome.NON_COMPLIANT and f.severity in {"high", "medium"}]
    expect(report.count).to_have_text(f"{len(failing)} of {len(view.findings)} findings")
    report.page.locator("#account").select_option(FIRST)
    here = [finding for finding in failing if finding.account_id == FIRST]
    assert 0 < len(here) < len(failing)
    expect(report.count).to_have_text(f"{len(here)} of {len(view.findings)} findings")
    assert sorted(report.column("user")) == sorted(finding.user for finding in here)
    expect(report.page.locator(".filter-words")).to_contain_text("severity High or Medium; account payments-production")
    report.page.get_by_role("button", name="Clear filters").click()
    expect(report.rows).to_have_count(len(view.findings))
    expect(report.chip("severity", "high")).to_have_attribute("aria-pressed", "false")


def test_a_choice_says_what_it_would_show(open_report: OpenReports) -> None:
    """The number on a choice counts what the other filters leave."""
    report = open_report()
    report.chip("outcome", "unknown").click()
    unknown = [f for f in report.view.findings if f.outcome == Outcome.UNKNOWN]
    old = sum(finding.control == ControlId.KEY_AGE for finding in unknown)
    expect(report.chip("control", "key-age").locator(".chip-count")).to_have_text(str(old))
    failing = sum(finding.outcome == Outcome.NON_COMPLIANT for finding in report.view.findings)
    expect(report.chip("outcome", "non_compliant").locator(".chip-count")).to_have_text(str(failing))


def test_the_address_keeps_what_is_shown(open_report: OpenReports) -> None:
    """A copied address opens the same rows in the same order on the same page."""
    report = open_report("paged")
    report.chip("control", "key-age").click()
    report.head("user").click()
    report.page.locator("#search").fill("workload-001")
    expect(report.page).to_have_url(re.compile("q=workload-001"))  # what is typed counts a moment later
    report.page.get_by_role("navigation", name="Pages of Findings").get_by_role("button", name="Next").click()
    expect(report.page.locator("#findings-table .pages")).to_contain_text("page 2 of")
    address = report.page.url
    again = open_report("paged", address.removeprefix(report.url))
    assert report.page.locator("#findings-table .pages").text_content()
    for words in (OpenReport.controls, lambda shown: shown.column("user"), lambda shown: shown.count.text_content()):
        assert words(again) == words(report)
    expect(again.page.locator("#search")).to_have_value("workload-001")
    expect(again.chip("control", "key-age")).to_have_attribute("aria-pressed", "true")
    expect(again.page.locator("#findings-table .pages")).to_contain_text("page 2 of")


def test_an_address_that_means_nothing_shows_everything(open_report: OpenReports) -> None:
    """Filters, pages and columns that do not exist are left out."""
    report = open_report("rich", "#findings?control=no-such&account=1&sort=nothing&page=99&severity=%22%5D")
    expect(report.rows).to_have_count(len(report.view.findings))


def test_a_tile_shows_what_it_counts(open_report: OpenReports) -> None:
    """The tile of failing keys leads to the findings that are non-compliant, and Back leads back."""
    report = open_report()
    failing = sum(finding.outcome == Outcome.NON_COMPLIANT for finding in report.view.findings)
    report.page.get_by_role("link", name="Keys that fail").click()
    expect(report.count).to_have_text(f"{failing} of {len(report.view.findings)} findings")
    expect(report.page.locator("#findings-title")).to_be_in_viewport()
    report.page.go_back()
    expect(report.rows).to_have_count(len(report.view.findings))


def test_hostile_names_are_shown_and_do_nothing(open_report: OpenReports) -> None:
    """Markup in account names, users, owners and descriptions is read as written and never runs."""
    report = open_report()
    report.page.locator("#account").select_option(HOSTILE)
    assert set(report.column("account")) == {SCRIPT_NAME}
    assert {FORMULA_USER, PLUS_USER, MINUS_USER, AT_USER, BREAKING_NAME} <= set(report.column("user"))
    opener = report.rows.filter(has_text=BREAKING_NAME).get_by_role("button")
    opener.click()
    details = report.page.locator("tr.details")
    expect(details.get_by_text(IMAGE_OWNER)).to_be_visible()
    expect(details.locator("[data-d=description]")).to_have_text(BREAKING_NAME)
    assert report.page.locator("script").count() == 2
    assert report.page.locator("img, svg[onload], iframe").count() == 0
    assert report.complaints == []


def test_without_javascript_rows_can_be_read(open_report: OpenReports) -> None:
    """The page reads the same without script: rows, and no controls that would do nothing."""
    plain, live = open_report(java_script_enabled=False), open_report()
    assert plain.rows.all_text_contents() == live.rows.all_text_contents()
    expect(plain.page.locator("#search")).to_be_hidden()
    expect(plain.page.locator(".filters")).to_be_hidden()
    expect(plain.page.get_by_text("Without JavaScript this page shows all").first).to_be_visible()
    expect(live.page.get_by_text("Without JavaScript").first).to_be_hidden()


def test_without_javascript_a_long_list_says_what_is_left_out(open_report: OpenReports) -> None:
    """The first 200 rows, and how many there are."""
    report = open_report("paged", java_script_enabled=False)
    expect(report.rows).to_have_count(200)
    expect(report.page.get_by_text(f"shows the first 200 of {len(report.view.findings)} rows")).to_be_visible()


def test_details_open_from_the_keyboard(open_report: OpenReports) -> None:
    """A real button opens a row's details and closes them again, and says so to a screen reader."""
    report = open_report("rich", "#findings?q=ci-deploy")
    opener = report.rows.first.get_by_role("button")
    opener.focus()
    report.page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    details = report.page.locator("tr.details")
    for text in (
        f"arn:aws:iam::{FIRST}:user/service/ci-deploy",
        "AKIA00000001EX01",
        "2025-10-06 19:00 UTC",
        "2026-11-21 19:00 UTC (s3 eu-central-1)",
        "platform team",
        "deploys from the build server",
        "Do without the key",
    ):
        expect(details).to_contain_text(text)
    report.page.keyboard.press("Space")
    expect(opener).to_have_attribute("aria-expanded", "false")
    expect(details).to_have_count(0)


def test_slash_goes_to_the_search(open_report: OpenReports) -> None:
    """The slash focuses the search box, and is an ordinary letter inside it."""
    report = open_report()
    report.page.keyboard.press("/")
    expect(report.page.locator("#search")).to_be_focused()
    report.page.keyboard.type("user/")
    expect(report.page.locator("#search")).to_have_value("user/")


def test_twenty_thousand_users_draw_one_page_of_rows(open_report: OpenReports) -> None:
    """However long the list, the page holds a hundred rows of it, and finds the last user."""
    report = open_report("huge")
    total = len(report.view.findings)
    assert total > 20_000
    expect(report.count).to_have_text(f"{total} findings")
    expect(report.rows).to_have_count(PAGE)
    assert report.page.locator("tr").count() < 2 * PAGE + 200
    pages = -(-total // PAGE)
    pager = report.page.get_by_role("navigation", name="Pages of Findings")
    pager.get_by_role("button", name="Last").click()
    expect(pager).to_contain_text(f"page {pages} of {pages}")
    expect(report.rows).to_have_count(total - (pages - 1) * PAGE)
    report.head("age").click()
    expect(report.rows).to_have_count(PAGE)
    report.page.locator("#search").fill("app-19998")
    expect(report.count).to_contain_text(f" of {total} findings")
    assert set(report.column("user")) == {"app-19998"}


def test_what_is_due_soon_is_searched_and_paged_too(open_report: OpenReports) -> None:
    """An engineer who searches for a key finds it before it fails."""
    report = open_report()
    rows = report.page.locator("#due-table tbody tr")
    expect(rows).to_have_count(len(report.view.due_soon))
    report.page.locator("#search").fill("due-in-four-days")
    expect(report.page.locator("#due .count")).to_contain_text("1 of ")
    expect(rows).to_have_count(1)
    assert rows.first.locator(".c-due").text_content() == "2026-11-26"


def _exported(report: OpenReport, folder: Path) -> bytes:
    with report.page.expect_download() as started:
        report.page.get_by_role("button", name="Download these rows").click()
    assert started.value.suggested_filename == f"findings-{report.view.manifest.id}.csv"
    started.value.save_as(folder / "rows.csv")
    return (folder / "rows.csv").read_bytes()


@pytest.mark.parametrize("name", ["rich", "odd"])
def test_the_export_of_everything_is_findings_csv(open_report: OpenReports, tmp_path: Path, name: str) -> None:
    """The page and the run's findings.csv say the same, byte for byte, whatever a text holds."""
    report = open_report(name)
    assert _exported(report, tmp_path) == render_findings_csv(report.view)


def test_the_export_is_what_is_shown_and_safe_to_open(open_report: OpenReports, tmp_path: Path) -> None:
    """The rows of the current filter in their order, and no cell that a spreadsheet would run."""
    report = open_report()
    report.page.locator("#account").select_option(HOSTILE)
    report.head("age").click()
    text = _exported(report, tmp_path).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["user"].removeprefix("'") for row in rows] == report.column("user")
    users = {row["user"] for row in rows}
    assert {f"'{name}" for name in (FORMULA_USER, PLUS_USER, MINUS_USER, AT_USER)} <= users
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_paper_gets_every_row_of_the_filter(open_report: OpenReports) -> None:
    """Printing draws all rows and opens the reasons, says what was filtered, and puts the page back."""
    report = open_report("paged", "#findings?outcome=non_compliant")
    failing = sum(finding.outcome == Outcome.NON_COMPLIANT for finding in report.view.findings)
    assert failing > PAGE
    expect(report.rows).to_have_count(PAGE)
    report.page.evaluate(
        """() => addEventListener('beforeprint', () => {
            document.body.dataset.printed = document.querySelectorAll('#findings-table tbody tr').length;
            document.body.dataset.opened = document.querySelectorAll('#controls details[open]').length;
        })"""
    )
    report.page.pdf(prefer_css_page_size=True)
    expect(report.page.locator("body")).to_have_attribute("data-printed", str(failing))
    expect(report.page.locator("body")).to_have_attribute("data-opened", str(len(report.view.controls)))
    expect(report.rows).to_have_count(PAGE)
    report.page.emulate_media(media="print")
    expect(report.page.locator(".filters")).to_be_hidden()
    expect(report.page.locator(".filter-words")).to_have_text("Only: outcome Non-compliant.")


@pytest.mark.parametrize("name", ["rich", "clean", "empty"])
def test_a_narrow_screen_never_scrolls_sideways(open_report: OpenReports, name: str) -> None:
    """At 320 CSS pixels everything reflows into one column (WCAG 1.4.10)."""
    report = open_report(name, viewport={"width": 320, "height": 640})
    assert report.page.evaluate("document.documentElement.scrollWidth") <= 320
    if name == "rich":
        report.rows.first.get_by_role("button").click()
        assert report.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_both_themes_paint_their_own_ground(open_report: OpenReports) -> None:
    """The page follows the reader's choice of light or dark."""
    grounds = {
        scheme: open_report(color_scheme=scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert grounds == {"light": "rgb(244, 246, 248)", "dark": "rgb(15, 19, 23)"}
