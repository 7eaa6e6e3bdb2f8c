"""The credential report's bytes: every form that AWS and its stand-ins write, and every damage that is refused."""

import csv
import io
import pickle
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.credential_report import (
    ADDITIONAL_COLUMN,
    REQUIRED_COLUMNS,
    WrongAccountError,
    parse_credential_report,
)
from auditor.credential_report.plain import read_plain
from auditor.errors import ReportFormatError
from auditor.model import (
    CredentialReport,
    KeyStatus,
    LastUsed,
    NeverUsed,
    ReportKey,
    ReportUser,
    UnknownUse,
    UsedAt,
)

SAMPLES = sorted((Path(__file__).parent / "data" / "credential-reports").glob("*.csv"))
ACCOUNT = "111122223333"
COLUMNS = (
    *REQUIRED_COLUMNS[:6],
    "password_next_rotation",
    *REQUIRED_COLUMNS[6:],
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
HEADER = ",".join(COLUMNS)


def at(text: str) -> datetime:
    """An instant of the expected records, given as UTC without its zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def row(user: str = "alice", **changes: str) -> dict[str, str]:
    """A user without password, key, MFA device or certificate, but for the changes; `path` goes into the ARN."""
    path = changes.pop("path", "")
    slots = {
        f"access_key_{slot}_{column}": value
        for slot in (1, 2)
        for column, value in (
            ("active", "false"),
            ("last_rotated", "N/A"),
            ("last_used_date", "N/A"),
            ("last_used_region", "N/A"),
            ("last_used_service", "N/A"),
        )
    }
    return {
        "user": user,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{path}{user}",
        "user_creation_time": "2024-01-02T03:04:05Z",
        "password_enabled": "false",
        "password_last_used": "N/A",
        "password_last_changed": "N/A",
        "password_next_rotation": "N/A",
        "mfa_active": "false",
        **slots,
        "cert_1_active": "false",
        "cert_1_last_rotated": "N/A",
        "cert_2_active": "false",
        "cert_2_last_rotated": "N/A",
        **changes,
    }


def root(**changes: str) -> dict[str, str]:
    """The root user's row."""
    return row("<root_account>", **{"arn": f"arn:aws:iam::{ACCOUNT}:root", **changes})


def written(*rows: Mapping[str, str], columns: Sequence[str] = COLUMNS, newline: str = "\n") -> bytes:
    """The rows as a credential report, quoted where CSV asks for it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator=newline, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def raw(*lines: str) -> bytes:
    """Lines as they are, under the usual header."""
    return "\n".join((HEADER, *lines)).encode()


def line_of(cells: Mapping[str, str]) -> str:
    """A row as a line in which nothing is quoted."""
    return ",".join(cells[column] for column in COLUMNS)


def parsed(content: bytes, expected_account: str | None = None) -> CredentialReport:
    """The records in the bytes."""
    return parse_credential_report(content, origin="r.csv", expected_account=expected_account)


def only_user(content: bytes) -> ReportUser:
    """The one user of a report."""
    (user,) = parsed(content).users
    return user


def refusal(content: bytes, expected_account: str | None = None) -> ReportFormatError:
    """Why the bytes are refused; every refusal is one printable line and says what to do next."""
    with pytest.raises(ReportFormatError) as caught:
        parsed(content, expected_account)
    assert str(caught.value).isprintable()
    assert caught.value.what.endswith(".")
    assert caught.value.next_step
    return caught.value


# ------------------------------------------------------------------------------------------------- whole reports


def sample(name: str) -> bytes:
    """A report in tests/data, by its name without the ending."""
    return next(path for path in SAMPLES if path.stem == name).read_bytes()


def test_report_of_2026() -> None:
    """The form that AWS writes today: 22 columns, `Z`, root's password true, no newline at the end."""
    content = sample("aws-2026")
    assert not content.endswith(b"\n")
    arn = "arn:aws:iam::111122223333:"
    backup_keys = (
        ReportKey(
            1, KeyStatus.ACTIVE, at("2025-02-03T04:05:07"), UsedAt(at("2026-09-11T00:30:00"), service="s3", region=None)
        ),
        ReportKey(2, KeyStatus.INACTIVE, at("2023-02-03T04:05:07"), NeverUsed()),
    )
    same_second = at("2025-03-04T05:06:08")
    assert parsed(content, ACCOUNT) == CredentialReport(
        ACCOUNT,
        "aws",
        (
            ReportUser(
                "<root_account>",
                arn + "root",
                at("2019-05-06T07:08:09"),
                (),
                password_enabled=True,
                password_last_used=UsedAt(at("2026-08-30T11:22:33")),
                password_changed_at=at("2019-05-06T07:10:00"),
                mfa_active=True,
            ),
            ReportUser(
                "alice",
                arn + "user/alice",
                at("2024-01-02T03:04:05"),
                (
                    ReportKey(
                        1,
                        KeyStatus.ACTIVE,
                        at("2026-07-01T08:00:01"),
                        UsedAt(at("2026-09-10T14:05:00"), "sts", "eu-central-1"),
                    ),
                ),
                password_enabled=True,
                password_last_used=NeverUsed(),
                password_changed_at=at("2024-01-02T03:04:06"),
                mfa_active=True,
            ),
            ReportUser(
                "Backup@Example.com",
                arn + "user/service/night/Backup@Example.com",
                at("2023-02-03T04:05:06"),
                backup_keys,
                password_enabled=False,
                mfa_active=False,
                active_certificates=1,
            ),
            ReportUser(
                "ci+deploy=prod",
                arn + "user/ci+deploy=prod",
                at("2025-03-04T05:06:07"),
                (
                    ReportKey(
                        1, KeyStatus.INACTIVE, same_second, UsedAt(at("2026-06-01T10:15:00"), "ec2", "us-east-1")
                    ),
                    ReportKey(2, KeyStatus.ACTIVE, same_second, NeverUsed()),
                ),
                password_enabled=False,
                mfa_active=False,
            ),
            ReportUser(
                "no-keys",
                arn + "user/no-keys",
                at("2026-04-05T06:07:08"),
                (),
                password_enabled=True,
                password_last_used=UsedAt(at("2026-09-01T09:00:00")),
                password_changed_at=at("2026-04-05T06:07:09"),
                mfa_active=False,
            ),
        ),
        has_additional_column=False,
    )


def test_report_of_2016() -> None:
    """The old form: `+00:00`, `not_supported` in the root row, and an inactive root key that kept its date."""
    report = parsed(sample("aws-2016"))
    assert report.root is not None
    assert report.root.password_enabled is None
    assert report.root.password_changed_at is None
    assert report.root.password_last_used == UsedAt(at("2016-03-04T05:06:07"))
    assert report.root.keys == (ReportKey(1, KeyStatus.INACTIVE, at("2007-01-02T03:10:00"), NeverUsed()),)
    assert report.users[1].created_at == at("2015-06-07T08:09:10")
    assert [key.created_at for key in report.users[1].keys] == [at("2016-02-01T00:00:01"), at("2015-06-07T08:10:00")]


def test_report_as_in_the_guide() -> None:
    """The form of the User Guide: `TRUE` and `FALSE`, and a 23rd column that counts what two slots cannot show."""
    report = parsed(sample("guide"))
    assert report.has_additional_column
    assert [user.additional_credentials for user in report.users] == [
        None,
        "6 more access keys, to list them call ListAccessKeys",
    ]
    assert [key.status for key in report.users[1].keys] == [KeyStatus.ACTIVE, KeyStatus.ACTIVE]


def test_report_of_moto() -> None:
    """The stand-in's form: no root row, `not_supported` for service and Region, also where a key was used."""
    report = parsed(sample("moto"))
    assert report.root is None
    carol, dave = report.users
    assert carol.keys == (
        ReportKey(1, KeyStatus.ACTIVE, at("2026-10-01T12:00:05"), UsedAt(at("2026-10-02T13:14:15"))),
        ReportKey(2, KeyStatus.INACTIVE, at("2026-10-01T12:00:06"), NeverUsed()),
    )
    assert carol.password_last_used == UnknownUse("the credential report says not_supported")
    assert dave.keys == ()


@pytest.mark.parametrize(
    ("name", "partition"), [("china", "aws-cn"), ("govcloud", "aws-us-gov"), ("sovereign", "aws-eusc")]
)
def test_partition(name: str, partition: str) -> None:
    """The partition comes from the ARNs, those that are not known yet included."""
    report = parsed(sample(name), "444455556666")
    assert (report.partition, report.account_id, len(report.users)) == (partition, "444455556666", 2)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("aws-2026", True), ("china", True), ("govcloud", True), ("aws-2016", False), ("guide", False), ("moto", False)],
)
def test_the_form_of_today_is_read_by_columns(name: str, *, plain: bool) -> None:
    """What AWS writes today takes the fast way; older and other forms go row by row."""
    assert (read_plain(sample(name)) is not None) == plain


@pytest.mark.parametrize("longest", [2_000, 2_001])
def test_a_long_header_is_read_whole(longest: int) -> None:
    """The fast way reads no header in part, however long it is."""
    strange = "x" * (longest - len(HEADER) - 1)
    columns = (*COLUMNS, strange)
    content = written(root(), {**row(), strange: "true"}, columns=columns)
    assert [user.name for user in parsed(content).users] == ["<root_account>", "alice"]
    assert (read_plain(content) is not None) == (longest == 2_000)


# ------------------------------------------------------------------------------------------------- forms of the file


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_same_records_in_any_file_form(path: Path) -> None:
    """BOM, CRLF, a final newline or blank lines after it change nothing."""
    content = path.read_bytes()
    report = parsed(content)
    assert parsed(b"\xef\xbb\xbf" + content) == report
    assert parsed(content.replace(b"\n", b"\r\n")) == report
    assert parsed(content.rstrip(b"\n")) == report
    assert parsed(content + b"\n") == report
    assert parsed(content + b"\r\n\n\n") == report


@pytest.mark.parametrize("dialect", [csv.excel, csv.unix_dialect], ids=["as needed", "all quoted"])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_same_records_in_any_column_order(path: Path, dialect: type[csv.Dialect]) -> None:
    """Columns are read by name: turned round, quoted, and with unknown ones between them."""
    content = path.read_bytes()
    rows = [
        [*reversed(cells[1:]), f"new, {number}\nin AWS", cells[0]]
        for number, cells in enumerate(csv.reader(io.StringIO(content.decode(), newline="")))
    ]
    text = io.StringIO()
    csv.writer(text, dialect).writerows(rows)
    assert parsed(text.getvalue().encode()) == parsed(content)


def test_certificates_are_optional() -> None:
    """A report without the columns that nothing needs is read."""
    user = only_user(written(row(access_key_1_active="true"), columns=REQUIRED_COLUMNS))
    assert user.active_certificates == 0
    assert len(user.keys) == 1


@pytest.mark.parametrize("name", [path.stem for path in SAMPLES if path.stem != "guide"])
def test_cut_off_anywhere(name: str) -> None:
    """A report that ends within a row is refused; after a row, it holds the rows up to there.

    Not so where free text comes last, as in the guide's form: a cut through that cannot be seen.
    """
    content = sample(name)
    users = parsed(content).users
    lines = content.removesuffix(b"\n").split(b"\n")
    whole = {b"\n".join(lines[: count + 1]): count for count in range(1, len(lines))}
    for length in range(len(content)):
        start = content[:length]
        count = whole.get(start.removesuffix(b"\n"))
        if count is None:
            refusal(start)
        else:
            assert parsed(start).users == users[:count]


# ------------------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("TRUE", True),
        ("True", True),
        ("false", False),
        ("FALSE", False),
        ("False", False),
        ("not_supported", None),
        ("N/A", None),
    ],
)
def test_booleans(text: str, value: bool | None) -> None:  # noqa: FBT001 - a table's column
    """Booleans are compared without case; where AWS has no answer there is none."""
    user = only_user(written(row(password_enabled=text, mfa_active=text)))
    assert (user.password_enabled, user.mfa_active) == (value, value)


@pytest.mark.parametrize("text", ["TRUE", "True", "true"])
def test_active_key_in_any_case(text: str) -> None:
    """A key is active in any spelling of true."""
    user = only_user(written(row(access_key_2_active=text, access_key_2_last_rotated="2026-01-01T00:00:00Z")))
    assert user.keys == (ReportKey(2, KeyStatus.ACTIVE, at("2026-01-01T00:00:00"), NeverUsed()),)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00-00:00", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00+0000", "2026-03-01T12:00:00"),
        ("2026-03-01T00:30:00+05:45", "2026-02-28T18:45:00"),
        ("2026-03-01T12:00:00-08:00", "2026-03-01T20:00:00"),
        ("2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00"),
        ("2026-03-01T12:00:00.999999999+00:00", "2026-03-01T12:00:00"),
    ],
)
def test_instants(text: str, instant: str) -> None:
    """Times come in any offset and leave in UTC, cut to whole seconds."""
    user = only_user(
        written(row(user_creation_time=text, access_key_1_last_rotated=text, access_key_1_last_used_date=text))
    )
    assert user.created_at == at(instant)
    assert user.created_at.tzinfo is UTC
    assert user.keys == (ReportKey(1, KeyStatus.INACTIVE, at(instant), UsedAt(at(instant))),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "never",
        "n/a",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-03-01 12:00:00+00:00",
        "2026-03-01T12:00:00z",
        "2026-03-01T12:00:00 Z",
        "2026-03-01T12Z",
        "20260301T120000Z",
        "2026-W09-7T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-01T24:00:00.0Z",
        "2026-03-01T12:00:00+24:00",
        "2026-03-01T12:00:00Zulu",
        "\uff12\uff10\uff12\uff16-03-01T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "99999999999999999999",
        "1767225600",
        "01/03/2026 12:00",
        "true",
        "x" * 10_000,
    ],
)
@pytest.mark.parametrize(
    "column",
    [
        "user_creation_time",
        "password_last_used",
        "password_last_changed",
        "password_next_rotation",
        "access_key_1_last_rotated",
        "access_key_2_last_used_date",
        "cert_1_last_rotated",
    ],
)
def test_unreadable_instants(column: str, text: str) -> None:
    """What is not a whole time with a zone is refused with its place, in columns that nothing needs too."""
    error = refusal(written(root(), row(**{column: text})))
    assert error.where == f"r.csv, line 3, column {column}"
    assert "is not a time that can be read" in error.what
    assert len(error.what) < 300


@pytest.mark.parametrize("text", ["", "yes", "1", "tru", " true", "Active", "2026-01-01T00:00:00Z"])
@pytest.mark.parametrize("column", ["password_enabled", "mfa_active", "access_key_1_active", "cert_2_active"])
def test_unreadable_booleans(column: str, text: str) -> None:
    """What is neither true nor false is refused with its place."""
    error = refusal(written(root(), row(**{column: text})))
    assert error.where == f"r.csv, line 3, column {column}"
    assert error.what == f"{text!r} is neither true nor false."


# ------------------------------------------------------------------------------------------------- keys and their use


@pytest.mark.parametrize(
    ("active", "rotated", "used", "expected"),
    [
        ("false", "N/A", "N/A", None),
        ("FALSE", "N/A", "N/A", None),
        ("false", "N/A", "no_information", None),
        ("false", "2026-01-01T00:00:00Z", "N/A", (KeyStatus.INACTIVE, at("2026-01-01"), NeverUsed())),
        ("true", "2026-01-01T00:00:00Z", "N/A", (KeyStatus.ACTIVE, at("2026-01-01"), NeverUsed())),
        ("true", "N/A", "N/A", (KeyStatus.ACTIVE, None, NeverUsed())),
        ("true", "not_supported", "N/A", (KeyStatus.ACTIVE, None, NeverUsed())),
        ("false", "N/A", "2026-02-01T00:00:00Z", (KeyStatus.INACTIVE, None, UsedAt(at("2026-02-01")))),
        (
            "true",
            "2026-01-01T00:00:00Z",
            "no_information",
            (KeyStatus.ACTIVE, at("2026-01-01"), UnknownUse("the credential report says no_information")),
        ),
        (
            "true",
            "2026-01-01T00:00:00Z",
            "not_supported",
            (KeyStatus.ACTIVE, at("2026-01-01"), UnknownUse("the credential report says not_supported")),
        ),
    ],
)
@pytest.mark.parametrize("slot", [1, 2])
def test_slots(
    slot: int, active: str, rotated: str, used: str, expected: tuple[KeyStatus, datetime | None, LastUsed] | None
) -> None:
    """A slot holds a key if it is active or has any date; never used and unknown stay two things."""
    user = only_user(
        written(
            row(
                **{
                    f"access_key_{slot}_active": active,
                    f"access_key_{slot}_last_rotated": rotated,
                    f"access_key_{slot}_last_used_date": used,
                }
            )
        )
    )
    assert user.keys == (() if expected is None else (ReportKey(slot, *expected),))


@pytest.mark.parametrize("marker", ["no_information", "not_supported"])
def test_slot_that_may_be_empty(marker: str) -> None:
    """Neither active nor said to have no date: whether there is a key stays open, so the report is refused."""
    error = refusal(written(row(access_key_1_last_rotated=marker)))
    assert error.where == "r.csv, line 2, column access_key_1_last_rotated"
    assert "leaves open whether there is a key" in error.what


@pytest.mark.parametrize("marker", ["N/A", "no_information", "not_supported"])
def test_active_is_never_a_marker(marker: str) -> None:
    """A key is active or not; AWS has no third word for it."""
    error = refusal(written(row(access_key_2_active=marker)))
    assert error.where == "r.csv, line 2, column access_key_2_active"


@pytest.mark.parametrize(
    ("service", "region", "expected"),
    [
        ("s3", "N/A", ("s3", None)),
        ("ec2", "us-east-1", ("ec2", "us-east-1")),
        ("not_supported", "not_supported", (None, None)),
        ("N/A", "N/A", (None, None)),
        ("", "", (None, None)),
    ],
)
def test_service_and_region(service: str, region: str, expected: tuple[str | None, str | None]) -> None:
    """Only the date says whether a key was used; service and Region may be missing."""
    changes = {"access_key_1_last_used_service": service, "access_key_1_last_used_region": region}
    used = row(access_key_1_active="true", access_key_1_last_used_date="2026-02-01T00:00:00Z", **changes)
    assert only_user(written(used)).keys[0].last_used == UsedAt(at("2026-02-01"), *expected)
    never = row(access_key_1_active="true", **changes)
    assert only_user(written(never)).keys[0].last_used == NeverUsed()


def test_slots_do_not_leak() -> None:
    """A slot is read from its own five columns alone."""
    user = only_user(
        written(
            row(
                access_key_1_active="true",
                access_key_1_last_rotated="2026-01-01T00:00:00Z",
                access_key_1_last_used_date="2026-01-11T00:00:00Z",
                access_key_1_last_used_region="us-east-1",
                access_key_1_last_used_service="ec2",
                access_key_2_active="false",
                access_key_2_last_rotated="2026-02-02T00:00:00Z",
                access_key_2_last_used_date="2026-02-22T00:00:00Z",
                access_key_2_last_used_region="eu-west-1",
                access_key_2_last_used_service="sqs",
            )
        )
    )
    assert user.keys == (
        ReportKey(1, KeyStatus.ACTIVE, at("2026-01-01"), UsedAt(at("2026-01-11"), "ec2", "us-east-1")),
        ReportKey(2, KeyStatus.INACTIVE, at("2026-02-02"), UsedAt(at("2026-02-22"), "sqs", "eu-west-1")),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-01T00:00:00Z", UsedAt(at("2026-02-01"))),
        ("no_information", NeverUsed()),
        ("N/A", NeverUsed()),
        ("not_supported", UnknownUse("the credential report says not_supported")),
    ],
)
def test_password_last_used(text: str, expected: LastUsed) -> None:
    """`no_information` and `N/A` mean that AWS has no use on record; `not_supported` means that it cannot say."""
    assert only_user(written(row(password_last_used=text))).password_last_used == expected


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [("false", "false", 0), ("true", "false", 1), ("FALSE", "TRUE", 1), ("true", "true", 2), ("N/A", "true", 1)],
)
def test_active_certificates(first: str, second: str, count: int) -> None:
    """Signing certificates are counted where they are active."""
    assert only_user(written(row(cert_1_active=first, cert_2_active=second))).active_certificates == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("N/A", None), ("not_supported", None), ("1 more: ListAccessKeys", "1 more: ListAccessKeys")],
)
def test_additional_credentials(text: str, expected: str | None) -> None:
    """The 23rd column's text is kept as it is, since AWS does not document its form."""
    user = only_user(written(row(**{ADDITIONAL_COLUMN: text}), columns=(*COLUMNS, ADDITIONAL_COLUMN)))
    assert user.additional_credentials == expected


# ------------------------------------------------------------------------------------------------- names and ARNs


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ("a", ""),
        ("=cmd+1@corp.example", ""),
        ("-_.,=+@", ""),
        ("x" * 64, "a/" * 200),
        ("bob", "team/x/"),
        ("bob", "root/"),
        ("root", ""),
        ("user", "user/"),
        ("bob", 'we,ird"/pa:th//'),
        ("a,b", "c,d/"),
        ("josé maría", ""),
    ],
)
def test_names_and_paths(user: str, path: str) -> None:
    """Any name that IAM allows, under any path, is read whole."""
    read = only_user(written(row(user, path=path)))
    assert (read.name, read.arn) == (user, f"arn:aws:iam::{ACCOUNT}:user/{path}{user}")
    assert not read.is_root


@pytest.mark.parametrize(
    ("user", "path"),
    [("a,b", ""), (",", ""), (",a,,b,", ""), ("a,a", "x/y/"), ("last, first", ""), ("a,b", "c,d/e,/"), ("a", "c,d/")],
)
def test_comma_not_quoted(user: str, path: str) -> None:
    """A comma that was not quoted splits `user` and `arn`; the ARN tells how they were."""
    cells = row(user, path=path, access_key_1_active="true")
    report = parsed(raw(line_of(root()), line_of(cells), line_of(row("zoe"))))
    assert report.users[1] == only_user(written(cells))
    assert [read.name for read in report.users] == ["<root_account>", user, "zoe"]


def test_comma_quoted_in_one_of_the_two() -> None:
    """The ARN tells too where only one of the two was quoted."""
    cells = row("a,b")
    assert only_user(raw(line_of({**cells, "user": '"a,b"'}))).name == "a,b"
    assert only_user(raw(line_of({**cells, "arn": f'"{cells["arn"]}"'}))).name == "a,b"


def test_comma_with_two_readings() -> None:
    """A split row that can be put together in two ways is refused, though one of them looks odd."""
    columns = tuple(dict.fromkeys(("arn", "password_last_changed", "user", *COLUMNS)))
    cells = row("x,A")
    content = "\n".join((",".join(columns), ",".join(cells[column] for column in columns))).encode()
    error = refusal(content)
    assert error.where == "r.csv, line 2"
    assert "in more than one way" in error.what


@pytest.mark.parametrize(
    "line",
    [
        line_of(row()) + ",N/A",
        line_of(row()) + ",N/A,N/A",
        line_of(row()).replace("alice,arn", "alice,b,arn"),
        line_of(row("a,b")).replace("user/a,b", "user/a,c"),
        line_of(row("a,b")).replace("arn:", "arm:"),
        line_of(row()) + ",x" * 700,
        line_of(row("a,b")).replace("N/A", "x" * 70_000, 1),
    ],
    ids=range(7),
)
def test_too_many_fields(line: str) -> None:
    """More fields than the header that no comma in the name explains are refused."""
    error = refusal(raw(line_of(root()), line))
    assert error.where == "r.csv, line 3"
    assert f"the row has {line.count(',') + 1} fields and the header 22" in error.what


@pytest.mark.parametrize("kept", range(1, 22))
def test_too_few_fields(kept: int) -> None:
    """A row that breaks off is refused and names the first column that is missing."""
    error = refusal(raw(line_of(root()), ",".join(line_of(row()).split(",")[:kept]), line_of(row("bob"))))
    assert error.where == f"r.csv, line 3, column {COLUMNS[kept]}"
    assert error.what == f"the row breaks off: it has {kept} of 22 fields."


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "N/A",
        "alice",
        "arn:aws:iam::111122223333:",
        "arn:aws:iam::111122223333:user/",
        "arn:aws:iam::111122223333:user/team/",
        "arn:aws:iam::111122223333:user",
        "arn:aws:iam::111122223333:role/alice",
        "arn:aws:iam::11112222333:user/alice",
        "arn:aws:iam::1111222233334:user/alice",
        "arn:aws:iam::11112222333\uff13:user/alice",
        "arn:aws:iam::\u0661\u0661\u0661\u06612222\u0663\u0663\u0663\u0663:user/alice",
        "arn:aws:iam:us-east-1:111122223333:user/alice",
        "arn:aws:sts::111122223333:user/alice",
        "arn:AWS:iam::111122223333:user/alice",
        "arn:aws-:iam::111122223333:user/alice",
        "arn:azure:iam::111122223333:user/alice",
        " arn:aws:iam::111122223333:user/alice",
        "arn:aws:iam::111122223333:user/alice\n",
        "arn:aws:iam::111122223333:user/\x1b[2J/alice",
    ],
)
def test_not_an_arn(arn: str) -> None:
    """Only the ARN of an IAM user or of the root user, with twelve ASCII digits, is one."""
    error = refusal(written(root(), row(arn=arn)))
    assert error.where == "r.csv, line 3, column arn"
    assert "is not the ARN of an IAM user" in error.what


@pytest.mark.parametrize(
    ("user", "arn"),
    [
        ("alice", "arn:aws:iam::111122223333:user/bob"),
        ("alice", "arn:aws:iam::111122223333:user/Alice"),
        ("alice", "arn:aws:iam::111122223333:user/malice"),
        ("alice", "arn:aws:iam::111122223333:root"),
        ("team/alice", "arn:aws:iam::111122223333:user/team/alice"),
        ("root", "arn:aws:iam::111122223333:root"),
        ("", "arn:aws:iam::111122223333:user/alice"),
    ],
)
def test_arn_of_someone_else(user: str, arn: str) -> None:
    """The ARN names the user of its row, or the row is refused."""
    error = refusal(written(root(), row(user, arn=arn)))
    assert error.where == "r.csv, line 3, column arn"
    assert "does not name the user of this row" in error.what


def test_root_row_needs_roots_arn() -> None:
    """A user's ARN cannot make a root row."""
    error = refusal(written(root(arn=f"arn:aws:iam::{ACCOUNT}:user/<root_accounts>")))
    assert "does not name the user of this row" in error.what


@pytest.mark.parametrize(
    "arn", ["arn:aws:iam::999999999999:user/alice", "arn:aws-cn:iam::111122223333:user/alice"], ids=["account", "cn"]
)
def test_two_accounts(arn: str) -> None:
    """All rows belong to one account of one partition."""
    error = refusal(written(root(), row("bob"), row(arn=arn)))
    assert error.where == "r.csv, line 4, column arn"
    assert "the rows before it to 111122223333 in aws." in error.what
    assert not isinstance(error, WrongAccountError)


def test_wrong_account() -> None:
    """A report of another account than the one asked is told apart from an unreadable one, across processes too."""
    error = refusal(sample("aws-2026"), "444455556666")
    assert isinstance(error, WrongAccountError)
    assert error.what == "the report belongs to account 111122223333, not 444455556666."
    assert error.where == "r.csv, line 2, column arn"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (WrongAccountError, str(error))


@pytest.mark.parametrize("again", ["alice", "ALICE", "Alice"])
def test_duplicate_user(again: str) -> None:
    """IAM's names are unique whatever their case, so a second row of a name is refused and both are named."""
    error = refusal(written(root(), row("alice"), row("bob"), row(again, path="elsewhere/")))
    assert error.where == "r.csv, line 5, column user"
    assert error.what == f"the user {again!r} stands on line 3 too."


def test_two_roots() -> None:
    """There is one root user."""
    assert "stands on line 2 too" in refusal(written(root(), root())).what


# ------------------------------------------------------------------------------------------------- the header


@pytest.mark.parametrize("column", REQUIRED_COLUMNS)
def test_missing_column(column: str) -> None:
    """Each required column is missed by its name."""
    error = refusal(written(root(), columns=[name for name in COLUMNS if name != column]))
    assert error.where == f"r.csv, line 1, column {column}"
    assert error.what.startswith("the header lacks this column")


def test_missing_column_with_a_near_miss() -> None:
    """A column of nearly the same name is pointed out, not taken."""
    content = written(root()).replace(b"access_key_1_last_rotated", b"Access_Key_1_last_rotated", 1)
    error = refusal(content)
    assert error.where == "r.csv, line 1, column access_key_1_last_rotated"
    assert "it has 'Access_Key_1_last_rotated', which is close to access_key_1_last_rotated" in error.what


def test_several_missing_columns() -> None:
    """All missing columns are named at once."""
    error = refusal(written(root(), columns=[name for name in COLUMNS if not name.startswith("access_key_2")]))
    assert error.where == "r.csv, line 1, column access_key_2_active"
    assert "and 4 more: access_key_2_last_rotated, access_key_2_last_used_date" in error.what


@pytest.mark.parametrize(("column", "shown"), [("mfa_active", "mfa_active"), ("\x1b[2J new", "'\\x1b[2J new'")])
def test_duplicate_column(column: str, shown: str) -> None:
    """Two columns of one name leave open which one counts; a hostile name is shown, not obeyed."""
    error = refusal(HEADER.encode() + f",{column},{column}\n".encode())
    assert error.where == f"r.csv, line 1, column {shown}"
    assert "twice" in error.what


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators(separator: str) -> None:
    """A spreadsheet's separators are not a credential report's."""
    error = refusal(written(root(), row()).replace(b",", separator.encode()))
    assert error.where == "r.csv, line 1, column user"
    assert "is not the header of a comma-separated credential report" in error.what


def test_no_header() -> None:
    """Rows without a header cannot be read by name."""
    error = refusal(line_of(root()).encode())
    assert error.where == "r.csv, line 1, column user"
    assert "it begins with '<root_account>'" in error.what


# ------------------------------------------------------------------------------------------------- what is no report


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b" " * 5000])
def test_empty(content: bytes) -> None:
    """Nothing is no report."""
    error = refusal(content)
    assert (error.where, error.what) == ("r.csv, line 1", "the report is empty.")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_header_only(end: str) -> None:
    """AWS always writes the root row, so a report of no rows is no clean account."""
    error = refusal((HEADER + end).encode())
    assert "AWS always writes <root_account>, so a report of no rows is refused." in error.what
    assert error.where == "r.csv, line 1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML or XML"),
        (b'\n <?xml version="1.0"?><ErrorResponse/>', "HTML or XML"),
        (b'{"Content": "dXNlcixhcm4s", "ReportFormat": "text/csv"}', "JSON"),
        (b"[]", "JSON"),
        (b"dXNlcixhcm4sdXNlcl9jcmVhdGlvbl90aW1l", "still base64-encoded"),
        (b"PK\x03\x04 a workbook", "not the header"),
        (b"hello", "not the header"),
        (b'"', "unexpected end of data"),
        (b'""', "not the header"),
    ],
)
def test_something_else(content: bytes, words: str) -> None:
    """What commonly arrives instead of a report is called by its name, with the way to a real one."""
    error = refusal(content)
    assert error.where.startswith("r.csv, line 1")
    assert words in error.what
    assert "--query Content --output text | base64 --decode" in error.next_step


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (b"\xff", "the byte 0xff is not UTF-8"),
        (b"\xc3(", "the byte 0xc3 is not UTF-8"),
        (b"\xed\xa0\x80", "the byte 0xed is not UTF-8"),
        (b"\0", "NUL"),
    ],
)
def test_bytes_that_are_no_text(damage: bytes, words: str) -> None:
    """The line of a byte that is no text is named."""
    content = written(root(), row("alice"), row("bob"))
    error = refusal(content.replace(b"bob", b"b" + damage + b"b", 1))
    assert error.where == "r.csv, line 4"
    assert words in error.what


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(encoding: str) -> None:
    """A report that was saved in another encoding is refused on its first line."""
    assert refusal(written(root()).decode().encode(encoding)).where == "r.csv, line 1"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('"alice', "unexpected end of data"),
        ('"alice"x,y', "expected after"),
        ("ali\rce", "new-line character seen in unquoted field."),
        ("x" * 140_000, "field larger than field limit"),
    ],
)
def test_malformed_csv(line: str, words: str) -> None:
    """What is not CSV is refused at the line on which its row begins."""
    error = refusal(raw(line_of(root()), line, line_of(row("bob"))))
    assert error.where == "r.csv, line 3"
    assert words in error.what


def test_blank_line_between_rows() -> None:
    """A blank line before another row shows that something was removed."""
    error = refusal(raw(line_of(root()), "", "", line_of(row())))
    assert error.where == "r.csv, line 3"
    assert "blank" in error.what
    assert "blank" in refusal(b"\n" + written(root())).what


def test_lines_are_those_of_the_file() -> None:
    """A quoted line break before does not shift the line that an error names."""
    columns = (*COLUMNS, "note")
    content = written(root(note="one\ntwo\r\nthree\n"), row("bob", note=""), row(mfa_active="?"), columns=columns)
    assert content.split(b"\n")[6].startswith(b"alice")
    assert refusal(content).where == "r.csv, line 7, column mfa_active"


def test_hostile_values_are_shown_not_obeyed() -> None:
    """A terminal escape in a cell comes out as text, and a long cell is cut."""
    error = refusal(written(row(mfa_active="\x1b]0;x\x07" + "y" * 1000)))
    assert "\\x1b]0;x\\x07" in error.what
    assert len(error.what) < 200
