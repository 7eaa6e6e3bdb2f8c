"""On a real Dask cluster of several processes: same results, same coverage, whatever becomes of the workers."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import pytest
from distributed import Client, LocalCluster

import auditor
from auditor.errors import NothingAuditedError
from auditor.gather import gather_accounts
from auditor.gather.account import REQUESTED
from auditor.gather.cluster import share_out_on_cluster
from auditor.gather.stopping import SLICE
from auditor.history import RunWriter
from auditor.model import AccountFacts
from benchmarks.endpoint import Endpoint, Fault, Rule
from tests.builders import AS_OF, TERMS
from tests.conftest import NoProgress
from tests.gather.conftest import ACCOUNTS, accounts_of, ends, gather, results_in, settings_of

WORKERS = 2

pytestmark = pytest.mark.filterwarnings("default")  # Dask's own, of ports and of a worker that was killed


@contextmanager
def running(tool: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler or worker of its own process, which is over when the block is left."""
    command = [sys.executable, "-m", f"distributed.cli.{tool}", *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """For tests that leave its workers alive."""
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=WORKERS, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as running:
        yield running


@dataclass
class Crew:
    """Workers of a scheduler, in processes of their own, which are replaced when they are killed."""

    address: str
    ending: ExitStack
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """As many as there should be."""
        options = ("--host", "127.0.0.1", "--no-nanny", "--no-dashboard", "--nthreads", "2")
        self.workers = [
            self.ending.enter_context(running("dask_worker", self.address, *options)) for _ in range(WORKERS)
        ]

    def replace(self) -> None:
        """Kill all, with others in their place."""
        for worker in self.workers:
            worker.kill()
        self.start()


@pytest.fixture
def crew() -> Iterator[Crew]:
    """For tests that kill workers: a nanny gives up where its worker is killed before it has begun."""
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1") as scheduler,  # type: ignore[no-untyped-call]
        ExitStack() as ending,
    ):
        scheduler.scheduler.allowed_failures = 1  # a worker's start takes seconds
        crew = Crew(scheduler.scheduler_address, ending)
        crew.start()
        scheduler.wait_for_workers(WORKERS, timeout=60)
        yield crew


def test_the_results_are_those_of_one_machine(
    cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Account by account: the same facts, the same calls."""
    here = RunWriter(tmp_path_factory.mktemp("here"), AS_OF, TERMS)
    expected = gather(endpoint, here)
    found = gather(endpoint, writer, scheduler=cluster.scheduler_address)
    assert ends(found) == {"audited": ACCOUNTS}
    for one, other in zip(results_in(here.folder), results_in(writer.folder), strict=True):
        assert one.account == other.account
        assert isinstance(one.outcome, AccountFacts)
        assert isinstance(other.outcome, AccountFacts)
        assert one.outcome.report == other.outcome.report
        assert one.outcome.lookups == other.outcome.lookups
    looked_up = "iam:ListAccessKeys"
    assert {name: receipt.spent.calls.get(looked_up) for name, receipt in found.items()} == {
        name: receipt.spent.calls.get(looked_up) for name, receipt in expected.items()
    }


def test_a_worker_that_is_killed_costs_nothing(crew: Crew, endpoint: Endpoint, writer: RunWriter) -> None:
    """In mid-run, with kill -9: its accounts are done elsewhere, every account once."""
    slow = tuple(range(2, ACCOUNTS + 1))
    endpoint.set_rules([Rule(Fault.SLOW, slow, "GetCredentialReport", seconds=0.8)])
    settings = settings_of(endpoint, writer, scheduler=crew.address)
    receipts = []
    for receipt in gather_accounts(accounts_of(endpoint), settings, NoProgress()):
        receipts.append(receipt)
        if len(receipts) == 1:
            crew.workers[0].kill()
    assert Counter(receipt.account.id for receipt in receipts) == Counter(
        account.id for account in accounts_of(endpoint)
    )
    assert not [receipt.not_audited for receipt in receipts if receipt.not_audited]
    assert endpoint.counts()["actions"]["AssumeRole"] > ACCOUNTS, "it was killed while it had accounts"


def test_an_account_that_no_worker_survives_takes_no_other_with_it(
    crew: Crew, endpoint: Endpoint, writer: RunWriter
) -> None:
    """Wherever it is audited, everything is killed: it alone is not audited, and its reason names the worker's end."""
    endpoint.set_rules([Rule(Fault.SLOW, (1,), "GetCredentialReport", seconds=30)])
    done = threading.Event()

    def keep_killing() -> None:
        deaths = 0
        while not done.wait(0.2):
            deadly = endpoint.counts(by_account=True)["accounts"].get("1", {"actions": {}})["actions"]
            if deadly.get("GetCredentialReport", 0) <= deaths:
                continue
            deaths += 1
            crew.replace()

    killer = threading.Thread(target=keep_killing)
    killer.start()
    try:
        receipts = gather(endpoint, writer, scheduler=crew.address, calls_in_flight=64)
    finally:
        done.set()
        killer.join()
    assert ends(receipts) == {"failed": 1, "audited": ACCOUNTS - 1}
    reason = receipts[accounts_of(endpoint)[0].id].not_audited
    assert reason
    assert "KilledWorker" in reason.reason


def test_reports_are_asked_for_everywhere_first(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """A worker has many accounts under way, more than it has threads."""
    endpoint.set_rules([Rule(Fault.SLOW, action="GetCredentialReport", seconds=0.9)])
    told: list[str] = []

    class Telling(NoProgress):
        def status(self, text: str) -> None:
            told.append(text)

    settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address)
    asked = [
        (endpoint.counts()["actions"]["GenerateCredentialReport"], told[-1])
        for _ in gather_accounts(accounts_of(endpoint), settings, Telling())
    ]
    assert asked[0][0] == ACCOUNTS
    assert asked[0][1].startswith(f"{ACCOUNTS} requested, 0 not audited")


def test_calls_are_capped_on_the_whole_cluster(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """Each worker has its part of the cap."""
    left_over = endpoint.counts()["in_flight"]  # of workers that were killed while they waited for an answer
    endpoint.set_rules([Rule(Fault.SLOW, seconds=0.05)])
    gather(endpoint, writer, scheduler=cluster.scheduler_address, calls_in_flight=2 * WORKERS)
    assert endpoint.counts()["most_in_flight"] <= left_over + 2 * WORKERS


def test_a_task_whose_end_dask_forgets_is_done_again(
    cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results that are lost before they are fetched, with their workers: Dask's executor never says so."""
    fetch = Client._gather
    lost = iter(range(2))

    async def lose(client: Client, *given: object, **named: object) -> object:
        if next(lost, None) is not None:
            raise OSError("the worker that had it died")
        return await fetch(client, *given, **named)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Client, "_gather", lose)
    receipts = gather(endpoint, writer, scheduler=cluster.scheduler_address)
    assert ends(receipts) == {"audited": ACCOUNTS}


def test_workers_stop_with_the_run(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """What nobody waits for any more is not asked of AWS."""
    endpoint.set_rules([Rule(Fault.THROTTLED, action="GetCredentialReport")])
    settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address, attempts=1000)
    stop = threading.Event()
    for message in share_out_on_cluster(settings.scheduler, accounts_of(endpoint), settings, stop):
        assert message == REQUESTED
        stop.set()
    time.sleep(3 * SLICE)
    before = endpoint.counts()["calls"]
    time.sleep(6 * SLICE)
    assert endpoint.counts()["calls"] == before


@pytest.mark.parametrize(
    ("victim", "reason"), [("dask_scheduler", "scheduler was lost"), ("dask_worker", "no workers any more")]
)
def test_a_cluster_that_dies_leaves_accounts_that_say_so(
    endpoint: Endpoint, writer: RunWriter, monkeypatch: pytest.MonkeyPatch, victim: str, reason: str
) -> None:
    """The scheduler, or the last worker: what is done stays, the rest is not audited and says how to go on."""
    monkeypatch.setattr("auditor.gather.cluster.DESERTED", 2.0)
    endpoint.set_rules([Rule(Fault.SLOW, tuple(range(1, ACCOUNTS // 2 + 1)), "GetCredentialReport", seconds=30)])
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    here = ("--host", "127.0.0.1", "--no-dashboard")
    with (
        running("dask_scheduler", "--port", str(port), *here) as scheduler,
        running("dask_worker", address, "--no-nanny", *here) as worker,
    ):
        settings = settings_of(endpoint, writer, scheduler=address, calls_in_flight=64)
        receipts = {}
        for receipt in gather_accounts(accounts_of(endpoint), settings, NoProgress()):
            receipts[receipt.account.id] = receipt
            if len(receipts) == ACCOUNTS // 2:
                {"dask_scheduler": scheduler, "dask_worker": worker}[victim].kill()
    assert ends(receipts) == {"audited": ACCOUNTS // 2, "failed": ACCOUNTS // 2}
    lost = next(receipt.not_audited for receipt in receipts.values() if receipt.not_audited)
    assert reason in lost.reason
    assert "--resume" in lost.next_step


def test_a_worker_that_does_not_answer(
    crew: Crew, endpoint: Endpoint, writer: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named before any account is asked, in a bounded time; it would hold its share of the accounts."""
    monkeypatch.setattr("auditor.gather.cluster.CONNECT_SECONDS", 3)
    crew.workers[0].send_signal(signal.SIGSTOP)
    settings = settings_of(endpoint, writer, scheduler=crew.address)
    with pytest.raises(NothingAuditedError, match="did not answer within 3 seconds"):
        list(gather_accounts(accounts_of(endpoint), settings, NoProgress()))
    assert endpoint.counts()["calls"] == 0


def test_a_worker_of_another_version(
    cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error with the worker and what it has, before any account is asked."""
    monkeypatch.setattr(auditor, "__version__", "9.9.9")
    settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address)
    with pytest.raises(NothingAuditedError, match=r"The worker tcp://\S+ has auditor \S+, and this machine 9\.9\.9"):
        list(gather_accounts(accounts_of(endpoint), settings, NoProgress()))
    assert endpoint.counts()["calls"] == 0


def test_a_worker_without_credentials(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """The profile of this machine, which the workers have not: named before any account is asked."""
    settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address)
    elsewhere = replace(settings.connection, isolated=None, profile="only-here")
    with pytest.raises(NothingAuditedError, match=r"The worker tcp://\S+ has no credentials for AWS \(.*only-here"):
        list(gather_accounts(accounts_of(endpoint), replace(settings, connection=elsewhere), NoProgress()))
    assert endpoint.counts()["calls"] == 0


def test_a_worker_that_comes_late_and_lacks_something(
    cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was given is not audited, with the worker's name; it did not ask for anything."""
    monkeypatch.setattr("auditor.gather.cluster.AHEAD", 1)
    receipts = {}
    settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address)
    for receipt in gather_accounts(accounts_of(endpoint), settings, NoProgress()):
        receipts[receipt.account.id] = receipt
        monkeypatch.setattr(auditor, "__version__", "9.9.9")  # what comes now is late
    found = ends(receipts)
    assert found == {"audited": found["audited"], "failed": ACCOUNTS - found["audited"]}
    assert 1 <= found["audited"] == endpoint.counts()["actions"]["AssumeRole"] < ACCOUNTS
    lacking = next(receipt.not_audited for receipt in receipts.values() if receipt.not_audited)
    assert re.match(r"The worker tcp://\S+ has auditor \S+, and this machine 9\.9\.9", lacking.reason)
    assert "--resume" in lacking.next_step


def test_a_fault_ends_as_it_does_on_one_machine(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """A refused role is that account's value, with the others audited."""
    endpoint.set_rules([Rule(Fault.DENIED, "1/4", "AssumeRole")])
    receipts = gather(endpoint, writer, scheduler=cluster.scheduler_address)
    assert ends(receipts) == {"role_refused": ACCOUNTS // 4, "audited": ACCOUNTS - ACCOUNTS // 4}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9", "http://127.0.0.1:9", "nowhere"])
def test_a_scheduler_that_is_not_there(endpoint: Endpoint, writer: RunWriter, address: str) -> None:
    """An error with the address, before any account is asked; also where TLS is asked for and not set up."""
    settings = settings_of(endpoint, writer, scheduler=address)
    with pytest.raises(NothingAuditedError, match="No connection to the Dask scheduler"):
        list(gather_accounts(accounts_of(endpoint), settings, NoProgress()))
    assert endpoint.counts()["calls"] == 0
