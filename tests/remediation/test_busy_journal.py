"""A key that is switched on again while somebody else has the journal: kept on, and told when that is done."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto.iam.models import iam_backends

from auditor.aws.failures import AwsFailure
from auditor.demo import Call, ErrorFault, Fault, LostFault, RawFault
from auditor.errors import ApprovalError
from auditor.model import KeyStatus
from auditor.remediation.journal_file import FILE, open_journal
from auditor.remediation.plan import Item, Kind
from auditor.remedy.carrying_out import advance
from auditor.remedy.rollback import switch_on
from tests.remediation.test_by_hand import claim_signed, means_of
from tests.remediation.test_rollback import NOBODYS, NOT_KNOWN, on, told_actions, tracked
from tests.remediation.world import OTHER, World, due_item, item_of

REFUSED, FAILED = ErrorFault(403, "AccessDenied"), ErrorFault(500, "ServiceFailure")
PATIENCE = "auditor.remedy.rollback.PATIENCE"


def nothing() -> None:
    """Nothing is done."""


@contextmanager
def busy(world: World, folder: Path, then: Callable[[], None] = nothing) -> Iterator[threading.Event]:
    """Somebody is at work with the journal until he is told to end, and does this before."""
    begun, ends = threading.Event(), threading.Event()

    def work() -> None:
        with open_journal(folder, lambda: world.clock.now):
            begun.set()
            ends.wait(30)
            then()

    working = threading.Thread(target=work)
    working.start()
    assert begun.wait(10)
    try:
        yield ends
    finally:
        ends.set()
        working.join()


def in_between(ends: threading.Event, then: Callable[[], None] = nothing) -> Callable[[str], None]:
    """Hears that it is waited for: a while later this is done, and a while after that the other one is done."""

    def work() -> None:
        time.sleep(0.3)
        then()
        time.sleep(1.2)  # it is looked at in between
        ends.set()

    return lambda _: threading.Thread(target=work).start()


def switch_off(item: Item) -> None:
    """As a tick does that was at work before."""
    iam_backends[OTHER]["aws"].update_access_key(item.user, item.key.id, "Inactive")


def after_first(fault: Fault) -> Callable[[Call], Fault | None]:
    """The key is switched on once, and never again."""
    sent: list[Call] = []

    def answer(call: Call) -> Fault | None:
        if call.action == "UpdateAccessKey":
            sent.append(call)
        return fault if call.action == "UpdateAccessKey" and len(sent) > 1 else None

    return answer


@pytest.mark.parametrize("is_named", [True, False])
def test_a_failure_while_the_journal_is_waited_for_ends_no_waiting(
    world: World, tmp_path: Path, *, is_named: bool
) -> None:
    """Nothing was done, nor the second time: the item is held all the same, and the key not deleted later."""
    item = due_item(world, f"user-{is_named:d}", Kind.DELETE)
    claim_signed(world, tmp_path, item)
    world.fault = on("UpdateAccessKey", FAILED)
    whose = (OTHER, item.user) if is_named else NOBODYS
    with busy(world, tmp_path) as ends, pytest.raises(AwsFailure, match="ServiceFailure"):
        switch_on(means_of(world, tmp_path), item.key.id, whose, "needed", in_between(ends))
    world.fault = lambda _call: None
    state = tracked(world, tmp_path, item)
    assert (state.done.held, [row.told["step"] for row in state.begun]) == ("needed", ["reactivate"])
    for _ in range(8):
        world.clock.pass_(days=1)
        list(advance(means_of(world, tmp_path), lambda _: None))
    assert tracked(world, tmp_path, item).begun == ()
    assert world.keys(item.user) == {item.key.id: "Inactive"}


@pytest.mark.parametrize("fault", [FAILED, ErrorFault(400, "Throttling")], ids=["failed", "throttled"])
def test_a_failure_that_passes_while_the_journal_is_waited_for_is_none(
    world: World, tmp_path: Path, fault: ErrorFault
) -> None:
    """The second time it came off: the key is on, and the journal says so."""
    item = due_item(world, "user-2" if fault is FAILED else "user-16", Kind.DELETE)
    claim_signed(world, tmp_path, item)
    world.fault = on("UpdateAccessKey", fault)

    def passes() -> None:
        world.fault = lambda _call: None

    with busy(world, tmp_path) as ends:
        heard = in_between(ends, passes)
        assert switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed", heard) == item.key.id
    assert world.keys(item.user) == {item.key.id: "Active"}
    state = tracked(world, tmp_path, item)
    assert (state.done.held, state.begun) == ("needed", ())
    assert told_actions(world, tmp_path) == [("reactivated", None)]


@pytest.mark.parametrize("when", ["while it is waited for", "right before it is done"])
@pytest.mark.parametrize("fault", [FAILED, REFUSED], ids=["failed", "refused"])
def test_a_key_that_was_switched_off_again_is_not_told_as_active(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, when: str, fault: ErrorFault
) -> None:
    """That is said, with its own reason; the item is held, and the next tick finds out."""
    number = 3 + 2 * (fault is FAILED) + (when == "right before it is done")
    item = item_of(world, f"user-{number}", Kind.DEACTIVATE, Kind.DELETE, urgent=True)
    claim_signed(world, tmp_path, item)
    list(advance(means_of(world, tmp_path), lambda _: None))
    world.fault = after_first(fault)

    def then() -> None:
        switch_off(item)

    in_the_end, meanwhile = (then, nothing) if when == "right before it is done" else (nothing, then)
    with busy(world, tmp_path, in_the_end) as ends, pytest.raises(AwsFailure) as failure:
        switch_on(means_of(world, tmp_path), item.key.id, (OTHER, item.user), "needed", in_between(ends, meanwhile))
    assert failure.value.__notes__ == [
        f"{item.key.id} was active, was shown as inactive after that, and could not be switched on once more."
    ]
    assert "may not be moved back" not in caplog.text
    state = tracked(world, tmp_path, item)
    assert (state.done.held, [row.told["step"] for row in state.begun]) == ("needed", ["reactivate"])
    world.fault = lambda _call: None
    world.clock.pass_(minutes=5)
    list(advance(means_of(world, tmp_path), lambda _: None))
    assert told_actions(world, tmp_path)[-1] == ("reactivated", NOT_KNOWN)
    assert tracked(world, tmp_path, item).begun == ()


@pytest.mark.parametrize("is_named", [True, False])
def test_a_refusal_is_told_when_the_journal_is_free(world: World, tmp_path: Path, *, is_named: bool) -> None:
    """As it is where nobody is at work with it; what is refused is not asked for again."""
    item = due_item(world, f"user-{7 + is_named}", Kind.DELETE)
    claim_signed(world, tmp_path, item)
    world.fault = on("UpdateAccessKey", REFUSED)
    before = len(world.cloud.call_log)
    heard: list[str] = []
    whose = (OTHER, item.user) if is_named else NOBODYS
    with busy(world, tmp_path) as ends:

        def waits(text: str) -> None:
            heard.append(text)
            in_between(ends)(text)

        with pytest.raises(AwsFailure, match="AccessDenied") as failure:
            switch_on(means_of(world, tmp_path), item.key.id, whose, "needed", waits)
    state = tracked(world, tmp_path, item)
    assert (state.done.held, state.begun, state.failed) == ("needed", (), str(failure.value))
    assert [call.action for call in world.cloud.call_log[before:]].count("UpdateAccessKey") == 1
    assert heard[0].startswith("iam:UpdateAccessKey: AccessDenied (Injected). Somebody else is at work")


def test_who_may_only_switch_keys_on_does_so_once_more_when_nobody_is_at_work(world: World, tmp_path: Path) -> None:
    """Whether the key stayed active cannot be seen."""
    item = item_of(world, "user-9", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    world.fault = on("ListAccessKeys", REFUSED)
    with busy(world, tmp_path, lambda: switch_off(item)) as ends:
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed", in_between(ends))
    assert world.keys(item.user) == {item.key.id: "Active"}


def test_a_list_of_before_is_not_believed_in_the_end(world: World, tmp_path: Path) -> None:
    """ListAccessKeys may show for a moment what was before the last that others did."""
    item = item_of(world, "user-17", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    entry = (
        f"<member><UserName>{item.user}</UserName><AccessKeyId>{item.key.id}</AccessKeyId><Status>Active</Status>"
        "<CreateDate>2026-05-06T19:00:00Z</CreateDate></member>"
    )
    before = RawFault(
        '<ListAccessKeysResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListAccessKeysResult>'
        f"<AccessKeyMetadata>{entry}</AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult>"
        "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></ListAccessKeysResponse>".encode()
    )

    def then() -> None:
        switch_off(item)
        world.fault = on("ListAccessKeys", before)

    with busy(world, tmp_path, then) as ends:
        switch_on(means_of(world, tmp_path), item.key.id, (OTHER, item.user), "needed", in_between(ends))
    assert world.keys(item.user) == {item.key.id: "Active"}


def test_who_may_only_switch_keys_on_keeps_them_on_all_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, though seldom; also where the journal is not free in the end."""
    item = item_of(world, "user-18", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)
    monkeypatch.setattr("auditor.remedy.rollback.BLINDLY", 0.5)
    monkeypatch.setattr(PATIENCE, 3.0)
    world.fault = on("ListAccessKeys", REFUSED)
    with busy(world, tmp_path), pytest.raises(ApprovalError):
        switch_on(means_of(world, tmp_path), item.key.id, (OTHER, item.user), "needed", lambda _: switch_off(item))
    assert world.keys(item.user) == {item.key.id: "Active"}


def test_a_journal_that_is_unusable_when_it_is_free_hides_nothing(world: World, tmp_path: Path) -> None:
    """The key is looked at once more, and that others may go on with it is no success."""
    item = item_of(world, "user-15", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim_signed(world, tmp_path, item)

    def then() -> None:
        switch_off(item)
        with sqlite3.connect(tmp_path / FILE) as database:
            database.execute("UPDATE log SET told = '{}' WHERE number = 1")

    with busy(world, tmp_path, then) as ends, pytest.raises(ApprovalError, match=r"active now.*were changed"):
        switch_on(means_of(world, tmp_path), item.key.id, (OTHER, item.user), "needed", in_between(ends))
    assert world.keys(item.user) == {item.key.id: "Active"}


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("ends_by", ["patience", "Ctrl-C"])
def test_a_journal_that_is_never_free_is_told_as_that(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_by: str, *, is_named: bool
) -> None:
    """At once how the key stands; in the end that it is on, and that whoever is at work may switch it off again."""
    item = due_item(world, f"user-{10 + is_named + 2 * (ends_by == 'patience')}", Kind.DELETE)
    claim_signed(world, tmp_path, item)
    monkeypatch.setattr(PATIENCE, 1.5 if ends_by == "patience" else 60.0)
    heard: list[str] = []

    def waits(text: str) -> None:
        heard.append(text)
        if ends_by == "Ctrl-C":
            raise KeyboardInterrupt

    whose = (OTHER, item.user) if is_named else NOBODYS
    with busy(world, tmp_path), pytest.raises(ApprovalError) as error:
        switch_on(means_of(world, tmp_path), item.key.id, whose, "needed", waits)
    (said,) = heard
    assert said.startswith(f"{item.key.id} is active now. Somebody else is at work with this journal (process ")
    assert said.endswith("Until the journal can be told, the key is kept active.")
    assert f"{item.key.id} is active now. The journal was not told. Somebody else is at work" in error.value.what
    assert error.value.next_step == "Run the same command again when the journal is free."
    assert error.value.what.endswith("Whoever that is may switch the key off again.")
    assert "nothing was called" not in str(error.value)
    assert world.keys(item.user) == {item.key.id: "Active"}
    assert tracked(world, tmp_path, item).done.held is None


def test_what_failed_and_cannot_be_told_is_told_as_both(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not said of it that it is active."""
    item = due_item(world, "user-14", Kind.DELETE)
    claim_signed(world, tmp_path, item)
    monkeypatch.setattr(PATIENCE, 0.0)
    world.fault = on("UpdateAccessKey", LostFault())
    with busy(world, tmp_path), pytest.raises(AwsFailure) as failure:
        switch_on(means_of(world, tmp_path), item.id, NOBODYS, "needed")
    note, last = failure.value.__notes__
    assert note.startswith("The journal may not tell of it: ")
    assert "nothing was called" not in note
    assert last == f"{item.key.id} may be active all the same: look, or run the same command again."
    assert KeyStatus(world.keys(item.user)[item.key.id]) is KeyStatus.ACTIVE
