"""What was meant and what was done, in the order of doing: rows that are only ever added to.

Every row carries the hash of the one before it, so that nothing can be changed or left out unseen. A row that says what
is about to be done is on the disk before AWS is asked to do it; one without its result is what a crash left behind, and
the first thing that anybody looks at.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from auditor.errors import OutputError

START = "0" * 64
"""What the first row has for the hash of the one before it."""

Fields = tuple[int, str, str, str, str, str, str, str]
"""A row as it is kept: number, instant, plan, item, event, what it tells as JSON, the hash before it, and its own."""


class Event(StrEnum):
    """What a row tells of."""

    CLAIMED = "claimed"
    APPROVED = "approved"
    INTENT = "intent"
    MADE = "made"
    DISCARDED = "discarded"
    UNANSWERED = "unanswered"
    """A call is over, and no answer says what came of it."""
    RESULT = "result"
    ANNOUNCED = "announced"
    ADOPTED = "adopted"
    WAITING = "waiting"
    REFUSED = "refused"
    ASKED = "asked"
    SEEN = "seen"
    """AWS shows a key as active, or as inactive, and it was otherwise before."""
    HELD = "held"
    RELEASED = "released"
    CONFIRMED = "confirmed"
    ENDED = "ended"
    TOLD = "told"
    PASSED_OVER = "passed over"
    """An item could not be looked at, so that nothing was decided about it."""
    SWITCHING_ON = "switching on"
    """A key of which no plan tells is about to be switched on again, by hand."""
    SWITCHED_ON = "switched on"
    """What came of that."""


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


class Rows(Protocol):
    """Where rows are kept."""

    @property
    def where(self) -> str:
        """The place, for people."""
        ...

    def read(self) -> Iterable[Fields]:
        """All rows, in order.

        Raises:
            OutputError: they cannot be read.
        """
        ...

    def keep(self, fields: Fields) -> None:
        """Keep a row for good before this returns.

        Raises:
            OutputError: it is not kept.
            ApprovalError: somebody else is at work.
        """
        ...


class Journal:
    """See the module. Made by what opens it, which keeps others out for as long as anybody may write."""

    def __init__(self, kept: Rows, now: Callable[[], datetime]) -> None:
        """Reads and checks what is there."""
        self._kept, self._now = kept, now
        self.rows: list[Row] = list(_checked(kept.read(), kept.where))

    @property
    def head(self) -> str:
        """The hash of the last row: who knows it sees when rows are missing at the end."""
        return self.rows[-1].hash if self.rows else START

    def add(self, plan: str, item: str, event: Event, /, **told: Any) -> Row:
        """Add a row; it is kept for good when this returns.

        Raises:
            OutputError: it cannot be written; nothing may be done that it was to tell of.
            ApprovalError: somebody else is at work by now; nothing more may be done.
        """
        at = self._now().astimezone(UTC)
        fields = (len(self.rows) + 1, at.isoformat(), plan, item, event.value, _text(told), self.head)
        row = Row(fields[0], at, plan, item, event, json.loads(fields[5]), _hash(*fields))
        self._kept.keep((*fields, row.hash))
        self.rows.append(row)
        return row

    def beside(self) -> "Journal":
        """One that goes on from here and is kept nowhere, for what is only simulated."""
        beside = Journal(Nowhere(), self._now)
        beside.rows = [*self.rows]
        return beside


class Nowhere:
    """Where nothing is kept."""

    where = "nowhere"

    def read(self) -> Iterable[Fields]:
        """See `Rows`."""
        return ()

    def keep(self, fields: Fields) -> None:
        """See `Rows`."""


WITHOUT = "to switch a key on again, `auditor remediate rollback KEY --account ID --user NAME` works without it."

REBUILD = f"Keep it as it is, find out who changed it, and go on from a copy; {WITHOUT}"

NEWER = f"Use the version of auditor that wrote it; {WITHOUT}"

MISUNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError)
"""What a row gives rise to that is whole, and has not what is looked for in it."""


@contextmanager
def understood(number: int, where: str) -> Iterator[None]:
    """Around what takes a row apart: one that tells of what is not known here makes the journal unreadable.

    Raises:
        OutputError: the row is not understood.
    """
    try:
        yield
    except MISUNDERSTOOD as error:
        what = f"Row {number} of the journal is not understood: another version of auditor wrote it."
        raise OutputError(what, where=where, next_step=NEWER) from error


def _checked(kept: Iterable[Fields], where: str) -> Iterator[Row]:
    """The rows, where each is what was written and none is missing before it; else OutputError."""
    before = START
    for place, row in enumerate(kept, 1):
        with understood(place, where):
            number, at, plan, item, event, told, said_before, said_hash = row
        fields = (number, at, plan, item, event, told, said_before)
        if number != place or said_before != before or _hash(*fields) != said_hash:
            what = f"Row {place} of the journal is not what was written: rows were changed or left out."
            raise OutputError(what, where=where, next_step=REBUILD)
        with understood(place, where):
            known = Row(number, datetime.fromisoformat(at), plan, item, Event(event), json.loads(told), said_hash)
        yield known
        before = said_hash


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows as lines of JSON, for whoever reads them elsewhere.

    A row's hash is the SHA-256 of its number, instant, plan, item, event, what it tells and the hash of the row before
    it, joined by U+001F, in UTF-8; what it tells is JSON with sorted keys, without spaces, and nothing escaped that
    need not be. The row before the first has 64 zeros.
    """
    lines = (
        {
            "number": row.number,
            "at": row.at.isoformat(),
            "plan": row.plan,
            "item": row.item,
            "event": row.event.value,
            "told": row.told,
            "hash": row.hash,
        }
        for row in rows
    )
    return "".join(f"{json.dumps(line, ensure_ascii=False, separators=(',', ':'))}\n" for line in lines).encode()


def decode_rows(content: bytes, where: str) -> list[Row]:
    """The rows again; OutputError where one was changed or left out."""
    kept: list[Fields] = []
    try:
        for line in content.decode().removesuffix("\n").split("\n") if content else ():
            row, before = json.loads(line), kept[-1][-1] if kept else START
            text = [str(row[name]) for name in ("at", "plan", "item", "event")]
            kept.append(
                (int(row["number"]), text[0], text[1], text[2], text[3], _text(row["told"]), before, row["hash"])
            )
    except (ValueError, KeyError, TypeError) as error:
        what = f"Line {len(kept) + 1} is no row of a journal."
        raise OutputError(what, where=where, next_step=REBUILD) from error
    return list(_checked(kept, where))


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hash(*fields: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, fields)).encode()).hexdigest()
