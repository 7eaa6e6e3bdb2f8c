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
from auditor.aws.organisation import account_tags, list_accounts, locate_accounts, walk_units
from auditor.aws.timing import Timing
from auditor.config import AccountsConfig, AccountSource
from auditor.errors import AuditorError, NothingAuditedError, UsageError
from auditor.gather.entering import (
    Callers,
    callers_elsewhere,
    clients_elsewhere,
    confirm_partitions,
    listed_account,
    member_accounts,
)
from auditor.gather.selection import Selection, select_accounts
from auditor.model import Account, Member, PopulationEntry, Spent

IDENTITY_ATTEMPTS = 3
ORGANISATION_ATTEMPTS = 8
"""A call of Organizations that fails costs the whole run, and its rates are low."""

NARROWED = "--account"
"""What leaves out an account of the scope that the command line does not name."""

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

    def session_seconds(self, wanted: AccountsConfig) -> int:
        """How long role sessions can last: AWS gives a caller who is a role itself no more than an hour."""
        seconds = wanted.session_minutes * 60
        is_role = any(caller.is_role for caller in (self.caller, *self.others))
        chained = is_role and any(account.role_name for account in self.accounts)
        return min(seconds, CHAINED_SECONDS) if chained else seconds


def resolve_scope(
    wanted: AccountsConfig,
    only: Sequence[str],
    connection: Connection,
    timing: Timing,
    on_found: Callable[[int], None] = lambda _: None,
) -> Scope:
    """Find out who calls and which accounts that means.

    Args:
        wanted: the configuration's accounts.
        only: account ids given on the command line; they narrow the scope, and each must be in it.
        connection: how AWS is reached.
        timing: clock, sleep and jitter.
        on_found: told how many accounts of the organisation are known so far.

    Raises:
        UsageError: no credentials, or an account given is not among those listed; nothing was called.
        NothingAuditedError: AWS refuses the caller, does not answer, or will not list the organisation; or the
            scope cannot be what was asked for, as AWS's answers show.
    """
    if wanted.source is AccountSource.LIST:
        missing = sorted(set(only) - {entry.id for entry in wanted.list})
        if missing:
            what = f"Not among the accounts listed in the configuration: {', '.join(missing)}."
            raise UsageError(what, where="--account", next_step="Add it to accounts.list, or leave out --account.")
    with suppress(AwsFailure):  # told below; a prompt for a second factor belongs in this thread
        shared_clients(connection).ambient()

    async def resolve(tell: Callable[[Scope | int], None]) -> None:
        tell(await _resolved(wanted, only, connection, timing, tell))

    for told in told_by(resolve):
        if isinstance(told, Scope):
            return told
        on_found(told)
    raise AssertionError


async def _resolved(
    wanted: AccountsConfig,
    only: Sequence[str],
    connection: Connection,
    timing: Timing,
    on_found: Callable[[int], None],
) -> Scope:
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
        description += f", narrowed to {_named(account.id for account in found)}"
        population = tuple(
            replace(entry, left_out=entry.left_out or NARROWED) if entry.member.id not in only else entry
            for entry in population
        )
    for used in (clients, *others.values()):
        caller.ledger.take_over(used.ledger)
    elsewhere = tuple(other for other in callers.values() if other is not identity)
    return Scope(tuple(found), identity, description, caller.ledger.spent(), population, elsewhere)


async def _accounts(
    wanted: AccountsConfig, callers: Callers, identity: Identity, caller: Caller, on_found: Callable[[int], None]
) -> tuple[list[Account], str, tuple[PopulationEntry, ...]]:
    listed = [listed_account(wanted, entry, identity.partition, callers) for entry in wanted.list]
    match wanted.source:
        case AccountSource.CALLER:
            return [Account(identity.account_id, partition=identity.partition)], "the caller's own account", ()
        case AccountSource.LIST:
            return listed, "accounts listed in the configuration", ()
        case AccountSource.ORGANISATION:
            population = await _population(wanted, caller, on_found)
            _confirm_beside(listed, population)
            members = [entry.member for entry in population if entry.left_out is None]
            found = member_accounts(wanted, members, identity.partition, callers)
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


async def _population(
    wanted: AccountsConfig, caller: Caller, on_found: Callable[[int], None]
) -> tuple[PopulationEntry, ...]:
    """Every account of the organisation, and which filter leaves it out."""
    try:
        members = await list_accounts(caller, on_found)
        units = await _units(wanted, caller)
        if units:
            members = await _located(members, caller)
        selection = await _selected(wanted, members, units, caller)
    except AwsFailure as failure:
        step = f"Run as the management account or a delegated administrator with {failure.operation}."
        if failure.kind is Kind.NO_ORGANISATION:
            step = "List the accounts in the configuration (accounts.list) instead."
        elif failure.may_pass:
            step = f"Without all of it the population is not known. Run it again when AWS answers {failure.operation}."
        raise NothingAuditedError(f"The organisation cannot be listed. {failure}.", next_step=step) from failure
    if selection.unmatched:
        what = f"Filters that match no account of the organisation: {', '.join(selection.unmatched)}."
        raise NothingAuditedError(what, next_step="Correct or remove them; capital letters count.")
    if all(entry.left_out for entry in selection.population):
        what = f"No account is in scope: the filters leave out all {len(selection.population)}."
        raise NothingAuditedError(what, next_step="Check accounts.include and accounts.exclude.")
    return selection.population


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


async def _units(wanted: AccountsConfig, caller: Caller) -> Mapping[str, str]:
    """Ids of the organisational units that the filters mean, by entry; a path of names that leads nowhere has none."""
    entries = (*wanted.include.ous, *wanted.exclude.ous)
    paths = {tuple(entry.split("/")[1:]): entry for entry in entries if entry.startswith("/")}
    units = {entry: entry for entry in entries if not entry.startswith("/")}
    if paths:
        above = {path[:depth] for path in paths for depth in range(len(path))}
        async for unit in walk_units(caller, lambda unit: unit.names in above):
            if unit.names in paths:
                units[paths[unit.names]] = unit.path[-1]
    return units


async def _located(members: tuple[Member, ...], caller: Caller) -> tuple[Member, ...]:
    """The accounts with where they stand; the tree is walked where AWS did not say it of all of them."""
    if all(member.units for member in members):
        return members
    places = await locate_accounts(caller)
    lost = [member.id for member in members if not member.units and member.id not in places]
    if lost:
        what = f"{_named(lost)} stand in no organisational unit; perhaps they were moved just now, so try again"
        raise AwsFailure(Kind.UNREADABLE, "organizations:ListAccountsForParent", "UnreadableAnswer", what)
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
