"""What the journal is told of a key that is switched on by hand: before it is done, and what came of it."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.errors import ApprovalError, OutputError, UsageError
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.decision import Step
from auditor.remediation.engine import Standing
from auditor.remediation.journal import Event, Row
from auditor.remediation.journal_file import FILE, open_journal
from auditor.remediation.plan import Delivery, Item, Kind, Plan
from auditor.remediation.plan_facts import facts_of
from auditor.remediation.tracked import Tracked
from auditor.remedy.admission import admit
from auditor.remedy.by_hand import close_item, tell_journal
from auditor.remedy.carrying_out import advance, claim
from auditor.remedy.means import Means
from auditor.remedy.of_user import Asked, Wish, plan_for, subject_of, under_way, waiting_plan
from auditor.remedy.rollback import switch_on
from auditor.tables import records_of
from tests.builders import ago
from tests.remediation.journal_tables import TABLE, make_table
from tests.remediation.test_by_hand import BOB, CAT, claim_signed, means_of, signers
from tests.remediation.world import OTHER, Death, World, due_item, engine, item_of, plan_of

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
    world.clock.pass_(seconds=1)
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


@pytest.mark.parametrize("variable", ["true", "woodpecker"])
def test_a_journal_that_cannot_be_written_keeps_no_key_off(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    """A pipeline that has no table writes none; the key is on all the same, and that is said."""
    item = switched_off(world, tmp_path, "user-5")
    monkeypatch.setenv("CI", variable)
    switch_on(means_of(world, tmp_path), item.key.id, (OTHER, "user-5"), "needed")
    assert "The journal may not tell of it" in caplog.text
    assert world.keys("user-5") == {item.key.id: "Active"}
    assert tracked(world, tmp_path, item).ended == "inactive"


@pytest.mark.parametrize("is_done", [True, False])
def test_what_is_not_known_of_an_ended_item_is_settled_by_a_tick(
    world: World, tmp_path: Path, *, is_done: bool
) -> None:
    """Once: what AWS does not show may have been done and taken back since; nothing else is begun."""
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
    told = None if is_done else "whether it was done is not known"
    assert told_actions(world, tmp_path) == [("deactivated", None), ("reactivated", told)]
    state = tracked(world, tmp_path, item)
    assert (state.ended, state.begun) == ("switched on again" if is_done else "inactive", ())


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
    with pytest.raises(ApprovalError, match="may not be moved back"):
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
        ("deactivated", "whether it was done is not known"),
    ]


@pytest.mark.parametrize("kind", [Kind.DEACTIVATE, Kind.ROTATE])
def test_a_user_in_quarantine_is_no_users_to_rotate(world: World, tmp_path: Path, kind: Kind) -> None:
    """Others have a key of it: a person is asked at once, no key is made, and to switch it off goes on."""
    item = due_item(world, f"user-1{kind.rank}", kind)
    claim_signed(world, tmp_path, item)
    backend = iam_backends[OTHER]["aws"]
    backend.attach_user_policy("arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV2", item.user)
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert ("QUARANTINED" in outcome.told) is (kind is Kind.ROTATE)
    assert (outcome.standing is Standing.NEEDS_PERSON) is (kind is Kind.ROTATE)
    assert len(world.keys(item.user)) == 1


@pytest.mark.parametrize("what", ["a folder", "no name that can be looked for"])
def test_a_journal_that_cannot_be_opened_keeps_no_key_off(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """As one in a folder of somebody else's: the key is on, and audits tell that nothing is known."""
    folder = tmp_path / "remediation" if what == "a folder" else tmp_path / ("x" * 300)
    if what == "a folder":
        (folder / FILE).mkdir(parents=True)
    means = means_of(world, tmp_path)
    remediation = means.config.remediation.model_copy(update={"folder": str(folder)})
    means.config = means.config.model_copy(update={"remediation": remediation})
    (key,) = world.keys("user-17")
    iam_backends[OTHER]["aws"].update_access_key("user-17", key, "Inactive")
    assert switch_on(means, key, (OTHER, "user-17"), "needed") == key
    assert world.keys("user-17") == {key: "Active"}
    assert "The journal may not tell of it" in caplog.text
    with pytest.raises(OutputError):
        means.record(world.clock.now)
    with pytest.raises(UsageError, match="no access key id"):
        switch_on(means, "item-1", (OTHER, "user-17"), "needed")


def sharing(means: Means) -> Means:
    """With the journal in the table."""
    journal = means.config.remediation.journal.model_copy(update={"table": TABLE, "region": "us-east-1"})
    remediation = means.config.remediation.model_copy(update={"journal": journal})
    means.config = means.config.model_copy(update={"remediation": remediation})
    return means


def test_a_table_that_is_slow_for_once_is_told_all_of_it(world: World, tmp_path: Path) -> None:
    """It was asked but once, so that the key is on soon; the rest is told as patiently as any other row."""
    make_table(world.cloud)
    means = sharing(means_of(world, tmp_path))
    (key,) = world.keys("user-18")
    for broken in range(3):
        asked = -1

        def slow(call: Call, broken: int = broken) -> Fault | None:
            nonlocal asked
            asked += call.action == "TransactWriteItems"
            is_it = call.action == "TransactWriteItems" and asked == broken
            return ErrorFault(400, "ThrottlingException") if is_it else None

        world.fault = slow
        switch_on(means, key, (OTHER, "user-18"), f"needed {broken}")
        with means.journal(writes=False) as opened:
            told = [row.event for row in opened.rows if row.told["reason"] == f"needed {broken}"]
        assert told == [Event.SWITCHING_ON, Event.SWITCHED_ON], "each once"


def test_what_was_rolled_back_is_not_deleted_by_what_was_known_before(world: World, tmp_path: Path) -> None:
    """Switched on here and off elsewhere later: for how long it is inactive is not known any more."""
    item = due_item(world, "user-19", Kind.DELETE)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    list(advance(means, lambda _: None))
    switch_on(means, item.id, NOBODYS, "needed")
    world.clock.pass_(days=21)
    iam_backends[OTHER]["aws"].update_access_key("user-19", item.key.id, "Inactive")
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, Event.RELEASED, reason="over", by="ann")
    (outcome,) = advance(means, lambda _: None)
    assert (outcome.standing, "plan it anew" in outcome.told) == (Standing.REFUSED, True)
    assert world.keys("user-19") == {item.key.id: "Inactive"}


@pytest.mark.parametrize("by", ["another item", "hand", "an answer that was lost"])
def test_when_a_key_was_switched_off_is_forgotten_once_it_is_on_again(world: World, tmp_path: Path, by: str) -> None:
    """Whoever switched it on: the next plan would delete it by that."""
    item = switched_off(world, tmp_path, "user-20")
    means = means_of(world, tmp_path)
    assert means.ledger().key(item.key.id).switched_off_at is not None
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        if by == "hand":
            told = {"account_id": OTHER, "user": "user-20", "key": item.key.id, "reason": "needed"}
            journal.add("", "", Event.SWITCHED_ON, **told, outcome="done")
        elif by == "an answer that was lost":
            journal.add("plan-1", item.id, Event.INTENT, step="reactivate", intent="0", keys=[], by="ann")
    if by == "another item":
        later = due_item(world, "user-21", Kind.DEACTIVATE).model_copy(update={"id": "later", "key": item.key})
        claim_signed(world, tmp_path, later, 2)
        with open_journal(tmp_path, lambda: world.clock.now) as journal:
            journal.add("plan-2", "later", Event.RESULT, step="reactivate", outcome="done")
    assert means.ledger().key(item.key.id).switched_off_at is None


def test_a_refusal_settles_no_try_before_it(world: World, tmp_path: Path) -> None:
    """The first may have done it: the next tick looks, and reports tell of what AWS shows."""
    item = switched_off(world, tmp_path, "user-22")
    for fault in (LostFault(), ErrorFault(403, "AccessDenied")):
        world.fault = on("UpdateAccessKey", fault)
        with pytest.raises(AwsFailure):
            switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    world.fault = lambda _call: None
    assert ("reactivated", "whether it was done is not known") in told_actions(world, tmp_path)
    world.clock.pass_(minutes=5)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_actions(world, tmp_path) == [("deactivated", None), ("reactivated", None)]


def test_a_refusal_is_no_key_that_was_made(world: World, tmp_path: Path) -> None:
    """An open creation stays what it is, and is told as that."""
    item = item_of(world, "user-23", Kind.ROTATE, Kind.ROTATE)
    plan = claim_signed(world, tmp_path, item)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(plan.id, item.id, Event.INTENT, step="create", intent="0" * 32, by="x", keys=[item.key.id])
        journal.add(plan.id, item.id, Event.MADE, key="AKIANEW")
    created = [("created", "its secret is not known to be stored")]
    assert told_actions(world, tmp_path) == created
    world.fault = on("UpdateAccessKey", ErrorFault(403, "AccessDenied"))
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    assert told_actions(world, tmp_path) == created


def test_what_nobody_can_look_at_any_more_is_closed_by_hand(world: World, tmp_path: Path) -> None:
    """It is at its end and holds up nothing; `status` says who can change it until somebody closes it."""
    item = item_of(world, "user-24", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    other = due_item(world, "user-25", Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    list(advance(means_of(world, tmp_path), lambda _: None))
    world.fault = on("UpdateAccessKey", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    claim_signed(world, tmp_path, other, 2)
    world.fault = lambda call: (
        ErrorFault(403, "AccessDenied") if call.action == "GetUser" and call.params["UserName"] == item.user else None
    )
    world.clock.pass_(minutes=5)
    means = means_of(world, tmp_path)
    outcomes = {outcome.item.id: outcome for outcome in advance(means, lambda _: None)}
    assert outcomes[item.id].standing is Standing.FAILED
    assert outcomes[other.id].told == "rotated"
    state = tracked(world, tmp_path, item)
    assert (state.who, "could not be looked at" in str(state.waits_for)) == ("whoever can let it be read", True)
    with pytest.raises(UsageError, match="is not known"):
        close_item(means, item.id, "the account is closed", "ann")
    close_item(means, item.id, "the account is closed", "ann", unsettled=True)
    assert list(advance(means, lambda _: None)) == []
    assert ("reactivated", "whether it was done is not known") in told_actions(world, tmp_path)


def test_a_key_of_a_defect_is_taken_back_at_once(world: World, tmp_path: Path) -> None:
    """Whatever goes wrong between a key and its secret's place: nobody waits for the next tick."""

    class Defect(Death):
        def before(self, name: str = "") -> bool:
            if name == "put_secret_value" and self.names.count("create_access_key"):
                raise RuntimeError("a defect")
            return super().before(name)

    item = item_of(world, "user-26", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    with pytest.raises(RuntimeError, match="a defect"), engine(world, tmp_path, death=Defect()) as made:
        list(made.tick())
    assert list(world.keys("user-26")) == [item.key.id]
    assert told_actions(world, tmp_path)[-1][0] == "discarded"
    (outcome,) = advance(means_of(world, tmp_path), lambda _: None)
    assert outcome.told == "rotated"


def test_what_was_just_claimed_waits_for_the_next_tick(world: World, tmp_path: Path) -> None:
    """So does what a person released: since then, and for nobody."""
    item = due_item(world, "user-27", Kind.DEACTIVATE)
    claim_signed(world, tmp_path, item)
    for event in (None, Event.HELD, Event.RELEASED):
        if event is not None:
            world.clock.pass_(hours=1)
            with open_journal(tmp_path, lambda: world.clock.now) as journal:
                journal.add("plan-1", item.id, event, reason="year end", by="ann")
        state = tracked(world, tmp_path, item)
        assert state.since == world.clock.now
        assert (state.waits_for, state.who) == (
            ("year end", "whoever held it, with `release`")
            if event is Event.HELD
            else ("the next tick", "nobody: the next tick goes on")
        )


def later_item(world: World, folder: Path, first: Item, kind: Kind, **changes: Any) -> Item:
    """Another plan about the same key."""
    key = first.key.model_copy(update={"status": KeyStatus(world.keys(first.user)[first.key.id])})
    update = {"id": "later", "kind": kind, "through": Kind.DELETE, "urgent": False, "key": key, **changes}
    later = first.model_copy(update=update)
    claim_signed(world, folder, later, 2)
    return later


def test_by_whichever_item_it_is_named_nothing_goes_on_about_the_key(world: World, tmp_path: Path) -> None:
    """Old notices name an item at its end: another one may be under way by now."""
    first = switched_off(world, tmp_path, "user-28")
    later = later_item(world, tmp_path, first, Kind.DELETE, inactive_since=world.clock.now)
    means = means_of(world, tmp_path)
    list(advance(means, lambda _: None))
    switch_on(means, first.id, NOBODYS, "keep it on")
    assert tracked(world, tmp_path, later).done.held == "keep it on"
    world.clock.pass_(days=4)
    iam_backends[OTHER]["aws"].update_access_key(first.user, first.key.id, "Inactive")
    list(advance(means, lambda _: None))
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-2", later.id, Event.RELEASED, reason="over", by="ann")
    (outcome,) = advance(means, lambda _: None)
    assert (outcome.standing, "plan it anew" in outcome.told) == (Standing.REFUSED, True)
    assert world.keys(first.user) == {first.key.id: "Inactive"}


@pytest.mark.parametrize("when", ["planned", "claimed"])
def test_what_runs_saw_before_it_was_on_again_does_not_count(world: World, tmp_path: Path, when: str) -> None:
    """A plan has it inactive since now; one that says more is not taken."""
    item = switched_off(world, tmp_path, "user-29")
    means = means_of(world, tmp_path)
    world.clock.pass_(days=50)
    switch_on(means, item.key.id, (OTHER, item.user), "needed")
    world.clock.pass_(days=1)
    iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, "Inactive")
    ledger = means.ledger()
    wish = Wish(Kind.DELETE, Kind.DELETE, "not needed", owner="payments")
    plan = plan_for(means, subject_of(means, item.user, OTHER), wish, "ann@example.com")
    assert [one.inactive_since for one in plan.items] == [world.clock.now]
    if when == "claimed":
        before = world.clock.now - timedelta(days=20)
        stale = plan.items[0].model_copy(update={"inactive_since": before})
        with pytest.raises(ApprovalError, match="it was active at"):
            admit(means, plan.model_copy(update={"items": (stale,)}), ledger)
    else:
        admit(means, plan, ledger)


def test_an_answer_that_was_lost_hides_no_switching_on(world: World, tmp_path: Path) -> None:
    """It was on for a while, and somebody switched it off before anybody looked: it may have been done."""
    item = switched_off(world, tmp_path, "user-30")
    world.fault = on("UpdateAccessKey", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    world.fault = lambda _call: None
    iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, "Inactive")
    world.clock.pass_(hours=3)
    means = means_of(world, tmp_path)
    list(advance(means, lambda _: None))
    assert told_actions(world, tmp_path)[1:] == [("reactivated", "whether it was done is not known")]
    assert means.ledger().key(item.key.id).switched_off_at is None


def test_a_user_in_quarantine_whose_new_key_is_half_made_is_closed_first(world: World, tmp_path: Path) -> None:
    """What a person is told to do can be done."""
    item = item_of(world, "user-31", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    world.fault = on("UpdateSecretVersionStage", ErrorFault(403, "AccessDenied"))
    means = means_of(world, tmp_path)
    list(advance(means, lambda _: None))
    world.fault = lambda _call: None
    backend = iam_backends[OTHER]["aws"]
    backend.attach_user_policy("arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV2", item.user)
    (outcome,) = advance(means, lambda _: None)
    whose = f"--user {item.user} --account {OTHER}"
    steps = f"`auditor remediate close {item.id}`, and then `auditor key deactivate KEY {whose} --leaked --reason TEXT`"
    assert steps in outcome.told
    close_item(means, item.id, "quarantined", "ann")
    subject = subject_of(means, item.user, OTHER)
    assert under_way(means, subject) is None
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "leaked", key_id=item.key.id, leaked=True)
    assert [one.key.id for one in plan_for(means, subject, wish, "ann").items] == [item.key.id]


def test_what_aws_shows_is_settled_before_what_a_person_is_asked(world: World, tmp_path: Path) -> None:
    """A key that cannot be taken back hides no other change, neither from ticks nor from reports."""
    item = item_of(world, "user-32", Kind.ROTATE, Kind.ROTATE)
    plan = claim_signed(world, tmp_path, item)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(plan.id, item.id, Event.INTENT, step="create", intent="0" * 32, by="x", keys=[item.key.id])
        journal.add(plan.id, item.id, Event.MADE, key="AKIANEW")
        journal.add(plan.id, item.id, Event.DISCARDED, key="AKIANEW", how="inactive", why="not stored")
    world.fault = on("UpdateAccessKey", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    assert told_actions(world, tmp_path)[-1] == ("reactivated", "whether it was done is not known")
    world.fault = on("DeleteAccessKey", ErrorFault(403, "AccessDenied"))
    world.clock.pass_(minutes=5)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_actions(world, tmp_path)[-1] == ("reactivated", None)
    assert [row.told["step"] for row in tracked(world, tmp_path, item).begun] == ["create"]


NOT_KNOWN = "whether it was done is not known"


def told_tries(world: World, folder: Path) -> list[tuple[object, ...]]:
    """Reason, detail and intent of every time that a key was switched on."""
    kept = means_of(world, folder).record(world.clock.now)
    assert kept is not None
    found = [one for one in records_of(kept.actions) if one["action"] == "reactivated"]
    return sorted((one["basis"], one["detail"], one["intent"]) for one in found)


def sent(world: World) -> list[str]:
    """The intents of UpdateAccessKey, in the order of sending, each once."""
    calls = [call.user_agent for call in world.cloud.call_log if call.action == "UpdateAccessKey"]
    return list(dict.fromkeys(agent.rpartition("auditor-intent/")[2] for agent in calls))


def test_each_try_is_told_with_its_own_intent_and_reason(world: World, tmp_path: Path) -> None:
    """By which CloudTrail finds the call that did it; what came of the first shows nowhere once the second was done."""
    item = switched_off(world, tmp_path, "user-33")
    world.fault = on("UpdateAccessKey", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "first")
    world.fault = lambda _call: None
    switch_on(means_of(world, tmp_path), item.id, NOBODYS, "second")
    _, first, second = sent(world)
    expected = [("first", NOT_KNOWN, first), ("second", None, second)]
    assert told_tries(world, tmp_path) == expected
    world.clock.pass_(minutes=5)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_tries(world, tmp_path) == expected
    assert tracked(world, tmp_path, item).begun == ()


@pytest.mark.parametrize("is_on", [True, False])
def test_of_two_tries_that_were_lost_aws_shows_the_last(world: World, tmp_path: Path, *, is_on: bool) -> None:
    """Where it shows any: each is told all the same."""
    item = switched_off(world, tmp_path, f"user-{35 + is_on}")
    world.fault = on("UpdateAccessKey", LostFault())
    for reason in ("first", "second"):
        with pytest.raises(AwsFailure):
            switch_on(means_of(world, tmp_path), item.id, NOBODYS, reason)
    world.fault = lambda _call: None
    if not is_on:
        iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, "Inactive")
    world.clock.pass_(minutes=5)
    for _ in range(2):
        list(advance(means_of(world, tmp_path), lambda _: None))
    _, first, second = sent(world)
    told = None if is_on else NOT_KNOWN
    assert told_tries(world, tmp_path) == [("first", NOT_KNOWN, first), ("second", told, second)]
    assert tracked(world, tmp_path, item).begun == ()


def test_what_was_done_to_a_user_that_is_gone_is_told_as_not_known(world: World, tmp_path: Path) -> None:
    """Nothing shows it any more, and it may have been."""
    item = switched_off(world, tmp_path, "user-37")
    world.fault = on("UpdateAccessKey", LostFault())
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    world.fault = lambda _call: None
    world.delete_key(item.user, item.key.id)
    iam_backends[OTHER]["aws"].delete_user(item.user)
    world.clock.pass_(minutes=5)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_actions(world, tmp_path) == [("deactivated", None), ("reactivated", NOT_KNOWN)]


def test_a_refused_deactivation_is_not_what_somebody_else_did_later(world: World, tmp_path: Path) -> None:
    """The key was switched on by hand in between: that it is inactive by now shows nothing of before."""
    item = item_of(world, "user-38", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    world.fault = on("UpdateAccessKey", ErrorFault(500, "ServiceFailure"))
    list(advance(means_of(world, tmp_path), lambda _: None))
    world.fault = lambda _call: None
    switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    world.clock.pass_(days=1)
    iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, "Inactive")
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_actions(world, tmp_path) == [("reactivated", None), ("deactivated", NOT_KNOWN)]
    assert tracked(world, tmp_path, item).done.inactive_at is None


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.DEACTIVATE])
def test_an_answer_that_was_lost_while_somebody_had_the_journal_is_told_when_it_is_free(
    world: World, tmp_path: Path, kind: Kind
) -> None:
    """Else the key would be deleted as if it had never been on."""
    item = due_item(world, f"user-{39 + kind.rank}", kind).model_copy(update={"through": Kind.DELETE})
    claim_signed(world, tmp_path, item)
    world.fault = on("UpdateAccessKey", LostFault())
    begun = threading.Event()

    def tick_at_work() -> None:
        with open_journal(tmp_path, lambda: world.clock.now):
            begun.set()
            time.sleep(1.5)

    working = threading.Thread(target=tick_at_work)
    working.start()
    assert begun.wait(10)
    with pytest.raises(AwsFailure):
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    working.join()
    state = tracked(world, tmp_path, item)
    assert (state.done.held, [row.told["step"] for row in state.begun]) == ("needed", ["reactivate"])
    assert told_actions(world, tmp_path)[-1] == ("reactivated", NOT_KNOWN)


def test_a_name_in_another_case_is_the_same_user(world: World, tmp_path: Path) -> None:
    """IAM takes it for that, and so is what is under way about the key held."""
    item = due_item(world, "user-42", Kind.DEACTIVATE)
    claim_signed(world, tmp_path, item)
    users = iam_backends[OTHER]["aws"].users
    users["User-42"] = users["user-42"]  # as IAM finds it
    switch_on(means_of(world, tmp_path), item.key.id, (OTHER, "User-42"), "keep it on")
    assert tracked(world, tmp_path, item).done.held == "keep it on"


def test_a_plan_of_before_is_not_taken_after_a_rollback(world: World, tmp_path: Path) -> None:
    """Somebody said that the key is needed, which its approvers did not know."""
    item = switched_off(world, tmp_path, "user-43")
    means = means_of(world, tmp_path)
    switch_on(means, item.id, NOBODYS, "needed")
    world.clock.pass_(minutes=1)
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "leaked", leaked=True)
    plan = plan_for(means, subject_of(means, item.user, OTHER), wish, "ann@example.com")
    admit(means, plan, means.ledger())
    world.clock.pass_(minutes=1)
    switch_on(means, item.id, NOBODYS, "keep it on")
    with pytest.raises(ApprovalError, match="after it was planned"):
        admit(means, plan, means.ledger())


@pytest.mark.parametrize("by", ["rollback", "a colleague", "nobody"])
def test_a_key_that_somebody_needed_has_to_be_quiet_from_then_on(world: World, tmp_path: Path, by: str) -> None:
    """That nobody used it for a hundred days shows nothing: it is switched off no sooner than any other."""
    item = item_of(world, "user-44", Kind.DEACTIVATE, Kind.DELETE)
    world.cloud.record_use(item.key.id, UsedAt(ago(100), "s3", "eu-central-1"))
    item = item.model_copy(update={"waits": item.waits.model_copy(update={"quiet_days": 14})})
    world.clock.pass_(hours=15)  # Monday, 10:00, as keys are switched off in working hours
    claim_signed(world, tmp_path, item)

    def off_after(days: int) -> int:
        for day in range(days):
            list(advance(means_of(world, tmp_path), lambda _: None))
            if world.keys(item.user)[item.key.id] == "Inactive":
                return day
            world.clock.pass_(days=1)
        return days

    assert off_after(9) < 9
    if by == "nobody":
        return
    means = means_of(world, tmp_path)
    world.clock.pass_(minutes=10)
    if by == "rollback":
        switch_on(means, item.id, NOBODYS, "the job of each week")
        world.clock.pass_(days=3)
    else:
        iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, "Active")
        (outcome,) = advance(means, lambda _: None)
        assert "REACTIVATED" in outcome.told
    tell_journal(means, item.id, Event.RELEASED, reason="it ran", by="ann")
    (outcome,) = advance(means, lambda _: None)
    assert "must be quiet for 14 days, from" in outcome.told
    assert 15 <= off_after(30) < 30


def test_a_plan_that_can_be_taken_no_more_is_made_anew(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the same command would find it again and again, and nobody could approve what it wants."""
    switched_off(world, tmp_path, "user-47")  # so that there is a journal
    (key,) = world.keys("user-45")
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "leaked", leaked=True)

    def found(now: Means | None = None) -> Asked | None:
        means = now or means_of(world, tmp_path)
        return waiting_plan(means, subject_of(means, "user-45", OTHER), wish)

    def planned() -> Plan:
        means = means_of(world, tmp_path)
        plan = plan_for(means, subject_of(means, "user-45", OTHER), wish, "ann@example.com")
        (means.folder / f"{plan.id}.json").write_bytes(plan.content)
        return plan

    first = planned()
    asked = found()
    assert asked is not None
    assert asked.plan == first
    full = means_of(world, tmp_path)
    few = full.config.remediation.model_copy(update={"max_per_account": 0})
    full.config = full.config.model_copy(update={"remediation": few})
    assert found(full) is not None, "a cap leaves room again"
    world.clock.pass_(minutes=1)
    switch_on(means_of(world, tmp_path), key, (OTHER, "user-45"), "needed")
    assert found() is None
    assert f"{first.id}.json is left out: {OTHER}/user-45: the key was switched on by hand" in caplog.text
    world.clock.pass_(minutes=1)
    later = planned()
    asked = found()
    assert asked is not None
    assert asked.plan == later
    means = means_of(world, tmp_path)
    with signers(tmp_path).open("a") as file:
        file.write("# one more\n")
    assert found(means) is None
    assert "who may approve is not what it was" in caplog.text


@pytest.mark.parametrize("is_planned_item", [True, False])
def test_who_approves_is_told_that_somebody_needed_the_key(
    world: World, tmp_path: Path, *, is_planned_item: bool
) -> None:
    """When, and why, until it is switched off here."""
    if is_planned_item:
        item = switched_off(world, tmp_path, "user-46")
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "night job")
    else:
        switched_off(world, tmp_path, "user-47")
        (key,) = world.keys("user-46")
        switch_on(means_of(world, tmp_path), key, (OTHER, "user-46"), "night job")
    on = f"{world.clock.now:%Y-%m-%d %H:%M}Z"
    world.clock.pass_(minutes=10)
    means = means_of(world, tmp_path)
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "not needed", leaked=True)
    plan = plan_for(means, subject_of(means, "user-46", OTHER), wish, "ann@example.com")
    warned = f"switched on by hand at {on}: night job"
    assert [basis.reason for basis in plan.items[0].basis] == ["not needed", f"Careful: {warned}"]
    assert ("Careful", f"user-46: {warned}") in list(facts_of(plan))
    claim_signed(world, tmp_path, plan.items[0], 3)
    list(advance(means, lambda _: None))
    gone = plan_for(
        means, subject_of(means, "user-46", OTHER), Wish(Kind.DELETE, Kind.DELETE, "old", owner="x"), "ann@example.com"
    )
    assert [basis.reason for basis in gone.items[0].basis] == ["old"]


def test_one_release_settles_one_thing(world: World, tmp_path: Path) -> None:
    """Whose a key is was asked while somebody held the item: that it is held is another matter."""
    item = item_of(world, "user-34", Kind.ROTATE, Kind.ROTATE)
    plan = claim_signed(world, tmp_path, item)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(plan.id, item.id, Event.INTENT, step="create", intent="0" * 32, by="x", keys=[item.key.id])
        journal.add(plan.id, item.id, Event.HELD, reason="year end", by="ann")
        journal.add(plan.id, item.id, Event.ASKED, code="ORPHAN_SUSPECT", reason="whose is it?", who="ann")
    means = means_of(world, tmp_path)
    first = tell_journal(means, item.id, Event.RELEASED, reason="nobody's", by="ann")
    assert (first.begun, first.done.held) == ((), "year end")
    second = tell_journal(means, item.id, Event.RELEASED, reason="over", by="ann")
    assert second.done.held is None


def test_a_plan_of_before_is_not_taken_where_there_was_no_journal_yet(world: World, tmp_path: Path) -> None:
    """The rollback makes it, or nobody would know that the key is needed."""
    means = means_of(world, tmp_path)
    (key,) = world.keys("user-44")
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "leaked", leaked=True)
    plan = plan_for(means, subject_of(means, "user-44", OTHER), wish, "ann@example.com")
    signed = [one.approves(plan, world.clock.now) for one in (BOB, CAT)]
    assert not means.has_journal
    world.clock.pass_(minutes=5)
    switch_on(means, key, (OTHER, "user-44"), "keep it on")
    assert told_actions(world, tmp_path) == [("reactivated", None)]
    with pytest.raises(ApprovalError, match="after it was planned"):
        claim(means, plan, signed)


@pytest.mark.parametrize("why", ["a pipeline", "no folder"])
def test_a_journal_that_cannot_be_made_is_told_as_that(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """As one that cannot be written: the key is on all the same."""
    folder = tmp_path / "remediation"
    means = means_of(world, tmp_path)
    remediation = means.config.remediation.model_copy(update={"folder": str(folder / "of-a-file")})
    means.config = means.config.model_copy(update={"remediation": remediation})
    if why == "a pipeline":
        monkeypatch.setenv("CI", "true")
    else:
        folder.write_text("")
    (key,) = world.keys("user-45")
    iam_backends[OTHER]["aws"].update_access_key("user-45", key, "Inactive")
    assert switch_on(means, key, (OTHER, "user-45"), "needed") == key
    assert world.keys("user-45") == {key: "Active"}
    assert "The journal may not tell of it" in caplog.text
    assert folder.exists() is (why == "no folder")


@pytest.mark.parametrize("is_named", [True, False])
def test_a_clock_that_is_off_tells_a_shared_journal_nothing(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_named: bool
) -> None:
    """Lease and waits of all who share it go by the time; the key is on all the same, and that is said."""
    with suppress(ClientError):  # the other case made it
        make_table(world.cloud)
    item = due_item(world, f"user-{46 + is_named}", Kind.DELETE)
    right, means = sharing(means_of(world, tmp_path)), sharing(means_of(world, tmp_path))
    with right.journal() as journal:
        journal.add("plan-1", "", Event.CLAIMED, plan=plan_of(item).model_dump(mode="json", by_alias=True))
        rows = len(journal.rows)
    means.timing = replace(means.timing, now=lambda: world.clock.now + timedelta(minutes=3))
    if is_named:
        switch_on(means, item.key.id, (OTHER, item.user), "needed")
        assert "The journal may not tell of it: This machine's clock is off" in caplog.text
    else:
        with pytest.raises(ApprovalError, match=f"{item.key.id} is active now.*clock"):
            switch_on(means, item.id, NOBODYS, "needed")
    assert world.keys(item.user) == {item.key.id: "Active"}
    with right.journal(writes=False) as journal:
        assert len(journal.rows) == rows


def test_a_journal_that_was_changed_names_what_works_without_it(world: World, tmp_path: Path) -> None:
    """By an item's id, or a key's alone, it does not."""
    item = switched_off(world, tmp_path, "user-48")
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE log SET told = '{}' WHERE number = 1")
    for name in (item.id, item.key.id):
        with pytest.raises(OutputError, match="rows were changed or left out") as error:
            switch_on(means_of(world, tmp_path), name, NOBODYS, "needed")
        assert "`auditor remediate rollback KEY --account ID --user NAME` works without it" in error.value.next_step


@pytest.mark.parametrize("whose", [(OTHER, None), (None, "user-49")])
def test_whose_a_key_is_takes_both_names(world: World, tmp_path: Path, whose: tuple[str | None, str | None]) -> None:
    """What somebody said is not passed over."""
    (key,) = world.keys("user-49")
    with pytest.raises(UsageError, match="takes an account and a user"):
        switch_on(means_of(world, tmp_path), key, whose, "needed")
    assert not means_of(world, tmp_path).has_journal
