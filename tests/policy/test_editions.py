"""The shipped editions, clause by clause: each judges at its own boundary with its own operator, beside any other."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from auditor.config import built_in_framework, built_in_frameworks
from auditor.model import (
    AccountResult,
    ControlId,
    Criterion,
    Exemption,
    Framework,
    Operator,
    Outcome,
    Policy,
    ReportUser,
    Scope,
    UsedAt,
)
from auditor.policy import clause_key, evaluate, label, tally
from tests.builders import (
    AS_OF,
    DAY,
    SECOND,
    account_result,
    ago,
    facts_of,
    judged,
    report_key,
    report_user,
    root,
    snapshot,
    used,
)

EDITIONS = built_in_frameworks()
PASS, FAIL = Outcome.COMPLIANT, Outcome.NON_COMPLIANT
AROUND = (-1, 0, 1)
"""Seconds beyond a limit."""


@cache
def edition(name: str) -> Framework:
    """A shipped edition."""
    return built_in_framework(name).to_framework()


def criteria_of(framework: Framework) -> Iterator[tuple[str, Criterion]]:
    """Its clauses that are tested, by their label."""
    return ((label(framework, clause), clause.criterion) for clause in framework.clauses if clause.criterion)


def at_the_limit(criterion: Criterion) -> Iterator[tuple[ReportUser, Outcome]]:
    """Users on both sides of a criterion's limit, and what it must say of them."""
    limit = criterion.limit
    assert limit is not None
    for seconds in AROUND:
        beyond = seconds > 0 or (seconds == 0 and limit.operator is Operator.AT_LEAST)
        expected, at = FAIL if beyond else PASS, AS_OF - limit.maximum - seconds * SECOND
        name = f"{criterion.control}{seconds}"
        match criterion.control:
            case ControlId.KEY_AGE:
                yield report_user(name, report_key(at, used(0))), expected
            case ControlId.KEY_UNUSED:
                yield report_user(f"{name}-used", report_key(ago(900), UsedAt(at))), expected
                yield report_user(f"{name}-never", report_key(at)), expected
            case ControlId.CONSOLE_PASSWORD_UNUSED:
                yield report_user(f"{name}-used", password=True, password_used=UsedAt(at)), expected
                yield report_user(f"{name}-never", password=True, password_changed=at), expected
            case _:
                pytest.fail(f"no boundary is told for {criterion.control}")


def around(criterion: Criterion) -> Iterator[tuple[ReportUser, Outcome]]:
    """Users on both sides of what a criterion without a limit asks."""
    match criterion.control:
        case ControlId.ONE_ACTIVE_KEY:
            assert (criterion.most, criterion.grace) == (1, 0 * DAY), (
                "an edition that allows more needs more users here"
            )
            old, new, off = (
                report_key(ago(80), used(1)),
                report_key(AS_OF, slot=2),
                report_key(ago(9), slot=2, active=False),
            )
            yield report_user("one", old), PASS
            yield report_user("one-and-inactive", old, off), PASS
            yield report_user("rotating-this-second", old, new), FAIL
        case ControlId.KEY_AT_USER_CREATION:
            born = ago(300)
            late = FAIL if criterion.strict else PASS
            for name, key, password, expected in (
                ("born", report_key(born), True, FAIL),
                ("later", report_key(born + 10 * 60 * SECOND), True, late),
                ("today", report_key(ago(seconds=1)), True, late),
                ("in-use", report_key(born, used(0)), True, PASS),
            ):
                yield report_user(name, key, created_at=born, password=password, password_used=used(0)), expected
        case ControlId.CONSOLE_MFA:
            yield report_user("with-mfa", password=True, password_used=used(0), mfa=True), PASS
            yield report_user("without-mfa", password=True, password_used=used(0), mfa=False), FAIL
        case _:
            pytest.fail(f"no users are told for {criterion.control}")


ROOTS = {"000000000001": (), "000000000002": (True,), "000000000003": (False,)}
"""Accounts with a root user without a key, with an active one, and with an inactive one."""


def roots(criterion: Criterion) -> dict[str, Outcome]:
    """What a criterion must say of them."""
    return dict(zip(ROOTS, (PASS, FAIL, FAIL if criterion.strict else PASS), strict=True))


def root_accounts() -> list[AccountResult]:
    """The accounts themselves."""
    return [
        account_result(root(*(report_key(ago(9), active=state) for state in states), account=account), account=account)
        for account, states in ROOTS.items()
    ]


@pytest.mark.parametrize("name", EDITIONS)
def test_every_clause_judges_at_its_own_boundary(name: str) -> None:
    """One second before, on and after the edition's limit, the verdict that names the clause is what its operator says.

    All editions are judged in the same run, beside the policy, so each has its own numbers and nobody else's.
    """
    policy = Policy(frameworks=tuple(edition(other) for other in EDITIONS))
    users: dict[str, ReportUser] = {}
    expected: dict[tuple[str, ControlId], dict[str, Outcome]] = {}
    for clause, criterion in criteria_of(edition(name)):
        if criterion.control is ControlId.ROOT_ACCESS_KEY:
            expected[clause, criterion.control] = roots(criterion)
            continue
        told = list(at_the_limit(criterion) if criterion.limit else around(criterion))
        if criterion.limit:  # an edition may ask for the same with two limits
            days = f"-{criterion.limit.maximum.days}"
            told = [(replace(user, name=user.name + days, arn=user.arn + days), outcome) for user, outcome in told]
        assert all(users.setdefault(user.name, user) == user for user, _ in told)
        expected[clause, criterion.control] = {user.name: outcome for user, outcome in told}
    findings = evaluate(snapshot(account_result(*users.values()), *root_accounts()), policy, AS_OF)
    for (clause, control), outcomes in expected.items():
        named = findings["frameworks"].map(lambda told: clause in told.splitlines(), na_action="ignore").eq(other=True)  # noqa: B023
        rows = findings[named & findings["control"].eq(control.value)]
        by = "account_id" if control is ControlId.ROOT_ACCESS_KEY else "user"
        mine = rows[rows[by].isin(list(outcomes))]
        assert dict(zip(mine[by], mine["outcome"], strict=True)) == outcomes, (clause, control)
        assert len(mine) == len(outcomes), (clause, control)


def test_two_editions_judged_together_disagree_on_a_key_of_ninety_days() -> None:
    """Up to 3.0 the benchmark fails a key on its ninetieth day, since 4.0.1 beyond it."""
    policy = Policy(frameworks=(edition("cis-aws-3.0"), edition("cis-aws-5.0")))
    facts = facts_of([report_user("ann", report_key(ago(90), used(1)))])
    told = {
        row["frameworks"]: (row["outcome"], row["by_policy"], row["limit"])
        for row in judged(facts, ControlId.KEY_AGE, policy)
    }
    assert told == {
        "cis-aws-3.0 1.14": (FAIL, False, "90 days or more"),
        "cis-aws-5.0 1.13": (PASS, True, "more than 90 days"),
    }
    found = tally(evaluate(facts, policy, AS_OF), facts, policy)
    assert found.clauses["cis-aws-3.0 1.14 key-age"] == {FAIL: 1}
    assert found.clauses["cis-aws-5.0 1.13 key-age"] == {PASS: 1}
    assert found.keys == {PASS: 1}


def test_a_rotation_under_way_fails_the_benchmark_and_passes_the_policy() -> None:
    """The benchmark grants no time for a rotation; the policy's own verdict and rate stay what they are."""
    policy = Policy(frameworks=(edition("cis-aws-5.0"),))
    facts = facts_of([report_user("ann", report_key(ago(80), used(1)), report_key(ago(3), used(1), slot=2))])
    own, benchmark = judged(facts, ControlId.ONE_ACTIVE_KEY, policy)
    assert (own["outcome"], own["by_policy"], own["due_at"]) == (PASS, True, ago(3) + 14 * DAY)
    assert (benchmark["outcome"], benchmark["by_policy"], benchmark["frameworks"]) == (FAIL, False, "cis-aws-5.0 1.12")
    assert "2026-11-19, for which this allows no time" in benchmark["reason"]
    found = tally(evaluate(facts, policy, AS_OF), facts, policy)
    assert found.verdicts["one-active-key"] == {PASS: 1}
    assert found.clauses["cis-aws-5.0 1.12 one-active-key"] == {FAIL: 1}


def test_every_clause_is_counted_even_without_a_verdict() -> None:
    """A clause of an edition that is judged stands in the tally also where there was nothing to judge."""
    policy = Policy(frameworks=tuple(edition(name) for name in EDITIONS))
    facts = snapshot()
    labels = [clause_key(clause, one.control) for name in EDITIONS for clause, one in criteria_of(edition(name))]
    assert tally(evaluate(facts, policy, AS_OF), facts, policy).clauses == {clause: {} for clause in labels}


def test_an_exemption_of_what_frameworks_alone_find_has_matched() -> None:
    """It excuses that as well, so it is not to be removed; what the policy finds, too, is still one violation."""
    scope = Scope(users=("ann", "bob"))
    terms = ("the reason", "owner", "approver", "ticket")
    exemption = Exemption("EX-1", ControlId.KEY_AGE, scope, *terms, AS_OF - 10 * DAY, AS_OF + 10 * DAY)
    expired = replace(exemption, id="EX-0", expires_at=AS_OF - 5 * DAY)
    policy = Policy(frameworks=(edition("cis-aws-3.0"),), exemptions=(exemption, expired))
    by_framework = report_user("ann", report_key(ago(90), used(1)))
    by_both = report_user("bob", report_key(ago(200), used(1)))
    for users, number in (((by_framework,), 1), ((by_both,), 1), ((by_framework, by_both), 2)):
        facts = facts_of(users)
        findings = evaluate(facts, policy, AS_OF)
        assert tally(findings, facts, policy).exemptions == {"EX-0": number, "EX-1": number}
