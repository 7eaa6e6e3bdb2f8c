"""The journal's word alone approves nothing: what it keeps of approvals is checked anew whenever it decides."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auditor.config import load_config
from auditor.errors import ApprovalError
from auditor.remediation.approval import Answer, Approval
from auditor.remediation.decision import Step
from auditor.remediation.engine import Outcome, Standing
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Item, Kind, Plan
from auditor.remediation.record import record
from auditor.remedy.carrying_out import advance, claim, closed_at
from auditor.remedy.files import keep_approval, load_approvals
from auditor.remedy.rollback import switch_on
from auditor.tables import records_of
from tests.builders import AS_OF
from tests.remediation.signing import person, told_of
from tests.remediation.story import SIGNERS, Story
from tests.remediation.test_by_hand import BOB, CAT, claim_signed, means_of, signers
from tests.remediation.test_record import ITEM
from tests.remediation.world import World, item_of, plan_of

EVE = person("eve@example.com")
WRITES = {"CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey", "PutSecretValue", "CreateSecret"}


def tick(world: World, folder: Path, **notify: Any) -> Outcome:
    """What becomes of the only item."""
    means = means_of(world, folder)
    if notify:
        means.config = means.config.model_copy(update={"notify": load_config(None, {"notify": notify}).notify})
    (outcome,) = advance(means, world.told.append)
    return outcome


def deleted(world: World, folder: Path) -> list[str]:
    """What is done once it was announced, and the window is open."""
    assert tick(world, folder).told.startswith("to delete, not before ")
    world.clock.pass_(days=3)
    while closed_at(world.clock.now, means_of(world, folder).config.remediation.window):
        world.clock.pass_(hours=3)
    return [step.value for step in tick(world, folder).steps]


def writes(world: World, since: int) -> set[str]:
    """What was changed in AWS since."""
    return {call.action for call in world.cloud.call_log[since:]} & WRITES


def unused(world: World, user: str, through: Kind = Kind.DELETE) -> Item:
    """A key that is switched off at once, since it leaked."""
    return item_of(world, user, Kind.DEACTIVATE, through, urgent=True)


def forged(plan: Plan, world: World, **changes: Any) -> Approval:
    """What Eve makes of an approval by Cat."""
    return EVE.approves(plan, world.clock.now, **({"approver": CAT.name} | changes))


@pytest.mark.parametrize(
    "signed",
    [
        lambda _plan, _world: [],
        lambda plan, world: [forged(plan, world)],
        lambda plan, world: [EVE.approves(plan, world.clock.now)],
        lambda plan, world: [CAT.approves(plan, world.clock.now, plan_sha256="0" * 64)],
        lambda plan, world: [CAT.approves(plan, world.clock.now + timedelta(days=2))],
    ],
    ids=["nobody", "another's name", "a stranger", "of another plan", "of another time"],
)
def test_an_approval_that_was_written_into_the_journal_is_none(
    world: World, tmp_path: Path, signed: Callable[[Plan, World], list[Approval]]
) -> None:
    """Whatever it says of how far and by whom: nothing is changed, and an approver is waited for."""
    item = unused(world, "user-20")
    plan = claim_signed(world, tmp_path, item, through={}, signatures=[])
    before = len(world.cloud.call_log)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        told = {"by": [BOB.name, CAT.name], "signatures": told_of(*signed(plan, world)), "approvers": EVE.line}
        journal.add(plan.id, "", Event.APPROVED, through={item.id: "delete"}, **told)
    outcome = tick(world, tmp_path)
    assert (outcome.standing, outcome.who) == (Standing.WAITS, "an approver")
    assert outcome.told.startswith("not approved")
    assert writes(world, before) == set()


def test_what_one_signed_goes_no_further_because_the_journal_says_so(world: World, tmp_path: Path) -> None:
    """Bob's signature switches a key off; that Cat approved to delete it is only written there."""
    item = unused(world, "user-21")
    plan = claim_signed(world, tmp_path, item, signatures=[])
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        signed = told_of(BOB.approves(plan, world.clock.now), forged(plan, world))
        journal.add(plan.id, "", Event.APPROVED, through={item.id: "delete"}, signatures=signed)
    outcome = tick(world, tmp_path)
    assert [step.value for step in outcome.steps] == ["deactivate"]
    assert outcome.told == (
        f"to be deleted, which is not approved: the approval of {CAT.name}: The signature is not the approver's."
    )
    world.clock.pass_(days=30)
    assert tick(world, tmp_path).steps == ()
    assert set(world.keys("user-21").values()) == {"Inactive"}


def test_what_was_approved_stays_so_while_its_approvers_may_approve(world: World, tmp_path: Path) -> None:
    """A new line changes nothing; one that is gone holds up what rested on it, and says so; one that ends does not."""
    item = unused(world, "user-22")
    claim_signed(world, tmp_path, item)
    path = signers(tmp_path)
    whole = path.read_text()
    path.write_text(f"{whole}{EVE.line}\n")
    assert [step.value for step in tick(world, tmp_path).steps] == ["deactivate"]
    world.clock.pass_(days=15)
    path.write_text(f"{BOB.line}\n")
    waits = tick(world, tmp_path)
    assert (waits.standing, waits.who, waits.steps) == (Standing.WAITS, "approvers", ())
    assert waits.told.startswith(f"to be deleted, which is not approved: the approval of {CAT.name}: ")
    path.write_text("")
    assert tick(world, tmp_path).told.startswith("not approved: the approval of bob@example.com: ")
    path.write_text("nobody\n")
    assert "Line 1 is not a signer" in tick(world, tmp_path).told
    name, rest = CAT.line.split(" ", 1)
    over = f"{world.clock.now - timedelta(days=1):%Y%m%d}"
    path.write_text(f'{BOB.line}\n{name} valid-before="{over}" {rest}\n')
    assert deleted(world, tmp_path) == ["delete"]


def test_what_a_crash_left_open_is_healed_whoever_may_approve_now(world: World, tmp_path: Path) -> None:
    """A key whose secret is stored nowhere is taken back; a new one is not made. To take back needs nobody either."""
    item = item_of(world, "user-23")
    plan = claim_signed(world, tmp_path, item)
    lost = world.make_key("user-23")
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(plan.id, item.id, Event.INTENT, step="create", intent="0" * 32, by="x", keys=[item.key.id])
        journal.add(plan.id, item.id, Event.MADE, key=lost)
    signers(tmp_path).write_text("")
    tick(world, tmp_path)
    assert set(world.keys("user-23")) == {item.key.id}
    assert tick(world, tmp_path).told.startswith("not approved: ")
    assert switch_on(means_of(world, tmp_path), item.id, (None, None), "needed") == item.key.id


def test_a_reply_counts_while_its_persons_replies_are_read(world: World, tmp_path: Path) -> None:
    """It cannot be checked afterwards, so it is never more than it was: not of who is not named, and not to delete."""
    item = unused(world, "user-24")
    replies = [f"{BOB.name} slack:C1/1.2", f"{CAT.name} slack:C1/1.3"]
    claim_signed(world, tmp_path, item, signatures=[], replies=replies)
    assert tick(world, tmp_path).told.startswith("not approved")
    assert tick(world, tmp_path, slack={"approvers": [f"U0EVE={EVE.name}"]}).steps == ()
    outcome = tick(world, tmp_path, slack={"approvers": [f"U0BOB={BOB.name}"]})
    assert [step.value for step in outcome.steps] == ["deactivate"]
    assert outcome.told.startswith("to be deleted, which is not approved")


def test_nobody_gets_into_a_plan_by_a_change_of_the_file(world: World, tmp_path: Path) -> None:
    """Of what was begun both files decide: who may approve now, and might when the plan was made."""
    item = unused(world, "user-25")
    means = means_of(world, tmp_path)
    digest = means.approvers().sha256
    plan = plan_of(item, at=world.clock.now).model_copy(update={"approvers_sha256": digest})
    assert claim(means, plan, [BOB.approves(plan, world.clock.now)]) == {item.id: Kind.DEACTIVATE}
    path = signers(tmp_path)
    path.write_text(f"{path.read_text()}{EVE.line}\n")
    again = plan.model_copy(update={"id": "plan-2"})
    with pytest.raises(ApprovalError, match="is not what it was"):
        claim(means, again, [BOB.approves(again, world.clock.now)])
    bob = BOB.approves(plan, world.clock.now)
    with pytest.raises(ApprovalError, match="not the approver's"):
        claim(means, plan, [bob, EVE.approves(plan, world.clock.now)])
    assert claim(means, plan, [bob, CAT.approves(plan, world.clock.now)]) == {item.id: Kind.DELETE}
    path.write_text(f"{CAT.line}\n{EVE.line}\n")
    assert claim(means, plan, [bob, CAT.approves(plan, world.clock.now, reason="again")]) == {item.id: Kind.DEACTIVATE}


def test_an_approval_that_is_over_is_no_dead_end(world: World, tmp_path: Path) -> None:
    """What was begun with it stands; a new one beside it takes the item on. One that began nothing is refused."""
    item = unused(world, "user-26")
    means = means_of(world, tmp_path)
    plan = plan_of(item, at=world.clock.now).model_copy(update={"approvers_sha256": means.approvers().sha256})
    old = BOB.approves(plan, world.clock.now)
    assert claim(means, plan, [old]) == {item.id: Kind.DEACTIVATE}
    assert [step.value for step in tick(world, tmp_path).steps] == ["deactivate"]
    world.clock.pass_(days=20)
    new = [one.approves(plan, world.clock.now) for one in (BOB, CAT)]
    assert claim(means, plan, [old]) == {item.id: Kind.DEACTIVATE}
    assert claim(means, plan, [old, new[1]]) == {item.id: Kind.DEACTIVATE}, "two persons, at one time"
    never = CAT.approves(plan, world.clock.now - timedelta(days=5))
    with pytest.raises(ApprovalError, match="too old"):
        claim(means, plan, [old, never])
    assert claim(means, plan, [old, *new]) == {item.id: Kind.DELETE}
    assert deleted(world, tmp_path) == ["delete"]


def test_who_approves_again_in_time_takes_the_place_of_what_is_over(world: World, tmp_path: Path) -> None:
    """Of a plan that was not begun: "approve again" leads on, and no approval is written over another's."""
    item = unused(world, "user-28")
    means = means_of(world, tmp_path)
    plan = plan_of(item, at=world.clock.now).model_copy(update={"approvers_sha256": means.approvers().sha256})
    path = tmp_path / "plan-1.json"
    over = keep_approval(BOB.approves(plan, world.clock.now), path)
    world.clock.pass_(hours=25)
    keep_approval(CAT.approves(plan, world.clock.now), path)
    with pytest.raises(ApprovalError, match="too old"):
        claim(means, plan, load_approvals(path))
    keep_approval(BOB.approves(plan, world.clock.now), path)
    assert claim(means, plan, load_approvals(path)) == {item.id: Kind.DELETE}
    over.unlink()
    keep_approval(CAT.approves(plan, world.clock.now, reason="again"), path)
    assert sorted(one.statement.approver for one in load_approvals(path)) == [BOB.name, CAT.name, CAT.name]


@pytest.mark.parametrize("is_read", [True, False])
def test_a_plan_that_a_reply_approved_is_applied_again_later(world: World, tmp_path: Path, *, is_read: bool) -> None:
    """What was begun with it stands, whether the reply can still be read or not; one that is over begins nothing."""
    item = unused(world, "user-27")
    means = means_of(world, tmp_path)
    slack = {"approvers": [f"U0BOB={BOB.name}"]}
    means.config = means.config.model_copy(update={"notify": load_config(None, {"notify": {"slack": slack}}).notify})
    plan = plan_of(item, at=world.clock.now).model_copy(update={"approvers_sha256": means.approvers().sha256})
    reply = Answer(BOB.name, approves=True, at=world.clock.now, where="slack:C1/1.2")
    assert claim(means, plan, [], [reply]) == {item.id: Kind.DEACTIVATE}
    world.clock.pass_(hours=25)
    assert claim(means, plan, [], [reply] if is_read else []) == {item.id: Kind.DEACTIVATE}
    other = plan.model_copy(update={"id": "plan-2"})
    with pytest.raises(ApprovalError, match="Not enough persons"):
        claim(means, other, [], [reply])


# ------------------------------------------------------------------------------------------------- as it is told


def told(story: Story) -> list[object]:
    """Who approved each change, as a run tells it."""
    return [row["approved_by"] for row in records_of(record(story.rows, story.now).actions)]


def test_the_record_names_those_whose_signature_verifies() -> None:
    """By the file of approvers that the plan is bound to; of others it says that there are some, and no name."""
    story = Story(plan_of(ITEM), AS_OF)
    bob = person("bob").approves(story.plan, AS_OF)
    false = [
        EVE.approves(story.plan, AS_OF, approver="cat"),
        EVE.approves(story.plan, AS_OF),
        person("cat").approves(story.plan, AS_OF, plan_id="plan-2"),
    ]
    story.add("", Event.APPROVED, through={ITEM.id: "delete"}, by=["cat"], approvers=f"{SIGNERS}{EVE.line}\n")
    story.add("", Event.APPROVED, through={}, by=["cat"], signatures=told_of(bob, *false), approvers=SIGNERS)
    story.did(ITEM, Step.DEACTIVATE)
    assert told(story) == ["bob\n3 by signatures that do not verify"]


def test_the_record_names_nobody_whose_reply_did_not_count() -> None:
    """To switch off many, of the author, or of a stranger."""
    many = [ITEM.model_copy(update={"id": f"item-{number}"}) for number in range(1, 7)]
    for items, names in ((many[:5], "bob (by reply)"), (many, None)):
        story = Story(plan_of(*items), AS_OF)
        story.approved(replies=["bob slack:C1/1", "ann@example.com slack:C1/2", "zoe slack:C1/3"])
        story.did(items[0], Step.PUBLISH, Step.DEACTIVATE)
        assert told(story) == ["bob (by reply)", names]
