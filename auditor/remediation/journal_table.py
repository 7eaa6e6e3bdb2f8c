"""The journal in a table that a team shares: any machine reads it, and one at a time writes it."""

import os
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.journal_table import HeldError, JournalTable, Lease
from auditor.aws.loop import run
from auditor.errors import ApprovalError, OutputError
from auditor.remediation.journal import REBUILD, WITHOUT, Fields, Journal

LASTS = timedelta(minutes=15)
"""How long a lease is: far longer than any one call of AWS may take, since IAM does not know of it."""

RENEWED = timedelta(minutes=10)
"""A lease that lasts no longer than this is renewed before the next row."""

NAMES = ("at", "plan", "item", "event", "told", "before", "hash")


@dataclass
class _TableRows:
    """See `auditor.remediation.journal.Rows`; without a lease nothing can be kept."""

    table: JournalTable
    now: Callable[[], datetime]
    holder: str
    lease: Lease | None = None

    @property
    def where(self) -> str:
        """See `Rows`."""
        return f"dynamodb:{self.table.table}/{self.table.name}"

    def read(self) -> Iterable[Fields]:
        """See `Rows`."""
        with self._told():
            return run(self._read())

    async def _read(self) -> list[Fields]:
        found: list[Fields] = []
        async for row in self.table.rows():
            at, plan, item, event, told, before, its_hash = (row.get(name, "") for name in NAMES)
            number = int(row["entry"].removeprefix("row#"))
            found.append((number, at, plan, item, event, told, before, its_hash))
        return found

    def take(self) -> None:
        """Have the lease, for as long as it lasts from now on; ApprovalError where somebody else has it."""
        who = f"process {os.getpid()} on {socket.gethostname()}"
        with self._told():
            self.lease = run(self.table.take(self.holder, who, self.now(), LASTS.total_seconds()))

    def keep(self, fields: Fields) -> None:
        """See `Rows`."""
        assert self.lease is not None, "readers keep nothing"
        if self.lease.expires_at - self.now().timestamp() < RENEWED.total_seconds():
            before = self.lease.fence
            self.take()
            if self.lease.fence != before:
                what = "The journal was somebody else's for a while, so what is known of it here is old."
                raise ApprovalError(what, where=self.where, next_step="Run the same command again.")
        number, *texts = fields
        with self._told():
            run(self.table.put(number, dict(zip(NAMES, texts, strict=True)), self.lease))

    def give_back(self) -> None:
        """End the lease."""
        if self.lease is not None:
            run(self.table.give_back(self.lease))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except HeldError as held:
            raise self._held(held.lease) from held
        except AwsFailure as failure:
            steps = {
                Kind.NOT_FOUND: "deploy/journal.yaml makes the table; remediation.journal.table names it.",
                Kind.DENIED: f"Allow {failure.operation}; `auditor iam-policy --for journal` prints the whole policy.",
            }
            step = steps.get(failure.kind, "Run the same command again when DynamoDB answers; nothing else was done.")
            step = f"{step} But {WITHOUT}"
            raise OutputError(f"The journal cannot be used: {failure}.", where=self.where, next_step=step) from failure
        except (KeyError, ValueError, zlib.error) as error:
            raise OutputError("The journal cannot be read.", where=self.where, next_step=REBUILD) from error

    def _held(self, lease: Lease | None) -> ApprovalError:
        by = ""
        if lease is not None and lease.expires_at > self.now().timestamp():
            until = datetime.fromtimestamp(lease.expires_at, UTC)
            by = f" ({lease.who}, since {lease.since[:16]}Z; it ends by itself at {until:%H:%M}Z, where that died)"
        what = f"Somebody else is at work with this journal{by}."
        return ApprovalError(what, where=self.where, next_step="Wait until it is done, and run the command again.")


@contextmanager
def open_shared_journal(
    caller: Caller, table: str, name: str, now: Callable[[], datetime], *, writes: bool = True
) -> Iterator[Journal]:
    """A journal of a table; who writes has it alone, until it is given back or 15 minutes after its last sign of life.

    Args:
        caller: in the table's account; its Region is the table's.
        table: the table's name or ARN.
        name: which of the table's journals.
        now: the clock.
        writes: whether rows may be added.

    Raises:
        ApprovalError: somebody else writes it.
        OutputError: the table cannot be used, or the journal was changed.
    """
    rows = _TableRows(JournalTable(caller, table, name), now, uuid4().hex)
    if writes:
        rows.take()
    try:
        yield Journal(rows, now)
    finally:
        rows.give_back()
