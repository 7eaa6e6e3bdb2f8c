"""From a run's findings to a plan: what may be done to which key, as AWS shows it now, and why not to others.

Nothing is planned on the report's word: each user is read live. What is ambiguous, protected, exempt, the caller's own,
managed by a program, unknown, or beyond a cap is told with what somebody can do about it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from uuid import uuid4

from auditor.aws.failures import AwsFailure
from auditor.errors import UsageError
from auditor.model import ROOT_USER, ControlId, KeyStatus, LiveKey, Pause, StoredSecret
from auditor.remediation.caps import Count, Measures
from auditor.remediation.key_state import KeyState
from auditor.remediation.lifecycle import MARGIN
from auditor.remediation.plan import (
    CAREFUL,
    WARNING,
    Basis,
    Blocked,
    Delivery,
    Item,
    Kind,
    PlannedKey,
    Use,
    Waits,
    days,
    use_of,
)
from auditor.remediation.protection import CADENCE, CadenceError, Person, Protection, cadence_of, exposed
from auditor.remediation.tracked import Tracked

WANTED: Mapping[ControlId, Kind] = {
    ControlId.QUARANTINED_KEY: Kind.DEACTIVATE,
    ControlId.KEY_UNUSED: Kind.DEACTIVATE,
    ControlId.KEY_AT_USER_CREATION: Kind.DEACTIVATE,
    ControlId.KEY_AGE: Kind.ROTATE,
    ControlId.INACTIVE_KEY_RETAINED: Kind.DELETE,
}
"""What a finding of a control asks for; of several about one key the first here counts."""

NAMES: Mapping[str, str] = {
    "secretsmanager": "[A-Za-z0-9/_+=.@-]{1,512}",
    "ssm": "[A-Za-z0-9_.-]+|(/[A-Za-z0-9_.-]+)+",
}
"""What a secret may be called (Secrets Manager API reference, CreateSecret; Systems Manager, PutParameter)."""

SES = frozenset({"ses", "ses-smtp", "email"})
"""What AWS calls Amazon SES as the service of a key's last use."""

SES_CONSOLE = "ses-smtp-user."
"""How the SES console names the users that it makes for SMTP."""

UNREAD = "its secret is what applications read at their next start, and no use of it but by sts is known"
"""Why a key that was made here is not unused."""

REST = 1.5
"""How much longer than it was ever seen to rest a key has to be quiet, before it counts as not needed."""

ADVICE: Mapping[str, str] = {
    "ROOT": "Delete the root user's keys by hand; no program should hold them.",
    "SELF": "Let somebody plan it who calls AWS with other credentials.",
    "PROTECTED": "Take the protection away, if it is not meant any more.",
    "MANAGED": "Change it in that program; where none manages the user any more, take the tag away.",
    "TWO_KEYS": "Find out which of the two is needed, and switch the other one off; then plan again.",
    "AMBIGUOUS": "Replace one of the user's keys: the report has no ids, only the second in which a key was created.",
    "UNKNOWN_USE": "Plan again when AWS answers: what is unknown is not taken for never used.",
    "NO_OWNER": "Give the user an owner, by a tag or an [[owners.rule]]: somebody must be told before it stops.",
    "GONE": "Nothing is to be done.",
    "CHANGED": "Run the audit again; the key is not any more what it was.",
    "CADENCE": "Give the days between two uses, such as 92 for a job of each quarter, or take the tag away.",
    "HISTORY": "Mend or remove these runs, or say by the tag auditor:cadence how many days lie between two uses.",
    "QUARANTINED": "Switch its keys off: `auditor key deactivate KEY --user NAME --account ID --leaked --reason TEXT`, "
    "or a plan of the next run.",
    "UNREADABLE": "See that the read role may read the user, and plan again.",
    "SECRET": "Use another name for the secret, or take what is there out of the other program's hands.",
    "TOO_EARLY": "Plan it then, or later.",
    "SINCE_UNKNOWN": "Audit again later: runs tell from when on a key was inactive.",
    "IN_SECRET": "Ask whose secret it is. Rotate the user's key, or switch it off with `auditor key deactivate`.",
    "DELIVERY": "Nothing is planned for this key until it is known where a new one goes; others are not concerned.",
    "OPEN": "It is under way already; `auditor remediate status` says how far.",
    "CAP": "It comes with a later plan, when what is under way is done; or raise the cap in the configuration.",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the run found about one key of a user."""

    account_id: str
    account_name: str | None
    partition: str
    user: str
    key_id: str | None
    created_at: datetime | None
    basis: tuple[Basis, ...]
    owner: str | None
    kind: Kind
    """What is to be done."""
    inactive_since: datetime | None = None
    is_root: bool = False
    is_urgent: bool = False
    """The key is exposed."""
    is_own: bool = False
    """The key is the operator's own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A user as it is now, with the secret that its new key would go to."""

    person: Person
    keys: tuple[LiveKey, ...]
    stored: StoredSecret | None
    in_secrets: frozenset[str] = frozenset()
    """Those of the keys that were made here, that applications read at their next start, and that none used yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What planning goes by."""

    through: Kind
    kinds: frozenset[Kind]
    protection: Callable[[Candidate], Protection]
    delivery: Callable[[Candidate], Delivery]
    waits: Waits
    pauses: Mapping[tuple[str, str], Pause]
    """The longest that keys of a user were seen to rest between two uses, by account and user."""
    unread: Sequence[str]
    """Earlier runs that may have seen them, and cannot be read."""
    measures: Measures
    under_way: Sequence[Tracked]
    """What earlier plans left open."""
    known: Callable[[str], KeyState]
    """What is known of a key by the journal, by its id."""
    own_keys: frozenset[str]
    now: datetime
    lasts: timedelta = timedelta(hours=72)
    """How long a plan may be begun."""
    may_be_unread: bool = False
    """Whether a key may be switched off that applications may read at their next start: a person named it."""


class _BlockedError(Exception):
    """Nothing is planned for this one: the code, and the reason."""


def plan_items(
    candidates: Iterable[Candidate], see: Callable[[Candidate], Seen | None], settings: Settings
) -> tuple[tuple[Item, ...], tuple[Blocked, ...]]:
    """Items of what may be done, canaries first and account by account, and what nothing is planned for, with reasons.

    Args:
        candidates: what the run found.
        see: reads a user live; raises AwsFailure where that cannot be; None for a user who is gone.
        settings: what it goes by.
    """
    items: list[Item] = []
    blocked: list[Blocked] = []
    for candidate in candidates:
        if candidate.kind not in settings.kinds:
            continue
        try:
            items.append(_item(candidate, see, settings))
        except _BlockedError as why:
            blocked.append(_blocked(candidate, *why.args))
    within = list(_within(sorted(items, key=_canaries_first), settings))
    for item, full in within:
        if full is not None:
            blocked.append(_blocked(item, "CAP", f"no room: {full}"))
        elif item.through is not _through(item.kind, settings):
            more = "it is rotated, and the old key is not switched off" if item.makes_key else "it is not deleted later"
            blocked.append(_blocked(item, "NO_OWNER", f"{more}: nobody is known who could be told before"))
    return tuple(item for item, full in within if full is None), tuple(blocked)


def _blocked(what: Candidate | Item, code: str, reason: str) -> Blocked:
    return Blocked(
        account_id=what.account_id,
        account_name=what.account_name,
        user=what.user,
        key_id=what.key.id if isinstance(what, Item) else what.key_id,
        code=code,
        reason=reason,
        advice=ADVICE[code],
    )


def _item(candidate: Candidate, see: Callable[[Candidate], Seen | None], settings: Settings) -> Item:
    if candidate.is_root:
        raise _BlockedError("ROOT", "root keys are never changed by a program")
    whose = (candidate.account_id, candidate.user)
    under_way = [one.item for one in settings.under_way if (one.item.account_id, one.item.user) == whose]
    if under_way and not candidate.is_urgent:
        raise _BlockedError("OPEN", "a key of the user is under way in another plan")
    seen = _seen(candidate, see)
    key = _the_key(candidate, seen.keys)
    if any(one.urgent and one.key.id == key.access_key_id for one in under_way):
        raise _BlockedError("OPEN", "the key leaked, and is under way in another plan")
    planned = _planned(key)
    if planned is None:
        raise _BlockedError("UNKNOWN_USE", "the key's last use is not known")
    if key.access_key_id in settings.own_keys and not (candidate.is_own and candidate.kind is Kind.ROTATE):
        raise _BlockedError("SELF", "the key signs the auditor's own calls")
    controls = {basis.control for basis in candidate.basis}
    stopped = settings.protection(candidate).stops(seen.person, key.access_key_id, controls, settings.now)
    if stopped is not None:
        sure = "MANAGED" if stopped.by_program else "PROTECTED"
        raise _BlockedError(sure if stopped.is_sure else "UNREADABLE", stopped.why)
    in_quarantine = exposed(seen.person) if candidate.kind is Kind.ROTATE else None
    if in_quarantine is not None:
        raise _BlockedError("QUARANTINED" if in_quarantine.is_sure else "UNREADABLE", in_quarantine.why)
    kind = candidate.kind
    is_urgent = candidate.is_urgent
    if kind is not Kind.ROTATE and candidate.owner is None and not is_urgent:
        raise _BlockedError("NO_OWNER", "nobody is known who could be told before the key stops working")
    through = kind if candidate.owner is None else _through(kind, settings)
    since = _inactive_since(candidate, planned, settings) if kind is Kind.DELETE else None
    waits = _waits(candidate, seen.person, through, settings)
    _confirm_time(candidate, planned, since, waits, settings)
    return Item(
        id=uuid4().hex[:12],
        kind=kind,
        through=through,
        account_id=candidate.account_id,
        account_name=candidate.account_name,
        partition=candidate.partition,
        user=candidate.user,
        user_id=seen.person.id,
        key=planned,
        others=tuple(other for one in seen.keys if one is not key and (other := _planned(one))),
        basis=_basis(candidate, key, seen, settings),
        owner=candidate.owner,
        urgent=is_urgent,
        own=candidate.is_own,
        inactive_since=since,
        delivery=_delivery(candidate, seen, planned, settings) if kind is Kind.ROTATE else None,
        waits=waits,
    )


def _confirm_time(
    candidate: Candidate, key: PlannedKey, since: datetime | None, waits: Waits, settings: Settings
) -> None:
    """What could not be announced before its plan expires is not planned: nobody approves what is refused then."""
    is_at_once = candidate.is_urgent and candidate.kind is Kind.DEACTIVATE
    if candidate.kind is Kind.ROTATE or is_at_once or candidate.is_own:
        return
    if candidate.kind is Kind.DELETE:
        if since is None:
            raise _BlockedError("SINCE_UNKNOWN", "since when the key is inactive is not known")
        until, what = since + days(waits.quarantine_days), "stay inactive"
    else:
        quiet = [at for at in (key.last_used.at or key.created_at, settings.known(key.id).quiet_from) if at]
        until, what = max(quiet) + days(waits.quiet_days) + MARGIN, "be quiet"
    if until >= settings.now + settings.lasts:
        told = f"the key has to {what} until {until:%Y-%m-%d %H:%M}Z, and no plan lasts so long"
        raise _BlockedError("TOO_EARLY", told)


def _seen(candidate: Candidate, see: Callable[[Candidate], Seen | None]) -> Seen:
    """The candidate's user as it is now."""
    try:
        seen = see(candidate)
    except AwsFailure as failure:
        raise _BlockedError("UNREADABLE", str(failure)) from failure
    except UsageError as error:
        raise _BlockedError("DELIVERY", f"{error.what} {error.next_step}") from error
    if seen is None:
        raise _BlockedError("GONE", "the user is gone")
    return seen


def _basis(candidate: Candidate, key: LiveKey, seen: Seen, settings: Settings) -> tuple[Basis, ...]:
    """Why it is planned; with a warning where somebody needed the key by hand, or applications may read it yet."""
    warnings, key_id = [], key.access_key_id
    known = settings.known(key_id)
    if known.status is not key.status:
        known = known.seen(key.status, settings.now)
    on, off, again = known.switched_on_at, known.off_at, known.again_at
    is_on_by_hand = on is not None and (off is None or on > off)
    if on is not None and is_on_by_hand:
        why = known.why_switched_on
        warnings.append(f"switched on by hand at {on:%Y-%m-%d %H:%M}Z{f': {why}' if why else '.'}")
    elif off is not None and key.status is KeyStatus.ACTIVE:
        warnings.append(f"switched off here at {off:%Y-%m-%d %H:%M}Z, and active again.")
    elif again is not None and key.status is KeyStatus.ACTIVE:
        warnings.append(f"switched off by somebody, and seen active again at {again:%Y-%m-%d %H:%M}Z.")
    held = (one.done.held for one in settings.under_way if one.item.key.id == key_id and one.done.held is not None)
    warnings += [f"what is under way about it is held: {why}." for why in held]
    if candidate.kind is Kind.DEACTIVATE and key_id in seen.in_secrets and not candidate.is_urgent:
        if not settings.may_be_unread:
            raise _BlockedError("IN_SECRET", UNREAD)
        warnings.append(f"{UNREAD}.")
    return (*candidate.basis, *(Basis(control=WARNING, severity="-", reason=f"{CAREFUL}{one}") for one in warnings))


def _through(kind: Kind, settings: Settings) -> Kind:
    """How far a key is taken where there is somebody to be told of it."""
    return max(kind, settings.through, key=lambda one: one.rank)


def _inactive_since(candidate: Candidate, key: PlannedKey, settings: Settings) -> datetime | None:
    """The latest of what is known: by runs, by the journal, and by a use after both; None where neither knows.

    What was known before it was active again does not count; then it is inactive since now, which can be seen.
    """
    state = settings.known(key.id)
    known = [at for at in (candidate.inactive_since, state.switched_off_at) if at]
    on = state.active_at
    if on is not None:
        known = [at for at in known if at > on] or [settings.now]
    return max([*known, *([key.last_used.at] if key.last_used.at else [])]) if known else None


def _the_key(candidate: Candidate, keys: Sequence[LiveKey]) -> LiveKey:
    """The live key that the finding is about: by id, or one to one by the second of its creation."""
    if candidate.key_id is not None:
        found = [key for key in keys if key.access_key_id == candidate.key_id]
    else:
        found = [key for key in keys if key.created_at == candidate.created_at]
    if len(found) > 1:
        raise _BlockedError("AMBIGUOUS", "two keys of the user were created in the same second")
    if not found:
        raise _BlockedError("GONE", "the key is gone")
    wanted = KeyStatus.INACTIVE if candidate.kind is Kind.DELETE else KeyStatus.ACTIVE
    if found[0].status is not wanted:
        raise _BlockedError("CHANGED", f"the key is {found[0].status.value} by now")
    return found[0]


def _waits(candidate: Candidate, person: Person, through: Kind, settings: Settings) -> Waits:
    """As configured, or longer by the key's own rhythm: as a tag says, or half as long again as it was seen to rest."""
    usual, whys = settings.waits, {}
    try:
        said = cadence_of(person.tags)
    except CadenceError as error:
        if not candidate.is_urgent or through is Kind.DELETE:
            raise _BlockedError("CADENCE", str(error)) from None
        said = None  # an exposed key is switched off however long it rests
    if said is not None:
        whys[said] = f"the tag {CADENCE} says so"
    elif settings.unread and through is not Kind.ROTATE and not candidate.is_urgent:
        runs = ", ".join(settings.unread)
        raise _BlockedError("HISTORY", f"how long the key rests is not known: earlier runs cannot be read ({runs})")
    pause = settings.pauses.get((candidate.account_id, candidate.user))
    if pause is not None:
        rested = f"it rested for {pause.length.days} days before it was used on {pause.ended:%Y-%m-%d}"
        whys[ceil(pause.length / days(1) * REST)] = rested
    longest = max(whys, default=0)
    if longest <= usual.quiet_days:
        return usual
    longer = {"quiet_days": longest, "quarantine_days": max(longest, usual.quarantine_days), "why": whys[longest]}
    return usual.model_copy(update=longer)


def _planned(key: LiveKey) -> PlannedKey | None:
    use = use_of(key.last_used)
    if use is None:
        return None
    return PlannedKey(id=key.access_key_id, created_at=key.created_at, status=key.status, last_used=use)


def _delivery(candidate: Candidate, seen: Seen, key: PlannedKey, settings: Settings) -> Delivery:
    if len(seen.keys) > 1:
        raise _BlockedError("TWO_KEYS", "the user has two keys, and AWS allows no third")
    delivery, stored = settings.delivery(candidate), seen.stored
    if delivery.store in NAMES and not re.fullmatch(NAMES[delivery.store], delivery.secret):
        raise _BlockedError("SECRET", f"{delivery.secret!r} is no name that a secret can have")
    if stored is not None and stored.is_foreign:
        raise _BlockedError("SECRET", f"the parameter {delivery.secret} is somebody else's")
    if stored is not None and (stored.is_deleted or stored.rotates_itself):
        why = "is scheduled for deletion" if stored.is_deleted else "is rotated by Secrets Manager itself"
        raise _BlockedError("SECRET", f"the secret that the new key would go to {why}")
    delivery = with_mail(delivery, candidate.user, key.last_used)
    return delivery.model_copy(update={"current": stored.current if stored else None})


def with_mail(delivery: Delivery, user: str, last_used: Use) -> Delivery:
    """The delivery with the Regions for which a user's key gets SMTP passwords: none, unless it sends mail by SES."""
    regions = {*delivery.smtp_regions, *filter(None, [last_used.region])}
    sends_mail = last_used.service in SES or user.startswith(SES_CONSOLE)
    return delivery.model_copy(update={"smtp_regions": tuple(sorted(regions)) if sends_mail else ()})


def _canaries_first(item: Item) -> tuple[object, ...]:
    """Exposed keys first; then account by account, of each those that were not used for long, which hurt least."""
    used = item.key.last_used.at
    return (not item.urgent, item.account_id, item.kind.rank, used.timestamp() if used else 0.0, item.user, item.key.id)


def _within(items: Sequence[Item], settings: Settings) -> Iterator[tuple[Item, str | None]]:
    """Each item, and why there is no room for it beside what is under way."""
    count = Count(settings.measures)
    count.open(settings.under_way, settings.now)
    for item in items:
        yield item, count.refusal(item)


def candidates_of(rows: Iterable[Mapping[str, object]]) -> Iterator[Candidate]:
    """Findings of the policy, key by key: those that something can be done about."""
    found: dict[tuple[object, ...], Candidate] = {}
    wanted = {control.value for control in WANTED}
    for row in rows:
        if row["control"] not in wanted or row["key_status"] is None:
            continue
        key = (row["account_id"], row["user_arn"], row["slot"], row["access_key_id"], row["created_at"])
        basis = Basis(control=str(row["control"]), severity=str(row["severity"]), reason=str(row["reason"]))
        if key in found:
            found[key] = replace(found[key], basis=(*found[key].basis, basis))
            continue
        owner, name, key_id = row["owner"], row["account_name"], row["access_key_id"]
        created, since = row["created_at"], row["inactive_since"]
        found[key] = Candidate(
            account_id=str(row["account_id"]),
            account_name=str(name) if name else None,
            partition=str(row["user_arn"]).split(":")[1],
            user=str(row["user"]),
            key_id=str(key_id) if key_id else None,
            created_at=created if isinstance(created, datetime) else None,
            basis=(basis,),
            kind=Kind.ROTATE,
            owner=str(owner) if owner else None,
            inactive_since=since if isinstance(since, datetime) else None,
            is_root=row["user"] == ROOT_USER,
        )
    yield from map(_asked_for, found.values())


def _asked_for(candidate: Candidate) -> Candidate:
    """With what the gravest of its findings asks for."""
    found = {basis.control for basis in candidate.basis}
    control = next(control for control in WANTED if control.value in found)
    return replace(candidate, kind=WANTED[control], is_urgent=control is ControlId.QUARANTINED_KEY)
