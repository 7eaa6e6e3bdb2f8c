"""The tables of facts of many accounts: the reports' columns as they are, and between them who is known better."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.inventory.people import Person
from auditor.model import AccountFacts, AccountResult, KeyStatus, ListedUser, NotAudited, ReportUser
from auditor.report_columns import SLOTS, Answers, Flags, ReportColumns
from auditor.tables import ACCOUNTS, KEYS, USERS, Snapshot, table, table_of, texts

Rows = npt.NDArray[np.intp]

_STATUSES = (KeyStatus.INACTIVE.value, KeyStatus.ACTIVE.value)
_USE_STATES = ("never", "unknown", "used")


def build_snapshot(results: Iterable[AccountResult], *, owner_tags: Sequence[str]) -> Snapshot:
    """The tables of facts, ordered by account id and then as AWS listed them.

    Args:
        results: one per account in scope, audited or not, in any order.
        owner_tags: user tags that name an owner, the preferred first.
    """
    ordered = sorted(results, key=lambda result: result.account.id)
    columns = [_columns(result) for result in ordered]
    sizes = [_size(result) for result in ordered]
    people = _people(ordered, columns, sizes, owner_tags)
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
    return Snapshot(table(ACCOUNTS, accounts), user_table, key_table)


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
    owner_tags: Sequence[str],
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
                people[first + row] = Person.of(result.account, result.outcome, record, owner_tags)
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
    user_columns = {
        **people,
        "created_at": users.created_at,
        "password_enabled": _flags(users.password_enabled),
        "password_last_used_at": users.password_used_at,
        "mfa_active": _flags(users.mfa_active),
        "active_certificates": users.active_certificates,
        "active_keys": active.sum(axis=1),
        "known_keys": users.has_key.sum(axis=1),
        "listing": "report",
        "additional_column": told,
        "additional_credentials": users.additional,
    }
    holders = _holders(users)
    key_columns = {name: column.take(holders) for name, column in people.items()} | _key_columns(users)
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


def _flags(answers: Answers) -> pd.arrays.BooleanArray:
    return pd.arrays.BooleanArray(answers == 1, answers < 0)


# ------------------------------------------------------------------------------------------------- accounts


def _tells_of_more(result: AccountResult) -> bool:
    report = result.outcome.report if isinstance(result.outcome, AccountFacts) else None
    return report is not None and report.has_additional_column


def _root_counts(facts: AccountFacts, users: ReportColumns | None) -> tuple[int | None, int | None]:
    """Root keys (active, present); from the report's root row, or what the account summary tells."""
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
    if isinstance(outcome, NotAudited):
        why = (outcome.code.value, outcome.reason, outcome.next_step)
        return (*head, False, None, None, None, None, None, None, None, *why, None)
    meta = outcome.meta
    facts = (outcome.source.value, meta.generated_at if meta else None, meta.sha256 if meta else None)
    notes = "\n".join(outcome.notes) or None
    return (*head, True, *facts, users, keys, *_root_counts(outcome, columns), None, None, None, notes)
