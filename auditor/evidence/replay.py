"""A stored run, judged once more: its raw answers under its own policy must give what it says, to the byte.

Nothing that the run says of its verdicts is used: facts, tables, numbers and reports are made again beside it and
compared.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from auditor import __version__
from auditor.config import load_output
from auditor.errors import OutputError
from auditor.evidence.bag import BagError
from auditor.formats.registry import FORMATS
from auditor.gather import Progress
from auditor.history import (
    JOURNAL,
    RAW,
    TABLES,
    TERMS,
    counted_rows,
    differing_rows,
    load_manifest,
    write_tables,
)
from auditor.history.manifest import encode_manifest
from auditor.history.parquet import read_parquet
from auditor.judging import Judged, judge
from auditor.model import NotAuditedAccount, NotAuditedCode, RunManifest
from auditor.pipeline import rendered, view_of
from auditor.remediation.journal import decode_rows
from auditor.remediation.record import Record, record
from auditor.tables import ACCOUNTS, records_of

FINDINGS = "findings.json"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was made again and found to be the same."""

    accounts: int
    verdicts: int
    reports: tuple[str, ...]
    """Files that are the same, byte for byte."""
    within: tuple[str, ...]
    """Files of another version that say less than today's, and nothing else."""
    not_compared: tuple[str, ...]
    """Files that only the version of auditor, or of its libraries, that made them makes again."""


def replay(run: Path, made_with: Mapping[str, str], progress: Progress) -> Replayed:
    """Judge a stored run again, and compare everything that comes of it.

    Args:
        run: the run's folder; it is not changed.
        made_with: the versions of what its reports were made with, as `versions` gives them.
        progress: told of every account and report.

    Raises:
        BagError: something is not what the raw answers give, or cannot be judged.
        OutputError: the run cannot be read.
    """
    manifest = load_manifest(run)
    with _judged_again(run, manifest, progress) as again:
        compared = _compare_reports(run, again, made_with, progress)
        verdicts = counted_rows(again / "tables" / "findings.parquet")
        return Replayed(manifest.coverage.accounts_in_scope, verdicts, *compared)


def confirm_judged(run: Path, progress: Progress) -> None:
    """Judge a stored run again, and compare its tables and numbers, without its reports; raises as `replay`."""
    with _judged_again(run, load_manifest(run), progress):
        pass


@contextmanager
def _judged_again(run: Path, manifest: RunManifest, progress: Progress) -> Iterator[Path]:
    """The folder of a run that was judged anew, whose tables and numbers are those of the stored one."""
    with tempfile.TemporaryDirectory(prefix="auditor-replay-") as place:
        again = Path(place)
        (again / RAW).symlink_to((run / RAW).absolute())
        (again / TERMS).write_bytes((run / TERMS).read_bytes())
        judged = judge(again, manifest.policy, manifest.as_of, progress)
        if manifest.id.split("-")[:2] != [f"{manifest.as_of:%Y%m%dT%H%M%SZ}", judged.digest[:8]]:
            raise BagError(f"the raw answers and the policy are not those of the run {manifest.id}")
        kept = _record(run, manifest, manifest.as_of)
        others = {"actions": kept.actions, "pending": kept.pending} if kept else {}
        write_tables(again, judged.parts, others)
        _compare_tables(run, again, (*TABLES, *others))
        (again / "run.json").write_bytes(encode_manifest(_manifest(again, manifest, judged)))
        if (again / "run.json").read_bytes() != (run / "run.json").read_bytes():
            raise BagError("run.json has other numbers than the raw answers give")
        yield again


def _record(run: Path, manifest: RunManifest, as_of: datetime) -> Record | None:
    """What the run's copy of the journal tells; None where it has none."""
    copy = manifest.journal
    if copy is None or copy.problem is not None:
        if (run / JOURNAL).exists():
            raise BagError(f"run.json knows nothing of {JOURNAL}")
        return None
    rows = decode_rows((run / JOURNAL).read_bytes(), JOURNAL)
    told = record(rows, as_of)
    if (told.rows, told.head, len(rows)) != (copy.rows, copy.head, copy.rows):
        raise BagError(f"{JOURNAL} is not the journal that run.json names")
    return told


def _compare_tables(run: Path, again: Path, names: tuple[str, ...]) -> None:
    stored = {path.name for path in (run / "tables").iterdir()}
    expected = {f"{name}.parquet" for name in names}
    if stored != expected:
        raise BagError(f"the tables are {', '.join(sorted(stored))}, not {', '.join(sorted(expected))}")
    for name in sorted(expected):
        try:
            rows = differing_rows(run / "tables" / name, again / "tables" / name)
        except ValueError as error:
            raise BagError(f"tables/{name} is no table of a run: {error}") from error
        if rows:
            raise BagError(f"{rows:,} rows of tables/{name} are not what the raw answers give")


def _manifest(again: Path, stored: RunManifest, judged: Judged) -> RunManifest:
    """What the run would say of itself by what was judged now; who ran it, when and where is its own word."""
    accounts = read_parquet(again / "tables" / "accounts.parquet", ACCOUNTS)
    refused = tuple(_not_audited(row) for row in records_of(accounts) if not row["audited"])
    coverage = replace(
        stored.coverage,
        accounts_in_scope=len(accounts),
        accounts_audited=len(accounts) - len(refused),
        not_audited=refused,
        users=judged.users,
        keys=judged.keys,
        audited_in_part=judged.in_part,
    )
    return replace(
        stored,
        coverage=coverage,
        summary=judged.tally.summary(),
        frameworks=judged.by_framework(stored.policy),
        exemptions=judged.tally.exemptions,
        failing=judged.tally.failing,
        undecided=judged.tally.undecided,
        excused=judged.tally.excused,
        rules=judged.tally.rules,
    )


def _not_audited(row: Mapping[str, Any]) -> NotAuditedAccount:
    code = NotAuditedCode(row["not_audited_code"])
    return NotAuditedAccount(row["account_id"], row["account_name"], code, row["not_audited_reason"], row["next_step"])


def versions() -> dict[str, str]:
    """What reports are made with here; the PDF's bytes depend on all of it. Without Pango no PDF can be made."""
    from auditor.formats.pdf import text_engine  # noqa: PLC0415 - the libraries take half a second to load

    libraries = {name: version(name) for name in ("weasyprint", "pydyf", "fonttools")}
    with suppress(OutputError):
        libraries |= text_engine()
    return {"auditor": __version__, **libraries}


def report_files() -> tuple[str, ...]:
    """The names of all reports."""
    return tuple(report.file_name for report in FORMATS.values())


def render_reports(run: Path, progress: Progress) -> Iterator[tuple[str, bytes | None]]:
    """Every report of a stored run by its file's name, under the settings that the run was made with.

    The PDF is None where the libraries that lay it out are missing.

    Raises:
        OutputError: the run cannot be read.
    """
    settings = load_output(run / TERMS, {})
    view = view_of(run, settings)
    progress.phase("Rendering reports", len(FORMATS))
    for report in FORMATS.values():
        try:
            content: bytes | None = rendered(report, view, mask_key_ids=settings.mask_key_ids)
        except OutputError:
            content = None
        yield report.file_name, content
        progress.advance(report.file_name)


def _compare_reports(
    run: Path, again: Path, made_with: Mapping[str, str], progress: Progress
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The names of reports that are the same, that say less, and that can only be made again with other versions."""
    here = versions()
    is_version = made_with.get("auditor") == here["auditor"]
    same: list[str] = []
    within: list[str] = []
    not_compared: list[str] = []
    for name, content in render_reports(again, progress):
        stored = (run / name).read_bytes() if (run / name).exists() else None
        can_be_made = content is not None and (dict(made_with) == here if name.endswith(".pdf") else is_version)
        if content is not None and stored == content:
            same.append(name)
        elif name == FINDINGS and not is_version and _is_within(stored, content):
            within.append(name)
        elif name == FINDINGS or can_be_made:
            raise BagError(f"{name} is not what the raw answers give")
        else:
            not_compared.append(name if stored is not None else f"{name} (which is missing)")
    return tuple(same), tuple(within), tuple(not_compared)


def _is_within(stored: bytes | None, again: bytes | None) -> bool:
    """Whether what was said is said again: a later version may say more of each thing, and nothing else."""
    try:
        return None not in {stored, again} and _says(json.loads(again or b""), json.loads(stored or b""))
    except (ValueError, RecursionError):
        return False


def _says(more: Any, less: Any) -> bool:
    if isinstance(less, dict):
        return isinstance(more, dict) and all(name in more and _says(more[name], told) for name, told in less.items())
    if isinstance(less, list):
        return isinstance(more, list) and len(more) == len(less) and all(map(_says, more, less))
    return type(more) is type(less) and bool(more == less)
