"""What AWS showed of a key is kept: whoever needed it is not forgotten, whatever is done to the key since."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.decision import Step
from auditor.remediation.engine import Outcome, Standing
from auditor.remediation.journal import Event, Row
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Item, Kind, Plan
from auditor.remediation.progress import fold
from auditor.remedy.admission import admit
from auditor.remedy.by_hand import close_item, tell_journal
from auditor.remedy.of_user import Wish, plan_for, subject_of
from auditor.remedy.rollback import switch_on
from tests.builders import AS_OF, ago
from tests.remediation.test_by_hand import claim_signed, means_of
from tests.remediation.test_engine import USER, begun, days, hands
from tests.remediation.test_record import item_of as rotation_of
from tests.remediation.test_whose_doing import colleague
from tests.remediation.test_whose_doing import ticked as ticked_now
from tests.remediation.world import OTHER, World, claim, item_of, plan_of, tick, tracked


def said(world: World, folder: Path, item: Item, event: Event) -> None:
    """A person holds it, or releases it."""
    with open_journal(folder, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, event, reason="so", by="ann")


@pytest.mark.parametrize("is_held", [False, True])
def test_a_key_that_was_on_again_is_not_deleted_by_its_old_date(world: World, tmp_path: Path, *, is_held: bool) -> None:
    """Whoever switched it off since: a person decides, and then it has to be inactive as long as any."""
    item = begun(world, tmp_path)
    days(world, tmp_path, item, 9)
    hands(world, item).set_status(item.key.id, KeyStatus.ACTIVE)
    assert "REACTIVATED" in days(world, tmp_path, item, 1).told
    ledger = means_of(world, tmp_path).ledger()
    assert ledger.items[item.id].state(ledger.key(item.key.id)) == "active again"
    if is_held:
        said(world, tmp_path, item, Event.HELD)
    hands(world, item).set_status(item.key.id, KeyStatus.INACTIVE)
    if is_held:
        said(world, tmp_path, item, Event.RELEASED)
    outcome = days(world, tmp_path, item, 12)
    assert (outcome.standing, "inactive anew" in outcome.told) == (Standing.NEEDS_PERSON, True)
    said(world, tmp_path, item, Event.RELEASED)
    released = world.clock.now
    assert days(world, tmp_path, item, 1).told.startswith("the key stays inactive for a while")
    while tracked(world, tmp_path, item).ended is None:
        days(world, tmp_path, item, 1)
    assert world.clock.now - released >= timedelta(days=14)
    assert item.key.id not in world.keys(USER)


def test_a_key_that_somebody_switched_off_and_on_again_is_needed(world: World, tmp_path: Path) -> None:
    """What was announced before is over, though AWS tells of no use yet; released, it has to be quiet from then on."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DELETE)
    claim(world, tmp_path, plan_of(item))
    world.clock.pass_(days=2.5)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("to deactivate, not before ")
    hands(world, item).set_status(item.key.id, KeyStatus.INACTIVE)
    world.clock.pass_(hours=3)
    (outcome,) = tick(world, tmp_path)
    assert "ALREADY_INACTIVE" in outcome.told
    hands(world, item).set_status(item.key.id, KeyStatus.ACTIVE)
    world.clock.pass_(days=1.5)
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, "REACTIVATED" in outcome.told) == (Standing.NEEDS_PERSON, True)
    said(world, tmp_path, item, Event.RELEASED)
    world.clock.pass_(days=2)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("the key must be quiet for 2 days, from ")
    world.clock.pass_(days=1)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("to deactivate, not before ")
    assert world.keys(USER) == {item.key.id: "Active"}


def test_a_use_that_aws_tells_of_when_a_quiet_key_is_off_is_a_question(world: World, tmp_path: Path) -> None:
    """It was before that, and is told late: the key was not quiet, so something needs it."""
    item = begun(world, tmp_path)
    days(world, tmp_path, item, 8)
    off = world.clock.now
    assert world.keys(USER)[item.key.id] == "Inactive"
    world.cloud.record_use(item.key.id, UsedAt(off - timedelta(hours=3), "s3", "eu-west-1"))
    outcome = days(world, tmp_path, item, 1)
    assert (outcome.standing, "USED_SINCE" in outcome.told) == (Standing.NEEDS_PERSON, True)


def ticked(world: World, folder: Path, **later: float) -> Outcome:
    """The item's outcome so much later."""
    world.clock.pass_(**later)
    return ticked_now(world, folder)


def switched_off(world: World, folder: Path, user: str) -> Item:
    """A key that nobody used was switched off, and is to be deleted later."""
    item = item_of(world, user, Kind.DEACTIVATE, Kind.DELETE)
    claim_signed(world, folder, item)
    for _ in range(60):  # some of which are in the hours of the window
        ticked(world, folder, hours=5)
        if world.keys(user) == {item.key.id: "Inactive"}:
            return item
    raise AssertionError("it is not switched off")


def rollback_of_unknown_outcome(world: World, folder: Path, item: Item) -> None:
    """AWS answers with a failure of its own, and did nothing; a person lets go of what that holds."""
    world.fault = lambda call: ErrorFault(500, "ServiceFailure") if call.action == "UpdateAccessKey" else None
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, folder), item.id, (None, None), "needed")
    world.fault = lambda _call: None
    ticked(world, folder, days=1)
    tell_journal(means_of(world, folder), item.id, Event.RELEASED, reason="over", by="ann")


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_rollback_that_did_nothing_explains_no_key_that_is_on_later(
    world: World, tmp_path: Path, *, is_ours: bool
) -> None:
    """Of whom that is nobody knows, so it is asked: days after it a colleague needs the key."""
    user = f"user-{70 + is_ours}"
    if is_ours:
        item = switched_off(world, tmp_path, user)
    else:
        item = item_of(world, user, Kind.DEACTIVATE, Kind.DELETE)
        claim_signed(world, tmp_path, item)
        colleague(item, "Inactive")
        assert "ALREADY_INACTIVE" in ticked(world, tmp_path, days=1).told
    rollback_of_unknown_outcome(world, tmp_path, item)
    if is_ours:
        assert "INACTIVE_ANEW" in ticked(world, tmp_path, days=1).told
        tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="over", by="ann")
    ticked(world, tmp_path, days=1)
    colleague(item, "Active")
    assert "REACTIVATED" in ticked(world, tmp_path, days=1).told
    assert "REACTIVATED" in ticked(world, tmp_path, days=2).told
    colleague(item, "Inactive")
    assert {ticked(world, tmp_path, days=1).standing for _ in range(20)} == {Standing.NEEDS_PERSON}
    assert world.keys(user) == {item.key.id: "Inactive"}


@pytest.mark.parametrize("ends_by", ["closed", "refused"])
def test_a_plan_after_that_dates_the_key_by_when_it_was_active(world: World, tmp_path: Path, ends_by: str) -> None:
    """Not by when it was switched off before, whatever ended the item that saw it active."""
    user = f"user-{72 + (ends_by == 'closed')}"
    item = switched_off(world, tmp_path, user)

    def planned() -> Plan:
        means = means_of(world, tmp_path)
        wish = Wish(Kind.DELETE, Kind.DELETE, "old", item.key.id, owner="payments")
        return plan_for(means, subject_of(means, user, OTHER), wish, "ann@example.com")

    if ends_by == "refused":
        close_item(means_of(world, tmp_path), item.id, "by a plan of its own", "ann")
        (again,) = planned().items
        claim_signed(world, tmp_path, again, 2)
    colleague(item, "Active")
    seen = ticked(world, tmp_path, days=1)
    if ends_by == "closed":
        assert "REACTIVATED" in seen.told
        close_item(means_of(world, tmp_path), item.id, "somebody needs it", "ann")
    else:
        assert (seen.standing, "KEY_CHANGED" in seen.told) == (Standing.REFUSED, True)
    world.clock.pass_(days=20)
    colleague(item, "Inactive")
    world.clock.pass_(minutes=5)
    plan = planned()
    (last,) = plan.items
    assert last.inactive_since is not None
    assert world.clock.now - last.inactive_since < timedelta(minutes=5)
    means = means_of(world, tmp_path)
    admit(means, plan, means.ledger())


def test_a_step_of_yesterday_hides_nothing_that_is_seen_today(world: World, tmp_path: Path) -> None:
    """What is healed was not written now: that the key is on is somebody's doing, and no list that lags behind."""
    item = switched_off(world, tmp_path, "user-74")
    for _ in range(30):
        if ticked(world, tmp_path, days=1).told.startswith("to delete"):
            break
    world.fault = lambda call: ErrorFault(500, "ServiceFailure") if call.action == "DeleteAccessKey" else None
    for _ in range(10):
        ticked(world, tmp_path, days=1)
        if tracked(world, tmp_path, item).intent is not None:
            break
    else:
        raise AssertionError("it is never to be deleted")
    world.fault = lambda _call: None
    colleague(item, "Active")
    assert "REACTIVATED" in ticked(world, tmp_path, days=1).told
    colleague(item, "Inactive")
    assert "INACTIVE_ANEW" in ticked(world, tmp_path, days=1).told
    assert world.keys("user-74") == {item.key.id: "Inactive"}


def test_what_is_seen_while_a_step_is_looked_into_is_not_forgotten(world: World, tmp_path: Path) -> None:
    """CloudTrail says later that it was ours; meanwhile somebody had needed the key."""
    item = item_of(world, "user-75", Kind.DEACTIVATE, Kind.DELETE)
    claim_signed(world, tmp_path, item)
    silent: Callable[[Call], Fault | None] = lambda call: (  # noqa: E731 - a fault
        ErrorFault(500, "InternalFailure") if call.action == "LookupEvents" else None
    )
    lost: Callable[[Call], Fault | None] = lambda call: (  # noqa: E731 - a fault
        LostFault() if call.action == "UpdateAccessKey" else silent(call)
    )
    world.fault = lost
    for _ in range(60):
        ticked(world, tmp_path, hours=5)
        if tracked(world, tmp_path, item).intent is not None:
            break
    world.fault = silent
    assert world.keys("user-75") == {item.key.id: "Inactive"}
    assert tracked(world, tmp_path, item).intent is not None
    ticked(world, tmp_path, minutes=5)
    colleague(item, "Active")
    ticked(world, tmp_path, minutes=5)
    colleague(item, "Inactive")
    ticked(world, tmp_path, minutes=5)
    world.fault = lambda _call: None
    outcome = ticked(world, tmp_path, hours=1)
    assert (outcome.standing, "INACTIVE_ANEW" in outcome.told) == (Standing.NEEDS_PERSON, True)


def test_a_list_that_lags_behind_ends_no_item(world: World, tmp_path: Path) -> None:
    """Right after a rollback it may show the key as inactive, as it was before."""
    item = item_of(world, "user-76", Kind.DEACTIVATE, Kind.DEACTIVATE)
    claim_signed(world, tmp_path, item)
    colleague(item, "Inactive")
    means = means_of(world, tmp_path)
    switch_on(means, item.id, (None, None), "needed")
    tell_journal(means, item.id, Event.RELEASED, reason="over", by="ann")
    colleague(item, "Inactive")  # as the list shows it
    assert "may not show yet" in ticked(world, tmp_path, seconds=5).told
    colleague(item, "Active")
    assert "must be quiet" in ticked(world, tmp_path, minutes=5).told


def test_a_plan_of_before_switches_nothing_off_that_somebody_needed_since(world: World, tmp_path: Path) -> None:
    """Two plans of one key: by the first it was switched off, and a colleague switched it on again."""
    first = item_of(world, "user-77", Kind.DEACTIVATE, Kind.DEACTIVATE)
    second = first.model_copy(update={"id": "item-of-2"})
    claim_signed(world, tmp_path, first)
    for _ in range(60):
        if ticked(world, tmp_path, hours=5).standing is Standing.DONE:
            break
    world.clock.pass_(minutes=5)
    colleague(first, "Active")
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        plan = plan_of(second, at=world.clock.now - timedelta(days=1)).model_copy(update={"id": "plan-2"})
        journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
        journal.add(plan.id, "", Event.APPROVED, through={second.id: "deactivate"})
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, "REACTIVATED" in outcome.told) == (Standing.NEEDS_PERSON, True)
    assert world.keys("user-77") == {first.key.id: "Active"}


def test_what_another_plan_saw_and_did_is_known_to_an_item_that_waits(world: World, tmp_path: Path) -> None:
    """The key was on when it was planned as leaked, and is off since: its old dates count no more."""
    item = switched_off(world, tmp_path, "user-78")
    colleague(item, "Active")
    world.clock.pass_(minutes=5)
    changes = {"id": "leaked", "urgent": True, "through": Kind.DEACTIVATE}
    leaked = item_of(world, "user-78", Kind.DEACTIVATE, Kind.DEACTIVATE).model_copy(update=changes)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        plan = plan_of(leaked, at=world.clock.now).model_copy(update={"id": "plan-2"})
        journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
        journal.add(plan.id, "", Event.APPROVED, through={leaked.id: "deactivate"})
    told = {outcome.item.id: outcome for outcome in tick(world, tmp_path)}
    assert told[leaked.id].steps == (Step.DEACTIVATE,)
    assert "INACTIVE_ANEW" in told[item.id].told


def planned_again(world: World, folder: Path, item: Item, days_ago: float, **changes: object) -> Item:
    """Another plan of the same key, which was made so many days ago, is applied now."""
    other = item.model_copy(update={"id": "again", **changes})
    plan = plan_of(other, at=world.clock.now - timedelta(days=days_ago)).model_copy(
        update={"id": "plan-2", "expires_at": world.clock.now + timedelta(days=9)}
    )
    with open_journal(folder, lambda: world.clock.now) as journal:
        journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
        journal.add(plan.id, "", Event.APPROVED, through={other.id: other.through.value})
    return other


def test_a_need_that_was_seen_is_known_to_a_plan_of_before(world: World, tmp_path: Path) -> None:
    """Its item was closed, since somebody needs the key: the older plan is no way around that."""
    item = switched_off(world, tmp_path, "user-79")
    colleague(item, "Active")
    assert "REACTIVATED" in ticked(world, tmp_path, days=1).told
    close_item(means_of(world, tmp_path), item.id, "somebody needs it", "ann")
    planned_again(world, tmp_path, item, 5)
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, "REACTIVATED" in outcome.told) == (Standing.NEEDS_PERSON, True)


def test_a_key_that_was_rescued_has_to_be_quiet_before_a_new_plan_switches_it_off(world: World, tmp_path: Path) -> None:
    """AWS may show no use: it was needed when somebody switched it on, which the journal and the plan know."""
    item = switched_off(world, tmp_path, "user-80")
    close_item(means_of(world, tmp_path), item.id, "so", "ann")
    colleague(item, "Active")
    world.clock.pass_(minutes=10)
    planned_again(world, tmp_path, item, 0)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("the key must be quiet for 2 days, from ")
    world.clock.pass_(days=2.5)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("to deactivate, not before ")


def test_that_a_plan_of_before_saw_a_key_active_is_not_lost(world: World, tmp_path: Path) -> None:
    """Two plans are taken in another order than they were made in."""
    item = switched_off(world, tmp_path, "user-81")
    off = world.clock.now
    assert means_of(world, tmp_path).ledger().key(item.key.id).switched_off_at is not None
    world.clock.pass_(days=8)
    inactive = {"kind": Kind.DELETE, "through": Kind.DELETE, "inactive_since": off}
    key = item.key.model_copy(update={"status": KeyStatus.INACTIVE})
    close_item(means_of(world, tmp_path), item.id, "so", "ann")
    planned_again(world, tmp_path, item, 1, key=key, **inactive)
    saw = plan_of(item.model_copy(update={"id": "saw"}), at=world.clock.now - timedelta(days=2))
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        document = saw.model_copy(update={"id": "plan-3"}).model_dump(mode="json", by_alias=True)
        journal.add("plan-3", "", Event.CLAIMED, plan=document)
    state = means_of(world, tmp_path).ledger().key(item.key.id)
    assert (state.active_at, state.switched_off_at) == (world.clock.now - timedelta(days=2), None)
    outcome = next(one for one in tick(world, tmp_path) if one.item.id == "again")
    assert (outcome.standing, "KEY_CHANGED" in outcome.told) == (Standing.REFUSED, True)


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_release_lets_no_other_item_switch_the_key_off_at_once(
    world: World, tmp_path: Path, *, is_closed: bool
) -> None:
    """The key has to be quiet from then on, whichever item or plan about it goes on."""
    user = f"user-{82 + is_closed}"
    item = switched_off(world, tmp_path, user)
    colleague(item, "Active")
    assert "REACTIVATED" in ticked(world, tmp_path, days=1).told
    tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="over", by="ann")
    if is_closed:
        close_item(means_of(world, tmp_path), item.id, "so", "ann")
    world.clock.pass_(minutes=10)
    planned_again(world, tmp_path, item, 0)
    told = {outcome.item.id: outcome.told for outcome in tick(world, tmp_path)}
    assert told["again"].startswith("the key must be quiet for 2 days, from ")


@pytest.mark.parametrize("is_late", [True, False])
def test_what_is_found_out_late_drops_nothing_that_was_seen_since(*, is_late: bool) -> None:
    """The call was sent before somebody needed the key: that it was ours explains nothing of later."""
    item = rotation_of("item-1")
    plan = plan_of(item)
    rows: list[tuple[Event, int, dict[str, Any]]] = [
        (Event.CLAIMED, 0, {"plan": plan.model_dump(mode="json", by_alias=True)}),
        (Event.INTENT, 1 if is_late else 5, {"step": "deactivate", "intent": "x", "keys": []}),
        (Event.SEEN, 2, {"status": "Inactive"}),
        (Event.SEEN, 3, {"status": "Active"}),
        (Event.SEEN, 4, {"status": "Inactive"}),
        (Event.RESULT, 6, {"step": "deactivate", "intent": "x", "outcome": "done"}),
    ]
    rows.sort(key=lambda one: one[1])
    ledger = fold(
        Row(number, AS_OF + timedelta(days=day), plan.id, item.id if number > 1 else "", event, told, "")
        for number, (event, day, told) in enumerate(rows, 1)
    )
    assert ledger.key(item.key.id).needed_at == (AS_OF + timedelta(days=3) if is_late else None)


def test_a_key_that_is_on_though_we_switched_it_off_was_needed() -> None:
    """Nobody saw it off: a process died right after the call, and CloudTrail has it."""
    item = rotation_of("item-1")
    plan = plan_of(item)
    told = {"step": "deactivate", "intent": "x"}
    claimed = {"plan": plan.model_dump(mode="json", by_alias=True)}
    ledger = fold(
        [
            Row(1, AS_OF, plan.id, "", Event.CLAIMED, claimed, ""),
            Row(2, AS_OF, plan.id, item.id, Event.INTENT, {**told, "keys": []}, ""),
            Row(3, ago(-1), plan.id, item.id, Event.RESULT, {**told, "outcome": "done", "shows": "active"}, ""),
        ]
    )
    assert ledger.key(item.key.id).needed_at == ago(-1)
