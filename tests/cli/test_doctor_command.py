"""`auditor doctor` as a user meets it: a process, its lines, its JSON, its exit code."""

import os
import re

import pytest

from auditor.demo import AccountSeed, Call, ErrorFault, Fault, KeySeed, OrganisationSeed, RoleSeed, UserSeed
from tests.builders import ago
from tests.conftest import CommandLine, StartCloud

MAIN, OTHER = "111111111111", "222222222222"
ANN = UserSeed("ann", (KeySeed(created_at=ago(400)),))


def organisation(others: int = 1, *, refuses: bool = False) -> OrganisationSeed:
    """The management account, and others with a user and a key each."""
    accounts = (
        AccountSeed(f"{number:012}", f"a{number}", (ANN,), role=RoleSeed(refuses=refuses)) for number in range(others)
    )
    return OrganisationSeed((AccountSeed(MAIN, "main", (ANN,)), *accounts))


def configure(cli: CommandLine, external_id: str) -> None:
    """The configuration that says how accounts are entered."""
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{external_id}"\n')


def test_a_line_for_each_check(cli: CommandLine, start_cloud: StartCloud) -> None:
    """All is well: one line each, progress on stderr, exit 0; nothing but the configuration is in the folder."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    configure(cli, cloud.external_id)
    finished = cli.run("doctor", "--role-name", cloud.role_name)
    assert finished.code == 0, finished.err + finished.out
    *lines, space, verdict = finished.out.splitlines()
    assert all(line.startswith("ok       ") for line in lines)
    assert lines[-1] == "ok       permissions: 2 accounts: all permissions are there."
    assert (space, verdict) == ("", "An audit with these settings can run completely.")
    assert "Checking accounts (2)" in finished.err
    assert [path.name for path in cli.folder.iterdir()] == ["config.toml"]


def test_what_it_promises_is_true(cli: CommandLine, start_cloud: StartCloud) -> None:
    """An audit with the same options is incomplete for the very accounts that the checkup named, and else complete."""
    cloud = start_cloud(organisation(refuses=True))
    cli.log_in(cloud)
    configure(cli, cloud.external_id)
    finished = cli.run("doctor", "--role-name", cloud.role_name, "--json", "-q")
    assert finished.code == finished.json["exit_code"] == 3
    assert finished.err == ""
    named = [check["account"] for check in finished.json["checks"] if check["health"] == "problem"]
    audited = cli.run("audit", "--role-name", cloud.role_name, "--as-of", "2026-11-22T19:00:00Z", "--json", "-q")
    assert audited.code == 3
    assert [account["account_id"] for account in audited.json["coverage"]["not_audited"]] == named


def test_json_names_what_is_refused(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Per account, as actions, for a program to go by."""

    def refuse(call: Call) -> Fault | None:
        return ErrorFault(403, "AccessDenied", "no") if call.action == "GetAccountSummary" else None

    cli.log_in(start_cloud(organisation(), fault=refuse))
    finished = cli.run("doctor", "--json")
    assert finished.code == 3
    (problem,) = [check for check in finished.json["checks"] if check["health"] == "problem"]
    assert (problem["account"], problem["refused"]) == (MAIN, ["iam:GetAccountSummary"])
    assert "auditor iam-policy" in problem["next_step"]


def test_many_accounts_fit_on_a_screen(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Twenty are named, the others counted; for programs all are there."""
    cloud = start_cloud(organisation(25, refuses=True))
    cli.log_in(cloud)
    finished = cli.run("doctor", "--role-name", cloud.role_name)
    assert finished.code == 3
    assert len(re.findall(r"^problem  account ", finished.out, re.MULTILINE)) == 20
    assert "and 5 more accounts" in finished.out


def test_an_endpoint_that_does_not_answer_is_a_line(cli: CommandLine) -> None:
    """Exit 4, what to look at, and no traceback."""
    cli.environment |= {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    finished = cli.run("doctor", "--endpoint-url", "http://127.0.0.1:9")
    assert finished.code == 4
    assert "problem  endpoint: http://127.0.0.1:9 " in finished.out
    assert "Traceback" not in finished.out + finished.err


def test_missing_credentials_are_a_line(cli: CommandLine) -> None:
    """Exit 4, and how to log in."""
    finished = cli.run("doctor")
    assert finished.code == 4
    assert "problem  credentials: None were found" in finished.out
    assert "--profile" in finished.out


@pytest.mark.parametrize(
    ("library", "failure", "said"),
    [
        ("weasyprint", "OSError(\"cannot load library 'libpango-1.0-0'\")", "problem  libraries: libpango-1.0-0: "),
        ("weasyprint", "ModuleNotFoundError('No module named weasyprint')", "problem  libraries: WeasyPrint: "),
        ("duckdb", "ModuleNotFoundError('No module named duckdb')", "No module named duckdb"),
    ],
)
def test_a_missing_library_is_told(
    cli: CommandLine, start_cloud: StartCloud, library: str, failure: str, said: str
) -> None:
    """Pango costs the PDF, and how to install it is said; without the database there is nothing to check by."""
    cli.log_in(start_cloud(organisation()))
    (cli.folder / "broken").mkdir()
    (cli.folder / "broken" / f"{library}.py").write_text(f"raise {failure}\n")
    cli.environment["PYTHONPATH"] = os.pathsep.join([str(cli.folder / "broken"), os.environ.get("PYTHONPATH", "")])
    finished = cli.run("doctor")
    assert finished.code == (3 if library == "weasyprint" else 4)
    assert said in finished.out + finished.err
    assert "nstall" in finished.out + finished.err
    if library == "weasyprint":
        (cli.folder / "config.toml").write_text('[output]\nformats = ["html"]\n')
        assert cli.run("doctor").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--account", "12"), "12 digits"), (("--profile", "nobody"), "nobody"), (("--as-of", "x"), "--as-of")],
)
def test_wrong_usage_is_exit_2(cli: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    """Nothing was checked, and the option is named."""
    finished = cli.run("doctor", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert said in finished.err


def test_a_wrong_configuration_is_exit_2(cli: CommandLine) -> None:
    """Every mistake in it, before anything is called."""
    (cli.folder / "config.toml").write_text("[accounts]\nrole = 1\nsession_minutes = 1\n")
    finished = cli.run("doctor")
    assert finished.code == 2
    assert "accounts.role" in finished.err
    assert "accounts.session_minutes" in finished.err
