"""The IAM actions that moto answers otherwise than AWS does; every other one goes to moto."""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from moto.iam.models import User

from auditor.demo.answers import Question, Reply, page_of
from auditor.demo.cloud import from_moto, to_moto
from auditor.demo.wire import Payload, RefusedError, iso


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


def list_user_tags(question: Question) -> Payload:
    """A user's tags in pages."""
    user = _named_user(question)
    tags = question.cloud.iam(user.account_id).list_user_tags(user.name)
    return page_of(question, tags, "Tags")


def get_access_key_last_used(question: Question) -> Payload:
    """Last use to the minute, of a key of the caller's own account.

    AWS authorises the call against the key's owner, so that another account's key is AccessDenied.
    """
    cloud, caller, key_id = question.cloud, question.caller, question.params.get("AccessKeyId", "")
    account_id, key = cloud.key(key_id) or (None, None)
    if key is None or key.user_name is None:
        raise RefusedError(404, "NoSuchEntity", f"The Access Key with id {key_id} cannot be found.")
    if account_id != caller.account_id:
        message = f"User: {caller.arn} is not authorized to perform: iam:GetAccessKeyLastUsed on resource: "
        raise RefusedError(403, "AccessDenied", f"{message}access key {key_id}")
    used = cloud.extras_of(account_id).uses.get(key_id)
    last_used: dict[str, object] = {"ServiceName": "N/A", "Region": "N/A"}
    if used is not None:
        last_used = {
            "LastUsedDate": used.at.replace(second=0, microsecond=0),
            "ServiceName": used.service or "N/A",
            "Region": used.region or "N/A",
        }
    return {"UserName": key.user_name, "AccessKeyLastUsed": last_used}


def update_access_key(question: Question) -> None:
    """Moto stores any text as a key's status; AWS refuses `Expired` and what its model does not name."""
    status = question.params.get("Status", "")
    if status == "Expired":
        raise RefusedError(400, "InvalidInput", "The status Expired cannot be set on an access key.")
    if status not in {"Active", "Inactive"}:
        message = f"1 validation error detected: Value '{status}' at 'status' failed to satisfy constraint: "
        raise RefusedError(400, "ValidationError", f"{message}Member must satisfy enum value set: [Active, Inactive]")


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
    return _CREATE_DATE.sub(iso(question.clock()).encode(), body)


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
    "ListUsers": list_users,
    "ListAccessKeys": list_access_keys,
    "ListUserTags": list_user_tags,
    "GetAccessKeyLastUsed": get_access_key_last_used,
    "UpdateAccessKey": update_access_key,
    "DeleteUser": delete_user,
}

AFTERWARDS: Mapping[str, Callable[[Question, bytes], bytes]] = {
    "CreateAccessKey": stamp_new_key,
    "CreateUser": stamp_new_user,
}
"""What is put right in moto's successful answers."""
