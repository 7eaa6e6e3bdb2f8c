"""findings.json: what programs read, checked against the schema that is published."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.formats.contract import FINDING_FIELDS
from auditor.formats.findings_json import render_findings_json
from auditor.formats.view import SHOWN, ReportView, build_view
from auditor.model import Source
from auditor.tables import Run
from tests.formats.sample_run import FORMULA_USER, SCRIPT_NAME, clean_run, empty_run, sample_run

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "findings.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def view() -> ReportView:
    return build_view(sample_run())


@pytest.fixture(scope="module")
def content(view: ReportView) -> Any:
    return json.loads(render_findings_json(view))


def test_the_schema_is_one() -> None:
    """The published schema is a valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("run", [sample_run, partial(sample_run, complete=True), clean_run, empty_run])
def test_every_run_keeps_the_schema(run: Callable[[], Run]) -> None:
    """With findings and without, with gaps and without, the file is what the schema says."""
    errors = [error.message for error in VALIDATOR.iter_errors(json.loads(render_findings_json(build_view(run()))))]
    assert errors == []


def test_keys_and_nesting_are_the_contract(content: Any) -> None:
    """The fields of `auditor.findings/1` are there under their names; these may not go or change."""
    assert content["schema"] == "auditor.findings/1"
    assert list(content)[:5] == ["schema", "run", "coverage", "summary", "findings"]
    assert {"id", "as_of", "tool_version", "caller_arn"} <= set(content["run"])
    assert {"accounts_in_scope", "accounts_audited", "not_audited", "users", "keys"} <= set(content["coverage"])
    assert {"account_id", "account_name", "reason"} <= set(content["coverage"]["not_audited"][0])
    counts = {"compliant", "non_compliant", "exempt", "not_applicable", "unknown"}
    assert counts | {"compliance_rate", "rate_lower", "rate_upper"} <= set(content["summary"])
    assert tuple(content["findings"][0]) == FINDING_FIELDS
    assert FINDING_FIELDS[:20] == (
        *("account_id", "account_name", "user", "user_arn", "slot", "access_key_id", "key_status", "created_at"),
        *("age_days", "last_used_at", "last_used_service", "last_used_region", "control", "severity", "outcome"),
        *("reason", "due_at", "owner", "exemption", "frameworks"),
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("run", "as_of"), "2026-11-22 19:00"),
        (("findings", 0, "account_id"), 111122223333),
        (("findings", 0, "outcome"), "compliant"),
        (("findings", 0, "created_at"), "2026-11-22T19:00:00+00:00"),
        (("summary", "compliance_rate"), 36.8),
        (("coverage", "not_audited", 0, "reason"), None),
        (("due_soon", 0, "due_at"), None),
    ],
)
def test_the_schema_bites(content: Any, path: tuple[str | int, ...], value: object) -> None:
    """A file with one wrong value is refused."""
    wrong = json.loads(json.dumps(content))
    *way, last = path
    place = wrong
    for step in way:
        place = place[step]
    place[last] = value
    assert not VALIDATOR.is_valid(wrong)


@pytest.mark.parametrize("field", FINDING_FIELDS[:20])
def test_the_schema_misses_a_missing_field(content: Any, field: str) -> None:
    """A finding without one of the contract's fields is refused."""
    wrong = json.loads(json.dumps(content))
    del wrong["findings"][0][field]
    assert not VALIDATOR.is_valid(wrong)


def test_it_lists_what_is_not_a_pass(view: ReportView, content: Any) -> None:
    """Listed is what is non-compliant, unknown or exempt, with its values; what is due soon stands apart."""
    outcomes = {finding["outcome"] for finding in content["findings"]}
    assert outcomes == {"non_compliant", "unknown"} <= {outcome.value for outcome in SHOWN}
    assert len(content["findings"]) == len(view.findings)
    first = next(finding for finding in content["findings"] if finding["user"] == "ci-deploy")
    assert first == {
        "account_id": "111122223333",
        "account_name": "payments-production",
        "user": "ci-deploy",
        "user_arn": "arn:aws:iam::111122223333:user/service/ci-deploy",
        "slot": 1,
        "access_key_id": "AKIA00000001EX01",
        "key_status": "Active",
        "created_at": "2025-10-06T19:00:00Z",
        "age_days": 412,
        "last_used_at": "2026-11-21T19:00:00Z",
        "last_used_service": "s3",
        "last_used_region": "eu-central-1",
        "control": "key-age",
        "severity": "high",
        "outcome": "non_compliant",
        "reason": "412 days old: more than 90 days fails; it was due on 2026-01-04.",
        "due_at": "2026-01-04T19:00:00Z",
        "owner": "platform team",
        "exemption": None,
        "frameworks": [],
        "last_used_state": "used",
        "description": "deploys from the build server",
        "owner_source": "tag owner",
        "by_policy": True,
        "limit": "more than 90 days",
        "rotation_since": None,
        "credential_id": None,
        "service": None,
    }
    assert [finding["user"] for finding in content["due_soon"]] == ["due-in-four-days", "due-in-ten-days"]


def test_coverage_and_summary_are_the_runs(view: ReportView, content: Any) -> None:
    """Accounts in scope are those audited and those not, each with where its facts come from or why there are none."""
    coverage, manifest = content["coverage"], view.manifest
    assert coverage["accounts_in_scope"] == len(coverage["accounts"]) + len(coverage["not_audited"]) == 8
    assert {account["source"] for account in coverage["accounts"]} == {source.value for source in Source}
    assert [account["code"] for account in coverage["not_audited"]] == ["role_refused", "not_active"]
    assert all(account["next_step"] for account in coverage["not_audited"])
    listed = next(account for account in coverage["accounts"] if account["source"] == "listing")
    assert listed["generated_at"] is None
    assert listed["notes"]
    summary = content["summary"]
    assert summary["compliance_rate"] == manifest.summary.compliance_rate
    assert 0 < summary["rate_lower"] < summary["compliance_rate"] < summary["rate_upper"] < 1
    assert summary["verdicts"]["key-age"]["non_compliant"] == 10


def test_changes_are_those_of_the_view(view: ReportView, content: Any) -> None:
    """Every one that is told, with times as everywhere; nothing where there is no journal."""
    told = view.remediation
    assert told is not None
    assert [(it["journal_row"], it["action"]) for it in content["remediation"]["actions"]] == [
        (action.journal_row, action.action) for action in told.actions
    ]
    assert content["remediation"]["actions"][0]["approved_by"] == ["bob@example.com", "cat@example.com"]
    assert [it["item_id"] for it in content["remediation"]["pending"]] == [item.item_id for item in told.pending]
    assert content["remediation"]["journal"] == {"rows": told.rows, "head": told.head, "problem": None}
    assert json.loads(render_findings_json(build_view(clean_run())))["remediation"] is None


def test_it_is_the_same_every_time_and_reads_well(view: ReportView) -> None:
    """Same view, same bytes: UTF-8 as it is, indented by two, one newline at the end; names unaltered."""
    content = render_findings_json(replace(view, findings=(replace(view.findings[0], owner="Zoë 日本"),)))
    assert content == render_findings_json(replace(view, findings=(replace(view.findings[0], owner="Zoë 日本"),)))
    assert '\n      "owner": "Zoë 日本",\n' in content.decode()
    assert content.endswith(b"}\n")
    every = json.loads(render_findings_json(view))["findings"]
    assert FORMULA_USER in {finding["user"] for finding in every}
    assert SCRIPT_NAME in {finding["account_name"] for finding in every}


@given(st.text(st.characters(), max_size=20))
def test_any_name_comes_back(name: str) -> None:
    """Whatever a name holds, even what UTF-8 cannot, it is read back as it was."""
    finding = replace(FINDING, user=name, owner=name)
    content = render_findings_json(replace(CLEAN, findings=(finding,)))
    (back,) = json.loads(content.decode("utf-8"))["findings"]
    assert back["user"] == back["owner"] == name


CLEAN = build_view(clean_run())
FINDING = build_view(sample_run(complete=True)).findings[1]
