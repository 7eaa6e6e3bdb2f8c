"""The engine: a whole rotation, and what the world around it does meanwhile."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

from auditor.aws.calls import Caller
from auditor.aws.keys import look_up_user
from auditor.aws.loop import run
from auditor.aws.permissions import remediation_policy
from auditor.aws.ses import smtp_password
from auditor.aws.spending import Ledger as Spending
from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.decision import Live, Step
from auditor.remediation.engine import NotToldError, Outcome, Standing
from auditor.remediation.hands import Hands
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Delivery, Item, Kind
from auditor.remediation.protection import Protection
from auditor.remediation.record import record
from auditor.secret import Secret
from auditor.tables import records_of
from tests.builders import AS_OF
from tests.remediation.world import (
    OTHER,
    Death,
    SameCaller,
    World,
    claim,
    due_item,
    engine,
    item_of,
    plan_of,
    tick,
    tracked,
)

USER = "user-0"


def days(world: World, folder: Path, item: Item, number: int, *, runs: bool = True) -> Outcome:
    """The outcome of the last of so many daily ticks, while the application runs."""
    outcome = None
    for _ in range(number):
        if runs:
            world.application_runs(item)
        world.clock.pass_(days=1)
        (outcome,) = tick(world, folder)
    assert outcome is not None
    return outcome


def begun(world: World, folder: Path, **changes: object) -> Item:
    """A rotation that is claimed, and ticked once."""
    item = item_of(world, USER, **changes)  # type: ignore[arg-type]
    claim(world, folder, plan_of(item))
    (outcome,) = tick(world, folder)
    assert outcome.steps == (Step.PREPARE, Step.CREATE, Step.VERIFY, Step.PUBLISH)
    return item


def test_a_rotation_from_its_begin_to_its_end(world: World, tmp_path: Path) -> None:
    """A second key while the first works, the secret stored and proved; then what is old switched off, and deleted."""
    item = begun(world, tmp_path)
    assert world.keys(USER)[item.key.id] == "Active"
    assert len(world.keys(USER)) == 2
    assert days(world, tmp_path, item, 7).told.startswith("to deactivate, not before ")
    assert days(world, tmp_path, item, 1).steps == (Step.DEACTIVATE,)
    assert world.keys(USER)[item.key.id] == "Inactive"
    assert days(world, tmp_path, item, 14).told.startswith("to delete, not before ")
    outcome = days(world, tmp_path, item, 3)
    assert (outcome.standing, outcome.steps) == (Standing.DONE, (Step.DELETE,))
    assert item.key.id not in world.keys(USER)
    assert tick(world, tmp_path) == []
    with open_journal(tmp_path, lambda: world.clock.now, writes=False) as journal:
        kept = record(journal.rows, world.clock.now)
    changes = list(records_of(kept.actions))
    assert [change["action"] for change in changes] == ["created", "published", "deactivated", "deleted"]
    writes = {"CreateAccessKey": "created", "UpdateAccessKey": "deactivated", "DeleteAccessKey": "deleted"}
    trail = {writes[call.action]: call.user_agent for call in world.cloud.call_log if call.action in writes}
    for change in changes:
        if change["action"] in trail:
            assert trail[change["action"]].endswith(f" auditor-intent/{change['intent']}")
    assert changes[2]["evidence"].startswith("the new key was used by s3 at ")


def test_our_own_check_of_the_new_key_is_no_adoption(world: World, tmp_path: Path) -> None:
    """Nobody but us used the new key: the old one stays, whatever time passes."""
    item = begun(world, tmp_path)
    outcome = days(world, tmp_path, item, 29, runs=False)
    assert outcome.told.startswith(
        "the new key has not been used yet; the old key was last used by s3 in eu-central-1 at "
    )
    assert world.keys(USER)[item.key.id] == "Active"


def test_a_key_that_is_still_used_is_not_switched_off(world: World, tmp_path: Path) -> None:
    """One application moved, another did not: its service and Region are told."""
    item = begun(world, tmp_path)
    outcome = None
    for _ in range(20):
        world.cloud.record_use(item.key.id, UsedAt(world.clock.now, "dynamodb", "eu-west-1"))
        outcome = days(world, tmp_path, item, 1)
    assert outcome is not None
    assert "last used by dynamodb in eu-west-1" in outcome.told
    assert world.keys(USER)[item.key.id] == "Active"


def hands(world: World, item: Item) -> Hands:
    """What somebody does in the console."""
    return Hands(item, SameCaller(world.caller()), Protection())


@pytest.mark.parametrize(
    ("after", "happens", "code"),
    [
        (1, lambda world, item, new: hands(world, item).set_status(new, KeyStatus.INACTIVE), "NEW_KEY_LOST"),
        (1, lambda world, item, new: hands(world, item).delete(new), "NEW_KEY_LOST"),
        (1, lambda world, item, _: hands(world, item).set_status(item.key.id, KeyStatus.INACTIVE), "ALREADY_INACTIVE"),
        (9, lambda world, item, _: hands(world, item).set_status(item.key.id, KeyStatus.ACTIVE), "REACTIVATED"),
        (
            9,
            lambda world, item, _: world.cloud.record_use(item.key.id, UsedAt(world.clock.now, "s3", None)),
            "USED_SINCE",
        ),
    ],
)
def test_what_colleagues_do_meanwhile_stops_it(
    world: World, tmp_path: Path, after: int, happens: Callable[[World, Item, str], None], code: str
) -> None:
    """A person is asked, nothing else is written, and it stays so."""
    item = begun(world, tmp_path)
    days(world, tmp_path, item, after)
    new = tracked(world, tmp_path, item).done.new_key
    assert new is not None
    happens(world, item, new)
    before = world.keys(USER)
    for later in (1, 40):  # at once, though nobody uses the new key yet
        outcome = days(world, tmp_path, item, later, runs=False)
        assert outcome.standing is Standing.NEEDS_PERSON
        assert code in outcome.told
    assert world.keys(USER) == before


@pytest.mark.parametrize("kind", [Kind.ROTATE, Kind.DEACTIVATE])
def test_what_somebody_else_switched_off_was_to_be_no_more(world: World, tmp_path: Path, kind: Kind) -> None:
    """The item is at its end, so that it is in nobody's way; while it may be an outage, a person is asked."""
    item = item_of(world, USER, kind, Kind.DEACTIVATE)
    claim(world, tmp_path, plan_of(item))
    tick(world, tmp_path)
    days(world, tmp_path, item, 1)
    hands(world, item).set_status(item.key.id, KeyStatus.INACTIVE)
    new = tracked(world, tmp_path, item).done.new_key
    if new is not None:
        outcome = days(world, tmp_path, item, 1, runs=False)
        assert (outcome.standing, "ALREADY_INACTIVE" in outcome.told) == (Standing.NEEDS_PERSON, True), "not adopted"
        world.cloud.record_use(new, UsedAt(world.clock.now, "s3", "eu-west-1"))  # which AWS shows by now
        hands(world, item).set_status(new, KeyStatus.INACTIVE)
        outcome = days(world, tmp_path, item, 1, runs=False)
        assert (outcome.standing, "NEW_KEY_LOST" in outcome.told) == (Standing.NEEDS_PERSON, True)
        hands(world, item).set_status(new, KeyStatus.ACTIVE)
    outcome = days(world, tmp_path, item, 1, runs=False)
    assert (outcome.standing, outcome.told) == (Standing.DONE, "inactive: somebody else switched it off")
    assert tick(world, tmp_path) == []


def test_one_account_after_the_other(world: World, tmp_path: Path) -> None:
    """Whatever plans they are of: exposed keys first, of each account in the order of the plans."""
    names = [("c", "3"), ("a", "3"), ("b", "1"), ("d", "2"), ("e", "3"), ("f", "1")]
    users = {name: item_of(world, f"user-{30 + place}") for place, (name, _) in enumerate(names)}
    items = [
        users[name].model_copy(update={"id": name, "account_id": account * 12, "urgent": name == "e"})
        for name, account in names
    ]
    for number, part in enumerate((items[:3], items[3:])):
        claim(world, tmp_path, plan_of(*part, at=world.clock.now).model_copy(update={"id": f"plan-{number}"}))
    assert [outcome.item.id for outcome in tick(world, tmp_path, simulates=True)] == ["e", "b", "f", "d", "c", "a"]


def secret_of(item: Item) -> Any:
    """The item's secret, as moto has it."""
    return secretsmanager_backends[OTHER]["us-east-1"].secrets[f"auditor/{item.user}"]


def put_back(item: Item) -> None:
    """Somebody makes applications read the old key again."""
    backend, secret = secretsmanager_backends[OTHER]["us-east-1"], secret_of(item)
    value = json.dumps({"AccessKeyId": item.key.id, "SecretAccessKey": "as it was"})
    for version in secret.versions.values():
        version["version_stages"] = [stage for stage in version["version_stages"] if stage != "AWSCURRENT"]
    backend.put_secret_value(secret.name, value, "", str(uuid4()), ["AWSCURRENT"])


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (put_back, "SECRET_CHANGED"),
        (lambda item: secret_of(item).delete(AS_OF.timestamp()), "SECRET_LOST"),
        (lambda item: secretsmanager_backends[OTHER]["us-east-1"].secrets.pop(f"auditor/{item.user}"), "SECRET_LOST"),
    ],
    ids=["put back", "to be deleted", "gone"],
)
@pytest.mark.parametrize("after", [3, 8])
def test_no_key_goes_that_applications_may_read(
    world: World, tmp_path: Path, happens: Callable[[Item], object], code: str, after: int
) -> None:
    """Before it would be switched off, and before it would be deleted: what the store gives has to be the new key."""
    item = begun(world, tmp_path)
    days(world, tmp_path, item, after)
    before = world.keys(USER)
    happens(item)
    for later in (1, 40):  # at once, though nobody uses the new key yet
        outcome = days(world, tmp_path, item, later, runs=False)
        assert outcome.standing is Standing.NEEDS_PERSON
        assert code in outcome.told
    assert world.keys(USER) == before


def test_who_used_the_key_after_the_notice_is_told_anew(world: World, tmp_path: Path) -> None:
    """The first notice was for nothing, since somebody had still to move."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DEACTIVATE)
    claim(world, tmp_path, plan_of(item))
    world.clock.pass_(days=2.5)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("to deactivate, not before ")
    world.cloud.record_use(item.key.id, UsedAt(world.clock.now + timedelta(hours=1), "s3", None))
    world.clock.pass_(days=3)
    (outcome,) = tick(world, tmp_path)
    assert (outcome.steps, outcome.told.startswith("to deactivate, not before ")) == ((), True)
    world.clock.pass_(days=1.1)
    (outcome,) = tick(world, tmp_path)
    assert outcome.steps == (Step.DEACTIVATE,)


@pytest.mark.parametrize("code", ["REACTIVATED", "USED_SINCE"])
def test_what_a_person_releases_goes_on(world: World, tmp_path: Path, code: str) -> None:
    """A key that was switched on again is announced anew once it is quiet; a use begins its quarantine anew."""
    item = begun(world, tmp_path)
    days(world, tmp_path, item, 9)
    if code == "REACTIVATED":
        hands(world, item).set_status(item.key.id, KeyStatus.ACTIVE)
    else:
        world.cloud.record_use(item.key.id, UsedAt(world.clock.now, "s3", None))
    assert code in days(world, tmp_path, item, 1).told
    state = tracked(world, tmp_path, item)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(state.plan_id, item.id, Event.RELEASED, reason="settled", by="ann")
    told = days(world, tmp_path, item, 1).told
    if code == "REACTIVATED":
        assert told.startswith("the key must be quiet for 2 days, from ")
        assert "when it was switched on again or released; the old key was last used by" in told
        told = days(world, tmp_path, item, 2).told
        assert told.startswith("to deactivate, not before ")
        assert days(world, tmp_path, item, 1).steps == (Step.DEACTIVATE,)
    else:
        assert told == "the key stays inactive for a while, so that it can be switched on again"
    while tracked(world, tmp_path, item).ended is None:
        assert world.clock.now < AS_OF + timedelta(days=60)
        days(world, tmp_path, item, 1)
    assert item.key.id not in world.keys(USER)


def test_an_announcement_that_is_long_past_is_made_anew(world: World, tmp_path: Path) -> None:
    """What could not be done for weeks, because the key was used again, nobody expects any more."""
    item = begun(world, tmp_path)
    assert days(world, tmp_path, item, 7).told.startswith("to deactivate, not before ")
    world.cloud.record_use(item.key.id, UsedAt(world.clock.now + timedelta(days=18), "s3", None))
    days(world, tmp_path, item, 19)
    again = days(world, tmp_path, item, 2)
    assert again.told.startswith("to deactivate, not before ")
    assert days(world, tmp_path, item, 1).steps == (Step.DEACTIVATE,)
    assert len({one.key for one in world.told if one.step is Step.DEACTIVATE}) == 2


def test_a_step_of_unknown_outcome_is_tried_once_at_a_time(world: World, tmp_path: Path) -> None:
    """An outage of AWS is no reason to go round in circles, or to call a person."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True)
    claim(world, tmp_path, plan_of(item))
    world.fault = lambda call: ErrorFault(500, "InternalFailure") if call.action == "UpdateAccessKey" else None
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, outcome.steps) == (Standing.WAITS, ())
    assert outcome.told == "whether AWS did what was asked (deactivate) is not known yet"
    assert world.cloud.calls["222222222222", "UpdateAccessKey"] == 2  # as often as a call is attempted
    world.fault = lambda _call: None
    world.clock.pass_(minutes=2)
    (outcome,) = tick(world, tmp_path)
    assert outcome.steps == (Step.DEACTIVATE,)


@pytest.mark.parametrize(
    ("kind", "step", "action"),
    [(Kind.DEACTIVATE, Step.DEACTIVATE, "UpdateAccessKey"), (Kind.DELETE, Step.DELETE, "DeleteAccessKey")],
)
def test_what_was_done_without_an_answer_is_not_somebody_elses_doing(
    world: World, tmp_path: Path, kind: Kind, step: Step, action: str
) -> None:
    """ListAccessKeys may show for a moment what was before; what it shows later was our own doing."""
    item = due_item(world, USER, kind, own=True)
    claim(world, tmp_path, plan_of(item))
    world.clock.pass_(days=3)
    stale = world.caller()
    before = run(look_up_user(stale, USER)).keys

    class Stale(Hands):
        """Shows what was before."""

        def look(self) -> Live:
            return replace(super().look(), keys=before)

    world.fault = lambda call: LostFault() if call.action == action else None
    with engine(world, tmp_path) as made:
        made.hands = lambda it: Stale(it, SameCaller(stale), Protection())
        (outcome,) = made.tick()
    assert outcome.standing is Standing.WAITS
    world.fault = lambda _call: None
    world.clock.pass_(minutes=2)
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, outcome.told) == (Standing.DONE, {"deactivate": "inactive", "delete": "deleted"}[step])
    assert world.cloud.calls[OTHER, "LookupEvents"] == 0, "a user may not ask it"
    with open_journal(tmp_path, lambda: world.clock.now, writes=False) as journal:
        (told,) = records_of(record(journal.rows, world.clock.now).actions)
    expected = "no answer came; AWS shows it inactive" if step is Step.DEACTIVATE else None
    assert told["detail"] == expected, "what it rests on"


def test_cloudtrail_is_asked_where_iams_events_are(world: World, tmp_path: Path) -> None:
    """Whatever Region the secrets, or the caller's calls, have (CloudTrail: global service events)."""
    item = item_of(world, USER, delivery=Delivery(secret=f"auditor/{USER}", region="eu-central-1"))
    caller = replace(world.caller(), region="eu-west-1")
    asked = []
    world.fault = lambda call: asked.append(call) if call.action == "LookupEvents" else None
    assert Hands(item, SameCaller(caller), Protection()).made_by("x", world.clock.now) == []
    assert [call.region for call in asked] == ["us-east-1"]
    assert not (tmp_path / "journal.sqlite").exists()


def test_an_old_key_that_somebody_deleted_is_done(world: World, tmp_path: Path) -> None:
    """There is nothing left to do, and nothing is invented."""
    item = begun(world, tmp_path)
    hands(world, item).delete(item.key.id)
    assert days(world, tmp_path, item, 1, runs=False).told == "gone: somebody else deleted the key"


def test_two_keys_are_refused_and_none_is_removed(world: World, tmp_path: Path) -> None:
    """Whatever the other one is: it may be the one in use."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))
    made = world.make_key(USER)
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, outcome.steps) == (Standing.REFUSED, ())
    assert "TWO_KEYS" in outcome.told
    assert world.keys(USER) == {item.key.id: "Active", made: "Active"}


def test_a_lost_answer_makes_no_second_key(world: World, tmp_path: Path) -> None:
    """CreateAccessKey is sent once; whose the key is that appeared is for CloudTrail to say."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))
    world.fault = lambda call: LostFault() if call.action == "CreateAccessKey" and call.number == 1 else None
    (outcome,) = tick(world, tmp_path)
    assert outcome.standing is Standing.FAILED
    assert "was deleted again" in outcome.told
    assert world.keys(USER) == {item.key.id: "Active"}
    assert world.cloud.calls["222222222222", "CreateAccessKey"] == 1
    assert changes(world, tmp_path) == ["discarded"]
    (outcome,) = tick(world, tmp_path)
    assert Step.PUBLISH in outcome.steps
    assert changes(world, tmp_path) == ["discarded", "created", "published"]


def changes(world: World, folder: Path) -> list[object]:
    """What was changed, as a run tells it."""
    with open_journal(folder, lambda: world.clock.now, writes=False) as journal:
        return [change["action"] for change in records_of(record(journal.rows, world.clock.now).actions)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("commit", range(4, 8))
def test_a_key_that_was_taken_back_is_told_once_wherever_it_was_killed(
    world: World, tmp_path: Path, commit: int, *, after: bool
) -> None:
    """Once it is deleted, nothing in AWS shows that it was ours: the journal has to know it before."""
    claim(world, tmp_path, plan_of(item_of(world, USER)))
    lost = [LostFault()]
    world.fault = lambda call: lost.pop() if call.action == "CreateAccessKey" and lost else None
    tick(world, tmp_path, commits=Death(commit - 1, after))
    while changes(world, tmp_path)[-1:] != ["published"]:
        assert world.clock.now < AS_OF + timedelta(hours=10)
        world.clock.pass_(minutes=30)
        tick(world, tmp_path)
    assert changes(world, tmp_path) == ["discarded", "created", "published"]


def test_a_key_that_cannot_be_taken_back_is_told_as_made_and_switched_off(world: World, tmp_path: Path) -> None:
    """Each once, however often it is tried; that somebody settles it by hand deletes nothing."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))

    def fault(call: Call) -> Fault | None:
        refused = call.action == "DeleteAccessKey" or (
            call.action == "PutSecretValue" and world.keys(USER).keys() != {item.key.id}
        )
        return (
            ErrorFault(403, "AccessDenied" if call.service == "iam" else "AccessDeniedException") if refused else None
        )

    world.fault = fault
    for _ in range(3):
        (outcome,) = tick(world, tmp_path)
        assert "ORPHAN_KNOWN" in outcome.told
    assert changes(world, tmp_path) == ["deactivated"]
    state = tracked(world, tmp_path, item)
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add(state.plan_id, item.id, Event.RESULT, step="create", outcome="failed", why="settled by hand")
    assert changes(world, tmp_path) == ["deactivated", "created"]
    assert sorted(world.keys(USER).values()) == ["Active", "Inactive"]


def test_without_proof_a_strangers_key_is_left_alone(world: World, tmp_path: Path) -> None:
    """A colleague made a key while our answer was lost and CloudTrail cannot be asked: a person is."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))

    def fault(call: object) -> object:
        action = getattr(call, "action", "")
        if action == "CreateAccessKey":
            return LostFault()
        return ErrorFault(403, "AccessDeniedException") if action == "LookupEvents" else None

    world.fault = fault  # type: ignore[assignment]
    (outcome,) = tick(world, tmp_path)
    assert outcome.told == "a key is there that may be ours; CloudTrail will tell"
    world.clock.pass_(hours=1)
    (outcome,) = tick(world, tmp_path)
    assert outcome.standing is Standing.NEEDS_PERSON
    assert "ORPHAN_SUSPECT" in outcome.told
    assert len(world.keys(USER)) == 2


def test_a_secret_that_cannot_be_stored_leaves_no_key(world: World, tmp_path: Path) -> None:
    """The new key is deleted at once; the old one is as it was."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))
    world.fault = lambda call: ErrorFault(403, "AccessDeniedException") if call.action == "PutSecretValue" else None
    (outcome,) = tick(world, tmp_path)
    assert outcome.standing is Standing.FAILED
    assert world.keys(USER) == {item.key.id: "Active"}


def test_a_store_that_refuses_is_found_out_before_there_is_a_key(world: World, tmp_path: Path) -> None:
    """No key is made that could not be kept."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))
    world.fault = lambda call: ErrorFault(403, "AccessDeniedException") if call.action == "CreateSecret" else None
    (outcome,) = tick(world, tmp_path)
    assert outcome.standing is Standing.FAILED
    assert world.cloud.calls["222222222222", "CreateAccessKey"] == 0


def test_an_unknown_last_use_switches_nothing_off(world: World, tmp_path: Path) -> None:
    """A throttled look-up is not "never used"."""
    item = begun(world, tmp_path)
    world.application_runs(item)
    world.fault = lambda call: ErrorFault(400, "Throttling") if call.action == "GetAccessKeyLastUsed" else None
    outcome = days(world, tmp_path, item, 30, runs=False)
    assert "last use is not known" in outcome.told
    assert world.keys(USER)[item.key.id] == "Active"


def test_nothing_disruptive_without_notice(world: World, tmp_path: Path) -> None:
    """Where nobody can be told, the key stays on."""
    item = begun(world, tmp_path)

    def nobody(_notice: object) -> None:
        raise NotToldError("Slack is down")

    world.application_runs(item)
    days(world, tmp_path, item, 6)
    world.clock.pass_(days=1)
    (outcome,) = tick(world, tmp_path, tell=nobody)
    assert outcome.told.endswith("nobody could be told: Slack is down")
    assert world.keys(USER)[item.key.id] == "Active"


def test_what_is_not_approved_is_not_done(world: World, tmp_path: Path) -> None:
    """Rotated as approved; switching off waits for its own approval."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item), through=Kind.ROTATE)
    tick(world, tmp_path)
    assert days(world, tmp_path, item, 30).told == "to be switched off, which is not approved"
    assert world.keys(USER)[item.key.id] == "Active"


def test_a_simulation_writes_nothing(world: World, tmp_path: Path) -> None:
    """Neither in AWS nor in the journal; it tells what would be done."""
    item = item_of(world, USER)
    claim(world, tmp_path, plan_of(item))
    (outcome,) = tick(world, tmp_path, simulates=True)
    assert outcome.told == "would prepare"
    assert {call.action for call in world.cloud.call_log} <= {
        *("AssumeRole", "GetUser", "ListAccessKeys", "GetAccessKeyLastUsed", "ListUserTags", "DescribeSecret"),
        "ListAttachedUserPolicies",
    }
    assert tracked(world, tmp_path, item).done.prepared_at is None


def test_no_more_keys_at_a_time_than_allowed(world: World, tmp_path: Path) -> None:
    """The others wait for the next tick; keys that are exposed come first, and under no such bound."""
    items = [item_of(world, f"user-{n}", Kind.DEACTIVATE, Kind.DEACTIVATE) for n in range(5)]
    claim(world, tmp_path, plan_of(*items))
    world.clock.pass_(days=2.5)
    tick(world, tmp_path)
    world.clock.pass_(days=1.5)
    outcomes = tick(world, tmp_path, most_disruptions=0)
    assert all("0 keys were switched off" in outcome.told for outcome in outcomes)
    exposed = [item_of(world, f"user-{n}", Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True) for n in (5, 6, 7)]
    claim(world, tmp_path, plan_of(*exposed, at=world.clock.now).model_copy(update={"id": "plan-2"}))
    outcomes = tick(world, tmp_path, most_disruptions=2)
    assert [outcome.item.user for outcome in outcomes[:3]] == ["user-5", "user-6", "user-7"]
    assert [outcome.steps for outcome in outcomes] == [(Step.DEACTIVATE,)] * 5 + [()] * 3
    assert len(tick(world, tmp_path, most_disruptions=2)) == 3


@pytest.mark.parametrize("then", ["Throttling", "AccessDenied"])
@pytest.mark.parametrize("kind", [Kind.DEACTIVATE, Kind.DELETE])
def test_a_refusal_after_a_lost_answer_is_no_proof_that_nothing_was_done(
    world: World, tmp_path: Path, kind: Kind, then: str
) -> None:
    """The first attempt did it, the second was refused: what AWS shows decides, and it was our doing."""
    user = f"user-{60 + 2 * kind.rank + (then == 'Throttling')}"
    item = due_item(world, user, kind, own=True)
    claim(world, tmp_path, plan_of(item))
    world.clock.pass_(days=3)
    action = "DeleteAccessKey" if kind is Kind.DELETE else "UpdateAccessKey"
    faults: list[Fault] = [LostFault(), *[ErrorFault(403 if then == "AccessDenied" else 400, then)] * 9]
    world.fault = lambda call: faults.pop(0) if call.action == action else None
    (outcome,) = tick(world, tmp_path)
    world.fault = lambda _call: None
    world.clock.pass_(minutes=2)
    if outcome.standing is not Standing.DONE:
        (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, outcome.told) == (Standing.DONE, "deleted" if kind is Kind.DELETE else "inactive")


def test_credentials_of_another_account_are_not_taken_for_the_one_that_is_meant(world: World, tmp_path: Path) -> None:
    """A role that is missing, or leads elsewhere: nothing is changed, where a user of that name may be another."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DEACTIVATE, urgent=True, account_id="333333333333")
    claim(world, tmp_path, plan_of(item))
    (outcome,) = tick(world, tmp_path)
    assert (outcome.standing, outcome.steps) == (Standing.FAILED, ())
    assert "the credentials are not of account 333333333333" in outcome.told
    assert set(world.keys(USER).values()) == {"Active"}


def test_a_use_that_aws_tells_of_late_was_before_the_key_was_switched_off(world: World, tmp_path: Path) -> None:
    """An exposed key is switched off while it is used: only what comes later is a question."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DELETE, urgent=True)
    claim(world, tmp_path, plan_of(item))
    tick(world, tmp_path)
    off = world.clock.now
    world.cloud.record_use(item.key.id, UsedAt(off - timedelta(minutes=30), "s3", "eu-west-1"))
    world.clock.pass_(days=1)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("the key stays inactive for a while")
    world.cloud.record_use(item.key.id, UsedAt(off + timedelta(hours=1), "s3", "eu-west-1"))
    (outcome,) = tick(world, tmp_path)
    assert "USED_SINCE" in outcome.told


def test_a_key_that_was_switched_on_again_is_switched_off_after_its_plan_expired(world: World, tmp_path: Path) -> None:
    """Once somebody released it and it was quiet: it was begun in time, and is announced anew."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DELETE)
    claim(world, tmp_path, plan_of(item))
    world.clock.pass_(days=2.5)
    tick(world, tmp_path)
    world.clock.pass_(days=1.5)
    (outcome,) = tick(world, tmp_path)
    assert outcome.steps == (Step.DEACTIVATE,)
    hands(world, item).set_status(item.key.id, KeyStatus.ACTIVE)
    world.clock.pass_(days=1)
    (outcome,) = tick(world, tmp_path)
    assert "REACTIVATED" in outcome.told
    with open_journal(tmp_path, lambda: world.clock.now) as journal:
        journal.add("plan-1", item.id, Event.RELEASED, reason="over", by="ann")
    world.clock.pass_(days=2.5)
    (outcome,) = tick(world, tmp_path)
    assert outcome.told.startswith("to deactivate, not before ")


def test_an_exposed_key_is_deleted_no_sooner_than_any(world: World, tmp_path: Path) -> None:
    """To switch it off was urgent: what cannot be undone is announced, waits for the window, and counts."""
    items = [item_of(world, f"user-{n}", Kind.DEACTIVATE, Kind.DELETE, urgent=True) for n in range(3)]
    claim(world, tmp_path, plan_of(*items))
    assert [outcome.steps for outcome in tick(world, tmp_path, most_disruptions=1)] == [(Step.DEACTIVATE,)] * 3
    world.clock.pass_(days=15)
    assert all(outcome.told.startswith("to delete, not before ") for outcome in tick(world, tmp_path))
    assert {(notice.item.user, notice.step) for notice in world.told} == {(it.user, Step.DELETE) for it in items}
    world.clock.pass_(days=2.9)
    assert all(outcome.told == "to delete, as was announced" for outcome in tick(world, tmp_path))
    world.clock.pass_(days=0.2)
    outcomes = tick(world, tmp_path, most_disruptions=1)
    assert [outcome.steps for outcome in outcomes] == [(Step.DELETE,), (), ()]


@pytest.mark.parametrize("known", [False, True])
def test_where_nobody_knows_what_the_canary_did_nothing_else_is_begun(
    world: World, tmp_path: Path, *, known: bool
) -> None:
    """Its key may be there, or is there and its secret nowhere: one of those is enough."""
    items = [item_of(world, f"user-{n}", Kind.ROTATE, Kind.ROTATE) for n in range(3)]
    claim(world, tmp_path, plan_of(*items))
    refused = {"PutSecretValue", "DeleteAccessKey"} if known else {"LookupEvents"}

    def fault(call: Call) -> Fault | None:
        if not known and call.action == "CreateAccessKey":
            return LostFault()
        is_pending = call.action != "PutSecretValue" or "AWSPENDING" in str(call.params)
        return ErrorFault(403, "AccessDenied") if call.action in refused and is_pending else None

    world.fault = fault
    outcomes = tick(world, tmp_path)
    assert outcomes[0].standing is (Standing.NEEDS_PERSON if known else Standing.WAITS)
    assert [outcome.told[:9] for outcome in outcomes[1:]] == ["not begun"] * 2
    assert [len(world.keys(f"user-{n}")) for n in range(3)] == [2, 1, 1]


def test_where_the_canary_fails_nothing_else_of_the_plan_is_begun(world: World, tmp_path: Path) -> None:
    """What was begun goes on, and the next tick tries again, the canary first."""
    items = [item_of(world, f"user-{n}", Kind.ROTATE, Kind.ROTATE) for n in range(3)]
    claim(world, tmp_path, plan_of(*items))
    world.fault = lambda call: ErrorFault(403, "AccessDeniedException") if call.action == "CreateSecret" else None
    outcomes = tick(world, tmp_path)
    assert [outcome.standing for outcome in outcomes] == [Standing.FAILED, Standing.WAITS, Standing.WAITS]
    assert outcomes[1].told == "not begun, since other/user-0 failed first: the next tick tries again"
    assert tracked(world, tmp_path, items[1]).waits_for == outcomes[1].told
    assert world.cloud.calls[OTHER, "CreateSecret"] == 1
    world.fault = lambda _call: None
    assert [outcome.told for outcome in tick(world, tmp_path)] == ["rotated"] * 3


def test_a_key_that_cannot_be_read_keeps_no_other_waiting(world: World, tmp_path: Path) -> None:
    """Nothing of it was tried, so nothing failed; and what is held back ends with its plan."""
    items = [item_of(world, f"user-{n}", Kind.ROTATE, Kind.ROTATE) for n in (10, 11)]
    claim(world, tmp_path, plan_of(*items))
    world.fault = lambda call: (
        ErrorFault(403, "AccessDenied") if call.action == "GetUser" and call.params["UserName"] == "user-10" else None
    )
    assert [outcome.standing for outcome in tick(world, tmp_path)] == [Standing.FAILED, Standing.DONE]


def test_a_user_who_was_made_anew_is_another(world: World, tmp_path: Path) -> None:
    """The name alone proves nothing."""
    item = item_of(world, USER, user_id="AIDASOMEBODYELSE")
    claim(world, tmp_path, plan_of(item))
    (outcome,) = tick(world, tmp_path)
    assert "USER_REPLACED" in outcome.told


def test_who_sends_mail_by_smtp_gets_the_password_that_comes_from_the_new_secret(world: World, tmp_path: Path) -> None:
    """One for each Region, in the same version as the key; a key that is not used so gets none."""
    delivery = Delivery(secret="auditor/user-0", smtp_regions=("eu-central-1", "us-west-1"))
    mailer, other = item_of(world, "user-0", delivery=delivery), item_of(world, "user-1")
    claim(world, tmp_path, plan_of(mailer, other))
    tick(world, tmp_path)
    value = world.stored("auditor/user-0")
    assert value is not None
    assert value["SmtpPasswords"] == {
        region: smtp_password(Secret(value["SecretAccessKey"]), region).reveal() for region in delivery.smtp_regions
    }
    assert "SmtpPasswords" not in (world.stored("auditor/user-1") or {})


def test_a_rotation_into_parameter_store_is_read_by_its_label(world: World, tmp_path: Path) -> None:
    """The same engine: proved, pending, verified, and only then current."""
    item = item_of(world, "user-0", delivery=Delivery(store="ssm", secret="/auditor/user-0"))
    claim(world, tmp_path, plan_of(item), through=Kind.ROTATE)
    (outcome,) = tick(world, tmp_path)
    assert [step.value for step in outcome.steps] == ["prepare", "create", "verify", "publish"]
    (held,) = [
        json.loads(one.value.removeprefix("kms:alias/aws/ssm:"))
        for one in ssm_backends[OTHER]["us-east-1"]._parameters["/auditor/user-0"]
        if "current" in one.labels
    ]
    assert held["AccessKeyId"] == tracked(world, tmp_path, item).done.new_key
    assert set(world.keys("user-0")) == {item.key.id, held["AccessKeyId"]}


@pytest.mark.parametrize(("moves", "code"), [(False, "NOT_ADOPTED"), (True, "STILL_USED")])
def test_what_does_not_move_is_asked_about_and_never_forced(
    world: World, tmp_path: Path, *, moves: bool, code: str
) -> None:
    """Thirty days after publishing: nobody used the new key, or something still uses the old one. Both stay active."""
    item = item_of(world, "user-0")
    claim(world, tmp_path, plan_of(item))
    tick(world, tmp_path)
    for days_on, standing in ((29, Standing.WAITS), (2, Standing.NEEDS_PERSON)):
        world.clock.pass_(days=days_on)
        if moves:
            world.application_runs(item)
        world.cloud.record_use(item.key.id, UsedAt(world.clock.now, "ses", "eu-west-1"))
        (outcome,) = tick(world, tmp_path)
        assert outcome.standing is standing
        assert (code in outcome.told) == (standing is Standing.NEEDS_PERSON)
    assert set(world.keys("user-0").values()) == {"Active"}
    assert len(world.keys("user-0")) == 2


def test_a_rhythm_that_is_told_after_the_plan_is_heard(world: World, tmp_path: Path) -> None:
    """The tag is read right before the key would be switched off, and right before it would be deleted."""
    item = item_of(world, "user-0", Kind.DEACTIVATE, Kind.DELETE)
    claim(world, tmp_path, plan_of(item))
    users = iam_backends[OTHER]["aws"]
    world.clock.pass_(days=2.5)
    assert "to deactivate, not before" in tick(world, tmp_path)[0].told
    users.tag_user("user-0", [{"Key": "auditor:cadence", "Value": "quarterly"}])
    world.clock.pass_(days=2)
    assert "which is no number of days" in tick(world, tmp_path)[0].told
    users.tag_user("user-0", [{"Key": "auditor:cadence", "Value": "92"}])
    assert "must be quiet for 92 days" in tick(world, tmp_path)[0].told
    users.untag_user("user-0", ["auditor:cadence"])
    (outcome,) = tick(world, tmp_path)
    assert outcome.steps == (Step.DEACTIVATE,)
    users.tag_user("user-0", [{"Key": "auditor:cadence", "Value": "92"}])
    world.clock.pass_(days=20)
    assert "stays inactive for a while" in tick(world, tmp_path)[0].told


@dataclass
class ThreeRoles:
    """A caller for each task, with a count of its own."""

    reader: Caller
    maker: Caller
    retirer: Caller

    def reading(self, _item: Item) -> Caller:
        """See `Callers`."""
        return self.reader

    def rotating(self, _item: Item) -> Caller:
        """See `Callers`."""
        return self.maker

    def retiring(self, _item: Item) -> Caller:
        """See `Callers`."""
        return self.retirer


@pytest.mark.parametrize("store", ["secretsmanager", "ssm"])
def test_the_printed_policies_are_what_each_role_calls(
    world: World, tmp_path: Path, store: Literal["secretsmanager", "ssm"]
) -> None:
    """A whole rotation, and one whose answer was lost: each role calls what its policy has, and all of it."""
    roles = ThreeRoles(*(replace(world.caller(), ledger=Spending()) for _ in range(3)))
    for user, lost in (("user-40", False), ("user-41", True)):
        delivery = Delivery(store=store, secret=f"/auditor/{user}" if store == "ssm" else f"auditor/{user}")
        item = item_of(world, user).model_copy(update={"delivery": delivery})
        folder = tmp_path / user
        claim(world, folder, plan_of(item, at=world.clock.now))
        if lost:
            seen = world.cloud.calls[OTHER, "CreateAccessKey"]
            world.fault = lambda call, seen=seen: (  # type: ignore[misc]
                LostFault() if call.action == "CreateAccessKey" and call.number == seen + 1 else None
            )
        for pause in (0.0, 1.0, 8.0, 1.5, 15.0, *[4.0] * 8):
            new = tracked(world, folder, item).done.new_key
            if new is not None:
                world.cloud.record_use(new, UsedAt(world.clock.now, "s3", "eu-central-1"))
            world.clock.pass_(days=pause)
            with engine(world, folder) as made:
                made.hands = lambda item: Hands(item, roles, Protection(groups=("nobody",)))
                list(made.tick())
        assert tracked(world, folder, item).ended == "deleted"
    for task, caller in (("remediate", roles.reader), ("rotate", roles.maker), ("retire", roles.retirer)):
        policy = remediation_policy("aws", task, store, "auditor/")
        allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
        called = set(caller.counts) - {"sts:AssumeRole", "sts:GetCallerIdentity"}
        assert called == allowed, task
    rollback = remediation_policy("aws", "rollback", store, "auditor/")
    assert [statement["Action"] for statement in rollback["Statement"]] == [["iam:UpdateAccessKey"]]


def test_who_stood_still_sends_nothing_that_it_read_before(world: World, tmp_path: Path) -> None:
    """A machine that slept between looking and doing: others may have gone on, or need the key by now."""
    item = item_of(world, USER, Kind.DEACTIVATE, Kind.DEACTIVATE)
    claim(world, tmp_path, plan_of(item))
    world.clock.pass_(days=2.5)
    tick(world, tmp_path)
    world.clock.pass_(days=1.1)

    class Sleeps(Death):
        def done(self, mine: bool) -> None:  # noqa: FBT001 - as there
            world.clock.pass_(hours=3 if self.counted == 1 else 0)
            super().done(mine)

    (outcome,) = tick(world, tmp_path, commits=Sleeps())
    assert (outcome.standing, "stood still" in outcome.told) == (Standing.FAILED, True)
    assert world.keys(USER) == {item.key.id: "Active"}
    (outcome,) = tick(world, tmp_path)
    assert outcome.steps == (Step.DEACTIVATE,)
