"""The raw answers of a run: kept as they come, read back to be judged, or to go on where a run was cut off."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from auditor import answers
from auditor.errors import AuditorError, NothingAuditedError, OutputError
from auditor.history.disk import write_whole, writing
from auditor.model import Account, AccountFacts, AccountResult, Gathered, ObservedKey, Source

log = logging.getLogger(__name__)

RAW = "raw"
"""The folder of AWS's answers, below the run's."""

FEW = 5
"""Accounts that are named where there are many."""

JOURNAL = "journal.jsonl"
"""The journal of remediation, as it was at the run's instant."""

TERMS = "policy.toml"
"""The effective configuration: under which policy was decided what to ask."""


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """Keeps answers below a run's folder; see `auditor.gather.RawStore`. Safe to use from threads and processes."""

    folder: Path

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """Keep one file of one account; raises OutputError."""
        place = self.folder / account_id
        if not place.is_dir():
            with writing(place):
                place.mkdir(exist_ok=True)
        write_whole(place / name, content)

    def forget(self, account_id: str, name: str) -> None:
        """Have one file of one account no more, where it is there; raises OutputError."""
        path = self.folder / account_id / name
        with writing(path):
            path.unlink(missing_ok=True)


def done_accounts(folder: Path) -> Iterator[tuple[str, int]]:
    """The accounts that are done, in the order of their ids, and the bytes of their answers."""
    for place in _done(folder):
        with writing(place):
            size = sum(entry.stat().st_size for entry in os.scandir(place) if entry.name != answers.REQUESTS)
        yield place.name, size


def read_result(folder: Path, account_id: str) -> AccountResult:
    """The result of one account that is done.

    Raises:
        OutputError: its files cannot be read back.
    """
    place = folder / RAW / account_id
    try:
        return answers.decode_result(_files(place))
    except (OSError, ValueError, AuditorError) as error:
        step = "Restore the folder, or run the audit again."
        raise OutputError(f"The answers cannot be read back: {error}", where=str(place), next_step=step) from error


def read_observations(folder: Path, account_id: str) -> tuple[ObservedKey, ...]:
    """What earlier runs saw of the inactive keys of an account, as this run keeps it.

    Raises:
        OutputError: it cannot be read back.
    """
    place = folder / RAW / account_id / answers.OBSERVED
    try:
        return answers.decode_observed(place.read_bytes()) if place.exists() else ()
    except (OSError, ValueError) as error:
        step = "Restore the folder, or run the audit again."
        raise OutputError(f"It cannot be read back: {error}", where=str(place), next_step=step) from error


def take_over(earlier: Path, folder: Path, scope: Mapping[str, Account]) -> tuple[Gathered, ...]:
    """Have in a run's folder what an earlier run, or this very folder, holds of the scope's accounts that were audited.

    What was not audited is asked again, and so is an account that has another name, state or place in the organisation
    by now, or rests on a role of which another account has the requests; half an account's answers are none. Of an
    earlier run, which was finished, accounts with look-ups that failed are asked again as well; its folder is not
    changed, its answers get a second name. In this very folder, of a run that was cut off, all that was done stays, and
    everything else is removed.

    Returns:
        The receipts of these accounts, by account id.

    Raises:
        NothingAuditedError: the earlier run is of other accounts, or of some that are not in scope.
        OutputError: the folder cannot be changed.
    """
    audited = {place.name: result for place in _done(earlier) if (result := _audited(place)) is not None}
    if audited and not audited.keys() & set(scope):
        step = "Name the run that these accounts are of, or run the audit without --resume."
        raise NothingAuditedError("No account of this run is in scope.", where=str(earlier), next_step=step)
    lost = sorted(audited.keys() - set(scope))
    if lost:
        what = f"{len(lost)} accounts that this run had audited are not in scope any more: {', '.join(lost[:FEW])}."
        step = "Resume it with the scope that it was begun with, or run the audit without --resume."
        raise NothingAuditedError(what, where=str(earlier), next_step=step)
    kept = {
        account_id: Gathered(result.account, None, result.spent)
        for account_id, (result, facts) in audited.items()
        if (earlier == folder or not answers.unanswered(facts))
        and _place(result.account) == _place(scope[account_id])
        and not _rests_on_others(earlier / RAW / account_id)
    }
    with writing(folder):
        if earlier == folder:
            for place in (*_beside_answers(folder), *(folder / RAW).iterdir()):
                if place.name not in kept:
                    remove(place)
        else:
            for account_id in kept:
                shutil.copytree(earlier / RAW / account_id, folder / RAW / account_id, copy_function=_link)
    return tuple(kept.values())


def _rests_on_others(place: Path) -> bool:
    """Whether calls were not sent since a role failed of which the account has no request: first roles are shared."""
    path = place / answers.REQUESTS
    try:
        requests = list(answers.decode_requests(path.read_bytes())) if path.exists() else []
    except ValueError:
        return True
    sent = {(one.operation, one.outcome) for one in requests if one.failed_in is None}
    failed = {(one.failed_in, one.outcome) for one in requests if str(one.failed_in).startswith("sts:")}
    return not failed <= sent


def _place(account: Account) -> tuple[object, ...]:
    """Where an account is, which verdicts may go by."""
    return account.name, account.partition, account.state, account.units, account.unit_names


def clear_but_answers(folder: Path) -> bool:
    """Where there are answers of AWS's, remove all else but the terms they were asked for under; whether there are."""
    kept = (path for path in (folder / RAW).rglob("*") if path.is_file())
    has_answers = any(path.name not in {answers.ACCOUNT, answers.REQUESTS} for path in kept)
    if has_answers:
        for leftover in _beside_answers(folder):
            remove(leftover)
    return has_answers


def _beside_answers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in {RAW, TERMS}]


def _link(source: str, target: str) -> None:
    """A second name for the same file where the disk can, else a copy: answers are never changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; what cannot be removed stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _done(folder: Path) -> Iterator[Path]:
    return (place for place in sorted((folder / RAW).iterdir()) if (place / answers.ACCOUNT).is_file())


def _audited(place: Path) -> tuple[AccountResult, AccountFacts] | None:
    """The result, and its facts, of an account that AWS was asked about and whose answers can still be read."""
    try:
        result = answers.decode_result(_files(place))
    except (OSError, ValueError, AuditorError) as error:
        why = error.what if isinstance(error, AuditorError) else error
        log.warning("account %s is asked again, since its answers cannot be read back: %s", place.name, why)
        return None
    facts = result.outcome
    return (result, facts) if isinstance(facts, AccountFacts) and facts.source is not Source.FILE else None


def _files(place: Path) -> Mapping[str, bytes]:
    """What is read back: not the requests, which are for who looks for them in CloudTrail."""
    names = (path for path in place.iterdir() if path.name != answers.REQUESTS)
    return {path.name: path.read_bytes() for path in names if not path.name.endswith(".partial")}
