"""Approved plans, taken into the journal and carried out as far as they may be now."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from auditor.config.remediation_records import Day, WindowConfig
from auditor.errors import ApprovalError, UsageError
from auditor.notify import Channels
from auditor.remediation.approval import (
    Answer,
    Approval,
    Rules,
    allowing,
    answered,
    approved,
    counts,
    is_over,
)
from auditor.remediation.decision import Step, Terms
from auditor.remediation.engine import Engine, Outcome
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Journal, Nowhere
from auditor.remediation.kept_approvals import Proof, approvals_of, furthest, pinned, proof
from auditor.remediation.lifecycle import SHARED
from auditor.remediation.news import Notice
from auditor.remediation.plan import Item, Kind, Plan
from auditor.remediation.progress import Ledger, fold
from auditor.remediation.tracked import Tracked
from auditor.remedy.accounts import Operator
from auditor.remedy.admission import admit
from auditor.remedy.means import Means, is_in_ci
from auditor.remedy.telling import catch_up, channels, telling


def claim(means: Means, plan: Plan, approvals: Sequence[Approval], answers: Sequence[Answer] = ()) -> dict[str, Kind]:
    """Take an approved plan into the journal, or more approvals of one that is there; how far items are approved.

    Raises:
        UsageError: the plan is empty.
        ApprovalError: the plan is not approved, changed, expired, of other approvers, or not what `admit` takes.
        CapError: with what is under way it has more keys than the configuration allows now.
    """
    if not plan.items:
        raise UsageError("The plan has nothing in it.", where=plan.id, next_step="Nothing is to be done.")
    now, operator = means.timing.now(), means.operator_on_time().who.arn
    begun = _begun(means, plan, approvals)
    _granted(means, begun, plan, approvals, answers)
    _may_begin(begun, plan, now)
    if _is_at_its_end(means, plan):
        return {}
    with means.journal() as journal:
        ledger = fold(journal.rows)
        known = ledger.plans.get(plan.id)
        if known is None:
            _may_begin(ledger, plan, now)
            admit(means, plan, ledger)
            journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True), by=operator)
        else:
            _confirm_same(known, plan)
        granted = _granted(means, ledger, plan, approvals, answers)
        before = {item.id: ledger.items[item.id].approved for item in plan.items if item.id in ledger.items}
        more = {name: kind for name, kind in granted.through.items() if _is_further(kind, before.get(name))}
        rows = ledger.approvals.get(plan.id, [])
        kept = {one.signature for row in rows for one in approvals_of(row)}
        if more or any(one.signature not in kept for one in granted.approvals):  # one that adds nothing is kept as well
            journal.add(
                plan.id,
                "",
                Event.APPROVED,
                through={name: kind.value for name, kind in more.items()},
                by=sorted({one.statement.approver for one in granted.approvals}),
                replies=[f"{one.approver} {one.where}" for one in granted.answers],
                signatures=[json.loads(one.model_dump_json(by_alias=True)) for one in granted.approvals],
                approvers=granted.approvers,
            )
        give_way(journal, [item for item in plan.items if item.id in granted.through])
    return dict(granted.through)


def can_give_way(tracked: Tracked) -> bool:
    """Whether what is under way about a key may end where it is, since that leaked: nothing of it is half done.

    What is not known of switching it off does not keep it from being switched off, and stays not known.
    """
    done = tracked.done
    is_half_made = done.new_key is not None and done.published_at is None
    is_unsettled = any(row.told["step"] != Step.DEACTIVATE for row in tracked.begun)
    return not (tracked.item.urgent or is_half_made or is_unsettled)


def give_way(journal: Journal, items: Iterable[Item]) -> None:
    """End what is under way about keys of these items that leaked, where it can end; raises as `Journal.add`."""
    ledger = fold(journal.rows)
    for item in items:
        is_due = item.urgent and ledger.items[item.id].ended is None
        for tracked in ledger.about(item.key.id) if is_due else ():
            if tracked.ended is None and tracked.item.id != item.id and can_give_way(tracked):
                why = f"gave way, since the key leaked: {item.basis[0].reason}"
                journal.add(tracked.plan_id, tracked.item.id, Event.ENDED, how=why)


@dataclass(frozen=True, slots=True)
class _Granted:
    """How far items are approved, and by what of it that is said now."""

    through: Mapping[str, Kind]
    approvals: Sequence[Approval]
    answers: Sequence[Answer]
    approvers: str
    """The file of approvers as it was when the plan was made."""


def _granted(
    means: Means, ledger: Ledger, plan: Plan, approvals: Sequence[Approval], answers: Sequence[Answer]
) -> _Granted:
    """What is approved of a plan by what the journal keeps, as far as that is proved, and by what is said now.

    An approval that the journal has, and that is over or not allowed any more, is passed over: it did what it could.

    Raises:
        ApprovalError: nothing of the plan is approved, or something is no approval of it.
    """
    now, approvers = means.timing.now(), means.approvers()
    rows = ledger.approvals.get(plan.id, [])
    rules = replace(rules_of(means, plan), answers=tuple(answers), before=pinned(plan, rows))
    kept = [one for row in rows for one in approvals_of(row)]
    allowed = allowing(plan, approvers, rules)
    latest = [one for one in approvals if not (is_over(one, now) and _is_renewed(one, approvals))]
    used = [one for one in latest if one not in kept or counts(plan, one, allowed, rules, now)]
    new = approved(plan, used, approvers, rules, now)
    through = furthest(proved(means, ledger, plan.id).through, new) if rows else new
    if not through:
        what = "Not enough persons approved this plan, or any part of it."
        step = f"`auditor remediate approve` it; code {plan.code}."
        raise ApprovalError(what, where=plan.id, next_step=step)
    before = rules.before if len(allowed) > 1 and rules.before is not None else approvers
    return _Granted(through, used, answered(plan, allowed, rules, now), before.text)


def _is_renewed(approval: Approval, among: Sequence[Approval]) -> bool:
    """Whether its approver approved again later."""
    said = approval.statement
    return any(one.statement.approver == said.approver and one.statement.at > said.at for one in among)


def _begun(means: Means, plan: Plan, approvals: Sequence[Approval]) -> Ledger:
    """What the journal knows of a plan, where that decides before anything is written; else nothing is asked."""
    now = means.timing.now()
    is_late = now >= plan.expires_at or not approvals or any(is_over(one, now) for one in approvals)
    return means.ledger() if is_late or means.approvers().sha256 != plan.approvers_sha256 else Ledger()


def _may_begin(ledger: Ledger, plan: Plan, now: datetime) -> None:
    if now >= plan.expires_at and plan.id not in ledger.plans:
        step = "Plan anew, and have it approved."
        raise ApprovalError("The plan has expired.", where=plan.id, next_step=step)


def _confirm_same(known: Plan, plan: Plan) -> None:
    if known.digest != plan.digest:
        raise ApprovalError("Another plan of this name was applied.", where=plan.id, next_step="Plan anew.")


def _is_at_its_end(means: Means, plan: Plan) -> bool:
    """Whether a plan was carried out to its end: nothing can be approved, nor done, about it any more."""
    ledger = means.ledger()
    known = ledger.plans.get(plan.id)
    due = {tracked.item.id for tracked in ledger.due()}
    return known is not None and known.digest == plan.digest and not due & {item.id for item in plan.items}


def _is_further(kind: Kind, before: Kind | None) -> bool:
    return before is None or kind.rank > before.rank


def rules_of(means: Means, plan: Plan) -> Rules:
    """Who must approve a plan, by the configuration."""
    approval = means.config.remediation.approval
    return Rules(approval.persons, approval.persons_for_deletion, plan.author.person)


def proved(means: Means, ledger: Ledger, plan_id: str) -> Proof:
    """What the approvals of a plan that the journal keeps are worth now."""
    plan = ledger.plans[plan_id]
    repliers = {one.partition("=")[2] for one in means.config.notify.slack.approvers}
    return proof(plan, ledger.approvals.get(plan_id, ()), means.approvers, rules_of(means, plan), repliers)


def advance(
    means: Means,
    tell: Callable[[Notice], None],
    chosen: Plan | Item | None = None,
    *,
    simulates: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Take items as far as they may go now.

    Args:
        means: what it is done with.
        tell: told of what comes.
        chosen: a plan's items, or one; None means all that are open.
        simulates: nothing is written, and a plan that is not begun is taken as if it were approved.
        stopping: asked before every step whether to end.

    Raises:
        ApprovalError: somebody else is at work; a plan that is simulated would not be taken.
        CapError: a plan that is simulated has too many keys.
        AwsFailure: AWS does not know the caller.
    """
    operator = means.operator_on_time()
    if isinstance(chosen, Plan) and not simulates and _is_at_its_end(means, chosen):
        return
    simulated = chosen if simulates and isinstance(chosen, Plan) and not _is_begun(means, chosen) else None
    with _journal(means, simulated, writes=not simulates) as journal:
        ledger = fold(journal.rows)
        accounts = means.accounts_of(ledger, reads_only=simulates)

        def hands(item: Item) -> Hands:
            return Hands(item, accounts, means.protection(item.account_id))

        proofs: dict[str, Proof] = {}

        def terms(tracked: Tracked) -> Terms:
            now = means.timing.now()
            closed = closed_at(now, means.config.remediation.window)
            approved, unproved = tracked.approved, ""
            if simulated is None and not (tracked.item.own and _is_theirs(tracked.item, operator)):
                if tracked.plan_id not in proofs:
                    proofs[tracked.plan_id] = proved(means, ledger, tracked.plan_id)
                approved, unproved = _as_proved(tracked, proofs[tracked.plan_id])
            return Terms(now, approved, now < tracked.expires_at, closed, operator.keys, unproved)

        most = means.config.remediation.max_disruptions_per_tick
        to = Channels() if simulates else channels(means)
        engine = Engine(journal, hands, terms, telling(to, tell), most, stopping, simulates, operator.who.arn)
        named = chosen.items if isinstance(chosen, Plan) else [chosen] if chosen else [it.item for it in ledger.due()]
        ids = {item.id for item in named if _is_theirs(item, operator)}
        lost = [it.item for it in ledger.due() if it.item.id in ids and _is_lost_here(it.item)]
        for item in lost:
            why = "its new key is a file, which would be gone after this job"
            yield engine.pass_over(item, why, "whoever ticks where the file stays")
        yield from engine.tick(ids - {item.id for item in lost})
        catch_up(journal, to, means)


def _is_begun(means: Means, plan: Plan) -> bool:
    """Whether the journal has the plan; one that it does not have is what `admit` takes in time, or that raises."""
    ledger = means.ledger()
    known = ledger.plans.get(plan.id)
    if known is not None:
        _confirm_same(known, plan)
        return True
    _may_begin(ledger, plan, means.timing.now())
    admit(means, plan, ledger)
    return False


def _as_proved(tracked: Tracked, known: Proof) -> tuple[Kind | None, str]:
    """How far an item is approved as far as that is proved, and why no further where the journal says so."""
    said, found = tracked.approved, known.through.get(tracked.item.id)
    if said is None or found is None or found.rank < said.rank:
        return (found if said is not None else None), "; ".join(known.doubts) if said is not None else ""
    return said, ""


def _is_theirs(item: Item, operator: Operator) -> bool:
    """Whether the operator may go on with it: a user's own key is gone on with by that user alone."""
    return not item.own or operator.is_user(item.account_id, item.user)


def _is_lost_here(item: Item) -> bool:
    """Whether its secret would be a file of this machine, or is looked for here, and nothing stays of this machine."""
    return item.delivery is not None and item.delivery.store not in SHARED and is_in_ci()


@contextmanager
def _journal(means: Means, simulated: Plan | None, *, writes: bool) -> Iterator[Journal]:
    """The journal; or what is beside it, in which a plan that is simulated is claimed and wholly approved."""
    if writes:
        with means.journal() as journal:
            yield journal
        return
    beside = Journal(Nowhere(), means.timing.now)
    if means.has_journal:  # which is not made for this
        with means.journal(writes=False) as journal:
            beside = journal.beside()
    if simulated is not None:
        beside.add(simulated.id, "", Event.CLAIMED, plan=simulated.model_dump(mode="json", by_alias=True))
        beside.add(simulated.id, "", Event.APPROVED, through={item.id: item.through.value for item in simulated.items})
        give_way(beside, simulated.items)
    yield beside


def closed_at(now: datetime, window: WindowConfig) -> str | None:
    """Why no key may be switched off or deleted at this instant; None where one may."""
    local = now.astimezone(ZoneInfo(window.time_zone))
    for freeze in window.freeze:
        if freeze.starts <= local.date() <= freeze.ends:
            return f"frozen until {freeze.ends.isoformat()}: {freeze.reason}"
    if list(Day)[local.weekday()] not in window.days or not window.starts <= f"{local:%H:%M}" < window.ends:
        days = ", ".join(day.value for day in window.days)
        return f"only {days} from {window.starts} to {window.ends} ({window.time_zone})"
    return None
