"""Credential reports that were downloaded earlier: files and folders → the same results, without AWS."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from auditor import answers
from auditor.credential_report import parse_credential_report
from auditor.errors import ReportFormatError, UsageError
from auditor.gather.account import keep
from auditor.gather.settings import Progress, RawStore
from auditor.model import Account, AccountFacts, AccountResult, Gathered, NotAudited, NotAuditedCode, ReportMeta, Source

ACCOUNT_IN_ARN = re.compile(rb"arn:aws[a-z-]*:iam::([0-9]{12}):")

LIMITS = (
    "Read from a downloaded file: key ids, owners, users in quarantine, service-specific credentials and the last use "
    "since the report are not known, nor, where the report lacks the column additional_credentials_info, whether a "
    "user has more than two keys."
)


def find_reports(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The report files named, and every `*.csv` below the folders named, in order and once each.

    Raises:
        UsageError: a path does not exist, or a folder holds no report.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = _reports_below(path)
            if not inside:
                raise UsageError("No *.csv file in this folder.", where=str(path), next_step="Name the right folder.")
            found |= {file.resolve(): file for file in inside}
        elif path.exists():
            found.setdefault(path.resolve(), path)
        else:
            step = "Name a credential report (CSV) or a folder of them."
            raise UsageError("There is no such file or folder.", where=str(path), next_step=step)
    return tuple(found.values())


def _reports_below(folder: Path) -> list[Path]:
    """Every CSV file below a folder but a run's own findings; a folder that cannot be read is not passed over."""

    def refuse(error: OSError) -> None:
        what = f"This folder cannot be read ({error.strerror})."
        raise UsageError(what, where=str(error.filename), next_step="Check its permissions, or name the files.")

    seen: set[Path] = set()
    files = []
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if Path(place).resolve() in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(Path(place).resolve())
        files += [Path(place, name) for name in names]
    return sorted(file for file in files if file.suffix.lower() == ".csv" and file.name != "findings.csv")


def read_reports(paths: Sequence[Path], store: RawStore, progress: Progress) -> Iterator[Gathered]:
    """Read each report and keep it; one that cannot be read is an account that was not audited.

    The account id comes from the ARNs; a file that names no single account gets an id of its own. A `response.json`
    beside the file, as a run keeps it, tells when AWS made it.

    Raises:
        UsageError: two files are reports of the same account.
        OutputError: the bytes cannot be kept.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        result = _read(path, store)
        account_id = result.account.id
        if account_id in seen:
            what = f"Two reports of account {account_id}: {seen[account_id]} and {path}."
            raise UsageError(what, next_step="Keep the one to be judged; which is the right one cannot be guessed.")
        seen[account_id] = path
        yield keep(result, store)
        progress.advance(_shown(path.name))


def _read(path: Path, store: RawStore) -> AccountResult:
    try:
        content = path.read_bytes()
    except OSError as error:
        why = NotAudited(
            NotAuditedCode.REPORT_UNREADABLE,
            f"{_shown(path)}: the file cannot be read ({error.strerror}).",
            "Check the file's permissions, then run the audit again.",
        )
        return AccountResult(Account(_unknown(path), _shown(path.name)), why)
    account_id = _claimed_account(content) or _unknown(path)
    store.save(account_id, answers.REPORT, content)
    try:
        report = parse_credential_report(content, origin=_shown(path))
    except ReportFormatError as error:
        unread = NotAudited(NotAuditedCode.REPORT_UNREADABLE, f"{error.where}: {error.what}", error.next_step)
        return AccountResult(Account(account_id, None if account_id.isdigit() else _shown(path.name)), unread)
    digest = _digest(content)
    meta = ReportMeta(_generated_at(path, digest), None, digest, len(content), origin=_shown(path))
    store.save(account_id, answers.RESPONSE, answers.encode_response(meta))
    facts = AccountFacts(Source.FILE, report, meta, notes=(LIMITS,))
    return AccountResult(Account(report.account_id, None, report.partition), facts)


def _shown(path: Path | str) -> str:
    """A path as text that can be written anywhere, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unknown(path: Path) -> str:
    """What stands for the id of an account that a file does not tell."""
    return f"unknown-{_digest(os.fsencode(path.resolve()))[:12]}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _claimed_account(content: bytes) -> str | None:
    """The account that the bytes speak of, if they speak of just one: a label for what cannot be parsed."""
    ids = set(ACCOUNT_IN_ARN.findall(content))
    return ids.pop().decode() if len(ids) == 1 else None


def _generated_at(path: Path, digest: str) -> datetime | None:
    """What the `response.json` beside the file says, if it speaks of these very bytes."""
    try:
        response = json.loads((path.parent / "response.json").read_bytes())
        at = datetime.fromisoformat(response["generated_at"])
        same = response["sha256"] == digest
        return at.astimezone(UTC) if at.tzinfo and same else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
