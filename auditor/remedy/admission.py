"""What a plan must be before it is taken into the journal, beyond being approved.

Approvers see a plan and sign it, but its file may have been written by anybody: so what it says of where secrets go is
held against the configuration, as if it were made now.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from auditor.aws.credentials_file import credentials_path
from auditor.errors import ApprovalError, CapError, UsageError
from auditor.history import last_seen_active
from auditor.remediation.caps import Count
from auditor.remediation.plan import Delivery, Item, Kind, Plan
from auditor.remediation.planning import with_mail
from auditor.remediation.progress import Ledger
from auditor.remedy.drafting import measures_of
from auditor.remedy.means import Means


class NotAdmittedError(ApprovalError):
    """No approval can have this plan taken."""


def admit(means: Means, plan: Plan, ledger: Ledger) -> None:
    """Refuse a plan that is not as it would be made here and now.

    Args:
        means: what it is to be carried out with.
        plan: a plan that is in no journal yet.
        ledger: what the journal knows.

    Raises:
        NotAdmittedError: it is not what the configuration gives, or takes the place of something else.
        CapError: with what is under way it has more keys than the configuration allows now.
        AwsFailure: AWS does not know the caller.
    """
    ids = Counter(item.id for item in plan.items)
    taken = sorted(name for name, count in ids.items() if count > 1 or name in ledger.items)
    if taken:
        what = f"The plan has items that are there already: {', '.join(taken)}."
        raise NotAdmittedError(what, where=plan.id, next_step="Nothing was done. Plan anew.")
    for item in plan.items:
        on = ledger.key(item.key.id).switched_on_at
        if on is not None and on >= plan.created_at and not item.makes_key:
            what = f"{item.where}: the key was switched on by hand at {on:%Y-%m-%d %H:%M}Z, after it was planned."
            step = "Nothing was done. Ask who needs it, and plan anew."
            raise NotAdmittedError(what, where=plan.id, next_step=step)
    active = _seen_active(means, plan, ledger)
    for item in plan.items:
        why = next(_wrong(means, item, active.get(item.id)), None)
        if why is not None:
            step = "Nothing was done. Plan anew, and see who wrote the plan: its file is not edited by hand."
            raise NotAdmittedError(f"{item.where}: {why}.", where=plan.id, next_step=step)
    _confirm_room(means, plan, ledger)


def _confirm_room(means: Means, plan: Plan, ledger: Ledger) -> None:
    """As planning counts; what a plan says of how many keys there are is what its approvers saw."""
    among = plan.among
    count = Count(measures_of(means, ledger, among.active_keys if among else None, among.in_use if among else {}))
    count.open(ledger.open(), means.timing.now())
    for item in plan.items:
        why = count.refusal(item)
        if why is not None:
            step = "Nothing was done. Plan anew, with fewer keys or when what is under way is done."
            raise CapError(f"{item.where}: no room: {why}.", where=plan.id, next_step=step)


def _seen_active(means: Means, plan: Plan, ledger: Ledger) -> Mapping[str, datetime]:
    """When keys that the plan has as inactive were last known to be active, by the item's id.

    By runs since the instant that the plan says, by the journal, which has when it switched them off and on, and by
    their use.
    """
    items = {
        (item.account_id, item.user, item.key.created_at): (item, item.inactive_since)
        for item in plan.items
        if item.inactive_since is not None
    }
    if not items:
        return {}
    after = min(since for _, since in items.values())
    seen = last_seen_active(Path(means.config.output.folder), items.keys(), after, means.timing.now())
    known = {
        item.id: [
            seen.get(key),
            ledger.key(item.key.id).switched_off_at,
            ledger.key(item.key.id).active_at,
            item.key.last_used.at,
        ]
        for key, (item, _) in items.items()
    }
    return {name: max(at for at in times if at) for name, times in known.items() if any(times)}


def _wrong(means: Means, item: Item, active: datetime | None) -> Iterator[str]:
    if item.own and not means.operator.is_user(item.account_id, item.user):
        yield "it is planned as an own key, and is not yours"
    is_told = item.covers(Kind.DELETE) or (item.covers(Kind.DEACTIVATE) and not item.urgent)
    if item.owner is None and is_told:
        yield "nobody is known who could be told before the key stops working"
    house, waits = means.config.remediation, item.waits
    if waits.quiet_days < house.quiet_days or waits.quarantine_days < house.quarantine_days:
        yield "it waits for fewer days than the configuration wants"
    if waits.grace_days < house.grace_days and not item.own:
        yield "it gives the application fewer days than the configuration wants"
    since = item.inactive_since
    if since is not None and active is not None and since < active:
        told = f"it says that the key is inactive since {since:%Y-%m-%d %H:%M}Z"
        yield f"{told}, and it was active at {active:%Y-%m-%d %H:%M}Z"
    yield from _misdelivered(means, item)


def _misdelivered(means: Means, item: Item) -> Iterator[str]:
    """Why the secret of the new key would go where the configuration does not send it."""
    told = item.delivery
    if told is None:
        if item.makes_key:
            yield "it does not say where the new key goes"
        return
    if told.store == "profile":
        if not item.own:
            yield "only one's own key goes into a credentials file"
        if told.file != str(credentials_path().absolute()):
            yield f"the new key would go into {told.file}, which is not your credentials file"
        return
    if item.own:
        yield "one's own key goes into one's own credentials file"
    try:
        expected = with_mail(means.delivery(item), item.user, item.key.last_used)
    except UsageError as error:  # into a file that would be lost, or that nobody could read
        yield error.what.rstrip(".")
        return
    for name in Delivery.model_fields:
        is_ours = name != "current"  # that is AWS's matter, and read before the first step
        if is_ours and getattr(told, name) != getattr(expected, name):
            yield f"the new key would go to {told.place}, and the configuration sends it to {expected.place} ({name})"
