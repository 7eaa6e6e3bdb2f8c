"""One user's keys in the report and in the listing, joined.

A report's key and a listed key are the same when they were created in the same second and nothing else fits; anything
but exactly one match is said to be unknown, never guessed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from auditor.model import (
    KeyStatus,
    LastUsed,
    LiveKey,
    NeverUsed,
    ReportKey,
    UnknownUse,
    UsedAt,
    UserLookup,
)

REPORT_GRACE = timedelta(minutes=15)
"""A key created so shortly before the report's GeneratedTime may be missing from it without a contradiction."""


SAME_SECOND = "keys created in the same second cannot be told apart"
WHICH_KEY = "which key this is cannot be known"
"""Why a key of the report, or of the listing, has none that it stands for in the other."""


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
    ambiguous = [key for key in resolved if key.identity in {"unknown", "alike"} and key.problem]
    slots_left = Counter(key.created_at for key in ambiguous)
    alike = {key.created_at: key for key in ambiguous}
    for live in listed:
        if live.access_key_id in matched:
            continue
        if live.created_at not in alike:
            yield _as_listed(live, None)
        elif slots_left[live.created_at] > 0:
            slots_left[live.created_at] -= 1
        else:
            unsure = UnknownUse(WHICH_KEY)
            other = alike[live.created_at]
            yield ResolvedKey(None, None, live.status, live.created_at, unsure, None, other.identity, other.problem)


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
    problem = f"{SAME_SECOND} ({ids})"
    unsure = _as_reported(key, "unknown", problem)
    statuses = {live.status for live in candidates}
    if len(statuses) > 1:
        return unsure
    # Where no fewer are listed than the report has, whichever it is, it has this status.
    return replace(unsure, status=statuses.pop(), identity="alike" if len(candidates) >= len(rivals) else "unknown")


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
