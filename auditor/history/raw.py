"""The raw answers of a run: which accounts are done, and their results read back."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from auditor import answers
from auditor.errors import AuditorError, OutputError
from auditor.history.archive import RAW
from auditor.model import AccountResult


def read_results(folder: Path) -> Iterator[AccountResult]:
    """The result of every account that is done, by account id; one at a time, since all of them may be many.

    Raises:
        OutputError: an account's files cannot be read back.
    """
    for place in sorted((folder / RAW).iterdir()):
        if (place / answers.ACCOUNT).is_file():
            yield _result(place)


def _result(place: Path) -> AccountResult:
    try:
        return answers.decode_result(_files(place))
    except (OSError, ValueError, AuditorError) as error:
        step = "Restore the folder, or run the audit again."
        raise OutputError(f"The answers cannot be read back: {error}", where=str(place), next_step=step) from error


def _files(place: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir() if not path.name.endswith(".partial")}
