"""Since when keys are inactive, as far as runs have seen it: IAM keeps no date of deactivation."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import pandas as pd

from auditor.model import KeyStatus, ObservedKey
from auditor.tables import TIME, Snapshot, plain_texts


def with_inactive_since(snapshot: Snapshot, observed: Mapping[str, Iterable[ObservedKey]], as_of: datetime) -> Snapshot:
    """The snapshot with `inactive_since` of its inactive keys: as earlier runs saw it, or as this one does.

    A key is known again by its id where both know it, else by its user's ARN and its creation. This run sees them at
    its instant, or when the account's report was made, where that is later: a run that is dated back saw nothing then.

    Args:
        snapshot: the facts.
        observed: the keys that the latest earlier run saw inactive, by account id.
        as_of: the instant of judgement.
    """
    keys = snapshot.keys
    inactive = keys["key_status"].eq(KeyStatus.INACTIVE.value).fillna(value=False).to_numpy(bool)
    now = _seen_at(snapshot.accounts, as_of)
    if not any(observed.values()):
        column = pd.Series(keys["account_id"].map(now), keys.index, TIME).where(inactive)
        return replace(snapshot, keys=keys.assign(inactive_since=column))
    by_id: dict[object, datetime] = {}
    by_birth: dict[object, datetime] = {}
    unnamed: dict[object, datetime] = {}
    for account_id, seen in observed.items():
        for key in seen:
            birth = (account_id, key.user_arn, key.created_at)
            by_birth[birth] = min(key.since, by_birth.get(birth, key.since))
            if key.access_key_id is None:
                unnamed[birth] = min(key.since, unnamed.get(birth, key.since))
            else:
                by_id[account_id, key.access_key_id] = key.since

    def since(account_id: str, key_id: str | None, user_arn: str, created_at: datetime | None) -> datetime:
        birth = (account_id, user_arn, created_at)
        if key_id is None:
            return by_birth.get(birth, now[account_id])
        return by_id.get((account_id, key_id)) or unnamed.get(birth, now[account_id])

    rows = keys[inactive]
    columns = (plain_texts(rows[name]) for name in ("account_id", "access_key_id", "user_arn"))
    created = [None if pd.isna(at) else at.to_pydatetime() for at in rows["created_at"]]
    found = [since(*row) for row in zip(*columns, created, strict=True)]
    column = pd.Series(pd.NaT, keys.index, TIME)
    column[inactive] = pd.Series(found, rows.index, TIME)
    return replace(snapshot, keys=keys.assign(inactive_since=column))


def _seen_at(accounts: pd.DataFrame, as_of: datetime) -> dict[str, datetime]:
    """When the facts of each account were seen, at `as_of` at the earliest."""
    made = accounts["generated_at"].astype(object)
    return {
        account_id: as_of if pd.isna(at) else max(as_of, at.to_pydatetime())
        for account_id, at in zip(plain_texts(accounts["account_id"]), made, strict=True)
    }
