"""The journal in a table that machines share: the same rows as in a file, one writer at a time, nothing twice."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from auditor.aws.calls import Caller
from auditor.aws.clients import shared_clients
from auditor.aws.permissions import SHARING, journal_policy
from auditor.demo import AccountSeed, Call, EmbeddedOrganisation, ErrorFault, Fault, LostFault, OrganisationSeed
from auditor.errors import ApprovalError, OutputError
from auditor.remediation.decision import Terms
from auditor.remediation.engine import Engine, Standing
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event, Journal
from auditor.remediation.journal_file import open_journal
from auditor.remediation.journal_table import open_shared_journal
from auditor.remediation.plan import Kind
from auditor.remediation.progress import fold
from auditor.remediation.protection import Protection
from auditor.remediation.tracked import Tracked
from tests.conftest import StartCloud, connect
from tests.remediation.journal_tables import KEYS, TABLE, make_table
from tests.remediation.world import MAIN, OTHER, Clock, SameCaller, World, item_of, plan_of, user_seed

TEMPLATE = (Path(__file__).parents[2] / "deploy" / "journal.yaml").read_text()


class Opens(Protocol):
    """Opens one journal, as another process would."""

    def __call__(self, *, writes: bool = True) -> AbstractContextManager[Journal]:
        """See `open_journal`."""
        ...


class Shared:
    """A cloud with the table, a clock, and faults."""

    def __init__(self, start_cloud: StartCloud) -> None:
        """The table is empty."""
        self.clock = Clock()
        self.faults: dict[str, list[Fault]] = {}
        users = tuple(user_seed(f"user-{number}") for number in range(2))
        seed = OrganisationSeed((AccountSeed(MAIN, "management"), AccountSeed(OTHER, "other", users)))
        self.cloud: EmbeddedOrganisation = start_cloud(seed, clock=lambda: self.clock.now, fault=self.fault)
        self.client = make_table(self.cloud)

    def fault(self, call: Call) -> Fault | None:
        """The next that was asked for of this action."""
        waiting = self.faults.get(call.action)
        return waiting.pop(0) if waiting else None

    @property
    def caller(self) -> Caller:
        """Who keeps the journal."""
        clients = shared_clients(connect(self.cloud, read_timeout=2.0))
        return Caller(clients, clients.ambient(), "aws", self.clock.timing, attempts=2, region="us-east-1")

    def opens(self, *, writes: bool = True, name: str = "default") -> AbstractContextManager[Journal]:
        """See `Opens`."""
        return open_shared_journal(self.caller, TABLE, name, lambda: self.clock.now, writes=writes)


@pytest.fixture
def shared(start_cloud: StartCloud) -> Shared:
    return Shared(start_cloud)


@pytest.fixture(params=["file", "table"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    if request.param == "table":
        yield request.getfixturevalue("shared").opens
        return
    clock = Clock()
    yield lambda *, writes=True: open_journal(tmp_path, lambda: clock.now, writes=writes)


def test_what_was_added_is_read_by_the_next_and_by_readers_meanwhile(opens: Opens) -> None:
    """In order, with all that was told, however long; and the chain goes on from one process to the next."""
    long = {f"item-{number}": "\N{SNOWMAN}" * 50 + str(number * 7919) for number in range(20_000)}
    with opens() as journal:
        journal.add("plan", "", Event.CLAIMED, plan=long)
        with opens(writes=False) as reader:
            assert [row.told["plan"] for row in reader.rows] == [long]
    with opens() as journal:
        row = journal.add("plan", "a", Event.HELD, reason="=1+1", empty="")
        assert (row.number, journal.rows[0].told["plan"]) == (2, long)
    with opens(writes=False) as reader:
        assert reader.head == row.hash
        assert reader.rows[1].told == {"reason": "=1+1", "empty": ""}


def test_one_writer_at_a_time(opens: Opens) -> None:
    """The second is told so, and may write when the first is done; whatever ended the first."""
    with opens() as journal:
        journal.add("plan", "a", Event.HELD, reason="x")
        with pytest.raises(ApprovalError, match="at work"), opens():
            pass
    with pytest.raises(ZeroDivisionError), opens():
        raise ZeroDivisionError
    with opens() as journal:
        assert len(journal.rows) == 1


def test_a_changed_or_missing_row_is_seen(shared: Shared) -> None:
    """As in the file: nothing goes on from there."""
    with shared.opens() as journal:
        for number in range(3):
            journal.add("plan", "a", Event.HELD, reason=str(number))
    which = {"TableName": TABLE, "Key": {"journal": {"S": "default"}, "entry": {"S": "row#000000000002"}}}
    row = shared.client.get_item(**which)["Item"]
    shared.client.delete_item(**which)
    with pytest.raises(OutputError, match="Row 2"), shared.opens(writes=False):
        pass
    shared.client.put_item(TableName=TABLE, Item=row | {"item": {"S": "b"}})
    with pytest.raises(OutputError, match="Row 2"), shared.opens():
        pass
    shared.client.put_item(TableName=TABLE, Item=row | {"told": {"B": b"no"}})
    with pytest.raises(OutputError, match="cannot be read"), shared.opens(writes=False):
        pass
    shared.client.put_item(TableName=TABLE, Item=row)
    with shared.opens() as journal:
        assert len(journal.rows) == 3


def test_a_writer_that_stalled_cannot_write_any_more(shared: Shared) -> None:
    """Its lease ran out and another one came: what it knows is old, whether or not the other has written."""
    with shared.opens() as stalled:
        stalled.add("plan", "a", Event.HELD, reason="1")
        shared.clock.pass_(minutes=16)
        with shared.opens() as other:
            with pytest.raises(ApprovalError, match="at work"):
                stalled.add("plan", "a", Event.HELD, reason="2")
            other.add("plan", "a", Event.RELEASED, reason="3")
        with pytest.raises(ApprovalError, match="somebody else's for a while"):
            stalled.add("plan", "a", Event.HELD, reason="4")
    with shared.opens(writes=False) as reader:
        assert [row.told["reason"] for row in reader.rows] == ["1", "3"]


def test_a_lease_is_renewed_while_its_holder_works_and_runs_out_with_it(shared: Shared) -> None:
    """Hours of work are one lease; one that died is told by name, with the time when its lease ends."""
    with shared.opens() as journal:
        for _ in range(20):
            shared.clock.pass_(minutes=6)
            journal.add("plan", "a", Event.HELD, reason="x")
        with pytest.raises(ApprovalError, match=r"process \d+ on .*, since .*; it ends by itself at"), shared.opens():
            pass
        shared.faults["UpdateItem"] = [ErrorFault(403, "AccessDeniedException")]  # it dies without giving it back
    with pytest.raises(ApprovalError), shared.opens():
        pass
    shared.clock.pass_(minutes=16)
    with shared.opens() as journal:
        assert len(journal.rows) == 20


def test_of_many_at_once_one_gets_the_lease(shared: Shared) -> None:
    """Sixteen begin in the same moment."""
    began, won, lost = threading.Barrier(16), [], []
    done = threading.Event()

    def begin() -> None:
        began.wait()
        try:
            with shared.opens() as journal:
                won.append(journal.add("plan", "a", Event.HELD, reason="x"))
                done.wait(20)
        except ApprovalError as error:
            lost.append(error)
            if len(lost) == 15:
                done.set()

    threads = [threading.Thread(target=begin) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 15)


@pytest.mark.parametrize(
    "fault", [LostFault(), ErrorFault(500, "InternalServerError"), ErrorFault(400, "ThrottlingException")]
)
def test_a_row_whose_answer_was_lost_is_there_once(shared: Shared, fault: Fault) -> None:
    """Whether the first try did it or the second: it is read back, not guessed."""
    with shared.opens() as journal:
        shared.faults["TransactWriteItems"] = [fault]
        journal.add("plan", "a", Event.HELD, reason="x")
        journal.add("plan", "a", Event.RELEASED, reason="y")
    with shared.opens(writes=False) as reader:
        assert [row.told["reason"] for row in reader.rows] == ["x", "y"]


@pytest.mark.parametrize(
    ("code", "words"),
    [("AccessDeniedException", "--for journal"), ("ResourceNotFoundException", "deploy/journal.yaml")],
)
def test_a_table_that_cannot_be_used_is_told_with_what_to_do(shared: Shared, code: str, words: str) -> None:
    """And nothing is begun."""
    shared.faults["GetItem"] = [ErrorFault(400, code)]
    with pytest.raises(OutputError) as error, shared.opens():
        pass
    assert words in error.value.next_step
    assert "rollback KEY --account ID --user NAME` works without it" in error.value.next_step


def test_a_key_is_rotated_from_two_machines_in_turn(shared: Shared) -> None:
    """Each begins where the other was; and what they call in DynamoDB is what the printed policy allows."""
    world = World(shared.cloud, shared.clock)
    item = item_of(world, "user-0", through=Kind.ROTATE)
    plan = plan_of(item)
    with shared.opens() as journal:
        journal.add(plan.id, "", Event.CLAIMED, plan=plan.model_dump(mode="json", by_alias=True))
        journal.add(plan.id, "", Event.APPROVED, through={item.id: "rotate"})

    def terms(tracked: Tracked) -> Terms:
        return Terms(world.clock.now, tracked.approved)

    stops = iter([False] * 3 + [True])
    with shared.opens() as journal:
        hands = lambda one: Hands(one, SameCaller(world.caller()), Protection())  # noqa: E731
        first = list(Engine(journal, hands, terms, world.told.append, 5, lambda: next(stops, True)).tick())
    assert first[0].standing is Standing.WAITS
    with shared.opens() as journal:
        second = list(Engine(journal, hands, terms, world.told.append, 5).tick())
        assert fold(journal.rows).items[item.id].ended == "rotated"
    assert second[0].standing is Standing.DONE
    assert len(world.keys("user-0")) == 2
    assert [call.action for call in shared.cloud.call_log].count("CreateAccessKey") == 1
    called = {f"dynamodb:{call.action}" for call in shared.cloud.call_log if call.service == "dynamodb"}
    called -= {"dynamodb:CreateTable", "dynamodb:TransactWriteItems"}  # a transaction needs what is in it
    assert called | {"dynamodb:ConditionCheckItem"} == set(SHARING)
    assert journal_policy("aws", TABLE)["Statement"][0]["Resource"].endswith(f"table/{TABLE}")


def test_the_template_makes_the_table_that_is_used() -> None:
    """Its keys and its name are those of the code; what it holds cannot be deleted by mistake."""
    keys = [f"{{AttributeName: {name}, KeyType: {kind}}}" for name, kind in KEYS.items()]
    for said in (*keys, f"Default: {TABLE}"):
        assert said in TEMPLATE
    for said in ("DeletionPolicy: Retain", "DeletionProtectionEnabled: true", "PointInTimeRecoveryEnabled: true"):
        assert said in TEMPLATE


def test_a_lease_whose_answer_was_lost_is_ours(shared: Shared) -> None:
    """Whoever asks but once would keep himself out for a quarter of an hour."""
    shared.faults["PutItem"] = [LostFault()]
    once = replace(shared.caller, attempts=1)
    with open_shared_journal(once, TABLE, "default", lambda: shared.clock.now) as journal:
        journal.add("p", "", Event.TOLD, key="a")
    with shared.opens() as journal:
        assert len(journal.rows) == 1
