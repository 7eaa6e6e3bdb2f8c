"""Taking back: the old key works again, and applications read what they read before."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest

from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.failures import AwsFailure
from auditor.config import load_config
from auditor.demo import ErrorFault
from auditor.errors import ApprovalError, UsageError
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.engine import Outcome
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from auditor.remediation.lifecycle import Step
from auditor.remediation.plan import Delivery, Item, Kind, PlannedKey, Use
from auditor.remedy.by_hand import orphans_in, switch_on, tell_journal
from auditor.remedy.carrying_out import advance
from auditor.remedy.means import Means
from tests.remediation.world import OTHER, Death, Killed, World, claim, engine, item_of, plan_of


def means_of(world: World, folder: Path) -> Means:
    """As a command has them, in the world's cloud."""
    accounts = {
        "source": "organisation",
        "role_name": world.cloud.role_name,
        "external_id": world.cloud.external_id,
    }
    config = load_config(None, {"accounts": accounts, "remediation": {"folder": str(folder)}})
    credentials = StaticCredentials(world.cloud.access_key_id, world.cloud.secret_access_key)
    return Means(config, Connection(world.cloud.endpoint_url, isolated=credentials), folder, world.clock.timing)


def rotated(world: World, folder: Path, item: Item, number: int) -> Outcome:
    """The item's key is rotated."""
    plan = plan_of(item, at=world.clock.now).model_copy(update={"id": f"plan-{number}"})
    claim(world, folder, plan)
    (outcome,) = advance(means_of(world, folder), lambda _: None, item)
    return outcome


@pytest.mark.parametrize("through", [Kind.ROTATE, Kind.DEACTIVATE])
@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_rotation_that_is_taken_back_gives_applications_the_old_key(
    world: World, tmp_path: Path, *, is_adopted: bool, through: Kind
) -> None:
    """Before anybody uses the new key; where somebody does, the secret stays, and both keys work.

    Of what ended when it was rotated nobody wrote down whether the new key was adopted: AWS is asked.
    """
    first = item_of(world, "user-7", through=Kind.ROTATE)
    rotated(world, tmp_path, first, 1)
    stored = world.stored("auditor/user-7")
    assert stored is not None
    key = stored["AccessKeyId"]
    backend_keys = [name for name in world.keys("user-7") if name != key]
    world.delete_key("user-7", backend_keys[0])
    version = means_of(world, tmp_path).ledger().items[first.id].done.version
    planned = PlannedKey(id=key, created_at=world.created("user-7", key), status=KeyStatus.ACTIVE, last_used=Use())
    delivery = Delivery(secret="auditor/user-7", current=version)
    second = first.model_copy(update={"id": "item-2", "key": planned, "delivery": delivery, "through": through})
    rotated(world, tmp_path, second, 2)
    newest = world.stored("auditor/user-7")
    assert newest is not None
    assert newest["AccessKeyId"] != key
    if is_adopted:
        world.clock.pass_(days=8)
        world.cloud.record_use(newest["AccessKeyId"], UsedAt(world.clock.now - timedelta(hours=1), "s3", "eu-west-1"))
        list(advance(means_of(world, tmp_path), lambda _: None))
    assert switch_on(means_of(world, tmp_path), "item-2", (None, None), "it fails") == key
    read = world.stored("auditor/user-7")
    assert read is not None
    assert (read["AccessKeyId"] == key) is not is_adopted
    assert set(world.keys("user-7").values()) == {"Active"}


def test_what_cannot_be_moved_back_leaves_the_item_held(world: World, tmp_path: Path) -> None:
    """The key is active and the journal says so, or the next tick would go on with what was taken back."""
    delivery = Delivery(secret="auditor/user-8", current="before")
    item = item_of(world, "user-8", through=Kind.DELETE).model_copy(update={"delivery": delivery})
    claim(world, tmp_path, plan_of(item, at=world.clock.now))
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, Event.RESULT, step="publish", outcome="done")
    world.fault = lambda call: ErrorFault(403, "AccessDenied") if call.action == "DescribeSecret" else None
    with pytest.raises(AwsFailure) as failure:
        switch_on(means_of(world, tmp_path), item.id, (None, None), "it fails")
    assert "active again all the same" in failure.value.__notes__[0]
    assert means_of(world, tmp_path).ledger().items[item.id].done.held == "it fails"


def test_a_clock_that_is_off_keeps_nobody_from_switching_a_key_on(world: World, tmp_path: Path) -> None:
    """All else goes by the time, and is refused."""
    means = means_of(world, tmp_path)
    means.timing = replace(means.timing, now=lambda: world.clock.now + timedelta(minutes=3))
    (key,) = world.keys("user-9")
    assert switch_on(means, key, (OTHER, "user-9"), "now") == key
    with pytest.raises(ApprovalError, match="clock"):
        list(advance(means, lambda _: None))


@pytest.mark.parametrize("what", ["released", "rolled back"])
def test_a_key_that_may_have_been_made_is_not_forgotten(world: World, tmp_path: Path, what: str) -> None:
    """Killed after CreateAccessKey: whatever a person says meanwhile, the next tick finds the key and takes it back."""
    item = item_of(world, "user-11", Kind.ROTATE, Kind.ROTATE)
    claim(world, tmp_path, plan_of(item, at=world.clock.now))
    death = Death(calls_until(world, "create_access_key"), after=True)
    with pytest.raises(Killed), engine(world, tmp_path, death=death) as made:
        list(made.tick())
    assert len(world.keys("user-11")) == 2
    means = means_of(world, tmp_path)
    if what == "released":
        tell_journal(means, item.id, Event.HELD, reason="wait", by="ann")
    else:
        switch_on(means, item.id, (None, None), "wait")
    assert means.ledger().items[item.id].intent is not None
    assert orphans_in(means)
    tell_journal(means, item.id, Event.RELEASED, reason="go on", by="ann")
    world.clock.pass_(hours=1)
    (outcome,) = advance(means, lambda _: None, item)
    assert outcome.told == "rotated"
    writes = [call.action for call in world.cloud.call_log if call.action in {"CreateAccessKey", "DeleteAccessKey"}]
    assert writes[-3:] == ["CreateAccessKey", "DeleteAccessKey", "CreateAccessKey"]
    assert len(world.keys("user-11")) == 2
    assert orphans_in(means) == []


def calls_until(world: World, name: str) -> int:
    """The number of the call of this name in a rotation."""
    counted = Death()
    item = item_of(world, "user-12", Kind.ROTATE, Kind.ROTATE)
    folder = Path(mkdtemp())
    claim(world, folder, plan_of(item, at=world.clock.now))
    with engine(world, folder, death=counted) as made:
        list(made.tick())
    return counted.names.index(name)


def test_nobody_confirms_a_key_that_is_not_there(world: World, tmp_path: Path) -> None:
    """It would count later, for a key that nobody has seen."""
    item = item_of(world, "user-13")
    claim(world, tmp_path, plan_of(item, at=world.clock.now))
    means = means_of(world, tmp_path)
    with pytest.raises(UsageError, match="no new key yet"):
        tell_journal(means, item.id, Event.CONFIRMED, reason="moved", by="ann")
    (outcome,) = advance(means, lambda _: None, item)
    assert outcome.steps[-1] is Step.PUBLISH
    assert tell_journal(means, item.id, Event.CONFIRMED, reason="moved", by="ann").done.confirmed_by == "ann"
