"""Who is meant by a rule: by pattern, path, tag, kind and unit; and which of several rules holds."""

from dataclasses import replace

import pytest

from auditor.config import built_in_framework
from auditor.inventory import build_snapshot
from auditor.model import ControlId, Exemption, LimitRule, Operator, Outcome, OwnerRule, Policy, Scope, UserLookup
from auditor.policy import (
    criteria,
    evaluate,
    explain_limit,
    of_table,
    places_of,
    tally,
    users_to_look_up,
    with_owners,
)
from tests.builders import (
    AS_OF,
    account_result,
    ago,
    days,
    live_key,
    looked_up,
    report_key,
    report_user,
    used,
    verdict_on,
)


def test_names_and_patterns_of_one_rule_stand_side_by_side() -> None:
    """A rule may name some users and give patterns of others; only * and ? stand for other letters."""
    users = [report_user(name, report_key(ago(50), used(1))) for name in ("ann", "ci-a", "ci-b", "cia", "x.y", "xzy")]
    result = account_result(*users)
    rule = LimitRule("r", ControlId.KEY_AGE, days(30, Operator.MORE_THAN), Scope(users=("ann", "ci-?", "x.*")))
    policy = Policy(limits=(rule,))
    facts = build_snapshot([result])
    failing = [
        user.name
        for user in users
        if verdict_on(facts, ControlId.KEY_AGE, policy, user.name)["outcome"] == Outcome.NON_COMPLIANT
    ]
    assert failing == ["ann", "ci-a", "ci-b", "x.y"]
    assert list(users_to_look_up(result.outcome.report, policy, AS_OF)) == failing  # type: ignore[union-attr, arg-type]


def test_a_keys_owner_is_its_users_tag_then_its_description_then_a_rule() -> None:
    """Each says it where the one before does not; a rule that owns the user does not silence the description."""
    lookups = {
        "ann": UserLookup("ann", (live_key("AKIAANN", ago(9)),), tags={"owner": "tag", "AKIAANN": "owner: described"}),
        "bob": UserLookup("bob", (live_key("AKIABOB", ago(9)),), tags={"AKIABOB": "owner: described"}),
        "cat": UserLookup("cat", (live_key("AKIACAT", ago(9)),), tags={"AKIACAT": "nightly"}),
    }
    users = [report_user(name, report_key(ago(9))) for name in lookups]
    facts = build_snapshot([account_result(*users, lookups=lookups)])
    policy = Policy(owner_rules=(OwnerRule("ruled", Scope()),))
    owned = with_owners(facts, policy)
    assert dict(zip(owned.keys["user"], owned.keys["owner"], strict=True)) == {
        "ann": "tag",
        "bob": "described",
        "cat": "ruled",
    }
    assert dict(zip(owned.users["user"], owned.users["owner"], strict=True)) == {
        "<root_account>": "ruled",
        "ann": "tag",
        "bob": "ruled",
        "cat": "ruled",
    }


def rule(name: str, number: float, scope: Scope, control: ControlId = ControlId.KEY_AGE) -> LimitRule:
    """A rule with a limit of so many days."""
    return LimitRule(name, control, days(number, Operator.MORE_THAN), scope)


@pytest.mark.parametrize(
    ("strict", "lax"),
    [
        (Scope(tags=("env",)), Scope(tags=("env",))),
        (Scope(tags=("env",), users=("ann",)), Scope(tags=("env=prod",))),
        (Scope(units=("ou-1",), users=("a*",)), Scope(units=("ou-1",))),
        (Scope(units=("/W",), users=("a*",)), Scope(units=("/W/P",))),
    ],
    ids=["equally specific", "the tag is part of the other", "the unit is the same", "the unit is below the other"],
)
def test_a_rule_that_never_wins_makes_nothing_unknown(strict: Scope, lax: Scope) -> None:
    """What only holds where a stricter and no less specific rule holds as well is no reason for doubt."""
    facts = build_snapshot([account_result(report_user("ann", report_key(ago(100), used(1))))])
    policy = Policy(limits=(rule("strict", 30, strict), rule("lax", 365, lax)))
    assert verdict_on(facts, ControlId.KEY_AGE, policy)["outcome"] == Outcome.NON_COMPLIANT
    likely = Policy(limits=(rule("lax", 365, lax),))
    assert verdict_on(facts, ControlId.KEY_AGE, likely)["outcome"] == Outcome.UNKNOWN


def test_the_deeper_unit_wins_whoever_else_is_judged() -> None:
    """A unit given by the path of its names is as deep as its path, also where no account's names are known."""
    known = account_result(report_user("ann", report_key(ago(100), used(1))), units=("r-1", "ou-1"))
    policy = Policy(limits=(rule("upper", 365, Scope(units=("ou-1",))), rule("lower", 30, Scope(units=("/W/P",)))))
    other = account_result(account="000000000001", units=("r-1", "ou-1", "ou-2"), unit_names=("W", "P"))
    for results in ([known], [known, other]):
        assert verdict_on(build_snapshot(results), ControlId.KEY_AGE, policy)["outcome"] == Outcome.UNKNOWN


def exemption(name: str, scope: Scope, control: ControlId = ControlId.KEY_AGE) -> Exemption:
    """An exemption in force."""
    return Exemption(name, control, scope, "Why.", "owner", "approver", "T-1", ago(1), ago(-1))


def test_the_exemption_is_told_that_means_the_key_most_specifically() -> None:
    """An entry that does not mean the key, such as another user's name, makes a scope no more specific for it."""
    facts = build_snapshot([account_result(report_user("ci-1", report_key(ago(100), used(1))))])
    broad, narrow = exemption("broad", Scope(users=("*", "bob"))), exemption("narrow", Scope(users=("ci-*",)))
    verdict = verdict_on(facts, ControlId.KEY_AGE, Policy(exemptions=(broad, narrow)), "ci-1")
    assert (verdict["outcome"], verdict["exemption"]) == (Outcome.EXEMPT, "narrow")


def test_what_unread_tags_leave_open_of_an_exemption_is_counted_apart() -> None:
    """It excuses nobody of whom it is not known that it means him; what frameworks find of the same key counts once."""
    ann, bob, cat = (report_user(name, report_key(ago(100), used(1))) for name in ("ann", "bob", "cat"))
    lookups = {
        "ann": replace(looked_up(ann), tags={"env": "test"}),
        "bob": replace(looked_up(bob), tags_failed="AccessDenied"),
        "cat": looked_up(cat),
    }
    facts = build_snapshot([account_result(ann, bob, cat, lookups=lookups)])
    policy = Policy(exemptions=(exemption("e", Scope(tags=("env=test",))), exemption("idle", Scope(users=("zoe",)))))
    counted = tally(evaluate(facts, policy, AS_OF), facts, policy)
    assert (counted.exemptions, counted.undecided) == ({"e": 1, "idle": 0}, {"e": 1, "idle": 0})
    assert counted.excused == 1
    strict = replace(policy, frameworks=(built_in_framework("cis-aws-3.0").to_framework(),))
    alone = tally(evaluate(facts, strict, AS_OF), facts, strict)
    assert (alone.exemptions, alone.undecided, alone.excused) == (counted.exemptions, counted.undecided, 1)


def test_an_exemption_that_was_renewed_leaves_nothing_failing() -> None:
    """The old one matches what the new one excuses; it fails for neither, and is due when the new one ends."""
    facts = build_snapshot([account_result(report_user("bob", report_key(ago(400), used(1))))])
    old = replace(exemption("old", Scope(users=("bob",))), starts_at=ago(90), expires_at=ago(7))
    new = replace(exemption("new", Scope(users=("bob",))), starts_at=ago(7), expires_at=ago(-60))
    policy = Policy(exemptions=(old, new))
    counted = tally(evaluate(facts, policy, AS_OF), facts, policy)
    assert (counted.exemptions, counted.failing) == ({"new": 1, "old": 1}, {"new": 0, "old": 0})
    assert verdict_on(facts, ControlId.KEY_AGE, policy, "bob")["due_at"] == ago(-60)


def test_where_ids_or_verdicts_are_not_known_an_exemption_is_undecided() -> None:
    """By a key's id, of keys that nobody looked up; and of what is unknown itself, whatever the exemption goes by."""
    bob, eve = (report_user(name, report_key(ago(400), used(1))) for name in ("bob", "eve"))
    facts = build_snapshot([account_result(bob, eve, lookups={"eve": looked_up(eve, failed="Throttling")})])
    policy = Policy(exemptions=(exemption("key", Scope(keys=("AKIAX",))), exemption("eve", Scope(users=("eve",)))))
    counted = tally(evaluate(facts, policy, AS_OF), facts, policy)
    assert (counted.exemptions, counted.undecided) == ({"eve": 0, "key": 0}, {"eve": 1, "key": 2})


def test_a_blank_owner_tag_is_none() -> None:
    """The next tag counts, and then a rule."""
    user = report_user("ann", report_key(ago(9)))
    lookups = {"ann": replace(looked_up(user), tags={"owner": "  ", "team": " T2 "})}
    facts = build_snapshot([account_result(user, lookups=lookups)])
    owned = with_owners(facts, Policy(owner_tags=("owner", "team")))
    assert owned.keys[["owner", "owner_source"]].to_numpy().tolist() == [["T2", "tag team"]]


def test_what_may_hold_is_marked_down_to_the_first_that_surely_does() -> None:
    """Rules by tags that nobody read may hold, and so may the control's own limit after them."""
    facts = build_snapshot([account_result(report_user("ann", report_key(ago(100), used(1))))])
    policy = Policy(limits=(rule("tagged", 30, Scope(tags=("env",))), rule("other", 365, Scope(users=("bob",)))))
    (asked,) = (one for one in criteria(policy) if one.control is ControlId.KEY_AGE)
    subject = of_table(facts.keys, facts.users, places_of(facts.accounts))
    held = {one.rule.id if one.rule else "own": one.holds for one in explain_limit(policy, asked, subject)}
    assert held == {"tagged": True, "other": False, "own": True}
    sure = replace(policy, limits=(*policy.limits, rule("ann", 365, Scope(users=("ann",)))))
    held = {one.rule.id if one.rule else "own": one.holds for one in explain_limit(sure, asked, subject)}
    assert held == {"ann": True, "tagged": False, "other": False, "own": False}


def test_keys_that_rules_are_for_are_counted() -> None:
    """Those that a rule may be for, by tags that nobody read, too; a rule that is for none is a slip of the pen."""
    users = [report_user(name, report_key(ago(100), used(1)), password=True) for name in ("ann", "bob")]
    facts = build_snapshot([account_result(*users, lookups={"ann": looked_up(users[0])})])
    rules = (
        rule("slip", 30, Scope(users=("an",))),
        rule("one", 30, Scope(users=("ann",))),
        rule("tagged", 30, Scope(tags=("env",))),
        rule("console", 30, Scope(users=("bob",)), ControlId.CONSOLE_PASSWORD_UNUSED),
    )
    policy = Policy(limits=rules)
    assert tally(evaluate(facts, policy, AS_OF), facts, policy).rules == {
        "console": 1,
        "one": 1,
        "slip": 0,
        "tagged": 1,
    }


def test_a_batch_tells_of_the_exemption_that_all_tell_of() -> None:
    """Which exemption is told does not depend on the accounts that are judged in the same batch."""
    mine = account_result(report_user("ann", report_key(ago(100), used(1))), units=("r-1", "ou-1"))
    other = account_result(account="000000000001", units=("r-1", "ou-2", "ou-3", "ou-4"))
    policy = Policy(exemptions=(exemption("a", Scope(units=("ou-1",))), exemption("b", Scope(units=("r-1", "ou-4")))))
    for results in ([mine], [mine, other]):
        assert verdict_on(build_snapshot(results), ControlId.KEY_AGE, policy)["exemption"] == "a"


def test_an_unconfirmed_key_is_not_waved_through_for_an_open_limit() -> None:
    """Where the look-up failed, the key may be active by now, and which limit it has is no less open."""
    user = report_user("ann", report_key(ago(100), used(1), active=False))
    facts = build_snapshot([account_result(user, lookups={"ann": looked_up(user, failed="Throttling")})])
    assert verdict_on(facts, ControlId.KEY_AGE)["outcome"] == Outcome.UNKNOWN
    policy = Policy(limits=(rule("lax", 365, Scope(tags=("env",))),))
    assert verdict_on(facts, ControlId.KEY_AGE, policy)["outcome"] == Outcome.UNKNOWN


def test_users_whose_password_fails_are_looked_up() -> None:
    """Who owns it, and whether a rule or an exemption is for it, stands in their tags; only for what is judged."""
    users = [
        report_user("ann", password=True, password_used=used(1), mfa=False),
        report_user("bob", password=True, password_used=used(1), mfa=True),
        report_user("cat"),
        report_user("dan", password=True, password_used=used(40), mfa=True),
        report_user("eve", password=True, password_changed=ago(100), mfa=True),
    ]
    report = account_result(*users).outcome.report  # type: ignore[union-attr]
    assert report is not None

    def chosen(*off: ControlId) -> tuple[str, ...]:
        return users_to_look_up(report, Policy(switched_off=frozenset(off)), AS_OF)

    assert chosen() == ("ann", "dan", "eve")
    assert chosen(ControlId.CONSOLE_MFA) == ("dan", "eve")
    assert chosen(ControlId.CONSOLE_PASSWORD_UNUSED) == ("ann",)
    assert chosen(ControlId.CONSOLE_MFA, ControlId.CONSOLE_PASSWORD_UNUSED) == ()
