"""A user's own key over weeks, with the user's own rights; and the credentials file that it is kept in."""

import configparser
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.iam.models import iam_backends

from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.credentials_file import CredentialsFile
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.aws.permissions import OWN_KEYS
from auditor.aws.private_files import replace_whole
from auditor.config import load_config
from auditor.demo import AccountSeed, Call, EmbeddedOrganisation, ErrorFault, OrganisationSeed
from auditor.errors import ApprovalError, UsageError
from auditor.model import UsedAt
from auditor.remediation.engine import Outcome, Standing
from auditor.remediation.plan import Kind
from auditor.remedy.carrying_out import advance
from auditor.remedy.means import Means
from auditor.remedy.of_user import Wish, claim_own, plan_for, subject_of, waiting_plan
from auditor.remedy.rollback import switch_on
from auditor.secret import Secret
from tests.conftest import StartCloud
from tests.remediation.journal_tables import TABLE, make_table
from tests.remediation.signing import person
from tests.remediation.test_canary import FOUND, is_clean, shown
from tests.remediation.world import MAIN, OTHER, Clock, user_seed

FILE = "# mine\n[default]\naws_access_key_id = {}\naws_secret_access_key = old\nregion = eu-west-1\n\n[b]\nx = y\n"


def keys_of(user: str) -> list[str]:
    """As moto has them."""
    return [str(key.access_key_id) for key in iam_backends[OTHER]["aws"].users[user].access_keys]


class Alice:
    """Who has nothing but her key, her credentials file, and the six permissions."""

    def __init__(self, start_cloud: StartCloud, folder: Path) -> None:
        """Her key is in her file."""
        self.clock, self.folder = Clock(), folder
        users = (user_seed("alice"), user_seed("bob"))
        seed = OrganisationSeed((AccountSeed(MAIN, "management"), AccountSeed(OTHER, "prod", users)))
        self.cloud: EmbeddedOrganisation = start_cloud(seed, clock=lambda: self.clock.now, fault=self.refuses)
        self.old = keys_of("alice")[0]
        self.path = folder / "credentials"
        self.path.write_text(FILE.format(self.old))
        self.journal: dict[str, str] = {}

    @staticmethod
    def refuses(call: Call) -> ErrorFault | None:
        """What the printed policy does not allow."""
        is_allowed = f"iam:{call.action}" in OWN_KEYS and call.params.get("UserName", "alice") == "alice"
        refused = call.account_id == OTHER and call.service == "iam" and not is_allowed
        return ErrorFault(403, "AccessDenied") if refused else None

    @property
    def key(self) -> str:
        """The key in her profile."""
        found = configparser.RawConfigParser()
        found.read_string(self.path.read_text())
        return found["default"]["aws_access_key_id"]

    def means(self) -> Means:
        """As the next command has them."""
        connection = Connection(self.cloud.endpoint_url, isolated=StaticCredentials(self.key, "x"))
        remediation = {"folder": str(self.folder / "journal"), "journal": self.journal}
        config = load_config(None, {"remediation": remediation})
        return Means(config, connection, self.folder, self.clock.timing)

    def asks(self, kind: Kind, key: str | None = None, *, leaked: bool = False) -> Outcome:
        """She wants this; what came of it."""
        means = self.means()
        plan = plan_for(means, subject_of(means, None, None), Wish(kind, kind, "asked", key, leaked=leaked), "alice")
        assert plan.items, plan.blocked
        claim_own(means, plan)
        return self.goes_on()

    def goes_on(self) -> Outcome:
        """What is under way."""
        (outcome,) = advance(self.means(), lambda _: pytest.fail("nobody has to be told"))
        return outcome

    def days_pass(self, days: float, *used: str) -> None:
        """With these keys in use to their end."""
        self.clock.pass_(days=days)
        for key in used:
            self.cloud.record_use(key, UsedAt(self.clock.now, "s3", "eu-west-1"))


@pytest.fixture
def alice(start_cloud: StartCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alice:
    found = Alice(start_cloud, tmp_path)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(found.path))
    return found


def test_the_six_permissions_are_enough_to_the_end(alice: Alice) -> None:
    """Rotated, quiet, switched off, quarantined, deleted: with the six actions, each of which is called."""
    assert alice.asks(Kind.ROTATE).standing is Standing.DONE
    assert alice.key != alice.old
    alice.days_pass(1, alice.key, alice.old)
    assert alice.asks(Kind.DEACTIVATE, alice.old).standing is Standing.WAITS
    alice.days_pass(13, alice.key)
    assert alice.goes_on().standing is Standing.WAITS
    alice.days_pass(2, alice.key)
    assert alice.goes_on().standing is Standing.DONE
    assert alice.asks(Kind.DELETE, alice.old).standing is Standing.WAITS
    alice.days_pass(15, alice.key)
    assert alice.goes_on().standing is Standing.DONE
    assert keys_of("alice") == [alice.key]
    called = {f"iam:{call.action}" for call in alice.cloud.call_log if call.service == "iam"}
    assert called - {"iam:ListUserTags"} == set(OWN_KEYS)


def test_a_comment_stays_with_the_profile_below_it(alice: Alice) -> None:
    """What is added to hers stands with hers."""
    alice.path.write_text(FILE.format(alice.old).replace("\n\n[b]", "\n\n# of the other team\n[b]"))
    alice.asks(Kind.ROTATE)
    lines = alice.path.read_text().splitlines()
    assert lines[lines.index("[b]") - 1] == "# of the other team"
    assert [line.partition(" ")[0] for line in lines[lines.index("[default]") + 1 :][:4]] == [
        *("aws_access_key_id", "aws_secret_access_key", "region", "auditor_version")
    ]


def test_what_her_file_holds_is_in_no_frame_of_an_error(alice: Alice) -> None:
    """A reporter of errors may show frames with their variables, and a file that cannot be read is in memory whole."""
    means = alice.means()
    subject = subject_of(means, None, None)
    FOUND.clear()
    FOUND.add("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY")
    alice.path.write_text("[b]\naws_secret_access_key = " + next(iter(FOUND)) + "\n[default]\n[default]\n")
    with pytest.raises(AwsFailure, match="credentials file") as failure:
        plan_for(means, subject, Wish(Kind.ROTATE, Kind.ROTATE, "asked"), "alice")
    assert is_clean("".join(shown(failure.value)).encode())


def test_a_pipeline_puts_no_key_into_a_file_that_is_lost_with_it(alice: Alice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the journal is a table that stays: nothing is planned there, nor is gone on with what was begun here."""
    make_table(alice.cloud, keys_of("alice")[0])
    alice.journal = {"table": TABLE}
    wish = Wish(Kind.ROTATE, Kind.ROTATE, "asked")
    means = alice.means()
    plan = plan_for(means, subject_of(means, None, None), wish, "alice")
    claim_own(means, plan)
    monkeypatch.setenv("CI", "true")
    means = alice.means()
    with pytest.raises(UsageError, match="gone after the job"):
        plan_for(means, subject_of(means, None, None), wish, "alice")
    waits = alice.goes_on()
    assert (waits.standing, "gone after this job" in waits.told) == (Standing.WAITS, True)
    assert keys_of("alice") == [alice.old]
    monkeypatch.delenv("CI")
    assert alice.goes_on().standing is Standing.DONE


def test_nobody_else_goes_on_with_it_nor_claims_it(alice: Alice) -> None:
    """What is under way for a user's own key needs that user's own rights."""
    alice.asks(Kind.ROTATE)
    alice.days_pass(1, alice.key, alice.old)
    alice.asks(Kind.DEACTIVATE, alice.old)
    means = alice.means()
    means.connection = Connection(alice.cloud.endpoint_url, isolated=StaticCredentials(keys_of("bob")[0], "x"))
    assert list(advance(means, lambda _: None)) == []
    plan = next(iter(means.ledger().plans.values()))
    with pytest.raises(ApprovalError):
        claim_own(means, plan)


def test_who_may_enter_the_account_takes_it_back_by_role(alice: Alice) -> None:
    """Not with rights of their own account, in which there may be a user of the same name."""
    alice.asks(Kind.ROTATE)
    assert alice.asks(Kind.DEACTIVATE, alice.old, leaked=True).standing is Standing.DONE
    means = alice.means()
    (item,) = (it.item.id for it in means.ledger().items.values() if it.item.kind is Kind.DEACTIVATE)
    cloud = alice.cloud
    roles = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
    means.config = load_config(None, {"accounts": roles, "remediation": {"folder": str(means.folder)}})
    means.connection = Connection(
        cloud.endpoint_url, isolated=StaticCredentials(cloud.access_key_id, cloud.secret_access_key)
    )
    admin = Means(means.config, means.connection, means.home, means.timing)
    assert switch_on(admin, item, (None, None), "needed") == alice.old
    assert {str(key.status) for key in iam_backends[OTHER]["aws"].users["alice"].access_keys} == {"Active"}


def test_a_plan_that_lies_in_the_folder_is_nothing_to_an_own_key(alice: Alice) -> None:
    """Nobody approves it, so it could send the secret anywhere; somebody else's has to be exactly what is wished."""
    means = alice.means()
    subject, wish = subject_of(means, None, None), Wish(Kind.ROTATE, Kind.ROTATE, "asked")
    plan = plan_for(means, subject, wish, "eve")
    means.folder.mkdir()
    (means.folder / "plan-0.json").write_text("{}")
    path = means.folder / f"{plan.id}.json"
    path.write_bytes(plan.content)
    theirs = replace(subject, own=False)
    assert waiting_plan(means, subject, wish) is None
    assert waiting_plan(means, theirs, wish) is None, "it is of an own key"
    (alice.folder / "signers").write_text(f"{person('bob@example.com').line}\n")
    approval = means.config.remediation.approval.model_copy(update={"allowed_signers": str(alice.folder / "signers")})
    remediation = means.config.remediation.model_copy(update={"approval": approval})
    means.config = means.config.model_copy(update={"remediation": remediation})
    told: dict[str, Any] = {"approvers_sha256": means.approvers().sha256}
    item = plan.items[0].model_copy(update={"own": False})
    path.write_bytes(plan.model_copy(update={"items": (item,), **told}).content)
    assert waiting_plan(means, theirs, wish) is None, "nobody else's goes into a profile"
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "asked")
    waits = item.waits.model_copy(update={"grace_days": means.config.remediation.grace_days})
    off: dict[str, Any] = {"kind": wish.kind, "through": wish.through, "delivery": None, "waits": waits}
    path.write_bytes(plan.model_copy(update={"items": (item.model_copy(update=off),), **told}).content)
    assert waiting_plan(means, subject, wish) is None
    assert waiting_plan(means, theirs, wish) is not None
    for other in (replace(wish, leaked=True), replace(wish, through=Kind.DELETE), replace(wish, key_id="AKIAOTHER")):
        assert waiting_plan(means, theirs, other) is None


# ------------------------------------------------------------------------------------------------- the file

NAMES = st.text("abcXYZ-_ 9", min_size=1, max_size=8).map(str.strip).filter(bool)
VALUES = st.text("abc/+=%#;$ 1", max_size=12).map(str.strip)
SECTIONS = st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["region", "role_arn", "x"]), VALUES), max_size=4)


@given(
    sections=SECTIONS,
    secret=st.text("abcdefgh/+=0123456789", min_size=1, max_size=40),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_only_the_profile_changes(
    tmp_path_factory: pytest.TempPathFactory, sections: dict[str, dict[str, str]], secret: str, ends: str
) -> None:
    """Whatever else is in the file, AWS's tools read it as before, and the profile with its new key."""
    path = tmp_path_factory.mktemp("file") / "credentials"
    text = "".join(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in told.items()) for name, told in sections.items())
    whole = f"; top\n{text}[app]\naws_access_key_id=AKIAOLD\naws_secret_access_key=x\n# end\n"
    path.write_bytes(whole.replace("\n", ends).encode())
    before = configparser.RawConfigParser()
    before.read_string(path.read_text())
    store = CredentialsFile(path, "app")

    async def replaced() -> None:
        seen = await store.look()
        assert seen is not None
        await store.prove("s", "m")
        await store.put_pending(Secret(json.dumps({"AccessKeyId": "AKIANEW", "SecretAccessKey": secret})), "token")
        await store.publish("token", seen.current)

    run(replaced())
    after = configparser.RawConfigParser()
    after.read_string(path.read_text())
    assert after["app"]["aws_access_key_id"] == "AKIANEW"
    assert after["app"]["aws_secret_access_key"] == secret
    after["app"] = before["app"]
    assert {name: dict(after[name]) for name in after} == {name: dict(before[name]) for name in before}
    assert path.read_bytes().startswith(f"; top{ends}".encode())
    assert path.read_bytes().count(b"\r") == (path.read_bytes().count(b"\n") if ends == "\r\n" else 0)
    assert [one.name for one in path.parent.iterdir()] == ["credentials"]


def test_what_somebody_else_put_into_the_profile_is_not_overwritten(tmp_path: Path) -> None:
    """Nor is a file that cannot be read, whose lines are told to nobody."""
    path = tmp_path / "credentials"
    path.write_text("[app]\naws_access_key_id=AKIAOLD\naws_secret_access_key=x\n")
    store = CredentialsFile(path, "app")
    value = Secret(json.dumps({"AccessKeyId": "AKIANEW", "SecretAccessKey": "y"}))
    run(store.put_pending(value, "token"))
    path.write_text(path.read_text().replace("AKIAOLD", "AKIATHEIRS"))
    with pytest.raises(AwsFailure, match="another key by now"):
        run(store.publish("token", "key AKIAOLD"))
    path.write_text("[app\nsecret line")
    with pytest.raises(AwsFailure) as failure:
        run(store.look())
    assert "secret line" not in str(failure.value)


def test_a_link_stays_a_link_and_a_forbidden_folder_is_said(tmp_path: Path) -> None:
    """The file may be kept elsewhere; a folder that nothing can be put into is found out before there is a key."""
    real = tmp_path / "kept"
    real.mkdir()
    (real / "credentials").write_text("[app]\naws_access_key_id=AKIAOLD\naws_secret_access_key=x\n")
    link = tmp_path / "credentials"
    link.symlink_to(real / "credentials")
    run(CredentialsFile(link, "app").prove("s", "m"))
    assert link.is_symlink()
    with pytest.raises(AwsFailure, match="cannot be written"):
        run(CredentialsFile(tmp_path / "nowhere" / "credentials", "app").prove("s", "m"))


def test_what_a_killed_process_left_beside_the_file_goes(tmp_path: Path) -> None:
    """It has the secrets of all profiles; one that may still be written stays."""
    path = tmp_path / "credentials"
    for name, age in (("old", 2 * 3600), ("new", 60)):
        left = tmp_path / f".credentials.{name}.partial"
        left.write_text("secret")
        os.utime(left, (time.time() - age, time.time() - age))
    replace_whole(path, b"content")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".credentials.new.partial", "credentials"]
    path.write_text(FILE.format("AKIA"))
    run(CredentialsFile(path, "default").prove("sentinel", "marker"))  # under a lock, nobody else is at it
    assert [file.name for file in tmp_path.iterdir()] == ["credentials"]
