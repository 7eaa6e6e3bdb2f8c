"""A journal in memory, written row by row as time passes."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from auditor.remediation.decision import Step
from auditor.remediation.journal import Event, Fields, Journal, Row
from auditor.remediation.plan import Item, Kind, Plan
from tests.remediation.signing import person, told_of

NAMES = ("bob", "cat", "dan", "eve", "bob@example.com", "cat@example.com")
SIGNERS = "".join(f"{person(name).line}\n" for name in NAMES)
"""Who may approve what stories tell of."""


class Memory:
    """See `auditor.remediation.journal.Rows`."""

    where = "memory"

    def __init__(self) -> None:
        """There is nothing yet."""
        self.kept: list[Fields] = []

    def read(self) -> Iterable[Fields]:
        """See `Rows`."""
        return self.kept

    def keep(self, fields: Fields) -> None:
        """See `Rows`."""
        self.kept.append(fields)


class Story:
    """What happens to a plan's items."""

    def __init__(self, plan: Plan, at: datetime) -> None:
        """The plan is claimed."""
        approvers = {"created_at": at, "approvers_sha256": hashlib.sha256(SIGNERS.encode()).hexdigest()}
        self.now, self.plan = at, plan.model_copy(update=approvers)
        self.journal = Journal(Memory(), lambda: self.now)
        self.add("", Event.CLAIMED, plan=self.plan.model_dump(mode="json", by_alias=True), by="arn:aws:iam::1:user/op")

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return self.journal.rows

    def pass_(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)

    def add(self, item: str, event: Event, **told: object) -> None:
        """A row, now."""
        self.journal.add(self.plan.id, item, event, **told)

    def approved(self, *statements: tuple[str, str], items: Iterable[str] = (), replies: Iterable[str] = ()) -> None:
        """Approved by these persons, each as far as said."""
        signed = [
            person(who).approves(self.plan, self.now, through=Kind(kind), items=tuple(items))
            for who, kind in statements
        ]
        through = {item.id: item.through.value for item in self.plan.items}
        told = {"by": sorted({who for who, _ in statements}), "replies": list(replies), "signatures": told_of(*signed)}
        self.add("", Event.APPROVED, through=through, approvers=SIGNERS, **told)

    def begun(self, item: Item, step: Step) -> None:
        """A step is about to be made."""
        by = "arn:aws:sts::999900001111:assumed-role/rotate/nightly"
        name = f"{item.id}{len(self.rows):026x}"[-32:]
        self.add(item.id, Event.INTENT, step=step.value, intent=name, by=by, keys=[item.key.id])

    def did(self, item: Item, *steps: Step, new_key: str = "AKIANEW") -> None:
        """Steps that came off, a minute each."""
        for step in steps:
            self.begun(item, step)
            self.pass_(minutes=1)
            told = {"key": new_key, "version": "v"} if step is Step.CREATE else {}
            self.add(item.id, Event.RESULT, step=step.value, outcome="done", **told)
