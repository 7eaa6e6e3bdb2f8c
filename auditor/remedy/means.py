"""What remediation works with: the configuration, AWS, the clock, who runs it, and the journal."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from auditor.aws.age_files import wrong_recipients
from auditor.aws.calls import Caller
from auditor.aws.clients import Connection, shared_clients
from auditor.aws.identity import caller_identity
from auditor.aws.loop import run
from auditor.aws.timing import Timing
from auditor.config import AccountEntry, AccountOverride, Config
from auditor.errors import ApprovalError, NothingAuditedError, UsageError
from auditor.gather.scope import resolve_scope
from auditor.model import Account
from auditor.policy.scopes import Place
from auditor.remediation.approval import Approvers
from auditor.remediation.journal import Journal
from auditor.remediation.journal_file import FILE, open_journal
from auditor.remediation.journal_table import open_shared_journal
from auditor.remediation.plan import Delivery, Item
from auditor.remediation.planning import Candidate
from auditor.remediation.progress import Ledger, fold
from auditor.remediation.protection import Protection
from auditor.remediation.record import Record, record
from auditor.remedy.accounts import ATTEMPTS, Accounts, Operator

log = logging.getLogger(__name__)

CLOCK_MAY_BE_OFF = timedelta(seconds=60)

NOT_IN_CI = frozenset({"", "0", "false", "no", "off"})
"""What the variable CI says outside a pipeline; inside of one some say true, and some their own name."""


def is_in_ci() -> bool:
    """Whether this is a job of a pipeline, whose files are gone afterwards."""
    return os.environ.get("CI", "").strip().lower() not in NOT_IN_CI


def confirm_files_stay(next_step: str) -> None:
    """Raise UsageError, with this as what to do, where a secret that is a file would be lost with the machine."""
    if is_in_ci():
        what = "The secret would be a file of this machine, which is gone after the job."
        raise UsageError(what, where="remediation.secrets", next_step=next_step)


@dataclass
class Means:
    """See the module."""

    config: Config
    connection: Connection
    home: Path
    """What paths of the configuration are relative to."""
    timing: Timing = field(default_factory=Timing)

    @property
    def folder(self) -> Path:
        """Of the journal and of plans."""
        return Path(self.config.remediation.folder)

    def approvers(self) -> Approvers:
        """Who may approve; UsageError where the configuration does not say."""
        path = self.config.remediation.approval.allowed_signers
        if path is None:
            step = "Name a file of OpenSSH's allowed_signers form in remediation.approval.allowed_signers."
            raise UsageError("Nobody may approve plans.", where="remediation.approval", next_step=step)
        return Approvers.read(self.home / path)

    @cached_property
    def operator(self) -> Operator:
        """Who runs this; AwsFailure where AWS does not know the caller."""
        clients = shared_clients(self.connection)
        ambient = clients.ambient()
        who = run(caller_identity(Caller(clients, ambient, "", self.timing, 2)))
        is_late = who.answered_at is not None and abs(who.answered_at - self.timing.now()) > CLOCK_MAY_BE_OFF
        return Operator(who, run(clients.key_ids()), clock_is_off=is_late)

    def operator_on_time(self) -> Operator:
        """Who runs this, for all that goes by the time, which is everything but to switch a key on again.

        Raises:
            ApprovalError: this machine's clock is wrong, so that nothing here would be when it says.
            AwsFailure: AWS does not know the caller.
        """
        if self.operator.clock_is_off:
            what = "This machine's clock is off by more than a minute from AWS's."
            raise ApprovalError(what, next_step="Set the clock: expiry, age and waiting depend on it.")
        return self.operator

    def own_caller(self, attempts: int = ATTEMPTS) -> Caller:
        """With the operator's own rights; raises AwsFailure where AWS does not know the caller."""
        clients = shared_clients(self.connection)
        return Caller(clients, clients.ambient(), self.operator.who.partition, self.timing, attempts)

    def accounts(self, found: Iterable[Account], *, reads_only: bool = False) -> Accounts:
        """Callers in these accounts; raises as `operator`."""
        known = {account.id: account for account in found}
        return Accounts(self.config, self.connection, self.timing, self.operator, known, reads_only)

    def accounts_of(self, ledger: Ledger, *, reads_only: bool = False) -> Accounts:
        """Callers in the accounts of items, entered as the configuration says now; raises as `operator`."""
        items = [tracked.item for tracked in ledger.items.values()]
        found = (self.account(item.account_id, item.partition, item.account_name) for item in items)
        return self.accounts(found, reads_only=reads_only)

    def account(self, account_id: str, partition: str, name: str | None = None) -> Account:
        """An account and how the configuration says that it is entered: the caller's own without a role.

        Raises:
            AwsFailure: AWS does not know the caller.
        """
        role, external = self.entry(account_id)
        listed = next((one.partition for one in self.config.accounts.list if one.id == account_id), None)
        return Account(account_id, name, listed or partition, role_name=role, external_id=external)

    def entry(self, account_id: str) -> tuple[str | None, str | None]:
        """The role that reads an account, and its external id; raises as `operator`."""
        accounts = self.config.accounts
        entries: tuple[AccountEntry | AccountOverride, ...] = (*accounts.override, *accounts.list)
        entry = next((one for one in entries if one.id == account_id), None)
        role, external = (entry.role_name, entry.external_id) if entry else (None, None)
        if role is None and accounts.role_name is not None and self.operator.who.account_id != account_id:
            role = accounts.role_name
        return role, external or accounts.external_id

    def protection(self, account_id: str) -> Protection:
        """Who is protected, in an account. Not to be asked inside the loop."""
        protected, policy = self.config.remediation.protected, self.config.to_policy()
        place = self._places.get(account_id, Place())
        return Protection(protected.to_scopes(), protected.groups, policy.exemptions, place)

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        """Where accounts stand in the organisation now; asked only where that protects or exempts somebody."""
        exemptions = (one.scope for one in self.config.to_policy().exemptions)
        scopes = (*self.config.remediation.protected.to_scopes(), *exemptions)
        units = tuple(dict.fromkeys(unit for scope in scopes for unit in scope.units))
        if not units:
            return {}
        try:
            found = resolve_scope(self.config.accounts, (), self.connection, self.timing, policy_units=units)
        except NothingAuditedError as error:  # then whoever may be protected is
            log.warning("where accounts stand in the organisation cannot be read: %s", error.what)
            return {}
        return {account.id: Place(account.units, account.unit_names) for account in found.accounts}

    def delivery(self, candidate: Candidate | Item) -> Delivery:
        """Where the secret of a user's new key goes, whether it is to be planned or was.

        Raises:
            UsageError: into a file that would be lost with this machine.
        """
        secrets, user = self.config.remediation.secrets, candidate.user
        readers = secrets.readers_of(candidate.owner)
        if readers:
            wrong = wrong_recipients(readers)
            if wrong:
                step = "It is the line of a .pub file, or what age-keygen prints as the public key."
                raise UsageError(f"{wrong[0]} is no public key.", where="remediation.secrets", next_step=step)
            confirm_files_stay("Plan it where the file stays, or leave its owner out of remediation.secrets.owner.")
            folder = str((self.folder / "secrets").absolute())
            name = f"{candidate.account_id}_{user}"  # a user may be called ".."
            return Delivery(store="age", secret=name, file=folder, readers=readers, smtp_regions=secrets.smtp_regions)
        return Delivery(
            store=secrets.store.value,
            secret=secrets.name_of(user),
            region=secrets.region or shared_clients(self.connection).region_of(candidate.partition),
            kms_key=secrets.kms_key,
            smtp_regions=secrets.smtp_regions,
        )

    @property
    def has_journal(self) -> bool:
        """Whether anything was ever written down, as far as can be told without AWS."""
        if self.config.remediation.journal.table is not None:
            return True
        try:
            return (self.folder / FILE).exists()
        except OSError:  # a folder of somebody else's; that it cannot be read is told by whoever opens it
            return True

    def ledger(self) -> Ledger:
        """All that was ever claimed, and how it stands; nothing where there is no journal yet."""
        if not self.has_journal:
            return Ledger()
        with self.journal(writes=False) as journal:
            return fold(journal.rows)

    def record(self, as_of: datetime) -> Record | None:
        """What the journal tells of up to an instant; None where there is none; raises as `journal`, and AwsFailure."""
        if not self.has_journal:
            return None
        with self.journal(writes=False) as journal:
            return record(journal.rows, as_of)

    @contextmanager
    def journal(self, *, writes: bool = True, attempts: int = ATTEMPTS) -> Iterator[Journal]:
        """The journal; who writes has it alone. `attempts` is how often a table of AWS is asked for one thing.

        Raises:
            ApprovalError: somebody else is at work.
            OutputError: it cannot be used.
            UsageError: it would be lost with the machine.
        """
        shared = self.config.remediation.journal
        if shared.table is not None:
            caller = replace(self.own_caller(attempts), region=shared.region)
            with open_shared_journal(caller, shared.table, shared.name, self.timing.now, writes=writes) as journal:
                yield journal
            return
        if writes and is_in_ci():
            what = "The journal would be a file of this machine, which is gone after the job."
            step = "Name a table in remediation.journal.table; deploy/journal.yaml makes one."
            raise UsageError(what, where="remediation.journal", next_step=step)
        with open_journal(self.folder, self.timing.now, writes=writes) as journal:
            yield journal
