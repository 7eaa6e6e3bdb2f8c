"""What AWS writes into a credential report: the columns and where they stand, the words for no value, the ARNs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from auditor.credential_report.refusal import SHOWN_LENGTH, refusal, shown, shown_column

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

NOT_AVAILABLE = "N/A"
NO_INFORMATION = "no_information"
NOT_SUPPORTED = "not_supported"
MARKERS = frozenset({NOT_AVAILABLE, NO_INFORMATION, NOT_SUPPORTED})

ARN = re.compile(
    r"arn:(aws(?:-[a-z0-9]+)*):iam::([0-9]{12}):(?:(root)|user/(?:[^\x00-\x1f\x7f]*/)?([^/\x00-\x1f\x7f]+))"
)


def not_told(marker: str) -> str:
    """Why something is unknown for which the report holds only this word."""
    return f"the credential report says {marker}"


# ------------------------------------------------------------------------------------------------- the header


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Where the five columns of one access key slot stand."""

    number: int
    active: int
    last_rotated: int
    last_used_date: int
    last_used_region: int
    last_used_service: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each column stands, resolved once for all rows."""

    columns: Sequence[str]
    user: int
    arn: int
    created_at: int
    password_enabled: int
    password_last_used: int
    password_last_changed: int
    mfa_active: int
    slots: Sequence[SlotLayout]
    certificates: Sequence[int]
    dates_only_checked: Sequence[int]
    additional: int | None

    def column(self, position: int | None) -> str | None:
        """The name of a column for an error; a foreign one is made safe to print."""
        return None if position is None else shown_column(self.columns[position])


def layout_of(header: Sequence[str], origin: str, line: int) -> Layout:
    """Where the columns stand under this header.

    Raises:
        ReportFormatError: a required column is missing, or one stands there twice.
    """
    at = {column: position for position, column in enumerate(header)}
    missing = [column for column in REQUIRED_COLUMNS if column not in at]
    if missing:
        raise refusal(_missing_columns(missing, header), origin, line, missing[0])
    if len(at) != len(header):
        twice = next(column for position, column in enumerate(header) if at[column] != position)
        raise refusal("the header names this column twice.", origin, line, shown_column(twice))
    return Layout(
        columns=tuple(header),
        user=at["user"],
        arn=at["arn"],
        created_at=at["user_creation_time"],
        password_enabled=at["password_enabled"],
        password_last_used=at["password_last_used"],
        password_last_changed=at["password_last_changed"],
        mfa_active=at["mfa_active"],
        slots=tuple(
            SlotLayout(number, *(at[column] for column in columns)) for number, columns in enumerate(_SLOT_COLUMNS, 1)
        ),
        certificates=tuple(at[column] for column in _CERTIFICATE_COLUMNS if column in at),
        dates_only_checked=tuple(at[column] for column in _DATES_ONLY_CHECKED if column in at),
        additional=at.get(ADDITIONAL_COLUMN),
    )


def _missing_columns(missing: Sequence[str], header: Sequence[str]) -> str:
    if len(missing) == len(REQUIRED_COLUMNS):
        start = shown(header[0])
        return f"this line is not the header of a comma-separated credential report; it begins with {start}."
    if len(missing) == 1:
        sentence = "the header lacks this column"
    else:
        sentence = f"the header lacks this column and {len(missing) - 1} more: {', '.join(missing[1:])}"
    strangers = [name for name in header if name not in REQUIRED_COLUMNS and len(name) <= SHOWN_LENGTH][:50]
    near = [(name, close[0]) for name in missing if (close := get_close_matches(name, strangers, n=1, cutoff=0.8))]
    hints = [f"it has {shown(found)}, which is close to {name}" for name, found in near]
    return "; ".join((sentence, *hints)) + "."
