"""What the load endpoint makes go wrong: rules, throttling, and counts of both."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import caller_identity
from auditor.aws.keys import root_keys_present
from auditor.aws.loop import run
from auditor.aws.organisation import list_accounts
from benchmarks.endpoint import Endpoint, Fault, Rule
from tests.benchmarks.conftest import StartEndpoint, caller_of, carry_out, enter

EXPECTED: dict[Fault, set[Kind | None]] = {
    Fault.DENIED: {Kind.DENIED},
    Fault.THROTTLED: {Kind.THROTTLED},
    Fault.FAILURE: {Kind.SERVICE},
    Fault.EXPIRED: {Kind.REPORT_EXPIRED},
    Fault.RESET: {Kind.UNREACHABLE},
    Fault.HALF: {Kind.UNREACHABLE, Kind.UNREADABLE},
    Fault.GARBAGE: {Kind.UNREADABLE},
    Fault.SLOW: {None},
}

IAM_CALLS: dict[str, dict[str, str]] = {
    "generate_credential_report": {},
    "get_credential_report": {},
    "list_users": {},
    "list_access_keys": {"UserName": "svc-000001"},
    "get_access_key_last_used": {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"},
    "list_user_tags": {"UserName": "svc-000001"},
    "get_account_summary": {},
}


@pytest.fixture(scope="module")
def endpoint(start: StartEndpoint) -> Endpoint:
    return start(accounts=30)


@pytest.fixture(scope="module")
def caller(endpoint: Endpoint) -> Caller:
    return caller_of(endpoint)


@pytest.fixture(scope="module")
def inside(endpoint: Endpoint, caller: Caller) -> Caller:
    endpoint.set_rules(())
    return enter(caller, 2)


def outcome(call: Callable[..., object], *arguments: Any, **params: Any) -> Kind | None:
    """The kind of failure that a call ends with, if it fails."""
    try:
        carry_out(call, *arguments, **params)
    except AwsFailure as failure:
        return failure.kind
    return None


def test_every_fault_is_expected() -> None:
    """No kind of fault is left out of these tests."""
    assert set(EXPECTED) == set(Fault)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.SLOW])
def test_a_fault_hits_every_action(endpoint: Endpoint, caller: Caller, inside: Caller, fault: Fault) -> None:
    """Each is what AWS, a proxy or a network would do, in all three services; the connection after it works."""
    endpoint.reset()
    endpoint.set_rules([Rule(fault)])
    for method, params in IAM_CALLS.items():
        assert outcome(inside.call, "iam", method, **params) in EXPECTED[fault]
    assert outcome(caller_identity, caller) in EXPECTED[fault]
    assert outcome(enter, caller, 3) in EXPECTED[fault]
    assert outcome(list_accounts, caller) in EXPECTED[fault]
    counts = endpoint.counts()
    assert counts["faults"] == {fault.value: len(IAM_CALLS) + 3} == {fault.value: counts["calls"]}
    endpoint.set_rules(())
    assert run(root_keys_present(inside)) is False
    assert len(run(list_accounts(caller))) == 30


def test_a_slow_answer_is_true_and_late(endpoint: Endpoint, inside: Caller) -> None:
    """Delays add up, and what else is to happen happens after them."""
    endpoint.set_rules([Rule(Fault.SLOW, (2,), seconds=0.2), Rule(Fault.SLOW, action="GetAccountSummary", seconds=0.1)])
    began = time.monotonic()
    assert run(root_keys_present(inside)) is False
    assert time.monotonic() - began >= 0.3
    endpoint.set_rules([Rule(Fault.SLOW, seconds=0.2), Rule(Fault.DENIED)])
    began = time.monotonic()
    assert outcome(root_keys_present, inside) is Kind.DENIED
    assert time.monotonic() - began >= 0.2


def test_a_rule_hits_its_accounts_and_its_action_alone(endpoint: Endpoint, caller: Caller) -> None:
    """By number or by share; AssumeRole by the account that is entered."""
    endpoint.set_rules([Rule(Fault.DENIED, (3, 7), "AssumeRole"), Rule(Fault.FAILURE, "1/10", "GetAccountSummary")])
    refused = {number for number in range(1, 31) if outcome(enter, caller, number) is Kind.DENIED}
    assert refused == {3, 7}
    entered = {number: enter(caller, number) for number in (1, 9, 10, 11, 20, 30)}
    failed = {number for number, there in entered.items() if outcome(root_keys_present, there)}
    assert failed == {10, 20, 30}


def test_a_rule_that_is_used_up_is_over(endpoint: Endpoint, caller: Caller, inside: Caller) -> None:
    """`times` counts for each account; the next rule takes over."""
    endpoint.set_rules(())
    other = enter(caller, 4)
    endpoint.set_rules([Rule(Fault.DENIED, times=2), Rule(Fault.THROTTLED, (2,), times=1)])
    hit = [outcome(root_keys_present, inside) for _ in range(4)]
    assert hit == [Kind.DENIED, Kind.DENIED, Kind.THROTTLED, None]
    assert [outcome(root_keys_present, other) for _ in range(3)] == [Kind.DENIED, Kind.DENIED, None]
    endpoint.reset()
    assert outcome(root_keys_present, other) is Kind.DENIED


def test_rules_that_mean_nothing_are_refused(endpoint: Endpoint, inside: Caller) -> None:
    """The endpoint says why, and keeps the rules it has."""
    endpoint.set_rules([Rule(Fault.DENIED)])
    wrong = Rule(Fault.SLOW, seconds=1)
    object.__setattr__(wrong, "seconds", 0)
    with pytest.raises(ValueError, match="seconds belong to"):
        endpoint.set_rules([wrong])
    assert outcome(root_keys_present, inside) is Kind.DENIED


def test_a_retry_gets_through(endpoint: Endpoint) -> None:
    """A fault that passes is survived by the product's own attempts."""
    endpoint.set_rules(())
    persistent = enter(caller_of(endpoint, attempts=4), 2)
    endpoint.reset()
    endpoint.set_rules([Rule(Fault.RESET, times=1), Rule(Fault.FAILURE, times=1), Rule(Fault.THROTTLED, times=1)])
    assert run(root_keys_present(persistent)) is False
    assert endpoint.counts()["faults"] == {"reset": 1, "failure": 1, "throttled": 1}


def test_calls_are_throttled_at_random_but_always_the_same(start: StartEndpoint) -> None:
    """About the share that was asked for, in all services; after a reset the very same calls."""
    endpoint = start(throttled=0.3, seed=5)
    persistent = enter(caller_of(endpoint, attempts=20), 2)
    once = Caller(persistent.clients, persistent.credentials, "aws", persistent.timing, 1)

    def pattern() -> list[Kind | None]:
        endpoint.reset()
        return [outcome(root_keys_present, once) for _ in range(100)]

    first = pattern()
    assert set(first) == {Kind.THROTTLED, None}
    assert 15 <= first.count(Kind.THROTTLED) <= 45
    assert endpoint.counts()["throttled"] == {"random": first.count(Kind.THROTTLED)}
    assert pattern() == first


def test_an_account_allows_so_many_calls_a_second(start: StartEndpoint) -> None:
    """What is beyond its bucket is throttled, in that account alone; the highest rate is counted."""
    endpoint = start(account_rate=2.0, account_burst=5.0)
    caller = caller_of(endpoint)
    inside, other = enter(caller, 2), enter(caller, 3)
    hit = [outcome(root_keys_present, inside) for _ in range(12)]
    assert hit[:5] == [None] * 5
    assert hit.count(Kind.THROTTLED) >= 5
    assert outcome(root_keys_present, other) is None
    time.sleep(0.6)
    assert outcome(root_keys_present, inside) is None
    counts = endpoint.counts(by_account=True)
    assert counts["throttled"] == {"rate": hit.count(Kind.THROTTLED)}
    assert counts["most_in_a_second_in_an_account"] == counts["accounts"]["2"]["most_in_a_second"] >= 8
    assert counts["accounts"]["3"]["most_in_a_second"] == 1


def test_calls_spread_over_time_make_no_high_rate(endpoint: Endpoint, inside: Caller) -> None:
    """The window slides: what is a second apart is not counted together."""
    endpoint.set_rules(())
    endpoint.reset()
    for calls in (2, 3):
        for _ in range(calls):
            run(root_keys_present(inside))
        time.sleep(1.05)
    assert endpoint.counts()["most_in_a_second_in_an_account"] == 3
