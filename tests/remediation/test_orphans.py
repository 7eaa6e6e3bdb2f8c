"""Which keys are nobody's: by the journal and by what AWS shows, without changing anything."""

from pathlib import Path

from moto.secretsmanager.models import secretsmanager_backends

from auditor.demo import ErrorFault, Fault, LostFault
from auditor.remediation.hands import Hands
from auditor.remediation.orphans import Orphan, find_orphans
from auditor.remediation.plan import Item, Kind
from auditor.remediation.protection import Protection
from tests.remediation.test_engine import secret_of
from tests.remediation.world import OTHER, SameCaller, World, claim, item_of, plan_of, tick, tracked

WRITES = ("Create", "Put", "Update", "Delete")


def orphans(world: World, folder: Path, item: Item) -> list[Orphan]:
    """Those of an item; AWS was asked to change nothing."""
    before = len(world.cloud.call_log)
    hands = Hands(item, SameCaller(world.caller()), Protection())
    found = find_orphans([tracked(world, folder, item)], lambda _item: hands)
    assert not [call for call in world.cloud.call_log[before:] if call.action.startswith(WRITES)]
    return found


def test_a_key_is_nobodys_once_its_secret_is_gone(world: World, tmp_path: Path) -> None:
    """None before, none where the application can read it; the key itself is named when it cannot."""
    item = item_of(world, "user-0", through=Kind.ROTATE)
    claim(world, tmp_path, plan_of(item))
    assert orphans(world, tmp_path, item) == []
    tick(world, tmp_path)
    assert orphans(world, tmp_path, item) == []
    secret_of(item).delete(world.clock.now.timestamp())
    (orphan,) = orphans(world, tmp_path, item)
    assert (orphan.is_known, "RestoreSecret" in orphan.next_step) == (True, True)
    del secretsmanager_backends[OTHER]["us-east-1"].secrets["auditor/user-0"]
    (orphan,) = orphans(world, tmp_path, item)
    assert (orphan.key, orphan.is_known) == (tracked(world, tmp_path, item).done.new_key, True)


def test_a_key_that_appeared_while_one_was_made_is_named(world: World, tmp_path: Path) -> None:
    """Its answer was lost, and CloudTrail cannot be asked yet; what was there before is nobody's orphan."""
    item = item_of(world, "user-0")
    claim(world, tmp_path, plan_of(item))
    denied = ErrorFault(403, "AccessDeniedException")
    faults: dict[str, Fault] = {"CreateAccessKey": LostFault(), "LookupEvents": denied}
    world.fault = lambda call: faults.get(call.action)
    tick(world, tmp_path)
    (orphan,) = orphans(world, tmp_path, item)
    assert orphan.key in world.keys("user-0").keys() - {item.key.id}
    assert "tick" in orphan.next_step


def test_what_cannot_be_asked_may_be_one(world: World, tmp_path: Path) -> None:
    """A refused look-up is not "none"."""
    item = item_of(world, "user-0", through=Kind.ROTATE)
    claim(world, tmp_path, plan_of(item))
    tick(world, tmp_path)
    world.fault = lambda call: ErrorFault(403, "AccessDenied") if call.action == "ListAccessKeys" else None
    (orphan,) = orphans(world, tmp_path, item)
    assert not orphan.is_known
    assert "ListAccessKeys" in orphan.why
