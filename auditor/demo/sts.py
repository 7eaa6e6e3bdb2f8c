"""STS: which roles may be assumed, by whom and for how long. Moto lets anybody assume any role."""

import json
import re
import string
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.iam.models import Role
from moto.sts.models import AssumedRole, sts_backends

from auditor.demo.answers import Question, Reply
from auditor.demo.cloud import Caller, Cloud, Session
from auditor.demo.seed import derived_text
from auditor.demo.wire import Payload, RefusedError

CHAINED_SESSION_SECONDS = 3600
"""AWS's limit for a role that is assumed with another role's session."""

_AUDIT_TASK = "IAMAuditRootUserCredentials"
_TASKS = {
    _AUDIT_TASK,
    "IAMCreateRootUserPassword",
    "IAMDeleteRootUserCredentials",
    "S3UnlockBucketPolicy",
    "SQSUnlockQueuePolicy",
}
"""The task policies that AssumeRoot takes; only the sessions of the first can do here what AWS lets them do."""

_AUDIT_ACTIONS = frozenset(
    {
        "GetAccessKeyLastUsed",
        "GetCallerIdentity",
        "GetLoginProfile",
        "GetUser",
        "ListAccessKeys",
        "ListMFADevices",
        "ListSigningCertificates",
    }
)
_ROOT_SECONDS = 900
"""The longest session of AssumeRoot, and its default."""

_SHORTEST_SECONDS, _LONGEST_SECONDS, _DEFAULT_SECONDS = 900, 43200, 3600
_ROLE_ARN = re.compile(r"arn:(?P<partition>[\w-]+):iam::(?P<account>\d{12}):role(?P<path>/(?:.*/)?)(?P<name>[^/]+)")
_PATTERNS = {
    "RoleSessionName": ("roleSessionName", re.compile(r"[\w+=,.@-]{2,64}", re.ASCII), r"[\w+=,.@-]*"),
    "ExternalId": ("externalId", re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII), r"[\w+=,.@:\/-]*"),
}


def get_caller_identity(question: Question) -> Payload:
    """The caller, as its credentials say."""
    caller = question.caller
    return {"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account_id}


def assume_role(question: Question) -> Payload:
    """A session of the role, where its trust policy, its account and the durations allow it.

    Raises RefusedError: AccessDenied for a role that does not exist, distrusts the caller, wants another external id
    or stands in an account that is not active, which AWS does not tell apart; ValidationError for impossible values.
    """
    params, caller, cloud = question.params, question.caller, question.cloud
    _validate_names(params)
    seconds = _seconds(params)
    arn = params.get("RoleArn", "")
    role = _role(cloud, arn)
    if role is None or not _trusts(role, caller, cloud, params.get("ExternalId")):
        message = f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        raise RefusedError(403, "AccessDenied", message)
    _check_length(seconds, role, caller)
    issued = sts_backends[caller.account_id][cloud.partition].assume_role(
        region_name=question.request.region or cloud.region,
        role_session_name=params["RoleSessionName"],
        role_arn=arn,
        policy=params.get("Policy", ""),
        duration=seconds,
        external_id=params.get("ExternalId", ""),
    )
    return _open_session(question, role, issued, timedelta(seconds=seconds))


def assume_root(question: Question) -> Payload:
    """A session of a member account's root user for one task; moto does not know the action.

    Raises RefusedError: AccessDenied where the organisation has no central root access, the caller's account does not
    manage it, or the target is no active member account; ValidationError for impossible values.
    """
    params, caller, cloud = question.params, question.caller, question.cloud
    target = params.get("TargetPrincipal", "")
    task = params.get("TaskPolicyArn.arn", "")
    known = {f"arn:{cloud.partition}:iam::aws:policy/root-task/{name}" for name in _TASKS}
    text = params.get("DurationSeconds", str(_ROOT_SECONDS))
    if not text.isdigit() or int(text) > _ROOT_SECONDS:
        raise _invalid(text, "durationSeconds", f"Member must have value less than or equal to {_ROOT_SECONDS}")
    if task not in known:
        raise RefusedError(400, "ValidationError", f"{task} is not a task policy.")
    managers = {cloud.management_account_id, *cloud.seed.delegated_administrator_ids}
    members = {account.id for account in cloud.organizations().accounts} - {cloud.management_account_id}
    may = cloud.seed.has_central_root_access and caller.account_id in managers and not caller.is_root
    if not may or target not in members or cloud.state_of(target) != "ACTIVE":
        resource = cloud.arn(target, "root")
        message = f"User: {caller.arn} is not authorized to perform: sts:AssumeRoot on resource: {resource}"
        raise RefusedError(403, "AccessDenied", message)
    root = Caller(target, cloud.arn(target, "root"), target, is_root=True)
    serial = len(cloud.sessions)
    key_id = "ASIA" + derived_text(target, serial, "root session", alphabet=string.ascii_uppercase, length=16)
    secret, token = (derived_text(key_id, what, alphabet=string.ascii_letters, length=60) for what in "st")
    return {"Credentials": _given(question, root, (key_id, secret, token), timedelta(seconds=int(text)))}


def require_task(question: Question) -> None:
    """Raise RefusedError where the root user's session calls what its task does not cover."""
    action = question.request.action
    if question.caller.is_root and action not in _AUDIT_ACTIONS:
        message = f"User: {question.caller.arn} is not authorized to perform: {question.request.service}:{action}"
        raise RefusedError(403, "AccessDenied", message)


def _open_session(question: Question, role: Role, issued: AssumedRole, length: timedelta) -> Payload:
    cloud, name = question.cloud, issued.session_name
    arn = cloud.arn(role.account_id, f"assumed-role/{role.name}/{name}", "sts")
    caller = Caller(role.account_id, arn, f"{role.id}:{name}")
    given = _given(question, caller, (issued.access_key_id, issued.secret_access_key, issued.session_token), length)
    return {"Credentials": given, "AssumedRoleUser": {"AssumedRoleId": caller.user_id, "Arn": arn}}


def _given(question: Question, caller: Caller, secrets: tuple[str, str, str], length: timedelta) -> Payload:
    """The credentials of a new session: access key id, secret access key and session token."""
    access_key_id, secret_access_key, token = secrets
    question.cloud.sessions[access_key_id] = Session(caller, token, question.clock() + length)
    # The server expires the session by the organisation's time. Clients that refresh by the time of day must not
    # find it expired on arrival when the organisation lives in the past, so they are told the later of the two.
    told = max(question.clock(), datetime.now(UTC)) + length
    return {
        "AccessKeyId": access_key_id,
        "SecretAccessKey": secret_access_key,
        "SessionToken": token,
        "Expiration": told,
    }


def _validate_names(params: Mapping[str, str]) -> None:
    for name, (member, pattern, shown) in _PATTERNS.items():
        value = params.get(name)
        if value is None and name == "ExternalId":
            continue
        if value is None or not pattern.fullmatch(value):
            constraint = f"Member must satisfy regular expression pattern: {shown}"
            raise _invalid(value or "", member, constraint)


def _seconds(params: Mapping[str, str]) -> int:
    text = params.get("DurationSeconds", str(_DEFAULT_SECONDS))
    if not text.isdigit() or int(text) < _SHORTEST_SECONDS:
        raise _invalid(text, "durationSeconds", f"Member must have value greater than or equal to {_SHORTEST_SECONDS}")
    if int(text) > _LONGEST_SECONDS:
        raise _invalid(text, "durationSeconds", f"Member must have value less than or equal to {_LONGEST_SECONDS}")
    return int(text)


def _check_length(seconds: int, role: Role, caller: Caller) -> None:
    if caller.user_name is None and seconds > CHAINED_SESSION_SECONDS:
        limit = "the 1 hour session limit for roles assumed by role chaining."
        raise RefusedError(400, "ValidationError", f"The requested DurationSeconds exceeds {limit}")
    if seconds > int(role.max_session_duration or _DEFAULT_SECONDS):
        limit = "the MaxSessionDuration set for this role."
        raise RefusedError(400, "ValidationError", f"The requested DurationSeconds exceeds {limit}")


def _invalid(value: str, member: str, constraint: str) -> RefusedError:
    message = f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    return RefusedError(400, "ValidationError", message)


def _role(cloud: Cloud, arn: str) -> Role | None:
    """The role of this ARN in an active account; raises RefusedError for what is no role's ARN."""
    parts = _ROLE_ARN.fullmatch(arn)
    if parts is None:
        raise RefusedError(400, "ValidationError", f"{arn} is invalid")
    account_id = parts["account"]
    if parts["partition"] != cloud.partition or not cloud.has_account(account_id):
        return None
    if cloud.state_of(account_id) != "ACTIVE":
        return None
    roles = list(cloud.iam(account_id).roles.values())
    return next((role for role in roles if (role.name, role.path) == (parts["name"], parts["path"])), None)


def _trusts(role: Role, caller: Caller, cloud: Cloud, external_id: str | None) -> bool:
    """Whether the role's trust policy allows the caller; of conditions it knows the external id alone."""
    statements = _listed(json.loads(role.assume_role_policy_document)["Statement"])
    return any(
        statement.get("Effect") == "Allow"
        and "sts:AssumeRole" in _listed(statement.get("Action", ()))
        and _names(statement.get("Principal", {}), caller, cloud)
        and _holds(statement.get("Condition", {}), external_id)
        for statement in statements
    )


def _names(principal: Any, caller: Caller, cloud: Cloud) -> bool:
    named = _listed(principal.get("AWS", ()) if isinstance(principal, dict) else principal)
    return not {"*", caller.account_id, caller.arn, cloud.arn(caller.account_id, "root")}.isdisjoint(named)


def _holds(condition: Mapping[str, Mapping[str, Any]], external_id: str | None) -> bool:
    tests = [(operator, key, value) for operator, keys in condition.items() for key, value in keys.items()]
    return all(
        (operator, key) == ("StringEquals", "sts:ExternalId") and external_id in _listed(value)
        for operator, key, value in tests
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else [value]


REPLIES: Mapping[str, Reply] = {
    "GetCallerIdentity": get_caller_identity,
    "AssumeRole": assume_role,
    "AssumeRoot": assume_root,
}
