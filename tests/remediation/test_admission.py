"""What a plan must be before it is taken into the journal, whoever approved it: nothing of it goes by its own word."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest

from auditor.aws.clients import Connection, StaticCredentials
from auditor.config import load_config
from auditor.errors import ApprovalError
from auditor.remediation.engine import Standing
from auditor.remediation.plan import Delivery, Item, Kind, Plan
from auditor.remedy.carrying_out import advance, claim
from auditor.remedy.means import Means
from tests.remediation.journal_tables import make_table
from tests.remediation.signing import Approver
from tests.remediation.world import OTHER, World, item_of, plan_of

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
                "approval": {"allowed_signers": "allowed_signers"},
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


def test_a_file_is_not_planned_on_a_laptop_and_lost_in_a_pipeline(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the plan taken in a job, nor is one that was taken gone on with there: no key is made."""
    monkeypatch.setenv("CI", "true")
    item = team.item("user-0", owner="vendor", delivery=files(team, OWNER, RECOVERY))
    plan, tabled = team.plan(item), {**VENDOR, "journal": {"table": "auditor-journal"}}
    make_table(team.world.cloud)
    with pytest.raises(ApprovalError, match="gone after the job"):
        team.claims(plan, team.means(**tabled))
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


# ------------------------------------------------------------------------------------------------- what there is already


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
