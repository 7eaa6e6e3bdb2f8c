"""Users of whom more is known than the report's columns, looked up or only listed → rows of the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from auditor.inventory.join import ResolvedKey, resolve_keys
from auditor.model import (
    Account,
    AccountFacts,
    KeyStatus,
    ListedUser,
    LiveKey,
    NeverUsed,
    ReportUser,
    UnknownUse,
    UsedAt,
    UserLookup,
)


@dataclass(frozen=True, slots=True)
class Person:
    """A user from either source, with the look-up that belongs to it."""

    account: Account
    facts: AccountFacts
    row: ReportUser | ListedUser
    owner_tags: Sequence[str]
    lookup: UserLookup | None
    keys: tuple[ResolvedKey, ...]

    @classmethod
    def of(
        cls, account: Account, facts: AccountFacts, row: ReportUser | ListedUser, owner_tags: Sequence[str]
    ) -> "Person":
        """A row of the report or of the listing with what its look-up told."""
        generated_at = facts.meta.generated_at if facts.meta else None
        lookup = facts.lookups.get(row.name)
        keys = resolve_keys(row.keys if isinstance(row, ReportUser) else (), lookup, generated_at)
        return cls(account, facts, row, owner_tags, lookup, keys)

    @property
    def report(self) -> ReportUser | None:
        """The row, where it is the report's."""
        return self.row if isinstance(self.row, ReportUser) else None

    @property
    def is_root(self) -> bool:
        """Whether this is the root user, which no listing shows."""
        return self.report is not None and self.report.is_root

    @property
    def present(self) -> Sequence[LiveKey | ResolvedKey]:
        """The keys that the user has: as listed just now, or else as far as is known."""
        if self.listing == "live" and self.lookup:
            return self.lookup.keys
        return [key for key in self.keys if key.status is not KeyStatus.DELETED]

    @property
    def listing(self) -> str:
        """Where the number of keys comes from, as `auditor.tables.USERS` says it."""
        if self.lookup is None:
            return "report"
        if not self.lookup.exists:
            return "deleted"
        return "failed" if self.lookup.failed is not None else "live"

    @property
    def owner(self) -> str | None:
        """The value of the first owner tag that the user has."""
        if self.lookup is None:
            return None
        return next((self.lookup.tags[tag] for tag in self.owner_tags if self.lookup.tags.get(tag)), None)

    def user_row(self) -> tuple[Any, ...]:
        """The user's row of `auditor.tables.USERS`."""
        report, facts, lookup = self.report, self.facts, self.lookup
        countable = report is not None or self.listing == "live"
        return (
            self.account.id,
            self.account.name,
            self.row.name,
            self.row.arn,
            self.is_root,
            self.row.created_at,
            report.password_enabled if report else None,
            report.password_last_used.at if report and isinstance(report.password_last_used, UsedAt) else None,
            report.mfa_active if report else None,
            report.active_certificates if report else None,
            sum(key.status is KeyStatus.ACTIVE for key in self.present) if countable else None,
            len(self.present) if countable else None,
            self.listing,
            lookup.failed if lookup else None,
            facts.report.has_additional_column if facts.report else False,
            report.additional_credentials if report else None,
            self.owner,
        )

    def key_rows(self) -> list[tuple[Any, ...]]:
        """The rows of the user's keys of `auditor.tables.KEYS`."""
        return [self._key_row(key) for key in self.keys]

    def _key_row(self, key: ResolvedKey) -> tuple[Any, ...]:
        tags: Mapping[str, str] = self.lookup.tags if self.lookup else {}
        return (
            self.account.id,
            self.account.name,
            self.row.name,
            self.row.arn,
            self.is_root,
            key.slot,
            key.access_key_id,
            key.status.value,
            key.created_at,
            *_use_columns(key),
            key.identity,
            key.problem,
            self.owner,
            tags.get(key.access_key_id) if key.access_key_id else None,
        )


def _use_columns(key: ResolvedKey) -> tuple[str, datetime | None, str | None, str | None, str | None]:
    known = key.known_use
    at, service, region = (known.at, known.service, known.region) if known else (None, None, None)
    match key.last_used:
        case UsedAt():
            return ("used", at, service, region, None)
        case NeverUsed():
            return ("never", None, None, None, None)
        case UnknownUse(why):
            return ("unknown", at, service, region, why)
    assert_never(key.last_used)
