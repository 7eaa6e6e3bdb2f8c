"""Which policies a configuration calls for: of the role in every account, and of the principal that runs the audit."""

from collections.abc import Sequence
from typing import Any

from auditor.aws.permissions import FIND_UNITS, LIST_ACCOUNTS, LIST_TAGS, caller_policy
from auditor.config import AccountsConfig, AccountSource
from auditor.gather.needs import policy_units
from auditor.model import Policy


def _organisation(accounts: AccountsConfig, policy: Policy) -> tuple[str, ...]:
    """The calls that find the accounts: more than the list only where filters or policy need to know more of them."""
    filters = (accounts.include, accounts.exclude)
    units = FIND_UNITS if policy_units(policy) or any(wanted.ous for wanted in filters) else ()
    tags = (LIST_TAGS,) if any(wanted.tags for wanted in filters) else ()
    return (LIST_ACCOUNTS, *units, *tags)


def policy_of_caller(
    accounts: AccountsConfig,
    partition: str,
    *,
    own: str | None,
    policy: Policy | None = None,
    others: Sequence[str] = (),
) -> dict[str, Any]:
    """What the principal that audits these accounts needs, exactly; see `auditor.gather.scope` for who enters how.

    Args:
        accounts: the configuration's accounts.
        partition: such as "aws".
        own: the id of the principal's own account, where it is known; it is entered without a role unless the list
            names one for it.
        policy: what is judged by; where it names organisational units, they have to be found. The default if None.
        others: roles that are assumed for something else than auditing.
    """
    entries = [entry for entry in accounts.list if entry.partition in {None, partition}]
    roles = [entry.role_name or accounts.role_name for entry in entries if entry.id != own or entry.role_name]
    if accounts.source is AccountSource.ORGANISATION:
        roles += [accounts.role_name, *(entry.role_name for entry in accounts.override)]
    reads_itself = {
        AccountSource.CALLER: True,
        AccountSource.ORGANISATION: own not in accounts.exclude.ids,
        AccountSource.LIST: None in roles or any(entry.id == own and not entry.role_name for entry in entries),
    }
    return caller_policy(
        partition,
        [role for role in (*roles, *others) if role],
        organisation=_organisation(accounts, policy or Policy())
        if accounts.source is AccountSource.ORGANISATION
        else (),
        reads_itself=reads_itself[accounts.source],
        enters_as_root=accounts.root_sessions,
    )
