"""How long keys rested between two uses, as earlier runs saw it: a job of each quarter looks unused for months."""

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from auditor.history.observations import earlier_runs
from auditor.history.parquet import read_parquet, times_of
from auditor.model import Pause
from auditor.tables import ACCOUNTS, KEYS, plain_texts

log = logging.getLogger(__name__)

REMEMBERED = timedelta(days=400)
"""How far back runs are read: a little more than the rhythm of a job of each year."""

_MADE = {name: ACCOUNTS[name] for name in ("account_id", "generated_at")}
_USED = {name: KEYS[name] for name in ("account_id", "user", "created_at", "last_used_at")}

User = tuple[str, str]
"""Account id and user name."""


class Rests(NamedTuple):
    """How long keys of users were seen to rest, and the names of runs that may have seen more and cannot be read."""

    longest: Mapping[User, Pause]
    unread: tuple[str, ...]


class Sighting(NamedTuple):
    """A key's last use, and when that was seen."""

    account_id: str
    user: str
    created_at: datetime | None
    used_at: datetime
    seen_at: datetime


def longest_pauses(output: Path, users: Collection[User], before: datetime) -> Rests:
    """The longest pause of any key of each of these users, as runs below `output` saw it; none where they saw none."""
    wanted, unread = frozenset(users), list[str]()
    runs = [(as_of, folder) for as_of, folder in earlier_runs(output, before) if as_of > before - REMEMBERED]
    seen: list[Sighting] = []
    for as_of, folder in reversed(runs):
        try:
            seen += _seen(folder, wanted, as_of)
        except ValueError as error:
            log.warning("%s cannot be read, so what it saw of uses is not known: %s", folder, error)
            unread.append(folder.name)
    return Rests(pauses_in(seen), tuple(unread))


def pauses_in(sightings: Iterable[Sighting]) -> dict[User, Pause]:
    """The longest pause of each user's keys in what was seen of them, the earliest first.

    A key rested from its last use until that was seen, and this was a pause if it was used after that.
    """
    last: dict[tuple[str, str, datetime | None], Sighting] = {}
    found: dict[User, Pause] = {}
    for seen in sightings:
        key, user = seen[:3], seen[:2]
        known = last.get(key)
        if known is not None and seen.used_at > known.seen_at > known.used_at:
            pause = Pause(known.seen_at - known.used_at, seen.used_at)
            found[user] = max(found.get(user, pause), pause, key=lambda one: one.length)
        last[key] = seen
    return found


def _seen(folder: Path, users: frozenset[User], as_of: datetime) -> list[Sighting]:
    """What a run saw; ValueError where it cannot be read."""
    made = read_parquet(folder / "tables" / "accounts.parquet", _MADE)
    ids, made_at = plain_texts(made["account_id"]).tolist(), times_of(made["generated_at"])
    seen_at = {name: at or as_of for name, at in zip(ids, made_at, strict=True)}
    keys = read_parquet(folder / "tables" / "keys.parquet", _USED, "SELECT * FROM rows WHERE last_used_state = 'used'")
    texts = (plain_texts(keys[name]).tolist() for name in ("account_id", "user"))
    times = (times_of(keys[name]) for name in ("created_at", "last_used_at"))
    rows = zip(*texts, *times, strict=True)
    return [
        Sighting(account_id, user, created_at, used_at, seen_at[account_id])
        for account_id, user, created_at, used_at in rows
        if (account_id, user) in users and used_at is not None
    ]
