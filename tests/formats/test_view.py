"""The view model: what every report says, worked out once."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from auditor.config import built_in_framework
from auditor.formats import words
from auditor.formats.standing import exemption_views, owner_views
from auditor.formats.view import Tone, build_view
from auditor.model import (
    ControlId,
    Coverage,
    Exemption,
    JournalCopy,
    NotAuditedAccount,
    NotAuditedCode,
    Outcome,
    Policy,
    ReportUser,
    RunManifest,
    Scope,
    Severity,
    Source,
    Summary,
    UserLookup,
)
from auditor.policy import evaluate, tally
from auditor.tables import Run
from tests.builders import AS_OF, account_result, ago, refused, report_key, report_user, root, run_of, snapshot, used
from tests.formats.sample_run import sample_run

OLD = report_user("old", report_key(ago(400), used(1)))
GOOD = report_user("good", report_key(ago(5), used(1)))


@dataclass(frozen=True)
class Found:
    """What is asked of a finding for its owner."""

    subject: tuple[object, ...]
    outcome: str
    severity: str
    owner_label: str = "payments"


def judged(
    *users: ReportUser, missing: int = 0, lookups: dict[str, UserLookup] | None = None, with_root: bool = True
) -> Run:
    """A run of one account with these users, and so many that were not audited."""
    others = [refused(f"{number:012d}") for number in range(missing)]
    facts = snapshot(account_result(*users, lookups=lookups, with_root=with_root), *others)
    findings = evaluate(facts, Policy(), AS_OF)
    left_out = tuple(
        NotAuditedAccount(result.account.id, "refused", NotAuditedCode.ROLE_REFUSED, "The role refused.", "Check it.")
        for result in others
    )
    manifest = RunManifest(
        id="20261122T190000Z-00000000",
        as_of=AS_OF,
        started_at=AS_OF,
        finished_at=AS_OF,
        tool_version="0",
        caller_arn=None,
        scope="a test",
        coverage=Coverage(1 + missing, 1, left_out, len(facts.users), len(facts.keys)),
        summary=tally(findings, facts, Policy()).summary(),
        calls={},
        policy=Policy(),
        key_ids="flagged",
    )
    return run_of(manifest, facts, findings)


def test_a_clean_run_is_compliant() -> None:
    """Verdict, tone and headline of the best case; nothing is listed."""
    view = build_view(judged(GOOD))
    assert (view.verdict, view.tone) == ("Compliant", Tone.GOOD)
    assert view.headline == "100.0 % of 1 judged access key complies."
    assert view.findings == ()


def test_a_violation_is_told_with_its_numbers() -> None:
    """Two keys, one too old."""
    view = build_view(judged(OLD, GOOD))
    assert (view.verdict, view.tone) == ("Not compliant", Tone.BAD)
    assert view.headline == "50.0 % of 2 judged access keys comply."
    assert [(finding.user, finding.control, finding.age_days) for finding in view.findings] == [("old", "key-age", 400)]
    assert any(sentence.startswith("1 active key older") for sentence in view.sentences)


def test_what_was_not_audited_stands_in_the_headline_with_the_bounds() -> None:
    """The rate alone would claim too much: the bounds take in what is not known."""
    view = build_view(judged(GOOD, missing=1))
    assert (view.verdict, view.tone) == ("Incomplete", Tone.WARN)
    assert view.headline.endswith("1 of 2 accounts not audited: between 50 % and 100 %.")
    assert view.sentences[0].startswith("1 account in scope was not audited")


def test_an_unknown_verdict_makes_the_run_incomplete() -> None:
    """A failed look-up is neither a pass nor hidden."""
    view = build_view(judged(OLD, GOOD, lookups={"old": UserLookup("old", failed="Throttling")}))
    assert view.verdict == "Incomplete"
    assert "1 key of unknown outcome" in view.headline
    assert [finding.outcome for finding in view.findings] == ["unknown"]


def test_nothing_but_a_whole_run_is_called_compliant_in_words() -> None:
    """What is unknown is said as such; that every key complies is said only where it is known."""
    said = {
        "complies": build_view(judged(GOOD)).sentences,
        "nothing there": build_view(judged(report_user("keyless"))).sentences,
        "unknown key": build_view(judged(OLD, lookups={"old": UserLookup("old", failed="Throttling")})).sentences,
        "unknown root": build_view(judged(GOOD, with_root=False)).sentences,
        "refused": build_view(judged(GOOD, missing=1)).sentences,
    }
    assert said["complies"] == ("Every key that was judged complies.",)
    assert said["nothing there"] == ("There was no active access key to judge.",)
    assert said["unknown key"] == ("1 key of unknown outcome: what could not be read is never taken as a pass.",)
    assert said["unknown root"] == ("1 account of which it is not known whether the root user has a key.",)
    assert not any("complies" in sentence for sentence in said["refused"])
    assert "1 account whose root keys are not known" in build_view(judged(GOOD, with_root=False)).headline


def test_what_is_unknown_beside_keys_stands_in_the_headline() -> None:
    """Verdicts on passwords, quarantine and credentials, and frameworks that a clause leaves open."""
    run = judged(GOOD).manifest
    verdicts = {**run.summary.verdicts, "console-mfa": {"unknown": 3}, "quarantined-key": {"unknown": 1}}
    policy = replace(run.policy, frameworks=(built_in_framework("cis-aws-5.0").to_framework(),))
    frameworks = {"cis-aws-5.0": {"1.9 console-mfa": {"unknown": 3}}}
    told = replace(run, summary=replace(run.summary, verdicts=verdicts), policy=policy, frameworks=frameworks)
    assert words.headline(told).endswith(
        "; 4 unknown verdicts on passwords, quarantine or credentials; 1 of 1 framework not known for certain."
    )


def test_a_root_key_stands_in_the_headline() -> None:
    """The rate of keys does not hold what only the account summary told."""
    root_key = root(report_key(ago(9)))
    assert "1 root access key that must not be there" in build_view(judged(GOOD, root_key)).headline


def test_each_subject_counts_once_for_its_owner() -> None:
    """With its worst outcome, whoever asks: a key that passes the policy by an exemption may fail a framework."""

    def found(control: str, user: str, outcome: Outcome, severity: Severity = Severity.HIGH) -> Found:
        return Found((control, user), outcome, severity)

    fails, unknown, exempt = Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT
    findings = [
        *(found("key-age", "ann", outcome) for outcome in (exempt, fails, unknown)),
        found("key-unused", "ann", fails, Severity.MEDIUM),
        *(found("key-age", "bob", outcome) for outcome in (unknown, exempt)),
    ]
    for turned in (findings, findings[::-1]):
        (owner,) = owner_views(turned)
        assert (owner.non_compliant, owner.unknown, owner.exempt) == (2, 1, 0)
        assert owner.worst == Severity.HIGH


@pytest.mark.parametrize(
    ("rules", "matched", "undecided", "said"),
    [
        ({"a": 0, "b": 1, "c": 0}, 1, 0, "2 limit rules matched nothing: a, c."),
        ({"a": 0}, 1, 0, "1 limit rule matched nothing: a."),
        ({"a": 2}, 1, 0, None),
        ({}, 0, 2, "1 exemption is perhaps for what is not known: e."),
        ({}, 0, 0, "1 exemption matched nothing: e."),
    ],
)
def test_rules_and_exemptions_that_need_somebody_are_told(
    rules: dict[str, int], matched: int, undecided: int, said: str | None
) -> None:
    """A rule for nobody, an exemption that unread tags decide on, and one for nothing."""
    policy = Policy(exemptions=(Exemption("e", ControlId.KEY_AGE, Scope(), "r", "o", "a", "t", ago(9), ago(-90)),))
    run = judged(GOOD).manifest
    manifest = replace(run, policy=policy, rules=rules, exemptions={"e": matched}, undecided={"e": undecided})
    assert list(words.rule_sentences(manifest)) == ([said] if said else [])


@pytest.mark.parametrize(
    ("scope", "matched", "undecided", "said"),
    [
        (Scope(users=("ann",)), 0, 0, "matched nothing in the accounts that were audited"),
        (Scope(accounts=("000000000000",)), 0, 0, "matched nothing in the accounts that were audited"),
        (Scope(accounts=("111122223333",)), 0, 0, "matched nothing: remove it, or correct its scope"),
        (Scope(users=("ann",)), 2, 0, "excuses 2 violations"),
        (Scope(users=("ann",)), 0, 1, "excuses 0 violations; of 1 more verdict it cannot be told"),
    ],
)
def test_an_exemption_is_called_idle_only_where_that_is_known(
    scope: Scope, matched: int, undecided: int, said: str
) -> None:
    """Not where it may be for something in an account that was not audited, or for what is unknown."""
    run = judged(GOOD, missing=1).manifest
    policy = Policy(exemptions=(Exemption("e", ControlId.KEY_AGE, scope, "r", "o", "a", "t", ago(9), ago(-90)),))
    manifest = replace(run, policy=policy, exemptions={"e": matched}, undecided={"e": undecided})
    (view,) = exemption_views(manifest)
    assert view.result == said


def test_keys_due_soon_pass_now_and_are_listed_by_date() -> None:
    """Within the warning window, the soonest first; later ones and failing ones are not."""
    users = [
        report_user(name, report_key(ago(age), used(1)))
        for name, age in (("later", 80), ("soon", 88), ("far", 60), ("over", 95))
    ]
    view = build_view(judged(*users))
    assert [(finding.user, finding.control) for finding in view.due_soon] == [("soon", "key-age"), ("later", "key-age")]


def test_the_histogram_counts_every_active_key_once() -> None:
    """Bands below the limit are not over it; the last one is open-ended."""
    ages = (0, 29, 30, 89, 90, 400, 5000)
    users = [report_user(f"user{age}", report_key(ago(age), used(0))) for age in ages]
    view = build_view(judged(*users, root(report_key(ago(1000), active=False))))
    assert sum(band.keys for band in view.ages) == len(ages)
    assert [band.keys for band in view.ages[:4]] == [2, 1, 1, 1]
    assert [band.over for band in view.ages[:4]] == [False, False, False, True]
    assert view.ages[-1].keys == 2


def test_both_readings_of_root_keys_are_shown() -> None:
    """Active and present are two numbers."""
    view = build_view(judged(root(report_key(ago(9)), report_key(ago(9), slot=2, active=False))))
    assert view.accounts[0].root_keys == "1 active, 2 present"


@pytest.mark.parametrize(
    ("fraction", "said"),
    [
        (None, "not known"),
        (1.0, "100.0 %"),
        (0.99999, "99.9 %"),
        (0.9995, "99.9 %"),
        (0.00001, "0.1 %"),
        (0.0, "0.0 %"),
        (0.815315, "81.5 %"),
        (7 / 19, "36.8 %"),
    ],
)
def test_a_rate_is_never_rounded_up_to_all_nor_down_to_none(fraction: float | None, said: str) -> None:
    """99.99 % is not 100 %: one key still fails."""
    assert words.rate(fraction) == said


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [
        (0.947, 0.973, "between 94 % and 98 %"),
        (0.94, 0.98, "between 94 % and 98 %"),
        (0.29, 0.57, "between 29 % and 57 %"),
        (0.5, 0.5, ""),
        (None, None, ""),
    ],
)
def test_bounds_are_rounded_outwards(lower: float | None, upper: float | None, said: str) -> None:
    """The interval said is never narrower than the one computed, and binary fractions do not widen it."""
    assert words.bounds(Summary(0, 0, 0, 0, 0, None, lower, upper, {})) == said


@pytest.mark.parametrize(
    ("elapsed", "said"),
    [
        (timedelta(seconds=-5), "0 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=3, minutes=20), "3 h 20 min"),
        (timedelta(days=12, hours=5), "12 days"),
    ],
)
def test_a_reports_age_is_told_in_two_units(elapsed: timedelta, said: str) -> None:
    """As people say it."""
    assert words.report_age(AS_OF - elapsed, AS_OF, Source.CREDENTIAL_REPORT) == said


# ------------------------------------------------------------------------------------------------- changes


def test_changes_of_the_window_are_told_the_latest_first() -> None:
    """Those before are counted; what is under way is told however long it has been, persons' questions first."""
    run = sample_run()
    told = build_view(run).remediation
    assert told is not None
    assert told.actions[0].what == "Deleted"
    assert [it.at for it in told.actions] == sorted((it.at for it in told.actions), reverse=True)
    assert told.earlier == 8
    assert [item.needs_person for item in told.pending] == [True, True, False, False, False]
    all_of_it = build_view(run, actions_of=timedelta(days=400)).remediation
    assert all_of_it is not None
    assert (all_of_it.earlier, len(all_of_it.actions)) == (0, len(told.actions) + 8)
    assert told.sentence == (
        "By auditor in the 35 days before, keys: 1 rotated, 3 switched off, 1 switched on again, 1 deleted. "
        "5 changes are under way; 2 wait for a person."
    )
    assert told.sentence in build_view(run).sentences


def test_a_journal_that_could_not_be_read_is_not_an_empty_one() -> None:
    """Nothing is known, which is said; and nothing is said where there never was one."""
    run = sample_run(complete=True)
    assert build_view(run).remediation is None
    assert any("no journal of remediation" in paragraph for paragraph in build_view(run).method)
    unread = replace(run, manifest=replace(run.manifest, journal=JournalCopy(problem="AWS refused dynamodb:Query")))
    told = build_view(unread).remediation
    assert told is not None
    assert (told.problem, told.actions, told.tone) == ("AWS refused dynamodb:Query", (), "warn")
    assert told.sentence == "What auditor changed is not known: its journal could not be read."
    quiet = replace(run, manifest=replace(run.manifest, journal=JournalCopy(0, "0" * 64)))
    view = build_view(quiet).remediation
    assert view is not None
    assert view.sentence == "By auditor in the 35 days before, no key was changed."
