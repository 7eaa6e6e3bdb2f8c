"""findings.csv: the findings for a spreadsheet, safe to open in one.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and names are hostile (OWASP: "CSV
Injection"). Such a cell gets a leading `'`; findings.json has every value unaltered.
"""

import csv
import io
import re
import unicodedata

from auditor.formats import words
from auditor.formats.contract import FINDING_FIELDS, Field, exemptions_of, finding_fields
from auditor.formats.plain_text import visible
from auditor.formats.view import ReportView

COLUMNS = (*FINDING_FIELDS, "run_id", "as_of")

_FORMULA_STARTS = frozenset("=+-@\N{MINUS SIGN}")
_AFTER_SEMICOLON = re.compile(r"(?<=;)(.)")


def render_findings_csv(view: ReportView) -> bytes:
    r"""The findings as CSV: UTF-8, CRLF, one header row, times with `Z`, an empty cell for a missing value.

    One line is one finding: line breaks and control characters within a cell appear as escapes such as `\u{A}`.
    """
    target = io.StringIO(newline="")
    writer = csv.writer(target, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    run = (view.manifest.id, words.instant(view.manifest.as_of))
    exemptions = exemptions_of(view)
    for finding in view.findings:
        writer.writerow(
            [safe_cell(cell_text(value)) for value in (*finding_fields(finding, exemptions).values(), *run)]
        )
    return target.getvalue().encode()


def safe_cell(text: str) -> str:
    """The text as no spreadsheet takes for a formula: full-width forms count, and what follows a `;`.

    Where the list separator is `;` a spreadsheet splits there, quoted or not, so the next character begins a cell.
    """
    split = _AFTER_SEMICOLON.sub(lambda match: _neutral(match[0]), visible(text))
    return _neutral(split)


def _neutral(text: str) -> str:
    return f"'{text}" if unicodedata.normalize("NFKC", text[:1]) in _FORMULA_STARTS else text


def cell_text(value: Field) -> str:
    """A field as a cell shows it: an exemption by its id, clauses as "cis-aws-5.0 1.13", one after the other."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return str(value["id"])
    return "; ".join(" ".join(clause.values()) for clause in value) if isinstance(value, list) else str(value)
