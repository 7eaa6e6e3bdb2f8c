"""The IAM actions that moto answers otherwise than AWS does; every other one goes to moto."""

import base64
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from moto.iam.models import AWSManagedPolicy, Group, Role, User

from auditor.demo.answers import Question, Reply, page_of
from auditor.demo.cloud import CreatedKey, ServiceCredential, SwitchedKey, from_moto, to_moto
from auditor.demo.seed import KeySeed
from auditor.demo.wire import Payload, RefusedError, iso
from auditor.model import UsedAt


def generate_credential_report(question: Question) -> Payload:
    """See `ReportDesk.generate`."""
    return question.desk.generate()


def get_credential_report(question: Question) -> Payload:
    """See `ReportDesk.get`."""
    report = question.desk.get()
    return {
        "Content": base64.b64encode(report.content).decode(),
        "ReportFormat": "text/csv",
        "GeneratedTime": report.generated_at,
    }


def list_users(question: Question) -> Payload:
    """Users under PathPrefix by name ignoring case, in pages; without their tags, as AWS gives them."""
    users = list(question.cloud.iam(question.caller.account_id).users.values())
    prefix = question.params.get("PathPrefix", "/")
    chosen = sorted((user for user in users if user.path.startswith(prefix)), key=lambda user: user.name.casefold())
    return page_of(question, [_user(question, user) for user in chosen], "Users")


def _user(question: Question, user: User) -> Payload:
    used: datetime | None = cast("Any", user).password_last_used
    return {
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": question.cloud.user_arn(user),
        "CreateDate": from_moto(user.create_date),
        "PasswordLastUsed": from_moto(used) if used is not None else None,
    }


def list_access_keys(question: Question) -> Payload:
    """A user's keys, the newest first: no more an order to rely on than the report's slots are."""
    if question.caller.is_root and "UserName" not in question.params:
        return page_of(question, [_root_key(key) for key in _root_keys(question)], "AccessKeyMetadata")
    user = _named_user(question)
    keys = sorted(user.access_keys, key=lambda key: (from_moto(key.create_date), key.access_key_id), reverse=True)
    members = [
        {
            "UserName": user.name,
            "AccessKeyId": key.access_key_id,
            "Status": key.status,
            "CreateDate": from_moto(key.create_date),
        }
        for key in keys
    ]
    return page_of(question, members, "AccessKeyMetadata")


def list_policies(question: Question) -> Payload:
    """Managed policies by scope, path and attachment; moto counts what was attached once, and its last page goes on."""
    params, account_id = question.params, question.caller.account_id
    identities = [identity for held in _identities(question).values() for identity in held]
    attached = Counter(arn for identity in identities for arn in identity.managed_policies)
    chosen = [
        policy
        for policy in sorted(question.cloud.iam(account_id).managed_policies.values(), key=lambda policy: policy.name)
        if params.get("Scope", "All") in {"All", "AWS" if isinstance(policy, AWSManagedPolicy) else "Local"}
        and policy.path.startswith(params.get("PathPrefix", "/"))
        and (params.get("OnlyAttached") != "true" or attached[policy.arn])
    ]
    members = [
        {
            "PolicyName": policy.name,
            "PolicyId": policy.id,
            "Arn": policy.arn,
            "Path": policy.path,
            "DefaultVersionId": policy.default_version_id,
            "AttachmentCount": attached[policy.arn],
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": True,
            "CreateDate": from_moto(policy.create_date),
            "UpdateDate": from_moto(policy.update_date),
        }
        for policy in chosen
    ]
    return page_of(question, members, "Policies")


def list_entities_for_policy(question: Question) -> Payload:
    """Whom a managed policy is attached to, in pages over users, groups and roles; moto's are never cut off."""
    arn, wanted = question.params.get("PolicyArn", ""), question.params.get("EntityFilter", "")
    if arn not in question.cloud.iam(question.caller.account_id).managed_policies:
        raise RefusedError(404, "NoSuchEntity", f"Policy {arn} was not found.")
    kinds = _identities(question)
    held = [
        (kind, {f"{kind}Name": identity.name, f"{kind}Id": identity.id})
        for kind, identities in kinds.items()
        for identity in identities
        if wanted in {"", kind} and arn in identity.managed_policies
    ]
    page = page_of(question, held, "held")
    shown: Sequence[tuple[str, Payload]] = cast("Any", page.pop("held"))
    return page | {f"Policy{kind}s": [member for place, member in shown if place == kind] for kind in kinds}


def _identities(question: Question) -> Mapping[str, Sequence[User | Group | Role]]:
    """Everybody in the caller's account whom a policy can be attached to, by kind."""
    backend = question.cloud.iam(question.caller.account_id)
    return {
        "Group": list(backend.groups.values()),
        "User": list(backend.users.values()),
        "Role": list(backend.roles.values()),
    }


def list_service_specific_credentials(question: Question) -> Payload:
    """Of all users or of one, perhaps of one service only; without their passwords. Moto does not know the action."""
    params, account_id = question.params, question.caller.account_id
    if params.get("AllUsers") == "true":
        if "UserName" in params:
            raise RefusedError(400, "ValidationError", "UserName and AllUsers cannot be given together.")
        users = sorted(question.cloud.iam(account_id).users.values(), key=lambda user: user.name.casefold())
    else:
        users = [_named_user(question)]
    held = question.cloud.extras_of(account_id).service_credentials
    members = [
        _service_credential(question, user, credential)
        for user in users
        for credential in held.get(user.id, ())
        if params.get("ServiceName", credential.seed.service) == credential.seed.service
    ]
    return page_of(question, members, "ServiceSpecificCredentials")


def _service_credential(question: Question, user: User, credential: ServiceCredential) -> Payload:
    seed = credential.seed
    name = f"{user.name}-at-{user.account_id}"
    is_over = seed.expires_at is not None and seed.expires_at <= question.clock()
    return {
        "UserName": user.name,
        "Status": "Expired" if is_over else seed.status.value,
        "ServiceUserName": None if seed.service.startswith("bedrock") else name,
        "ServiceCredentialAlias": name if seed.service.startswith("bedrock") else None,
        "CreateDate": seed.created_at,
        "ExpirationDate": seed.expires_at,
        "ServiceSpecificCredentialId": credential.id,
        "ServiceName": seed.service,
    }


def list_user_tags(question: Question) -> Payload:
    """A user's tags in pages."""
    user = _named_user(question)
    tags = question.cloud.iam(user.account_id).list_user_tags(user.name)
    return page_of(question, tags, "Tags")


def _root_keys(question: Question) -> Sequence[KeySeed]:
    return question.cloud.extras_of(question.caller.account_id).root.keys


def _root_key(key: KeySeed) -> Payload:
    return {"AccessKeyId": key.access_key_id, "Status": key.status.value, "CreateDate": key.created_at}


def get_access_key_last_used(question: Question) -> Payload:
    """Last use to the minute, of a key of the caller's own account.

    AWS authorises the call against the key's owner, so that another account's key is AccessDenied.
    """
    cloud, caller, key_id = question.cloud, question.caller, question.params.get("AccessKeyId", "")
    if caller.is_root:
        for root_key in _root_keys(question):
            if root_key.access_key_id == key_id:
                return {"AccessKeyLastUsed": _last_used(root_key.last_used)}
    account_id, key = cloud.key(key_id) or (None, None)
    if key is None or key.user_name is None:
        raise RefusedError(404, "NoSuchEntity", f"The Access Key with id {key_id} cannot be found.")
    if account_id != caller.account_id:
        message = f"User: {caller.arn} is not authorized to perform: iam:GetAccessKeyLastUsed on resource: "
        raise RefusedError(403, "AccessDenied", f"{message}access key {key_id}")
    used = cloud.extras_of(account_id).uses.get(key_id)
    users = cloud.iam(account_id).users.values()  # moto's key keeps the name of a user that was renamed
    owner = next((user.name for user in users if key in user.access_keys), key.user_name)
    return {"UserName": owner, "AccessKeyLastUsed": _last_used(used)}


def _last_used(used: UsedAt | None) -> Payload:
    if used is None:
        return {"ServiceName": "N/A", "Region": "N/A"}
    return {
        "LastUsedDate": used.at.replace(second=0, microsecond=0),
        "ServiceName": used.service or "N/A",
        "Region": used.region or "N/A",
    }


def update_access_key(question: Question) -> None:
    """Moto stores any text as a key's status; AWS refuses `Expired` and what its model does not name."""
    status = question.params.get("Status", "")
    if status == "Expired":
        raise RefusedError(400, "InvalidInput", "The status Expired cannot be set on an access key.")
    if status not in {"Active", "Inactive"}:
        message = f"1 validation error detected: Value '{status}' at 'status' failed to satisfy constraint: "
        raise RefusedError(400, "ValidationError", f"{message}Member must satisfy enum value set: [Active, Inactive]")


def get_user(question: Question) -> Payload:
    """A user with its tags, as AWS gives them here and not in a list."""
    user = _named_user(question)
    tags = question.cloud.iam(user.account_id).list_user_tags(user.name)
    return {"User": {**_user(question, user), "Tags": tags or None}}


def delete_user(question: Question) -> None:
    """Moto deletes a user who still has access keys."""
    if _named_user(question).access_keys:
        raise RefusedError(409, "DeleteConflict", "Cannot delete entity, must delete access keys first.")


def _named_user(question: Question) -> User:
    """The user that UserName names, or the caller where it names none; raises RefusedError."""
    name = question.params.get("UserName") or question.caller.user_name
    if name is None:
        raise RefusedError(400, "ValidationError", "Must specify userName when calling with non-User credentials")
    user = question.cloud.user(question.caller.account_id, name)
    if user is None:
        raise RefusedError(404, "NoSuchEntity", f"The user with name {name} cannot be found.")
    return user


# ------------------------------------------------------------------------------------------------- after moto

_CREATE_DATE = re.compile(rb"(?<=<CreateDate>)[^<]*")
_KEY_ID = re.compile(rb"<AccessKeyId>(AKIA[A-Z0-9]+)</AccessKeyId>")


def stamp_new_key(question: Question, body: bytes) -> bytes:
    """CreateAccessKey's answer, and the key itself, with the organisation's time in whole seconds."""
    found = _KEY_ID.search(body)
    known = question.cloud.key(found[1].decode()) if found else None
    if known is None:
        return body
    known[1].create_date = to_moto(question.clock())
    account_id, key = known
    question.cloud.created_keys[key.access_key_id] = CreatedKey(
        account_id=account_id,
        user_name=str(key.user_name),
        access_key_id=key.access_key_id,
        caller_arn=question.caller.arn,
        user_agent=question.request.user_agent,
        at=question.clock(),
    )
    return _CREATE_DATE.sub(iso(question.clock()).encode(), body)


def keep_switched_key(question: Question, body: bytes) -> bytes:
    """UpdateAccessKey's answer as it is; CloudTrail will tell that it was done."""
    params = question.params
    switched = SwitchedKey(
        account_id=question.caller.account_id,
        user_name=params.get("UserName"),
        access_key_id=params["AccessKeyId"],
        status=params["Status"],
        caller_arn=question.caller.arn,
        user_agent=question.request.user_agent,
        at=question.clock(),
    )
    with question.cloud.lock:
        question.cloud.switched_keys.append(switched)
    return body


def stamp_new_user(question: Question, body: bytes) -> bytes:
    """CreateUser's answer, and the user itself, with the organisation's time in whole seconds."""
    user = question.cloud.user(question.caller.account_id, question.params.get("UserName", ""))
    if user is None:
        return body
    user.create_date = to_moto(question.clock())
    return _CREATE_DATE.sub(iso(question.clock()).encode(), body)


REPLIES: Mapping[str, Reply] = {
    "GenerateCredentialReport": generate_credential_report,
    "GetCredentialReport": get_credential_report,
    "GetUser": get_user,
    "ListUsers": list_users,
    "ListAccessKeys": list_access_keys,
    "ListUserTags": list_user_tags,
    "ListPolicies": list_policies,
    "ListEntitiesForPolicy": list_entities_for_policy,
    "ListServiceSpecificCredentials": list_service_specific_credentials,
    "GetAccessKeyLastUsed": get_access_key_last_used,
    "UpdateAccessKey": update_access_key,
    "DeleteUser": delete_user,
}

AFTERWARDS: Mapping[str, Callable[[Question, bytes], bytes]] = {
    "CreateAccessKey": stamp_new_key,
    "CreateUser": stamp_new_user,
    "UpdateAccessKey": keep_switched_key,
}
"""What is put right in moto's successful answers, or kept of them."""
