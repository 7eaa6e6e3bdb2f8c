"""Many accounts at once, each result handed on as it arrives; Ctrl-C leaves values, not gaps."""

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from auditor.gather.account import StopRequested, audit_account
from auditor.gather.settings import GatherSettings, Progress
from auditor.model import Account, AccountResult, NotAudited, NotAuditedCode

INTERRUPTED = NotAudited(
    NotAuditedCode.INTERRUPTED, "The run was interrupted before this account was done.", "Run the audit again."
)
SLICE = 0.5
"""Seconds after which a sleeping account looks whether the run is being stopped."""


def gather_accounts(
    accounts: Sequence[Account], settings: GatherSettings, progress: Progress
) -> Generator[AccountResult]:
    """Audit the accounts on a pool of threads; results come in the order in which they are done.

    The first Ctrl-C stops asking: what is in flight finishes its call, and every account that is not done is handed
    on as not audited. A second one is a KeyboardInterrupt.

    Raises:
        AuditorError: something that would hit every account, such as a full disk.
    """
    stop = threading.Event()
    ending = _Stoppable(settings.timing.sleep, stop)
    stoppable = replace(settings, timing=replace(settings.timing, sleep=ending.sleep, go_on=ending.go_on))
    workers = max(1, min(settings.accounts_in_flight, len(accounts)))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gather")
    try:
        with _first_interrupt_sets(stop, progress):
            futures = {pool.submit(_unless_stopped, account, stoppable): account for account in accounts}
            for done in as_completed(futures):
                account = futures[done]
                yield _result(done, account)
                progress.advance(account.name or account.id)
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _first_interrupt_sets(stop: threading.Event, progress: Progress) -> Iterator[None]:
    """Ctrl-C asks the run to stop instead of tearing it apart; the second one is Python's own again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        progress.note("Stopping: calls in flight finish first. Ctrl-C again stops at once.")
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Stoppable:
    """The run's sleep, and its leave to go on; both end the account's work when the run is being stopped."""

    def __init__(self, sleep: Callable[[float], None], stop: threading.Event) -> None:
        self._sleep = sleep
        self._stop = stop

    def sleep(self, seconds: float) -> None:
        while seconds > 0 and not self._stop.is_set():
            self._sleep(min(seconds, SLICE))
            seconds -= SLICE
        self.go_on()

    def go_on(self) -> None:
        if self._stop.is_set():
            raise StopRequested


def _unless_stopped(account: Account, settings: GatherSettings) -> AccountResult:
    settings.timing.go_on()
    return audit_account(account, settings)


def _result(done: Future[AccountResult], account: Account) -> AccountResult:
    try:
        return done.result()
    except StopRequested:
        return AccountResult(account, INTERRUPTED)
