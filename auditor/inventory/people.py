"""Users of whom more is known than the report's columns, looked up or only listed → rows of the tables."""

import json
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
    lookup: UserLookup | None
    keys: tuple[ResolvedKey, ...]

    @classmethod
    def of(cls, account: Account, facts: AccountFacts, row: ReportUser | ListedUser) -> "Person":
        """A row of the report or of the listing with what its look-up told."""
        generated_at = facts.meta.generated_at if facts.meta else None
        lookup = facts.lookups.get(row.name)
        keys = resolve_keys(row.keys if isinstance(row, ReportUser) else (), lookup, generated_at)
        return cls(account, facts, row, lookup, keys)

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
    def rotation_since(self) -> datetime | None:
        """The creation of the youngest of several active keys."""
        active = [key.created_at for key in self.present if key.status is KeyStatus.ACTIVE]
        known = [created for created in active if created]
        return max(known) if len(active) > 1 and known else None

    @property
    def tags(self) -> tuple[str | None, str | None]:
        """The user's tags as JSON, or why they are not known; neither where nobody asked."""
        if self.lookup is None or not self.lookup.exists:
            return None, None
        problem = self.lookup.failed or self.lookup.tags_failed
        if problem is not None:
            return None, problem
        return json.dumps(dict(sorted(self.lookup.tags.items())), ensure_ascii=False), None

    @property
    def quarantined_by(self) -> str | None:
        """AWS's quarantine policies that are attached to the user, under the name that it has now."""
        quarantine = self.facts.quarantine
        now = (self.lookup.renamed_to if self.lookup else None) or self.row.name
        policies = quarantine.users.get(now) if quarantine else None
        return ", ".join(policies) if policies else None

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
            report.password_last_used.why if report and isinstance(report.password_last_used, UnknownUse) else None,
            report.password_changed_at if report else None,
            report.mfa_active if report else None,
            report.active_certificates if report else None,
            sum(key.status is KeyStatus.ACTIVE for key in self.present) if countable else None,
            len(self.present) if countable else None,
            self.listing,
            lookup.failed if lookup else None,
            facts.report.has_additional_column if facts.report else False,
            report.additional_credentials if report else None,
            self.rotation_since,
            self.quarantined_by,
            *self.tags,
            None,
            None,
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
            self.row.created_at,
            self.report.password_enabled if self.report else None,
            self.rotation_since,
            None,
            self.quarantined_by,
            None,
            None,
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
