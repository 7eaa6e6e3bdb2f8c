"""Quarantine, service-specific credentials and root keys: asked beside the report, and whatever fails says so."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    RawFault,
    ReportSeed,
    RootSeed,
    ServiceCredentialSeed,
    UserSeed,
)
from auditor.gather import audit_account
from auditor.model import (
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    Clause,
    ControlId,
    Criterion,
    Framework,
    KeyStatus,
    NotAudited,
    Policy,
    Quarantine,
    ServiceCredentials,
    Source,
    Support,
    UsedAt,
)
from tests.builders import AS_OF, ago
from tests.conftest import MemoryStore, StartCloud, VirtualTime, audited_account, connect, settings_for

MAIN, OTHER = "111111111111", "222222222222"
V2, V3 = "AWSCompromisedKeyQuarantineV2", "AWSCompromisedKeyQuarantineV3"
BESIDE = ("ListPolicies", "ListEntitiesForPolicy", "ListServiceSpecificCredentials")
OFF = frozenset({ControlId.QUARANTINED_KEY, ControlId.SERVICE_CREDENTIAL_AGE})

ROOT_KEY = KeySeed(created_at=ago(900), access_key_id="AKIAROOT222222222222", last_used=UsedAt(ago(2), "s3", None))
USERS = (
    UserSeed("ann", quarantined_by=(V3, V2)),
    UserSeed("bob", service_credentials=(ServiceCredentialSeed(created_at=ago(20)),)),
    UserSeed(
        "cat",
        quarantined_by=(V3,),
        service_credentials=(
            ServiceCredentialSeed("bedrock.amazonaws.com", ago(200), expires_at=ago(10)),
            ServiceCredentialSeed("bedrock.amazonaws.com", ago(100), KeyStatus.INACTIVE, ago(-10)),
        ),
    ),
)
CALM = (UserSeed("ann"), UserSeed("bob", (KeySeed(created_at=ago(5), last_used=UsedAt(ago(1), "s3", None)),)))

Audit = Callable[..., AccountResult]


def organisation(*users: UserSeed, is_open: bool = True, **account: object) -> OrganisationSeed:
    """The management account, and another with these users and one root key."""
    root = RootSeed(keys=(ROOT_KEY,))
    other = AccountSeed(OTHER, "other", users, root, **account)  # type: ignore[arg-type]
    return OrganisationSeed((AccountSeed(MAIN), other), has_central_root_access=is_open)


@pytest.fixture
def audit(start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime) -> Audit:
    """Audits the other account of an organisation through its role."""

    def audit(
        seed: OrganisationSeed,
        *,
        fault: Callable[[Call], Fault | None] | None = None,
        policy: Policy | None = None,
        page_size: int | None = None,
        **options: object,
    ) -> AccountResult:
        cloud = start_cloud(seed, fault=fault, page_size=page_size)
        account = Account(OTHER, "other", role_name=cloud.role_name, external_id=cloud.external_id)
        settings = settings_for(cloud, store, virtual_time, connection=connect(cloud, read_timeout=0.5), **options)
        return audited_account(account, replace(settings, policy=policy or Policy()), store)

    return audit


def facts_of(result: AccountResult) -> AccountFacts:
    """The facts of an account that was audited."""
    assert isinstance(result.outcome, AccountFacts), result.outcome
    return result.outcome


def on(action: str, fault: Fault, *, after: int = 0) -> Callable[[Call], Fault | None]:
    """A fault at the calls of an action, but for the first ones."""
    seen: list[Call] = []

    def decide(call: Call) -> Fault | None:
        if call.action != action:
            return None
        seen.append(call)
        return fault if len(seen) > after else None

    return decide


@pytest.mark.parametrize("page_size", [None, 1])
def test_users_in_quarantine_are_named_with_their_policies(audit: Audit, page_size: int | None) -> None:
    """Whatever the pages; a user with two of the policies once, with both."""
    facts = facts_of(audit(organisation(*USERS), page_size=page_size))
    assert facts.quarantine == Quarantine({"ann": (V2, V3), "cat": (V3,)})
    assert facts.notes == ()


@pytest.mark.parametrize("page_size", [None, 1])
def test_service_specific_credentials_are_read_whole(audit: Audit, page_size: int | None) -> None:
    """Of all users: service, state and both dates; what has expired does not work, as what is inactive."""
    facts = facts_of(audit(organisation(*USERS), page_size=page_size))
    assert facts.service_credentials is not None
    assert facts.service_credentials.failed is None
    assert [
        (found.user, found.service, found.status, found.created_at, found.expires_at)
        for found in facts.service_credentials.found
    ] == [
        ("bob", "codecommit.amazonaws.com", KeyStatus.ACTIVE, ago(20), None),
        ("cat", "bedrock.amazonaws.com", KeyStatus.INACTIVE, ago(200), ago(10)),
        ("cat", "bedrock.amazonaws.com", KeyStatus.INACTIVE, ago(100), ago(-10)),
    ]
    assert len({found.id for found in facts.service_credentials.found}) == 3


def test_users_with_a_credential_that_works_are_looked_up(audit: Audit) -> None:
    """As those in quarantine: who owns it stands in their tags."""
    facts = facts_of(audit(organisation(*USERS, UserSeed("dan"))))
    assert set(facts.lookups) == {"ann", "bob", "cat"}


def test_users_whose_credentials_do_not_work_are_not_looked_up(audit: Audit) -> None:
    """Nothing is judged of them."""
    assert not facts_of(audit(organisation(replace(USERS[2], quarantined_by=())))).lookups


def test_a_policy_of_the_family_that_is_not_known_yet_counts(audit: Audit) -> None:
    """AWS has made three so far; the name's beginning tells, and another policy of AWS's tells nothing."""
    names = ("AWSCompromisedKeyQuarantineV4", "ReadOnlyAccess")
    policies = "".join(
        f"<member><PolicyName>{name}</PolicyName><Arn>arn:aws:iam::aws:policy/{name}</Arn></member>" for name in names
    )
    listed = answer("ListPolicies", f"<Policies>{policies}</Policies><IsTruncated>false</IsTruncated>")
    users = "<PolicyUsers><member><UserName>ann</UserName></member></PolicyUsers><IsTruncated>false</IsTruncated>"
    held = answer("ListEntitiesForPolicy", users)

    def fault(call: Call) -> Fault | None:
        return {"ListPolicies": listed, "ListEntitiesForPolicy": held}.get(call.action)

    result = audit(organisation(*CALM), fault=fault)
    assert facts_of(result).quarantine == Quarantine({"ann": ("AWSCompromisedKeyQuarantineV4",)})
    assert result.spent.calls["iam:ListEntitiesForPolicy"] == 1


def answer(action: str, result: str) -> RawFault:
    """An answer of IAM's with this result."""
    namespace = "https://iam.amazonaws.com/doc/2010-05-08/"
    return RawFault(
        f'<{action}Response xmlns="{namespace}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>of-{action}</RequestId></ResponseMetadata></{action}Response>".encode()
    )


def test_where_nobody_is_in_quarantine_it_is_a_call_each(audit: Audit) -> None:
    """Whatever the number of users."""
    result = audit(organisation(*CALM))
    assert facts_of(result).quarantine == Quarantine()
    assert facts_of(result).service_credentials == ServiceCredentials()
    counted = {action: result.spent.calls.get(f"iam:{action}", 0) for action in BESIDE}
    assert counted == {"ListPolicies": 1, "ListEntitiesForPolicy": 0, "ListServiceSpecificCredentials": 1}


def test_what_is_switched_off_is_not_asked(audit: Audit) -> None:
    """Neither call is made, and the facts say that nobody asked: not that there is nothing."""
    result = audit(organisation(*USERS), policy=Policy(switched_off=OFF))
    assert (facts_of(result).quarantine, facts_of(result).service_credentials) == (None, None)
    assert not {f"iam:{action}" for action in BESIDE} & set(result.spent.calls)


def test_a_framework_has_it_asked_all_the_same(audit: Audit) -> None:
    """The company's policy leaves the control out; a clause judges by it."""
    clause = Clause("1", "t", Support.DIRECT, "r", "s", Criterion(ControlId.SERVICE_CREDENTIAL_AGE))
    policy = Policy(switched_off=OFF, frameworks=(Framework("f", "F", "1", "s", (clause,)),))
    facts = facts_of(audit(organisation(*USERS), policy=policy))
    assert facts.quarantine is None
    assert facts.service_credentials is not None
    assert len(facts.service_credentials.found) == 3


FAULTS: dict[str, Fault] = {
    "refused": ErrorFault(403, "AccessDenied", "not authorized"),
    "throttled": ErrorFault(400, "Throttling", "Rate exceeded"),
    "broken": ErrorFault(500, "ServiceFailure", "Sorry"),
    "gone": ErrorFault(404, "NoSuchEntity", "gone"),
    "dropped": DropFault(),
    "garbage": RawFault(b"\x00\xff"),
    "html": RawFault(b"<html><body>proxy</body></html>", content_type="text/html"),
}


@pytest.mark.parametrize("name", [*FAULTS, "no list", "an empty entry"])
@pytest.mark.parametrize("action", BESIDE)
@pytest.mark.parametrize("after", [0, 1], ids=["at once", "page two"])
def test_what_fails_is_not_known_and_the_audit_goes_on(audit: Audit, action: str, name: str, after: int) -> None:
    """Never "none": the failure says which call, the account has a note, and the rest is there as ever."""
    key = {"ListPolicies": "Policies", "ListEntitiesForPolicy": "PolicyUsers"}.get(action, "ServiceSpecificCredentials")
    malformed = {
        "no list": answer(action, "<IsTruncated>false</IsTruncated>"),
        "an empty entry": answer(action, f"<{key}><member></member></{key}><IsTruncated>false</IsTruncated>"),
    }
    fault = on(action, malformed.get(name) or FAULTS[name], after=after)
    facts = facts_of(audit(organisation(*USERS), fault=fault, page_size=1, attempts=2))
    of_credentials = action == BESIDE[-1]
    failed = facts.service_credentials if of_credentials else facts.quarantine
    known = facts.quarantine if of_credentials else facts.service_credentials
    assert failed is not None
    assert f"iam:{action}" in str(failed.failed)
    assert not (failed.found if isinstance(failed, ServiceCredentials) else failed.users)
    assert known is not None
    assert known.failed is None
    (note,) = facts.notes
    assert f"iam:{action}" in note
    assert facts.source is Source.CREDENTIAL_REPORT


@pytest.mark.parametrize("action", BESIDE)
def test_a_session_that_is_over_ends_the_account(audit: Audit, action: str) -> None:
    """Credentials that AWS no longer accepts would fail every further call: it is not audited, and says why."""
    refused = ErrorFault(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    outcome = audit(organisation(*USERS), fault=on(action, refused)).outcome
    assert isinstance(outcome, NotAudited)
    assert f"iam:{action}" in outcome.reason


@pytest.mark.parametrize("lanes", [1, 4])
def test_it_is_asked_after_the_report_was_requested_and_within_the_lanes(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, lanes: int
) -> None:
    """Reports come first, because AWS takes its time; with one lane, after the report is there."""
    cloud = start_cloud(organisation(*USERS, report=ReportSeed(polls=2)))
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    told: list[str] = []
    audit_account(
        account,
        settings_for(cloud, store, virtual_time, account_calls_in_flight=lanes),
        tell=lambda what: told.append(f"{what} {len(cloud.call_log)}"),
    )
    actions = [call.action for call in cloud.call_log]
    first = min(actions.index(action) for action in BESIDE)
    assert actions.index("GenerateCredentialReport") < first
    last_report = len(actions) - 1 - actions[::-1].index("GetCredentialReport")
    assert first > last_report or lanes > 1


def test_without_a_report_it_is_asked_all_the_same(audit: Audit) -> None:
    """The listing knows neither; a root look-up tells of root keys, and the account summary is not asked."""
    limit = ErrorFault(409, "LimitExceeded", "Later")
    result = audit(organisation(*USERS), fault=on("GenerateCredentialReport", limit), root_sessions=True)
    facts = facts_of(result)
    assert facts.source is Source.LISTING
    assert facts.quarantine == Quarantine({"ann": (V2, V3), "cat": (V3,)})
    assert facts.service_credentials is not None
    assert len(facts.service_credentials.found) == 3
    assert facts.root_keys_present is True
    assert "iam:GetAccountSummary" not in result.spent.calls
    assert set(facts.lookups) == {"ann", "bob", "cat", ROOT_USER}


# ------------------------------------------------------------------------------------------------- root keys


def test_root_keys_are_looked_up_by_a_session_of_the_root_user(audit: Audit) -> None:
    """Id, state, creation and last use, as of a user's key; one session, one list, one look-up a key."""
    result = audit(organisation(*CALM), root_sessions=True)
    root = facts_of(result).lookups[ROOT_USER]
    (key,) = root.keys
    assert root.failed is None
    assert (key.access_key_id, key.status, key.created_at) == (ROOT_KEY.access_key_id, KeyStatus.ACTIVE, ago(900))
    assert key.last_used == UsedAt(ago(2), "s3", None)
    assert facts_of(result).root_keys_present is None
    assert facts_of(result).notes == ()
    assert result.spent.calls["sts:AssumeRoot"] == 1
    assert result.spent.calls["iam:ListAccessKeys"] == 1


def test_root_is_not_entered_unasked(audit: Audit) -> None:
    """It takes a privilege of the organisation's that nobody is to use in passing."""
    result = audit(organisation(*CALM))
    assert "sts:AssumeRoot" not in result.spent.calls
    assert ROOT_USER not in facts_of(result).lookups


def test_the_callers_own_account_is_not_entered_as_root(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """AWS has sessions of root users for member accounts alone."""
    cloud = start_cloud(organisation(*CALM))
    settings = settings_for(cloud, store, virtual_time, root_sessions=True, without_root_sessions=frozenset({MAIN}))
    result = audited_account(Account(MAIN), settings, store)
    assert facts_of(result).lookups == {}
    assert facts_of(result).notes == ()
    assert "sts:AssumeRoot" not in result.spent.calls


EXPIRED = ErrorFault(403, "ExpiredToken", "The security token included in the request is expired")


@pytest.mark.parametrize("action", ["AssumeRoot", "GetCallerIdentity", "ListAccessKeys", "GetAccessKeyLastUsed"])
@pytest.mark.parametrize("name", [*FAULTS, "expired", "no central root access"])
def test_refused_root_sessions_leave_the_reports_word(audit: Audit, action: str, name: str) -> None:
    """No look-up is kept, so that known root keys do not become unknown; a note says why."""
    fault = on(action, FAULTS.get(name, EXPIRED)) if name != "no central root access" else None
    seed = organisation(*CALM, is_open=name != "no central root access")
    facts = facts_of(audit(seed, fault=fault, root_sessions=True, attempts=2))
    assert ROOT_USER not in facts.lookups
    (note,) = facts.notes
    assert note.startswith("Root keys could not be looked up by sts:AssumeRoot: ")
    assert note.endswith("; what the credential report says counts.")
    assert facts.report is not None
    assert facts.report.root is not None
    assert len(facts.report.root.keys) == 1


def test_another_accounts_root_user_is_not_believed(audit: Audit) -> None:
    """STS answers with credentials alone: whose they are is asked, and keys of a stranger are not read."""
    stranger = (
        b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        b"<Arn>arn:aws:iam::333333333333:root</Arn><UserId>333333333333</UserId><Account>333333333333</Account>"
        b"</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    result = audit(organisation(*CALM), fault=on("GetCallerIdentity", RawFault(stranger)), root_sessions=True)
    assert ROOT_USER not in facts_of(result).lookups
    assert "333333333333" in facts_of(result).notes[0]
    assert "iam:ListAccessKeys" not in result.spent.calls


def test_the_times_are_whole_seconds_in_utc(audit: Audit) -> None:
    """As the credential report has them, whatever a simulator sends."""
    entry = (
        "<member><UserName>ann</UserName><Status>Active</Status><CreateDate>2026-11-01T10:00:00.123456+02:00"
        "</CreateDate><ServiceName>codecommit.amazonaws.com</ServiceName>"
        "<ServiceSpecificCredentialId>ACCA12345678901234567</ServiceSpecificCredentialId></member>"
    )
    result = f"<ServiceSpecificCredentials>{entry}</ServiceSpecificCredentials><IsTruncated>false</IsTruncated>"
    name = "ListServiceSpecificCredentials"
    facts = facts_of(audit(organisation(*CALM), fault=on(name, answer(name, result))))
    assert facts.service_credentials is not None
    (found,) = facts.service_credentials.found
    assert found.created_at == AS_OF.replace(day=1, hour=8)
