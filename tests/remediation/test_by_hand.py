"""Taking back: the old key works again, and applications read what they read before."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from moto.iam.models import iam_backends

from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.failures import AwsFailure
from auditor.config import load_config
from auditor.config.remediation_records import RolesConfig
from auditor.demo import ErrorFault
from auditor.errors import ApprovalError
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.engine import Outcome
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Delivery, Item, Kind, PlannedKey, Use
from auditor.remedy.by_hand import switch_on
from auditor.remedy.carrying_out import advance
from auditor.remedy.means import Means
from tests.remediation.world import OTHER, World, claim, item_of, plan_of


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


def make_role(world: World, name: str) -> None:
    """A role like the one that reads."""
    backend = iam_backends[OTHER]["aws"]
    like = backend.get_role(world.cloud.role_name)
    backend.create_role(name, like.assume_role_policy_document, "/", None, "", [], "3600")


@pytest.mark.parametrize(
    ("roles", "expected"),
    [({"retire": "retirer", "rollback": "restorer"}, "restorer"), ({"retire": "retirer"}, "retirer")],
)
def test_a_role_of_its_own_switches_keys_on_again(
    world: World, tmp_path: Path, roles: dict[str, str], expected: str
) -> None:
    """Whether the journal knows the key or not; where none is named, it is the one that switches them off."""
    for name in ("retirer", "restorer"):
        make_role(world, name)
    item = item_of(world, "user-10", through=Kind.ROTATE)
    claim(world, tmp_path, plan_of(item, at=world.clock.now))
    means = means_of(world, tmp_path)
    remediation = means.config.remediation.model_copy(update={"roles": RolesConfig.model_validate(roles)})
    for whose in ((None, None), (OTHER, "user-10")):
        means = means_of(world, tmp_path)
        means.config = means.config.model_copy(update={"remediation": remediation})
        before = len(world.cloud.call_log)
        assert switch_on(means, item.key.id, whose, "it fails") == item.key.id
        calls = world.cloud.call_log[before:]
        entered = [call.params["RoleArn"].rpartition("/")[2] for call in calls if call.action == "AssumeRole"]
        assert [call.action for call in calls if call.action == "UpdateAccessKey"] == ["UpdateAccessKey"]
        assert entered == [expected]
