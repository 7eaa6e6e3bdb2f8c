"""The contract's fields of a finding (`auditor.findings/1`), mapped by hand once for every machine-readable format."""

from collections.abc import Mapping
from datetime import datetime

from auditor.formats import words
from auditor.formats.standing import ExemptionView
from auditor.formats.view import FindingView, ReportView

SCHEMA = "auditor.findings/1"
"""Fields may be added to this schema, never changed or removed."""

Field = str | int | bool | list[dict[str, str]] | dict[str, str | None] | None

FINDING_FIELDS = (
    "account_id",
    "account_name",
    "user",
    "user_arn",
    "slot",
    "access_key_id",
    "key_status",
    "created_at",
    "age_days",
    "last_used_at",
    "last_used_service",
    "last_used_region",
    "control",
    "severity",
    "outcome",
    "reason",
    "due_at",
    "owner",
    "exemption",
    "frameworks",
    "last_used_state",
    "description",
    "owner_source",
    "by_policy",
    "limit",
    "rotation_since",
    "credential_id",
    "service",
)
"""The fields in their order, which is that of CSV columns too: a new one goes to the end."""

Exemptions = Mapping[str, ExemptionView]
"""The run's exemptions by id."""


def finding_fields(finding: FindingView, exemptions: Exemptions) -> dict[str, Field]:
    """A finding as the contract shows it: times are RFC 3339 with `Z`, account ids strings, missing values None."""
    return {name: _field(finding, name, exemptions) for name in FINDING_FIELDS}


def exemptions_of(view: ReportView) -> Exemptions:
    """The exemptions that findings name."""
    return {exemption.id: exemption for exemption in view.exemptions}


def _field(finding: FindingView, name: str, exemptions: Exemptions) -> Field:
    if name == "frameworks":
        return [{"framework": framework, "clause": clause} for framework, clause in finding.clauses]
    if name == "exemption":
        return _exemption(exemptions[finding.exemption]) if finding.exemption else None
    value: datetime | Field = getattr(finding, name)
    return words.instant(value) if isinstance(value, datetime) else value


def _exemption(exemption: ExemptionView) -> dict[str, str | None]:
    return {
        "id": exemption.id,
        "reason": exemption.reason,
        "owner": exemption.owner,
        "approver": exemption.approver,
        "ticket": exemption.ticket,
        "starts_at": words.instant(exemption.starts_at),
        "expires_at": words.instant(exemption.expires_at),
    }
