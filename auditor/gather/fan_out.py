"""Many accounts at once, each result handed on as it arrives; Ctrl-C leaves values, not gaps."""

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from auditor.gather.account import StopRequested, account_steps, keep
from auditor.gather.crew import Crew
from auditor.gather.settings import GatherSettings, Progress
from auditor.model import Account, AccountResult, Gathered, NotAudited, NotAuditedCode

INTERRUPTED = NotAudited(
    NotAuditedCode.INTERRUPTED,
    "The run was interrupted before this account was done.",
    "Go on with `auditor audit --resume` and the run's id.",
)
SLICE = 0.5
"""Seconds after which a sleeping account looks whether the run is being stopped."""


def gather_accounts(accounts: Sequence[Account], settings: GatherSettings, progress: Progress) -> Generator[Gathered]:
    """Audit the accounts; each is kept in the settings' store, and its receipt is handed on when it is done.

    Reports are asked for everywhere before they are collected. The first Ctrl-C stops asking: calls in flight are
    finished, and every account that is not done is handed on as not audited. A second one is a KeyboardInterrupt.

    Raises:
        AuditorError: something that would hit every account, such as a full disk.
    """
    stop = threading.Event()
    with _first_interrupt_sets(stop, progress):
        yield from gather_here(accounts, settings, Tally(progress), stop)


class Tally:
    """Counts for the progress: accounts whose report was asked for, and those that failed. For any thread."""

    def __init__(self, progress: Progress) -> None:
        """Nothing is done yet."""
        self._progress = progress
        self._lock = threading.Lock()
        self._requested = self._failed = 0

    def requested(self, _: object = None) -> None:
        """An account's report has been asked for."""
        with self._lock:
            self._requested += 1

    def done(self, receipt: Gathered) -> None:
        """An account is done; called from the main thread only."""
        self._failed += receipt.not_audited is not None
        account = receipt.account
        self._progress.status(f"{self._requested:,} requested, {self._failed:,} not audited")
        self._progress.advance(account.name or account.id)


def gather_here(
    accounts: Sequence[Account], settings: GatherSettings, tally: Tally, stop: threading.Event
) -> Iterator[Gathered]:
    """`gather_accounts` in this process."""
    ending = _Stoppable(settings.timing.sleep, stop)
    stoppable = replace(settings, timing=replace(settings.timing, sleep=ending.sleep, go_on=ending.go_on))
    crew: Crew[Account, Gathered] = Crew(
        min(settings.calls_in_flight, settings.account_calls_in_flight * len(accounts)),
        together=settings.account_calls_in_flight,
        on_pause=tally.requested,
        stop=stop,
    )
    left = {account.id: account for account in accounts}
    for account, result in crew.run((account, account_steps(account, stoppable)) for account in accounts):
        if isinstance(result, StopRequested):
            continue
        if isinstance(result, BaseException):
            raise result
        del left[account.id]
        tally.done(result)
        yield result
    for account in left.values():
        receipt = keep(AccountResult(account, INTERRUPTED), settings.store)
        tally.done(receipt)
        yield receipt


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
