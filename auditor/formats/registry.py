"""The formats by name. Asking for one imports that one only: CSV must not wait for WeasyPrint, nor fail without it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the view model brings pandas, and the command line asks for the names alone
    from auditor.formats.view import ReportView


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name on the command line, its file's name in the run folder, and what makes the file's bytes."""

    name: str
    file_name: str
    render: "Callable[[ReportView], bytes]"
    is_for_people: bool = False
    """Whether key ids can be masked in it: programs, and who follows evidence, need them whole."""


def _html(view: "ReportView") -> bytes:
    from auditor.formats.html import render_html  # noqa: PLC0415 - see the module

    return render_html(view)


def _pdf(view: "ReportView") -> bytes:
    from auditor.formats.pdf import render_pdf  # noqa: PLC0415 - see the module

    return render_pdf(view, max_rows=view.printed_rows)


def _csv(view: "ReportView") -> bytes:
    from auditor.formats.findings_csv import render_findings_csv  # noqa: PLC0415 - see the module

    return render_findings_csv(view)


def _json(view: "ReportView") -> bytes:
    from auditor.formats.findings_json import render_findings_json  # noqa: PLC0415 - see the module

    return render_findings_json(view)


def _ics(view: "ReportView") -> bytes:
    from auditor.formats.calendar import render_calendar  # noqa: PLC0415 - see the module

    return render_calendar(view)


def _oscal(view: "ReportView") -> bytes:
    from auditor.formats.oscal import render_oscal  # noqa: PLC0415 - see the module

    return render_oscal(view)


def _ocsf(view: "ReportView") -> bytes:
    from auditor.formats.ocsf import render_ocsf  # noqa: PLC0415 - see the module

    return render_ocsf(view)


def _asff(view: "ReportView") -> bytes:
    from auditor.formats.asff import render_asff  # noqa: PLC0415 - see the module

    return render_asff(view)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        made.name: made
        for made in (
            Format("html", "report.html", _html, is_for_people=True),
            Format("pdf", "report.pdf", _pdf, is_for_people=True),
            Format("csv", "findings.csv", _csv),
            Format("json", "findings.json", _json),
            Format("ics", "due.ics", _ics, is_for_people=True),
            Format("oscal", "findings.oscal.json", _oscal),
            Format("ocsf", "findings.ocsf.jsonl", _ocsf),
            Format("asff", "findings.asff.json", _asff),
        )
    }
)
"""Every format by its name, in the order in which help and reports name them."""
