"""The three calls that change a user's access keys, and what came of each: yes, no, or nobody knows.

CreateAccessKey takes no idempotency token, so it is sent once and never again: a second one after a lost answer makes a
second key, or hides the first behind LimitExceeded. The other two are idempotent and tried again as every call is.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

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

    IAM's events are kept in the Region of the partition's identities (CloudTrail: event history, LookupEvents).

    Raises:
        AwsFailure: CloudTrail cannot be asked.
    """
    caller = replace(caller, region=REGIONS.get(caller.partition, REGIONS["aws"]))
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await caller.call(
            "cloudtrail",
            "lookup_events",
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateAccessKey"}],
            StartTime=since,
            **token,
        )
        for event in page.get("Events", ()):
            told = _created(str(event.get("CloudTrailEvent", "")), user, intent)
            if told is not None:
                found.append(told)
        if not page.get("NextToken"):
            return found
        token = {"NextToken": str(page["NextToken"])}


def _created(event: str, user: str, intent: str) -> str | None:
    """The key that this event made, where it is the user's and the intent's."""
    try:
        told = json.loads(event)
        made = (told.get("responseElements") or {}).get("accessKey") or {}
        agent = str(told.get("userAgent", ""))
    except (ValueError, AttributeError):
        return None
    mine = f"{INTENT}{intent}" in agent.split() and made.get("userName") == user
    return str(made["accessKeyId"]) if mine and made.get("accessKeyId") else None
