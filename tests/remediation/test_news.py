"""What people are told: every change and question once, owners on three days, and nothing that is old."""

import pytest

from auditor.model import KeyStatus
from auditor.remediation.decision import Step
from auditor.remediation.journal import Event
from auditor.remediation.news import Notice, untold
from auditor.remediation.plan import Basis, Delivery, Item, Kind, PlannedKey, Use, Waits
from auditor.remediation.progress import fold
from tests.builders import AS_OF, ago
from tests.remediation.story import Story
from tests.remediation.world import plan_of

ITEM = Item(
    id="item-1",
    kind=Kind.ROTATE,
    through=Kind.DEACTIVATE,
    account_id="111111111111",
    account_name="prod",
    partition="aws",
    user="app",
    user_id="AIDA",
    key=PlannedKey(id="AKIAOLD", created_at=ago(200), status=KeyStatus.ACTIVE, last_used=Use(at=ago(1))),
    basis=(Basis(control="key-age", severity="high", reason="old"),),
    owner="payments",
    delivery=Delivery(secret="auditor/app"),
    waits=Waits(grace_days=7, quiet_days=14, quarantine_days=14),
)


def untold_of(story: Story) -> list[Notice]:
    """What is to be told now."""
    return untold(story.rows, fold(story.rows), story.now)


def tell(story: Story) -> list[str]:
    """What is to be told now; it is told."""
    found = untold_of(story)
    for notice in found:
        story.add(ITEM.id, Event.TOLD, key=notice.key, by=["slack"])
    return [notice.what for notice in found]


@pytest.fixture
def story() -> Story:
    story = Story(plan_of(ITEM), AS_OF)
    story.approved(("bob@example.com", "deactivate"))
    return story


def test_a_change_is_told_once_and_with_the_way_back(story: Story) -> None:
    """Of what prepares it nobody hears; what no channel took is told the next time, under the same key."""
    story.did(ITEM, Step.PREPARE, Step.CREATE)
    assert untold_of(story) == []
    story.did(ITEM, Step.VERIFY, Step.PUBLISH)
    first, second = untold_of(story), untold_of(story)
    assert first == second
    assert tell(story) == ["Rotated: the new key AKIANEW is read from auditor/app in Secrets Manager; AKIAOLD works on"]
    assert untold_of(story) == []
    story.did(ITEM, Step.DEACTIVATE)
    (off,) = untold_of(story)
    assert (off.what, off.undo) == ("Switched off", "auditor remediate rollback item-1 --reason TEXT")


def test_a_question_is_urgent(story: Story) -> None:
    """A person is needed: the reason and its code."""
    story.add(ITEM.id, Event.ASKED, code="STILL_USED", reason="s3 uses it")
    (asked,) = untold_of(story)
    assert (asked.what, asked.is_urgent) == ("A person is needed: s3 uses it (STILL_USED)", True)


def test_a_question_that_stands_is_told_once_whatever_it_says(story: Story) -> None:
    """What still uses a key is another use every day; it is told again only when something was done in between."""
    for day in range(3):
        story.add(ITEM.id, Event.ASKED, code="STILL_USED", reason=f"s3 used it on day {day}")
        assert len(tell(story)) == (day == 0)
        story.pass_(days=1)
    story.add(ITEM.id, Event.ASKED, code="NEW_KEY_LOST", reason="it is gone")
    assert len(tell(story)) == 1
    story.add(ITEM.id, Event.WAITING, reason="it is there again")
    story.add(ITEM.id, Event.ASKED, code="NEW_KEY_LOST", reason="it is gone")
    assert len(tell(story)) == 1, "what was settled and comes back is another question"
    story.add(ITEM.id, Event.RELEASED, reason="found", by="ann")
    story.add(ITEM.id, Event.ASKED, code="STILL_USED", reason="s3 uses it")
    assert tell(story) == ["A person is needed: s3 uses it (STILL_USED)"]


def test_how_an_item_ends_by_others_is_told(story: Story) -> None:
    """Closed, or somebody else did it; the end that was planned is told by the step that led there."""
    story.add(ITEM.id, Event.ENDED, how="closed: enough")
    assert tell(story) == ["Nothing more is done: closed: enough"]
    story.add(ITEM.id, Event.ENDED, how="inactive")
    assert tell(story) == []


def test_an_owner_is_reminded_on_three_days(story: Story) -> None:
    """With what still uses the old key; once a day that counts, and not after it is switched off."""
    story.did(ITEM, Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH)
    tell(story)
    told: dict[int, list[str]] = {}
    for day in range(1, 20):
        story.pass_(days=1)
        story.add(ITEM.id, Event.WAITING, reason="last used by s3 in eu-west-1", who="payments", until=None)
        told[day] = tell(story)
    assert [day for day, what in told.items() if what] == [3, 7, 14]
    assert told[7] == ["7 days after its new key was published: last used by s3 in eu-west-1"]
    story.did(ITEM, Step.DEACTIVATE)
    story.pass_(days=60)
    assert untold_of(story) == []


def test_what_was_before_there_was_a_channel_is_not_told(story: Story) -> None:
    """A week's news, and no history."""
    story.did(ITEM, Step.DEACTIVATE)
    story.pass_(days=8)
    story.add(ITEM.id, Event.HELD, reason="audit")
    assert [notice.what for notice in untold_of(story)] == ["Held: audit"]


def test_having_been_told_changes_nothing_about_an_item(story: Story) -> None:
    """The journal's row of it is no step."""
    story.did(ITEM, Step.DEACTIVATE)
    before = fold(story.rows).items
    story.add(ITEM.id, Event.TOLD, key="item-1/4", by=["slack"])
    assert fold(story.rows).items == before


def test_a_key_that_leaked_is_a_matter_for_a_person(story: Story) -> None:
    """It is switched off, and somebody has to find out what was done with it."""
    leaked = ITEM.model_copy(update={"kind": Kind.DEACTIVATE, "delivery": None, "urgent": True})
    story = Story(plan_of(leaked), AS_OF)
    story.approved(("bob@example.com", "deactivate"))
    story.did(leaked, Step.DEACTIVATE)
    (notice,) = untold_of(story)
    assert notice.is_urgent
    assert notice.what.startswith("Switched off: others may have it.")
