"""Reports as PDFs to read back: views at the edge of what there can be, and what other programs see of them."""

import io
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from html import unescape

import pikepdf
import pytest

from auditor.formats.pdf import printable, render_pdf
from auditor.formats.view import FindingView, ReportView, build_view
from tests.formats.sample_run import clean_run, empty_run, sample_run

THIEF = "<img src=file:///etc/passwd>"
ODD_NAMES = (
    *(
        THIEF,
        "</style><style>*{display:none}",
        "{{ 7*7 }}",
        "&lt;",
        "日本",
        "\u202egnp.exe\u202c",
        "a\x00b\tc\nd",
        "🙂",
    ),
    *("\ud800", "e\u0301\u0301", "zero\u200bwidth", "≤ → ✓", "Zoe\u0308 Łódź", "Αθήνα", "Москва"),
)


def sample() -> ReportView:
    """Everything once: every control, every kind of gap, hostile names."""
    return build_view(sample_run())


def odd() -> ReportView:
    """Names, owners and reasons that no font, no column and no template expects."""
    view = sample()
    usual = view.findings[1]
    strange = [replace(usual, user=f"u{n}", owner=name, reason=f"r{name}") for n, name in enumerate(ODD_NAMES)]
    longest = replace(
        usual,
        account_name="W" * 50,
        user="M" * 64,
        user_arn=f"arn:aws:iam::111122223333:user/{'p' * 510}/{'M' * 64}",
        access_key_id=f"AKIA{'Q' * 124}",
        last_used_service="s" * 60,
        owner="o" * 256,
        description="d" * 256,
        reason="r" * 300,
    )
    company = "日本 & <Sons>, a company with a long name " * 3
    return replace(view, organisation=company, findings=(longest, *strange, *view.findings))


def fullest() -> ReportView:
    """The most that page one can have to say."""
    view = sample()
    worst = [replace(view.accounts[0], account_name="W" * 50, non_compliant=count) for count in range(12345, 12337, -1)]
    headline = (
        "4.9 % of 349,123 judged access keys comply; 1,234 of 4,567 accounts not audited; "
        "1,234 keys of unknown outcome: between 3 % and 27 %."
    )
    sentences = (*(f"12,345 {sentence}" for sentence in view.sentences), "A further sentence, of just one line.")
    page = replace(view, worst_accounts=tuple(worst), headline=headline, sentences=sentences)
    return replace(page, findings=(), due_soon=())


VIEWS: dict[str, Callable[[], ReportView]] = {
    "sample": sample,
    "clean": lambda: build_view(clean_run()),
    "empty": lambda: build_view(empty_run()),
    "odd": odd,
    "fullest": fullest,
    "many": lambda: build_view(sample_run(users=25)),
}


@dataclass(frozen=True)
class Rendered:
    """A report, its bytes, and what was logged while they were made."""

    view: ReportView
    document: bytes
    log: tuple[str, ...]

    def open(self) -> pikepdf.Pdf:
        """The document as pikepdf reads it."""
        return pikepdf.open(io.BytesIO(self.document))

    def pages(self) -> list[str]:
        """The text of each page, cell by cell."""
        return pages_of(self.document)


@cache
def rendered(name: str, *, max_rows: int = 1000) -> Rendered:
    """One of `VIEWS` as a PDF, made once for all tests."""
    view = VIEWS[name]()
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("auditor.formats.pdf")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        document = render_pdf(view, max_rows=max_rows)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return Rendered(view, document, tuple(said.getvalue().splitlines()))


def poppler(document: bytes, program: str, *options: str) -> str:
    """What a program of poppler prints of a document; skips the test where poppler is missing, but not in CI."""
    if shutil.which(program) is None:
        message = f"{program} is missing: install poppler-utils"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    done = subprocess.run([program, *options, "-", "-"], input=document, capture_output=True, check=True)
    return done.stdout.decode()


def pages_of(document: bytes) -> list[str]:
    """The text of each page in the order in which it was painted."""
    return poppler(document, "pdftotext", "-raw", "-enc", "UTF-8").split("\f")[:-1]


def squeezed(text: str) -> str:
    """Text without white space, so that it does not matter where lines break."""
    return re.sub(r"\s", "", text)


def has_row(page: str, finding: FindingView) -> bool:
    """Whether the squeezed text of a page has the row of a finding, from its account to the end of its reason."""
    path, place = len(finding.user_arn), len(f"{finding.last_used_service}{finding.last_used_region}")
    key = finding.access_key_id or finding.credential_id or ("id not known" if finding.key_status else "")
    status = f"{finding.key_status or ''}{f', slot {finding.slot}' if finding.slot else ''}"
    mark = "" if finding.outcome == "non_compliant" else f"{finding.outcome.capitalize()}: "
    said = [finding.account_id + finding.user, key + status, mark + finding.control_title + finding.reason]
    first, second, third = (re.escape(squeezed(printable(text))) for text in said)
    return re.search(f"{first}.{{0,{path}}}?{second}.{{0,{place + 75}}}?{third}", page) is not None


def landscape(document: pikepdf.Pdf) -> list[int]:
    """Numbers of the pages, from 0, that lie on their side: those of the findings and what is due soon."""
    boxes = [[float(number) for number in page.mediabox] for page in document.pages]
    return [number for number, box in enumerate(boxes) if box[2] > box[3]]


def objects(document: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    """Every dictionary of a document."""
    for thing in document.objects:
        if isinstance(thing, pikepdf.Dictionary | pikepdf.Stream):
            yield thing


@dataclass(frozen=True)
class Word:
    """A word where it stands on a page, in points."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: "Word") -> bool:
        """Whether the two stand in each other's place, by more than touching."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > 1 and down > 0.5 * min(self.bottom - self.top, other.bottom - other.top)


def words_of(document: bytes) -> Iterator[tuple[float, float, list[Word]]]:
    """Width, height and words of each page."""
    for page in poppler(document, "pdftotext", "-bbox").split("<page ")[1:]:
        width, height = (float(number) for number in re.findall(r'(?:width|height)="([\d.]+)"', page)[:2])
        found = re.findall(r'<word xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)">(.*?)</word>', page)
        yield width, height, [Word(unescape(text), *map(float, box)) for *box, text in found]
