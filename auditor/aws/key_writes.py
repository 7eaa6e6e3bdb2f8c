"""The three calls that change a user's access keys, and what came of each: yes, no, or nobody knows.

CreateAccessKey takes no idempotency token, so it is sent once and never again: a second one after a lost answer makes a
second key, or hides the first behind LimitExceeded. The other two are idempotent and tried again as every call is.
"""

import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from auditor.aws.calls import INTENT, Caller
from auditor.aws.clients import REGIONS
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.keys import whole_second
from auditor.model import KeyStatus
from auditor.secret import Secret

for _leaky in ("botocore.parsers", "botocore.endpoint"):
    # At DEBUG they write whole answers and requests, with the secrets in them.
    logging.getLogger(_leaky).setLevel(logging.WARNING)
    logging.getLogger(_leaky).propagate = False


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as AWS made it; its secret is shown this once."""

    id: str
    secret: Secret
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyCredentials:
    """A key as credentials, to call AWS with it."""

    id: str
    secret: Secret

    async def frozen(self) -> ReadOnlyCredentials:
        """See `auditor.aws.clients.CredentialSource`."""
        return ReadOnlyCredentials(self.id, self.secret.reveal(), None)


def is_definite(failure: AwsFailure) -> bool:
    """Whether the failed call certainly did nothing, in all of its attempts."""
    return not failure.may_be_done


async def create_access_key(caller: Caller, user: str, intent: str) -> NewKey:
    """Make a key for the user, with one request (IAM CreateAccessKey).

    Args:
        caller: in the user's account.
        user: the user's name.
        intent: goes with the request in its User-Agent, so that CloudTrail tells whose doing the key is.

    Raises:
        AwsFailure: it was refused, or nobody knows (`is_definite` tells which).
    """
    once = replace(caller, attempts=1, intent=intent)
    answer = await once.call("iam", "create_access_key", UserName=user)
    made = answer.get("AccessKey", {})
    if not {"AccessKeyId", "SecretAccessKey", "CreateDate"} <= set(made):
        what = "the answer holds no key"
        raise AwsFailure(Kind.UNREADABLE, "iam:CreateAccessKey", "UnreadableAnswer", what)
    return NewKey(str(made["AccessKeyId"]), Secret(str(made["SecretAccessKey"])), whole_second(made["CreateDate"]))


async def set_key_status(caller: Caller, user: str, key_id: str, status: KeyStatus) -> None:
    """Make a key active or inactive; it may be so already (IAM UpdateAccessKey).

    Raises:
        AwsFailure: as `Caller.call`.
    """
    await caller.call("iam", "update_access_key", UserName=user, AccessKeyId=key_id, Status=status.value)


async def delete_access_key(caller: Caller, user: str, key_id: str) -> None:
    """Delete a key for good; one that is gone already is as well (IAM DeleteAccessKey).

    Raises:
        AwsFailure: as `Caller.call`.
    """
    try:
        await caller.call("iam", "delete_access_key", UserName=user, AccessKeyId=key_id)
    except AwsFailure as failure:
        if failure.kind is not Kind.NOT_FOUND:
            raise


async def created_by(caller: Caller, user: str, intent: str, since: datetime) -> Sequence[str]:
    """The ids of keys of the user that CloudTrail says were made with this intent; it may take 15 minutes to know.

    Raises:
        AwsFailure: CloudTrail cannot be asked.
    """
    made = [
        (event.get("responseElements") or {}).get("accessKey") or {}
        async for event in _done_with(caller, "CreateAccessKey", intent, since)
    ]
    return [str(key["accessKeyId"]) for key in made if key.get("userName") == user and key.get("accessKeyId")]


async def was_switched_by(caller: Caller, key_id: str, status: KeyStatus, intent: str, since: datetime) -> bool:
    """Whether CloudTrail says that a key was switched on or off with this intent; it may take 15 minutes to know.

    Raises:
        AwsFailure: CloudTrail cannot be asked.
    """
    asked = [
        event.get("requestParameters") or {} async for event in _done_with(caller, "UpdateAccessKey", intent, since)
    ]
    return any((one.get("accessKeyId"), one.get("status")) == (key_id, status.value) for one in asked)


async def _done_with(caller: Caller, action: str, intent: str, since: datetime) -> AsyncIterator[Mapping[str, Any]]:
    """Calls of an action that were made with this intent, and that AWS did; as CloudTrail tells of them.

    IAM's events are kept in the Region of the partition's identities (CloudTrail: event history, LookupEvents).
    """
    caller = replace(caller, region=REGIONS.get(caller.partition, REGIONS["aws"]))
    token: dict[str, str] = {}
    while True:
        page = await caller.call(
            "cloudtrail",
            "lookup_events",
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": action}],
            StartTime=since,
            **token,
        )
        for event in page.get("Events", ()):
            told = _told(str(event.get("CloudTrailEvent", "")), intent)
            if told is not None:
                yield told
        if not page.get("NextToken"):
            return
        token = {"NextToken": str(page["NextToken"])}


def _told(event: str, intent: str) -> Mapping[str, Any] | None:
    """What this event tells, where it is the intent's and no refusal, of which CloudTrail tells as well."""
    try:
        told: Mapping[str, Any] = json.loads(event)
        agent = str(told.get("userAgent", ""))
    except (ValueError, AttributeError):
        return None
    return told if f"{INTENT}{intent}" in agent.split() and not told.get("errorCode") else None
