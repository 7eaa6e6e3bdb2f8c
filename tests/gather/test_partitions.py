"""Partitions side by side: roles cannot be assumed across them, so each has credentials of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.aws.clients import Connection, Entrance
from auditor.config import AccountEntry, AccountsConfig, AccountSource
from auditor.demo import AccountSeed, EmbeddedOrganisation, KeySeed, OrganisationSeed, UserSeed
from auditor.errors import NothingAuditedError, UsageError
from auditor.gather import Scope, resolve_scope
from tests.builders import ago
from tests.conftest import CommandLine, StartCloud, VirtualTime, connect

MAIN, OTHER, CHINA, CHINA_OTHER = (f"{n}" * 12 for n in range(1, 5))
ANN = UserSeed("ann", (KeySeed(created_at=ago(5)),))
SEED = OrganisationSeed((AccountSeed(MAIN, "main"), AccountSeed(OTHER, "other", (ANN,))))

IN_CHINA = f"""
import sys
from auditor.demo import AccountSeed, EmbeddedOrganisation, KeySeed, OrganisationSeed, UserSeed
from tests.builders import AS_OF, ago
old = UserSeed("li", (KeySeed(created_at=ago(400)),))
seed = OrganisationSeed((AccountSeed("{CHINA}"), AccountSeed("{CHINA_OTHER}", "cn", (old,))), partition="aws-cn")
with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
    print(cloud.endpoint_url, cloud.access_key_id, cloud.secret_access_key, flush=True)
    sys.stdin.read()
"""
"""Another cloud, in a process of its own: the simulator's state is global to a process."""


@dataclass(frozen=True)
class Door:
    """Where a cloud listens, and the credentials of its caller."""

    url: str
    key_id: str
    secret: str


@pytest.fixture(scope="module")
def china() -> Iterator[Door]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", IN_CHINA]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Door(*process.stdout.readline().split())
        finally:
            process.stdin.close()


def write_profiles(folder: Path, **doors: Door) -> dict[str, str]:
    """AWS configuration files with a profile for each door; the environment variables that name them."""
    config, secrets = folder / "aws-config", folder / "aws-credentials"
    sections = {name: name if name == "default" else f"profile {name}" for name in doors}
    config.write_text("".join(f"[{sections[name]}]\nendpoint_url = {door.url}\n" for name, door in doors.items()))
    secrets.write_text(
        "".join(
            f"[{name}]\naws_access_key_id = {door.key_id}\naws_secret_access_key = {door.secret}\n"
            for name, door in doors.items()
        )
    )
    return {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(secrets)}


def door_of(cloud: EmbeddedOrganisation) -> Door:
    """The door of a cloud in this process."""
    return Door(cloud.endpoint_url, cloud.access_key_id, cloud.secret_access_key)


CONFIG = f"""
[accounts]
source = "organisation"
role_name = "access-key-auditor"
external_id = "monthly-access-key-audit"
partition.aws-cn.profile = "china"
[[accounts.list]]
id = "{CHINA}"
partition = "aws-cn"
[[accounts.list]]
id = "{CHINA_OTHER}"
name = "beijing"
partition = "aws-cn"
"""


def test_partitions_are_audited_side_by_side(cli: CommandLine, start_cloud: StartCloud, china: Door) -> None:
    """The organisation with the ambient credentials, the accounts beside it with their partition's profile."""
    cli.environment |= write_profiles(cli.folder, default=door_of(start_cloud(SEED)), china=china)
    (cli.folder / "config.toml").write_text(CONFIG)
    finished = cli.run("audit", "--as-of", "2026-11-22T19:00:00Z", "--format", "csv", "--json")
    assert finished.code == 1, finished.err
    coverage = finished.json["coverage"]
    assert (coverage["accounts_in_scope"], coverage["accounts_audited"]) == (4, 4)
    assert (coverage["organisation_accounts"], coverage["left_out"]) == (2, 0)
    (report,) = cli.folder.glob(f"reports/*/raw/{CHINA_OTHER}/credential-report.csv")
    assert f"arn:aws-cn:iam::{CHINA_OTHER}:user/li" in report.read_text()


def test_credentials_of_a_partition_that_fail_cost_only_its_accounts(
    cli: CommandLine, start_cloud: StartCloud, china: Door
) -> None:
    """They are not audited, with the reason that AWS gives; the organisation is audited all the same."""
    stranger = Door(china.url, "AKIAUNKNOWNUNKNOWN22", "secret")
    cli.environment |= write_profiles(cli.folder, default=door_of(start_cloud(SEED)), china=stranger)
    (cli.folder / "config.toml").write_text(CONFIG)
    finished = cli.run("audit", "--as-of", "2026-11-22T19:00:00Z", "--format", "csv", "--json")
    assert finished.code == 3, finished.err
    missing = finished.json["coverage"]["not_audited"]
    assert [account["account_id"] for account in missing] == [CHINA, CHINA_OTHER]
    assert all("InvalidClientTokenId" in account["reason"] for account in missing)


@pytest.fixture
def resolve(
    start_cloud: StartCloud, virtual_time: VirtualTime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Resolver"]:
    cloud = start_cloud(SEED)
    for name, value in write_profiles(tmp_path, default=door_of(cloud)).items():
        monkeypatch.setenv(name, value)
    yield Resolver(cloud, virtual_time)
    assert os.environ["AWS_CONFIG_FILE"].startswith(str(tmp_path))


@dataclass(frozen=True)
class Resolver:
    """Resolves the scope of two accounts in China and one here, as the default profile."""

    cloud: EmbeddedOrganisation
    time: VirtualTime

    def __call__(self, *entrances: Entrance) -> Scope:
        """With these credentials for other partitions."""
        elsewhere = (AccountEntry(id=account, partition="aws-cn") for account in (CHINA, CHINA_OTHER))
        listed = (AccountEntry(id=MAIN), *elsewhere)
        wanted = AccountsConfig(source=AccountSource.LIST, role_name="r", list=listed)
        connection = Connection(endpoint_url=self.cloud.endpoint_url, entrances=entrances)
        return resolve_scope(wanted, (), connection, self.time.timing)


@pytest.mark.parametrize("entrances", [(), (Entrance("aws-cn", "default"),)], ids=["none", "of the wrong partition"])
def test_accounts_that_nobody_can_enter_are_named(resolve: Resolver, entrances: tuple[Entrance, ...]) -> None:
    """All of them at once, before any is tried: AWS would answer as for a role that does not exist."""
    with pytest.raises(NothingAuditedError, match="across partitions") as caught:
        resolve(*entrances)
    assert f"{CHINA} (aws-cn), {CHINA_OTHER} (aws-cn)" in caught.value.what
    assert MAIN not in caught.value.what
    assert "[accounts.partition.aws-cn]" in caught.value.next_step


def test_a_profile_that_does_not_exist_is_told_before_any_call(resolve: Resolver) -> None:
    """It is a mistake of the configuration."""
    with pytest.raises(UsageError, match="china"):
        resolve(Entrance("aws-cn", "china"))
    assert not resolve.cloud.call_log


def test_accounts_beside_the_organisation_are_not_of_it(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """Listed and found, an account would be audited twice."""
    cloud = start_cloud(SEED)
    wanted = AccountsConfig(source=AccountSource.ORGANISATION, role_name="r", list=(AccountEntry(id=OTHER),))
    with pytest.raises(NothingAuditedError, match=f"belong to the organisation: {OTHER}") as caught:
        resolve_scope(wanted, (), connect(cloud), virtual_time.timing)
    assert "[[accounts.override]]" in caught.value.next_step
