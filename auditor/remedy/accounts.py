"""Callers in the accounts of plans: entered as the audit enters them, each with the rights of one task only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from auditor.aws.calls import Caller
from auditor.aws.clients import Connection
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import Identity
from auditor.aws.loop import run
from auditor.aws.spending import Ledger as Spending
from auditor.aws.timing import Timing
from auditor.config import Config
from auditor.errors import UsageError
from auditor.gather.entering import enter
from auditor.model import Account
from auditor.remediation.plan import Item

ATTEMPTS = 6
SESSION_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs this, as AWS says, and the keys that sign the calls, or that those come from."""

    who: Identity
    keys: frozenset[str]
    clock_is_off: bool = False

    @property
    def user(self) -> str | None:
        """The IAM user's name; None for a role or the root user."""
        return self.who.arn.rpartition("/")[2] if ":user/" in self.who.arn else None

    def is_user(self, account_id: str, user: str) -> bool:
        """Whether it is this IAM user."""
        mine = self.user is not None and self.user.casefold() == user.casefold()  # names are one whatever their case
        return mine and self.who.account_id == account_id


@dataclass
class Accounts:
    """Callers in accounts, one for each task; made when they are first needed."""

    config: Config
    connection: Connection
    timing: Timing
    operator: Operator
    found: Mapping[str, Account]
    """The accounts as they are entered."""
    reads_only: bool = False
    """Nothing but reading calls is sent."""
    _callers: dict[tuple[str, str | None], Caller] = field(default_factory=dict)

    def reading(self, item: Item) -> Caller:
        """See `auditor.remediation.hands.Callers`."""
        return self.caller(item.account_id, None, own=self.is_own(item))

    def rotating(self, item: Item) -> Caller:
        """See `auditor.remediation.hands.Callers`."""
        return self.caller(item.account_id, self.config.remediation.roles.rotate, own=self.is_own(item))

    def retiring(self, item: Item) -> Caller:
        """See `auditor.remediation.hands.Callers`."""
        return self.caller(item.account_id, self.config.remediation.roles.retire, own=self.is_own(item))

    def restoring(self, account_id: str, *, own: bool) -> Caller:
        """Switches keys on again by hand; `own` and what is raised as in `caller`."""
        roles = self.config.remediation.roles
        return self.caller(account_id, roles.rollback or roles.retire, own=own)

    def is_own(self, item: Item) -> bool:
        """Whether it is the operator's own: somebody else needs the rights of the roles, as for any user."""
        return item.own and self.operator.is_user(item.account_id, item.user)

    def caller(self, account_id: str, role: str | None, *, own: bool = False) -> Caller:
        """A caller in the account, in this role or in the one that reads; `own` is the caller itself, in no role.

        Raises:
            AwsFailure: the account cannot be entered.
            UsageError: the account is not known.
        """
        if account_id not in self.found:
            what = f"How account {account_id} is entered is not known."
            raise UsageError(what, next_step="Name it in the configuration, or audit it first.")
        account = self.found[account_id]
        account = replace(account, role_name=None if own else role or account.role_name)
        who = self.operator.who  # another partition has a caller of its own, whom `see` holds to the account
        is_entered = account_id == who.account_id or account.partition != who.partition
        if account.role_name is None and not is_entered:
            what = "no role is known by which it could be entered; name one in accounts.role_name or for the account"
            raise AwsFailure(Kind.OTHER, f"account {account_id}", "NoRole", what)
        if (account_id, account.role_name) not in self._callers:
            entering = _Entering(self.connection, self.config.accounts.session_name, self.timing)
            caller = run(enter(account, entering, Spending()))
            self._callers[account_id, account.role_name] = replace(caller, reads_only=self.reads_only)
        return self._callers[account_id, account.role_name]


@dataclass(frozen=True, slots=True)
class _Entering:
    """How accounts are entered; see `auditor.gather.entering.EnteringSettings`."""

    connection: Connection
    session_name: str
    timing: Timing
    session_seconds: int = SESSION_SECONDS
    attempts: int = ATTEMPTS
