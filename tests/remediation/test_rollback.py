"""What the journal is told of a key that is switched on by hand: before it is done, and what came of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from moto.iam.models import iam_backends

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.remediation.decision import Step
from auditor.remediation.engine import Standing
from auditor.remediation.journal import Event, Row
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Delivery, Item, Kind
from auditor.remediation.progress import Tracked
from auditor.remedy.by_hand import switch_on
from auditor.remedy.carrying_out import advance
from auditor.tables import records_of
from tests.remediation.test_by_hand import claim_signed, means_of
from tests.remediation.world import OTHER, World, due_item, item_of

NOBODYS = (None, None)


def rows_of(world: World, folder: Path) -> list[Row]:
    """The journal's rows, whoever is at work with it."""
    with open_journal(folder, lambda: world.clock.now, writes=False) as journal:
        return list(journal.rows)


def tracked(world: World, folder: Path, item: Item) -> Tracked:
    """How the item stands."""
    return means_of(world, folder).ledger().items[item.id]


def told_actions(world: World, folder: Path) -> list[tuple[object, object]]:
    """What reports tell that was done, and what of it."""
    kept = means_of(world, folder).record(world.clock.now)
    assert kept is not None
    return [(one["action"], one["detail"]) for one in records_of(kept.actions)]


def switched_off(world: World, folder: Path, user: str) -> Item:
    """An exposed key that was switched off, so that its item is at its end."""
    item = item_of(world, user, Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, folder, item)
    (outcome,) = advance(means_of(world, folder), lambda _: None)
    assert outcome.standing is Standing.DONE
    return item


def on(action: str, fault: Fault) -> Callable[[Call], Fault | None]:
    """Every call of this action goes wrong like this."""
    return lambda call: fault if call.action == action else None


@pytest.mark.parametrize("named", ["item", "key", "key and user"])
@pytest.mark.parametrize("is_open", [True, False])
def test_the_journal_knows_of_it_before_it_is_done(world: World, tmp_path: Path, named: str, *, is_open: bool) -> None:
    """By whichever name; nothing else is done about an open item meanwhile."""
    if is_open:
        item = item_of(world, "user-1", Kind.DEACTIVATE, Kind.DELETE, urgent=True)
        claim_signed(world, tmp_path, item)
        list(advance(means_of(world, tmp_path), lambda _: None))
    else:
        item = switched_off(world, tmp_path, "user-1")
    seen: list[list[Row]] = []
    world.fault = lambda call: seen.append(rows_of(world, tmp_path)) if call.action == "UpdateAccessKey" else None
    name = item.id if named == "item" else item.key.id
    switch_on(means_of(world, tmp_path), name, (OTHER, "user-1") if named == "key and user" else NOBODYS, "needed")
    (before,) = seen
    assert (before[-1].event, before[-1].item, before[-1].told["reason"]) == (Event.INTENT, item.id, "needed")
    assert (before[-2].event is Event.HELD) is is_open
    trail = [call.user_agent for call in world.cloud.call_log if call.action == "UpdateAccessKey"]
    assert trail[-1].endswith(f"auditor-intent/{before[-1].told['intent']}")
    after = rows_of(world, tmp_path)[len(before) :]
    assert [(row.event, row.told["outcome"]) for row in after] == [(Event.RESULT, "done")]


def test_the_journal_knows_of_a_key_of_no_plan_before_it_is_on(world: World, tmp_path: Path) -> None:
    """Where nobody knows what came of it, reports say so."""
    switched_off(world, tmp_path, "user-2")
    (key,) = world.keys("user-3")
    whose = (OTHER, "user-3")
    world.fault = on("UpdateAccessKey", ErrorFault(403, "AccessDenied"))
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), key, whose, "needed")
    assert told_actions(world, tmp_path)[1:] == []
    world.fault = on("UpdateAccessKey", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), key, whose, "needed")
    assert told_actions(world, tmp_path)[1:] == [("reactivated", "whether it was done is not known")]
    world.fault = lambda _call: None
    switch_on(means_of(world, tmp_path), key, whose, "needed")
    assert ("reactivated", None) in told_actions(world, tmp_path)


def test_what_is_refused_leaves_the_item_held(world: World, tmp_path: Path) -> None:
    """Somebody wanted the key back: it is not deleted while he looks for the right to do it."""
    item = item_of(world, "user-4", Kind.DEACTIVATE, Kind.DELETE, urgent=True)
    claim_signed(world, tmp_path, item)
    list(advance(means_of(world, tmp_path), lambda _: None))
    world.fault = on("UpdateAccessKey", ErrorFault(403, "AccessDenied"))
    with pytest.raises(AwsFailure, match="AccessDenied"):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    state = tracked(world, tmp_path, item)
    assert (state.done.held, state.begun) == ("needed", ())
    assert state.failed is not None
    assert (state.waits_for, state.who) == ("needed", "whoever held it, with `release`")


def test_a_journal_that_cannot_be_written_keeps_no_key_off(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipeline that has no table writes none; the key is on all the same, and that is said."""
    item = switched_off(world, tmp_path, "user-5")
    monkeypatch.setenv("CI", "true")
    switch_on(means_of(world, tmp_path), item.key.id, (OTHER, "user-5"), "needed")
    assert "the journal may not tell" in caplog.text
    assert world.keys("user-5") == {item.key.id: "Active"}
    assert tracked(world, tmp_path, item).state == "inactive"


@pytest.mark.parametrize("is_done", [True, False])
def test_what_is_not_known_of_an_ended_item_is_settled_by_a_tick(
    world: World, tmp_path: Path, *, is_done: bool
) -> None:
    """Once: reports tell of it where AWS shows that it was done, and nothing else is begun."""
    item = switched_off(world, tmp_path, f"user-{6 + is_done}")
    world.fault = on("UpdateAccessKey", LostFault() if is_done else ErrorFault(500, "ServiceFailure"))
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    world.fault = lambda _call: None
    assert list(advance(means_of(world, tmp_path), lambda _: None, simulates=True)) == []
    world.clock.pass_(minutes=5)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert (outcome.standing, outcome.steps) == (Standing.DONE if is_done else Standing.FAILED, ())
    assert list(advance(means_of(world, tmp_path), lambda _: None)) == []
    assert told_actions(world, tmp_path) == [("deactivated", None), *([("reactivated", None)] if is_done else [])]
    state = tracked(world, tmp_path, item)
    assert (state.state, state.begun) == ("switched on again" if is_done else "inactive", ())


def test_a_secret_that_may_have_been_moved_back_is_looked_at(world: World, tmp_path: Path) -> None:
    """Of an item that ended with its rotation nothing else is done: no second key is made."""
    first = item_of(world, "user-8", through=Kind.ROTATE)
    claim_signed(world, tmp_path, first)
    list(advance(means_of(world, tmp_path), lambda _: None))
    stored = world.stored("auditor/user-8")
    assert stored is not None
    world.delete_key("user-8", first.key.id)
    iam_backends[OTHER]["aws"].users["user-8"].access_keys[0].create_date = first.key.created_at.replace(tzinfo=None)
    version = tracked(world, tmp_path, first).done.version
    key = first.key.model_copy(update={"id": stored["AccessKeyId"]})
    delivery = Delivery(secret="auditor/user-8", region="us-east-1", current=version)
    second = first.model_copy(update={"id": "again", "key": key, "delivery": delivery})
    claim_signed(world, tmp_path, second, 2)
    list(advance(means_of(world, tmp_path), lambda _: None))
    keys = world.keys("user-8")
    world.fault = on("UpdateSecretVersionStage", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), "again", NOBODYS, "it fails")
    world.fault = lambda _call: None
    world.clock.pass_(minutes=5)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.standing is Standing.DONE
    assert told_actions(world, tmp_path)[-2:] == [
        ("reactivated", None),
        ("restored", "read from auditor/user-8 in Secrets Manager"),
    ]
    assert (world.stored("auditor/user-8") or {})["AccessKeyId"] == key.id
    assert world.keys("user-8") == keys


def test_to_take_a_key_back_settles_nothing_else(world: World, tmp_path: Path) -> None:
    """Whether it was switched off is found out by what AWS shows, whatever was done about it since."""
    item = due_item(world, "user-9", Kind.DEACTIVATE)
    plan = claim_signed(world, tmp_path, item)
    told = {"intent": "0" * 32, "by": "ann", "keys": [item.key.id]}
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(plan.id, item.id, Event.INTENT, step=Step.DEACTIVATE.value, **told)
        for step in (Step.REACTIVATE, Step.RESTORE):
            journal.add(plan.id, item.id, Event.INTENT, step=step.value, **told)
            journal.add(plan.id, item.id, Event.RESULT, step=step.value, outcome="done")
    state = tracked(world, tmp_path, item)
    assert [row.told["step"] for row in state.begun] == ["deactivate"]
    world.clock.pass_(minutes=5)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert tracked(world, tmp_path, item).begun == ()
    assert told_actions(world, tmp_path) == [
        ("reactivated", None),
        ("restored", None),
    ]
