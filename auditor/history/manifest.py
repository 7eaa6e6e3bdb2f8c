"""run.json: who ran what, when, on which scope, with which policy and version; schema `auditor.run/1`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from auditor.model import (
    ControlId,
    Coverage,
    Exemption,
    Framework,
    JournalCopy,
    Limit,
    NotAuditedAccount,
    NotAuditedCode,
    Origin,
    Policy,
    RunManifest,
    Severity,
    SlowAccount,
    Summary,
)
from auditor.policy import clause_key, standing

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
        "frameworks": [_framework(framework, manifest.frameworks) for framework in manifest.policy.frameworks],
        "exemptions": [
            {
                **_exemption(exemption, manifest.as_of),
                "matched": manifest.exemptions.get(exemption.id, 0),
                "failing": manifest.failing.get(exemption.id, 0),
                "undecided": manifest.undecided.get(exemption.id, 0),
            }
            for exemption in manifest.policy.exemptions
        ],
        "excused": manifest.excused,
        "rules": dict(manifest.rules),
        "notes": list(manifest.notes),
        "journal": asdict(manifest.journal) if manifest.journal else None,
        "origin": asdict(manifest.origin) if manifest.origin else None,
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
            as_of=_instant(document["as_of"]),
            started_at=_instant(document["started_at"]),
            finished_at=_instant(document["finished_at"]),
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
            frameworks={
                entry["id"]: {
                    clause_key(clause["id"], ControlId(clause["control"])): dict(clause["verdicts"])
                    for clause in entry["clauses"]
                    if clause["control"]
                }
                for entry in document.get("frameworks", ())
            },
            exemptions={entry["id"]: int(entry["matched"]) for entry in document.get("exemptions", ())},
            failing={entry["id"]: int(entry.get("failing", 0)) for entry in document.get("exemptions", ())},
            undecided={entry["id"]: int(entry.get("undecided", 0)) for entry in document.get("exemptions", ())},
            excused=int(document.get("excused", 0)),
            rules={name: int(number) for name, number in document.get("rules", {}).items()},
            notes=tuple(document["notes"]),
            journal=JournalCopy(**document["journal"]) if document.get("journal") else None,
            origin=_origin(document["origin"]) if document.get("origin") else None,
            policy=policy,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a run of this version ({type(error).__name__}: {error})") from error


def _origin(said: Mapping[str, Any]) -> Origin:
    return Origin(**{**said, "command": tuple(said["command"])})


def _policy(policy: Policy) -> dict[str, Any]:
    """The thresholds for a reader; `load_run` takes them from policy.toml, which has them in full."""

    def limit(limit: Limit) -> dict[str, Any]:
        return {"days": limit.maximum / timedelta(days=1), "fails": limit.operator.value}

    return {
        "key_age": limit(policy.key_age),
        "key_unused": limit(policy.key_unused),
        "unused_grace_days": policy.unused_grace / timedelta(days=1),
        "max_active_keys": policy.max_active_keys,
        "rotation_overlap_days": policy.rotation_overlap / timedelta(days=1),
        "overlap_passes": policy.overlap_passes,
        "inactive_retained": limit(policy.inactive_retained),
        "service_credential_age": limit(policy.service_credential_age),
        "password_unused": limit(policy.password_unused),
        "switched_off": sorted(policy.switched_off),
        "limits": [
            {"id": rule.id, "control": rule.control.value, **limit(rule.limit), "reason": rule.reason}
            for rule in policy.limits
        ],
        "inactive_root_key_fails": policy.inactive_root_key_fails,
        "warning_days": policy.warning_window / timedelta(days=1),
        "severities": {control.value: severity.value for control, severity in policy.severities.items()},
        "owner_tags": list(policy.owner_tags),
    }


def _framework(framework: Framework, verdicts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Any]:
    counts = verdicts.get(framework.id, {})
    return {
        "id": framework.id,
        "title": framework.title,
        "edition": framework.edition,
        "clauses": [
            {
                "id": clause.id,
                "support": clause.support.value,
                "control": clause.criterion.control.value if clause.criterion else None,
                "verdicts": dict(counts.get(clause_key(clause.id, clause.criterion.control), {}))
                if clause.criterion
                else {},
            }
            for clause in framework.clauses
        ],
    }


def _exemption(exemption: Exemption, as_of: datetime) -> dict[str, Any]:
    return {
        "id": exemption.id,
        "control": exemption.control.value,
        "standing": standing(exemption, as_of).value,
        "expires_at": _text(exemption.expires_at),
        "approver": exemption.approver,
        "ticket": exemption.ticket,
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


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"the time {text} is of no zone")
    return at
