"""Accounts on a Dask cluster: one account is one task, run by the cluster's `concurrent.futures` executor."""

import asyncio
import logging
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import auditor
from auditor.aws.clients import Connection, shared_clients
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.aws.spending import Gate, Ledger
from auditor.errors import AuditorError, NothingAuditedError, UsageError
from auditor.gather.account import REQUESTED, audit_account
from auditor.gather.processes import GLANCE, LeftOver
from auditor.gather.settings import GatherSettings, RawStore
from auditor.gather.stopping import Stop, StopRequested, stoppable
from auditor.model import Account, Gathered, NotAudited, NotAuditedCode

log = logging.getLogger(__name__)

NOISY = ("distributed", "distributed.client", "tornado.application")
"""Loggers for which Dask sets up handlers of its own."""

CONNECT_SECONDS = 15
"""How long the scheduler, or a worker, may take to answer."""

AHEAD = 128
"""Accounts that each worker has under way: their reports are asked for before the first of them has to be there."""

FORGOTTEN = 10.0
"""Seconds after which a task has no end, if Dask has none under way: its executor forgets one whose result is lost with
a worker before it was fetched, and which no worker survives then."""

DESERTED = 60.0
"""Seconds without any worker after which nobody is waited for: one that is begun anew is there within some."""

UNDER_WAY = frozenset({"pending", "lost"})
"""Dask's names for a task that is being done, or done again."""

ENDING = frozenset({"closing", "closed", "failed"})
"""Names of a worker's status in which nothing that it still does is of use."""

FIT = "Give every worker this version of auditor and credentials for AWS, such as an instance role, or take it out."

RESUME = "Then go on: the same command with `--resume latest`."

Files = list[tuple[str, str, bytes]]
"""What an account's answers are kept as, in the order in which they came: account id, name and content."""


@dataclass
class _Collected:
    """Keeps answers in memory: a worker may share no disk with the run."""

    files: Files = field(default_factory=list)

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """See `auditor.gather.RawStore`."""
        self.files.append((account_id, name, content))

    def forget(self, account_id: str, name: str) -> None:
        """See `auditor.gather.RawStore`."""
        self.files[:] = [one for one in self.files if one[:2] != (account_id, name)]


@dataclass(frozen=True)
class _Revoked:
    """Whether nobody waits for a task any more: the run was stopped, or is gone, or the worker ends."""

    worker: Any
    key: Any

    def is_set(self) -> bool:
        task = self.worker.state.tasks.get(self.key)
        return task is None or task.state == "cancelled" or self.worker.status.name in ENDING


@cache
def _gate(calls: int) -> Gate:
    """What all accounts that a worker has under way share."""
    return Gate(calls)


@dataclass(frozen=True)
class _Done:
    """How a task ended: the receipt, how often what was told of the account, and its files."""

    receipt: Gathered
    seen: Counter[str]
    files: Files


def audit_remotely(
    account: Account, settings: GatherSettings, topic: str, version: str
) -> _Done | NotAudited | AuditorError | None:
    """`audit_account` as a task of a worker, which has many of them under way: they wait most of the time.

    Nothing is raised, because Dask would send the traceback too, which is longer than it can pack.

    Returns:
        What there is of the account; what this worker lacks; an error that would hit every account; None where nobody
        waits any more.
    """
    from distributed import get_worker, secede  # noqa: PLC0415 - an extra

    worker = get_worker()
    revoked = _Revoked(worker, worker.get_current_task())
    secede()  # type: ignore[no-untyped-call]
    lack = _lack(version, (settings.connection.to(account.partition),))
    if lack:  # it came after the others had been asked
        return NotAudited(NotAuditedCode.FAILED, f"The worker {worker.address} {lack}.", f"{FIT} {RESUME}")
    collected, seen = _Collected(), Counter[str]()

    def tell(told: str) -> None:
        if told == REQUESTED:
            worker.log_event(topic, told)
        else:
            seen[told] += 1

    ledger = Ledger(gate=_gate(settings.calls_in_flight))
    try:
        receipt = audit_account(account, stoppable(replace(settings, store=collected), revoked), ledger, tell)
    except AuditorError as error:
        return error
    except StopRequested:
        return None
    return _Done(receipt, seen, collected.files)


def share_out_on_cluster(
    address: str, accounts: Sequence[Account], settings: GatherSettings, stop: Stop
) -> Iterator[Gathered | LeftOver | str]:
    """As `auditor.gather.processes.share_out`, on the Dask cluster whose scheduler is at `address`.

    Workers need auditor in the same version, the network to AWS, and credentials of their own. Where one dies, Dask
    gives its accounts to others, as often as its `allowed-failures` says; what is left over then is tried once more,
    account by account, so that one that no worker survives takes no other with it.

    Raises:
        UsageError: the extra is not installed.
        NothingAuditedError: the scheduler or a worker does not answer, there are no workers, or one lacks something.
        AuditorError: something that would hit every account.
    """
    client = _connected(address)
    try:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            step = "Start workers with `dask worker` and the scheduler's address."
            raise NothingAuditedError("The Dask cluster has no workers.", where=address, next_step=step) from error
        workers = max(1, len(client.nthreads()))  # none where the only one has just died; another may come
        aws = replace(settings.connection, sts_per_second=settings.connection.sts_per_second / workers)
        calls = max(1, settings.calls_in_flight // workers)
        remote = replace(settings, connection=aws, calls_in_flight=calls, store=_Collected())
        _confirm_fit(client, address, aws, stop)
        topic = f"auditor-{uuid.uuid4()}"
        yield from _Run(client, topic, accounts, remote, settings.store, AHEAD * workers).results(stop)
    finally:
        with suppress(Exception):  # the cluster may be gone; the results are here
            client.close(timeout=GLANCE)


class _Run:
    """One run's tasks on the cluster, and the news of them."""

    def __init__(  # noqa: PLR0913, PLR0917 - one caller
        self, client: Any, topic: str, accounts: Sequence[Account], remote: GatherSettings, store: RawStore, ahead: int
    ) -> None:
        self._client = client
        self._address = client.scheduler.address
        self._executor = client.get_executor(pure=False)
        self._topic = topic
        self._remote = remote
        self._store = store
        self._ahead = ahead
        self._waiting = deque(accounts)
        self._under_way: dict[Future[Any], Account] = {}
        self._suspects: dict[str, Account] = {}
        self._tried = set[str]()
        self._news: queue.SimpleQueue[Future[Any] | str] = queue.SimpleQueue()
        client.subscribe_topic(topic, lambda event: self._news.put(event[1]))

    def results(self, stop: Stop) -> Iterator[Gathered | LeftOver | str]:
        """What is told of the accounts as it comes, until all are done or the run is being stopped."""
        forgotten = deserted = 0.0
        try:
            while not stop.is_set() and self._handed_out():
                try:
                    told = self._news.get(timeout=GLANCE)
                except queue.Empty:
                    forgotten = 0.0 if self._is_busy() else forgotten + GLANCE
                    deserted = 0.0 if self._has_workers() else deserted + GLANCE
                    if deserted >= DESERTED:
                        yield self._left_over(_deserted(self._address))
                    elif forgotten >= FORGOTTEN:
                        self._end_forgotten()
                    continue
                forgotten = deserted = 0.0
                if isinstance(told, str):
                    yield told
                else:
                    yield from self._ended(told, self._under_way.pop(told))
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._executor.shutdown(wait=False)  # which cancels what is not done

    def _is_busy(self) -> bool:
        return any(state.status in UNDER_WAY for state in list(self._client.futures.values()))

    def _has_workers(self) -> bool:
        try:
            return bool(self._client.sync(self._client.scheduler.ncores, callback_timeout=GLANCE))
        except (OSError, TimeoutError):  # a scheduler that is busy, or lost, which its tasks will tell
            return True

    def _left_over(self, why: NotAudited, *accounts: Account) -> LeftOver:
        """These accounts and all that are not done; nothing is left to do."""
        rest = (*accounts, *self._under_way.values(), *self._waiting, *self._suspects.values())
        for others in (self._under_way, self._waiting, self._suspects):
            others.clear()
        return LeftOver(rest, why)

    def _end_forgotten(self) -> None:
        for task in list(self._under_way):
            with suppress(InvalidStateError):  # it has just ended
                task.set_exception(RuntimeError("Dask did not tell how the task ended"))

    def _handed_out(self) -> bool:
        """Keep the workers busy; whether anything is under way."""
        while self._waiting and len(self._under_way) < self._ahead:
            self._submit(self._waiting.popleft())
        if self._suspects and not self._under_way:
            self._submit(self._suspects.pop(min(self._suspects)))
        return bool(self._under_way)

    def _submit(self, account: Account) -> None:
        future = self._executor.submit(audit_remotely, account, self._remote, self._topic, auditor.__version__)
        self._under_way[future] = account
        future.add_done_callback(self._news.put)

    def _ended(self, task: "Future[Any]", account: Account) -> Iterator[Gathered | LeftOver | str]:
        try:
            ended = task.result()
        except CancelledError:
            yield self._left_over(_lost(self._address), account)
        except Exception as error:  # noqa: BLE001 - the worker failed, or Dask, whatever it calls that
            if account.id in self._tried:
                yield LeftOver((account,), _failed(error))
            else:
                self._tried.add(account.id)
                self._suspects[account.id] = account
        else:
            if isinstance(ended, AuditorError):
                raise ended
            if isinstance(ended, NotAudited):
                yield LeftOver((account,), ended)
                return
            if ended is None:  # its worker was ending, and lived long enough to say so
                self._waiting.append(account)
                return
            for account_id, name, content in ended.files:
                self._store.save(account_id, name, content)
            yield from ended.seen.elements()
            yield ended.receipt


def _lost(address: str) -> NotAudited:
    what = f"The Dask scheduler was lost, or restarted, before the account was done ({address})."
    return NotAudited(NotAuditedCode.FAILED, what, "Go on with it: the same command with `--resume latest`.")


def _deserted(address: str) -> NotAudited:
    what = f"The Dask cluster had no workers any more before the account was done ({address})."
    step = "Start workers, and go on with it: the same command with `--resume latest`."
    return NotAudited(NotAuditedCode.FAILED, what, step)


def _failed(error: Exception) -> NotAudited:
    what = f"The cluster could not audit the account, with others or alone ({type(error).__name__}: {error})."
    step = "Check that workers have memory enough, and what they log; then run the audit again."
    return NotAudited(NotAuditedCode.FAILED, what, step)


def _confirm_fit(client: Any, address: str, connection: Connection, stop: Stop) -> None:
    """Raise NothingAuditedError with a worker that lacks what it needs to audit anything, or does not answer."""
    reached = (connection, *(connection.to(entrance.partition) for entrance in connection.entrances))

    async def asked() -> dict[str, Any]:
        workers = await client.scheduler.ncores()
        answers = {
            worker: asyncio.ensure_future(
                client.run(_lacking, auditor.__version__, reached, workers=[worker], on_error="return")
            )
            for worker in workers
        }
        deadline = time.monotonic() + CONNECT_SECONDS
        waiting = set(answers.values())
        while waiting and not stop.is_set() and time.monotonic() < deadline:
            _, waiting = await asyncio.wait(waiting, timeout=GLANCE)
        for answer in waiting:
            answer.cancel()
        return {worker: None if answer in waiting else answer.result() for worker, answer in answers.items()}

    for worker, answer in client.sync(asked).items():
        if stop.is_set():
            return
        if answer is None:
            what = f"The worker {worker} did not answer within {CONNECT_SECONDS} seconds."
            step = "End it or bring it back to life, then run the audit again."
            raise NothingAuditedError(what, where=address, next_step=step)
        lack = answer.get(worker, OSError())
        if isinstance(lack, OSError):  # it has died; Dask gives nothing to it
            continue
        if isinstance(lack, Exception):  # Dask could not even call it
            lack = f"has no auditor {auditor.__version__} as this machine has: {lack}"
        if lack:
            raise NothingAuditedError(f"The worker {worker} {lack}.", where=address, next_step=FIT)


async def _lacking(version: str, reached: Sequence[Connection]) -> str:
    """`_lack`, beside the worker's loop: credentials may take seconds to come."""
    return await asyncio.to_thread(_lack, version, reached)


def _lack(version: str, reached: Sequence[Connection]) -> str:
    """What a worker lacks to audit anything, in the words that follow its name; empty where it lacks nothing."""
    if version != auditor.__version__:
        return f"has auditor {auditor.__version__}, and this machine {version}"
    try:
        for connection in reached:
            shared_clients(connection).ambient()
    except (AwsFailure, AuditorError) as error:
        return f"has no credentials for AWS ({str(error).rstrip('.')})"
    return ""


def _connected(address: str) -> Any:
    try:
        from distributed import Client, Security  # noqa: PLC0415 - an extra
        from distributed.comm.core import connect  # noqa: PLC0415
    except ImportError as error:
        step = "Install it with its extra: pip install 'auditor[dask]'."
        raise UsageError(f"--scheduler needs Dask ({error.name}).", next_step=step) from error
    if not log.isEnabledFor(logging.DEBUG):  # of a worker or scheduler that is lost, the accounts' lines tell
        for name in NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def knock() -> None:
        tls = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        comm = await connect(address, CONNECT_SECONDS, **tls)  # type: ignore[no-untyped-call]
        await comm.close()

    try:
        run(knock())  # a client that cannot connect hangs for half a minute when it is let go
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        what = f"No connection to the Dask scheduler ({type(error).__name__}: {error})."
        step = (
            "Check the address, such as tcp://10.0.0.5:8786, that the scheduler runs, and for tls:// Dask's settings."
        )
        raise NothingAuditedError(what, where=address, next_step=step) from error
