"""What another policy would say of a stored run: nothing changes under the same, and an audit under another agrees."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from auditor.config import built_in_framework, load_config
from auditor.gather import connection_for
from auditor.history import find_run, load_manifest
from auditor.model import ControlId, Exemption, Outcome, Policy, RunManifest, Scope
from auditor.pipeline import AuditRequest, audit
from auditor.simulation import Simulation, simulate, verdicts
from tests.builders import ACCOUNT, AS_OF, DAY, ago
from tests.conftest import NoProgress
from tests.report_files import Key, user_row, write_report

OTHER = "444455556666"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Reports of two accounts: keys of every age, some without use, and inactive ones."""
    for account in (ACCOUNT, OTHER):
        rows = [user_row(f"u{age}", Key(ago(age), ago(age / 2)), account=account) for age in range(5, 200, 15)]
        rows.append(user_row("pair", Key(ago(40)), Key(ago(3)), account=account))
        rows.append(user_row("twins", Key(ago(100)), Key(ago(100)), account=account))
        rows.append(user_row("retired", Key(ago(400), None, active=False), account=account))
        write_report(tmp_path / "in" / f"{account}.csv", *rows, account=account)
    return tmp_path / "in"


def audited(reports: Path, output: str, max_age: int = 90, max_unused: int = 45) -> RunManifest:
    """A run on the reports, under a policy that differs in numbers alone."""
    policy = {"key-age": {"max_age_days": max_age}, "key-unused": {"max_unused_days": max_unused}}
    folder = {"folder": str(reports.parent / output), "formats": ["csv"]}
    config = load_config(None, {"policy": policy, "output": folder})
    outcome = audit(AuditRequest(config, connection_for(config), AS_OF, (), (reports,)), NoProgress())
    return outcome.view.manifest


def simulated(reports: Path, after: Policy, as_of_days: float = 0) -> Simulation:
    """The run in `runs` judged again."""
    folder = find_run("latest", reports.parent / "runs")
    before = load_manifest(folder)
    at = before.as_of + timedelta(days=as_of_days)
    return simulate(folder, before.policy, before.as_of, after, at, NoProgress())


def test_the_same_policy_changes_nothing(reports: Path) -> None:
    """Nothing differs, and both counts are those of the run."""
    manifest = audited(reports, "runs")
    found = simulated(reports, manifest.policy)
    assert found.before.summary() == found.after.summary() == manifest.summary
    assert (dict(found.steps), found.changes, found.unconfirmed) == ({}, [], 0)


@pytest.mark.parametrize(("max_age", "max_unused"), [(60, 45), (30, 20), (200, 100), (1, 1)])
def test_another_policy_says_what_an_audit_under_it_says(reports: Path, max_age: int, max_unused: int) -> None:
    """The verdicts by control and outcome are those that an audit of the same reports finds."""
    audited(reports, "runs")
    other = audited(reports, "others", max_age, max_unused)
    found = simulated(reports, other.policy)
    assert found.after.summary() == other.summary
    changed = {
        control: verdicts(found.after.verdicts, control, Outcome.NON_COMPLIANT)
        - verdicts(found.before.verdicts, control, Outcome.NON_COMPLIANT)
        for control in ControlId
    }
    for control, difference in changed.items():
        steps = {step: number for step, number in found.steps.items() if step[0] == control and step[1] != step[2]}
        fails = sum(number for (_, _, after), number in steps.items() if after == Outcome.NON_COMPLIANT)
        failed = sum(number for (_, before, _), number in steps.items() if before == Outcome.NON_COMPLIANT)
        assert fails - failed == difference
    assert sum(found.steps.values()) == len(found.changes)


def test_frameworks_alone_change_no_verdict_of_the_policy(reports: Path) -> None:
    """Their clauses are counted; what would change is the policy's own."""
    policy = audited(reports, "runs").policy
    framework = built_in_framework("cis-aws-3.0").to_framework()
    found = simulated(reports, replace(policy, frameworks=(framework,)))
    assert not found.steps
    assert found.before.clauses == {}
    assert found.after.clauses["cis-aws-3.0 1.14 key-age"][Outcome.NON_COMPLIANT] > 0


def test_a_control_that_is_switched_off_is_judged_no_more(reports: Path) -> None:
    """The step leads to nothing, and the reason is that of the run's own verdict."""
    policy = audited(reports, "runs").policy
    off = frozenset({ControlId.INACTIVE_KEY_RETAINED})
    found = simulated(reports, replace(policy, switched_off=policy.switched_off | off))
    assert dict(found.steps) == {("inactive-key-retained", "compliant", None): 2}
    assert {(one.after, bool(one.reason)) for one in found.changes} == {(None, True)}


def test_an_exemption_is_tried(reports: Path) -> None:
    """What it would excuse changes from failing to exempt, in its account alone."""
    policy = audited(reports, "runs").policy
    days = (AS_OF - DAY, AS_OF + DAY)
    exemption = Exemption("EX", ControlId.KEY_AGE, Scope(accounts=(OTHER,)), "r", "o", "a", "t", *days)
    found = simulated(reports, replace(policy, exemptions=(exemption,)))
    assert set(found.steps) == {("key-age", "non_compliant", "exempt")}
    assert {one.account_id for one in found.changes} == {OTHER}


@pytest.mark.parametrize(("days_ahead", "failing"), [(90, 0), (91, 2), (-30, 0)])
def test_keys_are_inactive_since_the_run_that_saw_them(reports: Path, days_ahead: int, failing: int) -> None:
    """At another instant the days count from the run, not from that instant."""
    policy = audited(reports, "runs").policy
    found = simulated(reports, policy, days_ahead)
    assert verdicts(found.after.verdicts, ControlId.INACTIVE_KEY_RETAINED, Outcome.NON_COMPLIANT) == failing
    assert verdicts(found.before.verdicts, ControlId.INACTIVE_KEY_RETAINED, Outcome.NON_COMPLIANT) == 0
