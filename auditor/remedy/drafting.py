"""What every plan is made with, whether a run's findings ask for it or a person."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from auditor import __version__
from auditor.aws.loop import run
from auditor.history import longest_pauses
from auditor.remediation.caps import Measures
from auditor.remediation.hands import run_sealed, see, store_of
from auditor.remediation.lifecycle import is_others_use
from auditor.remediation.plan import Among, Author, Blocked, Delivery, Item, Kind, Limits, Plan, Waits, days
from auditor.remediation.planning import Candidate, Seen, Settings
from auditor.remediation.progress import Ledger
from auditor.remediation.tracked import Tracked
from auditor.remedy.accounts import Accounts
from auditor.remedy.means import Means


@dataclass(frozen=True, slots=True)
class Population:
    """The keys among which a plan chooses, and how many there are, for caps that go by their number."""

    candidates: Sequence[Candidate] = ()
    """All that there are."""
    active_keys: int | None = None
    """None where a person asked for a key."""
    in_use: Mapping[str, int] = field(default_factory=dict)
    """By account."""


def settings_of(means: Means, kinds: frozenset[Kind], through: Kind, among: Population) -> Settings:
    """What planning goes by; raises as `Means.operator_on_time`."""
    config, ledger, now = means.config.remediation, means.ledger(), means.timing.now()
    users = [(one.account_id, one.user) for one in among.candidates]
    rests = longest_pauses(Path(means.config.output.folder), users, now)
    return Settings(
        through=through,
        kinds=kinds,
        protection=lambda candidate: means.protection(candidate.account_id),
        delivery=means.delivery,
        waits=Waits(grace_days=config.grace_days, quiet_days=config.quiet_days, quarantine_days=config.quarantine_days),
        pauses=rests.longest,
        unread=rests.unread,
        measures=measures_of(means, ledger, among.active_keys, among.in_use),
        under_way=ledger.open(),
        known=ledger.key,
        lasts=timedelta(hours=config.approval.plan_hours),
        own_keys=means.operator_on_time().keys,
        now=now,
    )


def measures_of(means: Means, ledger: Ledger, active_keys: int | None, in_use: Mapping[str, int]) -> Measures:
    """What the count of keys under way is held against, by the configuration and what was done well."""
    config = means.config.remediation
    lately = means.timing.now() - days(config.quiet_days)
    limits = Limits(
        max_items=config.max_items,
        max_per_account=config.max_per_account,
        max_percent=config.max_percent,
        max_disruptions_per_tick=config.max_disruptions_per_tick,
    )
    return Measures(
        limits=limits,
        ramp=max(config.first_items, 2 * ledger.done_well),
        active_keys=active_keys,
        in_use=in_use,
        is_used=lambda item: item.key.last_used.at is not None and item.key.last_used.at > lately,
    )


def look(
    means: Means, candidate: Candidate, accounts: Accounts, delivery: Callable[[Candidate], Delivery], ledger: Ledger
) -> Seen | None:
    """The candidate's user as it is now, with the secret that a new key would go to; None where it is gone.

    Raises:
        UsageError: there is nowhere where a new key could go.
        AwsFailure: it cannot be read.
    """
    groups = bool(means.config.remediation.protected.groups)
    reading = accounts.caller(candidate.account_id, None, own=candidate.is_own)
    rotates, own = candidate.kind is Kind.ROTATE, candidate.is_own
    found = run(see(reading, candidate.account_id, candidate.user, with_groups=groups, rotates=rotates, own=own))
    if found is None:
        return None
    stored = None
    if candidate.kind is Kind.ROTATE:
        role = means.config.remediation.roles.rotate
        rotating = accounts.caller(candidate.account_id, role, own=candidate.is_own)
        stored = run_sealed(store_of(rotating, delivery(candidate)).look())
    if candidate.kind is not Kind.DEACTIVATE or candidate.is_urgent:
        return Seen(*found, stored)
    unproved = {key.access_key_id for key in found[1] if not is_others_use(key.last_used)}
    ours = [
        tracked
        for tracked in ledger.items.values()
        if tracked.done.published_at and tracked.done.new_key in unproved and not _was_seen_used(tracked)
    ]
    read = {str(tracked.done.new_key) for tracked in ours if _is_read(means, tracked, accounts)}
    return Seen(*found, stored, frozenset(read))


def _was_seen_used(tracked: Tracked) -> bool:
    """Whether AWS showed a use of the new key by somebody else: a person's word that it is used shows nothing."""
    return tracked.done.adopted_at is not None and tracked.done.confirmed_by is None


def _is_read(means: Means, tracked: Tracked, accounts: Accounts) -> bool:
    """Whether a key that was published is still what applications read; True where nobody here can tell."""
    item, delivery = tracked.item, tracked.item.delivery
    if delivery is None or (item.own and not accounts.is_own(item)):
        return True
    rotating = accounts.caller(item.account_id, means.config.remediation.roles.rotate, own=accounts.is_own(item))
    stored = run_sealed(store_of(rotating, delivery).look())
    if stored is None:  # a folder of another machine, or a secret that is gone
        return delivery.store == "age"
    return stored.current == tracked.done.version


@dataclass(frozen=True, slots=True)
class Origin:
    """What a plan comes from: a run, or None for what a person asked for; and the accounts that were read for it."""

    run_id: str | None = None
    run_sha256: str | None = None
    approvers_sha256: str | None = None
    accounts_read: int = 1
    accounts_not_read: tuple[str, ...] = ()
    active_keys: int | None = None
    in_use: Mapping[str, int] = field(default_factory=dict)


def drafted(
    means: Means, author: str, planned: tuple[Sequence[Item], Sequence[Blocked]], settings: Settings, origin: Origin
) -> Plan:
    """The plan of these items, by this person; of the instant before AWS was read for it."""
    now = settings.now.replace(microsecond=0)  # as approvals are dated, which may come in the same second
    who, accounts = means.operator.who, sorted({item.account_id for item in planned[0]})
    among = None
    if origin.active_keys is not None:
        in_use = {account: origin.in_use.get(account, 0) for account in accounts}
        among = Among(active_keys=origin.active_keys, in_use=in_use)
    return Plan(
        id=f"plan-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}",
        created_at=now,
        expires_at=now + timedelta(hours=means.config.remediation.approval.plan_hours),
        author=Author(person=author, arn=who.arn, account_id=who.account_id),
        tool_version=__version__,
        run_id=origin.run_id,
        run_sha256=origin.run_sha256,
        approvers_sha256=origin.approvers_sha256,
        accounts_read=origin.accounts_read,
        accounts_not_read=origin.accounts_not_read,
        limits=settings.measures.limits,
        among=among,
        items=tuple(planned[0]),
        blocked=tuple(planned[1]),
    )
