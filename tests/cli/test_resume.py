"""`auditor audit --resume`: only what is missing is asked, nothing is lost, nothing is counted twice."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.endpoint import Endpoint, Fault, Rule, Settings
from tests.builders import AS_OF
from tests.conftest import CommandLine, Finished

ACCOUNTS, SLOW = 8, (6, 7, 8)
STAMP = AS_OF.isoformat().replace("+00:00", "Z")
AUDIT = ("audit", "--role-name", "auditor", "--format", "csv", "--json")


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    with Endpoint(Settings(accounts=ACCOUNTS, users=12, flagged=0.25, as_of=AS_OF)) as running:
        yield running


@pytest.fixture
def endpoint(served: Endpoint, cli: CommandLine) -> Endpoint:
    """Three of the accounts keep a run waiting until the rules are taken back."""
    served.reset()
    served.set_rules([Rule(Fault.SLOW, SLOW, "GetCredentialReport", seconds=15)])
    cli.environment |= served.environment
    (cli.folder / "config.toml").write_text("[aws]\nread_timeout_seconds = 30\n")
    return served


def stopped(cli: CommandLine, endpoint: Endpoint, number: signal.Signals) -> Finished:
    """A run that got a signal when all accounts but the slow ones were done."""
    process = cli.start(*AUDIT, "--as-of", STAMP)
    deadline = time.monotonic() + 60
    while len(list(cli.folder.glob("reports/*/raw/*/account.json"))) < ACCOUNTS - len(SLOW):
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.05)
    process.send_signal(number)
    time.sleep(0.5)  # what comes next is to come after the signal
    endpoint.set_rules([])
    return _finished(process)


def _finished(process: Any) -> Finished:
    out, err = process.communicate(timeout=100)
    return Finished(process.returncode, out, err)


def freed(endpoint: Endpoint) -> None:
    endpoint.set_rules([])
    endpoint.reset()


def run_of(cli: CommandLine, finished: Finished) -> Path:
    return Path(cli.folder, finished.json["folder"])


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def findings(folder: Path) -> Any:
    return json.loads((folder / "findings.json").read_text())["findings"]


def test_a_killed_run_is_resumed(cli: CommandLine, endpoint: Endpoint) -> None:
    """Kill -9 in the middle: the accounts that were done are not asked again, and the result is as if nothing was."""
    killed = stopped(cli, endpoint, signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    freed(endpoint)
    resumed = cli.run(*AUDIT, "--resume", "latest")
    assert resumed.code == 1, resumed.err
    asked = endpoint.counts(by_account=True)["accounts"]
    entered = {number for number, account in asked.items() if "AssumeRole" in account["actions"]}
    assert entered == {str(number) for number in SLOW}
    assert resumed.json["coverage"]["accounts_audited"] == ACCOUNTS
    assert [path.name for path in (cli.folder / "reports").iterdir()] == [resumed.json["run"]]

    whole = cli.run(*AUDIT, "--as-of", STAMP)
    assert whole.json["run"] == f"{resumed.json['run']}-2", "the same facts have the same digest"
    assert findings(run_of(cli, whole)) == findings(run_of(cli, resumed))
    assert whole.json["summary"] == resumed.json["summary"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_resumed_into_a_new_one(
    cli: CommandLine, endpoint: Endpoint, number: signal.Signals
) -> None:
    """The first Ctrl-C, or the end of the service, finishes an incomplete run; it stays, and the new one is whole."""
    interrupted = stopped(cli, endpoint, number)
    assert interrupted.code == 3, interrupted.err
    assert {missing["code"] for missing in interrupted.json["coverage"]["not_audited"]} == {"interrupted"}
    before = {path: path.read_bytes() for path in run_of(cli, interrupted).rglob("*") if path.is_file()}
    freed(endpoint)
    resumed = cli.run(*AUDIT, "--resume", interrupted.json["run"])
    assert resumed.code == 1, resumed.err
    assert resumed.json["coverage"]["accounts_audited"] == ACCOUNTS
    assert endpoint.counts()["actions"]["AssumeRole"] == len(SLOW)
    assert {path: path.read_bytes() for path in before} == before
    assert "resumed" in json.dumps(json.loads((run_of(cli, resumed) / "run.json").read_text())["notes"])


def test_a_run_is_resumed_only_under_the_policy_it_was_begun_with(cli: CommandLine, endpoint: Endpoint) -> None:
    """Another policy flags other keys, which nobody looked up: exit 2, and the answers stay for the right one."""
    stopped(cli, endpoint, signal.SIGKILL)
    freed(endpoint)
    strict = (cli.folder / "config.toml").read_text() + "[policy.key-age]\nmax_age_days = 30\n"
    (cli.folder / "strict.toml").write_text(strict)
    refused = cli.run(*AUDIT, "--resume", "latest", "--config", "strict.toml")
    assert refused.code == 2
    assert "another policy" in " ".join(refused.err.split())
    assert endpoint.counts()["calls"] == 0
    resumed = cli.run(*AUDIT, "--resume", "latest")
    assert resumed.json["coverage"]["accounts_audited"] == ACCOUNTS
    assert endpoint.counts()["actions"]["AssumeRole"] == len(SLOW)


def test_a_run_of_other_accounts_is_not_resumed(cli: CommandLine, endpoint: Endpoint) -> None:
    """Nothing of it is in scope: an error, and it stays as it is."""
    interrupted = stopped(cli, endpoint, signal.SIGINT)
    freed(endpoint)
    folder = run_of(cli, interrupted)
    for place in (folder / "raw").iterdir():
        account = json.loads((place / "account.json").read_text())
        account["account"]["id"] = f"9{place.name[1:]}"
        (place / "account.json").write_text(json.dumps(account))
        for report in place.glob("*.csv"):
            written, other = (
                report.read_bytes(),
                report.read_bytes().replace(place.name.encode(), f"9{place.name[1:]}".encode()),
            )
            response = place / "response.json"
            response.write_text(response.read_text().replace(digest_of(written), digest_of(other)))
            report.write_bytes(other)
        place.rename(place.with_name(f"9{place.name[1:]}"))
    finished = cli.run(*AUDIT, "--resume", folder.name)
    assert finished.code == 4, finished.err
    assert "No account of this run is in scope" in finished.err
    assert [path.name for path in (cli.folder / "reports").iterdir()] == [folder.name]


def test_answers_that_were_damaged_are_asked_for_again_and_that_is_said(cli: CommandLine, endpoint: Endpoint) -> None:
    """What cannot be held against its digest is no answer."""
    folder = run_of(cli, stopped(cli, endpoint, signal.SIGINT))
    freed(endpoint)
    damaged = next(folder.glob("raw/*/credential-report.csv"))
    damaged.write_bytes(damaged.read_bytes() + b"\n")
    resumed = cli.run(*AUDIT, "--resume", "latest")
    assert resumed.json["coverage"]["accounts_audited"] == ACCOUNTS
    assert f"account {damaged.parent.name} is asked again, since its answers cannot be read back" in resumed.err


def test_a_run_that_is_under_way_is_left_alone(cli: CommandLine, endpoint: Endpoint) -> None:
    """Exit 2, and the other process goes on."""
    process = cli.start(*AUDIT, "--as-of", STAMP)
    deadline = time.monotonic() + 60
    while not list(cli.folder.glob("reports/*/raw/*/account.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = cli.run(*AUDIT, "--resume", "latest")
    assert second.code == 2
    assert "under way" in second.err
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    endpoint.set_rules([])
    assert _finished(process).code == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--resume", "latest"), "no run latest to resume"),
        (("--resume", "20200101T000000Z-00000000"), "runs list"),
        (("--resume", "latest", "--as-of", STAMP), "--as-of"),
    ],
)
def test_what_cannot_be_resumed(cli: CommandLine, endpoint: Endpoint, options: tuple[str, ...], words: str) -> None:
    """Exit 2 before anything is called."""
    finished = cli.run(*AUDIT, *options)
    assert finished.code == 2
    assert words in " ".join(finished.err.split())
    assert endpoint.counts()["calls"] == 0


def test_look_ups_that_failed_are_asked_again(cli: CommandLine, endpoint: Endpoint) -> None:
    """Of the accounts that lack them, and of no other: then nothing is unknown, and nothing is left to resume."""
    freed(endpoint)
    endpoint.set_rules([Rule(Fault.DENIED, (2,), "ListAccessKeys")])
    first = cli.run(*AUDIT, "--as-of", STAMP)
    assert first.code == 3, first.err
    assert first.json["coverage"]["accounts_audited"] == ACCOUNTS
    assert first.json["coverage"]["audited_in_part"] == 1
    freed(endpoint)
    resumed = cli.run(*AUDIT, "--resume", "latest")
    assert resumed.code == 1, resumed.err
    assert resumed.json["coverage"]["audited_in_part"] == 0
    assert endpoint.counts()["actions"]["AssumeRole"] == 1
    whole = cli.run(*AUDIT, "--as-of", STAMP)
    assert findings(run_of(cli, whole)) == findings(run_of(cli, resumed))
    again = cli.run(*AUDIT, "--resume", "latest")
    assert again.code == 2
    assert "Nothing of this run is missing" in again.err


def test_a_run_that_lacks_nothing_is_not_resumed(cli: CommandLine, endpoint: Endpoint) -> None:
    """Exit 2: there is nothing to ask."""
    freed(endpoint)
    whole = cli.run(*AUDIT, "--as-of", STAMP)
    again = cli.run(*AUDIT, "--resume", whole.json["run"])
    assert again.code == 2
    assert "Nothing of this run is missing" in again.err


FULL_DISK = """
mount -t tmpfs -o size=112k none reports || exit 77
"$PYTHON" -m auditor {audit} --as-of {stamp} 2> first.err
echo $? > first.code
ls reports/*/raw/*/account.json | wc -l > done
mount -o remount,size=64m reports
"$PYTHON" -m auditor {audit} --resume latest > second.json 2> second.err
echo $? > second.code
ls reports > runs
"""


def test_a_disk_that_fills_up_in_mid_run_costs_no_answer(cli: CommandLine, endpoint: Endpoint) -> None:
    """A real one: it is told as what it is, and once there is room only what is missing is asked."""
    freed(endpoint)
    (cli.folder / "reports").mkdir()
    script = FULL_DISK.format(audit=" ".join(AUDIT), stamp=STAMP)
    environment = dict(os.environ) | cli.environment | {"PYTHON": sys.executable, "COLUMNS": "300", "NO_COLOR": "1"}
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=cli.folder, env=environment, check=False)
    if not (cli.folder / "first.code").exists():
        pytest.skip("a disk of one's own cannot be mounted here (unshare, mount)")
    said = {path.name: " ".join(path.read_text().split()) for path in cli.folder.iterdir() if path.is_file()}
    assert done.returncode == 0
    assert said["first.code"] == "4", said["first.err"]
    assert "No space left on device" in said["first.err"]
    assert "Free space on this disk" in said["first.err"]
    assert "--resume" in said["first.err"]
    assert 0 < int(said["done"]) < ACCOUNTS
    assert said["second.code"] == "1", said["second.err"]
    resumed = json.loads(said["second.json"])
    assert resumed["coverage"]["accounts_audited"] == ACCOUNTS
    assert said["runs"].split() == [resumed["run"]]
    entered = {
        number: account["actions"]["GenerateCredentialReport"]
        for number, account in endpoint.counts(by_account=True)["accounts"].items()
        if "GenerateCredentialReport" in account["actions"]
    }
    assert len(entered) == ACCOUNTS
    assert sum(entered.values()) <= 2 * ACCOUNTS - int(said["done"])


def test_a_run_is_resumed_only_with_the_scope_it_was_begun_with(cli: CommandLine, endpoint: Endpoint) -> None:
    """Without the role it would be one account's run and look complete; narrowed, the others would be lost."""
    stopped(cli, endpoint, signal.SIGKILL)
    freed(endpoint)
    alone = cli.run("audit", "--resume", "latest", "--json")
    assert alone.code == 2
    assert "for other accounts" in " ".join(alone.err.split())
    assert endpoint.counts()["calls"] == 0
    narrowed = cli.run(*AUDIT, "--resume", "latest", "--account", "100000000002", "--account", "100000000006")
    assert narrowed.code == 2
    assert "for other accounts" in " ".join(narrowed.err.split())
    resumed = cli.run(*AUDIT, "--resume", "latest")
    assert resumed.json["coverage"]["accounts_audited"] == ACCOUNTS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["Finding", "Auditing"])
def test_ctrl_c_while_processes_load_is_ctrl_c(
    cli: CommandLine, endpoint: Endpoint, phase: str, number: signal.Signals
) -> None:
    """A terminal, or systemd, sends it to every process; the one that is still loading does not die of it."""
    freed(endpoint)
    (cli.folder / "config.toml").write_text("[gather]\nprocesses = 2\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "auditor", *AUDIT],
        cwd=cli.folder,
        env=dict(os.environ) | cli.environment | {"COLUMNS": "200", "NO_COLOR": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith(phase):
            os.killpg(process.pid, number)
            break
    said += process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 4, said
    assert "Traceback" not in said
    assert "Interrupted" in said


JUDGING = """
import os, signal, sys
from pathlib import Path
from auditor.cli.progress import SilentProgress
from auditor.judging import judge
from benchmarks.judge import AS_OF, POLICY, keep

class Killed(SilentProgress):
    def advance(self, step=""):
        children = lambda pid: Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        print(*(worker for child in children(os.getpid()) for worker in children(child)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

judge(keep(Path(sys.argv[1]), 6_000, 100), POLICY, AS_OF, Killed(), processes=2, batch=1)
"""


def test_processes_that_judge_end_with_their_parent(tmp_path: Path) -> None:
    """Killed without a word: nobody writes into the run's folder any more, which another may take over."""
    done = subprocess.run(
        [sys.executable, "-c", JUDGING, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,  # which a worker that stays keeps open
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    workers = done.stdout.split()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(lives(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: str) -> bool:
    """Whether a process is there and is no mere entry of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
