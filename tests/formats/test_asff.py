"""findings.asff.json: what BatchImportFindings of AWS Security Hub takes, and nothing that is not ours to say."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from auditor.formats.asff import render_asff
from auditor.formats.plain_text import cut, cut_name, visible
from auditor.formats.view import ReportView
from tests.formats.machine import RUNS, named, outcomes_of, texts_of, view_of
from tests.formats.sample_run import FORMULA_USER, SCRIPT_NAME

TEXTS = {"Id": 512, "ProductArn": 2048, "ProductName": 64, "GeneratorId": 512, "Title": 256, "Description": 1024}
"""Lengths by the API's reference, AwsSecurityFinding."""

NOT_OURS = {"Workflow", "WorkflowState", "Note", "UserDefinedFields", "VerificationState"}
"""What those who work on the findings write."""


def findings_of(view: ReportView) -> list[Any]:
    content: list[Any] = json.loads(render_asff(view))
    return content


@cache
def shape() -> Any:
    model = botocore.session.get_session().get_service_model("securityhub")
    return model.operation_model("BatchImportFindings").input_shape


def problems(findings: list[Any]) -> str:
    """What AWS's own model of the call has against these findings, and their limits that it does not check."""
    said = ParamValidator().validate({"Findings": findings}, shape()).generate_report() if findings else ""
    return "\n".join([said] * bool(said) + [fault for one in findings for fault in faults(one)])


def faults(one: Any) -> list[str]:
    """Where a finding breaks the limits of the API's reference."""
    units = {name: len(one[name].encode("utf-16-le")) // 2 for name in TEXTS}
    found = [name for name, length in units.items() if not 1 <= length <= TEXTS[name]]
    found += [name for name in NOT_OURS if name in one]
    found += ["size"] * (len(json.dumps(one, ensure_ascii=False).encode()) > 240_000)
    found += ["account"] * (len(one["AwsAccountId"]) != 12 or f":{one['AwsAccountId']}:" not in one["ProductArn"])
    found += ["status"] * (one["Compliance"]["Status"] not in {"FAILED", "WARNING"})
    found += ["severity"] * (one["Severity"]["Label"] not in {"LOW", "MEDIUM", "HIGH", "CRITICAL"})
    found += ["requirements"] * (len(one["Compliance"].get("RelatedRequirements", [])) > 32)
    found += ["remediation"] * (len(one["Remediation"]["Recommendation"]["Text"]) > 512)
    found += ["types"] * (not one["Types"] or any(kind.count("/") > 2 for kind in one["Types"]))
    fields = one["ProductFields"]
    found += ["fields"] * (len(fields) > 50 or max(map(len, fields)) > 128 or max(map(len, fields.values())) > 2048)
    found += ["resources"] * (not 1 <= len(one["Resources"]) <= 32)
    found += ["blank"] * any(not text.strip() for text in texts_of(one))
    return found


@pytest.mark.parametrize("run", RUNS)
def test_security_hub_would_take_every_finding(run: str) -> None:
    """By AWS's model of the call, and by the limits that its reference states in words."""
    findings = findings_of(view_of(run))
    for start in range(0, len(findings), 100):
        assert problems(findings[start : start + 100]) == ""


def test_what_is_wrong_would_be_seen() -> None:
    """A finding without a title, with one too long, or with a workflow is refused."""
    (one, *_) = findings_of(view_of("sample"))
    assert "Title" in problems([{**one, "Title": "x" * 257}])
    assert "Workflow" in problems([{**one, "Workflow": {"Status": "SUPPRESSED"}}])
    without = ParamValidator().validate({"Findings": [{"Id": "x"}]}, shape())
    assert "Title" in without.generate_report()


@pytest.mark.parametrize("run", RUNS)
def test_the_findings_are_those_of_findings_json(run: str) -> None:
    """As many of each outcome, an account that was not audited as one unknown; no Id stands twice."""
    findings = findings_of(view_of(run))
    assert Counter(one["ProductFields"]["auditor/outcome"] for one in findings) == outcomes_of(view_of(run))
    assert len({one["Id"] for one in findings}) == len(findings)


@pytest.mark.parametrize("run", RUNS)
def test_nothing_that_is_listed_passes(run: str) -> None:
    """Unknown is a warning; what is exempt failed, and says in its title that it is exempt."""
    expected = {"non_compliant": "FAILED", "unknown": "WARNING", "exempt": "FAILED"}
    begins = {"non_compliant": "Not compliant: ", "unknown": "Unknown: ", "exempt": "Exempt: "}
    for one in findings_of(view_of(run)):
        outcome = one["ProductFields"]["auditor/outcome"]
        assert one["Compliance"]["Status"] == expected[outcome]
        assert one["Compliance"]["StatusReasons"][0]["ReasonCode"] == outcome.upper()
        assert one["Title"].startswith(begins[outcome])
        assert one["RecordState"] == "ACTIVE"


def test_a_finding_tells_what_findings_json_tells() -> None:
    """Key and user with their details; names as they are; what excuses it."""
    findings = findings_of(view_of("sample"))
    one = next(one for one in findings if one["ProductFields"].get("auditor/user") == "ci-deploy")
    assert one["Id"] == "arn:aws:iam::111122223333:user/service/ci-deploy/AKIA00000001EX01/key-age/policy"
    assert one["ProductArn"] == "arn:aws:securityhub:us-east-1:111122223333:product/111122223333/default"
    assert one["CreatedAt"] == one["UpdatedAt"] == "2026-11-22T19:00:00Z"
    assert one["Resources"] == [
        {
            "Type": "AwsIamAccessKey",
            "Id": "AWS::IAM::AccessKey:AKIA00000001EX01",
            "Partition": "aws",
            "Details": {
                "AwsIamAccessKey": {
                    "PrincipalType": "IAMUser",
                    "PrincipalName": "ci-deploy",
                    "AccountId": "111122223333",
                    "AccessKeyId": "AKIA00000001EX01",
                    "CreatedAt": "2025-10-06T19:00:00Z",
                    "Status": "Active",
                }
            },
        },
        {
            "Type": "AwsIamUser",
            "Id": "arn:aws:iam::111122223333:user/service/ci-deploy",
            "Partition": "aws",
            "Details": {"AwsIamUser": {"UserName": "ci-deploy", "Path": "/service/"}},
        },
    ]
    assert FORMULA_USER in {one["ProductFields"].get("auditor/user") for one in findings}
    assert SCRIPT_NAME in {one["ProductFields"].get("auditor/account_name") for one in findings}
    excused = next(
        one for one in findings_of(view_of("governed")) if one["ProductFields"]["auditor/outcome"] == "exempt"
    )
    assert excused["ProductFields"]["auditor/exemption_approver"] == "bob"
    assert "Exempt until 2027-01-21 by legacy-2026" in excused["Description"]
    assert "CIS AWS Foundations Benchmark 5.0.0 1.13" in excused["Compliance"]["RelatedRequirements"]


@pytest.mark.parametrize(
    ("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1"), ("aws", "us-east-1")]
)
def test_each_partition_has_its_own_product(partition: str, region: str) -> None:
    """By the ARN of the user; of an account that was not audited by the caller's."""
    view = view_of("sample")
    finding = replace(view.findings[1], user_arn=f"arn:{partition}:iam::111122223333:user/ann")
    manifest = replace(view.manifest, caller_arn=f"arn:{partition}:sts::999900001111:assumed-role/audit/monthly")
    for one in findings_of(replace(view, manifest=manifest, findings=(finding,))):
        assert one["ProductArn"].startswith(f"arn:{partition}:securityhub:{region}:")
        assert {resource["Partition"] for resource in one["Resources"]} == {partition}


def test_what_is_too_long_is_cut_and_says_so() -> None:
    """Texts end in an ellipsis; of an Id a digest of the whole is kept, so that two never become one."""
    view = view_of("sample")
    long = "\N{GRINNING FACE}日本" * 3000
    first, second = (replace(view.findings[1], user_arn=f"arn:aws:iam::111122223333:user/{long}{n}") for n in "12")
    many = "\n".join(f"cis-aws-5.0 {number}" for number in range(40))
    governed = replace(view_of("governed").findings[0], frameworks=many, reason=long, user=long)
    findings = findings_of(replace(named(long), findings=(first, second)))
    findings += findings_of(replace(view_of("governed"), findings=(governed,)))
    assert problems(findings) == ""
    assert len({one["Id"] for one in findings}) == 4
    assert findings[-1]["Title"].endswith("…")
    assert findings[-1]["Description"].endswith("…")
    assert findings[-1]["Compliance"]["RelatedRequirements"][-1] == "and 9 more"
    assert cut("abcd", 4) == cut_name("abcd", 4) == "abcd"
    assert cut("abcde", 4) == "abc…"


def test_it_is_the_same_every_time() -> None:
    """Same view, same bytes; a finding a line; a run without findings is an empty array."""
    content = render_asff(view_of("sample"))
    assert content == render_asff(view_of("sample"))
    assert len(content.splitlines()) == len(findings_of(view_of("sample"))) + 2
    assert render_asff(view_of("clean")) == b"[]\n"


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_any_name_survives(name: str) -> None:
    """Whatever a name holds, Security Hub would take it; what no parser takes is shown as an escape."""
    findings = findings_of(named(name))
    assert problems(findings) == ""
    fields = findings[1]["ProductFields"]
    assert fields.get("auditor/user", "") == (visible(name) if visible(name).strip() else "")
