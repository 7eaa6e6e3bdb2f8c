"""A run judged by every framework beside the policy, with an exemption and service-specific credentials."""

from dataclasses import replace
from datetime import timedelta

from auditor.config import built_in_framework, built_in_frameworks
from auditor.inventory import build_snapshot
from auditor.model import (
    Account,
    AccountResult,
    ControlId,
    Exemption,
    NotAudited,
    NotAuditedCode,
    Policy,
    Scope,
    ServiceCredentials,
)
from auditor.policy import clause_key, evaluate, label, tally, with_owners
from auditor.tables import Run
from tests.builders import (
    account_result,
    ago,
    looked_up,
    report_key,
    report_user,
    root,
    run_of,
    service_credential,
    used,
)
from tests.formats.sample_run import AS_OF, finish

EXEMPTION = Exemption(
    id="legacy-2026",
    control=ControlId.KEY_AGE,
    scope=Scope(users=("legacy",)),
    reason="The vendor *cannot* rotate <yet>.",
    owner="ann",
    approver="bob",
    ticket="SEC-1",
    starts_at=AS_OF - timedelta(days=9),
    expires_at=AS_OF + timedelta(days=60),
)


def governed_run(*, missing: bool = False) -> Run:
    """The run; `missing` adds an account that was not audited."""
    frameworks = tuple(built_in_framework(name).to_framework() for name in built_in_frameworks())
    policy = Policy(frameworks=frameworks, exemptions=(EXEMPTION,))
    results = [_account(), *([_refused()] if missing else [])]
    snapshot = with_owners(build_snapshot(results), policy)
    findings = evaluate(snapshot, policy, AS_OF)
    counted = tally(findings, snapshot, policy)
    clauses = {
        framework.id: {
            key: counted.clauses.get(clause_key(label(framework, clause), clause.criterion.control), {})
            for clause in framework.clauses
            if clause.criterion
            for key in [clause_key(clause.id, clause.criterion.control)]
        }
        for framework in frameworks
    }
    manifest = replace(
        finish(results).manifest,
        policy=policy,
        summary=counted.summary(),
        frameworks=clauses,
        exemptions=counted.exemptions,
        failing=counted.failing,
        undecided=counted.undecided,
        excused=counted.excused,
    )
    return run_of(manifest, snapshot, findings)


def _account() -> AccountResult:
    """Keys that fail, pass, and are exempt; one of 90 days, of which the editions think differently."""
    users = [
        report_user("legacy", report_key(ago(400), used(1))),
        report_user("borderline", report_key(ago(90), used(1))),
        report_user("good", report_key(ago(5), used(1))),
        report_user("bedrock"),
    ]
    lookups = {user.name: looked_up(user, {"owner": "a team"}) for user in users}
    credentials = ServiceCredentials((service_credential("bedrock", ago(300)),))
    return account_result(root(), *users, lookups=lookups, service_credentials=credentials)


def _refused() -> AccountResult:
    why = NotAudited(NotAuditedCode.ROLE_REFUSED, "AWS refused the role.", "Deploy the role.")
    return AccountResult(Account("444455556666", "acquired"), why)
