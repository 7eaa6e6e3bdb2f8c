"""`auditor remediate` killed with SIGKILL at the points that decide: the next tick heals, and the end is the same."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    EmbeddedOrganisation,
    Fault,
    LostFault,
    OrganisationSeed,
    UserSeed,
)
from auditor.model import KeyStatus
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Item, Kind, Plan
from tests.cli.test_remediate_command import BOB, CAT, MAIN, OTHER, OWNED, actions, ago, approve, key, planned, set_up
from tests.conftest import CommandLine
from tests.remediation.signing import told_of


@dataclass
class Killer:
    """Kills a process while AWS is asked for something: before it is done, or after, so that the answer is lost."""

    action: str = ""
    skip: int = 0
    acts: bool = True
    pid: int = 0
    shown: bytes = b""
    """What other processes could see of those that were killed: their arguments and environment."""
    secrets: set[str] = field(default_factory=set)
    """Of all keys that there were."""

    def __call__(self, call: Call) -> Fault | None:
        """See `EmbeddedOrganisation`'s fault."""
        if call.action != self.action or not self.pid:
            return None
        if self.skip:
            self.skip -= 1
            return None
        self.look()
        os.kill(self.pid, signal.SIGKILL)
        self.pid = 0
        return LostFault() if self.acts else DropFault()

    def look(self) -> None:
        """See what others see of the process, and what they must not."""
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                self.shown += Path(f"/proc/{self.pid}/{name}").read_bytes()
        users = iam_backends[OTHER]["aws"].users.values()
        self.secrets.update(str(key.secret_access_key) for user in users for key in user.access_keys)


KILLER = Killer()


@pytest.fixture
def cloud(cli: CommandLine) -> Iterator[EmbeddedOrganisation]:
    users = (
        UserSeed("ci-deploy", (key(200),), tags=OWNED),
        UserSeed("leaked", (key(20, 1),), quarantined_by=("AWSCompromisedKeyQuarantineV3",)),
        UserSeed("other", (key(10),), tags=OWNED),
        UserSeed("retired", (key(300, 200),), tags=OWNED),
    )
    seed = OrganisationSeed((AccountSeed(MAIN, "management"), AccountSeed(OTHER, "prod", users)))
    with EmbeddedOrganisation(seed, as_of=ago(0), clock=lambda: ago(0), fault=KILLER) as cloud:
        iam_backends[OTHER]["aws"].users["retired"].access_keys[0].status = "Inactive"
        set_up(cli, cloud)
        with (cli.folder / "config.toml").open("a") as config:
            days = '["mon", "tue", "wed", "thu", "fri", "sat", "sun"]'
            config.write(f'\n[remediation.window]\ndays = {days}\nstarts = "00:00"\nends = "23:59"\n')
        yield cloud


def keys(user: str) -> dict[str, str]:
    """A user's keys and their status."""
    return {one.access_key_id: one.status for one in iam_backends[OTHER]["aws"].users[user].access_keys}


def killed_at(cli: CommandLine, action: str, *command: str, skip: int = 0, acts: bool = True) -> None:
    """Run a command that is killed there; the keys that applications use work after it."""
    process = cli.start("remediate", *(command or ("tick", "-vv")))
    KILLER.action, KILLER.skip, KILLER.acts, KILLER.pid = action, skip, acts, process.pid
    out, err = process.communicate(timeout=60)
    KILLER.shown += f"{out}{err}".encode()
    assert process.returncode == -signal.SIGKILL, f"{action}: {out}{err}"
    assert len(keys("ci-deploy")) <= 2
    assert "Inactive" not in keys("ci-deploy").values()


def deletion(cli: CommandLine, plan: Plan) -> str:
    """An approved item that was announced four days ago: the inactive key of `retired` is due to be deleted."""
    user = iam_backends[OTHER]["aws"].users["retired"]
    last = next(item for item in plan.items if item.user == "leaked")
    used = last.key.last_used.model_copy(update={"at": ago(200)})
    old = last.key.model_copy(
        update={
            "id": user.access_keys[0].access_key_id,
            "status": KeyStatus.INACTIVE,
            "created_at": ago(300),
            "last_used": used,
        }
    )
    changes = {"id": "gone", "kind": Kind.DELETE, "through": Kind.DELETE, "user": "retired", "user_id": user.id}
    item: Item = last.model_copy(update=changes | {"key": old, "urgent": False, "inactive_since": ago(100)})
    times = {"created_at": ago(4.1), "expires_at": ago(1.1)}
    made = plan.model_copy(update={"id": "plan-of-deletion", "items": (item,), "blocked": (), **times})
    signed = told_of(*(one.approves(made, ago(4)) for one in (BOB, CAT)))
    approvers = (cli.folder / "allowed_signers").read_text()
    with open_journal(cli.folder / "remediation", lambda: ago(4)) as journal:
        journal.add(made.id, "", Event.CLAIMED, plan=made.model_dump(mode="json", by_alias=True))
        told = {"through": {"gone": "delete"}, "signatures": signed, "approvers": approvers}
        journal.add(made.id, "", Event.APPROVED, **told)
        journal.add(made.id, "gone", Event.ANNOUNCED, reason="to delete", until=ago(1).isoformat(), who="payments")
    return old.id


def test_killed_where_it_decides_the_end_is_the_same(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """Six true kills, at a commit and after each kind of act; then one tick that is not killed."""
    (cli.folder / "tmp").mkdir()
    cli.environment["TMPDIR"] = str(cli.folder / "tmp")
    path, plan, _ = planned(cli)
    assert {item.user for item in plan.items} == {"ci-deploy", "leaked"}
    approve(path, plan, BOB)
    (before,) = keys("ci-deploy")
    killed_at(cli, "UpdateAccessKey", "apply", str(path))
    killed_at(cli, "CreateSecret", acts=False)  # the intent is on the disk, and nothing was done
    assert not secretsmanager_backends[OTHER]["us-east-1"].secrets
    killed_at(cli, "CreateAccessKey")
    (orphan,) = keys("ci-deploy").keys() - {before}
    killed_at(cli, "PutSecretValue", skip=1)  # the first one is the marker
    assert orphan not in keys("ci-deploy"), "CloudTrail says whose it was"
    (new,) = keys("ci-deploy").keys() - {before}
    killed_at(cli, "UpdateSecretVersionStage")
    retired = deletion(cli, plan)
    killed_at(cli, "DeleteAccessKey")
    finished = cli.run("remediate", "tick", "--json")
    assert finished.code == 0, finished.out
    assert keys("ci-deploy") == {before: "Active", new: "Active"}
    assert set(keys("leaked").values()) == {"Inactive"}
    assert retired not in keys("retired")
    versions = secretsmanager_backends[OTHER]["us-east-1"].secrets["auditor/ci-deploy"].versions.values()
    (current,) = [json.loads(one["secret_string"]) for one in versions if "AWSCURRENT" in one["version_stages"]]
    assert current["AccessKeyId"] == new
    states = {one["user"]: one["state"] for one in cli.run("remediate", "status", "--json").json}
    assert states == {"ci-deploy": "rotated", "leaked": "inactive", "retired": "deleted"}
    assert cli.run("remediate", "orphans").code == 0
    calls = len(cloud.call_log)
    again = cli.run("remediate", "apply", str(path))
    assert (again.code, actions(cloud, calls), again.out) == (0, ["GetCallerIdentity"], "Nothing is open.\n")
    KILLER.look()
    is_leaking = [secret for secret in KILLER.secrets if secret.encode() in KILLER.shown]
    written = b"".join(path.read_bytes() for path in cli.folder.rglob("*") if path.is_file())
    assert is_leaking + [secret for secret in KILLER.secrets if secret.encode() in written] == []
    assert len(KILLER.secrets) > 4, "the orphan's is among them"
