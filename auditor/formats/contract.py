"""The contract's fields of a finding (`auditor.findings/1`), mapped by hand once for every machine-readable format."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from auditor.formats import words
from auditor.formats.view import FindingView

SCHEMA = "auditor.findings/1"
"""Fields may be added to this schema, never changed or removed."""

Field = str | int | list[str] | None

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
)
"""The fields in their order, which is that of CSV columns too: a new one goes to the end."""

_NOT_YET: Mapping[str, Field] = MappingProxyType({"exemption": None, "frameworks": []})
"""Fields of the contract that no run has a value for."""


def finding_fields(finding: FindingView) -> dict[str, Field]:
    """A finding as the contract shows it: times are RFC 3339 with `Z`, account ids strings, missing values None."""
    return {name: _field(finding, name) for name in FINDING_FIELDS}


def _field(finding: FindingView, name: str) -> Field:
    if name in _NOT_YET:
        return _NOT_YET[name]
    value: datetime | Field = getattr(finding, name)
    return words.instant(value) if isinstance(value, datetime) else value
