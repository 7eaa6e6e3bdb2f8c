"""The tables of facts of many accounts: the reports' columns as they are, and between them who is known better."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.inventory.people import Person
from auditor.model import (
    ROOT_USER,
    AccountFacts,
    AccountResult,
    KeyStatus,
    ListedUser,
    NotAudited,
    Quarantine,
    ReportUser,
    ServiceCredentials,
)
from auditor.report_columns import SLOTS, Answers, Flags, Instants, ReportColumns, Texts
from auditor.tables import ACCOUNTS, CREDENTIALS, KEYS, USERS, Snapshot, table, table_of, texts

Rows = npt.NDArray[np.intp]

_STATUSES = (KeyStatus.INACTIVE.value, KeyStatus.ACTIVE.value)
_USE_STATES = ("never", "unknown", "used")


def build_snapshot(results: Iterable[AccountResult]) -> Snapshot:
    """The tables of facts, ordered by account id and then as AWS listed them.

    Args:
        results: one per account in scope, audited or not, in any order.
    """
    ordered = sorted(results, key=lambda result: result.account.id)
    columns = [_columns(result) for result in ordered]
    sizes = [_size(result) for result in ordered]
    people = _people(ordered, columns, sizes)
    account = np.repeat(np.arange(len(ordered)), sizes)
    plain = np.full(len(account), fill_value=True)
    plain[list(people)] = False
    users = ReportColumns.joined([part for part in columns if part is not None])
    if people:
        users = users.take(plain[np.repeat([part is not None for part in columns], sizes)])
    user_table, key_table = _tables(ordered, users, account[plain])
    present = np.bincount(account[plain], users.has_key.sum(axis=1), len(ordered)).astype(int)
    np.add.at(present, account[list(people)], [len(person.present) for person in people.values()])
    accounts = [_account_row(*facts) for facts in zip(ordered, columns, sizes, present.tolist(), strict=True)]
    if people:
        rows = np.flatnonzero(plain)
        user_rows = table(USERS, [person.user_row() for person in people.values()])
        user_table = _in_order(user_table, rows, user_rows, list(people))
        keys = [(row, key) for row, person in people.items() for key in person.key_rows()]
        key_rows = table(KEYS, [key for _, key in keys])
        key_table = _in_order(key_table, rows[_holders(users)], key_rows, [row for row, _ in keys])
    return Snapshot(table(ACCOUNTS, accounts), user_table, key_table, _credentials(ordered, user_table))


def _columns(result: AccountResult) -> ReportColumns | None:
    if isinstance(result.outcome, NotAudited) or result.outcome.report is None:
        return None
    return ReportColumns.of(result.outcome.report.users)


def _size(result: AccountResult) -> int:
    """The number of the account's users, from whatever source."""
    if isinstance(result.outcome, NotAudited):
        return 0
    report = result.outcome.report
    return len(report.users if report else result.outcome.listed_users)


# ------------------------------------------------------------------------------------------------- who is known better


def _people(
    results: Sequence[AccountResult],
    columns: Sequence[ReportColumns | None],
    sizes: Sequence[int],
) -> dict[int, Person]:
    """The users who were looked up or only listed, by their row among all users."""
    people: dict[int, Person] = {}
    end = 0
    for result, users, size in zip(results, columns, sizes, strict=True):
        first, end = end, end + size
        if isinstance(result.outcome, AccountFacts):
            rows = np.arange(size) if users is None else _looked_up(users, result.outcome)
            records: Iterable[ReportUser | ListedUser] = (
                result.outcome.listed_users if users is None else users.take(rows)
            )
            for row, record in zip(rows.tolist(), records, strict=True):
                people[first + row] = Person.of(result.account, result.outcome, record)
    return people


def _looked_up(users: ReportColumns, facts: AccountFacts) -> Rows:
    if not facts.lookups:
        return np.empty(0, np.intp)
    return np.flatnonzero(np.fromiter(map(facts.lookups.__contains__, users.name.tolist()), np.bool_, len(users)))


def _in_order(columns: pd.DataFrame, rows: Rows, records: pd.DataFrame, record_rows: Sequence[int]) -> pd.DataFrame:
    """Both parts of a table as one, by the users' rows; of one user, as they come."""
    order = np.argsort(np.append(rows, np.array(record_rows, np.intp)), kind="stable")
    return pd.concat([columns, records], ignore_index=True).take(order).reset_index(drop=True)


# ------------------------------------------------------------------------------------------------- columns


def _tables(results: Sequence[AccountResult], users: ReportColumns, account: Rows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Users and keys of whom the report is all that is known."""
    told = np.array([_tells_of_more(result) for result in results], np.bool_)[account]
    active = users.has_key & users.key_active
    people: dict[str, Any] = {
        "account_id": texts([result.account.id for result in results]).take(account),
        "account_name": texts([result.account.name for result in results]).take(account),
        "user": texts(users.name),
        "user_arn": texts(users.arn),
        "is_root": users.is_root,
    }
    rotation = _rotation_since(users, active)
    quarantined = _quarantined_by(results, users, account)
    user_columns = {
        **people,
        "created_at": users.created_at,
        "password_enabled": _flags(users.password_enabled),
        "password_last_used_at": users.password_used_at,
        "password_use_unknown": users.password_use_unknown,
        "password_changed_at": users.password_changed_at,
        "mfa_active": _flags(users.mfa_active),
        "active_certificates": users.active_certificates,
        "active_keys": active.sum(axis=1),
        "known_keys": users.has_key.sum(axis=1),
        "listing": "report",
        "additional_column": told,
        "additional_credentials": users.additional,
        "rotation_since": rotation,
        "quarantined_by": quarantined,
    }
    holders = _holders(users)
    held = {
        **people,
        "user_created_at": users.created_at,
        "password_enabled": _flags(users.password_enabled),
        "rotation_since": rotation,
        "quarantined_by": quarantined,
    }
    key_columns = {name: column.take(holders) for name, column in held.items()} | _key_columns(users)
    return table_of(USERS, user_columns, len(users)), table_of(KEYS, key_columns, len(holders))


def _holders(users: ReportColumns) -> Rows:
    """The row of the user of each key."""
    return np.flatnonzero(users.has_key) // SLOTS


def _key_columns(users: ReportColumns) -> dict[str, Any]:
    keys = users.has_key
    used, unknown = users.key_used_at[keys], users.key_use_unknown[keys]
    state = np.where(np.isnat(used), pd.notna(unknown), 2).astype(np.intp)
    return {
        "slot": np.flatnonzero(keys) % SLOTS + 1,
        "key_status": texts(_STATUSES).take(users.key_active[keys].astype(np.intp)),
        "created_at": users.key_created_at[keys],
        "last_used_state": texts(_USE_STATES).take(state),
        "last_used_at": used,
        "last_used_service": users.key_service[keys],
        "last_used_region": users.key_region[keys],
        "last_used_problem": unknown,
        "identity": "report",
    }


def _rotation_since(users: ReportColumns, active: Flags) -> Instants:
    """The creation of the youngest of several active keys, as far as the report dates them."""
    created = np.where(active, users.key_created_at, np.datetime64("NaT"))
    several = active.sum(axis=1) > 1
    return np.where(several, np.fmax.reduce(created, axis=1), np.datetime64("NaT"))


def _quarantined_by(results: Sequence[AccountResult], users: ReportColumns, account: Rows) -> Texts:
    """The quarantine policies of the few users that have any."""
    column: Texts = np.full(len(users), None, np.object_)
    for number, result in enumerate(results):
        quarantine = result.outcome.quarantine if isinstance(result.outcome, AccountFacts) else None
        for user, policies in (quarantine.users if quarantine else {}).items():
            column[(account == number) & np.equal(users.name, user)] = ", ".join(policies)
    return column


def _credentials(results: Sequence[AccountResult], users: pd.DataFrame) -> pd.DataFrame:
    """The service-specific credentials, each with its user's ARN as the users' table has it, else as IAM makes it."""
    rows = [
        (result.account, credential)
        for result in results
        if isinstance(result.outcome, AccountFacts) and result.outcome.service_credentials
        for credential in result.outcome.service_credentials.found
    ]
    if not rows:
        return table(CREDENTIALS, [])
    holders = {credential.user for _, credential in rows}
    there = users[users["user"].isin(holders)]
    arns = dict(zip(zip(there["account_id"], there["user"], strict=True), there["user_arn"], strict=True))
    return table(
        CREDENTIALS,
        [
            (
                account.id,
                account.name,
                credential.user,
                arns.get((account.id, credential.user))
                or f"arn:{account.partition}:iam::{account.id}:user/{credential.user}",
                credential.id,
                credential.service,
                credential.status.value,
                credential.created_at,
                credential.expires_at,
                None,
                None,
            )
            for account, credential in rows
        ],
    )


def _flags(answers: Answers) -> pd.arrays.BooleanArray:
    return pd.arrays.BooleanArray(answers == 1, answers < 0)


# ------------------------------------------------------------------------------------------------- accounts


def _tells_of_more(result: AccountResult) -> bool:
    report = result.outcome.report if isinstance(result.outcome, AccountFacts) else None
    return report is not None and report.has_additional_column


def _root_counts(facts: AccountFacts, users: ReportColumns | None) -> tuple[int | None, int | None]:
    """Root keys (active, present); from a live look-up, the report's root row, or what the account summary tells."""
    lookup = facts.lookups.get(ROOT_USER)
    if lookup is not None:
        return sum(key.status is KeyStatus.ACTIVE for key in lookup.keys), len(lookup.keys)
    roots: Flags = np.empty(0, np.bool_) if users is None else users.is_root
    if users is not None and roots.any():
        has_key = users.has_key[roots]
        return int((has_key & users.key_active[roots]).sum()), int(has_key.sum())
    if facts.root_keys_present is None:
        return None, None
    return (None, 1) if facts.root_keys_present else (0, 0)


def _account_row(result: AccountResult, columns: ReportColumns | None, users: int, keys: int) -> tuple[Any, ...]:
    account, outcome = result.account, result.outcome
    head = (account.id, account.name, account.partition, account.state)
    place = (
        None if account.units is None else "/".join(account.units),
        None if account.unit_names is None else "".join(f"/{name}" for name in account.unit_names),
    )
    if isinstance(outcome, NotAudited):
        why = (outcome.code.value, outcome.reason, outcome.next_step)
        return (*head, False, *[None] * 7, *place, *[None] * 5, *why, None)
    meta = outcome.meta
    facts = (outcome.source.value, meta.generated_at if meta else None, meta.sha256 if meta else None)
    notes = "\n".join(outcome.notes) or None
    roots = _root_counts(outcome, columns)
    beside = (*_asked(outcome.quarantine), _lost(outcome, columns), *_asked(outcome.service_credentials))
    return (*head, True, *facts, users, keys, *roots, *place, *beside, None, None, None, notes)


def _asked(answer: Quarantine | ServiceCredentials | None) -> tuple[str | None, str | None]:
    """Whether what was asked of the whole account is known, and why not."""
    if answer is None:
        return None, None
    return ("known", None) if answer.failed is None else ("failed", answer.failed)


def _lost(facts: AccountFacts, users: ReportColumns | None) -> str | None:
    """Users in quarantine of whom nothing else is known: created or renamed since the credential report."""
    if facts.quarantine is None or not facts.quarantine.users:
        return None
    names = {user.name for user in facts.listed_users} if users is None else set(users.name.tolist())
    names |= {lookup.renamed_to for lookup in facts.lookups.values() if lookup.renamed_to}
    return ", ".join(sorted(facts.quarantine.users.keys() - names)) or None
