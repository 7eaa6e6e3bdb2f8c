"""What a person does in between: look for orphans, hold, release, confirm, close, and switch a key on again."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from uuid import uuid4

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure
from auditor.aws.key_writes import is_definite, set_key_status
from auditor.aws.keys import look_up_user
from auditor.aws.loop import run
from auditor.errors import ApprovalError, OutputError, UsageError
from auditor.model import KeyStatus, UnknownUse
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Journal
from auditor.remediation.lifecycle import Step, is_others_use
from auditor.remediation.orphans import Orphan, find_orphans
from auditor.remediation.plan import Item
from auditor.remediation.progress import Ledger, Tracked, fold
from auditor.remediation.protection import Protection
from auditor.remedy.accounts import Accounts
from auditor.remedy.means import Means

log = logging.getLogger(__name__)

PATIENCE = 60
"""How often, once a second, a journal is tried that somebody else is at work with."""


def orphans_in(means: Means, only: Sequence[str] = ()) -> list[Orphan]:
    """Keys that were made here and whose secret nobody can have; of these accounts, or of all. Reads only."""
    ledger = means.ledger()
    accounts = means.accounts_of(ledger)
    chosen = [one for one in ledger.items.values() if not only or one.item.account_id in only]
    return find_orphans(chosen, lambda item: Hands(item, accounts, Protection()))


def tell_journal(means: Means, item_id: str, event: Event, **told: str) -> Tracked:
    """Write down what a person says of an item: hold, release, confirm.

    Raises:
        UsageError: there is no such item, it is at its end, or what was said cannot be said of it now.
    """
    _confirm_clock(means)
    with means.journal() as journal:
        tracked = _open_item(journal, item_id)
        if event is Event.CONFIRMED and tracked.done.published_at is None:
            step = "`auditor remediate status` says how far it is."
            raise UsageError("There is no new key yet that an application could use.", where=item_id, next_step=step)
        if event is Event.RELEASED and tracked.intent is not None and _is_suspect(tracked):
            step = str(tracked.intent.told["step"])
            journal.add(tracked.plan_id, item_id, Event.RESULT, step=step, outcome="failed", why="settled by hand")
        journal.add(tracked.plan_id, item_id, event, **told)
        return _item(fold(journal.rows), item_id)


def close_item(means: Means, item_id: str, reason: str, by: str, *, unsettled: bool = False) -> Tracked:
    """End an item where it is; nothing is done in AWS.

    Args:
        means: what it is done with.
        item_id: the item's.
        reason: why, for the journal.
        by: who says so.
        unsettled: also where a step that was begun has no result, as when an account cannot be entered any more.

    Raises:
        UsageError: there is no such item, it is at its end, or it is unsettled.
    """
    _confirm_clock(means)
    with means.journal() as journal:
        tracked = _open_item(journal, item_id)
        if tracked.intent is not None and not unsettled:
            what = f"Whether the step that was begun last, {tracked.intent.told['step']}, was made is not known."
            step = "`auditor remediate tick` finds out, or says what to do; where it cannot, add --unsettled."
            raise UsageError(what, where=item_id, next_step=step)
        journal.add(tracked.plan_id, item_id, Event.ENDED, how=f"closed: {reason}", by=by)
        return tracked


def switch_on(means: Means, name: str, whose: tuple[str | None, str | None], reason: str) -> str:
    """Switch a key on again, which needs no approval; the key's id.

    Of an item whose new key nobody uses yet, applications read the old key's secret again, where that is stored.

    Args:
        means: what it is done with.
        name: an item, whose old key it is; or a key's id, of which the journal tells or `whose` it is.
        whose: the key's account and user, for which the journal is not needed; it is told all the same where it can be.
        reason: why, for the journal.

    Raises:
        UsageError: which key is meant is not known.
        AwsFailure: it cannot be switched on.
    """
    account_id, user = whose
    if account_id is not None and user is not None:  # the journal may be lost, or changed
        operator = means.operator
        accounts = means.accounts([means.account(account_id, operator.who.partition)])
        caller = accounts.restoring(account_id, own=operator.is_user(account_id, user))
        caller = replace(caller, intent=uuid4().hex)
        run(set_key_status(caller, user, name, KeyStatus.ACTIVE))
        try:
            ledger = means.ledger()
            tracked = _last_of(ledger, name)
            if tracked is not None and (tracked.item.account_id, tracked.item.user) == (account_id, user):
                _tell_of(means, means.accounts_of(ledger), tracked, caller, reason)
            elif means.has_journal:
                told = {"account_id": account_id, "user": user, "key": name, "reason": reason, "intent": caller.intent}
                with ExitStack() as stack:
                    journal = _journal_when_free(stack, means, lambda: None)
                    journal.add("", "", Event.SWITCHED_ON, **told, by=operator.who.arn)
        except (OutputError, ApprovalError, UsageError, AwsFailure) as error:
            log.warning("%s was switched on, which the journal may not tell: %s", name, error)
        return name
    ledger = means.ledger()
    tracked = ledger.items.get(name) or _last_of(ledger, name)
    if tracked is None:
        step = "Give the id of an item, or a key id with --account and --user."
        raise UsageError(f"There is no item {name}.", next_step=step)
    item = tracked.item
    accounts = means.accounts_of(ledger)
    caller = replace(accounts.restoring(item.account_id, own=accounts.is_own(item)), intent=uuid4().hex)
    run(set_key_status(caller, item.user, item.key.id, KeyStatus.ACTIVE))
    try:
        _tell_of(means, accounts, tracked, caller, reason)
    except (OutputError, ApprovalError, UsageError, AwsFailure) as error:
        error.add_note(f"{item.key.id} was switched on all the same; look whether it still is when others are done.")
        raise
    return item.key.id


def _last_of(ledger: Ledger, key_id: str) -> Tracked | None:
    """The last item about a key."""
    return next((one for one in reversed(ledger.items.values()) if one.item.key.id == key_id), None)


def _tell_of(means: Means, accounts: Accounts, tracked: Tracked, caller: Caller, reason: str) -> None:
    """Write down that an item's key was switched on by this caller, hold the item, and see that it stays on.

    Raises:
        ApprovalError: somebody else is at work with the journal for long.
        OutputError: it cannot be written.
        AwsFailure: what applications read cannot be moved back.
    """
    item, step, by = tracked.item, Step.REACTIVATE.value, means.operator.who.arn
    told = {"step": step, "intent": caller.intent, "by": by, "keys": [item.key.id], "reason": reason}
    with ExitStack() as stack:
        journal = _journal_when_free(stack, means, lambda: _keep_on(accounts, item, caller))
        tracked = fold(journal.rows).items[item.id]  # whoever was at work with it may have gone on
        journal.add(tracked.plan_id, item.id, Event.INTENT, **told)
        journal.add(tracked.plan_id, item.id, Event.RESULT, step=step, outcome="done")
        if tracked.ended is None:
            journal.add(tracked.plan_id, item.id, Event.HELD, reason=reason, by=_os_user())
        _keep_on(accounts, item, caller)
        _move_back(journal, Hands(item, accounts, Protection()), tracked, {"by": by, "reason": reason})


def _journal_when_free(stack: ExitStack, means: Means, meanwhile: Callable[[], None]) -> Journal:
    """The journal, when a tick that is at work with it is done; until then the key is looked at again and again.

    Raises:
        ApprovalError: somebody else is at work with it for long.
    """
    for left in reversed(range(PATIENCE)):
        try:
            return stack.enter_context(means.journal())
        except ApprovalError:
            meanwhile()
            if not left:
                raise
            time.sleep(1.0)
    raise AssertionError


def _keep_on(accounts: Accounts, item: Item, caller: Caller) -> None:
    """A tick that was at work when the key was switched on may have switched it off after that; now none is."""
    try:
        keys = run(look_up_user(accounts.reading(item), item.user)).keys
    except AwsFailure as failure:  # whoever may only switch keys on did that
        log.warning("%s: whether the key stayed active cannot be read: %s", item.where, failure)
        return
    if any(key.access_key_id == item.key.id and key.status is KeyStatus.INACTIVE for key in keys):
        run(set_key_status(caller, item.user, item.key.id, KeyStatus.ACTIVE))


def _move_back(journal: Journal, hands: Hands, tracked: Tracked, why: Mapping[str, str]) -> None:
    """Let applications read the old key's secret again, where it is stored and AWS shows that nobody uses the new one.

    Both keys work, so whichever they read is good; what they already use stays what they read.
    """
    item, done = tracked.item, tracked.done
    before = item.delivery.current if item.delivery else None
    # a file has nothing but the key that it holds now
    if item.delivery is None or item.delivery.store == "profile" or before is None or done.published_at is None:
        return
    live = hands.look()
    new = live.key(done.new_key)
    used = new.last_used if new is not None else UnknownUse("it is gone")
    is_unused = not (isinstance(used, UnknownUse) or is_others_use(used))
    is_read = live.stored is not None and live.stored.current == done.version
    if not (is_unused and is_read and done.version is not None and hands.stored_key(before) == item.key.id):
        return
    step, keys = Step.RESTORE.value, [key.access_key_id for key in live.keys]
    journal.add(tracked.plan_id, item.id, Event.INTENT, step=step, intent=uuid4().hex, keys=keys, **why)
    try:
        hands.publish(before, done.version)
    except AwsFailure as failure:
        if is_definite(failure):  # else the next tick sees what came of it
            journal.add(tracked.plan_id, item.id, Event.RESULT, step=step, outcome="failed", why=str(failure))
        raise
    journal.add(tracked.plan_id, item.id, Event.RESULT, step=step, outcome="done")


def _is_suspect(tracked: Tracked) -> bool:
    """Whether a person was asked whose a key is: only that is settled by a person's word, else by what AWS shows."""
    asked = tracked.waiting
    return asked is not None and asked.event is Event.ASKED and asked.told["code"] == "ORPHAN_SUSPECT"


def _confirm_clock(means: Means) -> None:
    """Of a journal that others write as well, the lease and every wait go by the time; raises as `operator_on_time`."""
    if means.config.remediation.journal.table is not None:
        means.operator_on_time()


def _open_item(journal: Journal, item_id: str) -> Tracked:
    tracked = _item(fold(journal.rows), item_id)
    if tracked.ended is not None:
        raise UsageError(f"It is at its end: {tracked.ended}.", where=item_id, next_step="Plan anew.")
    return tracked


def _item(ledger: Ledger, item_id: str) -> Tracked:
    if item_id not in ledger.items:
        step = "`auditor remediate status` lists them."
        raise UsageError(f"There is no item {item_id}.", next_step=step)
    return ledger.items[item_id]


def _os_user() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"
