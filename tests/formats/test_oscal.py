"""findings.oscal.json: what compliance-trestle reads and finds valid, and what it says of each clause."""

import json
import uuid
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trestle.core import validator_factory
from trestle.oscal import OSCAL_VERSION as TRESTLE_VERSION
from trestle.oscal.assessment_results import AssessmentResults

from auditor.formats.oscal import OSCAL_VERSION, clause_token, control_id, markup, render_oscal
from auditor.formats.plain_text import visible
from auditor.formats.view import ReportView
from tests.formats.machine import RUNS, named, outcomes_of, view_of
from tests.formats.sample_run import FORMULA_USER, SCRIPT_NAME


def document_of(view: ReportView) -> Any:
    return json.loads(render_oscal(view))["assessment-results"]


def result_of(view: ReportView) -> Any:
    (result,) = document_of(view)["results"]
    return result


def property_of(thing: Any, name: str) -> str | None:
    return next((prop["value"] for prop in thing["props"] if prop["name"] == name), None)


def same_times(content: Any) -> Any:
    """The content with every time in one form: readers write UTC as `+00:00`."""
    if isinstance(content, dict):
        return {key: same_times(value) for key, value in content.items()}
    if isinstance(content, list):
        return [same_times(value) for value in content]
    try:
        return datetime.fromisoformat(content)
    except (TypeError, ValueError):
        return content


@pytest.mark.parametrize("run", RUNS)
def test_trestle_reads_it_and_writes_the_same(run: str) -> None:
    """Every part is known to OSCAL 1.2.1, none is lost on the way, and all of trestle's validators pass."""
    document = document_of(view_of(run))
    read = AssessmentResults.model_validate(document)
    back = json.loads(read.oscal_serialize_json())["assessment-results"]
    assert same_times(back) == same_times(document)
    for validator in validator_factory.validator_factory.get_all():
        assert validator.model_is_valid(read, quiet=True), validator.error_msg()
    assert document["metadata"]["oscal-version"] == OSCAL_VERSION == TRESTLE_VERSION


def test_trestle_bites() -> None:
    """A document with a UUID of another kind is refused."""
    document = document_of(view_of("clean"))
    with pytest.raises(ValueError, match="uuid"):
        AssessmentResults.model_validate({**document, "uuid": str(uuid.NAMESPACE_URL)})


@pytest.mark.parametrize("run", RUNS)
def test_every_reference_leads_somewhere(run: str) -> None:
    """UUIDs and ids that are named stand in the document, and no UUID stands twice."""
    document = document_of(view_of(run))
    result = result_of(view_of(run))
    defined: Counter[str] = Counter()
    named_ids: set[str] = set()

    def walk(content: Any) -> None:
        if isinstance(content, dict):
            for key, value in content.items():
                if key == "uuid":
                    defined[value] += 1
                elif key.endswith("-uuid"):
                    named_ids.add(value)
                elif key == "href" and value.startswith("#"):
                    named_ids.add(value[1:])
                walk(value)
        elif isinstance(content, list):
            for value in content:
                walk(value)

    walk(document)
    assert named_ids <= set(defined)
    assert set(defined.values()) == {1}
    assert {uuid.UUID(one).version for one in defined} == {5}
    objectives = [
        part["id"] for one in document["local-definitions"]["objectives-and-methods"] for part in one["parts"]
    ]
    assert len(set(objectives)) == len(objectives)
    targets = [finding["target"]["target-id"] for finding in result["findings"]]
    assert set(targets) <= set(objectives)
    assert len(set(targets)) == len(targets)


@pytest.mark.parametrize("run", RUNS)
def test_the_observations_are_the_findings_of_findings_json(run: str) -> None:
    """As many of each outcome, an account that was not audited as one unknown; beside them the coverage."""
    coverage, *observations = result_of(view_of(run))["observations"]
    assert coverage["title"] == "Coverage"
    assert Counter(property_of(one, "outcome") for one in observations) == outcomes_of(view_of(run))


def states(run: str) -> dict[str, tuple[str, str | None]]:
    findings = result_of(view_of(run))["findings"]
    return {
        one["target"]["target-id"]: (one["target"]["status"]["state"], one["target"]["status"].get("reason"))
        for one in findings
    }


def test_a_clause_is_satisfied_only_where_all_is_known_and_passes() -> None:
    """Fails; exempt is no pass; passes; and of 90 days the editions think differently."""
    found = states("governed")
    assert found["cis-aws-3.0_1.14_key-age"] == ("not-satisfied", "fail")
    assert found["cis-aws-5.0_1.13_key-age"] == ("not-satisfied", "other")
    assert found["cis-aws-5.0_1.3_root-access-key"] == ("satisfied", "pass")
    assert found["auditor_key-age_objective"] == ("not-satisfied", "other")
    assert found["auditor_account-audited_objective"] == ("satisfied", "pass")


@pytest.mark.parametrize("run", ["sample", "empty", "governed with a gap"])
def test_nothing_is_satisfied_where_an_account_is_missing(run: str) -> None:
    """What passes in the accounts that were audited may fail in the one that was not; each finding names it."""
    assert {state for state, _ in states(run).values()} == {"not-satisfied"}
    assert states(run)["auditor_account-audited_objective"] == ("not-satisfied", "other")
    result = result_of(view_of(run))
    gaps = {one["uuid"] for one in result["observations"] if one["title"].endswith("was not audited")}
    assert gaps
    for finding in result["findings"]:
        assert gaps <= {one["observation-uuid"] for one in finding["related-observations"]}


@pytest.mark.parametrize("run", RUNS)
def test_unknown_is_never_satisfied(run: str) -> None:
    """A finding that rests on an observation that is not a pass is not satisfied."""
    result = result_of(view_of(run))
    outcomes = {one["uuid"]: property_of(one, "outcome") for one in result["observations"] if "props" in one}
    for finding in result["findings"]:
        doubts = {outcomes.get(one["observation-uuid"]) for one in finding["related-observations"]} - {None}
        assert (finding["target"]["status"]["state"] == "satisfied") is not bool(doubts)


def test_an_exemption_is_an_approved_deviation() -> None:
    """A risk with its approver and deadline, which the clauses that it touches name."""
    result = result_of(view_of("governed"))
    (risk,) = result["risks"]
    assert (risk["status"], risk["deadline"]) == ("deviation-approved", "2027-01-21T19:00:00Z")
    assert property_of(risk, "approver") == "bob"
    assert risk["description"] == r"The vendor \*cannot\* rotate \<yet\>."
    touched = {one["target"]["target-id"] for one in result["findings"] if "related-risks" in one}
    assert {"cis-aws-5.0_1.13_key-age", "cis-aws-3.0_1.14_key-age", "auditor_key-age_objective"} <= touched
    assert "risks" not in result_of(view_of("sample"))


@pytest.mark.parametrize(
    ("framework", "clause", "control", "token"),
    [
        ("nist-800-53-r5", "AC-2(3)", "ac-2.3", "nist-800-53-r5_AC-2.3"),
        ("fedramp-high", "IA-5 f", "ia-5", "fedramp-high_IA-5.f"),
        ("cis-aws-5.0", "1.13", "cis-aws-5.0_1.13", "cis-aws-5.0_1.13"),
        ("hipaa", "164.312(a)(2)(i)", "hipaa_164.312.a.2.i", "hipaa_164.312.a.2.i"),
        ("27001", "A.5", "_27001_A.5", "_27001_A.5"),
    ],
)
def test_controls_have_ids_that_others_know(framework: str, clause: str, control: str, token: str) -> None:
    """NIST's own where NIST has a catalogue, else the standard and its number."""
    assert (control_id(framework, clause), clause_token(framework, clause)) == (control, token)


def test_clauses_in_other_scripts_stay_apart() -> None:
    """What a token cannot hold is told by a digest."""
    assert clause_token("own", "第一条") != clause_token("own", "第二条")


def test_names_are_shown_as_they_are() -> None:
    """In properties as they are, in Markdown escaped."""
    observations = result_of(view_of("sample"))["observations"][1:]
    assert FORMULA_USER in {property_of(one, "user") for one in observations}
    assert SCRIPT_NAME in {property_of(one, "account_name") for one in observations}
    assert not [one["title"] for one in observations if "<script" in one["title"].replace(r"\<", "")]
    assert markup("# a_b [x](y) `c` {{ insert: param, p }}") == r"\# a\_b \[x\](y) \`c\` \{\{ insert: param, p \}\}"
    assert markup("1. 400 days") == r"1\. 400 days"


def test_it_is_the_same_every_time_and_another_for_another_run() -> None:
    """Same run, same bytes; another run has other UUIDs."""
    view = view_of("sample")
    assert render_oscal(view) == render_oscal(view)
    other = replace(view, manifest=replace(view.manifest, id="20261222T190000Z-00000000"))
    assert document_of(other)["uuid"] != document_of(view)["uuid"]
    observations, others = (result_of(one)["observations"] for one in (view, other))
    assert not {one["uuid"] for one in observations} & {one["uuid"] for one in others}
    assert [property_of(one, "uid") for one in observations[1:]] == [property_of(one, "uid") for one in others[1:]]


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_any_name_is_valid(name: str) -> None:
    """Whatever a name holds, trestle takes it; blanks at its ends and what no parser takes are shown as escapes."""
    document = document_of(named(name))
    AssessmentResults.model_validate(document)
    shown = property_of(document["results"][0]["observations"][2], "user")
    if visible(name) == visible(name).strip():
        assert shown == visible(name)
