"""What remediation did, to try formats on: every kind of change, everything that is waited for, and hostile names."""

from dataclasses import replace
from datetime import timedelta

from auditor.model import JournalCopy, KeyStatus
from auditor.remediation.decision import Step
from auditor.remediation.journal import Event
from auditor.remediation.plan import Basis, Delivery, Item, Kind, PlannedKey, Use, Waits
from auditor.remediation.record import record
from auditor.tables import Run
from tests.builders import ago
from tests.remediation.story import Story
from tests.remediation.world import plan_of

CHANGED_USER = "<b>changed</b>"
CHANGING_OWNER = "<i onclick=alert(1)>payments & sons</i>"


def _item(number: int, user: str, account: str | None = "production", **changes: object) -> Item:
    key_id = f"AKIAOLD{number:013d}"
    item = Item(
        id=f"20261020T080000Z-{number:02d}",
        kind=Kind.ROTATE,
        through=Kind.DELETE,
        account_id="111122223333",
        account_name=account,
        partition="aws",
        user=user,
        user_id="AIDA",
        key=PlannedKey(id=key_id, created_at=ago(200), status=KeyStatus.ACTIVE, last_used=Use(at=ago(1))),
        basis=(Basis(control="key-age", severity="high", reason="200 days old; due since 2026-08-04."),),
        owner=CHANGING_OWNER,
        delivery=Delivery(secret=f"auditor/{user}"),
        waits=Waits(grace_days=7, quiet_days=14, quarantine_days=14),
    )
    return item.model_copy(update=changes)


ROTATED, WAITING, ASKED, HELD = (_item(n, user) for n, user in enumerate(("build", CHANGED_USER, "ops", "backup"), 1))
UNUSED = _item(5, "=forgotten()", None, kind=Kind.DEACTIVATE, through=Kind.DEACTIVATE, delivery=None)
FRESH = _item(6, "nightly", through=Kind.ROTATE)
LATE = _item(7, "late")


def with_changes(run: Run) -> Run:
    """The run, after a month of remediation."""
    as_of = run.manifest.as_of
    story = Story(plan_of(ROTATED, WAITING, ASKED, HELD, UNUSED, FRESH, LATE), as_of - timedelta(days=40))
    story.approved(("bob@example.com", "delete"), ("cat@example.com", "delete"), replies=["dan slack:C1/1.2"])
    for number, item in enumerate((ROTATED, WAITING, ASKED, HELD), 1):
        steps = (Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH)
        story.did(item, *steps, new_key=f"AKIANEW{number:013d}")
    story.pass_(days=20)
    story.add(ROTATED.id, Event.ADOPTED, evidence="AKIANEW0000000000001 was used by s3 in eu-west-1 on 2026-11-01")
    story.did(ROTATED, Step.DEACTIVATE)
    story.did(UNUSED, Step.DEACTIVATE)
    story.add(UNUSED.id, Event.ENDED, how="inactive")
    story.did(HELD, Step.DEACTIVATE, Step.REACTIVATE)
    story.add(HELD.id, Event.HELD, reason="the backup of the <old> site still needs it", by="eve")
    story.did(LATE, Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH, new_key="AKIANEW0000000000007")
    story.begun(FRESH, Step.CREATE)
    story.add(FRESH.id, Event.MADE, key="AKIALOST000000000006")
    story.add(FRESH.id, Event.DISCARDED, key="AKIALOST000000000006", how="deleted", why="its secret is stored nowhere")
    why = "AKIALOST000000000006 was deleted again: its secret is stored nowhere"
    story.add(FRESH.id, Event.RESULT, step="create", outcome="failed", why=why)
    story.pass_(days=15)
    story.did(ROTATED, Step.DELETE)
    story.add(ROTATED.id, Event.ENDED, how="deleted")
    until = (story.now + timedelta(days=7)).isoformat()
    used = f"{WAITING.key.id} was last used by s3 in eu-west-1 2 hours ago"
    story.add(WAITING.id, Event.WAITING, reason=used, until=until, who=CHANGING_OWNER)
    story.add(ASKED.id, Event.ASKED, code="REACTIVATED", reason="somebody switched the old key on again")
    kept = record(story.rows, as_of)
    manifest = replace(run.manifest, journal=JournalCopy(kept.rows, kept.head))
    return replace(run, manifest=manifest, actions=kept.actions, pending=kept.pending)
