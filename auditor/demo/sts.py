"""STS: which roles may be assumed, by whom and for how long. Moto lets anybody assume any role."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.iam.models import Role
from moto.sts.models import AssumedRole, sts_backends

from auditor.demo.answers import Question, Reply
from auditor.demo.cloud import Caller, Cloud, Session
from auditor.demo.wire import Payload, RefusedError

CHAINED_SESSION_SECONDS = 3600
"""AWS's limit for a role that is assumed with another role's session."""

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


def _open_session(question: Question, role: Role, issued: AssumedRole, length: timedelta) -> Payload:
    cloud, name = question.cloud, issued.session_name
    arn = cloud.arn(role.account_id, f"assumed-role/{role.name}/{name}", "sts")
    caller = Caller(role.account_id, arn, f"{role.id}:{name}")
    cloud.sessions[issued.access_key_id] = Session(caller, issued.session_token, question.clock() + length)
    # The server expires the session by the organisation's time. Clients that refresh by the time of day must not
    # find it expired on arrival when the organisation lives in the past, so they are told the later of the two.
    told = max(question.clock(), datetime.now(UTC)) + length
    return {
        "Credentials": {
            "AccessKeyId": issued.access_key_id,
            "SecretAccessKey": issued.secret_access_key,
            "SessionToken": issued.session_token,
            "Expiration": told,
        },
        "AssumedRoleUser": {"AssumedRoleId": caller.user_id, "Arn": arn},
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


REPLIES: Mapping[str, Reply] = {"GetCallerIdentity": get_caller_identity, "AssumeRole": assume_role}
