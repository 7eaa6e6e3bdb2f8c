"""One user's keys, at a person's word: what there is, and a plan for one of them under the same guards as any other."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from auditor.aws.credentials_file import CredentialsFile, credentials_path
from auditor.aws.loop import run
from auditor.aws.secret_stores import key_in
from auditor.errors import ApprovalError, CapError, OutputError, UsageError
from auditor.model import KeyStatus, LiveKey
from auditor.remediation.approval import Answer, Approval
from auditor.remediation.hands import run_sealed, see
from auditor.remediation.journal import Event
from auditor.remediation.plan import Basis, Delivery, Item, Kind, Plan
from auditor.remediation.planning import Candidate, plan_items
from auditor.remediation.progress import Ledger, fold
from auditor.remediation.protection import Person
from auditor.remediation.tracked import Tracked
from auditor.remedy.accounts import Accounts
from auditor.remedy.admission import NotAdmittedError, admit
from auditor.remedy.asking import answers_to
from auditor.remedy.carrying_out import claim, give_way
from auditor.remedy.drafting import Origin, Population, drafted, look, settings_of
from auditor.remedy.files import load_approvals, load_plan
from auditor.remedy.means import Means, confirm_files_stay

log = logging.getLogger(__name__)

ASKED = "asked-for"
"""Stands where a finding's control would: a person wants it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A user as it is now, and its keys, the oldest first."""

    person: Person
    keys: tuple[LiveKey, ...]
    own: bool
    """It is who asks."""
    accounts: Accounts
    partition: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to be done about a key of a user."""

    kind: Kind
    through: Kind
    reason: str
    key_id: str | None = None
    """None for the only one that it can be."""
    owner: str | None = None
    """Who is told; None for whom the user's tags name."""
    leaked: bool = False
    profile: str = "default"
    """Of the credentials file that an own key is rotated in."""


def subject_of(means: Means, user: str | None, account_id: str | None) -> Subject:
    """The user, or who asks; read live.

    Raises:
        UsageError: there is no such user, or who asks is none.
        AwsFailure: it cannot be read.
    """
    operator = means.operator
    name = user or operator.user
    if name is None:
        what = f"These credentials are of no IAM user: {operator.who.arn}."
        raise UsageError(what, next_step="Name a user with --user.")
    account_id = account_id or operator.who.account_id
    own = operator.is_user(account_id, name)
    account = means.account(account_id, operator.who.partition)
    accounts = means.accounts([account])
    caller = accounts.caller(account_id, None, own=own)
    groups = bool(means.config.remediation.protected.groups)
    found = run(see(caller, account_id, name, with_groups=groups, own=own))
    if found is None:
        step = "See how the name is spelt, and name the account with --account."
        raise UsageError(f"Account {account_id} has no user {name}.", next_step=step)
    person, keys = found
    keys = tuple(sorted(keys, key=lambda key: (key.created_at, key.access_key_id)))
    return Subject(person, keys, own, accounts, account.partition)


def under_way(means: Means, subject: Subject, key_id: str | None = None) -> Tracked | None:
    """What is open about a key of the user; about this one, where there is something."""
    person = subject.person
    whose = (person.account_id, person.name)
    found = [one for one in means.ledger().open() if (one.item.account_id, one.item.user) == whose]
    about = [one for one in found if one.item.key.id == key_id]
    chosen = about or found[:1]
    return chosen[-1] if chosen else None


def track_of(means: Means, key_id: str) -> Tracked | None:
    """The last item about a key; None where there was none, or no journal can be read."""
    with suppress(OutputError):  # to switch a key on again one needs no journal
        found = [tracked for tracked in means.ledger().items.values() if tracked.item.key.id == key_id]
        return found[-1] if found else None
    return None


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan for a wish, and what others said to it."""

    plan: Plan
    approvals: Sequence[Approval] = ()
    answers: Sequence[Answer] = ()


def waiting_plan(means: Means, subject: Subject, wish: Wish) -> Asked | None:
    """A plan for this wish that was made before, and may still be begun; never for an own key.

    Nobody else approves what is done to an own key, so a file that anybody could have put there is not trusted with it.
    What could not be taken, whoever approves it, is passed over, so that it is planned anew.

    Raises:
        AwsFailure: AWS does not know the caller.
    """
    if subject.own:
        return None
    now, ledger = means.timing.now(), means.ledger()
    for path in sorted(means.folder.glob("plan-*.json"), reverse=True):
        if "." in path.stem:  # an approval, or where it was posted
            continue
        try:
            plan = load_plan(path)
        except UsageError as error:
            log.warning("%s is left out: %s", path, error.what)
            continue
        is_open = plan.run_id is None and now < plan.expires_at and plan.id not in ledger.plans
        if not is_open or not any(_grants(item, subject.person, wish) for item in plan.items):
            continue
        why = _untakable(means, plan, ledger)
        if why is None:
            return Asked(plan, load_approvals(path), answers_to(means, plan, path))
        log.warning("%s is left out: %s", path, why)
    return None


def _untakable(means: Means, plan: Plan, ledger: Ledger) -> str | None:
    """Why no approval can have this plan taken any more; a cap that it is beyond leaves room again."""
    if plan.approvers_sha256 != means.approvers().sha256:
        return "who may approve is not what it was when the plan was made"
    try:
        with suppress(CapError):
            admit(means, plan, ledger)
    except NotAdmittedError as error:
        return error.what
    return None


def _grants(item: Item, person: Person, wish: Wish) -> bool:
    """Whether the item is this wish about this user: no more, and less only where nobody could be told of the rest."""
    is_theirs = (item.account_id, item.user, item.user_id) == (person.account_id, person.name, person.id)
    through = item.kind if item.owner is None else wish.through
    is_it = (item.kind, item.through, item.urgent) == (wish.kind, through, wish.leaked)
    return is_theirs and is_it and not item.own and wish.key_id in {None, item.key.id}


def plan_for(means: Means, subject: Subject, wish: Wish, author: str) -> Plan:
    """A plan of one key, by this person.

    Raises:
        UsageError: which key is meant is not clear, or its profile is not.
        AwsFailure: AWS cannot be asked.
    """
    key = _meant(subject, wish)
    person = subject.person
    tags = person.tags or {}
    owner = wish.owner or next((tags[tag] for tag in means.config.to_policy().owner_tags if tag in tags), None)
    candidate = Candidate(
        account_id=person.account_id,
        account_name=None,
        partition=subject.partition,
        user=person.name,
        key_id=key.access_key_id,
        created_at=key.created_at,
        basis=(Basis(control=ASKED, severity="-", reason=wish.reason),),
        owner=person.name if subject.own else owner,
        kind=wish.kind,
        is_urgent=wish.leaked,
        is_own=subject.own,
    )
    settings = settings_of(means, frozenset(Kind), wish.through, Population([candidate]))
    settings = replace(settings, may_be_unread=True)
    if subject.own and wish.kind is Kind.ROTATE:
        profile = _profile(wish.profile, key)
        settings = replace(settings, delivery=lambda _: profile)
    if subject.own:
        settings = replace(settings, waits=settings.waits.model_copy(update={"grace_days": 0}))
    ledger = means.ledger()
    planned = plan_items(
        [candidate], lambda one: look(means, one, subject.accounts, settings.delivery, ledger), settings
    )
    origin = Origin(approvers_sha256=None if subject.own else means.approvers().sha256)
    return drafted(means, author, planned, settings, origin)


def _meant(subject: Subject, wish: Wish) -> LiveKey:
    user = subject.person.name
    if wish.key_id is not None:
        found = [key for key in subject.keys if key.access_key_id == wish.key_id]
        if not found:
            raise UsageError(f"{user} has no key {wish.key_id}.", next_step="`auditor key list` shows its keys.")
        return found[0]
    wanted = KeyStatus.INACTIVE if wish.kind is Kind.DELETE else KeyStatus.ACTIVE
    found = [key for key in subject.keys if key.status is wanted]
    if len(found) != 1:
        what = f"{user} has {len(found) or 'no'} {wanted.value.lower()} key{'s' if len(found) > 1 else ''}."
        step = "Name the key; `auditor key list` shows them." if found else "Nothing is to be done."
        raise UsageError(what, next_step=step)
    return found[0]


def _profile(profile: str, key: LiveKey) -> Delivery:
    """The profile that holds the key, in the shared credentials file."""
    confirm_files_stay("Rotate your own key where its credentials file stays, or have it rotated into a secret store.")
    path = credentials_path()
    stored = CredentialsFile(path, profile)
    found = run_sealed(stored.look())
    held = key_in(run_sealed(stored.read())) if found and found.current else None
    if held is None or held.id != key.access_key_id:
        what = f"The profile {profile} does not hold {key.access_key_id}, so nobody would read the new key there."
        step = "Name the profile that does with --profile, or ask somebody to rotate it into a secret store."
        raise UsageError(what, where=str(path), next_step=step)
    return Delivery(store="profile", secret=profile, file=str(path.absolute()))


def claim_own(means: Means, plan: Plan) -> None:
    """Take a plan into the journal that changes nothing but the operator's own key: nobody else has to approve it.

    Raises:
        ApprovalError: it is somebody else's key, or not what `admit` takes.
    """
    operator = means.operator_on_time()
    if not all(item.own and operator.is_user(item.account_id, item.user) for item in plan.items):
        raise ApprovalError("It is not your own key.", where=plan.id, next_step="Have the plan approved.")
    with means.journal() as journal:
        ledger = fold(journal.rows)
        if plan.id not in ledger.plans:
            admit(means, plan, ledger)
            told = plan.model_dump(mode="json", by_alias=True)
            journal.add(plan.id, "", Event.CLAIMED, plan=told, by=operator.who.arn)
            through = {item.id: item.through.value for item in plan.items}
            journal.add(plan.id, "", Event.APPROVED, through=through, by=[operator.who.arn], signatures=[])
        give_way(journal, plan.items)


def claim_for(means: Means, asked: Asked, *, own: bool) -> None:
    """Take a plan into the journal: an own key's at once, another's where it is approved; raises as `claim`."""
    if own:
        claim_own(means, asked.plan)
    else:
        claim(means, asked.plan, asked.approvals, asked.answers)
