"""What a plan must be before it is taken into the journal, whoever approved it: nothing of it goes by its own word."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest

from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.failures import AwsFailure
from auditor.config import AccountEntry, load_config
from auditor.errors import ApprovalError, CapError, UsageError
from auditor.gather import connection_for
from auditor.model import KeyStatus
from auditor.pipeline import AuditRequest, audit
from auditor.remediation.engine import Standing
from auditor.remediation.journal import Event
from auditor.remediation.plan import Among, Delivery, Item, Kind, Plan, Use, read_plan
from auditor.remedy.carrying_out import advance, claim
from auditor.remedy.means import Means
from auditor.remedy.of_user import Wish, plan_for, subject_of
from tests.builders import ago
from tests.conftest import NoProgress
from tests.remediation.journal_tables import make_table
from tests.remediation.signing import Approver
from tests.remediation.world import OTHER, World, item_of, plan_of
from tests.report_files import Key, user_row, write_report

BOB, CAT = Approver("bob@example.com"), Approver("cat@example.com")
OWNER, RECOVERY, EVE = (str(pyrage.x25519.Identity.generate().to_public()) for _ in range(3))
LONG: Mapping[str, int] = {"grace_days": 7, "quiet_days": 14, "quarantine_days": 14}


@dataclass
class Team:
    """Who plans, approves and applies, with one configuration."""

    world: World
    folder: Path

    def means(self, **remediation: Any) -> Means:
        """As a command has them."""
        cloud = self.world.cloud
        (self.folder / "allowed_signers").write_text(f"{BOB.line}\n{CAT.line}\n")
        data = {
            "accounts": {
                "source": "organisation",
                "role_name": cloud.role_name,
                "external_id": cloud.external_id,
            },
            "output": {"folder": str(self.folder / "reports")},
            "remediation": {
                "folder": str(self.folder / "journal"),
                "approval": {"allowed_signers": "allowed_signers", "plan_hours": 720},  # longer than any wait
                **remediation,
            },
        }
        credentials = StaticCredentials(cloud.access_key_id, cloud.secret_access_key)
        connection = Connection(cloud.endpoint_url, isolated=credentials)
        return Means(load_config(None, data), connection, self.folder, self.world.clock.timing)

    def item(self, user: str, kind: Kind = Kind.ROTATE, through: Kind = Kind.ROTATE, **changes: Any) -> Item:
        """As `plan` would make it with these settings."""
        made = item_of(self.world, user, kind, through)
        return made.model_copy(update={"waits": made.waits.model_copy(update=LONG), **changes})

    def plan(self, *items: Item, number: int = 1, **changes: Any) -> Plan:
        """By ann, now."""
        sha256 = self.means().approvers().sha256
        made = plan_of(*items, at=self.world.clock.now)
        return made.model_copy(update={"id": f"plan-{number}", "approvers_sha256": sha256, **changes})

    def claims(self, plan: Plan, means: Means | None = None) -> dict[str, Kind]:
        """Both approve it, and it is taken."""
        approvals = [one.approves(plan, self.world.clock.now) for one in (BOB, CAT)]
        return claim(means or self.means(), plan, approvals)


@pytest.fixture
def team(world: World, tmp_path: Path) -> Team:
    return Team(world, tmp_path)


# ------------------------------------------------------------------------------------------------- where secrets go


def files(team: Team, *readers: str) -> Delivery:
    """As an owner gets them who reads no store."""
    folder = str((team.folder / "journal" / "secrets").absolute())
    return Delivery(store="age", secret=f"{OTHER}_user-0", file=folder, readers=readers)


VENDOR = {"secrets": {"recovery_keys": [RECOVERY], "owner": [{"name": "vendor", "keys": [OWNER]}]}}


@pytest.mark.parametrize(
    ("owner", "changed"),
    [
        ("payments", lambda _team: {"secret": "auditor/somebody-elses"}),
        ("payments", lambda _team: {"store": "ssm"}),
        ("payments", lambda _team: {"region": "ap-south-1"}),
        ("payments", lambda _team: {"kms_key": "alias/eve"}),
        ("payments", lambda _team: {"smtp_regions": ("eu-west-1",)}),
        ("payments", lambda team: files(team, EVE).model_dump()),
        ("vendor", lambda team: files(team, OWNER, RECOVERY, EVE).model_dump()),
        ("vendor", lambda team: files(team, EVE).model_dump()),
        ("vendor", lambda team: files(team, OWNER, RECOVERY).model_dump() | {"file": str(team.folder)}),
        ("vendor", lambda _team: {}),
        ("payments", lambda team: {"store": "profile", "secret": "x", "file": str(team.folder / "taken")}),
    ],
    ids=[
        *("name", "store", "Region", "key", "mail", "eve's file", "eve too", "eve alone", "folder", "none", "profile")
    ],
)
def test_a_secret_goes_nowhere_but_where_the_configuration_sends_it(
    team: Team, owner: str, changed: Callable[[Team], dict[str, Any]]
) -> None:
    """Neither to other readers, nor into another store, file, Region or key: approved or not, nothing is begun."""
    item = team.item("user-0", owner=owner)
    assert item.delivery is not None
    item = item.model_copy(update={"delivery": Delivery(**item.delivery.model_dump() | changed(team))})
    before = len(team.world.cloud.call_log)
    with pytest.raises(ApprovalError, match="other/user-0: "):
        team.claims(team.plan(item), team.means(**VENDOR))
    assert {call.action for call in team.world.cloud.call_log[before:]} == {"GetCallerIdentity"}
    assert team.means().ledger().plans == {}
    assert not (team.folder / "taken").exists()


@pytest.mark.parametrize("owner", ["payments", "vendor"])
def test_a_secret_that_goes_where_the_configuration_sends_it_is_taken(team: Team, owner: str) -> None:
    """As planned; and it is taken once more, with other approvals, when the configuration has changed since."""
    item = team.item("user-0", owner=owner)
    if owner == "vendor":
        item = item.model_copy(update={"delivery": files(team, OWNER, RECOVERY)})
    plan = team.plan(item)
    assert team.claims(plan, team.means(**VENDOR)) == {item.id: Kind.ROTATE}
    assert team.claims(plan, team.means(secrets={"name": "elsewhere/{user}"})) == {item.id: Kind.ROTATE}


def test_a_plan_says_in_which_region_its_secrets_are(team: Team) -> None:
    """Whoever applies it elsewhere would put them where no application reads them."""
    assert team.means().delivery(team.item("user-0")).region == "us-east-1"
    plan = team.plan(team.item("user-0"))
    means = team.means()
    means.connection = replace(means.connection, region="eu-west-1")
    with pytest.raises(ApprovalError, match=r"\(region\)"):
        team.claims(plan, means)
    assert team.claims(plan)


def test_an_account_without_a_role_is_not_the_callers_own(team: Team) -> None:
    """By its id alone nobody gets into it."""
    means = team.means()
    means.config = means.config.model_copy(
        update={"accounts": means.config.accounts.model_copy(update={"role_name": None})}
    )
    with pytest.raises(AwsFailure, match="no role is known by which it could be entered"):
        subject_of(means, "user-0", OTHER)


def test_an_accounts_partition_is_what_the_configuration_says(team: Team) -> None:
    """As the audit has it."""
    means = team.means()
    entry = AccountEntry(id=OTHER, partition="aws-cn")
    means.config = means.config.model_copy(
        update={"accounts": means.config.accounts.model_copy(update={"list": (entry,)})}
    )
    assert means.account(OTHER, "aws").partition == "aws-cn"
    assert means.account("333333333333", "aws").partition == "aws"


def test_a_file_is_not_planned_on_a_laptop_and_lost_in_a_pipeline(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the plan taken in a job, nor is one that was taken gone on with there: no key is made."""
    monkeypatch.setenv("CI", "true")
    item = team.item("user-0", owner="vendor", delivery=files(team, OWNER, RECOVERY))
    plan, tabled = team.plan(item), {**VENDOR, "journal": {"table": "auditor-journal"}}
    make_table(team.world.cloud)
    with pytest.raises(ApprovalError, match="gone after the job"):
        team.claims(plan, team.means(**tabled))
    means = team.means(**tabled)
    for kind, code in ((Kind.ROTATE, "DELIVERY"), (Kind.DEACTIVATE, None)):  # to switch one off delivers nothing
        wish = Wish(kind, kind, "asked", owner="vendor")
        planned = plan_for(means, subject_of(means, "user-0", OTHER), wish, "ann")
        assert [one.code for one in planned.blocked] == ([code] if code else [])
    monkeypatch.delenv("CI")
    team.claims(plan, team.means(**tabled))
    monkeypatch.setenv("CI", "true")
    (outcome,) = advance(team.means(**tabled), lambda _: None)
    assert (outcome.standing, outcome.steps) == (Standing.WAITS, ())
    assert "gone after this job" in outcome.told
    assert len(team.world.keys("user-0")) == 1
    monkeypatch.delenv("CI")
    (outcome,) = advance(team.means(**tabled), lambda _: None)
    assert outcome.standing is Standing.DONE


# ------------------------------------------------------------------------------------------------- what is there


@pytest.mark.parametrize("twice", [False, True])
def test_an_item_takes_no_others_place(team: Team, *, twice: bool) -> None:
    """A name that the journal knows, or that the plan has twice, would wipe out how the other stands."""
    first, other = team.item("user-0"), team.item("user-1")
    if not twice:
        team.claims(team.plan(first))
        list(advance(team.means(), lambda _: None))
    items = (
        (first, other.model_copy(update={"id": first.id})) if twice else (other.model_copy(update={"id": first.id}),)
    )
    with pytest.raises(ApprovalError, match=f"there already: {first.id}"):
        team.claims(team.plan(*items, number=2))
    found = team.means().ledger().items
    assert {name: (it.item.user, it.ended) for name, it in found.items()} == (
        {} if twice else {first.id: ("user-0", "rotated")}
    )


# ------------------------------------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("name", "demanded", "said"),
    [
        ("grace_days", 8, "fewer days than the configuration"),
        ("quiet_days", 15, "waits for fewer days"),
        ("quarantine_days", 15, "waits for fewer days"),
    ],
)
def test_a_plan_waits_no_less_than_the_configuration_wants_now(team: Team, name: str, demanded: int, said: str) -> None:
    """Whether it was edited, or the configuration has changed since; longer is fine."""
    plan = team.plan(team.item("user-0", through=Kind.DELETE))
    with pytest.raises(ApprovalError, match=said):
        team.claims(plan, team.means(**{name: demanded}))
    longer = {one: days - 1 for one, days in LONG.items() if one != "quarantine_days"}
    assert team.claims(plan, team.means(**longer))


@pytest.mark.parametrize(("name", "days"), [("grace_days", -1), ("quiet_days", 0), ("quarantine_days", 13)])
def test_there_are_days_that_no_plan_leaves_out(team: Team, name: str, days: int) -> None:
    """Whatever a configuration would allow: it is no plan."""
    content = team.plan(team.item("user-0")).content.replace(
        f'"{name}":{LONG[name]}'.encode(), f'"{name}":{days}'.encode()
    )
    with pytest.raises(UsageError, match=f"waits.{name}"):
        read_plan(content, "plan")


def test_nobodys_key_is_not_switched_off(team: Team) -> None:
    """There would be nobody to announce it to, whatever the plan says."""
    for through in (Kind.DEACTIVATE, Kind.DELETE):
        with pytest.raises(ApprovalError, match="nobody is known who could be told"):
            team.claims(team.plan(team.item("user-0", through=through, owner=None)))


def run_that_saw(team: Team, status: KeyStatus, days: float, user: str, created: datetime) -> None:
    """A run so long ago, which saw the user's key so."""
    at = team.world.clock.now - timedelta(days=days)
    reports = team.folder / f"in-{days}"
    row = user_row(user, Key(created, created + timedelta(days=1), status is KeyStatus.ACTIVE), account=OTHER)
    write_report(reports / "report.csv", row, account=OTHER)
    config = load_config(None, {"output": {"folder": str(team.folder / "reports"), "formats": ["csv"]}})
    audit(AuditRequest(config, connection_for(config), at, (), (reports,)), NoProgress())


@pytest.mark.parametrize("by", ["a run", "the journal", "its last use"])
def test_a_key_was_not_inactive_while_it_was_seen_active(team: Team, by: str) -> None:
    """A plan that says so would delete at once what was switched off a minute ago."""
    item = team.item("user-0", Kind.DELETE, Kind.DELETE)
    off = item.key.model_copy(update={"status": KeyStatus.INACTIVE, "last_used": Use(at=ago(150))})
    item = item.model_copy(update={"key": off, "inactive_since": ago(100)})
    number = 1
    if by == "a run":
        run_that_saw(team, KeyStatus.ACTIVE, 20, "user-0", off.created_at)
    elif by == "the journal":
        before = item.model_copy(update={"id": "before"})
        switched = team.plan(before.model_copy(update={"kind": Kind.DEACTIVATE, "through": Kind.DEACTIVATE}))
        team.claims(switched)
        with team.means().journal() as journal:
            journal.add(switched.id, "before", Event.RESULT, step="deactivate", outcome="done")
            journal.add(switched.id, "before", Event.ENDED, how="inactive")
        number = 2
    else:
        used = off.model_copy(update={"last_used": Use(at=ago(5))})
        item = item.model_copy(update={"key": used})
    with pytest.raises(ApprovalError, match="and it was active at"):
        team.claims(team.plan(item, number=number))
    late = item.model_copy(update={"inactive_since": team.world.clock.now})
    assert team.claims(team.plan(late, number=number)) == {item.id: Kind.DELETE}


def test_runs_that_saw_a_key_inactive_are_no_doubt(team: Team) -> None:
    """What was seen active before is what the plan says."""
    item = team.item("user-0", Kind.DELETE, Kind.DELETE)
    off = item.key.model_copy(update={"status": KeyStatus.INACTIVE, "last_used": Use(at=ago(150))})
    run_that_saw(team, KeyStatus.ACTIVE, 110, "user-0", off.created_at)
    run_that_saw(team, KeyStatus.INACTIVE, 100, "user-0", off.created_at)
    assert team.claims(team.plan(item.model_copy(update={"key": off, "inactive_since": ago(100)})))


# ------------------------------------------------------------------------------------------------- how many

MANY = Among(active_keys=100, in_use={OTHER: 50})


@pytest.mark.parametrize(
    ("settings", "among"),
    [
        ({"max_items": 3}, MANY),
        ({"max_per_account": 3}, MANY),
        ({"max_percent": 3}, MANY),
        ({"first_items": 3}, MANY),
        ({}, Among(active_keys=100, in_use={OTHER: 4})),
        ({}, None),
    ],
    ids=["items", "account", "percent", "first", "in use", "nobody counted"],
)
def test_caps_are_of_all_that_is_under_way(team: Team, settings: dict[str, Any], among: Among | None) -> None:
    """Two plans of two keys are four: what one of them may not have, both may not; and nothing of it is written.

    The first one is approved once more all the same, and an exposed key, or one that a person asks for, has its turn.
    """
    lately = Use(at=team.world.clock.now - timedelta(hours=1))
    items = [team.item(f"user-{number}") for number in range(6)]
    items = [one.model_copy(update={"key": one.key.model_copy(update={"last_used": lately})}) for one in items]
    first = team.plan(*items[:2], among=MANY)
    team.claims(first)
    means = team.means(**settings)
    with pytest.raises(CapError, match="no room"):
        team.claims(team.plan(*items[2:4], number=2, among=among), means)
    assert set(means.ledger().plans) == {first.id}
    assert team.claims(first, team.means(max_items=1))
    exposed = items[4].model_copy(
        update={"kind": Kind.DEACTIVATE, "through": Kind.DEACTIVATE, "delivery": None, "urgent": True}
    )
    assert team.claims(team.plan(exposed, number=3, among=among), means)
    if "max_items" not in settings and "max_per_account" not in settings:
        assert team.claims(team.plan(items[5], number=4), means)


def test_one_key_of_a_user_at_a_time(team: Team) -> None:
    """Also of two plans that were made before either was begun; an exposed key does not wait for it."""
    first = team.item("user-0", through=Kind.DEACTIVATE)
    team.claims(team.plan(first, among=MANY))
    again = first.model_copy(update={"id": "again"})
    with pytest.raises(CapError, match="of the user is under way"):
        team.claims(team.plan(again, number=2, among=MANY))
