"""Which accounts are in scope, and as whom they are entered."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from auditor.aws.calls import Caller
from auditor.aws.clients import Connection, shared_clients
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import CHAINED_SECONDS, Identity, caller_identity
from auditor.aws.loop import in_lanes, told_by
from auditor.aws.organisation import Unit, account_tags, list_accounts, locate_accounts, walk_units
from auditor.aws.timing import Timing
from auditor.config import AccountsConfig, AccountSource
from auditor.errors import AuditorError, NothingAuditedError, UsageError
from auditor.gather.entering import (
    Callers,
    UnitNames,
    callers_elsewhere,
    clients_elsewhere,
    confirm_partitions,
    listed_account,
    member_accounts,
)
from auditor.gather.selection import Selection, select_accounts
from auditor.model import Account, Member, PopulationEntry, Request, Spent

IDENTITY_ATTEMPTS = 3
ORGANISATION_ATTEMPTS = 8
"""A call of Organizations that fails costs the whole run, and its rates are low."""

NARROWED = "--account"
"""What leaves out an account of the scope that the command line does not name."""

NARROWED_TO = ", narrowed to "
"""How the scope's description goes on where the command line names accounts; who reads evidence goes by it."""

FEW = 5

TAG_LANES = 4
"""Accounts whose tags are asked for at once: the rates of Organizations are low, and are those of the whole company."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The accounts to audit, who asks, and the scope in words."""

    accounts: tuple[Account, ...]
    caller: Identity
    description: str
    spent: Spent
    """What finding this out took."""
    population: tuple[PopulationEntry, ...] = ()
    """Every account of the organisation, in scope or not; empty where the scope is no organisation."""
    others: tuple[Identity, ...] = ()
    """Who calls in the partitions that have credentials of their own."""
    requests: Sequence[Request] = ()
    """What was sent to find this out, in the order of sending."""

    @property
    def without_root_sessions(self) -> frozenset[str]:
        """Ids of accounts that AWS lets nobody enter as root: the callers' own, and those outside the organisation."""
        own = {caller.account_id for caller in (self.caller, *self.others)}
        members = {entry.member.id for entry in self.population}
        return frozenset(own | ({account.id for account in self.accounts} - members))

    def session_seconds(self, wanted: AccountsConfig) -> int:
        """How long role sessions can last: AWS gives a caller who is a role itself no more than an hour."""
        seconds = wanted.session_minutes * 60
        is_role = any(caller.is_role for caller in (self.caller, *self.others))
        chained = is_role and any(account.role_name for account in self.accounts)
        return min(seconds, CHAINED_SECONDS) if chained else seconds


def resolve_scope(  # noqa: PLR0913 - what is wanted, and how it is asked
    wanted: AccountsConfig,
    only: Sequence[str],
    connection: Connection,
    timing: Timing,
    on_found: Callable[[int], None] = lambda _: None,
    *,
    policy_units: Sequence[str] = (),
) -> Scope:
    """Find out who calls and which accounts that means.

    Args:
        wanted: the configuration's accounts.
        only: account ids given on the command line; they narrow the scope, and each must be in it.
        connection: how AWS is reached.
        timing: clock, sleep and jitter.
        on_found: told how many accounts of the organisation are known so far.
        policy_units: organisational units that the policy names, by id or path of names: where the accounts of the
            organisation stand is then found out, each of these must exist, and for a path all names are.

    Raises:
        UsageError: no credentials, an account given is not among those listed, or the policy names units where no
            organisation is asked; nothing was called.
        NothingAuditedError: AWS refuses the caller, does not answer, or will not list the organisation; or the
            scope cannot be what was asked for, as AWS's answers show.
    """
    if wanted.source is AccountSource.LIST:
        missing = sorted(set(only) - {entry.id for entry in wanted.list})
        if missing:
            what = f"Not among the accounts listed in the configuration: {', '.join(missing)}."
            raise UsageError(what, where="--account", next_step="Add it to accounts.list, or leave out --account.")
    if policy_units and wanted.source is not AccountSource.ORGANISATION:
        what = f"The policy names organisational units ({', '.join(policy_units)}), and no organisation is asked."
        step = 'Set accounts.source to "organisation", or name accounts in these rules instead.'
        raise UsageError(what, where="accounts.source", next_step=step)
    with suppress(AwsFailure):  # told below; a prompt for a second factor belongs in this thread
        shared_clients(connection).ambient()

    async def resolve(tell: Callable[[Scope | int], None]) -> None:
        tell(await _resolved(_Wanted(wanted, only, tuple(policy_units)), connection, timing, tell))

    for told in told_by(resolve):
        if isinstance(told, Scope):
            return told
        on_found(told)
    raise AssertionError


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the scope is to be made from."""

    accounts: AccountsConfig
    only: Sequence[str]
    policy_units: Sequence[str]

    @property
    def needs_names(self) -> bool:
        """Whether the policy names a unit by its path of names."""
        return any(_is_path(entry) for entry in self.policy_units)


@dataclass(frozen=True, slots=True)
class _Company:
    """The organisation: its accounts with what leaves them out, and the names above each unit where they are needed."""

    population: tuple[PopulationEntry, ...]
    names: UnitNames


async def _resolved(wanted: _Wanted, connection: Connection, timing: Timing, on_found: Callable[[int], None]) -> Scope:
    only = wanted.only
    clients, others = shared_clients(connection), clients_elsewhere(connection)
    try:
        caller = Caller(clients, clients.ambient(), "", timing, IDENTITY_ATTEMPTS)
        identity = await caller_identity(caller)
    except AwsFailure as failure:
        raise _no_entry(failure, connection) from failure
    caller = replace(caller, partition=identity.partition, attempts=ORGANISATION_ATTEMPTS)
    callers = {identity.partition: identity, **await callers_elsewhere(others, caller)}
    found, description, population = await _accounts(wanted, callers, identity, caller, on_found)
    confirm_partitions(found, callers, others)
    if only:
        found = _narrow(found, only, {entry.member.id: entry.left_out for entry in population})
        description += f"{NARROWED_TO}{_named(account.id for account in found)}"
        population = tuple(
            replace(entry, left_out=entry.left_out or NARROWED) if entry.member.id not in only else entry
            for entry in population
        )
    for used in (clients, *others.values()):
        caller.ledger.take_over(used.ledger)
    elsewhere = tuple(other for other in callers.values() if other is not identity)
    ledger = caller.ledger
    return Scope(tuple(found), identity, description, ledger.spent(), population, elsewhere, ledger.requests)


async def _accounts(
    asked: _Wanted, callers: Callers, identity: Identity, caller: Caller, on_found: Callable[[int], None]
) -> tuple[list[Account], str, tuple[PopulationEntry, ...]]:
    wanted = asked.accounts
    listed = [listed_account(wanted, entry, identity.partition, callers) for entry in wanted.list]
    match wanted.source:
        case AccountSource.CALLER:
            return [Account(identity.account_id, partition=identity.partition)], "the caller's own account", ()
        case AccountSource.LIST:
            return listed, "accounts listed in the configuration", ()
        case AccountSource.ORGANISATION:
            company = await _company(asked, caller, on_found)
            population = company.population
            _confirm_beside(listed, population)
            members = [entry.member for entry in population if entry.left_out is None]
            found = member_accounts(wanted, members, identity.partition, callers, company.names)
            beside = f", and {_named(account.id for account in listed)} beside it" if listed else ""
            return [*found, *listed], _described(population, identity) + beside, population


def _confirm_beside(listed: Iterable[Account], population: Iterable[PopulationEntry]) -> None:
    twice = sorted({account.id for account in listed} & {entry.member.id for entry in population})
    if twice:
        what = f"Accounts of accounts.list that belong to the organisation: {', '.join(twice)}."
        step = "Say under [[accounts.override]] what differs for them, or leave them out."
        raise NothingAuditedError(what, next_step=step)


def _described(population: Sequence[PopulationEntry], identity: Identity) -> str:
    excluded = [entry.member.id for entry in population if entry.left_out]
    without = f", without {_named(excluded)} that the configuration leaves out" if excluded else ""
    return f"every account of the organisation of {identity.account_id}{without}"


def _named(account_ids: Iterable[str]) -> str:
    """A few accounts by id, many by number; policy.toml and the tables have them all."""
    ids = sorted(account_ids)
    return ", ".join(ids) if len(ids) <= FEW else f"{len(ids)} accounts"


async def _company(asked: _Wanted, caller: Caller, on_found: Callable[[int], None]) -> _Company:
    """Every account of the organisation, and which filter leaves it out."""
    wanted = asked.accounts
    try:
        members = await list_accounts(caller, on_found)
        tree = await _tree(caller) if asked.needs_names else None
        units = await _units(wanted, caller, tree)
        if units or asked.policy_units:
            members = await _located(members, caller)
        names = _names(tree, members) if tree else {}
        lost = await _unknown_units(asked.policy_units, members, caller, tree)
        selection = await _selected(wanted, members, units, caller)
    except AwsFailure as failure:
        step = f"Run as the management account or a delegated administrator with {failure.operation}."
        if failure.kind is Kind.NO_ORGANISATION:
            step = "List the accounts in the configuration (accounts.list) instead."
        elif failure.may_pass:
            step = f"Without all of it the population is not known. Run it again when AWS answers {failure.operation}."
        raise NothingAuditedError(f"The organisation cannot be listed. {failure}.", next_step=step) from failure
    if lost:
        what = f"Entries of the policy that match no organisational unit of the organisation: {', '.join(lost)}."
        raise NothingAuditedError(what, next_step="Correct or remove them; capital letters count.")
    if selection.unmatched:
        what = f"Filters that match no account of the organisation: {', '.join(selection.unmatched)}."
        raise NothingAuditedError(what, next_step="Correct or remove them; capital letters count.")
    if all(entry.left_out for entry in selection.population):
        what = f"No account is in scope: the filters leave out all {len(selection.population)}."
        raise NothingAuditedError(what, next_step="Check accounts.include and accounts.exclude.")
    located = (
        replace(entry, unit_names=names.get(entry.member.units[-1])) if entry.member.units else entry
        for entry in selection.population
    )
    return _Company(tuple(located), names)


async def _selected(
    wanted: AccountsConfig, members: tuple[Member, ...], units: Mapping[str, str], caller: Caller
) -> Selection:
    """The selection, with the tags of those accounts on which they decide: found out by asking without them first."""
    tags: dict[str, Mapping[str, str]] = {}
    missing: set[str] = set()

    def tags_of(account_id: str) -> Mapping[str, str] | None:
        if account_id not in tags:
            missing.add(account_id)
        return tags.get(account_id)

    while True:
        selection = select_accounts(members, wanted.include, wanted.exclude, units=units, tags_of=tags_of)
        if not missing:
            return selection
        asked = sorted(missing)
        found = await in_lanes([partial(account_tags, caller, account_id) for account_id in asked], TAG_LANES)
        tags |= zip(asked, found, strict=True)
        missing.clear()


Tree = Mapping[str, Unit]
"""The roots and all organisational units, by id."""


async def _tree(caller: Caller) -> Tree:
    return {unit.path[-1]: unit async for unit in walk_units(caller)}


async def _units(wanted: AccountsConfig, caller: Caller, tree: Tree | None) -> Mapping[str, str]:
    """Ids of the organisational units that the filters mean, by entry; a path of names that leads nowhere has none."""
    entries = (*wanted.include.ous, *wanted.exclude.ous)
    paths = {_steps(entry): entry for entry in entries if _is_path(entry)}
    units = {entry: entry for entry in entries if not _is_path(entry)}
    if paths and tree is not None:
        return units | {paths[unit.names]: id_ for id_, unit in tree.items() if unit.names in paths}
    if paths:
        above = {path[:depth] for path in paths for depth in range(len(path))}
        async for unit in walk_units(caller, lambda unit: unit.names in above):
            if unit.names in paths:
                units[paths[unit.names]] = unit.path[-1]
    return units


def _is_path(entry: str) -> bool:
    """Whether an entry is a path of names, and no id."""
    return entry.startswith("/")


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:])


async def _unknown_units(
    entries: Sequence[str], members: Iterable[Member], caller: Caller, tree: Tree | None
) -> list[str]:
    """Entries that are no unit of the organisation; the tree is walked for ids above which no account stands."""
    populated = {unit for member in members for unit in member.units}
    doubtful = [entry for entry in entries if entry not in populated]
    if not doubtful:
        return []
    known = await _tree(caller) if tree is None else tree
    paths = {unit.names for unit in known.values()}
    return [f'"{it}"' for it in doubtful if not (_steps(it) in paths if _is_path(it) else it in known)]


def _names(tree: Tree, members: Iterable[Member]) -> UnitNames:
    """The names of the units that accounts stand in.

    Raises:
        AwsFailure: an account stands in a unit that the tree does not have.
    """
    lost = [member.id for member in members if member.units[-1] not in tree]
    if lost:
        raise _moved(lost, "organizations:ListOrganizationalUnitsForParent")
    return {id_: unit.names for id_, unit in tree.items()}


def _moved(account_ids: Sequence[str], operation: str) -> AwsFailure:
    what = f"{_named(account_ids)} stand in no organisational unit; perhaps they were moved just now, so try again"
    return AwsFailure(Kind.UNREADABLE, operation, "UnreadableAnswer", what)


async def _located(members: tuple[Member, ...], caller: Caller) -> tuple[Member, ...]:
    """The accounts with where they stand; the tree is walked where AWS did not say it of all of them."""
    if all(member.units for member in members):
        return members
    places = await locate_accounts(caller)
    lost = [member.id for member in members if not member.units and member.id not in places]
    if lost:
        raise _moved(lost, "organizations:ListAccountsForParent")
    return tuple(replace(member, units=member.units or places[member.id]) for member in members)


def _narrow(scope: Sequence[Account], only: Sequence[str], left_out: Mapping[str, str | None]) -> list[Account]:
    known = {account.id: account for account in scope}
    missing = [account_id for account_id in only if account_id not in known]
    filtered = [f"{account_id} by {left_out[account_id]}" for account_id in missing if left_out.get(account_id)]
    if filtered:
        what = f"The configuration leaves out: {', '.join(filtered)}."
        raise NothingAuditedError(what, where="--account", next_step="Leave out --account, or change the filter.")
    if missing:
        what = f"Not in scope: {', '.join(missing)}."
        step = "Give --role-name to enter other accounts; `aws organizations list-accounts` shows those there are."
        raise NothingAuditedError(what, where="--account", next_step=step)
    return [known[account_id] for account_id in dict.fromkeys(only)]


def _no_entry(failure: AwsFailure, connection: Connection) -> AuditorError:
    where = connection.endpoint_url or ""
    match failure.kind:
        case Kind.NO_CREDENTIALS:
            step = "Set AWS_PROFILE, or log in (`aws sso login`), or name a profile with --profile."
            what = "No AWS credentials were found."
            if failure.code != "NoCredentialsError":
                what = f"No AWS credentials could be loaded: the source that is configured fails. {failure}."
            return UsageError(what, where=where, next_step=step)
        case Kind.CREDENTIALS_EXPIRED:
            step = "Renew them (for example `aws sso login`) and run the audit again."
            return NothingAuditedError(f"The AWS credentials have expired. {failure}.", where=where, next_step=step)
        case Kind.CREDENTIALS_INVALID:
            step = "Check which profile is used (AWS_PROFILE, --profile) and that its key is active."
            return NothingAuditedError(f"AWS does not accept the credentials. {failure}.", where=where, next_step=step)
        case Kind.UNREACHABLE | Kind.TIMED_OUT:
            step = "Check the network, and --endpoint-url or AWS_ENDPOINT_URL if one is set."
            return NothingAuditedError(f"AWS cannot be reached. {failure}.", where=where, next_step=step)
        case _ if failure.operation == "sts:AssumeRole":
            step = "Check the ARN in accounts.via, and that the role's trust policy names whose credentials these are."
            return NothingAuditedError(f"The first role cannot be assumed. {failure}.", where=where, next_step=step)
        case _:
            step = "Check the endpoint and the credentials, then run the audit again."
            return NothingAuditedError(f"AWS refused to say who calls. {failure}.", where=where, next_step=step)
