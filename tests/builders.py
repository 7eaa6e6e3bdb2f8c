"""Small worlds for tests: users and keys in a line each."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from auditor.config import Config, effective_toml
from auditor.history import RunWriter, load_run, write_part
from auditor.inventory import build_snapshot
from auditor.model import (
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    ControlId,
    CredentialReport,
    KeyStatus,
    LastUsed,
    Limit,
    LiveKey,
    NeverUsed,
    NotAudited,
    NotAuditedCode,
    Operator,
    Policy,
    Quarantine,
    ReportKey,
    ReportMeta,
    ReportUser,
    RunManifest,
    ServiceCredential,
    ServiceCredentials,
    Source,
    UsedAt,
    UserLookup,
)
from auditor.policy import evaluate, with_owners
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


def report_user(  # noqa: PLR0913 - every part has a default
    name: str,
    *keys: ReportKey,
    account: str = ACCOUNT,
    additional: str | None = None,
    path: str = "/",
    created_at: datetime | None = None,
    password: bool | None = False,
    password_used: LastUsed | None = None,
    password_changed: datetime | None = None,
    mfa: bool | None = None,
) -> ReportUser:
    """A row of the credential report: a machine that was created long ago, unless said otherwise."""
    is_root = name == ROOT_USER
    resource = "root" if is_root else f"user{path}{name}"
    arn = f"arn:aws:iam::{account}:{resource}"
    return ReportUser(
        name,
        arn,
        created_at or ago(2000),
        keys,
        password_enabled=None if is_root else password,
        password_last_used=password_used or NeverUsed(),
        password_changed_at=password_changed,
        mfa_active=mfa,
        additional_credentials=additional,
    )


def looked_up(
    user: ReportUser,
    tags: Mapping[str, str] | None = None,
    *,
    failed: str | None = None,
    tags_failed: str | None = None,
) -> UserLookup:
    """The look-up of a user that confirms the report's keys and gives them ids, or that failed."""
    if failed is not None:
        return UserLookup(user.name, failed=failed)
    number = int(user.arn.split(":")[4])
    keys = tuple(
        LiveKey(f"AKIA{number % 1000:03}{user.name.upper()}{key.slot}", key.status, key.created_at, key.last_used)
        for key in user.keys
        if key.created_at
    )
    return UserLookup(user.name, keys, tags=tags or {}, tags_failed=tags_failed)


def service_credential(
    user: str, created_at: datetime, expires_at: datetime | None = None, *, active: bool = True, name: str = "ACCA1"
) -> ServiceCredential:
    """A service-specific credential; of Amazon Bedrock."""
    status = KeyStatus.ACTIVE if active else KeyStatus.INACTIVE
    return ServiceCredential(name, user, "bedrock.amazonaws.com", status, created_at, expires_at)


def root(*keys: ReportKey, account: str = ACCOUNT) -> ReportUser:
    """The root row."""
    return report_user(ROOT_USER, *keys, account=account)


NOBODY, NOTHING = Quarantine(), ServiceCredentials()
"""What AWS says of an account without users in quarantine, and without service-specific credentials."""


def account_result(  # noqa: PLR0913 - every part has a default
    *users: ReportUser,
    lookups: Mapping[str, UserLookup] | None = None,
    account: str = ACCOUNT,
    source: Source = Source.CREDENTIAL_REPORT,
    generated_at: datetime | None = AS_OF,
    column: bool = True,
    with_root: bool = True,
    units: tuple[str, ...] | None = None,
    unit_names: tuple[str, ...] | None = None,
    quarantine: Quarantine | None = NOBODY,
    service_credentials: ServiceCredentials | None = NOTHING,
) -> AccountResult:
    """An audited account with a root row without keys, unless one is given."""
    rows = users if not with_root or any(user.is_root for user in users) else (root(account=account), *users)
    report = CredentialReport(account, "aws", tuple(rows), has_additional_column=column)
    meta = ReportMeta(generated_at, AS_OF, "0" * 64, 1)
    facts = AccountFacts(
        source,
        report,
        meta,
        lookups=dict(lookups or {}),
        quarantine=quarantine,
        service_credentials=service_credentials,
    )
    return AccountResult(Account(account, units=units, unit_names=unit_names), facts)


def refused(account: str = "444455556666") -> AccountResult:
    """An account that could not be audited."""
    why = NotAudited(NotAuditedCode.ROLE_REFUSED, "The role could not be assumed.", "Check the role.")
    return AccountResult(Account(account, "refused"), why)


def snapshot(*results: AccountResult) -> Snapshot:
    """The tables of these accounts."""
    return with_owners(build_snapshot(results), Policy(owner_tags=("owner",)))


def archive(output: Path, manifest: RunManifest, facts: Snapshot, findings: pd.DataFrame) -> Path:
    """The folder of a run with these tables, written as the pipeline does, under the default policy."""
    writer = RunWriter(output, manifest.as_of, TERMS)
    writer.answers.save("111122223333", "credential-report.csv", b"user,arn\r\n\xff")
    write_part(writer.folder, 0, facts, findings)
    writer.complete(manifest, 1, {})
    return writer.finish(manifest.id, {"findings.json": b"{}\n"})


def run_of(manifest: RunManifest, facts: Snapshot, findings: pd.DataFrame) -> Run:
    """What reports get of a run with these tables, whatever its policy."""
    with TemporaryDirectory() as output:
        return replace(load_run(archive(Path(output), manifest, facts, findings)), manifest=manifest)


def seen_inactive_since(facts: Snapshot, since: datetime) -> Snapshot:
    """The same tables, in which every inactive key was first seen so at this instant."""
    column = facts.keys["inactive_since"].mask(facts.keys["key_status"].eq(KeyStatus.INACTIVE.value), since)
    return replace(facts, keys=facts.keys.assign(inactive_since=column.astype("datetime64[us, UTC]")))


def facts_of(users: Iterable[ReportUser]) -> Snapshot:
    """The tables of one account with these users."""
    return snapshot(account_result(*users))


def judged(facts: Snapshot, control: ControlId, policy: Policy | None = None) -> list[dict[str, Any]]:
    """The verdicts of a control, in their order."""
    findings = evaluate(facts, policy or Policy(), AS_OF)
    rows = findings[findings["control"].eq(control.value)]
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def verdict_on(
    facts: Snapshot, control: ControlId, policy: Policy | None = None, user: str = "ann"
) -> Mapping[str, Any]:
    """The one verdict of a control on a user, or on the user's only key or credential."""
    found = [verdict for verdict in judged(facts, control, policy) if verdict["user"] == user]
    assert len(found) == 1
    return found[0]


def days(number: float, operator: Operator) -> Limit:
    """A limit of so many days."""
    return Limit(timedelta(days=number), operator)
