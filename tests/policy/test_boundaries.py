"""Every control on both sides of its boundary, to the second; and the instant when what passes will fail."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from auditor.model import (
    Clause,
    ControlId,
    Criterion,
    Framework,
    KeyStatus,
    LastUsed,
    Operator,
    Outcome,
    Policy,
    Quarantine,
    ReportKey,
    ServiceCredential,
    ServiceCredentials,
    Support,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from auditor.tables import Snapshot
from tests.builders import (
    AS_OF,
    DAY,
    SECOND,
    account_result,
    ago,
    days,
    facts_of,
    judged,
    live_key,
    looked_up,
    report_key,
    report_user,
    root,
    seen_inactive_since,
    service_credential,
    snapshot,
    used,
    verdict_on,
)

MORE, LEAST = Operator.MORE_THAN, Operator.AT_LEAST
PASS, FAIL, UNSURE, NONE = Outcome.COMPLIANT, Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE
AT_THE_LIMIT = [
    (MORE, -1, PASS),
    (MORE, 0, PASS),
    (MORE, 1, FAIL),
    (LEAST, -1, PASS),
    (LEAST, 0, FAIL),
    (LEAST, 1, FAIL),
]
"""Operator, seconds beyond the limit, outcome."""


# ------------------------------------------------------------------------------------------------- age and use of keys


@pytest.mark.parametrize(("operator", "beyond", "expected"), AT_THE_LIMIT)
def test_key_age(operator: Operator, beyond: int, expected: Outcome) -> None:
    """A key is measured from its creation; its due date is creation plus the limit, whatever the operator."""
    facts = facts_of([report_user("ann", report_key(ago(90, beyond), used(1)))])
    verdict = verdict_on(facts, ControlId.KEY_AGE, Policy(key_age=days(90, operator)))
    assert (verdict["outcome"], verdict["due_at"]) == (expected, AS_OF - beyond * SECOND)


@pytest.mark.parametrize("start", ["used", "never used"])
@pytest.mark.parametrize(("operator", "beyond", "expected"), AT_THE_LIMIT)
def test_key_unused(start: str, operator: Operator, beyond: int, expected: Outcome) -> None:
    """A key is measured from its last use, one that was never used from its creation."""
    at = ago(45, beyond)
    key = report_key(at) if start == "never used" else report_key(ago(900), UsedAt(at))
    verdict = verdict_on(
        facts_of([report_user("ann", key)]), ControlId.KEY_UNUSED, Policy(key_unused=days(45, operator))
    )
    assert (verdict["outcome"], verdict["due_at"]) == (expected, AS_OF - beyond * SECOND)


@pytest.mark.parametrize(("age", "expected"), [(3 * DAY - SECOND, PASS), (3 * DAY, FAIL), (3 * DAY + SECOND, FAIL)])
def test_a_key_is_too_young_to_be_unused_up_to_the_grace(age: timedelta, expected: Outcome) -> None:
    """A never-used key younger than the grace passes whatever the limit; on the second of the grace it is judged."""
    policy = Policy(key_unused=days(1, MORE), unused_grace=3 * DAY)
    facts = facts_of([report_user("ann", report_key(AS_OF - age))])
    assert verdict_on(facts, ControlId.KEY_UNUSED, policy)["outcome"] == expected


def test_the_grace_is_for_keys_without_a_use() -> None:
    """A young key with a use on record is measured from that use: the grace is for uses that AWS has yet to record."""
    policy = Policy(key_unused=days(1, MORE), unused_grace=3 * DAY)
    facts = facts_of([report_user("ann", report_key(ago(2.5), used(2)))])
    assert verdict_on(facts, ControlId.KEY_UNUSED, policy)["outcome"] == FAIL


# ------------------------------------------------------------------------------------------------- inactive keys


@pytest.mark.parametrize(("operator", "beyond", "expected"), AT_THE_LIMIT)
def test_inactive_key_retained(operator: Operator, beyond: int, expected: Outcome) -> None:
    """An inactive key is measured from the first run that saw it so, however old it is."""
    facts = facts_of([report_user("ann", report_key(ago(900), active=False))])
    policy = Policy(inactive_retained=days(90, operator))
    verdict = verdict_on(seen_inactive_since(facts, ago(90, beyond)), ControlId.INACTIVE_KEY_RETAINED, policy)
    assert (verdict["outcome"], verdict["due_at"]) == (expected, AS_OF - beyond * SECOND)


def test_an_inactive_key_that_no_run_saw_before_starts_its_time_now() -> None:
    """IAM keeps no date of deactivation, so the first run that sees the key inactive counts from itself."""
    facts = facts_of([report_user("ann", report_key(ago(900), active=False))])
    verdict = verdict_on(facts, ControlId.INACTIVE_KEY_RETAINED)
    assert (verdict["outcome"], verdict["due_at"]) == (PASS, AS_OF + 90 * DAY)


def test_only_inactive_keys_of_users_are_retained() -> None:
    """Active keys, deleted keys and keys of the root user have no verdict on being kept inactive."""
    gone = report_user("bob", report_key(ago(900), active=False))
    users = [root(report_key(ago(9), active=False)), report_user("ann", report_key(ago(900))), gone]
    facts = snapshot(account_result(*users, lookups={"bob": UserLookup("bob")}))
    assert judged(facts, ControlId.INACTIVE_KEY_RETAINED) == []


def test_an_inactive_key_that_could_not_be_confirmed_is_unknown_where_it_would_fail() -> None:
    """It may be deleted or active again by now."""
    user = report_user("ann", report_key(ago(900), active=False))
    facts = snapshot(account_result(user, lookups={"ann": looked_up(user, failed="Throttling")}))
    assert verdict_on(facts, ControlId.INACTIVE_KEY_RETAINED)["outcome"] == PASS
    assert verdict_on(seen_inactive_since(facts, ago(91)), ControlId.INACTIVE_KEY_RETAINED)["outcome"] == UNSURE


# ------------------------------------------------------------------------------------------------- service credentials


def with_credentials(*credentials: ServiceCredential, failed: str | None = None) -> Snapshot:
    """An account that was asked for its service-specific credentials."""
    return snapshot(
        account_result(report_user("ann"), service_credentials=ServiceCredentials(credentials, failed=failed))
    )


@pytest.mark.parametrize("expires_at", [None, AS_OF + SECOND], ids=["no expiry", "expires in a second"])
@pytest.mark.parametrize(("operator", "beyond", "expected"), AT_THE_LIMIT)
def test_service_credential_age(
    operator: Operator, beyond: int, expected: Outcome, expires_at: datetime | None
) -> None:
    """A credential is measured from its creation as long as it works: until its expiry, if it has one."""
    facts = with_credentials(service_credential("ann", ago(90, beyond), expires_at))
    verdict = verdict_on(facts, ControlId.SERVICE_CREDENTIAL_AGE, Policy(service_credential_age=days(90, operator)))
    assert (verdict["outcome"], verdict["due_at"]) == (expected, AS_OF - beyond * SECOND)
    assert (verdict["credential_id"], verdict["service"]) == ("ACCA1", "bedrock.amazonaws.com")


@pytest.mark.parametrize(
    "credential",
    [
        service_credential("ann", ago(900), AS_OF),
        service_credential("ann", ago(900), ago(seconds=1)),
        service_credential("ann", ago(900), active=False),
        service_credential("ann", AS_OF + SECOND),
    ],
    ids=["expires now", "expired", "inactive", "created later"],
)
def test_a_service_credential_that_does_not_work_is_not_judged(credential: ServiceCredential) -> None:
    """Neither too old nor due: it opens nothing, from the very instant of its expiry on."""
    verdict = verdict_on(with_credentials(credential), ControlId.SERVICE_CREDENTIAL_AGE)
    assert verdict["outcome"] == NONE
    assert pd.isna(verdict["due_at"])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, UNSURE), (ServiceCredentials(), PASS), (ServiceCredentials(failed="AccessDenied"), UNSURE)],
    ids=["not asked", "none there", "refused"],
)
def test_an_account_without_service_credentials_has_one_verdict(
    asked: ServiceCredentials | None, expected: Outcome
) -> None:
    """None there is a pass; not asked and refused are unknown, never a pass."""
    facts = snapshot(account_result(report_user("ann"), service_credentials=asked))
    verdicts = judged(facts, ControlId.SERVICE_CREDENTIAL_AGE)
    assert [(verdict["user"], verdict["outcome"]) for verdict in verdicts] == [("<account>", expected)]


# ------------------------------------------------------------------------------------------------- console


@pytest.mark.parametrize("start", ["used", "never used"])
@pytest.mark.parametrize(("operator", "beyond", "expected"), AT_THE_LIMIT)
def test_console_password_unused(start: str, operator: Operator, beyond: int, expected: Outcome) -> None:
    """A password is measured from its last use, one that was never used from its last change."""
    at = ago(45, beyond)
    use: LastUsed | None = UsedAt(at) if start == "used" else None
    user = report_user("ann", password=True, password_used=use, password_changed=ago(900) if use else at)
    policy = Policy(password_unused=days(45, operator))
    verdict = verdict_on(facts_of([user]), ControlId.CONSOLE_PASSWORD_UNUSED, policy)
    assert (verdict["outcome"], verdict["due_at"]) == (expected, AS_OF - beyond * SECOND)


@pytest.mark.parametrize(
    ("changed", "expected"), [(None, UNSURE), (ago(900), UNSURE), (ago(45), UNSURE), (ago(45) + SECOND, PASS)]
)
def test_a_password_whose_use_is_not_known_passes_by_its_change_or_is_unknown(
    changed: datetime | None, expected: Outcome
) -> None:
    """It may have been used since, so it never fails; a recent change is enough to pass."""
    user = report_user("ann", password=True, password_used=UnknownUse("no_information"), password_changed=changed)
    verdict = verdict_on(facts_of([user]), ControlId.CONSOLE_PASSWORD_UNUSED)
    assert verdict["outcome"] == expected
    assert pd.isna(verdict["due_at"]) == (expected is UNSURE)


@pytest.mark.parametrize("control", [ControlId.CONSOLE_PASSWORD_UNUSED, ControlId.CONSOLE_MFA])
def test_console_controls_judge_users_with_a_password(control: ControlId) -> None:
    """Without a console password there is nothing to judge; where that is not known, the verdict is unknown."""
    users = [
        report_user("ann", password=False, mfa=False),
        report_user("bob", password=None, mfa=None),
        report_user("cat", password=True, password_used=used(1), mfa=True),
        report_user("dan", password=True, password_changed=ago(400), mfa=False),
        report_user("eve", password=True, password_changed=ago(400), mfa=False),
    ]
    facts = snapshot(account_result(*users, lookups={"eve": UserLookup("eve", exists=False)}))
    verdicts = judged(facts, control)
    assert {verdict["user"]: verdict["outcome"] for verdict in verdicts} == {
        "bob": UNSURE,
        "cat": PASS,
        "dan": FAIL,
        "eve": NONE,
    }


@pytest.mark.parametrize(("mfa", "expected"), [(True, PASS), (False, FAIL), (None, UNSURE)])
def test_console_mfa(*, mfa: bool | None, expected: Outcome) -> None:
    """A console user passes with an MFA device and fails without; what the report does not tell is unknown."""
    facts = facts_of([report_user("ann", password=True, mfa=mfa)])
    assert verdict_on(facts, ControlId.CONSOLE_MFA)["outcome"] == expected


# ------------------------------------------------------------------------------------------------- rotation


@pytest.mark.parametrize(("age", "expected"), [(14 * DAY - SECOND, PASS), (14 * DAY, FAIL), (14 * DAY + SECOND, FAIL)])
def test_a_rotation_passes_up_to_the_end_of_its_window(age: timedelta, expected: Outcome) -> None:
    """A second active key is a rotation under way while it is younger than the window; then two keys are too many."""
    keys = (report_key(ago(80), used(1)), report_key(AS_OF - age, used(1), slot=2))
    verdict = verdict_on(facts_of([report_user("ann", *keys)]), ControlId.ONE_ACTIVE_KEY)
    assert verdict["outcome"] == expected
    if expected is PASS:
        assert (verdict["due_at"], verdict["rotation_since"]) == (AS_OF + SECOND, AS_OF - age)
        assert "2026-11-08; finish it by 2026-11-22" in verdict["reason"]
    else:
        assert pd.isna(verdict["due_at"])
        assert pd.isna(verdict["rotation_since"])


def test_a_policy_may_allow_no_time_for_rotations() -> None:
    """Two active keys fail at once, and the reason still says that a rotation is under way."""
    keys = (report_key(ago(80), used(1)), report_key(ago(3), used(1), slot=2))
    facts = facts_of([report_user("ann", *keys)])
    verdict = verdict_on(facts, ControlId.ONE_ACTIVE_KEY, Policy(overlap_passes=False))
    assert verdict["outcome"] == FAIL
    assert verdict["rotation_since"] == ago(3)
    assert "rotation is under way since 2026-11-19, for which this allows no time" in verdict["reason"]


def test_a_user_who_may_have_two_active_keys_is_due_at_no_time() -> None:
    """What passes without a rotation does not fall due when one would end."""
    keys = (report_key(ago(80), used(1)), report_key(ago(3), used(1), slot=2))
    verdict = verdict_on(facts_of([report_user("ann", *keys)]), ControlId.ONE_ACTIVE_KEY, Policy(max_active_keys=2))
    assert (verdict["outcome"], verdict["reason"]) == (PASS, "2 active access keys.")
    assert pd.isna(verdict["due_at"])


def test_a_rotation_excuses_one_key_only() -> None:
    """Three active keys are too many also during a rotation, and no reason says that its end, yet to come, is past."""
    made = [ago(80), ago(60), ago(3)]
    user = report_user("ann", report_key(made[0], slot=1), report_key(made[1], slot=2))
    lookup = UserLookup("ann", tuple(live_key(f"AKIA{number}", at) for number, at in enumerate(made)))
    verdict = verdict_on(snapshot(account_result(user, lookups={"ann": lookup})), ControlId.ONE_ACTIVE_KEY)
    assert verdict["outcome"] == FAIL
    assert "was due" not in verdict["reason"]
    assert pd.isna(verdict["due_at"])


def test_a_standard_may_allow_more_time_for_rotations_than_the_policy() -> None:
    """Its verdict tells of the rotation and of its own end of it, also when the policy's window is over."""
    criterion = Criterion(ControlId.ONE_ACTIVE_KEY, grace=30 * DAY)
    clause = Clause("1", "One key", Support.DIRECT, "The test is the clause's own.", "us", criterion)
    policy = Policy(frameworks=(Framework("ours", "Ours", "1", "us", (clause,)),))
    keys = (report_key(ago(80), used(1)), report_key(ago(20), used(1), slot=2))
    own, other = judged(facts_of([report_user("ann", *keys)]), ControlId.ONE_ACTIVE_KEY, policy)
    assert (own["outcome"], other["outcome"], other["due_at"]) == (FAIL, PASS, AS_OF + 10 * DAY)
    assert "under way since 2026-11-02; finish it by 2026-12-02" in other["reason"]


# ------------------------------------------------------------------------------------------------- keys of new users


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(0), FAIL),
        (timedelta(minutes=10) - SECOND, FAIL),
        (timedelta(minutes=10), PASS),
        (timedelta(minutes=10) + SECOND, PASS),
    ],
)
def test_a_key_from_a_users_creation_is_one_of_its_first_ten_minutes(after: timedelta, expected: Outcome) -> None:
    """A never-used key of a console user fails when it was created less than ten minutes after the user."""
    born = ago(30)
    facts = facts_of([report_user("ann", report_key(born + after), created_at=born, password=True, mfa=True)])
    assert verdict_on(facts, ControlId.KEY_AT_USER_CREATION)["outcome"] == expected


@pytest.mark.parametrize(("age", "expected"), [(DAY - SECOND, PASS), (DAY, FAIL)])
def test_a_key_from_a_users_creation_has_a_day_to_be_used(age: timedelta, expected: Outcome) -> None:
    """AWS records use with delay, so the grace of unused keys holds for new ones, too."""
    born = AS_OF - age
    facts = facts_of([report_user("ann", report_key(born), created_at=born, password=True)])
    assert verdict_on(facts, ControlId.KEY_AT_USER_CREATION)["outcome"] == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (report_key(ago(30), used(1)), PASS),
        (report_key(ago(30), UnknownUse("no_information")), UNSURE),
        (report_key(None), UNSURE),
    ],
    ids=["used", "use not known", "creation not known"],
)
def test_a_key_from_a_users_creation_passes_once_it_is_used(key: ReportKey, expected: Outcome) -> None:
    """A key in use was asked for; whether it is in use, or when it was created, may not be known."""
    facts = facts_of([report_user("ann", key, created_at=ago(30), password=True)])
    assert verdict_on(facts, ControlId.KEY_AT_USER_CREATION)["outcome"] == expected


def test_keys_of_machines_and_inactive_keys_are_not_judged_as_new_users_keys() -> None:
    """The control is about active keys of people; whether somebody is a person may not be known."""
    born = ago(30)
    users = [
        report_user("ann", report_key(born), created_at=born, password=False),
        report_user("bob", report_key(born, active=False), created_at=born, password=True),
        report_user("cat", report_key(born), created_at=born, password=None),
    ]
    verdicts = judged(facts_of(users), ControlId.KEY_AT_USER_CREATION)
    assert [(verdict["user"], verdict["outcome"]) for verdict in verdicts] == [("cat", UNSURE)]


# ------------------------------------------------------------------------------------------------- root


@pytest.mark.parametrize(
    ("active", "strict", "expected"),
    [(True, False, FAIL), (True, True, FAIL), (False, False, PASS), (False, True, FAIL)],
)
def test_root_keys(*, active: bool, strict: bool, expected: Outcome) -> None:
    """An active root key fails; an inactive one where the policy says so. Nothing of it is due at any time."""
    facts = facts_of([root(report_key(ago(1), active=active))])
    verdict = verdict_on(
        facts, ControlId.ROOT_ACCESS_KEY, Policy(inactive_root_key_fails=strict), user="<root_account>"
    )
    assert verdict["outcome"] == expected
    assert pd.isna(verdict["due_at"])


# ------------------------------------------------------------------------------------------------- quarantine

QUARANTINE = Quarantine({"ann": ("AWSCompromisedKeyQuarantineV3",)})


def test_every_key_of_a_user_in_quarantine_fails() -> None:
    """Active or inactive: the key is known to others. A key that is gone is no danger; other users are not judged."""
    made = [ago(9), ago(8)]
    ann = report_user("ann", report_key(made[0], slot=1), report_key(made[1], slot=2, active=False))
    result = account_result(ann, report_user("bob", report_key(ago(3))), quarantine=QUARANTINE)
    verdicts = judged(snapshot(result), ControlId.QUARANTINED_KEY)
    told = sorted((verdict["user"], verdict["outcome"]) for verdict in verdicts)
    assert told == [("<account>", PASS), ("ann", FAIL), ("ann", FAIL)]
    reasons = [verdict["reason"] for verdict in verdicts if verdict["user"] == "ann"]
    assert all("AWSCompromisedKeyQuarantineV3" in reason for reason in reasons)
    assert "still active" in reasons[0]
    assert "still active" not in reasons[1]


def test_a_key_in_quarantine_that_was_deleted_is_not_judged() -> None:
    """It was gone when the user was looked up."""
    lookups = {"ann": UserLookup("ann")}
    facts = snapshot(account_result(report_user("ann", report_key(ago(9))), lookups=lookups, quarantine=QUARANTINE))
    verdict = verdict_on(facts, ControlId.QUARANTINED_KEY)
    assert (verdict["outcome"], verdict["key_status"]) == (NONE, KeyStatus.DELETED)


@pytest.mark.parametrize(
    ("quarantine", "expected"),
    [
        (None, UNSURE),
        (Quarantine(), PASS),
        (Quarantine(failed="AccessDenied"), UNSURE),
        (Quarantine({"new": ("AWSCompromisedKeyQuarantineV2",)}), FAIL),
    ],
    ids=["not asked", "nobody", "refused", "somebody whom the report does not know"],
)
def test_the_account_has_a_verdict_on_quarantine(quarantine: Quarantine | None, expected: Outcome) -> None:
    """Not asked and refused are unknown; a user in quarantine who is not in the report must not go under."""
    facts = snapshot(account_result(report_user("ann", report_key(ago(9))), quarantine=quarantine))
    verdict = verdict_on(facts, ControlId.QUARANTINED_KEY, user="<account>")
    assert verdict["outcome"] == expected
    if expected is FAIL:
        assert "new" in verdict["reason"]


def test_a_renamed_user_in_quarantine_is_found_under_the_new_name() -> None:
    """AWS tells of the name that the user has now; the keys are those of the report's name."""
    created = ago(9)
    lookup = UserLookup("ann", (live_key("AKIAANN1", created),), renamed_to="anna")
    quarantine = Quarantine({"anna": ("AWSCompromisedKeyQuarantineV2",)})
    user = report_user("ann", report_key(created))
    facts = snapshot(account_result(user, lookups={"ann": lookup}, quarantine=quarantine))
    assert verdict_on(facts, ControlId.QUARANTINED_KEY)["outcome"] == FAIL
    assert verdict_on(facts, ControlId.QUARANTINED_KEY, user="<account>")["outcome"] == PASS
