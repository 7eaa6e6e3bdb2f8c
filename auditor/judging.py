"""What was kept of the accounts → verdicts: some accounts at a time, on every core.

So neither memory nor one interpreter is the limit: a batch is read back, judged at one instant, written as parts of the
run's tables, and forgotten. What comes back of it is what adds up.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd

from auditor.answers import facts_digest, unanswered
from auditor.errors import OutputError
from auditor.gather import Progress
from auditor.gather.processes import cores, forking
from auditor.history import done_accounts, read_observations, read_result, write_part
from auditor.inventory import build_snapshot, with_inactive_since
from auditor.model import AccountFacts, AccountResult, ObservedKey, Outcome, Policy
from auditor.policy import Tally, clause_key, evaluate, label, tally, with_owners
from auditor.tables import Snapshot

BATCH = 6_000_000
"""Bytes of answers that are judged at once: the reports of some 40,000 users."""

BATCHES_A_PROCESS = 2
"""Batches that are worth another process."""

FEW = 20
"""Accounts that are judged before anybody can read how far it is."""

RUN_TAKES = timedelta(hours=6)
"""A report that is newer than this after `as_of` was not made in the course of the run."""


@dataclass
class Judged:
    """What is added up over all accounts."""

    digest: str
    """Of the facts and the policy: the same facts under the same policy have the same, whenever they are judged."""
    tally: Tally = field(default_factory=Tally)
    users: int = 0
    keys: int = 0
    in_part: int = 0
    """Accounts with unknown verdicts of which look-ups are unanswered."""
    newer: int = 0
    """Accounts whose report is too new to have been made in the course of a run at `as_of`."""
    parts: int = 0
    """Parts of the run's tables that were written, from number 0."""

    def by_framework(self, policy: Policy) -> dict[str, dict[str, Mapping[str, int]]]:
        """Verdicts by framework, then by clause and control (as "1.13 key-age")."""
        return {
            framework.id: {
                clause_key(clause.id, clause.criterion.control): self.tally.clauses.get(
                    clause_key(label(framework, clause), clause.criterion.control), {}
                )
                for clause in framework.clauses
                if clause.criterion
            }
            for framework in policy.frameworks
        }


@dataclass(frozen=True)
class _Batch:
    """What is added up of some accounts, and the digests of their facts, one after the other."""

    accounts: int
    tally: Tally
    digests: bytes
    users: int
    keys: int
    in_part: int
    newer: int


def judge(  # noqa: PLR0913 - what is judged, by what, and how
    folder: Path,
    policy: Policy,
    as_of: datetime,
    progress: Progress,
    *,
    processes: int = 0,
    batch: int = BATCH,
) -> Judged:
    """Judge what was gathered in a run's folder, by account id, and write the parts of its tables there.

    Args:
        folder: the run's, with the accounts' answers.
        policy: what is judged by.
        as_of: the instant of judgement.
        progress: told of every account.
        processes: how many share the work; 0 is as many as it is worth on this machine.
        batch: bytes of answers that are judged at once, which bounds the memory.

    Raises:
        OutputError: an account's files cannot be read back, or the disk is full.
    """
    accounts = list(done_accounts(folder))
    progress.phase("Judging", len(accounts) if len(accounts) > FEW else None)
    batches = list(batches_of(accounts, batch))
    digest = hashlib.sha256(_told(policy).encode())
    judged = Judged("")
    for done in _judged(partial(_judge_batch, folder, policy, as_of), batches, processes):
        digest.update(done.digests)
        judged.tally += done.tally
        judged.users += done.users
        judged.keys += done.keys
        judged.in_part += done.in_part
        judged.newer += done.newer
        judged.parts += 1
        for _ in range(done.accounts):
            progress.advance()
    judged.digest = digest.hexdigest()
    return judged


def _told(policy: Policy) -> str:
    """The policy as a text that is the same in every process: the order of a set is not."""
    return repr((replace(policy, switched_off=frozenset()), sorted(policy.switched_off)))


def batches_of(accounts: Iterable[tuple[str, int]], most: int) -> Iterator[tuple[str, ...]]:
    """The accounts in their order, as many at a time as make a batch."""
    batch: list[str] = []
    total = 0
    for account_id, size in accounts:
        batch.append(account_id)
        total += size
        if total > most:
            yield tuple(batch)
            batch, total = [], 0
    if batch:
        yield tuple(batch)


def _judged(judge_batch: "partial[_Batch]", batches: Sequence[tuple[str, ...]], processes: int) -> Iterator[_Batch]:
    """The batches' results in their order."""
    workers = min(processes or cores(), len(batches) // BATCHES_A_PROCESS)
    if workers <= 1:
        yield from map(judge_batch, range(len(batches)), batches)
        return
    try:
        with ProcessPoolExecutor(workers, forking(), _follow_parent) as pool:
            yield from pool.map(judge_batch, range(len(batches)), batches)
    except BrokenProcessPool as error:
        what = "A process that judged accounts died; the system may have ended it for its memory."
        step = "Set gather.processes = 1 in the configuration"
        raise OutputError(what, where=str(judge_batch.args[0]), next_step=f"{step}, and go on.") from error


def _follow_parent() -> None:
    """Ctrl-C is the parent's business; and where the parent has died, nobody wants the rest, nor its files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # by which the pool ends the others when one has died
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, name="parent", daemon=True).start()


@dataclass(frozen=True)
class Kept:
    """What a run's folder has of some accounts: their results, and keys that earlier runs saw inactive."""

    results: Sequence[AccountResult]
    observed: Mapping[str, Sequence[ObservedKey]]
    snapshot: Snapshot

    @classmethod
    def read(cls, folder: Path, account_ids: Sequence[str], seen_at: datetime) -> "Kept":
        """Of these accounts, whose keys the run saw at its instant `seen_at`.

        Raises:
            OutputError: an account's files cannot be read back.
        """
        results = [read_result(folder, account_id) for account_id in account_ids]
        observed = {account_id: read_observations(folder, account_id) for account_id in account_ids}
        return cls(results, observed, with_inactive_since(build_snapshot(results), observed, seen_at))

    def digests(self) -> bytes:
        """Of each account's facts, one after the other."""
        return b"".join(facts_digest(result, self.observed[result.account.id]) for result in self.results)

    def judged(self, policy: Policy, as_of: datetime) -> tuple[Snapshot, pd.DataFrame]:
        """The facts with their owners, and the verdicts at an instant."""
        snapshot = with_owners(self.snapshot, policy)
        return snapshot, evaluate(snapshot, policy, as_of)


def _judge_batch(folder: Path, policy: Policy, as_of: datetime, number: int, account_ids: Sequence[str]) -> _Batch:
    kept = Kept.read(folder, account_ids, as_of)
    snapshot, findings = kept.judged(policy, as_of)
    write_part(folder, number, snapshot, findings)
    unsure = set(findings.loc[findings["outcome"] == Outcome.UNKNOWN, "account_id"])
    return _Batch(
        accounts=len(kept.results),
        tally=tally(findings, snapshot, policy),
        digests=kept.digests(),
        users=len(snapshot.users),
        keys=int(snapshot.accounts["keys"].sum()),
        in_part=sum(_has_gaps(result) for result in kept.results if result.account.id in unsure),
        newer=sum(_is_newer(result, as_of) for result in kept.results),
    )


def _has_gaps(result: AccountResult) -> bool:
    return isinstance(result.outcome, AccountFacts) and unanswered(result.outcome) > 0


def _is_newer(result: AccountResult, as_of: datetime) -> bool:
    meta = result.outcome.meta if isinstance(result.outcome, AccountFacts) else None
    return bool(meta and meta.generated_at and meta.generated_at > as_of + RUN_TAKES)
