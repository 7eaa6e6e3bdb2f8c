"""Masked key ids: no whole id is left in what people read, nor in what it embeds or attaches."""

import base64
import binascii
import io
import json
import re
import string
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.formats.calendar import render_calendar
from auditor.formats.html import render_html
from auditor.formats.masking import NOTE, mask, masked
from auditor.formats.pdf import render_pdf
from auditor.formats.registry import FORMATS
from auditor.formats.view import FindingView, ReportView, build_view
from auditor.model import ControlId, Exemption, LimitRule, Scope
from tests.builders import ago
from tests.formats.pdf_reading import pages_of, squeezed
from tests.formats.sample_run import sample_run

RUN = sample_run()
VIEW = build_view(RUN)
FULL_ID = re.compile("(?:AKIA|ASIA|ACCA)[A-Z0-9]{12,}")

IDS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["AKIA", "ASIA", "ACCA"]),
        st.text(string.ascii_uppercase + string.digits, min_size=12, max_size=40),
    ),
)
AROUND = st.sampled_from(["", " ", "key ", "/", "-", "_", "arn:aws:iam::1:user/", "x", ".", "(", "é", "\n", "Q", "7"])
PLACES = ("user", "user_arn", "reason", "owner", "description", "limit", "account_name")


def with_ids(view: ReportView, ids: Sequence[str], around: str) -> ReportView:
    """The view with ids in fields of their own and in every text that somebody else writes."""
    base = replace(view.findings[0], due_at=view.manifest.as_of)
    found: list[FindingView] = [
        *(replace(base, access_key_id=key_id) for key_id in ids),
        *(replace(base, credential_id=key_id, access_key_id=None) for key_id in ids),
        *(replace(base, **{place: f"{around}{ids[0]}{around}"}) for place in PLACES),  # type: ignore[arg-type]
    ]
    text = f"{around}{ids[-1]}{around}"
    remediation = view.remediation
    assert remediation
    first, waiting = remediation.actions[0], remediation.pending[0]
    told = replace(first, access_key_id=ids[0], old_key_id=ids[-1], basis=(text,), evidence=text, detail=text)
    under_way = replace(waiting, access_key_id=ids[0], new_key_id=ids[-1], failed=text)
    missing = replace(view.not_audited[0], reason=text, next_step=f"aws iam delete-access-key --access-key-id {text}")
    return replace(
        view,
        findings=(*found, *view.findings),
        due_soon=(*found, *view.due_soon),
        upcoming=(*found, *view.upcoming),
        accounts=(replace(view.accounts[0], notes=(text,)), *view.accounts[1:]),
        not_audited=(missing, *view.not_audited[1:]),
        remediation=replace(remediation, actions=(told,), pending=(under_way,)),
        organisation=text,
    )


def unpacked(source: str) -> Iterator[str]:
    """A page as it is, its texts without escapes, and whatever is packed in it."""
    yield source
    yield unescape(source)
    for data in re.findall(r"<script[^>]*>(.*?)</script>", source, re.DOTALL):
        try:
            yield json.dumps(json.loads(data), ensure_ascii=False)
        except ValueError:
            yield data
    for packed in re.findall(r"[A-Za-z0-9+/_-]{40,}={0,2}", source):
        try:
            content = base64.b64decode(packed, altchars=b"-_" if {"-", "_"} & set(packed) else None)
        except binascii.Error:
            continue
        yield content.decode("latin-1")
        for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
            try:
                yield zlib.decompress(content, bits).decode(errors="replace")
            except zlib.error:
                continue


def attached(document: bytes) -> Iterator[str]:
    """What a PDF carries beside its pages: attachments, and what it says of itself."""
    with pikepdf.open(io.BytesIO(document)) as pdf:
        for name, spec in pdf.attachments.items():
            yield name
            yield spec.get_file().read_bytes().decode(errors="replace")
        yield str(dict(pdf.docinfo.items()))
        with pdf.open_metadata() as metadata:
            yield str(metadata)


def leaks(texts: Iterator[str], ids: Sequence[str]) -> list[str]:
    """Ids that stand whole in any of the texts, broken over lines or not."""
    return [key_id for text in texts for key_id in ids if key_id in text or key_id in squeezed(text)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(IDS, min_size=1, max_size=4, unique=True), AROUND)
def test_no_whole_id_is_left_in_page_and_calendar(ids: list[str], around: str) -> None:
    """Whatever it stands in, and what the page embeds for its script, sorting and CSV download included."""
    view = masked(with_ids(VIEW, ids, around))
    page = render_html(view).decode()
    assert leaks(unpacked(page), ids) == []
    assert all(mask(key_id) in page for key_id in ids)
    assert leaks(iter([render_calendar(view).replace(b"\r\n ", b"").decode()]), ids) == []


def test_no_whole_id_is_left_on_paper() -> None:
    """Nor in what a reader copies from it, nor in attachments, nor in the document's own description."""
    ids = ["AKIAQ2MASKEDMASKED7X", "ASIA0000111122223333", "ACCA" + "Z" * 60]
    document = render_pdf(masked(with_ids(VIEW, ids, " ")), max_rows=2000)
    text = squeezed(" ".join(pages_of(document)))
    assert leaks(iter([text, *attached(document)]), ids) == []
    assert all(mask(key_id) in text for key_id in ids)
    assert squeezed(NOTE) in text


def test_none_of_the_runs_own_ids_is_left() -> None:
    """Those of its tables, which have keys that no finding is about, and those that the policy names."""
    named = Scope(keys=("AKIAEXEMPTEXEMPT4711",))
    exemption = Exemption("e", ControlId.KEY_AGE, named, "r", "o", "a", "t", ago(9), ago(-90))
    limit = replace(VIEW.manifest.policy.key_age, maximum=timedelta(days=30))
    rule = LimitRule("r", ControlId.KEY_AGE, limit, named)
    policy = replace(VIEW.manifest.policy, exemptions=(exemption,), limits=(rule,))
    view = masked(build_view(replace(RUN, manifest=replace(RUN.manifest, policy=policy))))
    ids = sorted({*RUN.findings["access_key_id"].dropna(), *RUN.findings["credential_id"].dropna()})
    assert ids
    whole = render_html(VIEW).decode()
    assert [key_id for key_id in ids if key_id in whole]
    found = list(unpacked(render_html(view).decode()))
    assert leaks(iter(found), ids) == []
    assert not [text for text in found if FULL_ID.search(text)]
    assert "AKIA…4711" in found[0]


def test_an_id_that_looks_otherwise_is_masked_where_it_is_known_as_one() -> None:
    """AWS allows other letters in ids (IAM API reference); such a one is known by its field, and found in texts."""
    strange = "test_key_0123456789"
    finding = replace(VIEW.findings[0], access_key_id=strange, reason=f"See {strange}.")
    (shown, *_) = masked(replace(VIEW, findings=(finding,))).findings
    assert (shown.access_key_id, shown.reason) == ("test…6789", "See test…6789.")


def test_what_has_no_id_is_the_same() -> None:
    """Rows, numbers, times and the run's own facts are untouched; only the method says one thing more."""
    view = replace(VIEW, findings=(), due_soon=(), upcoming=(), remediation=None)
    shown = masked(view)
    assert replace(shown, method=view.method) == view
    assert shown.manifest is view.manifest


def test_keys_whose_masks_coincide_are_two_rows() -> None:
    """Slot, creation and use still tell them apart."""
    first = replace(VIEW.findings[0], access_key_id="AKIA000011112222AAAA", slot=1)
    second = replace(first, access_key_id="AKIA999988887777AAAA", slot=2)
    shown = masked(replace(VIEW, findings=(first, second))).findings
    assert shown[0].key == shown[1].key == "AKIA…AAAA"
    assert shown[0].subject != shown[1].subject


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_programs_and_auditors_get_whole_ids(name: str) -> None:
    """Masked are the formats that people look at, never those that something else goes on with."""
    assert FORMATS[name].is_for_people is (name in {"html", "pdf", "ics"})
