"""Any form of credential report, row by row, and the words for what is wrong with one."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO

from auditor.credential_report.layout import (
    ARN,
    MARKERS,
    NOT_AVAILABLE,
    NOT_SUPPORTED,
    Layout,
    SlotLayout,
    layout_of,
    not_told,
)
from auditor.credential_report.refusal import WrongAccountError, place, refusal, shown
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
from auditor.report_columns import ReportColumns

_BOOLEANS: Mapping[str, bool | None] = {"true": True, "false": False, **dict.fromkeys(MARKERS)}
_NEVER_USED = NeverUsed()

_USUAL_INSTANT = "--T::Z"
"""Every third character, from the fifth on, of 2026-11-22T19:00:00Z: tells it from other forms without a regex."""
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
"""Narrower than `datetime.fromisoformat`, which reads more with every version of Python."""
_MOST_SURPLUS_FIELDS = 2 * 64 + 512
"""Commas that the longest user name (64 characters), twice, and the longest path (512) could hold."""
_LONGEST_SPLIT_ROW = 65_536
"""Characters; a row that breaks this and has surplus fields is refused at once, not tried for minutes."""


def read_rows(content: bytes, origin: str, expected_account: str | None) -> CredentialReport:
    """Read a report row by row; see `auditor.credential_report.parse_credential_report`."""
    rows = _rows(_decoded(content, origin), origin)
    header_line, header = next(rows)
    layout = layout_of(header, origin, header_line)
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
            raise refusal(error.what, origin, line, layout.column(error.position)) from None
        if not users and expected_account not in (None, owner[1]):
            raise WrongAccountError(
                f"the report belongs to account {owner[1]}, not {expected_account}.",
                where=place(origin, line, "arn"),
                next_step="Check which account the credentials, the role or the file belong to.",
            )
        users.append(user)
    if owner is None:
        what = "the report holds no rows; AWS always writes <root_account>, so a report of no rows is refused."
        raise refusal(what, origin, header_line)
    partition, account_id = owner
    columns = ReportColumns.of(users)
    return CredentialReport(account_id, partition, columns, has_additional_column=layout.additional is not None)


# ------------------------------------------------------------------------------------------------- bytes to rows


def _decoded(content: bytes, origin: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise refusal(f"the byte 0x{error.object[error.start]:02x} is not UTF-8 text.", origin, line) from None
    start = text[:1000].lstrip()
    if not start and not text.strip():
        raise refusal("the report is empty.", origin, 1)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise refusal("there is a NUL byte, which no credential report holds.", origin, line)
    if start.startswith("<") and not start.startswith(ROOT_USER):
        raise refusal("this is HTML or XML, not the CSV of a credential report.", origin, 1)
    if start.startswith(("{", "[")):
        raise refusal("this is JSON, not CSV; AWS's answer has the report inside it, base64-encoded.", origin, 1)
    if start.startswith("dXNlci"):
        raise refusal("this is still base64-encoded.", origin, 1)
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
                raise refusal("the line is blank, though rows follow: something was removed.", origin, blank)
            else:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        what = str(error).partition(" - ")[0]
        raise refusal(f"this is not well-formed CSV: {what}.", origin, line) from None


# ------------------------------------------------------------------------------------------------- commas in names


def _rejoined(fields: Sequence[str], layout: Layout) -> Sequence[str]:
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


def _arn_names_user(cells: Sequence[str], layout: Layout) -> bool:
    match = ARN.fullmatch(cells[layout.arn])
    return match is not None and match[4] == cells[layout.user]


# ------------------------------------------------------------------------------------------------- rows to records


def _confirmed_owner(cells: Sequence[str], layout: Layout, known: tuple[str, str] | None) -> tuple[str, str]:
    """Partition and account of the row's ARN, which must name the row's user and be those of all the other rows."""
    user, arn = cells[layout.user], cells[layout.arn]
    match = ARN.fullmatch(arn)
    if match is None:
        raise _CellError(layout.arn, f"{shown(arn)} is not the ARN of an IAM user or of the root user.")
    partition, account, root, named = match.groups()
    if user != (ROOT_USER if root else named):
        raise _CellError(layout.arn, f"{shown(arn)} does not name the user of this row, {shown(user)}.")
    if known is not None and known != (partition, account):
        what = (
            f"the row belongs to account {account} in partition {partition}, "
            f"the rows before it to {known[1]} in {known[0]}."
        )
        raise _CellError(layout.arn, what)
    return partition, account


def _confirm_unique(user: str, line: int, lines: dict[str, int], layout: Layout) -> None:
    """Enters the user's line, unless the same name in any case has one: to IAM those are one user."""
    earlier = lines.setdefault(user.lower(), line)
    if earlier != line:
        raise _CellError(layout.user, f"the user {shown(user)} stands on line {earlier} too.")


def _user(cells: Sequence[str], layout: Layout) -> ReportUser:
    for position in layout.dates_only_checked:
        if cells[position] != NOT_AVAILABLE:
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


def _keys(cells: Sequence[str], layout: Layout) -> tuple[ReportKey, ...]:
    keys: tuple[ReportKey, ...] = ()
    for slot in layout.slots:
        if (
            cells[slot.active] == "false"
            and cells[slot.last_rotated] == NOT_AVAILABLE
            and cells[slot.last_used_date] == NOT_AVAILABLE
        ):
            continue
        key = _key(cells, slot)
        if key is not None:
            keys += (key,)
    return keys


def _key(cells: Sequence[str], slot: SlotLayout) -> ReportKey | None:
    """The key of a slot, or None where it is empty: not active and without any date."""
    active = _boolean(cells, slot.active)
    if active is None:
        raise _CellError(slot.active, f"{shown(cells[slot.active])} is neither true nor false.")
    created_at = _instant(cells, slot.last_rotated)
    last_used = _key_last_used(cells, slot)
    if not active and created_at is None and not isinstance(last_used, UsedAt):
        marker = cells[slot.last_rotated]
        if marker != NOT_AVAILABLE:
            what = f"{shown(marker)} where no key is active leaves open whether there is a key at all."
            raise _CellError(slot.last_rotated, what)
        return None
    return ReportKey(slot.number, KeyStatus.ACTIVE if active else KeyStatus.INACTIVE, created_at, last_used)


def _key_last_used(cells: Sequence[str], slot: SlotLayout) -> LastUsed:
    at = _instant(cells, slot.last_used_date)
    if at is not None:
        return UsedAt(at, _name(cells[slot.last_used_service]), _name(cells[slot.last_used_region]))
    marker = cells[slot.last_used_date]
    return _NEVER_USED if marker == NOT_AVAILABLE else UnknownUse(not_told(marker))


def _password_last_used(cells: Sequence[str], layout: Layout) -> LastUsed:
    """`no_information` is AWS's word for a password that was not used since it began to look, in October 2014."""
    at = _instant(cells, layout.password_last_used)
    if at is not None:
        return UsedAt(at)
    marker = cells[layout.password_last_used]
    return UnknownUse(not_told(marker)) if marker == NOT_SUPPORTED else _NEVER_USED


def _additional_credentials(value: str) -> str | None:
    return None if value in ("", NOT_AVAILABLE, NOT_SUPPORTED) else value


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
        raise _CellError(position, f"{shown(value)} is neither true nor false.")
    return lowered == "true"


def _instant(cells: Sequence[str], position: int) -> datetime | None:
    """A time in UTC and whole seconds; None where AWS has none."""
    value = cells[position]
    if value in MARKERS:
        return None
    try:
        return datetime.fromisoformat(value) if value[4::3] == _USUAL_INSTANT else _unusual_instant(value)
    except (ValueError, OverflowError) as error:
        raise _CellError(position, f"{shown(value)} is not a time that can be read: {error}.") from None


def _unusual_instant(value: str) -> datetime:
    shape = _INSTANT.fullmatch(value)
    if shape is None:
        raise ValueError("it must look like 2026-11-22T19:00:00Z")
    if shape[1] is None:
        raise ValueError("it has no time zone")
    return datetime.fromisoformat(value).astimezone(UTC).replace(microsecond=0)


def _name(value: str) -> str | None:
    """A service or Region; None where AWS names none."""
    return None if not value or value in MARKERS else value
