"""What was meant and what was done, in the order of doing: an SQLite file that is only ever added to.

Every row carries the hash of the one before it, so that nothing can be changed or left out unseen. A row that says what
is about to be done is on the disk before AWS is asked to do it; one without its result is what a crash left behind, and
the first thing that anybody looks at.
"""

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from auditor.errors import ApprovalError, OutputError

START = "0" * 64
"""What the first row has for the hash of the one before it."""

_TABLE = """
    CREATE TABLE IF NOT EXISTS log (
        number INTEGER PRIMARY KEY, at TEXT NOT NULL, plan TEXT NOT NULL, item TEXT NOT NULL, event TEXT NOT NULL,
        told TEXT NOT NULL, before TEXT NOT NULL, hash TEXT NOT NULL
    )
"""


class Event(StrEnum):
    """What a row tells of."""

    CLAIMED = "claimed"
    APPROVED = "approved"
    INTENT = "intent"
    MADE = "made"
    RESULT = "result"
    ANNOUNCED = "announced"
    ADOPTED = "adopted"
    WAITING = "waiting"
    REFUSED = "refused"
    ASKED = "asked"
    HELD = "held"
    RELEASED = "released"
    CONFIRMED = "confirmed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `plan` and `item` say what it is about; `item` is empty where it is the plan as a whole."""

    number: int
    at: datetime
    plan: str
    item: str
    event: Event
    told: Mapping[str, Any]
    hash: str


class Journal:
    """See the module. Made by `open_journal`, which holds the lock for as long as anybody may write."""

    def __init__(self, database: sqlite3.Connection, where: Path, now: Callable[[], datetime]) -> None:
        """Reads and checks what is there."""
        self._database, self._where, self._now = database, where, now
        self.rows: list[Row] = list(self._read())

    @property
    def head(self) -> str:
        """The hash of the last row: who knows it sees when rows are missing at the end."""
        return self.rows[-1].hash if self.rows else START

    def add(self, plan: str, item: str, event: Event, /, **told: Any) -> Row:
        """Add a row; it is on the disk when this returns.

        Raises:
            OutputError: it cannot be written; nothing may be done that it was to tell of.
        """
        at = self._now().astimezone(UTC)
        fields = (len(self.rows) + 1, at.isoformat(), plan, item, event.value, _text(told), self.head)
        row = Row(fields[0], at, plan, item, event, json.loads(fields[5]), _hash(*fields))
        try:
            with self._database:
                self._database.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*fields, row.hash))
        except sqlite3.Error as error:
            step = "Make room, or the folder writable, and run the same command again."
            what = f"The journal cannot be written: {error}."
            raise OutputError(what, where=str(self._where), next_step=step) from error
        self.rows.append(row)
        return row

    def _read(self) -> Iterator[Row]:
        before = START
        try:
            found = self._database.execute("SELECT * FROM log ORDER BY number").fetchall()
        except sqlite3.Error as error:
            what = f"The journal cannot be read: {error}."
            raise OutputError(what, where=str(self._where), next_step=_REBUILD) from error
        for place, (number, at, plan, item, event, told, said_before, said_hash) in enumerate(found, 1):
            fields = (number, at, plan, item, event, told, said_before)
            if number != place or said_before != before or _hash(*fields) != said_hash:
                what = f"Row {place} of the journal is not what was written: rows were changed or left out."
                raise OutputError(what, where=str(self._where), next_step=_REBUILD)
            yield Row(number, datetime.fromisoformat(at), plan, item, Event(event), json.loads(told), said_hash)
            before = said_hash


_REBUILD = (
    "Keep it as it is, find out who changed it, and go on from a copy; `auditor remediate rollback` works without it."
)


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hash(*fields: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, fields)).encode()).hexdigest()


@contextmanager
def open_journal(folder: Path, now: Callable[[], datetime], *, writes: bool = True) -> Iterator[Journal]:
    """The journal of a folder, which is made where there is none; who writes has it alone.

    The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        ApprovalError: another process writes it.
        OutputError: the folder or the journal cannot be used, or the journal was changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "journal.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        what = f"The journal's folder cannot be used: {error.strerror}."
        raise OutputError(what, where=str(folder), next_step="Choose another.") from error
    try:
        if writes:
            _take(lock, folder)
        path = folder / "journal.sqlite"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(path, isolation_level="IMMEDIATE")
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_TABLE)
            database.commit()
            yield Journal(database, path, now)
        except sqlite3.Error as error:
            what = f"The journal cannot be used: {error}."
            raise OutputError(what, where=str(path), next_step=_REBUILD) from error
        finally:
            database.close()
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        by = os.pread(lock, 100, 0).decode(errors="replace")
        what = f"Somebody else is at work with this journal{f' ({by})' if by else ''}."
        raise ApprovalError(what, where=str(folder), next_step="Wait until it is done; nothing was called.") from error
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
