"""What came beside a credential report, as the JSON files that are kept with its bytes."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from auditor.aws.credential_report import FetchedReport
from auditor.model import LastUsed, ListedUser, LiveKey, NeverUsed, ReportMeta, UnknownUse, UsedAt, UserLookup


def encode_response(report: FetchedReport, meta: ReportMeta) -> bytes:
    """`response.json`: when the report was made and received, under which request, and its digest."""
    return _json(
        {
            "operation": "iam:GetCredentialReport",
            "generated_at": _time(report.generated_at),
            "received_at": _time(report.received_at),
            "request_id": report.request_id,
            "generate_states": list(report.states),
            "sha256": meta.sha256,
            "size": meta.size,
        }
    )


def encode_lookups(lookups: Mapping[str, UserLookup]) -> bytes:
    """`keys.json`: what the live look-ups of single users gave, failures included."""
    return _json({"users": [_lookup(lookup) for lookup in lookups.values()]})


def encode_listing(users: Iterable[ListedUser], received_at: datetime) -> bytes:
    """`listing.json`: the users as ListUsers gave them, where there is no credential report."""
    listed = [{"user": user.name, "arn": user.arn, "created_at": _time(user.created_at)} for user in users]
    return _json({"operation": "iam:ListUsers", "received_at": _time(received_at), "users": listed})


def _lookup(lookup: UserLookup) -> dict[str, Any]:
    return {
        "user": lookup.user,
        "exists": lookup.exists,
        "renamed_to": lookup.renamed_to,
        "failed": lookup.failed,
        "keys": [_key(key) for key in lookup.keys],
        "tags": dict(sorted(lookup.tags.items())),
        "tags_failed": lookup.tags_failed,
    }


def _key(key: LiveKey) -> dict[str, Any]:
    return {
        "access_key_id": key.access_key_id,
        "status": key.status.value,
        "created_at": _time(key.created_at),
        "last_used": _last_used(key.last_used),
    }


def _last_used(last_used: LastUsed) -> dict[str, Any]:
    match last_used:
        case UsedAt(at, service, region):
            return {"state": "used", "at": _time(at), "service": service, "region": region}
        case NeverUsed():
            return {"state": "never"}
        case UnknownUse(why):
            return {"state": "unknown", "why": why}
    assert_never(last_used)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
