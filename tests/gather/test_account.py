"""One account as one unit of work, against the embedded organisation."""

import base64
import json
from collections.abc import Callable

import pytest

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients
from auditor.aws.loop import run
from auditor.demo import (
    AccountSeed,
    Call,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    RawFault,
    ReportSeed,
    RoleSeed,
    RootSeed,
    UserSeed,
)
from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    KeyStatus,
    NotAudited,
    NotAuditedCode,
    Policy,
    Source,
    UnknownUse,
    UsedAt,
)
from auditor.policy import evaluate
from tests.builders import AS_OF, ago, snapshot
from tests.conftest import MemoryStore, StartCloud, VirtualTime, audited_account, connect, settings_for

MAIN, OTHER = "111111111111", "222222222222"


def old_user(name: str = "ann", **more: object) -> UserSeed:
    """A user with one key that is 400 days old and in use."""
    key = KeySeed(created_at=ago(400), access_key_id="AKIAEXAMPLE222222ANN", last_used=UsedAt(ago(1), "s3", None))
    return UserSeed(name, (key,), **more)  # type: ignore[arg-type]


def organisation(*users: UserSeed, **account: object) -> OrganisationSeed:
    """The management account, and another with these users."""
    return OrganisationSeed((AccountSeed(MAIN), AccountSeed(OTHER, "other", users, **account)))  # type: ignore[arg-type]


@pytest.fixture
def audited(start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime) -> Callable[..., AccountResult]:
    """Audits the other account of an organisation through its role."""

    def audit(
        seed: OrganisationSeed,
        *,
        fault: Callable[[Call], Fault | None] | None = None,
        account: Account | None = None,
        **options: object,
    ) -> AccountResult:
        cloud = start_cloud(seed, fault=fault)
        entered = account or Account(OTHER, "other", role_name=cloud.role_name, external_id=cloud.external_id)
        return audited_account(entered, settings_for(cloud, store, virtual_time, **options), store)

    return audit


def facts_of(result: AccountResult) -> AccountFacts:
    """The facts of an account that was audited."""
    assert isinstance(result.outcome, AccountFacts), result.outcome
    return result.outcome


def refusal_of(result: AccountResult) -> NotAudited:
    """Why an account was not audited."""
    assert isinstance(result.outcome, NotAudited), result.outcome
    return result.outcome


def on(action: str, fault: Fault) -> Callable[[Call], Fault | None]:
    """A fault at every call of an action."""
    return lambda call: fault if call.action == action else None


def report_answer(content: bytes) -> RawFault:
    """GetCredentialReport's answer with other bytes."""
    body = (
        '<GetCredentialReportResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetCredentialReportResult>'
        f"<Content>{base64.b64encode(content).decode()}</Content><ReportFormat>text/csv</ReportFormat>"
        f"<GeneratedTime>{AS_OF:%Y-%m-%dT%H:%M:%SZ}</GeneratedTime></GetCredentialReportResult>"
        "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></GetCredentialReportResponse>"
    )
    return RawFault(body.encode())


def test_a_key_about_to_be_flagged_gets_its_id_owner_and_description(audited: Callable[..., AccountResult]) -> None:
    """ListAccessKeys, GetAccessKeyLastUsed and ListUserTags are asked of the flagged user, and of nobody else."""
    young = UserSeed("bob", (KeySeed(created_at=ago(5), last_used=UsedAt(ago(1), "s3", None)),))
    tags = {"owner": "payments", "AKIAEXAMPLE222222ANN": "nightly export"}
    result = audited(organisation(old_user(tags=tags), young))
    facts = facts_of(result)
    assert set(facts.lookups) == {"ann"}
    assert [key.access_key_id for key in facts.lookups["ann"].keys] == ["AKIAEXAMPLE222222ANN"]
    assert facts.lookups["ann"].tags == tags
    assert result.spent.calls["iam:ListAccessKeys"] == 1


def test_a_clean_account_costs_six_calls(audited: Callable[..., AccountResult]) -> None:
    """AssumeRole, Generate, a poll, Get, quarantine, service-specific credentials: whatever the number of users."""
    users = [UserSeed(f"user{n}", (KeySeed(created_at=ago(5), last_used=UsedAt(ago(1))),)) for n in range(40)]
    result = audited(organisation(*users, report=ReportSeed(has_additional_column=True)))
    assert len(facts_of(result).report.users) == 41  # type: ignore[union-attr]
    assert sum(result.spent.calls.values()) <= 6


def test_every_key_is_looked_up_when_asked_for(audited: Callable[..., AccountResult]) -> None:
    """`key_ids = "all"` asks for every user with a key."""
    users = [UserSeed(f"user{n}", (KeySeed(created_at=ago(5), last_used=UsedAt(ago(1))),)) for n in range(3)]
    assert len(facts_of(audited(organisation(*users), every_key=True)).lookups) == 3


def test_the_raw_bytes_are_kept_before_they_are_parsed(
    audited: Callable[..., AccountResult], store: MemoryStore
) -> None:
    """A report that cannot be read is still in the store, byte for byte."""
    content = b"user,arn\nann,arn:aws:iam::222222222222:user/ann"
    refusal = refusal_of(audited(organisation(), fault=on("GetCredentialReport", report_answer(content))))
    assert refusal.code is NotAuditedCode.REPORT_UNREADABLE
    assert OTHER in refusal.reason
    assert store.files[OTHER, "credential-report.csv"] == content


def test_generated_time_request_id_and_lookups_are_kept(
    audited: Callable[..., AccountResult], store: MemoryStore
) -> None:
    """What came beside the bytes is evidence too."""
    audited(organisation(old_user()))
    response = json.loads(store.files[OTHER, "response.json"])
    assert response["generated_at"] == "2026-11-22T19:00:00Z"
    assert response["request_id"]
    (user,) = json.loads(store.files[OTHER, "keys.json"])["users"]
    assert user["keys"][0]["access_key_id"] == "AKIAEXAMPLE222222ANN"


def test_another_accounts_report_is_refused(audited: Callable[..., AccountResult]) -> None:
    """A report whose ARNs name another account is evidence of nothing about this one."""
    header = (
        "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,"
        "password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,"
        "access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,"
        "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
        "access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,cert_1_last_rotated,"
        "cert_2_active,cert_2_last_rotated"
    )
    row = "<root_account>,arn:aws:iam::999999999999:root,2020-01-01T00:00:00Z,false,N/A,N/A,N/A,false" + (
        ",false,N/A,N/A,N/A,N/A" * 2 + ",false,N/A" * 2
    )
    foreign = report_answer(f"{header}\n{row}".encode())
    refusal = refusal_of(audited(organisation(), fault=on("GetCredentialReport", foreign)))
    assert refusal.code is NotAuditedCode.WRONG_ACCOUNT
    assert "999999999999" in refusal.reason


@pytest.mark.parametrize(
    ("role", "account"),
    [
        (RoleSeed(refuses=True), None),
        (None, None),
        (RoleSeed(), Account(OTHER, role_name="no-such-role", external_id="monthly-access-key-audit")),
        (RoleSeed(), Account(OTHER, role_name="access-key-auditor", external_id="wrong")),
        (RoleSeed(), Account("333333333333", role_name="access-key-auditor")),
    ],
    ids=["refuses", "no role", "other name", "wrong external id", "no such account"],
)
def test_a_role_that_refuses_is_a_value_with_the_next_step(
    role: RoleSeed | None, account: Account | None, audited: Callable[..., AccountResult]
) -> None:
    """Every way in which AWS refuses a role makes the account not audited, and the message says what to check."""
    refusal = refusal_of(audited(organisation(old_user(), role=role), account=account))
    assert refusal.code is NotAuditedCode.ROLE_REFUSED
    assert "external id" in refusal.next_step


def test_a_session_longer_than_the_role_allows_is_said(audited: Callable[..., AccountResult]) -> None:
    """AWS refuses a session beyond the role's maximum; nothing is audited with a shorter one in silence."""
    seed = organisation(old_user(), role=RoleSeed(max_session_seconds=3600))
    assert refusal_of(audited(seed, session_seconds=7200)).code is NotAuditedCode.ROLE_REFUSED


def test_a_suspended_account_is_listed_and_not_called(audited: Callable[..., AccountResult]) -> None:
    """Its state is the reason; no call is made."""
    result = audited(organisation(), account=Account(OTHER, state="SUSPENDED", role_name="x"))
    assert refusal_of(result).code is NotAuditedCode.NOT_ACTIVE
    assert "SUSPENDED" in refusal_of(result).reason
    assert result.spent.calls == {}


def test_without_a_report_users_and_keys_are_listed(audited: Callable[..., AccountResult], store: MemoryStore) -> None:
    """LimitExceeded for ever: the account is audited from the listing, marked so, and says why."""
    limit = ErrorFault(409, "LimitExceeded", "Later")
    users = (old_user(), UserSeed("bob"))
    facts = facts_of(audited(organisation(*users), fault=on("GenerateCredentialReport", limit)))
    assert facts.source is Source.LISTING
    assert {user.name for user in facts.listed_users} == {"ann", "bob"}
    assert facts.lookups["ann"].keys[0].created_at == ago(400)
    assert facts.root_keys_present is False
    assert "LimitExceeded" in facts.notes[0]
    assert (OTHER, "listing.json") in store.files


def test_root_keys_come_from_the_summary_where_there_is_no_report(audited: Callable[..., AccountResult]) -> None:
    """The listing cannot show root keys; GetAccountSummary can say that there are some."""
    seed = organisation(root=RootSeed(keys=(KeySeed(created_at=ago(900)),)))
    facts = facts_of(audited(seed, fault=on("GenerateCredentialReport", ErrorFault(409, "LimitExceeded"))))
    assert facts.root_keys_present is True


def test_changes_since_an_older_report_are_seen(audited: Callable[..., AccountResult]) -> None:
    """The report is three hours old: the key deactivated since is looked up and is inactive now."""
    key = KeySeed(
        created_at=ago(400),
        access_key_id="AKIAEXAMPLE222222ANN",
        status=KeyStatus.INACTIVE,
        deactivated_at=ago(seconds=1800),
    )
    seed = organisation(UserSeed("ann", (key,)), report=ReportSeed(generated_at=ago(seconds=3 * 3600)))
    facts = facts_of(audited(seed))
    assert facts.report is not None
    assert facts.meta is not None
    assert facts.meta.generated_at == ago(seconds=3 * 3600)
    (ann,) = [user for user in facts.report.users if user.name == "ann"]
    assert ann.keys[0].status is KeyStatus.ACTIVE
    assert facts.lookups["ann"].keys[0].status is KeyStatus.INACTIVE


def test_a_failed_last_used_lookup_is_unknown_with_its_reason(audited: Callable[..., AccountResult]) -> None:
    """Throttled to the end is not "never used"."""
    throttled = on("GetAccessKeyLastUsed", ErrorFault(400, "Throttling", "Rate exceeded"))
    facts = facts_of(audited(organisation(old_user()), fault=throttled))
    last_used = facts.lookups["ann"].keys[0].last_used
    assert isinstance(last_used, UnknownUse)
    assert "Throttling" in last_used.why


def test_a_session_that_ends_is_renewed(start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime) -> None:
    """A role session is assumed anew before its end, without the account noticing."""
    cloud = start_cloud(
        organisation(old_user()),
        fault=lambda call: (
            ErrorFault(404, "ReportInProgress") if call.action == "GetCredentialReport" and call.number < 40 else None
        ),
    )
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    settings = settings_for(cloud, store, virtual_time, session_seconds=900, report_wait_seconds=3000)
    result = audited_account(account, settings, store)
    assert result.spent.calls["sts:AssumeRole"] >= 1 + int(sum(virtual_time.slept)) // 900
    assert facts_of(result).source is Source.CREDENTIAL_REPORT


@pytest.mark.parametrize("may_list", [True, False])
def test_a_user_renamed_since_the_report_is_found_again(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, *, may_list: bool
) -> None:
    """NoSuchEntity proves that the name is gone, not the user: its old key must not pass for deleted."""
    users = (old_user(created_at=ago(500)), UserSeed("zoe", created_at=ago(499)))
    report = ReportSeed(generated_at=ago(seconds=3600))
    seed = OrganisationSeed((AccountSeed(MAIN, "main", users, report=report),))
    cloud = start_cloud(seed, fault=None if may_list else on("ListUsers", ErrorFault(403, "AccessDenied", "no")))
    clients = Clients(connect(cloud))
    caller = Caller(clients, clients.ambient(), "aws", virtual_time.timing)
    run(caller.call("iam", "update_user", UserName="ann", NewUserName="beth"))
    result = audited_account(Account(MAIN), settings_for(cloud, store, virtual_time), store)
    lookup = facts_of(result).lookups["ann"]
    outcomes = evaluate(snapshot(result), Policy(), AS_OF).query("control == 'key-age' and user == 'ann'")["outcome"]
    if may_list:
        assert lookup.renamed_to == "beth"
        assert outcomes.tolist() == ["non_compliant"]
        assert "beth" in facts_of(result).notes[0]
    else:
        assert "ListUsers" in str(lookup.failed)
        assert outcomes.tolist() == ["unknown"]


@pytest.mark.parametrize("moves", ["onto a known name", "swapped"])
def test_a_name_proves_nothing(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, moves: str
) -> None:
    """A user renamed onto a name that the report knows for another one still has its old key."""
    users = (old_user(created_at=ago(500)), UserSeed("spare", created_at=ago(450)))
    seed = OrganisationSeed((AccountSeed(MAIN, "main", users, report=ReportSeed(generated_at=ago(seconds=3600))),))
    cloud = start_cloud(seed)
    clients = Clients(connect(cloud))
    caller = Caller(clients, clients.ambient(), "aws", virtual_time.timing)
    if moves == "swapped":
        run(caller.call("iam", "update_user", UserName="ann", NewUserName="ann-old"))
        run(caller.call("iam", "update_user", UserName="spare", NewUserName="ann"))
    else:
        run(caller.call("iam", "delete_user", UserName="spare"))
        run(caller.call("iam", "update_user", UserName="ann", NewUserName="spare"))
    result = audited_account(Account(MAIN), settings_for(cloud, store, virtual_time), store)
    lookup = facts_of(result).lookups["ann"]
    assert lookup.renamed_to == ("ann-old" if moves == "swapped" else "spare")
    outcomes = evaluate(snapshot(result), Policy(), AS_OF).query("control == 'key-age' and user == 'ann'")["outcome"]
    assert outcomes.tolist() == ["non_compliant"]


def test_a_key_deleted_since_the_report_is_deleted_where_the_user_is_still_the_same(
    audited: Callable[..., AccountResult],
) -> None:
    """The name and the second of creation are the report's: nobody was renamed, so the key is gone."""
    gone = KeySeed(created_at=ago(400), deleted_at=ago(seconds=1800))
    seed = organisation(
        UserSeed("ann", (gone,), created_at=ago(500)), report=ReportSeed(generated_at=ago(seconds=3600))
    )
    result = audited(seed)
    assert facts_of(result).lookups["ann"].exists
    assert set(evaluate(snapshot(result), Policy(), AS_OF).query("user == 'ann'")["outcome"]) == {"not_applicable"}


def test_of_two_users_that_are_gone_neither_gets_a_strangers_keys(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """Both were created in one second, one was deleted and one renamed: which it was cannot be told."""
    users = (
        old_user(created_at=ago(500)),
        UserSeed("bob", (KeySeed(created_at=ago(300)),), created_at=ago(500), deleted_at=ago(seconds=1800)),
    )
    seed = OrganisationSeed((AccountSeed(MAIN, "main", users, report=ReportSeed(generated_at=ago(seconds=3600))),))
    cloud = start_cloud(seed)
    clients = Clients(connect(cloud))
    caller = Caller(clients, clients.ambient(), "aws", virtual_time.timing)
    run(caller.call("iam", "update_user", UserName="ann", NewUserName="carl"))
    result = audited_account(Account(MAIN), settings_for(cloud, store, virtual_time), store)
    lookups = facts_of(result).lookups
    assert all("carl" in str(lookups[name].failed) for name in ("ann", "bob"))
    outcomes = evaluate(snapshot(result), Policy(), AS_OF).query("control == 'key-age' and user in ('ann', 'bob')")
    assert outcomes["outcome"].tolist() == ["unknown", "unknown"]


def test_a_user_deleted_since_the_report_has_no_keys_to_judge(audited: Callable[..., AccountResult]) -> None:
    """Nobody who is listed was created when it was: it is gone, and so are its keys."""
    gone = old_user(created_at=ago(500), deleted_at=ago(seconds=1800))
    result = audited(organisation(gone, report=ReportSeed(generated_at=ago(seconds=3600))))
    assert facts_of(result).lookups["ann"].exists is False
    outcomes = evaluate(snapshot(result), Policy(), AS_OF).query("user == 'ann'")["outcome"]
    assert set(outcomes) == {"not_applicable"}


def test_tags_that_may_not_be_read_are_said(audited: Callable[..., AccountResult]) -> None:
    """An owner that is missing for want of a permission is not the same as no owner."""
    denied = on("ListUserTags", ErrorFault(403, "AccessDenied", "not authorized"))
    facts = facts_of(audited(organisation(old_user(tags={"owner": "pay"})), fault=denied))
    assert "iam:ListUserTags" in facts.notes[-1]
