"""The checkup of one account, over HTTP: what is refused is found, what is not tried is said, nothing is changed."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from auditor.aws.permissions import READING
from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    EmbeddedOrganisation,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    ReportSeed,
    RoleSeed,
    UserSeed,
)
from auditor.gather.checkup import AccountCheckup, Answer, CheckupSettings, check_accounts
from auditor.gather.needs import NEEDED_FOR, needed_actions
from auditor.model import Account, Clause, ControlId, Criterion, Framework, NotAuditedCode, Policy, Support
from auditor.policy import asks
from tests.builders import AS_OF, ago
from tests.conftest import NoProgress, VirtualTime, connect

MAIN, OTHER, EMPTY, KEYLESS, CLOSED, SLOW = (digit * 12 for digit in "123456")

ANN = UserSeed("ann", (KeySeed(created_at=ago(400)),))
SEED = OrganisationSeed(
    (
        AccountSeed(MAIN, "main", (ANN,)),
        AccountSeed(OTHER, "other", (UserSeed("abe"), ANN)),
        AccountSeed(EMPTY, "empty"),
        AccountSeed(KEYLESS, "keyless", (UserSeed("bob"),)),
        AccountSeed(CLOSED, "closed", (ANN,), role=RoleSeed(refuses=True)),
        AccountSeed(SLOW, "slow", (ANN,), report=ReportSeed(polls=9)),
    ),
    has_central_root_access=True,
)
ACTIONS = [permission.action for permission in READING]
OF_USERS = ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:ListUserTags"]
"""What can only be tried on somebody."""
READS = ("AssumeRole", "GetCallerIdentity", "Get", "List", "GenerateCredentialReport")


class Injector:
    """Answers one action with a fault, in whatever account; one cloud serves all tests."""

    def __init__(self) -> None:
        """No fault yet."""
        self.action = ""
        self.fault: Fault = DropFault()

    def __call__(self, call: Call) -> Fault | None:
        """Asked by the cloud at every call."""
        return self.fault if call.action == self.action else None


def check_account(account: Account, settings: CheckupSettings) -> AccountCheckup:
    """The checkup of one account."""
    (checkup,) = check_accounts([account], settings, NoProgress())
    return checkup


@pytest.fixture(scope="module")
def injector() -> Injector:
    return Injector()


@pytest.fixture(scope="module")
def cloud(injector: Injector) -> Iterator[EmbeddedOrganisation]:
    with EmbeddedOrganisation(SEED, as_of=AS_OF, fault=injector) as organisation:
        yield organisation


@pytest.fixture
def settings(cloud: EmbeddedOrganisation, injector: Injector, virtual_time: VirtualTime) -> CheckupSettings:
    injector.action = ""
    return CheckupSettings(connect(cloud), attempts=2, timing=virtual_time.timing)


def account(cloud: EmbeddedOrganisation, account_id: str) -> Account:
    """The account, entered through the role; the caller's own as the caller."""
    role = None if account_id == MAIN else cloud.role_name
    return Account(account_id, role_name=role, external_id=cloud.external_id)


def answers(checkup: AccountCheckup) -> dict[str, Answer]:
    """What came out, by action."""
    assert checkup.failed is None
    assert [trial.action for trial in checkup.trials] == ACTIONS
    return {trial.action: trial.answer for trial in checkup.trials}


@pytest.mark.parametrize("account_id", [MAIN, OTHER, SLOW])
def test_each_permission_is_tried_once(cloud: EmbeddedOrganisation, settings: CheckupSettings, account_id: str) -> None:
    """All allowed, in a dozen reading calls, whether or not AWS has a report ready."""
    before = len(cloud.call_log)
    assert set(answers(check_account(account(cloud, account_id), settings)).values()) == {Answer.ALLOWED}
    made = cloud.call_log[before:]
    assert len(made) <= 13
    assert all(call.action.startswith(READS) for call in made)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("account_id", [MAIN, OTHER])
def test_each_refused_permission_is_found(
    cloud: EmbeddedOrganisation, settings: CheckupSettings, injector: Injector, action: str, account_id: str
) -> None:
    """The one that is refused, no other; what cannot be tried without it is not said to be there."""
    injector.action = action.partition(":")[2]
    injector.fault = ErrorFault(403, "AccessDenied", "not authorized, with an explicit deny in a policy")
    checkup = check_account(account(cloud, account_id), settings)
    found = answers(checkup)
    assert [name for name, answer in found.items() if answer is Answer.REFUSED] == [action]
    assert not checkup.is_well
    assert "explicit deny" in checkup.with_answer(Answer.REFUSED)[0].why
    blind = {"iam:ListUsers": OF_USERS, "iam:ListAccessKeys": ["iam:GetAccessKeyLastUsed"]}.get(action, [])
    assert [name for name, answer in found.items() if answer is Answer.UNTRIED] == list(blind)


@pytest.mark.parametrize(
    ("account_id", "untried", "why"),
    [(EMPTY, OF_USERS, "no IAM user"), (KEYLESS, ["iam:GetAccessKeyLastUsed"], "no access key was found at bob")],
)
def test_what_there_is_nobody_to_try_on_is_not_tried(
    cloud: EmbeddedOrganisation, settings: CheckupSettings, account_id: str, untried: list[str], why: str
) -> None:
    """No user, or no key: that the permission is there is not claimed."""
    checkup = check_account(account(cloud, account_id), settings)
    answers(checkup)
    assert checkup.is_well
    assert [trial.action for trial in checkup.with_answer(Answer.UNTRIED)] == list(untried)
    assert why in checkup.with_answer(Answer.UNTRIED)[0].why


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (("GetAccountSummary", ErrorFault(400, "Throttling", "Rate exceeded")), NotAuditedCode.THROTTLED),
        (("ListUsers", DropFault()), NotAuditedCode.UNREACHABLE),
        (("ListUserTags", ErrorFault(403, "ExpiredToken", "expired")), NotAuditedCode.ACCESS_DENIED),
        (("AssumeRole", ErrorFault(403, "AccessDenied", "no")), NotAuditedCode.ROLE_REFUSED),
    ],
)
def test_what_tells_of_no_permission_is_no_permission(
    cloud: EmbeddedOrganisation,
    settings: CheckupSettings,
    injector: Injector,
    fault: tuple[str, Fault],
    code: NotAuditedCode,
) -> None:
    """Throttled to the end, no answer, no way in: the account is not well, and the reason is the audit's own."""
    injector.action, injector.fault = fault
    checkup = check_account(account(cloud, OTHER), settings)
    assert checkup.failed is not None
    assert checkup.failed.code is code
    assert checkup.failed.next_step
    assert not checkup.is_well


def test_a_refusal_after_authorisation_is_leave(
    cloud: EmbeddedOrganisation, settings: CheckupSettings, injector: Injector
) -> None:
    """AWS that will make no report now has let the caller ask for one."""
    injector.action, injector.fault = "GenerateCredentialReport", ErrorFault(409, "LimitExceeded", "Later")
    assert answers(check_account(account(cloud, OTHER), settings))["iam:GenerateCredentialReport"] is Answer.ALLOWED


def test_many_accounts_keep_their_order(cloud: EmbeddedOrganisation, settings: CheckupSettings) -> None:
    """Several at once, one of them closed to the caller: a value among the others."""
    ids = [KEYLESS, CLOSED, OTHER, MAIN, EMPTY]
    checkups = check_accounts([account(cloud, account_id) for account_id in ids], settings, NoProgress())
    assert [checkup.account.id for checkup in checkups] == ids
    assert [checkup.account.id for checkup in checkups if not checkup.is_well] == [CLOSED]
    assert check_accounts([], settings, NoProgress()) == ()


def test_a_silent_endpoint_is_not_asked_for_every_account(
    cloud: EmbeddedOrganisation, settings: CheckupSettings, injector: Injector
) -> None:
    """Where IAM does not answer for the first account, the others are not waited for."""
    injector.action, injector.fault = "GenerateCredentialReport", DropFault()
    checkups = check_accounts([account(cloud, account_id) for account_id in (OTHER, MAIN)], settings, NoProgress())
    assert [checkup.account.id for checkup in checkups] == [OTHER]


def test_what_the_policy_has_no_use_for_is_not_tried(
    cloud: EmbeddedOrganisation, settings: CheckupSettings, injector: Injector
) -> None:
    """A control that is switched off needs no permission: that it is refused is no problem, and nobody finds out."""
    off = frozenset({ControlId.QUARANTINED_KEY, ControlId.SERVICE_CREDENTIAL_AGE})
    needed = needed_actions(Policy(switched_off=off))
    injector.action, injector.fault = "ListPolicies", ErrorFault(403, "AccessDenied", "no")
    assert not check_account(account(cloud, OTHER), settings).is_well
    before = len(cloud.call_log)
    checkup = check_account(account(cloud, OTHER), replace(settings, needed=needed))
    assert checkup.is_well
    assert {trial.action for trial in checkup.trials} == needed == set(ACTIONS) - set(NEEDED_FOR)
    unused = {action.partition(":")[2] for action in NEEDED_FOR}
    assert not unused & {call.action for call in cloud.call_log[before:]}


def test_a_framework_needs_what_its_clauses_judge_by() -> None:
    """A control that the policy switches off is asked for all the same, where a clause has it as its criterion."""
    clause = Clause("1", "t", Support.DIRECT, "r", "s", Criterion(ControlId.QUARANTINED_KEY))
    untested = Clause("2", "t", Support.NOT_COVERED, "r", "s")
    policy = Policy(
        switched_off=frozenset({ControlId.QUARANTINED_KEY, ControlId.SERVICE_CREDENTIAL_AGE}),
        frameworks=(Framework("f", "F", "1", "s", (untested, clause)),),
    )
    assert asks(policy, ControlId.QUARANTINED_KEY)
    assert not asks(policy, ControlId.SERVICE_CREDENTIAL_AGE)
    assert asks(Policy(), ControlId.SERVICE_CREDENTIAL_AGE)
    assert {"iam:ListPolicies", "iam:ListEntitiesForPolicy"} <= needed_actions(policy)
    assert "iam:ListServiceSpecificCredentials" not in needed_actions(policy)


@pytest.mark.parametrize("action", ["", "AssumeRoot", "GetCallerIdentity"])
def test_entering_as_root_is_tried_where_it_is_wanted(
    cloud: EmbeddedOrganisation, settings: CheckupSettings, injector: Injector, action: str
) -> None:
    """Not in the caller's own account; a refusal is said, and leaves the account well: an audit goes by the report."""
    injector.action, injector.fault = action, ErrorFault(403, "AccessDenied", "no")
    wanted = replace(settings, root_sessions=True, without_root_sessions=frozenset({MAIN}))
    before = len(cloud.call_log)
    own, other = check_accounts([account(cloud, MAIN), account(cloud, OTHER)], wanted, NoProgress())
    assert own.root_refused is None
    assert (action in str(other.root_refused)) if action else (other.root_refused is None)
    assert own.is_well
    assert other.is_well
    made = [call.params["TargetPrincipal"] for call in cloud.call_log[before:] if call.action == "AssumeRoot"]
    assert made == [OTHER]
