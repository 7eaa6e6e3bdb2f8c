"""`auditor credential-process` as its consumers use it: named in ~/.aws/config, and asked by botocore."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials

from auditor.demo import AccountSeed, EmbeddedOrganisation, OrganisationSeed
from tests.conftest import CommandLine, StartCloud

MAIN = "111111111111"
OLD, NEW = ("AKIAOLDOLDOLDOLDOLD1", "old-secret"), ("AKIANEWNEWNEWNEWNEW1", "new-secret")


@pytest.fixture
def cloud(cli: CommandLine, start_cloud: StartCloud) -> EmbeddedOrganisation:
    cloud = start_cloud(OrganisationSeed((AccountSeed(MAIN, "management"),)))
    cli.log_in(cloud)
    return cloud


def keep(cloud: EmbeddedOrganisation, value: object, *, name: str = "auditor/app", region: str = "eu-west-1") -> str:
    """Put a value where applications read it; the secret's ARN."""
    client = boto3.client(
        "secretsmanager",
        region_name=region,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=cloud.access_key_id,
        aws_secret_access_key=cloud.secret_access_key,
    )
    text = json.dumps(value)
    try:
        return str(client.create_secret(Name=name, SecretString=text)["ARN"])
    except client.exceptions.ResourceExistsException:
        return str(client.put_secret_value(SecretId=name, SecretString=text)["ARN"])


def value_of(key: tuple[str, str]) -> dict[str, object]:
    """As a rotation keeps it."""
    return {"Version": 1, "AccessKeyId": key[0], "SecretAccessKey": key[1], "UserName": "app", "RotationId": "x"}


def test_a_program_that_runs_on_follows_a_rotation(
    cloud: EmbeddedOrganisation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Botocore takes what is printed, asks again before it expires, and then has the key that is current by then."""
    keep(cloud, value_of(OLD))
    command = f"{sys.executable} -m auditor credential-process --secret auditor/app --region eu-west-1 --profile reader"
    (tmp_path / "aws").write_text(f"[profile app]\ncredential_process = {command}\n")
    (tmp_path / "keys").write_text(
        f"[reader]\naws_access_key_id = {cloud.access_key_id}\naws_secret_access_key = {cloud.secret_access_key}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
    found = botocore.session.Session(profile="app").get_credentials()
    assert isinstance(found, RefreshableCredentials)
    assert (found.access_key, found.secret_key) == OLD
    until: datetime = vars(found)["_expiry_time"]
    assert timedelta(minutes=28) < until - datetime.now(UTC) <= timedelta(minutes=30)
    assert not found.refresh_needed(), "a program is not started for every request: botocore asks 15 minutes before"
    keep(cloud, value_of(NEW))
    vars(found)["_expiry_time"] = datetime.now(UTC)
    assert (found.access_key, found.secret_key) == NEW


def test_what_is_no_key_yet_is_said_and_nothing_is_printed(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """The sentinel of a new secret, a value of somebody else's, and no secret at all: exit code 4, and empty stdout."""
    arn = keep(cloud, {"Version": 1, "Status": "NOT_READY"})
    keep(cloud, ["something else"], name="other")
    for secret, said in ((arn, "no access key yet"), ("other", "no access key yet"), ("none", "cannot be read")):
        place = [] if secret == arn else ["--region", "eu-west-1"]
        finished = cli.run("credential-process", "--secret", secret, *place)
        assert (finished.code, finished.out) == (4, ""), finished.err
        assert said in " ".join(finished.err.split())
    assert cli.run("credential-process").code == 2
    wrong = cli.run("credential-process", "--secret", arn, "--region", "us-east-1")
    assert (wrong.code, wrong.out) == (2, "")
    assert "eu-west-1" in wrong.err


def test_a_profile_that_would_ask_itself_is_told_so(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """Without other credentials the process would start itself for ever: the second one ends it."""
    command = f"{sys.executable} -m auditor credential-process --secret auditor/app --region eu-west-1"
    (cli.folder / "aws").write_text(f"[profile app]\ncredential_process = {command}\n")
    cli.environment = {"AWS_CONFIG_FILE": str(cli.folder / "aws"), "AWS_PROFILE": "app"}
    cli.environment |= {"AWS_ENDPOINT_URL": cloud.endpoint_url, "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    finished = cli.run("credential-process", "--secret", "auditor/app", "--region", "eu-west-1")
    assert (finished.code, finished.out) == (4, "")
    assert "other credentials than those in it" in " ".join(finished.err.split())


def test_a_terminal_is_shown_no_secret(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """Whoever types the command is told what it is for; AWS is not asked."""
    arn = keep(cloud, value_of(NEW))
    before = len(cloud.call_log)
    ours, theirs = pty.openpty()
    process = subprocess.run(
        [sys.executable, "-m", "auditor", "credential-process", "--secret", arn],
        env=dict(os.environ) | cli.environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 2
    assert b"not shown on a terminal" in process.stderr
    assert len(cloud.call_log) == before


def test_a_parameter_is_read_by_its_label(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """The newest version may be one that was not proved yet."""
    client = boto3.client(
        "ssm",
        region_name="eu-west-1",
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=cloud.access_key_id,
        aws_secret_access_key=cloud.secret_access_key,
    )
    for key in (OLD, NEW):
        text = json.dumps(value_of(key))
        client.put_parameter(Name="/auditor/app", Value=text, Type="SecureString", Overwrite=True)
    client.label_parameter_version(Name="/auditor/app", ParameterVersion=1, Labels=["current"])
    finished = cli.run("credential-process", "--parameter", "/auditor/app", "--region", "eu-west-1")
    assert (finished.json["AccessKeyId"], finished.json["SecretAccessKey"]) == OLD
