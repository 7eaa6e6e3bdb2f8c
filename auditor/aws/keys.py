"""A user's access keys as they are now: ListAccessKeys, GetAccessKeyLastUsed, ListUserTags; and listings of users."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from auditor.aws.calls import Asker
from auditor.aws.failures import AwsFailure, Kind, raise_if_over
from auditor.aws.loop import in_lanes
from auditor.model import (
    ROOT_USER,
    CredentialReport,
    KeyStatus,
    LastUsed,
    ListedUser,
    LiveKey,
    NeverUsed,
    ReportUser,
    UnknownUse,
    UsedAt,
    UserLookup,
)

NOT_SAID = frozenset({"N/A", "not_supported", ""})
"""What stands for "no service" or "no Region": S3 and other non-regional services have none."""


async def look_up_users(
    caller: Asker, users: Iterable[str], on_done: Callable[[], None] = lambda: None
) -> dict[str, UserLookup]:
    """`look_up_user` for each, some of them at once; by name, in the order given. `on_done` hears of every one.

    Raises:
        AwsFailure: the session is over.
    """
    names = tuple(users)

    async def look_up(name: str) -> UserLookup:
        found = await look_up_user(caller, name)
        on_done()
        return found

    lookups = await in_lanes([partial(look_up, name) for name in names], caller.lanes)
    return dict(zip(names, lookups, strict=True))


async def look_up_user(caller: Asker, user: str) -> UserLookup:
    """The user's keys, the last use of each and the user's tags; what fails is said in the result, never raised.

    Only a failure that would hit every further call too (credentials expired or refused) is raised.

    Raises:
        AwsFailure: the session is over.
    """
    try:
        listed = await _listed(caller, user)
    except AwsFailure as failure:
        raise_if_over(failure)
        if failure.kind is Kind.NOT_FOUND:
            return UserLookup(user, exists=False)
        return UserLookup(user, failed=str(failure))
    keys = tuple([await _live_key(caller, entry) for entry in listed])
    try:
        tags = {tag["Key"]: tag["Value"] async for tag in caller.pages("list_user_tags", "Tags", UserName=user)}
    except AwsFailure as failure:
        raise_if_over(failure)
        return UserLookup(user, keys, tags_failed=str(failure))
    return UserLookup(user, keys, tags=tags)


async def look_up_root(caller: Asker) -> UserLookup:
    """The root user's keys and the last use of each, where the caller is the root user: it has no name to ask by.

    All of it or nothing: what the credential report says of the root user is better than a part.

    Raises:
        AwsFailure: AWS refused, or did not answer.
    """
    keys = []
    for entry in await _listed(caller):
        used = await _asked_use(caller, str(entry["AccessKeyId"]))
        if isinstance(used, UnknownUse):
            raise AwsFailure(Kind.UNREADABLE, "iam:GetAccessKeyLastUsed", "UnreadableAnswer", used.why)
        keys.append(_as_listed(entry, used))
    return UserLookup(ROOT_USER, tuple(keys))


async def follow_renamed(
    caller: Asker, report: CredentialReport, lookups: Mapping[str, UserLookup]
) -> dict[str, UserLookup]:
    """The look-ups, where users who may have been renamed since the report were sought among those there are now.

    A name proves nothing: AWS UpdateUser renames a user with all its keys, also onto a name that another one had. So a
    user whose name is gone, or whose name no longer lists a key that the report shows, is told by the second of its
    creation. Where the users cannot be listed, or it is not one to one, the look-up has failed.

    Raises:
        AwsFailure: the session is over.
    """
    if not lookups:
        return {}
    doubtful = [user for user in report.users if user.name in lookups and _may_be_another(user, lookups[user.name])]
    if not doubtful:
        return dict(lookups)
    try:
        listed = await list_users(caller)
    except AwsFailure as failure:
        raise_if_over(failure)
        why = f"the user or a key of it is gone, and whether the user was renamed is not known: {failure}"
        return {**lookups, **{user.name: UserLookup(user.name, failed=why) for user in doubtful}}
    found = dict(lookups)
    for user, now in _told_apart(report, doubtful, listed).items():
        if isinstance(now, str):
            found[user] = UserLookup(user, failed=now)
        elif now is None:
            found[user] = UserLookup(user, exists=False)
        elif now.name != user:
            found[user] = replace(await look_up_user(caller, now.name), user=user, renamed_to=now.name)
    return found


def _may_be_another(user: ReportUser, lookup: UserLookup) -> bool:
    if lookup.failed is not None:
        return False
    there = {key.created_at for key in lookup.keys}
    return not lookup.exists or any(key.created_at not in there for key in user.keys)


def _told_apart(
    report: CredentialReport, doubtful: Sequence[ReportUser], listed: Sequence[ListedUser]
) -> dict[str, ListedUser | str | None]:
    """For each doubtful user: who it is now, None where it is gone, or why that cannot be told."""
    known = {(user.name, user.created_at) for user in report.users}
    births = {user.created_at for user in report.users}
    by_name = {user.name: user for user in listed}
    strangers = [user for user in listed if (user.name, user.created_at) not in known]
    missing = Counter(user.created_at for user in doubtful if (user.name, user.created_at) not in set(_pairs(listed)))
    told: dict[str, ListedUser | str | None] = {}
    for user in doubtful:
        namesake = by_name.get(user.name)
        born = [stranger for stranger in strangers if stranger.created_at == user.created_at]
        if user.created_at is None and (strangers or namesake):
            told[user.name] = "the report does not say when the user was created, so it cannot be found again"
        elif namesake and namesake.created_at == user.created_at:
            told[user.name] = namesake
        elif len(born) == 1 and missing[user.created_at] == 1:
            told[user.name] = born[0]
        elif born:
            names = ", ".join(stranger.name for stranger in born)
            told[user.name] = f"which of the users created in that second it now is ({names}) cannot be told"
        elif namesake and namesake.created_at not in births:
            told[user.name] = namesake  # deleted, and made anew under the same name
        else:
            told[user.name] = None
    return told


def _pairs(users: Iterable[ListedUser]) -> Iterator[tuple[str, datetime]]:
    return ((user.name, user.created_at) for user in users)


async def _listed(caller: Asker, user: str | None = None) -> list[Mapping[str, Any]]:
    """The user's keys, or the caller's; an answer without the list is a failure, because "no keys" would be a pass."""
    named = {"UserName": user} if user is not None else {}
    entries = [entry async for entry in caller.pages("list_access_keys", "AccessKeyMetadata", **named)]
    if any(not {"AccessKeyId", "Status", "CreateDate"} <= set(entry) for entry in entries):
        raise AwsFailure(Kind.UNREADABLE, "iam:ListAccessKeys", "UnreadableAnswer", "a key without id, status or date")
    return entries


async def active_keys(caller: Asker, user: str) -> frozenset[str]:
    """The ids of the user's keys that work; with one call, for who looks again and again.

    Raises:
        AwsFailure: the keys cannot be listed.
    """
    listed = await _listed(caller, user)
    return frozenset(str(entry["AccessKeyId"]) for entry in listed if entry["Status"] == KeyStatus.ACTIVE.value)


async def list_users(caller: Asker) -> tuple[ListedUser, ...]:
    """Every IAM user of the account.

    Raises:
        AwsFailure: the users cannot be listed.
    """
    entries = [entry async for entry in caller.pages("list_users", "Users")]
    return tuple(ListedUser(entry["UserName"], entry["Arn"], whole_second(entry["CreateDate"])) for entry in entries)


async def root_keys_present(caller: Asker) -> bool:
    """Whether the root user has any access key, active or not (GetAccountSummary, AccountAccessKeysPresent).

    Raises:
        AwsFailure: the summary cannot be read, or does not say.
    """
    summary = (await caller.call("iam", "get_account_summary")).get("SummaryMap", {})
    if "AccountAccessKeysPresent" not in summary:
        what = "the account summary does not say whether root keys are present"
        raise AwsFailure(Kind.OTHER, "iam:GetAccountSummary", "Missing", what)
    return int(summary["AccountAccessKeysPresent"]) > 0


async def _live_key(caller: Asker, entry: Mapping[str, Any]) -> LiveKey:
    return _as_listed(entry, await _last_used(caller, str(entry["AccessKeyId"])))


def _as_listed(entry: Mapping[str, Any], used: LastUsed) -> LiveKey:
    # Anything but Active does not work, whatever AWS may call it one day.
    status = KeyStatus.ACTIVE if entry["Status"] == KeyStatus.ACTIVE.value else KeyStatus.INACTIVE
    return LiveKey(str(entry["AccessKeyId"]), status, whole_second(entry["CreateDate"]), used)


async def _last_used(caller: Asker, access_key_id: str) -> LastUsed:
    try:
        return await _asked_use(caller, access_key_id)
    except AwsFailure as failure:
        raise_if_over(failure)
        return UnknownUse(str(failure))


async def _asked_use(caller: Asker, access_key_id: str) -> LastUsed:
    answer = await caller.call("iam", "get_access_key_last_used", AccessKeyId=access_key_id)
    used = answer.get("AccessKeyLastUsed")
    if used is None:
        return UnknownUse("iam:GetAccessKeyLastUsed answered nothing")
    at = used.get("LastUsedDate")
    if at is None:
        return NeverUsed()
    return UsedAt(at.astimezone(UTC), _said(used.get("ServiceName")), _said(used.get("Region")))


def _said(value: str | None) -> str | None:
    return None if value is None or value in NOT_SAID else value


def whole_second(at: datetime) -> datetime:
    """AWS keeps whole seconds; a simulator's fractions would break the match with the credential report."""
    return at.astimezone(UTC).replace(microsecond=0)
