"""Taking back: the old key works again, and applications read what they read before."""

from datetime import timedelta
from pathlib import Path

import pytest

from auditor.aws.clients import Connection, StaticCredentials
from auditor.config import load_config
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.engine import Outcome
from auditor.remediation.plan import Delivery, Item, Kind, PlannedKey, Use
from auditor.remedy.by_hand import switch_on
from auditor.remedy.carrying_out import advance
from auditor.remedy.means import Means
from tests.remediation.world import World, claim, item_of, plan_of


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


@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_rotation_that_is_taken_back_gives_applications_the_old_key(
    world: World, tmp_path: Path, *, is_adopted: bool
) -> None:
    """Before anybody uses the new key; where somebody does, the secret stays, and both keys work."""
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
    second = first.model_copy(update={"id": "item-2", "key": planned, "delivery": delivery, "through": Kind.DEACTIVATE})
    rotated(world, tmp_path, second, 2)
    newest = world.stored("auditor/user-7")
    assert newest is not None
    assert newest["AccessKeyId"] != key
    if is_adopted:
        world.clock.pass_(days=8)
        world.cloud.record_use(newest["AccessKeyId"], UsedAt(world.clock.now - timedelta(hours=1), "s3", "eu-west-1"))
        list(advance(means_of(world, tmp_path), lambda _: None))
        assert means_of(world, tmp_path).ledger().items["item-2"].done.adopted_at is not None
    assert switch_on(means_of(world, tmp_path), "item-2", (None, None), "it fails") == key
    read = world.stored("auditor/user-7")
    assert read is not None
    assert (read["AccessKeyId"] == key) is not is_adopted
    assert set(world.keys("user-7").values()) == {"Active"}
