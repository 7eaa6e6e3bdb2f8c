"""The controls, case by case: boundaries to the second, and what unknown does."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    ControlId,
    KeyStatus,
    Limit,
    ListedUser,
    Operator,
    Outcome,
    Policy,
    Source,
    UnknownUse,
    UserLookup,
)
from auditor.policy import evaluate, tally
from auditor.tables import FINDINGS, Snapshot
from tests.builders import (
    AS_OF,
    SECOND,
    account_result,
    ago,
    facts_of,
    live_key,
    refused,
    report_key,
    report_user,
    root,
    snapshot,
    used,
)

POLICY = Policy()


def judge(facts: Snapshot, control: ControlId, policy: Policy = POLICY) -> pd.DataFrame:
    """The verdicts of one control."""
    findings = evaluate(facts, policy, AS_OF)
    return findings[findings["control"].eq(control.value)].reset_index(drop=True)


def outcome_of(facts: Snapshot, control: ControlId, user: str = "ann", policy: Policy = POLICY) -> str:
    """The one verdict of a control on a user or on the user's only key."""
    verdicts = judge(facts, control, policy)
    mine = verdicts[verdicts["user"].eq(user)]
    assert len(mine) == 1
    return str(mine["outcome"].iloc[0])


@pytest.mark.parametrize(
    ("operator", "created_at", "expected"),
    [
        (Operator.MORE_THAN, ago(90) + SECOND, Outcome.COMPLIANT),
        (Operator.MORE_THAN, ago(90), Outcome.COMPLIANT),
        (Operator.MORE_THAN, ago(90) - SECOND, Outcome.NON_COMPLIANT),
        (Operator.AT_LEAST, ago(90) + SECOND, Outcome.COMPLIANT),
        (Operator.AT_LEAST, ago(90), Outcome.NON_COMPLIANT),
        (Operator.AT_LEAST, ago(90) - SECOND, Outcome.NON_COMPLIANT),
    ],
)
def test_key_age_is_a_duration_to_the_second(operator: Operator, created_at: datetime, expected: Outcome) -> None:
    """A key of exactly the limit passes under ">" and fails under ">="; one second decides on either side."""
    policy = Policy(key_age=Limit(timedelta(days=90), operator))
    facts = facts_of([report_user("ann", report_key(created_at, used(1)))])
    assert outcome_of(facts, ControlId.KEY_AGE, policy=policy) == expected


@pytest.mark.parametrize(
    ("operator", "seconds", "expected"),
    [
        (Operator.AT_LEAST, 1, Outcome.COMPLIANT),
        (Operator.AT_LEAST, 0, Outcome.NON_COMPLIANT),
        (Operator.AT_LEAST, -1, Outcome.NON_COMPLIANT),
        (Operator.MORE_THAN, 1, Outcome.COMPLIANT),
        (Operator.MORE_THAN, 0, Outcome.COMPLIANT),
        (Operator.MORE_THAN, -1, Outcome.NON_COMPLIANT),
    ],
)
@pytest.mark.parametrize("never", [True, False], ids=["never used", "used"])
def test_key_unused_is_measured_from_last_use_or_creation(
    operator: Operator, seconds: int, expected: Outcome, *, never: bool
) -> None:
    """45 days are counted from the last use, or from creation for a key that was never used, to the second."""
    instant = ago(45) + seconds * SECOND
    key = report_key(instant) if never else report_key(ago(80), used(45).__class__(instant))
    policy = Policy(key_unused=Limit(timedelta(days=45), operator))
    assert outcome_of(facts_of([report_user("ann", key)]), ControlId.KEY_UNUSED, policy=policy) == expected


@pytest.mark.parametrize(
    ("age_seconds", "expected"),
    [(86_399, Outcome.COMPLIANT), (86_400, Outcome.NON_COMPLIANT), (86_401, Outcome.NON_COMPLIANT)],
)
def test_a_key_younger_than_a_day_is_not_judged_unused(age_seconds: int, expected: Outcome) -> None:
    """AWS records use with delay, so the strictest limit still leaves a new key its first day."""
    policy = Policy(key_unused=Limit(timedelta(seconds=1), Operator.AT_LEAST))
    facts = facts_of([report_user("ann", report_key(ago(seconds=age_seconds)))])
    assert outcome_of(facts, ControlId.KEY_UNUSED, policy=policy) == expected


def test_inactive_keys_are_out_of_scope_of_age_and_use() -> None:
    """An inactive key is inventoried, never a violation of age or use (CIS 1.12 and 1.14 ask of active keys)."""
    facts = facts_of([report_user("ann", report_key(ago(900), active=False))])
    assert outcome_of(facts, ControlId.KEY_AGE) == Outcome.NOT_APPLICABLE
    assert outcome_of(facts, ControlId.KEY_UNUSED) == Outcome.NOT_APPLICABLE


def test_the_two_slots_never_leak_into_each_other() -> None:
    """An old used key beside a young unused one: each fails and passes on its own facts alone."""
    old = report_key(ago(400), used(1), slot=1)
    young = report_key(ago(50), slot=2)
    verdicts = evaluate(facts_of([report_user("ann", old, young)]), POLICY, AS_OF)
    by_slot = {
        (record["control"], record["slot"]): record["outcome"]
        for record in verdicts[verdicts["slot"].notna()].to_dict("records")
    }
    assert by_slot == {
        ("key-age", 1): "non_compliant",
        ("key-unused", 1): "compliant",
        ("key-age", 2): "compliant",
        ("key-unused", 2): "non_compliant",
    }


def test_a_key_without_a_creation_date_is_unknown() -> None:
    """An active key whose date AWS does not give cannot pass."""
    facts = facts_of([report_user("ann", report_key(None))])
    assert outcome_of(facts, ControlId.KEY_AGE) == Outcome.UNKNOWN
    assert outcome_of(facts, ControlId.KEY_UNUSED) == Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("reported", "expected"),
    [(used(3), Outcome.COMPLIANT), (used(60), Outcome.UNKNOWN), (None, Outcome.UNKNOWN)],
    ids=["used three days ago", "used long ago", "never used"],
)
def test_a_last_used_lookup_that_failed_never_passes_nor_fails_alone(reported: object, expected: Outcome) -> None:
    """Only a use that is on record can make the verdict; an old or missing one may have been overtaken."""
    created = ago(80)
    key = report_key(created, reported)  # type: ignore[arg-type]
    lookup = UserLookup("ann", (live_key("AKIAEXAMPLE00000001", created, UnknownUse("Throttling")),))
    facts = snapshot(account_result(report_user("ann", key), lookups={"ann": lookup}))
    verdicts = judge(facts, ControlId.KEY_UNUSED)
    assert verdicts["outcome"].tolist() == [expected]
    if expected is Outcome.UNKNOWN:
        assert "Throttling" in verdicts["reason"].iloc[0]


def test_a_listing_that_failed_makes_a_violation_unknown_but_not_a_pass() -> None:
    """What would fail on the report's word alone is unknown; what passes on it still passes."""
    users = [
        report_user("ann", report_key(ago(400), used(1))),
        report_user("bob", report_key(ago(10), used(1))),
        report_user("cat", report_key(ago(30), used(1)), report_key(ago(20), used(1), slot=2)),
    ]
    lookups = {name: UserLookup(name, failed="AccessDenied") for name in ("ann", "bob", "cat")}
    facts = snapshot(account_result(*users, lookups=lookups))
    assert outcome_of(facts, ControlId.KEY_AGE) == Outcome.UNKNOWN
    assert outcome_of(facts, ControlId.KEY_AGE, "bob") == Outcome.COMPLIANT
    assert outcome_of(facts, ControlId.ONE_ACTIVE_KEY, "cat") == Outcome.UNKNOWN
    assert outcome_of(facts, ControlId.ONE_ACTIVE_KEY, "bob") == Outcome.COMPLIANT


@pytest.mark.parametrize(
    ("keys", "inactive_fails", "expected"),
    [
        ((), False, [Outcome.COMPLIANT]),
        ((report_key(ago(9)),), False, [Outcome.NON_COMPLIANT]),
        ((report_key(ago(9), active=False),), False, [Outcome.COMPLIANT]),
        ((report_key(ago(9), active=False),), True, [Outcome.NON_COMPLIANT]),
        (
            (report_key(ago(9)), report_key(ago(9), slot=2, active=False)),
            False,
            [Outcome.NON_COMPLIANT, Outcome.COMPLIANT],
        ),
    ],
)
def test_root_keys_have_their_own_control(
    keys: tuple[object, ...], expected: list[Outcome], *, inactive_fails: bool
) -> None:
    """An active root key always fails, a present one only where the policy says so; age and use never judge it."""
    facts = facts_of([root(*keys)])  # type: ignore[arg-type]
    policy = Policy(inactive_root_key_fails=inactive_fails)
    verdicts = judge(facts, ControlId.ROOT_ACCESS_KEY, policy)
    assert verdicts["outcome"].tolist() == expected
    for control in (ControlId.KEY_AGE, ControlId.KEY_UNUSED):
        assert set(judge(facts, control, policy)["outcome"]) <= {Outcome.NOT_APPLICABLE}


@pytest.mark.parametrize(
    ("present", "expected"),
    [(False, Outcome.COMPLIANT), (True, Outcome.NON_COMPLIANT), (None, Outcome.UNKNOWN)],
)
def test_without_a_root_row_the_account_summary_decides(expected: Outcome, *, present: bool | None) -> None:
    """Without root row and without summary, whether there is a root key is unknown, not no."""
    result = account_result(report_user("ann"), with_root=False)
    assert isinstance(result.outcome, AccountFacts)
    facts = AccountFacts(result.outcome.source, result.outcome.report, result.outcome.meta, root_keys_present=present)
    assert (
        outcome_of(snapshot(AccountResult(result.account, facts)), ControlId.ROOT_ACCESS_KEY, "<root_account>")
        == expected
    )


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ((), Outcome.NOT_APPLICABLE),
        ((True,), Outcome.COMPLIANT),
        ((True, False), Outcome.COMPLIANT),
        ((False, False), Outcome.COMPLIANT),
        ((True, True), Outcome.NON_COMPLIANT),
    ],
)
def test_one_active_key_counts_active_keys_only(active: tuple[bool, ...], expected: Outcome) -> None:
    """Inactive keys do not count (CIS 1.13)."""
    keys = [report_key(ago(50 + slot), slot=slot, active=state) for slot, state in enumerate(active, start=1)]
    assert outcome_of(facts_of([report_user("ann", *keys)]), ControlId.ONE_ACTIVE_KEY) == expected


def test_a_third_key_is_found_and_judged() -> None:
    """A user with three keys fails extra-keys, and the key that the report does not show is judged like any other."""
    created = [ago(100), ago(10), ago(300)]
    keys = [report_key(created[0], slot=1), report_key(created[1], slot=2)]
    lookup = UserLookup("ann", tuple(live_key(f"AKIAEXAMPLE0000000{n}", at) for n, at in enumerate(created)))
    facts = snapshot(account_result(report_user("ann", *keys), lookups={"ann": lookup}))
    assert outcome_of(facts, ControlId.EXTRA_KEYS) == Outcome.NON_COMPLIANT
    ages = judge(facts, ControlId.KEY_AGE).set_index("access_key_id")["outcome"].to_dict()
    assert ages == {
        "AKIAEXAMPLE00000000": "non_compliant",
        "AKIAEXAMPLE00000001": "compliant",
        "AKIAEXAMPLE00000002": "non_compliant",
    }


@pytest.mark.parametrize(
    ("additional", "column", "lookup", "expected"),
    [
        (None, True, None, Outcome.COMPLIANT),
        (None, False, None, Outcome.NOT_APPLICABLE),
        ("1 additional key", True, None, Outcome.UNKNOWN),
        (None, False, UserLookup("ann", failed="AccessDenied"), Outcome.UNKNOWN),
    ],
)
def test_extra_keys_are_said_only_as_far_as_they_can_be_known(
    additional: str | None, expected: Outcome, *, column: bool, lookup: UserLookup | None
) -> None:
    """Both slots taken: only the listing or the report's optional column can say that there is no third key."""
    user = report_user("ann", report_key(ago(9)), report_key(ago(8), slot=2, active=False), additional=additional)
    facts = snapshot(account_result(user, column=column, lookups={"ann": lookup} if lookup else {}))
    assert outcome_of(facts, ControlId.EXTRA_KEYS) == expected


def test_users_whose_keys_could_not_be_listed_are_unknown() -> None:
    """Without a credential report, a user whose listing failed is unknown, not a user without keys."""
    users = (ListedUser("ann", "arn:aws:iam::111122223333:user/ann", ago(9)),)
    facts = AccountFacts(Source.LISTING, listed_users=users, lookups={"ann": UserLookup("ann", failed="Throttling")})
    tables = snapshot(AccountResult(Account("111122223333"), facts))
    assert outcome_of(tables, ControlId.ONE_ACTIVE_KEY) == Outcome.UNKNOWN
    assert outcome_of(tables, ControlId.EXTRA_KEYS) == Outcome.UNKNOWN


def test_the_reason_states_the_due_date_and_due_at_is_the_instant() -> None:
    """The due date is creation plus the limit, in words and as a value."""
    facts = facts_of([report_user("ann", report_key(ago(100), used(1)))])
    verdict = judge(facts, ControlId.KEY_AGE).iloc[0]
    assert verdict["due_at"] == ago(10)
    assert "2026-11-12" in verdict["reason"]
    assert verdict["age_days"] == 100


def test_an_account_that_was_not_audited_has_no_verdicts() -> None:
    """A refused account is coverage, not a verdict; above all not a compliant one."""
    findings = evaluate(snapshot(account_result(report_user("ann")), refused()), POLICY, AS_OF)
    assert set(findings["account_id"]) == {"111122223333"}


def test_the_table_has_the_declared_columns_even_when_empty() -> None:
    """No account at all still gives the table, with its columns and dtypes."""
    findings = evaluate(snapshot(), POLICY, AS_OF)
    assert {name: str(dtype) for name, dtype in findings.dtypes.items()} == dict(FINDINGS)
    assert findings.empty


def test_a_key_deleted_since_the_report_is_judged_on_what_is_true_now() -> None:
    """Deleted since: not applicable; the key that replaced it is judged."""
    lookup = UserLookup("ann", (live_key("AKIAEXAMPLE00000009", AS_OF),))
    old = report_user("ann", report_key(ago(400)))
    facts = snapshot(account_result(old, lookups={"ann": lookup}, generated_at=ago(seconds=3600)))
    verdicts = judge(facts, ControlId.KEY_AGE).set_index("key_status")["outcome"].to_dict()
    assert verdicts == {KeyStatus.DELETED: Outcome.NOT_APPLICABLE, KeyStatus.ACTIVE: Outcome.COMPLIANT}


def test_an_unconfirmed_key_is_not_waved_through_as_inactive() -> None:
    """Both keys of one second were switched on again since the report: neither may pass for inactive."""
    reported = [report_key(ago(400), slot=1, active=False), report_key(ago(400), slot=2, active=False)]
    lookup = UserLookup("ann", (live_key("AKIAONE", ago(400)), live_key("AKIATWO", ago(400))))
    facts = snapshot(account_result(report_user("ann", *reported), lookups={"ann": lookup}))
    assert judge(facts, ControlId.KEY_AGE)["outcome"].tolist() == [Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_a_key_created_after_the_instant_is_not_judged() -> None:
    """It did not exist then: neither compliant nor not."""
    facts = facts_of([report_user("ann", report_key(AS_OF + SECOND))])
    assert outcome_of(facts, ControlId.KEY_AGE) == Outcome.NOT_APPLICABLE
    assert outcome_of(facts, ControlId.KEY_UNUSED) == Outcome.NOT_APPLICABLE


def test_users_that_could_not_be_listed_widen_the_bounds() -> None:
    """Their keys are not known, so the rate is not certain."""
    users = tuple(ListedUser(name, f"arn:aws:iam::111122223333:user/{name}", ago(9)) for name in ("ann", "bob"))
    lookups = {
        "ann": UserLookup("ann", failed="AccessDenied"),
        "bob": UserLookup("bob", (live_key("AKIABOB", ago(5), used(1)),)),
    }
    facts = AccountFacts(Source.LISTING, listed_users=users, lookups=lookups, root_keys_present=False)
    tables = snapshot(AccountResult(Account("111122223333"), facts))
    summary = tally(evaluate(tables, POLICY, AS_OF), tables, POLICY).summary()
    assert (summary.compliance_rate, summary.rate_lower, summary.rate_upper) == (1.0, 0.5, 1.0)


def test_keys_that_cannot_be_told_apart_count_as_many() -> None:
    """Four keys of one second are four keys of unknown outcome, not three."""
    reported = [report_key(ago(400), slot=1), report_key(ago(400), slot=2)]
    lookup = UserLookup("ann", tuple(live_key(f"AKIA{number}", ago(400)) for number in range(4)))
    tables = snapshot(account_result(report_user("ann", *reported), lookups={"ann": lookup}))
    assert tally(evaluate(tables, POLICY, AS_OF), tables, POLICY).summary().unknown == 4
