"""`auditor audit` as a user meets it: a process, its output, its exit code, its files."""

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from auditor.aws.clients import Connection, StaticCredentials, shared_clients
from auditor.aws.identity import Via
from auditor.aws.loop import run
from auditor.demo import (
    AccountSeed,
    KeySeed,
    OrganisationSeed,
    RoleSeed,
    RootSeed,
    ServiceCredentialSeed,
    UserSeed,
)
from auditor.model import UsedAt
from tests.builders import ago
from tests.conftest import CommandLine, Finished, StartCloud

MAIN, OTHER, THIRD = "111111111111", "222222222222", "333333333333"
AS_OF = "2026-11-22T19:00:00Z"

GOOD = UserSeed("good", (KeySeed(created_at=ago(5), last_used=UsedAt(ago(1), "s3", None)),))
OLD = UserSeed("old", (KeySeed(created_at=ago(400), last_used=UsedAt(ago(1), "s3", None)),))


def organisation(**roles: RoleSeed) -> OrganisationSeed:
    """Three accounts: a clean one, one with a violation, one whose role may refuse."""
    return OrganisationSeed(
        (
            AccountSeed(MAIN, "main", (GOOD,)),
            AccountSeed(OTHER, "other", (OLD,)),
            AccountSeed(THIRD, "third", (GOOD,), role=roles.get("third", RoleSeed())),
        )
    )


def run_folder(cli: CommandLine) -> Path:
    """The one run below reports/."""
    (folder,) = (cli.folder / "reports").iterdir()
    return folder


def findings(cli: CommandLine) -> Any:
    """findings.json of the one run."""
    return json.loads((run_folder(cli) / "findings.json").read_text())


def ended(finished: Finished, code: int) -> None:
    """The exit code, and never a traceback."""
    assert finished.code == code, finished.err + finished.out
    assert "Traceback" not in finished.err + finished.out


def test_without_configuration_the_callers_own_account_is_audited(cli: CommandLine, start_cloud: StartCloud) -> None:
    """No options, no file: one account, the ambient credentials', and exit 0 where all comply."""
    cli.log_in(start_cloud(organisation()))
    ended(cli.run("audit", "--as-of", AS_OF, "--format", "csv"), 0)
    coverage = findings(cli)["coverage"]
    assert (coverage["accounts_in_scope"], coverage["accounts_audited"]) == (1, 1)


def test_the_organisation_is_audited_through_a_role(cli: CommandLine, start_cloud: StartCloud) -> None:
    """A role name alone means every account; a violation makes exit 1, and the files of the contract are there."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{cloud.external_id}"\n')
    ended(cli.run("audit", "--role-name", cloud.role_name, "--as-of", AS_OF), 1)
    folder = run_folder(cli)
    assert re.fullmatch(r"20261122T190000Z-[0-9a-f]{8}", folder.name)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "run.json",
        "policy.toml",
        "findings.json",
        "findings.csv",
        "report.html",
        "report.pdf",
        "tables/accounts.parquet",
        "tables/users.parquet",
        "tables/keys.parquet",
        "tables/findings.parquet",
        f"raw/{OTHER}/credential-report.csv",
        f"raw/{OTHER}/response.json",
        f"raw/{OTHER}/keys.json",
    } <= files
    (finding,) = findings(cli)["findings"]
    assert (finding["user"], finding["control"], finding["account_name"]) == ("old", "key-age", "other")
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", finding["access_key_id"])
    assert cloud.external_id not in (folder / "policy.toml").read_text()


def test_accounts_can_be_listed_with_their_own_roles(cli: CommandLine, start_cloud: StartCloud) -> None:
    """`accounts.list` names the accounts; the caller's own needs no role."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(
        f"""[accounts]
        source = "list"
        external_id = "{cloud.external_id}"
        [[accounts.list]]
        id = "{MAIN}"
        [[accounts.list]]
        id = "{OTHER}"
        name = "payments"
        role_name = "{cloud.role_name}"
        """
    )
    finished = cli.run("audit", "--as-of", AS_OF, "--format", "csv", "--json", "-q")
    ended(finished, 1)
    assert finished.json["coverage"]["accounts_audited"] == 2
    assert finished.err == ""


def test_an_account_that_refuses_makes_the_run_incomplete(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Exit 3 outranks 1; the account, the reason and the next step are in the summary and in findings.json."""
    cloud = start_cloud(organisation(third=RoleSeed(refuses=True)))
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{cloud.external_id}"\n')
    finished = cli.run("audit", "--role-name", cloud.role_name, "--as-of", AS_OF, "--format", "csv")
    ended(finished, 3)
    assert "Not audited" in finished.out
    assert THIRD in finished.out
    coverage = findings(cli)["coverage"]
    assert [account["account_id"] for account in coverage["not_audited"]] == [THIRD]
    assert coverage["accounts_in_scope"] == coverage["accounts_audited"] + 1


def test_accounts_given_on_the_command_line_narrow_the_scope(cli: CommandLine, start_cloud: StartCloud) -> None:
    """`--account` with a role audits just that account."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{cloud.external_id}"\n')
    options = ("--role-name", cloud.role_name, "--account", OTHER, "--as-of", AS_OF, "--format", "csv", "--json")
    finished = cli.run("audit", *options)
    ended(finished, 1)
    assert finished.json["coverage"]["accounts_in_scope"] == 1


@pytest.mark.parametrize(("severity", "code"), [("low", 1), ("high", 1), ("critical", 0)])
def test_fail_on_sets_what_makes_exit_1(cli: CommandLine, start_cloud: StartCloud, severity: str, code: int) -> None:
    """Violations below the severity are reported but do not fail the run."""
    cli.log_in(start_cloud(OrganisationSeed((AccountSeed(MAIN, "main", (OLD,)),))))
    ended(cli.run("audit", "--as-of", AS_OF, "--format", "csv", "--fail-on", severity), code)
    assert len(findings(cli)["findings"]) == 1


def test_downloaded_reports_are_audited_without_aws(cli: CommandLine, start_cloud: StartCloud) -> None:
    """A run's own raw folder is a folder of reports: same violations, no key ids, and the report says so."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{cloud.external_id}"\n')
    cli.run("audit", "--role-name", cloud.role_name, "--as-of", AS_OF, "--format", "csv")
    raw = run_folder(cli) / "raw"
    cloud.stop()
    cli.environment.clear()
    options = ("--as-of", AS_OF, "--format", "html,csv", "--output", "offline", "--json")
    finished = cli.run("audit", "--from-reports", str(raw), *options)
    ended(finished, 1)
    folder = cli.folder / finished.json["folder"]
    (finding,) = json.loads((folder / "findings.json").read_text())["findings"]
    assert (finding["user"], finding["control"], finding["access_key_id"]) == ("old", "key-age", None)
    assert "key ids" in (folder / "report.html").read_text()
    assert finished.json["coverage"]["accounts_audited"] == 3


def test_the_time_of_a_downloaded_report_is_taken_only_for_those_very_bytes(cli: CommandLine) -> None:
    """A `response.json` that speaks of another report says nothing about this one."""
    row = "<root_account>,arn:aws:iam::{}:root,2020-01-01T00:00:00Z,false,N/A,N/A,N/A,false" + (
        ",false,N/A,N/A,N/A,N/A" * 2 + ",false,N/A" * 2
    )
    header = (Path(__file__).parent.parent / "data" / "header.csv").read_text().strip()
    content = f"{header}\n{row.format(MAIN)}".encode()
    for name, digest in (("own", hashlib.sha256(content).hexdigest()), ("foreign", "0" * 64)):
        folder = cli.folder / name
        folder.mkdir()
        (folder / "report.csv").write_bytes(content)
        response = {"generated_at": "2026-11-22T18:00:00Z", "sha256": digest}
        (folder / "response.json").write_text(json.dumps(response))
        finished = cli.run(
            "audit", "--from-reports", name, "-o", f"{name}-runs", "-f", "json", "--as-of", AS_OF, "--json"
        )
        ended(finished, 0)
        document = json.loads((cli.folder / finished.json["folder"] / "findings.json").read_text())
        generated = document["coverage"]["accounts"][0]["generated_at"]
        assert generated == ("2026-11-22T18:00:00Z" if name == "own" else None)


def test_several_report_files_can_follow_the_option(cli: CommandLine, start_cloud: StartCloud) -> None:
    """`--from-reports a.csv b.csv`, as a shell's glob gives them."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(f'[accounts]\nexternal_id = "{cloud.external_id}"\n')
    cli.run("audit", "--role-name", cloud.role_name, "--as-of", AS_OF, "--format", "csv")
    files = [str(path) for path in sorted((run_folder(cli) / "raw").rglob("credential-report.csv"))]
    finished = cli.run("audit", "--from-reports", *files, "--as-of", AS_OF, "-o", "offline", "-f", "csv", "--json")
    ended(finished, 1)
    assert finished.json["coverage"]["accounts_audited"] == len(files) == 3


def test_a_stored_run_is_rendered_again_without_aws(cli: CommandLine, start_cloud: StartCloud) -> None:
    """`report latest` makes the same bytes again, and `runs list` and `runs show` know the run."""
    cloud = start_cloud(organisation())
    cli.log_in(cloud)
    cli.run("audit", "--as-of", AS_OF)
    folder = run_folder(cli)
    first = {name: (folder / name).read_bytes() for name in ("report.html", "report.pdf", "findings.csv")}
    for name in first:
        (folder / name).unlink()
    cloud.stop()
    cli.environment.clear()
    finished = cli.run("report", "latest", "--format", "pdf,html", "-f", "csv", "--json")
    ended(finished, 0)
    assert set(finished.json["reports"]) == {"pdf", "html", "csv"}
    assert {name: (folder / name).read_bytes() for name in first} == first
    listed = cli.run("runs", "list")
    ended(listed, 0)
    assert folder.name in listed.out
    shown = cli.run("runs", "show", folder.name, "--json")
    ended(shown, 0)
    assert shown.json["run"] == folder.name


def test_the_csv_has_every_finding_of_the_json(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Two formats, one view: same findings in the same order."""
    users = tuple(UserSeed(f"user{n}", (KeySeed(created_at=ago(100 + n)),)) for n in range(20))
    cli.log_in(start_cloud(OrganisationSeed((AccountSeed(MAIN, "main", users),))))
    ended(cli.run("audit", "--as-of", AS_OF, "--format", "csv,json"), 1)
    with (run_folder(cli) / "findings.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["user"], row["control"], row["outcome"]) for row in csv.DictReader(file)]
    listed = findings(cli)["findings"]
    assert rows == [(one["user"], one["control"], one["outcome"]) for one in listed]
    assert len(rows) == 40


def test_plain_lines_where_there_is_no_terminal(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Progress goes to stderr in lines without control codes; the result goes to stdout."""
    cli.log_in(start_cloud(organisation()))
    finished = cli.run("audit", "--as-of", AS_OF, "--format", "csv")
    assert "Auditing accounts" in finished.err
    assert "\x1b" not in finished.err + finished.out
    assert "Auditing accounts" not in finished.out
    assert "findings.csv" in finished.out


def test_names_from_aws_cannot_drive_the_terminal(cli: CommandLine, start_cloud: StartCloud) -> None:
    """An account name with an escape sequence is printed harmlessly."""
    cloud = start_cloud(
        OrganisationSeed((AccountSeed(MAIN), AccountSeed(OTHER, "evil\x1b[2Jname", role=RoleSeed(refuses=True))))
    )
    cli.log_in(cloud)
    finished = cli.run("audit", "--role-name", cloud.role_name, "--as-of", AS_OF, "--format", "csv")
    ended(finished, 3)
    assert "\x1b" not in finished.out + finished.err


def test_a_second_run_of_the_same_facts_does_not_overwrite_the_first(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Runs are frozen: the same inputs give the same id with a number behind it."""
    cli.log_in(start_cloud(organisation()))
    for _ in range(2):
        ended(cli.run("audit", "--as-of", AS_OF, "--format", "csv"), 0)
    names = sorted(path.name for path in (cli.folder / "reports").iterdir())
    assert len(names) == 2
    assert names[1] == f"{names[0]}-2"
    assert (cli.folder / "reports" / names[1] / "run.json").is_file()


def test_an_organisational_unit_is_audited_alone(cli: CommandLine, start_cloud: StartCloud) -> None:
    """--ou with a role means the accounts below it, --account narrows them; one that is not there is exit 4."""
    accounts = (
        AccountSeed(MAIN, "main", (OLD,)),
        AccountSeed(OTHER, "other", (GOOD,), organisational_unit="Workloads/Production"),
        AccountSeed(THIRD, "third", (GOOD,), organisational_unit="Security"),
    )
    cloud = start_cloud(OrganisationSeed(accounts))
    cli.log_in(cloud)
    text = f'[accounts]\nsource = "organisation"\nexternal_id = "{cloud.external_id}"\n'
    (cli.folder / "config.toml").write_text(text)  # and no role, which the command line gives
    chosen = ("audit", "--role-name", cloud.role_name, "--as-of", AS_OF, "--format", "csv", "--ou", "/Workloads")
    finished = cli.run(*chosen)
    ended(finished, 0)
    assert "Of the organisation's 3 accounts, 1 is in scope and 2 left out" in finished.out
    folder = run_folder(cli)
    coverage = json.loads((folder / "run.json").read_text())["coverage"]
    assert (coverage["organisation_accounts"], coverage["accounts_in_scope"], coverage["left_out"]) == (3, 1, 2)
    population = json.loads((folder / "population.json").read_text())["accounts"]
    assert {account["id"]: account["left_out"] for account in population} == {
        MAIN: "accounts.include",
        OTHER: None,
        THIRD: "accounts.include",
    }
    assert [len(account["units"]) for account in population] == [1, 3, 2]
    ended(cli.run(*chosen, "--ou", "/Security", "--account", THIRD, "--output", "narrowed"), 0)
    mistaken = cli.run(*chosen, "--ou", "/Securty")
    ended(mistaken, 4)
    assert 'accounts.include.ous "/Securty"' in mistaken.err
    unentered = cli.run("audit", "--ou", "/Security")
    ended(unentered, 2)
    assert "config.toml: accounts.role_name" in unentered.err


def test_sessions_are_shorter_where_the_caller_is_a_role(cli: CommandLine, start_cloud: StartCloud) -> None:
    """AWS refuses more than an hour where one role is assumed from another: it is lowered, and the run says so."""
    role = RoleSeed(external_id=None, max_session_seconds=43200)
    cloud = start_cloud(OrganisationSeed((AccountSeed(MAIN, role=role), AccountSeed(OTHER, users=(GOOD,), role=role))))
    cli.log_in(cloud)
    own = StaticCredentials(cloud.access_key_id, cloud.secret_access_key)
    first = Via((f"arn:aws:iam::{MAIN}:role/{cloud.role_name}",), "ci", 3600)
    session = shared_clients(Connection(endpoint_url=cloud.endpoint_url, isolated=own, via=first)).ambient()
    signer = run(session.frozen())
    cli.environment |= {
        "AWS_ACCESS_KEY_ID": signer.access_key or "",
        "AWS_SECRET_ACCESS_KEY": signer.secret_key or "",
        "AWS_SESSION_TOKEN": signer.token or "",
    }
    text = f'[accounts]\nsource = "organisation"\nrole_name = "{cloud.role_name}"\nsession_minutes = 120\n'
    (cli.folder / "config.toml").write_text(text)
    ended(cli.run("audit", "--as-of", AS_OF, "--format", "csv"), 0)
    assert "60 minutes" in json.loads((run_folder(cli) / "run.json").read_text())["notes"][0]
    assert [call.params["DurationSeconds"] for call in cloud.call_log if call.action == "AssumeRole"] == ["3600"] * 2


@pytest.mark.parametrize("is_open", [True, False])
def test_root_keys_are_looked_up_where_the_organisation_lets_them_be(
    cli: CommandLine, start_cloud: StartCloud, *, is_open: bool
) -> None:
    """The configuration asks for it: a root key of a member account has its id; refused, the report's word counts."""
    root = RootSeed(keys=(KeySeed(created_at=ago(900), access_key_id="AKIAROOT222222222222"),))
    accounts = (AccountSeed(MAIN, "main", (GOOD,)), AccountSeed(OTHER, "other", (GOOD,), root))
    cloud = start_cloud(OrganisationSeed(accounts, has_central_root_access=is_open))
    cli.log_in(cloud)
    text = f'[accounts]\nsource = "organisation"\nrole_name = "{cloud.role_name}"\nroot_sessions = true\n'
    (cli.folder / "config.toml").write_text(f'{text}external_id = "{cloud.external_id}"\n')
    ended(cli.run("audit", "--as-of", AS_OF, "--format", "csv"), 1)
    (found,) = [
        finding
        for finding in findings(cli)["findings"]
        if finding["control"] == "root-access-key" and finding["outcome"] == "non_compliant"
    ]
    assert found["access_key_id"] == ("AKIAROOT222222222222" if is_open else None)
    asked = [call.params["TargetPrincipal"] for call in cloud.call_log if call.action == "AssumeRoot"]
    assert asked == [OTHER]
    kept = json.loads((run_folder(cli) / "raw" / OTHER / "account.json").read_text())
    assert any(note.startswith("Root keys could not be looked up") for note in kept["notes"]) is not is_open


def test_what_was_asked_beside_the_report_is_kept(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Quarantine and service-specific credentials in files of their own, and where the account stands."""
    credential = ServiceCredentialSeed("bedrock.amazonaws.com", ago(200))
    ann = UserSeed("ann", quarantined_by=("AWSCompromisedKeyQuarantineV3",), service_credentials=(credential,))
    cloud = start_cloud(OrganisationSeed((AccountSeed(MAIN, "main", (ann,), organisational_unit="Workloads"),)))
    cli.log_in(cloud)
    text = f'[accounts]\nsource = "organisation"\nrole_name = "{cloud.role_name}"\n'
    (cli.folder / "config.toml").write_text(text)
    finished = cli.run("audit", "--as-of", AS_OF, "--format", "csv")
    assert finished.code in {0, 1}, finished.err
    raw = run_folder(cli) / "raw" / MAIN
    assert json.loads((raw / "quarantine.json").read_text())["users"] == {"ann": ["AWSCompromisedKeyQuarantineV3"]}
    (kept,) = json.loads((raw / "service-credentials.json").read_text())["credentials"]
    assert (kept["user"], kept["service"], kept["expires_at"]) == ("ann", "bedrock.amazonaws.com", None)
    account = json.loads((raw / "account.json").read_text())
    assert len(account["account"]["units"]) == 2
    assert {"quarantine.json", "service-credentials.json"} <= set(account["files"])
