"""`auditor key` as a user runs it, over HTTP: one's own keys with six permissions, those of others when approved."""

import configparser
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moto.iam.models import iam_backends

from auditor.aws.permissions import OWN_KEYS
from auditor.demo import AccountSeed, Call, EmbeddedOrganisation, ErrorFault, KeySeed, OrganisationSeed, UserSeed
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.plan import read_plan
from tests.conftest import CommandLine
from tests.remediation.journal_tables import make_table
from tests.remediation.signing import Approver

MAIN, OTHER = "111111111111", "222222222222"
ALICE, SPARE, CI = "AKIAEXAMPLEALICE2222", "AKIAEXAMPLEALICE3333", "AKIAEXAMPLECIDEP2222"
BOB = Approver("bob@example.com")
TRIED = {"GetCallerIdentity", "ListUserTags"}
"""Needs no permission, or is done without."""
FILE = f"""\
# mine
[default]
region = eu-central-1
aws_access_key_id = {ALICE}
aws_secret_access_key = old/secret+of=alice
s3 =
  max_concurrent_requests = 5

; not mine to touch
[other]
aws_access_key_id = AKIAOTHER
aws_secret_access_key = x
"""


def ago(days: float) -> datetime:
    """Before now: a command has the clock of the machine."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def key(key_id: str, age: float, last: float | None, status: KeyStatus = KeyStatus.ACTIVE) -> KeySeed:
    """A key of an age, used so many days ago."""
    used = None if last is None else UsedAt(ago(last), "s3", "eu-central-1")
    return KeySeed(ago(age), key_id, status, used)


USERS = (
    UserSeed("alice", (key(ALICE, 200, 0.1),), path="/people/", tags={"team": "a"}),
    UserSeed("ci", (key(CI, 300, 40),), tags={"owner": "payments"}),
    UserSeed("pair", (key(f"{ALICE[:-1]}6", 300, 0.2), key(f"{ALICE[:-1]}7", 100, 60))),
)


def only_own(call: Call) -> ErrorFault | None:
    """What alice may not do by the policy that is printed for her; nobody else calls in her account as a user."""
    allowed = {action.partition(":")[2] for action in OWN_KEYS} | {"GetCallerIdentity"}
    is_hers = call.params.get("UserName", "alice") == "alice"
    return None if call.account_id != OTHER or (call.action in allowed and is_hers) else ErrorFault(403, "AccessDenied")


@pytest.fixture
def alices(cli: CommandLine) -> Iterator[EmbeddedOrganisation]:
    """The cloud as alice has it: her key in her credentials file, and six permissions."""
    seed = OrganisationSeed((AccountSeed(MAIN, "management"), AccountSeed(OTHER, "prod", USERS)))
    with EmbeddedOrganisation(seed, as_of=ago(0), clock=lambda: datetime.now(UTC), fault=only_own) as cloud:
        path = cli.folder / "credentials"
        path.write_text(FILE)
        path.chmod(0o644)
        cli.environment |= {"AWS_ENDPOINT_URL": cloud.endpoint_url, "AWS_SHARED_CREDENTIALS_FILE": str(path)}
        yield cloud


@pytest.fixture
def cloud(cli: CommandLine) -> Iterator[EmbeddedOrganisation]:
    """The cloud as whoever may enter its accounts has it."""
    seed = OrganisationSeed((AccountSeed(MAIN, "management"), AccountSeed(OTHER, "prod", USERS)))
    with EmbeddedOrganisation(seed, as_of=ago(0), clock=lambda: datetime.now(UTC)) as cloud:
        cli.log_in(cloud)
        (cli.folder / "allowed_signers").write_text(f"{BOB.line}\n")
        (cli.folder / "config.toml").write_text(
            f"""
            [accounts]
            source = "organisation"
            role_name = "{cloud.role_name}"
            external_id = "{cloud.external_id}"
            [remediation.approval]
            allowed_signers = "allowed_signers"
            [remediation.journal]
            table = "auditor-journal"
            """
        )
        make_table(cloud)
        yield cloud


def profiles(cli: CommandLine) -> configparser.RawConfigParser:
    """The credentials file, as AWS's tools read it."""
    found = configparser.RawConfigParser()
    found.read_string((cli.folder / "credentials").read_text())
    return found


def listed(cli: CommandLine, *whose: str) -> dict[str, str]:
    """The status of each key."""
    found = cli.run("key", "list", "--json", *whose)
    assert found.code == 0, found.err
    return {one["access_key_id"]: one["status"] for one in found.json["keys"]}


def test_ones_own_key_from_the_first_to_the_last_step(cli: CommandLine, alices: EmbeddedOrganisation) -> None:
    """With six permissions: both keys work, and the file has the new one, its rest untouched; then the old one goes.

    It is not switched off while it was used lately, but where it leaked; and it is not deleted before its time.
    """
    before = cli.run("key", "list")
    assert f"alice in account {OTHER} (you)" in before.out
    assert f"{ALICE}  Active    200 days old, last used " in before.out
    assert " by s3 in eu-central-1" in before.out

    rotated = cli.run("key", "rotate", "--reason", "90 days")
    assert rotated.code == 0, rotated.err + rotated.out
    assert "create, verify, publish" in rotated.out
    found = profiles(cli)
    new = found["default"]["aws_access_key_id"]
    assert listed(cli) == {ALICE: "Active", new: "Active"}
    assert new != ALICE
    text = (cli.folder / "credentials").read_text()
    secret = found["default"]["aws_secret_access_key"]
    made = iam_backends[OTHER]["aws"].access_keys[new]
    assert made.secret_access_key == secret
    assert text.replace(new, ALICE).replace(secret, "old/secret+of=alice") != FILE  # it has the version on top
    kept = [line for line in text.splitlines() if "aws_" not in line and not line.startswith("auditor_version")]
    assert kept == [line for line in FILE.splitlines() if "aws_" not in line]
    assert not [name for name in found.sections() if "pending" in name]
    assert stat.S_IMODE((cli.folder / "credentials").stat().st_mode) == 0o600
    assert secret not in rotated.out + rotated.err
    files = [path for path in cli.folder.rglob("*") if path.is_file() and path.name != "credentials"]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]

    early = cli.run("key", "deactivate", ALICE, "--reason", "moved")
    assert early.code == 5
    assert "must be quiet for 14 days" in " ".join(early.out.split())
    assert listed(cli)[ALICE] == "Active"
    busy = cli.run("key", "rotate", "--reason", "again")
    assert busy.code == 2
    assert "under way" in busy.err
    off = cli.run("key", "deactivate", ALICE, "--leaked", "--reason", "in a repository")
    assert off.code == 0, off.err + off.out
    assert listed(cli)[ALICE] == "Inactive"
    early = cli.run("key", "delete", ALICE, "--reason", "over")
    assert early.code == 5
    assert "stays inactive for a while" in early.out
    on = cli.run("key", "activate", ALICE, "--reason", "a job needs it")
    assert on.code == 0, on.err
    assert listed(cli)[ALICE] == "Active"
    used = {one.partition(":")[2] for one in OWN_KEYS} - {"DeleteAccessKey"}
    assert {call.action for call in alices.call_log} == used | TRIED


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("rotate", "--profile", "other"), 4, "InvalidClientTokenId"),
        (("rotate", "--user", "ci"), 4, "AccessDenied"),
        (("rotate", SPARE), 2, f"alice has no key {SPARE}"),
        (("delete",), 2, "alice has no inactive key"),
        (("deactivate", "--leaked"), 2, "SELF"),
        (("delete", ALICE), 2, "the key is Active by now"),
        (("activate", SPARE), 2, "what is deleted is gone"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_begun(
    cli: CommandLine, alices: EmbeddedOrganisation, options: tuple[str, ...], code: int, words: str
) -> None:
    """Nothing is written in AWS, nor in the file."""
    finished = cli.run("key", *options, "--reason", "x")
    assert finished.code == code, finished.err
    assert words in " ".join(finished.err.split())
    assert not {call.action for call in alices.call_log} & {"CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey"}
    assert (cli.folder / "credentials").read_text() == FILE


@pytest.mark.usefixtures("alices")
def test_a_key_that_is_in_no_profile_is_not_rotated_into_it(cli: CommandLine) -> None:
    """Who signs from the environment has the key somewhere else: the new one would be read by nobody."""
    cli.environment |= {"AWS_ACCESS_KEY_ID": ALICE, "AWS_SECRET_ACCESS_KEY": "x"}
    (cli.folder / "credentials").write_text(FILE.replace(ALICE, SPARE))
    refused = cli.run("key", "rotate", "--reason", "90 days")
    assert refused.code == 2
    assert f"does not hold {ALICE}" in " ".join(refused.err.split())


@pytest.mark.usefixtures("alices")
def test_a_job_of_a_pipeline_does_nothing_with_a_journal_that_is_lost_with_it(cli: CommandLine) -> None:
    """What was begun there could not be healed by the next job."""
    cli.environment["CI"] = "true"
    refused = cli.run("key", "rotate", "--reason", "90 days")
    assert (refused.code, "gone after the job" in refused.err) == (2, True)
    assert listed(cli) == {ALICE: "Active"}


@pytest.mark.usefixtures("alices")
def test_simulated_it_changes_nothing(cli: CommandLine) -> None:
    """And says what would come first."""
    simulated = cli.run("key", "rotate", "--simulate", "--reason", "90 days")
    assert simulated.code == 5, simulated.err
    assert "would prepare" in simulated.out
    assert listed(cli) == {ALICE: "Active"}
    assert (cli.folder / "credentials").read_text() == FILE


def approve(path: Path) -> None:
    """Bob signs the plan."""
    approval = BOB.approves(read_plan(path.read_bytes(), "plan"), datetime.now(UTC).replace(microsecond=0))
    path.with_name(f"{path.stem}.approval-1.json").write_text(approval.model_dump_json(by_alias=True))


@pytest.mark.usefixtures("cloud")
def test_a_key_that_leaks_while_another_is_rotated_does_not_wait(cli: CommandLine) -> None:
    """Neither the new one nor the old one, whose rotation ends where it is."""
    by = ("--user", "ci", "--account", OTHER, "--as", "ann@example.com")
    done: set[Path] = set()

    def approved(*command: str) -> int:
        assert cli.run("key", *command, *by).code == 6
        (path,) = set((cli.folder / "remediation").glob("plan-*Z-??????.json")) - done
        done.add(path)
        approve(path)
        return cli.run("key", *command, *by).code

    cli.environment["CI"] = "true"
    assert approved("rotate", "--through", "deactivate", "--reason", "old") == 5
    old, new = sorted(listed(cli, *by[:4]), key=lambda name: not name.startswith("AKIAEXAMPLE"))
    assert approved("deactivate", new, "--leaked", "--reason", "in a repository") == 0
    assert listed(cli, *by[:4]) == {old: "Active", new: "Inactive"}
    assert approved("deactivate", old, "--leaked", "--reason", "there as well") == 0
    assert listed(cli, *by[:4]) == {old: "Inactive", new: "Inactive"}
    states = [one["state"] for one in cli.run("remediate", "status", "--json").json]
    assert sorted(states) == ["gave way, since the key leaked: there as well", "inactive", "inactive"]


@pytest.mark.usefixtures("cloud")
def test_somebody_elses_key_waits_for_an_approval(cli: CommandLine) -> None:
    """The first time the plan is made, the second time it is still not approved, the third time it is done.

    From a job of a pipeline as well, where the journal is in a table; with a file it is refused there.
    """
    cli.environment["CI"] = "true"
    whose = ("--user", "ci", "--account", OTHER)
    command = ("key", "rotate", *whose, "--reason", "left the team", "--as", "ann@example.com")
    first = cli.run(*command)
    assert first.code == 6
    assert "Nothing was changed" in first.out
    (path,) = (cli.folder / "remediation").glob("plan-*.json")
    second = cli.run(*command)
    assert second.code == 6
    assert [path] == list((cli.folder / "remediation").glob("plan-*.json"))
    approve(path)
    third = cli.run(*command)
    assert third.code == 0, third.err
    (told,) = cli.run("remediate", "status", "--json").json
    assert (told["user"], told["state"]) == ("ci", "rotated")
    assert not (cli.folder / "remediation" / "journal.sqlite").exists()
    assert len(listed(cli, *whose)) == 2
    unnamed = cli.run("key", "deactivate", "--user", "ci", "--account", OTHER, "--reason", "x", ALICE)
    assert (unnamed.code, "Say who you are with --as" in unnamed.err) == (2, True), unnamed.err
    two = cli.run("key", "rotate", "--user", "pair", "--account", OTHER, "--reason", "x", "--as", "ann")
    assert two.code == 2
    assert "pair has 2 active keys" in two.err


@pytest.mark.usefixtures("alices")
def test_the_printed_policy_is_what_is_called(cli: CommandLine) -> None:
    """Version 2012-10-17, without which the variable means nobody; every action is really used."""
    printed = cli.run("iam-policy", "--for", "self").json
    assert printed["Version"] == "2012-10-17"
    (statement,) = printed["Statement"]
    assert statement["Resource"] == "arn:aws:iam::*:user/${aws:username}"
    assert statement["Action"] == list(OWN_KEYS)
    assert len(OWN_KEYS) == 6
    (cli.folder / "config.toml").write_text('[remediation.protected]\ngroups = ["admins"]\n')
    refused = cli.run("key", "rotate", "--reason", "90 days")
    assert (refused.code, "iam:ListGroupsForUser" in refused.err) == (2, True), refused.err
    (statement,) = cli.run("iam-policy", "--for", "self").json["Statement"]
    assert statement["Action"] == [*OWN_KEYS, "iam:ListGroupsForUser"]
