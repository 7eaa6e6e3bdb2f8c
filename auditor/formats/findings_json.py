"""findings.json: what programs read. Its schema is a contract of its own, mapped by hand from the view model.

Times are RFC 3339 with `Z`, account ids are strings, rates are fractions of 1; docs/findings.schema.json describes it.
"""

import io
import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from auditor.formats import words
from auditor.formats.actions import RemediationView
from auditor.formats.contract import SCHEMA, exemptions_of, finding_fields
from auditor.formats.standing import ExemptionView, FrameworkView
from auditor.formats.view import AccountView, ReportView
from auditor.model import NotAuditedAccount, RunManifest


def render_findings_json(view: ReportView) -> bytes:
    """The findings as JSON in UTF-8: indented, in stable order, ending in a newline.

    Listed are findings that are non-compliant, exempt or unknown, and under `due_soon` those that comply and will not
    within the policy's warning window.
    """
    exemptions = exemptions_of(view)
    content = {
        "schema": SCHEMA,
        "run": _run(view.manifest),
        "coverage": _coverage(view),
        "summary": asdict(view.manifest.summary),
        "findings": [finding_fields(finding, exemptions) for finding in view.findings],
        "due_soon": [finding_fields(finding, exemptions) for finding in view.due_soon],
        "frameworks": [_framework(framework) for framework in view.frameworks],
        "exemptions": [_exemption(exemption) for exemption in view.exemptions],
        "owners": [asdict(owner) for owner in view.owners],
        "forecast": {
            "days": list(view.forecast.horizons),
            "by_control": {row.label: list(row.within) for row in view.forecast.by_control},
            "by_owner": {row.label: list(row.within) for row in view.forecast.by_owner},
            "total": view.forecast.total,
            "upcoming": [finding_fields(finding, exemptions) for finding in view.upcoming],
        },
        "remediation": _remediation(view.remediation) if view.remediation else None,
    }
    encoder = json.JSONEncoder(ensure_ascii=False, indent=2, allow_nan=False)
    target = io.BytesIO()
    for piece in encoder.iterencode(content):  # all pieces at once take five times what they are written as
        # A lone surrogate has no UTF-8; Python's escape of one is JSON's, so the name survives.
        target.write(piece.encode("utf-8", "backslashreplace"))
    target.write(b"\n")
    return target.getvalue()


def _run(manifest: RunManifest) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "as_of": words.instant(manifest.as_of),
        "tool_version": manifest.tool_version,
        "caller_arn": manifest.caller_arn,
        "organisation": manifest.organisation,
        "scope": manifest.scope,
    }


def _remediation(remediation: RemediationView) -> dict[str, Any]:
    return {
        "journal": {"rows": remediation.rows, "head": remediation.head, "problem": remediation.problem},
        "days": remediation.days,
        "earlier": remediation.earlier,
        "actions": [_plain(asdict(action)) for action in remediation.actions],
        "pending": [_plain(asdict(item)) for item in remediation.pending],
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: words.instant(value) if isinstance(value, datetime) else value for name, value in record.items()}


def _coverage(view: ReportView) -> dict[str, Any]:
    coverage = view.manifest.coverage
    return {
        "accounts_in_scope": coverage.accounts_in_scope,
        "accounts_audited": coverage.accounts_audited,
        "not_audited": [_not_audited(account) for account in view.not_audited],
        "users": coverage.users,
        "keys": coverage.keys,
        "accounts": [_account(account) for account in view.accounts],
    }


def _framework(framework: FrameworkView) -> dict[str, Any]:
    return {
        "id": framework.id,
        "title": framework.title,
        "edition": framework.edition,
        "clauses": [
            {name: value for name, value in asdict(clause).items() if name not in {"counts", "tone"}}
            | {"counts": dict(clause.counts)}
            for clause in framework.clauses
        ],
    }


def _exemption(exemption: ExemptionView) -> dict[str, Any]:
    times = {name: words.instant(getattr(exemption, name)) for name in ("starts_at", "expires_at")}
    return {name: value for name, value in (asdict(exemption) | times).items() if name != "tone"}


def _not_audited(account: NotAuditedAccount) -> dict[str, str | None]:
    return {
        "account_id": account.account_id,
        "account_name": account.account_name,
        "reason": account.reason,
        "code": account.code.value,
        "next_step": account.next_step,
    }


def _account(account: AccountView) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "account_name": account.account_name,
        "source": account.source.value,
        "generated_at": words.instant(account.generated_at) if account.generated_at else None,
        "users": account.users,
        "keys": account.keys,
        "notes": list(account.notes),
    }
