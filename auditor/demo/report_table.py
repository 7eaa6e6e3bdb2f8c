"""Renders the credential report of an account from moto's users, in the form that AWS writes.

Source of the form: AWS IAM User Guide, "Generate credential reports", and recordings of live reports where they
contradict it: the root row first, then users ignoring case, `Z` stamps, no newline at the end, inactive keys with
their dates, slots in no order that creation would give.
"""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from moto.iam.models import User

from auditor.demo.cloud import AccountExtras, Cloud, from_moto
from auditor.demo.seed import PasswordSeed
from auditor.model import ROOT_USER, KeyStatus, UsedAt

COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    *(
        f"access_key_{slot}_{column}"
        for slot in (1, 2)
        for column in ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
    ),
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
ADDITIONAL_COLUMN = "additional_credentials_info"

_SLOTS = 2
"""The report shows this many access keys and certificates of a user, however many there are."""


class _Key(NamedTuple):
    access_key_id: str
    active: bool
    created_at: datetime
    used: UsedAt | None


class _Certificate(NamedTuple):
    active: bool
    uploaded_at: datetime


class _Stamps(NamedTuple):
    suffix: str

    def second(self, instant: datetime | None, otherwise: str = "N/A") -> str:
        return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}{self.suffix}" if instant is not None else otherwise

    def minute(self, instant: datetime) -> str:
        return self.second(instant.replace(second=0))


def render_report(cloud: Cloud, account_id: str) -> bytes:
    """The account's credential report as of now, as the bytes that GetCredentialReport gives."""
    extras = cloud.extras_of(account_id)
    settings = extras.report
    stamps = _Stamps("+00:00" if settings.has_offset_stamps else "Z")
    users = sorted(cloud.iam(account_id).users.values(), key=lambda user: user.name.casefold())
    rows = [
        (*COLUMNS, ADDITIONAL_COLUMN),
        _root_row(cloud, account_id, extras, stamps),
        *(_user_row(cloud, user, extras, stamps) for user in users),
    ]
    if not settings.has_additional_column:
        rows = [row[: len(COLUMNS)] for row in rows]
    if settings.has_unquoted_commas:
        return "\n".join(",".join(row) for row in rows).encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().removesuffix("\n").encode()


def _root_row(cloud: Cloud, account_id: str, extras: AccountExtras, stamps: _Stamps) -> tuple[str, ...]:
    root = extras.root
    keys = [_Key(key.access_key_id, key.status is KeyStatus.ACTIVE, key.created_at, key.last_used) for key in root.keys]
    certificates = [_Certificate(certificate.active, certificate.uploaded_at) for certificate in root.certificates]
    return (
        ROOT_USER,
        cloud.arn(account_id, "root"),
        stamps.second(root.created_at),
        *_password(root.password, stamps)[:-1],
        "not_supported",
        _boolean(root.mfa_active),
        *_credentials(keys, certificates, stamps),
    )


def _user_row(cloud: Cloud, user: User, extras: AccountExtras, stamps: _Stamps) -> tuple[str, ...]:
    password = None
    if user.password:
        password = extras.passwords.get(user.id, PasswordSeed(changed_at=from_moto(user.create_date)))
    keys = [
        _Key(key.access_key_id, key.status == "Active", from_moto(key.create_date), extras.uses.get(key.access_key_id))
        for key in list(user.access_keys)
    ]
    certificates = [
        _Certificate(certificate.status == "Active", from_moto(certificate.upload_date))
        for certificate in list(user.signing_certificates.values())
    ]
    return (
        user.name,
        cloud.user_arn(user),
        stamps.second(from_moto(user.create_date)),
        *_password(password, stamps),
        _boolean(bool(user.mfa_devices)),
        *_credentials(keys, certificates, stamps),
    )


def _password(password: PasswordSeed | None, stamps: _Stamps) -> tuple[str, str, str, str]:
    if password is None:
        return "false", "N/A", "N/A", "N/A"
    return (
        "true",
        stamps.second(password.last_used_at, "no_information"),
        stamps.second(password.changed_at),
        stamps.second(password.next_rotation_at),
    )


def _credentials(keys: Sequence[_Key], certificates: Sequence[_Certificate], stamps: _Stamps) -> tuple[str, ...]:
    shown_keys = sorted(keys)[:_SLOTS]
    shown_certificates = list(certificates)[:_SLOTS]
    cells: list[str] = []
    for slot in range(_SLOTS):
        cells += _key(shown_keys[slot], stamps) if slot < len(shown_keys) else ("false", *["N/A"] * 4)
    for slot in range(_SLOTS):
        has_one = slot < len(shown_certificates)
        cells += _certificate(shown_certificates[slot], stamps) if has_one else ("false", "N/A")
    return (*cells, _additional(len(keys) - _SLOTS, len(certificates) - _SLOTS))


def _key(key: _Key, stamps: _Stamps) -> tuple[str, ...]:
    active, created = _boolean(key.active), stamps.second(key.created_at)
    if key.used is None:
        return active, created, "N/A", "N/A", "N/A"
    return active, created, stamps.minute(key.used.at), key.used.region or "N/A", key.used.service or "N/A"


def _certificate(certificate: _Certificate, stamps: _Stamps) -> tuple[str, str]:
    return _boolean(certificate.active), stamps.second(certificate.uploaded_at)


def _additional(keys: int, certificates: int) -> str:
    """AWS documents what this column tells but not its words; these are made up."""
    told = []
    if keys > 0:
        told.append(f"additional access keys: {keys} (see ListAccessKeys)")
    if certificates > 0:
        told.append(f"additional certificates: {certificates} (see ListSigningCertificates)")
    return "; ".join(told) or "N/A"


def _boolean(value: bool) -> str:  # noqa: FBT001 - one value in, its text out
    return "true" if value else "false"
