"""findings.csv: every finding, one a line, and nothing that a spreadsheet would run."""

import csv
import io
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.formats import words
from auditor.formats.findings_csv import COLUMNS, render_findings_csv, safe_cell
from auditor.formats.view import FindingView, ReportView, build_view
from tests.formats.sample_run import AT_USER, FORMULA_USER, MINUS_USER, PLUS_USER, clean_run, sample_run


@pytest.fixture(scope="module")
def view() -> ReportView:
    return build_view(sample_run())


def rows_of(content: bytes) -> list[dict[str, str]]:
    """The rows as the csv module reads them back."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))


def test_the_columns_are_the_contract() -> None:
    """The first row names these columns in this order; new ones may only follow."""
    header = render_findings_csv(build_view(clean_run())).decode().splitlines()
    assert header == [",".join(COLUMNS)]
    assert (
        *("account_id", "account_name", "user", "user_arn", "slot", "access_key_id", "key_status", "created_at"),
        *("age_days", "last_used_at", "last_used_service", "last_used_region", "control", "severity", "outcome"),
        *("reason", "due_at", "owner", "exemption", "frameworks", "last_used_state", "description"),
        *("owner_source", "by_policy", "limit", "rotation_since", "credential_id", "service"),
        *("run_id", "as_of"),
    ) == COLUMNS


def test_every_finding_comes_back(view: ReportView) -> None:
    """Read back, each row has the finding's values: ISO times with Z, text ids, empty for missing."""
    rows = rows_of(render_findings_csv(view))
    assert len(rows) == len(view.findings) > 15
    for row, finding in zip(rows, view.findings, strict=True):
        assert row["account_id"] == finding.account_id
        assert row["user"].removeprefix("'") == finding.user
        assert row["slot"] == ("" if finding.slot is None else str(finding.slot))
        assert row["created_at"] == (words.instant(finding.created_at) if finding.created_at else "")
        assert row["age_days"] == ("" if finding.age_days is None else str(finding.age_days))
        assert row["reason"] == finding.reason
        assert (row["control"], row["severity"], row["outcome"]) == (finding.control, finding.severity, finding.outcome)
        assert (row["run_id"], row["as_of"]) == (view.manifest.id, "2026-11-22T19:00:00Z")
        assert row["exemption"] == row["frameworks"] == ""
    times = [row[name] for row in rows for name in ("created_at", "last_used_at", "due_at") if row[name]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)


def test_it_is_plain_utf_8_with_crlf(view: ReportView) -> None:
    """No byte order mark; lines end in CRLF, and quotes stand only where they must."""
    content = render_findings_csv(view)
    assert content.startswith(b"account_id,")
    assert content.endswith(b"\r\n")
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r") == len(view.findings) + 1
    assert b'"+SUM(1,2)"' not in content
    assert b'"\'+SUM(1,2)"' in content


def test_names_that_are_formulas_are_text(view: ReportView) -> None:
    """IAM names may begin with =, +, - and @; in a spreadsheet they get a leading apostrophe."""
    users = {row["user"] for row in rows_of(render_findings_csv(view))}
    assert {f"'{name}" for name in (FORMULA_USER, PLUS_USER, MINUS_USER, AT_USER)} <= users


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff201", "'\uff201"),
        ("\u22121", "'\u22121"),
        ("\t=1", r"\u{9}=1"),
        ("\r=1", r"\u{D}=1"),
        ("\n=1", r"\u{A}=1"),
        ("two\nlines", r"two\u{A}lines"),
        ("nul\x00, del\x7f, next\x85, separator\u2028", r"nul\u{0}, del\u{7F}, next\u{85}, separator\u{2028}"),
        ("lone \udfff", r"lone \u{DFFF}"),
        ("a;=1;b", "a;'=1;b"),
        ("a=1, b-2", "a=1, b-2"),
        ("service/ci@example.com", "service/ci@example.com"),
        ("'quoted", "'quoted"),
        ("", ""),
    ],
)
def test_cells(text: str, cell: str) -> None:
    """What begins like a formula gets an apostrophe, what breaks a line or is invisible becomes an escape."""
    assert safe_cell(text) == cell


def begins_like_a_formula(cell: str) -> bool:
    """Whether a spreadsheet may take the cell for more than text."""
    return unicodedata.normalize("NFKC", cell[:1]) in set("=+-@\t\r\n")


TEXTS = st.text(st.characters() | st.sampled_from("=+-@\t\r\n;,'\"\uff1d\uff0b\uff0d\uff20"), max_size=12)


@given(owner=TEXTS, user=TEXTS, reason=TEXTS, name=TEXTS)
def test_no_cell_ever_begins_like_a_formula(owner: str, user: str, reason: str, name: str) -> None:
    """Whatever the names are: one line a finding, as many cells as columns, none of them dangerous."""
    finding = replace(FINDING, owner=owner, user=user, reason=reason, account_name=name)
    content = render_findings_csv(replace(CLEAN, findings=(finding, finding)))
    lines = content.decode("utf-8").split("\r\n")
    assert len(lines) == 4
    for row in csv.reader(lines[1:3], strict=True):
        assert len(row) == len(COLUMNS)
        assert not [cell for cell in row if begins_like_a_formula(cell)]
        assert not [part for cell in row for part in cell.split(";") if begins_like_a_formula(part)]


CLEAN = build_view(clean_run())
FINDING: FindingView = build_view(sample_run(complete=True)).findings[1]
