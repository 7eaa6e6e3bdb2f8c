"""What a person does in between: look for orphans, hold, release, confirm, and close."""

from collections.abc import Sequence

from auditor.errors import UsageError
from auditor.remediation.decision import Step
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Journal
from auditor.remediation.orphans import Orphan, find_orphans
from auditor.remediation.progress import Ledger, fold
from auditor.remediation.protection import Protection
from auditor.remediation.tracked import Tracked
from auditor.remedy.means import Means


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
    if event is Event.RELEASED:  # from then on the key has to be quiet, or is inactive
        means.operator_on_time()
    _confirm_clock(means)
    with means.journal() as journal:
        tracked = _open_item(journal, item_id)
        if event is Event.CONFIRMED and tracked.done.published_at is None:
            step = "`auditor remediate status` says how far it is."
            raise UsageError("There is no new key yet that an application could use.", where=item_id, next_step=step)
        if event is Event.RELEASED and _is_suspect(tracked):
            why = f"settled by hand: {told['reason']}"
            journal.add(tracked.plan_id, item_id, Event.RESULT, step=Step.CREATE.value, outcome="failed", why=why)
            if tracked.done.held is not None:  # by somebody, for another reason
                return _item(fold(journal.rows), item_id)
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
        tracked = _item(fold(journal.rows), item_id)
        if tracked.intent is None:
            tracked = _open_item(journal, item_id)
        elif not unsettled:
            what = f"Whether the step that was begun last, {tracked.intent.told['step']}, was made is not known."
            step = "`auditor remediate tick` finds out, or says what to do; where it cannot, add --unsettled."
            raise UsageError(what, where=item_id, next_step=step)
        journal.add(tracked.plan_id, item_id, Event.ENDED, how=f"closed: {reason}", by=by)
        return tracked


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
