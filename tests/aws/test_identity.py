"""Sessions of roles: one for all calls, anew when they run out before their time, and one assumed from another."""

import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError

from auditor.aws.calls import Caller
from auditor.aws.clients import AmbientCredentials, Clients, Connection, StaticCredentials, shared_clients
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import RoleSession, Via, caller_identity
from auditor.aws.keys import list_users
from auditor.aws.loop import in_lanes, run
from auditor.aws.timing import Timing
from auditor.config import AccountsConfig, AccountSource
from auditor.demo import AccountSeed, Call, ErrorFault, Fault, KeySeed, OrganisationSeed, RoleSeed, UserSeed
from auditor.errors import NothingAuditedError
from auditor.gather import GatherSettings, gather_accounts, resolve_scope
from auditor.history import RunWriter
from auditor.model import Account, AccountFacts, Policy
from benchmarks.endpoint import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Company, Endpoint, Settings
from tests.builders import AS_OF, TERMS, ago
from tests.conftest import (
    MemoryStore,
    NoProgress,
    StartCloud,
    VirtualTime,
    audited_account,
    connect,
    settings_for,
)

MAIN, OTHER = "111111111111", "222222222222"
EXPIRED = ErrorFault(403, "ExpiredToken", "The security token included in the request is expired")
ANN = UserSeed("ann", (KeySeed(created_at=ago(9)),))
HUB = RoleSeed("hub", external_id=None)
SEED = OrganisationSeed((AccountSeed(MAIN, role=HUB), AccountSeed(OTHER, users=(ANN,))), external_id="an-id")


def session_of(clients: Clients, timing: Timing, role: str) -> tuple[Caller, Caller]:
    """The ambient caller, and one in the other account through a session that is not assumed yet."""
    ambient = Caller(clients, clients.ambient(), "aws", timing)
    account = Account(OTHER, role_name=role, external_id="an-id")
    return ambient, replace(ambient, credentials=RoleSession(account, ambient, "auditor", 3600, timing))


def test_calls_share_one_session(start_cloud: StartCloud) -> None:
    """Eight calls that need credentials at once cost one AssumeRole."""
    cloud = start_cloud(SEED)
    _, inside = session_of(Clients(connect(cloud)), Timing(), cloud.role_name)
    assert len(set(run(in_lanes([inside.credentials.frozen] * 8, 8)))) == 1
    assert cloud.calls[MAIN, "AssumeRole"] == 1


def test_calls_whose_session_ran_out_renew_it_once(start_cloud: StartCloud) -> None:
    """Calls that fail with the same old credentials cost one AssumeRole together."""
    cloud = start_cloud(SEED)
    _, inside = session_of(Clients(connect(cloud)), Timing(), cloud.role_name)
    session = inside.credentials
    assert isinstance(session, RoleSession)
    old = run(session.frozen())
    began = time.monotonic()

    async def fail_and_go_on() -> str | None:
        session.renew(began)
        return (await session.frozen()).access_key

    new = set(run(in_lanes([fail_and_go_on] * 8, 8)))
    assert len(new - {old.access_key}) == len(new) == 1
    assert cloud.calls[MAIN, "AssumeRole"] == 2


@pytest.mark.parametrize(("times", "answered"), [(1, True), (2, False)])
def test_a_call_renews_its_credentials_once(
    times: int, start_cloud: StartCloud, virtual_time: VirtualTime, *, answered: bool
) -> None:
    """What new credentials do not cure is a failure, without a backoff."""

    def expire(call: Call) -> Fault | None:
        return EXPIRED if call.action == "ListUsers" and call.number <= times else None

    cloud = start_cloud(SEED, fault=expire)
    _, inside = session_of(Clients(connect(cloud)), virtual_time.timing, cloud.role_name)
    if answered:
        assert [user.name for user in run(list_users(inside))] == ["ann"]
    else:
        with pytest.raises(AwsFailure) as caught:
            run(list_users(inside))
        assert caught.value.kind is Kind.CREDENTIALS_EXPIRED
    assert cloud.calls[MAIN, "AssumeRole"] == 2
    assert inside.ledger.retries == 1
    assert sum(virtual_time.slept) < 0.01  # the pace of STS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClientError({"Error": {"Code": "ExpiredToken", "Message": "log in"}}, "AssumeRole"), Kind.CREDENTIALS_EXPIRED),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"), Kind.DENIED),
        (KeyError("AccessKeyId"), Kind.NO_CREDENTIALS),
        (OSError("no such command"), Kind.NO_CREDENTIALS),
    ],
)
def test_a_refresh_that_fails_is_a_failure_with_its_reason(error: Exception, kind: Kind) -> None:
    """Of a role, a login or a credential process of the profile: never a defect, and never old credentials."""

    def refresh() -> dict[str, str]:
        raise error

    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    found = RefreshableCredentials("AKIAIOSFODNN7EXAMPLE", "x", "y", long_ago, refresh, "test")
    with pytest.raises(AwsFailure) as caught:
        run(AmbientCredentials(found).frozen())
    assert caught.value.kind is kind


def test_ambient_credentials_are_not_renewed(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """Nobody here can log in anew: the first refusal is the last."""
    cloud = start_cloud(SEED, fault=lambda _: EXPIRED)
    ambient, _ = session_of(Clients(connect(cloud)), virtual_time.timing, cloud.role_name)
    with pytest.raises(AwsFailure):
        run(caller_identity(ambient))
    assert cloud.calls[MAIN, "GetCallerIdentity"] == 1


def test_sessions_that_run_out_in_mid_run_lose_no_account(tmp_path: Path) -> None:
    """Sessions that die long before their promised end: every account is audited all the same."""
    settings = Settings(accounts=4, users=20, flagged=1.0, as_of=AS_OF, session_seconds=1.5, latency=0.02)
    with Endpoint(settings) as endpoint:
        credentials = StaticCredentials(CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY)
        connection = Connection(endpoint_url=endpoint.url, isolated=credentials, read_timeout=5.0)
        company = Company(settings)
        accounts = tuple(Account(company.account_id(number), role_name="auditor") for number in range(1, 5))
        gathering = GatherSettings(connection, Policy(), AS_OF, RunWriter(tmp_path, AS_OF, TERMS).answers)
        receipts = list(gather_accounts(accounts, gathering, NoProgress()))
    assert [receipt.not_audited for receipt in receipts] == [None] * 4
    assert all(receipt.spent.calls["sts:AssumeRole"] > 1 for receipt in receipts)


def test_everything_goes_through_the_first_role(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """With `via`, the caller is that role: it lists the organisation, and the accounts are entered from its session."""
    cloud = start_cloud(SEED)
    connection = connect(cloud, via=Via((f"arn:aws:iam::{MAIN}:role/hub",), "chained", 3600))
    wanted = AccountsConfig(source=AccountSource.ORGANISATION, role_name=cloud.role_name, external_id="an-id")
    scope = resolve_scope(wanted, (), connection, virtual_time.timing)
    assert scope.caller.is_role
    assert scope.caller.arn == f"arn:aws:sts::{MAIN}:assumed-role/hub/chained"
    settings = settings_for(cloud, store, virtual_time, connection=connection)
    assert isinstance(audited_account(scope.accounts[1], settings, store).outcome, AccountFacts)
    roles = [call.params["RoleArn"] for call in cloud.call_log if call.action == "AssumeRole"]
    assert roles == [f"arn:aws:iam::{MAIN}:role/hub", f"arn:aws:iam::{OTHER}:role/{cloud.role_name}"]
    assert shared_clients(connection).ambient() is shared_clients(connection).ambient()


def test_roles_are_assumed_one_from_the_other(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """A chain of first roles: each trusts the one before it, and only the last leads into the accounts."""
    third = "333333333333"
    first, second = RoleSeed("first", external_id=None), RoleSeed("second", None, trusted_account_id=third)
    cloud = start_cloud(
        OrganisationSeed(
            (AccountSeed(MAIN, role=second), AccountSeed(OTHER, users=(ANN,)), AccountSeed(third, role=first))
        )
    )
    chain = (f"arn:aws:iam::{third}:role/first", f"arn:aws:iam::{MAIN}:role/second")
    connection = connect(cloud, via=Via(chain, "chained", 3600))
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    settings = settings_for(cloud, store, virtual_time, connection=connection)
    assert isinstance(audited_account(account, settings, store).outcome, AccountFacts)
    calls = [call for call in cloud.call_log if call.action == "AssumeRole"]
    assert [call.params["RoleArn"] for call in calls] == [*chain, f"arn:aws:iam::{OTHER}:role/{cloud.role_name}"]
    assert [call.account_id for call in calls] == [MAIN, third, MAIN]


def test_first_roles_are_counted_once(start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime) -> None:
    """What the run says it called is what was called, by the scope and by every account together."""
    cloud = start_cloud(SEED)
    connection = connect(cloud, via=Via((f"arn:aws:iam::{MAIN}:role/hub",), "chained", 3600))
    wanted = AccountsConfig(source=AccountSource.ORGANISATION, role_name=cloud.role_name, external_id="an-id")
    scope = resolve_scope(wanted, (), connection, virtual_time.timing)
    settings = settings_for(cloud, store, virtual_time, connection=connection)
    results = [audited_account(account, settings, store) for account in scope.accounts]
    said = sum(
        (Counter(calls) for calls in (scope.spent.calls, *(result.spent.calls for result in results))), Counter()
    )
    made = Counter(f"{call.service}:{call.action}" for call in cloud.call_log)
    assert said == made
    assert said["sts:AssumeRole"] == 2


def test_a_first_role_that_refuses_is_named(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """The error is about accounts.via, not about who calls."""
    connection = connect(start_cloud(SEED), via=Via((f"arn:aws:iam::{MAIN}:role/nobody",), "chained", 3600))
    with pytest.raises(NothingAuditedError, match="first role cannot be assumed") as caught:
        resolve_scope(AccountsConfig(), (), connection, virtual_time.timing)
    assert "accounts.via" in caught.value.next_step


def test_the_keys_that_calls_come_from_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role's session has no key of its own: switching off the one of the profile that it comes from locks out."""
    (tmp_path / "config").write_text(
        """
        [profile tool]
        source_profile = middle
        role_arn = arn:aws:iam::111111111111:role/tool
        [profile middle]
        source_profile = person
        role_arn = arn:aws:iam::111111111111:role/middle
        [profile person]
        region = eu-central-1
        [profile round]
        aws_access_key_id = AKIAROUND
        aws_secret_access_key = x
        source_profile = round
        [profile stranger]
        aws_access_key_id = AKIASTRANGER
        """
    )
    (tmp_path / "credentials").write_text("[person]\naws_access_key_id = AKIAPERSON\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    session = AmbientCredentials(Credentials("ASIASESSION", "x", "token"))

    def ids(profile: str) -> frozenset[str]:
        clients = Clients(Connection(profile=profile))
        clients._first = clients._ambient = session
        return run(clients.key_ids())

    assert ids("tool") == {"ASIASESSION", "AKIAPERSON"}
    assert ids("round") == {"ASIASESSION", "AKIAROUND"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    assert ids("tool") == {"ASIASESSION", "AKIAPERSON", "AKIAENVIRONMENT"}
