"""A key that was to be switched off or on, of which no answer came: by whom it is so, CloudTrail says, or nobody."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from moto.iam.models import iam_backends

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault, RawFault
from auditor.remediation.decision import Step
from auditor.remediation.engine import Outcome, Standing
from auditor.remediation.journal import Event
from auditor.remediation.plan import Item, Kind
from auditor.remedy.by_hand import tell_journal
from auditor.remedy.carrying_out import advance, can_give_way
from auditor.remedy.rollback import switch_on
from tests.remediation.test_by_hand import claim_signed, means_of
from tests.remediation.test_rollback import NOBODYS, NOT_KNOWN, switched_off, told_actions, tracked
from tests.remediation.world import OTHER, World, due_item, item_of

BROKEN = ErrorFault(500, "ServiceFailure")
NOTHING = RawFault(b'{"Events": []}', content_type="application/x-amz-json-1.1")
DENIED = ErrorFault(403, "AccessDeniedException")


def ticked(world: World, folder: Path) -> Outcome:
    """The outcome of a tick's only item."""
    (outcome,) = advance(means_of(world, folder), lambda _: None)
    return outcome


def colleague(item: Item, status: str) -> None:
    """Somebody else switches the key on or off in the console."""
    iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, status)


def faults(world: World, **actions: Fault) -> None:
    """What goes wrong from now on, by action."""
    world.fault = lambda call: actions.get(call.action)


def exposed(world: World, folder: Path, user: str, through: Kind = Kind.DELETE) -> Item:
    """A key that is to be switched off at once."""
    item = item_of(world, user, Kind.DEACTIVATE, through, urgent=True)
    claim_signed(world, folder, item)
    return item


def test_what_somebody_else_switched_off_is_not_ours_though_we_were_to(world: World, tmp_path: Path) -> None:
    """AWS failed to do it, and a colleague did it to look into something: that key is not deleted."""
    item = exposed(world, tmp_path, "user-1")
    faults(world, UpdateAccessKey=BROKEN)
    ticked(world, tmp_path)
    faults(world)
    colleague(item, "Inactive")
    world.clock.pass_(minutes=5)
    outcome = ticked(world, tmp_path)
    assert (outcome.standing, "CloudTrail will tell" in outcome.told) == (Standing.WAITS, True)
    assert tracked(world, tmp_path, item).begun_as(Step.DEACTIVATE) is not None
    for _ in range(30):
        world.clock.pass_(days=1)
        outcome = ticked(world, tmp_path)
        assert (outcome.standing, "ALREADY_INACTIVE" in outcome.told) == (Standing.NEEDS_PERSON, True)
    assert world.keys(item.user) == {item.key.id: "Inactive"}
    assert told_actions(world, tmp_path) == [("deactivated", NOT_KNOWN)]


def test_what_we_did_without_an_answer_is_ours_when_cloudtrail_knows_it(world: World, tmp_path: Path) -> None:
    """It takes a while; nothing is settled before."""
    item = exposed(world, tmp_path, "user-2")
    faults(world, UpdateAccessKey=LostFault(), LookupEvents=NOTHING)
    assert "CloudTrail will tell" in ticked(world, tmp_path).told
    seen_at = world.clock.now
    world.clock.pass_(minutes=10)
    assert "CloudTrail will tell" in ticked(world, tmp_path).told
    faults(world)
    world.clock.pass_(minutes=30)
    assert "stays inactive for a while" in ticked(world, tmp_path).told
    assert tracked(world, tmp_path, item).done.inactive_at == seen_at
    assert told_actions(world, tmp_path) == [("deactivated", None)]


@pytest.mark.parametrize(
    ("way", "ends"),
    [("release", "deleted"), ("rollback", None), ("the key is on again", "inactive again")],
)
def test_a_person_says_how_it_goes_on(world: World, tmp_path: Path, way: str, ends: str | None) -> None:
    """Where CloudTrail cannot be read: the key stays off for the whole time from that word on."""
    item = exposed(world, tmp_path, "user-3")
    faults(world, UpdateAccessKey=LostFault(), LookupEvents=DENIED)
    assert "CloudTrail will tell" in ticked(world, tmp_path).told
    world.clock.pass_(days=20 if way == "release" else 0.1)
    outcome = ticked(world, tmp_path)
    assert (outcome.standing, "`release`" in outcome.told) == (Standing.NEEDS_PERSON, True)
    faults(world)
    if way == "release":
        tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="it was us", by="ann")
        world.clock.pass_(days=13)
        assert "stays inactive for a while" in ticked(world, tmp_path).told
        world.clock.pass_(days=1)
        assert "to delete, not before" in ticked(world, tmp_path).told
        world.clock.pass_(days=4)
        while ticked(world, tmp_path).standing is not Standing.DONE:
            world.clock.pass_(hours=6)
    elif way == "rollback":
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
        assert ticked(world, tmp_path).told == "held: needed"
    else:
        colleague(item, "Active")
        assert ticked(world, tmp_path).steps == (Step.DEACTIVATE,)
    state = tracked(world, tmp_path, item)
    assert (state.done.deleted_at is not None) is (ends == "deleted")
    assert means_of(world, tmp_path).ledger().key(item.key.id).is_off_by_us is not None
    assert world.keys(item.user) == ({} if ends == "deleted" else {item.key.id: "Inactive" if ends else "Active"})


def test_a_release_of_what_somebody_else_switched_off_takes_nothing(world: World, tmp_path: Path) -> None:
    """We did nothing about it: it is asked again, however often."""
    item = due_item(world, "user-4", Kind.DEACTIVATE).model_copy(update={"through": Kind.DELETE})
    claim_signed(world, tmp_path, item)
    colleague(item, "Inactive")
    for _ in range(2):
        outcome = ticked(world, tmp_path)
        assert (outcome.standing, "somebody else switched the key off" in outcome.told) == (Standing.NEEDS_PERSON, True)
        tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="go on", by="ann")
        world.clock.pass_(days=30)


def test_an_exposed_key_that_is_off_is_at_its_end_whoever_did_it(world: World, tmp_path: Path) -> None:
    """It was to be off, and no more; that nobody knows by whom is said."""
    exposed(world, tmp_path, "user-5", Kind.DEACTIVATE)
    faults(world, UpdateAccessKey=LostFault(), LookupEvents=DENIED)
    ticked(world, tmp_path)
    world.clock.pass_(hours=1)
    outcome = ticked(world, tmp_path)
    assert (outcome.standing, outcome.told) == (
        Standing.DONE,
        "inactive: whether by us or by somebody else is not known",
    )
    assert told_actions(world, tmp_path) == [("deactivated", NOT_KNOWN)]


def test_a_trail_that_is_throttled_is_asked_again(world: World, tmp_path: Path) -> None:
    """What may pass is no answer, however long it takes."""
    item = exposed(world, tmp_path, "user-6")
    faults(world, UpdateAccessKey=LostFault(), LookupEvents=ErrorFault(400, "ThrottlingException"))
    ticked(world, tmp_path)
    world.clock.pass_(days=1)
    assert "LookupEvents" in ticked(world, tmp_path).told
    assert tracked(world, tmp_path, item).begun != ()
    faults(world)
    ticked(world, tmp_path)
    assert told_actions(world, tmp_path) == [("deactivated", None)]


def told_by_trail(call: Call, changes: Mapping[str, object]) -> Fault:
    """CloudTrail tells of our call, but for what is given."""
    asked = {"userName": call.params["UserName"], "accessKeyId": call.params["AccessKeyId"], "status": "Inactive"}
    told = {
        "userAgent": call.user_agent,
        "requestParameters": {**asked, **changes},
        "errorCode": changes.get("errorCode"),
    }
    events = [{"EventId": "1", "CloudTrailEvent": json.dumps(told)}, {"EventId": "2", "CloudTrailEvent": "?"}]
    return RawFault(json.dumps({"Events": events}).encode(), content_type="application/x-amz-json-1.1")


@pytest.mark.parametrize(
    ("changes", "is_ours"),
    [
        ({}, True),
        ({"errorCode": "AccessDenied"}, False),
        ({"accessKeyId": "AKIAOTHER"}, False),
        ({"status": "Active"}, False),
    ],
    ids=["ours", "refused", "another key", "switched on"],
)
def test_a_call_that_aws_refused_is_in_the_trail_as_well(
    world: World, tmp_path: Path, changes: Mapping[str, object], *, is_ours: bool
) -> None:
    """It proves nothing, nor does one about another key."""
    item = exposed(world, tmp_path, "user-7")
    faults(world, UpdateAccessKey=LostFault(), LookupEvents=DENIED)
    ticked(world, tmp_path)
    call = next(one for one in world.cloud.call_log if one.action == "UpdateAccessKey")
    faults(world, LookupEvents=told_by_trail(call, changes))
    world.clock.pass_(hours=1)
    ticked(world, tmp_path)
    assert (tracked(world, tmp_path, item).done.inactive_at is not None) is is_ours


# ------------------------------------------------------------------------------------------------- on again


def tried(world: World, folder: Path, user: str, answer: Fault, through: Kind = Kind.DELETE) -> Item:
    """A key that was announced, and of whose switching off no answer comes."""
    item = due_item(world, user, Kind.DEACTIVATE).model_copy(update={"through": through})
    claim_signed(world, folder, item)
    faults(world, UpdateAccessKey=answer, LookupEvents=NOTHING)
    for _ in range(60):
        ticked(world, folder)
        if tracked(world, folder, item).begun:
            return item
        world.clock.pass_(hours=3)
    raise AssertionError


def test_a_key_that_somebody_switched_on_again_stays_on_though_nobody_told_that_it_was_off(
    world: World, tmp_path: Path
) -> None:
    """We did it, and the answer was lost: the outage that it made was ended by a colleague, not by AWS."""
    item = tried(world, tmp_path, "user-20", LostFault())
    faults(world)
    assert world.keys(item.user) == {item.key.id: "Inactive"}
    colleague(item, "Active")
    world.clock.pass_(minutes=5)
    ticked(world, tmp_path)
    for _ in range(10):
        world.clock.pass_(days=1)
        outcome = ticked(world, tmp_path)
        assert (outcome.standing, "REACTIVATED" in outcome.told) == (Standing.NEEDS_PERSON, True)
    assert world.keys(item.user) == {item.key.id: "Active"}
    assert told_actions(world, tmp_path) == [("deactivated", "no answer came; AWS shows it active")]


def test_a_key_that_is_on_again_is_not_at_its_end_though_it_was_to_be_off_and_no_more(
    world: World, tmp_path: Path
) -> None:
    """Nor is it off since then, for whoever plans to delete it later."""
    item = tried(world, tmp_path, "user-23", LostFault(), Kind.DEACTIVATE)
    faults(world)
    colleague(item, "Active")
    world.clock.pass_(minutes=5)
    outcome = ticked(world, tmp_path)
    assert (outcome.standing, "REACTIVATED" in outcome.told) == (Standing.NEEDS_PERSON, True)
    assert means_of(world, tmp_path).ledger().key(item.key.id).switched_off_at is None
    assert told_actions(world, tmp_path) == [("deactivated", "no answer came; AWS shows it active")]


def test_a_trail_that_never_answers_is_given_up(world: World, tmp_path: Path) -> None:
    """After some days a person is asked, as where it may not be read; a key that leaked waits for neither."""
    item = tried(world, tmp_path, "user-24", LostFault())
    faults(world, LookupEvents=ErrorFault(503, "ServiceUnavailable"))
    world.clock.pass_(hours=1)
    assert ticked(world, tmp_path).standing is Standing.FAILED
    assert can_give_way(tracked(world, tmp_path, item))
    world.clock.pass_(days=3)
    assert "ALREADY_INACTIVE" in ticked(world, tmp_path).told


def test_what_came_of_a_key_that_was_deleted_since_is_not_known(world: World, tmp_path: Path) -> None:
    """It may have been off before."""
    item = tried(world, tmp_path, "user-25", LostFault())
    faults(world)
    iam_backends[OTHER]["aws"].delete_access_key(item.key.id, item.user)
    world.clock.pass_(minutes=5)
    ticked(world, tmp_path)
    assert told_actions(world, tmp_path) == [("deactivated", NOT_KNOWN)]


def test_what_nobody_can_tell_of_a_key_that_is_on_is_asked(world: World, tmp_path: Path) -> None:
    """Nor does CloudTrail: who lets go of it has it wait and be announced anew."""
    item = tried(world, tmp_path, "user-21", LostFault())
    faults(world, LookupEvents=DENIED)
    colleague(item, "Active")
    world.clock.pass_(days=1)
    assert "REACTIVATED" in ticked(world, tmp_path).told
    tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="nobody", by="ann")
    faults(world)
    for _ in range(item.waits.quiet_days):
        assert ticked(world, tmp_path).standing is Standing.WAITS
        assert world.keys(item.user) == {item.key.id: "Active"}
        world.clock.pass_(days=1)


def test_what_aws_did_not_do_is_done_when_cloudtrail_has_no_call_of_ours(world: World, tmp_path: Path) -> None:
    """Nothing is asked, and nothing lost but a while."""
    item = tried(world, tmp_path, "user-22", BROKEN)
    faults(world)
    world.clock.pass_(minutes=5)
    assert "CloudTrail will tell" in ticked(world, tmp_path).told
    world.clock.pass_(hours=1)
    assert ticked(world, tmp_path).steps == (Step.DEACTIVATE,)
    assert world.keys(item.user) == {item.key.id: "Inactive"}
    assert told_actions(world, tmp_path) == [("deactivated", None)]


# ------------------------------------------------------------------------------------------------- switched on


def rolled_back(world: World, folder: Path, item: Item, **wrong: Fault) -> None:
    """A rollback of which no answer comes."""
    faults(world, UpdateAccessKey=wrong.pop("answer"), **wrong)
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, folder), item.id, NOBODYS, "needed")
    faults(world)


@pytest.mark.parametrize("before", ["Active", "Inactive"])
def test_a_key_that_was_on_already_is_not_told_as_switched_on(world: World, tmp_path: Path, before: str) -> None:
    """AWS failed to do it; the key was on, or somebody else did it."""
    item = switched_off(world, tmp_path, "user-10")
    colleague(item, before)
    rolled_back(world, tmp_path, item, answer=BROKEN)
    colleague(item, "Active")
    for minutes in (5, 30):
        world.clock.pass_(minutes=minutes)
        list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_actions(world, tmp_path) == [("deactivated", None), ("reactivated", NOT_KNOWN)]
    assert tracked(world, tmp_path, item).begun == ()


def test_a_key_that_we_switched_on_is_told_as_that_when_cloudtrail_knows_it(world: World, tmp_path: Path) -> None:
    """And not before: until then it is not known."""
    item = switched_off(world, tmp_path, "user-11")
    rolled_back(world, tmp_path, item, answer=LostFault())
    faults(world, LookupEvents=DENIED)
    world.clock.pass_(minutes=5)
    ticked(world, tmp_path)
    assert told_actions(world, tmp_path)[1:] == [("reactivated", NOT_KNOWN)]
    assert "CloudTrail will tell" in str(tracked(world, tmp_path, item).waits_for)
    faults(world)
    ticked(world, tmp_path)
    assert told_actions(world, tmp_path)[1:] == [("reactivated", None)]
    assert tracked(world, tmp_path, item).ended == "switched on again"
