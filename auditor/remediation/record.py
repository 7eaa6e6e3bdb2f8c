"""What the journal tells of changes that were made and of those that are under way, as a run keeps it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from auditor.remediation.decision import Step
from auditor.remediation.journal import START, Event, Row, encode_rows
from auditor.remediation.kept_approvals import approvers_of
from auditor.remediation.plan import Kind
from auditor.remediation.progress import UNKNOWN, Ledger
from auditor.remediation.tracked import Tracked
from auditor.tables import ACTIONS, PENDING, table

DONE: Mapping[Step, str] = {
    Step.CREATE: "created",
    Step.PUBLISH: "published",
    Step.DEACTIVATE: "deactivated",
    Step.REACTIVATE: "reactivated",
    Step.RESTORE: "restored",
    Step.DELETE: "deleted",
}
"""Steps that change something, and what came of them."""

NOT_KNOWN = "whether it was done is not known"

APPROVED_AS = {
    "created": Kind.ROTATE,
    "published": Kind.ROTATE,
    "deactivated": Kind.DEACTIVATE,
    "deleted": Kind.DELETE,
}
"""What had to be approved; to switch a key on again, or to take back one that nobody has, needs no approval."""


@dataclass(frozen=True)
class Record:
    """The journal as it was at an instant: `ACTIONS` and `PENDING` of `auditor.tables`, and its rows."""

    actions: pd.DataFrame
    pending: pd.DataFrame
    rows: int
    head: str
    journal: bytes
    """See `encode_rows`."""


def record(rows: Sequence[Row], as_of: datetime) -> Record:
    """What these rows tell of up to an instant.

    Rows up to the last that is not later than it: a clock that was off for once hides nothing.
    """
    last = max((place for place, row in enumerate(rows, 1) if row.at <= as_of), default=0)
    known, story = rows[:last], _Story()
    actions = [*(action for row in known for action in story.take(row)), *story.unknown()]
    pending = [_pending(tracked, story.ledger) for tracked in story.ledger.due()]
    return Record(
        table(ACTIONS, ([action.get(name) for name in ACTIONS] for action in actions)),
        table(PENDING, ([item.get(name) for name in PENDING] for item in pending)),
        rows=last,
        head=known[-1].hash if known else START,
        journal=encode_rows(known),
    )


@dataclass
class _Story:
    """Rows, taken one after the other, and what is known by them."""

    ledger: Ledger = field(default_factory=Ledger)
    shown: dict[str, str] = field(default_factory=dict)
    """What showed that an item's old key can be switched off."""
    begun: dict[str, Row] = field(default_factory=dict)
    """Keys of no plan that were to be switched on, by intent, of which it is not known what came of it."""

    def unknown(self) -> Iterator[dict[str, Any]]:
        """What may have been done, of which nothing else tells."""
        for row in self.begun.values():
            yield {**_switched_on(row), "detail": NOT_KNOWN}
        for tracked in self.ledger.items.values():
            for row in tracked.begun:
                yield from self._begun(tracked, row)

    def _begun(self, tracked: Tracked, row: Row) -> Iterator[dict[str, Any]]:
        """A step that was begun; of a key that was to be made, what is known to be there."""
        step, done = Step(row.told["step"]), tracked.done
        what = {Step.CREATE: tracked.made, Step.PUBLISH: done.new_key}.get(step, tracked.item.key.id)
        if step not in DONE or what is None or (step is Step.CREATE and tracked.discarded is not None):
            return
        detail = "its secret is not known to be stored" if step is Step.CREATE else NOT_KNOWN
        yield {"action": DONE[step], "access_key_id": what, "detail": detail, **self._why(tracked, row, DONE[step])}

    def take(self, row: Row) -> Iterator[dict[str, Any]]:
        """The actions that a row tells of."""
        before = self.ledger.items.get(row.item)
        self.ledger.take(row)
        match row.event:
            case Event.ADOPTED:
                self.shown[row.item] = str(row.told["evidence"])
            case Event.CONFIRMED:
                self.shown[row.item] = f"confirmed by {row.told['by']}"
            case Event.SWITCHING_ON:
                self.begun[str(row.told["intent"])] = row
            case Event.SWITCHED_ON:
                self.begun.pop(str(row.told.get("intent")), None)
                if row.told.get("outcome", "done") == "done":
                    yield _switched_on(row)
            case Event.DISCARDED if before is not None:
                what = _discarded(row)
                yield {**what, **self._why(before, row, what["action"], is_ours=True)}
            case Event.RESULT if before is not None:
                action = _action(before, self.ledger.items[row.item], row)
                if action is not None:
                    yield {**action, **self._why(before, row, action["action"])}
            case _:
                return

    def _why(self, tracked: Tracked, row: Row, action: str, *, is_ours: bool = False) -> dict[str, Any]:
        """Who and what an action rests on; of a key that was ours alone nobody had to approve anything."""
        item, plan = tracked.item, self.ledger.plans[tracked.plan_id]
        step = Step(row.told.get("step", Step.CREATE))  # what is discarded was to be made
        same = (one for one in tracked.begun if one.told["intent"] == row.told.get("intent"))
        begun = next(same, tracked.begun_as(step))
        intent = begun.told if begun else {}
        kind, rows = None if is_ours else APPROVED_AS.get(action), self.ledger.approvals.get(plan.id, ())
        approvers = approvers_of(plan, rows, item.id, kind) if kind is not None else ()
        return {
            "at": row.at,
            "account_id": item.account_id,
            "account_name": item.account_name,
            "user": item.user,
            "old_key_id": item.key.id,
            "owner": item.owner,
            "basis": intent.get("reason") or "\n".join(basis.reason for basis in item.basis),
            "evidence": self.shown.get(item.id) if action in {"deactivated", "deleted"} and not is_ours else None,
            "plan_id": plan.id,
            "plan_sha256": plan.digest,
            "item_id": item.id,
            "approved_by": "\n".join(approvers) or None,
            "done_by": intent.get("by") or None,
            "intent": intent.get("intent"),
            "journal_row": row.number,
            "journal_hash": row.hash,
        }


def _action(before: Tracked, after: Tracked, row: Row) -> dict[str, Any] | None:
    """What was done to which key; None where nothing was changed."""
    item, step = before.item, Step(row.told["step"])
    is_new = step in {Step.CREATE, Step.PUBLISH}
    what = after.done.new_key if is_new else item.key.id
    if row.told["outcome"] == UNKNOWN and step in DONE:
        return {"action": DONE[step], "access_key_id": what, "detail": NOT_KNOWN}
    if row.told["outcome"] != "done":
        if step is not Step.CREATE or before.made is None or before.discarded == "deleted":
            return None  # that it was deleted again is told
        return {"action": "created", "access_key_id": before.made, "detail": f"not stored: {row.told['why']}"}
    if step not in DONE:
        return None
    read_from = f"read from {item.delivery.place}" if item.delivery else None
    shows = f"no answer came; AWS shows it {row.told['shows']}" if row.told.get("shows") else None
    return {
        "action": DONE[step],
        "access_key_id": what,
        "detail": read_from if step in {Step.PUBLISH, Step.RESTORE} else shows,
    }


def _switched_on(row: Row) -> dict[str, Any]:
    """A key that is no item's: nobody planned anything about it, and nobody has to approve that it works again."""
    told = row.told
    return {
        "at": row.at,
        "action": "reactivated",
        "account_id": told["account_id"],
        "user": told["user"],
        "access_key_id": told["key"],
        "old_key_id": told["key"],
        "basis": told.get("reason"),
        "done_by": told.get("by"),
        "intent": told.get("intent"),
        "journal_row": row.number,
        "journal_hash": row.hash,
    }


def _discarded(row: Row) -> dict[str, Any]:
    """What was done to a key that was made and that nobody can use: to switch it off, where it cannot be deleted."""
    is_deleted = row.told["how"] == "deleted"
    detail = f"{row.told['key']} was {'deleted again' if is_deleted else 'switched off'}: {row.told['why']}"
    return {"action": "discarded" if is_deleted else "deactivated", "access_key_id": row.told["key"], "detail": detail}


def _pending(tracked: Tracked, ledger: Ledger) -> dict[str, Any]:
    item = tracked.item
    return {
        "item_id": item.id,
        "plan_id": tracked.plan_id,
        "account_id": item.account_id,
        "account_name": item.account_name,
        "user": item.user,
        "access_key_id": item.key.id,
        "new_key_id": tracked.done.new_key,
        "owner": item.owner,
        "through": item.through.value,
        "approved": tracked.approved.value if tracked.approved else None,
        "state": tracked.state(ledger.key(item.key.id)),
        "waits_for": tracked.waits_for,
        "since": tracked.since,
        "until": tracked.until,
        "who": tracked.who or None,
        "needs_person": tracked.needs_person,
        "failed": tracked.failed,
    }
