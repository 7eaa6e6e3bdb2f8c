"""Bad input: a paragraph with the next step, the right exit code, no traceback, nothing half-written."""

import base64
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.demo import AccountSeed, Call, DelayFault, ErrorFault, Fault, KeySeed, OrganisationSeed, RawFault, UserSeed
from tests.builders import ago
from tests.conftest import CommandLine, Finished, StartCloud

MAIN, OTHER = "111111111111", "222222222222"
SEED = OrganisationSeed(
    (AccountSeed(MAIN, "main", (UserSeed("old", (KeySeed(created_at=ago(400)),)),)), AccountSeed(OTHER, "other"))
)
HEADER = (Path(__file__).parent.parent / "data" / "header.csv").read_text().strip()


def refused(cli: CommandLine, finished: Finished, code: int, *said: str, answers: bool = False) -> None:
    """The code, the words, a next step, and nothing left behind but what AWS answered, where it did."""
    assert finished.code == code, finished.err + finished.out
    assert finished.err.startswith("Error: ") or "\nError: " in finished.err
    error = " ".join(finished.err[finished.err.index("Error: ") :].split())
    for words in said:
        assert words in error
    assert "Traceback" not in finished.err + finished.out
    assert len(error) > len("Error: ") + 20
    left = [path for path in (cli.folder / "reports").rglob("*") if path.is_file()]
    assert bool(left) is answers
    for path in left:
        incomplete, kept, *_ = path.relative_to(cli.folder / "reports").parts
        assert incomplete.endswith(".incomplete")
        assert kept in {"raw", "policy.toml"}
        assert incomplete in error


def on(action: str, fault: Fault) -> Callable[[Call], Fault | None]:
    """A fault at every call of an action."""
    return lambda call: fault if call.action == action else None


def test_a_configuration_that_is_not_there(cli: CommandLine) -> None:
    """Exit 2, and the path."""
    refused(cli, cli.run("audit", "--config", "nowhere.toml"), 2, "nowhere.toml")


def test_a_configuration_that_is_not_toml(cli: CommandLine) -> None:
    """Exit 2, with line and column."""
    (cli.folder / "config.toml").write_text("[policy\nx = 1\n")
    refused(cli, cli.run("audit"), 2, "config.toml", "line 1")


def test_ten_mistakes_are_named_at_once(cli: CommandLine) -> None:
    """Every one of them with its key path, before anything is called."""
    mistakes = {
        "accounts": 'sauce = "caller"\nsession_minutes = 5\nexclude.ids = ["12"]\nrole_name = 7',
        "policy.key-age": 'max_age_day = 90\nseverity = "grave"',
        "policy.key-unused": 'max_unused_days = "45"\noperator = "=="',
        "gather": 'key_ids = "some"',
        "output": 'formats = ["docx"]',
    }
    (cli.folder / "config.toml").write_text("\n".join(f"[{name}]\n{body}" for name, body in mistakes.items()))
    paths = (
        "accounts.sauce",
        "accounts.session_minutes",
        "accounts.exclude.ids",
        "accounts.role_name",
        "policy.key-age.max_age_day",
        "max_age_days",
        "policy.key-age.severity",
        "policy.key-unused.max_unused_days",
        "policy.key-unused.operator",
        "gather.key_ids",
        "output.formats",
    )
    refused(cli, cli.run("audit"), 2, *paths)
    refused(cli, cli.run("config", "check"), 2, *paths)


@pytest.mark.parametrize("account", ["12345", "1234567890123", "abcdefghijkl", "١٢٣٤٥٦٧٨٩٠١٢"])
def test_an_account_id_that_is_not_twelve_digits(cli: CommandLine, account: str) -> None:
    """Exit 2."""
    refused(cli, cli.run("audit", "--account", account), 2, "12 digits")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--format", "docx"), "docx"),
        (("--as-of", "yesterday"), "yesterday"),
        (("--as-of", "9999-12-31T23:59:59Z"), "9999"),
        (("--from-reports", ".", "--role-name", "x"), "--role-name"),
        (("--fail-on", "grave"), "grave"),
        (("--endpoint-url", "not a url"), "endpoint"),
        (("--profile", "nobody"), "nobody"),
        (("--from-reports", "nowhere.csv"), "nowhere.csv"),
        (("stray",), "stray"),
    ],
)
def test_options_that_make_no_sense(cli: CommandLine, options: tuple[str, ...], words: str) -> None:
    """Exit 2, naming what was wrong."""
    refused(cli, cli.run("audit", *options), 2, words)


def test_no_credentials(cli: CommandLine) -> None:
    """Exit 2: nothing was called."""
    refused(cli, cli.run("audit"), 2, "No AWS credentials", "AWS_PROFILE")


@pytest.mark.parametrize(
    ("code", "words"),
    [("ExpiredToken", "expired"), ("InvalidClientTokenId", "does not accept"), ("AccessDenied", "refused")],
)
def test_credentials_that_do_not_work(cli: CommandLine, start_cloud: StartCloud, code: str, words: str) -> None:
    """Exit 4: AWS was asked and nothing could be audited."""
    cli.log_in(start_cloud(SEED, fault=on("GetCallerIdentity", ErrorFault(403, code, "no"))))
    refused(cli, cli.run("audit"), 4, words)


def test_an_endpoint_that_is_not_there(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4: cannot be reached, with the address."""
    cli.log_in(start_cloud(SEED))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    refused(cli, cli.run("audit", "--endpoint-url", closed), 4, closed, "cannot be reached")


def test_an_endpoint_that_is_not_aws(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4: a web page is not an answer."""
    page = RawFault(b"<html><body>It works!</body></html>", content_type="text/html")
    cli.log_in(start_cloud(SEED, fault=on("GetCallerIdentity", page)))
    refused(cli, cli.run("audit"), 4, "endpoint")


def test_an_endpoint_that_hangs(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4 after the time-outs, not never."""
    cli.log_in(start_cloud(SEED, fault=on("GetCallerIdentity", DelayFault(60))))
    (cli.folder / "config.toml").write_text("[aws]\nread_timeout_seconds = 1\n")
    refused(cli, cli.run("audit"), 4, "cannot be reached")


def test_the_only_account_refuses(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4 names the missing permission; an empty report is not written."""
    denied = ErrorFault(403, "AccessDenied", "not authorized to perform: iam:GetCredentialReport")
    cli.log_in(start_cloud(SEED, fault=on("GetCredentialReport", denied)))
    refused(cli, cli.run("audit"), 4, "iam:GetCredentialReport")


def test_an_organisation_that_cannot_be_listed(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4, with who may list it."""
    denied = ErrorFault(400, "AccessDeniedException", "You don't have permissions")
    cli.log_in(start_cloud(SEED, fault=on("ListAccounts", denied)))
    refused(cli, cli.run("audit", "--role-name", "access-key-auditor"), 4, "delegated administrator")


def test_an_account_that_is_not_in_scope(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4: without a role only the caller's own account can be meant, and AWS was asked which that is."""
    cli.log_in(start_cloud(SEED))
    refused(cli, cli.run("audit", "--account", OTHER), 4, OTHER, "--role-name")


def test_an_account_that_is_not_listed(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 2 before anything is called: the configuration alone tells."""
    cloud = start_cloud(SEED)
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nsource = "list"\nlist = [{{id = "{MAIN}"}}]\n')
    refused(cli, cli.run("audit", "--account", OTHER), 2, OTHER, "accounts.list")
    assert sum(cloud.calls.values()) == 0


def test_an_answer_that_cannot_be_read_is_kept(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 4 with the place in the report and the folder; the bytes lie there as AWS sent them."""
    content = base64.b64encode(b"<html>log in</html>").decode()
    answer = (
        '<GetCredentialReportResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetCredentialReportResult>'
        f"<Content>{content}</Content><ReportFormat>text/csv</ReportFormat>"
        "<GeneratedTime>2026-11-22T18:00:00Z</GeneratedTime></GetCredentialReportResult>"
        "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCredentialReportResponse>"
    )
    cli.log_in(start_cloud(SEED, fault=on("GetCredentialReport", RawFault(answer.encode(), content_type="text/xml"))))
    refused(cli, cli.run("audit"), 4, f"credential report of {MAIN}", "HTML", "kept in", answers=True)
    (kept,) = (cli.folder / "reports").rglob("credential-report.csv")
    assert kept.read_bytes() == b"<html>log in</html>"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (HEADER.encode(), "root_account"),
        (b"\xff\xfe\x00\x01", "UTF-8"),
        (b"<html><body>log in</body></html>", "HTML"),
        (HEADER.replace("access_key_1_active", "access_key_one").encode() + b"\nx,y", "access_key_1_active"),
        ((HEADER + "\n<root_account>,arn:aws:iam::111111111111:root,2020-01-01T00:00:00Z,fal").encode(), "line 2"),
    ],
    ids=["empty", "no users", "not text", "a web page", "a missing column", "cut off"],
)
def test_a_report_that_cannot_be_read(cli: CommandLine, content: bytes, words: str) -> None:
    """Exit 4 where it is the only one, naming the file and what is wrong with it."""
    (cli.folder / "report.csv").write_bytes(content)
    refused(cli, cli.run("audit", "--from-reports", "report.csv"), 4, "report.csv", words)


def test_one_bad_report_among_good_ones_makes_the_run_incomplete(cli: CommandLine) -> None:
    """Exit 3: the good one is audited, the bad one is named with line and column."""
    row = "<root_account>,arn:aws:iam::{0}:root,2020-01-01T00:00:00Z,false,N/A,N/A,N/A,false" + (
        ",false,N/A,N/A,N/A,N/A" * 2 + ",false,N/A" * 2
    )
    (cli.folder / "good.csv").write_text(f"{HEADER}\n{row.format(MAIN)}")
    (cli.folder / "bad.csv").write_text(f"{HEADER}\n{row.format(OTHER).replace('2020-01-01T', 'yesterday')}")
    finished = cli.run("audit", "--from-reports", "good.csv", "bad.csv", "--format", "csv", "--json")
    assert finished.code == 3, finished.err
    (missing,) = finished.json["coverage"]["not_audited"]
    assert missing["account_id"] == OTHER
    assert "bad.csv, line 2, column user_creation_time" in missing["reason"]


ROOT_ROW = "<root_account>,arn:aws:iam::{}:root,2020-01-01T00:00:00Z,false,N/A,N/A,N/A,false" + (
    ",false,N/A,N/A,N/A,N/A" * 2 + ",false,N/A" * 2
)


def test_no_report_of_a_folder_is_left_out(cli: CommandLine) -> None:
    """Whatever the case of its ending, and however often it is named."""
    (cli.folder / "in").mkdir()
    for name, account in (("a.csv", MAIN), ("B.CSV", OTHER)):
        (cli.folder / "in" / name).write_text(f"{HEADER}\n{ROOT_ROW.format(account)}")
    named_twice = ("in", "in/a.csv", str(cli.folder / "in" / "B.CSV"))
    finished = cli.run("audit", "--from-reports", *named_twice, "--format", "csv", "--json")
    assert finished.code == 0, finished.err
    assert finished.json["coverage"]["accounts_audited"] == 2


@pytest.mark.parametrize("redirection", ["| head -1", "| true", ">&-", "2>&-", ">/dev/full", "2>/dev/full"])
def test_the_exit_code_stands_wherever_the_output_goes(cli: CommandLine, redirection: str) -> None:
    """A reader that had enough, a closed stream or a full device changes neither the run nor its code."""
    (cli.folder / "report.csv").write_text(f"{HEADER}\n{ROOT_ROW.format(MAIN)}")
    command = (
        f"{sys.executable} -m auditor audit --from-reports report.csv -f csv {redirection}; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", command], cwd=cli.folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "0", done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((cli.folder / "reports").iterdir())) == 1


@pytest.mark.parametrize("command", ["--help", "--version", "config schema", "config check example.toml"])
@pytest.mark.parametrize("redirection", ["| true", ">&-", ">/dev/full"])
def test_every_command_survives_an_output_that_nobody_takes(cli: CommandLine, command: str, redirection: str) -> None:
    """A full device takes nothing: exit 4, since it is nowhere else. A reader that had enough is no failure."""
    (cli.folder / "example.toml").write_text("")
    shell = f"{sys.executable} -m auditor {command} {redirection}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=cli.folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.splitlines()[-1] == ("4" if redirection == ">/dev/full" else "0"), done.stdout + done.stderr
    assert "defect" not in done.stderr
    assert ("could not be printed" in done.stderr) is (redirection == ">/dev/full")


def test_names_that_the_terminal_cannot_show_are_escaped(cli: CommandLine) -> None:
    """A terminal of another encoding gets an escape, not a failure."""
    (cli.folder / "Zürich.csv").write_bytes(b"")
    cli.environment["PYTHONIOENCODING"] = "ascii"
    refused(cli, cli.run("audit", "--from-reports", "Zürich.csv"), 4, "Z\\xfcrich.csv", "empty")
    (cli.folder / "Zürich.csv").write_text(f"{HEADER}\n{ROOT_ROW.format(MAIN)}")
    finished = cli.run("audit", "--from-reports", "Zürich.csv", "-o", "Berichte für alle", "-f", "csv")
    assert finished.code == 0, finished.err
    assert "Berichte f\\xfcr alle" in finished.out


def test_one_odd_file_does_not_cost_the_others(cli: CommandLine) -> None:
    """A name that is no text, and a `response.json` that is nonsense: the good report is audited all the same."""
    for name, response in (("good", "[" * 200_000), ("late", '{"generated_at": "0001-01-01T00:00:00+14:00"}')):
        (cli.folder / "in" / name).mkdir(parents=True)
        account = MAIN if name == "good" else OTHER
        (cli.folder / "in" / name / "report.csv").write_text(f"{HEADER}\n{ROOT_ROW.format(account)}")
        (cli.folder / "in" / name / "response.json").write_text(response)
    odd = os.fsencode(cli.folder / "in") + b"/b\xe9.csv"
    Path(os.fsdecode(odd)).write_bytes(b"junk")
    finished = cli.run("audit", "--from-reports", "in", "-f", "html,csv,json", "--json")
    assert finished.code == 3, finished.err
    assert finished.json["coverage"]["accounts_audited"] == 2
    (missing,) = finished.json["coverage"]["not_audited"]
    assert "b\\xe9.csv" in missing["reason"]


def test_reports_behind_a_link_are_in_scope(cli: CommandLine) -> None:
    """A linked folder is a folder; a link that leads back is not followed for ever."""
    for name, account in (("in", MAIN), ("elsewhere", OTHER)):
        (cli.folder / name).mkdir()
        (cli.folder / name / "report.csv").write_text(f"{HEADER}\n{ROOT_ROW.format(account)}")
    (cli.folder / "in" / "sub").symlink_to(cli.folder / "elsewhere")
    (cli.folder / "in" / "back").symlink_to(cli.folder / "in")
    finished = cli.run("audit", "--from-reports", "in", "-f", "csv", "--json")
    assert finished.json["coverage"]["accounts_audited"] == 2


def test_an_output_folder_that_cannot_be_named(cli: CommandLine) -> None:
    """Exit 2 at once where the name is no UTF-8."""
    (cli.folder / "report.csv").write_text(f"{HEADER}\n{ROOT_ROW.format(MAIN)}")
    finished = cli.run("audit", "--from-reports", "report.csv", "-o", os.fsdecode(b"o\xff"))
    refused(cli, finished, 2, "not UTF-8", "--output")


SSO = (
    "[profile p]\nsso_start_url = https://example.invalid/start\nsso_region = us-east-1\n"
    "sso_account_id = 111111111111\nsso_role_name = r\n"
)


@pytest.mark.parametrize(
    ("profile", "code", "words"),
    [
        (SSO, 2, "aws sso login"),
        ("[profile p]\ncredential_process = /bin/echo notjson\n", 2, "could be loaded"),
        ("[profile p]\ncredential_process = /nonexist\n", 2, "could be loaded"),
        ("[profile p]\nrole_arn = arn:aws:iam::111111111111:role/r\nsource_profile = none\n", 2, "could be loaded"),
    ],
    ids=["no login", "a process that prints no JSON", "a process that is not there", "no source profile"],
)
def test_a_source_of_credentials_that_fails(cli: CommandLine, profile: str, code: int, words: str) -> None:
    """It is named as what it is: nothing was called, and the next step is to log in or to correct the profile."""
    (cli.folder / "aws.ini").write_text(profile)
    cli.environment |= {"AWS_CONFIG_FILE": str(cli.folder / "aws.ini"), "HOME": str(cli.folder)}
    refused(cli, cli.run("audit", "--profile", "p"), code, words)


def test_a_damaged_run_does_not_hide_the_others(cli: CommandLine) -> None:
    """Whatever stands in its run.json, it is listed as one that cannot be read."""
    (cli.folder / "report.csv").write_text(f"{HEADER}\n{ROOT_ROW.format(MAIN)}")
    assert cli.run("audit", "--from-reports", "report.csv", "-f", "csv", "-q").code == 0
    (good,) = (cli.folder / "reports").iterdir()
    manifest = (good / "run.json").read_text()
    damages = {
        "list": '{"summary": [1]}',
        "deep": "[" * 200_000,
        "text": manifest.replace('"compliance_rate": null', '"compliance_rate": "x"'),
    }
    for name, content in damages.items():
        (cli.folder / "reports" / name).mkdir()
        (cli.folder / "reports" / name / "run.json").write_text(content)
    finished = cli.run("runs", "list")
    assert finished.code == 0, finished.err
    assert len(finished.out.splitlines()) == 4
    assert finished.out.count("not a run that this version reads") == 3


def test_two_reports_of_one_account(cli: CommandLine) -> None:
    """Exit 2: which of the two is meant is not guessed."""
    row = f"<root_account>,arn:aws:iam::{MAIN}:root,2020-01-01T00:00:00Z,false,N/A,N/A,N/A,false" + (
        ",false,N/A,N/A,N/A,N/A" * 2 + ",false,N/A" * 2
    )
    for name in ("a.csv", "b.csv"):
        (cli.folder / name).write_text(f"{HEADER}\n{row}")
    refused(cli, cli.run("audit", "--from-reports", "a.csv", "b.csv"), 2, MAIN, "a.csv", "b.csv")


def test_an_output_folder_that_cannot_be_written(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 2 before anything is called."""
    cloud = start_cloud(SEED)
    cli.log_in(cloud)
    (cli.folder / "taken").write_text("a file")
    refused(cli, cli.run("audit", "--output", "taken"), 2, "taken", "--output")
    assert sum(cloud.calls.values()) == 0


@pytest.mark.parametrize(("limit", "code"), [(200, 2), (4_000, 4), (20_000, 4)])
def test_a_disk_that_is_full(cli: CommandLine, start_cloud: StartCloud, limit: int, code: int) -> None:
    """A write that fails part way: exit 2 before anything is called, exit 4 after; nothing that looks like a run."""
    users = tuple(UserSeed(f"user{n}", (KeySeed(created_at=ago(100)),)) for n in range(40))
    cli.log_in(start_cloud(OrganisationSeed((AccountSeed(MAIN, "main", users),))))
    # The limit on a file's size makes write() fail as a full disk does, half-way through a file.
    command = [sys.executable, "-B", "-m", "auditor", "audit", "--format", "csv", "--as-of", "2026-11-22T19:00:00Z"]
    process = subprocess.run(
        command,
        cwd=cli.folder,
        env=dict(os.environ) | cli.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    answers = any((cli.folder / "reports").rglob("response.json"))
    finished = Finished(process.returncode, process.stdout, process.stderr)
    refused(cli, finished, code, "cannot be written" if code == 2 else "Cannot write", answers=answers)
    assert answers is (limit > 4_000)


def test_a_run_that_does_not_exist(cli: CommandLine) -> None:
    """Exit 2, and how to find the ids."""
    refused(cli, cli.run("report", "latest"), 2, "no run yet")
    refused(cli, cli.run("report", "20200101T000000Z-00000000"), 2, "runs list")


def test_ctrl_c_leaves_an_incomplete_run_and_no_gap(cli: CommandLine, start_cloud: StartCloud) -> None:
    """What is done is kept, what is not is listed as interrupted, and the exit code says incomplete."""
    waiting = DelayFault(4)

    def hold(call: Call) -> Fault | None:
        is_other = call.account_id == OTHER
        if is_other and call.action == "GetCredentialReport":
            return ErrorFault(404, "ReportInProgress", "Unknown")
        return waiting if is_other and call.action == "GenerateCredentialReport" else None

    cloud = start_cloud(SEED, fault=hold)
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{cloud.external_id}"\n')
    process = cli.start("audit", "--role-name", cloud.role_name, "--format", "csv", "--as-of", "2026-11-22T19:00:00Z")
    deadline = time.monotonic() + 60
    while not list(cli.folder.glob(f"reports/*/raw/{MAIN}/account.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    assert process.returncode == 3, err
    assert "interrupted" in out
    (name,) = [path.name for path in (cli.folder / "reports").iterdir()]
    assert not name.endswith(".incomplete")


def test_the_second_ctrl_c_stops_at_once(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Within seconds, although a call would hang for a minute; no run is left that looks finished."""
    cloud = start_cloud(SEED, fault=on("GenerateCredentialReport", DelayFault(60)))
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text("[aws]\nread_timeout_seconds = 120\n")
    process = cli.start("audit", "--format", "csv")
    deadline = time.monotonic() + 60
    while cloud.calls[MAIN, "GenerateCredentialReport"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    started = time.monotonic()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - started < 20
    assert process.returncode == 4, err
    assert "Interrupted" in err
    assert "Traceback" not in out + err
    assert list((cli.folder / "reports").iterdir()) == []
