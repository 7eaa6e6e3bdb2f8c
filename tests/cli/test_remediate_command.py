"""`auditor remediate` as a user runs it, over HTTP: plan, approve, apply, tick, and back again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

from auditor.demo import AccountSeed, EmbeddedOrganisation, KeySeed, OrganisationSeed, UserSeed
from auditor.model import UsedAt
from auditor.remediation.journal import decode_rows
from auditor.remediation.journal_file import open_journal
from auditor.remediation.plan import Plan, read_plan
from tests.conftest import CommandLine
from tests.notify.slack_server import TOKEN, Slack, serving
from tests.remediation.journal_tables import TABLE, make_table
from tests.remediation.signing import Approver
from tests.remediation.test_newer_journal import append

MAIN, OTHER = "111111111111", "222222222222"
READS = {
    "ListAttachedUserPolicies",
    "GetUser",
    "ListAccessKeys",
    "GetAccessKeyLastUsed",
    "ListUserTags",
    "DescribeSecret",
    "AssumeRole",
}
BOB, CAT = Approver("bob@example.com"), Approver("cat@example.com")


def ago(days: float) -> datetime:
    """Before now: a command has the clock of the machine."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def used(days: float) -> UsedAt:
    """Used so long ago."""
    return UsedAt(ago(days), "s3", "eu-central-1")


def key(age: float, last: float | None = 0.1) -> KeySeed:
    """A key of an age, used so many days ago."""
    return KeySeed(created_at=ago(age), last_used=None if last is None else used(last))


OWNED = {"owner": "payments"}


@pytest.fixture
def cloud(cli: CommandLine) -> Iterator[EmbeddedOrganisation]:
    users = (
        UserSeed("ci-deploy", (key(200),), tags=OWNED),
        UserSeed("idle", (key(300, 100),), tags=OWNED),
        UserSeed("leaked", (key(20, 1),), quarantined_by=("AWSCompromisedKeyQuarantineV3",)),
        UserSeed("glass", (key(200),), path="/break-glass/", tags=OWNED),
        UserSeed("ours", (key(200),), tags=OWNED | {"auditor:hold": "incident"}),
        UserSeed("stack", (key(200),), tags=OWNED | {"aws:cloudformation:stack-id": "x"}),
        UserSeed("two", (key(200), key(1)), tags=OWNED),
        UserSeed("nobodys", (key(300, None),)),
    )
    seed = OrganisationSeed((AccountSeed(MAIN, "management"), AccountSeed(OTHER, "prod", users)))
    with EmbeddedOrganisation(seed, as_of=ago(0), clock=lambda: datetime.now(UTC)) as cloud:
        set_up(cli, cloud)
        yield cloud


def set_up(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """A configuration, approvers, and a run."""
    cli.log_in(cloud)
    (cli.folder / "allowed_signers").write_text(f"{BOB.line}\n{CAT.line}\n")
    (cli.folder / "config.toml").write_text(
        f"""
        [accounts]
        source = "organisation"
        role_name = "{cloud.role_name}"
        external_id = "{cloud.external_id}"
        [remediation]
        max_percent = 100
        [remediation.protected]
        paths = ["/break-glass/"]
        [remediation.approval]
        allowed_signers = "allowed_signers"
        """
    )
    assert cli.run("audit", "-q", "-f", "json").code == 1


def planned(cli: CommandLine, *options: str) -> tuple[Path, Plan, dict[str, Any]]:
    """A plan of the latest run: its file, and what was told of it."""
    finished = cli.run("remediate", "plan", "latest", "--as", "ann@example.com", "--json", *options)
    assert finished.code == 0, finished.err
    path = cli.folder / finished.json["plan"]
    return path, read_plan(path.read_bytes(), "p"), finished.json


def approve(path: Path, plan: Plan, *approvers: Approver, **changes: Any) -> None:
    """Approvals beside the plan."""
    now = datetime.now(UTC).replace(microsecond=0)
    for number, approver in enumerate(approvers, 1):
        approval = approver.approves(plan, now, **changes)
        path.with_name(f"{path.stem}.approval-{number}.json").write_text(approval.model_dump_json(by_alias=True))


def actions(cloud: EmbeddedOrganisation, since: int) -> list[str]:
    """What was called since."""
    return [call.action for call in cloud.call_log[since:]]


@pytest.fixture
def slack(cli: CommandLine, cloud: EmbeddedOrganisation) -> Iterator[Slack]:
    """Where people are told."""
    assert cloud.endpoint_url
    with serving() as running, (cli.folder / "config.toml").open("a") as config:
        config.write(f'[notify.slack]\nchannel = "C1"\napi_url = "{running.url}"\n')
        config.flush()
        cli.environment["AUDITOR_SLACK_TOKEN"] = TOKEN
        yield running


def titles(slack: Slack) -> list[str]:
    """Of what was posted since this was last asked."""
    found = [str(one["blocks"][0]["text"]["text"]) for one in slack.messages]
    assert TOKEN not in json.dumps(slack.messages)
    slack.messages.clear()
    return found


def test_from_a_finding_to_a_rotated_key(cli: CommandLine, cloud: EmbeddedOrganisation, slack: Slack) -> None:
    """Planned with reasons for what is not; refused until approved; simulated; done; told once; and taken back."""
    path, plan, told = planned(cli, "--through", "deactivate")
    assert {item.user: item.kind.value for item in plan.items} == {
        "ci-deploy": "rotate",
        "idle": "deactivate",
        "leaked": "deactivate",
    }
    assert {one["user"]: one["code"] for one in told["blocked"]} == {
        "glass": "PROTECTED",
        "ours": "PROTECTED",
        "stack": "MANAGED",
        "two": "TWO_KEYS",
        "nobodys": "NO_OWNER",
    }
    (advice,) = {one["advice"] for one in told["blocked"] if one["user"] == "stack"}
    assert advice == "Change it in that program; where none manages the user any more, take the tag away."
    assert [item.user for item in plan.items] == ["leaked", "ci-deploy", "idle"]
    before = len(cloud.call_log)
    refused = cli.run("remediate", "apply", str(path))
    assert (refused.code, actions(cloud, before)) == (6, ["GetCallerIdentity"])
    simulated = cli.run("remediate", "apply", str(path), "--simulate")
    assert simulated.code == 5, simulated.err
    assert "would prepare" in simulated.out
    assert set(actions(cloud, before)) <= READS | {"GetCallerIdentity"}
    assert not slack.calls
    approve(path, plan, BOB)
    applied = cli.run("remediate", "apply", str(path), "--json", "-vv")
    assert applied.code == 5, applied.err
    no_secret_is_written(cli, applied.out, applied.err, json.dumps(slack.messages))
    rotated = next(one["blocks"] for one in slack.messages if "Rotated" in one["text"])
    assert "is read from auditor/ci-deploy" in rotated[1]["text"]["text"]
    assert titles(slack) == [
        "Comes: deactivate, key of idle in prod",
        "A person is needed: key of leaked in prod",
        "Rotated: key of ci-deploy in prod",
    ]
    steps = {one["user"]: one["steps"] for one in applied.json}
    assert steps == {
        "ci-deploy": ["prepare", "create", "verify", "publish"],
        "idle": [],
        "leaked": ["deactivate"],
    }
    assert "Announced: prod/idle" in applied.err
    assert (cli.run("remediate", "orphans", "--json").json, cli.run("remediate", "orphans").code) == ([], 0)
    states = {one["user"]: one for one in cli.run("remediate", "status", "--json").json}
    assert {user: one["state"] for user, one in states.items()} == {
        "ci-deploy": "published",
        "idle": "claimed",
        "leaked": "inactive",
    }
    assert states["idle"]["waits_for"].startswith("to deactivate, not before ")
    again = cli.run("remediate", "tick", "--json")
    assert (again.code, [one["steps"] for one in again.json], titles(slack)) == (5, [[], []], [])
    assert cli.run("remediate", "rollback", states["leaked"]["item"], "--reason", "needed").code == 0
    (leaked,) = cli.run("remediate", "status", states["leaked"]["item"], "--json").json
    assert leaked["state"] == "switched on again"
    held = cli.run("remediate", "hold", states["idle"]["item"], "--reason", "year end", "--as", "ann")
    assert held.code == 0, held.err
    told_held = {one["user"]: one["told"] for one in cli.run("remediate", "tick", "--json").json}
    assert told_held["idle"] == "held: year end"
    assert titles(slack) == ["Switched on again: key of leaked in prod", "Held: key of idle in prod"]
    assert cli.run("remediate", "release", states["idle"]["item"], "--reason", "over").code == 0
    again = cli.run("remediate", "apply", str(path), "--simulate", "--json")  # on what there is, not as if anew
    assert {one["user"] for one in again.json} == {"ci-deploy", "idle"}
    the_next_run_tells_of_it(cli, plan)
    no_secret_is_written(cli, cli.run("remediate", "status", "--json").out)  # nor is it in that run's reports


def the_next_run_tells_of_it(cli: CommandLine, plan: Plan) -> None:
    """Every change with its approval, from a copy of the journal that proves itself; and what is under way."""
    time.sleep(1.0)  # a run is of a whole second, and what was done in that is another run's
    finished = cli.run("audit")
    assert finished.code == 1, finished.err
    assert "keys: 1 rotated, 1 switched off, 1 switched on again. 2 changes are under way" in " ".join(
        finished.out.split()
    )
    run = max((cli.folder / "reports").iterdir(), key=lambda folder: folder.stat().st_mtime)
    told = json.loads((run / "findings.json").read_text())["remediation"]
    assert {(it["user"], it["action"], tuple(it["approved_by"])) for it in told["actions"]} == {
        ("leaked", "deactivated", (BOB.name,)),
        ("leaked", "reactivated", ()),
        ("ci-deploy", "created", (BOB.name,)),
        ("ci-deploy", "published", (BOB.name,)),
    }
    assert {it["plan_sha256"] for it in told["actions"]} == {plan.digest}
    assert all(":assumed-role/" in it["done_by"] or ":user/" in it["done_by"] for it in told["actions"])
    assert {it["user"] for it in told["pending"]} == {"ci-deploy", "idle"}
    rows = decode_rows((run / "journal.jsonl").read_bytes(), "copy")
    assert (len(rows), rows[-1].hash) == (told["journal"]["rows"], told["journal"]["head"])
    stored = json.loads((run / "run.json").read_text())["journal"]
    assert stored == told["journal"]


def test_a_journal_that_cannot_be_read_is_told_and_stops_no_audit(
    cli: CommandLine, cloud: EmbeddedOrganisation
) -> None:
    """Nothing is known of what was changed, which is not the same as nothing was."""
    (cli.folder / "remediation").mkdir()
    (cli.folder / "remediation" / "journal.sqlite").write_bytes(b"no database at all, and long enough to be one")
    finished = cli.run("audit", "-f", "html,json")
    assert (finished.code, cloud.endpoint_url in finished.err) == (1, False)
    assert "What auditor changed is not known: its journal could not be read." in finished.out
    run = max((cli.folder / "reports").iterdir(), key=lambda folder: folder.stat().st_mtime)
    told = json.loads((run / "findings.json").read_text())["remediation"]
    assert "The journal cannot be used" in told["journal"]["problem"]
    assert not (run / "journal.jsonl").exists()
    assert cli.run("report", "latest", "-f", "html").code == 0


@pytest.mark.usefixtures("cloud")
def test_a_journal_of_another_version_crashes_nothing(cli: CommandLine) -> None:
    """Audits tell that it is not known what was changed; nothing is begun; and a key is switched on all the same."""
    folder = cli.folder / "remediation"
    with open_journal(folder, lambda: ago(0)):
        pass
    append(folder, "escalated", {})
    finished = cli.run("audit", "-f", "json")
    assert finished.code == 1, finished.err
    assert "What auditor changed is not known: its journal could not be read." in finished.out
    for command in ("status", "tick"):
        refused = cli.run("remediate", command)
        assert (refused.code, "is not understood" in refused.err) == (4, True), refused.err
    (idle,) = iam_backends[OTHER]["aws"].users["idle"].access_keys
    whose = ("--user", "idle", "--account", OTHER)
    listed = cli.run("key", "list", *whose, "--json")  # what is not known is not told as nothing
    assert (listed.code, len(listed.json["keys"]), "not understood" in listed.json["problem"]) == (0, 1, True)
    done = cli.run("key", "activate", idle.access_key_id, *whose, "--reason", "needed")
    assert (done.code, "is active again" in done.out) == (0, True), done.err


@pytest.mark.usefixtures("cloud")
def test_a_rollback_beside_somebody_at_work_tells_at_once_how_it_stands(cli: CommandLine) -> None:
    """On stderr; who waits no more hears that the key is on, and that nobody wrote it down."""
    (idle,) = iam_backends[OTHER]["aws"].users["idle"].access_keys
    iam_backends[OTHER]["aws"].update_access_key("idle", idle.access_key_id, "Inactive")
    command = ("remediate", "rollback", idle.access_key_id, "--account", OTHER, "--user", "idle", "--reason", "needed")
    with open_journal(cli.folder / "remediation", lambda: ago(0)):
        process = cli.start(*command)
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith(f"{idle.access_key_id} is active now. Somebody else is at work with this journal")
        assert idle.status == "Active"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    told = " ".join(err.split())
    assert (process.returncode, out) == (6, "")
    assert f"Error: Interrupted. {idle.access_key_id} is active now. The journal was not told." in told
    assert "Run the same command again when the journal is free." in told
    done = cli.run(*command)
    assert (done.code, done.err) == (0, "")


@pytest.mark.usefixtures("cloud")
def test_what_is_wrong_with_a_rollback_is_told_with_what_to_do(cli: CommandLine) -> None:
    """A user that is called otherwise by now; half a name; and a reason that says nothing."""
    (idle,) = iam_backends[OTHER]["aws"].users["idle"].access_keys
    command = ("remediate", "rollback", idle.access_key_id, "--reason", "needed")
    for options, code, expected in (
        (("--account", OTHER, "--user", "idol"), 4, "name it as it is called now: KEY --account ID --user NAME"),
        (("--account", OTHER, "--user", "what?"), 4, "name it as it is called now: KEY --account ID --user NAME"),
        (("--account", OTHER), 2, "Give both --account and --user"),
        (("--user", "idle"), 2, "Give both --account and --user"),
        (("--account", "prod", "--user", "idle"), 2, "exactly 12 digits"),
    ):
        refused = cli.run(*command, *options)
        assert (refused.code, expected in " ".join(refused.err.split())) == (code, True), refused.err
    for name in ("rollback", "hold", "release", "confirm", "close"):
        refused = cli.run("remediate", name, "0123", "--reason", " ")
        assert (refused.code, "The reason is empty." in refused.err) == (2, True), refused.err


def test_a_plan_is_approved_by_a_reply_in_its_thread(
    cli: CommandLine, cloud: EmbeddedOrganisation, slack: Slack
) -> None:
    """Posted with its code; the next tick begins it when an approver replied, and a stranger's reply does nothing."""
    config = cli.folder / "config.toml"
    config.write_text(config.read_text() + f'approvers = ["U0BOB={BOB.name}"]\n')
    path, plan, _ = planned(cli, "--kind", "deactivate")
    shown = cli.run("remediate", "show", str(path), "--format", "slack")
    assert shown.code == 0, shown.err
    assert plan.code in str(slack.messages[0]["blocks"])
    slack.reply("U0EVE", f"approve {plan.code}")
    for name in ("plan-bad.json", "plan-bad.slack.json"):  # what is no plan keeps no other from its turn
        path.with_name(name).write_text("{}")
    before = len(cloud.call_log)
    waits = cli.run("remediate", "tick")
    assert (waits.code, set(actions(cloud, before))) == (0, {"GetCallerIdentity"}), waits.out
    slack.reply("U0BOB", f"approve {plan.code}")
    begun = cli.run("remediate", "tick", "--json")
    assert {one["user"]: one["steps"] for one in begun.json} == {"leaked": ["deactivate"], "idle": []}
    command = ("key", "deactivate", "--user", "nobodys", "--account", OTHER, "--leaked", "--reason", "on a forum")
    before = len(slack.messages)
    assert cli.run(*command, "--as", "ann@example.com").code == 6
    (path,) = {*path.parent.glob("plan-2*.json")} - {path, *path.parent.glob("plan-*.slack.json")}
    assert cli.run("remediate", "show", str(path), "--format", "slack").code == 0
    code = read_plan(path.read_bytes(), "plan").code
    slack.reply("U0BOB", f"approve {code}", to=slack.messages[before]["ts"])
    done = cli.run(*command, "--as", "ann@example.com", "--json")
    assert (done.code, [one["steps"] for one in done.json]) == (0, [["deactivate"]]), done.err


@pytest.mark.usefixtures("cloud")
def test_a_plan_that_was_approved_and_is_not_taken_is_warned_of(cli: CommandLine, slack: Slack) -> None:
    """Who replied waits for it; that a plan is not approved yet is no news."""
    config = cli.folder / "config.toml"
    config.write_text(config.read_text() + f'approvers = ["U0BOB={BOB.name}"]\n')
    path, plan, _ = planned(cli, "--kind", "deactivate")
    assert cli.run("remediate", "show", str(path), "--format", "slack").code == 0
    assert "is not begun" not in cli.run("remediate", "tick").err
    slack.reply("U0BOB", f"approve {plan.code}")
    config.write_text(config.read_text().replace("[remediation]\n", "[remediation]\nquiet_days = 30\n"))
    refused = cli.run("remediate", "tick")
    assert f"{path.name} is not begun" in " ".join(refused.err.split())
    assert "fewer days than the configuration wants" in " ".join(refused.err.split())
    assert cli.run("remediate", "tick").code == refused.code
    told = [one for one in slack.messages if one.get("thread_ts") == slack.messages[0]["ts"] and "bot_id" in one]
    assert len(told) == 1
    assert "fewer days than the configuration wants" in str(told[0]["blocks"])


def test_a_plan_that_was_rejected_stays_rejected(cli: CommandLine, cloud: EmbeddedOrganisation, slack: Slack) -> None:
    """Who asks again, under whatever name of the file, posts nothing new, and what was replied still counts."""
    config = cli.folder / "config.toml"
    config.write_text(config.read_text() + f'approvers = ["U0BOB={BOB.name}", "U0CAT={CAT.name}"]\n')
    path, plan, _ = planned(cli, "--kind", "deactivate")
    copy = path.with_name("plan-copy.json")
    copy.write_bytes(path.read_bytes())
    assert cli.run("remediate", "show", str(path), "--format", "slack").code == 0
    slack.reply("U0CAT", f"reject {plan.code}")
    for again in (path, copy):
        asked = cli.run("remediate", "show", str(again), "--format", "slack", "--json")
        assert (asked.code, asked.json["ts"]) == (0, slack.messages[0]["ts"])
    slack.reply("U0BOB", f"approve {plan.code}", to=slack.messages[-1].get("thread_ts", ""))
    before = len(cloud.call_log)
    far = cli.folder / "elsewhere" / "plan.json"
    far.parent.mkdir()
    far.write_bytes(path.read_bytes())
    for again in (path, copy, far):
        refused = cli.run("remediate", "apply", str(again))
        assert (refused.code, "rejected the plan" in refused.err) == (6, True)
    assert cli.run("remediate", "tick").code == 0
    assert set(actions(cloud, before)) == {"GetCallerIdentity"}


def test_a_person_at_a_terminal_types_what_is_changed(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """Which account, and how many keys: what is typed wrong changes nothing, and calls nothing."""
    path, plan, _ = planned(cli, "--kind", "rotate")
    approve(path, plan, BOB)
    before = len(cloud.call_log)
    code, shown = at_a_terminal(cli, b"y\n", "remediate", "apply", str(path))
    assert (code, actions(cloud, before)) == (2, []), shown
    assert "type: prod 1" in shown
    code, shown = at_a_terminal(cli, b"prod 1\n", "remediate", "apply", str(path))
    assert code == 0, shown
    assert "CreateAccessKey" in actions(cloud, before)


def at_a_terminal(cli: CommandLine, typed: bytes, *arguments: str) -> tuple[int, str]:
    """Run the command with a terminal, at which this is typed; its exit code and what the terminal shows."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "auditor", *arguments],
            cwd=cli.folder,
            env=cli.whole_environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        terminal.write(typed)
        shown = b""
        with suppress(OSError):  # the end, on Linux
            while found := terminal.read(4096):
                shown += found
        return process.wait(60), " ".join(shown.decode().split())


def no_secret_is_written(cli: CommandLine, *printed: str) -> None:
    """Only Secrets Manager has the new key's secret: no file has it, and nothing that was printed."""
    stored = secretsmanager_backends[OTHER]["us-east-1"].secrets["auditor/ci-deploy"]
    values = [json.loads(one["secret_string"]) for one in stored.versions.values()]
    (secret,) = {value["SecretAccessKey"] for value in values if "SecretAccessKey" in value}
    assert all(secret not in text for text in printed)
    written = [file for file in cli.folder.rglob("*") if file.is_file()]
    assert [file for file in written if secret.encode() in file.read_bytes()] == []


def test_what_is_not_what_was_approved_calls_nothing_but_who_am_i(
    cli: CommandLine, cloud: EmbeddedOrganisation
) -> None:
    """Wrongly signed, of another plan, too old, edited, or while another is at work: exit code 6; no plan at all: 2."""
    path, plan, _ = planned(cli)
    own = cli.run("remediate", "approve", str(path), "--sign-with", "key", "--reason", "x", "--as", "ann")
    assert (own.code, "ann@example.com planned it" in own.err) == (6, True), "who planned, by a shorter name"
    key = cli.folder / "eve"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name in ("eve@example.com", "bob@example.com"):
        refused = cli.run("remediate", "approve", str(path), "--sign-with", str(key), "--reason", "x", "--as", name)
        assert (refused.code, f"does not sign for {name}" in " ".join(refused.err.split())) == (2, True)
    assert list(path.parent.glob("*.approval-*")) == [], "nothing that would stop the plan for others"
    wrong: list[tuple[Approver, dict[str, Any], str]] = [
        (Approver("eve@example.com"), {}, "not the approver's"),
        (BOB, {"plan_sha256": "0" * 64}, "another plan"),
        (BOB, {"at": ago(5)}, "too old"),
    ]
    for approver, changes, said in wrong:
        approve(path, plan, approver, **changes)
        before = len(cloud.call_log)
        finished = cli.run("remediate", "apply", str(path))
        assert (finished.code, actions(cloud, before)) == (6, ["GetCallerIdentity"])
        assert said in finished.err
    theirs = plan.model_copy(update={"author": plan.author.model_copy(update={"person": BOB.name})})
    expired = plan.model_copy(update={"id": "plan-2", "created_at": ago(2), "expires_at": ago(0.01)})
    for other, said in ((theirs, "The author approved the plan."), (expired, "The plan has expired.")):
        place = path.with_name("other.json")
        place.write_bytes(other.content)
        approve(place, other, BOB, at=ago(0.02) if other is expired else ago(0))
        before = len(cloud.call_log)
        finished = cli.run("remediate", "apply", str(place))
        assert (finished.code, actions(cloud, before), said in finished.err) == (6, ["GetCallerIdentity"], True)
    approve(path, plan, BOB, CAT)
    with open_journal(cli.folder / "remediation", lambda: ago(0)):
        before = len(cloud.call_log)
        second = cli.run("remediate", "apply", str(path))
        assert (second.code, actions(cloud, before)) == (6, ["GetCallerIdentity"])
        assert "at work with this journal" in second.err
    path.write_bytes(path.read_bytes().replace(b'"quiet_days":14', b'"quiet_days":1'))
    before = len(cloud.call_log)
    assert cli.run("remediate", "apply", str(path)).code == 6
    assert actions(cloud, before) == ["GetCallerIdentity"]
    path.write_bytes(b"{}")
    assert cli.run("remediate", "apply", str(path)).code == 2


@pytest.mark.usefixtures("cloud")
def test_a_plan_that_would_not_be_taken_is_not_simulated(cli: CommandLine) -> None:
    """What is told is what `apply` would do."""
    path, plan, _ = planned(cli)
    (item,) = (one for one in plan.items if one.makes_key)
    assert item.delivery is not None
    edited = item.model_copy(update={"delivery": item.delivery.model_copy(update={"secret": "auditor/eve"})})
    path.write_bytes(plan.model_copy(update={"items": (edited,)}).content)
    refused = cli.run("remediate", "apply", str(path), "--simulate")
    assert (refused.code, "the configuration sends it to auditor/ci-deploy" in " ".join(refused.err.split())) == (
        6,
        True,
    )


def test_an_item_is_closed_by_hand_and_its_author_is_named(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """It stays as it is, nothing waits for it, and its user may be planned for again."""
    unnamed = cli.run("remediate", "plan", "latest")
    assert (unnamed.code, "Say who you are with --as NAME" in unnamed.err) == (2, True), unnamed.err
    path, plan, _ = planned(cli, "--kind", "deactivate")
    approve(path, plan, BOB)
    assert cli.run("remediate", "apply", str(path)).code == 5
    (idle,) = (one for one in cli.run("remediate", "status", "--json").json if one["user"] == "idle")
    before = len(cloud.call_log)
    closed = cli.run("remediate", "close", idle["item"], "--reason", "its owner wants it")
    assert (closed.code, f"{idle['key']} of prod/idle stays as it is." in closed.out) == (0, True), closed.err
    assert actions(cloud, before) == []
    assert "closed: its owner wants it" in cli.run("remediate", "status").out
    _, again, _ = planned(cli, "--kind", "deactivate")
    assert [item.user for item in again.items] == ["idle"]
    assert cli.run("remediate", "close", idle["item"], "--reason", "again").code == 2
    unwritable = cli.run("remediate", "hold", idle["item"], "--reason", "caf\udce9")
    assert (unwritable.code, "cannot be written down" in unwritable.err) == (2, True), unwritable.err


def test_an_expired_plan_writes_nothing_into_a_shared_journal(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """Whether it was begun is read there, since then it goes on; no lease is taken for one that was not, or is done."""
    make_table(cloud)
    with (cli.folder / "config.toml").open("a") as config:
        config.write(f'\n[remediation.journal]\ntable = "{TABLE}"\n')
    path, plan, _ = planned(cli)
    expired = plan.model_copy(update={"id": "plan-2", "created_at": ago(2), "expires_at": ago(0.01)})
    path.write_bytes(expired.content)
    approve(path, expired, BOB, at=ago(0.02))
    before = len(cloud.call_log)
    finished = cli.run("remediate", "apply", str(path))
    assert (finished.code, "The plan has expired." in finished.err) == (6, True), finished.err
    assert set(actions(cloud, before)) == {"GetCallerIdentity", "Query"}
    urgent = plan.model_copy(update={"id": "plan-3", "items": tuple(item for item in plan.items if item.urgent)})
    path.write_bytes(urgent.content)
    approve(path, urgent, BOB)
    done = cli.run("remediate", "apply", str(path))
    assert done.code == 0, done.err
    before = len(cloud.call_log)
    again = cli.run("remediate", "apply", str(path))
    assert (again.code, "Nothing is open" in again.out + again.err) == (0, True), again.err
    assert set(actions(cloud, before)) == {"GetCallerIdentity", "Query"}


@pytest.mark.parametrize("shared", [False, True], ids=["one journal", "a table"])
def test_two_at_once_do_it_once(cli: CommandLine, cloud: EmbeddedOrganisation, shared: bool) -> None:  # noqa: FBT001
    """Two true processes with the same plan, on one machine, or each with a folder of its own and the shared table."""
    if shared:
        make_table(cloud)
        with (cli.folder / "config.toml").open("a") as config:
            config.write(f'\n[remediation.journal]\ntable = "{TABLE}"\n')
    path, plan, _ = planned(cli)
    approve(path, plan, BOB)
    other = CommandLine(cli.folder)
    if shared:
        other = CommandLine(cli.folder.with_name(f"{cli.folder.name}-other"))
        shutil.copytree(cli.folder, other.folder)
    other.environment = cli.environment
    relative = path.relative_to(cli.folder)
    both = [one.start("remediate", "apply", str(relative), "--json") for one in (cli, other)]
    told = [process.communicate(timeout=120) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([5, 5], [5, 6]), told
    if codes == [5, 6]:
        assert any("at work" in err for _, err in told)
    writes = [call.action for call in cloud.call_log if call.action in {"CreateAccessKey", "UpdateAccessKey"}]
    assert sorted(writes) == ["CreateAccessKey", "UpdateAccessKey"]
    assert cli.run("remediate", "orphans").code == 0
