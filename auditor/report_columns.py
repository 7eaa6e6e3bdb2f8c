"""The rows of a credential report as columns: what is done to many users is done to whole columns at once.

A record of one user is made when it is asked for. Columns stand for the same rows as a tuple of records does, and are
equal to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Self, SupportsIndex, TypeVar, overload

import numpy as np
import numpy.typing as npt

from auditor.model import ROOT_USER, KeyStatus, LastUsed, NeverUsed, ReportKey, ReportUser, UnknownUse, UsedAt

SLOTS = 2
"""Keys that a credential report can show per user."""

Texts = npt.NDArray[np.object_]
"""Each a str, or None."""
Instants = npt.NDArray[np.datetime64]
"""In UTC, with microseconds; NaT where there is none."""
Flags = npt.NDArray[np.bool_]
Answers = npt.NDArray[np.int8]
"""1 for true, 0 for false, -1 where AWS has no answer."""
Counts = npt.NDArray[np.int64]

Scalar = TypeVar("Scalar", bound=np.generic)

_NEVER_USED = NeverUsed()
_RECORDS_AT_A_TIME = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOT_A_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class ReportColumns(Sequence[ReportUser]):
    """The columns of `ReportUser`, a row each; those of the keys are twice as wide, a column for each slot.

    A last use is an instant, or the reason why it is unknown, or neither, for never.
    """

    name: Texts
    arn: Texts
    created_at: Instants
    password_enabled: Answers
    password_used_at: Instants
    password_use_unknown: Texts
    password_changed_at: Instants
    mfa_active: Answers
    active_certificates: Counts
    additional: Texts
    has_key: Flags
    key_active: Flags
    key_created_at: Instants
    key_used_at: Instants
    key_service: Texts
    key_region: Texts
    key_use_unknown: Texts

    @classmethod
    def of(cls, users: Sequence[ReportUser]) -> "ReportColumns":
        """The columns of these rows; a slot holds one key at most, or ValueError."""
        if isinstance(users, ReportColumns):
            return users
        slots = [_slots(user) for user in users]
        uses = [[key.last_used if key else _NEVER_USED for key in pair] for pair in slots]
        passwords = [user.password_last_used for user in users]
        return cls(
            name=_texts([user.name for user in users]),
            arn=_texts([user.arn for user in users]),
            created_at=_instants([user.created_at for user in users]),
            password_enabled=_answers([user.password_enabled for user in users]),
            password_used_at=_instants([_used_at(use) for use in passwords]),
            password_use_unknown=_texts([_why_unknown(use) for use in passwords]),
            password_changed_at=_instants([user.password_changed_at for user in users]),
            mfa_active=_answers([user.mfa_active for user in users]),
            active_certificates=np.array([user.active_certificates for user in users], np.int64),
            additional=_texts([user.additional_credentials for user in users]),
            has_key=_pairs(np.array([[key is not None for key in pair] for pair in slots], np.bool_)),
            key_active=_pairs(np.array([[_is_active(key) for key in pair] for pair in slots], np.bool_)),
            key_created_at=_pairs(_instants([key.created_at if key else None for pair in slots for key in pair])),
            key_used_at=_pairs(_instants([_used_at(use) for pair in uses for use in pair])),
            key_service=_pairs(_texts([_service(use) for pair in uses for use in pair])),
            key_region=_pairs(_texts([_region(use) for pair in uses for use in pair])),
            key_use_unknown=_pairs(_texts([_why_unknown(use) for pair in uses for use in pair])),
        )

    @property
    def is_root(self) -> Flags:
        """Which row is the root user's."""
        return np.equal(self.name, ROOT_USER)

    @classmethod
    def joined(cls, parts: Sequence["ReportColumns"]) -> "ReportColumns":
        """The rows of all parts, one part after the other."""
        columns = zip(*(part.all() for part in parts), strict=True)
        return cls(*map(np.concatenate, columns)) if parts else cls.of(())

    def take(self, rows: Flags | npt.NDArray[np.intp] | slice) -> Self:
        """These rows alone: a flag for each row, positions, or a slice."""
        return type(self)(*(column[rows] for column in self.all()))

    def __len__(self) -> int:
        """How many users there are."""
        return len(self.name)

    @overload
    def __getitem__(self, index: SupportsIndex) -> ReportUser: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ReportUser, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> ReportUser | tuple[ReportUser, ...]:
        """The record of one user, or those of some."""
        if isinstance(index, slice):
            return tuple(self.take(index))
        position = range(len(self))[index]
        return next(_records(self.take(slice(position, position + 1))))

    def __iter__(self) -> Iterator[ReportUser]:
        """The records, one by one; made some at a time, since many ask for the first alone."""
        for first in range(0, len(self), _RECORDS_AT_A_TIME):
            yield from _records(self.take(slice(first, first + _RECORDS_AT_A_TIME)))

    def __eq__(self, other: object) -> bool:
        """Whether the records are the same."""
        if not isinstance(other, ReportColumns | tuple):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def all(self) -> tuple[Any, ...]:
        """The columns, in their order."""
        return tuple(getattr(self, field.name) for field in fields(self))


# ------------------------------------------------------------------------------------------------- columns to records


def _records(columns: ReportColumns) -> Iterator[ReportUser]:
    for row in zip(*(column.tolist() for column in columns.all()), strict=True):
        name, arn, created, enabled, used, unknown, changed, mfa, certificates, additional, *keys = row
        yield ReportUser(
            name=name,
            arn=arn,
            created_at=_utc(created),
            keys=tuple(_key(slot, *key) for slot, key in enumerate(zip(*keys, strict=True), start=1) if key[0]),
            password_enabled=_answer(enabled),
            password_last_used=_last_use(used, None, None, unknown),
            password_changed_at=_utc(changed),
            mfa_active=_answer(mfa),
            active_certificates=certificates,
            additional_credentials=additional,
        )


def _key(  # noqa: PLR0913, PLR0917 - the key's columns, in their order
    slot: int,
    _: bool,  # noqa: FBT001 - the first column, which tells that there is a key
    active: bool,  # noqa: FBT001
    created_at: datetime | None,
    used_at: datetime | None,
    service: str | None,
    region: str | None,
    unknown: str | None,
) -> ReportKey:
    status = KeyStatus.ACTIVE if active else KeyStatus.INACTIVE
    return ReportKey(slot, status, _utc(created_at), _last_use(used_at, service, region, unknown))


def _last_use(at: datetime | None, service: str | None, region: str | None, unknown: str | None) -> LastUsed:
    if at is not None:
        return UsedAt(at.replace(tzinfo=UTC), service, region)
    return _NEVER_USED if unknown is None else UnknownUse(unknown)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _answer(value: int) -> bool | None:
    return None if value < 0 else bool(value)


# ------------------------------------------------------------------------------------------------- records to columns


def _slots(user: ReportUser) -> tuple[ReportKey | None, ...]:
    keys = {key.slot: key for key in user.keys}
    pair = tuple(keys.get(slot) for slot in range(1, SLOTS + 1))
    if sum(key is not None for key in pair) != len(user.keys):
        raise ValueError(f"{user.name}: more than one key in a slot, or a slot that no report has")
    return pair


def _is_active(key: ReportKey | None) -> bool:
    return key is not None and key.status is KeyStatus.ACTIVE


def _used_at(use: LastUsed) -> datetime | None:
    return use.at if isinstance(use, UsedAt) else None


def _service(use: LastUsed) -> str | None:
    return use.service if isinstance(use, UsedAt) else None


def _region(use: LastUsed) -> str | None:
    return use.region if isinstance(use, UsedAt) else None


def _why_unknown(use: LastUsed) -> str | None:
    return use.why if isinstance(use, UnknownUse) else None


def _texts(values: Sequence[str | None]) -> Texts:
    return np.array(values, np.object_)


def _instants(values: Sequence[datetime | None]) -> Instants:
    elapsed = [_NOT_A_TIME if at is None else (at - _EPOCH) // _MICROSECOND for at in values]
    return np.array(elapsed, np.int64).view("datetime64[us]")


def _answers(values: Sequence[bool | None]) -> Answers:
    return np.array([-1 if value is None else value for value in values], np.int8)


def _pairs(column: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    return column.reshape(-1, SLOTS)
