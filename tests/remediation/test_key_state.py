"""What is known of a key is one record: in whatever order it comes to be known, and whoever's clock it was."""

from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.aws.failures import AwsFailure
from auditor.demo import ErrorFault, Fault, LostFault
from auditor.errors import ApprovalError
from auditor.model import KeyStatus
from auditor.remediation.decision import Step
from auditor.remediation.engine import Standing
from auditor.remediation.journal import Event, Row
from auditor.remediation.key_state import KeyState
from auditor.remediation.plan import Item, Kind
from auditor.remediation.progress import Ledger, fold
from auditor.remedy.by_hand import close_item, tell_journal
from auditor.remedy.carrying_out import advance
from auditor.remedy.of_user import Wish, plan_for, subject_of
from auditor.remedy.rollback import switch_on
from tests.builders import AS_OF, ago
from tests.remediation.test_by_hand import claim_signed, means_of
from tests.remediation.test_record import item_of as planned_of
from tests.remediation.test_whose_doing import colleague
from tests.remediation.world import OTHER, World, item_of, plan_of, tick

ACTIVE, INACTIVE = KeyStatus.ACTIVE, KeyStatus.INACTIVE

FIRST = planned_of("first")
SECOND = FIRST.model_copy(update={"id": "second"})
"""Two items about one key, of two plans."""

Told = tuple[str, Event, datetime, dict[str, Any]]


def ledger_of(*told: Told) -> Ledger:
    """What rows tell, after the key was planned twice as active."""
    plans = [plan_of(item, at=ago(9)).model_copy(update={"id": f"plan-{item.id}"}) for item in (FIRST, SECOND)]
    claimed = [
        Row(number, ago(9), plan.id, "", Event.CLAIMED, {"plan": plan.model_dump(mode="json", by_alias=True)}, "")
        for number, plan in enumerate(plans, 1)
    ]
    rows = [Row(number, at, f"plan-{it}", it, event, what, "") for number, (it, event, at, what) in enumerate(told, 3)]
    return fold([*claimed, *rows])


def seen(at: float, status: KeyStatus, by: Item = FIRST) -> Told:
    """AWS showed it so, so many days ago."""
    return by.id, Event.SEEN, ago(at), {"status": status.value}


@given(
    st.lists(st.tuples(st.sampled_from([ACTIVE, INACTIVE]), st.integers(0, 99)), max_size=6, unique_by=lambda it: it[1])
)
def test_the_order_in_which_plans_are_taken_does_not_matter(sights: list[tuple[KeyStatus, int]]) -> None:
    """Each saw the key at its time."""
    states = set()
    for order in list(permutations(sights))[:24]:
        state = KeyState()
        for status, day in order:
            state = state.seen(status, ago(100 - day))
        states.add((state.sights, state.status, state.changed_at, state.active_at, state.needed_at))
    assert len(states) == 1


def switched(step: str, at: datetime, **told: Any) -> tuple[Told, Told]:
    """A step that was begun, and what came of it half a minute later."""
    begun, result = {"step": step, "intent": step, "keys": []}, {"step": step, "intent": step, "outcome": "done"}
    after = at + timedelta(seconds=30)
    return (FIRST.id, Event.INTENT, at, begun | told), (FIRST.id, Event.RESULT, after, result)


def test_rows_of_clocks_that_differ_are_in_the_order_of_the_journal() -> None:
    """A machine that is a minute behind switched the key on after another one had switched it off."""
    off, on = switched("deactivate", ago(1)), switched("reactivate", ago(1) - timedelta(minutes=1), reason="needed")
    state = ledger_of(*off, *on).key(FIRST.key.id)
    assert (state.status, state.switched_off_at, state.why_switched_on) == (ACTIVE, None, "needed")
    assert state.active_at is not None
    assert state.active_at > ago(1)


def test_a_clock_that_was_wrong_for_once_dates_nothing_after_it() -> None:
    """Rows of later have their own time again."""
    ledger = ledger_of(seen(-400, INACTIVE), seen(1, ACTIVE), seen(0.5, INACTIVE))
    assert ledger.key(FIRST.key.id).active_at == ago(1)


def test_what_cloudtrail_tells_late_finds_its_place() -> None:
    """Our call came off before somebody switched the key on again, and off: it is not ours that it is off now."""
    begun, (name, event, _, what) = switched("deactivate", ago(3))
    ledger = ledger_of(begun, seen(2, INACTIVE), seen(1, ACTIVE), seen(0.5, INACTIVE), (name, event, AS_OF, what))
    state = ledger.key(FIRST.key.id)
    assert (state.needed_at, state.switched_off_at) == (ago(1), None)
    assert ledger.items[FIRST.id].done.inactive_at == ago(2)


def test_a_key_that_was_active_after_a_call_of_ours_is_not_ours_for_being_off() -> None:
    """Nobody saw it off in between: CloudTrail tells late that it was, and somebody switched it on and off since."""
    begun, (name, event, _, what) = switched("deactivate", ago(3))
    ledger = ledger_of(begun, seen(1, ACTIVE), seen(0.5, INACTIVE), (name, event, AS_OF, what))
    state = ledger.key(FIRST.key.id)
    assert (state.needed_at, state.switched_off_at) == (ago(1), None)
    assert ledger.items[FIRST.id].done.inactive_at == ago(3)


@pytest.mark.parametrize("code", ["INACTIVE_ANEW", "USED_SINCE", "ALREADY_INACTIVE"])
def test_a_release_begins_no_time_anew_that_another_question_is_about(code: str) -> None:
    """The key was on and off again since it was asked: since when it is inactive is not what the person said."""
    begun, result = switched("deactivate", ago(9))
    asked = {"code": code, "reason": "?", "who": ""}
    since = [seen(2, ACTIVE, SECOND), seen(1, INACTIVE, SECOND)]
    question: Told = (FIRST.id, Event.ASKED, ago(3), asked)
    ledger = ledger_of(begun, result, question, *since, (FIRST.id, Event.RELEASED, ago(0.1), {"reason": "over"}))
    assert ledger.items[FIRST.id].done.inactive_at == ago(9) + timedelta(seconds=30)
    assert ledger.key(FIRST.key.id).active_at == ago(2)


@pytest.mark.parametrize("is_asked_since", [True, False])
def test_a_release_answers_what_was_asked(*, is_asked_since: bool) -> None:
    """Not what another item's tick saw since, of which nobody was asked yet."""
    asked = {"code": "REACTIVATED", "reason": "?", "who": ""}
    again = [seen(2, INACTIVE, SECOND), seen(1, ACTIVE, SECOND)]
    before = [seen(5, INACTIVE), seen(4, ACTIVE), (FIRST.id, Event.ASKED, ago(3), asked), *again]
    since = [(FIRST.id, Event.ASKED, ago(0.5), asked)] if is_asked_since else []
    ledger = ledger_of(*before, *since, (FIRST.id, Event.RELEASED, ago(0.1), {"reason": "over"}))
    assert ledger.key(FIRST.key.id).needed_at == (None if is_asked_since else ago(1))


def test_a_question_is_asked_anew_when_the_key_changed_since(world: World, tmp_path: Path) -> None:
    """In the same words: else a person could not answer what they were not asked."""
    item = item_of(world, "user-100", Kind.DEACTIVATE, Kind.DELETE)
    leaked = item.model_copy(update={"id": "leaked", "urgent": True, "through": Kind.DEACTIVATE})
    claim_signed(world, tmp_path, item)
    claim_signed(world, tmp_path, leaked, 2)
    tell_journal(means_of(world, tmp_path), leaked.id, Event.HELD, reason="so", by="ann")

    def asked() -> list[str]:
        world.clock.pass_(minutes=5)
        (told,) = [one.told for one in tick(world, tmp_path) if one.item.id == item.id]
        rows = means_of(world, tmp_path).ledger().items[item.id]
        return [told.rpartition("(")[2], str(rows.asked_at)]

    colleague(item, "Inactive")
    first = asked()
    assert first == asked()
    colleague(item, "Active")
    assert asked()[0] == "REACTIVATED)"
    colleague(item, "Inactive")
    again = asked()
    assert (again[0], again[1] > first[1]) == (first[0], True)


def test_an_announcement_of_before_a_key_was_switched_counts_no_more(world: World, tmp_path: Path) -> None:
    """Another item's person let it go: whoever owns it is told anew, though the time that was told is past."""
    item = item_of(world, "user-101", Kind.DEACTIVATE, Kind.DELETE)
    other = item.model_copy(update={"id": "other"})
    claim_signed(world, tmp_path, item)
    claim_signed(world, tmp_path, other, 2)
    world.clock.pass_(days=2.5)
    assert {one.told[:13] for one in tick(world, tmp_path)} == {"to deactivate"}
    for status in ("Inactive", "Active"):
        colleague(item, status)
        world.clock.pass_(minutes=5)
        assert {one.standing for one in tick(world, tmp_path)} == {Standing.NEEDS_PERSON}
    tell_journal(means_of(world, tmp_path), other.id, Event.RELEASED, reason="over", by="ann")
    world.clock.pass_(days=2.5)
    assert {one.told[:13] for one in tick(world, tmp_path)} == {"to deactivate"}
    assert world.keys("user-101") == {item.key.id: "Active"}


def test_other_items_wait_until_it_is_known_what_came_of_a_step(world: World, tmp_path: Path) -> None:
    """No answer came: CloudTrail will tell, and until then nothing else is done about the key."""
    item = item_of(world, "user-102", Kind.DEACTIVATE, Kind.DEACTIVATE)
    other = item.model_copy(update={"id": "other"})
    claim_signed(world, tmp_path, item)
    claim_signed(world, tmp_path, other, 2)
    world.clock.pass_(days=2.5)
    tick(world, tmp_path)
    world.clock.pass_(days=1.1)
    answers: dict[str, Fault] = {"UpdateAccessKey": LostFault(), "LookupEvents": ErrorFault(500, "InternalFailure")}
    world.fault = lambda call: answers.get(call.action)
    told = {one.item.id: one.told for one in tick(world, tmp_path)}
    assert told[other.id] == f"what came of switching the key off, for {item.id}, is not known yet"
    world.fault = lambda _call: None
    world.clock.pass_(hours=1)
    assert {one.standing for one in tick(world, tmp_path)} == {Standing.DONE}


def test_a_plan_is_of_the_instant_before_aws_was_read_for_it(world: World, tmp_path: Path) -> None:
    """Whoever switches the key on by hand while the plan is drafted comes after it."""
    means = means_of(world, tmp_path)
    subject, before = subject_of(means, "user-103", OTHER), world.clock.now

    def slow(_call: object) -> None:
        world.clock.pass_(minutes=3)

    world.fault = slow
    plan = plan_for(means, subject, Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "so", owner="app"), "ann@example.com")
    assert world.clock.now > before + timedelta(minutes=3)
    assert plan.created_at == before.replace(microsecond=0)


def test_a_plan_that_is_simulated_knows_of_what_is_under_way(world: World, tmp_path: Path) -> None:
    """An item of another plan switched its key off: to delete it has to wait from then on, and nothing is written."""
    item = item_of(world, "user-104", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    assert [one.steps for one in advance(means, lambda _: None)] == [(Step.DEACTIVATE,)]
    world.clock.pass_(minutes=5)
    wish = Wish(Kind.DELETE, Kind.DELETE, "so", item.key.id, owner="app")
    plan = plan_for(means, subject_of(means, "user-104", OTHER), wish, "ann@example.com")
    colleague(item, "Active")
    with means.journal(writes=False) as journal:
        head = journal.head
    (outcome,) = advance(means, lambda _: None, plan, simulates=True)
    assert "KEY_CHANGED" in outcome.told
    with means.journal(writes=False) as journal:
        assert journal.head == head


def test_nothing_is_written_for_what_is_simulated(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a journal, where there is none; what would be refused is."""
    means = means_of(world, tmp_path)
    wish = Wish(Kind.ROTATE, Kind.DELETE, "old", owner="app")
    plan = plan_for(means, subject_of(means, "user-105", OTHER), wish, "ann@example.com")
    before = sorted(tmp_path.iterdir())
    for _ in range(2):
        assert [one.told for one in advance(means, lambda _: None, plan, simulates=True)] == ["would prepare"]
        assert list(advance(means, lambda _: None, simulates=True)) == []
        monkeypatch.setenv("CI", "true")
    assert sorted(tmp_path.iterdir()) == before
    world.clock.pass_(days=31)
    with pytest.raises(ApprovalError, match="expired"):
        list(advance(means, lambda _: None, plan, simulates=True))


def test_what_a_crash_left_open_is_not_simulated(world: World, tmp_path: Path) -> None:
    """What comes of it a tick has to see first; nor is another plan of the name taken for the one that was begun."""
    item = item_of(world, "user-106", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    plan = claim_signed(world, tmp_path, item)
    world.fault = lambda call: LostFault() if call.action in {"UpdateAccessKey", "LookupEvents"} else None
    means = means_of(world, tmp_path)
    list(advance(means, lambda _: None))
    world.fault = lambda _call: None
    (outcome,) = advance(means, lambda _: None, plan, simulates=True)
    assert outcome.told == "what came of a step that was begun, deactivate, is not known: a tick looks at that first"
    other = plan.model_copy(update={"accounts_read": 2})
    with pytest.raises(ApprovalError, match="Another plan of this name"):
        list(advance(means, lambda _: None, other, simulates=True))


def test_what_only_its_user_can_settle_holds_nobody_up(world: World, tmp_path: Path) -> None:
    """A rollback without an answer lies on an own item; of a key that was to be off it is said who can settle it."""
    own = item_of(world, "user-107", Kind.DEACTIVATE, Kind.DEACTIVATE, own=True)
    claim_signed(world, tmp_path, own)
    begun = {"step": "reactivate", "intent": "a", "keys": [], "by": "ann", "reason": "needed"}
    with means_of(world, tmp_path).journal() as journal:
        journal.add("plan-1", own.id, Event.ENDED, how="inactive")
        journal.add("plan-1", own.id, Event.INTENT, **begun)
    item = own.model_copy(update={"id": "other", "own": False})
    claim_signed(world, tmp_path, item, 2)
    world.clock.pass_(days=2.5)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.told.startswith("to deactivate, not before")
    with means_of(world, tmp_path).journal() as journal:
        journal.add("plan-1", own.id, Event.INTENT, **begun | {"step": "deactivate", "intent": "b"})
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert (outcome.told[:38], outcome.who) == (
        "what came of switching the key off, fo",
        "user-107, by a tick of their own",
    )


def test_a_plan_of_a_clock_that_is_ahead_hides_nothing(world: World, tmp_path: Path) -> None:
    """Our answered call came after what it saw, whatever its clock says."""
    item = item_of(world, "user-108", Kind.DEACTIVATE, Kind.DELETE, urgent=True)
    world.clock.pass_(seconds=90)
    claim_signed(world, tmp_path, item)
    world.clock.pass_(seconds=-89)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.steps == (Step.DEACTIVATE,)
    assert outcome.told.startswith("the key stays inactive for a while")


def test_a_rollback_that_did_nothing_hides_not_that_it_may_have_been_us(world: World, tmp_path: Path) -> None:
    """No answer came when it was switched off, nor when it was to be on again: CloudTrail is asked of the first."""
    item = item_of(world, "user-109", Kind.DEACTIVATE, Kind.DELETE, urgent=True)
    claim_signed(world, tmp_path, item)
    answers: dict[str, Fault] = {"UpdateAccessKey": LostFault(), "LookupEvents": ErrorFault(500, "InternalFailure")}
    world.fault = lambda call: answers.get(call.action)
    list(advance(means_of(world, tmp_path), lambda _: None))
    answers["UpdateAccessKey"] = ErrorFault(500, "ServiceFailure")
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, (None, None), "needed")
    answers.clear()
    tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="over", by="ann")
    world.clock.pass_(days=1)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert "INACTIVE_ANEW" in outcome.told
    tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="over", by="ann")
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.told.startswith("the key stays inactive for a while")


@pytest.mark.parametrize("is_seen", [True, False])
def test_who_approves_is_told_that_a_key_was_off_and_is_active_again(
    world: World, tmp_path: Path, *, is_seen: bool
) -> None:
    """By a tick, or when it is planned: else they could not know that somebody needed it."""
    user = f"user-{110 + is_seen}"
    item = item_of(world, user, Kind.DEACTIVATE, Kind.DELETE)
    claim_signed(world, tmp_path, item)
    for status in ("Inactive", "Active"):
        colleague(item, status)
        world.clock.pass_(minutes=5)
        if is_seen or status == "Inactive":
            tick(world, tmp_path)
    close_item(means_of(world, tmp_path), item.id, "needed", "ann")
    means = means_of(world, tmp_path)
    wish = Wish(Kind.DEACTIVATE, Kind.DELETE, "so", owner="app")
    (again,) = plan_for(means, subject_of(means, user, OTHER), wish, "ann@example.com").items
    assert [one.partition(" at ")[0] for one in again.warnings] == ["switched off by somebody, and seen active again"]


def test_what_another_item_switched_off_is_said_so_and_may_count_as_switched_off(world: World, tmp_path: Path) -> None:
    """Nobody looks for a stranger; released, it is inactive for this one as well, from then on."""
    leaked = item_of(world, "user-112", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    item = leaked.model_copy(update={"id": "other", "urgent": False, "through": Kind.DELETE})
    claim_signed(world, tmp_path, item)
    claim_signed(world, tmp_path, leaked, 2)
    list(advance(means_of(world, tmp_path), lambda _: None))
    world.clock.pass_(minutes=5)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.standing is Standing.NEEDS_PERSON
    assert outcome.told.startswith("another item switched the key off")
    tell_journal(means_of(world, tmp_path), item.id, Event.RELEASED, reason="so", by="ann")
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.told.startswith("the key stays inactive for a while")
