"""run.json: who ran what, when, on which scope, with which policy and version; schema `auditor.run/1`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from auditor.model import (
    Coverage,
    Limit,
    NotAuditedAccount,
    NotAuditedCode,
    Policy,
    RunManifest,
    Severity,
    SlowAccount,
    Summary,
)

SCHEMA = "auditor.run/1"


def encode_manifest(manifest: RunManifest) -> bytes:
    """The manifest as JSON."""
    return json.dumps(manifest_document(manifest), indent=2, ensure_ascii=False).encode() + b"\n"


def manifest_document(manifest: RunManifest) -> dict[str, Any]:
    """The manifest as plain JSON values."""
    coverage, summary = manifest.coverage, manifest.summary
    return {
        "schema": SCHEMA,
        "id": manifest.id,
        "as_of": _text(manifest.as_of),
        "started_at": _text(manifest.started_at),
        "finished_at": _text(manifest.finished_at),
        "tool_version": manifest.tool_version,
        "caller_arn": manifest.caller_arn,
        "organisation": manifest.organisation,
        "scope": manifest.scope,
        "key_ids": manifest.key_ids,
        "fail_on": manifest.fail_on.value,
        "policy": _policy(manifest.policy),
        "coverage": {
            "accounts_in_scope": coverage.accounts_in_scope,
            "accounts_audited": coverage.accounts_audited,
            "users": coverage.users,
            "keys": coverage.keys,
            "not_audited": [_not_audited(account) for account in coverage.not_audited],
            "organisation_accounts": coverage.organisation_accounts,
            "left_out": coverage.left_out,
            "audited_in_part": coverage.audited_in_part,
        },
        "summary": {
            "compliant": summary.compliant,
            "non_compliant": summary.non_compliant,
            "exempt": summary.exempt,
            "not_applicable": summary.not_applicable,
            "unknown": summary.unknown,
            "compliance_rate": summary.compliance_rate,
            "rate_lower": summary.rate_lower,
            "rate_upper": summary.rate_upper,
            "verdicts": {control: dict(counts) for control, counts in summary.verdicts.items()},
        },
        "calls": dict(sorted(manifest.calls.items())),
        "throttles": manifest.throttles,
        "retries": manifest.retries,
        "slowest": [asdict(account) for account in manifest.slowest],
        "notes": list(manifest.notes),
    }


def decode_manifest(content: bytes, policy: Policy) -> RunManifest:
    """The manifest of a stored run.

    Raises:
        ValueError: not this schema, or a field is missing or of another kind.
    """
    try:
        document: Mapping[str, Any] = json.loads(content)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}; this version reads {SCHEMA}")
        rates = [document["summary"][name] for name in ("compliance_rate", "rate_lower", "rate_upper")]
        if not all(rate is None or isinstance(rate, int | float) for rate in rates):
            raise ValueError("a rate that is no number")
        coverage = dict(document["coverage"])
        coverage["not_audited"] = tuple(
            NotAuditedAccount(**{**entry, "code": NotAuditedCode(entry["code"])}) for entry in coverage["not_audited"]
        )
        return RunManifest(
            id=str(document["id"]),
            as_of=datetime.fromisoformat(document["as_of"]),
            started_at=datetime.fromisoformat(document["started_at"]),
            finished_at=datetime.fromisoformat(document["finished_at"]),
            tool_version=str(document["tool_version"]),
            caller_arn=document["caller_arn"],
            organisation=str(document["organisation"]),
            scope=str(document["scope"]),
            key_ids=str(document["key_ids"]),
            fail_on=Severity(document["fail_on"]),
            coverage=Coverage(**coverage),
            summary=Summary(**document["summary"]),
            calls=dict(document["calls"]),
            throttles=int(document["throttles"]),
            retries=int(document["retries"]),
            slowest=tuple(SlowAccount(**account) for account in document["slowest"]),
            notes=tuple(document["notes"]),
            policy=policy,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a run of this version ({type(error).__name__}: {error})") from error


def _policy(policy: Policy) -> dict[str, Any]:
    """The thresholds for a reader; `load_run` takes them from policy.toml, which has them in full."""

    def limit(limit: Limit) -> dict[str, Any]:
        return {"days": limit.maximum / timedelta(days=1), "fails": limit.operator.value}

    return {
        "key_age": limit(policy.key_age),
        "key_unused": limit(policy.key_unused),
        "unused_grace_days": policy.unused_grace / timedelta(days=1),
        "max_active_keys": policy.max_active_keys,
        "inactive_root_key_fails": policy.inactive_root_key_fails,
        "warning_days": policy.warning_window / timedelta(days=1),
        "severities": {control.value: severity.value for control, severity in policy.severities.items()},
        "owner_tags": list(policy.owner_tags),
    }


def _not_audited(account: NotAuditedAccount) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "account_name": account.account_name,
        "code": account.code.value,
        "reason": account.reason,
        "next_step": account.next_step,
    }


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
