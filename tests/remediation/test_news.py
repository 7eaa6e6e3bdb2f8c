"""What people are told: every change and question once, owners on three days, and nothing that is old."""

from pathlib import Path

import pytest

from auditor.model import KeyStatus
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from auditor.remediation.lifecycle import Step
from auditor.remediation.news import Notice, untold
from auditor.remediation.plan import Basis, Delivery, Item, Kind, PlannedKey, Use, Waits
from auditor.remediation.progress import fold
from tests.builders import ago
from tests.remediation.world import Clock, plan_of

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


class Story:
    """A journal, written as time passes."""

    def __init__(self, folder: Path) -> None:
        """The plan is claimed and approved."""
        self.clock, self.folder = Clock(), folder
        plan = plan_of(ITEM)
        self.add("", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
        self.add("", Event.APPROVED, through={ITEM.id: "deactivate"})

    def add(self, item: str, event: Event, **told: object) -> None:
        """A row, now."""
        with open_journal(self.folder, lambda: self.clock.now) as journal:
            journal.add("plan-1", item, event, **told)

    def result(self, step: Step, **told: object) -> None:
        """A step that came off."""
        self.add(ITEM.id, Event.INTENT, step=step.value, intent="x", keys=["AKIAOLD"])
        self.add(ITEM.id, Event.RESULT, step=step.value, outcome="done", **told)

    def untold(self) -> list[Notice]:
        """What is to be told now."""
        with open_journal(self.folder, lambda: self.clock.now, writes=False) as journal:
            return untold(journal.rows, fold(journal.rows), self.clock.now)

    def tell(self) -> list[str]:
        """What is to be told now; it is told."""
        found = self.untold()
        for notice in found:
            self.add(ITEM.id, Event.TOLD, key=notice.key, by=["slack"])
        return [notice.what for notice in found]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_change_is_told_once_and_with_the_way_back(story: Story) -> None:
    """Of what prepares it nobody hears; what no channel took is told the next time, under the same key."""
    story.result(Step.PREPARE)
    story.result(Step.CREATE, key="AKIANEW", version="v")
    assert story.untold() == []
    story.result(Step.VERIFY)
    story.result(Step.PUBLISH)
    first, second = story.untold(), story.untold()
    assert first == second
    assert story.tell() == ["Rotated: the new key AKIANEW is read from auditor/app; AKIAOLD works on"]
    assert story.untold() == []
    story.result(Step.DEACTIVATE)
    (off,) = story.untold()
    assert (off.what, off.undo) == ("Switched off", "auditor remediate rollback item-1 --reason TEXT")


def test_a_question_is_urgent(story: Story) -> None:
    """A person is needed: the reason and its code."""
    story.add(ITEM.id, Event.ASKED, code="STILL_USED", reason="s3 uses it")
    (asked,) = story.untold()
    assert (asked.what, asked.is_urgent) == ("A person is needed: s3 uses it (STILL_USED)", True)


def test_an_owner_is_reminded_on_three_days(story: Story) -> None:
    """With what still uses the old key; once a day that counts, and not after it is switched off."""
    for step in (Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH):
        story.result(step, **({"key": "AKIANEW", "version": "v"} if step is Step.CREATE else {}))
    story.tell()
    told: dict[int, list[str]] = {}
    for day in range(1, 20):
        story.clock.pass_(days=1)
        story.add(ITEM.id, Event.WAITING, reason="last used by s3 in eu-west-1", who="payments", until=None)
        told[day] = story.tell()
    assert [day for day, what in told.items() if what] == [3, 7, 14]
    assert told[7] == ["7 days after its new key was published: last used by s3 in eu-west-1"]
    story.result(Step.DEACTIVATE)
    story.clock.pass_(days=60)
    assert story.untold() == []


def test_what_was_before_there_was_a_channel_is_not_told(story: Story) -> None:
    """A week's news, and no history."""
    story.result(Step.DEACTIVATE)
    story.clock.pass_(days=8)
    story.add(ITEM.id, Event.HELD, reason="audit")
    assert [notice.what for notice in story.untold()] == ["Held: audit"]


def test_having_been_told_changes_nothing_about_an_item(story: Story) -> None:
    """The journal's row of it is no step."""
    story.result(Step.DEACTIVATE)
    with open_journal(story.folder, lambda: story.clock.now) as journal:
        before = fold(journal.rows).items
        journal.add("plan-1", ITEM.id, Event.TOLD, key="item-1/4", by=["slack"])
        assert fold(journal.rows).items == before
