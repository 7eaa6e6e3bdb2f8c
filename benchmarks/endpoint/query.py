"""STS and IAM: what stands between the `Result` tags of each action's answer (AWS Query protocol, XML)."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

from benchmarks.endpoint.cloud import CALLER_ACCESS_KEY_ID, CALLER_ARN_NAME, Call, Cloud, RefusedError

USERS_A_PAGE = 100
"""What ListUsers gives where MaxItems does not ask for fewer or more (IAM API reference)."""

MOST_USERS_A_PAGE = 1000

DEFAULT_SESSION_SECONDS = 3600
"""AssumeRole's session where DurationSeconds does not say (STS API reference)."""

_TEAMS = 20

Answer = Callable[[Cloud, Call], str]


# ------------------------------------------------------------------------------------------------- STS


def assume_role(cloud: Cloud, call: Call) -> str:
    """A session; refused as AWS does, without saying whether account, role or external id is wrong."""
    settings, arn = cloud.settings, str(call.params.get("RoleArn", ""))
    name = arn.rpartition("/")[2]
    wrong_role = settings.role_name not in {"", name} or ":role/" not in arn
    wrong_id = settings.external_id not in {"", call.params.get("ExternalId", "")}
    if call.about == 0 or wrong_role or wrong_id:
        said = f"User: {caller_arn(cloud, call)} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        raise RefusedError(403, "AccessDenied", said)
    seconds = float(call.params.get("DurationSeconds", DEFAULT_SESSION_SECONDS))
    access_key_id, end = cloud.open_session(call.about, seconds)
    session = escape(str(call.params.get("RoleSessionName", "")))
    account = cloud.company.account_id(call.about)
    return (
        f"<AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/{escape(name)}/{session}</Arn>"
        f"<AssumedRoleId>AROAAAAAAAAAAAAAAAAAA:{session}</AssumedRoleId></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>none</SecretAccessKey>"
        f"<SessionToken>{access_key_id}</SessionToken><Expiration>{end}</Expiration></Credentials>"
    )


def get_caller_identity(cloud: Cloud, call: Call) -> str:
    """Whose credentials signed the call."""
    account = cloud.company.account_id(call.number)
    return f"<Arn>{caller_arn(cloud, call)}</Arn><UserId>{call.access_key_id}</UserId><Account>{account}</Account>"


def caller_arn(cloud: Cloud, call: Call) -> str:
    """The ARN of who signed the call."""
    account = cloud.company.account_id(call.number)
    if call.access_key_id == CALLER_ACCESS_KEY_ID:
        return f"arn:aws:iam::{account}:{CALLER_ARN_NAME}"
    return f"arn:aws:sts::{account}:assumed-role/{cloud.settings.role_name or 'any'}/session"


# ------------------------------------------------------------------------------------------------- IAM


def generate_credential_report(cloud: Cloud, call: Call) -> str:
    """STARTED, then INPROGRESS, then COMPLETE."""
    state = cloud.request_report(call.number)
    first = "No report exists. Starting a new report generation task"
    said = f"<Description>{first}</Description>" if state == "STARTED" else ""
    return f"{said}<State>{state}</State>"


def get_credential_report(cloud: Cloud, call: Call) -> str:
    """The report, where it is there."""
    made_at = cloud.report_time(call.number)
    content = b64encode(cloud.company.report(call.number)).decode()
    return f"<Content>{content}</Content><ReportFormat>text/csv</ReportFormat><GeneratedTime>{made_at}</GeneratedTime>"


def list_users(cloud: Cloud, call: Call) -> str:
    """A page of the account's users; the marker is the number of the next."""
    size = min(int(call.params.get("MaxItems", USERS_A_PAGE)), MOST_USERS_A_PAGE)
    start = int(call.params.get("Marker", 0))
    end = min(start + size, cloud.settings.users)
    members = cloud.company.listed(call.number, start, end)
    more = f"<Marker>{end}</Marker>" if end < cloud.settings.users else ""
    return f"<Users>{members}</Users><IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"


def list_access_keys(cloud: Cloud, call: Call) -> str:
    """The user's keys: one page always suffices."""
    company, number, index = cloud.company, call.number, _user(cloud, call)
    members = "".join(
        f"<member><UserName>{company.names[index]}</UserName><AccessKeyId>{company.key_id(number, index, slot)}"
        f"</AccessKeyId><Status>{'Active' if key.is_active else 'Inactive'}</Status>"
        f"<CreateDate>{key.created_at}</CreateDate></member>"
        for slot, key in enumerate(company.profile(number, index).keys)
    )
    return f"<AccessKeyMetadata>{members}</AccessKeyMetadata><IsTruncated>false</IsTruncated>"


def get_access_key_last_used(cloud: Cloud, call: Call) -> str:
    """A key's owner and last use; for a key that is not the account's AWS has only AccessDenied."""
    key_id = str(call.params.get("AccessKeyId", ""))
    found = cloud.company.key_of(call.number, key_id)
    if found is None:
        said = f"User: {caller_arn(cloud, call)} is not authorized to perform: iam:GetAccessKeyLastUsed"
        raise RefusedError(403, "AccessDenied", said)
    index, key = found
    date = f"<LastUsedDate>{key.used_at}</LastUsedDate>" if key.used_at else ""
    return (
        f"<UserName>{cloud.company.names[index]}</UserName><AccessKeyLastUsed>{date}"
        f"<ServiceName>{key.service}</ServiceName><Region>{key.region}</Region></AccessKeyLastUsed>"
    )


def list_user_tags(cloud: Cloud, call: Call) -> str:
    """One tag that names an owner."""
    team = f"team-{_user(cloud, call) % _TEAMS:02d}"
    return f"<Tags><member><Key>owner</Key><Value>{team}</Value></member></Tags><IsTruncated>false</IsTruncated>"


def get_account_summary(cloud: Cloud, call: Call) -> str:  # noqa: ARG001 - the same in every account
    """A few lines of the summary; no root user has a key."""
    summary = {
        "Users": cloud.settings.users,
        "UsersQuota": 5000,
        "AccessKeysPerUserQuota": 2,
        "AccountAccessKeysPresent": 0,
        "AccountMFAEnabled": 1,
    }
    entries = "".join(f"<entry><key>{key}</key><value>{value}</value></entry>" for key, value in summary.items())
    return f"<SummaryMap>{entries}</SummaryMap>"


def _user(cloud: Cloud, call: Call) -> int:
    """The index of the user that the call names; raises RefusedError for none and for an unknown one."""
    name = call.params.get("UserName")
    if name is None:
        raise RefusedError(400, "ValidationError", "Must specify userName when calling with non-User credentials")
    index = cloud.company.user_index(name)
    if index is None:
        raise RefusedError(404, "NoSuchEntity", f"The user with name {name} cannot be found.")
    return index


STS: Mapping[str, Answer] = {"AssumeRole": assume_role, "GetCallerIdentity": get_caller_identity}

IAM: Mapping[str, Answer] = {
    "GenerateCredentialReport": generate_credential_report,
    "GetCredentialReport": get_credential_report,
    "ListUsers": list_users,
    "ListAccessKeys": list_access_keys,
    "GetAccessKeyLastUsed": get_access_key_last_used,
    "ListUserTags": list_user_tags,
    "GetAccountSummary": get_account_summary,
}
