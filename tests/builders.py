"""Small worlds for tests: users and keys in a line each."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from auditor.config import Config, effective_toml
from auditor.history import RunWriter, load_run, write_part
from auditor.inventory import build_snapshot
from auditor.model import (
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    CredentialReport,
    KeyStatus,
    LastUsed,
    LiveKey,
    NeverUsed,
    NotAudited,
    NotAuditedCode,
    ReportKey,
    ReportMeta,
    ReportUser,
    RunManifest,
    Source,
    UsedAt,
    UserLookup,
)
from auditor.tables import Run, Snapshot

AS_OF = datetime(2026, 11, 22, 19, 0, 0, tzinfo=UTC)
TERMS = effective_toml(Config())
"""The configuration that runs of tests are written with, as a run keeps it."""

ACCOUNT = "111122223333"
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def ago(days: float = 0, seconds: float = 0) -> datetime:
    """An instant before AS_OF."""
    return AS_OF - timedelta(days=days, seconds=seconds)


def used(days: float) -> UsedAt:
    """A use so many days before AS_OF."""
    return UsedAt(ago(days), "s3", "eu-central-1")


def report_key(
    created_at: datetime | None, last_used: LastUsed | None = None, *, slot: int = 1, active: bool = True
) -> ReportKey:
    """A key in a slot of the credential report; never used unless said otherwise."""
    status = KeyStatus.ACTIVE if active else KeyStatus.INACTIVE
    return ReportKey(slot, status, created_at, last_used or NeverUsed())


def live_key(key_id: str, created_at: datetime, last_used: LastUsed | None = None, *, active: bool = True) -> LiveKey:
    """A key as ListAccessKeys shows it."""
    status = KeyStatus.ACTIVE if active else KeyStatus.INACTIVE
    return LiveKey(key_id, status, created_at, last_used or NeverUsed())


def report_user(name: str, *keys: ReportKey, account: str = ACCOUNT, additional: str | None = None) -> ReportUser:
    """A row of the credential report."""
    resource = "root" if name == ROOT_USER else f"user/{name}"
    arn = f"arn:aws:iam::{account}:{resource}"
    return ReportUser(name, arn, ago(2000), keys, additional_credentials=additional)


def root(*keys: ReportKey, account: str = ACCOUNT) -> ReportUser:
    """The root row."""
    return report_user(ROOT_USER, *keys, account=account)


def account_result(  # noqa: PLR0913 - every part has a default
    *users: ReportUser,
    lookups: Mapping[str, UserLookup] | None = None,
    account: str = ACCOUNT,
    source: Source = Source.CREDENTIAL_REPORT,
    generated_at: datetime | None = AS_OF,
    column: bool = True,
    with_root: bool = True,
) -> AccountResult:
    """An audited account with a root row without keys, unless one is given."""
    rows = users if not with_root or any(user.is_root for user in users) else (root(account=account), *users)
    report = CredentialReport(account, "aws", tuple(rows), has_additional_column=column)
    meta = ReportMeta(generated_at, AS_OF, "0" * 64, 1)
    return AccountResult(Account(account), AccountFacts(source, report, meta, lookups=dict(lookups or {})))


def refused(account: str = "444455556666") -> AccountResult:
    """An account that could not be audited."""
    why = NotAudited(NotAuditedCode.ROLE_REFUSED, "The role could not be assumed.", "Check the role.")
    return AccountResult(Account(account, "refused"), why)


def snapshot(*results: AccountResult) -> Snapshot:
    """The tables of these accounts."""
    return build_snapshot(results, owner_tags=("owner",))


def archive(output: Path, manifest: RunManifest, facts: Snapshot, findings: pd.DataFrame) -> Path:
    """The folder of a run with these tables, written as the pipeline does, under the default policy."""
    writer = RunWriter(output, manifest.as_of, TERMS)
    writer.answers.save("111122223333", "credential-report.csv", b"user,arn\r\n\xff")
    write_part(writer.folder, 0, facts, findings)
    writer.complete(manifest, parts=1)
    return writer.finish(manifest.id, {"findings.json": b"{}\n"})


def run_of(manifest: RunManifest, facts: Snapshot, findings: pd.DataFrame) -> Run:
    """What reports get of a run with these tables, whatever its policy."""
    with TemporaryDirectory() as output:
        return replace(load_run(archive(Path(output), manifest, facts, findings)), manifest=manifest)


def facts_of(users: Iterable[ReportUser]) -> Snapshot:
    """The tables of one account with these users."""
    return snapshot(account_result(*users))
