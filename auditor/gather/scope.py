"""Which accounts are in scope, and as whom they are entered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from auditor.aws.calls import Caller
from auditor.aws.clients import Connection, shared_clients
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import Identity, caller_identity
from auditor.aws.organisation import list_accounts
from auditor.aws.timing import Timing
from auditor.config import AccountsConfig, AccountSource
from auditor.errors import AuditorError, NothingAuditedError, UsageError
from auditor.model import Account

IDENTITY_ATTEMPTS = 3
FEW = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """The accounts to audit, who asks, and the scope in words."""

    accounts: tuple[Account, ...]
    caller: Identity
    description: str
    calls: Mapping[str, int]
    """API calls that finding this out took, by operation."""


def resolve_scope(wanted: AccountsConfig, only: Sequence[str], connection: Connection, timing: Timing) -> Scope:
    """Find out who calls and which accounts that means.

    Args:
        wanted: the configuration's accounts.
        only: account ids given on the command line; they narrow the scope, and each must be in it.
        connection: how AWS is reached.
        timing: clock, sleep and jitter.

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
    clients = shared_clients(connection)
    try:
        caller = Caller(clients, clients.ambient(), "", timing, IDENTITY_ATTEMPTS)
        identity = caller_identity(caller)
    except AwsFailure as failure:
        raise _no_entry(failure, connection) from failure
    caller = replace(caller, partition=identity.partition)
    accounts, description = _accounts(wanted, identity, caller)
    excluded = {account.id for account in accounts} & set(wanted.exclude)
    scope = [account for account in accounts if account.id not in excluded]
    if excluded:
        description += f", without {_named(excluded)} that the configuration excludes"
    if only:
        scope = _narrow(scope, only)
        description += f", narrowed to {_named(account.id for account in scope)}"
    if not scope:
        step = "Check accounts.exclude in the configuration."
        raise NothingAuditedError("Every account is excluded: none is in scope.", next_step=step)
    return Scope(tuple(scope), identity, description, dict(caller.counts))


def _named(account_ids: Iterable[str]) -> str:
    """A few accounts by id, many by number; policy.toml and the tables have them all."""
    ids = sorted(account_ids)
    return ", ".join(ids) if len(ids) <= FEW else f"{len(ids)} accounts"


def _accounts(wanted: AccountsConfig, identity: Identity, caller: Caller) -> tuple[list[Account], str]:
    match wanted.source:
        case AccountSource.CALLER:
            return [Account(identity.account_id, partition=identity.partition)], "the caller's own account"
        case AccountSource.LIST:
            listed = [
                _entered(
                    wanted,
                    Account(entry.id, entry.name, entry.partition or identity.partition, role_name=entry.role_name),
                    identity,
                    entry.external_id,
                )
                for entry in wanted.list
            ]
            return listed, "accounts listed in the configuration"
        case AccountSource.ORGANISATION:
            found = [_entered(wanted, account, identity) for account in _organisation(caller)]
            return found, f"every account of the organisation of {identity.account_id}"


def _entered(wanted: AccountsConfig, account: Account, identity: Identity, external_id: str | None = None) -> Account:
    """The account with the role to enter it by; the caller's own account is entered as the caller."""
    own = account.id == identity.account_id
    role = account.role_name or (None if own else wanted.role_name)
    if role is None and not own:
        what = f"Account {account.id} is not the caller's own ({identity.account_id}), and no role is named for it."
        raise NothingAuditedError(what, next_step="Give --role-name, or set accounts.role_name in the configuration.")
    partition = account.partition if account.partition != "aws" else identity.partition
    return replace(account, partition=partition, role_name=role, external_id=external_id or wanted.external_id)


def _organisation(caller: Caller) -> Iterable[Account]:
    try:
        return tuple(list_accounts(caller))
    except AwsFailure as failure:
        step = "Run as the management account or a delegated administrator with organizations:ListAccounts."
        if failure.kind is Kind.NO_ORGANISATION:
            step = "List the accounts in the configuration (accounts.list) instead."
        raise NothingAuditedError(f"The organisation cannot be listed. {failure}.", next_step=step) from failure


def _narrow(scope: Sequence[Account], only: Sequence[str]) -> list[Account]:
    known = {account.id: account for account in scope}
    missing = [account_id for account_id in only if account_id not in known]
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
            return UsageError("No AWS credentials were found.", where=where, next_step=step)
        case Kind.CREDENTIALS_EXPIRED:
            step = "Renew them (for example `aws sso login`) and run the audit again."
            return NothingAuditedError(f"The AWS credentials have expired. {failure}.", where=where, next_step=step)
        case Kind.CREDENTIALS_INVALID:
            step = "Check which profile is used (AWS_PROFILE, --profile) and that its key is active."
            return NothingAuditedError(f"AWS does not accept the credentials. {failure}.", where=where, next_step=step)
        case Kind.UNREACHABLE | Kind.TIMED_OUT:
            step = "Check the network, and --endpoint-url or AWS_ENDPOINT_URL if one is set."
            return NothingAuditedError(f"AWS cannot be reached. {failure}.", where=where, next_step=step)
        case _:
            step = "Check the endpoint and the credentials, then run the audit again."
            return NothingAuditedError(f"AWS refused to say who calls. {failure}.", where=where, next_step=step)
