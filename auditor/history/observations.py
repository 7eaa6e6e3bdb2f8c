"""What earlier runs saw of inactive keys: which, and since when. A run keeps a copy of what it was judged by."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from auditor import answers
from auditor.history.library import list_runs
from auditor.history.parquet import read_parquet, times_of
from auditor.history.raw import RAW, AnswerStore
from auditor.model import ObservedKey
from auditor.tables import ACCOUNTS, KEYS, plain_texts

log = logging.getLogger(__name__)

_AUDITED = {name: ACCOUNTS[name] for name in ("account_id", "audited")}
_SEEN = {name: KEYS[name] for name in ("account_id", "access_key_id", "user_arn", "created_at", "inactive_since")}

_MADE = {name: ACCOUNTS[name] for name in ("account_id", "generated_at")}
_ACTIVE = {name: KEYS[name] for name in ("account_id", "user", "created_at")}

Observed = Mapping[str, Sequence[ObservedKey]]
"""Keys that were seen inactive, by account id."""


def observed_inactive(output: Path, accounts: Collection[str], before: datetime) -> Observed:
    """The keys that the latest earlier run saw inactive, for each of these accounts that a run below `output` audited.

    Normally one run is read, or two; one that cannot be read is passed over, and a warning says so.

    Args:
        output: the folder of the runs.
        accounts: ids of accounts.
        before: the instant before which the runs were judged.
    """
    missing, found = set(accounts), dict[str, Sequence[ObservedKey]]()
    for as_of, folder in earlier_runs(output, before):
        if not missing:
            break
        try:
            seen = _seen(folder, missing, as_of)
        except ValueError as error:
            log.warning("%s cannot be read, so what it saw of inactive keys does not count: %s", folder, error)
            continue
        found |= seen
        missing -= seen.keys()
    return {account_id: keys for account_id, keys in found.items() if keys}


Key = tuple[str, str, datetime]
"""Account id, user name, and when it was created."""


def last_seen_active(output: Path, keys: Collection[Key], after: datetime, before: datetime) -> Mapping[Key, datetime]:
    """When one of the runs between two instants last saw each of these keys active; none for what none saw so.

    A run that cannot be read is passed over, and a warning says so.
    """
    found: dict[Key, datetime] = {}
    for as_of, folder in earlier_runs(output, before):
        if as_of <= after:
            break
        try:
            seen = _active(folder, as_of)
        except ValueError as error:
            log.warning("%s cannot be read, so what it saw of active keys does not count: %s", folder, error)
            continue
        found = {key: at for key, at in seen.items() if key in keys} | found
    return found


def _active(folder: Path, as_of: datetime) -> dict[Key, datetime]:
    """Keys that this run saw active, and when AWS said so; ValueError where it cannot be read."""
    made = read_parquet(folder / "tables" / "accounts.parquet", _MADE)
    seen_at = dict(zip(plain_texts(made["account_id"]).tolist(), times_of(made["generated_at"]), strict=True))
    keys = read_parquet(folder / "tables" / "keys.parquet", _ACTIVE, "SELECT * FROM rows WHERE key_status = 'Active'")
    texts = (plain_texts(keys[name]).tolist() for name in ("account_id", "user"))
    rows = zip(*texts, times_of(keys["created_at"]), strict=True)
    return {(account, user, made): seen_at.get(account) or as_of for account, user, made in rows if made is not None}


def write_observations(folder: Path, observed: Observed, accounts: Collection[str]) -> None:
    """Keep, beside the answers of the accounts that are done, what earlier runs saw; nothing where they saw nothing.

    Raises:
        OutputError: it cannot be kept.
    """
    store = AnswerStore(folder / RAW)
    for account_id in accounts:
        stale = folder / RAW / account_id / answers.OBSERVED
        if observed.get(account_id):
            store.save(account_id, answers.OBSERVED, answers.encode_observed(observed[account_id]))
        elif stale.exists():
            stale.unlink()


def earlier_runs(output: Path, before: datetime) -> Iterator[tuple[datetime, Path]]:
    """Finished runs of an earlier instant, the latest first; of one instant, what was finished last saw the most."""
    runs = [
        (
            datetime.fromisoformat(entry.document["as_of"]),
            datetime.fromisoformat(entry.document["finished_at"]),
            entry.folder,
        )
        for entry in list_runs(output)
        if entry.document
    ]
    for as_of, _, folder in sorted(runs, reverse=True):
        if as_of < before:
            yield as_of, folder


def _seen(folder: Path, accounts: Collection[str], as_of: datetime) -> dict[str, Sequence[ObservedKey]]:
    """What this run saw of those of the accounts that it audited; ValueError where it cannot be read."""
    tables = folder / "tables"
    audited = read_parquet(tables / "accounts.parquet", _AUDITED, "SELECT * FROM rows WHERE audited")
    found: dict[str, list[ObservedKey]] = {name: [] for name in plain_texts(audited["account_id"]) if name in accounts}
    keys = read_parquet(tables / "keys.parquet", _SEEN, "SELECT * FROM rows WHERE key_status = 'Inactive'")
    texts = (plain_texts(keys[name]).tolist() for name in ("account_id", "access_key_id", "user_arn"))
    times = (times_of(keys[name]) for name in ("created_at", "inactive_since"))
    for account_id, key_id, user_arn, created_at, since in zip(*texts, *times, strict=True):
        if account_id in found:
            found[account_id].append(ObservedKey(key_id, user_arn, created_at, since or as_of))
    return dict(found)
