"""What the journal says of plans and their items: its rows, folded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from auditor.model import KeyStatus
from auditor.remediation.decision import Live, Progress, Step
from auditor.remediation.journal import Event, Journal, Row, understood
from auditor.remediation.key_state import SETTLES, KeyState
from auditor.remediation.plan import Item, Kind, Plan
from auditor.remediation.tracked import CALL_LASTS, Tracked

NEEDED: Mapping[Event, frozenset[str]] = {
    Event.CLAIMED: frozenset({"plan"}),
    Event.APPROVED: frozenset({"through"}),
    Event.INTENT: frozenset({"step", "intent", "keys"}),
    Event.MADE: frozenset({"key"}),
    Event.DISCARDED: frozenset({"key", "how", "why"}),
    Event.UNANSWERED: frozenset({"intent"}),
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

CLOCKS_DIFFER = timedelta(minutes=2)
"""By how much clocks of machines that write one journal may differ, each of them off by a minute from AWS's."""

SWITCHES: Mapping[Step, KeyStatus] = {Step.DEACTIVATE: KeyStatus.INACTIVE, Step.REACTIVATE: KeyStatus.ACTIVE}
"""Steps after which AWS shows a key as it is also when somebody else switched it, or nobody had to."""

OFF = Step.DEACTIVATE.value

NOTHING = KeyState()

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
    keys: dict[str, KeyState] = field(default_factory=dict)
    """What is known of each key that a row tells of, by its id."""
    _about: dict[str, list[str]] = field(default_factory=dict)
    """The items about each key, in the order of their plans."""
    _latest: datetime | None = None
    """The instant of the last row."""

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

    def key(self, key_id: str) -> KeyState:
        """What is known of a key."""
        return self.keys.get(key_id, NOTHING)

    def unsettled(self, key_id: str) -> list[tuple[Tracked, Row]]:
        """By which items a key was to be switched on or off of which it is to be found out what came of that."""
        return [(one, row) for one in self.about(key_id) for row in one.unsettled if row.told["step"] in SWITCHES]

    def about(self, key_id: str) -> list[Tracked]:
        """Items about a key, the latest first."""
        return [self.items[item_id] for item_id in reversed(self._about.get(key_id, []))]

    def take(self, row: Row) -> None:
        """Know what the journal's next row tells of; rows of clocks that differ are in the order of the journal.

        Raises:
            OutputError: it is not understood.
        """
        latest = self._latest
        if latest is not None and row.at < latest < row.at + CLOCKS_DIFFER:
            row = replace(row, at=latest + timedelta.resolution)
        self._latest = row.at
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
            self.keys[key_id] = _by_hand(self.key(key_id), row)
        elif row.event is Event.PASSED_OVER:
            self.items[row.item] = replace(self.items[row.item], passed_over=row)
        elif row.event is not Event.TOLD:
            tracked = self.items[row.item]
            key_id = tracked.item.key.id
            state = _known(self.key(key_id), tracked, row)
            self.items[row.item], self.keys[key_id] = _told(tracked, row, state), state

    def _claimed(self, plan: Plan, row: Row) -> None:
        self.plans[plan.id] = plan
        for item in plan.items:
            key_id = item.key.id
            planned_at = min(plan.created_at, row.at)  # by a clock that may be ahead
            self.keys[key_id] = self.key(key_id).seen(item.key.status, planned_at)
            self.items[item.id] = Tracked(item, plan.id, planned_at, plan.expires_at, told_at=row.at)
            self._about.setdefault(key_id, []).append(item.id)


def fold(rows: Iterable[Row]) -> Ledger:
    """The ledger that these rows tell of."""
    ledger = Ledger()
    for row in rows:
        ledger.take(row)
    return ledger


@dataclass
class Book:
    """A journal, and what it tells, known up to its last row."""

    journal: Journal
    _known: Ledger = field(default_factory=Ledger, init=False)
    _taken: int = field(default=0, init=False)
    """Rows of the journal that are known."""

    @property
    def ledger(self) -> Ledger:
        """All that it tells."""
        for row in self.journal.rows[self._taken :]:
            self._known.take(row)
        self._taken = len(self.journal.rows)
        return self._known

    def item(self, item: Item) -> Tracked:
        """How an item stands."""
        return self.ledger.items[item.id]

    def add(self, tracked: Tracked, event: Event, **told: object) -> None:
        """Write down something of an item; raises as `Journal.add`."""
        self.journal.add(tracked.plan_id, tracked.item.id, event, **told)

    def see(self, item: Item, live: Live, now: datetime) -> KeyState:
        """What is known of an item's key, with how AWS shows it now: that is written down, as nothing else tells later.

        So is the first that AWS shows after a call without an answer, also where it is as before: the call may have
        come off, and somebody undone it.

        Raises:
            OutputError: it cannot be written.
        """
        state, old = self.ledger.key(item.key.id), live.key(item.key.id)
        if old is None or live.user_id != item.user_id:
            return state
        calls = [(SWITCHES[Step(row.told["step"])], it.over_at(row)) for it, row in self.ledger.unsettled(item.key.id)]
        lags = state.is_settling(now) or any(now - at < SETTLES and old.status is not made for made, at in calls)
        is_news = old.status is not state.status and not lags
        offs = (at for made, at in calls if made is KeyStatus.INACTIVE and now - at >= SETTLES)
        if not is_news and all(state.is_seen_since(at) for at in offs):
            return state
        self.add(self.item(item), Event.SEEN, status=old.status.value)
        return self.ledger.key(item.key.id)


# ------------------------------------------------------------------------------------------------- of a key


def _by_hand(state: KeyState, row: Row) -> KeyState:
    """A key that is no item's is about to be switched on, or was, or certainly was not."""
    intent, outcome = str(row.told.get("intent") or row.number), row.told.get("outcome", "done")
    begun = state.tries.get(intent, row.at)
    state = state.tried(intent, row.at if outcome == "done" else None, row.told.get("reason"))
    if row.event is Event.SWITCHED_ON and outcome == "done":
        return state.did(KeyStatus.ACTIVE, begun, row.at).sent(row.at)
    return state


def _known(state: KeyState, tracked: Tracked, row: Row) -> KeyState:
    """What is known of an item's key, with a row about the item."""
    match row.event:
        case Event.SEEN:
            return state.seen(KeyStatus(row.told["status"]), row.at)
        case Event.INTENT if row.told["step"] == Step.REACTIVATE:
            return state.tried(str(row.told["intent"]), row.at, row.told.get("reason"))
        case Event.RESULT if row.told["step"] in SWITCHES:
            return _switched(state, _begun_at(tracked, row), row)
        case Event.RELEASED:
            return _released(state, tracked, row)
        case Event.ENDED:  # what is not settled by then may have come off
            for begun in (one.at for one in tracked.unsettled if one.told["step"] == OFF):
                state = state.did(KeyStatus.INACTIVE, begun, begun, is_ours=None)
            return state
        case _:
            return state


def _switched(state: KeyState, begun: datetime, row: Row) -> KeyState:
    """What came of switching a key on or off, and how AWS shows it, where it took that to know."""
    told, made = row.told, SWITCHES[Step(row.told["step"])]
    shows = next((one for one in KeyStatus if one.value.lower() == told.get("shows")), None)
    is_done = told["outcome"] == "done"
    if made is KeyStatus.ACTIVE and told["outcome"] != UNKNOWN:
        state = state.tried(str(told.get("intent") or row.number), row.at if is_done else None)
    if is_done or shows is not None:
        is_gone_over = shows not in {None, made}
        if is_done or made is KeyStatus.INACTIVE:
            known_at = begun if is_gone_over else row.at
            state = state.did(made, begun, known_at, is_ours=True if is_done else None)
        if shows is not None and shows is not state.status:
            state = state.seen(shows, row.at)
    return state if told["outcome"] == "failed" else state.sent(_wrote_at(begun, row))


def _released(state: KeyState, tracked: Tracked, row: Row) -> KeyState:
    """A person lets an item go on: what was asked of its key is answered, as it was when it was asked."""
    asked = _asked(tracked, state)
    is_taken = asked == "ALREADY_INACTIVE" and state.is_off_by_us is not False
    if is_taken or asked in {"INACTIVE_ANEW", "USED_SINCE"}:
        state = state.taken_off(row.at)
    if is_taken or asked in {"REACTIVATED", "INACTIVE_ANEW"}:
        return state.let_go(row.at, tracked.asked_at)
    return state.let_go(row.at, None) if state.tries else state


def _asked(tracked: Tracked, state: KeyState) -> str | None:
    """The code of what a person was asked last of an item; None where the key changed since: that was not asked."""
    waiting, asked_at, changed_at = tracked.waiting, tracked.asked_at, state.changed_at
    if waiting is None or waiting.event is not Event.ASKED or asked_at is None:
        return None
    return str(waiting.told["code"]) if changed_at is None or changed_at <= asked_at else None


# ------------------------------------------------------------------------------------------------- of an item


def _told(tracked: Tracked, row: Row, state: KeyState) -> Tracked:
    """An item, with a row about it; `state` is what is known of its key by then."""
    told = row.told
    kept = tracked.waiting  # a rollback says why it holds an item, and then what it does
    deeds = {Event.INTENT, Event.UNANSWERED, Event.RESULT}
    is_kept = kept is not None and kept.event is Event.HELD and row.event in deeds
    changes: dict[str, Any] = {"waiting": kept if is_kept else None, "passed_over": None, "told_at": row.at}
    match row.event:
        case Event.INTENT:
            changes |= {"begun": (*tracked.begun, row), **(UNMADE if told["step"] == Step.CREATE else {})}
        case Event.UNANSWERED:
            changes |= {"over": {**tracked.over, str(told["intent"]): row.at}}
        case Event.MADE | Event.DISCARDED:
            changes |= {"made": told["key"], "discarded": told.get("how")}
        case Event.RESULT:
            changes |= _resulted(tracked, row, state)
        case Event.ANNOUNCED | Event.HELD:
            changes |= {"done": _noted(tracked, row), "waiting": row}
        case Event.ADOPTED | Event.CONFIRMED:
            changes |= {"done": _noted(tracked, row)}
        case Event.RELEASED:
            changes |= {"done": replace(tracked.done, held=None, announced=None, **_accepted(tracked, row, state))}
        case Event.SEEN:
            pass  # that is known of its key
        case Event.WAITING | Event.ASKED:
            last = tracked.waiting
            is_same = last is not None and (last.event, last.told) == (row.event, row.told)
            asked_at = row.at if row.event is Event.ASKED else None
            changes |= {"waiting": last if is_same else row, "asked_at": asked_at}  # it waits for it since then
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
        case _:
            return replace(done, held=told["reason"])


UNMADE: Mapping[str, Any] = {"made": None, "discarded": None}


def _unsettled(tracked: Tracked, step: Step, intent: str | None) -> tuple[Row, ...]:
    """What was begun and a result says nothing of: other steps, and other tries of this one, where it says which."""
    return tuple(
        row for row in tracked.begun if row.told["step"] != step or intent not in {None, str(row.told["intent"])}
    )


def _accepted(tracked: Tracked, row: Row, state: KeyState) -> dict[str, Any]:
    """What a person accepts of an item about which one was asked; `state` is what is known of its key by then.

    A key that was switched on again, and is active, has to be quiet and announced anew. One that was used while it was
    to be inactive begins that time anew; so does one that is inactive anew, and one that we were to switch off, which
    somebody else may have done.
    """
    if state.off_at == row.at:
        return {"inactive_at": row.at, "used_when_inactive": row.at}
    is_on = _asked(tracked, state) == "REACTIVATED"
    return {"inactive_at": None, "used_when_inactive": None} if is_on else {}


def _begun_at(tracked: Tracked, row: Row) -> datetime:
    """When what a row tells the result of was begun; of other rows, when they were written."""
    intent = row.told.get("intent")
    return next((one.at for one in tracked.begun if one.told["intent"] == intent), row.at)


def _wrote_at(begun: datetime, row: Row) -> datetime:
    """When a call wrote anything, at the latest, of which a row tells the result, which may be one of healing."""
    return min(row.at, begun + CALL_LASTS)


def _resulted(tracked: Tracked, row: Row, state: KeyState) -> dict[str, Any]:
    done, step, told = tracked.done, Step(row.told["step"]), row.told
    begun = _begun_at(tracked, row)
    wrote_at = _wrote_at(begun, row)
    changes: dict[str, Any] = {"wrote_at": max(wrote_at, done.wrote_at or wrote_at)}
    failed, ended = None, tracked.ended
    if told["outcome"] != "done":
        failed = told["why"]
        if ended is not None and step is Step.REACTIVATE and told.get("shows"):
            ended = "active again: by whom is not known"
        if step is Step.CREATE:
            changes |= {"prepared_at": None}  # the store has to be proved anew
    else:
        is_taken_back = step in {Step.REACTIVATE, Step.RESTORE}
        changes |= {"was_begun": done.was_begun or not is_taken_back, **_after(step, row.at, told)}
        if step is Step.DEACTIVATE and state.status is KeyStatus.INACTIVE:
            changes |= {"inactive_at": state.off_at}
        if ended is not None and step is Step.REACTIVATE:
            ended = "switched on again"
    settled = {"begun": _unsettled(tracked, step, told.get("intent")), **(UNMADE if step is Step.CREATE else {})}
    return {**settled, "failed": failed, "ended": ended, "done": replace(done, **changes)}


def _after(step: Step, at: datetime, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a step that came off changes."""
    used, unconfirmed = told.get("used_at"), {"adopted_at": None, "confirmed_by": None}
    changes: Mapping[Step, dict[str, Any]] = {
        Step.PREPARE: {"prepared_at": at},
        Step.CREATE: {"new_key": told.get("key"), "version": told.get("version"), "created_at": at},
        Step.VERIFY: {"verified_at": at},
        Step.PUBLISH: {"published_at": at, "was_published": True},
        Step.DEACTIVATE: {
            "used_when_inactive": datetime.fromisoformat(used) if used else None,
            "announced": None,
        },
        Step.REACTIVATE: {
            "inactive_at": None,
            "used_when_inactive": None,
            "announced": None,
            **unconfirmed,
        },
        Step.RESTORE: {"published_at": None, **unconfirmed},
        Step.DELETE: {"deleted_at": at},
    }
    return changes[step]
