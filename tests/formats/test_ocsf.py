"""findings.ocsf.jsonl: what py-ocsf-models, which Prowler made for its own findings, reads."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ocsf_models.events.findings.compliance_finding import ComplianceFinding
from py_ocsf_models.objects.cloud import Cloud

from auditor.formats.ocsf import OCSF_VERSION, render_ocsf
from auditor.formats.plain_text import visible
from auditor.formats.view import ReportView
from tests.formats.machine import RUNS, named, outcomes_of, view_of
from tests.formats.sample_run import AS_OF, FORMULA_USER, SCRIPT_NAME

PASS, WARNING, FAIL = 1, 2, 3


def events_of(view: ReportView) -> list[Any]:
    return [json.loads(line) for line in render_ocsf(view).decode().splitlines()]


@pytest.mark.parametrize("run", RUNS)
def test_somebody_elses_reader_takes_every_line(run: str) -> None:
    """Each is a Compliance Finding, and holds nothing that the reader does not know at the top."""
    for event in events_of(view_of(run)):
        read = ComplianceFinding.model_validate(event)
        assert (read.class_uid, read.type_uid, read.category_uid, read.activity_id) == (2003, 200301, 2, 1)
        assert read.time == int(AS_OF.timestamp()) * 1000
        assert read.metadata.version == OCSF_VERSION
        assert set(event) - {"cloud"} <= set(ComplianceFinding.model_fields)
        assert Cloud.model_validate(event["cloud"]).provider == "AWS"  # of the profile "cloud"
        assert set(event["finding_info"]) <= set(type(read.finding_info).model_fields)
        assert read.resources
        assert read.compliance.standards


@pytest.mark.parametrize("run", RUNS)
def test_the_lines_are_the_findings_of_findings_json(run: str) -> None:
    """As many of each outcome, an account that was not audited as one unknown; no uid stands twice."""
    events = events_of(view_of(run))
    assert Counter(event["status_code"] for event in events) == outcomes_of(view_of(run))
    assert len({event["finding_info"]["uid"] for event in events}) == len(events)


@pytest.mark.parametrize("run", RUNS)
def test_nothing_that_is_listed_passes(run: str) -> None:
    """What is unknown is a warning, what is exempt failed and is suppressed: none of them passes."""
    expected = {"non_compliant": (FAIL, 1), "unknown": (WARNING, 1), "exempt": (FAIL, 3)}
    for event in events_of(view_of(run)):
        assert (event["compliance"]["status_id"], event["status_id"]) == expected[event["status_code"]]
        assert event["compliance"]["status_id"] != PASS


def test_a_finding_tells_what_findings_json_tells() -> None:
    """Names as they are; the key and its user; the clauses by name; what excuses it."""
    events = events_of(view_of("sample"))
    event = next(event for event in events if event["unmapped"]["auditor"].get("user") == "ci-deploy")
    assert event["message"] == "Not compliant: Access keys are rotated (AKIA00000001EX01 of ci-deploy)"
    assert event["finding_info"]["uid"] == (
        "arn:aws:iam::111122223333:user/service/ci-deploy/AKIA00000001EX01/key-age/policy"
    )
    assert event["cloud"]["account"] == {
        "uid": "111122223333",
        "name": "payments-production",
        "type_id": 10,
        "type": "AWS Account",
    }
    assert [(resource["type"], resource["uid"]) for resource in event["resources"]] == [
        ("AWS::IAM::AccessKey", "AKIA00000001EX01"),
        ("AWS::IAM::User", "arn:aws:iam::111122223333:user/service/ci-deploy"),
    ]
    users = {event["unmapped"]["auditor"].get("user") for event in events}
    assert FORMULA_USER in users
    assert SCRIPT_NAME in {event["cloud"]["account"]["name"] for event in events}
    excused = next(event for event in events_of(view_of("governed")) if event["status_code"] == "exempt")
    assert "Exempt until 2027-01-21 by legacy-2026, approved by bob" in excused["status_detail"]
    assert "CIS AWS Foundations Benchmark 5.0.0 1.13" in excused["compliance"]["requirements"]
    assert excused["compliance"]["standards"][0] == "Policy of the company"


def test_it_is_the_same_every_time() -> None:
    """Same view, same bytes; one object a line; a run without findings is an empty file."""
    content = render_ocsf(view_of("sample"))
    assert content == render_ocsf(view_of("sample"))
    assert content.endswith(b"}\n")
    assert render_ocsf(view_of("clean")) == b""


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_any_name_survives(name: str) -> None:
    """Whatever a name holds: what no line or parser takes is shown as an escape, all else is as it was."""
    gap, event = events_of(named(name))
    assert event["unmapped"]["auditor"]["user"] == visible(name)
    assert gap["cloud"]["account"]["name"] == event["cloud"]["account"]["name"] == visible(name)
    ComplianceFinding.model_validate(event)
