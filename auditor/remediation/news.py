"""What people are told of items, each thing once: what the journal tells of and nobody was told of yet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auditor.remediation.decision import Step
from auditor.remediation.journal import Event, Row
from auditor.remediation.plan import Item, days
from auditor.remediation.progress import UNKNOWN, WELL, Ledger
from auditor.remediation.tracked import Tracked

REMINDED = (3, 7, 14)
"""Days after its new key was published on which an owner is reminded whose application goes on with the old one."""

FRESH = timedelta(days=7)
"""What is older is news to nobody, such as all that happened before there was a channel."""


EXPOSED = (
    ": others may have it. Find out in CloudTrail what was done with it; temporary credentials that were made with it "
    "work for up to 36 hours"
)
"""What is left to do about a key that leaked (IAM user guide, disabling permissions for temporary credentials)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is told: once, whatever is run again."""

    key: str
    item: Item
    what: str
    step: Step | None = None
    due: datetime | None = None
    undo: str | None = None
    """The command that takes it back."""
    is_urgent: bool = False
    """A person is needed."""


def untold(rows: Sequence[Row], ledger: Ledger, now: datetime) -> list[Notice]:
    """Receipts of what was done, questions to persons, and reminders, that nobody was told of yet."""
    told = {row.told["key"] for row in rows if row.event is Event.TOLD}
    fresh = (row for row in rows if row.item and now - row.at < FRESH)
    found = [*_receipts(fresh, ledger, _questions(rows)), *_reminders(ledger, now)]
    return list({notice.key: notice for notice in found if notice.key not in told}.values())


def _questions(rows: Iterable[Row]) -> dict[int, str]:
    """What a question is told under, by its row: it is the same one while it is asked again and again.

    What it says may change: what still uses a key is another use every day. What came to stand in between, be it that
    the item waits, shows that the question was settled; when it comes back it is another.
    """
    found: dict[int, str] = {}
    standing: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.event is Event.ASKED:
            code = str(row.told["code"])
            found[row.number] = f"{row.item}/{code}/{standing.setdefault((row.item, code), row.number)}"
        elif row.event not in {Event.TOLD, Event.PASSED_OVER}:
            standing = {key: number for key, number in standing.items() if key[0] != row.item}
    return found


def _receipts(rows: Iterable[Row], ledger: Ledger, questions: Mapping[int, str]) -> Iterator[Notice]:
    for row in rows:
        tracked = ledger.items[row.item]
        key = f"{row.item}/{row.number}"
        match row.event:
            case Event.RESULT if row.told["outcome"] == "done":
                yield from _done(key, tracked, Step(row.told["step"]))
            case Event.RESULT if row.told["outcome"] == UNKNOWN:
                yield Notice(key, tracked.item, f"Not known: {row.told['why']}")
            case Event.ASKED:
                told = f"A person is needed: {_reason(row)}"
                yield Notice(questions[row.number], tracked.item, told, is_urgent=True)
            case Event.REFUSED:
                yield Notice(key, tracked.item, f"Not done: {row.told['how']}")
            case Event.HELD:
                yield Notice(key, tracked.item, f"Held: {row.told['reason']}")
            case Event.ENDED if row.told["how"] not in WELL:
                yield Notice(key, tracked.item, f"Nothing more is done: {row.told['how']}")
            case _:
                continue


def _reason(row: Row) -> str:
    return f"{row.told['reason']} ({row.told['code']})"


def _done(key: str, tracked: Tracked, step: Step) -> Iterator[Notice]:
    item, undo = tracked.item, f"auditor remediate rollback {tracked.item.id} --reason TEXT"
    match step:
        case Step.PUBLISH:
            where = item.delivery.place if item.delivery else "its secret"
            what = f"Rotated: the new key {tracked.done.new_key} is read from {where}; {item.key.id} works on"
            yield Notice(key, item, what, step)
        case Step.DEACTIVATE:
            what = f"Switched off{EXPOSED if item.urgent else ''}"
            yield Notice(key, item, what, step, undo=undo, is_urgent=item.urgent)
        case Step.REACTIVATE:
            yield Notice(key, item, "Switched on again", step)
        case Step.RESTORE:
            where = item.delivery.place if item.delivery else "its secret"
            yield Notice(key, item, f"Taken back: {item.key.id} is read from {where} again", step)
        case Step.DELETE:
            yield Notice(key, item, "Deleted", step)
        case _:
            return


def _reminders(ledger: Ledger, now: datetime) -> Iterator[Notice]:
    """Whoever goes on with the old key hears of it, and of what still uses it."""
    for tracked in ledger.items.values():
        published, waiting = tracked.done.published_at, tracked.waiting
        if (
            tracked.ended
            or published is None
            or tracked.done.inactive_at
            or waiting is None
            or waiting.event is not Event.WAITING
        ):
            continue
        due = [day for day in REMINDED if now >= published + days(day)]
        if due and waiting.told.get("who"):
            what = f"{due[-1]} days after its new key was published: {waiting.told['reason']}"
            yield Notice(f"{tracked.item.id}/reminder/{due[-1]}", tracked.item, what)
