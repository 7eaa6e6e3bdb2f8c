"""The HTML report as a text: complete, self-contained, the same every time, and safe whatever a name holds."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest

from auditor.errors import OutputError
from auditor.formats import html
from auditor.formats.contract import exemptions_of, finding_fields
from auditor.formats.environment import asset, asset_text, environment
from auditor.formats.findings_csv import cell_text
from auditor.formats.html import STATIC_ROWS, render_html
from auditor.formats.view import Band, FindingView, ReportView, build_view
from auditor.model import Limit, Operator, Policy
from tests.formats.sample_changes import CHANGED_USER, CHANGING_OWNER
from tests.formats.sample_run import (
    BREAKING_NAME,
    FORMULA_USER,
    IMAGE_OWNER,
    SCRIPT_NAME,
    clean_run,
    empty_run,
    sample_run,
)


class Page(HTMLParser):
    """What a browser would see: texts, elements with their attributes, and the raw content of style and script."""

    def __init__(self, source: bytes) -> None:
        """Read the page."""
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._inside = ""
        self.feed(source.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        """See `HTMLParser`."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        if self._inside in self.raw:
            self.raw[self._inside].append(data)
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def data(self) -> dict[str, Any]:
        """The embedded rows."""
        value: dict[str, Any] = json.loads(self.raw["script"][0])
        return value

    def rows(self) -> int:
        """Findings that stand in the markup, without those that are due soon and without templates."""
        return sum(tag == "button" and attrs.get("class") == "open" for tag, attrs in self.elements)


@pytest.fixture(scope="module")
def view() -> ReportView:
    return build_view(sample_run())


@pytest.fixture(scope="module")
def page(view: ReportView) -> Page:
    return Page(render_html(view))


def test_the_same_run_gives_the_same_bytes() -> None:
    """Nothing of the clock, the machine or the order of a set gets into the report."""
    assert render_html(build_view(sample_run())) == render_html(build_view(sample_run()))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    """Every link stays on the page, and nothing has a source."""
    for tag, attrs in page.elements:
        assert not {"src", "srcset", "action", "poster", "data", "style"} & attrs.keys(), tag
        assert not [name for name in attrs if name.startswith("on")], tag
        href = attrs.get("href") or "#"
        assert href.startswith("#") or href == "data:,"
    outside = ("http:", "https:", "@import", "url(http", "//cdn")
    assert not [word for word in outside if word in asset_text("report.css") + asset_text("report.js")]


def test_the_policy_allows_this_script_and_style_and_nothing_else(page: Page) -> None:
    """The hashes in the content security policy are those of what stands in the file."""
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    sources = dict(part.split(" ", 1) for part in policy.split("; "))

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert sources == {
        "default-src": "'none'",
        "script-src": source(page.raw["script"][1]),
        "style-src": source(page.raw["style"][0]),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_script_never_makes_markup_of_data() -> None:
    """Text goes into the page as text: no call that parses markup or code."""
    script = asset_text("report.js")
    banned = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(")
    assert not [word for word in banned if word in script]


def told_of_changes(view: ReportView) -> Iterator[str | None]:
    """What there is to say of remediation."""
    assert view.remediation is not None
    for action in view.remediation.actions:
        yield from (action.what, action.user, action.access_key_id, action.detail, action.evidence, action.owner)
        yield from (*action.basis, *action.approved_by, action.done_by, action.intent, action.plan_id)
    for item in view.remediation.pending:
        yield from (
            item.user,
            item.access_key_id,
            item.new_key_id,
            item.state,
            item.waits,
            item.whose_turn,
            item.failed,
        )


def test_every_statement_of_the_view_is_said(view: ReportView, page: Page) -> None:
    """No format leaves out what the view model says."""
    said = "\n".join(page.texts)
    expected = [view.verdict, view.headline, *view.sentences, *view.method, view.organisation]
    expected += [text for tile in view.tiles for text in (tile.label, tile.value, tile.note)]
    expected += [text for fact in view.facts for text in fact]
    expected += [text for c in view.controls for text in (c.title, c.rule, c.rationale, c.remedy)]
    expected += [text for gap in view.not_audited for text in (gap.account_id, gap.reason, gap.next_step)]
    expected += [note for account in view.accounts for note in account.notes]
    expected += [text for text in told_of_changes(view) if text]
    assert [text for text in expected if text not in said] == []


def test_the_embedded_rows_are_the_findings(view: ReportView, page: Page) -> None:
    """Every field of the contract survives the way into the page, as findings.json has it."""
    data = page.data

    def unpacked(row: list[Any]) -> dict[str, Any]:
        return {
            name: data["texts"][value] if value is not None and name not in data["numbers"] else value
            for name, value in zip(data["fields"], row, strict=True)
        }

    def plain(finding: FindingView) -> dict[str, Any]:
        fields = finding_fields(finding, exemptions_of(view))
        as_it_is = {name: value for name, value in fields.items() if value is None or type(value) is int}
        return {name: as_it_is[name] if name in as_it_is else cell_text(value) for name, value in fields.items()}

    assert [unpacked(row) for row in data["findings"]] == [plain(finding) for finding in view.findings]
    assert [unpacked(row) for row in data["due"]] == [plain(finding) for finding in view.due_soon]


def test_hostile_names_stay_text(page: Page, view: ReportView) -> None:
    """Markup in a name, an owner, a note or a description makes no element, and reads as it was written."""
    tags = [tag for tag, _ in page.elements]
    assert "img" not in tags
    assert tags.count("script") == 2
    assert "<" not in page.raw["script"][0]
    for name in (SCRIPT_NAME, BREAKING_NAME, IMAGE_OWNER, FORMULA_USER, CHANGED_USER, CHANGING_OWNER):
        assert any(name in text for text in page.texts)
    for name in (SCRIPT_NAME, BREAKING_NAME, IMAGE_OWNER, FORMULA_USER):
        assert name in page.data["texts"]
    source = render_html(replace(view, title=SCRIPT_NAME, organisation=BREAKING_NAME)).decode()
    assert SCRIPT_NAME not in source
    assert BREAKING_NAME not in source


def test_a_path_that_is_not_utf_8_does_not_stop_the_report(view: ReportView) -> None:
    """Python carries such bytes as lone surrogates, which no encoding takes."""
    manifest = replace(view.manifest, scope="files under reports/\udcff")
    assert b"files under reports/?" in render_html(replace(view, manifest=manifest))


def test_the_first_rows_stand_in_the_markup() -> None:
    """A reader without JavaScript sees rows, and is told when there are more."""
    many = build_view(sample_run(users=300))
    assert len(many.findings) > STATIC_ROWS
    source = render_html(many)
    assert source.startswith(b"<!doctype html>\n<html lang=")
    page = Page(source)
    templates = sum(tag == "template" for tag, _ in page.elements) - 1
    assert page.rows() == STATIC_ROWS + len(many.due_soon) + templates
    assert any(f"first {STATIC_ROWS} of {len(many.findings)} rows" in text for text in page.texts)


def test_what_was_not_audited_comes_before_any_finding(view: ReportView) -> None:
    """Coverage stands first where something is missing, and is no empty box where nothing is."""
    source = render_html(view).decode()
    places = [source.index(f'id="{name}"') for name in ("summary", "coverage", "controls", "findings", "accounts")]
    assert places == sorted(places)
    assert 'id="coverage"' not in render_html(build_view(sample_run(complete=True))).decode()


def test_a_run_without_findings_says_why_there_are_none() -> None:
    """Nothing to list because all is well, and because nothing was audited, are told apart."""
    clean = render_html(build_view(clean_run())).decode()
    empty = render_html(build_view(empty_run())).decode()
    assert "nothing is non-compliant, unknown or exempt" in clean
    assert "No account was audited, so there is nothing to list." in empty
    assert "No account was audited" not in clean


def test_every_tile_that_leads_somewhere_exists(view: ReportView) -> None:
    """A tile that is renamed in the view model loses its link; then this says so."""
    assert set(html.TILE_LINKS) <= {tile.label for tile in view.tiles}


def test_links_and_labels_point_to_what_is_there(page: Page) -> None:
    """Every anchor, label and description names an element of the page, and no id stands twice."""
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        pointed = [attrs.get("for"), *(attrs.get("aria-labelledby") or "").split()]
        href = attrs.get("href") or ""
        pointed += [href[1:]] if href.startswith("#") else []
        assert [name for name in pointed if name and name not in ids] == []


@pytest.mark.parametrize(
    ("limit_days", "expected"), [(90, 6 + 3 * 40), (45, 6 + 1.5 * 40), (389, 6 + round(389 / 30 * 40, 1)), (390, None)]
)
def test_the_limit_stands_where_the_policy_says(limit_days: int, expected: float | None) -> None:
    """The line is drawn in proportion to the bands of 30 days, or not at all where it lies beyond them."""
    bands = [Band(f"{low}-{low + 30}", 1, over=False) for low in range(0, 390, 30)]
    limit_x = html._histogram(bands, timedelta(days=limit_days)).limit_x
    assert limit_x == (None if expected is None else pytest.approx(expected))


def test_bars_are_as_high_as_their_numbers() -> None:
    """The highest bar fills the drawing, the others stand in proportion, and one key can still be seen."""
    bands = [Band("0-30", 1000, over=False), Band("30-60", 500, over=False), Band("60+", 1, over=True)]
    heights = [bar.height for bar in html._histogram(bands, timedelta(days=45)).bars]
    assert heights == [160.0, 80.0, 2.0]


@pytest.mark.parametrize(
    ("number", "short"), [(0, "0"), (999, "999"), (1000, "1.0k"), (1249, "1.2k"), (9949, "9.9k"), (18433, "18k")]
)
def test_short_counts_fit_over_a_bar(number: int, short: str) -> None:
    """Four characters at most, for any count up to a million."""
    assert html._short(number) == short


def test_the_policy_of_the_run_is_what_is_shown() -> None:
    """Another limit moves the words and the line; nothing is written into the template."""
    run = sample_run()
    policy = Policy(key_age=Limit(timedelta(days=180), Operator.AT_LEAST), warning_window=timedelta(days=7))
    source = render_html(build_view(replace(run, manifest=replace(run.manifest, policy=policy)))).decode()
    assert "limit: 180 days" in source
    assert "limit: 90 days" not in source
    assert "due within 7 days" in source


# ------------------------------------------------------------------------------------------------- colours


def _palettes() -> Iterator[dict[str, str]]:
    style = asset_text("report.css")
    for block in re.findall(r":root\s*\{(.*?)\}", style, re.DOTALL):
        yield dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block))


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_apart() -> None:
    """WCAG 2.2 AA in light, dark and print: 4.5 to 1 for text, 3 to 1 for marks and the edges of controls."""
    palettes = list(_palettes())
    assert len(palettes) == 3
    texts = ("ink", "muted", "accent", "bad", "warn", "good", "critical", "high", "medium", "low")
    for palette in palettes:
        grounds = [palette[name] for name in ("page", "panel", "raised")]
        weak = [(text, ground) for text in texts for ground in grounds if _contrast(palette[text], ground) < 4.5]
        weak += [
            (text, "banner")
            for text in ("ink", "muted", "warn")
            if _contrast(palette[text], palette["warn-soft"]) < 4.5
        ]
        weak += [(mark, "panel") for mark in ("edge", "bar", "over") if _contrast(palette[mark], palette["panel"]) < 3]
        assert weak == []


# ------------------------------------------------------------------------------------------------- templates


def test_a_template_escapes_and_knows_its_names() -> None:
    """Whatever a template is called, data is escaped, and a misspelt name is an error instead of a gap."""
    made = environment()
    assert made.from_string("{{ name }}").render(name="<b>") == "&lt;b&gt;"
    with pytest.raises(jinja2.UndefinedError):
        made.from_string("{{ nmae }}").render(name="x")


def test_a_missing_part_is_told_with_its_path() -> None:
    """A broken installation ends in a sentence, not in a traceback."""
    with pytest.raises(OutputError, match=r"no-such\.css"):
        asset("no-such.css")
