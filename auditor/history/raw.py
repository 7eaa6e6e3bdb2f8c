"""The raw answers of a run: kept as they come, read back to be judged, or to go on where a run was cut off."""

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor import answers
from auditor.errors import AuditorError, OutputError
from auditor.history.disk import write_whole, writing
from auditor.model import AccountResult, Gathered

RAW = "raw"
"""The folder of AWS's answers, below the run's."""


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """Keeps answers below a run's folder; see `auditor.gather.RawStore`. Safe to use from threads and processes."""

    folder: Path

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """Keep one file of one account; raises OutputError."""
        place = self.folder / account_id
        with writing(place):
            place.mkdir(exist_ok=True)
        write_whole(place / name, content)


def read_results(folder: Path) -> Iterator[AccountResult]:
    """The result of every account that is done, by account id; one at a time, since all of them may be many.

    Raises:
        OutputError: an account's files cannot be read back.
    """
    for place in _done(folder):
        yield _result(place)


def take_over(folder: Path, scope: Collection[str]) -> tuple[Gathered, ...]:
    """Keep, of a run that was cut off, the accounts of the scope that were audited; remove everything else.

    Returns:
        Their receipts, by account id. What was not audited is asked again, and half an account's answers are none.

    Raises:
        OutputError: the folder cannot be changed.
    """
    kept = []
    audited = {place.name: receipt for place in _done(folder) if (receipt := _receipt(place)) is not None}
    with writing(folder):
        for leftover in folder.iterdir():
            if leftover.name != RAW:
                remove(leftover)
        for place in sorted((folder / RAW).iterdir()):
            if place.name in audited and place.name in scope:
                kept.append(audited[place.name])
            else:
                remove(place)
    return tuple(kept)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; what cannot be removed stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def has_answers(folder: Path) -> bool:
    """Whether AWS answered anything that is kept below a run's folder."""
    kept = (path for path in (folder / RAW).rglob("*") if path.is_file())
    return any(path.name != answers.ACCOUNT for path in kept)


def _done(folder: Path) -> Iterator[Path]:
    return (place for place in sorted((folder / RAW).iterdir()) if (place / answers.ACCOUNT).is_file())


def _receipt(place: Path) -> Gathered | None:
    """The receipt of an account that was audited and whose answers can still be read."""
    try:
        result = answers.decode_result(_files(place))
    except (OSError, ValueError, AuditorError):
        return None
    return Gathered(result.account, None, result.spent) if result.is_audited else None


def _result(place: Path) -> AccountResult:
    try:
        return answers.decode_result(_files(place))
    except (OSError, ValueError, AuditorError) as error:
        step = "Restore the folder, or run the audit again."
        raise OutputError(f"The answers cannot be read back: {error}", where=str(place), next_step=step) from error


def _files(place: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir() if not path.name.endswith(".partial")}
