"""The credential report, for any table of users in any form, and for any bytes at all."""

import csv
import io
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.credential_report import ADDITIONAL_COLUMN, REQUIRED_COLUMNS, parse_credential_report
from auditor.credential_report.plain import read_plain
from auditor.credential_report.rows import read_rows
from auditor.errors import ReportFormatError
from auditor.model import (
    ROOT_USER,
    CredentialReport,
    KeyStatus,
    LastUsed,
    NeverUsed,
    ReportKey,
    ReportUser,
    UnknownUse,
    UsedAt,
)

SAMPLES = [
    path.read_bytes() for path in sorted((Path(__file__).parents[1] / "data" / "credential-reports").glob("*.csv"))
]
OPTIONAL_COLUMNS = (
    "password_next_rotation",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
LIVE_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
PLACE = re.compile(r"any, line [1-9][0-9]*(, column .+)?")


# ------------------------------------------------------------------------------------------------- any table of users


@dataclass(frozen=True)
class Form:
    """How a report is written: everything about it that must not matter to who reads it."""

    columns: Sequence[str]
    zone: str
    fraction: str
    boolean: Callable[[str], str]
    quoting: str
    newline: str
    end: str
    mark: bytes

    def instant(self, at: datetime | None) -> str:
        """A time as this report writes it."""
        if at is None:
            return "N/A"
        if self.zone in ("Z", "+00:00"):
            return at.strftime("%Y-%m-%dT%H:%M:%S") + self.fraction + self.zone
        sign = -1 if self.zone[0] == "-" else 1
        offset = sign * timedelta(hours=int(self.zone[1:3]), minutes=int(self.zone[4:6]))
        return at.astimezone(timezone(offset)).strftime("%Y-%m-%dT%H:%M:%S") + self.fraction + self.zone

    def use(self, last_used: LastUsed) -> str:
        """A last use as this report writes it."""
        match last_used:
            case UsedAt(at):
                return self.instant(at)
            case NeverUsed():
                return "N/A"
            case UnknownUse(why):
                return why.rpartition(" ")[2]

    def truth(self, value: bool | None) -> str:  # noqa: FBT001 - a cell's value
        """A boolean as this report writes it."""
        return "not_supported" if value is None else self.boolean(str(value))


def cells_of(user: ReportUser, form: Form) -> Mapping[str, str]:
    """A user's row; columns that are not known hold text of which some looks like other cells."""
    cells = {
        "user": user.name,
        "arn": user.arn,
        "user_creation_time": form.instant(user.created_at),
        "password_enabled": form.truth(user.password_enabled),
        "password_last_used": form.use(user.password_last_used),
        "password_last_changed": form.instant(user.password_changed_at),
        "password_next_rotation": "not_supported" if user.is_root else "N/A",
        "mfa_active": form.truth(user.mfa_active),
        "cert_1_active": form.truth(user.active_certificates > 1),
        "cert_1_last_rotated": form.instant(user.created_at),
        "cert_2_active": form.truth(user.active_certificates > 0),
        "cert_2_last_rotated": "N/A",
        ADDITIONAL_COLUMN: user.additional_credentials or "",
    }
    by_slot = {key.slot: key for key in user.keys}
    for slot in (1, 2):
        key = by_slot.get(slot)
        use = key.last_used if key else NeverUsed()
        cells |= {
            f"access_key_{slot}_active": form.truth(key is not None and key.status is KeyStatus.ACTIVE),
            f"access_key_{slot}_last_rotated": form.instant(key.created_at if key else None),
            f"access_key_{slot}_last_used_date": form.use(use),
            f"access_key_{slot}_last_used_region": (use.region or "N/A") if isinstance(use, UsedAt) else "N/A",
            f"access_key_{slot}_last_used_service": (use.service or "N/A") if isinstance(use, UsedAt) else "N/A",
        }
    return cells


def written(users: Sequence[ReportUser], form: Form) -> bytes:
    """The users as the bytes of a report of this form."""
    unknown = dict.fromkeys(form.columns, 'x, "y"\n' if form.quoting != "none" else "true")
    rows = [form.columns, *([{**unknown, **cells_of(user, form)}[name] for name in form.columns] for user in users)]
    text = io.StringIO()
    if form.quoting == "none":
        text.write("".join(",".join(cells) + form.newline for cells in rows))
    else:
        writer = csv.writer(
            text, quoting=csv.QUOTE_ALL if form.quoting == "all" else csv.QUOTE_MINIMAL, lineterminator=form.newline
        )
        writer.writerows(rows)
    return form.mark + text.getvalue().removesuffix(form.newline).encode() + form.end.encode()


@st.composite
def forms(draw: st.DrawFn) -> Form:
    """Any way to write a report; names without quotes keep user and ARN side by side, as AWS does."""
    quoting = draw(st.sampled_from(["minimal", "all", "none"]))
    unknown = draw(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=4), unique=True, max_size=3))
    optional = draw(st.lists(st.sampled_from((*OPTIONAL_COLUMNS, ADDITIONAL_COLUMN)), unique=True))
    rest = draw(st.permutations([*REQUIRED_COLUMNS[2:], *optional, *(f"{name}_new" for name in unknown)]))
    split = draw(st.integers(0, len(rest)))
    pair = draw(st.permutations(REQUIRED_COLUMNS[:2]))
    columns = [*rest[:split], *pair, *rest[split:]]
    if quoting != "none":
        columns = draw(st.permutations(columns))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return Form(
        columns=columns,
        zone=draw(st.sampled_from(["Z", "+00:00", "+05:45", "-08:00", "+14:00"])),
        fraction=draw(st.sampled_from(["", "", ".5", ".123456", ".999999999"])),
        boolean=draw(st.sampled_from([str.lower, str.upper, str.capitalize])),
        quoting=quoting,
        newline=newline,
        end=draw(st.sampled_from(["", newline, newline * 3])),
        mark=draw(st.sampled_from([b"", b"\xef\xbb\xbf"])),
    )


NAMES = st.text(string.ascii_letters + string.digits + "_+=,.@-", min_size=1, max_size=64)
PATH_PARTS = st.text(string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~", min_size=1, max_size=20)
PATHS = st.lists(PATH_PARTS, max_size=3).map(lambda parts: "".join(f"{part}/" for part in parts))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda at: at.replace(microsecond=0)
)
WORDS = st.none() | st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=12)
UNKNOWN = st.sampled_from(["no_information", "not_supported"]).map(
    lambda marker: UnknownUse(f"the credential report says {marker}")
)
USES: st.SearchStrategy[LastUsed] = st.builds(NeverUsed) | st.builds(UsedAt, TIMES, WORDS, WORDS) | UNKNOWN
PASSWORD_USES: st.SearchStrategy[LastUsed] = (
    st.builds(NeverUsed) | st.builds(UsedAt, TIMES) | st.just(UnknownUse("the credential report says not_supported"))
)


@st.composite
def slot_keys(draw: st.DrawFn, slot: int) -> tuple[ReportKey, ...]:
    """What one slot may hold: nothing, or a key; only an active or a used one may lack its date."""
    if draw(st.booleans()):
        return ()
    status = draw(st.sampled_from([KeyStatus.ACTIVE, KeyStatus.INACTIVE]))
    use = draw(USES)
    dateless = status is KeyStatus.ACTIVE or isinstance(use, UsedAt)
    return (ReportKey(slot, status, draw(st.none() | TIMES if dateless else TIMES), use),)


@st.composite
def tables(draw: st.DrawFn) -> CredentialReport:
    """Any report of one account, with or without the root row."""
    account = draw(st.text(string.digits, min_size=12, max_size=12))
    partition = draw(st.sampled_from(["aws", "aws-cn", "aws-us-gov", "aws-iso-b", "aws-eusc"]))
    names = draw(st.lists(NAMES, unique_by=str.lower, max_size=4))
    if draw(st.booleans()) or not names:
        names.insert(draw(st.integers(0, len(names))), ROOT_USER)
    users = []
    for name in names:
        resource = "root" if name == ROOT_USER else f"user/{draw(PATHS)}{name}"
        users.append(
            ReportUser(
                name=name,
                arn=f"arn:{partition}:iam::{account}:{resource}",
                created_at=draw(TIMES),
                keys=(*draw(slot_keys(1)), *draw(slot_keys(2))),
                password_enabled=draw(st.none() | st.booleans()),
                password_last_used=draw(PASSWORD_USES),
                password_changed_at=draw(st.none() | TIMES),
                mfa_active=draw(st.none() | st.booleans()),
                active_certificates=draw(st.integers(0, 2)),
                additional_credentials=draw(st.none() | st.just("2 more access keys")),
            )
        )
    return CredentialReport(account, partition, tuple(users), has_additional_column=True)


def as_told_by(form: Form, report: CredentialReport) -> CredentialReport:
    """The report without what the form has no column for."""
    has_additional = ADDITIONAL_COLUMN in form.columns
    certificates = [column in form.columns for column in ("cert_2_active", "cert_1_active")]
    users = tuple(
        replace(
            user,
            active_certificates=sum(certificates[: user.active_certificates]),
            additional_credentials=user.additional_credentials if has_additional else None,
        )
        for user in report.users
    )
    return replace(report, users=users, has_additional_column=has_additional)


@settings(deadline=None)
@given(report=tables(), form=forms())
def test_any_table_round_trips(report: CredentialReport, form: Form) -> None:
    """The same users come out, however the report was written."""
    content = written(report.users, form)
    assert parse_credential_report(content, origin="any", expected_account=report.account_id) == as_told_by(
        form, report
    )


# ------------------------------------------------------------------------------------------------- any bytes


def tried(content: bytes) -> CredentialReport | ReportFormatError:
    """The records, which are whole, or the refusal, which has a place and is one printable line."""
    try:
        report = parse_credential_report(content, origin="any")
    except ReportFormatError as error:
        refusal = error
    else:
        prefix = f"arn:{report.partition}:iam::{report.account_id}:"
        assert report.users
        assert all(user.arn.startswith(prefix) for user in report.users)
        assert len({user.name.lower() for user in report.users}) == len(report.users)
        return report
    assert PLACE.fullmatch(refusal.where), refusal.where
    assert str(refusal).isprintable()
    return refusal


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes(content: bytes) -> None:
    """Bytes that are no report get our refusal, never another exception."""
    assert isinstance(tried(content), ReportFormatError)


CELLS = st.sampled_from(
    [
        *("true", "false", "N/A", "no_information", "not_supported", "", '"', "a", "a,b", "\n", "\r\n"),
        *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ROOT_USER),
        *("arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/a"),
    ]
)


@settings(deadline=None)
@given(st.lists(CELLS | st.text(max_size=8), max_size=60).map(",".join))
def test_any_text_under_a_header(text: str) -> None:
    """Under a good header too, any text gives records or our refusal."""
    tried(f"{','.join(LIVE_COLUMNS)}\n{text}".encode())


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ROOT_USER]),
            st.lists(CELLS, min_size=len(LIVE_COLUMNS) - 2, max_size=len(LIVE_COLUMNS) - 2),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_cells_beside_a_good_arn(rows: list[tuple[str, list[str]]]) -> None:
    """Rows of the right length with any cells give records or our refusal."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(LIVE_COLUMNS)
    for user, cells in rows:
        resource = "root" if user == ROOT_USER else f"user/{user}"
        writer.writerow([user, f"arn:aws:iam::111122223333:{resource}", *cells])
    tried(text.getvalue().encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good report with one byte changed, removed or added, or cut off."""
    content = draw(st.sampled_from(SAMPLES))
    position = draw(st.integers(0, len(content) - 1))
    byte = draw(st.binary(min_size=1, max_size=1) | st.sampled_from([b",", b'"', b"\n", b"\r", b"\0", b"/", b":"]))
    return draw(
        st.sampled_from(
            [
                content[:position] + byte + content[position + 1 :],
                content[:position] + content[position + 1 :],
                content[:position] + byte + content[position:],
                content[:position],
            ]
        )
    )


@settings(deadline=None, max_examples=400)
@given(damaged())
def test_any_damage(content: bytes) -> None:
    """A damaged report gives records or our refusal."""
    tried(content)


@settings(deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_line_twice_or_gone(content: bytes, data: st.DataObject) -> None:
    """A line that stands twice is refused; without one, its user is missing and nothing else changes."""
    whole = tried(content)
    assert isinstance(whole, CredentialReport)
    lines = content.split(b"\n")[: len(whole.users) + 1]
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(1, len(lines)))
    assert isinstance(tried(b"\n".join([*lines[:place], lines[number], *lines[place:]])), ReportFormatError)
    fewer = tried(b"\n".join(lines[:number] + lines[number + 1 :]))
    if number == 0:
        assert isinstance(fewer, ReportFormatError)
    else:
        assert isinstance(fewer, CredentialReport)
        assert fewer.users == (*whole.users[: number - 1], *whole.users[number:])


# ------------------------------------------------------------------------------------------------- the plain form


PLAIN = Form(LIVE_COLUMNS, "Z", "", str.lower, "none", "\n", "", b"")
PLAIN_TABLES = tables().filter(lambda report: not any("," in user.arn for user in report.users))
BYTES = st.binary(min_size=1, max_size=1) | st.sampled_from(
    [b",", b'"', b"\n", b"\r", b"\0", b"\x7f", b"\x1f", b"/", b":", b"0", b"9", b"Z", b"N/A", b"true", b"\xc3\xa9"]
)


@settings(deadline=None)
@given(PLAIN_TABLES, st.booleans())
def test_the_plain_form_is_read_by_columns(report: CredentialReport, additional: bool) -> None:  # noqa: FBT001
    """Whatever AWS may write in its plain form is read at once, and just as the row parser reads it."""
    columns = (*LIVE_COLUMNS, ADDITIONAL_COLUMN) if additional else LIVE_COLUMNS
    content = written(report.users, replace(PLAIN, columns=columns))
    at_once = read_plain(content)
    assert at_once is not None
    assert at_once == read_rows(content, "any", None) == as_told_by(replace(PLAIN, columns=columns), report)


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A plain report in which bytes or cells were changed, removed, added or swapped."""
    content = draw(st.sampled_from(SAMPLES) | PLAIN_TABLES.map(lambda report: written(report.users, PLAIN)))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(content)))
        content = content[:position] + draw(BYTES | st.just(b"")) + content[position + draw(st.integers(0, 2)) :]
    for _ in range(draw(st.integers(0, 2))):
        cells = re.split(rb"([,\n])", content)
        one, other = (draw(st.integers(0, (len(cells) - 1) // 2)) * 2 for _ in range(2))
        cells[one] = draw(st.sampled_from([cells[other], *map(str.encode, CELL_WORDS)]))
        content = b"".join(cells)
    return content


CELL_WORDS = ("true", "TRUE", "false", "N/A", "no_information", "not_supported", "", "2026-02-30T00:00:00Z", "a")


@settings(deadline=None, max_examples=1000)
@given(nearly_plain())
def test_both_ways_of_reading_agree(content: bytes) -> None:
    """What is read at once is what the row parser reads; where the row parser refuses, nothing is read at once."""
    at_once = read_plain(content)
    if at_once is not None:
        assert at_once == read_rows(content, "any", None)
