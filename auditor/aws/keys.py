"""A user's access keys as they are now: ListAccessKeys, GetAccessKeyLastUsed, ListUserTags; and listings of users."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.steps import Steps, Together
from auditor.model import (
    CredentialReport,
    KeyStatus,
    LastUsed,
    ListedUser,
    LiveKey,
    NeverUsed,
    UnknownUse,
    UsedAt,
    UserLookup,
)

NOT_SAID = frozenset({"N/A", "not_supported", ""})
"""What stands for "no service" or "no Region": S3 and other non-regional services have none."""


def look_up_users(caller: Caller, users: Iterable[str]) -> Steps[dict[str, UserLookup]]:
    """`look_up_user` for each, some of them at once; by name, in the order given.

    Raises:
        AwsFailure: the session is over.
    """
    names = tuple(users)
    lookups = yield Together(tuple(partial(look_up_user, caller, name) for name in names))
    return dict(zip(names, lookups, strict=True))


def look_up_user(caller: Caller, user: str) -> UserLookup:
    """The user's keys, the last use of each and the user's tags; what fails is said in the result, never raised.

    Only a failure that would hit every further call too (credentials expired or refused) is raised.

    Raises:
        AwsFailure: the session is over.
    """
    try:
        listed = _listed(caller, user)
    except AwsFailure as failure:
        _raise_if_over(failure)
        if failure.kind is Kind.NOT_FOUND:
            return UserLookup(user, exists=False)
        return UserLookup(user, failed=str(failure))
    keys = tuple(_live_key(caller, entry) for entry in listed)
    try:
        tags = {tag["Key"]: tag["Value"] for tag in caller.pages("list_user_tags", "Tags", UserName=user)}
    except AwsFailure as failure:
        _raise_if_over(failure)
        return UserLookup(user, keys, tags_failed=str(failure))
    return UserLookup(user, keys, tags=tags)


def follow_renamed(
    caller: Caller, report: CredentialReport, lookups: Mapping[str, UserLookup]
) -> dict[str, UserLookup]:
    """The look-ups, where a user whose name is gone was sought among the users that the report does not know.

    NoSuchEntity proves only that the name is gone (AWS UpdateUser renames a user with all its keys). A user is found
    again by the second of its creation. Where the users cannot be listed, or it is not one to one, the look-up failed.

    Raises:
        AwsFailure: the session is over.
    """
    gone = [user for user in report.users if user.name in lookups and not lookups[user.name].exists]
    if not gone:
        return dict(lookups)
    known = {user.name for user in report.users}
    try:
        strangers = [user for user in list_users(caller) if user.name not in known]
    except AwsFailure as failure:
        _raise_if_over(failure)
        why = f"the user's name is gone, and whether it was renamed is not known: {failure}"
        return {**lookups, **{user.name: UserLookup(user.name, failed=why) for user in gone}}
    found = dict(lookups)
    missing = Counter(user.created_at for user in gone)
    for user in gone:
        born = [stranger.name for stranger in strangers if stranger.created_at == user.created_at]
        if len(born) == 1 and missing[user.created_at] == 1:
            found[user.name] = replace(look_up_user(caller, born[0]), user=user.name, renamed_to=born[0])
        elif born:
            why = (
                f"the user's name is gone, and which of the users created in that second it now is ({', '.join(born)})"
            )
            found[user.name] = UserLookup(user.name, failed=f"{why} cannot be told")
    return found


def _listed(caller: Caller, user: str) -> list[Mapping[str, Any]]:
    """The user's keys; an answer without the list is a failure, because "no keys" would be a pass."""
    entries = list(caller.pages("list_access_keys", "AccessKeyMetadata", UserName=user))
    if any(not {"AccessKeyId", "Status", "CreateDate"} <= set(entry) for entry in entries):
        raise AwsFailure(Kind.UNREADABLE, "iam:ListAccessKeys", "UnreadableAnswer", "a key without id, status or date")
    return entries


def list_users(caller: Caller) -> Iterator[ListedUser]:
    """Every IAM user of the account.

    Raises:
        AwsFailure: the users cannot be listed.
    """
    for entry in caller.pages("list_users", "Users"):
        yield ListedUser(entry["UserName"], entry["Arn"], _whole_second(entry["CreateDate"]))


def root_keys_present(caller: Caller) -> bool:
    """Whether the root user has any access key, active or not (GetAccountSummary, AccountAccessKeysPresent).

    Raises:
        AwsFailure: the summary cannot be read, or does not say.
    """
    summary = caller.call("iam", "get_account_summary").get("SummaryMap", {})
    if "AccountAccessKeysPresent" not in summary:
        what = "the account summary does not say whether root keys are present"
        raise AwsFailure(Kind.OTHER, "iam:GetAccountSummary", "Missing", what)
    return int(summary["AccountAccessKeysPresent"]) > 0


def _raise_if_over(failure: AwsFailure) -> None:
    if failure.kind in {Kind.CREDENTIALS_EXPIRED, Kind.CREDENTIALS_INVALID, Kind.NO_CREDENTIALS}:
        raise failure


def _live_key(caller: Caller, entry: Mapping[str, Any]) -> LiveKey:
    # Anything but Active does not work, whatever AWS may call it one day.
    status = KeyStatus.ACTIVE if entry["Status"] == KeyStatus.ACTIVE.value else KeyStatus.INACTIVE
    key_id = str(entry["AccessKeyId"])
    return LiveKey(key_id, status, _whole_second(entry["CreateDate"]), _last_used(caller, key_id))


def _last_used(caller: Caller, access_key_id: str) -> LastUsed:
    try:
        answer = caller.call("iam", "get_access_key_last_used", AccessKeyId=access_key_id)
    except AwsFailure as failure:
        _raise_if_over(failure)
        return UnknownUse(str(failure))
    used = answer.get("AccessKeyLastUsed")
    if used is None:
        return UnknownUse("iam:GetAccessKeyLastUsed answered nothing")
    at = used.get("LastUsedDate")
    if at is None:
        return NeverUsed()
    return UsedAt(at.astimezone(UTC), _said(used.get("ServiceName")), _said(used.get("Region")))


def _said(value: str | None) -> str | None:
    return None if value is None or value in NOT_SAID else value


def _whole_second(at: datetime) -> datetime:
    """AWS keeps whole seconds; a simulator's fractions would break the match with the credential report."""
    return at.astimezone(UTC).replace(microsecond=0)
