"""What holds for every table of users, under every policy."""

from datetime import timedelta

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.inventory import resolve_keys
from auditor.model import (
    KeyStatus,
    Limit,
    LiveKey,
    NeverUsed,
    Operator,
    Outcome,
    Policy,
    ReportKey,
    ReportUser,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from auditor.policy import evaluate, tally, users_to_look_up
from auditor.tables import Snapshot
from tests.builders import AS_OF, account_result, live_key, refused, report_key, report_user, snapshot

SECONDS = st.integers(min_value=0, max_value=200 * 86_400)
LAST_USES = st.one_of(
    st.just(NeverUsed()),
    SECONDS.map(lambda seconds: UsedAt(AS_OF - timedelta(seconds=seconds), "s3", None)),
    st.just(UnknownUse("no_information")),
)
POLICIES = st.builds(
    Policy,
    key_age=st.builds(Limit, st.integers(1, 180).map(lambda days: timedelta(days=days)), st.sampled_from(Operator)),
    key_unused=st.builds(Limit, st.integers(1, 180).map(lambda days: timedelta(days=days)), st.sampled_from(Operator)),
    inactive_root_key_fails=st.booleans(),
)
BAD = {Outcome.NON_COMPLIANT.value, Outcome.UNKNOWN.value}
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def keys(draw: st.DrawFn, slot: int = 1) -> ReportKey:
    """A key of any age and use, in a slot."""
    created = AS_OF - timedelta(seconds=draw(SECONDS))
    return report_key(created, draw(LAST_USES), slot=slot, active=draw(st.booleans()))


@st.composite
def users(draw: st.DrawFn, name: str | None = None) -> ReportUser:
    """A user with none, one or two keys."""
    held = [draw(keys(slot=slot)) for slot in range(1, draw(st.integers(1, 3)))]
    return report_user(name or draw(st.from_regex(r"[a-z]{1,8}", fullmatch=True)), *held)


def populations() -> st.SearchStrategy[list[ReportUser]]:
    """Users with different names."""
    return st.lists(users(), max_size=6, unique_by=lambda user: user.name)


def verdicts(facts: Snapshot, policy: Policy, *, without: str = "") -> pd.DataFrame:
    """All verdicts but those on one user, in their order."""
    findings = evaluate(facts, policy, AS_OF)
    return findings[findings["user"].ne(without)].reset_index(drop=True)


@EXAMPLES
@given(populations(), users(name="zz-new"), POLICIES)
def test_adding_a_user_never_changes_another_verdict(
    population: list[ReportUser], added: ReportUser, policy: Policy
) -> None:
    """Every verdict but those on the new user is the same, to the letter, with and without that user."""
    before = verdicts(snapshot(account_result(*population)), policy)
    after = verdicts(snapshot(account_result(*population, added)), policy, without=added.name)
    pd.testing.assert_frame_equal(before, after)


@EXAMPLES
@given(keys(), SECONDS, POLICIES)
def test_making_a_key_older_never_makes_it_compliant(key: ReportKey, older: int, policy: Policy) -> None:
    """Where the younger key fails or is unknown, the older one does not pass."""
    assert key.created_at is not None
    aged = report_key(key.created_at - timedelta(seconds=older), key.last_used, active=key.status is KeyStatus.ACTIVE)
    before = verdicts(snapshot(account_result(report_user("ann", key))), policy)
    after = verdicts(snapshot(account_result(report_user("ann", aged))), policy)
    for control in ("key-age", "key-unused"):
        was = set(before.loc[before["control"].eq(control), "outcome"])
        now = set(after.loc[after["control"].eq(control), "outcome"])
        assert not (was & BAD) or now & BAD


@EXAMPLES
@given(populations(), POLICIES)
def test_whatever_fails_on_the_reports_word_is_looked_up(population: list[ReportUser], policy: Policy) -> None:
    """The choice of users for the live look-up covers every violation of a user's key that the report shows."""
    result = account_result(*population)
    chosen = users_to_look_up(result.outcome.report, policy, AS_OF)  # type: ignore[union-attr, arg-type]
    findings = evaluate(snapshot(result), policy, AS_OF)
    failing = set(findings.loc[findings["outcome"].eq("non_compliant") & findings["slot"].notna(), "user"])
    assert failing - {"<root_account>"} <= set(chosen)


@EXAMPLES
@given(populations(), st.integers(0, 3), POLICIES)
def test_the_bounds_hold_the_rate_and_the_counts_add_up(
    population: list[ReportUser], missing: int, policy: Policy
) -> None:
    """Lower ≤ upper, both within 0 and 1; equal to the rate where all is known; every key is counted once."""
    facts = snapshot(account_result(*population), *(refused(f"{number:012d}") for number in range(missing)))
    summary = tally(evaluate(facts, policy, AS_OF), facts, policy).summary()
    counted = summary.compliant + summary.non_compliant + summary.unknown + summary.not_applicable + summary.exempt
    assert counted == sum(len(user.keys) for user in population)
    if summary.rate_lower is None or summary.rate_upper is None:
        assert summary.compliant + summary.non_compliant + summary.unknown + missing == 0
        return
    assert 0 <= summary.rate_lower <= summary.rate_upper <= 1
    if not missing and not summary.unknown:
        assert summary.rate_lower == summary.compliance_rate == summary.rate_upper


LISTED = st.lists(
    st.tuples(st.sampled_from([10, 20, 100]), st.booleans()).map(
        lambda made: live_key("", AS_OF - timedelta(days=made[0]), active=made[1])
    ),
    max_size=4,
)


@EXAMPLES
@given(st.lists(st.tuples(st.sampled_from([10, 20, 100]), st.booleans()), max_size=2), LISTED)
def test_the_join_is_one_to_one(reported: list[tuple[int, bool]], listed: list[LiveKey]) -> None:
    """No listed key stands for two slots, none that differs in time is matched, and none is lost."""
    slots = [
        report_key(AS_OF - timedelta(days=days), slot=slot, active=active)
        for slot, (days, active) in enumerate(reported, start=1)
    ]
    named = [LiveKey(f"AKIA{number}", key.status, key.created_at, key.last_used) for number, key in enumerate(listed)]
    resolved = resolve_keys(slots, UserLookup("ann", tuple(named)), AS_OF)
    ids = [key.access_key_id for key in resolved if key.access_key_id]
    assert len(ids) == len(set(ids))
    by_id = {key.access_key_id: key for key in named}
    for key in resolved:
        if key.access_key_id:
            assert (key.created_at, key.status) == (
                by_id[key.access_key_id].created_at,
                by_id[key.access_key_id].status,
            )
    unnamed = sum(key.access_key_id is None and key.status is not KeyStatus.DELETED for key in resolved)
    assert len(named) <= len(ids) + unnamed
