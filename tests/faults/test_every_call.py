"""A fault at every call: whatever goes wrong, a violation never turns into a pass, and nothing escapes."""

import math
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from auditor.config import AccountsConfig, AccountSource
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
from auditor.errors import AuditorError
from auditor.gather import Scope, resolve_scope
from auditor.model import Account, AccountFacts, AccountResult, NotAudited, Policy, Source, UsedAt
from auditor.policy import evaluate
from tests.builders import AS_OF, ago, snapshot
from tests.conftest import MemoryStore, VirtualTime, audited_account, connect, settings_for

MAIN, OTHER = "111111111111", "222222222222"

SEED = OrganisationSeed(
    (
        AccountSeed(MAIN),
        AccountSeed(
            OTHER,
            "other",
            (
                UserSeed("old", (KeySeed(created_at=ago(400), last_used=UsedAt(ago(1), "s3", None)),)),
                UserSeed("never", (KeySeed(created_at=ago(60)),)),
                UserSeed("good", (KeySeed(created_at=ago(5), last_used=UsedAt(ago(1), "s3", None)),)),
            ),
        ),
    )
)
TRUTH = {("old", "key-age"), ("never", "key-unused")}

ACTIONS = (
    "AssumeRole",
    "GenerateCredentialReport",
    "GetCredentialReport",
    "ListAccessKeys",
    "GetAccessKeyLastUsed",
    "ListUserTags",
    "ListPolicies",
    "ListServiceSpecificCredentials",
)
FAULTS: dict[str, Fault] = {
    "denied": ErrorFault(403, "AccessDenied", "not authorized"),
    "throttled": ErrorFault(400, "Throttling", "Rate exceeded"),
    "limit": ErrorFault(409, "LimitExceeded", "Later"),
    "failure": ErrorFault(500, "ServiceFailure", "Sorry"),
    "unknown code": ErrorFault(400, "SomethingNew", "2031"),
    "expired": ErrorFault(403, "ExpiredToken", "The security token included in the request is expired"),
    "gone": ErrorFault(404, "NoSuchEntity", "gone"),
    "dropped": DropFault(),
    "slow": DelayFault(0.6),
    "html": RawFault(b"<html><body>proxy</body></html>", content_type="text/html"),
    "empty": RawFault(b""),
    "garbage": RawFault(b"\x00\xff\x00"),
    "bare": RawFault(b"<r/>"),
}


PASSING = {"throttled", "failure", "expired", "dropped", "slow", "html", "empty", "garbage", "bare"}
"""What another try cures, when it happens once."""


def judged(result: AccountResult) -> dict[tuple[str, str], set[str]]:
    """Outcomes by user and control."""
    findings = evaluate(snapshot(result), Policy(), AS_OF)
    found: dict[tuple[str, str], set[str]] = {}
    for record in findings.to_dict("records"):
        found.setdefault((record["user"], record["control"]), set()).add(record["outcome"])
    return found


class Injector:
    """The fault of the moment, for one cloud that serves all tests: starting one for each costs too much."""

    def __init__(self) -> None:
        """No fault yet."""
        self.action, self.fault, self.times = "", DropFault(), 0  # type: tuple[str, Fault, float]
        self.always: dict[str, Fault] = {}
        self.seen: Counter[str] = Counter()

    def arm(self, action: str, fault: Fault, times: float) -> None:
        """Make the next so many calls of an action fail."""
        self.action, self.fault, self.times = action, fault, times
        self.always = {}
        self.seen.clear()

    def __call__(self, call: Call) -> Fault | None:
        """Asked by the cloud at every call."""
        self.seen[call.action] += 1
        armed = call.action == self.action and self.seen[call.action] <= self.times
        return self.fault if armed else self.always.get(call.action)


@pytest.fixture(scope="module")
def injector() -> Injector:
    return Injector()


@pytest.fixture(scope="module")
def cloud(injector: Injector) -> Iterator[EmbeddedOrganisation]:
    with EmbeddedOrganisation(SEED, as_of=AS_OF, fault=injector) as organisation:
        yield organisation


@pytest.fixture
def audit(cloud: EmbeddedOrganisation, store: MemoryStore, virtual_time: VirtualTime) -> Callable[[], AccountResult]:
    account = Account(OTHER, "other", role_name=cloud.role_name, external_id=cloud.external_id)
    settings = settings_for(cloud, store, virtual_time, connection=connect(cloud, read_timeout=0.25), attempts=3)
    return lambda: audited_account(account, settings, store)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("times", [math.inf, 1], ids=["always", "once"])
def test_a_fault_never_makes_a_violation_pass(
    action: str, name: str, times: float, injector: Injector, audit: Callable[[], AccountResult]
) -> None:
    """The account is not audited, or what fails is non-compliant or unknown; a fault that passes changes nothing."""
    injector.arm(action, FAULTS[name], times)
    result = audit()
    assert injector.seen[action]
    if isinstance(result.outcome, NotAudited):
        assert result.outcome.reason
        assert result.outcome.next_step
        return
    outcomes = judged(result)
    deleted = name == "gone" and action == "ListAccessKeys"  # AWS's word that the user is no more
    for violation in TRUTH:
        allowed = {"non_compliant", "unknown"} | ({"not_applicable"} if deleted else set())
        assert outcomes[violation] <= allowed
    assert outcomes["good", "key-age"] == {"compliant"}
    if times == 1 and name in PASSING:
        assert all(outcomes[violation] == {"non_compliant"} for violation in TRUTH)


@pytest.mark.parametrize("action", ["ListUsers", "GetAccountSummary", "ListAccessKeys"])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("times", [math.inf, 1], ids=["always", "once"])
def test_a_fault_while_users_are_listed_never_makes_a_violation_pass(
    action: str, name: str, times: float, injector: Injector, audit: Callable[[], AccountResult]
) -> None:
    """The same where AWS makes no report; root keys that nobody tells of are unknown."""
    injector.arm(action, FAULTS[name], times)
    injector.always = {"GenerateCredentialReport": FAULTS["limit"]}
    result = audit()
    assert injector.seen[action]
    if isinstance(result.outcome, NotAudited):
        assert result.outcome.next_step
        return
    assert result.outcome.source is Source.LISTING
    outcomes = judged(result)
    if action == "GetAccountSummary":
        told = times == 1 and name in PASSING
        assert outcomes["<root_account>", "root-access-key"] == {"compliant" if told else "unknown"}
    if name == "gone" and action == "ListAccessKeys":
        return  # AWS's word that the user is no more
    for violation in TRUTH:
        assert outcomes.get(violation, outcomes[violation[0], "one-active-key"]) <= {"non_compliant", "unknown"}


@pytest.fixture
def scope(cloud: EmbeddedOrganisation, virtual_time: VirtualTime) -> Callable[[], Scope | AuditorError]:
    wanted = AccountsConfig(source=AccountSource.ORGANISATION, role_name=cloud.role_name)

    def resolve() -> Scope | AuditorError:
        try:
            return resolve_scope(wanted, (), connect(cloud, read_timeout=0.25), virtual_time.timing)
        except AuditorError as error:
            return error

    return resolve


@pytest.mark.parametrize("action", ["GetCallerIdentity", "ListAccounts"])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("times", [math.inf, 1], ids=["always", "once"])
def test_a_fault_never_makes_the_scope_smaller(
    action: str, name: str, times: float, injector: Injector, scope: Callable[[], Scope | AuditorError]
) -> None:
    """Every account of the organisation, or an error that says what to do."""
    injector.arm(action, FAULTS[name], times)
    found = scope()
    assert injector.seen[action]
    if isinstance(found, AuditorError):
        assert found.next_step
    else:
        assert [account.id for account in found.accounts] == [MAIN, OTHER]


def test_without_faults_the_truth_is_found(injector: Injector, audit: Callable[[], AccountResult]) -> None:
    """The control of the experiment: both violations, nothing unknown."""
    injector.arm("", DropFault(), 0)
    result = audit()
    assert isinstance(result.outcome, AccountFacts)
    outcomes = judged(result)
    assert {thing for thing, said in outcomes.items() if "non_compliant" in said} == TRUTH
    assert not any("unknown" in said for said in outcomes.values())
