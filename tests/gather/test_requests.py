"""requests.jsonl: every request that was sent for an account, as CloudTrail can be searched for it."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import ClientError, NoCredentialsError
from moto.iam.models import iam_backends

from auditor import answers
from auditor.aws.calls import Caller
from auditor.aws.clients import AmbientCredentials, Clients, CredentialSource, shared_clients
from auditor.aws.failures import AwsFailure
from auditor.aws.identity import Via
from auditor.aws.loop import run
from auditor.aws.timing import Timing
from auditor.config import AccountsConfig, AccountSource
from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    RawFault,
    RoleSeed,
    UserSeed,
)
from auditor.evidence.answered import differing
from auditor.gather import audit_account, resolve_scope
from auditor.gather.account import keep
from auditor.model import Account, AccountFacts, AccountResult, NotAudited, NotAuditedCode, Spent, UsedAt
from tests.builders import ago
from tests.conftest import MemoryStore, StartCloud, VirtualTime, audited_account, connect, settings_for

MAIN, OTHER = "111111111111", "222222222222"
OLD = tuple(
    UserSeed(name, (KeySeed(created_at=ago(400), last_used=UsedAt(ago(1), "s3", None)),)) for name in ("ann", "bob")
)
SEED = OrganisationSeed(
    (AccountSeed(MAIN, users=OLD, role=RoleSeed("hub", external_id=None)), AccountSeed(OTHER, users=OLD)),
    external_id="an-id",
)

Lines = list[dict[str, Any]]
Audit = Callable[..., Lines]


@dataclass
class InMidAccount:
    """Ann's keys are asked for in vain, once; and what goes wrong from then on."""

    answer: Fault
    later: Callable[[Call], Fault | None] = lambda _: None
    is_over: bool = False

    def __call__(self, call: Call) -> Fault | None:
        """What is wrong with a call."""
        if call.action == "ListAccessKeys" and call.params["UserName"] == "ann" and not self.is_over:
            self.is_over = True
            return self.answer
        return self.later(call) if self.is_over else None


@pytest.fixture
def lines(start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime) -> Audit:
    """Audits the other account, and reads its requests."""

    def audit(fault: Callable[[Call], Fault | None] | None = None, **options: Any) -> Lines:
        cloud = start_cloud(SEED, fault=fault)
        entered = {"role_name": cloud.role_name, "external_id": cloud.external_id} | options
        receipt = audit_account(Account(OTHER, **entered), settings_for(cloud, store, virtual_time))
        found = [json.loads(line) for line in store.files[OTHER, answers.REQUESTS].splitlines()]
        assert Counter(line["operation"] for line in found) == receipt.spent.calls
        if fault is None:
            assert len(found) == len(cloud.call_log)
        return found

    return audit


def test_every_request_has_a_line_in_the_order_of_sending(lines: Audit) -> None:
    """When it was sent, what was asked, under which id AWS has it, and that it was answered; no id occurs twice."""
    found = lines()
    assert [line["operation"] for line in found[:2]] == ["sts:AssumeRole", "iam:GenerateCredentialReport"]
    names = ["at", "operation", "params", "attempt", "request_id", "outcome", "why", "failed_in", "answer"]
    assert all(list(line) == names for line in found)
    assert {line["outcome"] for line in found} <= {"ok", "ReportInProgress", "ReportNotPresent"}
    assert len({line["request_id"] for line in found} - {None}) == len(found)
    times = [line["at"] for line in found]
    assert times == sorted(times)
    assert times[0] == "2026-11-22T19:00:00.000Z"


@pytest.mark.parametrize(
    ("fault", "outcome", "has_id"),
    [
        (ErrorFault(400, "Throttling"), "Throttling", True),
        (DropFault(), "ConnectionClosed", False),
        (RawFault(b"<html>a proxy's page</html>"), "UnreadableAnswer", True),
    ],
)
def test_what_failed_and_was_tried_again_are_two_lines(
    lines: Audit, fault: Fault, outcome: str, *, has_id: bool
) -> None:
    """The error's code, and AWS's id wherever an answer had one; then the attempt that was answered."""
    first: Callable[[Call], Fault | None] = lambda call: (  # noqa: E731 - a fault
        fault if call.action == "ListPolicies" and call.number == 1 else None
    )
    failed, answered = (line for line in lines(first) if line["operation"] == "iam:ListPolicies")
    assert (failed["outcome"], failed["request_id"] is not None) == (outcome, has_id)
    assert (answered["outcome"], answered["request_id"] is not None) == ("ok", True)


def test_an_account_that_refuses_has_its_lines(lines: Audit) -> None:
    """The AssumeRole that was refused is in CloudTrail too."""
    (line,) = lines(role_name="somebody-elses")
    assert (line["operation"], line["outcome"]) == ("sts:AssumeRole", "AccessDenied")
    assert line["request_id"]


def test_an_account_that_was_not_asked_has_no_line(lines: Audit, store: MemoryStore) -> None:
    """The file is there all the same, and says that nothing was sent."""
    assert lines(state="SUSPENDED") == []
    assert store.files[OTHER, answers.REQUESTS] == b""


def test_it_is_written_once_right_before_the_account_is_done(lines: Audit, store: MemoryStore) -> None:
    """account.json stays the last file, so that an account that is done has its requests."""
    lines()
    assert [name for _, name in store.files][-2:] == [answers.REQUESTS, answers.ACCOUNT]


def test_nobody_judges_by_it(lines: Audit, store: MemoryStore) -> None:
    """It is not what the facts are read back from: without it the account is the same, to its digest."""
    lines()
    result = store.result(OTHER)
    assert answers.REQUESTS not in json.loads(store.files[OTHER, answers.ACCOUNT])["files"]
    store.files[OTHER, answers.REQUESTS] = b"something else"
    assert answers.facts_digest(store.result(OTHER)) == answers.facts_digest(result)
    del store.files[OTHER, answers.REQUESTS]
    assert store.result(OTHER) == result


@pytest.mark.parametrize("role", ["hub", "somebody-elses"])
def test_first_roles_are_in_the_file_of_whoever_they_were_assumed_for(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, role: str
) -> None:
    """The role that stands before the account's own, before it; also where the account is refused then."""
    cloud = start_cloud(SEED)
    connection = connect(cloud, via=Via((f"arn:aws:iam::{MAIN}:role/hub",), "tests", 3600))
    account = Account(MAIN, role_name=role)
    settings = settings_for(cloud, store, virtual_time, connection=connection)
    receipt = audit_account(account, replace(settings, timing=Timing()))  # by which first roles go
    found = [json.loads(line) for line in store.files[MAIN, answers.REQUESTS].splitlines()]
    assert [line["operation"] for line in found[:2]] == ["sts:AssumeRole"] * 2
    assert len(found) == len(cloud.call_log) == sum(receipt.spent.calls.values())
    if receipt.not_audited:
        assert receipt.not_audited.code is NotAuditedCode.ROLE_REFUSED
        assert [line["outcome"] for line in found] == ["ok", "AccessDenied"]


def test_finding_the_accounts_has_its_lines_too(start_cloud: StartCloud) -> None:
    """Who calls, the first roles and the pages of the organisation, in the order of sending, as many as are counted."""
    cloud = start_cloud(SEED, page_size=1)
    connection = connect(cloud, via=Via((f"arn:aws:iam::{MAIN}:role/hub",), "tests", 3600))
    wanted = AccountsConfig(source=AccountSource.ORGANISATION, role_name=cloud.role_name)
    scope = resolve_scope(wanted, (), connection, Timing())
    assert [request.operation for request in scope.requests] == [
        "sts:AssumeRole",
        "sts:GetCallerIdentity",
        "organizations:ListAccounts",
        "organizations:ListAccounts",
    ]
    assert Counter(request.operation for request in scope.requests) == scope.spent.calls
    assert all(request.request_id and request.outcome == "ok" for request in scope.requests)


def test_no_credential_is_ever_in_it(lines: Audit, store: MemoryStore) -> None:
    """Neither the caller's nor the session's, nor an external id; answers of look-ups are kept, and have no secrets."""
    found = lines()
    said = store.files[OTHER, answers.REQUESTS].decode()
    assert not [secret for secret in ("an-id", "ASIA", "Signature", "Token", "Secret") if secret in said]
    kept = {line["operation"] for line in found if line["answer"] is not None}
    assert kept == {
        "iam:GetAccessKeyLastUsed",
        "iam:ListAccessKeys",
        "iam:ListPolicies",
        "iam:ListServiceSpecificCredentials",
        "iam:ListUserTags",
    }
    assert all((line["params"] is None) is (line["answer"] is None) for line in found)
    told = next(line for line in found if line["params"] == {"UserName": "ann"})
    assert "<UserName>ann</UserName>" in told["answer"]
    assert f"<RequestId>{told['request_id']}</RequestId>" in told["answer"]


@pytest.mark.parametrize("status", [403, 503])
def test_what_could_not_be_sent_for_want_of_a_session_is_told(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, status: int
) -> None:
    """It is no request, and not counted; what failed in its place is, and the look-up's failure follows from both."""
    code = "AccessDenied" if status == 403 else "ServiceUnavailable"
    refused = lambda call: ErrorFault(status, code) if call.action == "AssumeRole" else None  # noqa: E731
    cloud = start_cloud(SEED, fault=InMidAccount(ErrorFault(403, "ExpiredToken"), refused))
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    result = audited_account(account, settings_for(cloud, store, virtual_time), store)
    assert isinstance(result.outcome, AccountFacts)
    assert str(result.outcome.lookups["ann"].failed).startswith(f"sts:AssumeRole: {code}")
    found = [json.loads(line) for line in store.files[OTHER, answers.REQUESTS].splitlines()]
    unsent = [line for line in found if line["failed_in"] is not None]
    assert {(line["operation"], line["failed_in"], line["outcome"]) for line in unsent} >= {
        ("iam:ListAccessKeys", "sts:AssumeRole", code)
    }
    assert Counter(line["operation"] for line in found if line["failed_in"] is None) == result.spent.calls
    assert len(found) - len(unsent) == len(cloud.call_log)


def test_a_user_may_be_renamed_between_its_keys_and_their_use(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """AWS's two answers name two users, and both are right."""

    def rename(call: Call) -> None:
        users = iam_backends[OTHER]["aws"].users
        if call.action == "GetAccessKeyLastUsed" and "ann" in users:
            iam_backends[OTHER]["aws"].update_user("ann", None, "anna")

    cloud = start_cloud(SEED, fault=rename)
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    result = audited_account(account, settings_for(cloud, store, virtual_time), store)
    assert isinstance(result.outcome, AccountFacts)
    said = store.files[OTHER, answers.REQUESTS].decode()
    assert "<UserName>ann</UserName>" in said
    assert "<UserName>anna</UserName>" in said


def test_credentials_that_run_out_are_told_without_a_request(
    start_cloud: StartCloud, virtual_time: VirtualTime
) -> None:
    """A login that is over: nothing more is sent, and nothing is counted."""

    @dataclass
    class Over:
        async def frozen(self) -> ReadOnlyCredentials:
            raise NoCredentialsError

    clients = Clients(connect(start_cloud(SEED)))
    caller = Caller(clients, Over(), "aws", virtual_time.timing)
    caller.ledger.keeps_answers = True
    with pytest.raises(AwsFailure):
        run(caller.call("iam", "list_users"))
    (request,) = caller.ledger.requests
    assert (request.outcome, request.failed_in, request.params) == ("NoCredentialsError", "iam:ListUsers", {})
    assert not caller.counts
    reason = "The credentials no longer work. iam:ListUsers: NoCredentialsError (Unable to locate credentials)"
    refused = NotAudited(NotAuditedCode.ACCESS_DENIED, reason, "Renew them.")
    assert differing([request], refused) is None


@dataclass
class Failing:
    """Credentials that a role gives, which refuses or throttles from some moment on, once or for good."""

    good: CredentialSource
    code: str
    fails: Callable[[], bool]

    async def frozen(self) -> ReadOnlyCredentials:
        """See `CredentialSource`."""

        def renew() -> None:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "AssumeRole")

        if not self.fails():
            return await self.good.frozen()
        return await AmbientCredentials(RefreshableCredentials("AKIA", "x", "y", ago(1), renew, "assume-role")).frozen()


@pytest.mark.parametrize("code", ["AccessDenied", "Throttling"])
@pytest.mark.parametrize("is_entered", [True, False])
def test_own_credentials_that_cannot_be_renewed_are_told(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, code: str, *, is_entered: bool
) -> None:
    """Of whom botocore asked for them nothing is kept; whose look-ups failed for it, and in what, is."""
    fault = InMidAccount(ErrorFault(403, "ExpiredToken") if is_entered else ErrorFault(503, "ServiceUnavailable"))
    cloud = start_cloud(SEED, fault=fault)
    settings = settings_for(cloud, store, virtual_time)
    clients = shared_clients(settings.connection)
    clients._ambient = Failing(clients.ambient(), code, lambda: fault.is_over)
    entered = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    result = audited_account(entered if is_entered else Account(MAIN), settings, store)
    assert isinstance(result.outcome, AccountFacts)
    assert str(result.outcome.lookups["ann"].failed).startswith(f"credentials: {code}")


def test_a_first_role_that_refuses_is_told_by_one_of_the_accounts(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """Its session is all accounts', and so are its requests: whoever ends first has them."""
    denied = lambda call: ErrorFault(403, "AccessDenied") if call.action == "AssumeRole" else None  # noqa: E731
    cloud = start_cloud(SEED, fault=InMidAccount(ErrorFault(403, "ExpiredToken"), denied))
    connection = connect(cloud, via=Via((f"arn:aws:iam::{MAIN}:role/hub",), "tests", 3600))
    # time goes on: a session is renewed where it is older than the call
    settings = replace(settings_for(cloud, store, virtual_time, connection=connection), timing=Timing())
    result = audited_account(Account(MAIN), settings, store)
    requests = list(answers.decode_requests(store.files[MAIN, answers.REQUESTS]))
    others = [one for one in requests if (one.operation, one.outcome) != ("sts:AssumeRole", "AccessDenied")]
    assert len(others) < len(requests)
    assert "sts:AssumeRole did not fail" in str(differing(others, result.outcome))
    assert differing(others, result.outcome, lambda: {("sts:AssumeRole", "AccessDenied")}) is None


def test_a_user_whose_name_has_other_capitals_by_now_is_the_same(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """IAM finds users by names in any case, and answers with the one that they have."""
    is_renamed = False

    def rename(call: Call) -> None:
        nonlocal is_renamed
        if call.action == "ListAccessKeys" and not is_renamed:
            is_renamed = True
            iam_backends[OTHER]["aws"].update_user("ann", None, "Ann")

    cloud = start_cloud(SEED, fault=rename)
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    result = audited_account(account, settings_for(cloud, store, virtual_time), store)
    assert isinstance(result.outcome, AccountFacts)
    assert "<UserName>Ann</UserName>" in store.files[OTHER, answers.REQUESTS].decode()


def test_a_clock_that_is_set_back_changes_no_order(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime
) -> None:
    """The second try comes after the first, whatever the clock says."""
    is_throttled = False

    def fault(call: Call) -> Fault | None:
        nonlocal is_throttled
        if call.action == "ListUserTags" and not is_throttled:
            is_throttled = True
            return ErrorFault(400, "Throttling")
        return None

    cloud = start_cloud(SEED, fault=fault)
    settings = settings_for(cloud, store, virtual_time)
    timing = settings.timing
    late = replace(timing, now=lambda: timing.now() - timedelta(seconds=5 if is_throttled else 0))
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    result = audited_account(account, replace(settings, timing=late), store)
    assert isinstance(result.outcome, AccountFacts)
    kept = [
        one
        for one in answers.decode_requests(store.files[OTHER, answers.REQUESTS])
        if one.operation == "iam:ListUserTags"
    ]
    again = next(one for one in kept if one.attempt > 1)
    tries = [one for one in kept if one.params == again.params]
    assert [one.attempt for one in tries] == [1, 2]
    assert tries[0].at > tries[1].at


def first_call(action: str, fault: Fault) -> Callable[[Call], Fault | None]:
    """The first call of an action goes wrong; and the report is never made, so that users are listed."""
    called: Counter[str] = Counter()

    def decide(call: Call) -> Fault | None:
        called[call.action] += 1
        if call.action == "GenerateCredentialReport":
            return ErrorFault(409, "LimitExceeded", "Later")
        return fault if call.action == action and called[action] == 1 else None

    return decide


@pytest.mark.parametrize(
    ("action", "code", "has_via"),
    [
        ("GenerateCredentialReport", "LimitExceeded", False),
        ("AssumeRole", "Throttling", False),
        ("AssumeRole", "Throttling", True),
        ("AssumeRole", "ExpiredToken", True),
    ],
)
def test_what_came_off_in_the_end_ended_no_account(  # noqa: PLR0913
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, action: str, code: str, *, has_via: bool
) -> None:
    """Nobody takes an account out of the population by a failure that it got over."""
    cloud = start_cloud(SEED, fault=first_call(action, ErrorFault(400, code, "Later")))
    connection = connect(cloud, via=Via((f"arn:aws:iam::{MAIN}:role/hub",), "tests", 3600) if has_via else None)
    settings = replace(settings_for(cloud, store, virtual_time, connection=connection), timing=Timing())
    settings = replace(settings, report_wait_seconds=0.0)
    account = Account(OTHER, role_name=cloud.role_name, external_id=cloud.external_id)
    assert isinstance(audited_account(account, settings, store).outcome, AccountFacts)
    requests = list(answers.decode_requests(store.files[OTHER, answers.REQUESTS]))
    service = "sts" if action == "AssumeRole" else "iam"
    gone = NotAudited(NotAuditedCode.THROTTLED, f"To the end. {service}:{action}: {code} (Later)", "")
    assert (f"{service}:{action}", code) in {(one.operation, one.outcome) for one in requests}
    assert "nothing of it was refused" in str(differing(requests, gone, lambda: {("sts:AssumeRole", "ok")}))


def test_of_a_process_that_died_no_requests_are_kept(store: MemoryStore) -> None:
    """What it had written before is of another end than the one that is told."""
    result = AccountResult(Account(OTHER), NotAudited(NotAuditedCode.FAILED, "It died.", ""), Spent())
    keep(result, store, [])
    assert (OTHER, answers.REQUESTS) in store.files
    keep(result, store)
    assert set(store.files) == {(OTHER, answers.ACCOUNT)}
