"""Approved items, taken as far as they may go now: read, decide, write down, do, write down what came of it.

There is one way through it, whether a plan is applied, a scheduler ticks, or a crash is to be healed: what was begun
and has no result is looked at first, and only what AWS shows settles it.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from auditor.remediation.journal import Event, Journal, Row
from auditor.remediation.lifecycle import SETTLES, decide, is_at_once, is_settling, version_of
from auditor.remediation.news import Notice
from auditor.remediation.plan import Item
from auditor.remediation.progress import UNKNOWN, Ledger, Tracked, as_seen

log = logging.getLogger(__name__)

TRAIL_IS_ASKED = timedelta(days=3)
"""For how long a CloudTrail that does not answer is asked again, before it counts as one that cannot be asked."""

TRAIL_TAKES = timedelta(minutes=20)
"""How long CloudTrail may take to tell of a call (CloudTrail: event history; 15 minutes, and some)."""

STOOD_STILL = timedelta(minutes=2)
"""How long after AWS was read no step is made any more that rests on it."""

SHOWN = frozenset({Step.PUBLISH, Step.DEACTIVATE, Step.REACTIVATE, Step.RESTORE, Step.DELETE})
"""Steps of which AWS shows whether they were done, after a moment."""

SWITCHES: Mapping[Step, KeyStatus] = {Step.DEACTIVATE: KeyStatus.INACTIVE, Step.REACTIVATE: KeyStatus.ACTIVE}
"""Steps after which AWS shows a key as it is also when somebody else switched it, or nobody had to."""

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
    _known: Ledger = field(default_factory=Ledger, init=False)
    _taken: int = field(default=0, init=False)
    """Rows of the journal that are known."""

    def tick(self, items: Collection[str] | None = None) -> Iterator[Outcome]:
        """Take items as far as they may go now: these, or all that are open.

        What a crash left open comes first, then keys that are exposed, then one account after the other, and of each
        the plans' canaries: where a step of one fails, or is of unknown outcome, nothing new of its plan is begun this
        time.

        Raises:
            OutputError: the journal cannot be written; nothing more is done.
        """
        ledger = self._ledger()
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
            known = len(self.journal.rows)
            outcome = self._advance(tracked.item)
            has_tried = any(row.event is Event.RESULT for row in self.journal.rows[known:])  # else it is but unreadable
            is_open = tracked.ended is None and self._tracked(tracked.item).intent is not None
            if (outcome.standing is Standing.FAILED and has_tried and tracked.ended is None) or is_open:
                failed.setdefault(tracked.plan_id, tracked.item)
            yield outcome

    def _ledger(self) -> Ledger:
        for row in self.journal.rows[self._taken :]:
            self._known.take(row)
        self._taken = len(self.journal.rows)
        return self._known

    def _tracked(self, item: Item) -> Tracked:
        return self._ledger().items[item.id]

    def _advance(self, item: Item) -> Outcome:
        hands = self.hands(item)
        steps: list[Step] = []
        begun = len(self.journal.rows)
        try:
            for _ in range(MOST_STEPS):
                tracked = self._tracked(item)
                if tracked.intent is not None and not self.simulates:
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
        waiting = self._heal(tracked, hands)
        if waiting is not None:
            return self._settled(self._tracked(tracked.item), waiting)
        healed = self._tracked(tracked.item)
        is_over = healed.ended is not None and healed.intent is None
        if healed.failed is not None and (is_new or is_over):
            return Outcome(tracked.item, Standing.FAILED, f"{intent.told['step']}: {healed.failed}")
        return Outcome(tracked.item, Standing.DONE, str(healed.ended)) if is_over else None

    def _go_on(self, tracked: Tracked, hands: Hands, steps: list[Step]) -> Outcome | None:
        """Decide what comes next, and do it; None where more may come."""
        item, live = tracked.item, hands.look()
        tracked = self._as_seen(tracked, live, hands)
        ledger = self._ledger()
        on, on_again = ledger.switched_on.get(item.key.id), ledger.on_again.get(item.key.id)
        terms = replace(self.terms(tracked), switched_on=on, on_again=on_again)
        decision = self._bounded(item, decide(item, tracked.done, live, terms))
        if isinstance(decision, Adopted) and not self.simulates:
            self._add(tracked, Event.ADOPTED, evidence=decision.evidence)
            return None
        if not isinstance(decision, Do) or self.simulates or self.stopping():
            return self._settled(tracked, decision)
        failure = self._do(tracked, decision.step, live, hands)
        if failure is not None:
            return Outcome(item, Standing.FAILED, failure)
        if self._tracked(item).intent is None:
            steps.append(decision.step)
        return None

    def _as_seen(self, tracked: Tracked, live: Live, hands: Hands) -> Tracked:
        """Write down where AWS shows the old key otherwise than before: later nothing else tells of it."""
        item, done, now = tracked.item, tracked.done, hands.now()
        old, before = live.key(item.key.id), done.seen or item.key.status
        if live.user_id != item.user_id or old is None or old.status is before or is_settling(done, now):
            return tracked
        if self.simulates:
            return replace(tracked, done=as_seen(done, now, old.status))
        self._add(tracked, Event.SEEN, status=old.status.value)
        return self._tracked(item)

    def pass_over(self, item: Item, reason: str, who: str) -> Outcome:
        """Do nothing about an item that cannot be looked at, and write down why.

        Raises:
            OutputError: the journal cannot be written.
        """
        tracked, told = self._tracked(item), {"reason": reason, "who": who}
        is_known = tracked.passed_over is not None and dict(tracked.passed_over.told) == told
        if not (self.simulates or is_known):
            self._add(tracked, Event.PASSED_OVER, **told)
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
            self._add(tracked, Event.ANNOUNCED, reason=told, until=due.isoformat(), who=item.owner or "")
        return replace(outcome, told=told, until=due, who=item.owner or "")

    def _announcements(self, item: Item) -> int:
        """How many there were: one that is repeated after a crash has the number, and so the key, of the lost one."""
        return sum(row.item == item.id and row.event is Event.ANNOUNCED for row in self.journal.rows)

    def _note(self, tracked: Tracked, event: Event, **told: str | None) -> None:
        """Written down unless it is what was written down last."""
        last = tracked.waiting
        is_known = last is not None and last.event is event and dict(last.told) == told
        if self.simulates or (is_known and tracked.passed_over is None):
            return
        self._add(tracked, event, **told)

    def _add(self, tracked: Tracked, event: Event, **told: object) -> None:
        self.journal.add(tracked.plan_id, tracked.item.id, event, **told)

    # --------------------------------------------------------------------------------------------- doing

    def _do(self, tracked: Tracked, step: Step, live: Live, hands: Hands) -> str | None:
        """Make the step; None where it came off or its outcome is to be looked at, else why it certainly did not."""
        self._disruptions += _is_counted(tracked.item, step)
        intent, keys = uuid4().hex, [key.access_key_id for key in live.keys]
        old = live.key(tracked.item.key.id)
        used = old.last_used.at.isoformat() if old and isinstance(old.last_used, UsedAt) else None
        told = {"used_at": used} if step is Step.DEACTIVATE else {}
        self._add(tracked, Event.INTENT, step=step.value, intent=intent, by=self.by, keys=keys, **told)
        if live.read_at is not None and hands.now() - live.read_at > STOOD_STILL:  # others may have the journal by now
            why = "not sent: this machine stood still for a while"
            self._add(tracked, Event.RESULT, step=step.value, intent=intent, outcome="failed", why=why)
            return why
        try:
            result = self._done(tracked, step, live, hands, intent)
        except AwsFailure as failure:
            if not is_definite(failure):
                log.warning("%s: whether it was done is not known: %s", tracked.item.where, failure)
                return None  # the intent is open: what AWS shows settles it
            if self._tracked(tracked.item).made is not None:
                return None  # there is a key whose secret is not stored
            self._add(tracked, Event.RESULT, step=step.value, intent=intent, outcome="failed", why=str(failure))
            return str(failure)
        except Exception:
            with suppress(AwsFailure, OutputError, ApprovalError):  # a key that nobody has the secret of does not stay
                if step is Step.CREATE:
                    self._heal(self._tracked(tracked.item), hands)
            raise
        outcome = "failed" if "why" in result else "done"
        self._add(tracked, Event.RESULT, step=step.value, intent=intent, outcome=outcome, **told, **result)
        return result.get("why")

    def _done(self, tracked: Tracked, step: Step, live: Live, hands: Hands, intent: str) -> dict[str, str]:
        item, done = tracked.item, tracked.done
        match step:
            case Step.PREPARE:
                hands.prepare(intent)
            case Step.CREATE:
                key = hands.create(intent, lambda made: self._add(tracked, Event.MADE, key=made))
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

    # --------------------------------------------------------------------------------------------- healing

    def _heal(self, tracked: Tracked, hands: Hands) -> Decision | None:
        """Settle what was begun and has no result; None where it is settled, else what it waits for.

        Raises:
            AwsFailure: AWS cannot be asked.
        """
        intent = tracked.intent
        assert intent is not None
        step, live = Step(intent.told["step"]), hands.look()
        tracked = self._as_seen(tracked, live, hands)
        if live.user_id != tracked.item.user_id:
            outcome = UNKNOWN if step in SHOWN else "failed"  # what was done to it before it went shows nowhere
            self._settle(tracked, intent, outcome=outcome, why="the user is gone")
            return None
        if step is Step.CREATE:
            return self._heal_create(tracked, live, hands)
        return self._heal_other(tracked, step, live, hands)

    def _settle(self, tracked: Tracked, intent: Row, **told: object) -> None:
        """Write down what came of what was begun."""
        self._add(tracked, Event.RESULT, step=intent.told["step"], intent=intent.told["intent"], **told)

    def _heal_other(self, tracked: Tracked, step: Step, live: Live, hands: Hands) -> Decision | None:
        """These can be made again, so what counts is whether AWS shows it as done, which may take a moment.

        Of a key that was to be switched on or off, that it is so need not be our doing.
        """
        intent, done, now = tracked.intent, tracked.done, hands.now()
        assert intent is not None
        old = live.key(tracked.item.key.id)
        match step:
            case Step.PUBLISH:
                is_done = live.stored is not None and live.stored.current == done.version
            case Step.DEACTIVATE | Step.REACTIVATE:
                is_done = old is not None and old.status is SWITCHES[step]
            case Step.RESTORE:
                before = tracked.item.delivery.current if tracked.item.delivery else None
                is_done = live.stored is not None and live.stored.current == before
            case Step.DELETE:
                is_done = old is None
            case _:
                is_done = False
        if not is_done and step in SHOWN and now - intent.at < SETTLES:
            return Wait(f"whether AWS did what was asked ({step.value}) is not known yet", intent.at + SETTLES)
        if self._is_gone_over(tracked, intent, step, is_done=is_done):
            why = f"whether it was done ({step.value}) is not known: AWS shows what was done to the key after it"
            self._settle(tracked, intent, outcome=UNKNOWN, why=why)
        elif step in SWITCHES and old is not None and (is_done or self._may_be_on_again(tracked, step)):
            return self._whose_doing(tracked, intent, old.status, hands)
        elif is_done:
            self._settle(tracked, intent, outcome="done")
        elif step is Step.DEACTIVATE and old is None:
            self._settle(tracked, intent, outcome=UNKNOWN, why="no answer came, and the key was deleted since")
        else:
            why = "what came of it was not known, and AWS shows that it was not done"
            self._settle(tracked, intent, outcome="failed", why=why)
        return None

    @staticmethod
    def _may_be_on_again(tracked: Tracked, step: Step) -> bool:
        """Whether a key that is on though it was to be off is a matter for who may need it; none that leaked is."""
        return step is Step.DEACTIVATE and not tracked.item.own and not tracked.item.urgent

    def _whose_doing(self, tracked: Tracked, intent: Row, status: KeyStatus, hands: Hands) -> Decision | None:
        """A key is on, or off: what we did to it is what CloudTrail has our call of, whoever went over it since.

        Users may not ask CloudTrail of their own keys, and nobody else is at them: there the key's state counts.
        """
        step, shows = Step(intent.told["step"]), status.value.lower()
        is_so = status is SWITCHES[step]
        told = {"used_at": intent.told.get("used_at")} if step is Step.DEACTIVATE else {}
        if tracked.item.own:
            self._settle(tracked, intent, outcome="done", shows=shows, **told)
            return None
        age, name, unread = hands.now() - intent.at, str(intent.told["intent"]), ""
        is_ours = False
        try:
            is_ours = hands.was_switched(SWITCHES[step], name, intent.at - timedelta(minutes=5))
        except AwsFailure as failure:
            if failure.may_pass and TRAIL_TAKES <= age < TRAIL_IS_ASKED:
                raise
            unread = f", and CloudTrail cannot be asked: {failure}"
        if is_ours:
            self._settle(tracked, intent, outcome="done", **({} if is_so else {"shows": shows}), **told)
        elif age < TRAIL_TAKES:
            what = f"whether we did it or somebody else ({step.value}) is not known yet; CloudTrail will tell"
            return Wait(what, intent.at + TRAIL_TAKES)
        elif is_so or unread:
            by = "whether we did it or somebody else" if is_so else "whether we switched it off before"
            why = f"no answer came, and the key is {status.value}: {by} is not known{unread or ' by CloudTrail'}"
            self._settle(tracked, intent, outcome=UNKNOWN, shows=shows, why=why)
        else:
            why = f"no answer came, the key is {status.value}, and CloudTrail has no call of ours"
            self._settle(tracked, intent, outcome="failed", why=why)
        return None

    def _is_gone_over(self, tracked: Tracked, intent: Row, step: Step, *, is_done: bool) -> bool:
        """Whether somebody may have switched the key on or off since, so that AWS does not show what came of it."""
        key = tracked.item.key.id
        if step is Step.DEACTIVATE:
            on = self._ledger().switched_on.get(key)
            return on is not None and on >= intent.at
        return step is Step.REACTIVATE and not (is_done and self._ledger().is_last_try(key, str(intent.told["intent"])))

    def _heal_create(self, tracked: Tracked, live: Live, hands: Hands) -> Decision | None:
        intent = tracked.intent
        assert intent is not None
        name, before = str(intent.told["intent"]), set(intent.told["keys"])
        version = version_of(tracked.item, name)
        if live.stored is not None and version in live.stored.versions:
            key = hands.stored_key(version)
            if key is not None and live.key(key) is not None:
                self._settle(tracked, intent, outcome="done", key=key, version=version)
                return None
        if tracked.made is not None:
            return self._discard(tracked, tracked.made, hands, "its secret is stored nowhere")
        strangers = [key.access_key_id for key in live.keys if key.access_key_id not in before]
        return self._whose(tracked, intent, strangers, hands)

    def _whose(self, tracked: Tracked, intent: Row, strangers: Sequence[str], hands: Hands) -> Decision | None:
        """Keys appeared since one was to be made, or none: ours is the one that CloudTrail says so of, and no other."""
        age = hands.now() - intent.at
        if not strangers:
            if age < SETTLES:
                return Wait("whether a key was made is not known yet", intent.at + SETTLES)
            self._settle(tracked, intent, outcome="failed", why="no key was made")
            return None
        ours: list[str] = []
        with suppress(AwsFailure):
            ours = hands.made_by(str(intent.told["intent"]), intent.at - timedelta(minutes=5))
        mine = next((key for key in strangers if key in ours), None)
        if mine is not None:
            return self._discard(tracked, mine, hands, "CloudTrail says that we made it, and nobody has its secret")
        if age < TRAIL_TAKES:
            return Wait("a key is there that may be ours; CloudTrail will tell", intent.at + TRAIL_TAKES)
        ids = ", ".join(strangers)
        return Ask("ORPHAN_SUSPECT", f"{ids} appeared when a key was to be made; find out whose it is, then `release`")

    def _discard(self, tracked: Tracked, key_id: str, hands: Hands, why: str) -> Decision | None:
        """Delete a key that we made and nobody can use; switched off where it cannot be deleted."""
        begun = tracked.begun_as(Step.CREATE)
        intent = str(begun.told["intent"]) if begun else ""
        if tracked.made is None:  # once it is deleted, nothing shows any more that it was ours
            self._add(tracked, Event.MADE, key=key_id)
        try:
            hands.delete(key_id, intent)
        except AwsFailure as failure:
            if tracked.discarded is None:
                with suppress(AwsFailure):
                    hands.set_status(key_id, KeyStatus.INACTIVE, intent)
                    self._add(tracked, Event.DISCARDED, key=key_id, how="inactive", why=why)
            return Ask("ORPHAN_KNOWN", f"{key_id} was made, {why}, and it cannot be deleted: {failure}")
        if tracked.discarded != "deleted":
            self._add(tracked, Event.DISCARDED, key=key_id, how="deleted", why=why)
        told = {"step": "create", "intent": intent, "outcome": "failed", "why": f"{key_id} was deleted again: {why}"}
        self._add(tracked, Event.RESULT, **told)
        return None
