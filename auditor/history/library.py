"""Reading runs: by id, by path, or the latest; listing what there is."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from auditor.config import policy_from_toml
from auditor.errors import AuditorError, OutputError, UsageError
from auditor.history.archive import INCOMPLETE
from auditor.history.manifest import decode_manifest
from auditor.history.parquet import read_parquet
from auditor.history.raw import TERMS
from auditor.model import Policy, RunManifest
from auditor.tables import ACCOUNTS, ACTIONS, AGES, FINDINGS, FORECAST, HORIZONS, JUDGED, PENDING, TEXT, VERDICTS, Run

LATEST = "latest"

UPCOMING = 5_000
"""Verdicts that are told one by one though nothing fails yet: those that fall due first."""

OWN = "outcome = 'compliant' AND by_policy IS NOT FALSE"
# The texts below hold nothing but numbers and instants of our own.
LISTED = f"""
    SELECT * FROM rows WHERE outcome IN ('non_compliant', 'unknown', 'exempt')
    OR ({OWN} AND due_at <= TIMESTAMPTZ '{{horizon}}')
"""  # noqa: S608
AHEAD = f"""
    SELECT * FROM rows WHERE outcome IN ('compliant', 'exempt')
    AND due_at > TIMESTAMPTZ '{{as_of}}' AND due_at <= TIMESTAMPTZ '{{last}}'
    QUALIFY row_number() OVER (PARTITION BY control, {", ".join(f'"{name}"' for name in JUDGED)}
    ORDER BY due_at, by_policy DESC, frameworks) = 1
"""  # noqa: S608
"""What passes, or is exempt, and will fail: by the policy or a framework, whichever is the first to find it."""
SOONEST = f"""
    SELECT * FROM ({AHEAD}) ORDER BY due_at, account_id, "user", slot, control, created_at LIMIT {UPCOMING}
"""  # noqa: S608
FORESEEN = f"""
    SELECT coalesce(owner, owner_source) AS owner, control, CASE {{cases}} END AS within, count(*) AS verdicts
    FROM ({AHEAD})
    GROUP BY ALL ORDER BY ALL
"""  # noqa: S608
COUNTED = """
    SELECT account_id, outcome, count(*) AS verdicts FROM rows WHERE by_policy IS NOT FALSE GROUP BY ALL ORDER BY ALL
"""
AGED = """
    SELECT greatest(0, (epoch_us(TIMESTAMPTZ '{as_of}') - epoch_us(created_at)) // 86400000000) AS age_days,
    count(*) AS keys FROM rows WHERE key_status = 'Active' AND created_at IS NOT NULL GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run as the list shows it: its folder and its manifest as JSON values; None for one that never finished."""

    folder: Path
    document: dict[str, Any] | None

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a whole run."""
        return self.document is not None


def list_runs(output: Path) -> Sequence[RunEntry]:
    """The runs below a folder, the one made last first."""
    entries = [RunEntry(folder, _document(folder)) for folder in _folders(output)]
    entries = [entry for entry in entries if _is_cut_off(entry.folder) or (entry.folder / "run.json").is_file()]
    return sorted(entries, key=_recency, reverse=True)


def find_run(run: str, output: Path) -> Path:
    """The folder of a run named by id, by path, or as "latest".

    Raises:
        UsageError: there is no such run.
    """
    if run == LATEST:
        finished = [entry for entry in list_runs(output) if entry.is_finished]
        if not finished:
            step = "Make one with `auditor audit` or `auditor demo`, or name the folder with --output."
            raise UsageError("There is no run yet.", where=str(output), next_step=step)
        return finished[0].folder
    for folder in (output / run, Path(run)):
        if (folder / "run.json").is_file() and not _is_cut_off(folder):
            return folder
    step = "`auditor runs list` shows the ids; a path to a run's folder and `latest` work as well."
    raise UsageError(f"There is no run {run}.", where=str(output), next_step=step)


def find_resumable(run: str, output: Path) -> tuple[Path, datetime]:
    """The folder and the instant of a run to go on with: cut off, or finished with something missing.

    Args:
        run: an id, a folder's name or path, or "latest" for the one made last.
        output: the folder of the runs.

    Raises:
        UsageError: there is no such run, or nothing of it is missing.
    """
    if run == LATEST:
        runs = [entry for entry in list_runs(output) if _instant_of(entry.folder) and _has_asked_aws(entry)]
        wanted = [max(runs, key=_made_at).folder] if runs else []
    else:
        places = (output / run, output / f"{run}{INCOMPLETE}", Path(run))
        wanted = [folder for folder in places if folder.is_dir() and _instant_of(folder)][:1]
    step = "`auditor runs list` shows the runs, those that were cut off among them; name one."
    for folder in wanted:
        as_of = _instant_of(folder)
        assert as_of
        if not _is_cut_off(folder) and not _is_missing_some(folder):
            raise UsageError("Nothing of this run is missing.", where=folder.name, next_step=step)
        return folder, as_of
    raise UsageError(f"There is no run {run} to resume.", where=str(output), next_step=step)


def _folders(output: Path) -> list[Path]:
    return [folder for folder in output.iterdir() if folder.is_dir()] if output.is_dir() else []


def _instant_of(folder: Path) -> datetime | None:
    """The instant that a run's folder is named after."""
    try:
        return datetime.strptime(folder.name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _made_at(entry: RunEntry) -> datetime:
    """When a run was finished; of one that was not, when it was last changed, as far as the disk tells."""
    if entry.document:
        return datetime.fromisoformat(entry.document["finished_at"])
    return datetime.fromtimestamp(entry.folder.stat().st_mtime, UTC)


def _has_asked_aws(entry: RunEntry) -> bool:
    return bool(entry.document["caller_arn"]) if entry.document else _is_cut_off(entry.folder)


def _is_missing_some(folder: Path) -> bool:
    coverage = (_document(folder) or {}).get("coverage", {})
    return bool(coverage.get("not_audited") or coverage.get("audited_in_part"))


def load_run(folder: Path) -> Run:
    """A stored run as reports need it; also one whose folder is still called incomplete.

    Raises:
        OutputError: a file is missing or was changed into something that is no run.
    """
    try:
        manifest = load_manifest(folder)
        tables = folder / "tables"
        findings = tables / "findings.parquet"
        as_of, horizon = manifest.as_of.isoformat(), (manifest.as_of + manifest.policy.warning_window).isoformat()
        ahead = [(manifest.as_of + timedelta(days=days)).isoformat() for days in HORIZONS]
        cases = " ".join(
            f"WHEN due_at <= TIMESTAMPTZ '{at}' THEN {days}" for days, at in zip(HORIZONS, ahead, strict=True)
        )
        return Run(
            manifest,
            accounts=read_parquet(tables / "accounts.parquet", ACCOUNTS),
            findings=read_parquet(findings, FINDINGS, LISTED.format(horizon=horizon)),
            verdicts=read_parquet(findings, VERDICTS, COUNTED),
            ages=read_parquet(tables / "keys.parquet", AGES, AGED.format(as_of=as_of)),
            forecast=read_parquet(findings, FORECAST, FORESEEN.format(as_of=as_of, last=ahead[-1], cases=cases)),
            upcoming=read_parquet(findings, FINDINGS, SOONEST.format(as_of=as_of, last=ahead[-1])),
            **_remediation(tables, manifest),
        )
    except (OSError, ValueError, AuditorError) as error:
        raise _unreadable(folder, error) from error


def _remediation(tables: Path, manifest: RunManifest) -> dict[str, pd.DataFrame]:
    """What was done, of a run that has a copy of the journal."""
    if manifest.journal is None or manifest.journal.problem is not None:
        return {}
    actions = read_parquet(tables / "actions.parquet", ACTIONS, "SELECT * FROM rows ORDER BY journal_row")
    return {"actions": actions, "pending": read_parquet(tables / "pending.parquet", PENDING)}


def load_manifest(folder: Path) -> RunManifest:
    """What a stored run says of itself, with its policy; OutputError where that cannot be read."""
    try:
        policy = policy_from_toml((folder / TERMS).read_text(encoding="utf-8"))
        return decode_manifest((folder / "run.json").read_bytes(), policy)
    except (OSError, ValueError, AuditorError) as error:
        raise _unreadable(folder, error) from error


def holder_of(folder: Path, access_key_id: str) -> tuple[str, str] | None:
    """Account id and user name of a key of a stored run; None where the run does not know it by its id.

    Raises:
        OutputError: the run cannot be read.
    """
    if not re.fullmatch("[A-Z0-9]{16,128}", access_key_id):
        return None
    query = f"SELECT account_id, \"user\" FROM rows WHERE access_key_id = '{access_key_id}'"  # noqa: S608 - letters, digits
    try:
        found = read_parquet(folder / "tables" / "keys.parquet", {"account_id": TEXT, "user": TEXT}, query)
    except ValueError as error:
        raise _unreadable(folder, error) from error
    return None if found.empty else (str(found["account_id"].iloc[0]), str(found["user"].iloc[0]))


def _unreadable(folder: Path, error: Exception) -> OutputError:
    step = "Restore the folder from its archive, or make the run again."
    return OutputError(f"The run cannot be read: {error}", where=str(folder), next_step=step)


def _is_cut_off(folder: Path) -> bool:
    return folder.name.endswith(INCOMPLETE)


def _document(folder: Path) -> dict[str, Any] | None:
    """run.json of a finished run of this version, else None; what is in an incomplete folder does not count."""
    if _is_cut_off(folder):
        return None
    try:
        content = (folder / "run.json").read_bytes()
        decode_manifest(content, Policy())
    except (OSError, ValueError, RecursionError):
        return None
    document: dict[str, Any] = json.loads(content)
    return document


def _recency(entry: RunEntry) -> tuple[str, str, str]:
    document = entry.document or {}
    return (str(document.get("finished_at", "")), str(document.get("as_of", "")), entry.folder.name)
