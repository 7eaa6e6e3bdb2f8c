"""What a run leaves behind for who checks it against CloudTrail: its requests, and who made it from where."""

import json
import os
import pwd
from collections import Counter
from pathlib import Path
from typing import Any

from auditor import answers
from auditor.cli.origin import origin_of
from auditor.demo import AccountSeed, Call, EmbeddedOrganisation, ErrorFault, Fault, KeySeed, OrganisationSeed, UserSeed
from auditor.history import load_manifest
from auditor.model import Origin, UsedAt
from tests.builders import ago
from tests.conftest import CommandLine, Finished, StartCloud

MAIN, OTHER, REFUSED = "111111111111", "222222222222", "333333333333"
AS_OF = "2026-11-22T19:00:00Z"
OLD = UserSeed("old", (KeySeed(created_at=ago(400), last_used=UsedAt(ago(1), "s3", None)),))
SEED = OrganisationSeed(
    (AccountSeed(MAIN, "main", (OLD,)), AccountSeed(OTHER, "other", (OLD,)), AccountSeed(REFUSED, "third")),
    external_id="an-external-id",
)
AUDIT = ("audit", "--format", "csv", "--json")


def refuses(call: Call) -> Fault | None:
    """One account cannot be entered."""
    is_refused = call.action == "AssumeRole" and REFUSED in call.params["RoleArn"]
    return ErrorFault(403, "AccessDenied") if is_refused else None


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of requests."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_of(cli: CommandLine, finished: Finished) -> Path:
    """The run's folder."""
    return Path(cli.folder, finished.json["folder"])


def logged_in(cli: CommandLine, cloud: EmbeddedOrganisation) -> EmbeddedOrganisation:
    """The whole organisation is in scope, by an external id."""
    cli.log_in(cloud)
    scope = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
    settings = "".join(f'{name} = "{value}"\n' for name, value in scope.items())
    (cli.folder / "config.toml").write_text(f"[accounts]\n{settings}")
    return cloud


def test_every_request_of_a_run_can_be_found_in_cloudtrail(cli: CommandLine, start_cloud: StartCloud) -> None:
    """By operation as many lines as run.json counts, over all accounts and the run's own; as many as AWS saw."""
    cloud = logged_in(cli, start_cloud(SEED, fault=refuses))
    finished = cli.run(*AUDIT, "--as-of", AS_OF)
    assert finished.code == 3, finished.err
    folder = run_of(cli, finished)
    files = {path.parent.name: read(path) for path in folder.rglob(answers.REQUESTS)}
    assert set(files) == {folder.name, MAIN, OTHER, REFUSED}
    lines = [line for found in files.values() for line in found]
    calls = json.loads((folder / "run.json").read_text())["calls"]
    assert Counter(line["operation"] for line in lines) == calls
    assert len(lines) == len(cloud.call_log)
    assert {line["operation"] for line in files[folder.name]} == {
        "sts:GetCallerIdentity",
        "organizations:ListAccounts",
    }
    assert "iam:GetAccessKeyLastUsed" in {line["operation"] for line in files[OTHER]}
    assert [(line["operation"], line["outcome"]) for line in files[REFUSED]] == [("sts:AssumeRole", "AccessDenied")]
    said = b"".join(path.read_bytes() for path in folder.rglob(answers.REQUESTS)).decode()
    secrets = (cloud.access_key_id, cloud.secret_access_key, "an-external-id", "ASIA")
    assert not [secret for secret in secrets if secret in said]


def test_resuming_keeps_the_requests_of_what_is_kept(cli: CommandLine, start_cloud: StartCloud) -> None:
    """They are the ones that its answers came by; what is asked again has its own, and so has the new run."""
    is_over = False
    logged_in(cli, start_cloud(SEED, fault=lambda call: None if is_over else refuses(call)))
    first = run_of(cli, cli.run(*AUDIT, "--as-of", AS_OF))
    is_over = True
    finished = cli.run(*AUDIT, "--resume", "latest")
    assert finished.code == 1, finished.err
    second = run_of(cli, finished)
    for account in (MAIN, OTHER):
        name = Path("raw", account, answers.REQUESTS)
        assert (second / name).read_bytes() == (first / name).read_bytes()
    assert {line["outcome"] for line in read(second / "raw" / REFUSED / answers.REQUESTS)} == {"ok"}
    lines = [line for path in second.rglob(answers.REQUESTS) for line in read(path)]
    assert Counter(line["operation"] for line in lines) == json.loads((second / "run.json").read_text())["calls"]


def test_a_run_without_aws_has_no_requests(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Nothing was sent, and no file says so in AWS's stead."""
    cli.log_in(start_cloud(SEED))
    folder = run_of(cli, cli.run("audit", "--as-of", AS_OF, "--format", "csv", "--json"))
    downloads = cli.folder / "downloads"
    downloads.mkdir()
    (downloads / f"{MAIN}.csv").write_bytes((folder / "raw" / MAIN / answers.REPORT).read_bytes())
    finished = cli.run("audit", "--from-reports", "downloads", "--as-of", AS_OF, "--format", "csv", "--json")
    assert finished.code == 1, finished.err
    assert list(run_of(cli, finished).rglob(answers.REQUESTS)) == []


def test_a_run_says_who_made_it_from_where_and_how(cli: CommandLine, start_cloud: StartCloud) -> None:
    """Host, user, platform, Python, and the command as typed: bytes that are no text, and no password of a URL."""
    cloud = start_cloud(SEED)
    cli.log_in(cloud)
    address = cloud.endpoint_url
    arguments = ("audit", "--as-of", AS_OF, "--endpoint-url", address, "-f", "csv", "--json")
    folder = run_of(cli, cli.run(*arguments))
    origin = json.loads((folder / "run.json").read_text())["origin"]
    assert origin["command"] == list(arguments)
    assert origin["os_user"] == pwd.getpwuid(os.getuid()).pw_name
    assert all(origin[name] for name in ("host", "platform", "python"))
    assert cloud.secret_access_key not in (folder / "run.json").read_text()
    assert load_manifest(folder).origin == Origin(**{**origin, "command": arguments})


def test_no_password_of_a_url_is_kept() -> None:
    """No option takes a secret, but an address may be typed with one."""
    origin = origin_of(["audit", "--scheduler", "tls://me:pass@10.0.0.5:8786", "--from-reports", "caf\udce9/me@work"])
    assert origin.command == ("audit", "--scheduler", "tls://…@10.0.0.5:8786", "--from-reports", "caf\\udce9/me@work")


def test_runs_of_earlier_versions_have_no_origin(cli: CommandLine, start_cloud: StartCloud) -> None:
    """They are read as before, and so is a demonstration's, which is the same wherever it is made."""
    cli.log_in(start_cloud(SEED))
    folder = run_of(cli, cli.run("audit", "--as-of", AS_OF, "-f", "csv", "--json"))
    document = json.loads((folder / "run.json").read_text())
    del document["origin"]
    (folder / "run.json").write_text(json.dumps(document))
    assert load_manifest(folder).origin is None
    demo = json.loads((Path(__file__).parents[2] / "reports" / "sample" / "run.json").read_text())
    assert demo["origin"] is None
