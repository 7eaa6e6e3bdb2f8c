"""As whom each account is entered: the ambient credentials, a role, or whom its partition has of its own."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients, Connection, Entrance, shared_clients
from auditor.aws.failures import AwsFailure
from auditor.aws.identity import Identity, RoleSession, Via, caller_identity
from auditor.aws.spending import Ledger
from auditor.aws.timing import Timing
from auditor.config import AccountEntry, AccountsConfig, Config
from auditor.errors import NothingAuditedError
from auditor.model import Account, Member

Callers = Mapping[str, Identity]
"""Who calls in which partition."""

UnitNames = Mapping[str, tuple[str, ...]]
"""Names of the organisational units from the root's children down to one, by its id; none for a root."""


class EnteringSettings(Protocol):
    """What entering an account needs to know; seconds where the name says so."""

    @property
    def connection(self) -> Connection:
        """How AWS is reached."""
        ...

    @property
    def session_name(self) -> str:
        """The role session's name."""
        ...

    @property
    def session_seconds(self) -> int:
        """How long a role session lasts."""
        ...

    @property
    def attempts(self) -> int:
        """Attempts at a call."""
        ...

    @property
    def timing(self) -> Timing:
        """Clock, sleep and jitter."""
        ...


def connection_for(config: Config) -> Connection:
    """How AWS is reached, as the configuration says."""
    aws, accounts = config.aws, config.accounts

    def first(role_arns: tuple[str, ...]) -> Via | None:
        return Via(role_arns, accounts.session_name, accounts.session_minutes * 60) if role_arns else None

    return Connection(
        endpoint_url=aws.endpoint_url,
        profile=aws.profile,
        region=aws.region,
        connect_timeout=aws.connect_timeout_seconds,
        read_timeout=aws.read_timeout_seconds,
        via=first(accounts.via),
        entrances=tuple(
            Entrance(name, entry.profile, first(entry.via))
            for name, entry in accounts.partition.as_mapping().items()
            if entry.profile
        ),
    )


def ambient_caller(account: Account, settings: EnteringSettings, ledger: Ledger) -> Caller:
    """A caller with the credentials that there are before any role of the account's: those that enter it.

    Raises:
        AwsFailure: there are none.
        UsageError: AWS cannot be called at all with these settings.
    """
    clients = shared_clients(settings.connection.to(account.partition))
    return Caller(clients, clients.ambient(), account.partition, settings.timing, settings.attempts, ledger)


async def enter(account: Account, settings: EnteringSettings, ledger: Ledger) -> Caller:
    """A caller in the account, its role assumed.

    Raises:
        AwsFailure: there are no credentials, or the role is refused.
        UsageError: AWS cannot be called at all with these settings.
    """
    ambient = ambient_caller(account, settings, ledger)
    if account.role_name is None:
        return ambient
    session = RoleSession(account, ambient, settings.session_name, settings.session_seconds, settings.timing)
    await session.frozen()  # refused here, a role is told from a missing permission
    ledger.take_over(ambient.clients.ledger)
    return replace(ambient, credentials=session)


def settle(account: Account, settings: EnteringSettings, ledger: Ledger) -> None:
    """Have in an account's ledger what first roles took since somebody last took it over, so that none of it is lost.

    Raises:
        UsageError: AWS cannot be called at all with these settings.
    """
    ledger.take_over(shared_clients(settings.connection.to(account.partition)).ledger)


def clients_elsewhere(connection: Connection) -> Mapping[str, Clients]:
    """Clients for each partition that has credentials of its own; UsageError where a profile does not exist."""
    found = {entrance.partition: shared_clients(connection.to(entrance.partition)) for entrance in connection.entrances}
    for clients in found.values():
        with suppress(AwsFailure):  # what fails for some accounts only is for their lines to say
            clients.ambient()
    return found


async def callers_elsewhere(clients: Mapping[str, Clients], caller: Caller) -> Callers:
    """Who calls in these partitions; one whose credentials fail is left out, and its accounts will say why."""
    found = {}
    for partition, theirs in clients.items():
        with suppress(AwsFailure):
            there = replace(caller, clients=theirs, credentials=theirs.ambient(), partition=partition)
            found[partition] = await caller_identity(there)
    return found


def confirm_partitions(accounts: Iterable[Account], callers: Callers, elsewhere: Collection[str]) -> None:
    """Raise NothingAuditedError with all accounts that lie in another partition than whoever is to enter them."""
    wrong = {partition for partition, identity in callers.items() if identity.partition != partition}
    right = {*callers, *elsewhere} - wrong
    lost = sorted(f"{account.id} ({account.partition})" for account in accounts if account.partition not in right)
    if lost:
        what = f"Roles cannot be assumed across partitions, and there are no credentials to enter {', '.join(lost)}."
        step = "Name a profile that has credentials there, such as profile under [accounts.partition.aws-cn]."
        raise NothingAuditedError(what, next_step=step)


def listed_account(wanted: AccountsConfig, entry: AccountEntry, home: str, callers: Callers) -> Account:
    """A listed account and how it is entered; `home` is the caller's partition. Raises as `_entered`."""
    partition = entry.partition or home
    account = Account(entry.id, entry.name, partition, role_name=entry.role_name, external_id=entry.external_id)
    return _entered(wanted, account, callers)


def member_accounts(
    wanted: AccountsConfig, members: Sequence[Member], home: str, callers: Callers, names: UnitNames
) -> list[Account]:
    """The organisation's accounts and how they are entered; NothingAuditedError for overrides that match none.

    `home` is the caller's partition; `names` has the names of the units above the accounts, where they are known.
    """
    overrides = {entry.id: entry for entry in wanted.override}
    absent = overrides.keys() - {member.id for member in members}
    if absent:
        what = f"Accounts of accounts.override that are not in scope: {', '.join(sorted(absent))}."
        raise NothingAuditedError(what, next_step="Correct the ids, or remove the overrides.")
    found = []
    for member in members:
        above = names.get(member.units[-1]) if member.units else None
        account = Account(member.id, member.name, home, member.state, units=member.units or None, unit_names=above)
        if override := overrides.get(member.id):
            name = override.name or member.name
            account = replace(account, name=name, role_name=override.role_name, external_id=override.external_id)
        found.append(_entered(wanted, account, callers))
    return found


def _entered(wanted: AccountsConfig, account: Account, callers: Callers) -> Account:
    """The account with the role to enter it by; a caller's own account is entered as the caller."""
    caller = callers.get(account.partition)
    own = caller is not None and account.id == caller.account_id
    role = account.role_name or (None if own else wanted.role_name)
    if role is None and not own:
        whose = f" ({caller.account_id})" if caller else ""
        what = f"Account {account.id} is not the caller's own{whose}, and no role is named for it."
        raise NothingAuditedError(what, next_step="Give --role-name, or set accounts.role_name in the configuration.")
    return replace(account, role_name=role, external_id=account.external_id or wanted.external_id)
