"""The journal as a file: SQLite, written through to the disk, and locked for one process at a time."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from auditor.errors import ApprovalError, OutputError
from auditor.remediation.journal import REBUILD, Fields, Journal

FILE = "journal.sqlite"

_TABLE = """
    CREATE TABLE IF NOT EXISTS log (
        number INTEGER PRIMARY KEY, at TEXT NOT NULL, plan TEXT NOT NULL, item TEXT NOT NULL, event TEXT NOT NULL,
        told TEXT NOT NULL, before TEXT NOT NULL, hash TEXT NOT NULL
    )
"""


@dataclass(frozen=True, slots=True)
class _FileRows:
    """See `auditor.remediation.journal.Rows`."""

    database: sqlite3.Connection
    where: str

    def read(self) -> Iterable[Fields]:
        """See `Rows`."""
        try:
            return self.database.execute("SELECT * FROM log ORDER BY number").fetchall()
        except sqlite3.Error as error:
            what = f"The journal cannot be read: {error}."
            raise OutputError(what, where=self.where, next_step=REBUILD) from error

    def keep(self, fields: Fields) -> None:
        """See `Rows`."""
        try:
            with self.database:
                self.database.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", fields)
        except sqlite3.Error as error:
            step = "Make room, or the folder writable, and run the same command again."
            what = f"The journal cannot be written: {error}."
            raise OutputError(what, where=self.where, next_step=step) from error


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
        path = folder / FILE
        _make(path)
        database = sqlite3.connect(path, isolation_level="IMMEDIATE")
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_TABLE)
            database.commit()
            yield Journal(_FileRows(database, str(path)), now)
        except sqlite3.Error as error:
            what = f"The journal cannot be used: {error}."
            raise OutputError(what, where=str(path), next_step=REBUILD) from error
        finally:
            database.close()
    finally:
        os.close(lock)


def _make(path: Path) -> None:
    """The file, for its owner alone, where there is none."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        step = "Run it as the user who keeps the journal."
        raise OutputError(f"The journal cannot be used: {error.strerror}.", where=str(path), next_step=step) from error


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        by = os.pread(lock, 100, 0).decode(errors="replace")
        what = f"Somebody else is at work with this journal{f' ({by})' if by else ''}."
        raise ApprovalError(what, where=str(folder), next_step="Wait until it is done; nothing was called.") from error
    except OSError as error:
        step = "Keep it on a file system that has locks, such as a disk of this machine."
        what = f"The journal cannot be locked: {error.strerror}."
        raise OutputError(what, where=str(folder), next_step=step) from error
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
