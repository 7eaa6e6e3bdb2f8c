"""What an audit may do in each account, tried before the first run: each permission once, and nothing is changed."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from auditor.aws.calls import Caller
from auditor.aws.clients import Connection
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import assume_root
from auditor.aws.keys import look_up_root
from auditor.aws.loop import in_lanes, told_by
from auditor.aws.permissions import QUARANTINE_POLICY, READING
from auditor.aws.spending import Ledger, Pace
from auditor.aws.timing import Timing
from auditor.gather.entering import ambient_caller, enter
from auditor.gather.failures import not_audited
from auditor.gather.settings import Progress
from auditor.model import Account, NotAudited, NotAuditedCode

log = logging.getLogger(__name__)

USERS = 3
"""Users of an account among whom one with a key is looked for."""

PROOF = frozenset({Kind.NOT_FOUND, Kind.LIMIT, Kind.REPORT_NOT_PRESENT, Kind.REPORT_IN_PROGRESS, Kind.REPORT_EXPIRED})
"""Refusals that come after AWS has authorised the call."""


ACTIONS = tuple(permission.action for permission in READING)
BY_METHOD = {re.sub("(?!^)([A-Z])", r"_\1", action.partition(":")[2]).lower(): action for action in ACTIONS}
"""The actions by the client's methods, such as "list_users"."""


class Answer(StrEnum):
    """Whether a permission is there."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Trial:
    """A permission that was tried, or why it was not; `why` has AWS's words where it refused."""

    action: str
    answer: Answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class AccountCheckup:
    """The needed permissions in one account, in the policy's order; or what kept the checkup out."""

    account: Account
    trials: tuple[Trial, ...] = ()
    failed: NotAudited | None = None
    root_refused: str | None = None
    """Why the root user's keys cannot be looked up, where they are to be; an audit goes by the report then."""

    @property
    def is_unreachable(self) -> bool:
        """Whether AWS did not answer."""
        return self.failed is not None and self.failed.code is NotAuditedCode.UNREACHABLE

    @property
    def is_well(self) -> bool:
        """Whether the account was entered and refused nothing."""
        return not self.failed and not self.with_answer(Answer.REFUSED)

    def with_answer(self, answer: Answer) -> list[Trial]:
        """The trials that ended so."""
        return [trial for trial in self.trials if trial.answer is answer]


@dataclass(frozen=True)
class CheckupSettings:
    """How the accounts are entered: as an audit enters them, so that what works here works there."""

    connection: Connection
    session_name: str = "auditor"
    session_seconds: int = 3600
    attempts: int = 6
    calls_in_flight: int = 64
    """Accounts that are tried at the same time: each takes some eleven calls, one after the other."""
    account_calls_per_second: float = 20.0
    needed: frozenset[str] = frozenset(ACTIONS)
    """The actions that are tried: those that the audit's policy has a use for."""
    root_sessions: bool = False
    without_root_sessions: frozenset[str] = frozenset()
    """As `auditor.gather.GatherSettings` has them."""
    timing: Timing = field(default_factory=Timing)


def check_accounts(
    accounts: Sequence[Account], settings: CheckupSettings, progress: Progress
) -> tuple[AccountCheckup, ...]:
    """Try every permission in every account, several accounts at once; in the accounts' order.

    Where AWS does not answer for the first account, that one alone is handed back: the others would only take long.

    Raises:
        UsageError: AWS cannot be called at all with these settings.
    """
    progress.phase("Checking accounts", len(accounts))
    found: dict[str, AccountCheckup] = {}
    for checkup in told_by(partial(_check, accounts, settings)):
        found[checkup.account.id] = checkup
        progress.advance(checkup.account.name or checkup.account.id)
    return tuple(found[account.id] for account in accounts if account.id in found)


async def _check(
    accounts: Sequence[Account], settings: CheckupSettings, tell: Callable[[AccountCheckup], None]
) -> None:
    async def check(account: Account) -> AccountCheckup:
        checkup = await _check_account(account, settings)
        tell(checkup)
        return checkup

    for account in accounts[:1]:
        if (await check(account)).is_unreachable:
            return
    await in_lanes([partial(check, account) for account in accounts[1:]], settings.calls_in_flight)


async def _check_account(account: Account, settings: CheckupSettings) -> AccountCheckup:
    """Enter the account and try each permission once; what fails is a value."""
    examination, failed, root_refused = _Examination(account.partition, settings.needed), None, None
    ledger = Ledger(pace=Pace(settings.account_calls_per_second))
    try:
        await examination.try_all(await enter(account, settings, ledger))
        if settings.root_sessions and account.id not in settings.without_root_sessions:
            root_refused = await _root_refused(account, settings, ledger)
    except AwsFailure as failure:
        log.debug("account %s: %s", account.id, failure)
        failed = not_audited(account, failure)
    return AccountCheckup(account, examination.trials(), failed, root_refused)


async def _root_refused(account: Account, settings: CheckupSettings, ledger: Ledger) -> str | None:
    try:
        await look_up_root(await assume_root(ambient_caller(account, settings, ledger), account.id))
    except AwsFailure as failure:
        return str(failure)
    return None


class _Examination:
    """The permissions of one account, as they are tried one after the other."""

    def __init__(self, partition: str, needed: frozenset[str]) -> None:
        self._partition = partition
        self._needed = needed
        self._found: dict[str, Trial] = {}
        self._why_untried = ""

    def trials(self) -> tuple[Trial, ...]:
        """What came out, in the policy's order."""
        actions = [action for action in ACTIONS if action in self._needed]
        untried = {action: Trial(action, Answer.UNTRIED, self._why_untried) for action in actions}
        return tuple((untried | self._found)[action] for action in actions)

    async def try_all(self, caller: Caller) -> None:
        """Try each permission; AwsFailure for what tells of no permission and would meet every further call."""
        self._why_untried = "the checkup ended before"
        await self._ask(caller, "generate_credential_report")
        await self._ask(caller, "get_credential_report")
        await self._ask(caller, "get_account_summary")
        await self._ask(caller, "list_policies", Scope="AWS", OnlyAttached=True, MaxItems=1)
        # A partition that does not have this very policy says so after it has authorised the call.
        policy = f"arn:{self._partition}:iam::aws:policy/{QUARANTINE_POLICY}V3"
        await self._ask(caller, "list_entities_for_policy", PolicyArn=policy, EntityFilter="User", MaxItems=1)
        await self._ask(caller, "list_service_specific_credentials", AllUsers=True, MaxItems=1)
        listed = await self._ask(caller, "list_users", MaxItems=USERS)
        if listed is None:
            self._why_untried = "who the users are is not known without iam:ListUsers"
            return
        names = [str(user["UserName"]) for user in listed.get("Users", ())]
        if not names:
            self._why_untried = "there is no IAM user"
            return
        self._why_untried = f"no access key was found at {', '.join(names)}"
        await self._ask(caller, "list_user_tags", UserName=names[0])
        for name in names:
            keys = await self._ask(caller, "list_access_keys", UserName=name)
            if keys is None:
                self._why_untried = "which keys there are is not known without iam:ListAccessKeys"
                return
            if keys.get("AccessKeyMetadata"):
                await self._ask(
                    caller, "get_access_key_last_used", AccessKeyId=keys["AccessKeyMetadata"][0]["AccessKeyId"]
                )
                return

    async def _ask(self, caller: Caller, method: str, **params: Any) -> Mapping[str, Any] | None:
        """The answer, nothing in it where AWS refused for another reason than a permission; None where for that."""
        action = BY_METHOD[method]
        if action not in self._needed:
            return {}
        try:
            answer = await caller.call("iam", method, **params)
        except AwsFailure as failure:
            if failure.kind is Kind.DENIED:
                self._found[action] = Trial(action, Answer.REFUSED, failure.message)
                return None
            if failure.kind not in PROOF:
                raise
            answer = {}
        self._found[action] = Trial(action, Answer.ALLOWED)
        return answer
