r"""due.ics: what falls due, as a calendar that people can subscribe to (RFC 5545).

One event for each day and owner, whose UID stays the same from run to run, so that a calendar follows what is replaced.
Names are hostile: what would end a line or a value is escaped, and control characters are dropped.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, timedelta
from itertools import groupby

from auditor.formats.view import FindingView, ReportView
from auditor.formats.words import counted, plural
from auditor.model import ControlId, Outcome

DATED = frozenset({ControlId.KEY_AGE, ControlId.INACTIVE_KEY_RETAINED, ControlId.SERVICE_CREDENTIAL_AGE})
"""Controls whose due dates stand; one by use moves with every use, and an event would never come true."""

KEYS = DATED - {ControlId.SERVICE_CREDENTIAL_AGE}
"""Those of them that judge access keys."""

ABOUT = (
    "Access keys and service-specific credentials that must be replaced, and inactive keys that must be deleted, "
    "within the next 90 days. Due dates by use are left out: they move with every use."
)

MOST_LINES = 50
LINE = 75
"""Octets of a line, its break not counted (RFC 5545, 3.1)."""

NO_EVENT = (
    "BEGIN:VTIMEZONE",
    "TZID:UTC",
    "BEGIN:STANDARD",
    "DTSTART:19700101T000000",
    "TZOFFSETFROM:+0000",
    "TZOFFSETTO:+0000",
    "END:STANDARD",
    "END:VTIMEZONE",
)
"""What a calendar holds that has no event: it must hold one component at least (RFC 5545, 3.6)."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def render_calendar(view: ReportView) -> bytes:
    """The calendar in UTF-8; the same view always gives the same bytes."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:-//auditor//auditor {view.manifest.tool_version}//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        f"X-WR-CALNAME:{_text(f'Access keys due: {view.organisation}' if view.organisation else 'Access keys due')}",
        f"X-WR-CALDESC:{_text(_about(view))}",
        "REFRESH-INTERVAL;VALUE=DURATION:P1D",
        "X-PUBLISHED-TTL:P1D",
        *(list(_events(view)) or NO_EVENT),
        "END:VCALENDAR",
    ]
    return "".join(f"{folded(line)}\r\n" for line in lines).encode()


def folded(line: str) -> str:
    """The line broken where it has more than 75 octets, never within a character."""
    parts, size = [""], 0
    for character in line:
        width = len(character.encode())
        if size + width > LINE:
            parts.append(" ")
            size = 1
        parts[-1] += character
        size += width
    return "\r\n".join(parts)


def _events(view: ReportView) -> Iterator[str]:
    stamp = view.manifest.as_of.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")

    def place(finding: FindingView) -> tuple[date, str]:
        assert finding.due_at is not None
        return finding.due_at.astimezone(UTC).date(), finding.owner_label

    dated = sorted((finding for finding in view.upcoming if finding.control in DATED), key=place)
    for (day, owner), group in groupby(dated, key=place):
        findings = list(group)
        name = hashlib.sha256(repr((view.organisation, day.isoformat(), owner)).encode()).hexdigest()[:32]
        noun = "access key" if all(finding.control in KEYS for finding in findings) else "credential"
        many = f"{counted(len(findings), noun)} {'falls' if len(findings) == 1 else 'fall'} due"
        yield from (
            "BEGIN:VEVENT",
            f"UID:{name}@auditor",
            f"DTSTAMP:{stamp}",
            f"DTSTART;VALUE=DATE:{day:%Y%m%d}",
            f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}",
            f"SUMMARY:{_text(f'{many} ({owner})')}",
            f"DESCRIPTION:{_text(_description(findings))}",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        )


def _about(view: ReportView) -> str:
    """What the calendar holds; where it does not reach as far as that, so that nobody takes it for all there is."""
    seen, total = view.forecast.shown, view.forecast.total
    short = f" Of {total:,} due dates, those by use among them, only the soonest {seen:,} were looked at."
    return ABOUT + short if seen < total else ABOUT


def _description(findings: Iterable[FindingView]) -> str:
    lines = [_line(finding) for finding in findings]
    left = len(lines) - MOST_LINES
    more = [f"and {left:,} more {plural(left, 'key')}"] if left > 0 else []
    return "\n".join([*lines[:MOST_LINES], *more])


def _line(finding: FindingView) -> str:
    limit = f", {finding.limit} fails" if finding.limit else ""  # older runs do not tell it
    until = ", exempt until then" if finding.outcome == Outcome.EXEMPT else ""
    return f"{finding.account}: {finding.user} {finding.key}, {finding.control_title}{limit}{until}"


def _text(text: str) -> str:
    """A value of the type TEXT (RFC 5545, 3.3.11)."""
    escaped = _CONTROL.sub("", text).replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\n", "\\n")
