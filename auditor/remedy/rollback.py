"""To switch a key on again by hand: at once, whatever stands in the way, and the journal told of it in the end."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from uuid import uuid4

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure
from auditor.aws.key_writes import is_definite, set_key_status
from auditor.aws.keys import active_keys
from auditor.aws.loop import run
from auditor.errors import ApprovalError, AuditorError, OutputError, UsageError
from auditor.model import KeyStatus, UnknownUse
from auditor.remediation.decision import Step
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Journal
from auditor.remediation.lifecycle import is_others_use
from auditor.remediation.progress import Ledger, fold
from auditor.remediation.protection import Protection
from auditor.remediation.tracked import Tracked
from auditor.remedy.accounts import Accounts
from auditor.remedy.means import Means

log = logging.getLogger(__name__)

PATIENCE = 30 * 60.0
"""For how many seconds a journal is tried that somebody else is at work with: longer than a table's lease lasts."""

BLINDLY = 10.0
"""After how many seconds it is done again by who cannot look whether it has to be."""

NOT_ONCE_MORE: Mapping[bool | None, str] = {
    True: "{} was shown as active, as it may have been before others were done, and was not switched on once more.",
    False: "{} was active, was shown as inactive after that, and could not be switched on once more.",
    None: "Whether {} stayed active cannot be read, nor could it be switched on once more.",
}
"""What is said where a key that was on cannot be switched on again, by how it was seen."""

UNTOLD, AGAIN = "The journal was not told.", "Run the same command again when the journal is free."


def switch_on(
    means: Means,
    name: str,
    whose: tuple[str | None, str | None],
    reason: str,
    on_wait: Callable[[str], object] = log.warning,
) -> str:
    """Switch a key on again, which needs no approval; the key's id.

    The journal is told before, where nobody is at work with it; else as soon as it can be told, and until then the key
    is looked at again and again. Of an item whose new key nobody uses yet, applications read the old key's secret
    again, where that is stored.

    Args:
        means: what it is done with.
        name: an item, whose old key it is; or a key's id, of which the journal tells or `whose` it is.
        whose: the key's account and user, for which the journal is not needed.
        reason: why, for the journal.
        on_wait: hears how the key stands, where the journal has to be waited for.

    Raises:
        UsageError: which key is meant is not known.
        AwsFailure: it cannot be switched on, or was switched off again meanwhile.
        ApprovalError: it is on, but whoever is at work with the journal may switch it off again.
    """
    name = name.strip()
    _confirm_named(name, whose)
    with ExitStack() as stack:
        opened = _opened_at_once(stack, means) if means.has_journal or None not in whose else None
        key = _key_meant(means, opened[1] if opened else None, name, whose)
        entry = _Entry(key, uuid4().hex, means.operator.who.arn, reason)
        caller = replace(key.accounts.restoring(key.account_id, own=key.is_own), intent=entry.intent)
        deed = _Deed(key, caller, on_wait)
        journal = opened[0] if opened and _is_told(entry, opened[0]) else None
        if journal is None:
            stack.close()
        _send(deed, is_told=journal is not None)
        try:
            _tell(stack, means, entry, deed, journal)
        except (OutputError, ApprovalError, UsageError, AwsFailure) as error:
            is_aws = isinstance(error, AwsFailure)
            if not isinstance(error, AwsFailure | _UntoldError):
                deed.keep_on(is_last=True)  # others may have gone on since it was seen
            if deed.failure is not None:
                deed.failure.add_note(f"The journal may not tell of it: {error}")
            elif isinstance(error, _UntoldError):
                raise
            else:
                left = "What applications read may not be moved back" if is_aws else "The journal may not tell of it"
                if None in whose or (deed.is_beside and not is_aws):
                    raise _UntoldError(f"{deed.stands} {left}: {error}") from error
                log.warning("%s %s: %s", deed.stands, left, error)
        if deed.failure is not None:
            if deed.failure.may_be_done and not deed.was_on:
                deed.failure.add_note(f"{key.id} may be active all the same: look, or run the same command again.")
            raise deed.failure
        return key.id


def _send(deed: "_Deed", *, is_told: bool) -> None:
    """As `_Deed.send`; where it is interrupted, it is said what that means."""
    try:
        deed.send()
    except KeyboardInterrupt as interruption:
        what = f"Interrupted. {deed.stands}{'' if is_told else f' {UNTOLD}'}"
        raise _UntoldError(what, next_step="Run the same command again.") from interruption


def _confirm_named(name: str, whose: tuple[str | None, str | None]) -> None:
    """UsageError where it is not said whole whose key it is, or where that is said of an item."""
    if (whose[0] is None) is not (whose[1] is None):
        step = "Give both --account and --user, or neither where the journal knows the key."
        raise UsageError("Whose key it is takes an account and a user.", next_step=step)
    if None not in whose and name != name.upper():
        raise UsageError(f"{name} is no access key id.", next_step="An item needs neither --account nor --user.")


class _UntoldError(ApprovalError):
    """A key was switched on, or may be, and what else belongs to that is not done: the journal is not told of it."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that is to be switched on again, and by which callers."""

    id: str
    account_id: str
    user: str
    is_own: bool
    accounts: Accounts
    tracked: Tracked | None = None
    """The item that it is the old key of, as far as the journal could be read."""


def _key_meant(means: Means, ledger: Ledger | None, name: str, whose: tuple[str | None, str | None]) -> _Key:
    """Which key that is; raises as `switch_on`, and where the journal is needed for it, what that raises."""
    account_id, user = whose
    if account_id is None or user is None:
        ledger = means.ledger() if ledger is None else ledger
        named = ledger.items.get(name)
        tracked = next(iter(ledger.about(named.item.key.id if named else name)), None)  # a later one may be under way
        if tracked is None:
            step = "Give the id of an item, or a key id with --account and --user."
            raise UsageError(f"There is no item {name}.", next_step=step)
        accounts, item = means.accounts_of(ledger), tracked.item
        return _Key(item.key.id, item.account_id, item.user, accounts.is_own(item), accounts, tracked)
    operator = means.operator
    accounts = means.accounts([means.account(account_id, operator.who.partition)])
    key = _Key(name, account_id, user, operator.is_user(account_id, user), accounts)
    return replace(key, tracked=_item_about(key, ledger)) if ledger is not None else key


def _item_about(key: _Key, ledger: Ledger) -> Tracked | None:
    """The last item about a key of this user; None where there is none."""
    found = next(iter(ledger.about(key.id)), None)
    if found is None or found.item.account_id != key.account_id:
        return None
    is_theirs = found.item.user.casefold() == key.user.casefold()  # names of IAM are one whatever their case
    return found if is_theirs else None


@dataclass
class _Deed:
    """To switch a key on: once, and again where somebody switches it off; and how that stands."""

    key: _Key
    caller: Caller
    on_wait: Callable[[str], object]
    failure: AwsFailure | None = None
    """What AWS said last instead of doing it."""
    was_on: bool = False
    """AWS did it, if only for a while."""
    is_on: bool = False
    """As was seen last."""
    is_beside: bool = False
    """Somebody else was at work with the journal after it was done."""
    sent_at: float = 0.0
    """When AWS was asked last, in seconds of the monotonic clock."""

    @property
    def stands(self) -> str:
        """In words."""
        return f"{self.key.id} is active now." if self.is_on else f"Whether {self.key.id} is active is not known."

    def told_beside(self, busy: AuditorError) -> str:
        """How it stands, in words, before the journal is waited for."""
        if self.failure is None:
            return f"{self.stands} {busy.what} Until the journal can be told, the key is kept active."
        return f"{self.failure}. {busy.what} That is waited for, so that nothing else is done about {self.key.id}."

    def send(self, note: str = "") -> None:
        """Have AWS do it; `note` is what is to be said where it does not. Never raises what AWS says."""
        before, self.is_on, self.sent_at = self.failure, False, time.monotonic()
        try:
            run(set_key_status(self.caller, self.key.user, self.key.id, KeyStatus.ACTIVE))
        except AwsFailure as failure:
            was_open = before is not None and before.may_be_done
            failure.may_be_done = failure.may_be_done or was_open or self.was_on  # all have the same intent
            if self.was_on and note:
                failure.add_note(note)
            self.failure = failure
        else:
            self.failure, self.was_on, self.is_on = None, True, True

    def keep_on(self, *, is_last: bool = False) -> None:
        """Whoever was at work when it was switched on may have switched it off after that.

        Args:
            is_last: nobody is at work any more, so that what is done now stays; it is done whatever is seen, since
                ListAccessKeys may show for a moment what was before.
        """
        key = self.key
        if self.failure is not None and is_definite(self.failure) and not self.failure.may_pass:
            return
        try:
            is_seen: bool | None = key.id in run(
                active_keys(key.accounts.caller(key.account_id, None, own=key.is_own), key.user)
            )
        except AwsFailure as failure:  # whoever may only switch keys on does that
            log.debug("%s/%s: whether the key stayed active cannot be read: %s", key.account_id, key.user, failure)
            is_seen = None
        if is_last or is_seen is False or (is_seen is None and time.monotonic() - self.sent_at >= BLINDLY):
            self.send(NOT_ONCE_MORE[is_seen].format(key.id))
        elif is_seen:
            self.is_on, self.failure = True, None if self.was_on else self.failure


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the journal is told of a key that is switched on by hand."""

    key: _Key
    intent: str
    by: str
    reason: str

    def begin(self, journal: Journal) -> None:
        """It is about to be done, and nothing else is to be done about its item; raises as `Journal.add`."""
        key, tracked = self.key, self.key.tracked
        if tracked is None:
            journal.add("", "", Event.SWITCHING_ON, **self._of_no_item())
            return
        for one in fold(journal.rows).about(key.id):
            if one.ended is None:
                journal.add(one.plan_id, one.item.id, Event.HELD, reason=self.reason, by=_os_user())
        told = {"step": Step.REACTIVATE.value, "intent": self.intent, "by": self.by, "keys": [key.id]}
        journal.add(tracked.plan_id, tracked.item.id, Event.INTENT, **told, reason=self.reason)

    def end(self, journal: Journal, **outcome: str) -> None:
        """What came of it; raises as `Journal.add`."""
        tracked = self.key.tracked
        if tracked is None:
            journal.add("", "", Event.SWITCHED_ON, **self._of_no_item(), **outcome)
            return
        told = {"step": Step.REACTIVATE.value, "intent": self.intent, **outcome}
        journal.add(tracked.plan_id, tracked.item.id, Event.RESULT, **told)

    def fail(self, journal: Journal, failure: AwsFailure) -> None:
        """It was not done, or no answer says whether: then the next tick finds out; raises as `Journal.add`."""
        if is_definite(failure):
            self.end(journal, outcome="failed", why=str(failure))
        elif self.key.tracked is not None:
            tracked = self.key.tracked
            journal.add(tracked.plan_id, tracked.item.id, Event.UNANSWERED, intent=self.intent)

    def _of_no_item(self) -> dict[str, str]:
        key = self.key
        whose = {"account_id": key.account_id, "user": key.user, "key": key.id}
        return {**whose, "reason": self.reason, "intent": self.intent, "by": self.by}


def _is_told(entry: _Entry, journal: Journal) -> bool:
    """Whether the journal has it; where not, it is done all the same."""
    try:
        entry.begin(journal)
    except (OutputError, ApprovalError) as error:
        log.debug("%s is switched on before the journal is told: %s", entry.key.id, error)
        return False
    return True


def _tell(stack: ExitStack, means: Means, entry: _Entry, deed: _Deed, journal: Journal | None) -> None:
    """As `_told_after`; once more with patience, where a table was asked but once, or is another's by now."""
    try:
        _told_after(stack, means, entry, deed, journal)
    except (OutputError, ApprovalError):
        if journal is None:
            raise
        stack.close()
        _told_after(stack, means, entry, deed, None)


def _told_after(stack: ExitStack, means: Means, entry: _Entry, deed: _Deed, journal: Journal | None) -> None:
    """Write down what came of it; of a key that is on: see that it stays so, and is read again.

    Args:
        stack: where a journal stays open.
        means: what it is done with.
        entry: of the key.
        deed: what was done.
        journal: where it stands that it was begun; None where nothing was told yet.

    Raises:
        ApprovalError: somebody else is at work with the journal for long, or this machine's clock is wrong.
        OutputError: it cannot be written.
        AwsFailure: what applications read cannot be moved back.
    """
    key, was_waited_for = entry.key, journal is None
    if journal is None:
        journal = _journal_when_free(stack, means, deed)
        key = replace(key, tracked=_item_about(key, fold(journal.rows)))  # whoever was at work with it may have gone on
        entry = replace(entry, key=key)
    said = {row.event for row in journal.rows if row.told.get("intent") == entry.intent}
    if not said & {Event.INTENT, Event.SWITCHING_ON}:
        entry.begin(journal)
    if was_waited_for or (key.tracked is not None and deed.failure is None):
        deed.keep_on(is_last=was_waited_for)
    is_settled = bool(said & {Event.RESULT, Event.SWITCHED_ON})
    if deed.failure is not None:
        if not is_settled:
            entry.fail(journal, deed.failure)
        return
    if not is_settled:
        entry.end(journal, outcome="done")
    if key.tracked is None:
        return
    ledger = fold(journal.rows)
    for one in ledger.about(key.id):  # it may be to be switched off by one item, and rotated by another
        if one.done.version is not None:
            hands = Hands(one.item, means.accounts_of(ledger), Protection())
            _move_back(journal, hands, one, {"by": entry.by, "reason": entry.reason})


def _opened_at_once(stack: ExitStack, means: Means) -> tuple[Journal, Ledger] | None:
    """The journal, which is made where there is none, and what it tells; None where it cannot be used at once."""
    try:
        means.operator_on_time()
        with ExitStack() as opening:
            journal = opening.enter_context(means.journal(attempts=1))
            ledger = fold(journal.rows)
            stack.push(opening.pop_all())
            return journal, ledger
    except (OutputError, ApprovalError, UsageError) as error:
        log.debug("the journal is not told before: %s", error)
        return None


def _journal_when_free(stack: ExitStack, means: Means, deed: _Deed) -> Journal:
    """The journal, when a tick that is at work with it is done; until then the key is looked at again and again.

    Raises:
        ApprovalError: somebody else is at work with it for long, this is interrupted, or this machine's clock is wrong.
        OutputError: it cannot be used.
    """
    means.operator_on_time()
    until, who, is_shared = time.monotonic() + PATIENCE, "", means.config.remediation.journal.table is not None
    try:
        while True:
            try:
                return stack.enter_context(means.journal())
            except (ApprovalError, OutputError) as busy:
                if isinstance(busy, OutputError) and not (deed.is_beside and is_shared):
                    raise  # a table that was there a moment ago may answer again
                who = f"{busy.what} Whoever that is may switch the key off again."
                if not deed.is_beside:
                    deed.is_beside = True
                    deed.on_wait(deed.told_beside(busy))
                deed.keep_on()
                if time.monotonic() >= until:
                    raise _UntoldError(f"{deed.stands} {UNTOLD} {who}", next_step=AGAIN) from busy
                time.sleep(1.0)
    except KeyboardInterrupt as interruption:
        what = f"Interrupted. {deed.stands} {UNTOLD} {who}".rstrip()
        raise _UntoldError(what, next_step=AGAIN) from interruption


def _move_back(journal: Journal, hands: Hands, tracked: Tracked, why: Mapping[str, str]) -> None:
    """Let applications read the old key's secret again, where it is stored and the new one is dead, or nobody uses it.

    Where both keys work, whichever they read is good; what they already use stays what they read.
    """
    item, done = tracked.item, tracked.done
    before = item.delivery.current if item.delivery else None
    if item.delivery is None or item.delivery.store == "profile":  # which has nothing but the key that it holds now
        return
    live = hands.look()
    new = live.key(done.new_key)
    if live.stored is None or live.stored.current != done.version:
        return
    is_alive = new is not None and new.status is KeyStatus.ACTIVE
    if is_alive and new is not None and (isinstance(new.last_used, UnknownUse) or is_others_use(new.last_used)):
        return
    if before is None or hands.stored_key(before) != item.key.id:
        works = "which works as well" if is_alive else f"which is gone or inactive: put {item.key.id} there"
        what = "%s is active; applications read %s from %s, %s"
        log.warning(what, item.key.id, done.new_key, item.delivery.place, works)
        return
    if tracked.begun_as(Step.PUBLISH) is not None:  # it came off, which nothing shows once it is taken back
        journal.add(tracked.plan_id, item.id, Event.RESULT, step=Step.PUBLISH.value, outcome="done")
    step, intent, keys = Step.RESTORE.value, uuid4().hex, [key.access_key_id for key in live.keys]
    journal.add(tracked.plan_id, item.id, Event.INTENT, step=step, intent=intent, keys=keys, **why)
    try:
        hands.publish(before, done.version)
    except AwsFailure as failure:
        told = {"step": step, "intent": intent, "outcome": "failed", "why": str(failure)}
        if is_definite(failure):
            journal.add(tracked.plan_id, item.id, Event.RESULT, **told)
        else:  # the next tick sees what came of it
            journal.add(tracked.plan_id, item.id, Event.UNANSWERED, intent=intent)
        raise
    journal.add(tracked.plan_id, item.id, Event.RESULT, step=step, intent=intent, outcome="done")


def _os_user() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"
