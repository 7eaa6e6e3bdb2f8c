"""Calls on behalf of one account: retries in virtual time, counts, whose credentials sign; no way out of the demo."""

from dataclasses import replace

import pytest
from botocore.credentials import Credentials

from auditor.aws.calls import Caller
from auditor.aws.clients import AmbientCredentials, Clients, Connection, StaticCredentials
from auditor.aws.failures import WIRE_CODES, AwsFailure, Kind
from auditor.aws.identity import caller_identity
from auditor.aws.keys import list_users, look_up_user
from auditor.aws.loop import run
from auditor.aws.organisation import list_accounts
from auditor.demo import (
    AccountSeed,
    Call,
    DelayFault,
    DropFault,
    EmbeddedOrganisation,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    UserSeed,
)
from auditor.errors import UsageError
from tests.builders import ago
from tests.conftest import StartCloud, VirtualTime, connect

MAIN = "111111111111"
SEED = OrganisationSeed((AccountSeed(MAIN, users=(UserSeed("ann", (KeySeed(created_at=ago(9)),)),)),))


def caller_of(cloud: EmbeddedOrganisation, time: VirtualTime, **options: object) -> Caller:
    """A caller in the management account."""
    clients = Clients(connect(cloud, **options))
    return Caller(clients, clients.ambient(), "aws", time.timing)


@pytest.mark.parametrize("failures", [1, 5])
def test_throttling_is_waited_out_with_growing_delays(
    failures: int, start_cloud: StartCloud, virtual_time: VirtualTime
) -> None:
    """Each attempt waits up to twice as long as the one before, half of it here, where the jitter is one half."""

    def throttle(call: Call) -> Fault | None:
        return ErrorFault(400, "Throttling", "Rate exceeded") if call.number <= failures else None

    caller = caller_of(start_cloud(SEED, fault=throttle), virtual_time)
    assert [user.name for user in run(list_users(caller))] == ["ann"]
    assert virtual_time.slept == [0.25 * 2**attempt for attempt in range(failures)]
    assert caller.counts["iam:ListUsers"] == failures + 1


def test_attempts_end(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """After the last attempt the failure is AWS's own, with its code."""
    caller = caller_of(start_cloud(SEED, fault=lambda _: ErrorFault(400, "Throttling")), virtual_time)
    with pytest.raises(AwsFailure, match="Throttling") as caught:
        run(list_users(caller))
    assert caught.value.kind is Kind.THROTTLED
    assert caller.counts["iam:ListUsers"] == caller.attempts == len(virtual_time.slept) + 1


@pytest.mark.parametrize("fault", [DropFault(), DelayFault(5)], ids=["dropped", "no answer"])
def test_silence_is_tried_once_more_only(fault: Fault, start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """Each try costs a time-out, so there are two."""
    caller = caller_of(start_cloud(SEED, fault=lambda _: fault), virtual_time, read_timeout=0.2)
    with pytest.raises(AwsFailure) as caught:
        run(caller_identity(caller))
    assert caught.value.kind in {Kind.UNREACHABLE, Kind.TIMED_OUT}
    assert caller.counts["sts:GetCallerIdentity"] == 2


def test_a_denied_call_is_not_repeated(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """Asking again does not help."""
    caller = caller_of(start_cloud(SEED, fault=lambda _: ErrorFault(403, "AccessDenied")), virtual_time)
    with pytest.raises(AwsFailure):
        run(caller_identity(caller))
    assert caller.counts["sts:GetCallerIdentity"] == 1


def test_every_page_is_read(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """Users, keys and tags beyond the first page are there too."""
    tags = {f"tag{n:02d}": "x" for n in range(7)}
    keys = tuple(KeySeed(created_at=ago(9 + n)) for n in range(3))
    users = (UserSeed("ann", keys, tags=tags), *(UserSeed(f"user{n}") for n in range(9)))
    cloud = start_cloud(OrganisationSeed((AccountSeed(MAIN, users=users),)), page_size=2)
    caller = caller_of(cloud, virtual_time)
    assert len(run(list_users(caller))) == 10
    lookup = run(look_up_user(caller, "ann"))
    assert len(lookup.keys) == 3
    assert dict(lookup.tags) == tags


def test_every_account_is_listed_across_empty_pages(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """A page of Organizations may be empty and still continue; states are read from State, else from Status."""
    accounts = tuple(
        AccountSeed(f"{n:012d}", f"account {n}", state="SUSPENDED" if n == 5 else "ACTIVE") for n in range(1, 46)
    )
    seed = OrganisationSeed(accounts, has_empty_pages=True)
    listed = run(list_accounts(caller_of(start_cloud(seed), virtual_time)))
    assert sorted(account.id for account in listed) == [account.id for account in accounts]
    assert [account.id for account in listed if account.state != "ACTIVE"] == ["000000000005"]


@pytest.mark.parametrize(("state", "status"), [(True, False), (False, True)])
def test_the_state_is_read_old_and_new(
    start_cloud: StartCloud, virtual_time: VirtualTime, *, state: bool, status: bool
) -> None:
    """`Status` was announced as retired in favour of `State`; either alone is enough."""
    seed = replace(SEED, shows_state=state, shows_status=status)
    (account,) = run(list_accounts(caller_of(start_cloud(seed), virtual_time)))
    assert account.state == "ACTIVE"


def test_the_wire_is_shared_and_knows_no_credentials(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """One per service and partition, however many ask for it; each call is signed as whom its caller says."""
    cloud = start_cloud(SEED)
    clients = Clients(connect(cloud))
    assert clients.get("iam", "aws") is clients.get("iam", "aws")
    stranger = AmbientCredentials(Credentials("AKIAIOSFODNN7EXAMPLE", "wrong"))
    callers = [Caller(clients, who, "aws", virtual_time.timing) for who in (clients.ambient(), stranger)]
    assert run(caller_identity(callers[0])).account_id == MAIN
    with pytest.raises(AwsFailure, match="InvalidClientTokenId"):
        run(caller_identity(callers[1]))


def test_an_isolated_connection_reaches_loopback_only(
    monkeypatch: pytest.MonkeyPatch, virtual_time: VirtualTime
) -> None:
    """Whatever the environment holds, the demonstration's calls never leave this machine."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    fake = StaticCredentials("AKIAFAKEFAKEFAKEFAKE", "fake")
    for endpoint in (None, "http://example.com", "http://10.0.0.1", "http://localhost.example.com"):
        clients = Clients(Connection(endpoint_url=endpoint, isolated=fake))
        caller = Caller(clients, clients.ambient(), "aws", virtual_time.timing)
        with pytest.raises(UsageError, match="never leaves this machine"):
            run(caller_identity(caller))


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_PROFILE": "nobody"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        {"AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL", "AWS_SECRET_ACCESS_KEY": "real"},
        {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_CA_BUNDLE": "/nowhere", "AWS_CONFIG_FILE": "/nowhere", "AWS_REGION": "cn-north-1"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_an_isolated_connection_ignores_the_environment(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    start_cloud: StartCloud,
    virtual_time: VirtualTime,
) -> None:
    """Profiles, endpoints, proxies, keys and Regions of the environment do not reach the demonstration."""
    cloud = start_cloud(SEED)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run(caller_identity(caller_of(cloud, virtual_time))).account_id == MAIN


def test_secrets_do_not_show(start_cloud: StartCloud) -> None:
    """Neither the connection nor the clients print the secret."""
    connection = connect(start_cloud(SEED))
    assert connection.isolated is not None
    assert connection.isolated.secret_access_key not in repr(connection) + repr(Clients(connection))


@pytest.mark.parametrize(("code", "kind"), WIRE_CODES.items())
def test_every_wire_code_has_a_meaning(
    code: str, kind: Kind, start_cloud: StartCloud, virtual_time: VirtualTime
) -> None:
    """The short code on the wire decides, not the name of botocore's exception class."""
    status = 500 if kind is Kind.SERVICE else 400
    caller = caller_of(start_cloud(SEED, fault=lambda _: ErrorFault(status, code, "x")), virtual_time)
    with pytest.raises(AwsFailure) as caught:
        run(caller.call("iam", "get_credential_report"))
    assert (caught.value.kind, caught.value.code) == (kind, code)


def test_a_caller_that_only_reads_sends_nothing_else(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """What a simulation is made with: operations that read go out, all others are refused before they are sent."""
    cloud = start_cloud(SEED)
    caller = replace(caller_of(cloud, virtual_time), reads_only=True)
    assert run(caller_identity(caller)).account_id == MAIN
    assert run(look_up_user(caller, "ann")).keys
    before = len(cloud.call_log)
    for service, method in (
        ("iam", "create_access_key"),
        ("iam", "update_access_key"),
        ("iam", "delete_access_key"),
        ("secretsmanager", "put_secret_value"),
        ("ssm", "put_parameter"),
        ("dynamodb", "transact_write_items"),
    ):
        with pytest.raises(AwsFailure, match="nothing is changed"):
            run(caller.call(service, method))
    assert len(cloud.call_log) == before


def test_what_aws_says_of_a_wrong_signature_tells_no_token(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """It has the headers that were signed, which would stand in reports and files of requests."""
    canonical = "The Canonical String for this request should have been 'x-amz-security-token:T0K'"
    said = f"The signature does not match. {canonical}"
    fault = ErrorFault(403, "SignatureDoesNotMatch", said)
    cloud = start_cloud(SEED, fault=lambda call: fault if call.action == "ListUsers" else None)
    caller = caller_of(cloud, virtual_time)
    with pytest.raises(AwsFailure) as failure:
        run(caller.call("iam", "list_users"))
    assert failure.value.message == "The signature does not match."
    assert "T0K" not in f"{failure.value!r}{caller.ledger.requests}"
