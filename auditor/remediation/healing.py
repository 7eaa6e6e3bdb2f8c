"""What was begun and has no result: only what AWS shows settles it, and for whose doing it was, CloudTrail's proof."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from auditor.aws.failures import AwsFailure
from auditor.model import KeyStatus
from auditor.remediation.decision import Ask, Decision, Live, Step, Wait
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Row
from auditor.remediation.key_state import SETTLES
from auditor.remediation.lifecycle import version_of
from auditor.remediation.progress import SWITCHES, UNKNOWN, Book
from auditor.remediation.tracked import Tracked

TRAIL_IS_ASKED = timedelta(days=3)
"""For how long a CloudTrail that does not answer is asked again, before it counts as one that cannot be asked."""

TRAIL_TAKES = timedelta(minutes=20)
"""How long CloudTrail may take to tell of a call (CloudTrail: event history; 15 minutes, and some)."""

SHOWN = frozenset({Step.PUBLISH, Step.DEACTIVATE, Step.REACTIVATE, Step.RESTORE, Step.DELETE})
"""Steps of which AWS shows whether they were done, after a moment."""


@dataclass(frozen=True, slots=True)
class Healer:
    """See the module; `hands` are the item's."""

    book: Book
    hands: Hands

    def heal(self, tracked: Tracked) -> Decision | None:
        """Settle what was begun and has no result; None where it is settled, else what it waits for.

        Raises:
            AwsFailure: AWS cannot be asked.
        """
        intent = tracked.intent
        assert intent is not None
        step, live = Step(intent.told["step"]), self.hands.look()
        self.book.see(tracked.item, live, self.hands.now())
        tracked = self.book.item(tracked.item)
        if live.user_id != tracked.item.user_id:
            outcome = UNKNOWN if step in SHOWN else "failed"  # what was done to it before it went shows nowhere
            self._settle(tracked, intent, outcome=outcome, why="the user is gone")
            return None
        if step is Step.CREATE:
            return self._heal_create(tracked, live)
        return self._heal_other(tracked, step, live)

    def _settle(self, tracked: Tracked, intent: Row, **told: object) -> None:
        """Write down what came of what was begun."""
        self.book.add(tracked, Event.RESULT, step=intent.told["step"], intent=intent.told["intent"], **told)

    def _heal_other(self, tracked: Tracked, step: Step, live: Live) -> Decision | None:
        """These can be made again, so what counts is whether AWS shows it as done, which may take a moment.

        Of a key that was to be switched on or off, that it is so need not be our doing.
        """
        intent, done, now = tracked.intent, tracked.done, self.hands.now()
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
        over_at = tracked.over_at(intent)
        if not is_done and step in SHOWN and now - over_at < SETTLES:
            return Wait(f"whether AWS did what was asked ({step.value}) is not known yet", over_at + SETTLES)
        if self._is_gone_over(tracked, intent, step, is_done=is_done):
            why = f"whether it was done ({step.value}) is not known: AWS shows what was done to the key after it"
            self._settle(tracked, intent, outcome=UNKNOWN, why=why)
        elif step in SWITCHES and old is not None and (is_done or self._may_be_on_again(tracked, step)):
            return self._whose_doing(tracked, intent, old.status)
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

    def _whose_doing(self, tracked: Tracked, intent: Row, status: KeyStatus) -> Decision | None:
        """A key is on, or off: what we did to it is what CloudTrail has our call of, whoever went over it since.

        Users may not ask CloudTrail of their own keys, and nobody else is at them: there the key's state counts.
        """
        step, shows = Step(intent.told["step"]), status.value.lower()
        is_so = status is SWITCHES[step]
        told = {"used_at": intent.told.get("used_at")} if step is Step.DEACTIVATE else {}
        if tracked.item.own:
            self._settle(tracked, intent, outcome="done", shows=shows, **told)
            return None
        over_by, name, unread = tracked.over_by(intent), str(intent.told["intent"]), ""
        age = self.hands.now() - over_by
        is_ours = False
        try:
            is_ours = self.hands.was_switched(SWITCHES[step], name, intent.at - timedelta(minutes=5))
        except AwsFailure as failure:
            if failure.may_pass and TRAIL_TAKES <= age < TRAIL_IS_ASKED:
                raise
            unread = f", and CloudTrail cannot be asked: {failure}"
        if is_ours:
            self._settle(tracked, intent, outcome="done", **({} if is_so else {"shows": shows}), **told)
        elif age < TRAIL_TAKES:
            what = f"whether we did it or somebody else ({step.value}) is not known yet; CloudTrail will tell"
            return Wait(what, over_by + TRAIL_TAKES)
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
        state = self.book.ledger.key(tracked.item.key.id)
        if step is Step.DEACTIVATE:
            return not is_done and state.switched_on_at is not None and state.switched_on_at >= intent.at
        return step is Step.REACTIVATE and not (is_done and state.is_last_try(str(intent.told["intent"])))

    def _heal_create(self, tracked: Tracked, live: Live) -> Decision | None:
        intent = tracked.intent
        assert intent is not None
        name, before = str(intent.told["intent"]), set(intent.told["keys"])
        version = version_of(tracked.item, name)
        if live.stored is not None and version in live.stored.versions:
            key = self.hands.stored_key(version)
            if key is not None and live.key(key) is not None:
                self._settle(tracked, intent, outcome="done", key=key, version=version)
                return None
        if tracked.made is not None:
            return self._discard(tracked, tracked.made, "its secret is stored nowhere")
        strangers = [key.access_key_id for key in live.keys if key.access_key_id not in before]
        return self._whose(tracked, intent, strangers)

    def _whose(self, tracked: Tracked, intent: Row, strangers: Sequence[str]) -> Decision | None:
        """Keys appeared since one was to be made, or none: ours is the one that CloudTrail says so of, and no other."""
        age, over_at = self.hands.now() - tracked.over_by(intent), tracked.over_at(intent)
        if not strangers:
            if self.hands.now() - over_at < SETTLES:
                return Wait("whether a key was made is not known yet", over_at + SETTLES)
            self._settle(tracked, intent, outcome="failed", why="no key was made")
            return None
        ours: list[str] = []
        with suppress(AwsFailure):
            ours = self.hands.made_by(str(intent.told["intent"]), intent.at - timedelta(minutes=5))
        mine = next((key for key in strangers if key in ours), None)
        if mine is not None:
            return self._discard(tracked, mine, "CloudTrail says that we made it, and nobody has its secret")
        if age < TRAIL_TAKES:
            return Wait("a key is there that may be ours; CloudTrail will tell", tracked.over_by(intent) + TRAIL_TAKES)
        ids = ", ".join(strangers)
        return Ask("ORPHAN_SUSPECT", f"{ids} appeared when a key was to be made; find out whose it is, then `release`")

    def _discard(self, tracked: Tracked, key_id: str, why: str) -> Decision | None:
        """Delete a key that we made and nobody can use; switched off where it cannot be deleted."""
        begun = tracked.begun_as(Step.CREATE)
        intent = str(begun.told["intent"]) if begun else ""
        if tracked.made is None:  # once it is deleted, nothing shows any more that it was ours
            self.book.add(tracked, Event.MADE, key=key_id)
        try:
            self.hands.delete(key_id, intent)
        except AwsFailure as failure:
            if tracked.discarded is None:
                with suppress(AwsFailure):
                    self.hands.set_status(key_id, KeyStatus.INACTIVE, intent)
                    self.book.add(tracked, Event.DISCARDED, key=key_id, how="inactive", why=why)
            return Ask("ORPHAN_KNOWN", f"{key_id} was made, {why}, and it cannot be deleted: {failure}")
        if tracked.discarded != "deleted":
            self.book.add(tracked, Event.DISCARDED, key=key_id, how="deleted", why=why)
        told = {"step": "create", "intent": intent, "outcome": "failed", "why": f"{key_id} was deleted again: {why}"}
        self.book.add(tracked, Event.RESULT, **told)
        return None
