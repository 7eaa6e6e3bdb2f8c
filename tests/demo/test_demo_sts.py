"""Whose credentials are accepted, and which roles can be assumed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from auditor.demo import AccountSeed, EmbeddedOrganisation, KeySeed, OrganisationSeed, RoleSeed, RootSeed, UserSeed
from auditor.demo.seed import derived_key_id
from auditor.model import KeyStatus, UsedAt

AS_OF = datetime(2026, 6, 15, 9, 30, 20, tzinfo=UTC)
ACCOUNT, MEMBER = "111111111111", "022222222222"
INVALID, EXPIRED = "InvalidClientTokenId", "ExpiredToken"


def organisation(member: AccountSeed | None = None, clock: Any = None, **seed: Any) -> EmbeddedOrganisation:
    accounts = (AccountSeed(ACCOUNT), member or AccountSeed(MEMBER, "member"))
    return EmbeddedOrganisation(OrganisationSeed(accounts, **seed), as_of=AS_OF, clock=clock)


# ------------------------------------------------------------------------------------------------- credentials


def test_the_caller_is_a_user_of_the_management_account(aws: Any) -> None:
    """The organisation's credentials are well-formed and GetCallerIdentity names their user."""
    with organisation() as cloud:
        identity = aws.client("sts", cloud).get_caller_identity()
    assert (len(cloud.access_key_id), cloud.access_key_id[:4], len(cloud.secret_access_key)) == (20, "AKIA", 40)
    assert identity["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/auditor"
    assert (identity["Account"], identity["UserId"][:4]) == (ACCOUNT, "AIDA")


def test_an_unlisted_caller_appears_nowhere(aws: Any) -> None:
    """A caller who is not in the seed is in no list and in no report."""
    with organisation() as cloud:
        assert aws.iam(cloud).list_users()["Users"] == []
        assert list(aws.rows(cloud)) == ["<root_account>"]


def test_a_seeded_caller_is_listed_and_signs_with_its_own_key() -> None:
    """A caller who is in the seed signs with its first active key, and without one the seed is refused."""
    keys = (KeySeed(status=KeyStatus.INACTIVE), KeySeed())
    accounts = (AccountSeed(ACCOUNT, users=(UserSeed("bot", keys),)),)
    seed = OrganisationSeed(accounts, caller="bot")
    assert EmbeddedOrganisation(seed, as_of=AS_OF).access_key_id == derived_key_id(ACCOUNT, "bot", 1)
    keyless = OrganisationSeed((AccountSeed(ACCOUNT, users=(UserSeed("bot"),)),), caller="bot")
    with pytest.raises(ValueError, match="no active access key"):
        EmbeddedOrganisation(keyless, as_of=AS_OF)


@pytest.mark.parametrize(
    ("service", "method", "expected"),
    [
        ("sts", "get_caller_identity", (403, INVALID)),
        ("iam", "list_users", (403, INVALID)),
        ("organizations", "list_accounts", (400, "UnrecognizedClientException")),
        ("secretsmanager", "list_secrets", (400, "UnrecognizedClientException")),
        ("s3", "list_buckets", (403, "InvalidAccessKeyId")),
    ],
)
def test_an_unknown_key_is_refused(aws: Any, service: str, method: str, expected: tuple[int, str]) -> None:
    """A key that no account has is refused by each service in its own words."""
    stranger = {"AccessKeyId": "AKIAUNKNOWN222222222", "SecretAccessKey": "x" * 40}
    with organisation() as cloud, pytest.raises(ClientError) as error:
        getattr(aws.client(service, cloud, stranger), method)()
    assert aws.refusal(error) == expected


def test_inactive_and_deleted_keys_are_refused(aws: Any) -> None:
    """A key works while it is active, not once it is inactive, again when reactivated, and never after deletion."""
    member = AccountSeed(MEMBER, "member", (UserSeed("bot", (KeySeed(),)),))
    key_id = derived_key_id(MEMBER, "bot", 0)
    credentials = {"AccessKeyId": key_id, "SecretAccessKey": "x" * 40}
    with organisation(member) as cloud:
        iam, bot = aws.iam(cloud, MEMBER), aws.client("sts", cloud, credentials)
        assert bot.get_caller_identity()["Arn"] == f"arn:aws:iam::{MEMBER}:user/bot"
        iam.update_access_key(UserName="bot", AccessKeyId=key_id, Status="Inactive")
        with pytest.raises(ClientError) as inactive:
            bot.get_caller_identity()
        iam.update_access_key(UserName="bot", AccessKeyId=key_id, Status="Active")
        assert bot.get_caller_identity()["Account"] == MEMBER
        iam.delete_access_key(UserName="bot", AccessKeyId=key_id)
        with pytest.raises(ClientError) as deleted:
            bot.get_caller_identity()
    assert aws.refusal(inactive) == aws.refusal(deleted) == (403, INVALID)


def test_an_unsigned_request_is_refused(aws: Any) -> None:
    """Without a signature there is no caller."""
    with organisation() as cloud:
        client = aws.session.client("sts", endpoint_url=cloud.endpoint_url, config=Config(signature_version=UNSIGNED))
        with pytest.raises(ClientError) as error:
            client.get_caller_identity()
        client.close()
    assert aws.refusal(error) == (403, "MissingAuthenticationToken")


def test_a_session_needs_its_own_token(aws: Any) -> None:
    """Temporary credentials without their session token, or a long-term key with one, are refused."""
    with organisation() as cloud:
        session = aws.assume(cloud, MEMBER)
        own = {"AccessKeyId": cloud.access_key_id, "SecretAccessKey": cloud.secret_access_key}
        for credentials in (
            {**session, "SessionToken": None},
            {**session, "SessionToken": "x"},
            own | {"SessionToken": session["SessionToken"]},
        ):
            with pytest.raises(ClientError) as error:
                aws.client("iam", cloud, credentials).list_users()
            assert aws.refusal(error) == (403, INVALID)


def test_a_session_expires(aws: Any, clock: Any) -> None:
    """After its duration by the organisation's clock a session is ExpiredToken, in JSON ExpiredTokenException."""
    with organisation(clock=clock) as cloud:
        session = aws.assume(cloud, MEMBER, DurationSeconds=900)
        clock.forward(seconds=899)
        iam, organizations = (aws.client(service, cloud, session) for service in ("iam", "organizations"))
        iam.list_users()
        clock.forward(seconds=1)
        with pytest.raises(ClientError) as query:
            iam.list_users()
        with pytest.raises(ClientError) as json_call:
            organizations.list_accounts()
    assert aws.refusal(query) == (403, EXPIRED)
    assert aws.refusal(json_call) == (400, "ExpiredTokenException")


def test_a_session_is_not_told_to_be_expired_on_arrival(aws: Any) -> None:
    """Expiration lies ahead of the time of day too, though the organisation lives in the past."""
    with EmbeddedOrganisation(OrganisationSeed(), as_of=datetime(2021, 1, 1, tzinfo=UTC)) as cloud:
        session = aws.assume(cloud, ACCOUNT)
    assert session["Expiration"] > datetime.now(UTC) + timedelta(minutes=50)


# ------------------------------------------------------------------------------------------------- AssumeRole


def test_a_role_is_assumed_with_the_external_id(aws: Any) -> None:
    """The session is in the role's account, under the role's name and the session's."""
    with organisation() as cloud:
        session = aws.assume(cloud, MEMBER, RoleSessionName="audit-2026.06@x")
        identity = aws.client("sts", cloud, session).get_caller_identity()
    assert identity["Account"] == MEMBER
    assert identity["Arn"] == f"arn:aws:sts::{MEMBER}:assumed-role/access-key-auditor/audit-2026.06@x"
    assert identity["UserId"].startswith("AROA")
    assert session["AccessKeyId"].startswith("ASIA")


REFUSED: list[tuple[AccountSeed, dict[str, Any]]] = [
    (AccountSeed(MEMBER, "member"), {"ExternalId": "wrong"}),
    (AccountSeed(MEMBER, "member"), {"ExternalId": None}),
    (AccountSeed(MEMBER, "member"), {"RoleArn": f"arn:aws:iam::{MEMBER}:role/nothing"}),
    (AccountSeed(MEMBER, "member"), {"RoleArn": f"arn:aws:iam::{MEMBER}:role/path/access-key-auditor"}),
    (AccountSeed(MEMBER, "member"), {"RoleArn": f"arn:aws-cn:iam::{MEMBER}:role/access-key-auditor"}),
    (AccountSeed(MEMBER, "member"), {"RoleArn": "arn:aws:iam::999999999999:role/access-key-auditor"}),
    (AccountSeed(MEMBER, "member", role=RoleSeed(refuses=True)), {}),
    (AccountSeed(MEMBER, "member", role=None), {}),
    (AccountSeed(MEMBER, "member", state="SUSPENDED"), {}),
    (AccountSeed(MEMBER, "member", state="PENDING_CLOSURE"), {}),
]


@pytest.mark.parametrize(("member", "changes"), REFUSED)
def test_aws_does_not_tell_refusals_apart(aws: Any, member: AccountSeed, changes: dict[str, Any]) -> None:
    """Unknown role or account, wrong trust, wrong or no external id, an inactive account: always AccessDenied."""
    with organisation(member) as cloud, pytest.raises(ClientError) as error:
        aws.assume(cloud, MEMBER, **changes)
    assert aws.refusal(error) == (403, "AccessDenied")
    arn = changes.get("RoleArn", f"arn:aws:iam::{MEMBER}:role/access-key-auditor")
    said = f"User: arn:aws:iam::{ACCOUNT}:user/auditor is not authorized to perform: sts:AssumeRole on resource: {arn}"
    assert error.value.response["Error"]["Message"] == said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RoleSessionName": "a b"}, "roleSessionName"),
        ({"RoleSessionName": "x" * 65}, "roleSessionName"),
        ({"ExternalId": "a b"}, "externalId"),
        ({"DurationSeconds": 43201}, "less than or equal to 43200"),
        ({"DurationSeconds": 3601}, "exceeds the MaxSessionDuration set for this role"),
        ({"RoleArn": "arn:aws:iam::somewhere:role/x"}, "is invalid"),
    ],
)
def test_impossible_values_are_validation_errors(aws: Any, changes: dict[str, Any], message: str) -> None:
    """Session names, external ids, durations and ARNs that cannot be are 400 ValidationError."""
    with organisation() as cloud, pytest.raises(ClientError, match=message) as error:
        aws.assume(cloud, MEMBER, **changes)
    assert aws.refusal(error) == (400, "ValidationError")


def test_a_role_may_allow_longer_sessions(aws: Any) -> None:
    """Up to the role's own maximum a longer session is given."""
    member = AccountSeed(MEMBER, "member", role=RoleSeed(max_session_seconds=43200))
    with organisation(member) as cloud:
        assert aws.assume(cloud, MEMBER, DurationSeconds=43200)["AccessKeyId"]


def test_a_chained_session_lasts_an_hour_at_most(aws: Any) -> None:
    """A role's session may assume another role for 3600 seconds and not for one more."""
    member = AccountSeed(MEMBER, "member", role=RoleSeed(max_session_seconds=43200))
    with organisation(member) as cloud:
        first = aws.client("sts", cloud, aws.assume(cloud, ACCOUNT))
        params = {
            "RoleArn": f"arn:aws:iam::{MEMBER}:role/{cloud.role_name}",
            "RoleSessionName": "hop",
            "ExternalId": cloud.external_id,
        }
        assert first.assume_role(DurationSeconds=3600, **params)["Credentials"]
        with pytest.raises(ClientError, match="role chaining") as error:
            first.assume_role(DurationSeconds=3601, **params)
    assert aws.refusal(error) == (400, "ValidationError")


def test_a_role_without_the_condition_takes_any_external_id(aws: Any) -> None:
    """A trust policy that asks for no external id lets the caller in with one or without."""
    member = AccountSeed(MEMBER, "member", role=RoleSeed("plain", external_id=None))
    arn = f"arn:aws:iam::{MEMBER}:role/plain"
    with organisation(member) as cloud:
        assert aws.assume(cloud, MEMBER, RoleArn=arn)
        assert aws.assume(cloud, MEMBER, RoleArn=arn, ExternalId=None)


@pytest.mark.parametrize(("method", "has_role"), [("CREATED", True), ("INVITED", False)])
def test_created_accounts_have_the_organisations_role(aws: Any, method: str, *, has_role: bool) -> None:
    """OrganizationAccountAccessRole is in accounts that were created, not in invited ones."""
    arn = f"arn:aws:iam::{MEMBER}:role/OrganizationAccountAccessRole"
    with organisation(AccountSeed(MEMBER, "member", joined_method=method)) as cloud:
        if has_role:
            assert aws.assume(cloud, MEMBER, RoleArn=arn, ExternalId=None)
        else:
            with pytest.raises(ClientError):
                aws.assume(cloud, MEMBER, RoleArn=arn, ExternalId=None)


def test_trust_is_read_from_the_role_as_it_is_now(aws: Any) -> None:
    """A role that is created, and a trust policy that is changed, through the API count at once."""
    statement = {"Effect": "Allow", "Action": ["sts:AssumeRole"]}

    def trusting(**changes: Any) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [statement | changes]})

    arn = f"arn:aws:iam::{MEMBER}:role/late"
    with organisation() as cloud:
        iam = aws.iam(cloud, MEMBER)
        iam.create_role(RoleName="late", AssumeRolePolicyDocument=trusting(Principal={"AWS": ["111111111111"]}))
        assert aws.assume(cloud, MEMBER, RoleArn=arn, ExternalId=None)
        for distrust in (
            trusting(Principal={"AWS": "arn:aws:iam::333333333333:root"}),
            trusting(Principal={"Service": "ec2.amazonaws.com"}),
            trusting(Principal={"AWS": "*"}, Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        ):
            iam.update_assume_role_policy(RoleName="late", PolicyDocument=distrust)
            with pytest.raises(ClientError):
                aws.assume(cloud, MEMBER, RoleArn=arn, ExternalId=None)


# ------------------------------------------------------------------------------------------------- the root user


ROOT_KEY = KeySeed(created_at=AS_OF - timedelta(days=900), last_used=UsedAt(AS_OF - timedelta(days=2), "s3"))
TASKS = "arn:aws:iam::aws:policy/root-task/"


def with_root_key(**seed: Any) -> EmbeddedOrganisation:
    """An organisation with central root access, whose member account has a root key."""
    seed = {"has_central_root_access": True} | seed
    return organisation(AccountSeed(MEMBER, "member", root=RootSeed(keys=(ROOT_KEY,))), **seed)


def root_of(aws: Any, cloud: EmbeddedOrganisation, target: str = MEMBER, **changes: Any) -> Any:
    """Credentials of a session of a member account's root user."""
    params = {"TargetPrincipal": target, "TaskPolicyArn": {"arn": f"{TASKS}IAMAuditRootUserCredentials"}, **changes}
    return aws.client("sts", cloud).assume_root(**params)["Credentials"]


def test_the_root_user_reads_its_own_keys(aws: Any) -> None:
    """Whose session it is, the keys without a name to ask by, and when each was used."""
    with with_root_key() as cloud:
        session = root_of(aws, cloud)
        identity = aws.client("sts", cloud, session).get_caller_identity()
        iam = aws.client("iam", cloud, session)
        (key,) = iam.list_access_keys()["AccessKeyMetadata"]
        used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
    assert (identity["Arn"], identity["Account"]) == (f"arn:aws:iam::{MEMBER}:root", MEMBER)
    assert (key["Status"], key["CreateDate"], key["AccessKeyId"][:4]) == ("Active", ROOT_KEY.created_at, "AKIA")
    assert "UserName" not in key
    assert (used["ServiceName"], used["Region"]) == ("s3", "N/A")
    assert used["LastUsedDate"] == (AS_OF - timedelta(days=2)).replace(second=0)


@pytest.mark.parametrize("method", ["list_users", "generate_credential_report", "get_account_summary"])
def test_the_root_session_does_its_task_alone(aws: Any, method: str) -> None:
    """AWS's task policy has a handful of reads."""
    with with_root_key() as cloud, pytest.raises(ClientError) as error:
        getattr(aws.client("iam", cloud, root_of(aws, cloud)), method)()
    assert aws.refusal(error) == (403, "AccessDenied")


def test_the_root_session_ends(aws: Any, clock: Any) -> None:
    """After a quarter of an hour, or as long as was asked for."""
    with with_root_key(clock=clock) as cloud:
        sts = aws.client("sts", cloud, root_of(aws, cloud, DurationSeconds=60))
        clock.forward(seconds=59)
        sts.get_caller_identity()
        clock.forward(seconds=1)
        with pytest.raises(ClientError) as error:
            sts.get_caller_identity()
    assert aws.refusal(error) == (403, EXPIRED)


@pytest.mark.parametrize(
    ("target", "changes", "seed", "expected"),
    [
        (MEMBER, {}, {"has_central_root_access": False}, (403, "AccessDenied")),
        (ACCOUNT, {}, {}, (403, "AccessDenied")),
        ("333333333333", {}, {}, (403, "AccessDenied")),
        (MEMBER, {}, {"has_organizations": False}, (403, "AccessDenied")),
        (MEMBER, {"TaskPolicyArn": {"arn": f"{TASKS}Everything"}}, {}, (400, "ValidationError")),
    ],
    ids=["no central root access", "the management account", "a stranger", "no organisation", "no such task"],
)
def test_root_sessions_are_refused(
    aws: Any, target: str, changes: dict[str, Any], seed: dict[str, Any], expected: tuple[int, str]
) -> None:
    """Only members of an organisation that has it switched on, and for AWS's own tasks."""
    with with_root_key(**seed) as cloud, pytest.raises(ClientError) as error:
        root_of(aws, cloud, target, **changes)
    assert aws.refusal(error) == expected


def test_a_member_account_enters_nobody_as_root(aws: Any) -> None:
    """Unless it is a delegated administrator."""
    for delegated, code in (((), "AccessDenied"), ((MEMBER,), None)):
        with with_root_key(delegated_administrator_ids=delegated) as cloud:
            sts = aws.client("sts", cloud, aws.assume(cloud, MEMBER))
            task = {"arn": f"{TASKS}IAMAuditRootUserCredentials"}
            try:
                sts.assume_root(TargetPrincipal=MEMBER, TaskPolicyArn=task)
                found = None
            except ClientError as error:
                found = error.response["Error"]["Code"]
        assert found == code
