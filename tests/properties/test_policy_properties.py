"""What rules, exemptions, owners and frameworks do to verdicts, for any users, accounts and policies."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import product
from operator import add
from random import Random
from typing import Any, TypeVar

import pandas as pd
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from auditor.config import built_in_framework
from auditor.inventory import build_snapshot
from auditor.model import (
    AccountFacts,
    AccountResult,
    Clause,
    ControlId,
    CredentialReport,
    Criterion,
    Exemption,
    Framework,
    LastUsed,
    Limit,
    LimitRule,
    NeverUsed,
    Operator,
    Outcome,
    OwnerRule,
    Policy,
    Quarantine,
    ReportKey,
    ReportUser,
    Scope,
    ServiceCredentials,
    Support,
    UnknownUse,
    UserKind,
    UserLookup,
)
from auditor.policy import Tally, clause_key, evaluate, tally, users_to_look_up, with_owners
from auditor.tables import Snapshot
from tests.builders import (
    AS_OF,
    DAY,
    SECOND,
    account_result,
    ago,
    looked_up,
    refused,
    report_key,
    report_user,
    root,
    seen_inactive_since,
    service_credential,
    used,
)

EXAMPLES = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

T = TypeVar("T")

PASS, FAIL, UNSURE, EXEMPT = Outcome.COMPLIANT, Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT
LIMITED = (
    ControlId.KEY_AGE,
    ControlId.KEY_UNUSED,
    ControlId.INACTIVE_KEY_RETAINED,
    ControlId.SERVICE_CREDENTIAL_AGE,
    ControlId.CONSOLE_PASSWORD_UNUSED,
)
NAMES = ("ann", "bob", "ci-1", "ci-22", "cid")
PATHS = ("/", "/ci/", "/ci/deep/", "/cid/")
TAGS: Sequence[Mapping[str, str]] = (
    {},
    {"env": "prod"},
    {"env": "dev"},
    {"env": "prod", "team": "x"},
    {"owner": "tag"},
)
TAG_ENTRIES = ("env", "env=prod", "env=dev", "team=x")
UNITS = (("r-1",), ("r-1", "ou-1-a"), ("r-1", "ou-1-a", "ou-1-b"), ("r-1", "ou-1-c"))
UNIT_NAMES = ((), ("Work",), ("Work", "Prod"), ("Sand",))
UNIT_ENTRIES = ("r-1", "ou-1-a", "ou-1-b", "ou-1-c", "/Work", "/Work/Prod", "/Sand")
ACCOUNTS = ("000000000001", "000000000002", "000000000003")
KEY_IDS = ("AKIA001ANN1", "AKIA001BOB2", "AKIA002CI-11")

# ------------------------------------------------------------------------------------------------- what is drawn

DAYS = st.sampled_from([0.5, 3, 14, 29, 30, 45, 60, 89, 90, 100, 181, 400])
TIMES = DAYS.map(ago)
USES: st.SearchStrategy[LastUsed] = st.one_of(
    st.just(NeverUsed()), DAYS.map(used), st.just(UnknownUse("no_information"))
)
LIMITS = st.builds(
    Limit, st.sampled_from([10, 30, 45, 60, 90, 180, 365]).map(lambda days: days * DAY), st.sampled_from(Operator)
)


def some(entries: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Mostly none of them, or one or two."""
    return st.just(()) | st.lists(st.sampled_from(entries), unique=True, max_size=2).map(tuple)


SCOPES = st.builds(
    Scope,
    users=some(["ann", "bob", "ci-*", "ci-?", "*"]),
    tags=some(TAG_ENTRIES),
    paths=some(PATHS),
    accounts=some(ACCOUNTS),
    units=some(UNIT_ENTRIES),
    kind=st.none() | st.sampled_from(UserKind),
)
KEY_SCOPES = st.builds(lambda scope, keys: replace(scope, keys=keys), SCOPES, some(KEY_IDS))
CRITERIA = st.one_of(
    st.builds(Criterion, st.sampled_from(LIMITED), LIMITS),
    st.builds(Criterion, st.just(ControlId.KEY_UNUSED), LIMITS, st.sampled_from([0 * DAY, DAY])),
    st.builds(
        Criterion, st.just(ControlId.ONE_ACTIVE_KEY), grace=st.sampled_from([0, 14, 30]).map(lambda days: days * DAY)
    ),
    st.builds(
        Criterion, st.sampled_from([ControlId.ROOT_ACCESS_KEY, ControlId.KEY_AT_USER_CREATION]), strict=st.booleans()
    ),
    st.builds(Criterion, st.sampled_from([ControlId.CONSOLE_MFA, ControlId.QUARANTINED_KEY, ControlId.EXTRA_KEYS])),
)
SHIPPED = ("cis-aws-3.0", "cis-aws-5.0", "aws-fsbp", "fedramp-high")


def ids(letter: str, most: int) -> st.SearchStrategy[list[str]]:
    """Different ids."""
    return st.integers(0, most).map(lambda number: [f"{letter}{n}" for n in range(number)])


@st.composite
def frameworks(draw: st.DrawFn) -> tuple[Framework, ...]:
    """Shipped editions, and one with any clauses."""
    clauses = [
        Clause(f"{number}", "A clause", Support.DIRECT, "any", "us", criterion)
        for number, criterion in enumerate(draw(st.lists(CRITERIA, max_size=4, unique=True)))
    ]
    shipped = draw(st.lists(st.sampled_from(SHIPPED), unique=True, max_size=2))
    ours = (Framework("ours", "Ours", "1", "us", tuple(clauses)),) if clauses else ()
    return (*(built_in_framework(name).to_framework() for name in shipped), *ours)


def rules(controls: Sequence[ControlId] = LIMITED) -> st.SearchStrategy[tuple[LimitRule, ...]]:
    """Rules with different ids."""
    parts = st.tuples(st.sampled_from(controls), LIMITS, SCOPES)
    return st.lists(parts, max_size=4).map(
        lambda drawn: tuple(LimitRule(f"r{number}", *part) for number, part in enumerate(drawn))
    )


@st.composite
def exemptions(draw: st.DrawFn, name: str = "e0") -> Exemption:
    """An exemption of anything, mostly in force."""
    starts, ends = draw(st.sampled_from([(-90, 90), (-90, 90), (-1, 0), (0, 1), (1, 2)]))
    return Exemption(
        name,
        draw(st.sampled_from(ControlId)),
        draw(KEY_SCOPES),
        "Why.",
        "owner",
        "approver",
        "T-1",
        AS_OF + starts * DAY,
        AS_OF + ends * DAY,
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy with rules, exemptions, owner rules and frameworks."""
    return Policy(
        key_age=draw(LIMITS),
        key_unused=draw(LIMITS),
        inactive_retained=draw(LIMITS),
        service_credential_age=draw(LIMITS),
        password_unused=draw(LIMITS),
        overlap_passes=draw(st.booleans()),
        max_active_keys=draw(st.integers(1, 2)),
        inactive_root_key_fails=draw(st.booleans()),
        switched_off=draw(st.frozensets(st.sampled_from(ControlId), max_size=2)),
        limits=draw(rules()),
        exemptions=tuple(draw(exemptions(name)) for name in draw(ids("e", 3))),
        frameworks=draw(frameworks()),
        owner_tags=("owner",),
        owner_rules=tuple(OwnerRule(name, draw(KEY_SCOPES)) for name in draw(ids("o", 3))),
    )


@st.composite
def report_users(draw: st.DrawFn, name: str, account: str) -> ReportUser:
    """A user with a password or without, and with none, one or two keys."""
    born = draw(TIMES)
    held: list[ReportKey] = [
        report_key(
            max(born, draw(TIMES)) + (slot - 1) * SECOND, draw(USES), slot=slot, active=draw(st.integers(0, 3)) > 0
        )
        for slot in draw(st.sampled_from([(1,), (1,), (1, 2), (1, 2), ()]))
    ]
    return report_user(
        name,
        *held,
        account=account,
        path=draw(st.sampled_from(PATHS)),
        created_at=born,
        password=draw(st.booleans()),
        password_used=draw(USES),
        password_changed=draw(st.none() | TIMES),
        mfa=draw(st.booleans()),
    )


@st.composite
def lookups(draw: st.DrawFn, user: ReportUser) -> UserLookup:
    """A look-up that succeeded, or failed altogether, or only for the tags; or of a user who is gone."""
    kind = draw(st.sampled_from(["well", "well", "well", "failed", "tags failed", "gone"]))
    if kind == "gone":
        return UserLookup(user.name, exists=False)
    failed, tags_failed = ("Throttling" if kind == why else None for why in ("failed", "tags failed"))
    return looked_up(user, draw(st.sampled_from(TAGS)), failed=failed, tags_failed=tags_failed)


@st.composite
def account_results(draw: st.DrawFn, account: str) -> AccountResult:
    """An account with some users, of whom some were looked up; its place may be known, by ids or by names as well."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    users = [draw(report_users(name, account)) for name in names]
    place = draw(st.integers(0, len(UNITS) - 1))
    knows_ids, knows_names = draw(st.sampled_from([(False, False), (True, False), (True, True)]))
    credentials = tuple(
        service_credential(name, draw(TIMES), draw(st.none() | st.just(AS_OF + DAY)), name=f"ACCA{number}")
        for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), max_size=2)))
    )
    asked = ServiceCredentials(credentials, failed=None if credentials else draw(st.none() | st.just("AccessDenied")))
    held = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=1))
    return account_result(
        root(
            *(report_key(draw(TIMES), active=draw(st.booleans())) for _ in range(draw(st.integers(0, 1)))),
            account=account,
        ),
        *users,
        account=account,
        lookups={user.name: draw(lookups(user)) for user in users if draw(st.integers(0, 2)) > 0},
        units=UNITS[place] if knows_ids else None,
        unit_names=UNIT_NAMES[place] if knows_names else None,
        service_credentials=draw(st.none() | st.just(asked)),
        quarantine=draw(st.none() | st.just(Quarantine(dict.fromkeys(held, ("AWSCompromisedKeyQuarantineV3",))))),
    )


@st.composite
def worlds(draw: st.DrawFn) -> list[AccountResult]:
    """Some accounts, each audited or not."""
    chosen = draw(st.lists(st.sampled_from(ACCOUNTS), unique=True, min_size=1))
    return [refused(account) if draw(st.integers(0, 9)) == 9 else draw(account_results(account)) for account in chosen]


def facts_of(results: Iterable[AccountResult], policy: Policy) -> Snapshot:
    """The tables of facts, with owners; inactive keys were first seen so sixty days ago."""
    return with_owners(seen_inactive_since(build_snapshot(results), ago(60)), policy)


def judge(results: Iterable[AccountResult], policy: Policy) -> pd.DataFrame:
    """The verdicts."""
    return evaluate(facts_of(results, policy), policy, AS_OF)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """To the letter."""
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


# ------------------------------------------------------------------------------------------------- scopes, naively


@dataclass(frozen=True)
class Known:
    """What is known of a key's, a credential's or a user's owner, in one of the ways that it may be."""

    account: str
    user: str
    path: str | None
    """None for root."""
    human: bool
    tags: Mapping[str, str]
    units: tuple[str, ...]
    names: tuple[str, ...]
    key: str | None = None


def entry_rank(kind: str, entry: str) -> tuple[int, ...]:
    """Where an entry stands: user, pattern, tag, path, account, unit, kind; the later the number the less it says."""
    numbers = [0] * 8
    match kind:
        case "keys":
            numbers[0] = 1
        case "users" if not set(entry) & {"*", "?"}:
            numbers[1] = 1
        case "users":
            numbers[2] = 1 + len(entry.replace("*", "").replace("?", ""))
        case "tags":
            numbers[3] = 2 if "=" in entry else 1
        case "paths":
            numbers[4] = entry.count("/")
        case "accounts":
            numbers[5] = 1
        case "units":
            by_id = next((units.index(entry) for units in UNITS if entry in units), 0)
            numbers[6] = 1 + (entry.count("/") or by_id)
        case _:
            numbers[7] = 1
    return tuple(numbers)


def has(known: Known, kind: str, entry: str) -> bool:  # noqa: PLR0911 - one for each kind
    """Whether an entry of this kind means this one."""
    match kind:
        case "keys":
            return known.key == entry
        case "users":
            pattern = re.escape(entry).replace(r"\*", ".*").replace(r"\?", ".")
            return known.path is not None and re.fullmatch(pattern, known.user) is not None
        case "tags":
            spelt = {*known.tags, *(f"{key}={value}" for key, value in known.tags.items())}
            return known.path is not None and entry in spelt
        case "paths":
            return known.path is not None and known.path.startswith(entry)
        case "accounts":
            return known.account == entry
        case "units":
            spelt = {"/" + "/".join(known.names[:depth]) for depth in range(1, 1 + len(known.names))}
            return entry in {*known.units, *spelt}
        case _:
            return known.path is not None and known.human is (entry == UserKind.HUMAN)


def kinds_of(scope: Scope) -> dict[str, tuple[str, ...]]:
    """The kinds of entries that a scope has."""
    lists = {name: getattr(scope, name) for name in ("keys", "users", "tags", "paths", "accounts", "units")}
    return {name: entries for name, entries in lists.items() if entries} | (
        {"kind": (str(scope.kind),)} if scope.kind else {}
    )


def matched(scope: Scope, known: Known) -> tuple[int, ...] | None:
    """How specifically a scope means this one, by its best entries; None where it does not."""
    total = [0] * 8
    for kind, entries in kinds_of(scope).items():
        ranks = [entry_rank(kind, entry) for entry in entries if has(known, kind, entry)]
        if not ranks:
            return None
        total = [one + other for one, other in zip(total, max(ranks), strict=True)]
    return tuple(total)


def limit_of(policy: Policy, control: ControlId, own: Limit, known: Known) -> Limit:
    """The documented rule: the most specific wins, of equally specific ones the strictest."""
    found = [
        (tuple(-number for number in rank), rule.limit.maximum, rule.limit.operator is Operator.MORE_THAN, rule.limit)
        for rule in policy.limits
        if rule.control is control and (rank := matched(rule.scope, known)) is not None
    ]
    return min(found, key=lambda one: one[:3])[3] if found else own


SOME_UNITS = [
    tuple(unit for unit, inside in zip(UNITS[2] + UNITS[3][1:], way, strict=True) if inside)
    for way in product([True, False], repeat=4)
]
"""Where nobody told how the units are nested, an account may be in any of them."""


def may_be(result: AccountResult, user: ReportUser, key: str | None = None) -> Iterator[Known]:
    """Every way in which a user may be, by all that was read."""
    assert isinstance(result.outcome, AccountFacts)
    lookup = result.outcome.lookups.get(user.name)
    account = result.account
    path = None if user.is_root else user.arn.split(":user", 1)[1].removesuffix(user.name)
    tags: Sequence[Mapping[str, str]] = [{}]
    if not user.is_root:
        unread = lookup is None or not lookup.exists or lookup.failed or lookup.tags_failed
        choices = product([None, "prod", "dev", "-"], [None, "x", "-"])
        tags = (
            [{key: value for key, value in (("env", env), ("team", team)) if value} for env, team in choices]
            if unread or lookup is None
            else [lookup.tags]
        )
    units = SOME_UNITS if account.units is None else [account.units]
    names = UNIT_NAMES if account.unit_names is None else [account.unit_names]
    for some_tags, some_units, some_names in product(tags, units, names):
        yield Known(account.id, user.name, path, bool(user.password_enabled), some_tags, some_units, some_names, key)


def users_of(results: Iterable[AccountResult]) -> Iterator[tuple[AccountResult, ReportUser]]:
    """All users of the audited accounts."""
    for result in results:
        if isinstance(result.outcome, AccountFacts) and result.outcome.report:
            yield from ((result, user) for user in result.outcome.report.users)


def breaks(limit: Limit, elapsed: timedelta) -> bool:
    """Whether so much time is too much."""
    return elapsed > limit.maximum if limit.operator is Operator.MORE_THAN else elapsed >= limit.maximum


# ------------------------------------------------------------------------------------------------- exemptions


@EXAMPLES
@given(worlds(), policies(), exemptions("new"))
def test_an_exemption_changes_nothing_outside_its_scope(
    results: list[AccountResult], policy: Policy, added: Exemption
) -> None:
    """Verdicts of other controls, and on whom it does not surely mean, are the same to the letter with and without it.

    Inside it, what is non-compliant is exempt while it is in force, and nothing else changes its outcome.
    """
    before = judge(results, policy)
    after = judge(results, replace(policy, exemptions=(*policy.exemptions, added)))
    people = {(result.account.id, user.name): (result, user) for result, user in users_of(results)}
    places = {result.account.id: result for result in results}

    def is_meant(row: Mapping[str, object]) -> bool:
        account, name = str(row["account_id"]), str(row["user"])
        key = row["access_key_id"] if isinstance(row["access_key_id"], str) else None
        unseen = ReportUser(name, f"arn:aws:iam::{account}:user/{name}", None, ())
        nobody = root(account=account) if name == "<account>" else unseen
        result, user = people.get((account, name), (places[account], nobody))
        # a user whom the report does not have may be human as well as not
        others = [replace(user, password_enabled=True)] if user is unseen else []
        ways = [way for one in (user, *others) for way in may_be(result, one, key)]
        return all(matched(added.scope, way) is not None for way in ways)

    assert len(before) == len(after)
    meant = [
        row["control"] == added.control.value and is_meant({str(name): value for name, value in row.items()})
        for row in before.to_dict("records")
    ]
    inside = pd.Series(meant, dtype=bool)
    same(before[~inside], after[~inside])
    told = ["outcome", "reason", "exemption", "due_at"]
    same(before.drop(columns=told), after.drop(columns=told))
    is_active = added.starts_at <= AS_OF < added.expires_at
    becomes = {FAIL.value: EXEMPT.value} if is_active else {}
    assert after["outcome"][inside].tolist() == before["outcome"][inside].replace(becomes).tolist()
    gained = after[after["exemption"].eq("new").fillna(value=False)]
    assert set(gained["outcome"]) <= {EXEMPT.value}


# ------------------------------------------------------------------------------------------------- limits

OWN = ("key_age", "key_unused", "inactive_retained", "service_credential_age", "password_unused")
"""The fields of the controls' own limits."""


@EXAMPLES
@given(worlds(), policies(), st.data())
def test_a_wider_limit_never_adds_a_violation(
    results: list[AccountResult], policy: Policy, data: st.DataObject
) -> None:
    """Widening a limit, the control's own or a rule's, leaves what complies as it is and makes nothing fail."""
    policy = replace(policy, exemptions=())
    widened_rule = data.draw(st.sampled_from([*policy.limits, None]), label="rule")
    field = data.draw(st.sampled_from(OWN), label="own limit")
    narrow: Limit = widened_rule.limit if widened_rule else getattr(policy, field)
    wide = data.draw(LIMITS.map(lambda limit: Limit(narrow.maximum + limit.maximum, limit.operator)))
    wide = data.draw(st.sampled_from([wide, Limit(narrow.maximum, Operator.MORE_THAN)]))
    if widened_rule:
        wider = replace(widened_rule, limit=wide)
        limits = tuple(wider if rule is widened_rule else rule for rule in policy.limits)
        widened = replace(policy, limits=limits)
    else:
        own: dict[str, Any] = {field: wide}
        widened = replace(policy, **own)
    before, after = (found[found["by_policy"]] for found in (judge(results, policy), judge(results, widened)))
    pairs = set(zip(before["outcome"], after["outcome"], strict=True))
    assert not {pair for pair in pairs if pair[1] == FAIL and pair[0] != FAIL}
    assert not {pair for pair in pairs if pair[0] == PASS and pair[1] != PASS}


@EXAMPLES
@given(worlds(), rules([ControlId.KEY_AGE]), LIMITS)
def test_the_limit_that_holds_is_the_most_specific_in_every_way_that_may_be(
    results: list[AccountResult], drawn: tuple[LimitRule, ...], own: Limit
) -> None:
    """A key passes if it does in every way that its user's tags and its account's place may be, and fails likewise.

    Where the ways differ it is unknown. So is what fails and could not be confirmed.
    """
    policy = Policy(key_age=own, limits=drawn)
    expected: dict[tuple[str, str, int], str] = {}
    for result, user in users_of(results):
        assert isinstance(result.outcome, AccountFacts)
        lookup = result.outcome.lookups.get(user.name)
        if user.is_root or (lookup and not lookup.exists):
            continue
        limits = {limit_of(policy, ControlId.KEY_AGE, own, way) for way in may_be(result, user)}
        for key in user.keys:
            assert key.created_at is not None
            broken = {breaks(limit, AS_OF - key.created_at) for limit in limits}
            outcome = UNSURE if len(broken) > 1 else FAIL if broken == {True} else PASS
            if lookup and lookup.failed:
                outcome = PASS if outcome is PASS else UNSURE
            if key.status == "Inactive" and not (lookup and lookup.failed and outcome is UNSURE):
                outcome = Outcome.NOT_APPLICABLE
            expected[result.account.id, user.name, key.slot] = outcome.value
    findings = judge(results, policy)
    rows = findings[findings["control"].eq("key-age") & findings["key_status"].ne("Deleted")]
    rows = rows[rows["user"].ne("<root_account>")]
    told = {
        (str(row["account_id"]), str(row["user"]), int(row["slot"])): row["outcome"] for row in rows.to_dict("records")
    }
    assert told == expected


@EXAMPLES
@given(worlds(), rules([ControlId.CONSOLE_PASSWORD_UNUSED]), LIMITS)
def test_passwords_have_the_limit_that_holds_in_every_way_that_may_be(
    results: list[AccountResult], drawn: tuple[LimitRule, ...], own: Limit
) -> None:
    """The same of console passwords, measured from their last use or their change."""
    policy = Policy(password_unused=own, limits=drawn)
    expected: dict[tuple[str, str], str] = {}
    for result, user in users_of(results):
        assert isinstance(result.outcome, AccountFacts)
        lookup = result.outcome.lookups.get(user.name)
        if not user.password_enabled:
            continue
        limits = {limit_of(policy, ControlId.CONSOLE_PASSWORD_UNUSED, own, way) for way in may_be(result, user)}
        start: datetime | None = getattr(user.password_last_used, "at", user.password_changed_at)
        broken = {breaks(limit, AS_OF - start) for limit in limits} if start else {True, False}
        outcome = UNSURE if len(broken) > 1 else FAIL if broken == {True} else PASS
        if outcome is FAIL and isinstance(user.password_last_used, UnknownUse):
            outcome = UNSURE
        if lookup and not lookup.exists:
            outcome = Outcome.NOT_APPLICABLE
        expected[result.account.id, user.name] = outcome.value
    findings = judge(results, policy)
    rows = findings[findings["control"].eq("console-password-unused")]
    assert dict(zip(zip(rows["account_id"], rows["user"], strict=True), rows["outcome"], strict=True)) == expected


# ------------------------------------------------------------------------------------------------- order and batches


@EXAMPLES
@given(worlds(), policies(), st.randoms(use_true_random=False))
def test_no_order_matters(results: list[AccountResult], policy: Policy, random: Random) -> None:
    """Users, accounts, rules, exemptions, frameworks and owner rules in any order give the same table."""

    def shuffled(things: Sequence[T]) -> tuple[T, ...]:
        return tuple(random.sample(things, len(things)))

    others = []
    for result in shuffled(results):
        facts = result.outcome
        if isinstance(facts, AccountFacts):
            assert facts.report is not None
            facts = replace(facts, report=replace(facts.report, users=shuffled(facts.report.users)))
        others.append(replace(result, outcome=facts))
    other = replace(
        policy,
        limits=shuffled(policy.limits),
        exemptions=shuffled(policy.exemptions),
        frameworks=shuffled(policy.frameworks),
        owner_rules=shuffled(policy.owner_rules),
    )
    same(judge(results, policy), judge(others, other))


@EXAMPLES
@given(worlds(), policies())
def test_accounts_judged_apart_give_the_table_of_all(results: list[AccountResult], policy: Policy) -> None:
    """With rules, exemptions, owner rules and frameworks: the tables one after the other, and the tallies added up."""
    everything = facts_of(results, policy)
    findings = evaluate(everything, policy, AS_OF)
    apart = [facts_of([result], policy) for result in sorted(results, key=lambda one: one.account.id)]
    judged = [evaluate(part, policy, AS_OF) for part in apart]
    same(pd.concat(judged, ignore_index=True), findings)
    tallies = [tally(part, facts, policy) for part, facts in zip(judged, apart, strict=True)]
    assert reduce(add, tallies, Tally()) == tally(findings, everything, policy)


# ------------------------------------------------------------------------------------------------- frameworks

TOLD = [
    "account_id",
    "user",
    "slot",
    "access_key_id",
    "credential_id",
    "control",
    "outcome",
    "reason",
    "due_at",
    "limit",
]


def by_clause(findings: pd.DataFrame) -> dict[str, list[tuple[object, ...]]]:
    """What is told for each clause."""
    told: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for row in findings[findings["frameworks"].notna()].to_dict("records"):
        for clause in row["frameworks"].splitlines():
            told[clause].append(tuple(None if pd.isna(row[name]) else row[name] for name in TOLD))
    return {clause: sorted(rows, key=str) for clause, rows in told.items()}


@EXAMPLES
@given(worlds(), policies())
def test_frameworks_judged_together_give_what_each_gives_alone(results: list[AccountResult], policy: Policy) -> None:
    """Each clause has the same verdicts whatever else is judged, and the policy's own do not change by any of them."""
    together = judge(results, policy)
    alone: dict[str, list[tuple[object, ...]]] = {}
    for framework in policy.frameworks:
        alone |= by_clause(judge(results, replace(policy, frameworks=(framework,))))
    assert by_clause(together) == alone
    own = judge(results, replace(policy, frameworks=()))
    same(together[together["by_policy"]].drop(columns="frameworks"), own.drop(columns="frameworks"))


@EXAMPLES
@given(worlds(), policies())
def test_frameworks_know_no_rules_and_no_switches(results: list[AccountResult], policy: Policy) -> None:
    """A clause is judged by its own numbers whatever the policy's limits, its rules, and what it switches off."""
    policy = replace(policy, exemptions=())
    plain = Policy(rotation_overlap=policy.rotation_overlap, frameworks=policy.frameworks)
    assert by_clause(judge(results, policy)) == by_clause(judge(results, plain))


@EXAMPLES
@given(worlds(), policies())
def test_the_tally_counts_each_clause_and_control(results: list[AccountResult], policy: Policy) -> None:
    """Clauses are counted by the rows that name them, the policy's controls by its own rows, exemptions by theirs."""
    facts = facts_of(results, policy)
    findings = evaluate(facts, policy, AS_OF)
    counted = tally(findings, facts, policy)
    clauses: dict[str, Counter[str]] = {}
    for told, control, outcome in zip(*(findings[name] for name in ("frameworks", "control", "outcome")), strict=True):
        for clause in () if pd.isna(told) else told.splitlines():
            clauses.setdefault(clause_key(clause, ControlId(control)), Counter())[outcome] += 1
    assert {name: counts for name, counts in counted.clauses.items() if counts} == clauses
    own = findings[findings["by_policy"]]
    verdicts = Counter(zip(own["control"], own["outcome"], strict=True))
    assert {(name, told): n for name, counts in counted.verdicts.items() for told, n in counts.items()} == verdicts
    exempt = Counter(own["exemption"].dropna())
    assert set(counted.exemptions) == {exemption.id for exemption in policy.exemptions}
    assert all(counted.exemptions[name] >= number for name, number in exempt.items())


# ------------------------------------------------------------------------------------------------- look-ups


@EXAMPLES
@given(worlds(), policies(), st.data())
def test_who_is_not_looked_up_has_the_verdicts_that_a_look_up_would_give(
    results: list[AccountResult], policy: Policy, data: st.DataObject
) -> None:
    """Whoever fails on the report's word is looked up, and whoever would fail, or be exempt, by the tags of a look-up.

    Keys of users in quarantine and keys that are kept inactive are chosen elsewhere, by name.
    """
    result = next((one for one in results if isinstance(one.outcome, AccountFacts)), None)
    assume(result is not None)
    assert result is not None
    assert isinstance(result.outcome, AccountFacts)
    facts, report = result.outcome, result.outcome.report
    assert isinstance(report, CredentialReport)
    every = {
        user.name: looked_up(user, data.draw(st.sampled_from(TAGS), label=user.name))
        for user in report.users
        if not user.is_root
    }
    chosen = set(users_to_look_up(report, policy, AS_OF, account=result.account))

    def verdicts(told: Mapping[str, UserLookup]) -> pd.DataFrame:
        findings = judge([replace(result, outcome=replace(facts, lookups=told))], policy)
        elsewhere = [ControlId.INACTIVE_KEY_RETAINED, ControlId.QUARANTINED_KEY, ControlId.SERVICE_CREDENTIAL_AGE]
        kept = ~findings["control"].isin(elsewhere) & ~findings["user"].isin([*chosen, "<root_account>"])
        return findings[kept][["user", "slot", "control", "outcome", "by_policy", "frameworks", "exemption"]]

    on_the_reports_word = verdicts({})
    failing = on_the_reports_word[on_the_reports_word["outcome"].isin([FAIL, EXEMPT])]
    assert set(failing["control"]) <= {ControlId.CONSOLE_PASSWORD_UNUSED, ControlId.CONSOLE_MFA}
    same(on_the_reports_word, verdicts(every))
