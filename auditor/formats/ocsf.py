"""findings.ocsf.jsonl: Compliance Findings of the Open Cybersecurity Schema Framework (class 2003), one a line. Pure.

What the schema has no name for stands under `unmapped.auditor`, by the names of findings.json; docs/machine-formats.md
has the table. A status of the finding is what people did about it; whether the check passed is `compliance.status_id`.
"""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.formats.listed import Listed, each_listed, is_root
from auditor.formats.plain_text import visible
from auditor.formats.view import ReportView
from auditor.model import Outcome, RunManifest, Severity

OCSF_VERSION = "1.5.0"

_CLASS = 2003
_CREATE = 1
_AWS_ACCOUNT = 10
_RULE = 1

_SEVERITIES: Mapping[Severity, tuple[int, str]] = {
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}

_COMPLIANCE: Mapping[Outcome, tuple[int, str]] = {
    Outcome.NON_COMPLIANT: (3, "Fail"),
    Outcome.EXEMPT: (3, "Fail"),
    Outcome.UNKNOWN: (2, "Warning"),
}
"""Warning: "the compliance check did not yield a result due to missing information" (OCSF, compliance object)."""

_STATUS: Mapping[Outcome, tuple[int, str]] = {
    Outcome.NON_COMPLIANT: (1, "New"),
    Outcome.EXEMPT: (3, "Suppressed"),
    Outcome.UNKNOWN: (1, "New"),
}

_KEY_DATA = ("key_status", "created_at", "last_used_at", "slot", "owner", "description", "service")

OWN_STANDARD = "Policy of the company"
"""The standard of what the company's own policy asks."""


def render_ocsf(view: ReportView) -> bytes:
    """One JSON object a line, in UTF-8 and in the order of findings.json, accounts that were not audited first."""
    target = io.BytesIO()
    for one in each_listed(view):
        line = json.dumps(_event(one, view.manifest), ensure_ascii=False, allow_nan=False)
        target.write(f"{line}\n".encode())
    return target.getvalue()


def _event(one: Listed, run: RunManifest) -> dict[str, Any]:
    status_id, status = _STATUS[one.outcome]
    severity_id, severity = _SEVERITIES[one.severity]
    return {
        "activity_id": _CREATE,
        "activity_name": "Create",
        "category_uid": _CLASS // 1000,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Compliance Finding",
        "type_uid": _CLASS * 100 + _CREATE,
        "type_name": "Compliance Finding: Create",
        "time": _milliseconds(run),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_code": one.outcome.value,
        "status_detail": one.reason,
        "message": one.title,
        "metadata": _metadata(one, run),
        "finding_info": _information(one, run),
        "compliance": _compliance(one),
        "cloud": _cloud(one, run),
        "resources": list(_resources(one)),
        "remediation": {"desc": one.remedy}
        | ({"references": [one.documentation]} if one.documentation is not None else {}),
        "unmapped": {"auditor": dict(one.fields)},
    }


def _milliseconds(run: RunManifest) -> int:
    return int(run.as_of.timestamp()) * 1000


def _metadata(one: Listed, run: RunManifest) -> dict[str, Any]:
    return {
        "version": OCSF_VERSION,
        "profiles": ["cloud"],
        "product": {"name": "auditor", "vendor_name": "auditor", "version": run.tool_version},
        "correlation_uid": run.id,
        "event_code": one.control,
    }


def _information(one: Listed, run: RunManifest) -> dict[str, Any]:
    return {
        "uid": one.uid,
        "title": one.title,
        "desc": one.reason,
        "created_time": _milliseconds(run),
        "analytic": {"name": one.control_title, "uid": one.control, "type_id": _RULE, "type": "Rule"},
    }


def _compliance(one: Listed) -> dict[str, Any]:
    status_id, status = _COMPLIANCE[one.outcome]
    own = [OWN_STANDARD] if one.by_policy else []
    return {
        "control": one.control,
        "desc": one.control_title,
        "standards": list(dict.fromkeys([*own, *(requirement.standard for requirement in one.requirements)])),
        "requirements": [requirement.name for requirement in one.requirements],
        "status_id": status_id,
        "status": status,
        "status_code": one.outcome.value,
    }


def _cloud(one: Listed, run: RunManifest) -> dict[str, Any]:
    account = {
        "uid": one.account_id,
        "name": one.account_name or one.account_id,
        "type_id": _AWS_ACCOUNT,
        "type": "AWS Account",
    }
    organisation = {"org": {"name": visible(run.organisation)}} if run.organisation else {}
    return {"provider": "AWS", "account": account, **organisation}


def _resources(one: Listed) -> Iterator[dict[str, Any]]:
    """The key or credential, and the user; the account where it is judged as a whole."""
    place = {"cloud_partition": one.partition}
    finding = one.finding
    if finding and finding.key:
        kind = "AWS::IAM::ServiceSpecificCredential" if finding.credential_id else "AWS::IAM::AccessKey"
        data = {name: one.fields[name] for name in _KEY_DATA if name in one.fields}
        yield {"uid": one.key_uid, "name": finding.key, "type": kind, **place, "data": data}
    if finding and not is_root(finding):
        yield {"uid": finding.user_arn, "name": finding.user, "type": "AWS::IAM::User", **place}
    else:
        account = {"uid": one.account_arn, "name": one.account_name or one.account_id, "type": "AWS::::Account"}
        yield {**account, **place}
