"""The PDF report read back with other programs: complete, tagged, and laid out to be read."""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import combinations

import pytest

from auditor.formats import pdf
from auditor.formats.environment import asset, templates_folder
from auditor.formats.pdf import render_pdf
from auditor.model import Limit, Operator
from tests.formats.pdf_reading import VIEWS, has_row, landscape, objects, pages_of, rendered, sample, squeezed, words_of
from tests.formats.sample_run import SCRIPT_NAME

# ------------------------------------------------------------------------------------------------- what it says


def test_the_cover_tells_what_who_and_when() -> None:
    """Title, company, verdict, as-of, run id, scope, caller and coverage are on page one."""
    made = rendered("sample")
    cover, manifest = made.pages()[0], made.view.manifest
    for text in (made.view.title, made.view.organisation, made.view.verdict, manifest.id, manifest.scope):
        assert text in cover
    assert "2026-11-22T19:00:00Z" in cover
    assert "arn:aws:sts::999900001111:assumed-role/audit/monthly" in cover
    assert "Accounts audited 6 of 8" in cover


@pytest.mark.parametrize("name", VIEWS)
def test_the_summary_is_exactly_one_page(name: str) -> None:
    """Page two is the summary, whole, and page three begins the coverage, however much there is to say."""
    made = rendered(name)
    pages = made.pages()
    assert pages[1].startswith("Summary\n")
    assert pages[2].startswith("Coverage\n")
    summary = squeezed(pages[1])
    for text in (made.view.headline, *made.view.sentences, *(tile.value for tile in made.view.tiles)):
        assert squeezed(text) in summary
    if made.view.worst_accounts:
        assert str(f"{made.view.worst_accounts[0].non_compliant:,}") in pages[1]
    if any(band.keys for band in made.view.ages):
        assert "Limit: 90 days" in pages[1]


def test_what_was_not_audited_comes_first() -> None:
    """The coverage begins with the accounts that were not audited, why, and what to do."""
    made = rendered("sample")
    coverage = squeezed(made.pages()[2])
    missing, audited = coverage.index("Notaudited"), coverage.index("Audited")
    assert missing < audited
    for account in made.view.not_audited:
        for text in (account.account_id, account.reason, account.next_step):
            assert missing < coverage.index(squeezed(text)) < audited
    for seen in made.view.accounts:
        assert coverage.index(seen.account_id, audited) > audited
    assert "2026-11-2218:1347minold" in coverage


@pytest.mark.parametrize("name", ["sample", "odd", "many"])
def test_every_finding_stands_whole_on_one_page(name: str) -> None:
    """Below the cap each finding is there, and its row is not split: account, user and reason are on one page."""
    made = rendered(name)
    pages = [squeezed(page) for page in made.pages()]
    assert made.view.findings
    for finding in made.view.findings:
        assert any(has_row(page, finding) for page in pages), finding


def test_what_frameworks_find_of_the_same_key_stands_in_its_row() -> None:
    """A row for each subject, its verdicts one below the other; twins that nothing tells apart keep theirs."""
    view = sample()
    first = next(finding for finding in view.findings if finding.control == "key-age")
    strict = replace(first, by_policy=False, frameworks="cis-aws-3.0 1.14", reason="90 days or more fails.")
    several = (first, strict, first, replace(first, control="key-unused"))
    (group,) = pdf._findings(replace(view, findings=several), 1000).groups
    ((_, rows),) = group.accounts
    assert rows == ((first, strict), (first,), (several[3],))
    assert (group.total, group.shown) == (3, 3)
    text = squeezed(" ".join(pages_of(render_pdf(replace(view, findings=several), max_rows=10))))
    assert squeezed(f"{first.reason} cis-aws-3.0 1.14: 90 days or more fails.") in text
    unsure = replace(first, outcome="unknown", reason="Not known.")
    text = squeezed(" ".join(pages_of(render_pdf(replace(view, findings=(unsure, strict)), max_rows=10))))
    assert squeezed("90 days or more fails. Asked by: cis-aws-3.0 1.14 the policy: Unknown. Not known.") in text


def test_the_gravest_findings_come_first() -> None:
    """Severities follow each other from critical to low, whatever the policy or the order of the run."""
    view = sample()
    groups = pdf._findings(replace(view, findings=view.findings[::-1]), 1000).groups
    assert [group.label for group in groups] == ["Critical", "High", "Medium", "Low"]
    assert sum(len(rows) for group in groups for _, rows in group.accounts) == len(view.findings)


def test_too_many_findings_are_cut_aloud() -> None:
    """Above the cap the gravest are shown, and a sentence says how many there are and where the rest is."""
    made = rendered("sample", max_rows=5)
    text = squeezed(" ".join(made.pages()))
    total = len(made.view.findings)
    notice = (
        f"5 of {total} keys and users with findings are shown; the full list is in findings.json beside this report."
    )
    assert squeezed(notice) in text
    with made.open() as document:
        laid_out = [squeezed(made.pages()[number]) for number in landscape(document)]
    seen = [finding for finding in made.view.findings if any(has_row(page, finding) for page in laid_out)]
    assert [finding.severity for finding in seen] == ["critical", "high", "high", "high", "high"]
    oldest = sorted((f.age_days or 0 for f in made.view.findings if f.severity == "high"), reverse=True)[:4]
    assert sorted((finding.age_days or 0 for finding in seen[1:]), reverse=True) == oldest


def test_other_lists_are_cut_aloud_too() -> None:
    """Each capped list has its own sentence, and the numbers in it have separators."""
    assert pdf._part(range(3214), 1000, "audited accounts").notice == (
        "1,000 of 3,214 audited accounts are shown; the full list is in findings.json beside this report."
    )
    assert pdf._part(range(1000), 1000, "audited accounts").notice == ""
    assert pdf._part(range(1001), 1000, "rows").rows == tuple(range(1000))
    text = squeezed(" ".join(pages_of(render_pdf(sample(), max_rows=1))))
    assert "1of2accountsthatwerenotauditedareshown;" in text
    assert "1of6auditedaccountsareshown;" in text
    assert "1of2verdictsthatareduesoonareshown;" in text


def test_changes_are_told_with_approval_and_evidence() -> None:
    """What was done, to which key, why, by whose word and credentials, and where the proof lies; and what waits."""
    made = rendered("sample")
    told = made.view.remediation
    assert told is not None
    text = squeezed("".join(made.pages()))
    for action in told.actions:
        for said in (action.what, action.access_key_id, action.user, action.approval, action.done_by, action.intent):
            assert squeezed(said or "") in text
        assert squeezed(f"Journal, row {action.journal_row}") in text
    for item in told.pending:
        assert squeezed(item.waits) in text
        assert squeezed(item.failed or "") in text
    assert told.head in text


def test_thresholds_are_those_of_the_policy() -> None:
    """Method, chart and controls tell the limits that the run was judged with."""
    view = sample()
    policy = replace(
        view.manifest.policy, key_age=Limit(timedelta(days=45), Operator.AT_LEAST), warning_window=timedelta(days=7)
    )
    pages = pages_of(render_pdf(replace(view, manifest=replace(view.manifest, policy=policy)), max_rows=1))
    assert "Limit: 45 days" in pages[1]
    assert "Age of an active key 45 days or more fails" in pages[-1]
    assert "Due soon within 7 days" in pages[-1]


def test_controls_tell_rule_reason_remedy_and_counts() -> None:
    """Each control stands with its rule, why it is asked, what to do, its source and its verdicts."""
    made = rendered("sample")
    text = squeezed(" ".join(made.pages()))
    for control in made.view.controls:
        for part in (control.title, control.rule, control.rationale, control.remedy, control.source):
            assert squeezed(part) in text
    assert "8 compliant, 10 non-compliant, 0 exempt, 5 not applicable, 3 unknown" in " ".join(made.pages())


# ------------------------------------------------------------------------------------------------- how it is laid out


@pytest.mark.parametrize("name", VIEWS)
def test_every_page_has_its_number_and_the_run(name: str) -> None:
    """The footer tells the run and page x of y."""
    made = rendered(name)
    pages = made.pages()
    with made.open() as document:
        assert len(document.pages) == len(pages)
    for number, page in enumerate(pages, start=1):
        assert f"Run {made.view.manifest.id} Page {number} of {len(pages)}" in page


def test_table_heads_are_repeated() -> None:
    """Each wide page has the heads of its columns."""
    made = rendered("many")
    with made.open() as document:
        numbers = landscape(document)
    assert len(numbers) > 6
    for number in numbers:
        page = made.pages()[number]
        assert any(
            head in page for head in ("User Access key Created Last used (UTC)", "User Access key Why", "Stands at")
        )


@pytest.mark.parametrize("name", VIEWS)
def test_no_text_leaves_its_page_or_lies_on_another(name: str) -> None:
    """Every word stands within the margins, and no two words in one place."""
    for width, height, found in words_of(rendered(name).document):
        margin = 42 if width > height else 51
        assert found
        for word in found:
            assert word.left >= margin - 1, word
            assert word.right <= width - margin + 1, word
            assert word.top >= 25, word
            assert word.bottom <= height - 15, word
        assert not [(one, other) for one, other in combinations(found, 2) if one.covers(other)]


# ------------------------------------------------------------------------------------------------- what it is


@pytest.mark.parametrize("name", VIEWS)
def test_it_is_a_sound_tagged_document(name: str) -> None:
    """It declares PDF/UA-1, is tagged, has a language and a title that the window shows, and pictures tell in words."""
    made = rendered(name)
    with made.open() as document:
        assert document.check_pdf_syntax() == []
        assert str(document.Root.Lang) == "en"
        assert document.Root.MarkInfo.Marked
        assert document.Root.ViewerPreferences.DisplayDocTitle
        with document.open_metadata() as metadata:
            assert metadata["{http://www.aiim.org/pdfua/ns/id/}part"] == "1"
            assert str(metadata["dc:title"]).startswith("AWS access key report")
        kinds = [str(thing.get("/S")) for thing in objects(document) if thing.get("/Type") == "/StructElem"]
        assert {"/H1", "/H2", "/Table", "/TH", "/TD", "/P"} <= set(kinds)
        figures = [thing for thing in objects(document) if thing.get("/S") == "/Figure"]
        assert len(figures) == (0 if name == "empty" else 1)
        assert all(str(figure.Alt).startswith("Active keys by age") for figure in figures)


def test_qpdf_has_nothing_to_say() -> None:
    """The file's structure is valid, as the library of qpdf reads it."""
    with rendered("odd").open() as document:
        assert document.check_pdf_syntax() == []


def test_its_dates_are_those_of_the_run() -> None:
    """Created and modified are the end of the run, never the clock; title, author and maker are told."""
    with rendered("sample").open() as document:
        info = document.docinfo
        assert str(info.CreationDate) == str(info.ModDate) == "D:20261122190037Z"
        assert str(info.Title) == "AWS access key report, Example & Sons, as of 2026-11-22T19:00:00Z"
        assert str(info.Author) == "Example & Sons"
        assert str(info.Creator) == "auditor 0.1.0"


def test_bookmarks_lead_through_it() -> None:
    """Every part has a bookmark, severities below the findings, accounts below a severity."""
    with rendered("many").open() as document, document.open_outline() as outline:
        titles = [item.title for item in outline.root]
        assert titles == [
            *("Cover", "Summary", "Coverage", "Findings", "Due soon", "The days ahead"),
            *("Changes by auditor", "Controls", "Method and thresholds", "About this run"),
        ]
        severities = outline.root[3].children
        assert [item.title.partition(":")[0] for item in severities] == ["Critical", "High", "Medium", "Low"]
        accounts = [item.title for item in severities[1].children]
        assert len(accounts) == len(set(accounts)) == 6
        assert f"{SCRIPT_NAME} (222233334444)" in accounts


def test_the_contents_tell_the_right_pages() -> None:
    """The page numbers on the cover are those where the parts begin."""
    pages = rendered("many").pages()
    for title in ("Summary", "Coverage", "Findings", "Due soon", "Changes by auditor", "Controls"):
        found = re.search(rf"^{title} (\d+)$", pages[0], re.MULTILINE)
        assert found
        assert re.search(rf"^{title}$", pages[int(found[1]) - 1], re.MULTILINE)


@pytest.mark.parametrize("name", ["sample", "odd", "empty"])
def test_fonts_are_its_own(name: str) -> None:
    """Every font is embedded and is one of the package's."""
    named = set(re.findall(r'font-family: "([^"]+)"; font-weight', asset("pdf.css").decode()))
    assert len(named) == 5
    with rendered(name).open() as document:
        fonts = [thing for thing in objects(document) if thing.get("/Type") == "/FontDescriptor"]
        assert fonts
        for font in fonts:
            assert "/FontFile2" in font or "/FontFile3" in font
            family = str(font.FontFamily).replace("-", " ") if "/FontFamily" in font else ""
            base = str(font.FontName).partition("+")[2].replace("-", " ")
            assert any(name in (family, base) or base.startswith(name) for name in named), base


def test_the_fonts_come_with_their_licence() -> None:
    """Each bundled font is used by the style sheet, and the licence text is beside them."""
    folder = templates_folder() / "fonts"
    bundled = {path.name for path in folder.iterdir()} - {"LICENSE.txt"}
    assert bundled == {name.removeprefix("fonts/") for name in pdf._asset_names() if name.startswith("fonts/")}
    assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "LICENSE.txt").read_text(encoding="utf-8")
