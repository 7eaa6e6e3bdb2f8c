"""What a run keeps of the journal: every change with its approval, what is under way, and rows that tell of a touch."""

import json
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auditor.errors import OutputError
from auditor.model import KeyStatus
from auditor.remediation.decision import Step
from auditor.remediation.journal import Event, decode_rows, encode_rows
from auditor.remediation.plan import Basis, Delivery, Item, Kind, PlannedKey, Use, Waits
from auditor.remediation.record import Record, record
from auditor.tables import ACTIONS, PENDING, records_of
from tests.builders import AS_OF, ago
from tests.remediation.story import Story
from tests.remediation.world import plan_of

ROTATION = (Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH)


def item_of(name: str, **changes: object) -> Item:
    """A rotation of an old key, to its end."""
    item = Item(
        id=name,
        kind=Kind.ROTATE,
        through=Kind.DELETE,
        account_id="111111111111",
        account_name="prod",
        partition="aws",
        user="app",
        user_id="AIDA",
        key=PlannedKey(id="AKIAOLD", created_at=ago(200), status=KeyStatus.ACTIVE, last_used=Use(at=ago(1))),
        basis=(
            Basis(control="key-age", severity="high", reason="200 days old."),
            Basis(control="extra-keys", severity="low", reason="More than one."),
        ),
        owner="payments",
        delivery=Delivery(secret="auditor/app"),
        waits=Waits(grace_days=7, quiet_days=14, quarantine_days=14),
    )
    return item.model_copy(update=changes)


ITEM = item_of("item-1")
OTHER = item_of("item-2", user="ops")


@pytest.fixture
def story() -> Story:
    return Story(plan_of(ITEM, OTHER), AS_OF)


def told_by(story: Story) -> Record:
    """All of it."""
    return record(story.rows, story.now)


def actions(kept: Record, *names: str) -> list[tuple[object, ...]]:
    """These columns of the actions."""
    return [tuple(row[name] for name in names) for row in records_of(kept.actions)]


def test_a_whole_rotation_is_told_change_by_change(story: Story) -> None:
    """Preparing and verifying change no key; what made the old one expendable stands with what was done to it."""
    story.approved(("bob", "delete"), ("cat", "delete"))
    story.did(ITEM, *ROTATION)
    story.add(ITEM.id, Event.ADOPTED, evidence="AKIANEW was used by s3 in eu-west-1")
    story.did(ITEM, Step.DEACTIVATE, Step.DELETE)
    kept = told_by(story)
    assert list(kept.actions.columns) == list(ACTIONS)
    assert actions(kept, "action", "access_key_id", "old_key_id", "evidence") == [
        ("created", "AKIANEW", "AKIAOLD", None),
        ("published", "AKIANEW", "AKIAOLD", None),
        ("deactivated", "AKIAOLD", "AKIAOLD", "AKIANEW was used by s3 in eu-west-1"),
        ("deleted", "AKIAOLD", "AKIAOLD", "AKIANEW was used by s3 in eu-west-1"),
    ]
    (first, *_) = records_of(kept.actions)
    assert first["basis"] == "200 days old.\nMore than one."
    assert first["plan_sha256"] == story.plan.digest
    assert first["done_by"] == "arn:aws:sts::999900001111:assumed-role/rotate/nightly"
    row = next(row for row in story.rows if row.number == first["journal_row"])
    assert (row.event, row.told["step"], row.hash) == (Event.RESULT, "create", first["journal_hash"])
    begun = next(row for row in story.rows if row.event is Event.INTENT and row.told["step"] == "create")
    assert first["intent"] == begun.told["intent"]


def test_who_approved_is_who_approved_that_very_step(story: Story) -> None:
    """Not who approved less, nor another key; a reply counts as far as a reply may; to switch on needs nobody."""
    story.approved(("bob", "rotate"), replies=["dan slack:C1/1"])
    story.approved(("cat", "delete"), items=["item-2"])
    story.approved(("eve", "delete"), items=["item-1"])
    story.did(ITEM, *ROTATION, Step.DEACTIVATE, Step.DELETE, Step.REACTIVATE)
    assert actions(told_by(story), "action", "approved_by") == [
        ("created", "bob\ndan (by reply)\neve"),
        ("published", "bob\ndan (by reply)\neve"),
        ("deactivated", "dan (by reply)\neve"),
        ("deleted", "eve"),
        ("reactivated", None),
    ]


def test_a_key_that_was_made_and_taken_back_is_told(story: Story) -> None:
    """What failed without changing anything is not; a lost key that was deleted again was there for a while."""
    story.did(ITEM, Step.PREPARE)
    story.begun(ITEM, Step.CREATE)
    story.add(ITEM.id, Event.RESULT, step="create", outcome="failed", why="denied")
    story.begun(ITEM, Step.CREATE)
    story.add(ITEM.id, Event.MADE, key="AKIALOST")
    story.add(ITEM.id, Event.DISCARDED, key="AKIALOST", how="deleted", why="not stored")
    story.add(ITEM.id, Event.RESULT, step="create", outcome="failed", why="AKIALOST was deleted again: not stored")
    kept = told_by(story)
    assert actions(kept, "action", "access_key_id", "detail", "approved_by") == [
        ("discarded", "AKIALOST", "AKIALOST was deleted again: not stored", None)
    ]


def test_a_key_that_could_not_be_taken_back_is_told_as_what_is_there(story: Story) -> None:
    """It was made, and switched off at most: that somebody settled it by hand deletes nothing."""
    story.approved(("bob", "delete"))
    story.begun(ITEM, Step.CREATE)
    story.add(ITEM.id, Event.MADE, key="AKIALOST")
    story.add(ITEM.id, Event.DISCARDED, key="AKIALOST", how="inactive", why="not stored")
    story.add(ITEM.id, Event.RESULT, step="create", outcome="failed", why="settled by hand")
    assert actions(told_by(story), "action", "access_key_id", "detail", "approved_by") == [
        ("deactivated", "AKIALOST", "AKIALOST was switched off: not stored", None),
        ("created", "AKIALOST", "not stored: settled by hand", "bob"),
    ]


def test_what_is_under_way_is_told_with_whom_it_waits_for(story: Story) -> None:
    """Until it is at its end."""
    story.approved(("bob", "rotate"))
    story.did(ITEM, *ROTATION)
    until = story.now + timedelta(days=7)
    story.add(ITEM.id, Event.WAITING, reason="AKIAOLD is still used by s3", until=until.isoformat(), who="payments")
    story.add(OTHER.id, Event.ASKED, code="REACTIVATED", reason="somebody switched it on")
    kept = told_by(story)
    assert list(kept.pending.columns) == list(PENDING)
    first, second = records_of(kept.pending)
    assert (first["state"], first["waits_for"], first["who"]) == (
        "published",
        "AKIAOLD is still used by s3",
        "payments",
    )
    assert (first["since"], first["until"], first["needs_person"]) == (story.now, until, False)
    assert (second["state"], second["needs_person"], second["waits_for"]) == (
        "claimed",
        True,
        "somebody switched it on (REACTIVATED)",
    )
    story.add(OTHER.id, Event.ENDED, how="gave way")
    assert [row["item_id"] for row in records_of(told_by(story).pending)] == ["item-1"]


def test_what_came_after_the_instant_is_not_of_that_run(story: Story) -> None:
    """As of an instant means that; a clock that was ahead for one row hides none of the rows behind it."""
    story.approved(("bob", "delete"))
    story.did(ITEM, *ROTATION)
    at, rows = story.now, len(story.rows)
    story.pass_(days=1)
    story.did(ITEM, Step.DEACTIVATE)
    earlier = record(story.rows, at)
    assert (earlier.rows, earlier.head) == (rows, story.rows[rows - 1].hash)
    assert [action for (action,) in actions(earlier, "action")] == ["created", "published"]
    assert len(decode_rows(earlier.journal, "j")) == rows
    story.now = at
    story.add(ITEM.id, Event.HELD, reason="x", by="y")
    assert record(story.rows, at).rows == len(story.rows)


def test_nothing_done_is_an_empty_record() -> None:
    """With the columns that every record has."""
    kept = record([], AS_OF)
    assert (kept.rows, kept.journal, len(kept.actions), len(kept.pending)) == (0, b"", 0, 0)
    assert kept.actions.dtypes.astype(str).to_dict() == dict(ACTIONS)


# ------------------------------------------------------------------------------------------------- as lines of JSON


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers() | st.none(), max_size=3), max_size=5
    )
)
@example([{"a": "\u2028\u0085\x1c\n"}])
def test_rows_come_back_from_their_lines(everything: list[dict[str, object]]) -> None:
    """Whatever they tell of, in whatever script."""
    story = Story(plan_of(ITEM), AS_OF)
    for told in everything:
        story.journal.add("plan", "item-1", Event.TOLD, **{f"_{name}": value for name, value in told.items()})
    assert decode_rows(encode_rows(story.rows), "j") == story.rows


@pytest.mark.parametrize("field", ["number", "at", "plan", "item", "event", "told", "hash"])
def test_a_line_that_was_touched_is_found_out(story: Story, field: str) -> None:
    """Whatever of it, and wherever."""
    story.did(ITEM, *ROTATION)
    lines = encode_rows(story.rows).splitlines()
    row = json.loads(lines[2])
    changed = {"number": 7, "at": "2026-01-01T00:00:00+00:00", "told": {}, "event": "told"}
    lines[2] = json.dumps({**row, field: changed.get(field, "x")}).encode()
    with pytest.raises(OutputError):
        decode_rows(b"\n".join(lines), "j")


@pytest.mark.parametrize("missing", [0, 3])
def test_a_line_that_is_missing_is_found_out(story: Story, missing: int) -> None:
    """But for the last ones, which the head in run.json tells of."""
    story.did(ITEM, *ROTATION)
    lines = encode_rows(story.rows).splitlines(keepends=True)
    del lines[missing]
    with pytest.raises(OutputError):
        decode_rows(b"".join(lines), "j")


@pytest.mark.parametrize("content", [b"\xff", b"{}\n", b"[]\n", b"no\n"])
def test_what_is_no_journal_is_said_to_be_none(content: bytes) -> None:
    """With the line."""
    with pytest.raises(OutputError, match="Line 1 is no row"):
        decode_rows(content, "j")
