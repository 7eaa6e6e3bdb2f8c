"""Accounts on a Dask cluster: one account is one task, run by the cluster's `concurrent.futures` executor."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from auditor.errors import AuditorError, NothingAuditedError, UsageError
from auditor.gather.account import REQUESTED, audit_account
from auditor.gather.processes import GLANCE, Died, Stop
from auditor.gather.settings import GatherSettings, RawStore
from auditor.model import Account, Gathered

CONNECT_SECONDS = 15
"""How long the scheduler may take to answer."""

AHEAD = 4
"""Accounts handed to the cluster for each of its threads; results that nobody has fetched yet fill its memory."""


@dataclass
class _Collected:
    """Keeps answers in memory: a worker may share no disk with the run."""

    files: list[tuple[str, str, bytes]] = field(default_factory=list)

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """See `auditor.gather.RawStore`."""
        self.files.append((account_id, name, content))


def audit_remotely(account: Account, settings: GatherSettings) -> tuple[Gathered, list[tuple[str, str, bytes]]]:
    """`audit_account` on a worker: the receipt, and the files in the order in which they were kept.

    Raises:
        AuditorError: as `audit_account`.
    """
    collected = _Collected()
    receipt = audit_account(account, replace(settings, store=collected))
    return receipt, collected.files


def share_out_on_cluster(
    address: str, accounts: Sequence[Account], settings: GatherSettings, stop: Stop
) -> Iterator[Gathered | Died | str]:
    """As `auditor.gather.processes.share_out`, on the Dask cluster whose scheduler is at `address`.

    Workers need auditor in the same version, the network to AWS, and credentials of their own. Where one dies, Dask
    gives its accounts to others, as often as its `allowed-failures` says.

    Raises:
        UsageError: the extra is not installed.
        NothingAuditedError: the scheduler does not answer, or has no workers.
        AuditorError: something that would hit every account.
    """
    client = _connected(address)
    try:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            step = "Start workers with `dask worker` and the scheduler's address."
            raise NothingAuditedError("The Dask cluster has no workers.", where=address, next_step=step) from error
        nthreads = client.nthreads().values()  # none where the only worker has just died; another may come
        threads, workers = max(1, sum(nthreads)), max(1, len(nthreads))
        aws = replace(settings.connection, sts_per_second=settings.connection.sts_per_second / workers)
        remote = replace(settings, connection=aws, store=_Collected())
        executor = client.get_executor(pure=False)
        yield from _results(executor, accounts, remote, settings.store, stop, AHEAD * threads)
    finally:
        with suppress(Exception):  # the cluster may be gone; the results are here
            client.close(timeout=GLANCE)


def _results(  # noqa: PLR0913, PLR0917 - one caller
    executor: Any, accounts: Sequence[Account], remote: GatherSettings, store: RawStore, stop: Stop, ahead: int
) -> Iterator[Gathered | Died | str]:
    waiting = iter(accounts)
    under_way: dict[Future[Any], Account] = {}
    try:
        while not stop.is_set():
            while len(under_way) < ahead and (account := next(waiting, None)):
                under_way[executor.submit(audit_remotely, account, remote)] = account
            if not under_way:
                return
            for done in wait(under_way, GLANCE, FIRST_COMPLETED).done:
                kept = _kept(done, under_way.pop(done), store)
                if isinstance(kept, Gathered):
                    yield REQUESTED
                yield kept
    finally:
        with suppress(Exception):  # the scheduler may be gone
            executor.shutdown(wait=False)  # which cancels what is not done


def _kept(done: "Future[Any]", account: Account, store: RawStore) -> Gathered | Died:
    try:
        receipt, files = done.result()
    except AuditorError:
        raise
    except Exception as error:  # noqa: BLE001 - the worker, not the account, failed: whatever Dask calls it
        return Died((account,), f"{type(error).__name__}: {error}")
    for account_id, name, content in files:
        store.save(account_id, name, content)
    gathered: Gathered = receipt
    return gathered


def _connected(address: str) -> Any:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra
    except ImportError as error:
        step = "Install it with its extra: pip install 'auditor[dask]'."
        raise UsageError(f"--scheduler needs Dask ({error.name}).", next_step=step) from error
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        step = "Check the address, such as tcp://10.0.0.5:8786, and that the scheduler runs."
        raise NothingAuditedError(
            f"The Dask scheduler does not answer. {error}", where=address, next_step=step
        ) from error
