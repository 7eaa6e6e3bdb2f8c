"""Accounts shared out among processes: one interpreter is not enough for hundreds of calls a second."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from typing import Any

from auditor.errors import AuditorError
from auditor.gather.settings import GatherSettings
from auditor.gather.stopping import Stop
from auditor.model import Account, Gathered, NotAudited, NotAuditedCode

ACCOUNTS_A_PROCESS = 150
"""Accounts that are worth another process, which takes a second to be ready."""

LIVES = 2
"""How often a share of the accounts is begun, when the process that has it dies."""

GLANCE = 0.5
"""Seconds after which the parent looks whether it is to stop."""

PARENTS_BUSINESS = (signal.SIGINT, signal.SIGTERM)
"""What a terminal or a service manager sends to every process of a run, and one of them has to act on."""

Work = Callable[[Sequence[Account], GatherSettings, Stop], Iterator[Gathered | str]]
"""Audits accounts in one process: each receipt, and what is told of accounts before they are done."""


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Accounts that nobody audits any more, because whoever had them died."""

    accounts: tuple[Account, ...]
    why: NotAudited


def suitable_processes(accounts: int) -> int:
    """How many processes that many accounts are worth on this machine."""
    return max(1, min(cores(), accounts // ACCOUNTS_A_PROCESS))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forking() -> ForkServerContext:
    """What processes are forked from: it is started, and loads everything while something else is done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["auditor.gather"])
    resource_tracker.ensure_running()  # which would take the block back
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_BUSINESS)  # while it loads it would be its end
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@dataclass
class _Share:
    """Some of the accounts, and the process that has them now."""

    left: dict[str, Account]
    settings: GatherSettings
    lives: int = LIVES
    process: Any = None
    pipe: "connection.Connection | None" = field(default=None)


def share_out(
    work: Work, accounts: Sequence[Account], settings: GatherSettings, processes: int, stop: Stop
) -> Iterator[Gathered | LeftOver | str]:
    """Do the work in so many processes; what they tell as it comes.

    Caps and paces are shared out evenly. A process that dies is begun anew with what it had not done; the second time
    the rest is handed on as `LeftOver`.

    Raises:
        AuditorError: something that would hit every account, such as a full disk.
    """
    context = forking()
    stopping = context.Event()
    shares = [
        _Share({account.id: account for account in accounts[n::processes]}, _part(settings, processes))
        for n in range(processes)
    ]
    try:
        for share in shares:
            _begin(share, work, context, stopping)
        for share, message in _messages(shares, stop, stopping):
            if isinstance(message, AuditorError):
                raise message
            if message is not None:
                yield message
                continue
            how = _end(share)
            share.lives -= 1
            if share.left and share.lives:
                _begin(share, work, context, stopping)
            elif share.left:
                yield LeftOver(tuple(share.left.values()), _died(how))
    finally:
        for share in shares:
            if share.process is not None and share.process.is_alive():
                share.process.kill()


def _part(settings: GatherSettings, processes: int) -> GatherSettings:
    calls = max(1, settings.calls_in_flight // processes)
    aws = settings.connection
    narrower = replace(aws, sts_per_second=aws.sts_per_second / processes)
    return replace(settings, connection=narrower, calls_in_flight=calls)


def _begin(share: _Share, work: Work, context: Any, stopping: Stop) -> None:
    ours, theirs = context.Pipe(duplex=False)
    arguments = (work, tuple(share.left.values()), share.settings, theirs, stopping)
    share.process = context.Process(target=_audit_share, args=arguments, daemon=True, name="gather")
    share.process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    share.pipe = ours


def _messages(
    shares: Sequence[_Share], stop: Stop, stopping: Any
) -> Iterator[tuple[_Share, Gathered | AuditorError | str | None]]:
    """What the processes send, until none has a pipe any more; None where one has ended."""
    while under_way := [share for share in shares if share.pipe]:
        if stop.is_set():
            stopping.set()
        ready = connection.wait([share.pipe for share in under_way if share.pipe], GLANCE)
        for share in under_way:
            if share.pipe in ready:
                yield share, _received(share)


def _received(share: _Share) -> Gathered | AuditorError | str | None:
    """The next message; None where the process has ended, or has done all."""
    assert share.pipe is not None
    try:
        message: Gathered | AuditorError | str | None = share.pipe.recv()
    except (EOFError, OSError):
        return None
    if isinstance(message, Gathered):
        share.left.pop(message.account.id, None)
    return message


def _end(share: _Share) -> str:
    assert share.pipe is not None
    share.pipe.close()
    share.pipe = None
    share.process.join(GLANCE)
    code = share.process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _died(how: str) -> NotAudited:
    what = f"The process that audited the account died, and so did the one after it ({how})."
    step = "Check that its machine has memory enough, or use fewer processes; then run the audit again."
    return NotAudited(NotAuditedCode.FAILED, what, step)


def _audit_share(work: Work, accounts: Sequence[Account], settings: GatherSettings, pipe: Any, stopping: Stop) -> None:
    """What a process does; without a parent there is nobody to work for."""
    for number in PARENTS_BUSINESS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        try:
            for message in work(accounts, settings, stopping):
                pipe.send(message)
            pipe.send(None)
        except AuditorError as error:
            pipe.send(error)
