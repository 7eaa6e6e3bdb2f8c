"""Starting, stopping, counting and failing on purpose."""

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from moto.iam.models import iam_backends

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
    RawFault,
    UserSeed,
)
from auditor.errors import UsageError

AS_OF = datetime(2026, 6, 15, 9, 30, 20, tzinfo=UTC)
ACCOUNT, MEMBER = "111111111111", "222222222222"
SEED = OrganisationSeed((AccountSeed(ACCOUNT, users=(UserSeed("alice", (KeySeed(),)),)), AccountSeed(MEMBER, "member")))


def organisation(fault: Any = None) -> EmbeddedOrganisation:
    return EmbeddedOrganisation(SEED, as_of=AS_OF, fault=fault)


# ------------------------------------------------------------------------------------------------- life


def test_it_listens_on_loopback_only(aws: Any) -> None:
    """The server is bound to 127.0.0.1 and to no other address."""
    with organisation() as cloud:
        address = urlsplit(cloud.endpoint_url)
        assert (address.scheme, address.hostname) == ("http", "127.0.0.1")
        assert aws.iam(cloud).list_users()["Users"]
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", address.port or 0), timeout=1)


def test_one_follows_another_without_a_trace(aws: Any) -> None:
    """After stop the port is closed, the threads are gone and the next organisation starts from its own seed."""
    before = set(threading.enumerate())
    with organisation() as first:
        client = aws.iam(first)
        client.create_user(UserName="left-behind")
    with pytest.raises((EndpointConnectionError, ConnectionClosedError)):
        client.list_users()
    assert set(threading.enumerate()) <= before
    assert dict(iam_backends) == {}
    with organisation() as second:
        assert [user["UserName"] for user in aws.iam(second).list_users()["Users"]] == ["alice"]


def test_moto_holds_the_seeds_accounts_and_no_others() -> None:
    """Creating the organisation leaves none of the random accounts behind that moto makes on the way."""
    with organisation():
        assert set(iam_backends) == {ACCOUNT, MEMBER}


def test_the_same_organisation_can_be_started_again(aws: Any) -> None:
    """Stopping twice is harmless, and starting again plants the seed afresh."""
    cloud = organisation()
    with cloud:
        aws.iam(cloud).delete_access_key(UserName="alice", AccessKeyId=SEED.accounts[0].key_ids("alice")[0])
    cloud.stop()
    with cloud:
        assert aws.iam(cloud).list_access_keys(UserName="alice")["AccessKeyMetadata"]


def test_two_at_once_are_refused() -> None:
    """Moto's state is the process's, so a second organisation cannot start beside the first."""
    with organisation(), pytest.raises(RuntimeError, match="another embedded organisation"):
        organisation().start()
    with organisation():
        pass


def test_it_has_no_address_while_it_is_stopped() -> None:
    """`endpoint_url` of an organisation that does not run raises."""
    with pytest.raises(RuntimeError, match="not running"):
        _ = organisation().endpoint_url


def test_motos_account_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """MOTO_ACCOUNT_ID would turn all accounts into one, so that nothing starts while it is set."""
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "123456789012")
    with pytest.raises(UsageError, match="MOTO_ACCOUNT_ID"):
        organisation().start()
    monkeypatch.delenv("MOTO_ACCOUNT_ID")
    with organisation():
        pass


def test_it_says_nothing(aws: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither requests nor errors nor dropped connections write to the terminal."""

    def fault(call: Call) -> Fault | None:
        return DropFault() if call.action == "ListUsers" else None

    with organisation(fault) as cloud:
        iam = aws.iam(cloud)
        iam.get_account_summary()
        for method in (iam.list_users, iam.list_organizations_features):
            with pytest.raises((ClientError, ConnectionClosedError)):
                method()
    assert capfd.readouterr() == ("", "")


def test_motos_own_doors_are_closed(aws: Any) -> None:
    """Moto's reset and its instance metadata are not reachable: unsigned requests are refused."""
    with organisation() as cloud:
        address = urlsplit(cloud.endpoint_url)
        for path in ("/moto-api/reset", "/latest/meta-data/iam/security-credentials/x"):
            with socket.create_connection(("127.0.0.1", address.port or 0), timeout=2) as connection:
                connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        assert aws.iam(cloud).list_users()["Users"]


# ------------------------------------------------------------------------------------------------- counting


def test_calls_are_counted_by_account_and_action(aws: Any) -> None:
    """Each call counts once for the account whose credentials signed it, and refused ones for none."""
    stranger = {"AccessKeyId": "AKIAUNKNOWN222222222", "SecretAccessKey": "x"}
    with organisation() as cloud:
        member = aws.iam(cloud, MEMBER)
        member.list_users()
        member.list_users()
        with pytest.raises(ClientError):
            aws.client("iam", cloud, stranger).list_users()
        counted, log = cloud.calls, cloud.call_log
    assert counted == Counter({(MEMBER, "ListUsers"): 2, (ACCOUNT, "AssumeRole"): 1, ("", "ListUsers"): 1})
    assert [(call.action, call.number) for call in log][:3] == [("AssumeRole", 1), ("ListUsers", 1), ("ListUsers", 2)]
    assert log[0].params["RoleArn"] == f"arn:aws:iam::{MEMBER}:role/access-key-auditor"
    assert log[0].service == "sts"
    assert cloud.calls == counted


def test_many_threads_are_counted_right(aws: Any) -> None:
    """Eight threads' calls are all answered and all counted."""
    with organisation() as cloud:
        iam = aws.client("iam", cloud, max_pool_connections=8)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: iam.list_access_keys(UserName="alice"), range(80)))
    assert len({answer["AccessKeyMetadata"][0]["AccessKeyId"] for answer in answers}) == 1
    assert cloud.calls[ACCOUNT, "ListAccessKeys"] == 80
    assert sorted(call.number for call in cloud.call_log) == list(range(1, 81))


def test_connections_are_kept(aws: Any) -> None:
    """Calls of one client share one connection, so that a call costs milliseconds."""
    with organisation() as cloud:
        iam = aws.iam(cloud)
        seen = {iam.list_users()["ResponseMetadata"]["HTTPHeaders"].get("connection") for _ in range(3)} | {
            iam.get_account_summary()["ResponseMetadata"]["HTTPHeaders"].get("connection")
        }
        threads = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
    assert seen == {None}
    assert len(threads) == 1


# ------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("service", "method", "code"),
    [("iam", "list_users", "Throttling"), ("organizations", "list_accounts", "TooManyRequestsException")],
)
def test_an_error_is_sent_in_the_services_protocol(aws: Any, service: str, method: str, code: str) -> None:
    """A fault decides by the number of the call, and its error reaches the client with status, code and message."""

    def fault(call: Call) -> Fault | None:
        return ErrorFault(400, code, "Rate <exceeded>") if call.number == 1 else None

    with organisation(fault) as cloud:
        client = aws.client(service, cloud)
        with pytest.raises(ClientError, match="Rate <exceeded>") as error:
            getattr(client, method)()
        assert getattr(client, method)()
    assert aws.refusal(error) == (400, code)
    assert error.value.response["ResponseMetadata"]["RequestId"]


def test_a_fault_sees_the_parameters(aws: Any) -> None:
    """A fault can pick the role that it refuses, and the user that it fails for."""

    def fault(call: Call) -> Fault | None:
        is_member = call.action == "AssumeRole" and MEMBER in call.params["RoleArn"]
        return ErrorFault(503, "ServiceUnavailable") if is_member else None

    with organisation(fault) as cloud:
        assert aws.assume(cloud, ACCOUNT)
        with pytest.raises(ClientError) as error:
            aws.assume(cloud, MEMBER)
    assert aws.refusal(error) == (503, "ServiceUnavailable")


def test_an_answer_can_be_late(aws: Any) -> None:
    """A delay longer than the client waits is a timeout; stopping does not wait for it."""

    def fault(call: Call) -> Fault | None:
        return DelayFault(60) if call.number == 1 else DelayFault(0.01)

    with organisation(fault) as cloud:
        iam = aws.client("iam", cloud, read_timeout=0.2)
        with pytest.raises(ReadTimeoutError):
            iam.list_users()
        assert iam.list_users()["Users"]
        began = time.monotonic()
    assert time.monotonic() - began < 30  # of the 60 that the answer is late


def test_a_connection_can_be_dropped(aws: Any) -> None:
    """A dropped connection reaches the client as a closed one, and the next call works."""

    def fault(call: Call) -> Fault | None:
        return DropFault() if call.number == 1 else None

    with organisation(fault) as cloud:
        iam = aws.iam(cloud)
        with pytest.raises(ConnectionClosedError):
            iam.list_users()
        assert iam.list_users()["Users"]


def test_an_answer_can_be_rubbish(aws: Any) -> None:
    """Raw bytes are sent as they are."""
    with organisation(lambda _: RawFault(b"<html>proxy")) as cloud, pytest.raises(ResponseParserError):
        aws.iam(cloud).list_users()


def test_a_fault_that_fails_says_so(aws: Any) -> None:
    """An exception inside a fault is answered as a 500 that names it, instead of passing unseen."""

    def fault(call: Call) -> Fault | None:
        raise LookupError(call.action)

    with organisation(fault) as cloud, pytest.raises(ClientError, match="LookupError: ListUsers") as error:
        aws.iam(cloud).list_users()
    assert aws.refusal(error) == (500, "InternalFailure")
