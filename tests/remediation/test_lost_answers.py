"""After an answer that was lost all goes on by itself: nobody is asked anything, and what we did is told as ours.

AWS's list shows what was for half a minute, the tries of a call may take longer than that, and CloudTrail comes after a
quarter of an hour.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from moto.iam.models import IAMBackend

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.model import KeyStatus
from auditor.remediation.decision import Live
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event
from auditor.remediation.plan import Kind
from auditor.remedy.by_hand import tell_journal
from auditor.remedy.rollback import switch_on
from tests.remediation.test_by_hand import means_of
from tests.remediation.test_many_plans import GONE, OFF, Story
from tests.remediation.test_rollback import told_actions
from tests.remediation.test_whose_doing import NOTHING
from tests.remediation.world import World

LAG, TRAIL = timedelta(seconds=30), timedelta(minutes=15)


@pytest.fixture
def story(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """One key; ListAccessKeys shows for a while what was before a write."""
    changed: dict[str, tuple[datetime, KeyStatus]] = {}
    update, look = IAMBackend.update_access_key, Hands.look

    def remembers(self: IAMBackend, user: str, key_id: str, status: str) -> None:
        before = world.keys(user)[key_id]
        if before != status:
            changed[key_id] = (world.clock.now, KeyStatus(before))
        update(self, user, key_id, status)

    def lags(self: Hands) -> Live:
        live = look(self)
        late = {name: status for name, (at, status) in changed.items() if world.clock.now - at < LAG}
        keys = [replace(one, status=late.get(one.access_key_id, one.status)) for one in live.keys]
        return replace(live, keys=tuple(keys))

    monkeypatch.setattr(IAMBackend, "update_access_key", remembers)
    monkeypatch.setattr(Hands, "look", lags)
    return Story(world, tmp_path)


def once(story: Story, fault: Fault, seconds: float) -> Callable[[Call], Fault | None]:
    """The call that switches the key fails like this, after tries of so many seconds."""

    def decide(call: Call) -> Fault | None:
        if call.action == "UpdateAccessKey":
            if story.wrote_at < story.now - timedelta(hours=1):
                story.passes(seconds=seconds)
            story.wrote_at = story.now
            return fault
        return NOTHING if call.action == "LookupEvents" and story.now - story.wrote_at < TRAIL else None

    return decide


def ticks(story: Story, *minutes: float) -> None:
    """The scheduler's, so long after one another."""
    for one in minutes:
        story.passes(minutes=one)
        story.world.fault = lambda call: (
            NOTHING if call.action == "LookupEvents" and story.now - story.wrote_at < TRAIL else None
        )
        story._tick()
        story.world.fault = lambda _call: None


@pytest.mark.parametrize("after", [(0.4, 5, 60), (1440,)], ids=["soon", "the next day"])
@pytest.mark.parametrize("fault", [LostFault(), ErrorFault(500, "ServiceFailure")], ids=["done", "not done"])
@pytest.mark.parametrize("seconds", [0, 90])
@pytest.mark.parametrize("goal", [OFF, GONE], ids=["unused", "leaked"])
def test_a_key_is_switched_off_and_deleted_all_the_same(
    story: Story, goal: tuple[Kind, Kind, bool], seconds: float, fault: Fault, after: tuple[float, ...]
) -> None:
    """In time, and without a question."""
    story.somebody_plans(goal, "at once")
    ticks(story, *([] if goal is GONE else [3600]))
    story.passes(hours=30)
    story.world.fault = once(story, fault, seconds)
    story._tick()
    ticks(story, *after)
    for _ in range(40):
        ticks(story, 1200)
        if story.status is None:
            break
    assert [line for line in story.lines if "needs a person" in line] == []
    assert story.status is None
    said = [action for action, detail in told_actions(story.world, story.folder) if detail is None]
    assert said[-2:] == ["deactivated", "deleted"][-len(said) :]


@pytest.mark.parametrize("seconds", [90, 420, 3600])
def test_who_switched_it_on_again_is_not_overruled_however_long_the_tries_last(story: Story, seconds: float) -> None:
    """CloudTrail takes as long from the call on, not from when it was begun."""
    story.somebody_plans(OFF, "at once")
    ticks(story, 3600)
    story.passes(hours=30)
    begun = story.now
    story.world.fault = once(story, LostFault(), seconds)
    story._tick()
    assert story.status == "Inactive"
    story.colleague_switches("Active")
    ticks(story, max(1.0, 20.5 - (story.now - begun).total_seconds() / 60), 30)
    assert "REACTIVATED" in story.lines[-1]
    assert story.status == "Active"


@pytest.mark.parametrize("seconds", [0, 90])
def test_a_rollback_without_an_answer_is_nobody_elses(story: Story, world: World, seconds: float) -> None:
    """Once it is released, nobody is asked who needs the key: that was said when it was rolled back."""
    story.somebody_plans(OFF, "at once")
    ticks(story, 3600, 1800, 1440)
    assert story.status == "Inactive"
    (item_id,) = story.items
    world.fault = once(story, LostFault(), seconds)
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, story.folder), item_id, (None, None), "needed")
    ticks(story, 0.1, 5, 60)
    story.held.clear()
    tell_journal(means_of(world, story.folder), item_id, Event.RELEASED, reason="over", by="ann")
    ticks(story, 5)
    assert "must be quiet for 2 days" in story.lines[-1]


def test_a_list_that_goes_back_once_more_is_nobodys_doing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica of AWS's answers within the minute: the key is off, and shown as on."""
    story = Story(world, tmp_path)
    story.somebody_plans(OFF, "at once")
    ticks(story, 3600)
    story.passes(hours=30)
    world.fault = once(story, LostFault(), 0)
    story._tick()
    look = Hands.look

    def old(self: Hands) -> Live:
        live = look(self)
        return replace(live, keys=tuple(replace(one, status=KeyStatus.ACTIVE) for one in live.keys))

    with monkeypatch.context() as context:
        context.setattr(Hands, "look", old)
        ticks(story, 0.3)
    for _ in range(30):
        ticks(story, 1200)
    assert [line for line in story.lines if "needs a person" in line] == []
    assert story.status is None
