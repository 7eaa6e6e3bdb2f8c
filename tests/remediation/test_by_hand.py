"""Taking back: the old key works again, and applications read what they read before."""

import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from moto.iam.models import iam_backends

from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.permissions import remediation_policy
from auditor.config import load_config
from auditor.config.remediation_records import RolesConfig
from auditor.demo import Call, DelayFault, ErrorFault, Fault
from auditor.errors import ApprovalError, UsageError
from auditor.model import KeyStatus, UsedAt
from auditor.notify import Channels, Message, NotSentError
from auditor.remediation.approval import Approvers
from auditor.remediation.decision import Step
from auditor.remediation.engine import Outcome
from auditor.remediation.journal import Event, Journal
from auditor.remediation.journal_file import FILE, open_journal
from auditor.remediation.lifecycle import sentinel_of
from auditor.remediation.plan import Delivery, Item, Kind, Plan, PlannedKey, Use
from auditor.remediation.progress import fold
from auditor.remediation.record import record
from auditor.remedy.by_hand import close_item, orphans_in, tell_journal
from auditor.remedy.carrying_out import advance, give_way
from auditor.remedy.means import Means
from auditor.remedy.rollback import switch_on
from auditor.remedy.telling import catch_up
from auditor.tables import records_of
from tests.remediation.signing import person, told_of
from tests.remediation.world import OTHER, Death, Killed, World, claim, due_item, engine, item_of, plan_of

BOB, CAT = person("bob@example.com"), person("cat@example.com")


def signers(folder: Path) -> Path:
    """Bob and Cat may approve, unless somebody changed that."""
    path = folder / "allowed_signers"
    if not path.exists():
        path.write_text(f"{BOB.line}\n{CAT.line}\n")
    return path


def claim_signed(world: World, folder: Path, item: Item, number: int = 1, **changes: Any) -> Plan:
    """A plan of the item is in the journal, signed by both; the plan."""
    approvers = Approvers.read(signers(folder))
    update = {"id": f"plan-{number}", "approvers_sha256": approvers.sha256}
    plan = plan_of(item, at=world.clock.now).model_copy(update=update)
    signed = [one.approves(plan, world.clock.now) for one in (BOB, CAT)]
    told = {"through": {item.id: item.through.value}, "signatures": told_of(*signed), "approvers": approvers.text}
    with open_journal(folder, lambda: world.clock.now) as journal:
        journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
        journal.add(plan.id, "", Event.APPROVED, **(told | changes))
    return plan


def means_of(world: World, folder: Path) -> Means:
    """As a command has them, in the world's cloud."""
    accounts = {
        "source": "organisation",
        "role_name": world.cloud.role_name,
        "external_id": world.cloud.external_id,
    }
    approval = {"allowed_signers": str(signers(folder)), "plan_hours": 720}  # longer than any wait
    waits = {"grace_days": 7, "quiet_days": 2, "quarantine_days": 14}  # as items have them here
    remediation = {"folder": str(folder), "approval": approval, **waits}
    config = load_config(None, {"accounts": accounts, "remediation": remediation})
    credentials = StaticCredentials(world.cloud.access_key_id, world.cloud.secret_access_key)
    return Means(config, Connection(world.cloud.endpoint_url, isolated=credentials), folder, world.clock.timing)


def rotated(world: World, folder: Path, item: Item, number: int) -> Outcome:
    """The item's key is rotated."""
    claim_signed(world, folder, item, number)
    (outcome,) = advance(means_of(world, folder), lambda _: None, item)
    return outcome


def rotated_twice(world: World, folder: Path, user: str, through: Kind) -> tuple[Item, str]:
    """The second rotation, of the key that the first one stored; and the newest key, which applications read."""
    first = item_of(world, user, through=Kind.ROTATE)
    rotated(world, folder, first, 1)
    key = read_by(world, user)
    (before,) = (name for name in world.keys(user) if name != key)
    world.delete_key(user, before)
    version = means_of(world, folder).ledger().items[first.id].done.version
    planned = PlannedKey(id=key, created_at=world.created(user, key), status=KeyStatus.ACTIVE, last_used=Use())
    delivery = Delivery(secret=f"auditor/{user}", current=version)
    second = first.model_copy(update={"id": "item-2", "key": planned, "delivery": delivery, "through": through})
    rotated(world, folder, second, 2)
    newest = read_by(world, user)
    assert newest != key
    return second, newest


def read_by(world: World, user: str) -> str:
    """The key that the user's applications read."""
    stored = world.stored(f"auditor/{user}")
    assert stored is not None
    return str(stored["AccessKeyId"])


@pytest.mark.parametrize("through", [Kind.ROTATE, Kind.DEACTIVATE])
@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_rotation_that_is_taken_back_gives_applications_the_old_key(
    world: World, tmp_path: Path, *, is_adopted: bool, through: Kind
) -> None:
    """Before anybody uses the new key; where somebody does, the secret stays, and both keys work.

    Of what ended when it was rotated nobody wrote down whether the new key was adopted: AWS is asked.
    """
    second, newest = rotated_twice(world, tmp_path, "user-7", through)
    key = second.key.id
    if is_adopted:
        world.clock.pass_(days=8)
        world.cloud.record_use(newest, UsedAt(world.clock.now - timedelta(hours=1), "s3", "eu-west-1"))
        list(advance(means_of(world, tmp_path), lambda _: None))
    assert switch_on(means_of(world, tmp_path), "item-2", (None, None), "it fails") == key
    assert (read_by(world, "user-7") == key) is not is_adopted
    with open_journal(tmp_path, lambda: world.clock.now, writes=False) as journal:
        changes = list(records_of(record(journal.rows, world.clock.now).actions))
    told = [(change["action"], change["access_key_id"]) for change in changes if change["item_id"] == "item-2"][2:]
    assert told == [("reactivated", key), *([] if is_adopted else [("restored", key)])]
    tracked = means_of(world, tmp_path).ledger().items["item-2"]
    assert (tracked.done.published_at is None) is not is_adopted
    assert set(world.keys("user-7").values()) == {"Active"}


@pytest.mark.parametrize("how", ["deleted", "inactive"])
def test_applications_do_not_go_on_with_a_key_that_is_dead(world: World, tmp_path: Path, how: str) -> None:
    """Also where they used it until then: the key that is on is what they read again."""
    user = f"user-{43 + (how == 'deleted')}"
    second, newest = rotated_twice(world, tmp_path, user, Kind.DEACTIVATE)
    world.clock.pass_(days=8)
    world.cloud.record_use(newest, UsedAt(world.clock.now - timedelta(hours=1), "s3", "eu-west-1"))
    list(advance(means_of(world, tmp_path), lambda _: None))
    if how == "deleted":
        world.delete_key(user, newest)
    else:
        iam_backends[OTHER]["aws"].update_access_key(user, newest, "Inactive")
    switch_on(means_of(world, tmp_path), "item-2", (None, None), "it fails")
    assert read_by(world, user) == second.key.id


def test_that_applications_read_a_dead_key_is_said(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one was never stored, so nothing can be moved back."""
    item = item_of(world, "user-45", through=Kind.DELETE)
    rotated(world, tmp_path, item, 1)
    newest = read_by(world, "user-45")
    world.delete_key("user-45", newest)
    switch_on(means_of(world, tmp_path), item.id, (None, None), "it fails")
    told = f"{item.key.id} is active; applications read {newest} from auditor/user-45"
    assert told in caplog.text


@pytest.mark.parametrize("gives_way", [False, True])
def test_a_key_that_leaked_while_it_was_rotated_is_read_again_when_that_was_wrong(
    world: World, tmp_path: Path, *, gives_way: bool
) -> None:
    """The rotation is taken back as well, by whichever item of the key the rollback is named."""
    user = f"user-{46 + gives_way}"
    second, _ = rotated_twice(world, tmp_path, user, Kind.DELETE)
    changes = {"id": "leaked", "kind": Kind.DEACTIVATE, "through": Kind.DEACTIVATE, "urgent": True, "delivery": None}
    leaked = second.model_copy(update=changes)
    claim_signed(world, tmp_path, leaked, 3)
    if gives_way:
        with open_journal(tmp_path, lambda: world.clock.now) as journal:
            give_way(journal, [leaked])
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert world.keys(user)[second.key.id] == "Inactive"
    switch_on(means_of(world, tmp_path), "item-2", (None, None), "it did not")
    assert world.keys(user)[second.key.id] == "Active"
    assert read_by(world, user) == second.key.id


def test_what_cannot_be_moved_back_leaves_the_item_held(world: World, tmp_path: Path) -> None:
    """The key is active and the journal says so, or the next tick would go on with what was taken back."""
    delivery = Delivery(secret="auditor/user-8", current="before")
    item = item_of(world, "user-8", through=Kind.DELETE).model_copy(update={"delivery": delivery})
    claim(world, tmp_path, plan_of(item, at=world.clock.now))
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, Event.RESULT, step="create", outcome="done", key="AKIANEW", version="after")
        journal.add("plan-1", item.id, Event.RESULT, step="publish", outcome="done")
    world.fault = lambda call: ErrorFault(403, "AccessDenied") if call.action == "DescribeSecret" else None
    with pytest.raises(
        ApprovalError, match=f"{item.key.id} is active now. What applications read may not be moved back"
    ):
        switch_on(means_of(world, tmp_path), item.id, (None, None), "it fails")
    assert means_of(world, tmp_path).ledger().items[item.id].done.held == "it fails"


def test_a_clock_that_is_off_keeps_nobody_from_switching_a_key_on(world: World, tmp_path: Path) -> None:
    """All else goes by the time, and is refused."""
    means = means_of(world, tmp_path)
    means.timing = replace(means.timing, now=lambda: world.clock.now + timedelta(minutes=3))
    (key,) = world.keys("user-9")
    with means_of(world, tmp_path).journal():  # a file, which is there
        pass
    assert switch_on(means, key, (OTHER, "user-9"), "now") == key
    with pytest.raises(ApprovalError, match="clock"):
        list(advance(means, lambda _: None))
    with pytest.raises(ApprovalError, match="clock"):  # from then on the key would have to be quiet
        tell_journal(means, "item-1", Event.RELEASED, reason="over", by="ann")
    assert means.ledger().key(key).switched_on_at is None, "a date that is wrong would hold for ever"


def test_who_interrupts_a_rollback_reads_that_the_key_may_be_active(world: World, tmp_path: Path) -> None:
    """While AWS is asked; what the journal was told of it, the next tick settles."""
    (key,) = world.keys("user-51")
    iam_backends[OTHER]["aws"].update_access_key("user-51", key, "Inactive")
    main = threading.main_thread().ident
    assert main is not None

    def interrupts(call: Call) -> Fault | None:
        if call.action != "UpdateAccessKey":
            return None
        signal.pthread_kill(main, signal.SIGINT)
        return DelayFault(0.5)

    world.fault = interrupts
    with pytest.raises(ApprovalError, match=rf"Interrupted\. Whether {key} is active is not known") as error:
        switch_on(means_of(world, tmp_path), key, (OTHER, "user-51"), "now")
    assert "was not told" not in error.value.what
    assert means_of(world, tmp_path).ledger().key(key).switched_on_at is not None


@pytest.mark.parametrize("what", ["released", "rolled back"])
def test_a_key_that_may_have_been_made_is_not_forgotten(world: World, tmp_path: Path, what: str) -> None:
    """Killed after CreateAccessKey: whatever a person says meanwhile, the next tick finds the key and takes it back."""
    item = item_of(world, "user-21", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    death = Death(calls_until(world, "create_access_key"), after=True)
    with pytest.raises(Killed), engine(world, tmp_path, death=death) as made:
        list(made.tick())
    assert len(world.keys("user-21")) == 2
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
    assert len(world.keys("user-21")) == 2
    assert orphans_in(means) == []


def calls_until(world: World, name: str) -> int:
    """The number of the call of this name in a rotation."""
    counted = Death()
    item = item_of(world, "user-22", Kind.ROTATE, Kind.ROTATE)
    folder = Path(mkdtemp())
    claim(world, folder, plan_of(item, at=world.clock.now))
    with engine(world, folder, death=counted) as made:
        list(made.tick())
    return counted.names.index(name)


def test_nobody_confirms_a_key_that_is_not_there(world: World, tmp_path: Path) -> None:
    """It would count later, for a key that nobody has seen."""
    item = item_of(world, "user-23")
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    with pytest.raises(UsageError, match="no new key yet"):
        tell_journal(means, item.id, Event.CONFIRMED, reason="moved", by="ann")
    (outcome,) = advance(means, lambda _: None, item)
    assert outcome.steps[-1] is Step.PUBLISH
    assert tell_journal(means, item.id, Event.CONFIRMED, reason="moved", by="ann").done.confirmed_by == "ann"


def test_a_key_that_no_journal_knows_is_switched_on_with_an_intent(world: World, tmp_path: Path) -> None:
    """So that CloudTrail tells whose doing it was, as of every other call that changes a key."""
    (key,) = world.keys("user-10")
    before = len(world.cloud.call_log)
    switch_on(means_of(world, tmp_path), key, (OTHER, "user-10"), "now")
    (agent,) = [call.user_agent for call in world.cloud.call_log[before:] if call.action == "UpdateAccessKey"]
    assert re.search(r"auditor-intent/[0-9a-f]{32}$", agent)


@pytest.mark.parametrize(("lost", "outcome"), [(False, "failed"), (True, "done")])
def test_what_was_moved_back_without_an_answer_is_looked_at(
    world: World, tmp_path: Path, *, lost: bool, outcome: str
) -> None:
    """The journal has it as begun; the next tick tells by what is current whether it was done."""
    user = f"user-{11 + lost}"
    item = item_of(world, user, through=Kind.DEACTIVATE)
    rotated(world, tmp_path, item, 1)
    stored = world.stored(f"auditor/{user}")
    assert stored is not None
    delivery = Delivery(secret=f"auditor/{user}", current="before")
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        plan = plan_of(item.model_copy(update={"delivery": delivery}))
        version = fold(journal.rows).items[item.id].done.version
        current = "before" if not lost else version
        changed = plan.items[0].model_copy(update={"delivery": Delivery(secret=f"auditor/{user}", current=current)})
        document = plan.model_copy(update={"items": (changed,)}).model_dump(mode="json", by_alias=True)
        journal.add(plan.id, "", Event.CLAIMED, plan=document)
        journal.add(plan.id, item.id, Event.INTENT, step="restore", intent="0" * 32, by="x", keys=[])
    world.clock.pass_(minutes=2)
    list(advance(means_of(world, tmp_path), lambda _: None))
    with open_journal(tmp_path, lambda: world.clock.now, writes=False) as journal:
        results = [row.told for row in journal.rows if row.event is Event.RESULT and row.told["step"] == "restore"]
    assert [one["outcome"] for one in results] == [outcome]


@pytest.mark.parametrize("is_readable", [True, False])
def test_what_was_switched_on_without_the_journal_stands_in_it_where_it_can(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_readable: bool
) -> None:
    """The item is held, and reports tell of it; a journal that was changed keeps nobody from it, and that is said."""
    item = item_of(world, "user-29", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert world.keys("user-29") == {item.key.id: "Inactive"}
    if not is_readable:
        with sqlite3.connect(tmp_path / FILE) as journal:
            journal.execute("UPDATE log SET told = '{}' WHERE number = 1")
    assert switch_on(means_of(world, tmp_path), item.key.id, (OTHER, "user-29"), "now") == item.key.id
    assert world.keys("user-29") == {item.key.id: "Active"}
    assert ("The journal may not tell of it" in caplog.text) is not is_readable
    if is_readable:
        kept = means_of(world, tmp_path).record(world.clock.now)
        assert kept is not None
        told = [(one["action"], one["basis"]) for one in records_of(kept.actions)]
        assert told == [("deactivated", item.basis[0].reason), ("reactivated", "now")]


def test_a_key_that_applications_may_have_read_is_no_orphan(world: World, tmp_path: Path) -> None:
    """It was published, then the old one was read again: whoever started in between has it in memory."""
    item = item_of(world, "user-33", through=Kind.ROTATE)
    rotated(world, tmp_path, item, 1)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, Event.RESULT, step="restore", outcome="done")
    assert means_of(world, tmp_path).ledger().items[item.id].done.published_at is None
    assert orphans_in(means_of(world, tmp_path)) == []


@pytest.mark.parametrize("kind", [Kind.DEACTIVATE, Kind.DELETE])
def test_what_was_held_for_longer_than_its_plan_lasts_goes_on(world: World, tmp_path: Path, kind: Kind) -> None:
    """It was begun in time: it is announced anew."""
    item = due_item(world, f"user-{40 + kind.rank}", kind)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    world.clock.pass_(days=2.5)
    (outcome,) = advance(means, lambda _: None)
    assert outcome.told.startswith(f"to {kind.value}, not before "), outcome.told
    tell_journal(means, item.id, Event.HELD, reason="year end", by="ann")
    world.clock.pass_(days=10)
    tell_journal(means, item.id, Event.RELEASED, reason="over", by="ann")
    (outcome,) = advance(means, lambda _: None)
    assert outcome.told.startswith(f"to {kind.value}, not before "), outcome.told


def switched_on_beside(world: World, folder: Path, item: Item, tick_does: Callable[[Journal], None]) -> None:
    """Somebody switches the item's key on while a tick has the journal, which does this before it is done."""
    begun = threading.Event()

    def tick_at_work() -> None:
        with open_journal(folder, lambda: world.clock.now) as journal:
            begun.set()
            time.sleep(1.5)  # while the other waits for the journal
            tick_does(journal)

    working = threading.Thread(target=tick_at_work)
    working.start()
    assert begun.wait(10)
    switch_on(means_of(world, folder), item.id, (None, None), "needed")
    working.join()


def test_what_a_tick_did_while_the_journal_was_waited_for_is_known(world: World, tmp_path: Path) -> None:
    """It ended the item meanwhile: what is at its end is not held."""
    item = item_of(world, "user-34", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)

    def tick_does(journal: Journal) -> None:
        journal.add("plan-1", item.id, Event.ENDED, how="inactive")

    switched_on_beside(world, tmp_path, item, tick_does)
    tracked = means_of(world, tmp_path).ledger().items[item.id]
    assert (tracked.ended, tracked.done.held) == ("switched on again", None)


def test_a_key_of_no_plan_that_was_switched_on_stands_in_the_journal(world: World, tmp_path: Path) -> None:
    """Reports tell of every change, the first of all among them; and what comes after it is understood."""
    (key,) = world.keys("user-47")
    switch_on(means_of(world, tmp_path), key, (OTHER, "user-47"), "before there was a journal")
    item = item_of(world, "user-48", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    switch_on(means_of(world, tmp_path), key, (OTHER, "user-47"), "payroll")
    list(advance(means_of(world, tmp_path), lambda _: None))
    kept = means_of(world, tmp_path).record(world.clock.now)
    assert kept is not None
    of_none, first, second = records_of(kept.actions)
    assert (of_none["action"], of_none["basis"]) == ("reactivated", "before there was a journal")
    told = [first[name] for name in ("action", "user", "access_key_id", "basis", "plan_id", "approved_by")]
    assert told == ["reactivated", "user-47", key, "payroll", None, None]
    assert (second["action"], second["plan_id"]) == ("deactivated", "plan-1")
    trail = [call.user_agent for call in world.cloud.call_log if call.action == "UpdateAccessKey"]
    assert trail[1].endswith(f"auditor-intent/{first['intent']}")


def test_an_item_that_is_closed_is_in_nobodys_way(world: World, tmp_path: Path) -> None:
    """Somebody else switched the key off, which was to be deleted: it stays as it is, and nothing waits for it."""
    item = item_of(world, "user-30", Kind.DEACTIVATE, Kind.DELETE)
    claim_signed(world, tmp_path, item)
    iam_backends[OTHER]["aws"].update_access_key("user-30", item.key.id, "Inactive")
    means = means_of(world, tmp_path)
    (outcome,) = advance(means, lambda _: None)
    assert "ALREADY_INACTIVE" in outcome.told
    tell_journal(means, item.id, Event.HELD, reason="forensics has it", by="ann")
    assert means.ledger().items[item.id].done.held is not None
    close_item(means, item.id, "forensics has it", "ann")
    assert means.ledger().open() == []
    assert list(advance(means, lambda _: None)) == []
    assert world.keys("user-30") == {item.key.id: "Inactive"}
    assert means.ledger().items[item.id].ended == "closed: forensics has it"
    with pytest.raises(UsageError, match="at its end"):
        close_item(means, item.id, "again", "ann")


def test_an_item_of_which_a_step_is_open_is_closed_only_where_that_is_said(world: World, tmp_path: Path) -> None:
    """A key may be there whose secret nobody has: that is settled first, where AWS can be asked at all."""
    item = item_of(world, "user-31", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    death = Death(calls_until(world, "create_access_key"), after=True)
    with pytest.raises(Killed), engine(world, tmp_path, death=death) as made:
        list(made.tick())
    with pytest.raises(UsageError, match="begun last, create, was made is not known"):
        close_item(means_of(world, tmp_path), item.id, "enough", "ann")
    means = means_of(world, tmp_path)
    assert close_item(means, item.id, "the account is closed", "ann", unsettled=True).intent is not None
    ended = means.ledger().items[item.id]
    assert (ended.ended, means.ledger().open()) == ("closed: the account is closed", [])
    (orphan,) = orphans_in(means)
    assert orphan.key in world.keys("user-31").keys() - {item.key.id}
    assert "nothing here will" in orphan.next_step
    world.cloud.record_use(str(orphan.key), UsedAt(world.clock.now, "s3", "eu-west-1"))
    before = len(world.cloud.call_log)
    world.clock.pass_(hours=1)
    assert list(advance(means, lambda _: None)) == [], "nothing more is done about what was closed"
    assert {call.action for call in world.cloud.call_log[before:]} <= {"GetCallerIdentity"}
    assert orphans_in(means) == [], "whoever uses it has its secret"


def test_a_key_of_a_later_plan_is_no_orphan_of_a_closed_item(world: World, tmp_path: Path) -> None:
    """What was closed before anything was made says nothing about keys that come after it."""
    item = item_of(world, "user-49", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    death = Death(calls_until(world, "create_access_key"))
    with pytest.raises(Killed), engine(world, tmp_path, death=death) as made:
        list(made.tick())
    means = means_of(world, tmp_path)
    close_item(means, item.id, "enough", "ann", unsettled=True)
    again = item.model_copy(
        update={
            "id": "again",
            "delivery": Delivery(secret="auditor/user-49", region="us-east-1", current=sentinel_of(item)),
        }
    )
    assert rotated(world, tmp_path, again, 2).told == "rotated"
    assert orphans_in(means) == []


def test_a_rollback_begins_nothing(world: World, tmp_path: Path) -> None:
    """Of a plan that expired before anything was done, nothing goes on."""
    item = item_of(world, "user-50", Kind.DEACTIVATE, Kind.DEACTIVATE)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    switch_on(means, item.id, (None, None), "to be sure")
    world.clock.pass_(days=5)
    tell_journal(means, item.id, Event.RELEASED, reason="over", by="ann")
    (outcome,) = advance(means, lambda _: None)
    assert "EXPIRED" in outcome.told


def test_a_key_that_was_closed_before_anybody_could_read_it_is_an_orphan(world: World, tmp_path: Path) -> None:
    """It would be in the way of the next rotation for ever."""
    item = item_of(world, "user-32", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    world.fault = lambda call: ErrorFault(403, "AccessDenied") if call.action == "UpdateSecretVersionStage" else None
    list(advance(means, lambda _: None))
    world.fault = lambda _call: None
    assert orphans_in(means) == []
    new = close_item(means, item.id, "enough", "ann").done.new_key
    assert new is not None
    world.cloud.record_use(new, UsedAt(world.clock.now, "s3", "eu-west-1"))
    assert orphans_in(means) == [], "whatever it was made for, somebody uses it"
    world.cloud.record_use(new, UsedAt(world.clock.now, "sts", "us-east-1"))
    (orphan,) = orphans_in(means)
    assert (orphan.key, "ended before any application could read it" in orphan.why) == (new, True)


@dataclass
class Mailbox:
    """A channel that reaches all owners but one."""

    refuses: str
    got: list[str] = field(default_factory=list)
    name: str = "mailbox"

    def send(self, message: Message) -> None:
        """See `Channel`."""
        if message.owner == self.refuses:
            raise NotSentError("nobody is there")
        self.got.append(str(message.owner))


def test_who_cannot_be_reached_keeps_nobody_else_from_being_told(world: World, tmp_path: Path) -> None:
    """What was not told is tried again."""
    for number, owner in enumerate(("nobody", "payments"), 1):
        claim_signed(world, tmp_path, item_of(world, f"user-{34 + number}", owner=owner), number)
    means = means_of(world, tmp_path)
    mailbox = Mailbox("nobody")
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        for row in [row for row in journal.rows if row.event is Event.CLAIMED]:
            (item,) = row.told["plan"]["items"]
            journal.add(row.plan, item["id"], Event.HELD, reason="year end", by="ann")
        for _ in range(2):
            catch_up(journal, Channels((mailbox,)), means)
        assert mailbox.got == ["payments"]
        mailbox.refuses = ""
        catch_up(journal, Channels((mailbox,)), means)
        assert mailbox.got == ["payments", "nobody"]


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
    """Whether the journal knows the key or not; where none is named, it is the one that switches them off.

    It makes the calls that the printed policy allows, and all of them.
    """
    for name in ("retirer", "restorer"):
        make_role(world, name)
    item = item_of(world, "user-24", through=Kind.ROTATE)
    claim(world, tmp_path, plan_of(item, at=world.clock.now))
    means = means_of(world, tmp_path)
    remediation = means.config.remediation.model_copy(update={"roles": RolesConfig.model_validate(roles)})
    for whose in ((None, None), (OTHER, "user-24")):
        means = means_of(world, tmp_path)
        means.config = means.config.model_copy(update={"remediation": remediation})
        before = len(world.cloud.call_log)
        assert switch_on(means, item.key.id, whose, "it fails") == item.key.id
        calls = world.cloud.call_log[before:]
        entered = [call.params["RoleArn"].rpartition("/")[2] for call in calls if call.action == "AssumeRole"]
        assert [call.action for call in calls if call.action == "UpdateAccessKey"] == ["UpdateAccessKey"]
        assert entered[0] == expected
        places = [place for place, call in enumerate(calls) if call.action == "AssumeRole"]
        called = {f"iam:{call.action}" for call in calls[places[0] + 1 : [*places, None][1]]}
        (statement,) = remediation_policy("aws", "rollback", "secretsmanager", "auditor/")["Statement"]
        assert called == set(statement["Action"])
        assert entered[1:] in ([], [world.cloud.role_name])  # which reads whether it stayed so


def test_what_a_tick_at_work_switches_off_meanwhile_is_on_again(world: World, tmp_path: Path) -> None:
    """It looked before and wrote after; with the journal in hand, the key is looked at once more."""
    item = item_of(world, "user-27", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    asked = 0

    def tick_writes(call: Call) -> None:
        nonlocal asked
        asked += call.action == "ListAccessKeys"
        if call.action == "ListAccessKeys" and asked == 1:  # right before the key is looked at again
            iam_backends[OTHER]["aws"].update_access_key("user-27", item.key.id, "Inactive")

    world.fault = tick_writes
    switch_on(means_of(world, tmp_path), item.id, (None, None), "needed")
    assert asked >= 1
    assert world.keys("user-27") == {item.key.id: "Active"}


def test_a_rollback_beside_a_tick_that_is_at_work_holds_when_that_is_done(world: World, tmp_path: Path) -> None:
    """The tick has the journal, and switches the key off after it was switched on: the key is on again in the end."""
    item = item_of(world, "user-28", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)

    def tick_does(_journal: Journal) -> None:
        iam_backends[OTHER]["aws"].update_access_key("user-28", item.key.id, "Inactive")

    switched_on_beside(world, tmp_path, item, tick_does)
    assert world.keys("user-28") == {item.key.id: "Active"}
    assert means_of(world, tmp_path).ledger().items[item.id].done.held == "needed"


def test_what_cannot_be_looked_at_says_so_until_it_can(world: World, tmp_path: Path) -> None:
    """Since when, and who can change it; what a person was asked about before stays a question."""
    item = due_item(world, "user-10", Kind.DEACTIVATE)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)

    def ticked(*, is_readable: bool) -> tuple[str | None, str, str | None]:
        world.fault = lambda call: ErrorFault(403, "AccessDenied") if call.action == "GetUser" else None
        if is_readable:
            world.fault = lambda _call: None
        list(advance(means, lambda _: None))
        world.clock.pass_(hours=1)
        state = means.ledger().items[item.id]
        return state.waits_for, state.who, state.waits_by.at.isoformat() if state.waits_by else None

    first = ticked(is_readable=True)
    unread = ticked(is_readable=False)
    assert unread[:2] == (
        "it could not be looked at: iam:GetUser: AccessDenied (Injected)",
        "whoever can let it be read",
    )
    assert ticked(is_readable=False) == unread, "since the first time"
    kept = means.record(world.clock.now)
    assert kept is not None
    (pending,) = records_of(kept.pending)
    assert (pending["waits_for"], pending["who"], pending["needs_person"]) == (*unread[:2], False)
    assert ticked(is_readable=True) == first, "it waits for that since then"
    iam_backends[OTHER]["aws"].update_access_key("user-10", item.key.id, "Inactive")
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, Event.ASKED, code="STILL_USED", reason="who uses it?", who="ann")
    assert ticked(is_readable=False)[:2] == ("who uses it? (STILL_USED)", "ann")
    assert means.ledger().items[item.id].needs_person
