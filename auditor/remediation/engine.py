"""Approved items, taken as far as they may go now: read, decide, write down, do, write down what came of it.

There is one way through it, whether a plan is applied, a scheduler ticks, or a crash is to be healed: what was begun
and has no result is looked at first, and only what AWS shows settles it.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from auditor.aws.failures import AwsFailure
from auditor.aws.key_writes import is_definite
from auditor.errors import ApprovalError, OutputError
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.decision import (
    DISRUPTIVE,
    Adopted,
    Announce,
    Ask,
    Decision,
    Do,
    Done,
    Live,
    Refuse,
    Step,
    Terms,
    Wait,
)
from auditor.remediation.hands import Hands
from auditor.remediation.healing import Healer
from auditor.remediation.journal import Event, Journal, Row
from auditor.remediation.lifecycle import decide, is_at_once, version_of
from auditor.remediation.news import Notice
from auditor.remediation.plan import Item
from auditor.remediation.progress import Book
from auditor.remediation.tracked import Tracked

log = logging.getLogger(__name__)

STOOD_STILL = timedelta(minutes=2)
"""How long after AWS was read no step is made any more that rests on it."""

MOST_STEPS = 12
"""Steps that an item can take at one time; more would be going round in circles."""


class Standing(StrEnum):
    """How an item stands after a tick."""

    DONE = "done"
    WAITS = "waits"
    REFUSED = "refused"
    NEEDS_PERSON = "needs a person"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item in this tick."""

    item: Item
    standing: Standing
    told: str
    steps: tuple[Step, ...] = ()
    until: datetime | None = None
    who: str = ""


class NotToldError(Exception):
    """Nobody could be told."""


def _is_counted(item: Item, step: Step) -> bool:
    """Whether a step is one of those of which there are only so many at a time."""
    return step in DISRUPTIVE and not is_at_once(item, step)


def _turn(tracked: Tracked) -> tuple[bool, bool, str]:
    """When it is an item's turn; those of one account keep the order of their plans."""
    return tracked.intent is None, not tracked.item.urgent, tracked.item.account_id


@dataclass
class Engine:
    """See the module. `tell` raises `NotToldError` where a notice reaches nobody."""

    journal: Journal
    hands: Callable[[Item], Hands]
    terms: Callable[[Tracked], Terms]
    tell: Callable[[Notice], None]
    most_disruptions: int
    stopping: Callable[[], bool] = lambda: False
    """Asked before every step: whether the user wants it to end."""
    simulates: bool = False
    """Nothing is written, in AWS or here: what would be done is told."""
    by: str = ""
    """Whose credentials it is done with, as AWS names them."""
    _disruptions: int = field(default=0, init=False)
    _book: Book = field(init=False)

    def __post_init__(self) -> None:
        """What is simulated is written down nowhere."""
        self._book = Book(self.journal.beside() if self.simulates else self.journal)

    def tick(self, items: Collection[str] | None = None) -> Iterator[Outcome]:
        """Take items as far as they may go now: these, or all that are open.

        What a crash left open comes first, then keys that are exposed, then one account after the other, and of each
        the plans' canaries: where a step of one fails, or is of unknown outcome, nothing new of its plan is begun this
        time.

        Raises:
            OutputError: the journal cannot be written; nothing more is done.
        """
        ledger = self._book.ledger
        due = ledger.open() if self.simulates else ledger.due()
        chosen = [tracked for tracked in due if items is None or tracked.item.id in items]
        failed: dict[str, Item] = {}
        for tracked in sorted(chosen, key=_turn):
            if self.stopping():
                return
            canary = failed.get(tracked.plan_id)
            is_held_back = tracked.is_untouched and not tracked.item.urgent and self.terms(tracked).may_begin
            if canary is not None and is_held_back:
                told = f"not begun, since {canary.where} failed first: the next tick tries again"
                self._note(tracked, Event.WAITING, reason=told, until=None, who="nobody")
                yield Outcome(tracked.item, Standing.WAITS, told)
                continue
            rows = self._book.journal.rows
            known = len(rows)
            outcome = self._advance(tracked.item)
            has_tried = any(row.event is Event.RESULT for row in rows[known:])  # else it is but unreadable
            is_open = tracked.ended is None and self._book.item(tracked.item).intent is not None
            if (outcome.standing is Standing.FAILED and has_tried and tracked.ended is None) or is_open:
                failed.setdefault(tracked.plan_id, tracked.item)
            yield outcome

    def _advance(self, item: Item) -> Outcome:
        hands = self.hands(item)
        steps: list[Step] = []
        begun = len(self._book.journal.rows)
        try:
            for _ in range(MOST_STEPS):
                tracked = self._book.item(item)
                if tracked.intent is not None and self.simulates:
                    step = tracked.intent.told["step"]
                    told = f"what came of a step that was begun, {step}, is not known: a tick looks at that first"
                    return Outcome(item, Standing.WAITS, told)
                if tracked.intent is not None:
                    outcome = self._see_to(tracked, tracked.intent, hands, is_new=tracked.intent.number > begun)
                else:
                    outcome = self._go_on(tracked, hands, steps)
                if outcome is not None:
                    return replace(outcome, steps=tuple(steps))
        except AwsFailure as failure:
            who = "nobody" if failure.may_pass else "whoever can let it be read"
            return replace(self.pass_over(item, str(failure), who), standing=Standing.FAILED, steps=tuple(steps))
        return Outcome(item, Standing.NEEDS_PERSON, "it does not come to an end; look at the journal", tuple(steps))

    def _see_to(self, tracked: Tracked, intent: Row, hands: Hands, *, is_new: bool) -> Outcome | None:
        """Settle what was begun; None where the item goes on. What is new and failed is not tried twice at a time."""
        waiting = Healer(self._book, hands).heal(tracked)
        if waiting is not None:
            return self._settled(self._book.item(tracked.item), waiting)
        healed = self._book.item(tracked.item)
        is_over = healed.ended is not None and healed.intent is None
        if healed.failed is not None and (is_new or is_over):
            return Outcome(tracked.item, Standing.FAILED, f"{intent.told['step']}: {healed.failed}")
        return Outcome(tracked.item, Standing.DONE, str(healed.ended)) if is_over else None

    def _go_on(self, tracked: Tracked, hands: Hands, steps: list[Step]) -> Outcome | None:
        """Decide what comes next, and do it; None where more may come."""
        item, live = tracked.item, hands.look()
        state = self._book.see(item, live, hands.now())
        tracked = self._book.item(item)
        begun = self._book.ledger.unsettled(item.key.id)
        others = [one for one, row in begun if one.item.id != item.id and row.told["step"] == Step.DEACTIVATE]
        if others and not item.urgent:
            what = f"what came of switching the key off, for {others[0].item.id}, is not known yet"
            return self._settled(tracked, Wait(what, who=others[0].who))
        terms = replace(self.terms(tracked), key=state, planned_at=tracked.planned_at)
        decision = self._bounded(item, decide(item, tracked.done, live, terms))
        if isinstance(decision, Adopted):
            self._book.add(tracked, Event.ADOPTED, evidence=decision.evidence)
            return None
        if not isinstance(decision, Do) or self.simulates or self.stopping():
            return self._settled(tracked, decision)
        failure = self._do(tracked, decision.step, live, hands)
        if failure is not None:
            return Outcome(item, Standing.FAILED, failure)
        if self._book.item(item).intent is None:
            steps.append(decision.step)
        return None

    def pass_over(self, item: Item, reason: str, who: str) -> Outcome:
        """Do nothing about an item that cannot be looked at, and write down why.

        Raises:
            OutputError: the journal cannot be written.
        """
        tracked, told = self._book.item(item), {"reason": reason, "who": who}
        is_known = tracked.passed_over is not None and dict(tracked.passed_over.told) == told
        if not is_known:
            self._book.add(tracked, Event.PASSED_OVER, **told)
        return Outcome(item, Standing.WAITS, reason, who=who)

    def _bounded(self, item: Item, decision: Decision) -> Decision:
        is_counted = isinstance(decision, Do) and _is_counted(item, decision.step)
        if isinstance(decision, Do) and is_counted and self._disruptions >= self.most_disruptions:
            return Wait(
                f"to {decision.step.value}; {self.most_disruptions} keys were switched off or deleted this time"
            )
        return decision

    def _settled(self, tracked: Tracked, decision: Decision) -> Outcome:
        """The end of the item's turn, written down where it is news."""
        outcome = Outcome(tracked.item, Standing.WAITS, "")
        match decision:
            case Announce(step, due):
                return self._announced(tracked, step, due, outcome)
            case Wait(reason, until, who):
                self._note(tracked, Event.WAITING, reason=reason, until=until.isoformat() if until else None, who=who)
                outcome = replace(outcome, told=reason, until=until, who=who)
            case Ask(code, reason, who):
                self._note(tracked, Event.ASKED, code=code, reason=reason, who=who)
                outcome = replace(outcome, standing=Standing.NEEDS_PERSON, told=f"{reason} ({code})", who=who)
            case Refuse(code, reason):
                self._note(tracked, Event.REFUSED, code=code, how=f"{reason} ({code})")
                outcome = replace(outcome, standing=Standing.REFUSED, told=f"{reason} ({code})")
            case Done(how):
                self._note(tracked, Event.ENDED, how=how)
                outcome = replace(outcome, standing=Standing.DONE, told=how)
            case Do(step):
                outcome = replace(outcome, told=f"would {step.value}" if self.simulates else "stopped before the end")
            case Adopted(evidence):
                outcome = replace(outcome, told=f"would count as adopted: {evidence}")
        return outcome

    def _announced(self, tracked: Tracked, step: Step, due: datetime, outcome: Outcome) -> Outcome:
        item = tracked.item
        told = f"to {step.value}, not before {due:%Y-%m-%d %H:%M}Z"
        if not self.simulates:
            try:
                self.tell(Notice(f"{item.id}/{step.value}/{self._announcements(item)}", item, told, step, due))
            except NotToldError as error:
                why, who = f"{told}; nobody could be told: {error}", "whoever runs it"
                self._note(tracked, Event.WAITING, reason=why, until=None, who=who)
                return replace(outcome, told=why, who=who)
            self._book.add(tracked, Event.ANNOUNCED, reason=told, until=due.isoformat(), who=item.owner or "")
        return replace(outcome, told=told, until=due, who=item.owner or "")

    def _announcements(self, item: Item) -> int:
        """How many there were: one that is repeated after a crash has the number, and so the key, of the lost one."""
        return sum(row.item == item.id and row.event is Event.ANNOUNCED for row in self._book.journal.rows)

    def _note(self, tracked: Tracked, event: Event, **told: str | None) -> None:
        """Written down unless it is what was written down last."""
        last, changed_at = tracked.waiting, self._book.ledger.key(tracked.item.key.id).changed_at
        is_known = last is not None and last.event is event and dict(last.told) == told and tracked.passed_over is None
        if event is Event.ASKED:  # what changed since was not asked
            is_known &= changed_at is None or tracked.asked_at is None or changed_at <= tracked.asked_at
        if not is_known:
            self._book.add(tracked, event, **told)

    # --------------------------------------------------------------------------------------------- doing

    def _do(self, tracked: Tracked, step: Step, live: Live, hands: Hands) -> str | None:
        """Make the step; None where it came off or its outcome is to be looked at, else why it certainly did not."""
        self._disruptions += _is_counted(tracked.item, step)
        intent, keys = uuid4().hex, [key.access_key_id for key in live.keys]
        old = live.key(tracked.item.key.id)
        used = old.last_used.at.isoformat() if old and isinstance(old.last_used, UsedAt) else None
        told = {"used_at": used} if step is Step.DEACTIVATE else {}
        self._book.add(tracked, Event.INTENT, step=step.value, intent=intent, by=self.by, keys=keys, **told)
        if live.read_at is not None and hands.now() - live.read_at > STOOD_STILL:  # others may have the journal by now
            why = "not sent: this machine stood still for a while"
            self._book.add(tracked, Event.RESULT, step=step.value, intent=intent, outcome="failed", why=why)
            return why
        try:
            result = self._done(tracked, step, live, hands, intent)
        except AwsFailure as failure:
            if not is_definite(failure):
                log.warning("%s: whether it was done is not known: %s", tracked.item.where, failure)
                self._book.add(tracked, Event.UNANSWERED, intent=intent)
                return None  # the intent is open: what AWS shows settles it
            if self._book.item(tracked.item).made is not None:
                return None  # there is a key whose secret is not stored
            self._book.add(tracked, Event.RESULT, step=step.value, intent=intent, outcome="failed", why=str(failure))
            return str(failure)
        except Exception:
            with suppress(AwsFailure, OutputError, ApprovalError):  # a key that nobody has the secret of does not stay
                if step is Step.CREATE:
                    Healer(self._book, hands).heal(self._book.item(tracked.item))
            raise
        outcome = "failed" if "why" in result else "done"
        self._book.add(tracked, Event.RESULT, step=step.value, intent=intent, outcome=outcome, **told, **result)
        return result.get("why")

    def _done(self, tracked: Tracked, step: Step, live: Live, hands: Hands, intent: str) -> dict[str, str]:
        item, done = tracked.item, tracked.done
        match step:
            case Step.PREPARE:
                hands.prepare(intent)
            case Step.CREATE:
                key = hands.create(intent, lambda made: self._book.add(tracked, Event.MADE, key=made))
                return {"key": key, "version": version_of(item, intent)}
            case Step.VERIFY:
                assert done.new_key is not None
                assert done.version is not None
                why = hands.verify(done.new_key, done.version)
                return {"why": why} if why else {}
            case Step.PUBLISH:
                assert done.version is not None
                assert live.stored is not None
                if live.stored.current != done.version:
                    hands.publish(done.version, live.stored.current)
            case Step.DEACTIVATE:
                hands.set_status(item.key.id, KeyStatus.INACTIVE, intent)
            case Step.REACTIVATE:
                hands.set_status(item.key.id, KeyStatus.ACTIVE, intent)
            case Step.RESTORE:
                pass  # by hand alone
            case Step.DELETE:
                hands.delete(item.key.id, intent)
        return {}
