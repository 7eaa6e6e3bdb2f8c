"""Many accounts at once, each result handed on as it arrives; Ctrl-C leaves values, not gaps."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

from auditor.aws.loop import in_lanes, told_by
from auditor.aws.spending import Gate, Ledger
from auditor.gather.account import LOOKED_UP, REQUESTED, gather_account, keep
from auditor.gather.cluster import share_out_on_cluster
from auditor.gather.processes import LeftOver, forking, share_out, suitable_processes
from auditor.gather.settings import GatherSettings, Progress
from auditor.gather.stopping import Stop, StopRequested, stoppable
from auditor.model import Account, AccountResult, Gathered, NotAudited, NotAuditedCode

INTERRUPTED = NotAudited(
    NotAuditedCode.INTERRUPTED,
    "The run was interrupted before this account was done.",
    "Go on with it: the same command with `--resume latest`.",
)
WINDOW = 1_024
"""Accounts that are begun before the first of them has to be done: what bounds the memory."""

FAILED = "not audited"
"""What an account that ended so is counted as."""

LAST = 3
"""Accounts that are named when everybody waits for them alone."""


def expect_accounts(many: int, processes: int) -> None:
    """Get ready for so many accounts while more of them are being listed; `processes` as in the settings."""
    if (processes or suitable_processes(many)) > 1:
        forking()


def gather_accounts(accounts: Sequence[Account], settings: GatherSettings, progress: Progress) -> Generator[Gathered]:
    """Audit the accounts; each is kept in the settings' store, and its receipt is handed on when it is done.

    Reports are asked for everywhere before they are collected. The first Ctrl-C stops asking: calls in flight are
    finished, and every account that is not done is handed on as not audited. A second one is a KeyboardInterrupt.

    Raises:
        AuditorError: something that would hit every account, such as a full disk.
    """
    stop = threading.Event()
    processes = min(settings.processes or suitable_processes(len(accounts)), max(1, len(accounts)))
    seen = Counter[str]()
    left = dict.fromkeys(account.id for account in accounts)
    with _first_interrupt_sets(stop, progress):
        for message in _messages(accounts, settings, processes, stop):
            if isinstance(message, str):
                seen[message] += 1
            else:
                del left[message.account.id]
                seen[FAILED] += message.not_audited is not None
            seen[REQUESTED] = min(seen[REQUESTED], len(accounts))  # one that is done again is requested again
            progress.status(_standing(seen, left))
            if isinstance(message, Gathered):
                progress.advance(message.account.name or message.account.id)
                yield message


def _standing(seen: Counter[str], left: Collection[str]) -> str:
    looked_up = f", {seen[LOOKED_UP]:,} users looked up" if seen[LOOKED_UP] else ""
    waiting = f", waiting for {', '.join(left)}" if 0 < len(left) <= LAST else ""
    return f"{seen[REQUESTED]:,} requested, {seen[FAILED]:,} not audited{looked_up}{waiting}"


def _messages(
    accounts: Sequence[Account], settings: GatherSettings, processes: int, stop: Stop
) -> Iterator[Gathered | str]:
    """Every account's receipt as it comes, and what is told of accounts before they are done."""
    if processes == 1 and not settings.scheduler:
        yield from gather_here(accounts, settings, stop)
        return
    left = {account.id: account for account in accounts}
    for message in (
        share_out_on_cluster(settings.scheduler, accounts, settings, stop)
        if settings.scheduler
        else share_out(gather_here, accounts, settings, processes, stop)
    ):
        if isinstance(message, LeftOver):
            for account in message.accounts:
                del left[account.id]
                yield keep(AccountResult(account, message.why), settings.store)
            continue
        if isinstance(message, Gathered):
            del left[message.account.id]
        yield message
    for account in left.values():
        yield keep(AccountResult(account, INTERRUPTED), settings.store)


def gather_here(accounts: Sequence[Account], settings: GatherSettings, stop: Stop) -> Iterator[Gathered | str]:
    """`gather_accounts` in this process, told to stop by somebody else; with what is told of accounts on the way."""
    ledgers: dict[str, Ledger] = {}
    left = {account.id: account for account in accounts}
    for told in told_by(partial(_gather, accounts, settings, stop, ledgers)):
        if isinstance(told, Gathered):
            del left[told.account.id], ledgers[told.account.id]
        yield told
    for account in left.values():
        ledger = ledgers.get(account.id, Ledger())
        yield keep(AccountResult(account, INTERRUPTED, ledger.spent()), settings.store, ledger.requests)


async def _gather(
    accounts: Sequence[Account],
    settings: GatherSettings,
    stop: Stop,
    ledgers: dict[str, Ledger],
    tell: Callable[[Gathered | str], None],
) -> None:
    """Audit the accounts in the loop; tell of each that is done, and what `gather_account` tells of it before."""
    until_stopped = stoppable(settings, stop)
    gate = Gate(settings.calls_in_flight)

    async def audit(account: Account) -> None:
        ledger = ledgers[account.id] = Ledger(gate=gate)
        with suppress(StopRequested):
            until_stopped.timing.go_on()
            tell(await gather_account(account, until_stopped, ledger, tell))

    await in_lanes([partial(audit, account) for account in accounts], WINDOW)


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
