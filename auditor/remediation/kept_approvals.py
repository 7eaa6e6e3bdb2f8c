"""What the journal keeps of approvals, checked anew: its word alone approves nothing.

Whoever can write the journal can write there that something was approved. What he cannot make is a signature over the
plan's digest, which is kept with it, and with the file of approvers as it was. A reply cannot be checked by anybody
afterwards: it counts as far as replies ever do, and only that of a person whose replies are still read.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from auditor.errors import ApprovalError, UsageError
from auditor.remediation.approval import (
    Answer,
    Approval,
    Approvers,
    Rules,
    allowing,
    answered,
    approves,
    check,
    counts,
    how_far,
    may_answer,
)
from auditor.remediation.journal import Row
from auditor.remediation.plan import Kind, Plan


@dataclass(frozen=True, slots=True)
class Proof:
    """How far each item is approved, by its id, as far as that can be checked; and why other approvals do not count."""

    through: Mapping[str, Kind] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def proof(
    plan: Plan, rows: Sequence[Row], approvers: Callable[[], Approvers], rules: Rules, repliers: Collection[str]
) -> Proof:
    """What the journal's approvals of a plan are worth now; what signed and what replied is judged as of its row.

    Args:
        plan: as the journal has it.
        rows: that tell of its approvals.
        approvers: who may approve now; raises UsageError where nobody may.
        rules: as for `approved`, without answers.
        repliers: persons whose replies count.
    """
    rules = replace(rules, before=pinned(plan, rows))
    try:
        allowed = allowing(plan, approvers(), rules)
    except (ApprovalError, UsageError) as error:
        return Proof({}, (f"{error.what} ({error.where})",))
    through: dict[str, Kind] = {}
    doubts: dict[str, None] = {}
    for row in rows:
        given = []
        for approval in approvals_of(row):
            try:
                given.append((approval, check(plan, approval, allowed, rules, row.at)))
            except ApprovalError as error:
                doubts[f"{error.where}: {error.what}"] = None
        answers = tuple(answer for answer in _answers_of(row) if answer.approver in repliers)
        counted = answered(plan, allowed, replace(rules, answers=answers), row.at)
        through = furthest(through, how_far(plan, given, counted, rules))
    return Proof(through, tuple(doubts))


def furthest(one: Mapping[str, Kind], other: Mapping[str, Kind]) -> dict[str, Kind]:
    """Of each item what goes further."""
    both = {**one, **other}
    return {name: max((one.get(name, kind), kind), key=lambda kind: kind.rank) for name, kind in both.items()}


def pinned(plan: Plan, rows: Sequence[Row]) -> Approvers | None:
    """The file of approvers as it was when the plan was made; None where the journal does not keep that very one."""
    for row in rows:
        try:
            found = Approvers.parse(str(row.told.get("approvers", "")), "the journal")
        except UsageError:
            continue
        if found.sha256 == plan.approvers_sha256:
            return found
    return None


def approvals_of(row: Row) -> Iterator[Approval]:
    """The signed approvals that a row keeps; what is none is left out."""
    for kept in row.told.get("signatures", ()):
        try:
            yield Approval.model_validate(kept)
        except ValidationError:
            continue


def _answers_of(row: Row) -> Iterator[Answer]:
    for reply in row.told.get("replies", ()):
        person, _, where = str(reply).rpartition(" ")
        yield Answer(person, approves=True, at=row.at, where=where)


def approvers_of(plan: Plan, rows: Sequence[Row], item_id: str, kind: Kind) -> list[str]:
    """Who approved that this kind of step is done to an item: each once, those who signed first.

    Only those whose signature is by whom the file of approvers allowed it when the plan was made; and whose replies
    may count for such a step. Of an own key, which nobody else approves, whose it is.
    """
    if plan.approvers_sha256 is None:
        own = all(item.own for item in plan.items)
        return list(dict.fromkeys(str(by) for row in rows for by in row.told.get("by", ()))) if own else []
    before = pinned(plan, rows)
    found: dict[str, None] = {}
    unproved = 0
    for row in rows:
        for approval in (one for one in approvals_of(row) if approves(one, item_id, kind)):
            if before is not None and counts(plan, approval, (before,), Rules(author=plan.author.person), row.at):
                found[approval.statement.approver] = None
            else:
                unproved += 1
        if before is not None and may_answer(plan, kind):
            rules = Rules(author=plan.author.person, answers=tuple(_answers_of(row)))
            found |= dict.fromkeys(f"{one.approver} (by reply)" for one in answered(plan, (before,), rules, row.at))
    return [*found, *([f"{unproved} by signatures that do not verify"] if unproved else [])]
