"""What the journal says of plans and their items: its rows, folded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from auditor.model import KeyStatus
from auditor.remediation.decision import Progress, Step
from auditor.remediation.journal import Event, Row, understood
from auditor.remediation.plan import Item, Kind, Plan


@dataclass(frozen=True, slots=True)
class Tracked:
    """One item: the plan that it is of, how far it is approved, what was done, and what is open."""

    item: Item
    plan_id: str
    expires_at: datetime
    approved: Kind | None = None
    """As the journal says; what decides is what of it can be proved (`auditor.remediation.kept_approvals`)."""
    done: Progress = field(default_factory=Progress)
    begun: tuple[Row, ...] = ()
    """What was begun and of which no result is known, in that order."""
    made: str | None = None
    """The id of a key that was made and of whose secret it is not known that it is stored."""
    discarded: str | None = None
    """What was done to that key, which nobody can use: deleted, or inactive."""
    ended: str | None = None
    ended_by: int = 0
    """The number of the row that ended it."""
    waiting: Row | None = None
    """What it waits for, and since when."""
    told_at: datetime | None = None
    """When anything was last written down of it."""
    passed_over: Row | None = None
    """Why it could not be looked at lately, and since when."""
    failed: str | None = None
    """Why the last step that was tried did not come off."""

    @property
    def intent(self) -> Row | None:
        """What is to be settled next of what was begun; of an item at its end, what a rollback began after that.

        What AWS shows comes first: whose key it is that was to be made may have to be asked of a person.
        """
        known = [row for row in self.begun if self.ended is None or row.number > self.ended_by]
        return next((row for row in known if row.told["step"] != Step.CREATE), known[0] if known else None)

    def begun_as(self, step: Step) -> Row | None:
        """The intent of this step, of which no result is known."""
        return next((row for row in self.begun if row.told["step"] == step), None)

    @property
    def state(self) -> str:
        """How far it has come, in a word or two."""
        reached = (
            ("held", self.done.held),
            ("deleted", self.done.deleted_at),
            ("inactive", self.done.inactive_at),
            ("adopted", self.done.adopted_at),
            ("published", self.done.published_at),
            ("verified", self.done.verified_at),
            ("created", self.done.created_at),
            ("prepared", self.done.prepared_at),
        )
        return self.ended or next((name for name, at in reached if at), "claimed")

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was begun about it yet."""
        done = self.done
        return not (self.begun or done.prepared_at or done.new_key or done.announced or done.inactive_at)

    @property
    def who(self) -> str:
        """Who must act; empty where nobody has to, or it is not known."""
        if self.ended is not None and self.intent is None:
            return ""
        if self.done.held is not None:
            return "whoever held it, with `release`"
        if self.waits_by is not None:
            is_asked = self.waits_by.event is Event.ASKED
            return str(self.waits_by.told.get("who") or ("whoever runs auditor" if is_asked else ""))
        return "nobody: the next tick goes on"

    @property
    def waits_by(self) -> Row | None:
        """What says what it waits for, and since when: a person, or to be looked at, or what it did when it was."""
        return self.passed_over if self.passed_over is not None and not self.needs_person else self.waiting

    @property
    def waits_for(self) -> str | None:
        """In words; None where it is at its end."""
        if self.waits_by is None:
            return "the next tick" if self.ended is None or self.intent is not None else None
        reason = str(self.waits_by.told["reason"])
        return f"it could not be looked at: {reason}" if self.waits_by is self.passed_over else reason

    @property
    def since(self) -> datetime | None:
        """Since when it waits; None where it is at its end."""
        if self.waits_for is None:
            return None
        return self.waits_by.at if self.waits_by else self.told_at

    @property
    def until(self) -> datetime | None:
        """Until when it waits at least; None where no time ends it."""
        said = self.waits_by.told.get("until") if self.waits_by else None
        return datetime.fromisoformat(said) if said else None

    @property
    def needs_person(self) -> bool:
        """Whether it goes on only when somebody says so."""
        is_asked = self.waiting is not None and self.waiting.event is Event.ASKED
        return self.ended is None and (is_asked or self.done.held is not None)


NEEDED: Mapping[Event, frozenset[str]] = {
    Event.CLAIMED: frozenset({"plan"}),
    Event.APPROVED: frozenset({"through"}),
    Event.INTENT: frozenset({"step", "intent", "keys"}),
    Event.MADE: frozenset({"key"}),
    Event.DISCARDED: frozenset({"key", "how", "why"}),
    Event.RESULT: frozenset({"step", "outcome"}),
    Event.ANNOUNCED: frozenset({"reason"}),
    Event.ADOPTED: frozenset({"evidence"}),
    Event.WAITING: frozenset({"reason"}),
    Event.PASSED_OVER: frozenset({"reason", "who"}),
    Event.REFUSED: frozenset({"how"}),
    Event.ASKED: frozenset({"code", "reason"}),
    Event.SEEN: frozenset({"status"}),
    Event.HELD: frozenset({"reason"}),
    Event.CONFIRMED: frozenset({"by"}),
    Event.ENDED: frozenset({"how"}),
    Event.TOLD: frozenset({"key"}),
    Event.SWITCHING_ON: frozenset({"account_id", "user", "key", "intent"}),
    Event.SWITCHED_ON: frozenset({"account_id", "user", "key"}),
}
"""What each row tells at least."""

CALL_LASTS = timedelta(minutes=10)
"""How long a call may take with all its tries; a result that comes later is one of healing, and wrote nothing."""

UNKNOWN = "unknown"
"""How a step came off that AWS does not show any more."""

WELL = frozenset({"rotated", "inactive", "deleted"})
"""How an item ends that came to where it was to go."""


@dataclass
class Ledger:
    """All plans that were ever claimed, and their items, in the order of their plans."""

    plans: dict[str, Plan] = field(default_factory=dict)
    items: dict[str, Tracked] = field(default_factory=dict)
    approvals: dict[str, list[Row]] = field(default_factory=dict)
    """Rows that tell of a plan's approvals, by its id."""
    _about: dict[str, list[str]] = field(default_factory=dict)
    """The items about each key, in the order of their plans."""
    _status: dict[str, tuple[KeyStatus, datetime]] = field(default_factory=dict)
    """How each key was made or seen to be last, and when."""
    _active: dict[str, datetime] = field(default_factory=dict)
    """When each key was planned or seen as active."""
    _on_again: dict[str, datetime] = field(default_factory=dict)
    """When each key was planned or seen as active after it was inactive, by somebody else's hand."""
    _switched_on: dict[str, dict[str, datetime]] = field(default_factory=dict)
    """When each key was switched on again by hand, or may have been, by the intent of each try."""
    _reasons: dict[str, str] = field(default_factory=dict)
    """Why, by the same."""

    def open(self) -> list[Tracked]:
        """Items that are not at their end."""
        return [tracked for tracked in self.items.values() if tracked.ended is None]

    def due(self) -> list[Tracked]:
        """Items that a tick has to see to: the open ones, and of those at their end what a rollback left open."""
        return [tracked for tracked in self.items.values() if tracked.ended is None or tracked.intent is not None]

    @property
    def done_well(self) -> int:
        """How many items came to the end that they were planned for."""
        return sum(tracked.ended in WELL for tracked in self.items.values())

    @property
    def switched_off(self) -> Mapping[str, datetime]:
        """When keys were switched off, by their ids; but for those that were active after that."""
        on, found = self.active_at, ((it.item.key.id, it.done.inactive_at) for it in self.items.values())
        known = ((name, at) for name, at in found if at is not None and (name not in on or at > on[name]))
        return dict(sorted(known, key=lambda one: one[1]))

    @property
    def active_at(self) -> Mapping[str, datetime]:
        """When keys were last known to be active, or may have been, by their ids."""
        by_hand = self.switched_on
        return {
            key: max(at for at in (self._active.get(key), by_hand.get(key)) if at) for key in {*self._active, *by_hand}
        }

    @property
    def switched_on(self) -> Mapping[str, datetime]:
        """When keys were last switched on again by hand, or may have been, by their ids."""
        return {key: max(tries.values()) for key, tries in self._switched_on.items() if tries}

    @property
    def on_again(self) -> Mapping[str, datetime]:
        """When keys were active again that had been inactive, or were let go after that, by their ids."""
        return self._on_again

    def why_switched_on(self, key_id: str) -> str | None:
        """Why a key was last switched on again by hand, or was to be; None where that is not told."""
        tries = self._switched_on.get(key_id, {})
        return self._reasons.get(max(tries, key=tries.__getitem__)) if tries else None

    def is_last_try(self, key_id: str, intent: str) -> bool:
        """Whether nobody tried to switch a key on again after this."""
        tries = self._switched_on.get(key_id, {})
        return not tries or next(reversed(tries)) == intent

    def about(self, key_id: str) -> list[Tracked]:
        """Items about a key, the latest first."""
        return [self.items[item_id] for item_id in reversed(self._about.get(key_id, []))]

    def take(self, row: Row) -> None:
        """Know what the journal's next row tells of.

        Raises:
            OutputError: it is not understood.
        """
        with understood(row.number, "journal"):
            missing = NEEDED.get(row.event, frozenset()) - set(row.told)
            if missing:
                raise KeyError(*missing)
            self._take(row)

    def _take(self, row: Row) -> None:
        if row.event is Event.CLAIMED:
            self._claimed(Plan.model_validate(row.told["plan"]), row)
        elif row.event is Event.APPROVED:
            self.approvals.setdefault(row.plan, []).append(row)
            for item_id, kind in row.told["through"].items():
                self.items[item_id] = replace(self.items[item_id], approved=Kind(kind))
        elif row.event in {Event.SWITCHING_ON, Event.SWITCHED_ON}:
            key_id = str(row.told["key"])
            self._know_on(key_id, row)
            if row.event is Event.SWITCHED_ON and row.told.get("outcome", "done") == "done":
                self._know_status(key_id, row, KeyStatus.ACTIVE, row.at)
        elif row.event is Event.PASSED_OVER:
            self.items[row.item] = replace(self.items[row.item], passed_over=row)
        elif row.event is not Event.TOLD:
            self._item_told(row)

    def _claimed(self, plan: Plan, row: Row) -> None:
        self.plans[plan.id] = plan
        for item in plan.items:
            key_id, done = item.key.id, Progress()
            known, at = self._status.get(key_id, (item.key.status, plan.created_at))
            self._know_planned(key_id, item.key.status, plan.created_at)
            if at > plan.created_at:  # what the plan saw was before
                on_again = self._on_again.get(key_id)
                is_news = on_again is not None and on_again > plan.created_at
                done = Progress(seen=known, on_again=on_again if is_news else None)
            self.items[item.id] = Tracked(item, plan.id, plan.expires_at, done=done, told_at=row.at)
            self._about.setdefault(key_id, []).append(item.id)

    def _know_planned(self, key_id: str, status: KeyStatus, at: datetime) -> None:
        """What a plan saw, which open items about the key may not have; of a plan of before, that it was active."""
        known, known_at = self._status.get(key_id, (None, at))
        is_latest = at >= known_at
        if status is KeyStatus.ACTIVE:
            self._know_active(key_id, at)
            if known is KeyStatus.INACTIVE and is_latest:
                self._on_again[key_id] = at
        if is_latest:
            self._status[key_id] = (status, at)
        for one in self.about(key_id):
            off = one.done.inactive_at or one.item.inactive_since
            if one.ended is not None:
                continue
            if is_latest and (one.done.seen or one.item.key.status) is not status:
                self.items[one.item.id] = replace(one, done=as_seen(one.done, at, status))
            elif status is KeyStatus.ACTIVE and off is not None and off < at:
                self.items[one.item.id] = replace(
                    one, done=replace(one.done, on_again=max(at, one.done.on_again or at))
                )

    def _item_told(self, row: Row) -> None:
        before = self.items[row.item]
        tracked = _told(before, row)
        key_id = tracked.item.key.id
        if row.event is Event.RELEASED and before.done.on_again is not None and tracked.done.on_again is None:
            if tracked.done.inactive_at is None:
                self._on_again[key_id] = row.at  # somebody may have needed it until a person let it go
            else:
                self._on_again.pop(key_id, None)
        if row.event is Event.RELEASED and self._switched_on.get(key_id):
            tracked = replace(tracked, done=replace(tracked.done, released_at=row.at))
        self.items[row.item] = tracked
        if row.told.get("step") == Step.REACTIVATE:
            self._know_on(key_id, row)
        status = status_told(row)
        if status is not None:
            self._know_status(key_id, row, status, _begun_at(before, row))

    def _know_active(self, key_id: str, at: datetime) -> None:
        self._active[key_id] = max(at, self._active.get(key_id, at))

    def _know_status(self, key_id: str, row: Row, status: KeyStatus, begun: datetime) -> None:
        """How a key is by now, which all open items about it know; `begun` is when what made it so was sent."""
        is_ours = row.event is not Event.SEEN and row.told.get("outcome", "done") == "done" and "shows" not in row.told
        known, _ = self._status.get(key_id, (None, row.at))
        self._status[key_id] = (status, row.at)
        if status is KeyStatus.ACTIVE:
            self._know_active(key_id, row.at)
            was_off = known is KeyStatus.INACTIVE or row.told.get("step") == Step.DEACTIVATE
            if was_off and not is_ours:
                self._on_again[key_id] = row.at
        elif is_ours and self._on_again.get(key_id, row.at) < begun:
            del self._on_again[key_id]
        for one in self.about(key_id):
            if one.ended is not None and one.item.id != row.item:
                continue
            done = as_seen(one.done, row.at, status) if row.event is Event.SEEN else replace(one.done, seen=status)
            self.items[one.item.id] = replace(one, done=done)

    def _know_on(self, key_id: str, row: Row) -> None:
        """A key is about to be switched on, or was, or certainly was not."""
        tries, intent = self._switched_on.setdefault(key_id, {}), str(row.told.get("intent") or row.number)
        outcome = row.told.get("outcome", "done")
        if row.told.get("reason"):
            self._reasons[intent] = str(row.told["reason"])
        if outcome == "failed":
            tries.pop(intent, None)
        elif outcome != UNKNOWN:
            tries[intent] = row.at  # of a try that is known its place stays, in the order of sending


def fold(rows: Iterable[Row]) -> Ledger:
    """The ledger that these rows tell of."""
    ledger = Ledger()
    for row in rows:
        ledger.take(row)
    return ledger


def _told(tracked: Tracked, row: Row) -> Tracked:
    told = row.told
    kept = tracked.waiting  # a rollback says why it holds an item, and then what it does
    is_kept = kept is not None and kept.event is Event.HELD and row.event in {Event.INTENT, Event.RESULT}
    changes: dict[str, Any] = {"waiting": kept if is_kept else None, "passed_over": None, "told_at": row.at}
    match row.event:
        case Event.INTENT:
            changes |= {"begun": (*tracked.begun, row), **(UNMADE if told["step"] == Step.CREATE else {})}
        case Event.MADE | Event.DISCARDED:
            changes |= {"made": told["key"], "discarded": told.get("how")}
        case Event.RESULT:
            changes |= _resulted(tracked, row)
        case Event.ANNOUNCED | Event.HELD:
            changes |= {"done": _noted(tracked, row), "waiting": row}
        case Event.ADOPTED | Event.CONFIRMED | Event.RELEASED:
            changes |= {"done": _noted(tracked, row)}
        case Event.SEEN:
            pass  # all items about the key know it
        case Event.WAITING | Event.ASKED:
            last = tracked.waiting
            is_same = last is not None and (last.event, last.told) == (row.event, row.told)
            changes |= {"waiting": last if is_same else row}  # it waits for it since then
        case _:
            changes |= {"ended": told["how"], "ended_by": row.number}
    return replace(tracked, **changes)


def _noted(tracked: Tracked, row: Row) -> Progress:
    """What was done, by a row that tells of no step."""
    done, told = tracked.done, row.told
    match row.event:
        case Event.ANNOUNCED:
            return replace(done, announced=row.at, was_begun=True)
        case Event.ADOPTED:
            return replace(done, adopted_at=row.at)
        case Event.CONFIRMED:
            return replace(done, confirmed_by=told["by"])
        case Event.HELD:
            return replace(done, held=told["reason"])
        case _:
            return replace(done, held=None, announced=None, **_accepted(tracked, row))


def as_seen(done: Progress, at: datetime, status: KeyStatus) -> Progress:
    """What was done, as it stands when AWS shows the old key otherwise than before; what was announced is over then."""
    on_again = at if status is KeyStatus.ACTIVE else done.on_again
    return replace(done, seen=status, announced=None, on_again=on_again)


def status_told(row: Row) -> KeyStatus | None:
    """How a row about an item says that its old key is by then; None where it does not say."""
    step, shows = row.told.get("step"), row.told.get("shows")
    if row.event is Event.SEEN:
        return KeyStatus(row.told["status"])
    if row.event is not Event.RESULT or step not in {Step.DEACTIVATE, Step.REACTIVATE}:
        return None
    if shows:
        return next(one for one in KeyStatus if one.value.lower() == shows)
    if row.told["outcome"] != "done":
        return None
    return KeyStatus.ACTIVE if step == Step.REACTIVATE else KeyStatus.INACTIVE


UNMADE: Mapping[str, Any] = {"made": None, "discarded": None}


def _unsettled(tracked: Tracked, step: Step, intent: str | None) -> tuple[Row, ...]:
    """What was begun and a result says nothing of: other steps, and other tries of this one, where it says which."""
    return tuple(
        row for row in tracked.begun if row.told["step"] != step or intent not in {None, str(row.told["intent"])}
    )


def _accepted(tracked: Tracked, row: Row) -> dict[str, Any]:
    """What a person accepts who releases an item about which one was asked.

    A key that was switched on again, and is active, has to be quiet and announced anew. One that was used while it was
    to be inactive begins that time anew; so does one that is inactive anew, and one that we were to switch off, which
    somebody else may have done.
    """
    done = tracked.done
    asked = tracked.waiting.told["code"] if tracked.waiting and tracked.waiting.event is Event.ASKED else None
    is_taken = asked == "ALREADY_INACTIVE" and done.may_be_off
    on = {"on_again": None, "may_be_off": False, "released_at": row.at}
    if is_taken or asked == "INACTIVE_ANEW":
        return {**on, "inactive_at": row.at, "used_when_inactive": row.at}
    if asked == "USED_SINCE":
        return {"inactive_at": row.at, "used_when_inactive": row.at, "may_be_off": False}
    return {**on, "inactive_at": None, "used_when_inactive": None} if asked == "REACTIVATED" else {}


def _begun_at(tracked: Tracked, row: Row) -> datetime:
    """When what a row tells the result of was begun; of other rows, when they were written."""
    intent = row.told.get("intent")
    return next((one.at for one in tracked.begun if one.told["intent"] == intent), row.at)


def _resulted(tracked: Tracked, row: Row) -> dict[str, Any]:
    done, step, told = tracked.done, Step(row.told["step"]), row.told
    begun = _begun_at(tracked, row)
    wrote_at = min(row.at, begun + CALL_LASTS)
    changes: dict[str, Any] = {"wrote_at": max(wrote_at, done.wrote_at or wrote_at)}
    failed, ended = None, tracked.ended
    if told["outcome"] != "done":
        failed = told["why"]
        if step is Step.DEACTIVATE:
            changes |= {"may_be_off": bool(told.get("shows"))}
        if ended is not None and step is Step.REACTIVATE and told.get("shows"):
            ended = "active again: by whom is not known"
        if step is Step.CREATE:
            changes |= {"prepared_at": None}  # the store has to be proved anew
    else:
        is_taken_back = step in {Step.REACTIVATE, Step.RESTORE}
        changes |= {"was_begun": done.was_begun or not is_taken_back, **_after(step, row.at, told)}
        if ended is not None and step is Step.REACTIVATE:
            ended = "switched on again"
    is_switched = told["outcome"] == "done" and step in {Step.DEACTIVATE, Step.REACTIVATE}
    if is_switched and done.on_again is not None and (step is Step.REACTIVATE or done.on_again < begun):
        changes |= {"on_again": None}
    settled = {"begun": _unsettled(tracked, step, told.get("intent")), **(UNMADE if step is Step.CREATE else {})}
    return {**settled, "failed": failed, "ended": ended, "done": replace(done, **changes)}


def _after(step: Step, at: datetime, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a step that came off changes."""
    used, unconfirmed = told.get("used_at"), {"adopted_at": None, "confirmed_by": None}
    is_on_again = told.get("shows") == KeyStatus.ACTIVE.value.lower()  # before we knew that it was off
    changes: Mapping[Step, dict[str, Any]] = {
        Step.PREPARE: {"prepared_at": at},
        Step.CREATE: {"new_key": told.get("key"), "version": told.get("version"), "created_at": at},
        Step.VERIFY: {"verified_at": at},
        Step.PUBLISH: {"published_at": at, "was_published": True},
        Step.DEACTIVATE: {
            "inactive_at": None if is_on_again else at,
            "used_when_inactive": datetime.fromisoformat(used) if used else None,
            "announced": None,
            "may_be_off": is_on_again,
        },
        Step.REACTIVATE: {
            "inactive_at": None,
            "used_when_inactive": None,
            "announced": None,
            "may_be_off": False,
            **unconfirmed,
        },
        Step.RESTORE: {"published_at": None, **unconfirmed},
        Step.DELETE: {"deleted_at": at},
    }
    return changes[step]
