"""findings.asff.json: findings in the AWS Security Finding Format, as BatchImportFindings of Security Hub takes them.

Limits are those of the API's reference (AwsSecurityFinding); what is cut for them ends in an ellipsis. Workflow, Note,
UserDefinedFields and VerificationState belong to those who work on the findings, and are never written. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.formats import words
from auditor.formats.findings_csv import cell_text
from auditor.formats.json_text import json_lines
from auditor.formats.listed import Listed, each_listed, is_root
from auditor.formats.plain_text import cut, cut_name
from auditor.formats.view import ReportView
from auditor.model import KeyStatus, Outcome, RunManifest

SCHEMA_VERSION = "2018-10-08"

MOST: Mapping[str, int] = {
    "Id": 512,
    "Title": 256,
    "Description": 1024,
    "Recommendation": 512,
    "ProductFields": 2048,
    "RelatedRequirements": 32,
    "Requirement": 64,
    "Resource": 512,
}
"""Characters, and for RelatedRequirements how many; a requirement and a resource's id have no documented limit."""

HOME_REGIONS: Mapping[str, str] = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""Where a partition has IAM's control plane; us-east-1 for all others. Security Hub files what is global there."""

_STATUS: Mapping[Outcome, str] = {
    Outcome.NON_COMPLIANT: "FAILED",
    Outcome.EXEMPT: "FAILED",
    Outcome.UNKNOWN: "WARNING",
}
"""WARNING: "some information is missing" (Compliance.Status). What is exempt failed all the same."""

_PRACTICE = "Software and Configuration Checks/AWS Security Best Practices"
_STANDARD = "Software and Configuration Checks/Industry and Regulatory Standards"


def render_asff(view: ReportView) -> bytes:
    """A JSON array with a finding a line, in the order of findings.json, accounts that were not audited first."""
    return json_lines((_finding(one, view.manifest) for one in each_listed(view)), levels=1)


def _finding(one: Listed, run: RunManifest) -> dict[str, Any]:
    region = HOME_REGIONS.get(one.partition, "us-east-1")
    provided = {
        "Severity": {"Label": one.severity.value.upper(), "Original": one.severity.value},
        "Types": [*([_PRACTICE] if one.by_policy else []), *([_STANDARD] if one.requirements else [])],
    }
    recommendation = {"Text": cut(one.remedy, MOST["Recommendation"])}
    if one.documentation is not None:
        recommendation["Url"] = one.documentation
    return {
        "SchemaVersion": SCHEMA_VERSION,
        "Id": cut_name(one.uid, MOST["Id"]),
        "ProductArn": f"arn:{one.partition}:securityhub:{region}:{one.account_id}:product/{one.account_id}/default",
        "ProductName": "auditor",
        "GeneratorId": f"auditor/{one.control}",
        "AwsAccountId": one.account_id,
        "CreatedAt": words.instant(run.as_of),
        "UpdatedAt": words.instant(run.as_of),
        **provided,
        "Title": cut(one.title, MOST["Title"]),
        "Description": _description(one),
        "Remediation": {"Recommendation": recommendation},
        "ProductFields": dict(_product_fields(one, run)),
        "Resources": list(_resources(one)),
        "Compliance": _compliance(one),
        "RecordState": "ACTIVE",
        # A later import changes severity and types only by this.
        "FindingProviderFields": provided,
    }


def _compliance(one: Listed) -> dict[str, Any]:
    reason = {"ReasonCode": one.outcome.value.upper(), "Description": _description(one)}
    said = {"Status": _STATUS[one.outcome], "StatusReasons": [reason]}
    names = [cut(requirement.name, MOST["Requirement"]) for requirement in one.requirements]
    most = MOST["RelatedRequirements"]
    if len(names) > most:
        names = [*names[: most - 1], f"and {len(names) - most + 1} more"]
    return said | ({"RelatedRequirements": names} if names else {})


def _description(one: Listed) -> str:
    """Why; the title where that is blank, which Security Hub refuses."""
    return cut(one.reason if one.reason.strip() else one.title, MOST["Description"])


def _product_fields(one: Listed, run: RunManifest) -> Iterator[tuple[str, str]]:
    """The fields of findings.json as text, the run, and what excuses the finding."""
    values = {"outcome": one.outcome.value, **{name: cell_text(value) for name, value in one.fields.items()}}
    if one.exemption:
        excuse = one.exemption
        values |= {
            "exemption_reason": excuse.reason,
            "exemption_owner": excuse.owner,
            "exemption_approver": excuse.approver,
            "exemption_ticket": excuse.ticket,
            "exemption_expires_at": words.instant(excuse.expires_at),
        }
    values |= {"run_id": run.id, "tool_version": run.tool_version}
    for name, value in values.items():
        if value.strip():
            yield f"auditor/{name}", cut(value, MOST["ProductFields"])


def _resources(one: Listed) -> Iterator[dict[str, Any]]:
    """The key or credential, and the user; the account where it is judged as a whole."""
    finding = one.finding
    if finding and finding.key:
        yield _credential(one) if finding.credential_id else _key(one)
    if finding and not is_root(finding):
        path = finding.user_arn.partition(":user")[2].removesuffix(finding.user)
        user = {"UserName": finding.user, **({"Path": path} if path.strip() else {})}
        yield _resource(one, "AwsIamUser", finding.user_arn, user)
    else:
        yield _resource(one, "AwsAccount", f"AWS::::Account:{one.account_id}", {})


def _key(one: Listed) -> dict[str, Any]:
    finding = one.finding
    assert finding is not None
    details: dict[str, str] = {
        "PrincipalType": "AccountRoot" if is_root(finding) else "IAMUser",
        "PrincipalName": finding.user,
        "AccountId": one.account_id,
    }
    if finding.access_key_id:
        details["AccessKeyId"] = finding.access_key_id
    if finding.created_at:
        details["CreatedAt"] = words.instant(finding.created_at)
    if finding.key_status in {KeyStatus.ACTIVE, KeyStatus.INACTIVE}:
        details["Status"] = str(finding.key_status)
    return _resource(one, "AwsIamAccessKey", f"AWS::IAM::AccessKey:{one.key_uid}", details)


def _credential(one: Listed) -> dict[str, Any]:
    told = {"credential_id": "CredentialId", "service": "Service", "key_status": "Status", "created_at": "CreatedAt"}
    details = {shown: cell_text(one.fields[name]) for name, shown in told.items() if name in one.fields}
    return _resource(one, "Other", f"AWS::IAM::ServiceSpecificCredential:{one.key_uid}", details)


def _resource(one: Listed, kind: str, uid: str, details: Mapping[str, str]) -> dict[str, Any]:
    said = {"Type": kind, "Id": cut_name(uid, MOST["Resource"]), "Partition": one.partition}
    kept = {name: value for name, value in details.items() if value.strip()}
    return {**said, **({"Details": {kind: kept}} if kept else {})}
