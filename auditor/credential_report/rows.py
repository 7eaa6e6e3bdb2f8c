"""The bytes of an IAM credential report → records. Pure: gathering, replay and tests read with the same eyes.

The columns and the words `N/A`, `no_information` and `not_supported` are those of the IAM User Guide, "Generate
credential reports for your AWS account". Where real reports differ from the guide, both are read:

- 22 columns or 23 (`additional_credentials_info`), in any order, and columns that are not known yet;
- `true` or `TRUE`; times that end in `Z`, or in `+00:00` as until 2024;
- an inactive key keeps its date, though the guide says `N/A`: a key is there if it is active or has any date;
- a comma in a user name, quoted or not; a byte order mark; CRLF; no newline at the end.

Nothing is guessed: what is none of these is a `ReportFormatError` that names origin, line and column. Every column
that is known is read, needed or not, so that a row that was cut off or shifted does not pass for a whole one.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from io import StringIO

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

_SLOT_COLUMNS = tuple(
    (
        f"access_key_{slot}_active",
        f"access_key_{slot}_last_rotated",
        f"access_key_{slot}_last_used_date",
        f"access_key_{slot}_last_used_region",
        f"access_key_{slot}_last_used_service",
    )
    for slot in (1, 2)
)
REQUIRED_COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "mfa_active",
    *_SLOT_COLUMNS[0],
    *_SLOT_COLUMNS[1],
)
"""Without these a report cannot be judged; AWS has always written them."""

ADDITIONAL_COLUMN = "additional_credentials_info"
"""Optional: counts what a user has beyond two access keys or certificates. The guide lists it, most reports lack it."""

_CERTIFICATE_COLUMNS = ("cert_1_active", "cert_2_active")
_DATES_ONLY_CHECKED = ("password_next_rotation", "cert_1_last_rotated", "cert_2_last_rotated")

_NOT_AVAILABLE = "N/A"
_NO_INFORMATION = "no_information"
_NOT_SUPPORTED = "not_supported"
_MARKERS = frozenset({_NOT_AVAILABLE, _NO_INFORMATION, _NOT_SUPPORTED})
_BOOLEANS: Mapping[str, bool | None] = {"true": True, "false": False, **dict.fromkeys(_MARKERS)}
_NEVER_USED = NeverUsed()

_ARN = re.compile(
    r"arn:(aws(?:-[a-z0-9]+)*):iam::([0-9]{12}):(?:(root)|user/(?:[^\x00-\x1f\x7f]*/)?([^/\x00-\x1f\x7f]+))"
)
_USUAL_INSTANT = "--T::Z"
"""Every third character, from the fifth on, of 2026-11-22T19:00:00Z: tells it from other forms without a regex."""
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
"""Narrower than `datetime.fromisoformat`, which reads more with every version of Python."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,80}")
_MOST_SURPLUS_FIELDS = 2 * 64 + 512
"""Commas that the longest user name (64 characters), twice, and the longest path (512) could hold."""
_LONGEST_SPLIT_ROW = 65_536
"""Characters; a row that breaks this and has surplus fields is refused at once, not tried for minutes."""
_SHOWN_LENGTH = 80

_NEXT_STEP = (
    "Download the report again with `aws iam get-credential-report --query Content --output text | base64 --decode`; "
    "do not edit or re-save it in a spreadsheet."
)


class WrongAccountError(ReportFormatError):
    """The report is readable, but belongs to another account than the one that was asked for."""


def parse_credential_report(content: bytes, *, origin: str, expected_account: str | None = None) -> CredentialReport:
    """Read the bytes of a credential report, as GetCredentialReport gives them or as they were saved.

    Times come out in UTC and whole seconds: AWS writes no fractions, a stand-in that does would break the match with
    a key's CreateDate, and cutting them off never makes a key younger. Whether a key was used is told by the date
    alone, since a used key may well have no Region. A password with `no_information` was never used as far as AWS
    can tell (since October 2014). A report without the root row is read; `root` is None then.

    Args:
        content: the report's bytes.
        origin: what the errors call the report, such as a path or "account 111122223333".
        expected_account: the twelve digits of the account that was asked, where known.

    Raises:
        ReportFormatError: the report cannot be read without guessing; names origin, line and column.
        WrongAccountError: its ARNs name another account than `expected_account`.
    """
    rows = _rows(_decoded(content, origin), origin)
    header_line, header = next(rows)
    layout = _layout(header, origin, header_line)
    users: list[ReportUser] = []
    lines: dict[str, int] = {}
    owner: tuple[str, str] | None = None
    for line, fields in rows:
        try:
            cells = fields if len(fields) == len(layout.columns) else _rejoined(fields, layout)
            owner = _confirmed_owner(cells, layout, owner)
            user = _user(cells, layout)
            _confirm_unique(user.name, line, lines, layout)
        except _CellError as error:
            raise _error(error.what, origin, line, layout.column(error.position)) from None
        if not users and expected_account not in (None, owner[1]):
            raise WrongAccountError(
                f"the report belongs to account {owner[1]}, not {expected_account}.",
                where=_place(origin, line, "arn"),
                next_step="Check which account the credentials, the role or the file belong to.",
            )
        users.append(user)
    if owner is None:
        what = "the report holds no rows; AWS always writes <root_account>, so a report of no rows is refused."
        raise _error(what, origin, header_line)
    partition, account_id = owner
    return CredentialReport(account_id, partition, tuple(users), has_additional_column=layout.additional is not None)


# ------------------------------------------------------------------------------------------------- bytes to rows


def _decoded(content: bytes, origin: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _error(f"the byte 0x{error.object[error.start]:02x} is not UTF-8 text.", origin, line) from None
    start = text[:1000].lstrip()
    if not start and not text.strip():
        raise _error("the report is empty.", origin, 1)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _error("there is a NUL byte, which no credential report holds.", origin, line)
    if start.startswith("<") and not start.startswith(ROOT_USER):
        raise _error("this is HTML or XML, not the CSV of a credential report.", origin, 1)
    if start.startswith(("{", "[")):
        raise _error("this is JSON, not CSV; AWS's answer has the report inside it, base64-encoded.", origin, 1)
    if start.startswith("dXNlci"):
        raise _error("this is still base64-encoded.", origin, 1)
    return text


def _rows(text: str, origin: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the physical line that each begins on; a blank line is allowed only after the last row."""
    reader = csv.reader(StringIO(text, newline="\n"), strict=True)
    line, blank = 1, 0
    try:
        for fields in reader:
            if not fields:
                blank = blank or line
            elif blank:
                raise _error("the line is blank, though rows follow: something was removed.", origin, blank)
            else:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        what = str(error).partition(" - ")[0]
        raise _error(f"this is not well-formed CSV: {what}.", origin, line) from None


# ------------------------------------------------------------------------------------------------- the header


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the five columns of one access key slot stand."""

    number: int
    active: int
    last_rotated: int
    last_used_date: int
    last_used_region: int
    last_used_service: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where each column stands, resolved once for all rows."""

    columns: Sequence[str]
    user: int
    arn: int
    created_at: int
    password_enabled: int
    password_last_used: int
    password_last_changed: int
    mfa_active: int
    slots: Sequence[_Slot]
    certificates: Sequence[int]
    dates_only_checked: Sequence[int]
    additional: int | None

    def column(self, position: int | None) -> str | None:
        """The name of a column for an error; a foreign one is made safe to print."""
        return None if position is None else _column_shown(self.columns[position])


def _layout(header: Sequence[str], origin: str, line: int) -> _Layout:
    at = {column: position for position, column in enumerate(header)}
    missing = [column for column in REQUIRED_COLUMNS if column not in at]
    if missing:
        raise _error(_missing_columns(missing, header), origin, line, missing[0])
    if len(at) != len(header):
        twice = next(column for position, column in enumerate(header) if at[column] != position)
        raise _error("the header names this column twice.", origin, line, _column_shown(twice))
    return _Layout(
        columns=tuple(header),
        user=at["user"],
        arn=at["arn"],
        created_at=at["user_creation_time"],
        password_enabled=at["password_enabled"],
        password_last_used=at["password_last_used"],
        password_last_changed=at["password_last_changed"],
        mfa_active=at["mfa_active"],
        slots=tuple(
            _Slot(number, *(at[column] for column in columns)) for number, columns in enumerate(_SLOT_COLUMNS, 1)
        ),
        certificates=tuple(at[column] for column in _CERTIFICATE_COLUMNS if column in at),
        dates_only_checked=tuple(at[column] for column in _DATES_ONLY_CHECKED if column in at),
        additional=at.get(ADDITIONAL_COLUMN),
    )


def _missing_columns(missing: Sequence[str], header: Sequence[str]) -> str:
    if len(missing) == len(REQUIRED_COLUMNS):
        start = _shown(header[0])
        return f"this line is not the header of a comma-separated credential report; it begins with {start}."
    if len(missing) == 1:
        sentence = "the header lacks this column"
    else:
        sentence = f"the header lacks this column and {len(missing) - 1} more: {', '.join(missing[1:])}"
    strangers = [name for name in header if name not in REQUIRED_COLUMNS and len(name) <= _SHOWN_LENGTH][:50]
    near = [(name, close[0]) for name in missing if (close := get_close_matches(name, strangers, n=1, cutoff=0.8))]
    hints = [f"it has {_shown(found)}, which is close to {name}" for name, found in near]
    return "; ".join((sentence, *hints)) + "."


# ------------------------------------------------------------------------------------------------- commas in names


def _rejoined(fields: Sequence[str], layout: _Layout) -> Sequence[str]:
    """The cells of a row that commas in an unquoted user name split in `user` and again in `arn`.

    The ARN is the anchor: it begins with `arn:` and ends with the user name, so at most one way of putting the two
    together again can be right. AWS does not document whether it quotes such names.
    """
    found, width = len(fields), len(layout.columns)
    surplus = found - width
    if surplus < 0:
        raise _CellError(found, f"the row breaks off: it has {found} of {width} fields.")
    ways: list[Sequence[str]] = []
    if surplus <= _MOST_SURPLUS_FIELDS and sum(map(len, fields)) <= _LONGEST_SPLIT_ROW:
        splits = ({layout.user: in_user, layout.arn: surplus - in_user} for in_user in range(surplus + 1))
        ways = [cells for commas in splits if _arn_names_user(cells := _with_commas(fields, commas), layout)]
    if len(ways) != 1:
        reading = "explain it in more than one way" if ways else "do not explain it"
        what = f"the row has {found} fields and the header {width}; commas in the user name {reading}."
        raise _CellError(None, what)
    return ways[0]


def _with_commas(fields: Sequence[str], commas: Mapping[int, int]) -> Sequence[str]:
    """The fields with so many commas put back at each of the header's positions."""
    cells = list(fields)
    for position, count in sorted(commas.items()):
        cells[position : position + count + 1] = [",".join(cells[position : position + count + 1])]
    return cells


def _arn_names_user(cells: Sequence[str], layout: _Layout) -> bool:
    match = _ARN.fullmatch(cells[layout.arn])
    return match is not None and match[4] == cells[layout.user]


# ------------------------------------------------------------------------------------------------- rows to records


def _confirmed_owner(cells: Sequence[str], layout: _Layout, known: tuple[str, str] | None) -> tuple[str, str]:
    """Partition and account of the row's ARN, which must name the row's user and be those of all the other rows."""
    user, arn = cells[layout.user], cells[layout.arn]
    match = _ARN.fullmatch(arn)
    if match is None:
        raise _CellError(layout.arn, f"{_shown(arn)} is not the ARN of an IAM user or of the root user.")
    partition, account, root, named = match.groups()
    if user != (ROOT_USER if root else named):
        raise _CellError(layout.arn, f"{_shown(arn)} does not name the user of this row, {_shown(user)}.")
    if known is not None and known != (partition, account):
        what = (
            f"the row belongs to account {account} in partition {partition}, "
            f"the rows before it to {known[1]} in {known[0]}."
        )
        raise _CellError(layout.arn, what)
    return partition, account


def _confirm_unique(user: str, line: int, lines: dict[str, int], layout: _Layout) -> None:
    """Enters the user's line, unless the same name in any case has one: to IAM those are one user."""
    earlier = lines.setdefault(user.lower(), line)
    if earlier != line:
        raise _CellError(layout.user, f"the user {_shown(user)} stands on line {earlier} too.")


def _user(cells: Sequence[str], layout: _Layout) -> ReportUser:
    for position in layout.dates_only_checked:
        if cells[position] != _NOT_AVAILABLE:
            _instant(cells, position)
    active_certificates = 0
    for position in layout.certificates:
        if cells[position] != "false" and _boolean(cells, position):
            active_certificates += 1
    return ReportUser(
        name=cells[layout.user],
        arn=cells[layout.arn],
        created_at=_instant(cells, layout.created_at),
        keys=_keys(cells, layout),
        password_enabled=_boolean(cells, layout.password_enabled),
        password_last_used=_password_last_used(cells, layout),
        password_changed_at=_instant(cells, layout.password_last_changed),
        mfa_active=_boolean(cells, layout.mfa_active),
        active_certificates=active_certificates,
        additional_credentials=None if layout.additional is None else _additional_credentials(cells[layout.additional]),
    )


def _keys(cells: Sequence[str], layout: _Layout) -> tuple[ReportKey, ...]:
    keys: tuple[ReportKey, ...] = ()
    for slot in layout.slots:
        if (
            cells[slot.active] == "false"
            and cells[slot.last_rotated] == _NOT_AVAILABLE
            and cells[slot.last_used_date] == _NOT_AVAILABLE
        ):
            continue
        key = _key(cells, slot)
        if key is not None:
            keys += (key,)
    return keys


def _key(cells: Sequence[str], slot: _Slot) -> ReportKey | None:
    """The key of a slot, or None where it is empty: not active and without any date."""
    active = _boolean(cells, slot.active)
    if active is None:
        raise _CellError(slot.active, f"{_shown(cells[slot.active])} is neither true nor false.")
    created_at = _instant(cells, slot.last_rotated)
    last_used = _key_last_used(cells, slot)
    if not active and created_at is None and not isinstance(last_used, UsedAt):
        marker = cells[slot.last_rotated]
        if marker != _NOT_AVAILABLE:
            what = f"{_shown(marker)} where no key is active leaves open whether there is a key at all."
            raise _CellError(slot.last_rotated, what)
        return None
    return ReportKey(slot.number, KeyStatus.ACTIVE if active else KeyStatus.INACTIVE, created_at, last_used)


def _key_last_used(cells: Sequence[str], slot: _Slot) -> LastUsed:
    at = _instant(cells, slot.last_used_date)
    if at is not None:
        return UsedAt(at, _name(cells[slot.last_used_service]), _name(cells[slot.last_used_region]))
    marker = cells[slot.last_used_date]
    return _NEVER_USED if marker == _NOT_AVAILABLE else UnknownUse(f"the credential report says {marker}")


def _password_last_used(cells: Sequence[str], layout: _Layout) -> LastUsed:
    """`no_information` is AWS's word for a password that was not used since it began to look, in October 2014."""
    at = _instant(cells, layout.password_last_used)
    if at is not None:
        return UsedAt(at)
    marker = cells[layout.password_last_used]
    return UnknownUse(f"the credential report says {marker}") if marker == _NOT_SUPPORTED else _NEVER_USED


def _additional_credentials(value: str) -> str | None:
    return None if value in ("", _NOT_AVAILABLE, _NOT_SUPPORTED) else value


# ------------------------------------------------------------------------------------------------- cells


class _CellError(Exception):
    """What is wrong with a row, and the position of the column, if it is one; the caller knows origin and line."""

    def __init__(self, position: int | None, what: str) -> None:
        super().__init__(what)
        self.position = position
        self.what = what


def _boolean(cells: Sequence[str], position: int) -> bool | None:
    """`true` or `false` in any case; None where AWS has no answer."""
    value = cells[position]
    if value in _BOOLEANS:
        return _BOOLEANS[value]
    lowered = value.lower()
    if lowered not in ("true", "false"):
        raise _CellError(position, f"{_shown(value)} is neither true nor false.")
    return lowered == "true"


def _instant(cells: Sequence[str], position: int) -> datetime | None:
    """A time in UTC and whole seconds; None where AWS has none."""
    value = cells[position]
    if value in _MARKERS:
        return None
    try:
        return datetime.fromisoformat(value) if value[4::3] == _USUAL_INSTANT else _unusual_instant(value)
    except (ValueError, OverflowError) as error:
        raise _CellError(position, f"{_shown(value)} is not a time that can be read: {error}.") from None


def _unusual_instant(value: str) -> datetime:
    shape = _INSTANT.fullmatch(value)
    if shape is None:
        raise ValueError("it must look like 2026-11-22T19:00:00Z")
    if shape[1] is None:
        raise ValueError("it has no time zone")
    return datetime.fromisoformat(value).astimezone(UTC).replace(microsecond=0)


def _name(value: str) -> str | None:
    """A service or Region; None where AWS names none."""
    return None if not value or value in _MARKERS else value


# ------------------------------------------------------------------------------------------------- saying what is wrong


def _error(what: str, origin: str, line: int, column: str | None = None) -> ReportFormatError:
    return ReportFormatError(what, where=_place(origin, line, column), next_step=_NEXT_STEP)


def _place(origin: str, line: int, column: str | None) -> str:
    return f"{origin}, line {line}" if column is None else f"{origin}, line {line}, column {column}"


def _shown(value: str) -> str:
    """A foreign value, safe to print on a terminal and never longer than a line."""
    return repr(value if len(value) <= _SHOWN_LENGTH else value[:_SHOWN_LENGTH] + "…")


def _column_shown(column: str) -> str:
    return column if _PLAIN_NAME.fullmatch(column) else _shown(column)
