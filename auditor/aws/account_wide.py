"""What one call or two tell of a whole account: users whom AWS put in quarantine, and service-specific credentials."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any

from auditor.aws.calls import Asker
from auditor.aws.failures import AwsFailure, Kind, raise_if_over
from auditor.aws.keys import whole_second
from auditor.aws.permissions import QUARANTINE_POLICY
from auditor.model import KeyStatus, Quarantine, ServiceCredential, ServiceCredentials

PAGE_SIZE = 1000
"""The largest page of IAM's lists (IAM API reference, MaxItems)."""


async def quarantined_users(caller: Asker) -> Quarantine:
    """Who has one of AWS's quarantine policies: a call where nobody has, another for each of them that is attached.

    What fails is said in the result; only a failure that would hit every further call too is raised.

    Raises:
        AwsFailure: the session is over.
    """
    found: dict[str, set[str]] = defaultdict(set)
    attached = _items(
        caller, "list_policies", "Policies", ("PolicyName", "Arn"), Scope="AWS", OnlyAttached=True, MaxItems=PAGE_SIZE
    )
    try:
        async for policy in attached:
            name = str(policy["PolicyName"])
            if not name.startswith(QUARANTINE_POLICY):
                continue
            users = _items(
                caller,
                "list_entities_for_policy",
                "PolicyUsers",
                ("UserName",),
                PolicyArn=policy["Arn"],
                EntityFilter="User",
                MaxItems=PAGE_SIZE,
            )
            async for user in users:
                found[str(user["UserName"])].add(name)
    except AwsFailure as failure:
        raise_if_over(failure)
        return Quarantine(failed=str(failure))
    return Quarantine({user: tuple(sorted(names)) for user, names in sorted(found.items())})


async def service_credentials(caller: Asker) -> ServiceCredentials:
    """The service-specific credentials of all users (ListServiceSpecificCredentials with AllUsers).

    What fails is said in the result; only a failure that would hit every further call too is raised.

    Raises:
        AwsFailure: the session is over.
    """
    needed = ("ServiceSpecificCredentialId", "UserName", "ServiceName", "Status", "CreateDate")
    listed = _items(
        caller,
        "list_service_specific_credentials",
        "ServiceSpecificCredentials",
        needed,
        AllUsers=True,
        MaxItems=PAGE_SIZE,
    )
    try:
        return ServiceCredentials(tuple([_credential(entry) async for entry in listed]))
    except AwsFailure as failure:
        raise_if_over(failure)
        return ServiceCredentials(failed=str(failure))


def _credential(entry: Mapping[str, Any]) -> ServiceCredential:
    ends = entry.get("ExpirationDate")
    # Anything but Active does not work: Inactive, Expired, whatever AWS may call it one day.
    status = KeyStatus.ACTIVE if entry["Status"] == KeyStatus.ACTIVE.value else KeyStatus.INACTIVE
    return ServiceCredential(
        id=str(entry["ServiceSpecificCredentialId"]),
        user=str(entry["UserName"]),
        service=str(entry["ServiceName"]),
        status=status,
        created_at=whole_second(entry["CreateDate"]),
        expires_at=whole_second(ends) if ends else None,
    )


async def _items(
    caller: Asker, method: str, key: str, needed: tuple[str, ...], **params: Any
) -> AsyncIterator[Mapping[str, Any]]:
    """The items of all pages; one without what is needed of it is a failure: to leave it out would be a pass."""
    async for item in caller.pages(method, key, **params):
        missing = [name for name in needed if not item.get(name)]
        if missing:
            what = f"an entry of {key} without {', '.join(missing)}"
            raise AwsFailure(Kind.UNREADABLE, caller.operation("iam", method), "UnreadableAnswer", what)
        yield item
