"""What was read of each account → the tables of facts. Pure: gathering, replay and tests see with the same eyes.

The credential report may be four hours old and names no key ids; ListAccessKeys is the truth about a user it was asked
for. This module joins the two. A report's key and a listed key are the same when they were created in the same second
and nothing else fits; anything but exactly one match is said to be unknown, never guessed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    KeyStatus,
    LastUsed,
    ListedUser,
    LiveKey,
    NeverUsed,
    NotAudited,
    ReportKey,
    ReportUser,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from auditor.tables import ACCOUNTS, KEYS, USERS, Snapshot, table

REPORT_GRACE = timedelta(minutes=15)
"""A key created so shortly before the report's GeneratedTime may be missing from it without a contradiction."""


@dataclass(frozen=True, slots=True)
class ResolvedKey:
    """An access key after the join of report and listing; `problem` says why it could not be confirmed live."""

    slot: int | None
    access_key_id: str | None
    status: KeyStatus
    created_at: datetime | None
    last_used: LastUsed
    known_use: UsedAt | None
    identity: str
    problem: str | None = None


def resolve_keys(
    reported: Sequence[ReportKey], lookup: UserLookup | None, generated_at: datetime | None
) -> tuple[ResolvedKey, ...]:
    """The keys of one user as they are now, as far as is known: report's slots first, then keys only listed.

    Args:
        reported: the user's keys in the credential report; empty where there is none.
        lookup: the live look-up of the user, or None where none was made.
        generated_at: the report's GeneratedTime, to tell a key made since from a contradiction.
    """
    if lookup is None:
        return tuple(_as_reported(key, "report") for key in reported)
    if not lookup.exists:
        return tuple(_gone(key) for key in reported)
    if lookup.failed is not None:
        problem = f"the live look-up failed ({lookup.failed})"
        return tuple(_as_reported(key, "unknown", problem) for key in reported)
    return _join(reported, lookup.keys, generated_at)


def _join(
    reported: Sequence[ReportKey], listed: Sequence[LiveKey], generated_at: datetime | None
) -> tuple[ResolvedKey, ...]:
    by_second: dict[datetime | None, list[LiveKey]] = defaultdict(list)
    for live in listed:
        by_second[live.created_at].append(live)
    rivals: dict[datetime | None, list[ReportKey]] = defaultdict(list)
    for key in reported:
        rivals[key.created_at].append(key)
    contradiction = _contradiction([live for live in listed if live.created_at not in rivals], generated_at)
    resolved = [_match(key, rivals[key.created_at], by_second[key.created_at], contradiction) for key in reported]
    return (*resolved, *_only_listed(listed, resolved))


def _only_listed(listed: Sequence[LiveKey], resolved: Sequence[ResolvedKey]) -> Iterator[ResolvedKey]:
    """Listed keys that no slot of the report stands for; of those that cannot be told apart, as many as are over."""
    matched = {key.access_key_id for key in resolved}
    ambiguous = [key for key in resolved if key.identity == "unknown" and key.problem]
    slots_left = Counter(key.created_at for key in ambiguous)
    problems = {key.created_at: key.problem for key in ambiguous}
    for live in listed:
        if live.access_key_id in matched:
            continue
        if live.created_at not in problems:
            yield _as_listed(live, None)
        elif slots_left[live.created_at] > 0:
            slots_left[live.created_at] -= 1
        else:
            unsure = UnknownUse("which key this is cannot be known")
            problem = problems[live.created_at]
            yield ResolvedKey(None, None, live.status, live.created_at, unsure, None, "unknown", problem)


def _match(
    key: ReportKey, rivals: Sequence[ReportKey], candidates: Sequence[LiveKey], contradiction: str | None
) -> ResolvedKey:
    if key.created_at is None:
        return _as_reported(key, "unknown", "the credential report gives no creation date to find the key by")
    if len(rivals) == 1 and len(candidates) == 1:
        return _as_listed(candidates[0], key)
    if not candidates:
        return _as_reported(key, "unknown", contradiction) if contradiction else _gone(key)
    same = [live for live in candidates if live.status is key.status]
    one_each = len(same) == 1 and sum(other.status is key.status for other in rivals) == 1
    if one_each and len(candidates) == len(rivals):
        return _as_listed(same[0], key)
    ids = ", ".join(sorted(live.access_key_id for live in candidates))
    problem = f"keys created in the same second cannot be told apart ({ids})"
    unsure = _as_reported(key, "unknown", problem)
    statuses = {live.status for live in candidates}
    return replace(unsure, status=statuses.pop()) if len(statuses) == 1 else unsure


def _contradiction(unmatched: Sequence[LiveKey], generated_at: datetime | None) -> str | None:
    if generated_at is None:
        return None
    older = sorted(live.access_key_id for live in unmatched if live.created_at < generated_at - REPORT_GRACE)
    if not older:
        return None
    ids = ", ".join(older)
    return f"the credential report and ListAccessKeys disagree: {ids} is older than the report but not in it"


def _known_use(last_used: LastUsed) -> UsedAt | None:
    return last_used if isinstance(last_used, UsedAt) else None


def _as_reported(key: ReportKey, identity: str, problem: str | None = None) -> ResolvedKey:
    return ResolvedKey(
        key.slot, None, key.status, key.created_at, key.last_used, _known_use(key.last_used), identity, problem
    )


def _gone(key: ReportKey) -> ResolvedKey:
    return ResolvedKey(
        key.slot, None, KeyStatus.DELETED, key.created_at, key.last_used, _known_use(key.last_used), "live"
    )


def _as_listed(live: LiveKey, key: ReportKey | None) -> ResolvedKey:
    reported = key.last_used if key else NeverUsed()
    last_used = _freshest(live.last_used, reported)
    known = last_used if isinstance(last_used, UsedAt) else _known_use(reported)
    slot = key.slot if key else None
    return ResolvedKey(slot, live.access_key_id, live.status, live.created_at, last_used, known, "live")


def _freshest(live: LastUsed, reported: LastUsed) -> LastUsed:
    """Both are AWS's word, so the later use counts; a failed look-up stays unknown whatever an older report said."""
    if isinstance(live, UsedAt) and isinstance(reported, UsedAt):
        return max(live, reported, key=lambda use: use.at)
    if isinstance(live, NeverUsed) and isinstance(reported, UsedAt):
        return reported
    return live


# ------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _User:
    """A user from either source, with the look-up that belongs to it."""

    name: str
    arn: str
    created_at: datetime | None
    report: ReportUser | None
    lookup: UserLookup | None
    keys: tuple[ResolvedKey, ...]

    @property
    def present(self) -> Sequence[LiveKey | ResolvedKey]:
        """The keys that the user has: as listed just now, or else as far as is known."""
        if self.lookup and self.lookup.failed is None and self.lookup.exists:
            return self.lookup.keys
        return [key for key in self.keys if key.status is not KeyStatus.DELETED]


def _users_of(facts: AccountFacts) -> Iterator[_User]:
    generated_at = facts.meta.generated_at if facts.meta else None
    rows: Iterable[ReportUser | ListedUser] = facts.report.users if facts.report else facts.listed_users
    for row in rows:
        report = row if isinstance(row, ReportUser) else None
        lookup = facts.lookups.get(row.name)
        keys = resolve_keys(report.keys if report else (), lookup, generated_at)
        yield _User(row.name, row.arn, row.created_at, report, lookup, keys)


def _owner(lookup: UserLookup | None, owner_tags: Sequence[str]) -> str | None:
    if lookup is None:
        return None
    return next((lookup.tags[tag] for tag in owner_tags if lookup.tags.get(tag)), None)


def _listing(lookup: UserLookup | None) -> str:
    if lookup is None:
        return "report"
    if not lookup.exists:
        return "deleted"
    return "failed" if lookup.failed is not None else "live"


def _user_row(account: Account, facts: AccountFacts, user: _User, owner: str | None) -> tuple[Any, ...]:
    report = user.report
    countable = report is not None or _listing(user.lookup) == "live"
    return (
        account.id,
        account.name,
        user.name,
        user.arn,
        report.is_root if report else False,
        user.created_at,
        report.password_enabled if report else None,
        report.password_last_used.at if report and isinstance(report.password_last_used, UsedAt) else None,
        report.mfa_active if report else None,
        report.active_certificates if report else None,
        sum(key.status is KeyStatus.ACTIVE for key in user.present) if countable else None,
        len(user.present) if countable else None,
        _listing(user.lookup),
        user.lookup.failed if user.lookup else None,
        facts.report.has_additional_column if facts.report else False,
        report.additional_credentials if report else None,
        owner,
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


def _key_row(account: Account, user: _User, key: ResolvedKey, owner: str | None) -> tuple[Any, ...]:
    tags: Mapping[str, str] = user.lookup.tags if user.lookup else {}
    return (
        account.id,
        account.name,
        user.name,
        user.arn,
        user.report.is_root if user.report else False,
        key.slot,
        key.access_key_id,
        key.status.value,
        key.created_at,
        *_use_columns(key),
        key.identity,
        key.problem,
        owner,
        tags.get(key.access_key_id) if key.access_key_id else None,
    )


def _root_counts(facts: AccountFacts) -> tuple[int | None, int | None]:
    """Root keys (active, present); from the report's root row, or what the account summary tells."""
    root = facts.report.root if facts.report else None
    if root is not None:
        return sum(key.status is KeyStatus.ACTIVE for key in root.keys), len(root.keys)
    if facts.root_keys_present is None:
        return None, None
    return (None, 1) if facts.root_keys_present else (0, 0)


def _account_row(result: AccountResult, users: int, keys: int) -> tuple[Any, ...]:
    account, outcome = result.account, result.outcome
    head = (account.id, account.name, account.partition, account.state)
    if isinstance(outcome, NotAudited):
        why = (outcome.code.value, outcome.reason, outcome.next_step)
        return (*head, False, None, None, None, None, None, None, None, *why, None)
    meta = outcome.meta
    facts = (outcome.source.value, meta.generated_at if meta else None, meta.sha256 if meta else None)
    notes = "\n".join(outcome.notes) or None
    return (*head, True, *facts, users, keys, *_root_counts(outcome), None, None, None, notes)


def build_snapshot(results: Iterable[AccountResult], *, owner_tags: Sequence[str]) -> Snapshot:
    """The tables of facts, ordered by account id and then as AWS listed them.

    Args:
        results: one per account in scope, audited or not, in any order.
        owner_tags: user tags that name an owner, the preferred first.
    """
    accounts: list[tuple[Any, ...]] = []
    users: list[tuple[Any, ...]] = []
    keys: list[tuple[Any, ...]] = []
    for result in sorted(results, key=lambda result: result.account.id):
        first_user, present = len(users), 0
        if isinstance(result.outcome, AccountFacts):
            for user in _users_of(result.outcome):
                owner = _owner(user.lookup, owner_tags)
                users.append(_user_row(result.account, result.outcome, user, owner))
                keys.extend(_key_row(result.account, user, key, owner) for key in user.keys)
                present += len(user.present)
        accounts.append(_account_row(result, len(users) - first_user, present))
    return Snapshot(table(ACCOUNTS, accounts), table(USERS, users), table(KEYS, keys))
