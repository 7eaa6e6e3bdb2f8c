"""Reading runs: by id, by path, or the latest; listing what there is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.config import policy_from_toml
from auditor.errors import AuditorError, OutputError, UsageError
from auditor.history.archive import INCOMPLETE
from auditor.history.manifest import SCHEMA, decode_manifest
from auditor.history.parquet import read_parquet
from auditor.tables import ACCOUNTS, AGES, FINDINGS, VERDICTS, Run

LATEST = "latest"

LISTED = """
    SELECT * FROM rows WHERE outcome IN ('non_compliant', 'unknown', 'exempt')
    OR (outcome = 'compliant' AND due_at <= TIMESTAMPTZ '{horizon}')
"""
COUNTED = "SELECT account_id, outcome, count(*) AS verdicts FROM rows GROUP BY ALL ORDER BY ALL"
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
    if not output.is_dir():
        return ()
    folders = [folder for folder in output.iterdir() if folder.is_dir()]
    entries = [RunEntry(folder, _document(folder)) for folder in folders]
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


def load_run(folder: Path) -> Run:
    """A stored run as reports need it; also one whose folder is still called incomplete.

    Raises:
        OutputError: a file is missing or was changed into something that is no run.
    """
    try:
        policy = policy_from_toml((folder / "policy.toml").read_text(encoding="utf-8"))
        manifest = decode_manifest((folder / "run.json").read_bytes(), policy)
        tables = folder / "tables"
        findings = tables / "findings.parquet"
        as_of, horizon = manifest.as_of.isoformat(), (manifest.as_of + policy.warning_window).isoformat()
        return Run(
            manifest,
            accounts=read_parquet(tables / "accounts.parquet", ACCOUNTS),
            findings=read_parquet(findings, FINDINGS, LISTED.format(horizon=horizon)),
            verdicts=read_parquet(findings, VERDICTS, COUNTED),
            ages=read_parquet(tables / "keys.parquet", AGES, AGED.format(as_of=as_of)),
        )
    except (OSError, ValueError, AuditorError) as error:
        what = f"The run cannot be read: {error}"
        step = "Restore the folder from its archive, or make the run again."
        raise OutputError(what, where=str(folder), next_step=step) from error


def _is_cut_off(folder: Path) -> bool:
    return folder.name.endswith(INCOMPLETE)


def _document(folder: Path) -> dict[str, Any] | None:
    """run.json of a finished run of this version, else None; what is in an incomplete folder does not count."""
    if _is_cut_off(folder):
        return None
    try:
        document: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
        return document if document["schema"] == SCHEMA and document["summary"] and document["coverage"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _recency(entry: RunEntry) -> tuple[str, str, str]:
    document = entry.document or {}
    return (str(document.get("finished_at", "")), str(document.get("as_of", "")), entry.folder.name)
