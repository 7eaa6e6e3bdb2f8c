"""The load endpoint's answers, through the product's own AWS layer and real boto3 clients."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials

from auditor.aws.account_wide import quarantined_users, service_credentials
from auditor.aws.calls import Caller
from auditor.aws.clients import AmbientCredentials
from auditor.aws.credential_report import fetch_credential_report
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import caller_identity
from auditor.aws.keys import list_users, look_up_user, root_keys_present
from auditor.aws.loop import in_lanes, run
from auditor.aws.organisation import list_accounts
from auditor.credential_report import parse_credential_report
from auditor.model import KeyStatus, Quarantine, ServiceCredentials
from benchmarks.endpoint import Company, Endpoint
from tests.benchmarks.conftest import StartEndpoint, caller_of, carry_out, enter
from tests.conftest import CommandLine


@pytest.fixture(scope="module")
def endpoint(start: StartEndpoint) -> Endpoint:
    return start(accounts=45, users=250, flagged=0.4)


@pytest.fixture(scope="module")
def caller(endpoint: Endpoint) -> Caller:
    return caller_of(endpoint)


def refusal(call: Callable[..., object], *arguments: Any, **params: Any) -> tuple[Kind, str]:
    """Kind and wire code of the failure that a call ends with."""
    with pytest.raises(AwsFailure) as caught:
        carry_out(call, *arguments, **params)
    return caught.value.kind, caught.value.code


def test_the_report_is_the_companys(endpoint: Endpoint, caller: Caller) -> None:
    """What is fetched is what the same settings compute anywhere, byte for byte, and was made just now."""
    inside = enter(caller, 7)
    fetched = run(fetch_credential_report(inside, wait_seconds=1))
    assert fetched.content == Company(endpoint.settings).report(7)
    assert fetched.states == ("STARTED",)
    assert abs(fetched.generated_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert fetched.request_id


def test_the_report_and_the_look_ups_agree(caller: Caller) -> None:
    """For every user: creation to the second, keys, their states, dates and last uses, and an owner."""
    inside = enter(caller, 2)
    report = parse_credential_report(run(fetch_credential_report(inside, wait_seconds=1)).content, origin="fetched")
    listed = {user.name: user for user in run(list_users(inside))}
    users = [user for user in report.users if not user.is_root]
    assert list(listed) == [user.name for user in users]
    for user in users:
        assert (listed[user.name].arn, listed[user.name].created_at) == (user.arn, user.created_at)
    kinds = set()
    for user in users[:60]:
        lookup = run(look_up_user(inside, user.name))
        assert [(key.status, key.created_at, key.last_used) for key in lookup.keys] == [
            (key.status, key.created_at, key.last_used) for key in user.keys
        ]
        assert lookup.tags["owner"].startswith("team-")
        kinds |= {(key.status, type(key.last_used).__name__) for key in lookup.keys}
    assert {(KeyStatus.ACTIVE, "UsedAt"), (KeyStatus.ACTIVE, "NeverUsed"), (KeyStatus.INACTIVE, "NeverUsed")} <= kinds
    assert run(root_keys_present(inside)) is False


def test_users_are_listed_by_the_hundred(endpoint: Endpoint, caller: Caller) -> None:
    """250 users are three pages."""
    inside = enter(caller, 3)
    endpoint.reset()
    assert len(run(list_users(inside))) == 250
    assert endpoint.counts()["actions"] == {"ListUsers": 3}


@pytest.mark.parametrize("empty_pages", [False, True])
def test_all_accounts_are_listed(start: StartEndpoint, *, empty_pages: bool) -> None:
    """Twenty a page; empty pages between them lose nothing."""
    endpoint = start(accounts=45, empty_pages=empty_pages)
    listed = run(list_accounts(caller_of(endpoint)))
    assert [account.id for account in listed] == [str(100_000_000_000 + number) for number in range(1, 46)]
    assert {account.state for account in listed} == {"ACTIVE"}
    assert endpoint.counts()["calls"] == (6 if empty_pages else 3)


def test_every_account_stands_in_one_place_of_the_tree(caller: Caller) -> None:
    """The management account below the root, the others spread over its units; each has tags."""
    (root,) = run(caller.call("organizations", "list_roots"))["Roots"]
    units = run(caller.call("organizations", "list_organizational_units_for_parent", ParentId=root["Id"]))
    places = [root["Id"], *(unit["Id"] for unit in units["OrganizationalUnits"])]
    found = [
        account["Id"]
        for place in places
        for account in run(caller.call("organizations", "list_accounts_for_parent", ParentId=place))["Accounts"]
    ]
    assert sorted(found) == [account.id for account in run(list_accounts(caller))]
    below = run(caller.call("organizations", "list_organizational_units_for_parent", ParentId=places[1]))
    assert below["OrganizationalUnits"] == []
    about = run(caller.call("organizations", "describe_organization"))["Organization"]
    assert about["MasterAccountId"] == found[0]
    tags = run(caller.call("organizations", "list_tags_for_resource", ResourceId=found[5]))["Tags"]
    assert {tag["Key"] for tag in tags} == {"cost-centre", "stage"}
    nowhere = {"ParentId": "ou-bnch-99999999"}
    assert refusal(caller.call, "organizations", "list_accounts_for_parent", **nowhere)[1] == (
        "ParentNotFoundException"
    )


def test_only_the_management_account_sees_the_organisation(caller: Caller) -> None:
    """A member account may ask what organisation it is in, and no more."""
    inside = enter(caller, 4)
    assert run(inside.call("organizations", "describe_organization"))["Organization"]
    assert refusal(list_accounts, inside) == (Kind.DENIED, "AccessDeniedException")


def test_a_call_belongs_to_the_account_of_its_credentials(caller: Caller) -> None:
    """The caller is in account 1, a session in the account that was entered; an unknown key is nobody's."""
    assert run(caller_identity(caller)).account_id == "100000000001"
    assert run(caller_identity(enter(caller, 9))).account_id == "100000000009"


def test_credentials_that_are_unknown_or_over_are_refused(endpoint: Endpoint, start: StartEndpoint) -> None:
    """InvalidClientTokenId and ExpiredToken."""
    stranger = caller_of(endpoint, key="AKIAIOSFODNN7EXAMPLE")
    assert refusal(list_users, stranger) == (Kind.CREDENTIALS_INVALID, "InvalidClientTokenId")
    inside = enter(caller_of(start(session_seconds=0.2)), 2)
    key = run(inside.credentials.frozen())
    fixed = Credentials(key.access_key or "", key.secret_key or "", key.token)  # which nobody renews
    short = replace(inside, credentials=AmbientCredentials(fixed))
    time.sleep(0.25)
    assert refusal(list_users, short) == (Kind.CREDENTIALS_EXPIRED, "ExpiredToken")


def test_a_role_is_refused_without_a_word_why(start: StartEndpoint) -> None:
    """A wrong name, a wrong external id and an account that is not there look the same."""
    caller = caller_of(start(role_name="audit", external_id="a/secret+id"))
    assert run(caller_identity(enter(caller, 2, external_id="a/secret+id"))).account_id == "100000000002"
    assert run(caller_identity(enter(caller, 2, role="team/audit", external_id="a/secret+id"))).partition == "aws"
    for number, role, external_id in ((2, "other", "a/secret+id"), (2, "audit", "wrong"), (2, "audit", None)):
        assert refusal(enter, caller, number, role=role, external_id=external_id) == (Kind.DENIED, "AccessDenied")
    assert refusal(enter, caller, 6, external_id="a/secret+id") == (Kind.DENIED, "AccessDenied")


def test_a_report_is_made_kept_and_forgotten(start: StartEndpoint) -> None:
    """Not present, started, in progress, complete, expired, and started again."""
    inside = enter(caller_of(start(report_seconds=0.3, report_life_seconds=0.4)), 2)

    def state() -> str:
        return str(run(inside.call("iam", "generate_credential_report"))["State"])

    def fetch() -> object:
        return run(inside.call("iam", "get_credential_report"))

    assert refusal(fetch) == (Kind.REPORT_NOT_PRESENT, "ReportNotPresent")
    assert [state(), state()] == ["STARTED", "INPROGRESS"]
    assert refusal(fetch) == (Kind.REPORT_IN_PROGRESS, "ReportInProgress")
    time.sleep(0.35)
    assert state() == "COMPLETE"
    assert fetch()
    time.sleep(0.45)
    assert refusal(fetch) == (Kind.REPORT_EXPIRED, "ReportExpired")
    assert state() == "STARTED"


def test_what_is_not_there_is_refused_as_aws_does(caller: Caller) -> None:
    """Users by NoSuchEntity, keys of other accounts by AccessDenied, actions by InvalidAction."""
    inside, other = enter(caller, 2), enter(caller, 3)
    assert run(look_up_user(inside, "svc-000250")).exists is False
    assert run(look_up_user(inside, "SVC-000001")).exists
    keys = run(inside.call("iam", "list_access_keys", UserName="svc-000002"))["AccessKeyMetadata"]
    key_id = keys[0]["AccessKeyId"]
    assert run(inside.call("iam", "get_access_key_last_used", AccessKeyId=key_id))["UserName"] == "svc-000002"
    assert refusal(other.call, "iam", "get_access_key_last_used", AccessKeyId=key_id)[0] is Kind.DENIED
    assert refusal(inside.call, "iam", "list_access_keys")[1] == "ValidationError"
    assert refusal(inside.call, "iam", "list_groups")[1] == "InvalidAction"
    assert refusal(caller.call, "organizations", "list_handshakes_for_organization")[1] == ("UnknownOperationException")


def test_latency_holds_nobody_up(start: StartEndpoint) -> None:
    """Calls wait beside each other; what was in flight together is counted, in all and within an account."""
    endpoint = start(latency=0.3)
    caller = caller_of(endpoint)
    insides = [enter(caller, number) for number in (2, 2, 2, 3, 3, 4)]
    endpoint.reset()
    began = time.monotonic()
    run(in_lanes([partial(root_keys_present, inside) for inside in insides], 6))
    assert time.monotonic() - began >= 0.3
    counts = endpoint.counts(by_account=True)
    assert (counts["most_in_flight"], counts["most_in_flight_in_an_account"]) == (6, 3)
    assert counts["in_flight"] == 0
    assert {number: account["actions"] for number, account in counts["accounts"].items()} == {
        "2": {"GetAccountSummary": 3},
        "3": {"GetAccountSummary": 2},
        "4": {"GetAccountSummary": 1},
    }


def test_it_listens_on_loopback_and_ends_with_its_block() -> None:
    """127.0.0.1 alone; afterwards nobody listens and no process is left."""
    with Endpoint() as endpoint:
        pid, address = endpoint.pid, urlsplit(endpoint.url)
        assert address.hostname == "127.0.0.1"
        assert endpoint.counts()["cpu_seconds"] > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", address.port or 0), timeout=5)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_ends_when_its_parent_is_killed() -> None:
    """A benchmark that is shot down leaves no endpoint behind."""
    program = "import time\nfrom benchmarks.endpoint import Endpoint\nwith Endpoint() as e:\n"
    program += "    print(urlsplit(e.url).port, flush=True)\n    time.sleep(60)\n"
    command = [sys.executable, "-c", "from urllib.parse import urlsplit\n" + program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        parent.send_signal(signal.SIGKILL)
    assert _refuses(port, seconds=5)


def _refuses(port: int, *, seconds: float) -> bool:
    """Whether nobody listens on a port any more within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_the_whole_product_audits_it(cli: CommandLine, start: StartEndpoint) -> None:
    """`auditor audit` over an organisation of five: all audited, and what is flagged is found."""
    endpoint = start(users=20, flagged=0.1)
    cli.environment |= endpoint.environment
    arguments = ("--endpoint-url", endpoint.url, "--role-name", "audit", "--as-of", "2026-11-22T19:00:00Z")
    finished = cli.run("audit", *arguments, "--format", "csv", "--json", "-q")
    assert finished.code == 1, finished.err
    coverage = finished.json["coverage"]
    assert (coverage["accounts_in_scope"], coverage["accounts_audited"]) == (5, 5)
    assert coverage["users"] == 5 * 21
    assert endpoint.counts()["actions"]["ListAccessKeys"] == 10


def test_quarantine_and_service_specific_credentials_are_planted(start: StartEndpoint) -> None:
    """As many users of each account as the settings say, over several pages; none of them by default."""
    endpoint = start(accounts=2, users=1500, quarantined=1200, service_credentials=1001)
    inside = enter(caller_of(endpoint), 2)
    endpoint.reset()
    quarantine, credentials = run(quarantined_users(inside)), run(service_credentials(inside))
    assert quarantine.failed is None
    assert len(quarantine.users) == 1200
    assert set(quarantine.users.values()) == {("AWSCompromisedKeyQuarantineV3",)}
    assert credentials.failed is None
    assert len({found.id for found in credentials.found}) == 1001
    assert {found.service for found in credentials.found} == {"bedrock.amazonaws.com", "codecommit.amazonaws.com"}
    calls = {"ListPolicies": 1, "ListEntitiesForPolicy": 2, "ListServiceSpecificCredentials": 2}
    assert endpoint.counts()["actions"] == calls
    calm = enter(caller_of(start(accounts=2)), 2)
    assert run(quarantined_users(calm)) == Quarantine()
    assert run(service_credentials(calm)) == ServiceCredentials()
