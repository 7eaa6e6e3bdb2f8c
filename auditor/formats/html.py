"""The HTML report: one file that needs nothing else, no network, and opens from a disk or a mail.

The words, style and script stand in `templates/report.*`; this module lays out what the template cannot compute: chart
geometry, the rows as the script reads them, and the policy that lets the browser run this one script and nothing else.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from auditor.formats import words
from auditor.formats.contract import FINDING_FIELDS, Exemptions, Field, exemptions_of, finding_fields
from auditor.formats.environment import asset_text, environment
from auditor.formats.findings_csv import COLUMNS, cell_text
from auditor.formats.view import AGE_BAND, SHOWN, Band, FindingView, ReportView, Tile
from auditor.model import Outcome, Severity
from auditor.tables import COUNT, FINDINGS

STATIC_ROWS = 200
"""Rows of a long table that stand in the markup itself, for readers without JavaScript."""

UPCOMING_ROWS = 50
"""Rows of what falls due after the warning window; findings.json has thousands."""

OUTCOME_WORDS: Mapping[str, str] = {
    Outcome.COMPLIANT: "Compliant",
    Outcome.NON_COMPLIANT: "Non-compliant",
    Outcome.EXEMPT: "Exempt",
    Outcome.NOT_APPLICABLE: "Not applicable",
    Outcome.UNKNOWN: "Unknown",
}
SEVERITY_WORDS: Mapping[str, str] = {severity: severity.capitalize() for severity in reversed(Severity)}

TILE_LINKS: Mapping[str, str] = {
    "Compliance rate": "controls",
    "Keys that fail": "findings?outcome=non_compliant",
    "Oldest active key": "findings?control=key-age&sort=-age",
    "Accounts audited": "accounts",
}
"""Where a tile leads, by its label; a tile without an entry is no link."""


def render_html(view: ReportView) -> bytes:
    """The report as one HTML file in UTF-8; the same view always gives the same bytes."""
    style, script = asset_text("report.css"), asset_text("report.js")
    text = (
        environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            content_security_policy=_content_security_policy(style, script),
            style=Markup(style),  # noqa: S704 - our own file, and its hash is in the policy
            script=Markup(script),  # noqa: S704 - the same
            data=_embedded(view),
            tiles=[(tile, _tile_link(tile, view)) for tile in view.tiles],
            facets=_facets(view),
            histogram=_histogram(view.ages, view.manifest.policy.key_age.maximum),
            static_rows=STATIC_ROWS,
            upcoming_rows=UPCOMING_ROWS,
            cells=_cells,
            blank=dict.fromkeys(_CELLS, ""),
            where=_where,
            outcome_words=OUTCOME_WORDS,
            severity_words=SEVERITY_WORDS,
            shown=[outcome.value for outcome in SHOWN],
        )
    )
    # A path among the facts may hold bytes that are not UTF-8; Python carries them as lone surrogates.
    return text.encode("utf-8", "replace")


def _content_security_policy(style: str, script: str) -> str:
    """Nothing may be loaded, and only this style and this script may act, whatever a name in the data holds."""
    sources = (
        "default-src 'none'",
        f"script-src {_hash_source(script)}",
        f"style-src {_hash_source(style)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(sources)


def _hash_source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# ------------------------------------------------------------------------------------------------- links


def _where(**filters: str) -> str:
    """The part of the address after `#` that sets these filters of the findings table."""
    return f"findings?{urlencode(filters)}" if filters else "findings"


def _tile_link(tile: Tile, view: ReportView) -> str | None:
    if tile.label == "Accounts audited" and view.not_audited:
        return "coverage"
    return TILE_LINKS.get(tile.label)


# ------------------------------------------------------------------------------------------------- rows

_CELLS = (
    *("severity", "severity_word", "title", "reason", "account", "account_id", "user", "owner"),
    *("key", "status", "age", "used", "used_in", "due", "outcome", "outcome_word"),
)
"""What a row shows; the script makes the same of the embedded data."""


def _cells(finding: FindingView) -> dict[str, str]:
    used = finding.last_used_state == "used" and finding.last_used_at is not None
    where = (finding.last_used_service, finding.last_used_region)
    values = (
        finding.severity,
        SEVERITY_WORDS[finding.severity],
        finding.control_title,
        finding.reason,
        finding.account_name or finding.account_id,
        finding.account_id if finding.account_name else "",
        finding.user,
        finding.owner or "",
        finding.key,
        finding.key_status or "",
        "" if finding.age_days is None else str(finding.age_days),
        _date(finding.last_used_at) if used else finding.last_used_state or "",
        " ".join(part for part in where if part) if used else "",
        _date(finding.due_at),
        finding.outcome,
        OUTCOME_WORDS[finding.outcome],
    )
    return dict(zip(_CELLS, values, strict=True))


def _date(at: datetime | None) -> str:
    return words.minute(at)[:10] if at else ""


def _facets(view: ReportView) -> tuple[tuple[str, str, tuple[tuple[str, str, int], ...]], ...]:
    """The filters that are buttons: name, label, and value, word and count of each choice that occurs."""
    titles = {control.id: control.title for control in view.controls}
    outcomes = {outcome.value: OUTCOME_WORDS[outcome] for outcome in SHOWN}
    asking = {True: "The policy", False: "Frameworks alone"} if view.frameworks else {}
    known: tuple[tuple[str, str, Mapping[Any, str]], ...] = (
        ("outcome", "Outcome", outcomes),
        ("severity", "Severity", SEVERITY_WORDS),
        ("control", "Control", titles),
        ("by_policy", "Judged by", asking),
    )

    def choices(name: str, said: Mapping[Any, str]) -> tuple[tuple[str, str, int], ...]:
        counts = Counter(getattr(finding, name) for finding in view.findings)
        return tuple((_value(value), word, counts[value]) for value, word in said.items() if counts[value])

    return tuple((name, label, choices(name, said)) for name, label, said in known if said)


def _value(value: Field) -> str:
    """A choice as the embedded rows have it."""
    return cell_text(value)


class _Texts:
    """Every different text once; rows hold its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def _embedded(view: ReportView) -> Markup:
    """The rows for the script, field by field as findings.json has them; JSON that cannot end its own element."""
    texts, exemptions = _Texts(), exemptions_of(view)
    data = {
        "run": {"run_id": view.manifest.id, "as_of": words.instant(view.manifest.as_of)},
        "fields": FINDING_FIELDS,
        "numbers": [name for name in FINDING_FIELDS if FINDINGS.get(name) == COUNT],
        "csv": COLUMNS,
        "findings": _packed(view.findings, texts, exemptions),
        "due": _packed(view.due_soon, texts, exemptions),
        "texts": list(texts.numbers),
        "controls": {
            control.id: {"title": control.title, "rule": control.rule, "remedy": control.remedy}
            for control in view.controls
        },
        "outcomes": OUTCOME_WORDS,
        "severities": SEVERITY_WORDS,
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 - no markup left


def _packed(findings: Iterable[FindingView], texts: _Texts, exemptions: Exemptions) -> list[list[int | None]]:
    """A list per finding in the order of the contract's fields: numbers as they are, texts by their number."""

    def packed(value: Field) -> int | None:
        return value if value is None or type(value) is int else texts.number(cell_text(value))

    return [[packed(value) for value in finding_fields(finding, exemptions).values()] for finding in findings]


# ------------------------------------------------------------------------------------------------- the histogram


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar, in the units of the drawing; `short` is its value in at most four characters."""

    x: float
    y: float
    height: float
    band: Band
    short: str


@dataclass(frozen=True, slots=True)
class _Histogram:
    """Ages of active keys as bars over a base line, and where the policy's limit stands, if within the drawing."""

    bars: tuple[_Bar, ...]
    width: int
    base: int
    bar_width: int
    limit_x: float | None
    limit: str
    total: int


_BAR_STEP, _BAR_WIDTH, _MARGIN, _TOP, _BASE = 40, 30, 6, 46, 206


def _histogram(bands: Sequence[Band], limit: timedelta) -> _Histogram:
    most = max((band.keys for band in bands), default=0) or 1
    bars = []
    for position, band in enumerate(bands):
        height = max(2.0, round((_BASE - _TOP) * band.keys / most, 1)) if band.keys else 0.0
        x = _MARGIN + position * _BAR_STEP + (_BAR_STEP - _BAR_WIDTH) / 2
        bars.append(_Bar(x, round(_BASE - height, 1), height, band, _short(band.keys)))
    steps = limit / AGE_BAND
    limit_x = round(_MARGIN + steps * _BAR_STEP, 1) if steps < len(bands) else None
    total = sum(band.keys for band in bands)
    width = 2 * _MARGIN + len(bands) * _BAR_STEP
    return _Histogram(tuple(bars), width, _BASE, _BAR_WIDTH, limit_x, words.days(limit), total)


def _short(number: int) -> str:
    """A count that fits over a narrow bar: 999, 1.2k, 18k."""
    if number < 1000:  # noqa: PLR2004 - a thousand
        return str(number)
    thousands = number / 1000
    return f"{thousands:.1f}k" if thousands < 9.95 else f"{thousands:.0f}k"  # noqa: PLR2004 - where 10.0k would stand
