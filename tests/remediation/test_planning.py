"""What is planned for which key, and what is not: from findings and what AWS shows now."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from auditor.errors import UsageError
from auditor.model import ControlId, KeyStatus, LiveKey, NeverUsed, Pause, StoredSecret, UnknownUse, UsedAt
from auditor.remediation.caps import Measures
from auditor.remediation.key_state import KeyState
from auditor.remediation.plan import Basis, Delivery, Item, Kind, Limits, Waits
from auditor.remediation.planning import Candidate, Seen, Settings, plan_items
from auditor.remediation.protection import Person, Protection
from auditor.remediation.tracked import Tracked
from tests.builders import AS_OF, ago

ACCOUNT = "111122223333"
OLD = Basis(control=ControlId.KEY_AGE.value, severity="high", reason="200 days old")
MEASURES = Measures(
    limits=Limits(max_items=25, max_per_account=5, max_percent=100, max_disruptions_per_tick=5),
    ramp=100,
    active_keys=100,
    in_use={},
    is_used=lambda item: item.key.last_used.at is not None and item.key.last_used.at > ago(14),
)
SETTINGS = Settings(
    through=Kind.ROTATE,
    kinds=frozenset(Kind),
    protection=lambda _candidate: Protection(),
    delivery=lambda one: Delivery(secret=f"auditor/{one.user}", smtp_regions=("us-west-1",)),
    waits=Waits(grace_days=7, quiet_days=14, quarantine_days=14),
    pauses={},
    unread=(),
    measures=MEASURES,
    under_way=(),
    known=lambda _key: KeyState(),
    own_keys=frozenset(),
    now=AS_OF,
    lasts=timedelta(days=400),
)


def measured(**changes: Any) -> Settings:
    """With other caps, or other keys among which is chosen."""
    return replace(SETTINGS, measures=replace(MEASURES, **changes))


def candidate(user: str, account: str = ACCOUNT) -> Candidate:
    """A finding: the user's key is too old."""
    return Candidate(account, "prod", "aws", user, None, ago(200), (OLD,), "payments", Kind.ROTATE)


def seen(user: str, *keys: LiveKey, account: str = ACCOUNT) -> Seen:
    """The user as AWS shows it."""
    return Seen(Person(account, user, f"AIDA{user}", f"arn:aws:iam::{account}:user/{user}", {}), keys, None)


def key(number: int = 0, age: float = 200, service: str = "s3", region: str | None = "eu-central-1") -> LiveKey:
    """A key in use."""
    return LiveKey(f"AKIA{number:016}", KeyStatus.ACTIVE, ago(age), UsedAt(ago(0.1), service, region))


@pytest.mark.parametrize(
    ("user", "service", "region", "regions"),
    [
        ("mailer", "ses", "eu-central-1", ("eu-central-1", "us-west-1")),
        ("mailer", "ses-smtp", None, ("us-west-1",)),
        ("ses-smtp-user.20240101", "s3", "eu-west-1", ("eu-west-1", "us-west-1")),
        ("ci-deploy", "s3", "eu-central-1", ()),
    ],
)
def test_who_sends_mail_by_smtp_is_known_by_the_last_use_or_by_the_consoles_name(
    user: str, service: str, region: str | None, regions: tuple[str, ...]
) -> None:
    """The Region of the last use, and those of the configuration."""
    live = seen(user, key(service=service, region=region))
    ((item,), _) = plan_items([candidate(user)], lambda _one: live, SETTINGS)
    assert item.delivery is not None
    assert item.delivery.smtp_regions == regions


@pytest.mark.parametrize(
    ("policies", "code"), [(None, "UNREADABLE"), (("AWSCompromisedKeyQuarantineV3",), "QUARANTINED"), ((), None)]
)
def test_a_user_in_quarantine_has_no_key_rotated(policies: tuple[str, ...] | None, code: str | None) -> None:
    """Others have its key: that is switched off; where quarantine cannot be read, nothing is rotated either."""
    found = seen("app", key())
    found = replace(found, person=replace(found.person, quarantined_by=policies))
    _, blocked = plan_items([candidate("app")], lambda _one: found, SETTINGS)
    assert [one.code for one in blocked] == ([code] if code else [])
    urgent = replace(candidate("app"), kind=Kind.DEACTIVATE, is_urgent=True)
    items, blocked = plan_items([urgent], lambda _one: found, SETTINGS)
    assert (len(items), blocked) == (1, ())


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ((key(0), key(1)), "AMBIGUOUS"),
        ((key(0), key(1, age=3)), "TWO_KEYS"),
        ((replace(key(), last_used=UnknownUse("throttled")),), "UNKNOWN_USE"),
        ((replace(key(), status=KeyStatus.INACTIVE),), "CHANGED"),
        ((key(age=3),), "GONE"),
    ],
)
def test_what_cannot_be_told_for_sure_is_not_planned(keys: tuple[LiveKey, ...], code: str) -> None:
    """Two keys of one second, no room for a new one, a use that nobody knows, a key that is not what it was."""
    items, (blocked,) = plan_items([candidate("app")], lambda _one: seen("app", *keys), SETTINGS)
    assert (items, blocked.code) == ((), code)


@pytest.mark.parametrize(
    ("delivery", "stored", "said"),
    [
        (Delivery(store="ssm", secret="/auditor/app+x"), None, "no name that a secret can have"),
        (Delivery(store="ssm", secret="auditor/app"), None, "no name that a secret can have"),
        (Delivery(secret="auditor/app,x"), None, "no name that a secret can have"),
        (Delivery(store="ssm", secret="/auditor/app"), StoredSecret({}, is_foreign=True), "somebody else's"),
        (Delivery(secret="auditor/app"), StoredSecret({}, rotates_itself=True), "rotated by Secrets Manager"),
    ],
)
def test_a_secret_that_cannot_be_kept_there_is_not_planned(
    delivery: Delivery, stored: StoredSecret | None, said: str
) -> None:
    """A name that the store does not know, and a place that is somebody else's."""
    live = replace(seen("app", key()), stored=stored)
    settings = replace(SETTINGS, delivery=lambda _user: delivery)
    items, (blocked,) = plan_items([candidate("app")], lambda _one: live, settings)
    assert (items, blocked.code) == ((), "SECRET")
    assert said in blocked.reason


def test_caps_hold_and_what_is_beyond_them_is_told() -> None:
    """At most so many in all, in an account, and in percent of the keys; those that are used least come first."""
    accounts = [f"{number:012}" for number in range(1, 5)]
    found = [candidate(f"user-{number}", account=account) for account in accounts for number in range(4)]

    def see(one: Candidate) -> Seen:
        used = NeverUsed() if one.user == "user-3" else UsedAt(ago(0.1))
        return seen(one.user, replace(key(), last_used=used), account=one.account_id)

    limits = Limits(max_items=7, max_per_account=3, max_percent=5, max_disruptions_per_tick=5)
    for active, most in ((1000, 7), (100, 5), (1, 1)):
        in_use = dict.fromkeys(accounts, 10)
        settings = measured(limits=limits, active_keys=active, in_use=in_use)
        items, blocked = plan_items(found, see, settings)
        assert len(items) == most
        assert max(sum(item.account_id == account for item in items) for account in accounts) <= 3
        assert items[0].user == "user-3"
        assert {one.code for one in blocked} == {"CAP"}
        assert len(items) + len(blocked) == len(found)


@pytest.mark.parametrize(("in_use", "most"), [(1, 1), (2, 1), (3, 2), (4, 3), (9, 3)])
def test_never_all_that_an_account_uses(in_use: int, most: int) -> None:
    """Whatever the policy finds at once, one of the keys in use is left for another plan; one alone may be planned."""
    found = [candidate(f"user-{number}") for number in range(3)]
    settings = measured(in_use={ACCOUNT: in_use})
    items, _ = plan_items(found, lambda one: seen(one.user, key()), settings)
    assert len(items) == most


def test_all_that_nobody_uses_may_be_planned() -> None:
    """The cap on what is in use does not count keys that nobody uses."""
    idle = replace(key(), last_used=UsedAt(ago(100)))
    found = [candidate(f"user-{number}") for number in range(3)]
    items, _ = plan_items(found, lambda one: seen(one.user, idle), measured(in_use={ACCOUNT: 1}))
    assert len(items) == 3


def test_an_exposed_key_is_planned_first_and_whatever_the_account_uses() -> None:
    """It is of no use to wait with it."""
    exposed = Basis(control=ControlId.QUARANTINED_KEY.value, severity="critical", reason="exposed")
    found = [
        candidate("app"),
        replace(candidate("leaked"), basis=(exposed,), owner=None, kind=Kind.DEACTIVATE, is_urgent=True),
    ]
    items, _ = plan_items(found, lambda one: seen(one.user, key()), measured(in_use={ACCOUNT: 2}))
    assert [item.user for item in items] == ["leaked"]
    items, _ = plan_items(found, lambda one: seen(one.user, key()), measured(in_use={ACCOUNT: 3}))
    assert [item.user for item in items] == ["leaked", "app"]


def test_an_exposed_key_does_not_wait_for_another_key_of_its_user() -> None:
    """AWS does not say which one leaked, and a rotation takes weeks; what is under way is not planned twice."""
    keys = (key(0), key(1, age=50))
    ids = [one.access_key_id for one in keys]
    found = [replace(candidate("ci"), key_id=one, is_urgent=True, kind=Kind.DEACTIVATE, owner=None) for one in ids]
    (rotation,), _ = plan_items([candidate("ci")], lambda one: seen(one.user, keys[0]), SETTINGS)

    def planned(under_way: Item) -> tuple[list[str], list[str]]:
        open_now = Tracked(under_way, "plan-1", AS_OF, AS_OF + timedelta(days=3), approved=Kind.ROTATE)
        settings = replace(SETTINGS, under_way=(open_now,))
        items, blocked = plan_items(found, lambda one: seen(one.user, *keys), settings)
        return [item.key.id for item in items], [one.code for one in blocked]

    assert planned(rotation) == (ids, [])
    assert planned(rotation.model_copy(update={"urgent": True})) == (ids[1:], ["OPEN"])


def test_a_backlog_is_begun_with_few_keys_and_all_that_are_exposed() -> None:
    """What is left out is told, and comes when the first ones came off well."""
    found = [candidate(f"app-{number}") for number in range(6)]
    found += [replace(candidate(f"leaked-{one}"), is_urgent=True, kind=Kind.DEACTIVATE) for one in range(3)]
    settings = measured(ramp=2, in_use={ACCOUNT: 50}, active_keys=1000)
    items, blocked = plan_items(found, lambda one: seen(one.user, key()), settings)
    assert [item.user for item in items] == ["leaked-0", "leaked-1", "leaked-2", "app-0", "app-1"]
    assert {one.code for one in blocked} == {"CAP"}


@pytest.mark.parametrize(
    ("rested", "tag", "expected", "said"),
    [
        (None, None, (14, 14), None),
        (9, None, (14, 14), None),
        (30, None, (45, 45), "it rested for 30 days before it was used on "),
        (61.5, None, (93, 93), "it rested for 61 days"),
        (30, "92", (92, 92), "the tag auditor:cadence says so"),
        (90, "92", (135, 135), "it rested for 90 days"),
        (None, "7", (14, 14), None),
    ],
)
def test_a_key_that_rests_for_long_has_to_be_quiet_for_longer(
    rested: float | None, tag: str | None, expected: tuple[int, int], said: str | None
) -> None:
    """Half as long again as it ever rested, or as its user's tag says: a job of each quarter is not taken for dead."""
    live = seen("a", key())
    live = replace(live, person=replace(live.person, tags={"auditor:cadence": tag} if tag else {}))
    pauses = {(ACCOUNT, "a"): Pause(timedelta(days=rested), ago(10))} if rested else {}
    ((item,), _) = plan_items([candidate("a")], lambda _one: live, replace(SETTINGS, pauses=pauses))
    assert (item.waits.quiet_days, item.waits.quarantine_days, item.waits.grace_days) == (*expected, 7)
    assert (item.waits.why or "").startswith(said or "")
    assert (item.waits.why is None) == (said is None)


@pytest.mark.parametrize("tag", ["", "quarterly", "0", "-1", "1.5", "99999"])
def test_a_rhythm_that_is_no_number_blocks(tag: str) -> None:
    """Somebody meant something by it."""
    live = seen("a", key())
    live = replace(live, person=replace(live.person, tags={"auditor:cadence": tag}))
    (_, (blocked,)) = plan_items([candidate("a")], lambda _one: live, SETTINGS)
    assert blocked.code == "CADENCE"
    leaked = replace(candidate("a"), kind=Kind.DEACTIVATE, is_urgent=True)
    for through, codes in ((Kind.DEACTIVATE, []), (Kind.DELETE, ["CADENCE"])):  # it is switched off all the same
        _, refused = plan_items([leaked], lambda _one: live, replace(SETTINGS, through=through))
        assert [one.code for one in refused] == codes


@pytest.mark.parametrize(
    ("run", "journal", "used", "expected"),
    [
        (30, None, 60, 30),
        (30, 20, 60, 20),
        (20, 30, 60, 20),
        (None, 30, 60, 30),
        (30, None, 10, 10),
    ],
)
def test_a_key_is_inactive_since_the_latest_of_what_is_known(
    run: float | None, journal: float | None, used: float, expected: float
) -> None:
    """Runs are far apart, and do not see a key that was switched on in between; a use shows it."""
    off = replace(key(), status=KeyStatus.INACTIVE, last_used=UsedAt(ago(used)))
    found = replace(candidate("a"), kind=Kind.DELETE, inactive_since=None if run is None else ago(run))
    settings = replace(SETTINGS, known=lambda _key: KeyState(off_at=None if journal is None else ago(journal)))
    ((item,), _) = plan_items([found], lambda _one: seen("a", off), settings)
    assert item.inactive_since == ago(expected)


@pytest.mark.parametrize(
    ("kind", "changes", "hours", "code"),
    [
        (Kind.DEACTIVATE, {}, 72, None),
        (Kind.DEACTIVATE, {"used": 5}, 72, "TOO_EARLY"),
        (Kind.DEACTIVATE, {"used": 5}, 240, None),
        (Kind.DEACTIVATE, {"used": 5, "is_urgent": True}, 72, None),
        (Kind.DEACTIVATE, {"used": 5, "is_own": True}, 72, None),
        (Kind.DEACTIVATE, {"again": 5}, 72, "TOO_EARLY"),
        (Kind.ROTATE, {"used": 5}, 72, None),
        (Kind.DELETE, {"inactive_since": ago(12)}, 72, None),
        (Kind.DELETE, {"inactive_since": ago(9)}, 72, "TOO_EARLY"),
        (Kind.DELETE, {}, 72, "SINCE_UNKNOWN"),
    ],
)
def test_what_would_be_refused_when_its_time_comes_is_not_planned(
    kind: Kind, changes: dict[str, Any], hours: float, code: str | None
) -> None:
    """The key has to be quiet, or inactive, for longer than the plan may be begun."""
    changes, status = dict(changes), KeyStatus.INACTIVE if kind is Kind.DELETE else KeyStatus.ACTIVE
    one = replace(key(), status=status, last_used=UsedAt(ago(changes.pop("used", 60))))
    state = KeyState(let_go_at=ago(changes.pop("again"))) if "again" in changes else KeyState()
    settings = replace(SETTINGS, lasts=timedelta(hours=hours), known=lambda _key: state)
    found = replace(candidate("a"), kind=kind, **changes)
    items, blocked = plan_items([found], lambda _one: seen("a", one), settings)
    assert [each.code for each in blocked] == ([code] if code else [])
    assert len(items) == (code is None)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"limits": MEASURES.limits.model_copy(update={"max_items": 4})}, 2),
        ({"limits": MEASURES.limits.model_copy(update={"max_per_account": 3})}, 1),
        ({"limits": MEASURES.limits.model_copy(update={"max_percent": 3})}, 1),
        ({"ramp": 5}, 3),
        ({"in_use": {ACCOUNT: 4}}, 1),
        ({}, 3),
    ],
)
def test_what_earlier_plans_left_open_counts(changes: dict[str, Any], most: int) -> None:
    """A plan a day would otherwise make any cap as large as somebody has patience; an exposed key does not wait."""
    limits = MEASURES.limits.model_copy(update={"max_per_account": 50})
    settings = measured(**{"limits": limits, "in_use": {ACCOUNT: 50}} | changes)
    before, _ = plan_items(
        [candidate("open-0"), candidate("open-1")], lambda one: seen(one.user, key()), measured(in_use={ACCOUNT: 9})
    )
    late = ago(-1)
    there = [Tracked(item, "plan-0", ago(2), late, Kind.ROTATE) for item in before]
    dead = [Tracked(item.model_copy(update={"user": f"dead-{item.user}"}), "plan-9", ago(4), ago(1)) for item in before]
    settings = replace(settings, under_way=(*there, *dead))
    found = [candidate(f"app-{number}") for number in range(3)]
    items, blocked = plan_items(found, lambda one: seen(one.user, key()), settings)
    assert (len(items), {one.code for one in blocked}) == (most, {"CAP"} if most < 3 else set())
    exposed = [replace(one, is_urgent=True, kind=Kind.DEACTIVATE) for one in found[:1]]
    items, _ = plan_items(exposed, lambda one: seen(one.user, key()), settings)
    assert len(items) == 1


@pytest.mark.parametrize(
    ("owner", "through", "expected"),
    [
        (None, Kind.DELETE, (Kind.ROTATE, ["NO_OWNER"])),
        (None, Kind.DEACTIVATE, (Kind.ROTATE, ["NO_OWNER"])),
        (None, Kind.ROTATE, (Kind.ROTATE, [])),
        ("payments", Kind.DELETE, (Kind.DELETE, [])),
    ],
)
def test_a_key_without_an_owner_is_rotated_and_no_more(
    owner: str | None, through: Kind, expected: tuple[Kind, list[str]]
) -> None:
    """Both keys work, which hurts nobody; before the old one is switched off somebody has to be told. It is said."""
    found = [replace(candidate("a"), owner=owner)]
    ((item,), blocked) = plan_items(found, lambda _one: seen("a", key()), replace(SETTINGS, through=through))
    assert (item.through, [one.code for one in blocked]) == expected


def test_an_exposed_key_without_an_owner_is_switched_off_and_not_deleted() -> None:
    """That cannot be undone, so somebody has to be told before; it is said."""
    found = [replace(candidate("a"), owner=None, kind=Kind.DEACTIVATE, is_urgent=True)]
    ((item,), (blocked,)) = plan_items(found, lambda _one: seen("a", key()), replace(SETTINGS, through=Kind.DELETE))
    assert (item.through, blocked.code) == (Kind.DEACTIVATE, "NO_OWNER")
    assert blocked.reason == "it is not deleted later: nobody is known who could be told before"


def test_one_account_comes_after_the_other_and_in_each_what_hurts_least() -> None:
    """Of each kind in turn; what leaked comes before all of them."""
    found = [
        replace(candidate(user, account=account), kind=kind, is_urgent=user == "f")
        for user, account, kind in (
            ("a", "2" * 12, Kind.ROTATE),
            ("b", "1" * 12, Kind.DEACTIVATE),
            ("c", "1" * 12, Kind.ROTATE),
            ("d", "2" * 12, Kind.DEACTIVATE),
            ("e", "1" * 12, Kind.ROTATE),
            ("f", "3" * 12, Kind.DEACTIVATE),
        )
    ]
    idle = replace(key(), last_used=UsedAt(ago(100)))
    see = {one.user: seen(one.user, idle if one.user == "e" else key(), account=one.account_id) for one in found}
    settings = measured(in_use=dict.fromkeys(("1" * 12, "2" * 12), 10))
    items, _ = plan_items(found, lambda one: see[one.user], settings)
    assert [item.user for item in items] == ["f", "e", "c", "b", "a", "d"]


def test_a_key_that_can_go_nowhere_keeps_no_other_from_being_planned() -> None:
    """Its secret would be a file that is lost with a job, say."""
    found = [candidate("vendor"), candidate("b")]

    def see(one: Candidate) -> Seen:
        if one.user == "vendor":
            raise UsageError("The secret would be a file of this machine.", next_step="Plan it where that stays.")
        return seen(one.user, key())

    items, blocked = plan_items(found, see, SETTINGS)
    reason = "The secret would be a file of this machine. Plan it where that stays."
    assert [(one.code, one.reason) for one in blocked] == [("DELIVERY", reason)]
    assert [item.user for item in items] == ["b"]


@pytest.mark.parametrize(
    ("kind", "through", "tag", "urgent", "is_planned"),
    [
        (Kind.DEACTIVATE, Kind.DEACTIVATE, None, False, False),
        (Kind.DELETE, Kind.DELETE, None, False, False),
        (Kind.ROTATE, Kind.DEACTIVATE, None, False, False),
        (Kind.ROTATE, Kind.ROTATE, None, False, True),
        (Kind.DEACTIVATE, Kind.DEACTIVATE, "92", False, True),
        (Kind.DEACTIVATE, Kind.DEACTIVATE, None, True, True),
    ],
)
def test_a_rhythm_that_nobody_can_read_is_not_taken_for_a_short_one(
    kind: Kind, through: Kind, tag: str | None, *, urgent: bool, is_planned: bool
) -> None:
    """A run that is damaged may have seen the key rest for a quarter; a tag says it, too, and a leak does not wait."""
    status = KeyStatus.INACTIVE if kind is Kind.DELETE else KeyStatus.ACTIVE
    live = seen("a", replace(key(), status=status))
    live = replace(live, person=replace(live.person, tags={"auditor:cadence": tag} if tag else {}))
    found = [replace(candidate("a"), kind=kind, is_urgent=urgent)]
    settings = replace(SETTINGS, unread=("20260101T000000Z-x",), through=through)
    items, blocked = plan_items(found, lambda _one: live, settings)
    assert [one.code for one in blocked] == ([] if is_planned else ["HISTORY"])
    assert [item.waits.quiet_days for item in items] == ([92 if tag else 14] if is_planned else [])
