"""STS and IAM: what stands between the `Result` tags of each action's answer (AWS Query protocol, XML)."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from xml.sax.saxutils import escape

from benchmarks.endpoint.cloud import CALLER_ACCESS_KEY_ID, CALLER_ARN_NAME, Call, Cloud, RefusedError
from benchmarks.endpoint.company import written

ITEMS_A_PAGE = 100
"""What a list of IAM gives where MaxItems does not ask for fewer or more (IAM API reference)."""

MOST_ITEMS_A_PAGE = 1000

QUARANTINE_POLICY = "AWSCompromisedKeyQuarantineV3"
QUARANTINE_ARN = f"arn:aws:iam::aws:policy/{QUARANTINE_POLICY}"

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
    start, end, more = _page(call, cloud.settings.users)
    return f"<Users>{cloud.company.listed(call.number, start, end)}</Users>{more}"


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


def list_policies(cloud: Cloud, call: Call) -> str:
    """The quarantine policy, where somebody is in quarantine; no other policy of AWS's is attached to anybody."""
    if not cloud.settings.quarantined or call.params.get("Scope") == "Local":
        return "<Policies/><IsTruncated>false</IsTruncated>"
    return (
        f"<Policies><member><PolicyName>{QUARANTINE_POLICY}</PolicyName><PolicyId>ANPAAAAAAAAAAAAAAAAAA</PolicyId>"
        f"<Arn>{QUARANTINE_ARN}</Arn><Path>/</Path><DefaultVersionId>v1</DefaultVersionId>"
        f"<AttachmentCount>{cloud.settings.quarantined}</AttachmentCount><IsAttachable>true</IsAttachable></member>"
        "</Policies><IsTruncated>false</IsTruncated>"
    )


def list_entities_for_policy(cloud: Cloud, call: Call) -> str:
    """A page of the users in quarantine; no group and no role has the policy."""
    arn = str(call.params.get("PolicyArn", ""))
    if arn != QUARANTINE_ARN:
        raise RefusedError(404, "NoSuchEntity", f"Policy {arn} was not found.")
    start, end, more = _page(call, cloud.settings.quarantined)
    members = "".join(
        f"<member><UserName>{name}</UserName><UserId>AIDAAAAAAAAAAAAAAAAAA</UserId></member>"
        for name in cloud.company.names[start:end]
    )
    return f"<PolicyUsers>{members}</PolicyUsers><PolicyGroups/><PolicyRoles/>{more}"


def list_service_specific_credentials(cloud: Cloud, call: Call) -> str:
    """A page of the credentials of all users."""
    if call.params.get("AllUsers") != "true":
        raise RefusedError(400, "ValidationError", "The endpoint lists the credentials of all users at once.")
    start, end, more = _page(call, cloud.settings.service_credentials)
    members = "".join(_service_credential(cloud, call.number, index) for index in range(start, end))
    return f"<ServiceSpecificCredentials>{members}</ServiceSpecificCredentials>{more}"


def _service_credential(cloud: Cloud, number: int, index: int) -> str:
    """Of every other user it is a key of Bedrock that never expires; older by a day from one user to the next."""
    service = "bedrock.amazonaws.com" if index % 2 == 0 else "codecommit.amazonaws.com"
    created = written(cloud.settings.as_of - timedelta(days=1 + index % 400))
    return (
        f"<member><UserName>{cloud.company.names[index]}</UserName><Status>Active</Status>"
        f"<CreateDate>{created}</CreateDate><ServiceName>{service}</ServiceName>"
        f"<ServiceSpecificCredentialId>ACCA{number:07d}{index:09d}</ServiceSpecificCredentialId></member>"
    )


def _page(call: Call, many: int) -> tuple[int, int, str]:
    """Where a page of so many items begins and ends, and what says whether there is more."""
    size = min(int(call.params.get("MaxItems", ITEMS_A_PAGE)), MOST_ITEMS_A_PAGE)
    start = int(call.params.get("Marker", 0))
    end = min(start + size, many)
    more = (
        f"<IsTruncated>true</IsTruncated><Marker>{end}</Marker>" if end < many else "<IsTruncated>false</IsTruncated>"
    )
    return start, end, more


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
    "ListPolicies": list_policies,
    "ListEntitiesForPolicy": list_entities_for_policy,
    "ListServiceSpecificCredentials": list_service_specific_credentials,
}
