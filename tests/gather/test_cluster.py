"""On a real Dask cluster of several processes: same results, same coverage, whatever becomes of the workers."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from distributed import LocalCluster

from auditor.errors import NothingAuditedError
from auditor.gather import gather_accounts
from auditor.history import RunWriter
from auditor.model import AccountFacts, NotAuditedCode
from benchmarks.endpoint import Endpoint, Fault, Rule
from tests.builders import AS_OF, TERMS
from tests.conftest import NoProgress
from tests.gather.conftest import ACCOUNTS, accounts_of, ends, gather, results_in, settings_of

WORKERS = 2

pytestmark = pytest.mark.filterwarnings("default")  # Dask's own, of ports and of a worker that was killed


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=WORKERS, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as running:
        running.scheduler.allowed_failures = 1  # a worker's start takes seconds
        yield running


def pids(cluster: LocalCluster) -> list[int]:
    """The worker processes that live."""
    return [nanny.pid for nanny in cluster.workers.values() if nanny.pid]


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


def test_a_worker_that_is_killed_costs_nothing(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """In mid-run, with kill -9: its accounts are done elsewhere, every account once."""
    endpoint.set_rules([Rule(Fault.SLOW, action="GetCredentialReport", seconds=0.2)])
    settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address)
    receipts = []
    for receipt in gather_accounts(accounts_of(endpoint), settings, NoProgress()):
        receipts.append(receipt)
        if len(receipts) == 1:
            os.kill(pids(cluster)[0], signal.SIGKILL)
    assert Counter(receipt.account.id for receipt in receipts) == Counter(
        account.id for account in accounts_of(endpoint)
    )
    assert not any(receipt.not_audited for receipt in receipts)


def test_workers_that_keep_dying_leave_accounts_that_say_so(
    cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter
) -> None:
    """After as many deaths as the cluster allows, the account is not audited, and its reason names the worker's end."""
    endpoint.set_rules([Rule(Fault.SLOW, action="GetCredentialReport", seconds=30)])
    done = threading.Event()

    def keep_killing() -> None:
        deaths = 0
        while not done.wait(0.2):
            if endpoint.counts()["actions"].get("GetCredentialReport", 0) <= deaths:
                continue
            deaths += 1
            for pid in pids(cluster):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    time.sleep(0.1)

    killer = threading.Thread(target=keep_killing)
    killer.start()
    try:
        settings = settings_of(endpoint, writer, scheduler=cluster.scheduler_address)
        (receipt,) = gather_accounts(accounts_of(endpoint)[:1], settings, NoProgress())
    finally:
        done.set()
        killer.join()
    assert receipt.not_audited
    assert receipt.not_audited.code is NotAuditedCode.FAILED
    assert "KilledWorker" in receipt.not_audited.reason


def test_a_fault_ends_as_it_does_on_one_machine(cluster: LocalCluster, endpoint: Endpoint, writer: RunWriter) -> None:
    """A refused role is that account's value, with the others audited."""
    endpoint.set_rules([Rule(Fault.DENIED, "1/4", "AssumeRole")])
    receipts = gather(endpoint, writer, scheduler=cluster.scheduler_address)
    assert ends(receipts) == {"role_refused": ACCOUNTS // 4, "audited": ACCOUNTS - ACCOUNTS // 4}


def test_a_scheduler_that_is_not_there(endpoint: Endpoint, writer: RunWriter) -> None:
    """An error with the address, before any account is asked."""
    settings = settings_of(endpoint, writer, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(NothingAuditedError, match="does not answer"):
        list(gather_accounts(accounts_of(endpoint), settings, NoProgress()))
    assert endpoint.counts()["calls"] == 0
