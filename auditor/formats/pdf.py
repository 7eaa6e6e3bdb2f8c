r"""The PDF report: the document that the compliance lead reads and the external auditor files.

Tagged (PDF/UA-1), set in the fonts of `templates/fonts` alone, and byte for byte the same for the same view. Names in
it are hostile: everything is escaped, nothing outside the package is ever fetched, and a character that cannot be
shown, or that would change how its neighbours are shown, appears as a visible escape such as `\u{202E}`.
"""

import contextlib
import hashlib
import io
import logging
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from types import ModuleType
from typing import Any, Generic, TypeVar

import jinja2
from markupsafe import Markup

from auditor.errors import OutputError
from auditor.formats.environment import asset, environment
from auditor.formats.view import AGE_BAND, SHOWN, AccountView, Band, FindingView, ReportView
from auditor.model import Grouping, Outcome, Severity
from auditor.policy import scope_words

_LOG = logging.getLogger(__name__)

_STYLE = "pdf.css"
_FONTS = "fonts/"
_ASSET = "asset:"
_MEDIA_TYPES = {".css": "text/css", ".woff2": "font/woff2"}

LIBRARIES = ("libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0")
"""Debian's packages of what WeasyPrint loads; each brings the rest."""


def render_pdf(view: ReportView, *, max_rows: int = 1000) -> bytes:
    """The report as a PDF; the same view always gives the same bytes.

    Args:
        view: what the report says.
        max_rows: rows of a list that are laid out; beyond them the gravest are shown, and a sentence says how many
            there are and where the rest is.

    Raises:
        OutputError: where a library that WeasyPrint loads, or a part of the package, is missing.
    """
    with _quiet():
        weasyprint = load_weasyprint()
        try:
            document: bytes = weasyprint.HTML(string=_page(view, max_rows), url_fetcher=_fetch).write_pdf(
                pdf_variant="pdf/ua-1", pdf_identifier=hashlib.sha256(view.manifest.id.encode()).digest()[:16]
            )
        except weasyprint.urls.FatalURLFetchingError as error:
            raise OutputError(
                "the PDF report asked for something outside the package", next_step="Install auditor again."
            ) from error
    return document


def text_engine() -> dict[str, str]:
    """The version of the library that breaks lines, on which a page's bytes depend; OutputError where it is missing."""
    with _quiet():
        load_weasyprint()
        from weasyprint.text.ffi import pango  # type: ignore[import-untyped]  # noqa: PLC0415 - loads the library

        return {"pango": str(pango.pango_version())}


def _page(view: ReportView, max_rows: int) -> str:
    """The report as HTML, which is what WeasyPrint lays out."""
    template = _environment().get_template("report.pdf.html.j2")
    return template.render(
        view=view,
        stylesheet=_ASSET + _STYLE,
        findings=_findings(view, max_rows),
        not_audited=_part(view.not_audited, max_rows, "accounts that were not audited"),
        accounts=_part(view.accounts, max_rows, "audited accounts"),
        due_soon=_part(view.due_soon, max_rows, "verdicts that are due soon"),
        actions=_part(view.remediation.actions if view.remediation else (), max_rows, "changes"),
        pending=_part(view.remediation.pending if view.remediation else (), max_rows, "changes under way"),
        worst=_account_bars(view.worst_accounts),
        histogram=_histogram(view),
    )


# ------------------------------------------------------------------------------------------------- WeasyPrint


@cache
def load_weasyprint() -> ModuleType:
    """WeasyPrint, which talks on stdout where it finds no libraries and warns where it finds no fonts of the system.

    Raises:
        OutputError: a system library that it needs is missing; with how to install it.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import weasyprint  # type: ignore[import-untyped]  # noqa: PLC0415 - 0.3 s, and it loads shared libraries
        except OSError as error:
            named = re.search(r"library '([^']+)'", str(error))
            raise OutputError(
                "the PDF report needs a system library that cannot be loaded",
                where=named[1] if named else "WeasyPrint",
                next_step=f"Install it (Debian and Ubuntu: sudo apt-get install {' '.join(LIBRARIES)}; "
                "macOS: brew install pango), or leave pdf out of the formats.",
            ) from error
    return weasyprint  # type: ignore[no-any-return]


def _fetch(url: str) -> Any:
    """The style sheet and the fonts of the package, and nothing else, whatever the document asks for."""
    urls = load_weasyprint().urls
    name = url.removeprefix(_ASSET)
    if url.startswith(_ASSET) and name in _asset_names():
        suffix = name[name.rindex(".") :]
        return urls.URLFetcherResponse(url, asset(name), {"Content-Type": _MEDIA_TYPES[suffix]})
    raise urls.FatalURLFetchingError(f"not part of the report: {url}")


@cache
def _asset_names() -> frozenset[str]:
    """The style sheet, and the fonts that it names."""
    fonts = re.findall(rf"url\({_ASSET}({_FONTS}[a-z0-9-]+\.woff2)\)", asset(_STYLE).decode())
    return frozenset((_STYLE, *fonts))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what WeasyPrint and fontTools say off the terminal; their warnings go to our own log, for those who ask."""
    teller = _Teller(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("weasyprint", "fontTools")]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(teller)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(teller)
            logger.propagate = propagate


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _LOG.debug("%s: %s", record.name, record.getMessage())


# ------------------------------------------------------------------------------------------------- text

_NEVER_SHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zl", "Zp"}
"""Unicode categories that are invisible, act on their neighbours, or stand for nothing."""


def printable(text: str) -> str:
    """The text in composed form, each character that the report's fonts cannot show alone as a visible escape."""
    return _unshowable().sub(lambda match: f"\\u{{{ord(match[0]):X}}}", unicodedata.normalize("NFC", text))


@cache
def _unshowable() -> re.Pattern[str]:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # noqa: PLC0415 - only where there is a PDF

    covered: set[int] = set()
    for name in _asset_names():
        if name.startswith(_FONTS) and "-sans-" in name:
            covered.update(TTFont(io.BytesIO(asset(name))).getBestCmap())
    shown = (chr(code) for code in sorted(covered) if unicodedata.category(chr(code)) not in _NEVER_SHOWN)
    return re.compile(f"[^{''.join(map(re.escape, shown))}]")


def _finalize(value: object) -> object:
    return value if isinstance(value, Markup) else printable(str(value))


@cache
def _environment() -> jinja2.Environment:
    made = environment().overlay(finalize=_finalize)
    made.filters = {
        **made.filters,
        "brief": _brief,
        "number": _number,
        "path": _path,
        "said": _said,
        "scope": scope_words,
    }
    return made


def _path(finding: FindingView) -> str:
    """The user's path in IAM, empty where it is the root of all paths: "/service/" for `…:user/service/ci`."""
    path = finding.user_arn.partition(":user")[2].removesuffix(finding.user)
    return "" if path == "/" else path


def _number(count: int) -> str:
    return f"{count:,}"


def _said(outcome: str) -> str:
    """A severity or an outcome for people: "not_applicable" is "Not applicable"."""
    return "Non-compliant" if outcome == Outcome.NON_COMPLIANT else outcome.replace("_", " ").capitalize()


def _brief(name: str, most: int) -> str:
    """A name where there is room for one line; the whole name stands elsewhere in the report."""
    shown = printable(name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


# ------------------------------------------------------------------------------------------------- lists


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class _Part(Generic[Row]):
    """The rows of a list that are laid out, and the sentence to say where they are not all."""

    rows: tuple[Row, ...]
    notice: str


def _part(rows: Sequence[Row], most: int, noun: str) -> _Part[Row]:
    if len(rows) <= most:
        return _Part(tuple(rows), "")
    full = "the full list is in findings.json beside this report."
    return _Part(tuple(rows[:most]), f"{most:,} of {len(rows):,} {noun} are shown; {full}")


_Subject = tuple[FindingView, ...]
"""What the policy and frameworks find of the same key, or user, by the same control."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Findings of one severity, or of one owner, by account: the account's name, and its findings.

    What the policy and frameworks find of the same by the same control stands together, the policy's first.
    """

    label: str
    total: int
    shown: int
    accounts: tuple[tuple[str, tuple[_Subject, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Findings:
    """The findings as they are laid out; `counts` has a line per severity: its name, then a number per outcome."""

    subjects: int
    """Rows, had they all been laid out."""
    groups: tuple[_Group, ...]
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    outcomes: tuple[str, ...]
    notice: str


_SEVERITIES = tuple(severity.value for severity in reversed(Severity))
_OUTCOMES = tuple(outcome.value for outcome in SHOWN)


def _findings(view: ReportView, most: int) -> _Findings:
    """By severity or owner, then account. Where there are too many: the gravest, then violations, then the oldest."""

    def gravity(finding: FindingView) -> tuple[int, int, int]:
        outcome = _OUTCOMES.index(finding.outcome)
        return _SEVERITIES.index(finding.severity), outcome, -(finding.age_days or 0)

    subjects = _together(sorted(view.findings, key=gravity))
    part = _part(subjects, most, "keys and users with findings")
    counts = Counter((finding.severity, finding.outcome) for finding in view.findings)
    table = ((name, tuple(counts[name, outcome] for outcome in _OUTCOMES)) for name in _SEVERITIES)
    return _Findings(
        subjects=len(subjects),
        groups=tuple(_groups(part.rows, subjects, view)),
        counts=tuple((name, numbers) for name, numbers in table if any(numbers)),
        outcomes=_OUTCOMES,
        notice=part.notice,
    )


def _groups(rows: Iterable[_Subject], subjects: Iterable[_Subject], view: ReportView) -> Iterator[_Group]:
    def label(subject: _Subject) -> str:
        if view.group_by is Grouping.OWNER:
            return subject[0].owner_label
        return _said(subject[0].severity)

    labels = [owner.owner for owner in view.owners]
    if view.group_by is Grouping.SEVERITY:
        labels = [_said(name) for name in _SEVERITIES]
    totals = Counter(map(label, subjects))
    ordered = sorted(rows, key=lambda subject: labels.index(label(subject)))
    for name, same in groupby(ordered, key=label):
        by_account = sorted(same, key=lambda subject: subject[0].account_id)
        accounts = tuple((it, tuple(mine)) for it, mine in groupby(by_account, key=lambda subject: subject[0].account))
        yield _Group(name, totals[name], len(by_account), accounts)


def _together(rows: Iterable[FindingView]) -> tuple[_Subject, ...]:
    """Findings of the same subject, one after the other; the n-th of those that nothing tells apart is one subject."""
    seen = Counter[tuple[object, ...]]()
    found: dict[tuple[object, ...], list[FindingView]] = {}
    for row in rows:
        asked = (*row.subject, row.by_policy, row.frameworks)
        found.setdefault((*row.subject, seen[asked]), []).append(row)
        seen[asked] += 1
    return tuple(map(tuple, found.values()))


# ------------------------------------------------------------------------------------------------- charts


@dataclass(frozen=True, slots=True)
class _Bar:
    """A bar of the age histogram and the tick below it; measures in the drawing's units, `y` downwards."""

    x: float
    y: float
    height: float
    keys: int
    over: bool
    label: str
    edge: float
    tick: str
    tick_x: float


@dataclass(frozen=True, slots=True)
class _Histogram:
    """Active keys by age. `limit_x` is where the policy's limit stands, None where that is beyond the drawing."""

    bars: tuple[_Bar, ...]
    width: float
    height: float
    base: float
    bar_width: float
    limit_x: float | None
    total: int


_STEP, _BAR, _TOP, _BASE, _HEIGHT = 38.0, 28.0, 26.0, 138.0, 168.0


def _histogram(view: ReportView) -> _Histogram:
    most = max((band.keys for band in view.ages), default=0) or 1
    bars = tuple(_bar(band, position, (_BASE - _TOP) / most) for position, band in enumerate(view.ages))
    bands_to_limit = view.manifest.policy.key_age.maximum / AGE_BAND
    limit_x = round(bands_to_limit * _STEP, 1) if bands_to_limit < len(bars) else None
    total = sum(band.keys for band in view.ages)
    return _Histogram(bars, len(bars) * _STEP, _HEIGHT, _BASE, _BAR, limit_x, total)


def _bar(band: Band, position: int, unit: float) -> _Bar:
    """The tick is the band's lower edge, but for the last band, which has no upper one."""
    edge = position * _STEP
    x = edge + (_STEP - _BAR) / 2
    height = max(1.5, round(unit * band.keys, 1)) if band.keys else 0.0
    lower, _, upper = band.label.partition("-")
    tick_x = edge if upper else edge + _STEP / 2
    return _Bar(x, round(_BASE - height, 1), height, band.keys, band.over, band.label, edge, lower, tick_x)


def _account_bars(accounts: Sequence[AccountView]) -> tuple[tuple[AccountView, float], ...]:
    """Each account with the length of its bar, in percent of the longest."""
    most = max((account.non_compliant for account in accounts), default=1)
    return tuple((account, round(100 * account.non_compliant / most, 1)) for account in accounts)
