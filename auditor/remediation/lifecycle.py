"""What is to be done next about one key, from what was done and what is live. Pure: no clock, no AWS.

    rotate      prepared -> created -> verified -> published -> adopted
    deactivate                                                  -> inactive
    delete                                                                  -> deleted

There is no way to `deleted` but through `inactive`, and none to `inactive` while the key may still be needed. What is
live is read right before every step; where it differs from what the plan and the journal say, the step is not made.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from shlex import quote
from uuid import NAMESPACE_URL, uuid5

from auditor.model import KeyStatus, LastUsed, LiveKey, UnknownUse, UsedAt
from auditor.remediation.decision import (
    Adopted,
    Announce,
    Ask,
    Decision,
    Do,
    Done,
    Live,
    Progress,
    Refuse,
    Step,
    Terms,
    Wait,
)
from auditor.remediation.key_state import SETTLES
from auditor.remediation.plan import Delivery, Item, Kind, days

MARGIN = timedelta(hours=6)
"""How late AWS may tell of a use (GetAccessKeyLastUsed)."""

GRAIN = timedelta(minutes=15)
"""How exactly AWS tells when a key was used (GetAccessKeyLastUsed)."""

NOTICE = timedelta(hours=24)
"""How long before a disruptive step its owner is told."""

NOTICE_OF_DELETION = timedelta(hours=72)

NOTICE_HOLDS = timedelta(days=14)
"""How long after its due time what was announced may still be done: later, nobody thinks of it any more."""


ESCALATES = timedelta(days=30)
"""How long after its new key was published an application may go on with the old one before a person is asked."""


ALREADY_OFF: Mapping[bool | None, str] = {
    False: "somebody else switched the key off; ask what for, and `close` the item, or `rollback` and `release` it",
    None: "no answer came when the key was switched off, so somebody else may have done it; ask, and `close` the item, "
    "`rollback`, or `release` it, from when on it counts as switched off here",
    True: "another item switched the key off; `close` this one, `rollback`, or `release` it, from when on it counts as "
    "switched off by this one",
}
"""What a person is asked about a key that an item did not switch off: by who did; None where that is not known."""


BY_WHOM: Mapping[bool | None, str] = {
    False: "somebody else switched it off",
    None: "whether by us or by somebody else is not known",
    True: "another item switched it off",
}
"""How an item ends whose key is off, and was to be off and no more."""

SHARED = frozenset({"secretsmanager", "ssm"})
"""Stores that applications go on reading, so that what is there is what they use after their next start."""


def decide(item: Item, done: Progress, live: Live, terms: Terms) -> Decision:
    """What comes next for an item: of all that may be said of it, the first counts."""
    return next(_decisions(item, done, live, terms))


def _decisions(item: Item, done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
    yield from _ended(item, done)
    if live.user_id is None:
        yield Done("the user is gone")
    if live.user_id != item.user_id:
        yield Refuse("USER_REPLACED", "the user was deleted and another was made with the same name")
    if done.held is not None:
        yield Wait(f"held: {done.held}", who="whoever held it, with `release`")
    if terms.approved is None:
        yield Wait(f"not approved{_unproved(terms)}", who="an approver")
    if live.stopped is not None:
        if not live.stopped.is_sure:
            yield Wait(live.stopped.why, who="whoever may let it be read")
        is_untouched = done.new_key is None and done.inactive_at is None
        if is_untouched:
            yield Refuse("PROTECTED", live.stopped.why)
        yield Ask("PROTECTED", f"begun, and {live.stopped.why}: take the protection away, or `close` the item")
    if item.kind is Kind.ROTATE and done.published_at is None:
        yield from _begin(item, done, live, terms) if done.new_key is None else _bring(item, done, live, terms)
    yield from _retire(item, done, live, terms)


def _ended(item: Item, done: Progress) -> Iterator[Done]:
    if done.deleted_at is not None:
        yield Done("deleted")
    if done.inactive_at is not None and item.through is not Kind.DELETE and done.held is None:
        yield Done("inactive")
    if done.published_at is not None and item.through is Kind.ROTATE:
        yield Done("rotated")


# ------------------------------------------------------------------------------------------------- rotate


def _begin(item: Item, done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
    """Until there is a new key."""
    if not terms.may_begin:
        yield Refuse("EXPIRED", "the plan expired before it was begun")
    if item.key.id in terms.own_keys and not item.own:
        yield Refuse("SELF", "the key signs the auditor's own calls")
    yield from _changed(item, live)
    yield from _exposed(item, live)
    if live.exposed is not None:
        yield Wait(live.exposed.why, who="whoever can let it be read")
    if len(live.keys) > 1:
        yield Refuse("TWO_KEYS", "the user has another key, and AWS allows two; no key is removed to make room")
    yield from _unusable(item, live)
    yield Do(Step.PREPARE if done.prepared_at is None or live.stored is None else Step.CREATE)


def _unusable(item: Item, live: Live) -> Iterator[Refuse]:
    """Why the secret is not any more what the plan saw."""
    stored, seen = live.stored, _delivery(item).current
    if stored is None:
        if seen is not None:
            yield Refuse("SECRET_CHANGED", "the secret that the plan saw is gone")
        return
    if stored.is_deleted:
        yield Refuse("SECRET_DELETED", "the secret is scheduled for deletion")
    if stored.rotates_itself:
        yield Refuse("SECRET_ROTATES", "Secrets Manager rotates the secret by itself")
    if stored.is_foreign:
        yield Refuse("SECRET_CHANGED", "the parameter is somebody else's: its readers take whatever is put into it")
    if stored.current not in {seen, sentinel_of(item), None}:
        yield Refuse("SECRET_CHANGED", "another version of the secret is current than when the plan was made")


def _exposed(item: Item, live: Live, first: str = "") -> Iterator[Ask]:
    """Others have a key of the user, which is switched off at once, and not rotated; `first` is to be done before that.

    Which one it is AWS does not say.
    """
    if live.exposed is None or not live.exposed.is_sure:
        return
    active = [key.access_key_id for key in live.keys if key.status is KeyStatus.ACTIVE]
    whose = f"--user {quote(item.user)} --account {item.account_id}"
    step = f"{first}`auditor key deactivate KEY {whose} --leaked --reason TEXT` switches a key off at once"
    yield Ask("QUARANTINED", f"{live.exposed.why}: {step}; active: {', '.join(active) or 'none'}")


def _changed(item: Item, live: Live) -> Iterator[Refuse]:
    """Why the key is not any more what the plan saw."""
    key = live.key(item.key.id)
    if key is None:
        yield Refuse("KEY_GONE", "the key is gone")
    elif key.created_at != item.key.created_at or key.status is not item.key.status:
        yield Refuse("KEY_CHANGED", f"the key was {item.key.status.value} and is {key.status.value}")


def _bring(item: Item, done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
    """Until the new key is where its application reads it."""
    yield from _new_key_lost(done, live, terms)
    yield from _exposed(item, live, f"`auditor remediate close {item.id}`, and then ")
    stored = live.stored
    if stored is None or done.version not in stored.versions:
        if is_settling(done, terms.at):
            yield Wait("the store does not show the new secret yet", terms.at + SETTLES)
        yield Ask("SECRET_LOST", "the version of the secret that holds the new key is gone")
        return
    if done.verified_at is None:
        yield Do(Step.VERIFY)
    allowed = {done.version, _delivery(item).current or sentinel_of(item)}
    if stored.rotates_itself or stored.current not in allowed:
        yield Ask("SECRET_CHANGED", "somebody else rotates the same secret: another version is current")
    yield Do(Step.PUBLISH)


def _new_key_lost(done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
    new = live.key(done.new_key)
    if new is not None and new.status is KeyStatus.ACTIVE:
        return
    if is_settling(done, terms.at):
        yield Wait("AWS does not show the new key yet", terms.at + SETTLES)
    what = "the new key is gone or inactive, so the old one may be the last that works"
    yield Ask("NEW_KEY_LOST", f"{what}: leave it, find out who did that, and `close` the item")


def _delivery(item: Item) -> Delivery:
    assert item.delivery is not None, "a rotation has one"
    return item.delivery


def sentinel_of(item: Item) -> str:
    """The version id of an item's sentinel or marker."""
    return version_of(item, "preflight")


def version_of(item: Item, what: str) -> str:
    """A version id of the item's secret, the same one whenever it is asked for: a UUID out of the item's id."""
    return str(uuid5(NAMESPACE_URL, f"auditor/{item.id}/{what}"))


# ------------------------------------------------------------------------------------------------- deactivate, delete


def _retire(item: Item, done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
    old = live.key(item.key.id)
    if old is None:
        is_begun = done.inactive_at is not None or done.published_at is not None
        yield Done("gone: somebody else deleted the key") if is_begun else Refuse("KEY_GONE", "the key is gone")
        return
    if isinstance(old.last_used, UnknownUse):
        yield Wait(f"the key's last use is not known: {old.last_used.why}")
    known = terms.key
    if known.status is not None and old.status is not known.status and known.is_settling(terms.at):
        yield Wait(f"AWS may not show yet that the key is {known.status.value}", terms.at + SETTLES)
    if item.kind is Kind.DELETE or done.inactive_at is not None:
        yield from _delete(item, done, live, old, terms)
    if old.status is not KeyStatus.ACTIVE:
        if done.published_at is not None:
            yield from _new_key_lost(done, live, terms)
        is_moved = item.kind is Kind.DEACTIVATE or done.adopted_at or done.confirmed_by or _use_of_new(done, live)
        if item.through is Kind.DEACTIVATE and is_moved:
            yield Done(f"inactive: {BY_WHOM[known.is_off_by_us]}")
        yield Ask("ALREADY_INACTIVE", ALREADY_OFF[known.is_off_by_us])
    if terms.needed_at is not None and not (item.urgent or item.own):
        on = f"the key was inactive, and is active again, as was seen at {terms.needed_at:%Y-%m-%d %H:%M}Z"
        yield Ask("REACTIVATED", f"{on}: ask who needs it, then `release` or `close`")
    yield from _deactivate(item, done, live, old, terms)


def _deactivate(item: Item, done: Progress, live: Live, old: LiveKey, terms: Terms) -> Iterator[Decision]:
    yield from _exposed(item, live) if item.makes_key else ()
    if not _is_approved(Kind.DEACTIVATE, terms):
        yield Wait(f"to be switched off, which is not approved{_unproved(terms)}", who="an approver")
    if item.key.id in terms.own_keys:
        if item.own:
            yield Wait("the key signs these calls; call with the new one", who=item.user)
        yield Refuse("SELF", "the key signs the auditor's own calls")
    if item.kind is Kind.ROTATE:
        yield from _new_key_lost(done, live, terms)
        yield from _read_elsewhere(item, done, live, terms)
        yield from _adoption(item, done, live, old, terms)
    elif _is_over(item, done, terms):
        yield Refuse("EXPIRED", "the plan expired before it was begun")
    yield from _quiet(item, done, live, old, terms)
    yield from _announced(item, Step.DEACTIVATE, NOTICE, done, old, terms)


def _read_elsewhere(item: Item, done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
    """Why the old key cannot go: the store does not give applications the new one.

    What was handed over as a file may be gone from here, and a profile is its owner's own.
    """
    if _delivery(item).store not in SHARED:
        return
    stored = live.stored
    if stored is not None and stored.current == done.version and not stored.is_deleted:
        return
    if is_settling(done, terms.at):
        yield Wait("the store does not show yet what applications read", terms.at + SETTLES)
    if stored is None or stored.is_deleted or done.version not in stored.versions:
        yield Ask(
            "SECRET_LOST", "the version of the secret that holds the new key is gone, so nobody can read it again"
        )
    yield Ask("SECRET_CHANGED", "applications read another version of the secret than the one with the new key")


def _adoption(item: Item, done: Progress, live: Live, old: LiveKey, terms: Terms) -> Iterator[Decision]:
    """What is missing before the new key counts as the one in use.

    A use counts only when it is later than our own check of the key, which AWS shows as a use by sts.
    """
    assert done.published_at is not None
    assert done.verified_at is not None
    whose = item.owner or "the application's owner"
    until = done.published_at + days(item.waits.grace_days)
    if terms.at < until:
        yield Wait(f"the application has time to move to the new key{_use_of_old(old)}", until, whose)
    if done.adopted_at is not None:
        return
    if done.confirmed_by is not None:
        yield Adopted(f"confirmed by {done.confirmed_by}")
    used = _use_of_new(done, live)
    if used is not None:
        yield Adopted(f"the new key was used by {used.service or 'a service'} at {used.at.isoformat()}")
    if terms.at >= done.published_at + ESCALATES:
        reason = f"nobody used the new key in {ESCALATES.days} days; ask {whose}, then `confirm`{_use_of_old(old)}"
        yield Ask("NOT_ADOPTED", reason, whose)
    taken = ", and its file is gone: ask whether its owner took it, and else rotate anew" if live.is_taken else ""
    yield Wait(f"the new key has not been used yet{taken}{_use_of_old(old)}", who=whose)


def _use_of_new(done: Progress, live: Live) -> UsedAt | None:
    """The last use of the new key by somebody else than us, where there is one that is certainly later than ours."""
    new = live.key(done.new_key)
    used = new.last_used if new else None
    if isinstance(used, UsedAt) and done.verified_at and used.at > done.verified_at + MARGIN and is_others_use(used):
        return used
    return None


def _use_of_old(old: LiveKey) -> str:
    """What still uses the old key, for whoever has to find it."""
    used = old.last_used
    if not isinstance(used, UsedAt):
        return ""
    place = f" in {used.region}" if used.region else ""
    return f"; the old key was last used by {used.service or 'a service'}{place} at {used.at:%Y-%m-%d %H:%M}Z"


def is_others_use(used: LastUsed) -> bool:
    """Whether somebody used a key: a use by sts may be our own check of it, by which no application shows itself."""
    return isinstance(used, UsedAt) and used.service != "sts"


def _quiet(item: Item, done: Progress, live: Live, old: LiveKey, terms: Terms) -> Iterator[Wait | Ask]:
    """What is missing before the old key counts as not needed any more.

    Who switched it on again needed it until it was let go, though AWS may show no use.
    """
    if item.urgent:
        return
    yield from _unknown_cadence(item, live)
    quiet_days = _no_less(item.waits.quiet_days, live)
    used = old.last_used if isinstance(old.last_used, UsedAt) else None
    start = used.at if used else old.created_at
    again = terms.key.quiet_from or start
    until = max(start, done.published_at or start, again) + days(quiet_days) + MARGIN
    if terms.at < until:
        by, whose = _use_of_old(old), item.owner or "its owner"
        if again > max(start, done.published_at or start):
            by = f", from {again:%Y-%m-%d %H:%M}Z on, when it was switched on again or released{by}"
        elif done.published_at and used and used.at > done.published_at + ESCALATES:
            late = f"{ESCALATES.days} days after the new key was published the old one is in use"
            reason = f"{late}{by}; find it: the key is not switched off while it is used"
            yield Ask("STILL_USED", reason, whose)
        yield Wait(f"the key must be quiet for {quiet_days} {'day' if quiet_days == 1 else 'days'}{by}", until, whose)


def _unknown_cadence(item: Item, live: Live) -> Iterator[Wait]:
    if isinstance(live.cadence, str):
        yield Wait(live.cadence, who=item.owner or "its owner")


def _no_less(waits: int, live: Live) -> int:
    """The days that the plan has, or more where the user's tag says so by now: it may have been set since."""
    return max(waits, live.cadence) if isinstance(live.cadence, int) else waits


def _delete(item: Item, done: Progress, live: Live, old: LiveKey, terms: Terms) -> Iterator[Decision]:
    if old.status is KeyStatus.ACTIVE:
        yield from _active_again(done)
    if item.through is not Kind.DELETE:
        yield Done("inactive")
    yield from _switched_on_since(item, done, terms)
    yield from _used_since(item, done, old)
    yield from _exposed(item, live) if item.makes_key else ()
    if not _is_approved(Kind.DELETE, terms):
        yield Wait(f"to be deleted, which is not approved{_unproved(terms)}", who="approvers")
    if item.kind is Kind.DELETE and _is_over(item, done, terms):
        yield Refuse("EXPIRED", "the plan expired before it was begun")
    if done.published_at is not None:
        yield from _new_key_lost(done, live, terms)
        yield from _read_elsewhere(item, done, live, terms)
    since = done.inactive_at or item.inactive_since
    if since is None:
        yield Refuse("INACTIVE_SINCE_UNKNOWN", "since when the key is inactive is not known")
        return
    yield from _unknown_cadence(item, live)
    until = since + days(_no_less(item.waits.quarantine_days, live))
    if terms.at < until:
        yield Wait("the key stays inactive for a while, so that it can be switched on again", until)
    yield from _announced(item, Step.DELETE, NOTICE_OF_DELETION, done, old, terms)


def _active_again(done: Progress) -> Iterator[Refuse | Ask]:
    if done.inactive_at is None:
        yield Refuse("KEY_CHANGED", "the key is active again")
    yield Ask("REACTIVATED", "somebody switched the key on again; ask who needs it, then `release` or `rollback`")


def _switched_on_since(item: Item, done: Progress, terms: Terms) -> Iterator[Refuse | Ask]:
    """Why it is not known how long it is inactive: it was active since, and is inactive anew."""
    since, on = done.inactive_at or item.inactive_since, terms.key.active_at
    if since is None or on is None or on <= since:
        return
    how = "was seen active"
    if on == terms.key.switched_on_at:
        how = "was switched on by hand" if terms.key.is_on_for_sure else "may have been switched on by hand"
    what = f"the key {how} at {on:%Y-%m-%d %H:%M}Z, and is inactive anew"
    if done.inactive_at is None:
        yield Refuse("KEY_CHANGED", f"{what}: plan it anew")
    yield Ask("INACTIVE_ANEW", f"{what}; ask who needs it, then `release`, `rollback` or `close`")


def _used_since(item: Item, done: Progress, old: LiveKey) -> Iterator[Ask]:
    """A use that AWS did not show when the key was taken for quiet, or inactive: somebody may need it.

    A key that was in use when it was switched off may have been used until then, which AWS tells late.
    """
    used = old.last_used.at if isinstance(old.last_used, UsedAt) else None
    known = [item.key.last_used.at if done.inactive_at is None else done.used_when_inactive]
    if done.inactive_at is not None and (item.urgent or item.own):
        known.append(done.inactive_at - GRAIN)
    if used is not None and all(at is None or used > at for at in known):
        since = "planned" if done.inactive_at is None else "switched off"
        what = f"AWS shows a use at {used:%Y-%m-%d %H:%M}Z that it did not show when the key was {since}"
        yield Ask("USED_SINCE", f"{what}; ask who needs it, then `release`, `rollback` or `close`")


def _announced(  # noqa: PLR0913, PLR0917 - a step, and all that it rests on
    item: Item, step: Step, notice: timedelta, done: Progress, old: LiveKey, terms: Terms
) -> Iterator[Decision]:
    """The step itself, when it was told of in time and may be made now; to one's own key one needs no notice.

    Whoever used the key after that, or switched it on or off, was told for nothing.
    """
    if is_at_once(item, step) or item.own:  # nobody has to be told of it
        yield Do(step)
    changed_at = terms.key.changed_at
    if done.announced is None or (changed_at is not None and done.announced < changed_at):
        yield Announce(step, terms.at + notice)
        return
    due = done.announced + notice
    used = old.last_used.at if isinstance(old.last_used, UsedAt) else None
    if terms.at >= due + NOTICE_HOLDS or (used is not None and used > done.announced):
        yield Announce(step, terms.at + notice)
    if terms.at < due:
        yield Wait(f"to {step.value}, as was announced", due, item.owner or "its owner")
    if terms.closed is not None:
        yield Wait(f"to {step.value}; {terms.closed}")
    yield Do(step)


def is_at_once(item: Item, step: Step) -> bool:
    """Whether nothing keeps a step waiting: an exposed key is switched off. To delete it is as urgent as any."""
    return item.urgent and step is Step.DEACTIVATE


def _is_over(item: Item, done: Progress, terms: Terms) -> bool:
    """Whether it was not begun while it might be; to one's own key it is begun by asking for it."""
    return not (terms.may_begin or done.was_begun or item.own)


def _is_approved(kind: Kind, terms: Terms) -> bool:
    return terms.approved is not None and terms.approved.rank >= kind.rank


def _unproved(terms: Terms) -> str:
    return f": {terms.unproved}" if terms.unproved else ""


def is_settling(done: Progress, at: datetime) -> bool:
    """Whether AWS may show what was before the last write."""
    return done.wrote_at is not None and at - done.wrote_at < SETTLES
