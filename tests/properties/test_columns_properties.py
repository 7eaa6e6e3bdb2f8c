"""Whole columns give what rows one by one give, and batches of accounts what all accounts give."""

import pickle
from collections import Counter
from datetime import timedelta
from functools import reduce
from operator import add

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.inventory import build_snapshot
from auditor.inventory.people import Person
from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    ControlId,
    CredentialReport,
    KeyStatus,
    LastUsed,
    ListedUser,
    LiveKey,
    NeverUsed,
    Outcome,
    Policy,
    ReportKey,
    ReportUser,
    Severity,
    Source,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from auditor.policy import Tally, evaluate, gravest_first, tally, users_to_look_up
from auditor.policy.summary import WORST_FIRST
from auditor.report_columns import ReportColumns
from auditor.tables import KEYS, USERS, table
from tests.builders import AS_OF, account_result, refused, report_user, root

TAGS = ("owner", "Owner")
TIMES = st.sampled_from([AS_OF - timedelta(days=days) for days in (-1, 0, 0.5, 30, 31, 45, 80, 90, 91, 400)])
USES: st.SearchStrategy[LastUsed] = st.one_of(
    st.just(NeverUsed()),
    st.builds(UsedAt, TIMES, st.none() | st.just("s3"), st.none() | st.just("eu-central-1")),
    st.just(UnknownUse("the credential report says no_information")),
)
PASSWORD_USES = USES.map(lambda use: UsedAt(use.at) if isinstance(use, UsedAt) else use)
STATUSES = st.sampled_from([KeyStatus.ACTIVE, KeyStatus.INACTIVE])
NAMES = st.lists(st.text("abAB-9", min_size=1, max_size=3), max_size=4, unique_by=str.lower)
POLICIES = st.builds(
    Policy,
    max_active_keys=st.integers(0, 2),
    inactive_root_key_fails=st.booleans(),
    severities=st.fixed_dictionaries({control: st.sampled_from(Severity) for control in ControlId}),
)
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def report_keys(draw: st.DrawFn) -> tuple[ReportKey, ...]:
    """None, one or two keys, in their slots."""
    slots = draw(st.sampled_from([(), (1,), (2,), (1, 2)]))
    return tuple(ReportKey(slot, draw(STATUSES), draw(st.none() | TIMES), draw(USES)) for slot in slots)


@st.composite
def lookups(draw: st.DrawFn, name: str) -> UserLookup:
    """What a look-up may tell of a user."""
    if draw(st.booleans()):
        return draw(st.sampled_from([UserLookup(name, failed="Throttling"), UserLookup(name, exists=False)]))
    numbers = draw(st.lists(st.integers(0, 99), max_size=3, unique=True))
    keys = tuple(LiveKey(f"AKIA{number:02}", draw(STATUSES), draw(TIMES), draw(USES)) for number in numbers)
    tags = draw(st.sampled_from([{}, {"Owner": "team"}, {"owner": "", "AKIA01": "nightly"}]))
    return UserLookup(name, keys, tags=tags)


@st.composite
def accounts(draw: st.DrawFn, number: int) -> AccountResult:
    """An account that was audited from a report or a listing, or not audited."""
    account = f"{number:012d}"
    names = draw(NAMES)
    looked_up = {name: draw(lookups(name)) for name in names if draw(st.booleans())}
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return refused(account)
    if kind == 1:
        listed = tuple(ListedUser(name, f"arn:aws:iam::{account}:user/{name}", draw(TIMES)) for name in names)
        present = draw(st.none() | st.booleans())
        facts = AccountFacts(Source.LISTING, listed_users=listed, lookups=looked_up, root_keys_present=present)
        return AccountResult(Account(account, "listed"), facts)
    more = st.none() | st.just("1 more")
    users = [
        report_user(
            name,
            *draw(report_keys()),
            account=account,
            additional=draw(more),
            created_at=draw(TIMES),
            password=draw(st.none() | st.booleans()),
            password_used=draw(PASSWORD_USES),
            password_changed=draw(st.none() | TIMES),
            mfa=draw(st.none() | st.booleans()),
        )
        for name in names
    ]
    return account_result(
        *(root(*draw(report_keys()), account=account), *users)[draw(st.integers(0, 1)) :],
        lookups=looked_up,
        account=account,
        column=draw(st.booleans()),
        with_root=False,
    )


@st.composite
def worlds(draw: st.DrawFn) -> list[AccountResult]:
    """Some accounts, in any order."""
    return draw(st.permutations([draw(accounts(number)) for number in range(draw(st.integers(0, 4)))]))


def reports(results: list[AccountResult]) -> list[CredentialReport]:
    """The credential reports among the results."""
    outcomes = [result.outcome for result in results]
    return [outcome.report for outcome in outcomes if isinstance(outcome, AccountFacts) and outcome.report]


# ------------------------------------------------------------------------------------------------- columns and rows


@EXAMPLES
@given(worlds())
def test_columns_keep_every_record(results: list[AccountResult]) -> None:
    """Records that were made into columns come back as they were: singly, in slices, joined, from another process."""
    for report in reports(results):
        records, columns = tuple(report.users), ReportColumns.of(report.users)
        assert columns == records
        assert [columns[position] for position in range(-len(records), len(records))] == [*records, *records]
        assert columns[1:] == records[1:]
        assert ReportColumns.joined([columns, columns]) == records * 2
        assert pickle.loads(pickle.dumps(columns)) == records


@EXAMPLES
@given(worlds())
def test_the_tables_are_those_of_the_users_one_by_one(results: list[AccountResult]) -> None:
    """Users known by columns and users that were looked up or listed stand in one order, and none is lost."""
    people = [
        Person.of(result.account, result.outcome, row)
        for result in sorted(results, key=lambda result: result.account.id)
        if isinstance(result.outcome, AccountFacts)
        for row in (result.outcome.report.users if result.outcome.report else result.outcome.listed_users)
    ]
    built = build_snapshot(results)
    pd.testing.assert_frame_equal(built.users, table(USERS, [person.user_row() for person in people]))
    pd.testing.assert_frame_equal(built.keys, table(KEYS, [key for person in people for key in person.key_rows()]))
    present = Counter(person.account.id for person in people for _ in person.present)
    audited = built.accounts[built.accounts["audited"]]
    assert audited["keys"].tolist() == [present[account] for account in audited["account_id"]]


def deserves(user: ReportUser, report: CredentialReport, policy: Policy, *, every_key: bool) -> bool:
    """Whether one user is to be looked up, by the rule as it is told."""
    horizon = AS_OF + policy.warning_window
    active = [key for key in user.keys if key.status is KeyStatus.ACTIVE]
    undated = any(key.created_at is None for key in active)
    old = any(key.created_at and horizon - key.created_at > policy.key_age.maximum for key in active)
    starts = [key.last_used.at if isinstance(key.last_used, UsedAt) else key.created_at for key in active]
    idle = any(start is not None and horizon - start >= policy.key_unused.maximum for start in starts)
    unused = [key.created_at for key in active if not isinstance(key.last_used, UsedAt)]
    born = any(at and user.created_at and at - user.created_at < timedelta(minutes=10) for at in unused)
    at_creation = bool(user.password_enabled) and born
    seen = user.password_last_used.at if isinstance(user.password_last_used, UsedAt) else user.password_changed_at
    unseen = seen is not None and horizon - seen >= policy.password_unused.maximum
    console = bool(user.password_enabled) and (user.mfa_active is False or unseen)
    flagged = (
        console
        or undated
        or old
        or idle
        or at_creation
        or len(active) > policy.max_active_keys
        or bool(user.additional_credentials)
    )
    full = len(user.keys) == 2 and not report.has_additional_column
    return not user.is_root and (flagged or full or (every_key and bool(user.keys)))


@EXAMPLES
@given(worlds(), POLICIES, st.booleans())
def test_users_to_look_up_are_chosen_one_by_one(
    results: list[AccountResult],
    policy: Policy,
    every_key: bool,  # noqa: FBT001 - drawn
) -> None:
    """The choice over columns is the rule for each user, in the report's order."""
    for report in reports(results):
        chosen = [user.name for user in report.users if deserves(user, report, policy, every_key=every_key)]
        assert list(users_to_look_up(report, policy, AS_OF, every_key=every_key)) == chosen


# ------------------------------------------------------------------------------------------------- batches


@EXAMPLES
@given(worlds(), POLICIES)
def test_batches_of_accounts_give_what_all_accounts_give(results: list[AccountResult], policy: Policy) -> None:
    """Tables one after the other are the table of all, in order of account, and tallies add up to the tally of all."""
    everything = build_snapshot(results)
    findings = evaluate(everything, policy, AS_OF)
    apart = [build_snapshot([result]) for result in sorted(results, key=lambda one: one.account.id)]
    judged = [evaluate(part, policy, AS_OF) for part in apart]
    if judged:
        pd.testing.assert_frame_equal(pd.concat(judged, ignore_index=True), findings)
    tallies = [tally(part, facts, policy) for part, facts in zip(judged, apart, strict=True)]
    assert reduce(add, tallies, Tally()) == tally(findings, everything, policy)


@EXAMPLES
@given(worlds(), POLICIES)
def test_the_gravest_come_first(results: list[AccountResult], policy: Policy) -> None:
    """By severity, control, account, user, slot and id, the same from all findings and from some of them."""
    findings = evaluate(build_snapshot(results), policy, AS_OF)
    ranks = findings["severity"].map({severity.value: -severity.rank for severity in Severity})
    controls = findings["control"].map({control.value: place for place, control in enumerate(ControlId)})
    order = ["rank", "place", "account_id", "user", "slot", "access_key_id"]
    expected = findings.assign(rank=ranks, place=controls).sort_values(order, kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(gravest_first(findings), expected[list(findings)])
    some = gravest_first(findings[findings["outcome"].eq("unknown")])
    pd.testing.assert_frame_equal(some, gravest_first(findings).query("outcome == 'unknown'").reset_index(drop=True))


def worst_by_identity(findings: pd.DataFrame) -> Counter[str]:
    """Keys by worst outcome, each key found by what is known of it; the n-th of those that share all that is one.

    What passes a control that is judged of some keys alone says nothing of a key that is not in use.
    """
    on_keys = findings[findings["key_status"].notna() & findings["key_status"].ne("Deleted")]
    of_some = on_keys["control"].isin(["key-at-user-creation", "inactive-key-retained", "quarantined-key"])
    on_keys = on_keys[~(of_some & on_keys["outcome"].isin([Outcome.COMPLIANT, Outcome.NOT_APPLICABLE]))]
    rank = {outcome.value: position for position, outcome in enumerate(WORST_FIRST)}
    identity = ["account_id", "user_arn", "slot", "access_key_id", "created_at"]
    twin = on_keys.groupby([*identity, "control"], dropna=False, sort=False).cumcount()
    ranked = on_keys.assign(rank=on_keys["outcome"].map(rank), twin=twin)
    worst = ranked.groupby([*identity, "twin"], dropna=False, sort=False)["rank"].min()
    return Counter(WORST_FIRST[int(position)].value for position in worst)


@EXAMPLES
@given(worlds(), POLICIES)
def test_every_key_counts_once_with_its_worst_outcome(results: list[AccountResult], policy: Policy) -> None:
    """Keys and verdicts are counted as they are when each is looked for by itself."""
    facts = build_snapshot(results)
    findings = evaluate(facts, policy, AS_OF)
    counted = tally(findings, facts, policy)
    assert counted.keys == worst_by_identity(findings)
    by_control = Counter(zip(findings["control"], findings["outcome"], strict=True))
    assert {
        (name, outcome): n for name, counts in counted.verdicts.items() for outcome, n in counts.items()
    } == by_control
    assert set(Outcome) >= {outcome for _, outcome in by_control}
